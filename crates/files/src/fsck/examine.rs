//! One look at a file or an object: what is wrong with it, as far as this instant tells.

use super::{Check, Mend, Trouble};
use crate::{
    Attributes, Error, FileId, FindingKind, Rank, Result, layout,
    ledger::{CopyRow, CopyState, Entry, FileRow, RevisionRow},
    read::digest_of,
    truth::Reading,
};
use larder_storage_core::Key;
use std::time::Duration;

/// How long a store without staging may hold bytes whose attributes are still to come: longer than any upload may take.
pub(crate) const UPLOADED_WITHIN: Duration = Duration::from_secs(24 * 60 * 60);

/// What lies on one place of one revision.
struct Spot {
    place: usize,
    /// Index of the revision.
    revision: usize,
    reading: Reading,
    bytes: Bytes,
}

/// Attributes where they were found, with their rank, which costs a hash.
struct Held<'a> {
    place: usize,
    key: Key,
    attributes: &'a Attributes,
    rank: Rank,
}

impl<'a> Held<'a> {
    fn new(place: usize, key: Key, attributes: &'a Attributes) -> Self {
        Self { place, key, attributes, rank: attributes.rank() }
    }
}

/// What a look at a copy's bytes tells.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Bytes {
    Absent,
    Good,
    OtherSize(u64),
    OtherHash(String),
    /// There, but the store can't give them while it shows itself.
    Unreadable(String),
}

/// Where good bytes of a revision lie.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Survives {
    Nowhere,
    /// Only on stores that serve no content.
    Archived,
    Served,
}

impl Check<'_> {
    /// Holds a row and its revisions against what lies on every place.
    pub(super) async fn file(&self, row: FileRow) -> Result<Vec<Trouble>> {
        let id = row.attributes.id;
        let revisions = self.node.ledger.revisions(id).await?;
        let mut spots = vec![];
        for (index, revision) in revisions.iter().enumerate() {
            for place in 0..self.node.places.len() {
                spots.push(self.spot(place, index, revision).await?);
            }
        }
        let mut troubles = self.check_head(&row, &revisions, &spots).await?;
        troubles.extend(self.check_sidecars(&row, &revisions, &spots));
        for (index, revision) in revisions.iter().enumerate() {
            let of_this = spots.iter().filter(|spot| spot.revision == index);
            troubles.extend(self.check_copies(&row, revision, of_this));
        }
        Ok(troubles)
    }

    async fn spot(&self, place: usize, index: usize, revision: &RevisionRow) -> Result<Spot> {
        let at = &self.node.places[place];
        let reading = match revision.key.with_suffix(Attributes::SUFFIX) {
            Ok(sidecar) => match at.attributes_at(&sidecar).await? {
                Reading::Valid(found) if found.id != revision.file => {
                    Reading::Broken(format!("they are of file {}", found.id))
                }
                reading => reading,
            },
            Err(error) => Reading::Broken(error.to_string()),
        };
        let known = revision.copies.iter().find(|copy| copy.store == at.id).map(|copy| copy.state);
        let hashed = self.options.verify || known == Some(CopyState::Lost);
        Ok(Spot { place, revision: index, reading, bytes: self.bytes(place, revision, hashed).await? })
    }

    /// A bad read is read twice before it counts, and an outage is no loss.
    async fn bytes(&self, place: usize, revision: &RevisionRow, hashed: bool) -> Result<Bytes> {
        let look = || self.node.places[place].insist(|| self.bytes_once(place, revision, hashed));
        match look().await? {
            Ok(good @ (Bytes::Good | Bytes::Absent)) => Ok(good),
            _ => Ok(look().await?.unwrap_or_else(|error| Bytes::Unreadable(crate::truth::chain(&error)))),
        }
    }

    async fn bytes_once(
        &self,
        place: usize,
        revision: &RevisionRow,
        hashed: bool,
    ) -> larder_storage_core::Result<Bytes> {
        let at = &self.node.places[place];
        match at.size_of(&revision.key).await? {
            None => return Ok(Bytes::Absent),
            Some(size) if size != revision.size => return Ok(Bytes::OtherSize(size)),
            Some(_) => {}
        }
        if !hashed || !at.mode.serves_content() {
            return Ok(Bytes::Good);
        }
        let found = digest_of(at, revision).await?;
        *self.verified.lock().expect("nothing panics while it holds this lock") += revision.size;
        Ok(if found == revision.sha256 { Bytes::Good } else { Bytes::OtherHash(found.to_string()) })
    }

    /// The row against the highest attributes: they must be the same.
    async fn check_head(&self, row: &FileRow, revisions: &[RevisionRow], spots: &[Spot]) -> Result<Vec<Trouble>> {
        let (own, id) = (row.attributes.rank(), row.attributes.id);
        let beside = spots.iter().filter_map(|spot| Some((spot.place, spot.attributes()?)));
        let mut found: Vec<Held<'_>> = beside.map(|(place, held)| Held::new(place, held.sidecar(), held)).collect();
        let overlays = match found.iter().any(|held| held.rank == own) {
            true => vec![],
            false => self.overlays_at(&row.attributes).await?,
        };
        found.extend(overlays.iter().map(|(place, key, attributes)| Held::new(*place, key.clone(), attributes)));
        let Some(Held { rank, attributes: highest, .. }) = found.iter().max_by_key(|held| held.rank) else {
            return Ok(self.no_attributes(row, spots).into_iter().collect());
        };
        let mut troubles = self.conflicts(highest, *rank, &found).await?;
        let rank = *rank;
        let known = revisions.iter().any(|revision| revision.revision == highest.revision);
        if rank > own || (rank == own && !known) {
            let entry = Entry::Attributes { attributes: Box::new((*highest).clone()), copies: vec![] };
            let detail =
                format!("the row is at version {}, the stores are at {}", row.attributes.version, highest.version);
            troubles.push(self.row_differs(&highest.sidecar(), id, detail, Mend::Record(vec![entry])));
        } else if (rank.epoch, rank.version) == (own.epoch, own.version) && rank != own {
            let detail = "the row says something else than the attributes of its version";
            troubles.push(self.row_differs(&highest.sidecar(), id, detail.into(), Mend::Reindex(id)));
        } else if rank < own {
            // It was answered, so it was durable once: what a store has lost since is written again.
            let detail = format!("version {} is on no store, the highest there is {}", own.version, rank.version);
            troubles.push(self.attributes_missing(self.place_for(row, spots), row.attributes.clone(), detail));
        }
        if troubles.is_empty() {
            troubles = self.check_older(row, revisions, spots).await?;
        }
        Ok(troubles)
    }

    /// Where the row says nothing else, the newest attributes are known on each store that takes changes: beside the newest bytes, or as
    /// an overlay. Those of a store that was brought back from an older copy are not, nor those of one that took no changes when they were made.
    async fn check_older(&self, row: &FileRow, revisions: &[RevisionRow], spots: &[Spot]) -> Result<Vec<Trouble>> {
        let own = &row.attributes;
        let mut troubles = vec![];
        for spot in spots {
            let (revision, at) = (&revisions[spot.revision], &self.node.places[spot.place]);
            let Some(held) = spot.attributes().filter(|held| held.rank() < own.rank()) else { continue };
            if revision.revision != own.revision || !at.mode.changes() {
                continue;
            }
            let is_current = |copy: &&CopyRow| copy.store == at.id && copy.state == CopyState::Verified;
            let Some(copy) = revision.copies.iter().find(is_current) else { continue };
            if at.has_over(own).await? {
                continue;
            }
            let detail = format!("version {} on `{}`, {} is the newest", held.version, at.name, own.version);
            // Noted as behind: who carries changes writes it there, as any that a store has missed.
            let behind = CopyRow { state: CopyState::Present, ..copy.clone() };
            let noted = Entry::Copies { file: own.id, revision: own.revision, copies: vec![behind] };
            troubles.push(self.row_differs(&held.sidecar(), own.id, detail, Mend::Record(vec![noted])));
        }
        Ok(troubles)
    }

    /// The overlays of exactly this version.
    async fn overlays_at(&self, own: &Attributes) -> Result<Vec<(usize, Key, Attributes)>> {
        let key = layout::overlay(own.id, own.epoch, own.version);
        let mut found = vec![];
        for (place, at) in self.node.places.iter().enumerate() {
            if let Reading::Valid(attributes) = at.attributes_at(&key).await? {
                found.push((place, key.clone(), *attributes));
            }
        }
        Ok(found)
    }

    /// A file none of whose attributes can be read anywhere, and whose bytes are nowhere either: what lies beside bytes
    /// tells the rest.
    fn no_attributes(&self, row: &FileRow, spots: &[Spot]) -> Option<Trouble> {
        let told = spots.iter().any(|spot| matches!(spot.reading, Reading::Broken(_)) || spot.bytes != Bytes::Absent);
        let place = self.place_for(row, spots);
        (!told).then(|| self.attributes_missing(place, row.attributes.clone(), "they are on no store".into()))
    }

    /// Two that differ and have one version: the winner is written over the other. Where a store can't replace what lies there, the winner
    /// lies over it as an overlay, and that is right.
    async fn conflicts(&self, highest: &Attributes, rank: Rank, found: &[Held<'_>]) -> Result<Vec<Trouble>> {
        let same_version = |other: Rank| (other.epoch, other.version) == (rank.epoch, rank.version);
        let mut troubles = vec![];
        for Held { place, key, .. } in found.iter().filter(|held| same_version(held.rank) && held.rank != rank) {
            let at = &self.node.places[*place];
            let is_beside = *key == highest.sidecar();
            if is_beside && at.store.staging().is_none() && at.has_over(highest).await? {
                continue;
            }
            let mend = match is_beside {
                true => Mend::Attributes { place: *place, attributes: Box::new(highest.clone()) },
                false => Mend::Quarantine(vec![(*place, key.clone())]),
            };
            let detail = format!("two different ones of version {}", highest.version);
            troubles.push(Trouble::new(FindingKind::AttributesConflict, Some(key), Some(highest.id), detail, mend));
        }
        Ok(troubles)
    }

    /// Attributes lie beside each copy of the bytes, and say of the revision what its row says.
    fn check_sidecars(&self, row: &FileRow, revisions: &[RevisionRow], spots: &[Spot]) -> Vec<Trouble> {
        let mut troubles = vec![];
        for spot in spots {
            let revision = &revisions[spot.revision];
            let right = || attributes_of(row, revision, spots);
            match &spot.reading {
                Reading::Absent if spot.bytes == Bytes::Absent => {}
                Reading::Absent if self.is_to_be_made(row, revision, spot.place) => {
                    self.leave_alone(spot.place, right())
                }
                Reading::Absent => {
                    let detail = "the bytes are there, their attributes are not".into();
                    troubles.push(self.attributes_missing(spot.place, right(), detail));
                }
                Reading::Broken(why) => troubles.push(self.attributes_broken(spot.place, right(), why)),
                Reading::Valid(found) if describes(found, revision) => {}
                Reading::Valid(found) => {
                    let detail =
                        format!("the row of revision {} says something else than the attributes", found.revision);
                    troubles.push(self.row_differs(&found.sidecar(), found.id, detail, Mend::Reindex(found.id)));
                }
            }
        }
        troubles
    }

    /// The copies of a revision, as the row has them, against the bytes.
    fn check_copies<'s>(
        &self,
        row: &FileRow,
        revision: &RevisionRow,
        spots: impl Iterator<Item = &'s Spot>,
    ) -> Vec<Trouble> {
        let spots: Vec<&Spot> = spots.collect();
        let good = spots.iter().find(|spot| spot.bytes == Bytes::Good).map(|spot| spot.place);
        let serves = |spot: &Spot| spot.bytes == Bytes::Good && self.node.places[spot.place].mode.serves_content();
        let survives = match good {
            None => Survives::Nowhere,
            Some(_) if spots.iter().any(|spot| serves(spot)) => Survives::Served,
            Some(_) => Survives::Archived,
        };
        let mut troubles: Vec<Trouble> =
            spots.iter().filter_map(|spot| self.check_copy(row, revision, spot, survives)).collect();
        // A good copy must be counted before others can be made from it.
        troubles.sort_by_key(|trouble| matches!(trouble.mend, Mend::Copy { .. }));
        // A store that was not read may have the bytes.
        let all_read = self.node.unread.is_empty();
        if good.is_none() && troubles.is_empty() && (all_read || !revision.copies.is_empty()) {
            let known = revision.copies.iter().filter(|copy| copy.state != CopyState::Dropping);
            let marks = known.map(|copy| CopyRow { state: CopyState::Lost, ..copy.clone() });
            let copies = Entry::Copies { file: revision.file, revision: revision.revision, copies: marks.collect() };
            let detail = format!(
                "revision {} of {} bytes is whole on no store: put right ones back at its key, from a backup or from \
                 `.larder/quarantine/`, then repair",
                revision.revision, revision.size
            );
            let mend = Mend::Record(vec![copies]);
            let id = Some(revision.file);
            troubles.push(Trouble::new(FindingKind::BytesMissing, Some(&revision.key), id, detail, mend));
        }
        if good.is_none()
            && all_read
            && let Some(trouble) = troubles.first_mut()
        {
            trouble.lost = true;
        }
        troubles
    }

    /// What is wrong with the copy on one place.
    fn check_copy(&self, row: &FileRow, revision: &RevisionRow, spot: &Spot, survives: Survives) -> Option<Trouble> {
        let place = &self.node.places[spot.place];
        let known = revision.copies.iter().find(|copy| copy.store == place.id).map(|copy| copy.state);
        if known == Some(CopyState::Dropping) {
            if spot.bytes == Bytes::Good || survives != Survives::Served || !self.is_wanted(row, spot.place) {
                return None;
            }
            let detail =
                format!("a copy on `{}` was dropped, and is made anew once nothing of that is on its way", place.name);
            let (kind, id) = (FindingKind::CopyWanted, Some(revision.file));
            return Some(Trouble::new(kind, Some(&revision.key), id, detail, Mend::Nothing));
        }
        let is_missing = match known {
            Some(CopyState::Lost) => spot.bytes == Bytes::Absent && self.is_wanted(row, spot.place),
            _ => self.is_to_be_made(row, revision, spot.place),
        };
        let again = || Mend::Copy { place: spot.place, revision: Box::new(revision.clone()) };
        let (kind, detail, mend) = match &spot.bytes {
            // From an archive none is made.
            Bytes::Good | Bytes::Absent if is_missing && survives == Survives::Served => {
                (FindingKind::CopyWanted, format!("a copy on `{}` is yet to be made", place.name), again())
            }
            // What lies in an archive was not read.
            Bytes::Good if known == Some(CopyState::Lost) && !place.mode.serves_content() => return None,
            Bytes::Good if matches!(known, None | Some(CopyState::Lost)) => {
                let copies = vec![self.copy(spot.place, CopyState::Present)];
                let entry = Entry::Copies { file: revision.file, revision: revision.revision, copies };
                let detail = format!("a copy on `{}` that the row does not count", place.name);
                (FindingKind::RowDiffers, detail, Mend::Record(vec![entry]))
            }
            Bytes::Absent
                if matches!(known, Some(CopyState::Present | CopyState::Verified)) && survives != Survives::Nowhere =>
            {
                let copies = vec![self.copy(spot.place, CopyState::Lost)];
                let lost = Entry::Copies { file: revision.file, revision: revision.revision, copies };
                let mend = if survives == Survives::Served { again() } else { Mend::Record(vec![lost]) };
                (FindingKind::RowDiffers, format!("the row counts a copy on `{}` that is gone", place.name), mend)
            }
            Bytes::Good | Bytes::Absent => return None,
            Bytes::OtherSize(size) => {
                let detail = format!("{size} bytes on `{}`, {} are right", place.name, revision.size);
                (FindingKind::SizeMismatch, detail, again())
            }
            Bytes::OtherHash(hash) => {
                let detail = format!("SHA-256 {hash} on `{}`, {} is right", place.name, revision.sha256);
                (FindingKind::HashMismatch, detail, again())
            }
            Bytes::Unreadable(why) => {
                let detail = format!("the bytes on `{}` can't be read: {why}", place.name);
                (FindingKind::HashMismatch, detail, if survives != Survives::Nowhere { again() } else { Mend::Nothing })
            }
        };
        Some(Trouble::new(kind, Some(&revision.key), Some(revision.file), detail, mend))
    }

    fn row_differs(&self, key: &Key, id: FileId, detail: String, mend: Mend) -> Trouble {
        Trouble::new(FindingKind::RowDiffers, Some(key), Some(id), detail, mend)
    }

    /// Whether a copy is the reconciler's to make, which may have begun: bytes come first, then attributes, then the row.
    fn is_to_be_made(&self, row: &FileRow, revision: &RevisionRow, place: usize) -> bool {
        let known = revision.copies.iter().find(|copy| copy.store == self.node.places[place].id);
        known.is_none_or(|copy| copy.state == CopyState::Pending) && self.is_wanted(row, place)
    }

    /// Whether the placement wants a copy on a place that takes one.
    fn is_wanted(&self, row: &FileRow, place: usize) -> bool {
        self.node.places[place].mode.creates() && self.node.wants_copy(&row.attributes.bucket, place)
    }

    /// What is missing there is somebody's business, and not told again by the bytes.
    fn leave_alone(&self, place: usize, right: Attributes) {
        self.lacking.lock().expect("nothing panics while it holds this lock").insert((place, right.sidecar()));
    }

    fn attributes_missing(&self, place: usize, right: Attributes, detail: String) -> Trouble {
        self.attributes_lack(FindingKind::AttributesMissing, place, right, detail)
    }

    fn attributes_broken(&self, place: usize, right: Attributes, why: &str) -> Trouble {
        self.attributes_lack(FindingKind::AttributesBroken, place, right, why.to_owned())
    }

    fn attributes_lack(&self, kind: FindingKind, place: usize, right: Attributes, detail: String) -> Trouble {
        let key = right.sidecar();
        self.lacking.lock().expect("nothing panics while it holds this lock").insert((place, key.clone()));
        let id = Some(right.id);
        Trouble::new(kind, Some(&key), id, detail, Mend::Attributes { place, attributes: Box::new(right) })
    }

    /// Where attributes that lie nowhere are best written: beside the newest bytes, else on the first store that takes
    /// changes.
    fn place_for(&self, row: &FileRow, spots: &[Spot]) -> usize {
        let takes = |place: usize| self.node.places[place].mode.changes();
        let copies = row.copies.iter().filter_map(|copy| self.node.place(copy.store).map(|(place, _)| place));
        let beside = spots.iter().rev().filter(|spot| spot.bytes != Bytes::Absent).map(|spot| spot.place);
        beside.chain(copies).chain(0..self.node.places.len()).find(|place| takes(*place)).unwrap_or(0)
    }

    /// An object against the rows.
    pub(super) async fn object(&self, place: usize, key: &Key) -> Result<Vec<Trouble>> {
        if layout::overlays().contains(key) {
            return self.attributes_object(place, key, None).await;
        }
        match key.as_str().strip_suffix(Attributes::SUFFIX).and_then(|bytes| Key::new(bytes).ok()) {
            Some(bytes) => self.attributes_object(place, key, Some(bytes)).await,
            None => self.bytes_object(place, key).await,
        }
    }

    /// Bytes must have attributes beside them.
    async fn bytes_object(&self, place: usize, key: &Key) -> Result<Vec<Trouble>> {
        let at = &self.node.places[place];
        let Some(parsed) = layout::parse(key) else { return self.foreign(place, key).await };
        let Ok(sidecar) = key.with_suffix(Attributes::SUFFIX) else { return self.foreign(place, key).await };
        if at.size_of(&sidecar).await?.is_some() || self.is_lacking(place, &sidecar) || at.size_of(key).await?.is_none()
        {
            return Ok(vec![]);
        }
        if !self.is_abandoned(place, key).await? || at.size_of(&sidecar).await?.is_some() {
            return Ok(vec![]);
        }
        let detail = format!("bytes without attributes in `{}` of `{}`", parsed.bucket, parsed.owner);
        let mend = Mend::Orphan { place, key: key.clone() };
        Ok(vec![Trouble::new(FindingKind::OrphanBytes, Some(key), None, detail, mend)])
    }

    async fn foreign(&self, place: usize, key: &Key) -> Result<Vec<Trouble>> {
        if self.node.places[place].size_of(key).await?.is_none() {
            return Ok(vec![]);
        }
        let detail = "not made by this installation; left where it is";
        Ok(vec![Trouble::new(FindingKind::Foreign, Some(key), None, detail, Mend::Nothing)])
    }

    /// Attributes must be of a file that the rows know, and not above its row. `bytes` is where their bytes lie; `None`
    /// of overlays.
    async fn attributes_object(&self, place: usize, key: &Key, bytes: Option<Key>) -> Result<Vec<Trouble>> {
        if self.is_lacking(place, key) {
            return Ok(vec![]);
        }
        let pair: Vec<(usize, Key)> = bytes.iter().chain([key]).map(|key| (place, key.clone())).collect();
        match self.node.places[place].attributes_at(key).await? {
            Reading::Absent => Ok(vec![]),
            Reading::Valid(found) => self.against_rows(place, key, pair, &found).await,
            Reading::Broken(_) if bytes.is_some_and(|bytes| layout::parse(&bytes).is_none()) => {
                self.foreign(place, key).await
            }
            Reading::Broken(why) => {
                Ok(vec![Trouble::new(FindingKind::AttributesBroken, Some(key), None, why, Mend::Quarantine(pair))])
            }
        }
    }

    async fn against_rows(
        &self,
        place: usize,
        key: &Key,
        pair: Vec<(usize, Key)>,
        found: &Attributes,
    ) -> Result<Vec<Trouble>> {
        let (id, is_overlay) = (Some(found.id), layout::overlays().contains(key));
        let revision = self.node.ledger.revision(found.id, found.revision).await?;
        if !is_overlay && revision.as_ref().is_some_and(|revision| revision.key == found.key) {
            // What lies beside the bytes of a known revision was held against the row when the rows were walked.
            return Ok(vec![]);
        }
        if self.node.is_purged(found).await? {
            // A store that takes no changes keeps what was purged, and nobody can read it.
            let kept = !self.node.places[place].mode.changes();
            let trouble =
                Trouble::new(FindingKind::OrphanAttributes, Some(key), id, "it was purged", Mend::Delete(pair));
            return Ok(if kept { vec![] } else { vec![trouble] });
        }
        if self.node.ledger.tombstone(found.id, Some(found.revision)).await?.is_some() {
            let detail = format!("revision {} was purged, and lay under another key", found.revision);
            let mend = Mend::Quarantine(pair);
            return Ok(vec![Trouble::new(FindingKind::OrphanAttributes, Some(key), id, detail, mend)]);
        }
        let row = self.node.ledger.file(found.id).await?;
        let rank = found.rank();
        if let Some(row) = &row
            && let Some(trouble) = self.overlay_conflicts(place, key, found, row)
        {
            return Ok(vec![trouble]);
        }
        let news = match (&row, &revision) {
            (None, _) => Some("a file that has no row"),
            (Some(_), None) => Some("a revision that has no row"),
            (Some(row), _) if rank > row.attributes.rank() => Some("attributes above the row's"),
            _ => None,
        };
        if let Some(detail) = news {
            if !is_overlay && self.is_being_uploaded(place, &found.key).await? {
                return Ok(vec![]);
            }
            let copies = self.node.places[place].copy_of(found).await?.into_iter().collect();
            let mend = Mend::Record(vec![Entry::Attributes { attributes: Box::new(found.clone()), copies }]);
            return Ok(vec![Trouble::new(FindingKind::RowDiffers, Some(key), id, detail, mend)]);
        }
        if revision.is_some_and(|revision| revision.key != found.key) {
            let detail = format!("revision {} lies under another key", found.revision);
            return Ok(vec![Trouble::new(
                FindingKind::OrphanAttributes,
                Some(key),
                id,
                detail,
                Mend::Quarantine(pair),
            )]);
        }
        Ok(vec![])
    }

    /// An overlay that differs from its row although both have one version: the loser goes.
    fn overlay_conflicts(&self, place: usize, key: &Key, found: &Attributes, row: &FileRow) -> Option<Trouble> {
        let (rank, own) = (found.rank(), row.attributes.rank());
        if !layout::overlays().contains(key) || (rank.epoch, rank.version) != (own.epoch, own.version) || rank == own {
            return None;
        }
        let mend = if rank > own {
            let entry = Entry::Attributes { attributes: Box::new(found.clone()), copies: vec![] };
            let beside = Mend::Attributes { place: self.place_for(row, &[]), attributes: Box::new(found.clone()) };
            Mend::Both(Box::new([Mend::Record(vec![entry]), beside]))
        } else {
            Mend::Quarantine(vec![(place, key.clone())])
        };
        let detail = format!("two different ones of version {}", rank.version);
        Some(Trouble::new(FindingKind::AttributesConflict, Some(key), Some(found.id), detail, mend))
    }

    fn is_lacking(&self, place: usize, sidecar: &Key) -> bool {
        self.lacking.lock().expect("nothing panics while it holds this lock").contains(&(place, sidecar.clone()))
    }

    /// Whether nobody can give bytes their attributes any more: no operation has them staged. Where nothing is staged no intent
    /// is of them, and they have waited for longer than any upload lets them, by the store's own clock: against an object written
    /// there just now; a database that was lost took its intents with it.
    pub(super) async fn is_abandoned(&self, place: usize, key: &Key) -> Result<bool> {
        let store = &self.node.places[place].store;
        if let Some(staging) = store.staging() {
            return Ok(!staging.holds(key).await?);
        }
        if self.is_being_uploaded(place, key).await? {
            return Ok(false);
        }
        let random = larder_storage_core::OpId::from_random(self.node.environment.random());
        let probe = Key::new(format!(".larder/probes/{random}")).expect("made of a token");
        store.put(&probe, "".into(), larder_storage_core::PutOptions::create()).await?;
        let now = store.head(&probe).await.map(|meta| meta.modified);
        store.delete(&probe).await?;
        let written = match store.head(key).await {
            Err(error) if error.is_not_found() => return Ok(false),
            head => head?.modified,
        };
        Ok(now?.duration_since(written).is_ok_and(|age| age >= UPLOADED_WITHIN))
    }

    /// A file's rows anew, from all that lies on the stores; of what lies there no longer, from the rows themselves.
    /// To be recorded under the claim that this was read under.
    pub(super) async fn rows_anew(&self, id: FileId) -> Result<Vec<Entry>> {
        let row = self.node.ledger.file(id).await?.ok_or(Error::NotFound("file"))?;
        let revisions = self.node.ledger.revisions(id).await?;
        let keys: Vec<Key> = revisions.iter().map(|revision| revision.key.clone()).collect();
        let found = self.node.truth(id, &keys).await?.found;
        let mut told: Vec<Attributes> = found.into_iter().map(|found| found.attributes).collect();
        let untold = |revision: &&RevisionRow| !told.iter().any(|found| found.key == revision.key);
        let kept: Vec<_> = revisions.iter().filter(untold).map(|revision| attributes_of(&row, revision, &[])).collect();
        let own = (row.attributes.epoch, row.attributes.version);
        // It was answered, so it was durable once.
        let is_ahead = told.iter().all(|found| (found.epoch, found.version) < own);
        told.extend(kept.into_iter().chain(is_ahead.then_some(row.attributes)));
        let entry = |attributes: Attributes| {
            let revision = revisions.iter().find(|revision| revision.key == attributes.key);
            let copies = revision.map(|revision| revision.copies.clone()).unwrap_or_default();
            Entry::Attributes { attributes: Box::new(attributes), copies }
        };
        Ok([Entry::Forget(id)].into_iter().chain(told.into_iter().map(entry)).collect())
    }
}

impl Spot {
    fn attributes(&self) -> Option<&Attributes> {
        match &self.reading {
            Reading::Valid(attributes) => Some(attributes),
            _ => None,
        }
    }
}

/// Whether attributes say of their revision what its row says.
fn describes(attributes: &Attributes, row: &RevisionRow) -> bool {
    let said =
        (attributes.revision, attributes.size, attributes.sha256, attributes.crc64nvme, &attributes.content_type);
    said == (row.revision, row.size, row.sha256, row.crc64nvme, &row.content_type)
        && attributes.revised_at == row.revised_at
}

/// What should lie beside a revision's bytes: the highest that lies beside another copy, else what the rows say. Of an
/// old revision they say less than was there, and it ranks below all others.
fn attributes_of(row: &FileRow, revision: &RevisionRow, spots: &[Spot]) -> Attributes {
    if revision.revision == row.attributes.revision {
        return row.attributes.clone();
    }
    let others = spots.iter().filter_map(Spot::attributes).filter(|other| other.key == revision.key);
    if let Some(other) = others.max_by_key(|other| other.rank()) {
        return other.clone();
    }
    Attributes {
        key: revision.key.clone(),
        revision: revision.revision,
        epoch: 0,
        version: 1,
        size: revision.size,
        sha256: revision.sha256,
        crc64nvme: revision.crc64nvme,
        content_type: revision.content_type.clone(),
        revised_at: revision.revised_at,
        updated_at: revision.revised_at,
        deleted_at: None,
        created_by_key: None,
        ..row.attributes.clone()
    }
}
