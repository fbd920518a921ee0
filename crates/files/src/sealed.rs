//! Sealed records: users and buckets as they lie on the stores. XChaCha20-Poly1305 with the key they lie under as associated data,
//! so that one can't be put in another's place.

use crate::{Bucket, Environment, User, layout, secrets::Secrets};
use chacha20poly1305::{
    KeyInit, XChaCha20Poly1305, XNonce,
    aead::{Aead, Payload},
};
use larder_storage_core::Key;
use serde::{Serialize, de::DeserializeOwned};

/// The most bytes of one that is read.
pub(crate) const BYTES_MAX: u64 = 1 << 20;
const NONCE_BYTES: usize = 24;

/// Seals `record` to lie under `key`: a random nonce, then the ciphertext.
pub(crate) fn seal(secrets: &Secrets, env: &Environment, key: &Key, record: &impl Serialize) -> Vec<u8> {
    let nonce: [u8; NONCE_BYTES] = env.random();
    let plain = serde_json::to_vec(record).expect("a record holds only what JSON has");
    let payload = Payload { msg: &plain, aad: key.as_str().as_bytes() };
    let sealed =
        cipher(secrets).encrypt(&XNonce::from(nonce), payload).expect("a record is far below the cipher's bound");
    [&nonce[..], &sealed].concat()
}

/// Opens what lies under `key`; `None` where it was not sealed by this installation for this key.
pub(crate) fn unseal<T: DeserializeOwned>(secrets: &Secrets, key: &Key, bytes: &[u8]) -> Option<T> {
    let (nonce, sealed) = bytes.split_first_chunk::<NONCE_BYTES>()?;
    let payload = Payload { msg: sealed, aad: key.as_str().as_bytes() };
    let plain = cipher(secrets).decrypt(&XNonce::from(*nonce), payload).ok()?;
    serde_json::from_slice(&plain).ok()
}

fn cipher(secrets: &Secrets) -> XChaCha20Poly1305 {
    XChaCha20Poly1305::new(&secrets.seal().into())
}

/// A record that is kept sealed.
pub(crate) trait Sealed: Serialize + DeserializeOwned {
    /// Where this version of it lies.
    fn key(&self) -> Key;

    /// The epoch in which it was written.
    fn epoch(&self) -> u64;
}

impl Sealed for User {
    fn key(&self) -> Key {
        layout::account(self.id, self.epoch, self.version)
    }

    fn epoch(&self) -> u64 {
        self.epoch
    }
}

impl Sealed for Bucket {
    fn key(&self) -> Key {
        layout::bucket(self.id, self.epoch, self.version)
    }

    fn epoch(&self) -> u64 {
        self.epoch
    }
}
