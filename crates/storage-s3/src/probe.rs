//! Finding out what a server does: each ability is tried on objects below `.larder/probe/`, which are deleted in the end.
//!
//! A condition is proven by a request that breaks it and is refused, with what lay there still there. A hash is proven by a payload
//! that has another. An ability that is answered by an error is one that is lacking; an outage is no answer at all, and ends the probe.

use crate::{
    Misconfigured,
    client::SignedAs,
    fault::{Fault, Outcome},
    look::{quoted, time, validator},
    profile::{Conditions, Profile},
    store::Inner,
};
use aws_sdk_s3::{
    operation::put_object::builders::PutObjectFluentBuilder,
    presigning::PresigningConfig,
    primitives::ByteStream,
    types::{BucketVersioningStatus, CompletedMultipartUpload, CompletedPart, Delete, ObjectIdentifier, Tag, Tagging},
};
use data_encoding::BASE64;
use larder_storage_core::{Digests, ETag, ErrorKind, Key};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

pub(crate) const FOLDER: &str = ".larder/probe/";
const FIRST: &[u8] = b"first";
const OTHER: &[u8] = b"other bytes";
/// The validator of nothing that is tried.
const WRONG: &str = "0123456789abcdef0123456789abcdef";
const PART_BYTES_MIN: u64 = 5 << 20;
/// How far the date of an upload may be from the server's clock: servers that are one have many clocks.
const DATED_WITHIN: Duration = Duration::from_secs(15 * 60);

impl Inner {
    /// Tries everything. Some fifty requests.
    pub(crate) async fn probe(&self) -> Outcome<Profile> {
        let probe = Probe { inner: self, folder: format!("{FOLDER}{}", self.token()) };
        let mut profile = Profile::blank(self.endpoint(), self.options.bucket.clone());
        let found = probe.all(&mut profile).await;
        let swept = probe.sweep(&profile).await;
        found?;
        match swept {
            // Keys that may delete nothing leave what was tried.
            Err(fault) if fault.kind == ErrorKind::PermissionDenied => {
                tracing::warn!(store = %self.display, folder = probe.folder, ?fault, "what was tried out stays");
            }
            swept => swept?,
        }
        Ok(profile)
    }
}

struct Probe<'a> {
    inner: &'a Inner,
    folder: String,
}

/// A put as it would be if no encryption were asked for.
fn unencrypted(request: PutObjectFluentBuilder) -> PutObjectFluentBuilder {
    request.set_server_side_encryption(None).set_ssekms_key_id(None)
}

/// Whether the server did what it was asked; an error that may pass, or that a configuration causes, is no answer.
fn took<T>(answer: Outcome<T>) -> Outcome<Option<T>> {
    match answer {
        Ok(taken) => Ok(Some(taken)),
        Err(fault) if fault.temporary || fault.kind == ErrorKind::PermissionDenied => Err(fault),
        Err(_) => Ok(None),
    }
}

/// Whether a request was refused because of its condition.
fn was_refused<T>(answer: Outcome<T>) -> Outcome<bool> {
    match answer {
        Ok(_) => Ok(false),
        Err(fault) if fault.kind == ErrorKind::PreconditionFailed || fault.is_absent() => Ok(true),
        Err(fault) if fault.temporary || fault.kind == ErrorKind::PermissionDenied => Err(fault),
        Err(_) => Ok(false),
    }
}

/// Whether a payload was refused that was told to be another.
fn was_found_out<T>(answer: Outcome<T>) -> Outcome<bool> {
    match answer {
        Ok(_) => Ok(false),
        // Others than the lie are refused so too: then nothing is proven.
        Err(fault) if matches!(fault.status, Some(403 | 408 | 429 | 503)) => Ok(false),
        Err(fault) if fault.status.is_some() => Ok(true),
        Err(fault) => Err(fault),
    }
}

impl Probe<'_> {
    async fn all(&self, profile: &mut Profile) -> Outcome<()> {
        profile.encrypts = self.encrypts().await?;
        profile.put = self.of_put().await?;
        profile.checks_payload = self.checks_payload().await?;
        profile.checks_sha256 = self.checks_sha256().await?;
        profile.complete = self.of_complete().await?;
        profile.copy = self.of_copy().await?;
        profile.part_bytes_min = self.part_bytes_min().await?;
        (profile.lists_uploads, profile.dates_uploads) = self.of_uploads().await?;
        profile.versioned = self.is_versioned().await?;
        profile.tags = self.takes_tags().await?;
        profile.presign = self.presigns().await?;
        profile.batch_delete = self.deletes_batches().await?;
        profile.clock_skew = self.inner.clients.clock.behind().unwrap_or(0);
        let now = self.inner.clients.clock.now().duration_since(UNIX_EPOCH);
        profile.probed_at = now.map_or(0, |now| now.as_secs());
        Ok(())
    }

    fn key(&self, name: &str) -> Key {
        Key::new(format!("{}/{name}", self.folder)).expect("a folder and a word are a key")
    }

    fn name(&self, name: &str) -> Outcome<String> {
        self.inner.name(&self.key(name))
    }

    /// A plain put under whatever conditions `set` sets.
    async fn put(
        &self,
        name: &str,
        bytes: &'static [u8],
        set: impl Fn(PutObjectFluentBuilder) -> PutObjectFluentBuilder,
    ) -> Outcome<String> {
        let name = self.name(name)?;
        let put = || async {
            let request = self.inner.client().put_object().bucket(self.inner.bucket()).key(&name);
            let (encryption, key) = self.inner.encryption();
            let request = request.set_server_side_encryption(encryption).set_ssekms_key_id(key);
            let answer = set(request).body(ByteStream::from_static(bytes)).send().await;
            answer.map_err(|error| self.inner.fault(error))
        };
        Ok(self.inner.read(put).await?.e_tag.unwrap_or_default())
    }

    /// Whether the object still has as many bytes as `bytes`.
    async fn holds(&self, name: &str, bytes: &[u8]) -> Outcome<bool> {
        let seen = self.inner.look_for(&self.key(name)).await?;
        Ok(seen.is_some_and(|seen| seen.meta.size == bytes.len() as u64))
    }

    async fn of_put(&self) -> Outcome<Conditions> {
        let etag = self.put("put", FIRST, |request| request).await?;
        let refused = was_refused(self.put("put", OTHER, |request| request.if_none_match("*")).await)?;
        let taken = took(self.put("new", FIRST, |request| request.if_none_match("*")).await)?.is_some();
        let create = refused && taken && self.holds("put", FIRST).await?;
        for bare_etags in [false, true] {
            let kept = Conditions { create, replace: true, bare_etags };
            if self.replaces(kept, &etag).await? {
                return Ok(kept);
            }
            if !self.holds("put", FIRST).await? {
                break;
            }
        }
        Ok(Conditions { create, ..Conditions::default() })
    }

    /// Whether `If-Match` is kept as `conditions` spell it, by an object that has this validator.
    async fn replaces(&self, conditions: Conditions, etag: &str) -> Outcome<bool> {
        let Some(etag) = validator(Some(etag)) else { return Ok(false) };
        let (right, wrong) = (conditions.spelled(&etag), conditions.spelled(&ETag::new(WRONG)));
        let refused = was_refused(self.put("put", OTHER, |request| request.if_match(&wrong)).await)?;
        let kept = self.holds("put", FIRST).await?;
        let nowhere = was_refused(self.put("nowhere", FIRST, |request| request.if_match(&right)).await)?;
        let taken = took(self.put("put", OTHER, |request| request.if_match(&right)).await)?.is_some();
        Ok(refused && kept && nowhere && taken && self.holds("put", OTHER).await?)
    }

    /// Fails where encryption is asked for and not done. What is refused is blamed on it only where the same is taken without: a bucket that
    /// is full refuses either.
    async fn encrypts(&self) -> Outcome<bool> {
        let Some(asked) = self.inner.encryption().0 else { return Ok(true) };
        if let Err(fault) = self.put("put", FIRST, |request| request).await {
            let may_be_its = !fault.temporary && fault.kind != ErrorKind::PermissionDenied && fault.mistake().is_none();
            let is_its = may_be_its && self.put("put", FIRST, unencrypted).await.is_ok();
            let mistake = Misconfigured::NotEncrypted;
            return Err(if is_its { fault.by_mistake(ErrorKind::Unsupported, mistake) } else { fault });
        }
        let name = self.name("put")?;
        let head = || async {
            let head = self.inner.client().head_object().bucket(self.inner.bucket()).key(&name);
            head.send().await.map_err(|error| self.inner.fault(error))
        };
        if self.inner.read(head).await?.server_side_encryption == Some(asked) {
            return Ok(true);
        }
        Err(Fault::misconfigured(ErrorKind::Unsupported, Misconfigured::NotEncrypted))
    }

    /// A payload under the hash of another must be refused.
    async fn checks_payload(&self) -> Outcome<bool> {
        let name = self.name("lie")?;
        // Some call it a fault of their own, and what is one may be refused by chance: so the lie is told twice. What is refused as damaged
        // on the way would be sent again for ever, if that were left to who repeats other requests.
        for _ in 0..2 {
            let lie = SignedAs(Digests::of(OTHER).sha256_hex());
            let request = self.inner.client().put_object().bucket(self.inner.bucket()).key(&name);
            let request = request.body(ByteStream::from_static(FIRST)).customize().interceptor(lie);
            if !was_found_out(request.send().await.map_err(|error| self.inner.fault(error)))? {
                return Ok(false);
            }
        }
        // Then the same without the lie must be taken.
        let absent = self.inner.look_for(&self.key("lie")).await?.is_none();
        self.put("lie", FIRST, |request| request).await?;
        Ok(absent)
    }

    /// The same of a hash in the header that a signed URL can be bound by. That its sender is told is enough: what such a URL brought is
    /// looked at before anything is made of it.
    async fn checks_sha256(&self) -> Outcome<bool> {
        let name = self.name("sum")?;
        let sum = |bytes: &[u8]| BASE64.encode(&Digests::of(bytes).sha256);
        for _ in 0..2 {
            let request = self.inner.client().put_object().bucket(self.inner.bucket()).key(&name);
            let request = request.checksum_sha256(sum(OTHER)).body(ByteStream::from_static(FIRST));
            if !was_found_out(request.send().await.map_err(|error| self.inner.fault(error)))? {
                return Ok(false);
            }
        }
        let taken = took(self.put("sum", FIRST, |request| request.checksum_sha256(sum(FIRST))).await)?;
        Ok(taken.is_some())
    }

    /// An upload of one part, not yet completed.
    async fn upload(&self, name: &str, bytes: &'static [u8]) -> Outcome<Option<(String, CompletedPart)>> {
        let Some(upload) = took(self.inner.begin_raw(&self.key(name), &self.inner.token()).await)? else {
            return Ok(None);
        };
        let part = took(self.inner.put_part_raw(&self.key(name), &upload, 1, bytes.into()).await)?;
        Ok(part.map(|etag| (upload, CompletedPart::builder().part_number(1).e_tag(etag).build())))
    }

    async fn complete(
        &self,
        name: &str,
        upload: &str,
        parts: Vec<CompletedPart>,
        if_none_match: Option<&str>,
        if_match: Option<&str>,
    ) -> Outcome<()> {
        let (key, parts) = (self.name(name)?, CompletedMultipartUpload::builder().set_parts(Some(parts)).build());
        let complete = || async {
            let request = self.inner.client().complete_multipart_upload().bucket(self.inner.bucket()).key(&key);
            let request = request.upload_id(upload).multipart_upload(parts.clone());
            let request =
                request.set_if_none_match(if_none_match.map(Into::into)).set_if_match(if_match.map(Into::into));
            request.send().await.map(drop).map_err(|error| self.inner.fault(error))
        };
        self.inner.read(complete).await
    }

    /// Aborts an upload; one that a refused completion has ended already may be refused here as foreign.
    async fn abandon(&self, name: &str, upload: &str) -> Outcome<()> {
        match self.inner.abort_raw(&self.key(name), upload).await {
            Err(fault) if !fault.temporary => {
                tracing::debug!(?fault, "an upload that was tried out can't be aborted");
                Ok(())
            }
            answer => answer,
        }
    }

    async fn of_complete(&self) -> Outcome<Conditions> {
        let etag = self.put("complete", FIRST, |request| request).await?;
        let Some((upload, part)) = self.upload("complete", OTHER).await? else { return Ok(Conditions::default()) };
        let part = || vec![part.clone()];
        let mut kept = Conditions::default();
        let mut is_open = was_refused(self.complete("complete", &upload, part(), Some("*"), None).await)?;
        kept.create = is_open && self.holds("complete", FIRST).await?;
        let wrong = &*quoted(&ETag::new(WRONG));
        if kept.create && was_refused(self.complete("complete", &upload, part(), None, Some(wrong)).await)? {
            let untouched = self.holds("complete", FIRST).await?;
            is_open = took(self.complete("complete", &upload, part(), None, Some(&etag)).await)?.is_none();
            kept.replace = untouched && !is_open && self.holds("complete", OTHER).await?;
        }
        if is_open {
            self.abandon("complete", &upload).await?;
        }
        Ok(kept)
    }

    async fn of_copy(&self) -> Outcome<Conditions> {
        let etag = self.put("copy", FIRST, |request| request).await?;
        self.put("source", OTHER, |request| request).await?;
        let copy = async |to: &str, if_none_match: Option<&str>, if_match: Option<&str>| {
            self.inner.copy_raw(&self.key("source"), &self.key(to), if_none_match, if_match).await
        };
        let create = was_refused(copy("copy", Some("*"), None).await)?
            && self.holds("copy", FIRST).await?
            && took(copy("copied", Some("*"), None).await)?.is_some();
        let wrong = &*quoted(&ETag::new(WRONG));
        let replace = create
            && was_refused(copy("copy", None, Some(wrong)).await)?
            && self.holds("copy", FIRST).await?
            && took(copy("copy", None, Some(&etag)).await)?.is_some()
            && self.holds("copy", OTHER).await?;
        Ok(Conditions { create, replace, ..Conditions::default() })
    }

    /// Completes an upload whose first part is a few bytes: S3 refuses that.
    async fn part_bytes_min(&self) -> Outcome<u64> {
        let Some((upload, first)) = self.upload("parts", FIRST).await? else { return Ok(PART_BYTES_MIN) };
        let last = self.inner.put_part_raw(&self.key("parts"), &upload, 2, OTHER.into()).await?;
        let last = CompletedPart::builder().part_number(2).e_tag(last).build();
        let taken = took(self.complete("parts", &upload, vec![first, last], None, None).await)?.is_some();
        if taken {
            return Ok(0);
        }
        self.abandon("parts", &upload).await?;
        Ok(PART_BYTES_MIN)
    }

    /// Whether an open upload is told to who does not name its key: some servers answer with an empty list. And whether it is told when it
    /// was begun, to either of those who ask: moto says of each that it was in 2010.
    async fn of_uploads(&self) -> Outcome<(bool, bool)> {
        let Some((upload, _)) = self.upload("open", FIRST).await? else { return Ok((false, false)) };
        let by_folder = self.told(format!("{}{}/", self.inner.folder, self.folder), &upload).await;
        let by_key = self.told(self.name("open")?, &upload).await;
        self.abandon("open", &upload).await?;
        let now = self.inner.clients.clock.now();
        let is_now = |begun: SystemTime| {
            let apart = now.duration_since(begun).unwrap_or_else(|ahead| ahead.duration());
            apart <= DATED_WITHIN
        };
        let (by_folder, by_key) = (by_folder?, by_key?);
        Ok((by_folder.is_some(), by_key.flatten().or(by_folder.flatten()).is_some_and(is_now)))
    }

    /// Whether this upload is among those that are told below `prefix`, and then when it is said to have been begun.
    async fn told(&self, prefix: String, upload: &str) -> Outcome<Option<Option<SystemTime>>> {
        let list = || async {
            let request = self.inner.client().list_multipart_uploads().bucket(self.inner.bucket());
            request.prefix(&prefix).send().await.map_err(|error| self.inner.fault(error))
        };
        match self.inner.read(list).await {
            Ok(told) => {
                let open = told.uploads().iter().find(|open| open.upload_id() == Some(upload));
                Ok(open.map(|open| open.initiated().map(time)))
            }
            Err(fault) if fault.temporary => Err(fault),
            // Who may not ask does without.
            Err(_) => Ok(None),
        }
    }

    async fn is_versioned(&self) -> Outcome<bool> {
        let ask = || async {
            let answer = self.inner.client().get_bucket_versioning().bucket(self.inner.bucket()).send().await;
            answer.map_err(|error| self.inner.fault(error))
        };
        match self.inner.read(ask).await {
            Ok(answer) => Ok(answer.status.is_some_and(|status| {
                matches!(status, BucketVersioningStatus::Enabled | BucketVersioningStatus::Suspended)
            })),
            Err(fault) if fault.temporary => Err(fault),
            // Who may not ask goes by what was known before.
            Err(_) => Ok(self.inner.profile.read().await.as_ref().is_some_and(|known| known.versioned)),
        }
    }

    async fn takes_tags(&self) -> Outcome<bool> {
        let name = self.name("put")?;
        let tag = Tag::builder().key("larder").value("probe").build();
        let tagging = tag.and_then(|tag| Tagging::builder().tag_set(tag).build());
        let tagging = tagging.map_err(|error| Fault::says(ErrorKind::Unsupported, error))?;
        let put = || async {
            let request = self.inner.client().put_object_tagging().bucket(self.inner.bucket()).key(&name);
            request.tagging(tagging.clone()).send().await.map(drop).map_err(|error| self.inner.fault(error))
        };
        match self.inner.read(put).await {
            Err(fault) if fault.temporary => Err(fault),
            answer => Ok(answer.is_ok()),
        }
    }

    /// That a URL can be signed at all; whether clients reach it is for them to find out.
    async fn presigns(&self) -> Outcome<bool> {
        let name = self.name("put")?;
        let lifetime = PresigningConfig::expires_in(Duration::from_secs(60));
        let lifetime = lifetime.map_err(|error| Fault::says(ErrorKind::Unsupported, error))?;
        let request = self.inner.clients.signing.get_object().bucket(self.inner.bucket()).key(&name);
        Ok(request.presigned(lifetime).await.is_ok())
    }

    async fn deletes_batches(&self) -> Outcome<bool> {
        let id = ObjectIdentifier::builder().key(self.name("new")?).build();
        let delete = id.and_then(|id| Delete::builder().objects(id).quiet(true).build());
        let delete = delete.map_err(|error| Fault::says(ErrorKind::Unsupported, error))?;
        let send = || async {
            let request = self.inner.client().delete_objects().bucket(self.inner.bucket()).delete(delete.clone());
            request.send().await.map_err(|error| self.inner.fault(error))
        };
        let Some(answer) = took(self.inner.read(send).await)? else { return Ok(false) };
        Ok(answer.errors().is_empty() && self.inner.look_for(&self.key("new")).await?.is_none())
    }

    /// Takes away everything that was tried, whether or not it is there, with all of its versions.
    async fn sweep(&self, profile: &Profile) -> Outcome<()> {
        let names = ["put", "new", "nowhere", "lie", "sum", "complete", "copy", "source", "copied", "parts"];
        let keys: Vec<Key> = names.iter().map(|name| self.key(name)).collect();
        let gone = match profile.versioned {
            true => self.inner.delete_each(&keys, true).await,
            false => self.inner.delete_all(&keys, profile.batch_delete).await,
        };
        for (key, gone) in keys.iter().zip(gone) {
            gone.inspect_err(|fault| tracing::warn!(%key, ?fault, "what was tried out stays behind"))?;
        }
        Ok(())
    }
}
