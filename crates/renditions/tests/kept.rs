//! What is kept of renditions, what becomes of it, and who waits for whom: over a disk and a ledger in memory.

#![allow(clippy::unwrap_used)]

#[path = "../../files/tests/support/mod.rs"]
mod support;

use futures_util::{FutureExt, future::BoxFuture};
use larder_files::{Caller, File, Files, Settings, StoreName};
use larder_media::RenderOptions;
use larder_renditions::{Error, Examiner, Format, Limits, Made, RenditionSettings, Renditions, Wanted};
use larder_storage_core::{ErrorKind, Key, MemoryOptions, NodeId, Steps};
use std::{sync::Arc, time::Duration};
use support::{Faults, Gate, Larder, put_content, staging_with, until};
use tokio::{runtime::Handle, task::JoinHandle};

/// A JPEG of this size, of one colour.
fn picture(width: u32, height: u32) -> Vec<u8> {
    let svg = format!(
        "<svg xmlns='http://www.w3.org/2000/svg' width='{width}' height='{height}'><rect width='50%' height='100%' fill='red'/></svg>"
    );
    larder_media::render(svg.as_bytes(), &"f_jpeg".parse().unwrap(), &RenderOptions::default()).unwrap().bytes
}

async fn start(larder: &Larder, cached: bool) -> Files {
    let settings = Settings {
        cache: cached.then(|| StoreName::new("disk").unwrap()),
        examine: Some(Arc::new(Examiner::new(Limits::default(), 1 << 20))),
        ..Settings::default()
    };
    Files::start(larder.parts(larder.ledger.another()), settings).await.unwrap().0
}

fn renditions(files: &Files, change: impl FnOnce(&mut RenditionSettings)) -> Renditions {
    let mut settings = RenditionSettings::default();
    change(&mut settings);
    Renditions::new(files.clone(), settings, Handle::current())
}

fn wanted(file: &File, recipe: &str) -> Wanted {
    let (file, recipe) = (file.clone(), recipe.parse().unwrap());
    Wanted { caller: Caller::local(), file, revision: None, recipe, accepted: vec![] }
}

async fn made(renditions: &Renditions, file: &File, recipe: &str) -> Made {
    renditions.get(wanted(file, recipe)).await.unwrap()
}

/// Asks for one in a task of its own.
fn getting(renditions: &Renditions, wanted: Wanted) -> JoinHandle<Result<Made, Error>> {
    let renditions = renditions.clone();
    tokio::spawn(async move { renditions.get(wanted).await })
}

/// The same in the best format that is there.
fn in_avif_or_webp(file: &File) -> Wanted {
    Wanted { accepted: vec![Format::Avif, Format::Webp], ..wanted(file, "w_40,f_auto") }
}

async fn until_avif_is_kept(renditions: &Renditions, wanted: &Wanted) {
    renditions.get(wanted.clone()).await.unwrap();
    until("AVIF is made", async || !renditions.tag(wanted).await.unwrap().is_meanwhile).await;
    renditions.settled().await;
}

/// A disk whose reads below a folder are held up, and then fail, each by plan.
#[derive(Debug)]
struct HeldUp {
    folder: &'static str,
    gate: Arc<Gate>,
    faults: Arc<Faults>,
}

const CONTENT: &str = "documents/";
const CACHE: &str = ".larder/renditions/";

impl HeldUp {
    fn below(folder: &'static str) -> (Larder, Arc<Gate>, Arc<Faults>) {
        let (gate, faults) = (Gate::at("get"), Arc::<Faults>::default());
        let steps = Self { folder, gate: gate.clone(), faults: faults.clone() };
        (Larder::over(staging_with(Arc::new(steps))), gate, faults)
    }
}

impl Steps for HeldUp {
    fn step<'a>(&'a self, node: &'a NodeId, name: &'static str, key: &'a str) -> BoxFuture<'a, Result<(), ErrorKind>> {
        async move {
            // What goes on by itself reads other objects.
            if key.starts_with(self.folder) {
                self.gate.step(node, name, key).await?;
            }
            self.faults.step(node, name, key).await
        }
        .boxed()
    }
}

/// Whether a store is told to be away, and nothing of the picture.
fn is_outage(answered: &Result<Made, Error>) -> bool {
    matches!(answered, Err(Error::Files(why)) if matches!(**why, larder_files::Error::StoreUnavailable(_)))
}

fn kept(larder: &Larder) -> Vec<Key> {
    let objects = larder.objects().into_iter().map(|(key, _)| key);
    objects.filter(|key| key.as_str().starts_with(".larder/renditions/")).collect()
}

async fn until_kept(larder: &Larder, count: usize) {
    until_so("it is kept", || kept(larder).len() == count).await;
}

/// Waits for what other threads do.
async fn until_so(what: &str, is_so: impl Fn() -> bool) {
    let waited = tokio::time::timeout(Duration::from_secs(30), async {
        while !is_so() {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    });
    waited.await.unwrap_or_else(|_| panic!("it never came to this: {what}"));
}

#[tokio::test]
async fn what_one_process_made_the_next_one_shows() {
    let larder = Larder::new();
    let files = start(&larder, true).await;
    let file = put_content(&files, "p.jpg", picture(80, 60)).await;
    assert_eq!(file.attributes.media.as_ref().unwrap()["width"], 80, "{:?}", file.attributes.media);
    let first = renditions(&files, |_| {});
    let shown = made(&first, &file, "w_40").await;
    until_kept(&larder, 1).await;
    drop((first, files));

    let files = start(&larder, true).await;
    let next = renditions(&files, |_| {});
    next.find_kept().await.unwrap();
    assert_eq!((next.counts().kept, next.counts().made), (1, 0));
    let again = made(&next, &file, "w_040").await;
    assert_eq!((again.bytes, again.tag), (shown.bytes, shown.tag));
    assert_eq!((next.counts().made, next.counts().cached), (0, 1));
}

#[tokio::test]
async fn what_was_damaged_while_it_was_kept_is_never_shown() {
    let larder = Larder::new();
    let files = start(&larder, true).await;
    let file = put_content(&files, "p.jpg", picture(80, 60)).await;
    let renditions = renditions(&files, |_| {});
    let shown = made(&renditions, &file, "w_40").await;
    until_kept(&larder, 1).await;
    let key = kept(&larder).pop().unwrap();
    let good = larder.bytes_at(&key).unwrap();
    let mut flipped = good.to_vec();
    *flipped.last_mut().unwrap() ^= 1;
    for damage in [flipped, good[..good.len() - 1].to_vec(), good[..20].to_vec(), vec![]] {
        // The one before is out of the way when it is kept anew.
        until_so("it is kept anew", || larder.bytes_at(&key).as_ref() == Some(&good)).await;
        until("its flight is over", async || renditions.counts().kept == 1).await;
        assert!(larder.disk.damage(&key, damage));
        let again = renditions.get(wanted(&file, "w_40")).await.unwrap();
        assert_eq!(again.bytes, shown.bytes);
    }
    assert!(renditions.counts().made >= 3, "{:?}", renditions.counts());
}

#[tokio::test]
async fn what_was_asked_for_longest_ago_goes_when_there_is_no_room() {
    let larder = Larder::new();
    let files = start(&larder, true).await;
    let file = put_content(&files, "p.jpg", picture(200, 100)).await;
    let one = made(&renditions(&files, |_| {}), &file, "w_50").await.bytes.len() as u64;
    files.cache().unwrap().remove_all(file.attributes.id).await.unwrap();
    // Room for two of about this size.
    let renditions = renditions(&files, |settings| settings.cache_bytes_max = one * 5 / 2 + 64);
    for recipe in ["w_50", "w_51", "w_50", "w_52"] {
        made(&renditions, &file, recipe).await;
        renditions.settled().await;
        assert!(kept(&larder).len() <= 2);
    }
    until_kept(&larder, 2).await;
    assert!(renditions.counts().kept_bytes <= one * 5 / 2 + 64);
    made(&renditions, &file, "w_50").await;
    assert_eq!(renditions.counts().made, 3, "it was asked for again, so another went");
    made(&renditions, &file, "w_51").await;
    assert_eq!(renditions.counts().made, 4);
}

#[tokio::test]
async fn what_belongs_to_no_file_is_found_and_goes() {
    let larder = Larder::new();
    let files = start(&larder, true).await;
    let (gone, stays) = (
        put_content(&files, "gone.jpg", picture(80, 60)).await,
        put_content(&files, "stays.jpg", picture(60, 80)).await,
    );
    let first = renditions(&files, |_| {});
    made(&first, &gone, "w_40").await;
    made(&first, &stays, "w_40").await;
    until_kept(&larder, 2).await;
    // By a process that knows of no cache.
    let other = start(&larder, false).await;
    other.purge(&Caller::local(), gone.attributes.id, None).await.unwrap();
    assert_eq!(kept(&larder).len(), 2);
    let next = renditions(&files, |_| {});
    next.find_kept().await.unwrap();
    let left = kept(&larder);
    assert_eq!((left.len(), next.counts().kept), (1, 1));
    assert!(left[0].as_str().contains(&stays.attributes.id.to_string()));
}

#[tokio::test]
async fn a_picture_that_is_purged_while_it_is_rendered_leaves_nothing() {
    let gate = Gate::at("get");
    let larder = Larder::over(staging_with(gate.clone()));
    let files = start(&larder, true).await;
    let file = put_content(&files, "p.jpg", picture(80, 60)).await;
    let renditions = renditions(&files, |_| {});
    gate.close();
    let getting = getting(&renditions, wanted(&file, "w_40"));
    // It looks into the cache, finds nothing, and will read the content.
    gate.reached().await;
    files.purge(&Caller::local(), file.attributes.id, None).await.unwrap();
    gate.open();
    let answered = getting.await.unwrap();
    assert!(matches!(&answered, Err(Error::Files(_))), "{answered:?}");
    assert_eq!(kept(&larder), []);
}

#[tokio::test]
async fn who_comes_when_too_many_wait_is_told_to_come_again() {
    let gate = Gate::at("get");
    let larder = Larder::over(staging_with(gate.clone()));
    let files = start(&larder, false).await;
    let file = put_content(&files, "p.jpg", picture(80, 60)).await;
    let renditions = renditions(&files, |settings| (settings.at_once, settings.waiting_max) = (1, 1));
    let get = |recipe| getting(&renditions, wanted(&file, recipe));
    gate.close();
    let first = get("w_10");
    gate.reached().await;
    let (waits, joins) = (get("w_11"), get("w_10"));
    until("both came", async || renditions.counts().joined == 1).await;
    support::others_go_on().await;
    let refused = get("w_12").await.unwrap();
    assert!(matches!(refused, Err(Error::Busy { after }) if after >= Duration::from_secs(1)), "{refused:?}");
    gate.open();
    for answered in [first, waits, joins] {
        answered.await.unwrap().unwrap();
    }
    let counts = renditions.counts();
    assert_eq!((counts.made, counts.joined, counts.busy), (2, 1, 1));
    get("w_12").await.unwrap().unwrap();
}

#[tokio::test]
async fn whoever_goes_away_leaves_it_being_made() {
    let gate = Gate::at("get");
    let larder = Larder::over(staging_with(gate.clone()));
    let files = start(&larder, true).await;
    let file = put_content(&files, "p.jpg", picture(80, 60)).await;
    let renditions = renditions(&files, |_| {});
    gate.close();
    let getting = getting(&renditions, wanted(&file, "w_40"));
    gate.reached().await;
    getting.abort();
    assert!(getting.await.unwrap_err().is_cancelled());
    gate.open();
    until_kept(&larder, 1).await;
    assert_eq!(renditions.counts().made, 1);
}

#[tokio::test]
async fn what_can_not_be_kept_is_shown_all_the_same() {
    let faults = Arc::new(Faults::default());
    let larder = Larder::over(MemoryOptions { steps: Some(faults.clone()), ..MemoryOptions::with_staging() });
    let files = start(&larder, true).await;
    let file = put_content(&files, "p.jpg", picture(80, 60)).await;
    let renditions = renditions(&files, |_| {});
    for step in ["put.written", "put.visible"] {
        faults.plan(step, ".larder/renditions/", ErrorKind::Full);
    }
    for _ in 0..2 {
        made(&renditions, &file, "w_40").await;
        renditions.settled().await;
    }
    assert!(faults.struck() > 0, "nothing failed");
    assert_eq!((kept(&larder), renditions.counts().failed), (vec![], 0));
}

#[tokio::test]
async fn a_picture_that_can_not_be_rendered_is_not_tried_again_at_once() {
    let larder = Larder::new();
    let files = start(&larder, true).await;
    let file = put_content(&files, "p.jpg", b"\xff\xd8\xff\xe0no picture".to_vec()).await;
    let renditions = renditions(&files, |_| {});
    let first = renditions.get(wanted(&file, "w_40")).await.unwrap_err().to_string();
    assert!(first.contains("corrupt"), "{first}");
    // Read again, it would be lost.
    assert!(larder.disk.damage(&file.attributes.key, vec![]));
    let again = renditions.get(wanted(&file, "w_40")).await.unwrap_err().to_string();
    assert_eq!((again, renditions.counts().made), (first, 0));
}

#[tokio::test]
async fn what_is_larger_than_the_limit_is_not_even_read() {
    let larder = Larder::new();
    let files = start(&larder, true).await;
    let file = put_content(&files, "p.jpg", picture(80, 60)).await;
    let renditions = renditions(&files, |settings| settings.limits.source_bytes_max = 100);
    assert!(larder.disk.damage(&file.attributes.key, vec![]));
    let refused = renditions.get(wanted(&file, "w_40")).await.unwrap_err().to_string();
    assert!(refused.contains("limit of 100"), "{refused}");
}

#[tokio::test]
async fn an_earlier_picture_is_looked_at_when_somebody_asks() {
    let larder = Larder::new();
    let before = Files::start(larder.parts(larder.ledger.another()), Settings::default()).await.unwrap().0;
    let file = put_content(&before, "p.jpg", picture(80, 60)).await;
    assert_eq!(file.attributes.media, None);
    let files = start(&larder, true).await;
    let renditions = renditions(&files, |_| {});
    let known = renditions.look_at(&Caller::local(), &file).await.unwrap().unwrap().into_value();
    let id = file.attributes.id;
    let noted = files.note_media(&Caller::local(), id, 1, known.clone()).await.unwrap();
    assert_eq!(noted.attributes.media, Some(known.clone()));
    let again = files.note_media(&Caller::local(), id, 1, serde_json::json!({ "kind": "other" })).await.unwrap();
    assert_eq!(again.attributes, noted.attributes, "what is known stays");
    let text = put_content(&files, "a.txt", "text").await;
    assert_eq!(renditions.look_at(&Caller::local(), &text).await.unwrap(), None);
}

#[tokio::test]
async fn what_was_removed_while_it_was_rendered_leaves_nothing() {
    let gate = Gate::at("get");
    let larder = Larder::over(staging_with(gate.clone()));
    let files = start(&larder, true).await;
    let old = put_content(&files, "p.jpg", picture(80, 60)).await;
    let renditions = renditions(&files, |_| {});
    let id = old.attributes.id;
    gate.close();
    let getting = getting(&renditions, Wanted { revision: Some(1), ..wanted(&old, "w_40") });
    gate.reached().await;
    let received = files.receive_revision(&Caller::local(), id, picture(60, 80).into()).await.unwrap();
    files.replace(&Caller::local(), id, received, None, None).await.unwrap();
    files.purge_revision(&Caller::local(), id, 1, None).await.unwrap();
    gate.open();
    let _ = getting.await.unwrap();
    renditions.settled().await;
    assert_eq!(kept(&larder), []);
}

#[tokio::test]
async fn what_another_configuration_kept_goes_when_a_server_starts() {
    let mut larder = Larder::new();
    larder.add_disk("other", MemoryOptions::with_staging());
    let files = start(&larder, true).await;
    let file = put_content(&files, "p.jpg", picture(80, 60)).await;
    made(&renditions(&files, |_| {}), &file, "w_40").await;
    until_kept(&larder, 1).await;
    let settings = Settings { cache: Some(StoreName::new("other").unwrap()), ..Settings::default() };
    let files = Files::start(larder.parts(larder.ledger.another()), settings).await.unwrap().0;
    let next = renditions(&files, |_| {});
    next.find_kept().await.unwrap();
    assert_eq!((kept(&larder), next.counts().kept), (vec![], 0));
}

#[tokio::test]
async fn where_nothing_keeps_it_no_avif_is_made_for_nobody() {
    let larder = Larder::new();
    let files = start(&larder, false).await;
    let file = put_content(&files, "p.jpg", picture(80, 60)).await;
    let renditions = renditions(&files, |_| {});
    let wanted = in_avif_or_webp(&file);
    for _ in 0..3 {
        assert!(!renditions.tag(&wanted).await.unwrap().is_meanwhile);
        renditions.get(wanted.clone()).await.unwrap();
        renditions.settled().await;
    }
    support::others_go_on().await;
    assert_eq!(renditions.counts().made, 3, "one for each who asked");
}

#[tokio::test]
async fn a_kept_avif_that_has_gone_meanwhile_keeps_nobody_waiting() {
    let larder = Larder::new();
    let files = start(&larder, true).await;
    let file = put_content(&files, "p.jpg", picture(80, 60)).await;
    let (renditions, wanted) = (renditions(&files, |_| {}), in_avif_or_webp(&file));
    for _ in 0..2 {
        let meanwhile = renditions.get(wanted.clone()).await.unwrap();
        assert_eq!((meanwhile.format, meanwhile.is_meanwhile), (Format::Webp, true));
        let is_there = async || !renditions.tag(&wanted).await.unwrap().is_meanwhile;
        until("AVIF is made", is_there).await;
        let best = renditions.get(wanted.clone()).await.unwrap();
        assert_eq!((best.format, best.is_meanwhile), (Format::Avif, false));
        renditions.settled().await;
        // As `larder renditions purge` does beside a server.
        files.cache().unwrap().remove_all(file.attributes.id).await.unwrap();
    }
}

#[tokio::test]
async fn a_kept_avif_counts_while_the_cache_does_not_answer_and_webp_is_shown() {
    let (larder, gate, faults) = HeldUp::below(CACHE);
    let files = start(&larder, true).await;
    let file = put_content(&files, "p.jpg", picture(80, 60)).await;
    let (renditions, wanted) = (renditions(&files, |_| {}), in_avif_or_webp(&file));
    until_avif_is_kept(&renditions, &wanted).await;
    let known = || (renditions.counts().kept, renditions.counts().kept_bytes);
    let before = known();
    assert_eq!(before.0, 2);
    let shown = async || {
        let made = renditions.get(wanted.clone()).await.unwrap();
        renditions.settled().await;
        (made.format, made.is_meanwhile)
    };
    faults.plan("get", CACHE, ErrorKind::Unavailable);
    assert_eq!((shown().await, known()), ((Format::Webp, true), before), "it fails");
    assert!(faults.struck() > 0);
    assert_eq!(renditions.counts().made, 3, "AVIF was made again");
    faults.heal();
    assert_eq!(shown().await, (Format::Avif, false));
    tokio::time::pause();
    gate.close();
    assert_eq!((shown().await, known()), ((Format::Webp, true), before), "it is slow");
    gate.reached().await;
    assert_eq!(shown().await, (Format::Avif, false));
}

#[tokio::test]
async fn a_kept_avif_is_read_once_for_all_who_ask_at_once() {
    let (larder, gate, _) = HeldUp::below(CACHE);
    let files = start(&larder, true).await;
    let file = put_content(&files, "p.jpg", picture(80, 60)).await;
    let (renditions, wanted) = (renditions(&files, |_| {}), in_avif_or_webp(&file));
    until_avif_is_kept(&renditions, &wanted).await;
    let before = renditions.counts();
    tokio::time::pause();
    gate.close();
    let first = getting(&renditions, wanted.clone());
    gate.reached().await;
    let others: Vec<_> = (0..9).map(|_| getting(&renditions, wanted.clone())).collect();
    until("they wait for the first", async || renditions.counts().joined == before.joined + 9).await;
    gate.open();
    for answered in others.into_iter().chain([first]) {
        let made = answered.await.unwrap().unwrap();
        assert_eq!((made.format, made.is_meanwhile), (Format::Avif, false));
    }
    assert_eq!(renditions.counts().cached, before.cached + 1);
}

#[tokio::test]
async fn a_store_that_is_slow_is_asked_again_in_a_moment_and_says_nothing_of_the_picture() {
    let (larder, gate, _) = HeldUp::below(CONTENT);
    let files = start(&larder, false).await;
    let file = put_content(&files, "p.jpg", picture(80, 60)).await;
    let renditions = renditions(&files, |_| {});
    let get = async || renditions.get(wanted(&file, "w_40")).await;
    tokio::time::pause();
    gate.close();
    let slow = get().await;
    assert!(is_outage(&slow), "{slow:?}");
    // The gate holds up one alone: whoever reads from here on is not slow.
    for passes in [0, 4_900] {
        tokio::time::advance(Duration::from_millis(passes)).await;
        let again = get().await;
        assert!(is_outage(&again), "{again:?}");
    }
    made(&renditions, &file, "w_41").await;
    tokio::time::advance(Duration::from_millis(100)).await;
    get().await.unwrap();
}

#[tokio::test]
async fn a_store_that_was_slow_keeps_no_avif_from_coming() {
    let (larder, gate, _) = HeldUp::below(CONTENT);
    let files = start(&larder, true).await;
    let file = put_content(&files, "p.jpg", picture(80, 60)).await;
    let (renditions, wanted) = (renditions(&files, |_| {}), in_avif_or_webp(&file));
    tokio::time::pause();
    gate.close();
    assert!(renditions.tag(&wanted).await.unwrap().is_meanwhile);
    gate.reached().await;
    renditions.settled().await;
    assert!(renditions.tag(&wanted).await.unwrap().is_meanwhile);
    tokio::time::advance(Duration::from_secs(6)).await;
    until_avif_is_kept(&renditions, &wanted).await;
}

#[tokio::test]
async fn a_store_that_fails_late_is_asked_again_in_a_moment_and_one_that_fails_at_once_is_asked_at_once() {
    for (seconds, is_remembered) in [(15, true), (5, false)] {
        let (larder, gate, faults) = HeldUp::below(CONTENT);
        let files = start(&larder, false).await;
        let file = put_content(&files, "p.jpg", picture(80, 60)).await;
        let renditions = renditions(&files, |_| {});
        tokio::time::pause();
        gate.close();
        faults.plan("get", CONTENT, ErrorKind::Unavailable);
        let first = getting(&renditions, wanted(&file, "w_40"));
        gate.reached().await;
        tokio::time::advance(Duration::from_secs(seconds)).await;
        gate.open();
        let failed = first.await.unwrap();
        assert!(is_outage(&failed), "{failed:?}");
        faults.heal();
        let again = renditions.get(wanted(&file, "w_40")).await;
        assert_eq!(is_outage(&again), is_remembered, "after {seconds} s: {again:?}");
        tokio::time::resume();
    }
}

#[tokio::test]
async fn who_waited_for_a_turn_until_it_was_late_is_not_told_of_an_outage() {
    let (larder, gate, _) = HeldUp::below(CONTENT);
    let files = start(&larder, false).await;
    let file = put_content(&files, "p.jpg", picture(80, 60)).await;
    let renditions = renditions(&files, |settings| settings.at_once = 1);
    tokio::time::pause();
    gate.close();
    let first = getting(&renditions, wanted(&file, "w_10"));
    gate.reached().await;
    let second = getting(&renditions, wanted(&file, "w_11"));
    support::others_go_on().await;
    tokio::time::advance(Duration::from_secs(15)).await;
    // The first goes on, and the second is held up in its place.
    gate.close();
    gate.open();
    first.await.unwrap().unwrap();
    gate.reached().await;
    let late = second.await.unwrap();
    assert!(matches!(late, Err(Error::Busy { .. })), "{late:?}");
    made(&renditions, &file, "w_11").await;
}

#[tokio::test]
async fn the_pictures_of_one_keep_not_all_others_away() {
    let gate = Gate::at("get");
    let larder = Larder::over(staging_with(gate.clone()));
    let files = start(&larder, false).await;
    let other = support::user(&files, "other").await;
    let mine = put_content(&files, "p.jpg", picture(80, 60)).await;
    let theirs = support::put_as(&files, &other, "q.jpg", picture(60, 80)).await;
    let renditions = renditions(&files, |settings| (settings.at_once, settings.waiting_max) = (1, 2));
    let get = |file, recipe| getting(&renditions, wanted(file, recipe));
    gate.close();
    let first = get(&mine, "w_10");
    gate.reached().await;
    let waits = get(&mine, "w_11");
    support::others_go_on().await;
    assert!(matches!(get(&mine, "w_12").await.unwrap(), Err(Error::Busy { .. })), "half of the places is all of mine");
    let of_another = get(&theirs, "w_10");
    support::others_go_on().await;
    gate.open();
    for answered in [first, waits, of_another] {
        answered.await.unwrap().unwrap();
    }
}
