//! A picture's own bytes without its metadata: no pixel is touched. What is kept is a list of what a picture needs; anything else,
//! places and names of cameras and owners, thumbnails, texts, and whatever follows the picture, is left out.

use crate::{
    Format,
    probe::{jpeg_scans, jpeg_segments, png_chunks, webp_chunks},
};

/// What a PNG needs, and its frames.
const PNG_KEPT: [&[u8]; 11] =
    [b"IHDR", b"PLTE", b"tRNS", b"IDAT", b"IEND", b"gAMA", b"cHRM", b"sRGB", b"acTL", b"fcTL", b"fdAT"];
/// What a WebP needs.
const WEBP_KEPT: [&[u8]; 6] = [b"VP8 ", b"VP8L", b"VP8X", b"ALPH", b"ANIM", b"ANMF"];
/// The flags in `VP8X` of profile, EXIF and XMP.
const WEBP_METADATA_FLAGS: u8 = 0x20 | 0x08 | 0x04;

/// The picture without metadata and without a profile; `None` for other formats than JPEG, PNG and WebP, and where the picture does
/// not come to an end.
pub(crate) fn strip(format: Format, bytes: &[u8]) -> Option<Vec<u8>> {
    match format {
        Format::Jpeg => jpeg(bytes),
        Format::Png => png(bytes),
        Format::Webp => webp(bytes),
        _ => None,
    }
}

fn jpeg(bytes: &[u8]) -> Option<Vec<u8>> {
    let (mut out, mut scans) = (bytes.get(..2)?.to_vec(), None);
    for segment in jpeg_segments(bytes) {
        // APP0 (JFIF) and APP14 (Adobe) say how colours are coded.
        let kept = !matches!(segment.marker, 0xe1..=0xed | 0xef | 0xfe);
        out.extend_from_slice(if kept { segment.whole } else { &[] });
        scans = Some(segment.end);
    }
    out.extend_from_slice(bytes.get(scans?..jpeg_scans(bytes).end?)?);
    Some(out)
}

fn png(bytes: &[u8]) -> Option<Vec<u8>> {
    let mut out = bytes.get(..8)?.to_vec();
    let mut last: &[u8] = b"";
    for chunk in png_chunks(bytes).filter(|chunk| PNG_KEPT.contains(&chunk.name)) {
        out.extend_from_slice(chunk.whole);
        last = chunk.name;
    }
    (last == b"IEND").then_some(out)
}

fn webp(bytes: &[u8]) -> Option<Vec<u8>> {
    let mut out = b"RIFF\0\0\0\0WEBP".to_vec();
    for chunk in webp_chunks(bytes).filter(|chunk| WEBP_KEPT.contains(&chunk.name)) {
        let start = out.len();
        out.extend_from_slice(chunk.whole);
        if chunk.name == b"VP8X" {
            *out.get_mut(start + 8)? &= !WEBP_METADATA_FLAGS;
        }
    }
    let size = u32::try_from(out.len() - 8).ok()?;
    out[4..8].copy_from_slice(&size.to_le_bytes());
    Some(out)
}
