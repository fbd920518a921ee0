//! Create and replace: content arrives first and is durable before anything else is written; then its attributes; both are
//! published (**the commit point**), then recorded, then answered, then the staged parts are discarded.
//!
//! 1. Stage the bytes, hashed as they pass.
//! 2. Stage the attributes; content of at most 64 KiB together with them.
//! 3. Publish bytes, then attributes, create-only.
//! 4. Record.
//! 5. Answer.
//! 6. Discard.
//!
//! Where the store has no room, takes nothing or is away at 2, content that is still at hand, and claims no name, goes to the next of its
//! placement that stages; and other content goes there first for a minute. What is left behind is a staged part, of which nothing is
//! published.
//!
//! A crash before 3 leaves nothing but staged parts, one after 3 a file that the next start records. Where a store does not stage,
//! the steps are those of `intents`.

use crate::{
    Attributes, Bucket, BucketPolicy, Caller, CopyTo, CreatedByKey, Error, Examination, FileId, Files, IdempotencyKey,
    NewFile, Receive, Received, Result, Role, Sha256, Timestamp, Unfit, UserId, canonical,
    committer::{Commit, CommitError},
    content_type,
    files::{Created, File, Node},
    intents::Lease,
    layout,
    ledger::{CopyRow, CopyState, Entry, Made, Purpose, Record, Recorded, Reservation, Upload},
    marker::not_before,
    name_claim::{ClaimedFor, NameClaim},
    on_conflict::Terms,
};
use futures_util::{StreamExt, TryStreamExt};
use larder_storage_core::{
    Body, Digests, Error as StoreError, ErrorKind, Hasher, Key, OpId, Pair, Part, PutOptions, Staged,
};
use serde_json::{Value, json};
use std::{
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};
use tokio::sync::oneshot;

/// How long an idempotency key is remembered.
const KEY_LIFE: Duration = Duration::from_secs(24 * 60 * 60);
/// Content up to this size that is at hand is staged together with its attributes, in one step.
const SMALL_MAX: usize = 64 << 10;
/// For so long new content goes elsewhere first, where a store had no room for it, or took nothing.
const REFUSES_FOR: Duration = Duration::from_secs(60);
/// An owner seen so long ago may have gone since.
pub(crate) const OWNER_FRESH: Duration = Duration::from_secs(1);
const TAGS_MAX: usize = 64;
/// What is known of content has at most so many bytes as canonical JSON, without a focal point.
const MEDIA_BYTES_MAX: usize = 160;
/// Metadata nests at most so deep: every reader of the attributes must get to its bottom.
const DEPTH_MAX: usize = 32;

/// Discards what was received when it is dropped before it became a file's.
pub(crate) struct Discard {
    node: Arc<Node>,
    place: usize,
    op: OpId,
    /// Where the store does not stage, of bytes that were put.
    lease: Option<Arc<Lease>>,
    reservation: Option<HeldKey>,
    armed: bool,
    /// Dropped once it is discarded, or a file's.
    over: Option<oneshot::Sender<()>>,
}

/// An idempotency key that is one operation's of this node, given up when it is dropped before it became a file's. No other operation
/// of this node asks for it meanwhile: who gives it up, and is not told that it is free, tries again, and must not take a repeat's.
pub(crate) struct HeldKey {
    node: Arc<Node>,
    key: Sha256,
    /// Whether it may be in the ledger, and this operation's to give up.
    reserved: bool,
}

impl std::fmt::Debug for Discard {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Discard({})", self.op)
    }
}

impl Drop for Discard {
    fn drop(&mut self) {
        if !self.armed {
            return;
        }
        let (node, place, op) = (self.node.clone(), self.place, self.op.clone());
        let (lease, reservation, over) = (self.lease.take(), self.reservation.take(), self.over.take());
        self.node.environment.spawn.spawn(Box::pin(async move {
            node.give_back(lease.as_deref(), reservation).await;
            drop(over);
            if lease.is_none() {
                node.discard_staged(place, &op).await;
            }
        }));
    }
}

impl Discard {
    fn new(node: Arc<Node>, place: usize, op: OpId, reservation: Option<HeldKey>) -> Self {
        Self { node, place, op, lease: None, reservation, armed: true, over: None }
    }

    /// Ends once an idempotency key, if there is one, is free again or a file's: who is refused may repeat at once.
    fn key_is_free(&mut self) -> impl Future<Output = ()> + Send + use<> {
        let (over, is_over) = oneshot::channel();
        let waits = self.reservation.is_some();
        self.over = waits.then_some(over);
        async move {
            if waits {
                // Nothing is ever sent.
                let _ = is_over.await;
            }
        }
    }
}

impl HeldKey {
    /// It is a file's, or its intent's to give up.
    pub(crate) fn pass_on(mut self) {
        self.reserved = false;
    }

    /// Gives it up; where that does not come through, until it does.
    async fn give_up(mut self) {
        match self.node.ledger.unreserve(self.key, &self.node.node).await {
            Ok(()) => self.reserved = false,
            Err(error) => tracing::warn!(%error, "an idempotency key is to be given up later"),
        }
    }
}

impl std::fmt::Debug for HeldKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "HeldKey({})", self.key)
    }
}

impl Drop for HeldKey {
    fn drop(&mut self) {
        let (node, key) = (self.node.clone(), self.key);
        if !self.reserved {
            node.names().remove(&key);
            return;
        }
        self.node.environment.spawn.spawn(Box::pin(async move {
            node.until_done(|| async { Ok(node.ledger.unreserve(key, &node.node).await?) }).await;
            node.names().remove(&key);
        }));
    }
}

/// Since when an idempotency key may have been used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Since {
    /// Also before a store was left out of the index, which may know of it.
    Anytime,
    /// Since the ledger has been there.
    TheLedger,
}

/// An idempotency key as it was found when its request came.
#[derive(Debug)]
pub(crate) struct Reserved {
    pub(crate) key: Sha256,
    pub(crate) request: Sha256,
    /// Whether its hash says all that the request asks for: of a copy it does, whatever its source has become since.
    pub(crate) says_all: bool,
    pub(crate) done: Option<(Sha256, u16, Made)>,
    held: Option<HeldKey>,
}

impl Reserved {
    /// Gives the key up: nothing is done under it.
    pub(crate) async fn give_up(mut self) {
        if let Some(held) = self.held.take() {
            held.give_up().await;
        }
    }
}

/// Content that has arrived.
struct Arrived {
    staged: Staged,
    head: bytes::Bytes,
    small: Option<bytes::Bytes>,
    media: Option<Value>,
}

/// A look at content on its way, shared with the stream that it passes in.
#[derive(Clone)]
struct Watched(Arc<Mutex<Option<Box<dyn Examination>>>>);

impl Watched {
    fn new(examination: Option<Box<dyn Examination>>) -> Self {
        Self(Arc::new(Mutex::new(examination)))
    }

    fn is_idle(&self) -> bool {
        self.with(|examination| examination.is_none())
    }

    fn look_at(&self, block: &bytes::Bytes) {
        self.with(|examination| {
            if let Some(examination) = examination {
                examination.look_at(block);
            }
        });
    }

    /// The same body, looked at as it passes.
    async fn beside(self, body: Body) -> Result<Body> {
        if let Some(bytes) = body.as_bytes() {
            self.look_at(bytes);
            return Ok(body);
        }
        let size = body.size();
        let stream = body.into_stream().await.map_err(Error::Body)?.inspect_ok(move |block| self.look_at(block));
        Ok(Body::once(stream.boxed(), size))
    }

    /// What it is, once all of it has passed.
    async fn finish(self) -> Result<Option<Value>> {
        match self.with(Option::take) {
            Some(examination) => match examination.finish().await {
                // What is larger would leave no room for what can still be done with the file.
                Ok(media) => Ok(media.filter(|media| canonical(media).len() <= MEDIA_BYTES_MAX)),
                Err(Unfit::NotAsItSays(why)) => Err(Error::Unfit(why)),
                Err(Unfit::Later) => Err(Error::Busy),
            },
            None => Ok(None),
        }
    }

    fn with<T>(&self, look: impl FnOnce(&mut Option<Box<dyn Examination>>) -> T) -> T {
        look(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// What is published and recorded as one: the second half of a create or replace.
pub(crate) struct Revision {
    place: usize,
    attributes: Attributes,
    op: OpId,
    /// Content that is not staged yet.
    small: Option<bytes::Bytes>,
    closes: Option<crate::ledger::Claim>,
    reservation: Option<HeldKey>,
    /// Where the store does not stage, once something was to be put there.
    lease: Option<Arc<Lease>>,
    /// The name that it is to bear, where no other may; kept until it is known what became of it.
    name: Option<NameClaim>,
}

/// Why a revision was not published.
enum Refused {
    /// Nothing of it is anywhere but in staging.
    Unpublished(Box<Revision>, Error),
    /// It is over, or settled later.
    Answered(Error),
}

impl Files {
    /// Streams content to the store of its bucket. It is hashed and durable (or small and at hand) when this returns, but no file's
    /// yet.
    ///
    /// # Errors
    /// `NotFound` of the bucket or owner, `TooLarge`, `Body`, `Full`, `StoreUnavailable`, `ReadOnly`, `Running`.
    pub async fn receive(&self, caller: &Caller, receive: Receive, body: Body) -> Result<Received> {
        self.0.begin_change().await?;
        let bucket = self.bucket(&receive.bucket)?;
        let owner = self.owner(caller, receive.owner.as_ref()).await?;
        let place = self.0.place_for(&bucket)?;
        self.0.check_is_there(place).await?;
        let reserved = match &receive.idempotency {
            Some(key) => Some(self.reserve(caller, key.clone()).await?),
            None => None,
        };
        self.receive_for(place, bucket, owner, &receive.name_hint, body, reserved).await
    }

    /// Streams the content of a new revision of a file.
    ///
    /// # Errors
    /// As [`Files::receive`]; `NotFound` of a file in the trash too.
    pub async fn receive_revision(&self, caller: &Caller, id: FileId, body: Body) -> Result<Received> {
        self.0.begin_change().await?;
        let attributes = self.live(caller, id).await?.attributes;
        let bucket = self.bucket(attributes.bucket.as_str())?;
        let place = self.0.place_for(&bucket)?;
        self.0.check_is_there(place).await?;
        let name = crate::UserName::new(&attributes.owner).map_err(Error::internal)?;
        let owner = Caller { id: attributes.owner_id, name, role: Role::User };
        self.receive_for(place, bucket, owner, &attributes.name, body, None).await
    }

    /// Refuses what [`Files::create`] would refuse whatever the content is.
    ///
    /// # Errors
    /// `Invalid` names the field.
    pub fn check_new(new: &NewFile) -> Result<()> {
        check_name(&new.name)?;
        check_user_part(new)
    }

    /// Makes a file of what was received.
    ///
    /// # Errors
    /// `Invalid` names the field, `DigestMismatch`, `UnsupportedType`, `KeyReused`, `NameTaken`, `PreconditionFailed`; nothing is kept
    /// then. `Busy`, where another has the name for too long, `Indeterminate`.
    pub async fn create(&self, caller: &Caller, mut received: Received, new: NewFile) -> Result<Created> {
        let key_is_free = received.guard.key_is_free();
        let created = self.create_or_drop(caller, received, new).await;
        if created.is_err() {
            key_is_free.await;
        }
        created
    }

    async fn create_or_drop(&self, caller: &Caller, mut received: Received, mut new: NewFile) -> Result<Created> {
        Self::check_new(&new)?;
        self.check_content(&mut received, &new.name, new.sha256, new.declared_type.clone())?;
        self.check_owner(&received).await?;
        let fingerprint = received.idempotency.as_ref().map(|reserved| fingerprint(reserved, &new, &received));
        if let (Some(reserved), Some(fingerprint)) = (&received.idempotency, fingerprint)
            && let Some(done) = reserved.done
        {
            return self.repeat(caller, done, fingerprint).await;
        }
        let terms = Terms { on_conflict: new.on_conflict, if_match: new.if_match.take() };
        let attributes = self.0.new_attributes(&received, new, fingerprint);
        check_readable(&attributes)?;
        if terms.heed(received.bucket.policy.names) {
            let (files, caller) = (self.clone(), caller.clone());
            return self.complete(async move { files.create_named(&caller, received, attributes, terms).await }).await;
        }
        let revision = received.into_revision(attributes, None, None);
        let node = self.0.clone();
        let file = self.complete(async move { node.publish(revision).await }).await?;
        Ok(Created { file, repeated: None, replaced: false })
    }

    /// Makes a new file of the caller's from a live file's newest content, tags and metadata; in its bucket and under its name, unless
    /// others are given. The bytes are read, checked and stored once more, so it costs as much as an upload.
    ///
    /// # Errors
    /// As [`Files::open`], [`Files::receive`] and [`Files::create`]; nothing is kept then.
    pub async fn copy(&self, caller: &Caller, id: FileId, to: CopyTo) -> Result<Created> {
        self.0.begin_change().await?;
        let CopyTo { bucket, name, idempotency } = to;
        let mut reserved = None;
        if let Some(key) = idempotency {
            let found = Reserved { says_all: true, ..self.reserve(caller, key).await? };
            // Looked at before the source, which may have changed since, or gone.
            if let Some(done) = found.done {
                return self.repeat(caller, done, found.request).await;
            }
            reserved = Some(found);
        }
        let file = self.live(caller, id).await?;
        let (content, attributes) = (self.open(caller, &file, None, None).await?, file.attributes);
        let name = name.unwrap_or(attributes.name);
        let bucket = self.bucket(bucket.as_deref().unwrap_or(attributes.bucket.as_str()))?;
        let place = self.0.place_for(&bucket)?;
        self.0.check_is_there(place).await?;
        let body = Body::once(content.body, Some(attributes.size));
        let received = match self.receive_for(place, bucket, caller.clone(), &name, body, reserved).await {
            // It is ours that broke off.
            Err(Error::Body(cause)) => return Err(Error::StoreUnavailable(Some(cause))),
            received => received?,
        };
        // Who purged it meanwhile was told that it is gone.
        self.live(caller, id).await?;
        let (tags, metadata, media) = (attributes.tags, attributes.metadata, attributes.media);
        let new = NewFile { name, tags, metadata, media, sha256: Some(attributes.sha256), ..NewFile::default() };
        self.create(caller, received, new).await
    }

    /// Gives a file a new revision of what was received; the old ones stay. `if_match` lists the hashes that its content may have
    /// now (empty: it must exist, no more).
    ///
    /// # Errors
    /// As [`Files::create`]; `NotFound`, `Gone`, `Busy`, `PreconditionFailed`.
    pub async fn replace(
        &self,
        caller: &Caller,
        id: FileId,
        mut received: Received,
        sha256: Option<Sha256>,
        if_match: Option<Vec<Sha256>>,
    ) -> Result<File> {
        let file = self.live(caller, id).await?;
        self.check_content(&mut received, &file.attributes.name, sha256, None)?;
        let (files, caller) = (self.clone(), caller.clone());
        self.complete(async move {
            let claim = files.0.claim(id, Purpose::Change).await?;
            let attributes = match files.revised(&caller, id, &received, &claim, if_match.as_deref()).await {
                Ok(attributes) => attributes,
                Err(error) => {
                    files.0.release(&claim).await;
                    return Err(error);
                }
            };
            files.0.publish(received.into_revision(attributes, Some(claim), None)).await
        })
        .await
    }

    /// The attributes of the next revision, from the file's present ones; read under the claim.
    pub(crate) async fn revised(
        &self,
        caller: &Caller,
        id: FileId,
        received: &Received,
        claim: &crate::ledger::Claim,
        if_match: Option<&[Sha256]>,
    ) -> Result<Attributes> {
        let now = self.live(caller, id).await?.attributes;
        if if_match.is_some_and(|hashes| !hashes.is_empty() && !hashes.contains(&now.sha256)) {
            return Err(Error::PreconditionFailed { version: now.version });
        }
        // It may have been moved while its content arrived.
        self.bucket(now.bucket.as_str())?.admit(received.size, &received.content_type, None)?;
        let at = not_before(self.0.environment.clock.now(), now.updated_at);
        let next = Attributes {
            key: received.key.clone(),
            op: received.op.to_string(),
            revision: claim.revision,
            epoch: self.0.epoch,
            version: claim.version,
            size: received.size,
            sha256: received.sha256(),
            crc64nvme: received.digests.crc64nvme,
            content_type: received.content_type.clone(),
            revised_at: at,
            updated_at: at,
            media: received.media.clone(),
            created_by_key: carried(now.created_by_key.as_ref(), at),
            ..now
        };
        check_readable(&next)?;
        Ok(next)
    }

    /// Reserves an idempotency key, to its end: a client that goes away meanwhile leaves it free.
    pub(crate) async fn reserve(&self, caller: &Caller, key: IdempotencyKey) -> Result<Reserved> {
        let (node, caller) = (self.0.clone(), caller.id);
        self.complete(async move { node.reserve(caller, &key).await }).await
    }

    pub(crate) async fn owner(&self, caller: &Caller, named: Option<&crate::UserName>) -> Result<Caller> {
        match named {
            None => Ok(caller.clone()),
            Some(name) if *name == caller.name => Ok(caller.clone()),
            Some(_) if caller.role != Role::Admin => Err(Error::Forbidden("only admins may name another owner")),
            Some(name) => {
                let unknown = || Error::invalid("owner", format!("there is no user `{name}`"));
                self.owner_named(name.as_str()).await?.ok_or_else(unknown)
            }
        }
    }

    /// Refuses a file for an owner who went while its content arrived. Who was there a moment ago is not asked about again.
    pub(crate) async fn check_owner(&self, received: &Received) -> Result<()> {
        let clock = &self.0.environment.clock;
        if clock.elapsed().saturating_sub(received.owner_seen) < OWNER_FRESH {
            return Ok(());
        }
        match self.user(received.owner.id).await? {
            Some(user) if user.gone_at.is_some() => Err(Error::Forbidden("the owner was deleted meanwhile")),
            _ => Ok(()),
        }
    }

    pub(crate) async fn receive_for(
        &self,
        place: usize,
        bucket: Bucket,
        owner: Caller,
        name_hint: &str,
        body: Body,
        mut idempotency: Option<Reserved>,
    ) -> Result<Received> {
        let node = &self.0;
        let (received_at, owner_seen) = (node.environment.clock.now(), node.environment.clock.elapsed());
        let op = OpId::from_random(node.environment.random());
        let key = layout::bytes_key(&node.environment, &bucket.name, &owner.name, received_at, name_hint);
        let reservation = idempotency.as_mut().and_then(|reserved| reserved.held.take());
        let mut guard = Discard::new(node.clone(), place, op.clone(), reservation);
        let Arrived { staged, head, small, media } =
            match node.write_bytes(&mut guard, &key, (&bucket.policy, name_hint), body).await {
                Ok(arrived) => arrived,
                Err(error) => {
                    node.note_refusal(place, &error);
                    let key_is_free = guard.key_is_free();
                    drop(guard);
                    key_is_free.await;
                    return Err(error);
                }
            };
        let content_type = content_type::of(&head, name_hint).to_owned();
        let Staged { size, digests } = staged;
        Ok(Received {
            op,
            size,
            digests,
            content_type,
            head,
            small,
            media,
            bucket,
            owner,
            owner_seen,
            place,
            key,
            guard,
            idempotency,
        })
    }

    fn check_content(
        &self,
        received: &mut Received,
        name: &str,
        announced: Option<Sha256>,
        declared: Option<String>,
    ) -> Result<()> {
        if let Some(expected) = announced
            && expected != received.sha256()
        {
            return Err(Error::DigestMismatch { expected, found: received.sha256() });
        }
        received.content_type = content_type::of(&received.head, name).to_owned();
        received.bucket.admit(received.size, &received.content_type, declared)
    }

    /// The answer to a request that was answered before.
    pub(crate) async fn repeat(
        &self,
        caller: &Caller,
        done: (Sha256, u16, Made),
        fingerprint: Sha256,
    ) -> Result<Created> {
        let (Made::File(id), status) = (done.2, done.1) else { return Err(Error::KeyReused) };
        if done.0 != fingerprint {
            return Err(Error::KeyReused);
        }
        match self.describe(caller, id).await {
            Ok(file) => {
                let node = self.0.clone();
                let file = self.complete(async move { node.make_safe(file).await }).await?;
                Ok(Created { file, repeated: Some(status), replaced: false })
            }
            Err(Error::NotFound(_)) => Err(Error::Gone),
            Err(error) => Err(error),
        }
    }
}

impl Bucket {
    /// Refuses content that its policy does not take.
    pub(crate) fn admit(&self, size: u64, content_type: &str, declared: Option<String>) -> Result<()> {
        let max = self.policy.max_bytes;
        if size > max {
            return Err(Error::TooLarge { max });
        }
        if !self.policy.takes(content_type) {
            let (bucket, found) = (self.name.to_string(), content_type.to_owned());
            return Err(Error::UnsupportedType { bucket, found, declared });
        }
        Ok(())
    }
}

impl Received {
    pub(crate) fn into_revision(
        mut self,
        attributes: Attributes,
        closes: Option<crate::ledger::Claim>,
        name: Option<NameClaim>,
    ) -> Revision {
        // From here on the revision's own steps decide what becomes of the staged parts.
        self.guard.armed = false;
        let (reservation, lease) = (self.guard.reservation.take(), self.guard.lease.take());
        Revision { place: self.place, attributes, op: self.op, small: self.small, closes, reservation, lease, name }
    }
}

impl Node {
    /// Where new content of a bucket goes, if there are enough stores for it.
    pub(crate) fn place_for(&self, bucket: &Bucket) -> Result<usize> {
        let places = self.placement(&bucket.policy);
        let takes = |place: &&usize| self.places[**place].mode.creates();
        // One that is away may be back, and one that is full have room, if no other takes it.
        if let Some(place) = places.iter().filter(takes).min_by_key(|place| self.is_unfit(**place)) {
            return self.check_enough(&bucket.name).map(|()| *place);
        }
        match places.first() {
            Some(first) => Err(Error::ReadOnly(format!("the store `{}` is read-only", self.places[*first].name))),
            None => Err(self
                .check_whole()
                .err()
                .unwrap_or_else(|| Error::internal("a placement names a store that is not configured"))),
        }
    }

    /// Refuses content for a place that was away, unless it shows itself again: a bucket that was emptied, or exchanged, takes it too.
    pub(crate) async fn check_is_there(&self, place: usize) -> Result<()> {
        if !self.state().away.contains(&place) {
            return Ok(());
        }
        self.places[place].confirm().await?;
        self.saw(place, true);
        Ok(())
    }

    /// Whether a place is away, and whether it refused content not long ago.
    fn is_unfit(&self, place: usize) -> (bool, bool) {
        let now = self.environment.clock.elapsed();
        let state = self.state();
        (state.away.contains(&place), state.refusing.get(&place).is_some_and(|until| *until > now))
    }

    /// Has new content go elsewhere first for a while, where a place has no room for it, or takes nothing.
    fn note_refusal(&self, place: usize, error: &Error) {
        if matches!(error, Error::Full(_) | Error::ReadOnly(_)) {
            tracing::warn!(store = %self.places[place].name, %error, "new content goes to another store, if it may");
            let until = self.environment.clock.elapsed() + REFUSES_FOR;
            self.state().refusing.insert(place, until);
        }
    }

    /// Where content goes that is still at hand and was refused with `error` by all of `tried`: the next place of its placement that
    /// stages. A name is claimed for what one store holds: whoever sees the claim looks for it there.
    fn elsewhere(&self, revision: &Revision, tried: &[usize], error: &Error) -> Option<usize> {
        let refused = matches!(error, Error::Full(_) | Error::ReadOnly(_) | Error::StoreUnavailable(_));
        if !refused || revision.small.is_none() || revision.lease.is_some() || revision.name.is_some() {
            return None;
        }
        let stages = |place: &usize| {
            let at = &self.places[*place];
            at.mode.creates() && at.store.staging().is_some() && !tried.contains(place)
        };
        let places = self.placement_of(|bucket| bucket.name == revision.attributes.bucket).into_iter();
        places.filter(stages).min_by_key(|place| self.is_unfit(*place))
    }

    /// Streams bytes to where they wait for their attributes.
    async fn write_bytes(
        self: &Arc<Self>,
        guard: &mut Discard,
        key: &Key,
        (policy, name_hint): (&BucketPolicy, &str),
        body: Body,
    ) -> Result<Arrived> {
        let max = policy.max_bytes;
        if body.size().is_some_and(|size| size > max) {
            return Err(Error::TooLarge { max });
        }
        let (head, body) = content_type::peek(body).await.map_err(Error::Body)?;
        let store = &self.places[guard.place].store;
        let examine = self.settings.examine.as_ref();
        let content_type = content_type::of(&head, name_hint);
        let watched = Watched::new(examine.and_then(|examine| examine.begin(policy, content_type, body.size())));
        if let Some(bytes) = body.as_bytes().filter(|bytes| bytes.len() <= SMALL_MAX) {
            let staged = Staged { size: bytes.len() as u64, digests: Digests::of(bytes) };
            watched.look_at(bytes);
            return Ok(Arrived { staged, head, small: Some(bytes.clone()), media: watched.finish().await? });
        }
        let (body, over) = bounded(body, max).await?;
        let body = if watched.is_idle() { body } else { watched.clone().beside(body).await? };
        let result = match store.staging() {
            Some(staging) => staging.stage(&guard.op, Part::Bytes, body).await.map_err(Error::from),
            None => self.put_bytes(guard, key, body).await,
        };
        match result {
            Ok(staged) => Ok(Arrived { staged, head, small: None, media: watched.finish().await? }),
            Err(_) if over.load(Ordering::Relaxed) => Err(Error::TooLarge { max }),
            Err(error) => Err(error),
        }
    }

    /// The same where the store does not stage: they lie under their key at once, with an intent that says so.
    async fn put_bytes(self: &Arc<Self>, guard: &mut Discard, key: &Key, body: Body) -> Result<Staged> {
        let whole = self.settings.deadlines.whole;
        let upload = self.upload(guard.place, key, whole, guard.reservation.as_ref().map(|held| held.key));
        let lease = guard.lease.insert(Arc::new(self.lease(upload).await?)).clone();
        let (body, digests) = hashing(self.keeping(&lease, body).await?).await?;
        let put = self.places[guard.place].store.put(key, body, PutOptions::create());
        let written = self.send(&lease, whole, put).await?;
        Ok(Staged { size: written.size, digests: take_digests(&digests) })
    }

    /// A file is made when its content is there: its id tells the same time as `created_at`, so one order is both.
    fn new_attributes(&self, received: &Received, new: NewFile, fingerprint: Option<Sha256>) -> Attributes {
        let at = self.environment.clock.now();
        let reserved = received.idempotency.as_ref();
        let created_by_key = reserved.zip(fingerprint).map(|(reserved, request)| CreatedByKey {
            key: reserved.key,
            request,
            status: 201,
            at,
        });
        Attributes {
            larder: 1,
            id: FileId::at(at, &self.environment),
            bucket: received.bucket.name.clone(),
            bucket_id: received.bucket.id,
            owner: received.owner.name.to_string(),
            owner_id: received.owner.id,
            key: received.key.clone(),
            op: received.op.to_string(),
            name: new.name,
            revision: 1,
            epoch: self.epoch,
            version: 1,
            size: received.size,
            sha256: received.sha256(),
            crc64nvme: received.digests.crc64nvme,
            content_type: received.content_type.clone(),
            created_at: at,
            revised_at: at,
            updated_at: at,
            deleted_at: None,
            tags: new.tags,
            metadata: new.metadata,
            media: new.media.or_else(|| received.media.clone()),
            created_by_key,
            unknown: serde_json::Map::new(),
        }
    }

    /// What content that has arrived claims its name for. Where the store does not stage that is its intent, which is opened if it is
    /// not yet.
    pub(crate) async fn claimed_for(self: &Arc<Self>, received: &mut Received) -> Result<ClaimedFor> {
        if let Some(staging) = self.places[received.place].store.staging() {
            // One that was never opened holds no lock of this node: to others it would be dead.
            if self.state().unproven.contains(&received.place) {
                self.places[received.place].confirm().await?;
            }
            return Ok(ClaimedFor::Staged(received.op.clone(), staging.node()));
        }
        let guard = &mut received.guard;
        let lease = match &guard.lease {
            Some(lease) => lease,
            None => {
                let reservation = guard.reservation.as_ref().map(|held| held.key);
                let upload = self.upload(received.place, &received.key, self.settings.deadlines.small, reservation);
                guard.lease.insert(Arc::new(self.lease(upload).await?))
            }
        };
        Ok(ClaimedFor::Intent(lease.hold().intent))
    }

    /// Steps 2 to 6, and as many copies as an answer waits for.
    pub(crate) async fn publish(self: &Arc<Self>, revision: Revision) -> Result<File> {
        let file = self.publish_anywhere(revision).await?;
        self.make_safe(file).await
    }

    async fn publish_anywhere(self: &Arc<Self>, mut revision: Revision) -> Result<File> {
        let mut tried = vec![];
        loop {
            tried.push(revision.place);
            let (refused, error) = match self.publish_here(revision).await {
                Ok(file) => return Ok(file),
                Err(Refused::Answered(error)) => return Err(error),
                Err(Refused::Unpublished(refused, error)) => (*refused, error),
            };
            revision = refused;
            self.note_refusal(revision.place, &error);
            let Some(place) = self.elsewhere(&revision, &tried, &error) else {
                return Err(self.abandon(revision, error).await);
            };
            self.discard_staged(revision.place, &revision.op).await;
            revision.place = place;
        }
    }

    /// Steps 2 to 6 on the revision's place.
    async fn publish_here(self: &Arc<Self>, mut revision: Revision) -> Result<File, Refused> {
        let copies = self.with_wanted(&revision.attributes.bucket, vec![self.copy_verified(revision.place)]);
        let entry = Entry::Attributes { attributes: Box::new(revision.attributes.clone()), copies: copies.clone() };
        let record =
            Record { entry: Some(entry), closes: revision.closes.as_ref().map(|claim| claim.id), settles: None };
        match self.place_and_record(&mut revision, record).await {
            Ok(Recorded::Tombstoned) => {
                // Purged by a node that took this one for dead. What was published is garbage by its tombstone.
                self.settle_later(revision);
                Err(Refused::Answered(Error::Gone))
            }
            Ok(_) => {
                self.reconcile_unless_awaited(&revision.attributes, &copies);
                revision.reservation.take().into_iter().for_each(HeldKey::pass_on);
                if revision.lease.is_some() {
                    return Ok(File { attributes: revision.attributes, copies });
                }
                self.discard_soon(revision.place, revision.op);
                Ok(File { attributes: revision.attributes, copies })
            }
            Err(CommitError::Unpublished(error)) => Err(Refused::Unpublished(Box::new(revision), error)),
            Err(CommitError::Unsettled(error)) => {
                self.settle_later(revision);
                Err(Refused::Answered(error))
            }
        }
    }

    /// Steps 2 to 4: staged and published together with others; or, where a store does not stage, put beside the bytes at once.
    async fn place_and_record(
        self: &Arc<Self>,
        revision: &mut Revision,
        record: Record,
    ) -> Result<Recorded, CommitError> {
        let bytes = revision.attributes.to_bytes();
        let store = &self.places[revision.place].store;
        let pair = revision.pair();
        match store.staging() {
            Some(staging) => {
                let staged = match &revision.small {
                    Some(content) => staging.stage_pair(&revision.op, content.clone(), bytes.into()).await,
                    None => staging.stage(&revision.op, Part::Attributes, bytes.into()).await.map(drop),
                };
                staged.map_err(|error| CommitError::Unpublished(error.into()))?;
                self.commit(Commit { place: revision.place, pair, record }).await
            }
            None => {
                let lease = self.put_pair(revision).await?;
                let record = Record { settles: Some(lease.hold()), ..record };
                self.record_one(record).await.map_err(CommitError::Unsettled)
            }
        }
    }

    /// Puts content that is not there yet, then the attributes: steps 1 to 4 of `intents`.
    async fn put_pair(self: &Arc<Self>, revision: &mut Revision) -> Result<Arc<Lease>, CommitError> {
        let lease = self.lease_of(revision).await.map_err(CommitError::Unpublished)?;
        let (store, attributes) = (&self.places[revision.place].store, &revision.attributes);
        if let Some(content) = revision.small.take() {
            let put = store.put(&attributes.key, content.into(), PutOptions::create());
            self.send(&lease, self.settings.deadlines.small, put).await.map_err(CommitError::Unpublished)?;
        }
        let sidecar = attributes.sidecar();
        let put = store.put(&sidecar, attributes.to_bytes().into(), PutOptions::create());
        match self.send(&lease, self.settings.deadlines.small, put).await {
            Ok(_) => Ok(lease),
            Err(error) if lease.is_unsure() => Err(CommitError::Unsettled(Error::Indeterminate(Box::new(error)))),
            Err(error) => Err(CommitError::Unpublished(error)),
        }
    }

    /// The intent, which from here on says what the upload is of.
    async fn lease_of(self: &Arc<Self>, revision: &mut Revision) -> Result<Arc<Lease>> {
        let attributes = &revision.attributes;
        let known = |upload: Upload| Upload {
            revision: Some((attributes.id, attributes.revision)),
            claim: revision.closes.as_ref().map(|claim| claim.id),
            ..upload
        };
        match &revision.lease {
            Some(lease) => {
                // The bytes are answered: what is yet to be sent is small.
                let upload =
                    self.upload(revision.place, &attributes.key, self.settings.deadlines.small, revision.key());
                self.renew(lease, known(upload)).await?;
                Ok(lease.clone())
            }
            None => {
                let upload =
                    self.upload(revision.place, &attributes.key, self.settings.deadlines.small, revision.key());
                let lease = Arc::new(self.lease(known(upload)).await?);
                Ok(revision.lease.insert(lease).clone())
            }
        }
    }

    /// Undoes what can't have been published, and answers `error`.
    async fn abandon(self: &Arc<Self>, revision: Revision, error: Error) -> Error {
        self.give_back(revision.lease.as_deref(), revision.reservation).await;
        if let Some(claim) = &revision.closes {
            self.release(claim).await;
        }
        if revision.lease.is_none() {
            self.discard_soon(revision.place, revision.op);
        }
        error
    }

    /// Settles an operation of this node whose outcome is unknown, by the rules of recovery.
    fn settle_later(self: &Arc<Self>, mut revision: Revision) {
        if let Some(lease) = revision.lease.take() {
            return self.find_out_later(&lease, revision.name.take(), revision.reservation.take());
        }
        let (node, key, revision) = (self.clone(), Mutex::new(revision.reservation.take()), Arc::new(revision));
        let key = Arc::new(key);
        self.settle_until_done(move || {
            let (node, key, revision) = (node.clone(), key.clone(), revision.clone());
            async move {
                let closes = revision.closes.as_ref().map(|claim| claim.id);
                let kept = node.settle_pair(revision.place, &revision.pair(), &revision.attributes, closes).await?;
                let key = key.lock().expect("nothing panics while it holds this lock").take();
                // Dropped, it is given up.
                key.filter(|_| kept).into_iter().for_each(HeldKey::pass_on);
                Ok(())
            }
        });
    }

    pub(crate) fn copy_verified(&self, place: usize) -> CopyRow {
        let verified_at = Some(self.environment.clock.now());
        CopyRow { store: self.places[place].id, state: CopyState::Verified, verified_at }
    }

    /// Frees the idempotency key of what was received and is never published. What was staged is discarded behind that: a disk that
    /// hangs keeps no key.
    async fn give_back(self: &Arc<Self>, lease: Option<&Lease>, reservation: Option<HeldKey>) {
        match (lease, reservation) {
            // The intent has the key: once it has failed, the key may be a repeat's.
            (Some(lease), reservation) => self.give_up(lease, reservation).await,
            (None, Some(reservation)) => reservation.give_up().await,
            (None, None) => {}
        }
    }

    /// Discards what was staged, and lets nobody wait for it.
    fn discard_soon(self: &Arc<Self>, place: usize, op: OpId) {
        let node = self.clone();
        self.environment.spawn.spawn(Box::pin(async move { node.discard_staged(place, &op).await }));
    }

    pub(crate) async fn discard_staged(&self, place: usize, op: &OpId) {
        if let Some(staging) = self.places[place].store.staging()
            && let Err(error) = staging.discard(op).await
        {
            tracing::warn!(%error, "staged parts could not be discarded; the next start does it");
        }
    }

    async fn reserve(self: &Arc<Self>, caller: UserId, key: &IdempotencyKey) -> Result<Reserved> {
        self.reserve_of(caller, key, Since::Anytime).await
    }

    /// The same of a key that may have been used since then.
    pub(crate) async fn reserve_of(
        self: &Arc<Self>,
        caller: UserId,
        key: &IdempotencyKey,
        since: Since,
    ) -> Result<Reserved> {
        if key.key.is_empty() || key.key.chars().count() > 128 {
            return Err(Error::invalid("Idempotency-Key", "an idempotency key has 1 to 128 characters"));
        }
        let request = key.request;
        let key = self.keyed(&[caller.0.as_bytes(), key.key.as_bytes()]);
        if !self.names().insert(key) {
            return Err(Error::Running);
        }
        let mut held = HeldKey { node: self.clone(), key, reserved: true };
        let (mut turn, mut has_looked) = (None, false);
        loop {
            match self.ledger.reserve(key, &self.node, self.remembered_since()).await? {
                Reservation::Made => {
                    // What was made under it may lie on a store that was not read.
                    let is_unread = self.unread_since.is_some_and(|since| since > self.remembered_since());
                    if is_unread && since == Since::Anytime {
                        return Err(self.provisional());
                    }
                    return Ok(Reserved { key, request, says_all: false, done: None, held: Some(held) });
                }
                Reservation::Running { node }
                    if !has_looked && !self.state().is_recovering && !self.is_alive(&node).await? =>
                {
                    // Its client repeats what nobody does any more: what came of it is found out now, not by the next look. By one for
                    // all that were waiting.
                    if turn.is_none() {
                        turn = Some(self.repeats.lock().await);
                        continue;
                    }
                    has_looked = true;
                    // A caller that goes away takes nothing from the others that wait for what was found.
                    let node = self.clone();
                    self.run(async move { node.succeed_the_dead().await }).await?;
                }
                Reservation::Running { .. } => {
                    held.reserved = false;
                    return Err(Error::Running);
                }
                Reservation::Done { request: first, status, made, .. } => {
                    held.reserved = false;
                    return Ok(Reserved {
                        key,
                        request,
                        says_all: false,
                        done: Some((first, status, made)),
                        held: None,
                    });
                }
            }
        }
    }

    /// What was done before is forgotten.
    pub(crate) fn remembered_since(&self) -> Timestamp {
        let life = i64::try_from(KEY_LIFE.as_millis()).expect("a day fits");
        Timestamp::from_millis(self.environment.clock.now().as_millis() - life)
    }
}

impl Received {
    /// Makes nothing of it. Its idempotency key is free when this ends.
    pub(crate) async fn refuse(mut self) {
        let key_is_free = self.guard.key_is_free();
        drop(self);
        key_is_free.await;
    }
}

impl Revision {
    /// The idempotency key that it was asked for with.
    fn key(&self) -> Option<Sha256> {
        self.reservation.as_ref().map(|held| held.key)
    }

    fn pair(&self) -> Pair {
        Pair { op: self.op.clone(), bytes: self.attributes.key.clone(), attributes: self.attributes.sidecar() }
    }
}

/// The record of an idempotent request, while a repeat may come.
pub(crate) fn carried(made: Option<&CreatedByKey>, now: Timestamp) -> Option<CreatedByKey> {
    made.filter(|made| now.since(made.at) < KEY_LIFE).cloned()
}

/// What makes a request the same one: its route and query, its fields and its content.
fn fingerprint(reserved: &Reserved, new: &NewFile, received: &Received) -> Sha256 {
    if reserved.says_all {
        return reserved.request;
    }
    let fields = canonical(&json!({"name": new.name, "tags": new.tags, "metadata": new.metadata}));
    Sha256::of(&[&reserved.request.0[..], &fields, &received.sha256().0].concat())
}

/// `body`, ending in an error once it is over `max` bytes; the flag tells that error from others.
async fn bounded(body: Body, max: u64) -> Result<(Body, Arc<AtomicBool>)> {
    let over = Arc::new(AtomicBool::new(false));
    if body.size().is_some() {
        // Its length is checked against the announced one by whoever reads it.
        return Ok((body, over));
    }
    let (flag, mut seen) = (over.clone(), 0_u64);
    let stream = body.into_stream().await.map_err(Error::Body)?.and_then(move |block| {
        seen += block.len() as u64;
        let result = if seen > max {
            flag.store(true, Ordering::Relaxed);
            Err("the content is over the limit".into())
        } else {
            Ok(block)
        };
        std::future::ready(result)
    });
    Ok((Body::once(stream.boxed(), None), over))
}

/// `body`, with its digests once it has passed.
async fn hashing(body: Body) -> Result<(Body, Arc<Mutex<Hasher>>)> {
    let hasher = Arc::new(Mutex::new(Hasher::new()));
    let (size, sink) = (body.size(), hasher.clone());
    let stream = body.into_stream().await.map_err(Error::Body)?.inspect_ok(move |block| {
        sink.lock().expect("nothing panics while it hashes").update(block);
    });
    Ok((Body::once(stream.boxed(), size), hasher))
}

fn take_digests(hasher: &Mutex<Hasher>) -> Digests {
    std::mem::take(&mut *hasher.lock().expect("nothing panics while it hashes")).finish()
}

/// Checks a user's name for a file.
pub(crate) fn check_name(name: &str) -> Result<()> {
    if name.is_empty() || name.len() > 1024 {
        return Err(Error::invalid("name", format!("a name has 1 to 1,024 bytes, this one has {}", name.len())));
    }
    if let Some(control) = name.chars().find(|c| c.is_control()) {
        return Err(Error::invalid(
            "name",
            format!("a name can't hold the control character U+{:04X}", control as u32),
        ));
    }
    Ok(())
}

fn check_user_part(new: &NewFile) -> Result<()> {
    check_tags(&new.tags)?;
    check_user_bytes(&new.name, &new.tags, &new.metadata)
}

/// Checks tags: at most 64, each of 1 to 128 bytes without control characters, none twice.
pub(crate) fn check_tags(tags: &[String]) -> Result<()> {
    if tags.len() > TAGS_MAX {
        return Err(Error::invalid("tags", format!("a file has at most {TAGS_MAX} tags, these are {}", tags.len())));
    }
    for (index, tag) in tags.iter().enumerate() {
        if tag.is_empty() || tag.len() > 128 || tag.chars().any(char::is_control) {
            return Err(Error::invalid("tags", "a tag has 1 to 128 bytes and no control character"));
        }
        if tags[..index].contains(tag) {
            return Err(Error::invalid("tags", format!("the tag `{tag}` stands there twice")));
        }
    }
    Ok(())
}

/// Checks the user's part of the attributes against its bound.
pub(crate) fn check_user_bytes(
    name: &str,
    tags: &[String],
    metadata: &serde_json::Map<String, serde_json::Value>,
) -> Result<()> {
    if metadata.values().any(|value| depth(value) >= DEPTH_MAX) {
        return Err(Error::invalid("metadata", format!("metadata nests at most {DEPTH_MAX} deep")));
    }
    let (size, max) = (Attributes::user_bytes(name, tags, metadata), Attributes::USER_BYTES_MAX);
    if size > max {
        let message = format!("name, tags and metadata have at most {max} bytes together, these have {size}");
        return Err(Error::invalid("metadata", message));
    }
    Ok(())
}

fn depth(value: &serde_json::Value) -> usize {
    use serde_json::Value;
    match value {
        Value::Array(items) => 1 + items.iter().map(depth).max().unwrap_or(0),
        Value::Object(fields) => 1 + fields.values().map(depth).max().unwrap_or(0),
        _ => 0,
    }
}

/// Refuses attributes that could not be read again, before they are anywhere. Only what JSON is free to hold can be so.
pub(crate) fn check_readable(attributes: &Attributes) -> Result<()> {
    if attributes.metadata.is_empty() && attributes.unknown.is_empty() && attributes.media.is_none() {
        return Ok(());
    }
    Attributes::from_bytes(&attributes.to_bytes()).map(drop).map_err(Error::internal)
}

/// Of two refusals the one to answer by: what may have happened is never hidden by what did not.
pub(crate) fn the_less_certain(first: Option<StoreError>, then: StoreError) -> StoreError {
    match first {
        Some(first) if !nothing_happened(first.kind()) => first,
        _ => then,
    }
}

/// Whether nothing of the operation is on the store: an error that came before anything could happen.
pub(crate) fn nothing_happened(kind: &ErrorKind) -> bool {
    matches!(
        kind,
        ErrorKind::Full
            | ErrorKind::ReadOnly
            | ErrorKind::PermissionDenied
            | ErrorKind::InvalidKey(_)
            | ErrorKind::AlreadyExists
            | ErrorKind::PreconditionFailed
            | ErrorKind::KeyConflict
            | ErrorKind::Unsupported
            | ErrorKind::Withheld
    )
}
