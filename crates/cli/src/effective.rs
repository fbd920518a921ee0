//! `larder config`: what is in effect and who said so, and whether it is a configuration at all. Neither makes anything.

use crate::{
    Context,
    config::{self, Origin, Setting, Unused},
    database::Database,
    open,
    output::{Exit, Output, refuse},
};
use anyhow::Result;
use clap::Subcommand;
use serde_json::{Value, json};
use std::{io, net::ToSocketAddrs, path::Path};

/// Show and check the configuration.
#[derive(Subcommand)]
pub(crate) enum Effective {
    /// Print every key with its value in effect and where that comes from: default, file and line, variable
    Show,
    /// Say what is wrong with it, or that nothing is; exits with 1 or 0
    Check,
}

impl Effective {
    pub(crate) fn run(self, context: &Context) -> Result<Exit> {
        match self {
            Self::Show => show(context)?,
            Self::Check => check(context)?,
        }
        context.output.flush()?;
        Ok(Exit::Done)
    }
}

/// As TOML, with each origin as a comment: what is printed is a configuration again.
fn show(context: &Context) -> io::Result<()> {
    let Context { dir, config, output, named, .. } = context;
    let given = |key: &str, value, origin: &Origin| {
        print(output, &Setting { key: key.into(), value, origin: origin.clone() }, "# ")
    };
    given("data", json!(dir.path().to_string_lossy()), &named.data)?;
    given("config", json!(config.file().map(Path::to_string_lossy)), &named.config)?;
    for setting in config.in_effect() {
        // A secret is not shown, so what would be read again would be another.
        let is_comment = setting.value.is_null() || config::is_secret(&setting.key);
        print(output, &setting, if is_comment { "# " } else { "" })?;
    }
    for unused in config.unused() {
        match output.json {
            true => output.record(&told(unused))?,
            false => output.line(format_args!("# {unused}"))?,
        }
    }
    Ok(())
}

/// A variable that nothing goes by.
fn told(unused: &Unused) -> Value {
    json!({ "variable": unused.variable, "used": false, "why": unused.why })
}

fn print(output: &Output, setting: &Setting, before: &str) -> io::Result<()> {
    let Setting { key, value, origin } = setting;
    if output.json {
        return output.record(&record(setting));
    }
    output.line(format_args!("{:<58}  # {origin}", format!("{before}{key} = {}", toml(value))))
}

/// A value as TOML writes it, which knows other control characters in texts than JSON.
fn toml(value: &Value) -> String {
    match toml::Value::try_from(value) {
        Ok(value) => value.to_string(),
        // TOML has no null: it stands in a comment.
        Err(_) => value.to_string(),
    }
}

/// `origin` is one of `default`, `file`, `variable` and `flag`; the rest of it has its own fields.
fn record(setting: &Setting) -> Value {
    let Setting { key, value, origin } = setting;
    let mut record = json!({ "key": key, "value": value });
    record["origin"] = match origin {
        Origin::Default => "default",
        Origin::File(..) => "file",
        Origin::Variable(_) => "variable",
        Origin::Flag => "flag",
    }
    .into();
    match origin {
        Origin::File(path, line) => {
            record["file"] = json!(path.to_string_lossy());
            record["line"] = json!(line);
        }
        Origin::Variable(name) => record["variable"] = json!(name),
        Origin::Default | Origin::Flag => {}
    }
    record
}

/// What is wrong with keys and values was refused when they were read.
fn check(context: &Context) -> Result<()> {
    let Context { config, output, .. } = context;
    for (key, place) in [("listen", Some(&config.listen)), ("metrics_listen", config.metrics_listen.as_ref())] {
        let Some(place) = place else { continue };
        place.to_socket_addrs().map_err(|error| {
            refuse(
                format_args!("wrong value of the configuration key `{key}`: `{place}`: {error}"),
                "give an address and a port, such as `127.0.0.1:8080`",
            )
        })?;
    }
    open::check_places(&context.dir, config)?;
    Database::configured(&context.dir, config)?;
    larder_files::check_possible(config.stores.iter().map(|(name, store)| (name, store.mode)), &config.settings())?;
    let from = config.file().map_or("no file, defaults and variables".into(), |file| file.display().to_string());
    let warnings = config.closed_buckets();
    if output.json {
        let file = config.file().map(Path::to_string_lossy);
        let unused: Vec<_> = config.unused().iter().map(told).collect();
        output.record(&json!({ "result": "ok", "file": file, "warnings": warnings, "unused": unused }))?;
    } else {
        let right = format!("the configuration is right ({from}); `larder doctor` looks at what it names");
        output.line(output.hinted(&right))?;
        warnings.iter().try_for_each(|warning| output.line(format_args!("WARNING  {warning}")))?;
        config.told_unused().into_iter().try_for_each(|unused| output.line(format_args!("UNUSED   {unused}")))?;
    }
    Ok(())
}
