use crate::{Row, Scene, impatient};
use larder_api::Limits;
use std::{
    io::Write,
    time::{Duration, Instant},
};

const UPLOAD: &str = "POST /api/v1/buckets/documents/files?name=a";
const PUT: &str = "PUT /api/v1/files/{file}/content";
const UPLOAD_FORM: &str = "POST /api/v1/buckets/documents/files";
const FORM: (&str, &str) = ("Content-Type", "multipart/form-data; boundary=XX");
const HALF: &str = "--XX\r\nContent-Disposition: form-data; name=\"file\"; filename=\"f\"\r\n\r\n01234567890123456789";
const CHUNKED: (&str, &str) = ("Transfer-Encoding", "chunked");

#[test]
pub(crate) fn bodies_that_break_off() {
    let rows: &[Row<'_>] = &[
        (UPLOAD, &[("Content-Length", "10")], "x", 400, "malformed"),
        (UPLOAD, &[("Content-Length", "1000000000")], "01234567890123456789012345", 400, "malformed"),
        (UPLOAD, &[CHUNKED], "3\r\nabc\r\n", 400, "malformed"),
        (UPLOAD, &[CHUNKED], "20\r\nabc", 400, "malformed"),
        (UPLOAD, &[CHUNKED], "", 400, "malformed"),
        (UPLOAD_FORM, &[FORM, ("Content-Length", "1000")], HALF, 400, "malformed"),
        (UPLOAD_FORM, &[FORM, CHUNKED], "a\r\n--XX\r\nCont\r\n", 400, "malformed"),
        (PUT, &[("Content-Length", "10")], "x", 400, "malformed"),
        (PUT, &[CHUNKED], "14\r\n01234567890123456789\r\n", 400, "malformed"),
    ];
    Scene::new().refuses_cut_off(rows);
    Scene::with(Limits { small_body_bytes: 0, block_bytes: 8, ..Limits::default() }).refuses_cut_off(rows);
}

/// Where the framing is lost the server may end the connection without an answer.
#[test]
pub(crate) fn bodies_whose_chunks_are_none() {
    let scene = Scene::new();
    for line in [UPLOAD, PUT] {
        for body in [
            "zz\r\nabc\r\n0\r\n\r\n",
            "3\r\nabcdef\r\n0\r\n\r\n",
            "-3\r\nabc\r\n0\r\n\r\n",
            "ffffffffffffffffff\r\nabc\r\n0\r\n\r\n",
            "3\nabc\n0\n\n",
        ] {
            let before = scene.larder.state();
            let answer = scene.request(&(line, &[CHUNKED], body, 400, "malformed")).send();
            assert!(matches!(answer.status, 400 | 0), "{body:?}: {}", answer.text());
            scene.larder.state().same_as(&before, body);
        }
    }
}

#[test]
pub(crate) fn bodies_that_stand_still_time_out_and_their_connection_ends() {
    let scene = Scene::with(impatient());
    scene.refuses(&[
        (UPLOAD, &[("Content-Length", "10")], "x", 408, "timeout"),
        (UPLOAD, &[CHUNKED], "3\r\nabc\r\n", 408, "timeout"),
        (UPLOAD_FORM, &[FORM, ("Content-Length", "1000")], HALF, 408, "timeout"),
        (PUT, &[("Content-Length", "100")], "01234567890123456789", 408, "timeout"),
        (
            "POST /api/v1/auth/login",
            &[("Content-Type", "application/json"), ("Content-Length", "9")],
            "{",
            408,
            "timeout",
        ),
    ]);
}

#[test]
pub(crate) fn a_body_that_never_stands_still_but_trickles_times_out_too() {
    let limits = Limits { body_idle: Duration::from_secs(20), body_grace: Duration::from_millis(100), ..impatient() };
    let scene = Scene::with(Limits { body_rate_min: 1_000_000, ..limits });
    let row: Row<'_> = (UPLOAD, &[("Content-Length", "100000000")], "x", 408, "timeout");
    scene.refused(&row, |request| {
        let mut connection = scene.larder.connect();
        connection.write_all(&request.bytes()).unwrap();
        let (mut writer, begun) = (connection.try_clone().unwrap(), Instant::now());
        let trickle = std::thread::spawn(move || {
            // Ends when the server has closed the connection.
            while writer.write_all(b"x").is_ok() && begun.elapsed() < Duration::from_secs(15) {
                std::thread::yield_now();
            }
        });
        let answer = crate::common::read_answer(connection);
        trickle.join().unwrap();
        assert!(begun.elapsed() < Duration::from_secs(10), "long before it stood still");
        answer
    });
}

#[test]
pub(crate) fn bodies_that_announce_or_bring_too_much() {
    let scene = Scene::new();
    let huge = (17_u64 << 30).to_string();
    scene.refuses(&[
        (UPLOAD, &[("Content-Length", &huge)], "x", 413, "too_large"),
        (PUT, &[("Content-Length", &huge)], "x", 413, "too_large"),
    ]);
    let padded = format!("{{\"name\": \"{}\"}}", "x".repeat(70_000));
    let json: &[(&str, &str)] = &[("Content-Type", "application/json")];
    scene.refuses(&[
        ("PATCH /api/v1/files/{file}", json, &padded, 413, "too_large"),
        ("POST /api/v1/auth/login", json, &padded, 413, "too_large"),
    ]);
}

#[test]
pub(crate) fn an_endless_body_is_refused_without_being_read_to_its_end() {
    let scene = Scene::with(Limits { linger: Limits::LINGER_MIN, ..Limits::default() });
    let chunk = format!("10000\r\n{}\r\n", "x".repeat(0x10000));
    let refused: [Row<'_>; 4] = [
        ("POST /api/v1/buckets/nowhere/files?name=a", &[CHUNKED], "", 404, "not_found"),
        ("PUT /api/v1/files/{bobs}/content", &[CHUNKED], "", 404, "not_found"),
        ("PATCH /api/v1/files/{file}", &[CHUNKED, ("Content-Type", "application/json")], "", 413, "too_large"),
        ("GET /api/v1/files/{file}/nothing", &[CHUNKED], "", 404, "not_found"),
    ];
    for row in refused {
        scene.refused(&row, |request| {
            let mut connection = scene.larder.connect();
            connection.write_all(&request.bytes()).unwrap();
            let (mut writer, chunk, begun) = (connection.try_clone().unwrap(), chunk.clone(), Instant::now());
            let flood = std::thread::spawn(move || {
                while writer.write_all(chunk.as_bytes()).is_ok() && begun.elapsed() < Duration::from_secs(15) {}
            });
            let answer = crate::common::read_answer(connection);
            flood.join().unwrap();
            assert!(begun.elapsed() < Duration::from_secs(10), "the connection was closed");
            assert_eq!(answer.header("connection"), Some("close"));
            answer
        });
    }
}
