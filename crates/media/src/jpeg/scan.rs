//! A scan: which components it carries, and the order in which their blocks come.

use super::{Error, bits::Bits, header::Header, interval::Intervals};
use std::ops::Range;

/// Blocks of an MCU of several components, at most (T.81, B.2.3).
const MCU_BLOCKS_MAX: usize = 10;

/// What the header of a scan says.
pub(super) struct Scan {
    /// One to four, each another component.
    pub(super) members: Vec<Member>,
    /// The first coefficient it carries.
    pub(super) spectral_start: u8,
    /// The last.
    pub(super) spectral_end: u8,
    /// The bits that earlier scans left out of these coefficients; 0 if this is the first.
    pub(super) approximation_high: u8,
    /// The bits that this one leaves out.
    pub(super) approximation_low: u8,
}

/// A component of a scan.
pub(super) struct Member {
    /// Its place in [`Header::components`].
    pub(super) component: usize,
    /// The Huffman table of its DC coefficients, 0 to 3.
    pub(super) dc: usize,
    /// That of the others.
    pub(super) ac: usize,
}

/// How a scan went.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Outcome {
    Whole,
    /// Data was missing or made no sense.
    Damaged,
}

/// What is done with each block.
pub(super) trait BlockDecoder {
    /// Begins a restart interval: predictions begin anew.
    fn restart(&mut self);

    /// Reads the block of `member` at (`column`, `row`) of its component.
    fn block(&mut self, bits: &mut Bits<'_>, member: usize, column: usize, row: usize);

    /// Undoes [`BlockDecoder::block`], for which there was no data in truth.
    fn erase(&mut self, member: usize, column: usize, row: usize);
}

impl Scan {
    /// # Errors
    ///
    /// [`Error::Corrupt`] if it names no component, one that does not exist, one twice, impossible tables, or too many blocks.
    pub(super) fn read(payload: &[u8], header: &Header) -> Result<Scan, Error> {
        const CORRUPT: Error = Error::Corrupt("an impossible header of a scan");
        let (&count, rest) = payload.split_first().ok_or(CORRUPT)?;
        let (entries, rest) = rest.split_at_checked(2 * usize::from(count)).ok_or(CORRUPT)?;
        let [spectral_start, spectral_end, approximation, ..] = *rest else { return Err(CORRUPT) };
        let members: Option<Vec<_>> = entries.chunks_exact(2).map(|entry| Member::read(entry, header)).collect();
        let scan = Scan {
            members: members.ok_or(CORRUPT)?,
            spectral_start,
            spectral_end,
            approximation_high: approximation >> 4,
            approximation_low: approximation & 15,
        };
        if scan.is_possible(header) { Ok(scan) } else { Err(CORRUPT) }
    }

    fn is_possible(&self, header: &Header) -> bool {
        let mut components: Vec<_> = self.members.iter().map(|member| member.component).collect();
        components.sort_unstable();
        components.dedup();
        let blocks = Grid::new(self, header).blocks.len();
        !components.is_empty() && components.len() == self.members.len() && blocks <= MCU_BLOCKS_MAX
    }

    /// Decodes all blocks, restart interval by restart interval. One that ends early leaves its other blocks as they are.
    ///
    /// # Errors
    ///
    /// [`Error::GivenUp`] as soon as `give_up` says so, which is asked at the beginning of each row.
    pub(super) fn decode<D: BlockDecoder>(
        &self,
        decoder: &mut D,
        header: &Header,
        restart_interval: u16,
        intervals: &mut Intervals<'_>,
        give_up: &dyn Fn() -> bool,
    ) -> Result<Outcome, Error> {
        let grid = Grid::new(self, header);
        let mcus = grid.columns * grid.rows;
        let step = if restart_interval == 0 { mcus } else { restart_interval.into() };
        let mut outcome = Outcome::Whole;
        for start in (0..mcus).step_by(step) {
            let Some(interval) = intervals.next() else { return Ok(Outcome::Damaged) };
            decoder.restart();
            if !grid.decode(decoder, interval, start..mcus.min(start + step), give_up)? {
                outcome = Outcome::Damaged;
            }
        }
        Ok(outcome)
    }
}

impl Member {
    fn read(entry: &[u8], header: &Header) -> Option<Member> {
        let component = header.components.iter().position(|component| component.id == entry[0])?;
        let (dc, ac) = (usize::from(entry[1] >> 4), usize::from(entry[1] & 15));
        (dc < 4 && ac < 4).then_some(Member { component, dc, ac })
    }
}

/// The MCUs of a scan, row by row.
struct Grid {
    columns: usize,
    rows: usize,
    /// The blocks of an MCU.
    blocks: Vec<McuBlock>,
}

/// A block of every MCU.
struct McuBlock {
    member: usize,
    /// Within the MCU.
    column: usize,
    row: usize,
    /// Blocks of its component in an MCU.
    across: usize,
    down: usize,
}

impl Grid {
    /// A scan of one component has MCUs of one block, whatever its sampling.
    fn new(scan: &Scan, header: &Header) -> Grid {
        if let [member] = &scan.members[..] {
            let (columns, rows) = header.blocks(&header.components[member.component]);
            return Grid { columns, rows, blocks: vec![McuBlock { member: 0, column: 0, row: 0, across: 1, down: 1 }] };
        }
        let mut blocks = Vec::new();
        for (member, component) in scan.members.iter().map(|member| header.components[member.component]).enumerate() {
            let (across, down) = (component.horizontal(), component.vertical());
            let places = (0..down).flat_map(|row| (0..across).map(move |column| (column, row)));
            blocks.extend(places.map(|(column, row)| McuBlock { member, column, row, across, down }));
        }
        let (columns, rows) = header.mcus();
        Grid { columns, rows, blocks }
    }

    /// Decodes `mcus` from the data of one interval. False if it did not reach; the MCU it ended in is erased.
    fn decode<D: BlockDecoder>(
        &self,
        decoder: &mut D,
        interval: &[u8],
        mcus: Range<usize>,
        give_up: &dyn Fn() -> bool,
    ) -> Result<bool, Error> {
        let mut bits = Bits::new(interval);
        let (mut column, mut row) = (mcus.start % self.columns, mcus.start / self.columns);
        for _ in mcus {
            if column == 0 && give_up() {
                return Err(Error::GivenUp);
            }
            for block in &self.blocks {
                let (column, row) = block.place(column, row);
                decoder.block(&mut bits, block.member, column, row);
            }
            if bits.is_exhausted() {
                self.erase(decoder, column, row);
                return Ok(false);
            }
            (column, row) = if column + 1 == self.columns { (0, row + 1) } else { (column + 1, row) };
        }
        Ok(true)
    }

    fn erase<D: BlockDecoder>(&self, decoder: &mut D, column: usize, row: usize) {
        for block in &self.blocks {
            let (column, row) = block.place(column, row);
            decoder.erase(block.member, column, row);
        }
    }
}

impl McuBlock {
    /// Its column and row among the blocks of its component, in the MCU at (`column`, `row`).
    #[inline(always)]
    fn place(&self, column: usize, row: usize) -> (usize, usize) {
        (column * self.across + self.column, row * self.down + self.row)
    }
}
