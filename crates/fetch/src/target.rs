//! One place to ask: a URL that was read once and found fit, apart from its address. Who connects and who is asked for both come
//! from this one reading, so no second opinion about a host's spelling can matter.

use crate::{Cause, Policy};
use std::net::IpAddr;
use tokio_rustls::rustls::pki_types::{DnsName, ServerName};
use url::{Host, Position, Url};

/// The ports of the web.
pub(crate) const PORTS: [u16; 2] = [80, 443];

/// Longer ones are refused before they are read.
const URL_BYTES_MAX: usize = 8 << 10;

/// What is asked for and whom.
#[derive(Debug)]
pub(crate) struct Target(Url);

/// Who is to be connected to.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Peer<'a> {
    Name(&'a str),
    Address(IpAddr),
}

impl Target {
    pub(crate) fn parse(text: &str, policy: &Policy) -> Result<Self, Cause> {
        Self::checked(short(text).and_then(|text| Url::parse(text).ok()).ok_or(Cause::Url)?, policy)
    }

    /// Where a redirect leads from here.
    pub(crate) fn redirected(&self, location: &str, policy: &Policy) -> Result<Self, Cause> {
        let url = short(location).and_then(|text| self.0.join(text).ok()).ok_or(Cause::Location)?;
        let next = Self::checked(url, policy)?;
        if self.is_tls() && !next.is_tls() { Err(Cause::Downgrade) } else { Ok(next) }
    }

    fn checked(url: Url, policy: &Policy) -> Result<Self, Cause> {
        match url.scheme() {
            "https" => {}
            "http" if policy.http => {}
            _ => return Err(Cause::Scheme),
        }
        if !url.username().is_empty() || url.password().is_some() {
            return Err(Cause::Credentials);
        }
        let target = Self(url);
        let port = target.port();
        // Before the name is looked up: who else may be asked at this port is seen at the address.
        if !PORTS.contains(&port) && !policy.permitted.iter().any(|address| address.port() == port) {
            return Err(Cause::Port(port));
        }
        Ok(target)
    }

    pub(crate) fn is_tls(&self) -> bool {
        self.0.scheme() == "https"
    }

    pub(crate) fn port(&self) -> u16 {
        self.0.port_or_known_default().expect("http and https have a default port")
    }

    pub(crate) fn peer(&self) -> Peer<'_> {
        match self.0.host().expect("http and https URLs have a host") {
            Host::Domain(name) => Peer::Name(name),
            Host::Ipv4(address) => Peer::Address(address.into()),
            Host::Ipv6(address) => Peer::Address(address.into()),
        }
    }

    /// Whom the server must prove to be.
    pub(crate) fn server_name(&self) -> Result<ServerName<'static>, Cause> {
        match self.peer() {
            Peer::Name(name) => {
                let name = name.strip_suffix('.').unwrap_or(name).to_owned();
                DnsName::try_from(name).map(ServerName::DnsName).map_err(|_| Cause::Url)
            }
            Peer::Address(address) => Ok(ServerName::IpAddress(address.into())),
        }
    }

    /// The value of `Host`.
    pub(crate) fn host(&self) -> &str {
        &self.0[Position::BeforeHost..Position::AfterPort]
    }

    /// What stands after the method: path and query, never a fragment.
    pub(crate) fn path_and_query(&self) -> &str {
        &self.0[Position::BeforePath..Position::AfterQuery]
    }

    pub(crate) fn last_segment(&self) -> Option<&str> {
        self.0.path_segments()?.next_back()
    }
}

fn short(text: &str) -> Option<&str> {
    (text.len() <= URL_BYTES_MAX).then_some(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<Target, Cause> {
        Target::parse(text, &Policy { http: true, ..Policy::default() })
    }

    #[test]
    fn a_number_in_any_spelling_is_the_address_that_it_stands_for() {
        let loopback =
            ["127.0.0.1", "2130706433", "0x7f.1", "0177.0.0.1", "127.1", "0x7F000001", "017700000001", "127.0.1"];
        let wide = ["１２７.０.０.１", "127。0。0。1", "%31%32%37.0.0.1", "127.0.0.1."];
        for host in loopback.into_iter().chain(wide) {
            let target = read(&format!("http://{host}/")).expect(host);
            assert_eq!(target.peer(), Peer::Address([127, 0, 0, 1].into()), "{host}");
            assert_eq!(target.host(), "127.0.0.1", "{host}");
        }
        for host in [
            "256.1.1.1",
            "1.2.3.4.5",
            "0x100000000",
            "127.0.0.1:99999",
            "[::1%25eth0]",
            "[::1",
            "",
            "a b",
            "a\0b",
            "a%2fb",
        ] {
            assert!(matches!(read(&format!("http://{host}/")), Err(Cause::Url)), "{host}");
        }
    }

    #[test]
    fn what_is_asked_for_has_no_fragment_and_no_credentials() {
        let target = read("https://Files.Example:443/a b/../c%2Fd?x=1&y#secret").unwrap();
        assert_eq!((target.host(), target.path_and_query()), ("files.example", "/c%2Fd?x=1&y"));
        assert_eq!((target.port(), target.last_segment()), (443, Some("c%2Fd")));
        assert_eq!(read("https://files.example:80").unwrap().host(), "files.example:80");
        for url in ["http://u@h/", "http://:p@h/", "http://u:p@h/", "https://h%40x@h/"] {
            assert!(matches!(read(url), Err(Cause::Credentials)), "{url}");
        }
    }

    #[test]
    fn other_schemes_ports_and_lengths_are_refused() {
        for url in ["ftp://h/", "file:///etc/passwd", "data:,x", "gopher://h/", "ws://h/", "javascript:0", "httpx://h/"]
        {
            assert!(matches!(read(url), Err(Cause::Scheme)), "{url}");
        }
        for port in [0, 22, 25, 79, 81, 442, 444, 8080, 8443, 65535] {
            assert!(matches!(read(&format!("https://h:{port}/")), Err(Cause::Port(it)) if it == port), "{port}");
        }
        assert!(matches!(Target::parse("http://h/", &Policy::default()), Err(Cause::Scheme)));
        for text in ["", "/a", "h", "//h/", "http:", &format!("http://h/{}", "a".repeat(URL_BYTES_MAX))] {
            assert!(matches!(read(text), Err(Cause::Url)), "{text}");
        }
    }

    #[test]
    fn a_redirect_is_read_from_where_it_was_met_and_never_leads_from_https_to_http() {
        let policy = Policy { http: true, ..Policy::default() };
        let at = read("https://a.example/x/y?z").unwrap();
        for (location, host, asked) in [
            ("w", "a.example", "/x/w"),
            ("/w?v", "a.example", "/w?v"),
            ("//b.example/w", "b.example", "/w"),
            ("https://b.example", "b.example", "/"),
            ("", "a.example", "/x/y?z"),
        ] {
            let next = at.redirected(location, &policy).unwrap();
            assert_eq!((next.host(), next.path_and_query()), (host, asked), "{location}");
        }
        assert!(matches!(at.redirected("http://a.example/", &policy), Err(Cause::Downgrade)));
        assert!(matches!(at.redirected("https://[", &policy), Err(Cause::Location)));
        assert!(matches!(at.redirected("file:///etc/passwd", &policy), Err(Cause::Scheme)));
        let plain = read("http://a.example/").unwrap();
        assert!(plain.redirected("https://a.example/", &policy).unwrap().is_tls());
    }

    #[test]
    fn a_server_proves_its_name_without_a_dot_at_the_end() {
        let name = |url| format!("{:?}", read(url).unwrap().server_name().unwrap());
        assert_eq!(name("https://a.example./"), name("https://a.example/"));
        assert_eq!(name("https://[::ffff:1.1.1.1]/"), format!("{:?}", ServerName::IpAddress(ipv6().into())));
    }

    fn ipv6() -> IpAddr {
        "::ffff:1.1.1.1".parse().unwrap()
    }
}
