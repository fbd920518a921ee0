//! `larder image` and `larder renditions`, by the binary alone.

#![allow(clippy::unwrap_used, reason = "a test fails loudly")]

mod common;

use common::{Larder, Said};
use serde_json::Value;
use std::fs;

const DRAWING: &str = "<svg xmlns='http://www.w3.org/2000/svg' width='400' height='200'><circle cx='100' cy='100' r='80' fill='#c00'/></svg>";

fn refused(said: &Said, code: i32, words: &[&str]) {
    assert_eq!(said.status.code(), Some(code), "{said:?}");
    for word in words {
        assert!(said.stderr.contains(word), "{word}: {said:?}");
    }
}

#[test]
fn a_picture_is_made_of_a_picture_without_a_larder() {
    let larder = Larder::new();
    let source = larder.file("drawing.svg", DRAWING);
    let target = larder.place().join("small.webp");
    let target = target.to_str().unwrap();
    let said = larder.ok(&["image", &source, "--recipe", "w_100,f_webp", "-o", target, "--json"]);
    let told: Value = serde_json::from_str(&said).unwrap();
    assert_eq!((&told["format"], &told["width"], &told["height"]), (&"webp".into(), &100.into(), &50.into()), "{said}");
    let bytes = fs::read(target).unwrap();
    assert_eq!(told["size"], bytes.len());
    assert_eq!(larder_media::probe(&bytes).unwrap().format.name(), "webp");
    assert!(!larder.data().exists(), "it makes no larder");

    let again = larder.run(&["image", &source, "--recipe", "w_100,f_webp", "-o", target]);
    refused(&again, 1, &["already exists", "--force"]);
    larder.ok(&["image", &source, "--preset", "thumb", "-o", target, "--force"]);
    assert_eq!(larder_media::probe(&fs::read(target).unwrap()).unwrap().shown().width, 300);
    let mut piped = larder.command(&["image", "-", "--recipe", "w_20,f_png", "-o", "-"]);
    let child = piped.stdin(fs::File::open(&source).unwrap()).output().unwrap();
    assert_eq!(larder_media::probe(&child.stdout).unwrap().format.name(), "png");
}

#[test]
fn in_a_directory_a_picture_has_the_name_of_its_source_and_its_own_format() {
    let larder = Larder::new();
    let source = larder.file("drawing.v2.svg", DRAWING);
    let dir = larder.place().join("made");
    fs::create_dir(&dir).unwrap();
    for (format, name) in [("f_jpeg", "drawing.v2.jpg"), ("f_webp", "drawing.v2.webp")] {
        let recipe = format!("w_20,{format}");
        let said = larder.ok(&["image", &source, "--recipe", &recipe, "-o", "made", "--json"]);
        let told: Value = serde_json::from_str(&said).unwrap();
        assert_eq!(told["output"], format!("made/{name}"));
        assert_eq!(told["size"], fs::metadata(dir.join(name)).unwrap().len());
        refused(&larder.run(&["image", &source, "--recipe", &recipe, "-o", "made"]), 1, &[name, "--force"]);
        larder.ok(&["image", &source, "--recipe", &recipe, "-o", "made", "--force"]);
    }
    assert_eq!(fs::read_dir(&dir).unwrap().count(), 2, "nothing half-written is left");
    let piped = larder.feed(&["image", "-", "--recipe", "w_20", "-o", "made"], b"");
    refused(&piped, 2, &["made is a directory", "-o"]);
}

#[test]
fn what_can_not_be_made_is_said_with_what_to_do() {
    let larder = Larder::new();
    let (source, text) = (larder.file("drawing.svg", DRAWING), larder.file("a.txt", "no picture"));
    let image = |arguments: &[&str]| larder.run(&[&["image"], arguments, &["-o", "out"]].concat());
    refused(&image(&[&source, "--recipe", "w_0"]), 2, &["`w`", "1"]);
    refused(&image(&[&source, "--recipe", "size_3"]), 2, &["`size`", "keys are"]);
    refused(&image(&[&source, "--recipe", "w_10,v_2"]), 2, &["`v`", "URL"]);
    refused(&image(&[&source, "--preset", "huge"]), 2, &["`huge`", "thumb"]);
    refused(&image(&[&source]), 2, &["--recipe"]);
    refused(&image(&[&text, "--recipe", "w_10"]), 1, &["a.txt", "not an image"]);
    refused(&image(&["missing.jpg", "--recipe", "w_10"]), 1, &["missing.jpg"]);
    larder.configure("[renditions]\nsource_bytes_max = 1024\n");
    let large = larder.file("large.svg", format!("{DRAWING}{}", " ".repeat(2000)));
    refused(&image(&[&large, "--recipe", "w_10"]), 1, &["1.00 KiB", "renditions.source_bytes_max"]);
    assert!(!larder.place().join("out").exists());
}

#[test]
fn presets_are_made_ahead_counted_and_removed() {
    let larder = Larder::new();
    larder.configure("[presets]\nwide = \"w_200,f_png\"\n");
    let drawing = larder.file("drawing.svg", DRAWING);
    let broken = larder.file("broken.jpg", b"\xff\xd8\xff\xe0 and nothing");
    let id = larder.ok(&["put", &drawing, "--bucket", "images"]).trim().to_owned();
    larder.ok(&["put", &larder.file("a.txt", "text")]);
    let stat: Value = serde_json::from_str(&larder.ok(&["stat", &id, "--json"])).unwrap();
    assert_eq!((&stat["media"]["width"], &stat["media"]["height"]), (&400.into(), &200.into()), "{stat}");
    assert_eq!(stat["renditions"]["wide"], format!("/api/v1/files/{id}/renditions/wide"));

    let warm = |arguments: &[&str]| -> Value {
        serde_json::from_str(&larder.ok(&[&["renditions", "warm", "--json"], arguments].concat())).unwrap()
    };
    let first = warm(&["--preset", "wide", "--preset", "thumb"]);
    assert_eq!((&first["pictures"], &first["renditions"], &first["encoded"]), (&1.into(), &2.into(), &2.into()));
    let again = warm(&["--preset", "wide", "--preset", "thumb", "--bucket", "images"]);
    assert_eq!((&again["renditions"], &again["encoded"]), (&2.into(), &0.into()), "they were there");
    assert!(larder.ok(&["renditions", "stats"]).starts_with("2 renditions of 1 files, "));
    larder.assert_clean();
    larder.assert_rebuilds_equal();
    assert!(larder.ok(&["renditions", "purge", "--file", &id]).contains("removed 2"));
    assert!(larder.ok(&["renditions", "stats"]).starts_with("0 renditions"));
    refused(&larder.run(&["renditions", "warm", "--preset", "none"]), 2, &["`none`", "wide"]);
    refused(&larder.run(&["renditions", "purge", "--file", "x"]), 2, &["`x`"]);

    larder.ok(&["put", &broken]);
    let said = larder.run(&["renditions", "warm"]);
    refused(&said, 1, &["broken.jpg", "corrupt"]);
    assert!(said.stdout.contains("2 pictures: 1 renditions") && said.stdout.contains("1 failed"), "{said:?}");
    larder.ok(&["rm", "--purge", &id]);
    assert!(larder.ok(&["renditions", "stats"]).starts_with("0 renditions"), "a purge takes them along");
}

#[test]
fn a_configuration_that_makes_no_pictures_is_refused() {
    let larder = Larder::new();
    for (toml, words) in [
        ("[presets]\nthumb = \"w_0\"", ["`thumb`", "[presets]"]),
        ("[presets]\nThumb = \"w_1\"", ["`Thumb`", "a–z"]),
        ("[presets]\nthumb = \"w_1,v_2\"", ["`thumb`", "URL"]),
        ("[buckets.images]\npresets_ahead = [\"huge\"]", ["`huge`", "thumb"]),
        ("[renditions]\nstore = \"far\"", ["`far`", "local"]),
        ("[renditions]\nat_once = 0", ["`renditions.at_once`", "1 to 1024"]),
        ("[renditions]\nkey_id = \"A\"", ["`A`", "a–z"]),
        ("[imports]\ntimeout_seconds = 0", ["`imports.timeout_seconds`", "86400"]),
    ] {
        larder.file("data/larder.toml", toml);
        refused(&larder.run(&["config", "check"]), 1, &words);
    }
}
