//! Signatures only; replaced by the implementation.
#![allow(missing_docs, clippy::todo, clippy::unused_async, unused_variables)]
use crate::files::*;
use crate::ledger::RevisionRow;
use crate::*;
use larder_storage_core::{Body, ByteRange};

impl Files {
    /// Starts a node: checks stores, ledger and secrets against each other, makes a new installation where there is none, settles what dead nodes left.
    pub async fn start(parts: Parts, settings: Settings) -> Result<(Self, Recovered), StartError> {
        todo!()
    }
    /// Finishes what is under way and stops taking changes.
    pub async fn stop(&self) {
        todo!()
    }
    pub fn health(&self) -> Health {
        todo!()
    }
    /// Key for tokens: HKDF(master, purpose, epoch): a rebuild changes it.
    pub fn signing_key(&self, purpose: &str) -> [u8; 32] {
        todo!()
    }
    pub fn environment(&self) -> &Environment {
        todo!()
    }
    pub fn store_name(&self, id: StoreId) -> Option<&StoreName> {
        todo!()
    }

    /// Streams content to its store; durable and hashed when it returns, but no file's yet.
    pub async fn receive(&self, caller: &Caller, receive: Receive, body: Body) -> Result<Received> {
        todo!()
    }
    pub async fn create(&self, caller: &Caller, received: Received, new: NewFile) -> Result<Created> {
        todo!()
    }
    /// `if_match`: SHA-256 that the content must have now.
    pub async fn receive_revision(&self, caller: &Caller, id: FileId, body: Body) -> Result<Received> {
        todo!()
    }
    pub async fn replace(
        &self,
        caller: &Caller,
        id: FileId,
        received: Received,
        sha256: Option<Sha256>,
        if_match: Option<Vec<Sha256>>,
    ) -> Result<File> {
        todo!()
    }
    /// Also of a file in the trash.
    pub async fn describe(&self, caller: &Caller, id: FileId) -> Result<File> {
        todo!()
    }
    pub async fn revisions(&self, caller: &Caller, id: FileId) -> Result<Vec<RevisionRow>> {
        todo!()
    }
    /// Content of the newest or the named revision; NotFound of a file in the trash.
    pub async fn open(
        &self,
        caller: &Caller,
        file: &File,
        revision: Option<u64>,
        range: Option<ByteRange>,
    ) -> Result<Content> {
        todo!()
    }
    pub async fn update(&self, caller: &Caller, id: FileId, patch: Patch, if_version: Option<u64>) -> Result<File> {
        todo!()
    }
    pub async fn remove(&self, caller: &Caller, id: FileId, if_version: Option<u64>) -> Result<File> {
        todo!()
    }
    pub async fn restore(&self, caller: &Caller, id: FileId, if_version: Option<u64>) -> Result<File> {
        todo!()
    }
    pub async fn purge(&self, caller: &Caller, id: FileId, if_version: Option<u64>) -> Result<()> {
        todo!()
    }
    pub async fn list(&self, caller: &Caller, query: ListFiles) -> Result<Page> {
        todo!()
    }

    pub fn buckets(&self) -> Vec<Bucket> {
        todo!()
    }
    pub fn bucket(&self, name: &str) -> Result<Bucket> {
        todo!()
    }
    /// Conflict where the name is or was taken; durable as a sealed record.
    pub async fn add_user(&self, name: UserName, role: Role, password_hash: Option<String>) -> Result<User> {
        todo!()
    }
    pub async fn set_password(&self, id: UserId, password_hash: String) -> Result<User> {
        todo!()
    }
    pub async fn user_named(&self, name: &str) -> Result<Option<User>> {
        todo!()
    }
    pub async fn user(&self, id: UserId) -> Result<Option<User>> {
        todo!()
    }
    pub async fn users(&self) -> Result<Vec<User>> {
        todo!()
    }

    /// Canonical JSON lines by kind, id, revision.
    pub async fn dump(&self, out: &mut (dyn FnMut(&str) -> std::io::Result<()> + Send)) -> Result<()> {
        todo!()
    }
    pub async fn fsck(&self, options: FsckOptions, report: &mut (dyn FnMut(Finding) + Send)) -> Result<FsckSummary> {
        todo!()
    }
}

/// Rebuilds `parts.ledger` (empty) from the stores. `older` is the ledger that it replaces, if it can be opened.
pub async fn rebuild(
    parts: Parts,
    settings: Settings,
    older: Option<std::sync::Arc<dyn Ledger>>,
    report: &mut (dyn FnMut(Finding) + Send),
) -> Result<Rebuilt, StartError> {
    todo!()
}
