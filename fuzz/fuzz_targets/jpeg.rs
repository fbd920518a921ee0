//! Whatever claims to be a JPEG is decoded within its limits, to planes that are as large as they say, or refused.
#![no_main]

use larder_media::jpeg::{self, Header, Limits, Plane, Scale, Scales};
use libfuzzer_sys::fuzz_target;
use std::cell::Cell;

const LIMITS: Limits = Limits { pixels: 1 << 20, side: 4096, scans: 20 };
const SCALES: [Scale; 3] = [Scale::Eighth, Scale::Quarter, Scale::Half];

fuzz_target!(|file: (u8, &[u8])| {
    let (choice, bytes) = file;
    let scales = Scales { luma: SCALES[usize::from(choice % 3)], chroma: SCALES[usize::from(choice / 3 % 3)] };
    let rows = Cell::new(0);
    let count = || {
        rows.set(rows.get() + 1);
        false
    };
    let header = Header::read(bytes);
    if let Ok(decoded) = jpeg::decode(bytes, scales, &LIMITS, &count) {
        assert_eq!(Ok(&decoded.header), header.as_ref());
        assert_eq!(decoded.planes.len(), decoded.header.components.len());
        assert!(decoded.planes.iter().all(is_as_large_as_it_says));
    }
    assert!(rows.get() <= LIMITS.scans * LIMITS.side as usize / 8);
});

fn is_as_large_as_it_says(plane: &Plane) -> bool {
    let covers = (plane.covers.0.ceil() as usize, plane.covers.1.ceil() as usize);
    covers == (plane.width, plane.height)
        && (1..=plane.stride).contains(&plane.width)
        && plane.samples.len() == plane.stride * plane.height
}
