//! [`Presign`]: requests that anybody who holds them may send straight to the store, for a while.

use crate::{Key, Result};
use async_trait::async_trait;
use std::time::{Duration, SystemTime};

/// What a signed request may do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PresignMethod {
    /// Read the object.
    Get(SentAs),
    /// Write it.
    Put(Bound),
}

/// What the answer to a signed read says of the object; `None` leaves it to the store.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SentAs {
    /// Its `Content-Type`.
    pub content_type: Option<String>,
    /// Its `Content-Disposition` (RFC 6266).
    pub disposition: Option<String>,
}

/// What a signed write is held to, as far as the store can: whoever was given it may still send something else to a store that can't, so
/// what lies there afterwards is to be looked at. `None` binds nothing.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Bound {
    /// Size in bytes.
    pub size: Option<u64>,
    /// The `Content-Type` that must be sent with it.
    pub content_type: Option<String>,
    /// SHA-256 of the content.
    pub sha256: Option<[u8; 32]>,
}

/// A request to be sent as it stands.
#[derive(Clone, PartialEq, Eq)]
pub struct SignedRequest {
    /// The HTTP method.
    pub method: &'static str,
    /// The URL: a secret until it expires.
    pub url: String,
    /// Headers that must be sent with it.
    pub headers: Vec<(String, String)>,
    /// When it stops working.
    pub expires_at: SystemTime,
}

impl std::fmt::Debug for SignedRequest {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let place = self.url.split('?').next().unwrap_or_default();
        f.debug_struct("SignedRequest").field("method", &self.method).field("place", &place).finish_non_exhaustive()
    }
}

/// Signed requests, made without a round trip.
#[async_trait]
pub trait Presign: Send + Sync {
    /// Signs a request that works for `lifetime`, at most 7 days.
    ///
    /// # Errors
    /// `Unsupported` of a method or lifetime that the store can't sign; `ReadOnly` by its mode.
    async fn presign(&self, key: &Key, method: PresignMethod, lifetime: Duration) -> Result<SignedRequest>;
}
