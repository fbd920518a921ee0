//! `larder image`: a picture made of a picture, without a larder: to try a recipe before it is a preset.

use crate::{
    Context,
    data_dir::parent,
    output::{Exit, WrongUsage, refuse, size},
};
use anyhow::{Context as _, Result};
use clap::Args;
use larder_media::{RenderOptions, Rendition, render};
use larder_renditions::{Recipe, RecipeInUrl, RenditionSettings};
use serde_json::json;
use std::{
    fs::{self, File, Permissions},
    io::{Read, Write},
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    time::Instant,
};
use tempfile::NamedTempFile;

/// Make a picture of a picture, by a recipe or a preset; needs no larder.
#[derive(Args)]
pub(crate) struct Image {
    /// The picture; - for standard input
    #[arg(value_name = "FILE|-")]
    file: PathBuf,
    /// What to make of it, such as `w_400,h_300,fit_cover,f_webp`
    #[arg(long, value_name = "RECIPE", conflicts_with = "preset", required_unless_present = "preset")]
    recipe: Option<String>,
    /// A preset of the configuration instead, such as `thumb`
    #[arg(long, value_name = "NAME")]
    preset: Option<String>,
    /// Where to; - for standard output
    #[arg(short, long, value_name = "PATH|-")]
    output: PathBuf,
    /// Over an existing file, too
    #[arg(long)]
    force: bool,
}

impl Image {
    pub(crate) fn run(self, context: &Context) -> Result<Exit> {
        let recipe = self.recipe(context)?;
        let settings = context.config.rendition_settings();
        let source = read(&self.file, &settings)?;
        let to_standard_output = self.output == Path::new("-");
        if !to_standard_output && !self.force && fs::symlink_metadata(&self.output).is_ok() {
            return Err(refuse(
                format_args!("{} already exists", self.output.display()),
                "write elsewhere with -o, or over it with --force",
            ));
        }
        let begun = Instant::now();
        let accepted = [larder_media::Format::Webp];
        let options = RenderOptions { limits: settings.limits, accepted: &accepted, ..RenderOptions::default() };
        let made = render(&source, &recipe, &options).with_context(|| self.file.display().to_string())?;
        let took = begun.elapsed();
        if to_standard_output {
            context.output.bytes(&made.bytes)?;
            context.output.flush()?;
            return Ok(Exit::Done);
        }
        self.write(&made, context.umask)?;
        let Rendition { bytes, format, size: pixels, frames, truncated, .. } = &made;
        if context.output.json {
            context.output.record(&json!({
                "output": self.output.to_string_lossy(), "recipe": recipe.to_string(), "format": format.name(),
                "width": pixels.width, "height": pixels.height, "frames": frames, "truncated": truncated,
                "size": bytes.len(), "source_size": source.len(), "milliseconds": took.as_millis() as u64,
            }))?;
            context.output.flush()?;
        } else {
            let from = size(source.len() as u64);
            context.output.message(format_args!(
                "{}: {format}, {pixels}, {} (from {from}) in {} ms",
                self.output.display(),
                size(bytes.len() as u64),
                took.as_millis()
            ));
        }
        if *truncated {
            context.output.always("warning: the picture ends too early; what is missing is grey");
        }
        Ok(Exit::Done)
    }

    fn recipe(&self, context: &Context) -> Result<Recipe> {
        let presets = context.config.presets();
        if let Some(name) = &self.preset {
            return Ok(presets.find(name).map_err(|unknown| WrongUsage(unknown.to_string()))?);
        }
        let text = self.recipe.as_deref().unwrap_or_default();
        let read: RecipeInUrl = text.parse().map_err(|error| WrongUsage(format!("{error}")))?;
        match (read.expires_at, read.revision) {
            (None, None) => Ok(read.recipe),
            _ => Err(WrongUsage("`exp` and `v` are about a URL, and this is a file: leave them out".into()).into()),
        }
    }

    fn write(&self, made: &Rendition, umask: u32) -> Result<()> {
        let mut half = NamedTempFile::with_prefix_in(".larder-", parent(&self.output))
            .with_context(|| format!("cannot write beside {}", self.output.display()))?;
        half.write_all(&made.bytes)?;
        half.as_file().set_permissions(Permissions::from_mode(0o666 & !umask))?;
        let persisted = if self.force { half.persist(&self.output) } else { half.persist_noclobber(&self.output) };
        persisted
            .map(drop)
            .map_err(|error| error.error)
            .with_context(|| format!("cannot write {}", self.output.display()))
    }
}

/// The whole picture, as far as it may be so large.
fn read(path: &Path, settings: &RenditionSettings) -> Result<Vec<u8>> {
    let (mut bytes, max) = (vec![], settings.limits.source_bytes_max);
    let source: Box<dyn Read> = match path == Path::new("-") {
        true => Box::new(std::io::stdin()),
        false => Box::new(File::open(path).with_context(|| format!("cannot read {}", path.display()))?),
    };
    source.take(max + 1).read_to_end(&mut bytes).with_context(|| format!("cannot read {}", path.display()))?;
    if bytes.len() as u64 > max {
        let what = format!("{} is over the limit of {}", path.display(), size(max));
        return Err(refuse(what, "raise `renditions.source_bytes_max`"));
    }
    Ok(bytes)
}
