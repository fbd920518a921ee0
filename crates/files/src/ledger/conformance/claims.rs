//! Claims: one at a time, and numbers that are never given twice.

use super::harness::{EPOCH, Harness, Verdict, at, attributes, dead, entry, file, node, one, revised, tombstone};
use crate::ledger::{Claim, Entry, LedgerError, Purpose};
use futures_util::future::join_all;

/// With file 1, at version 1.
async fn with_a_file(harness: Harness) -> Result<Harness, super::Broken> {
    let harness = harness.started().await?;
    harness.put(&attributes(1, 1)).await?;
    Ok(harness)
}

pub(super) async fn a_claim_says_what_was_asked_and_is_found(harness: Harness) -> Verdict {
    let harness = with_a_file(harness).await?;
    let claim = harness.ledger.claim(file(1), Purpose::Purge, &node("n9"), at(3)).await?;
    let Claim { id, version, revision, .. } = claim;
    let wanted =
        Claim { id, file: file(1), purpose: Purpose::Purge, node: node("n9"), version, revision, opened_at: at(3) };
    ensure_eq!(claim, wanted, "the claim");
    ensure_eq!(harness.ledger.claim_of(file(1)).await?, Some(wanted.clone()), "the claim of the file");
    ensure_eq!(harness.ledger.claim_of(file(2)).await?, None, "the claim of another file");
    let harness = harness.reopened().await;
    ensure_eq!(harness.ledger.claims().await?, vec![wanted], "all claims, opened again");
    Ok(())
}

pub(super) async fn a_claim_is_exclusive(harness: Harness) -> Verdict {
    let harness = with_a_file(harness).await?;
    harness.claim(file(1)).await?;
    ensure_refused!(harness.claim(file(1)).await, LedgerError::Busy, "a second claim");
    let other = harness.another().await.claim(file(1), Purpose::Purge, &node("n2"), at(2)).await;
    ensure_refused!(other, LedgerError::Busy, "another node's claim");
    Ok(())
}

pub(super) async fn claims_of_different_files_are_free(harness: Harness) -> Verdict {
    let harness = with_a_file(harness).await?;
    harness.put(&attributes(2, 1)).await?;
    let (one, two) = (harness.claim(file(1)).await?, harness.claim(file(2)).await?);
    ensure!(one.id != two.id, "two claims have one number");
    ensure_eq!(harness.ledger.claims().await?.len(), 2, "open claims");
    Ok(())
}

pub(super) async fn a_claim_needs_a_row(harness: Harness) -> Verdict {
    let harness = harness.started().await?;
    ensure_refused!(harness.claim(file(1)).await, LedgerError::NotFound, "a claim on nothing");
    Ok(())
}

pub(super) async fn a_purged_file_is_not_claimed(harness: Harness) -> Verdict {
    let harness = with_a_file(harness).await?;
    harness.take(dead(&tombstone(1, None, 2))).await?;
    ensure_refused!(harness.claim(file(1)).await, LedgerError::Tombstoned, "a claim on a purged file");
    Ok(())
}

pub(super) async fn a_closed_claim_frees_the_file(harness: Harness) -> Verdict {
    let harness = with_a_file(harness).await?;
    let first = harness.claim(file(1)).await?;
    harness.release(first.id).await?;
    ensure_eq!(harness.ledger.claim_of(file(1)).await?, None, "a claim that was closed");
    let second = harness.claim(file(1)).await?;
    ensure!(second.id != first.id, "a claim's number was given twice");
    Ok(())
}

pub(super) async fn an_old_claim_never_closes_a_new_one(harness: Harness) -> Verdict {
    let harness = with_a_file(harness).await?;
    let first = harness.claim(file(1)).await?;
    harness.release(first.id).await?;
    let harness = harness.reopened().await;
    let second = harness.claim(file(1)).await?;
    harness.release(first.id).await?;
    ensure_eq!(harness.ledger.claim_of(file(1)).await?, Some(second), "the claim that is open");
    Ok(())
}

pub(super) async fn versions_and_revisions_rise_even_after_a_release_without_a_record(harness: Harness) -> Verdict {
    let harness = with_a_file(harness).await?;
    let mut last = (1, 1);
    for _ in 0..4 {
        let claim = harness.claim(file(1)).await?;
        let numbers = (claim.version, claim.revision);
        ensure!(numbers.0 > last.0 && numbers.1 > last.1, "{numbers:?} was given after {last:?}");
        last = numbers;
        harness.release(claim.id).await?;
    }
    Ok(())
}

pub(super) async fn a_version_is_above_all_that_was_recorded(harness: Harness) -> Verdict {
    let harness = with_a_file(harness).await?;
    harness.put(&attributes(1, 50)).await?;
    harness.put(&attributes(1, 20)).await?;
    let claim = harness.claim(file(1)).await?;
    ensure!(claim.version > 50, "version {} was given where 50 was recorded", claim.version);
    Ok(())
}

pub(super) async fn a_revision_number_is_above_all_that_were_recorded(harness: Harness) -> Verdict {
    let harness = with_a_file(harness).await?;
    harness.put(&attributes(1, 50)).await?;
    harness.put(&revised(&attributes(1, 20), 30)).await?;
    let claim = harness.claim(file(1)).await?;
    ensure!(claim.revision > 30, "revision {} was given where 30 was recorded", claim.revision);
    ensure!(claim.version > 50, "version {} was given where 50 was recorded", claim.version);
    Ok(())
}

pub(super) async fn numbers_outlive_a_reopening(harness: Harness) -> Verdict {
    let harness = with_a_file(harness).await?;
    let first = harness.claim(file(1)).await?;
    harness.release(first.id).await?;
    let harness = harness.reopened().await;
    let second = harness.claim(file(1)).await?;
    ensure!(second.version > first.version, "version {} was given again", second.version);
    ensure!(second.revision > first.revision, "revision {} was given again", second.revision);
    Ok(())
}

pub(super) async fn numbers_outlive_a_forgotten_row(harness: Harness) -> Verdict {
    let harness = with_a_file(harness).await?;
    harness.put(&revised(&attributes(1, 40), 6)).await?;
    let first = harness.claim(file(1)).await?;
    harness.release(first.id).await?;
    harness.take(Entry::Forget(file(1))).await?;
    harness.put(&attributes(1, 1)).await?;
    let second = harness.claim(file(1)).await?;
    ensure!(second.version > first.version, "version {} was given again", second.version);
    ensure!(second.revision > first.revision, "revision {} was given again", second.revision);
    Ok(())
}

pub(super) async fn a_hardened_claim_stays_a_purge(harness: Harness) -> Verdict {
    let harness = with_a_file(harness).await?;
    let claim = harness.claim(file(1)).await?;
    harness.ledger.harden(claim.id, Purpose::Purge).await?;
    harness.ledger.harden(claim.id, Purpose::Purge).await?;
    harness.ledger.unreserve_all(&node("n1")).await?;
    let harness = harness.reopened().await;
    let wanted = Claim { purpose: Purpose::Purge, ..claim };
    ensure_eq!(harness.ledger.claims().await?, vec![wanted], "the claim, opened again");
    Ok(())
}

pub(super) async fn a_claim_that_is_a_revisions_purge_says_which_and_stays_it(harness: Harness) -> Verdict {
    let harness = with_a_file(harness).await?;
    let (claim, purge) = (harness.claim(file(1)).await?, Purpose::PurgeRevision(7));
    harness.ledger.harden(claim.id, purge).await?;
    harness.ledger.harden(claim.id, purge).await?;
    for other in [Purpose::Purge, Purpose::PurgeRevision(8)] {
        ensure_refused!(harness.ledger.harden(claim.id, other).await, LedgerError::Busy, "hardening it as {other:?}");
    }
    harness.put(&attributes(2, 1)).await?;
    let other = harness.ledger.claim(file(2), Purpose::PurgeRevision(9), &node("n1"), at(1)).await?;
    let taken = harness.ledger.take_over(claim.id, &claim.node, &node("n2")).await?;
    let harness = harness.reopened().await;
    ensure_eq!(taken, Claim { purpose: purge, node: node("n2"), ..claim }, "the claim, taken over");
    ensure_eq!(harness.ledger.claims().await?, vec![taken, other], "the claims, opened again");
    Ok(())
}

pub(super) async fn what_is_not_claimed_is_not_hardened(harness: Harness) -> Verdict {
    let harness = with_a_file(harness).await?;
    let claim = harness.claim(file(1)).await?;
    harness.release(claim.id).await?;
    ensure_refused!(
        harness.ledger.harden(claim.id, Purpose::Purge).await,
        LedgerError::NotFound,
        "hardening a closed claim"
    );
    Ok(())
}

pub(super) async fn a_dead_nodes_claim_is_taken_over_once(harness: Harness) -> Verdict {
    let harness = with_a_file(harness).await?;
    let claim = harness.claim(file(1)).await?;
    let (dead, heir, late) = (claim.node.clone(), node("n2"), node("n3"));
    let taken = harness.ledger.take_over(claim.id, &dead, &heir).await?;
    ensure_eq!(taken, Claim { node: heir, ..claim.clone() }, "the claim of the one who took it over");
    ensure_refused!(harness.ledger.take_over(claim.id, &dead, &late).await, LedgerError::Busy, "taking it over late");
    let harness = harness.reopened().await;
    ensure_eq!(harness.ledger.claim_of(file(1)).await?, Some(taken), "the claim, opened again");
    Ok(())
}

pub(super) async fn what_is_not_claimed_is_not_taken_over(harness: Harness) -> Verdict {
    let harness = with_a_file(harness).await?;
    let claim = harness.claim(file(1)).await?;
    harness.release(claim.id).await?;
    let taken = harness.ledger.take_over(claim.id, &claim.node, &node("n2")).await;
    ensure_refused!(taken, LedgerError::NotFound, "taking over a closed claim");
    Ok(())
}

pub(super) async fn of_16_racing_claims_exactly_one_wins(harness: Harness) -> Verdict {
    let harness = with_a_file(harness).await?;
    let other = harness.another().await;
    one(&other, entry(&attributes(2, EPOCH), &[]), None).await?;
    let me = node("n1");
    let racers = (0..16).map(|number| {
        let ledger = if number % 2 == 0 { &harness.ledger } else { &other };
        ledger.claim(file(1), Purpose::Change, &me, at(1))
    });
    let won = join_all(racers).await;
    ensure_eq!(won.iter().filter(|result| result.is_ok()).count(), 1, "winners");
    let busy = won.iter().filter(|result| matches!(result, Err(LedgerError::Busy))).count();
    ensure_eq!(busy, 15, "those that were told to wait: {won:?}");
    Ok(())
}
