//! Rows to words of `larder-files`, and back. What a row holds that no version of Larder wrote is an error, never a guess.

use crate::entity::{claims, copies, directs, files, intents, meta, missed, reservations, revisions, sessions, tags};
use larder_files::{
    Attributes, BucketId, DirectId, FileId, Key, NodeId, Rank, SessionId, Sha256, StoreId, Timestamp, Tombstone,
    UserId, canonical,
    ledger::{
        Claim, CopyRow, CopyState, DirectUpload, Identity, Intent, IntentState, LedgerError, Made, Missed, Purpose,
        RecordId, Reservation, Result, RevisionRow, Session, Upload, folded,
    },
};
use sea_orm::DbErr;
use serde::{Serialize, de::DeserializeOwned};
use std::{collections::BTreeSet, time::Duration};
use uuid::Uuid;

/// Numbers that SQL can't hold.
pub(crate) struct Wide;

impl Wide {
    /// Refuses what is more than an `i64`.
    pub(crate) fn check(numbers: &[u64]) -> Result<()> {
        match numbers.iter().find(|number| i64::try_from(**number).is_err()) {
            Some(number) => Err(LedgerError::Internal(format!("{number} is more than the ledger can hold").into())),
            None => Ok(()),
        }
    }
}

/// A number that [`Wide::check`] let pass.
pub(crate) fn int(number: u64) -> i64 {
    number.cast_signed()
}

pub(crate) fn wrong(what: &str) -> DbErr {
    DbErr::Type(format!("the ledger holds {what} that can't be read"))
}

pub(crate) fn digest(bytes: &[u8]) -> Result<Sha256, DbErr> {
    bytes.try_into().map(Sha256).map_err(|_| wrong("a digest"))
}

pub(crate) fn rank(epoch: i64, version: i64, hash: &[u8]) -> Result<Rank, DbErr> {
    Ok(Rank { epoch: epoch.cast_unsigned(), version: version.cast_unsigned(), digest: digest(hash)? })
}

pub(crate) fn text(bytes: Vec<u8>) -> String {
    String::from_utf8(bytes).expect("canonical JSON is UTF-8")
}

pub(crate) fn record<T: DeserializeOwned>(text: &str) -> Result<T, DbErr> {
    serde_json::from_str(text).map_err(|error| DbErr::Json(error.to_string()))
}

pub(crate) fn record_text(record: &impl Serialize) -> String {
    text(canonical(&serde_json::to_value(record).expect("a record holds only what JSON has")))
}

pub(crate) fn tombstone(text: &str) -> Result<Tombstone, DbErr> {
    Tombstone::from_bytes(text.as_bytes()).ok_or_else(|| wrong("a tombstone"))
}

fn node(text: &str) -> Result<NodeId, DbErr> {
    NodeId::new(text).ok_or_else(|| wrong("a node"))
}

pub(crate) fn identity(row: &meta::Model) -> Result<Identity, DbErr> {
    Ok(Identity {
        instance: row.instance,
        epoch: row.epoch.cast_unsigned(),
        mark: row.mark.cast_unsigned(),
        stores: record(&row.stores)?,
        marks: record(&row.marks)?,
    })
}

/// The last numbers given: of claims and of intents.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Last {
    pub(crate) claims: u64,
    pub(crate) intents: u64,
}

pub(crate) fn meta_row(identity: &Identity, last: Last) -> meta::Model {
    meta::Model {
        id: 1,
        instance: identity.instance,
        epoch: int(identity.epoch),
        mark: int(identity.mark),
        stores: record_text(&identity.stores),
        claims: int(last.claims),
        intents: int(last.intents),
        marks: record_text(&identity.marks),
    }
}

pub(crate) fn file_row(rank: Rank, attributes: &Attributes) -> files::Model {
    files::Model {
        id: attributes.id.0,
        epoch: int(rank.epoch),
        version: int(rank.version),
        digest: rank.digest.0.to_vec(),
        revision: int(attributes.revision),
        bucket_id: attributes.bucket_id.0,
        owner_id: attributes.owner_id.0,
        name: attributes.name.clone(),
        name_folded: folded(&attributes.name),
        deleted: attributes.deleted_at.is_some(),
        attributes: text(attributes.to_bytes()),
        size: int(attributes.size),
        content_type: attributes.content_type.clone(),
    }
}

/// A tag that is given twice is one.
pub(crate) fn tag_rows(attributes: &Attributes) -> Vec<tags::Model> {
    let tags: BTreeSet<_> = attributes.tags.iter().cloned().collect();
    let row = |tag| tags::Model { tag, file_id: attributes.id.0, owner_id: attributes.owner_id.0 };
    tags.into_iter().map(row).collect()
}

pub(crate) fn revision_row(rank: Rank, attributes: &Attributes) -> revisions::Model {
    revisions::Model {
        file_id: attributes.id.0,
        revision: int(attributes.revision),
        epoch: int(rank.epoch),
        version: int(rank.version),
        digest: rank.digest.0.to_vec(),
        key: attributes.key.to_string(),
        size: int(attributes.size),
        sha256: attributes.sha256.0.to_vec(),
        crc64nvme: attributes.crc64nvme.cast_signed(),
        content_type: attributes.content_type.clone(),
        revised_at: attributes.revised_at.as_millis(),
    }
}

pub(crate) fn revision(row: revisions::Model, copies: Vec<CopyRow>) -> Result<RevisionRow, DbErr> {
    Ok(RevisionRow {
        file: FileId(row.file_id),
        revision: row.revision.cast_unsigned(),
        key: Key::new(&row.key).map_err(|_| wrong("a key"))?,
        size: row.size.cast_unsigned(),
        sha256: digest(&row.sha256)?,
        crc64nvme: row.crc64nvme.cast_unsigned(),
        content_type: row.content_type,
        revised_at: Timestamp::from_millis(row.revised_at),
        copies,
    })
}

const STATES: [CopyState; 5] =
    [CopyState::Pending, CopyState::Present, CopyState::Verified, CopyState::Dropping, CopyState::Lost];

/// The number of a copy's state.
fn copy_state(state: CopyState) -> i64 {
    int(STATES.iter().position(|known| *known == state).expect("every state is listed") as u64)
}

pub(crate) fn copy_row(file: FileId, revision: u64, copy: &CopyRow) -> copies::Model {
    copies::Model {
        file_id: file.0,
        revision: int(revision),
        store_id: copy.store.0,
        state: copy_state(copy.state),
        verified_at: copy.verified_at.map(Timestamp::as_millis),
    }
}

fn copy(store: Uuid, state: i64, verified_at: Option<i64>) -> Option<CopyRow> {
    let state = *STATES.get(usize::try_from(state).ok()?)?;
    Some(CopyRow { store: StoreId(store), state, verified_at: verified_at.map(Timestamp::from_millis) })
}

pub(crate) fn copy_of_row(row: &copies::Model) -> Result<CopyRow, DbErr> {
    copy(row.store_id, row.state, row.verified_at).ok_or_else(|| wrong("a copy"))
}

/// Copies as one text, so that a file and its copies are one row of one statement: `<store in hex>:<state>:<verified_at>`,
/// divided by spaces.
pub(crate) fn copies_of(text: Option<&str>) -> Result<Vec<CopyRow>, DbErr> {
    let one = |text: &str| {
        let mut parts = text.split(':');
        let store = Uuid::parse_str(parts.next()?).ok()?;
        let state = parts.next()?.parse().ok()?;
        let at = parts.next().filter(|at| !at.is_empty()).map(str::parse).transpose().ok()?;
        copy(store, state, at)
    };
    let mut copies = text.unwrap_or_default().split_ascii_whitespace().map(one).collect::<Option<Vec<_>>>();
    copies.iter_mut().for_each(|copies| copies.sort_by_key(|copy| copy.store));
    copies.ok_or_else(|| wrong("a copy"))
}

pub(crate) fn claim_row(claim: &Claim) -> claims::Model {
    claims::Model {
        id: int(claim.id),
        file_id: claim.file.0,
        purge: claim.purpose != Purpose::Change,
        purge_revision: claim.purpose.revision().map(int),
        node: claim.node.to_string(),
        version: int(claim.version),
        revision: int(claim.revision),
        opened_at: claim.opened_at.as_millis(),
    }
}

pub(crate) fn claim(row: claims::Model) -> Result<Claim, DbErr> {
    Ok(Claim {
        id: row.id.cast_unsigned(),
        file: FileId(row.file_id),
        purpose: match (row.purge, row.purge_revision) {
            (false, _) => Purpose::Change,
            (true, None) => Purpose::Purge,
            (true, Some(revision)) => Purpose::PurgeRevision(revision.cast_unsigned()),
        },
        node: node(&row.node)?,
        version: row.version.cast_unsigned(),
        revision: row.revision.cast_unsigned(),
        opened_at: Timestamp::from_millis(row.opened_at),
    })
}

const INTENT_STATES: [IntentState; 3] = [IntentState::Pending, IntentState::Recovering, IntentState::Failed];

pub(crate) fn missed_row(missed: &Missed) -> missed::Model {
    let (kind, id, revision) = match missed.record {
        RecordId::Tombstone(file, revision) => (0, file.0, revision.unwrap_or(0)),
        RecordId::User(user) => (1, user.0, 0),
        RecordId::Bucket(bucket) => (2, bucket.0, 0),
        RecordId::Clearing(file, revision) => (3, file.0, revision.unwrap_or(0)),
    };
    let (epoch, version) = (int(missed.epoch), int(missed.version));
    missed::Model { store_id: missed.store.0, kind, id, revision: int(revision), epoch, version }
}

pub(crate) fn missed(row: &missed::Model) -> Result<Missed, DbErr> {
    let revision = Some(row.revision.cast_unsigned()).filter(|revision| *revision > 0);
    let record = match row.kind {
        0 => RecordId::Tombstone(FileId(row.id), revision),
        1 => RecordId::User(UserId(row.id)),
        2 => RecordId::Bucket(BucketId(row.id)),
        3 => RecordId::Clearing(FileId(row.id), revision),
        _ => return Err(wrong("a kind of record")),
    };
    let (epoch, version) = (row.epoch.cast_unsigned(), row.version.cast_unsigned());
    Ok(Missed { store: StoreId(row.store_id), record, epoch, version })
}

pub(crate) fn intent_row(intent: &Intent) -> intents::Model {
    let state = INTENT_STATES.iter().position(|state| *state == intent.state).expect("every state is listed");
    let Upload { store, key, idempotency, revision, claim, lease, until } = &intent.upload;
    intents::Model {
        id: int(intent.id),
        fence: int(intent.fence),
        state: int(state as u64),
        node: intent.node.to_string(),
        store_id: store.0,
        key: key.to_string(),
        idempotency: idempotency.map(|key| key.0.to_vec()),
        file_id: revision.map(|(file, _)| file.0),
        revision: revision.map(|(_, revision)| int(revision)),
        claim: claim.map(int),
        lease: i64::try_from(lease.as_millis()).unwrap_or(i64::MAX),
        until: until.as_millis(),
    }
}

pub(crate) fn intent(row: intents::Model) -> Result<Intent, DbErr> {
    let state = usize::try_from(row.state).ok().and_then(|at| INTENT_STATES.get(at));
    let revision = row.file_id.zip(row.revision).map(|(file, revision)| (FileId(file), revision.cast_unsigned()));
    let upload = Upload {
        store: StoreId(row.store_id),
        key: Key::new(&row.key).map_err(|_| wrong("a key"))?,
        idempotency: row.idempotency.as_deref().map(digest).transpose()?,
        revision,
        claim: row.claim.map(i64::cast_unsigned),
        lease: Duration::from_millis(row.lease.cast_unsigned()),
        until: Timestamp::from_millis(row.until),
    };
    let state = *state.ok_or_else(|| wrong("the state of an intent"))?;
    let (id, fence) = (row.id.cast_unsigned(), row.fence.cast_unsigned());
    Ok(Intent { id, fence, state, node: node(&row.node)?, upload })
}

pub(crate) fn direct_row(upload: &DirectUpload) -> directs::Model {
    directs::Model {
        id: upload.id.0,
        user_id: upload.user.0,
        store_id: upload.store.0,
        size: int(upload.size),
        part_bytes: int(upload.part_bytes),
        expires_at: upload.expires_at.as_millis(),
        ends_at: upload.ends_at.as_millis(),
        file: serde_json::to_string(&upload.file).expect("texts and numbers always serialise"),
    }
}

pub(crate) fn direct(row: &directs::Model) -> Result<DirectUpload, DbErr> {
    Ok(DirectUpload {
        id: DirectId(row.id),
        user: UserId(row.user_id),
        store: StoreId(row.store_id),
        size: row.size.cast_unsigned(),
        part_bytes: row.part_bytes.cast_unsigned(),
        expires_at: Timestamp::from_millis(row.expires_at),
        ends_at: Timestamp::from_millis(row.ends_at),
        file: serde_json::from_str(&row.file).map_err(|_| wrong("what a direct upload is to be"))?,
    })
}

pub(crate) fn session_row(session: &Session) -> sessions::Model {
    sessions::Model {
        id: session.id.0,
        user_id: session.user.0,
        serial: int(session.serial),
        opened_at: session.opened_at.as_millis(),
        until: session.until.as_millis(),
        ends_at: session.ends_at.as_millis(),
    }
}

pub(crate) fn session(row: &sessions::Model) -> Session {
    Session {
        id: SessionId(row.id),
        user: UserId(row.user_id),
        serial: row.serial.cast_unsigned(),
        opened_at: Timestamp::from_millis(row.opened_at),
        until: Timestamp::from_millis(row.until),
        ends_at: Timestamp::from_millis(row.ends_at),
    }
}

pub(crate) fn reservation_row(key: Sha256, reservation: &Reservation) -> reservations::Model {
    let empty = reservations::Model {
        key: key.0.to_vec(),
        node: None,
        request: None,
        status: None,
        file_id: None,
        at: None,
        user_id: None,
    };
    match reservation {
        Reservation::Running { node } => reservations::Model { node: Some(node.to_string()), ..empty },
        Reservation::Done { request, status, made, at } => reservations::Model {
            request: Some(request.0.to_vec()),
            status: Some((*status).into()),
            file_id: if let Made::File(id) = made { Some(id.0) } else { None },
            user_id: if let Made::User(id) = made { Some(id.0) } else { None },
            at: Some(at.as_millis()),
            ..empty
        },
        Reservation::Made => unreachable!("a reservation that was made is kept as running"),
    }
}

pub(crate) fn reservation(row: reservations::Model) -> Result<(Sha256, Reservation), DbErr> {
    let key = digest(&row.key)?;
    let made = row.file_id.map(|id| Made::File(FileId(id))).or(row.user_id.map(|id| Made::User(UserId(id))));
    let reservation = match (row.node, row.request, row.status, made, row.at) {
        (Some(on), ..) => Reservation::Running { node: node(&on)? },
        (None, Some(request), Some(status), Some(made), Some(at)) => Reservation::Done {
            request: digest(&request)?,
            status: u16::try_from(status).map_err(|_| wrong("a status"))?,
            made,
            at: Timestamp::from_millis(at),
        },
        _ => return Err(wrong("a reservation")),
    };
    Ok((key, reservation))
}
