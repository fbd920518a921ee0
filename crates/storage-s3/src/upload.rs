//! Uploads in parts: the requests, [`Upload`] for an upload of our own, and the contract's [`Multipart`] for anybody's.
//!
//! An id is `<token>.<id of the server>`: the token stands in the object's metadata, so that whoever completes an upload without
//! having begun it can tell whether an object is its own.

use crate::{
    S3Options, S3Store,
    client::SignedAs,
    fault::{Fault, Outcome},
    look::{time, validator},
    profile::Profile,
    put::hashed,
    store::Inner,
    terms::{Terms, refused},
};
use async_trait::async_trait;
use aws_sdk_s3::{
    primitives::ByteStream,
    types::{CompletedMultipartUpload, CompletedPart},
};
use bytes::Bytes;
use larder_storage_core::{
    Body, ETag, ErrorKind, Key, Multipart, Op, OpenUpload, PartNumber, PutMode, Result, UploadId, UploadedPart, Written,
};
use std::{
    sync::Arc,
    time::{Duration, UNIX_EPOCH},
};

const YEAR: Duration = Duration::from_secs(365 * 86_400);

impl Inner {
    /// Begins an upload whose object will bear `token`. Made once only: a lost answer leaves an upload that nobody knows.
    pub(crate) async fn begin_raw(&self, key: &Key, token: &str) -> Outcome<String> {
        let (encryption, kms) = self.encryption();
        let request = self
            .client()
            .create_multipart_upload()
            .bucket(self.bucket())
            .key(self.name(key)?)
            .set_metadata(Some(self.marks(token, None)))
            .set_server_side_encryption(encryption)
            .set_ssekms_key_id(kms)
            .set_storage_class(self.storage_class());
        let begin = || async {
            let answer = request.clone().send().await.map_err(|error| self.fault(error));
            // Only what surely was not done is done again.
            answer.map_err(|fault| Fault { temporary: fault.temporary && !fault.maybe, ..fault })
        };
        let (answer, _) = self.again(self.options.deadlines.small, begin).await;
        let answer = answer.map_err(|fault| Fault { temporary: fault.temporary || fault.maybe, ..fault })?;
        answer.upload_id.ok_or_else(|| Fault::says(ErrorKind::Unavailable, "the answer names no upload"))
    }

    /// The part's validator, as the server writes it.
    pub(crate) async fn put_part_raw(&self, key: &Key, id: &str, number: u16, bytes: Bytes) -> Outcome<String> {
        let (name, (hash, bytes)) = (self.name(key)?, hashed(bytes).await?);
        let put = || async {
            let request = self.client().upload_part().bucket(self.bucket()).key(&name).upload_id(id);
            let request = request.part_number(i32::from(number)).body(ByteStream::from(bytes.clone()));
            let answer = request.customize().interceptor(SignedAs(hash.clone())).send().await;
            answer.map_err(|error| self.fault(error))
        };
        let answer = self.again(self.options.deadlines.part, put).await.0?;
        answer.e_tag.ok_or_else(|| Fault::says(ErrorKind::Unavailable, "the answer has no ETag of the part"))
    }

    /// Ends an upload; one that has ended already is aborted.
    pub(crate) async fn abort_raw(&self, key: &Key, id: &str) -> Outcome<()> {
        let name = self.name(key)?;
        let abort = || async {
            let request = self.client().abort_multipart_upload().bucket(self.bucket()).key(&name).upload_id(id);
            request.send().await.map(drop).map_err(|error| self.fault(error))
        };
        match self.read(abort).await {
            Err(fault) if fault.is_absent() => Ok(()),
            answer => answer,
        }
    }

    async fn complete_once(
        &self,
        name: &str,
        id: &str,
        parts: &[UploadedPart],
        terms: &Terms,
    ) -> Outcome<Option<ETag>> {
        let part = |part: &UploadedPart| {
            CompletedPart::builder().part_number(part.number.get().into()).e_tag(format!("\"{}\"", part.etag)).build()
        };
        let parts = CompletedMultipartUpload::builder().set_parts(Some(parts.iter().map(part).collect())).build();
        let request = self.client().complete_multipart_upload().bucket(self.bucket()).key(name).upload_id(id);
        let request = request
            .multipart_upload(parts)
            .set_if_none_match(terms.if_none_match.clone())
            .set_if_match(terms.if_match.clone());
        let answer = request.send().await.map_err(|error| self.fault(error))?;
        Ok(validator(answer.e_tag()))
    }

    /// Makes the object of an upload. Afterwards its size is compared with that of the parts.
    pub(crate) async fn complete_raw(
        &self,
        key: &Key,
        (token, id): (Option<&str>, &str),
        parts: &[UploadedPart],
        mode: &PutMode,
        profile: &Profile,
    ) -> Outcome<Written> {
        let (name, terms) = (self.name(key)?, self.terms(key, mode, profile.complete).await?);
        let mut parts = parts.to_vec();
        parts.sort_by_key(|part| part.number);
        let complete = || self.complete_once(&name, id, &parts, &terms);
        let (answer, before) = self.again(self.options.deadlines.whole, complete).await;
        let size: u64 = parts.iter().map(|part| part.size).sum();
        let written = match answer {
            Ok(_) => self.look_back(key).await?,
            Err(fault) => {
                // An upload that was completed before is unknown: ours lies there then.
                let maybe = before.maybe || fault.is_absent();
                match token {
                    Some(token) => self.settle_upload(key, (token, id), refused(fault, mode), maybe).await?,
                    None if maybe && !fault.is_absent() => return Err(fault.unsettled()),
                    None => return Err(refused(fault, mode)),
                }
            }
        };
        if written.size == size {
            return Ok(written);
        }
        let words = format!("{size} bytes were sent in parts, {} are there", written.size);
        Err(Fault::says(ErrorKind::Corrupt, words))
    }

    /// As [`Inner::settle`]; that an upload is unknown and its object absent is certain too. Some servers (Ceph, moto) fail over an unknown
    /// upload: they are asked for its parts. Not where what stands before a server failed: behind it the completion may still be under way.
    async fn settle_upload(&self, key: &Key, (token, id): (&str, &str), fault: Fault, maybe: bool) -> Outcome<Written> {
        let is_gone = fault.status == Some(500) && matches!(self.parts(key, id).await, Err(told) if told.is_absent());
        let fault = if is_gone { ErrorKind::NotFound.into() } else { fault };
        if !fault.is_absent() {
            return self.settle(key, token, fault, maybe).await;
        }
        match self.look_for(key).await {
            Ok(Some(seen)) if seen.is_of(token) => Ok(seen.written()),
            Ok(_) => Err(fault),
            Err(_) => Err(fault.unsettled()),
        }
    }

    /// Every open upload below the folder, or of a key, in pages. Some servers tell of one key only. Where the server's dates are none,
    /// each was begun just now: none is old enough to be aborted.
    async fn open_uploads(&self, of: Option<&Key>) -> Outcome<Vec<OpenUpload>> {
        let (mut found, mut after) = (Vec::new(), None::<(Option<String>, Option<String>)>);
        let below = of.map_or_else(|| Ok(self.folder.clone()), |key| self.name(key))?;
        let profile = self.profile().await?;
        if of.is_none() && !profile.lists_uploads {
            return Err(Fault::says(ErrorKind::Unsupported, "the server does not tell which uploads are open"));
        }
        loop {
            let ask = || async {
                let (key, id) = after.clone().unwrap_or_default();
                let request = self.client().list_multipart_uploads().bucket(self.bucket()).prefix(&below);
                let answer = request.set_key_marker(key).set_upload_id_marker(id).send().await;
                answer.map_err(|error| self.fault(error))
            };
            let page = self.read(ask).await?;
            found.extend(page.uploads().iter().filter_map(|upload| {
                let key = Key::new(upload.key()?.strip_prefix(&self.folder)?).ok()?;
                // A server that does not know says some time before there were such servers.
                let begun = time(upload.initiated()?);
                let is_dated = profile.dates_uploads && begun > UNIX_EPOCH + YEAR * 30;
                let begun = if is_dated { begun } else { self.clients.clock.now() };
                let age = self.clients.clock.now().duration_since(begun).unwrap_or_default();
                let is_asked_for = of.is_none_or(|of| *of == key);
                is_asked_for.then_some(OpenUpload { key, upload: UploadId::new(upload.upload_id()?), age })
            }));
            let next = Some((page.next_key_marker, page.next_upload_id_marker));
            if page.is_truncated != Some(true) || next == after {
                return Ok(found);
            }
            after = next;
        }
    }
}

/// An upload of our own, which is aborted unless it is completed.
pub(crate) struct Upload {
    inner: Arc<Inner>,
    key: Key,
    id: String,
    token: String,
    is_open: bool,
}

impl Upload {
    /// Begins one in a task of its own: it is aborted also where the caller goes away before the answer is there.
    pub(crate) async fn begin(inner: Arc<Inner>, key: &Key) -> Outcome<Self> {
        let key = key.clone();
        let begin = async move {
            let token = inner.token();
            let id = inner.begin_raw(&key, &token).await?;
            Ok(Self { inner, key, id, token, is_open: true })
        };
        let begun = tokio::spawn(begin).await;
        begun.map_err(|error| Fault::says(ErrorKind::Unavailable, error))?
    }

    pub(crate) fn options(&self) -> &S3Options {
        &self.inner.options
    }

    pub(crate) fn token(&self) -> &str {
        &self.token
    }

    pub(crate) async fn put_part(&self, number: PartNumber, bytes: Bytes) -> Outcome<UploadedPart> {
        let size = bytes.len() as u64;
        let etag = self.inner.put_part_raw(&self.key, &self.id, number.get(), bytes).await?;
        Ok(UploadedPart { number, size, etag: bare(&etag) })
    }

    pub(crate) fn inner(&self) -> &Arc<Inner> {
        &self.inner
    }

    pub(crate) fn key(&self) -> &Key {
        &self.key
    }

    pub(crate) fn id(&self) -> &str {
        &self.id
    }

    pub(crate) async fn complete(
        mut self,
        parts: &[UploadedPart],
        mode: &PutMode,
        profile: &Profile,
    ) -> Outcome<Written> {
        let ids = (Some(self.token.as_str()), self.id.as_str());
        let completed = self.inner.complete_raw(&self.key, ids, parts, mode, profile).await;
        let completed = completed.map_err(own_parts);
        if completed.is_ok() {
            self.is_open = false;
        } else {
            self.abort().await;
        }
        completed
    }

    /// Ends the upload without an object. A failure leaves it open.
    pub(crate) async fn abort(mut self) {
        let aborted = self.inner.abort_raw(&self.key, &self.id).await;
        self.is_open = false;
        if let Err(fault) = aborted {
            tracing::warn!(store = %self.inner.display, key = %self.key, ?fault, "an upload stays open");
        }
    }
}

impl Drop for Upload {
    /// Whoever waited for it went away: the upload goes too, unless the process does.
    fn drop(&mut self) {
        let Ok(runtime) = tokio::runtime::Handle::try_current() else { return };
        if self.is_open {
            let (inner, key, id) = (self.inner.clone(), self.key.clone(), std::mem::take(&mut self.id));
            runtime.spawn(async move {
                if let Err(fault) = inner.abort_raw(&key, &id).await {
                    tracing::warn!(store = %inner.display, %key, ?fault, "an upload stays open");
                }
            });
        }
    }
}

/// Of parts that are our own, a refusal is no condition of the caller's: what was answered about them was wrong.
fn own_parts(fault: Fault) -> Fault {
    match fault.kind {
        ErrorKind::PreconditionFailed if fault.status != Some(412) => Fault { kind: ErrorKind::Unavailable, ..fault },
        ErrorKind::NotFound => Fault::says(ErrorKind::Unavailable, "the upload was ended by another"),
        _ => fault,
    }
}

fn bare(etag: &str) -> ETag {
    ETag::new(etag.trim_matches('"'))
}

/// The token and the server's own id; of an upload that was found by a list, the latter alone.
fn taken_apart(upload: &UploadId) -> (Option<&str>, &str) {
    const TOKEN: usize = 32;
    match upload.as_str().split_once('.') {
        Some((token, id)) if token.len() == TOKEN && token.bytes().all(|byte| byte.is_ascii_hexdigit()) => {
            (Some(token), id)
        }
        _ => (None, upload.as_str()),
    }
}

#[deny(clippy::missing_trait_methods)]
#[async_trait]
impl Multipart for S3Store {
    async fn begin(&self, key: &Key) -> Result<UploadId> {
        let token = self.inner.token();
        let id = self.inner.begin_raw(key, &token).await.map_err(|fault| fault.at(Op::Multipart, key, self))?;
        Ok(UploadId::new(format!("{token}.{id}")))
    }

    /// Holds the part in memory: it is signed under its hash, and sent again where it has to be.
    async fn put_part(&self, key: &Key, upload: &UploadId, number: PartNumber, body: Body) -> Result<UploadedPart> {
        let max = usize::try_from(S3Options::PART_BYTES_MAX).unwrap_or(usize::MAX);
        let put = async {
            let bytes = body.collect(max).await.map_err(Fault::body)?;
            let size = bytes.len() as u64;
            let (_, id) = taken_apart(upload);
            let etag = self.inner.put_part_raw(key, id, number.get(), bytes).await?;
            Ok(UploadedPart { number, size, etag: bare(&etag) })
        };
        put.await.map_err(|fault: Fault| fault.at(Op::Multipart, key, self))
    }

    async fn parts(&self, key: &Key, upload: &UploadId) -> Result<Vec<UploadedPart>> {
        let (_, id) = taken_apart(upload);
        self.inner.parts(key, id).await.map_err(|fault| fault.at(Op::Multipart, key, self))
    }

    async fn complete(&self, key: &Key, upload: &UploadId, parts: &[UploadedPart], mode: PutMode) -> Result<Written> {
        let complete = async {
            let profile = self.inner.profile().await?;
            self.inner.complete_raw(key, taken_apart(upload), parts, &mode, &profile).await
        };
        complete.await.map_err(|fault: Fault| fault.at(Op::Multipart, key, self))
    }

    async fn abort(&self, key: &Key, upload: &UploadId) -> Result<()> {
        let (_, id) = taken_apart(upload);
        self.inner.abort_raw(key, id).await.map_err(|fault| fault.at(Op::Multipart, key, self))
    }

    async fn open_uploads(&self, of: Option<Key>) -> Result<Vec<OpenUpload>> {
        let open = self.inner.open_uploads(of.as_ref()).await;
        open.map_err(|fault| fault.at(Op::Multipart, of.as_ref().map_or("uploads", Key::as_str), self))
    }
}

impl Inner {
    /// The parts of an upload, by number; in pages, where there are many.
    async fn parts(&self, key: &Key, id: &str) -> Outcome<Vec<UploadedPart>> {
        let (name, mut parts, mut after) = (self.name(key)?, Vec::new(), None::<String>);
        loop {
            let ask = || async {
                let request = self.client().list_parts().bucket(self.bucket()).key(&name).upload_id(id);
                let answer = request.set_part_number_marker(after.clone()).send().await;
                answer.map_err(|error| self.fault(error))
            };
            let page = self.read(ask).await?;
            parts.extend(page.parts().iter().filter_map(uploaded));
            let next = page.next_part_number_marker.filter(|next| Some(next) != after.as_ref());
            if page.is_truncated != Some(true) || next.is_none() {
                break;
            }
            after = next;
        }
        parts.sort_by_key(|part| part.number);
        Ok(parts)
    }
}

fn uploaded(part: &aws_sdk_s3::types::Part) -> Option<UploadedPart> {
    Some(UploadedPart {
        number: PartNumber::new(u16::try_from(part.part_number()?).ok()?)?,
        size: u64::try_from(part.size()?).ok()?,
        etag: bare(part.e_tag().unwrap_or_default()),
    })
}
