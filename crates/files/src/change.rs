//! Update, remove and restore: new attributes of a file, its bytes untouched.
//!
//! 1. Claim, which gives the version.
//! 2. The attributes on a store: beside the bytes where that store takes changes, else as an overlay on one that does (**the commit
//!    point**).
//! 3. Record, which closes the claim.
//! 4. Answer.
//!
//! A crash after 2 leaves the claim, by which the next start finds the new attributes and records them.

use crate::{
    Attributes, Caller, Error, FileId, Files, Patch, Result,
    create::{carried, check_name, check_tags, check_user_bytes, nothing_happened},
    files::{File, Node},
    layout,
    ledger::{Claim, Entry, Purpose, Recorded},
    marker::not_before,
};
use larder_storage_core::{ErrorKind, PutOptions, StoreExt};
use serde_json::{Map, Value};
use std::sync::Arc;

/// What a change does to the attributes; it may find that there is nothing to do.
type Apply = Box<dyn FnOnce(&mut Attributes) -> Result<bool> + Send>;

impl Files {
    /// Changes a file's name, tags or metadata.
    ///
    /// # Errors
    /// `NotFound` of a file in the trash too, `Invalid`, `PreconditionFailed`, `Busy`, `Indeterminate`.
    pub async fn update(&self, caller: &Caller, id: FileId, patch: Patch, if_version: Option<u64>) -> Result<File> {
        self.change(caller, id, if_version, Box::new(move |attributes| apply(patch, attributes))).await
    }

    /// Puts a file into the trash; one that lies there already stays as it is.
    ///
    /// # Errors
    /// As [`Files::update`].
    pub async fn remove(&self, caller: &Caller, id: FileId, if_version: Option<u64>) -> Result<File> {
        let now = self.0.environment.clock.now();
        let apply = move |attributes: &mut Attributes| {
            let live = attributes.deleted_at.is_none();
            attributes.deleted_at.get_or_insert(now);
            Ok(live)
        };
        self.change(caller, id, if_version, Box::new(apply)).await
    }

    /// Takes a file out of the trash; one that is not there stays as it is.
    ///
    /// # Errors
    /// As [`Files::update`].
    pub async fn restore(&self, caller: &Caller, id: FileId, if_version: Option<u64>) -> Result<File> {
        let apply = |attributes: &mut Attributes| Ok(attributes.deleted_at.take().is_some());
        self.change(caller, id, if_version, Box::new(apply)).await
    }

    async fn change(&self, caller: &Caller, id: FileId, if_version: Option<u64>, apply: Apply) -> Result<File> {
        self.0.begin_change().await?;
        self.describe(caller, id).await?;
        let (files, caller) = (self.clone(), caller.clone());
        self.complete(async move {
            let claim = files.0.claim(id, Purpose::Change).await?;
            let next = files.next(&caller, &claim, if_version, apply).await;
            match next {
                Ok(Next::Changed(file)) => files.0.write_change(file, claim).await,
                Ok(Next::Unchanged(file)) => {
                    files.0.release(&claim).await;
                    Ok(file)
                }
                Err(error) => {
                    files.0.release(&claim).await;
                    Err(error)
                }
            }
        })
        .await
    }

    /// The file as it will be, from the row as it is under the claim.
    async fn next(&self, caller: &Caller, claim: &Claim, if_version: Option<u64>, apply: Apply) -> Result<Next> {
        let mut file = self.describe(caller, claim.file).await?;
        let version = file.attributes.version;
        if if_version.is_some_and(|wanted| wanted != version) {
            return Err(Error::PreconditionFailed { version });
        }
        let mut next = file.attributes.clone();
        if !apply(&mut next)? {
            return Ok(Next::Unchanged(file));
        }
        next.epoch = self.0.epoch;
        next.version = claim.version;
        next.op = larder_storage_core::OpId::from_random(self.0.environment.random()).to_string();
        next.updated_at = not_before(self.0.environment.clock.now(), next.updated_at);
        next.created_by_key = carried(next.created_by_key.as_ref(), next.updated_at);
        file.attributes = next;
        Ok(Next::Changed(file))
    }
}

enum Next {
    Changed(File),
    Unchanged(File),
}

impl Node {
    /// Steps 2 to 4.
    async fn write_change(self: &Arc<Self>, file: File, claim: Claim) -> Result<File> {
        if let Err(error) = self.write_attributes(&file).await {
            let error = Error::from(error);
            if matches!(error, Error::Indeterminate(_)) {
                self.settle_claim_later(claim);
            } else {
                self.release(&claim).await;
            }
            return Err(error);
        }
        let entry = Entry::Attributes { attributes: Box::new(file.attributes.clone()), copies: vec![] };
        match self.record(Some(entry), Some(claim.id)).await {
            Ok(Recorded::Tombstoned) => Err(Error::Gone),
            Ok(_) => Ok(file),
            Err(error) => {
                self.settle_claim_later(claim);
                Err(error)
            }
        }
    }

    /// Step 2: durable on at least one store. An error other than `Indeterminate` means that nothing happened.
    async fn write_attributes(&self, file: &File) -> larder_storage_core::Result<()> {
        let attributes = &file.attributes;
        let sidecar = attributes.sidecar();
        let mut uncertain = None;
        for copy in &file.copies {
            let Some((_, place)) = self.place(copy.store).filter(|(_, place)| place.mode.changes()) else { continue };
            match self.replace_sidecar(place, attributes, &sidecar).await {
                Ok(()) => return Ok(()),
                Err(error) if nothing_happened(error.kind()) => {}
                Err(error) => uncertain = Some(error),
            }
        }
        match (self.put_overlay(attributes).await, uncertain) {
            (Ok(()), _) => Ok(()),
            (Err(error), None) if nothing_happened(error.kind()) => Err(error),
            (Err(error), uncertain) => {
                let cause = uncertain.unwrap_or(error);
                Err(larder_storage_core::Error::new(cause.op(), &sidecar, cause.store(), ErrorKind::Indeterminate)
                    .because(cause))
            }
        }
    }

    /// Puts attributes as an overlay on the first store that takes it.
    async fn put_overlay(&self, attributes: &Attributes) -> larder_storage_core::Result<()> {
        let key = layout::overlay(attributes.id, attributes.epoch, attributes.version);
        let mut refused = None;
        for place in self.places.iter().filter(|place| place.mode.creates()) {
            match place.store.put(&key, attributes.to_bytes().into(), PutOptions::create()).await {
                Ok(_) => return Ok(()),
                Err(error) => refused = Some(error),
            }
        }
        Err(refused.unwrap_or_else(|| {
            use larder_storage_core::{Error, ErrorKind, Op};
            Error::new(Op::Put, &key, "every store", ErrorKind::ReadOnly)
        }))
    }

    /// Replaces the sidecar, having looked that what lies there is older: else this database is an older copy.
    async fn replace_sidecar(
        &self,
        place: &crate::files::Place,
        attributes: &Attributes,
        sidecar: &larder_storage_core::Key,
    ) -> larder_storage_core::Result<()> {
        match place.store.get_bytes(sidecar, Attributes::BYTES_MAX as u64).await {
            Ok(bytes) => {
                if let Ok(found) = Attributes::from_bytes(&bytes)
                    && (found.epoch, found.version) >= (attributes.epoch, attributes.version)
                {
                    let why = format!("the store has version {} of {}", found.version, attributes.id);
                    self.state().fence(why);
                    return Err(larder_storage_core::Error::new(
                        larder_storage_core::Op::Put,
                        sidecar,
                        &place.store,
                        ErrorKind::PreconditionFailed,
                    ));
                }
            }
            Err(error) if error.is_not_found() => place.confirm().await?,
            Err(error) => return Err(error),
        }
        place.store.put(sidecar, attributes.to_bytes().into(), PutOptions::replace()).await.map(drop)
    }

    pub(crate) fn settle_claim_later(self: &Arc<Self>, claim: Claim) {
        let node = self.clone();
        self.settle_until_done(move || {
            let (node, claim) = (node.clone(), claim.clone());
            async move { node.settle_claim(&claim).await }
        });
    }
}

fn apply(patch: Patch, attributes: &mut Attributes) -> Result<bool> {
    if attributes.deleted_at.is_some() {
        return Err(Error::NotFound("file"));
    }
    let before = (attributes.name.clone(), attributes.tags.clone(), attributes.metadata.clone());
    if let Some(name) = patch.name {
        check_name(&name)?;
        attributes.name = name;
    }
    if let Some(tags) = patch.tags {
        check_tags(&tags)?;
        attributes.tags = tags;
    }
    match patch.metadata {
        None => {}
        Some(Value::Null) => attributes.metadata.clear(),
        Some(Value::Object(patch)) => merge(&mut attributes.metadata, patch),
        Some(_) => return Err(Error::invalid("metadata", "metadata is an object")),
    }
    check_user_bytes(&attributes.name, &attributes.tags, &attributes.metadata)?;
    Ok(before != (attributes.name.clone(), attributes.tags.clone(), attributes.metadata.clone()))
}

/// JSON merge patch (RFC 7396 section 2) of one object by another.
fn merge(target: &mut Map<String, Value>, patch: Map<String, Value>) {
    for (field, value) in patch {
        match value {
            Value::Null => {
                target.remove(&field);
            }
            Value::Object(inner) => {
                let slot = target.entry(field).or_insert_with(|| Value::Object(Map::new()));
                if !slot.is_object() {
                    *slot = Value::Object(Map::new());
                }
                merge(slot.as_object_mut().expect("made an object above"), inner);
            }
            other => {
                target.insert(field, other);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_merge_patch_does_what_rfc_7396_shows() {
        let cases = [
            (json!({"a": "b"}), json!({"a": "c"}), json!({"a": "c"})),
            (json!({"a": "b"}), json!({"b": "c"}), json!({"a": "b", "b": "c"})),
            (json!({"a": "b", "b": "c"}), json!({"a": null}), json!({"b": "c"})),
            (json!({"a": {"b": "c"}}), json!({"a": {"b": "d", "c": null}}), json!({"a": {"b": "d"}})),
            (json!({"a": "foo"}), json!({"a": {"bb": {"ccc": null}}}), json!({"a": {"bb": {}}})),
            (json!({"e": null}), json!({"a": 1}), json!({"e": null, "a": 1})),
        ];
        for (target, patch, merged) in cases {
            let (Value::Object(mut target), Value::Object(patch)) = (target, patch) else { panic!("objects") };
            merge(&mut target, patch);
            assert_eq!(Value::Object(target), merged);
        }
    }
}
