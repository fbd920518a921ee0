//! Median, minimum and maximum: what a table of few rounds can honestly say.

use std::fmt;

/// What several rounds of one measurement gave.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Sample {
    pub(crate) median: f64,
    pub(crate) min: f64,
    pub(crate) max: f64,
}

impl Sample {
    /// Returns `None` without values.
    pub(crate) fn of(values: &[f64]) -> Option<Self> {
        let mut sorted = values.to_vec();
        sorted.sort_by(f64::total_cmp);
        let (min, max) = (*sorted.first()?, *sorted.last()?);
        let middle = sorted.len() / 2;
        let median = match sorted.len() % 2 {
            0 => f64::midpoint(sorted[middle - 1], sorted[middle]),
            _ => sorted[middle],
        };
        Some(Self { median, min, max })
    }
}

impl fmt::Display for Sample {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let digits = digits(self.median);
        let [median, min, max] = [self.median, self.min, self.max].map(|value| grouped(value, digits));
        write!(f, "{median} ({min}–{max})")
    }
}

/// Two digits behind the point for ratios, none for thousands.
fn digits(value: f64) -> usize {
    match value {
        _ if value < 10.0 => 2,
        _ if value < 100.0 => 1,
        _ => 0,
    }
}

fn grouped(value: f64, digits: usize) -> String {
    let plain = format!("{value:.digits$}");
    let (whole, rest) = plain.split_at(plain.find('.').unwrap_or(plain.len()));
    let mut text = String::new();
    for (at, digit) in whole.chars().enumerate() {
        if at > 0 && (whole.len() - at) % 3 == 0 {
            text.push(',');
        }
        text.push(digit);
    }
    text + rest
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_median_of_an_odd_number_is_the_middle_one() {
        assert_eq!(Sample::of(&[3.0, 1.0, 2.0]), Some(Sample { median: 2.0, min: 1.0, max: 3.0 }));
    }

    #[test]
    fn the_median_of_an_even_number_lies_between_the_middle_two() {
        assert_eq!(Sample::of(&[4.0, 1.0, 2.0, 3.0]), Some(Sample { median: 2.5, min: 1.0, max: 4.0 }));
    }

    #[test]
    fn nothing_has_no_median() {
        assert_eq!(Sample::of(&[]), None);
    }

    #[test]
    fn numbers_are_grouped_and_rounded_by_size() {
        assert_eq!(Sample { median: 12345.6, min: 999.0, max: 1234567.0 }.to_string(), "12,346 (999–1,234,567)");
        assert_eq!(Sample { median: 1.234, min: 0.5, max: 2.0 }.to_string(), "1.23 (0.50–2.00)");
    }
}
