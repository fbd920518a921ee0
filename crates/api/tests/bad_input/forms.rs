use crate::{Row, Scene, impatient};

const UPLOAD: &str = "POST /api/v1/buckets/documents/files";
const FORM: &[(&str, &str)] = &[("Content-Type", "multipart/form-data; boundary=XX")];
const FILE: &str = "--XX\r\nContent-Disposition: form-data; name=\"file\"; filename=\"f\"\r\n\r\nx\r\n";
const END: &str = "--XX--\r\n";

fn field(name: &str, text: &str) -> String {
    format!("--XX\r\nContent-Disposition: form-data; name=\"{name}\"\r\n\r\n{text}\r\n")
}

fn headed(head: &str) -> String {
    format!("--XX\r\n{head}\r\n\r\nx\r\n{END}")
}

#[test]
pub(crate) fn forms_with_the_wrong_parts() {
    let name = field("name", "n");
    let deep = format!("{}{}", "[".repeat(200), "]".repeat(200));
    let long = "t".repeat(3000);
    let rows: &[Row<'_>] = &[
        (UPLOAD, FORM, END, 422, "invalid"),
        (UPLOAD, FORM, &format!("{name}{END}"), 422, "invalid"),
        (UPLOAD, FORM, &format!("{FILE}{FILE}{END}"), 422, "invalid"),
        (UPLOAD, FORM, &format!("{FILE}{name}{FILE}{END}"), 422, "invalid"),
        (UPLOAD, FORM, &format!("{name}{name}{FILE}{END}"), 422, "invalid"),
        (UPLOAD, FORM, &format!("{name}{FILE}{name}{END}"), 422, "invalid"),
        (UPLOAD, FORM, &format!("{FILE}{0}{0}{END}", field("tags", "[]")), 422, "invalid"),
        (UPLOAD, FORM, &format!("{FILE}{0}{0}{END}", field("metadata", "{}")), 422, "invalid"),
        (UPLOAD, FORM, &format!("{FILE}{}{END}", field("tags", "q3")), 422, "invalid"),
        (UPLOAD, FORM, &format!("{FILE}{}{END}", field("tags", "[1]")), 422, "invalid"),
        (UPLOAD, FORM, &format!("{FILE}{}{END}", field("tags", "{}")), 422, "invalid"),
        (UPLOAD, FORM, &format!("{FILE}{}{END}", field("tags", "[\"\"]")), 422, "invalid"),
        (UPLOAD, FORM, &format!("{FILE}{}{END}", field("tags", &format!("[\"{long}\"]"))), 422, "invalid"),
        (UPLOAD, FORM, &format!("{FILE}{}{END}", field("metadata", "[]")), 422, "invalid"),
        (UPLOAD, FORM, &format!("{FILE}{}{END}", field("metadata", "{")), 422, "invalid"),
        (UPLOAD, FORM, &format!("{FILE}{}{END}", field("metadata", &deep)), 422, "invalid"),
        (UPLOAD, FORM, &format!("{FILE}{}{END}", field("metadata", &format!("{{\"a\":{deep}}}"))), 422, "invalid"),
        (UPLOAD, FORM, &format!("{FILE}{}{END}", field("metadata", &format!("{{\"a\":\"{long}\"}}"))), 422, "invalid"),
        (UPLOAD, FORM, &format!("{FILE}{}{END}", field("name", "")), 422, "invalid"),
        (UPLOAD, FORM, &format!("{FILE}{}{END}", field("name", "a\nb")), 422, "invalid"),
        (UPLOAD, FORM, &format!("{FILE}{}{END}", field("name", &"n".repeat(1025))), 422, "invalid"),
        (UPLOAD, FORM, &format!("{}{END}", field("file", "x")), 422, "invalid"),
        (&format!("{UPLOAD}?name=a"), FORM, &format!("{FILE}{END}"), 422, "invalid"),
        (UPLOAD, FORM, &format!("{FILE}{}{END}", field("other", "").repeat(64)), 400, "malformed"),
    ];
    Scene::new().refuses(rows);
    Scene::with(impatient()).refuses(rows);
}

#[test]
pub(crate) fn forms_whose_framing_is_broken() {
    let disposition = "Content-Disposition: form-data; name=\"file\"; filename=\"f\"";
    let file = |head: &str| headed(&format!("{disposition}\r\n{head}"));
    let huge = format!("X: {}", "x".repeat(20_000));
    let rows: &[Row<'_>] = &[
        (UPLOAD, &[("Content-Type", "multipart/form-data")], FILE, 400, "malformed"),
        (UPLOAD, &[("Content-Type", "multipart/form-data; boundary=")], FILE, 400, "malformed"),
        (UPLOAD, &[("Content-Type", "multipart/form-data; boundary=\"XX")], FILE, 400, "malformed"),
        (UPLOAD, &[("Content-Type", "multipart/form-data; boundary=\"X<X\"")], FILE, 400, "malformed"),
        (UPLOAD, &[("Content-Type", "multipart/form-data; boundary=YY")], FILE, 400, "malformed"),
        (UPLOAD, FORM, "", 400, "malformed"),
        (UPLOAD, FORM, "no form", 400, "malformed"),
        (UPLOAD, FORM, FILE, 400, "malformed"),
        (UPLOAD, FORM, &format!("{FILE}--XX"), 400, "malformed"),
        (UPLOAD, FORM, &format!("{FILE}--XX-"), 400, "malformed"),
        (UPLOAD, FORM, &format!("{FILE}--XXjunk\r\n"), 400, "malformed"),
        (UPLOAD, FORM, &format!("{FILE}--XX{}\r\n", " ".repeat(1000)), 400, "malformed"),
        (UPLOAD, FORM, &FILE.replace("\r\n", "\n"), 400, "malformed"),
        (UPLOAD, FORM, "--XX\r\nContent-Disposition: form-data; name=\"file\"", 400, "malformed"),
        (UPLOAD, FORM, &headed(""), 400, "malformed"),
        (UPLOAD, FORM, &headed("Content-Type: text/plain"), 400, "malformed"),
        (UPLOAD, FORM, &headed("Content-Disposition: attachment; name=\"file\""), 400, "malformed"),
        (UPLOAD, FORM, &headed("Content-Disposition: form-data"), 400, "malformed"),
        (UPLOAD, FORM, &headed("Content-Disposition: form-data; name=\"file"), 400, "malformed"),
        (UPLOAD, FORM, &headed("Content-Disposition: form-data; name=\"file\"; name=\"tags\""), 400, "malformed"),
        (UPLOAD, FORM, &file(disposition), 400, "malformed"),
        (UPLOAD, FORM, &file("no colon"), 400, "malformed"),
        (UPLOAD, FORM, &file("a b: c"), 400, "malformed"),
        (UPLOAD, FORM, &file(": empty"), 400, "malformed"),
        (UPLOAD, FORM, &file(" folded: line"), 400, "malformed"),
        (UPLOAD, FORM, &file("X: a\u{0}b"), 400, "malformed"),
        (UPLOAD, FORM, &file("X: a\nY: b"), 400, "malformed"),
        (UPLOAD, FORM, &file(&huge), 400, "malformed"),
        (UPLOAD, FORM, &file("Content-Transfer-Encoding: base64"), 415, "unsupported_type"),
        (UPLOAD, FORM, &file("Content-Digest: sha-256=:AAAA:"), 400, "malformed"),
        (UPLOAD, &[FORM[0], ("Content-Encoding", "gzip")], FILE, 415, "unsupported_type"),
        ("PUT /api/v1/files/{file}/content", FORM, FILE, 415, "unsupported_type"),
    ];
    Scene::new().refuses(rows);
    Scene::with(impatient()).refuses(rows);
}

#[test]
pub(crate) fn a_form_can_bring_only_so_much_besides_its_file() {
    let limits = larder_api::Limits { fields_bytes_max: 1000, ..impatient() };
    let big = "x".repeat(1001);
    let rows: &[Row<'_>] = &[
        (UPLOAD, FORM, &format!("{}{FILE}{END}", field("other", &big)), 413, "too_large"),
        (UPLOAD, FORM, &format!("{FILE}{}{END}", field("metadata", &big)), 413, "too_large"),
        (UPLOAD, FORM, &format!("{big}\r\n{FILE}{END}"), 413, "too_large"),
        (UPLOAD, FORM, &format!("{0}{0}{0}{FILE}{END}", field("other", &big[..400])), 413, "too_large"),
    ];
    Scene::with(limits).refuses(rows);
}
