//! Intents: durable before they count, in one pair of hands at a time, and settled with what they are of.

use super::harness::{
    Harness, Verdict, at, attributes, dead, entry, file, key, made_by, node, one_of, store, tombstone,
};
use crate::{
    Attributes, Sha256,
    ledger::{
        Claim, FileRow, Hold, Intent, IntentState, LedgerError, Made, Purpose, Record, Recorded, Reservation, Result,
        Upload,
    },
};
use futures_util::future::join_all;
use std::time::Duration;

/// An upload of file `number` whose content is still on its way.
fn upload(number: u128) -> Upload {
    Upload {
        store: store(2),
        key: key(number, 1),
        idempotency: None,
        revision: None,
        claim: None,
        lease: Duration::from_secs(90),
        until: at(90),
    }
}

fn reserved(number: u128, name: &str) -> Upload {
    Upload { idempotency: Some(Sha256::of(name.as_bytes())), ..upload(number) }
}

impl Harness {
    async fn open(&self, upload: &Upload) -> Result<Intent> {
        self.ledger.open_intent(&node("n1"), upload).await
    }

    async fn settle(&self, attributes: &Attributes, hold: Hold) -> Result<Recorded> {
        let record = Record { entry: Some(entry(attributes, &[])), settles: Some(hold), ..Record::default() };
        one_of(&self.ledger, record).await
    }
}

pub(super) async fn an_intent_says_what_was_told_and_is_found(harness: Harness) -> Verdict {
    let harness = harness.started().await?;
    let intent = harness.open(&reserved(1, "k")).await?;
    let wanted = Intent {
        id: intent.id,
        fence: intent.fence,
        state: IntentState::Pending,
        node: node("n1"),
        upload: reserved(1, "k"),
    };
    ensure_eq!(intent, wanted, "the intent");
    ensure_eq!(harness.another().await.intents().await?, vec![wanted.clone()], "all intents, elsewhere");
    let harness = harness.reopened().await;
    ensure_eq!(harness.ledger.intents().await?, vec![wanted], "all intents, opened again");
    Ok(())
}

pub(super) async fn a_number_of_an_intent_is_never_given_again(harness: Harness) -> Verdict {
    let harness = harness.started().await?;
    let first = harness.open(&upload(1)).await?;
    harness.ledger.close_intent(first.hold()).await?;
    let harness = harness.reopened().await;
    let second = harness.open(&upload(2)).await?;
    ensure!(second.id > first.id, "number {} was given after {}", second.id, first.id);
    Ok(())
}

pub(super) async fn a_renewal_says_what_is_known_by_now(harness: Harness) -> Verdict {
    let harness = harness.started().await?;
    let intent = harness.open(&upload(1)).await?;
    let known = Upload { revision: Some((file(1), 4)), claim: Some(7), until: at(180), ..upload(1) };
    harness.ledger.renew_intent(intent.hold(), &known).await?;
    let harness = harness.reopened().await;
    ensure_eq!(harness.ledger.intents().await?, vec![Intent { upload: known, ..intent }], "the renewed intent");
    Ok(())
}

pub(super) async fn an_intent_changes_hands_once_for_each_fence(harness: Harness) -> Verdict {
    let harness = harness.started().await?;
    let intent = harness.open(&upload(1)).await?;
    let taken = harness.ledger.fence_intent(intent.hold(), &node("n2")).await?;
    ensure!(taken.fence > intent.fence, "fence {} follows {}", taken.fence, intent.fence);
    let wanted = Intent { fence: taken.fence, state: IntentState::Recovering, node: node("n2"), ..intent.clone() };
    ensure_eq!(taken, wanted, "the intent in other hands");
    let late = harness.ledger.fence_intent(intent.hold(), &node("n3")).await;
    ensure_refused!(late, LedgerError::Superseded, "taking it over as it was");
    let again = harness.ledger.fence_intent(taken.hold(), &node("n3")).await?;
    ensure_eq!((again.state, &again.node), (IntentState::Recovering, &node("n3")), "the intent, taken over again");
    ensure_eq!(harness.reopened().await.ledger.intents().await?, vec![again], "the intent, opened again");
    Ok(())
}

pub(super) async fn who_was_fenced_changes_nothing_any_more(harness: Harness) -> Verdict {
    let harness = harness.started().await?;
    let intent = harness.open(&upload(1)).await?;
    let taken = harness.ledger.fence_intent(intent.hold(), &node("n2")).await?;
    let refused = [
        harness.ledger.renew_intent(intent.hold(), &upload(3)).await,
        harness.ledger.fail_intent(intent.hold()).await,
        harness.ledger.close_intent(intent.hold()).await,
    ];
    for result in refused {
        ensure_refused!(result, LedgerError::Superseded, "a change by who was fenced");
    }
    ensure_refused!(harness.ledger.renew_intent(taken.hold(), &upload(3)).await, LedgerError::Superseded, "a renewal");
    ensure_eq!(harness.ledger.intents().await?, vec![taken], "the intent");
    Ok(())
}

pub(super) async fn a_record_settles_its_intent(harness: Harness) -> Verdict {
    let harness = harness.started().await?;
    let (first, other) = (harness.open(&upload(1)).await?, harness.open(&upload(2)).await?);
    ensure_eq!(harness.settle(&attributes(1, 1), first.hold()).await?, Recorded::Taken, "the record");
    ensure_eq!(harness.ledger.intents().await?, vec![other], "what is left");
    Ok(())
}

pub(super) async fn a_record_of_who_was_fenced_leaves_no_trace(harness: Harness) -> Verdict {
    let harness = harness.started().await?;
    harness.put(&attributes(2, 1)).await?;
    let claim = harness.claim(file(2)).await?;
    let intent = harness.open(&upload(1)).await?;
    let taken = harness.ledger.fence_intent(intent.hold(), &node("n2")).await?;
    let fenced =
        Record { entry: Some(entry(&attributes(1, 1), &[])), closes: Some(claim.id), settles: Some(intent.hold()) };
    let beside = Record { entry: Some(entry(&attributes(3, 1), &[])), ..Record::default() };
    let mut results = harness.ledger.record(vec![fenced, beside]).await;
    ensure_eq!(results.pop().expect("two results")?, Recorded::Taken, "the member beside it");
    ensure_refused!(results.pop().expect("two results"), LedgerError::Superseded, "the record of who was fenced");
    ensure_eq!(harness.ledger.file(file(1)).await?, None::<FileRow>, "the row");
    ensure_eq!(harness.ledger.claims().await?, vec![claim], "the claims");
    ensure_eq!(harness.ledger.intents().await?, vec![taken], "the intents");
    Ok(())
}

pub(super) async fn a_record_of_a_closed_intent_leaves_no_trace(harness: Harness) -> Verdict {
    let harness = harness.started().await?;
    let intent = harness.open(&upload(1)).await?;
    harness.ledger.close_intent(intent.hold()).await?;
    let late = harness.settle(&attributes(1, 1), intent.hold()).await;
    ensure_refused!(late, LedgerError::Superseded, "a record of a closed intent");
    ensure_eq!(harness.ledger.file(file(1)).await?, None::<FileRow>, "the row");
    Ok(())
}

pub(super) async fn what_a_tombstone_covers_keeps_its_intent(harness: Harness) -> Verdict {
    let harness = harness.started().await?;
    let intent = harness.open(&upload(1)).await?;
    harness.take(dead(&tombstone(1, None, 5))).await?;
    ensure_eq!(harness.settle(&attributes(1, 1), intent.hold()).await?, Recorded::Tombstoned, "the record");
    ensure_eq!(harness.ledger.intents().await?, vec![intent], "the intents");
    Ok(())
}

pub(super) async fn an_idempotency_key_goes_along_with_its_intent(harness: Harness) -> Verdict {
    let harness = harness.started().await?;
    let running = |on| Reservation::Running { node: node(on) };
    for name in ["k", "l"] {
        harness
            .ledger
            .reserve(Sha256::of(name.as_bytes()), &node(if name == "k" { "n1" } else { "n9" }), at(0))
            .await?;
    }
    let (intent, other) = (harness.open(&reserved(1, "k")).await?, harness.open(&reserved(2, "l")).await?);
    harness.ledger.fence_intent(intent.hold(), &node("n2")).await?;
    harness.ledger.fence_intent(other.hold(), &node("n2")).await?;
    harness.ledger.unreserve_all(&node("n1")).await?;
    let (k, l) = (Sha256::of(b"k"), Sha256::of(b"l"));
    ensure_eq!(harness.ledger.reserve(k, &node("n3"), at(0)).await?, running("n2"), "its own key");
    ensure_eq!(harness.ledger.reserve(l, &node("n3"), at(0)).await?, running("n9"), "a key that another runs with");
    Ok(())
}

pub(super) async fn an_upload_that_failed_frees_what_it_held(harness: Harness) -> Verdict {
    let harness = harness.started().await?;
    harness.put(&attributes(1, 1)).await?;
    let claim = harness.claim(file(1)).await?;
    let k = Sha256::of(b"k");
    harness.ledger.reserve(k, &node("n1"), at(0)).await?;
    let known = Upload { revision: Some((file(1), 2)), claim: Some(claim.id), ..reserved(1, "k") };
    let intent = harness.open(&known).await?;
    harness.ledger.fail_intent(intent.hold()).await?;
    ensure_eq!(harness.ledger.claims().await?, vec![] as Vec<Claim>, "the claims");
    ensure_eq!(harness.ledger.reserve(k, &node("n1"), at(0)).await?, Reservation::Made, "its key, asked for again");
    // Both are another's from here on, whatever becomes of the intent.
    let next = harness.ledger.claim(file(1), Purpose::Change, &node("n1"), at(2)).await?;
    let failed = harness.ledger.fence_intent(intent.hold(), &node("n2")).await?;
    ensure_eq!(failed.state, IntentState::Failed, "its state, taken over");
    harness.ledger.fail_intent(failed.hold()).await?;
    ensure_eq!(harness.ledger.claims().await?, vec![next], "the claims of others");
    let running = Reservation::Running { node: node("n1") };
    ensure_eq!(harness.ledger.reserve(k, &node("n3"), at(0)).await?, running, "the key of another");
    Ok(())
}

pub(super) async fn what_is_done_stays_done_when_its_intent_fails(harness: Harness) -> Verdict {
    let harness = harness.started().await?;
    let by = made_by("k", 3);
    harness.put(&Attributes { created_by_key: Some(by.clone()), ..attributes(1, 1) }).await?;
    let intent = harness.open(&reserved(1, "k")).await?;
    let taken = harness.ledger.fence_intent(intent.hold(), &node("n2")).await?;
    harness.ledger.fail_intent(taken.hold()).await?;
    let done = Reservation::Done { request: by.request, status: by.status, made: Made::File(file(1)), at: by.at };
    ensure_eq!(harness.ledger.reserve(by.key, &node("n1"), at(0)).await?, done, "the key");
    Ok(())
}

pub(super) async fn of_16_racing_to_take_over_exactly_one_wins(harness: Harness) -> Verdict {
    let harness = harness.started().await?;
    let other = harness.another().await;
    let intent = harness.open(&upload(1)).await?;
    let heir = node("n2");
    let racers = (0..16).map(|number| {
        let ledger = if number % 2 == 0 { &harness.ledger } else { &other };
        ledger.fence_intent(intent.hold(), &heir)
    });
    let won = join_all(racers).await;
    ensure_eq!(won.iter().filter(|result| result.is_ok()).count(), 1, "winners");
    Ok(())
}
