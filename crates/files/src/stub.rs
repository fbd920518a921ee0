//! Signatures only; replaced by the implementation.
#![allow(missing_docs, clippy::todo, clippy::unused_async, unused_variables)]
use crate::*;

impl Files {
    pub async fn fsck(&self, options: FsckOptions, report: &mut (dyn FnMut(Finding) + Send)) -> Result<FsckSummary> {
        todo!()
    }
}
