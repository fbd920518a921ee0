//! What may be fetched: schemes, sizes, times, and the one way for a test to reach a server of its own.

use std::{net::SocketAddr, time::Duration};
use tokio_rustls::rustls::pki_types::CertificateDer;

/// The bounds of a fetch. The rules that have no option (public addresses, ports 80 and 443, three redirects, no downgrade, no
/// credentials, no encodings) are not here.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Policy {
    /// Whether `http` URLs are fetched, too. By default they are not: whoever is in between could hand over anything.
    pub http: bool,
    /// The largest content, in bytes; announced or not. 16 GiB by default.
    pub bytes_max: u64,
    /// For looking up a name, connecting and TLS, at every redirect anew. All addresses of a name share it. 10 s by default.
    pub connect_within: Duration,
    /// From the request to the end of the answer's head, at every redirect anew. 30 s by default.
    pub head_within: Duration,
    /// Between two blocks of the content; only time in which a block is waited for counts. 30 s by default.
    pub block_within: Duration,
    /// From the call to the last byte, redirects and the time that the reader takes included. 1 h by default.
    pub whole_within: Duration,
    pub(crate) permitted: Vec<SocketAddr>,
    pub(crate) roots: Vec<CertificateDer<'static>>,
}

impl Default for Policy {
    fn default() -> Self {
        Self {
            http: false,
            bytes_max: 16 << 30,
            connect_within: Duration::from_secs(10),
            head_within: Duration::from_secs(30),
            block_within: Duration::from_secs(30),
            whole_within: Duration::from_secs(3600),
            permitted: Vec::new(),
            roots: Vec::new(),
        }
    }
}

impl Policy {
    /// Permits one address with its one port, whatever they are; every other stays refused. It is there so that a test can reach
    /// a server of its own on loopback. No setting of a server may lead here.
    #[must_use]
    pub fn permitting(mut self, address: SocketAddr) -> Self {
        self.permitted.push(SocketAddr::new(address.ip().to_canonical(), address.port()));
        self
    }

    /// Trusts this root certificate (DER) instead of the system's; several calls add up. It is there so that a test can speak TLS
    /// without the machine's files.
    #[must_use]
    pub fn trusting(mut self, root: &[u8]) -> Self {
        self.roots.push(CertificateDer::from(root.to_vec()));
        self
    }
}
