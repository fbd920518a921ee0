//! What is sent to a store under URLs of its own becomes a file when its upload is completed, and nothing before or after.
#![allow(clippy::unwrap_used, clippy::disallowed_methods, reason = "a test has a runtime of its own, and may unwrap")]

mod support;

use futures_util::future::{BoxFuture, FutureExt, join_all};
use larder_files::{
    Caller, Created, Direct, DirectId, Error, Files, ListFiles, NewDirect, Role, Settings, Sha256,
    ledger::{Announced, Ledger, LedgerError},
};
use larder_storage_core::{Body, ErrorKind, Key, MemoryOptions, MemoryStore, NodeId, PutOptions, Steps, Store};
use std::{
    sync::{
        Arc, OnceLock,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};
use support::*;

const MIB: u64 = 1 << 20;
const HOUR: Duration = Duration::from_secs(3600);
const INCOMING: &str = ".larder/incoming/";

/// Two and a half parts of 1 MiB.
fn content() -> Vec<u8> {
    (0..5 * MIB / 2).map(|at| (at % 251) as u8).collect()
}

fn new(name: &str, size: u64) -> NewDirect {
    let file = Announced { bucket: "documents".into(), name: name.into(), ..Announced::default() };
    NewDirect { file, size, part_bytes: Some(MIB), lifetime: HOUR, past_server: true }
}

async fn open(files: &Files, new: NewDirect) -> Direct {
    files.open_direct(&local(), new).await.unwrap()
}

fn part(id: DirectId, number: u64) -> Key {
    key(&format!("{INCOMING}{id}.{number:05}"))
}

/// What the holder of a URL does.
async fn send(larder: &Larder, id: DirectId, number: u64, bytes: &[u8]) {
    larder.store().put(&part(id, number), Body::from(bytes.to_vec()), PutOptions::replace()).await.unwrap();
}

async fn send_all(larder: &Larder, id: DirectId, bytes: &[u8]) {
    for (number, bytes) in (1..).zip(bytes.chunks(MIB as usize)) {
        send(larder, id, number, bytes).await;
    }
}

async fn complete(files: &Files, id: DirectId) -> Result<Created, Error> {
    files.complete_direct(&local(), id, None).await
}

async fn count(files: &Files) -> usize {
    files.list(&local(), ListFiles { limit: 100, ..ListFiles::default() }).await.unwrap().items.len()
}

async fn nothing_is_left(larder: &Larder, what: &str) {
    until(what, async || larder.count_below(INCOMING) == 0).await;
}

/// Over a disk that stages, and over one that does not.
fn larders() -> [Larder; 2] {
    [Larder::new(), Larder::over(MemoryOptions::without_staging())]
}

#[tokio::test]
async fn parts_become_the_file_that_was_announced_and_a_repeat_answers_it() {
    for larder in larders() {
        let files = larder.start().await.0;
        let bytes = content();
        let mut wanted = new("a/report.txt", bytes.len() as u64);
        wanted.file.tags = vec!["q3".into()];
        wanted.file.metadata.insert("year".into(), 2026.into());
        wanted.file.sha256 = Some(Sha256::of(&bytes));
        let upload = open(&files, wanted).await.upload;
        assert_eq!((upload.parts(), count(&files).await), (3, 0));
        send_all(&larder, upload.id, &bytes).await;
        assert_eq!(count(&files).await, 0, "what was sent is nobody's file");

        let made = complete(&files, upload.id).await.unwrap();
        let attributes = &made.file.attributes;
        assert_eq!(
            (made.repeated, &*attributes.name, &*attributes.tags),
            (None, "a/report.txt", &["q3".to_owned()][..])
        );
        assert_eq!((attributes.metadata["year"].clone(), attributes.sha256), (2026.into(), Sha256::of(&bytes)));
        assert!(!attributes.key.as_str().starts_with(".larder/"), "a URL was signed for that");
        assert_eq!(support::content(&files, attributes.id).await.unwrap(), bytes);
        nothing_is_left(&larder, "the parts went").await;

        let again = complete(&files, upload.id).await.unwrap();
        assert_eq!((again.file.attributes.id, again.repeated), (attributes.id, Some(201)));
        let after = larder.start().await.0;
        assert_eq!(complete(&after, upload.id).await.unwrap().file.attributes.id, attributes.id, "after a restart");
        assert_eq!(count(&files).await, 1);
    }
}

#[tokio::test]
async fn a_url_that_still_works_changes_nothing_and_what_it_brings_goes() {
    for larder in larders() {
        let settings = Settings { look_every: Some(Duration::from_secs(30)), ..Settings::default() };
        let files = larder.start().await.0;
        let id = open(&files, new("a", 5)).await.upload.id;
        send(&larder, id, 1, b"first").await;
        let made = complete(&files, id).await.unwrap().file.attributes.id;
        nothing_is_left(&larder, "the parts went").await;
        let ended = open(&files, new("b", 5)).await.upload.id;
        files.end_direct(&local(), ended).await.unwrap();
        let going_on = open(&files, new("c", 5)).await.upload.id;
        for (id, bytes) in [(id, b"other"), (ended, b"ended"), (going_on, b"third")] {
            send(&larder, id, 1, bytes).await;
        }
        assert_eq!(support::content(&files, made).await.unwrap(), b"first");
        assert_eq!(complete(&files, id).await.unwrap().file.attributes.id, made, "it is completed already");
        assert!(matches!(complete(&files, ended).await, Err(Error::NotFound("upload"))));

        let looks = Files::start(larder.parts(larder.ledger.another()), settings).await.unwrap().0;
        until("they went", async || larder.count_below(INCOMING) == 1).await;
        assert_eq!(complete(&looks, going_on).await.unwrap().file.attributes.name, "c");
        assert_eq!(count(&files).await, 2);
    }
}

#[tokio::test]
async fn what_is_not_as_it_was_announced_is_discarded_and_what_is_missing_is_waited_for() {
    for larder in larders() {
        let files = larder.start().await.0;
        let mut wanted = new("a", 5);
        wanted.file.sha256 = Some(Sha256::of(b"hello"));
        let lie = open(&files, wanted).await.upload.id;
        send(&larder, lie, 1, b"hullo").await;
        assert!(matches!(complete(&files, lie).await, Err(Error::DigestMismatch { .. })));
        nothing_is_left(&larder, "a lie about the hash went").await;
        assert!(matches!(complete(&files, lie).await, Err(Error::NotFound("upload"))), "and so did its upload");

        let short = open(&files, new("a", 5)).await.upload.id;
        send(&larder, short, 1, b"four").await;
        let words = complete(&files, short).await.unwrap_err().to_string();
        assert_eq!(words, "part 1 of 1 has 4 bytes, not 5: send it again");
        files.end_direct(&local(), short).await.unwrap();
        nothing_is_left(&larder, "an upload that was ended").await;

        let mut images = new("a.png", 5);
        images.file.bucket = "images".into();
        let text = open(&files, images).await.upload.id;
        send(&larder, text, 1, b"hello").await;
        assert!(matches!(complete(&files, text).await, Err(Error::UnsupportedType { .. })));
        nothing_is_left(&larder, "a lie about the type went").await;

        let bytes = content();
        let waits = open(&files, new("a", bytes.len() as u64)).await.upload.id;
        send(&larder, waits, 1, &bytes[..MIB as usize]).await;
        send(&larder, waits, 3, &bytes[2 * MIB as usize..]).await;
        for _ in 0..2 {
            let words = complete(&files, waits).await.unwrap_err().to_string();
            assert_eq!(words, "part 2 of 3 has not arrived");
        }
        let told = files.complete_direct(&local(), waits, Some(Sha256::of(b"other"))).await;
        assert!(matches!(told, Err(Error::Conflict(_))), "{told:?}");
        send(&larder, waits, 2, &bytes[MIB as usize..2 * MIB as usize]).await;
        let made = files.complete_direct(&local(), waits, Some(Sha256::of(&bytes))).await.unwrap();
        assert_eq!(made.file.attributes.size, bytes.len() as u64);
        assert_eq!(count(&files).await, 1);
    }
}

#[tokio::test]
async fn a_hash_that_is_told_late_is_compared_too_and_with_the_one_before() {
    let larder = Larder::new();
    let files = larder.start().await.0;
    let mut wanted = new("a", 5);
    wanted.file.sha256 = Some(Sha256::of(b"hello"));
    let id = open(&files, wanted).await.upload.id;
    send(&larder, id, 1, b"hello").await;
    let other = files.complete_direct(&local(), id, Some(Sha256::of(b"other"))).await;
    assert!(matches!(other, Err(Error::Invalid { field: "sha256", .. })), "{other:?}");
    assert!(complete(&files, id).await.is_ok(), "a slip of the client's costs nothing");

    let id = open(&files, new("b", 5)).await.upload.id;
    send(&larder, id, 1, b"hello").await;
    let other = files.complete_direct(&local(), id, Some(Sha256::of(b"other"))).await;
    assert!(matches!(other, Err(Error::DigestMismatch { .. })), "{other:?}");
    assert!(
        files.complete_direct(&local(), id, Some(Sha256::of(b"hello"))).await.is_ok(),
        "it is not sent again for that"
    );
}

#[tokio::test]
async fn an_upload_that_is_being_completed_is_not_ended_and_one_that_was_ended_is_not_completed() {
    let gate = Gate::at("record");
    let larder = Larder::new();
    let files = larder.start_with(gate.clone()).await;
    let id = open(&files, new("a", 5)).await.upload.id;
    send(&larder, id, 1, b"hello").await;
    gate.close();
    let (first, ended) = futures_util::join!(complete(&files, id), async {
        gate.reached().await;
        let ended = files.end_direct(&local(), id).await;
        gate.open();
        ended
    });
    assert!(matches!(ended, Err(Error::Running)), "{ended:?}");
    assert!(first.is_ok());
    nothing_is_left(&larder, "the parts went").await;
    assert_eq!(complete(&files, id).await.unwrap().repeated, Some(201));
}

#[tokio::test]
async fn an_upload_that_is_completed_at_its_end_keeps_its_parts_until_it_is_a_file() {
    let gate = Gate::at("get");
    let larder = Larder::over(MemoryOptions { steps: Some(gate.clone()), ..MemoryOptions::with_staging() });
    let files = larder.start().await.0;
    let bytes = content();
    let upload = open(&files, new("a", bytes.len() as u64)).await.upload;
    send_all(&larder, upload.id, &bytes).await;
    larder.world.pass(12 * HOUR - Duration::from_secs(60));
    gate.close();
    let (made, ()) = futures_util::join!(complete(&files, upload.id), async {
        gate.reached().await;
        larder.world.pass(HOUR);
        assert!(larder.ledger.direct(upload.id).await.unwrap().unwrap().is_open(larder.environment().clock.now()));
        open(&files, new("b", 5)).await;
        assert!(larder.ledger.direct(upload.id).await.unwrap().is_some(), "another that begins ends it not");
        gate.open();
    });
    assert_eq!(made.unwrap().file.attributes.size, bytes.len() as u64);
}

#[tokio::test]
async fn a_user_who_was_deleted_while_an_upload_was_completed_gets_no_file() {
    let larder = Larder::new();
    let files = larder.start().await.0;
    let anna = user(&files, "anna").await;
    let id = files.open_direct(&anna, new("a", 5)).await.unwrap().upload.id;
    send(&larder, id, 1, b"hello").await;
    files.delete_user(anna.id, larder_files::FilesOf::Purge).await.unwrap();
    let refused = files.complete_direct(&anna, id, None).await;
    assert!(matches!(refused, Err(Error::Forbidden(_))), "{refused:?}");
    assert_eq!(count(&files).await, 0);
}

#[tokio::test]
async fn a_part_that_is_sent_again_while_it_is_read_makes_no_mixture() {
    let gate = Gate::at("get");
    let larder = Larder::over(MemoryOptions { steps: Some(gate.clone()), ..MemoryOptions::with_staging() });
    let files = larder.start().await.0;
    let bytes = content();
    let id = open(&files, new("a", bytes.len() as u64)).await.upload.id;
    send_all(&larder, id, &bytes).await;
    gate.close();
    let (mixed, ()) = futures_util::join!(complete(&files, id), async {
        gate.reached().await;
        send(&larder, id, 2, &vec![7; MIB as usize]).await;
        gate.open();
    });
    assert!(matches!(mixed, Err(Error::StoreUnavailable(_))), "{mixed:?}");
    let made = complete(&files, id).await.unwrap().file.attributes.id;
    let made = support::content(&files, made).await.unwrap();
    assert_eq!(made[MIB as usize..2 * MIB as usize], vec![7; MIB as usize]);
}

/// Gives other bytes to who reads a part for the first time.
#[derive(Default)]
struct Misread(AtomicU64, OnceLock<MemoryStore>);

impl Steps for Misread {
    fn step<'a>(&'a self, _: &'a NodeId, name: &'static str, at: &'a str) -> BoxFuture<'a, Result<(), ErrorKind>> {
        if name == "get" && at.ends_with(".00002") {
            let bytes = match self.0.fetch_add(1, Ordering::SeqCst) {
                0 => vec![7; MIB as usize],
                _ => content()[MIB as usize..2 * MIB as usize].to_vec(),
            };
            assert!(self.1.get().unwrap().disk().damage(&key(at), bytes));
        }
        std::future::ready(Ok(())).boxed()
    }
}

#[tokio::test]
async fn a_part_that_is_misread_is_neither_believed_nor_called_a_lie() {
    let right = Sha256::of(&content());
    for (staging, announced, told) in [
        (true, None, None),
        (false, None, None),
        (true, Some(right), None),
        (false, Some(right), None),
        (false, None, Some(right)),
    ] {
        let misread = Arc::new(Misread::default());
        let plain = if staging { MemoryOptions::with_staging() } else { MemoryOptions::without_staging() };
        let larder = Larder::over(MemoryOptions { steps: Some(misread.clone()), ..plain });
        let _ = misread.1.set(larder.store());
        let files = larder.start().await.0;
        let new = new("a", content().len() as u64);
        let file = Announced { sha256: announced, ..new.file };
        let id = open(&files, NewDirect { file, ..new }).await.upload.id;
        send_all(&larder, id, &content()).await;
        let unsure = files.complete_direct(&local(), id, told).await;
        assert!(matches!(unsure, Err(Error::StoreUnavailable(_))), "{announced:?} {told:?}: {unsure:?}");
        assert_eq!(count(&files).await, 0);
        let made = files.complete_direct(&local(), id, told).await.unwrap().file.attributes;
        assert_eq!(made.sha256, right);
        assert_eq!(support::content(&files, made.id).await.unwrap(), content());
        nothing_is_left(&larder, "its parts go").await;
    }
}

#[tokio::test]
async fn anothers_upload_is_as_absent_as_none() {
    let larder = Larder::new();
    let files = larder.start().await.0;
    let (anna, boris) = (user(&files, "anna").await, user(&files, "boris").await);
    let id = files.open_direct(&anna, new("a", 5)).await.unwrap().upload.id;
    send(&larder, id, 1, b"hello").await;
    let absent = |answer: Result<(), Error>| assert!(matches!(answer, Err(Error::NotFound("upload"))), "{answer:?}");
    absent(files.complete_direct(&boris, id, None).await.map(drop));
    absent(files.complete_direct(&local(), id, None).await.map(drop));
    absent(files.end_direct(&boris, id).await);
    absent(files.end_direct(&anna, DirectId::new(files.environment())).await);
    assert_eq!(files.complete_direct(&anna, id, None).await.unwrap().file.attributes.owner_id, anna.id);

    let id = files.open_direct(&anna, new("b", 5)).await.unwrap().upload.id;
    send(&larder, id, 1, b"hello").await;
    let admin = Caller { role: Role::Admin, ..boris };
    files.end_direct(&admin, id).await.unwrap();
    nothing_is_left(&larder, "an admin has ended it").await;
    absent(files.complete_direct(&anna, id, None).await.map(drop));
}

#[tokio::test]
async fn an_upload_ends_by_its_time_and_what_was_sent_goes() {
    let larder = Larder::new();
    let files = larder.start().await.0;
    let upload = open(&files, new("a", 5)).await.upload;
    send(&larder, upload.id, 1, b"hello").await;
    assert_eq!(upload.expires_at.since(larder.environment().clock.now()), HOUR);
    larder.world.pass(11 * HOUR);
    let late = open(&files, new("b", 5)).await.upload.id;
    larder.world.pass(HOUR);
    assert!(matches!(complete(&files, upload.id).await, Err(Error::NotFound("upload"))));
    assert!(matches!(files.put_part(upload.id, 1, "hello".into()).await, Err(Error::NotFound("upload"))));
    send(&larder, late, 1, b"hello").await;
    let settings = Settings { look_every: Some(Duration::from_secs(30)), ..Settings::default() };
    let _looks = Files::start(larder.parts(larder.ledger.another()), settings).await.unwrap().0;
    until("it went", async || larder.count_below(INCOMING) == 1).await;
    assert!(complete(&files, late).await.is_ok());
}

#[tokio::test]
async fn a_part_that_comes_by_this_server_has_its_size_and_takes_the_place_of_the_one_before() {
    for larder in larders() {
        let files = larder.start().await.0;
        let wanted = NewDirect { past_server: false, ..new("a", 3 * MIB / 2) };
        let Direct { upload, requests } = open(&files, wanted).await;
        assert!(requests.is_empty());
        let bytes = content();
        let (first, last) = (&bytes[..MIB as usize], &bytes[MIB as usize..3 * MIB as usize / 2]);
        let put = |number, bytes: &[u8]| files.put_part(upload.id, number, Body::from(bytes.to_vec()));
        assert!(matches!(put(1, last).await, Err(Error::Invalid { field: "body", .. })));
        assert!(matches!(put(2, first).await, Err(Error::TooLarge { max }) if max == MIB / 2));
        let unsized_ = Body::once(Box::pin(futures_util::stream::iter([Ok(first.to_vec().into())])), None);
        assert!(files.put_part(upload.id, 2, unsized_).await.is_err(), "a body that is longer than it may be");
        for number in [0, 3, u64::MAX] {
            assert!(matches!(put(number, last).await, Err(Error::NotFound("part"))), "{number}");
        }
        assert_eq!(larder.count_below(INCOMING), 0);
        put(1, &vec![1; MIB as usize]).await.unwrap();
        put(2, last).await.unwrap();
        put(1, first).await.unwrap();
        let made = complete(&files, upload.id).await.unwrap().file.attributes.id;
        assert_eq!(support::content(&files, made).await.unwrap(), bytes[..3 * MIB as usize / 2]);
    }
}

#[tokio::test]
async fn what_can_be_no_upload_is_refused_before_anything_is_kept() {
    let larder = Larder::new();
    let files = larder.start().await.0;
    let field = async |new: NewDirect| match files.open_direct(&local(), new).await {
        Err(Error::Invalid { field, .. }) => field,
        other => panic!("{other:?}"),
    };
    let with = |change: &dyn Fn(&mut NewDirect)| {
        let mut wanted = new("a", 5);
        change(&mut wanted);
        wanted
    };
    assert_eq!(field(with(&|new| new.file.name.clear())).await, "name");
    assert_eq!(field(with(&|new| new.file.tags = vec!["a".into(), "a".into()])).await, "tags");
    assert_eq!(field(with(&|new| new.lifetime = Duration::from_secs(59))).await, "expires_in");
    assert_eq!(field(with(&|new| new.lifetime = 13 * HOUR)).await, "expires_in");
    assert_eq!(field(with(&|new| new.part_bytes = Some(5))).await, "part_bytes");
    let large = files.open_direct(&local(), with(&|new| new.size = u64::MAX)).await;
    assert!(matches!(large, Err(Error::TooLarge { .. })), "{large:?}");
    let nowhere = files.open_direct(&local(), with(&|new| new.file.bucket = "nowhere".into())).await;
    assert!(matches!(nowhere, Err(Error::NotFound("bucket"))), "{nowhere:?}");
    put(&files, "a").await;
    let taken = with(&|new| new.file.on_conflict = larder_files::OnConflict::Fail);
    let taken = files.open_direct(&local(), taken).await;
    assert!(matches!(taken, Err(Error::NameTaken { .. })), "{taken:?}");
}

#[tokio::test]
async fn of_many_who_complete_at_once_one_makes_the_file() {
    for (larder, nodes) in larders().into_iter().zip([2, 1]) {
        // Who lives is told by locks on a disk that stages: over the other one there is one process.
        let first = larder.start().await.0;
        let second = if nodes == 2 { larder.start().await.0 } else { first.clone() };
        let nodes = [first, second];
        let bytes = content();
        let id = open(&nodes[0], new("a", bytes.len() as u64)).await.upload.id;
        send_all(&larder, id, &bytes).await;
        let answers = join_all((0..8).map(|number| complete(&nodes[number % 2], id))).await;
        let made: Vec<_> = answers.iter().flatten().collect();
        assert_eq!(made.iter().filter(|created| created.repeated.is_none()).count(), 1, "{answers:?}");
        for error in answers.iter().filter_map(|answer| answer.as_ref().err()) {
            assert!(matches!(error, Error::Running), "{error:?}");
        }
        assert_eq!(count(&nodes[0]).await, 1);
        assert_eq!(complete(&nodes[1], id).await.unwrap().file.attributes.id, made[0].file.attributes.id);
    }
}

#[tokio::test]
async fn a_file_whose_upload_could_not_be_ended_is_made_once() {
    let larder = Larder::new();
    let faults = Arc::new(Faults::default());
    let files = larder.start_with(faults.clone()).await;
    let id = open(&files, new("a", 5)).await.upload.id;
    send(&larder, id, 1, b"hello").await;
    faults.plan("end_direct", "", ErrorKind::Unavailable);
    let made = complete(&files, id).await.unwrap().file.attributes.id;
    nothing_is_left(&larder, "the parts went").await;
    assert!(larder.ledger.direct(id).await.unwrap().is_some(), "it goes on");
    send(&larder, id, 1, b"other").await;
    let again = larder.start().await.0;
    assert_eq!(complete(&again, id).await.unwrap().file.attributes.id, made);
    assert_eq!(count(&files).await, 1);
}

#[tokio::test]
async fn an_outage_keeps_what_was_sent() {
    let faults = Arc::new(Faults::default());
    for staging in [true, false] {
        let plain = if staging { MemoryOptions::with_staging() } else { MemoryOptions::without_staging() };
        let larder = Larder::over(MemoryOptions { steps: Some(faults.clone()), ..plain });
        let files = larder.start().await.0;
        let bytes = content();
        let id = open(&files, new("a", bytes.len() as u64)).await.upload.id;
        send_all(&larder, id, &bytes).await;
        for (step, on) in [("head", "00002"), ("get", "00001"), ("get", "00003")] {
            faults.plan(step, on, ErrorKind::Unavailable);
            let away = complete(&files, id).await;
            assert!(matches!(away, Err(Error::StoreUnavailable(_))), "{step} {on}: {away:?}");
            faults.heal();
        }
        assert_eq!(complete(&files, id).await.unwrap().file.attributes.size, bytes.len() as u64);
    }
}

#[tokio::test]
async fn the_ledger_is_asked_for_no_more_uploads_of_one_user_than_it_allows() {
    #[derive(Debug)]
    struct Full;
    impl larder_files::ledger::Steps for Full {
        fn step(&self, name: &'static str) -> futures_util::future::BoxFuture<'_, Result<(), LedgerError>> {
            Box::pin(std::future::ready(if name == "open_direct" { Err(LedgerError::Busy) } else { Ok(()) }))
        }
    }
    let files = Larder::new().start_with(Arc::new(Full)).await;
    let refused = files.open_direct(&local(), new("a", 5)).await;
    assert!(matches!(refused, Err(Error::TooMany(10_000))), "{refused:?}");
}
