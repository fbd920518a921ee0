//! How PostgreSQL goes about lists, over a table of a size at which it chooses.

use super::*;
use crate::{Open, Server, SqlLedger};
use larder_files::BucketId;
use sea_orm::{DatabaseConnection, QueryTrait, SqlxPostgresConnector, Statement};
use std::time::Duration;
use tokio::sync::OnceCell;

const LARGE: u128 = 10;
const SMALL: u128 = 11;
const TINY: u128 = 12;
const ONE_OF_MANY: u128 = 1_500;

/// Six files in ten are one owner's, one in ten another's, ten a third's, the rest of a thousand.
const FILL: &str = r#"
INSERT INTO files (id, epoch, version, digest, revision, bucket_id, owner_id, name, name_folded, deleted, attributes, size, content_type)
SELECT lpad(to_hex(i), 32, '0')::uuid, 1, 1, '', 1, lpad(to_hex(100 + h % 3), 32, '0')::uuid,
  lpad(to_hex(CASE WHEN i % 6000 = 7 THEN 12 WHEN i % 10 < 6 THEN 10 WHEN i % 10 = 6 THEN 11 ELSE 1000 + h % 1000 END), 32, '0')::uuid,
  name, name, h % 50 = 0, repeat('attributes ', 60), h % 10000000, CASE WHEN h % 7 = 0 THEN 'text/plain' ELSE 'application/pdf' END
FROM (SELECT i, h, '2026/' || h % 1000 || '/report ' || md5(i::text)
    || CASE WHEN i % 10 >= 6 THEN ' жж' ELSE '' END AS name
  FROM (SELECT i, abs(hashint8(i))::bigint AS h FROM generate_series(1, 60000) i) numbered) named;
INSERT INTO tags (tag, file_id, owner_id)
SELECT CASE WHEN size % 100 = 0 THEN 'rare' ELSE 'common' END, id, owner_id FROM files;
INSERT INTO copies SELECT id, 1, id, 1, NULL FROM files;
ANALYZE;
"#;

/// The schema that all tests here look at, and a connection as a list has it.
async fn filled() -> Option<DatabaseConnection> {
    static FILLED: OnceCell<Server> = OnceCell::const_new();
    let url = std::env::var("LARDER_TEST_POSTGRES").ok()?;
    let made = async || {
        let server = Server::new(&url, &format!("p{}", Uuid::now_v7().simple())).unwrap();
        SqlLedger::connect(&server, Open { create: true }).await.unwrap().close().await;
        connection(&server).execute_unprepared(FILL).await.unwrap();
        server
    };
    Some(connection(FILLED.get_or_init(made).await))
}

fn connection(server: &Server) -> DatabaseConnection {
    SqlxPostgresConnector::from_sqlx_postgres_pool(server.scanner(Duration::from_secs(60)))
}

async fn lines(db: &DatabaseConnection, sql: String) -> Vec<String> {
    let rows = db.query_all_raw(Statement::from_string(DbBackend::Postgres, sql)).await.unwrap();
    rows.iter().map(|row| row.try_get_by_index(0).unwrap()).collect()
}

/// One of the ways that may be taken, so that each is by some query.
fn a_way(query: &FileQuery) -> Way {
    match &query.tag {
        Some(tag) if tag == "rare" => Way::Tag,
        _ if query.until.is_some() => Way::Time,
        _ if query.prefix.is_some() && query.from.is_some() => Way::Name,
        _ => Way::Walk,
    }
}

/// The plan for what is asked, and the one for whatever might be asked in these words.
async fn plans(db: &DatabaseConnection, query: &FileQuery, way: Way) -> [Vec<String>; 2] {
    let statement = shown(DbBackend::Postgres, query, way).build(DbBackend::Postgres);
    let own = lines(db, format!("EXPLAIN (COSTS OFF) {statement}")).await;
    let any = vec!["NULL"; statement.values.map_or(0, |values| values.0.len())].join(", ");
    db.execute_unprepared(&format!("SET plan_cache_mode = force_generic_plan; PREPARE p AS {}", statement.sql))
        .await
        .unwrap();
    let generic = lines(db, format!("EXPLAIN (COSTS OFF) EXECUTE p ({any})")).await;
    db.execute_unprepared("DEALLOCATE p; SET plan_cache_mode = auto").await.unwrap();
    [own, generic]
}

/// A plan without what is asked once, before it begins: of which letters the server has counted how many.
fn without_counts(plan: &[String]) -> Vec<String> {
    let depth = |line: &String| line.len() - line.trim_start().len();
    let mut counts = None;
    let mut kept = vec![];
    for line in plan {
        if counts.is_none_or(|depth_of_counts| depth(line) <= depth_of_counts) {
            counts = line.contains("InitPlan").then(|| depth(line));
            kept.push(line.clone());
        }
    }
    kept
}

/// What each scan of a plan goes by; `None` of one that reads a whole table.
fn scans(plan: &[String]) -> Vec<Option<&str>> {
    let is_scan =
        |(_, line): &(usize, &String)| line.contains("Seq Scan") || line.contains("Index") && line.contains("Scan");
    let condition =
        |(at, _): (usize, &String)| plan.get(at + 1).and_then(|next| next.trim().strip_prefix("Index Cond: "));
    plan.iter().enumerate().filter(is_scan).map(condition).collect()
}

fn queries(owner: Option<u128>) -> Vec<FileQuery> {
    let own = FileQuery {
        owner: owner.map(|owner| UserId(Uuid::from_u128(owner))),
        deleted: Some(false),
        limit: 100,
        ..FileQuery::default()
    };
    let id = |number| Some(FileId(Uuid::from_u128(number)));
    let narrowed: [fn(&mut FileQuery); 9] = [
        |_| {},
        |query| query.prefix = Some("2026/5".into()),
        |query| query.bucket = Some(BucketId(Uuid::from_u128(101))),
        |query| query.tag = Some("rare".into()),
        |query| query.tag = Some("common".into()),
        |query| query.q = Some("report".into()),
        |query| query.q = Some("5A".into()),
        |query| query.content_type = Some("text/plain".into()),
        |query| query.deleted = Some(true),
    ];
    let places = [
        Position::Created(id(30_000).unwrap()),
        Position::Name("2026/5".into(), id(1).unwrap()),
        Position::Size(5_000_000, id(1).unwrap()),
    ];
    let mut queries = vec![];
    let pairs = (0..narrowed.len()).flat_map(|at| narrowed[..=at].iter().map(move |first| (first, narrowed[at])));
    for (first, second) in pairs {
        for (from, until) in [(None, None), (id(20_000), id(20_100)), (id(100), None)] {
            for place in &places {
                for (descending, after) in [(false, None), (true, Some(place.clone()))] {
                    let mut query = FileQuery { from, until, sort: place.sort(), descending, after, ..own.clone() };
                    first(&mut query);
                    second(&mut query);
                    queries.push(query);
                }
            }
        }
    }
    queries
}

#[tokio::test]
async fn no_list_of_one_owner_reads_the_rows_of_others_over_postgresql() {
    let Some(db) = filled().await else { return };
    for query in [LARGE, ONE_OF_MANY].into_iter().flat_map(|owner| queries(Some(owner))) {
        for plan in plans(&db, &query, a_way(&query)).await {
            // One owner's part of an index, or one file that was found before.
            let is_own = |condition: &Option<&str>| {
                let own = ["(owner_id = ", "(file_id = files.id)", "(file_id = files_1.id)", "(id = tags.file_id)"];
                condition.is_some_and(|by| own.iter().any(|own| by.contains(own)))
            };
            let scans = scans(&plan);
            assert!(!scans.is_empty() && scans.iter().all(is_own), "{query:?}:\n{}", plan.join("\n"));
        }
    }
    let named = FileQuery {
        name: Some("a".into()),
        bucket: Some(BucketId(Uuid::from_u128(101))),
        descending: true,
        limit: 1,
        ..queries(Some(LARGE))[0].clone()
    };
    for plan in plans(&db, &named, Way::Walk).await {
        let by = scans(&plan)[0].unwrap();
        let is_bound = |part| by.contains(part);
        assert!(
            ["(owner_id = ", "(deleted = ", "(name >= ", "(name <= "].into_iter().all(is_bound),
            "{}",
            plan.join("\n")
        );
    }
}

/// How many pages are looked at for a list.
async fn pages(db: &DatabaseConnection, query: &FileQuery, way: Way) -> u64 {
    let statement = shown(DbBackend::Postgres, query, way).build(DbBackend::Postgres);
    let plan = lines(db, format!("EXPLAIN (ANALYZE, BUFFERS, COSTS OFF, TIMING OFF) {statement}")).await;
    let told = plan.iter().find(|line| line.contains("Buffers: shared")).unwrap();
    told.split(['=', ' ']).filter_map(|word| word.parse::<u64>().ok()).sum()
}

#[tokio::test]
async fn a_list_reads_no_further_than_its_range_over_postgresql() {
    let Some(db) = filled().await else { return };
    let (from, until) = (Some(FileId(Uuid::from_u128(20_000))), Some(FileId(Uuid::from_u128(20_010))));
    for owner in [None, Some(UserId(Uuid::from_u128(LARGE)))] {
        let own = FileQuery { owner, deleted: Some(false), limit: 100, ..FileQuery::default() };
        let few = FileQuery { prefix: Some("2026/100/report 1".into()), sort: Sort::Name, ..own.clone() };
        let soon = FileQuery { from, until, ..own.clone() };
        for (query, way) in [
            (FileQuery { name: Some("2026/100/report 1".into()), ..own.clone() }, Way::Walk),
            (few.clone(), Way::Walk),
            (FileQuery { sort: Sort::Size, ..few }, Way::Name),
            (soon.clone(), Way::Walk),
            (FileQuery { sort: Sort::Size, ..soon.clone() }, Way::Time),
            (FileQuery { tag: Some("common".into()), ..soon.clone() }, Way::Tag),
            (FileQuery { tag: Some("common".into()), sort: Sort::Name, descending: true, ..soon }, Way::Tag),
        ] {
            // Behind each range the index goes on for some hundreds.
            let pages = pages(&db, &query, way).await;
            assert!(pages < 100, "{pages} pages for {query:?}");
        }
    }
}

#[tokio::test]
async fn what_few_names_hold_is_found_by_its_letters_over_postgresql() {
    let Some(db) = filled().await else { return };
    let q = |owner: Option<u128>, q: &str| {
        let owner = owner.map(|owner| UserId(Uuid::from_u128(owner)));
        FileQuery { owner, q: Some(q.into()), deleted: Some(false), limit: 100, ..FileQuery::default() }
    };
    for (owner, sort) in
        [None, Some(LARGE)].into_iter().flat_map(|owner| [Sort::Created, Sort::Size].map(|sort| (owner, sort)))
    {
        for text in ["REPORT 12a", "ZZ", "w"] {
            let query = FileQuery { sort, ..q(owner, text) };
            assert_eq!(way(&db, &query).await.unwrap(), Way::Letters, "{query:?}");
            for plan in plans(&db, &query, Way::Letters).await {
                let of_files = without_counts(&plan);
                let scans = scans(&of_files);
                let by = scans[0].unwrap();
                assert!(by.contains("letters_in(name_folded, owner_id) @@ "), "{}", plan.join("\n"));
                assert!(
                    scans[1..].iter().all(|by| by.unwrap().contains("(file_id = files.id)")),
                    "{}",
                    plan.join("\n")
                );
            }
        }
    }
    for (owner, text) in [
        (None, "nowhere"),
        (Some(LARGE), "nowhere"),
        (None, "Отчёт"),
        (None, "ZZ"),
        (Some(LARGE), "'"),
        (None, "\\"),
        (None, "it's\\"),
    ] {
        assert_eq!(way(&db, &q(owner, text)).await.unwrap(), Way::Letters, "no name has {text}");
    }
    // Nothing is read for the letters that all names have, where there are others: "REP" and those behind it, and an owner of most.
    for (sought, worth) in [("rep\u{1}12a\u{1}zzz", 2), ("rep\u{1}epo\u{1}por\u{1}ort", 2), ("yyy\u{1}zzz\u{1}xxx", 3)]
    {
        let worth_seeking = sought::WORTH_SEEKING.replace("$1", &format!("'{sought}'"));
        let found = lines(&db, worth_seeking).await;
        assert_eq!(found[0].split(" & ").count(), worth, "{sought:?}: {found:?}");
    }
    // What many have, but not this owner; and what so many have that the index would tell of it late.
    assert_eq!(way(&db, &q(Some(LARGE), "ЖЖ")).await.unwrap(), Way::Letters);
    let rare = FileQuery { content_type: Some("none".into()), ..q(None, "жж") };
    assert_eq!(way(&db, &rare).await.unwrap(), Way::Walk);
    // Few have the tag; the trash is small.
    let tagged = FileQuery { tag: Some("rare".into()), ..q(None, "z") };
    assert_eq!(way(&db, &tagged).await.unwrap(), Way::Tag);
    assert_eq!(way(&db, &FileQuery { deleted: Some(true), ..q(None, "z") }).await.unwrap(), Way::Walk);
    // Pages that are soon full, and an owner whose names are few.
    for query in [q(None, "report"), q(Some(LARGE), "report 1"), q(None, "re"), q(Some(SMALL), "REPORT 12a")] {
        assert_eq!(way(&db, &query).await.unwrap(), Way::Walk, "{query:?}");
    }
}

#[tokio::test]
async fn no_list_reads_a_whole_table_over_postgresql() {
    let Some(db) = filled().await else { return };
    for query in queries(None) {
        let way = a_way(&query);
        for plan in plans(&db, &query, way).await {
            let is_sorted = plan.iter().any(|line| line.contains("Sort"));
            let is_good = scans(&plan).iter().all(Option::is_some) && (way != Way::Walk || !is_sorted);
            assert!(is_good, "{query:?}:\n{}", plan.join("\n"));
        }
    }
}

#[tokio::test]
async fn every_way_leads_to_the_same_page_over_postgresql() {
    let Some(db) = filled().await else { return };
    let ids = async |query: &FileQuery, way: Way| {
        let rows = select(DbBackend::Postgres, query, way).column(files::Column::Id).limit(query.limit as u64);
        rows.into_tuple::<Uuid>().all(&db).await.unwrap()
    };
    let mut found = 0;
    for query in [Some(SMALL), Some(TINY), None].into_iter().flat_map(queries).step_by(17) {
        let walked = ids(&query, Way::Walk).await;
        found += walked.len();
        for (way, fits) in [
            (Way::Tag, query.tag.is_some()),
            (Way::Time, has_time(&query)),
            (Way::Name, query.prefix.is_some()),
            (Way::Letters, query.q.is_some()),
        ] {
            if fits {
                assert_eq!(ids(&query, way).await, walked, "{way:?} of {query:?}");
            }
        }
    }
    assert!(found > 1_000, "{found}");
}
