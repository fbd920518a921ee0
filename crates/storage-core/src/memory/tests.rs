use crate::{
    Body, Durable, ErrorKind, Key, MemoryDisk, MemoryOptions, MemoryStore, NodeId, OpId, Pair, Part, PutMode,
    PutOptions, Staging, Steps, Store, StoreExt,
};
use futures_util::{FutureExt, future::BoxFuture};
use std::sync::{
    Arc, Mutex,
    atomic::{AtomicBool, Ordering},
};

fn key(text: &str) -> Key {
    Key::new(text).unwrap()
}

fn node(name: &str) -> NodeId {
    NodeId::new(name).unwrap()
}

fn op(name: &str) -> OpId {
    OpId::new(name).unwrap()
}

fn pair(name: &str) -> Pair {
    Pair { op: op(name), bytes: key(&format!("a/{name}")), attributes: key(&format!("a/{name}.attr.json")) }
}

fn later() -> PutOptions {
    PutOptions { mode: PutMode::Replace, durable: Durable::Later }
}

/// Cuts the power with all unsynced changes kept or lost, and opens the disk again.
fn cut(disk: &MemoryDisk, keep: bool, again: &str) -> MemoryStore {
    disk.power_cut(&mut || keep);
    MemoryStore::open(disk, "m", node(again))
}

async fn stage(store: &MemoryStore, name: &str) {
    store.stage(&op(name), Part::Bytes, "content".into()).await.unwrap();
    store.stage(&op(name), Part::Attributes, "{}".into()).await.unwrap();
}

/// Stops a call for ever at one step, or fails it there.
struct At(&'static str, Option<ErrorKind>);

impl Steps for At {
    fn step<'a>(&'a self, _: &'a NodeId, name: &'static str, _: &'a str) -> BoxFuture<'a, Result<(), ErrorKind>> {
        match (name == self.0, &self.1) {
            (false, _) => std::future::ready(Ok(())).boxed(),
            (true, Some(kind)) => std::future::ready(Err(kind.clone())).boxed(),
            (true, None) => std::future::pending().boxed(),
        }
    }
}

fn disk_at(options: MemoryOptions, step: &'static str, kind: Option<ErrorKind>) -> MemoryDisk {
    MemoryDisk::new(MemoryOptions { steps: Some(Arc::new(At(step, kind))), ..options })
}

#[tokio::test]
async fn a_power_cut_keeps_the_old_or_the_new_of_an_unsynced_replace() {
    for (keep, expected) in [(false, "old"), (true, "new")] {
        let disk = MemoryDisk::new(MemoryOptions::with_staging());
        let store = MemoryStore::open(&disk, "m", node("n1"));
        store.put(&key("a"), "old".into(), PutOptions::create()).await.unwrap();
        store.put(&key("a"), "new".into(), later()).await.unwrap();
        assert_eq!(store.get_bytes(&key("a"), 9).await.unwrap(), "new");
        assert_eq!(cut(&disk, keep, "n2").get_bytes(&key("a"), 9).await.unwrap(), expected);
    }
}

#[tokio::test]
async fn each_unsynced_name_is_kept_or_lost_by_itself() {
    let disk = MemoryDisk::new(MemoryOptions::with_staging());
    let store = MemoryStore::open(&disk, "m", node("n1"));
    for name in ["a", "b", "c", "d"] {
        store.put(&key(name), "x".into(), later()).await.unwrap();
    }
    let mut odd = false;
    disk.power_cut(&mut || {
        odd = !odd;
        odd
    });
    let left: Vec<_> = disk.objects().into_iter().map(|(key, _)| key.to_string()).collect();
    assert_eq!(left, ["a", "c"]);
}

#[tokio::test]
async fn what_was_synced_survives_and_a_lying_disk_loses_it() {
    for lying in [false, true] {
        let disk = MemoryDisk::new(MemoryOptions::with_staging());
        disk.lie_about_sync(lying);
        let store = MemoryStore::open(&disk, "m", node("n1"));
        store.put(&key("now"), "x".into(), PutOptions::create()).await.unwrap();
        store.put(&key("later"), "x".into(), later()).await.unwrap();
        store.sync().await.unwrap();
        disk.power_cut(&mut || false);
        assert_eq!(disk.objects().is_empty(), lying);
    }
}

#[tokio::test]
async fn a_crash_between_the_links_of_a_pair_is_found_by_the_next_node_and_by_one_only() {
    let disk = disk_at(MemoryOptions::with_staging(), "publish.attributes", None);
    let store = MemoryStore::open(&disk, "m", node("n1"));
    stage(&store, "o").await;
    assert!(store.publish(&[pair("o")]).now_or_never().is_none());
    disk.kill(&node("n1"));
    let (second, third) = (MemoryStore::open(&disk, "m", node("n2")), MemoryStore::open(&disk, "m", node("n3")));
    assert!(!second.is_alive(&node("n1")).await.unwrap());
    let found = second.leftovers().await.unwrap();
    assert_eq!((found.len(), found[0].bytes, found[0].node.as_str()), (1, Some(7), "n1"));
    assert!(third.leftovers().await.unwrap().is_empty());
    assert!(second.withdraw(&op("o"), &key("a/o")).await.unwrap());
    second.discard(&op("o")).await.unwrap();
    assert!(disk.objects().is_empty());
}

#[tokio::test]
async fn an_unsynced_discard_may_come_back_and_finishing_twice_is_harmless() {
    let disk = MemoryDisk::new(MemoryOptions::with_staging());
    let store = MemoryStore::open(&disk, "m", node("n1"));
    stage(&store, "o").await;
    store.publish(&[pair("o")]).await.remove(0).unwrap();
    store.discard(&op("o")).await.unwrap();
    assert_eq!(disk.staged(), 0);
    let store = cut(&disk, false, "n2");
    assert_eq!(store.leftovers().await.unwrap().len(), 1);
    store.finish(&pair("o")).await.unwrap();
    store.finish(&pair("o")).await.unwrap();
    assert_eq!(store.get_bytes(&key("a/o"), 9).await.unwrap(), "content");
}

#[tokio::test]
async fn a_failed_sync_of_a_folder_answers_its_kind_and_leaves_the_pair_to_chance() {
    let disk = disk_at(MemoryOptions::with_staging(), "publish.sync", Some(ErrorKind::Indeterminate));
    let store = MemoryStore::open(&disk, "m", node("n1"));
    stage(&store, "o").await;
    let error = store.publish(&[pair("o")]).await.remove(0).unwrap_err();
    assert_eq!(error.kind(), &ErrorKind::Indeterminate);
    assert_eq!(disk.objects().len(), 2);
    disk.power_cut(&mut || false);
    assert!(disk.objects().is_empty());
}

#[tokio::test]
async fn the_dead_change_nothing_more() {
    let disk = MemoryDisk::new(MemoryOptions::with_staging());
    let store = MemoryStore::open(&disk, "m", node("n1"));
    disk.kill(&node("n1"));
    let error = store.put(&key("a"), "x".into(), PutOptions::create()).await.unwrap_err();
    assert_eq!(error.kind(), &ErrorKind::Indeterminate);
    assert!(disk.objects().is_empty());
}

#[tokio::test]
async fn a_request_that_was_sent_takes_effect_late_by_its_conditions() {
    let disk = disk_at(MemoryOptions::without_staging(), "put.visible", None);
    disk.requests_may_be_late(true);
    let store = MemoryStore::open(&disk, "m", node("n1"));
    for bytes in ["first", "second"] {
        assert!(store.put(&key("a"), bytes.into(), PutOptions::create()).now_or_never().is_none());
    }
    disk.kill(&node("n1"));
    assert_eq!((disk.objects().len(), disk.late_requests()), (0, 2));
    assert_eq!(disk.deliver_late(&mut |_| true), 2);
    assert_eq!(disk.objects(), [(key("a"), "first".into())]);
}

#[tokio::test]
async fn a_call_names_its_steps_in_order() {
    struct Log(Mutex<Vec<&'static str>>);
    impl Steps for Log {
        fn step<'a>(&'a self, _: &'a NodeId, name: &'static str, _: &'a str) -> BoxFuture<'a, Result<(), ErrorKind>> {
            self.0.lock().unwrap().push(name);
            std::future::ready(Ok(())).boxed()
        }
    }
    let log = Arc::new(Log(Mutex::default()));
    let options = MemoryOptions { steps: Some(log.clone()), ..MemoryOptions::with_staging() };
    let store = MemoryStore::open(&MemoryDisk::new(options), "m", node("n1"));
    stage(&store, "o").await;
    store.publish(&[pair("o")]).await.remove(0).unwrap();
    store.delete(&key("a/o")).await.unwrap();
    let staged = ["stage.begun", "stage.written", "stage.durable", "stage.answered"];
    let published = ["publish.bytes", "publish.attributes", "publish.sync", "publish.answered"];
    let deleted = ["delete.sent", "delete.gone", "delete.durable", "delete.answered"];
    assert_eq!(*log.0.lock().unwrap(), [staged, staged, published, deleted].concat());
}

#[tokio::test]
async fn a_body_that_breaks_off_stages_nothing() {
    let store = MemoryStore::with_staging("m");
    let broken = futures_util::stream::iter([Ok("abc".into()), Err("broken".into())]);
    let error = store.stage(&op("o"), Part::Bytes, Body::once(Box::pin(broken), None)).await.unwrap_err();
    assert_eq!(error.kind(), &ErrorKind::Body);
    assert_eq!(store.disk().staged(), 0);
}

/// Stops the first call for ever that comes to a step.
struct FirstAt(&'static str, AtomicBool);

impl Steps for FirstAt {
    fn step<'a>(&'a self, _: &'a NodeId, name: &'static str, _: &'a str) -> BoxFuture<'a, Result<(), ErrorKind>> {
        match name == self.0 && !self.1.swap(true, Ordering::SeqCst) {
            true => std::future::pending().boxed(),
            false => std::future::ready(Ok(())).boxed(),
        }
    }
}

#[tokio::test]
async fn what_a_dead_node_had_withdrawn_without_a_sync_stays_withdrawn_once_another_has() {
    let steps = Arc::new(FirstAt("withdraw.durable", AtomicBool::new(false)));
    let disk = MemoryDisk::new(MemoryOptions { steps: Some(steps), ..MemoryOptions::with_staging() });
    let store = MemoryStore::open(&disk, "m", node("n1"));
    stage(&store, "o").await;
    store.publish(&[pair("o")]).await.remove(0).unwrap();
    assert!(store.withdraw(&op("o"), &key("a/o")).now_or_never().is_none());
    disk.kill(&node("n1"));
    let second = MemoryStore::open(&disk, "m", node("n2"));
    second.leftovers().await.unwrap();
    assert!(!second.withdraw(&op("o"), &key("a/o")).await.unwrap(), "it was gone already");
    assert!(!cut(&disk, false, "n3").exists(&key("a/o")).await.unwrap());
}

#[tokio::test]
async fn a_dead_node_lives_for_others_while_what_it_left_is_in_living_hands() {
    let disk = MemoryDisk::new(MemoryOptions::with_staging());
    let [dead, heir, other] = ["dead", "heir", "other"].map(|name| MemoryStore::open(&disk, "m", node(name)));
    stage(&dead, "one").await;
    disk.kill(&node("dead"));
    assert!(!other.is_alive(&node("dead")).await.unwrap(), "nobody has taken it over");
    heir.leftovers().await.unwrap();
    assert!(other.is_alive(&node("dead")).await.unwrap(), "the heir has it in hand");
    assert!(!heir.is_alive(&node("dead")).await.unwrap());
    disk.kill(&node("heir"));
    assert!(!other.is_alive(&node("dead")).await.unwrap(), "the heir is dead too");
    other.leftovers().await.unwrap();
    let third = MemoryStore::open(&disk, "m", node("third"));
    assert!(third.is_alive(&node("dead")).await.unwrap());
    other.discard(&op("one")).await.unwrap();
    assert!(!third.is_alive(&node("dead")).await.unwrap(), "all of it is settled");
}
