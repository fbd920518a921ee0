//! The one writer of a process. Whatever waits is done in one transaction, so that many callers share one sync of the disk:
//!
//! 1. take the first call and whatever else waits, up to [`MEMBERS_MAX`];
//! 2. begin a transaction that is the only one to write ([`Home::begin`]), load what the group touches, decide each call in order, write what changed;
//! 3. where that fails, roll back, and do each call alone, so that the one at fault fails alone;
//! 4. `COMMIT`, then answer. A failed commit is indeterminate for every member and its connection is thrown away.

use crate::{
    fault::Fault,
    home::Home,
    roll,
    work::{Answer, Call, Needs, Work},
};
use larder_files::{NodeId, ledger::LedgerError};
use sea_orm::{DatabaseConnection, DatabaseTransaction, DbErr};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use tokio::sync::{Notify, mpsc, oneshot, watch};

/// How many members share one transaction, so that nobody waits long for it.
const MEMBERS_MAX: usize = 1_024;
/// How many calls may wait before a caller waits to be let in.
const WAITING_MAX: usize = 1_024;

/// A call and who waits for it.
#[derive(Debug)]
struct Job {
    call: Call,
    answer: oneshot::Sender<Answer>,
}

/// The way to the writer. The writer ends when the last one goes, or by [`Writer::close`].
#[derive(Clone, Debug)]
pub(crate) struct Writer {
    jobs: mpsc::Sender<Job>,
    epoch: Epoch,
    signed: Signed,
    closing: Arc<Notify>,
    /// Closes when the writer has ended.
    ended: watch::Receiver<()>,
}

/// The node whose row on the roll every transaction must find; unset where no roll is kept.
type Signed = Arc<OnceLock<String>>;

/// The epoch of this handle: the first that it saw, or the one that it set.
#[derive(Clone, Debug)]
pub(crate) struct Epoch(Arc<Mutex<Option<u64>>>);

impl Epoch {
    pub(crate) fn see(&self, epoch: u64) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert(epoch);
    }

    fn own(&self) -> Option<u64> {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn set(&self, own: Option<u64>) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = own;
    }
}

impl Writer {
    /// Starts the writer, on a thread of its own: a transaction is a dozen questions to SQLite's thread, each waiting for the one before,
    /// and on a shared runtime each answer would wait behind whatever else runs there.
    ///
    /// # Errors
    /// Where no thread can be had.
    pub(crate) fn start(home: Home, db: DatabaseConnection, epoch: Option<u64>) -> std::io::Result<Self> {
        let (jobs, waiting) = mpsc::channel(WAITING_MAX);
        let epoch = Epoch(Arc::new(Mutex::new(epoch)));
        let (end, ended) = watch::channel(());
        let closing = Arc::new(Notify::new());
        let signed = Signed::default();
        let (of, known) = (epoch.clone(), signed.clone());
        let task = Task { home, db: Some(db), epoch: of, signed: known, waiting, closing: closing.clone(), _end: end };
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        std::thread::Builder::new().name("larder-ledger".into()).spawn(move || runtime.block_on(task.run()))?;
        Ok(Self { jobs, epoch, signed, closing, ended })
    }

    pub(crate) fn epoch(&self) -> &Epoch {
        &self.epoch
    }

    /// From now on each transaction looks for this node on the roll first. The first one that is named counts.
    pub(crate) fn signed_as(&self, node: &NodeId) {
        self.signed.get_or_init(|| node.as_str().to_owned());
    }

    /// Does a call. It is done even if the caller goes away while it waits.
    pub(crate) async fn call(&self, call: Call) -> Answer {
        let (answer, answered) = oneshot::channel();
        if let Err(refused) = self.jobs.send(Job { call, answer }).await {
            return refused.0.call.failed(&LedgerError::Unavailable("the ledger was closed".into()));
        }
        answered.await.unwrap_or_else(|_| {
            // The writer ended with the call in hand, in a panic or with its runtime: whether it was committed is not known.
            Answer::Done(Err(LedgerError::Indeterminate("the ledger's writer ended".into())))
        })
    }

    /// Lets no further call in, from any clone, and waits until what waited is done and the file is closed.
    pub(crate) async fn close(mut self) {
        self.closing.notify_one();
        while self.ended.changed().await.is_ok() {}
    }
}

struct Task {
    home: Home,
    db: Option<DatabaseConnection>,
    epoch: Epoch,
    signed: Signed,
    waiting: mpsc::Receiver<Job>,
    closing: Arc<Notify>,
    _end: watch::Sender<()>,
}

impl Task {
    async fn run(mut self) {
        while let Some(first) = self.next().await {
            let group = self.group(first);
            self.serve(group).await;
        }
        self.disconnect().await;
    }

    async fn disconnect(&mut self) {
        if let Some(db) = self.db.take()
            && let Err(error) = db.close().await
        {
            tracing::debug!(%error, "the ledger's connection was not closed");
        }
    }

    async fn next(&mut self) -> Option<Job> {
        tokio::select! {
            biased;
            first = self.waiting.recv() => return first,
            () = self.closing.notified() => self.waiting.close(),
        }
        self.waiting.recv().await
    }

    fn group(&mut self, first: Job) -> Vec<Job> {
        let mut members = first.call.weight();
        let mut group = vec![first];
        while members < MEMBERS_MAX {
            let Ok(next) = self.waiting.try_recv() else { break };
            members += next.call.weight();
            group.push(next);
        }
        group
    }

    async fn serve(&mut self, group: Vec<Job>) {
        match self.transact(&group).await {
            Err(Failed { may_be_one_members, .. }) if may_be_one_members && group.len() > 1 => {
                for job in group {
                    let alone = [job];
                    let answers = self.transact(&alone).await;
                    respond(alone, answers);
                }
            }
            answers => respond(group, answers),
        }
    }

    async fn transact(&mut self, group: &[Job]) -> Result<Vec<Answer>, Failed> {
        if self.home.is_replaced() {
            return Err(Failed::of_all(LedgerError::Fenced("its file was replaced".into())));
        }
        let db = self.connected().await?;
        let result = commit(&self.home, &db, group, self.epoch.own(), self.signed.get()).await;
        match result {
            Ok((answers, own)) => {
                self.epoch.set(own);
                Ok(answers)
            }
            Err(failed) => {
                if failed.discard {
                    tracing::error!(error = %failed.error, "the ledger's connection is thrown away");
                    self.disconnect().await;
                }
                Err(failed)
            }
        }
    }

    async fn connected(&mut self) -> Result<DatabaseConnection, Failed> {
        if let Some(db) = &self.db {
            return Ok(db.clone());
        }
        let failed = |error: sqlx::Error| Failed::of_all(LedgerError::Unavailable(error.into()));
        let db = self.home.writer().await.map_err(failed)?;
        Ok(self.db.insert(db).clone())
    }
}

fn respond(group: impl IntoIterator<Item = Job>, answers: Result<Vec<Answer>, Failed>) {
    match answers {
        // A caller that has gone away needs no answer.
        Ok(answers) => group.into_iter().zip(answers).for_each(|(job, answer)| _ = job.answer.send(answer)),
        Err(failed) => group.into_iter().for_each(|job| {
            let answer = job.call.failed(&failed.error);
            _ = job.answer.send(answer);
        }),
    }
}

/// Why a group came to nothing, or may have.
struct Failed {
    error: LedgerError,
    /// Whether the connection may be in a state that nobody knows.
    discard: bool,
    /// Whether the others might succeed without one of them.
    may_be_one_members: bool,
}

impl Failed {
    fn of_all(error: LedgerError) -> Self {
        Self { error, discard: false, may_be_one_members: false }
    }

    /// Before the commit: nothing happened, the transaction is rolled back.
    fn before_commit(error: DbErr) -> Self {
        let fault = Fault::of(&error);
        Self {
            discard: matches!(fault, Fault::Away | Fault::Broken | Fault::Interrupted),
            may_be_one_members: fault == Fault::Row,
            error: fault.told(error),
        }
    }
}

async fn commit(
    home: &Home,
    db: &DatabaseConnection,
    group: &[Job],
    own: Option<u64>,
    signed: Option<&String>,
) -> Result<(Vec<Answer>, Option<u64>), Failed> {
    let transaction = home.begin(db).await.map_err(Failed::before_commit)?;
    let mut own = own;
    match decide(&transaction, group, &mut own, signed).await {
        Ok((answers, true)) => {
            let indeterminate = |error: DbErr| Failed {
                error: LedgerError::Indeterminate(error.into()),
                discard: true,
                may_be_one_members: false,
            };
            transaction.commit().await.map_err(indeterminate)?;
            Ok((answers, own))
        }
        Ok((answers, false)) => {
            transaction.rollback().await.map_err(Failed::before_commit)?;
            Ok((answers, own))
        }
        Err(error) => {
            let failed = Failed::before_commit(error);
            let rolled_back = transaction.rollback().await.is_ok();
            Err(Failed { discard: failed.discard || !rolled_back, ..failed })
        }
    }
}

/// The answers, and whether anything was written.
async fn decide(
    transaction: &DatabaseTransaction,
    group: &[Job],
    own: &mut Option<u64>,
    signed: Option<&String>,
) -> Result<(Vec<Answer>, bool), DbErr> {
    if let Some(node) = signed
        && roll::locked_by(transaction, node).await?.is_none()
    {
        let buried = LedgerError::Fenced("others have taken this node for dead: restart it".into());
        return Ok((group.iter().map(|job| job.call.failed(&buried)).collect(), false));
    }
    let needs = Needs::of(group.iter().map(|job| &job.call));
    let mut work = Work::load(transaction, needs).await?;
    let answers = group.iter().map(|job| work.apply(&job.call, own)).collect();
    Ok((answers, work.store(transaction).await?))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Open, SqlLedger};
    use larder_files::{
        DirectId, Ledger, StoreId, Timestamp, UserId,
        ledger::{Announced, DirectUpload, Identity, MemoryLedger},
    };
    use uuid::Uuid;

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_millis(1_760_000_000_000 + seconds * 1_000)
    }

    fn upload(number: u128, ends: i64) -> DirectUpload {
        DirectUpload {
            id: DirectId(Uuid::from_u128(number)),
            user: UserId(Uuid::from_u128(1)),
            store: StoreId(Uuid::from_u128(1)),
            size: 1,
            part_bytes: 1,
            expires_at: at(ends),
            ends_at: at(ends),
            file: Announced::default(),
        }
    }

    /// Begins an upload of a user who may have two, that ends then, now.
    fn open(number: u128, ends: i64, now: i64) -> Call {
        Call::OpenDirect { upload: Box::new(upload(number, ends)), most: 2, now: at(now) }
    }

    async fn at_once(ledger: &SqlLedger, calls: &[Call]) -> Vec<String> {
        let job = |call: &Call| Job { call: call.clone(), answer: oneshot::channel().0 };
        let (group, db) = (calls.iter().map(job).collect::<Vec<_>>(), ledger.home().writer().await.unwrap());
        let answers = commit(ledger.home(), &db, &group, None, None).await;
        let Ok((answers, _)) = answers else { panic!("the group failed") };
        answers.iter().map(|answer| format!("{answer:?}")).collect()
    }

    async fn in_turn(ledger: &MemoryLedger, calls: &[Call]) -> Vec<String> {
        let mut answers = vec![];
        for call in calls {
            let done = match call {
                Call::OpenDirect { upload, most, now } => ledger.open_direct(upload, *most, *now).await,
                Call::EndDirect(id) => ledger.end_direct(*id).await,
                other => panic!("{other:?} is not of direct uploads"),
            };
            answers.push(format!("{:?}", Answer::Done(done)));
        }
        answers
    }

    #[tokio::test]
    async fn direct_uploads_are_counted_in_one_group_as_one_after_the_other() {
        let folder = tempfile::tempdir().unwrap();
        let ended = |number| Call::EndDirect(upload(number, 0).id);
        let groups = [
            ("one goes on", vec![open(1, 90, 0)], vec![open(1, 95, 1), open(2, 90, 1), open(3, 90, 1)]),
            (
                "one goes on twice",
                vec![],
                vec![open(1, 90, 1), open(1, 95, 1), open(2, 90, 1), ended(1), open(3, 90, 1)],
            ),
            (
                "one that is over ends",
                vec![open(1, 50, 0), open(2, 90, 0)],
                vec![ended(1), open(3, 90, 60), open(4, 90, 60)],
            ),
            ("one is over between two", vec![open(1, 50, 0), open(2, 90, 0)], vec![open(3, 90, 49), open(3, 90, 50)]),
        ];
        for (name, before, group) in groups {
            let sql = SqlLedger::open(&folder.path().join(name), Open { create: true }).await.unwrap();
            let memory = MemoryLedger::new();
            let identity =
                Identity { instance: Uuid::from_u128(1), epoch: 1, mark: 0, stores: vec![], marks: [].into() };
            sql.initialise(&identity).await.unwrap();
            memory.initialise(&identity).await.unwrap();
            for call in before {
                assert_eq!(at_once(&sql, std::slice::from_ref(&call)).await, in_turn(&memory, &[call]).await, "{name}");
            }
            assert_eq!(at_once(&sql, &group).await, in_turn(&memory, &group).await, "{name}");
            for number in 1..5 {
                let id = upload(number, 0).id;
                assert_eq!(sql.direct(id).await.unwrap(), memory.direct(id).await.unwrap(), "{name}: upload {number}");
            }
            sql.close().await;
        }
    }
}
