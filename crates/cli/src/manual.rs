//! `larder completions` and `larder man`: what a shell and `man` need to know, from the commands themselves.

use crate::output::{Exit, Output, counted};
use anyhow::{Context as _, Result};
use clap::{Args, Command};
use clap_complete::Shell;
use clap_mangen::Man as Page;
use std::{
    fs, io,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
};

/// Print the completions of a shell.
#[derive(Args)]
pub(crate) struct Completions {
    /// The shell
    shell: Shell,
}

impl Completions {
    pub(crate) fn run(self, output: &Output, mut command: Command) -> Result<Exit> {
        let mut script = Vec::new();
        clap_complete::generate(self.shell, &mut command, "larder", &mut script);
        output.bytes(&script)?;
        output.flush()?;
        Ok(Exit::Done)
    }
}

/// Write the manual: one page for each command.
#[derive(Args)]
pub(crate) struct Man {
    /// The directory, made where it is missing; pages that are there are replaced
    dir: PathBuf,
}

impl Man {
    pub(crate) fn run(self, output: &Output, command: Command, umask: u32) -> Result<Exit> {
        let mut command = command.disable_help_subcommand(true);
        command.build();
        fs::create_dir_all(&self.dir).with_context(|| format!("cannot make {}", self.dir.display()))?;
        let pages = write_pages(&self.dir, &command, umask)?;
        output.message(format_args!("{} in {}", counted(pages as u64, "page", "pages"), self.dir.display()));
        Ok(Exit::Done)
    }
}

/// Writes the pages of a command and of those below it; answers how many. The name of one is `larder-user-add`.
fn write_pages(dir: &Path, command: &Command, umask: u32) -> Result<usize> {
    let name = command.get_display_name().unwrap_or_else(|| command.get_name());
    let mut page = Vec::new();
    Page::new(command.clone()).title(name).render(&mut page)?;
    let path = dir.join(format!("{name}.1"));
    let written = fs::write(&path, page).and_then(|()| share(&path, umask));
    written.with_context(|| format!("cannot write {}", path.display()))?;
    let mut pages = 1;
    for below in command.get_subcommands() {
        pages += write_pages(dir, below, umask)?;
    }
    Ok(pages)
}

/// A manual is for everybody whom the umask of its user lets.
fn share(path: &Path, umask: u32) -> io::Result<()> {
    fs::set_permissions(path, fs::Permissions::from_mode(0o666 & !umask))
}
