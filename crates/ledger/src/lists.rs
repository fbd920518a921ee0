//! Pages of files: by which way SQLite comes upon their rows.
//!
//! In the order of the list a page is full at once where many files fit what is asked, and where few do all are read in vain. From
//! what few files have in common (a tag, three letters of a name, a span of time) it is the other way round: those are soon gathered
//! and sorted. So the few are counted first, up to a bound. Every way asks every condition of every row: which one is taken decides
//! how long a page takes, never what is on it.
//!
//! To PostgreSQL's planner each way is told in words that leave it no other ([`range`]). Its index of letters finds all names before it
//! tells of the first, however many there are: so it is asked only where a look at the next files in order has not filled the page.

mod range;
mod sought;

use crate::{
    entity::{files, tags},
    sql::file_row,
};
use larder_files::{
    FileId, Page, UserId,
    ledger::{FileQuery, FileRow, FolderPage, Position, Sort, folded},
};
use range::{Range, hide};
use sea_orm::{
    ColumnTrait, Condition, ConnectionTrait, DbBackend, DbErr, EntityTrait, ExprTrait, IdenStatic, Order, QueryFilter,
    QueryOrder, QuerySelect, Select,
    sea_query::{Expr, Func, JoinType, Query, SelectStatement, SimpleExpr},
};
use sought::Sought;
use std::collections::HashMap;
use uuid::Uuid;

/// So many files are gathered and sorted rather than passed by in the order of the list: about as long as a walk past a million takes
/// to find a hundred of them.
const FEW: u64 = 8_000;

/// So many files of one owner are read for their names rather than sought by letters: the time that those take tells how common they
/// are among the names of others.
const WALKED: u64 = 20_000;

/// So many of the next files in order are read before PostgreSQL is asked for names by their letters: some milliseconds, in which a page
/// is full where one name in twenty holds what is sought.
const NEAR: u64 = 2_000;

/// How a list comes upon its rows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Way {
    /// In its own order, until the page is full.
    Walk,
    /// From those with the tag.
    Tag,
    /// From those whose names have each three letters of `q` somewhere, or all of a `q` of one or two.
    Letters,
    /// From all those whose names have a `q` of one or two letters, whosever they are: SQLite need not ask for each three that begin with it.
    Short,
    /// From those made in the time asked for.
    Time,
    /// From those whose names begin as asked for; SQLite finds this by itself.
    Name,
}

/// The files of a page.
pub(crate) async fn page(db: &impl ConnectionTrait, query: &FileQuery) -> Result<Vec<FileRow>, DbErr> {
    let way = way(db, query).await?;
    rows(db, shown(db.get_database_backend(), query, way)).await
}

/// A page of names as folders. Few files are gathered once, however many folders they are in; of many each folder leads on by the index.
pub(crate) async fn folders(db: &impl ConnectionTrait, query: &FileQuery) -> Result<Page, DbErr> {
    match way(db, query).await? {
        Way::Walk => walked(db, query).await,
        way => gathered(db, query, way).await,
    }
}

async fn walked(db: &impl ConnectionTrait, query: &FileQuery) -> Result<Page, DbErr> {
    let mut page = FolderPage::of(query);
    while let Some(wanted) = page.wanted() {
        let found = rows(db, shown(db.get_database_backend(), wanted, Way::Walk)).await?;
        page.take(found, |row: &FileRow| (row.attributes.name.clone(), row.attributes.id));
    }
    let (items, folders, next) = page.filled();
    Ok(Page { items, folders, next })
}

async fn gathered(db: &impl ConnectionTrait, query: &FileQuery, way: Way) -> Result<Page, DbErr> {
    let backend = db.get_database_backend();
    let places = select(backend, query, way).column(files::Column::Name).column(files::Column::Id);
    let places: Vec<(String, Uuid)> = places.into_tuple().all(db).await?;
    let places: Vec<_> = places.into_iter().map(|(name, id)| (name, FileId(id))).collect();
    let mut page = FolderPage::of(query);
    while let Some(wanted) = page.wanted() {
        let behind = places.partition_point(|(name, id)| !wanted.is_behind(&Position::Name(name.clone(), *id)));
        let found = places[behind..].iter().take(wanted.limit).collect();
        page.take(found, |place| (*place).clone());
    }
    let (places, folders, next) = page.filled();
    let of = files::Column::Id.is_in(places.iter().map(|(_, id)| id.0));
    let found = rows(db, whole(backend, files::Entity::find().select_only().filter(of))).await?;
    // What changed meanwhile is not on the page that was asked for any more.
    let found = found.into_iter().filter(|row| query.wants(&row.attributes)).map(|row| (row.attributes.id, row));
    let mut found: HashMap<FileId, FileRow> = found.collect();
    let of = |(name, id): &(String, FileId)| found.remove(id).filter(|row| row.attributes.name == *name);
    Ok(Page { items: places.into_iter().filter_map(of).collect(), folders, next })
}

async fn rows(db: &impl ConnectionTrait, of: Select<files::Entity>) -> Result<Vec<FileRow>, DbErr> {
    let rows: Vec<(String, Option<String>)> = of.into_tuple().all(db).await?;
    rows.iter().map(|(attributes, copies)| file_row(attributes, copies.as_deref())).collect()
}

async fn way(db: &impl ConnectionTrait, query: &FileQuery) -> Result<Way, DbErr> {
    if query.name.is_some() {
        return Ok(Way::Walk);
    }
    let backend = db.get_database_backend();
    let (short, sought) = Sought::of(backend, query)
        .map_or((None, None), |sought| if sought.is_short() { (Some(sought), None) } else { (None, Some(sought)) });
    if let Some(way) = by_letters(db, query, sought).await? {
        return Ok(way);
    }
    // Ids come by the tag's index in order, so that no number of them is too many; but the trash is a part of them that may be far.
    let in_order = query.tag.is_some() && query.sort == Sort::Created && query.deleted == Some(false);
    if let Some(tag) = &query.tag
        && (in_order && short.is_none() || is_few(db, tagged(tag, query.owner), FEW).await?)
    {
        return Ok(Way::Tag);
    }
    let of = made_between(backend, query);
    let may_be = query.sort != Sort::Created && has_time(query) && query.deleted.is_some();
    let is_worth_it = may_be && is_few(db, of, FEW).await?;
    if is_worth_it {
        return Ok(Way::Time);
    }
    if let Some(named) = named(backend, query)
        && is_few(db, named, FEW).await?
    {
        return Ok(Way::Name);
    }
    // What tells of most names comes last.
    let otherwise = if in_order { Way::Tag } else { Way::Walk };
    Ok(by_letters(db, query, short).await?.unwrap_or(otherwise))
}

/// The way by letters, where few names have them and a walk would not be over sooner.
async fn by_letters(
    db: &impl ConnectionTrait,
    query: &FileQuery,
    sought: Option<Sought>,
) -> Result<Option<Way>, DbErr> {
    let Some(sought) = sought else { return Ok(None) };
    if !has_many_files(db, query.owner).await?
        || is_soon_over(db, query, &sought).await?
        || !sought.is_indexed(db).await?
    {
        return Ok(None);
    }
    if let Some(all) = sought.all()
        && is_few(db, all, FEW).await?
    {
        return Ok(Some(Way::Short));
    }
    let is_worth_it = sought.is_narrow(db).await? && is_few(db, sought.rows(), FEW).await?;
    Ok(is_worth_it.then_some(Way::Letters))
}

/// Whether a search by letters is worth more than it tells of others.
async fn has_many_files(db: &impl ConnectionTrait, owner: Option<UserId>) -> Result<bool, DbErr> {
    let Some(owner) = owner else { return Ok(true) };
    let of_owner = Query::select().from(files::Entity).and_where(files::Column::OwnerId.eq(owner.0)).take();
    Ok(!is_few(db, of_owner, WALKED).await?)
}

/// Whether a short walk fills the page, or comes to the end of all that it could.
async fn is_soon_over(db: &impl ConnectionTrait, query: &FileQuery, sought: &Sought) -> Result<bool, DbErr> {
    let backend = db.get_database_backend();
    if backend == DbBackend::Sqlite && !sought.is_short() {
        // It counts the names that have some letters one by one.
        return Ok(false);
    }
    let (next, fitting) = match range(backend, query, Way::Walk) {
        Some(range) => (range.next(query, NEAR), range.next_fitting(query, others(backend, query, Way::Walk), NEAR)),
        None if backend == DbBackend::Sqlite => {
            let next = next(query);
            let others = others(backend, query, Way::Walk);
            (next.clone(), Query::select().from_subquery(next, "files").cond_where(others).take())
        }
        None => return Ok(false),
    };
    let wanted = Ord::min(query.limit as u64, NEAR / 20);
    Ok(is_few(db, next, NEAR - 1).await? || !is_few(db, fitting, wanted.saturating_sub(1)).await?)
}

/// The next files in order, with no more of each than is asked of them.
fn next(query: &FileQuery) -> SelectStatement {
    let order = if query.descending { Order::Desc } else { Order::Asc };
    let mut next = Query::select();
    next.from(files::Entity).cond_where(within(DbBackend::Sqlite, query, Way::Walk)).limit(NEAR);
    next.columns([files::Column::Id, files::Column::NameFolded]);
    if query.content_type.is_some() {
        next.column(files::Column::ContentType);
    }
    match query.sort {
        Sort::Created => {}
        Sort::Name => drop(next.order_by((files::Entity, files::Column::Name), order.clone())),
        Sort::Size => drop(next.order_by((files::Entity, files::Column::Size), order.clone())),
    }
    next.order_by((files::Entity, files::Column::Id), order);
    next
}

/// Whether a statement finds at most so many rows.
async fn is_few(db: &impl ConnectionTrait, mut rows: SelectStatement, few: u64) -> Result<bool, DbErr> {
    rows.expr(Expr::cust("1")).limit(few + 1);
    let count = Query::select().expr(Expr::cust("count(*)")).from_subquery(rows, "some").take();
    let counted: i64 =
        db.query_one(&count).await?.ok_or_else(|| crate::convert::wrong("no count"))?.try_get_by_index(0)?;
    Ok(counted.cast_unsigned() <= few)
}

fn tagged(tag: &str, owner: Option<UserId>) -> SelectStatement {
    let of = Condition::all()
        .add(tags::Column::Tag.eq(tag))
        .add_option(owner.map(|owner| tags::Column::OwnerId.eq(owner.0)));
    Query::select().from(tags::Entity).cond_where(of).take()
}

fn made_between(backend: DbBackend, query: &FileQuery) -> SelectStatement {
    let of = FileQuery {
        bucket: query.bucket,
        owner: query.owner,
        deleted: query.deleted,
        from: query.from,
        until: query.until,
        ..FileQuery::default()
    };
    match range(backend, &of, Way::Time) {
        Some(range) => range.gathered(&of, Condition::all()),
        None => Query::select().from(files::Entity).cond_where(condition(backend, &of, Way::Time)).take(),
    }
}

/// Those whose names begin as asked for, where the list is in another order.
fn named(backend: DbBackend, query: &FileQuery) -> Option<SelectStatement> {
    let prefix = query.prefix.as_ref().filter(|prefix| !prefix.is_empty() && query.sort != Sort::Name)?;
    let FileQuery { bucket, owner, deleted, .. } = *query;
    let of = FileQuery { bucket, owner, deleted, prefix: Some(prefix.clone()), ..FileQuery::default() };
    range(backend, &of, Way::Name).map(|range| range.gathered(&of, Condition::all()))
}

/// Between which ids the files of a list lie: from one on, or behind it where the list goes on there, up to another. Of two bounds at one
/// end the nearer.
fn ids(query: &FileQuery) -> (Option<(Uuid, bool)>, Option<Uuid>) {
    let place = match &query.after {
        Some(Position::Created(id)) => Some(id.0),
        _ => None,
    };
    let from = place.filter(|_| !query.descending).map(|id| (id, true));
    let until = place.filter(|_| query.descending).into_iter().chain(query.until.map(|id| id.0)).min();
    (from.max(query.from.map(|id| (id.0, false))), until)
}

fn has_time(query: &FileQuery) -> bool {
    query.from.is_some() || query.until.is_some()
}

/// The files of a page with their copies.
fn shown(backend: DbBackend, query: &FileQuery, way: Way) -> Select<files::Entity> {
    whole(backend, select(backend, query, way)).limit(query.limit as u64)
}

fn whole(backend: DbBackend, rows: Select<files::Entity>) -> Select<files::Entity> {
    rows.column(files::Column::Attributes).expr_as(Expr::cust(copies_text(backend, "files")), "copies")
}

/// Nothing yet of all files that a query wants, in its order.
fn select(backend: DbBackend, query: &FileQuery, way: Way) -> Select<files::Entity> {
    let order = if query.descending { Order::Desc } else { Order::Asc };
    if let Some(range) = range(backend, query, way) {
        return range.rows(query, others(backend, query, way));
    }
    let mut rows = files::Entity::find().select_only().filter(condition(backend, query, way));
    begin(QuerySelect::query(&mut rows), backend, query, way);
    // What is gathered by its time is sorted: an index in the order of the list would be walked.
    let plain = |name: &str| Expr::cust(format!("{}\"files\".\"{name}\"", if way == Way::Time { "+" } else { "" }));
    let rows = match query.sort {
        Sort::Created => rows,
        Sort::Name => rows.order_by(plain("name"), order.clone()),
        Sort::Size => rows.order_by(plain("size"), order.clone()),
    };
    match way {
        Way::Tag => rows.order_by(tags::Column::FileId, order),
        _ => rows.order_by(files::Column::Id, order),
    }
}

/// Has a list begin where the way does: SQLite takes the tables of a CROSS JOIN from the left, PostgreSQL what is sorted first.
fn begin(rows: &mut SelectStatement, backend: DbBackend, query: &FileQuery, way: Way) {
    match way {
        Way::Walk | Way::Time | Way::Name => {}
        Way::Tag => {
            let (from, until) = ids(query);
            let file = tags::Column::FileId;
            let of = Condition::all()
                .add_option(query.tag.as_ref().map(|tag| tags::Column::Tag.eq(tag)))
                .add_option(query.owner.map(|owner| tags::Column::OwnerId.eq(owner.0)))
                .add_option(from.map(|(id, behind)| if behind { file.gt(id) } else { file.gte(id) }))
                .add_option(until.map(|id| file.lt(id)));
            if backend == DbBackend::Postgres {
                let (of, lead) = range::tagged(query);
                rows.from_clear().from_subquery(of, "tags");
                rows.join_lateral(JoinType::InnerJoin, range::of_tag(), "files", Condition::all());
                if query.sort == Sort::Created {
                    let order = if query.descending { Order::Desc } else { Order::Asc };
                    rows.order_by((tags::Entity, lead), order);
                }
            } else {
                let one = Expr::col((files::Entity, files::Column::Id)).equals((tags::Entity, tags::Column::FileId));
                rows.from_clear().from(tags::Entity).cross_join(files::Entity).cond_where(of).and_where(one);
            }
        }
        Way::Letters | Way::Short => {
            let Some(sought) = Sought::of(backend, query) else { return };
            let found = sought.table(way == Way::Short);
            if backend == DbBackend::Postgres {
                rows.from_clear().from_subquery(found, "files");
                return;
            }
            rows.from_clear().from_subquery(found, "sought").cross_join(files::Entity);
            rows.and_where(Expr::cust("\"files\".\"rowid\" = \"sought\".\"row\""));
        }
    }
}

/// The range of an index that PostgreSQL is asked for.
fn range(backend: DbBackend, query: &FileQuery, way: Way) -> Option<Range> {
    let goes = backend == DbBackend::Postgres && !matches!(way, Way::Tag | Way::Letters | Way::Short);
    let by = match way {
        Way::Time => Some(Sort::Created),
        Way::Name => Some(Sort::Name),
        _ => None,
    };
    if goes { Range::of(query, by) } else { None }
}

fn condition(backend: DbBackend, query: &FileQuery, way: Way) -> Condition {
    within(backend, query, way).add(others(backend, query, way))
}

/// What indexes of files go by.
fn within(backend: DbBackend, query: &FileQuery, way: Way) -> Condition {
    use files::Column;
    // A walk in another order than that of making asks for the time as it passes: no index may lead it astray.
    let passes = backend == DbBackend::Sqlite && way == Way::Walk && query.sort != Sort::Created;
    let id = || if passes { Expr::cust("+\"files\".\"id\"") } else { Expr::col((files::Entity, Column::Id)) };
    // A file of a tag is found by its id, as the smallest index has it.
    let found = backend == DbBackend::Sqlite && way == Way::Tag;
    let plain = |column: Column| match found {
        true => Expr::cust(format!("+\"files\".\"{}\"", column.as_str())),
        false => Expr::col((files::Entity, column)),
    };
    let prefix = query.prefix.as_ref().filter(|prefix| !prefix.is_empty());
    let asked = [
        query.bucket.map(|bucket| plain(Column::BucketId).eq(bucket.0)),
        query.owner.map(|owner| plain(Column::OwnerId).eq(owner.0)),
        query.name.as_ref().map(|name| Column::Name.eq(name)),
        prefix.map(|prefix| Column::Name.gte(prefix)),
        prefix.and_then(|prefix| above(prefix)).map(|above| Column::Name.lt(above)),
        query.deleted.map(|deleted| plain(Column::Deleted).eq(deleted)),
        query.from.map(|from| id().gte(from.0)),
        query.until.map(|until| id().lt(until.0)),
        query.after.as_ref().map(|after| behind(after, query.descending)),
    ];
    asked.into_iter().flatten().fold(Condition::all(), Condition::add)
}

/// What no index of files goes by.
fn others(backend: DbBackend, query: &FileQuery, way: Way) -> Condition {
    use files::Column;
    let bears = |tag: &String| {
        let one = Expr::col((tags::Entity, tags::Column::FileId)).equals((files::Entity, Column::Id));
        let this = Expr::col((tags::Entity, tags::Column::Tag)).eq(tag);
        // Wherever PostgreSQL begins, an owner's own tags alone are looked at.
        let whose = query.owner.filter(|_| backend == DbBackend::Postgres);
        let whose = whose.map(|owner| tags::Column::OwnerId.eq(owner.0));
        let borne = Condition::all().add(one).add(this).add_option(whose);
        let mut borne = Query::select().from(tags::Entity).cond_where(borne).take();
        match backend {
            // Never gathered from all that bear it: one row is looked for.
            DbBackend::Postgres => hide(borne.expr(Expr::cust("TRUE")).limit(1).take().into()),
            _ => Expr::exists(borne.expr(Expr::cust("1")).take()),
        }
    };
    let place = if backend == DbBackend::Postgres { "strpos" } else { "instr" };
    let holds = |q: &String| {
        let place = Func::cust(place).arg(Expr::col((files::Entity, Column::NameFolded))).arg(folded(q));
        Expr::expr(place).gt(0)
    };
    Condition::all()
        .add_option(query.q.as_ref().filter(|q| !q.is_empty()).map(holds))
        .add_option(query.tag.as_ref().filter(|_| way != Way::Tag).map(bears))
        .add_option(query.content_type.as_ref().map(|of| Column::ContentType.eq(of)))
}

/// Behind a place, as one comparison of rows: so an index in that order goes straight there.
fn behind(place: &Position, descending: bool) -> SimpleExpr {
    use files::Column;
    let of = |column: Column| Expr::col((files::Entity, column));
    let row = |column: Column, value: SimpleExpr, id: uuid::Uuid| {
        let (here, there) = (Expr::tuple([of(column), of(Column::Id)]), Expr::tuple([value, Expr::val(id)]));
        if descending { here.lt(there) } else { here.gt(there) }
    };
    match place {
        Position::Created(id) if descending => Column::Id.lt(id.0),
        Position::Created(id) => Column::Id.gt(id.0),
        Position::Name(name, id) => {
            let (name, id) = place_of(name, *id);
            row(Column::Name, Expr::val(name), id)
        }
        Position::Size(size, id) => row(Column::Size, Expr::val(i64::try_from(*size).unwrap_or(i64::MAX)), id.0),
    }
}

/// PostgreSQL has no text with a NUL. No name has one either: such a place is right behind all files of what is before it.
fn place_of(name: &str, id: FileId) -> (&str, Uuid) {
    name.split_once('\0').map_or((name, id.0), |(head, _)| (head, Uuid::max()))
}

/// The least text above every text that begins with `prefix`; `None` where there is none.
fn above(prefix: &str) -> Option<String> {
    let mut head = prefix.to_owned();
    while let Some(last) = head.pop() {
        let next = match last {
            '\u{d7ff}' => Some('\u{e000}'),
            last => char::from_u32(last as u32 + 1),
        };
        if let Some(next) = next {
            head.push(next);
            return Some(head);
        }
    }
    None
}

/// The copies of a row's revision as one text ([`convert::copies_of`]).
pub(crate) fn copies_text(backend: DbBackend, table: &str) -> String {
    let file = if table == "files" { "id" } else { "file_id" };
    let gathered = match backend {
        DbBackend::Postgres => {
            "string_agg(c.store_id::text || ':' || c.state || ':' || coalesce(c.verified_at::text, ''), ' ')"
        }
        _ => "group_concat(hex(c.store_id) || ':' || c.state || ':' || ifnull(c.verified_at, ''), ' ')",
    };
    format!(
        "(SELECT {gathered} FROM copies c \
         WHERE c.file_id = \"{table}\".\"{file}\" AND c.revision = \"{table}\".\"revision\")"
    )
}

#[cfg(test)]
mod plans;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Open, SqlLedger};
    use larder_files::{
        Attributes, BucketId, FileId, Ledger,
        ledger::{Entry, Identity, Record},
    };
    use sea_orm::{DatabaseConnection, QueryTrait, Statement};
    use std::sync::{
        Arc,
        atomic::{AtomicUsize, Ordering::Relaxed},
    };

    const ORDERS: [Sort; 3] = [Sort::Created, Sort::Name, Sort::Size];
    const WAYS: [Way; 5] = [Way::Walk, Way::Tag, Way::Letters, Way::Short, Way::Time];

    async fn ledger() -> (tempfile::TempDir, SqlLedger) {
        let folder = tempfile::tempdir().unwrap();
        let ledger = SqlLedger::open(&folder.path().join("larder.db"), Open { create: true }).await.unwrap();
        ledger
            .initialise(&Identity { instance: Uuid::nil(), epoch: 1, mark: 0, stores: vec![], marks: [].into() })
            .await
            .unwrap();
        (folder, ledger)
    }

    /// How SQLite goes about a statement.
    async fn plan(db: &DatabaseConnection, query: &FileQuery, way: Way) -> String {
        let statement = shown(DbBackend::Sqlite, query, way).build(DbBackend::Sqlite);
        let explained = format!("EXPLAIN QUERY PLAN {}", statement.sql);
        let values = statement.values.unwrap();
        let rows = db.query_all_raw(Statement::from_sql_and_values(DbBackend::Sqlite, explained, values)).await;
        let lines = rows.unwrap().into_iter().map(|row| row.try_get::<String>("", "detail").unwrap());
        lines.collect::<Vec<_>>().join("\n")
    }

    fn sought(q: &str) -> SelectStatement {
        Sought::of(DbBackend::Sqlite, &FileQuery { q: Some(q.into()), ..live() }).unwrap().rows()
    }

    fn live() -> FileQuery {
        FileQuery { deleted: Some(false), limit: 100, ..FileQuery::default() }
    }

    /// A place in the midst of each order.
    fn place(sort: Sort) -> Position {
        let id = FileId(Uuid::from_u128(150));
        match sort {
            Sort::Created => Position::Created(id),
            Sort::Name => Position::Name("report 5".into(), id),
            Sort::Size => Position::Size(5, id),
        }
    }

    /// Each order both ways, from its beginning and from a place.
    fn in_each_order(query: &FileQuery) -> Vec<FileQuery> {
        let ordered = |sort: Sort| {
            let places = [None, Some(place(sort))];
            places.map(|after| {
                [false, true].map(|descending| FileQuery { sort, descending, after: after.clone(), ..query.clone() })
            })
        };
        ORDERS.into_iter().flat_map(ordered).flatten().collect()
    }

    /// Of whom it is decides which rows are read at all, whatever else is asked: the files of others cost nothing, and tell nothing.
    #[tokio::test]
    async fn no_list_of_one_owner_reads_the_rows_of_others() {
        let (_folder, ledger) = ledger().await;
        let own = FileQuery { owner: Some(UserId(Uuid::nil())), ..live() };
        let narrowed: [fn(&mut FileQuery); 8] = [
            |_| {},
            |query| query.prefix = Some("2026/".into()),
            |query| query.bucket = Some(BucketId(Uuid::nil())),
            |query| query.tag = Some("q3".into()),
            |query| query.q = Some("report".into()),
            |query| query.content_type = Some("text/plain".into()),
            |query| query.from = Some(FileId(Uuid::nil())),
            |query| query.until = Some(FileId(Uuid::nil())),
        ];
        for mut query in in_each_order(&own) {
            for (first, second) in narrowed.iter().flat_map(|first| narrowed.iter().map(move |second| (first, second)))
            {
                first(&mut query);
                second(&mut query);
                let fits = |way: &Way| match way {
                    Way::Walk => true,
                    Way::Tag => query.tag.is_some(),
                    Way::Time => has_time(&query),
                    Way::Letters | Way::Short | Way::Name => false,
                };
                for way in WAYS.into_iter().filter(fits) {
                    let plan = plan(ledger.reader(), &query, way).await;
                    assert!(plan.contains("(owner_id=?"), "{way:?} of {query:?}:\n{plan}");
                    assert!(!plan.contains("LIST SUBQUERY"), "it gathers the tags of others for {query:?}:\n{plan}");
                }
                query = FileQuery { sort: query.sort, descending: query.descending, after: query.after, ..own.clone() };
            }
        }
        let named = FileQuery { name: Some("a".into()), bucket: Some(BucketId(Uuid::nil())), descending: true, ..own };
        let plan = plan(ledger.reader(), &named, Way::Walk).await;
        assert!(plan.contains("(owner_id=? AND deleted=? AND name=?)"), "{plan}");
    }

    #[tokio::test]
    async fn each_list_goes_straight_to_its_page_by_an_index() {
        let (_folder, ledger) = ledger().await;
        let filters = [
            live(),
            FileQuery { bucket: Some(BucketId(Uuid::nil())), ..live() },
            FileQuery { owner: Some(UserId(Uuid::nil())), ..live() },
        ];
        for query in filters.iter().flat_map(in_each_order) {
            let (from, until) = (Some(FileId(Uuid::nil())), Some(FileId(Uuid::max())));
            for query in [query.clone(), FileQuery { from, until, ..query }] {
                let plan = plan(ledger.reader(), &query, Way::Walk).await;
                assert!(plan.contains("SEARCH files USING INDEX"), "{query:?}:\n{plan}");
                assert!(!plan.contains("TEMP B-TREE"), "it sorts all of them for {query:?}:\n{plan}");
            }
        }
        let named = FileQuery { name: Some("a".into()), descending: true, ..live() };
        let prefix = FileQuery { prefix: Some("a".into()), sort: Sort::Name, ..live() };
        let in_bucket = FileQuery { bucket: Some(BucketId(Uuid::nil())), ..named.clone() };
        let of_owner = FileQuery { owner: Some(UserId(Uuid::nil())), ..in_bucket.clone() };
        for query in [named, prefix, in_bucket, of_owner] {
            let plan = plan(ledger.reader(), &query, Way::Walk).await;
            assert!(
                query.name.is_none() || plan.contains("name=?"),
                "it looks through a bucket for {query:?}:\n{plan}"
            );
            assert!(plan.contains("SEARCH files USING INDEX") && !plan.contains("TEMP B-TREE"), "{query:?}:\n{plan}");
        }
    }

    #[tokio::test]
    async fn what_few_files_have_in_common_is_where_a_list_begins() {
        let (_folder, ledger) = ledger().await;
        for owner in [None, Some(UserId(Uuid::nil()))] {
            let tag = Some("q3".into());
            for query in in_each_order(&FileQuery { tag, owner, ..live() }) {
                let plan = plan(ledger.reader(), &query, Way::Tag).await;
                let index = if owner.is_some() { "(owner_id=? AND tag=?" } else { "(tag=?" };
                let first = plan.lines().next().unwrap();
                assert!(first.contains("SEARCH tags USING COVERING INDEX") && first.contains(index), "{plan}");
                assert!(plan.lines().nth(1).unwrap().contains("(id=?)"), "{plan}");
                assert_eq!(plan.contains("TEMP B-TREE"), query.sort != Sort::Created, "{query:?}:\n{plan}");
            }
            let (from, until) = (Some(FileId(Uuid::nil())), Some(FileId(Uuid::max())));
            for query in in_each_order(&FileQuery { tag: Some("q3".into()), from, until, owner, ..live() }) {
                let plan = plan(ledger.reader(), &query, Way::Tag).await;
                assert!(plan.lines().next().unwrap().contains("file_id>? AND file_id<?)"), "{query:?}:\n{plan}");
            }
            for query in in_each_order(&FileQuery { from, until, owner, ..live() }) {
                let plan = plan(ledger.reader(), &query, Way::Time).await;
                assert!(plan.contains("id>? AND id<?)"), "{query:?}:\n{plan}");
            }
        }
        for query in in_each_order(&FileQuery { q: Some("report".into()), ..live() }) {
            let plan = plan(ledger.reader(), &query, Way::Letters).await;
            for step in [
                "SCAN letters VIRTUAL TABLE INDEX 0:M",
                "SEARCH files USING INTEGER PRIMARY KEY (rowid>?)",
                "SEARCH files USING INTEGER PRIMARY KEY (rowid=?)",
            ] {
                assert!(plan.contains(step), "{step}:\n{plan}");
            }
        }
    }

    fn attributes(number: u128) -> Attributes {
        let name = ["Report {n}", "Отчёт {n}", "re{n}port", "\"quo\"ted {n}", "a{n}\u{ffff}\u{d7ff}"]
            [usize::try_from(number % 5).unwrap()];
        serde_json::from_value(serde_json::json!({
            "larder": 1, "id": Uuid::from_u128(number), "bucket": "documents", "bucket_id": Uuid::from_u128(number % 2),
            "owner": "ivanov", "owner_id": Uuid::from_u128(number % 3), "op": "op", "name": name.replace("{n}", &number.to_string()),
            "key": format!("documents/{number}"), "revision": 1, "epoch": 1, "version": 1, "size": number % 11,
            "sha256": "0".repeat(64), "crc64nvme": "0123456789abcdef", "content_type": "text/plain",
            "created_at": "2026-11-21T15:30:45.000Z", "revised_at": "2026-11-21T15:30:45.000Z",
            "updated_at": "2026-11-21T15:30:45.000Z", "deleted_at": null, "metadata": {}, "media": null,
            "tags": if number.is_multiple_of(7) { vec!["seventh"] } else { vec![] },
        }))
        .unwrap()
    }

    async fn put(ledger: &SqlLedger, attributes: Vec<Attributes>) {
        let record = |attributes| {
            let entry = Entry::Attributes { attributes: Box::new(attributes), copies: vec![] };
            Record { entry: Some(entry), ..Record::default() }
        };
        let results = ledger.record(attributes.into_iter().map(record).collect()).await;
        assert!(results.iter().all(Result::is_ok), "{results:?}");
    }

    async fn names(ledger: &SqlLedger, query: &FileQuery, way: Way) -> Vec<String> {
        let rows = rows(ledger.reader(), shown(DbBackend::Sqlite, query, way)).await.unwrap();
        rows.into_iter().map(|row| row.attributes.name).collect()
    }

    #[tokio::test]
    async fn every_way_leads_to_the_same_page() {
        let (folder, ledger) = ledger().await;
        put(&ledger, (1..=300).map(attributes).collect()).await;
        gather(&folder, 200).await;
        let tag = || Some("seventh".to_owned());
        let q = |text: &str| FileQuery { q: Some(text.into()), tag: tag(), ..live() };
        let (from, until) = (Some(FileId(Uuid::from_u128(20))), Some(FileId(Uuid::from_u128(250))));
        let mut found = 0;
        for text in [
            "REPORT",
            "отчёт 1",
            "\"Quo\"",
            "port",
            " 28",
            "nowhere",
            "О",
            "т ",
            "\"",
            "27",
            "q",
            "'",
            "\u{ffff}",
            "\u{d7ff}",
            "1\u{ffff}",
        ] {
            for owner in [None, Some(UserId(Uuid::from_u128(1)))] {
                let within = FileQuery { owner, from, until, ..q(text) };
                for query in [FileQuery { owner, ..q(text) }, within].iter().flat_map(in_each_order) {
                    let walked = names(&ledger, &query, Way::Walk).await;
                    found += walked.len();
                    let is_short = text.chars().count() < 3;
                    for way in WAYS.into_iter().filter(|way| is_short || *way != Way::Short) {
                        assert_eq!(names(&ledger, &query, way).await, walked, "{way:?} of {query:?}");
                    }
                }
            }
        }
        assert!(found > 100, "{found}");
    }

    #[tokio::test]
    async fn names_as_folders_are_the_same_by_every_way_and_few_are_gathered_once() {
        let (folder, ledger) = ledger().await;
        let filed = |number: u128| {
            let name = format!("{}/report {number}{}", number % 40, ["", "/x"][usize::from(number.is_multiple_of(3))]);
            Attributes { name, ..attributes(number * 7) }
        };
        put(&ledger, (1..=200).map(filed).collect()).await;
        gather(&folder, 150).await;
        let (tag, q) = (Some("seventh".to_owned()), Some("REPORT".to_owned()));
        let (from, until) = (Some(FileId(Uuid::from_u128(7))), Some(FileId(Uuid::from_u128(1300))));
        let all = FileQuery { tag, q, from, until, sort: Sort::Name, ..live() };
        let asked = Arc::new(AtomicUsize::new(0));
        let mut db = ledger.reader().clone();
        let counter = asked.clone();
        db.set_metric_callback(move |_| _ = counter.fetch_add(1, Relaxed));
        for (descending, limit) in [(false, 100), (true, 100), (false, 7), (true, 7)] {
            for prefix in [None, Some("3/".to_owned())] {
                let query = FileQuery { descending, limit, prefix, ..all.clone() };
                let walk = walked(&db, &query).await.unwrap();
                assert!(walk.items.len() + walk.folders.len() > 3, "{walk:?}");
                for way in [Way::Tag, Way::Letters, Way::Time] {
                    assert_eq!(gathered(&db, &query, way).await.unwrap(), walk, "{way:?} of {query:?}");
                }
            }
        }
        asked.store(0, Relaxed);
        assert_eq!(folders(&db, &all).await.unwrap().folders.len(), 40);
        assert!(asked.load(Relaxed) <= 4, "{asked:?} statements");
    }

    #[tokio::test]
    async fn letters_follow_what_becomes_of_a_file() {
        for upto in [0, 1] {
            let (folder, ledger) = ledger().await;
            let named = |version, owner, name: &str| {
                let owner_id = UserId(Uuid::from_u128(owner));
                Attributes { version, owner_id, name: name.into(), ..attributes(1) }
            };
            let found = async |owner: u128, q: &str| {
                let (q, owner) = (Some(q.to_owned()), Some(UserId(Uuid::from_u128(owner))));
                let query = FileQuery { q, owner, limit: 9, ..FileQuery::default() };
                let names = names(&ledger, &query, Way::Letters).await;
                let sought = Sought::of(DbBackend::Sqlite, &query).unwrap().rows();
                let has_none = is_few(ledger.reader(), sought, 0).await.unwrap();
                assert_eq!(has_none, upto == 0 || names.is_empty(), "letters of {query:?}");
                names.len()
            };
            put(&ledger, vec![named(1, 5, "Summer"), attributes(2)]).await;
            gather(&folder, upto).await;
            assert_eq!((found(5, "UMM").await, found(6, "UMM").await, found(5, "winter").await), (1, 0, 0));
            put(&ledger, vec![named(2, 5, "Winter")]).await;
            assert_eq!((found(5, "summer").await, found(5, "winter").await), (0, 1));
            put(&ledger, vec![named(3, 6, "Winter")]).await;
            assert_eq!((found(5, "winter").await, found(6, "winter").await), (0, 1));
            let forgotten = async |number| {
                let gone = Some(Entry::Forget(FileId(Uuid::from_u128(number))));
                let forgotten = ledger.record(vec![Record { entry: gone, ..Record::default() }]).await;
                assert!(forgotten.iter().all(Result::is_ok), "{forgotten:?}");
            };
            forgotten(1).await;
            assert_eq!(found(6, "winter").await, 0);
            forgotten(2).await;
            // Its row has the number of the first.
            put(&ledger, vec![Attributes { id: FileId(Uuid::from_u128(3)), ..named(1, 5, "Spring") }]).await;
            assert_eq!(found(5, "spring").await, 1);
        }
    }

    #[tokio::test]
    async fn a_thousand_new_names_get_their_letters_together() {
        let (_folder, ledger) = ledger().await;
        let letters = async || {
            let sought = sought("epo");
            (
                is_few(ledger.reader(), sought.clone(), 0).await.unwrap(),
                is_few(ledger.reader(), sought, 199).await.unwrap(),
            )
        };
        put(&ledger, (1..=999).map(attributes).collect()).await;
        assert_eq!(letters().await, (true, true), "none yet");
        put(&ledger, vec![attributes(1000)]).await;
        assert_eq!(letters().await, (false, false), "200 of them");
        let q = FileQuery { q: Some("report".into()), limit: 999, ..FileQuery::default() };
        put(&ledger, vec![attributes(1005)]).await;
        assert_eq!(names(&ledger, &q, Way::Letters).await.len(), 201);
    }

    /// What comes of a thousand files, with fewer: those up to this row have letters.
    async fn gather(folder: &tempfile::TempDir, upto: u32) {
        let gathered = "INSERT INTO letters (rowid, name, owner) SELECT rowid, name_folded || char(1, 1), \
                        'X' || substr(hex(owner_id), -2) FROM files WHERE rowid <= ";
        run(folder, &format!("{gathered}{upto}; UPDATE lettered SET upto = {upto}")).await;
    }

    async fn run(folder: &tempfile::TempDir, sql: &str) {
        let options = sqlx::sqlite::SqliteConnectOptions::new().filename(folder.path().join("larder.db"));
        let mut connection = <sqlx::SqliteConnection as sqlx::Connection>::connect_with(&options).await.unwrap();
        sqlx::raw_sql(sqlx::AssertSqlSafe(sql.to_owned())).execute(&mut connection).await.unwrap();
    }

    #[tokio::test]
    async fn the_way_is_by_how_many_there_are() {
        let (folder, ledger) = ledger().await;
        put(&ledger, (1..=30).map(attributes).collect()).await;
        let way = async |query: FileQuery| way(ledger.reader(), &query).await.unwrap();
        let q = |q: &str| FileQuery { q: Some(q.into()), ..live() };
        let owner = Some(UserId(Uuid::from_u128(1)));
        let other = Some(UserId(Uuid::from_u128(2)));
        let tagged = FileQuery { tag: Some("seventh".into()), ..live() };
        let by_name = FileQuery { sort: Sort::Name, ..tagged.clone() };
        let until = FileQuery { until: Some(FileId(Uuid::from_u128(9))), sort: Sort::Size, ..live() };
        assert_eq!(way(q("report")).await, Way::Letters);
        assert_eq!((way(q("re")).await, way(q("re\0port")).await), (Way::Walk, Way::Walk), "of 30 names");
        assert_eq!(way(FileQuery { owner, ..q("report") }).await, Way::Walk, "of few files the names are read");
        assert_eq!(
            (way(tagged.clone()).await, way(by_name.clone()).await, way(until.clone()).await),
            (Way::Tag, Way::Tag, Way::Time)
        );
        assert_eq!(way(FileQuery { name: Some("a".into()), ..by_name.clone() }).await, Way::Walk);
        several(&folder, 1, "report").await;
        run(&folder, "INSERT OR IGNORE INTO tags SELECT 'seventh', id, owner_id FROM files").await;
        ledger.remake_index().await.unwrap();
        assert_eq!(way(FileQuery { owner, ..q("quoted") }).await, Way::Letters);
        assert_eq!(way(q("report")).await, Way::Walk, "where many have it a page is soon full");
        assert_eq!(way(FileQuery { deleted: Some(true), ..q("re") }).await, Way::Walk, "of an empty trash");
        for text in ["zz", "z", "ё", "\u{ffff}"] {
            assert_eq!(way(FileQuery { owner, ..q(text) }).await, Way::Short, "{text:?}");
        }
        assert_eq!(
            way(FileQuery { tag: tagged.tag.clone(), owner: other, ..q("z") }).await,
            Way::Tag,
            "few have the tag"
        );
        // Of the names of others many have them, of this owner's one.
        several(&folder, 2, "third").await;
        ledger.remake_index().await.unwrap();
        for text in ["ir", "h"] {
            assert_eq!(
                (way(q(text)).await, way(FileQuery { owner, ..q(text) }).await),
                (Way::Walk, Way::Letters),
                "{text:?}"
            );
        }
        // One letter begins more threes than are asked for.
        let spelt = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 500) \
                     INSERT INTO letters (rowid, name, owner) SELECT 40000 + i, 'h' || char(20000 + i) || 'a', '' FROM n";
        run(&folder, spelt).await;
        assert_eq!(way(FileQuery { owner, ..q("h") }).await, Way::Walk, "too many begin with it");
        assert_eq!((way(tagged.clone()).await, way(by_name).await, way(until).await), (Way::Tag, Way::Walk, Way::Time));
        assert_eq!(way(FileQuery { deleted: Some(true), ..tagged }).await, Way::Walk);
    }

    /// A larger database than a test can record: an owner's file over and over, under another name.
    async fn several(folder: &tempfile::TempDir, owner: u8, name: &str) {
        let copied = format!(
            "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 20010) \
             INSERT INTO files SELECT randomblob(16), epoch, version, digest, revision, bucket_id, owner_id, \
             '{name}', '{name}', deleted, attributes, size, content_type FROM n, files \
             WHERE files.id = x'000000000000000000000000000000{owner:02x}'"
        );
        run(folder, &copied).await;
    }
}
