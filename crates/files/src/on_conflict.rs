//! Creates that heed who has their name already: with [`OnConflict::Replace`] or [`OnConflict::Fail`], and all of a bucket whose names
//! are unique.
//!
//! 1. The content has arrived, as of any create.
//! 2. The name is claimed (`name_claim`); what it is claimed for is known by then: the staged operation, or the upload's intent.
//! 3. Who has it is asked of the ledger. Nobody: the file is made as any other, and the name given back once it is recorded, or
//!    once it is settled that it never was. Somebody: it is refused, or
//! 4. the file that has it is claimed, and where it still has it given a new revision. From its claim on nobody else can come by the
//!    name, so that may be given back.
//!
//! Names are claimed before files, and nobody waits for a name while holding a file.

use crate::{
    Attributes, Caller, CreatedByKey, Error, File, FileId, Files, Names, OnConflict, Receive, Received, Result, Sha256,
    change::taken,
    create::{check_readable, check_user_bytes},
    files::Created,
    ledger::{Claim, Purpose},
    name_claim::{Claimed, NameClaim, Wait},
};

/// The status of an idempotent request that gave a file a new revision, as its key is kept with.
pub(crate) const REPLACED: u16 = 200;

/// What a create wants beside its attributes.
pub(crate) struct Terms {
    pub(crate) on_conflict: OnConflict,
    pub(crate) if_match: Option<Vec<Sha256>>,
}

impl Terms {
    /// Whether it matters who has the name in a bucket with such names.
    pub(crate) fn heed(&self, names: Names) -> bool {
        names == Names::Unique || self.on_conflict != OnConflict::KeepBoth
    }
}

impl Files {
    /// Refuses a file whose name is taken, before its content is sent, as [`Files::create`] would if nothing changed meanwhile. The name
    /// is that of `name_hint`.
    ///
    /// # Errors
    /// `NameTaken`; as [`Files::receive`] of bucket and owner.
    pub async fn check_name_free(&self, caller: &Caller, receive: &Receive, on_conflict: OnConflict) -> Result<()> {
        let bucket = self.bucket(&receive.bucket)?;
        let names = bucket.policy.names;
        if !(Terms { on_conflict, if_match: None }).heed(names) {
            return Ok(());
        }
        let owner = self.owner(caller, receive.owner.as_ref()).await?.id;
        let name = Claimed::new(bucket.id, names, owner, &receive.name_hint);
        match self.0.bearer(&name, None).await? {
            Some(there) if on_conflict != OnConflict::Replace || there.attributes.owner_id != owner => {
                Err(taken(caller, &there))
            }
            _ => Ok(()),
        }
    }

    /// Steps 2 to 4. `attributes` are those of the file if it is a new one.
    pub(crate) async fn create_named(
        &self,
        caller: &Caller,
        mut received: Received,
        attributes: Attributes,
        terms: Terms,
    ) -> Result<Created> {
        let names = received.bucket.policy.names;
        let name = Claimed::new(attributes.bucket_id, names, attributes.owner_id, &attributes.name);
        let of = self.0.claimed_for(&mut received).await?;
        let claimed = self.0.claim_name(&name, &of).await?;
        let mut wait = Wait::new(&self.0);
        loop {
            let Some(there) = self.0.bearer(&name, None).await? else {
                if terms.if_match.is_some() {
                    return Err(Error::PreconditionFailed { version: 0 });
                }
                // Who waited for the name may have been deleted meanwhile, and their files with them.
                self.check_owner(&received).await?;
                let file = self.0.publish(received.into_revision(attributes, None, Some(claimed))).await?;
                return Ok(Created { file, repeated: None, replaced: false });
            };
            if terms.on_conflict != OnConflict::Replace || there.attributes.owner_id != attributes.owner_id {
                return Err(taken(caller, &there));
            }
            match self.claim_bearer(there.attributes.id, &attributes).await? {
                Some(claim) => return self.replace_named(caller, received, attributes, terms, (claim, claimed)).await,
                // It was renamed, removed or purged meanwhile: the name may be free now.
                None => wait.on(&self.0, None).await?,
            }
        }
    }

    /// Claims the file that is to be replaced, unless it has given up the name meanwhile.
    async fn claim_bearer(&self, id: FileId, wanted: &Attributes) -> Result<Option<Claim>> {
        let claim = match self.0.claim(id, Purpose::Change).await {
            Ok(claim) => claim,
            Err(Error::Gone | Error::NotFound(_)) => return Ok(None),
            Err(error) => return Err(error),
        };
        let bears_it = |now: &Attributes| {
            now.deleted_at.is_none()
                && (now.bucket_id, now.owner_id, &now.name) == (wanted.bucket_id, wanted.owner_id, &wanted.name)
        };
        match self.0.ledger.file(id).await {
            Ok(Some(row)) if bears_it(&row.attributes) => Ok(Some(claim)),
            found => {
                self.0.release(&claim).await;
                found.map(|_| None).map_err(Error::from)
            }
        }
    }

    /// Step 4, from the file's claim on.
    async fn replace_named(
        &self,
        caller: &Caller,
        received: Received,
        new: Attributes,
        terms: Terms,
        (claim, name): (Claim, NameClaim),
    ) -> Result<Created> {
        let revised = self.revised(caller, claim.file, &received, &claim, terms.if_match.as_deref()).await;
        let attributes = match revised.and_then(|next| with_details(next, new)) {
            Ok(attributes) => attributes,
            Err(error) => {
                self.0.release(&claim).await;
                return Err(error);
            }
        };
        drop(name);
        let file: File = self.0.publish(received.into_revision(attributes, Some(claim), None)).await?;
        Ok(Created { file, repeated: None, replaced: true })
    }
}

/// The attributes of a new revision with what the request has brought for the file: tags and metadata, where there are any, and its
/// idempotency key, so that a repeat is known after a rebuild too.
fn with_details(next: Attributes, new: Attributes) -> Result<Attributes> {
    let tags = if new.tags.is_empty() { next.tags } else { new.tags };
    let metadata = if new.metadata.is_empty() { next.metadata } else { new.metadata };
    let made_by = new.created_by_key.map(|made| CreatedByKey { status: REPLACED, at: next.revised_at, ..made });
    let created_by_key = made_by.or(next.created_by_key);
    check_user_bytes(&next.name, &tags, &metadata)?;
    let next = Attributes { tags, metadata, created_by_key, ..next };
    check_readable(&next)?;
    Ok(next)
}
