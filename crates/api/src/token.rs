//! [`Tokens`]: access tokens, signed with a key of this installation's epoch, so that a rebuild ends them all.

use crate::problem::Problem;
use jsonwebtoken::{Algorithm, DecodingKey, EncodingKey, Header, Validation};
use larder_files::{Timestamp, User, UserId};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use std::{
    collections::HashMap,
    sync::{Mutex, PoisonError},
    time::Duration,
};

/// Makes and reads access tokens: HS256, and nothing else, whatever a token says of itself.
pub(crate) struct Tokens {
    signs: EncodingKey,
    verifies: DecodingKey,
    validation: Validation,
    lifetime: Duration,
    verified: Verified,
}

/// What good tokens said, by their hash: a client sends the same one again and again, and a signature with its JSON costs more than
/// looking up a small file. Its times are compared each time.
#[derive(Default)]
struct Verified(Mutex<HashMap<[u8; 32], Claims>>);

impl Verified {
    /// Beyond this the memory is emptied: it is refilled in no time, and never grows with the number of tokens.
    const REMEMBERED_MAX: usize = 4096;

    fn get(&self, hash: &[u8; 32]) -> Option<Claims> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).get(hash).cloned()
    }

    fn insert(&self, hash: [u8; 32], claims: Claims) {
        let mut verified = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if verified.len() >= Self::REMEMBERED_MAX {
            verified.clear();
        }
        verified.insert(hash, claims);
    }
}

#[derive(Clone, Serialize, Deserialize)]
struct Claims {
    iss: String,
    aud: String,
    sub: String,
    iat: i64,
    nbf: i64,
    exp: i64,
    /// Ties the token to the password: a new one ends it.
    cred: String,
}

const ISSUER: &str = "larder";
const AUDIENCE: &str = "larder-api";
/// RFC 9068: a token for access, and for nothing else that is signed here.
const TYPE: &str = "at+jwt";

/// What a good token says.
#[derive(Debug)]
pub(crate) struct Subject {
    pub(crate) id: UserId,
    credential: String,
}

impl Subject {
    /// Whether the token was made for the password that `user` has now.
    pub(crate) fn fits(&self, user: &User) -> bool {
        subtle::ConstantTimeEq::ct_eq(self.credential.as_bytes(), credential(user).as_bytes()).into()
    }
}

impl Tokens {
    pub(crate) fn new(key: &[u8; 32], lifetime: Duration) -> Self {
        let mut validation = Validation::new(Algorithm::HS256);
        validation.set_required_spec_claims(&["iss", "aud", "sub", "nbf", "exp"]);
        validation.set_issuer(&[ISSUER]);
        validation.set_audience(&[AUDIENCE]);
        // Times are compared below, with the clock that the rest of the program has.
        validation.validate_exp = false;
        validation.validate_nbf = false;
        let (signs, verifies) = (EncodingKey::from_secret(key), DecodingKey::from_secret(key));
        Self { signs, verifies, validation, lifetime, verified: Verified::default() }
    }

    /// A token for `user`, and for how many seconds it lasts.
    pub(crate) fn issue(&self, user: &User, now: Timestamp) -> Result<(String, u64), Problem> {
        let seconds = now.as_millis().div_euclid(1000);
        let lifetime = self.lifetime.as_secs();
        let claims = Claims {
            iss: ISSUER.into(),
            aud: AUDIENCE.into(),
            sub: user.id.to_string(),
            iat: seconds,
            nbf: seconds,
            exp: seconds.saturating_add_unsigned(lifetime),
            cred: credential(user),
        };
        let header = Header { typ: Some(TYPE.into()), ..Header::new(Algorithm::HS256) };
        let token = jsonwebtoken::encode(&header, &claims, &self.signs);
        token.map(|token| (token, lifetime)).map_err(|cause| larder_files::Error::internal(cause).into())
    }

    /// Reads a token; one answer for whatever is wrong with it, but for its age.
    pub(crate) fn read(&self, token: &str, now: Timestamp) -> Result<Subject, Problem> {
        let (hash, seconds) = (Sha256::digest(token).into(), now.as_millis().div_euclid(1000));
        let claims = match self.verified.get(&hash) {
            Some(claims) => claims,
            None => {
                let claims = self.verify(token).ok_or_else(refused)?;
                self.verified.insert(hash, claims.clone());
                claims
            }
        };
        if claims.nbf > seconds {
            return Err(refused());
        }
        if claims.exp <= seconds {
            return Err(Problem::unauthenticated("the access token has expired"));
        }
        let id = UserId::parse(&claims.sub).ok_or_else(refused)?;
        Ok(Subject { id, credential: claims.cred })
    }

    /// What a token of ours says, whenever it is good.
    fn verify(&self, token: &str) -> Option<Claims> {
        let decoded = jsonwebtoken::decode::<Claims>(token, &self.verifies, &self.validation).ok()?;
        (decoded.header.typ.as_deref() == Some(TYPE)).then_some(decoded.claims)
    }
}

fn refused() -> Problem {
    Problem::unauthenticated("the access token is not valid")
}

/// A short fingerprint of the password's hash: says whether it changed, and nothing else.
fn credential(user: &User) -> String {
    let hash = Sha256::digest(user.password_hash.as_deref().unwrap_or_default());
    data_encoding::BASE64URL_NOPAD.encode(&hash[..12])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_that_is_remembered_ends_when_its_time_does() {
        let tokens = Tokens::new(&[7; 32], Duration::from_secs(60));
        let id = UserId(uuid::Uuid::from_u128(7));
        let claims = Claims {
            iss: ISSUER.into(),
            aud: AUDIENCE.into(),
            sub: id.to_string(),
            iat: 1000,
            nbf: 1000,
            exp: 1060,
            cred: "x".into(),
        };
        let header = Header { typ: Some(TYPE.into()), ..Header::new(Algorithm::HS256) };
        let token = jsonwebtoken::encode(&header, &claims, &tokens.signs).unwrap();
        let read = |seconds: i64| tokens.read(&token, Timestamp::from_millis(seconds * 1000)).map(|subject| subject.id);
        assert_eq!(read(1000).unwrap(), id);
        assert_eq!(tokens.verified.0.lock().unwrap().len(), 1);
        assert_eq!(read(1059).unwrap(), id);
        assert!(read(1060).is_err(), "too late");
        assert!(read(999).is_err(), "too early");
    }

    #[test]
    fn what_is_no_token_of_ours_is_not_remembered() {
        let tokens = Tokens::new(&[7; 32], Duration::from_secs(60));
        assert!(tokens.read("a.b.c", Timestamp::from_millis(0)).is_err());
        assert!(tokens.verified.0.lock().unwrap().is_empty());
    }
}
