//! [`Target`]: a file that a command writes for whoever called it: whole or not at all, with their umask, and over another only when it
//! is told to.

use crate::{
    data_dir::{parent, sync_dir},
    output::{WrongUsage, refuse},
};
use anyhow::{Context as _, Result};
use std::{
    fs::{self, Permissions},
    io::{self, ErrorKind, Write},
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
};
use tempfile::NamedTempFile;

/// How a target is written.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Terms {
    /// Over an existing file, too.
    pub(crate) force: bool,
    /// The umask of whoever called.
    pub(crate) umask: u32,
}

/// Where a file is to be.
#[derive(Debug)]
pub(crate) struct Target {
    path: PathBuf,
    terms: Terms,
}

impl Target {
    /// This very path.
    ///
    /// # Errors
    /// Something is there already, and it is not to be replaced.
    pub(crate) fn at(path: PathBuf, terms: Terms) -> Result<Self> {
        if !terms.force && fs::symlink_metadata(&path).is_ok() {
            return Err(exists(&path));
        }
        Ok(Self { path, terms })
    }

    /// A file of this name in a directory.
    ///
    /// # Errors
    /// As [`Target::at`]; what can be no name.
    pub(crate) fn inside(dir: &Path, name: &str, terms: Terms) -> Result<Self> {
        if matches!(name, "" | "." | "..") {
            return Err(WrongUsage(format!("`{name}` is no name for a file here: say where to with -o")).into());
        }
        Self::at(dir.join(name), terms)
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// Begins to write, under another name beside it.
    pub(crate) fn begin(&self) -> Result<Half<'_>> {
        let file = NamedTempFile::with_prefix_in(".larder-", parent(&self.path))
            .with_context(|| format!("cannot write beside {}", self.path.display()))?;
        Ok(Half { file, target: self })
    }
}

/// A file that is being written; it goes again unless it is published.
pub(crate) struct Half<'a> {
    file: NamedTempFile,
    target: &'a Target,
}

impl Half<'_> {
    /// Gives it its name, once all of it is on the disk; then the name is, too.
    ///
    /// # Errors
    /// As [`Target::at`]: something may have come there meanwhile.
    pub(crate) fn publish(self) -> Result<()> {
        let Self { file, target: Target { path, terms } } = self;
        file.as_file().set_permissions(Permissions::from_mode(0o666 & !terms.umask))?;
        file.as_file().sync_all()?;
        let persisted = if terms.force { file.persist(path) } else { file.persist_noclobber(path) };
        match persisted {
            Ok(_) => sync_dir(parent(path)).with_context(|| format!("cannot write {}", path.display())),
            Err(error) if error.error.kind() == ErrorKind::AlreadyExists => Err(exists(path)),
            Err(error) => Err(error.error).with_context(|| format!("cannot write {}", path.display())),
        }
    }
}

impl Write for Half<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.file.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}

fn exists(path: &Path) -> anyhow::Error {
    refuse(format_args!("{} already exists", path.display()), "write elsewhere with -o, or over it with --force")
}

#[cfg(test)]
mod tests {
    use super::*;

    const TERMS: Terms = Terms { force: false, umask: 0o027 };

    fn names(dir: &Path) -> Vec<String> {
        fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect()
    }

    #[test]
    fn what_came_there_meanwhile_stays_unless_it_is_to_be_replaced() {
        let dir = tempfile::tempdir().unwrap();
        for (force, left) in [(false, "theirs"), (true, "ours")] {
            let path = dir.path().join("file");
            let target = Target::at(path.clone(), Terms { force, ..TERMS }).unwrap();
            let mut half = target.begin().unwrap();
            half.write_all(b"ours").unwrap();
            fs::write(&path, "theirs").unwrap();
            let refused = half.publish().err().map(|error| error.to_string());
            assert_eq!(refused.is_none(), force, "{refused:?}");
            assert!(refused.is_none_or(|refused| refused.contains("already exists") && refused.contains("--force")));
            assert_eq!(fs::read_to_string(&path).unwrap(), left);
            assert_eq!(names(dir.path()), ["file"]);
            fs::remove_file(path).unwrap();
        }
    }

    #[test]
    fn a_link_that_leads_nowhere_is_there_too() {
        let dir = tempfile::tempdir().unwrap();
        std::os::unix::fs::symlink("nowhere", dir.path().join("link")).unwrap();
        let refused = Target::inside(dir.path(), "link", TERMS).unwrap_err().to_string();
        assert!(refused.contains("already exists") && refused.contains("--force"), "{refused}");
    }

    #[test]
    fn what_is_not_published_goes_and_what_is_has_the_umask_of_its_user() {
        let dir = tempfile::tempdir().unwrap();
        let target = Target::inside(dir.path(), "file", TERMS).unwrap();
        drop(target.begin().unwrap());
        assert!(names(dir.path()).is_empty());
        target.begin().unwrap().publish().unwrap();
        assert_eq!(fs::metadata(target.path()).unwrap().permissions().mode() & 0o777, 0o640);
        for name in ["", ".", ".."] {
            assert!(Target::inside(dir.path(), name, TERMS).unwrap_err().is::<WrongUsage>());
        }
    }
}
