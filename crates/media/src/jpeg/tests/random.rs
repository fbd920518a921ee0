//! Random numbers of a seed (xorshift64*), so that a failure can be seen again.

pub(crate) struct Random(u64);

impl Random {
    pub(crate) fn new(seed: u64) -> Self {
        Random(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1)
    }

    /// A number from 0 to `bound` - 1.
    pub(crate) fn below(&mut self, bound: usize) -> usize {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        ((self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 32) as usize) % bound
    }

    pub(crate) fn shuffled(&mut self, symbols: std::ops::RangeInclusive<u8>) -> Vec<u8> {
        let mut symbols: Vec<u8> = symbols.collect();
        for n in (1..symbols.len()).rev() {
            symbols.swap(n, self.below(n + 1));
        }
        symbols
    }
}
