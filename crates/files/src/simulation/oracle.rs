//! [`Oracle`]: what clients were told and what they only asked for, and what must therefore be so. It sees nothing but answers.

use super::client::UNIQUE;
use crate::{Attributes, Created, Error, File, FileId, OnConflict, Sha256, ledger::RevisionRow};
use std::collections::{BTreeMap, BTreeSet};

/// Why what was seen can't be.
pub(super) type Verdict = Result<(), String>;

/// A change that a client has asked for.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Change {
    Update { name: String },
    Replace { sha256: Sha256 },
    Remove,
    Restore,
    Move { bucket: String },
}

impl Change {
    /// Whether the file is as this change leaves it.
    fn fits(&self, file: &Attributes) -> bool {
        match self {
            Self::Update { name } => file.name == *name,
            Self::Replace { sha256 } => file.sha256 == *sha256,
            Self::Remove => file.deleted_at.is_some(),
            Self::Restore => file.deleted_at.is_none(),
            Self::Move { bucket } => file.bucket.as_str() == bucket,
        }
    }
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Purge {
    #[default]
    Never,
    /// Asked for, with an outcome that nobody knows.
    Asked,
    Acknowledged,
}

/// A file that a client knows.
#[derive(Clone, Debug)]
struct Known {
    /// The highest attributes that were answered.
    head: Attributes,
    /// All that was answered, by rank.
    answered: BTreeMap<(u64, u64), Attributes>,
    revisions: BTreeMap<u64, Sha256>,
    /// Changes under way, and those whose outcome is unknown; by number.
    open: BTreeMap<u64, Change>,
    was_removed: bool,
    /// Whether anybody ever tried to give it another name or bucket.
    was_moved: bool,
    /// When its creation was answered, and whether it had to heed who had its name.
    made: Option<(u64, bool)>,
    purge: Purge,
    purged_revisions: BTreeMap<u64, PurgedRevision>,
}

/// An old revision that somebody has tried to purge.
#[derive(Clone, Copy, Debug, Default)]
struct PurgedRevision {
    /// How many may have been the one that did it.
    asked: u64,
    acknowledged: bool,
}

/// A create that was asked for, perhaps several times under one key.
#[derive(Clone, Debug)]
struct Creation {
    bucket: String,
    name: String,
    sha256: Sha256,
    on_conflict: OnConflict,
    asked: u64,
    /// Whether one of its requests may have happened.
    possible: bool,
    made: Option<FileId>,
}

/// What is known of a file when a read begins: the read may not be older.
#[derive(Clone, Debug)]
pub(super) struct Floor {
    rank: (u64, u64),
    purged: bool,
    purged_revisions: BTreeSet<u64>,
}

#[derive(Clone, Debug, Default)]
pub(super) struct Oracle {
    files: BTreeMap<FileId, Known>,
    creations: Vec<Creation>,
    bodies: BTreeMap<Sha256, Vec<u8>>,
    changes: u64,
}

fn rank(attributes: &Attributes) -> (u64, u64) {
    (attributes.epoch, attributes.version)
}

/// Whether an answer says for certain that nothing was done.
pub(super) fn is_refusal(error: &Error) -> bool {
    !matches!(
        error,
        Error::Indeterminate(_)
            | Error::StoreUnavailable(_)
            | Error::LedgerUnavailable(_)
            | Error::Internal(_)
            | Error::Full(_)
            | Error::Fenced(_)
            | Error::ReadOnly(_)
            | Error::Body(_)
            | Error::Running
    )
}

impl Oracle {
    /// The files that somebody was told of and nobody has tried to purge, oldest first.
    pub(super) fn targets(&self) -> Vec<FileId> {
        self.files.iter().filter(|(_, known)| known.purge == Purge::Never).map(|(id, _)| *id).collect()
    }

    /// Every file that somebody was told of.
    pub(super) fn known(&self) -> Vec<FileId> {
        self.files.keys().copied().collect()
    }

    pub(super) fn version(&self, id: FileId) -> Option<u64> {
        Some(self.files.get(&id)?.head.version)
    }

    pub(super) fn wrote(&mut self, body: Vec<u8>) -> Sha256 {
        let sha256 = Sha256::of(&body);
        self.bodies.insert(sha256, body);
        sha256
    }

    pub(super) fn creates(&mut self, name: &str, sha256: Sha256) -> usize {
        self.puts("documents", name, sha256, OnConflict::KeepBoth)
    }

    pub(super) fn puts(&mut self, bucket: &str, name: &str, sha256: Sha256, on_conflict: OnConflict) -> usize {
        self.changes += 1;
        let (bucket, name, asked) = (bucket.into(), name.into(), self.changes);
        self.creations.push(Creation { bucket, name, sha256, on_conflict, asked, possible: false, made: None });
        self.creations.len() - 1
    }

    /// A put was answered: it made a file, or gave one a new revision.
    pub(super) fn put(&mut self, creation: usize, done: &Created) -> Verdict {
        let (asked, attributes) = (self.creations[creation].clone(), &done.file.attributes);
        match (done.repeated, done.replaced) {
            (None, false) => {
                self.created(creation, &done.file, false)?;
                return self.made_alone(creation, attributes);
            }
            (Some(200), _) if asked.made.is_none_or(|made| made == attributes.id) => {
                self.creations[creation].made = Some(attributes.id);
                return self.answered(&done.file);
            }
            (Some(_), _) => return self.created(creation, &done.file, true),
            (None, true) => {}
        }
        let fits = (attributes.sha256, &attributes.name) == (asked.sha256, &asked.name);
        if !fits || attributes.revision == 1 || asked.on_conflict != OnConflict::Replace || asked.made.is_some() {
            return Err(format!("I3: asked for {asked:?}, answered {attributes:?}"));
        }
        self.creations[creation].made = Some(attributes.id);
        self.answered(&done.file)?;
        let known = self.files.get_mut(&attributes.id).expect("answered just now");
        match known.revisions.insert(attributes.revision, asked.sha256) {
            Some(other) => Err(format!("I1: revision {} was given twice, to {other} too", attributes.revision)),
            None => Ok(()),
        }
    }

    /// A file was made: who had to heed its name found nobody who has it and keeps it.
    fn made_alone(&mut self, creation: usize, file: &Attributes) -> Verdict {
        self.changes += 1;
        let (now, asked) = (self.changes, self.creations[creation].clone());
        let heeds = asked.heeds();
        if heeds {
            let bears_it = |known: &Known| {
                let head = &known.head;
                let kept = !known.was_removed && !known.was_moved && known.purge == Purge::Never;
                kept && head.id != file.id && (head.bucket_id, &head.name) == (file.bucket_id, &file.name)
            };
            let was_there = |(at, heeded): (u64, bool)| heeded || at < asked.asked;
            let other = self.files.values().find(|known| bears_it(known) && known.made.is_some_and(was_there));
            if let Some(other) = other {
                return Err(format!("N: {asked:?} made {file:?}, though there is {:?}", other.head));
            }
        }
        let known = self.files.get_mut(&file.id).expect("answered just now");
        known.made.get_or_insert((now, heeds));
        Ok(())
    }

    /// A create has no answer, or none that is certain.
    pub(super) fn may_have_created(&mut self, creation: usize) {
        self.creations[creation].possible = true;
    }

    pub(super) fn created(&mut self, creation: usize, file: &File, repeated: bool) -> Verdict {
        let asked = &mut self.creations[creation];
        let attributes = &file.attributes;
        if asked.made.is_some_and(|made| made != attributes.id) {
            return Err(format!(
                "I4: `{}` was made twice under one key, as {asked:?} and {}",
                asked.name, attributes.id
            ));
        }
        asked.made = Some(attributes.id);
        if !repeated && (attributes.name != asked.name || attributes.sha256 != asked.sha256 || attributes.revision != 1)
        {
            return Err(format!("I3: asked for {asked:?}, answered {attributes:?}"));
        }
        let sha256 = asked.sha256;
        self.answered(file)?;
        let known = self.files.get_mut(&attributes.id).expect("answered just now");
        known.revisions.insert(1, sha256);
        Ok(())
    }

    /// A change is asked for: from now on its effect may be seen.
    pub(super) fn changes(&mut self, id: FileId, change: Change) -> u64 {
        self.changes += 1;
        if let Some(known) = self.files.get_mut(&id) {
            known.was_removed |= change == Change::Remove;
            known.was_moved |= matches!(change, Change::Update { .. } | Change::Move { .. });
            known.open.insert(self.changes, change);
        }
        self.changes
    }

    /// A change was acknowledged with the record that it left.
    pub(super) fn changed(&mut self, id: FileId, change: u64, file: &File) -> Verdict {
        let done = self.files.get(&id).and_then(|known| known.open.get(&change)).cloned();
        if let Some(done) = &done
            && !done.fits(&file.attributes)
        {
            return Err(format!("I3: asked for {done:?}, answered {:?}", file.attributes));
        }
        self.answered(file)?;
        let known = self.files.get_mut(&id).expect("answered just now");
        known.open.remove(&change);
        if let Some(Change::Replace { sha256 }) = done {
            let other = known.revisions.insert(file.attributes.revision, sha256);
            if other.is_some_and(|other| other != sha256) {
                return Err(format!("I1: revision {} of {id} was given twice", file.attributes.revision));
            }
        }
        Ok(())
    }

    /// A change was refused for certain.
    pub(super) fn refused(&mut self, id: FileId, change: u64) {
        if let Some(known) = self.files.get_mut(&id) {
            known.open.remove(&change);
        }
    }

    pub(super) fn purges(&mut self, id: FileId) {
        let Some(known) = self.files.get_mut(&id) else { return };
        if known.purge == Purge::Never {
            known.purge = Purge::Asked;
        }
    }

    pub(super) fn purged(&mut self, id: FileId) {
        if let Some(known) = self.files.get_mut(&id) {
            known.purge = Purge::Acknowledged;
        }
    }

    /// The highest number of a revision that anybody was told of.
    pub(super) fn newest_revision(&self, id: FileId) -> u64 {
        self.files.get(&id).map_or(1, |known| known.head.revision)
    }

    pub(super) fn purges_revision(&mut self, id: FileId, revision: u64) {
        if let Some(known) = self.files.get_mut(&id) {
            known.purged_revisions.entry(revision).or_default().asked += 1;
        }
    }

    pub(super) fn purged_revision(&mut self, id: FileId, revision: u64) {
        if let Some(known) = self.files.get_mut(&id) {
            known.purged_revisions.entry(revision).or_default().acknowledged = true;
        }
    }

    /// A purge of a revision was refused for certain.
    pub(super) fn kept_revision(&mut self, id: FileId, revision: u64) {
        if let Some(known) = self.files.get_mut(&id) {
            known.purged_revisions.entry(revision).or_default().asked -= 1;
        }
    }

    /// An answer says that there is no such revision: then it was never acknowledged, or somebody has purged it.
    pub(super) fn absent_revision(&self, id: FileId, revision: u64) -> Verdict {
        match self.files.get(&id) {
            Some(known) if known.purge == Purge::Never && known.misses(revision) => Err(format!(
                "I1, I9: revision {revision} of {id} is answered as absent, but nobody purged it: {known:?}"
            )),
            _ => Ok(()),
        }
    }

    pub(super) fn floor(&self, id: FileId) -> Option<Floor> {
        let known = self.files.get(&id)?;
        let purged_revisions = known.purged_revisions.iter().filter(|(_, purged)| purged.acknowledged);
        Some(Floor {
            rank: rank(&known.head),
            purged: known.purge == Purge::Acknowledged,
            purged_revisions: purged_revisions.map(|(number, _)| *number).collect(),
        })
    }

    /// A record was read that must not be older than `floor`.
    pub(super) fn seen(&mut self, floor: Option<&Floor>, file: &File) -> Verdict {
        let attributes = &file.attributes;
        if let Some(floor) = floor {
            if floor.purged {
                return Err(format!("I2: {} was purged and is there again: {attributes:?}", attributes.id));
            }
            if rank(attributes) < floor.rank {
                return Err(format!("I1: {} was at {:?} and is back at {attributes:?}", attributes.id, floor.rank));
            }
        }
        match self.files.contains_key(&attributes.id) {
            true => self.answered(file),
            false => self.discovered(file),
        }
    }

    /// A file that nobody was told of: it must be one whose create has no certain answer.
    fn discovered(&self, file: &File) -> Verdict {
        let attributes = &file.attributes;
        let made = |creation: &&Creation| {
            creation.sha256 == attributes.sha256 && creation.name == attributes.name && creation.possible
        };
        match self.creations.iter().find(made) {
            Some(creation) if creation.made.is_none_or(|made| made == attributes.id) => Ok(()),
            other => Err(format!("I4: nobody made {attributes:?}; {other:?}")),
        }
    }

    /// A record was answered, by whatever call.
    fn answered(&mut self, file: &File) -> Verdict {
        let attributes = &file.attributes;
        if !self.bodies.contains_key(&attributes.sha256) {
            return Err(format!("I3: nobody wrote the content of {attributes:?}"));
        }
        let known = self.files.entry(attributes.id).or_insert_with(|| Known {
            head: attributes.clone(),
            answered: BTreeMap::new(),
            revisions: BTreeMap::new(),
            open: BTreeMap::new(),
            was_removed: false,
            was_moved: false,
            made: None,
            purge: Purge::Never,
            purged_revisions: BTreeMap::new(),
        });
        let same_rank = known.answered.entry(rank(attributes)).or_insert_with(|| attributes.clone());
        if same_rank != attributes {
            return Err(format!("I3: two different answers of one version: {same_rank:?} and {attributes:?}"));
        }
        if rank(attributes) > rank(&known.head) {
            known.head = attributes.clone();
        }
        Ok(())
    }

    /// Content was read whole, by a read that began at `floor`.
    pub(super) fn read(&self, floor: Option<&Floor>, file: &File, revision: &RevisionRow, bytes: &[u8]) -> Verdict {
        let attributes = &file.attributes;
        if floor.is_some_and(|floor| floor.purged_revisions.contains(&revision.revision)) {
            return Err(format!("I2: a revision was purged and is there again: {revision:?}"));
        }
        if revision.revision == attributes.revision && revision.sha256 != attributes.sha256 {
            return Err(format!("I3: row and revision differ: {attributes:?} and {revision:?}"));
        }
        match self.bodies.get(&revision.sha256) {
            None => Err(format!("I3: nobody wrote revision {revision:?}")),
            Some(body) if body != bytes => Err(format!("I1: wrong bytes of {revision:?}")),
            Some(_) => Ok(()),
        }
    }

    /// A read says that there is no such file.
    pub(super) fn absent(&self, id: FileId, content: bool) -> Verdict {
        match self.files.get(&id) {
            Some(known) if known.purge == Purge::Never && !(content && known.was_removed) => {
                Err(format!("I1, I9: {id} is answered as absent, but nobody purged it: {known:?}"))
            }
            _ => Ok(()),
        }
    }

    /// Whether anybody ever tried to put it into the trash.
    pub(super) fn was_moved(&self, id: FileId) -> bool {
        self.files.get(&id).is_some_and(|known| known.was_removed)
    }

    /// A list of all files, of which those known at its beginning must be there.
    pub(super) fn listed(&self, begun: &BTreeSet<FileId>, listed: &BTreeSet<FileId>) -> Verdict {
        let missing = begun.difference(listed).find(|id| self.absent(**id, false).is_err());
        missing.map_or(Ok(()), |id| Err(format!("I1, I9: {id} is missing from a list")))
    }

    /// Everything has settled: what there is must be what was acknowledged, and what was not is absent or whole.
    pub(super) fn settled(&self, now: &BTreeMap<FileId, (File, Vec<RevisionRow>)>) -> Verdict {
        for (id, known) in &self.files {
            match now.get(id) {
                None if known.purge == Purge::Never => return Err(format!("I1: {id} is lost: {known:?}")),
                Some((file, _)) if known.purge == Purge::Acknowledged => {
                    return Err(format!("I2: {id} was purged and is there again: {:?}", file.attributes));
                }
                None => {}
                Some((file, revisions)) => known.settled(&file.attributes, revisions, &self.creations)?,
            }
        }
        for (id, (file, revisions)) in now.iter().filter(|(id, _)| !self.files.contains_key(id)) {
            self.discovered(file)?;
            let asked_for = |row: &RevisionRow| self.creations.iter().any(|of| of.sha256 == row.sha256 && of.possible);
            let replaced = self.creations.iter().any(|of| of.on_conflict == OnConflict::Replace);
            if !(revisions.len() == 1 || replaced && revisions.iter().all(asked_for)) {
                return Err(format!("I4: {id} was never answered and has {} revisions", revisions.len()));
            }
        }
        self.made_once(now)?;
        self.made_apart(now)
    }

    /// No create or replace happened twice.
    fn made_once(&self, now: &BTreeMap<FileId, (File, Vec<RevisionRow>)>) -> Verdict {
        let mut seen = BTreeMap::new();
        for row in now.values().flat_map(|(_, revisions)| revisions) {
            if let Some((file, number)) = seen.insert(row.sha256, (row.file, row.revision)) {
                let (other, again) = (row.file, row.revision);
                return Err(format!("I4: one request made both revision {number} of {file} and {again} of {other}"));
            }
        }
        Ok(())
    }

    /// No two live files share a name that only one may have, whoever was told of them.
    fn made_apart(&self, now: &BTreeMap<FileId, (File, Vec<RevisionRow>)>) -> Verdict {
        let heeded = |id: &FileId, revisions: &[RevisionRow]| {
            let first = revisions.iter().find(|row| row.revision == 1);
            let made = first.and_then(|row| self.creations.iter().find(|of| of.sha256 == row.sha256));
            let kept = self.files.get(id).is_none_or(|known| !known.was_removed && !known.was_moved);
            kept && made.is_some_and(Creation::heeds)
        };
        let mut seen = BTreeMap::new();
        for (id, (file, revisions)) in now {
            let Attributes { bucket, name, deleted_at, .. } = &file.attributes;
            let alone = bucket.as_str() == UNIQUE || heeded(id, revisions);
            if deleted_at.is_none()
                && alone
                && let Some(other) = seen.insert((bucket, name), id)
            {
                return Err(format!("N: {other} and {id} are both `{name}` in {bucket}"));
            }
        }
        Ok(())
    }
}

impl Creation {
    /// Whether it had to heed who had its name.
    fn heeds(&self) -> bool {
        self.on_conflict != OnConflict::KeepBoth || self.bucket == UNIQUE
    }
}

impl Known {
    /// Whether a revision was acknowledged and nobody has tried to purge it.
    fn misses(&self, revision: u64) -> bool {
        let asked = self.purged_revisions.get(&revision).map_or(0, |purged| purged.asked);
        self.revisions.contains_key(&revision) && asked == 0
    }

    fn settled(&self, file: &Attributes, revisions: &[RevisionRow], creations: &[Creation]) -> Verdict {
        if rank(file) < rank(&self.head) {
            return Err(format!("I1: lost a change: {:?} was answered, {file:?} is there", self.head));
        }
        if rank(file) == rank(&self.head) && *file != self.head {
            return Err(format!("I3: answered {:?}, but there is {file:?}", self.head));
        }
        let put = |of: &Creation| of.possible && of.on_conflict == OnConflict::Replace && of.sha256 == file.sha256;
        let asked_for = self.open.values().any(|change| change.fits(file)) || creations.iter().any(put);
        if rank(file) > rank(&self.head) && !asked_for {
            return Err(format!("I4: nobody asked for {file:?} after {:?}; open are {:?}", self.head, self.open));
        }
        for (number, sha256) in &self.revisions {
            let there = revisions.iter().find(|row| row.revision == *number);
            if there.map_or(self.misses(*number), |row| row.sha256 != *sha256) {
                return Err(format!(
                    "I1: revision {number} ({sha256}) of {} is lost; there are {revisions:?}",
                    file.id
                ));
            }
        }
        let purged = |row: &&RevisionRow| self.purged_revisions.get(&row.revision).is_some_and(|of| of.acknowledged);
        if let Some(row) = revisions.iter().find(purged) {
            return Err(format!("I2: a revision was purged and is there again: {row:?}"));
        }
        match revisions.last() {
            Some(last) if last.sha256 == file.sha256 && last.key == file.key => Ok(()),
            last => Err(format!("I3: the newest revision is {last:?}, the row is {file:?}")),
        }
    }
}
