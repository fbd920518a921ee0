//! The table of letters of SQLite, by which `q` finds names: whether it says what the rows say, and making it anew. Triggers keep it in the
//! transaction of each change ([`crate::schema`]), so only another hand, a bug or a damaged page make it differ.

use crate::{
    convert,
    fault::{CORRUPT, sqlite_code, sqlx_error},
    home::Home,
};
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

/// Rows that get their letters in one transaction: about a tenth of a second.
const PAGE: i64 = 10_000;

/// Rows that are read at a time: who asks next to us for the processor waits some milliseconds.
const READ: i64 = 500;

/// So many parts of the table are compared one after the other. While a part is read SQLite keeps what others write in its log.
const PARTS: usize = 16;

/// The least time between two such transactions: who waits for the lock asks for it every tenth of a second.
const BETWEEN: Duration = Duration::from_millis(150);

/// A term and a row of the table as a number below 2³¹; the sum of them tells two tables apart, whatever order they are in.
const PRIME: u64 = (1 << 31) - 1;
const FOUND: &str = "SELECT count(*), ifnull(sum((unicode(term) * 1000003 + unicode(substr(term, 2)) * 10007 \
                     + unicode(substr(term, 3)) * 101) % 2147483647 * (doc % 2147483647) % 2147483647), 0) \
                     FROM letters_terms WHERE term >= $1 AND term < $2";

/// What follows each name in the table, so that its last letters too begin three; no name has it.
const END: &str = "\u{1}\u{1}";

type Three = [char; 3];

/// Letters from one three on up to another.
#[derive(Clone, Copy, Debug)]
struct Part {
    from: Three,
    until: Option<Three>,
}

/// How many pairs of three letters and a row there are, and what they sum up to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Sum {
    pairs: u64,
    of: u64,
}

impl Sum {
    fn add(&mut self, three: Three, row: i64) {
        let [first, second, third] = three.map(u64::from);
        let term = (first * 1_000_003 + second * 10_007 + third * 101) % PRIME;
        self.pairs += 1;
        self.of += term * (row.unsigned_abs() % PRIME) % PRIME;
    }
}

/// What is wrong with the table. Costs a walk over it and over all names; a part that differs is compared once more, in one view of both:
/// where others write meanwhile this may be all parts, and a walk over all names for each.
pub(crate) async fn check(db: &DatabaseConnection) -> Result<Option<String>, DbErr> {
    let parts = parts(db).await?;
    let names = of_names(db, &parts).await?;
    for (part, right) in parts.iter().zip(names) {
        let compared = async {
            let differs = of_table(db, part).await? != right;
            if differs { compare(db, part).await } else { Ok(None) }
        };
        match compared.await {
            Ok(None) => {}
            Ok(wrong) => return Ok(wrong),
            Err(error) if is_damage(&error) => return Ok(Some(format!("the index of names is damaged: {error}"))),
            Err(error) => return Err(error),
        }
    }
    let behind = behind(db).await?;
    Ok((behind > BEHIND_MAX).then(|| format!("the index of names lacks the last {behind} files")))
}

/// Whether SQLite can't make sense of what it has read.
pub(crate) fn is_damage(error: &DbErr) -> bool {
    sqlx_error(error).and_then(sqlite_code) == Some(CORRUPT)
}

/// All letters, in parts that the first names have about equally much of.
async fn parts(db: &impl ConnectionTrait) -> Result<Vec<Part>, DbErr> {
    let names =
        Statement::from_string(DbBackend::Sqlite, format!("SELECT name_folded FROM files ORDER BY rowid LIMIT {READ}"));
    let names = db.query_all_raw(names).await?;
    let names = names.iter().map(|row| row.try_get_by_index(0)).collect::<Result<Vec<String>, _>>()?;
    let mut all: Vec<Three> =
        names.iter().flat_map(|name| threes(name)).map(|three| three.map(as_fts5_reads)).collect();
    all.sort_unstable();
    let bounds = all.chunks(all.len().div_ceil(PARTS).max(1)).skip(1).map(|chunk| chunk[0]);
    let bounds: BTreeSet<Three> = bounds.chain([['\0'; 3]]).collect();
    let until = bounds.iter().copied().skip(1).map(Some).chain([None]);
    Ok(bounds.iter().zip(until).map(|(from, until)| Part { from: *from, until }).collect())
}

/// What is wrong with a part, at one moment.
async fn compare(db: &DatabaseConnection, part: &Part) -> Result<Option<String>, DbErr> {
    let view = db.begin().await?;
    let right = of_names(&view, std::slice::from_ref(part)).await?[0];
    let found = of_table(&view, part).await?;
    view.rollback().await?;
    Ok((found != right).then(|| {
        let (from, found, right) = (part.from.iter().collect::<String>(), found.pairs, right.pairs);
        format!("the index of names differs from the names: from {from:?} on it has {found} entries, {right} are right")
    }))
}

/// How many of the last rows have no letters yet, at most.
pub(crate) async fn behind(db: &impl ConnectionTrait) -> Result<i64, DbErr> {
    let row = one(db, "SELECT ifnull((SELECT max(rowid) FROM files), 0) - upto FROM lettered", vec![]).await?;
    Ok(number(&row, 0)?.max(0))
}

async fn of_table(db: &impl ConnectionTrait, part: &Part) -> Result<Sum, DbErr> {
    // No three letters come after four of the last.
    let until = part.until.map_or_else(|| [char::MAX; 4].iter().collect(), |three| three.iter().collect::<String>());
    let row = one(db, FOUND, vec![part.from.iter().collect::<String>().into(), until.into()]).await?;
    Ok(Sum { pairs: number(&row, 0)?.cast_unsigned(), of: number(&row, 1)?.cast_unsigned() })
}

async fn of_names(db: &impl ConnectionTrait, parts: &[Part]) -> Result<Vec<Sum>, DbErr> {
    let sql = "SELECT rowid, name_folded, owner_id FROM files \
               WHERE rowid > $1 AND rowid <= (SELECT upto FROM lettered) ORDER BY rowid LIMIT $2";
    let (mut sums, mut after) = (vec![Sum::default(); parts.len()], i64::MIN);
    loop {
        let page = Statement::from_sql_and_values(DbBackend::Sqlite, sql, [after.into(), READ.into()]);
        let rows = db.query_all_raw(page).await?;
        for row in &rows {
            let (number, name, owner): (i64, String, Uuid) =
                (row.try_get_by_index(0)?, row.try_get_by_index(1)?, row.try_get_by_index(2)?);
            let (name, owner) = (format!("{name}{END}"), format!("X{:02X}", owner.as_bytes()[15]));
            let threes = threes(&name).chain(threes(&owner)).map(|three| three.map(as_fts5_reads));
            for three in threes.collect::<BTreeSet<_>>() {
                let at = parts.partition_point(|part| part.from <= three);
                let part = at.checked_sub(1).filter(|at| parts[*at].until.is_none_or(|until| three < until));
                part.into_iter().for_each(|at| sums[at].add(three, number));
            }
            after = number;
        }
        if rows.is_empty() {
            return Ok(sums);
        }
    }
}

/// FTS5 takes two code points that are no characters for one that says so.
pub(crate) fn as_fts5_reads(letter: char) -> char {
    if matches!(letter, '\u{fffe}' | '\u{ffff}') { char::REPLACEMENT_CHARACTER } else { letter }
}

/// Each three letters that are beside each other.
pub(crate) fn threes(text: &str) -> impl Iterator<Item = Three> + '_ {
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
         SELECT files.rowid, name_folded || char(1, 1), 'X' || substr(hex(owner_id), -2) FROM lettered CROSS JOIN files \
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
    use std::sync::{
        Arc,
        atomic::{AtomicUsize, Ordering::Relaxed},
    };

    struct Here {
        folder: tempfile::TempDir,
        ledger: SqlLedger,
    }

    impl Here {
        async fn new() -> Self {
            let folder = tempfile::tempdir().unwrap();
            let ledger = SqlLedger::open(&folder.path().join("larder.db"), Open { create: true }).await.unwrap();
            let identity = Identity { instance: Uuid::nil(), epoch: 1, mark: 0, stores: vec![], marks: [].into() };
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
            "INSERT INTO letters (letters, rowid, name, owner) VALUES ('delete', 7, 'report 7' || char(1, 1), 'X01')",
            "INSERT INTO letters (letters, rowid, name, owner) VALUES ('delete', 7, '7' || char(1, 1), '')",
            "INSERT INTO letters (rowid, name, owner) VALUES (5000, 'report 7', 'X01')",
            "INSERT INTO letters (rowid, name, owner) VALUES (7, 'reborn', 'X01')",
            "INSERT INTO letters (letters) VALUES ('delete-all')",
            // As if rows had other numbers, which they get where somebody copies a table.
            "INSERT INTO letters (letters) VALUES ('delete-all'); INSERT INTO letters (rowid, name, owner) \
             SELECT 1001 - rowid, name_folded || char(1, 1), 'X01' FROM files",
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

    /// As many files more as another hand can make at once, none of which has letters.
    async fn many(here: &Here) {
        here.take(files(1..=1)).await;
        here.run(
            "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 25000) \
             INSERT INTO files SELECT randomblob(16), epoch, version, digest, revision, bucket_id, owner_id, name, \
             name_folded, deleted, attributes, size, content_type FROM n, files",
        )
        .await;
        here.run("INSERT INTO letters (letters) VALUES ('delete-all'); UPDATE lettered SET upto = 0").await;
    }

    #[tokio::test]
    async fn while_it_is_made_anew_others_write_after_each_step() {
        let here = Here::new().await;
        many(&here).await;
        let mut remade = std::pin::pin!(here.ledger.remake_index());
        let mut seen = BTreeSet::new();
        for version in 2.. {
            tokio::select! {
                biased;
                remade = &mut remade => {
                    remade.unwrap();
                    break;
                }
                () = here.take(vec![file(1, version, 1, "Report 1")]) => {}
            }
            seen.insert(behind(here.ledger.reader()).await.unwrap());
        }
        assert!(seen.contains(&15_001) && seen.contains(&5_001), "{seen:?}");
        assert_eq!((here.check().await, behind(here.ledger.reader()).await.unwrap()), (None, 0));
    }

    #[tokio::test]
    async fn however_much_is_behind_a_group_of_new_files_brings_a_bounded_part_of_it() {
        let here = Here::new().await;
        many(&here).await;
        here.take(files(30_001..=30_256)).await;
        // Four of their rows are sixty-fourths, each of which brings two thousand.
        assert_eq!(behind(here.ledger.reader()).await.unwrap(), 25_257 - 4 * 2_000);
        assert!(here.check().await.unwrap().contains("lacks the last 17257 files"));
    }

    #[tokio::test]
    async fn damage_in_the_table_is_told_and_made_good() {
        let here = Here::new().await;
        here.take(files(1..=1_000)).await;
        here.run("UPDATE letters_data SET block = zeroblob(length(block)) WHERE id > 10").await;
        let told = here.check().await.unwrap();
        assert!(told.contains("is damaged"), "{told}");
        here.ledger.remake_index().await.unwrap();
        assert_eq!((here.check().await, here.found("REPORT").await), (None, 1_000));
    }

    #[tokio::test]
    async fn where_a_page_of_the_table_is_damaged_only_a_rebuild_helps() {
        let Here { folder, ledger } = Here::new().await;
        let path = folder.path().join("larder.db");
        let page = one(ledger.reader(), "SELECT rootpage FROM sqlite_master WHERE name = 'letters_data'", vec![]);
        let page = usize::try_from(number(&page.await.unwrap(), 0).unwrap()).unwrap();
        ledger.close().await;
        let mut bytes = std::fs::read(&path).unwrap();
        bytes[(page - 1) * 4096..page * 4096].fill(0xee);
        std::fs::write(&path, bytes).unwrap();
        let ledger = SqlLedger::open(&path, Open::default()).await.unwrap();
        let told = ledger.check_index().await.unwrap().unwrap();
        assert!(told.contains("is damaged"), "{told}");
        let refused = format!("{:?}", ledger.remake_index().await.unwrap_err());
        assert!(refused.contains("larder rebuild"), "{refused}");
    }

    /// Between two statements of a check that finds nothing wrong no view is held: the log can be written back.
    #[tokio::test]
    async fn a_check_holds_no_view_from_one_part_to_the_next() {
        let here = Here::new().await;
        here.take(files(1..=1_200)).await;
        let mut db = here.ledger.reader().clone();
        let path = here.folder.path().join("larder.db");
        let (asked, held) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
        let counted = (asked.clone(), held.clone());
        db.set_metric_callback(move |_| {
            counted.0.fetch_add(1, Relaxed);
            counted.1.fetch_add(usize::from(is_log_held(&path)), Relaxed);
        });
        let all = Part { from: ['\0'; 3], until: None };
        of_names(&db, &[all]).await.unwrap();
        assert_eq!(asked.swap(0, Relaxed), 3, "a thousand have letters, read by 500, and none follow");
        assert_eq!(check(&db).await.unwrap(), None);
        // The first names, all of them by 500, and each part.
        assert!(asked.load(Relaxed) > 10, "{asked:?}");
        assert_eq!(held.load(Relaxed), 0, "of {asked:?}");
    }

    /// Whether somebody's view keeps a change in the log, asked on a thread of its own: who asks must not go on meanwhile.
    fn is_log_held(path: &std::path::Path) -> bool {
        let options = sqlx::sqlite::SqliteConnectOptions::new().filename(path).busy_timeout(Duration::ZERO);
        let asked = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(async {
                let mut connection =
                    <sqlx::SqliteConnection as sqlx::Connection>::connect_with(&options).await.unwrap();
                sqlx::raw_sql("UPDATE meta SET mark = mark + 1").execute(&mut connection).await.unwrap();
                let asked = sqlx::query_scalar::<_, i64>("PRAGMA wal_checkpoint(TRUNCATE)");
                asked.fetch_one(&mut connection).await.unwrap() == 1
            })
        });
        asked.join().unwrap()
    }
}
