//! Users and buckets: sealed records, durable on a store before they are rows.

mod delete;
mod once;
mod session;
mod setup;
mod turn;

pub use delete::FilesOf;
pub use session::SessionTerms;
pub use setup::SETUP_LINK_LASTS;

use self::turn::Turn;
use crate::{
    Bucket, BucketId, BucketName, BucketPolicy, Caller, Error, Files, Names, Result, Role, StoreId, User, UserId,
    UserName,
    create::{carried, nothing_happened, the_less_certain},
    files::Node,
    layout,
    ledger::{Entry, FileQuery, Missed, Position, Record, RecordId, Recorded, Sort},
    sealed::{self, Sealed, seal, unseal},
};
use futures_util::TryStreamExt;
use larder_storage_core::{ErrorKind, Key, Prefix, PutOptions};
use std::{
    any::Any,
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};
use uuid::Uuid;

/// How many records that stores lack are noted in one transaction.
const NOTED_AT_ONCE: usize = 256;

/// What others wait for, until it is certain what became of a change of a user: the turn, or an idempotency key.
type Kept = Arc<dyn Any + Send + Sync>;

impl Files {
    /// The buckets, by name.
    #[must_use]
    pub fn buckets(&self) -> Vec<Bucket> {
        self.0.buckets.lock().expect("nothing panics while it holds this lock").values().cloned().collect()
    }

    /// A bucket.
    ///
    /// # Errors
    /// `NotFound`.
    pub fn bucket(&self, name: &str) -> Result<Bucket> {
        let name = BucketName::new(name).map_err(|_| self.0.absent("bucket"))?;
        let buckets = self.0.buckets.lock().expect("nothing panics while it holds this lock");
        buckets.get(&name).cloned().ok_or_else(|| self.0.absent("bucket"))
    }

    /// Adds a user, durably; without a password they can't log in.
    ///
    /// # Errors
    /// `Conflict` where the name is, or ever was, another's.
    pub async fn add_user(&self, name: UserName, role: Role, password_hash: Option<String>) -> Result<User> {
        self.0.begin_change().await?;
        self.0.check_whole()?;
        let user = self.new_user(name, role, password_hash).await?;
        let node = self.0.clone();
        self.complete(async move { node.write_user(user, None).await }).await
    }

    /// A user of a name that nobody ever bore.
    async fn new_user(&self, name: UserName, role: Role, password_hash: Option<String>) -> Result<User> {
        if name == UserName::local() || self.user_named(name.as_str()).await?.is_some() {
            return Err(Error::Conflict(format!("the name `{name}` is taken")));
        }
        let env = &self.0.environment;
        let (id, created_at) = (UserId::new(env), env.clock.now());
        let (epoch, version, gone_at, created_by_key) = (self.0.epoch, 1, None, None);
        Ok(User { id, name, role, password_hash, created_at, epoch, version, gone_at, created_by_key })
    }

    /// Gives a user another password.
    ///
    /// # Errors
    /// `NotFound`.
    pub async fn set_password(&self, id: UserId, password_hash: String) -> Result<User> {
        self.update_user(id, None, Some(password_hash)).await
    }

    /// Gives a user another role.
    ///
    /// # Errors
    /// `NotFound`; `Conflict` where no admin would be left.
    pub async fn set_role(&self, id: UserId, role: Role) -> Result<User> {
        self.update_user(id, Some(role), None).await
    }

    /// Gives a user another role, another password, or both at once.
    ///
    /// # Errors
    /// `NotFound`; `Conflict` where no admin would be left; `Busy` where others who change roles, or this user, take too long.
    pub async fn update_user(&self, id: UserId, role: Option<Role>, password_hash: Option<String>) -> Result<User> {
        self.0.begin_change().await?;
        self.0.check_whole()?;
        let node = self.0.clone();
        self.complete(async move {
            let Some(role) = role else { return node.change_user(id, None, password_hash, None).await };
            let turn = node.take_turn().await?;
            let result = node.change_user(id, Some(role), password_hash, Some(&turn)).await;
            turn.end().await;
            result
        })
        .await
    }

    /// The user of this name, gone or not.
    ///
    /// # Errors
    /// Only the ledger's own.
    pub async fn user_named(&self, name: &str) -> Result<Option<User>> {
        Ok(self.0.ledger.user_named(name).await?)
    }

    /// Who may own files under this name: a user who is there, or the built-in account, which is no user.
    ///
    /// # Errors
    /// Only the ledger's own.
    pub async fn owner_named(&self, name: &str) -> Result<Option<Caller>> {
        if name == UserName::local().as_str() {
            return Ok(Some(Caller::local()));
        }
        let user = self.user_named(name).await?.filter(|user| user.gone_at.is_none());
        Ok(user.map(|user| Caller { id: user.id, name: user.name, role: user.role }))
    }

    /// The user of this id, gone or not.
    ///
    /// # Errors
    /// Only the ledger's own.
    pub async fn user(&self, id: UserId) -> Result<Option<User>> {
        Ok(self.0.ledger.user(id).await?)
    }

    /// The user of this id, who is there.
    ///
    /// # Errors
    /// `NotFound` of one who is not there, or not any more; `Provisional` where a store that was not read may know of one.
    pub async fn present_user(&self, id: UserId) -> Result<User> {
        let user = self.0.ledger.user(id).await?.filter(|user| user.gone_at.is_none());
        user.ok_or_else(|| self.0.absent("user"))
    }

    /// At most `limit` users with ids above `after`, those who are gone left out, by id.
    ///
    /// # Errors
    /// Only the ledger's own.
    pub async fn users_behind(&self, mut after: Option<UserId>, limit: usize) -> Result<Vec<User>> {
        let mut users = Vec::new();
        while users.len() < limit {
            let wanted = limit - users.len();
            let page = self.0.ledger.users_behind(after, wanted).await?;
            let is_last = page.len() < wanted;
            after = page.last().map(|user| user.id).or(after);
            users.extend(page.into_iter().filter(|user| user.gone_at.is_none()));
            if is_last {
                break;
            }
        }
        Ok(users)
    }

    /// All users, gone ones too, by id.
    ///
    /// # Errors
    /// Only the ledger's own.
    pub async fn users(&self) -> Result<Vec<User>> {
        Ok(self.0.ledger.users().await?)
    }
}

impl Node {
    /// Makes the buckets of the configuration exist with the policies that it gives them.
    pub(crate) async fn ensure_buckets(self: &Arc<Self>) -> Result<()> {
        let mut known: BTreeMap<_, _> =
            self.ledger.buckets().await?.into_iter().map(|bucket| (bucket.name.clone(), bucket)).collect();
        for (name, policy) in &self.settings.buckets {
            let next = match known.get(name) {
                Some(bucket) if bucket.policy == *policy => continue,
                // Sealed, it would outrank what a store that was not read knows.
                Some(bucket) if !self.unread.is_empty() => {
                    let mut for_now = Bucket { policy: policy.clone(), ..bucket.clone() };
                    // Nobody would look for names that are shared, once the sealed policy is the configured one again.
                    if bucket.policy.names == Names::Unique {
                        for_now.policy.names = Names::Unique;
                    }
                    known.insert(name.clone(), for_now);
                    continue;
                }
                Some(bucket) => {
                    if policy.names == Names::Unique && bucket.policy.names != Names::Unique {
                        self.check_unique(bucket).await?;
                    }
                    let version = self.next_version((bucket.epoch, bucket.version)).await?;
                    Bucket { policy: policy.clone(), epoch: self.epoch, version, ..bucket.clone() }
                }
                // A store that was not read may know one of this name.
                None if !self.unread.is_empty() => {
                    tracing::warn!(bucket = %name, "a new bucket must wait until the index is whole");
                    continue;
                }
                None => self.new_bucket(name, policy),
            };
            self.begin_change().await?;
            match self.add_bucket(&next).await {
                Ok(()) => drop(known.insert(name.clone(), next)),
                // Another node made it at the same time: one of the two stays.
                Err(Error::Conflict(_)) => {
                    let theirs = self.ledger.buckets().await?.into_iter().find(|bucket| bucket.name == *name);
                    known.extend(theirs.map(|bucket| (name.clone(), bucket)));
                }
                Err(error) => return Err(error),
            }
        }
        *self.buckets.lock().expect("nothing panics while it holds this lock") = known;
        Ok(())
    }

    async fn change_user(
        self: &Arc<Self>,
        id: UserId,
        role: Option<Role>,
        password_hash: Option<String>,
        turn: Option<&Arc<Turn>>,
    ) -> Result<User> {
        let own = self.take_turn_of(id).await?;
        let result = self.change_in_turn(id, role, password_hash, turn).await;
        own.end().await;
        result
    }

    async fn change_in_turn(
        self: &Arc<Self>,
        id: UserId,
        role: Option<Role>,
        password_hash: Option<String>,
        turn: Option<&Arc<Turn>>,
    ) -> Result<User> {
        let user = self.ledger.user(id).await?.filter(|user| user.gone_at.is_none()).ok_or(Error::NotFound("user"))?;
        let role = role.unwrap_or(user.role);
        if role == user.role && password_hash.is_none() {
            return Ok(user);
        }
        if role != Role::Admin && user.role == Role::Admin {
            self.check_not_last(&user).await?;
        }
        let password_hash = password_hash.or(user.password_hash);
        let created_by_key = carried(user.created_by_key.as_ref(), self.environment.clock.now());
        let (epoch, version) = (self.epoch, self.next_version((user.epoch, user.version)).await?);
        let next = User { role, password_hash, epoch, version, created_by_key, ..user };
        self.write_user(next, turn.map(|turn| turn.clone() as Kept)).await
    }

    /// A version for the next record of a user or bucket whose rank is known: one that no record of this epoch bears, be it known to the
    /// ledger or not. An attempt that was never answered may lie on a store that is away, and must not meet an answered one as its
    /// equal. The ledger gives each mark once.
    async fn next_version(&self, known: (u64, u64)) -> Result<u64> {
        if known.0 > self.epoch {
            return Err(Error::internal("a record of a later epoch than the database's: `larder rebuild` raises that"));
        }
        loop {
            let version = self.ledger.raise_mark(&[]).await?;
            if (self.epoch, version) > known {
                return Ok(version);
            }
        }
    }

    /// Refuses to take the last admin away. It holds for as long as the turn is this task's.
    async fn check_not_last(&self, user: &User) -> Result<()> {
        let is_admin = |user: &User| user.role == Role::Admin && user.gone_at.is_none();
        let users = self.ledger.users().await?;
        if is_admin(user) && !users.iter().any(|other| other.id != user.id && is_admin(other)) {
            return Err(Error::Conflict(format!("`{}` is the last admin: make another one first", user.name)));
        }
        Ok(())
    }

    /// Makes a user's record durable, then the truth. What is not certain is settled; until then `kept` is.
    async fn write_user(self: &Arc<Self>, user: User, kept: Option<Kept>) -> Result<User> {
        let wanted = self.copies_answered_of_users();
        self.check_enough_of_all(wanted)?;
        match self.seal_and_record(&user).await {
            Ok((Recorded::Taken, missed)) => self.check_held(wanted, &missed).map(|()| user),
            Ok(_) => Err(Error::Conflict("the user was changed by another at the same time".into())),
            Err(error @ Error::Fenced(_)) => Err(error),
            Err(error) => {
                if let Err(later) = self.settle_user(&user).await {
                    tracing::warn!(user = %user.name, error = %later, "a change of a user must be settled first");
                    self.settle_user_later(user, kept);
                }
                Err(error)
            }
        }
    }

    /// Answers the stores that have missed it.
    async fn seal_and_record(self: &Arc<Self>, user: &User) -> Result<(Recorded, Vec<StoreId>)> {
        let missed = self.put_sealed(user).await?;
        let recorded = self.record_with(Entry::User(Box::new(user.clone())), &missed).await?;
        Ok((recorded, missed))
    }

    /// Finds out what became of a change whose caller was told of no success: the record that lies under its key counts, be it
    /// this one or one that an earlier attempt left. One whose name is another's must not come back by a rebuild.
    async fn settle_user(self: &Arc<Self>, user: &User) -> Result<()> {
        let key = user.key();
        for place in &self.places {
            let Some(bytes) = place.read(&key, sealed::BYTES_MAX).await? else { continue };
            let Some(found) = unseal::<User>(&self.secrets, &key, &bytes) else { continue };
            place.make_durable(&key).await?;
            // Whether the others have it is seen when it is carried there.
            let others: Vec<_> = self.places.iter().map(|at| at.id).filter(|id| *id != place.id).collect();
            return match self.record_with(Entry::User(Box::new(found)), &others).await {
                Err(Error::Conflict(_)) => self.delete_sealed(user).await,
                result => result.map(drop),
            };
        }
        Ok(())
    }

    fn settle_user_later(self: &Arc<Self>, user: User, kept: Option<Kept>) {
        let (node, user) = (self.clone(), Arc::new(user));
        self.settle_until_done(move || {
            let _until_then = &kept;
            let (node, user) = (node.clone(), user.clone());
            async move { node.settle_user(&user).await }
        });
    }

    async fn add_bucket(self: &Arc<Self>, bucket: &Bucket) -> Result<()> {
        let missed = self.put_sealed(bucket).await?;
        match self.record_with(Entry::Bucket(Box::new(bucket.clone())), &missed).await {
            Err(error @ Error::Conflict(_)) => {
                if let Err(error) = self.delete_sealed(bucket).await {
                    tracing::warn!(bucket = %bucket.name, %error, "the record of a bucket that was refused stays");
                }
                Err(error)
            }
            result => result.map(drop),
        }
    }

    /// Refuses to make names unique of which several live files share one. Costs a list of the bucket.
    async fn check_unique(&self, bucket: &Bucket) -> Result<()> {
        let (sort, limit, deleted) = (Sort::Name, 1000, Some(false));
        let mut query = FileQuery { bucket: Some(bucket.id), sort, limit, deleted, ..FileQuery::default() };
        let (mut last, mut more, mut first) = (None::<String>, 0_u64, None);
        loop {
            let page = self.ledger.files(&query).await?;
            query.after = page.last().map(|file| Position::of(&file.attributes, sort));
            let is_last = page.len() < limit;
            for name in page.into_iter().map(|file| file.attributes.name) {
                if last.as_ref() == Some(&name) {
                    more += 1;
                    first.get_or_insert_with(|| name.clone());
                }
                last = Some(name);
            }
            if is_last {
                break;
            }
        }
        let Some(first) = first else { return Ok(()) };
        let name = &bucket.name;
        Err(Error::Conflict(format!(
            "the names of bucket `{name}` can't be unique: {more} live files in it have one that another has too, first `{first}`; rename \
             them, or put them in the trash"
        )))
    }

    fn new_bucket(&self, name: &BucketName, policy: &BucketPolicy) -> Bucket {
        let created_at = self.environment.clock.now();
        let id = BucketId::new(&self.environment);
        Bucket { id, name: name.clone(), policy: policy.clone(), created_at, epoch: self.epoch, version: 1 }
    }

    /// Takes in sealed records that a crash kept from the ledger, and notes which stores lack the newest of one. Removes those that lost
    /// their name to another, but for those on a store that has not proven yet to know of no newer database. Costs a listing of both
    /// folders on each store, and a read of each record that the ledger has not, or not so new.
    pub(crate) async fn index_sealed(self: &Arc<Self>) -> Result<()> {
        let all: Vec<_> = (0..self.places.len()).collect();
        self.index_sealed_on(&all).await
    }

    /// The same, of some places.
    pub(crate) async fn index_sealed_on(self: &Arc<Self>, places: &[usize]) -> Result<()> {
        let users = self.ledger.users().await?;
        let known = users.iter().map(|user| (user.id.0, (user.epoch, user.version))).collect();
        let user = |user: User| Entry::User(Box::new(user));
        let held = self.index_sealed_below(layout::accounts(), &known, places, user).await?;
        let users = self.ledger.users().await?.into_iter();
        let newest = users.map(|user| (user.key(), RecordId::User(user.id), (user.epoch, user.version)));
        self.note_lacking(&held, newest).await?;
        let buckets = self.ledger.buckets().await?;
        let known = buckets.iter().map(|bucket| (bucket.id.0, (bucket.epoch, bucket.version))).collect();
        let bucket = |bucket: Bucket| Entry::Bucket(Box::new(bucket));
        let held = self.index_sealed_below(layout::buckets(), &known, places, bucket).await?;
        let buckets = self.ledger.buckets().await?.into_iter();
        let newest = buckets.map(|bucket| (bucket.key(), RecordId::Bucket(bucket.id), (bucket.epoch, bucket.version)));
        self.note_lacking(&held, newest).await
    }

    /// Notes which of the `newest` records a place that takes them does not hold, some in one transaction.
    async fn note_lacking(
        self: &Arc<Self>,
        held: &BTreeMap<usize, BTreeSet<Key>>,
        newest: impl Iterator<Item = (Key, RecordId, (u64, u64))>,
    ) -> Result<()> {
        let mut group = vec![];
        for (key, record, (epoch, version)) in newest {
            let lacking = held.iter().filter(|(_, held)| !held.contains(&key)).map(|(place, _)| &self.places[*place]);
            let missed = lacking.filter(|place| place.mode.creates());
            let missed = missed.map(|place| Entry::Missed(Missed { store: place.id, record, epoch, version }));
            group.extend(missed.map(Record::from));
            if group.len() >= NOTED_AT_ONCE {
                self.record_all(std::mem::take(&mut group)).await?;
            }
        }
        if group.is_empty() { Ok(()) } else { self.record_all(group).await.map(drop) }
    }

    /// Answers the keys that each place has.
    async fn index_sealed_below<T: Sealed>(
        self: &Arc<Self>,
        prefix: Prefix,
        known: &BTreeMap<Uuid, (u64, u64)>,
        places: &[usize],
        entry: impl Fn(T) -> Entry,
    ) -> Result<BTreeMap<usize, BTreeSet<Key>>> {
        let mut held = BTreeMap::new();
        let is_news = |key: &Key| match layout::parse_sealed(&prefix, key) {
            Some((id, epoch, version)) => known.get(&id).is_none_or(|known| *known < (epoch, version)),
            None => true,
        };
        for (at, place) in places.iter().map(|at| (*at, &self.places[*at])) {
            let keys: BTreeSet<_> = place.keys_below(prefix.clone()).try_collect().await?;
            for key in keys.iter().filter(|key| is_news(key)) {
                let bytes = match place.insist(|| place.read(key, sealed::BYTES_MAX)).await? {
                    Ok(Some(bytes)) => bytes,
                    Ok(None) => continue,
                    Err(error) => {
                        tracing::warn!(%key, store = %place.name, %error, "a sealed record can't be read; fsck reports it");
                        continue;
                    }
                };
                match unseal(&self.secrets, key, &bytes) {
                    Some(record) => {
                        place.make_durable(key).await?;
                        // Whether the others have it is seen when it is carried there.
                        let others: Vec<_> = self.places.iter().map(|at| at.id).filter(|id| *id != place.id).collect();
                        match self.record_with(entry(record), &others).await {
                            // It was never answered, and a rebuild must not prefer it to the one that was.
                            Err(Error::Conflict(why)) if place.mode.changes() && self.is_proven(at) => {
                                tracing::warn!(%key, store = %place.name, %why, "a sealed record that lost its name is removed");
                                place.store.delete(key).await?;
                            }
                            Err(Error::Conflict(why)) => {
                                tracing::warn!(%key, store = %place.name, %why, "a sealed record that lost its name stays for now");
                            }
                            result => drop(result?),
                        }
                    }
                    None => {
                        tracing::warn!(%key, store = %place.name, "a sealed record can't be opened; fsck reports it")
                    }
                }
            }
            held.insert(at, keys);
        }
        Ok(held)
    }

    /// Writes a sealed record on every store that takes it, at least one. Answers those that have missed it.
    async fn put_sealed(&self, record: &impl Sealed) -> Result<Vec<StoreId>> {
        let key = record.key();
        let bytes = seal(&self.secrets, &self.environment, &key, record);
        let (mut missed, mut refused) = (vec![], None);
        for place in &self.places {
            if !place.mode.creates() {
                missed.push(place.id);
                continue;
            }
            let put = async {
                place.confirm().await?;
                place.store.put(&key, bytes.clone().into(), PutOptions::create()).await
            };
            match put.await {
                Ok(_) => {}
                Err(error) if *error.kind() == ErrorKind::AlreadyExists => {
                    return Err(Error::Conflict("the record was changed by another at the same time".into()));
                }
                Err(error) => {
                    missed.push(place.id);
                    refused = Some(the_less_certain(refused, error));
                }
            }
        }
        match refused {
            _ if missed.len() < self.places.len() => Ok(missed),
            Some(error) if nothing_happened(error.kind()) => Err(error.into()),
            Some(error) => Err(Error::Indeterminate(error.into())),
            None => Err(Error::ReadOnly("no store takes sealed records".into())),
        }
    }

    async fn delete_sealed(&self, record: &impl Sealed) -> Result<()> {
        for place in self.places.iter().filter(|place| place.mode.changes()) {
            place.store.delete(&record.key()).await?;
        }
        Ok(())
    }
}
