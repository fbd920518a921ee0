//! What the reconciler tries, when, and in which order, where copies or whole stores fail for long.
#![allow(clippy::disallowed_methods, clippy::unwrap_used, reason = "a test has a runtime of its own, and may unwrap")]

mod support;

use futures_util::{
    FutureExt,
    future::{self, BoxFuture},
};
use larder_files::{
    Files, Settings, Sha256, StoreName, Timestamp,
    ledger::{CopyRow, CopyState, Entry, Ledger, Record},
};
use larder_storage_core::{ErrorKind, Key, MemoryOptions, MemoryStore, NodeId, PutOptions, Steps, Store};
use std::{
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::Duration,
};
use support::{Faults, Gate, Larder, World, put, staging_with, until};

const EVERY: Duration = Duration::from_secs(30);
const MINUTE: Duration = Duration::from_secs(60);

/// A disk that publishes nothing under some keys, each try taking a while; or that is away.
#[derive(Debug, Default)]
struct Picky {
    refused: Mutex<Vec<Key>>,
    away: Mutex<bool>,
    takes: Mutex<Option<(Arc<World>, Duration)>>,
    tries: AtomicU64,
}

impl Picky {
    fn refuse(&self, keys: impl IntoIterator<Item = Key>) {
        *self.refused.lock().unwrap() = keys.into_iter().collect();
    }

    fn go(&self, away: bool) {
        *self.away.lock().unwrap() = away;
    }

    fn tries(&self) -> u64 {
        self.tries.load(Ordering::SeqCst)
    }
}

impl Steps for Picky {
    fn step<'a>(&'a self, _: &'a NodeId, name: &'static str, key: &'a str) -> BoxFuture<'a, Result<(), ErrorKind>> {
        let is_away = *self.away.lock().unwrap();
        let is_refused = self.refused.lock().unwrap().iter().any(|refused| refused.as_str() == key);
        let takes = self.takes.lock().unwrap().clone().filter(|_| is_refused && name == "head");
        if name == "head" && (is_refused || is_away) {
            self.tries.fetch_add(1, Ordering::SeqCst);
        }
        async move {
            if let Some((world, span)) = takes {
                world.pass(span);
                tokio::task::yield_now().await;
            }
            if is_away || is_refused { Err(ErrorKind::Unavailable) } else { Ok(()) }
        }
        .boxed()
    }
}

fn over(stores: &[(&'static str, Arc<Picky>)]) -> Larder {
    let mut larder = Larder::over_all([("a", MemoryOptions::with_staging())]);
    for (name, picky) in stores {
        larder.add_disk(name, staging_with(picky.clone()));
    }
    larder
}

/// A server with a placement on all stores; `copies_at_once` 0 leaves copies to others.
async fn start(larder: &Larder, copies_at_once: usize) -> Files {
    let placement = larder.stores.iter().map(|(name, ..)| StoreName::new(name.as_str()).unwrap()).collect();
    let settings = Settings { placement, look_every: Some(EVERY), copies_at_once, ..Settings::default() };
    Files::start(larder.parts(larder.ledger.another()), settings).await.unwrap().0
}

async fn is_verified(larder: &Larder, id: larder_files::FileId, stores: usize) -> bool {
    let copies = larder.ledger.file(id).await.unwrap().unwrap().copies;
    copies.iter().filter(|copy| copy.state == CopyState::Verified).count() == stores
}

fn now(larder: &Larder) -> Duration {
    larder_files::Clock::elapsed(&*larder.world)
}

async fn hours_pass(larder: &Larder, hours: u32) {
    for _ in 0..hours {
        let begun = now(larder);
        until("an hour has passed", async || now(larder) > begun + 60 * MINUTE).await;
    }
}

#[tokio::test]
async fn a_store_that_is_back_after_hours_gets_its_copies_within_a_minute() {
    let picky = Arc::new(Picky::default());
    let larder = over(&[("b", picky.clone())]);
    let files = start(&larder, 2).await;
    picky.go(true);
    let mut ids = vec![];
    for number in 0..20 {
        ids.push(put(&files, &format!("file {number}")).await.attributes.id);
    }
    hours_pass(&larder, 5).await;
    let tries = picky.tries();
    assert!(tries < 400, "{tries} tries in five hours");
    picky.go(false);
    let back = now(&larder);
    for id in ids {
        until("the copy is made", async || is_verified(&larder, id, 2).await).await;
    }
    assert!(now(&larder) < back + 2 * MINUTE, "after {:?}", now(&larder) - back);
}

#[tokio::test]
async fn once_a_store_turns_out_to_be_away_the_rest_of_a_page_is_not_tried_there() {
    let picky = Arc::new(Picky::default());
    let larder = over(&[("b", picky.clone())]);
    let files = start(&larder, 0).await;
    for number in 0..200 {
        put(&files, &format!("file {number}")).await;
    }
    drop(files);
    let files = start(&larder, 2).await;
    picky.go(true);
    until("it is seen to be away", async || picky.tries() > 0).await;
    let seen = now(&larder);
    until("half a minute has passed", async || now(&larder) > seen + MINUTE / 2).await;
    assert!(picky.tries() < 20, "{} tries", picky.tries());
    drop(files);
}

#[tokio::test]
async fn a_copy_that_fails_on_one_store_holds_up_none_of_its_file_on_another() {
    let (bad, good) = (Arc::new(Picky::default()), Arc::new(Picky::default()));
    let larder = over(&[("b", bad.clone()), ("c", good)]);
    let files = start(&larder, 0).await;
    let file = put(&files, "file").await.attributes;
    bad.refuse([file.key.clone()]);
    drop(files);
    let files = start(&larder, 2).await;
    until("the other copy is made", async || is_verified(&larder, file.id, 2).await).await;
    hours_pass(&larder, 3).await;
    let tries = bad.tries();
    assert!((8..60).contains(&tries), "twice as long each time: {tries} tries in three hours");
    let stores = larder.ledger.identity().await.unwrap().unwrap().stores;
    let store = stores.into_iter().find(|known| known.name == "c").unwrap().id;
    let copies = vec![CopyRow { store, state: CopyState::Lost, verified_at: None }];
    let entry = Some(Entry::Copies { file: file.id, revision: 1, copies });
    let noted = now(&larder);
    larder.ledger.record(vec![Record { entry, ..Record::default() }]).await;
    until("it is made again", async || is_verified(&larder, file.id, 2).await).await;
    assert!(now(&larder) < noted + 2 * MINUTE, "after {:?}", now(&larder) - noted);
    bad.refuse([]);
    until("the bad copy is made too", async || is_verified(&larder, file.id, 3).await).await;
    drop(files);
}

#[tokio::test]
async fn a_page_of_copies_that_fail_slowly_holds_up_no_new_file() {
    let picky = Arc::new(Picky::default());
    let larder = over(&[("b", picky.clone())]);
    let files = start(&larder, 0).await;
    let mut keys = vec![];
    for number in 0..300 {
        keys.push(put(&files, &format!("bad {number}")).await.attributes.key);
    }
    drop(files);
    picky.refuse(keys);
    *picky.takes.lock().unwrap() = Some((larder.world.clone(), MINUTE / 2));
    let files = start(&larder, 2).await;
    until("they are tried", async || picky.tries() > 10).await;
    let begun = now(&larder);
    let new = put(&files, "new").await.attributes.id;
    until("the new one is copied", async || is_verified(&larder, new, 2).await).await;
    assert!(now(&larder) < begun + 10 * MINUTE, "after {:?}", now(&larder) - begun);
}

#[tokio::test]
async fn what_a_walk_comes_upon_stands_in_the_ledger_though_it_can_not_be_made_yet() {
    let picky = Arc::new(Picky::default());
    let mut larder = over(&[]);
    let files = start(&larder, 2).await;
    let id = put(&files, "from before").await.attributes.id;
    drop(files);
    larder.add_disk("b", staging_with(picky.clone()));
    drop(start(&larder, 0).await);
    let key = larder.ledger.file(id).await.unwrap().unwrap().attributes.key;
    picky.refuse([key]);
    let files = start(&larder, 2).await;
    let states = async || {
        let copies = larder.ledger.file(id).await.unwrap().unwrap().copies;
        let mut states: Vec<_> = copies.iter().map(|copy| copy.state).collect();
        states.sort_by_key(|state| *state as u8);
        states
    };
    until("it is tried", async || picky.tries() > 0).await;
    assert_eq!(states().await, [CopyState::Pending, CopyState::Verified]);
    drop(files);
}

/// A disk from which whatever is called large takes for ever to be read.
#[derive(Debug, Default)]
struct Large(AtomicU64);

impl Steps for Large {
    fn step<'a>(&'a self, _: &'a NodeId, name: &'static str, key: &'a str) -> BoxFuture<'a, Result<(), ErrorKind>> {
        if name == "get" && key.contains("large") {
            self.0.fetch_add(1, Ordering::SeqCst);
            return future::pending().boxed();
        }
        future::ready(Ok(())).boxed()
    }
}

#[tokio::test]
async fn one_large_copy_holds_up_no_new_file() {
    let large = Arc::new(Large::default());
    let mut larder = Larder::over_all([("a", staging_with(large.clone()))]);
    larder.add_disk("b", MemoryOptions::with_staging());
    let files = start(&larder, 2).await;
    put(&files, "large").await;
    until("its copy is under way", async || large.0.load(Ordering::SeqCst) > 0).await;
    let new = put(&files, "new").await.attributes.id;
    until("the new one is copied", async || is_verified(&larder, new, 2).await).await;
}

/// A disk that takes no sealed records of users, and later does not even answer.
#[derive(Debug, Default)]
struct Stuck {
    hangs: AtomicBool,
    held: AtomicU64,
}

impl Steps for Stuck {
    fn step<'a>(&'a self, _: &'a NodeId, name: &'static str, key: &'a str) -> BoxFuture<'a, Result<(), ErrorKind>> {
        let takes = !name.starts_with("put") || !key.contains("accounts");
        match self.hangs.load(Ordering::SeqCst) {
            _ if takes => future::ready(Ok(())).boxed(),
            false => future::ready(Err(ErrorKind::Unavailable)).boxed(),
            true => {
                self.held.fetch_add(1, Ordering::SeqCst);
                future::pending().boxed()
            }
        }
    }
}

#[tokio::test]
async fn a_store_that_hangs_while_it_is_given_what_it_missed_holds_up_no_copy_on_another() {
    let stuck = Arc::new(Stuck::default());
    let mut larder = over(&[("c", Arc::default())]);
    larder.add_disk("b", staging_with(stuck.clone()));
    let placement = ["a", "c"].map(|name| StoreName::new(name).unwrap()).to_vec();
    let settings = Settings { placement, look_every: Some(EVERY), ..Settings::default() };
    let files = Files::start(larder.parts(larder.ledger.another()), settings).await.unwrap().0;
    files.add_user(larder_files::UserName::new("anna").unwrap(), larder_files::Role::User, None).await.unwrap();
    stuck.hangs.store(true, Ordering::SeqCst);
    until("it is given what it missed", async || stuck.held.load(Ordering::SeqCst) > 0).await;
    let file = put(&files, "file").await.attributes.id;
    until("the copy is made", async || is_verified(&larder, file, 2).await).await;
}

#[tokio::test]
async fn a_copy_is_called_verified_only_where_its_bytes_are_right() {
    let gate = Gate::at("stage.durable");
    let mut larder = Larder::over_all([("a", MemoryOptions::with_staging())]);
    larder.add_disk("b", staging_with(gate.clone()));
    let files = start(&larder, 2).await;
    gate.close();
    let file = put(&files, "file").await.attributes;
    gate.reached().await;
    // Somebody puts a file from an old backup there while the copy is on its way.
    let b = MemoryStore::open(&larder.stores[1].1, "b", NodeId::new("rsync").unwrap());
    b.put(&file.key, "fole".into(), PutOptions::create()).await.unwrap();
    gate.open();
    until("the copy is verified", async || is_verified(&larder, file.id, 2).await).await;
    let objects = larder.stores[1].1.objects();
    assert_eq!(objects.into_iter().find(|(key, _)| *key == file.key).unwrap().1, "file");
}

#[tokio::test]
async fn a_store_that_is_away_keeps_no_copy_of_a_dead_node_s_from_being_made_on_another() {
    let away = Arc::<Faults>::default();
    let mut larder = Larder::over_all([("a", MemoryOptions::with_staging())]);
    larder.add_disk("b", MemoryOptions::with_staging());
    larder.add_disk("c", staging_with(away.clone()));
    let (alone, _) = larder.start().await;
    let id = put(&alone, "file").await.attributes.id;
    drop(alone);
    let at_work = Sha256::of(&[b"larder: the copies of ".as_slice(), id.0.as_bytes()].concat());
    larder.ledger.reserve(at_work, &NodeId::new("dead").unwrap(), Timestamp::from_millis(0)).await.unwrap();
    away.plan("leftovers.taken", "", ErrorKind::Unavailable);
    for step in ["head", "get"] {
        away.plan(step, "documents", ErrorKind::Unavailable);
    }
    let _files = start(&larder, 2).await;
    until("the copy is made", async || is_verified(&larder, id, 2).await).await;
}
