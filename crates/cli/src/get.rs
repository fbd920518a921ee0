//! `larder get`: a file's content into a file here or to standard output, whole and checked, or not at all.

use crate::{
    Context, list,
    open::{self, Access},
    output::{Exit, Output},
    target::{Target, Terms},
};
use anyhow::{Result, bail};
use clap::Args;
use futures_util::TryStreamExt;
use larder_files::{Caller, Content, Files};
use sha2::{Digest, Sha256};
use std::{
    io::Write,
    path::{Path, PathBuf},
};

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
        let target = self.target(&file.attributes.name, Terms { force: self.force, umask })?;
        let content = files.open(&Caller::local(), &file, None, None).await?;
        let mut half = target.begin()?;
        receive(content, output, &mut |block| Ok(half.write_all(block)?)).await?;
        half.publish()?;
        output.message(format_args!("{}", target.path().display()));
        Ok(Exit::Done)
    }

    fn target(&self, name: &str, terms: Terms) -> Result<Target> {
        let last = name.rsplit('/').next().unwrap_or_default();
        match &self.output {
            Some(path) if path.is_dir() => Target::inside(path, last, terms),
            Some(path) => Target::at(path.clone(), terms),
            None => Target::inside(Path::new(""), last, terms),
        }
    }
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
