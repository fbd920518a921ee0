//! Unpacks the codes of a GIF: LZW with codes of up to 12 bits, the low bits of a byte first.
//!
//! What a code stands for is what came out before: the string of the code before it and one byte more, which follows that string where it
//! was written. So a table of where it began and how long it is says all, and unpacking is copying.

/// Codes have no more bits than this.
const BITS_MAX: u32 = 12;
/// This much is copied at once, whether it is wanted or not.
const AT_ONCE: usize = 8;
/// Before what comes out are the strings of one byte, so that each code is copied alike: which are which cannot be foreseen.
const SINGLES: usize = 1 << (BITS_MAX - 1);

/// What is kept from one picture to the next, so that it need not be allocated anew.
pub(super) struct Decoder {
    /// Where the string of a code begins and how long it is.
    strings: [(u32, u32); 1 << BITS_MAX],
    out: Vec<u8>,
}

impl Default for Decoder {
    fn default() -> Self {
        Self { strings: [(0, 0); 1 << BITS_MAX], out: Vec::new() }
    }
}

impl Decoder {
    /// Unpacks as many bytes as are wanted. What comes after those is not looked at.
    pub(super) fn decode(&mut self, code_size: u8, codes: &[u8], wanted: usize) -> Result<&[u8], &'static str> {
        if !(1..BITS_MAX).contains(&code_size.into()) {
            return Err("its codes have too few or too many bits");
        }
        let clear = 1_usize << code_size;
        let (first, end) = (clear + 2, clear + 1);
        // A string may end beyond what is wanted, and so may the bytes that are copied at once.
        self.out.resize(SINGLES + wanted + (1 << BITS_MAX) + AT_ONCE, 0);
        let out = &mut self.out[..];
        for (single, string) in self.strings[..clear].iter_mut().enumerate() {
            out[single] = single as u8;
            *string = (single as u32, 1);
        }
        let mut bits = Bits { bytes: codes, at: 0, held: 0, count: 0 };
        let (mut next, mut size) = (first, u32::from(code_size) + 1);
        let mut before = None;
        let mut written = SINGLES;
        while written < SINGLES + wanted {
            let code = bits.take(size).ok_or("a frame ends too early")?;
            if code == clear {
                (next, size, before) = (first, u32::from(code_size) + 1, None);
                continue;
            }
            if code == end {
                return Err("a frame ends too early");
            }
            if let Some((start, length)) = before.filter(|_| next < 1 << BITS_MAX) {
                self.strings[next] = (start, length + 1);
                next += 1;
                if next == 1 << size && size < BITS_MAX {
                    size += 1;
                }
            }
            if code >= next {
                return Err("a code stands for nothing");
            }
            let (start, length) = self.strings[code];
            copy(out, start as usize, written, length as usize);
            before = Some((written as u32, length));
            written += length as usize;
        }
        Ok(&out[SINGLES..][..wanted])
    }
}

/// Copies bytes to where earlier ones end, perhaps onto those that are copied.
#[inline(always)]
fn copy(bytes: &mut [u8], from: usize, to: usize, length: usize) {
    if from + length > to {
        // Only a code that stands for itself: its last byte is its first.
        bytes.copy_within(from..to, to);
        bytes[to + length - 1] = bytes[to];
    } else if length <= AT_ONCE {
        let eight: [u8; AT_ONCE] = bytes[from..from + AT_ONCE].try_into().expect("eight");
        bytes[to..to + AT_ONCE].copy_from_slice(&eight);
    } else {
        bytes.copy_within(from..from + length, to);
    }
}

struct Bits<'a> {
    bytes: &'a [u8],
    at: usize,
    held: u64,
    count: u32,
}

impl Bits<'_> {
    /// The next bits, at most 12; `None` where there are fewer.
    #[inline(always)]
    fn take(&mut self, size: u32) -> Option<usize> {
        if self.count < size {
            self.fill();
            if self.count < size {
                return None;
            }
        }
        let code = self.held & ((1 << size) - 1);
        self.held >>= size;
        self.count -= size;
        Some(code as usize)
    }

    #[inline(always)]
    fn fill(&mut self) {
        if let Some(eight) = self.bytes.get(self.at..).and_then(|rest| rest.first_chunk()) {
            self.held |= u64::from_le_bytes(*eight) << self.count;
            let taken = (63 - self.count) / 8;
            self.at += taken as usize;
            self.count += taken * 8;
            self.held &= (1 << self.count) - 1;
            return;
        }
        while let Some(byte) = self.bytes.get(self.at).filter(|_| self.count <= 56) {
            self.held |= u64::from(*byte) << self.count;
            self.at += 1;
            self.count += 8;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Codes as another encoder packs them.
    fn packed(bytes: &[u8], code_size: u8) -> Vec<u8> {
        let mut file = Vec::new();
        let colours: Vec<u8> = vec![7; 3 << code_size];
        let (width, height) = (bytes.len() as u16, 1);
        let mut encoder = gif::Encoder::new(&mut file, width, height, &colours).expect("an encoder");
        let frame = gif::Frame { width, height, buffer: bytes.into(), ..gif::Frame::default() };
        encoder.write_frame(&frame).expect("an encoder");
        drop(encoder);
        let mut options = gif::DecodeOptions::new();
        options.skip_frame_decoding(true);
        let mut decoder = options.read_info(&file[..]).expect("a right file");
        decoder.read_next_frame().expect("a right file").expect("a frame").buffer.to_vec()
    }

    #[test]
    fn what_was_packed_is_unpacked() {
        let mut decoder = Decoder::default();
        for (length, repeat) in
            [(1, 1), (2, 1), (9, 1), (700, 1), (700, 700), (65_535, 3), (65_535, 65_535), (40_000, 97)]
        {
            let bytes: Vec<u8> = (0..length).map(|at| ((at % repeat * at / 3) % 251) as u8).collect();
            let codes = packed(&bytes, 8);
            let (code_size, codes) = codes.split_first().expect("codes");
            assert_eq!(decoder.decode(*code_size, codes, length), Ok(&bytes[..]), "{length} {repeat}");
            assert_eq!(decoder.decode(*code_size, codes, length + 1), Err("a frame ends too early"));
            let half = decoder.decode(*code_size, codes, length / 2).map(<[u8]>::to_vec);
            assert_eq!(half.as_deref(), Ok(&bytes[..length / 2]));
        }
    }

    #[test]
    fn codes_that_cannot_be_are_refused() {
        let mut decoder = Decoder::default();
        for code_size in [0, 12, 13, 255] {
            assert!(decoder.decode(code_size, &[0; 9], 4).is_err());
        }
        // Of three bits: clear, then one that is not there yet.
        assert_eq!(decoder.decode(2, &[0b11_0100], 4), Err("a code stands for nothing"));
        // Clear, 1, 6 (itself), 6 again.
        assert_eq!(decoder.decode(2, &[0b1000_1100, 0b1101], 5), Ok(&[1, 1, 1, 1, 1][..]));
        assert_eq!(decoder.decode(2, &[], 0), Ok(&[][..]));
    }
}
