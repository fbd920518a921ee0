//! Names to addresses, as a trait, so that a test can say what a name means.

use async_trait::async_trait;
use std::{io, net::IpAddr};

/// Finds the addresses of a name. Nobody relies on it to refuse any: what it says is vetted.
#[async_trait]
pub trait Resolve: Send + Sync {
    /// Returns all addresses of `name`, best first. It is asked once for each request and redirect, and never for an address that
    /// stands in a URL.
    ///
    /// # Errors
    /// The name has no address, or nobody could tell. The error is logged, so it must hold no secret.
    ///
    /// # Cancel safety
    /// It is dropped where it takes longer than [`Policy::connect_within`](crate::Policy::connect_within).
    async fn resolve(&self, name: &str) -> io::Result<Vec<IpAddr>>;
}

/// What the system says: `/etc/hosts`, DNS, and whatever else it is configured for.
#[derive(Clone, Copy, Debug, Default)]
pub struct SystemResolver;

#[async_trait]
impl Resolve for SystemResolver {
    async fn resolve(&self, name: &str) -> io::Result<Vec<IpAddr>> {
        Ok(tokio::net::lookup_host((name, 0)).await?.map(|address| address.ip()).collect())
    }
}
