//! [`reach`]: where a test may kill the process, as a power cut would: nothing is flushed, nothing is dropped, nobody is told.

use rustix::process::{Signal, getpid, kill_process};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};

/// Which point kills, and at its how many-th pass.
struct Aim {
    name: String,
    passes_left: AtomicU64,
}

/// Kills the process with SIGKILL if the environment's `LARDER_CRASH_POINT` is `name`, or `name:N` and this is the N-th pass.
pub fn reach(name: &str) {
    static AIM: OnceLock<Option<Aim>> = OnceLock::new();
    let Some(aim) = AIM.get_or_init(|| std::env::var("LARDER_CRASH_POINT").ok().map(|text| parse(&text))) else {
        return;
    };
    if aim.name == name && aim.passes_left.fetch_sub(1, Ordering::SeqCst) == 1 {
        // Whatever comes of it: this thread never goes on.
        let _ = kill_process(getpid(), Signal::KILL);
        loop {
            std::thread::park();
        }
    }
}

fn parse(text: &str) -> Aim {
    let (name, pass) = text
        .rsplit_once(':')
        .and_then(|(name, pass)| Some((name, pass.parse().ok().filter(|&pass| pass > 0)?)))
        .unwrap_or((text, 1));
    Aim { name: name.to_owned(), passes_left: AtomicU64::new(pass) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_may_carry_the_number_of_its_pass() {
        for (text, name, pass) in [("a.b", "a.b", 1), ("a.b:3", "a.b", 3), ("a.b:0", "a.b:0", 1)] {
            let aim = parse(text);
            assert_eq!((aim.name.as_str(), aim.passes_left.into_inner()), (name, pass));
        }
    }
}
