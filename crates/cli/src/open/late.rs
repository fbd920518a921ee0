//! A store that is away when a larder is opened: a directory that is not there, or without its marker, where no disk is mounted. It is
//! opened by the first call that finds its own marker there, and used once it has proven to be the store that the database knows.

use super::{Known, Marked, Mounted, marker};
use crate::config::StoreConfig;
use async_trait::async_trait;
use futures_util::{FutureExt, future::BoxFuture};
use larder_files::{Mount, NodeId, Secrets, StoreMode, StoreName};
use larder_ledger::SqlLedger;
use larder_storage_core::{BoxError, Error, ErrorKind, Expected, Late, Op, Opener, Result, Store};
use larder_storage_local::{LocalOptions, LocalStore, StoreLock};
use std::{
    fmt, fs,
    path::{Path, PathBuf},
    sync::{Arc, Mutex},
    time::Duration,
};

/// For how long one that could not be opened is not tried again.
const PAUSE: Duration = Duration::from_secs(1);

/// What is yet to be opened.
struct Waiting {
    name: StoreName,
    mode: StoreMode,
    root: PathBuf,
    marked: Marked,
    node: NodeId,
    ledger: SqlLedger,
    secrets: Secrets,
    opened: Arc<Mutex<Opened>>,
}

/// What goes with an open store.
#[derive(Default)]
struct Opened {
    /// For as long as the store lives.
    _lock: Option<StoreLock>,
    ended: Option<BoxFuture<'static, ()>>,
}

/// Mounts a store that is not there.
pub(super) fn mount(
    (name, config): (&StoreName, &StoreConfig),
    (root, marked): (PathBuf, Marked),
    node: &NodeId,
    known: &Known,
    mounted: &mut Mounted,
) {
    let (display, limits) = (LocalStore::display_of(&root), LocalStore::LIMITS);
    let expected = Expected { display, limits, node: Some(node.clone()), pause: PAUSE };
    let opened = Arc::<Mutex<Opened>>::default();
    let waiting = Waiting {
        name: name.clone(),
        mode: config.mode,
        root,
        marked,
        node: node.clone(),
        ledger: known.ledger.clone(),
        secrets: known.secrets.clone(),
        opened: opened.clone(),
    };
    let store = Arc::new(Late::new(expected, Arc::new(waiting)));
    mounted.stores.push(Mount { name: name.clone(), store, mode: config.mode });
    let ended = async move {
        let ended = opened.lock().expect("nothing panics while it holds this lock").ended.take();
        if let Some(ended) = ended {
            ended.await;
        }
    };
    mounted.ended.push(ended.boxed());
}

#[async_trait]
impl Opener for Waiting {
    async fn open(&self) -> Result<Arc<dyn Store>> {
        let (local, lock) = self.open_local().await?;
        let ended = local.ended().boxed();
        let store: Arc<dyn Store> = Arc::new(local);
        let mount = Mount { name: self.name.clone(), store: store.clone(), mode: self.mode };
        let proven = larder_files::prove(&mount, &self.ledger, &self.secrets, self.marked.epoch).await;
        proven.map_err(|error| self.away(error))?;
        let opened = Opened { _lock: lock, ended: Some(ended) };
        *self.opened.lock().expect("nothing panics while it holds this lock") = opened;
        Ok(store)
    }
}

impl Waiting {
    /// Opens the directory, held along with others. Without its own marker nothing is made there.
    async fn open_local(&self) -> Result<(LocalStore, Option<StoreLock>)> {
        let (marker, marked, creates) = (marker(&self.root), self.marked.clone(), self.mode.creates());
        let options = LocalOptions { node: Some(self.node.clone()), ..LocalOptions::new(&self.root) };
        let open = move || -> Result<(LocalStore, Option<StoreLock>), BoxError> {
            check_marker(&marker, &marked)?;
            let local = LocalStore::open(options)?;
            if !creates {
                return Ok((local, None));
            }
            let lock = local.lock(false)?.ok_or("a rebuild works on it")?;
            Ok((local, Some(lock)))
        };
        let opened = tokio::task::spawn_blocking(open).await.map_err(|error| self.away(error))?;
        opened.map_err(|error| self.away(error))
    }

    fn away(&self, why: impl Into<BoxError>) -> Error {
        Error::new(Op::Open, self.root.display(), LocalStore::display_of(&self.root), ErrorKind::Unavailable)
            .because(why)
    }
}

/// Looks at a marker without opening its store, which would make something there.
fn check_marker(marker: &Path, marked: &Marked) -> Result<(), BoxError> {
    let text = fs::read(marker).map_err(|error| format!("{} can't be read: {error}", marker.display()))?;
    let found: serde_json::Value = serde_json::from_slice(&text)?;
    let [instance, itself] = ["instance", "self"].map(|field| found[field].as_str().unwrap_or_default());
    if instance != marked.instance {
        return Err(format!("it belongs to another installation ({instance})").into());
    }
    if itself != marked.itself {
        return Err(format!("it is another store ({itself})").into());
    }
    Ok(())
}

impl fmt::Debug for Waiting {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Waiting({})", self.root.display())
    }
}
