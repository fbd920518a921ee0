//! Pictures that want to be fatal, against the binary: each is refused or rendered within a ceiling of memory that the kernel keeps, and the
//! server lives on.

#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "a test fails loudly and tells what it saw")]

mod common;
#[path = "../../media/tests/common/mod.rs"]
mod pictures;

use common::Larder;
use pictures::bombs::{self, Fate};
use std::{
    fs,
    process::Command,
    time::{Duration, Instant},
};

/// What a process may map, all of it: its code, its threads, and the picture. Above it the kernel gives nothing, and it aborts.
const ADDRESS_SPACE_KIB: u64 = 1 << 20;
/// Far more than any takes, for machines that are busy.
const TIME_MAX: Duration = Duration::from_secs(20);

#[test]
fn no_bomb_takes_the_command_down() {
    let larder = Larder::new();
    let (source, target) = (larder.place().join("bomb"), larder.place().join("made"));
    let mut count = 0;
    for bomb in bombs::all() {
        count += 1;
        fs::write(&source, &bomb.bytes).unwrap();
        let limited = format!("ulimit -v {ADDRESS_SPACE_KIB}; exec \"$0\" \"$@\"");
        let mut command = Command::new("sh");
        command.args(["-c", &limited, env!("CARGO_BIN_EXE_larder"), "image", "--force", "--recipe", bomb.recipe, "-o"]);
        command.arg(&target).arg(&source).env("LARDER_DATA", larder.data());
        let begun = Instant::now();
        let output = command.output().unwrap();
        let (took, said) = (begun.elapsed(), String::from_utf8_lossy(&output.stderr).into_owned());
        println!("{:60} {took:>10.1?} {:?}", bomb.name, output.status.code());
        let wanted: &[i32] = match bomb.fate {
            Fate::Rendered => &[0],
            Fate::TooLarge | Fate::Refused => &[1],
            Fate::Any => &[0, 1],
        };
        // A signal has no code.
        assert!(
            output.status.code().is_some_and(|code| wanted.contains(&code)),
            "{}: {:?} {said}",
            bomb.name,
            output.status
        );
        assert!(took < TIME_MAX, "{} took {took:?}", bomb.name);
    }
    assert!(count >= 40, "only {count}");
}

#[test]
fn no_bomb_takes_the_server_down() {
    let larder = Larder::new();
    larder.user("root", true);
    let server = larder.serve();
    let client = server.client("root");
    let send = |path: &str, body: &[u8]| client.send("POST", path, &[], Some(body)).unwrap();
    for bomb in bombs::all() {
        let begun = Instant::now();
        let kept = send("/api/v1/buckets/documents/files?name=bomb", &bomb.bytes);
        assert_eq!(kept.status, 201, "{}: any file is kept: {}", bomb.name, kept.text());
        let id = kept.json()["id"].as_str().unwrap().to_owned();
        let recipe = format!("{{\"recipe\": \"{}\"}}", bomb.recipe);
        let json = [("Content-Type", "application/json")];
        let path = format!("/api/v1/files/{id}/renditions");
        let signed = client.send("POST", &path, &json, Some(recipe.as_bytes())).unwrap().json();
        let url = signed["url"].as_str().unwrap();
        let shown = client.get(&url[url.find("/i/").unwrap()..]);
        let wanted: &[u16] = match bomb.fate {
            Fate::Rendered => &[200],
            // What is not known as a picture at all is none, too.
            Fate::TooLarge | Fate::Refused => &[422],
            Fate::Any => &[200, 422, 503],
        };
        assert!(wanted.contains(&shown.status), "{}: {} {}", bomb.name, shown.status, shown.text());
        let picture = send("/api/v1/buckets/images/files?name=bomb", &bomb.bytes);
        // A picture may be right, and what its recipe asks for too much.
        let may_be_kept = matches!(bomb.fate, Fate::Rendered | Fate::Any) || bomb.recipe != "w_100";
        assert!(
            matches!(picture.status, 415 | 422) || may_be_kept && picture.status == 201,
            "{}: {}",
            bomb.name,
            picture.text()
        );
        assert!(begun.elapsed() < 3 * TIME_MAX, "{} took {:?}", bomb.name, begun.elapsed());
    }
    assert!(server.stop().success(), "it lives on to its own end");
}
