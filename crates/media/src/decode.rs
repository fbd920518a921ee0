//! Bytes to pixels, within the limits, which were checked against the headers before. Each format has a function here, named as the
//! format; those that are more than a call have a file.

mod gif;
mod ico;
mod jpeg;
mod png;
mod reader;
pub(crate) mod webp;

use crate::{
    Error, Format, Limits, Probe, Result, Size, colour::PROFILE_BYTES_MAX, pixels::Pixels, resample::Samples, svg,
};
use image::{
    AnimationDecoder, DynamicImage, ImageDecoder, ImageResult,
    codecs::{bmp::BmpDecoder, tiff::TiffDecoder, webp::WebPDecoder},
};
use reader::Reader;

/// A picture whose headers are read and within the limits.
#[derive(Clone, Copy)]
pub(crate) struct Source<'a> {
    pub(crate) bytes: &'a [u8],
    pub(crate) probe: Probe,
    pub(crate) limits: &'a Limits,
    pub(crate) is_over: &'a dyn Fn() -> bool,
}

/// The pixels of a picture, as stored.
pub(crate) struct Decoded {
    pub(crate) pixels: Pixels,
    /// The ICC profile of the pixels.
    pub(crate) profile: Option<Vec<u8>>,
    /// How many pixels of the picture, along each side, one of these stands for.
    pub(crate) shrink: u32,
    /// What these are.
    pub(crate) samples: Samples,
    /// Whether the file ends too early: what was there is shown, the rest is grey.
    pub(crate) truncated: bool,
}

/// A frame of an animation, as large as its canvas.
pub(crate) struct Frame {
    pub(crate) pixels: Pixels,
    /// How long it is shown, in milliseconds; at least 20, as browsers have it.
    pub(crate) delay_ms: u32,
}

impl<'a> Source<'a> {
    /// Reads the headers and checks them against the limits.
    ///
    /// # Errors
    /// As [`crate::probe`], and [`Error::TooLarge`].
    pub(crate) fn open(bytes: &'a [u8], limits: &'a Limits, is_over: &'a dyn Fn() -> bool) -> Result<Self> {
        let probe = crate::probe(bytes)?;
        limits.check(bytes.len() as u64, &probe)?;
        Ok(Self { bytes, probe, limits, is_over })
    }

    /// Decodes the picture, or the first frame of an animation. A drawing is drawn at `drawn` pixels; a picture that is to be resized
    /// to no more than a part of its width and height, `reduction`, may be decoded to fewer pixels.
    ///
    /// # Errors
    /// [`Error::Corrupt`], [`Error::Unsupported`], [`Error::TooLarge`], [`Error::Deadline`].
    pub(crate) fn still(&self, drawn: Size, reduction: f64) -> Result<Decoded> {
        self.in_time()?;
        let decoded = match self.probe.format {
            Format::Jpeg => jpeg::decode(self, reduction),
            Format::Png => png::decode(self, reduction),
            Format::Gif => self.first_frame(),
            Format::Webp => webp::decode(self),
            Format::Bmp => BmpDecoder::new(self.reader())
                .map_err(|fault| self.fault(fault))
                .and_then(|bmp| self.through_image(bmp)),
            Format::Tiff => TiffDecoder::new(self.reader())
                .map_err(|fault| self.fault(fault))
                .and_then(|tiff| self.through_image(tiff)),
            Format::Ico => ico::decode(self),
            Format::Svg => svg::draw(self.bytes, drawn, self.limits).map(Decoded::whole),
            Format::Avif => Err(Error::unsupported("reading AVIF", "convert it to JPEG, PNG or WebP")),
        }?;
        let expected = if self.probe.format == Format::Svg { drawn } else { self.probe.stored.shrunk(decoded.shrink) };
        if decoded.pixels.size() != expected {
            return Err(Error::corrupt(self.probe.format, "its pixels are more or fewer than its header says"));
        }
        Ok(decoded)
    }

    /// Decodes the frames of an animation, one at a time.
    ///
    /// # Errors
    /// As [`Source::still`], here and with each frame.
    pub(crate) fn frames(&self) -> Result<Box<dyn Iterator<Item = Result<Frame>> + 'a>> {
        self.in_time()?;
        let source = *self;
        Ok(match self.probe.format {
            Format::Gif => Box::new(gif::Frames::open(self)?),
            Format::Webp => {
                let frames = WebPDecoder::new(self.reader()).map_err(|fault| self.fault(fault))?.into_frames();
                Box::new(frames.map(move |frame| source.in_time().and_then(|()| source.frame(frame))))
            }
            other => return Err(Error::corrupt(other, "it has no frames")),
        })
    }

    /// # Errors
    /// [`Error::Deadline`] where the caller's deadline is over.
    pub(crate) fn in_time(&self) -> Result<()> {
        if (self.is_over)() { Err(Error::Deadline) } else { Ok(()) }
    }

    fn first_frame(&self) -> Result<Decoded> {
        let first = gif::Frames::open(self)?.next();
        let first = first.ok_or_else(|| Error::corrupt(self.probe.format, "it has no frame"))?;
        Ok(Decoded::whole(first?.pixels))
    }

    fn frame(&self, frame: ImageResult<image::Frame>) -> Result<Frame> {
        let frame = frame.map_err(|fault| self.fault(fault))?;
        let (numerator, denominator) = frame.delay().numer_denom_ms();
        let delay_ms = numerator.checked_div(denominator).unwrap_or_default();
        let pixels = from_image(DynamicImage::ImageRgba8(frame.into_buffer()));
        Ok(Frame { pixels, delay_ms: shown_ms(delay_ms) })
    }

    /// Decodes with a decoder of `image`, whose allocations are limited.
    fn through_image(&self, mut decoder: impl ImageDecoder) -> Result<Decoded> {
        decoder.set_limits(self.image_limits()).map_err(|fault| self.fault(fault))?;
        let (found, limit) = (decoder.total_bytes(), self.limits.decoded_bytes_max);
        if found > limit {
            let what = "size of the decoded picture in bytes";
            return Err(Error::TooLarge { what, found, limit, instead: "send a smaller picture" });
        }
        let profile = if self.probe.profile { decoder.icc_profile().ok().flatten() } else { None };
        let profile = profile.filter(|profile| profile.len() <= PROFILE_BYTES_MAX);
        let image = DynamicImage::from_decoder(decoder).map_err(|fault| self.fault(fault))?;
        Ok(Decoded { profile, ..Decoded::whole(from_image(image)) })
    }

    fn image_limits(&self) -> image::Limits {
        let mut limits = image::Limits::no_limits();
        (limits.max_image_width, limits.max_image_height) = (Some(self.limits.side_max), Some(self.limits.side_max));
        limits.max_alloc = Some(self.limits.decoded_bytes_max);
        limits
    }

    fn reader(&self) -> Reader<'a> {
        Reader::new(self.bytes, self.is_over)
    }

    /// A fault of a decoder in the words of this crate: a decoder whose reader was stopped fails in ways of its own.
    fn fault(&self, fault: impl std::fmt::Display) -> Error {
        match self.in_time() {
            Err(deadline) => deadline,
            Ok(()) => Error::corrupt(self.probe.format, fault),
        }
    }
}

impl Decoded {
    /// A whole picture in sRGB.
    fn whole(pixels: Pixels) -> Self {
        Self { pixels, profile: None, shrink: 1, samples: Samples::Points, truncated: false }
    }
}

/// How long a frame is shown that says so: what is less than two hundredths of a second is ten for every browser.
fn shown_ms(delay_ms: u32) -> u32 {
    if delay_ms < 20 { 100 } else { delay_ms }
}

fn from_image(image: DynamicImage) -> Pixels {
    let size = Size { width: image.width(), height: image.height() };
    let alpha = image.color().has_alpha();
    let bytes = if alpha { image.into_rgba8().into_raw() } else { image.into_rgb8().into_raw() };
    Pixels::new(size, alpha, bytes).expect("an image has as many bytes as its size says").without_idle_alpha()
}
