//! Reading: a file's record from the ledger, its content from the first copy that has it.
//!
//! Up to 1 MiB is read and its SHA-256 checked before the first byte goes out. A larger whole read is checked by CRC-64/NVME as it
//! passes, and the last block waits for it. A range is checked by its length. An outage is never an absence: a copy counts as lost
//! only when its store showed its marker again. One that can't be had from a store which shows itself (a bad sector) counts as lost
//! where another copy may be read.
//!
//! Copies are tried in the order of the placement. Where one breaks off in mid-stream, the next goes on at the same place.

use crate::{
    BucketName, Caller, Error, FileId, Files, Result, Sha256,
    files::{Content, File, Node, Place},
    ledger::{CopyRow, CopyState, Entry, RevisionRow},
    truth::chain,
};
use bytes::Bytes;
use futures_util::{StreamExt, TryStreamExt, stream};
use larder_storage_core::{
    BodyError, ByteRange, ByteStream, Error as StoreError, ErrorKind, GetOptions, Key, Object, Store, StoreExt,
};
use std::{collections::VecDeque, ops::Range, sync::Arc};

/// Up to this size content is checked before its first byte goes out.
const CHECKED_FIRST_MAX: u64 = 1 << 20;

impl Files {
    /// Describes a file, in the trash too.
    ///
    /// # Errors
    /// `NotFound` of one that is absent, purged or another's.
    pub async fn describe(&self, caller: &Caller, id: FileId) -> Result<File> {
        let file = self.0.ledger.file(id).await?.ok_or_else(|| self.0.absent("file"))?;
        if caller.sees(file.attributes.owner_id) { Ok(file) } else { Err(self.0.absent("file")) }
    }

    /// As [`Files::describe`], but one in the trash is not found.
    ///
    /// # Errors
    /// As [`Files::describe`]; `Provisional` where a store that was not read may know that it was taken out again.
    pub async fn live(&self, caller: &Caller, id: FileId) -> Result<File> {
        let file = self.describe(caller, id).await?;
        if file.attributes.deleted_at.is_none() { Ok(file) } else { Err(self.0.in_trash(&file)) }
    }

    /// The revisions of a file, oldest first.
    ///
    /// # Errors
    /// As [`Files::describe`].
    pub async fn revisions(&self, caller: &Caller, id: FileId) -> Result<Vec<RevisionRow>> {
        self.describe(caller, id).await?;
        Ok(self.0.ledger.revisions(id).await?)
    }

    /// At most `limit` revisions of a file with numbers above `after`, oldest first.
    ///
    /// # Errors
    /// As [`Files::describe`].
    pub async fn revisions_behind(
        &self,
        caller: &Caller,
        id: FileId,
        after: u64,
        limit: usize,
    ) -> Result<Vec<RevisionRow>> {
        self.describe(caller, id).await?;
        Ok(self.0.ledger.revisions_behind(id, after, limit).await?)
    }

    /// One revision of a file.
    ///
    /// # Errors
    /// As [`Files::describe`]; `NotFound` of the revision.
    pub async fn revision(&self, caller: &Caller, id: FileId, revision: u64) -> Result<RevisionRow> {
        self.describe(caller, id).await?;
        self.0.ledger.revision(id, revision).await?.ok_or_else(|| self.0.absent("revision"))
    }

    /// Opens content of a file as [`Files::describe`] gave it: the revision that was the newest then, or the one named.
    ///
    /// # Errors
    /// `NotFound` of a file in the trash or of the revision, `RangeNotSatisfiable`, `Archived`, `ContentLost`, `StoreUnavailable`.
    pub async fn open(
        &self,
        caller: &Caller,
        file: &File,
        number: Option<u64>,
        range: Option<ByteRange>,
    ) -> Result<Content> {
        let revision = self.revision_of(caller, file, number).await?;
        let order = self.0.order_of_reading(&file.attributes.bucket);
        match self.0.open(revision, range, &order).await {
            // Replaced since it was described, and then purged: whoever asks again gets what is newest now.
            Err(Error::NotFound("revision")) if number.is_none() => Err(Error::Busy),
            opened => opened,
        }
    }

    /// Refuses what [`Files::open`] would refuse without a look at any store.
    ///
    /// # Errors
    /// `NotFound` of a file in the trash or of the revision, `Archived`.
    pub async fn check_served(&self, caller: &Caller, file: &File, number: Option<u64>) -> Result<()> {
        let revision = self.revision_of(caller, file, number).await?;
        match self.0.archive_of(&revision.copies) {
            Some(archive) if !revision.copies.iter().any(|copy| self.0.is_served(copy)) => {
                Err(Error::Archived(archive.name.clone()))
            }
            _ => Ok(()),
        }
    }

    /// The revision of a file that was described: the newest then, or the one named.
    pub(crate) async fn revision_of(&self, caller: &Caller, file: &File, number: Option<u64>) -> Result<RevisionRow> {
        let attributes = &file.attributes;
        if !caller.sees(attributes.owner_id) {
            return Err(self.0.absent("file"));
        }
        if attributes.deleted_at.is_some() {
            return Err(self.0.in_trash(file));
        }
        match number {
            Some(number) if number != attributes.revision => {
                let found = self.0.ledger.revision(attributes.id, number).await?;
                found.ok_or_else(|| self.0.absent("revision"))
            }
            _ => Ok(newest(file)),
        }
    }
}

/// The newest revision, as the file's own row has it.
fn newest(file: &File) -> RevisionRow {
    let attributes = &file.attributes;
    RevisionRow {
        file: attributes.id,
        revision: attributes.revision,
        key: attributes.key.clone(),
        size: attributes.size,
        sha256: attributes.sha256,
        crc64nvme: attributes.crc64nvme,
        content_type: attributes.content_type.clone(),
        revised_at: attributes.revised_at,
        copies: file.copies.clone(),
    }
}

impl Node {
    /// Places in the order in which copies are read: those of the placement first, and those last that did not answer when they were
    /// last asked.
    pub(crate) fn order_of_reading(&self, bucket: &BucketName) -> Vec<usize> {
        let placement = self.placement_of(|known| known.name == *bucket);
        let place_in = |place: &usize| placement.iter().position(|wanted| wanted == place).unwrap_or(usize::MAX);
        let state = self.state();
        let mut order: Vec<usize> = (0..self.places.len()).collect();
        order.sort_by_key(|place| (state.away.contains(place), place_in(place)));
        order
    }

    /// Opens a revision from the first copy that can be had. Where none can, its row is asked once more: it may have moved since.
    async fn open(
        self: &Arc<Self>,
        revision: RevisionRow,
        range: Option<ByteRange>,
        order: &[usize],
    ) -> Result<Content> {
        let (file, number, copies) = (revision.file, revision.revision, revision.copies.clone());
        let failed = match self.open_as_known(revision, range, order).await {
            Err(failed @ (Error::ContentLost(_) | Error::Archived(_))) => failed,
            opened => return opened,
        };
        match self.ledger.revision(file, number).await? {
            Some(now) if now.copies.iter().any(|copy| copy.is_readable() && !copies.contains(copy)) => {
                self.open_as_known(now, range, order).await
            }
            _ => Err(failed),
        }
    }

    async fn open_as_known(
        self: &Arc<Self>,
        revision: RevisionRow,
        range: Option<ByteRange>,
        order: &[usize],
    ) -> Result<Content> {
        let selected = match range {
            Some(range) => {
                range.resolve(revision.size).map_err(|_| Error::RangeNotSatisfiable { size: revision.size })?
            }
            None => 0..revision.size,
        };
        let whole = selected == (0..revision.size);
        let range = (!whole).then(|| ByteRange::Between { first: selected.start, last: selected.end - 1 });
        let (mut outage, mut lost) = (None, None);
        let readable = self.readable(&revision.copies, order);
        for (at, index) in readable.iter().copied().enumerate() {
            match self.open_copy(index, &revision, range, &readable[at + 1..]).await {
                Ok(body) => return Ok(Content { revision, range: selected, body }),
                Err(error) => match self.judge(index, &revision, error).await? {
                    Judged::Outage(cause) => outage = Some(cause),
                    Judged::Lost(cause) => lost = Some(cause),
                },
            }
        }
        let is_elsewhere = |copy: &CopyRow| copy.is_readable() && self.place(copy.store).is_none();
        if outage.is_none() && revision.copies.iter().any(is_elsewhere) {
            return Err(Error::StoreUnavailable(None));
        }
        match (outage, self.archive_of(&revision.copies)) {
            (Some(cause), _) => Err(Error::StoreUnavailable(Some(cause.into()))),
            (None, Some(archive)) => Err(Error::Archived(archive.name.clone())),
            (None, None) if !self.unread.is_empty() => Err(self.provisional()),
            (None, None) => Err(Error::ContentLost(lost.map(Into::into))),
        }
    }

    /// An archive that has one of these copies.
    fn archive_of(&self, copies: &[CopyRow]) -> Option<&Place> {
        self.places.iter().find(|place| !place.mode.serves_content() && has_copy(copies, place))
    }

    /// The places of copies that may be read, in this order.
    fn readable(&self, copies: &[CopyRow], order: &[usize]) -> Vec<usize> {
        let serves = |place: &Place| place.mode.serves_content() && has_copy(copies, place);
        order.iter().copied().filter(|place| serves(&self.places[*place])).collect()
    }

    async fn open_copy(
        self: &Arc<Self>,
        index: usize,
        revision: &RevisionRow,
        range: Option<ByteRange>,
        others: &[usize],
    ) -> Result<ByteStream, StoreError> {
        let place = &self.places[index];
        if range.is_none() && revision.size <= CHECKED_FIRST_MAX {
            let bytes = read_checked(place, revision).await?;
            return Ok(stream::iter([Ok(bytes)]).boxed());
        }
        let object = place.store.get(&revision.key, GetOptions { range, if_match: None }).await?;
        if object.meta.size != revision.size {
            return Err(damaged(place, revision, format!("{} bytes instead of {}", object.meta.size, revision.size)));
        }
        let steady = Steady::new(self.clone(), revision.clone(), object, index, others);
        Ok(match range {
            Some(_) => steady.into_stream(),
            None => self.checked(revision.clone(), steady),
        })
    }

    /// A whole read, checked as it passes. A wrong one ends in an error before its last bytes, and the copies that it came from are
    /// read again: who is bad is marked lost.
    fn checked(self: &Arc<Self>, revision: RevisionRow, steady: Steady) -> ByteStream {
        let node = self.clone();
        let state = Check::new(steady);
        stream::try_unfold(state, move |mut state| {
            let (node, revision) = (node.clone(), revision.clone());
            async move {
                match state.next(&revision).await {
                    Ok(block) => Ok(block.map(|block| (block, state))),
                    Err(cause) => {
                        for index in state.steady.used {
                            node.doubt(index, &revision).await;
                        }
                        Err(cause)
                    }
                }
            }
        })
        .boxed()
    }

    /// What a copy that could not be read means: looked at twice before it counts as lost.
    async fn judge(self: &Arc<Self>, index: usize, revision: &RevisionRow, error: StoreError) -> Result<Judged> {
        let place = &self.places[index];
        if !is_loss(error.kind()) {
            self.doubt_soon(index, revision);
            return Ok(Judged::Outage(error));
        }
        if let Err(outage) = place.confirm().await {
            return Ok(Judged::Outage(outage));
        }
        // Purged or moved while we read: then the row says so by now.
        match self.ledger.revision(revision.file, revision.revision).await? {
            Some(row) if row.key == revision.key => {}
            _ if self.ledger.file(revision.file).await?.is_some() => return Err(Error::NotFound("revision")),
            _ => return Err(Error::NotFound("file")),
        }
        self.doubt(index, revision).await;
        Ok(Judged::Lost(error))
    }

    /// Reads a copy again, and marks it lost where it is bad again.
    pub(crate) async fn doubt(self: &Arc<Self>, index: usize, revision: &RevisionRow) {
        let place = &self.places[index];
        let failed = match place.insist(|| digest_of(place, revision)).await {
            Ok(Ok(sha256)) if sha256 == revision.sha256 => return,
            Ok(Ok(_)) => damaged(place, revision, "other bytes".into()),
            Ok(Err(error)) => error,
            // The store is away.
            Err(_) => return,
        };
        match self.counts_on(index, revision).await {
            Ok(CountsOn::IfReadable) if !is_loss(failed.kind()) => return,
            Ok(CountsOn::IfReadable | CountsOn::Others) => {}
            Ok(CountsOn::No) => return,
            Err(error) => return tracing::warn!(%error, "whether a copy is lost can't be told now"),
        }
        let verdict = chain(&failed);
        tracing::error!(file = %revision.file, revision = revision.revision, store = %place.name, verdict, "a copy is lost");
        let copies = vec![CopyRow { store: place.id, state: CopyState::Lost, verified_at: None }];
        let entry = Entry::Copies { file: revision.file, revision: revision.revision, copies: copies.clone() };
        match self.record(Some(entry), None).await {
            Ok(_) => self.reconcile_soon(revision.file, &copies),
            Err(error) => tracing::warn!(%error, "a lost copy could not be marked"),
        }
    }

    /// Whether content may be read from a copy, as far as this node knows its store.
    pub(crate) fn is_served(&self, copy: &CopyRow) -> bool {
        copy.is_readable() && self.place(copy.store).is_none_or(|(_, at)| at.mode.serves_content())
    }

    /// How a revision depends on its copy on a place by now: it may have been purged, moved or marked meanwhile.
    async fn counts_on(&self, index: usize, revision: &RevisionRow) -> Result<CountsOn> {
        let now = self.ledger.revision(revision.file, revision.revision).await?;
        let Some(now) = now.filter(|now| now.key == revision.key) else { return Ok(CountsOn::No) };
        let (here, others): (Vec<_>, Vec<_>) = (now.copies.iter().filter(|copy| self.is_served(copy)))
            .partition(|copy| copy.store == self.places[index].id);
        Ok(match (here.is_empty(), others.is_empty()) {
            (true, _) => CountsOn::No,
            (false, true) => CountsOn::IfReadable,
            (false, false) => CountsOn::Others,
        })
    }

    /// As [`Node::doubt`], in the background, of a copy that could not be had or broke off: nobody waits for a store that may be away.
    /// Where no other copy may be read there is nothing to be told.
    fn doubt_soon(self: &Arc<Self>, index: usize, revision: &RevisionRow) {
        let about = (index, revision.key.clone());
        let has_others = revision.copies.iter().filter(|copy| self.is_served(copy)).count() > 1;
        {
            let mut state = self.state();
            if !has_others || state.away.contains(&index) || !state.doubted.insert(about.clone()) {
                return;
            }
        }
        let (node, revision) = (self.clone(), revision.clone());
        self.environment.spawn.spawn(Box::pin(async move {
            node.doubt(index, &revision).await;
            node.state().doubted.remove(&about);
        }));
    }
}

/// Whether one of the copies lies on a place and may be read.
fn has_copy(copies: &[CopyRow], place: &Place) -> bool {
    copies.iter().any(|copy| copy.store == place.id && copy.is_readable())
}

/// How a revision depends on one of its copies.
enum CountsOn {
    /// Not at all.
    No,
    /// It has no other that may be read: one that can't be had now is better than none.
    IfReadable,
    /// It has others.
    Others,
}

enum Judged {
    Outage(StoreError),
    Lost(StoreError),
}

pub(crate) fn is_loss(kind: &ErrorKind) -> bool {
    matches!(kind, ErrorKind::NotFound | ErrorKind::Corrupt)
}

fn damaged(place: &Place, revision: &RevisionRow, why: String) -> StoreError {
    StoreError::new(larder_storage_core::Op::Get, &revision.key, &place.store, ErrorKind::Corrupt).because(why)
}

/// The whole of small content, its hash checked; a bad read is read twice before it is believed.
async fn read_checked(place: &Place, revision: &RevisionRow) -> Result<Bytes, StoreError> {
    let mut attempt = 0;
    loop {
        attempt += 1;
        let bad = match place.store.get_bytes(&revision.key, CHECKED_FIRST_MAX).await {
            Ok(bytes) if Sha256::of(&bytes) == revision.sha256 => return Ok(bytes),
            Ok(bytes) => damaged(place, revision, format!("{} bytes with another hash", bytes.len())),
            Err(error) if matches!(error.kind(), ErrorKind::TooLarge { .. }) => {
                damaged(place, revision, error.to_string())
            }
            Err(error) => return Err(error),
        };
        if attempt == 2 {
            return Err(bad);
        }
    }
}

/// The SHA-256 of the whole of a copy.
pub(crate) async fn digest_of(place: &Place, revision: &RevisionRow) -> Result<Sha256, StoreError> {
    digest_at(&*place.store, &revision.key).await
}

/// The SHA-256 of an object.
pub(crate) async fn digest_at(store: &dyn Store, key: &Key) -> Result<Sha256, StoreError> {
    use sha2::Digest;
    let mut object = store.get(key, GetOptions::default()).await?;
    let mut hasher = sha2::Sha256::new();
    loop {
        match object.body.try_next().await {
            Ok(Some(block)) => hasher.update(&block),
            Ok(None) => return Ok(Sha256(hasher.finalize().into())),
            Err(cause) => {
                let op = larder_storage_core::Op::Get;
                return Err(StoreError::new(op, key, store, ErrorKind::Unavailable).because(cause));
            }
        }
    }
}

/// Bytes of a revision, as many as were asked for: from one copy as far as it goes, then from the next.
struct Steady {
    node: Arc<Node>,
    revision: RevisionRow,
    body: ByteStream,
    /// What is still to come.
    left: Range<u64>,
    /// The places that bytes came from, the present one last; and those that can be asked yet.
    used: Vec<usize>,
    others: VecDeque<usize>,
}

impl Steady {
    fn new(node: Arc<Node>, revision: RevisionRow, object: Object, place: usize, others: &[usize]) -> Self {
        let others = others.iter().copied().collect();
        Self { node, revision, body: object.body, left: object.range, used: vec![place], others }
    }

    fn into_stream(self) -> ByteStream {
        let next = |mut steady: Self| async move { Ok(steady.next().await?.map(|block| (block, steady))) };
        stream::try_unfold(self, next).boxed()
    }

    async fn next(&mut self) -> Result<Option<Bytes>, BodyError> {
        loop {
            let cause = match self.body.try_next().await {
                Ok(Some(block)) if block.len() as u64 <= self.left.end - self.left.start => {
                    self.left.start += block.len() as u64;
                    return Ok(Some(block));
                }
                Ok(Some(_)) => BodyError::from("the store sent more than was asked for"),
                Ok(None) if self.left.is_empty() => return Ok(None),
                Ok(None) => BodyError::from("the store ended early"),
                Err(cause) => cause,
            };
            self.go_on(cause).await?;
        }
    }

    /// Turns to the next copy that answers; what broke the last one off, where none does.
    async fn go_on(&mut self, cause: BodyError) -> Result<(), BodyError> {
        let file = self.revision.file;
        if let Some(broken) = self.used.last() {
            self.node.doubt_soon(*broken, &self.revision);
        }
        while let Some(place) = self.others.pop_front().filter(|_| !self.left.is_empty()) {
            let at = &self.node.places[place];
            let range = ByteRange::Between { first: self.left.start, last: self.left.end - 1 };
            match at.store.get(&self.revision.key, GetOptions { range: Some(range), if_match: None }).await {
                Ok(object) if object.meta.size == self.revision.size => {
                    tracing::warn!(%file, %cause, store = %at.name, from = self.left.start, "a read goes on from another copy");
                    self.body = object.body;
                    self.used.push(place);
                    return Ok(());
                }
                Ok(_) => {}
                Err(error) => tracing::warn!(%file, %error, store = %at.name, "a read can't go on from here"),
            }
            self.node.doubt_soon(place, &self.revision);
        }
        Err(cause)
    }
}

/// A whole read under way. Its last block is held back until all are known to be right: blocks go out whole and uncopied.
struct Check {
    steady: Steady,
    crc: crc_fast::Digest,
    held: Option<Bytes>,
    size: u64,
    done: bool,
}

impl Check {
    fn new(steady: Steady) -> Self {
        let crc = crc_fast::Digest::new(crc_fast::CrcAlgorithm::Crc64Nvme);
        Self { steady, crc, held: None, size: 0, done: false }
    }

    async fn next(&mut self, revision: &RevisionRow) -> Result<Option<Bytes>, BodyError> {
        while !self.done {
            match self.steady.next().await? {
                Some(block) => {
                    self.crc.update(&block);
                    self.size += block.len() as u64;
                    if let Some(ready) = self.held.replace(block) {
                        return Ok(Some(ready));
                    }
                }
                None => {
                    self.done = true;
                    if self.size != revision.size || self.crc.finalize() != revision.crc64nvme {
                        return Err("the content is damaged".into());
                    }
                    return Ok(self.held.take());
                }
            }
        }
        Ok(None)
    }
}
