//! `rebuild`: the ledger from what lies on the stores, in constant memory. Everything is taken in by its rank, so order
//! does not matter and a rebuild that was broken off is simply begun again.
//!
//! 1. The stores are checked against each other: one installation, the right secrets, every known store there.
//! 2. The epoch is raised, in the older ledger and in every marker: whoever still writes by the older one is outranked
//!    or stops. Where a store does not stage, ten minutes pass: the longest deadline of a request that was sent before.
//! 3. Tombstones, then users and buckets, then attributes beside bytes and as overlays, then the tombstones again: a
//!    purge that was under way meanwhile wins.
//! 4. Without the secrets: steps 2 to 4 of `reseal`.
//!
//! A store that is away can be left out. What it alone knows is then missing, newer attributes, tombstones and accounts too, so the
//! index is provisional: what it tells of from before takes no changes, and what it does not tell of is not called absent. Nothing
//! that is written meanwhile can so outrank what that store knows; another rebuild, which reads it, ends this. A store that will not
//! come back can be forgotten instead: the index is whole then, without what that store alone knew and the older ledger does not know
//! either (`carried`).
//!
//! One bad object never stops it: it is reported by its name, and all the rest comes back. An outage does stop it, for
//! what is away must not look absent.

mod carried;
mod losses;

pub use losses::{Loss, Losses, losses};

use crate::{
    Attributes, Bucket, BucketId, FileId, Finding, FindingKind, Ledger, Parts, Rebuilt, Settings, StartError, StoreId,
    StoreName, Timestamp, Tombstone, User, UserId,
    files::{Mount, Place},
    layout,
    ledger::{
        CopyRow, Entry, FileQuery, Identity, KnownStore, LedgerError, Missed, Position, Record, RecordId, Recorded,
    },
    marker::{FORMAT, Marker, next_epoch, read_mark},
    recovery::present,
    sealed::{self, Sealed},
    truth::{Reading, chain},
};
use futures_util::{Stream, StreamExt, TryStreamExt, stream};
use larder_storage_core::{self as core, BoxError, Key, ListOptions, Prefix};
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};
use tracing::warn;

/// Objects that are read at once.
const READS: usize = 32;

pub(crate) type Result<T, E = StartError> = std::result::Result<T, E>;
type Report<'a> = &'a mut (dyn FnMut(Finding) + Send);

/// What a rebuild does without.
#[derive(Clone, Debug, Default)]
pub struct RebuildOptions {
    /// The secrets are not those that the stores were sealed with: users and buckets are sealed anew by `parts.secrets`. They come from
    /// the older ledger, where it is this installation's; else each owner of files gets an account that can't log in. What could not
    /// be opened goes to quarantine. Every store must take changes, and none may be left out.
    pub without_secrets: bool,
    /// Known stores that are away and may come back. The index is provisional: see [`Files::unread_stores`](crate::Files).
    pub without: Vec<StoreName>,
    /// Known stores that will not come back. Content that they alone have is lost: [`losses`] tells before. So are changes that they alone
    /// know of, unless the older ledger knows them too.
    pub forget: Vec<StoreName>,
}

impl RebuildOptions {
    fn leaves_some_out(&self) -> bool {
        !(self.without.is_empty() && self.forget.is_empty())
    }

    fn leaves_out(&self, name: &str) -> bool {
        self.without.iter().chain(&self.forget).any(|left_out| left_out.as_str() == name)
    }
}

/// Rebuilds `parts.ledger` (empty) from the stores. `older` is the ledger that it replaces, if it can be opened.
///
/// The caller sees to it that no other node works meanwhile, as by an exclusive lock: one that did would write by the
/// older epoch, and is outranked or stops, but only once it looks.
///
/// Every object that can't be read is reported by name, and every file without bytes; `Rebuilt::findings` counts them.
///
/// # Errors
/// [`StartError`]: nothing but the epoch was changed, and the same call can be made again.
pub async fn rebuild(
    parts: Parts,
    settings: Settings,
    older: Option<Arc<dyn Ledger>>,
    options: RebuildOptions,
    report: &mut (dyn FnMut(Finding) + Send),
) -> Result<Rebuilt> {
    let run = if options.without_secrets { Run::Resealing } else { Run::Real };
    let mut installation = Installation::read(&parts, older.as_deref(), &options, run).await?;
    let mut epoch = next_epoch(installation.epoch, &parts.environment);
    installation.raise(epoch, older.as_deref()).await?;
    if installation.places.iter().any(|place| place.store.staging().is_none()) {
        // Nothing that was sent before may arrive later; a mark, or a marker of a rebuild that broke off, may have by now.
        parts.environment.clock.sleep(settings.deadlines.late()).await;
        installation = Installation::read(&parts, older.as_deref(), &options, run).await?;
        if installation.markers.iter().any(|marker| marker.epoch != epoch) {
            epoch = next_epoch(installation.epoch.max(epoch), &parts.environment);
            installation.raise(epoch, older.as_deref()).await?;
        }
    }
    let knows_more = older.as_deref().filter(|_| options.leaves_some_out());
    let mut scan = installation.scan(&parts, settings.batch_max, epoch, run, knows_more, report).await?;
    if scan.highest_epoch >= epoch {
        // Something on the stores knows of a rebuild that no marker tells of: the new epoch must be above that one too.
        let above = next_epoch(scan.highest_epoch, &parts.environment);
        installation.raise(above, older.as_deref()).await?;
        installation.initialise(&*parts.ledger, above).await?;
        scan.rebuilt.epoch = above;
    }
    match (options.forget.is_empty(), options.without.is_empty()) {
        // A store that turns up again knows them better: nothing it knows may be outranked by what is only told.
        (false, _) => scan.seal_what_is_told(&settings, (0, scan.rebuilt.epoch)).await?,
        (true, false) => scan.record_what_is_told(&settings).await?,
        (true, true) => {}
    }
    installation.name_stores(scan.rebuilt.epoch).await?;
    if run == Run::Resealing {
        scan.reseal(&settings, older.as_deref()).await?;
        installation.name_secrets(scan.rebuilt.epoch, &parts.secrets.id()).await?;
        scan.set_aside().await;
    }
    Ok(scan.rebuilt)
}

/// What [`rebuild`] would bring back, taken into `parts.ledger`, which is thrown away after. Changes no store.
///
/// # Errors
/// As [`rebuild`].
pub async fn rehearse_rebuild(
    parts: Parts,
    options: RebuildOptions,
    report: &mut (dyn FnMut(Finding) + Send),
) -> Result<Rebuilt> {
    let installation = Installation::read(&parts, None, &options, Run::Rehearsal).await?;
    let (epoch, settings) = (next_epoch(installation.epoch, &parts.environment), Settings::default());
    let mut scan = installation.scan(&parts, settings.batch_max, epoch, Run::Rehearsal, None, report).await?;
    if options.leaves_some_out() {
        scan.record_what_is_told(&settings).await?;
    }
    Ok(scan.rebuilt)
}

/// What is to be done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Run {
    /// No store may be written to.
    Rehearsal,
    Real,
    /// The secrets are not those that the stores were sealed with.
    Resealing,
}

/// What the markers say together.
struct Installation {
    places: Vec<Place>,
    markers: Vec<Marker>,
    /// The known stores before the rebuild, and after it.
    known: Vec<KnownStore>,
    stores: Vec<KnownStore>,
    epoch: u64,
    mark: u64,
}

impl Installation {
    async fn read(parts: &Parts, older: Option<&dyn Ledger>, options: &RebuildOptions, run: Run) -> Result<Self> {
        let (mut places, mut markers, mut mark) = (vec![], vec![], 0);
        let mut unmarked = vec![];
        for mount in parts.stores.iter().filter(|mount| !options.leaves_out(mount.name.as_str())) {
            let Some(found) = Marker::read(&*mount.store).await.map_err(failed)? else {
                unmarked.push(mount);
                continue;
            };
            check_marker(mount, &found, &parts.secrets.id(), run)?;
            mark = mark.max(read_mark(&*mount.store).await.map_err(failed)?.number);
            places.push(place(mount, &found));
            markers.push(found);
        }
        check_one_installation(&places, &markers)?;
        let older = older_identity(older).await.filter(|older| older.instance == markers[0].instance);
        let known = known_stores(&places, &markers, older.as_ref());
        let stores = leave_out(known.clone(), options, run, parts.environment.clock.now())?;
        check_all_there(&stores, &places, &unmarked)?;
        let mut epoch = markers.iter().map(|marker| marker.epoch).max().unwrap_or(0);
        if let Some(identity) = older {
            epoch = epoch.max(identity.epoch);
            mark = mark.max(identity.mark);
        }
        Ok(Self { places, markers, known, stores, epoch, mark })
    }

    /// Raises the epoch in the older ledger and in every marker that can be written. What is left out stays known until the end, so
    /// that a rebuild that breaks off leaves out nothing.
    async fn raise(&self, epoch: u64, older: Option<&dyn Ledger>) -> Result<()> {
        if let (Some(older), Some(identity)) = (older, older_identity(older).await)
            && let Err(error) = older.initialise(&Identity { epoch, ..identity }).await
        {
            warn!(error = %chain(&error), "the epoch could not be raised in the older database; the markers hold it");
        }
        self.write_markers(epoch, &self.known).await
    }

    /// Has every marker that can be written tell of the stores as they are from now on.
    async fn name_stores(&self, epoch: u64) -> Result<()> {
        if self.stores == self.known { Ok(()) } else { self.write_markers(epoch, &self.stores).await }
    }

    async fn write_markers(&self, epoch: u64, stores: &[KnownStore]) -> Result<()> {
        for (place, found) in self.places.iter().zip(&self.markers) {
            let marker = Marker { epoch, stores: stores.to_vec(), ..found.clone() };
            match marker.write(&*place.store).await {
                Ok(()) => {}
                Err(error) if !place.mode.changes() => {
                    warn!(store = %place.name, %error, "the marker of a store that takes no changes stays as it is");
                }
                Err(error) => return Err(failed(error)),
            }
        }
        Ok(())
    }

    /// Has every marker name the secrets that all is sealed by now.
    async fn name_secrets(&self, epoch: u64, master: &str) -> Result<()> {
        for (place, found) in self.places.iter().zip(&self.markers) {
            let stores = self.stores.clone();
            let named = Marker { epoch, master: master.to_owned(), stores, ..found.clone() };
            named.write(&*place.store).await.map_err(failed)?;
        }
        Ok(())
    }

    async fn initialise(&self, ledger: &dyn Ledger, epoch: u64) -> Result<()> {
        let instance = self.markers[0].instance;
        let identity = Identity { instance, epoch, mark: self.mark, stores: self.stores.clone(), marks: [].into() };
        ledger.initialise(&identity).await.map_err(failed)
    }

    /// Takes everything into `parts.ledger`, `group` entries in a transaction. `older` tells of what only a store that is left out may
    /// tell of: of purges, and of all that was changed where such a store is forgotten.
    async fn scan<'a>(
        &'a self,
        parts: &'a Parts,
        group: usize,
        epoch: u64,
        run: Run,
        older: Option<&dyn Ledger>,
        report: Report<'a>,
    ) -> Result<Scan<'a>> {
        self.initialise(&*parts.ledger, epoch).await?;
        let rebuilt = Rebuilt { epoch, ..Rebuilt::default() };
        let group = group.max(1);
        let leaves_out = self.stores.iter().any(|store| store.unread_since.is_some());
        let mut scan = Scan {
            places: &self.places,
            parts,
            group,
            run,
            report,
            rebuilt,
            leaves_out,
            highest_epoch: 0,
            unopened: vec![],
        };
        scan.tombstones().await?;
        scan.sealed::<Bucket>(&layout::buckets(), |bucket| Entry::Bucket(Box::new(bucket))).await?;
        scan.sealed::<User>(&layout::accounts(), |user| Entry::User(Box::new(user))).await?;
        for (adopted, folder) in [(true, Prefix::all()), (true, layout::overlays()), (false, Prefix::all())] {
            for place in self.places.iter().filter(|place| self.adopted(place.id) == adopted) {
                scan.attributes(place, &folder, adopted).await?;
            }
        }
        scan.tombstones().await?;
        if let Some(older) = older {
            scan.purged_before(older).await?;
            if self.stores.len() < self.known.len() {
                scan.changed_before(older).await?;
            }
        }
        if run != Run::Rehearsal && self.places.len() > 1 {
            scan.note_missed().await?;
        }
        scan.count().await?;
        Ok(scan)
    }

    fn adopted(&self, id: StoreId) -> bool {
        self.stores.iter().any(|store| store.id == id && store.adopted)
    }
}

/// The objects of all stores on their way into the ledger.
pub(crate) struct Scan<'a> {
    pub(crate) places: &'a [Place],
    pub(crate) parts: &'a Parts,
    group: usize,
    run: Run,
    report: Report<'a>,
    pub(crate) rebuilt: Rebuilt,
    /// Whether a store is left out that may come back.
    leaves_out: bool,
    highest_epoch: u64,
    /// Sealed records that these secrets don't open, by place; kept only where all is sealed anew.
    pub(crate) unopened: Vec<(usize, Key)>,
}

/// Attributes that were found, with the copies of their revision.
struct Sighting {
    key: Key,
    reading: Reading,
    copies: Vec<CopyRow>,
}

impl Scan<'_> {
    /// A tombstone is absolute: one that can't be read still tells by its name what it covers.
    async fn tombstones(&mut self) -> Result<()> {
        for place in self.places {
            let mut read =
                objects(place, layout::tombstones(), Tombstone::BYTES_MAX, |_| true).ready_chunks(self.group);
            while let Some(group) = read.next().await {
                let mut records = vec![];
                for object in group {
                    let (key, bytes) = object.map_err(failed)?;
                    let Some((id, revision)) = buried(&key) else { continue };
                    let whole = bytes.as_deref().and_then(Tombstone::from_bytes);
                    let tombstone = whole.filter(|found| (found.id, found.revision) == (id, revision));
                    let tombstone = tombstone.unwrap_or_else(|| {
                        self.report(
                            FindingKind::AttributesBroken,
                            &key,
                            Some(id),
                            "a tombstone that can't be read; kept",
                        );
                        bare_tombstone(id, revision)
                    });
                    self.highest_epoch = self.highest_epoch.max(tombstone.epoch);
                    records.push((key, Entry::Tombstone(Box::new(tombstone))));
                }
                self.record(records).await?;
            }
        }
        Ok(())
    }

    /// Notes which stores lack a tombstone, or the newest record of a user or bucket. Costs a look at each on every store.
    async fn note_missed(&mut self) -> Result<()> {
        let ledger = self.parts.ledger.clone();
        let mut after = None;
        loop {
            let page = ledger.tombstones(after, 1000).await.map_err(failed)?;
            let Some(last) = page.last() else { break };
            after = Some((last.id, last.revision));
            let of = |tombstone: &Tombstone| {
                let record = RecordId::Tombstone(tombstone.id, tombstone.revision);
                (tombstone.key(), record, tombstone.epoch, tombstone.version)
            };
            self.note_lacking(page.iter().map(of).collect()).await?;
        }
        let users = ledger.users().await.map_err(failed)?;
        let of = |user: &User| (user.key(), RecordId::User(user.id), user.epoch, user.version);
        self.note_lacking(users.iter().map(of).collect()).await?;
        let buckets = ledger.buckets().await.map_err(failed)?;
        let of = |bucket: &Bucket| (bucket.key(), RecordId::Bucket(bucket.id), bucket.epoch, bucket.version);
        self.note_lacking(buckets.iter().map(of).collect()).await
    }

    async fn note_lacking(&mut self, records: Vec<Ranked>) -> Result<()> {
        for place in self.places {
            let looks = stream::iter(records.clone()).map(|of| lies_there(place, of)).buffer_unordered(READS);
            let found: Vec<_> = looks.try_collect().await.map_err(failed)?;
            let lacking = found.into_iter().filter(|(_, lies_there)| !lies_there);
            let missed = lacking.map(|((key, record, epoch, version), _)| {
                (key, Entry::Missed(Missed { store: place.id, record, epoch, version }))
            });
            self.record(missed.collect()).await?;
        }
        Ok(())
    }

    /// Sealed records below `folder`; the highest of each wins in the ledger. One that a dead process had only made visible is
    /// made durable: who may log in is no cache that a later look would mend.
    async fn sealed<T: Sealed + Send>(&mut self, folder: &Prefix, entry: impl Fn(T) -> Entry + Send) -> Result<()> {
        for (index, place) in self.places.iter().enumerate() {
            let mut read = objects(place, folder.clone(), sealed::BYTES_MAX, |_| true);
            while let Some(object) = read.next().await {
                let (key, bytes) = object.map_err(failed)?;
                let bytes = bytes.unwrap_or_default();
                let record = sealed::unseal::<T>(&self.parts.secrets, &key, &bytes);
                match record.filter(|record| record.key() == key) {
                    Some(record) => {
                        self.highest_epoch = self.highest_epoch.max(record.epoch());
                        if self.run != Run::Rehearsal {
                            place.make_durable(&key).await.map_err(failed)?;
                        }
                        self.record(vec![(key, entry(record))]).await?;
                    }
                    None if self.run == Run::Resealing => self.unopened.push((index, key)),
                    None => {
                        self.report(FindingKind::AttributesBroken, &key, None, "a sealed record that can't be opened")
                    }
                }
            }
        }
        Ok(())
    }

    /// Attributes of one place below `folder`. From a store that was not adopted only what is known already is taken.
    async fn attributes(&mut self, place: &Place, folder: &Prefix, adopted: bool) -> Result<()> {
        let (places, options) = (self.places, ListOptions::below(folder.clone()));
        let keys = place.store.list(options).map_ok(|listed| listed.object.key);
        let keys = keys.try_filter(|key| std::future::ready(holds_attributes(key)));
        let sightings = keys.map_ok(|key| sight(places, place, key)).try_buffer_unordered(READS);
        let mut groups = std::pin::pin!(sightings.try_chunks(self.group));
        while let Some(group) = groups.next().await {
            let group = group.map_err(|broken| failed(broken.1))?;
            self.take(place, group, adopted).await?;
        }
        Ok(())
    }

    async fn take(&mut self, place: &Place, group: Vec<Sighting>, adopted: bool) -> Result<()> {
        let mut records = Vec::with_capacity(group.len());
        let mut revisions = Vec::with_capacity(group.len());
        let mut of = Vec::with_capacity(group.len());
        for Sighting { key, reading, copies } in group {
            let attributes = match reading {
                Reading::Valid(attributes) => attributes,
                Reading::Broken(why) => {
                    self.report(FindingKind::AttributesBroken, &key, None, &why);
                    continue;
                }
                Reading::Absent => continue,
            };
            if !adopted && self.parts.ledger.file(attributes.id).await.map_err(failed)?.is_none() {
                let why = "on a store that was not adopted; left where it is";
                self.report(FindingKind::OrphanAttributes, &key, Some(attributes.id), why);
                continue;
            }
            self.highest_epoch = self.highest_epoch.max(attributes.epoch);
            // Counted where its first copy lies, for its attributes lie beside each.
            let first = copies.first().is_none_or(|copy| copy.store == place.id);
            let beside = !layout::overlays().contains(&key);
            of.push((attributes.id, attributes.revision));
            revisions.push((first && beside, copies.is_empty().then_some((attributes.id, attributes.key.clone()))));
            records.push((key, Entry::Attributes { attributes, copies }));
        }
        let recorded = self.record(records).await?;
        self.note_remains(place, recorded.iter().zip(of)).await?;
        for (recorded, (first, lost)) in recorded.into_iter().zip(revisions) {
            if matches!(recorded, None | Some(Recorded::Tombstoned)) {
                continue;
            }
            self.rebuilt.revisions += u64::from(first);
            // They may lie on a store that is left out.
            if let Some((id, key)) = lost.filter(|_| !self.leaves_out) {
                self.report(FindingKind::BytesMissing, &key, Some(id), "the bytes are on no store");
            }
        }
        Ok(())
    }

    /// Notes purged files, or revisions, whose attributes still lie on a place: they are the last that is deleted there.
    async fn note_remains(
        &mut self,
        place: &Place,
        recorded: impl Iterator<Item = (&Option<Recorded>, (FileId, u64))>,
    ) -> Result<()> {
        if self.run == Run::Rehearsal {
            return Ok(());
        }
        let ledger = &self.parts.ledger;
        let mut missed = vec![];
        for (id, revision) in recorded.filter(|(result, _)| **result == Some(Recorded::Tombstoned)).map(|(_, of)| of) {
            for covered in [None, Some(revision)] {
                let tombstone = ledger.tombstone(id, covered).await.map_err(failed)?;
                missed.extend(tombstone.map(|tombstone| (tombstone.key(), tombstone.not_cleared_on(place.id))));
            }
        }
        self.record(missed).await.map(drop)
    }

    /// Takes in a group. A member that the ledger refuses by itself is reported and has no result.
    pub(crate) async fn record(&mut self, group: Vec<(Key, Entry)>) -> Result<Vec<Option<Recorded>>> {
        let (keys, entries): (Vec<_>, Vec<_>) = group.into_iter().unzip();
        if entries.is_empty() {
            return Ok(vec![]);
        }
        let records = entries.into_iter().map(Record::from).collect();
        let mut taken = Vec::with_capacity(keys.len());
        for (key, result) in keys.iter().zip(self.parts.ledger.record(records).await) {
            taken.push(match result {
                Ok(recorded) => Some(recorded),
                Err(error @ (LedgerError::Taken(_) | LedgerError::NotFound)) => {
                    self.report(FindingKind::AttributesBroken, key, None, &error.to_string());
                    None
                }
                Err(error) => return Err(failed(error)),
            });
        }
        Ok(taken)
    }

    /// Counts what is in the ledger now.
    async fn count(&mut self) -> Result<()> {
        let ledger = &*self.parts.ledger;
        let mut query = FileQuery { limit: 1000, ..FileQuery::default() };
        loop {
            let page = ledger.files(&query).await.map_err(failed)?;
            let Some(last) = page.last() else { break };
            query.after = Some(Position::Created(last.attributes.id));
            self.rebuilt.files += page.len() as u64;
        }
        let mut after = None;
        loop {
            let page = ledger.tombstones(after, 1000).await.map_err(failed)?;
            let Some(last) = page.last() else { break };
            after = Some((last.id, last.revision));
            self.rebuilt.tombstones += page.len() as u64;
        }
        self.rebuilt.users = ledger.users().await.map_err(failed)?.len() as u64;
        self.rebuilt.buckets = ledger.buckets().await.map_err(failed)?.len() as u64;
        Ok(())
    }

    fn report(&mut self, kind: FindingKind, key: &Key, id: Option<FileId>, detail: &str) {
        self.rebuilt.findings += 1;
        (self.report)(Finding { kind, key: Some(key.to_string()), id, detail: detail.to_owned() });
    }
}

/// Reads attributes, and looks on every place for the bytes that they describe: a copy whose own attributes are damaged
/// counts too.
async fn sight(places: &[Place], place: &Place, key: Key) -> core::Result<Sighting> {
    let reading = place.attributes_at(&key).await?;
    let copies = match &reading {
        Reading::Valid(attributes) => copies_of(places, attributes).await?,
        _ => vec![],
    };
    Ok(Sighting { key, reading, copies })
}

/// The places that have bytes of the size that these attributes describe.
async fn copies_of(places: &[Place], attributes: &Attributes) -> core::Result<Vec<CopyRow>> {
    let mut copies = vec![];
    for place in places {
        if place.size_if_readable(&attributes.key).await? == Some(attributes.size) {
            copies.push(present(place.id));
        }
    }
    Ok(copies)
}

/// Where a record lies, which one it is, its epoch and version.
type Ranked = (Key, RecordId, u64, u64);

async fn lies_there(place: &Place, of: Ranked) -> core::Result<(Ranked, bool)> {
    let size = place.size_if_readable(&of.0).await?;
    Ok((of, size.is_some()))
}

/// The objects below a folder of Larder's own, some at once; `None` for one that can't be read although the store shows
/// itself.
fn objects(
    place: &Place,
    folder: Prefix,
    max: u64,
    wanted: impl Fn(&Key) -> bool + Send + 'static,
) -> impl Stream<Item = core::Result<(Key, Option<bytes::Bytes>)>> + Unpin + '_ {
    let keys = place.store.list(ListOptions::below(folder)).map_ok(|listed| listed.object.key);
    let keys = keys.try_filter(move |key| std::future::ready(wanted(key)));
    let read = keys.map_ok(move |key| async move {
        let bytes = place.insist(|| place.read(&key, max)).await?;
        Ok((key, bytes.unwrap_or_default()))
    });
    Box::pin(read.try_buffer_unordered(READS))
}

impl Place {
    /// As [`Place::size_of`], but an object that can't be looked at while the store shows itself counts as absent.
    async fn size_if_readable(&self, key: &Key) -> core::Result<Option<u64>> {
        Ok(self.insist(|| self.size_of(key)).await?.unwrap_or_default())
    }
}

fn holds_attributes(key: &Key) -> bool {
    key.as_str().ends_with(Attributes::SUFFIX) || layout::overlays().contains(key)
}

/// What a tombstone's key says: the file, and the revision where it is one revision's.
pub(crate) fn buried(key: &Key) -> Option<(FileId, Option<u64>)> {
    let last = key.segments().next_back()?;
    match last.split_once('.') {
        None => Some((FileId::parse(last)?, None)),
        Some((id, revision)) => Some((FileId::parse(id)?, Some(revision.parse().ok()?))),
    }
}

/// A tombstone of which only the name is left.
pub(crate) fn bare_tombstone(id: FileId, revision: Option<u64>) -> Tombstone {
    Tombstone {
        larder: 1,
        id,
        revision,
        bucket_id: BucketId(uuid::Uuid::nil()),
        owner_id: UserId(uuid::Uuid::nil()),
        epoch: 0,
        version: 0,
        purged_at: Timestamp::from_millis(0),
        keys: vec![],
        stores: vec![],
        created_by_key: vec![],
    }
}

fn place(mount: &Mount, marker: &Marker) -> Place {
    Place { id: marker.itself, name: mount.name.clone(), store: mount.store.clone(), mode: mount.mode }
}

fn check_marker(mount: &Mount, found: &Marker, secrets: &str, run: Run) -> Result<()> {
    if found.format > FORMAT {
        return Err(StartError::NewerForm { store: mount.name.to_string(), form: found.format });
    }
    if run == Run::Resealing && !mount.mode.changes() {
        let text = format!("the store `{}` takes no changes: give it the mode `edit` for this rebuild", mount.name);
        return Err(StartError::Configuration(text));
    }
    if run != Run::Resealing && found.master != secrets {
        return Err(StartError::WrongSecrets);
    }
    Ok(())
}

/// All markers are of one installation, and no two of one store.
fn check_one_installation(places: &[Place], markers: &[Marker]) -> Result<()> {
    let Some(first) = markers.first() else {
        return Err(StartError::Configuration(
            "none of the stores holds an installation: there is nothing to rebuild".into(),
        ));
    };
    let mut seen = BTreeMap::new();
    for (place, marker) in places.iter().zip(markers) {
        if marker.instance != first.instance {
            return Err(StartError::ForeignStore { store: place.name.to_string(), found: marker.instance.to_string() });
        }
        if let Some(other) = seen.insert(place.id, place.name.to_string()) {
            return Err(StartError::SameStore { first: other, second: place.name.to_string() });
        }
    }
    Ok(())
}

/// The known stores as they are after a rebuild that leaves some out.
fn leave_out(
    mut stores: Vec<KnownStore>,
    options: &RebuildOptions,
    run: Run,
    now: Timestamp,
) -> Result<Vec<KnownStore>> {
    let wrong = |text: String| Err(StartError::Configuration(text));
    let mut names: Vec<_> = stores.iter().map(|store| format!("`{}`", store.name)).collect();
    names.sort();
    for name in options.without.iter().chain(&options.forget) {
        if options.without.contains(name) && options.forget.contains(name) {
            return wrong(format!("the store `{name}` is either left out or forgotten, not both"));
        }
        if !stores.iter().any(|store| store.name == name.as_str()) {
            return wrong(format!("no store `{name}` is known here; known are {}", names.join(", ")));
        }
        if run == Run::Resealing {
            return wrong(format!("without the secrets a rebuild needs every store: `{name}` can't be left out"));
        }
    }
    stores.retain(|store| !options.forget.iter().any(|name| name.as_str() == store.name));
    for store in &mut stores {
        store.unread_since = options.leaves_out(&store.name).then_some(now);
    }
    Ok(stores)
}

/// Every store that any marker or the older ledger tells of; adopted where one says so. One that is here has the name that it is
/// configured under.
fn known_stores(places: &[Place], markers: &[Marker], older: Option<&Identity>) -> Vec<KnownStore> {
    let mut known = BTreeMap::<StoreId, KnownStore>::new();
    let told = markers.iter().map(|marker| &marker.stores).chain(older.map(|older| &older.stores));
    for store in told.flatten() {
        let entry = known.entry(store.id).or_insert_with(|| store.clone());
        entry.adopted |= store.adopted;
    }
    for place in places {
        if let Some(store) = known.get_mut(&place.id) {
            store.name = place.name.to_string();
        }
    }
    known.into_values().collect()
}

/// A known store that is not configured, or does not show itself, would take its files with it.
fn check_all_there(stores: &[KnownStore], places: &[Place], unmarked: &[&Mount]) -> Result<()> {
    let here: BTreeSet<StoreId> = places.iter().map(|place| place.id).collect();
    match stores.iter().find(|store| store.unread_since.is_none() && !here.contains(&store.id)) {
        Some(store) if unmarked.iter().any(|mount| mount.name.as_str() == store.name) => {
            Err(StartError::StoreAway { store: store.name.clone(), found: "missing".into() })
        }
        Some(store) => Err(StartError::StoreMissing(store.name.clone())),
        None => Ok(()),
    }
}

/// The identity of the ledger that is replaced. One that can't be read is why there is a rebuild.
async fn older_identity(older: Option<&dyn Ledger>) -> Option<Identity> {
    match older?.identity().await {
        Ok(identity) => identity,
        Err(error) => {
            warn!(error = %chain(&error), "the older database can't be read; the markers tell the epoch");
            None
        }
    }
}

pub(crate) fn failed(error: impl Into<BoxError>) -> StartError {
    StartError::Failed(error.into())
}
