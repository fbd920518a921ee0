//! The blocks of a GIF (GIF89a, of July 1990), read as far as the next picture. Nothing is allocated but for the codes that are there.

use crate::{Error, Format, Result, bytes::le16};

/// A picture with what is said about it.
pub(super) struct Picture<'a> {
    pub(super) left: u16,
    pub(super) top: u16,
    pub(super) width: u16,
    pub(super) height: u16,
    pub(super) is_interlaced: bool,
    /// Red, green and blue of each place.
    pub(super) palette: &'a [u8],
    pub(super) transparent: Option<u8>,
    /// How long it is shown, in hundredths of a second.
    pub(super) delay: u16,
    pub(super) disposal: Disposal,
    /// Bits of the places, and the codes for them.
    pub(super) code_size: u8,
    pub(super) codes: Vec<u8>,
}

/// What becomes of a picture before the next one.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Disposal {
    Keep,
    /// It is cleared away.
    Background,
    /// What was below it is there again.
    Previous,
}

/// What has not been read yet.
pub(super) struct Blocks<'a> {
    rest: &'a [u8],
    palette: Option<&'a [u8]>,
}

/// What is said about the next picture.
struct Control {
    transparent: Option<u8>,
    delay: u16,
    disposal: Disposal,
}

impl<'a> Blocks<'a> {
    /// Reads the header.
    pub(super) fn open(bytes: &'a [u8]) -> Result<Self> {
        let mut blocks = Self { rest: bytes, palette: None };
        let header = blocks.take(13)?;
        blocks.palette = blocks.table(header[10])?;
        Ok(blocks)
    }

    /// Reads up to the end of the next picture; `None` where there is none.
    pub(super) fn next(&mut self) -> Result<Option<Picture<'a>>> {
        let mut control = Control { transparent: None, delay: 0, disposal: Disposal::Keep };
        loop {
            match self.take(1)?[0] {
                0x2c => return self.picture(control).map(Some),
                0x21 if self.take(1)?[0] == 0xf9 => control = self.control()?,
                0x21 => self.each_sub_block(|_| ())?,
                0x3b => return Ok(None),
                _ => return Err(corrupt("it has an unknown block")),
            }
        }
    }

    fn control(&mut self) -> Result<Control> {
        let length = self.take(1)?[0];
        let [flags, low, high, transparent] = *self.take(length.into())? else {
            return Err(corrupt("a control extension has another length"));
        };
        self.each_sub_block(|_| ())?;
        let disposal = match flags >> 2 & 7 {
            2 => Disposal::Background,
            3 => Disposal::Previous,
            _ => Disposal::Keep,
        };
        let transparent = (flags & 1 == 1).then_some(transparent);
        Ok(Control { transparent, delay: u16::from_le_bytes([low, high]), disposal })
    }

    fn picture(&mut self, Control { transparent, delay, disposal }: Control) -> Result<Picture<'a>> {
        let header = self.take(9)?;
        let side = |at: usize| le16(header, at).expect("nine bytes");
        let flags = header[8];
        let palette = self.table(flags)?.or(self.palette).ok_or_else(|| corrupt("a frame has no colours"))?;
        let code_size = self.take(1)?[0];
        let mut codes = Vec::new();
        self.each_sub_block(|block| codes.extend_from_slice(block))?;
        Ok(Picture {
            left: side(0),
            top: side(2),
            width: side(4),
            height: side(6),
            is_interlaced: flags & 0x40 != 0,
            palette,
            transparent,
            delay,
            disposal,
            code_size,
            codes,
        })
    }

    /// The table of colours that these flags announce.
    fn table(&mut self, flags: u8) -> Result<Option<&'a [u8]>> {
        if flags & 0x80 == 0 { Ok(None) } else { self.take(3 << ((flags & 7) + 1)).map(Some) }
    }

    fn each_sub_block(&mut self, mut each: impl FnMut(&'a [u8])) -> Result<()> {
        loop {
            let length = self.take(1)?[0];
            if length == 0 {
                return Ok(());
            }
            each(self.take(length.into())?);
        }
    }

    fn take(&mut self, length: usize) -> Result<&'a [u8]> {
        let (taken, rest) = self.rest.split_at_checked(length).ok_or_else(|| corrupt("it ends too early"))?;
        self.rest = rest;
        Ok(taken)
    }
}

fn corrupt(what: &'static str) -> Error {
    Error::corrupt(Format::Gif, what)
}
