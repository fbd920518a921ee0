//! Renditions over HTTP: what a picture's record says, presets, signed recipes, what is never made, and what never grows stale.

#![allow(clippy::unwrap_used)]

mod common;

use common::{Answer, Larder};
use larder_api::{RecipeKeys, ServerConfig};
use larder_media::{Format, RenderOptions};
use serde_json::{Value, json};
use std::{
    io::{BufRead, BufReader, Read, Write},
    time::Duration,
};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

/// A bitmap whose left half has one colour and whose right half another.
fn bitmap(width: u32, height: u32, left: [u8; 3], right: [u8; 3]) -> Vec<u8> {
    let row = (width as usize * 3).div_ceil(4) * 4;
    let mut bytes = b"BM".to_vec();
    let size = 54 + row * height as usize;
    bytes.extend((size as u32).to_le_bytes());
    bytes.extend([0; 4]);
    bytes.extend(54_u32.to_le_bytes());
    bytes.extend(40_u32.to_le_bytes());
    bytes.extend(width.to_le_bytes());
    bytes.extend(height.to_le_bytes());
    bytes.extend([1, 0, 24, 0]);
    bytes.extend([0; 24]);
    for _ in 0..height {
        let line: Vec<u8> = (0..width)
            .flat_map(|x| if x < width / 2 { left } else { right })
            .collect::<Vec<_>>()
            .chunks(3)
            .flat_map(|pixel| [pixel[2], pixel[1], pixel[0]])
            .collect();
        bytes.extend(&line);
        bytes.extend(vec![0; row - line.len()]);
    }
    bytes
}

const RED: [u8; 3] = [200, 30, 30];
const BLUE: [u8; 3] = [30, 30, 200];

fn jpeg(width: u32, height: u32, left: [u8; 3], right: [u8; 3]) -> Vec<u8> {
    let source = bitmap(width, height, left, right);
    larder_media::render(&source, &"q_90,f_jpeg".parse().unwrap(), &RenderOptions::default()).unwrap().bytes
}

fn put(larder: &Larder, bucket: &str, content: &[u8]) -> Value {
    let answer = larder.ada(&format!("POST /api/v1/buckets/{bucket}/files?name=a/p.jpg")).body(content).send();
    assert_eq!(answer.status, 201, "{}", answer.text());
    answer.json()
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap()
}

fn size(answer: &Answer) -> (u32, u32) {
    let shown = larder_media::probe(&answer.body).unwrap().shown();
    (shown.width, shown.height)
}

/// The path of a URL by this recipe.
fn signed(larder: &Larder, id: &str, recipe: &str) -> String {
    let answer = larder.ada(&format!("POST /api/v1/files/{id}/renditions")).json(&json!({ "recipe": recipe })).send();
    assert_eq!(answer.status, 200, "{recipe}: {}", answer.text());
    assert_eq!(answer.header("cache-control"), Some("no-store"));
    let answer = answer.json();
    let path = text(&answer["url"]).strip_prefix("http://larder").unwrap().to_owned();
    common::secrets::keep(path.split('/').nth(2).unwrap());
    path
}

/// How many renditions were had in this way.
fn counted(larder: &Larder, outcome: &str) -> u64 {
    let metrics = larder.root("GET /metrics").send().text();
    let line = format!("larder_renditions_answered_total{{outcome=\"{outcome}\"}} ");
    metrics.lines().find_map(|found| found.strip_prefix(&line)).unwrap().parse().unwrap()
}

fn kept(larder: &Larder) -> usize {
    larder.disk.objects().iter().filter(|(key, _)| key.as_str().starts_with(".larder/renditions/")).count()
}

/// How many the server knows to be kept.
fn known_kept(larder: &Larder) -> u64 {
    let metrics = larder.root("GET /metrics").send().text();
    metrics.lines().find_map(|line| line.strip_prefix("larder_renditions_kept ")).unwrap().parse().unwrap()
}

/// Waits until something is so that happens by itself.
fn until(what: &str, holds: impl Fn() -> bool) {
    for _ in 0..20_000 {
        if holds() {
            return;
        }
        std::thread::sleep(Duration::from_millis(1));
    }
    panic!("it did not come: {what}");
}

#[test]
fn the_record_of_a_picture_says_what_it_is_and_where_it_is_to_be_seen() {
    let larder = Larder::start();
    let record = put(&larder, "images", &jpeg(640, 480, RED, RED));
    let media = &record["media"];
    assert_eq!((&media["kind"], &media["format"]), (&json!("image"), &json!("jpeg")), "{record}");
    assert_eq!((&media["width"], &media["height"]), (&json!(640), &json!(480)));
    let hash = data_encoding::BASE64.decode(text(&media["thumbhash"]).as_bytes()).unwrap();
    assert!((5..=25).contains(&hash.len()), "{media}");
    let colour = u32::from_str_radix(text(&media["colour"]).strip_prefix('#').unwrap(), 16).unwrap().to_be_bytes();
    assert!(colour[1..].iter().zip(RED).all(|(found, is)| found.abs_diff(is) < 12), "{media}");
    let id = text(&record["id"]);
    assert_eq!(record["renditions"]["thumb"], format!("/api/v1/files/{id}/renditions/thumb"));
    assert_eq!(larder.ada(&format!("GET /api/v1/files/{id}")).send().json()["media"], *media, "it is kept");

    let other = larder.put("notes.txt", b"no picture");
    assert_eq!((&other["media"], &other["renditions"]), (&Value::Null, &json!({})));
    let copy = larder.ada(&format!("POST /api/v1/files/{id}/copy")).json(&json!({})).send().json();
    assert_eq!(copy["media"], *media, "a copy is the same picture");
    let large = larder.ada(&format!("PUT /api/v1/files/{id}/content")).body(jpeg(100, 50, RED, BLUE)).send().json();
    assert_eq!((&large["media"]["width"], &large["media"]["height"]), (&json!(100), &json!(50)), "{large}");
    let none = larder.ada(&format!("PUT /api/v1/files/{id}/content")).body("text").send();
    assert_eq!(none.status, 415, "the bucket takes no text");
}

#[test]
fn a_large_picture_is_looked_at_as_it_streams_past() {
    let larder = Larder::start();
    // More than is collected in one piece, and of no announced length.
    let picture = bitmap(1200, 700, RED, BLUE);
    assert!(picture.len() > 2 << 20);
    let request = larder.ada("POST /api/v1/buckets/images/files?name=p.bmp").header("Transfer-Encoding", "chunked");
    let mut body = format!("{:x}\r\n", picture.len()).into_bytes();
    body.extend(&picture);
    body.extend(b"\r\n0\r\n\r\n");
    let answer = request.body(body).send();
    assert_eq!(answer.status, 201, "{}", answer.text());
    let media = &answer.json()["media"];
    assert_eq!((&media["width"], &media["format"]), (&json!(1200), &json!("bmp")));
    assert!(media["thumbhash"].is_string());
}

#[test]
fn what_is_no_picture_is_refused_by_a_bucket_of_pictures_and_kept_by_others() {
    let larder = Larder::start();
    let good = jpeg(64, 64, RED, BLUE);
    let huge = {
        let mut huge = bitmap(2, 2, RED, BLUE);
        huge[18..22].copy_from_slice(&30_000_u32.to_le_bytes());
        huge
    };
    let lies: [(&str, Vec<u8>); 6] = [
        ("nothing behind the signature", b"\xff\xd8\xff\xe0garbage".to_vec()),
        ("a script behind it", [b"GIF89a/*".as_slice(), b"*/=alert(1)//"].concat()),
        ("a header that is cut", good[..40].to_vec()),
        ("more pixels than are allowed", huge),
        ("a PNG without a header", b"\x89PNG\r\n\x1a\n\0\0\0\0".to_vec()),
        ("no format that is read", b"\0\0\0\x18ftypheic\0\0\0\0mif1heic".to_vec()),
    ];
    for (what, content) in lies {
        let before = larder.state();
        let answer = larder.ada("POST /api/v1/buckets/images/files?name=p.jpg").body(&content).send();
        let wanted = if what.contains("format") { (415, "unsupported_type") } else { (422, "not_an_image") };
        assert_eq!((answer.status, text(&answer.json()["code"])), wanted, "{what}: {}", answer.text());
        larder.state().same_as(&before, what);
        let elsewhere = put(&larder, "documents", &content);
        assert_eq!(elsewhere["media"], Value::Null, "{what}");
        let id = text(&elsewhere["id"]);
        for _ in 0..2 {
            let shown = larder.ada(&format!("GET /api/v1/files/{id}/renditions/thumb")).send();
            assert_eq!((shown.status, text(&shown.json()["code"])), (422, "not_an_image"), "{what}: {}", shown.text());
        }
        let revised = put(&larder, "images", &good);
        let answer = larder.ada(&format!("PUT /api/v1/files/{}/content", text(&revised["id"]))).body(&content).send();
        assert_eq!(answer.status, wanted.0, "{what}: {}", answer.text());
    }
    let large = larder.ada("POST /api/v1/buckets/images/files?name=p.jpg").header("Content-Type", "image/jpeg");
    assert_eq!(large.body("just text").send().status, 415, "its type is that of its content");
    assert_eq!(counted(&larder, "made"), 0);
}

#[test]
fn a_drawing_is_an_attachment_and_shown_as_pixels() {
    let larder = Larder::start();
    let svg = "<svg xmlns='http://www.w3.org/2000/svg' width='200' height='100'><rect width='200' height='100' fill='#c81e1e'/>\
               <script>alert(1)</script></svg>";
    let record = put(&larder, "images", svg.as_bytes());
    assert_eq!(
        (&record["content_type"], &record["media"]["width"]),
        (&json!("image/svg+xml"), &json!(200)),
        "{record}"
    );
    let id = text(&record["id"]);
    let content = larder.ada(&format!("GET /api/v1/files/{id}/content")).send();
    assert!(content.header("content-disposition").unwrap().starts_with("attachment"), "{content:?}");
    let shown = larder.ada(&format!("GET /api/v1/files/{id}/renditions/thumb")).send();
    assert_eq!((shown.status, shown.header("content-type")), (200, Some("image/png")), "{}", shown.text());
    assert!(shown.header("content-disposition").unwrap().starts_with("inline"));
}

#[test]
fn a_preset_is_shown_to_who_may_read_the_file_in_the_format_that_suits() {
    let larder = Larder::start();
    let record = put(&larder, "images", &jpeg(1000, 500, RED, BLUE));
    let id = text(&record["id"]).to_owned();
    let get = |preset: &str, accept: &str| {
        larder.ada(&format!("GET /api/v1/files/{id}/renditions/{preset}")).header("Accept", accept).send()
    };
    let plain = get("thumb", "*/*");
    assert_eq!((plain.status, plain.header("content-type")), (200, Some("image/jpeg")), "{}", plain.text());
    assert_eq!(size(&plain), (300, 150));
    plain.assert_harmless("a rendition");
    assert_eq!(plain.header("vary"), Some("Accept"));
    assert_eq!(plain.header("content-disposition"), Some(r#"inline; filename="p.jpeg""#));
    let webp = get("thumb", "image/webp,*/*");
    assert_eq!(webp.header("content-type"), Some("image/webp"));
    assert_ne!(webp.header("etag"), plain.header("etag"));
    assert_eq!(size(&get("small", "*/*")), (640, 320));
    let normal = get("normal", "image/webp");
    assert_eq!((normal.header("content-type"), normal.header("vary")), (Some("image/jpeg"), None));
    assert_eq!(size(&normal), (1000, 500), "it is never enlarged");

    let made = counted(&larder, "made");
    let again = get("thumb", "*/*");
    assert_eq!((&again.body, again.header("etag")), (&plain.body, plain.header("etag")));
    let head = larder.ada(&format!("HEAD /api/v1/files/{id}/renditions/thumb")).send();
    assert_eq!((head.status, head.body.len()), (200, 0));
    assert_eq!(head.header("content-length").unwrap(), plain.body.len().to_string());
    let etag = plain.header("etag").unwrap();
    let known = larder.ada(&format!("GET /api/v1/files/{id}/renditions/thumb")).header("If-None-Match", etag).send();
    assert_eq!((known.status, known.header("etag"), known.body.len()), (304, Some(etag), 0));
    assert_eq!(counted(&larder, "made"), made, "nothing of this is made twice");

    let unknown = larder.ada(&format!("GET /api/v1/files/{id}/renditions/huge")).send();
    assert!(unknown.status == 404 && unknown.text().contains("thumb"), "{}", unknown.text());
    assert_eq!(larder.bob(&format!("GET /api/v1/files/{id}/renditions/thumb")).send().status, 404);
    assert_eq!(larder.ada(&format!("DELETE /api/v1/files/{id}")).send().status, 204);
    assert_eq!(get("thumb", "*/*").status, 404, "what lies in the trash is shown to nobody");
}

#[test]
fn avif_is_made_meanwhile_and_webp_shown_until_then() {
    let larder = Larder::start();
    let record = put(&larder, "images", &jpeg(400, 200, RED, BLUE));
    let target = format!("GET /api/v1/files/{}/renditions/thumb", text(&record["id"]));
    let get = || larder.ada(&target).header("Accept", "image/avif,image/webp").send();
    let first = get();
    assert_eq!(first.header("content-type"), Some("image/webp"), "{}", first.text());
    until("the AVIF", || known_kept(&larder) == 2);
    let then = get();
    assert_eq!((then.status, then.header("content-type")), (200, Some("image/avif")));
    assert_ne!(then.header("etag"), first.header("etag"));
    let stale = larder.ada(&target).header("Accept", "image/avif,image/webp");
    let stale = stale.header("If-None-Match", first.header("etag").unwrap()).send();
    assert_eq!((stale.status, stale.header("content-type")), (200, Some("image/avif")), "what it had is another one");
}

#[test]
fn what_is_shown_meanwhile_is_never_kept_for_ever() {
    let larder = Larder::start();
    let record = put(&larder, "images", &jpeg(400, 200, RED, BLUE));
    let path = signed(&larder, text(&record["id"]), "w_30,f_auto,v_1");
    let get = |etag: Option<&str>| {
        let request = larder.anybody(&format!("GET {path}")).header("Accept", "image/avif,image/webp");
        etag.map_or(request.clone(), |etag| request.header("If-None-Match", etag)).send()
    };
    let minute = Some("public, max-age=60");
    let first = get(None);
    let etag = first.header("etag").unwrap();
    assert_eq!((first.header("content-type"), first.header("cache-control")), (Some("image/webp"), minute));
    let again = get(Some(etag));
    let forever = Some("public, max-age=31536000, immutable");
    let told = (again.status, again.header("cache-control"));
    assert!([(304, minute), (200, forever)].contains(&told), "what it has is not the last word: {told:?}");
    until("the AVIF", || known_kept(&larder) == 2);
    let last = get(Some(etag));
    assert_eq!((last.status, last.header("content-type")), (200, Some("image/avif")));
    assert_eq!(last.header("cache-control"), forever);
}

#[test]
fn a_file_of_which_nobody_knows_that_it_is_a_picture_is_not_moved_among_pictures() {
    let larder = Larder::start();
    let (broken, good) =
        (put(&larder, "documents", b"\xff\xd8\xff\xe0no"), put(&larder, "documents", &jpeg(30, 20, RED, BLUE)));
    let move_it = |record: &Value| {
        larder.root(&format!("PATCH /api/v1/files/{}", text(&record["id"]))).json(&json!({ "bucket": "images" })).send()
    };
    let refused = move_it(&broken);
    assert_eq!((refused.status, text(&refused.json()["code"])), (422, "not_an_image"));
    assert_eq!(move_it(&good).status, 200);
}

#[test]
fn what_a_bucket_wants_made_ahead_is_there_before_anybody_asks() {
    let larder = Larder::start();
    put(&larder, "gallery", &jpeg(400, 200, RED, BLUE));
    until("both presets", || kept(&larder) == 2);
    assert_eq!(counted(&larder, "made"), 2);
    larder.ada("POST /api/v1/buckets/gallery/files?name=t").body("text").send();
    put(&larder, "images", &jpeg(300, 200, RED, BLUE));
    // They are made in the order in which they came.
    put(&larder, "gallery", &jpeg(200, 400, RED, BLUE));
    until("those of the next", || kept(&larder) >= 4);
    assert_eq!((kept(&larder), counted(&larder, "made")), (4, 4), "of others nothing is");
}

#[test]
fn a_signed_url_shows_one_rendition_to_everybody() {
    let larder = Larder::start();
    let record = put(&larder, "images", &jpeg(1000, 500, RED, BLUE));
    let id = text(&record["id"]);
    let path = signed(&larder, id, "h_100,w_100,fit_cover,f_webp");
    assert!(path.contains("/w_100,h_100,fit_cover,f_webp/"), "canonical: {path}");
    let shown = larder.anybody(&format!("GET {path}")).send();
    assert_eq!((shown.status, shown.header("content-type")), (200, Some("image/webp")), "{}", shown.text());
    assert_eq!((size(&shown), Format::of(&shown.body).unwrap()), ((100, 100), Format::Webp));
    assert_eq!(shown.header("cache-control"), Some("public, max-age=60"));
    assert_eq!(shown.header("cross-origin-resource-policy"), Some("cross-origin"), "it stands in others' pages");
    assert_eq!(shown.header("content-disposition"), Some(r#"inline; filename="picture.webp""#), "not the file's name");
    let named = larder.anybody(&format!("GET {path}/holiday.jpg")).send();
    assert_eq!(named.body, shown.body, "a name changes nothing");
    assert_eq!(named.header("content-disposition"), Some(r#"inline; filename="holiday.webp""#));
    assert_eq!(larder.anybody(&format!("HEAD {path}")).send().status, 200);
    let of_revision = signed(&larder, id, "w_50,v_1");
    let shown = larder.anybody(&format!("GET {of_revision}")).send();
    assert_eq!(shown.header("cache-control"), Some("public, max-age=31536000, immutable"));
    let by_focus = signed(&larder, id, "w_50,h_50,fit_cover,g_focal,v_1");
    let shown = larder.anybody(&format!("GET {by_focus}")).send();
    assert_eq!(shown.header("cache-control"), Some("public, max-age=60"), "the focal point may move");

    assert_eq!(larder.ada(&format!("DELETE /api/v1/files/{id}")).send().status, 204);
    assert_eq!(larder.anybody(&format!("GET {path}")).send().status, 404, "in the trash");
}

#[test]
fn a_url_that_was_tampered_with_is_403_and_makes_nothing() {
    let larder = Larder::start();
    let record = put(&larder, "images", &jpeg(300, 200, RED, BLUE));
    let other = put(&larder, "images", &jpeg(200, 300, RED, BLUE));
    let (id, other) = (text(&record["id"]), text(&other["id"]));
    let path = signed(&larder, id, "w_100");
    let parts: Vec<&str> = path.split('/').collect();
    let (signature, recipe) = (parts[2], parts[3]);
    let flipped = signature.replacen(|c: char| c.is_ascii_lowercase(), "0", 1);
    let cases = [
        format!("/i/{signature}/w_101/{id}"),
        format!("/i/{signature}/{recipe}/{other}"),
        format!("/i/{signature}/{recipe},f_webp/{id}"),
        format!("/i/{signature}/w_0100/{id}"),
        format!("/i/{signature}/w%5F100/{id}"),
        format!("/i/{signature}/{recipe}/{}", id.to_uppercase()),
        format!("/i/{flipped}/{recipe}/{id}"),
        format!("/i/{}/{recipe}/{id}", &signature[..signature.len() - 1]),
        format!("/i/2{}/{recipe}/{id}", &signature[1..]),
        format!("/i/{}/{recipe}/{id}", &signature[2..]),
        format!("/i/x/{recipe}/{id}"),
    ];
    for case in cases {
        let answer = larder.anybody(&format!("GET {case}")).send();
        assert_eq!((answer.status, text(&answer.json()["code"])), (403, "forbidden"), "{case}");
    }
    assert_eq!((counted(&larder, "made"), kept(&larder)), (0, 0));
}

#[test]
fn ten_thousand_sizes_that_nobody_signed_are_never_made() {
    let larder = Larder::start();
    let record = put(&larder, "images", &jpeg(300, 200, RED, BLUE));
    let (id, path) = (text(&record["id"]), signed(&larder, text(&record["id"]), "w_10"));
    let signature = path.split('/').nth(2).unwrap();
    let mut connection = larder.connect();
    connection.set_nodelay(true).unwrap();
    let mut answers = BufReader::new(connection.try_clone().unwrap());
    for number in 0..10_000 {
        let (width, height) = (1 + number % 100, 11 + number / 100);
        let request = format!("GET /i/{signature}/w_{width},h_{height}/{id} HTTP/1.1\r\nHost: larder\r\n\r\n");
        connection.write_all(request.as_bytes()).unwrap();
        let (mut line, mut length) = (String::new(), 0);
        answers.read_line(&mut line).unwrap();
        assert!(line.starts_with("HTTP/1.1 403 "), "{line}");
        while line != "\r\n" {
            line.clear();
            answers.read_line(&mut line).unwrap();
            if let Some(bytes) = line.to_lowercase().strip_prefix("content-length:") {
                length = bytes.trim().parse().unwrap();
            }
        }
        answers.read_exact(&mut vec![0; length]).unwrap();
    }
    assert_eq!((counted(&larder, "made"), kept(&larder)), (0, 0));
}

#[test]
fn a_thousand_who_want_the_same_cold_rendition_have_it_made_once() {
    let larder = Larder::start();
    let record = put(&larder, "images", &jpeg(2000, 1500, RED, BLUE));
    let path = signed(&larder, text(&record["id"]), "w_200,f_webp");
    let (addr, request) = (larder.addr, format!("GET {path} HTTP/1.1\r\nHost: larder\r\nConnection: close\r\n\r\n"));
    let bodies = larder.block_on(async {
        let mut tasks = tokio::task::JoinSet::new();
        for _ in 0..1000 {
            let request = request.clone();
            tasks.spawn(async move {
                let mut connection = tokio::net::TcpStream::connect(addr).await.unwrap();
                connection.write_all(request.as_bytes()).await.unwrap();
                let mut answer = vec![];
                connection.read_to_end(&mut answer).await.unwrap();
                assert!(answer.starts_with(b"HTTP/1.1 200 "), "{}", String::from_utf8_lossy(&answer));
                let end = answer.windows(4).position(|four| four == b"\r\n\r\n").unwrap();
                answer.split_off(end + 4)
            });
        }
        tasks.join_all().await
    });
    assert_eq!(counted(&larder, "made"), 1);
    assert!(bodies.iter().all(|body| *body == bodies[0]) && Format::of(&bodies[0]).unwrap() == Format::Webp);
}

#[test]
fn a_replaced_or_refocused_picture_is_never_shown_as_it_was() {
    let larder = Larder::start();
    let record = put(&larder, "images", &jpeg(400, 100, RED, BLUE));
    let id = text(&record["id"]).to_owned();
    let (newest, first) = (signed(&larder, &id, "w_40"), signed(&larder, &id, "w_40,v_1"));
    let focal = signed(&larder, &id, "w_100,h_100,fit_cover,g_focal,f_png");
    let get = |path: &str| larder.anybody(&format!("GET {path}")).send();
    let colour = |answer: &Answer| {
        let whole = larder_media::placeholder(&answer.body, &larder_media::Limits::default(), &|| false).unwrap();
        whole.dominant_colour
    };
    let is_red = |colour: [u8; 3]| colour[0] > colour[2];

    let (middle, old) = (get(&focal), get(&newest));
    let patch = |value: Value| larder.ada(&format!("PATCH /api/v1/files/{id}")).json(&json!({ "focal": value })).send();
    assert_eq!(patch(json!([0.0, 0.5])).json()["media"]["focal"], json!([0.0, 0.5]));
    let left = get(&focal);
    assert!(left.header("etag") != middle.header("etag") && is_red(colour(&left)));
    patch(json!([1, 0.5]));
    let right = get(&focal);
    assert!(right.header("etag") != left.header("etag") && !is_red(colour(&right)));
    assert_eq!(get(&newest).header("etag"), old.header("etag"), "others do not depend on it");
    for wrong in [json!([2, 0]), json!([0.5]), json!("left"), json!([null, 1])] {
        assert_eq!(patch(wrong.clone()).status, 422, "{wrong}");
    }
    assert!(patch(Value::Null).json()["media"].get("focal").is_none());
    assert_eq!(get(&focal).header("etag"), middle.header("etag"));
    let text_file = larder.put("a.txt", b"x");
    let refused =
        larder.ada(&format!("PATCH /api/v1/files/{}", text(&text_file["id"]))).json(&json!({"focal": [0, 0]}));
    assert_eq!(refused.send().status, 422);

    let replaced = larder.ada(&format!("PUT /api/v1/files/{id}/content")).body(jpeg(400, 100, BLUE, BLUE)).send();
    assert_eq!(replaced.status, 200);
    let new = get(&newest);
    assert_ne!(new.header("etag"), old.header("etag"));
    assert_ne!(new.body, old.body);
    assert_eq!(get(&first).body, old.body, "the first revision is as it was");
    let none = larder.ada(&format!("POST /api/v1/files/{id}/renditions")).json(&json!({ "recipe": "w_1,v_9" })).send();
    assert_eq!(none.status, 404, "there is no such revision");
}

#[test]
fn of_a_purged_file_nothing_is_left() {
    let larder = Larder::start();
    let (one, other) =
        (put(&larder, "images", &jpeg(400, 100, RED, BLUE)), put(&larder, "images", &jpeg(90, 90, RED, BLUE)));
    for id in [text(&one["id"]), text(&other["id"])] {
        for preset in ["thumb", "small", "normal"] {
            let shown = larder.ada(&format!("GET /api/v1/files/{id}/renditions/{preset}")).send();
            assert_eq!(shown.status, 200, "{}", shown.text());
        }
    }
    until("all are kept", || kept(&larder) == 6);
    assert_eq!(larder.ada(&format!("DELETE /api/v1/files/{}?purge=true", text(&one["id"]))).send().status, 204);
    until("only the other file's stay", || kept(&larder) == 3);
    let gone = format!(".larder/renditions/{}", text(&one["id"]));
    assert!(!larder.disk.objects().iter().any(|(key, _)| key.as_str().starts_with(&gone)));
}

#[test]
fn a_url_ends_when_its_recipe_says_so() {
    let larder = Larder::start();
    let record = put(&larder, "images", &jpeg(300, 200, RED, BLUE));
    let ends = common::START / 1000 + 3600;
    let path = signed(&larder, text(&record["id"]), &format!("w_30,exp_{ends}"));
    let shown = larder.anybody(&format!("GET {path}")).send();
    assert_eq!((shown.status, shown.header("cache-control")), (200, Some("public, max-age=60")));
    larder.clock.advance(Duration::from_secs(3600));
    let ended = larder.anybody(&format!("GET {path}")).send();
    assert_eq!((ended.status, text(&ended.json()["code"])), (410, "gone"));
}

#[test]
fn a_wrong_recipe_is_400_and_names_its_key() {
    let larder = Larder::start();
    let record = put(&larder, "images", &jpeg(30, 20, RED, BLUE));
    let path = format!("POST /api/v1/files/{}/renditions", text(&record["id"]));
    for (recipe, named) in [
        ("w_0", "`w`"),
        ("w_5000", "`w`"),
        ("size_3", "`size`"),
        ("w_1,w_2", "`w`"),
        ("fit_best", "`fit`"),
        ("f_exe", "`f`"),
        ("q_101", "`q`"),
        ("crop_0:0:2:2", "`crop`"),
        ("bg_zzz", "`bg`"),
        ("exp_soon", "`exp`"),
        ("w", "`w`"),
        ("../../etc/passwd", "`"),
    ] {
        let answer = larder.ada(&path).json(&json!({ "recipe": recipe })).send();
        assert_eq!((answer.status, text(&answer.json()["code"])), (400, "malformed"), "{recipe}: {}", answer.text());
        assert!(answer.text().contains(named), "{recipe}: {}", answer.text());
    }
    for body in [json!({}), json!({ "recipe": 3 }), json!({ "recipe": "w_1", "size": 1 })] {
        assert_eq!(larder.ada(&path).json(&body).send().status, 422, "{body}");
    }
    let empty = larder.ada(&path).json(&json!({ "recipe": "" })).send();
    assert!(empty.status == 400 && empty.text().contains("f_auto"), "{}", empty.text());
}

#[test]
fn keys_change_and_urls_of_the_old_one_work_until_it_is_taken_out() {
    let keyed = |current: &str, old: &[&str]| {
        let old = old.iter().map(ToString::to_string).collect();
        let recipe_keys = RecipeKeys { current: current.into(), old };
        Larder::configured(ServerConfig { recipe_keys, ..ServerConfig::default() }, None)
    };
    // Every larder of these tests has the same secret; what is signed for a file that another does not have is 404 there, and not 403.
    let first = keyed("1", &[]);
    let record = put(&first, "images", &jpeg(30, 20, RED, BLUE));
    let path = signed(&first, text(&record["id"]), "w_10");
    assert!(path.starts_with("/i/1."), "{path}");
    let status = |larder: &Larder| larder.anybody(&format!("GET {path}")).send().status;
    assert_eq!(status(&first), 200);
    assert_eq!(status(&keyed("2", &["1"])), 404, "the old key counts");
    assert_eq!(status(&keyed("2", &[])), 403, "it was taken out");
}
