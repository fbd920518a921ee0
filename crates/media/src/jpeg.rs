//! Decodes a JPEG straight to an eighth, a quarter or half of its size, one plane per component, without ever making the full
//! picture.
//!
//! It promises bounded memory (limits are checked before anything of the claimed size is allocated), time bounded by
//! bytes and pixels, no panic, and planes that agree with those of a full decoder shrunk to the same size. It leaves to others:
//! what [`Error::Unsupported`] names (a full decoder does it), colour conversion, upsampling of chroma, and turning the picture
//! upright.
//!
//! How a picture is read:
//!
//! 1. [`Header::read`] reads everything before the first scan. A frame beyond the limits or the abilities ends here.
//! 2. Per scan, the entropy-coded data is freed of its stuffing, one restart interval at a time (`interval`).
//! 3. A sequential scan is decoded block by block (`sequential`): the coefficients that the scale needs are read, the others
//!    are passed over several symbols at a time (`huffman`), and a small inverse transform makes the samples (`idct`).
//! 4. Of a progressive picture at an eighth only the DC scans are decoded (`progressive`); the others are jumped over.
//! 5. Data that ends early or makes no sense leaves the rest of its restart interval grey, and [`Planes::truncated`] says so.
//!
//! Why not a full decoder and then a shrink: for 12 megapixels that costs about eight times the processor time.

mod bits;
mod header;
mod huffman;
mod idct;
mod interval;
mod progressive;
mod scan;
mod segment;
mod sequential;
mod tables;
#[cfg(test)]
mod tests;

pub use header::{Component, Header};

use header::Opening;
use interval::Intervals;
use scan::{Outcome, Scan};
use segment::{Segments, marker};
use tables::Tables;

/// Why a JPEG was not decoded.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// The bytes are something else.
    #[error("not a JPEG")]
    NotJpeg,
    /// A JPEG of a kind that only a full decoder reads, and what makes it one.
    #[error("cannot decode the JPEG to a fraction of its size: {0}")]
    Unsupported(&'static str),
    /// Nothing can be shown: a header is damaged or missing.
    #[error("the JPEG is damaged: {0}")]
    Corrupt(&'static str),
    /// More than [`Limits`] allow.
    #[error("the JPEG has {actual} {unit}, more than {limit}")]
    Limit {
        /// What is counted: `pixels`, `pixels on a side`, `scans`.
        unit: &'static str,
        /// How many there are; of scans, how many were seen until it was refused.
        actual: u64,
        /// How many there may be.
        limit: u64,
    },
    /// The caller asked to stop.
    #[error("decoding the JPEG was given up")]
    GivenUp,
}

/// What fraction of its width and height a component is decoded to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Scale {
    /// One sample per block of 8 x 8: the mean of the block.
    Eighth,
    /// 2 x 2 samples per block.
    Quarter,
    /// 4 x 4 samples per block.
    Half,
}

impl Scale {
    /// Samples on a side of a block.
    pub fn side(self) -> usize {
        match self {
            Scale::Eighth => 1,
            Scale::Quarter => 2,
            Scale::Half => 4,
        }
    }
}

/// The scales of a picture: chroma is often subsampled already, and may then be kept finer than luma.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Scales {
    /// Of the first component.
    pub luma: Scale,
    /// Of all others.
    pub chroma: Scale,
}

impl From<Scale> for Scales {
    fn from(scale: Scale) -> Self {
        Scales { luma: scale, chroma: scale }
    }
}

/// What a picture may cost.
#[derive(Clone, Debug)]
pub struct Limits {
    /// Width times height of the full picture.
    pub pixels: u64,
    /// Pixels on each side of the full picture.
    pub side: u32,
    /// Scans that are read, or passed over, until the picture is complete.
    pub scans: usize,
}

/// A decoded picture.
#[derive(Clone, Debug)]
pub struct Planes {
    /// What was known before the first scan.
    pub header: Header,
    /// One per component, in the order of the header; grey has one. Three are YCbCr, or RGB if [`Header::is_rgb`].
    pub planes: Vec<Plane>,
    /// Whether data was missing or made no sense; where it was, samples are 128.
    pub truncated: bool,
}

/// The samples of one component, at its own resolution.
#[derive(Clone, Debug)]
pub struct Plane {
    /// Samples in a row that show the picture, the last perhaps only in part: [`Plane::covers`] rounded up.
    pub width: usize,
    /// Rows that show the picture, the last perhaps only in part.
    pub height: usize,
    /// Samples from one row to the next, at least `width`.
    pub stride: usize,
    /// `stride` times `height` samples.
    pub samples: Vec<u8>,
    /// The exact width and height of the picture in samples of this plane.
    pub covers: (f64, f64),
}

impl Plane {
    /// Grey, with room for all blocks of `component`.
    fn new(header: &Header, component: &Component, scale: Scale) -> Plane {
        let side = scale.side();
        let (columns, rows) = header.mcus();
        let (blocks_across, blocks_down) = (columns * component.horizontal(), rows * component.vertical());
        let (width, height) = header.extent(component);
        let covers = (width * side as f64 / 8.0, height * side as f64 / 8.0);
        let stride = blocks_across * side;
        Plane {
            width: (covers.0.ceil() as usize).min(stride),
            height: (covers.1.ceil() as usize).min(blocks_down * side),
            stride,
            samples: vec![128; stride * blocks_down * side],
            covers,
        }
    }

    /// Writes the samples of the block at (`column`, `row`). What lies outside is dropped.
    #[inline(always)]
    fn put<const SIDE: usize>(&mut self, column: usize, row: usize, block: [[u8; SIDE]; SIDE]) {
        let mut start = row * SIDE * self.stride + column * SIDE;
        for line in block {
            if let Some(target) = self.samples.get_mut(start..).and_then(|rest| rest.first_chunk_mut()) {
                *target = line;
            }
            start += self.stride;
        }
    }
}

/// Decodes `bytes` to fractions of its size. `give_up` is asked once per row of blocks.
///
/// A progressive picture is decoded at [`Scale::Eighth`] only.
///
/// # Errors
///
/// See [`Error`]. Data that ends early is none, once the first scan has begun: [`Planes::truncated`].
///
/// # Example
///
/// ```
/// use larder_media::jpeg::{self, Error, Limits, Scale};
///
/// let limits = Limits { pixels: 50_000_000, side: 16_384, scans: 100 };
/// let refused = jpeg::decode(b"GIF89a", Scale::Eighth, &limits, &|| false);
/// assert_eq!(refused.unwrap_err(), Error::NotJpeg);
/// ```
pub fn decode(
    bytes: &[u8],
    scales: impl Into<Scales>,
    limits: &Limits,
    give_up: &dyn Fn() -> bool,
) -> Result<Planes, Error> {
    let Opening { header, tables, scan, segments } = Opening::read(bytes)?;
    header.check(limits)?;
    let scales = scales.into();
    if header.progressive && scales != Scale::Eighth.into() {
        return Err(Error::Unsupported("progressive, at more than an eighth"));
    }
    Decoder { header, segments, tables, scales, give_up, damaged: false }.decode(scan, limits.scans)
}

/// The state between two scans.
struct Decoder<'a> {
    header: Header,
    segments: Segments<'a>,
    tables: Tables,
    scales: Scales,
    give_up: &'a dyn Fn() -> bool,
    /// Whether some data made no sense.
    damaged: bool,
}

/// What the scans write to: samples at once, or the coefficients that later scans refine.
enum Canvas {
    Sequential(sequential::Canvas),
    Progressive(progressive::Canvas),
}

impl<'a> Decoder<'a> {
    /// Decodes scan after scan until every component is complete.
    fn decode(mut self, first: &'a [u8], scans_max: usize) -> Result<Planes, Error> {
        let mut canvas = self.canvas();
        let mut scans = 0;
        let mut next = Some(first);
        while let Some(payload) = next {
            scans += 1;
            if scans > scans_max {
                return Err(Error::Limit { unit: "scans", actual: scans as u64, limit: scans_max as u64 });
            }
            match self.scan(payload, &mut canvas) {
                Err(Error::Corrupt(_)) if scans > 1 => break,
                decoded => decoded?,
            }
            if canvas.is_complete() {
                break;
            }
            next = self.next_scan()?;
        }
        let truncated = self.damaged || !canvas.is_complete();
        let mut planes = canvas.into_planes(&self.header);
        planes.iter_mut().for_each(|plane| plane.samples.truncate(plane.stride * plane.height));
        Ok(Planes { header: self.header, planes, truncated })
    }

    fn canvas(&self) -> Canvas {
        if self.header.progressive {
            Canvas::Progressive(progressive::Canvas::new(&self.header))
        } else {
            Canvas::Sequential(sequential::Canvas::new(&self.header, self.scales))
        }
    }

    /// Decodes the scan whose header is `payload` and whose data `segments` comes to next.
    fn scan(&mut self, payload: &[u8], canvas: &mut Canvas) -> Result<(), Error> {
        let scan = Scan::read(payload, &self.header)?;
        let mut intervals = Intervals::new(self.segments.rest());
        let outcome = match canvas {
            Canvas::Sequential(canvas) => {
                canvas.decode(&scan, &self.header, &self.tables, &mut intervals, self.give_up)?
            }
            Canvas::Progressive(canvas) => {
                canvas.decode(&scan, &self.header, &self.tables, &mut intervals, self.give_up)?
            }
        };
        self.damaged |= outcome == Outcome::Damaged;
        Ok(())
    }

    /// Reads the tables up to the next scan; its header. None where the picture ends, or cannot be read on.
    fn next_scan(&mut self) -> Result<Option<&'a [u8]>, Error> {
        loop {
            let segment = match self.segments.next() {
                Err(Error::Corrupt(_)) => return Ok(None),
                segment => segment?,
            };
            match segment.marker {
                marker::END_OF_IMAGE => return Ok(None),
                marker::START_OF_SCAN => return Ok(Some(segment.payload)),
                _ => match self.tables.read(&segment) {
                    Err(Error::Corrupt(_)) => return Ok(None),
                    read => read?,
                },
            }
        }
    }
}

impl Canvas {
    fn is_complete(&self) -> bool {
        match self {
            Canvas::Sequential(canvas) => canvas.is_complete(),
            Canvas::Progressive(canvas) => canvas.is_complete(),
        }
    }

    fn into_planes(self, header: &Header) -> Vec<Plane> {
        match self {
            Canvas::Sequential(canvas) => canvas.into_planes(),
            Canvas::Progressive(canvas) => canvas.into_planes(header),
        }
    }
}
