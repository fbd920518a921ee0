//! The laws of every store, over a bucket in memory with each vendor's ways, over `s3s-fs`, and over the server of the environment.

mod support;

use futures_util::TryStreamExt;
use larder_storage_core::{
    ListOptions, Multipart, Prefix, Store,
    conformance::{Harness, laws},
};
use larder_storage_s3::{Credentials, S3Options, S3Store};
use std::{env, future::Future, sync::Arc};
use support::{BUCKET, Place, bucket::Quirks, front::Front};

/// A bucket of its own; what opens it next finds what the last has left.
async fn memory(prefix: &str, quirks: Quirks) -> Harness {
    // Small pages, so that listings have seams.
    let place = Place::with(quirks, |options| (options.prefix, options.page) = (prefix.to_owned(), 7)).await;
    let harness = Harness::new(place.store.clone()).multipart().presign();
    let options = place.options.clone();
    harness.guard(place).successor(move |store| {
        let options = options.clone();
        async move {
            drop(store);
            Arc::new(S3Store::connect(options).await.expect("it was opened before")) as Arc<dyn Store>
        }
    })
}

larder_storage_core::conformance!(in_a_folder, || memory("folder/below", Quirks::default()));

/// Laws that can't be kept, and why.
type Exceptions = [(&'static str, &'static str)];

/// Holds a store to every law but the `exceptions`, which it must not keep: else they are none.
async fn hold<F: Future<Output = Harness>>(harness: impl Fn() -> F, exceptions: &Exceptions) {
    hold_but(&[], harness, exceptions).await;
}

/// As [`hold`], without the laws that may be kept or not.
async fn hold_but<F: Future<Output = Harness>>(left_out: &[&str], harness: impl Fn() -> F, exceptions: &Exceptions) {
    let mut wrong = Vec::new();
    for law in laws().iter().filter(|law| !left_out.contains(&law.name)) {
        let why = exceptions.iter().find(|(name, _)| *name == law.name).map(|(_, why)| *why);
        match (law.hold(harness().await).await, why) {
            (Ok(()), Some(why)) => wrong.push(format!("{} is kept, though {why}", law.name)),
            (Err(broken), None) => wrong.push(format!("{}: {broken}", law.name)),
            _ => {}
        }
    }
    assert!(wrong.is_empty(), "{} of {} laws:\n{}", wrong.len(), laws().len(), wrong.join("\n"));
}

const OF_THE_SDK: (&str, &str) = ("letters_of_every_script_are_kept", "the SDK takes a name of white space for none");

/// What can't be promised where a server does not compare in puts: it is refused there as `Unsupported`.
const NEEDS_CONDITIONS: [(&str, &str); 3] = [
    ("replace_if_takes_only_the_expected_object", "the server ignores conditions of puts"),
    ("replace_if_refuses_where_nothing_is", "the server ignores conditions of puts"),
    ("of_16_racing_conditional_replaces_exactly_one_wins", "the server ignores conditions of puts"),
];

/// The same where it compares neither in copies nor in completions.
const NEEDS_CONDITIONS_OF_COPIES: [(&str, &str); 1] =
    [("a_copy_replaces_only_the_expected_object", "the server ignores conditions of copies and of completions")];

/// Of a server that lists no uploads.
const TELLS_OF_NO_UPLOADS: [(&str, &str); 2] = [
    ("the_open_uploads_of_a_key_are_told", "it lists no uploads"),
    ("all_open_uploads_are_told", "it lists no uploads"),
];

#[tokio::test]
async fn a_whole_bucket_keeps_the_laws() {
    hold(|| memory("", Quirks::default()), &[OF_THE_SDK]).await;
}

#[tokio::test]
async fn a_server_that_compares_in_puts_alone_keeps_the_laws() {
    let quirks = Quirks { ignores_copy_conditions: true, ..Quirks::default() };
    hold(|| memory("folder", quirks), &[]).await;
}

#[tokio::test]
async fn a_server_with_the_gaps_of_many_keeps_the_laws() {
    let quirks = Quirks {
        has_little: true,
        completes_without_etag: true,
        lists_without_etags: true,
        lists_backwards: true,
        repeats_at_seams: true,
        ignores_ranges: true,
        versioned: true,
        ..Quirks::default()
    };
    hold(|| memory("folder", quirks), &TELLS_OF_NO_UPLOADS).await;
}

#[tokio::test]
async fn a_server_that_ignores_conditions_keeps_every_other_law() {
    let quirks = Quirks { ignores_conditions: true, ..Quirks::default() };
    let exceptions = [&NEEDS_CONDITIONS[..], &NEEDS_CONDITIONS_OF_COPIES].concat();
    hold(|| memory("folder", quirks), &exceptions).await;
}

#[tokio::test]
async fn a_server_that_compares_in_puts_alone_without_quotes_keeps_every_other_law() {
    let quirks = Quirks {
        ignores_copy_conditions: true,
        ignores_complete_conditions: true,
        compares_bare: true,
        fails_over_unknown_uploads: true,
        misdates_uploads: true,
        ..Quirks::default()
    };
    hold(|| memory("folder", quirks), &NEEDS_CONDITIONS_OF_COPIES).await;
}

/// Kept by `s3s-fs` when chance will have it: it looks at a condition, and then writes.
const RACES: [&str; 2] =
    ["of_16_racing_creates_exactly_one_wins", "of_16_racing_conditional_replaces_exactly_one_wins"];

/// Of `s3s-fs` 0.14.1: keys are paths, and uploads are kept loosely.
const OF_S3S_FS: &Exceptions = &[
    OF_THE_SDK,
    ("a_segment_of_1024_bytes_is_kept", "a name on disk has 255 bytes"),
    ("a_key_over_the_limit_is_refused", "a name on disk has 255 bytes"),
    ("a_key_of_512_segments_is_kept", "a folder that was emptied stays, and counts as an object"),
    ("a_folder_without_objects_is_in_nobodys_way", "a folder that was emptied stays, and counts as an object"),
    ("a_folder_is_no_object", "the head of a folder is a fault"),
    ("a_delete_of_a_folder_leaves_what_is_below", "the delete of a folder is a fault"),
    ("objects_lie_below_objects_exactly_as_declared", "a file is no folder"),
    ("spaces_percents_and_pluses_are_kept_as_they_are", "a listing says that it is encoded, and is not"),
    ("keys_of_attributes_and_temporary_look_are_only_keys", "a listing says that it is encoded, and is not"),
    ("a_last_range_counts_from_the_end", "a last range that is longer than the object is a fault"),
    ("every_range_of_an_empty_object_is_invalid", "a last range that is longer than the object is a fault"),
    ("parts_are_joined_by_their_numbers", "numbers of parts may have no gap"),
    ("a_later_part_takes_the_place_of_an_earlier", "a list of parts tells no ETag"),
    ("the_parts_of_an_upload_are_told", "a list of parts tells no ETag"),
    ("an_unknown_upload_is_not_found", "an upload that ended has no parts, and is there"),
    ("an_upload_of_another_part_is_refused", "the ETags of parts are not compared"),
    ("an_aborted_upload_is_gone", "an upload that ended is forbidden instead of absent"),
    TELLS_OF_NO_UPLOADS[0],
    TELLS_OF_NO_UPLOADS[1],
];

#[tokio::test]
async fn s3s_fs_keeps_every_law_that_it_can() {
    let fresh = || async {
        let folder = tempfile::tempdir().expect("a temporary directory can be made");
        std::fs::create_dir(folder.path().join(BUCKET)).expect("it is empty");
        let front = Front::start(s3s_fs::FileSystem::new(folder.path()).expect("the directory is there")).await;
        let store = S3Store::connect(support::options(&front.endpoint())).await.expect("the options are right");
        Harness::new(store).multipart().presign().guard((folder, front))
    };
    hold_but(&RACES, fresh, OF_S3S_FS).await;
}

/// Of the servers of `cargo xtask s3`, by `S3_SERVER`: the first two keep objects as files of a disk, moto is a mock.
const OF_SERVERS: &[(&str, &Exceptions)] = &[
    (
        "minio",
        &[
            ("a_segment_of_1024_bytes_is_kept", "a segment has at most 255 bytes"),
            ("a_key_over_the_limit_is_refused", "a segment has at most 255 bytes"),
            ("backslashes_are_letters", "a backslash divides segments"),
            ("objects_lie_below_objects_exactly_as_declared", "an object below an object is not listed"),
            ("a_folder_without_objects_is_in_nobodys_way", "a folder that was emptied meets `If-None-Match`"),
        ],
    ),
    (
        "versitygw",
        &[
            ("a_segment_of_1024_bytes_is_kept", "a segment has at most 255 bytes"),
            ("a_key_over_the_limit_is_refused", "a segment has at most 255 bytes"),
            ("objects_lie_below_objects_exactly_as_declared", "a file is no folder"),
        ],
    ),
    (
        "moto",
        &[
            ("a_later_part_takes_the_place_of_an_earlier", "a list of parts is a `ListPartsResponse`, as of no S3"),
            ("the_parts_of_an_upload_are_told", "a list of parts is a `ListPartsResponse`, as of no S3"),
            ("a_part_that_breaks_off_is_no_part", "a list of parts is a `ListPartsResponse`, as of no S3"),
            ("an_unknown_upload_is_not_found", "a part of an upload that ended is a fault of its own (500)"),
        ],
    ),
];

/// The server that the environment names, as `cargo xtask s3 up NAME` prints it.
fn configured() -> Option<S3Options> {
    let of = |name: &str| env::var(name).ok();
    let keys = Credentials::Keys {
        access_key_id: of("AWS_ACCESS_KEY_ID")?,
        secret_access_key: of("AWS_SECRET_ACCESS_KEY")?.into(),
        session_token: of("AWS_SESSION_TOKEN").map(Into::into),
    };
    let mut options = S3Options::new(of("S3_BUCKET")?, keys);
    options.endpoint = of("S3_ENDPOINT");
    options.region = of("AWS_REGION");
    options.create_bucket = true;
    Some(options)
}

/// Takes everything out of the bucket but the driver's own record of the server.
async fn empty(store: &S3Store) {
    for prefix in [Prefix::all(), Prefix::new(".larder").expect("it is a folder")] {
        let listed: Vec<_> = store.list(ListOptions::below(prefix)).try_collect().await.expect("the server lists");
        let keys: Vec<_> = listed.into_iter().map(|item| item.object.key).collect();
        for gone in store.delete_many(&keys).await {
            gone.expect("the server deletes");
        }
    }
    if store.profile().await.expect("the server was asked").lists_uploads {
        for open in store.open_uploads(None).await.expect("the server lists uploads") {
            store.abort(&open.key, &open.upload).await.expect("the server aborts");
        }
    }
}

#[tokio::test]
async fn the_server_of_the_environment_keeps_the_laws() {
    let Some(options) = configured() else {
        println!("skipped: S3_ENDPOINT, S3_BUCKET and the AWS keys name no server; see `cargo xtask s3 up`");
        return;
    };
    let store = S3Store::connect(options.clone()).await.expect("the options are right");
    store.open().await.expect("the bucket is there, or is made");
    let profile = store.profile().await.expect("the server can be asked");
    println!("{profile:#?}");
    let needs = NEEDS_CONDITIONS.iter().filter(|_| !profile.put.replace);
    let of_copies = NEEDS_CONDITIONS_OF_COPIES.iter().filter(|_| !profile.copy.replace && !profile.complete.replace);
    let needs = needs.chain(of_copies).copied();
    let untold = (!profile.lists_uploads).then_some(("all_open_uploads_are_told", "the server tells of one key only"));
    let of_server = env::var("S3_SERVER").ok().and_then(|name| OF_SERVERS.iter().find(|(server, _)| *server == name));
    let own = of_server.map_or(&[][..], |(_, exceptions)| exceptions);
    let exceptions: Vec<_> = needs.chain(untold).chain(own.iter().copied()).chain([OF_THE_SDK]).collect();
    let fresh = || async {
        empty(&store).await;
        let next = options.clone();
        Harness::new(store.clone()).multipart().presign().successor(move |_| {
            let next = next.clone();
            async move { Arc::new(S3Store::connect(next).await.expect("it was opened before")) as Arc<dyn Store> }
        })
    };
    hold(fresh, &exceptions).await;
    empty(&store).await;
    println!("{} of {} laws are kept; not these:", laws().len() - exceptions.len(), laws().len());
    exceptions.iter().for_each(|(law, why)| println!("  {law}: {why}"));
}
