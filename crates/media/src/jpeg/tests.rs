mod damage;
mod header;
mod photo;
mod random;
mod writer;

use super::{Error, Limits, Planes, Scale, Scales, decode};
use jpeg_encoder::SamplingFactor;
use photo::{Encoding, Full, encode, tolerated};
use random::Random;
use writer::{Carries, Picture};

const SCALES: [Scale; 3] = [Scale::Eighth, Scale::Quarter, Scale::Half];

/// Those that the encoder writes in one scan. Of the others it makes a scan per component, which the full decoder gets wrong.
const SAMPLINGS: [SamplingFactor; 4] =
    [SamplingFactor::R_4_4_4, SamplingFactor::R_4_4_0, SamplingFactor::R_4_2_2, SamplingFactor::R_4_2_0];

/// Luma's sampling factors where those of chroma are 1: 4:4:4, 4:2:2, 4:2:0, 4:4:0, 4:1:1, 4:1:0, 4:2:1, 4:4:1.
const LUMA_FACTORS: [(usize, usize); 8] = [(1, 1), (2, 1), (2, 2), (1, 2), (4, 1), (4, 2), (2, 4), (1, 4)];

const SIZES: [(u16, u16); 10] =
    [(1, 1), (7, 9), (8, 8), (16, 16), (17, 33), (250, 3), (3, 250), (64, 65), (129, 63), (240, 181)];

fn limits() -> Limits {
    Limits { pixels: 4_000_000, side: 4096, scans: 50 }
}

fn decoded(file: &[u8], scales: impl Into<Scales>) -> Result<Planes, Error> {
    decode(file, scales, &limits(), &|| false)
}

/// Decodes a photo at a scale and compares it with what the full decoder makes of it.
fn agrees(width: u16, height: u16, encoding: Encoding, scale: Scale) {
    let file = encode(width, height, encoding);
    let (planes, full) = (decoded(&file, scale).unwrap(), Full::decode(&file));
    assert!(!planes.truncated, "{width} x {height}, {encoding:?}, {scale:?}");
    for (component, plane) in planes.planes.iter().enumerate() {
        let (mean, greatest) = full.difference(component, plane);
        let (mean_max, greatest_max) = tolerated(scale, component > 0);
        // So few samples that one decides their mean.
        let mean_max = if plane.width * plane.height < 16 { greatest_max } else { mean_max };
        assert!(
            mean <= mean_max && greatest <= greatest_max,
            "{width} x {height}, {encoding:?}, {scale:?}, component {component}: mean {mean}, greatest {greatest}"
        );
    }
}

#[test]
fn every_subsampling_and_size_agrees_with_the_full_decoder() {
    for ((width, height), sampling) in SIZES.into_iter().flat_map(|size| SAMPLINGS.map(|sampling| (size, sampling))) {
        for scale in SCALES {
            agrees(width, height, Encoding { sampling, ..Encoding::default() }, scale);
        }
    }
}

/// The visible samples of each plane.
fn visible(planes: &Planes) -> Vec<Vec<&[u8]>> {
    let rows = planes.planes.iter().map(|plane| plane.samples.chunks(plane.stride).map(|row| &row[..plane.width]));
    rows.map(Iterator::collect).collect()
}

/// Not compared with the full decoder, which garbles such pictures.
#[test]
fn a_scan_per_component_shows_the_same_as_one_of_all() {
    for ((width, height), sampling) in SIZES.into_iter().flat_map(|size| SAMPLINGS.map(|sampling| (size, sampling))) {
        let encoding = Encoding { sampling, ..Encoding::default() };
        let (one, several) =
            (encode(width, height, encoding), encode(width, height, Encoding { optimised: true, ..encoding }));
        for scale in SCALES {
            let (one, several) = (decoded(&one, scale).unwrap(), decoded(&several, scale).unwrap());
            assert!(!several.truncated);
            assert_eq!(visible(&one), visible(&several), "{width} x {height}, {sampling:?}, {scale:?}");
        }
    }
}

#[test]
fn grey_agrees_with_the_full_decoder() {
    for ((width, height), scale) in SIZES.into_iter().flat_map(|size| SCALES.map(|scale| (size, scale))) {
        agrees(width, height, Encoding { grey: true, ..Encoding::default() }, scale);
    }
}

#[test]
fn restart_intervals_agree_with_the_full_decoder() {
    for (restart_interval, scale) in [1, 2, 7, 100, 60_000].into_iter().flat_map(|n| SCALES.map(|scale| (n, scale))) {
        agrees(250, 131, Encoding { restart_interval, ..Encoding::default() }, scale);
        agrees(250, 131, Encoding { restart_interval, grey: true, ..Encoding::default() }, scale);
    }
}

#[test]
fn every_quality_agrees_with_the_full_decoder() {
    for (quality, scale) in [30, 60, 95, 100].into_iter().flat_map(|quality| SCALES.map(|scale| (quality, scale))) {
        agrees(250, 131, Encoding { quality, ..Encoding::default() }, scale);
    }
}

#[test]
fn progressive_pictures_agree_with_the_full_decoder_at_an_eighth() {
    for (width, height) in SIZES {
        for (sampling, grey) in SAMPLINGS.into_iter().flat_map(|sampling| [(sampling, false), (sampling, true)]) {
            let encoding = Encoding { sampling, grey, progressive: true, ..Encoding::default() };
            agrees(width, height, encoding, Scale::Eighth);
            agrees(width, height, Encoding { restart_interval: 3, ..encoding }, Scale::Eighth);
        }
    }
}

#[test]
fn progressive_pictures_at_more_than_an_eighth_are_for_the_full_decoder() {
    let file = encode(64, 64, Encoding { progressive: true, ..Encoding::default() });
    for scales in
        [Scales::from(Scale::Quarter), Scale::Half.into(), Scales { luma: Scale::Eighth, chroma: Scale::Quarter }]
    {
        assert!(matches!(decoded(&file, scales), Err(Error::Unsupported(_))), "{scales:?}");
    }
}

/// Compares every visible sample with the definition of the transform.
fn is_exact(picture: &Picture, planes: &Planes, scales: Scales, case: &str) {
    assert!(!planes.truncated, "{case}");
    for (index, (component, plane)) in picture.components.iter().zip(&planes.planes).enumerate() {
        let scale = if index == 0 { scales.luma } else { scales.chroma };
        let (columns, rows) = picture.visible(component);
        let side = scale.side();
        assert!(plane.width.div_ceil(side) <= columns && plane.height.div_ceil(side) <= rows, "{case}");
        for (column, row) in (0..rows).flat_map(|row| (0..columns).map(move |column| (column, row))) {
            for (n, exact) in component.samples(column, row, scale).into_iter().enumerate() {
                let (x, y) = (column * side + n % side, row * side + n / side);
                if y < plane.height {
                    let sample = f64::from(plane.samples[y * plane.stride + x]);
                    // Half a unit of rounding, and a little of single precision.
                    assert!(
                        (sample - exact.clamp(0.0, 255.0)).abs() < 0.51,
                        "{case}: {sample} for {exact} at {x}, {y}"
                    );
                }
            }
        }
    }
}

/// Any three that the standard allows in one scan.
fn any_samplings(random: &mut Random) -> [(usize, usize); 3] {
    loop {
        let samplings = [(); 3].map(|()| (1 + random.below(4), 1 + random.below(4)));
        if samplings.iter().map(|(across, down)| across * down).sum::<usize>() <= 10 {
            return samplings;
        }
    }
}

#[test]
fn any_legal_sampling_in_any_order_of_scans_decodes_exactly() {
    let scripts: [&[&[usize]]; 5] =
        [&[&[0, 1, 2]], &[&[0], &[1], &[2]], &[&[2], &[0, 1]], &[&[1, 2], &[0]], &[&[2, 0, 1]]];
    for seed in 0..600 {
        let random = &mut Random::new(seed);
        let samplings =
            if seed % 2 == 0 { any_samplings(random) } else { [LUMA_FACTORS[random.below(8)], (1, 1), (1, 1)] };
        let (width, height) = (1 + random.below(130), 1 + random.below(130));
        let mut picture = Picture::random(width, height, &samplings, random);
        picture.restart_interval = [0, 0, 1, 5, 50][random.below(5)];
        let script = scripts[random.below(5)];
        let scans: Vec<_> = script.iter().map(|members| (*members, Carries::Blocks)).collect();
        let file = picture.write(&scans, random);
        let scales = Scales { luma: SCALES[random.below(3)], chroma: SCALES[random.below(3)] };
        let case = format!("seed {seed}: {width} x {height}, {samplings:?}, {script:?}, {scales:?}");
        is_exact(&picture, &decoded(&file, scales).expect(&case), scales, &case);
    }
}

#[test]
fn progressions_of_dc_scans_decode_exactly_and_others_are_passed_over() {
    use Carries::{First, Noise, Refinement};
    let scripts: [&[(&[usize], Carries)]; 5] = [
        &[(&[0, 1, 2], First { low: 0 })],
        &[(&[0, 1, 2], First { low: 1 }), (&[0], Noise), (&[2], Noise), (&[0, 1, 2], Refinement { low: 0 })],
        &[(&[0], First { low: 0 }), (&[1, 2], First { low: 1 }), (&[0], Noise), (&[1, 2], Refinement { low: 0 })],
        &[
            (&[2], First { low: 3 }),
            (&[0, 1], First { low: 0 }),
            (&[2], Refinement { low: 2 }),
            (&[2], Noise),
            (&[2], Refinement { low: 1 }),
            (&[2], Refinement { low: 0 }),
        ],
        &[(&[0], First { low: 0 }), (&[1], First { low: 0 }), (&[1], Noise), (&[2], First { low: 0 }), (&[0], Noise)],
    ];
    for seed in 0..200 {
        let random = &mut Random::new(seed);
        let samplings = [[(1, 1); 3], [(2, 2), (1, 1), (1, 1)], [(2, 1), (1, 1), (1, 2)], [(3, 1), (2, 1), (1, 1)]];
        let samplings = samplings[random.below(4)];
        let (width, height) = (1 + random.below(130), 1 + random.below(130));
        let mut picture = Picture::random(width, height, &samplings, random);
        picture.restart_interval = [0, 0, 1, 5, 50][random.below(5)];
        let script = scripts[random.below(5)];
        let file = picture.write(script, random);
        let case = format!("seed {seed}: {width} x {height}, {samplings:?}, {script:?}");
        is_exact(&picture, &decoded(&file, Scale::Eighth).expect(&case), Scale::Eighth.into(), &case);
    }
}

#[test]
fn grey_with_any_sampling_has_blocks_row_by_row() {
    for sampling in [(1, 1), (2, 2), (4, 1), (1, 3)] {
        let random = &mut Random::new(1);
        let picture = Picture::random(61, 43, &[sampling], random);
        let file = picture.write(&[(&[0], Carries::Blocks)], random);
        let planes = decoded(&file, Scale::Half).unwrap();
        assert_eq!((planes.planes[0].width, planes.planes[0].height), (31, 22));
        is_exact(&picture, &planes, Scale::Half.into(), &format!("{sampling:?}"));
    }
}

#[test]
fn a_plane_tells_what_it_covers() {
    let file = encode(250, 131, Encoding::default());
    let planes = decoded(&file, Scales { luma: Scale::Eighth, chroma: Scale::Quarter }).unwrap().planes;
    let sizes: Vec<_> = planes.iter().map(|plane| (plane.width, plane.height, plane.stride, plane.covers)).collect();
    let (luma, chroma) = ((32, 17, 32, (31.25, 16.375)), (32, 17, 32, (31.25, 16.375)));
    assert_eq!(sizes, [luma, chroma, chroma]);
    assert!(planes.iter().all(|plane| plane.samples.len() == plane.stride * plane.height));
}

#[test]
fn giving_up_is_asked_once_per_row_and_heard() {
    let file = encode(60, 100, Encoding::default());
    let asked = std::cell::Cell::new(0);
    let count = |until: usize| {
        asked.set(0);
        decode(&file, Scale::Half, &limits(), &|| {
            asked.set(asked.get() + 1);
            asked.get() > until
        })
    };
    assert!(count(1000).is_ok());
    assert_eq!(asked.get(), 7);
    assert_eq!(count(3).unwrap_err(), Error::GivenUp);
    assert_eq!(asked.get(), 4);
}
