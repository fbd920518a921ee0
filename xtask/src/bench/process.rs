//! Processes that a measurement starts, and what the kernel says about them.

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use rustix::process::{Pid, Signal, kill_process};

const PATIENCE: Duration = Duration::from_secs(30);

/// A server that was started here, and is stopped when this is dropped.
#[derive(Debug)]
pub(crate) struct Server {
    child: Child,
    address: SocketAddr,
}

impl Server {
    /// Starts `command` and waits for its line `listening on http://ADDRESS` on standard error.
    /// The rest of what it says goes to the file `log`.
    pub(crate) fn start(command: &mut Command, log: &Path) -> Result<Self> {
        let mut child = command
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .with_context(|| format!("cannot start {command:?}"))?;
        let mut lines = BufReader::new(child.stderr.take().expect("standard error is piped"));
        let mut log = fs::File::create(log).with_context(|| format!("cannot create `{}`", log.display()))?;
        let (found, address) = mpsc::channel();
        // The pipe must be read to its end, or a talkative server would wait for us.
        thread::spawn(move || {
            let mut line = String::new();
            while lines.read_line(&mut line).is_ok_and(|bytes| bytes > 0) {
                if let Some(address) = listening_on(&line) {
                    let _ = found.send(address);
                }
                let _ = log.write_all(line.as_bytes());
                line.clear();
            }
        });
        match address.recv_timeout(PATIENCE) {
            Ok(address) => Ok(Self { child, address }),
            Err(_) => {
                let _ = child.kill();
                let _ = child.wait();
                bail!("{command:?} did not say where it listens; see its log")
            }
        }
    }

    /// Adopts a child that listens at a known address and waits until it does.
    pub(crate) fn adopt(mut child: Child, address: SocketAddr) -> Result<Self> {
        let started = Instant::now();
        while std::net::TcpStream::connect(address).is_err() {
            if started.elapsed() > PATIENCE || child.try_wait()?.is_some() {
                let _ = child.kill();
                let _ = child.wait();
                bail!("nothing listens on {address}");
            }
            thread::sleep(Duration::from_millis(10));
        }
        Ok(Self { child, address })
    }

    /// A method, not a field: a closure that took only the field would let the server go.
    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let pid = i32::try_from(self.child.id()).ok().and_then(Pid::from_raw);
        let asked = pid.is_some_and(|pid| kill_process(pid, Signal::TERM).is_ok());
        let started = Instant::now();
        while asked && started.elapsed() < PATIENCE {
            if !matches!(self.child.try_wait(), Ok(None)) {
                return;
            }
            thread::sleep(Duration::from_millis(10));
        }
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Returns the address in a line that holds `listening on http://ADDRESS`.
fn listening_on(line: &str) -> Option<SocketAddr> {
    let (_, rest) = line.split_once("listening on http://")?;
    let end = rest.find(|c: char| c.is_whitespace() || c == '/' || c == '\u{1b}').unwrap_or(rest.len());
    rest[..end].parse().ok()
}

/// Returns the seconds of processor time that a process and its children have used.
pub(crate) fn cpu_seconds(pid: u32) -> f64 {
    let own = fs::read_to_string(format!("/proc/{pid}/stat")).ok().and_then(|text| ticks(&text)).unwrap_or(0);
    let children = fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).unwrap_or_default();
    let theirs: f64 = children.split_whitespace().filter_map(|child| child.parse().ok()).map(cpu_seconds).sum();
    own as f64 / rustix::param::clock_ticks_per_second() as f64 + theirs
}

/// Reads user and system ticks from `/proc/PID/stat`.
fn ticks(stat: &str) -> Option<u64> {
    // A program's name may hold spaces and parentheses: count from the last one.
    let mut fields = stat.rsplit_once(") ")?.1.split(' ').skip(11);
    Some(fields.next()?.parse::<u64>().ok()? + fields.next()?.parse::<u64>().ok()?)
}

/// Returns the seconds of processor time that this thread has used.
pub(crate) fn own_cpu_seconds() -> f64 {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::ThreadCPUTime);
    time.tv_sec as f64 + time.tv_nsec as f64 / 1e9
}

/// Resident memory of a process, in MiB: the most it ever had since it was last forgotten, and what it has now.
pub(crate) fn memory_mib(pid: u32) -> Result<(f64, f64)> {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).context("the server is gone")?;
    let field = |name| kib(&status, name).with_context(|| format!("no {name} in /proc/{pid}/status"));
    Ok((field("VmHWM:")? / 1024.0, field("VmRSS:")? / 1024.0))
}

fn kib(status: &str, name: &str) -> Option<f64> {
    status.lines().find_map(|line| line.strip_prefix(name))?.trim().strip_suffix(" kB")?.parse().ok()
}

/// Makes the kernel count a process's peak memory anew.
pub(crate) fn forget_peak(pid: u32) -> Result<()> {
    fs::write(format!("/proc/{pid}/clear_refs"), "5").context("cannot reset the peak of memory")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_address_is_found_in_a_line_of_log() {
        let address = Some("127.0.0.1:4711".parse().unwrap());
        assert_eq!(listening_on("listening on http://127.0.0.1:4711\n"), address);
        assert_eq!(listening_on("12:00 INFO listening on http://127.0.0.1:4711/ (Ctrl-C ends)"), address);
        assert_eq!(listening_on("listening soon"), None);
    }

    #[test]
    fn ticks_are_read_behind_a_name_with_parentheses() {
        let stat = "7 (a) b) S 1 7 7 0 -1 4194560 100 0 0 0 25 17 0 0 20 0 4 0 100 0 0";
        assert_eq!(ticks(stat), Some(42));
    }

    #[test]
    fn memory_is_read_by_its_name() {
        assert_eq!(kib("Name:\tx\nVmHWM:\t    2048 kB\nVmRSS:\t 1024 kB\n", "VmHWM:"), Some(2048.0));
        assert!(memory_mib(std::process::id()).unwrap().0 > 0.0);
    }
}
