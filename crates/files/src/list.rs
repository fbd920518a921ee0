//! Listing files: pages in the order in which they were made.

use crate::{Caller, Error, Files, ListFiles, Page, Result, Role, UserId, ledger::FileQuery};

const LIMIT_MAX: usize = 1000;

impl Files {
    /// A page of files: the caller's own, or of an admin everybody's. One that exists during a whole walk is seen exactly once.
    ///
    /// # Errors
    /// `Invalid` of a limit out of bounds; `NotFound` of the bucket.
    pub async fn list(&self, caller: &Caller, query: ListFiles) -> Result<Page> {
        if !(1..=LIMIT_MAX).contains(&query.limit) {
            return Err(Error::invalid("limit", format!("a limit is 1 to {LIMIT_MAX}, not {}", query.limit)));
        }
        let bucket = query.bucket.as_deref().map(|name| self.bucket(name)).transpose()?;
        let Some(owner) = self.whose(caller, query.owner.as_deref()).await? else {
            return Ok(Page { items: vec![], next: None });
        };
        let query = FileQuery {
            bucket: bucket.map(|bucket| bucket.id),
            owner: owner.id(),
            name: query.name,
            prefix: query.prefix,
            q: query.q,
            tag: query.tag,
            deleted: Some(query.deleted),
            after: query.after,
            limit: query.limit,
        };
        let items = self.0.ledger.files(&query).await?;
        let next = (items.len() == query.limit).then(|| items.last().map(|file| file.attributes.id)).flatten();
        Ok(Page { items, next })
    }

    /// Whose files the caller asks for; `None` where there can't be any for them.
    async fn whose(&self, caller: &Caller, named: Option<&str>) -> Result<Option<Owner>> {
        Ok(match named {
            None if caller.role == Role::Admin => Some(Owner::Anybody),
            None => Some(Owner::One(caller.id)),
            Some(name) if name == caller.name.as_str() => Some(Owner::One(caller.id)),
            Some(_) if caller.role != Role::Admin => None,
            Some(name) => self.user_named(name).await?.map(|user| Owner::One(user.id)),
        })
    }
}

enum Owner {
    Anybody,
    One(UserId),
}

impl Owner {
    fn id(&self) -> Option<UserId> {
        match self {
            Self::Anybody => None,
            Self::One(id) => Some(*id),
        }
    }
}
