//! Users and buckets.

use super::harness::{EPOCH, Harness, Verdict, at, bucket, user};
use crate::{
    Bucket, BucketPolicy, Names, Role, User,
    ledger::{Entry, LedgerError, Recorded, Result},
};

impl Harness {
    async fn user(&self, user: &User) -> Result<Recorded> {
        self.take(Entry::User(Box::new(user.clone()))).await
    }

    async fn bucket(&self, bucket: &Bucket) -> Result<Recorded> {
        self.take(Entry::Bucket(Box::new(bucket.clone()))).await
    }
}

pub(super) async fn a_user_is_found_by_id_and_by_name(harness: Harness) -> Verdict {
    let harness = harness.started().await?;
    let gone = User { gone_at: Some(at(4)), role: Role::Admin, password_hash: None, ..user(1, "gone", 1) };
    let there = user(2, "anna", 1);
    harness.user(&there).await?;
    harness.user(&gone).await?;
    for known in [&gone, &there] {
        ensure_eq!(harness.ledger.user(known.id).await?.as_ref(), Some(known), "by id");
        ensure_eq!(harness.ledger.user_named(known.name.as_str()).await?.as_ref(), Some(known), "by name");
    }
    ensure_eq!(harness.ledger.users().await?, vec![gone, there], "all users");
    ensure_eq!(harness.ledger.user(user(3, "x", 1).id).await?, None, "an unknown id");
    ensure_eq!(harness.ledger.user_named("ann").await?, None, "an unknown name");
    Ok(())
}

pub(super) async fn users_come_in_pages_by_id(harness: Harness) -> Verdict {
    let harness = harness.started().await?;
    let people = [
        user(1, "a", 1),
        User { gone_at: Some(at(4)), ..user(2, "b", 1) },
        user(1 << 64, "c", 1),
        user(1 << 100, "d", 1),
    ];
    for one in people.iter().rev() {
        harness.user(one).await?;
    }
    for limit in 0..6 {
        for behind in 0..=people.len() {
            let after = behind.checked_sub(1).map(|last| people[last].id);
            let page = harness.ledger.users_behind(after, limit).await?;
            let wanted: Vec<_> = people[behind..].iter().take(limit).cloned().collect();
            ensure_eq!(page, wanted, "{limit} users behind {after:?}");
        }
    }
    Ok(())
}

pub(super) async fn the_highest_record_of_a_user_stays(harness: Harness) -> Verdict {
    let harness = harness.started().await?;
    let high = User { role: Role::Admin, ..user(1, "anna", 5) };
    harness.user(&user(1, "anna", 2)).await?;
    ensure_eq!(harness.user(&high).await?, Recorded::Taken, "a higher version");
    ensure_eq!(harness.user(&user(1, "anna", 4)).await?, Recorded::Outranked, "a lower version");
    ensure_eq!(harness.user(&high).await?, Recorded::Taken, "the same again");
    ensure_eq!(harness.ledger.users().await?, vec![high], "users");
    let rebuilt = User { epoch: EPOCH + 1, ..user(1, "anna", 1) };
    ensure_eq!(harness.user(&rebuilt).await?, Recorded::Taken, "a later epoch");
    ensure_eq!(harness.ledger.user(rebuilt.id).await?, Some(rebuilt), "the user");
    Ok(())
}

pub(super) async fn a_name_is_never_given_again(harness: Harness) -> Verdict {
    let harness = harness.started().await?;
    harness.user(&user(1, "anna", 1)).await?;
    let other = harness.user(&user(2, "anna", 9)).await;
    ensure_refused!(other, LedgerError::Taken(_), "the name of a live user");
    harness.user(&User { gone_at: Some(at(3)), ..user(1, "anna", 2) }).await?;
    let other = harness.user(&user(2, "anna", 9)).await;
    ensure_refused!(other, LedgerError::Taken(_), "the name of one that is gone");
    harness.user(&user(2, "berta", 1)).await?;
    ensure_eq!(harness.ledger.users().await?.len(), 2, "users");
    Ok(())
}

pub(super) async fn the_highest_record_of_a_bucket_stays(harness: Harness) -> Verdict {
    let harness = harness.started().await?;
    let policy = BucketPolicy { write_copies: 2, max_bytes: u64::MAX, names: Names::Unique, ..BucketPolicy::default() };
    let high = Bucket { policy, ..bucket(2, "images", 5) };
    harness.bucket(&high).await?;
    harness.bucket(&bucket(1, "audio", 1)).await?;
    ensure_eq!(harness.bucket(&bucket(2, "images", 4)).await?, Recorded::Outranked, "a lower version");
    ensure_eq!(harness.ledger.buckets().await?, vec![bucket(1, "audio", 1), high], "buckets by id");
    Ok(())
}

pub(super) async fn a_buckets_name_is_taken(harness: Harness) -> Verdict {
    let harness = harness.started().await?;
    harness.bucket(&bucket(1, "audio", 1)).await?;
    let other = harness.bucket(&bucket(2, "audio", 1)).await;
    ensure_refused!(other, LedgerError::Taken(_), "a bucket's name");
    harness.user(&user(1, "audio", 1)).await?;
    Ok(())
}

pub(super) async fn users_and_buckets_survive_a_reopening(harness: Harness) -> Verdict {
    let harness = harness.started().await?;
    harness.user(&user(1, "anna", 1)).await?;
    harness.bucket(&bucket(1, "audio", 1)).await?;
    let harness = harness.reopened().await;
    ensure_eq!(harness.ledger.users().await?, vec![user(1, "anna", 1)], "users");
    ensure_eq!(harness.ledger.buckets().await?, vec![bucket(1, "audio", 1)], "buckets");
    Ok(())
}
