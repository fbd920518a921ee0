//! Headers as other programs write them, patched by hand.

use super::{
    decoded, limits,
    photo::{Encoding, encode},
    random::Random,
    writer::{Carries, Picture, write_segment},
};
use crate::jpeg::{Error, Header, Limits, Scale, decode};

/// Rewrites the segments of a file before its first scan: `rewrite` gets marker and payload, and writes to the new file.
fn rewritten(file: &[u8], mut rewrite: impl FnMut(&mut Vec<u8>, u8, &[u8])) -> Vec<u8> {
    let (mut new, mut position) = (file[..2].to_vec(), 2);
    while file[position + 1] != 0xda {
        let length = usize::from(u16::from_be_bytes([file[position + 2], file[position + 3]]));
        rewrite(&mut new, file[position + 1], &file[position + 4..position + 2 + length]);
        position += 2 + length;
    }
    new.extend(&file[position..]);
    new
}

/// A file with more segments in front.
fn with(file: &[u8], segments: &[(u8, &[u8])]) -> Vec<u8> {
    let mut new = file[..2].to_vec();
    segments.iter().for_each(|(marker, payload)| write_segment(&mut new, *marker, payload));
    new.extend(&file[2..]);
    new
}

fn photo() -> Vec<u8> {
    encode(50, 40, Encoding { restart_interval: 4, ..Encoding::default() })
}

/// The samples of all planes, from a file that decodes whole.
fn samples(file: &[u8]) -> Vec<Vec<u8>> {
    let planes = decoded(file, Scale::Half).unwrap();
    assert!(!planes.truncated);
    planes.planes.into_iter().map(|plane| plane.samples).collect()
}

#[test]
fn a_header_is_read_without_its_picture() {
    let file = photo();
    let scan = file.windows(2).position(|pair| pair == [0xff, 0xda]).unwrap();
    let header = Header::read(&file[..scan + 20]).unwrap();
    assert_eq!((header.width, header.height, header.precision, header.progressive), (50, 40, 8, false));
    let samplings: Vec<_> = header.components.iter().map(|component| component.sampling).collect();
    assert_eq!(samplings, [(2, 2), (1, 1), (1, 1)]);
    assert_eq!((header.orientation, header.exif, header.icc_profile), (1, None, None));
    assert_eq!(header.restart_interval, 4);
    assert!(Header::read(&encode(9, 9, Encoding { progressive: true, ..Encoding::default() })).unwrap().progressive);
}

#[test]
fn wide_quantisation_tables_mean_the_same() {
    let file = photo();
    let wide = rewritten(&file, |new, marker, payload| match marker {
        0xdb => {
            let mut tables = Vec::new();
            for table in payload.chunks(65) {
                tables.push(table[0] | 0x10);
                table[1..].iter().for_each(|&factor| tables.extend([0, factor]));
            }
            write_segment(new, marker, &tables);
        }
        0xc0 => write_segment(new, 0xc1, payload),
        _ => write_segment(new, marker, payload),
    });
    assert_ne!(wide, file);
    assert_eq!(samples(&wide), samples(&file));
}

#[test]
fn tables_may_come_all_in_one_segment_or_again() {
    let file = photo();
    let (mut codes, mut frames) = (Vec::new(), Vec::new());
    let joined = rewritten(&file, |new, marker, payload| match marker {
        0xc4 => codes.extend(payload),
        0xc0 => frames.extend(payload),
        _ => {
            write_segment(new, marker, payload);
            write_segment(new, marker, payload);
        }
    });
    let scan = joined.windows(2).position(|pair| pair == [0xff, 0xda]).unwrap();
    let mut whole = joined[..scan].to_vec();
    write_segment(&mut whole, 0xc0, &frames);
    write_segment(&mut whole, 0xc4, &codes);
    whole.extend(&joined[scan..]);
    assert_eq!(samples(&whole), samples(&file));
}

#[test]
fn fill_bytes_are_allowed_before_every_marker() {
    let file = photo();
    let mut filled = file[..2].to_vec();
    for pair in file[2..].windows(2) {
        let marker = pair[0] == 0xff && pair[1] != 0;
        filled.extend_from_slice(if marker { &[0xff, 0xff, 0xff, 0xff] } else { &pair[..1] });
    }
    filled.push(0xd9);
    // Only where a segment's payload has no such pair: else the test would break the file itself.
    assert!(filled.len() > file.len() + 30);
    assert_eq!(samples(&filled), samples(&file));
}

#[test]
fn what_stands_behind_the_picture_is_not_read() {
    let file = photo();
    for garbage in [&[0xff, 0xc0][..], b"MZ and more", &file, &[0; 5000]] {
        assert_eq!(samples(&[&file, garbage].concat()), samples(&file));
    }
}

#[test]
fn an_adobe_segment_tells_of_colours() {
    for transform in 0..=2 {
        let file = with(&photo(), &[(0xee, &[b'A', b'd', b'o', b'b', b'e', 0, 100, 0, 0, 0, 0, transform])]);
        let header = decoded(&file, Scale::Half).unwrap().header;
        assert_eq!((header.adobe_transform, header.is_rgb()), (Some(transform), transform == 0));
    }
    assert_eq!(Header::read(&with(&photo(), &[(0xee, b"Adobe")])).unwrap().adobe_transform, None);
}

fn tiff(little: bool, value: u16) -> Vec<u8> {
    let (short, long) = if little {
        (u16::to_le_bytes as fn(u16) -> [u8; 2], u32::to_le_bytes as fn(u32) -> [u8; 4])
    } else {
        (u16::to_be_bytes as fn(u16) -> [u8; 2], u32::to_be_bytes as fn(u32) -> [u8; 4])
    };
    let mut tiff = if little { b"II*\0".to_vec() } else { b"MM\0*".to_vec() };
    tiff.extend(long(10));
    tiff.extend([0, 0]);
    tiff.extend(short(2));
    for (tag, value) in [(0x0100, 99), (0x0112, value)] {
        [short(tag), short(3)].iter().for_each(|field| tiff.extend(field));
        tiff.extend(long(1));
        [short(value), short(0)].iter().for_each(|field| tiff.extend(field));
    }
    tiff
}

#[test]
fn the_orientation_is_read_in_both_byte_orders() {
    for (little, value) in [true, false].into_iter().flat_map(|little| (0..=9).map(move |value| (little, value))) {
        let tiff = tiff(little, value);
        let file =
            with(&photo(), &[(0xe1, b"http://ns.adobe.com/xap/1.0/\0"), (0xe1, &[b"Exif\0\0", &tiff[..]].concat())]);
        let header = Header::read(&file).unwrap();
        let expected = if (1..=8).contains(&value) { value as u8 } else { 1 };
        assert_eq!(header.orientation, expected, "{value}, little-endian: {little}");
        assert_eq!(file[header.exif.unwrap()], tiff);
    }
}

#[test]
fn the_first_of_two_exif_blocks_counts() {
    let [first, second] = [6, 3].map(|value| [b"Exif\0\0", &tiff(true, value)[..]].concat());
    let header = Header::read(&with(&photo(), &[(0xe1, &first), (0xe1, &second)])).unwrap();
    assert_eq!(header.orientation, 6);
}

#[test]
fn a_cut_exif_block_has_no_orientation() {
    let whole = tiff(true, 6);
    for length in 0..whole.len() - 3 {
        let file = with(&photo(), &[(0xe1, &[b"Exif\0\0", &whole[..length]].concat())]);
        assert_eq!(Header::read(&file).unwrap().orientation, 1, "{length} bytes");
    }
    let far = [b"MM\0*", &[0xff; 4][..], &[0xff; 30]].concat();
    let file = with(&photo(), &[(0xe1, &[b"Exif\0\0", &far[..]].concat())]);
    assert_eq!(Header::read(&file).unwrap().orientation, 1);
}

/// A chunk of a profile: its number, how many there are, and what it carries.
fn chunk(number: u8, count: u8, carries: &[u8]) -> Vec<u8> {
    [b"ICC_PROFILE\0", &[number, count][..], carries].concat()
}

#[test]
fn the_chunks_of_a_profile_are_put_in_order() {
    let profile = |chunks: &[Vec<u8>]| {
        let segments: Vec<_> = chunks.iter().map(|chunk| (0xe2, &chunk[..])).collect();
        Header::read(&with(&photo(), &segments)).unwrap().icc_profile
    };
    let (a, b, c) = (chunk(1, 3, b"ab"), chunk(2, 3, b"cd"), chunk(3, 3, b"e"));
    assert_eq!(profile(&[c.clone(), a.clone(), b.clone()]), Some(b"abcde".to_vec()));
    assert_eq!(profile(&[a.clone(), c.clone()]), None);
    assert_eq!(profile(&[a.clone(), b.clone(), b.clone(), c.clone()]), None);
    assert_eq!(profile(&[a, b, chunk(3, 3, &[])]), Some(b"abcd".to_vec()));
    assert_eq!(profile(&[b"ICC_PROFILE\0".to_vec()]), None);
    let large: Vec<_> = (1..=255).map(|number| chunk(number, 255, &[number; 40_000])).collect();
    assert_eq!(profile(&large), None);
    let allowed: Vec<_> = (1..=64).map(|number| chunk(number, 64, &[number; 65_000])).collect();
    assert_eq!(profile(&allowed).map(|profile| profile.len()), Some(64 * 65_000));
}

/// The photo with its frame changed.
fn framed(change: impl Fn(&mut u8, &mut Vec<u8>)) -> Vec<u8> {
    rewritten(&photo(), |new, mut marker, payload| {
        let mut payload = payload.to_vec();
        if marker == 0xc0 {
            change(&mut marker, &mut payload);
        }
        write_segment(new, marker, &payload);
    })
}

#[test]
fn what_only_a_full_decoder_reads_is_told_apart() {
    for code in [0xc3, 0xc5, 0xc6, 0xc7, 0xc9, 0xca, 0xcb, 0xcd, 0xce, 0xcf] {
        let file = framed(|marker, _| *marker = code);
        assert!(matches!(decoded(&file, Scale::Eighth), Err(Error::Unsupported(_))), "{code:x}");
    }
    let fourth = [99, 0x11, 0];
    let files = [
        ("12 bits", framed(|_, payload| payload[0] = 12)),
        ("no height", framed(|_, payload| payload[1..3].fill(0))),
        ("four components", framed(|_, payload| (payload[5] = 4, payload.extend(&fourth)).0)),
        ("two components", framed(|_, payload| payload[5] = 2)),
        ("one name twice", framed(|_, payload| payload[9] = payload[6])),
        (
            "no Huffman tables",
            rewritten(&photo(), |new, marker, payload| {
                if marker != 0xc4 {
                    write_segment(new, marker, payload);
                }
            }),
        ),
    ];
    for (name, file) in files {
        assert!(matches!(decoded(&file, Scale::Eighth), Err(Error::Unsupported(_))), "{name}");
    }
}

#[test]
fn a_damaged_header_is_corrupt() {
    let files = [
        ("no width", framed(|_, payload| payload[3..5].fill(0))),
        ("no component", framed(|_, payload| payload[5] = 0)),
        ("five components", framed(|_, payload| payload[5] = 5)),
        ("a cut frame", framed(|_, payload| payload.truncate(10))),
        ("sampling of 0", framed(|_, payload| payload[7] = 0x01)),
        ("sampling of 5", framed(|_, payload| payload[7] = 0x15)),
        ("quantisation table 4", framed(|_, payload| payload[8] = 4)),
        ("no quantisation table", framed(|_, payload| payload[8] = 3)),
        ("another component in the scan", framed(|_, payload| payload[6] = 99)),
        ("too many blocks", framed(|_, payload| (payload[7] = 0x44, payload[10] = 0x44).0)),
        ("no frame", framed(|marker, _| *marker = 0xe5)),
        (
            "two frames",
            rewritten(&photo(), |new, marker, payload| {
                (0..1 + usize::from(marker == 0xc0)).for_each(|_| write_segment(new, marker, payload));
            }),
        ),
        ("too many codes", with(&photo(), &[(0xc4, &[&[0, 3][..], &[0; 15], &[0; 3]].concat())])),
        ("a cut code", with(&photo(), &[(0xc4, &[&[0, 1][..], &[0; 15]].concat())])),
        ("code table 4", with(&photo(), &[(0xc4, &[&[4, 1][..], &[0; 15], &[0; 1]].concat())])),
        ("a difference of 16 bits", with(&photo(), &[(0xc4, &[&[0, 1][..], &[0; 15], &[16; 1]].concat())])),
        ("factors of 32 bits", with(&photo(), &[(0xdb, &[0x20; 300])])),
        ("cut factors", with(&photo(), &[(0xdb, &[0; 64])])),
        ("a cut restart interval", with(&photo(), &[(0xdd, &[0])])),
        ("a length of 1", vec![0xff, 0xd8, 0xff, 0xe0, 0, 1, 0, 0, 0]),
        ("nothing", vec![0xff, 0xd8, 0xff]),
        ("an end", vec![0xff, 0xd8, 0xff, 0xd9]),
    ];
    for (name, file) in files {
        assert!(
            matches!(decoded(&file, Scale::Eighth), Err(Error::Corrupt(_))),
            "{name}: {:?}",
            decoded(&file, Scale::Eighth)
        );
    }
    for (name, header) in [
        ("a scan of nothing", &[0, 0, 63, 0][..]),
        ("a component twice", &[2, 0, 0, 0, 0, 0, 63, 0]),
        ("no such component", &[1, 77, 0, 0, 63, 0]),
        ("no such DC table", &[1, 0, 0x40, 0, 63, 0]),
        ("no such AC table", &[1, 0, 0x04, 0, 63, 0]),
        ("a cut header", &[1, 0, 0, 0, 63]),
    ] {
        let file = rewritten(&photo(), write_segment);
        let scan = file.windows(2).position(|pair| pair == [0xff, 0xda]).unwrap();
        let mut new = file[..scan].to_vec();
        write_segment(&mut new, 0xda, header);
        new.extend(&file[scan + 14..]);
        assert!(matches!(decoded(&new, Scale::Eighth), Err(Error::Corrupt(_))), "{name}");
    }
    for other in [&b""[..], b"\xff\xd8", b"GIF89a", b"\x89PNG\r\n\x1a\n", &photo()[1..]] {
        assert_eq!(decoded(other, Scale::Eighth).unwrap_err(), Error::NotJpeg);
    }
}

#[test]
fn a_picture_beyond_the_limits_is_refused_by_its_header() {
    let bomb = framed(|_, payload| payload[1..5].fill(0xff));
    let unlimited = Limits { pixels: u64::MAX, side: 65_534, scans: 1 };
    let refused = decode(&bomb, Scale::Half, &unlimited, &|| false).unwrap_err();
    assert_eq!(refused, Error::Limit { unit: "pixels on a side", actual: 65_535, limit: 65_534 });
    let refused = decode(&bomb, Scale::Half, &Limits { side: 65_535, pixels: 50_000_000, scans: 1 }, &|| false);
    assert_eq!(refused.unwrap_err(), Error::Limit { unit: "pixels", actual: 65_535 * 65_535, limit: 50_000_000 });
    let exact = Limits { pixels: 50 * 40, side: 50, scans: 1 };
    assert!(decode(&photo(), Scale::Half, &exact, &|| false).is_ok());
    assert!(decode(&photo(), Scale::Half, &Limits { pixels: 50 * 40 - 1, ..exact.clone() }, &|| false).is_err());
    assert!(decode(&photo(), Scale::Half, &Limits { side: 49, ..exact }, &|| false).is_err());
}

#[test]
fn a_thousand_scans_are_refused() {
    let random = &mut Random::new(7);
    let picture = Picture::random(40, 30, &[(1, 1)], random);
    let mut scans = vec![(&[0][..], Carries::First { low: 1 })];
    scans.extend([(&[0][..], Carries::Noise); 998]);
    scans.push((&[0], Carries::Refinement { low: 0 }));
    let file = picture.write(&scans, random);
    let refused = decoded(&file, Scale::Eighth).unwrap_err();
    assert_eq!(refused, Error::Limit { unit: "scans", actual: 51, limit: 50 });
    assert!(decode(&file, Scale::Eighth, &Limits { scans: 1000, ..limits() }, &|| false).is_ok());
}

#[test]
fn scans_behind_a_complete_picture_are_not_read() {
    let random = &mut Random::new(3);
    let picture = Picture::random(40, 30, &[(1, 1)], random);
    let mut scans = vec![(&[0][..], Carries::First { low: 0 })];
    scans.extend([(&[0][..], Carries::Noise); 100]);
    let file = picture.write(&scans, random);
    assert!(decode(&file, Scale::Eighth, &Limits { scans: 1, ..limits() }, &|| false).is_ok());
    assert!(decode(&file, Scale::Eighth, &Limits { scans: 0, ..limits() }, &|| false).is_err());
}

#[test]
fn tables_that_are_replaced_later_do_not_change_what_came_before() {
    let random = &mut Random::new(5);
    let picture = Picture::random(40, 30, &[(1, 1)], random);
    let scans = [(&[0][..], Carries::First { low: 1 }), (&[0], Carries::Refinement { low: 0 })];
    let file = picture.write(&scans, random);
    let first_scan = file.windows(2).position(|pair| pair == [0xff, 0xda]).unwrap();
    let next = first_scan + 2 + file[first_scan + 2..].windows(2).position(|pair| pair == [0xff, 0xc4]).unwrap();
    let mut replaced = file[..next].to_vec();
    write_segment(&mut replaced, 0xdb, &[&[0][..], &[1; 64]].concat());
    replaced.extend(&file[next..]);
    let [before, after] = [file, replaced].map(|file| decoded(&file, Scale::Eighth).unwrap().planes.remove(0).samples);
    assert_eq!(before, after);
}
