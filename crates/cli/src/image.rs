//! `larder image`: a picture made of a picture, without a larder: to try a recipe before it is a preset.

use crate::{
    Context,
    output::{Exit, WrongUsage, refuse, size},
    target::{Target, Terms},
};
use anyhow::{Context as _, Result};
use clap::Args;
use larder_media::{Format, RenderOptions, Rendition, render};
use larder_renditions::{Recipe, RecipeInUrl, RenditionSettings};
use serde_json::json;
use std::{
    fs::File,
    io::{Read, Write},
    path::{Path, PathBuf},
    time::Instant,
};

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
    /// Where to; in a directory its name is the picture's with the new format behind it; - for standard output
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
        // What is refused is so before anything is read, but for a name that depends on what it is rendered to.
        let target = if self.output == Path::new("-") { None } else { Some(self.target(context.umask)?) };
        let source = read(&self.file, &settings)?;
        let begun = Instant::now();
        let accepted = [Format::Webp];
        let options = RenderOptions { limits: settings.limits, accepted: &accepted, ..RenderOptions::default() };
        let made = render(&source, &recipe, &options).with_context(|| self.file.display().to_string())?;
        let took = begun.elapsed();
        let Some(target) = target else {
            context.output.bytes(&made.bytes)?;
            context.output.flush()?;
            return Ok(Exit::Done);
        };
        let target = target.of(&made)?;
        let mut half = target.begin()?;
        half.write_all(&made.bytes)?;
        half.publish()?;
        let Rendition { bytes, format, size: pixels, frames, truncated, .. } = &made;
        if context.output.json {
            context.output.record(&json!({
                "output": target.path().to_string_lossy(), "recipe": recipe.to_string(), "format": format.name(),
                "width": pixels.width, "height": pixels.height, "frames": frames, "truncated": truncated,
                "size": bytes.len(), "source_size": source.len(), "milliseconds": took.as_millis() as u64,
            }))?;
            context.output.flush()?;
        } else {
            let from = size(source.len() as u64);
            context.output.message(format_args!(
                "{}: {format}, {pixels}, {} (from {from}) in {} ms",
                target.path().display(),
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

    fn target(&self, umask: u32) -> Result<Wanted> {
        let terms = Terms { force: self.force, umask };
        if !self.output.is_dir() {
            return Ok(Wanted::At(Target::at(self.output.clone(), terms)?));
        }
        let stem = self.file.file_stem().and_then(|stem| stem.to_str()).filter(|_| self.file != Path::new("-"));
        let unnamed = || WrongUsage(format!("{} is a directory: name a file in it with -o", self.output.display()));
        Ok(Wanted::Inside { dir: self.output.clone(), stem: stem.ok_or_else(unnamed)?.to_owned(), terms })
    }
}

/// Where a picture is to be, before its format is known.
enum Wanted {
    At(Target),
    Inside { dir: PathBuf, stem: String, terms: Terms },
}

impl Wanted {
    fn of(self, made: &Rendition) -> Result<Target> {
        match self {
            Self::At(target) => Ok(target),
            Self::Inside { dir, stem, terms } => {
                let extension = if made.format == Format::Jpeg { "jpg" } else { made.format.name() };
                Target::inside(&dir, &format!("{stem}.{extension}"), terms)
            }
        }
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
