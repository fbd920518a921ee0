//! Marker segments: the frame of a JPEG file, from one `0xff` to the next.

use super::Error;
use memchr::memchr;

/// Codes of markers (ITU-T T.81, table B.1), the byte behind `0xff`.
pub(super) mod marker {
    pub(crate) const START_OF_FRAME_BASELINE: u8 = 0xc0;
    pub(crate) const START_OF_FRAME_EXTENDED: u8 = 0xc1;
    pub(crate) const START_OF_FRAME_PROGRESSIVE: u8 = 0xc2;
    pub(crate) const HUFFMAN_TABLES: u8 = 0xc4;
    /// Alone, without a payload, like [`TEMPORARY`] and [`START_OF_IMAGE`].
    pub(crate) const RESTART_FIRST: u8 = 0xd0;
    pub(crate) const RESTART_LAST: u8 = 0xd7;
    pub(crate) const START_OF_IMAGE: u8 = 0xd8;
    pub(crate) const END_OF_IMAGE: u8 = 0xd9;
    pub(crate) const START_OF_SCAN: u8 = 0xda;
    pub(crate) const QUANTISATION_TABLES: u8 = 0xdb;
    pub(crate) const RESTART_INTERVAL: u8 = 0xdd;
    pub(crate) const EXIF: u8 = 0xe1;
    pub(crate) const ICC_PROFILE: u8 = 0xe2;
    pub(crate) const ADOBE: u8 = 0xee;
    pub(crate) const TEMPORARY: u8 = 0x01;
    /// Not a marker: `0xff` within entropy-coded data.
    pub(crate) const STUFFING: u8 = 0x00;
}

/// A marker and what belongs to it.
pub(super) struct Segment<'a> {
    pub(super) marker: u8,
    /// Without the length. Empty of markers that stand alone.
    pub(super) payload: &'a [u8],
    /// Where `payload` begins in the file.
    pub(super) position: usize,
}

/// Reads segments in order. Fill bytes and what belongs to no segment are passed over, the entropy-coded data of scans too: all
/// that looks like a marker there is stuffing or a restart.
pub(super) struct Segments<'a> {
    bytes: &'a [u8],
    position: usize,
}

impl<'a> Segments<'a> {
    /// # Errors
    ///
    /// [`Error::NotJpeg`] if `bytes` do not begin with a start of image and another marker.
    pub(super) fn new(bytes: &'a [u8]) -> Result<Self, Error> {
        match bytes {
            [0xff, marker::START_OF_IMAGE, 0xff, ..] => Ok(Segments { bytes, position: 2 }),
            _ => Err(Error::NotJpeg),
        }
    }

    /// The next segment; an end of image is one with an empty payload.
    ///
    /// # Errors
    ///
    /// [`Error::Corrupt`] if the file ends before or in it.
    pub(super) fn next(&mut self) -> Result<Segment<'a>, Error> {
        loop {
            let marker = self.marker().ok_or(Error::Corrupt("it ends before its end"))?;
            match marker {
                marker::STUFFING | marker::TEMPORARY | marker::RESTART_FIRST..=marker::START_OF_IMAGE => {}
                marker::END_OF_IMAGE => return Ok(Segment { marker, payload: &[], position: self.position }),
                _ => return self.payload(marker),
            }
        }
    }

    /// Everything behind the segments read so far: behind a scan's header its entropy-coded data, and more segments.
    pub(super) fn rest(&self) -> &'a [u8] {
        &self.bytes[self.position.min(self.bytes.len())..]
    }

    fn marker(&mut self) -> Option<u8> {
        self.position += memchr(0xff, self.rest())?;
        let fill = self.rest().iter().take_while(|&&byte| byte == 0xff).count();
        let marker = *self.rest().get(fill)?;
        self.position += fill + 1;
        Some(marker)
    }

    fn payload(&mut self, marker: u8) -> Result<Segment<'a>, Error> {
        let rest = self.rest();
        let length = rest.first_chunk().map(|length| usize::from(u16::from_be_bytes(*length)));
        let payload = match length {
            Some(0 | 1) => return Err(Error::Corrupt("a segment shorter than its length")),
            Some(length) => rest.get(2..length),
            None => None,
        };
        let payload = payload.ok_or(Error::Corrupt("it ends within a segment"))?;
        let position = self.position + 2;
        self.position = position + payload.len();
        Ok(Segment { marker, payload, position })
    }
}
