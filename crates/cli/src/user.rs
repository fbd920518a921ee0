//! `larder user`: adds and lists users and sets passwords, which come from the terminal or standard input, never from an argument.

use crate::{
    Context,
    open::{self, Access},
    output::{Exit, Output, WrongUsage},
};
use anyhow::{Context as _, Result};
use clap::Subcommand;
use larder_files::{Files, Role, UserName};
use rustix::termios::{LocalModes, OptionalActions, Termios, tcgetattr, tcsetattr};
use secrecy::{ExposeSecret, SecretString};
use serde_json::json;
use std::{
    fs::{File, OpenOptions},
    io::{self, BufRead, BufReader, IsTerminal, Write},
};
use zeroize::Zeroizing;

/// Add, list and change users.
#[derive(Subcommand)]
pub(crate) enum User {
    /// Add a user
    Add {
        /// 1 to 40 characters of a-z, 0-9, `.`, `_` and `-`
        name: UserName,
        /// One who may do everything
        #[arg(long)]
        admin: bool,
        /// Read the password from standard input instead of the terminal
        #[arg(long)]
        password_stdin: bool,
    },
    /// List users
    List,
    /// Set a user's password; their access tokens end
    Passwd {
        /// The user
        name: UserName,
        /// Read the password from standard input instead of the terminal
        #[arg(long)]
        password_stdin: bool,
    },
}

impl User {
    pub(crate) async fn run(self, context: Context) -> Result<Exit> {
        let output = &context.output;
        match self {
            Self::Add { name, admin, password_stdin } => {
                let password = read_password(password_stdin)?;
                let role = if admin { Role::Admin } else { Role::User };
                open::with(&context, Access::Make, async |files| add(files, output, name, role, password).await).await
            }
            Self::List => open::with(&context, Access::Read, async |files| list(files, output).await).await,
            Self::Passwd { name, password_stdin } => {
                let password = read_password(password_stdin)?;
                open::with(&context, Access::Change, async |files| change(files, &name, password).await).await
            }
        }
    }
}

async fn add(files: &Files, output: &Output, name: UserName, role: Role, password: SecretString) -> Result<Exit> {
    let user = files.add_user(name, role, Some(hash(password).await?)).await?;
    output.line(user.id)?;
    output.flush()?;
    Ok(Exit::Done)
}

async fn change(files: &Files, name: &UserName, password: SecretString) -> Result<Exit> {
    let user = files.user_named(name.as_str()).await?.filter(|user| user.gone_at.is_none());
    let user = user.with_context(|| format!("no such user: `{name}`"))?;
    files.set_password(user.id, hash(password).await?).await?;
    Ok(Exit::Done)
}

async fn list(files: &Files, output: &Output) -> Result<Exit> {
    for user in files.users().await?.into_iter().filter(|user| user.gone_at.is_none()) {
        let role = serde_json::to_value(user.role)?;
        if output.json {
            let locked = user.password_hash.is_none();
            output.record(&json!({"id": user.id, "username": user.name, "role": role, "created_at": user.created_at, "locked": locked}))?;
        } else {
            let locked = if user.password_hash.is_none() { "  can't log in" } else { "" };
            output.line(format_args!(
                "{}  {:<5}  {}{locked}",
                user.id,
                role.as_str().unwrap_or_default(),
                user.name
            ))?;
        }
    }
    output.flush()?;
    Ok(Exit::Done)
}

async fn hash(password: SecretString) -> Result<String> {
    tokio::task::spawn_blocking(move || larder_api::password::hash(password.expose_secret()))
        .await?
        .context("cannot hash the password")
}

/// # Errors
/// No terminal to ask on, two different answers, or a password that is too short.
fn read_password(from_stdin: bool) -> Result<SecretString> {
    let password = if from_stdin { read_line(&mut io::stdin().lock())? } else { ask_twice()? };
    if password.chars().count() < PASSWORD_CHARS_MIN {
        return Err(WrongUsage(format!("a password has at least {PASSWORD_CHARS_MIN} characters")).into());
    }
    Ok(SecretString::from(password.as_str()))
}

/// As OWASP ASVS 5.0 (6.2.1) has it.
const PASSWORD_CHARS_MIN: usize = 8;

fn ask_twice() -> Result<Zeroizing<String>> {
    let terminal = OpenOptions::new().read(true).write(true).open("/dev/tty").ok().filter(File::is_terminal);
    let terminal =
        terminal.ok_or_else(|| WrongUsage("no terminal to ask for the password: use --password-stdin".into()))?;
    let silence = Silence::new(&terminal)?;
    let ask = |prompt: &str| {
        (&terminal).write_all(prompt.as_bytes())?;
        let answer = read_line(&mut BufReader::new(&terminal));
        (&terminal).write_all(b"\n")?;
        answer
    };
    let (password, again) = (ask("Password: ")?, ask("Again: ")?);
    drop(silence);
    if password != again {
        return Err(WrongUsage("the two passwords differ".into()).into());
    }
    Ok(password)
}

fn read_line(input: &mut impl BufRead) -> io::Result<Zeroizing<String>> {
    let mut line = Zeroizing::new(String::new());
    input.read_line(&mut line)?;
    Ok(Zeroizing::new(line.trim_end_matches(['\r', '\n']).to_owned()))
}

/// A terminal that does not show what is typed, until this is dropped.
struct Silence<'a> {
    terminal: &'a File,
    before: Termios,
}

impl<'a> Silence<'a> {
    fn new(terminal: &'a File) -> io::Result<Self> {
        let before = tcgetattr(terminal)?;
        let mut silent = before.clone();
        silent.local_modes.remove(LocalModes::ECHO);
        tcsetattr(terminal, OptionalActions::Flush, &silent)?;
        Ok(Self { terminal, before })
    }
}

impl Drop for Silence<'_> {
    fn drop(&mut self) {
        let _ = tcsetattr(self.terminal, OptionalActions::Flush, &self.before);
    }
}
