//! An examination of a bucket: what it tells, what it asks, and what it leaves behind.

#![allow(clippy::unwrap_used, reason = "these are tests, helpers included")]

mod support;

use larder_storage_s3::{Encryption, Examined, Extent, Health};
use support::{Place, bucket::Quirks, front::Fault};

fn health(examined: &Examined, check: &str) -> Health {
    let found = examined.findings.iter().find(|finding| finding.check == check);
    found.unwrap_or_else(|| panic!("{check}: {examined:?}")).health
}

#[tokio::test]
async fn what_is_tried_out_goes_with_all_of_its_versions() {
    for versioned in [false, true] {
        let place = Place::new(Quirks { versioned, ..Quirks::default() }).await;
        let examined = place.store.examine(Extent::Everything).await;
        assert!(examined.findings.iter().all(|finding| finding.health != Health::Bad), "{examined:?}");
        assert!(place.bucket.names().is_empty(), "{:?}", place.bucket.names());
        let tried: Vec<_> =
            place.bucket.state().versions.iter().filter(|(name, _)| name.contains("probe")).cloned().collect();
        assert!(tried.is_empty(), "{tried:?}");
        assert!(place.bucket.open_uploads().is_empty());
    }
}

#[tokio::test]
async fn where_nothing_may_be_written_nothing_is_asked_that_could_write() {
    let place = Place::new(Quirks::default()).await;
    place.front.requests();
    let examined = place.store.examine(Extent::Read).await;
    let asked = place.front.requests();
    assert!(
        !asked.is_empty() && asked.iter().all(|one| one.starts_with("GET ") || one.starts_with("HEAD ")),
        "{asked:?}"
    );
    assert!(place.bucket.names().is_empty() && examined.profile.is_none(), "{examined:?}");
    assert_eq!(health(&examined, "get"), Health::Good, "what is absent may be read");
    place.store.renew_profile().await.unwrap();
    assert!(place.store.examine(Extent::Read).await.profile.is_some(), "what is known is told");
}

#[tokio::test]
async fn a_refusal_is_told_where_its_reason_belongs_and_ends_what_rests_on_it() {
    for (status, code, check, advice) in [
        (403, "InvalidAccessKeyId", "credentials", "check `access_key_id`"),
        (403, "SignatureDoesNotMatch", "credentials", "check `secret_access_key`"),
        (403, "ExpiredToken", "credentials", "renew the temporary keys"),
        (403, "RequestTimeTooSkewed", "clock", "set the clock"),
        (400, "AuthorizationHeaderMalformed", "region", "set `region`"),
        (404, "NoSuchBucket", "bucket", "check `bucket`"),
    ] {
        let place = Place::new(Quirks::default()).await;
        place.front.plan(0, usize::MAX, Fault::Refused(status, code));
        let Examined { findings, .. } = place.store.examine(Extent::Everything).await;
        let last = findings.last().unwrap();
        assert_eq!((last.check, last.health), (check, Health::Bad), "{code}: {findings:?}");
        assert!(last.advice.contains(advice) && !last.measured.contains(advice), "{code}: {last:?}");
        let bad = findings.iter().filter(|finding| finding.health == Health::Bad).count();
        assert_eq!(bad, 1, "{code}: {findings:?}");
        assert!(place.bucket.names().is_empty(), "{code}");
    }
}

#[tokio::test]
async fn what_a_server_lacks_is_told() {
    let place = Place::new(Quirks { ignores_conditions: true, ..Quirks::default() }).await;
    assert_eq!(health(&place.store.examine(Extent::Everything).await, "conditions"), Health::Doubtful);
    let encrypted = |options: &mut larder_storage_s3::S3Options| options.encryption = Encryption::Aes256;
    let place = Place::with(Quirks { never_encrypts: true, ..Quirks::default() }, encrypted).await;
    let examined = place.store.examine(Extent::Everything).await;
    assert_eq!(health(&examined, "abilities"), Health::Bad, "{examined:?}");
    assert!(
        place.store.to_string().starts_with("s3://") && place.bucket.names().is_empty(),
        "{:?}",
        place.bucket.names()
    );
    let place = Place::with(Quirks::default(), encrypted).await;
    assert_eq!(health(&place.store.examine(Extent::Everything).await, "encryption"), Health::Good);
}
