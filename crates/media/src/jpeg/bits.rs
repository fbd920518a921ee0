//! Reads entropy-coded data bit by bit, the most significant bit first.

/// The bits of one restart interval, free of stuffing. Behind the last come zeros without end: the hot loops need not ask at
/// every symbol, [`Bits::is_exhausted`] tells afterwards.
///
/// It is small and only ever passed to functions that are inlined, so that it lives in registers.
pub(super) struct Bits<'a> {
    bytes: &'a [u8],
    /// Of the next byte to load.
    position: usize,
    /// The next bits, left-aligned. Behind the first `count` lie zeros, or bits that the next refill puts there again.
    buffer: u64,
    count: u32,
}

impl<'a> Bits<'a> {
    /// After a refill so many bits, at least, can be consumed.
    pub(super) const REFILLED: u32 = 56;

    pub(super) fn new(bytes: &'a [u8]) -> Self {
        Bits { bytes, position: 0, buffer: 0, count: 0 }
    }

    /// Fills the buffer to at least [`Bits::REFILLED`] bits, without a branch on how many are missing.
    #[inline(always)]
    pub(super) fn refill(&mut self) {
        let word = match self.bytes.get(self.position..).and_then(|rest| rest.first_chunk()) {
            Some(word) => u64::from_be_bytes(*word),
            None => last_word(self.bytes, self.position),
        };
        self.buffer |= word >> self.count;
        self.position += ((63 - self.count) >> 3) as usize;
        self.count |= Self::REFILLED;
    }

    /// The next 64 bits, as many of which are valid as were refilled and not consumed.
    #[inline(always)]
    pub(super) fn window(&self) -> u64 {
        self.buffer
    }

    /// The next `COUNT` bits as a number.
    #[inline(always)]
    pub(super) fn peek<const COUNT: u32>(&self) -> usize {
        (self.buffer >> (64 - COUNT)) as usize
    }

    /// Passes over `count` bits, at most 63 and no more than are valid.
    #[inline(always)]
    pub(super) fn consume(&mut self, count: u32) {
        self.buffer <<= count;
        self.count -= count;
    }

    /// Consumes `size` bits, at most 15, and extends them to a signed value (T.81, F.2.2.1).
    #[inline(always)]
    pub(super) fn value(&mut self, size: u32) -> i32 {
        let bits = (self.buffer >> 1 >> (63 - size)) as u32;
        self.consume(size);
        extend(bits, size)
    }

    /// Makes as if the data ended here: a code that does not exist makes all behind it meaningless.
    #[inline(always)]
    pub(super) fn abandon(&mut self) {
        self.position = self.bytes.len() + 1;
        self.buffer = 0;
        self.count = 0;
    }

    /// Whether more bits were consumed than there were.
    #[inline(always)]
    pub(super) fn is_exhausted(&self) -> bool {
        self.position * 8 - self.count as usize > self.bytes.len() * 8
    }
}

/// The signed value of `size` bits: without a leading 1, it is negative.
#[inline(always)]
pub(super) fn extend(bits: u32, size: u32) -> i32 {
    let least = 1_i32 << size >> 1;
    let value = bits as i32;
    if value < least { value - (1 << size) + 1 } else { value }
}

/// The bytes from `position` on, where they are fewer than eight, followed by zeros.
#[cold]
#[inline(never)]
fn last_word(bytes: &[u8], position: usize) -> u64 {
    let rest = bytes.get(position..).unwrap_or_default();
    let mut word = [0; 8];
    word[..rest.len()].copy_from_slice(rest);
    u64::from_be_bytes(word)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bits_come_in_order_and_end_exactly_where_the_bytes_do() {
        for length in 0..20 {
            let bytes: Vec<u8> = (0..length).map(|n| (n * 37 + 11) as u8).collect();
            let mut bits = Bits::new(&bytes);
            for byte in &bytes {
                bits.refill();
                assert_eq!(bits.peek::<8>(), usize::from(*byte));
                bits.consume(3);
                bits.refill();
                bits.consume(5);
                assert!(!bits.is_exhausted());
            }
            bits.refill();
            assert_eq!(bits.peek::<8>(), 0);
            bits.consume(1);
            assert!(bits.is_exhausted(), "{length} bytes");
        }
    }

    #[test]
    fn values_extend_as_the_standard_says() {
        let cases = [(0b0, 1, -1), (0b1, 1, 1), (0b00, 2, -3), (0b01, 2, -2), (0b10, 2, 2), (0, 0, 0), (0, 15, -32767)];
        for (bits, size, value) in cases {
            assert_eq!(extend(bits, size), value, "{bits:b} of {size}");
        }
    }

    #[test]
    fn abandoned_bits_are_exhausted() {
        let mut bits = Bits::new(&[1, 2, 3]);
        bits.refill();
        bits.abandon();
        assert!(bits.is_exhausted());
    }
}
