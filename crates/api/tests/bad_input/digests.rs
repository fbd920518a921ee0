use crate::{Row, Scene};

const UPLOAD: &str = "POST /api/v1/buckets/documents/files?name=a";
/// Of `x`, and of `y`.
const X: &str = "2d711642b726b04401627ca9fbac32f5c8530fb1903cc4db02258717921a4881";
const Y: &str = "a1fce4363854ff888cff4b8e7875d600c2682390412a8cf79b37d0b11148b0fa";

#[test]
pub(crate) fn digests_that_are_none_or_anothers() {
    let asked = |digest: &str| format!("{UPLOAD}&sha256={digest}");
    let short = "sha-256=:AAAA:";
    let wrong = "sha-256=:ofzkNjhU/4iM/0uOeHXWAMJoI5BBKoz3mzfQsRFIsPo=:";
    let rows: &[Row<'_>] = &[
        (&asked(""), &[], "x", 400, "malformed"),
        (&asked("abc"), &[], "x", 400, "malformed"),
        (&asked(&X[1..]), &[], "x", 400, "malformed"),
        (&asked(&format!("{X}0")), &[], "x", 400, "malformed"),
        (&asked(&X.replace('d', "g")), &[], "x", 400, "malformed"),
        (&asked(Y), &[], "x", 422, "digest_mismatch"),
        (&asked(X), &[], "", 422, "digest_mismatch"),
        (&asked(X), &[("Repr-Digest", wrong)], "x", 422, "invalid"),
        (UPLOAD, &[("Content-Digest", wrong)], "x", 422, "digest_mismatch"),
        (UPLOAD, &[("Repr-Digest", wrong)], "x", 422, "digest_mismatch"),
        (UPLOAD, &[("Repr-Digest", short)], "x", 400, "malformed"),
        (UPLOAD, &[("Content-Digest", "sha-256")], "x", 400, "malformed"),
        (UPLOAD, &[("Content-Digest", "sha-256=x")], "x", 400, "malformed"),
        (UPLOAD, &[("Content-Digest", "sha-256=:::")], "x", 400, "malformed"),
        (UPLOAD, &[("Content-Digest", "sha-256=:%%%%:")], "x", 400, "malformed"),
        (UPLOAD, &[("Content-Digest", "")], "x", 400, "malformed"),
        (UPLOAD, &[("Content-Digest", &format!("{wrong},"))], "x", 400, "malformed"),
        ("PUT /api/v1/files/{file}/content", &[("Content-Digest", wrong)], "x", 422, "digest_mismatch"),
        (&format!("PUT /api/v1/files/{{file}}/content?sha256={Y}"), &[], "x", 422, "digest_mismatch"),
        ("PUT /api/v1/files/{file}/content?sha256=0", &[], "x", 400, "malformed"),
    ];
    Scene::new().refuses(rows);
    Scene::with(crate::impatient()).refuses(rows);
}
