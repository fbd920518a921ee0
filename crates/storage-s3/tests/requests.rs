//! How many requests an operation costs, and which: a list that is to be changed only on purpose.

#![allow(clippy::unwrap_used, reason = "these are tests, helpers included")]

mod support;

use bytes::Bytes;
use futures_util::{StreamExt, TryStreamExt, stream};
use larder_storage_core::{
    Body, ByteRange, GetOptions, Key, ListOptions, Presign, PresignMethod, PutMode, PutOptions, SentAs, Store, StoreExt,
};
use std::time::Duration;
use support::{Place, bucket::Quirks};

fn key(text: &str) -> Key {
    Key::new(text).unwrap()
}

/// A store whose server is known, with one object at `a/old`.
async fn known(quirks: Quirks) -> Place {
    let place = Place::with(quirks, |options| (options.part_bytes, options.page) = (5 << 20, 2)).await;
    place.store.put(&key("a/old"), "old".into(), PutOptions::create()).await.unwrap();
    place.front.requests();
    place
}

#[tokio::test]
async fn a_small_object_is_written_by_one_request() {
    let place = known(Quirks::default()).await;
    for mode in [PutOptions::create(), PutOptions::replace()] {
        place.store.put(&key("a/new"), "new".into(), mode).await.unwrap();
        assert_eq!(place.front.requests(), ["PUT object"]);
    }
    let etag = place.store.head(&key("a/new")).await.unwrap().etag;
    place.front.requests();
    let only = PutOptions { mode: PutMode::ReplaceIf(etag), ..PutOptions::default() };
    place.store.put(&key("a/new"), "newer".into(), only).await.unwrap();
    assert_eq!(place.front.requests(), ["PUT object"]);
}

#[tokio::test]
async fn where_conditions_are_ignored_a_create_looks_first() {
    let place = known(Quirks { ignores_conditions: true, ..Quirks::default() }).await;
    place.store.put(&key("a/new"), "new".into(), PutOptions::create()).await.unwrap();
    assert_eq!(place.front.requests(), ["HEAD object", "HEAD bucket", "PUT object"]);
    place.store.put(&key("a/new"), "new".into(), PutOptions::replace()).await.unwrap();
    assert_eq!(place.front.requests(), ["PUT object"]);
}

#[tokio::test]
async fn a_large_object_costs_its_parts_and_three() {
    let place = known(Quirks::default()).await;
    let blocks = (0..11).map(|_| Ok(Bytes::from(vec![7; 1 << 20])));
    let body = Body::once(stream::iter(blocks.collect::<Vec<_>>()).boxed(), None);
    place.store.put(&key("a/new"), body, PutOptions::create()).await.unwrap();
    let expected = ["POST uploads", "PUT part", "PUT part", "PUT part", "POST upload", "HEAD object"];
    assert_eq!(place.front.requests(), expected);
}

#[tokio::test]
async fn an_object_is_read_by_one_request_whole_or_in_part() {
    let place = known(Quirks::default()).await;
    place.store.get_bytes(&key("a/old"), 99).await.unwrap();
    assert_eq!(place.front.requests(), ["GET object"]);
    for range in [ByteRange::From(1), ByteRange::Between { first: 0, last: 1 }, ByteRange::Last(1)] {
        let options = GetOptions { range: Some(range), if_match: None };
        let object = place.store.get(&key("a/old"), options).await.unwrap();
        object.body.try_collect::<Vec<_>>().await.unwrap();
        assert_eq!(place.front.requests(), ["GET object"], "{range:?}");
    }
}

#[tokio::test]
async fn the_rest_costs_what_it_says() {
    let place = known(Quirks::default()).await;
    let store = &place.store;
    store.head(&key("a/old")).await.unwrap();
    assert_eq!(place.front.requests(), ["HEAD object"]);
    store.head(&key("a/absent")).await.unwrap_err();
    assert_eq!(place.front.requests(), ["HEAD object", "HEAD bucket"]);
    store.copy(&key("a/old"), &key("a/new"), PutOptions::create()).await.unwrap();
    assert_eq!(place.front.requests(), ["HEAD object", "PUT copy"]);
    store.delete(&key("a/new")).await.unwrap();
    assert_eq!(place.front.requests(), ["DELETE object"]);
    store.sync().await.unwrap();
    Presign::presign(store, &key("a/old"), PresignMethod::Get(SentAs::default()), Duration::from_secs(60))
        .await
        .unwrap();
    assert!(place.front.requests().is_empty());
}

#[tokio::test]
async fn a_listing_costs_its_pages() {
    let place = known(Quirks::default()).await;
    for name in ["1", "2", "3", "4"] {
        place.store.put(&key(name), name.into(), PutOptions::create()).await.unwrap();
    }
    place.front.requests();
    let listed: Vec<_> = place.store.list(ListOptions::default()).try_collect().await.unwrap();
    // Five objects, and the record of the server, two on a page.
    assert_eq!((listed.len(), place.front.requests().len()), (5, 3));
}

#[tokio::test]
async fn many_objects_are_deleted_by_one_request_where_there_is_one() {
    for (quirks, expected) in [
        (Quirks::default(), vec!["POST delete"]),
        (Quirks { has_little: true, ..Quirks::default() }, vec!["DELETE object"; 3]),
    ] {
        let place = known(quirks).await;
        let keys = [key("a/old"), key("a/absent"), key("a/too")];
        assert!(place.store.delete_many(&keys).await.iter().all(Result::is_ok));
        assert_eq!(place.front.requests(), expected);
        assert!(place.bucket.names().is_empty());
    }
}

#[tokio::test]
async fn a_server_is_asked_once_what_it_can_do() {
    let place = Place::new(Quirks::default()).await;
    place.store.put(&key("a"), "a".into(), PutOptions::create()).await.unwrap();
    let asked = place.front.requests().len();
    assert!((25..=60).contains(&asked), "{asked} requests");
    let next = larder_storage_s3::S3Store::connect(place.options.clone()).await.unwrap();
    next.put(&key("b"), "b".into(), PutOptions::create()).await.unwrap();
    assert_eq!(place.front.requests(), ["GET object", "PUT object"]);
    next.put(&key("c"), "c".into(), PutOptions::create()).await.unwrap();
    assert_eq!(place.front.requests(), ["PUT object"]);
}
