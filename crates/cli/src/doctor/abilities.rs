//! What the file system of a store can do, found out by doing it in a directory of its own inside the store, which goes again.
//! Where the store has Larder's own folder it lies in there, so that no listing sees it.

use super::{Check, Said, place::Place};
use rustix::{
    fs::{CWD, Mode, OFlags, RenameFlags, ioctl_ficlone, openat, renameat_with},
    io::Errno,
};
use std::{
    fs::{self, DirEntry, File},
    io::{self, Write},
    path::Path,
    time::{Duration, Instant},
};

const CHECKS: &[Check<Path>] = &[
    Check { name: "publishing", look: |dir| told(publishing(dir)) },
    Check { name: "O_TMPFILE", look: nameless_files },
    Check { name: "fsync", look: |dir| told(fsync_time(dir)) },
    Check { name: "reflink", look: |dir| told(reflink(dir)) },
    Check { name: "case", look: |dir| told(case(dir)) },
    Check { name: "long names", look: |dir| told(long_names(dir)) },
    Check { name: "Unicode names", look: |dir| told(unicode_names(dir)) },
];

/// Tries everything; nothing where the store is not there or not written to.
pub(super) fn measure(place: &Place) -> Vec<(&'static str, Said)> {
    if !place.path.is_dir() || place.is_read_only {
        return Vec::new();
    }
    let own = place.path.join(".larder");
    sweep(&own);
    let inside = if own.is_dir() { own } else { place.path.clone() };
    match tempfile::Builder::new().prefix(SCRATCH).tempdir_in(&inside) {
        Ok(scratch) => CHECKS.iter().map(|check| (check.name, (check.look)(scratch.path()))).collect(),
        Err(error) => {
            let advice =
                "mend the directory's permissions or its disk; `mode = \"ro\"` takes a store that is only read";
            vec![("writable", Said::problem(format_args!("nothing can be made in it: {error}"), advice))]
        }
    }
}

/// How a directory for trying begins.
const SCRATCH: &str = "doctor-";
/// Nobody tries for as long.
const KILLED_AFTER: Duration = Duration::from_secs(60 * 60);

/// Takes away what one that was killed has left among Larder's own.
fn sweep(own: &Path) {
    let is_left = |entry: &DirEntry| {
        let is_old = || entry.metadata()?.modified()?.elapsed().map_err(io::Error::other).map(|age| age > KILLED_AFTER);
        entry.file_name().as_encoded_bytes().starts_with(SCRATCH.as_bytes()) && is_old().unwrap_or(false)
    };
    for left in fs::read_dir(own).into_iter().flatten().flatten().filter(is_left) {
        // Where it can't go, the measurement will say why.
        let _ = fs::remove_dir_all(left.path());
    }
}

/// A measurement that failed by itself tells of a disk in trouble.
fn told(said: io::Result<Said>) -> Said {
    said.unwrap_or_else(|error| Said::problem(format_args!("it could not be tried: {error}"), "look at the disk"))
}

/// A new name that never replaces another, by one of two ways.
fn publishing(dir: &Path) -> io::Result<Said> {
    let (from, to) = (dir.join("publish-a"), dir.join("publish-b"));
    fs::write(&from, "a")?;
    fs::write(&to, "b")?;
    let renames = renameat_with(CWD, &from, CWD, &to, RenameFlags::NOREPLACE) == Err(Errno::EXIST);
    let links = fs::hard_link(&from, dir.join("publish-c")).is_ok();
    Ok(match (links, renames) {
        (true, true) => Said::ok("link(2), and renameat2(RENAME_NOREPLACE)"),
        (true, false) => Said::ok("link(2)"),
        (false, true) => Said::ok("renameat2(RENAME_NOREPLACE)"),
        (false, false) => Said::problem(
            "neither link(2) nor renameat2(RENAME_NOREPLACE): a start is refused",
            "take a file system that has one of them, such as ext4 or XFS",
        ),
    })
}

fn nameless_files(dir: &Path) -> Said {
    let made = openat(CWD, dir, OFlags::TMPFILE | OFlags::WRONLY | OFlags::CLOEXEC, Mode::RUSR | Mode::WUSR);
    Said::ok(if made.is_ok() { "there" } else { "not there, and not needed" })
}

const ROUNDS: usize = 9;
const SLOW: Duration = Duration::from_millis(50);
/// No disk is as fast; memory is, and a layer that does not write.
const TOO_FAST: Duration = Duration::from_micros(2);

/// The median of some: one alone may wait for somebody else's.
fn fsync_time(dir: &Path) -> io::Result<Said> {
    let mut file = File::create(dir.join("fsync"))?;
    let mut times = [Duration::ZERO; ROUNDS];
    for time in &mut times {
        file.write_all(&[7; 4096])?;
        let began = Instant::now();
        file.sync_all()?;
        *time = began.elapsed();
    }
    times.sort_unstable();
    Ok(judge_fsync(times[ROUNDS / 2]))
}

fn judge_fsync(median: Duration) -> Said {
    let measured = format!("{median:.1?} (median of {ROUNDS} of 4 KiB)");
    match median {
        median if median >= SLOW => Said::warning(
            measured,
            "each upload waits for some of them: take a disk with power-loss protection, or an SSD",
        ),
        median if median < TOO_FAST => Said::warning(
            format_args!("{measured}: faster than a disk can be"),
            "see that syncs reach the disk: no tmpfs, no `nobarrier`, no `libeatmydata`, no host that drops them",
        ),
        _ => Said::ok(measured),
    }
}

fn reflink(dir: &Path) -> io::Result<Said> {
    fs::write(dir.join("reflink-a"), [7; 4096])?;
    let (from, to) = (File::open(dir.join("reflink-a"))?, File::create(dir.join("reflink-b"))?);
    Ok(Said::ok(if ioctl_ficlone(&to, &from).is_ok() { "there" } else { "not there, and not needed" }))
}

fn case(dir: &Path) -> io::Result<Said> {
    fs::write(dir.join("case-a"), "")?;
    Ok(match dir.join("CASE-A").exists() {
        false => Said::ok("kept apart"),
        true => Said::problem(
            "upper and lower case are the same: a start is refused",
            "take a file system, or a directory, that keeps them apart",
        ),
    })
}

/// The last part of a key with `.attr.json` behind it has up to 250 bytes; the file system's own most is asked.
fn long_names(dir: &Path) -> io::Result<Said> {
    let name = "n".repeat(255);
    Ok(match fs::write(dir.join(name), "") {
        Ok(()) => Said::ok("255 bytes"),
        Err(error) => Said::problem(
            format_args!("a name of 255 bytes is refused ({error})"),
            "take another file system: this one (eCryptfs?) cuts names short",
        ),
    })
}

fn unicode_names(dir: &Path) -> io::Result<Said> {
    // é as one character, and as e with an accent.
    fs::write(dir.join("unicode-\u{e9}"), "")?;
    let names: Vec<_> = fs::read_dir(dir)?.flatten().map(|entry| entry.file_name()).collect();
    let is_kept = names.iter().any(|name| name == "unicode-\u{e9}");
    Ok(match is_kept && !dir.join("unicode-e\u{301}").exists() {
        true => Said::ok("stay as they are"),
        false => Said::problem(
            "names are changed (normalisation): a start is refused",
            "take a file system that keeps names as they are",
        ),
    })
}

#[cfg(test)]
mod tests {
    use super::{super::Verdict, *};

    #[test]
    fn a_slow_sync_and_one_that_is_none_are_suspicious() {
        for (micros, verdict) in
            [(0, Verdict::Warning), (900, Verdict::Ok), (49_999, Verdict::Ok), (50_000, Verdict::Warning)]
        {
            assert_eq!(judge_fsync(Duration::from_micros(micros)).verdict, verdict, "{micros} µs");
        }
    }

    #[test]
    fn what_is_tried_leaves_its_directory_by_itself() {
        let scratch = tempfile::tempdir().unwrap();
        for check in CHECKS {
            assert_ne!((check.look)(scratch.path()).verdict, Verdict::Problem, "{}", check.name);
        }
    }
}
