//! A store knows itself: `.larder/instance.json` says which installation it belongs to and which of its stores it is, and
//! `.larder/mark` how new the database was that last wrote there. A known store without its marker is away, never empty.

use crate::{Environment, StoreId, Timestamp, canonical, files::Place, layout, ledger::KnownStore};
use larder_storage_core::{Error, ErrorKind, Op, PutOptions, Result, Store, StoreExt};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

/// `.larder/instance.json`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Marker {
    /// The marker's own form: 1.
    pub(crate) larder: u32,
    /// The installation.
    pub(crate) instance: Uuid,
    /// This store.
    #[serde(rename = "self")]
    pub(crate) itself: StoreId,
    /// Counts rebuilds.
    pub(crate) epoch: u64,
    /// The form of what lies on the store: 1.
    pub(crate) format: u64,
    /// What the secrets show of themselves.
    pub(crate) master: String,
    /// All stores of the installation, as far as this one was told.
    pub(crate) stores: Vec<KnownStore>,
}

/// The form that this Larder writes and reads.
pub(crate) const FORMAT: u64 = 1;
const MARKER_BYTES_MAX: u64 = 1 << 20;

impl Marker {
    /// Reads a store's marker; `None` where it has none.
    pub(crate) async fn read(store: &dyn Store) -> Result<Option<Self>> {
        let key = layout::instance();
        match store.get_bytes(&key, MARKER_BYTES_MAX).await {
            Ok(bytes) => match serde_json::from_slice(&bytes) {
                Ok(marker) => Ok(Some(marker)),
                Err(cause) => Err(Error::new(Op::Get, &key, store, ErrorKind::Corrupt).because(cause)),
            },
            Err(error) if error.is_not_found() => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Writes it, durably, over an older one.
    pub(crate) async fn write(&self, store: &dyn Store) -> Result<()> {
        store.put(&layout::instance(), self.to_bytes().into(), PutOptions::replace()).await.map(drop)
    }

    /// Writes it, durably, where there is none.
    pub(crate) async fn create(&self, store: &dyn Store) -> Result<()> {
        store.put(&layout::instance(), self.to_bytes().into(), PutOptions::create()).await.map(drop)
    }

    fn to_bytes(&self) -> Vec<u8> {
        canonical(&serde_json::to_value(self).expect("a marker holds only what JSON has"))
    }
}

/// The mark on a store; 0 where there is none.
pub(crate) async fn read_mark(store: &dyn Store) -> Result<u64> {
    let key = layout::mark();
    match store.get_bytes(&key, 64).await {
        Ok(bytes) => std::str::from_utf8(&bytes)
            .ok()
            .and_then(|text| text.trim().parse().ok())
            .ok_or_else(|| Error::new(Op::Get, &key, store, ErrorKind::Corrupt)),
        Err(error) if error.is_not_found() => Ok(0),
        Err(error) => Err(error),
    }
}

/// Writes the mark, durably.
pub(crate) async fn write_mark(store: &dyn Store, mark: u64) -> Result<()> {
    store.put(&layout::mark(), format!("{mark}\n").into(), PutOptions::replace()).await.map(drop)
}

impl Place {
    /// Whether the store still is the one it was: asked again before an absence is believed.
    ///
    /// # Errors
    /// `Unavailable` where its marker is missing or another's.
    pub(crate) async fn confirm(&self) -> Result<()> {
        match Marker::read(&*self.store).await? {
            Some(marker) if marker.itself == self.id => Ok(()),
            _ => Err(Error::new(Op::Get, layout::instance(), &self.store, ErrorKind::Unavailable)
                .because("the store's marker is missing or another's")),
        }
    }
}

/// An epoch above `highest`, with a random part so that two rebuilds that do not know of each other can't meet.
pub(crate) fn next_epoch(highest: u64, env: &Environment) -> u64 {
    let [low] = env.random();
    (((highest >> 8) + 1) << 8) | u64::from(low)
}

/// The time that a new record carries: never before `earlier`, whatever the clock says.
pub(crate) fn not_before(now: Timestamp, earlier: Timestamp) -> Timestamp {
    now.max(earlier)
}
