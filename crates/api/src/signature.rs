//! [`Signatures`]: what stands before a recipe in a URL, so that nobody but this installation decides which renditions are made.

use data_encoding::BASE64URL_NOPAD;
use hmac::{Hmac, KeyInit, Mac};
use larder_files::Files;
use sha2::Sha256;
use std::collections::BTreeMap;
use subtle::ConstantTimeEq;

/// The keys of recipes' signatures, by their names. They outlive a rebuild: URLs stand in pages for years.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RecipeKeys {
    /// The key that new URLs are signed with.
    pub current: String,
    /// Older ones, whose URLs work on until they are taken out here.
    pub old: Vec<String>,
}

impl Default for RecipeKeys {
    /// The key `1`, and no older one.
    fn default() -> Self {
        Self { current: "1".into(), old: vec![] }
    }
}

impl RecipeKeys {
    /// Whether a key may have this name: 1 to 16 of a–z and 0–9.
    #[must_use]
    pub fn is_name(name: &str) -> bool {
        (1..=16).contains(&name.len()) && name.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit())
    }
}

/// Signs and verifies: HMAC-SHA-256 (RFC 2104), of which 128 bits stand in the URL (section 5).
pub(crate) struct Signatures {
    current: String,
    keys: BTreeMap<String, [u8; 32]>,
}

const BYTES: usize = 16;

impl Signatures {
    pub(crate) fn new(files: &Files, keys: &RecipeKeys) -> Self {
        let names = keys.old.iter().chain([&keys.current]);
        let keys_of = names.map(|name| (name.clone(), files.lasting_key(&format!("recipe.{name}"))));
        Self { current: keys.current.clone(), keys: keys_of.collect() }
    }

    /// `KEY.SIGNATURE` of a text, by the current key.
    pub(crate) fn sign(&self, text: &str) -> String {
        let key = self.keys.get(&self.current).expect("the current key is one of them");
        format!("{}.{}", self.current, BASE64URL_NOPAD.encode(&mac(key, text)))
    }

    /// Whether `KEY.SIGNATURE` is that of a text, by a key that counts.
    pub(crate) fn is_of(&self, signature: &str, text: &str) -> bool {
        let Some((name, signature)) = signature.split_once('.') else { return false };
        let (Some(key), Ok(found)) = (self.keys.get(name), BASE64URL_NOPAD.decode(signature.as_bytes())) else {
            return false;
        };
        found.ct_eq(&mac(key, text)).into()
    }
}

fn mac(key: &[u8; 32], text: &str) -> [u8; BYTES] {
    let mut mac = Hmac::<Sha256>::new_from_slice(key).expect("any length is a key");
    mac.update(text.as_bytes());
    mac.finalize().into_bytes()[..BYTES].try_into().expect("a SHA-256 has 32 bytes")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn signatures(current: &str, names: &[&str]) -> Signatures {
        let key = |name: &&str| ((*name).to_owned(), larder_files::Sha256::of(name.as_bytes()).0);
        Signatures { current: current.into(), keys: names.iter().map(key).collect() }
    }

    #[test]
    fn a_signature_is_of_one_text_by_one_key_that_counts() {
        let (old, both, new) = (signatures("1", &["1"]), signatures("2", &["1", "2"]), signatures("2", &["2"]));
        let text = "w_300/0193a2b4-0000-7000-8000-000000000001";
        let (by_old, by_new) = (old.sign(text), both.sign(text));
        assert!(by_old.starts_with("1.") && by_new.starts_with("2."), "{by_old} {by_new}");
        assert_eq!(by_old.len(), 2 + 22, "128 bits");
        assert!(both.is_of(&by_old, text) && both.is_of(&by_new, text), "while keys change, both count");
        assert!(!new.is_of(&by_old, text), "a key that was taken out counts no more");
        assert!(!both.is_of(&by_old, &text.replace("300", "301")));
        let swapped = by_old.replacen("1.", "2.", 1);
        for wrong in [&*swapped, "", "1.", "1", ".", "9.AAAAAAAAAAAAAAAAAAAAAA", &by_old[..20], &format!("{by_old}A")] {
            assert!(!both.is_of(wrong, text), "{wrong}");
        }
    }
}
