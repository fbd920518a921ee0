//! Users, their roles and their end: the last admin stays whoever goes at once, what a user owned is nobody's by accident, and a crash
//! in between is gone on from.
#![allow(clippy::unwrap_used, clippy::disallowed_methods, reason = "a test has a runtime of its own, and may unwrap")]

mod support;

use futures_util::{FutureExt, future::BoxFuture};
use larder_files::{
    Caller, Error, Files, FilesOf, FindingKind, FsckOptions, IdempotencyKey, Ledger, ListFiles, Role, SessionTerms,
    Sha256, User, UserName,
    ledger::{Entry, LedgerError, Record, Refreshed},
};
use larder_storage_core::{ErrorKind, MemoryOptions, NodeId, Steps};
use std::{
    sync::{
        Arc, Mutex,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};
use support::*;
use tokio::sync::Semaphore;

async fn add(files: &Files, name: &str, role: Role) -> User {
    files.add_user(UserName::new(name).unwrap(), role, Some("hash".into())).await.unwrap()
}

async fn admins(files: &Files) -> usize {
    let users = files.users().await.unwrap();
    users.iter().filter(|user| user.role == Role::Admin && user.gone_at.is_none()).count()
}

fn to(name: &str) -> FilesOf {
    FilesOf::GiveTo(UserName::new(name).unwrap())
}

fn caller(user: &User) -> Caller {
    Caller { id: user.id, name: user.name.clone(), role: user.role }
}

fn is_conflict<T: std::fmt::Debug>(result: Result<T, Error>, says: &str) {
    assert!(matches!(&result, Err(Error::Conflict(why)) if why.contains(says)), "{result:?}");
}

/// Names and owners of all files, in the trash or not.
async fn owners(files: &Files) -> Vec<(String, String)> {
    let mut found = vec![];
    for deleted in [false, true] {
        let all = ListFiles { deleted, limit: 1000, ..ListFiles::default() };
        let items = files.list(&local(), all).await.unwrap().items;
        found.extend(items.into_iter().map(|file| (file.attributes.name, file.attributes.owner)));
    }
    found.sort();
    found
}

fn owned_by<const N: usize>(rows: [(&str, &str); N]) -> Vec<(String, String)> {
    rows.into_iter().map(|(name, owner)| (name.into(), owner.into())).collect()
}

#[tokio::test]
async fn a_role_changes_and_the_last_admin_neither_loses_it_nor_goes() {
    let larder = Larder::new();
    let files = larder.start().await.0;
    let (anna, boris) = (add(&files, "anna", Role::Admin).await, add(&files, "boris", Role::User).await);
    is_conflict(files.set_role(anna.id, Role::User).await, "last admin");
    is_conflict(files.delete_user(anna.id, FilesOf::Purge).await, "last admin");
    assert_eq!(files.set_role(boris.id, Role::Admin).await.unwrap().role, Role::Admin);
    let anna = files.update_user(anna.id, Some(Role::User), Some("new".into())).await.unwrap();
    assert_eq!((anna.role, anna.password_hash.as_deref()), (Role::User, Some("new")));
    assert_eq!(files.set_role(anna.id, Role::User).await.unwrap(), anna, "nothing to change");
    is_conflict(files.delete_user(boris.id, FilesOf::Refuse).await, "last admin");
    files.delete_user(anna.id, FilesOf::Refuse).await.unwrap();
    for answer in [files.set_role(anna.id, Role::Admin).await, files.set_password(anna.id, "x".into()).await] {
        assert!(matches!(answer, Err(Error::NotFound("user"))), "{answer:?}");
    }
    is_conflict(files.add_user(anna.name, Role::User, None).await, "taken");
}

#[tokio::test]
async fn of_two_admins_who_delete_or_demote_each_other_at_once_one_stays() {
    let larder = Larder::over(staging_with(Arc::new(Slow::default())));
    let (here, there) = (larder.start().await.0, larder.start().await.0);
    let mut anna = add(&here, "anna", Role::Admin).await;
    for round in 0..24 {
        let boris = add(&there, &format!("boris-{round}"), Role::Admin).await;
        let other = if round % 2 == 0 { &here } else { &there };
        let (first, second) = tokio::join!(
            async {
                if round % 3 == 0 {
                    other.set_role(anna.id, Role::User).await.map(drop)
                } else {
                    other.delete_user(anna.id, FilesOf::Refuse).await.map(drop)
                }
            },
            async {
                if round % 4 == 0 {
                    here.set_role(boris.id, Role::User).await.map(drop)
                } else {
                    here.delete_user(boris.id, FilesOf::Refuse).await.map(drop)
                }
            },
        );
        assert!(first.is_ok() != second.is_ok(), "round {round}: {first:?}, {second:?}");
        assert_eq!(admins(&here).await, 1, "round {round}");
        anna = if first.is_ok() { boris } else { anna };
    }
    assert!(larder.ledger.nodes().await.unwrap().is_empty(), "the turn was given back");
}

#[tokio::test]
async fn a_password_that_was_never_answered_outranks_none_that_was() {
    for round in 0..20 {
        let [at_a, at_b] = [Arc::<Faults>::default(), Arc::<Faults>::default()];
        let mut larder = Larder::over_all([("a", staging_with(at_a.clone())), ("b", staging_with(at_b.clone()))]);
        let files = larder.start().await.0;
        let (anna, lost, answered) = (add(&files, "anna", Role::Admin).await, format!("lost {round}"), "answered");
        at_a.plan("put.answered", ".larder/accounts/", ErrorKind::Indeterminate);
        at_a.plan("get", "", ErrorKind::Unavailable);
        at_b.plan("put.written", ".larder/accounts/", ErrorKind::Unavailable);
        assert!(files.set_password(anna.id, lost).await.is_err());
        at_a.plan("put.written", "", ErrorKind::Unavailable);
        at_b.heal();
        files.set_password(anna.id, answered.into()).await.unwrap();
        at_a.heal();
        until("all is settled", async || files.health() == larder_files::Health::Ready).await;
        let now = files.user(anna.id).await.unwrap().unwrap();
        assert_eq!(now.password_hash.as_deref(), Some(answered), "round {round}");
        drop(files);
        larder.rebuild().await;
        let files = larder.start().await.0;
        let now = files.user(anna.id).await.unwrap().unwrap();
        assert_eq!(now.password_hash.as_deref(), Some(answered), "round {round}, after a rebuild");
    }
}

#[tokio::test]
async fn of_changes_of_one_user_at_once_each_is_made_of_the_one_before() {
    for deletes in [false, true] {
        let (larder, gate) = (Larder::new(), Gate::at("raise_mark"));
        let (here, there) = (larder.start().await.0, larder.start_with(gate.clone()).await);
        add(&here, "anna", Role::Admin).await;
        let boris = add(&there, "boris", Role::Admin).await;
        others_go_on().await;
        gate.close();
        let password = tokio::spawn(async move { there.set_password(boris.id, "new".into()).await });
        gate.reached().await;
        let files = here.clone();
        let other = tokio::spawn(async move {
            match deletes {
                true => files.delete_user(boris.id, FilesOf::Refuse).await.map(drop),
                false => files.set_role(boris.id, Role::User).await.map(drop),
            }
        });
        others_go_on().await;
        gate.open();
        password.await.unwrap().unwrap();
        other.await.unwrap().unwrap();
        let now = here.user(boris.id).await.unwrap().unwrap();
        match deletes {
            true => assert!(now.gone_at.is_some()),
            false => assert_eq!((now.role, now.password_hash.as_deref()), (Role::User, Some("new"))),
        }
    }
}

#[tokio::test]
async fn fsck_tells_of_two_records_of_one_user_under_one_version() {
    let larder = Larder::new();
    let files = larder.start().await.0;
    let anna = add(&files, "anna", Role::User).await;
    let mut others = (0..).map(|n| User { password_hash: Some(format!("other {n}")), ..anna.clone() });
    let other = others.find(|other| other.rank() > anna.rank()).unwrap();
    let record = Record { entry: Some(Entry::User(Box::new(other))), ..Record::default() };
    larder.ledger.another().record(vec![record]).await.remove(0).unwrap();
    let (_, findings) = fsck(&files, FsckOptions::default()).await;
    let kinds: Vec<_> = findings.iter().map(|finding| finding.kind).collect();
    assert_eq!(kinds, [FindingKind::AttributesConflict], "{findings:?}");
}

#[tokio::test]
async fn a_demotion_that_is_not_certain_keeps_others_from_counting_until_it_is() {
    let faults = Arc::<Faults>::default();
    let larder = Larder::over(staging_with(faults.clone()));
    let (here, there) = (larder.start().await.0, larder.start().await.0);
    let (anna, boris) = (add(&here, "anna", Role::Admin).await, add(&here, "boris", Role::Admin).await);
    faults.plan("put.answered", ".larder/accounts/", ErrorKind::Indeterminate);
    faults.plan("get", ".larder/accounts/", ErrorKind::Unavailable);
    let unknown = here.set_role(anna.id, Role::User).await;
    assert!(matches!(unknown, Err(Error::Indeterminate(_))), "{unknown:?}");
    assert_eq!(admins(&there).await, 2, "it is not known yet");
    let refused = there.set_role(boris.id, Role::User).await;
    assert!(matches!(refused, Err(Error::Busy)), "{refused:?}");
    faults.heal();
    until("it is settled", async || admins(&there).await == 1).await;
    until("the turn is free", async || larder.ledger.nodes().await.unwrap().is_empty()).await;
    is_conflict(there.set_role(boris.id, Role::User).await, "last admin");
}

#[tokio::test]
async fn a_demotion_of_which_only_a_dead_node_knew_counts_once_it_is_durable() {
    let larder = Larder::new();
    let (gate, there) = (Gate::at("record"), larder.start().await.0);
    let here = larder.start_with(gate.clone()).await;
    let node = larder.last_node();
    let (anna, boris) = (add(&here, "anna", Role::Admin).await, add(&here, "boris", Role::Admin).await);
    gate.close();
    let never = tokio::spawn(async move { here.set_role(anna.id, Role::User).await });
    gate.reached().await;
    larder.disk.kill(&node);
    is_conflict(there.set_role(boris.id, Role::User).await, "last admin");
    assert_eq!(admins(&there).await, 1);
    never.abort();
}

#[tokio::test]
async fn who_owns_files_stays_until_it_is_said_what_becomes_of_them() {
    let larder = Larder::new();
    let files = larder.start().await.0;
    let anna = add(&files, "anna", Role::User).await;
    let id = put_as(&files, &caller(&anna), "a", "x").await.attributes.id;
    files.remove(&local(), id, None).await.unwrap();
    let before = dump(&files).await;
    is_conflict(files.delete_user(anna.id, FilesOf::Refuse).await, "1 file,");
    for name in ["anna", "nobody", "local"] {
        let answer = files.delete_user(anna.id, to(name)).await;
        assert!(matches!(answer, Err(Error::Invalid { field: "files_to", .. })), "{answer:?}");
    }
    assert_eq!(dump(&files).await, before);
    files.restore(&local(), id, None).await.unwrap();
    put_as(&files, &caller(&anna), "b", "x").await;
    is_conflict(files.delete_user(anna.id, FilesOf::Refuse).await, "2 files");
}

/// A user with two files and one in the trash, another with one, and a node.
async fn peopled(larder: &Larder) -> (Files, User) {
    let files = larder.start().await.0;
    let (anna, boris) = (add(&files, "anna", Role::User).await, add(&files, "boris", Role::User).await);
    for name in ["a", "b", "trashed"] {
        put_as(&files, &caller(&anna), name, name).await;
    }
    put_as(&files, &caller(&boris), "his", "his").await;
    let trashed = ListFiles { name: Some("trashed".into()), limit: 1, ..ListFiles::default() };
    let id = files.list(&local(), trashed).await.unwrap().items[0].attributes.id;
    files.remove(&local(), id, None).await.unwrap();
    (files, anna)
}

#[tokio::test]
async fn purged_files_of_a_deleted_user_are_gone_and_nobody_elses_are() {
    let larder = Larder::new();
    let (files, anna) = peopled(&larder).await;
    assert_eq!(files.delete_user(anna.id, FilesOf::Purge).await.unwrap(), 3);
    assert_eq!(owners(&files).await, owned_by([("his", "boris")]));
    assert_eq!(larder.count_below(".larder/tombstones/"), 3);
    let gone = files.user(anna.id).await.unwrap().unwrap();
    assert!(gone.gone_at.is_some() && gone.password_hash.is_none());
    let again = files.delete_user(anna.id, FilesOf::Purge).await;
    assert!(matches!(again, Err(Error::NotFound("user"))), "{again:?}");
}

#[tokio::test]
async fn given_files_are_the_heirs_and_their_bytes_stay_where_they_are() {
    let mut larder = Larder::new();
    let (files, anna) = peopled(&larder).await;
    let keys = larder.keys();
    assert_eq!(files.delete_user(anna.id, to("boris")).await.unwrap(), 3);
    assert_eq!(larder.keys(), keys);
    let all = owned_by([("a", "boris"), ("b", "boris"), ("his", "boris"), ("trashed", "boris")]);
    assert_eq!(owners(&files).await, all);
    let boris = caller(&files.user_named("boris").await.unwrap().unwrap());
    let mine = files.list(&boris, ListFiles { limit: 10, ..ListFiles::default() }).await.unwrap().items;
    assert_eq!(mine.len(), 3, "the fourth lies in the trash");
    for file in mine {
        assert_eq!(content_as(&files, &boris, file.attributes.id).await.unwrap(), file.attributes.name.as_bytes());
    }
    let before = dump(&files).await;
    drop(files);
    larder.rebuild().await;
    assert_eq!(dump(&larder.start().await.0).await, before);
}

#[tokio::test]
async fn content_that_arrives_when_its_owner_has_gone_makes_no_file() {
    let larder = Larder::new();
    let files = larder.start().await.0;
    let anna = add(&files, "anna", Role::User).await;
    let received = files.receive(&caller(&anna), into_documents(), "x".into()).await.unwrap();
    files.delete_user(anna.id, FilesOf::Refuse).await.unwrap();
    larder.world.pass(std::time::Duration::from_secs(1));
    let refused = files.create(&caller(&anna), received, named("late")).await;
    assert!(matches!(refused, Err(Error::Forbidden(_))), "{refused:?}");
    let by_admin = larder_files::Receive { owner: Some(anna.name), ..into_documents() };
    assert!(matches!(files.receive(&local(), by_admin, "x".into()).await, Err(Error::Invalid { .. })));
    assert!(owners(&files).await.is_empty());
}

/// Ends one node at its n-th step, on disk or ledger: that one and all later ones never return.
#[derive(Debug)]
struct Death {
    node: Mutex<Option<NodeId>>,
    left: AtomicU64,
    died: Semaphore,
}

impl Death {
    fn step_of(&self, is_it: bool) -> BoxFuture<'static, ()> {
        let left = if is_it { self.left.fetch_sub(1, Ordering::SeqCst) } else { u64::MAX };
        if left == 1 {
            self.died.add_permits(1);
        }
        let dead = left <= 1 || left > u64::MAX / 2 && is_it;
        if dead { std::future::pending().boxed() } else { std::future::ready(()).boxed() }
    }
}

impl Steps for Death {
    fn step<'a>(&'a self, node: &'a NodeId, _: &'static str, _: &'a str) -> BoxFuture<'a, Result<(), ErrorKind>> {
        let is_it = self.node.lock().unwrap().as_ref() == Some(node);
        self.step_of(is_it).map(Ok).boxed()
    }
}

impl larder_files::ledger::Steps for Death {
    fn step(&self, _: &'static str) -> BoxFuture<'_, Result<(), LedgerError>> {
        let is_it = self.node.lock().unwrap().is_some();
        self.step_of(is_it).map(Ok).boxed()
    }
}

/// Deletes anna on a node that dies at its n-th step, then again on another. Whether it died at all.
async fn delete_and_die(at: u64, of: &FilesOf) -> bool {
    let death = Arc::new(Death { node: Mutex::default(), left: AtomicU64::new(at), died: Semaphore::new(0) });
    let mut larder = Larder::over(MemoryOptions { steps: Some(death.clone()), ..MemoryOptions::with_staging() });
    let (_, anna) = peopled(&larder).await;
    let files = larder.start_with(death.clone()).await;
    let node = larder.last_node();
    *death.node.lock().unwrap() = Some(node.clone());
    let first = tokio::spawn({
        let (files, of) = (files.clone(), of.clone());
        async move { files.delete_user(anna.id, of).await }
    });
    let died = tokio::select! {
        biased;
        _ = death.died.acquire() => true,
        answer = first => { answer.unwrap().unwrap(); false }
    };
    larder.disk.kill(&node);
    *death.node.lock().unwrap() = None;

    let second = larder.start().await.0;
    let before = files_of(&second, &anna).await;
    match second.delete_user(anna.id, of.clone()).await {
        // What the dead one had claimed, the start may have carried out meanwhile.
        Ok(parted) => assert!(parted <= before as u64, "step {at}: {parted} of {before}"),
        Err(error) => assert!(matches!(error, Error::NotFound("user")) && before == 0, "step {at}: {error:?}"),
    }
    assert_eq!(files_of(&second, &anna).await, 0, "step {at}");
    assert_eq!(owners(&second).await.len(), if *of == FilesOf::Purge { 1 } else { 4 }, "step {at}");
    let (_, findings) = fsck(&second, FsckOptions { verify: true, repair: false }).await;
    assert!(findings.is_empty(), "step {at}: {findings:?}");
    let before = dump(&second).await;
    drop((files, second));
    larder.rebuild().await;
    assert_eq!(dump(&larder.start().await.0).await, before, "step {at}");
    died
}

async fn files_of(files: &Files, user: &User) -> usize {
    files.count_owned(user.id, 1000).await.unwrap()
}

#[tokio::test]
async fn a_deletion_that_broke_off_at_any_step_is_gone_on_from() {
    for of in [FilesOf::Purge, to("boris")] {
        let mut at = 1;
        while delete_and_die(at, &of).await {
            at += 1;
        }
        assert!(at > 30, "{at} steps are too few to have died at each");
    }
}

const TERMS: SessionTerms = SessionTerms { idle: Duration::from_hours(1), whole: Duration::from_hours(2), most: 8 };

#[tokio::test]
async fn no_session_and_no_set_up_link_outlives_a_rebuild() {
    let mut larder = Larder::new();
    let files = larder.start().await.0;
    let anna = add(&files, "anna", Role::User).await;
    let session = files.open_session(&anna, &TERMS).await.unwrap();
    let link = setup_token(&files).await;
    let keys = |files: &Files| ["access", "refresh", "setup"].map(|purpose| files.signing_key(purpose));
    let before = keys(&files);
    assert_eq!(files.user_of_session(session.id).await.unwrap(), Some(anna));
    assert!(files.is_setup_token(&link).await.unwrap());
    drop(files);
    larder.rebuild().await;
    let files = larder.start().await.0;
    assert_eq!(files.user_of_session(session.id).await.unwrap(), None);
    assert_eq!(files.refresh_session(session.id, 1, &TERMS).await.unwrap(), Refreshed::Absent);
    assert!(!files.is_setup_token(&link).await.unwrap());
    assert!(before.iter().zip(keys(&files)).all(|(before, after)| *before != after), "what was signed counts no more");
}

#[tokio::test]
async fn a_session_is_not_opened_by_a_password_that_was_changed_meanwhile() {
    let larder = Larder::new();
    let (here, there) = (larder.start().await.0, larder.start().await.0);
    let found = add(&here, "anna", Role::User).await;
    there.set_password(found.id, "new".into()).await.unwrap();
    let refused = here.open_session(&found, &TERMS).await;
    assert!(matches!(refused, Err(Error::NotFound("user"))), "{refused:?}");
}

fn name(text: &str) -> UserName {
    UserName::new(text).unwrap()
}

/// Sets up on a node that dies at its n-th step, then again on another. Whether it died at all.
async fn set_up_and_die(at: u64) -> bool {
    let death = Arc::new(Death { node: Mutex::default(), left: AtomicU64::new(at), died: Semaphore::new(0) });
    let larder = Larder::over(MemoryOptions { steps: Some(death.clone()), ..MemoryOptions::with_staging() });
    let other = larder.start().await.0;
    let link = setup_token(&other).await;
    let files = larder.start_with(death.clone()).await;
    let node = larder.last_node();
    *death.node.lock().unwrap() = Some(node.clone());
    let first = tokio::spawn({
        let (files, link) = (files.clone(), link.clone());
        async move { files.set_up(&link, name("anna"), "hash".into()).await }
    });
    let died = tokio::select! {
        biased;
        _ = death.died.acquire() => true,
        answer = first => { answer.unwrap().unwrap(); false }
    };
    larder.disk.kill(&node);
    *death.node.lock().unwrap() = None;
    match other.set_up(&link, name("boris"), "hash".into()).await {
        Ok(admin) => assert_eq!(admin.name.as_str(), "boris", "step {at}"),
        Err(error) => assert!(matches!(error, Error::Gone), "step {at}: {error:?}"),
    }
    assert_eq!(admins(&other).await, 1, "step {at}");
    assert!(matches!(other.set_up(&link, name("clara"), "hash".into()).await, Err(Error::Gone)), "step {at}");
    drop(other);
    assert_eq!(admins(&larder.start().await.0).await, 1, "step {at}");
    died
}

#[tokio::test]
async fn a_set_up_that_broke_off_at_any_step_has_made_its_admin_or_can_be_done_again() {
    let mut at = 1;
    while set_up_and_die(at).await {
        at += 1;
    }
    assert!(at > 10, "{at} steps are too few to have died at each");
}

async fn once(files: &Files, user: &str) -> Result<(User, Option<u16>), Error> {
    let key = IdempotencyKey { key: "key".into(), request: Sha256::of(user.as_bytes()) };
    files.add_user_once(&local(), key, name(user), Role::User, Some("hash".into())).await
}

#[tokio::test]
async fn a_repeat_knows_the_user_that_was_added_after_changes_and_a_rebuild() {
    let mut larder = Larder::new();
    let files = larder.start().await.0;
    let (anna, first) = once(&files, "anna").await.unwrap();
    assert_eq!(first, None);
    let anna = files.set_password(anna.id, "new".into()).await.unwrap();
    assert_eq!(once(&files, "anna").await.unwrap(), (anna.clone(), Some(201)));
    assert!(matches!(once(&files, "boris").await, Err(Error::KeyReused)));
    let before = dump(&files).await;
    assert!(!before.iter().any(|line| line.contains("created_by_key")));
    drop(files);
    larder.rebuild().await;
    let files = larder.start().await.0;
    assert_eq!(once(&files, "anna").await.unwrap(), (anna.clone(), Some(201)));
    files.delete_user(anna.id, FilesOf::Refuse).await.unwrap();
    assert!(matches!(once(&files, "anna").await, Err(Error::Gone)));
    larder.world.pass(Duration::from_hours(25));
    is_conflict(once(&files, "anna").await, "taken");
}

#[tokio::test]
async fn a_repeat_is_told_of_the_user_whom_a_dead_node_made_durable() {
    let larder = Larder::new();
    let (gate, there) = (Gate::at("record"), larder.start().await.0);
    let here = larder.start_with(gate.clone()).await;
    let node = larder.last_node();
    gate.close();
    let never = tokio::spawn(async move { once(&here, "anna").await });
    gate.reached().await;
    assert!(matches!(once(&there, "anna").await, Err(Error::Running)));
    larder.disk.kill(&node);
    // As a look around gives it up.
    larder.ledger.unreserve_all(&node).await.unwrap();
    let (anna, repeated) = once(&there, "anna").await.unwrap();
    assert_eq!((anna.name.as_str(), repeated), ("anna", Some(201)));
    assert_eq!(there.users().await.unwrap(), [anna]);
    never.abort();
}

#[tokio::test]
async fn an_addition_that_is_not_certain_keeps_its_key_until_it_is() {
    let faults = Arc::<Faults>::default();
    let larder = Larder::over(staging_with(faults.clone()));
    let files = larder.start().await.0;
    faults.plan("put.answered", ".larder/accounts/", ErrorKind::Indeterminate);
    faults.plan("get", ".larder/accounts/", ErrorKind::Unavailable);
    let unknown = once(&files, "anna").await;
    assert!(matches!(unknown, Err(Error::Indeterminate(_))), "{unknown:?}");
    assert!(matches!(once(&files, "anna").await, Err(Error::Running)));
    faults.heal();
    let mut made = Err(Error::Running);
    until("it is settled", async || {
        made = once(&files, "anna").await;
        !matches!(made, Err(Error::Running))
    })
    .await;
    assert_eq!(made.unwrap().1, Some(201), "it was the first that added her");
    assert_eq!(files.users().await.unwrap().len(), 1);
}

/// A user who is deleted with all files while somebody waits for what is held up at `gate`; what that one is then told.
async fn deleted_meanwhile<T: Send + 'static>(
    larder: &Larder,
    gate: &Gate,
    anna: &User,
    waiting: impl Future<Output = T> + Send + 'static,
) -> T {
    let there = larder.start().await.0;
    let waiting = tokio::spawn(waiting);
    for _ in 0..100 {
        tokio::task::yield_now().await;
    }
    there.delete_user(anna.id, FilesOf::Purge).await.unwrap();
    gate.open();
    waiting.await.unwrap()
}

#[tokio::test]
async fn who_is_deleted_while_a_name_is_waited_for_gets_no_file() {
    let (larder, gate) = (Larder::new(), Gate::at("files"));
    let files = larder.start_with(gate.clone()).await;
    let anna = add(&files, "anna", Role::User).await;
    let create = |if_match| {
        let (files, owner) = (files.clone(), caller(&anna));
        async move {
            let received = files.receive(&owner, into_documents(), "x".into()).await?;
            let on_conflict = larder_files::OnConflict::Replace;
            files.create(&owner, received, larder_files::NewFile { on_conflict, if_match, ..named("a") }).await
        }
    };
    gate.close();
    let holds = tokio::spawn(create(Some(vec![])));
    gate.reached().await;
    let refused = deleted_meanwhile(&larder, &gate, &anna, create(None)).await;
    assert!(holds.await.unwrap().is_err());
    assert!(matches!(refused, Err(Error::Forbidden(_))), "{refused:?}");
    assert_eq!(larder.keys().len(), 0);
}

#[tokio::test]
async fn who_is_deleted_while_a_file_is_waited_for_is_not_given_it() {
    let (larder, gate) = (Larder::new(), Gate::at("record"));
    let files = larder.start_with(gate.clone()).await;
    let anna = add(&files, "anna", Role::User).await;
    let id = put(&files, "a").await.attributes.id;
    let patch = |patch| {
        let files = files.clone();
        async move { files.update(&local(), id, patch, None).await }
    };
    gate.close();
    let holds = tokio::spawn(patch(larder_files::Patch { name: Some("b".into()), ..Default::default() }));
    gate.reached().await;
    let to_anna = larder_files::Patch { owner: Some(anna.name.clone()), ..Default::default() };
    let refused = deleted_meanwhile(&larder, &gate, &anna, patch(to_anna)).await;
    holds.await.unwrap().unwrap();
    assert!(matches!(refused, Err(Error::Invalid { field: "owner", .. })), "{refused:?}");
    assert_eq!(owners(&files).await, owned_by([("b", "local")]));
}
