//! [`Random`]: SplitMix64, so that a history depends on its seed and on no version of any crate.

/// A sequence of numbers that its seed decides.
#[derive(Clone, Debug)]
pub(super) struct Random(u64);

impl Random {
    pub(super) fn new(seed: u64) -> Self {
        Self(seed)
    }

    pub(super) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// Another sequence, which goes on whatever is drawn from this one.
    pub(super) fn fork(&mut self) -> Self {
        Self(self.next())
    }

    /// One of `0..end`; `end` is at least 1.
    pub(super) fn below(&mut self, end: u64) -> u64 {
        self.next() % end
    }

    /// An index of something that has `len` elements, at least 1.
    pub(super) fn index(&mut self, len: usize) -> usize {
        usize::try_from(self.below(len as u64)).expect("below a length")
    }

    /// True `of` times in 1,000.
    pub(super) fn chance(&mut self, of: u64) -> bool {
        self.below(1000) < of
    }

    pub(super) fn pick<'a, T>(&mut self, from: &'a [T]) -> &'a T {
        &from[self.index(from.len())]
    }

    pub(super) fn fill(&mut self, bytes: &mut [u8]) {
        for block in bytes.chunks_mut(8) {
            let word = self.next().to_le_bytes();
            block.copy_from_slice(&word[..block.len()]);
        }
    }
}
