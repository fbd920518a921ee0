//! The operator: starts nodes that died, rebuilds what was lost, and at the end, when everything has healed, compares what
//! there is with what the oracle knows. It asserts before it repairs.

use super::{
    Profile, Shelf,
    bugs::{Bug, Wrong},
    client::{UNIQUE, ask_within, collect, list_all},
    database::{Database, Left, Watched, held},
    executor::{Process, lock},
    oracle::{Oracle, Verdict},
    world::{Fault, Slot, World},
};
use crate::{
    BucketName, BucketPolicy, Caller, File, FileId, Files, Finding, FindingKind, FsckOptions, Health, Mount, Names,
    Parts, Presence, RebuildOptions, Recovered, Role, Roll, Secrets, Settings, Standing, StartError, StoreName,
    UserName, ledger::RevisionRow,
};
use async_trait::async_trait;
use futures_util::FutureExt;
use larder_storage_core::{BoxError, MemoryDisk, MemoryStore, NodeId, Store};
use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
    sync::{Arc, Mutex},
    time::Duration,
};

/// By then whatever a lost database left is an orphan's for sure: longer than any upload may take.
const ORPHAN_AFTER: Duration = Duration::from_secs(25 * 60 * 60);

/// By then an upload to a store that doesn't stage is at its end, whatever befell it: its lease of half an hour, and the last look
/// five minutes later, with the pauses between.
pub(super) const SETTLED_AFTER: Duration = Duration::from_secs(45 * 60);

/// As `serve` does.
const LOOK_EVERY: Duration = Duration::from_secs(30);

/// Within this a node finds out that its database is an older one, once every store answers: a call may take minutes.
const FOUND_OUT_WITHIN: Duration = Duration::from_secs(600);

/// How long anything may take once everything has healed.
const PATIENCE: Duration = Duration::from_secs(3600);

pub(super) struct Operator {
    pub(super) world: Arc<World>,
    pub(super) oracle: Arc<Mutex<Oracle>>,
    /// A new, empty database.
    pub(super) fresh: Arc<dyn Fn() -> Arc<dyn Database> + Send + Sync>,
}

/// All that a history leaves, as its nodes tell it.
type Everything = BTreeMap<FileId, (File, Vec<RevisionRow>)>;

impl Operator {
    /// Keeps the installation running until all clients are done; then judges.
    pub(super) async fn run(self) {
        if let Err(why) = self.operate().await {
            self.world.violate(why);
        }
    }

    async fn operate(&self) -> Verdict {
        while self.world.state().clients > 0 {
            self.mend().await?;
            let pause = self.world.state().random.below(5_000);
            self.world.executor.sleep(Duration::from_millis(pause)).await;
        }
        self.world.heal();
        self.mend().await?;
        self.read_all_stores().await?;
        self.mend().await?;
        if self.world.profile.moves {
            self.world.state().healed = true;
        } else {
            self.replicate_by_notes().await?;
        }
        self.settle().await?;
        self.judge().await
    }

    /// Brings back what is down.
    async fn mend(&self) -> Verdict {
        let disaster = self.world.state().disaster;
        if let Some(disaster) = disaster {
            self.bring_back(disaster).await?;
        }
        let reads_all = {
            let mut state = self.world.state();
            !state.has_whole_index() && state.random.chance(150)
        };
        if reads_all {
            self.read_all_stores().await?;
        }
        for slot in 0..self.world.profile.nodes {
            let down = {
                let state = self.world.state();
                state.slots[slot].files.is_none() && state.disaster.is_none()
            };
            if down {
                self.start(slot).await?;
            }
        }
        Ok(())
    }

    fn parts(&self, database: &Arc<dyn Database>) -> (Process, Parts) {
        let world = &self.world;
        let (process, node) = world.begin_process();
        let mount = |(at, disk): (usize, &MemoryDisk)| {
            let name = world.profile.stores[at].name;
            let store = MemoryStore::open(disk, name, node.clone());
            let store: Arc<dyn Store> = match world.profile.bug {
                Some(_) => Arc::new(Wrong::new(store, world.clone())),
                None => Arc::new(store),
            };
            Mount { name: StoreName::new(name).expect("profiles name them well"), store, mode: world.mode(at) }
        };
        let stores = world.disks.iter().enumerate().map(mount).collect();
        let ledger = Arc::new(Watched::open(database.clone(), world.clone(), process));
        let environment = world.environment(process);
        let stages = world.profile.stores.iter().any(|shelf| shelf.staging);
        let roll: Option<Arc<dyn Roll>> =
            (!stages).then(|| Arc::new(Living { world: world.clone(), node, process }) as _);
        (process, Parts { stores, ledger, environment, secrets: Secrets::new([7; 32]), roll })
    }

    /// New content goes to another store first after each start, so that files lie everywhere.
    fn settings(&self) -> Settings {
        let Profile { stores, replicas, names, moves, write_copies, .. } = self.world.profile;
        let (first, placed) = {
            let mut state = self.world.state();
            let first = state.random.index(stores.len());
            if let Some(only) = state.narrowed {
                (only, 1)
            } else {
                (first, if moves && !state.healed { 1 + state.random.index(stores.len()) } else { stores.len() })
            }
        };
        let name = |shelf: &Shelf| StoreName::new(shelf.name).expect("profiles name them well");
        let in_order = stores[first..].iter().chain(&stores[..first]).map(name);
        let placement = in_order.take(if replicas { placed } else { 1 }).collect();
        let copies_at_once = if replicas { 2 } else { 0 };
        let mut settings = Settings { placement, copies_at_once, look_every: Some(LOOK_EVERY), ..Settings::default() };
        settings.buckets.iter_mut().for_each(|(_, policy)| policy.write_copies = write_copies);
        if names {
            let unique = BucketPolicy { names: Names::Unique, ..BucketPolicy::default() };
            settings.buckets.push((BucketName::new(UNIQUE).expect("a good name"), unique));
        }
        settings
    }

    /// Starts a node over the current database; `None` where it died or could not yet.
    async fn try_start(&self) -> Result<Option<(Process, Files, Recovered)>, StartError> {
        let database = self.world.state().database.clone();
        let (process, parts) = self.parts(&database);
        self.world.note(format_args!("p{} starts", process.0));
        let start = Files::start(parts, self.settings()).boxed();
        match ask_within(&self.world, process, start, PATIENCE).await {
            Some(Ok((files, recovered))) => {
                self.world.note(format_args!("p{} is up: {recovered:?}", process.0));
                Ok(Some((process, files, recovered)))
            }
            Some(Err(error)) => {
                self.world.note(format_args!("p{} does not start: {error:?}", process.0));
                let buried = self.world.is_buried(process);
                self.world.kill(process);
                if buried { Ok(None) } else { Err(error) }
            }
            None => {
                self.world.kill(process);
                Ok(None)
            }
        }
    }

    async fn start(&self, slot: usize) -> Verdict {
        let cold = {
            let state = self.world.state();
            state.database.back_up()
        };
        match self.try_start().await {
            Ok(Some((process, files, _))) => {
                let mut state = self.world.state();
                // It may have died with its answer on the way.
                let lives = state.lives(process);
                state.slots[slot] = Slot { process, files: lives.then_some(files) };
                // This start has raised the mark: what was before it is older now.
                if state.random.chance(300) {
                    state.backup = cold;
                    (state.first_since_backup, state.claimed_since_backup) = (process.0, false);
                }
                Ok(())
            }
            Ok(None) => Ok(()),
            Err(StartError::Failed(_) | StartError::StoreAway { .. } | StartError::NoStore { .. })
                if self.world.is_disturbed() =>
            {
                Ok(())
            }
            Err(error) => Err(format!("I5: refuses to start: {error:?}")),
        }
    }

    /// The database is lost or old: a start must refuse it, and a rebuild must bring everything back.
    async fn bring_back(&self, disaster: Fault) -> Verdict {
        self.world.kill_all();
        let (claimed, backup) = {
            let mut state = self.world.state();
            (state.claimed_since_backup, state.backup.take())
        };
        if disaster == Fault::DatabaseOlder && !(claimed && backup.is_some()) {
            // The mark rises before the first change: where none was made since, it is no older copy.
            self.world.state().disaster = None;
            return Ok(());
        }
        let older = {
            let mut state = self.world.state();
            match (disaster, backup) {
                (Fault::DatabaseOlder, Some(backup)) => {
                    state.database = backup.clone();
                    Some(backup)
                }
                _ => {
                    state.database = (self.fresh)();
                    None
                }
            }
        };
        match self.try_start().await {
            Ok(Some((process, files, _))) => {
                // Only a store that is away may have been told of the newer one.
                if disaster != Fault::DatabaseOlder || files.stores_away().is_empty() {
                    return Err(format!("I6: started over a database that was {disaster:?}"));
                }
                self.go_on_blindly(process, files).await?;
                self.world.kill(process);
            }
            Err(StartError::DatabaseMissing { .. } | StartError::OlderDatabase { .. }) => {}
            Ok(None) | Err(StartError::Failed(_) | StartError::StoreAway { .. } | StartError::NoStore { .. })
                if self.world.is_disturbed() => {}
            other => return Err(format!("I6: a database that was {disaster:?} is met with {:?}", other.err())),
        }
        let without = self.pick_store_to_leave_out();
        self.rebuild(older, without).await
    }

    /// A node works over an older database that only a store which is away can tell of. Nobody is promised what it answers; but it takes
    /// nothing away that was, and once that store is back it finds out, however often it has raised its own mark.
    async fn go_on_blindly(&self, process: Process, files: Files) -> Verdict {
        self.world.note(format_args!("p{} goes on blindly", process.0));
        let name = UserName::new(format!("blind{}", process.0)).expect("a good name");
        let (of, changes) = (files.clone(), self.world.state().random.below(40));
        let work = async move {
            let user = of.add_user(name, Role::User, None).await?;
            for number in 0..changes {
                of.set_password(user.id, number.to_string()).await?;
            }
            Ok::<_, crate::Error>(())
        };
        let worked = ask_within(&self.world, process, work.boxed(), FOUND_OUT_WITHIN).await;
        self.world.note(format_args!("p{} worked blindly: {worked:?}", process.0));
        let faults = self.world.clear_up();
        self.world.executor.sleep(FOUND_OUT_WITHIN).await;
        let is_undisturbed = {
            let state = self.world.state();
            state.faults == faults && state.lives(process)
        };
        match files.health() {
            Health::Fenced(_) => Ok(()),
            _ if !is_undisturbed => Ok(()),
            health => Err(format!("I6: a node over an older database never finds out: {health:?}")),
        }
    }

    /// Where there are several stores, now and then a rebuild is done without one, as if it were away.
    fn pick_store_to_leave_out(&self) -> Option<StoreName> {
        let stores = self.world.profile.stores;
        if stores.len() < 2 {
            return None;
        }
        let mut state = self.world.state();
        let store = state.random.index(stores.len());
        state.random.chance(400).then(|| StoreName::new(stores[store].name).expect("profiles name them well"))
    }

    /// Ends a provisional index by a rebuild that reads every store.
    async fn read_all_stores(&self) -> Verdict {
        if self.world.state().has_whole_index() {
            return Ok(());
        }
        self.world.kill_all();
        let older = self.world.state().database.clone();
        self.rebuild(Some(older), None).await
    }

    /// Rebuilds, as often as it takes; `without` a store unless nobody knows it yet.
    async fn rebuild(&self, older: Option<Arc<dyn Database>>, mut without: Option<StoreName>) -> Verdict {
        for _ in 0..100 {
            let new = (self.fresh)();
            let (process, parts) = self.parts(&new);
            let replaced = older.as_ref().map(|older| -> Arc<dyn crate::Ledger> {
                Arc::new(Watched::open(older.clone(), self.world.clone(), process))
            });
            self.world.note(format_args!("p{} rebuilds without {without:?}", process.0));
            let (world, settings) = (self.world.clone(), self.settings());
            let options = RebuildOptions { without: without.iter().cloned().collect(), ..RebuildOptions::default() };
            let rebuild = async move {
                let mut found = |finding| world.note(format_args!("rebuild found {finding:?}"));
                crate::rebuild(parts, settings, replaced, options, &mut found).await
            };
            let rebuilt = ask_within(&self.world, process, rebuild.boxed(), PATIENCE).await;
            self.world.note(format_args!("p{} rebuilt: {rebuilt:?}", process.0));
            self.world.kill(process);
            match rebuilt {
                Some(Ok(_)) => {
                    let mut state = self.world.state();
                    state.database = new;
                    state.disaster = None;
                    state.was_rebuilt = true;
                    state.turns_of_index = (state.turns_of_index / 2 + 1) * 2 + u64::from(without.is_some());
                    return Ok(());
                }
                Some(Err(StartError::Configuration(_))) if without.is_some() => without = None,
                Some(Err(error)) if !self.world.is_disturbed() => return Err(format!("I6: no rebuild: {error:?}")),
                _ => self.world.executor.sleep(Duration::from_secs(5)).await,
            }
        }
        Err("I6: a rebuild never ends well".into())
    }

    /// Gives live nodes the time that they have to settle what they can; sometimes everything dies once more instead.
    async fn settle(&self) -> Verdict {
        let (waits, end) = {
            let mut state = self.world.state();
            (state.random.chance(500), state.random.below(3))
        };
        if waits {
            self.world.executor.sleep(Duration::from_secs(180)).await;
        }
        match end {
            0 => self.world.cut_power(),
            1 => self.world.kill_all(),
            _ => {
                let files: Vec<_> = self.world.state().slots.iter().filter_map(|slot| slot.files.clone()).collect();
                let slots: Vec<_> = self.world.state().slots.iter().map(|slot| slot.process).collect();
                for (files, process) in files.into_iter().zip(slots) {
                    let _ = ask_within(&self.world, process, async move { files.stop().await }.boxed(), PATIENCE).await;
                }
                self.world.kill_all();
            }
        }
        Ok(())
    }

    /// Everything has healed: compares, starts again, compares, rebuilds, compares.
    async fn judge(&self) -> Verdict {
        let first = self.started().await?;
        self.inspect_files(&first).await?;
        self.replicate().await?;
        self.find_rot(&first).await?;
        if self.world.profile.stores.iter().any(|shelf| !shelf.staging) {
            self.world.executor.sleep(SETTLED_AFTER).await;
        }
        if self.world.state().was_rebuilt {
            self.clean_up(&first).await?;
        }
        self.inspect(&first).await?;
        if self.world.profile.bug == Some(Bug::WrittenLate) {
            self.world.deliver_late(|_| 1000);
            self.inspect(&first).await?;
        }
        self.check_each_alone()?;
        let dump = self.dump(&first).await?;
        self.world.kill(first.process);

        let second = self.started().await?;
        self.replicate().await?;
        if second.recovered != Recovered::default() {
            return Err(format!("I5: a second start recovers again: {:?}", second.recovered));
        }
        same_dump("a second start", &dump, &self.dump(&second).await?)?;
        self.world.kill(second.process);

        let older = {
            let mut state = self.world.state();
            state.random.chance(500).then(|| state.database.clone())
        };
        self.rebuild(older, None).await?;
        let third = self.started().await?;
        self.replicate().await?;
        same_dump("a rebuild", &dump, &self.dump(&third).await?)?;
        self.inspect(&third).await?;
        if self.world.profile.moves {
            self.world.kill(third.process);
            self.narrow().await?;
        }
        Ok(())
    }

    /// Every placement names one store from now on: all goes from the others, and a rebuild knows the same.
    async fn narrow(&self) -> Verdict {
        {
            let mut state = self.world.state();
            state.narrowed = Some(state.random.index(self.world.profile.stores.len()));
        }
        let node = self.started().await?;
        self.left_alone().await?;
        self.inspect(&node).await?;
        let dump = self.dump(&node).await?;
        self.world.kill(node.process);
        self.rebuild(None, None).await?;
        let node = self.started().await?;
        self.left_alone().await?;
        same_dump("a rebuild after a move", &dump, &self.dump(&node).await?)?;
        self.inspect(&node).await
    }

    async fn started(&self) -> Result<Started, String> {
        match self.try_start().await {
            Ok(Some((process, files, recovered))) => Ok(Started { process, files, recovered }),
            Ok(None) => Err("I5: a start hangs".into()),
            Err(error) => Err(format!("I5: refuses to start: {error:?}")),
        }
    }

    async fn ask<T: Send + 'static>(
        &self,
        node: &Started,
        what: &str,
        ask: impl Future<Output = crate::Result<T>> + Send + 'static,
    ) -> Result<T, String> {
        match ask_within(&self.world, node.process, ask.boxed(), PATIENCE).await {
            Some(Ok(answer)) => Ok(answer),
            Some(Err(error)) => Err(format!("I4: cannot {what} when all has healed: {error:?}")),
            None => Err(format!("I4: {what} hangs when all has healed")),
        }
    }

    async fn dump(&self, node: &Started) -> Result<Vec<String>, String> {
        let files = node.files.clone();
        let dump = async move {
            let mut lines = Vec::new();
            let mut out = |line: &str| {
                lines.push(line.to_owned());
                Ok(())
            };
            files.dump(&mut out).await?;
            Ok(lines)
        };
        self.ask(node, "dump", dump).await
    }

    /// Everything that can be seen of an installation at rest.
    async fn inspect(&self, node: &Started) -> Verdict {
        let now = self.inspect_files(node).await?;
        self.fsck(node).await?;
        self.nothing_left(&now)
    }

    /// Everything that its users can see.
    async fn inspect_files(&self, node: &Started) -> Result<Everything, String> {
        let now = self.everything(node).await?;
        lock(&self.oracle).settled(&now)?;
        for (file, revisions) in now.values() {
            for revision in revisions {
                self.read(node, file, revision).await?;
            }
        }
        self.dead_stay_dead(node).await?;
        Ok(now)
    }

    async fn everything(&self, node: &Started) -> Result<Everything, String> {
        let files = node.files.clone();
        let everything = async move {
            let mut all = BTreeMap::new();
            for file in list_all(files.clone(), 1000).await? {
                let id = file.attributes.id;
                all.insert(id, (file, files.revisions(&Caller::local(), id).await?));
            }
            Ok(all)
        };
        self.ask(node, "list", everything).await
    }

    async fn read(&self, node: &Started, file: &File, revision: &RevisionRow) -> Verdict {
        if file.attributes.deleted_at.is_some() {
            // Its content is absent to every reader; `fsck` reads it.
            return Ok(());
        }
        let (files, of, number) = (node.files.clone(), file.clone(), revision.revision);
        let read = async move {
            let content = files.open(&Caller::local(), &of, Some(number), None).await?;
            Ok(collect(content).await)
        };
        match self.ask(node, "read", read).await? {
            (_, None) => Err(format!("I1: content breaks off when all has healed: {revision:?}")),
            (row, Some(bytes)) => lock(&self.oracle).read(None, file, &row, &bytes),
        }
    }

    /// Whatever the lists say: nobody can describe what was purged.
    async fn dead_stay_dead(&self, node: &Started) -> Verdict {
        let known = lock(&self.oracle).known();
        for id in known {
            let floor = lock(&self.oracle).floor(id);
            let files = node.files.clone();
            let describe = async move { Ok(files.describe(&Caller::local(), id).await) };
            match self.ask(node, "describe", describe).await? {
                Ok(file) => lock(&self.oracle).seen(floor.as_ref(), &file)?,
                Err(crate::Error::Gone | crate::Error::NotFound(_)) => lock(&self.oracle).absent(id, false)?,
                Err(error) => return Err(format!("I4: cannot describe {id} when all has healed: {error:?}")),
            }
        }
        Ok(())
    }

    async fn fsck(&self, node: &Started) -> Verdict {
        let (files, replicas) = (node.files.clone(), self.world.profile.replicas);
        let fsck = async move {
            let mut findings = Vec::new();
            let options = FsckOptions { verify: true, repair: false };
            files.fsck(options, &mut |finding| findings.push(finding)).await?;
            // Where no reconciler is at work, what another placement wants is never made.
            findings.retain(|finding: &Finding| replicas || finding.kind != FindingKind::CopyWanted);
            Ok(findings)
        };
        match self.ask(node, "fsck", fsck).await? {
            findings if findings.is_empty() => Ok(()),
            findings => Err(format!("I4: fsck finds {findings:?}")),
        }
    }

    /// A copy that nobody has read since its bytes turned into others is `fsck`'s to find. From here on all are sound.
    async fn find_rot(&self, node: &Started) -> Verdict {
        if std::mem::take(&mut self.world.state().rotten).is_empty() {
            return Ok(());
        }
        self.repair(node).await?;
        self.replicate().await
    }

    /// What a dead node left under a database that was lost is `fsck`'s to find.
    async fn clean_up(&self, node: &Started) -> Verdict {
        // It moves no bytes that an upload may still want.
        self.world.executor.sleep(ORPHAN_AFTER).await;
        self.repair(node).await
    }

    async fn repair(&self, node: &Started) -> Verdict {
        let files = node.files.clone();
        let fsck = async move {
            let options = FsckOptions { verify: true, repair: true };
            files.fsck(options, &mut |_| {}).await
        };
        match self.ask(node, "mend", fsck).await? {
            summary if summary.lost == 0 => Ok(()),
            summary => Err(format!("I1: content is lost: {summary:?}")),
        }
    }

    /// No temporary file, no claim, no reservation, no object that no file accounts for.
    fn nothing_left(&self, now: &Everything) -> Verdict {
        let database = self.world.state().database.clone();
        match held(&database) {
            Ok(Left { claims, intents, nodes }) if claims.is_empty() && intents.is_empty() && nodes.is_empty() => {}
            held => return Err(format!("I4: something is left in the ledger: {held:?}")),
        }
        let revisions = now.values().flat_map(|(_, revisions)| revisions);
        let accounted: BTreeSet<String> =
            revisions.flat_map(|row| [row.key.as_str().into(), format!("{}.attr.json", row.key)]).collect();
        for (at, disk) in self.world.disks.iter().enumerate() {
            if disk.staged() > 0 {
                return Err(format!("I4: {} operations are left staged in store {at}", disk.staged()));
            }
            for (key, _) in disk.objects() {
                let key = key.as_str();
                let own = match key.strip_prefix(".larder/attributes/") {
                    Some(overlay) => now.keys().any(|id| overlay.starts_with(&id.to_string())),
                    None => key.starts_with(".larder/") || accounted.contains(key),
                };
                if !own && self.world.mode(at).changes() {
                    return Err(format!("I4: `{key}` is left in store {at} and is no file's"));
                }
            }
        }
        Ok(())
    }
}

/// Who lives, as the world knows.
struct Living {
    world: Arc<World>,
    node: NodeId,
    process: Process,
}

impl fmt::Debug for Living {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Living").field("node", &self.node).finish_non_exhaustive()
    }
}

#[async_trait]
impl Roll for Living {
    fn node(&self) -> NodeId {
        self.node.clone()
    }

    async fn presence(&self, node: &NodeId) -> Result<Presence, BoxError> {
        Ok(if self.world.is_up(node) { Presence::Present } else { Presence::Absent })
    }

    fn standing(&self) -> Standing {
        if self.world.is_buried(self.process) && !self.world.bites(Bug::BuriedGoesOn) {
            return Standing::Buried("others took it for dead".into());
        }
        if self.world.is_unheard(self.process) {
            return Standing::Unheard("it can't tell that it lives".into());
        }
        Standing::Alive
    }
}

struct Started {
    process: Process,
    files: Files,
    recovered: Recovered,
}

fn same_dump(after: &str, before: &[String], now: &[String]) -> Verdict {
    let both = before.iter().zip(now);
    match both.into_iter().find(|(before, now)| before != now) {
        Some((before, now)) => Err(format!("I6: after {after}\n  {before}\nis\n  {now}")),
        None if before.len() == now.len() => Ok(()),
        None => Err(format!("I6: after {after} there are {} rows instead of {}", now.len(), before.len())),
    }
}
