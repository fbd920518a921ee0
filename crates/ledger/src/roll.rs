//! [`LedgerRoll`]: which nodes live, told by the schema of PostgreSQL that they share. Where files lie in buckets alone there is nothing
//! else that a dead process lets go of.
//!
//! | who | does |
//! |---|---|
//! | a node that starts | puts a row with a number on the roll, before anything else names it, and the stores on which it holds a lock |
//! | each node | raises its number every 5 s, and reads those of the others |
//! | a node that has not raised its own for 20 s, counted from before it last asked to | sends nothing more to buckets until it has |
//! | a node that sees another's number unchanged for 60 s, and could look at it all the while | takes the row away, if it is still that number: the other is buried |
//! | every transaction that writes | looks for its node's row first: one that is buried records nothing more |
//!
//! No clock is held against another one: all that counts is that 60 s by one are longer than 20 s by another, and than what a small
//! request takes that was sent last. What takes longer is waited for by who settles it, as of a dead one ([`larder_files::Deadlines`]). The
//! clock must go on while the machine sleeps. A row that nobody raises is looked at only by those who are there, so a node that is alone is
//! buried by nobody, however long its database was away. One that holds a lock is known to be dead by that, at once, to who has the store
//! at hand; its row goes after a day.

use crate::{fault::ledger_error, home::Home, server::Server, sql::SqlLedger};
use async_trait::async_trait;
use larder_files::{
    BoxError, Clock, NodeId, Presence, Roll, Spawn, Standing, StoreId,
    ledger::{LedgerError, Result},
};
use sea_orm::{ConnectionTrait, DbBackend, DbErr, RuntimeErr, Statement};
use sqlx::{Connection, PgConnection, Row};
use std::{
    collections::BTreeMap,
    fmt,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};
use tokio::sync::oneshot;

/// How often a node raises its number, and how long anything that it asks for this may take.
const RAISE_EVERY: Duration = Duration::from_secs(5);
/// For so long a node counts itself as living from when it asked to raise its number.
const ALIVE_FOR: Duration = Duration::from_secs(20);
/// One whose number stays the same for so long is buried.
const BURIED_AFTER: Duration = Duration::from_secs(60);
/// The same of one that holds locks.
const LOCKED_ALIVE_FOR: Duration = Duration::from_secs(12 * 60 * 60);
const LOCKED_BURIED_AFTER: Duration = Duration::from_secs(24 * 60 * 60);
/// Who could not look for so long begins to watch anew: what it has not seen may have been raised, or its own clock have stood still.
const LOOKS_WITHIN: Duration = Duration::from_secs(25);

/// This node on the roll of a schema of PostgreSQL. Cheap to share; [`LedgerRoll::keep`] must run for as long as the node is to live.
pub struct LedgerRoll {
    ledger: SqlLedger,
    server: Server,
    /// A connection of its own: what others ask the database for must not keep a node from telling that it lives. One that has not
    /// answered in time, or in the midst of whose transaction it was given up, is closed: the next word goes out by a new one.
    line: tokio::sync::Mutex<Option<PgConnection>>,
    node: NodeId,
    clock: Arc<dyn Clock>,
    seen: Mutex<Seen>,
}

/// What is known of all nodes.
#[derive(Debug)]
struct Seen {
    /// For so long this node counts as living from when it asked to raise its number, and until when it does.
    alive_for: Duration,
    alive_until: Duration,
    buried: Option<String>,
    looked: Duration,
    /// What the others' rows say, and since when each says that.
    others: BTreeMap<NodeId, (Word, Duration)>,
}

/// What a row says.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Word {
    raised: i64,
    /// Whether its node holds a lock on some store.
    locked: bool,
}

impl Word {
    fn is_silent_after(&self) -> Duration {
        if self.locked { LOCKED_BURIED_AFTER } else { BURIED_AFTER }
    }
}

impl LedgerRoll {
    /// Puts `node` on the roll of the schema that `ledger` is, as one that holds a lock on each of `locked`. From then on the ledger takes
    /// nothing through this handle and its clones unless the node is on it.
    ///
    /// # Errors
    /// `Busy` while a rebuild replaces the schema ([`Server::rebuild_alone`]); `Unavailable` where the server can't be asked; `Internal` over
    /// SQLite, whose processes know by locks which of them live, and of a node that is on it already.
    pub async fn sign(
        ledger: &SqlLedger,
        node: NodeId,
        locked: &[StoreId],
        clock: Arc<dyn Clock>,
    ) -> Result<Arc<Self>> {
        let Home::Server(server) = ledger.home() else {
            return Err(LedgerError::Internal("a file of SQLite has no roll".into()));
        };
        let (server, asked) = (Server::clone(server), clock.elapsed());
        // Whoever has a store at hand on which it holds a lock is told by that; the others bury it after a day.
        let alive_for = if locked.is_empty() { ALIVE_FOR } else { LOCKED_ALIVE_FOR };
        let (alive_until, others) = (asked + alive_for, BTreeMap::new());
        let seen = Seen { alive_for, alive_until, buried: None, looked: asked, others };
        let (line, seen) = (tokio::sync::Mutex::default(), Mutex::new(seen));
        let roll = Self { ledger: ledger.clone(), server, line, node, clock, seen };
        let row = (roll.node.to_string(), locked.iter().map(ToString::to_string).collect::<Vec<_>>().join(","));
        let server = roll.server.clone();
        let signed = roll.ask(move |mut line| async move {
            let mut transaction = line.begin().await?;
            let is_left_alone = server.is_left_alone(&mut transaction).await?;
            if is_left_alone {
                let sql = "INSERT INTO roll (node, raised, locked) VALUES ($1, 0, $2)";
                sqlx::query(sql).bind(row.0).bind(row.1).execute(&mut *transaction).await?;
                transaction.commit().await?;
            } else {
                transaction.rollback().await?;
            }
            Ok((line, is_left_alone))
        });
        if !signed.await? {
            return Err(LedgerError::Busy);
        }
        ledger.signed_as(&roll.node);
        Ok(Arc::new(roll))
    }

    /// Raises this node's number from time to time, for as long as somebody holds the roll. Answers once others have buried the node:
    /// why.
    pub fn keep(self: &Arc<Self>, spawn: &dyn Spawn) -> oneshot::Receiver<String> {
        let (roll, clock) = (Arc::downgrade(self), self.clock.clone());
        let (buried, told) = oneshot::channel();
        spawn.spawn(Box::pin(async move {
            loop {
                clock.sleep(RAISE_EVERY).await;
                let Some(roll) = roll.upgrade() else { return };
                match roll.raise().await {
                    Ok(()) => {}
                    Err(LedgerError::Fenced(why)) => {
                        let _ = buried.send(why);
                        return;
                    }
                    Err(error) => {
                        tracing::warn!(%error, "this node could not tell the others that it lives");
                    }
                }
            }
        }));
        told
    }

    /// Raises this node's number, looks at those of the others, and buries who has not raised its own for 60 s. Takes twice as long as a
    /// node has until it raises it again, at most.
    ///
    /// # Errors
    /// `Fenced` where others have buried this node: for good. The database's.
    pub async fn raise(&self) -> Result<()> {
        if let Standing::Buried(why) = self.standing() {
            return Err(LedgerError::Fenced(why));
        }
        let (asked, node) = (self.clock.elapsed(), self.node.clone());
        let raised = self.ask(move |mut line| async move {
            let sql = "UPDATE roll SET raised = raised + 1 WHERE node = $1";
            let raised = sqlx::query(sql).bind(node.as_str()).execute(&mut line).await?.rows_affected();
            let found = if raised == 0 { None } else { Some(look(&mut line).await?) };
            Ok((line, found))
        });
        let Some(mut others) = raised.await? else {
            let why = "it could not tell the others for too long that it lives, and they took it for dead";
            self.seen().buried = Some(why.into());
            return Err(LedgerError::Fenced(why.into()));
        };
        others.remove(&self.node);
        let silent = self.take_in(others, asked);
        if !silent.is_empty() {
            match self.bury(silent).await {
                Ok(0) => {}
                Ok(count) => tracing::warn!(count, "nodes that no longer tell that they live are taken for dead"),
                Err(error) => {
                    tracing::warn!(%error, "nodes that no longer tell that they live can't be taken off the roll now")
                }
            }
        }
        Ok(())
    }

    /// Takes this node off the roll: whatever it would still begin has no effect, and others settle at once what it leaves.
    ///
    /// # Errors
    /// The database's: then it is buried after 60 s.
    pub async fn leave(&self) -> Result<()> {
        self.seen().buried = Some("it has ended".into());
        let node = self.node.clone();
        let left = self.ask(move |mut line| async move {
            sqlx::query("DELETE FROM roll WHERE node = $1").bind(node.as_str()).execute(&mut line).await?;
            Ok((line, ()))
        });
        left.await
    }

    /// Notes what a look that began at `asked` has found; answers who has been silent for too long.
    fn take_in(&self, found: BTreeMap<NodeId, Word>, asked: Duration) -> Vec<(NodeId, i64)> {
        let (mut seen, now) = (self.seen(), self.clock.elapsed());
        seen.alive_until = asked + seen.alive_for;
        if asked > seen.looked + LOOKS_WITHIN {
            seen.others.clear();
        }
        seen.looked = now;
        let before = std::mem::take(&mut seen.others);
        // Since when: of what was found now, from when it was found; it may be older, and then it is watched for longer.
        let since = |(node, word): (NodeId, Word)| {
            let same = before.get(&node).filter(|(known, _)| *known == word);
            let since = same.map_or(now, |(_, since)| *since);
            (node, (word, since))
        };
        seen.others = found.into_iter().map(since).collect();
        let silent = seen.others.iter().filter(|(_, (word, since))| asked >= *since + word.is_silent_after());
        silent.map(|(node, (word, _))| (node.clone(), word.raised)).collect()
    }

    /// Takes nodes off the roll whose numbers are still these, while no transaction of any writer is open; answers how many. One that is
    /// buried itself buries nobody.
    async fn bury(&self, silent: Vec<(NodeId, i64)>) -> Result<u64> {
        let (server, own) = (self.server.clone(), self.node.clone());
        let buried = self.ask(move |mut line| async move {
            let mut transaction = line.begin().await?;
            server.wait_for_writers(&mut transaction).await?;
            let sql =
                "DELETE FROM roll WHERE node = $1 AND raised = $2 AND EXISTS (SELECT 1 FROM roll WHERE node = $3)";
            let mut gone = 0;
            for (node, raised) in silent {
                let one = sqlx::query(sql).bind(node.as_str()).bind(raised).bind(own.as_str());
                gone += one.execute(&mut *transaction).await?.rows_affected();
            }
            transaction.commit().await?;
            Ok((line, gone))
        });
        buried.await
    }

    /// Has something done on this roll's connection. What takes longer than a node has until it raises its number again is given up.
    async fn ask<T, F>(&self, work: impl FnOnce(PgConnection) -> F + Send) -> Result<T>
    where
        F: Future<Output = Result<(PgConnection, T), sqlx::Error>> + Send,
    {
        let asked = async {
            let mut place = self.line.lock().await;
            let line = match place.take() {
                Some(line) => line,
                None => self.server.line(RAISE_EVERY).await?,
            };
            let (line, answer) = work(line).await?;
            *place = Some(line);
            Ok(answer)
        };
        tokio::select! {
            biased;
            answer = asked => answer.map_err(failed),
            () = self.clock.sleep(RAISE_EVERY) => {
                Err(LedgerError::Unavailable(format!("no answer within {RAISE_EVERY:?}").into()))
            }
        }
    }

    fn seen(&self) -> MutexGuard<'_, Seen> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for LedgerRoll {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LedgerRoll").field("node", &self.node).field("seen", &self.seen()).finish_non_exhaustive()
    }
}

#[async_trait]
impl Roll for LedgerRoll {
    fn node(&self) -> NodeId {
        self.node.clone()
    }

    async fn presence(&self, node: &NodeId) -> Result<Presence, BoxError> {
        let Some(locked) = locked_by(self.ledger.readers(), node.as_str()).await.map_err(ledger_error)? else {
            return Ok(Presence::Absent);
        };
        let stores: Vec<_> = locked.split(',').filter_map(StoreId::parse).collect();
        Ok(if stores.is_empty() { Presence::Present } else { Presence::Holding(stores) })
    }

    fn standing(&self) -> Standing {
        let seen = self.seen();
        match &seen.buried {
            Some(why) => Standing::Buried(why.clone()),
            None if self.clock.elapsed() < seen.alive_until => Standing::Alive,
            None => {
                let words = "it could not tell the other nodes that it lives, by the database, for more than";
                Standing::Unheard(format!("{words} {} s", seen.alive_for.as_secs()))
            }
        }
    }
}

/// The stores on which a node holds locks; `None` of one that is not on the roll.
pub(crate) async fn locked_by(db: &impl ConnectionTrait, node: &str) -> Result<Option<String>, DbErr> {
    let sql = "SELECT locked FROM roll WHERE node = $1";
    let asked = Statement::from_sql_and_values(DbBackend::Postgres, sql, [node.into()]);
    db.query_one_raw(asked).await?.map(|row| row.try_get_by_index(0)).transpose()
}

/// Whether no node lives that is on the roll of the connection's schema, but those that hold a lock on a store of `held`, which the caller
/// holds alone. The others are watched for 60 s at most, and are off the roll then.
pub(crate) async fn is_deserted(
    server: &Server,
    line: &mut PgConnection,
    held: &[StoreId],
    clock: &dyn Clock,
) -> Result<bool, sqlx::Error> {
    let is_there: bool = sqlx::query_scalar("SELECT to_regclass('roll') IS NOT NULL").fetch_one(&mut *line).await?;
    if !is_there {
        return Ok(true);
    }
    let mut dead = look_with_locks(line).await?;
    dead.retain(|_, (_, locked)| !locked.split(',').filter_map(StoreId::parse).any(|store| held.contains(&store)));
    let (began, first) = (clock.elapsed(), dead);
    let mut found = first.clone();
    while !found.is_empty() && clock.elapsed() < began + BURIED_AFTER {
        clock.sleep(RAISE_EVERY).await;
        let now = look_with_locks(line).await?;
        if now.iter().any(|(node, (raised, _))| first.get(node).is_some_and(|(before, _)| before != raised)) {
            return Ok(false);
        }
        found.retain(|node, _| now.contains_key(node));
    }
    let mut transaction = line.begin().await?;
    server.wait_for_writers(&mut transaction).await?;
    for (node, (raised, _)) in &found {
        let sql = "DELETE FROM roll WHERE node = $1 AND raised = $2";
        let gone = sqlx::query(sql).bind(node.as_str()).bind(raised).execute(&mut *transaction).await?;
        // One that has left meanwhile lives no more than one that is gone.
        if gone.rows_affected() == 0 && look_with_locks(&mut transaction).await?.contains_key(node) {
            return Ok(false);
        }
    }
    transaction.commit().await?;
    Ok(true)
}

/// How many nodes are on the roll of `ledger`; none over SQLite.
///
/// # Errors
/// The database's.
pub async fn nodes_on_roll(ledger: &SqlLedger) -> Result<u64> {
    let Home::Server(_) = ledger.home() else { return Ok(0) };
    let sql = Statement::from_string(DbBackend::Postgres, "SELECT count(*) FROM roll");
    let row = ledger.readers().query_one_raw(sql).await.map_err(ledger_error)?;
    let count = row.map_or(Ok(0), |row| row.try_get_by_index::<i64>(0)).map_err(ledger_error)?;
    Ok(count.unsigned_abs())
}

/// Every node on the roll, with what its row says.
async fn look(line: &mut PgConnection) -> Result<BTreeMap<NodeId, Word>, sqlx::Error> {
    let found = look_with_locks(line).await?.into_iter();
    Ok(found.map(|(node, (raised, locked))| (node, Word { raised, locked: !locked.is_empty() })).collect())
}

async fn look_with_locks(line: &mut PgConnection) -> Result<BTreeMap<NodeId, (i64, String)>, sqlx::Error> {
    let mut found = BTreeMap::new();
    for row in sqlx::query("SELECT node, raised, locked FROM roll").fetch_all(line).await? {
        let name: String = row.try_get(0)?;
        match NodeId::new(&name) {
            Some(node) => drop(found.insert(node, (row.try_get(1)?, row.try_get(2)?))),
            None => tracing::warn!(name, "a row on the roll is no node's"),
        }
    }
    Ok(found)
}

fn failed(error: sqlx::Error) -> LedgerError {
    ledger_error(DbErr::Conn(RuntimeErr::SqlxError(error.into())))
}
