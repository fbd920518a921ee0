//! GIF: frames put onto one canvas, one after the other.
//!
//! Why not the decoder of `image`: it makes red, green, blue and alpha of every frame apart, copies the canvas for each and looks every
//! pixel up several times, and what unpacks the codes below it takes twice as long as `lzw`.

mod blocks;
mod lzw;

use super::{Frame, Source};
use crate::{Error, Format, Result, Size, pixels::Pixels};
use blocks::{Blocks, Disposal, Picture};

/// Red, green, blue and alpha, which is all or nothing.
type Colour = [u8; 4];
const NOTHING: Colour = [0; 4];

/// The frames, each as it is shown: put onto those before it.
pub(super) struct Frames<'a> {
    source: Source<'a>,
    blocks: Blocks<'a>,
    size: Size,
    canvas: Vec<Colour>,
    /// Whether a part of the canvas may be transparent.
    has_holes: bool,
    /// What is to become of the canvas before the next frame.
    undo: Undo,
    lzw: lzw::Decoder,
    has_failed: bool,
}

enum Undo {
    Nothing,
    /// This part becomes transparent.
    Clear(Part),
    /// The canvas is this one again.
    Restore(Vec<Colour>, bool),
}

/// A part of the canvas, in pixels; right and bottom lie outside.
#[derive(Clone, Copy)]
struct Part {
    left: usize,
    top: usize,
    right: usize,
    bottom: usize,
}

impl<'a> Frames<'a> {
    pub(super) fn open(source: &Source<'a>) -> Result<Self> {
        source.in_time()?;
        let size = source.probe.stored;
        Ok(Self {
            source: *source,
            blocks: Blocks::open(source.bytes)?,
            size,
            canvas: vec![NOTHING; size.pixels() as usize],
            has_holes: true,
            undo: Undo::Nothing,
            lzw: lzw::Decoder::default(),
            has_failed: false,
        })
    }

    /// The next frame; `None` after the last one.
    fn advance(&mut self) -> Result<Option<Frame>> {
        self.source.in_time()?;
        self.dispose();
        let Some(picture) = self.blocks.next()? else { return Ok(None) };
        let part = self.part(&picture);
        self.undo = match picture.disposal {
            Disposal::Previous => Undo::Restore(self.canvas.clone(), self.has_holes),
            Disposal::Background => Undo::Clear(part),
            Disposal::Keep => Undo::Nothing,
        };
        self.put(&picture, part)?;
        Ok(Some(Frame { pixels: self.pixels(), delay_ms: super::shown_ms(u32::from(picture.delay) * 10) }))
    }

    fn dispose(&mut self) {
        match std::mem::replace(&mut self.undo, Undo::Nothing) {
            Undo::Nothing => {}
            Undo::Clear(Part { left, top, right, bottom }) => {
                let rows = self.canvas.chunks_exact_mut(self.size.width as usize);
                rows.take(bottom).skip(top).for_each(|row| row[left..right].fill(NOTHING));
                self.has_holes = true;
            }
            Undo::Restore(canvas, has_holes) => (self.canvas, self.has_holes) = (canvas, has_holes),
        }
    }

    /// The part of the canvas that the picture covers; empty where it lies outside.
    fn part(&self, picture: &Picture<'_>) -> Part {
        let side = |start: u16, length: u16, most: u32| {
            let most = most as usize;
            (usize::from(start).min(most), (usize::from(start) + usize::from(length)).min(most))
        };
        let (left, right) = side(picture.left, picture.width, self.size.width);
        let (top, bottom) = side(picture.top, picture.height, self.size.height);
        Part { left, top, right, bottom }
    }

    fn put(&mut self, picture: &Picture<'_>, part: Part) -> Result<()> {
        let (width, height) = (usize::from(picture.width), usize::from(picture.height));
        let (found, limit) = (width as u64 * height as u64 * 4, self.source.limits.decoded_bytes_max);
        if found > limit {
            let what = "size of a decoded frame in bytes";
            return Err(Error::TooLarge { what, found, limit, instead: "send a smaller picture" });
        }
        let places = self
            .lzw
            .decode(picture.code_size, &picture.codes, width * height)
            .map_err(|what| Error::corrupt(Format::Gif, what))?;
        let colours = colours(picture);
        let mut holes = false;
        let is_whole = colours.iter().all(|colour| colour[3] != 0);
        for (at, places) in places.chunks_exact(width.max(1)).enumerate() {
            let row = part.top + if picture.is_interlaced { interlaced(at, height) } else { at };
            if row >= part.bottom {
                continue;
            }
            let canvas = &mut self.canvas[row * self.size.width as usize..][part.left..part.right];
            if is_whole {
                canvas.iter_mut().zip(places).for_each(|(pixel, place)| *pixel = colours[usize::from(*place)]);
                continue;
            }
            for (pixel, place) in canvas.iter_mut().zip(places) {
                let colour = colours[usize::from(*place)];
                *pixel = if colour[3] == 0 { *pixel } else { colour };
                holes |= colour[3] == 0;
            }
        }
        let covers = (part.right - part.left) * (part.bottom - part.top) == self.canvas.len();
        self.has_holes &= !covers || holes;
        Ok(())
    }

    /// The canvas, without alpha where nothing of it is transparent.
    fn pixels(&mut self) -> Pixels {
        const FITS: &str = "the canvas is as large as the picture";
        self.has_holes = self.has_holes && self.canvas.iter().any(|colour| colour[3] == 0);
        if self.has_holes {
            return Pixels::new(self.size, true, self.canvas.as_flattened().to_vec()).expect(FITS);
        }
        let mut bytes = vec![0; self.canvas.len() * 3];
        let (pixels, _) = bytes.as_chunks_mut::<3>();
        pixels.iter_mut().zip(&self.canvas).for_each(|(pixel, [red, green, blue, _])| *pixel = [*red, *green, *blue]);
        Pixels::new(self.size, false, bytes).expect(FITS)
    }
}

impl Iterator for Frames<'_> {
    type Item = Result<Frame>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.has_failed {
            return None;
        }
        let frame = self.advance();
        self.has_failed = frame.is_err();
        frame.transpose()
    }
}

/// What each place of the palette shows. One beyond its end shows nothing.
fn colours(picture: &Picture<'_>) -> [Colour; 256] {
    let mut colours = [NOTHING; 256];
    for (colour, rgb) in colours.iter_mut().zip(picture.palette.chunks_exact(3)) {
        *colour = [rgb[0], rgb[1], rgb[2], 255];
    }
    if let Some(transparent) = picture.transparent {
        colours[usize::from(transparent)] = NOTHING;
    }
    colours
}

/// The row that comes at this place, of so many: every eighth from 0, from 4, every fourth from 2, every other from 1 (GIF89a, E).
fn interlaced(at: usize, height: usize) -> usize {
    let mut before = 0;
    for (start, step) in [(0, 8), (4, 8), (2, 4), (1, 2)] {
        let count = height.saturating_sub(start).div_ceil(step);
        if at < before + count {
            return start + (at - before) * step;
        }
        before += count;
    }
    at
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Limits;
    use gif::{DisposalMethod, Encoder, Frame as GifFrame};
    use image::{AnimationDecoder, codecs::gif::GifDecoder};

    /// A number below `below`, by and by all of them.
    fn random(seed: u64) -> impl FnMut(usize) -> usize {
        let mut bits = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
        move |below| {
            bits ^= bits << 13;
            bits ^= bits >> 7;
            bits ^= bits << 17;
            (bits % below as u64) as usize
        }
    }

    /// Frames of all kinds: parts of the canvas and parts outside of it, transparent, interlaced, disposed of in each way.
    fn animation(seed: u64) -> Vec<u8> {
        let mut next = random(seed);
        let (width, height) = (1 + next(40) as u16, 1 + next(40) as u16);
        let palette = |next: &mut dyn FnMut(usize) -> usize| -> Vec<u8> {
            let colours = [2, 3, 16, 200, 256][next(5)];
            (0..colours * 3).map(|_| next(256) as u8).collect()
        };
        let mut encoder = Encoder::new(Vec::new(), width, height, &palette(&mut next)).expect("an encoder");
        for _ in 0..1 + next(8) {
            let whole = next(2) == 0;
            let mut frame = GifFrame {
                delay: next(9) as u16,
                dispose: [
                    DisposalMethod::Any,
                    DisposalMethod::Keep,
                    DisposalMethod::Background,
                    DisposalMethod::Previous,
                ][next(4)],
                transparent: [None, Some(next(256) as u8), Some(1)][next(3)],
                interlaced: next(3) == 0,
                palette: Some(palette(&mut next)).filter(|_| next(2) == 0),
                ..GifFrame::default()
            };
            (frame.width, frame.height) = (width, height);
            if !whole {
                (frame.left, frame.top) = (next(45) as u16, next(45) as u16);
                (frame.width, frame.height) = (1 + next(45) as u16, 1 + next(45) as u16);
            }
            let runs = 1 + next(9);
            let places = usize::from(frame.width) * usize::from(frame.height);
            frame.buffer = (0..places).map(|at| ((at / runs * 7 + next(1 + at % 3)) % 256) as u8).collect();
            encoder.write_frame(&frame).expect("an encoder");
        }
        encoder.into_inner().expect("an encoder")
    }

    type Seen = (Vec<u8>, u32);

    fn ours(bytes: &[u8]) -> Result<Vec<Seen>> {
        let limits = Limits::default();
        let source = Source::open(bytes, &limits, &|| false)?;
        Frames::open(&source)?.map(|frame| frame.map(|frame| (frame.pixels.into_rgba(), frame.delay_ms))).collect()
    }

    /// What `image` makes of it, of which what is transparent has no colour.
    fn theirs(bytes: &[u8]) -> Option<Vec<Seen>> {
        let frames = GifDecoder::new(std::io::Cursor::new(bytes)).ok()?.into_frames().collect_frames().ok()?;
        let seen = |frame: image::Frame| {
            let (delay, _) = frame.delay().numer_denom_ms();
            let mut rgba = frame.into_buffer().into_raw();
            rgba.chunks_exact_mut(4).filter(|pixel| pixel[3] == 0).for_each(|pixel| pixel.fill(0));
            (rgba, super::super::shown_ms(delay))
        };
        Some(frames.into_iter().map(seen).collect())
    }

    #[test]
    fn every_kind_of_frame_is_shown_as_another_decoder_shows_it() {
        for seed in 0..400 {
            let bytes = animation(seed);
            let wanted = theirs(&bytes).expect("a right file");
            assert!(ours(&bytes).expect("a right file") == wanted, "seed {seed}");
        }
    }

    #[test]
    fn what_is_damaged_ends_in_an_answer_that_is_no_other_picture() {
        for seed in 0..2_000 {
            let mut next = random(seed);
            let mut bytes = animation(seed);
            for _ in 0..1 + next(4) {
                let place = next(bytes.len());
                bytes[place] = next(256) as u8;
            }
            bytes.truncate(bytes.len() - [0, next(bytes.len())][next(2)]);
            if let (Ok(ours), Some(theirs)) = (ours(&bytes), theirs(&bytes)) {
                assert!(ours == theirs, "seed {seed}");
            }
        }
    }

    #[test]
    fn rows_come_in_four_turns() {
        let rows: Vec<_> = (0..11).map(|at| interlaced(at, 11)).collect();
        assert_eq!(rows, [0, 8, 4, 2, 6, 10, 1, 3, 5, 7, 9]);
    }
}
