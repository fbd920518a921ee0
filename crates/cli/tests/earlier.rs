//! `.env` files of earlier systems start Larder unchanged: each sample of docs/samples comes to the stores and buckets that it means, and
//! what contradicts itself is refused.
#![allow(clippy::unwrap_used, reason = "a test fails loudly")]

mod common;

use common::{Larder, Said, secrets::Told as _};
use serde_json::{Value, json};
use std::{
    path::Path,
    process::{Command, Stdio},
};

const SECRETS: [&str; 3] = ["minio-secret-of-the-sample", "aws-secret-of-the-sample", "b2-secret-of-the-sample"];

/// A command with the variables of a sample, as a shell reads them.
fn with_sample(larder: &Larder, sample: &str, arguments: &[&str]) -> Command {
    // As it is now: what is compiled in is the folder of a build that another clone may have made.
    let package = std::env::var_os("CARGO_MANIFEST_DIR").expect("cargo tells a test where its package lies");
    let sample = Path::new(&package).join("../../docs/samples").join(sample);
    let own = larder.command(&[]);
    let mut shell = Command::new("sh");
    for (name, value) in own.get_envs() {
        match value {
            Some(value) => shell.env(name, value),
            None => shell.env_remove(name),
        };
    }
    shell.args(["-c", "set -a; . \"$1\"; shift; exec \"$@\"", "sh"]).arg(sample).arg(own.get_program()).args(arguments);
    shell.current_dir(larder.place()).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    SECRETS.iter().for_each(|secret| common::secrets::keep(secret));
    shell
}

fn run(mut command: Command) -> Said {
    let output = command.told();
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    Said { status: output.status, stdout: text(output.stdout), stderr: text(output.stderr) }
}

/// What `config show` tells by variables, each on a line; and the variables that nothing goes by.
fn effective(larder: &Larder, sample: &str) -> (String, Vec<String>) {
    let said = run(with_sample(larder, sample, &["config", "show", "--json"]));
    assert!(said.status.success(), "{said:?}");
    let records: Vec<Value> = said.stdout.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let told = records.iter().filter(|one| one["variable"] != "LARDER_DATA" && one["origin"] == "variable");
    let lines = told.map(|one| {
        let (key, by) = (one["key"].as_str().unwrap(), one["variable"].as_str().unwrap());
        format!("{key} = {} # {by}\n", one["value"])
    });
    let unused = records.iter().filter(|one| one["used"] == json!(false));
    (lines.collect(), unused.map(|one| one["variable"].as_str().unwrap().to_owned()).collect())
}

#[track_caller]
fn assert_comes_to(sample: &str, lines: &str, unused: &[&str]) {
    let larder = Larder::new();
    let (shown, told) = effective(&larder, sample);
    let lines = lines.replace("HERE", larder.place().canonicalize().unwrap().to_str().unwrap());
    assert_eq!(shown, lines);
    assert_eq!(told, unused);
    let text = run(with_sample(&larder, sample, &["config", "show"]));
    assert!(unused.iter().all(|name| text.stdout.contains(&format!("# `{name}` is not used"))), "{text:?}");
    let checked = run(with_sample(&larder, sample, &["config", "check"]));
    assert!(checked.status.success(), "{checked:?}");
    let lines = checked.stdout.lines().filter(|line| line.starts_with("UNUSED "));
    assert_eq!(lines.count(), usize::from(!unused.is_empty()), "all in one line: {checked:?}");
    assert!(!larder.data().exists(), "it makes nothing");
}

#[test]
fn a_directory_of_an_earlier_system() {
    assert_comes_to(
        "local.env",
        r#"stores.local.kind = "local" # STORAGE_TYPE
stores.local.path = "HERE/storage" # STORAGE_LOCAL_PATH
buckets.audio.max_bytes = 52428800 # MAX_FILE_SIZE_MB
buckets.documents.max_bytes = 52428800 # MAX_FILE_SIZE_MB
buckets.images.max_bytes = 26214400 # MAX_IMAGE_SIZE_MB
buckets.images.types = ["image/jpeg","image/png","image/gif","image/bmp","image/tiff","image/webp","image/svg+xml"] # SUPPORTED_IMAGE_TYPES
presets.thumb = "w_300,h_300,f_auto" # IMAGE_THUMBNAIL_SIZE
"#,
        &["STORAGE_BASE_URL"],
    );
}

#[test]
fn a_minio_with_three_buckets() {
    let store = |name: &str| {
        let variable = name.to_uppercase();
        format!(
            r#"stores.minio_{name}.kind = "s3" # STORAGE_PROVIDER
stores.minio_{name}.bucket = "acme-{name}" # MINIO_BUCKET_{variable}
stores.minio_{name}.endpoint = "http://minio:9000" # MINIO_ENDPOINT
stores.minio_{name}.region = "us-east-1" # MINIO_REGION
stores.minio_{name}.access_key_id = "minio-access" # MINIO_ACCESS_KEY
stores.minio_{name}.secret_access_key = "…" # MINIO_SECRET_KEY
stores.minio_{name}.create_bucket = true # STORAGE_PROVIDER
"#
        )
    };
    let bucket = |name: &str| {
        let variable = name.to_uppercase();
        format!(
            r#"buckets.{name}.placement = ["minio_{name}"] # MINIO_BUCKET_{variable}
buckets.{name}.max_bytes = 10485760 # MAX_UPLOAD_SIZE
buckets.{name}.trash_days = 36500 # STORAGE_RETENTION_DAYS
"#
        )
    };
    let of_all = |one: &dyn Fn(&str) -> String| ["audio", "documents", "images"].map(one).concat();
    assert_comes_to(
        "minio.env",
        &format!(
            "placement = [\"minio_documents\"] # STORAGE_PROVIDER\n\
             limits.signed_url_seconds = 3600 # STORAGE_PRESIGNED_URL_EXPIRY\n{}{}",
            of_all(&store),
            of_all(&bucket)
        ),
        &[
            "ENABLE_STORAGE_ENCRYPTION",
            "S3_BUCKET",
            "S3_REGION",
            "STORAGE_MAX_MULTIPART_SIZE",
            "STORAGE_RETENTION_DAYS",
        ],
    );
}

#[test]
fn folders_of_a_bucket_at_aws() {
    let store = |name: &str| {
        let variable = name.to_uppercase();
        format!(
            r#"stores.s3_{name}.kind = "s3" # STORAGE_PROVIDER
stores.s3_{name}.bucket = "acme-production" # S3_BUCKET
stores.s3_{name}.prefix = "{name}" # S3_BUCKET_{variable}
stores.s3_{name}.region = "eu-central-1" # S3_REGION
stores.s3_{name}.access_key_id = "AKIAEXAMPLE" # S3_ACCESS_KEY
stores.s3_{name}.secret_access_key = "…" # S3_SECRET_KEY
stores.s3_{name}.encryption = "AES256" # ENABLE_STORAGE_ENCRYPTION
stores.s3_{name}.create_bucket = true # STORAGE_PROVIDER
"#
        )
    };
    let bucket = |name: &str| {
        let variable = name.to_uppercase();
        format!(
            r#"buckets.{name}.placement = ["s3_{name}"] # S3_BUCKET_{variable}
buckets.{name}.max_bytes = 10485760 # MAX_UPLOAD_SIZE
buckets.{name}.trash_days = 365 # STORAGE_RETENTION_DAYS
"#
        )
    };
    let of_all = |one: &dyn Fn(&str) -> String| ["audio", "documents", "images"].map(one).concat();
    assert_comes_to(
        "aws.env",
        &format!("placement = [\"s3_documents\"] # STORAGE_PROVIDER\n{}{}", of_all(&store), of_all(&bucket)),
        &["STORAGE_RETENTION_DAYS"],
    );
}

#[test]
fn a_bucket_at_backblaze() {
    assert_comes_to(
        "backblaze.env",
        r#"stores.s3.kind = "s3" # STORAGE_TYPE
stores.s3.bucket = "acme-files" # S3_COMPATIBLE_BUCKET_NAME
stores.s3.endpoint = "https://s3.us-west-002.backblazeb2.com" # S3_COMPATIBLE_ENDPOINT
stores.s3.region = "us-west-002" # S3_COMPATIBLE_REGION
stores.s3.access_key_id = "002example" # S3_COMPATIBLE_ACCESS_KEY
stores.s3.secret_access_key = "…" # S3_COMPATIBLE_SECRET_KEY
stores.s3.create_bucket = true # STORAGE_TYPE
buckets.images.max_bytes = 26214400 # MAX_IMAGE_SIZE_MB
"#,
        &[],
    );
}

#[test]
fn a_directory_of_an_earlier_system_is_served_and_what_is_not_used_is_said() {
    let larder = Larder::new();
    let file = larder.file("photo.png", common::DOT);
    let put = run(with_sample(&larder, "local.env", &["put", &file, "--bucket", "images"]));
    assert!(put.status.success(), "{put:?}");
    assert!(larder.place().join("storage/images/local").is_dir(), "from where the process runs, not below its data");
    let server = common::Server::start(with_sample(&larder, "local.env", &["serve", "--listen", "127.0.0.1:0"]));
    let server = server.expect("it serves");
    let said = server.said();
    assert_eq!(
        said.matches("not used: `STORAGE_BASE_URL` (links to this server begin with `public_url`").count(),
        1,
        "{said}"
    );
    assert!(server.stop().success());
}

/// Runs with these variables.
fn with(larder: &Larder, variables: &[(&str, &str)], arguments: &[&str]) -> Said {
    let mut command = larder.command(arguments);
    command.envs(variables.iter().copied());
    common::secrets::keep("hush-hush-hush");
    run(command)
}

const MINIO: [(&str, &str); 5] = [
    ("STORAGE_TYPE", "minio"),
    ("MINIO_ENDPOINT", "http://127.0.0.1:9"),
    ("MINIO_ACCESS_KEY", "id"),
    ("MINIO_SECRET_KEY", "hush-hush-hush"),
    ("MINIO_BUCKET", "acme"),
];

#[test]
fn what_is_said_for_larder_goes_over_what_was_said_for_earlier_systems() {
    let larder = Larder::new();
    let file = larder.file("my.toml", "[buckets.documents]\nmax_bytes = 7\n[stores.minio]\nmode = \"ro\"\n");
    let more = [("MAX_FILE_SIZE_MB", "1   # MB"), ("LARDER_STORES__MINIO__REGION", "here"), ("MINIO_REGION", "there")];
    let said = with(&larder, &[&MINIO[..], &more].concat(), &["config", "show", "--config", &file]);
    assert!(said.status.success(), "{said:?}");
    for (line, origin) in [
        ("buckets.documents.max_bytes = 7 ", "my.toml:2"),
        ("buckets.images.max_bytes = 1048576 ", "MAX_FILE_SIZE_MB"),
        ("stores.minio.mode = \"ro\" ", "my.toml:4"),
        ("stores.minio.region = \"here\" ", "LARDER_STORES__MINIO__REGION"),
        ("stores.minio.bucket = \"acme\" ", "MINIO_BUCKET"),
        ("placement = [\"minio\"] ", "default"),
    ] {
        let is_told = |told: &&str| told.starts_with(line) && told.ends_with(origin);
        assert_eq!(said.stdout.lines().filter(is_told).count(), 1, "{line}{origin}: {}", said.stdout);
    }
}

#[test]
fn two_words_about_where_files_lie_are_refused_by_the_names_of_both() {
    let far = "[stores.far]\nkind = \"s3\"\nbucket = \"b\"\n";
    for (variables, toml, words) in [
        (&MINIO[..], far, &["`STORAGE_TYPE` makes the store `minio`", "[stores.far] (in ", "unset `STORAGE_TYPE`"][..]),
        (&[("STORAGE_PROVIDER", "local")], far, &["`STORAGE_PROVIDER` makes the store `local`", "larder.toml"]),
        (
            &[("STORAGE_TYPE", "local"), ("LARDER_STORES__FAR__PATH", "x")],
            "",
            &["`STORAGE_TYPE` makes", "(from the variable LARDER_STORES__FAR__"],
        ),
        (&MINIO[1..], "", &["`MINIO_ACCESS_KEY` is set, and neither `STORAGE_TYPE` nor", "set `STORAGE_TYPE`"]),
        (&[("STORAGE_TYPE", "minio")], "", &["`STORAGE_TYPE` is `minio`, and `MINIO_ENDPOINT` is not set"]),
        (&MINIO, "placement = \"local\"", &["unknown store `local`", "`minio`"]),
        (&MINIO, "stores.minio.path = \"x\"", &["`path` is a directory's"]),
    ] {
        let larder = Larder::new();
        larder.file("data/larder.toml", toml);
        for arguments in [&["config", "show"][..], &["put", "data/larder.toml"], &["serve", "--listen", "127.0.0.1:0"]]
        {
            let said = with(&larder, variables, arguments);
            assert_eq!(said.status.code(), Some(1), "{words:?}: {said:?}");
            assert!(words.iter().all(|word| said.stderr.contains(word)), "{words:?}: {said:?}");
        }
        assert_eq!(std::fs::read_dir(larder.data()).unwrap().count(), 1, "nothing was made");
    }
}

#[test]
fn a_larder_whose_stores_are_named_goes_its_way_beside_variables_of_others() {
    let larder = Larder::new();
    larder.file("data/larder.toml", "[stores.local]\n");
    let file = larder.file("file", "content");
    let said = with(&larder, &MINIO[1..], &["put", &file]);
    assert!(said.status.success(), "{said:?}");
    let said = with(&larder, &MINIO[1..], &["config", "check"]);
    assert!(said.stdout.contains("not used: `MINIO_ACCESS_KEY`, `MINIO_BUCKET`"), "{said:?}");
    let demo = with(&Larder::new(), &MINIO[1..], &["demo"]);
    assert!(demo.status.success(), "a demo hears of none: {demo:?}");
}
