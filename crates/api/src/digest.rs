//! Digests that a request announces: `?sha256=` in hexadecimal, `Content-Digest` and `Repr-Digest` as RFC 9530 has them.

use crate::problem::Problem;
use larder_files::Sha256;

/// Reads 64 hexadecimal digits.
pub(crate) fn hexadecimal(text: &str) -> Result<Sha256, Problem> {
    Sha256::parse(text).ok_or_else(|| Problem::malformed("`sha256` has 64 hexadecimal digits"))
}

/// The SHA-256 in a dictionary of digests (RFC 8941): `sha-256=:BASE64:`. Other algorithms are passed over.
pub(crate) fn dictionary(name: &str, text: &str) -> Result<Option<Sha256>, Problem> {
    let refused = || Problem::malformed(format!("`{name}` is read as `sha-256=:BASE64:`"));
    let mut found = None;
    for member in text.split(',') {
        let (algorithm, value) = member.trim().split_once('=').ok_or_else(refused)?;
        let encoded = value.strip_prefix(':').and_then(|value| value.strip_suffix(':')).ok_or_else(refused)?;
        let digest = data_encoding::BASE64.decode(encoded.as_bytes()).map_err(|_| refused())?;
        if algorithm == "sha-256" {
            found = Some(Sha256(digest.try_into().map_err(|_| refused())?));
        }
    }
    Ok(found)
}

/// What several announcements agree on.
pub(crate) fn agreed(announced: impl IntoIterator<Item = Option<Sha256>>) -> Result<Option<Sha256>, Problem> {
    let mut agreed = None;
    for digest in announced.into_iter().flatten() {
        if agreed.is_some_and(|other| other != digest) {
            return Err(Problem::invalid("sha256", "two different SHA-256 are announced"));
        }
        agreed = Some(digest);
    }
    Ok(agreed)
}

/// `Repr-Digest` of content.
pub(crate) fn repr_digest(sha256: &Sha256) -> String {
    format!("sha-256=:{}:", data_encoding::BASE64.encode(&sha256.0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_digest_of_ours_is_found_among_others_and_reads_back() {
        let digest = Sha256::of(b"abc");
        let text = format!("sha-512=:AAAA:, {}", repr_digest(&digest));
        assert_eq!(dictionary("Content-Digest", &text).ok().flatten(), Some(digest));
        assert_eq!(dictionary("Content-Digest", "unixsum=:AAAA:").ok(), Some(None));
        for bad in ["", "sha-256", "sha-256=", "sha-256=::", "sha-256=:AAAA:", "sha-256=:@@@@:", "sha-256=AAAA"] {
            assert!(dictionary("Content-Digest", bad).is_err(), "{bad}");
        }
    }
}
