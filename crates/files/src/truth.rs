//! What the stores say of one file. An absence counts only where the store has just shown itself, and an answer counts
//! only where every place gave one: whoever can't ask them all does not know, and is told so.

use crate::{
    Attributes, FileId, Result,
    files::{Node, Place},
    layout,
};
use bytes::Bytes;
use futures_util::{StreamExt, TryStreamExt, stream::BoxStream};
use larder_storage_core::{self as core, ErrorKind, Key, ListOptions, Prefix, StoreExt};
use std::collections::{BTreeMap, BTreeSet};

/// What lies under a key where attributes belong.
#[derive(Debug)]
pub(crate) enum Reading {
    /// Nothing, on a store that has shown itself.
    Absent,
    /// Attributes that belong there.
    Valid(Box<Attributes>),
    /// Something else; says why.
    Broken(String),
}

/// Attributes, and where they lie.
#[derive(Clone, Debug)]
pub(crate) struct Found {
    pub(crate) place: usize,
    pub(crate) key: Key,
    pub(crate) attributes: Attributes,
}

/// All that the stores hold of one file's attributes, the highest first.
#[derive(Debug, Default)]
pub(crate) struct Truth {
    pub(crate) found: Vec<Found>,
    /// Keys, and what is wrong with what lies there.
    pub(crate) broken: Vec<(usize, Key, String)>,
}

impl Truth {
    /// The truth about the file; `None` where no store holds any.
    pub(crate) fn highest(&self) -> Option<&Found> {
        self.found.first()
    }

    /// Files a reading under its place; what was absent leaves no trace.
    fn take(&mut self, place: usize, key: Key, reading: Reading) {
        match reading {
            Reading::Absent => {}
            Reading::Valid(attributes) => self.found.push(Found { place, key, attributes: *attributes }),
            Reading::Broken(why) => self.broken.push((place, key, why)),
        }
    }
}

impl Place {
    /// A small object; `None` only where the store has shown itself after it was found missing.
    pub(crate) async fn read(&self, key: &Key, max: u64) -> core::Result<Option<Bytes>> {
        match self.store.get_bytes(key, max).await {
            Ok(bytes) => Ok(Some(bytes)),
            Err(error) if error.is_not_found() => self.confirm().await.map(|()| None),
            Err(error) => Err(error),
        }
    }

    /// An object's size; `None` only where the store has shown itself after it was found missing.
    pub(crate) async fn size_of(&self, key: &Key) -> core::Result<Option<u64>> {
        match self.store.head(key).await {
            Ok(meta) => Ok(Some(meta.size)),
            Err(error) if error.is_not_found() => self.confirm().await.map(|()| None),
            Err(error) => Err(error),
        }
    }

    /// Asks twice, and after each failure whether the store still shows itself: where it does not, that is an outage
    /// and an error; where it does, one object can't be had, and the inner error says why.
    pub(crate) async fn insist<T, F>(&self, ask: impl Fn() -> F) -> core::Result<core::Result<T>>
    where
        F: Future<Output = core::Result<T>>,
    {
        let first = ask().await;
        if first.is_ok() {
            return Ok(first);
        }
        self.confirm().await?;
        let second = ask().await;
        if second.is_err() {
            self.confirm().await?;
        }
        Ok(second)
    }

    /// Attributes under their own key or as an overlay. What can't be read as such is read twice before it is called
    /// broken; so is what the store can't give while it shows itself: one bad sector is no outage.
    pub(crate) async fn attributes_at(&self, key: &Key) -> core::Result<Reading> {
        if let good @ (Reading::Valid(_) | Reading::Absent) = self.attributes_or_why(key).await? {
            return Ok(good);
        }
        self.attributes_or_why(key).await
    }

    /// Whether attributes, or others of their version that outrank them, lie here as an overlay.
    pub(crate) async fn has_over(&self, attributes: &Attributes) -> core::Result<bool> {
        let overlay = layout::overlay(attributes.id, attributes.epoch, attributes.version);
        Ok(matches!(self.attributes_at(&overlay).await?, Reading::Valid(found) if found.rank() >= attributes.rank()))
    }

    async fn attributes_or_why(&self, key: &Key) -> core::Result<Reading> {
        let reading = self.insist(|| self.attributes_once(key)).await?;
        Ok(reading.unwrap_or_else(|error| Reading::Broken(chain(&error))))
    }

    async fn attributes_once(&self, key: &Key) -> core::Result<Reading> {
        let bytes = match self.read(key, Attributes::BYTES_MAX as u64).await {
            Ok(Some(bytes)) => bytes,
            Ok(None) => return Ok(Reading::Absent),
            Err(error) if matches!(error.kind(), ErrorKind::TooLarge { .. } | ErrorKind::Corrupt) => {
                return Ok(Reading::Broken(error.to_string()));
            }
            Err(error) => return Err(error),
        };
        Ok(match Attributes::from_bytes(&bytes) {
            Ok(attributes) if belongs(&attributes, key) => Reading::Valid(Box::new(attributes)),
            Ok(attributes) => Reading::Broken(format!("they describe `{}`, not what lies here", attributes.key)),
            Err(error) => Reading::Broken(chain(&error)),
        })
    }

    /// The keys below a folder of Larder's own, as they are listed.
    pub(crate) fn keys_below(&self, prefix: Prefix) -> BoxStream<'_, core::Result<Key>> {
        self.store.list(ListOptions::below(prefix)).map_ok(|listed| listed.object.key).boxed()
    }

    /// The keys of a file's overlays. Costs as [`Place::overlays_of_all`].
    pub(crate) async fn overlays_of(&self, id: FileId) -> core::Result<Vec<Key>> {
        Ok(self.overlays_of_all(&[id].into()).await?.remove(&id).unwrap_or_default())
    }

    /// The keys of some files' overlays. Costs a listing of all of the store's: few, where its attributes can be replaced.
    pub(crate) async fn overlays_of_all(&self, files: &BTreeSet<FileId>) -> core::Result<BTreeMap<FileId, Vec<Key>>> {
        let mut overlays = BTreeMap::<_, Vec<_>>::new();
        if files.is_empty() {
            return Ok(overlays);
        }
        let mut listed = self.store.list(ListOptions::below(layout::overlays()));
        while let Some(key) = listed.try_next().await?.map(|listed| listed.object.key) {
            if let Some((id, ..)) = layout::parse_overlay(&key).filter(|(id, ..)| files.contains(id)) {
                overlays.entry(id).or_default().push(key);
            }
        }
        Ok(overlays)
    }
}

impl Node {
    /// Everything that the stores hold of a file's attributes: beside its bytes under `keys`, and as overlays.
    ///
    /// # Errors
    /// `StoreUnavailable` where one place can't be asked: then nothing is known.
    pub(crate) async fn truth(&self, id: FileId, keys: &[Key]) -> Result<Truth> {
        let mut truth = Truth::default();
        for (place, at) in self.places.iter().enumerate() {
            let sidecars = keys.iter().filter_map(|key| key.with_suffix(Attributes::SUFFIX).ok());
            for key in sidecars.chain(at.overlays_of(id).await?) {
                let reading = match at.attributes_at(&key).await? {
                    Reading::Valid(other) if other.id != id => {
                        Reading::Broken(format!("they are of file {}", other.id))
                    }
                    reading => reading,
                };
                truth.take(place, key, reading);
            }
        }
        truth.found.sort_by_cached_key(|found| std::cmp::Reverse(found.attributes.rank()));
        Ok(truth)
    }

    /// As [`Node::truth`], of all revisions that the ledger knows.
    pub(crate) async fn truth_of_row(&self, id: FileId) -> Result<Truth> {
        let keys: Vec<Key> = self.ledger.revisions(id).await?.into_iter().map(|revision| revision.key).collect();
        self.truth(id, &keys).await
    }
}

/// Whether attributes lie where they say: beside their bytes, or as an overlay of their own rank.
fn belongs(attributes: &Attributes, key: &Key) -> bool {
    match layout::parse_overlay(key) {
        Some(overlay) => overlay == (attributes.id, attributes.epoch, attributes.version),
        None => attributes.key.with_suffix(Attributes::SUFFIX).is_ok_and(|sidecar| sidecar == *key),
    }
}

/// An error with its causes, on one line.
pub(crate) fn chain(error: &dyn std::error::Error) -> String {
    let causes = std::iter::successors(error.source(), |cause| cause.source());
    causes.fold(error.to_string(), |text, cause| format!("{text}: {cause}"))
}
