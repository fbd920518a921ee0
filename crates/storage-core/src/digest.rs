//! The two digests of everything kept: SHA-256 as the identity of content, CRC-64/NVME as the cheap check of a whole read.

use sha2::{Digest, Sha256};
use std::fmt;

/// SHA-256 and CRC-64/NVME of the same bytes.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Digests {
    /// SHA-256.
    pub sha256: [u8; 32],
    /// CRC-64/NVME (reflected, polynomial 0xad93d23594c93659).
    pub crc64nvme: u64,
}

impl Digests {
    /// The digests of `bytes`.
    #[must_use]
    pub fn of(bytes: &[u8]) -> Self {
        let mut hasher = Hasher::new();
        hasher.update(bytes);
        hasher.finish()
    }

    /// SHA-256 in lower-case hexadecimal.
    #[must_use]
    pub fn sha256_hex(&self) -> String {
        data_encoding::HEXLOWER.encode(&self.sha256)
    }
}

impl fmt::Debug for Digests {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Digests({}, {:016x})", self.sha256_hex(), self.crc64nvme)
    }
}

/// Computes [`Digests`] of bytes as they pass. About 0.55 s a GiB where the processor has SHA instructions.
pub struct Hasher {
    sha256: Sha256,
    crc64nvme: crc_fast::Digest,
}

impl Hasher {
    /// A hasher that has seen nothing.
    #[must_use]
    pub fn new() -> Self {
        Self { sha256: Sha256::new(), crc64nvme: crc_fast::Digest::new(crc_fast::CrcAlgorithm::Crc64Nvme) }
    }

    /// Takes the next bytes.
    pub fn update(&mut self, bytes: &[u8]) {
        self.sha256.update(bytes);
        self.crc64nvme.update(bytes);
    }

    /// The digests of all that was taken.
    #[must_use]
    pub fn finish(self) -> Digests {
        Digests { sha256: self.sha256.finalize().into(), crc64nvme: self.crc64nvme.finalize() }
    }
}

impl Default for Hasher {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for Hasher {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Hasher")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_digests_are_those_of_the_standards() {
        let digests = Digests::of(b"123456789");
        assert_eq!(digests.sha256_hex(), "15e2b0d3c33891ebb0f1ef609ec419420c20e320ce94c65fbc8c3312448eb225");
        assert_eq!(digests.crc64nvme, 0xae8b_1486_0a79_9888);
        assert!(Digests::of(b"").sha256_hex().starts_with("e3b0c44298fc1c14"));
    }

    #[test]
    fn blocks_make_no_difference() {
        let bytes: Vec<u8> = (0..100_000_u32).map(|at| (at % 251) as u8).collect();
        let mut hasher = Hasher::new();
        bytes.chunks(777).for_each(|block| hasher.update(block));
        assert_eq!(hasher.finish(), Digests::of(&bytes));
    }
}
