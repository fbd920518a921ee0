//! Mending: each way is safe to repeat, and none deletes what is not covered by a tombstone.

use super::{Check, Mend};
use crate::{
    Attributes, Error, FileId, Result, Tombstone,
    files::Place,
    ledger::{CopyState, Entry, Purpose, Record, RevisionRow},
    read::digest_at,
    truth::Reading,
};
use larder_storage_core::{ErrorKind, Key, PutOptions};

impl Check<'_> {
    /// Mends, and says what was done.
    pub(super) async fn mend(&self, mend: Mend) -> Result<String> {
        match mend {
            Mend::Nothing => Ok("nothing to be done".into()),
            Mend::Quarantine(objects) => self.quarantine_all(&objects).await,
            Mend::Orphan { place, key } => self.quarantine_orphan(place, &key).await,
            Mend::Delete(objects) => self.delete_all(&objects).await,
            Mend::Record(entries) => self.record(entries).await,
            Mend::Reindex(id) => self.reindex(id).await,
            Mend::Attributes { place, attributes } => self.write_attributes(place, *attributes).await,
            Mend::Copy { place, revision } => self.renew_copy(place, &revision).await,
            Mend::Bury(tombstone) => self.bury(&tombstone).await,
            Mend::Give { place, tombstone } => {
                self.node.places[place].put_tombstone(&tombstone).await?;
                Ok("put there".into())
            }
            Mend::Settle(claim) => self.node.settle_claim(&claim).await.map(|()| "settled".into()),
            Mend::TakeUp(_) if self.node.settings.is_brief => {
                Err(Error::Conflict("a server settles it, once nothing of it can turn up any more".into()))
            }
            Mend::TakeUp(intent) => Ok(match self.node.take_up(&intent).await {
                true => "taken up: it is settled once nothing of it can turn up any more".into(),
                false => "it can't be taken up now".into(),
            }),
            Mend::Index => Ok(self.node.ledger.remake_index().await.map(|()| "made anew".into())?),
            Mend::Both(both) => {
                let [first, second] = *both;
                let (first, second) = (Box::pin(self.mend(first)).await?, Box::pin(self.mend(second)).await?);
                Ok(format!("{first}; {second}"))
            }
            Mend::Unreserve(node) => Ok(self.node.ledger.unreserve_all(&node).await.map(|()| "given up".into())?),
        }
    }

    async fn quarantine_all(&self, objects: &[(usize, Key)]) -> Result<String> {
        for (place, key) in objects {
            self.quarantine(*place, key).await?;
        }
        Ok("moved to quarantine".into())
    }

    /// A publish that stands still between bytes and attributes may go on at any time and be answered, so its bytes stay.
    async fn quarantine_orphan(&self, place: usize, key: &Key) -> Result<String> {
        if !self.is_abandoned(place, key).await? {
            let why = "an upload may yet give them some; a later run looks again";
            return Err(Error::Conflict(why.into()));
        }
        let sidecar = key.with_suffix(Attributes::SUFFIX).map_err(Error::internal)?;
        if self.node.places[place].size_of(&sidecar).await?.is_some() {
            return Ok("they have attributes by now".into());
        }
        self.quarantine_all(&[(place, key.clone())]).await
    }

    async fn quarantine(&self, place: usize, key: &Key) -> Result<()> {
        self.node.places[place].quarantine(key).await
    }

    async fn delete_all(&self, objects: &[(usize, Key)]) -> Result<String> {
        for (place, key) in objects {
            self.node.places[*place].store.delete(key).await?;
        }
        Ok("deleted".into())
    }

    /// In one transaction, so that no reader sees a file without its row meanwhile.
    async fn record(&self, entries: Vec<Entry>) -> Result<String> {
        let records = entries.into_iter().map(Record::from).collect();
        for result in self.node.ledger.record(records).await {
            result?;
        }
        Ok("the database now says the same".into())
    }

    /// Under the file's claim, from what lies on the stores then: a change since the look keeps its row.
    async fn reindex(&self, id: FileId) -> Result<String> {
        let claim = self.node.claim(id, Purpose::Change).await?;
        let recorded = match self.rows_anew(id).await {
            Ok(entries) => self.record(entries).await,
            Err(error) => Err(error),
        };
        self.node.release(&claim).await;
        recorded
    }

    /// Under the file's claim: nobody changes it meanwhile.
    async fn write_attributes(&self, place: usize, attributes: Attributes) -> Result<String> {
        let claim = self.node.claim(attributes.id, Purpose::Change).await?;
        let written = self.write_claimed(place, attributes).await;
        self.node.end_claim(claim, written.as_ref().err()).await;
        written.map(|()| "written again".into())
    }

    async fn write_claimed(&self, place: usize, attributes: Attributes) -> Result<()> {
        let at = &self.node.places[place];
        let row = self.node.ledger.file(attributes.id).await?.ok_or(Error::NotFound("file"))?;
        let attributes = if row.attributes.revision == attributes.revision { row.attributes } else { attributes };
        let key = attributes.sidecar();
        match at.attributes_at(&key).await? {
            Reading::Valid(_) if !at.mode.changes() => Err(at.takes_no_changes()),
            _ => self.node.write_beside(place, &attributes).await,
        }
    }

    /// As the reconciler does it, which looks again first: bad bytes go out of the way under the file's claim, good ones are brought.
    async fn renew_copy(&self, place: usize, revision: &RevisionRow) -> Result<String> {
        let (node, store) = (self.node, self.node.places[place].id);
        node.begin_change().await?;
        let find = async || Ok::<_, Error>(node.ledger.revision(revision.file, revision.revision).await?);
        let Some(now) = find().await? else { return Ok("it is gone by now".into()) };
        node.state().refused.forget(place);
        node.mend_copy(place, &now).await?;
        let copies = find().await?.map(|now| now.copies).unwrap_or_default();
        Ok(match copies.iter().find(|copy| copy.store == store).map(|copy| copy.state) {
            Some(CopyState::Verified) => "made anew from another copy",
            Some(CopyState::Lost) => "the copy is marked lost",
            Some(CopyState::Dropping) => {
                "moved to quarantine; a server makes it anew once nothing of that is on its way"
            }
            _ => "somebody else is at it",
        }
        .into())
    }

    async fn bury(&self, tombstone: &Tombstone) -> Result<String> {
        let missed = self.node.put_tombstone(tombstone).await?;
        self.node.record_with(Entry::Tombstone(Box::new(tombstone.clone())), &missed).await?;
        let missed = self.node.clear(tombstone).await;
        let is_cleared = missed.is_empty();
        self.node.record_all(missed).await?;
        Ok(if is_cleared {
            "written again"
        } else {
            "written again; what it covers is deleted once its store permits it"
        }
        .into())
    }
}

impl Place {
    /// Moves an object out of the way: a durable copy below `.larder/quarantine/`, then it is deleted.
    pub(crate) async fn quarantine(&self, key: &Key) -> Result<()> {
        self.keep_aside(key).await?;
        Ok(self.store.delete(key).await?)
    }

    pub(crate) fn takes_no_changes(&self) -> Error {
        Error::ReadOnly(format!("the store `{}` takes no changes", self.name))
    }

    /// Copies an object below `.larder/quarantine/`, if it is there. What was kept before, and could not be deleted then, is not kept
    /// twice: where another one has its name, or it can't be told, that of its validator goes with it.
    pub(crate) async fn keep_aside(&self, key: &Key) -> Result<()> {
        if !self.mode.changes() {
            return Err(self.takes_no_changes());
        }
        if self.size_of(key).await?.is_none() {
            return Ok(());
        }
        let aside = quarantined(key, None);
        match self.store.copy(key, &aside, PutOptions::create()).await {
            Err(error) if error.kind() == &ErrorKind::AlreadyExists => {}
            copied => return Ok(copied.map(drop)?),
        }
        let (here, there) = (digest_at(&*self.store, key).await, digest_at(&*self.store, &aside).await);
        if here.is_ok_and(|here| there.is_ok_and(|there| here == there)) {
            return Ok(());
        }
        // By what the store tells of it: it may be what can't be read.
        let etag = self.store.head(key).await?.etag;
        let name = crate::Sha256::of(etag.as_str().as_bytes());
        match self.store.copy(key, &quarantined(key, Some(name)), PutOptions::create()).await {
            Err(error) if error.kind() == &ErrorKind::AlreadyExists => Ok(()),
            copied => Ok(copied.map(drop)?),
        }
    }
}

/// Where an object goes: under its own key, or the key's hash where that would be too long; with that of its validator where another has
/// that name.
fn quarantined(key: &Key, validator: Option<crate::Sha256>) -> Key {
    let suffix = validator.map(|hash| format!(".{hash}")).unwrap_or_default();
    Key::new(format!(".larder/quarantine/{key}{suffix}")).unwrap_or_else(|_| {
        let hash = crate::Sha256::of(key.as_str().as_bytes());
        Key::new(format!(".larder/quarantine/{hash}{suffix}")).expect("made of hashes")
    })
}
