//! A store knows itself: `.larder/instance.json` says which installation it belongs to and which of its stores it is, and
//! `.larder/mark`, or the highest below `.larder/marks/`, how new the database was that last wrote there. A known store without its marker is away, never empty.

use crate::{Environment, StoreId, Timestamp, canonical, files::Place, layout, ledger::KnownStore};
use futures_util::TryStreamExt;
use larder_storage_core::{
    Body, ETag, Error, ErrorKind, GetOptions, ListOptions, Op, PutMode, PutOptions, Result, Store, StoreExt,
};
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

/// The mark that lies on a store.
#[derive(Clone, Debug, Default)]
pub(crate) struct Mark {
    /// 0 where there is none.
    pub(crate) number: u64,
    etag: Option<ETag>,
    /// Those that lie under their numbers.
    numbered: Vec<u64>,
}

/// Reads the mark. On a store that does not stage it may lie under its number.
pub(crate) async fn read_mark(store: &dyn Store) -> Result<Mark> {
    let mut mark = read_one_mark(store).await?;
    if store.staging().is_none() {
        let mut listed = store.list(ListOptions::below(layout::marks()));
        while let Some(found) = listed.try_next().await? {
            mark.numbered.extend(layout::parse_mark(&found.object.key));
        }
        mark.number = mark.numbered.iter().copied().fold(mark.number, u64::max);
    }
    Ok(mark)
}

async fn read_one_mark(store: &dyn Store) -> Result<Mark> {
    const BYTES_MAX: usize = 64;
    let key = layout::mark();
    let object = match store.get(&key, GetOptions::default()).await {
        Ok(object) => object,
        Err(error) if error.is_not_found() => return Ok(Mark::default()),
        Err(error) => return Err(error),
    };
    let failed = |kind| Error::new(Op::Get, &key, store, kind);
    let etag = Some(object.meta.etag.clone());
    let body = Body::once(object.body, Some(object.meta.size)).collect(BYTES_MAX).await;
    let bytes = body.map_err(|cause| failed(ErrorKind::Unavailable).because(cause))?;
    let number = std::str::from_utf8(&bytes).ok().and_then(|text| text.trim().parse().ok());
    Ok(Mark { number: number.ok_or_else(|| failed(ErrorKind::Corrupt))?, etag, numbered: vec![] })
}

/// Writes the mark, durably, over the one that was `seen`; says whether that was still there. One that takes effect late, as it may
/// where the store does not stage, so lowers no newer one. Where the store can't compare, it lies under its number.
pub(crate) async fn write_mark(store: &dyn Store, number: u64, seen: &Mark) -> Result<bool> {
    let mode = match &seen.etag {
        _ if store.staging().is_some() => PutMode::Replace,
        Some(etag) => PutMode::ReplaceIf(etag.clone()),
        None => PutMode::Create,
    };
    let (key, options) = (layout::mark(), PutOptions { mode, ..PutOptions::replace() });
    match store.put(&key, format!("{number}\n").into(), options).await {
        Ok(_) => Ok(true),
        Err(error) if matches!(error.kind(), ErrorKind::PreconditionFailed | ErrorKind::AlreadyExists) => Ok(false),
        Err(error) if *error.kind() == ErrorKind::Unsupported => write_numbered_mark(store, number, seen).await,
        Err(error) => Err(error),
    }
}

/// One that takes effect late is lower than those that came after it. Lower ones than the last before it go once it is durable.
async fn write_numbered_mark(store: &dyn Store, number: u64, seen: &Mark) -> Result<bool> {
    let key = layout::numbered_mark(number);
    match store.put(&key, format!("{number}\n").into(), PutOptions::create()).await {
        Ok(_) => {}
        Err(error) if *error.kind() == ErrorKind::AlreadyExists => return Ok(false),
        Err(error) => return Err(error),
    }
    // Who lists meanwhile may miss the new one, and finds the one before.
    for lower in seen.numbered.iter().filter(|lower| **lower < seen.number) {
        if let Err(error) = store.delete(&layout::numbered_mark(*lower)).await {
            tracing::debug!(%store, lower, %error, "a mark that is outranked stays");
        }
    }
    Ok(true)
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
