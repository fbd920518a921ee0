//! `fsck`: bytes, attributes and rows held against each other, online.
//!
//! 1. What dead nodes left: staged parts, intents, claims, reservations.
//! 2. From the rows to the stores: every file's attributes and bytes.
//! 3. Tombstones and sealed records, both ways.
//! 4. From the stores to the rows: every object.
//! 5. What the ledger finds files by.
//!
//! While others work, rows and stores differ for moments. So whatever looks wrong is only a *suspect*: it is looked at
//! again, after pauses, and reported only if it is wrong each time and no live claim explains it. With `repair`, what
//! is reported is then mended: rows from the truth, by its rank or under a claim, attributes from rows under a claim,
//! and what nobody wants goes to `.larder/quarantine/`, not away. Bytes without attributes go there only once nobody can
//! give them any: no operation has them staged, or, where nothing is staged, they are older than any upload may take.
//!
//! Memory is bounded: a page of rows, a batch of suspects, the keys of missing attributes that the rows already told of, and
//! the names of what stores have missed.

mod examine;

pub(crate) use examine::UPLOADED_WITHIN;
mod mend;

use crate::{
    Bucket, Error, FileId, Files, Finding, FindingKind, FsckOptions, FsckSummary, Recovered, Result, StoreId,
    Tombstone, User,
    files::Node,
    layout,
    ledger::{Claim, CopyRow, Entry, FileRow, Intent, IntentState, RecordId, RevisionRow},
    name_claim,
    rebuild::{bare_tombstone, buried},
    report::counted,
    sealed::{self, Sealed, unseal},
};
use futures_util::{StreamExt, TryStreamExt, stream};
use larder_storage_core::{Key, ListOptions, NodeId, Prefix};
use std::{
    cmp::Ordering,
    collections::BTreeSet,
    sync::{Arc, Mutex},
    time::Duration,
};
use tokio::sync::OnceCell;

/// Files and objects that are looked at at once.
const AT_ONCE: usize = 16;
/// Records that are asked for at once of those that a store has missed.
const MISSED_AT_ONCE: usize = 1000;
/// Suspects that are kept before they are looked at again.
const SUSPECTS_MAX: usize = 4096;
/// How long what looks wrong has to become right, in four looks: publishing takes far less, even behind a slow disk.
const PAUSES: [Duration; 4] =
    [Duration::from_millis(50), Duration::from_millis(250), Duration::from_millis(1000), Duration::from_millis(3000)];

type Report<'a> = &'a mut (dyn FnMut(Finding) + Send);

impl Files {
    /// Holds bytes, attributes and rows against each other, while others work, and tells each thing that is wrong.
    /// Costs two reads of each object's description, with `verify` also one of all bytes.
    ///
    /// # Errors
    /// `StoreUnavailable` where a store is away, and the ledger's: what was reported until then stands.
    pub async fn fsck(&self, options: FsckOptions, report: &mut (dyn FnMut(Finding) + Send)) -> Result<FsckSummary> {
        if options.repair {
            self.0.check_whole()?;
        }
        let (lacking, missed, verified) = (Mutex::default(), OnceCell::new(), Mutex::new(0));
        let check = Check { node: &self.0, options, lacking, missed, verified };
        let mut run = Run { check: &check, report, summary: FsckSummary::default(), suspects: vec![] };
        run.settle_leftovers().await?;
        run.intents().await?;
        run.claims().await?;
        run.files().await?;
        run.tombstones().await?;
        run.sealed(layout::accounts()).await?;
        run.sealed(layout::buckets()).await?;
        run.objects(Prefix::all()).await?;
        run.objects(layout::overlays()).await?;
        run.index().await?;
        Ok(FsckSummary { bytes_verified: check.verified(), ..run.summary })
    }
}

/// What is looked at, and what the looks share.
struct Check<'a> {
    node: &'a Arc<Node>,
    options: FsckOptions,
    /// Attributes that the rows already told to be missing or broken.
    lacking: Mutex<BTreeSet<(usize, Key)>>,
    /// What the ledger knows that a store has missed, once somebody asked: a running server carries it there.
    missed: OnceCell<BTreeSet<(StoreId, RecordId)>>,
    verified: Mutex<u64>,
}

/// What looked wrong.
#[derive(Clone, Debug)]
enum Suspect {
    /// An upload to a store that does not stage, by the number of its intent.
    Upload(u64),
    Claim(Box<Claim>),
    /// A node that holds idempotency keys.
    Reservations(NodeId),
    File(FileId),
    Object {
        place: usize,
        key: Key,
    },
    /// A tombstone on a store.
    Tombstone {
        place: usize,
        key: Key,
    },
    /// One that the ledger has.
    Purge(FileId, Option<u64>),
    Sealed {
        place: usize,
        key: Key,
    },
}

/// Something that is wrong, and what mends it.
struct Trouble {
    finding: Finding,
    mend: Mend,
    /// Whether it means that content is lost for good.
    lost: bool,
}

impl Trouble {
    fn new(kind: FindingKind, key: Option<&Key>, id: Option<FileId>, detail: impl Into<String>, mend: Mend) -> Self {
        let finding = Finding { kind, key: key.map(ToString::to_string), id, detail: detail.into() };
        Self { finding, mend, lost: false }
    }
}

/// What mends a trouble.
enum Mend {
    /// Nothing does.
    Nothing,
    /// Objects that nobody wants are moved out of the way.
    Quarantine(Vec<(usize, Key)>),
    /// What a tombstone covers is deleted.
    Delete(Vec<(usize, Key)>),
    /// Bytes that nobody gave attributes are moved out of the way, once nobody can give them any.
    Orphan { place: usize, key: Key },
    /// The ledger takes in the truth, by its rank.
    Record(Vec<Entry>),
    /// The rows of a file are made anew, whatever they say now.
    Reindex(FileId),
    /// Attributes are written beside their bytes, over what is broken, never over what is newer.
    Attributes { place: usize, attributes: Box<crate::Attributes> },
    /// A copy is made, or marked lost and made anew: bad bytes are moved out of the way, good ones brought from another copy.
    Copy { place: usize, revision: Box<RevisionRow> },
    /// A tombstone is written again.
    Bury(Box<Tombstone>),
    /// A tombstone is put where it is lacking.
    Give { place: usize, tombstone: Box<Tombstone> },
    /// A dead node's claim is settled.
    Settle(Box<Claim>),
    /// A dead node's upload is taken up.
    TakeUp(Box<Intent>),
    /// A dead node's reservations are given up.
    Unreserve(NodeId),
    /// What the ledger finds files by is made anew from its rows.
    Index,
    /// One after the other.
    Both(Box<[Mend; 2]>),
}

/// What the ledger knows, against a record that was found.
enum Known {
    /// Nothing, or what this one outranks.
    Older,
    /// Something else under the same epoch and version.
    Other,
    /// The same, or something newer.
    Same,
}

impl Known {
    fn compare<T: PartialEq>(known: Option<&T>, found: &T, rank: impl Fn(&T) -> (u64, u64)) -> Self {
        match known.map(|known| (rank(known).cmp(&rank(found)), known == found)) {
            None | Some((Ordering::Less, _)) => Self::Older,
            Some((Ordering::Equal, false)) => Self::Other,
            Some(_) => Self::Same,
        }
    }
}

/// One run: what is reported and what is yet to be looked at again.
struct Run<'a> {
    check: &'a Check<'a>,
    report: Report<'a>,
    summary: FsckSummary,
    suspects: Vec<Suspect>,
}

impl Run<'_> {
    /// Broken-off uploads are settled whatever the options: that is recovery, which anybody may do at any time.
    async fn settle_leftovers(&mut self) -> Result<()> {
        let node = self.check.node;
        for place in 0..node.places.len() {
            let mut recovered = Recovered::default();
            node.settle_leftovers(place, &mut recovered).await?;
            let (settled, waiting) = (recovered.finished + recovered.undone, recovered.waiting);
            let store = &node.places[place].name;
            if settled > 0 {
                let detail = format!("{} of dead nodes on `{store}`; settled", counted(settled, "upload", "uploads"));
                self.tell(Trouble::new(FindingKind::Temporary, None, None, detail, Mend::Nothing), true);
            }
            if waiting > 0 {
                let detail = format!(
                    "{} of dead nodes on `{store}` can't be settled now",
                    counted(waiting, "upload", "uploads")
                );
                self.tell(Trouble::new(FindingKind::Temporary, None, None, detail, Mend::Nothing), false);
            }
        }
        Ok(())
    }

    /// Uploads to stores that do not stage, which broke off and are not at their end yet.
    async fn intents(&mut self) -> Result<()> {
        for intent in self.check.node.ledger.intents().await? {
            self.look_at(Suspect::Upload(intent.id)).await?;
        }
        self.look_again().await
    }

    async fn claims(&mut self) -> Result<()> {
        let ledger = &self.check.node.ledger;
        for claim in ledger.claims().await? {
            self.look_at(Suspect::Claim(Box::new(claim))).await?;
        }
        self.look_again().await?;
        for node in ledger.nodes().await? {
            self.look_at(Suspect::Reservations(node)).await?;
        }
        self.look_again().await
    }

    /// From the rows to the stores.
    async fn files(&mut self) -> Result<()> {
        let check = self.check;
        let mut after = None;
        while let Some(page) = check.node.page_of_files(&mut after).await? {
            self.summary.files += page.len() as u64;
            let looks = stream::iter(page).map(|row: FileRow| async move {
                let id = row.attributes.id;
                check.file(row).await.map(|troubles| (!troubles.is_empty()).then_some(Suspect::File(id)))
            });
            let suspects: Vec<Suspect> =
                looks.buffered(AT_ONCE).try_filter_map(|found| async { Ok(found) }).try_collect().await?;
            self.suspect(suspects).await?;
        }
        self.look_again().await
    }

    /// From the stores to the rows.
    async fn objects(&mut self, folder: Prefix) -> Result<()> {
        let check = self.check;
        for (place, at) in check.node.places.iter().enumerate() {
            let keys = at.store.list(ListOptions::below(folder.clone())).map_ok(|listed| listed.object.key);
            let looks = keys.map_err(Error::from).map_ok(|key| async move {
                let troubles = check.object(place, &key).await?;
                Ok((!troubles.is_empty()).then_some(Suspect::Object { place, key }))
            });
            let mut groups =
                std::pin::pin!(looks.try_buffer_unordered(AT_ONCE).try_filter_map(|found| async { Ok(found) }));
            while let Some(suspect) = groups.try_next().await? {
                self.suspect(vec![suspect]).await?;
            }
        }
        self.look_again().await
    }

    /// What the ledger finds files by: it looks at one moment, so others' work is no suspicion.
    async fn index(&mut self) -> Result<()> {
        match self.check.node.ledger.check_index().await? {
            Some(wrong) => self.conclude(Trouble::new(FindingKind::IndexDiffers, None, None, wrong, Mend::Index)).await,
            None => Ok(()),
        }
    }

    async fn suspect(&mut self, suspects: Vec<Suspect>) -> Result<()> {
        self.suspects.extend(suspects);
        if self.suspects.len() >= SUSPECTS_MAX { self.look_again().await } else { Ok(()) }
    }

    /// Looks at the suspects again, after pauses. Those that are wrong each time are reported, and mended if that is
    /// wanted.
    async fn look_again(&mut self) -> Result<()> {
        let check = self.check;
        let read_once = check.verified();
        let (mut suspects, mut sure) = (std::mem::take(&mut self.suspects), vec![]);
        for pause in PAUSES {
            if suspects.is_empty() {
                break;
            }
            check.node.environment.clock.sleep(pause).await;
            let looks = stream::iter(suspects)
                .map(|suspect| async move { check.is_sure(&suspect).await.map(|is| (suspect, is)) });
            let seen: Vec<(Suspect, Option<bool>)> = looks.buffered(AT_ONCE).try_collect().await?;
            sure.extend(seen.iter().filter(|(_, is)| *is == Some(true)).map(|(suspect, _)| suspect.clone()));
            suspects = seen.into_iter().filter(|(_, is)| *is == Some(false)).map(|(suspect, _)| suspect).collect();
        }
        for suspect in sure.into_iter().chain(suspects) {
            // What was mended for one may have mended the next.
            for trouble in check.look(&suspect).await? {
                self.conclude(trouble).await?;
            }
        }
        *check.verified.lock().expect("nothing panics while it holds this lock") = read_once;
        Ok(())
    }

    /// Tombstones: the ledger knows all that lie on the stores, and each of the ledger's lies on a store.
    async fn tombstones(&mut self) -> Result<()> {
        let node = self.check.node;
        for (place, at) in node.places.iter().enumerate() {
            let mut keys = at.keys_below(layout::tombstones());
            while let Some(key) = keys.try_next().await? {
                self.look_at(Suspect::Tombstone { place, key }).await?;
            }
        }
        let mut after = None;
        while let Some(page) = node.page_of_tombstones(&mut after).await? {
            for tombstone in page {
                self.look_at(Suspect::Purge(tombstone.id, tombstone.revision)).await?;
            }
        }
        self.look_again().await
    }

    /// Sealed records can be opened, and the ledger knows the highest of each.
    async fn sealed(&mut self, folder: Prefix) -> Result<()> {
        for (place, at) in self.check.node.places.iter().enumerate() {
            let mut keys = at.keys_below(folder.clone());
            while let Some(key) = keys.try_next().await? {
                self.look_at(Suspect::Sealed { place, key }).await?;
            }
        }
        self.look_again().await
    }

    /// Looks once, and keeps what looks wrong for another look.
    async fn look_at(&mut self, suspect: Suspect) -> Result<()> {
        if self.check.look(&suspect).await?.is_empty() { Ok(()) } else { self.suspect(vec![suspect]).await }
    }

    /// Mends a trouble, if that is wanted, and tells of it.
    async fn conclude(&mut self, mut trouble: Trouble) -> Result<()> {
        let can_be = !matches!(trouble.mend, Mend::Nothing);
        let mut mended = false;
        if self.check.options.repair && can_be {
            let said = match self.check.mend(std::mem::replace(&mut trouble.mend, Mend::Nothing)).await {
                Ok(done) => {
                    mended = !trouble.lost;
                    done
                }
                Err(fatal @ Error::Fenced(_)) => return Err(fatal),
                Err(error) => format!("not mended: {}", crate::truth::chain(&error)),
            };
            trouble.finding.detail = format!("{}; {said}", trouble.finding.detail);
        }
        self.tell(trouble, mended);
        Ok(())
    }

    fn tell(&mut self, trouble: Trouble, mended: bool) {
        match trouble.finding.kind {
            FindingKind::Foreign => self.summary.foreign += 1,
            _ => self.summary.findings += 1,
        }
        self.summary.repaired += u64::from(mended);
        self.summary.lost += u64::from(trouble.lost);
        (self.report)(trouble.finding);
    }
}

/// What is wrong with a tombstone on a store, against what the ledger has of it. One that can't be read still counts.
fn tombstone_trouble(
    at: (usize, Key),
    (id, revision): (FileId, Option<u64>),
    found: Option<Tombstone>,
    known: Option<Tombstone>,
) -> Option<Trouble> {
    let key = at.1.clone();
    let trouble = |kind, detail, mend| Some(Trouble::new(kind, Some(&key), Some(id), detail, mend));
    match (found, known) {
        (Some(_), Some(_)) => None,
        (Some(found), None) => {
            trouble(FindingKind::RowDiffers, "a purge that the database does not know", Mend::Bury(Box::new(found)))
        }
        (None, known) => {
            let whole = known.unwrap_or_else(|| bare_tombstone(id, revision));
            let record = Mend::Record(vec![Entry::Tombstone(Box::new(whole.clone()))]);
            let away = Mend::Both(Box::new([Mend::Quarantine(vec![at]), Mend::Bury(Box::new(whole))]));
            trouble(
                FindingKind::AttributesBroken,
                "a tombstone that can't be read",
                Mend::Both(Box::new([record, away])),
            )
        }
    }
}

impl Check<'_> {
    /// What is wrong with a suspect now, but for files that a live operation holds: what differs is then its business.
    async fn look(&self, suspect: &Suspect) -> Result<Vec<Trouble>> {
        let troubles = match suspect {
            Suspect::Upload(id) => self.upload(*id).await?.into_iter().collect(),
            Suspect::Claim(claim) => self.claim(claim).await?.into_iter().collect(),
            Suspect::Reservations(node) => self.reservations(node).await?.into_iter().collect(),
            Suspect::Tombstone { place, key } => self.tombstone(*place, key).await?.into_iter().collect(),
            Suspect::Purge(id, revision) => self.purge(*id, *revision).await?.into_iter().collect(),
            Suspect::Sealed { place, key } => self.sealed(*place, key).await?.into_iter().collect(),
            Suspect::Object { place, key } => self.object(*place, key).await?,
            Suspect::File(id) => match self.node.ledger.file(*id).await? {
                Some(row) => self.file(row).await?,
                None => vec![],
            },
        };
        match troubles.iter().find_map(|trouble| trouble.finding.id) {
            Some(id) if self.is_claimed(id).await? => Ok(vec![]),
            _ => Ok(troubles),
        }
    }

    /// Whether no more looks are needed; `None` where it is right by now. What is foreign stays so, and damaged bytes
    /// are never on their way to becoming right, while each look reads them whole.
    async fn is_sure(&self, suspect: &Suspect) -> Result<Option<bool>> {
        let troubles = self.look(suspect).await?;
        let stays =
            |trouble: &Trouble| matches!(trouble.finding.kind, FindingKind::HashMismatch | FindingKind::Foreign);
        Ok((!troubles.is_empty()).then(|| troubles.iter().all(stays)))
    }

    /// Bytes that were read and hashed.
    fn verified(&self) -> u64 {
        *self.verified.lock().expect("nothing panics while it holds this lock")
    }

    /// Whether an upload of these bytes is under way, or broke off and is yet to be settled: what lies there is its business.
    async fn is_being_uploaded(&self, place: usize, bytes: &Key) -> Result<bool> {
        let store = self.node.places[place].id;
        let of_this = |intent: &Intent| intent.upload.store == store && intent.upload.key == *bytes;
        Ok(self.node.ledger.intents().await?.iter().any(of_this))
    }

    async fn is_claimed(&self, id: FileId) -> Result<bool> {
        match self.node.ledger.claim_of(id).await? {
            Some(claim) => self.node.is_alive(&claim.node).await,
            None => Ok(false),
        }
    }

    async fn upload(&self, id: u64) -> Result<Option<Trouble>> {
        let Some(intent) = self.node.ledger.intents().await?.into_iter().find(|intent| intent.id == id) else {
            return Ok(None);
        };
        let alive = self.node.is_alive(&intent.node).await?;
        if alive && intent.state == IntentState::Pending {
            return Ok(None);
        }
        let file = intent.upload.revision.map(|(file, _)| file);
        let (key, whose) = (intent.upload.key.clone(), if alive { "is settled by" } else { "was left by" });
        let detail =
            format!("an upload that broke off {whose} node {}; its lease ends {}", intent.node, intent.upload.until);
        let mend = if alive { Mend::Nothing } else { Mend::TakeUp(Box::new(intent)) };
        Ok(Some(Trouble::new(FindingKind::IntentOpen, Some(&key), file, detail, mend)))
    }

    async fn claim(&self, seen: &Claim) -> Result<Option<Trouble>> {
        let open = self.node.ledger.claim_of(seen.file).await?.filter(|open| open.id == seen.id);
        let Some(claim) = open else { return Ok(None) };
        if self.node.is_alive(&claim.node).await? {
            return Ok(None);
        }
        let (file, detail) =
            (claim.file, format!("a claim for a {} of node {}, which is dead", claim.purpose, claim.node));
        let mend = Mend::Settle(Box::new(claim));
        Ok(Some(Trouble::new(FindingKind::IntentOpen, None, Some(file), detail, mend)))
    }

    /// Idempotency keys of a dead node none of whose claims is open: those are told of first.
    async fn reservations(&self, node: &NodeId) -> Result<Option<Trouble>> {
        let ledger = &self.node.ledger;
        if self.node.is_alive(node).await?
            || !ledger.nodes().await?.contains(node)
            || ledger.claims().await?.iter().any(|claim| claim.node == *node)
        {
            return Ok(None);
        }
        let detail = match name_claim::node_of(node) {
            // Somebody may still settle what it was claimed for.
            Some(_) if !self.node.may_be_given_up(node).await? || self.node.state().awaits_leftovers() => {
                return Ok(None);
            }
            Some(node) => format!("the name of a file claimed by node {node}, which is dead"),
            None => format!("idempotency keys reserved by node {node}, which is dead"),
        };
        Ok(Some(Trouble::new(FindingKind::IntentOpen, None, None, detail, Mend::Unreserve(node.clone()))))
    }

    /// A tombstone on a store. One that can't be read still counts.
    async fn tombstone(&self, place: usize, key: &Key) -> Result<Option<Trouble>> {
        let (at, Some((id, revision))) = (&self.node.places[place], buried(key)) else { return Ok(None) };
        let found = match at.insist(|| at.read(key, Tombstone::BYTES_MAX)).await? {
            Ok(None) => return Ok(None),
            Ok(Some(bytes)) => Tombstone::from_bytes(&bytes),
            Err(_) => None,
        };
        let found = found.filter(|found| (found.id, found.revision) == (id, revision));
        let known = self.node.ledger.tombstone(id, revision).await?;
        Ok(tombstone_trouble((place, key.clone()), (id, revision), found, known))
    }

    /// A purge that the ledger has: its tombstone lies on a store, and on each that takes it.
    async fn purge(&self, id: FileId, revision: Option<u64>) -> Result<Option<Trouble>> {
        let Some(tombstone) = self.node.ledger.tombstone(id, revision).await? else { return Ok(None) };
        let (key, mut lies_anywhere, mut lacks_it) = (tombstone.key(), false, None);
        for (place, at) in self.node.places.iter().enumerate() {
            match at.size_of(&key).await? {
                Some(_) => lies_anywhere = true,
                None if at.mode.creates() && !self.is_missed(at.id, id, revision).await? => lacks_it = Some(place),
                None => {}
            }
        }
        let tombstone = Box::new(tombstone);
        let (kind, detail, mend) = match lacks_it {
            _ if !lies_anywhere => {
                let detail = "a purge whose tombstone is on no store".to_owned();
                (FindingKind::AttributesMissing, detail, Mend::Bury(tombstone))
            }
            Some(place) => {
                let detail = format!("the tombstone of a purge is yet to come to `{}`", self.node.places[place].name);
                (FindingKind::CopyWanted, detail, Mend::Give { place, tombstone })
            }
            None => return Ok(None),
        };
        Ok(Some(Trouble::new(kind, Some(&key), Some(id), detail, mend)))
    }

    /// Whether it is known that a store has missed a tombstone.
    async fn is_missed(&self, store: StoreId, id: FileId, revision: Option<u64>) -> Result<bool> {
        let ledger = &self.node.ledger;
        let all = async {
            let mut all = BTreeSet::new();
            for place in &self.node.places {
                let mut after = None;
                while let Some(page) =
                    Some(ledger.missed(place.id, after, MISSED_AT_ONCE).await?).filter(|page| !page.is_empty())
                {
                    after = page.last().map(|last| last.record);
                    all.extend(page.iter().map(|missed| (missed.store, missed.record)));
                }
            }
            Ok::<_, Error>(all)
        };
        let all = self.missed.get_or_try_init(|| all).await?;
        let of = [RecordId::Tombstone(id, revision), RecordId::Clearing(id, revision)];
        Ok(of.iter().any(|record| all.contains(&(store, *record))))
    }

    async fn sealed(&self, place: usize, key: &Key) -> Result<Option<Trouble>> {
        let at = &self.node.places[place];
        let broken = |detail: String| {
            let mend = Mend::Quarantine(vec![(place, key.clone())]);
            Ok(Some(Trouble::new(FindingKind::AttributesBroken, Some(key), None, detail, mend)))
        };
        let bytes = match at.insist(|| at.read(key, sealed::BYTES_MAX)).await? {
            Ok(None) => return Ok(None),
            Ok(Some(bytes)) => bytes,
            Err(error) => {
                return broken(format!("a sealed record that can't be read: {}", crate::truth::chain(&error)));
            }
        };
        let entry = match layout::accounts().contains(key) {
            true => self.opened(key, &bytes).map(|user: User| Entry::User(Box::new(user))),
            false => self.opened(key, &bytes).map(|bucket: Bucket| Entry::Bucket(Box::new(bucket))),
        };
        let Some(entry) = entry else { return broken("a sealed record that can't be opened".into()) };
        Ok(match self.known_of(&entry).await? {
            Known::Older => {
                let (detail, mend) = ("a sealed record that the database does not know", Mend::Record(vec![entry]));
                Some(Trouble::new(FindingKind::RowDiffers, Some(key), None, detail, mend))
            }
            Known::Other => {
                let detail = "a sealed record that says something else than the database's of the same version";
                Some(Trouble::new(FindingKind::AttributesConflict, Some(key), None, detail, Mend::Nothing))
            }
            Known::Same => None,
        })
    }

    fn opened<T: Sealed>(&self, key: &Key, bytes: &[u8]) -> Option<T> {
        unseal::<T>(&self.node.secrets, key, bytes).filter(|record| record.key() == *key)
    }

    /// What the ledger knows of a sealed record's user or bucket.
    async fn known_of(&self, entry: &Entry) -> Result<Known> {
        Ok(match entry {
            Entry::User(found) => {
                let known = self.node.ledger.user(found.id).await?;
                Known::compare(known.as_ref(), found, |user| (user.epoch, user.version))
            }
            Entry::Bucket(found) => {
                let known = self.node.ledger.buckets().await?.into_iter().find(|known| known.id == found.id);
                Known::compare(known.as_ref(), found, |bucket| (bucket.epoch, bucket.version))
            }
            _ => Known::Same,
        })
    }

    fn copy(&self, place: usize, state: crate::ledger::CopyState) -> CopyRow {
        CopyRow { store: self.node.places[place].id, state, verified_at: None }
    }
}
