//! [`Server`]: a listening socket, the workers behind it, and how they stop.

use crate::{
    Inspectors, Limits, RecipeKeys,
    callers::{Bodies, Callers, InFlight, Room},
    deadline::Connection,
    envelope,
    metrics::{self, Metrics, MetricsToken},
    password::Verifier,
    problem::Problem,
    proxy::Proxies,
    record::Record,
    routes::routes,
    signature::Signatures,
    throttle::Throttle,
    token::Tokens,
};
use actix_web::{App, HttpServer, dev, dev::Extensions, middleware::from_fn, rt::net::TcpStream, web};
use larder_fetch::Fetcher;
use larder_files::{Error, File, Files, Role};
use larder_renditions::{RenditionSettings, Renditions};
use prometheus_client::registry::Registry;
use std::{
    any::Any,
    io,
    net::{SocketAddr, TcpListener},
    os::fd::AsFd,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    task::{Context, Poll, Waker},
    time::Duration,
};
use tokio::{runtime::Handle, sync::Semaphore, task::JoinHandle};

/// How to serve.
#[derive(Debug)]
pub struct ServerConfig {
    /// Where to listen; port 0 takes a free one.
    pub listen: SocketAddr,
    /// Threads that speak HTTP; 0 for as many as there are processors.
    pub workers: usize,
    /// Where clients reach it, such as `https://files.example.com`: links to it begin so. `None`: as who asks for one reaches it, over
    /// HTTP.
    pub public_url: Option<String>,
    /// What clients may do.
    pub limits: Limits,
    /// The proxies before it.
    pub proxies: Proxies,
    /// What opens `/metrics` to who is no admin.
    pub metrics_token: Option<MetricsToken>,
    /// What others count, such as stores; the server adds its own.
    pub registry: Registry,
    /// What tells more of stores than `Files` sees.
    pub inspectors: Inspectors,
    /// How renditions are made.
    pub renditions: RenditionSettings,
    /// What signs the URLs of renditions.
    pub recipe_keys: RecipeKeys,
    /// What fetches content from URLs; `None`: nothing does.
    pub imports: Option<Fetcher>,
}

impl Default for ServerConfig {
    /// Port 8080 of this machine only.
    fn default() -> Self {
        Self {
            listen: SocketAddr::from(([127, 0, 0, 1], 8080)),
            workers: 0,
            public_url: None,
            limits: Limits::default(),
            proxies: Proxies::default(),
            metrics_token: None,
            registry: Registry::default(),
            inspectors: Inspectors::default(),
            renditions: RenditionSettings::default(),
            recipe_keys: RecipeKeys::default(),
            imports: None,
        }
    }
}

/// What all handlers share.
pub(crate) struct Api {
    pub(crate) files: Files,
    pub(crate) inspectors: Inspectors,
    pub(crate) renditions: Renditions,
    pub(crate) signatures: Signatures,
    pub(crate) imports: Option<Arc<Fetcher>>,
    /// Imports under way.
    pub(crate) importing: Arc<Semaphore>,
    pub(crate) runtime: Handle,
    pub(crate) public_url: Option<String>,
    pub(crate) limits: Limits,
    pub(crate) proxies: Proxies,
    pub(crate) tokens: Tokens,
    pub(crate) verifier: Verifier,
    pub(crate) throttle: Throttle,
    /// Of passwords that prove who has an open session.
    pub(crate) proofs: Throttle,
    /// Counts set-up links that were none, apart: they are nobody's log-ins.
    pub(crate) setups: Throttle,
    pub(crate) callers: Callers,
    pub(crate) in_flight: InFlight,
    pub(crate) listing: InFlight,
    /// Parts of direct uploads, by upload.
    pub(crate) sending: InFlight,
    pub(crate) incoming: Bodies,
    pub(crate) outgoing: Bodies,
    pub(crate) room: Room,
    pub(crate) draining: AtomicBool,
    pub(crate) metrics: Metrics,
    pub(crate) metrics_token: Option<MetricsToken>,
    /// Whether somebody has found out that it is.
    pub(crate) is_set_up: AtomicBool,
}

impl Api {
    fn new(files: Files, runtime: Handle, config: ServerConfig) -> Self {
        let ServerConfig {
            public_url,
            limits,
            proxies,
            metrics_token,
            registry,
            inspectors,
            renditions,
            recipe_keys,
            imports,
            ..
        } = config;
        let throttle = || {
            Throttle::new(limits.log_ins_per_account, limits.log_ins_per_address).counting_loopback(proxies.are_known())
        };
        Self {
            signatures: Signatures::new(&files, &recipe_keys),
            imports: imports.map(Arc::new),
            importing: Arc::new(Semaphore::new(Limits::IMPORTS_MAX)),
            renditions: Renditions::new(files.clone(), renditions, runtime.clone()),
            metrics: Metrics::new(registry),
            metrics_token,
            tokens: Tokens::new(&files, &limits),
            verifier: Verifier::new(),
            throttle: throttle(),
            proofs: throttle(),
            setups: throttle(),
            callers: Callers::default(),
            in_flight: InFlight::default(),
            listing: InFlight::default(),
            sending: InFlight::default(),
            incoming: Bodies::default(),
            outgoing: Bodies::default(),
            room: Room::new(limits.held_bytes_max),
            draining: AtomicBool::new(false),
            is_set_up: AtomicBool::new(false),
            files,
            inspectors,
            runtime,
            public_url,
            limits,
            proxies,
        }
    }

    /// The record of a file as `viewer` may see it.
    pub(crate) fn record(&self, file: &File, viewer: Role) -> Record {
        Record::new(file, &self.files, viewer).with_renditions(self.renditions.presets())
    }

    /// Starts `work` on the runtime of `Files`. It goes on to its end when nobody waits for it any more.
    pub(crate) fn spawn<F>(&self, work: F) -> JoinHandle<F::Output>
    where
        F: Future<Output: Send> + Send + 'static,
    {
        self.runtime.spawn(work)
    }

    /// Has `work` done on the runtime of `Files`.
    pub(crate) async fn run<T: Send + 'static>(
        &self,
        work: impl Future<Output = Result<T, Problem>> + Send + 'static,
    ) -> Result<T, Problem> {
        let mut work = Box::pin(work);
        if let Poll::Ready(done) = self.poll_here(work.as_mut()) {
            return done;
        }
        self.spawn(work).await.unwrap_or_else(|error| Err(Error::internal(error).into()))
    }

    /// Polls once on the worker's own thread: what needs no wait is answered without two changes of thread. What does wait is
    /// polled again where it goes on, so no wake is lost.
    fn poll_here<T>(&self, work: Pin<&mut impl Future<Output = T>>) -> Poll<T> {
        let _runtime = self.runtime.enter();
        work.poll(&mut Context::from_waker(Waker::noop()))
    }
}

/// A server that is bound but does not serve yet.
pub struct Server {
    server: dev::Server,
    addr: SocketAddr,
    api: web::Data<Api>,
    /// Where it listens for metrics alone.
    metrics: Option<dev::Server>,
}

impl Server {
    /// Listens. `files` runs on `runtime`, which must be a multi-thread one and is not the workers'.
    ///
    /// # Errors
    /// Where the address can't be had: in use, not this machine's, or forbidden.
    pub fn bind(config: ServerConfig, files: Files, runtime: Handle) -> io::Result<Self> {
        let listener = TcpListener::bind(config.listen)?;
        Self::on(listener, config, files, runtime)
    }

    /// As [`Server::bind`], on a socket that listens already: for who must know that it can, before it makes anything.
    ///
    /// # Errors
    /// Where the socket can't be used.
    pub fn on(listener: TcpListener, config: ServerConfig, files: Files, runtime: Handle) -> io::Result<Self> {
        let addr = listener.local_addr()?;
        let (limits, workers) = (config.limits.clone(), config.workers);
        let api = web::Data::new(Api::new(files, runtime.clone(), config));
        let (shared, renditions) = (api.clone(), api.renditions.clone());
        runtime.spawn(async move {
            if let Err(error) = renditions.find_kept().await {
                tracing::warn!(%error, "renditions that were kept count only when they are asked for");
            }
        });
        let workers = match workers {
            0 => std::thread::available_parallelism().map_or(1, usize::from),
            workers => workers,
        };
        let app = move || {
            App::new()
                .app_data(shared.clone())
                .wrap(from_fn(envelope::envelope))
                .configure(|config| routes(config))
                .default_service(web::to(envelope::nowhere))
        };
        let _inside = runtime.enter();
        let patience = limits.body_idle;
        let server = HttpServer::new(app)
            .workers(workers)
            .max_connections(limits.connections_max.div_ceil(workers))
            .keep_alive(limits.keep_alive)
            .client_request_timeout(limits.head_timeout)
            .client_disconnect_timeout(limits.linger.max(Limits::LINGER_MIN))
            .shutdown_timeout(limits.drain.as_secs())
            .disable_signals()
            .on_connect(move |connection, kept| watch_connection(connection, kept, patience))
            .listen(listener)?
            .run();
        Ok(Self { server, addr, api, metrics: None })
    }

    /// Serves `/metrics` on a further socket too, without asking who it is: for an address that only a scraper reaches.
    ///
    /// # Errors
    /// Where the socket can't be used.
    pub fn with_metrics_on(mut self, listener: TcpListener) -> io::Result<Self> {
        let shared = self.api.clone();
        let app = move || App::new().app_data(shared.clone()).route("/metrics", web::get().to(metrics::open));
        let _inside = self.api.runtime.enter();
        let limits = &self.api.limits;
        let server = HttpServer::new(app)
            .workers(1)
            .max_connections(Limits::METRICS_CONNECTIONS_MAX)
            .keep_alive(limits.keep_alive)
            .client_request_timeout(limits.head_timeout)
            .disable_signals()
            .listen(listener)?
            .run();
        self.metrics = Some(server);
        Ok(self)
    }

    /// Where it listens, with the real port.
    #[must_use]
    pub fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// Its renditions.
    #[must_use]
    pub fn renditions(&self) -> &Renditions {
        &self.api.renditions
    }

    /// What stops it.
    #[must_use]
    pub fn handle(&self) -> ServerHandle {
        ServerHandle {
            handle: self.server.handle(),
            metrics: self.metrics.as_ref().map(dev::Server::handle),
            api: self.api.clone().into_inner(),
        }
    }

    /// Serves until it is stopped.
    ///
    /// # Errors
    /// Where the workers can't be started.
    pub async fn run(self) -> io::Result<()> {
        match self.metrics {
            Some(metrics) => futures_util::try_join!(self.server, metrics).map(|((), ())| ()),
            None => self.server.await,
        }
    }
}

/// Stops a [`Server`].
#[derive(Clone)]
pub struct ServerHandle {
    handle: dev::ServerHandle,
    metrics: Option<dev::ServerHandle>,
    api: Arc<Api>,
}

impl ServerHandle {
    /// Says `unavailable` to whoever asks for its health, takes no new connections, lets what is under way end for at most
    /// [`Limits::drain`], and returns when it has.
    pub async fn drain(&self) {
        self.api.draining.store(true, Ordering::Relaxed);
        self.handle.stop(true).await;
        if let Some(metrics) = &self.metrics {
            metrics.stop(false).await;
        }
    }
}

/// Has the kernel end a connection whose peer takes nothing of what was sent for `patience`, and keeps a second handle for
/// [`crate::deadline::Reader`], which cuts those who take too little.
fn watch_connection(connection: &dyn Any, kept: &mut Extensions, patience: Duration) {
    let Some(connection) = connection.downcast_ref::<TcpStream>() else { return };
    let millis = u32::try_from(patience.as_millis()).unwrap_or(u32::MAX);
    if let Err(error) = rustix::net::sockopt::set_tcp_user_timeout(connection, millis) {
        tracing::warn!("cannot set TCP_USER_TIMEOUT: {error}");
    }
    match connection.as_fd().try_clone_to_owned() {
        Ok(socket) => drop(kept.insert(Connection(Arc::new(socket)))),
        Err(error) => tracing::warn!("cannot watch a connection: {error}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn the_kernel_is_told_for_how_long_a_peer_may_take_nothing() {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let connection = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        let mut kept = Extensions::new();
        watch_connection(&connection, &mut kept, Duration::from_millis(1_234));
        assert_eq!(rustix::net::sockopt::tcp_user_timeout(&connection).unwrap(), 1_234);
        let second = &kept.get::<Connection>().unwrap().0;
        assert_eq!(
            rustix::net::sockopt::tcp_user_timeout(second).unwrap(),
            1_234,
            "the handle that is kept is another's"
        );
    }
}
