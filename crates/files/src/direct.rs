//! Direct transfers: content that goes straight between a client and a store, under signed URLs.
//!
//! What is sent under one is nobody's file. A URL works until it ends, whatever became of its upload, so it never names what a file
//! rests on: each part of an upload lies at `.larder/incoming/<upload>.<number>`, and completing the upload makes a file of the parts as
//! any other content is made one: read, hashed as it passes, compared with what was announced, and put under a key that no URL was
//! signed for. Where its hash was not announced, or is another one, it is read twice: what was sent is discarded afterwards. So the steps on the stores are those of `create` and `intents`, and what is sent later changes nothing.
//!
//! | step | a crash leaves | and its end is |
//! |---|---|---|
//! | 1 the upload is durable in the ledger | an upload, which ends by its time | the next that is begun forgets it |
//! | 2 parts are put, by whoever holds their URLs | the same, and parts | the hourly look: parts of no open upload go |
//! | 3 completed: created under an idempotency key of the upload's own | what `create` leaves, and the same | the same; a repeat finds its file |
//! | 4 the upload ends | a file, and parts | the hourly look |
//! | 5 its parts go | a file, perhaps parts | the hourly look |
//!
//! The upload is no cache: a rebuild ends it, and what was sent for it goes.

use crate::{
    Caller, Created, DirectId, Error, Files, IdempotencyKey, NewFile, Receive, Result, Role, Sha256, UserId,
    create::{Reserved, Since, check_name, check_tags, check_user_bytes},
    files::{File, Node, Place},
    layout,
    ledger::{Announced, DirectUpload, LedgerError},
};
use futures_util::{StreamExt, TryStreamExt, stream};
use larder_storage_core::{
    Body, BodyError, Bound, ByteStream, ETag, ErrorKind, GetOptions, Key, ListOptions, PresignMethod, PutOptions,
    SentAs, SignedRequest, Store,
};
use sha2::Digest;
use std::{collections::BTreeMap, sync::Arc, time::Duration};
use tracing::{info, warn};

/// How long an upload goes on when its URLs have ended: what began to be sent in time may end, and be completed. Together with the
/// longest lifetime no longer than an idempotency key is remembered.
const GRACE: Duration = Duration::from_secs(11 * 60 * 60);
/// Up to this size content is sent in one part, unless the client asks for others.
const SINGLE_MAX: u64 = 128 << 20;
/// Bytes of a part, where there are several.
const PART_BYTES: u64 = 64 << 20;
const PART_BYTES_MIN: u64 = 1 << 20;
/// S3's limit of one PUT.
const PART_BYTES_MAX: u64 = 5 << 30;
const PARTS_MAX: u64 = 2_000;
/// Open uploads of one user.
const UPLOADS_MAX: usize = 10_000;
/// How many parts are looked at together.
const LOOKS_AT_ONCE: usize = 16;
/// How often it is looked for parts of no upload.
const LOOK_FOR_PARTS: Duration = Duration::from_secs(60 * 60);

/// A direct upload that is to be begun.
#[derive(Clone, Debug, Default)]
pub struct NewDirect {
    /// What it is to be.
    pub file: Announced,
    /// Bytes of its content.
    pub size: u64,
    /// Bytes of a part: 1 MiB to 5 GiB, and at most 2,000 parts. Without it content up to 128 MiB has one part, and other content parts
    /// of 64 MiB or more.
    pub part_bytes: Option<u64>,
    /// How long its URLs work: 1 minute to 12 hours.
    pub lifetime: Duration,
    /// Whether its parts may be sent to a store, past this server.
    pub past_server: bool,
}

impl NewDirect {
    /// URLs work no shorter.
    pub const LIFETIME_MIN: Duration = Duration::from_secs(60);
    /// URLs work no longer.
    pub const LIFETIME_MAX: Duration = Duration::from_secs(12 * 60 * 60);
}

/// A direct upload that was begun.
#[derive(Clone, Debug)]
pub struct Direct {
    /// The upload.
    pub upload: DirectUpload,
    /// Where each part is to be sent, by number; empty where they are to be sent to this server ([`Files::put_part`]).
    pub requests: Vec<SignedRequest>,
}

impl Files {
    /// Begins a direct upload. No store is asked: a transaction of the ledger, then a signature for each part.
    ///
    /// # Errors
    /// `Invalid` names the field, `TooLarge`, `NotFound` of the bucket, `NameTaken`, `TooMany`; `ReadOnly` where no store of the bucket
    /// takes changes.
    pub async fn open_direct(&self, caller: &Caller, new: NewDirect) -> Result<Direct> {
        let node = &self.0;
        node.begin_change().await?;
        let NewDirect { file, size, part_bytes, lifetime, past_server } = new;
        check_name(&file.name)?;
        check_tags(&file.tags)?;
        check_user_bytes(&file.name, &file.tags, &file.metadata)?;
        let bucket = self.bucket(&file.bucket)?;
        if !(NewDirect::LIFETIME_MIN..=NewDirect::LIFETIME_MAX).contains(&lifetime) {
            return Err(Error::invalid("expires_in", "60 to 43,200 seconds are expected"));
        }
        let receive = Receive { bucket: file.bucket.clone(), name_hint: file.name.clone(), ..Receive::default() };
        self.check_name_free(caller, &receive, file.on_conflict).await?;

        let places = node.placement(&bucket.policy);
        let largest = places.iter().map(|place| node.places[*place].store.limits().object_bytes_max).max();
        let max = bucket.policy.max_bytes.min(largest.unwrap_or(u64::MAX));
        if size > max {
            return Err(Error::TooLarge { max });
        }
        let part_bytes = part_bytes_of(size, part_bytes)?;
        let place = &node.places[node.incoming_place(&places, past_server)?];
        let now = node.environment.clock.now();
        let expires_at = now.plus(lifetime);
        let (id, ends_at) = (DirectId::new(&node.environment), expires_at.plus(GRACE));
        let upload = DirectUpload { id, user: caller.id, store: place.id, size, part_bytes, expires_at, ends_at, file };
        node.ledger.open_direct(&upload, UPLOADS_MAX, now).await.map_err(|error| match error {
            LedgerError::Busy => Error::TooMany(UPLOADS_MAX),
            other => other.into(),
        })?;
        // An older copy of the ledger knows nothing of it, and would delete what is sent.
        node.mark_soon();
        // One that is not signed ends by its time: nobody was told of it.
        let requests = if past_server { sign_parts(place, &upload, lifetime).await? } else { vec![] };
        Ok(Direct { upload, requests })
    }

    /// Bytes of a part that may be sent to this server now.
    ///
    /// # Errors
    /// `NotFound` of an upload that has ended, or of the part.
    pub async fn part_size(&self, id: DirectId, number: u64) -> Result<u64> {
        let upload = self.0.open_upload(id).await?;
        upload.part_size(number).ok_or_else(|| self.0.absent("part"))
    }

    /// Takes in a part that was sent to this server. It takes the place of what was sent as this part before.
    ///
    /// # Errors
    /// `NotFound` of an upload that has ended, or of the part; `Invalid` or `TooLarge` of content that has another size than it must;
    /// those of the store.
    pub async fn put_part(&self, id: DirectId, number: u64, body: Body) -> Result<()> {
        let node = &self.0;
        node.begin_change().await?;
        let upload = node.open_upload(id).await?;
        let size = upload.part_size(number).ok_or_else(|| node.absent("part"))?;
        let place = node.place(upload.store).map(|(place, _)| place).ok_or(Error::StoreUnavailable(None))?;
        node.check_is_there(place).await?;
        let wrong = |found: u64| match found > size {
            true => Error::TooLarge { max: size },
            false => Error::invalid("body", format!("this part has {size} bytes, {found} were sent")),
        };
        if let Some(found) = body.size().filter(|found| *found != size) {
            return Err(wrong(found));
        }
        let key = layout::incoming_part(id, number);
        let body = Body::once(body.into_stream().await.map_err(Error::Body)?, Some(size));
        node.places[place].store.put(&key, body, PutOptions::replace()).await?;
        Ok(())
    }

    /// Makes a file of an upload's parts. The content is read from where it was sent and stored as any other, so it costs as much as an
    /// upload, but for the way from the client. `sha256` is the hash that it must have, for who did not know it before. What is not as it
    /// was announced is discarded, and its upload ends. A repeat answers the file that was made.
    ///
    /// # Errors
    /// `NotFound` of an upload that ended, or is another's; `Conflict` where a part has not arrived, or has another size; `Running`, where it
    /// is being completed; as [`Files::create`].
    pub async fn complete_direct(&self, caller: &Caller, id: DirectId, sha256: Option<Sha256>) -> Result<Created> {
        let node = &self.0;
        node.begin_change().await?;
        let reserved = self.reserve_for(caller.id, id).await?;
        if let Some(done) = reserved.done {
            // Its maker may have died before it was forgotten.
            if let Ok(upload) = node.open_upload(id).await {
                node.forget_soon(upload);
            }
            return self.repeat(caller, done, reserved.request).await;
        }
        let found = match node.arrived(caller, id).await {
            Ok((upload, parts)) => node.go_on(upload).await.map(|upload| (upload, parts)),
            Err(error) => Err(error),
        };
        let (upload, parts) = match found {
            Ok(found) => found,
            Err(error) => {
                reserved.give_up().await;
                return Err(error);
            }
        };
        let created = self.create_from(caller, &upload, parts, reserved, sha256).await;
        match &created {
            Ok(_) => node.forget_soon(upload),
            Err(error) if is_a_lie(error, &upload) => self.discard(upload).await,
            Err(_) => {}
        }
        created
    }

    /// Ends an upload; what was sent for it goes. A file that it was completed to stays.
    ///
    /// # Errors
    /// `NotFound` of one that has ended, or is another's; `Running` while it is being completed.
    pub async fn end_direct(&self, caller: &Caller, id: DirectId) -> Result<()> {
        let node = self.0.clone();
        node.begin_change().await?;
        let upload = node.open_upload(id).await?;
        if upload.user != caller.id && caller.role != Role::Admin {
            return Err(node.absent("upload"));
        }
        // Whoever completes it meanwhile would make a file of what was said to be gone.
        let reserved = self.reserve_for(upload.user, id).await?;
        let ended = self.complete(async move {
            node.ledger.end_direct(id).await?;
            node.clear_soon(upload);
            Ok(())
        });
        let ended = ended.await;
        reserved.give_up().await;
        ended
    }

    /// The idempotency key of an upload: who has it completes it, or ends it.
    async fn reserve_for(&self, user: UserId, id: DirectId) -> Result<Reserved> {
        let key = IdempotencyKey { key: format!("\0direct {id}"), request: Sha256::of(id.0.as_bytes()) };
        let node = self.0.clone();
        // No rebuild knows an upload from before.
        let since = if node.open_upload(id).await.is_ok() { Since::TheLedger } else { Since::Anytime };
        let mut reserved = self.complete(async move { node.reserve_of(user, &key, since).await }).await?;
        reserved.says_all = true;
        Ok(reserved)
    }

    /// A request by which whoever holds it gets content of a file as [`Files::describe`] gave it straight from a store: the newest
    /// revision, or the one named. `None` where no store that has a copy signs requests. No store is asked.
    ///
    /// # Errors
    /// As [`Files::check_served`].
    pub async fn sign_content(
        &self,
        caller: &Caller,
        file: &File,
        number: Option<u64>,
        disposition: String,
        lifetime: Duration,
    ) -> Result<Option<SignedRequest>> {
        let (node, revision) = (&self.0, self.revision_of(caller, file, number).await?);
        self.check_served(caller, file, number).await?;
        let sent_as = SentAs { content_type: Some(revision.content_type.clone()), disposition: Some(disposition) };
        for place in node.order_of_reading(&file.attributes.bucket) {
            let at = &node.places[place];
            let has_it = revision.copies.iter().any(|copy| copy.store == at.id && node.is_served(copy));
            let Some(presign) = at.store.presign().filter(|_| has_it && !node.state().away.contains(&place)) else {
                continue;
            };
            match presign.presign(&revision.key, PresignMethod::Get(sent_as.clone()), lifetime).await {
                Ok(request) => return Ok(Some(request)),
                Err(error) if *error.kind() == ErrorKind::Unsupported => {}
                Err(error) => return Err(error.into()),
            }
        }
        Ok(None)
    }

    /// Steps 3 to 5 of `create`, of content that lies in parts.
    async fn create_from(
        &self,
        caller: &Caller,
        upload: &DirectUpload,
        parts: Vec<(Key, ETag)>,
        reserved: Reserved,
        sha256: Option<Sha256>,
    ) -> Result<Created> {
        let node = &self.0;
        let begun = async {
            if let Some(announced) =
                upload.file.sha256.filter(|announced| sha256.is_some_and(|told| told != *announced))
            {
                return Err(Error::invalid("sha256", format!("{announced} was announced")));
            }
            let bucket = self.bucket(&upload.file.bucket)?;
            let from = node.place(upload.store).map(|(place, _)| place).ok_or(Error::StoreUnavailable(None))?;
            let place = node.place_for(&bucket)?;
            node.check_is_there(place).await?;
            // Looked at now, however long the parts took to be found: all files of who is gone were purged.
            if self.user(caller.id).await?.is_some_and(|user| user.gone_at.is_some()) {
                return Err(Error::Forbidden("the owner was deleted meanwhile"));
            }
            Ok((bucket, node.places[from].store.clone(), place))
        };
        let (bucket, store, place) = match begun.await {
            Ok(begun) => begun,
            Err(error) => {
                reserved.give_up().await;
                return Err(error);
            }
        };
        let body = Body::once(read_parts(store.clone(), parts.clone()), Some(upload.size));
        let name = &upload.file.name;
        let received = match self.receive_for(place, bucket, caller.clone(), name, body, Some(reserved)).await {
            // It is a store that broke off, or somebody who sends a part once more.
            Err(Error::Body(cause)) => return Err(Error::StoreUnavailable(Some(cause))),
            received => received?,
        };
        if upload.file.sha256.or(sha256) != Some(received.sha256())
            && let Err(error) = is_read_again(store, parts, received.sha256()).await
        {
            received.refuse().await;
            return Err(error);
        }
        self.create(caller, received, new_file(&upload.file, sha256)).await
    }

    /// Ends an upload whose content is not what was announced, unless somebody completes it again by now.
    async fn discard(&self, upload: DirectUpload) {
        let Ok(reserved) = self.reserve_for(upload.user, upload.id).await else { return };
        if reserved.done.is_none() {
            let node = self.0.clone();
            let ended = self.complete(async move {
                node.end_upload(&upload).await;
                node.clear_soon(upload);
                Ok(())
            });
            // What can't be ended now ends by its time.
            let _ = ended.await;
        }
        reserved.give_up().await;
    }
}

/// Whether sending the same again would not mend it.
fn is_a_lie(error: &Error, upload: &DirectUpload) -> bool {
    match error {
        // One that was told only now may be a slip.
        Error::DigestMismatch { .. } => upload.file.sha256.is_some(),
        Error::UnsupportedType { .. } | Error::TooLarge { .. } | Error::Unfit(_) => true,
        _ => false,
    }
}

impl Node {
    /// Where parts are put: of the places that take changes one that signs requests, where that is wanted, and one that is not away.
    fn incoming_place(&self, placement: &[usize], past_server: bool) -> Result<usize> {
        let away = self.state().away.clone();
        let signs = |place: &usize| past_server && self.places[*place].store.presign().is_some();
        let takes = placement.iter().copied().filter(|place| self.places[*place].mode.changes());
        takes.min_by_key(|place| (away.contains(place), !signs(place))).ok_or_else(|| {
            let words = "direct uploads need a store of the mode `edit` in the bucket's placement";
            Error::ReadOnly(words.into())
        })
    }

    /// An upload that goes on.
    async fn open_upload(&self, id: DirectId) -> Result<DirectUpload> {
        let now = self.environment.clock.now();
        let found = self.ledger.direct(id).await?.filter(|upload| upload.is_open(now));
        found.ok_or_else(|| self.absent("upload"))
    }

    /// A caller's upload, with its parts in order, if all of them are there as they must be.
    async fn arrived(&self, caller: &Caller, id: DirectId) -> Result<(DirectUpload, Vec<(Key, ETag)>)> {
        let upload = self.open_upload(id).await?;
        if upload.user != caller.id {
            return Err(self.absent("upload"));
        }
        let (_, place) = self.place(upload.store).ok_or(Error::StoreUnavailable(None))?;
        let total = upload.parts();
        let looks = stream::iter(1..=total).map(|number| {
            let key = layout::incoming_part(id, number);
            async move { (number, place.store.head(&key).await) }
        });
        let (mut looks, mut parts) = (looks.buffered(LOOKS_AT_ONCE), vec![]);
        while let Some((number, found)) = looks.next().await {
            let size = upload.part_size(number).unwrap_or_default();
            match found {
                Ok(found) if found.size == size => parts.push((found.key, found.etag)),
                Ok(found) => {
                    let found = found.size;
                    let words = format!("part {number} of {total} has {found} bytes, not {size}: send it again");
                    return Err(Error::Conflict(words));
                }
                Err(error) if *error.kind() == ErrorKind::NotFound => {
                    place.confirm().await?;
                    return Err(Error::Conflict(format!("part {number} of {total} has not arrived")));
                }
                Err(error) => return Err(error.into()),
            }
        }
        drop(looks);
        Ok((upload, parts))
    }

    /// Puts the end of an upload off that is being completed: its parts are read until then.
    async fn go_on(&self, upload: DirectUpload) -> Result<DirectUpload> {
        let now = self.environment.clock.now();
        let longer = DirectUpload { ends_at: upload.ends_at.max(now.plus(GRACE)), ..upload };
        self.ledger.open_direct(&longer, usize::MAX, now).await?;
        Ok(longer)
    }

    /// Steps 4 and 5, beside everything else.
    fn forget_soon(self: &Arc<Self>, upload: DirectUpload) {
        let node = self.clone();
        self.environment.spawn.spawn(Box::pin(async move {
            node.end_upload(&upload).await;
            node.clear_soon(upload);
        }));
    }

    /// Step 4. What fails is for the hourly look.
    async fn end_upload(&self, upload: &DirectUpload) {
        if let Err(error) = self.ledger.end_direct(upload.id).await {
            warn!(upload = %upload.id, %error, "a direct upload that is over ends by its time");
        }
    }

    /// Step 5. What fails is for the hourly look, and where one failed that may pass, so are the others.
    fn clear_soon(self: &Arc<Self>, upload: DirectUpload) {
        let node = self.clone();
        self.environment.spawn.spawn(Box::pin(async move {
            let Some((_, place)) = node.place(upload.store).filter(|(_, place)| place.mode.changes()) else { return };
            for number in 1..=upload.parts() {
                let Err(error) = place.store.delete(&layout::incoming_part(upload.id, number)).await else { continue };
                warn!(upload = %upload.id, number, %error, "a part that is not needed stays until it is looked for");
                if error.is_temporary() {
                    return;
                }
            }
        }));
    }

    /// Deletes parts of uploads that are not open, on a store that is the one it was.
    async fn clear_parts_on(&self, place: &Place) -> Result<()> {
        self.check_mark_on(place, 0).await?;
        let now = self.environment.clock.now();
        let mut known: BTreeMap<DirectId, bool> = BTreeMap::new();
        let (mut gone, mut failed) = (0_u64, None);
        let mut listed = place.store.list(ListOptions::below(layout::incoming()));
        while let Some(found) = listed.try_next().await? {
            let Some(id) = layout::parse_incoming(&found.object.key) else { continue };
            let is_open = match known.get(&id) {
                Some(is_open) => *is_open,
                None => {
                    let is_open = self.ledger.direct(id).await?.is_some_and(|upload| upload.is_open(now));
                    *known.entry(id).or_insert(is_open)
                }
            };
            if !is_open {
                match place.store.delete(&found.object.key).await {
                    Ok(()) => gone += 1,
                    Err(error) if error.is_temporary() => return Err(error.into()),
                    Err(error) => drop(failed.get_or_insert(error)),
                }
            }
        }
        if gone > 0 {
            info!(store = %place.name, parts = gone, "deleted what was sent for uploads that are over");
        }
        failed.map_or(Ok(()), |error| Err(error.into()))
    }

    /// Every hour deletes what lies on the stores of uploads that are over: a URL works on when its upload was completed, or ended.
    pub(crate) fn clear_parts_hourly(self: &Arc<Self>) {
        let (node, clock) = (Arc::downgrade(self), self.environment.clock.clone());
        self.environment.spawn.spawn(Box::pin(async move {
            while let Some(node) = node.upgrade().filter(|node| !node.is_ending()) {
                for place in node.places.iter().filter(|at| at.mode.changes()) {
                    if let Err(error) = node.clear_parts_on(place).await {
                        warn!(store = %place.name, %error, "parts of uploads that are over could not be looked for");
                    }
                }
                drop(node);
                clock.sleep(LOOK_FOR_PARTS).await;
            }
        }));
    }
}

fn new_file(file: &Announced, told: Option<Sha256>) -> NewFile {
    NewFile {
        name: file.name.clone(),
        tags: file.tags.clone(),
        metadata: file.metadata.clone(),
        declared_type: file.content_type.clone(),
        sha256: file.sha256.or(told),
        on_conflict: file.on_conflict,
        if_match: None,
        media: None,
    }
}

fn part_bytes_of(size: u64, asked: Option<u64>) -> Result<u64> {
    let least = size.div_ceil(PARTS_MAX);
    let fits = |bytes: &u64| (PART_BYTES_MIN..=PART_BYTES_MAX).contains(bytes) && *bytes >= least;
    match asked {
        Some(bytes) if fits(&bytes) => Ok(bytes),
        Some(_) => {
            let words = format!("1,048,576 to 5,368,709,120 bytes are expected, and at most {PARTS_MAX} parts");
            Err(Error::invalid("part_bytes", words))
        }
        None if size <= SINGLE_MAX => Ok(SINGLE_MAX),
        None if least <= PART_BYTES_MAX => Ok(least.max(PART_BYTES)),
        None => Err(Error::TooLarge { max: PART_BYTES_MAX * PARTS_MAX }),
    }
}

/// A signed request for each part; none where the store can't sign.
async fn sign_parts(place: &Place, upload: &DirectUpload, lifetime: Duration) -> Result<Vec<SignedRequest>> {
    let Some(presign) = place.store.presign() else { return Ok(vec![]) };
    let (mut requests, is_one) = (vec![], upload.parts() == 1);
    for number in 1..=upload.parts() {
        let bound = Bound {
            size: upload.part_size(number),
            content_type: upload.file.content_type.clone().filter(|_| is_one),
            sha256: upload.file.sha256.filter(|_| is_one).map(|hash| hash.0),
        };
        let key = layout::incoming_part(upload.id, number);
        match presign.presign(&key, PresignMethod::Put(bound), lifetime).await {
            Ok(request) => requests.push(request),
            Err(error) if *error.kind() == ErrorKind::Unsupported => return Ok(vec![]),
            Err(error) => return Err(error.into()),
        }
    }
    Ok(requests)
}

/// The content of parts as they were looked at, one after the other.
fn read_parts(store: Arc<dyn Store>, parts: Vec<(Key, ETag)>) -> ByteStream {
    let opened = stream::iter(parts).then(move |(key, etag)| {
        let store = store.clone();
        async move {
            let options = GetOptions { if_match: Some(etag), ..GetOptions::default() };
            let object = store.get(&key, options).await.map_err(BodyError::from)?;
            Ok::<_, BodyError>(object.body)
        }
    });
    opened.try_flatten().boxed()
}

/// Reads parts once more. Where no announced hash is that of what was received, nothing else tells whether it was sent so, or was misread:
/// what is made a file of goes, and what is discarded as a lie goes too.
///
/// # Errors
/// `StoreUnavailable` where they can't be read, or are other bytes now.
async fn is_read_again(store: Arc<dyn Store>, parts: Vec<(Key, ETag)>, received: Sha256) -> Result<()> {
    let (mut bytes, mut hasher) = (read_parts(store, parts), sha2::Sha256::new());
    while let Some(chunk) = bytes.try_next().await.map_err(|cause| Error::StoreUnavailable(Some(cause)))? {
        hasher.update(&chunk);
    }
    let again = Sha256(hasher.finalize().into());
    if again == received {
        return Ok(());
    }
    warn!(first = %received, %again, "what was sent for an upload was read in two ways");
    Err(Error::StoreUnavailable(Some("what was sent was read in two ways".into())))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_are_as_large_as_they_must_be() {
        assert_eq!(part_bytes_of(0, None).unwrap(), SINGLE_MAX);
        assert_eq!(part_bytes_of(SINGLE_MAX, None).unwrap(), SINGLE_MAX);
        assert_eq!(part_bytes_of(SINGLE_MAX + 1, None).unwrap(), PART_BYTES);
        let large: u64 = 5 << 40;
        assert_eq!(large.div_ceil(part_bytes_of(large, None).unwrap()), PARTS_MAX);
        assert_eq!(part_bytes_of(10 << 20, Some(5 << 20)).unwrap(), 5 << 20);
        for (size, asked) in [(1, 1), (1, PART_BYTES_MAX + 1), (large, 1 << 20)] {
            assert!(part_bytes_of(size, Some(asked)).is_err(), "{size} by {asked}");
        }
        assert!(NewDirect::LIFETIME_MAX + GRACE < Duration::from_secs(24 * 60 * 60), "a repeat must find its file");
    }
}
