//! Listing files: pages in the order of their making, of names or of sizes; names as folders.

use crate::{
    Caller, Error, File, FileId, Files, ListFiles, Page, Result, Role, UserId,
    ledger::{FileQuery, Position, Sort},
};

const LIMIT_MAX: usize = 1000;

impl Files {
    /// A page of files: the caller's own, or of an admin everybody's. One that exists during a whole walk is seen exactly once, in
    /// the order of names or sizes unless its own changed meanwhile.
    ///
    /// # Errors
    /// `Invalid` of a limit out of bounds, of a place in another order, of folders in another order than that of names; `NotFound` of
    /// the bucket.
    pub async fn list(&self, caller: &Caller, query: ListFiles) -> Result<Page> {
        check(&query)?;
        let bucket = query.bucket.as_deref().map(|name| self.bucket(name)).transpose()?;
        let Some(owner) = self.whose(caller, query.owner.as_deref()).await? else {
            return Ok(Page { items: vec![], folders: vec![], next: None });
        };
        let rows = FileQuery {
            bucket: bucket.map(|bucket| bucket.id),
            owner: owner.id(),
            name: query.name,
            prefix: query.prefix,
            q: query.q,
            tag: query.tag,
            content_type: query.content_type,
            deleted: Some(query.deleted),
            from: query.created_after.map(|time| FileId::first_at(time.as_millis() + 1)),
            until: query.created_before.map(|time| FileId::first_at(time.as_millis())),
            sort: query.sort,
            descending: query.descending,
            after: query.after,
            limit: query.limit,
        };
        if query.folders { Ok(self.0.ledger.folders(&rows).await?) } else { self.list_files(rows).await }
    }

    /// The newest live file of exactly this name in a bucket; of the caller's own where no owner is named.
    ///
    /// # Errors
    /// `NotFound` where there is none, and of another's for all but admins.
    pub async fn named(&self, caller: &Caller, bucket: &str, owner: Option<&str>, name: &str) -> Result<File> {
        let bucket = self.bucket(bucket)?.id;
        let owner = match self.whose(caller, Some(owner.unwrap_or(caller.name.as_str()))).await? {
            Some(Owner::One(owner)) => owner,
            _ => return Err(self.0.absent("file")),
        };
        let query = FileQuery {
            bucket: Some(bucket),
            owner: Some(owner),
            name: Some(name.to_owned()),
            deleted: Some(false),
            descending: true,
            limit: 1,
            ..FileQuery::default()
        };
        let newest = self.0.ledger.files(&query).await?.pop().ok_or_else(|| self.0.absent("file"))?;
        // Of those from before, a store that was not read may have a newer one of this name.
        if newest.attributes.epoch < self.0.epoch {
            self.0.check_whole()?;
        }
        Ok(newest)
    }

    async fn list_files(&self, query: FileQuery) -> Result<Page> {
        let items = self.0.ledger.files(&query).await?;
        let last = items.last().filter(|_| items.len() == query.limit);
        let next = last.map(|file| Position::of(&file.attributes, query.sort));
        Ok(Page { items, folders: vec![], next })
    }

    /// Whose files the caller asks for; `None` where there can't be any for them.
    async fn whose(&self, caller: &Caller, named: Option<&str>) -> Result<Option<Owner>> {
        Ok(match named {
            None if caller.role == Role::Admin => Some(Owner::Anybody),
            None => Some(Owner::One(caller.id)),
            Some(name) if name == caller.name.as_str() => Some(Owner::One(caller.id)),
            Some(_) if caller.role != Role::Admin => None,
            Some(name) => self.owner_named(name).await?.map(|owner| Owner::One(owner.id)),
        })
    }
}

fn check(query: &ListFiles) -> Result<()> {
    if !(1..=LIMIT_MAX).contains(&query.limit) {
        return Err(Error::invalid("limit", format!("a limit is 1 to {LIMIT_MAX}, not {}", query.limit)));
    }
    if query.folders && query.sort != Sort::Name {
        return Err(Error::invalid("sort", "folders come in the order of names only"));
    }
    match &query.after {
        Some(place) if place.sort() != query.sort => Err(Error::invalid("cursor", "is of a list in another order")),
        _ => Ok(()),
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
