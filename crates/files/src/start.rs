//! Starting a node: stores, ledger and secrets are held against each other, and only where they agree is anything written.
//!
//! 1. Read every store's marker and mark, and the ledger's identity. A store that the ledger knows and that does not answer is away.
//! 2. Refuse what contradicts itself: another installation's store, other secrets, a missing or older database, a store that is not
//!    the one it was; and a start without a store that could tell so, or that lends the node its name.
//! 3. Make what is new: an installation where there is none, markers on stores that nobody knows.
//! 4. Settle what dead nodes left.
//! 5. Make the configured buckets.
//! 6. Look again for what dead nodes left, from time to time, while this one lives; and make the copies that placements want. A store
//!    that was away goes through 2 to 4 when it is back.

use crate::{
    Error, Files, Ledger, Mount, Parts, Recovered, Secrets, Settings, StartError, StoreId, StoreMode, StoreName,
    committer::Committer,
    files::{Node, Place},
    ledger::{Identity, KnownStore, LedgerError},
    marker::{FORMAT, Marker, read_mark},
    node::State,
    roll::{Presence, while_alive},
    truth::chain,
};
use larder_storage_core::{self as core, ErrorKind, NodeId, Store};
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, Mutex, atomic::AtomicBool},
};

/// A store and what it says of itself.
struct Seen {
    mount: Mount,
    marker: Option<Marker>,
    mark: u64,
}

/// What a look at the configured stores has found.
#[derive(Default)]
struct Look {
    seen: Vec<Seen>,
    /// Stores that are known and do not answer, and why.
    away: Vec<(Mount, StoreId, core::Error)>,
}

impl Files {
    /// Starts a node.
    ///
    /// # Errors
    /// [`StartError`] says what is wrong and what mends it. Nothing was changed then, unless [`is_marked`] says so of a new store.
    pub async fn start(parts: Parts, settings: Settings) -> Result<(Self, Recovered), StartError> {
        let roll = parts.roll.clone();
        let started = Self::begin(parts, settings).await;
        if let (Err(StartError::OlderDatabase { .. }), Some(roll)) = (&started, roll)
            && let Ok(Presence::Absent) = roll.presence(&roll.node()).await
        {
            return Err(StartError::Buried);
        }
        started
    }

    async fn begin(mut parts: Parts, settings: Settings) -> Result<(Self, Recovered), StartError> {
        if let Some(roll) = &parts.roll {
            parts.stores.iter_mut().for_each(|mount| mount.store = while_alive(mount.store.clone(), roll));
        }
        let identity = parts.ledger.identity().await.map_err(failed)?;
        check_settings(&parts, &settings, identity.as_ref())?;
        let look = look(&parts.stores, identity.as_ref()).await?;
        // Read after the stores: another node may have raised its mark and theirs meanwhile.
        let identity = parts.ledger.identity().await.map_err(failed)?;
        check(&look, identity.as_ref(), &parts)?;
        let name = name_of_node(&look, &parts);
        let (identity, places, away) = introduce(look, identity, &parts).await?;
        let files = assemble((name, identity), places, &away, parts, settings);
        let recovered = files.0.recover().await.map_err(failed_start)?;
        let here: Vec<_> = (0..files.0.places.len()).filter(|place| !away.contains(place)).collect();
        files.0.index_sealed_on(&here).await.map_err(failed_start)?;
        files.0.ensure_buckets().await.map_err(|error| match error {
            Error::Conflict(why) => StartError::Configuration(why),
            other => failed_start(other),
        })?;
        if let Some(every) = files.0.settings.look_every.filter(|_| files.0.places.iter().any(|at| at.mode.creates())) {
            files.0.look_around(every);
            files.0.end_abandoned_uploads();
            files.0.clear_parts_hourly();
            // Where a store was left out, what it has is not known: nothing may be changed that is from before.
            if files.0.settings.copies_at_once > 0 && files.0.places.len() > 1 && files.0.unread.is_empty() {
                files.0.reconcile(every);
                files.0.note_tombstones_soon(here);
            }
        }
        Ok((files, recovered))
    }
}

/// Steps 1 and 2 of [`Files::start`] alone: whether a start would be accepted here. Writes nothing.
///
/// # Errors
/// [`StartError`], as the start would say it.
pub async fn rehearse_start(parts: &Parts, settings: &Settings) -> Result<(), StartError> {
    let identity = parts.ledger.identity().await.map_err(failed)?;
    check_settings(parts, settings, identity.as_ref())?;
    let look = look(&parts.stores, identity.as_ref()).await?;
    let identity = parts.ledger.identity().await.map_err(failed)?;
    check(&look, identity.as_ref(), parts)
}

/// Whether a store bears a marker of the installation whose secrets are `master`, as [`crate::Secrets::id`] says it; also where
/// that can't be told. A refused start that has marked a store must keep what the marker tells of.
pub async fn is_marked(store: &dyn Store, master: &str) -> bool {
    match Marker::read(store).await {
        Ok(marker) => marker.is_some_and(|marker| marker.master == master),
        Err(_) => true,
    }
}

/// Whether a store that was away when a node started, and answers now, is the one that it was to be: asked as a start would ask, by the
/// ledger as it is now, which must be of the `epoch` that the node works in. Whoever opens a store late ([`larder_storage_core::Late`])
/// asks before it lets anything be done there.
///
/// # Errors
/// [`StartError`], as a start would say it; of an older database too, which only this store may be able to tell.
pub async fn prove(mount: &Mount, ledger: &dyn Ledger, secrets: &Secrets, epoch: u64) -> Result<(), StartError> {
    prove_one(mount, ledger, secrets, epoch).await.map(drop)
}

pub(crate) async fn prove_one(
    mount: &Mount,
    ledger: &dyn Ledger,
    secrets: &Secrets,
    epoch: u64,
) -> Result<(Option<Marker>, Identity), StartError> {
    let seen = see(mount).await.map_err(failed)?;
    // Read after the store: another node may have raised its mark and that one's meanwhile.
    let identity = ledger.identity().await.map_err(failed)?;
    check_one(&seen, identity.as_ref(), secrets)?;
    let unknown = || StartError::StoreNotConfigured(mount.name.to_string());
    let identity = identity.ok_or_else(unknown)?;
    if identity.epoch != epoch {
        let why = format!("a rebuild has raised its epoch to {}, this process works in {epoch}", identity.epoch);
        return Err(StartError::OlderDatabase { why });
    }
    Ok((seen.marker, identity))
}

/// Refuses what this Larder can't carry out yet, of a configuration alone: stores by name and mode, and settings.
///
/// # Errors
/// [`StartError::Configuration`], as a start would say it.
pub fn check_possible<'a>(
    stores: impl IntoIterator<Item = (&'a StoreName, StoreMode)>,
    settings: &Settings,
) -> Result<(), StartError> {
    let wrong = |text: String| Err(StartError::Configuration(text));
    let stores: Vec<_> = stores.into_iter().collect();
    let lists = settings.buckets.iter().map(|(_, policy)| &policy.placement).chain([&settings.placement]);
    for placement in lists {
        if let Some(twice) = placement.iter().enumerate().find(|(at, name)| placement[..*at].contains(name)) {
            return wrong(format!("a placement names the store `{}` twice", twice.1));
        }
    }
    check_write_copies(&stores, settings)
}

/// So many stores of a bucket's placement must take newer attributes beside the bytes.
fn check_write_copies(stores: &[(&StoreName, StoreMode)], settings: &Settings) -> Result<(), StartError> {
    for (bucket, policy) in &settings.buckets {
        let placement = if policy.placement.is_empty() { &settings.placement } else { &policy.placement };
        let (wanted, mut edit): (_, Vec<_>) =
            (policy.write_copies, stores.iter().filter(|(_, mode)| mode.changes()).map(|(name, _)| *name).collect());
        edit.retain(|name| placement.contains(name) || placement.is_empty() && stores[0].0 == *name);
        if wanted == 0 || policy.copies_answered() > 1 && policy.copies_answered() > edit.len() {
            return Err(StartError::Configuration(format!(
                "bucket `{bucket}`: write_copies is {wanted}, but must be at least 1, and at most the number of stores of its \
                 placement that have the mode `edit`: {}",
                edit.len()
            )));
        }
    }
    Ok(())
}

/// Settings and stores must fit each other.
fn check_settings(parts: &Parts, settings: &Settings, identity: Option<&Identity>) -> Result<(), StartError> {
    let wrong = |text: String| Err(StartError::Configuration(text));
    if parts.stores.is_empty() {
        return wrong("at least one store is needed".into());
    }
    check_possible(parts.stores.iter().map(|mount| (&mount.name, mount.mode)), settings)?;
    for name in settings.placement.iter().chain(settings.buckets.iter().flat_map(|(_, policy)| &policy.placement)) {
        let is_away = || identity.is_some_and(|identity| identity.unread().any(|store| store.name == name.as_str()));
        if !parts.stores.iter().any(|mount| mount.name == *name) && !is_away() {
            return wrong(format!("a placement names the store `{name}`, which is not configured"));
        }
    }
    Ok(())
}

/// Step 1. A store that the index was rebuilt without stays out of it, though it may be back: another rebuild reads it.
async fn look(mounts: &[Mount], identity: Option<&Identity>) -> Result<Look, StartError> {
    let mut look = Look::default();
    let is_unread = |is: &dyn Fn(&KnownStore) -> bool| identity.is_some_and(|identity| identity.unread().any(is));
    for mount in mounts.iter().filter(|mount| !is_unread(&|store| store.name == mount.name.as_str())) {
        match see(mount).await {
            Ok(seen) if seen.marker.as_ref().is_some_and(|marker| is_unread(&|store| store.id == marker.itself)) => {}
            Ok(seen) => look.seen.push(seen),
            Err(error) => match known(mount, identity).filter(|_| error.is_temporary()) {
                Some(id) => look.away.push((mount.clone(), id, error)),
                None => return Err(failed(error)),
            },
        }
    }
    Ok(look)
}

async fn see(mount: &Mount) -> core::Result<Seen> {
    let marker = Marker::read(&*mount.store).await?;
    let mark = read_mark(&*mount.store).await?.number;
    Ok(Seen { mount: mount.clone(), marker, mark })
}

/// The store that the ledger knows under this name.
fn known(mount: &Mount, identity: Option<&Identity>) -> Option<StoreId> {
    identity?.stores.iter().find(|known| known.name == mount.name.as_str()).map(|known| known.id)
}

/// Step 2.
fn check(look: &Look, identity: Option<&Identity>, parts: &Parts) -> Result<(), StartError> {
    for one in &look.seen {
        check_one(one, identity, &parts.secrets)?;
        if one.marker.is_none() {
            check_not_left_out(one, identity, parts)?;
        }
    }
    let id = |seen: &Seen| seen.marker.as_ref().map(|marker| marker.itself);
    let attached = |known: &KnownStore| {
        look.seen.iter().any(|one| id(one) == Some(known.id)) || look.away.iter().any(|(_, away, _)| *away == known.id)
    };
    if let Some(missing) = identity
        .and_then(|identity| identity.stores.iter().find(|known| known.unread_since.is_none() && !attached(known)))
    {
        return Err(StartError::StoreNotConfigured(missing.name.clone()));
    }
    let seen = look.seen.iter().filter_map(|one| Some((id(one)?, &one.mount)));
    let mut mounts = BTreeMap::new();
    for (id, mount) in look.away.iter().map(|(mount, id, _)| (*id, mount)).chain(seen) {
        if let Some(twin) = mounts.insert(id, mount) {
            let (first, second) = (twin.name.to_string(), mount.name.to_string());
            return Err(StartError::SameStore { first, second });
        }
    }
    check_vouched_for(look, parts)
}

/// That the database is the current one, and the secrets the right ones, only a store can say; and to others only a store can say that
/// this node lives. Where one that could is away, another must be there: one that is known, and bears a mark where that one may.
fn check_vouched_for(look: &Look, parts: &Parts) -> Result<(), StartError> {
    let marked = || look.seen.iter().filter(|one| one.marker.is_some());
    for (mount, _, error) in &look.away {
        let lacks = if marked().next().is_none() {
            "no other store of this installation is there"
        } else if mount.mode.changes() && !marked().any(|one| one.mount.mode.changes() && one.mark > 0) {
            "no other store of mode `edit` is there that was in use before"
        } else if parts.roll.is_none() && lends_names(mount) && !marked().any(|one| lends_names(&one.mount)) {
            "no other store is there that uploads are staged on"
        } else {
            continue;
        };
        let (store, why) = (mount.name.to_string(), chain(error));
        return Err(StartError::NoStore { store, why, lacks });
    }
    Ok(())
}

/// Whether a process has a lock of its own there: on a store that takes nothing none has.
fn lends_names(mount: &Mount) -> bool {
    mount.mode.creates() && mount.store.staging().is_some()
}

/// The node's name: the one that is on the roll, or whose lock a store holds, so that others can tell whether it lives; where there is one,
/// a store that they know.
fn name_of_node(look: &Look, parts: &Parts) -> NodeId {
    if let Some(roll) = &parts.roll {
        return roll.node();
    }
    let lender = look.seen.iter().filter(|one| lends_names(&one.mount)).min_by_key(|one| one.marker.is_none());
    let staging = lender.and_then(|one| one.mount.store.staging());
    staging.map_or_else(|| NodeId::from_random(parts.environment.random()), |staging| staging.node())
}

/// What one store says of itself, against what the ledger knows.
fn check_one(one: &Seen, identity: Option<&Identity>, secrets: &Secrets) -> Result<(), StartError> {
    let store = || one.mount.name.to_string();
    let Some(marker) = &one.marker else {
        return match known(&one.mount, identity) {
            Some(_) => Err(StartError::StoreAway { store: store(), found: "missing".into() }),
            None => Ok(()),
        };
    };
    if marker.format != FORMAT {
        return Err(StartError::NewerForm { store: store(), form: marker.format });
    }
    if identity.is_some_and(|identity| identity.instance != marker.instance) {
        return Err(StartError::ForeignStore { store: store(), found: marker.instance.to_string() });
    }
    if marker.master != secrets.id() {
        return Err(StartError::WrongSecrets);
    }
    check_age(one, marker, identity)?;
    check_not_forgotten(one, marker, identity)?;
    check_self(one, marker, identity)
}

/// A store that was written to by a newer database than this one tells that this one is an older copy.
fn check_age(one: &Seen, marker: &Marker, identity: Option<&Identity>) -> Result<(), StartError> {
    let store = one.mount.name.to_string();
    let Some(identity) = identity else { return Err(StartError::DatabaseMissing { store }) };
    let older = |what, ours: u64, theirs: u64| {
        let why = format!("its {what} is {ours}, the store `{store}` has seen {theirs}");
        if ours < theirs { Err(StartError::OlderDatabase { why }) } else { Ok(()) }
    };
    older("epoch", identity.epoch, marker.epoch)?;
    older("mark there", identity.mark_on(marker.itself), one.mark)
}

/// A store tells of itself only once the ledger knows it: where that doesn't, it was forgotten, and nobody has read what it holds.
fn check_not_forgotten(one: &Seen, marker: &Marker, identity: Option<&Identity>) -> Result<(), StartError> {
    let tells = |stores: &[KnownStore]| stores.iter().any(|store| store.id == marker.itself);
    match identity {
        Some(identity) if tells(&marker.stores) && !tells(&identity.stores) => {
            Err(StartError::StoreForgotten(one.mount.name.to_string()))
        }
        _ => Ok(()),
    }
}

/// An empty place under a new name, where one that was left out is not configured any more, may be that one's, not mounted.
fn check_not_left_out(one: &Seen, identity: Option<&Identity>, parts: &Parts) -> Result<(), StartError> {
    let is_configured = |known: &KnownStore| parts.stores.iter().any(|mount| mount.name.as_str() == known.name);
    match identity.and_then(|identity| identity.unread().find(|known| !is_configured(known))) {
        Some(known) => Err(StartError::Configuration(format!(
            "the store `{}` is new, and `{known}` is not configured: if it is that one under another name, call it `{known}` again until \
             it is back; else keep `{known}` in the configuration until it is read or forgotten",
            one.mount.name,
            known = known.name
        ))),
        None => Ok(()),
    }
}

/// A store configured under the name of another known one is not the one it was.
fn check_self(one: &Seen, marker: &Marker, identity: Option<&Identity>) -> Result<(), StartError> {
    let name = one.mount.name.as_str();
    let known = identity.and_then(|identity| identity.stores.iter().find(|known| known.name == name));
    match known {
        Some(known) if known.id != marker.itself => {
            Err(StartError::StoreAway { store: name.into(), found: format!("that of store {}", marker.itself) })
        }
        _ => Ok(()),
    }
}

/// Step 3. The ledger learns of an installation before any store does, and of a store after its marker is durable: a crash
/// between leaves a marker of ours that the next start takes in. Answers the places in the order of the configuration, and which of
/// them are away.
async fn introduce(
    look: Look,
    identity: Option<Identity>,
    parts: &Parts,
) -> Result<(Identity, Vec<Place>, BTreeSet<usize>), StartError> {
    let mut identity = match identity {
        Some(identity) => identity,
        None => new_installation(parts).await?,
    };
    let mut places: Vec<Place> = Vec::with_capacity(parts.stores.len());
    let mut markers = Vec::with_capacity(parts.stores.len());
    for one in look.seen {
        let id = introduce_store(&one, &mut identity, parts).await?;
        if let Some(twin) = places.iter().find(|place| place.id == id) {
            let (first, second) = (twin.name.to_string(), one.mount.name.to_string());
            return Err(StartError::SameStore { first, second });
        }
        places.push(one.mount.place(id));
        markers.push(one.marker);
    }
    for (place, found) in places.iter().zip(markers) {
        tell_of_all(place, found, &identity, &parts.secrets).await?;
    }
    let mut away = BTreeSet::new();
    for (mount, id, error) in look.away {
        tracing::warn!(store = %mount.name, error = %chain(&error), "a store is away: the node starts without it");
        away.insert(id);
        places.push(mount.place(id));
    }
    places.sort_by_key(|place| parts.stores.iter().position(|mount| mount.name == place.name));
    let away = (0..places.len()).filter(|at| away.contains(&places[*at].id)).collect();
    Ok((identity, places, away))
}

/// Each store tells of all, so that a rebuild misses none; at least of itself, so that it is known again once it was forgotten.
pub(crate) async fn tell_of_all(
    place: &Place,
    found: Option<Marker>,
    identity: &Identity,
    secrets: &Secrets,
) -> Result<(), StartError> {
    let tells_itself = |marker: &Marker| marker.stores.iter().any(|store| store.id == place.id);
    if !place.mode.changes() && !found.as_ref().is_some_and(tells_itself) {
        return Err(needs_edit_once(&place.name));
    }
    let told = found.is_some_and(|marker| marker.stores == identity.stores && marker.epoch == identity.epoch);
    if place.mode.changes() && !told {
        marker(place.id, identity, secrets).write(&*place.store).await.map_err(failed)?;
    }
    Ok(())
}

/// Makes an installation. Where another node has made one in the same ledger meanwhile, this node is of that one.
async fn new_installation(parts: &Parts) -> Result<Identity, StartError> {
    let instance = uuid::Builder::from_random_bytes(parts.environment.random()).into_uuid();
    let new = Identity { instance, epoch: 1, mark: 0, stores: vec![], marks: [].into() };
    match parts.ledger.initialise(&new).await {
        Ok(()) => Ok(new),
        Err(error @ LedgerError::Fenced(_)) => {
            parts.ledger.identity().await.map_err(failed)?.ok_or_else(|| failed(error))
        }
        Err(error) => Err(failed(error)),
    }
}

async fn introduce_store(one: &Seen, identity: &mut Identity, parts: &Parts) -> Result<StoreId, StartError> {
    let id = match &one.marker {
        Some(marker) => marker.itself,
        None => mark_new(one, identity, parts).await?,
    };
    let known = KnownStore { name: one.mount.name.to_string(), id, adopted: true, unread_since: None };
    if !identity.stores.contains(&known) {
        *identity = note_store(known, identity, parts).await?;
    }
    Ok(id)
}

/// Has the ledger know a store too. It is read again for that, and once more where its mark rises meanwhile: what another node
/// has noted since we looked stays.
async fn note_store(known: KnownStore, identity: &Identity, parts: &Parts) -> Result<Identity, StartError> {
    loop {
        let mut noted = reread(identity, parts).await?;
        noted.stores.retain(|other| other.id != known.id);
        noted.stores.push(known.clone());
        noted.stores.sort_by_key(|store| store.id);
        match parts.ledger.initialise(&noted).await {
            Err(LedgerError::Fenced(_)) if has_risen(&noted, &reread(identity, parts).await?) => {}
            result => return result.map(|()| noted).map_err(failed),
        }
    }
}

async fn reread(identity: &Identity, parts: &Parts) -> Result<Identity, StartError> {
    Ok(parts.ledger.identity().await.map_err(failed)?.unwrap_or_else(|| identity.clone()))
}

fn has_risen(then: &Identity, now: &Identity) -> bool {
    (now.epoch, now.instance) == (then.epoch, then.instance) && now.mark > then.mark
}

/// Marks a store that nobody knows as this installation's; where another node does so at the same time, its mark counts.
async fn mark_new(one: &Seen, identity: &Identity, parts: &Parts) -> Result<StoreId, StartError> {
    let store = &*one.mount.store;
    if !one.mount.mode.changes() {
        return Err(needs_edit_once(&one.mount.name));
    }
    let new = StoreId::new(&parts.environment);
    match marker(new, identity, &parts.secrets).create(store).await {
        Ok(()) => Ok(new),
        Err(error) if *error.kind() == ErrorKind::AlreadyExists => {
            let theirs = Marker::read(store).await.map_err(failed)?;
            let ours = theirs.filter(|theirs| theirs.instance == identity.instance);
            ours.map(|ours| ours.itself).ok_or_else(|| failed(error))
        }
        Err(error) => Err(failed(error)),
    }
}

fn needs_edit_once(name: &StoreName) -> StartError {
    StartError::Configuration(format!("the store `{name}` is new and takes no marker: give it the mode `edit` once"))
}

fn marker(itself: StoreId, identity: &Identity, secrets: &Secrets) -> Marker {
    Marker {
        larder: 1,
        instance: identity.instance,
        itself,
        epoch: identity.epoch,
        format: FORMAT,
        master: secrets.id(),
        stores: identity.stores.clone(),
    }
}

/// Puts the node together; its committer runs from here on.
pub(crate) fn assemble(
    (node, identity): (NodeId, Identity),
    places: Vec<Place>,
    away: &BTreeSet<usize>,
    parts: Parts,
    settings: Settings,
) -> Files {
    let Parts { ledger, environment, secrets, roll, .. } = parts;
    let (committer, run) =
        Committer::new(places.clone(), Arc::clone(&ledger), Arc::clone(&environment.spawn), settings.batch_max);
    environment.spawn.spawn(Box::pin(run));
    let is_alone = places.len() == 1;
    Files(Arc::new(Node {
        places,
        ledger,
        secrets,
        roll,
        settings,
        epoch: identity.epoch,
        unread: identity.unread().map(|store| store.name.clone()).collect(),
        unread_since: identity.unread().filter_map(|store| store.unread_since).max(),
        node,
        buckets: Mutex::default(),
        names: Mutex::default(),
        heir: tokio::sync::Mutex::default(),
        repeats: tokio::sync::Mutex::default(),
        committer,
        state: Mutex::new(State::without(away)),
        noted: Arc::default(),
        // On the only store nothing can be missing that another one has.
        walked: AtomicBool::new(is_alone),
        marked: tokio::sync::OnceCell::new(),
        environment,
    }))
}

fn failed(cause: impl std::error::Error + Send + Sync + 'static) -> StartError {
    StartError::Failed(Box::new(cause))
}

fn failed_start(error: Error) -> StartError {
    match error {
        Error::Fenced(why) => StartError::OlderDatabase { why },
        other => failed(other),
    }
}
