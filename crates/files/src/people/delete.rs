//! Deletion of a user. Their sealed record stays, marked gone, so that their name is never given again.
//!
//! 1. The turn is taken ([`Turn`]): of two admins who delete each other at once, one stays.
//! 2. What can't be done is refused, and nothing has changed: the last admin, files of which nobody said what becomes of them.
//! 3. The record is marked gone, durably (**the commit point**): they log in no more, and upload nothing.
//! 4. It waits until every node knows. An upload is refused at its end where its owner is gone by then; but one whose owner was seen a
//!    moment ago is not asked about again, and such a moment must pass.
//! 5. Their files are purged or given to another, each under its claim. Giving changes attributes; bytes stay where they are.
//!
//! A crash after 3 leaves a user who is gone and owns files: the same call again goes on with those that are left, and so does
//! another one that says otherwise what becomes of them.

use super::{Kept, turn::Turn};
use crate::{
    Caller, Error, File, Files, Result, Role, User, UserId, UserName,
    create::{OWNER_FRESH, carried},
    ledger::{FileQuery, Sort},
};
use futures_util::{StreamExt, stream};
use std::{sync::Arc, time::Duration};

/// What becomes of the files of a user who is deleted, in the trash or not.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum FilesOf {
    /// Who owns files stays.
    Refuse,
    /// They are purged.
    Purge,
    /// They are another's from then on.
    GiveTo(UserName),
}

/// How many files are looked up at once.
const PAGE: usize = 256;
/// How many of them are changed at once: commits and claims of several go together.
const AT_ONCE: usize = 16;
/// How far files are counted to say how many there are.
const COUNTED_MAX: usize = 1000;
/// After so long no node takes an owner for present who went before: [`OWNER_FRESH`], and as long for a caller whom HTTP remembers.
const KNOWN_EVERYWHERE: Duration = Duration::from_millis(2 * OWNER_FRESH.as_millis() as u64);

impl Files {
    /// Deletes a user, and answers how many files were purged or given away. Where it fails half-way, or the process dies, the user
    /// is gone and the same call goes on. Others who change roles or delete users wait meanwhile.
    ///
    /// # Errors
    /// `NotFound`, also of one who is gone and owns nothing; `Conflict` of the last admin, and of who owns files with
    /// [`FilesOf::Refuse`]; `Invalid` of another to whom nothing can be given; `Busy`, `Indeterminate`; of the files what
    /// [`Files::purge`] and [`Files::update`] answer.
    pub async fn delete_user(&self, id: UserId, of: FilesOf) -> Result<u64> {
        self.0.begin_change().await?;
        self.0.check_whole()?;
        let files = self.clone();
        self.complete(async move {
            let turn = files.0.take_turn().await?;
            let result = files.delete_in_turn(id, &of, &turn).await;
            turn.end().await;
            result
        })
        .await
    }

    /// How many files a user owns, in the trash or not; counted up to `most`.
    ///
    /// # Errors
    /// Only the ledger's own.
    pub async fn count_owned(&self, id: UserId, most: usize) -> Result<usize> {
        let live = self.owned(id, false, most).await?.len();
        Ok(live + self.owned(id, true, most - live).await?.len())
    }

    async fn delete_in_turn(&self, id: UserId, of: &FilesOf, turn: &Arc<Turn>) -> Result<u64> {
        let user = self.user(id).await?.ok_or(Error::NotFound("user"))?;
        let owned = self.count_owned(id, COUNTED_MAX + 1).await?;
        if user.gone_at.is_some() && owned == 0 {
            return Err(Error::NotFound("user"));
        }
        let heir = self.heir(&user, of).await?;
        if *of == FilesOf::Refuse && owned > 0 {
            return Err(still_owns(&user, owned));
        }
        if user.gone_at.is_none() {
            self.0.check_not_last(&user).await?;
            self.mark_gone(&user, turn).await?;
            self.0.environment.clock.sleep(KNOWN_EVERYWHERE).await;
        }
        if *of == FilesOf::Refuse {
            return match self.count_owned(id, COUNTED_MAX + 1).await? {
                0 => Ok(0),
                owned => Err(still_owns(&user, owned)),
            };
        }
        self.part_with_all(&user, heir.as_ref()).await
    }

    /// Step 3. Its own turn keeps a new password from making it a record of somebody who is there.
    async fn mark_gone(&self, user: &User, turn: &Arc<Turn>) -> Result<()> {
        let own = self.0.take_turn_of(user.id).await?;
        let now = self.0.environment.clock.now();
        let (epoch, created_by_key) = (self.0.epoch, carried(user.created_by_key.as_ref(), now));
        let gone = |version| {
            let (gone_at, password_hash) = (Some(now), None);
            User { gone_at, password_hash, epoch, version, created_by_key, ..user.clone() }
        };
        let result = match self.0.next_version((user.epoch, user.version)).await {
            Ok(version) => self.0.write_user(gone(version), Some(turn.clone() as Kept)).await.map(drop),
            Err(error) => Err(error),
        };
        own.end().await;
        result
    }

    /// Who gets the files, if anybody does.
    async fn heir(&self, user: &User, of: &FilesOf) -> Result<Option<User>> {
        let FilesOf::GiveTo(name) = of else { return Ok(None) };
        // The built-in account is nobody's to give to: its files are seen by admins only.
        match self.user_named(name.as_str()).await? {
            Some(heir) if heir.id == user.id => Err(Error::invalid("files_to", "is the user who is deleted")),
            Some(heir) if heir.gone_at.is_none() => Ok(Some(heir)),
            _ => Err(Error::invalid("files_to", format!("there is no user `{name}`"))),
        }
    }

    /// Step 5: every file is given to the heir, or purged where there is none.
    async fn part_with_all(&self, user: &User, heir: Option<&User>) -> Result<u64> {
        let mut parted = 0;
        loop {
            let mut files = self.owned(user.id, false, PAGE).await?;
            if files.is_empty() {
                files = self.owned(user.id, true, PAGE).await?;
            }
            if files.is_empty() {
                return Ok(parted);
            }
            let each = stream::iter(files).map(|file| self.part_with(user, file, heir)).buffer_unordered(AT_ONCE);
            // One that fails does not stop the others.
            for done in each.collect::<Vec<_>>().await {
                parted += u64::from(done?);
            }
        }
    }

    /// Whether this made it another's, or nobody's. It is asked for as its owner: what they don't own any more is left alone.
    async fn part_with(&self, user: &User, file: File, heir: Option<&User>) -> Result<bool> {
        let owner = Caller { id: user.id, name: user.name.clone(), role: Role::User };
        let (id, version) = (file.attributes.id, file.attributes.version);
        let done = match heir {
            Some(heir) => self.give(&owner, id, heir).await.map(drop),
            None => self.purge(&owner, id, Some(version)).await,
        };
        match done {
            Ok(()) => Ok(true),
            // Another was faster: the next look tells whether it is still theirs.
            Err(Error::NotFound(_) | Error::Gone | Error::PreconditionFailed { .. }) => Ok(false),
            Err(error) => Err(error),
        }
    }

    async fn owned(&self, id: UserId, deleted: bool, limit: usize) -> Result<Vec<File>> {
        let query =
            FileQuery { owner: Some(id), deleted: Some(deleted), sort: Sort::Created, limit, ..FileQuery::default() };
        Ok(self.0.ledger.files(&query).await?)
    }
}

fn still_owns(user: &User, owned: usize) -> Error {
    let count = match owned {
        1 => "1 file".into(),
        2..=COUNTED_MAX => format!("{owned} files"),
        _ => format!("more than {COUNTED_MAX} files"),
    };
    Error::Conflict(format!("`{}` owns {count}, in the trash or not: say whether to purge or to give them", user.name))
}
