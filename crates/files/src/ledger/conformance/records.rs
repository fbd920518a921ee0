//! Records: who wins, what comes with it, and groups.

use super::{
    Broken,
    harness::{
        EPOCH, Harness, Verdict, attributes, copy, dead, entry, file, identity, key, made_by, node, one, revised,
        tombstone, user,
    },
};
use crate::{
    Attributes,
    ledger::{
        CopyRow, CopyState, Entry, FileRow, Ledger, LedgerError, MemoryLedger, PlacedQuery, Record, Recorded,
        RevisionRow,
    },
};
use std::sync::Arc;

async fn row(harness: &Harness, number: u128) -> Result<FileRow, Broken> {
    harness.ledger.file(file(number)).await?.ok_or_else(|| Broken::new(format!("file {number} has no row")))
}

async fn revision(harness: &Harness, number: u128, revision: u64) -> Result<RevisionRow, Broken> {
    let row = harness.ledger.revision(file(number), revision).await?;
    row.ok_or_else(|| Broken::new(format!("file {number} has no revision {revision}")))
}

fn member(entry: Entry) -> Record {
    entry.into()
}

pub(super) async fn a_first_record_makes_the_row_and_its_revision(harness: Harness) -> Verdict {
    let harness = harness.started().await?;
    let (first, copies) = (attributes(1, 1), [copy(1, CopyState::Verified), copy(2, CopyState::Pending)]);
    ensure_eq!(harness.take(entry(&first, &copies)).await?, Recorded::Taken, "the record");
    let wanted = FileRow { attributes: first.clone(), copies: copies.to_vec() };
    ensure_eq!(row(&harness, 1).await?, wanted, "the row");
    let wanted = RevisionRow { copies: copies.to_vec(), ..RevisionRow::of(&first) };
    ensure_eq!(revision(&harness, 1, 1).await?, wanted, "the revision");
    Ok(())
}

pub(super) async fn attributes_come_back_whole(harness: Harness) -> Verdict {
    let harness = harness.started().await?;
    let mut all = attributes(u128::MAX - 1, 3);
    all.name = "Отчёт «100 %»_\u{10ffff}.pdf".into();
    all.tags = vec!["b".into(), "a".into(), "a b".into(), "ß".into()];
    all.metadata.insert("nested".into(), serde_json::json!({"z": [1, null, -2.5], "a": "\u{1}"}));
    all.media = Some(serde_json::json!({"width": 4}));
    all.unknown.insert("later".into(), serde_json::json!([{"field": true}]));
    all.created_by_key = Some(made_by("k", 4));
    all.deleted_at = Some(super::harness::at(8));
    (all.crc64nvme, all.size) = (u64::MAX, 1 << 60);
    harness.put(&all).await?;
    let harness = harness.reopened().await;
    ensure_eq!(row(&harness, u128::MAX - 1).await?.attributes, all, "the attributes");
    ensure_eq!(revision(&harness, u128::MAX - 1, 1).await?, RevisionRow::of(&all), "the revision");
    Ok(())
}

pub(super) async fn a_higher_version_takes_the_place(harness: Harness) -> Verdict {
    let harness = harness.started().await?;
    harness.put(&attributes(1, 1)).await?;
    let higher = Attributes { name: "new.txt".into(), ..attributes(1, 2) };
    ensure_eq!(harness.put(&higher).await?, Recorded::Taken, "the record");
    ensure_eq!(row(&harness, 1).await?.attributes, higher, "the row");
    Ok(())
}

pub(super) async fn a_lower_version_is_outranked(harness: Harness) -> Verdict {
    let harness = harness.started().await?;
    let higher = attributes(1, 9);
    harness.put(&higher).await?;
    let lower = Attributes { name: "old.txt".into(), ..attributes(1, 8) };
    ensure_eq!(harness.put(&lower).await?, Recorded::Outranked, "the record");
    ensure_eq!(row(&harness, 1).await?.attributes, higher, "the row");
    Ok(())
}

pub(super) async fn a_higher_epoch_beats_a_higher_version(harness: Harness) -> Verdict {
    let harness = harness.started().await?;
    harness.put(&attributes(1, 9)).await?;
    let rebuilt = Attributes { epoch: EPOCH + 1, ..attributes(1, 2) };
    ensure_eq!(harness.put(&rebuilt).await?, Recorded::Taken, "a later epoch");
    ensure_eq!(harness.put(&attributes(1, 10)).await?, Recorded::Outranked, "an earlier epoch");
    ensure_eq!(row(&harness, 1).await?.attributes, rebuilt, "the row");
    Ok(())
}

pub(super) async fn of_equal_rank_the_smaller_hash_wins(harness: Harness) -> Verdict {
    let harness = harness.started().await?;
    for (number, reversed) in [(1, false), (2, true)] {
        let mut both = ["a", "b"].map(|name| Attributes { name: name.into(), ..attributes(number, 4) });
        both.sort_by_key(|attributes| attributes.rank().digest);
        let [smaller, larger] = &both;
        let order = if reversed { [larger, smaller] } else { [smaller, larger] };
        for attributes in order {
            let wanted = if attributes == larger && !reversed { Recorded::Outranked } else { Recorded::Taken };
            ensure_eq!(harness.put(attributes).await?, wanted, "a record of equal rank");
        }
        ensure_eq!(row(&harness, number).await?.attributes, *smaller, "the row");
    }
    Ok(())
}

pub(super) async fn the_same_attributes_again_are_taken(harness: Harness) -> Verdict {
    let harness = harness.started().await?;
    harness.take(entry(&attributes(1, 1), &[copy(1, CopyState::Verified)])).await?;
    let again = entry(&attributes(1, 1), &[copy(2, CopyState::Present)]);
    ensure_eq!(harness.take(again).await?, Recorded::Taken, "the same again");
    let copies = vec![copy(1, CopyState::Verified), copy(2, CopyState::Present)];
    ensure_eq!(row(&harness, 1).await?.copies, copies, "the copies");
    Ok(())
}

pub(super) async fn outranked_attributes_still_bring_their_revision_and_its_copies(harness: Harness) -> Verdict {
    let harness = harness.started().await?;
    harness.put(&revised(&attributes(1, 9), 2)).await?;
    let older = attributes(1, 3);
    let outranked = harness.take(entry(&older, &[copy(1, CopyState::Present)])).await?;
    ensure_eq!(outranked, Recorded::Outranked, "an older revision");
    let wanted = RevisionRow { copies: vec![copy(1, CopyState::Present)], ..RevisionRow::of(&older) };
    ensure_eq!(revision(&harness, 1, 1).await?, wanted, "the older revision");
    ensure_eq!(row(&harness, 1).await?.attributes.revision, 2, "the newest revision");
    Ok(())
}

pub(super) async fn a_revision_is_what_its_highest_rank_says(harness: Harness) -> Verdict {
    let harness = harness.started().await?;
    let (low, high) = (attributes(1, 3), Attributes { size: 99, ..attributes(1, 5) });
    harness.put(&revised(&attributes(1, 9), 2)).await?;
    harness.put(&high).await?;
    harness.put(&low).await?;
    ensure_eq!(revision(&harness, 1, 1).await?.size, 99, "the size that the higher version says");
    let higher = Attributes { size: 100, ..attributes(1, 6) };
    harness.put(&higher).await?;
    ensure_eq!(revision(&harness, 1, 1).await?.size, 100, "the size that a yet higher version says");
    Ok(())
}

pub(super) async fn copies_of_a_key_that_lost_are_not_the_revisions(harness: Harness) -> Verdict {
    let harness = harness.started().await?;
    let low = Attributes { key: key(1, 77), ..attributes(1, 3) };
    let high = attributes(1, 5);
    harness.take(entry(&low, &[copy(1, CopyState::Verified)])).await?;
    harness.take(entry(&high, &[copy(2, CopyState::Verified)])).await?;
    ensure_eq!(revision(&harness, 1, 1).await?.copies, vec![copy(2, CopyState::Verified)], "after the higher key came");
    harness.take(entry(&low, &[copy(1, CopyState::Verified)])).await?;
    let now = revision(&harness, 1, 1).await?;
    ensure_eq!(now.copies, vec![copy(2, CopyState::Verified)], "after the lower key came again");
    ensure_eq!(now.key, high.key, "the key");
    Ok(())
}

pub(super) async fn copies_are_set_by_store(harness: Harness) -> Verdict {
    let harness = harness.started().await?;
    let all = [CopyState::Pending, CopyState::Present, CopyState::Verified, CopyState::Dropping, CopyState::Lost];
    let copies: Vec<_> = all.into_iter().enumerate().map(|(number, state)| copy(number as u128, state)).collect();
    harness.take(entry(&attributes(1, 1), &copies)).await?;
    ensure_eq!(row(&harness, 1).await?.copies, copies, "copies in every state");
    let news = vec![copy(0, CopyState::Verified), copy(9, CopyState::Pending)];
    harness.take(Entry::Copies { file: file(1), revision: 1, copies: news.clone() }).await?;
    let wanted: Vec<_> = [&news[..1], &copies[1..], &news[1..]].concat();
    ensure_eq!(row(&harness, 1).await?.copies, wanted, "copies after some were set");
    harness.put(&attributes(1, 2)).await?;
    ensure_eq!(row(&harness, 1).await?.copies, wanted, "copies after a change that says none");
    Ok(())
}

pub(super) async fn copies_of_an_unknown_revision_are_left_alone(harness: Harness) -> Verdict {
    let harness = harness.started().await?;
    harness.put(&attributes(1, 1)).await?;
    for (number, revision) in [(1, 2), (2, 1)] {
        harness
            .take(Entry::Copies { file: file(number), revision, copies: vec![copy(1, CopyState::Verified)] })
            .await?;
        ensure_eq!(harness.ledger.revision(file(number), revision).await?, None, "a revision that nobody recorded");
    }
    harness.put(&revised(&attributes(1, 2), 2)).await?;
    ensure_eq!(row(&harness, 1).await?.copies, vec![], "copies set before their revision was known");
    Ok(())
}

pub(super) async fn a_pending_copy_takes_no_other_copys_place(harness: Harness) -> Verdict {
    let harness = harness.started().await?;
    let pending = [1, 2, 3, 4].map(|store| copy(store, CopyState::Pending));
    let known = [copy(1, CopyState::Verified), copy(2, CopyState::Present), copy(3, CopyState::Lost)];
    harness.take(entry(&attributes(1, 1), &known)).await?;
    harness.take(entry(&attributes(1, 1), &pending)).await?;
    let of_first = |copies: &[CopyRow]| Entry::Copies { file: file(1), revision: 1, copies: copies.to_vec() };
    harness.take(of_first(&pending)).await?;
    let wanted = [&known[..], &pending[3..]].concat();
    ensure_eq!(row(&harness, 1).await?.copies, wanted, "the copies");
    // Neither within one group.
    let records = vec![member(of_first(&[copy(4, CopyState::Verified)])), member(of_first(&pending))];
    for result in harness.ledger.record(records).await {
        result?;
    }
    ensure_eq!(row(&harness, 1).await?.copies[3], copy(4, CopyState::Verified), "the fourth copy");
    Ok(())
}

pub(super) async fn a_lost_copy_takes_any_place_but_that_of_one_that_is_being_dropped(harness: Harness) -> Verdict {
    let harness = harness.started().await?;
    let states = [CopyState::Verified, CopyState::Present, CopyState::Pending, CopyState::Dropping];
    let known: Vec<_> = (1..).zip(states).map(|(store, state)| copy(store, state)).collect();
    harness.take(entry(&attributes(1, 1), &known)).await?;
    let lost: Vec<_> = (1..=5).map(|store| copy(store, CopyState::Lost)).collect();
    harness.take(Entry::Copies { file: file(1), revision: 1, copies: lost.clone() }).await?;
    let wanted = [&lost[..3], &known[3..], &lost[4..]].concat();
    ensure_eq!(row(&harness, 1).await?.copies, wanted, "the copies");
    // Nor what was seen in the place of the loss, in one group.
    let of = |copy| member(Entry::Copies { file: file(1), revision: 1, copies: vec![copy] });
    let seen = |store| of(copy(store, CopyState::Present));
    harness.take(Entry::Copies { file: file(1), revision: 1, copies: vec![copy(1, CopyState::Verified)] }).await?;
    for result in harness.ledger.record(vec![of(lost[0].clone()), seen(1), of(lost[3].clone()), seen(4)]).await {
        result?;
    }
    let now = row(&harness, 1).await?.copies;
    ensure_eq!([&now[0], &now[3]], [&copy(1, CopyState::Present), &known[3]], "copies set in one group");
    // What was dropped is gone, and a loss is told of again.
    let gone =
        Entry::Unwanted { file: file(1), revision: 1, store: super::harness::store(4), state: CopyState::Dropping };
    harness.take(gone).await?;
    harness.take(Entry::Copies { file: file(1), revision: 1, copies: vec![lost[3].clone()] }).await?;
    ensure_eq!(row(&harness, 1).await?.copies[3], lost[3], "the fourth copy");
    Ok(())
}

pub(super) async fn a_copy_that_was_only_seen_takes_the_place_of_a_lost_one_alone(harness: Harness) -> Verdict {
    let harness = harness.started().await?;
    let behind = CopyRow { verified_at: Some(super::harness::at(5)), ..copy(3, CopyState::Present) };
    let known = [copy(1, CopyState::Verified), copy(2, CopyState::Pending), behind, copy(4, CopyState::Lost)];
    harness.take(entry(&attributes(1, 1), &known)).await?;
    let seen = [1, 2, 3, 4, 5].map(|store| copy(store, CopyState::Present));
    harness.take(entry(&attributes(1, 1), &seen)).await?;
    harness.take(Entry::Copies { file: file(1), revision: 1, copies: seen.to_vec() }).await?;
    ensure_eq!(row(&harness, 1).await?.copies, [&known[..3], &seen[3..]].concat(), "the copies");
    // What is known may have become known in the same group.
    let of = |copy| member(Entry::Copies { file: file(1), revision: 1, copies: vec![copy] });
    let group =
        vec![of(copy(1, CopyState::Lost)), of(seen[0].clone()), of(copy(5, CopyState::Verified)), of(seen[4].clone())];
    for result in harness.ledger.record(group).await {
        result?;
    }
    let now = row(&harness, 1).await?.copies;
    ensure_eq!([&now[0], &now[4]], [&seen[0], &copy(5, CopyState::Verified)], "copies set in one group");
    Ok(())
}

pub(super) async fn a_copy_that_is_behind_takes_the_place_of_a_readable_one_alone(harness: Harness) -> Verdict {
    let harness = harness.started().await?;
    let states = [CopyState::Verified, CopyState::Present, CopyState::Lost, CopyState::Pending, CopyState::Dropping];
    let known: Vec<_> = (1..).zip(states).map(|(store, state)| copy(store, state)).collect();
    harness.take(entry(&attributes(1, 1), &known)).await?;
    let behind = |store| CopyRow { verified_at: Some(super::harness::at(5)), ..copy(store, CopyState::Present) };
    let news = [1, 2, 3, 4, 5, 6].map(behind);
    harness.take(entry(&attributes(1, 2), &news)).await?;
    let wanted = [&news[..2], &known[2..], &news[5..]].concat();
    ensure_eq!(row(&harness, 1).await?.copies, wanted, "the copies");
    // A loss may have become known in the same group, or a copy that was pending be another's news.
    let of = |copy| member(Entry::Copies { file: file(1), revision: 1, copies: vec![copy] });
    let group = [copy(2, CopyState::Lost), behind(2), copy(6, CopyState::Verified), copy(6, CopyState::Pending)];
    for result in harness.ledger.record(group.map(of).into()).await {
        result?;
    }
    harness.take(of(behind(6)).entry.expect("a member has one")).await?;
    let now = row(&harness, 1).await?.copies;
    ensure_eq!([&now[1], &now[5]], [&copy(2, CopyState::Lost), &behind(6)], "copies set in one group");
    Ok(())
}

pub(super) async fn a_copy_that_is_not_wanted_goes_where_it_is_as_it_was(harness: Harness) -> Verdict {
    let harness = harness.started().await?;
    let known = [copy(1, CopyState::Verified), copy(2, CopyState::Pending), copy(3, CopyState::Lost)];
    harness.take(entry(&attributes(1, 1), &known)).await?;
    let unwanted = |number, store, state| Entry::Unwanted {
        file: file(number),
        revision: 1,
        store: super::harness::store(store),
        state,
    };
    for (store, state) in [(1, CopyState::Pending), (2, CopyState::Pending), (3, CopyState::Pending)] {
        ensure_eq!(harness.take(unwanted(1, store, state)).await?, Recorded::Taken, "store {store}");
    }
    ensure_eq!(harness.take(unwanted(2, 1, CopyState::Lost)).await?, Recorded::Taken, "of no file");
    ensure_eq!(row(&harness, 1).await?.copies, vec![known[0].clone(), known[2].clone()], "the copies");
    let again = Entry::Copies { file: file(1), revision: 1, copies: vec![copy(2, CopyState::Pending)] };
    let group = [unwanted(1, 3, CopyState::Lost), again].map(member);
    for result in harness.ledger.record(group.into()).await {
        result?;
    }
    ensure_eq!(row(&harness, 1).await?.copies, known[..2].to_vec(), "copies after a group");
    Ok(())
}

pub(super) async fn a_file_shows_the_copies_of_its_newest_revision(harness: Harness) -> Verdict {
    let harness = harness.started().await?;
    harness.take(entry(&attributes(1, 1), &[copy(1, CopyState::Verified)])).await?;
    harness.take(entry(&revised(&attributes(1, 2), 2), &[copy(2, CopyState::Present)])).await?;
    ensure_eq!(row(&harness, 1).await?.copies, vec![copy(2, CopyState::Present)], "copies of the newest");
    let listed = harness.ledger.files(&crate::ledger::FileQuery { limit: 9, ..Default::default() }).await?;
    ensure_eq!(listed, vec![row(&harness, 1).await?], "the list");
    ensure_eq!(revision(&harness, 1, 1).await?.copies, vec![copy(1, CopyState::Verified)], "copies of the first");
    Ok(())
}

pub(super) async fn a_record_closes_its_claim(harness: Harness) -> Verdict {
    let harness = harness.started().await?;
    harness.put(&attributes(1, 1)).await?;
    let claim = harness.claim(file(1)).await?;
    one(&harness.ledger, entry(&attributes(1, claim.version), &[]), Some(claim.id)).await?;
    ensure_eq!(harness.ledger.claims().await?, vec![], "open claims");
    ensure_eq!(row(&harness, 1).await?.attributes.version, claim.version, "the version");
    Ok(())
}

pub(super) async fn results_come_in_order(harness: Harness) -> Verdict {
    let harness = harness.started().await?;
    harness.put(&attributes(2, 9)).await?;
    harness.take(dead(&tombstone(3, None, 1))).await?;
    harness.take(Entry::User(Box::new(user(1, "anna", 1)))).await?;
    let group = vec![
        member(entry(&attributes(2, 1), &[])),
        member(entry(&attributes(1, 1), &[])),
        member(Entry::User(Box::new(user(2, "anna", 1)))),
        member(entry(&attributes(3, 1), &[])),
    ];
    let results = harness.ledger.record(group).await;
    let told = format!("{results:?}");
    let [Ok(Recorded::Outranked), Ok(Recorded::Taken), Err(LedgerError::Taken(name)), Ok(Recorded::Tombstoned)] =
        &results[..]
    else {
        return Err(Broken::new(format!("the results are {told}")));
    };
    ensure_eq!(name, "anna", "the name that is taken");
    ensure!(harness.ledger.record(vec![]).await.is_empty(), "no members, no results");
    Ok(())
}

pub(super) async fn members_of_a_group_see_each_other(harness: Harness) -> Verdict {
    let harness = harness.started().await?;
    let group = vec![
        member(entry(&attributes(1, 1), &[copy(1, CopyState::Verified)])),
        member(Entry::Copies { file: file(1), revision: 1, copies: vec![copy(2, CopyState::Present)] }),
        member(entry(&attributes(1, 2), &[])),
        member(entry(&attributes(1, 1), &[])),
        member(entry(&attributes(2, 1), &[copy(1, CopyState::Present)])),
        member(Entry::Forget(file(2))),
        member(entry(&attributes(3, 1), &[copy(1, CopyState::Present)])),
        member(dead(&tombstone(3, None, 2))),
        member(entry(&attributes(3, 3), &[])),
    ];
    let results: Vec<_> = harness.ledger.record(group).await.into_iter().collect::<Result<_, _>>()?;
    use Recorded::{Outranked, Taken, Tombstoned};
    ensure_eq!(results, vec![Taken, Taken, Taken, Outranked, Taken, Taken, Taken, Taken, Tombstoned], "the results");
    let now = row(&harness, 1).await?;
    ensure_eq!(now.attributes.version, 2, "the version");
    ensure_eq!(now.copies, vec![copy(1, CopyState::Verified), copy(2, CopyState::Present)], "the copies");
    for gone in [2, 3] {
        ensure_eq!(harness.ledger.file(file(gone)).await?, None, "file {gone}");
        ensure_eq!(harness.ledger.revisions(file(gone)).await?, vec![], "revisions of file {gone}");
    }
    Ok(())
}

/// All that can be told of the copy of file `number` on store 1: first what it is, then that it is not wanted.
fn tellings(number: u128) -> [Vec<Entry>; 2] {
    use CopyState::{Dropping, Lost, Pending, Present, Verified};
    let states = [Pending, Present, Verified, Dropping, Lost];
    let (file, revision) = (file(number), 1);
    let behind = CopyRow { verified_at: Some(super::harness::at(5)), ..copy(1, Present) };
    let copies = states.map(|state| copy(1, state)).into_iter().chain([behind]);
    let is = copies.map(|copy| Entry::Copies { file, revision, copies: vec![copy] });
    let unwanted = states.map(|state| Entry::Unwanted { file, revision, store: super::harness::store(1), state });
    [is.collect(), unwanted.into()]
}

/// Each two tellings over whatever may be known before: the reference takes them one at a time.
pub(super) async fn what_a_group_tells_of_one_copy_twice_is_taken_in_turn(harness: Harness) -> Verdict {
    let harness = harness.started().await?;
    let reference: Arc<dyn Ledger> = Arc::new(MemoryLedger::new());
    reference.initialise(&identity(EPOCH, 0)).await?;
    let (mut files, mut known, mut group) = (vec![], vec![], vec![]);
    let [is, unwanted] = tellings(0).map(|of| of.len());
    let both = is + unwanted;
    for (before, two) in (0..=is).flat_map(|before| (0..both * both).map(move |two| (before, two))) {
        let number = files.len() as u128 + 1;
        let [is, unwanted] = tellings(number);
        files.push(entry(&attributes(number, 1), &[]));
        // The last one has no row.
        known.extend(is.get(before).cloned());
        let both = [is, unwanted].concat();
        group.extend([two / both.len(), two % both.len()].map(|of| both[of].clone()));
    }
    let all = PlacedQuery { limit: files.len(), ..PlacedQuery::default() };
    for members in [files, known, group] {
        for entry in members.clone() {
            one(&reference, entry, None).await?;
        }
        for result in harness.ledger.record(members.into_iter().map(member).collect()).await {
            result?;
        }
    }
    let (found, wanted) = (harness.ledger.placed(&all).await?, reference.placed(&all).await?);
    ensure_eq!((found.len(), wanted.len()), (all.limit, all.limit), "revisions");
    for (found, wanted) in found.iter().zip(&wanted) {
        ensure_eq!(found, wanted, "where it lies");
    }
    Ok(())
}

pub(super) async fn a_member_that_fails_takes_no_other_with_it(harness: Harness) -> Verdict {
    let harness = harness.started().await?;
    harness.take(Entry::User(Box::new(user(1, "anna", 1)))).await?;
    let group = vec![
        member(entry(&attributes(1, 1), &[])),
        member(Entry::User(Box::new(user(2, "anna", 1)))),
        member(entry(&attributes(2, 1), &[])),
    ];
    let results = harness.ledger.record(group).await;
    ensure!(matches!(&results[..], [Ok(_), Err(_), Ok(_)]), "the results are {results:?}");
    row(&harness, 1).await?;
    row(&harness, 2).await?;
    ensure_eq!(harness.ledger.users().await?.len(), 1, "users");
    Ok(())
}

pub(super) async fn a_member_that_fails_leaves_its_claim_open(harness: Harness) -> Verdict {
    let harness = harness.started().await?;
    harness.put(&attributes(1, 1)).await?;
    harness.take(Entry::User(Box::new(user(1, "anna", 1)))).await?;
    let claim = harness.claim(file(1)).await?;
    let failed = one(&harness.ledger, Entry::User(Box::new(user(2, "anna", 1))), Some(claim.id)).await;
    ensure_refused!(failed, LedgerError::Taken(_), "a name that is taken");
    ensure_eq!(harness.ledger.claim_of(file(1)).await?, Some(claim), "the claim of a member that failed");
    Ok(())
}

pub(super) async fn a_forgotten_file_may_come_back(harness: Harness) -> Verdict {
    let harness = harness.started().await?;
    let tagged = Attributes { tags: vec!["a".into()], ..attributes(1, 4) };
    harness.take(entry(&tagged, &[copy(1, CopyState::Verified)])).await?;
    harness.take(Entry::Forget(file(1))).await?;
    ensure_eq!(harness.ledger.file(file(1)).await?, None, "a forgotten file");
    ensure_eq!(harness.ledger.revisions(file(1)).await?, vec![], "its revisions");
    ensure_eq!(harness.put(&attributes(1, 2)).await?, Recorded::Taken, "the file again");
    ensure_eq!(row(&harness, 1).await?, FileRow { attributes: attributes(1, 2), copies: vec![] }, "its row");
    let tag = crate::ledger::FileQuery { tag: Some("a".into()), ..Default::default() };
    ensure_eq!(harness.listed(tag).await?, vec![], "files with the tag that it had");
    Ok(())
}

pub(super) async fn a_large_group_is_taken_whole(harness: Harness) -> Verdict {
    let harness = harness.started().await?;
    let group =
        (1..=1_500).map(|number| member(entry(&attributes(number, 1), &[copy(1, CopyState::Present)]))).collect();
    let results = harness.ledger.record(group).await;
    ensure_eq!(results.iter().filter(|result| matches!(result, Ok(Recorded::Taken))).count(), 1_500, "taken");
    for number in [1, 750, 1_500] {
        ensure_eq!(row(&harness, number).await?.copies.len(), 1, "copies of file {number}");
    }
    Ok(())
}

pub(super) async fn records_survive_a_reopening(harness: Harness) -> Verdict {
    let harness = harness.started().await?;
    harness.take(entry(&attributes(1, 1), &[copy(1, CopyState::Verified)])).await?;
    harness.take(dead(&tombstone(2, None, 1))).await?;
    let before = (harness.ledger.file(file(1)).await?, harness.ledger.revisions(file(1)).await?);
    let harness = harness.reopened().await;
    let after = (harness.ledger.file(file(1)).await?, harness.ledger.revisions(file(1)).await?);
    ensure!(before.0.is_some(), "the file has no row");
    ensure_eq!(after, before, "rows");
    ensure_eq!(harness.ledger.tombstone(file(2), None).await?, Some(tombstone(2, None, 1)), "the tombstone");
    Ok(())
}

pub(super) async fn another_handle_sees_what_was_recorded(harness: Harness) -> Verdict {
    let harness = harness.started().await?;
    let other = harness.another().await;
    harness.put(&attributes(1, 1)).await?;
    ensure_eq!(other.file(file(1)).await?, harness.ledger.file(file(1)).await?, "the row");
    let claim = other.claim(file(1), crate::ledger::Purpose::Change, &node("n2"), super::harness::at(1)).await?;
    ensure_eq!(harness.ledger.claim_of(file(1)).await?, Some(claim), "the claim");
    Ok(())
}
