//! A group is its members one after the other: random ones that name the same few files and copies again and again, recorded at once and
//! one at a time, over SQLite and PostgreSQL, against the ledger in memory.
//!
//! `LARDER_GROUPS=100000` goes through so many, `LARDER_GROUPS_SEED=7` through that one. A failure prints its seed and its members.
#![allow(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "a test may unwrap, in its helpers too, and says what it skips"
)]

use larder_files::{
    Attributes, FileId, Ledger, NodeId, StoreId, Timestamp, Tombstone,
    ledger::{
        Claim, CopyRow, CopyState, Entry, FileQuery, FileRow, Identity, LedgerError, MemoryLedger, Missed, Purpose,
        Record, RecordId, Recorded, RevisionRow,
    },
};
use larder_ledger::{Open, Server, SqlLedger};
use serde_json::json;
use std::env;
use uuid::Uuid;

const SEEDS: u64 = 250;
const SEEDS_OF_SERVER: u64 = 100;
const TAGS: [&str; 2] = ["red", "blue"];

fn at(seconds: i64) -> Timestamp {
    Timestamp::from_millis(1_760_000_000_000 + seconds * 1_000)
}

/// SplitMix64: a seed tells all, whatever the version of any crate.
struct Random(u64);

impl Random {
    fn below(&mut self, end: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (z ^ (z >> 31)) % end
    }

    fn pick<T: Clone>(&mut self, from: &[T]) -> T {
        from[usize::try_from(self.below(from.len() as u64)).unwrap()].clone()
    }
}

/// What the members of one seed name: no other seed names it.
struct Case {
    random: Random,
    files: [FileId; 2],
    stores: [StoreId; 2],
}

impl Case {
    fn new(seed: u64) -> Self {
        let id = |number: u128| Uuid::from_u128((u128::from(seed) + 1) * 10 + number);
        Self {
            random: Random(seed),
            files: [1, 2].map(|file| FileId(id(file))),
            stores: [1, 2].map(|of| StoreId(id(of))),
        }
    }

    fn copy(&mut self) -> CopyRow {
        use CopyState::{Dropping, Lost, Pending, Present, Verified};
        let now = Some(at(i64::try_from(self.random.below(3)).unwrap()));
        let known = [
            (Pending, None),
            (Present, None),
            (Present, now),
            (Verified, now),
            (Dropping, None),
            (Dropping, now),
            (Lost, None),
        ];
        let (state, verified_at) = self.random.pick(&known);
        CopyRow { store: self.random.pick(&self.stores), state, verified_at }
    }

    fn copies(&mut self, from: u64, to: u64) -> Vec<CopyRow> {
        (0..from + self.random.below(to - from + 1)).map(|_| self.copy()).collect()
    }

    fn attributes(&mut self, file: FileId, revision: u64) -> Attributes {
        let version = 1 + self.random.below(4);
        // Two that are of one number and lie under two keys are rare.
        let key = format!("documents/{}/{revision}{}", file.0, ["", "", "", "b"][self.random.below(4) as usize]);
        let tags = &TAGS[..self.random.below(3) as usize];
        serde_json::from_value(json!({
            "larder": 1, "id": file, "bucket": "documents", "bucket_id": Uuid::from_u128(1), "owner": "ivanov",
            "owner_id": Uuid::from_u128(2), "op": "op", "name": "a.txt", "key": key, "revision": revision, "epoch": 1,
            "version": version, "size": 1, "sha256": "0".repeat(64), "crc64nvme": "0123456789abcdef",
            "content_type": "text/plain", "created_at": at(0), "revised_at": at(0), "updated_at": at(0),
            "deleted_at": null, "tags": tags, "metadata": {}, "media": null,
        }))
        .unwrap()
    }

    fn tombstone(&mut self, id: FileId, revision: Option<u64>) -> Tombstone {
        let (bucket_id, owner_id) =
            (larder_files::BucketId(Uuid::from_u128(1)), larder_files::UserId(Uuid::from_u128(2)));
        let (version, stores) = (5 + self.random.below(2), self.stores.to_vec());
        let (purged_at, keys, created_by_key) = (at(9), vec![], vec![]);
        Tombstone {
            larder: 1,
            id,
            revision,
            bucket_id,
            owner_id,
            epoch: 1,
            version,
            purged_at,
            keys,
            stores,
            created_by_key,
        }
    }

    fn entry(&mut self) -> Entry {
        let (file, revision) = (self.random.pick(&self.files), 1 + self.random.below(2));
        match self.random.below(30) {
            0..=10 => Entry::Copies { file, revision, copies: self.copies(1, 3) },
            11..=16 => {
                let CopyRow { store, state, .. } = self.copy();
                Entry::Unwanted { file, revision, store, state }
            }
            17..=24 => {
                let attributes = Box::new(self.attributes(file, revision));
                Entry::Attributes { attributes, copies: self.copies(0, 2) }
            }
            25 | 26 => Entry::Forget(file),
            27 => {
                let missed = Missed {
                    store: self.stores[0],
                    record: RecordId::Tombstone(file, None),
                    epoch: 1,
                    version: self.random.below(4),
                };
                if self.random.below(2) == 0 { Entry::Missed(missed) } else { Entry::Carried(missed) }
            }
            28 => Entry::Tombstone(Box::new(self.tombstone(file, Some(revision)))),
            _ => Entry::Tombstone(Box::new(self.tombstone(file, None))),
        }
    }

    /// `from` to `to` members, which may end this claim.
    fn members(&mut self, from: u64, to: u64, open: Option<&Claim>) -> Vec<Record> {
        let ends = |random: &mut Random| open.filter(|_| random.below(6) == 0).map(|claim| claim.id);
        let many = from + self.random.below(to - from + 1);
        (0..many).map(|_| Record { entry: Some(self.entry()), closes: ends(&mut self.random), settles: None }).collect()
    }
}

/// All that a ledger tells of what a seed names.
#[derive(Debug, PartialEq)]
struct Told {
    rows: Vec<Option<FileRow>>,
    revisions: Vec<Vec<RevisionRow>>,
    tombstones: Vec<Option<Tombstone>>,
    missed: Vec<Missed>,
    tagged: Vec<Vec<FileRow>>,
    /// What claims there are, and the numbers that are given next.
    claims: Vec<String>,
}

async fn claim(ledger: &dyn Ledger, file: FileId) -> Result<Claim, LedgerError> {
    ledger.claim(file, Purpose::Change, &NodeId::new("n").unwrap(), at(0)).await
}

async fn told(ledger: &dyn Ledger, case: &Case) -> Told {
    let mut told =
        Told { rows: vec![], revisions: vec![], tombstones: vec![], missed: vec![], tagged: vec![], claims: vec![] };
    told.missed = ledger.missed(case.stores[0], None, 10).await.unwrap();
    for tag in TAGS {
        let of_case = FileQuery { from: Some(case.files[0]), limit: 2, ..FileQuery::default() };
        let mut found = ledger.files(&FileQuery { tag: Some(tag.into()), ..of_case }).await.unwrap();
        found.retain(|row| case.files.contains(&row.attributes.id));
        told.tagged.push(found);
    }
    for file in case.files {
        told.rows.push(ledger.file(file).await.unwrap());
        told.revisions.push(ledger.revisions(file).await.unwrap());
        for revision in [None, Some(1), Some(2)] {
            told.tombstones.push(ledger.tombstone(file, revision).await.unwrap());
        }
        let claim = claim(ledger, file).await;
        told.claims.push(format!("{:?} {claim:?}", ledger.claim_of(file).await.unwrap()));
        if let Some(open) = ledger.claim_of(file).await.unwrap() {
            let end = Record { closes: Some(open.id), ..Record::default() };
            ledger.record(vec![end]).await.pop().unwrap().unwrap();
        }
    }
    told
}

type Results = Vec<String>;

fn words(results: Vec<Result<Recorded, LedgerError>>) -> Results {
    results.iter().map(|result| format!("{result:?}")).collect()
}

async fn in_turn(ledger: &dyn Ledger, members: &[Record]) -> Results {
    let mut results = vec![];
    for member in members {
        results.extend(words(ledger.record(vec![member.clone()]).await));
    }
    results
}

async fn started(ledger: &dyn Ledger) {
    let identity = Identity { instance: Uuid::from_u128(1), epoch: 1, mark: 0, stores: vec![], marks: [].into() };
    ledger.initialise(&identity).await.unwrap();
}

/// Goes through so many seeds: at each, one of two ledgers that are empty at first is told of its members at once, the other in turn.
async fn hold(at_once: &dyn Ledger, alone: &dyn Ledger, seeds: u64) {
    let number = |name: &str| env::var(name).ok().map(|text| text.parse().unwrap());
    let only: Option<u64> = number("LARDER_GROUPS_SEED");
    let seeds = only.map_or(0..number("LARDER_GROUPS").unwrap_or(seeds), |seed| seed..seed + 1);
    let memory = MemoryLedger::new();
    let all: [&dyn Ledger; 3] = [&memory, alone, at_once];
    for ledger in all {
        started(ledger).await;
    }
    for seed in seeds {
        let mut case = Case::new(seed);
        let before = case.members(1, 4, None);
        let mut open = vec![];
        for ledger in all {
            in_turn(ledger, &before).await;
            open.push(claim(ledger, case.files[0]).await.ok());
        }
        assert!(open.iter().all(|claim| *claim == open[0]), "seed {seed}: the claims are {open:?}");
        let members = case.members(2, 6, open[0].as_ref());
        let wanted = (in_turn(&memory, &members).await, told(&memory, &case).await);
        let said = |how: &str| format!("seed {seed}: {members:#?}\nrecorded {how}, after {before:#?}");
        let found = (in_turn(alone, &members).await, told(alone, &case).await);
        assert_eq!(found, wanted, "{}", said("in turn"));
        let found = (words(at_once.record(members.clone()).await), told(at_once, &case).await);
        assert_eq!(found, wanted, "{}", said("at once"));
    }
}

#[tokio::test]
async fn a_group_over_sqlite_is_its_members_one_after_the_other() {
    let folder = tempfile::tempdir().unwrap();
    let open = async |name: &str| SqlLedger::open(&folder.path().join(name), Open { create: true }).await.unwrap();
    hold(&open("at_once.db").await, &open("alone.db").await, SEEDS).await;
}

/// `LARDER_TEST_POSTGRES` as in `postgres.rs`.
#[tokio::test]
async fn a_group_over_postgresql_is_its_members_one_after_the_other() {
    let Ok(url) = env::var("LARDER_TEST_POSTGRES") else {
        println!("skipped: LARDER_TEST_POSTGRES is not set");
        return;
    };
    let open = async || {
        let server = Server::new(&url, &format!("t{}", Uuid::now_v7().simple())).unwrap();
        SqlLedger::connect(&server, Open { create: true }).await.unwrap()
    };
    hold(&open().await, &open().await, SEEDS_OF_SERVER).await;
}
