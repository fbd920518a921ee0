//! [`SqlLedger`]: the contract over one file of SQLite, or one schema of PostgreSQL.

use crate::{
    cache::RowCache,
    convert,
    entity::{buckets, claims, directs, intents, meta, missed, reservations, revisions, sessions, tombstones, users},
    fault::ledger_error,
    home::Home,
    letters,
    lists::{self, copies_text},
    open::{self, Durability, Open, OpenError},
    scans::Scans,
    schema::COPY_IS_DUE,
    server::Server,
    work::{Answer, Call},
    writer::Writer,
};
use async_trait::async_trait;
use larder_files::{
    Attributes, Bucket, BucketId, DirectId, FileId, Ledger, NodeId, Page, Rank, SessionId, Sha256, StoreId, Timestamp,
    Tombstone, User, UserId,
    ledger::{
        Claim, CopyCount, DirectUpload, FileQuery, FileRow, Hold, Identity, Intent, LedgerError, Missed, Placed,
        PlacedQuery, Purpose, Record, RecordId, Recorded, Refreshed, Reservation, Result, RevisionRow, Session, Sort,
        Upload,
    },
};
use sea_orm::{
    ColumnTrait, Condition, ConnectionTrait, DatabaseConnection, DbBackend, DbErr, EntityTrait, FromQueryResult,
    QueryFilter, QueryOrder, QueryResult, QuerySelect, SqlxPostgresConnector, SqlxSqliteConnector, Statement,
    sea_query::{Expr, ExprTrait},
};
use std::{collections::BTreeSet, path::Path, sync::LazyLock};
use uuid::Uuid;

/// Connections that read single rows. SQLite's readers don't wait for the writer; more of them than cores only take memory.
const READERS: u32 = 4;
/// The same of a server, whose answers take a way over the network.
const READERS_OF_SERVER: u32 = 8;
/// So few files of one name are looked up like one by its id: they wait for no list.
const LOOKED_UP_MAX: usize = 2;

/// What the index of names can't be made anew over.
const PAGE_DAMAGED: &str = "a page of the database is damaged: make it again from the stores with `larder rebuild`";

/// Whether an index of names leads to the answer, with nothing to pass by on the way.
fn is_looked_up(query: &FileQuery) -> bool {
    let FileQuery { name, prefix, q, tag, content_type, from, until, sort, limit, .. } = query;
    let has_filters = q.is_some() || from.is_some() || until.is_some();
    let has_words = prefix.is_some() || tag.is_some() || content_type.is_some();
    name.is_some() && *limit <= LOOKED_UP_MAX && *sort == Sort::Created && !has_filters && !has_words
}

/// A ledger in a SQLite file, shared by the processes of one machine, or in a schema of PostgreSQL, shared by as many nodes as there are.
/// Cloning is cheap.
///
/// Changes are durable when they are answered. Those of one process go through one writer, which does whatever waits in one
/// transaction; those of several wait for each other, at most ten seconds.
///
/// It must be opened, used and closed on a tokio runtime with IO and time.
#[derive(Clone, Debug)]
pub struct SqlLedger {
    home: Home,
    writer: Writer,
    orm: DatabaseConnection,
    scans: Scans,
    /// Only a file tells at once that nobody has written to it.
    cache: Option<RowCache>,
}

impl SqlLedger {
    /// Opens the SQLite database at `path`, making or migrating it where that is needed. Its folder must exist.
    ///
    /// # Errors
    /// [`OpenError`] says what is wrong and what to do; nothing was changed then.
    pub async fn open(path: &Path, open: Open) -> Result<Self, OpenError> {
        let place = open::prepare(path, open)?;
        let refused = |error: sqlx::Error| {
            let text = error.to_string();
            open::refused_by(&place, &error, text.into())
        };
        let pool = open::writer(&place).await.map_err(refused)?;
        let epoch = match open::migrate(&place, &pool).await {
            Ok(epoch) => epoch,
            Err(refused) => {
                pool.close().await;
                return Err(refused);
            }
        };
        let readers = SqlxSqliteConnector::from_sqlx_sqlite_pool(open::readers(&place, READERS));
        let cache = Some(RowCache::open(&place.path));
        let writer = SqlxSqliteConnector::from_sqlx_sqlite_pool(pool);
        let io = |path: &Path, error: std::io::Error| OpenError::Io { path: path.into(), source: error.into() };
        Self::over(Home::File(place), (writer, readers), cache, epoch).map_err(|error| io(path, error))
    }

    /// Opens a schema of PostgreSQL, making or migrating it where that is needed.
    ///
    /// # Errors
    /// [`OpenError`] says what is wrong and what to do; nothing was changed then.
    pub async fn connect(server: &Server, open: Open) -> Result<Self, OpenError> {
        drop(server.look().await?);
        let pool = server.writer().await.map_err(|error| server.refused_by(error))?;
        let epoch = match server.migrate(&pool, open).await {
            Ok(epoch) => epoch,
            Err(refused) => {
                pool.close().await;
                return Err(refused);
            }
        };
        let readers = SqlxPostgresConnector::from_sqlx_postgres_pool(server.readers(READERS_OF_SERVER));
        let writer = SqlxPostgresConnector::from_sqlx_postgres_pool(pool);
        let no_thread =
            |error: std::io::Error| OpenError::NoServer { server: server.to_string(), source: error.into() };
        Self::over(Home::Server(Box::new(server.clone())), (writer, readers), None, epoch).map_err(no_thread)
    }

    fn over(
        home: Home,
        (writer, orm): (DatabaseConnection, DatabaseConnection),
        cache: Option<RowCache>,
        epoch: Option<u64>,
    ) -> std::io::Result<Self> {
        let scans = Scans::new(&home);
        let writer = Writer::start(home.clone(), writer, epoch)?;
        Ok(Self { home, writer, orm, scans, cache })
    }

    /// The settings that decide whether a commit is durable, read back from a connection to SQLite; `None` over a server, which was
    /// asked by each connection as it was made.
    ///
    /// # Errors
    /// `Unavailable` where the database can't be reached.
    pub async fn durability(&self) -> Result<Option<Durability>> {
        let Home::File(_) = self.home else { return Ok(None) };
        let unavailable = |error: sqlx::Error| LedgerError::Unavailable(error.into());
        let mut connection = self.orm.get_sqlite_connection_pool().acquire().await.map_err(unavailable)?;
        Durability::of(&mut connection).await.map(Some).map_err(unavailable)
    }

    /// Finishes what waits, writes SQLite's log back into its file and closes every connection, for every clone of this handle: their
    /// calls are `Unavailable` from then on.
    pub async fn close(self) {
        if let Err(error) = self.orm.close_by_ref().await {
            tracing::debug!(%error, "the ledger's readers were not closed");
        }
        self.scans.close().await;
        self.writer.close().await;
    }

    pub(crate) fn readers(&self) -> &DatabaseConnection {
        &self.orm
    }

    pub(crate) fn home(&self) -> &Home {
        &self.home
    }

    /// From now on the writer takes nothing unless `node` is on the roll.
    pub(crate) fn signed_as(&self, node: &NodeId) {
        self.writer.signed_as(node);
    }

    #[cfg(test)]
    pub(crate) fn scans(&self) -> &Scans {
        &self.scans
    }

    #[cfg(test)]
    pub(crate) fn reader(&self) -> &DatabaseConnection {
        &self.orm
    }

    /// Rows of a statement that is written out here, for either database.
    async fn rows(&self, sql: &str, values: Vec<sea_orm::Value>) -> Result<Vec<QueryResult>> {
        let statement = Statement::from_sql_and_values(self.orm.get_database_backend(), sql, values);
        self.orm.query_all_raw(statement).await.map_err(ledger_error)
    }

    async fn intent(&self, call: Call) -> Result<Intent> {
        match self.writer.call(call).await {
            Answer::Intent(result) => *result,
            other => Err(out_of_kind(&other)),
        }
    }

    async fn done(&self, call: Call) -> Result<()> {
        match self.writer.call(call).await {
            Answer::Done(result) => result,
            other => Err(out_of_kind(&other)),
        }
    }
}

/// An answer of another kind than its call: only a writer that ended gives one, and that is `Done` with the reason.
fn out_of_kind(answer: &Answer) -> LedgerError {
    match answer {
        Answer::Done(Err(error)) => error.echo(),
        other => LedgerError::Internal(format!("the ledger's writer answered {other:?}").into()),
    }
}

/// The statements that are written out, in the words of one database.
struct Words {
    file: String,
    placed: String,
    placed_due: String,
}

impl Words {
    fn of(backend: DbBackend) -> &'static Self {
        static SQLITE: LazyLock<Words> = LazyLock::new(|| Words::new(DbBackend::Sqlite));
        static POSTGRES: LazyLock<Words> = LazyLock::new(|| Words::new(DbBackend::Postgres));
        if backend == DbBackend::Postgres { &POSTGRES } else { &SQLITE }
    }

    fn new(backend: DbBackend) -> Self {
        let copies = copies_text(backend, "revisions");
        // CROSS: the rows that are due come first, whatever SQLite thinks of the tables' sizes.
        let join = if backend == DbBackend::Sqlite { "CROSS JOIN" } else { "JOIN" };
        Self {
            file: format!("SELECT attributes, {} FROM files WHERE id = $1", copies_text(backend, "files")),
            placed: format!(
                "SELECT revisions.file_id, revisions.revision, files.bucket_id, {copies} FROM revisions \
                 JOIN files ON files.id = revisions.file_id WHERE (revisions.file_id, revisions.revision) > ($1, $2) \
                 ORDER BY revisions.file_id, revisions.revision LIMIT $3"
            ),
            placed_due: format!(
                "SELECT revisions.file_id, revisions.revision, files.bucket_id, {copies} FROM \
                 (SELECT DISTINCT file_id, revision FROM copies WHERE ({COPY_IS_DUE}) AND (file_id, revision) > ($1, $2) \
                  ORDER BY file_id, revision LIMIT $3) due \
                 {join} revisions ON revisions.file_id = due.file_id AND revisions.revision = due.revision \
                 {join} files ON files.id = due.file_id ORDER BY due.file_id, due.revision"
            ),
        }
    }

    /// A page of revisions with where they lie. Those with a copy that is due come by an index that has no others.
    fn placed(&self, due: bool) -> &str {
        if due { &self.placed_due } else { &self.placed }
    }
}

fn placed_row(row: &QueryResult) -> Result<Placed, DbErr> {
    let copies: Option<String> = row.try_get_by_index(3)?;
    Ok(Placed {
        file: FileId(row.try_get_by_index(0)?),
        revision: row.try_get_by_index::<i64>(1)?.cast_unsigned(),
        bucket: BucketId(row.try_get_by_index(2)?),
        copies: convert::copies_of(copies.as_deref())?,
    })
}

pub(crate) fn file_row(attributes: &str, copies: Option<&str>) -> Result<FileRow, DbErr> {
    let attributes: Attributes = convert::record(attributes)?;
    Ok(FileRow { attributes, copies: convert::copies_of(copies)? })
}

#[derive(FromQueryResult)]
struct RevisionWithCopies {
    #[sea_orm(nested)]
    row: revisions::Model,
    copies: Option<String>,
}

async fn revisions_where(
    db: &DatabaseConnection,
    condition: Condition,
    limit: Option<usize>,
) -> Result<Vec<RevisionRow>> {
    let query = revisions::Entity::find()
        .expr_as(Expr::cust(copies_text(db.get_database_backend(), "revisions")), "copies")
        .filter(condition)
        .order_by_asc(revisions::Column::Revision)
        .limit(limit.map(|limit| limit as u64));
    let rows = query.into_model::<RevisionWithCopies>().all(db).await.map_err(ledger_error)?;
    let read = |row: RevisionWithCopies| convert::revision(row.row, convert::copies_of(row.copies.as_deref())?);
    rows.into_iter().map(read).collect::<Result<_, _>>().map_err(ledger_error)
}

#[async_trait]
impl Ledger for SqlLedger {
    async fn identity(&self) -> Result<Option<Identity>> {
        let row = meta::Entity::find().one(&self.orm).await.map_err(ledger_error)?;
        let identity = row.as_ref().map(convert::identity).transpose().map_err(ledger_error)?;
        if let Some(identity) = &identity {
            self.writer.epoch().see(identity.epoch);
        }
        Ok(identity)
    }

    async fn initialise(&self, identity: &Identity) -> Result<()> {
        self.done(Call::Initialise(identity.clone())).await
    }

    async fn raise_mark(&self, told: &[StoreId]) -> Result<u64> {
        match self.writer.call(Call::RaiseMark(told.to_vec())).await {
            Answer::Mark(result) => result,
            other => Err(out_of_kind(&other)),
        }
    }

    async fn claim(&self, file: FileId, purpose: Purpose, node: &NodeId, now: Timestamp) -> Result<Claim> {
        match self.writer.call(Call::Claim { file, purpose, node: node.clone(), now }).await {
            Answer::Claim(result) => result,
            other => Err(out_of_kind(&other)),
        }
    }

    async fn harden(&self, claim: u64, purge: Purpose) -> Result<()> {
        self.done(Call::Harden { claim, purge }).await
    }

    async fn take_over(&self, claim: u64, from: &NodeId, to: &NodeId) -> Result<Claim> {
        match self.writer.call(Call::TakeOver { claim, from: from.clone(), to: to.clone() }).await {
            Answer::Claim(result) => result,
            other => Err(out_of_kind(&other)),
        }
    }

    async fn claim_of(&self, file: FileId) -> Result<Option<Claim>> {
        let row = claims::Entity::find().filter(claims::Column::FileId.eq(file.0)).one(&self.orm).await;
        row.and_then(|row| row.map(convert::claim).transpose()).map_err(ledger_error)
    }

    async fn claims(&self) -> Result<Vec<Claim>> {
        let rows = claims::Entity::find().order_by_asc(claims::Column::Id).all(&self.orm).await;
        rows.and_then(|rows| rows.into_iter().map(convert::claim).collect()).map_err(ledger_error)
    }

    async fn open_intent(&self, node: &NodeId, upload: &Upload) -> Result<Intent> {
        self.intent(Call::OpenIntent { node: node.clone(), upload: upload.clone() }).await
    }

    async fn renew_intent(&self, hold: Hold, upload: &Upload) -> Result<()> {
        self.done(Call::RenewIntent { hold, upload: upload.clone() }).await
    }

    async fn fence_intent(&self, seen: Hold, node: &NodeId) -> Result<Intent> {
        self.intent(Call::FenceIntent { seen, node: node.clone() }).await
    }

    async fn fail_intent(&self, hold: Hold) -> Result<()> {
        self.done(Call::FailIntent(hold)).await
    }

    async fn close_intent(&self, hold: Hold) -> Result<()> {
        self.done(Call::CloseIntent(hold)).await
    }

    async fn intents(&self) -> Result<Vec<Intent>> {
        let rows = intents::Entity::find().order_by_asc(intents::Column::Id).all(&self.orm).await;
        rows.and_then(|rows| rows.into_iter().map(convert::intent).collect()).map_err(ledger_error)
    }

    async fn record(&self, records: Vec<Record>) -> Vec<Result<Recorded>> {
        let members = records.len();
        match self.writer.call(Call::Record(records)).await {
            Answer::Recorded(results) => results,
            other => (0..members).map(|_| Err(out_of_kind(&other))).collect(),
        }
    }

    async fn reserve(&self, key: Sha256, node: &NodeId, since: Timestamp) -> Result<Reservation> {
        match self.writer.call(Call::Reserve { key, node: node.clone(), since }).await {
            Answer::Reservation(result) => result,
            other => Err(out_of_kind(&other)),
        }
    }

    async fn unreserve(&self, key: Sha256, node: &NodeId) -> Result<()> {
        self.done(Call::Unreserve { key, node: node.clone() }).await
    }

    async fn unreserve_all(&self, node: &NodeId) -> Result<()> {
        self.done(Call::UnreserveAll(node.clone())).await
    }

    async fn nodes(&self) -> Result<Vec<NodeId>> {
        let claiming = claims::Entity::find().select_only().column(claims::Column::Node).distinct();
        let running = reservations::Column::Node;
        let reserving = reservations::Entity::find().select_only().column(running).distinct();
        let claiming: Vec<String> = claiming.into_tuple().all(&self.orm).await.map_err(ledger_error)?;
        let reserving = reserving.filter(running.is_not_null()).into_tuple();
        let reserving: Vec<String> = reserving.all(&self.orm).await.map_err(ledger_error)?;
        let nodes: BTreeSet<_> = claiming.iter().chain(&reserving).filter_map(|node| NodeId::new(node)).collect();
        Ok(nodes.into_iter().collect())
    }

    async fn open_session(&self, session: &Session, of: Option<Rank>, most: usize, now: Timestamp) -> Result<()> {
        self.done(Call::OpenSession { session: session.clone(), of, most, now }).await
    }

    async fn refresh_session(&self, id: SessionId, serial: u64, until: Timestamp, now: Timestamp) -> Result<Refreshed> {
        match self.writer.call(Call::RefreshSession { id, serial, until, now }).await {
            Answer::Refreshed(result) => result,
            other => Err(out_of_kind(&other)),
        }
    }

    async fn end_session(&self, id: SessionId) -> Result<()> {
        self.done(Call::EndSession(id)).await
    }

    async fn open_direct(&self, upload: &DirectUpload, most: usize, now: Timestamp) -> Result<()> {
        self.done(Call::OpenDirect { upload: Box::new(upload.clone()), most, now }).await
    }

    async fn direct(&self, id: DirectId) -> Result<Option<DirectUpload>> {
        let row = directs::Entity::find_by_id(id.0).one(&self.orm).await;
        row.and_then(|row| row.as_ref().map(convert::direct).transpose()).map_err(ledger_error)
    }

    async fn end_direct(&self, id: DirectId) -> Result<()> {
        self.done(Call::EndDirect(id)).await
    }

    async fn session(&self, id: SessionId) -> Result<Option<Session>> {
        let row = sessions::Entity::find_by_id(id.0).one(&self.orm).await.map_err(ledger_error)?;
        Ok(row.as_ref().map(convert::session))
    }

    /// The one query behind every download: its text is not built each time.
    async fn file(&self, id: FileId) -> Result<Option<FileRow>> {
        if let Some(row) = self.cache.as_ref().and_then(|cache| cache.get(id)) {
            return Ok(row);
        }
        let before = self.cache.as_ref().and_then(RowCache::generation);
        let rows = self.rows(&Words::of(self.orm.get_database_backend()).file, vec![id.0.into()]).await?;
        let read = |row: &QueryResult| {
            let (attributes, copies): (String, Option<String>) = (row.try_get_by_index(0)?, row.try_get_by_index(1)?);
            file_row(&attributes, copies.as_deref())
        };
        let row = rows.first().map(read).transpose().map_err(ledger_error)?;
        if let Some(cache) = &self.cache {
            cache.put(before, id, row.clone());
        }
        Ok(row)
    }

    async fn files(&self, query: &FileQuery) -> Result<Vec<FileRow>> {
        if query.finds_nothing() {
            return Ok(vec![]);
        }
        if is_looked_up(query) {
            return lists::page(&self.orm, query).await.map_err(ledger_error);
        }
        self.scans.run(async |db| lists::page(db, query).await).await
    }

    /// However many folders: one turn, one time that it may take.
    async fn folders(&self, query: &FileQuery) -> Result<Page> {
        if query.finds_nothing() {
            return Ok(Page::default());
        }
        self.scans.run(async |db| lists::folders(db, query).await).await
    }

    async fn check_index(&self) -> Result<Option<String>> {
        match self.home {
            Home::File(_) => letters::check(&self.orm).await.map_err(ledger_error),
            Home::Server(_) => Ok(None),
        }
    }

    async fn remake_index(&self) -> Result<()> {
        match self.home {
            Home::File(_) => letters::make_anew(&self.home).await.map_err(|error| match letters::is_damage(&error) {
                true => LedgerError::Internal(PAGE_DAMAGED.into()),
                false => ledger_error(error),
            }),
            Home::Server(_) => Ok(()),
        }
    }

    async fn revisions(&self, id: FileId) -> Result<Vec<RevisionRow>> {
        revisions_where(&self.orm, Condition::all().add(revisions::Column::FileId.eq(id.0)), None).await
    }

    async fn revisions_behind(&self, id: FileId, after: u64, limit: usize) -> Result<Vec<RevisionRow>> {
        let Ok(after) = i64::try_from(after) else { return Ok(vec![]) };
        let behind = revisions::Column::FileId.eq(id.0).and(revisions::Column::Revision.gt(after));
        revisions_where(&self.orm, Condition::all().add(behind), Some(limit)).await
    }

    async fn revision(&self, id: FileId, revision: u64) -> Result<Option<RevisionRow>> {
        let Ok(number) = i64::try_from(revision) else { return Ok(None) };
        let one = Condition::all().add(revisions::Column::FileId.eq(id.0)).add(revisions::Column::Revision.eq(number));
        revisions_where(&self.orm, one, Some(1)).await.map(|rows| rows.into_iter().next())
    }

    async fn placed(&self, query: &PlacedQuery) -> Result<Vec<Placed>> {
        let (file, revision) = query.after.unwrap_or((FileId(Uuid::nil()), 0));
        let number = |of: u64| sea_orm::Value::from(i64::try_from(of).unwrap_or(i64::MAX));
        let sql = Words::of(self.orm.get_database_backend()).placed(query.due);
        let rows = self.rows(sql, vec![file.0.into(), number(revision), number(query.limit as u64)]).await?;
        rows.iter().map(placed_row).collect::<Result<_, _>>().map_err(ledger_error)
    }

    async fn copy_counts(&self) -> Result<Vec<CopyCount>> {
        static SQL: LazyLock<String> = LazyLock::new(|| {
            format!(
                "SELECT store_id, count(*) FILTER (WHERE state IN (1, 2)), count(*) FILTER (WHERE {COPY_IS_DUE} OR state = 3) \
                 FROM copies GROUP BY store_id ORDER BY store_id"
            )
        });
        let count = |row: &QueryResult| {
            let number = |at: usize| row.try_get_by_index::<i64>(at).map(i64::cast_unsigned);
            Ok(CopyCount { store: StoreId(row.try_get_by_index(0)?), readable: number(1)?, due: number(2)? })
        };
        self.rows(&SQL, vec![]).await?.iter().map(count).collect::<Result<_, _>>().map_err(ledger_error)
    }

    async fn tombstone(&self, id: FileId, revision: Option<u64>) -> Result<Option<Tombstone>> {
        let Ok(number) = i64::try_from(revision.unwrap_or(0)) else { return Ok(None) };
        let row = tombstones::Entity::find_by_id((id.0, number)).one(&self.orm).await;
        row.and_then(|row| row.map(|row| convert::tombstone(&row.tombstone)).transpose()).map_err(ledger_error)
    }

    async fn tombstones(&self, after: Option<(FileId, Option<u64>)>, limit: usize) -> Result<Vec<Tombstone>> {
        use tombstones::Column;
        let behind = |(id, revision): (FileId, Option<u64>)| {
            let number = i64::try_from(revision.unwrap_or(0)).unwrap_or(i64::MAX);
            Column::FileId.gt(id.0).or(Column::FileId.eq(id.0).and(Column::Revision.gt(number)))
        };
        let query = tombstones::Entity::find().filter(Condition::all().add_option(after.map(behind)));
        let query = query.order_by_asc(Column::FileId).order_by_asc(Column::Revision).limit(limit as u64);
        let rows = query.all(&self.orm).await.map_err(ledger_error)?;
        rows.iter().map(|row| convert::tombstone(&row.tombstone)).collect::<Result<_, _>>().map_err(ledger_error)
    }

    async fn missed(&self, store: StoreId, after: Option<RecordId>, limit: usize) -> Result<Vec<Missed>> {
        use missed::Column;
        let behind = |after: RecordId| {
            let row = convert::missed_row(&Missed { store, record: after, epoch: 0, version: 0 });
            let columns = [Column::Kind, Column::Id, Column::Revision].map(Expr::col);
            Expr::tuple(columns).gt(Expr::tuple([Expr::val(row.kind), Expr::val(row.id), Expr::val(row.revision)]))
        };
        let of_store = Condition::all().add(Column::StoreId.eq(store.0)).add_option(after.map(behind));
        let rows = missed::Entity::find().filter(of_store).limit(limit as u64);
        let rows = rows.order_by_asc(Column::Kind).order_by_asc(Column::Id).order_by_asc(Column::Revision);
        let rows = rows.all(&self.orm).await.map_err(ledger_error)?;
        rows.iter().map(convert::missed).collect::<Result<_, _>>().map_err(ledger_error)
    }

    async fn users(&self) -> Result<Vec<User>> {
        let rows = users::Entity::find().order_by_asc(users::Column::Id).all(&self.orm).await.map_err(ledger_error)?;
        rows.iter().map(|row| convert::record(&row.record)).collect::<Result<_, _>>().map_err(ledger_error)
    }

    async fn users_behind(&self, after: Option<UserId>, limit: usize) -> Result<Vec<User>> {
        let behind = Condition::all().add_option(after.map(|after| users::Column::Id.gt(after.0)));
        let query = users::Entity::find().filter(behind).order_by_asc(users::Column::Id).limit(limit as u64);
        let rows = query.all(&self.orm).await.map_err(ledger_error)?;
        rows.iter().map(|row| convert::record(&row.record)).collect::<Result<_, _>>().map_err(ledger_error)
    }

    async fn user_named(&self, name: &str) -> Result<Option<User>> {
        if name.contains('\0') {
            return Ok(None);
        }
        let row = users::Entity::find().filter(users::Column::Name.eq(name)).one(&self.orm).await;
        row.and_then(|row| row.map(|row| convert::record(&row.record)).transpose()).map_err(ledger_error)
    }

    async fn user(&self, id: UserId) -> Result<Option<User>> {
        let row = users::Entity::find_by_id(id.0).one(&self.orm).await;
        row.and_then(|row| row.map(|row| convert::record(&row.record)).transpose()).map_err(ledger_error)
    }

    async fn buckets(&self) -> Result<Vec<Bucket>> {
        let rows = buckets::Entity::find().order_by_asc(buckets::Column::Id).all(&self.orm).await;
        let rows = rows.map_err(ledger_error)?;
        rows.iter().map(|row| convert::record(&row.record)).collect::<Result<_, _>>().map_err(ledger_error)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use sqlx::Row;

    #[tokio::test]
    async fn what_is_due_comes_by_an_index_that_has_nothing_else() {
        let folder = tempfile::tempdir().unwrap();
        let ledger = SqlLedger::open(&folder.path().join("larder.db"), Open { create: true }).await.unwrap();
        for (due, index) in [(true, "SEARCH copies USING INDEX copies_due"), (false, "SEARCH revisions USING")] {
            let sql = format!("EXPLAIN QUERY PLAN {}", Words::of(DbBackend::Sqlite).placed(due));
            let query = sqlx::query(sqlx::AssertSqlSafe(sql)).bind(vec![0_u8; 16]).bind(1_i64).bind(10_i64);
            let rows = query.fetch_all(ledger.orm.get_sqlite_connection_pool()).await.unwrap();
            let plan: Vec<String> = rows.iter().map(|row| row.get("detail")).collect();
            assert!(plan.iter().any(|line| line.contains(index)), "{plan:#?}");
            // Of what is due a page is sorted, never all.
            assert!(due || !plan.iter().any(|line| line.contains("TEMP B-TREE")), "it sorts: {plan:#?}");
        }
    }
}
