//! [`Work`]: the rows that one group of calls touches. They are loaded with one query a table, decided on in memory by the rules
//! of the contract, and written with one statement a table: a group costs as many statements as one call, whatever its size.

use crate::{
    convert::{self, Last, Wide, int},
    entity::{
        buckets, claims, copies, directs, files, given, intents, meta, missed, reservations, revisions, sessions, tags,
        tombstones, users,
    },
};
use larder_files::{
    Attributes, Bucket, BucketId, CreatedByKey, DirectId, FileId, NodeId, Rank, SessionId, Sha256, StoreId, Timestamp,
    Tombstone, User, UserId,
    ledger::{
        Claim, CopyRow, CopyState, DirectUpload, Entry, Hold, Identity, Intent, IntentState, LedgerError, Made, Missed,
        Purpose, Record, RecordId, Recorded, Refreshed, Reservation, Result, Session, Upload,
    },
};
use sea_orm::{
    ActiveModelTrait, ColumnTrait, Condition, ConnectionTrait, DatabaseTransaction, DbErr, EntityTrait,
    IntoActiveModel, Iterable, PaginatorTrait, PrimaryKeyToColumn, QueryFilter, QueryOrder, QuerySelect,
    sea_query::{Expr, OnConflict, Query, SelectStatement, SimpleExpr, UnionType},
};
use std::collections::{BTreeMap, BTreeSet};

/// How many keys one query asks for, and how many rows one statement writes: well below SQLite's 32,766 variables.
const KEYS_MAX: usize = 8_000;
const ROWS_MAX: usize = 500;
/// How many files one query over five tables asks for.
const FILES_MAX: usize = 1_000;
/// Up to so many revision numbers a query asks for no others.
const NUMBERS_MAX: usize = 100;
/// How many sessions that have ended, or idempotent requests that are forgotten, go at once: the others go with the next.
const ENDED_MAX: u64 = 1_000;
/// A request that is forgotten goes so long after, in milliseconds: the clock of who forgets it may be wrong.
const GOES_AFTER: i64 = 24 * 60 * 60 * 1000;

/// A call that changes something.
#[derive(Clone, Debug)]
pub(crate) enum Call {
    Initialise(Identity),
    RaiseMark(Vec<StoreId>),
    Claim { file: FileId, purpose: Purpose, node: NodeId, now: Timestamp },
    Harden { claim: u64, purge: Purpose },
    TakeOver { claim: u64, from: NodeId, to: NodeId },
    OpenIntent { node: NodeId, upload: Upload },
    RenewIntent { hold: Hold, upload: Upload },
    FenceIntent { seen: Hold, node: NodeId },
    FailIntent(Hold),
    CloseIntent(Hold),
    Record(Vec<Record>),
    Reserve { key: Sha256, node: NodeId, since: Timestamp },
    Unreserve { key: Sha256, node: NodeId },
    UnreserveAll(NodeId),
    OpenSession { session: Session, of: Option<Rank>, most: usize, now: Timestamp },
    RefreshSession { id: SessionId, serial: u64, until: Timestamp, now: Timestamp },
    EndSession(SessionId),
    OpenDirect { upload: Box<DirectUpload>, most: usize, now: Timestamp },
    EndDirect(DirectId),
}

/// What a call answers, once its group is committed.
#[derive(Debug)]
pub(crate) enum Answer {
    Done(Result<()>),
    Mark(Result<u64>),
    Claim(Result<Claim>),
    Intent(Box<Result<Intent>>),
    Recorded(Vec<Result<Recorded>>),
    Reservation(Result<Reservation>),
    Refreshed(Result<Refreshed>),
}

impl Call {
    /// How many members it adds to a group.
    pub(crate) fn weight(&self) -> usize {
        if let Self::Record(records) = self { records.len().max(1) } else { 1 }
    }

    /// The answer of a call that came to nothing.
    pub(crate) fn failed(&self, error: &LedgerError) -> Answer {
        match self {
            Self::RaiseMark(_) => Answer::Mark(Err(error.echo())),
            Self::Claim { .. } | Self::TakeOver { .. } => Answer::Claim(Err(error.echo())),
            Self::OpenIntent { .. } | Self::FenceIntent { .. } => Answer::Intent(Box::new(Err(error.echo()))),
            Self::Record(records) => Answer::Recorded(records.iter().map(|_| Err(error.echo())).collect()),
            Self::Reserve { .. } => Answer::Reservation(Err(error.echo())),
            Self::RefreshSession { .. } => Answer::Refreshed(Err(error.echo())),
            Self::Initialise(_) | Self::Harden { .. } | Self::Unreserve { .. } | Self::UnreserveAll(_) => {
                Answer::Done(Err(error.echo()))
            }
            Self::RenewIntent { .. } | Self::FailIntent(_) | Self::CloseIntent(_) => Answer::Done(Err(error.echo())),
            Self::OpenSession { .. } | Self::EndSession(_) => Answer::Done(Err(error.echo())),
            Self::OpenDirect { .. } | Self::EndDirect(_) => Answer::Done(Err(error.echo())),
        }
    }
}

/// Rows of one table: what was loaded, and which of it must be written.
#[derive(Debug)]
struct Rows<K, V> {
    rows: BTreeMap<K, V>,
    changed: BTreeSet<K>,
}

impl<K: Ord + Copy, V> Rows<K, V> {
    fn loaded(rows: impl IntoIterator<Item = (K, V)>) -> Self {
        Self { rows: rows.into_iter().collect(), changed: BTreeSet::new() }
    }

    fn get(&self, key: &K) -> Option<&V> {
        self.rows.get(key)
    }

    fn set(&mut self, key: K, value: V) {
        self.rows.insert(key, value);
        self.changed.insert(key);
    }

    fn remove(&mut self, key: &K) {
        if self.rows.remove(key).is_some() {
            self.changed.insert(*key);
        }
    }

    fn remove_where(&mut self, goes: impl Fn(&K, &V) -> bool) {
        let going: Vec<_> = self.rows.iter().filter(|(key, value)| goes(key, value)).map(|(key, _)| *key).collect();
        going.iter().for_each(|key| self.remove(key));
    }

    fn written(&self) -> impl Iterator<Item = (&K, &V)> {
        self.changed.iter().filter_map(|key| self.rows.get_key_value(key))
    }

    fn removed(&self) -> impl Iterator<Item = &K> {
        self.changed.iter().filter(|key| !self.rows.contains_key(key))
    }
}

/// `attributes` is `None` of a row that is as it was loaded.
#[derive(Debug)]
struct Head {
    rank: Rank,
    given: Given,
    attributes: Option<Box<Attributes>>,
}

/// `attributes` is `None` of a row that is as it was loaded.
#[derive(Debug)]
struct Revision {
    rank: Rank,
    key: String,
    attributes: Option<Box<Attributes>>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Given {
    version: u64,
    revision: u64,
}

impl Given {
    fn row(self, file: FileId) -> given::Model {
        given::Model { file_id: file.0, version: int(self.version), revision: int(self.revision) }
    }

    fn and(self, other: Self) -> Self {
        Self { version: self.version.max(other.version), revision: self.revision.max(other.revision) }
    }
}

/// What a group touches. `0` as a tombstone's revision is the whole file's.
#[derive(Debug)]
pub(crate) struct Work {
    identity: Option<Identity>,
    last: Last,
    meta_changed: bool,
    heads: Rows<FileId, Head>,
    given: Rows<FileId, Given>,
    revisions: Rows<(FileId, u64), Revision>,
    copies: Rows<(FileId, u64, StoreId), CopyRow>,
    tombstones: Rows<(FileId, u64), Tombstone>,
    claims: Rows<u64, Claim>,
    intents: Rows<u64, Intent>,
    reservations: Rows<Sha256, Reservation>,
    users: Rows<UserId, User>,
    buckets: Rows<BucketId, Bucket>,
    sessions: Rows<SessionId, Session>,
    directs: Rows<DirectId, DirectUpload>,
    /// How many direct uploads go on of those who begin one, beside those that were loaded.
    directs_of: BTreeMap<UserId, usize>,
    /// Those of the files that some table had rows of.
    known_files: BTreeSet<FileId>,
    /// Files whose rows all go, and revisions whose copies all go, before anything is written.
    dropped_files: BTreeSet<FileId>,
    dropped_copies: BTreeSet<(FileId, u64)>,
    missed: BTreeMap<(StoreId, RecordId), News>,
}

/// What is new of a record that a store may have missed: up to which rank it was carried, and then which one was missed.
#[derive(Clone, Copy, Debug, Default)]
struct News {
    carried: Option<(u64, u64)>,
    missed: Option<(u64, u64)>,
}

/// What must be loaded.
#[derive(Debug, Default)]
pub(crate) struct Needs {
    files: BTreeSet<FileId>,
    revisions: BTreeSet<u64>,
    /// Revisions of which a copy is named.
    copies: BTreeSet<(FileId, u64)>,
    claims: BTreeSet<u64>,
    intents: BTreeSet<u64>,
    reservations: BTreeSet<Sha256>,
    reserving: BTreeSet<NodeId>,
    /// What was done before then is long forgotten.
    forgotten: Option<Timestamp>,
    users: Vec<(UserId, String)>,
    buckets: Vec<(BucketId, String)>,
    sessions: BTreeSet<SessionId>,
    sessions_of: BTreeSet<UserId>,
    /// Sessions that have ended by then.
    sessions_until: Option<Timestamp>,
    directs: BTreeSet<DirectId>,
    directs_of: BTreeSet<UserId>,
    /// Direct uploads that have ended by then.
    directs_until: Option<Timestamp>,
}

impl Needs {
    pub(crate) fn of<'a>(calls: impl IntoIterator<Item = &'a Call>) -> Self {
        let mut needs = Self::default();
        for call in calls {
            match call {
                Call::Initialise(_) | Call::RaiseMark(_) => {}
                Call::Claim { file, .. } => _ = needs.files.insert(*file),
                Call::Harden { claim, .. } | Call::TakeOver { claim, .. } => _ = needs.claims.insert(*claim),
                Call::OpenIntent { .. } => {}
                Call::RenewIntent { hold, upload } => needs.intent(hold.intent, upload),
                Call::FenceIntent { seen: hold, .. } | Call::FailIntent(hold) | Call::CloseIntent(hold) => {
                    _ = needs.intents.insert(hold.intent);
                }
                Call::Record(records) => records.iter().for_each(|record| needs.record(record)),
                Call::Reserve { key, since, .. } => {
                    needs.reservations.insert(*key);
                    needs.forgotten = needs.forgotten.max(Some(long_before(*since)));
                }
                Call::Unreserve { key, .. } => _ = needs.reservations.insert(*key),
                Call::UnreserveAll(node) => _ = needs.reserving.insert(node.clone()),
                Call::OpenSession { session, now, .. } => needs.session(session.user, *now),
                Call::RefreshSession { id, .. } | Call::EndSession(id) => _ = needs.sessions.insert(*id),
                Call::OpenDirect { upload, now, .. } => {
                    needs.directs.insert(upload.id);
                    needs.directs_of.insert(upload.user);
                    needs.directs_until = needs.directs_until.max(Some(*now));
                }
                Call::EndDirect(id) => _ = needs.directs.insert(*id),
            }
        }
        needs
    }

    fn record(&mut self, record: &Record) {
        self.claims.extend(record.closes);
        self.intents.extend(record.settles.map(|hold| hold.intent));
        match &record.entry {
            None => {}
            Some(Entry::Attributes { attributes, copies }) => {
                self.revision(attributes.id, attributes.revision);
                self.copies.extend((!copies.is_empty()).then_some((attributes.id, attributes.revision)));
                self.reservations.extend(attributes.created_by_key.iter().map(|made| made.key));
            }
            Some(Entry::Tombstone(tombstone)) => {
                self.revision(tombstone.id, tombstone.revision.unwrap_or(0));
                self.reservations.extend(tombstone.created_by_key.iter().map(|made| made.key));
            }
            Some(Entry::Copies { file, revision, .. } | Entry::Unwanted { file, revision, .. }) => {
                self.revision(*file, *revision);
                self.copies.insert((*file, *revision));
            }
            Some(Entry::Missed(_) | Entry::Carried(_)) => {}
            Some(Entry::User(user)) => {
                self.users.push((user.id, user.name.to_string()));
                self.sessions_of.insert(user.id);
                self.reservations.extend(user.created_by_key.iter().map(|made| made.key));
            }
            Some(Entry::Bucket(bucket)) => self.buckets.push((bucket.id, bucket.name.to_string())),
            Some(Entry::Forget(file)) => _ = self.files.insert(*file),
            // `Entry` grows only together with this.
        }
    }

    /// An intent, with what goes with it when it is taken over or fails.
    fn intent(&mut self, id: u64, upload: &Upload) {
        self.intents.insert(id);
        self.claims.extend(upload.claim);
        self.reservations.extend(upload.idempotency);
    }

    /// What is looked at to open a session of `user`. (No user bears the empty name.)
    fn session(&mut self, user: UserId, now: Timestamp) {
        self.users.push((user, String::new()));
        self.sessions_of.insert(user);
        self.sessions_until = self.sessions_until.max(Some(now));
    }

    fn revision(&mut self, file: FileId, revision: u64) {
        self.files.insert(file);
        self.revisions.insert(revision);
    }
}

/// What was done before then goes, where what was done before `since` is forgotten.
fn long_before(since: Timestamp) -> Timestamp {
    Timestamp::from_millis(since.as_millis().saturating_sub(GOES_AFTER))
}

/// Loading.
impl Work {
    /// Loads what calls need.
    pub(crate) async fn load(db: &DatabaseTransaction, mut needs: Needs) -> Result<Self, DbErr> {
        let (identity, last) = load_meta(db).await?;
        let intents = load_intents(db, &needs).await?;
        intents.rows.iter().for_each(|(id, intent)| needs.intent(*id, &intent.upload));
        needs.files = known_files(db, needs.files).await?;
        let revisions = load_revisions(db, &needs).await?;
        // A copy has a row only where its revision has one: most that a busy group names are new.
        needs.copies.retain(|place| revisions.rows.contains_key(place));
        let directs = load_directs(db, &needs).await?;
        Ok(Self {
            identity,
            known_files: needs.files.clone(),
            last,
            meta_changed: false,
            heads: load_heads(db, &needs).await?,
            given: load_given(db, &needs).await?,
            revisions,
            copies: load_copies(db, &needs).await?,
            tombstones: load_tombstones(db, &needs).await?,
            claims: load_claims(db, &needs).await?,
            intents,
            reservations: load_reservations(db, &needs).await?,
            users: load_users(db, &needs).await?,
            buckets: load_buckets(db, &needs).await?,
            sessions: load_sessions(db, &needs).await?,
            directs_of: count_directs(db, &needs, &directs).await?,
            directs,
            dropped_files: BTreeSet::new(),
            dropped_copies: BTreeSet::new(),
            missed: BTreeMap::new(),
        })
    }
}

async fn load_meta(db: &impl ConnectionTrait) -> Result<(Option<Identity>, Last), DbErr> {
    match meta::Entity::find().one(db).await? {
        Some(row) => {
            let last = Last { claims: row.claims.cast_unsigned(), intents: row.intents.cast_unsigned() };
            Ok((Some(convert::identity(&row)?), last))
        }
        None => Ok((None, Last::default())),
    }
}

/// Keys as a query takes them. (Not an iterator: one held over an `.await` makes futures that the compiler can't see are `Send`.)
fn keys<T>(of: impl IntoIterator<Item = T>, key: impl Fn(T) -> sea_orm::Value) -> Vec<sea_orm::Value> {
    of.into_iter().map(key).collect()
}

/// All rows of `E` whose `column` is one of `keys`, in as few queries as SQLite's bound on variables allows.
async fn load_by<E: EntityTrait>(
    db: &DatabaseTransaction,
    column: E::Column,
    keys: Vec<sea_orm::Value>,
    and: Option<SimpleExpr>,
) -> Result<Vec<E::Model>, DbErr> {
    let mut rows = Vec::new();
    for part in keys.chunks(KEYS_MAX) {
        let condition = Condition::all().add(column.is_in(padded(part))).add_option(and.clone());
        rows.extend(E::find().filter(condition).all(db).await?);
    }
    Ok(rows)
}

/// `keys`, the last one repeated up to a power of two: with a text for each length, few would be found among the prepared statements.
fn padded(keys: &[sea_orm::Value]) -> Vec<sea_orm::Value> {
    let mut padded = keys.to_vec();
    if let Some(last) = keys.last() {
        padded.resize(keys.len().next_power_of_two(), last.clone());
    }
    padded
}

/// Those of `files` that any table has rows of. Most that a busy group names are new: this asks once what would be asked of each.
async fn known_files(db: &DatabaseTransaction, files: BTreeSet<FileId>) -> Result<BTreeSet<FileId>, DbErr> {
    let mut known = BTreeSet::new();
    for part in keys(&files, |id| id.0.into()).chunks(FILES_MAX) {
        let part = padded(part);
        let mut query = having(files::Entity, files::Column::Id, &part);
        for other in [
            having(given::Entity, given::Column::FileId, &part),
            having(revisions::Entity, revisions::Column::FileId, &part),
            having(tombstones::Entity, tombstones::Column::FileId, &part),
            having(claims::Entity, claims::Column::FileId, &part),
        ] {
            query.union(UnionType::All, other);
        }
        for row in db.query_all(&query).await? {
            known.insert(FileId(row.try_get_by_index(0)?));
        }
    }
    Ok(known)
}

fn having(table: impl EntityTrait, column: impl ColumnTrait, keys: &[sea_orm::Value]) -> SelectStatement {
    Query::select().column(column).from(table.table_ref()).and_where(column.is_in(keys.iter().cloned())).take()
}

async fn load_heads(db: &DatabaseTransaction, needs: &Needs) -> Result<Rows<FileId, Head>, DbErr> {
    type Row = (uuid::Uuid, i64, i64, Vec<u8>, i64);
    let ids: Vec<_> = needs.files.iter().map(|id| id.0).collect();
    let mut rows = Rows::loaded([]);
    for part in ids.chunks(KEYS_MAX) {
        let found: Vec<Row> = files::Entity::find()
            .select_only()
            .columns([files::Column::Id, files::Column::Epoch, files::Column::Version])
            .columns([files::Column::Digest, files::Column::Revision])
            .filter(files::Column::Id.is_in(part.iter().copied()))
            .into_tuple()
            .all(db)
            .await?;
        for (id, epoch, version, digest, revision) in found {
            let rank = convert::rank(epoch, version, &digest)?;
            let given = Given { version: rank.version, revision: revision.cast_unsigned() };
            rows.rows.insert(FileId(id), Head { rank, given, attributes: None });
        }
    }
    Ok(rows)
}

async fn load_given(db: &DatabaseTransaction, needs: &Needs) -> Result<Rows<FileId, Given>, DbErr> {
    let rows = load_by::<given::Entity>(db, given::Column::FileId, keys(&needs.files, |id| id.0.into()), None).await?;
    Ok(Rows::loaded(rows.into_iter().map(|row| {
        let given = Given { version: row.version.cast_unsigned(), revision: row.revision.cast_unsigned() };
        (FileId(row.file_id), given)
    })))
}

async fn load_revisions(db: &DatabaseTransaction, needs: &Needs) -> Result<Rows<(FileId, u64), Revision>, DbErr> {
    let numbers = keys(&needs.revisions, |number| number.cast_signed().into());
    // Most groups name few revision numbers; where they name many, all revisions of their files are fewer.
    let and = (numbers.len() <= NUMBERS_MAX).then(|| revisions::Column::Revision.is_in(numbers));
    let ids = keys(&needs.files, |id| id.0.into());
    let rows = load_by::<revisions::Entity>(db, revisions::Column::FileId, ids, and).await?;
    let rows = rows.into_iter().map(|row| {
        let rank = convert::rank(row.epoch, row.version, &row.digest)?;
        let revision = Revision { rank, key: row.key, attributes: None };
        Ok(((FileId(row.file_id), row.revision.cast_unsigned()), revision))
    });
    Ok(Rows::loaded(rows.collect::<Result<Vec<_>, DbErr>>()?))
}

/// Whatever is known of the copies that a group names, so that each call finds what the one before it left.
async fn load_copies(db: &DatabaseTransaction, needs: &Needs) -> Result<Rows<(FileId, u64, StoreId), CopyRow>, DbErr> {
    let (files, numbers): (BTreeSet<_>, BTreeSet<_>) = needs.copies.iter().copied().unzip();
    let numbers = keys(numbers, |number| number.cast_signed().into());
    let and = (numbers.len() <= NUMBERS_MAX).then(|| copies::Column::Revision.is_in(numbers));
    let ids = keys(files, |id| id.0.into());
    let rows = load_by::<copies::Entity>(db, copies::Column::FileId, ids, and).await?;
    let rows = rows.into_iter().map(|row| {
        let place = (FileId(row.file_id), row.revision.cast_unsigned(), StoreId(row.store_id));
        Ok((place, convert::copy_of_row(&row)?))
    });
    Ok(Rows::loaded(rows.collect::<Result<Vec<_>, DbErr>>()?))
}

async fn load_tombstones(db: &DatabaseTransaction, needs: &Needs) -> Result<Rows<(FileId, u64), Tombstone>, DbErr> {
    let ids = keys(&needs.files, |id| id.0.into());
    let rows = load_by::<tombstones::Entity>(db, tombstones::Column::FileId, ids, None).await?;
    let rows = rows.into_iter().map(|row| {
        let place = (FileId(row.file_id), row.revision.cast_unsigned());
        Ok((place, convert::tombstone(&row.tombstone)?))
    });
    Ok(Rows::loaded(rows.collect::<Result<Vec<_>, DbErr>>()?))
}

async fn load_claims(db: &DatabaseTransaction, needs: &Needs) -> Result<Rows<u64, Claim>, DbErr> {
    let ids = keys(&needs.claims, |id| id.cast_signed().into());
    let mut rows = load_by::<claims::Entity>(db, claims::Column::Id, ids, None).await?;
    let files = keys(&needs.files, |id| id.0.into());
    rows.extend(load_by::<claims::Entity>(db, claims::Column::FileId, files, None).await?);
    let claims = rows.into_iter().map(|row| convert::claim(row).map(|claim| (claim.id, claim)));
    Ok(Rows::loaded(claims.collect::<Result<Vec<_>, DbErr>>()?))
}

async fn load_intents(db: &DatabaseTransaction, needs: &Needs) -> Result<Rows<u64, Intent>, DbErr> {
    let ids = keys(&needs.intents, |id| id.cast_signed().into());
    let rows = load_by::<intents::Entity>(db, intents::Column::Id, ids, None).await?;
    let intents = rows.into_iter().map(|row| convert::intent(row).map(|intent| (intent.id, intent)));
    Ok(Rows::loaded(intents.collect::<Result<Vec<_>, DbErr>>()?))
}

async fn load_reservations(db: &DatabaseTransaction, needs: &Needs) -> Result<Rows<Sha256, Reservation>, DbErr> {
    let ids = keys(&needs.reservations, |key| key.0.to_vec().into());
    let mut rows = load_by::<reservations::Entity>(db, reservations::Column::Key, ids, None).await?;
    let nodes = keys(&needs.reserving, |node| node.as_str().into());
    rows.extend(load_by::<reservations::Entity>(db, reservations::Column::Node, nodes, None).await?);
    if let Some(before) = needs.forgotten {
        let forgotten = reservations::Entity::find().filter(reservations::Column::At.lt(before.as_millis()));
        // In the order of an index, or a planner may choose to go through all of them.
        let forgotten = forgotten.order_by_asc(reservations::Column::At);
        rows.extend(forgotten.limit(ENDED_MAX).all(db).await?);
    }
    let rows = rows.into_iter().map(convert::reservation);
    Ok(Rows::loaded(rows.collect::<Result<Vec<_>, DbErr>>()?))
}

async fn load_users(db: &DatabaseTransaction, needs: &Needs) -> Result<Rows<UserId, User>, DbErr> {
    let ids = keys(&needs.users, |(id, _)| id.0.into());
    let names = keys(&needs.users, |(_, name)| name.clone().into());
    let mut rows = load_by::<users::Entity>(db, users::Column::Id, ids, None).await?;
    rows.extend(load_by::<users::Entity>(db, users::Column::Name, names, None).await?);
    let rows = rows.into_iter().map(|row| Ok((UserId(row.id), convert::record(&row.record)?)));
    Ok(Rows::loaded(rows.collect::<Result<Vec<_>, DbErr>>()?))
}

async fn load_buckets(db: &DatabaseTransaction, needs: &Needs) -> Result<Rows<BucketId, Bucket>, DbErr> {
    let ids = keys(&needs.buckets, |(id, _)| id.0.into());
    let names = keys(&needs.buckets, |(_, name)| name.clone().into());
    let mut rows = load_by::<buckets::Entity>(db, buckets::Column::Id, ids, None).await?;
    rows.extend(load_by::<buckets::Entity>(db, buckets::Column::Name, names, None).await?);
    let rows = rows.into_iter().map(|row| Ok((BucketId(row.id), convert::record(&row.record)?)));
    Ok(Rows::loaded(rows.collect::<Result<Vec<_>, DbErr>>()?))
}

async fn load_sessions(db: &DatabaseTransaction, needs: &Needs) -> Result<Rows<SessionId, Session>, DbErr> {
    let ids = keys(&needs.sessions, |id| id.0.into());
    let mut rows = load_by::<sessions::Entity>(db, sessions::Column::Id, ids, None).await?;
    let users = keys(&needs.sessions_of, |id| id.0.into());
    rows.extend(load_by::<sessions::Entity>(db, sessions::Column::UserId, users, None).await?);
    if let Some(now) = needs.sessions_until {
        let ended = sessions::Entity::find().filter(sessions::Column::Until.lte(now.as_millis()));
        rows.extend(ended.limit(ENDED_MAX).all(db).await?);
    }
    Ok(Rows::loaded(rows.iter().map(convert::session).map(|session| (session.id, session))))
}

/// Those that are named, and those that have ended; others that go on are counted.
async fn load_directs(db: &DatabaseTransaction, needs: &Needs) -> Result<Rows<DirectId, DirectUpload>, DbErr> {
    let ids = keys(&needs.directs, |id| id.0.into());
    let mut rows = load_by::<directs::Entity>(db, directs::Column::Id, ids, None).await?;
    if let Some(now) = needs.directs_until {
        let ended = directs::Entity::find().filter(directs::Column::EndsAt.lte(now.as_millis()));
        rows.extend(ended.limit(ENDED_MAX).all(db).await?);
    }
    let uploads = rows.iter().map(|row| convert::direct(row).map(|upload| (upload.id, upload)));
    Ok(Rows::loaded(uploads.collect::<Result<Vec<_>, _>>()?))
}

async fn count_directs(
    db: &DatabaseTransaction,
    needs: &Needs,
    loaded: &Rows<DirectId, DirectUpload>,
) -> Result<BTreeMap<UserId, usize>, DbErr> {
    let mut counts = BTreeMap::new();
    let Some(now) = needs.directs_until else { return Ok(counts) };
    for user in &needs.directs_of {
        let open = directs::Entity::find()
            .filter(directs::Column::UserId.eq(user.0))
            .filter(directs::Column::EndsAt.gt(now.as_millis()));
        let open = usize::try_from(open.count(db).await?).unwrap_or(usize::MAX);
        let known = loaded.rows.values().filter(|upload| upload.user == *user && upload.is_open(now)).count();
        counts.insert(*user, open.saturating_sub(known));
    }
    Ok(counts)
}

/// Deciding. Each call checks everything before it touches anything: one that fails leaves no trace.
impl Work {
    /// Does one call for a node whose epoch is `own`, which is set where it is not known yet and where the call sets it.
    pub(crate) fn apply(&mut self, call: &Call, own: &mut Option<u64>) -> Answer {
        if let Call::Initialise(identity) = call {
            return Answer::Done(self.initialise(identity).inspect(|()| *own = Some(identity.epoch)));
        }
        if let Err(fenced) = self.unfenced(own) {
            return call.failed(&fenced);
        }
        match call {
            Call::Initialise(_) => unreachable!("answered above"),
            Call::RaiseMark(told) => Answer::Mark(self.raise_mark(told)),
            Call::Claim { file, purpose, node, now } => Answer::Claim(self.claim(*file, *purpose, node, *now)),
            Call::Harden { claim, purge } => Answer::Done(self.harden(*claim, *purge)),
            Call::TakeOver { claim, from, to } => Answer::Claim(self.take_over(*claim, from, to)),
            Call::OpenIntent { node, upload } => Answer::Intent(Box::new(Ok(self.open_intent(node, upload)))),
            Call::RenewIntent { hold, upload } => Answer::Done(self.renew_intent(*hold, upload)),
            Call::FenceIntent { seen, node } => Answer::Intent(Box::new(self.fence_intent(*seen, node))),
            Call::FailIntent(hold) => Answer::Done(self.fail_intent(*hold)),
            Call::CloseIntent(hold) => {
                Answer::Done(self.held(*hold).map(drop).inspect(|()| self.intents.remove(&hold.intent)))
            }
            Call::Record(records) => Answer::Recorded(records.iter().map(|record| self.take(record)).collect()),
            Call::Reserve { key, node, since } => Answer::Reservation(Ok(self.reserve(*key, node, *since))),
            Call::Unreserve { key, node } => {
                self.unreserve(key, node);
                Answer::Done(Ok(()))
            }
            Call::UnreserveAll(node) => {
                self.reservations.remove_where(|_, reservation| runs_on(reservation, node));
                Answer::Done(Ok(()))
            }
            Call::OpenSession { session, of, most, now } => Answer::Done(self.open_session(session, *of, *most, *now)),
            Call::RefreshSession { id, serial, until, now } => {
                Answer::Refreshed(Ok(self.refresh_session(id, *serial, *until, *now)))
            }
            Call::OpenDirect { upload, most, now } => Answer::Done(self.open_direct(upload, *most, *now)),
            Call::EndDirect(id) => {
                self.directs.remove(id);
                Answer::Done(Ok(()))
            }
            Call::EndSession(id) => {
                self.sessions.remove(id);
                Answer::Done(Ok(()))
            }
        }
    }

    fn unfenced(&self, own: &mut Option<u64>) -> Result<()> {
        let Some(identity) = &self.identity else {
            return Err(LedgerError::Fenced("it belongs to no installation yet".into()));
        };
        let own = *own.get_or_insert(identity.epoch);
        if identity.epoch == own {
            return Ok(());
        }
        Err(LedgerError::Fenced(format!("its epoch is {}, this node's is {own}", identity.epoch)))
    }

    fn initialise(&mut self, identity: &Identity) -> Result<()> {
        Wide::check(&[identity.epoch, identity.mark])?;
        match &self.identity {
            Some(now) if now.instance != identity.instance => {
                Err(LedgerError::Fenced(format!("it belongs to the installation {}", now.instance)))
            }
            Some(now) if now.epoch > identity.epoch || now.mark > identity.mark => Err(LedgerError::Fenced(format!(
                "its epoch and mark are {} and {}, they can't fall to {} and {}",
                now.epoch, now.mark, identity.epoch, identity.mark
            ))),
            _ => {
                self.identity = Some(identity.clone());
                self.meta_changed = true;
                Ok(())
            }
        }
    }

    fn raise_mark(&mut self, told: &[StoreId]) -> Result<u64> {
        let identity = self.identity.as_mut().expect("only an initialised ledger takes changes");
        Wide::check(&[identity.mark + 1])?;
        self.meta_changed = true;
        Ok(identity.raise_mark(told))
    }

    fn claim(&mut self, file: FileId, purpose: Purpose, node: &NodeId, now: Timestamp) -> Result<Claim> {
        if self.tombstones.get(&(file, 0)).is_some() {
            return Err(LedgerError::Tombstoned);
        }
        let Some(head) = self.heads.get(&file) else {
            return Err(LedgerError::NotFound);
        };
        if self.claims.rows.values().any(|claim| claim.file == file) {
            return Err(LedgerError::Busy);
        }
        let given = self.given.get(&file).copied().unwrap_or_default().and(head.given);
        let given = Given { version: given.version + 1, revision: given.revision + 1 };
        Wide::check(&[given.version, given.revision, purpose.revision().unwrap_or(0)])?;
        self.given.set(file, given);
        self.last.claims += 1;
        self.meta_changed = true;
        let Given { version, revision } = given;
        let claim =
            Claim { id: self.last.claims, file, purpose, node: node.clone(), version, revision, opened_at: now };
        self.claims.set(claim.id, claim.clone());
        Ok(claim)
    }

    fn harden(&mut self, claim: u64, purge: Purpose) -> Result<()> {
        Wide::check(purge.revision().as_slice())?;
        let known = self.claims.get(&claim).ok_or(LedgerError::NotFound)?;
        if ![Purpose::Change, purge].contains(&known.purpose) {
            return Err(LedgerError::Busy);
        }
        let hardened = Claim { purpose: purge, ..known.clone() };
        self.claims.set(claim, hardened);
        Ok(())
    }

    fn take_over(&mut self, claim: u64, from: &NodeId, to: &NodeId) -> Result<Claim> {
        let known = self.claims.get(&claim).ok_or(LedgerError::NotFound)?;
        if known.node != *from {
            return Err(LedgerError::Busy);
        }
        let taken = Claim { node: to.clone(), ..known.clone() };
        self.claims.set(claim, taken.clone());
        Ok(taken)
    }

    fn open_intent(&mut self, node: &NodeId, upload: &Upload) -> Intent {
        self.last.intents += 1;
        self.meta_changed = true;
        let (id, state) = (self.last.intents, IntentState::Pending);
        let intent = Intent { id, fence: 1, state, node: node.clone(), upload: upload.clone() };
        self.intents.set(id, intent.clone());
        intent
    }

    fn held(&self, hold: Hold) -> Result<&Intent> {
        self.intents.get(&hold.intent).filter(|intent| intent.fence == hold.fence).ok_or(LedgerError::Superseded)
    }

    fn renew_intent(&mut self, hold: Hold, upload: &Upload) -> Result<()> {
        let intent = self.held(hold)?;
        if intent.state != IntentState::Pending {
            return Err(LedgerError::Superseded);
        }
        let renewed = Intent { upload: upload.clone(), ..intent.clone() };
        self.intents.set(renewed.id, renewed);
        Ok(())
    }

    fn fence_intent(&mut self, seen: Hold, node: &NodeId) -> Result<Intent> {
        let intent = self.held(seen)?;
        let state = match intent.state {
            IntentState::Pending => IntentState::Recovering,
            state => state,
        };
        let (from, fence) = (intent.node.clone(), intent.fence + 1);
        let taken = Intent { fence, state, node: node.clone(), ..intent.clone() };
        let reserved = taken.upload.idempotency.and_then(|key| Some((key, self.reservations.get(&key)?)));
        if let Some((key, _)) = reserved.filter(|(_, reservation)| runs_on(reservation, &from)) {
            self.reservations.set(key, Reservation::Running { node: node.clone() });
        }
        self.intents.set(taken.id, taken.clone());
        Ok(taken)
    }

    fn fail_intent(&mut self, hold: Hold) -> Result<()> {
        let mut failed = Intent { state: IntentState::Failed, ..self.held(hold)?.clone() };
        if let Some(claim) = failed.upload.claim.take() {
            self.claims.remove(&claim);
        }
        if let Some(key) = failed.upload.idempotency.take() {
            self.unreserve(&key, &failed.node);
        }
        self.intents.set(failed.id, failed);
        Ok(())
    }

    fn unreserve(&mut self, key: &Sha256, node: &NodeId) {
        self.reservations.remove_where(|other, reservation| other == key && runs_on(reservation, node));
    }

    fn take(&mut self, record: &Record) -> Result<Recorded> {
        record.settles.map_or(Ok(()), |hold| self.held(hold).map(drop))?;
        let recorded = match &record.entry {
            None => Recorded::Taken,
            Some(Entry::Attributes { attributes, copies }) => self.take_attributes(attributes, copies)?,
            Some(Entry::Tombstone(tombstone)) => self.take_tombstone(tombstone)?,
            Some(Entry::Copies { file, revision, copies }) => self.take_copies(*file, *revision, copies),
            Some(Entry::Unwanted { file, revision, store, state }) => {
                self.drop_unwanted((*file, *revision, *store), *state);
                Recorded::Taken
            }
            Some(Entry::User(user)) => self.take_user(user)?,
            Some(Entry::Bucket(bucket)) => self.take_bucket(bucket)?,
            Some(Entry::Missed(missed)) => self.take_missed(missed)?,
            Some(Entry::Carried(carried)) => self.take_carried(carried)?,
            Some(Entry::Forget(file)) => {
                self.drop_rows(*file);
                Recorded::Taken
            }
        };
        if let Some(claim) = record.closes {
            self.claims.remove(&claim);
        }
        if let Some(hold) = record.settles.filter(|_| recorded != Recorded::Tombstoned) {
            self.intents.remove(&hold.intent);
        }
        Ok(recorded)
    }

    fn take_attributes(&mut self, attributes: &Attributes, copies: &[CopyRow]) -> Result<Recorded> {
        let (file, rank) = (attributes.id, attributes.rank());
        Wide::check(&[rank.epoch, rank.version, attributes.revision, attributes.size])?;
        if self.tombstones.get(&(file, 0)).is_some() {
            return Ok(Recorded::Tombstoned);
        }
        let numbers = Given { version: attributes.version, revision: attributes.revision };
        if self.tombstones.get(&(file, attributes.revision)).is_some() {
            self.seen(file, numbers);
            return Ok(Recorded::Tombstoned);
        }
        self.settle(attributes.created_by_key.as_slice(), Made::File(file));
        self.take_revision(attributes, rank, copies);
        if self.heads.get(&file).is_some_and(|head| head.rank > rank) {
            self.seen(file, numbers);
            return Ok(Recorded::Outranked);
        }
        let head = Head { rank, given: numbers, attributes: Some(Box::new(attributes.clone())) };
        let before = self.heads.get(&file).map(|head| head.given);
        self.heads.set(file, head);
        before.into_iter().for_each(|before| self.seen(file, before));
        Ok(Recorded::Taken)
    }

    /// Of two keys with one revision number the higher rank is the revision: the other's copies are of other bytes.
    fn take_revision(&mut self, attributes: &Attributes, rank: Rank, copies: &[CopyRow]) {
        let place = (attributes.id, attributes.revision);
        let known = self.revisions.get(&place).map(|known| (known.rank, known.key == attributes.key.as_str()));
        if known.is_none_or(|(known, _)| rank > known) {
            let key = attributes.key.to_string();
            self.revisions.set(place, Revision { rank, key, attributes: Some(Box::new(attributes.clone())) });
            if matches!(known, Some((_, false))) {
                self.drop_copies(place);
            }
        } else if matches!(known, Some((_, false))) {
            return;
        }
        self.set_copies(place, copies);
    }

    fn take_tombstone(&mut self, tombstone: &Tombstone) -> Result<Recorded> {
        let (file, revision) = (tombstone.id, tombstone.revision.unwrap_or(0));
        Wide::check(&[tombstone.version, revision])?;
        self.settle(&tombstone.created_by_key, Made::File(file));
        if tombstone.revision.is_none() {
            self.drop_rows(file);
            self.given.remove(&file);
        } else {
            self.seen(file, Given { version: tombstone.version, revision });
            self.revisions.remove(&(file, revision));
            self.drop_copies((file, revision));
        }
        match self.tombstones.get(&(file, revision)) {
            Some(known) if known.rank() > tombstone.rank() => Ok(Recorded::Outranked),
            _ => {
                self.tombstones.set((file, revision), tombstone.clone());
                Ok(Recorded::Taken)
            }
        }
    }

    fn take_copies(&mut self, file: FileId, revision: u64, copies: &[CopyRow]) -> Recorded {
        if self.revisions.get(&(file, revision)).is_some() {
            self.set_copies((file, revision), copies);
        }
        let covered = [0, revision].iter().any(|of| self.tombstones.get(&(file, *of)).is_some());
        if covered { Recorded::Tombstoned } else { Recorded::Taken }
    }

    fn take_missed(&mut self, missed: &Missed) -> Result<Recorded> {
        Wide::check(&[missed.epoch, missed.version])?;
        let news = self.missed.entry((missed.store, missed.record)).or_default();
        news.missed = news.missed.max(Some(missed.rank()));
        Ok(Recorded::Taken)
    }

    fn take_carried(&mut self, carried: &Missed) -> Result<Recorded> {
        Wide::check(&[carried.epoch, carried.version])?;
        let news = self.missed.entry((carried.store, carried.record)).or_default();
        news.missed = news.missed.filter(|missed| *missed > carried.rank());
        news.carried = news.carried.max(Some(carried.rank()));
        Ok(Recorded::Taken)
    }

    fn take_user(&mut self, user: &User) -> Result<Recorded> {
        if self.users.get(&user.id).is_some_and(|known| known.rank() > user.rank()) {
            return Ok(Recorded::Outranked);
        }
        if self.users.rows.values().any(|other| other.id != user.id && other.name == user.name) {
            return Err(LedgerError::Taken(user.name.to_string()));
        }
        self.settle(user.created_by_key.as_slice(), Made::User(user.id));
        if self.users.get(&user.id) != Some(user) {
            self.sessions.remove_where(|_, session| session.user == user.id);
        }
        self.users.set(user.id, user.clone());
        Ok(Recorded::Taken)
    }

    fn take_bucket(&mut self, bucket: &Bucket) -> Result<Recorded> {
        if self.buckets.get(&bucket.id).is_some_and(|known| known.rank() > bucket.rank()) {
            return Ok(Recorded::Outranked);
        }
        if self.buckets.rows.values().any(|other| other.id != bucket.id && other.name == bucket.name) {
            return Err(LedgerError::Taken(bucket.name.to_string()));
        }
        self.buckets.set(bucket.id, bucket.clone());
        Ok(Recorded::Taken)
    }

    fn reserve(&mut self, key: Sha256, node: &NodeId, since: Timestamp) -> Reservation {
        let before = long_before(since);
        let is_forgotten = |done: &Reservation| matches!(done, Reservation::Done { at, .. } if *at < before);
        self.reservations.remove_where(|_, reservation| is_forgotten(reservation));
        match self.reservations.get(&key) {
            Some(Reservation::Done { at, .. }) if *at < since => {}
            Some(known) => return known.clone(),
            None => {}
        }
        self.reservations.set(key, Reservation::Running { node: node.clone() });
        Reservation::Made
    }

    fn open_session(&mut self, session: &Session, of: Option<Rank>, most: usize, now: Timestamp) -> Result<()> {
        Wide::check(&[session.serial])?;
        let user = self.users.get(&session.user);
        if user.map(User::rank) != of || user.is_some_and(|user| user.gone_at.is_some()) {
            return Err(LedgerError::NotFound);
        }
        self.sessions.remove_where(|_, other| !other.is_open(now));
        let mut of_user: Vec<_> = self.sessions.rows.values().filter(|other| other.user == session.user).collect();
        of_user.sort_by_key(|other| (other.until, other.id));
        let over = (of_user.len() + 1).saturating_sub(most);
        for id in of_user.into_iter().take(over).map(|other| other.id).collect::<Vec<_>>() {
            self.sessions.remove(&id);
        }
        self.sessions.set(session.id, session.clone());
        Ok(())
    }

    fn open_direct(&mut self, upload: &DirectUpload, most: usize, now: Timestamp) -> Result<()> {
        Wide::check(&[upload.size, upload.part_bytes])?;
        self.directs.remove_where(|_, other| !other.is_open(now));
        let beside = self.directs_of.get(&upload.user).copied().unwrap_or_default();
        if beside + self.directs.rows.values().filter(|other| other.user == upload.user).count() >= most {
            return Err(LedgerError::Busy);
        }
        self.directs.set(upload.id, upload.clone());
        Ok(())
    }

    fn refresh_session(&mut self, id: &SessionId, serial: u64, until: Timestamp, now: Timestamp) -> Refreshed {
        let Some(session) = self.sessions.get(id).filter(|session| session.is_open(now)).cloned() else {
            return Refreshed::Absent;
        };
        if session.serial != serial {
            self.sessions.remove(id);
            return Refreshed::Spent(session);
        }
        let next = session.refreshed(until);
        self.sessions.set(*id, next.clone());
        Refreshed::Next(next)
    }

    /// The latest of two requests with one key stays: the earlier was forgotten when the later was let in.
    fn settle(&mut self, made_by: &[CreatedByKey], made: Made) {
        for CreatedByKey { key, request, status, at } in made_by {
            let known = self.reservations.get(key);
            if !matches!(known, Some(Reservation::Done { at: known, made: other, .. }) if (*known, *other) > (*at, made))
            {
                let done = Reservation::Done { request: *request, status: *status, made, at: *at };
                self.reservations.set(*key, done);
            }
        }
    }

    /// Remembers numbers that the file's row does not say itself.
    fn seen(&mut self, file: FileId, numbers: Given) {
        let known = self.given.get(&file).copied().unwrap_or_default();
        let head = self.heads.get(&file).map(|head| head.given).unwrap_or_default();
        if known.and(head) != known.and(head).and(numbers) {
            self.given.set(file, known.and(numbers));
        }
    }

    fn set_copies(&mut self, (file, revision): (FileId, u64), copies: &[CopyRow]) {
        for copy in copies {
            let place = (file, revision, copy.store);
            if self.copies.get(&place).is_none_or(|known| copy.replaces(known)) {
                self.copies.set(place, copy.clone());
            }
        }
    }

    fn drop_unwanted(&mut self, place: (FileId, u64, StoreId), state: CopyState) {
        if self.copies.get(&place).is_some_and(|known| known.state == state) {
            self.copies.remove(&place);
        }
    }

    fn drop_copies(&mut self, place: (FileId, u64)) {
        self.copies.rows.retain(|(file, revision, _), _| (*file, *revision) != place);
        self.dropped_copies.insert(place);
    }

    fn drop_rows(&mut self, file: FileId) {
        let numbers = self.heads.get(&file).map(|head| head.given);
        self.heads.remove(&file);
        numbers.into_iter().for_each(|numbers| self.seen(file, numbers));
        self.revisions.rows.retain(|(of, _), _| *of != file);
        self.copies.rows.retain(|(of, ..), _| *of != file);
        self.dropped_files.insert(file);
    }
}

pub(crate) fn runs_on(reservation: &Reservation, node: &NodeId) -> bool {
    matches!(reservation, Reservation::Running { node: on } if on == node)
}

/// Writing: first what goes, then what comes.
impl Work {
    /// Writes what changed; whether anything did.
    pub(crate) async fn store(&self, db: &DatabaseTransaction) -> Result<bool, DbErr> {
        let mut writes = Writes { db, any: false };
        self.store_removals(&mut writes).await?;
        self.store_files(&mut writes).await?;
        self.store_rest(&mut writes).await?;
        if self.meta_changed {
            let row = self.identity.as_ref().map(|identity| convert::meta_row(identity, self.last));
            writes.put(row.into_iter().collect()).await?;
        }
        Ok(writes.any)
    }

    async fn store_removals(&self, writes: &mut Writes<'_>) -> Result<(), DbErr> {
        let files = keys(&self.dropped_files, |id| id.0.into());
        writes.remove::<files::Entity>(files::Column::Id, files.clone()).await?;
        writes.remove::<revisions::Entity>(revisions::Column::FileId, files.clone()).await?;
        writes.remove::<copies::Entity>(copies::Column::FileId, files).await?;
        let rewritten = keys(self.heads.changed.intersection(&self.known_files), |id| id.0.into());
        writes.remove::<tags::Entity>(tags::Column::FileId, rewritten).await?;
        for (file, revision) in self.revisions.removed().copied().collect::<Vec<_>>() {
            let one = (file.0, revision.cast_signed());
            writes.any |= revisions::Entity::delete_by_id(one).exec(writes.db).await?.rows_affected > 0;
        }
        for (file, revision) in &self.dropped_copies {
            let of = Condition::all()
                .add(copies::Column::FileId.eq(file.0))
                .add(copies::Column::Revision.eq(revision.cast_signed()));
            writes.any |= copies::Entity::delete_many().filter(of).exec(writes.db).await?.rows_affected > 0;
        }
        for (file, revision, store) in self.copies.removed().copied().collect::<Vec<_>>() {
            let one = (file.0, revision.cast_signed(), store.0);
            writes.any |= copies::Entity::delete_by_id(one).exec(writes.db).await?.rows_affected > 0;
        }
        for ((store, record), news) in &self.missed {
            let Some((epoch, version)) = news.carried else { continue };
            let row = convert::missed_row(&Missed { store: *store, record: *record, epoch, version });
            let one = missed::Entity::delete_by_id((row.store_id, row.kind, row.id, row.revision));
            let up_to = Expr::cust(format!("(epoch, version) <= ({}, {})", row.epoch, row.version));
            writes.any |= one.filter(up_to).exec(writes.db).await?.rows_affected > 0;
        }
        let given = keys(self.given.removed(), |id| id.0.into());
        writes.remove::<given::Entity>(given::Column::FileId, given).await?;
        let claims = keys(self.claims.removed(), |id| id.cast_signed().into());
        writes.remove::<claims::Entity>(claims::Column::Id, claims).await?;
        let intents = keys(self.intents.removed(), |id| id.cast_signed().into());
        writes.remove::<intents::Entity>(intents::Column::Id, intents).await?;
        let sessions = keys(self.sessions.removed(), |id| id.0.into());
        writes.remove::<sessions::Entity>(sessions::Column::Id, sessions).await?;
        let directs = keys(self.directs.removed(), |id| id.0.into());
        writes.remove::<directs::Entity>(directs::Column::Id, directs).await?;
        let reservations = keys(self.reservations.removed(), |key| key.0.to_vec().into());
        writes.remove::<reservations::Entity>(reservations::Column::Key, reservations).await
    }

    async fn store_files(&self, writes: &mut Writes<'_>) -> Result<(), DbErr> {
        let taken = |rank, attributes: &Option<Box<Attributes>>| attributes.clone().map(|taken| (rank, taken));
        let heads: Vec<_> = self.heads.written().filter_map(|(_, head)| taken(head.rank, &head.attributes)).collect();
        let revisions = self.revisions.written().filter_map(|(_, revision)| taken(revision.rank, &revision.attributes));
        let revisions = revisions.map(|(rank, attributes)| convert::revision_row(rank, &attributes)).collect();
        let copies = self.copies.written();
        let copies = copies.map(|((file, revision, _), copy)| convert::copy_row(*file, *revision, copy)).collect();
        writes.put(heads.iter().map(|(rank, attributes)| convert::file_row(*rank, attributes)).collect()).await?;
        writes.put(heads.iter().flat_map(|(_, attributes)| convert::tag_rows(attributes)).collect()).await?;
        writes.put(revisions).await?;
        writes.put(copies).await?;
        writes.put(self.given.written().map(|(file, given)| given.row(*file)).collect()).await
    }

    async fn store_rest(&self, writes: &mut Writes<'_>) -> Result<(), DbErr> {
        let tombstones = self.tombstones.written().map(|((file, revision), tombstone)| tombstones::Model {
            file_id: file.0,
            revision: int(*revision),
            tombstone: convert::text(tombstone.to_bytes()),
        });
        let users = self.users.written().map(|(id, user)| users::Model {
            id: id.0,
            name: user.name.to_string(),
            record: convert::record_text(user),
        });
        let buckets = self.buckets.written().map(|(id, bucket)| buckets::Model {
            id: id.0,
            name: bucket.name.to_string(),
            record: convert::record_text(bucket),
        });
        let (users, buckets) = (users.collect(), buckets.collect());
        writes.put(tombstones.collect()).await?;
        let missed = self.missed.iter().filter_map(|((store, record), news)| {
            let (epoch, version) = news.missed?;
            Some(convert::missed_row(&Missed { store: *store, record: *record, epoch, version }))
        });
        let missed = missed.collect();
        let is_older = Expr::cust("(missed.epoch, missed.version) < (excluded.epoch, excluded.version)");
        writes.put_where(missed, is_older).await?;
        writes.put(self.claims.written().map(|(_, claim)| convert::claim_row(claim)).collect()).await?;
        writes.put(self.intents.written().map(|(_, intent)| convert::intent_row(intent)).collect()).await?;
        writes.put(self.reservations.written().map(|(key, of)| convert::reservation_row(*key, of)).collect()).await?;
        writes.put(users).await?;
        writes.put(self.sessions.written().map(|(_, session)| convert::session_row(session)).collect()).await?;
        writes.put(self.directs.written().map(|(_, upload)| convert::direct_row(upload)).collect()).await?;
        writes.put(buckets).await
    }
}

struct Writes<'a> {
    db: &'a DatabaseTransaction,
    any: bool,
}

impl Writes<'_> {
    /// Deletes the rows whose `column` is one of `keys`.
    async fn remove<E: EntityTrait>(&mut self, column: E::Column, keys: Vec<sea_orm::Value>) -> Result<(), DbErr> {
        for part in keys.chunks(KEYS_MAX) {
            let gone = E::delete_many().filter(column.is_in(part.iter().cloned())).exec(self.db).await?;
            self.any |= gone.rows_affected > 0;
        }
        Ok(())
    }

    /// Inserts rows, or puts them in the place of those with their key.
    async fn put<M, A>(&mut self, rows: Vec<M>) -> Result<(), DbErr>
    where
        M: IntoActiveModel<A> + Send,
        A: ActiveModelTrait + Send,
    {
        let columns = <A::Entity as EntityTrait>::Column::iter();
        self.insert(rows, &OnConflict::columns(key_of::<A>()).update_columns(columns).to_owned()).await
    }

    /// Inserts rows, or puts them in the place of those with their key of which `condition` holds.
    async fn put_where<M, A>(&mut self, rows: Vec<M>, condition: Expr) -> Result<(), DbErr>
    where
        M: IntoActiveModel<A> + Send,
        A: ActiveModelTrait + Send,
    {
        let columns = <A::Entity as EntityTrait>::Column::iter();
        let replace = OnConflict::columns(key_of::<A>()).update_columns(columns).action_and_where(condition).to_owned();
        self.insert(rows, &replace).await
    }

    async fn insert<M, A>(&mut self, mut rows: Vec<M>, conflict: &OnConflict) -> Result<(), DbErr>
    where
        M: IntoActiveModel<A> + Send,
        A: ActiveModelTrait + Send,
    {
        while !rows.is_empty() {
            let part: Vec<A> = rows.drain(..rows.len().min(ROWS_MAX)).map(IntoActiveModel::into_active_model).collect();
            let insert = <A::Entity as EntityTrait>::insert_many(part).on_conflict(conflict.clone());
            insert.exec_without_returning(self.db).await?;
            self.any = true;
        }
        Ok(())
    }
}

/// The columns of a table's key.
fn key_of<A: ActiveModelTrait>() -> Vec<<A::Entity as EntityTrait>::Column> {
    <A::Entity as EntityTrait>::PrimaryKey::iter().map(|key| key.into_column()).collect()
}
