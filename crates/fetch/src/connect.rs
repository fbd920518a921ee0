//! A connection to a [`Target`], by these steps; whichever fails ends it:
//!
//! 1. The addresses of the host: the one that the URL has, or all that the name has, looked up once.
//! 2. Each is vetted, and one that is not public refuses all.
//! 3. Of those very addresses one after the other is connected to, each with its share of the time that is left.
//! 4. For `https`, TLS: the server proves the name that stands in the URL.
//!
//! Nothing looks the name up a second time, so an answer that changes in between changes nothing. Variables like `HTTPS_PROXY` are
//! not read.

use crate::{
    BoxError, Cause, NoRoots, Policy, Resolve,
    address::is_public,
    target::{PORTS, Peer, Target},
};
use bytes::Bytes;
use futures_util::{FutureExt, future::BoxFuture};
use http_body_util::Empty;
use hyper::{
    Request, Response,
    body::Incoming,
    client::conn::http1::{self, SendRequest},
    header,
};
use hyper_util::rt::TokioIo;
use std::{
    future::poll_fn,
    io,
    net::{IpAddr, SocketAddr},
    pin::pin,
    sync::Arc,
    task::{Context, Poll},
};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::TcpStream,
    time::{Instant, timeout_at},
};
use tokio_rustls::{
    TlsConnector,
    rustls::{ClientConfig, RootCertStore, crypto::aws_lc_rs},
};

/// The head of an answer, with its status line. Trailers have the same bound.
const HEAD_BYTES_MAX: usize = 32 << 10;

/// Lines of a head.
const HEAD_LINES_MAX: usize = 100;

/// What is held of the content at a time.
const BLOCK_BYTES_MAX: usize = 128 << 10;

/// One connection, for one request. It is no task of its own: it gets on while its answer or its content is waited for, so it holds
/// no more than one block, and it ends where this is dropped.
pub(crate) struct Connection {
    requests: SendRequest<Empty<Bytes>>,
    /// `None` once it has ended.
    driver: Option<BoxFuture<'static, hyper::Result<()>>>,
}

trait Socket: AsyncRead + AsyncWrite + Send + Unpin {}
impl<S: AsyncRead + AsyncWrite + Send + Unpin> Socket for S {}

/// TLS with the roots of the policy, or with the system's where it names none. Reads files.
pub(crate) fn tls(policy: &Policy) -> Result<TlsConnector, NoRoots> {
    let mut roots = RootCertStore::empty();
    if policy.roots.is_empty() {
        let system = rustls_native_certs::load_native_certs();
        roots.add_parsable_certificates(system.certs);
        if roots.is_empty() {
            return Err(NoRoots(system.errors.into_iter().next().map(BoxError::from)));
        }
    }
    for root in &policy.roots {
        roots.add(root.clone()).map_err(|error| NoRoots(Some(error.into())))?;
    }
    let mut config = ClientConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
        .with_safe_default_protocol_versions()
        .expect("this provider has the suites of TLS 1.2 and 1.3")
        .with_root_certificates(roots)
        .with_no_client_auth();
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(TlsConnector::from(Arc::new(config)))
}

impl Connection {
    /// Connects to `target` before `deadline`. It may be dropped at any time.
    pub(crate) async fn open(
        target: &Target,
        policy: &Policy,
        resolve: &dyn Resolve,
        tls: &TlsConnector,
        deadline: Instant,
    ) -> Result<Self, Cause> {
        let found = addresses(target, resolve).await?;
        let vetted = found.into_iter().map(|ip| vet(ip, target.port(), policy)).collect::<Result<Vec<_>, _>>()?;
        let (address, socket) = tcp(&vetted, deadline).await?;
        if !target.is_tls() {
            return Self::over(socket).await;
        }
        let handshake = tls.connect(target.server_name()?, socket).await;
        Self::over(handshake.map_err(|source| Cause::Tls { address, source })?).await
    }

    async fn over(socket: impl Socket + 'static) -> Result<Self, Cause> {
        let (requests, connection) = http1::Builder::new()
            .max_header_size(HEAD_BYTES_MAX)
            .max_headers(HEAD_LINES_MAX)
            .max_buf_size(BLOCK_BYTES_MAX)
            .handshake(TokioIo::new(socket))
            .await
            .map_err(|error| Cause::Answer(error.into()))?;
        Ok(Self { requests, driver: Some(connection.boxed()) })
    }

    /// Asks for `target` and returns the head of the answer. What is not said here is not sent: no cookie, no referrer.
    pub(crate) async fn ask(&mut self, target: &Target) -> Result<Response<Incoming>, Cause> {
        let request = Request::get(target.path_and_query())
            .header(header::HOST, target.host())
            .header(header::USER_AGENT, "larder")
            .header(header::ACCEPT, "*/*")
            .header(header::ACCEPT_ENCODING, "identity")
            .header(header::CONNECTION, "close")
            .body(Empty::new())
            .map_err(|_| Cause::Url)?;
        let answer = self.requests.send_request(request);
        self.drive(answer).await.map_err(|error| Cause::Answer(error.into()))
    }

    /// Waits for `future`, and lets the connection get on meanwhile.
    pub(crate) async fn drive<F: Future>(&mut self, future: F) -> F::Output {
        let mut future = pin!(future);
        poll_fn(|cx| {
            self.poll(cx);
            future.as_mut().poll(cx)
        })
        .await
    }

    /// What the connection ends in is told to the answer and to the content, so it is not looked at here.
    fn poll(&mut self, cx: &mut Context<'_>) {
        if let Some(driver) = &mut self.driver
            && let Poll::Ready(_) = driver.as_mut().poll(cx)
        {
            self.driver = None;
        }
    }
}

async fn addresses(target: &Target, resolve: &dyn Resolve) -> Result<Vec<IpAddr>, Cause> {
    match target.peer() {
        Peer::Address(address) => Ok(vec![address]),
        Peer::Name(name) => match resolve.resolve(name).await.map_err(Cause::LookUp)? {
            none if none.is_empty() => Err(Cause::LookUp(io::ErrorKind::NotFound.into())),
            some => Ok(some),
        },
    }
}

/// The address that may be connected to, out of its clothes.
fn vet(ip: IpAddr, port: u16, policy: &Policy) -> Result<SocketAddr, Cause> {
    let address = SocketAddr::new(ip.to_canonical(), port);
    if policy.permitted.contains(&address) {
        Ok(address)
    } else if !is_public(address.ip()) {
        Err(Cause::Address(address.ip()))
    } else if !PORTS.contains(&port) {
        Err(Cause::Port(port))
    } else {
        Ok(address)
    }
}

async fn tcp(vetted: &[SocketAddr], deadline: Instant) -> Result<(SocketAddr, TcpStream), Cause> {
    let mut failed = Cause::LookUp(io::ErrorKind::NotFound.into());
    for (tried, &address) in vetted.iter().enumerate() {
        let share = deadline.saturating_duration_since(Instant::now())
            / u32::try_from(vetted.len() - tried).unwrap_or(u32::MAX);
        let source = match timeout_at(Instant::now() + share, TcpStream::connect(address)).await {
            Ok(Ok(socket)) => return Ok((address, socket)),
            Ok(Err(error)) => error,
            Err(_) => io::ErrorKind::TimedOut.into(),
        };
        failed = Cause::Connect { address, source };
    }
    Err(failed)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_permitted_pair_of_address_and_port_is_let_through() {
        let permitted: SocketAddr = "127.0.0.1:4444".parse().unwrap();
        let policy = Policy::default().permitting("[::ffff:127.0.0.1]:4444".parse().unwrap());
        let vet = |ip: &str, port| vet(ip.parse().unwrap(), port, &policy);
        assert_eq!(vet("127.0.0.1", 4444).unwrap(), permitted);
        assert_eq!(vet("::ffff:127.0.0.1", 4444).unwrap(), permitted);
        assert!(matches!(vet("127.0.0.1", 443), Err(Cause::Address(_))));
        assert!(matches!(vet("127.0.0.2", 4444), Err(Cause::Address(_))));
        assert!(matches!(vet("8.8.8.8", 4444), Err(Cause::Port(4444))));
    }

    #[test]
    fn what_is_connected_to_is_out_of_its_clothes() {
        let vetted = vet("::ffff:8.8.8.8".parse().unwrap(), 443, &Policy::default()).unwrap();
        assert_eq!(vetted.to_string(), "8.8.8.8:443");
    }

    #[tokio::test]
    async fn the_next_address_is_tried_where_one_does_not_answer() {
        let open = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let shut = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
        let deadline = Instant::now() + std::time::Duration::from_secs(30);
        let (address, _) = tcp(&[shut, open.local_addr().unwrap()], deadline).await.unwrap();
        assert_eq!(address, open.local_addr().unwrap());
        assert!(matches!(tcp(&[shut], deadline).await, Err(Cause::Connect { .. })));
    }
}
