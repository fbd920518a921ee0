//! `larder get`: a file's content into a file here or to standard output, whole and checked, or not at all.

use crate::{
    Context,
    data_dir::parent,
    list,
    open::{self, Access},
    output::{Exit, Output, WrongUsage, refuse},
};
use anyhow::{Context as _, Result, bail};
use clap::Args;
use futures_util::TryStreamExt;
use larder_files::{Caller, Content, Files};
use sha2::{Digest, Sha256};
use std::{
    fs::{self, Permissions},
    io::{ErrorKind, Write},
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
};
use tempfile::NamedTempFile;

/// Fetch a file.
#[derive(Args)]
pub(crate) struct Get {
    /// Its id or name
    #[arg(value_name = "ID|NAME")]
    file: String,
    /// Where to [default: the last part of its name, here]; - for standard output
    #[arg(short, long, value_name = "PATH|-")]
    output: Option<PathBuf>,
    /// Over an existing file, too
    #[arg(long)]
    force: bool,
}

impl Get {
    pub(crate) async fn run(self, context: Context) -> Result<Exit> {
        open::with(&context, Access::Read, async |files| self.get(files, &context.output, context.umask).await).await
    }

    async fn get(&self, files: &Files, output: &Output, umask: u32) -> Result<Exit> {
        let Some(file) = list::find(files, output, &self.file).await? else { return Ok(Exit::Failed) };
        if self.output.as_deref() == Some(Path::new("-")) {
            let content = files.open(&Caller::local(), &file, None, None).await?;
            receive(content, output, &mut |block| Ok(output.bytes(block)?)).await?;
            output.flush()?;
            return Ok(Exit::Done);
        }
        let target = self.target(&file.attributes.name)?;
        if !self.force && fs::symlink_metadata(&target).is_ok() {
            return Err(exists(&target));
        }
        let content = files.open(&Caller::local(), &file, None, None).await?;
        let mut half = NamedTempFile::with_prefix_in(".larder-", parent(&target))
            .with_context(|| format!("cannot write beside {}", target.display()))?;
        receive(content, output, &mut |block| Ok(half.write_all(block)?)).await?;
        half.as_file().set_permissions(Permissions::from_mode(0o666 & !umask))?;
        half.as_file().sync_all()?;
        self.publish(half, &target)?;
        output.message(format_args!("{}", target.display()));
        Ok(Exit::Done)
    }

    fn target(&self, name: &str) -> Result<PathBuf> {
        let last = name.rsplit('/').next().unwrap_or_default();
        match &self.output {
            Some(path) if path.is_dir() => Ok(path.join(plain(last)?)),
            Some(path) => Ok(path.clone()),
            None => plain(last).map(PathBuf::from),
        }
    }

    fn publish(&self, half: NamedTempFile, target: &Path) -> Result<()> {
        let persisted = if self.force { half.persist(target) } else { half.persist_noclobber(target) };
        match persisted {
            Ok(_) => Ok(()),
            Err(error) if error.error.kind() == ErrorKind::AlreadyExists => Err(exists(target)),
            Err(error) => Err(error.error).with_context(|| format!("cannot write {}", target.display())),
        }
    }
}

/// A name that is a file's in one directory.
fn plain(last: &str) -> Result<&str> {
    if matches!(last, "" | "." | "..") {
        return Err(WrongUsage(format!("`{last}` is no name for a file here: say where to with -o")).into());
    }
    Ok(last)
}

fn exists(target: &Path) -> anyhow::Error {
    refuse(format_args!("{} already exists", target.display()), "write elsewhere with -o, or over it with --force")
}

/// Hands on all blocks, then says whether they were the right ones.
async fn receive(content: Content, output: &Output, take: &mut dyn FnMut(&[u8]) -> Result<()>) -> Result<()> {
    let progress = output.progress(Some(content.revision.size));
    let (mut hash, mut body) = (Sha256::new(), content.body);
    while let Some(block) = body.try_next().await.map_err(anyhow::Error::from_boxed)? {
        hash.update(&block);
        take(&block)?;
        progress.add(block.len() as u64);
    }
    let found = larder_files::Sha256(hash.finalize().into());
    if found != content.revision.sha256 {
        bail!("the content is damaged: it has SHA-256 {found}, {} was kept", content.revision.sha256);
    }
    Ok(())
}
