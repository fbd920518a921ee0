//! Overlays go once nothing needs them: newer attributes of a file lie as an overlay on another store only for as long as they can't lie
//! beside its bytes. An overlay goes where the file's own attributes, at least as high, lie beside each copy of its newest revision, and
//! each of those stores takes changes: so the loss of any one of them brings back nothing older. Where a store can't compare and replace,
//! they lie there as an overlay of their own, which stays. Looked at under the file's claim, which keeps changes and purges away; a crash
//! leaves the overlay, for the next sweep.

use crate::{
    Attributes, FileId, Result,
    files::Node,
    layout,
    ledger::{CopyState, FileRow, Purpose},
    truth::Reading,
};
use futures_util::{StreamExt, TryStreamExt};
use larder_storage_core::{Key, ListOptions, ListToken};
use std::sync::Arc;

/// Overlays that are looked at in a turn: other work comes between.
const PAGE: usize = 64;

impl Node {
    /// Removes the overlays of a page on a place that nothing needs any more; answers behind which the next page begins, if there is one.
    /// Costs a listing of the page, and for each overlay a look at its file.
    pub(super) async fn sweep_overlays(
        self: &Arc<Self>,
        place: usize,
        after: Option<ListToken>,
    ) -> Result<Option<ListToken>> {
        let at = &self.places[place];
        let listed = at.store.list(ListOptions { prefix: layout::overlays(), after }).take(PAGE);
        let listed: Vec<_> = listed.try_collect().await?;
        for key in listed.iter().map(|listed| &listed.object.key) {
            let Some((id, epoch, version)) = layout::parse_overlay(key) else { continue };
            if !self.is_carried_home(place, id, (epoch, version)).await? {
                continue;
            }
            if let Err(error) = self.remove_overlay(place, key, id, (epoch, version)).await {
                tracing::warn!(%key, store = %at.name, %error, "an overlay that nothing needs stays for now");
            }
        }
        let is_full = listed.len() == PAGE;
        Ok(listed.into_iter().next_back().filter(|_| is_full).map(|last| last.resume))
    }

    async fn remove_overlay(self: &Arc<Self>, place: usize, key: &Key, id: FileId, rank: (u64, u64)) -> Result<()> {
        self.begin_change().await?;
        // A change is under way: there is time.
        if self.ledger.claim_of(id).await?.is_some() {
            return Ok(());
        }
        let claim = self.claim(id, Purpose::Change).await?;
        let removed = match self.is_carried_home(place, id, rank).await {
            Ok(true) => self.places[place].store.delete(key).await.map_err(Into::into),
            Ok(false) => Ok(()),
            Err(error) => Err(error),
        };
        self.release(&claim).await;
        removed
    }

    /// Whether the file's own attributes lie on the store of every copy of its newest revision, and this overlay of theirs or of older
    /// ones is not what tells of them there. Says no where that can't be told.
    async fn is_carried_home(&self, place: usize, id: FileId, rank: (u64, u64)) -> Result<bool> {
        let Some(FileRow { attributes, copies }) = self.ledger.file(id).await? else { return Ok(false) };
        if (attributes.epoch, attributes.version) < rank || !copies.iter().any(|copy| copy.state == CopyState::Verified)
        {
            return Ok(false);
        }
        // One that is yet to be made may lie where an older revision tells of itself alone.
        for copy in &copies {
            let home = self.place(copy.store).filter(|(_, home)| home.mode.changes());
            let Some((at, home)) = home.filter(|_| copy.state == CopyState::Verified) else { return Ok(false) };
            let own = (attributes.epoch, attributes.version);
            let mut keys = vec![attributes.sidecar()];
            if home.store.staging().is_none() && (at, rank) != (place, own) {
                keys.push(layout::overlay(id, own.0, own.1));
            }
            let mut tells = false;
            for key in keys {
                tells |= matches!(home.attributes_at(&key).await, Ok(Reading::Valid(found)) if is_as_high(&found, &attributes));
            }
            if !tells {
                return Ok(false);
            }
        }
        Ok(true)
    }
}

fn is_as_high(found: &Attributes, row: &Attributes) -> bool {
    found.id == row.id && found.rank() >= row.rank()
}
