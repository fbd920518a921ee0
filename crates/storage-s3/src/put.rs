//! Putting an object: whole in one request where it fits a part, else in parts.
//!
//! 1. The body is gathered up to one part. Where it ends there, it is hashed, and one `PutObject` sends it, signed under that hash.
//! 2. Else an upload is begun, and parts go out side by side while the next is gathered; each is signed under its own hash.
//! 3. `CompleteMultipartUpload` makes the object, under the mode's condition; a head then tells its size.
//!
//! An object bears the token of the call that put it there. Where an answer was lost, a head finds it out: ours is a success. Whatever
//! is not known after that is `Indeterminate`. An upload that ends without an object is aborted, also where its caller went away.

use crate::{
    client::SignedAs,
    fault::{Fault, Outcome},
    gather::{Gather, PartSizes, Piece},
    look::validator,
    profile::Profile,
    store::Inner,
    terms::{Terms, refused},
    upload::Upload,
};
use aws_sdk_s3::primitives::ByteStream;
use bytes::Bytes;
use futures_util::{
    StreamExt,
    future::{self, Either},
    stream::FuturesUnordered,
};
use larder_storage_core::{
    Body, BodyError, Digests, ErrorKind, GetOptions, Hasher, Key, PartNumber, PutMode, UploadedPart, Written,
};
use std::{future::Future, sync::Arc, time::Duration};

impl Inner {
    pub(crate) async fn put(self: &Arc<Self>, key: &Key, body: Body, mode: &PutMode) -> Outcome<Written> {
        self.name(key)?;
        let size = body.size();
        let max = crate::S3Options::OBJECT_BYTES_MAX;
        if size.is_some_and(|size| size > max) {
            return Err(ErrorKind::TooLarge { max }.into());
        }
        let profile = self.profile().await?;
        let sizes = PartSizes::of(size, self.options.part_bytes as u64);
        let mut gather = Gather::new(body).await.map_err(Fault::body)?;
        let first = gather.next(sizes.at(0)).await.map_err(Fault::body)?;
        if first.is_last {
            self.put_whole(key, first.bytes, mode, &profile).await
        } else {
            self.put_in_parts(key, first, gather, sizes, mode, &profile).await
        }
    }

    /// One request; one more where the server keeps no conditions and the mode has one.
    async fn put_whole(&self, key: &Key, bytes: Bytes, mode: &PutMode, profile: &Profile) -> Outcome<Written> {
        let terms = self.terms(key, mode, profile.put).await?;
        let (token, size) = (self.token(), bytes.len() as u64);
        let (hash, bytes) = hashed(bytes).await?;
        let (answer, before) =
            self.again(self.deadline_of(size), || self.put_once(key, bytes.clone(), &token, &hash, &terms)).await;
        let written = match answer {
            Ok(Some(etag)) => Written { size, etag: larder_storage_core::ETag::new(etag) },
            Ok(None) => self.look_back(key).await?,
            Err(fault) if fault.kind == ErrorKind::Unsupported && fault.status.is_none() => {
                self.withdraw(key, &token).await;
                return Err(fault);
            }
            Err(fault) => self.settle(key, &token, refused(fault, mode), before.maybe).await?,
        };
        if !profile.checks_payload {
            self.read_back(key, &token, size, &hash).await?;
        }
        Ok(written)
    }

    /// How long a payload may take: a large one is as a part.
    fn deadline_of(&self, size: u64) -> Duration {
        const SMALL: u64 = 1 << 20;
        if size <= SMALL { self.options.deadlines.small } else { self.options.deadlines.part }
    }

    /// The validator, where the answer has one.
    async fn put_once(
        &self,
        key: &Key,
        bytes: Bytes,
        token: &str,
        hash: &str,
        terms: &Terms,
    ) -> Outcome<Option<String>> {
        let (encryption, kms) = self.encryption();
        let request = self
            .client()
            .put_object()
            .bucket(self.bucket())
            .key(self.name(key)?)
            .set_metadata(Some(self.marks(token, Some(hash))))
            .set_server_side_encryption(encryption)
            .set_ssekms_key_id(kms)
            .set_storage_class(self.storage_class())
            .set_if_none_match(terms.if_none_match.clone())
            .set_if_match(terms.if_match.clone())
            .body(ByteStream::from(bytes));
        let answer = request.customize().interceptor(SignedAs(hash.to_owned())).send().await;
        let answer = answer.map_err(|error| self.fault(error))?;
        self.check_encryption(answer.server_side_encryption())?;
        Ok(validator(answer.e_tag()).map(|etag| etag.as_str().to_owned()))
    }

    /// What became of a change whose answer was an error: where it may have been carried out, the object tells by its token.
    pub(crate) async fn settle(&self, key: &Key, token: &str, fault: Fault, maybe: bool) -> Outcome<Written> {
        if !maybe && !fault.maybe {
            return Err(fault);
        }
        match self.look_for(key).await {
            Ok(Some(seen)) if seen.is_of(token) => Ok(seen.written()),
            // A refusal of the last attempt is one of all: nothing of ours lies there, and what does is in the way.
            Ok(Some(_)) if matches!(fault.kind, ErrorKind::AlreadyExists | ErrorKind::PreconditionFailed) => Err(fault),
            _ => Err(fault.unsettled()),
        }
    }

    /// Deletes what this call has put, if it still is there.
    async fn withdraw(&self, key: &Key, token: &str) {
        let gone = match self.look_for(key).await {
            Ok(Some(seen)) if seen.is_of(token) => self.delete(key).await,
            Ok(_) => Ok(()),
            Err(fault) => Err(fault),
        };
        if let Err(fault) = gone {
            tracing::warn!(store = %self.display, %key, ?fault, "an object that was refused stays behind");
        }
    }

    /// Reads what was written, where the server does not check what it is sent.
    async fn read_back(self: &Inner, key: &Key, token: &str, size: u64, hash: &str) -> Outcome<()> {
        let (mut seen, mut hasher) = (0, Hasher::new());
        let mut object = self.fetch(key, GetOptions::default()).await.map_err(Fault::unsettled)?;
        while let Some(block) = object.next().await {
            let block =
                block.map_err(|cause| Fault { temporary: true, ..Fault::says(ErrorKind::Indeterminate, cause) })?;
            seen += block.len() as u64;
            hasher.update(&block);
        }
        let found = hasher.finish().sha256_hex();
        if seen == size && found == hash {
            return Ok(());
        }
        self.withdraw(key, token).await;
        let words = format!("sha256 {hash} of {size} bytes was sent, {found} of {seen} bytes came back");
        Err(Fault::says(ErrorKind::Corrupt, words))
    }

    async fn put_in_parts(
        self: &Arc<Self>,
        key: &Key,
        first: Piece,
        gather: Gather,
        sizes: PartSizes,
        mode: &PutMode,
        profile: &Profile,
    ) -> Outcome<Written> {
        let upload = Upload::begin(self.clone(), key).await?;
        let mut sending =
            Sending { upload: &upload, gather, sizes, hasher: Hasher::new(), hashes: !profile.checks_payload };
        let sent = sending.all(first).await;
        let (hash, hashes) = (std::mem::take(&mut sending.hasher), sending.hashes);
        let parts = match sent {
            Ok(parts) => parts,
            Err(fault) => {
                upload.abort().await;
                return Err(fault);
            }
        };
        let token = upload.token().to_owned();
        let written = upload.complete(&parts, mode, profile).await?;
        if hashes {
            self.read_back(key, &token, written.size, &hash.finish().sha256_hex()).await?;
        }
        Ok(written)
    }
}

/// An upload's parts on their way.
struct Sending<'a> {
    upload: &'a Upload,
    gather: Gather,
    sizes: PartSizes,
    hasher: Hasher,
    /// Whether the whole is hashed besides its parts, to be compared in the end.
    hashes: bool,
}

impl Sending<'_> {
    /// Sends `first` and all that follows.
    async fn all(&mut self, first: Piece) -> Outcome<Vec<UploadedPart>> {
        let upload = self.upload;
        let (mut under_way, mut done) = (FuturesUnordered::new(), Vec::new());
        let (mut piece, mut index) = (first, 0_u64);
        loop {
            if self.hashes {
                self.hasher.update(&piece.bytes);
            }
            let number = u16::try_from(index + 1).ok().and_then(PartNumber::new);
            let number = number.ok_or(ErrorKind::TooLarge { max: crate::S3Options::OBJECT_BYTES_MAX })?;
            let room = upload.inner().room_for(piece.bytes.len());
            let most = if room.is_some() { self.beside(index + 1) } else { 0 };
            under_way.push(async move {
                let part = upload.put_part(number, piece.bytes).await;
                drop(room);
                part
            });
            index += 1;
            if piece.is_last {
                break;
            }
            while under_way.len() as u64 > most {
                done.extend(under_way.next().await.transpose()?);
            }
            let fill = self.gather.next(self.sizes.at(index));
            piece = beside(fill, &mut under_way, &mut done).await?;
        }
        while let Some(part) = under_way.next().await {
            done.push(part?);
        }
        done.sort_by_key(|part| part.number);
        Ok(done)
    }

    /// How many parts may be under way while the `index`-th fills: all of them together stay within the options' bounds.
    fn beside(&self, index: u64) -> u64 {
        let options = self.upload.options();
        let room = options.upload_bytes as u64 / self.sizes.at(index);
        room.min(options.parts_in_flight as u64).saturating_sub(1)
    }
}

/// The next piece, filled while parts go out; those that are `done` are told.
async fn beside(
    fill: impl Future<Output = Result<Piece, BodyError>>,
    under_way: &mut FuturesUnordered<impl Future<Output = Outcome<UploadedPart>>>,
    done: &mut Vec<UploadedPart>,
) -> Outcome<Piece> {
    let mut fill = Box::pin(fill);
    while !under_way.is_empty() {
        match future::select(fill, under_way.next()).await {
            Either::Left((filled, _)) => return filled.map_err(Fault::body),
            Either::Right((part, unfilled)) => {
                done.extend(part.transpose()?);
                fill = unfilled;
            }
        }
    }
    fill.await.map_err(Fault::body)
}

/// The hash of `bytes`; of many, beside whatever else there is to do.
pub(crate) async fn hashed(bytes: Bytes) -> Outcome<(String, Bytes)> {
    const AT_ONCE: usize = 256 << 10;
    let hash = |bytes: Bytes| (Digests::of(&bytes).sha256_hex(), bytes);
    if bytes.len() <= AT_ONCE {
        return Ok(hash(bytes));
    }
    let hashed = tokio::task::spawn_blocking(move || hash(bytes)).await;
    hashed.map_err(|error| Fault::says(ErrorKind::Unavailable, error))
}
