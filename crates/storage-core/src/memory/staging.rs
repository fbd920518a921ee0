//! Staging and publishing of [`MemoryStore`], each effect a step of its own.

use super::{
    MemoryStore,
    disk::{Blob, State},
};
use crate::{Body, ErrorKind, Key, Leftover, NodeId, Op, OpId, Pair, Part, PutMode, Result, Staged, Staging};
use async_trait::async_trait;
use bytes::Bytes;
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

impl MemoryStore {
    /// Writes a staged part: first half of it, as a dying process leaves it, then all, then durably.
    async fn keep(&self, op: &OpId, part: Part, bytes: Bytes) -> Result<Arc<Blob>> {
        let subject = op.as_str();
        self.step(Op::Stage, "stage.written", subject).await?;
        let blob = self.act(Op::Stage, subject, |state| {
            let blob = state.blob(bytes);
            state.stage(&self.node, op, part, Some(blob.clone()));
            blob
        })?;
        self.step(Op::Stage, "stage.durable", subject).await?;
        self.act(Op::Stage, subject, |state| state.sync_staged(op, part))?;
        self.step(Op::Stage, "stage.answered", subject).await?;
        Ok(blob)
    }

    async fn begin_part(&self, op: &OpId, part: Part, bytes: &Bytes) -> Result<()> {
        self.step(Op::Stage, "stage.begun", op.as_str()).await?;
        let half = bytes.slice(..bytes.len() / 2);
        let free = self.act(Op::Stage, op.as_str(), |state| {
            let free = state.staged.get(op).is_none_or(|staged| staged.part(part).visible().is_none());
            if free {
                let blob = state.blob(half);
                state.stage(&self.node, op, part, Some(blob));
            }
            free
        })?;
        if free { Ok(()) } else { Err(self.error(Op::Stage, op, ErrorKind::AlreadyExists)) }
    }

    fn staged_part(&self, op: &OpId, part: Part, key: &Key) -> Result<Arc<Blob>> {
        let found = self.act(Op::Publish, key.as_str(), |state| state.staged(&self.node, op, part).cloned())?;
        found.ok_or_else(|| self.error(Op::Publish, key, ErrorKind::NotFound).because("nothing is staged for it"))
    }

    /// Makes one pair visible: its bytes, then its attributes. Where those can't be, the bytes are taken away again.
    async fn publish_pair(&self, pair: &Pair) -> Result<()> {
        let bytes = self.staged_part(&pair.op, Part::Bytes, &pair.bytes)?;
        let attributes = self.staged_part(&pair.op, Part::Attributes, &pair.attributes)?;
        self.step(Op::Publish, "publish.bytes", pair.bytes.as_str()).await?;
        self.link(&pair.bytes, bytes.clone())?;
        self.step(Op::Publish, "publish.attributes", pair.attributes.as_str()).await?;
        match self.link(&pair.attributes, attributes) {
            Ok(()) => Ok(()),
            Err(error) => {
                self.step(Op::Publish, "publish.undo", pair.bytes.as_str()).await?;
                self.act(Op::Publish, pair.bytes.as_str(), |state| remove_same(state, &pair.bytes, &bytes))?;
                Err(error)
            }
        }
    }

    fn link(&self, key: &Key, blob: Arc<Blob>) -> Result<()> {
        let linked = self.act(Op::Publish, key.as_str(), |state| state.write(key, blob, &PutMode::Create))?;
        linked.map(|_| ()).map_err(|kind| self.error(Op::Publish, key, kind))
    }

    async fn sync_folder(&self, folder: &str, keys: &BTreeSet<&Key>) -> Result<()> {
        self.step(Op::Publish, "publish.sync", folder).await?;
        self.act(Op::Publish, folder, |state| keys.iter().for_each(|key| state.sync(key)))
    }
}

#[deny(clippy::missing_trait_methods)]
#[async_trait]
impl Staging for MemoryStore {
    fn node(&self) -> NodeId {
        self.node.clone()
    }

    async fn is_alive(&self, node: &NodeId) -> Result<bool> {
        self.step(Op::Recover, "alive", node.as_str()).await?;
        self.act(Op::Recover, node.as_str(), |state| state.is_alive(node) || state.is_taken_over(node, &self.node))
    }

    async fn stage(&self, op: &OpId, part: Part, body: Body) -> Result<Staged> {
        let bytes = self.read(Op::Stage, op.as_str(), body).await?;
        self.begin_part(op, part, &bytes).await?;
        match self.keep(op, part, bytes).await {
            Ok(blob) => Ok(Staged { size: blob.size(), digests: blob.digests() }),
            Err(error) => {
                // A process that died meanwhile leaves it for others to find.
                let _ = self.act(Op::Stage, op.as_str(), |state| state.stage(&self.node, op, part, None));
                Err(error)
            }
        }
    }

    async fn stage_pair(&self, op: &OpId, bytes: Bytes, attributes: Bytes) -> Result<()> {
        self.stage(op, Part::Bytes, bytes.into()).await?;
        self.stage(op, Part::Attributes, attributes.into()).await.map(drop)
    }

    async fn publish(&self, pairs: &[Pair]) -> Vec<Result<()>> {
        let mut results = Vec::with_capacity(pairs.len());
        for pair in pairs {
            results.push(self.publish_pair(pair).await);
        }
        for (folder, keys) in folders(pairs) {
            let Err(error) = self.sync_folder(folder, &keys).await else { continue };
            for (pair, result) in pairs.iter().zip(&mut results) {
                if result.is_ok() && (keys.contains(&pair.bytes) || keys.contains(&pair.attributes)) {
                    *result = Err(self.error(Op::Publish, &pair.bytes, error.kind().clone()));
                }
            }
        }
        for (pair, result) in pairs.iter().zip(&mut results) {
            if let Err(error) = self.step(Op::Publish, "publish.answered", pair.bytes.as_str()).await {
                *result = Err(error);
            }
        }
        results
    }

    async fn leftovers(&self) -> Result<Vec<Leftover>> {
        self.step(Op::Recover, "leftovers.taken", self.node.as_str()).await?;
        self.act(Op::Recover, self.node.as_str(), |state| take_over(state, &self.node))
    }

    async fn finish(&self, pair: &Pair) -> Result<()> {
        self.step(Op::Publish, "finish.bytes", pair.bytes.as_str()).await?;
        let missing = self.act(Op::Publish, pair.bytes.as_str(), |state| state.find(&pair.bytes).is_none())?;
        if missing {
            self.link(&pair.bytes, self.staged_part(&pair.op, Part::Bytes, &pair.bytes)?)?;
        }
        self.step(Op::Publish, "finish.durable", pair.bytes.as_str()).await?;
        self.act(Op::Publish, pair.bytes.as_str(), |state| {
            state.sync(&pair.bytes);
            state.sync(&pair.attributes);
        })
    }

    async fn withdraw(&self, op: &OpId, bytes: &Key) -> Result<bool> {
        self.step(Op::Recover, "withdraw.gone", bytes.as_str()).await?;
        let (gone, absent) = self.act(Op::Recover, bytes.as_str(), |state| {
            let staged = state.staged(&self.node, op, Part::Bytes).cloned();
            let gone = staged.is_some_and(|blob| remove_same(state, bytes, &blob));
            (gone, state.find(bytes).is_none())
        })?;
        if absent {
            self.step(Op::Recover, "withdraw.durable", bytes.as_str()).await?;
            self.act(Op::Recover, bytes.as_str(), |state| state.sync(bytes))?;
        }
        Ok(gone)
    }

    async fn holds(&self, bytes: &Key) -> Result<bool> {
        self.step(Op::Recover, "holds", bytes.as_str()).await?;
        self.act(Op::Recover, bytes.as_str(), |state| {
            let staged = |blob: &Arc<Blob>| {
                let mut staged = state.staged.values().filter_map(|staged| staged.bytes.visible());
                staged.any(|other| Arc::ptr_eq(other, blob))
            };
            state.find(bytes).is_some_and(staged)
        })
    }

    async fn discard(&self, op: &OpId) -> Result<()> {
        self.step(Op::Discard, "discard.gone", op.as_str()).await?;
        self.act(Op::Discard, op.as_str(), |state| state.discard(op))
    }
}

/// Removes the object at `key` if it is `blob` itself, not merely equal to it.
fn remove_same(state: &mut State, key: &Key, blob: &Arc<Blob>) -> bool {
    let same = state.find(key).is_some_and(|there| Arc::ptr_eq(there, blob));
    if same {
        state.remove(key);
    }
    same
}

/// The keys of a batch, by the folder that must be synced for them.
fn folders(pairs: &[Pair]) -> BTreeMap<&str, BTreeSet<&Key>> {
    let mut folders = BTreeMap::<&str, BTreeSet<&Key>>::new();
    for key in pairs.iter().flat_map(|pair| [&pair.bytes, &pair.attributes]) {
        let folder = key.as_str().rsplit_once('/').map_or("", |(folder, _)| folder);
        folders.entry(folder).or_default().insert(key);
    }
    folders
}

/// Gives `node` all that the dead have staged.
fn take_over(state: &mut State, node: &NodeId) -> Vec<Leftover> {
    let dead: BTreeSet<NodeId> =
        state.staged.values().map(|staged| &staged.node).filter(|node| !state.is_alive(node)).cloned().collect();
    let mut found = Vec::new();
    for (op, staged) in state.staged.iter_mut().filter(|(_, staged)| dead.contains(&staged.node)) {
        let holder = std::mem::replace(&mut staged.node, node.clone());
        let from = staged.left_by.get_or_insert(holder).clone();
        let bytes = staged.bytes.visible().map(|blob| blob.size());
        let attributes = staged.attributes.visible().map(|blob| blob.bytes.clone());
        if bytes.is_some() || attributes.is_some() {
            found.push(Leftover { node: from, op: op.clone(), bytes, attributes });
        }
    }
    found
}
