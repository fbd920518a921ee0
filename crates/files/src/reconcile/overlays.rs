//! Overlays go once nothing needs them: newer attributes of a file lie as an overlay on another store only for as long as they can't lie
//! beside its bytes. An overlay goes where the file's own attributes, at least as high, lie beside each copy of its newest revision, and
//! each of those stores takes changes: so the loss of any one of them brings back nothing older. Looked at under the file's claim, which
//! keeps changes and purges away; a crash leaves the overlay, for the next sweep.

use crate::{
    Attributes, FileId, Result,
    files::Node,
    layout,
    ledger::{CopyState, FileRow, Purpose},
    truth::Reading,
};
use futures_util::TryStreamExt;
use larder_storage_core::{Key, ListOptions};
use std::sync::Arc;

/// Overlays that are looked at at once.
const CHUNK: usize = 256;

impl Node {
    /// Removes the overlays on a place that nothing needs any more. Costs a listing, and for each overlay a look at its file.
    pub(super) async fn sweep_overlays(self: &Arc<Self>, place: usize) -> Result<()> {
        let at = &self.places[place];
        let listed = at.store.list(ListOptions::below(layout::overlays())).map_ok(|listed| listed.object.key);
        let mut chunks = std::pin::pin!(listed.try_chunks(CHUNK));
        while let Some(keys) = chunks.try_next().await.map_err(|broken| broken.1)? {
            for key in keys {
                let Some((id, epoch, version)) = layout::parse_overlay(&key) else { continue };
                if !self.is_carried_home(id, (epoch, version)).await? {
                    continue;
                }
                if let Err(error) = self.remove_overlay(place, &key, id, (epoch, version)).await {
                    tracing::warn!(%key, store = %at.name, %error, "an overlay that nothing needs stays for now");
                }
            }
        }
        Ok(())
    }

    async fn remove_overlay(self: &Arc<Self>, place: usize, key: &Key, id: FileId, rank: (u64, u64)) -> Result<()> {
        self.begin_change().await?;
        let claim = self.claim(id, Purpose::Change).await?;
        let removed = match self.is_carried_home(id, rank).await {
            Ok(true) => self.places[place].store.delete(key).await.map_err(Into::into),
            Ok(false) => Ok(()),
            Err(error) => Err(error),
        };
        self.release(&claim).await;
        removed
    }

    /// Whether attributes of at least this rank lie beside every copy of the file's newest revision. Says no where that can't be told.
    async fn is_carried_home(&self, id: FileId, rank: (u64, u64)) -> Result<bool> {
        let Some(FileRow { attributes, copies }) = self.ledger.file(id).await? else { return Ok(false) };
        if (attributes.epoch, attributes.version) < rank || !copies.iter().any(|copy| copy.state == CopyState::Verified)
        {
            return Ok(false);
        }
        for copy in copies.iter().filter(|copy| copy.state != CopyState::Pending) {
            let home = self.place(copy.store).map(|(_, home)| home).filter(|home| home.mode.changes());
            let Some(home) = home.filter(|_| copy.state == CopyState::Verified) else { return Ok(false) };
            match home.attributes_at(&attributes.sidecar()).await {
                Ok(Reading::Valid(found)) if is_as_high(&found, &attributes) => {}
                _ => return Ok(false),
            }
        }
        Ok(true)
    }
}

fn is_as_high(found: &Attributes, row: &Attributes) -> bool {
    found.id == row.id && found.rank() >= row.rank()
}
