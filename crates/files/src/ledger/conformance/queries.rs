//! Lists: each filter, alone and together, and pages while rows come and go.

use super::{
    Broken,
    harness::{Harness, Verdict, at, attributes, copy, dead, entry, file, revised, tombstone},
};
use crate::{
    Attributes, BucketId, FileId, Page, UserId,
    ledger::{CopyCount, CopyRow, CopyState, Entry, FileQuery, PlacedQuery, Position, Sort, folded},
};
use std::collections::BTreeSet;
use uuid::Uuid;

fn all() -> FileQuery {
    FileQuery::default()
}

/// With a file of each name, numbered from 1.
async fn with_names(harness: Harness, names: &[&str]) -> Result<Harness, Broken> {
    let harness = harness.started().await?;
    for (number, name) in (1..).zip(names) {
        harness.put(&Attributes { name: (*name).into(), ..attributes(number, 1) }).await?;
    }
    Ok(harness)
}

/// With twelve files that differ in bucket, owner, tag and trash.
async fn with_kinds(harness: Harness) -> Result<Harness, Broken> {
    let harness = harness.started().await?;
    for number in 1..=12_u128 {
        let kind = Attributes {
            bucket_id: BucketId(Uuid::from_u128(number % 2)),
            owner_id: UserId(Uuid::from_u128(number % 3)),
            name: format!("name {}", number % 5),
            tags: (0..number % 4).map(|tag| format!("tag{tag}")).collect(),
            content_type: format!("text/{}", number % 2),
            size: u64::try_from(number % 4).expect("small"),
            deleted_at: (number > 6).then(|| at(7)),
            ..attributes(number, 1)
        };
        harness.put(&kind).await?;
    }
    Ok(harness)
}

/// Every filter that [`with_kinds`] tells apart.
fn filters() -> Vec<FileQuery> {
    vec![
        FileQuery { bucket: Some(BucketId(Uuid::from_u128(1))), ..all() },
        FileQuery { owner: Some(UserId(Uuid::from_u128(2))), ..all() },
        FileQuery { name: Some("name 3".into()), ..all() },
        FileQuery { prefix: Some("name".into()), ..all() },
        FileQuery { q: Some("E 2".into()), ..all() },
        FileQuery { tag: Some("tag1".into()), ..all() },
        FileQuery { deleted: Some(true), ..all() },
        FileQuery { deleted: Some(false), ..all() },
        FileQuery { content_type: Some("text/1".into()), ..all() },
        FileQuery { from: Some(file(3)), ..all() },
        FileQuery { until: Some(file(10)), ..all() },
        FileQuery { after: Some(Position::Created(file(4))), ..all() },
        all(),
    ]
}

/// What a query should list, told by the contract itself.
async fn expected(harness: &Harness, query: &FileQuery) -> Result<Vec<u128>, Broken> {
    let mut wanted = Vec::new();
    for number in 1..=12 {
        let row = harness.ledger.file(file(number)).await?;
        let row = row.ok_or_else(|| Broken::new(format!("file {number} has no row")))?;
        let place = Position::of(&row.attributes, query.sort);
        if query.is_behind(&place) && query.wants(&row.attributes) {
            wanted.push((place, number));
        }
    }
    wanted.sort();
    if query.descending {
        wanted.reverse();
    }
    Ok(wanted.into_iter().map(|(_, number)| number).collect())
}

pub(super) async fn files_come_by_id(harness: Harness) -> Verdict {
    let harness = harness.started().await?;
    for number in [5, 1 << 100, 2, 1 << 64, 3] {
        harness.put(&attributes(number, 1)).await?;
    }
    ensure_eq!(harness.listed(all()).await?, vec![2, 3, 5, 1 << 64, 1 << 100], "the files");
    Ok(())
}

pub(super) async fn a_page_ends_at_its_limit(harness: Harness) -> Verdict {
    let harness = with_kinds(harness).await?;
    for limit in [0, 1, 5, 12, 13] {
        let rows = harness.ledger.files(&FileQuery { limit, ..all() }).await?;
        ensure_eq!(rows.len(), limit.min(12), "rows where {limit} were asked for");
    }
    Ok(())
}

pub(super) async fn each_filter_stands_alone(harness: Harness) -> Verdict {
    let harness = with_kinds(harness).await?;
    for query in filters() {
        let wanted = expected(&harness, &query).await?;
        ensure!(!wanted.is_empty(), "{query:?} wants nothing");
        ensure_eq!(harness.listed(query.clone()).await?, wanted, "{query:?}");
    }
    Ok(())
}

pub(super) async fn a_text_with_nul_finds_nothing(harness: Harness) -> Verdict {
    let harness = with_kinds(harness).await?;
    for text in ["\0", "name 1\0", "name\0", "\0name 1", "tag1\0", "text/1\0"] {
        let with = |set: fn(&mut FileQuery, String)| {
            let mut query = all();
            set(&mut query, text.to_owned());
            query
        };
        for query in [
            with(|query, text| query.name = Some(text)),
            with(|query, text| query.prefix = Some(text)),
            with(|query, text| query.q = Some(text)),
            with(|query, text| query.tag = Some(text)),
            with(|query, text| query.content_type = Some(text)),
        ] {
            ensure_eq!(harness.listed(query.clone()).await?, vec![], "{query:?}");
            let page = harness.ledger.folders(&FileQuery { sort: Sort::Name, limit: 9, ..query.clone() }).await?;
            ensure_eq!(page, Page::default(), "folders of {query:?}");
        }
        ensure_eq!(harness.ledger.user_named(text).await?, None, "the user {text:?}");
    }
    // A place is one even where no file can be.
    for (descending, name) in [(false, "name 2\0"), (true, "name 2\0x"), (false, "\0"), (true, "\0")] {
        let query = FileQuery {
            sort: Sort::Name,
            descending,
            after: Some(Position::Name(name.into(), FileId(Uuid::nil()))),
            ..all()
        };
        let wanted = expected(&harness, &query).await?;
        ensure_eq!(harness.listed(query.clone()).await?, wanted, "{query:?}");
    }
    Ok(())
}

const FOLDERS: [&str; 12] =
    ["a", "a/", "a/b", "a/b/c", "a/c", "a0", "a-", "b/x/y", "b/x/z", "c", "é/é", "\u{10ffff}/\u{10ffff}"];

/// What a page of names as folders should be, told by the contract: the names of its files, and its folders.
async fn in_folders(harness: &Harness, query: &FileQuery) -> Result<(Vec<String>, Vec<String>), Broken> {
    let (mut files, mut folders) = (vec![], vec![]);
    for number in expected(harness, &FileQuery { after: None, ..query.clone() }).await? {
        let row = harness.ledger.file(file(number)).await?;
        let name = row.ok_or_else(|| Broken::new(format!("file {number} has no row")))?.attributes.name;
        let prefix = query.prefix.as_ref().map_or(0, String::len);
        match name[prefix..].find('/') {
            None => files.push(name),
            Some(slash) if folders.last().is_some_and(|last| *last == name[..=prefix + slash]) => {}
            Some(slash) => folders.push(name[..=prefix + slash].to_owned()),
        }
    }
    Ok((files, folders))
}

pub(super) async fn folders_come_once_each_with_each_filter_and_both_ways(harness: Harness) -> Verdict {
    let harness = harness.started().await?;
    for (number, name) in (1_u128..).zip(FOLDERS) {
        let tags = if number % 3 == 0 { vec![] } else { vec!["tag1".to_owned()] };
        let owner_id = UserId(Uuid::from_u128(number % 2));
        harness.put(&Attributes { name: name.into(), tags, owner_id, ..attributes(number, 1) }).await?;
    }
    let of = |query: FileQuery| FileQuery { sort: Sort::Name, ..query };
    let (tag, owner, q) = (Some("tag1".to_owned()), Some(UserId(Uuid::from_u128(1))), Some("/".to_owned()));
    for filter in [
        of(all()),
        of(FileQuery { prefix: Some("a".into()), ..all() }),
        of(FileQuery { prefix: Some("a/".into()), ..all() }),
        of(FileQuery { prefix: Some("b/x".into()), ..all() }),
        of(FileQuery { tag: tag.clone(), ..all() }),
        of(FileQuery { owner, ..all() }),
        of(FileQuery { owner, tag, q: q.clone(), ..all() }),
        of(FileQuery { q, from: Some(file(3)), until: Some(file(11)), ..all() }),
    ] {
        for (descending, limit) in [1, 2, 3, 100].into_iter().flat_map(|limit| [(false, limit), (true, limit)]) {
            let mut query = FileQuery { descending, limit, ..filter.clone() };
            let wanted = in_folders(&harness, &query).await?;
            let (mut files, mut folders, mut pages) = (vec![], vec![], 0);
            loop {
                let page = harness.ledger.folders(&query).await?;
                let count = page.items.len() + page.folders.len();
                ensure!(count <= limit && pages < 30, "{count} on page {pages} of {query:?}");
                files.extend(page.items.into_iter().map(|row| row.attributes.name));
                folders.extend(page.folders);
                pages += 1;
                query.after = page.next;
                if query.after.is_none() {
                    break;
                }
            }
            ensure_eq!((files, folders), wanted, "{query:?}");
        }
    }
    Ok(())
}

pub(super) async fn filters_stand_together(harness: Harness) -> Verdict {
    let harness = with_kinds(harness).await?;
    let mut some = 0;
    for one in filters() {
        for other in filters() {
            let both = FileQuery {
                bucket: one.bucket.or(other.bucket),
                owner: one.owner.or(other.owner),
                name: one.name.clone().or(other.name),
                prefix: one.prefix.clone().or(other.prefix),
                q: one.q.clone().or(other.q),
                tag: one.tag.clone().or(other.tag),
                content_type: one.content_type.clone().or(other.content_type),
                deleted: one.deleted.or(other.deleted),
                from: one.from.or(other.from),
                until: one.until.or(other.until),
                after: one.after.clone().or(other.after),
                ..all()
            };
            let wanted = expected(&harness, &both).await?;
            some += usize::from(!wanted.is_empty());
            ensure_eq!(harness.listed(both.clone()).await?, wanted, "{both:?}");
        }
    }
    ensure!(some > 80, "only {some} pairs of filters want anything");
    Ok(())
}

const SORTS: [Sort; 3] = [Sort::Created, Sort::Name, Sort::Size];

pub(super) async fn each_order_goes_with_each_filter_and_both_ways(harness: Harness) -> Verdict {
    let harness = with_kinds(harness).await?;
    for filter in filters().into_iter().filter(|filter| filter.after.is_none()) {
        for (sort, descending) in SORTS.into_iter().flat_map(|sort| [(sort, false), (sort, true)]) {
            let query = FileQuery { sort, descending, ..filter.clone() };
            let wanted = expected(&harness, &query).await?;
            ensure_eq!(harness.listed(query.clone()).await?, wanted, "{query:?}");
        }
    }
    Ok(())
}

pub(super) async fn pages_of_each_order_hold_each_file_once(harness: Harness) -> Verdict {
    let harness = with_kinds(harness).await?;
    for (sort, descending) in SORTS.into_iter().flat_map(|sort| [(sort, false), (sort, true)]) {
        let whole = expected(&harness, &FileQuery { sort, descending, ..all() }).await?;
        for limit in [1, 2, 5] {
            let mut query = FileQuery { sort, descending, limit, ..all() };
            let mut seen = Vec::new();
            while seen.len() < 13 {
                let page = harness.ledger.files(&query).await?;
                let Some(last) = page.last() else { break };
                query.after = Some(Position::of(&last.attributes, sort));
                seen.extend(page.iter().map(|row| row.attributes.id.0.as_u128()));
            }
            ensure_eq!(seen, whole.clone(), "pages of {limit} by {sort:?}, descending: {descending}");
        }
    }
    Ok(())
}

pub(super) async fn filters_orders_and_places_go_together(harness: Harness) -> Verdict {
    let harness = with_kinds(harness).await?;
    let mut rows = vec![];
    for number in 1..=12 {
        rows.extend(harness.ledger.file(file(number)).await?.map(|row| row.attributes));
    }
    let owned = |deleted| FileQuery { owner: Some(UserId(Uuid::from_u128(2))), deleted, ..all() };
    let wholes = [Some(false), Some(true)].map(|deleted| FileQuery { deleted, ..all() });
    for whole in wholes.into_iter().chain([owned(Some(false)), owned(Some(true))]) {
        for filter in filters().into_iter().filter(|filter| filter.after.is_none() && filter.deleted.is_none()) {
            let both = FileQuery { owner: whole.owner.or(filter.owner), deleted: whole.deleted, ..filter };
            for (sort, descending) in SORTS.into_iter().flat_map(|sort| [(sort, false), (sort, true)]) {
                let places = [0, 3, 8].map(|at| Position::of(&rows[at], sort));
                for after in [None].into_iter().chain(places.map(Some)) {
                    let query = FileQuery { sort, descending, after, ..both.clone() };
                    let wanted = rows.iter().filter(|file| query.wants(file)).map(|file| Position::of(file, sort));
                    let mut wanted: Vec<_> = wanted.filter(|place| query.is_behind(place)).collect();
                    wanted.sort();
                    if descending {
                        wanted.reverse();
                    }
                    let listed = harness.ledger.files(&FileQuery { limit: 100, ..query.clone() }).await?;
                    let listed: Vec<_> = listed.iter().map(|row| Position::of(&row.attributes, sort)).collect();
                    ensure_eq!(listed, wanted, "{query:?}");
                }
            }
        }
    }
    Ok(())
}

pub(super) async fn a_place_of_another_order_is_behind_everything(harness: Harness) -> Verdict {
    let harness = with_kinds(harness).await?;
    for after in [Position::Created(file(1)), Position::Name("a".into(), file(1)), Position::Size(0, file(1))] {
        for sort in SORTS.into_iter().filter(|sort| *sort != after.sort()) {
            for descending in [false, true] {
                let query = FileQuery { sort, descending, after: Some(after.clone()), ..all() };
                ensure_eq!(harness.listed(query.clone()).await?, vec![], "{query:?}");
            }
        }
    }
    Ok(())
}

pub(super) async fn names_are_ordered_by_bytes(harness: Harness) -> Verdict {
    let names = ["b", "B", "é", "e\u{301}", "a/b", "a-b", "a", "\u{10ffff}", "ä", "z", "aa", "0"];
    let harness = with_names(harness, &names).await?;
    let mut wanted: Vec<_> = (1_u128..).zip(names).map(|(number, name)| (name, number)).collect();
    wanted.sort_unstable();
    let wanted: Vec<_> = wanted.into_iter().map(|(_, number)| number).collect();
    ensure_eq!(harness.listed(FileQuery { sort: Sort::Name, ..all() }).await?, wanted.clone(), "names");
    let place = Position::Name("a0".into(), FileId(Uuid::nil()));
    let query = FileQuery { sort: Sort::Name, after: Some(place), ..all() };
    let behind = wanted.iter().position(|number| *number == 11).expect("`aa` is there");
    ensure_eq!(harness.listed(query).await?, wanted[behind..].to_vec(), "names behind a place where no file is");
    Ok(())
}

pub(super) async fn a_prefix_is_literal(harness: Harness) -> Verdict {
    let harness = with_names(harness, &["a_b", "axb", "a%b", "a*b", "a[b", "ab", "%", "_", "\\a"]).await?;
    for (prefix, wanted) in
        [("a_", vec![1]), ("a%", vec![3]), ("%", vec![7]), ("_", vec![8]), ("a*", vec![4]), ("\\", vec![9])]
    {
        let query = FileQuery { prefix: Some(prefix.into()), ..all() };
        ensure_eq!(harness.listed(query).await?, wanted, "the prefix {prefix:?}");
    }
    ensure_eq!(harness.listed(FileQuery { prefix: Some(String::new()), ..all() }).await?.len(), 9, "no prefix at all");
    Ok(())
}

pub(super) async fn a_prefix_goes_by_bytes(harness: Harness) -> Verdict {
    let names = ["Report", "report", "é", "e\u{301}", "a\u{d7ff}b", "a\u{e000}", "\u{10ffff}x", "\u{10ffff}", "repo"];
    let harness = with_names(harness, &names).await?;
    for prefix in ["R", "repo", "report", "é", "e", "a\u{d7ff}", "\u{10ffff}", "\u{10ffff}x", "z"] {
        let wanted: Vec<_> =
            (1..).zip(names).filter(|(_, name)| name.starts_with(prefix)).map(|(number, _)| number).collect();
        let query = FileQuery { prefix: Some(prefix.into()), ..all() };
        ensure_eq!(harness.listed(query).await?, wanted, "the prefix {prefix:?}");
    }
    Ok(())
}

pub(super) async fn q_is_literal_and_knows_no_case(harness: Harness) -> Verdict {
    let names = [
        "ОТЧЁТ 2026.pdf",
        "отчёт.PDF",
        "Straße",
        "100%_sure",
        "100 sure",
        "ÀÉÎ",
        "o'neil \"x\"",
        "İstanbul",
        "ΟΔΟΣΑ",
        "ΟΔΟΣ",
    ];
    let harness = with_names(harness, &names).await?;
    for q in [
        "отчёт",
        "ОтЧёТ",
        "pdf",
        "STRASSE",
        "SSE",
        "ß",
        "%",
        "_",
        "0%_S",
        "àéî",
        "O'NEIL",
        "\"X",
        "",
        "İST",
        "*",
        "ΟΔΟΣ",
        "δος",
        "σα",
    ] {
        let wanted: Vec<_> =
            (1..).zip(names).filter(|(_, name)| folded(name).contains(&folded(q))).map(|(n, _)| n).collect();
        ensure_eq!(harness.listed(FileQuery { q: Some(q.into()), ..all() }).await?, wanted, "the text {q:?}");
    }
    Ok(())
}

pub(super) async fn a_tag_is_whole(harness: Harness) -> Verdict {
    let harness = harness.started().await?;
    let tags: [&[&str]; 5] = [&["tax"], &["tax 2026", "x"], &["Tax"], &["x", "tax", "x"], &[]];
    for (number, tags) in (1..).zip(tags) {
        let tags = tags.iter().map(|tag| (*tag).to_owned()).collect();
        harness.put(&Attributes { tags, ..attributes(number, 1) }).await?;
    }
    for (tag, wanted) in [("tax", vec![1, 4]), ("Tax", vec![3]), ("x", vec![2, 4]), ("ta", vec![]), ("%", vec![])] {
        ensure_eq!(harness.listed(FileQuery { tag: Some(tag.into()), ..all() }).await?, wanted, "the tag {tag:?}");
    }
    Ok(())
}

pub(super) async fn the_trash_is_a_list_of_its_own(harness: Harness) -> Verdict {
    let harness = harness.started().await?;
    harness.put(&attributes(1, 1)).await?;
    harness.put(&Attributes { deleted_at: Some(at(1)), ..attributes(2, 1) }).await?;
    for (deleted, wanted) in [(None, vec![1, 2]), (Some(true), vec![2]), (Some(false), vec![1])] {
        ensure_eq!(harness.listed(FileQuery { deleted, ..all() }).await?, wanted, "deleted: {deleted:?}");
    }
    Ok(())
}

pub(super) async fn a_change_moves_a_file_between_lists(harness: Harness) -> Verdict {
    let harness = harness.started().await?;
    let before = Attributes { name: "Old".into(), tags: vec!["a".into(), "b".into()], ..attributes(1, 1) };
    let after = Attributes {
        name: "New".into(),
        tags: vec!["b".into(), "c".into()],
        deleted_at: Some(at(2)),
        owner_id: UserId(Uuid::from_u128(5)),
        bucket_id: BucketId(Uuid::from_u128(6)),
        ..attributes(1, 2)
    };
    harness.put(&before).await?;
    harness.put(&after).await?;
    harness.put(&before).await?;
    let of = |attributes: &Attributes, tag: &str| {
        let deleted = Some(attributes.deleted_at.is_some());
        let (bucket, owner) = (Some(attributes.bucket_id), Some(attributes.owner_id));
        let (name, q) = (Some(attributes.name.clone()), Some(attributes.name.clone()));
        let one = |query| FileQuery { limit: 9, ..query };
        vec![
            one(FileQuery { deleted, ..all() }),
            one(FileQuery { bucket, ..all() }),
            one(FileQuery { owner, ..all() }),
            one(FileQuery { name: name.clone(), ..all() }),
            one(FileQuery { prefix: name, ..all() }),
            one(FileQuery { q, ..all() }),
            one(FileQuery { tag: Some(tag.into()), ..all() }),
        ]
    };
    for query in of(&before, "a") {
        ensure_eq!(harness.listed(query.clone()).await?, vec![], "as it was, {query:?}");
    }
    for query in of(&after, "c").into_iter().chain(of(&after, "b")) {
        ensure_eq!(harness.listed(query.clone()).await?, vec![1], "as it is, {query:?}");
    }
    Ok(())
}

pub(super) async fn each_is_seen_once_while_others_come_and_go(harness: Harness) -> Verdict {
    let harness = harness.started().await?;
    for number in (10..=50).step_by(2) {
        harness.put(&attributes(number, 1)).await?;
    }
    let (mut seen, mut after, mut round) = (Vec::new(), None, 0);
    loop {
        let page = harness.ledger.files(&FileQuery { after: after.clone(), limit: 4, ..all() }).await?;
        let Some(last) = page.last() else { break };
        after = Some(Position::Created(last.attributes.id));
        seen.extend(page.iter().map(|row| row.attributes.id.0.as_u128()));
        round += 1;
        // Behind the cursor one comes and one goes; the last one seen goes as well.
        harness.put(&attributes(round, 1)).await?;
        harness.take(Entry::Forget(file(10))).await?;
        harness.take(dead(&tombstone(last.attributes.id.0.as_u128(), None, 2))).await?;
        ensure!(round < 20, "the pages do not end");
    }
    let distinct: BTreeSet<_> = seen.iter().copied().collect();
    ensure_eq!(distinct.len(), seen.len(), "files seen, each once");
    ensure_eq!(seen, (10..=50).step_by(2).collect::<Vec<_>>(), "files seen");
    Ok(())
}

pub(super) async fn revisions_come_by_number(harness: Harness) -> Verdict {
    let harness = harness.started().await?;
    for (version, revision) in [(1, 10), (2, 2), (3, 1), (4, 300)] {
        harness.put(&revised(&attributes(1, version), revision)).await?;
        harness.put(&revised(&attributes(2, version), revision + 1)).await?;
    }
    let numbers: Vec<_> = harness.ledger.revisions(file(1)).await?.iter().map(|row| row.revision).collect();
    ensure_eq!(numbers, vec![1, 2, 10, 300], "revisions");
    for (after, limit, wanted) in [
        (0, 2, vec![1, 2]),
        (2, 2, vec![10, 300]),
        (1, 1, vec![2]),
        (300, 9, vec![]),
        (u64::MAX, 9, vec![]),
        (0, 0, vec![]),
    ] {
        let page = harness.ledger.revisions_behind(file(1), after, limit).await?;
        let numbers: Vec<_> = page.iter().map(|row| row.revision).collect();
        ensure_eq!(numbers, wanted, "at most {limit} behind {after}");
    }
    Ok(())
}

/// All that a query gives in pages of so many, as file, revision, and the states of the copies.
async fn placed(harness: &Harness, due: bool, limit: usize) -> Result<Vec<(u128, u64, Vec<CopyState>)>, Broken> {
    let (mut all, mut after) = (vec![], None);
    loop {
        let page = harness.ledger.placed(&PlacedQuery { due, after, limit }).await?;
        let Some(last) = page.last() else { return Ok(all) };
        ensure!(page.len() <= limit, "{} revisions where {limit} were asked for", page.len());
        after = Some((last.file, last.revision));
        let states = |copies: &[CopyRow]| copies.iter().map(|copy| copy.state).collect();
        all.extend(page.iter().map(|of| (of.file.0.as_u128(), of.revision, states(&of.copies))));
    }
}

pub(super) async fn every_revision_is_told_once_with_where_it_lies(harness: Harness) -> Verdict {
    let harness = harness.started().await?;
    let trashed = Attributes { deleted_at: Some(at(7)), bucket_id: BucketId(Uuid::from_u128(2)), ..attributes(3, 4) };
    let copies = [copy(1, CopyState::Verified), copy(2, CopyState::Pending)];
    for (attributes, copies) in [
        (attributes(1 << 100, 1), &copies[..1]),
        (attributes(2, 1), &[]),
        (revised(&attributes(2, 2), 12), &copies[..]),
        (revised(&attributes(2, 1), 9), &copies[1..]),
        (trashed, &copies[..1]),
    ] {
        harness.take(entry(&attributes, copies)).await?;
    }
    let [verified, pending] = [CopyState::Verified, CopyState::Pending];
    let wanted = vec![
        (2, 1, vec![]),
        (2, 9, vec![pending]),
        (2, 12, vec![verified, pending]),
        (3, 1, vec![verified]),
        (1 << 100, 1, vec![verified]),
    ];
    for limit in [1, 2, 3, 100] {
        ensure_eq!(placed(&harness, false, limit).await?, wanted, "revisions in pages of {limit}");
    }
    let all = harness.ledger.placed(&PlacedQuery { limit: 100, ..PlacedQuery::default() }).await?;
    ensure_eq!(all[3].bucket, BucketId(Uuid::from_u128(2)), "the bucket of the file in the trash");
    ensure_eq!(all[2].copies, copies.to_vec(), "the copies");
    Ok(())
}

pub(super) async fn a_copy_that_is_due_is_told_until_it_is_right(harness: Harness) -> Verdict {
    let harness = harness.started().await?;
    let behind = CopyRow { verified_at: Some(at(5)), ..copy(2, CopyState::Present) };
    let states = [
        copy(2, CopyState::Pending),
        copy(2, CopyState::Present),
        behind,
        copy(2, CopyState::Verified),
        copy(2, CopyState::Dropping),
        copy(2, CopyState::Lost),
    ];
    for (number, other) in (1..).zip(states) {
        harness.take(entry(&attributes(number, 1), &[copy(1, CopyState::Verified), other])).await?;
    }
    harness.take(entry(&revised(&attributes(1, 2), 5), &[copy(1, CopyState::Verified)])).await?;
    let numbers =
        |rows: Vec<(u128, u64, Vec<CopyState>)>| rows.into_iter().map(|row| (row.0, row.1)).collect::<Vec<_>>();
    for limit in [1, 2, 100] {
        let due = numbers(placed(&harness, true, limit).await?);
        ensure_eq!(due, vec![(1, 1), (3, 1), (6, 1)], "what is due in pages of {limit}");
    }
    for number in [1, 3, 6] {
        let copies = vec![copy(2, CopyState::Verified)];
        harness.take(Entry::Copies { file: file(number), revision: 1, copies }).await?;
    }
    ensure_eq!(placed(&harness, true, 100).await?, vec![], "what is due when all is right");
    harness.take(Entry::Copies { file: file(4), revision: 1, copies: vec![copy(1, CopyState::Lost)] }).await?;
    ensure_eq!(numbers(placed(&harness, true, 100).await?), vec![(4, 1)], "what is due once one is lost");
    harness.take(dead(&tombstone(4, None, 2))).await?;
    ensure_eq!(placed(&harness, true, 100).await?, vec![], "what is due of a purged file");
    Ok(())
}

pub(super) async fn copies_are_counted_by_store(harness: Harness) -> Verdict {
    let harness = harness.started().await?;
    ensure_eq!(harness.ledger.copy_counts().await?, vec![], "copies of an empty ledger");
    let behind = CopyRow { verified_at: Some(at(5)), ..copy(2, CopyState::Present) };
    let rows = [copy(1, CopyState::Verified), behind, copy(3, CopyState::Dropping)];
    harness.take(entry(&attributes(1, 1), &rows)).await?;
    harness.take(entry(&attributes(2, 1), &[copy(1, CopyState::Present), copy(2, CopyState::Pending)])).await?;
    harness.take(entry(&revised(&attributes(2, 2), 3), &[copy(1, CopyState::Lost)])).await?;
    let count = |number, readable, due| CopyCount { store: super::harness::store(number), readable, due };
    ensure_eq!(harness.ledger.copy_counts().await?, vec![count(1, 2, 1), count(2, 1, 2), count(3, 0, 1)], "the counts");
    Ok(())
}

pub(super) async fn what_is_absent_is_absent(harness: Harness) -> Verdict {
    let harness = harness.started().await?;
    harness.put(&attributes(1, 1)).await?;
    let ledger = &harness.ledger;
    ensure_eq!(ledger.file(file(2)).await?, None, "a file");
    ensure_eq!(ledger.revisions(file(2)).await?, vec![], "revisions");
    for revision in [0, 2, u64::MAX] {
        ensure_eq!(ledger.revision(file(1), revision).await?, None, "revision {revision}");
        ensure_eq!(ledger.tombstone(file(1), Some(revision)).await?, None, "tombstone of revision {revision}");
    }
    ensure_eq!(ledger.tombstone(file(1), None).await?, None, "a tombstone");
    Ok(())
}
