//! A rebuild without the secrets that the stores were sealed with: users and buckets are sealed anew, by new ones.
//!
//! 1. All is read as by any rebuild, under the raised epoch. What the new secrets don't open is set aside for step 4.
//! 2. Users and buckets come from the older ledger, where there is one. Whoever else owns files gets an account that can't log
//!    in, and a bucket that nobody knows the policy of the configuration. Each is sealed, durably.
//! 3. The markers name the new secrets (**the commit point**: until then every start is refused).
//! 4. What nobody can open any more goes to quarantine.

use crate::{
    Bucket, BucketName, Settings, Timestamp, User, UserId, UserName, layout,
    ledger::{Entry, FileQuery, Ledger, Position},
    rebuild::{Result, Scan, failed},
    sealed::{self, Sealed},
    truth::chain,
};
use larder_storage_core::{ErrorKind, Key, PutOptions};
use std::collections::BTreeMap;
use tracing::warn;

/// What attributes tell of the owner of files, or of a bucket: its name, and since when it is there at least.
type Told<Id> = BTreeMap<Id, (String, Timestamp)>;

impl Scan<'_> {
    /// Step 2.
    pub(crate) async fn reseal(&mut self, settings: &Settings, older: Option<&dyn Ledger>) -> Result<()> {
        let (users, buckets) = self.known_before(older).await?;
        let epoch = self.rebuilt.epoch;
        for user in users {
            // The stores have sealed a newer record, with another password or none: this one's must not come back.
            let is_older = self.sealed_since(&user.key());
            let password_hash = user.password_hash.clone().filter(|_| !is_older);
            self.seal(User { password_hash, epoch, ..user }, |user| Entry::User(Box::new(user))).await?;
        }
        for bucket in buckets {
            self.seal(Bucket { epoch, ..bucket }, |bucket| Entry::Bucket(Box::new(bucket))).await?;
        }
        self.seal_what_is_told(settings, (epoch, 1)).await
    }

    async fn count_people(&mut self) -> Result<()> {
        let users = self.parts.ledger.users().await.map_err(failed)?;
        self.rebuilt.buckets = self.parts.ledger.buckets().await.map_err(failed)?.len() as u64;
        self.rebuilt.users = users.len() as u64;
        let locked = users.iter().filter(|user| user.password_hash.is_none() && user.gone_at.is_none());
        self.rebuilt.locked = locked.count() as u64;
        Ok(())
    }

    /// Users and buckets of the older ledger. One that can't be read, or is another installation's, is as none.
    async fn known_before(&mut self, older: Option<&dyn Ledger>) -> Result<(Vec<User>, Vec<Bucket>)> {
        let Some(older) = older else { return Ok((vec![], vec![])) };
        let ours = self.parts.ledger.identity().await.map_err(failed)?.map(|identity| identity.instance);
        let read = async {
            match older.identity().await? {
                Some(identity) if Some(identity.instance) == ours => Ok((older.users().await?, older.buckets().await?)),
                _ => Ok((vec![], vec![])),
            }
        };
        Ok(read.await.unwrap_or_else(|error: crate::ledger::LedgerError| {
            warn!(error = %chain(&error), "the older database can't be read; owners of files get accounts that can't log in");
            (vec![], vec![])
        }))
    }

    /// Whether a record that nobody can open is newer than the one of this key.
    fn sealed_since(&self, key: &Key) -> bool {
        let folder = layout::accounts();
        let Some((id, epoch, version)) = layout::parse_sealed(&folder, key) else { return false };
        let mut others = self.unopened.iter().filter_map(|(_, other)| layout::parse_sealed(&folder, other));
        others.any(|(of, newer_epoch, newer)| of == id && (newer_epoch, newer) > (epoch, version))
    }

    /// Seals accounts and buckets that only attributes tell of, with this epoch and version.
    pub(crate) async fn seal_what_is_told(&mut self, settings: &Settings, rank: (u64, u64)) -> Result<()> {
        let (users, buckets) = self.only_told(settings, rank).await?;
        for user in users {
            self.seal(user, |user| Entry::User(Box::new(user))).await?;
        }
        for bucket in buckets {
            self.seal(bucket, |bucket| Entry::Bucket(Box::new(bucket))).await?;
        }
        self.count_people().await
    }

    /// Takes in accounts and buckets that only attributes tell of, with the lowest rank there is and nowhere sealed: a store that was not
    /// read may have their records.
    pub(crate) async fn record_what_is_told(&mut self, settings: &Settings) -> Result<()> {
        let (users, buckets) = self.only_told(settings, (0, 0)).await?;
        let users = users.into_iter().map(|user| (user.key(), Entry::User(Box::new(user))));
        let buckets = buckets.into_iter().map(|bucket| (bucket.key(), Entry::Bucket(Box::new(bucket))));
        self.record(users.chain(buckets).collect()).await?;
        self.count_people().await
    }

    /// Accounts that can't log in, and buckets with the policies of the configuration, for all that attributes alone tell of.
    async fn only_told(&mut self, settings: &Settings, rank: (u64, u64)) -> Result<(Vec<User>, Vec<Bucket>)> {
        let (owners, told) = self.told().await?;
        let (epoch, version) = rank;
        let (mut users, mut buckets) = (vec![], vec![]);
        for (id, (name, created_at)) in owners {
            let Ok(name) = UserName::new(&name) else { continue };
            if self.parts.ledger.user(id).await.map_err(failed)?.is_none() {
                let (role, password_hash, gone_at) = (crate::Role::User, None, None);
                let created_by_key = None;
                users.push(User { id, name, role, password_hash, created_at, epoch, version, gone_at, created_by_key });
            }
        }
        let known = self.parts.ledger.buckets().await.map_err(failed)?;
        for (id, (name, created_at)) in told {
            let Ok(name) = BucketName::new(&name) else { continue };
            if !known.iter().any(|bucket| bucket.id == id) {
                let policy = settings.buckets.iter().find(|(configured, _)| *configured == name);
                let policy = policy.map(|(_, policy)| policy.clone()).unwrap_or_default();
                buckets.push(Bucket { id, name, policy, created_at, epoch, version });
            }
        }
        Ok((users, buckets))
    }

    async fn told(&mut self) -> Result<(Told<UserId>, Told<crate::BucketId>)> {
        let (mut owners, mut buckets) = (Told::new(), Told::new());
        let mut query = FileQuery { limit: 1000, ..FileQuery::default() };
        loop {
            let page = self.parts.ledger.files(&query).await.map_err(failed)?;
            let Some(last) = page.last() else { break };
            query.after = Some(Position::Created(last.attributes.id));
            for file in page.into_iter().map(|row| row.attributes) {
                if file.owner_id != UserId::LOCAL {
                    owners.entry(file.owner_id).or_insert((file.owner, file.created_at));
                }
                buckets.entry(file.bucket_id).or_insert((file.bucket.to_string(), file.created_at));
            }
        }
        Ok((owners, buckets))
    }

    /// Seals a record on every store that takes it, and takes it in. One that the ledger refuses is reported and not sealed.
    pub(crate) async fn seal<T: Sealed + Send>(&mut self, record: T, entry: impl Fn(T) -> Entry) -> Result<()> {
        let key = record.key();
        let bytes = sealed::seal(&self.parts.secrets, &self.parts.environment, &key, &record);
        if self.record(vec![(key.clone(), entry(record))]).await?.contains(&None) {
            return Ok(());
        }
        for place in self.places.iter().filter(|place| place.mode.creates()) {
            match place.store.put(&key, bytes.clone().into(), PutOptions::create()).await {
                Err(error) if *error.kind() != ErrorKind::AlreadyExists => return Err(failed(error)),
                _ => {}
            }
        }
        Ok(())
    }

    /// Step 4. What stays is found by `fsck`.
    pub(crate) async fn set_aside(&mut self) {
        for (place, key) in &self.unopened {
            if let Err(error) = self.places[*place].quarantine(key).await {
                warn!(%key, %error, "a sealed record that can't be opened stays where it is");
            }
        }
    }
}
