//! The table of letters of SQLite, by which `q` finds names: whether it says what the rows say, and making it anew. Triggers keep it in the
//! transaction of each change ([`crate::schema`]), so only another hand, a bug or a damaged page make it differ.

use crate::{convert, home::Home};
use sea_orm::{
    ConnectionTrait, DatabaseConnection, DbBackend, DbErr, QueryResult, RuntimeErr, Statement, TransactionTrait,
};
use std::{
    collections::BTreeSet,
    time::{Duration, Instant},
};
use uuid::Uuid;

/// So many rows may wait for their letters: a thousand are gathered together, and one transaction may bring more.
pub(crate) const BEHIND_MAX: i64 = 4_000;

/// Rows that are read at a time, and rows that get their letters in one transaction: about a tenth of a second.
const PAGE: i64 = 10_000;

/// The least time between two such transactions: who waits for the lock asks for it every tenth of a second.
const BETWEEN: Duration = Duration::from_millis(150);

/// A term and a row of the table as a number below 2³¹; the sum of them tells two tables apart, whatever order they are in.
const PRIME: u64 = (1 << 31) - 1;
const FOUND: &str = "SELECT count(*), ifnull(sum((unicode(term) * 1000003 + unicode(substr(term, 2)) * 10007 \
                     + unicode(substr(term, 3)) * 101) % 2147483647 * (doc % 2147483647) % 2147483647), 0) FROM letters_terms";

/// How many pairs of three letters and a row there are, and what they sum up to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Sum {
    pairs: u64,
    of: u64,
}

impl Sum {
    fn add(&mut self, three: [char; 3], row: i64) {
        let [first, second, third] = three.map(u64::from);
        let term = (first * 1_000_003 + second * 10_007 + third * 101) % PRIME;
        self.pairs += 1;
        self.of += term * (row.unsigned_abs() % PRIME) % PRIME;
    }
}

/// What is wrong with the table. Costs a walk over it and over all names, in one view of both.
pub(crate) async fn check(db: &DatabaseConnection) -> Result<Option<String>, DbErr> {
    let view = db.begin().await?;
    let behind = behind(&view).await?;
    let found = one(&view, FOUND, vec![]).await?;
    let found = Sum { pairs: number(&found, 0)?.cast_unsigned(), of: number(&found, 1)?.cast_unsigned() };
    let should_be = sum_of_rows(&view).await?;
    view.rollback().await?;
    Ok(match behind {
        _ if found != should_be => Some(format!(
            "the index of names differs from the names: it has {} entries, {} are right",
            found.pairs, should_be.pairs
        )),
        behind if behind > BEHIND_MAX => Some(format!("the index of names lacks the last {behind} files")),
        _ => None,
    })
}

/// How many of the last rows have no letters yet, at most.
pub(crate) async fn behind(db: &impl ConnectionTrait) -> Result<i64, DbErr> {
    let row = one(db, "SELECT ifnull((SELECT max(rowid) FROM files), 0) - upto FROM lettered", vec![]).await?;
    Ok(number(&row, 0)?.max(0))
}

async fn sum_of_rows(db: &impl ConnectionTrait) -> Result<Sum, DbErr> {
    let sql = "SELECT rowid, name_folded, owner_id FROM files \
               WHERE rowid > $1 AND rowid <= (SELECT upto FROM lettered) ORDER BY rowid LIMIT $2";
    let (mut sum, mut after) = (Sum::default(), i64::MIN);
    loop {
        let page = Statement::from_sql_and_values(DbBackend::Sqlite, sql, [after.into(), PAGE.into()]);
        let rows = db.query_all_raw(page).await?;
        for row in &rows {
            let (number, name, owner): (i64, String, Uuid) =
                (row.try_get_by_index(0)?, row.try_get_by_index(1)?, row.try_get_by_index(2)?);
            let owner = format!("X{:02X}", owner.as_bytes()[15]);
            let terms: BTreeSet<_> =
                threes(&name).chain(threes(&owner)).map(|three| three.map(as_fts5_reads)).collect();
            terms.into_iter().for_each(|of| sum.add(of, number));
            after = number;
        }
        if rows.is_empty() {
            return Ok(sum);
        }
    }
}

/// FTS5 takes two code points that are no characters for one that says so.
fn as_fts5_reads(letter: char) -> char {
    if matches!(letter, '\u{fffe}' | '\u{ffff}') { char::REPLACEMENT_CHARACTER } else { letter }
}

/// Each three letters that are beside each other.
pub(crate) fn threes(text: &str) -> impl Iterator<Item = [char; 3]> + '_ {
    let letters = text.chars();
    let (second, third) = (letters.clone().skip(1), letters.clone().skip(2));
    letters.zip(second).zip(third).map(|((first, second), third)| [first, second, third])
}

/// Empties the table and fills it again, in steps between which others write. Until that is done, what it lacks is looked through name by
/// name; where it is broken off, each new file brings some of the rest.
pub(crate) async fn make_anew(home: &Home) -> Result<(), DbErr> {
    let unreachable = |error: sqlx::Error| DbErr::Conn(RuntimeErr::SqlxError(error.into()));
    let db = home.writer().await.map_err(unreachable)?;
    let made = fill(home, &db).await;
    db.close().await.and(made)
}

async fn fill(home: &Home, db: &DatabaseConnection) -> Result<(), DbErr> {
    let more = format!(
        "INSERT INTO letters (rowid, name, owner) \
         SELECT files.rowid, name_folded, 'X' || substr(hex(owner_id), -2) FROM lettered CROSS JOIN files \
         WHERE files.rowid > upto AND files.rowid <= upto + {PAGE}; \
         UPDATE lettered SET upto = min(upto + {PAGE}, (SELECT ifnull(max(rowid), 0) FROM files))"
    );
    step(home, db, "INSERT INTO letters (letters) VALUES ('delete-all'); UPDATE lettered SET upto = 0").await?;
    loop {
        let begun = Instant::now();
        step(home, db, &more).await?;
        if behind(db).await? == 0 {
            return Ok(());
        }
        tokio::time::sleep(begun.elapsed().max(BETWEEN)).await;
    }
}

async fn step(home: &Home, db: &DatabaseConnection, sql: &str) -> Result<(), DbErr> {
    let transaction = home.begin(db).await?;
    transaction.execute_unprepared(sql).await?;
    transaction.commit().await
}

async fn one(db: &impl ConnectionTrait, sql: &str, values: Vec<sea_orm::Value>) -> Result<QueryResult, DbErr> {
    let row = db.query_one_raw(Statement::from_sql_and_values(DbBackend::Sqlite, sql, values)).await?;
    row.ok_or_else(|| convert::wrong("no row where there always is one"))
}

fn number(row: &QueryResult, at: usize) -> Result<i64, DbErr> {
    row.try_get_by_index(at)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Open, SqlLedger};
    use larder_files::{
        Attributes, FileId, Ledger, UserId,
        ledger::{Entry, FileQuery, Identity, Record},
    };

    struct Here {
        folder: tempfile::TempDir,
        ledger: SqlLedger,
    }

    impl Here {
        async fn new() -> Self {
            let folder = tempfile::tempdir().unwrap();
            let ledger = SqlLedger::open(&folder.path().join("larder.db"), Open { create: true }).await.unwrap();
            let identity = Identity { instance: Uuid::nil(), epoch: 1, mark: 0, stores: vec![] };
            ledger.initialise(&identity).await.unwrap();
            Self { folder, ledger }
        }

        /// By another hand.
        async fn run(&self, sql: &'static str) {
            let options = sqlx::sqlite::SqliteConnectOptions::new().filename(self.folder.path().join("larder.db"));
            let mut connection = <sqlx::SqliteConnection as sqlx::Connection>::connect_with(&options).await.unwrap();
            sqlx::raw_sql(sql).execute(&mut connection).await.unwrap();
        }

        async fn take(&self, entries: Vec<Entry>) {
            let record = |entry| Record { entry: Some(entry), ..Record::default() };
            let results = self.ledger.record(entries.into_iter().map(record).collect()).await;
            assert!(results.iter().all(Result::is_ok), "{results:?}");
        }

        async fn check(&self) -> Option<String> {
            self.ledger.check_index().await.unwrap()
        }

        async fn found(&self, q: &str) -> usize {
            let query = FileQuery { q: Some(q.into()), limit: 9_999, ..FileQuery::default() };
            self.ledger.files(&query).await.unwrap().len()
        }
    }

    fn file(number: u64, version: u64, owner: u8, name: &str) -> Entry {
        let (id, owner) = (Uuid::from_u128(number.into()), Uuid::from_u128(owner.into()));
        let attributes: Attributes = serde_json::from_value(serde_json::json!({
            "larder": 1, "id": id, "bucket": "documents", "bucket_id": Uuid::nil(), "owner": "ivanov",
            "owner_id": UserId(owner), "op": "op", "name": name, "key": format!("documents/{number}"), "revision": 1,
            "epoch": 1, "version": version, "size": 1, "sha256": "0".repeat(64), "crc64nvme": "0123456789abcdef",
            "content_type": "text/plain", "created_at": "2026-11-21T15:30:45.000Z",
            "revised_at": "2026-11-21T15:30:45.000Z", "updated_at": "2026-11-21T15:30:45.000Z", "deleted_at": null,
            "metadata": {}, "media": null, "tags": [],
        }))
        .unwrap();
        Entry::Attributes { attributes: Box::new(attributes), copies: vec![] }
    }

    fn files(numbers: std::ops::RangeInclusive<u64>) -> Vec<Entry> {
        numbers.map(|number| file(number, 1, 1, &format!("Report {number}"))).collect()
    }

    #[tokio::test]
    async fn a_row_comes_to_the_table_once() {
        let here = Here::new().await;
        here.take(files(1..=1000)).await;
        // The first of what FTS5 keeps of a table is the number of rows that were written to it.
        let rows = one(here.ledger.reader(), "SELECT hex(substr(block, 1, 2)) FROM letters_data WHERE id = 1", vec![]);
        let rows: String = rows.await.unwrap().try_get_by_index(0).unwrap();
        assert_eq!(rows, "8768", "1,000 as a varint");
        assert_eq!((here.check().await, behind(here.ledger.reader()).await.unwrap()), (None, 0));
    }

    /// The generator of Knuth's MMIX: seeds are printed, so a failure can be had again.
    struct Random(u64);

    impl Random {
        fn below(&mut self, bound: u64) -> u64 {
            self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (self.0 >> 33) % bound
        }
    }

    #[tokio::test]
    async fn the_table_agrees_with_the_rows_whatever_becomes_of_them() {
        let seed = u64::from(std::process::id());
        println!("seed {seed}");
        let (mut random, here) = (Random(seed), Here::new().await);
        const WORDS: [&str; 9] =
            ["Report", "ОТЧЁТ", "ab", "", "\"quoted\"", "aaaaaa", "X0A", "é\u{301}é", "ab\u{ffff}\u{fffe}ab"];
        here.take(files(1..=980)).await;
        let mut last = 980;
        for version in 2..80 {
            let group = (0..=random.below(8)).map(|_| {
                let (word, owner) = (WORDS[random.below(9) as usize], random.below(300) as u8);
                let number = 1 + random.below(last);
                match random.below(4) {
                    0 => Entry::Forget(FileId(Uuid::from_u128((last - random.below(3)).into()))),
                    1 => Entry::Forget(FileId(Uuid::from_u128(number.into()))),
                    2 => file(number, version, owner, &format!("{word}{version}")),
                    _ => {
                        last += 1;
                        file(last, 1, owner, &format!("{word} {last}"))
                    }
                }
            });
            here.take(group.collect()).await;
            assert_eq!(here.check().await, None, "seed {seed}, version {version}");
        }
        here.take(files(3_000..=4_500)).await;
        assert_eq!(here.check().await, None, "seed {seed}");
        here.ledger.remake_index().await.unwrap();
        assert_eq!((here.check().await, behind(here.ledger.reader()).await.unwrap()), (None, 0), "seed {seed}");
    }

    #[tokio::test]
    async fn what_differs_is_told_and_made_anew() {
        let here = Here::new().await;
        here.take(files(1..=1_000)).await;
        for spoilt in [
            "INSERT INTO letters (letters, rowid, name, owner) VALUES ('delete', 7, 'report 7', 'X01')",
            "INSERT INTO letters (rowid, name, owner) VALUES (5000, 'report 7', 'X01')",
            "INSERT INTO letters (rowid, name, owner) VALUES (7, 'reborn', 'X01')",
            "INSERT INTO letters (letters) VALUES ('delete-all')",
            // As if rows had other numbers, which they get where somebody copies a table.
            "INSERT INTO letters (letters) VALUES ('delete-all'); INSERT INTO letters (rowid, name, owner) \
             SELECT 1001 - rowid, name_folded, 'X01' FROM files",
        ] {
            here.run(spoilt).await;
            let told = here.check().await.unwrap_or_else(|| panic!("nothing is wrong after {spoilt}"));
            assert!(told.contains("differs from the names"), "{told}");
            here.ledger.remake_index().await.unwrap();
            assert_eq!((here.check().await, here.found("REPORT").await), (None, 1_000), "{spoilt}");
        }
    }

    #[tokio::test]
    async fn where_it_was_broken_off_all_is_found_and_new_files_bring_the_rest() {
        let here = Here::new().await;
        here.take(files(1..=5_500)).await;
        here.run("INSERT INTO letters (letters) VALUES ('delete-all'); UPDATE lettered SET upto = 0").await;
        assert_eq!(here.check().await.as_deref(), Some("the index of names lacks the last 5500 files"));
        assert_eq!(here.found("report").await, 5_500);
        // The last of them is a sixty-fourth.
        here.take(files(5_501..=5_504)).await;
        assert_eq!((here.check().await, behind(here.ledger.reader()).await.unwrap()), (None, 3_504));
        assert_eq!(here.found("report").await, 5_504);
        here.take(files(5_505..=5_569)).await;
        assert_eq!((here.check().await, here.found("report").await), (None, 5_569));
        assert!(behind(here.ledger.reader()).await.unwrap() < 1_000);
    }
}
