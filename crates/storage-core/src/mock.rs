//! Mocks of the contract, made by mockall: for unit tests of what a caller does with one particular answer. Where a test needs a
//! store that behaves, [`crate::MemoryStore`] is better.
//!
//! ```
//! use larder_storage_core::{ErrorKind, Error, Key, Op, Store, mock::MockStore};
//!
//! /// What is under test.
//! async fn is_down(store: &dyn Store, key: &Key) -> bool {
//!     store.head(key).await.is_err_and(|error| error.is_temporary())
//! }
//!
//! # tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(async {
//! let mut store = MockStore::new();
//! store.expect_head().times(1).returning(|key| Err(Error::new(Op::Head, key, "mock", ErrorKind::Unavailable)));
//! assert!(is_down(&store, &Key::new("a/b").unwrap()).await);
//! # });
//! ```
//!
//! The accessors answer `'static` references: leak a mock (`Box::leak`) to hand it out.

// mockall writes the items, not their documents.
#![allow(missing_docs)]

use crate::{
    Body, GetOptions, Key, Leftover, Limits, ListOptions, Listed, Multipart, NodeId, Object, ObjectMeta, OpId,
    OpenUpload, Pair, Part, PartNumber, Presign, PresignMethod, PutMode, PutOptions, Result, SignedRequest, Staged,
    Staging, Store, UploadId, UploadedPart, Written,
};
use async_trait::async_trait;
use bytes::Bytes;
use futures_util::stream::BoxStream;
use std::{fmt, time::Duration};

mockall::mock! {
    pub Store {}

    #[async_trait]
    impl Store for Store {
        async fn put(&self, key: &Key, body: Body, options: PutOptions) -> Result<Written>;
        async fn get(&self, key: &Key, options: GetOptions) -> Result<Object>;
        async fn head(&self, key: &Key) -> Result<ObjectMeta>;
        async fn delete(&self, key: &Key) -> Result<()>;
        fn list(&self, options: ListOptions) -> BoxStream<'static, Result<Listed>>;
        async fn copy(&self, from: &Key, to: &Key, options: PutOptions) -> Result<Written>;
        async fn sync(&self) -> Result<()>;
        fn limits(&self) -> Limits;
        fn multipart(&self) -> Option<&'static dyn Multipart>;
        fn presign(&self) -> Option<&'static dyn Presign>;
        fn staging(&self) -> Option<&'static dyn Staging>;
    }
}

impl fmt::Debug for MockStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("MockStore")
    }
}

impl fmt::Display for MockStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("mock")
    }
}

mockall::mock! {
    pub Staging {}

    #[async_trait]
    impl Staging for Staging {
        fn node(&self) -> NodeId;
        async fn is_alive(&self, node: &NodeId) -> Result<bool>;
        async fn stage(&self, op: &OpId, part: Part, body: Body) -> Result<Staged>;
        async fn stage_pair(&self, op: &OpId, bytes: Bytes, attributes: Bytes) -> Result<()>;
        async fn publish(&self, pairs: &[Pair]) -> Vec<Result<()>>;
        async fn leftovers(&self) -> Result<Vec<Leftover>>;
        async fn finish(&self, pair: &Pair) -> Result<()>;
        async fn withdraw(&self, op: &OpId, bytes: &Key) -> Result<bool>;
        async fn holds(&self, bytes: &Key) -> Result<bool>;
        async fn discard(&self, op: &OpId) -> Result<()>;
    }
}

mockall::mock! {
    pub Multipart {}

    #[async_trait]
    impl Multipart for Multipart {
        async fn begin(&self, key: &Key) -> Result<UploadId>;
        async fn put_part(&self, key: &Key, upload: &UploadId, number: PartNumber, body: Body) -> Result<UploadedPart>;
        async fn parts(&self, key: &Key, upload: &UploadId) -> Result<Vec<UploadedPart>>;
        async fn complete(&self, key: &Key, upload: &UploadId, parts: &[UploadedPart], mode: PutMode) -> Result<Written>;
        async fn abort(&self, key: &Key, upload: &UploadId) -> Result<()>;
        async fn open_uploads(&self, of: Option<Key>) -> Result<Vec<OpenUpload>>;
    }
}

mockall::mock! {
    pub Presign {}

    #[async_trait]
    impl Presign for Presign {
        async fn presign(&self, key: &Key, method: PresignMethod, lifetime: Duration) -> Result<SignedRequest>;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{ErrorKind, InMode, Mode, PutOptions};
    use std::sync::Arc;

    #[tokio::test]
    async fn a_mode_refuses_before_the_store_hears_of_it() {
        let store = InMode::new(Arc::new(MockStore::new()), Mode::Ro);
        let refused = store.put(&Key::new("a").unwrap(), "x".into(), PutOptions::create()).await.unwrap_err();
        assert_eq!((refused.kind(), refused.store()), (&ErrorKind::ReadOnly, "ro(mock)"));
    }

    #[tokio::test]
    async fn an_accessor_hands_out_another_mock() {
        let mut staging = MockStaging::new();
        staging.expect_discard().returning(|_| Ok(()));
        let staging: &'static MockStaging = Box::leak(Box::new(staging));
        let mut store = MockStore::new();
        store.expect_staging().return_const(Some(staging as &dyn Staging));
        store.staging().unwrap().discard(&OpId::from_random([1; 16])).await.unwrap();
    }
}
