//! What `fuzz/` feeds with whatever comes to its mind (feature `fuzzing`). Each panics where a promise is broken.

use crate::{
    deadline::Incoming,
    disposition,
    limits::Limits,
    multipart::Multipart,
    range::{self, Selection},
};
use actix_web::dev::Payload;
use bytes::Bytes;
use futures_util::{FutureExt, StreamExt, stream};

/// A `Range` header over content of some size: what is selected lies within it, in at most ten ranges that do not overlap.
pub fn range(header: &str, size: u64) {
    let ranges = match range::select(header, size) {
        Selection::Whole | Selection::Nothing => vec![],
        Selection::One(range) => vec![range],
        Selection::Several(ranges) => ranges,
    };
    assert!(ranges.len() <= 10);
    let mut sorted = ranges;
    sorted.sort_by_key(|range| range.start);
    assert!(sorted.iter().all(|range| range.start < range.end && range.end <= size), "{sorted:?} of {size}");
    assert!(sorted.windows(2).all(|pair| pair[0].end <= pair[1].start), "{sorted:?}");
}

/// A `Content-Disposition`: one header of printable ASCII, whose quoted name ends where it should, and inline only for what may be.
pub fn content_disposition(content_type: &str, name: &str, attachment: bool) {
    let value = disposition::disposition(content_type, name, attachment);
    let text = value.to_str().expect("printable ASCII");
    let rest = text.strip_prefix("attachment; filename=\"").or_else(|| {
        assert!(!attachment && !content_type.contains("html") && !content_type.contains("svg"), "{content_type}");
        text.strip_prefix("inline; filename=\"")
    });
    let (plain, more) = rest.expect("it begins with its kind").split_once('"').expect("the name is quoted");
    assert!(!plain.contains(['\\', '\r', '\n', '/']), "{text}");
    assert!(more.is_empty() || more.starts_with("; filename*=UTF-8''"), "{text}");
}

/// A form: it is the same however it was cut on its way.
pub fn multipart(content_type: &str, body: &[u8], cut: usize) {
    let whole = read(content_type, body, body.len().max(1));
    let cut = read(content_type, body, cut.clamp(1, body.len().max(1)));
    assert_eq!(whole, cut);
}

/// A part: its field, its file's name, its content.
type Part = (String, Option<String>, Vec<u8>);

/// The parts, and whether the form was refused behind them.
fn read(content_type: &str, body: &[u8], cut: usize) -> (Vec<Part>, bool) {
    let blocks: Vec<_> = body.chunks(cut).map(|block| Ok(Bytes::copy_from_slice(block))).collect();
    let payload = Payload::Stream { payload: stream::iter(blocks).boxed_local() };
    let incoming = Incoming::new(payload, Limits::default(), crate::metrics::Counted::default());
    let mut parts = Vec::new();
    let Ok(mut form) = Multipart::new(content_type, incoming, 64 << 10) else { return (parts, true) };
    let read = async {
        loop {
            match form.next().await {
                Ok(Some(part)) => parts.push((part.name, part.filename, Vec::new())),
                end => return end.is_err(),
            }
            loop {
                match form.block().await {
                    Ok(Some(block)) => parts.last_mut().expect("pushed above").2.extend_from_slice(&block),
                    Ok(None) => break,
                    Err(_) => return true,
                }
            }
        }
    };
    let refused = read.now_or_never().expect("everything has arrived");
    (parts, refused)
}
