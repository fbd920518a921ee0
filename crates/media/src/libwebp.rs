//! libwebp, which is C: encodes WebP, and decodes its stills. This is the one file of the crate with `unsafe`, because nothing in Rust
//! encodes lossy WebP, the safe wrapper crates keep every frame of an animation in memory until the end, and what decodes it in Rust takes
//! three times as long. What keeps it sound: only pixels whose number is known to fit their size (`Pixels`) are handed over, what is
//! decoded goes to memory of this crate whose length is told (and was within the limits), every object of C has an owner here that frees
//! it, and no pointer leaves the file.
//!
//! libwebp-sys 0.14.4 builds libwebp 1.6.0. One before 1.3.2 must not come back: its lossless decoder wrote past its tables of Huffman
//! codes (CVE-2023-4863). A test looks at the version.
#![allow(unsafe_code)]

use crate::{
    Error, Format, Result, Size,
    pixels::Pixels,
    planar::{Planar, Range},
};
use libwebp_sys as sys;
use std::ffi::{c_int, c_void};

/// The effort of encoding, 0–6: more than this takes much longer for few bytes.
const METHOD: c_int = 4;

/// Whether the caller's deadline is over.
type IsOver<'a> = &'a dyn Fn() -> bool;

/// The deadline is looked at after so many bytes of a file that is decoded, or a sixteenth of it where that is more: until the tables of
/// a lossless picture are whole, they are read anew each time.
const BYTES_PER_LOOK: usize = 64 << 10;

/// What a file is, before it is decoded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Features {
    pub(crate) size: Size,
    pub(crate) alpha: bool,
    pub(crate) is_animated: bool,
    /// Whether it is made of luma and chroma.
    pub(crate) is_lossy: bool,
}

impl Features {
    /// Reads the headers.
    ///
    /// # Errors
    /// [`Error::Corrupt`].
    pub(crate) fn read(bytes: &[u8]) -> Result<Self> {
        let mut found = decoder_config()?.input;
        // SAFETY: no more than `bytes.len()` bytes are read, and `found` is where the answer goes.
        let status = unsafe {
            sys::WebPGetFeaturesInternal(
                bytes.as_ptr(),
                bytes.len(),
                &mut found,
                sys::WEBP_DECODER_ABI_VERSION as c_int,
            )
        };
        whole(status)?;
        let side = |side: c_int| u32::try_from(side).unwrap_or_default();
        Ok(Self {
            size: Size { width: side(found.width), height: side(found.height) },
            alpha: found.has_alpha != 0,
            is_animated: found.has_animation != 0,
            is_lossy: found.format == 1,
        })
    }
}

/// Decodes a still to red, green, blue and, if it has some, alpha.
///
/// # Errors
/// [`Error::Corrupt`], also for a file that ends too early, and [`Error::Deadline`].
pub(crate) fn decode(bytes: &[u8], Features { size, alpha, .. }: Features, is_over: IsOver<'_>) -> Result<Pixels> {
    let stride = size.width as usize * if alpha { 4 } else { 3 };
    let mut pixels = vec![0; stride * size.height as usize];
    let mut config = decoder_config()?;
    config.output.colorspace = if alpha { sys::WEBP_CSP_MODE::MODE_RGBA } else { sys::WEBP_CSP_MODE::MODE_RGB };
    config.output.u.RGBA =
        sys::WebPRGBABuffer { rgba: pixels.as_mut_ptr(), stride: stride as c_int, size: pixels.len() };
    // SAFETY: `pixels` lives until the call is over, and is as long as the output says.
    unsafe { fill(&mut config, bytes, is_over)? };
    Pixels::new(size, alpha, pixels).ok_or_else(|| Error::corrupt(Format::Webp, "it has no pixels"))
}

/// Decodes a lossy still to luma, blue and red; chroma has half as many samples along each side, rounded up. Where `scaled` is not its own
/// size, samples are means over what they stand for. Alpha is left out.
///
/// # Errors
/// As [`decode`]; for a `scaled` without pixels too.
pub(crate) fn decode_planes(bytes: &[u8], own: Size, scaled: Size, is_over: IsOver<'_>) -> Result<[Vec<u8>; 3]> {
    let half = Planar::chroma_size(scaled);
    let mut planes = [scaled, half, half].map(|size| vec![0; size.width as usize * size.height as usize]);
    let mut config = decoder_config()?;
    if scaled != own {
        config.options.use_scaling = 1;
        (config.options.scaled_width, config.options.scaled_height) = (side(scaled.width), side(scaled.height));
    }
    let [luma, blue, red] = &mut planes;
    config.output.colorspace = sys::WEBP_CSP_MODE::MODE_YUV;
    config.output.u.YUVA = sys::WebPYUVABuffer {
        y: luma.as_mut_ptr(),
        u: blue.as_mut_ptr(),
        v: red.as_mut_ptr(),
        a: std::ptr::null_mut(),
        y_stride: side(scaled.width),
        u_stride: side(half.width),
        v_stride: side(half.width),
        a_stride: 0,
        y_size: luma.len(),
        u_size: blue.len(),
        v_size: red.len(),
        a_size: 0,
    };
    // SAFETY: the planes live until the call is over, and are as long as the output says.
    unsafe { fill(&mut config, bytes, is_over)? };
    Ok(planes)
}

/// Decodes to where the output of `config` says. libwebp itself refuses an output that is too small for the picture, or for what it is
/// scaled to.
///
/// # Safety
/// The pointers of the output are to memory that is as long as it says, and that nothing else touches meanwhile.
unsafe fn fill(config: &mut sys::WebPDecoderConfig, bytes: &[u8], is_over: IsOver<'_>) -> Result<()> {
    config.output.is_external_memory = 1;
    config.options.use_threads = 0;
    // SAFETY: `config` outlives the decoder, which refers to it; no bytes are read yet.
    let decoder = Decoder(unsafe { sys::WebPIDecode(std::ptr::null(), 0, config) });
    if decoder.0.is_null() {
        return Err(Error::corrupt(Format::Webp, "no decoder for it"));
    }
    let step = BYTES_PER_LOOK.max(bytes.len() / 16);
    let mut status = sys::VP8StatusCode::VP8_STATUS_SUSPENDED;
    let mut end = 0;
    while status == sys::VP8StatusCode::VP8_STATUS_SUSPENDED && end < bytes.len() {
        if is_over() {
            return Err(Error::Deadline);
        }
        end = bytes.len().min(end + step);
        // SAFETY: the decoder lives, and each time is given the same bytes and more of them.
        status = unsafe { sys::WebPIUpdate(decoder.0, bytes.as_ptr(), end) };
    }
    whole(status)
}

/// A decoder, to be deleted.
struct Decoder(*mut sys::WebPIDecoder);

impl Drop for Decoder {
    fn drop(&mut self) {
        // SAFETY: null or made by `fill`, and deleted only here; memory that is not its own is left alone.
        unsafe { sys::WebPIDelete(self.0) }
    }
}

fn decoder_config() -> Result<sys::WebPDecoderConfig> {
    sys::WebPDecoderConfig::new().map_err(|()| Error::encode(Format::Webp, "another version of libwebp"))
}

/// Whether the decoder has done all it should.
fn whole(status: sys::VP8StatusCode) -> Result<()> {
    use sys::VP8StatusCode::{
        VP8_STATUS_NOT_ENOUGH_DATA, VP8_STATUS_OK, VP8_STATUS_OUT_OF_MEMORY, VP8_STATUS_SUSPENDED,
    };
    Err(match status {
        VP8_STATUS_OK => return Ok(()),
        VP8_STATUS_SUSPENDED | VP8_STATUS_NOT_ENOUGH_DATA => Error::corrupt(Format::Webp, "it ends too early"),
        VP8_STATUS_OUT_OF_MEMORY => Error::corrupt(Format::Webp, "it wants more memory than there is"),
        _ => Error::corrupt(Format::Webp, "its data make no sense"),
    })
}

/// Encodes a still, lossy, with `quality` of 1–100.
///
/// # Errors
/// [`Error::Deadline`] where `is_over` says so meanwhile, [`Error::Encode`].
pub(crate) fn encode(pixels: &Pixels, quality: u8, is_over: IsOver<'_>) -> Result<Vec<u8>> {
    encode_picture(Picture::new(pixels, false)?, quality, is_over)
}

/// The same of luma and chroma.
///
/// # Errors
/// As [`encode`].
pub(crate) fn encode_planar(picture: &Planar, quality: u8, is_over: IsOver<'_>) -> Result<Vec<u8>> {
    encode_picture(Picture::of_planes(picture)?, quality, is_over)
}

fn encode_picture(mut picture: Picture, quality: u8, is_over: IsOver<'_>) -> Result<Vec<u8>> {
    let mut out = Vec::new();
    picture.0.writer = Some(append);
    picture.0.custom_ptr = (&raw mut out).cast();
    picture.0.progress_hook = Some(go_on);
    picture.0.user_data = (&raw const is_over).cast_mut().cast();
    // SAFETY: the picture holds pixels, and `out` and `is_over` live until the call is over.
    let done = unsafe { sys::WebPEncode(&config(quality)?, &mut picture.0) };
    match picture.0.error_code {
        _ if done != 0 => Ok(out),
        sys::WebPEncodingError::VP8_ENC_ERROR_USER_ABORT => Err(Error::Deadline),
        code => Err(Error::encode(Format::Webp, format_args!("{code:?}"))),
    }
}

/// An encoder that takes frames one by one and keeps only what it has encoded.
pub(crate) struct Animation {
    encoder: *mut sys::WebPAnimEncoder,
    config: sys::WebPConfig,
    /// When the next frame begins, in milliseconds.
    next_ms: c_int,
}

impl Animation {
    /// Starts an animation that is repeated for ever.
    ///
    /// # Errors
    /// [`Error::Encode`].
    pub(crate) fn new(size: Size, quality: u8) -> Result<Self> {
        let (width, height, config) = (side(size.width), side(size.height), config(quality)?);
        // SAFETY: null options are the defaults; what comes back is null or an encoder, which `Drop` deletes.
        let encoder = unsafe {
            sys::WebPAnimEncoderNewInternal(width, height, std::ptr::null(), sys::WEBP_MUX_ABI_VERSION as c_int)
        };
        if encoder.is_null() {
            return Err(Error::encode(Format::Webp, "no encoder of animations for this size"));
        }
        Ok(Self { encoder, config, next_ms: 0 })
    }

    /// Adds a frame that is shown for `delay_ms`.
    ///
    /// # Errors
    /// [`Error::Encode`], also for a frame of another size.
    pub(crate) fn add(&mut self, pixels: &Pixels, delay_ms: u32) -> Result<()> {
        let mut picture = Picture::new(pixels, true)?;
        // SAFETY: encoder and picture live; the encoder copies what it keeps.
        let done = unsafe { sys::WebPAnimEncoderAdd(self.encoder, &mut picture.0, self.next_ms, &self.config) };
        self.next_ms = self.next_ms.saturating_add(c_int::try_from(delay_ms).unwrap_or(c_int::MAX));
        if done == 0 { Err(Error::encode(Format::Webp, "the frame was refused")) } else { Ok(()) }
    }

    /// Ends the animation.
    ///
    /// # Errors
    /// [`Error::Encode`].
    pub(crate) fn finish(self) -> Result<Vec<u8>> {
        let mut whole = sys::WebPData::default();
        // SAFETY: a null frame ends the last one; `whole` is copied before it is freed, and freed once.
        unsafe {
            sys::WebPAnimEncoderAdd(self.encoder, std::ptr::null_mut(), self.next_ms, std::ptr::null());
            if sys::WebPAnimEncoderAssemble(self.encoder, &mut whole) == 0 {
                return Err(Error::encode(Format::Webp, "the animation cannot be put together"));
            }
            let bytes = std::slice::from_raw_parts(whole.bytes, whole.size).to_vec();
            sys::WebPDataClear(&mut whole);
            Ok(bytes)
        }
    }
}

impl Drop for Animation {
    fn drop(&mut self) {
        // SAFETY: made by `new` and deleted only here.
        unsafe { sys::WebPAnimEncoderDelete(self.encoder) }
    }
}

/// Pixels as libwebp holds them.
struct Picture(sys::WebPPicture);

impl Picture {
    /// Copies pixels, as red, green and blue for animations and as luma and chroma for stills.
    fn new(pixels: &Pixels, argb: bool) -> Result<Self> {
        let refused = |what: &'static str| move |()| Error::encode(Format::Webp, what);
        let mut picture = Self(sys::WebPPicture::new().map_err(refused("another version of libwebp"))?);
        (picture.0.width, picture.0.height) = (side(pixels.size().width), side(pixels.size().height));
        picture.0.use_argb = argb.into();
        let stride = picture.0.width * pixels.channels() as c_int;
        let import = if pixels.has_alpha() { sys::WebPPictureImportRGBA } else { sys::WebPPictureImportRGB };
        // SAFETY: `Pixels` holds width × height × channels bytes in rows of `stride`, which is all that is read.
        let done = unsafe { import(&mut picture.0, pixels.bytes().as_ptr(), stride) };
        if done == 0 { Err(Error::encode(Format::Webp, "out of memory")) } else { Ok(picture) }
    }
}

impl Picture {
    /// Copies luma and chroma; what has another range gets that of WebP.
    fn of_planes(planar: &Planar) -> Result<Self> {
        let refused = |what: &'static str| move |()| Error::encode(Format::Webp, what);
        let mut picture = Self(sys::WebPPicture::new().map_err(refused("another version of libwebp"))?);
        (picture.0.width, picture.0.height) = (side(planar.size.width), side(planar.size.height));
        (picture.0.use_argb, picture.0.colorspace) = (0, sys::WebPEncCSP::WEBP_YUV420);
        // SAFETY: the picture is initialised and says how large it is; its planes are its own from here on.
        if unsafe { sys::WebPPictureAlloc(&mut picture.0) } == 0 {
            return Err(Error::encode(Format::Webp, "out of memory"));
        }
        let half = Planar::chroma_size(planar.size);
        let [luma, chroma] = planar.range.to(Range::Limited);
        let (blue, red) = planar.chroma.as_ref().map_or((None, None), |[blue, red]| (Some(blue), Some(red)));
        let Self(sys::WebPPicture { y, u, v, y_stride, uv_stride, .. }) = picture;
        let planes = [
            (y, y_stride, planar.size, Some(&planar.luma), luma),
            (u, uv_stride, half, blue, chroma),
            (v, uv_stride, half, red, chroma),
        ];
        for (to, stride, size, from, table) in planes {
            let (stride, width) = (stride as usize, size.width as usize);
            for row in 0..size.height as usize {
                // SAFETY: libwebp has allocated rows of `stride`, which is at least the width: as many of luma as the picture is high, and half as
                // many of chroma, rounded up.
                let to = unsafe { std::slice::from_raw_parts_mut(to.add(row * stride), width) };
                match from {
                    Some(from) => {
                        to.iter_mut().zip(&from[row * width..]).for_each(|(to, from)| *to = table[usize::from(*from)])
                    }
                    None => to.fill(128),
                }
            }
        }
        Ok(picture)
    }
}

impl Drop for Picture {
    fn drop(&mut self) {
        // SAFETY: initialised by `new`, and freed only here.
        unsafe { sys::WebPPictureFree(&mut self.0) }
    }
}

fn config(quality: u8) -> Result<sys::WebPConfig> {
    let preset = sys::WebPConfig::new_with_preset(sys::WebPPreset::WEBP_PRESET_DEFAULT, quality.into());
    let config = preset.map_err(|()| Error::encode(Format::Webp, "another version of libwebp"))?;
    Ok(sys::WebPConfig { method: METHOD, ..config })
}

/// A side for C. The limits of the format keep it below 16,384; a larger one is refused by libwebp.
fn side(side: u32) -> c_int {
    c_int::try_from(side).unwrap_or(c_int::MAX)
}

/// Called by `WebPEncode` with what is to be written.
unsafe extern "C" fn append(bytes: *const u8, length: usize, picture: *const sys::WebPPicture) -> c_int {
    // SAFETY: `encode` sets `custom_ptr` to its `Vec`, which nothing else touches during the call; libwebp gives `length` bytes.
    unsafe {
        let out: &mut Vec<u8> = &mut *(*picture).custom_ptr.cast();
        out.extend_from_slice(std::slice::from_raw_parts(bytes, length));
    }
    1
}

/// Called by `WebPEncode` now and then; 0 breaks it off.
unsafe extern "C" fn go_on(_percent: c_int, picture: *const sys::WebPPicture) -> c_int {
    // SAFETY: `encode` sets `user_data` to its `is_over`, which lives until the call is over.
    let is_over: &IsOver<'_> = unsafe { &*(*picture).user_data.cast::<c_void>().cast() };
    c_int::from(!is_over())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::probe;

    const SIZE: Size = Size { width: 40, height: 30 };

    fn pixels(alpha: bool) -> Pixels {
        let channels = if alpha { 4 } else { 3 };
        Pixels::new(SIZE, alpha, (0..40 * 30 * channels).map(|at| (at % 251) as u8).collect()).expect("fits")
    }

    #[test]
    fn stills_are_encoded_with_and_without_alpha() {
        for alpha in [false, true] {
            let webp = encode(&pixels(alpha), 80, &|| false).expect("an encoder");
            let probe = probe(&webp).expect("a right file");
            assert_eq!((probe.format, probe.stored, probe.alpha), (Format::Webp, SIZE, alpha));
        }
    }

    #[test]
    fn it_is_a_version_whose_holes_are_closed() {
        // SAFETY: it asks for nothing.
        let version = unsafe { sys::WebPGetDecoderVersion() };
        assert!(version >= 0x01_03_02, "{version:x}: CVE-2023-4863");
    }

    /// One of each kind: lossy, lossy with alpha, lossless.
    fn files() -> [Vec<u8>; 3] {
        let mut lossless = Vec::new();
        let encoder = image::codecs::webp::WebPEncoder::new_lossless(&mut lossless);
        encoder.encode(pixels(false).bytes(), 40, 30, image::ExtendedColorType::Rgb8).expect("an encoder");
        let [plain, alpha] = [false, true].map(|alpha| encode(&pixels(alpha), 80, &|| false).expect("an encoder"));
        [plain, alpha, lossless]
    }

    const SCALED: [Size; 4] =
        [SIZE, Size { width: 20, height: 15 }, Size { width: 1, height: 1 }, Size { width: 39, height: 2 }];

    /// Decodes in all ways; whether all were right, or all wrong.
    fn all_ways(bytes: &[u8]) -> Result<()> {
        let features = Features::read(bytes)?;
        if features.size != SIZE || features.is_animated {
            return Err(Error::corrupt(Format::Webp, "another size"));
        }
        let decoded = decode(bytes, features, &|| false).map(|pixels| assert_eq!(pixels.size(), SIZE));
        for scaled in SCALED {
            let planes = decode_planes(bytes, SIZE, scaled, &|| false);
            assert_eq!(planes.is_ok(), decoded.is_ok(), "{scaled}");
        }
        decoded
    }

    #[test]
    fn right_files_are_decoded_in_all_ways() {
        for (file, (alpha, is_lossy)) in files().iter().zip([(false, true), (true, true), (false, false)]) {
            let is_animated = false;
            assert_eq!(Features::read(file), Ok(Features { size: SIZE, alpha, is_animated, is_lossy }));
            assert_eq!(all_ways(file), Ok(()));
        }
        let decoded = decode(&files()[2], Features::read(&files()[2]).expect("right"), &|| false);
        assert_eq!(decoded.expect("right"), pixels(false), "without loss");
    }

    #[test]
    fn what_is_cut_or_changed_anywhere_ends_in_an_answer() {
        let mut random = 0x9e37_79b9_7f4a_7c15_u64;
        let mut next = move |below: usize| {
            random ^= random << 13;
            random ^= random >> 7;
            random ^= random << 17;
            (random % below as u64) as usize
        };
        for file in files() {
            for cut in 0..file.len() - 8 {
                assert!(all_ways(&file[..cut]).is_err(), "{cut} of {}", file.len());
            }
            for _ in 0..4_000 {
                let mut changed = file.clone();
                for _ in 0..1 + next(8) {
                    // Headers and tables are where lies are told.
                    let most = [file.len(), file.len().min(200)][next(2)];
                    changed[next(most)] = [0, 1, 0x7f, 0x80, 0xff, next(256) as u8][next(6)];
                }
                let _ = all_ways(&changed[..changed.len() - [0, next(file.len())][next(2)]]);
            }
        }
    }

    #[test]
    fn an_output_that_is_too_small_is_refused() {
        let file = &files()[0];
        let small = Size { width: 39, height: 30 };
        let features = Features { size: small, ..Features::read(file).expect("right") };
        assert!(decode(file, features, &|| false).is_err());
        // What is told as its own size is not scaled.
        assert!(decode_planes(file, small, small, &|| false).is_err());
    }

    #[test]
    fn means_are_of_what_they_stand_for() {
        let halves: Vec<u8> = (0..40 * 30).flat_map(|at| [if at % 40 < 20 { 0 } else { 255 }; 3]).collect();
        let file = encode(&Pixels::new(SIZE, false, halves).expect("fits"), 100, &|| false).expect("an encoder");
        let [luma, blue, red] = decode_planes(&file, SIZE, Size { width: 4, height: 3 }, &|| false).expect("right");
        assert!(luma.chunks(4).all(|row| row[0] < 20 && row[1] < 20 && row[2] > 231 && row[3] > 231), "{luma:?}");
        assert_eq!((blue.len(), red.len()), (4, 4));
        assert!(blue.iter().chain(&red).all(|shade| shade.abs_diff(128) < 3));
    }

    #[test]
    fn a_deadline_that_is_over_breaks_decoding_off() {
        let large = Size { width: 1_000, height: 1_000 };
        let noise = (0..3_000_000_u64).map(|at| (at.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 56) as u8).collect();
        let file = encode(&Pixels::new(large, false, noise).expect("fits"), 90, &|| false).expect("an encoder");
        assert!(file.len() > 3 * BYTES_PER_LOOK);
        let features = Features::read(&file).expect("right");
        for last in 0..3 {
            let looks = std::cell::Cell::new(0);
            let is_over = || looks.replace(looks.get() + 1) == last;
            assert_eq!(decode(&file, features, &is_over).map(|_| ()), Err(Error::Deadline));
        }
    }

    #[test]
    fn a_deadline_that_is_over_breaks_encoding_off() {
        assert_eq!(encode(&pixels(false), 80, &|| true), Err(Error::Deadline));
    }

    #[test]
    fn an_animation_has_the_frames_that_were_added() {
        let mut animation = Animation::new(SIZE, 80).expect("an encoder");
        for shade in [0, 100, 200] {
            let frame = Pixels::filled(SIZE, Some(crate::recipe::Colour([shade; 3])));
            animation.add(&frame, 40).expect("the right size");
        }
        let probe = probe(&animation.finish().expect("three frames")).expect("a right file");
        assert_eq!((probe.frames, probe.stored), (3, SIZE));
    }

    #[test]
    fn a_frame_of_another_size_is_refused() {
        let mut animation = Animation::new(Size { width: 4, height: 4 }, 80).expect("an encoder");
        assert!(animation.add(&pixels(true), 40).is_err());
    }
}
