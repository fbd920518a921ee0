//! `larder user`: adds, lists, changes and deletes users. Passwords come from the terminal or standard input, never from an argument.

use crate::{
    Context,
    open::{self, Access},
    output::{Exit, Output, WrongUsage, counted},
};
use anyhow::{Context as _, Result};
use clap::{Subcommand, ValueEnum};
use larder_api::{password, record::Person};
use larder_files::{Error, Files, FilesOf, Role, UserName};
use rustix::termios::{LocalModes, OptionalActions, Termios, tcgetattr, tcsetattr};
use secrecy::{ExposeSecret, SecretString};
use std::{
    fs::{File, OpenOptions},
    io::{self, BufRead, BufReader, IsTerminal, Write},
};
use zeroize::Zeroizing;

/// Add, list, change and delete users.
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
    /// Make a user an admin, or an admin a user; the last admin stays one
    Role {
        /// The user
        name: UserName,
        /// What they may do from then on
        role: As,
    },
    /// Delete a user; their name is never given again
    Delete {
        /// The user
        name: UserName,
        /// Give their files, those in the trash too, to this user
        #[arg(long, value_name = "NAME", conflicts_with = "purge_files")]
        files_to: Option<UserName>,
        /// Purge their files, those in the trash too, for ever
        #[arg(long)]
        purge_files: bool,
    },
}

/// A role as an argument.
#[derive(Clone, Copy, ValueEnum)]
pub(crate) enum As {
    /// Everything
    Admin,
    /// What is theirs
    User,
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
            Self::Role { name, role } => {
                let role = match role {
                    As::Admin => Role::Admin,
                    As::User => Role::User,
                };
                open::with(&context, Access::Change, async |files| set_role(files, &name, role).await).await
            }
            Self::Delete { name, files_to, purge_files } => {
                let of = match files_to {
                    Some(heir) => FilesOf::GiveTo(heir),
                    None if purge_files => FilesOf::Purge,
                    None => FilesOf::Refuse,
                };
                open::with(&context, Access::Change, async |files| delete(files, output, &name, of).await).await
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
    let user = find(files, name).await?;
    files.set_password(user.id, hash(password).await?).await?;
    Ok(Exit::Done)
}

async fn set_role(files: &Files, name: &UserName, role: Role) -> Result<Exit> {
    let user = find(files, name).await?;
    files.set_role(user.id, role).await?;
    Ok(Exit::Done)
}

/// One who is gone and still owns files is found too: a deletion that broke off is gone on with.
async fn delete(files: &Files, output: &Output, name: &UserName, of: FilesOf) -> Result<Exit> {
    let user = files.user_named(name.as_str()).await?.with_context(|| unknown(name))?;
    let deleted = match files.delete_user(user.id, of.clone()).await {
        Ok(deleted) => deleted,
        Err(Error::NotFound("user")) => anyhow::bail!(unknown(name)),
        Err(error) => {
            if of == FilesOf::Refuse && files.count_owned(user.id, 1).await? > 0 {
                output.message("`--purge-files` purges them, `--files-to NAME` gives them to another");
            }
            return Err(error.into());
        }
    };
    match of {
        FilesOf::Purge => output.message(format_args!("{} purged", counted(deleted, "file", "files"))),
        FilesOf::GiveTo(heir) => {
            output.message(format_args!("{} given to `{heir}`", counted(deleted, "file", "files")));
        }
        FilesOf::Refuse => {}
    }
    output.line(user.id)?;
    output.flush()?;
    Ok(Exit::Done)
}

async fn find(files: &Files, name: &UserName) -> Result<larder_files::User> {
    let user = files.user_named(name.as_str()).await?.filter(|user| user.gone_at.is_none());
    user.with_context(|| unknown(name))
}

fn unknown(name: &UserName) -> String {
    format!("no such user: `{name}`")
}

async fn list(files: &Files, output: &Output) -> Result<Exit> {
    for user in files.users().await?.into_iter().filter(|user| user.gone_at.is_none()) {
        let user = Person::from(user);
        if output.json {
            output.record(&user)?;
        } else {
            let locked = if user.locked { "  can't log in" } else { "" };
            let role = if user.role == Role::Admin { "admin" } else { "user" };
            output.line(format_args!("{}  {role:<5}  {}{locked}", user.id, user.username))?;
        }
    }
    output.flush()?;
    Ok(Exit::Done)
}

async fn hash(password: SecretString) -> Result<String> {
    tokio::task::spawn_blocking(move || password::hash(password.expose_secret()))
        .await?
        .context("cannot hash the password")
}

/// # Errors
/// No terminal to ask on, two different answers, or a password that can't be one.
fn read_password(from_stdin: bool) -> Result<SecretString> {
    let password = if from_stdin { read_line(&mut io::stdin().lock())? } else { ask_twice()? };
    password::check(&password).map_err(|unfit| WrongUsage(unfit.to_string()))?;
    Ok(SecretString::from(password.as_str()))
}

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
