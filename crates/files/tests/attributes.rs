//! What users say of their files is refused before it is anywhere, or can be read again for ever.
#![allow(clippy::unwrap_used)]

mod support;

use larder_files::{
    Attributes, Caller, Error, Files, IdempotencyKey, Ledger, NewFile, Patch, Receive, Role, Settings, Sha256, UserName,
};
use larder_storage_core::Body;
use proptest::prelude::*;
use serde_json::{Map, Value, json};
use support::*;

fn metadata(value: Value) -> Map<String, Value> {
    json!({ "it": value }).as_object().unwrap().clone()
}

/// A larder with one file, and its attributes.
async fn furnished() -> (Larder, Files, Attributes) {
    let larder = Larder::new();
    let (files, _) = larder.start().await;
    let attributes = put(&files, "file").await.attributes;
    (larder, files, attributes)
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(64) })]

    #[test]
    fn a_number_is_read_back_as_it_was_written_down(numbers in prop::collection::vec(prop::num::f64::ANY, 16)) {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let (.., file) = runtime.block_on(furnished());
        let numbers: Vec<f64> = numbers.into_iter().filter(|number| number.is_finite()).collect();
        let sent: Value = serde_json::from_str(&serde_json::to_string(&numbers).unwrap()).unwrap();
        prop_assert_eq!(&sent, &json!(numbers));
        let written = Attributes { metadata: metadata(sent), ..file };
        prop_assert_eq!(Attributes::from_bytes(&written.to_bytes()).unwrap(), written);
    }
}

/// A text in so many arrays and objects by turns.
fn nested(levels: usize) -> Value {
    (0..levels).fold(json!("deep"), |inner, level| if level % 2 == 0 { json!([inner]) } else { json!({ "in": inner }) })
}

#[tokio::test]
async fn metadata_as_deep_as_it_may_be_survives_a_rebuild() {
    let (mut larder, files, file) = furnished().await;
    let patch = Patch { metadata: Some(json!({ "it": nested(31) })), ..Patch::default() };
    let updated = files.update(&local(), file.id, patch, None).await.unwrap().attributes;
    let received = files.receive(&local(), into_documents(), "x".into()).await.unwrap();
    let new = NewFile { metadata: metadata(nested(31)), ..named("deep") };
    let created = files.create(&local(), received, new).await.unwrap().file.attributes;
    assert_eq!(larder.rebuild().await.1, []);
    for attributes in [updated, created] {
        assert_eq!(attributes.metadata, metadata(nested(31)));
        assert_eq!(larder.ledger.file(attributes.id).await.unwrap().unwrap().attributes, attributes);
    }
}

#[tokio::test]
async fn deeper_metadata_is_refused_by_its_name_whatever_its_way() {
    let (larder, files, file) = furnished().await;
    let before = larder.keys();
    let refused = |result: Result<(), Error>, levels| match result {
        Err(Error::Invalid { field: "metadata", message }) => assert_eq!(message, "metadata nests at most 32 deep"),
        other => panic!("{levels} levels: {other:?}"),
    };
    for levels in [32, 33, 120, 200] {
        let received = files.receive(&local(), into_documents(), "x".into()).await.unwrap();
        let new = NewFile { metadata: metadata(nested(levels)), ..named("deep") };
        refused(files.create(&local(), received, new).await.map(drop), levels);
        let patch = Patch { metadata: Some(json!({ "it": nested(levels) })), ..Patch::default() };
        refused(files.update(&local(), file.id, patch, None).await.map(drop), levels);
    }
    assert_eq!(files.describe(&local(), file.id).await.unwrap().attributes, file);
    assert_eq!(larder.keys(), before);
}

/// A file whose attributes a later Larder has filled up, as far as they go but for `left` bytes.
async fn filled(left: usize) -> (Larder, Files, Attributes) {
    let (mut larder, files, mut file) = furnished().await;
    drop(files);
    file.unknown.insert("later".into(), json!(""));
    let room = Attributes::BYTES_MAX - left - file.to_bytes().len();
    file.unknown.insert("later".into(), json!("x".repeat(room)));
    larder.disk.damage(&file.sidecar(), file.to_bytes());
    larder.rebuild().await;
    let (files, _) = larder.start().await;
    (larder, files, file)
}

#[tokio::test]
async fn a_change_after_which_attributes_could_not_be_read_is_refused_before_it_is_anywhere() {
    let (mut larder, files, file) = filled(1).await;
    let trashed = files.remove(&local(), file.id, None).await;
    assert!(matches!(trashed, Err(Error::Internal(_))), "{trashed:?}");
    let received = files.receive_revision(&local(), file.id, "x".repeat(1000).into()).await.unwrap();
    let replaced = files.replace(&local(), file.id, received, None, None).await;
    assert!(matches!(replaced, Err(Error::Internal(_))), "{replaced:?}");
    assert_eq!(larder.bytes_at(&file.sidecar()).unwrap(), file.to_bytes());
    let shorter = Patch { tags: Some(vec![]), ..Patch::default() };
    files.update(&local(), file.id, shorter, None).await.unwrap();
    assert_eq!(larder.rebuild().await.1, []);
    assert_eq!(content(&files, file.id).await.unwrap(), b"file");
}

#[tokio::test]
async fn the_largest_record_that_a_user_may_send_leaves_room_for_all_that_can_be_done_with_it() {
    let mut larder = Larder::new();
    let longest = larder_files::BucketName::new("b".repeat(63)).unwrap();
    let settings = Settings { buckets: vec![(longest, Default::default())], ..Settings::default() };
    let (files, _) = Files::start(larder.parts(larder.ledger.another()), settings).await.unwrap();
    let user = files.add_user(UserName::new("u".repeat(40)).unwrap(), Role::User, None).await.unwrap();
    let user = Caller { id: user.id, name: user.name, role: user.role };
    let name = "ю".repeat(512);
    let room = Attributes::USER_BYTES_MAX - Attributes::user_bytes(&name, &[], &metadata(json!("")));
    let receive = Receive {
        bucket: "b".repeat(63),
        name_hint: name.clone(),
        idempotency: Some(IdempotencyKey { key: "k".into(), request: Sha256::of(b"") }),
        ..Receive::default()
    };
    let received = files.receive(&user, receive, Body::from("x")).await.unwrap();
    let new = NewFile { metadata: metadata(json!("m".repeat(room))), ..named(&name) };
    let id = files.create(&user, received, new).await.unwrap().file.attributes.id;
    files.remove(&user, id, None).await.unwrap();
    files.restore(&user, id, None).await.unwrap();
    let received = files.receive_revision(&user, id, "y".into()).await.unwrap();
    let replaced = files.replace(&user, id, received, None, None).await.unwrap().attributes;
    assert_eq!(larder.rebuild().await.1, []);
    assert_eq!(larder.ledger.file(id).await.unwrap().unwrap().attributes, replaced);
}
