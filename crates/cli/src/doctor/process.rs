//! What the process itself is given: files that it may open, and a clock.

use super::{Check, Said};
use crate::Context;
use rustix::process::{Resource, getrlimit};
use std::{
    fs,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

pub(super) const CHECKS: &[Check<Context>] = &[
    Check { name: "open files", look: |_| open_files() },
    Check { name: "clock", look: |_| clock(now(), hardware_clock()) },
    Check { name: "server", look: |context| server(context.dir.is_served()) },
];

/// Files that are open besides those of connections: stores, database, log.
const OWN_FILES: u64 = 512;
/// 2026 in seconds since 1970: no Larder has run before.
const EARLIEST: Duration = Duration::from_secs(1_767_225_600);
/// By how much the two clocks of a machine may differ: one of them may be in local time.
const APART_MAX: Duration = Duration::from_secs(15 * 60 * 60);

/// A connection has a socket, and what it reads or writes.
fn open_files() -> Said {
    let wanted = 2 * larder_api::Limits::default().connections_max as u64 + OWN_FILES;
    match getrlimit(Resource::Nofile).maximum {
        Some(most) if most < wanted => Said::warning(
            format_args!("this user may open {most} files; a server with all its connections has {wanted}"),
            format_args!("raise it: `LimitNOFILE={wanted}` in the systemd unit, or `ulimit -Hn {wanted}`"),
        ),
        Some(most) => Said::ok(format_args!("{most} may be open, {wanted} are wanted")),
        None => Said::ok("any number may be open"),
    }
}

fn clock(now: Duration, hardware: Option<Duration>) -> Said {
    let synchronise = "set it, and keep it right by NTP: names and times of new files come from it";
    if now < EARLIEST {
        return Said::problem("the clock is before 2026", synchronise);
    }
    match hardware {
        Some(hardware) if hardware.abs_diff(now) > APART_MAX => Said::warning(
            format_args!("the clock and the hardware's are {} h apart", hardware.abs_diff(now).as_secs() / 3600),
            synchronise,
        ),
        Some(_) => Said::ok("it agrees with the hardware's"),
        None => Said::ok("it is not before 2026; there is no hardware clock to compare it with"),
    }
}

fn now() -> Duration {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default()
}

fn hardware_clock() -> Option<Duration> {
    let text = fs::read_to_string("/sys/class/rtc/rtc0/since_epoch").ok()?;
    Some(Duration::from_secs(text.trim().parse().ok()?))
}

fn server(runs: bool) -> Said {
    Said::ok(if runs { "one runs here" } else { "none runs here" })
}

#[cfg(test)]
mod tests {
    use super::{super::Verdict, *};

    #[test]
    fn a_clock_that_lost_its_battery_is_a_problem_and_one_that_disagrees_is_suspicious() {
        let (now, hour) = (EARLIEST * 2, Duration::from_secs(3600));
        for (clock_says, hardware, verdict) in [
            (Duration::ZERO, None, Verdict::Problem),
            (now, None, Verdict::Ok),
            (now, Some(now + 12 * hour), Verdict::Ok),
            (now, Some(now - 16 * hour), Verdict::Warning),
        ] {
            assert_eq!(clock(clock_says, hardware).verdict, verdict, "{clock_says:?} {hardware:?}");
        }
    }
}
