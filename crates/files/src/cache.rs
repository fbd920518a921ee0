//! [`Cache`]: what can be made again from a file's content, such as pictures of other sizes, kept on a store below
//! `.larder/renditions/FILE/`. It is in no index and has no attributes; a rebuild does not know of it, and losing it loses nothing.
//!
//! Each begins with the SHA-256 of the rest: what a bad sector made of it is never handed out.

use crate::{FileId, Files, Result, Sha256, files::Place, layout};
use bytes::{Bytes, BytesMut};
use futures_util::{Stream, StreamExt, TryStreamExt};
use larder_storage_core::{ErrorKind, ListOptions, PutOptions, StoreExt};
use std::time::SystemTime;

const HASH_BYTES: usize = 32;

/// Where what can be made again is kept.
#[derive(Clone, Debug)]
pub struct Cache {
    place: Place,
}

/// One that is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cached {
    /// Whose it is.
    pub file: FileId,
    /// The hash of what it is made of.
    pub key: [u8; 16],
    /// Bytes that it takes on the store.
    pub size: u64,
    /// When it was made, by the store's clock.
    pub made: SystemTime,
}

impl Files {
    /// The cache; `None` where none is configured, or its store's mode does not let it be written.
    #[must_use]
    pub fn cache(&self) -> Option<Cache> {
        let name = self.0.settings.cache.as_ref()?;
        let place = self.0.places.iter().find(|place| place.name == *name && place.mode.changes())?;
        Some(Cache { place: place.clone() })
    }
}

impl Files {
    /// The other stores that may be written: what lies there was kept by another configuration, and is nobody's now.
    #[must_use]
    pub fn former_caches(&self) -> Vec<Cache> {
        let now = self.cache().map(|cache| cache.place.id);
        let others = self.0.places.iter().filter(|place| place.mode.changes() && Some(place.id) != now);
        others.map(|place| Cache { place: place.clone() }).collect()
    }
}

impl Cache {
    /// Bytes that are kept beside one of so many.
    pub const OVERHEAD: u64 = HASH_BYTES as u64;

    /// Reads one of at most `max` bytes. `None` where there is none; one that is damaged goes.
    ///
    /// # Errors
    /// `StoreUnavailable`.
    pub async fn get(&self, file: FileId, key: &[u8; 16], max: u64) -> Result<Option<Bytes>> {
        let at = layout::rendition(file, key);
        let kept = match self.place.store.get_bytes(&at, max + Self::OVERHEAD).await {
            Ok(kept) => kept,
            Err(error) if error.is_not_found() => return Ok(None),
            Err(error) => return Err(error.into()),
        };
        if let Some((hash, bytes)) = kept.split_at_checked(HASH_BYTES)
            && Sha256::of(bytes).0 == *hash
        {
            return Ok(Some(kept.slice(HASH_BYTES..)));
        }
        tracing::warn!(%at, store = %self.place.name, "a kept rendition is damaged, and made anew");
        self.remove(file, key).await?;
        Ok(None)
    }

    /// Keeps one; the same is there already, or none.
    ///
    /// # Errors
    /// `StoreUnavailable`, `Full`, `ReadOnly`.
    pub async fn put(&self, file: FileId, key: &[u8; 16], bytes: &[u8]) -> Result<()> {
        let mut kept = BytesMut::with_capacity(HASH_BYTES + bytes.len());
        kept.extend_from_slice(&Sha256::of(bytes).0);
        kept.extend_from_slice(bytes);
        match self.place.store.put(&layout::rendition(file, key), kept.freeze().into(), PutOptions::create()).await {
            Err(error) if *error.kind() == ErrorKind::AlreadyExists => Ok(()),
            put => Ok(put.map(drop)?),
        }
    }

    /// Removes one, if it is there.
    ///
    /// # Errors
    /// `StoreUnavailable`.
    pub async fn remove(&self, file: FileId, key: &[u8; 16]) -> Result<()> {
        Ok(self.place.store.delete(&layout::rendition(file, key)).await?)
    }

    /// Removes all of a file, and says how many there were. Costs a listing.
    ///
    /// # Errors
    /// `StoreUnavailable`.
    pub async fn remove_all(&self, file: FileId) -> Result<u64> {
        let listed = self.place.store.list(ListOptions::below(layout::renditions_of(file)));
        let keys: Vec<_> = listed.map_ok(|listed| listed.object.key).try_collect().await?;
        for key in &keys {
            self.place.store.delete(key).await?;
        }
        Ok(keys.len() as u64)
    }

    /// Lists all that is kept, in no order that matters.
    pub fn list(&self) -> impl Stream<Item = Result<Cached>> + Send + '_ {
        let listed = self.place.store.list(ListOptions::below(layout::renditions()));
        listed.filter_map(async |listed| match listed {
            Ok(listed) => layout::parse_rendition(&listed.object.key)
                .map(|(file, key)| Ok(Cached { file, key, size: listed.object.size, made: listed.object.modified })),
            Err(error) => Some(Err(error.into())),
        })
    }
}
