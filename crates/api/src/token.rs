//! [`Tokens`]: the tokens of a session, signed with keys of this installation's epoch, so that a rebuild ends them all.

use crate::{Limits, problem::Problem};
use jsonwebtoken::{Algorithm, DecodingKey, EncodingKey, Header, Validation};
use larder_files::{Files, SessionId, Timestamp, UserId, ledger::Session};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use std::{
    collections::HashMap,
    sync::{Mutex, PoisonError},
    time::Duration,
};
use utoipa::ToSchema;

/// Makes and reads tokens: HS256, and nothing else, whatever a token says of itself. Each kind has a key of its own.
pub(crate) struct Tokens {
    access: Signer,
    refresh: Signer,
    lifetime: Duration,
    verified: Verified,
}

/// What good access tokens said, by their hash: a client sends the same one again and again, and a signature with its JSON costs more
/// than looking up a small file. Its times are compared each time.
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
    /// The session: with its end the token ends.
    sid: String,
    /// The number of a refresh token: only the session's last one counts.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    serial: Option<u64>,
}

const ISSUER: &str = "larder";

/// The tokens of a session.
#[derive(Serialize, ToSchema)]
#[schema(as = Tokens)]
pub(crate) struct Pair {
    /// Goes into `Authorization: Bearer`.
    access_token: String,
    /// `Bearer`.
    token_type: &'static str,
    /// For so many seconds from now on the access token counts.
    expires_in: u64,
    /// Gives the next tokens, once.
    refresh_token: String,
}

/// What a good access token says.
#[derive(Debug)]
pub(crate) struct Subject {
    pub(crate) user: UserId,
    pub(crate) session: SessionId,
}

impl Tokens {
    pub(crate) fn new(files: &Files, limits: &Limits) -> Self {
        Self {
            // RFC 9068: a token for access, and for nothing else that is signed here.
            access: Signer::new(&files.signing_key("access"), "at+jwt", "larder-api"),
            refresh: Signer::new(&files.signing_key("refresh"), "rt+jwt", "larder-refresh"),
            lifetime: limits.access_token,
            verified: Verified::default(),
        }
    }

    /// The tokens of a session as it is now.
    pub(crate) fn issue(&self, session: &Session, now: Timestamp) -> Result<Pair, Problem> {
        let (access_ends, lifetime) = (now.plus(self.lifetime), self.lifetime.as_secs());
        Ok(Pair {
            access_token: self.access.sign(session, None, now, access_ends)?,
            token_type: "Bearer",
            expires_in: lifetime,
            refresh_token: self.refresh.sign(session, Some(session.serial), now, session.until)?,
        })
    }

    /// Reads an access token; one answer for whatever is wrong with it, but for its age.
    pub(crate) fn read(&self, token: &str, now: Timestamp) -> Result<Subject, Problem> {
        let refused = || Problem::unauthenticated("the access token is not valid");
        let (hash, seconds) = (Sha256::digest(token).into(), seconds(now));
        let claims = match self.verified.get(&hash) {
            Some(claims) => claims,
            None => {
                let claims = self.access.verify(token).ok_or_else(refused)?;
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
        let subject = UserId::parse(&claims.sub).zip(SessionId::parse(&claims.sid));
        subject.map(|(user, session)| Subject { user, session }).ok_or_else(refused)
    }

    /// Reads a refresh token: its session and its number. `None` for whatever is wrong with it.
    pub(crate) fn read_refresh(&self, token: &str, now: Timestamp) -> Option<(SessionId, u64)> {
        let (claims, seconds) = (self.refresh.verify(token)?, seconds(now));
        let counts = claims.nbf <= seconds && seconds < claims.exp;
        SessionId::parse(&claims.sid).zip(claims.serial).filter(|_| counts)
    }
}

/// Signs and verifies the tokens of one kind.
struct Signer {
    signs: EncodingKey,
    verifies: DecodingKey,
    validation: Validation,
    kind: &'static str,
    audience: &'static str,
}

impl Signer {
    fn new(key: &[u8; 32], kind: &'static str, audience: &'static str) -> Self {
        let mut validation = Validation::new(Algorithm::HS256);
        validation.set_required_spec_claims(&["iss", "aud", "sub", "nbf", "exp"]);
        validation.set_issuer(&[ISSUER]);
        validation.set_audience(&[audience]);
        // Times are compared by whoever reads, with the clock that the rest of the program has.
        validation.validate_exp = false;
        validation.validate_nbf = false;
        let (signs, verifies) = (EncodingKey::from_secret(key), DecodingKey::from_secret(key));
        Self { signs, verifies, validation, kind, audience }
    }

    fn sign(&self, of: &Session, serial: Option<u64>, now: Timestamp, until: Timestamp) -> Result<String, Problem> {
        let claims = Claims {
            iss: ISSUER.into(),
            aud: self.audience.into(),
            sub: of.user.to_string(),
            iat: seconds(now),
            nbf: seconds(now),
            exp: seconds(until),
            sid: of.id.to_string(),
            serial,
        };
        let header = Header { typ: Some(self.kind.into()), ..Header::new(Algorithm::HS256) };
        jsonwebtoken::encode(&header, &claims, &self.signs).map_err(|cause| larder_files::Error::internal(cause).into())
    }

    /// What a token of this kind says, whenever it is good.
    fn verify(&self, token: &str) -> Option<Claims> {
        let decoded = jsonwebtoken::decode::<Claims>(token, &self.verifies, &self.validation).ok()?;
        (decoded.header.typ.as_deref() == Some(self.kind)).then_some(decoded.claims)
    }
}

fn seconds(time: Timestamp) -> i64 {
    time.as_millis().div_euclid(1000)
}

#[cfg(test)]
mod tests {
    use super::*;
    use uuid::Uuid;

    fn tokens() -> Tokens {
        let signer = |key, kind| Signer::new(&[key; 32], kind, kind);
        let (access, refresh) = (signer(7, "a"), signer(7, "r"));
        Tokens { access, refresh, lifetime: Duration::from_secs(60), verified: Verified::default() }
    }

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_millis(seconds * 1000)
    }

    fn session() -> Session {
        let (id, user) = (SessionId(Uuid::from_u128(1)), UserId(Uuid::from_u128(7)));
        Session { id, user, serial: 3, opened_at: at(1000), until: at(2000), ends_at: at(3000) }
    }

    #[test]
    fn a_token_that_is_remembered_ends_when_its_time_does() {
        let tokens = tokens();
        let pair = tokens.issue(&session(), at(1000)).unwrap();
        let read = |seconds: i64| tokens.read(&pair.access_token, at(seconds)).map(|said| (said.user, said.session));
        assert_eq!(read(1000).unwrap(), (session().user, session().id));
        assert_eq!(tokens.verified.0.lock().unwrap().len(), 1);
        assert!(read(1059).is_ok());
        assert!(read(1060).is_err(), "too late");
        assert!(read(999).is_err(), "too early");
    }

    #[test]
    fn a_refresh_token_counts_until_its_session_ends() {
        let tokens = tokens();
        let pair = tokens.issue(&session(), at(1000)).unwrap();
        let read = |seconds: i64| tokens.read_refresh(&pair.refresh_token, at(seconds));
        assert_eq!([read(999), read(1000), read(1999)], [None, Some((session().id, 3)), Some((session().id, 3))]);
        assert_eq!(read(2000), None);
    }

    #[test]
    fn what_is_no_token_of_ours_or_of_another_kind_is_refused_and_not_remembered() {
        let tokens = tokens();
        let pair = tokens.issue(&session(), at(1000)).unwrap();
        for other in ["a.b.c", "", &pair.refresh_token] {
            assert!(tokens.read(other, at(1000)).is_err(), "{other}");
        }
        assert_eq!(
            tokens.read_refresh(&pair.access_token, at(1000)),
            None,
            "the keys are alike here, the kinds are not"
        );
        assert!(tokens.verified.0.lock().unwrap().is_empty());
    }
}
