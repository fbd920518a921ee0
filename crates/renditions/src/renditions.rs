//! [`Renditions`]: each is made once, whoever asks and however many do, by as many at a time as there are processors, and kept.
//!
//! 1. Look in the cache.
//! 2. Join whoever makes the same at this moment.
//! 3. Wait for a permit, among a bounded number, of which the files of one owner have half at most.
//! 4. Read the content whole, which checks it; render; answer.
//! 5. Keep it, and let go what was asked for longest ago.
//!
//! Each step ends by the time of who asks; but for encoding AVIF and drawing SVG, which can't be broken off and are bounded by their size.
//!
//! A crash anywhere leaves at most one that was not kept.

use crate::{
    Error, Known, Presets, Result, Wanted,
    flights::Flights,
    kept::Kept,
    known::{known, may_be_rendered},
    refused::{Refused, Why},
    turns::{AGAIN_AFTER, Turns, processors},
    wanted::{Key, Source},
};
use bytes::Bytes;
use futures_util::{StreamExt, TryStreamExt};
use larder_files::{Cache, Caller, Error as FilesError, FileId, Files, Sha256};
use larder_media::{Error as MediaError, Format, Limits, RenderOptions, Rendition};
use std::{
    collections::{BTreeMap, BTreeSet, HashSet},
    num::NonZeroUsize,
    pin::pin,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError, Weak,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};
use tokio::{
    runtime::Handle,
    sync::{Semaphore, mpsc, oneshot},
    time::Instant,
};

/// What the configuration decides.
#[derive(Clone, Debug)]
pub struct RenditionSettings {
    /// Recipes with names.
    pub presets: Presets,
    /// How large pictures and renditions may be.
    pub limits: Limits,
    /// How many are made at once, each with one thread; 0: as many as there are processors.
    pub at_once: usize,
    /// How many wait for that at most; who comes then is `Busy`.
    pub waiting_max: usize,
    /// How long one may take, waiting included; it is `Busy`, or over its deadline, then.
    pub timeout: Duration,
    /// How long one may take that nobody waits for.
    pub timeout_later: Duration,
    /// Bytes that the cache may have.
    pub cache_bytes_max: u64,
}

impl Default for RenditionSettings {
    /// The ready-made presets, `media`'s limits but with 64 MiB of source, as many as processors, 64 waiting, 20 s, 2 min, 1 GiB.
    fn default() -> Self {
        let mut limits = Limits::default();
        limits.source_bytes_max = 64 << 20;
        Self {
            presets: Presets::default(),
            limits,
            at_once: 0,
            waiting_max: 64,
            timeout: Duration::from_secs(20),
            timeout_later: Duration::from_secs(120),
            cache_bytes_max: 1 << 30,
        }
    }
}

/// A rendition.
#[derive(Clone, Debug)]
pub struct Made {
    /// Its file.
    pub bytes: Bytes,
    /// Its format.
    pub format: Format,
    /// Told apart from all others by this: of equal ones the bytes are equal.
    pub tag: [u8; 16],
    /// Whether a better one is to come, which will be shown under the same URL.
    pub is_meanwhile: bool,
}

/// What a rendition would be, before it is made or read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tagged {
    /// That of [`Made`].
    pub tag: [u8; 16],
    /// Whether a better one is to come, which will be shown under the same URL.
    pub is_meanwhile: bool,
    /// Its bytes, where it is known to be kept.
    pub size: Option<u64>,
}

/// What was done since the start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Renditions that were encoded.
    pub made: u64,
    /// Requests that the cache answered.
    pub cached: u64,
    /// Requests that joined another.
    pub joined: u64,
    /// Requests that were turned away because too many waited.
    pub busy: u64,
    /// Requests that ended in another error.
    pub failed: u64,
    /// Renditions that are kept, as far as this node knows.
    pub kept: u64,
    /// Their bytes.
    pub kept_bytes: u64,
}

/// The renditions of a node. Cheap to clone; the clones are one.
#[derive(Clone)]
pub struct Renditions(Arc<Inner>);

struct Inner {
    files: Files,
    runtime: Handle,
    settings: RenditionSettings,
    turns: Turns,
    /// How many are written to the cache at once; more are not kept.
    keeping: Arc<Semaphore>,
    /// Those that are made, or read where else they would be made.
    making: Flights<Result<Made>>,
    /// Those that are only read: where the cache does not have them now, something else is shown.
    reading: Flights<Option<Made>>,
    kept: Mutex<Kept>,
    refused: Mutex<Refused>,
    later: mpsc::Sender<(Key, Wanted)>,
    /// Those that are made later.
    queued: Mutex<HashSet<Key>>,
    counted: Counted,
}

#[derive(Default)]
struct Counted {
    made: AtomicU64,
    cached: AtomicU64,
    joined: AtomicU64,
    busy: AtomicU64,
    failed: AtomicU64,
}

/// So many are made later at most; more are made when they are asked for.
const LATER_MAX: usize = 256;
/// A larger one is made each time: renditions are a fraction of what they are made from.
const KEPT_ONE_MAX: u64 = 16 << 20;
/// So many are written to the cache at once.
const KEEPING_MAX: usize = 16;
/// The cache is no more than one: where it is slower than this, a rendition is made.
const CACHE_TIMEOUT: Duration = Duration::from_secs(2);
/// What can't be broken off is waited for so much longer.
const GRACE: Duration = Duration::from_secs(5);

impl std::fmt::Debug for Renditions {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Renditions({:?})", self.0.settings)
    }
}

impl Renditions {
    /// Renditions of these files. Work that nobody waits for runs on `runtime`, until the last clone is dropped.
    #[must_use]
    pub fn new(files: Files, settings: RenditionSettings, runtime: Handle) -> Self {
        let at_once = NonZeroUsize::new(settings.at_once).unwrap_or_else(processors).get();
        let turns = Turns::new(at_once, settings.waiting_max);
        let (later, jobs) = mpsc::channel(LATER_MAX);
        let inner = Arc::new(Inner {
            files,
            settings,
            turns,
            keeping: Arc::new(Semaphore::new(KEEPING_MAX)),
            making: Flights::default(),
            reading: Flights::default(),
            kept: Mutex::default(),
            refused: Mutex::default(),
            later,
            queued: Mutex::default(),
            counted: Counted::default(),
            runtime,
        });
        inner.runtime.spawn(make_later(Arc::downgrade(&inner), jobs));
        Self(inner)
    }

    /// Finds what earlier processes kept, so that it counts; what belongs to no file any more goes, and what lies on stores that keep none
    /// now. Ends when all was looked at.
    ///
    /// # Errors
    /// Where a store can't be listed to its end.
    pub async fn find_kept(&self) -> Result<()> {
        for former in self.0.files.former_caches() {
            let files: BTreeSet<FileId> = former.list().map_ok(|cached| cached.file).try_collect().await?;
            for file in files {
                former.remove_all(file).await?;
            }
        }
        let Some(cache) = self.0.files.cache() else { return Ok(()) };
        let mut found = vec![];
        {
            let mut listed = pin!(cache.list());
            while let Some(cached) = listed.try_next().await? {
                found.push(cached);
            }
        }
        found.sort_by_key(|cached| cached.made);
        let mut gone = BTreeMap::new();
        for cached in found {
            let is_gone = match gone.get(&cached.file) {
                Some(known) => *known,
                None => *gone.entry(cached.file).or_insert(self.0.is_gone(cached.file, None).await?),
            };
            match is_gone {
                true => cache.remove(cached.file, &cached.key).await?,
                false => self.0.kept().found(Key { file: cached.file, hash: cached.key }, cached.size),
            }
        }
        self.0.let_go(&cache).await;
        Ok(())
    }

    /// The presets.
    #[must_use]
    pub fn presets(&self) -> &Presets {
        &self.0.settings.presets
    }

    /// The limits of pictures.
    #[must_use]
    pub fn limits(&self) -> &Limits {
        &self.0.settings.limits
    }

    /// What was done since the start.
    #[must_use]
    pub fn counts(&self) -> Counts {
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        let Counted { made, cached, joined, busy, failed } = &self.0.counted;
        let (kept, kept_bytes) = self.0.kept().totals();
        Counts {
            made: read(made),
            cached: read(cached),
            joined: read(joined),
            busy: read(busy),
            failed: read(failed),
            kept: kept as u64,
            kept_bytes,
        }
    }

    /// Gives a rendition: the one that is kept, or one that is made now. Where AVIF would suit best it is made later, and WebP is given
    /// meanwhile.
    ///
    /// # Errors
    /// [`Error`]; `Files` of a file that must not be read.
    pub async fn get(&self, wanted: Wanted) -> Result<Made> {
        let answered = self.0.clone().get(wanted).await;
        match &answered {
            Err(Error::Busy { .. }) => self.0.counted.busy.fetch_add(1, Ordering::Relaxed),
            Err(_) => self.0.counted.failed.fetch_add(1, Ordering::Relaxed),
            Ok(_) => 0,
        };
        answered
    }

    /// What a rendition would be known by, without making it. A better one is begun, where there is one to come.
    ///
    /// # Errors
    /// `Files`, of the revision.
    pub async fn tag(&self, wanted: &Wanted) -> Result<Tagged> {
        let content = wanted.content(&self.0.files).await?;
        let (best, is_meanwhile) = self.0.best_now(wanted, &content.sha256);
        if is_meanwhile {
            self.0.make_later(wanted.clone(), &content.sha256);
        }
        let key = best.key(&content.sha256);
        let size = self.0.kept().size(&key).map(|size| size.saturating_sub(Cache::OVERHEAD));
        Ok(Tagged { tag: key.hash, is_meanwhile, size })
    }

    /// Has a rendition of the newest content made when there is time. Where too many wait already, or nothing keeps it, it is made when it
    /// is asked for.
    pub fn make_later(&self, wanted: Wanted) {
        let content = wanted.file.attributes.sha256;
        self.0.make_later(wanted, &content);
    }

    /// Ends when all that is being made is made and kept.
    pub async fn settled(&self) {
        self.0.making.all_landed().await;
    }

    /// Reads a file's newest content, and says what picture it is; `None` where it is none.
    ///
    /// # Errors
    /// `Files`, `Busy`.
    pub async fn look_at(&self, caller: &Caller, file: &larder_files::File) -> Result<Option<Known>> {
        let size = file.attributes.size;
        if !may_be_rendered(&file.attributes.content_type, size) || size > self.limits().source_bytes_max {
            return Ok(None);
        }
        let (inner, until) = (&self.0, Instant::now() + self.0.settings.timeout_later);
        let permit = inner.turns.take(file.attributes.owner_id, until).await?;
        let bytes = inner.read(caller, file, None, until).await?;
        let limits = inner.settings.limits;
        let looked = inner.runtime.spawn_blocking(move || {
            let _permit = permit;
            known(&bytes, &limits, Some(until.into_std())).ok()
        });
        let looked = looked.await;
        looked.map_err(|error| Error::Internal(error.to_string()))
    }
}

impl Inner {
    async fn get(self: Arc<Self>, wanted: Wanted) -> Result<Made> {
        let content = wanted.content(&self.files).await?;
        if !wanted.may_become_avif() {
            return self.clone().get_this(wanted, content, self.settings.timeout).await;
        }
        if let Some(avif) = self.kept_avif(&wanted, &content.sha256).await {
            return Ok(avif);
        }
        // Kept or not, it could not be had just now: nobody who can be shown WebP waits for AVIF.
        let (shown, is_meanwhile) = self.meanwhile(&wanted, &content.sha256);
        if is_meanwhile {
            self.make_later(wanted, &content.sha256);
        }
        let made = self.clone().get_this(shown, content, self.settings.timeout).await?;
        Ok(Made { is_meanwhile, ..made })
    }

    /// AVIF where it is kept, and not only believed to be; read once for all who ask at this moment. `None` also where the cache does not
    /// answer: then it lies there still, and counts.
    async fn kept_avif(self: &Arc<Self>, wanted: &Wanted, content: &Sha256) -> Option<Made> {
        let key = wanted.key(content);
        if !self.kept().contains(&key) {
            return None;
        }
        let (inner, cache) = (self.clone(), self.files.cache()?);
        let read = |tell: oneshot::Sender<Option<Made>>| async move {
            // Nobody waits for it any more, perhaps.
            let _ = tell.send(inner.kept_one(&cache, key).await);
        };
        let (flight, is_joined) = self.reading.join(&self.runtime, key, read);
        self.count_joined(is_joined);
        flight.await.flatten()
    }

    /// What is given at this moment: AVIF only where it is kept. And whether it is to come.
    fn best_now(&self, wanted: &Wanted, content: &Sha256) -> (Wanted, bool) {
        if !wanted.may_become_avif() || self.kept().contains(&wanted.key(content)) {
            return (wanted.clone(), false);
        }
        self.meanwhile(wanted, content)
    }

    /// What is given while there is no AVIF. And whether it is to come.
    fn meanwhile(&self, wanted: &Wanted, content: &Sha256) -> (Wanted, bool) {
        // What nothing would keep would be made for nobody.
        let is_to_come = self.files.cache().is_some() && !self.refused().is_of_picture(&wanted.key(content));
        (wanted.accepting(|format| format != Format::Avif), is_to_come)
    }

    fn make_later(&self, wanted: Wanted, content: &Sha256) {
        let key = wanted.key(content);
        if self.files.cache().is_none() || !self.queued().insert(key) {
            return;
        }
        // Nothing is owed: whoever asks for it gets it.
        if self.later.try_send((key, wanted)).is_err() {
            self.queued().remove(&key);
        }
    }

    async fn get_this(self: Arc<Self>, wanted: Wanted, content: Source, timeout: Duration) -> Result<Made> {
        let key = wanted.key(&content.sha256);
        if let Some(why) = self.refused().get(&key) {
            return Err(why.clone().into());
        }
        // Who joins waits for one that is under way, in the cache or not.
        let inner = self.clone();
        let making = |tell| inner.make_and_keep(wanted, key, content, timeout, tell);
        let (flight, is_joined) = self.making.join(&self.runtime, key, making);
        self.count_joined(is_joined);
        match tokio::time::timeout(timeout + GRACE, flight).await {
            Ok(Some(made)) => made,
            Ok(None) => Err(Error::Internal("the task that made it ended".into())),
            Err(_) => Err(MediaError::Deadline.into()),
        }
    }

    fn count_joined(&self, is_joined: bool) {
        self.counted.joined.fetch_add(u64::from(is_joined), Ordering::Relaxed);
    }

    /// Makes one that nobody waits for.
    async fn make_one_later(self: Arc<Self>, wanted: &Wanted) -> Result<()> {
        let content = wanted.content(&self.files).await?;
        let (key, is_avif) = (wanted.key(&content.sha256), wanted.may_become_avif());
        if self.kept().contains(&key) {
            return Ok(());
        }
        self.clone().get_this(wanted.clone(), content, self.settings.timeout_later).await?;
        // Whoever asks next is shown it only if it was kept.
        self.making.landed(&key).await;
        if is_avif && !self.kept().contains(&key) {
            self.refused().add(key, Why::Picture(MediaError::Deadline));
        }
        Ok(())
    }

    /// Reads one from the cache, or makes it and keeps it. Whoever waits is told before it is kept.
    async fn make_and_keep(
        self: Arc<Self>,
        wanted: Wanted,
        key: Key,
        content: Source,
        timeout: Duration,
        tell: oneshot::Sender<Result<Made>>,
    ) {
        let cache = self.files.cache();
        let kept = match &cache {
            Some(cache) => self.kept_one(cache, key).await,
            None => None,
        };
        if let Some(made) = kept {
            // Nobody waits for it any more, perhaps.
            let _ = tell.send(Ok(made));
            return;
        }
        let made = self.make(&wanted, key, &content, Instant::now() + timeout).await;
        if let Err(Error::Media(why)) = &made
            && !matches!(why, MediaError::Encode { .. })
        {
            self.refused().add(key, Why::Picture(why.clone()));
        }
        let bytes = made.as_ref().ok().map(|made| made.bytes.clone());
        let _ = tell.send(made);
        // The flight ends once it is kept: until then it answers.
        if let (Some(cache), Some(bytes)) = (cache, bytes) {
            self.keep(&cache, key, &bytes, &wanted).await;
        }
    }

    /// One that the cache has. What it says that it has not is forgotten; where it does not answer, nothing is known.
    async fn kept_one(&self, cache: &Cache, key: Key) -> Option<Made> {
        let reading = cache.get(key.file, &key.hash, KEPT_ONE_MAX);
        match tokio::time::timeout(CACHE_TIMEOUT, reading).await.ok()? {
            Ok(Some(bytes)) => {
                let format = Format::of(&bytes).ok()?;
                self.kept().used(key, bytes.len() as u64 + Cache::OVERHEAD);
                self.counted.cached.fetch_add(1, Ordering::Relaxed);
                Some(Made { bytes, format, tag: key.hash, is_meanwhile: false })
            }
            Ok(None) => {
                self.kept().forget(&key);
                None
            }
            Err(error) => {
                tracing::warn!(%error, "kept renditions can't be read now");
                None
            }
        }
    }

    async fn make(&self, wanted: &Wanted, key: Key, content: &Source, until: Instant) -> Result<Made> {
        let limits = self.settings.limits;
        let size = content.size;
        if !may_be_rendered(&content.content_type, size) {
            return Err(MediaError::NotAnImage.into());
        }
        if size > limits.source_bytes_max {
            return Err(MediaError::TooLarge {
                what: "size of the source in bytes",
                found: size,
                limit: limits.source_bytes_max,
                instead: "send a smaller picture",
            }
            .into());
        }
        let permit = self.turns.take(wanted.file.attributes.owner_id, until).await?;
        let source = self.source(wanted, key, until).await?;
        let left = until.saturating_duration_since(Instant::now());
        let (recipe, focal, accepted) = (wanted.recipe, wanted.focal_point(), wanted.accepted.clone());
        let rendered = self.runtime.spawn_blocking(move || {
            let _permit = permit;
            let is_over = || Instant::now() >= until;
            larder_media::render(
                &source,
                &recipe,
                &RenderOptions { limits, focal, accepted: &accepted, is_over: &is_over },
            )
        });
        let rendered = rendered.await.map_err(|error| Error::Internal(error.to_string()))?;
        if rendered == Err(MediaError::Deadline) && self.is_short(left) {
            // The time went by before it: of the picture nothing is known.
            return Err(Error::Busy { after: AGAIN_AFTER });
        }
        let Rendition { bytes, format, .. } = rendered?;
        self.counted.made.fetch_add(1, Ordering::Relaxed);
        Ok(Made { bytes: bytes.into(), format, tag: key.hash, is_meanwhile: false })
    }

    /// What one is made of. A store that held up a turn until it failed is not asked for it again at once.
    async fn source(&self, wanted: &Wanted, key: Key, until: Instant) -> Result<Vec<u8>> {
        let begun = Instant::now();
        let source = self.read(&wanted.caller, &wanted.file, wanted.revision, until).await;
        let is_outage = matches!(&source, Err(Error::Files(why)) if matches!(**why, FilesError::StoreUnavailable(_)));
        if is_outage && !self.is_short(begun.elapsed()) {
            self.refused().add(key, Why::SlowStore);
        }
        source
    }

    /// The whole content: it ends in an error where it is not the one whose hash is known.
    async fn read(
        &self,
        caller: &Caller,
        file: &larder_files::File,
        revision: Option<u64>,
        until: Instant,
    ) -> Result<Vec<u8>> {
        let left = until.saturating_duration_since(Instant::now());
        match tokio::time::timeout_at(until, self.read_whole(caller, file, revision)).await {
            Ok(read) => read,
            // The time went by before it: of the store nothing is known.
            Err(_) if self.is_short(left) => Err(Error::Busy { after: AGAIN_AFTER }),
            Err(_) => Err(FilesError::StoreUnavailable(None).into()),
        }
    }

    /// Whether this is too short a time to say anything of what did not end within it.
    fn is_short(&self, time: Duration) -> bool {
        time < self.settings.timeout / 2
    }

    async fn read_whole(&self, caller: &Caller, file: &larder_files::File, revision: Option<u64>) -> Result<Vec<u8>> {
        let content = self.files.open(caller, file, revision, None).await?;
        let size = content.range.end - content.range.start;
        let mut whole = Vec::with_capacity(usize::try_from(size).unwrap_or(0));
        let mut body = content.body;
        while let Some(block) = body.next().await {
            whole.extend_from_slice(&block.map_err(|cause| FilesError::StoreUnavailable(Some(cause)))?);
        }
        Ok(whole)
    }

    async fn keep(&self, cache: &Cache, key: Key, bytes: &Bytes, wanted: &Wanted) {
        // Where the cache is slower than what is made, it does not hold that in memory.
        let Ok(_turn) = self.keeping.clone().try_acquire_owned() else { return };
        let size = bytes.len() as u64 + Cache::OVERHEAD;
        if size > self.settings.cache_bytes_max.min(KEPT_ONE_MAX) {
            return;
        }
        if let Err(error) = cache.put(key.file, &key.hash, bytes).await {
            return tracing::warn!(%error, "a rendition is not kept, and made again when it is asked for");
        }
        self.kept().used(key, size);
        // Purged meanwhile: what was kept of it then has gone already, and this came behind.
        let revision = wanted.revision.unwrap_or(wanted.file.attributes.revision);
        match self.is_gone(key.file, Some(revision)).await {
            Ok(false) => {}
            Ok(true) => self.remove(cache, key).await,
            Err(error) => tracing::warn!(%error, "whether a file is still there can't be told"),
        }
        self.let_go(cache).await;
    }

    /// Removes what was asked for longest ago, until the rest fits.
    async fn let_go(&self, cache: &Cache) {
        let over = self.kept().over(self.settings.cache_bytes_max);
        for key in over {
            self.remove(cache, key).await;
        }
    }

    async fn remove(&self, cache: &Cache, key: Key) {
        self.kept().forget(&key);
        if let Err(error) = cache.remove(key.file, &key.hash).await {
            tracing::warn!(%error, "a rendition stays longer than it should");
        }
    }

    /// Whether there is no such file, or no such revision of it.
    async fn is_gone(&self, file: FileId, revision: Option<u64>) -> Result<bool> {
        let local = Caller::local();
        let there = match revision {
            Some(revision) => self.files.revision(&local, file, revision).await.map(drop),
            None => self.files.describe(&local, file).await.map(drop),
        };
        match there {
            Ok(()) => Ok(false),
            Err(FilesError::NotFound(_)) => Ok(true),
            Err(error) => Err(error.into()),
        }
    }

    fn kept(&self) -> MutexGuard<'_, Kept> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn queued(&self) -> MutexGuard<'_, HashSet<Key>> {
        self.queued.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn refused(&self) -> MutexGuard<'_, Refused> {
        self.refused.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Makes what nobody waits for, one after the other.
async fn make_later(inner: Weak<Inner>, mut jobs: mpsc::Receiver<(Key, Wanted)>) {
    while let Some((key, wanted)) = jobs.recv().await {
        let Some(inner) = inner.upgrade() else { return };
        if let Err(error) = inner.clone().make_one_later(&wanted).await {
            tracing::debug!(%error, "a rendition that nobody waits for was not made");
        }
        inner.queued().remove(&key);
    }
}
