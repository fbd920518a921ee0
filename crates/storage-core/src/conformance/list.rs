//! Listing: complete, each object once, resumable anywhere.

use super::harness::{Harness, Verdict, fill, key, names};
use crate::{ListOptions, ListToken, Prefix, PutOptions, Store};
use futures_util::{StreamExt, TryStreamExt};
use std::collections::BTreeSet;

const TREE: [&str; 9] = ["a", "b/1", "b/2", "b/c/1", "b/c/2", "b/c/d/1", "bb/1", "z/y/x/w", "zz"];

/// The keys behind a place.
async fn behind(store: &dyn Store, prefix: &str, after: ListToken) -> Verdict<BTreeSet<String>> {
    let options = ListOptions { prefix: Prefix::new(prefix)?, after: Some(after) };
    let keys: Vec<String> = store.list(options).map_ok(|item| item.object.key.to_string()).try_collect().await?;
    let set: BTreeSet<_> = keys.iter().cloned().collect();
    ensure_eq!(set.len(), keys.len(), "the number of different keys");
    Ok(set)
}

pub(super) async fn an_empty_store_lists_nothing(harness: Harness) -> Verdict {
    ensure!(names(&*harness.store, "").await?.is_empty(), "an empty store has objects");
    ensure!(names(&*harness.store, "a/b").await?.is_empty(), "an empty store has objects in a folder");
    Ok(())
}

pub(super) async fn a_listing_gives_each_object_once(harness: Harness) -> Verdict {
    let many: Vec<String> = (0..300).map(|n| format!("many/{n:03}")).collect();
    fill(&*harness.store, &many.iter().map(String::as_str).collect::<Vec<_>>()).await?;
    fill(&*harness.store, &TREE).await?;
    let mut expected: Vec<String> = TREE.iter().map(ToString::to_string).chain(many).collect();
    expected.sort_unstable();
    ensure_eq!(names(&*harness.store, "").await?, expected, "the listing");
    Ok(())
}

pub(super) async fn a_prefix_ends_at_a_slash(harness: Harness) -> Verdict {
    fill(&*harness.store, &["images/a", "images/b/c", "images2/a", "images.txt", "image/s"]).await?;
    for prefix in ["images", "images/"] {
        ensure_eq!(names(&*harness.store, prefix).await?, ["images/a", "images/b/c"], "the listing");
    }
    Ok(())
}

pub(super) async fn a_prefix_of_nothing_lists_nothing(harness: Harness) -> Verdict {
    fill(&*harness.store, &TREE).await?;
    for prefix in ["nothing", "b/nothing", "zz", "a/b", "b/1"] {
        ensure!(names(&*harness.store, prefix).await?.is_empty(), "something lies below `{prefix}`");
    }
    Ok(())
}

pub(super) async fn a_prefix_of_several_segments_lists_what_is_below(harness: Harness) -> Verdict {
    fill(&*harness.store, &TREE).await?;
    ensure_eq!(names(&*harness.store, "b/c").await?, ["b/c/1", "b/c/2", "b/c/d/1"], "the listing");
    ensure_eq!(names(&*harness.store, "z/y/x").await?, ["z/y/x/w"], "the listing");
    Ok(())
}

pub(super) async fn the_hidden_folder_is_listed_only_when_asked_for(harness: Harness) -> Verdict {
    fill(&*harness.store, &[".larder/instance.json", ".larder/tombstones/1", "a"]).await?;
    ensure_eq!(names(&*harness.store, "").await?, ["a"], "the listing of everything");
    let hidden = [".larder/instance.json", ".larder/tombstones/1"];
    ensure_eq!(names(&*harness.store, ".larder").await?, hidden, "the hidden folder");
    ensure_eq!(names(&*harness.store, ".larder/tombstones").await?, hidden[1..], "a folder in it");
    Ok(())
}

pub(super) async fn a_folder_named_as_the_hidden_one_elsewhere_is_listed(harness: Harness) -> Verdict {
    let seen = [".larder2/a", ".larders", "a/.larder/b"];
    fill(&*harness.store, &seen).await?;
    ensure_eq!(names(&*harness.store, "").await?, seen, "the listing");
    Ok(())
}

pub(super) async fn a_listing_goes_on_behind_every_item(harness: Harness) -> Verdict {
    fill(&*harness.store, &TREE).await?;
    for prefix in ["", "b"] {
        let options = ListOptions::below(Prefix::new(prefix)?);
        let items: Vec<_> = harness.store.list(options).try_collect().await?;
        let mut given = BTreeSet::new();
        let all: BTreeSet<String> = items.iter().map(|item| item.object.key.to_string()).collect();
        for item in items {
            given.insert(item.object.key.to_string());
            let rest = behind(&*harness.store, prefix, item.resume).await?;
            let again: BTreeSet<_> = given.union(&rest).cloned().collect();
            ensure_eq!(again, all, format!("all that is listed before and behind `{}`", item.object.key));
            ensure!(!rest.contains(item.object.key.as_str()), "`{}` comes again behind itself", item.object.key);
        }
    }
    Ok(())
}

pub(super) async fn a_listing_goes_on_behind_an_object_that_is_gone(harness: Harness) -> Verdict {
    fill(&*harness.store, &TREE).await?;
    let items: Vec<_> = harness.store.list(ListOptions::default()).try_collect().await?;
    let mut left: BTreeSet<String> = items.iter().map(|item| item.object.key.to_string()).collect();
    for item in items {
        harness.store.delete(&item.object.key).await?;
        left.remove(item.object.key.as_str());
        ensure_eq!(behind(&*harness.store, "", item.resume).await?, left, format!("behind `{}`", item.object.key));
    }
    Ok(())
}

pub(super) async fn what_stays_is_listed_once_while_others_come_and_go(harness: Harness) -> Verdict {
    let store = &harness.store;
    let stays: Vec<String> = (0..60).map(|n| format!("f{}/stays-{n:02}", n % 4)).collect();
    fill(&**store, &stays.iter().map(String::as_str).collect::<Vec<_>>()).await?;
    let mut listing = store.list(ListOptions::default());
    let (mut seen, mut round) = (Vec::new(), 0);
    while let Some(item) = listing.try_next().await? {
        seen.push(item.object.key.to_string());
        for folder in ["f0", "f2", "new"].into_iter().filter(|_| round < 100) {
            let comes = key(&format!("{folder}/a-{round:03}"));
            store.put(&comes, "x".into(), PutOptions::create()).await?;
            if round % 2 == 0 {
                store.delete(&comes).await?;
            }
        }
        round += 1;
        ensure!(round < 2_000, "the listing doesn't end");
    }
    let mut given: Vec<_> = seen.into_iter().filter(|key| key.contains("stays")).collect();
    given.sort_unstable();
    let mut stays = stays;
    stays.sort_unstable();
    ensure_eq!(given, stays, "what was there throughout");
    Ok(())
}

pub(super) async fn a_listing_may_be_left_early(harness: Harness) -> Verdict {
    fill(&*harness.store, &TREE).await?;
    for count in 0..TREE.len() {
        let some: Vec<_> = harness.store.list(ListOptions::default()).take(count).try_collect().await?;
        ensure_eq!(some.len(), count, "the number of items taken");
    }
    ensure_eq!(names(&*harness.store, "").await?.len(), TREE.len(), "the number of objects");
    Ok(())
}
