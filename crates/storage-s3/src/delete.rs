//! Deleting: one object, or many by few requests; on a versioned bucket, every version of it.

use crate::{
    S3Store,
    fault::{Fault, Outcome},
    store::Inner,
};
use aws_sdk_s3::types::{Delete, ObjectIdentifier};
use futures_util::{StreamExt, stream};
use larder_storage_core::{ErrorKind, Key, Op, Result};
use std::collections::HashMap;

/// Objects of one request.
const BATCH: usize = 1_000;
/// Requests at once where each deletes one object.
const AT_ONCE: usize = 16;

impl S3Store {
    /// Deletes many objects, those that are absent included; an answer each, in their order. One request for each thousand where
    /// the server takes that (and the bucket has no versions), else one for each.
    pub async fn delete_many(&self, keys: &[Key]) -> Vec<Result<()>> {
        let gone = match self.inner.profile().await {
            Ok(profile) if profile.versioned => self.inner.delete_each(keys, true).await,
            Ok(profile) => self.inner.delete_all(keys, profile.batch_delete).await,
            Err(_) => self.inner.delete_all(keys, false).await,
        };
        let at = |(key, gone): (&Key, Outcome<()>)| gone.map_err(|fault| fault.at(Op::Delete, key, self));
        keys.iter().zip(gone).map(at).collect()
    }
}

impl Inner {
    pub(crate) async fn delete(&self, key: &Key) -> Outcome<()> {
        self.name(key)?;
        self.delete_one(key, self.profile().await?.versioned).await
    }

    /// Deletes objects of a bucket without versions, in batches or one by one.
    pub(crate) async fn delete_all(&self, keys: &[Key], in_batches: bool) -> Vec<Outcome<()>> {
        if !in_batches {
            return self.delete_each(keys, false).await;
        }
        let mut gone = Vec::with_capacity(keys.len());
        for batch in keys.chunks(BATCH) {
            gone.extend(self.delete_batch(batch).await);
        }
        gone
    }

    /// Deletes objects one by one, with their versions where there may be some.
    pub(crate) async fn delete_each(&self, keys: &[Key], versioned: bool) -> Vec<Outcome<()>> {
        let delete = |key| self.delete_one(key, versioned);
        stream::iter(keys.iter().map(delete).collect::<Vec<_>>()).buffered(AT_ONCE).collect().await
    }

    async fn delete_one(&self, key: &Key, versioned: bool) -> Outcome<()> {
        let name = self.name(key)?;
        if versioned {
            return self.delete_versions(&name).await;
        }
        self.delete_version(&name, None).await
    }

    async fn delete_version(&self, name: &str, version: Option<String>) -> Outcome<()> {
        let delete = || async {
            let request = self.client().delete_object().bucket(self.bucket()).key(name);
            let answer = request.set_version_id(version.clone()).send().await;
            answer.map(drop).map_err(|error| self.fault(error))
        };
        match self.again(self.options.deadlines.small, delete).await {
            (Err(fault), _) if fault.is_absent() => Ok(()),
            // A refusal is none where an attempt before it may have been carried out.
            (Err(fault), before) if before.maybe => Err(fault.unsettled()),
            (answer, _) => answer,
        }
    }

    /// Deletes every version of an object, and every mark that says that it is deleted.
    async fn delete_versions(&self, name: &str) -> Outcome<()> {
        let mut gone = 0;
        let deleted = self.delete_versions_counted(name, &mut gone).await;
        // A refusal is none where some are gone.
        deleted.map_err(|fault| if gone > 0 { fault.unsettled() } else { fault })
    }

    async fn delete_versions_counted(&self, name: &str, gone: &mut usize) -> Outcome<()> {
        loop {
            let ask = || async {
                let request = self.client().list_object_versions().bucket(self.bucket()).prefix(name);
                request.max_keys(BATCH as i32).send().await.map_err(|error| self.fault(error))
            };
            let page = self.read(ask).await?;
            let versions = page.versions().iter().map(|version| (version.key(), version.version_id()));
            let marks = page.delete_markers().iter().map(|mark| (mark.key(), mark.version_id()));
            let ours: Vec<_> = versions.chain(marks).filter(|(key, _)| *key == Some(name)).collect();
            // Names that begin alike come behind this one: a page without it is behind it.
            if ours.is_empty() {
                return Ok(());
            }
            for (_, version) in ours {
                self.delete_version(name, version.map(str::to_owned)).await?;
                *gone += 1;
            }
        }
    }

    async fn delete_batch(&self, keys: &[Key]) -> Vec<Outcome<()>> {
        let failed = |fault: Fault| {
            let again = || Fault { temporary: fault.temporary, ..Fault::says(fault.kind.clone(), "the batch failed") };
            keys.iter().map(|_| Err(again())).collect()
        };
        match self.send_batch(keys).await {
            Ok(mut refused) => keys
                .iter()
                .map(|key| self.name(key).and_then(|name| refused.remove(&name).map_or(Ok(()), Err)))
                .collect(),
            Err(fault) if fault.is_unsupported() => self.delete_each(keys, false).await,
            Err(fault) => failed(fault),
        }
    }

    /// The objects that stay, with the reason.
    async fn send_batch(&self, keys: &[Key]) -> Outcome<HashMap<String, Fault>> {
        let id = |key: &Key| {
            let id = ObjectIdentifier::builder().key(self.name(key)?).build();
            id.map_err(|error| Fault::says(ErrorKind::Unsupported, error))
        };
        let ids = keys.iter().map(id).collect::<Outcome<Vec<_>>>()?;
        let delete = Delete::builder().set_objects(Some(ids)).quiet(true).build();
        let delete = delete.map_err(|error| Fault::says(ErrorKind::Unsupported, error))?;
        let send = || async {
            let request = self.client().delete_objects().bucket(self.bucket()).delete(delete.clone());
            request.send().await.map_err(|error| self.fault(error))
        };
        let answer = self.read(send).await?;
        let stays = answer.errors().iter().filter(|error| error.code() != Some("NoSuchKey"));
        Ok(stays
            .filter_map(|error| {
                let words = format!("{}: {}", error.code().unwrap_or("no code"), error.message().unwrap_or_default());
                let kind = match error.code() {
                    Some("AccessDenied") => ErrorKind::PermissionDenied,
                    _ => ErrorKind::Unavailable,
                };
                Some((error.key()?.to_owned(), Fault::says(kind, words)))
            })
            .collect())
    }
}
