//! The machine a table was measured on: without it no figure means anything.

use std::fs;
use std::path::Path;

/// Returns one line: cores, processor, memory, kernel, file system below `directory`.
pub(crate) fn line(directory: &Path) -> String {
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let processor = field("/proc/cpuinfo", "model name").unwrap_or_else(|| "an unnamed processor".to_owned());
    let sha = match field("/proc/cpuinfo", "flags") {
        Some(flags) if flags.split(' ').any(|flag| flag == "sha_ni") => "with SHA-NI",
        _ => "without SHA-NI",
    };
    let memory = field("/proc/meminfo", "MemTotal").unwrap_or_default();
    let gib = memory.trim_end_matches(" kB").parse::<f64>().unwrap_or(0.0) / f64::from(1 << 20);
    let kernel = rustix::system::uname().release().to_string_lossy().into_owned();
    format!("{cores} cores of {processor} {sha}, {gib:.0} GiB, Linux {kernel}, {}", file_system(directory))
}

fn field(path: &str, name: &str) -> Option<String> {
    let text = fs::read_to_string(path).ok()?;
    let line = text.lines().find(|line| line.starts_with(name))?;
    Some(line.split_once(':')?.1.trim().to_owned())
}

/// Returns the type of the file system that holds `directory`: that of the longest mount point above it.
fn file_system(directory: &Path) -> String {
    let mounts = fs::read_to_string("/proc/mounts").unwrap_or_default();
    mounted(&mounts, directory).unwrap_or_else(|| "an unknown file system".to_owned())
}

fn mounted(mounts: &str, directory: &Path) -> Option<String> {
    let mounts = mounts.lines().filter_map(|line| {
        let mut fields = line.split(' ').skip(1);
        Some((fields.next()?, fields.next()?))
    });
    let above = mounts.filter(|(point, _)| directory.starts_with(point));
    // Of two at one point the later lies on top.
    above.max_by_key(|(point, _)| point.len()).map(|(_, kind)| kind.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_file_system_is_that_of_the_nearest_mount() {
        let mounts = "/dev/a / ext4 rw 0 0\ntmpfs /tmp tmpfs rw 0 0\n/dev/b /tmp/x xfs rw 0 0\n";
        assert_eq!(mounted(mounts, Path::new("/tmp/x/y")).as_deref(), Some("xfs"));
        assert_eq!(mounted(mounts, Path::new("/tmpfoo")).as_deref(), Some("ext4"));
        assert_eq!(mounted("", Path::new("/")), None);
    }
}
