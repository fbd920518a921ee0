//! The tables that segments define between scans: quantisation, Huffman codes, the restart interval.

use super::{
    Error,
    huffman::{AcCode, Code, DcCode},
    segment::{Segment, marker},
};

/// Quantisation factors in zigzag order.
pub(super) type Factors = [u16; 64];

/// The tables as of the last segment read; a later definition replaces an earlier.
#[derive(Default)]
pub(super) struct Tables {
    quantisation: [Option<Factors>; 4],
    dc: [Option<DcCode>; 4],
    ac: [Option<AcCode>; 4],
    /// MCUs from one restart marker to the next; 0 means no such markers.
    pub(super) restart_interval: u16,
}

impl Tables {
    /// Takes what `segment` defines. Segments that define no table are passed over.
    ///
    /// # Errors
    ///
    /// [`Error::Corrupt`] if a table is impossible or cut.
    pub(super) fn read(&mut self, segment: &Segment<'_>) -> Result<(), Error> {
        match segment.marker {
            marker::QUANTISATION_TABLES => self.read_quantisation(segment.payload),
            marker::HUFFMAN_TABLES => self.read_codes(segment.payload),
            marker::RESTART_INTERVAL => {
                let interval = segment.payload.first_chunk().ok_or(Error::Corrupt("a short restart interval"))?;
                self.restart_interval = u16::from_be_bytes(*interval);
                Ok(())
            }
            _ => Ok(()),
        }
    }

    /// # Errors
    ///
    /// [`Error::Corrupt`] if it was not defined.
    pub(super) fn factors(&self, index: usize) -> Result<&Factors, Error> {
        self.quantisation[index].as_ref().ok_or(Error::Corrupt("a scan without its quantisation table"))
    }

    /// # Errors
    ///
    /// [`Error::Unsupported`] if it was not defined: frames of films leave out the tables that everybody knows.
    pub(super) fn dc(&self, index: usize) -> Result<&DcCode, Error> {
        self.dc[index].as_ref().ok_or(Error::Unsupported("a scan without its Huffman tables"))
    }

    /// # Errors
    ///
    /// As [`Tables::dc`].
    pub(super) fn ac(&self, index: usize) -> Result<&AcCode, Error> {
        self.ac[index].as_ref().ok_or(Error::Unsupported("a scan without its Huffman tables"))
    }

    fn read_quantisation(&mut self, mut payload: &[u8]) -> Result<(), Error> {
        while let [kind, rest @ ..] = payload {
            let (wide, index) = (kind >> 4, usize::from(kind & 15));
            let bytes = 64 << wide.min(1);
            let (Some((factors, behind)), 0..=1, 0..=3) = (rest.split_at_checked(bytes), wide, index) else {
                return Err(Error::Corrupt("an impossible quantisation table"));
            };
            self.quantisation[index] = Some(match wide {
                0 => std::array::from_fn(|n| factors[n].into()),
                _ => std::array::from_fn(|n| u16::from_be_bytes([factors[2 * n], factors[2 * n + 1]])),
            });
            payload = behind;
        }
        Ok(())
    }

    fn read_codes(&mut self, mut payload: &[u8]) -> Result<(), Error> {
        while let [kind, rest @ ..] = payload {
            let (code, behind) = Code::read(rest)?;
            let index = usize::from(kind & 15);
            match (kind >> 4, index) {
                (0, 0..=3) => self.dc[index] = Some(DcCode::new(code)?),
                (1, 0..=3) => self.ac[index] = Some(AcCode::new(code)),
                _ => return Err(Error::Corrupt("a Huffman table of an impossible kind")),
            }
            payload = behind;
        }
        Ok(())
    }
}
