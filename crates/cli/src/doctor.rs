//! `larder doctor`: everything that a start, an upload and a power cut rely on, measured where it lies. It works beside a running
//! server, and what it makes for a measurement is gone when it ends.
//!
//! A check is a row of a table: its name, and a function from what it is about to what was measured.

mod abilities;
mod bucket;
mod database;
mod place;
mod process;

use crate::{
    Context,
    config::Config,
    output::{Exit, Output, Refusal, chain, counted, refuse},
};
use anyhow::Result;
use clap::Args;
use larder_files::StoreName;
use place::Place;
use serde::Serialize;
use std::{fmt, io};

/// Check everything that Larder relies on.
#[derive(Args)]
pub(crate) struct Doctor {
    /// Check this store alone
    #[arg(long, value_name = "NAME")]
    store: Option<StoreName>,
    /// Print what the credentials of a bucket must be allowed, as a policy of AWS, and check nothing
    #[arg(long)]
    policy: bool,
}

/// A row: what is looked at, and how.
struct Check<T: ?Sized> {
    name: &'static str,
    look: fn(&T) -> Said,
}

/// How well it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
enum Verdict {
    Ok,
    Warning,
    Problem,
}

/// What a check says: what was measured, and what mends it.
#[derive(Clone, Debug)]
struct Said {
    verdict: Verdict,
    measured: String,
    advice: String,
}

/// What a check says, of what.
#[derive(Serialize)]
struct Line<'a> {
    check: &'a str,
    about: &'a str,
    result: Verdict,
    measured: &'a str,
    /// `None` where nothing is to be done.
    advice: Option<&'a str>,
}

impl Said {
    fn ok(measured: impl fmt::Display) -> Self {
        Self { verdict: Verdict::Ok, measured: measured.to_string(), advice: String::new() }
    }

    fn warning(measured: impl fmt::Display, advice: impl fmt::Display) -> Self {
        Self { verdict: Verdict::Warning, measured: measured.to_string(), advice: advice.to_string() }
    }

    fn problem(measured: impl fmt::Display, advice: impl fmt::Display) -> Self {
        Self { verdict: Verdict::Problem, measured: measured.to_string(), advice: advice.to_string() }
    }

    /// What a start would be refused with.
    fn refused(error: &anyhow::Error) -> Self {
        match error.downcast_ref::<Refusal>() {
            Some(Refusal { what, mend }) => Self::problem(what, mend),
            None => Self::problem(chain(error.as_ref()), "mend that, then run `larder doctor` again"),
        }
    }
}

impl Doctor {
    pub(crate) async fn run(self, context: Context) -> Result<Exit> {
        let mut report = Report { output: &context.output, checks: 0, warnings: 0, problems: 0 };
        let stores = chosen(&context.config, self.store.as_ref())?;
        if self.policy {
            return bucket::policy(&context.config, self.store.as_ref(), &context.output);
        }
        if self.store.is_none() {
            report.all(process::CHECKS, "process", &context)?;
            report.add("uploads", "buckets", &uploads(&context.config))?;
            let data = Place::data(&context);
            report.all(data.checks(), "data directory", &data)?;
            for (name, said) in database::look(&context).await {
                report.add(name, "database", &said)?;
            }
        }
        for name in stores {
            let about = format!("store {name}");
            if let Some(options) = context.config.stores[name].s3_options() {
                for (check, said) in bucket::look(&context, name, options).await {
                    report.add(check, &about, &said)?;
                }
                continue;
            }
            let store = Place::store(&context, name);
            report.all(store.checks(), &about, &store)?;
            for (name, said) in abilities::measure(&store) {
                report.add(name, &about, &said)?;
            }
        }
        report.end()
    }
}

/// Whether there is a bucket that nothing can be put into.
fn uploads(config: &Config) -> Said {
    match config.closed_buckets().as_slice() {
        [] => Said::ok("every bucket has a store that takes new files"),
        closed => Said::warning(
            closed.join("; "),
            "where that is not meant, name a store of the mode `edit` in its placement, or give one that mode",
        ),
    }
}

/// The stores to look at.
fn chosen<'a>(config: &'a Config, named: Option<&'a StoreName>) -> Result<Vec<&'a StoreName>> {
    match named {
        None => Ok(config.stores.keys().collect()),
        Some(name) if config.stores.contains_key(name) => Ok(vec![name]),
        Some(name) => {
            let known: Vec<_> = config.stores.keys().map(|known| format!("`{known}`")).collect();
            Err(refuse(
                format_args!("unknown store `{name}`"),
                format_args!("configured stores are {}", known.join(", ")),
            ))
        }
    }
}

/// Prints each check when it is done.
struct Report<'a> {
    output: &'a Output,
    checks: u64,
    warnings: u64,
    problems: u64,
}

impl Report<'_> {
    fn all<T>(&mut self, checks: impl IntoIterator<Item = &'static Check<T>>, about: &str, of: &T) -> io::Result<()>
    where
        T: 'static,
    {
        checks.into_iter().try_for_each(|check| self.add(check.name, about, &(check.look)(of)))
    }

    fn add(&mut self, check: &str, about: &str, said: &Said) -> io::Result<()> {
        let Said { verdict, measured, advice } = said;
        self.checks += 1;
        self.warnings += u64::from(*verdict == Verdict::Warning);
        self.problems += u64::from(*verdict == Verdict::Problem);
        let (measured, advice) = (self.output.hinted(measured), self.output.hinted(advice));
        if self.output.json {
            let (measured, advice) = (&*measured, &*advice);
            let advice = Some(advice).filter(|advice| !advice.is_empty());
            self.output.record(&Line { check, about, result: *verdict, measured, advice })?;
        } else {
            let verdict = match verdict {
                Verdict::Ok => "ok",
                Verdict::Warning => "WARNING",
                Verdict::Problem => "PROBLEM",
            };
            self.output.line(format_args!("{verdict:<8} {about:<15} {check:<16} {measured}"))?;
            if !advice.is_empty() {
                self.output.line(format_args!("{:<8} -> {advice}", ""))?;
            }
        }
        // A disk that hangs must not hide what was found before.
        self.output.flush()
    }

    fn end(self) -> Result<Exit> {
        let Self { output, checks, warnings, problems } = self;
        output.message(format_args!(
            "{}, {}, {}",
            counted(checks, "check", "checks"),
            counted(warnings, "warning", "warnings"),
            counted(problems, "problem", "problems")
        ));
        Ok(Exit::failed_if(problems > 0))
    }
}
