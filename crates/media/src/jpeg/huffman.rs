//! Huffman codes, and the tables that read several things of them in one look.
//!
//! Decoding is bound by the latency of one table look after the other, so each look does as much as it can: [`DcTable`] gives a
//! difference at once, [`ValueTable`] a run and a coefficient, and [`SkipTable`] passes over as many AC symbols as begin within
//! its window. What does not fit into an entry goes the slow way over [`Symbols`].

use super::{
    Error,
    bits::{Bits, extend},
};
use std::cell::OnceCell;

/// Coefficients of a block.
const COEFFICIENTS: u32 = 64;

/// A canonical code as a segment defines it: how many symbols have each length, and the symbols from the shortest on.
#[derive(Clone)]
pub(super) struct Code {
    counts: [u8; 16],
    symbols: Vec<u8>,
}

impl Code {
    /// Reads a code from the beginning of `payload`; returns what is behind.
    ///
    /// # Errors
    ///
    /// [`Error::Corrupt`] if it is cut, has more than 256 symbols, or more than fit into their lengths.
    pub(super) fn read(payload: &[u8]) -> Result<(Code, &[u8]), Error> {
        const CORRUPT: Error = Error::Corrupt("an impossible Huffman table");
        let (counts, rest) = payload.split_first_chunk::<16>().ok_or(CORRUPT)?;
        let total = counts.iter().map(|&count| usize::from(count)).sum();
        if total > 256 {
            return Err(CORRUPT);
        }
        let (symbols, rest) = rest.split_at_checked(total).ok_or(CORRUPT)?;
        let code = Code { counts: *counts, symbols: symbols.to_vec() };
        if code.lengths().any(|length| length.end > 1 << length.bits) {
            return Err(CORRUPT);
        }
        Ok((code, rest))
    }

    /// The codes of each length, from one bit to sixteen.
    fn lengths(&self) -> impl Iterator<Item = Length> + '_ {
        let (mut end, mut symbols) = (0, 0);
        self.counts.iter().zip(1..).map(move |(&count, bits)| {
            let length = Length { bits, first: end * 2, end: end * 2 + u32::from(count), symbols };
            (end, symbols) = (length.end, symbols + usize::from(count));
            length
        })
    }
}

/// The codes of one length: consecutive numbers.
#[derive(Clone, Copy)]
struct Length {
    bits: u32,
    first: u32,
    /// Behind the last.
    end: u32,
    /// Where the symbol of `first` is in [`Code::symbols`].
    symbols: usize,
}

/// The code of DC differences.
pub(super) struct DcCode {
    code: Code,
    table: OnceCell<DcTable>,
}

impl DcCode {
    /// # Errors
    ///
    /// [`Error::Corrupt`] if a symbol says that a difference has more than 15 bits.
    pub(super) fn new(code: Code) -> Result<Self, Error> {
        if code.symbols.iter().any(|&size| size > 15) {
            return Err(Error::Corrupt("a Huffman table of impossible differences"));
        }
        Ok(DcCode { code, table: OnceCell::new() })
    }

    /// Built when it is first asked for, as the others: a file may define tables that no scan uses.
    pub(super) fn table(&self) -> &DcTable {
        self.table.get_or_init(|| DcTable::new(&self.code))
    }
}

/// The code of AC coefficients.
pub(super) struct AcCode {
    code: Code,
    skips: OnceCell<SkipTable>,
    values: OnceCell<ValueTable>,
}

impl AcCode {
    pub(super) fn new(code: Code) -> Self {
        AcCode { code, skips: OnceCell::new(), values: OnceCell::new() }
    }

    pub(super) fn skips(&self) -> &SkipTable {
        self.skips.get_or_init(|| SkipTable::new(&self.code))
    }

    pub(super) fn values(&self) -> &ValueTable {
        self.values.get_or_init(|| ValueTable::new(&self.code))
    }
}

/// A symbol and the bits of its code.
#[derive(Clone, Copy)]
struct Symbol {
    bits: u32,
    symbol: u8,
}

impl Symbol {
    /// Coefficients of zero before the one it stands for.
    #[inline(always)]
    fn run(self) -> u32 {
        u32::from(self.symbol >> 4)
    }

    /// Bits of the value behind the code.
    #[inline(always)]
    fn size(self) -> u32 {
        u32::from(self.symbol & 15)
    }

    /// Whether all coefficients left are zero. Run 15 of size 0 is sixteen zeros, other runs of size 0 have no other meaning.
    #[inline(always)]
    fn ends_block(self) -> bool {
        self.size() == 0 && self.run() != 15
    }
}

/// One symbol at a time.
struct Symbols {
    /// By the next bits, the code's bits and the symbol below; 0 where the code is longer.
    short: Box<[u16; 1 << Symbols::WINDOW]>,
    /// The codes longer than the window.
    long: [Length; 16 - Symbols::WINDOW as usize],
    symbols: Vec<u8>,
}

impl Symbols {
    const WINDOW: u32 = 12;

    fn new(code: &Code) -> Self {
        let mut short = Box::new([0; 1 << Self::WINDOW]);
        for length in code.lengths().take(Self::WINDOW as usize) {
            let spare = Self::WINDOW - length.bits;
            let entries = short[(length.first << spare) as usize..].chunks_exact_mut(1 << spare);
            let count = (length.end - length.first) as usize;
            for (entries, symbol) in entries.zip(&code.symbols[length.symbols..][..count]) {
                entries.fill((length.bits as u16) << 8 | u16::from(*symbol));
            }
        }
        let mut lengths = code.lengths().skip(Self::WINDOW as usize);
        let long = std::array::from_fn(|_| lengths.next().expect("a code has sixteen lengths"));
        Symbols { short, long, symbols: code.symbols.clone() }
    }

    /// The symbol whose code begins with the first of `window`, if it lies within them.
    fn within(&self, window: usize, width: u32) -> Option<Symbol> {
        let entry = self.short[window << Self::WINDOW >> width];
        (entry != 0).then(|| Symbol { bits: u32::from(entry >> 8), symbol: entry as u8 })
    }

    /// The next symbol, consumed. Where there is none, the bits are abandoned.
    #[inline(always)]
    fn next(&self, bits: &mut Bits<'_>) -> Symbol {
        let found = self.within(bits.peek::<{ Self::WINDOW }>(), Self::WINDOW).or_else(|| self.long(bits.window()));
        match found {
            Some(symbol) => bits.consume(symbol.bits),
            None => bits.abandon(),
        }
        found.unwrap_or(Symbol { bits: 0, symbol: 0 })
    }

    /// The symbol of a long code that `window` begins with. Not inlined, to leave the registers to the loops that seldom need it.
    #[cold]
    #[inline(never)]
    fn long(&self, window: u64) -> Option<Symbol> {
        let number = |length: &Length| (window >> (64 - length.bits)) as u32;
        let length = self.long.iter().find(|length| number(length) < length.end)?;
        let offset = number(length).checked_sub(length.first)?;
        let symbol = *self.symbols.get(length.symbols + offset as usize)?;
        Some(Symbol { bits: length.bits, symbol })
    }
}

/// DC differences.
pub(super) struct DcTable {
    /// By the next bits: the bits of code and value, and the difference from bit 16 on; 0 where they are more than the window.
    short: Box<[u32; 1 << DcTable::WINDOW]>,
    symbols: Symbols,
}

impl DcTable {
    const WINDOW: u32 = 11;
    /// So many bits, at least, are left of a refill behind a difference.
    const BITS_LEFT: u32 = Bits::REFILLED - Self::WINDOW;

    fn new(code: &Code) -> Self {
        let symbols = Symbols::new(code);
        let mut short = Box::new([0; 1 << Self::WINDOW]);
        for (window, entry) in short.iter_mut().enumerate() {
            if let Some((symbol, value)) = whole(&symbols, window, Self::WINDOW) {
                *entry = (symbol.bits + symbol.size()) | ((value as u32) << 16);
            }
        }
        DcTable { short, symbols }
    }

    /// The next difference. Needs refilled bits, and leaves at least [`DcTable::BITS_LEFT`].
    #[inline(always)]
    pub(super) fn difference(&self, bits: &mut Bits<'_>) -> i32 {
        let entry = self.short[bits.peek::<{ Self::WINDOW }>()];
        if entry != 0 {
            bits.consume(entry & 0xff);
            return entry as i32 >> 16;
        }
        let symbol = self.symbols.next(bits);
        let difference = bits.value(symbol.size());
        bits.refill();
        difference
    }
}

/// The symbol and its value, if both lie within `window` of `width` bits.
fn whole(symbols: &Symbols, window: usize, width: u32) -> Option<(Symbol, i32)> {
    let symbol = symbols.within(window, width)?;
    let spare = width.checked_sub(symbol.bits + symbol.size())?;
    let value = (window as u32 >> spare) & ((1 << symbol.size()) - 1);
    Some((symbol, extend(value, symbol.size())))
}

/// AC symbols that nobody wants.
pub(super) struct SkipTable {
    steps: Box<[Step; 1 << SkipTable::WINDOW]>,
    symbols: Symbols,
}

/// Several symbols at once: the bits of their codes and values in the lower six bits, the coefficients they pass over above.
/// [`Step::END`] is added to those where the block ends with them. All coefficients set: the slow way must be gone.
#[derive(Clone, Copy)]
struct Step(u16);

impl Step {
    /// A step takes at most so many bits, so that three go with one refill.
    const BITS_MAX: u32 = 18;
    const END: u32 = COEFFICIENTS;
    const SLOW: Step = Step(127 << 6);

    fn new(bits: u32, coefficients: u32) -> Self {
        Step((bits | (coefficients << 6)) as u16)
    }

    #[inline(always)]
    fn bits(self) -> u32 {
        u32::from(self.0 & 63)
    }

    #[inline(always)]
    fn coefficients(self) -> u32 {
        u32::from(self.0 >> 6)
    }

    /// The symbols that begin within `window`, as many as fit into a step.
    fn chain(symbols: &Symbols, window: usize) -> Step {
        let (mut bits, mut coefficients) = (0, 0);
        while bits < SkipTable::WINDOW {
            let left = (window << bits) & ((1 << SkipTable::WINDOW) - 1);
            let Some(symbol) = symbols.within(left, SkipTable::WINDOW) else { break };
            let after = bits + symbol.bits + symbol.size();
            let passed = coefficients + symbol.run() + 1;
            // What lies behind the window reads as zeros: a code that would need them may be another in truth.
            if bits + symbol.bits > SkipTable::WINDOW || after > Self::BITS_MAX {
                break;
            }
            if symbol.ends_block() {
                return Step::new(after, coefficients + Self::END);
            }
            if passed >= COEFFICIENTS - 1 {
                break;
            }
            (bits, coefficients) = (after, passed);
        }
        if bits == 0 { Self::SLOW } else { Step::new(bits, coefficients) }
    }
}

impl SkipTable {
    const WINDOW: u32 = 12;

    fn new(code: &Code) -> Self {
        let symbols = Symbols::new(code);
        let mut steps = Box::new([Step::SLOW; 1 << Self::WINDOW]);
        for (window, step) in steps.iter_mut().enumerate() {
            *step = Step::chain(&symbols, window);
        }
        SkipTable { steps, symbols }
    }

    /// Passes over the coefficients of a block from `index` on. Needs as many bits as [`DcTable::difference`] leaves.
    #[inline(always)]
    pub(super) fn skip(&self, bits: &mut Bits<'_>, index: u32) {
        let mut index = self.steps::<{ DcTable::BITS_LEFT / Step::BITS_MAX }>(bits, index);
        while index < COEFFICIENTS {
            bits.refill();
            index = self.steps::<{ Bits::REFILLED / Step::BITS_MAX }>(bits, index);
        }
    }

    /// Takes at most `COUNT` steps; the index behind them.
    #[inline(always)]
    fn steps<const COUNT: u32>(&self, bits: &mut Bits<'_>, mut index: u32) -> u32 {
        for _ in 0..COUNT {
            let step = self.steps[bits.peek::<{ Self::WINDOW }>()];
            let next = index + step.coefficients();
            if next < COEFFICIENTS {
                bits.consume(step.bits());
                index = next;
            } else if step.coefficients() >= Step::END && next < COEFFICIENTS + Step::END {
                bits.consume(step.bits());
                return COEFFICIENTS;
            } else {
                // A slow one, or one that would reach into the next block.
                bits.refill();
                return self.skip_one(bits, index);
            }
        }
        index
    }

    /// Passes over one symbol, of at most 31 bits; the index behind it.
    #[inline(always)]
    fn skip_one(&self, bits: &mut Bits<'_>, index: u32) -> u32 {
        let symbol = self.symbols.next(bits);
        if symbol.ends_block() {
            return COEFFICIENTS;
        }
        bits.consume(symbol.size());
        index + symbol.run() + 1
    }
}

/// AC coefficients by value.
pub(super) struct ValueTable {
    /// By the next bits: the bits of code and value, the run from bit 8 on, the value from bit 16 on; 0 where they are more than
    /// the window. A block ends with a run of [`ValueTable::END`].
    short: Box<[u32; 1 << ValueTable::WINDOW]>,
    symbols: Symbols,
}

/// Where the coefficients that a scale needs are kept: the lower frequencies in rows of four, the others it comes across behind.
pub(super) type LowFrequencies = [i16; 32];

/// The place of each zigzag index in [`LowFrequencies`]. Of the first 25 coefficients 16 lie in the corner of 4 x 4.
const PLACES: [u8; 32] = [
    0, 1, 4, 8, 5, 2, 3, 6, 9, 12, 16, 13, 10, 7, 16, 16, 16, 11, 14, 16, 16, 16, 16, 16, 15, 16, 16, 16, 16, 16, 16,
    16,
];

impl ValueTable {
    const WINDOW: u32 = 12;
    const END: u32 = COEFFICIENTS;

    fn new(code: &Code) -> Self {
        let symbols = Symbols::new(code);
        let mut short = Box::new([0; 1 << Self::WINDOW]);
        for (window, entry) in short.iter_mut().enumerate() {
            if let Some((symbol, value)) = whole(&symbols, window, Self::WINDOW) {
                let run = if symbol.ends_block() { Self::END } else { symbol.run() };
                *entry = (symbol.bits + symbol.size()) | (run << 8) | ((value as u32) << 16);
            }
        }
        ValueTable { short, symbols }
    }

    /// Reads the coefficients from 1 to `LAST` (at most 24) into `block` and passes over the others by `skips`. Needs as many
    /// bits as [`DcTable::difference`] leaves. Returns whether any was written.
    #[inline(always)]
    pub(super) fn read<const LAST: u32>(
        &self,
        bits: &mut Bits<'_>,
        skips: &SkipTable,
        block: &mut LowFrequencies,
    ) -> bool {
        let mut progress = self.symbols::<LAST, { DcTable::BITS_LEFT / Self::WINDOW }>(bits, block, (1, false));
        while progress.0 <= LAST {
            bits.refill();
            progress = self.symbols::<LAST, { Bits::REFILLED / Self::WINDOW }>(bits, block, progress);
        }
        let (index, any) = progress;
        if index < COEFFICIENTS {
            bits.refill();
            skips.skip(bits, index);
        }
        any
    }

    /// Reads at most `COUNT` symbols, fewer where they pass `LAST`. The progress is the next index, which is beyond all
    /// coefficients at the end of the block, and whether any coefficient was written.
    #[inline(always)]
    fn symbols<const LAST: u32, const COUNT: u32>(
        &self,
        bits: &mut Bits<'_>,
        block: &mut LowFrequencies,
        (mut index, mut any): (u32, bool),
    ) -> (u32, bool) {
        for _ in 0..COUNT {
            let entry = self.short[bits.peek::<{ Self::WINDOW }>()];
            if entry == 0 {
                bits.refill();
                return self.read_one::<LAST>(bits, index, block, any);
            }
            bits.consume(entry & 0xff);
            index += entry >> 8 & 0xff;
            if index > LAST {
                return (index + 1, any);
            }
            block[place(index)] = (entry >> 16) as i16;
            (index, any) = (index + 1, true);
            if index > LAST {
                break;
            }
        }
        (index, any)
    }

    /// Reads one symbol, of at most 31 bits. Returns the index behind it, and `any` or whether it wrote a coefficient.
    #[inline(always)]
    fn read_one<const LAST: u32>(
        &self,
        bits: &mut Bits<'_>,
        index: u32,
        block: &mut LowFrequencies,
        any: bool,
    ) -> (u32, bool) {
        let symbol = self.symbols.next(bits);
        if symbol.ends_block() {
            return (COEFFICIENTS, any);
        }
        let value = bits.value(symbol.size());
        let index = index + symbol.run();
        if index > LAST {
            return (index + 1, any);
        }
        block[place(index)] = value as i16;
        (index + 1, true)
    }
}

#[inline(always)]
fn place(index: u32) -> usize {
    usize::from(PLACES[index as usize & 31] & 31)
}
