//! Opens a larder: data directory, secrets, stores and database put together into one node of [`Files`]. The only place that
//! names the concrete stores and the concrete ledger.

pub(crate) mod bucket;
mod inspect;
mod late;
mod roll;

use crate::{
    Context,
    config::{Config, StoreConfig},
    data_dir::{DataDir, Hold, Lock, Made},
    database::Database,
    environment, meter,
    output::{Exit, Output, counted, refuse},
    secrets,
};
use anyhow::{Context as _, Result};
use futures_util::{
    FutureExt,
    future::{self, BoxFuture, join_all},
};
use larder_api::{Inspectors, record::Record};
use larder_files::{
    File, Files, Ledger as _, Mount, NodeId, Parts, Recovered, Role, Roll, Secrets, Settings, StartError, StoreId,
    StoreName,
    ledger::{Identity, LedgerError},
};

use larder_ledger::{LedgerRoll, SqlLedger};
use larder_renditions::Presets;
use larder_storage_core::{ErrorKind as StoreErrorKind, Store};
use larder_storage_local::{LocalOptions, LocalStore, StoreLock};
use larder_storage_s3::S3Store;
use prometheus_client::registry::Registry;
use rustix::{
    fs::{Access as May, access},
    io::Errno,
};
use std::{
    fs, io,
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};
use tokio::sync::oneshot;

/// How often a server settles what commands that were killed left behind.
const LOOK_EVERY: Duration = Duration::from_secs(30);

/// For how long the end of a command waits for what is still under way.
pub(crate) const DEADLINE: Duration = Duration::from_secs(2);

/// What a command may do to a data directory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Access {
    /// Look at a larder that is there.
    Read,
    /// Change one that is there.
    Change,
    /// Change it, or make a new one.
    Make,
    /// The same as its one server.
    Serve,
}

/// An open larder.
pub(crate) struct Larder {
    pub(crate) files: Files,
    pub(crate) recovered: Recovered,
    /// Whether this very start made it.
    pub(crate) fresh: bool,
    /// What its stores and this process count, where it serves.
    pub(crate) registry: Registry,
    /// What tells more of its stores than the contract does.
    pub(crate) inspectors: Inspectors,
    ledger: SqlLedger,
    signed: Option<Signed>,
    _lock: Lock,
    _stores: Vec<Arc<StoreLock>>,
    ended: Vec<BoxFuture<'static, ()>>,
    serve: Option<Lock>,
}

/// This process on the roll that the database keeps.
struct Signed {
    roll: Arc<LedgerRoll>,
    /// Tells once others have taken this process for dead.
    buried: oneshot::Receiver<String>,
}

impl Signed {
    /// Signs where servers share the database: they need not share any store on which this process holds a lock.
    async fn sign(database: &Database, ledger: &SqlLedger, mounted: &Mounted) -> Result<Option<Self>> {
        if !database.is_shared() {
            return Ok(None);
        }
        let environment = environment::real();
        let node = mounted.node.clone();
        let roll = match LedgerRoll::sign(ledger, node, &mounted.locked, environment.clock.clone()).await {
            Err(LedgerError::Busy) => {
                return Err(refuse("a rebuild replaces the database", "try again when it is done"));
            }
            signed => signed.context("cannot tell the other processes by the database that this one lives")?,
        };
        let buried = roll.keep(&*environment.spawn);
        Ok(Some(Self { roll, buried }))
    }

    async fn leave(self) {
        if let Err(error) = self.roll.leave().await {
            tracing::warn!(%error, "others take this process for living a while longer");
        }
    }
}

/// Opens a larder, has `work` done, and ends the node.
///
/// # Errors
/// What [`open`] refuses, and what the work answers.
pub(crate) async fn with(
    context: &Context,
    access: Access,
    work: impl AsyncFnOnce(&Files) -> Result<Exit>,
) -> Result<Exit> {
    let larder = open(context, access).await?;
    if larder.fresh {
        let (there, secrets) = (context.dir.path().display(), context.dir.secrets());
        let secrets = secrets.display();
        context.output.message(format_args!("a new larder in {there}; back up {secrets} apart from the files"));
    }
    larder.tell(&context.output);
    let worked = work(&larder.files).await;
    larder.close().await;
    worked
}

/// Opens a larder. A failure leaves everything as it was, but for a store that was marked by then: what its marker tells of stays.
///
/// # Errors
/// Says what is wrong, where, and what mends it.
pub(crate) async fn open(context: &Context, access: Access) -> Result<Larder> {
    let Context { dir, config, .. } = context;
    let made = &mut Made::default();
    // Looked at before anything is made, and again under the lock.
    let database = Database::configured(dir, config)?;
    let missing = check_missing(context, &database, access).await?;
    dir.make(made)?;
    let hold = if missing { Hold::Alone } else { Hold::Shared };
    let lock = dir.lock(hold, made)?.ok_or_else(|| held(dir, missing))?;
    let serve = if access == Access::Serve { dir.serve_lock(made)? } else { None };
    if access == Access::Serve && serve.is_none() && !database.is_shared() {
        return Err(served(dir));
    }
    dir.settle().with_context(|| format!("cannot settle a broken-off rebuild in {}", dir.path().display()))?;
    let fresh = check_missing(context, &database, access).await?;
    if fresh && !missing {
        // It was there a moment ago: whoever took it away is at work.
        return Err(held(dir, true));
    }
    let secrets = match secrets::load(dir)? {
        Some(secrets) => secrets,
        None if fresh => secrets::make(dir, made)?,
        None => return Err(no_secrets(dir)),
    };
    if fresh {
        database.prepare(made)?;
    }
    let ledger = database.open(fresh).await?;
    let mounted = async {
        let known = Known::by(&ledger, &secrets).await?;
        let mounted = mount(dir, config, Hold::Shared, made, &known.unread(), Some(&known)).await?;
        let signed = Signed::sign(&database, &ledger, &mounted).await?;
        Ok((mounted, signed))
    };
    let (mounted, signed) = match mounted.await {
        Ok(mounted) => mounted,
        Err(error) => {
            close(ledger).await;
            return Err(error);
        }
    };
    let Mounted { mut stores, new, locks, ended, roll, inspectors, .. } = mounted;
    let roll = signed.as_ref().map(|signed| signed.roll.clone() as Arc<dyn Roll>).or(roll);
    let registry = if access == Access::Serve { meter::metered(&mut stores) } else { Registry::default() };
    let look_every = (access == Access::Serve).then_some(LOOK_EVERY);
    let settings = Settings { look_every, is_brief: look_every.is_none(), ..config.settings() };
    let master = secrets.id();
    let started = Files::start(parts(stores, &ledger, secrets, roll), settings).await;
    // Of an installation whose database is missing nothing was marked now, and an empty one in its place would only hide that.
    let is_lost = matches!(started, Err(StartError::DatabaseMissing { .. }));
    if started.is_ok() || !is_lost && any_is_marked(&new, &master).await {
        made.keep();
    }
    let (files, recovered) = match started {
        Ok(started) => started,
        Err(error) => {
            end(signed, ledger).await;
            return Err(explain(error, dir, config));
        }
    };
    if hold == Hold::Alone
        && let Err(error) = lock.share()
    {
        end(signed, ledger).await;
        return Err(error.into());
    }
    Ok(Larder {
        files,
        recovered,
        fresh,
        registry,
        inspectors,
        ledger,
        signed,
        _lock: lock,
        _stores: locks,
        ended,
        serve,
    })
}

/// The names of stores that the database was made without.
pub(crate) async fn unread(ledger: &SqlLedger) -> Result<Vec<String>> {
    Ok(names_unread(ledger.identity().await.context("cannot read the database")?.as_ref()))
}

fn names_unread(identity: Option<&Identity>) -> Vec<String> {
    identity.into_iter().flat_map(Identity::unread).map(|store| store.name.clone()).collect()
}

/// What the database knows of the stores: one of them that is away is opened once it is there.
pub(crate) struct Known {
    identity: Option<Identity>,
    ledger: SqlLedger,
    secrets: Secrets,
}

impl Known {
    pub(crate) async fn by(ledger: &SqlLedger, secrets: &Secrets) -> Result<Self> {
        let identity = ledger.identity().await.context("cannot read the database")?;
        Ok(Self { identity, ledger: ledger.clone(), secrets: secrets.clone() })
    }

    /// The names of stores that the database was made without.
    pub(crate) fn unread(&self) -> Vec<String> {
        names_unread(self.identity.as_ref())
    }

    /// Whether it knows a store of this name.
    pub(crate) fn knows(&self, name: &StoreName) -> bool {
        self.marked(name).is_some()
    }

    /// What the marker of a store must say; `None` of one that is new.
    fn marked(&self, name: &StoreName) -> Option<Marked> {
        let identity = self.identity.as_ref()?;
        let known = identity.stores.iter().find(|known| known.name == name.as_str())?;
        let (instance, itself) = (identity.instance.to_string(), known.id.to_string());
        Some(Marked { instance, itself, epoch: identity.epoch })
    }
}

/// What the marker of a known store says of its installation and itself; and the epoch that this process works in.
#[derive(Clone)]
struct Marked {
    instance: String,
    itself: String,
    epoch: u64,
}

/// What a database that was made without these stores means.
pub(crate) fn provisional(unread: &[String]) -> String {
    let names: Vec<_> = unread.iter().map(|name| format!("`{name}`")).collect();
    format!(
        "the database was made without the store {}: what is from before can only be read, and what lies only there is missing; \
         run `larder rebuild` when it is back, or `larder rebuild --forget {}` if it will not come back",
        names.join(", "),
        unread.join(" --forget ")
    )
}

async fn any_is_marked(new: &[Arc<dyn Store>], master: &str) -> bool {
    for store in new {
        if larder_files::is_marked(&**store, master).await {
            return true;
        }
    }
    false
}

impl Larder {
    /// Says what its start has found.
    pub(crate) fn tell(&self, output: &Output) {
        if let Some(words) = recovered(&self.recovered) {
            output.message(words);
        }
        if !self.files.unread_stores().is_empty() {
            output.message(provisional(self.files.unread_stores()));
        }
        let away: Vec<_> = self.files.stores_away().iter().map(|name| format!("`{name}`")).collect();
        if !away.is_empty() {
            output.message(format_args!(
                "away: the store {}; files are read from other copies, and what it misses is brought there once it is back",
                away.join(", ")
            ));
        }
    }

    /// Whether it is the server that others are told of, of those that share the data directory.
    pub(crate) fn is_first(&self) -> bool {
        self.serve.is_some()
    }

    /// Answers once others have taken this process for dead, which must end then: why.
    pub(crate) async fn buried(&mut self) -> String {
        let told = match &mut self.signed {
            Some(signed) => (&mut signed.buried).await.ok(),
            None => None,
        };
        match told {
            Some(why) => why,
            None => future::pending().await,
        }
    }

    /// Ends the node.
    pub(crate) async fn close(self) {
        self.files.stop().await;
        drop(self.files);
        // What was answered is tidied up behind its answer: a process that ended first would leave its folder on the store.
        if tokio::time::timeout(DEADLINE, join_all(self.ended)).await.is_err() {
            tracing::debug!("the stores had not ended after {DEADLINE:?}");
        }
        end(self.signed, self.ledger).await;
    }
}

/// Closes the database, and leaves the roll, where this process is on it: nothing of it is under way then.
async fn end(signed: Option<Signed>, ledger: SqlLedger) {
    close(ledger).await;
    if let Some(signed) = signed {
        signed.leave().await;
    }
}

/// Closes a database. Somebody who still holds it is not waited for: what was answered is durable without this.
pub(crate) async fn close(ledger: SqlLedger) {
    if tokio::time::timeout(DEADLINE, ledger.close()).await.is_err() {
        tracing::debug!("the database was not closed in {DEADLINE:?}");
    }
}

/// Stores that were opened.
pub(crate) struct Mounted {
    /// What this process is called on each, so that every store that is there tells that it lives.
    pub(crate) node: NodeId,
    pub(crate) stores: Vec<Mount>,
    /// Those that had nothing of Larder's in them.
    pub(crate) new: Vec<Arc<dyn Store>>,
    pub(crate) locks: Vec<Arc<StoreLock>>,
    /// The stores whose locks are held, but for those that were away, and new ones, which have no marker yet.
    pub(crate) locked: Vec<StoreId>,
    /// When each has ended: nobody holds it any more.
    pub(crate) ended: Vec<BoxFuture<'static, ()>>,
    /// Which processes live, where buckets can't tell.
    pub(crate) roll: Option<Arc<dyn Roll>>,
    /// What tells more of some than the contract does.
    pub(crate) inspectors: Inspectors,
}

/// Opens the stores in the order of their names, each held along with others, or alone by who rebuilds: from another data
/// directory too. Those that are left out are not looked at. One that is `known` and not there is opened once it is.
///
/// # Errors
/// A directory that is missing, not writable, unfit, or held by another; a bucket that its server refuses, or that is new and away.
pub(crate) async fn mount(
    dir: &DataDir,
    config: &Config,
    hold: Hold,
    made: &mut Made,
    left_out: &[String],
    known: Option<&Known>,
) -> Result<Mounted> {
    check_places(dir, config)?;
    let has_buckets = config.stores.values().any(|store| store.s3_options().is_some());
    let is_shared = config.server().is_some();
    let mut mounted = Mounted {
        node: NodeId::from_random(environment::real().random()),
        stores: vec![],
        new: vec![],
        locks: vec![],
        locked: vec![],
        ended: vec![],
        roll: None,
        inspectors: Inspectors::default(),
    };
    let node = mounted.node.clone();
    let mut places: Vec<((u64, u64), &StoreName)> = Vec::new();
    for (name, store) in config.stores.iter().filter(|(name, _)| !left_out.iter().any(|out| out == name.as_str())) {
        let marked = known.and_then(|known| Some((known, known.marked(name)?)));
        let root = match store.s3_options() {
            Some(options) => {
                bucket::mount((name, store), options, marked.is_some(), &mut mounted).await?;
                continue;
            }
            None => root(dir, store),
        };
        // A directory without the marker that it must have is where a disk is to be mounted.
        if let Some((known, marked)) =
            marked.filter(|_| fs::metadata(marker(&root)).is_err_and(|error| is_away(&error)))
        {
            late::mount((name, store), (root, marked), &node, known, &mut mounted);
            continue;
        }
        made.dir(&root).map_err(|error| dir.not_writable(&root, &error))?;
        if store.mode.creates() {
            // Its folder `.larder` may be another's than itself, and then only the first file would tell.
            let may = May::WRITE_OK | May::EXEC_OK;
            access(&root, may).map_err(|error| dir.not_writable(&root, &error.into()))?;
        }
        let place = fs::metadata(&root).map(|about| (about.dev(), about.ino()))?;
        if let Some((_, other)) = places.iter().find(|(other, _)| *other == place) {
            let (first, second) = (other.to_string(), name.to_string());
            return Err(explain(StartError::SameStore { first, second }, dir, config));
        }
        places.push((place, name));
        mount_local((name, store), &root, &node, hold, made, &mut mounted)?;
    }
    // Processes over one database of a server need not share this directory.
    if has_buckets && !is_shared {
        roll::sign(dir, &node, made, &mut mounted).await?;
    }
    Ok(mounted)
}

/// Whether that is how a disk shows itself which is not mounted, or does not answer. What is wrong otherwise is no outage: no time mends it.
fn is_away(error: &io::Error) -> bool {
    let away = [
        Errno::NOENT,
        Errno::NOTDIR,
        Errno::IO,
        Errno::STALE,
        Errno::NODEV,
        Errno::NXIO,
        Errno::NOTCONN,
        Errno::HOSTDOWN,
        Errno::HOSTUNREACH,
        Errno::TIMEDOUT,
    ];
    Errno::from_io_error(error).is_some_and(|errno| away.contains(&errno))
}

fn mount_local(
    (name, config): (&StoreName, &StoreConfig),
    root: &Path,
    node: &NodeId,
    hold: Hold,
    made: &mut Made,
    mounted: &mut Mounted,
) -> Result<()> {
    let unfit = |error: larder_storage_core::Error| {
        let mend = match error.kind() {
            StoreErrorKind::Full => "make room on that disk: nothing on it is changed until then".to_owned(),
            _ => format!("mend that directory, or change [stores.{name}] path"),
        };
        refuse(crate::output::chain(&error), mend)
    };
    let options = LocalOptions { node: Some(node.clone()), ..LocalOptions::new(root) };
    let local = LocalStore::open(options).map_err(unfit)?;
    let is_new = local.is_new();
    if config.mode.creates() || is_new {
        let lock = local.lock(hold == Hold::Alone).map_err(unfit)?;
        let lock = Arc::new(lock.ok_or_else(|| store_held(root, hold))?);
        if is_new {
            made.store(lock.clone());
        }
        mounted.locks.push(lock);
        mounted.locked.extend(itself(root));
    }
    mounted.ended.push(local.ended().boxed());
    let store: Arc<dyn Store> = Arc::new(local);
    mounted.new.extend(is_new.then(|| store.clone()));
    mounted.stores.push(Mount { name: name.clone(), store, mode: config.mode });
    Ok(())
}

/// Which store a directory says that it is; `None` of one that is new.
fn itself(root: &Path) -> Option<StoreId> {
    let marker: serde_json::Value = serde_json::from_slice(&fs::read(marker(root)).ok()?).ok()?;
    StoreId::parse(marker.get("self")?.as_str()?)
}

/// The record of a file as the API answers it.
pub(crate) fn record(files: &Files, file: &File, presets: &Presets) -> Record {
    Record::new(file, files, Role::Admin).with_renditions(presets)
}

/// What recovery settled, in words; `None` where there was nothing.
fn recovered(recovered: &Recovered) -> Option<String> {
    let Recovered { finished, undone, settled, waiting } = *recovered;
    let parts: Vec<String> = [
        (finished, "upload finished", "uploads finished"),
        (undone, "upload or copy undone", "uploads or copies undone"),
        (settled, "change settled", "changes settled"),
        (waiting, "still waits for a store or a deadline", "still wait for a store or a deadline"),
    ]
    .into_iter()
    .filter(|(count, ..)| *count > 0)
    .map(|(count, one, more)| counted(count, one, more))
    .collect();
    (!parts.is_empty()).then(|| format!("recovered: {}", parts.join(", ")))
}

/// Whether there is no database, and there may be none.
///
/// # Errors
/// There is none, and there must be one; a server that can't be asked.
pub(crate) async fn check_missing(context: &Context, database: &Database, access: Access) -> Result<bool> {
    let Context { dir, config, .. } = context;
    dir.check_readable()?;
    if database.is_there().await? {
        return Ok(false);
    }
    let there = dir.path().display();
    let taken = config.directories().find(|(_, store)| marker(&root(dir, store)).exists());
    if let Some((name, store)) = taken {
        let root = root(dir, store);
        if dir.secrets().exists() {
            let what = format!("the store `{name}` ({}) holds files but the database is missing", root.display());
            return Err(refuse(what, "bring it back: `larder rebuild`"));
        }
        let what = format!(
            "the store `{name}` ({}) is an installation's already, and {there} has neither its database nor its secrets.toml",
            root.display()
        );
        let mend = format!(
            "is it this one's? put its secrets.toml into {there} and run `larder rebuild`, \
             or, if that is lost, `larder rebuild --without-secrets`; \
             is it another's? give this one a directory of its own: `path` in [stores.{name}]"
        );
        return Err(refuse(what, mend));
    }
    if let Some(secrets) = secrets::load(dir)?
        && let Some(place) = bucket::marked_by(config, &secrets.id()).await?
    {
        let what = format!("{place} holds files but the database is missing");
        return Err(refuse(what, "bring it back: `larder rebuild`"));
    }
    if matches!(access, Access::Read | Access::Change) {
        let mend = "name another with --data (or LARDER_DATA), or begin one: `larder serve`, `larder put FILE`";
        return Err(refuse(format_args!("there is no larder in {there}"), mend));
    }
    Ok(true)
}

/// Refuses stores that lie in each other, directories or folders of buckets, or around the data directory: what is the one's would be foreign to the other.
///
/// # Errors
/// Which of them, and what mends it.
pub(crate) fn check_places(dir: &DataDir, config: &Config) -> Result<()> {
    bucket::check_apart(config)?;
    // A directory that is not there yet can't be asked where it leads.
    let real =
        |path: &Path| fs::canonicalize(path).or_else(|_| std::path::absolute(path)).unwrap_or_else(|_| path.into());
    let places: Vec<_> = config.directories().map(|(name, store)| (name, real(&root(dir, store)))).collect();
    let data = real(dir.path());
    for (name, place) in &places {
        let mend = format!("give it a directory of its own: `path` in [stores.{name}]");
        if data.starts_with(place) {
            return Err(refuse(
                format_args!("the store `{name}` ({}) holds the data directory", place.display()),
                mend,
            ));
        }
        let Some((other, _)) = places.iter().find(|(other, around)| other != name && place.starts_with(around)) else {
            continue;
        };
        let names = [other, name].map(ToString::to_string);
        if places.iter().any(|(again, same)| again == other && same == place) {
            let [first, second] = names;
            return Err(explain(StartError::SameStore { first, second }, dir, config));
        }
        return Err(refuse(
            format_args!("the store `{name}` ({}) lies inside the store `{other}`", place.display()),
            mend,
        ));
    }
    Ok(())
}

/// Where the stores lie that are directories.
pub(crate) fn roots(dir: &DataDir, config: &Config) -> impl Iterator<Item = PathBuf> {
    config.directories().map(|(_, store)| root(dir, store))
}

/// Where a store lies that is a directory.
pub(crate) fn root(dir: &DataDir, store: &StoreConfig) -> PathBuf {
    dir.path().join(store.path.as_deref().unwrap_or(Path::new("objects")))
}

pub(crate) fn marker(root: &Path) -> PathBuf {
    root.join(".larder").join("instance.json")
}

fn held(dir: &DataDir, alone: bool) -> anyhow::Error {
    let there = dir.path().display();
    if alone {
        let what = format!("another larder works in {there}, where the database is missing");
        return refuse(what, "end it (is a server running?), then try again");
    }
    refuse(format_args!("a rebuild is running in {there}"), "try again when it is done")
}

fn store_held(root: &Path, hold: Hold) -> anyhow::Error {
    let what = match hold {
        Hold::Alone => format!("another larder works on the store {}; a rebuild wants to be alone", root.display()),
        Hold::Shared => format!("a rebuild works on the store {}", root.display()),
    };
    refuse(what, "end it (it may run from another data directory), then try again")
}

fn served(dir: &DataDir) -> anyhow::Error {
    let what = format!("another server runs in {}", dir.path().display());
    refuse(
        what,
        "stop that one, or serve another directory: `--data DIR`; commands such as `larder put` work beside it",
    )
}

/// Whether stores hold an installation whose database is missing.
///
/// # Errors
/// A server that can't be asked.
pub(crate) async fn lacks_database(context: &Context) -> Result<bool> {
    let database = Database::configured(&context.dir, &context.config)?;
    if database.is_there().await? {
        return Ok(false);
    }
    Ok(context.dir.secrets().exists() && check_missing(context, &database, Access::Serve).await.is_err())
}

/// The refusal of a larder whose secrets are gone.
pub(crate) fn no_secrets(dir: &DataDir) -> anyhow::Error {
    refuse(
        format_args!("{} is missing", dir.secrets().display()),
        "put it back from its backup (mode 0600): without it no user and no bucket can be read; \
         is it lost? `larder rebuild --without-secrets` seals them anew",
    )
}

/// A refused start with what mends it here.
pub(crate) fn explain(error: StartError, dir: &DataDir, config: &Config) -> anyhow::Error {
    let place = |name: &str| {
        let store = config.stores.iter().find(|(store, _)| store.as_str() == name);
        let place = |store: &StoreConfig| match store.s3_options() {
            Some(options) => S3Store::display_of(&options),
            None => root(dir, store).display().to_string(),
        };
        store.map(|(_, store)| format!("the store is in {}", place(store))).unwrap_or_default()
    };
    match &error {
        StartError::DatabaseMissing { store }
        | StartError::ForeignStore { store, .. }
        | StartError::NewerForm { store, .. } => refuse(&error, place(store)),
        StartError::StoreAway { store, .. } | StartError::NoStore { store, .. } => {
            refuse(&error, bring_back(store, dir, config))
        }
        StartError::StoreNotConfigured(store) => refuse(&error, configure_again(store, dir, config)),
        StartError::SameStore { first, second } => refuse(
            &error,
            format_args!("that is [stores.{first}] or [stores.{second}] in larder.toml; {}", place(first)),
        ),
        StartError::OlderDatabase { .. } => match Database::configured(dir, config) {
            Ok(database) => refuse(&error, format_args!("the database is {database}")),
            Err(unfit) => unfit,
        },
        StartError::WrongSecrets => refuse(
            format_args!(
                "{} is another installation's: it does not open what lies on the stores",
                dir.secrets().display()
            ),
            "put the right file back from its backup (mode 0600); \
             is it lost? `larder rebuild --without-secrets` seals users and buckets anew",
        ),
        _ => anyhow::Error::new(error).context(format!("in {}", dir.path().display())),
    }
}

/// What to do about a store that is away: a rebuild goes on without it only where another store has something to rebuild from.
pub(crate) fn bring_back(name: &str, dir: &DataDir, config: &Config) -> String {
    const MORE: &str = "(docs/operations.md, \"A store that is away\")";
    let store = config.stores.iter().find(|(store, _)| store.as_str() == name).map(|(_, store)| store);
    let back = match store.map(|store| (store, store.s3_options())) {
        Some((_, Some(options))) => {
            format!("see that {} can be reached and is the right bucket", S3Store::display_of(&options))
        }
        Some((store, None)) => format!("mount its disk at {}", root(dir, store).display()),
        None => "bring it back".to_owned(),
    };
    match others_hold(name, dir, config) {
        true => format!("{back}; if it can't be back now, `larder rebuild --without {name}` goes on without it {MORE}"),
        false => format!("{back}, or put it back from its backup: no other store holds files {MORE}"),
    }
}

fn configure_again(name: &str, dir: &DataDir, config: &Config) -> String {
    let with = if name == "local" { "alone, or with what it had" } else { "with what it had" };
    let back =
        format!("put `[stores.{name}]` back into the configuration, {with}: a `path`, or a `kind` and a `bucket`");
    match others_hold(name, dir, config) {
        true => format!(
            "{back}; is it gone? `larder rebuild --without {name}` goes on without it for now, `larder rebuild --forget {name}` for good"
        ),
        false => back,
    }
}

/// Whether another store may have something to rebuild from; a bucket is not asked.
fn others_hold(name: &str, dir: &DataDir, config: &Config) -> bool {
    let mut others = config.stores.iter().filter(|(store, _)| store.as_str() != name);
    others.any(|(_, store)| store.s3_options().is_some() || marker(&root(dir, store)).exists())
}

/// What a node is made of.
pub(crate) fn parts(stores: Vec<Mount>, ledger: &SqlLedger, secrets: Secrets, roll: Option<Arc<dyn Roll>>) -> Parts {
    Parts { stores, ledger: Arc::new(ledger.clone()), environment: environment::real(), secrets, roll }
}

/// Warns of a disk that ends with its container.
pub(crate) fn warn_of_overlay(dir: &DataDir, output: &Output) {
    const OVERLAYFS: u64 = 0x794c_7630;
    let kind = rustix::fs::statfs(dir.path()).map(|about| about.f_type as u64).unwrap_or_default();
    if kind == OVERLAYFS {
        output.message(format_args!(
            "warning: {} lies in a container's own layer and ends with the container; mount a volume there",
            dir.path().display()
        ));
    }
}
