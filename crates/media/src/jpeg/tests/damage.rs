//! Files that are cut, and files with flipped bytes.

use super::{
    SCALES, decoded, limits,
    photo::{Encoding, encode},
    random::Random,
};
use crate::jpeg::{Error, Planes, Scale, decode};
use std::{cell::Cell, panic::catch_unwind};

/// How many MCUs of 16 x 16 pixels, from the first on, are as in `whole`; those behind must be grey in every plane.
fn mcus_intact(cut: &Planes, whole: &Planes, side: usize, case: &str) -> usize {
    let columns = whole.header.width.div_ceil(16) as usize;
    let rows = whole.header.height.div_ceil(16) as usize;
    let all = |mcu: usize, check: &dyn Fn(u8, u8) -> bool| {
        cut.planes.iter().zip(&whole.planes).zip([2, 1, 1]).all(|((cut, whole), blocks)| {
            let size = side * blocks;
            let (left, top) = (mcu % columns * size, mcu / columns * size);
            let bottom = (top + size).min(cut.height);
            (top..bottom).flat_map(|y| (left..left + size).map(move |x| (x, y))).all(|(x, y)| {
                let place = y * cut.stride + x;
                check(cut.samples[place], whole.samples[place])
            })
        })
    };
    let intact = (0..columns * rows).take_while(|&mcu| all(mcu, &|cut, whole| cut == whole)).count();
    assert!((intact..columns * rows).all(|mcu| all(mcu, &|cut, _| cut == 128)), "{case}: not grey behind MCU {intact}");
    intact
}

#[test]
fn a_cut_file_shows_what_is_there_and_grey_below() {
    for (restart_interval, scale) in [0, 3].into_iter().flat_map(|interval| SCALES.map(|scale| (interval, scale))) {
        let file = encode(200, 150, Encoding { restart_interval, ..Encoding::default() });
        let whole = decoded(&file, scale).unwrap();
        let (mut last, mut shown) = (0, 0);
        for length in (0..file.len()).step_by(97).chain([file.len() - 2, file.len() - 1]) {
            let case = format!("{length} of {} bytes, {restart_interval}, {scale:?}", file.len());
            match decoded(&file[..length], scale) {
                Ok(cut) => {
                    let intact = mcus_intact(&cut, &whole, scale.side(), &case);
                    assert!(intact >= last, "{case}: {intact} MCUs, before {last}");
                    assert_eq!(cut.truncated, intact < 13 * 10, "{case}");
                    (last, shown) = (intact, shown + 1);
                }
                Err(error) => assert!(shown == 0 && matches!(error, Error::Corrupt(_) | Error::NotJpeg), "{case}"),
            }
        }
        assert!(last == 13 * 10 && shown > 20, "{last} MCUs, {shown} cuts");
    }
}

#[test]
fn a_cut_progressive_file_shows_what_is_there_and_grey_below() {
    let file = encode(200, 150, Encoding { progressive: true, ..Encoding::default() });
    let whole = decoded(&file, Scale::Eighth).unwrap();
    let blocks = 25 * 19 + 13 * 10 + 13 * 10;
    let mut last = 0;
    for length in (0..file.len()).step_by(97) {
        let Ok(cut) = decoded(&file[..length], Scale::Eighth) else {
            assert_eq!(last, 0, "{length} bytes");
            continue;
        };
        let samples = |planes: &Planes| -> Vec<u8> {
            let rows = planes
                .planes
                .iter()
                .flat_map(|plane| plane.samples.chunks(plane.stride).map(|row| &row[..plane.width]));
            rows.flatten().copied().collect()
        };
        let (cut_samples, samples) = (samples(&cut), samples(&whole));
        let intact = cut_samples.iter().zip(&samples).take_while(|(cut, whole)| cut == whole).count();
        assert!(cut_samples[intact..].iter().all(|&sample| sample == 128), "{length} bytes: not grey behind {intact}");
        assert!(intact >= last && cut.truncated == (intact < blocks), "{length} bytes: {intact} blocks");
        last = intact;
    }
    assert_eq!(last, blocks);
}

#[test]
fn a_damaged_restart_interval_leaves_the_others_as_they_are() {
    let file = encode(208, 160, Encoding { restart_interval: 13, ..Encoding::default() });
    let whole = decoded(&file, Scale::Eighth).unwrap();
    let start = file.windows(2).position(|pair| pair == [0xff, 0xd1]).unwrap();
    let damaged = [&file[..start - 40], &file[start..]].concat();
    let planes = decoded(&damaged, Scale::Eighth).unwrap();
    assert!(planes.truncated);
    let (cut, whole) = (&planes.planes[0], &whole.planes[0]);
    let row = |plane: &crate::jpeg::Plane, row: usize| plane.samples[row * plane.stride..][..plane.width].to_vec();
    for n in (0..20).filter(|n| ![2, 3].contains(n)) {
        assert_eq!(row(cut, n), row(whole, n), "row {n}");
    }
    assert!(row(cut, 2).ends_with(&[128; 2]) && row(cut, 2) != row(whole, 2));
}

#[test]
fn a_picture_that_ends_or_breaks_behind_its_first_scan_is_shown_without_colours() {
    let file = encode(64, 48, Encoding { optimised: true, ..Encoding::default() });
    let whole = decoded(&file, Scale::Quarter).unwrap();
    let scans: Vec<_> = (0..file.len() - 1).filter(|&n| file[n..n + 2] == [0xff, 0xda]).collect();
    let ended = [&file[..scans[1]], &[0xff, 0xd9]].concat();
    let mut broken = file.clone();
    broken[scans[1] + 4] = 9;
    let cut_in_tables = [&file[..scans[1]], &[0xff, 0xc4, 0, 5, 0, 1]].concat();
    for (name, file) in [("ended", ended), ("broken", broken), ("cut in tables", cut_in_tables)] {
        let planes = decoded(&file, Scale::Quarter).unwrap();
        assert!(planes.truncated && !whole.truncated, "{name}");
        assert_eq!(planes.planes[0].samples, whole.planes[0].samples, "{name}");
        assert!(planes.planes[1..].iter().all(|plane| plane.samples.iter().all(|&sample| sample == 128)), "{name}");
    }
}

/// Decodes whatever it is, and counts how often it asked to give up.
fn survives(file: &[u8], scale: Scale) -> Option<usize> {
    let asked = Cell::new(0);
    let decoded = decode(file, scale, &limits(), &|| {
        asked.set(asked.get() + 1);
        false
    });
    if let Ok(planes) = decoded {
        assert!(planes.planes.iter().all(|plane| plane.samples.len() == plane.stride * plane.height));
        assert!(planes.planes.iter().all(|plane| plane.width <= plane.stride && plane.height > 0));
    }
    Some(asked.get())
}

#[test]
fn flipped_bytes_never_panic_and_cost_no_more_than_rows_times_scans() {
    let encodings = [
        Encoding::default(),
        Encoding { optimised: true, ..Encoding::default() },
        Encoding { restart_interval: 2, ..Encoding::default() },
        Encoding { progressive: true, ..Encoding::default() },
        Encoding { grey: true, quality: 100, ..Encoding::default() },
    ];
    let files = encodings.map(|encoding| encode(90, 70, encoding));
    for seed in 0..8000 {
        let random = &mut Random::new(seed);
        let mut file = files[random.below(files.len())].clone();
        // Every other time in the headers, where it hurts.
        let reach = if seed % 2 == 0 { file.len() } else { file.len().min(700) };
        for _ in 0..1 + random.below(6) {
            file[random.below(reach)] ^= 1 << random.below(8);
        }
        if random.below(4) == 0 {
            file.truncate(random.below(file.len() + 1));
        }
        let scale = SCALES[random.below(3)];
        let asked = catch_unwind(|| survives(&file, scale)).ok().flatten();
        let asked = asked.unwrap_or_else(|| panic!("seed {seed} panics"));
        assert!(asked <= limits().scans * limits().side as usize / 8, "seed {seed}: {asked} rows");
    }
}

#[test]
fn noise_behind_a_header_never_panics() {
    let file = encode(90, 70, Encoding::default());
    let scan = file.windows(2).position(|pair| pair == [0xff, 0xda]).unwrap() + 14;
    for seed in 0..2000 {
        let random = &mut Random::new(seed);
        let noise =
            (0..random.below(3000)).map(|_| [random.below(256) as u8, 0xff, 0][[0, 0, 0, 1, 2][random.below(5)]]);
        let file = [&file[..scan], &noise.collect::<Vec<u8>>()].concat();
        let scale = SCALES[random.below(3)];
        assert!(catch_unwind(|| survives(&file, scale)).is_ok(), "seed {seed} panics");
    }
}
