//! Idempotent requests, and who still holds something.

use super::harness::{Harness, Verdict, at, attributes, dead, entry, file, made_by, node, one, tombstone, user};
use crate::{
    Attributes, CreatedByKey, FileId, Sha256, User,
    ledger::{Entry, LedgerError, Made, Purpose, Reservation, Result},
};
use futures_util::future::join_all;

fn key(name: &str) -> Sha256 {
    Sha256::of(name.as_bytes())
}

fn made(number: u128, version: u64, by: CreatedByKey) -> Attributes {
    Attributes { created_by_key: Some(by), ..attributes(number, version) }
}

fn done(by: &CreatedByKey, file: FileId) -> Reservation {
    Reservation::Done { request: by.request, status: by.status, made: Made::File(file), at: by.at }
}

fn running(name: &str) -> Reservation {
    Reservation::Running { node: node(name) }
}

impl Harness {
    async fn reserve(&self, name: &str, on: &str) -> Result<Reservation> {
        self.ledger.reserve(key(name), &node(on), at(0)).await
    }
}

pub(super) async fn a_key_is_reserved_once(harness: Harness) -> Verdict {
    let harness = harness.started().await?;
    ensure_eq!(harness.reserve("k", "n1").await?, Reservation::Made, "the first");
    ensure_eq!(harness.reserve("k", "n1").await?, running("n1"), "the same node again");
    ensure_eq!(harness.reserve("k", "n2").await?, running("n1"), "another node");
    ensure_eq!(harness.reserve("l", "n2").await?, Reservation::Made, "another key");
    Ok(())
}

pub(super) async fn a_record_settles_the_reservation(harness: Harness) -> Verdict {
    let harness = harness.started().await?;
    harness.reserve("k", "n1").await?;
    let by = made_by("k", 3);
    harness.put(&made(1, 1, by.clone())).await?;
    for on in ["n1", "n2"] {
        ensure_eq!(harness.reserve("k", on).await?, done(&by, file(1)), "a repeat on {on}");
    }
    harness.put(&made(1, 2, by.clone())).await?;
    harness.put(&attributes(1, 3)).await?;
    ensure_eq!(harness.reserve("k", "n1").await?, done(&by, file(1)), "a repeat after later changes");
    Ok(())
}

pub(super) async fn recovery_settles_without_a_reservation(harness: Harness) -> Verdict {
    let harness = harness.started().await?;
    let by = made_by("k", 3);
    harness.put(&attributes(1, 5)).await?;
    harness.put(&made(1, 4, by.clone())).await?;
    ensure_eq!(harness.reserve("k", "n1").await?, done(&by, file(1)), "a request that outranked attributes tell of");
    Ok(())
}

pub(super) async fn what_was_done_before_since_is_forgotten(harness: Harness) -> Verdict {
    let harness = harness.started().await?;
    let by = made_by("k", 10);
    harness.put(&made(1, 1, by.clone())).await?;
    let (ledger, me) = (&harness.ledger, node("n1"));
    ensure_eq!(ledger.reserve(key("k"), &me, at(10)).await?, done(&by, file(1)), "done at that very time");
    ensure_eq!(ledger.reserve(key("k"), &me, at(11)).await?, Reservation::Made, "done before");
    ensure_eq!(ledger.reserve(key("k"), &me, at(12)).await?, running("n1"), "what runs is not forgotten");
    let again = made_by("k", 20);
    harness.put(&made(2, 1, again.clone())).await?;
    harness.put(&made(1, 1, by)).await?;
    ensure_eq!(ledger.reserve(key("k"), &me, at(11)).await?, done(&again, file(2)), "the later of two with one key");
    Ok(())
}

pub(super) async fn a_node_gives_up_only_its_own(harness: Harness) -> Verdict {
    let harness = harness.started().await?;
    harness.reserve("k", "n1").await?;
    harness.reserve("l", "n1").await?;
    harness.ledger.unreserve(key("k"), &node("n2")).await?;
    ensure_eq!(harness.reserve("k", "n2").await?, running("n1"), "after another gave it up");
    harness.ledger.unreserve(key("k"), &node("n1")).await?;
    ensure_eq!(harness.reserve("k", "n2").await?, Reservation::Made, "after its own node gave it up");
    ensure_eq!(harness.reserve("l", "n2").await?, running("n1"), "another key of the node");
    harness.ledger.unreserve(key("unknown"), &node("n1")).await?;
    Ok(())
}

pub(super) async fn what_is_done_is_not_given_up(harness: Harness) -> Verdict {
    let harness = harness.started().await?;
    harness.reserve("k", "n1").await?;
    let by = made_by("k", 3);
    harness.put(&made(1, 1, by.clone())).await?;
    harness.ledger.unreserve(key("k"), &node("n1")).await?;
    harness.ledger.unreserve_all(&node("n1")).await?;
    ensure_eq!(harness.reserve("k", "n1").await?, done(&by, file(1)), "a request that is done");
    Ok(())
}

pub(super) async fn a_dead_nodes_reservations_go_at_once(harness: Harness) -> Verdict {
    let harness = harness.started().await?;
    for (name, on) in [("a", "n1"), ("b", "n2"), ("c", "n1")] {
        harness.reserve(name, on).await?;
    }
    harness.ledger.unreserve_all(&node("n1")).await?;
    ensure_eq!(harness.reserve("b", "n3").await?, running("n2"), "another node's");
    for name in ["a", "c"] {
        ensure_eq!(harness.reserve(name, "n3").await?, Reservation::Made, "the dead node's {name}");
    }
    Ok(())
}

pub(super) async fn a_tombstone_carries_its_requests(harness: Harness) -> Verdict {
    let harness = harness.started().await?;
    let made_by = vec![made_by("a", 3), made_by("b", 4)];
    let mut purged = tombstone(1, None, 2);
    purged.created_by_key = made_by.clone();
    harness.take(dead(&purged)).await?;
    for (name, by) in ["a", "b"].iter().zip(&made_by) {
        ensure_eq!(harness.reserve(name, "n1").await?, done(by, file(1)), "request {name}");
    }
    Ok(())
}

pub(super) async fn a_users_record_settles_the_reservation(harness: Harness) -> Verdict {
    let harness = harness.started().await?;
    harness.reserve("k", "n1").await?;
    let by = made_by("k", 3);
    let anna = User { created_by_key: Some(by.clone()), ..user(1, "anna", 1) };
    let made = Reservation::Done { request: by.request, status: by.status, made: Made::User(anna.id), at: by.at };
    let known = |user: User| harness.take(Entry::User(Box::new(user)));
    known(anna.clone()).await?;
    ensure_eq!(harness.reserve("k", "n1").await?, made, "a repeat");
    known(User { version: 2, ..anna.clone() }).await?;
    known(User { version: 3, created_by_key: None, ..anna }).await?;
    let harness = harness.reopened().await;
    ensure_eq!(harness.reserve("k", "n2").await?, made, "a repeat after later changes, and a reopening");
    Ok(())
}

pub(super) async fn a_name_that_is_taken_settles_no_reservation(harness: Harness) -> Verdict {
    let harness = harness.started().await?;
    harness.take(Entry::User(Box::new(user(1, "anna", 1)))).await?;
    harness.reserve("k", "n1").await?;
    let other = User { created_by_key: Some(made_by("k", 3)), ..user(2, "anna", 1) };
    let taken = harness.take(Entry::User(Box::new(other))).await;
    ensure_refused!(taken, LedgerError::Taken(_), "another's name");
    ensure_eq!(harness.reserve("k", "n2").await?, running("n1"), "its request");
    Ok(())
}

pub(super) async fn nodes_are_those_that_hold_something(harness: Harness) -> Verdict {
    let harness = harness.started().await?;
    harness.put(&attributes(1, 1)).await?;
    ensure_eq!(harness.ledger.nodes().await?, vec![], "nodes where nobody holds anything");
    let claim = harness.ledger.claim(file(1), Purpose::Change, &node("n3"), at(1)).await?;
    harness.reserve("k", "n1").await?;
    harness.reserve("l", "n3").await?;
    harness.reserve("m", "n2").await?;
    harness.put(&made(2, 1, made_by("m", 3))).await?;
    ensure_eq!(harness.ledger.nodes().await?, vec![node("n1"), node("n3")], "nodes");
    harness.release(claim.id).await?;
    harness.ledger.unreserve_all(&node("n3")).await?;
    ensure_eq!(harness.ledger.nodes().await?, vec![node("n1")], "nodes after one let go");
    Ok(())
}

pub(super) async fn of_16_racing_requests_exactly_one_runs(harness: Harness) -> Verdict {
    let harness = harness.started().await?;
    let other = harness.another().await;
    one(&other, entry(&attributes(2, 1), &[]), None).await?;
    let me = node("n1");
    let racers = (0..16).map(|number| {
        let ledger = if number % 2 == 0 { &harness.ledger } else { &other };
        ledger.reserve(key("k"), &me, at(0))
    });
    let answers: Vec<_> = join_all(racers).await.into_iter().collect::<Result<_>>()?;
    ensure_eq!(answers.iter().filter(|answer| **answer == Reservation::Made).count(), 1, "those that may run");
    Ok(())
}

pub(super) async fn reservations_survive_a_reopening(harness: Harness) -> Verdict {
    let harness = harness.started().await?;
    harness.reserve("k", "n1").await?;
    let by = made_by("l", 3);
    harness.put(&made(1, 1, by.clone())).await?;
    let harness = harness.reopened().await;
    ensure_eq!(harness.reserve("k", "n2").await?, running("n1"), "what ran");
    ensure_eq!(harness.reserve("l", "n2").await?, done(&by, file(1)), "what was done");
    Ok(())
}
