//! The encoder of WebP: libwebp, which is C. This is the one file of the crate with `unsafe`, because nothing in Rust encodes lossy
//! WebP, and the safe wrapper crates keep every frame of an animation in memory until the end. What keeps it sound: only pixels whose
//! number is known to fit their size (`Pixels`) are handed over, every object of C has an owner here that frees it, and no pointer
//! leaves the file.
#![allow(unsafe_code)]

use crate::{Error, Format, Result, pixels::Pixels, planar::Planar};
use libwebp_sys as sys;
use std::ffi::{c_int, c_void};

/// The effort of encoding, 0–6: more than this takes much longer for few bytes.
const METHOD: c_int = 4;

/// Whether the caller's deadline is over.
type IsOver<'a> = &'a dyn Fn() -> bool;

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
    pub(crate) fn new(size: crate::Size, quality: u8) -> Result<Self> {
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
    /// Copies luma and chroma, whose full range becomes that of WebP (ITU-R BT.601: 219 steps of luma, 224 of chroma).
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
        let luma: [u8; 256] = std::array::from_fn(|shade| (16.5 + shade as f64 * 219.0 / 255.0) as u8);
        let chroma: [u8; 256] = std::array::from_fn(|shade| (128.5 + (shade as f64 - 128.0) * 224.0 / 255.0) as u8);
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
    use crate::{Size, probe};

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
