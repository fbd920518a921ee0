//! [`Secrets`]: keys derived from the installation's one master secret, and the sealing of records.

use hkdf::Hkdf;
use sha2::Sha256;
use std::fmt;
use zeroize::Zeroizing;

/// The installation's master secret: 256 bits, written once. Everything else is derived from it (HKDF-SHA-256, RFC 5869).
#[derive(Clone)]
pub struct Secrets(Zeroizing<[u8; 32]>);

impl Secrets {
    /// Takes the master secret.
    #[must_use]
    pub fn new(master: [u8; 32]) -> Self {
        Self(Zeroizing::new(master))
    }

    /// Key for sealed records.
    pub(crate) fn seal(&self) -> [u8; 32] {
        self.derive("seal")
    }

    /// What the markers show of the master: it tells two apart and reveals neither.
    #[must_use]
    pub fn id(&self) -> String {
        data_encoding::HEXLOWER.encode(&self.derive("id")[..16])
    }

    /// Key for idempotency keys: the same before and after a rebuild.
    pub(crate) fn idempotency(&self) -> [u8; 32] {
        self.derive("idempotency")
    }

    /// Key for tokens of one purpose, of one epoch: a rebuild ends them all.
    #[must_use]
    pub fn signing(&self, purpose: &str, epoch: u64) -> [u8; 32] {
        self.derive(&format!("{purpose}.{epoch}"))
    }

    /// Key for what lasts as long as the installation, whatever is rebuilt.
    pub(crate) fn lasting(&self, purpose: &str) -> [u8; 32] {
        self.derive(&format!("lasting.{purpose}"))
    }

    fn derive(&self, purpose: &str) -> [u8; 32] {
        let mut key = [0; 32];
        Hkdf::<Sha256>::new(None, &*self.0)
            .expand(purpose.as_bytes(), &mut key)
            .expect("32 bytes are within HKDF's bound");
        key
    }
}

impl fmt::Debug for Secrets {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secrets(…)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_master_secret_is_told_to_nobody() {
        let secrets = Secrets::new(*b"the master that all of it's from");
        assert_eq!(format!("{secrets:?} {secrets:#?}"), "Secrets(…) Secrets(…)");
        assert!(!secrets.id().contains(&data_encoding::HEXLOWER.encode(b"the master")));
        let keys = [secrets.seal(), secrets.idempotency(), secrets.signing("access", 1), secrets.signing("access", 2)];
        assert!(
            (1..keys.len()).all(|at| !keys[..at].contains(&keys[at])),
            "each purpose and epoch has a key of its own"
        );
    }
}
