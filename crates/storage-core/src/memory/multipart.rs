//! Uploads in parts of [`MemoryStore`], kept apart from its objects until they are completed.

use super::{
    MemoryStore,
    disk::{Answer, Request, State, Upload},
    store::COMPLETE,
};
use crate::{
    Body, Durable, ErrorKind, Key, Multipart, Op, OpenUpload, PartNumber, PutMode, Result, UploadId, UploadedPart,
    Written,
};
use async_trait::async_trait;
use std::collections::BTreeMap;

impl MemoryStore {
    /// Sends a change that is durable where it is visible.
    async fn send(
        &self,
        step: &'static str,
        key: &Key,
        effect: impl FnOnce(&mut State) -> Answer + Send + 'static,
    ) -> Result<Option<std::sync::Arc<super::disk::Blob>>> {
        let request = Request::send(&self.disk, key, effect);
        self.step(Op::Multipart, step, key.as_str()).await?;
        request.perform(&self.node).map_err(|kind| self.error(Op::Multipart, key, kind))
    }
}

#[deny(clippy::missing_trait_methods)]
#[async_trait]
impl Multipart for MemoryStore {
    async fn begin(&self, key: &Key) -> Result<UploadId> {
        let id = self.act(Op::Multipart, key.as_str(), |state| format!("upload-{}", state.tick()))?;
        let (target, name) = (key.clone(), id.clone());
        let effect = move |state: &mut State| {
            let begun = state.now();
            state.uploads.insert(name, Upload { key: target, begun, parts: BTreeMap::new() });
            Ok(None)
        };
        self.send("begin.visible", key, effect).await?;
        Ok(UploadId::new(id))
    }

    async fn put_part(&self, key: &Key, upload: &UploadId, number: PartNumber, body: Body) -> Result<UploadedPart> {
        let bytes = self.read(Op::Multipart, key.as_str(), body).await?;
        let size = bytes.len() as u64;
        let (target, id) = (key.clone(), upload.clone());
        let effect = move |state: &mut State| {
            let blob = state.blob(bytes);
            open(state, &target, &id)?.parts.insert(number, blob.clone());
            Ok(Some(blob))
        };
        let blob = self.send("part.visible", key, effect).await?;
        let Written { size, etag } = self.written(Op::Multipart, key, size, blob)?;
        Ok(UploadedPart { number, size, etag })
    }

    async fn parts(&self, key: &Key, upload: &UploadId) -> Result<Vec<UploadedPart>> {
        self.step(Op::Multipart, "parts", key.as_str()).await?;
        let parts = self.act(Op::Multipart, key.as_str(), |state| {
            let parts = &open(state, key, upload)?.parts;
            let part = |(number, blob): (&PartNumber, &std::sync::Arc<super::disk::Blob>)| UploadedPart {
                number: *number,
                size: blob.size(),
                etag: blob.etag.clone(),
            };
            Ok(parts.iter().map(part).collect())
        })?;
        parts.map_err(|kind| self.error(Op::Multipart, key, kind))
    }

    async fn complete(&self, key: &Key, upload: &UploadId, parts: &[UploadedPart], mode: PutMode) -> Result<Written> {
        let (target, id, parts) = (key.clone(), upload.clone(), parts.to_vec());
        let mode = self.terms(Op::Multipart, key, mode).await?;
        let effect = move |state: &mut State| {
            let bytes = join(open(state, &target, &id)?, &parts)?;
            let blob = state.blob(bytes.into());
            let written = state.write(&target, blob, &mode)?;
            state.uploads.remove(id.as_str());
            Ok(written)
        };
        let blob = self.change(&COMPLETE, key, Durable::Now, effect).await?;
        let size = blob.as_ref().map_or(0, |blob| blob.size());
        self.written(Op::Multipart, key, size, blob)
    }

    async fn abort(&self, key: &Key, upload: &UploadId) -> Result<()> {
        let id = upload.clone();
        let effect = move |state: &mut State| {
            state.uploads.remove(id.as_str());
            Ok(None)
        };
        self.send("abort.gone", key, effect).await.map(|_| ())
    }

    async fn open_uploads(&self, of: Option<Key>) -> Result<Vec<OpenUpload>> {
        let at = of.as_ref().map_or("uploads", Key::as_str);
        self.step(Op::Multipart, "uploads", at).await?;
        self.act(Op::Multipart, at, |state| {
            let now = state.now();
            let open = |(id, upload): (&String, &Upload)| OpenUpload {
                key: upload.key.clone(),
                upload: UploadId::new(id.as_str()),
                age: now.duration_since(upload.begun).unwrap_or_default(),
            };
            let is_asked_for = |(_, upload): &(&String, &Upload)| of.as_ref().is_none_or(|key| upload.key == *key);
            state.uploads.iter().filter(is_asked_for).map(open).collect()
        })
    }
}

fn open<'a>(state: &'a mut State, key: &Key, upload: &UploadId) -> Result<&'a mut Upload, ErrorKind> {
    state.uploads.get_mut(upload.as_str()).filter(|upload| upload.key == *key).ok_or(ErrorKind::NotFound)
}

/// The bytes of `parts`, in the order of their numbers, if each is the one that was uploaded.
fn join(upload: &Upload, parts: &[UploadedPart]) -> Result<Vec<u8>, ErrorKind> {
    let mut parts: Vec<_> = parts.iter().collect();
    parts.sort_by_key(|part| part.number);
    let mut whole = Vec::new();
    for part in parts {
        let blob = upload.parts.get(&part.number).filter(|blob| blob.etag == part.etag);
        whole.extend_from_slice(&blob.ok_or(ErrorKind::PreconditionFailed)?.bytes);
    }
    Ok(whole)
}
