//! Signatures only; replaced by the implementation.
#![allow(missing_docs, clippy::todo, clippy::unused_async, unused_variables)]
use crate::*;

impl Files {
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
