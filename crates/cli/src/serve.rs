//! `larder serve`: the server, from the first bind to the last answer.

use crate::{
    Context,
    config::{self, Config},
    data_dir::DataDir,
    hint::quoted,
    open::{self, Access, Larder},
    output::{self, Exit, Output, refuse},
    rebuild::{self, Rebuild},
    setup_link,
    space::Space,
};
use anyhow::Result;
use clap::{Args, ValueEnum};
use larder_api::{Limits, Server, ServerConfig};
use rustix::process::{Resource, getrlimit, setrlimit};
use std::{
    mem,
    net::{SocketAddr, TcpListener},
    time::Duration,
};
use tokio::{
    runtime::Handle,
    signal::unix::{SignalKind, signal},
};

/// Run the server.
#[derive(Args)]
pub(crate) struct Serve {
    /// Address and port; port 0 takes a free one [default: 127.0.0.1:8080]
    #[arg(long, value_name = "ADDRESS")]
    listen: Option<String>,
    /// Short for `--listen 127.0.0.1:PORT`
    #[arg(long, value_name = "PORT", conflicts_with = "listen")]
    port: Option<u16>,
    /// Rebuild the database first where it is missing
    #[arg(long)]
    rebuild: bool,
    /// The log's form [default: for people on a terminal, JSON lines elsewhere]
    #[arg(long, value_enum, value_name = "FORM")]
    pub(crate) log: Option<LogForm>,
}

/// The form of the log.
#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum LogForm {
    /// Lines for people.
    Human,
    /// JSON lines.
    Json,
}

impl Serve {
    /// Where to listen, if the command line says so.
    pub(crate) fn listen(&self) -> Option<String> {
        self.listen.clone().or_else(|| self.port.map(|port| format!("127.0.0.1:{port}")))
    }

    pub(crate) async fn run(self, context: Context) -> Result<Exit> {
        // Bound first: a port that is taken must not leave a new larder behind.
        let config = &context.config;
        let listener = bind(&config.listen, "listen")?;
        let metrics = config.metrics_listen.as_ref().map(|place| bind(place, "metrics_listen")).transpose()?;
        raise_open_files();
        if self.rebuild && open::lacks_database(&context).await? {
            rebuild::rebuild(&context, &Rebuild::default()).await?;
        }
        let mut larder = open::open(&context, Access::Serve).await?;
        let ended = serve(&context, &mut larder, listener, metrics).await;
        setup_link::forget(&context.dir);
        larder.close().await;
        ended.map(|()| Exit::Done)
    }
}

async fn serve(
    context: &Context,
    larder: &mut Larder,
    listener: TcpListener,
    metrics: Option<TcpListener>,
) -> Result<()> {
    let output = &context.output;
    let config = server_config(&context.config, &listener, larder)?;
    let mut server = Server::on(listener, config, larder.files.clone(), Handle::current())?;
    if let Some(listener) = metrics {
        output.message(format_args!("metrics at http://{}/metrics, for whoever reaches it", listener.local_addr()?));
        server = server.with_metrics_on(listener)?;
    }
    if larder.is_first()
        && let Err(error) = context.dir.say_where(server.addr())
    {
        tracing::warn!(%error, "`larder setup-link` can't be told where this server listens");
    }
    greet(larder, context, server.addr());
    setup_link::offer(&larder.files, &context.dir, server.addr(), output).await;
    until_stopped(server, larder.buried(), output).await
}

/// Serves until a signal asks for an end; then what is under way may finish, unless a second signal comes. A process that others have taken
/// for dead ends as well: started again, it takes part again.
async fn until_stopped(server: Server, buried: impl Future<Output = String>, output: &Output) -> Result<()> {
    let (mut terminate, mut interrupt) = (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
    let (address, handle) = (server.addr(), server.handle());
    let mut serving = tokio::spawn(server.run());
    output.always(format_args!("listening on http://{address}"));
    let why = tokio::select! {
        biased;
        _ = terminate.recv() => None,
        _ = interrupt.recv() => None,
        why = buried => Some(why),
        ended = &mut serving => return Ok(ended??),
    };
    output.message("stopping: what is under way may end; a second signal breaks it off");
    tokio::select! {
        biased;
        _ = terminate.recv() => serving.abort(),
        _ = interrupt.recv() => serving.abort(),
        () = handle.drain() => {}
    }
    // It has ended when nothing of it is left, not when it was told to.
    match serving.await {
        Err(error) if error.is_cancelled() => {}
        ended => ended??,
    }
    why.map_or(Ok(()), |why| {
        Err(refuse(format_args!("this server had to end: {why}"), "start it again: it takes part again then"))
    })
}

fn bind(place: &str, key: &str) -> Result<TcpListener> {
    TcpListener::bind(place).map_err(|error| config::cannot_listen(place, key, &error))
}

/// As many open files as this user may have: each connection and each download holds some.
fn raise_open_files() {
    let mut limit = getrlimit(Resource::Nofile);
    limit.current = limit.maximum;
    // Where it may not be raised, the server has what it had.
    let _ = setrlimit(Resource::Nofile, limit);
}

fn server_config(config: &Config, listener: &TcpListener, larder: &mut Larder) -> Result<ServerConfig> {
    let (set, default) = (&config.limits, Limits::default());
    let limits = Limits {
        uploads_per_user: set.uploads_per_user.unwrap_or(default.uploads_per_user),
        body_idle: set.body_idle_seconds.map_or(default.body_idle, Duration::from_secs),
        body_rate_min: set.body_rate_min.unwrap_or(default.body_rate_min),
        json_bytes_max: set.json_bytes_max.unwrap_or(default.json_bytes_max),
        head_bytes_max: set.head_bytes_max.unwrap_or(default.head_bytes_max),
        drain: set.drain_seconds.map_or(default.drain, Duration::from_secs),
        signed_url: set.signed_url_seconds.map_or(default.signed_url, Duration::from_secs),
        ..default
    };
    let metrics_token = config.metrics_token();
    let proxies = config.proxies();
    let (registry, inspectors) = (mem::take(&mut larder.registry), mem::take(&mut larder.inspectors));
    Ok(ServerConfig {
        listen: listener.local_addr()?,
        workers: 0,
        public_url: config.public_url.clone(),
        limits,
        proxies,
        metrics_token,
        registry,
        inspectors,
        renditions: config.rendition_settings(),
        recipe_keys: config.recipe_keys(),
        imports: config.fetcher()?,
    })
}

/// What a first start and a recovery have to say.
fn greet(larder: &Larder, context: &Context, address: SocketAddr) {
    let Context { dir, config, output, .. } = context;
    if let Some(unused) = config.told_unused() {
        output.message(unused);
    }
    open::warn_of_overlay(dir, output);
    larder.tell(output);
    if !address.ip().is_loopback() {
        output.message(format_args!(
            "warning: {address} can be reached from other machines and speaks plain HTTP; put a proxy with TLS before it"
        ));
    }
    if larder.fresh {
        output.message(banner(dir, address));
    }
}

/// What a first start says: where everything is, and what to do next.
fn banner(dir: &DataDir, address: SocketAddr) -> String {
    let (there, named, secrets) = (dir.path().display(), quoted(dir.path()), dir.secrets());
    let free = Space::of(dir.path()).map(|space| format!(" ({} free)", output::size(space.free))).unwrap_or_default();
    format!(
        "a new larder\n  \
           data    {there}{free}\n  \
           secret  {} (back it up apart from the files)\n  \
           API     http://{address}/api/v1\n  \
           health  http://{address}/health/ready\n  \
           next    open the set-up link, or: `larder user add NAME --admin --data {named}`\n  \
           then    curl http://{address}/api/v1/auth/login -H 'Content-Type: application/json' \
                   -d '{{\"username\": \"NAME\", \"password\": \"…\"}}'",
        secrets.display()
    )
}
