//! The source as the decoders read it: bytes that end in an error once the caller's deadline is over, which stops any decoder.

use std::io::{BufRead, Cursor, Error, ErrorKind, Read, Result, Seek, SeekFrom};

/// The deadline is looked at once in so many reads; some decoders read single bytes.
const READS_PER_LOOK: u32 = 256;
/// So many bytes are given at once.
const BYTES_PER_READ: usize = 4096;

pub(super) struct Reader<'a> {
    bytes: Cursor<&'a [u8]>,
    is_over: &'a dyn Fn() -> bool,
    reads: u32,
}

impl<'a> Reader<'a> {
    pub(super) fn new(bytes: &'a [u8], is_over: &'a dyn Fn() -> bool) -> Self {
        Self { bytes: Cursor::new(bytes), is_over, reads: 0 }
    }

    fn look(&mut self) -> Result<()> {
        self.reads = self.reads.wrapping_add(1);
        let over = self.reads.is_multiple_of(READS_PER_LOOK) && (self.is_over)();
        if over { Err(Error::new(ErrorKind::TimedOut, "the deadline is over")) } else { Ok(()) }
    }
}

impl Read for Reader<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> Result<usize> {
        self.look()?;
        let most = buffer.len().min(BYTES_PER_READ);
        self.bytes.read(&mut buffer[..most])
    }
}

impl BufRead for Reader<'_> {
    fn fill_buf(&mut self) -> Result<&[u8]> {
        self.look()?;
        let rest = self.bytes.fill_buf()?;
        Ok(&rest[..rest.len().min(BYTES_PER_READ)])
    }

    fn consume(&mut self, bytes: usize) {
        self.bytes.consume(bytes);
    }
}

impl Seek for Reader<'_> {
    fn seek(&mut self, to: SeekFrom) -> Result<u64> {
        self.bytes.seek(to)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reading_ends_in_an_error_when_the_deadline_is_over() {
        let bytes = vec![0; BYTES_PER_READ * READS_PER_LOOK as usize * 2];
        let mut all = Vec::new();
        let read = std::io::copy(&mut Reader::new(&bytes, &|| true), &mut all);
        assert_eq!(read.map_err(|fault| fault.kind()), Err(ErrorKind::TimedOut));
        assert_eq!(std::io::copy(&mut Reader::new(&bytes, &|| false), &mut all).ok(), Some(bytes.len() as u64));
    }
}
