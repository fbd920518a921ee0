//! What only a bucket has: what it knows of its server, mistakes in its configuration, uploads that nobody ends, signed URLs.

#![allow(clippy::unwrap_used, reason = "these are tests, helpers included")]

mod support;

use bytes::Bytes;
use futures_util::{FutureExt, StreamExt, TryStreamExt, stream};
use http_body_util::{BodyExt, Full};
use hyper_util::rt::TokioIo;
use larder_storage_core::{
    Body, Bound, Digests, ErrorKind, GetOptions, Key, ListOptions, Multipart, PartNumber, Presign, PresignMethod,
    PutMode, PutOptions, SentAs, SignedRequest, Store, StoreExt,
};
use larder_storage_s3::{Conditions, Credentials, Encryption, Misconfigured, S3Options, S3Store};
use std::{error::Error as _, time::Duration};
use support::{BUCKET, KEY, Place, SECRET, bucket::Quirks, front::Fault};

fn key(text: &str) -> Key {
    Key::new(text).unwrap()
}

fn large(len: usize) -> Bytes {
    (0..len).map(|at| (at % 253) as u8).collect::<Vec<_>>().into()
}

fn in_blocks(bytes: &Bytes) -> Body {
    let blocks: Vec<_> = bytes.chunks(100_000).map(|block| Ok(bytes.slice_ref(block))).collect();
    Body::once(stream::iter(blocks).boxed(), None)
}

#[tokio::test]
async fn a_condition_is_relied_on_only_where_it_was_kept() {
    let both = Conditions { create: true, replace: true, bare_etags: false };
    let neither = Conditions::default();
    let puts_alone = Quirks { ignores_copy_conditions: true, ignores_complete_conditions: true, ..Quirks::default() };
    for (quirks, put, complete, copy) in [
        (Quirks::default(), both, both, both),
        (Quirks { ignores_copy_conditions: true, ..Quirks::default() }, both, both, neither),
        (puts_alone, both, neither, neither),
        (Quirks { compares_bare: true, ..puts_alone }, Conditions { bare_etags: true, ..both }, neither, neither),
        // Who ignores conditions does so however they are written.
        (Quirks { compares_bare: true, ignores_conditions: true, ..puts_alone }, neither, neither, neither),
        (Quirks { ignores_conditions: true, ..Quirks::default() }, neither, neither, neither),
    ] {
        let place = Place::new(quirks).await;
        let profile = place.store.profile().await.unwrap();
        assert_eq!((profile.put, profile.complete, profile.copy), (put, complete, copy), "{quirks:?}");
        assert!(profile.checks_payload && profile.part_bytes_min == 5 << 20, "{profile:?}");
        assert!(place.bucket.names().is_empty() && place.bucket.open_uploads().is_empty(), "something stays behind");
    }
}

#[tokio::test]
async fn what_can_not_be_compared_is_not_overwritten() {
    let place = Place::new(Quirks { ignores_conditions: true, ..Quirks::default() }).await;
    let etag = place.store.put(&key("a"), "old".into(), PutOptions::create()).await.unwrap().etag;
    let only = PutOptions { mode: PutMode::ReplaceIf(etag), ..PutOptions::default() };
    let refused = place.store.put(&key("a"), "new".into(), only).await.unwrap_err();
    assert_eq!(refused.kind(), &ErrorKind::Unsupported);
    assert_eq!(place.store.get_bytes(&key("a"), 9).await.unwrap(), "old");
}

#[tokio::test]
async fn a_profile_of_another_server_or_a_damaged_one_is_made_anew() {
    let place = Place::new(Quirks::default()).await;
    let known = place.store.profile().await.unwrap();
    let other = serde_json::to_string(&*known).unwrap().replace("127.0.0.1", "other.test").replace("true", "false");
    for kept in [other.as_str(), "{ half"] {
        place.bucket.state().objects.get_mut(".larder/profile.json").unwrap().bytes = kept.to_owned().into();
        let next = S3Store::connect(place.options.clone()).await.unwrap();
        assert_eq!(next.profile().await.unwrap().put, known.put);
    }
}

#[tokio::test]
async fn what_was_found_out_before_dates_of_uploads_were_tried_is_found_out_anew() {
    for misdates_uploads in [false, true] {
        let place = Place::new(Quirks { misdates_uploads, ..Quirks::default() }).await;
        let next = with_an_early_profile(&place).await;
        assert_eq!(next.known_profile().await.unwrap(), None);
        next.begin(&key("a")).await.unwrap();
        place.bucket.make_older("a", Duration::from_secs(90_000));
        let told = next.open_uploads(None).await.unwrap();
        let is_old = told[0].age > Duration::from_secs(86_400);
        assert_eq!((told.len(), is_old), (1, !misdates_uploads), "{told:?}");
        let again = S3Store::connect(place.options.clone()).await.unwrap();
        let kept = again.known_profile().await.unwrap().expect("it is kept");
        assert_eq!(kept.dates_uploads, !misdates_uploads);
    }
}

#[tokio::test]
async fn where_nothing_can_be_written_what_was_found_out_earlier_is_gone_by() {
    for (status, code) in [(507, ""), (403, "AccessDenied")] {
        let place = Place::new(Quirks::default()).await;
        place.store.put(&key("a"), "a".into(), PutOptions::create()).await.unwrap();
        let next = with_an_early_profile(&place).await;
        place.front.plan(1, 1_000, Fault::Refused(503, "SlowDown"));
        assert!(next.delete(&key("a")).await.unwrap_err().is_temporary(), "an outage tells nothing");
        // The first request looks for a profile, the next one is a put.
        place.front.plan(1, 1, Fault::Refused(status, code));
        next.delete(&key("a")).await.unwrap();
        assert_eq!(place.front.calm(), 1);
        assert!(place.bucket.names().is_empty());
        let known = next.profile().await.unwrap();
        assert!(known.put.create && !known.dates_uploads, "{known:?}");
    }
}

/// Another process's store, over a profile that was kept before dates of uploads were tried.
async fn with_an_early_profile(place: &Place) -> S3Store {
    let mut kept = serde_json::to_value(&*place.store.profile().await.unwrap()).unwrap();
    kept["format"] = 1.into();
    kept.as_object_mut().unwrap().remove("dates_uploads");
    let kept = serde_json::to_vec(&kept).unwrap();
    place.bucket.state().objects.get_mut(".larder/profile.json").unwrap().bytes = kept.into();
    S3Store::connect(place.options.clone()).await.unwrap()
}

#[tokio::test]
async fn a_profile_is_renewed_when_that_is_asked_for() {
    let place = Place::new(Quirks::default()).await;
    place.store.profile().await.unwrap();
    place.front.requests();
    place.store.profile().await.unwrap();
    assert!(place.front.requests().is_empty());
    place.store.renew_profile().await.unwrap();
    assert!(place.front.requests().len() > 20);
}

#[tokio::test]
async fn an_outage_makes_no_profile() {
    let place = Place::new(Quirks::default()).await;
    place.front.plan(3, 1_000, Fault::Refused(503, "SlowDown"));
    assert!(place.store.profile().await.unwrap_err().is_temporary());
    place.front.calm();
    assert!(!place.bucket.names().contains(&".larder/profile.json".to_owned()));
    assert!(place.store.profile().await.unwrap().put.create);
}

#[tokio::test]
async fn encryption_that_is_not_done_is_an_error_and_leaves_nothing() {
    let with = |options: &mut S3Options| options.encryption = Encryption::Aes256;
    for (quirks, words) in [
        (Quirks { never_encrypts: true, ..Quirks::default() }, "did not encrypt"),
        (Quirks { refuses_encryption: true, ..Quirks::default() }, "InvalidRequest"),
    ] {
        let place = Place::with(quirks, with).await;
        let refused = place.store.put(&key("a"), "secret".into(), PutOptions::create()).await.unwrap_err();
        assert_eq!(Misconfigured::of(&refused), Some(&Misconfigured::NotEncrypted));
        assert!(refused.kind() == &ErrorKind::Unsupported && told(&refused).contains(words), "{}", told(&refused));
        assert!(place.bucket.names().is_empty());
    }
    let place = Place::with(Quirks::default(), with).await;
    place.store.put(&key("a"), "secret".into(), PutOptions::create()).await.unwrap();
    assert!(place.bucket.state().objects["a"].encryption.is_some());
}

#[tokio::test]
async fn what_is_refused_without_encryption_as_well_is_not_blamed_on_it() {
    for (status, code, kind) in [
        (507, "", ErrorKind::Full),
        (403, "QuotaExceeded", ErrorKind::Full),
        (400, "InvalidRequest", ErrorKind::Unavailable),
        (501, "NotImplemented", ErrorKind::Unsupported),
    ] {
        let place = Place::with(Quirks::default(), |options| options.encryption = Encryption::Aes256).await;
        // The first request looks for a profile, the next two are puts.
        place.front.plan(1, 2, Fault::Refused(status, code));
        let refused = place.store.put(&key("a"), "secret".into(), PutOptions::create()).await.unwrap_err();
        assert_eq!(place.front.calm(), 2, "{code}");
        assert_eq!((refused.kind(), Misconfigured::of(&refused)), (&kind, None), "{}", told(&refused));
        assert!(place.bucket.names().is_empty());
    }
}

#[tokio::test]
async fn each_way_to_write_is_held_to_its_encryption() {
    for (quirks, is_ok) in
        [(Quirks::default(), true), (Quirks { encrypts_puts_alone: true, ..Quirks::default() }, false)]
    {
        let place = Place::with(quirks, |options| {
            (options.encryption, options.part_bytes) = (Encryption::Aes256, 5 << 20);
        })
        .await;
        place.store.put(&key("a"), "secret".into(), PutOptions::create()).await.unwrap();
        let copied = place.store.copy(&key("a"), &key("copied"), PutOptions::create()).await;
        let sent = place.store.put(&key("sent"), in_blocks(&large(6 << 20)), PutOptions::create()).await;
        assert_eq!((copied.is_ok(), sent.is_ok()), (is_ok, is_ok), "{copied:?} {sent:?}");
        assert_eq!(place.bucket.names().len(), if is_ok { 3 } else { 1 });
    }
}

/// What the chain of an error's causes says.
fn told(error: &larder_storage_core::Error) -> String {
    let (mut told, mut next) = (error.to_string(), error.source());
    while let Some(cause) = next {
        told.push_str(&format!(": {cause}"));
        next = cause.source();
    }
    told
}

#[tokio::test]
async fn each_mistake_has_a_message_of_its_own_and_writes_nothing() {
    let place = Place::new(Quirks::default()).await;
    let nowhere = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let keys = |id: &str, secret: &str| Credentials::Keys {
        access_key_id: id.into(),
        secret_access_key: secret.into(),
        session_token: None,
    };
    type Adjust<'a> = Box<dyn Fn(&mut S3Options) + 'a>;
    let same = || -> Adjust<'_> { Box::new(|_| {}) };
    let endpoint = place.front.endpoint();
    let mistakes: [(&str, Adjust<'_>, Option<Fault>); 7] = [
        ("`access_key_id`", Box::new(|options| options.credentials = keys("AKOTHER", SECRET)), None),
        ("`secret_access_key`", Box::new(|options| options.credentials = keys(KEY, "other-hush")), None),
        ("`region`", same(), Some(Fault::Refused(400, "AuthorizationHeaderMalformed"))),
        ("`create_bucket = true`", same(), Some(Fault::Refused(404, "NoSuchBucket"))),
        ("host and port", Box::new(|options| options.endpoint = Some(format!("http://127.0.0.1:{nowhere}"))), None),
        ("`http://`", Box::new(|options| options.endpoint = Some(endpoint.replace("http:", "https:"))), None),
        ("best by NTP", same(), Some(Fault::Refused(403, "RequestTimeTooSkewed"))),
    ];
    let mut messages = std::collections::BTreeSet::new();
    for (advice, adjust, fault) in mistakes {
        if let Some(fault) = fault {
            place.front.plan(0, 1_000, fault);
        }
        let mut options = place.options.clone();
        adjust(&mut options);
        let store = S3Store::connect(options).await.unwrap();
        let error = store.open().await.unwrap_err();
        place.front.calm();
        let message = told(&error);
        assert!(message.contains(advice), "{advice}: {message}");
        assert!(!error.is_not_found(), "{message}");
        let shown = format!("{message}{error:?}{store:?}");
        assert!(!shown.contains(SECRET) && !shown.contains("other-hush"), "{shown}");
        messages.insert(message);
    }
    assert_eq!(messages.len(), 7);
    assert!(place.bucket.state().objects.is_empty());
}

#[tokio::test]
async fn a_missing_bucket_is_made_where_that_is_allowed_and_is_never_an_absent_object() {
    let place = Place::with(Quirks::default(), |options| options.create_bucket = true).await;
    place.bucket.state().is_missing = true;
    for error in [
        place.store.head(&key("a")).await.unwrap_err(),
        place.store.get(&key("a"), GetOptions::default()).await.unwrap_err(),
    ] {
        assert_eq!(error.kind(), &ErrorKind::Unavailable, "{}", told(&error));
    }
    place.store.open().await.unwrap();
    assert!(place.store.head(&key("a")).await.unwrap_err().is_not_found());
}

#[tokio::test]
async fn an_upload_whose_caller_went_away_is_aborted() {
    let place = Place::with(Quirks::default(), |options| options.part_bytes = 5 << 20).await;
    place.store.profile().await.unwrap();
    let endless = stream::repeat_with(|| Ok(Bytes::from(vec![1; 1 << 20]))).take(7).chain(stream::pending());
    let name = key("a");
    let mut put = place.store.put(&name, Body::once(endless.boxed(), None), PutOptions::create()).boxed();
    soon(|| {
        assert!((&mut put).now_or_never().is_none());
        !place.bucket.open_uploads().is_empty()
    })
    .await;
    drop(put);
    soon(|| place.bucket.open_uploads().is_empty()).await;
    assert!(place.bucket.names().is_empty());
}

/// Lets others run until this is so.
async fn soon(mut is_so: impl FnMut() -> bool) {
    let wait = async {
        while !is_so() {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(Duration::from_secs(30), wait).await.expect("it comes to that");
}

#[tokio::test]
async fn what_was_abandoned_is_found_by_its_age_and_its_key() {
    let place = Place::new(Quirks::default()).await;
    assert!(place.store.profile().await.unwrap().dates_uploads);
    for name in ["a/ours", "b/theirs"] {
        place.store.begin(&key(name)).await.unwrap();
    }
    place.bucket.make_older("a/ours", Duration::from_secs(90_000));
    let told = place.store.open_uploads(None).await.unwrap();
    assert_eq!(told.iter().map(|upload| upload.key.as_str()).collect::<Vec<_>>(), ["a/ours", "b/theirs"]);
    let days: Vec<_> = told.iter().map(|upload| upload.age.as_secs() / 86_400).collect();
    assert_eq!(days, [1, 0]);
    let ours = place.store.open_uploads(Some(key("a/ours"))).await.unwrap();
    assert_eq!(ours.len(), 1);
    place.store.abort(&ours[0].key, &ours[0].upload).await.unwrap();
    assert_eq!(place.bucket.open_uploads(), ["b/theirs"]);
}

#[tokio::test]
async fn nothing_is_old_where_dates_are_none() {
    let place = Place::new(Quirks { misdates_uploads: true, ..Quirks::default() }).await;
    let profile = place.store.profile().await.unwrap();
    assert!(profile.lists_uploads && !profile.dates_uploads, "{profile:?}");
    place.store.begin(&key("a")).await.unwrap();
    for of in [None, Some(key("a"))] {
        let told = place.store.open_uploads(of).await.unwrap();
        assert!(told.len() == 1 && told[0].age < Duration::from_secs(60), "{told:?}");
    }
}

#[tokio::test]
async fn dates_that_are_told_below_a_folder_alone_are_believed() {
    for (misdates_uploads, is_dated) in [(false, true), (true, false)] {
        let quirks = Quirks { lists_uploads_by_folder_alone: true, misdates_uploads, ..Quirks::default() };
        let profile = Place::new(quirks).await.store.profile().await.unwrap();
        assert_eq!((profile.lists_uploads, profile.dates_uploads), (true, is_dated), "{profile:?}");
    }
}

#[tokio::test]
async fn an_upload_holds_no_more_than_it_may() {
    let place = Place::with(Quirks::default(), |options| {
        (options.part_bytes, options.upload_bytes, options.parts_in_flight) = (5 << 20, 12 << 20, 8);
    })
    .await;
    place.store.profile().await.unwrap();
    // Every block that was given and is not yet in the bucket is in memory.
    let (given, bucket) = (std::sync::Arc::new(std::sync::atomic::AtomicUsize::new(0)), place.bucket.clone());
    let most = std::sync::Arc::new(std::sync::atomic::AtomicUsize::new(0));
    let (count, peak) = (given.clone(), most.clone());
    let blocks = stream::iter(0..40).map(move |_| {
        use std::sync::atomic::Ordering::SeqCst;
        let held = count.fetch_add(1 << 20, SeqCst) + (1 << 20) - bucket.bytes_of_parts();
        peak.fetch_max(held, SeqCst);
        Ok(Bytes::from(vec![3; 1 << 20]))
    });
    place.store.put(&key("a"), Body::once(blocks.boxed(), None), PutOptions::create()).await.unwrap();
    let most = most.load(std::sync::atomic::Ordering::SeqCst);
    // One block more: it is read to learn whether a part was the last.
    assert!(most <= (12 << 20) + (1 << 20), "{most} bytes");
    assert_eq!(place.bucket.state().objects["a"].bytes.len(), 40 << 20);
}

#[tokio::test]
async fn all_uploads_together_hold_no_more_than_they_may() {
    use std::sync::{
        Arc,
        atomic::{AtomicUsize, Ordering::SeqCst},
    };
    let place = Place::with(Quirks::default(), |options| {
        (options.part_bytes, options.upload_bytes, options.parts_in_flight) = (5 << 20, 40 << 20, 8);
        options.ahead_bytes = 6 << 20;
    })
    .await;
    place.store.profile().await.unwrap();
    let (given, most) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
    let before = place.bucket.bytes_kept();
    let upload = |name: &'static str| {
        let (given, most, bucket) = (given.clone(), most.clone(), place.bucket.clone());
        let blocks = stream::iter(0..30).map(move |_| {
            let held = given.fetch_add(1 << 20, SeqCst) + (1 << 20) - bucket.bytes_kept().saturating_sub(before);
            most.fetch_max(held, SeqCst);
            Ok(Bytes::from(vec![3; 1 << 20]))
        });
        let store = place.store.clone();
        async move { store.put(&key(name), Body::once(blocks.boxed(), None), PutOptions::create()).await }
    };
    let (a, b, c) = futures_util::join!(upload("a"), upload("b"), upload("c"));
    assert!([a, b, c].into_iter().all(|written| written.unwrap().size == 30 << 20));
    // A part of each, one more of all together, and a block of each that is read to learn whether a part was the last.
    let most = most.load(SeqCst);
    assert!(most <= (15 << 20) + (5 << 20) + (3 << 20), "{most} bytes");
}

#[tokio::test]
async fn a_large_object_is_copied_in_parts() {
    for quirks in [Quirks::default(), Quirks { ignores_conditions: true, ..Quirks::default() }] {
        let place = Place::with(quirks, |options| options.copy_bytes_max = 6 << 20).await;
        let bytes = large(11 << 20);
        place.store.put(&key("a"), in_blocks(&bytes), PutOptions::create()).await.unwrap();
        place.front.requests();
        let written = place.store.copy(&key("a"), &key("b"), PutOptions::create()).await.unwrap();
        assert_eq!(written.size, 11 << 20);
        assert!(place.bucket.state().objects["b"].bytes == bytes);
        assert!(place.front.requests().iter().filter(|request| *request == "PUT part").count() == 2);
    }
}

#[tokio::test]
async fn a_read_goes_on_where_it_broke_and_only_of_the_same_object() {
    let place = Place::new(Quirks::default()).await;
    let bytes = large(900_000);
    place.store.put(&key("a"), bytes.clone().into(), PutOptions::create()).await.unwrap();
    place.front.requests();
    place.front.plan(0, 1, Fault::CutBody);
    assert!(place.store.get_bytes(&key("a"), 1 << 20).await.unwrap() == bytes);
    assert_eq!(place.front.requests(), ["GET object", "GET object"]);
    place.front.plan(0, 1, Fault::CutBody);
    let object = place.store.get(&key("a"), GetOptions::default()).await.unwrap();
    place.store.put(&key("a"), large(900_001).into(), PutOptions::replace()).await.unwrap();
    assert!(object.body.try_collect::<Vec<_>>().await.is_err(), "two revisions were read as one");
}

#[tokio::test]
async fn a_deleted_object_of_a_versioned_bucket_leaves_no_version() {
    let place = Place::new(Quirks { versioned: true, ..Quirks::default() }).await;
    for bytes in ["one", "two"] {
        place.store.put(&key("a"), bytes.into(), PutOptions::replace()).await.unwrap();
        place.store.put(&key("ab"), bytes.into(), PutOptions::replace()).await.unwrap();
    }
    place.store.delete(&key("a")).await.unwrap();
    let versions = |name: &str| place.bucket.state().versions.iter().filter(|(key, _)| key == name).count();
    assert_eq!((versions("a"), versions("ab")), (0, 2));
}

/// Sends a signed request as it stands.
async fn send(request: &SignedRequest, body: &'static str) -> (u16, Bytes) {
    let uri: hyper::Uri = request.url.parse().unwrap();
    let address = uri.authority().unwrap().to_string();
    let socket = tokio::net::TcpStream::connect(&address).await.unwrap();
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(socket)).await.unwrap();
    tokio::spawn(connection);
    let target = uri.path_and_query().unwrap().as_str();
    let mut builder = hyper::Request::builder().method(request.method).uri(target).header("host", &address);
    // The length is the body's own: whether it is the one that was signed is for the server to find.
    for (name, value) in request.headers.iter().filter(|(name, _)| name != "content-length") {
        builder = builder.header(name, value);
    }
    let answer = sender.send_request(builder.body(Full::new(Bytes::from(body))).unwrap()).await.unwrap();
    let status = answer.status().as_u16();
    (status, answer.into_body().collect().await.unwrap().to_bytes())
}

#[tokio::test]
async fn a_signed_request_works_by_itself_and_for_nothing_else() {
    let place = Place::with(Quirks::default(), |options| options.prefix = "folder".into()).await;
    let minute = Duration::from_secs(60);
    let bound = Bound { size: Some(5), ..Bound::default() };
    let put = Presign::presign(&place.store, &key("a b"), PresignMethod::Put(bound), minute).await.unwrap();
    assert_eq!(send(&put, "seven77").await.0, 403, "another size was taken");
    assert_eq!(send(&put, "hello").await.0, 200);
    assert_eq!(place.bucket.names(), ["folder/a b"]);
    let get = PresignMethod::Get(SentAs::default());
    let get = Presign::presign(&place.store, &key("a b"), get, minute).await.unwrap();
    assert!(get.headers.is_empty(), "its holder has to know {:?}", get.headers);
    assert_eq!(send(&get, "").await, (200, "hello".into()));
    let elsewhere = SignedRequest { url: get.url.replace("a%20b", "a%20c"), ..get.clone() };
    assert_eq!(send(&elsewhere, "").await.0, 403);
    assert!(!format!("{get:?}").contains("X-Amz-Signature"));
}

#[tokio::test]
async fn a_signed_put_is_bound_to_the_type_and_where_the_server_checks_it_to_the_hash() {
    let place = Place::with(Quirks::default(), |_| {}).await;
    let minute = Duration::from_secs(60);
    let bound = || Bound {
        content_type: Some("image/png".into()),
        sha256: Some(Digests::of(b"hello").sha256),
        ..Bound::default()
    };
    let signed =
        async |bound| Presign::presign(&place.store, &key("a"), PresignMethod::Put(bound), minute).await.unwrap();
    let sent = |request: &SignedRequest, name: &str| {
        request.headers.iter().find(|(header, _)| header == name).map(|(_, value)| value.clone())
    };
    let unknown = signed(bound()).await;
    assert_eq!(sent(&unknown, "content-type").as_deref(), Some("image/png"));
    assert_eq!(sent(&unknown, "x-amz-checksum-sha256"), None, "nobody has seen that the server checks it");
    let plain = SignedRequest { headers: vec![("content-type".into(), "text/html".into())], ..unknown };
    assert_eq!(send(&plain, "hello").await.0, 403, "another type was taken");

    let profile = place.store.profile().await.unwrap();
    assert!(profile.checks_sha256, "{profile:?}");
    let known = signed(bound()).await;
    assert!(sent(&known, "x-amz-checksum-sha256").is_some(), "{:?}", known.headers);
    assert_ne!(send(&known, "hullo").await.0, 200, "other content was taken");
    assert_eq!(send(&known, "hello").await.0, 200);
}

#[tokio::test]
async fn a_signed_get_says_what_it_was_told_to() {
    let place = Place::with(Quirks::default(), |_| {}).await;
    let sent_as =
        SentAs { content_type: Some("text/plain".into()), disposition: Some("attachment; filename=\"ä b\"".into()) };
    let minute = Duration::from_secs(60);
    let get = Presign::presign(&place.store, &key("a"), PresignMethod::Get(sent_as), minute).await.unwrap();
    assert!(get.url.contains("response-content-type=text%2Fplain"), "{}", get.url);
    assert!(get.url.contains("response-content-disposition=attachment%3B%20filename%3D"), "{}", get.url);
    assert!(get.headers.is_empty(), "its holder has to know {:?}", get.headers);
}

#[tokio::test]
async fn what_a_cdn_serves_is_read_there_and_sent_to_the_bucket() {
    let place = Place::with(Quirks::default(), |options| {
        options.prefix = "folder".into();
        options.cdn_url = Some("https://cdn.example.org/files/".into());
    })
    .await;
    let minute = Duration::from_secs(60);
    let get = PresignMethod::Get(SentAs::default());
    let get = Presign::presign(&place.store, &key("a b/\u{fc}+?.txt"), get, minute).await.unwrap();
    assert_eq!(get.url, "https://cdn.example.org/files/folder/a%20b/%C3%BC%2B%3F.txt");
    let put = PresignMethod::Put(Bound::default());
    let put = Presign::presign(&place.store, &key("a"), put, minute).await.unwrap();
    assert!(put.url.contains("X-Amz-Signature") && !put.url.contains("cdn."), "{}", put.url);
}

#[tokio::test]
async fn signed_urls_are_for_the_endpoint_that_clients_reach() {
    let place = Place::with(Quirks::default(), |options| {
        options.public_endpoint = Some("https://files.example.org".into());
    })
    .await;
    let get = PresignMethod::Get(SentAs::default());
    let get = Presign::presign(&place.store, &key("a"), get, Duration::from_secs(60)).await.unwrap();
    assert!(get.url.starts_with(&format!("https://files.example.org/{BUCKET}/a?")), "{get:?}");
    assert!(place.front.requests().is_empty());
}

#[tokio::test]
async fn an_error_in_the_body_of_a_success_is_an_error() {
    let place = Place::with(Quirks::default(), |options| options.part_bytes = 5 << 20).await;
    place.store.profile().await.unwrap();
    let bytes = large(6 << 20);
    // The completion is the fourth request: begin, two parts, complete.
    for (times, is_ok) in [(1, true), (1_000, false)] {
        let name = key(&format!("a/{times}"));
        place.front.plan(3, times, Fault::ErrorIn200);
        let put = place.store.put(&name, in_blocks(&bytes), PutOptions::create()).await;
        place.front.calm();
        assert_eq!(put.is_ok(), is_ok, "{put:?}");
        assert_eq!(place.bucket.names().contains(&name.to_string()), is_ok);
        place.abort_all().await;
    }
    place.front.plan(1, 1, Fault::ErrorIn200);
    place.store.copy(&key("a/1"), &key("b"), PutOptions::create()).await.unwrap();
    assert!(place.bucket.state().objects["b"].bytes == bytes);
}

#[tokio::test]
async fn what_was_answered_in_other_words_is_looked_for() {
    let place = Place::with(Quirks::default(), |options| options.part_bytes = 5 << 20).await;
    let (bytes, listed) = (large(6 << 20), || place.store.list(ListOptions::default()).try_collect::<Vec<_>>());
    place.store.profile().await.unwrap();
    place.front.plan(3, 1, Fault::OtherWords);
    place.store.put(&key("a"), in_blocks(&bytes), PutOptions::create()).await.unwrap();
    assert_eq!(place.front.calm(), 1);
    place.front.plan(1, 1, Fault::OtherWords);
    place.store.copy(&key("a"), &key("b"), PutOptions::create()).await.unwrap();
    assert_eq!(place.front.calm(), 1);
    place.front.plan(0, 1, Fault::OtherWords);
    let error = listed().await.unwrap_err();
    assert!(told(&error).contains("the answer is no S3"), "{}", told(&error));
    assert_eq!(listed().await.unwrap().len(), 2);
}

#[tokio::test]
async fn a_completion_that_failed_is_no_absence_while_the_upload_is_there() {
    let place = Place::new(Quirks::default()).await;
    place.store.profile().await.unwrap();
    let upload = place.store.begin(&key("a")).await.unwrap();
    let part = place.store.put_part(&key("a"), &upload, PartNumber::new(1).unwrap(), "a".into()).await.unwrap();
    for (status, times) in [(500, 3), (504, 3), (500, 1_000)] {
        place.front.plan(0, times, Fault::Refused(status, "InternalError"));
        let parts = std::slice::from_ref(&part);
        let error = place.store.complete(&key("a"), &upload, parts, PutMode::Create).await.unwrap_err();
        place.front.calm();
        assert_eq!(error.kind(), &ErrorKind::Indeterminate, "{status}, {times} times");
    }
}

#[tokio::test]
async fn an_upload_behind_a_gateway_that_failed_is_not_taken_for_gone() {
    let place = Place::new(Quirks::default()).await;
    place.store.profile().await.unwrap();
    for (status, kind) in [(500, ErrorKind::NotFound), (504, ErrorKind::Indeterminate)] {
        let upload = place.store.begin(&key("a")).await.unwrap();
        let part = place.store.put_part(&key("a"), &upload, PartNumber::new(1).unwrap(), "a".into()).await.unwrap();
        place.store.abort(&key("a"), &upload).await.unwrap();
        place.front.plan(0, 3, Fault::Refused(status, ""));
        let error = place.store.complete(&key("a"), &upload, &[part], PutMode::Create).await.unwrap_err();
        assert_eq!((error.kind(), place.front.calm()), (&kind, 3), "{status}");
    }
}

#[tokio::test]
async fn a_server_that_checks_nothing_is_read_back() {
    let place = Place::new(Quirks::default()).await;
    let mut known = (*place.store.profile().await.unwrap()).clone();
    known.checks_payload = false;
    let kept = serde_json::to_vec(&known).unwrap();
    place.bucket.state().objects.get_mut(".larder/profile.json").unwrap().bytes = kept.into();
    let store = S3Store::connect(place.options.clone()).await.unwrap();
    store.profile().await.unwrap();
    place.front.requests();
    store.put(&key("a"), "right".into(), PutOptions::create()).await.unwrap();
    assert_eq!(place.front.requests(), ["PUT object", "GET object"]);
    place.front.plan(1, 1, Fault::FlippedAnswer);
    let refused = store.put(&key("b"), "right".into(), PutOptions::create()).await.unwrap_err();
    assert_eq!(refused.kind(), &ErrorKind::Corrupt);
    assert_eq!(place.bucket.names(), ["a"]);
}

#[tokio::test]
async fn an_endpoint_that_is_no_s3_is_no_empty_bucket() {
    let place = Place::new(Quirks::default()).await;
    place.front.plan(0, 1_000, Fault::Refused(404, ""));
    for error in [
        place.store.head(&key("a")).await.unwrap_err(),
        place.store.get(&key("a"), GetOptions::default()).await.unwrap_err(),
        place.store.delete(&key("a")).await.unwrap_err(),
    ] {
        assert_eq!(error.kind(), &ErrorKind::Unavailable, "{}", told(&error));
    }
}
