//! [`Bucket`]: a bucket in memory, over the protocol of `s3s`, with what vendors do otherwise as switches.

use bytes::Bytes;
use data_encoding::BASE64;
use futures_util::{TryStreamExt, stream};
use larder_storage_core::Digests;
use s3s::{S3, S3Request, S3Response, S3Result, dto::*, s3_error};
use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard},
    time::{Duration, SystemTime},
};

/// What vendors were seen to do.
#[derive(Clone, Copy, Debug, Default)]
pub struct Quirks {
    /// Conditions of writes are not looked at.
    pub ignores_conditions: bool,
    /// Conditions of copies are not looked at, those of puts are.
    pub ignores_copy_conditions: bool,
    /// `DeleteObjects` and `ListMultipartUploads` are not there.
    pub has_little: bool,
    /// The answer of a completion has no ETag.
    pub completes_without_etag: bool,
    /// A listing tells no ETags.
    pub lists_without_etags: bool,
    /// A range is not looked at.
    pub ignores_ranges: bool,
    /// An order of listings that is not that of the bytes.
    pub lists_backwards: bool,
    /// A page begins with the name that the last ended with.
    pub repeats_at_seams: bool,
    /// Encryption is not done.
    pub never_encrypts: bool,
    /// Puts are encrypted, copies and uploads in parts are not.
    pub encrypts_puts_alone: bool,
    /// What is deleted stays as a version.
    pub versioned: bool,
    /// Conditions of completions are not looked at, those of puts are.
    pub ignores_complete_conditions: bool,
    /// `If-Match` is compared as it is written: with quotes it is never right.
    pub compares_bare: bool,
    /// The completion of an upload that is not there is a fault of the server's own.
    pub fails_over_unknown_uploads: bool,
    /// Every upload was begun in 2010.
    pub misdates_uploads: bool,
    /// An upload is told to who asks for its folder, and not to who asks for its whole key.
    pub lists_uploads_by_folder_alone: bool,
    /// What is to be encrypted is refused.
    pub refuses_encryption: bool,
}

#[derive(Clone)]
pub struct Blob {
    pub bytes: Bytes,
    pub etag: String,
    pub metadata: Option<Metadata>,
    pub modified: SystemTime,
    pub encryption: Option<ServerSideEncryption>,
}

struct Open {
    key: String,
    metadata: Option<Metadata>,
    encryption: Option<ServerSideEncryption>,
    parts: BTreeMap<i32, Blob>,
    begun: SystemTime,
}

#[derive(Default)]
pub struct State {
    pub objects: BTreeMap<String, Blob>,
    uploads: BTreeMap<String, Open>,
    /// Versions by name, where the bucket keeps them.
    pub versions: Vec<(String, String)>,
    count: u64,
    pub is_missing: bool,
}

#[derive(Clone)]
pub struct Bucket {
    state: Arc<Mutex<State>>,
    quirks: Quirks,
}

impl Bucket {
    pub fn new(quirks: Quirks) -> Self {
        Self { state: Arc::default(), quirks }
    }

    pub fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("no test panics while it holds the bucket")
    }

    /// The names of uploads that are open.
    pub fn open_uploads(&self) -> Vec<String> {
        self.state().uploads.values().map(|open| open.key.clone()).collect()
    }

    /// Lets the uploads of a name have been begun so much longer ago.
    pub fn make_older(&self, name: &str, by: Duration) {
        let mut state = self.state();
        state.uploads.values_mut().filter(|open| open.key == name).for_each(|open| open.begun -= by);
    }

    /// Bytes of the parts of all open uploads.
    pub fn bytes_of_parts(&self) -> usize {
        let state = self.state();
        state.uploads.values().flat_map(|open| open.parts.values()).map(|blob| blob.bytes.len()).sum()
    }

    /// Bytes of parts and of objects.
    pub fn bytes_kept(&self) -> usize {
        let of_objects: usize = self.state().objects.values().map(|object| object.bytes.len()).sum();
        of_objects + self.bytes_of_parts()
    }

    /// The names of objects that are not the driver's own.
    pub fn names(&self) -> Vec<String> {
        self.state().objects.keys().filter(|name| *name != ".larder/profile.json").cloned().collect()
    }

    fn there(&self) -> S3Result<MutexGuard<'_, State>> {
        let state = self.state();
        if state.is_missing { Err(s3_error!(NoSuchBucket)) } else { Ok(state) }
    }
}

impl State {
    fn blob(&mut self, bytes: Bytes, metadata: Option<Metadata>, encryption: Option<ServerSideEncryption>) -> Blob {
        self.count += 1;
        let etag = format!("{:032x}", self.count);
        Blob { bytes, etag, metadata, modified: SystemTime::now(), encryption }
    }

    fn check(&self, key: &str, none: Option<&ETagCondition>, matches: Option<&ETagCondition>) -> S3Result<()> {
        let there = self.objects.get(key);
        if none.is_some() && there.is_some() {
            return Err(s3_error!(PreconditionFailed));
        }
        match (matches, there) {
            (None, _) => Ok(()),
            (Some(_), None) => Err(s3_error!(NoSuchKey)),
            (Some(ETagCondition::ETag(etag)), Some(blob)) if etag.value() != blob.etag => {
                Err(s3_error!(PreconditionFailed))
            }
            _ => Ok(()),
        }
    }

    fn keep(&mut self, key: String, blob: Blob, versioned: bool) {
        if versioned {
            self.versions.push((key.clone(), blob.etag.clone()));
        }
        self.objects.insert(key, blob);
    }

    fn open(&mut self, id: &str, key: &str) -> S3Result<&mut Open> {
        self.uploads.get_mut(id).filter(|open| open.key == key).ok_or_else(|| s3_error!(NoSuchUpload))
    }

    fn object(&self, key: &str) -> S3Result<&Blob> {
        self.objects.get(key).ok_or_else(|| s3_error!(NoSuchKey))
    }
}

async fn collected(body: Option<StreamingBlob>) -> S3Result<Bytes> {
    let Some(body) = body else { return Ok(Bytes::new()) };
    let blocks: Vec<Bytes> = body.try_collect().await.map_err(|_| s3_error!(IncompleteBody))?;
    Ok(blocks.concat().into())
}

fn etag(blob: &Blob) -> Option<ETag> {
    Some(ETag::Strong(blob.etag.clone()))
}

fn len(bytes: usize) -> Option<i64> {
    i64::try_from(bytes).ok()
}

/// Bytes in blocks, so that a reader can be cut off between them.
fn in_blocks(bytes: &Bytes) -> StreamingBlob {
    let blocks: Vec<_> = bytes.chunks(16 << 10).map(|block| Ok::<_, std::io::Error>(bytes.slice_ref(block))).collect();
    StreamingBlob::wrap(stream::iter(blocks))
}

#[async_trait::async_trait]
impl S3 for Bucket {
    async fn create_bucket(&self, _: S3Request<CreateBucketInput>) -> S3Result<S3Response<CreateBucketOutput>> {
        self.state().is_missing = false;
        Ok(S3Response::new(CreateBucketOutput::default()))
    }

    async fn head_bucket(&self, _: S3Request<HeadBucketInput>) -> S3Result<S3Response<HeadBucketOutput>> {
        drop(self.there()?);
        Ok(S3Response::new(HeadBucketOutput::default()))
    }

    async fn get_bucket_versioning(
        &self,
        _: S3Request<GetBucketVersioningInput>,
    ) -> S3Result<S3Response<GetBucketVersioningOutput>> {
        let status =
            self.quirks.versioned.then(|| BucketVersioningStatus::from_static(BucketVersioningStatus::ENABLED));
        Ok(S3Response::new(GetBucketVersioningOutput { status, ..Default::default() }))
    }

    async fn put_object(&self, request: S3Request<PutObjectInput>) -> S3Result<S3Response<PutObjectOutput>> {
        let input = request.input;
        let bytes = collected(input.body).await?;
        let sha256 = BASE64.encode(&Digests::of(&bytes).sha256);
        if input.checksum_sha256.is_some_and(|told| told != sha256) {
            return Err(s3_error!(BadDigest));
        }
        if self.quirks.refuses_encryption && input.server_side_encryption.is_some() {
            return Err(s3_error!(InvalidRequest));
        }
        let is_quoted = request.headers.get("if-match").is_some_and(|etag| etag.as_bytes().starts_with(b"\""));
        if self.quirks.compares_bare && is_quoted {
            return Err(s3_error!(PreconditionFailed));
        }
        let mut state = self.there()?;
        if !self.quirks.ignores_conditions {
            state.check(&input.key, input.if_none_match.as_ref(), input.if_match.as_ref())?;
        }
        let encryption = input.server_side_encryption.filter(|_| !self.quirks.never_encrypts);
        let blob = state.blob(bytes, input.metadata, encryption.clone());
        let e_tag = etag(&blob);
        state.keep(input.key, blob, self.quirks.versioned);
        let output = PutObjectOutput { e_tag, server_side_encryption: encryption, ..Default::default() };
        Ok(S3Response::new(output))
    }

    async fn put_object_tagging(
        &self,
        request: S3Request<PutObjectTaggingInput>,
    ) -> S3Result<S3Response<PutObjectTaggingOutput>> {
        self.there()?.object(&request.input.key)?;
        Ok(S3Response::new(PutObjectTaggingOutput::default()))
    }

    async fn get_object(&self, request: S3Request<GetObjectInput>) -> S3Result<S3Response<GetObjectOutput>> {
        let input = request.input;
        let blob = self.there()?.object(&input.key)?.clone();
        if let Some(ETagCondition::ETag(wanted)) = &input.if_match
            && wanted.value() != blob.etag
        {
            return Err(s3_error!(PreconditionFailed));
        }
        let asked = input.range.filter(|_| !self.quirks.ignores_ranges);
        if asked.is_some() && blob.bytes.is_empty() {
            return Err(s3_error!(InvalidRange));
        }
        let range = asked.map(|range| range.check(blob.bytes.len() as u64)).transpose()?;
        let told =
            |range: &std::ops::Range<u64>| format!("bytes {}-{}/{}", range.start, range.end - 1, blob.bytes.len());
        let content_range = range.as_ref().map(told);
        let part = range.map_or(blob.bytes.clone(), |range| blob.bytes.slice(range.start as usize..range.end as usize));
        let output = GetObjectOutput {
            content_length: len(part.len()),
            content_range,
            body: Some(in_blocks(&part)),
            e_tag: etag(&blob),
            last_modified: Some(blob.modified.into()),
            metadata: blob.metadata.clone(),
            ..Default::default()
        };
        Ok(S3Response::new(output))
    }

    async fn head_object(&self, request: S3Request<HeadObjectInput>) -> S3Result<S3Response<HeadObjectOutput>> {
        let blob = self.there()?.object(&request.input.key)?.clone();
        let output = HeadObjectOutput {
            content_length: len(blob.bytes.len()),
            e_tag: etag(&blob),
            last_modified: Some(blob.modified.into()),
            metadata: blob.metadata,
            server_side_encryption: blob.encryption,
            ..Default::default()
        };
        Ok(S3Response::new(output))
    }

    async fn delete_object(&self, request: S3Request<DeleteObjectInput>) -> S3Result<S3Response<DeleteObjectOutput>> {
        let input = request.input;
        let mut state = self.there()?;
        match input.version_id {
            Some(version) => state.versions.retain(|(key, id)| *key != input.key || *id != version),
            None if self.quirks.versioned => {
                state.count += 1;
                let mark = format!("mark-{}", state.count);
                state.versions.push((input.key.clone(), mark));
            }
            None => {}
        }
        if !state.versions.iter().any(|(key, id)| *key == input.key && !id.starts_with("mark"))
            || !self.quirks.versioned
        {
            state.objects.remove(&input.key);
        }
        Ok(S3Response::new(DeleteObjectOutput::default()))
    }

    async fn delete_objects(
        &self,
        request: S3Request<DeleteObjectsInput>,
    ) -> S3Result<S3Response<DeleteObjectsOutput>> {
        if self.quirks.has_little {
            return Err(s3_error!(NotImplemented));
        }
        let mut state = self.there()?;
        for object in request.input.delete.objects {
            state.objects.remove(&object.key);
        }
        Ok(S3Response::new(DeleteObjectsOutput::default()))
    }

    async fn list_object_versions(
        &self,
        request: S3Request<ListObjectVersionsInput>,
    ) -> S3Result<S3Response<ListObjectVersionsOutput>> {
        let prefix = request.input.prefix.unwrap_or_default();
        let state = self.there()?;
        let versions = state.versions.iter().filter(|(key, _)| key.starts_with(&prefix));
        let versions = versions.map(|(key, id)| ObjectVersion {
            key: Some(key.clone()),
            version_id: Some(id.clone()),
            ..Default::default()
        });
        let output = ListObjectVersionsOutput { versions: Some(versions.collect()), ..Default::default() };
        Ok(S3Response::new(output))
    }

    async fn list_objects_v2(
        &self,
        request: S3Request<ListObjectsV2Input>,
    ) -> S3Result<S3Response<ListObjectsV2Output>> {
        let input = request.input;
        let repeats = self.quirks.repeats_at_seams && input.continuation_token.is_some();
        let (prefix, after) = (input.prefix.unwrap_or_default(), input.continuation_token.or(input.start_after));
        let state = self.there()?;
        let mut found: Vec<_> = state.objects.iter().filter(|(key, _)| key.starts_with(&prefix)).collect();
        if self.quirks.lists_backwards {
            found.reverse();
            found.retain(|(key, _)| after.as_ref().is_none_or(|after| *key < after || repeats && *key == after));
        } else {
            found.retain(|(key, _)| after.as_ref().is_none_or(|after| *key > after || repeats && *key == after));
        }
        let page = usize::try_from(input.max_keys.unwrap_or(1_000)).unwrap_or(1_000);
        let is_truncated = found.len() > page;
        found.truncate(page);
        let next = found.last().map(|(key, _)| (*key).clone()).filter(|_| is_truncated);
        let entry = |(key, blob): &(&String, &Blob)| Object {
            key: Some(s3s_encoded(key)),
            size: len(blob.bytes.len()),
            e_tag: etag(blob).filter(|_| !self.quirks.lists_without_etags),
            last_modified: Some(blob.modified.into()),
            ..Default::default()
        };
        let output = ListObjectsV2Output {
            contents: Some(found.iter().map(entry).collect()),
            encoding_type: Some(EncodingType::from_static(EncodingType::URL)),
            is_truncated: Some(is_truncated),
            next_continuation_token: next,
            ..Default::default()
        };
        Ok(S3Response::new(output))
    }

    async fn copy_object(&self, request: S3Request<CopyObjectInput>) -> S3Result<S3Response<CopyObjectOutput>> {
        let condition = |name: &str| {
            let text = request.headers.get(name)?.to_str().ok()?;
            let etag = ETag::Strong(text.trim_matches('"').to_owned());
            Some(if text == "*" { ETagCondition::Any } else { ETagCondition::ETag(etag) })
        };
        let (none, matches) = (condition("if-none-match"), condition("if-match"));
        let CopySource::Bucket { key: from, .. } = request.input.copy_source else {
            return Err(s3_error!(NotImplemented));
        };
        let mut state = self.there()?;
        let source = state.object(&from)?.clone();
        if !self.quirks.ignores_conditions && !self.quirks.ignores_copy_conditions {
            state.check(&request.input.key, none.as_ref(), matches.as_ref())?;
        }
        let encryption = request.input.server_side_encryption.filter(|_| !self.quirks.encrypts_puts_alone);
        let blob = state.blob(source.bytes, source.metadata, encryption);
        let copy_object_result = Some(CopyObjectResult { e_tag: etag(&blob), ..Default::default() });
        state.keep(request.input.key, blob, self.quirks.versioned);
        Ok(S3Response::new(CopyObjectOutput { copy_object_result, ..Default::default() }))
    }

    async fn create_multipart_upload(
        &self,
        request: S3Request<CreateMultipartUploadInput>,
    ) -> S3Result<S3Response<CreateMultipartUploadOutput>> {
        let input = request.input;
        let mut state = self.there()?;
        state.count += 1;
        let id = format!("upload.{}", state.count);
        let encryption = input.server_side_encryption.filter(|_| !self.quirks.encrypts_puts_alone);
        let begun = SystemTime::now();
        let open = Open { key: input.key, metadata: input.metadata, encryption, parts: BTreeMap::new(), begun };
        state.uploads.insert(id.clone(), open);
        Ok(S3Response::new(CreateMultipartUploadOutput { upload_id: Some(id), ..Default::default() }))
    }

    async fn upload_part(&self, request: S3Request<UploadPartInput>) -> S3Result<S3Response<UploadPartOutput>> {
        let input = request.input;
        let bytes = collected(input.body).await?;
        let mut state = self.there()?;
        let blob = state.blob(bytes, None, None);
        let e_tag = etag(&blob);
        state.open(&input.upload_id, &input.key)?.parts.insert(input.part_number, blob);
        Ok(S3Response::new(UploadPartOutput { e_tag, ..Default::default() }))
    }

    async fn upload_part_copy(
        &self,
        request: S3Request<UploadPartCopyInput>,
    ) -> S3Result<S3Response<UploadPartCopyOutput>> {
        let input = request.input;
        let CopySource::Bucket { key: from, .. } = input.copy_source else { return Err(s3_error!(NotImplemented)) };
        let mut state = self.there()?;
        let source = state.object(&from)?.clone();
        let range = input.copy_source_range.as_deref().and_then(|range| {
            let (first, last) = range.strip_prefix("bytes=")?.split_once('-')?;
            Some(first.parse::<usize>().ok()?..last.parse::<usize>().ok()? + 1)
        });
        let bytes = range.map_or(source.bytes.clone(), |range| source.bytes.slice(range));
        let blob = state.blob(bytes, None, None);
        let copy_part_result = Some(CopyPartResult { e_tag: etag(&blob), ..Default::default() });
        state.open(&input.upload_id, &input.key)?.parts.insert(input.part_number, blob);
        Ok(S3Response::new(UploadPartCopyOutput { copy_part_result, ..Default::default() }))
    }

    async fn list_parts(&self, request: S3Request<ListPartsInput>) -> S3Result<S3Response<ListPartsOutput>> {
        let input = request.input;
        let mut state = self.there()?;
        let after = input.part_number_marker.and_then(|marker| marker.to_string().parse().ok()).unwrap_or(0);
        let open = state.open(&input.upload_id, &input.key)?;
        let parts: Vec<Part> = open
            .parts
            .range(after + 1..)
            .map(|(number, blob)| Part {
                part_number: Some(*number),
                size: len(blob.bytes.len()),
                e_tag: etag(blob),
                ..Default::default()
            })
            .collect();
        Ok(S3Response::new(ListPartsOutput { parts: Some(parts), is_truncated: Some(false), ..Default::default() }))
    }

    async fn list_multipart_uploads(
        &self,
        request: S3Request<ListMultipartUploadsInput>,
    ) -> S3Result<S3Response<ListMultipartUploadsOutput>> {
        if self.quirks.has_little {
            return Err(s3_error!(NotImplemented));
        }
        // As moto has it: 2010-11-10T20:48:33Z.
        let long_ago = SystemTime::UNIX_EPOCH + Duration::from_secs(1_289_422_113);
        let prefix = request.input.prefix.unwrap_or_default();
        let state = self.there()?;
        let is_told =
            |key: &str| key.starts_with(&prefix) && !(self.quirks.lists_uploads_by_folder_alone && key == prefix);
        let open = state.uploads.iter().filter(|(_, open)| is_told(&open.key));
        let uploads = open.map(|(id, open)| MultipartUpload {
            key: Some(open.key.clone()),
            upload_id: Some(id.clone()),
            initiated: Some(if self.quirks.misdates_uploads { long_ago.into() } else { open.begun.into() }),
            ..Default::default()
        });
        let output = ListMultipartUploadsOutput { uploads: Some(uploads.collect()), ..Default::default() };
        Ok(S3Response::new(output))
    }

    async fn complete_multipart_upload(
        &self,
        request: S3Request<CompleteMultipartUploadInput>,
    ) -> S3Result<S3Response<CompleteMultipartUploadOutput>> {
        const PART_BYTES_MIN: usize = 5 << 20;
        let input = request.input;
        let mut state = self.there()?;
        let named = input.multipart_upload.and_then(|upload| upload.parts).unwrap_or_default();
        if self.quirks.fails_over_unknown_uploads && !state.uploads.contains_key(&input.upload_id) {
            return Err(s3_error!(InternalError));
        }
        let open = state.open(&input.upload_id, &input.key)?;
        let (mut whole, metadata, encryption) = (Vec::new(), open.metadata.clone(), open.encryption.clone());
        for (at, part) in named.iter().enumerate() {
            let blob = part.part_number.and_then(|number| open.parts.get(&number));
            let blob = blob.filter(|blob| part.e_tag.as_ref().is_some_and(|etag| etag.value() == blob.etag));
            let blob = blob.ok_or_else(|| s3_error!(InvalidPart))?;
            if at + 1 < named.len() && blob.bytes.len() < PART_BYTES_MIN {
                return Err(s3_error!(EntityTooSmall));
            }
            whole.extend_from_slice(&blob.bytes);
        }
        if !self.quirks.ignores_conditions && !self.quirks.ignores_complete_conditions {
            state.check(&input.key, input.if_none_match.as_ref(), input.if_match.as_ref())?;
        }
        state.uploads.remove(&input.upload_id);
        let blob = state.blob(whole.into(), metadata, encryption);
        let e_tag = etag(&blob).filter(|_| !self.quirks.completes_without_etag);
        state.keep(input.key, blob, self.quirks.versioned);
        Ok(S3Response::new(CompleteMultipartUploadOutput { e_tag, ..Default::default() }))
    }

    async fn abort_multipart_upload(
        &self,
        request: S3Request<AbortMultipartUploadInput>,
    ) -> S3Result<S3Response<AbortMultipartUploadOutput>> {
        let input = request.input;
        let mut state = self.there()?;
        state.open(&input.upload_id, &input.key)?;
        state.uploads.remove(&input.upload_id);
        Ok(S3Response::new(AbortMultipartUploadOutput::default()))
    }
}

/// A name as `encoding-type=url` has it: form-encoded, a space as a plus.
fn s3s_encoded(name: &str) -> String {
    const PLAIN: &percent_encoding::AsciiSet =
        &percent_encoding::NON_ALPHANUMERIC.remove(b'/').remove(b'-').remove(b'.').remove(b'_').remove(b' ');
    percent_encoding::utf8_percent_encode(name, PLAIN).to_string().replace(' ', "+")
}
