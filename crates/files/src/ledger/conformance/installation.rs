//! Whose the ledger is, how new, and who may still write.

use super::harness::{EPOCH, Harness, Verdict, at, attributes, entry, file, identity, node, one, store};
use crate::{
    Sha256,
    ledger::{Identity, KnownStore, LedgerError, Purpose},
};

pub(super) async fn an_empty_ledger_belongs_to_no_installation_and_takes_no_change(harness: Harness) -> Verdict {
    ensure_eq!(harness.ledger.identity().await?, None, "the identity of an empty ledger");
    ensure_refused!(harness.ledger.raise_mark(&[]).await, LedgerError::Fenced(_), "raising a mark that isn't there");
    ensure_refused!(harness.put(&attributes(1, 1)).await, LedgerError::Fenced(_), "recording for nobody");
    ensure_eq!(harness.ledger.file(file(1)).await?, None, "what nobody recorded");
    Ok(())
}

pub(super) async fn the_identity_is_what_was_set(harness: Harness) -> Verdict {
    let wanted = identity(3, 9);
    harness.ledger.initialise(&wanted).await?;
    ensure_eq!(harness.ledger.identity().await?, Some(wanted.clone()), "the identity");
    let mut further = wanted.clone();
    further.stores.push(KnownStore {
        name: "b".into(),
        id: store(2),
        adopted: false,
        unread_since: Some(crate::Timestamp::from_millis(7)),
    });
    harness.ledger.initialise(&further).await?;
    let harness = harness.reopened().await;
    ensure_eq!(harness.ledger.identity().await?, Some(further), "the identity with a further store, opened again");
    Ok(())
}

pub(super) async fn it_belongs_to_one_installation_for_ever(harness: Harness) -> Verdict {
    let harness = harness.started().await?;
    let another = Identity { instance: uuid::Uuid::from_u128(43), ..identity(EPOCH + 1, 0) };
    for ledger in [harness.another().await, harness.ledger.clone()] {
        ensure_refused!(ledger.initialise(&another).await, LedgerError::Fenced(_), "another installation");
    }
    ensure_eq!(harness.ledger.identity().await?, Some(identity(EPOCH, 0)), "the identity after it");
    harness.put(&attributes(1, 1)).await?;
    Ok(())
}

pub(super) async fn the_epoch_never_falls(harness: Harness) -> Verdict {
    let harness = harness.started().await?;
    let lower = harness.ledger.initialise(&identity(EPOCH - 1, 100)).await;
    ensure_refused!(lower, LedgerError::Fenced(_), "a lower epoch");
    ensure_eq!(harness.ledger.identity().await?, Some(identity(EPOCH, 0)), "the identity after it");
    Ok(())
}

pub(super) async fn the_mark_never_falls(harness: Harness) -> Verdict {
    harness.ledger.initialise(&identity(EPOCH, 5)).await?;
    let lower = harness.ledger.initialise(&identity(EPOCH + 1, 4)).await;
    ensure_refused!(lower, LedgerError::Fenced(_), "a lower mark");
    ensure_eq!(harness.ledger.identity().await?, Some(identity(EPOCH, 5)), "the identity after it");
    Ok(())
}

pub(super) async fn the_mark_rises_by_one(harness: Harness) -> Verdict {
    let harness = harness.started().await?;
    for expected in 1..=3 {
        ensure_eq!(harness.ledger.raise_mark(&[]).await?, expected, "the mark");
    }
    let harness = harness.reopened().await;
    ensure_eq!(harness.ledger.raise_mark(&[]).await?, 4, "the mark, opened again");
    let now = harness.ledger.identity().await?;
    ensure_eq!(now.map(|identity| (identity.epoch, identity.mark)), Some((EPOCH, 4)), "the epoch and the mark");
    Ok(())
}

pub(super) async fn the_mark_on_a_store_is_the_last_that_was_for_it(harness: Harness) -> Verdict {
    let mut two = identity(EPOCH, 5);
    two.stores.push(KnownStore { name: "b".into(), id: store(2), adopted: true, unread_since: None });
    harness.ledger.initialise(&two).await?;
    let marks = |now: Option<Identity>| now.map(|now| (now.mark, [1, 2, 3].map(|number| now.mark_on(store(number)))));
    ensure_eq!(marks(harness.ledger.identity().await?), Some((5, [5, 5, 5])), "marks of which nothing is noted");
    harness.ledger.raise_mark(&[store(2)]).await?;
    ensure_eq!(marks(harness.ledger.identity().await?), Some((6, [5, 6, 6])), "marks, one of them raised");
    harness.ledger.raise_mark(&[]).await?;
    harness.ledger.raise_mark(&[store(1)]).await?;
    harness.ledger.raise_mark(&[]).await?;
    let harness = harness.reopened().await;
    let now = harness.ledger.identity().await?;
    ensure_eq!(marks(now.clone()), Some((9, [8, 6, 9])), "marks, opened again");
    // Whoever makes another store known keeps them.
    let mut further = now.unwrap_or(two);
    further.stores.push(KnownStore { name: "c".into(), id: store(3), adopted: true, unread_since: None });
    harness.ledger.initialise(&further).await?;
    harness.ledger.raise_mark(&[]).await?;
    ensure_eq!(marks(harness.ledger.identity().await?), Some((10, [8, 6, 9])), "marks, with a further store");
    Ok(())
}

pub(super) async fn a_handle_is_fenced_once_another_raised_the_epoch(harness: Harness) -> Verdict {
    let harness = harness.started().await?;
    harness.put(&attributes(1, 1)).await?;
    let claim = harness.claim(file(1)).await?;
    harness.another().await.initialise(&identity(EPOCH + 1, 0)).await?;
    let (ledger, me, key) = (&harness.ledger, node("n1"), Sha256::of(b"key"));
    ensure_refused!(ledger.raise_mark(&[]).await, LedgerError::Fenced(_), "raise_mark");
    let again = ledger.claim(file(1), Purpose::Change, &me, at(2)).await;
    ensure_refused!(again, LedgerError::Fenced(_), "claim");
    ensure_refused!(ledger.harden(claim.id, Purpose::Purge).await, LedgerError::Fenced(_), "harden");
    ensure_refused!(harness.put(&attributes(1, 2)).await, LedgerError::Fenced(_), "record");
    ensure_refused!(ledger.reserve(key, &me, at(0)).await, LedgerError::Fenced(_), "reserve");
    ensure_refused!(ledger.unreserve(key, &me).await, LedgerError::Fenced(_), "unreserve");
    ensure_refused!(ledger.unreserve_all(&me).await, LedgerError::Fenced(_), "unreserve_all");
    ensure!(ledger.file(file(1)).await?.is_some(), "a fenced handle may still read");
    Ok(())
}

pub(super) async fn a_fenced_change_leaves_no_trace(harness: Harness) -> Verdict {
    let harness = harness.started().await?;
    harness.put(&attributes(1, 1)).await?;
    let other = harness.another().await;
    other.initialise(&identity(EPOCH + 1, 0)).await?;
    for fenced in [harness.put(&attributes(1, 2)).await, harness.put(&attributes(2, 1)).await] {
        ensure_refused!(fenced, LedgerError::Fenced(_), "record");
    }
    let row = other.file(file(1)).await?.map(|row| row.attributes.version);
    ensure_eq!(row, Some(1), "the version of a file that a fenced handle changed");
    ensure_eq!(other.file(file(2)).await?, None, "a file that a fenced handle made");
    Ok(())
}

pub(super) async fn asking_again_does_not_lift_a_fence(harness: Harness) -> Verdict {
    let harness = harness.started().await?;
    harness.another().await.initialise(&identity(EPOCH + 1, 0)).await?;
    ensure_eq!(harness.ledger.identity().await?.map(|now| now.epoch), Some(EPOCH + 1), "the epoch");
    ensure_refused!(harness.put(&attributes(1, 1)).await, LedgerError::Fenced(_), "record");
    Ok(())
}

pub(super) async fn the_handle_that_raised_the_epoch_goes_on(harness: Harness) -> Verdict {
    let harness = harness.started().await?;
    harness.ledger.initialise(&identity(EPOCH + 1, 0)).await?;
    harness.put(&attributes(1, 1)).await?;
    let other = harness.another().await;
    one(&other, entry(&attributes(2, 1), &[]), None).await?;
    ensure!(harness.ledger.file(file(2)).await?.is_some(), "what a handle of the new epoch recorded");
    Ok(())
}
