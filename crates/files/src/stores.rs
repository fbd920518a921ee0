//! What admins are told of the stores: how each is, what lies there, and what a look at it finds.

use crate::{
    Error, Files, Result, StoreId, StoreMode, StoreName,
    files::{Node, Place},
    layout,
    ledger::RecordId,
    marker::read_mark,
};
use futures_util::future::{self, Either, join_all};
use larder_storage_core::{self as core, ErrorKind, Op, OpId, PutOptions, Space, StoreExt};
use std::{collections::BTreeMap, pin::pin, sync::atomic::Ordering::Relaxed, time::Duration};

/// So many of the records that a store has missed are counted: more are told as so many.
const MISSED_MAX: usize = 1_000;

/// How long a store has to answer before it counts as away.
const PATIENCE: Duration = Duration::from_secs(5);

/// A store as it is now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoreReport {
    /// Its name in the configuration.
    pub name: StoreName,
    /// Its id.
    pub id: StoreId,
    /// What it may be used for.
    pub mode: StoreMode,
    /// What it is and where, as the store below all decorators says itself, such as `local:/srv/objects`.
    pub place: String,
    /// Why it can't be used now; `None` of one that shows itself.
    pub away: Option<String>,
    /// What is left there, where the store tells.
    pub space: Option<Space>,
    /// Copies that content may be read from.
    pub copies: u64,
    /// Copies that are yet to be made there, are lost, or have attributes behind the file's, and up to a thousand of the tombstones,
    /// users and buckets that are yet to come there; `None` until the first walk over all
    /// files is over, since what no row tells of is found by it.
    pub copies_due: Option<u64>,
}

/// One thing that was tried on a store.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoreCheck {
    /// What: `marker`, `mark`, `write`, `read`, `delete`.
    pub check: &'static str,
    /// What is wrong; `None` where all is well.
    pub problem: Option<String>,
    /// How long it took.
    pub latency: Duration,
    /// What mends it, where it is wrong.
    pub advice: Option<&'static str>,
}

impl Files {
    /// The stores of this node, in the order of the configuration. Costs a look at each, and a walk over all copies in the ledger.
    ///
    /// # Errors
    /// Only the ledger's own: a store that is away is told of.
    pub async fn stores(&self) -> Result<Vec<StoreReport>> {
        let node = &self.0;
        let counts = node.ledger.copy_counts().await?;
        let mut missed = BTreeMap::new();
        for place in node.places.iter().filter(|place| place.mode.creates()) {
            let records = node.ledger.missed(place.id, None, MISSED_MAX).await?.into_iter();
            missed.insert(place.id, records.filter(|missed| missed.record < RecordId::BEFORE_CLEARINGS).count() as u64);
        }
        let report = |place: &'_ Place| {
            let count = counts.iter().find(|count| count.store == place.id).copied();
            let missed = missed.get(&place.id).copied().unwrap_or_default();
            let place = place.clone();
            async move {
                StoreReport {
                    away: node.in_time(place.confirm(), &place).await.err().map(|error| why(&error)),
                    space: node.in_time(place.store.space(), &place).await.unwrap_or_default(),
                    name: place.name,
                    id: place.id,
                    mode: place.mode,
                    place: core::undecorated(&*place.store).to_string(),
                    copies: count.map_or(0, |count| count.readable),
                    copies_due: node.walked.load(Relaxed).then(|| count.map_or(0, |count| count.due) + missed),
                }
            }
        };
        Ok(join_all(node.places.iter().map(report)).await)
    }

    /// Tries what Larder needs of a store: whether it shows itself, and, where it takes changes, whether what is written can be read
    /// back and deleted. What was written is gone after.
    ///
    /// # Errors
    /// `NotFound`; what is wrong with the store is told of.
    pub async fn check_store(&self, name: &str) -> Result<Vec<StoreCheck>> {
        let place = self.0.places.iter().position(|place| place.name.as_str() == name);
        Ok(self.0.check_place(place.ok_or(Error::NotFound("store"))?).await)
    }
}

impl Node {
    async fn check_place(&self, index: usize) -> Vec<StoreCheck> {
        let place = &self.places[index];
        let away = "is it mounted, and may this user read it? until it is back, files are read from other copies";
        let store = &*place.store;
        let mut checks = vec![self.tried("marker", away, self.in_time(place.confirm(), place)).await];
        checks.push(self.tried("mark", away, self.in_time(read_mark(store), place)).await);
        if !place.mode.changes() {
            return checks;
        }
        let random = OpId::from_random(self.environment.random());
        let probe = core::Key::new(format!(".larder/probes/{random}")).expect("made of a token");
        let full = "is there space, and may this user write there? `larder doctor` says more";
        let write = async { store.put(&probe, random.to_string().into(), PutOptions::create()).await };
        checks.push(self.tried("write", full, self.in_time(write, place)).await);
        let read =
            async {
                match store.get_bytes(&probe, 1024).await? {
                    bytes if bytes == random.as_str() => Ok(()),
                    _ => Err(core::Error::new(Op::Get, &probe, store, ErrorKind::Corrupt)
                        .because("other bytes were read back")),
                }
            };
        checks.push(
            self.tried("read", "the disk does not keep what it is given: replace it", self.in_time(read, place)).await,
        );
        let delete = self.tried("delete", full, self.in_time(store.delete(&probe), place)).await;
        if delete.problem.is_none() {
            // What it refused to delete may go now.
            self.state().refused.forget(index);
        }
        checks.push(delete);
        checks
    }

    async fn tried<T>(
        &self,
        check: &'static str,
        advice: &'static str,
        attempt: impl Future<Output = core::Result<T>>,
    ) -> StoreCheck {
        let begun = self.environment.clock.elapsed();
        let problem = attempt.await.err().map(|error| why(&error));
        let latency = self.environment.clock.elapsed().saturating_sub(begun);
        let advice = problem.is_some().then_some(advice);
        StoreCheck { check, problem, latency, advice }
    }

    /// A request that counts as failed when it takes too long.
    async fn in_time<T>(&self, request: impl Future<Output = core::Result<T>>, place: &Place) -> core::Result<T> {
        match future::select(pin!(request), self.environment.clock.sleep(PATIENCE)).await {
            Either::Left((answer, _)) => answer,
            Either::Right(_) => Err(core::Error::new(Op::Get, layout::instance(), &place.store, ErrorKind::Timeout)),
        }
    }
}

fn why(error: &core::Error) -> String {
    crate::truth::chain(error)
}
