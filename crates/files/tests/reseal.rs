//! Lost secrets lock nobody out of their files: users and buckets are sealed anew, from the older ledger or from attributes.
#![allow(clippy::unwrap_used)]

mod support;

use futures_util::{FutureExt, future::BoxFuture};
use larder_files::{
    Caller, Entropy, Files, Finding, FsckOptions, Ledger, Parts, RebuildOptions, Rebuilt, Role, Secrets, Settings,
    StartError, User, UserName, ledger::MemoryLedger,
};
use larder_storage_core::{ErrorKind, MemoryOptions, NodeId, Steps};
use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering},
};
use support::*;

const LOOK: FsckOptions = FsckOptions { verify: true, repair: false };

/// An installation of two users with a file each, one of whom was given a password.
async fn furnished() -> (Larder, Files, [Caller; 2]) {
    furnish(Larder::new()).await
}

async fn furnish(larder: Larder) -> (Larder, Files, [Caller; 2]) {
    let (files, _) = larder.start().await;
    let anna = files.add_user(name("anna"), Role::Admin, Some("$argon2id$anna".into())).await.unwrap();
    let bob = user(&files, "bob").await;
    let anna = Caller { id: anna.id, name: anna.name, role: anna.role };
    for caller in [&anna, &bob, &local()] {
        put_as(&files, caller, &format!("of {}", caller.name), caller.name.to_string()).await;
    }
    (larder, files, [anna, bob])
}

fn name(name: &str) -> UserName {
    UserName::new(name).unwrap()
}

fn other_secrets(parts: Parts) -> Parts {
    Parts { secrets: Secrets::new([8; 32]), ..parts }
}

async fn start(larder: &Larder) -> Result<Files, StartError> {
    let parts = other_secrets(larder.parts(larder.ledger.another()));
    Files::start(parts, Settings::default()).await.map(|(files, _)| files)
}

async fn reseal(larder: &mut Larder, older: Option<MemoryLedger>) -> Result<(Rebuilt, Vec<Finding>), StartError> {
    let fresh = MemoryLedger::new();
    let parts = other_secrets(larder.parts(fresh.clone()));
    let older = older.map(|older| Arc::new(older) as Arc<dyn Ledger>);
    let mut findings = vec![];
    let report = &mut |finding| findings.push(finding);
    let options = RebuildOptions { without_secrets: true, ..RebuildOptions::default() };
    let rebuilt = larder_files::rebuild(parts, Settings::default(), older, options, report).await?;
    larder.ledger = fresh;
    Ok((rebuilt, findings))
}

async fn rebuild(larder: &mut Larder) -> (Rebuilt, Vec<Finding>) {
    let fresh = MemoryLedger::new();
    let parts = other_secrets(larder.parts(fresh.clone()));
    let mut findings = vec![];
    let report = &mut |finding| findings.push(finding);
    let rebuilt =
        larder_files::rebuild(parts, Settings::default(), None, RebuildOptions::default(), report).await.unwrap();
    larder.ledger = fresh;
    (rebuilt, findings)
}

/// What of a user must be the same again.
fn told(users: Vec<User>) -> Vec<(UserName, Role, Option<String>)> {
    users.into_iter().map(|user| (user.name, user.role, user.password_hash)).collect()
}

#[tokio::test]
async fn with_the_older_ledger_everybody_is_back_with_their_password() {
    let (mut larder, files, _) = furnished().await;
    let (users, before) = (files.users().await.unwrap(), dump(&files).await);
    drop(files);
    let refused = start(&larder).await.map(drop).unwrap_err();
    assert!(refused.to_string().contains("larder rebuild --without-secrets"), "{refused}");
    let older = larder.ledger.another();
    let (rebuilt, findings) = reseal(&mut larder, Some(older)).await.unwrap();
    assert_eq!((rebuilt.users, rebuilt.buckets, rebuilt.files, rebuilt.locked), (2, 3, 3, 1));
    assert_eq!(findings, []);
    let files = start(&larder).await.unwrap();
    assert_eq!(told(files.users().await.unwrap()), told(users));
    assert_eq!(fsck(&files, LOOK).await.1, [], "what nobody opens any more is out of the way");
    let now = dump(&files).await;
    let of_files = |lines: &[String]| -> Vec<String> {
        let rows =
            lines.iter().filter(|line| !line.contains(r#""kind":"user""#) && !line.contains(r#""kind":"bucket""#));
        rows.cloned().collect()
    };
    assert_eq!(of_files(&now), of_files(&before));
    drop(files);
    let (again, findings) = rebuild(&mut larder).await;
    assert_eq!((again.users, findings), (2, vec![]));
    assert_eq!(dump(&start(&larder).await.unwrap()).await, now, "from now on it is an installation like any");
    let old = Files::start(larder.parts(larder.ledger.another()), Settings::default()).await;
    assert!(matches!(old, Err(StartError::WrongSecrets)), "the old secrets open nothing any more");
}

#[tokio::test]
async fn without_a_ledger_owners_get_accounts_that_cannot_log_in_until_they_are_given_a_password() {
    let (mut larder, files, [anna, bob]) = furnished().await;
    let buckets: Vec<_> = larder.ledger.buckets().await.unwrap();
    drop(files);
    let (rebuilt, findings) = reseal(&mut larder, None).await.unwrap();
    assert_eq!((rebuilt.users, rebuilt.locked, findings), (2, 2, vec![]));
    let files = start(&larder).await.unwrap();
    for owner in [&anna, &bob] {
        let user = files.user(owner.id).await.unwrap().unwrap();
        assert_eq!((&user.name, user.role, user.password_hash), (&owner.name, Role::User, None));
        let mine = files.list(&Caller { role: Role::User, ..owner.clone() }, list_all()).await.unwrap().items;
        assert_eq!(mine[0].attributes.name, format!("of {}", owner.name));
    }
    let documents = buckets.iter().find(|bucket| bucket.name.as_str() == "documents").unwrap();
    let now = larder.ledger.buckets().await.unwrap();
    let same = now.iter().find(|bucket| bucket.name == documents.name).unwrap();
    assert_eq!((same.id, &same.policy), (documents.id, &documents.policy));
    files.set_password(bob.id, "$argon2id$new".into()).await.unwrap();
    assert_eq!(fsck(&files, LOOK).await.1, []);
    drop(files);
    rebuild(&mut larder).await;
    let files = start(&larder).await.unwrap();
    assert_eq!(files.user(bob.id).await.unwrap().unwrap().password_hash.as_deref(), Some("$argon2id$new"));
}

fn list_all() -> larder_files::ListFiles {
    larder_files::ListFiles { limit: 1000, ..larder_files::ListFiles::default() }
}

#[tokio::test]
async fn a_password_that_was_changed_since_an_older_ledger_does_not_come_back() {
    let (mut larder, files, [anna, _]) = furnished().await;
    let backup = MemoryLedger::new();
    backup.restore(&larder.ledger.snapshot());
    files.set_password(anna.id, "$argon2id$changed".into()).await.unwrap();
    drop(files);
    let (rebuilt, _) = reseal(&mut larder, Some(backup)).await.unwrap();
    assert_eq!(rebuilt.locked, 2);
    let files = start(&larder).await.unwrap();
    let anna = files.user(anna.id).await.unwrap().unwrap();
    assert_eq!((anna.role, anna.password_hash), (Role::Admin, None), "it may be the one that somebody else knows");
}

#[tokio::test]
async fn another_installations_ledger_says_nothing_of_this_one() {
    let (mut larder, files, _) = furnished().await;
    drop(files);
    let other = Larder::new();
    // Chance is the same in each test world: without this the two would be one installation.
    other.world.fill(&mut [0; 64]);
    let (other, stranger, _) = furnish(other).await;
    stranger.add_user(name("stranger"), Role::Admin, Some("$argon2id$stranger".into())).await.unwrap();
    drop(stranger);
    let (rebuilt, _) = reseal(&mut larder, Some(other.ledger.another())).await.unwrap();
    assert_eq!((rebuilt.users, rebuilt.locked), (2, 2));
}

#[tokio::test]
async fn a_store_that_takes_no_changes_is_asked_for_first() {
    let (mut larder, files, _) = furnished().await;
    drop(files);
    larder.stores[0].2 = larder_files::StoreMode::Rw;
    let before = larder.objects();
    let refused = reseal(&mut larder, None).await.unwrap_err();
    assert!(matches!(&refused, StartError::Configuration(why) if why.contains("`edit`")), "{refused}");
    assert_eq!(larder.objects(), before);
}

/// A disk whose writes fail from the `from`-th on.
#[derive(Debug)]
struct Failing {
    writes: AtomicU64,
    from: AtomicU64,
}

impl Steps for Failing {
    fn step<'a>(&'a self, _: &'a NodeId, step: &'static str, _: &'a str) -> BoxFuture<'a, Result<(), ErrorKind>> {
        let is_write = matches!(step, "put.written" | "put.visible" | "delete.gone" | "copy.written");
        let fails = is_write && self.writes.fetch_add(1, Ordering::SeqCst) >= self.from.load(Ordering::SeqCst);
        std::future::ready(if fails { Err(ErrorKind::Unavailable) } else { Ok(()) }).boxed()
    }
}

#[tokio::test]
async fn one_that_breaks_off_anywhere_leaves_a_refusal_or_everybody() {
    let mut broke_off = 0;
    for from in 0.. {
        let failing = Arc::new(Failing { writes: AtomicU64::new(0), from: AtomicU64::new(u64::MAX) });
        let options = MemoryOptions { steps: Some(failing.clone()), ..MemoryOptions::with_staging() };
        let (mut larder, files, _) = furnish(Larder::over(options)).await;
        let users = told(files.users().await.unwrap());
        drop(files);
        let older = larder.ledger.another();
        failing.from.store(failing.writes.load(Ordering::SeqCst) + from, Ordering::SeqCst);
        let ended = reseal(&mut larder, Some(older.another())).await.is_ok();
        let all_written = failing.writes.load(Ordering::SeqCst) <= failing.from.load(Ordering::SeqCst);
        failing.from.store(u64::MAX, Ordering::SeqCst);
        match start(&larder).await {
            // The older database, where it broke off after the last step that counts.
            Ok(files) => assert_eq!(told(files.users().await.unwrap()), users, "broken off at {from}"),
            Err(refused) => {
                assert!(!ended && matches!(refused, StartError::WrongSecrets), "broken off at {from}: {refused}");
                reseal(&mut larder, Some(older.another())).await.unwrap();
                let files = start(&larder).await.unwrap();
                assert_eq!(told(files.users().await.unwrap()), users, "broken off at {from}");
                assert_eq!(fsck(&files, LOOK).await.1, [], "broken off at {from}");
            }
        }
        broke_off += u64::from(!ended);
        if all_written {
            break;
        }
    }
    assert!(broke_off > 5, "it was broken off at {broke_off} places only");
}
