//! The suite over the reference, and over ledgers that are wrong on purpose: each flaw must break the law that names it.

use super::{Harness, LAWS};
use crate::{
    Bucket, DirectId, FileId, Page, Rank, SessionId, Sha256, StoreId, Timestamp, Tombstone, User, UserId,
    ledger::{
        Claim, CopyCount, DirectUpload, Entry, FileQuery, FileRow, Hold, Identity, Intent, Ledger, LedgerError,
        MemoryLedger, Missed, Placed, PlacedQuery, Purpose, Record, RecordId, Recorded, Refreshed, Reservation, Result,
        RevisionRow, Session, Upload,
    },
};
use async_trait::async_trait;
use larder_storage_core::NodeId;
use std::{future::ready, sync::Arc};

crate::ledger_conformance!(memory, || {
    let ledger = MemoryLedger::new();
    Harness::new(move || ready(Arc::new(ledger.another()) as Arc<dyn Ledger>))
});

/// What is wrong.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Flaw {
    None,
    FencesNobody,
    TakesAnyInstallation,
    ForgetsTheMark,
    TellsEveryStore,
    GivesBusyFilesOut,
    GivesVersionsAgain,
    ForgetsToHarden,
    ForgetsWhichRevision,
    TakesOverTwice,
    ForgetsToClose,
    ForgetsIntents,
    IgnoresFences,
    FencesTwice,
    KeepsSettledIntents,
    LeavesKeysBehind,
    HoldsOnToFailures,
    LosesOutrankedCopies,
    LosesTombstones,
    StopsAtTheFirstFailure,
    AnswersOutOfOrder,
    RunsEverythingTwice,
    GivesUpForOthers,
    TakesPercentForAnything,
    KnowsCase,
    HidesTheTrash,
    RepeatsTheLastOfAPage,
    GivesNamesAgain,
    RefreshesByAnyNumber,
    OpensForAnybody,
    CountsNoSessions,
    KeepsSessionsOpen,
    CountsNoUploads,
    KeepsUploadsOpen,
    ForgetsWhatIsDue,
    ForgetsWhatIsMissed,
    CutsTextsAtNul,
    TellsAFolderAgain,
}

/// The flaw and a law that it breaks.
const FLAWS: &[(Flaw, &str)] = &[
    (Flaw::FencesNobody, "a_handle_is_fenced_once_another_raised_the_epoch"),
    (Flaw::TakesAnyInstallation, "it_belongs_to_one_installation_for_ever"),
    (Flaw::ForgetsTheMark, "the_mark_rises_by_one"),
    (Flaw::TellsEveryStore, "the_mark_on_a_store_is_the_last_that_was_for_it"),
    (Flaw::GivesBusyFilesOut, "a_claim_is_exclusive"),
    (Flaw::GivesVersionsAgain, "versions_and_revisions_rise_even_after_a_release_without_a_record"),
    (Flaw::TakesOverTwice, "a_dead_nodes_claim_is_taken_over_once"),
    (Flaw::ForgetsToHarden, "a_hardened_claim_stays_a_purge"),
    (Flaw::ForgetsWhichRevision, "a_claim_that_is_a_revisions_purge_says_which_and_stays_it"),
    (Flaw::ForgetsToClose, "a_record_closes_its_claim"),
    (Flaw::ForgetsIntents, "an_intent_says_what_was_told_and_is_found"),
    (Flaw::IgnoresFences, "a_record_of_who_was_fenced_leaves_no_trace"),
    (Flaw::FencesTwice, "an_intent_changes_hands_once_for_each_fence"),
    (Flaw::KeepsSettledIntents, "a_record_settles_its_intent"),
    (Flaw::LeavesKeysBehind, "an_idempotency_key_goes_along_with_its_intent"),
    (Flaw::HoldsOnToFailures, "an_upload_that_failed_frees_what_it_held"),
    (Flaw::LosesOutrankedCopies, "outranked_attributes_still_bring_their_revision_and_its_copies"),
    (Flaw::LosesTombstones, "whatever_comes_after_a_tombstone_is_garbage"),
    (Flaw::StopsAtTheFirstFailure, "a_member_that_fails_takes_no_other_with_it"),
    (Flaw::AnswersOutOfOrder, "results_come_in_order"),
    (Flaw::RunsEverythingTwice, "a_key_is_reserved_once"),
    (Flaw::GivesUpForOthers, "a_node_gives_up_only_its_own"),
    (Flaw::TakesPercentForAnything, "a_prefix_is_literal"),
    (Flaw::KnowsCase, "q_is_literal_and_knows_no_case"),
    (Flaw::HidesTheTrash, "the_trash_is_a_list_of_its_own"),
    (Flaw::RepeatsTheLastOfAPage, "each_is_seen_once_while_others_come_and_go"),
    (Flaw::GivesNamesAgain, "a_name_is_never_given_again"),
    (Flaw::RefreshesByAnyNumber, "of_16_who_refresh_at_once_exactly_one_goes_on"),
    (Flaw::OpensForAnybody, "a_session_is_opened_of_a_user_as_they_are"),
    (Flaw::CountsNoSessions, "a_user_has_no_more_sessions_than_are_allowed"),
    (Flaw::KeepsSessionsOpen, "a_session_is_found_until_it_is_ended"),
    (Flaw::CountsNoUploads, "a_user_has_no_more_direct_uploads_than_are_allowed"),
    (Flaw::KeepsUploadsOpen, "a_direct_upload_is_found_whole_until_it_is_ended"),
    (Flaw::CutsTextsAtNul, "a_text_with_nul_finds_nothing"),
    (Flaw::TellsAFolderAgain, "folders_come_once_each_with_each_filter_and_both_ways"),
    (Flaw::ForgetsWhatIsDue, "a_copy_that_is_due_is_told_until_it_is_right"),
    (Flaw::ForgetsWhatIsMissed, "what_was_missed_since_is_not_forgotten_with_what_was_carried"),
];

/// A ledger with one flaw over a right one.
#[derive(Debug)]
struct Wrong {
    right: MemoryLedger,
    flaw: Flaw,
}

impl Wrong {
    fn is(&self, flaw: Flaw) -> bool {
        self.flaw == flaw
    }

    /// The right ledger, by a handle that is never fenced where that is the flaw.
    fn right(&self) -> MemoryLedger {
        if self.is(Flaw::FencesNobody) { self.right.another() } else { self.right.clone() }
    }

    /// The members as the flaw has them.
    fn spoil(&self, mut records: Vec<Record>) -> Vec<Record> {
        for (number, record) in records.iter_mut().enumerate() {
            match (&mut record.entry, self.flaw) {
                (_, Flaw::ForgetsToClose) => record.closes = record.closes.filter(|_| record.entry.is_none()),
                (_, Flaw::IgnoresFences | Flaw::KeepsSettledIntents) => record.settles = None,
                (Some(Entry::Carried(carried)), Flaw::ForgetsWhatIsMissed) => carried.version = u64::MAX,
                (Some(Entry::Attributes { copies, .. }), Flaw::LosesOutrankedCopies) => copies.clear(),
                (Some(Entry::Tombstone(tombstone)), Flaw::LosesTombstones) => {
                    record.entry = Some(Entry::Forget(tombstone.id));
                }
                (Some(Entry::User(user)), Flaw::GivesNamesAgain) if user.gone_at.is_some() => {
                    user.name = crate::UserName::new(format!("gone{number}")).unwrap();
                }
                _ => {}
            }
        }
        records
    }
}

#[async_trait]
impl Ledger for Wrong {
    async fn identity(&self) -> Result<Option<Identity>> {
        self.right.identity().await
    }

    async fn initialise(&self, identity: &Identity) -> Result<()> {
        let done = self.right.initialise(identity).await;
        if self.is(Flaw::TakesAnyInstallation) { Ok(()) } else { done }
    }

    async fn raise_mark(&self, told: &[StoreId]) -> Result<u64> {
        if self.is(Flaw::ForgetsTheMark) {
            return Ok(self.right.identity().await?.ok_or(LedgerError::NotFound)?.mark + 1);
        }
        let all: Vec<_> =
            self.right.identity().await?.into_iter().flat_map(|all| all.stores).map(|all| all.id).collect();
        self.right().raise_mark(if self.is(Flaw::TellsEveryStore) { &all } else { told }).await
    }

    async fn claim(&self, file: FileId, purpose: Purpose, node: &NodeId, now: Timestamp) -> Result<Claim> {
        if self.is(Flaw::GivesBusyFilesOut)
            && let Some(open) = self.right.claim_of(file).await?
        {
            return Ok(open);
        }
        let claim = self.right().claim(file, purpose, node, now).await?;
        if self.is(Flaw::GivesVersionsAgain) {
            let version = self.right.file(file).await?.map_or(0, |row| row.attributes.version) + 1;
            return Ok(Claim { version, ..claim });
        }
        Ok(claim)
    }

    async fn harden(&self, claim: u64, purge: Purpose) -> Result<()> {
        let purge = if self.is(Flaw::ForgetsWhichRevision) { Purpose::Purge } else { purge };
        if self.is(Flaw::ForgetsToHarden) { Ok(()) } else { self.right().harden(claim, purge).await }
    }

    async fn take_over(&self, claim: u64, from: &NodeId, to: &NodeId) -> Result<Claim> {
        let open = self.right.claims().await?.into_iter().find(|open| open.id == claim);
        match open.filter(|_| self.is(Flaw::TakesOverTwice)) {
            Some(open) => self.right().take_over(claim, &open.node, to).await,
            None => self.right().take_over(claim, from, to).await,
        }
    }

    async fn claim_of(&self, file: FileId) -> Result<Option<Claim>> {
        self.right.claim_of(file).await
    }

    async fn claims(&self) -> Result<Vec<Claim>> {
        self.right.claims().await
    }

    async fn open_intent(&self, node: &NodeId, upload: &Upload) -> Result<Intent> {
        let intent = self.right().open_intent(node, upload).await?;
        if self.is(Flaw::ForgetsIntents) {
            self.right().close_intent(intent.hold()).await?;
        }
        Ok(intent)
    }

    async fn renew_intent(&self, hold: Hold, upload: &Upload) -> Result<()> {
        self.right().renew_intent(hold, upload).await
    }

    async fn fence_intent(&self, seen: Hold, node: &NodeId) -> Result<Intent> {
        let open = self.right.intents().await?.into_iter().find(|open| open.id == seen.intent);
        let Some(open) = open else { return Err(LedgerError::Superseded) };
        let key = open.upload.idempotency.filter(|_| self.is(Flaw::LeavesKeysBehind));
        let seen = if self.is(Flaw::FencesTwice) { open.hold() } else { seen };
        let taken = self.right().fence_intent(seen, node).await?;
        if let Some(key) = key {
            self.right().unreserve(key, node).await?;
        }
        Ok(taken)
    }

    async fn fail_intent(&self, hold: Hold) -> Result<()> {
        if self.is(Flaw::HoldsOnToFailures) { Ok(()) } else { self.right().fail_intent(hold).await }
    }

    async fn close_intent(&self, hold: Hold) -> Result<()> {
        self.right().close_intent(hold).await
    }

    async fn intents(&self) -> Result<Vec<Intent>> {
        self.right.intents().await
    }

    async fn record(&self, records: Vec<Record>) -> Vec<Result<Recorded>> {
        let mut results = Vec::new();
        for record in self.spoil(records) {
            if self.is(Flaw::StopsAtTheFirstFailure) && results.iter().any(Result::is_err) {
                results.push(Err(LedgerError::Internal("the group failed".into())));
                continue;
            }
            results.append(&mut self.right().record(vec![record]).await);
        }
        if self.is(Flaw::AnswersOutOfOrder) {
            results.reverse();
        }
        results
    }

    async fn reserve(&self, key: Sha256, node: &NodeId, since: Timestamp) -> Result<Reservation> {
        let known = self.right().reserve(key, node, since).await?;
        match known {
            Reservation::Running { .. } if self.is(Flaw::RunsEverythingTwice) => Ok(Reservation::Made),
            known => Ok(known),
        }
    }

    async fn unreserve(&self, key: Sha256, node: &NodeId) -> Result<()> {
        if self.is(Flaw::GivesUpForOthers) {
            for other in self.right.nodes().await? {
                self.right.unreserve(key, &other).await?;
            }
        }
        self.right().unreserve(key, node).await
    }

    async fn unreserve_all(&self, node: &NodeId) -> Result<()> {
        self.right().unreserve_all(node).await
    }

    async fn nodes(&self) -> Result<Vec<NodeId>> {
        self.right.nodes().await
    }

    async fn open_session(&self, session: &Session, of: Option<Rank>, most: usize, now: Timestamp) -> Result<()> {
        let most = if self.is(Flaw::CountsNoSessions) { usize::MAX } else { most };
        let known = self.right.user(session.user).await?.map(|user| user.rank());
        let of = if self.is(Flaw::OpensForAnybody) { known } else { of };
        self.right().open_session(session, of, most, now).await
    }

    async fn refresh_session(&self, id: SessionId, serial: u64, until: Timestamp, now: Timestamp) -> Result<Refreshed> {
        let known = self.right.session(id).await?.map_or(serial, |session| session.serial);
        let serial = if self.is(Flaw::RefreshesByAnyNumber) { known } else { serial };
        self.right().refresh_session(id, serial, until, now).await
    }

    async fn end_session(&self, id: SessionId) -> Result<()> {
        if self.is(Flaw::KeepsSessionsOpen) { Ok(()) } else { self.right().end_session(id).await }
    }

    async fn session(&self, id: SessionId) -> Result<Option<Session>> {
        self.right.session(id).await
    }

    async fn open_direct(&self, upload: &DirectUpload, most: usize, now: Timestamp) -> Result<()> {
        let most = if self.is(Flaw::CountsNoUploads) { usize::MAX } else { most };
        self.right().open_direct(upload, most, now).await
    }

    async fn direct(&self, id: DirectId) -> Result<Option<DirectUpload>> {
        self.right.direct(id).await
    }

    async fn end_direct(&self, id: DirectId) -> Result<()> {
        if self.is(Flaw::KeepsUploadsOpen) { Ok(()) } else { self.right().end_direct(id).await }
    }

    async fn file(&self, id: FileId) -> Result<Option<FileRow>> {
        self.right.file(id).await
    }

    async fn files(&self, query: &FileQuery) -> Result<Vec<FileRow>> {
        let mut query = query.clone();
        match self.flaw {
            Flaw::TakesPercentForAnything => {
                query.prefix = query.prefix.map(|prefix| prefix.split('%').next().unwrap_or_default().to_owned());
            }
            Flaw::CutsTextsAtNul => {
                let cut = |text: &mut Option<String>| {
                    *text = text.take().map(|text| text.split('\0').next().unwrap_or_default().to_owned());
                };
                [&mut query.name, &mut query.prefix, &mut query.tag, &mut query.q].into_iter().for_each(cut);
            }
            Flaw::HidesTheTrash => query.deleted = query.deleted.or(Some(false)),
            Flaw::RepeatsTheLastOfAPage => {
                query.after = query.after.map(|after| match after {
                    crate::Position::Created(id) => {
                        crate::Position::Created(FileId(uuid::Uuid::from_u128(id.0.as_u128().saturating_sub(3))))
                    }
                    other => other,
                });
            }
            _ => {}
        }
        let mut rows = self.right.files(&query).await?;
        if self.is(Flaw::KnowsCase) {
            rows.retain(|row| query.q.as_ref().is_none_or(|q| row.attributes.name.contains(q)));
        }
        Ok(rows)
    }

    async fn folders(&self, query: &FileQuery) -> Result<Page> {
        let mut page = self.right.folders(query).await?;
        if self.is(Flaw::TellsAFolderAgain)
            && let Some(last) = page.folders.last().cloned()
        {
            page.next = page.next.map(|_| crate::Position::Name(last, FileId(uuid::Uuid::nil())));
        }
        Ok(page)
    }

    async fn revisions(&self, id: FileId) -> Result<Vec<RevisionRow>> {
        self.right.revisions(id).await
    }

    async fn revisions_behind(&self, id: FileId, after: u64, limit: usize) -> Result<Vec<RevisionRow>> {
        self.right.revisions_behind(id, after, limit).await
    }

    async fn revision(&self, id: FileId, revision: u64) -> Result<Option<RevisionRow>> {
        self.right.revision(id, revision).await
    }

    async fn placed(&self, query: &PlacedQuery) -> Result<Vec<Placed>> {
        let limit = if self.is(Flaw::ForgetsWhatIsDue) && query.due { 0 } else { query.limit };
        self.right().placed(&PlacedQuery { limit, ..*query }).await
    }

    async fn copy_counts(&self) -> Result<Vec<CopyCount>> {
        self.right().copy_counts().await
    }

    async fn tombstone(&self, id: FileId, revision: Option<u64>) -> Result<Option<Tombstone>> {
        self.right.tombstone(id, revision).await
    }

    async fn tombstones(&self, after: Option<(FileId, Option<u64>)>, limit: usize) -> Result<Vec<Tombstone>> {
        self.right.tombstones(after, limit).await
    }

    async fn missed(&self, store: StoreId, after: Option<RecordId>, limit: usize) -> Result<Vec<Missed>> {
        self.right.missed(store, after, limit).await
    }

    async fn users(&self) -> Result<Vec<User>> {
        self.right.users().await
    }

    async fn users_behind(&self, after: Option<UserId>, limit: usize) -> Result<Vec<User>> {
        self.right.users_behind(after, limit).await
    }

    async fn user_named(&self, name: &str) -> Result<Option<User>> {
        self.right.user_named(name).await
    }

    async fn user(&self, id: UserId) -> Result<Option<User>> {
        self.right.user(id).await
    }

    async fn buckets(&self) -> Result<Vec<Bucket>> {
        self.right.buckets().await
    }
}

async fn wrong(flaw: Flaw) -> Harness {
    let right = MemoryLedger::new();
    Harness::new(move || ready(Arc::new(Wrong { right: right.another(), flaw }) as Arc<dyn Ledger>)).await
}

async fn broken(flaw: Flaw) -> Vec<&'static str> {
    let mut broken = Vec::new();
    for law in LAWS {
        if law.hold(wrong(flaw).await).await.is_err() {
            broken.push(law.name);
        }
    }
    broken
}

#[tokio::test]
async fn each_flaw_breaks_the_law_that_names_it() {
    for (flaw, law) in FLAWS {
        let broken = broken(*flaw).await;
        assert!(broken.contains(law), "{flaw:?} does not break `{law}`, only {broken:?}");
    }
}

#[tokio::test]
async fn the_wrapper_without_a_flaw_breaks_no_law() {
    assert_eq!(broken(Flaw::None).await, Vec::<&str>::new());
}
