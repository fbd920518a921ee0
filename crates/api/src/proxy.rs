//! [`Proxies`]: whose word counts on where a request comes from.

use actix_web::{
    HttpRequest,
    http::header::{HeaderMap, HeaderValue},
};
use serde::{Deserialize, Serialize};
use std::{
    fmt,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    str::FromStr,
};

/// The proxies before a server. Anybody can write a header: what one says of its client is believed of these alone.
#[derive(Clone, Debug, Default)]
pub struct Proxies {
    /// Where they are.
    pub networks: Vec<Network>,
    /// The header that they set. The other is not read: a proxy that does not know it passes on what its client wrote.
    pub header: ForwardedBy,
}

/// The header in which a proxy says whom it speaks for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum ForwardedBy {
    /// `X-Forwarded-For`.
    #[default]
    XForwardedFor,
    /// `Forwarded` (RFC 7239).
    Forwarded,
}

impl ForwardedBy {
    fn name(self) -> &'static str {
        match self {
            Self::XForwardedFor => "x-forwarded-for",
            Self::Forwarded => "forwarded",
        }
    }
}

/// Addresses that begin alike, such as `10.0.0.0/8`; or one alone. IPv4 addresses in the clothes of IPv6 are taken for what they are.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(try_from = "String", into = "String")]
pub struct Network {
    address: IpAddr,
    bits: u8,
}

/// Why a text is no [`Network`].
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NoNetwork {
    /// It is nothing of the kind, or all addresses.
    #[error(
        "`{0}` is no network, such as 10.0.0.0/8 or 2001:db8::/32, and no address; one of all addresses would believe everybody"
    )]
    Other(String),
    /// It is one address with the size of a network.
    #[error("`{0}` is an address within a network: write {1} for the network, or the address alone")]
    Within(String, Network),
}

impl FromStr for Network {
    type Err = NoNetwork;

    fn from_str(text: &str) -> Result<Self, NoNetwork> {
        let none = || NoNetwork::Other(text.into());
        let (address, bits) = text.split_once('/').map_or((text, None), |(address, bits)| (address, Some(bits)));
        let told: IpAddr = address.parse().map_err(|_| none())?;
        let address = told.to_canonical();
        let (most, clothes) = (width(address), width(told) - width(address));
        let bits = bits.map_or(Ok(most + clothes), str::parse).map_err(|_| none())?;
        let bits = bits.checked_sub(clothes).filter(|bits| (1..=most).contains(bits)).ok_or_else(none)?;
        let network = Self { address: first_of(address, bits), bits };
        if network.address == address { Ok(network) } else { Err(NoNetwork::Within(text.into(), network)) }
    }
}

/// How many bits an address has.
fn width(address: IpAddr) -> u8 {
    if address.is_ipv4() { 32 } else { 128 }
}

/// The first of the addresses that begin with the same `bits`, of which there is at least one.
fn first_of(address: IpAddr, bits: u8) -> IpAddr {
    match address {
        IpAddr::V4(v4) => Ipv4Addr::from_bits(v4.to_bits() & (u32::MAX << (32 - bits))).into(),
        IpAddr::V6(v6) => Ipv6Addr::from_bits(v6.to_bits() & (u128::MAX << (128 - bits))).into(),
    }
}

impl TryFrom<String> for Network {
    type Error = NoNetwork;

    fn try_from(text: String) -> Result<Self, NoNetwork> {
        text.parse()
    }
}

impl From<Network> for String {
    fn from(network: Network) -> Self {
        network.to_string()
    }
}

impl fmt::Display for Network {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.address, self.bits)
    }
}

impl Network {
    /// Whether an address that is no IPv4 one in the clothes of IPv6 lies in it.
    fn holds(&self, address: IpAddr) -> bool {
        self.address.is_ipv4() == address.is_ipv4() && first_of(address, self.bits) == self.address
    }
}

impl Proxies {
    /// Whether there are any.
    pub(crate) fn are_known(&self) -> bool {
        !self.networks.is_empty()
    }

    /// Where a request comes from.
    pub(crate) fn client(&self, request: &HttpRequest) -> IpAddr {
        let peer = request.peer_addr().map_or(IpAddr::V4(Ipv4Addr::UNSPECIFIED), |peer| peer.ip());
        self.client_behind(peer, request.headers())
    }

    /// Each proxy tells last whom it speaks for, so it is read from the end: up to the first who is none of these proxies, or to what
    /// is no address. Everything before that anybody may have written.
    fn client_behind(&self, peer: IpAddr, headers: &HeaderMap) -> IpAddr {
        let mut client = peer.to_canonical();
        if !self.trusts(client) {
            return client;
        }
        let lines: Vec<&[u8]> = headers.get_all(self.header.name()).map(HeaderValue::as_bytes).collect();
        let hops = lines.into_iter().flat_map(|line| match self.header {
            ForwardedBy::XForwardedFor => line.split(|byte| *byte == b',').collect(),
            // What is no list says nothing, and what stands before it is not read.
            ForwardedBy::Forwarded => outside_quotes(line, b',').unwrap_or_else(|| vec![&b""[..]]),
        });
        for hop in hops.collect::<Vec<_>>().into_iter().rev() {
            let told = if self.header == ForwardedBy::Forwarded { told_for(hop) } else { Some(hop) };
            let told = told.and_then(|told| std::str::from_utf8(told).ok());
            let Some(address) = told.and_then(address) else { break };
            client = address;
            if !self.trusts(client) {
                break;
            }
        }
        client
    }

    fn trusts(&self, address: IpAddr) -> bool {
        self.networks.iter().any(|network| network.holds(address))
    }
}

/// The parts between separators, but for those within quotes (RFC 9110, section 5.6.4); `None` where a quote is left open.
fn outside_quotes(text: &[u8], separator: u8) -> Option<Vec<&[u8]>> {
    let (mut parts, mut from, mut quoted, mut escaped) = (vec![], 0, false, false);
    for (at, byte) in text.iter().enumerate() {
        match byte {
            _ if escaped => escaped = false,
            b'\\' if quoted => escaped = true,
            b'"' => quoted = !quoted,
            _ if *byte == separator && !quoted => {
                parts.push(&text[from..at]);
                from = at + 1;
            }
            _ => {}
        }
    }
    parts.push(&text[from..]);
    (!quoted).then_some(parts)
}

/// What an element of `Forwarded` says that it is for; `None` where it does not, or more than once.
fn told_for(element: &[u8]) -> Option<&[u8]> {
    let pairs = outside_quotes(element, b';')?;
    let mut told = pairs.into_iter().filter_map(|pair| {
        let (name, node) = pair.split_at_checked(pair.iter().position(|byte| *byte == b'=')?)?;
        name.trim_ascii().eq_ignore_ascii_case(b"for").then(|| node[1..].trim_ascii())
    });
    let node = told.next().filter(|_| told.next().is_none())?;
    Some(node.strip_prefix(b"\"").and_then(|node| node.strip_suffix(b"\"")).unwrap_or(node))
}

/// An address, with or without a port, and with or without the zone (RFC 4007, section 11) that only the proxy's own machine knows.
fn address(text: &str) -> Option<IpAddr> {
    let text = text.trim();
    let bare = text.strip_prefix('[').and_then(|text| text.strip_suffix(']')).unwrap_or(text);
    let without_zone =
        || bare.split_once('%').and_then(|(address, _)| address.parse::<Ipv6Addr>().ok()).map(IpAddr::V6);
    let with_port = || text.parse::<SocketAddr>().ok().map(|address| address.ip());
    bare.parse().ok().or_else(without_zone).or_else(with_port).map(|address: IpAddr| address.to_canonical())
}

#[cfg(test)]
mod tests {
    use super::*;
    use actix_web::http::header::HeaderName;

    fn proxies(header: ForwardedBy) -> Proxies {
        let networks = ["127.0.0.1", "10.0.0.0/8", "2001:db8::/32"].map(|network| network.parse().unwrap()).into();
        Proxies { networks, header }
    }

    fn client(proxies: &Proxies, peer: &str, lines: &[(&'static str, &str)]) -> String {
        let mut headers = HeaderMap::new();
        for (name, value) in lines {
            headers.append(HeaderName::from_static(name), HeaderValue::from_bytes(value.as_bytes()).unwrap());
        }
        proxies.client_behind(peer.parse().unwrap(), &headers).to_string()
    }

    #[test]
    fn a_proxy_is_believed_where_it_is_known_and_nobody_else_is() {
        const FOR: &str = "x-forwarded-for";
        let known = proxies(ForwardedBy::XForwardedFor);
        for (peer, lines, from, why) in [
            ("192.0.2.9", &[(FOR, "192.0.2.1")][..], "192.0.2.9", "a client says so"),
            ("127.0.0.1", &[(FOR, "192.0.2.1")], "192.0.2.1", "a proxy says so"),
            ("::ffff:127.0.0.1", &[(FOR, "::ffff:192.0.2.1")], "192.0.2.1", "in the clothes of IPv6"),
            ("127.0.0.1", &[], "127.0.0.1", "it says nothing"),
            ("127.0.0.1", &[(FOR, "198.51.100.1, 192.0.2.1")], "192.0.2.1", "the client wrote the first"),
            ("127.0.0.1", &[(FOR, "198.51.100.1"), (FOR, "192.0.2.1")], "192.0.2.1", "in a line of its own"),
            ("127.0.0.1", &[(FOR, "192.0.2.1, 10.1.2.3, 2001:db8::1")], "192.0.2.1", "behind further proxies"),
            ("127.0.0.1", &[(FOR, "10.0.0.1, 10.1.2.3")], "10.0.0.1", "a client within the network"),
            ("127.0.0.1", &[(FOR, "192.0.2.1:4711")], "192.0.2.1", "with a port"),
            ("127.0.0.1", &[(FOR, "[2001:db9::1]:4711")], "2001:db9::1", "with a port"),
            ("127.0.0.1", &[(FOR, "2001:db9::1")], "2001:db9::1", "without"),
            ("127.0.0.1", &[(FOR, "fe80::1%eth0")], "fe80::1", "with a zone"),
            (
                "127.0.0.1",
                &[(FOR, "192.0.2.1, unknown, 10.0.0.1")],
                "10.0.0.1",
                "what is before no address is not read",
            ),
            ("127.0.0.1", &[(FOR, "192.0.2.1, \u{fc}")], "127.0.0.1", "no text at all"),
            ("127.0.0.1", &[(FOR, "\u{fc}, 192.0.2.1")], "192.0.2.1", "what a client wrote hides nothing"),
            ("127.0.0.1", &[("forwarded", "for=192.0.2.1")], "127.0.0.1", "in the header that it does not set"),
        ] {
            assert_eq!(client(&known, peer, lines), from, "{why}");
        }
        let nobody = Proxies::default();
        assert_eq!(client(&nobody, "127.0.0.1", &[(FOR, "192.0.2.1")]), "127.0.0.1");
    }

    #[test]
    fn what_rfc_7239_says_is_read_where_the_proxies_say_it_so() {
        let known = proxies(ForwardedBy::Forwarded);
        for (told, from) in [
            ("for=192.0.2.1", "192.0.2.1"),
            ("For=\"[2001:db9:cafe::17]:4711\"", "2001:db9:cafe::17"),
            ("for=198.51.100.1, proto=https;by=10.0.0.1; for=\"192.0.2.1:80\"", "192.0.2.1"),
            ("for=192.0.2.1, for=10.0.0.7", "192.0.2.1"),
            ("for=192.0.2.1, for=_hidden", "127.0.0.1"),
            ("for=192.0.2.1, for=unknown", "127.0.0.1"),
            ("for=192.0.2.1, by=10.0.0.1", "127.0.0.1"),
            ("192.0.2.1", "127.0.0.1"),
            ("proto=http;host=\"a,for=198.51.100.9;x=\";for=192.0.2.1", "192.0.2.1"),
            ("for=192.0.2.1;host=\"a,for=198.51.100.9;x=\"", "192.0.2.1"),
            ("host=\"a\\\",for=198.51.100.9\";for=192.0.2.1", "192.0.2.1"),
            ("for=192.0.2.1;for=198.51.100.9", "127.0.0.1"),
            ("for=\", for=192.0.2.1", "127.0.0.1"),
        ] {
            assert_eq!(client(&known, "127.0.0.1", &[("forwarded", told)]), from, "{told}");
        }
        assert_eq!(client(&known, "127.0.0.1", &[("x-forwarded-for", "192.0.2.1")]), "127.0.0.1");
    }

    #[test]
    fn a_network_holds_what_begins_like_it() {
        let holds = |network: &str, address: &str| {
            let network: Network = network.parse().unwrap();
            network.holds(address.parse().unwrap())
        };
        for (network, inside, outside) in [
            ("10.0.0.0/8", "10.255.0.1", "11.0.0.1"),
            ("192.0.2.128/25", "192.0.2.255", "192.0.2.127"),
            ("192.0.2.7", "192.0.2.7", "192.0.2.6"),
            ("2001:db8::/33", "2001:db8:7fff::1", "2001:db8:8000::1"),
            ("::1", "::1", "::2"),
            ("128.0.0.0/1", "255.0.0.1", "::1"),
            ("::ffff:10.0.0.0/104", "10.255.0.1", "11.0.0.1"),
            ("::ffff:192.0.2.7", "192.0.2.7", "192.0.2.6"),
        ] {
            assert!(holds(network, inside) && !holds(network, outside), "{network}");
        }
        for none in [
            "",
            "proxy",
            "10.0.0.0/33",
            "::/129",
            "0.0.0.0/0",
            "::/0",
            "10.0.0.0/",
            "10.0.0.0/-1",
            "10.0.0/8",
            "::ffff:10.0.0.0/96",
            "::ffff:10.0.0.0/8",
        ] {
            let refused = none.parse::<Network>().unwrap_err().to_string();
            assert!(refused.contains(&format!("`{none}`")), "{refused}");
        }
    }

    #[test]
    fn an_address_with_the_size_of_a_network_is_refused_with_the_network() {
        for (within, network) in [
            ("10.1.2.3/8", "10.0.0.0/8"),
            ("192.0.2.129/25", "192.0.2.128/25"),
            ("2001:db8::1/32", "2001:db8::/32"),
            ("::ffff:10.1.2.3/104", "10.0.0.0/8"),
        ] {
            let refused = within.parse::<Network>().unwrap_err().to_string();
            assert!(refused.contains(&format!("write {network} for")), "{refused}");
        }
    }
}
