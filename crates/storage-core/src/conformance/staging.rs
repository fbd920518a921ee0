//! Staging and publishing, where they are declared.

use super::harness::{
    Harness, Verdict, attributes, breaking, content, ensure_absent, fill, in_blocks, key, listing, names, op, pair,
    pattern, read, stage, winners,
};
use crate::{Body, Digests, ErrorKind, Key, NodeId, Pair, Part, PutOptions, Staging, Store};
use bytes::Bytes;
use futures_util::future;

/// Publishes one pair.
async fn publish(staging: &dyn Staging, pair: Pair) -> crate::Result<()> {
    staging.publish(&[pair]).await.pop().expect("one pair, one result")
}

/// Breaks the law unless both halves of operation `number` lie where they belong.
async fn ensure_published(store: &dyn Store, number: u8) -> Verdict {
    let pair = pair(number);
    ensure!(read(store, &pair.bytes).await? == content(number), "`{}` holds other bytes", pair.bytes);
    ensure!(read(store, &pair.attributes).await? == attributes(number), "`{}` is another", pair.attributes);
    Ok(())
}

async fn ensure_pair_absent(store: &dyn Store, number: u8) -> Verdict {
    ensure_absent(store, &pair(number).bytes).await?;
    ensure_absent(store, &pair(number).attributes).await
}

pub(super) async fn what_is_staged_is_not_seen(harness: Harness) -> Verdict {
    let Some(staging) = harness.store.staging() else { return Ok(()) };
    stage(staging, 1).await?;
    ensure_pair_absent(&*harness.store, 1).await?;
    ensure!(listing(&*harness.store, "").await?.is_empty(), "what is staged is listed");
    ensure!(listing(&*harness.store, ".larder").await?.is_empty(), "what is staged is an object");
    Ok(())
}

pub(super) async fn a_staged_part_has_the_right_digests(harness: Harness) -> Verdict {
    let Some(staging) = harness.store.staging() else { return Ok(()) };
    for (number, size) in [(1, 0), (2, 1), (3, 1_000_003)] {
        let bytes = pattern(size, number);
        let whole = staging.stage(&op(number), Part::Attributes, pattern(10, number).into()).await?;
        ensure_eq!(whole.digests, Digests::of(&pattern(10, number)), "the digests of bytes at hand");
        let body = Body::once(in_blocks(&bytes, 100_001), None);
        let streamed = staging.stage(&op(number), Part::Bytes, body).await?;
        ensure_eq!((streamed.size, streamed.digests), (size as u64, Digests::of(&bytes)), "size and digests");
    }
    Ok(())
}

pub(super) async fn a_pair_staged_in_one_call_is_published_like_any(harness: Harness) -> Verdict {
    let Some(staging) = harness.store.staging() else { return Ok(()) };
    staging.stage_pair(&op(1), content(1), attributes(1)).await?;
    ensure_pair_absent(&*harness.store, 1).await?;
    let again = staging.stage_pair(&op(1), "other".into(), "other".into()).await;
    ensure_refused!(again, ErrorKind::AlreadyExists, "a pair that is staged already");
    publish(staging, pair(1)).await?;
    ensure_published(&*harness.store, 1).await?;
    staging.stage_pair(&op(2), Bytes::new(), attributes(2)).await?;
    publish(staging, pair(2)).await?;
    ensure!(read(&*harness.store, &pair(2).bytes).await?.is_empty(), "an empty object holds bytes");
    Ok(())
}

pub(super) async fn a_part_is_staged_once(harness: Harness) -> Verdict {
    let Some(staging) = harness.store.staging() else { return Ok(()) };
    stage(staging, 1).await?;
    for part in [Part::Bytes, Part::Attributes] {
        let again = staging.stage(&op(1), part, "other".into()).await;
        ensure_refused!(again, ErrorKind::AlreadyExists, "a part that is staged already");
    }
    publish(staging, pair(1)).await?;
    ensure_published(&*harness.store, 1).await
}

pub(super) async fn a_staged_body_that_breaks_off_leaves_nothing(harness: Harness) -> Verdict {
    let Some(staging) = harness.store.staging() else { return Ok(()) };
    for size in [None, Some(9_000), Some(10_000)] {
        let broken = staging.stage(&op(1), Part::Bytes, breaking(&pattern(9_000, 1), size)).await;
        ensure_refused!(broken, ErrorKind::Body, "a broken body");
    }
    let short = Body::once(in_blocks(&pattern(10, 1), 3), Some(11));
    ensure_refused!(staging.stage(&op(1), Part::Bytes, short).await, ErrorKind::Body, "a short body");
    stage(staging, 1).await?;
    publish(staging, pair(1)).await?;
    ensure_published(&*harness.store, 1).await
}

pub(super) async fn published_pairs_are_there_whole(harness: Harness) -> Verdict {
    let Some(staging) = harness.store.staging() else { return Ok(()) };
    for number in 1..=5 {
        stage(staging, number).await?;
    }
    let elsewhere = Pair { bytes: key("x/y/z/5"), attributes: key("x/y/z/5.attr.json"), ..pair(5) };
    let batch = [pair(1), pair(2), elsewhere.clone(), pair(3), pair(4)];
    let results = staging.publish(&batch).await;
    ensure_eq!(results.len(), batch.len(), "the number of results");
    for result in results {
        result?;
    }
    for number in 1..=4 {
        ensure_published(&*harness.store, number).await?;
    }
    ensure!(read(&*harness.store, &elsewhere.bytes).await? == content(5), "a pair in another folder is another");
    ensure_eq!(names(&*harness.store, "").await?.len(), 10, "the number of objects");
    ensure!(staging.publish(&[]).await.is_empty(), "an empty batch has results");
    Ok(())
}

pub(super) async fn a_pair_is_published_only_where_nothing_is(harness: Harness) -> Verdict {
    let Some(staging) = harness.store.staging() else { return Ok(()) };
    harness.store.put(&pair(1).bytes, "there".into(), PutOptions::create()).await?;
    stage(staging, 1).await?;
    ensure_refused!(publish(staging, pair(1)).await, ErrorKind::AlreadyExists, "a pair whose bytes' key is taken");
    ensure_eq!(read(&*harness.store, &pair(1).bytes).await?, "there", "the object that was there");
    ensure_absent(&*harness.store, &pair(1).attributes).await
}

pub(super) async fn attributes_in_the_way_keep_the_bytes_away(harness: Harness) -> Verdict {
    let Some(staging) = harness.store.staging() else { return Ok(()) };
    harness.store.put(&pair(1).attributes, "there".into(), PutOptions::create()).await?;
    stage(staging, 1).await?;
    ensure_refused!(publish(staging, pair(1)).await, ErrorKind::AlreadyExists, "a pair whose attributes' key is taken");
    ensure_eq!(read(&*harness.store, &pair(1).attributes).await?, "there", "the object that was there");
    ensure_absent(&*harness.store, &pair(1).bytes).await
}

pub(super) async fn a_conflict_of_one_pair_leaves_the_others(harness: Harness) -> Verdict {
    let Some(staging) = harness.store.staging() else { return Ok(()) };
    for number in 1..=4 {
        stage(staging, number).await?;
    }
    harness.store.put(&pair(2).bytes, "there".into(), PutOptions::create()).await?;
    harness.store.put(&pair(3).attributes, "there".into(), PutOptions::create()).await?;
    let results = staging.publish(&[pair(1), pair(2), pair(3), pair(4)]).await;
    let refused: Vec<bool> = results.iter().map(Result::is_err).collect();
    ensure_eq!(refused, [false, true, true, false], "which pairs were refused");
    ensure_published(&*harness.store, 1).await?;
    ensure_published(&*harness.store, 4).await?;
    ensure_absent(&*harness.store, &pair(2).attributes).await?;
    ensure_absent(&*harness.store, &pair(3).bytes).await
}

pub(super) async fn of_racing_publishes_exactly_one_wins(harness: Harness) -> Verdict {
    let Some(staging) = harness.store.staging() else { return Ok(()) };
    let at = |number| Pair { op: op(number), ..pair(0) };
    for number in 1..=8 {
        stage(staging, number).await?;
    }
    let attempts = future::join_all((1..=8).map(|number| publish(staging, at(number)))).await;
    let won = winners(&attempts, |kind| *kind == ErrorKind::AlreadyExists)?;
    ensure_eq!(won.len(), 1, "the number of winners");
    let winner = won[0] as u8 + 1;
    ensure!(read(&*harness.store, &pair(0).bytes).await? == content(winner), "the bytes are not the winner's");
    ensure!(read(&*harness.store, &pair(0).attributes).await? == attributes(winner), "the attributes are another's");
    Ok(())
}

pub(super) async fn a_pair_without_parts_is_refused(harness: Harness) -> Verdict {
    let Some(staging) = harness.store.staging() else { return Ok(()) };
    ensure!(publish(staging, pair(1)).await.is_err(), "a pair of nothing was published");
    staging.stage(&op(2), Part::Bytes, content(2).into()).await?;
    ensure!(publish(staging, pair(2)).await.is_err(), "a pair without attributes was published");
    ensure_pair_absent(&*harness.store, 1).await?;
    ensure_pair_absent(&*harness.store, 2).await
}

pub(super) async fn what_is_staged_stays_until_it_is_discarded(harness: Harness) -> Verdict {
    let Some(staging) = harness.store.staging() else { return Ok(()) };
    stage(staging, 1).await?;
    publish(staging, pair(1)).await?;
    ensure_refused!(
        staging.stage(&op(1), Part::Bytes, "x".into()).await,
        ErrorKind::AlreadyExists,
        "a part that is staged still"
    );
    harness.store.delete(&pair(1).bytes).await?;
    harness.store.delete(&pair(1).attributes).await?;
    publish(staging, pair(1)).await?;
    ensure_published(&*harness.store, 1).await
}

pub(super) async fn a_discarded_operation_can_be_staged_again(harness: Harness) -> Verdict {
    let Some(staging) = harness.store.staging() else { return Ok(()) };
    staging.stage(&op(1), Part::Bytes, "old".into()).await?;
    staging.discard(&op(1)).await?;
    staging.discard(&op(1)).await?;
    staging.discard(&op(9)).await?;
    ensure!(publish(staging, pair(1)).await.is_err(), "what was discarded was published");
    stage(staging, 1).await?;
    publish(staging, pair(1)).await?;
    ensure_published(&*harness.store, 1).await
}

pub(super) async fn a_discard_leaves_what_is_published(harness: Harness) -> Verdict {
    let Some(staging) = harness.store.staging() else { return Ok(()) };
    stage(staging, 1).await?;
    stage(staging, 2).await?;
    publish(staging, pair(1)).await?;
    staging.discard(&op(1)).await?;
    ensure_published(&*harness.store, 1).await?;
    publish(staging, pair(2)).await?;
    ensure_published(&*harness.store, 2).await
}

pub(super) async fn finishing_is_safe_to_repeat(harness: Harness) -> Verdict {
    let Some(staging) = harness.store.staging() else { return Ok(()) };
    stage(staging, 1).await?;
    publish(staging, pair(1)).await?;
    staging.finish(&pair(1)).await?;
    // As after a power cut that kept only the later name.
    harness.store.delete(&pair(1).bytes).await?;
    staging.finish(&pair(1)).await?;
    staging.finish(&pair(1)).await?;
    ensure_published(&*harness.store, 1).await?;
    staging.discard(&op(1)).await?;
    harness.store.delete(&pair(1).bytes).await?;
    ensure_refused!(staging.finish(&pair(1)).await, ErrorKind::NotFound, "a pair whose bytes are nowhere");
    Ok(())
}

pub(super) async fn finishing_leaves_what_lies_at_the_key(harness: Harness) -> Verdict {
    let Some(staging) = harness.store.staging() else { return Ok(()) };
    stage(staging, 1).await?;
    publish(staging, pair(1)).await?;
    harness.store.put(&pair(1).bytes, "another".into(), PutOptions::replace()).await?;
    staging.finish(&pair(1)).await?;
    ensure_eq!(read(&*harness.store, &pair(1).bytes).await?, "another", "the object");
    Ok(())
}

pub(super) async fn what_lies_at_its_key_is_finished_though_nothing_is_staged(harness: Harness) -> Verdict {
    let Some(staging) = harness.store.staging() else { return Ok(()) };
    let alone = |name: &str| Pair { op: op(1), bytes: key(name), attributes: key(name) };
    fill(&*harness.store, &["a/b"]).await?;
    staging.finish(&alone("a/b")).await?;
    ensure_eq!(read(&*harness.store, &key("a/b")).await?, "a/b", "the object");
    ensure_refused!(staging.finish(&alone("a/c")).await, ErrorKind::NotFound, "an object that is nowhere");
    ensure_absent(&*harness.store, &key("a/c")).await
}

pub(super) async fn withdraw_takes_only_its_own(harness: Harness) -> Verdict {
    let Some(staging) = harness.store.staging() else { return Ok(()) };
    stage(staging, 1).await?;
    // The same bytes, but not the object that the operation published.
    harness.store.put(&pair(1).bytes, content(1).into(), PutOptions::create()).await?;
    ensure!(!staging.withdraw(&op(1), &pair(1).bytes).await?, "it says it withdrew another's object");
    ensure!(read(&*harness.store, &pair(1).bytes).await? == content(1), "another's object is gone");
    harness.store.delete(&pair(1).bytes).await?;
    ensure!(!staging.withdraw(&op(1), &pair(1).bytes).await?, "it says it withdrew nothing");
    publish(staging, pair(1)).await?;
    ensure!(staging.withdraw(&op(1), &pair(1).bytes).await?, "it did not withdraw its own object");
    ensure_absent(&*harness.store, &pair(1).bytes).await
}

pub(super) async fn what_is_on_its_way_is_held_until_it_is_discarded(harness: Harness) -> Verdict {
    let Some(staging) = harness.store.staging() else { return Ok(()) };
    stage(staging, 1).await?;
    ensure!(!staging.holds(&pair(1).bytes).await?, "nothing lies there yet");
    publish(staging, pair(1)).await?;
    stage(staging, 2).await?;
    ensure!(staging.holds(&pair(1).bytes).await?, "what was published a moment ago is held by nobody");
    // As between the two halves of a publish.
    harness.store.delete(&pair(1).attributes).await?;
    ensure!(staging.holds(&pair(1).bytes).await?, "bytes that wait for their attributes are held by nobody");
    staging.discard(&op(1)).await?;
    ensure!(!staging.holds(&pair(1).bytes).await?, "what was discarded is held still");
    ensure!(read(&*harness.store, &pair(1).bytes).await? == content(1), "asking took the object away");
    Ok(())
}

pub(super) async fn only_the_very_object_that_was_staged_is_held(harness: Harness) -> Verdict {
    let Some(staging) = harness.store.staging() else { return Ok(()) };
    stage(staging, 1).await?;
    harness.store.put(&pair(1).bytes, content(1).into(), PutOptions::create()).await?;
    ensure!(!staging.holds(&pair(1).bytes).await?, "equal bytes are taken for those that are staged");
    let elsewhere = Pair { bytes: key("x/y/1"), attributes: key("x/y/1.attr.json"), ..pair(1) };
    publish(staging, elsewhere.clone()).await?;
    ensure!(staging.holds(&elsewhere.bytes).await?, "what was published elsewhere is held by nobody");
    ensure!(!staging.holds(&key("no/such/folder")).await?, "a folder that isn't there holds something");
    Ok(())
}

pub(super) async fn a_node_knows_itself_alive_and_no_stranger(harness: Harness) -> Verdict {
    let Some(staging) = harness.store.staging() else { return Ok(()) };
    ensure_eq!(staging.node(), staging.node(), "the node");
    ensure!(staging.is_alive(&staging.node()).await?, "the node believes itself dead");
    ensure!(!staging.is_alive(&NodeId::from_random([7; 16])).await?, "a stranger lives");
    Ok(())
}

pub(super) async fn the_living_leave_nothing_over(harness: Harness) -> Verdict {
    let Some(staging) = harness.store.staging() else { return Ok(()) };
    stage(staging, 1).await?;
    ensure!(staging.leftovers().await?.is_empty(), "the living node's own work was given to it as a leftover");
    publish(staging, pair(1)).await?;
    ensure_published(&*harness.store, 1).await
}

/// Lets a process die with operations 1 (staged), 2 (published) and 3 (bytes only) on their way.
async fn left_over(harness: Harness) -> Verdict<Option<(NodeId, std::sync::Arc<dyn Store>, impl std::any::Any)>> {
    let Some(staging) = harness.store.staging() else { return Ok(None) };
    let node = staging.node();
    stage(staging, 1).await?;
    stage(staging, 2).await?;
    publish(staging, pair(2)).await?;
    staging.stage(&op(3), Part::Bytes, content(3).into()).await?;
    Ok(harness.die().await.map(|(store, guard)| (node, store, guard)))
}

pub(super) async fn what_the_dead_left_is_found_once(harness: Harness) -> Verdict {
    let Some((dead, store, _guard)) = left_over(harness).await? else { return Ok(()) };
    let Some(staging) = store.staging() else { return Ok(()) };
    ensure!(staging.node() != dead, "two processes are one node");
    ensure!(!staging.is_alive(&dead).await?, "the dead node is alive");
    let (first, second) = future::try_join(staging.leftovers(), staging.leftovers()).await?;
    let mut found = [first, second].concat();
    found.sort_by(|a, b| a.op.cmp(&b.op));
    let seen: Vec<_> = found.iter().map(|left| (&left.op, left.bytes, left.attributes.clone())).collect();
    let size = |number| Some(content(number).len() as u64);
    let expected =
        [(&op(1), size(1), Some(attributes(1))), (&op(2), size(2), Some(attributes(2))), (&op(3), size(3), None)];
    let mut expected = expected.to_vec();
    expected.sort_by(|a, b| a.0.cmp(b.0));
    ensure_eq!(seen, expected, "what was left");
    ensure!(found.iter().all(|left| left.node == dead), "a leftover is another's");
    ensure!(staging.leftovers().await?.is_empty(), "leftovers were given twice");
    Ok(())
}

pub(super) async fn what_the_dead_left_is_held_until_it_is_discarded(harness: Harness) -> Verdict {
    let Some((_, store, _guard)) = left_over(harness).await? else { return Ok(()) };
    let Some(staging) = store.staging() else { return Ok(()) };
    ensure!(staging.holds(&pair(2).bytes).await?, "what a dead node has published is held by nobody");
    staging.leftovers().await?;
    ensure!(staging.holds(&pair(2).bytes).await?, "a leftover that was taken over is held by nobody");
    for number in 1..=3 {
        staging.discard(&op(number)).await?;
    }
    ensure!(!staging.holds(&pair(2).bytes).await?, "a leftover that was discarded is held still");
    Ok(())
}

pub(super) async fn a_leftover_can_be_finished(harness: Harness) -> Verdict {
    let Some((_, store, _guard)) = left_over(harness).await? else { return Ok(()) };
    let Some(staging) = store.staging() else { return Ok(()) };
    staging.leftovers().await?;
    store.delete(&pair(2).bytes).await?;
    staging.finish(&pair(2)).await?;
    staging.finish(&pair(2)).await?;
    ensure_published(&*store, 2).await?;
    staging.discard(&op(2)).await?;
    ensure_published(&*store, 2).await
}

pub(super) async fn a_leftover_can_be_withdrawn_and_discarded(harness: Harness) -> Verdict {
    let Some((_, store, _guard)) = left_over(harness).await? else { return Ok(()) };
    let Some(staging) = store.staging() else { return Ok(()) };
    staging.leftovers().await?;
    let taken: Key = pair(1).bytes;
    fill(&*store, &[taken.as_str()]).await?;
    ensure!(!staging.withdraw(&op(1), &taken).await?, "it says it withdrew another's object");
    ensure!(staging.withdraw(&op(2), &pair(2).bytes).await?, "it did not withdraw the dead node's object");
    ensure_absent(&*store, &pair(2).bytes).await?;
    for number in 1..=3 {
        staging.discard(&op(number)).await?;
        staging.discard(&op(number)).await?;
    }
    ensure_eq!(read(&*store, &taken).await?, taken.as_str(), "an object that was nobody's leftover");
    Ok(())
}
