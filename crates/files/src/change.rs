//! Update, remove and restore: new attributes of a file, its bytes untouched.
//!
//! 1. Claim, which gives the version.
//! 2. The attributes on a store: beside the bytes where that store takes changes, else as an overlay on one that does (**the commit
//!    point**).
//! 3. Record, which closes the claim.
//! 4. Answer.
//!
//! A change by which the file comes to bear a name that no other of its bucket may have claims that name between 1 and 2. It never
//! waits for one while it holds the file's claim: who has the name may wait for the file.
//!
//! A crash after 2 leaves the claim, by which the next start finds the new attributes and records them.
//!
//! On a store that does not stage the request of step 2 may take effect after its sender has died. It needs no intent: its claim says
//! what it is of, and is settled only once that request's time is over. It overwrites exactly the attributes that were read
//! (`If-Match`), and where it can't it is an overlay, which nothing overwrites: so one that comes later still changes nothing newer.

use crate::{
    Attributes, Bucket, Caller, Error, FileId, Files, Names, Patch, Result, Role, User, UserId, UserName,
    create::{carried, check_name, check_readable, check_tags, check_user_bytes, nothing_happened},
    files::{File, Node, Place},
    layout,
    ledger::{Claim, CopyState, Entry, Purpose, Recorded},
    marker::not_before,
    name_claim::{Asked, Claimed, ClaimedFor, NameClaim, Wait},
};
use bytes::Bytes;
use larder_storage_core::{
    Body, ETag, Error as StoreError, ErrorKind, GetOptions, Key, NodeId, Op, PutMode, PutOptions,
};
use serde_json::{Map, Value, json};
use std::{sync::Arc, time::Duration};

/// Where a picture's focal point stands in what is known of it.
const FOCAL: &str = "focal";

/// What a change does to the attributes; it may find that there is nothing to do.
type Apply = Box<dyn Fn(&mut Attributes) -> Result<bool> + Send + Sync>;

impl Files {
    /// Changes a file's name, tags or metadata; for admins its owner and its bucket too. The bytes stay where they are, under their
    /// key.
    ///
    /// # Errors
    /// `NotFound` of a file in the trash too, `Invalid`, `Forbidden`, `PreconditionFailed`, `Busy`, `Indeterminate`; `NameTaken` in a
    /// bucket of unique names; `TooLarge` and `UnsupportedType` of the new bucket.
    pub async fn update(&self, caller: &Caller, id: FileId, patch: Patch, if_version: Option<u64>) -> Result<File> {
        let target = self.target(caller, id, &patch).await?;
        target.bucket.as_ref().map_or(Ok(()), |bucket| self.0.check_enough(&bucket.name))?;
        let heir = target.owner.as_ref().map(|(id, _)| *id);
        let apply = move |attributes: &mut Attributes| {
            let changes = apply(&patch, attributes)?;
            Ok(target.apply(attributes)? || changes)
        };
        self.change(caller, id, if_version, heir, Box::new(apply)).await
    }

    /// Notes what is known of a revision's content, where it is the newest and less is known yet; a focal point stays.
    ///
    /// # Errors
    /// As [`Files::update`].
    pub async fn note_media(&self, caller: &Caller, id: FileId, revision: u64, media: Value) -> Result<File> {
        let apply = move |attributes: &mut Attributes| {
            let is_thinner =
                |known: &Value| known.as_object().map_or(0, Map::len) < media.as_object().map_or(0, Map::len);
            let focal = attributes.media.as_ref().and_then(|known| known.get(FOCAL)).cloned();
            let is_new = attributes.revision == revision && attributes.media.as_ref().is_none_or(is_thinner);
            if is_new {
                let mut media = media.clone();
                if let (Some(focal), Some(media)) = (focal, media.as_object_mut()) {
                    media.insert(FOCAL.into(), focal);
                }
                attributes.media = Some(media);
            }
            Ok(is_new)
        };
        self.change(caller, id, None, None, Box::new(apply)).await
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
        self.change(caller, id, if_version, None, Box::new(apply)).await
    }

    /// Takes a file out of the trash; one that is not there stays as it is.
    ///
    /// # Errors
    /// As [`Files::update`].
    pub async fn restore(&self, caller: &Caller, id: FileId, if_version: Option<u64>) -> Result<File> {
        let apply = |attributes: &mut Attributes| Ok(attributes.deleted_at.take().is_some());
        self.change(caller, id, if_version, None, Box::new(apply)).await
    }

    /// Makes a file, in the trash or not, another's.
    ///
    /// # Errors
    /// As [`Files::update`].
    pub(crate) async fn give(&self, caller: &Caller, id: FileId, to: &User) -> Result<File> {
        let (owner_id, owner) = (to.id, to.name.to_string());
        let apply = move |attributes: &mut Attributes| {
            let changes = attributes.owner_id != owner_id;
            (attributes.owner_id, attributes.owner) = (owner_id, owner.clone());
            Ok(changes)
        };
        self.change(caller, id, None, None, Box::new(apply)).await
    }

    /// `heir` is who is named as the new owner.
    async fn change(
        &self,
        caller: &Caller,
        id: FileId,
        if_version: Option<u64>,
        heir: Option<UserId>,
        apply: Apply,
    ) -> Result<File> {
        self.0.begin_change().await?;
        let bucket = self.describe(caller, id).await?.attributes.bucket;
        self.0.check_enough(&bucket)?;
        let (files, caller) = (self.clone(), caller.clone());
        self.complete(async move {
            let mut wait = Wait::new(&files.0);
            loop {
                let claim = files.0.claim(id, Purpose::Change).await?;
                // Who waited for the claim may find the new owner deleted, and their files gone with them.
                let present = files.check_present(heir).await;
                let next = match present {
                    Ok(()) => files.change_claimed(&caller, &claim, if_version, &apply).await,
                    Err(error) => Err(error),
                };
                let in_the_way = match next {
                    Ok(Next::Changed(file, was, name)) => {
                        let file = files.0.write_change(file, was, claim, name).await?;
                        return files.0.make_safe(file).await;
                    }
                    Ok(Next::Unchanged(file)) => {
                        files.0.release(&claim).await;
                        // It may repeat what came to too few stores.
                        return files.0.make_safe(file).await;
                    }
                    Ok(Next::Waits(holder)) => holder,
                    Err(error) => {
                        files.0.release(&claim).await;
                        return Err(error);
                    }
                };
                files.0.release(&claim).await;
                wait.on(&files.0, in_the_way.as_ref()).await?;
            }
        })
        .await
    }

    async fn check_present(&self, heir: Option<UserId>) -> Result<()> {
        let Some(id) = heir else { return Ok(()) };
        match self.user(id).await? {
            Some(user) if user.gone_at.is_some() => {
                Err(Error::invalid("owner", format!("there is no user `{}`", user.name)))
            }
            _ => Ok(()),
        }
    }

    /// The file as it will be, and its name where no other may have that.
    async fn change_claimed(
        &self,
        caller: &Caller,
        claim: &Claim,
        if_version: Option<u64>,
        apply: &Apply,
    ) -> Result<Next> {
        let (was, file) = match self.next(caller, claim, if_version, apply).await? {
            (was, Some(file)) => (was, file),
            (was, None) => return Ok(Next::Unchanged(was)),
        };
        let rank = (was.attributes.epoch, was.attributes.version);
        let Some(name) = self.name_to_claim(&was.attributes, &file.attributes)? else {
            return Ok(Next::Changed(file, rank, None));
        };
        match self.0.ask_for_name(&name, &ClaimedFor::Change(claim.id)).await? {
            Asked::Ours => Ok(Next::Waits(None)),
            Asked::Theirs(holder) => Ok(Next::Waits(Some(holder))),
            Asked::Given(given) => match self.0.bearer(&name, Some(claim.file)).await? {
                Some(other) => Err(taken(caller, &other)),
                None => Ok(Next::Changed(file, rank, Some(given))),
            },
        }
    }

    /// The name that a change makes the file bear, if no other live file of its bucket may bear it.
    fn name_to_claim(&self, was: &Attributes, next: &Attributes) -> Result<Option<Claimed>> {
        let bore_it = was.deleted_at.is_none() && (was.bucket_id, &was.name) == (next.bucket_id, &next.name);
        if bore_it || next.deleted_at.is_some() {
            return Ok(None);
        }
        let names = self.bucket(next.bucket.as_str())?.policy.names;
        let claimed = Claimed::new(next.bucket_id, names, next.owner_id, &next.name);
        Ok((names == Names::Unique).then_some(claimed))
    }

    /// Where a patch moves the file to.
    async fn target(&self, caller: &Caller, id: FileId, patch: &Patch) -> Result<Target> {
        if patch.owner.is_none() && patch.bucket.is_none() {
            return Ok(Target::default());
        }
        self.live(caller, id).await?;
        if caller.role != Role::Admin {
            return Err(Error::Forbidden("only admins change a file's owner or bucket"));
        }
        let mut target = Target::default();
        if let Some(name) = &patch.owner {
            let found = self.user_named(name.as_str()).await?.filter(|user| user.gone_at.is_none());
            let unknown = || Error::invalid("owner", format!("there is no user `{name}`"));
            target.owner = Some(match found {
                Some(user) => (user.id, user.name),
                None if *name == UserName::local() => (UserId::LOCAL, UserName::local()),
                None => return Err(unknown()),
            });
        }
        if let Some(name) = &patch.bucket {
            target.bucket = Some(self.bucket(name).map_err(|error| match error {
                Error::NotFound(_) => Error::invalid("bucket", format!("there is no bucket `{name}`")),
                other => other,
            })?);
        }
        Ok(target)
    }

    /// The row as it is under the claim, and the file as it will be; `None` where nothing changes.
    async fn next(
        &self,
        caller: &Caller,
        claim: &Claim,
        if_version: Option<u64>,
        apply: &Apply,
    ) -> Result<(File, Option<File>)> {
        let file = self.describe(caller, claim.file).await?;
        let version = file.attributes.version;
        if if_version.is_some_and(|wanted| wanted != version) {
            return Err(Error::PreconditionFailed { version });
        }
        let mut next = file.attributes.clone();
        if !apply(&mut next)? {
            return Ok((file, None));
        }
        next.epoch = self.0.epoch;
        next.version = claim.version;
        next.op = larder_storage_core::OpId::from_random(self.0.environment.random()).to_string();
        next.updated_at = not_before(self.0.environment.clock.now(), next.updated_at);
        next.created_by_key = carried(next.created_by_key.as_ref(), next.updated_at);
        check_readable(&next)?;
        let next = File { attributes: next, copies: file.copies.clone() };
        Ok((file, Some(next)))
    }
}

/// Where a file is moved to.
#[derive(Default)]
struct Target {
    owner: Option<(UserId, UserName)>,
    bucket: Option<Bucket>,
}

impl Target {
    /// Moves a file; says whether that changes anything. Its newest content must be what the new bucket takes.
    fn apply(&self, attributes: &mut Attributes) -> Result<bool> {
        let before = (attributes.owner_id, attributes.bucket_id);
        if let Some((id, name)) = &self.owner {
            (attributes.owner_id, attributes.owner) = (*id, name.to_string());
        }
        if let Some(bucket) = self.bucket.as_ref().filter(|bucket| bucket.id != attributes.bucket_id) {
            bucket.admit(attributes.size, &attributes.content_type, None)?;
            if bucket.policy.pictures_only && attributes.media.is_none() {
                let why =
                    "the bucket takes only pictures that can be read, and of this file nobody knows that it is one";
                return Err(Error::Unfit(why.into()));
            }
            (attributes.bucket_id, attributes.bucket) = (bucket.id, bucket.name.clone());
        }
        Ok(before != (attributes.owner_id, attributes.bucket_id))
    }
}

/// The refusal of a name that another live file has, which is named to who may know of it.
pub(crate) fn taken(caller: &Caller, by: &File) -> Error {
    let Attributes { id, owner_id, name, .. } = &by.attributes;
    Error::NameTaken { name: name.clone(), by: caller.sees(*owner_id).then_some(*id) }
}

/// Why a sidecar was not replaced.
enum Refused {
    Outranked(String),
    /// Nothing was written.
    Other(Error),
    Store(StoreError),
}

impl From<StoreError> for Refused {
    fn from(error: StoreError) -> Self {
        Self::Store(error)
    }
}

/// Where a change is durable.
enum Reached {
    /// Beside a copy.
    Beside(usize),
    /// As an overlay.
    Over(Place),
}

enum Next {
    /// As it will be; epoch and version as it was.
    Changed(File, (u64, u64), Option<NameClaim>),
    Unchanged(File),
    /// Another has the name, and the ledger may say who.
    Waits(Option<NodeId>),
}

impl Node {
    /// Steps 2 to 4.
    async fn write_change(
        self: &Arc<Self>,
        mut file: File,
        was: (u64, u64),
        claim: Claim,
        name: Option<NameClaim>,
    ) -> Result<File> {
        let reached = match self.write_attributes(&file).await {
            Ok(reached) => reached,
            Err(error @ Error::Fenced(_)) => return Err(error),
            Err(error @ Error::Indeterminate(_)) => {
                self.settle_claim_later(claim, self.late_for(), name);
                return Err(error);
            }
            Err(error) => {
                self.release(&claim).await;
                return Err(error);
            }
        };
        let is_beside = |place| matches!(&reached, Reached::Beside(beside) if *beside == place);
        let mut copies = self.left_behind(&file.copies, is_beside);
        // Another bucket may want it on other stores.
        let wanted = self.with_wanted(&file.attributes.bucket, file.copies.clone());
        copies.extend(wanted.into_iter().filter(|wanted| !file.copies.contains(wanted)));
        let entry = Entry::Attributes { attributes: Box::new(file.attributes.clone()), copies: copies.clone() };
        match self.record(Some(entry), Some(claim.id)).await {
            Ok(Recorded::Tombstoned) => Err(Error::Gone),
            Ok(_) => {
                self.reconcile_unless_awaited(&file.attributes, &copies);
                if let Reached::Over(place) = reached {
                    self.drop_overlay_before(place, file.attributes.id, was);
                }
                file.copies.retain(|copy| !copies.iter().any(|news| news.store == copy.store));
                file.copies.extend(copies);
                file.copies.sort_by_key(|copy| copy.store);
                Ok(file)
            }
            Err(error) => {
                self.settle_claim_later(claim, Duration::ZERO, name);
                Err(error)
            }
        }
    }

    /// Step 2: durable on at least one store. An error other than `Indeterminate` means that nothing happened.
    async fn write_attributes(&self, file: &File) -> Result<Reached> {
        let attributes = &file.attributes;
        let mut uncertain = None::<StoreError>;
        for (index, place) in self.order_of_changing(file) {
            match self.replace_sidecar(place, attributes).await {
                Ok(()) => return Ok(Reached::Beside(index)),
                Err(Refused::Outranked(why)) => return Err(self.outranked(why)),
                Err(Refused::Other(error)) => {
                    return Err(uncertain.map_or(error, |cause| Error::Indeterminate(cause.into())));
                }
                Err(Refused::Store(error)) if nothing_happened(error.kind()) => {}
                Err(Refused::Store(error)) => uncertain = uncertain.or(Some(error)),
            }
        }
        Ok(Reached::Over(self.put_overlay(attributes, uncertain).await?.clone()))
    }

    /// Deletes the overlay that came before one which is durable on the same store, if there is one. One that stays is harmless.
    fn drop_overlay_before(&self, place: Place, id: FileId, was: (u64, u64)) {
        if !place.mode.changes() {
            return;
        }
        let key = layout::overlay(id, was.0, was.1);
        self.environment.spawn.spawn(Box::pin(async move {
            if let Err(error) = place.store.delete(&key).await {
                tracing::debug!(%key, store = %place.name, %error, "an outranked overlay stays");
            }
        }));
    }

    /// The places of a file's copies that take changes, in the order of reading; those that can't be read last.
    fn order_of_changing(&self, file: &File) -> Vec<(usize, &Place)> {
        let order = self.order_of_reading(&file.attributes.bucket);
        let copy_on = |place: &Place| file.copies.iter().find(|copy| copy.store == place.id);
        let copies = order.into_iter().filter_map(|index| Some((index, copy_on(&self.places[index])?)));
        let mut copies: Vec<_> =
            copies.filter(|(_, copy)| !matches!(copy.state, CopyState::Pending | CopyState::Dropping)).collect();
        copies.sort_by_key(|(_, copy)| !copy.is_readable());
        let places = copies.into_iter().map(|(index, _)| (index, &self.places[index]));
        places.filter(|(_, place)| place.mode.changes()).collect()
    }

    /// Puts attributes as an overlay on the first store that takes it. `uncertain` is an attempt before that may still count.
    async fn put_overlay(&self, attributes: &Attributes, mut uncertain: Option<StoreError>) -> Result<&Place> {
        let key = layout::overlay(attributes.id, attributes.epoch, attributes.version);
        let mut refused = Error::ReadOnly("no store takes attributes".into());
        for place in self.places.iter().filter(|place| place.mode.creates()) {
            let put = async {
                place.confirm().await?;
                place.store.put(&key, attributes.to_bytes().into(), PutOptions::create()).await
            };
            match self.soon(place, &key, put).await {
                Ok(_) => return Ok(place),
                Err(error) if *error.kind() == ErrorKind::AlreadyExists => {
                    return Err(self.outranked(format!("the store `{}` has an overlay of this rank", place.name)));
                }
                Err(error) if nothing_happened(error.kind()) => refused = error.into(),
                Err(error) => uncertain = uncertain.or(Some(error)),
            }
        }
        Err(uncertain.map_or(refused, |cause| Error::Indeterminate(cause.into())))
    }

    /// Replaces the sidecar, having looked that what lies there is older: else this database is an older copy.
    async fn replace_sidecar(&self, place: &Place, attributes: &Attributes) -> Result<(), Refused> {
        let sidecar = attributes.sidecar();
        let mut mode = PutMode::Replace;
        match self.sidecar_there(place, &sidecar).await {
            Ok((bytes, etag)) => {
                if place.store.staging().is_none() {
                    mode = PutMode::ReplaceIf(etag);
                }
                if let Ok(found) = Attributes::from_bytes(&bytes)
                    && (found.epoch, found.version) >= (attributes.epoch, attributes.version)
                {
                    return Err(Refused::Outranked(format!("a store has version {} of {}", found.version, found.id)));
                }
            }
            Err(error) if error.is_not_found() => {
                place.confirm().await?;
                self.check_not_buried(attributes).await?;
                if place.store.staging().is_none() {
                    mode = PutMode::Create;
                }
            }
            Err(error) => return Err(error.into()),
        }
        let put = place.store.put(&sidecar, attributes.to_bytes().into(), PutOptions { mode, ..PutOptions::replace() });
        self.soon(place, &sidecar, put).await?;
        Ok(())
    }

    /// A missing sidecar may have been purged by who serves the current database, while this one is an older copy: its tombstone lies
    /// on a store, and our ledger has none. Costs a listing of the tombstones.
    async fn check_not_buried(&self, attributes: &Attributes) -> Result<(), Refused> {
        for revision in [None, Some(attributes.revision)] {
            let id = attributes.id;
            for place in &self.places {
                if place.tombstones_of(id, revision).await?.is_empty() {
                    continue;
                }
                return Err(match self.ledger.tombstone(id, revision).await.map_err(Error::from) {
                    Ok(None) => Refused::Outranked(format!("{id} was purged, which this database does not know")),
                    // By a node that took this one for dead.
                    Ok(Some(_)) => Refused::Other(Error::Gone),
                    Err(error) => Refused::Other(error),
                });
            }
        }
        Ok(())
    }

    pub(crate) async fn sidecar_there(&self, place: &Place, sidecar: &Key) -> Result<(Bytes, ETag), StoreError> {
        let object = place.store.get(sidecar, GetOptions::default()).await?;
        let etag = object.meta.etag.clone();
        let body = Body::once(object.body, Some(object.meta.size)).collect(Attributes::BYTES_MAX).await;
        let failed = |cause| StoreError::new(Op::Get, sidecar, &place.store, ErrorKind::Unavailable).because(cause);
        Ok((body.map_err(failed)?, etag))
    }

    /// A version that was given to us lies on a store already: whoever gave it is an older copy of the database.
    fn outranked(&self, why: String) -> Error {
        self.state().fence(why.clone());
        Error::Fenced(why)
    }

    /// Settles a claim of this node in the background, once `late` has passed, in which its request may still take effect. Its name
    /// is kept until then.
    pub(crate) fn settle_claim_later(self: &Arc<Self>, claim: Claim, late: Duration, name: Option<NameClaim>) {
        let node = self.clone();
        let over = self.environment.clock.elapsed() + late;
        self.settle_until_done(move || {
            let _held_until_then = &name;
            let (node, claim) = (node.clone(), claim.clone());
            async move {
                let clock = &node.environment.clock;
                clock.sleep(over.saturating_sub(clock.elapsed())).await;
                node.settle_claim(&claim).await
            }
        });
    }
}

fn apply(patch: &Patch, attributes: &mut Attributes) -> Result<bool> {
    if attributes.deleted_at.is_some() {
        return Err(Error::NotFound("file"));
    }
    let before = attributes.clone();
    if let Some(name) = &patch.name {
        check_name(name)?;
        attributes.name.clone_from(name);
    }
    if let Some(tags) = &patch.tags {
        check_tags(tags)?;
        attributes.tags.clone_from(tags);
    }
    match &patch.metadata {
        None => {}
        Some(Value::Null) => attributes.metadata.clear(),
        Some(Value::Object(patch)) => merge(&mut attributes.metadata, patch.clone()),
        Some(_) => return Err(Error::invalid("metadata", "metadata is an object")),
    }
    if let Some(focal) = patch.focal {
        apply_focal(focal, attributes)?;
    }
    check_user_bytes(&attributes.name, &attributes.tags, &attributes.metadata)?;
    Ok(before != *attributes)
}

fn apply_focal(focal: Option<[f64; 2]>, attributes: &mut Attributes) -> Result<()> {
    if focal.is_some_and(|point| point.iter().any(|at| !(0.0..=1.0).contains(at))) {
        return Err(Error::invalid("focal", "x and y are expected, each from 0 to 1"));
    }
    let Some(Value::Object(media)) = &mut attributes.media else {
        return match focal {
            None => Ok(()),
            Some(_) => Err(Error::invalid("focal", "the file is no picture that is known")),
        };
    };
    // Four digits are a pixel in 10,000, and one text for one point.
    // (and zero is never negative)
    let rounded = focal.map(|point| point.map(|at| (at * 10_000.0).round() / 10_000.0 + 0.0));
    match rounded {
        Some(point) => media.insert(FOCAL.into(), json!(point)),
        None => media.remove(FOCAL),
    };
    Ok(())
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
