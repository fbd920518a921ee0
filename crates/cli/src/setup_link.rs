//! `larder setup-link`, and the link that a server offers at its start: who opens it first becomes the first admin.

use crate::{
    Context,
    config::Config,
    data_dir::{DataDir, write_private},
    hint::quoted,
    open::{self, Access},
    output::{Exit, Output, refuse},
};
use anyhow::Result;
use clap::Args;
use larder_files::{Error, Files, SETUP_LINK_LASTS};
use serde_json::json;
use std::{
    fs,
    io::{self, IsTerminal},
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, ToSocketAddrs},
};

/// Print a new link to make the first admin with.
///
/// It counts once, for 30 minutes, and the one before counts no more. Exit 1 once there is an admin who can log in.
#[derive(Args)]
pub(crate) struct SetupLink {}

impl SetupLink {
    pub(crate) async fn run(self, context: Context) -> Result<Exit> {
        let output = &context.output;
        let (address, runs) = address(&context.dir, &context.config)?;
        open::with(&context, Access::Change, async |files| {
            let link = match files.setup_token().await {
                Err(Error::Gone) => {
                    forget(&context.dir);
                    anyhow::bail!("this larder is set up: `larder user list` shows who may log in");
                }
                token => link(address, &token?),
            };
            forget(&context.dir);
            if output.json {
                output.record(&json!({ "url": link, "expires_in": SETUP_LINK_LASTS.as_secs() }))?;
            } else {
                output.line(&link)?;
            }
            output.flush()?;
            if !runs {
                output.message("no server runs here: `larder serve`, then open the link");
            }
            Ok(Exit::Done)
        })
        .await
    }
}

/// Offers a link where there is no admin yet: on a terminal, or in a file of this user's alone, since what is not a terminal is a log.
/// A server that can't offer one serves.
pub(crate) async fn offer(files: &Files, dir: &DataDir, address: SocketAddr, output: &Output) {
    if let Err(error) = try_to_offer(files, dir, address, output).await {
        tracing::warn!(error = %crate::output::chain(error.as_ref()), "no set-up link can be made now");
    }
}

async fn try_to_offer(files: &Files, dir: &DataDir, address: SocketAddr, output: &Output) -> Result<()> {
    if files.is_set_up().await? {
        forget(dir);
        return Ok(());
    }
    if !files.unread_stores().is_empty() {
        return Ok(());
    }
    let link = link(address, &files.setup_token().await?);
    let minutes = SETUP_LINK_LASTS.as_secs() / 60;
    if io::stdout().is_terminal() {
        output
            .line(format_args!("there is no admin yet; set up here, once and within {minutes} minutes:\n  {link}"))?;
        output.flush()?;
        return Ok(());
    }
    write_private(&dir.setup_link(), &format!("{link}\n"))?;
    output.message(format_args!(
        "there is no admin yet: the set-up link is in {} (once, within {minutes} minutes); \
         `larder setup-link --data {}` prints a new one",
        dir.setup_link().display(),
        quoted(dir.path())
    ));
    Ok(())
}

/// Takes the file away whose link counts no more. Where it can't go it harms nobody.
pub(crate) fn forget(dir: &DataDir) {
    drop(fs::remove_file(dir.setup_link()));
}

/// In the fragment, which no browser sends: the token is in no log.
fn link(address: SocketAddr, token: &str) -> String {
    format!("http://{}/setup#{token}", reachable(address))
}

/// Where the server that runs here listens, or would; and whether one runs.
fn address(dir: &DataDir, config: &Config) -> Result<(SocketAddr, bool)> {
    if let Some(address) = dir.served_at() {
        return Ok((address, true));
    }
    let would = config.listen.to_socket_addrs().ok().and_then(|mut all| all.next()).filter(|would| would.port() != 0);
    let would = would.ok_or_else(|| {
        let what = format!("no server runs here, and `{}` does not tell where one would listen", config.listen);
        refuse(what, "start it first: `larder serve`")
    })?;
    Ok((would, false))
}

/// An address that a browser of this machine can open.
fn reachable(address: SocketAddr) -> SocketAddr {
    let ip = match address.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(ip) if ip.is_unspecified() => Ipv6Addr::LOCALHOST.into(),
        ip => ip,
    };
    SocketAddr::new(ip, address.port())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_link_leads_to_this_machine_and_keeps_its_token_in_the_fragment() {
        for (address, link_to) in [
            ("127.0.0.1:8080", "http://127.0.0.1:8080/setup#t"),
            ("0.0.0.0:80", "http://127.0.0.1:80/setup#t"),
            ("[::]:1", "http://[::1]:1/setup#t"),
            ("192.0.2.1:9", "http://192.0.2.1:9/setup#t"),
        ] {
            assert_eq!(link(address.parse().unwrap(), "t"), link_to);
        }
    }
}
