//! Two sides run in turns, and what all their rounds gave.

use std::time::Instant;

use anyhow::{Context, Result};

use super::Bench;
use super::measures::Measure;
use super::process::{cpu_seconds, forget_peak, memory_mib, own_cpu_seconds};
use super::stats::Sample;

/// What is run in turns.
pub(crate) struct Sides {
    pub(crate) ours: Side,
    pub(crate) theirs: Side,
    /// The same load against a server that does nothing.
    pub(crate) ceiling: Option<Side>,
}

/// One side: a round returns its figure.
pub(crate) struct Side {
    round: Box<dyn FnMut() -> Result<f64>>,
    /// The server's process, where it is one of its own.
    pid: Option<u32>,
}

impl Side {
    pub(crate) fn new(pid: Option<u32>, round: impl FnMut() -> Result<f64> + 'static) -> Self {
        Self { round: Box::new(round), pid }
    }
}

/// What all rounds gave.
pub(crate) struct Compared {
    pub(crate) ours: Sample,
    pub(crate) theirs: Sample,
    pub(crate) ratio: Sample,
    /// Cores that the servers kept busy.
    pub(crate) our_cores: Sample,
    pub(crate) their_cores: Option<Sample>,
    /// Cores that the load generator kept busy while it measured us.
    pub(crate) generator_cores: Sample,
    /// The load generator's own best, as a multiple of the better side.
    pub(crate) headroom: Option<f64>,
    /// Our server's peak of memory.
    pub(crate) peak_mib: f64,
}

struct Round {
    value: f64,
    server_cores: f64,
    own_cores: f64,
}

/// Warms both sides up, then runs them in turns.
pub(crate) fn run(bench: &Bench, measure: &Measure) -> Result<Compared> {
    eprintln!("\n── {}: {}", measure.name, measure.title);
    let mut sides = (measure.prepare)(bench)?;
    let pid = sides.ours.pid.context("our side is a process")?;
    // A log-in takes tens of megabytes for a moment, on purpose; it is not what is asked here.
    forget_peak(pid)?;
    (sides.ours.round)().context("warming up")?;
    (sides.theirs.round)().context("warming up the peer")?;
    let (mut ours, mut theirs, mut ceilings) = (Vec::new(), Vec::new(), Vec::new());
    for number in 1..=bench.scale.rounds {
        ours.push(one(&mut sides.ours)?);
        theirs.push(one(&mut sides.theirs).context("the peer")?);
        if let Some(ceiling) = &mut sides.ceiling {
            ceilings.push((ceiling.round)().context("the server that does nothing")?);
        }
        let (our, their) = (&ours[number - 1], &theirs[number - 1]);
        eprintln!(
            "round {number}: {:.0} {unit} ({:.2} cores), peer {:.0} {unit} ({:.2} cores): {:.2}",
            our.value,
            our.server_cores,
            their.value,
            their.server_cores,
            our.value / their.value,
            unit = measure.unit,
        );
    }
    Ok(summary(&ours, &theirs, &ceilings, memory_mib(pid)?.0, sides.theirs.pid.is_some()))
}

fn one(side: &mut Side) -> Result<Round> {
    // What the round before left dirty must not be written on this one's time.
    rustix::fs::sync();
    let server = || side.pid.map_or(0.0, cpu_seconds);
    let (server_before, own_before, started) = (server(), own_cpu_seconds(), Instant::now());
    let value = (side.round)()?;
    let (took, server_after) = (started.elapsed().as_secs_f64(), side.pid.map_or(0.0, cpu_seconds));
    Ok(Round {
        value,
        server_cores: (server_after - server_before) / took,
        own_cores: (own_cpu_seconds() - own_before) / took,
    })
}

fn summary(ours: &[Round], theirs: &[Round], ceilings: &[f64], peak_mib: f64, their_process: bool) -> Compared {
    let sample = |rounds: &[Round], field: fn(&Round) -> f64| {
        Sample::of(&rounds.iter().map(field).collect::<Vec<_>>()).expect("there is at least one round")
    };
    let ratios: Vec<f64> = ours.iter().zip(theirs).map(|(our, their)| our.value / their.value).collect();
    let (our, their) = (sample(ours, |round| round.value), sample(theirs, |round| round.value));
    Compared {
        ours: our,
        theirs: their,
        ratio: Sample::of(&ratios).expect("there is at least one round"),
        our_cores: sample(ours, |round| round.server_cores),
        their_cores: their_process.then(|| sample(theirs, |round| round.server_cores)),
        generator_cores: sample(ours, |round| round.own_cores),
        headroom: Sample::of(ceilings).map(|ceiling| ceiling.median / our.median.max(their.median)),
        peak_mib,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rounds(values: &[f64]) -> Vec<Round> {
        values.iter().map(|value| Round { value: *value, server_cores: 1.5, own_cores: 0.25 }).collect()
    }

    #[test]
    fn a_ratio_is_taken_within_one_round() {
        let compared = summary(&rounds(&[10.0, 40.0, 30.0]), &rounds(&[20.0, 40.0, 15.0]), &[160.0], 1.0, false);
        assert_eq!(compared.ratio, Sample { median: 1.0, min: 0.5, max: 2.0 });
        assert_eq!(compared.headroom, Some(160.0 / 30.0));
        assert_eq!((compared.our_cores.median, compared.their_cores.is_none()), (1.5, true));
    }
}
