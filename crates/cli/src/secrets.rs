//! `secrets.toml`: the installation's one master secret, 256 bits, written once and read by its user alone.

use crate::{
    data_dir::{DataDir, Made, parent, sync_dir},
    output::refuse,
};
use anyhow::Result;
use larder_files::Secrets;
use secrecy::{ExposeSecret, SecretString};
use serde::Deserialize;
use std::{
    fs::{self, OpenOptions},
    io::{self, ErrorKind, Write},
    os::unix::fs::{MetadataExt, OpenOptionsExt},
    path::Path,
};
use zeroize::Zeroizing;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct SecretsFile {
    master: SecretString,
}

/// Reads the secrets; `None` where there is no such file.
///
/// # Errors
/// One that others may read, or that holds no 256 bits.
pub(crate) fn load(dir: &DataDir) -> Result<Option<Secrets>> {
    let path = dir.secrets();
    let text = match fs::read_to_string(&path) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(dir.not_writable(&path, &error)),
        Ok(text) => Zeroizing::new(text),
    };
    if fs::metadata(&path)?.mode() & 0o077 != 0 {
        let what = format!("{} can be read by others", path.display());
        return Err(refuse(what, format_args!("`chmod 600 {}`", path.display())));
    }
    match toml::from_str::<SecretsFile>(&text).ok().and_then(|file| master(&file.master)) {
        Some(master) => Ok(Some(Secrets::new(*master))),
        None => Err(refuse(
            format_args!("{} does not hold `master = \"…\"` of 64 hexadecimal digits", path.display()),
            "put the right file back from its backup: without it no user and no bucket can be read",
        )),
    }
}

/// Makes the secrets of a new installation, durably.
///
/// # Errors
/// A directory that can't be written; a file that is there already stays.
pub(crate) fn make(dir: &DataDir, made: &mut Made) -> Result<Secrets> {
    let mut master = Zeroizing::new([0; 32]);
    getrandom::fill(&mut *master).expect("the kernel gives random bytes, or nothing secret can be made");
    let path = dir.secrets();
    let written = write(&path, &master).and_then(|()| made.file(path.clone()));
    written.map_err(|error| dir.not_writable(&path, &error))?;
    Ok(Secrets::new(*master))
}

/// Written under another name first: half a master would be none.
fn write(path: &Path, master: &[u8; 32]) -> io::Result<()> {
    let digits = Zeroizing::new(data_encoding::HEXLOWER.encode(master));
    let text = Zeroizing::new(format!(
        "# The master secret of this larder. Back it up apart from the files: it opens the accounts sealed beside them.\n\
         master = \"{}\"\n",
        *digits
    ));
    let half = path.with_extension("toml.new");
    let written = (|| {
        let mut file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&half)?;
        file.write_all(text.as_bytes())?;
        file.sync_all()?;
        fs::hard_link(&half, path)
    })();
    let removed = fs::remove_file(&half);
    written?;
    removed?;
    sync_dir(parent(path))
}

fn master(text: &SecretString) -> Option<Zeroizing<[u8; 32]>> {
    let bytes = Zeroizing::new(data_encoding::HEXLOWER_PERMISSIVE.decode(text.expose_secret().as_bytes()).ok()?);
    let bytes = Zeroizing::new(<[u8; 32]>::try_from(&bytes[..]).ok()?);
    // A placeholder is no secret.
    bytes.iter().any(|byte| *byte != bytes[0]).then_some(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    fn dir() -> (tempfile::TempDir, DataDir) {
        let temporary = tempfile::tempdir().unwrap();
        let dir = DataDir::new(temporary.path());
        (temporary, dir)
    }

    #[test]
    fn what_was_made_is_read_again_and_private() {
        let (_temporary, dir) = dir();
        assert!(load(&dir).unwrap().is_none());
        let mut made = Made::default();
        let secrets = make(&dir, &mut made).unwrap();
        assert_eq!(load(&dir).unwrap().unwrap().id(), secrets.id());
        assert_eq!(fs::metadata(dir.secrets()).unwrap().mode() & 0o777, 0o600);
        assert!(make(&dir, &mut Made::default()).is_err(), "a master is written once");
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1);
    }

    #[test]
    fn a_master_that_is_short_open_or_a_placeholder_is_refused_and_not_shown() {
        let (_temporary, dir) = dir();
        let zeros = format!("master = \"{}\"", "00".repeat(32));
        for text in ["", "master = \"abcdef\"", "master = 1", &zeros, "master = \"changeme\"", "other = \"abcdef\""] {
            fs::write(dir.secrets(), text).unwrap();
            fs::set_permissions(dir.secrets(), fs::Permissions::from_mode(0o600)).unwrap();
            let error = load(&dir).expect_err(text).to_string();
            assert!(error.contains("64 hexadecimal") && !error.contains("abcdef"), "{error}");
        }
        fs::remove_file(dir.secrets()).unwrap();
        let mut made = Made::default();
        make(&dir, &mut made).unwrap();
        fs::set_permissions(dir.secrets(), fs::Permissions::from_mode(0o644)).unwrap();
        let error = load(&dir).expect_err("others may read it").to_string();
        assert!(error.contains("can be read by others"), "{error}");
    }
}
