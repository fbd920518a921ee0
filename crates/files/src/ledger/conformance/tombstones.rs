//! Tombstones: absolute.

use super::harness::{EPOCH, Harness, Verdict, attributes, copy, dead, entry, file, revised, tombstone};
use crate::{
    Attributes, FileId,
    ledger::{CopyState, Entry, FileQuery, Recorded},
};

pub(super) async fn a_tombstone_takes_the_rows_and_stays(harness: Harness) -> Verdict {
    let harness = harness.started().await?;
    harness.take(entry(&attributes(1, 1), &[copy(1, CopyState::Verified)])).await?;
    harness.put(&revised(&attributes(1, 2), 2)).await?;
    ensure_eq!(harness.take(dead(&tombstone(1, None, 3))).await?, Recorded::Taken, "the tombstone");
    ensure_eq!(harness.ledger.file(file(1)).await?, None, "the file");
    ensure_eq!(harness.ledger.revisions(file(1)).await?, vec![], "its revisions");
    ensure_eq!(harness.listed(FileQuery::default()).await?, vec![], "the list");
    ensure_eq!(harness.ledger.tombstone(file(1), None).await?, Some(tombstone(1, None, 3)), "the tombstone");
    ensure_eq!(harness.ledger.tombstone(file(1), Some(1)).await?, None, "a tombstone of one revision");
    Ok(())
}

pub(super) async fn whatever_comes_after_a_tombstone_is_garbage(harness: Harness) -> Verdict {
    let harness = harness.started().await?;
    harness.put(&attributes(1, 1)).await?;
    harness.take(dead(&tombstone(1, None, 3))).await?;
    let harness = harness.reopened().await;
    let late = [attributes(1, 2), attributes(1, 900), Attributes { epoch: EPOCH + 5, ..attributes(1, 1) }];
    for late in late {
        ensure_eq!(harness.put(&late).await?, Recorded::Tombstoned, "attributes of version {}", late.version);
    }
    let copies = vec![copy(1, CopyState::Verified)];
    let late = harness.take(Entry::Copies { file: file(1), revision: 1, copies }).await?;
    ensure_eq!(late, Recorded::Tombstoned, "copies");
    harness.take(Entry::Forget(file(1))).await?;
    ensure_eq!(harness.put(&attributes(1, 2)).await?, Recorded::Tombstoned, "attributes after the rows were forgotten");
    ensure_eq!(harness.ledger.file(file(1)).await?, None, "the file");
    ensure_eq!(harness.ledger.revisions(file(1)).await?, vec![], "its revisions");
    Ok(())
}

pub(super) async fn a_revisions_tombstone_takes_only_that_revision(harness: Harness) -> Verdict {
    let harness = harness.started().await?;
    harness.take(entry(&attributes(1, 1), &[copy(1, CopyState::Verified)])).await?;
    harness.put(&revised(&attributes(1, 2), 2)).await?;
    harness.put(&attributes(2, 1)).await?;
    ensure_eq!(harness.take(dead(&tombstone(1, Some(1), 3))).await?, Recorded::Taken, "the tombstone");
    for again in [attributes(1, 1), attributes(1, 90)] {
        ensure_eq!(harness.put(&again).await?, Recorded::Tombstoned, "attributes of the purged revision");
    }
    let numbers: Vec<_> = harness.ledger.revisions(file(1)).await?.iter().map(|row| row.revision).collect();
    ensure_eq!(numbers, vec![2], "the revisions that are left");
    let row = harness.ledger.file(file(1)).await?.map(|row| row.attributes.version);
    ensure_eq!(row, Some(2), "the file's version");
    ensure_eq!(harness.ledger.tombstone(file(1), None).await?, None, "a tombstone of the whole file");
    ensure_eq!(harness.put(&revised(&attributes(1, 4), 3)).await?, Recorded::Taken, "a further revision");
    ensure_eq!(harness.ledger.revisions(file(2)).await?.len(), 1, "revisions of another file");
    Ok(())
}

pub(super) async fn a_revisions_tombstone_counts_as_a_number_given(harness: Harness) -> Verdict {
    let harness = harness.started().await?;
    harness.take(dead(&tombstone(1, Some(8), 30))).await?;
    harness.put(&attributes(1, 1)).await?;
    let claim = harness.claim(file(1)).await?;
    ensure!(claim.version > 30, "version {} was given where a tombstone has 30", claim.version);
    ensure!(claim.revision > 8, "revision {} was given where a tombstone has 8", claim.revision);
    Ok(())
}

pub(super) async fn of_two_tombstones_the_higher_stays(harness: Harness) -> Verdict {
    let harness = harness.started().await?;
    for (number, order) in [(1, [4, 6]), (2, [6, 4])] {
        for version in order {
            harness.take(dead(&tombstone(number, None, version))).await?;
        }
        let stayed = harness.ledger.tombstone(file(number), None).await?.map(|tombstone| tombstone.version);
        ensure_eq!(stayed, Some(6), "the version of the tombstone, found in the order {order:?}");
    }
    Ok(())
}

pub(super) async fn a_tombstone_needs_no_row(harness: Harness) -> Verdict {
    let harness = harness.started().await?;
    ensure_eq!(
        harness.take(dead(&tombstone(1, None, 3))).await?,
        Recorded::Taken,
        "a tombstone of a file nobody knows"
    );
    ensure_eq!(harness.put(&attributes(1, 1)).await?, Recorded::Tombstoned, "the file, found later");
    Ok(())
}

pub(super) async fn tombstones_come_in_pages(harness: Harness) -> Verdict {
    let harness = harness.started().await?;
    let places = [(3, Some(2)), (1, None), (3, None), (2, Some(10)), (3, Some(1)), (2, Some(9))];
    for (number, revision) in places {
        harness.take(dead(&tombstone(number, revision, 1))).await?;
    }
    let mut seen: Vec<(FileId, Option<u64>)> = Vec::new();
    loop {
        let page = harness.ledger.tombstones(seen.last().copied(), 2).await?;
        ensure!(page.len() <= 2, "a page of {} where 2 were asked for", page.len());
        if page.is_empty() {
            break;
        }
        seen.extend(page.iter().map(|tombstone| (tombstone.id, tombstone.revision)));
    }
    let mut wanted = places.map(|(number, revision)| (file(number), revision));
    wanted.sort();
    ensure_eq!(seen, wanted.to_vec(), "all pages");
    Ok(())
}
