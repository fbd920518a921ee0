//! Pictures that want to be fatal: each is refused or rendered, soon and in little memory.

mod common;

use common::{
    DECODED,
    bombs::{self, Fate},
    made, picture,
};
use larder_media::{Error, Limits, placeholder, probe};
use std::time::{Duration, Instant};

/// Far more than any takes, for machines that are busy.
const TIME_MAX: Duration = Duration::from_secs(10);
/// Above what the process had before.
const MEMORY_MAX_KIB: u64 = 64 << 10;

#[test]
fn no_bomb_goes_off() {
    let mut count = 0;
    for bomb in bombs::all() {
        count += 1;
        let _ = probe(&bomb.bytes);
        let idle = forget_peak();
        let start = Instant::now();
        let outcome = made(&bomb.bytes, bomb.recipe);
        let (took, grown) = (start.elapsed(), peak_kib().saturating_sub(idle));
        println!(
            "{:60} {took:>10.1?} {grown:>8} KiB  {}",
            bomb.name,
            outcome.as_ref().map_or_else(ToString::to_string, |made| format!("{made:?}"))
        );
        let fate = match outcome {
            Ok(_) => Fate::Rendered,
            Err(Error::TooLarge { .. }) => Fate::TooLarge,
            Err(_) => Fate::Refused,
        };
        assert!(bomb.fate == Fate::Any || fate == bomb.fate, "{}: {fate:?}", bomb.name);
        assert!(took < TIME_MAX, "{} took {took:?}", bomb.name);
        assert!(grown < MEMORY_MAX_KIB, "{} took {grown} KiB", bomb.name);
    }
    assert!(count >= 40, "only {count}");
}

/// Every right picture, cut anywhere or with some bytes changed, ends in an answer.
#[test]
fn no_damage_panics() {
    for format in DECODED {
        let whole = picture(format, 6);
        for cut in (0..whole.len()).step_by(whole.len() / 60 + 1) {
            let _ = (probe(&whole[..cut]), made(&whole[..cut], "w_10"));
        }
        let mut random = 0x9e37_79b9_7f4a_7c15_u64;
        let mut next = move |below: usize| {
            random ^= random << 13;
            random ^= random >> 7;
            random ^= random << 17;
            (random % below as u64) as usize
        };
        for _ in 0..400 {
            let mut damaged = whole.clone();
            for _ in 0..1 + next(6) {
                // Headers are where lies are told.
                let most = [whole.len(), whole.len().min(120)][next(2)];
                let (place, other) = (next(most), next(256) as u8);
                damaged[place] = [0, 1, 0x7f, 0x80, 0xff, other][next(6)];
            }
            let _ = (probe(&damaged), made(&damaged, "w_10,f_gif"));
        }
    }
}

#[test]
fn a_placeholder_is_as_careful() {
    for bomb in bombs::png_bombs().into_iter().filter(|bomb| bomb.fate == Fate::TooLarge) {
        assert!(
            matches!(placeholder(&bomb.bytes, &Limits::default(), &|| false), Err(Error::TooLarge { .. })),
            "{}",
            bomb.name
        );
    }
}

/// Forgets the largest amount of memory that the process had, and tells how much it has.
fn forget_peak() -> u64 {
    std::fs::write("/proc/self/clear_refs", "5").expect("Linux lets a process do this with itself");
    peak_kib()
}

fn peak_kib() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").expect("there is one on Linux");
    let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).expect("Linux tells the peak");
    peak.trim().trim_end_matches(" kB").parse().expect("a number")
}
