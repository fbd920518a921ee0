//! AVIF, by rav1e on one thread: the caller runs as many renditions at once as there are cores. Luma and chroma are encoded as they are,
//! other pixels without chroma made coarser, for those of drawings and letters would show it.

use crate::{
    Error, Format, Result,
    pixels::Pixels,
    planar::{Planar, Range},
};
use avif_serialize::{Aviffy, constants};
use rav1e::{
    Config, EncoderConfig, EncoderStatus, Frame,
    prelude::{
        BlockSize, ChromaSampling, ColorDescription, ColorPrimaries, MatrixCoefficients, PartitionRange, PixelRange,
        SceneDetectionSpeed, SpeedSettings, TransferCharacteristics,
    },
};
use ravif::{BitDepth, EncodedImage, Encoder, Img, RGB8, RGBA8};

/// 1 is slowest, 10 fastest. One less takes twice the time, for a fiftieth less bytes.
const SPEED: u8 = 7;

pub(super) fn encode(pixels: &Pixels, quality: u8) -> Result<Vec<u8>> {
    let (width, height) = (pixels.size().width as usize, pixels.size().height as usize);
    let quality = as_ravif_has_it(quantizer(quality));
    // With 10 bits, which are a few bytes fewer, builds of libaom for 8 bits, that of sharp among them, read nothing.
    let encoder = Encoder::new()
        .with_quality(quality)
        .with_alpha_quality(quality)
        .with_bit_depth(BitDepth::Eight)
        .with_speed(SPEED)
        .with_num_threads(Some(1));
    let encoded = if pixels.has_alpha() {
        let rgba: Vec<RGBA8> = pixels.iter().map(|pixel| RGBA8::new(pixel[0], pixel[1], pixel[2], pixel[3])).collect();
        encoder.encode_rgba(Img::new(&rgba[..], width, height))
    } else {
        let rgb: Vec<RGB8> = pixels.iter().map(|pixel| RGB8::new(pixel[0], pixel[1], pixel[2])).collect();
        encoder.encode_rgb(Img::new(&rgb[..], width, height))
    };
    let EncodedImage { avif_file, .. } = encoded.map_err(refused)?;
    Ok(avif_file)
}

pub(super) fn encode_planar(picture: &Planar, quality: u8) -> Result<Vec<u8>> {
    let (width, height) = (picture.size.width, picture.size.height);
    let config = Config::new().with_threads(1).with_encoder_config(config(picture, quality));
    let mut context = config.new_context::<u8>().map_err(refused)?;
    let mut frame = context.new_frame();
    put(picture, &mut frame);
    context.send_frame(frame).map_err(refused)?;
    context.flush();
    let mut stream = Vec::new();
    loop {
        match context.receive_packet() {
            Ok(packet) => stream.extend(packet.data),
            Err(EncoderStatus::Encoded) => {}
            Err(EncoderStatus::LimitReached) => break,
            Err(fault) => return Err(refused(fault)),
        }
    }
    let mut file = Aviffy::new();
    file.set_matrix_coefficients(constants::MatrixCoefficients::Bt601)
        .set_full_color_range(picture.range == Range::Full)
        .set_chroma_subsampling((true, true))
        .set_seq_profile(0);
    Ok(file.to_vec(&stream, None, width, height, 8))
}

/// Grey has chroma too, which costs nothing: a picture without is another profile, which not everything reads.
fn put(picture: &Planar, frame: &mut Frame<u8>) {
    let width = picture.size.width as usize;
    let half = Planar::chroma_size(picture.size);
    let half = (half.width as usize, half.height as usize);
    frame.planes[0].copy_from_raw_u8(&picture.luma, width, 1);
    let grey = vec![128; half.0 * half.1];
    let chroma = picture.chroma.as_ref().map_or([&grey, &grey], |[blue, red]| [blue, red]);
    for (plane, samples) in frame.planes[1..].iter_mut().zip(chroma) {
        plane.copy_from_raw_u8(samples, half.0, 1);
    }
}

/// What photographs of few bytes are best for: neither filter after the encoding raises SSIMULACRA2, and both together take a third of the
/// time; blocks of more than 16 pixels are a twentieth fewer bytes.
fn config(picture: &Planar, quality: u8) -> EncoderConfig {
    let mut speed = SpeedSettings::from_preset(SPEED);
    (speed.cdef, speed.lrf) = (false, false);
    speed.scene_detection_mode = SceneDetectionSpeed::None;
    speed.rdo_lookahead_frames = 1;
    speed.partition.partition_range = PartitionRange::new(BlockSize::BLOCK_8X8, BlockSize::BLOCK_32X32);
    let quantizer = quantizer(quality);
    EncoderConfig {
        width: picture.size.width as usize,
        height: picture.size.height as usize,
        bit_depth: 8,
        chroma_sampling: ChromaSampling::Cs420,
        pixel_range: if picture.range == Range::Full { PixelRange::Full } else { PixelRange::Limited },
        color_description: Some(ColorDescription {
            color_primaries: ColorPrimaries::BT709,
            transfer_characteristics: TransferCharacteristics::SRGB,
            matrix_coefficients: MatrixCoefficients::BT601,
        }),
        still_picture: true,
        quantizer: quantizer.into(),
        min_quantizer: quantizer,
        tiles: 1,
        speed_settings: speed,
        ..EncoderConfig::default()
    }
}

/// The step, 0–255, with which a photograph looks as one of libaom does at this quality, which it has up to a quarter more bytes for.
fn quantizer(quality: u8) -> u8 {
    let quality = f32::from(quality);
    let step = if quality <= 65.0 { 255.0 - 2.2 * quality } else { (100.0 - quality) * 3.2 };
    step.round().clamp(0.0, 255.0) as u8
}

/// The quality by which `ravif` means this step.
fn as_ravif_has_it(quantizer: u8) -> f32 {
    let step = f32::from(quantizer) / 255.0;
    let quality = match step {
        ..=0.465 => 1.0 - step / 2.6,
        ..=0.75 => (0.875 - step) * 2.0,
        _ => 1.0 - step,
    };
    (quality * 100.0).clamp(1.0, 100.0)
}

fn refused(fault: impl std::fmt::Display) -> Error {
    Error::encode(Format::Avif, fault)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn more_quality_is_a_finer_step() {
        let steps: Vec<_> = (1..=100).map(quantizer).collect();
        assert!(steps.is_sorted_by(|one, other| one > other), "{steps:?}");
        assert_eq!((steps[0], steps[49], steps[99]), (253, 145, 0));
        let theirs: Vec<_> = steps.into_iter().map(as_ravif_has_it).collect();
        assert!(theirs.is_sorted() && theirs[0] >= 1.0 && theirs[99] <= 100.0, "{theirs:?}");
    }
}
