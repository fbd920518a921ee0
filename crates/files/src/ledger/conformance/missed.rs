//! What stores have missed.

use super::harness::{EPOCH, Harness, Verdict, dead, file, store, tombstone, user};
use crate::{
    BucketId, UserId,
    ledger::{Entry, Missed, Record, RecordId},
};
use uuid::Uuid;

fn missed(of: u128, record: RecordId, version: u64) -> Missed {
    Missed { store: store(of), record, epoch: EPOCH, version }
}

fn anna() -> RecordId {
    RecordId::User(UserId(Uuid::from_u128(1)))
}

pub(super) async fn what_a_store_missed_is_told_until_it_was_carried(harness: Harness) -> Verdict {
    let harness = harness.started().await?;
    let gone = missed(1, RecordId::Tombstone(file(1), None), 3);
    let group = [dead(&tombstone(1, None, 3)), Entry::Missed(gone)];
    let group = group.map(Record::from);
    for result in harness.ledger.record(group.to_vec()).await {
        result?;
    }
    ensure_eq!(harness.ledger.missed(store(1), None, 9).await?, vec![gone], "of the store");
    ensure_eq!(harness.ledger.missed(store(2), None, 9).await?, vec![], "of another store");
    harness.take(Entry::Carried(missed(2, gone.record, 3))).await?;
    harness.take(Entry::Carried(missed(1, anna(), 3))).await?;
    ensure_eq!(
        harness.ledger.missed(store(1), None, 9).await?,
        vec![gone],
        "carried to another, and another one carried"
    );
    harness.take(Entry::Carried(gone)).await?;
    ensure_eq!(harness.ledger.missed(store(1), None, 9).await?, vec![], "carried");
    harness.take(Entry::Carried(gone)).await?;
    harness.take(Entry::Missed(gone)).await?;
    ensure_eq!(harness.ledger.missed(store(1), None, 9).await?, vec![gone], "missed again");
    Ok(())
}

pub(super) async fn what_was_missed_since_is_not_forgotten_with_what_was_carried(harness: Harness) -> Verdict {
    let harness = harness.started().await?;
    harness.take(Entry::User(Box::new(user(1, "anna", 2)))).await?;
    for version in [2, 5, 4] {
        harness.take(Entry::Missed(missed(1, anna(), version))).await?;
    }
    ensure_eq!(harness.ledger.missed(store(1), None, 9).await?, vec![missed(1, anna(), 5)], "the highest");
    harness.take(Entry::Carried(missed(1, anna(), 4))).await?;
    ensure_eq!(harness.ledger.missed(store(1), None, 9).await?, vec![missed(1, anna(), 5)], "an older one was carried");
    harness.take(Entry::Missed(Missed { epoch: EPOCH + 1, ..missed(1, anna(), 1) })).await?;
    harness.take(Entry::Carried(missed(1, anna(), 9))).await?;
    ensure_eq!(harness.ledger.missed(store(1), None, 9).await?.len(), 1, "one of a later epoch");
    let group =
        [Entry::Carried(Missed { epoch: EPOCH + 1, ..missed(1, anna(), 1) }), Entry::Missed(missed(1, anna(), 1))];
    let group = group.map(Record::from);
    for result in harness.ledger.record(group.to_vec()).await {
        result?;
    }
    ensure_eq!(
        harness.ledger.missed(store(1), None, 9).await?,
        vec![missed(1, anna(), 1)],
        "in the order of the group"
    );
    Ok(())
}

pub(super) async fn what_was_missed_comes_in_pages_of_its_store(harness: Harness) -> Verdict {
    let harness = harness.started().await?;
    let records = [
        RecordId::Tombstone(file(1), None),
        RecordId::Tombstone(file(1), Some(2)),
        RecordId::Tombstone(file(1), Some(300)),
        RecordId::Tombstone(file(2), None),
        anna(),
        RecordId::User(UserId(Uuid::from_u128(2))),
        RecordId::Bucket(BucketId(Uuid::from_u128(1))),
        RecordId::Clearing(file(1), None),
        RecordId::Clearing(file(1), Some(2)),
    ];
    for record in records.iter().rev() {
        harness.take(Entry::Missed(missed(1, *record, 1))).await?;
        harness.take(Entry::Missed(missed(2, *record, 1))).await?;
    }
    let (mut told, mut after) = (vec![], None);
    loop {
        let page = harness.ledger.missed(store(1), after, 2).await?;
        ensure!(page.len() <= 2, "a page of {}", page.len());
        let Some(last) = page.last() else { break };
        after = Some(last.record);
        told.extend(page.into_iter().map(|missed| missed.record));
    }
    ensure_eq!(told, records.to_vec(), "all pages");
    let clearings = harness.ledger.missed(store(1), Some(RecordId::BEFORE_CLEARINGS), 9).await?;
    ensure!(clearings.iter().map(|missed| missed.record).eq(records[7..].iter().copied()), "{clearings:?}");
    Ok(())
}

pub(super) async fn what_was_missed_survives_a_reopening(harness: Harness) -> Verdict {
    let harness = harness.started().await?;
    harness.take(Entry::Missed(missed(1, anna(), 7))).await?;
    let harness = harness.reopened().await;
    ensure_eq!(harness.ledger.missed(store(1), None, 9).await?, vec![missed(1, anna(), 7)], "what was missed");
    Ok(())
}
