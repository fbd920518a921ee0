//! Recovery: settles what dead nodes left, on each store that stages and in the ledger. It may run at any time, beside
//! live nodes and twice over: each step is decided by what lies on the stores, and the ledger takes in everything by
//! its rank.
//!
//! 1. **Leftovers** of each store. Attributes at their key with this id and revision: the commit point was reached, so
//!    the pair is finished and indexed. Else the leftover's own bytes are withdrawn. A tombstone beats both. Then it is
//!    discarded.
//! 2. **Intents** of the dead, on stores that do not stage, are taken over and settled in the background (`intents`).
//! 3. **Claims** of the dead. A change: the highest attributes on the stores are made durable and indexed, the claim
//!    ends; where a store does not stage, only once a lease has passed in which its request could still take effect. One that an
//!    intent names ends with that. A purge is carried out to its end.
//! 4. **Purges** that found a store away are gone on with.
//! 5. **Reservations** of those that were dead before step 1 are given up, once nothing of steps 1 and 2 may still settle them. What
//!    one that died meanwhile has left is found by the next look, and its keys are kept until then.
//!
//! What can't be settled now, because a store is away, waits: it is counted and logged, and never stops a start.

use crate::{
    Attributes, Error, Recovered, Result, StoreId,
    files::{Node, Place},
    ledger::{Claim, CopyRow, CopyState, Entry, FileRow, LedgerError, Made, Purpose, Record, Recorded, Reservation},
    name_claim::ClaimedFor,
    node::State,
    on_conflict::REPLACED,
    truth::{Found, Reading},
};
use larder_storage_core::{self as core, Body, Key, Leftover, NodeId, OpId, Pair, PutOptions};
use std::{sync::Arc, time::Duration};
use tracing::{info, warn};

/// What became of a leftover.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Settled {
    /// Its commit point was reached: it is whole and indexed.
    Finished,
    /// It was not, or a purge came later: nothing of it is left.
    Undone,
}

/// What a dead node left on a place, and this one has taken over and could not settle yet.
#[derive(Clone, Debug)]
pub(crate) struct InHand {
    place: usize,
    leftover: Leftover,
    /// Whether it does not heal by itself: it waits for `fsck`, and nothing but the name that it was to bear waits with it.
    pub(crate) is_broken: bool,
}

impl InHand {
    /// An operation that a store had no room for has left something on the next one too.
    fn is_of(&self, place: usize, op: &OpId) -> bool {
        self.place == place && self.leftover.op == *op
    }
}

impl Node {
    /// Settles what dead nodes left. Costs a listing of the staging spaces where they left nothing.
    ///
    /// # Errors
    /// The ledger's. A store that is away only makes what it holds wait.
    pub(crate) async fn recover(self: &Arc<Self>) -> Result<Recovered> {
        let mut recovered = self.succeed_the_dead().await?;
        match self.clear_missed().await {
            Ok(true) => {}
            Ok(false) => self.recover_later(),
            Err(fenced @ Error::Fenced(_)) => return Err(fenced),
            Err(error) => {
                warn!(%error, "what was purged can't be deleted everywhere now");
                recovered.waiting += 1;
                self.recover_later();
            }
        }
        Ok(recovered)
    }

    /// The part of it that dead nodes have left.
    ///
    /// # Errors
    /// As [`Node::recover`].
    pub(crate) async fn succeed_the_dead(self: &Arc<Self>) -> Result<Recovered> {
        let mut recovered = Recovered::default();
        let dead = self.dead_nodes().await?;
        for place in 0..self.places.len() {
            if let Err(error) = self.settle_leftovers(place, &mut recovered).await {
                warn!(store = %self.places[place].name, %error, "leftovers can't be looked for now");
                recovered.waiting += 1;
            }
        }
        let (uploads, all_in_hand) = self.take_up_intents().await?;
        recovered.waiting += uploads;
        self.settle_claims(&mut recovered).await?;
        if all_in_hand && let Err(error) = self.give_up_reservations(&dead).await {
            warn!(%error, "the idempotency keys of dead nodes must wait");
            recovered.waiting += u64::from(!matches!(error, Error::Busy));
            self.recover_later();
        }
        Ok(recovered)
    }

    /// Repeats all of it, in one task however much waits, until nothing does. What is broken waits for the next look.
    pub(crate) fn recover_later(self: &Arc<Self>) {
        {
            let mut state = self.state();
            state.waits = true;
            if std::mem::replace(&mut state.is_recovering, true) {
                return;
            }
        }
        let node = self.clone();
        self.settle_until_done(move || {
            let node = node.clone();
            async move {
                node.state().waits = false;
                node.recover().await?;
                // One page after the other, for as long as that gets on.
                while node.clear_missed().await.is_ok_and(|all| !all) {}
                let mut state = node.state();
                state.is_recovering = state.waits;
                if state.waits { Err(Error::StoreUnavailable(None)) } else { Ok(()) }
            }
        });
    }

    /// Settles all that dead nodes have staged on one place. A store gives each leftover to one node only, once: who took it tries
    /// until it is settled. One task does so at a time, and where another goes on, what was taken over is settled or known to wait.
    ///
    /// # Errors
    /// The store's, where it can't say what they left.
    pub(crate) async fn settle_leftovers(self: &Arc<Self>, place: usize, recovered: &mut Recovered) -> Result<()> {
        let Some(staging) = self.places[place].store.staging() else { return Ok(()) };
        let _alone = self.heir.lock().await;
        let found = staging.leftovers().await;
        self.state().looked(place, found.as_ref().is_ok());
        let found = found.inspect_err(|_| self.recover_later())?;
        let taken = found.into_iter().map(|leftover| InHand { place, leftover, is_broken: false });
        self.state().leftovers.extend(taken);
        let here: Vec<_> = self.state().leftovers.iter().filter(|at| at.place == place).cloned().collect();
        for InHand { leftover, .. } in here {
            match self.settle_leftover(place, &leftover).await {
                Ok(settled) => {
                    self.state().leftovers.retain(|other| !other.is_of(place, &leftover.op));
                    match settled {
                        Settled::Finished => recovered.finished += 1,
                        Settled::Undone => recovered.undone += 1,
                    }
                }
                Err(error) => {
                    warn!(op = %leftover.op, store = %self.places[place].name, %error, "a leftover must wait");
                    recovered.waiting += 1;
                    // Broken attributes wait for `fsck`; anything else heals, and claims of the dead wait for it.
                    let is_broken = matches!(error, Error::Fenced(_) | Error::Conflict(_));
                    self.state().mark_in_hand(place, &leftover.op, is_broken);
                    if !is_broken {
                        self.recover_later();
                    }
                }
            }
        }
        Ok(())
    }

    /// Attributes are staged durably before anything is published: a leftover without readable ones never was.
    async fn settle_leftover(&self, place: usize, leftover: &Leftover) -> Result<Settled> {
        let staged = leftover.attributes.as_deref().map(Attributes::from_bytes);
        if let Some(Ok(staged)) = staged {
            let pair = Pair { op: leftover.op.clone(), bytes: staged.key.clone(), attributes: staged.sidecar() };
            if !self.takes_over_key(&staged).await? {
                let published = self.places[place].attributes_at(&pair.attributes).await?;
                self.remove_purged(place, &pair, &published).await?;
            }
            let kept = self.settle_pair(place, &pair, &staged, None).await?;
            if let (false, Some(made)) = (kept, &staged.created_by_key) {
                self.ledger.unreserve(made.key, &self.settler()).await?;
            }
            return Ok(if kept { Settled::Finished } else { Settled::Undone });
        }
        self.discard_pair(place, &leftover.op).await?;
        Ok(Settled::Undone)
    }

    /// Makes the idempotency key of a dead node's create this node's, as who settles. `false` where a repeat of the request has it, on
    /// this node or another: the dead node's may have been given up before the leftover could be settled, and one key makes one file.
    async fn takes_over_key(&self, staged: &Attributes) -> Result<bool> {
        let Some(made) = &staged.created_by_key else { return Ok(true) };
        let is_carried = staged.revision > 1 && (made.status, made.at) != (REPLACED, staged.revised_at);
        if is_carried || self.is_recorded(staged).await? {
            return Ok(true);
        }
        let settler = self.settler();
        loop {
            match self.ledger.reserve(made.key, &settler, self.remembered_since()).await? {
                Reservation::Made => return Ok(true),
                Reservation::Done { made: known, at, .. } => return Ok((known, at) == (Made::File(staged.id), made.at)),
                Reservation::Running { node } if node == settler => return Ok(true),
                Reservation::Running { node } if self.is_alive(&node).await? => return Ok(false),
                Reservation::Running { node } => self.ledger.unreserve(made.key, &node).await?,
            }
        }
    }

    async fn is_recorded(&self, staged: &Attributes) -> Result<bool> {
        Ok(match staged.revision {
            1 => self.ledger.file(staged.id).await?.is_some(),
            number => self.ledger.revision(staged.id, number).await?.is_some_and(|row| row.key == staged.key),
        })
    }

    /// Settles one operation by what lies at its attributes' key: a dead node's, or one of this node's own whose
    /// outcome is unknown and none of whose calls is under way any more. Ends the claim `closes`; what was staged is
    /// discarded last. Says whether the operation took effect.
    ///
    /// # Errors
    /// `StoreUnavailable` and the ledger's: nothing was decided, ask again.
    pub(crate) async fn settle_pair(
        &self,
        place: usize,
        pair: &Pair,
        staged: &Attributes,
        closes: Option<u64>,
    ) -> Result<bool> {
        let kept = match self.published(place, staged, pair).await? {
            Some(published) => self.finish(place, pair, published, closes).await?,
            None => match self.recorded(staged).await? {
                Some(recorded) => self.put_back(place, pair, recorded, closes).await?,
                None => false,
            },
        };
        if !kept {
            self.withdraw(place, pair).await?;
            if closes.is_some() {
                self.record_group(Record { closes, ..Record::default() }).await?;
            }
        }
        self.discard_pair(place, &pair.op).await?;
        Ok(kept)
    }

    /// The attributes at the pair's key, perhaps newer than the staged ones, if they are this revision's and no
    /// tombstone covers it.
    async fn published(&self, place: usize, staged: &Attributes, pair: &Pair) -> Result<Option<Attributes>> {
        let reading = self.places[place].attributes_at(&pair.attributes).await?;
        if self.is_purged(staged).await? {
            self.remove_purged(place, pair, &reading).await?;
            return Ok(None);
        }
        match reading {
            Reading::Valid(found) if (found.id, found.revision) == (staged.id, staged.revision) => Ok(Some(*found)),
            Reading::Valid(_) | Reading::Absent => Ok(None),
            Reading::Broken(why) => {
                let sidecar = &pair.attributes;
                Err(Error::Conflict(format!(
                    "attributes at `{sidecar}` are broken: {why}; `larder fsck --repair` moves them aside"
                )))
            }
        }
    }

    /// The attributes to put back beside bytes that were recorded, and so perhaps acknowledged, but have lost theirs.
    async fn recorded(&self, staged: &Attributes) -> Result<Option<Attributes>> {
        let row = self.ledger.revision(staged.id, staged.revision).await?;
        if row.is_none_or(|row| row.key != staged.key) || self.is_purged(staged).await? {
            return Ok(None);
        }
        let head = self.ledger.file(staged.id).await?.map(|row| row.attributes);
        Ok(Some(head.filter(|head| head.key == staged.key).unwrap_or_else(|| staged.clone())))
    }

    async fn put_back(&self, place: usize, pair: &Pair, recorded: Attributes, closes: Option<u64>) -> Result<bool> {
        warn!(key = %pair.attributes, "attributes were missing beside recorded bytes, and are put back");
        let bytes = Body::from(recorded.to_bytes());
        self.places[place].store.put(&pair.attributes, bytes, PutOptions::create()).await?;
        self.finish(place, pair, recorded, closes).await
    }

    /// Makes a published pair whole and durable, then indexes it with its copy. Says whether it counts: no tombstone
    /// covers it.
    async fn finish(&self, place: usize, pair: &Pair, published: Attributes, closes: Option<u64>) -> Result<bool> {
        if let Some(staging) = self.places[place].store.staging() {
            match staging.finish(pair).await {
                Ok(()) => {}
                // The bytes are lost, the attributes stay the truth: the file has no copy here.
                Err(error) if error.is_not_found() => warn!(key = %pair.bytes, "a published file has lost its bytes"),
                Err(error) => return Err(error.into()),
            }
        }
        let mut copies = self.copy_not_known(place, &published).await?;
        // A change may have reached this store, and neither its row nor another store.
        let is_behind = |row: &FileRow| row.attributes.key == published.key && row.attributes.rank() < published.rank();
        if let Some(row) = self.ledger.file(published.id).await?.filter(is_behind) {
            copies.extend(self.left_behind(&row.copies, |reached| reached == place));
        }
        let copies = self.with_wanted(&published.bucket, copies);
        let size = published.size;
        let entry = Some(Entry::Attributes { attributes: Box::new(published), copies });
        if self.record_group(Record { entry, closes, settles: None }).await? == Recorded::Tombstoned {
            let reading = self.places[place].attributes_at(&pair.attributes).await?;
            self.remove_purged(place, pair, &reading).await?;
            return Ok(false);
        }
        info!(key = %pair.bytes, size, "settled an upload that had reached its commit point");
        Ok(true)
    }

    /// The copy on `place`, unless the ledger knows more of it than a look at its size tells, or the reconciler is to make it: which
    /// then reads it.
    pub(crate) async fn copy_not_known(&self, place: usize, attributes: &Attributes) -> Result<Vec<CopyRow>> {
        let known = self.ledger.revision(attributes.id, attributes.revision).await?;
        let here = |copy: &CopyRow| {
            copy.store == self.places[place].id && matches!(copy.state, CopyState::Verified | CopyState::Pending)
        };
        if known.is_some_and(|row| row.key == attributes.key && row.copies.iter().any(here)) {
            return Ok(vec![]);
        }
        Ok(self.places[place].copy_of(attributes).await?.into_iter().collect())
    }

    /// Takes back bytes that were published without attributes: where the store stages, only if they are the
    /// operation's own.
    async fn withdraw(&self, place: usize, pair: &Pair) -> Result<()> {
        let store = &self.places[place].store;
        match store.staging() {
            Some(staging) => drop(staging.withdraw(&pair.op, &pair.bytes).await?),
            None => store.delete(&pair.bytes).await?,
        }
        Ok(())
    }

    async fn discard_pair(&self, place: usize, op: &OpId) -> Result<()> {
        match self.places[place].store.staging() {
            Some(staging) => Ok(staging.discard(op).await?),
            None => Ok(()),
        }
    }

    pub(crate) async fn is_purged(&self, attributes: &Attributes) -> Result<bool> {
        let file = self.ledger.tombstone(attributes.id, None).await?;
        let revision = self.ledger.tombstone(attributes.id, Some(attributes.revision)).await?;
        let under_its_key = |keys: &[String]| keys.iter().any(|key| key == attributes.key.as_str());
        Ok(file.is_some() || revision.is_some_and(|tombstone| under_its_key(&tombstone.keys)))
    }

    /// Takes away what a power cut brought back of a purged pair: bytes first, so that attributes never outlive them as
    /// orphans do.
    async fn remove_purged(&self, place: usize, pair: &Pair, found: &Reading) -> Result<()> {
        let store = &self.places[place].store;
        if matches!(found, Reading::Valid(_)) {
            store.delete(&pair.bytes).await?;
            store.delete(&pair.attributes).await?;
        }
        Ok(())
    }

    async fn settle_claims(self: &Arc<Self>, recovered: &mut Recovered) -> Result<()> {
        for claim in self.ledger.claims().await? {
            match self.settle_if_dead(&claim).await {
                Ok(true) => recovered.settled += 1,
                Ok(false) => {}
                Err(fenced @ Error::Fenced(_)) => return Err(fenced),
                Err(error) => {
                    warn!(file = %claim.file, purpose = ?claim.purpose, %error, "an open claim must wait");
                    recovered.waiting += 1;
                    // One that is busy ends with its upload, or once this node, which has it now, has waited long enough.
                    if !matches!(error, Error::Busy) {
                        self.recover_later();
                    }
                }
            }
        }
        Ok(())
    }

    /// Settles a claim of a dead node; says whether it was one. Once this node has taken it over, it tries by itself until it is
    /// settled, and to another attempt it is no longer the dead one's.
    async fn settle_if_dead(self: &Arc<Self>, claim: &Claim) -> Result<bool> {
        if self.is_alive(&claim.node).await? {
            return Ok(false);
        }
        self.settle_claim(claim).await.map(|()| true)
    }

    /// Settles a claim none of whose calls can still take effect, and ends it: what a dead node had staged first, for a
    /// new revision lies under a key that only its leftover tells.
    ///
    /// # Errors
    /// `StoreUnavailable` where a place that must be asked is away: the claim stays open.
    pub(crate) async fn settle_claim(self: &Arc<Self>, claim: &Claim) -> Result<()> {
        if claim.node == self.node {
            return self.settle_claim_of_settled(claim).await;
        }
        for place in 0..self.places.len() {
            self.settle_leftovers(place, &mut Recovered::default()).await?;
        }
        if self.state().awaits_leftovers() {
            return Err(Error::StoreUnavailable(None));
        }
        if self.awaits_upload(claim).await? {
            return Err(Error::Busy);
        }
        // Another may have taken over meanwhile what it had left, and not have settled it yet.
        if self.is_alive(&claim.node).await? {
            return Err(Error::Busy);
        }
        // A server settles it: this node does not live to the end of the wait, and who comes next would begin anew.
        if self.settings.is_brief && self.is_waited_for(claim) {
            return Err(Error::Busy);
        }
        // Of several that find it, one settles it: another's reading of the stores would be old by the time it acts.
        let claim = match self.ledger.take_over(claim.id, &claim.node, &self.node).await {
            Ok(claim) => claim,
            Err(LedgerError::NotFound | LedgerError::Busy) => return Ok(()),
            Err(error) => {
                self.settle_if_taken_over(claim.clone());
                return Err(error.into());
            }
        };
        if self.is_waited_for(&claim) {
            self.settle_claim_later(claim, self.late_for(), None);
            return Err(Error::Busy);
        }
        let settled = self.settle_claim_of_settled(&claim).await;
        if settled.is_err() {
            self.settle_claim_later(claim, Duration::ZERO, None);
        }
        settled
    }

    /// Whether a claim of a dead node is settled only once nothing of it can still take effect.
    fn is_waited_for(&self, claim: &Claim) -> bool {
        claim.purpose == Purpose::Change && !self.late_for().is_zero()
    }

    /// Settles a claim later of which it is not known whether it was taken over: to whoever looks again it would be a living node's.
    fn settle_if_taken_over(self: &Arc<Self>, claim: Claim) {
        let node = self.clone();
        self.settle_until_done(move || {
            let (node, claim) = (node.clone(), claim.clone());
            async move {
                let open = node.ledger.claim_of(claim.file).await?;
                if let Some(ours) = open.filter(|open| open.id == claim.id && open.node == node.node) {
                    node.settle_claim_later(ours, node.late_for(), None);
                }
                Ok(())
            }
        });
    }

    async fn settle_claim_of_settled(self: &Arc<Self>, claim: &Claim) -> Result<()> {
        match claim.purpose {
            Purpose::Purge | Purpose::PurgeRevision(_) => self.carry_out_purge(claim).await,
            Purpose::Change => self.settle_change(claim).await,
        }
    }

    async fn settle_change(&self, claim: &Claim) -> Result<()> {
        let truth = self.truth_of_row(claim.file).await?;
        let row = self.ledger.file(claim.file).await?;
        let known = row.as_ref().map(|row| row.attributes.rank());
        let news = truth.highest().filter(|found| Some(found.attributes.rank()) > known);
        let entry = match news {
            Some(found) => {
                self.places[found.place].make_durable(&found.key).await?;
                let copies = self.copies_behind(row.as_ref(), &truth.found, found);
                Some(Entry::Attributes { attributes: Box::new(found.attributes.clone()), copies })
            }
            None => None,
        };
        self.record_group(Record { entry, closes: Some(claim.id), settles: None }).await?;
        self.drop_lower_overlays(&truth.found).await;
        Ok(())
    }

    /// The copies of a file's newest revision beside which its `highest` attributes do not lie.
    fn copies_behind(&self, row: Option<&FileRow>, found: &[Found], highest: &Found) -> Vec<CopyRow> {
        let of = &highest.attributes;
        let Some(row) = row.filter(|row| row.attributes.key == of.key) else { return vec![] };
        let sidecar = of.sidecar();
        let is_beside = |found: &Found| found.key == sidecar && found.attributes == *of;
        self.left_behind(&row.copies, |place| found.iter().any(|found| found.place == place && is_beside(found)))
    }

    /// Removes overlays that something higher outranks on the same store. One that stays is harmless.
    pub(crate) async fn drop_lower_overlays(&self, found: &[Found]) {
        for (place, at) in self.places.iter().enumerate().filter(|(_, at)| at.mode.changes()) {
            let Some(highest) = found.first().filter(|_| found.iter().any(|f| f.place == place)) else { continue };
            let durable_here =
                found.iter().any(|f| f.place == place && f.attributes.rank() == highest.attributes.rank());
            for lower in found.iter().filter(|f| f.place == place && f.attributes.rank() < highest.attributes.rank()) {
                let is_overlay = crate::layout::overlays().contains(&lower.key);
                if durable_here
                    && is_overlay
                    && let Err(error) = at.store.delete(&lower.key).await
                {
                    warn!(key = %lower.key, %error, "an outranked overlay stays");
                }
            }
        }
    }

    /// The nodes of which the ledger still knows something, and which are dead.
    async fn dead_nodes(&self) -> Result<Vec<NodeId>> {
        let mut dead = vec![];
        for node in self.ledger.nodes().await? {
            match self.is_alive(&node).await {
                Ok(false) => dead.push(node),
                Ok(true) => {}
                Err(error) => warn!(%node, %error, "whether a node lives can't be told now"),
            }
        }
        Ok(dead)
    }

    async fn give_up_reservations(&self, dead: &[NodeId]) -> Result<()> {
        if self.state().awaits_leftovers() {
            return Err(Error::Busy);
        }
        for holder in dead {
            if self.may_be_given_up(holder).await? {
                self.ledger.unreserve_all(holder).await?;
            }
        }
        Ok(())
    }

    /// Whether what a dead node has reserved may be another's, once this one has looked for what it left. A name is kept for as long
    /// as a file may still come to bear it, in whoever's hands that is.
    pub(crate) async fn may_be_given_up(&self, holder: &NodeId) -> Result<bool> {
        match ClaimedFor::parse(holder) {
            None => Ok(true),
            Some((_, ClaimedFor::Staged(op, _))) => Ok(!self.state().has_in_hand(&op) && !self.is_alive(holder).await?),
            Some(_) => self.is_over(holder).await,
        }
    }

    pub(crate) async fn record_group(&self, record: Record) -> Result<Recorded> {
        let mut results = self.ledger.record(vec![record]).await;
        Ok(results.pop().expect("one result for each record")?)
    }
}

impl State {
    /// Notes whether what dead nodes left on a place could be looked for.
    fn looked(&mut self, place: usize, could: bool) {
        match could {
            true => drop(self.unlooked.remove(&place)),
            false => drop(self.unlooked.insert(place)),
        }
    }

    fn mark_in_hand(&mut self, place: usize, op: &OpId, is_broken: bool) {
        for known in self.leftovers.iter_mut().filter(|known| known.is_of(place, op)) {
            known.is_broken = is_broken;
        }
    }

    fn has_in_hand(&self, op: &OpId) -> bool {
        self.leftovers.iter().any(|known| known.leftover.op == *op)
    }

    /// Whether dead nodes may have left something that is settled once a store or the ledger answers.
    pub(crate) fn awaits_leftovers(&self) -> bool {
        !self.unlooked.is_empty() || self.leftovers.iter().any(|known| !known.is_broken)
    }
}

impl Place {
    /// Makes what was seen under `key` durable: what a dead process made visible may still be lost in a power cut, and is believed
    /// only once it can't be. Takes no room. Where nothing is staged, what is visible is durable.
    pub(crate) async fn make_durable(&self, key: &Key) -> core::Result<()> {
        let Some(staging) = self.store.staging().filter(|_| self.mode.creates()) else { return Ok(()) };
        // Nothing is staged under this name: what is to be finished lies at its key.
        let op = OpId::new("nothing").expect("a good name");
        staging.finish(&Pair { op, bytes: key.clone(), attributes: key.clone() }).await
    }

    /// The copy of a revision that lies here, as far as a look at its size tells.
    pub(crate) async fn copy_of(&self, attributes: &Attributes) -> Result<Option<CopyRow>> {
        let whole = self.size_of(&attributes.key).await? == Some(attributes.size);
        Ok(whole.then_some(present(self.id)))
    }
}

/// A copy that was seen, not read.
pub(crate) fn present(store: StoreId) -> CopyRow {
    CopyRow { store, state: CopyState::Present, verified_at: None }
}
