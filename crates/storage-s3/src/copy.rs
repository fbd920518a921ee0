//! Copying within the bucket, by the server.
//!
//! | size, mode | how |
//! |---|---|
//! | to 5 GiB | `CopyObject`, under the mode's condition where the server keeps those of a copy |
//! | to 5 GiB, a condition that only `CompleteMultipartUpload` keeps | an upload whose one part is copied |
//! | above | an upload whose parts are copied |
//! | onto itself | nothing is sent: what lies there is what would |

use crate::{
    fault::{Fault, Outcome},
    look::{Seen, quoted, validator},
    profile::{Conditions, Profile},
    store::Inner,
    terms::refused,
    upload::Upload,
};
use bytes::Bytes;
use futures_util::{StreamExt, TryStreamExt, stream};
use larder_storage_core::{Body, ETag, ErrorKind, Key, PartNumber, PutMode, UploadedPart, Written};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use std::sync::Arc;

/// What stays as it is where names stand in URLs, as in `x-amz-copy-source`: RFC 3986's unreserved characters, and the slash.
pub(crate) const PLAIN: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~').remove(b'/');

impl Inner {
    pub(crate) async fn copy(self: &Arc<Self>, from: &Key, to: &Key, mode: &PutMode) -> Outcome<Written> {
        self.name(to)?;
        let source = self.look(from).await?;
        if from == to {
            return onto_itself(source, mode);
        }
        let profile = self.profile().await?;
        let whole = source.meta.size <= self.options.copy_bytes_max;
        if whole && (keeps(profile.copy, mode) || !keeps(profile.complete, mode)) {
            return self.copy_whole(&source, to, mode, &profile).await;
        }
        if source.meta.size == 0 {
            return self.put(to, Body::from(Bytes::new()), mode).await;
        }
        self.copy_in_parts(&source, to, mode, &profile).await
    }

    async fn copy_whole(&self, source: &Seen, to: &Key, mode: &PutMode, profile: &Profile) -> Outcome<Written> {
        let terms = self.terms(to, mode, profile.copy).await?;
        let from = &source.meta.key;
        let (none_match, matches) = (terms.if_none_match.as_deref(), terms.if_match.as_deref());
        let copied = self.copy_raw(from, to, none_match, matches).await;
        match copied {
            Ok(Some(etag)) if self.encryption().0.is_none() => Ok(Written { size: source.meta.size, etag }),
            Ok(_) => self.look_back(to).await,
            Err(fault) if fault.maybe => match self.look_for(to).await {
                // Equal bytes are what was asked for, whoever brought them.
                Ok(Some(seen)) if seen.is_copy_of(source) => Ok(seen.written()),
                Ok(Some(_)) if fault.kind == ErrorKind::PreconditionFailed => Err(refused(fault, mode)),
                _ => Err(fault.unsettled()),
            },
            Err(fault) => Err(refused(fault, mode)),
        }
    }

    /// One `CopyObject`, repeated as it has to be; the validator, where the answer has one.
    pub(crate) async fn copy_raw(
        &self,
        from: &Key,
        to: &Key,
        if_none_match: Option<&str>,
        if_match: Option<&str>,
    ) -> Outcome<Option<ETag>> {
        let (name, place, (encryption, kms)) = (self.name(to)?, self.source(from)?, self.encryption());
        let copy = || async {
            let request = self.client().copy_object().bucket(self.bucket()).key(&name).copy_source(&place);
            let request = request
                .set_server_side_encryption(encryption.clone())
                .set_ssekms_key_id(kms.clone())
                .set_storage_class(self.storage_class())
                .set_if_none_match(if_none_match.map(Into::into))
                .set_if_match(if_match.map(Into::into));
            request.send().await.map_err(|error| self.fault(error))
        };
        let (answer, before) = self.again(self.options.deadlines.whole, copy).await;
        let answer = answer.map_err(|fault| Fault { maybe: fault.maybe || before.maybe, ..fault })?;
        Ok(validator(answer.copy_object_result().and_then(|result| result.e_tag())))
    }

    async fn copy_in_parts(
        self: &Arc<Self>,
        source: &Seen,
        to: &Key,
        mode: &PutMode,
        profile: &Profile,
    ) -> Outcome<Written> {
        let upload = Upload::begin(self.clone(), to).await?;
        let parts = stream::iter(ranges(source.meta.size, self.options.copy_bytes_max))
            .map(|(number, first, last)| copy_part(&upload, source, number, first, last))
            .buffer_unordered(self.options.parts_in_flight)
            .try_collect::<Vec<_>>()
            .await;
        match parts {
            Ok(parts) => upload.complete(&parts, mode, profile).await,
            Err(fault) => {
                upload.abort().await;
                Err(fault)
            }
        }
    }

    /// An object as the source of a copy.
    fn source(&self, key: &Key) -> Outcome<String> {
        Ok(format!("{}/{}", self.bucket(), utf8_percent_encode(&self.name(key)?, PLAIN)))
    }
}

async fn copy_part(upload: &Upload, source: &Seen, number: PartNumber, first: u64, last: u64) -> Outcome<UploadedPart> {
    let inner = upload.inner();
    let (name, place) = (inner.name(upload.key())?, inner.source(&source.meta.key)?);
    let copy = || async {
        let request = inner.client().upload_part_copy().bucket(inner.bucket()).key(&name).upload_id(upload.id());
        let request = request
            .part_number(i32::from(number.get()))
            .copy_source(&place)
            .copy_source_range(format!("bytes={first}-{last}"))
            .copy_source_if_match(quoted(&source.meta.etag));
        request.send().await.map_err(|error| inner.fault(error))
    };
    let answer = match inner.again(inner.options.deadlines.whole, copy).await.0 {
        Err(fault) if fault.kind == ErrorKind::PreconditionFailed => {
            return Err(Fault::says(ErrorKind::Unavailable, "the source was replaced while it was copied"));
        }
        answer => answer?,
    };
    let etag = answer.copy_part_result().and_then(|result| validator(result.e_tag()));
    let etag = etag.ok_or_else(|| Fault::says(ErrorKind::Unavailable, "the answer has no ETag of the part"))?;
    Ok(UploadedPart { number, size: last + 1 - first, etag })
}

/// The parts of an object: number, first and last offset. As few as `most` bytes a part allow.
fn ranges(size: u64, most: u64) -> Vec<(PartNumber, u64, u64)> {
    let count = size.div_ceil(most).max(1);
    let each = size.div_ceil(count);
    (0..count)
        .filter_map(|index| {
            let number = PartNumber::new(u16::try_from(index + 1).ok()?)?;
            Some((number, index * each, ((index + 1) * each).min(size) - 1))
        })
        .collect()
}

/// Whether a condition of this mode is kept, where it has one.
fn keeps(conditions: Conditions, mode: &PutMode) -> bool {
    match mode {
        PutMode::Create => conditions.create,
        PutMode::Replace => true,
        PutMode::ReplaceIf(_) => conditions.replace,
    }
}

/// S3 refuses a copy onto itself that changes nothing; so that is what is done.
fn onto_itself(source: Seen, mode: &PutMode) -> Outcome<Written> {
    match mode {
        PutMode::Create => Err(ErrorKind::AlreadyExists.into()),
        PutMode::ReplaceIf(etag) if *etag != source.meta.etag => Err(ErrorKind::PreconditionFailed.into()),
        _ => Ok(source.written()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_are_all_of_the_object_once() {
        for (size, most) in [(1, 10), (10, 10), (11, 10), (100, 7), (5, 1)] {
            let mut next = 0;
            for (at, (number, first, last)) in ranges(size, most).into_iter().enumerate() {
                assert_eq!((usize::from(number.get()), first), (at + 1, next), "{size} by {most}");
                assert!(last >= first && last - first < most);
                next = last + 1;
            }
            assert_eq!(next, size);
        }
    }
}
