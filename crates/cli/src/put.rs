//! `larder put`: files, directories and standard input into a bucket. Several at once; one that fails does not stop the others.

use crate::{
    Context,
    open::{self, Access},
    output::{Exit, Output, Progress, WrongUsage, chain, counted, shown},
};
use anyhow::{Context as _, Result};
use bytes::Bytes;
use clap::Args;
use futures_util::{StreamExt, TryStreamExt, stream};
use larder_files::{Caller, File, Files, ListFiles, NewFile, Receive, UserName};
use larder_renditions::Presets;
use larder_storage_core::Body;
use serde_json::{Map, Value};
use std::{
    collections::HashSet,
    fs, io,
    os::{fd::AsFd, unix::fs::MetadataExt},
    path::{Path, PathBuf},
    sync::Arc,
};
use tokio::io::AsyncRead;
use tokio_util::io::ReaderStream;

/// Files on their way at once.
const AT_ONCE: usize = 16;
/// Up to this size a file is read in one call.
const SMALL_BYTES: u64 = 256 << 10;
/// A larger one is read in blocks of this size.
const BLOCK_BYTES: usize = 1 << 20;

/// Add files; prints their ids.
///
/// A name is nobody's alone unless the bucket says so: the same file put twice is two files, and a message tells of it.
#[derive(Args)]
pub(crate) struct Put {
    /// Files, directories (their relative paths become names; a link in them to a file is followed, one to a directory is not), or - for
    /// standard input
    #[arg(required = true, value_name = "FILE|DIR|-")]
    sources: Vec<PathBuf>,
    /// The bucket
    #[arg(long, default_value = "documents")]
    bucket: String,
    /// The user whose they are to be [default: the built-in account `local`]
    #[arg(long, value_name = "NAME")]
    owner: Option<UserName>,
    /// Another name; of a directory the folder that its names begin with
    #[arg(long, value_name = "NAME")]
    name: Option<String>,
    /// What becomes of a file whose name a live one of its owner has already
    #[arg(long, value_enum, default_value_t = OnConflict::KeepBoth, value_name = "WHAT")]
    on_conflict: OnConflict,
    /// A tag; several times for several
    #[arg(long = "tag", value_name = "TAG")]
    tags: Vec<String>,
    /// A piece of metadata; KEY:=JSON for what is no text
    #[arg(long, value_name = "KEY=VALUE", value_parser = metadata)]
    metadata: Vec<(String, Value)>,
}

/// What becomes of a file whose name is taken, by the words of the API.
#[derive(Clone, Copy, Debug, clap::ValueEnum)]
#[value(rename_all = "snake_case")]
enum OnConflict {
    /// Both stay
    KeepBoth,
    /// It becomes a new revision of the newest that has the name
    Replace,
    /// It is refused
    Fail,
}

impl From<OnConflict> for larder_files::OnConflict {
    fn from(choice: OnConflict) -> Self {
        match choice {
            OnConflict::KeepBoth => Self::KeepBoth,
            OnConflict::Replace => Self::Replace,
            OnConflict::Fail => Self::Fail,
        }
    }
}

/// One file to be put.
#[derive(Debug)]
struct Source {
    /// `None` is standard input.
    path: Option<PathBuf>,
    name: String,
}

impl Put {
    pub(crate) async fn run(self, context: Context) -> Result<Exit> {
        self.check()?;
        open::with(&context, Access::Make, async |files| {
            // Looked at when the database is open: all of its files are there then.
            let own = Own::of(&context)?;
            self.put_all(files, &own, &context).await
        })
        .await
    }

    fn check(&self) -> Result<()> {
        let stdin = self.sources.iter().filter(|source| source.as_os_str() == "-").count();
        let problem = match (&self.name, stdin) {
            (None, 1..) => "standard input has no name: give it one with --name",
            (_, 2..) => "standard input can be read once",
            (Some(_), _) if self.sources.len() > 1 => "--name names one file or directory, several were given",
            _ => return Ok(()),
        };
        Err(WrongUsage(problem.into()).into())
    }

    async fn put_all(&self, files: &Files, own: &Arc<Own>, context: &Context) -> Result<Exit> {
        let (output, presets) = (&context.output, context.config.presets());
        files.bucket(&self.bucket).with_context(|| format!("bucket `{}`", self.bucket))?;
        if let Some(owner) = &self.owner {
            let found = files.owner_named(owner.as_str()).await?;
            found.with_context(|| format!("no such user: `{owner}`; `larder user add {owner}` makes one"))?;
        }
        let progress = Arc::new(output.progress(self.total()));
        let sources = self.sources.iter().flat_map(|source| find(source, self.name.as_deref(), own));
        let mut results = stream::iter(sources)
            .map(|source| {
                let (files, progress, receive, new) =
                    (files.clone(), progress.clone(), self.receive(), self.new_file());
                tokio::spawn(async move {
                    let source = source?;
                    progress.about(&source.name);
                    let shown = shown(source.path.as_deref().unwrap_or(Path::new("-")));
                    put_one(&files, source, receive, new, &progress)
                        .await
                        .map_err(|error| format!("cannot put {shown}: {}", chain(error.as_ref())))
                })
            })
            .buffered(AT_ONCE);
        let (mut done, mut failed) = (0_u64, 0_u64);
        let mut twice = Twice::default();
        while let Some(result) = results.next().await {
            match result? {
                Ok((file, other)) => {
                    done += 1;
                    print(files, output, &presets, &file)?;
                    twice.note(other);
                }
                Err(message) => {
                    failed += 1;
                    output.error(message);
                }
            }
        }
        drop(results);
        if done + failed != 1 {
            let failures = if failed == 0 { String::new() } else { format!(", {failed} failed") };
            output.message(format_args!("{} kept{failures}", counted(done, "file", "files")));
        }
        if let Some(words) = twice.words() {
            output.message(words);
        }
        Ok(Exit::failed_if(failed > 0))
    }

    fn receive(&self) -> Receive {
        Receive { bucket: self.bucket.clone(), owner: self.owner.clone(), ..Receive::default() }
    }

    fn new_file(&self) -> NewFile {
        let metadata: Map<String, Value> = self.metadata.iter().cloned().collect();
        NewFile { tags: self.tags.clone(), metadata, on_conflict: self.on_conflict.into(), ..NewFile::default() }
    }

    /// What will be read, where it can be told without walking directories.
    fn total(&self) -> Option<u64> {
        let sizes = self.sources.iter().map(|path| fs::metadata(path).ok().filter(fs::Metadata::is_file));
        sizes.map(|metadata| metadata.map(|file| file.len())).sum()
    }
}

/// Files that were kept beside others of their name.
#[derive(Default)]
struct Twice {
    count: u64,
    /// The first of those others.
    first: Option<File>,
}

impl Twice {
    fn note(&mut self, other: Option<File>) {
        self.count += u64::from(other.is_some());
        self.first = self.first.take().or(other);
    }

    fn words(&self) -> Option<String> {
        let other = &self.first.as_ref()?.attributes;
        let (name, id) = (shown(Path::new(&other.name)), other.id);
        let instead = "`--on-conflict replace` makes a new revision instead, `fail` refuses";
        Some(match self.count {
            1 => format!("another file is named `{name}`: {id}; {instead}"),
            count => format!("{count} are named as other files are, such as `{name}`: {id}; {instead}"),
        })
    }
}

/// Another live file of the same bucket, owner and name. Costs one look into the index of names.
async fn namesake(files: &Files, file: &File) -> Result<Option<File>, larder_files::Error> {
    let of = &file.attributes;
    let query = ListFiles {
        bucket: Some(of.bucket.to_string()),
        owner: Some(of.owner.to_string()),
        name: Some(of.name.clone()),
        descending: true,
        limit: 2,
        ..ListFiles::default()
    };
    let found = files.list(&Caller::local(), query).await?.items;
    Ok(found.into_iter().find(|other| other.attributes.id != of.id))
}

fn print(files: &Files, output: &Output, presets: &Presets, file: &File) -> Result<()> {
    if output.json {
        output.record(&open::record(files, file, presets))?;
    } else {
        output.line(file.attributes.id)?;
        output.detail(format_args!("{}  {}", file.attributes.id, file.attributes.name));
    }
    Ok(output.flush()?)
}

async fn put_one(
    files: &Files,
    source: Source,
    mut receive: Receive,
    mut new: NewFile,
    progress: &Arc<Progress>,
) -> Result<(File, Option<File>)> {
    receive.name_hint.clone_from(&source.name);
    new.name = source.name;
    let body = match source.path {
        Some(path) => read(path, progress).await?,
        None => in_blocks(stdin()?, None, progress),
    };
    let caller = Caller::local();
    // Told now rather than after gigabytes.
    files.check_name_free(&caller, &receive, new.on_conflict).await?;
    let received = files.receive(&caller, receive, body).await?;
    let may_be_twice = new.on_conflict == larder_files::OnConflict::KeepBoth;
    let file = files.create(&caller, received, new).await?.file;
    let other = if may_be_twice { namesake(files, &file).await } else { Ok(None) };
    // It is kept: that others can't be told of changes nothing of that.
    let other = other.inspect_err(|error| tracing::warn!(%error, "who else has the name can't be told"));
    Ok((file, other.unwrap_or_default()))
}

/// What Larder itself keeps. Never opened to be put: no file of a database may be closed by the process that has it open, as all its
/// locks on it go with that; and secrets and stores are nobody's files.
struct Own {
    /// The data directory, the database's files, and the stores' roots, by device and inode.
    places: HashSet<(u64, u64)>,
    output: Output,
}

impl Own {
    fn of(context: &Context) -> Result<Arc<Self>> {
        let Context { dir, config, output, .. } = context;
        let mut paths = vec![dir.path().to_owned(), dir.db()];
        paths.extend(open::roots(dir, config));
        if dir.db().exists() {
            let database = fs::read_dir(dir.db())?.map(|entry| Ok(entry?.path())).collect::<io::Result<Vec<_>>>()?;
            paths.extend(database);
        }
        // The log of a database comes and goes with those who use it.
        let there = paths.iter().filter_map(|path| fs::metadata(path).ok());
        Ok(Arc::new(Self { places: there.map(|about| place(&about)).collect(), output: output.clone() }))
    }

    fn is(&self, about: &fs::Metadata) -> bool {
        self.places.contains(&place(about))
    }

    /// Whether it is, or lies below, a place of Larder's own; links are followed.
    fn holds(&self, path: &Path) -> bool {
        let Ok(real) = fs::canonicalize(path) else { return false };
        real.ancestors().any(|above| fs::metadata(above).is_ok_and(|about| self.is(&about)))
    }

    fn is_standard_input(&self) -> bool {
        // Not by a handle of its own: to close that would be just what must not be.
        rustix::fs::fstat(io::stdin()).is_ok_and(|about| self.places.contains(&(about.st_dev, about.st_ino)))
    }
}

fn place(about: &fs::Metadata) -> (u64, u64) {
    (about.dev(), about.ino())
}

fn own_is_not_put(path: &Path) -> String {
    format!(
        "{}: it is Larder's own, or lies in its data directory or in a store; not put: name files that lie elsewhere",
        shown(path)
    )
}

/// Standard input as a file: a reader without a buffer of its own.
fn stdin() -> Result<tokio::fs::File> {
    let descriptor = io::stdin().as_fd().try_clone_to_owned()?;
    Ok(tokio::fs::File::from_std(fs::File::from(descriptor)))
}

async fn read(path: PathBuf, progress: &Arc<Progress>) -> Result<Body> {
    enum Opened {
        Small(Bytes),
        Large(fs::File, u64),
    }
    let opened = tokio::task::spawn_blocking(move || {
        let file = fs::File::open(&path)?;
        let metadata = file.metadata()?;
        if metadata.is_dir() {
            return Err(io::ErrorKind::IsADirectory.into());
        }
        if metadata.len() > SMALL_BYTES || !metadata.is_file() {
            return Ok(Opened::Large(file, metadata.len()));
        }
        fs::read(&path).map(|bytes| Opened::Small(bytes.into()))
    });
    Ok(match opened.await?? {
        Opened::Small(bytes) => {
            progress.add(bytes.len() as u64);
            bytes.into()
        }
        Opened::Large(file, size) => {
            // A pipe or device is as long as it is.
            let size = file.metadata()?.is_file().then_some(size);
            in_blocks(tokio::fs::File::from_std(file), size, progress)
        }
    })
}

fn in_blocks(source: impl AsyncRead + Send + 'static, size: Option<u64>, progress: &Arc<Progress>) -> Body {
    let progress = progress.clone();
    let blocks = ReaderStream::with_capacity(source, BLOCK_BYTES);
    Body::once(blocks.inspect_ok(move |block| progress.add(block.len() as u64)).map_err(Into::into).boxed(), size)
}

/// The files that an argument stands for, in order of their names; a message for what can't be one.
fn find(
    argument: &Path,
    name: Option<&str>,
    own: &Arc<Own>,
) -> Box<dyn Iterator<Item = Result<Source, String>> + Send> {
    let one = |found| Box::new(std::iter::once(found));
    if argument.as_os_str() == "-" {
        let source = Source { path: None, name: name.unwrap_or_default().into() };
        return one(if own.is_standard_input() { Err(own_is_not_put(argument)) } else { Ok(source) });
    }
    if own.holds(argument) {
        return one(Err(own_is_not_put(argument)));
    }
    if argument.is_dir() {
        let (folder, root, open) = (name.map(str::to_owned), argument.to_owned(), vec![argument.to_owned()]);
        return Box::new(Walk { folder, root, open, own: own.clone() });
    }
    let last = argument.file_name().and_then(|name| name.to_str());
    let named = name.or(last).ok_or_else(|| format!("{}: its name is no UTF-8; use --name", shown(argument)));
    let path = Some(argument.to_owned());
    one(named.map(|name| Source { path, name: name.to_owned() }))
}

/// All files below a directory but what is Larder's own. Directories behind symbolic links are left out: they may lead round in
/// circles.
struct Walk {
    folder: Option<String>,
    root: PathBuf,
    /// What is still to be looked at, the next one last.
    open: Vec<PathBuf>,
    own: Arc<Own>,
}

impl Walk {
    fn source(&self, path: PathBuf) -> Result<Source, String> {
        let below = path.strip_prefix(&self.root).ok().and_then(Path::to_str);
        let below = below.ok_or_else(|| format!("{}: its name is no UTF-8", shown(&path)))?;
        let name = match &self.folder {
            Some(folder) => format!("{}/{below}", folder.trim_end_matches('/')),
            None => below.to_owned(),
        };
        Ok(Source { path: Some(path), name })
    }

    fn enter(&mut self, dir: &Path) -> io::Result<()> {
        let mut entries = fs::read_dir(dir)?.map(|entry| Ok(entry?.path())).collect::<io::Result<Vec<_>>>()?;
        entries.sort_unstable_by(|a, b| b.cmp(a));
        self.open.append(&mut entries);
        Ok(())
    }
}

impl Iterator for Walk {
    type Item = Result<Source, String>;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            let path = self.open.pop()?;
            let explained = |error: &io::Error| format!("cannot read {}: {error}", shown(&path));
            let kind = match fs::symlink_metadata(&path) {
                Ok(metadata) if self.own.is(&metadata) => {
                    let path = shown(&path);
                    self.own.output.message(format_args!("{path}: Larder's own data; left out"));
                    continue;
                }
                // The root may be a link itself: it was asked for by name.
                Ok(metadata) if metadata.is_dir() || path == self.root => match self.enter(&path) {
                    Ok(()) => continue,
                    Err(error) => return Some(Err(explained(&error))),
                },
                Ok(metadata) if metadata.is_symlink() && self.own.holds(&path) => {
                    return Some(Err(own_is_not_put(&path)));
                }
                Ok(metadata) if metadata.is_symlink() => match fs::metadata(&path) {
                    Ok(target) => target.file_type(),
                    Err(error) => return Some(Err(explained(&error))),
                },
                Ok(metadata) => metadata.file_type(),
                Err(error) => return Some(Err(explained(&error))),
            };
            return Some(if kind.is_file() {
                self.source(path)
            } else {
                Err(format!("{}: neither a file nor a directory of its own; left out", shown(&path)))
            });
        }
    }
}

fn metadata(text: &str) -> Result<(String, Value), String> {
    if let Some((key, json)) = text.split_once(":=") {
        let value = serde_json::from_str(json).map_err(|error| format!("`{json}` is no JSON: {error}"))?;
        return Ok((key.to_owned(), value));
    }
    let (key, value) = text.split_once('=').ok_or("write KEY=VALUE, or KEY:=JSON")?;
    Ok((key.to_owned(), value.into()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn nothing() -> Arc<Own> {
        let cli = <crate::Cli as clap::Parser>::parse_from(["larder", "dump"]);
        Arc::new(Own { places: HashSet::new(), output: Output::new(&cli.globals, crate::hint::Hints::default(), true) })
    }

    #[test]
    fn a_directory_is_walked_in_order_and_its_relative_paths_are_the_names() {
        let dir = tempfile::tempdir().unwrap();
        for file in ["b/2", "b/1", "a", "c/d/e"] {
            fs::create_dir_all(dir.path().join(file).parent().unwrap()).unwrap();
            fs::write(dir.path().join(file), "").unwrap();
        }
        std::os::unix::fs::symlink("a", dir.path().join("z")).unwrap();
        std::os::unix::fs::symlink(".", dir.path().join("circle")).unwrap();
        let (found, left_out): (Vec<_>, Vec<_>) = find(dir.path(), None, &nothing()).partition(Result::is_ok);
        let names: Vec<_> = found.into_iter().map(|source| source.unwrap().name).collect();
        assert_eq!(names, ["a", "b/1", "b/2", "c/d/e", "z"]);
        assert_eq!(left_out.len(), 1);
        let first = find(dir.path(), Some("docs/"), &nothing()).find_map(Result::ok).unwrap();
        assert_eq!(first.name, "docs/a");
    }

    #[test]
    fn metadata_is_text_unless_it_is_marked_as_json() {
        assert_eq!(metadata("zip=01234").unwrap(), ("zip".into(), "01234".into()));
        assert_eq!(metadata("year:=2026").unwrap(), ("year".into(), 2026.into()));
        assert_eq!(metadata("a=b=c").unwrap(), ("a".into(), "b=c".into()));
        assert!(metadata("a").is_err() && metadata("a:=b").is_err());
    }
}
