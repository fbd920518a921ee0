//! Passwords: what may be one; argon2id with 64 MiB, three passes and one lane, as PHC text.

use argon2::{Algorithm, Argon2, Params, PasswordHasher, PasswordVerifier, Version, password_hash::phc::PasswordHash};
use std::sync::Arc;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// Why a password could not be hashed.
#[derive(Debug, thiserror::Error)]
#[error("cannot hash the password")]
pub struct HashError(#[source] Box<dyn std::error::Error + Send + Sync>);

/// As OWASP ASVS 5.0 (6.2.1) has it.
const CHARS_MIN: usize = 8;
const BYTES_MAX: usize = 1024;

/// Why a text can't be a password.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unfit {
    /// Too easily guessed.
    #[error("a password has at least {CHARS_MIN} characters")]
    Short,
    /// No memory of a person, and work for whoever hashes it.
    #[error("a password has at most {BYTES_MAX} bytes")]
    Long,
}

/// Whether `password` may be given to a user: at least 8 characters, at most 1,024 bytes.
///
/// # Errors
/// [`Unfit`] says the rule.
pub fn check(password: &str) -> Result<(), Unfit> {
    match password.chars().count() {
        0..CHARS_MIN => Err(Unfit::Short),
        _ if password.len() > BYTES_MAX => Err(Unfit::Long),
        _ => Ok(()),
    }
}

fn argon2() -> Argon2<'static> {
    let params = Params::new(64 * 1024, 3, 1, None).expect("within argon2's bounds");
    Argon2::new(Algorithm::Argon2id, Version::V0x13, params)
}

/// Hashes a password with a new salt. Takes about 0.1 s and 64 MiB: not on a thread that others wait for.
///
/// # Errors
/// Where the system has no randomness or no memory.
pub fn hash(password: &str) -> Result<String, HashError> {
    let mut salt = [0; 16];
    getrandom::fill(&mut salt).map_err(|error| HashError(error.to_string().into()))?;
    hash_with(password, &salt)
}

fn hash_with(password: &str, salt: &[u8]) -> Result<String, HashError> {
    let hash = argon2().hash_password_with_salt(password.as_bytes(), salt);
    hash.map(|hash| hash.to_string()).map_err(|error| HashError(error.to_string().into()))
}

/// Whether `password` is the one of `hash`. Takes as long as the hash says; a text that is no hash matches nothing.
#[must_use]
pub fn verify(password: &str, hash: &str) -> bool {
    PasswordHash::new(hash).is_ok_and(|hash| argon2().verify_password(password.as_bytes(), &hash).is_ok())
}

/// Hashes and verifies passwords on blocking threads, at most as many at once as there are processors.
pub(crate) struct Verifier {
    permits: Semaphore,
    /// Who may be checked or wait for it.
    places: Arc<Semaphore>,
}

/// A place among those whose passwords are checked or hashed, or wait for it.
pub(crate) struct Place(#[expect(dead_code, reason = "it is held")] OwnedSemaphorePermit);

impl Verifier {
    /// How many wait for each that is checked: about a second.
    const WAITING: usize = 8;

    pub(crate) fn new() -> Self {
        Self::with(std::thread::available_parallelism().map_or(1, usize::from))
    }

    fn with(at_once: usize) -> Self {
        Self { permits: Semaphore::new(at_once), places: Arc::new(Semaphore::new(at_once * (1 + Self::WAITING))) }
    }

    /// A place, or `None` where too many wait already: whoever sends names at random must not hold up everybody's log-in, nor take
    /// memory without end.
    pub(crate) fn place(&self) -> Option<Place> {
        self.places.clone().try_acquire_owned().ok().map(Place)
    }

    /// As [`hash`], in its turn.
    pub(crate) async fn hash(&self, _place: Place, password: String) -> Result<String, HashError> {
        let stopping = |cause: &str| HashError(cause.into());
        let _permit = self.permits.acquire().await.map_err(|_| stopping("the server is stopping"))?;
        let work = tokio::task::spawn_blocking(move || hash(&password)).await;
        work.map_err(|error| HashError(error.into()))?
    }

    /// Whether `password` is the one of `hash`. Without a hash it answers `false` after the same work, so that time does not
    /// tell who exists. `None` where it could not be compared.
    pub(crate) async fn verify(&self, _place: Place, password: String, hash: Option<String>) -> Option<bool> {
        let _permit = self.permits.acquire().await.ok()?;
        let work = move || match hash {
            Some(hash) => verify(&password, &hash),
            None => hash_with(&password, b"salt of nobody's").is_err(),
        };
        tokio::task::spawn_blocking(work).await.ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::{Duration, Instant};

    #[test]
    fn a_password_is_neither_short_nor_endless() {
        assert_eq!((check("1234567"), check("äöüäöüä")), (Err(Unfit::Short), Err(Unfit::Short)));
        assert_eq!((check("12345678"), check(&"x".repeat(1024))), (Ok(()), Ok(())));
        assert_eq!(check(&"x".repeat(1025)), Err(Unfit::Long));
    }

    #[tokio::test]
    async fn so_many_wait_for_their_turn_and_the_next_is_told_so_at_once() {
        let verifier = Verifier::with(1);
        let permit = verifier.permits.acquire().await.unwrap();
        let verify = || verifier.verify(verifier.place().unwrap(), "x".into(), Some("no hash".into()));
        let mut waiting: Vec<_> = (0..=Verifier::WAITING).map(|_| Box::pin(verify())).collect();
        for one in &mut waiting {
            assert!(futures_util::poll!(one).is_pending());
        }
        assert!(verifier.place().is_none());
        drop(permit);
        for one in waiting {
            assert_eq!(one.await, Some(false));
        }
        assert_eq!(verify().await, Some(false));
    }

    #[test]
    fn a_hash_verifies_its_own_password_only_and_names_its_cost() {
        let hash = hash("correct horse").unwrap();
        assert!(hash.starts_with("$argon2id$v=19$m=65536,t=3,p=1$"), "{hash}");
        assert!(verify("correct horse", &hash));
        assert!(!verify("correct hors", &hash) && !verify("correct horse", "no hash") && !verify("", ""));
    }

    #[tokio::test]
    async fn who_does_not_exist_costs_as_much_work_as_a_wrong_password() {
        let (verifier, hash) = (Verifier::with(1), hash("correct horse").unwrap());
        let mut quickest = [Duration::MAX; 2];
        for _ in 0..3 {
            for (quickest, known) in quickest.iter_mut().zip([Some(hash.clone()), None]) {
                let begun = Instant::now();
                assert_eq!(verifier.verify(verifier.place().unwrap(), "wrong".into(), known).await, Some(false));
                *quickest = begun.elapsed().min(*quickest);
            }
        }
        // Far from what a look-up would take, however busy the machine is.
        let [known, unknown] = quickest;
        assert!(unknown * 4 > known && known * 4 > unknown, "{known:?} and {unknown:?}");
    }
}
