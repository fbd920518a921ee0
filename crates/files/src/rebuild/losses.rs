//! What a rebuild that forgets stores would lose: files, and old revisions of files, whose only copies lie there. Only the ledger that it
//! replaces can tell, so this is asked before. It changes nothing, and what is lost is not decided here. Changes that lie there alone are
//! not lost: that ledger tells of them, and the rebuild writes them again.

use super::{Installation, RebuildOptions, Result, Run, carried::can_be_read, failed, older_identity};
use crate::{
    Attributes, FileId, Ledger, Parts, StoreId,
    ledger::{LedgerError, Placed, PlacedQuery},
    marker::read_mark,
    truth::chain,
};
use std::collections::BTreeSet;

/// Revisions per request.
const PAGE: usize = 1000;

/// A file with revisions that lie on forgotten stores alone.
#[derive(Clone, Debug, PartialEq)]
pub struct Loss {
    /// The file, as the ledger knows it.
    pub file: Attributes,
    /// Their numbers.
    pub revisions: Vec<u64>,
    /// Their bytes together.
    pub bytes: u64,
}

impl Loss {
    /// Whether the newest content is among them; else the file loses old revisions.
    #[must_use]
    pub fn is_newest(&self) -> bool {
        self.revisions.contains(&self.file.revision)
    }
}

/// All of them together.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Losses {
    /// Files whose newest content is lost.
    pub files: u64,
    /// Other files, which lose old revisions.
    pub revised: u64,
    /// Bytes of all revisions that are lost.
    pub bytes: u64,
    /// Why there may be more that nothing tells of.
    pub untold: Option<String>,
}

impl Losses {
    /// Whether nothing is lost, for certain.
    #[must_use]
    pub fn is_none(&self) -> bool {
        *self == Self::default()
    }
}

/// What [`rebuild`](super::rebuild) with these options would lose; each loss is given to `take`. Costs a walk over all revisions that `older`
/// knows, and two questions for each that is lost.
///
/// # Errors
/// What the rebuild itself would be refused with before it begins. An older ledger that can't tell is no error ([`Losses::untold`]).
pub async fn losses(
    parts: &Parts,
    older: Option<&dyn Ledger>,
    options: &RebuildOptions,
    take: &mut (dyn FnMut(Loss) + Send),
) -> Result<Losses> {
    let installation = Installation::read(parts, older, options, Run::Rehearsal).await?;
    let mut losses = Losses::default();
    if options.forget.is_empty() {
        return Ok(losses);
    }
    let is_forgotten = |name: &str| options.forget.iter().any(|forgotten| forgotten.as_str() == name);
    let known = installation.known.iter().filter(|store| is_forgotten(&store.name));
    let forgotten: BTreeSet<StoreId> = known.map(|store| store.id).collect();
    losses.untold = installation.doubts(older, &forgotten).await?;
    if let (Some(older), None) = (older, &losses.untold)
        && let Err(error) = losses.count(older, &forgotten, take).await
    {
        losses.untold = Some(format!("the database can't be read: {}", chain(&error)));
    }
    Ok(losses)
}

impl Installation {
    /// Why the older ledger can't tell what lies on these stores alone.
    async fn doubts(&self, older: Option<&dyn Ledger>, forgotten: &BTreeSet<StoreId>) -> Result<Option<String>> {
        let ours = self.markers[0].instance;
        let Some(identity) = older_identity(older).await.filter(|identity| identity.instance == ours) else {
            return Ok(Some("no database tells of it".into()));
        };
        let mut is_older = self.markers.iter().any(|marker| marker.epoch > identity.epoch);
        for place in &self.places {
            is_older |= read_mark(&*place.store).await.map_err(failed)?.number > identity.mark_on(place.id);
        }
        let read = identity.stores.iter().filter(|store| store.unread_since.is_none()).map(|store| store.id);
        let is_read = forgotten.is_subset(&read.collect());
        Ok(match (is_older, is_read) {
            (true, _) => Some("the database is an older copy".into()),
            (false, false) => Some("the database was made without it".into()),
            (false, true) => None,
        })
    }
}

impl Losses {
    async fn count(
        &mut self,
        older: &dyn Ledger,
        forgotten: &BTreeSet<StoreId>,
        take: &mut (dyn FnMut(Loss) + Send),
    ) -> Result<(), LedgerError> {
        can_be_read(older).await?;
        let (mut after, mut of): (_, Option<(FileId, Vec<u64>)>) = (None, None);
        loop {
            let page = older.placed(&PlacedQuery { due: false, after, limit: PAGE }).await?;
            let Some(last) = page.last() else { break };
            after = Some((last.file, last.revision));
            for Placed { file, revision, .. } in page.iter().filter(|placed| lies_only_on(placed, forgotten)) {
                match &mut of {
                    Some((same, revisions)) if same == file => revisions.push(*revision),
                    _ => {
                        if let Some(whole) = of.replace((*file, vec![*revision])) {
                            self.add(older, whole, take).await?;
                        }
                    }
                }
            }
        }
        match of {
            Some(whole) => self.add(older, whole, take).await,
            None => Ok(()),
        }
    }

    async fn add(
        &mut self,
        older: &dyn Ledger,
        (id, revisions): (FileId, Vec<u64>),
        take: &mut (dyn FnMut(Loss) + Send),
    ) -> Result<(), LedgerError> {
        let Some(row) = older.file(id).await? else { return Ok(()) };
        let mut bytes = 0;
        for revision in &revisions {
            bytes += older.revision(id, *revision).await?.map_or(0, |row| row.size);
        }
        let loss = Loss { file: row.attributes, revisions, bytes };
        self.bytes += bytes;
        *(if loss.is_newest() { &mut self.files } else { &mut self.revised }) += 1;
        take(loss);
        Ok(())
    }
}

fn lies_only_on(placed: &Placed, forgotten: &BTreeSet<StoreId>) -> bool {
    let mut readable = placed.copies.iter().filter(|copy| copy.is_readable()).peekable();
    readable.peek().is_some() && readable.all(|copy| forgotten.contains(&copy.store))
}
