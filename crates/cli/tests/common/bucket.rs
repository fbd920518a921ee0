//! An S3 server of the test's own process, and a larder that uses it.
#![allow(dead_code, reason = "each test uses a part of it")]

use super::common::Larder;
use hyper_util::rt::TokioIo;
use s3s::{
    S3Result,
    access::{S3Access, S3AccessContext},
    auth::SimpleAuth,
    s3_error,
    service::S3ServiceBuilder,
};
use std::{
    fs,
    path::Path,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
};

pub(crate) const KEY: &str = "AKLARDER";
pub(crate) const SECRET: &str = "hush-hush-hush";

/// An S3 server over a temporary directory; a connection that comes while it is away is closed at once.
pub(crate) struct Bucket {
    pub(crate) endpoint: String,
    pub(crate) is_away: Arc<AtomicBool>,
    pub(crate) rules: Arc<Rules>,
    folder: tempfile::TempDir,
    _runtime: tokio::runtime::Runtime,
}

/// What the server allows beyond what is signed.
#[derive(Default)]
pub(crate) struct Rules {
    /// An operation that nobody may do.
    pub(crate) denied: Mutex<String>,
    pub(crate) is_public: AtomicBool,
}

struct Held(Arc<Rules>);

#[async_trait::async_trait]
impl S3Access for Held {
    async fn check(&self, asked: &mut S3AccessContext<'_>) -> S3Result<()> {
        let is_anybody = asked.credentials().is_none() && !self.0.is_public.load(Ordering::SeqCst);
        if is_anybody || asked.s3_op().name() == *self.0.denied.lock().unwrap() {
            return Err(s3_error!(AccessDenied));
        }
        Ok(())
    }
}

impl Bucket {
    pub(crate) fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let mut service = S3ServiceBuilder::new(s3s_fs::FileSystem::new(folder.path()).unwrap());
        service.set_auth(SimpleAuth::from_single(KEY, SECRET));
        let rules = Arc::<Rules>::default();
        service.set_access(Held(rules.clone()));
        let (service, is_away) = (service.build(), Arc::<AtomicBool>::default());
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        let listener = runtime.block_on(tokio::net::TcpListener::bind("127.0.0.1:0")).unwrap();
        let (endpoint, away) = (format!("http://{}", listener.local_addr().unwrap()), is_away.clone());
        runtime.spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                if !away.load(Ordering::SeqCst) {
                    let mut server = hyper::server::conn::http1::Builder::new();
                    // One request each: none comes by a connection from before.
                    let answered = server.keep_alive(false).serve_connection(TokioIo::new(stream), service.clone());
                    tokio::spawn(answered);
                }
            }
        });
        Self { endpoint, is_away, rules, folder, _runtime: runtime }
    }

    /// Where its buckets lie.
    pub(crate) fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// What the server keeps beside its buckets' folders: uploads in parts that are under way.
    pub(crate) fn names(&self) -> Vec<String> {
        let names = fs::read_dir(self.folder.path()).unwrap();
        names.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect()
    }

    /// A larder that puts new content there, and has a directory beside it.
    pub(crate) fn larder(&self, more: &str) -> Larder {
        self.larder_with("placement = \"far\"\n[stores.local]\n", more)
    }

    pub(crate) fn larder_with(&self, before: &str, more: &str) -> Larder {
        let larder = Larder::new();
        larder.configure(&format!("{before}{}", self.stores(more)));
        larder
    }

    /// What the configuration says of this bucket, as the store `far`.
    pub(crate) fn stores(&self, more: &str) -> String {
        let endpoint = &self.endpoint;
        format!(
            "[stores.far]\nkind = \"s3\"\nbucket = \"acme\"\nprefix = \"files\"\n\
             endpoint = \"{endpoint}\"\naccess_key_id = \"{KEY}\"\nsecret_access_key = \"{SECRET}\"\n{more}"
        )
    }
}
