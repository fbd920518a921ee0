//! [`Misconfigured`]: what is wrong with a configuration, as far as a server's refusal tells, and what to do about it.

use larder_storage_core::Error;
use std::{error::Error as _, fmt};

/// A mistake that no repeat of the request mends. It is the cause of the store's error: look for it in the chain.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Misconfigured {
    /// No credentials were found where they were to be looked for.
    NoCredentials,
    /// The server knows no such access key.
    WrongKey,
    /// The server knows the access key, and another secret of it.
    WrongSecret,
    /// The keys were temporary and have ended.
    ExpiredKey,
    /// The bucket lies in another region.
    WrongRegion {
        /// The one that the server names.
        expected: Option<String>,
    },
    /// There is no such bucket.
    MissingBucket {
        /// Its name.
        bucket: String,
    },
    /// Nothing answers at the endpoint, or nothing has its name.
    WrongEndpoint {
        /// The endpoint.
        endpoint: String,
    },
    /// The endpoint says `http`, and the server speaks TLS.
    PlainToTls {
        /// The endpoint.
        endpoint: String,
    },
    /// The endpoint says `https`, and the server doesn't speak TLS.
    TlsToPlain {
        /// The endpoint.
        endpoint: String,
    },
    /// The clocks of the two differ too much for a signature.
    Clock {
        /// Seconds by which ours is behind the server's; negative where it is ahead. `None` where it does not tell the time.
        behind: Option<i64>,
    },
    /// The credentials may not do this.
    Forbidden,
    /// The server does not encrypt as it was told to.
    NotEncrypted,
}

impl Misconfigured {
    /// The mistake that a store's error is of, as far as the server's answer tells.
    #[must_use]
    pub fn of(error: &Error) -> Option<&Self> {
        let mut causes = std::iter::successors(error.source(), |&cause| cause.source());
        causes.find_map(|cause| cause.downcast_ref())
    }

    /// What to do about it, in one sentence.
    #[must_use]
    pub fn advice(&self) -> String {
        match self {
            Self::NoCredentials => {
                "set `access_key_id` and `secret_access_key`, or name a `profile` that has them".into()
            }
            Self::WrongKey => "check `access_key_id`: it belongs to another server, or was removed".into(),
            Self::WrongSecret => "check `secret_access_key`: it is not the one of this access key".into(),
            Self::ExpiredKey => "renew the temporary keys and their session token".into(),
            Self::WrongRegion { expected: Some(region) } => format!("set `region = \"{region}\"`"),
            Self::WrongRegion { expected: None } => "set `region` to the bucket's own".into(),
            Self::MissingBucket { bucket } => {
                format!("check `bucket`, make the bucket `{bucket}`, or allow it by `create_bucket = true`")
            }
            Self::WrongEndpoint { .. } => "check `endpoint` (scheme, host and port) and that the server runs".into(),
            Self::PlainToTls { .. } => "write `https://` in `endpoint`".into(),
            Self::TlsToPlain { .. } => "write `http://` in `endpoint`, or give the server a certificate".into(),
            Self::Clock { .. } => "set the clock of this machine, best by NTP".into(),
            Self::Forbidden => "allow it in the policy of these credentials".into(),
            Self::NotEncrypted => "configure encryption on the server, or set `encryption` to what it does".into(),
        }
    }
}

impl fmt::Display for Misconfigured {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoCredentials => f.write_str("no credentials were found")?,
            Self::WrongKey => f.write_str("the server knows no such access key")?,
            Self::WrongSecret => f.write_str("the secret does not belong to the access key")?,
            Self::ExpiredKey => f.write_str("the keys have expired")?,
            Self::WrongRegion { expected: Some(region) } => write!(f, "the bucket is in the region `{region}`")?,
            Self::WrongRegion { expected: None } => f.write_str("the bucket is in another region")?,
            Self::MissingBucket { bucket } => write!(f, "there is no bucket `{bucket}`")?,
            Self::WrongEndpoint { endpoint } => write!(f, "nothing answers at {endpoint}")?,
            Self::PlainToTls { endpoint } => {
                write!(f, "the server at {endpoint} speaks TLS, and was spoken to without")?
            }
            Self::TlsToPlain { endpoint } => write!(f, "the server at {endpoint} does not speak TLS")?,
            Self::Clock { behind: Some(seconds) } => {
                let how = if *seconds < 0 { "ahead of" } else { "behind" };
                write!(f, "this machine's clock is {} s {how} the server's", seconds.abs())?;
            }
            Self::Clock { behind: None } => f.write_str("this machine's clock and the server's differ")?,
            Self::Forbidden => f.write_str("the credentials may not do this")?,
            Self::NotEncrypted => f.write_str("the server did not encrypt as it was told to")?,
        }
        write!(f, ": {}", self.advice())
    }
}

impl std::error::Error for Misconfigured {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_mistake_has_words_and_advice_of_its_own() {
        let endpoint = "http://127.0.0.1:9".to_owned();
        let all = [
            Misconfigured::NoCredentials,
            Misconfigured::WrongKey,
            Misconfigured::WrongSecret,
            Misconfigured::ExpiredKey,
            Misconfigured::WrongRegion { expected: Some("eu-west-1".into()) },
            Misconfigured::MissingBucket { bucket: "media".into() },
            Misconfigured::WrongEndpoint { endpoint: endpoint.clone() },
            Misconfigured::PlainToTls { endpoint: endpoint.clone() },
            Misconfigured::TlsToPlain { endpoint },
            Misconfigured::Clock { behind: Some(-3_600) },
            Misconfigured::Forbidden,
            Misconfigured::NotEncrypted,
        ];
        let advice: std::collections::BTreeSet<_> = all.iter().map(Misconfigured::advice).collect();
        let sentences: std::collections::BTreeSet<_> = all.iter().map(ToString::to_string).collect();
        assert_eq!((advice.len(), sentences.len()), (all.len(), all.len()));
    }

    #[test]
    fn a_wrong_clock_is_told_by_how_much() {
        assert!(Misconfigured::Clock { behind: Some(7_200) }.to_string().contains("7200 s behind"));
        assert!(Misconfigured::Clock { behind: Some(-7_200) }.to_string().contains("7200 s ahead of"));
    }
}
