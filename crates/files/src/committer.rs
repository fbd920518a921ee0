//! Group commit: whatever waits is published as one batch per store, then recorded as one group in the ledger. There is no timer: a
//! batch is what came while the one before was under way, so an idle server commits at once and a busy one in bulk.

use crate::{
    Error, Ledger, Result,
    files::Place,
    ledger::{LedgerError, Record, Recorded},
};
use futures_util::future::join_all;
use larder_storage_core::Pair;
use std::{collections::BTreeMap, sync::Arc};
use tokio::sync::{mpsc, oneshot};

/// How many commits may wait before the next one waits for a place in the queue.
const QUEUE: usize = 1024;

/// A staged pair to publish and then to record.
pub(crate) struct Commit {
    /// Where.
    pub(crate) place: usize,
    /// The staged pair.
    pub(crate) pair: Pair,
    /// What the ledger takes in once that is durable.
    pub(crate) record: Record,
}

/// How a commit failed.
#[derive(Debug)]
pub(crate) enum CommitError {
    /// The pair was not published: nothing happened.
    Unpublished(Error),
    /// It may have been published, or was published and may not have been recorded: to be settled.
    Unsettled(Error),
}

struct Waiting {
    commit: Commit,
    answer: oneshot::Sender<Result<Recorded, CommitError>>,
}

/// The queue of one node's commits.
#[derive(Debug)]
pub(crate) struct Committer(mpsc::Sender<Waiting>);

impl std::fmt::Debug for Waiting {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Waiting").field(&self.commit.pair).finish()
    }
}

impl Committer {
    /// The queue, and the task that empties it; it ends when the queue is dropped.
    pub(crate) fn new(
        places: Vec<Place>,
        ledger: Arc<dyn Ledger>,
        spawn: Arc<dyn crate::Spawn>,
        batch_max: usize,
    ) -> (Self, impl Future<Output = ()> + Send + 'static) {
        let (send, mut receive) = mpsc::channel(QUEUE);
        let run = async move {
            let mut batch = Vec::new();
            // None at once would be the end.
            while receive.recv_many(&mut batch, batch_max.max(1)).await > 0 {
                let published = publish(&places, std::mem::take(&mut batch)).await;
                // The next batch is published while this one is recorded: the ledger groups what comes meanwhile by itself.
                spawn.spawn(Box::pin(record(ledger.clone(), published)));
            }
        };
        (Self(send), run)
    }

    /// Publishes and records, together with whatever else waits.
    pub(crate) async fn commit(&self, commit: Commit) -> Result<Recorded, CommitError> {
        let stopped = || CommitError::Unsettled(Error::Indeterminate("the node is stopping".into()));
        let (answer, answered) = oneshot::channel();
        self.0.send(Waiting { commit, answer }).await.map_err(|_| stopped())?;
        answered.await.map_err(|_| stopped())?
    }
}

/// Publishes a batch, place by place at once, and answers those whose pair was not; the others go on.
async fn publish(places: &[Place], batch: Vec<Waiting>) -> Vec<Waiting> {
    let mut by_place: BTreeMap<usize, Vec<Waiting>> = BTreeMap::new();
    for waiting in batch {
        by_place.entry(waiting.commit.place).or_default().push(waiting);
    }
    let groups = by_place.into_iter().map(|(place, group)| publish_group(&places[place], group));
    join_all(groups).await.into_iter().flatten().collect()
}

async fn publish_group(place: &Place, group: Vec<Waiting>) -> Vec<Waiting> {
    let pairs: Vec<Pair> = group.iter().map(|waiting| waiting.commit.pair.clone()).collect();
    let staging = place.store.staging().expect("only what was staged is published");
    let results = staging.publish(&pairs).await;
    let mut published = Vec::with_capacity(group.len());
    for (waiting, result) in group.into_iter().zip(results) {
        match result {
            Ok(()) => published.push(waiting),
            Err(error) => {
                let _ = waiting.answer.send(Err(unpublished(error)));
            }
        }
    }
    published
}

fn unpublished(error: larder_storage_core::Error) -> CommitError {
    use larder_storage_core::ErrorKind as Kind;
    match error.kind() {
        Kind::Indeterminate | Kind::Timeout | Kind::Unavailable => {
            CommitError::Unsettled(Error::Indeterminate(error.into()))
        }
        _ => CommitError::Unpublished(error.into()),
    }
}

async fn record(ledger: Arc<dyn Ledger>, batch: Vec<Waiting>) {
    if batch.is_empty() {
        return;
    }
    let (records, answers): (Vec<_>, Vec<_>) = batch.into_iter().map(|w| (w.commit.record, w.answer)).unzip();
    for (answer, result) in answers.into_iter().zip(ledger.record(records).await) {
        let _ = answer.send(result.map_err(|error| CommitError::Unsettled(unrecorded(error))));
    }
}

/// What lies durable on a store and could not be recorded has happened or not as recovery will find: whatever the ledger says of
/// itself, that is not yet an answer.
pub(crate) fn unrecorded(error: LedgerError) -> Error {
    match error.into() {
        // Refused for good: somebody else bears the name.
        refused @ (Error::Fenced(_) | Error::Conflict(_)) => refused,
        other => Error::Indeterminate(Box::new(other)),
    }
}
