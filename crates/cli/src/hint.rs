//! [`Hints`]: the commands that messages name, such as `larder rebuild`, as they work for who copies them: a data directory or a
//! configuration that was named stands in them too.
//!
//! It is done where messages are printed, and not where they are made: those of other crates name commands as well, and know of no
//! directory.

use crate::{Cli, Globals, Named, config::Origin};
use clap::CommandFactory;
use std::{borrow::Cow, os::unix::ffi::OsStrExt, path::Path, sync::Arc};

/// How a command begins in a message; it ends with the next backtick.
const BEGIN: &str = "`larder ";

/// What was named. Cheap to clone.
#[derive(Clone, Debug, Default)]
pub(crate) struct Hints(Arc<[(&'static str, String)]>);

impl Hints {
    /// What a flag or a variable has named: a message may be read where the variable is not set, or a path means another place, in a
    /// journal say.
    pub(crate) fn of(globals: &Globals, named: &Named) -> Self {
        let whole = |path: &Path| quoted(&std::path::absolute(path).unwrap_or_else(|_| path.to_owned()));
        let data = (named.data != Origin::Default).then(|| ("--data", whole(&globals.data)));
        let config = globals.config.as_deref().filter(|_| named.config != Origin::Default);
        Self(data.into_iter().chain(config.map(|file| ("--config", whole(file)))).collect())
    }

    /// The message with that in each command which does not say it already.
    pub(crate) fn complete<'a>(&self, message: &'a str) -> Cow<'a, str> {
        if self.0.is_empty() || !message.contains(BEGIN) {
            return Cow::Borrowed(message);
        }
        let mut parts = message.split(BEGIN);
        let mut completed = parts.next().unwrap_or_default().to_owned();
        for part in parts {
            completed += BEGIN;
            match part.split_once('`') {
                Some((command, rest)) if is_command(command) => {
                    completed += command;
                    for (flag, value) in self.0.iter().filter(|(flag, _)| !command.contains(flag)) {
                        completed += &format!(" {flag} {value}");
                    }
                    completed += &format!("`{rest}");
                }
                // Somebody's file may be called so.
                _ => completed += part,
            }
        }
        Cow::Owned(completed)
    }
}

fn is_command(text: &str) -> bool {
    let first = text.split(' ').next().unwrap_or_default();
    Cli::command().get_subcommands().any(|command| command.get_name() == first)
}

/// A path as a shell reads it for one word.
pub(crate) fn quoted(path: &Path) -> String {
    let bytes = path.as_os_str().as_bytes();
    let is_plain = |byte: &u8| byte.is_ascii_alphanumeric() || b"/._-+,:@%".contains(byte);
    match str::from_utf8(bytes) {
        Ok(text) if !text.is_empty() && bytes.iter().all(is_plain) => text.to_owned(),
        Ok(text) if !text.contains(char::is_control) => format!("'{}'", text.replace('\'', r"'\''")),
        _ => {
            let escaped = |byte: &u8| match byte {
                b'\'' | b'\\' => format!("\\{}", char::from(*byte)),
                b' '..=b'~' => char::from(*byte).to_string(),
                _ => format!("\\{byte:03o}"),
            };
            format!("$'{}'", bytes.iter().map(escaped).collect::<String>())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::{ffi::OsStr, process::Command};

    fn hints(flags: &[(&'static str, &str)]) -> Hints {
        Hints(flags.iter().map(|(flag, value)| (*flag, (*value).to_owned())).collect())
    }

    #[test]
    fn each_command_says_what_was_named_once() {
        let both = hints(&[("--data", "'/my files'"), ("--config", "a.toml")]);
        for (message, completed) in [
            ("run `larder rebuild`; then `larder ls`", "run `larder rebuild D C`; then `larder ls D C`"),
            ("`larder rebuild --data /x` or `--forget a`", "`larder rebuild --data /x C` or `--forget a`"),
            ("no such file: `larder notes`", "no such file: `larder notes`"),
            ("an open `larder ls", "an open `larder ls"),
            ("nothing to run", "nothing to run"),
        ] {
            let completed = completed.replace(" D", " --data '/my files'").replace(" C", " --config a.toml");
            assert_eq!(both.complete(message), completed);
            assert_eq!(hints(&[]).complete(message), message);
        }
    }

    #[test]
    fn a_shell_reads_what_is_quoted_as_it_was() {
        for path in [&b"/srv/larder"[..], b"my files", b"it's", b"$HOME `id` \"x\" \\", b"", b"a\nb'\\", b"\xff\x01 7"]
        {
            let path = Path::new(OsStr::from_bytes(path));
            let output = Command::new("bash").args(["-c", &format!("printf %s {}", quoted(path))]).output();
            // Not every system has this shell.
            let Ok(output) = output else { return };
            assert_eq!(output.stdout, path.as_os_str().as_bytes(), "{}", quoted(path));
        }
        assert_eq!(quoted(Path::new("/srv/larder-2")), "/srv/larder-2");
    }
}
