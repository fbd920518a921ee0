//! [`Output`]: results to standard output, everything else to standard error. A reader that goes away ends a command quietly, unless what it
//! does or finds matters without one.

use crate::{Color, Globals, hint::Hints, serve::LogForm};
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use serde::Serialize;
use std::{
    borrow::Cow,
    fmt,
    io::{self, BufWriter, ErrorKind, IsTerminal, Stdout, Write},
    path::Path,
    process::ExitCode,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
};
use tracing_subscriber::EnvFilter;

/// How a command ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Exit {
    /// Done.
    Done,
    /// It failed, in part or whole, or found something wrong.
    Failed,
    /// It was called wrongly.
    Usage,
}

impl Exit {
    /// `Done` where nothing went wrong.
    pub(crate) fn failed_if(failed: bool) -> Self {
        if failed { Self::Failed } else { Self::Done }
    }
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(match exit {
            Exit::Done => 0,
            Exit::Failed => 1,
            Exit::Usage => 2,
        })
    }
}

/// A wrong call that only the command itself can recognise.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub(crate) struct WrongUsage(pub(crate) String);

/// A refusal that changed nothing: what is wrong and where, and the command or line that mends it.
#[derive(Debug, thiserror::Error)]
#[error("{what}\n  {mend}")]
pub(crate) struct Refusal {
    pub(crate) what: String,
    pub(crate) mend: String,
}

/// A [`Refusal`] as an error.
pub(crate) fn refuse(what: impl fmt::Display, mend: impl fmt::Display) -> anyhow::Error {
    Refusal { what: what.to_string(), mend: mend.to_string() }.into()
}

/// Where a command's words go. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Output {
    pub(crate) json: bool,
    quiet: bool,
    verbose: bool,
    color: bool,
    hints: Hints,
    /// Whether a command is to end as if its results were read, where nobody reads them any more.
    goes_on_unread: bool,
    /// Whether the reader of the results has gone away.
    unread: Arc<AtomicBool>,
    results: Arc<Mutex<BufWriter<Stdout>>>,
    bar: Arc<Mutex<Option<ProgressBar>>>,
}

impl Output {
    pub(crate) fn new(globals: &Globals, hints: Hints, goes_on_unread: bool) -> Self {
        Self {
            json: globals.json,
            quiet: globals.quiet,
            verbose: globals.verbose > 0,
            color: colored(globals.color),
            hints,
            goes_on_unread,
            unread: Arc::default(),
            results: Arc::new(Mutex::new(BufWriter::with_capacity(64 << 10, io::stdout()))),
            bar: Arc::default(),
        }
    }

    /// One line of the result. Buffered: [`Output::flush`] at the end, or wherever a reader waits.
    pub(crate) fn line(&self, line: impl fmt::Display) -> io::Result<()> {
        self.result(|results| writeln!(results, "{line}"))
    }

    /// One JSON line of the result.
    pub(crate) fn record(&self, record: &impl Serialize) -> io::Result<()> {
        self.line(serde_json::to_string(record).map_err(io::Error::other)?)
    }

    /// Bytes of the result.
    pub(crate) fn bytes(&self, bytes: &[u8]) -> io::Result<()> {
        self.result(|results| results.write_all(bytes))
    }

    /// Hands all results on.
    pub(crate) fn flush(&self) -> io::Result<()> {
        self.result(Write::flush)
    }

    fn result(&self, write: impl FnOnce(&mut BufWriter<Stdout>) -> io::Result<()>) -> io::Result<()> {
        if self.goes_on_unread && self.unread.load(Ordering::Relaxed) {
            return Ok(());
        }
        match write(&mut self.results.lock().unwrap_or_else(PoisonError::into_inner)) {
            Err(error) if error.kind() == ErrorKind::BrokenPipe => {
                self.unread.store(true, Ordering::Relaxed);
                if self.goes_on_unread { Ok(()) } else { Err(error) }
            }
            written => written,
        }
    }

    /// Whether the result is looked at by people, and not by a program.
    pub(crate) fn is_shown(&self) -> bool {
        !self.json && io::stdout().is_terminal()
    }

    /// The text with its commands as they work here.
    pub(crate) fn hinted<'a>(&self, text: &'a str) -> Cow<'a, str> {
        self.hints.complete(text)
    }

    /// A message, unless quiet.
    pub(crate) fn message(&self, message: impl fmt::Display) {
        if !self.quiet {
            self.say(message);
        }
    }

    /// A message that somebody waits for; also when quiet.
    pub(crate) fn always(&self, message: impl fmt::Display) {
        self.say(message);
    }

    /// A message for whoever asked for more.
    pub(crate) fn detail(&self, message: impl fmt::Display) {
        if self.verbose {
            self.say(message);
        }
    }

    /// What went wrong; also when quiet.
    pub(crate) fn error(&self, message: impl fmt::Display) {
        let (red, plain) = if self.color { ("\x1b[1;31m", "\x1b[0m") } else { ("", "") };
        self.say(format_args!("{red}error:{plain} {message}"));
    }

    /// Standard error may be gone; there is nobody left to tell.
    fn say(&self, message: impl fmt::Display) {
        let message = message.to_string();
        let write = || drop(writeln!(io::stderr().lock(), "{}", self.hinted(&message)));
        match &*self.bar.lock().unwrap_or_else(PoisonError::into_inner) {
            Some(bar) => bar.suspend(write),
            None => write(),
        }
    }

    /// Says why a command ended early, unless its reader just went away.
    pub(crate) fn failure(&self, error: &anyhow::Error) -> Exit {
        let broken_pipe = |cause: &(dyn std::error::Error + 'static)| {
            cause.downcast_ref::<io::Error>().is_some_and(|error| error.kind() == ErrorKind::BrokenPipe)
        };
        // A connection to a server breaks so as well: of a command that goes on unread it can be nothing else.
        if !self.goes_on_unread && self.unread.load(Ordering::Relaxed) && error.chain().any(broken_pipe) {
            return Exit::Done;
        }
        self.error(chain(error.as_ref()));
        if error.is::<WrongUsage>() { Exit::Usage } else { Exit::Failed }
    }

    /// A bar of `total` bytes (unknown: `None`), drawn only on a terminal. It goes away when dropped.
    pub(crate) fn progress(&self, total: Option<u64>) -> Progress {
        let shown = !self.quiet && io::stderr().is_terminal();
        let target = if shown { ProgressDrawTarget::stderr() } else { ProgressDrawTarget::hidden() };
        let bar = ProgressBar::with_draw_target(total, target);
        let form = match total {
            Some(_) => "{bar:30} {bytes}/{total_bytes}  {bytes_per_sec}  {eta}  {wide_msg}",
            None => "{spinner} {bytes}  {bytes_per_sec}  {wide_msg}",
        };
        bar.set_style(ProgressStyle::with_template(form).expect("a good template"));
        if shown {
            *self.bar.lock().unwrap_or_else(PoisonError::into_inner) = Some(bar.clone());
        }
        Progress { bar, output: self.clone() }
    }
}

/// A progress bar; see [`Output::progress`].
pub(crate) struct Progress {
    bar: ProgressBar,
    output: Output,
}

impl Progress {
    /// So many bytes more.
    pub(crate) fn add(&self, bytes: u64) {
        self.bar.inc(bytes);
    }

    /// What it is about now.
    pub(crate) fn about(&self, text: &str) {
        if !self.bar.is_hidden() {
            self.bar.set_message(text.to_owned());
        }
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        self.bar.finish_and_clear();
        *self.output.bar.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }
}

/// An error and its causes on one line; a cause that the line above tells already is left out.
pub(crate) fn chain(error: &(dyn std::error::Error + 'static)) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let words = error.to_string();
        if !text.contains(&words) {
            text = format!("{text}: {words}");
        }
        cause = error.source();
    }
    text
}

/// A path for people: what a terminal would obey is written as it is in Rust.
pub(crate) fn shown(path: &Path) -> String {
    let escaped = |c: char| if c.is_control() { c.escape_default().collect() } else { String::from(c) };
    path.to_string_lossy().chars().map(escaped).collect()
}

/// A size for people: `1.4 MiB`.
pub(crate) fn size(bytes: u64) -> String {
    indicatif::BinaryBytes(bytes).to_string()
}

/// How many there are: `1 file`, `2 files`.
pub(crate) fn counted(count: u64, one: &str, several: &str) -> String {
    format!("{count} {}", if count == 1 { one } else { several })
}

fn colored(color: Color) -> bool {
    match color {
        Color::Auto => io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none_or(|text| text.is_empty()),
        Color::Always => true,
        Color::Never => false,
    }
}

/// Starts the log on standard error: for people on a terminal, JSON lines elsewhere. `LARDER_LOG` filters it
/// (tracing's directives); without it a server tells `info`, a command only `warn`.
pub(crate) fn start_log(globals: &Globals, server: bool, form: Option<LogForm>) {
    let level = match (globals.quiet, globals.verbose) {
        (true, _) => "error",
        (false, 0) if server => "info,actix_server=warn,sea_orm_migration=warn",
        (false, 0) => "warn",
        (false, 1) => "info,larder=debug",
        (false, _) => "debug",
    };
    let filter = EnvFilter::try_from_env("LARDER_LOG").unwrap_or_else(|_| EnvFilter::new(level));
    let people = match form {
        Some(form) => form == LogForm::Human,
        None => !server || io::stderr().is_terminal(),
    };
    let log = tracing_subscriber::fmt().with_env_filter(filter).with_writer(io::stderr);
    // Who no longer reads the log can't be told so: to try would be a panic.
    let log = log.log_internal_errors(false);
    if people {
        log.with_ansi(colored(globals.color)).with_target(false).init();
    } else {
        log.json().flatten_event(true).init();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_connection_that_broke_is_a_failure_and_a_reader_that_went_away_is_none() {
        let cli = <crate::Cli as clap::Parser>::parse_from(["larder", "ls", "--quiet"]);
        for (goes_on_unread, unread) in [(false, Exit::Done), (true, Exit::Failed)] {
            let output = Output::new(&cli.globals, Hints::default(), goes_on_unread);
            let broken =
                anyhow::Error::from(io::Error::from(ErrorKind::BrokenPipe)).context("cannot get `a` in s3://b");
            assert_eq!(output.failure(&broken), Exit::Failed);
            output.unread.store(true, Ordering::Relaxed);
            assert_eq!(output.failure(&broken), unread, "its own pipe has told nobody of this");
        }
    }

    #[test]
    fn one_thing_is_not_several() {
        let files = [0, 1, 2].map(|count| counted(count, "file", "files"));
        assert_eq!(files, ["0 files", "1 file", "2 files"]);
    }

    #[test]
    fn a_path_tells_a_terminal_nothing_to_do() {
        assert_eq!(shown(Path::new("a\nb\u{1b}[31m/ü")), r"a\nb\u{1b}[31m/ü");
    }
}
