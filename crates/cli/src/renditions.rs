//! `larder renditions`: what is kept of them, made ahead, or removed.

use crate::{
    Context,
    open::{self, Access},
    output::{Exit, Output, WrongUsage, size},
};
use anyhow::Result;
use clap::{Args, Subcommand};
use futures_util::{StreamExt, TryStreamExt, stream};
use larder_files::{Caller, File, Files, ListFiles};
use larder_renditions::{Error, Recipe, Renditions, Wanted, is_rendered, is_whole, processors};
use serde_json::json;
use std::{
    collections::BTreeSet,
    num::NonZeroUsize,
    pin::pin,
    sync::atomic::{AtomicU64, Ordering},
};
use tokio::runtime::Handle;

/// Make renditions ahead, remove them, count them.
#[derive(Subcommand)]
pub(crate) enum Command {
    /// Make presets of pictures that are there, and find out the dimensions of those that came before there were any
    Warm(Warm),
    /// Remove all renditions that are kept; they are made again when they are asked for
    Purge(Purge),
    /// Count renditions that are kept
    Stats(Stats),
}

/// Make presets ahead.
#[derive(Args)]
pub(crate) struct Warm {
    /// Only of this bucket
    #[arg(long)]
    bucket: Option<String>,
    /// Only this preset; may be given several times [default: what the bucket makes ahead, else `thumb`]
    #[arg(long, value_name = "NAME")]
    preset: Vec<String>,
}

/// Remove all.
#[derive(Args)]
pub(crate) struct Purge {
    /// Only of the file of this id
    #[arg(long, value_name = "ID")]
    file: Option<String>,
}

/// Count.
#[derive(Args)]
pub(crate) struct Stats {}

/// What to tell where there is no cache.
const KEPT_NOWHERE: &str =
    "nothing keeps renditions here: no store of the mode `edit`, or `renditions.cache_bytes_max` is 0";
/// Files per request.
const PAGE: usize = 1000;

impl Command {
    pub(crate) async fn run(self, context: Context) -> Result<Exit> {
        match self {
            Self::Warm(command) => {
                open::with(&context, Access::Change, async |files| command.warm(files, &context).await).await
            }
            Self::Purge(command) => {
                open::with(&context, Access::Change, async |files| command.purge(files, &context.output).await).await
            }
            Self::Stats(_) => {
                open::with(&context, Access::Read, async |files| stats(files, &context.output).await).await
            }
        }
    }
}

/// What was done, and what was not.
#[derive(Default)]
struct Done {
    pictures: AtomicU64,
    renditions: AtomicU64,
    looked_at: AtomicU64,
    failed: AtomicU64,
}

impl Warm {
    async fn warm(&self, files: &Files, context: &Context) -> Result<Exit> {
        let settings = context.config.rendition_settings();
        for name in &self.preset {
            settings.presets.find(name).map_err(|unknown| WrongUsage(unknown.to_string()))?;
        }
        if files.cache().is_none() {
            context.output.always(format_args!("warning: {KEPT_NOWHERE}"));
        }
        let at_once = NonZeroUsize::new(settings.at_once).unwrap_or_else(processors).get();
        let (renditions, done) = (Renditions::new(files.clone(), settings, Handle::current()), Done::default());
        // What is there counts towards the budget.
        renditions.find_kept().await?;
        let mut query = ListFiles { bucket: self.bucket.clone(), limit: PAGE, ..ListFiles::default() };
        loop {
            let page = files.list(&Caller::local(), query.clone()).await?;
            let pictures = page.items.into_iter().filter(|file| is_rendered(&file.attributes.content_type));
            stream::iter(pictures)
                .for_each_concurrent(at_once, |file| self.warm_one(&renditions, files, file, &done, &context.output))
                .await;
            query.after = page.next;
            if query.after.is_none() {
                break;
            }
        }
        renditions.settled().await;
        let read = |number: &AtomicU64| number.load(Ordering::Relaxed);
        let (pictures, made, looked_at) = (read(&done.pictures), read(&done.renditions), read(&done.looked_at));
        let (encoded, failed) = (renditions.counts().made, read(&done.failed));
        match context.output.json {
            true => context.output.record(&json!({
                "pictures": pictures, "renditions": made, "encoded": encoded, "looked_at": looked_at, "failed": failed,
            }))?,
            false => context.output.line(format_args!(
                "{pictures} pictures: {made} renditions, {encoded} of them made now; {looked_at} looked at for the first time; \
                 {failed} failed"
            ))?,
        }
        context.output.flush()?;
        Ok(Exit::failed_if(failed > 0))
    }

    async fn warm_one(&self, renditions: &Renditions, files: &Files, file: File, done: &Done, output: &Output) {
        let (id, name) = (file.attributes.id, file.attributes.name.clone());
        done.pictures.fetch_add(1, Ordering::Relaxed);
        let add = |number: &AtomicU64| number.fetch_add(1, Ordering::Relaxed);
        let file = match look_at(renditions, files, file).await {
            Ok((file, is_new)) => {
                if is_new {
                    add(&done.looked_at);
                }
                file
            }
            Err(error) => {
                add(&done.failed);
                return output.error(format_args!("{id} ({name}): {error}"));
            }
        };
        for recipe in self.recipes(renditions, files, &file) {
            let wanted = Wanted::ahead(Caller::local(), file.clone(), recipe);
            match renditions.get(wanted).await {
                Ok(_) => add(&done.renditions),
                Err(error) => {
                    output.error(format_args!("{id} ({name}): {error}"));
                    add(&done.failed)
                }
            };
        }
    }

    fn recipes(&self, renditions: &Renditions, files: &Files, file: &File) -> Vec<Recipe> {
        let of_bucket = files.bucket(file.attributes.bucket.as_str()).map(|bucket| bucket.policy.presets_ahead);
        let names = match self.preset.is_empty() {
            false => self.preset.clone(),
            true => of_bucket.ok().filter(|names| !names.is_empty()).unwrap_or_else(|| vec!["thumb".into()]),
        };
        names.iter().filter_map(|name| renditions.presets().get(name)).collect()
    }
}

/// The file with what is known of its picture, and whether that was found out now.
async fn look_at(renditions: &Renditions, files: &Files, file: File) -> Result<(File, bool), Error> {
    if is_whole(file.attributes.media.as_ref()) {
        return Ok((file, false));
    }
    let caller = Caller::local();
    match renditions.look_at(&caller, &file).await? {
        None => Ok((file, false)),
        Some(known) => {
            let (id, revision) = (file.attributes.id, file.attributes.revision);
            Ok((files.note_media(&caller, id, revision, known.into_value()).await?, true))
        }
    }
}

impl Purge {
    async fn purge(&self, files: &Files, output: &Output) -> Result<Exit> {
        let Some(cache) = files.cache() else { return nothing(output) };
        let mut of = BTreeSet::new();
        match &self.file {
            Some(id) => {
                let wrong = || WrongUsage(format!("`{id}` is no id of a file"));
                of.insert(larder_files::FileId::parse(id).ok_or_else(wrong)?);
            }
            None => {
                let mut listed = pin!(cache.list());
                while let Some(cached) = listed.try_next().await? {
                    of.insert(cached.file);
                }
            }
        }
        let mut removed = 0;
        for file in &of {
            removed += cache.remove_all(*file).await?;
        }
        match output.json {
            true => output.record(&json!({ "files": of.len(), "removed": removed }))?,
            false => output.line(format_args!("removed {removed} renditions of {} files", of.len()))?,
        }
        output.flush()?;
        Ok(Exit::Done)
    }
}

async fn stats(files: &Files, output: &Output) -> Result<Exit> {
    let Some(cache) = files.cache() else { return nothing(output) };
    let (mut of, mut count, mut bytes) = (BTreeSet::new(), 0_u64, 0_u64);
    let mut listed = pin!(cache.list());
    while let Some(cached) = listed.try_next().await? {
        of.insert(cached.file);
        (count, bytes) = (count + 1, bytes + cached.size);
    }
    match output.json {
        true => output.record(&json!({ "files": of.len(), "renditions": count, "size": bytes }))?,
        false => output.line(format_args!("{count} renditions of {} files, {}", of.len(), size(bytes)))?,
    }
    output.flush()?;
    Ok(Exit::Done)
}

fn nothing(output: &Output) -> Result<Exit> {
    output.always(KEPT_NOWHERE);
    Ok(Exit::Done)
}
