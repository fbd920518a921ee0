//! [`Tokens`]: the tokens of a session, signed with keys of this installation's epoch, so that a rebuild ends them all. Each day has a
//! key of its own, which a token names (`kid`, RFC 7515, section 4.1.4) and which counts for as long as a token of that day may.

use crate::{Limits, problem::Problem};
use jsonwebtoken::{Algorithm, DecodingKey, EncodingKey, Header, Validation};
use larder_files::{DirectId, FileId, Files, SessionId, Timestamp, UserId, ledger::Session};
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use sha2::{Digest, Sha256};
use std::{
    collections::{BTreeMap, HashMap},
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};
use utoipa::ToSchema;

/// Makes and reads tokens: HS256, and nothing else, whatever a token says of itself. Each kind has a key of its own.
pub(crate) struct Tokens {
    access: Signer,
    refresh: Signer,
    link: Signer,
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

/// What a URL of this server leads to, for whoever holds it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum LinkTo {
    /// Content of a file, to be read.
    Content {
        file: FileId,
        revision: u64,
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        attachment: bool,
    },
    /// A part of a direct upload, to be sent.
    Part { upload: DirectId, number: u64 },
}

#[derive(Serialize, Deserialize)]
struct LinkClaims {
    iss: String,
    aud: String,
    sub: String,
    nbf: i64,
    exp: i64,
    to: LinkTo,
}

/// What is said of a token that counts no more, or never did.
pub(crate) const INVALID: &str = "the access token is not valid, or not any more: log in again";
const ISSUER: &str = "larder";
/// Links last no longer, nor what a store signs for reading: S3's limit.
pub(crate) const LINK_MAX: Duration = Duration::from_secs(7 * DAY);
/// For so many seconds tokens are signed with one key.
const DAY: u64 = 24 * 60 * 60;

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
        let signer = |purpose: &'static str, lifetime, kind, audience| {
            let files = files.clone();
            let derive = move |day| files.signing_key(&format!("{purpose}.{day}"));
            Signer::new(Box::new(derive), lifetime, kind, audience)
        };
        Self {
            // RFC 9068: a token for access, and for nothing else that is signed here.
            access: signer("access", limits.access_token, "at+jwt", "larder-api"),
            refresh: signer("refresh", limits.refresh_token, "rt+jwt", "larder-refresh"),
            link: signer("link", LINK_MAX, "link+jwt", "larder-link"),
            lifetime: limits.access_token,
            verified: Verified::default(),
        }
    }

    /// What stands in a URL that leads to `to` until it `ends`, by the right of a user.
    pub(crate) fn link(&self, user: UserId, to: LinkTo, now: Timestamp, ends: Timestamp) -> Result<String, Problem> {
        let (iss, aud, sub) = (ISSUER.into(), self.link.audience.into(), user.to_string());
        self.link.sign(&LinkClaims { iss, aud, sub, nbf: seconds(now), exp: seconds(ends), to }, now)
    }

    /// By whose right a URL leads where, and when it ends or has ended; `None` of what is none.
    pub(crate) fn read_link(&self, token: &str, now: Timestamp) -> Option<(UserId, LinkTo, Timestamp)> {
        let claims: LinkClaims = self.link.verify(token, now)?;
        let ends = Timestamp::from_millis(claims.exp.saturating_mul(1000));
        (claims.nbf <= seconds(now)).then_some((UserId::parse(&claims.sub)?, claims.to, ends))
    }

    /// The tokens of a session as it is now.
    pub(crate) fn issue(&self, session: &Session, now: Timestamp) -> Result<Pair, Problem> {
        let (access_ends, lifetime) = (now.plus(self.lifetime), self.lifetime.as_secs());
        let refresh = self.refresh.claims(session, Some(session.serial), now, session.until);
        Ok(Pair {
            access_token: self.access.sign(&self.access.claims(session, None, now, access_ends), now)?,
            token_type: "Bearer",
            expires_in: lifetime,
            refresh_token: self.refresh.sign(&refresh, now)?,
        })
    }

    /// Reads an access token; one answer for whatever is wrong with it, but for its age.
    pub(crate) fn read(&self, token: &str, now: Timestamp) -> Result<Subject, Problem> {
        let refused = || Problem::unauthenticated(INVALID);
        let (hash, seconds) = (Sha256::digest(token).into(), seconds(now));
        let claims = match self.verified.get(&hash) {
            Some(claims) => claims,
            None => {
                let claims: Claims = self.access.verify(token, now).ok_or_else(refused)?;
                self.verified.insert(hash, claims.clone());
                claims
            }
        };
        if claims.nbf > seconds {
            return Err(refused());
        }
        if claims.exp <= seconds {
            return Err(Problem::unauthenticated("the access token has expired: refresh it, or log in again"));
        }
        let subject = UserId::parse(&claims.sub).zip(SessionId::parse(&claims.sid));
        subject.map(|(user, session)| Subject { user, session }).ok_or_else(refused)
    }

    /// Reads a refresh token: its session and its number. `None` for whatever is wrong with it.
    pub(crate) fn read_refresh(&self, token: &str, now: Timestamp) -> Option<(SessionId, u64)> {
        let (claims, seconds) = (self.refresh.verify::<Claims>(token, now)?, seconds(now));
        let counts = claims.nbf <= seconds && seconds < claims.exp;
        SessionId::parse(&claims.sid).zip(claims.serial).filter(|_| counts)
    }
}

/// Signs and verifies the tokens of one kind.
struct Signer {
    derive: Box<dyn Fn(i64) -> [u8; 32] + Send + Sync>,
    /// Keys by their day; none but those that count.
    keys: Mutex<BTreeMap<i64, Arc<Keys>>>,
    /// How long a token may count.
    lifetime: Duration,
    validation: Validation,
    kind: &'static str,
    audience: &'static str,
}

/// The key of one day.
struct Keys {
    signs: EncodingKey,
    verifies: DecodingKey,
}

impl Signer {
    /// `derive` makes the key of a day, counted from the epoch of Unix.
    fn new(
        derive: Box<dyn Fn(i64) -> [u8; 32] + Send + Sync>,
        lifetime: Duration,
        kind: &'static str,
        audience: &'static str,
    ) -> Self {
        let mut validation = Validation::new(Algorithm::HS256);
        validation.set_required_spec_claims(&["iss", "aud", "sub", "nbf", "exp"]);
        validation.set_issuer(&[ISSUER]);
        validation.set_audience(&[audience]);
        // Times are compared by whoever reads, with the clock that the rest of the program has.
        validation.validate_exp = false;
        validation.validate_nbf = false;
        Self { derive, keys: Mutex::default(), lifetime, validation, kind, audience }
    }

    /// The key of a day, if one made then may count now.
    fn keys_of(&self, day: i64, now: Timestamp) -> Option<Arc<Keys>> {
        let today = day_of(now);
        let lasts = i64::try_from(self.lifetime.as_secs().div_ceil(DAY)).unwrap_or(i64::MAX);
        let oldest = today.saturating_sub(lasts);
        let mut keys = self.keys.lock().unwrap_or_else(PoisonError::into_inner);
        keys.retain(|day, _| (oldest..=today).contains(day));
        if !(oldest..=today).contains(&day) {
            return None;
        }
        let make = || {
            let key = (self.derive)(day);
            Arc::new(Keys { signs: EncodingKey::from_secret(&key), verifies: DecodingKey::from_secret(&key) })
        };
        Some(keys.entry(day).or_insert_with(make).clone())
    }

    /// What a token of a session says.
    fn claims(&self, of: &Session, serial: Option<u64>, now: Timestamp, until: Timestamp) -> Claims {
        Claims {
            iss: ISSUER.into(),
            aud: self.audience.into(),
            sub: of.user.to_string(),
            iat: seconds(now),
            nbf: seconds(now),
            exp: seconds(until),
            sid: of.id.to_string(),
            serial,
        }
    }

    fn sign(&self, claims: &impl Serialize, now: Timestamp) -> Result<String, Problem> {
        let day = day_of(now);
        let (typ, kid) = (Some(self.kind.into()), Some(day.to_string()));
        let header = Header { typ, kid, ..Header::new(Algorithm::HS256) };
        let keys = self.keys_of(day, now).ok_or_else(|| larder_files::Error::internal("today has no key"))?;
        jsonwebtoken::encode(&header, claims, &keys.signs).map_err(|cause| larder_files::Error::internal(cause).into())
    }

    /// What a token of this kind says, if the key that it names may count now; its times are another matter.
    fn verify<C: DeserializeOwned>(&self, token: &str, now: Timestamp) -> Option<C> {
        let day = jsonwebtoken::decode_header(token).ok()?.kid?.parse().ok()?;
        let keys = self.keys_of(day, now)?;
        let decoded = jsonwebtoken::decode::<C>(token, &keys.verifies, &self.validation).ok()?;
        (decoded.header.typ.as_deref() == Some(self.kind)).then_some(decoded.claims)
    }
}

fn seconds(time: Timestamp) -> i64 {
    time.as_millis().div_euclid(1000)
}

fn day_of(time: Timestamp) -> i64 {
    seconds(time).div_euclid(DAY.cast_signed())
}

#[cfg(test)]
mod tests {
    use super::*;
    use uuid::Uuid;

    fn tokens() -> Tokens {
        let key = |day: i64| [u8::try_from(day.rem_euclid(256)).unwrap(); 32];
        let signer = |lifetime, kind| Signer::new(Box::new(key), lifetime, kind, kind);
        let (access, refresh) = (signer(Duration::from_mins(1), "a"), signer(Duration::from_hours(48), "r"));
        let link = signer(LINK_MAX, "l");
        Tokens { access, refresh, link, lifetime: Duration::from_mins(1), verified: Verified::default() }
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

    #[test]
    fn a_link_says_what_it_was_made_for_and_is_no_token_of_a_session() {
        let tokens = tokens();
        let (user, file) = (session().user, FileId(Uuid::from_u128(9)));
        for to in [
            LinkTo::Content { file, revision: 1, attachment: false },
            LinkTo::Content { file, revision: 3, attachment: true },
            LinkTo::Part { upload: DirectId(Uuid::from_u128(4)), number: 2 },
        ] {
            let link = tokens.link(user, to.clone(), at(1000), at(1500)).unwrap();
            assert_eq!(tokens.read_link(&link, at(1499)), Some((user, to, at(1500))));
            assert_eq!(tokens.read_link(&link, at(999)), None, "too early");
            assert!(tokens.read(&link, at(1000)).is_err());
            assert!(tokens.read_refresh(&link, at(1000)).is_none());
        }
        let pair = tokens.issue(&session(), at(1000)).unwrap();
        for other in [&*pair.access_token, &*pair.refresh_token, "", "a.b.c"] {
            assert_eq!(tokens.read_link(other, at(1000)), None, "{other}");
        }
    }

    #[test]
    fn each_day_has_a_key_which_counts_for_as_long_as_a_token_of_that_day_may() {
        let tokens = tokens();
        let day = DAY.cast_signed();
        let until = |days: i64| Session { until: at(days * day), ..session() };
        let pair = |seconds: i64| tokens.issue(&until(9), at(seconds)).unwrap();
        let (late, next) = (pair(2 * day - 1), pair(2 * day));
        let kid = |token: &str| jsonwebtoken::decode_header(token).unwrap().kid.unwrap();
        assert_eq!([kid(&late.access_token), kid(&next.access_token), kid(&next.refresh_token)], ["1", "2", "2"]);
        assert!(tokens.read(&late.access_token, at(2 * day)).is_ok(), "over midnight");
        let reads = |days: i64| tokens.read_refresh(&late.refresh_token, at(days * day)).is_some();
        assert_eq!([reads(2), reads(3), reads(4)], [true, true, false], "whatever it says of itself");
        assert!(tokens.read_refresh(&next.refresh_token, at(4 * day)).is_some());
        assert_eq!(tokens.refresh.keys.lock().unwrap().keys().copied().collect::<Vec<_>>(), [2]);
    }

    #[test]
    fn a_token_without_a_key_or_with_one_of_another_day_is_refused() {
        let tokens = tokens();
        let session = session();
        let claims: Claims =
            tokens.access.verify(&tokens.issue(&session, at(1000)).unwrap().access_token, at(1000)).unwrap();
        for (kid, key, counts) in [
            (Some("0"), 0, true),
            (None, 0, false),
            (Some("1"), 1, false),
            (Some("-1"), 0, false),
            (Some("x"), 0, false),
            (Some("0"), 1, false),
        ] {
            let header = Header { typ: Some("a".into()), kid: kid.map(Into::into), ..Header::new(Algorithm::HS256) };
            let token = jsonwebtoken::encode(&header, &claims, &EncodingKey::from_secret(&[key; 32])).unwrap();
            assert_eq!(tokens.read(&token, at(1000)).is_ok(), counts, "{kid:?} {key}");
        }
    }
}
