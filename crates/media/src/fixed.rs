//! Numbers with few decimals, kept exactly, so that equal numbers have equal text.

/// A number of at most `PLACES` decimals (one to six), from 0 upwards.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Default)]
pub(crate) struct Fixed<const PLACES: u32>(u32);

impl<const PLACES: u32> Fixed<PLACES> {
    const ONE: u32 = 10_u32.pow(PLACES);

    /// The whole number `whole`, which must be small (below 400,000).
    pub(crate) const fn whole(whole: u32) -> Self {
        Self(whole * Self::ONE)
    }

    /// Reads digits with at most one point between them; anything else, more decimals and more than six digits before the point
    /// are `None`.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let (whole, decimals) = text.split_once('.').unwrap_or((text, "0"));
        let missing = PLACES.checked_sub(u32::try_from(decimals.len()).ok()?)?;
        let decimals = digits(decimals)? * 10_u32.pow(missing);
        digits(whole)?.checked_mul(Self::ONE)?.checked_add(decimals).map(Self)
    }

    pub(crate) fn get(self) -> f64 {
        f64::from(self.0) / f64::from(Self::ONE)
    }

    /// The sum; bounds of the parts keep it small.
    pub(crate) fn plus(self, other: Self) -> Self {
        Self(self.0.saturating_add(other.0))
    }
}

/// Reads one to six digits, without a sign.
pub(crate) fn digits(text: &str) -> Option<u32> {
    let all = (1..=6).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_digit());
    all.then(|| text.parse().ok()).flatten()
}

impl<const PLACES: u32> std::fmt::Display for Fixed<PLACES> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let (whole, decimals) = (self.0 / Self::ONE, self.0 % Self::ONE);
        if decimals == 0 {
            return write!(f, "{whole}");
        }
        let decimals = format!("{decimals:0width$}", width = PLACES as usize);
        write!(f, "{whole}.{}", decimals.trim_end_matches('0'))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equal_numbers_have_equal_text() {
        for text in ["1.5", "1.50", "01.5"] {
            assert_eq!(Fixed::<2>::parse(text).map(|number| number.to_string()), Some("1.5".into()));
        }
        assert_eq!(
            Fixed::<4>::parse("0.0625").map(|number| (number.get(), number.to_string())),
            Some((0.0625, "0.0625".into()))
        );
        assert_eq!(Fixed::<2>::parse("3").map(|number| number.to_string()), Some("3".into()));
    }

    #[test]
    fn what_is_no_such_number_is_none() {
        for text in ["", ".", "1.", ".5", "+1", "-1", "1e3", "1.005", "1.2.3", "9999999", "٣"] {
            assert_eq!(Fixed::<2>::parse(text), None, "{text}");
        }
    }
}
