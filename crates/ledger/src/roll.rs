//! [`LedgerRoll`]: which nodes live, told by the schema of PostgreSQL that they share. Where files lie in buckets alone there is nothing
//! else that a dead process lets go of.
//!
//! | who | does |
//! |---|---|
//! | a node that starts | puts a row with a number on the roll, before anything else names it |
//! | each node | raises its number every 5 s, and reads those of the others |
//! | a node that has not raised its own for 30 s, counted from before it last asked to | sends nothing more to buckets until it has |
//! | a node that sees another's number unchanged for 45 s, and could look at it all the while | takes the row away, if it is still that number: the other is buried |
//! | every transaction that writes | looks for its node's row first: one that is buried records nothing more |
//!
//! No clock is held against another one: all that counts is that 45 s by one are longer than 30 s by another. What a node has sent
//! before it fell silent is waited for by who settles it, as of a dead one ([`larder_files::Deadlines`]). A row that nobody raises is
//! looked at only by those who are there, so a node that is alone is buried by nobody, however long its database was away.

use crate::{fault::ledger_error, home::Home, server::Server, sql::SqlLedger};
use async_trait::async_trait;
use larder_files::{
    BoxError, Clock, NodeId, Roll, Spawn, Standing,
    ledger::{LedgerError, Result},
};
use sea_orm::{
    ConnectionTrait, DatabaseConnection, DbBackend, DbErr, SqlxPostgresConnector, Statement, TransactionTrait,
};
use std::{
    collections::BTreeMap,
    fmt,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};
use tokio::sync::oneshot;

/// How often a node raises its number.
const RAISE_EVERY: Duration = Duration::from_secs(5);
/// For so long a node counts itself as living from when it asked to raise its number.
const ALIVE_FOR: Duration = Duration::from_secs(30);
/// One whose number stays the same for so long is buried.
const BURIED_AFTER: Duration = Duration::from_secs(45);
/// Who could not look for so long begins to watch anew: what it has not seen may have been raised, or its own clock have stood still.
const LOOKS_WITHIN: Duration = Duration::from_secs(15);

/// This node on the roll of a schema of PostgreSQL. Cheap to share; [`LedgerRoll::keep`] must run for as long as the node is to live.
pub struct LedgerRoll {
    ledger: SqlLedger,
    server: Server,
    /// A connection of its own: what others ask the database for must not keep a node from telling that it lives.
    db: DatabaseConnection,
    node: NodeId,
    clock: Arc<dyn Clock>,
    seen: Mutex<Seen>,
}

/// What is known of all nodes.
#[derive(Debug)]
struct Seen {
    /// Until when this one counts as living.
    alive_until: Duration,
    buried: Option<String>,
    looked: Duration,
    /// The numbers of the others, and since when each is that.
    others: BTreeMap<NodeId, (i64, Duration)>,
}

impl LedgerRoll {
    /// Puts `node` on the roll of the schema that `ledger` is. From then on the ledger takes nothing through this handle and its clones
    /// unless the node is on it.
    ///
    /// # Errors
    /// `Busy` while a rebuild replaces the schema ([`Server::rebuild_alone`]); `Unavailable` where the server can't be asked; `Internal` over SQLite, whose processes know by locks which of them live, and of a
    /// node that is on it already.
    pub async fn sign(ledger: &SqlLedger, node: NodeId, clock: Arc<dyn Clock>) -> Result<Arc<Self>> {
        let Home::Server(server) = ledger.home() else {
            return Err(LedgerError::Internal("a file of SQLite has no roll".into()));
        };
        let (server, asked) = (Server::clone(server), clock.elapsed());
        let db = SqlxPostgresConnector::from_sqlx_postgres_pool(server.readers(1));
        let transaction = db.begin().await.map_err(ledger_error)?;
        if !server.is_left_alone(&transaction).await.map_err(ledger_error)? {
            return Err(LedgerError::Busy);
        }
        execute(&transaction, "INSERT INTO roll (node, raised) VALUES ($1, 0)", [node.as_str().into()]).await?;
        transaction.commit().await.map_err(ledger_error)?;
        ledger.signed_as(&node);
        let seen = Seen { alive_until: asked + ALIVE_FOR, buried: None, looked: asked, others: BTreeMap::new() };
        Ok(Arc::new(Self { ledger: ledger.clone(), server, db, node, clock, seen: Mutex::new(seen) }))
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

    /// Raises this node's number, looks at those of the others, and buries who has not raised its own for 45 s. Takes as long as a node
    /// has until it raises it again, at most.
    ///
    /// # Errors
    /// `Fenced` where others have buried this node: for good. The database's.
    pub async fn raise(&self) -> Result<()> {
        let asked = self.clock.elapsed();
        let others = match self.within(self.raise_and_look()).await {
            Ok(Some(others)) => others,
            Ok(None) => {
                let why =
                    String::from("it could not tell the others for too long that it lives, and they took it for dead");
                self.seen().buried = Some(why.clone());
                return Err(LedgerError::Fenced(why));
            }
            Err(error) => return Err(error),
        };
        for (node, raised) in self.take_in(others, asked) {
            match self.within(self.bury(&node, raised)).await {
                Ok(true) => tracing::warn!(%node, "a node that no longer tells that it lives is taken for dead"),
                Ok(false) => {}
                Err(error) => tracing::warn!(%node, %error, "whether a node lives can't be told now"),
            }
        }
        Ok(())
    }

    /// Takes this node off the roll: whatever it would still begin has no effect, and others settle at once what it leaves.
    ///
    /// # Errors
    /// The database's: then it is buried after 45 s.
    pub async fn leave(&self) -> Result<()> {
        self.seen().buried = Some("it has ended".into());
        let gone = self.within(async {
            execute(&self.db, "DELETE FROM roll WHERE node = $1", [self.node.as_str().into()]).await.map(drop)
        });
        let gone = gone.await;
        if let Err(error) = self.db.close_by_ref().await {
            tracing::debug!(%error, "the roll's connection was not closed");
        }
        gone
    }

    /// The numbers of the others after this node's was raised; `None` where it is not on the roll any more.
    async fn raise_and_look(&self) -> Result<Option<BTreeMap<NodeId, i64>>> {
        let raised = "UPDATE roll SET raised = raised + 1 WHERE node = $1";
        if execute(&self.db, raised, [self.node.as_str().into()]).await? == 0 {
            return Ok(None);
        }
        let mut found = look(&self.db).await?;
        found.remove(&self.node);
        Ok(Some(found))
    }

    /// Notes what a look that began at `asked` has found; answers who has been silent for too long.
    fn take_in(&self, found: BTreeMap<NodeId, i64>, asked: Duration) -> Vec<(NodeId, i64)> {
        let (mut seen, now) = (self.seen(), self.clock.elapsed());
        seen.alive_until = asked + ALIVE_FOR;
        if asked > seen.looked + LOOKS_WITHIN {
            seen.others.clear();
        }
        seen.looked = now;
        let before = std::mem::take(&mut seen.others);
        // Since when: of what was found now, from when it was found; it may be older, and then it is watched for longer.
        let since = |(node, raised): (NodeId, i64)| {
            let same = before.get(&node).filter(|(number, _)| *number == raised);
            let since = same.map_or(now, |(_, since)| *since);
            (node, (raised, since))
        };
        seen.others = found.into_iter().map(since).collect();
        let silent = seen.others.iter().filter(|(_, (_, since))| asked >= *since + BURIED_AFTER);
        silent.map(|(node, (raised, _))| (node.clone(), *raised)).collect()
    }

    /// Takes a node off the roll whose number is still this one, while no transaction of its writer is open; whether it did. One that is
    /// buried itself buries nobody.
    async fn bury(&self, node: &NodeId, raised: i64) -> Result<bool> {
        let transaction = self.server.begin(&self.db).await.map_err(ledger_error)?;
        let sql = "DELETE FROM roll WHERE node = $1 AND raised = $2 AND EXISTS (SELECT 1 FROM roll WHERE node = $3)";
        let of = [node.as_str().into(), raised.into(), self.node.as_str().into()];
        let gone = execute(&transaction, sql, of).await?;
        transaction.commit().await.map_err(ledger_error)?;
        Ok(gone > 0)
    }

    /// What takes longer than a node has until it raises its number again is given up, with its connection.
    async fn within<T>(&self, asked: impl Future<Output = Result<T>>) -> Result<T> {
        tokio::select! {
            biased;
            answer = asked => answer,
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

    async fn is_alive(&self, node: &NodeId) -> Result<bool, BoxError> {
        Ok(self.ledger.is_on_roll(node).await?)
    }

    fn standing(&self) -> Standing {
        let seen = self.seen();
        match &seen.buried {
            Some(why) => Standing::Buried(why.clone()),
            None if self.clock.elapsed() < seen.alive_until => Standing::Alive,
            None => {
                let words = "it could not tell the other nodes that it lives, by the database, for more than";
                Standing::Unheard(format!("{words} {} s", ALIVE_FOR.as_secs()))
            }
        }
    }
}

/// Whether no node lives that is on the roll of `ledger`: those that are on it are watched for 45 s at most.
///
/// # Errors
/// The database's.
pub async fn is_deserted(ledger: &SqlLedger, clock: &dyn Clock) -> Result<bool> {
    let Home::Server(_) = ledger.home() else { return Ok(true) };
    let (began, first) = (clock.elapsed(), look(ledger.readers()).await?);
    let mut found = first.clone();
    while !found.is_empty() && clock.elapsed() < began + BURIED_AFTER {
        clock.sleep(RAISE_EVERY).await;
        found = look(ledger.readers()).await?;
        if found.iter().any(|(node, raised)| first.get(node) != Some(raised)) {
            return Ok(false);
        }
    }
    Ok(true)
}

/// The nodes that are on the roll of `ledger`; none over SQLite.
///
/// # Errors
/// The database's.
pub async fn nodes_on_roll(ledger: &SqlLedger) -> Result<Vec<NodeId>> {
    match ledger.home() {
        Home::Server(_) => Ok(look(ledger.readers()).await?.into_keys().collect()),
        Home::File(_) => Ok(vec![]),
    }
}

/// Every node on the roll, with its number.
async fn look(db: &DatabaseConnection) -> Result<BTreeMap<NodeId, i64>> {
    let sql = Statement::from_string(DbBackend::Postgres, "SELECT node, raised FROM roll");
    let mut found = BTreeMap::new();
    for row in db.query_all_raw(sql).await.map_err(ledger_error)? {
        let name: String = row.try_get_by_index(0).map_err(ledger_error)?;
        let node = NodeId::new(&name);
        let node = node.ok_or_else(|| LedgerError::Internal(format!("`{name}` is no node's name").into()))?;
        found.insert(node, row.try_get_by_index(1).map_err(ledger_error)?);
    }
    Ok(found)
}

/// Whether a node is on the roll.
pub(crate) async fn is_on(db: &impl ConnectionTrait, node: &str) -> Result<bool, DbErr> {
    let sql = "SELECT 1 FROM roll WHERE node = $1";
    let asked = Statement::from_sql_and_values(DbBackend::Postgres, sql, [node.into()]);
    Ok(db.query_one_raw(asked).await?.is_some())
}

async fn execute<const N: usize>(db: &impl ConnectionTrait, sql: &str, of: [sea_orm::Value; N]) -> Result<u64> {
    let asked = Statement::from_sql_and_values(DbBackend::Postgres, sql, of);
    Ok(db.execute_raw(asked).await.map_err(ledger_error)?.rows_affected())
}
