//! [`Presign`]: requests that anybody who holds them may send straight to the store, for a while.

use crate::{Key, Result};
use async_trait::async_trait;
use std::time::{Duration, SystemTime};

/// What a signed request may do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PresignMethod {
    /// Read the object.
    Get,
    /// Write it, of exactly this size in bytes where the store can bind it.
    Put {
        /// Size in bytes.
        size: Option<u64>,
    },
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
