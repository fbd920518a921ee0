//! Whether an address is a public one, by IANA's registries of special-purpose addresses. IPv4 is public but for a list. IPv6 is
//! not, but for 2000::/3 without a list: nothing else was ever handed out.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// Blocks of IPv4 that are not public: first address, bits of the prefix.
const IPV4_CLOSED: [(Ipv4Addr, u32); 17] = [
    (Ipv4Addr::new(0, 0, 0, 0), 8),          // this network
    (Ipv4Addr::new(10, 0, 0, 0), 8),         // private
    (Ipv4Addr::new(100, 64, 0, 0), 10),      // behind a carrier's NAT
    (Ipv4Addr::new(127, 0, 0, 0), 8),        // loopback
    (Ipv4Addr::new(168, 63, 129, 16), 32),   // public by its number; on Azure it is the host of the virtual machine
    (Ipv4Addr::new(169, 254, 0, 0), 16),     // link-local; metadata of most clouds
    (Ipv4Addr::new(172, 16, 0, 0), 12),      // private
    (Ipv4Addr::new(192, 0, 0, 0), 24),       // protocol assignments; metadata of Oracle's cloud
    (Ipv4Addr::new(192, 0, 2, 0), 24),       // documentation
    (Ipv4Addr::new(192, 88, 99, 0), 24),     // relays of 6to4
    (Ipv4Addr::new(192, 168, 0, 0), 16),     // private
    (Ipv4Addr::new(198, 18, 0, 0), 15),      // benchmarks
    (Ipv4Addr::new(198, 51, 100, 0), 24),    // documentation
    (Ipv4Addr::new(203, 0, 113, 0), 24),     // documentation
    (Ipv4Addr::new(224, 0, 0, 0), 4),        // multicast
    (Ipv4Addr::new(240, 0, 0, 0), 4),        // reserved
    (Ipv4Addr::new(255, 255, 255, 255), 32), // broadcast
];

/// Blocks of 2000::/3 that are not public. Tunnels into IPv4 are among them, whatever address they lead to: nobody serves from
/// there any more.
const IPV6_CLOSED: [(Ipv6Addr, u32); 4] = [
    (Ipv6Addr::new(0x2001, 0, 0, 0, 0, 0, 0, 0), 23), // protocol assignments: Teredo, benchmarks, ORCHID
    (Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 0), 32), // documentation
    (Ipv6Addr::new(0x2002, 0, 0, 0, 0, 0, 0, 0), 16), // 6to4
    (Ipv6Addr::new(0x3fff, 0, 0, 0, 0, 0, 0, 0), 20), // documentation
];

/// Global unicast.
const IPV6_OPEN: (Ipv6Addr, u32) = (Ipv6Addr::new(0x2000, 0, 0, 0, 0, 0, 0, 0), 3);

/// The well-known prefix of NAT64: where a network has no IPv4 every name leads there, so what it stands for counts. The local one
/// (64:ff9b:1::/48) is closed: each network writes IPv4 into it in its own way.
const NAT64: (Ipv6Addr, u32) = (Ipv6Addr::new(0x64, 0xff9b, 0, 0, 0, 0, 0, 0), 96);

/// Whether content may be fetched from `address`. An IPv4 address in the clothes of IPv6 is judged as what it is.
pub(crate) fn is_public(address: IpAddr) -> bool {
    match address.to_canonical() {
        IpAddr::V4(address) => ipv4_is_public(address),
        IpAddr::V6(address) => ipv6_is_public(address),
    }
}

fn ipv4_is_public(address: Ipv4Addr) -> bool {
    !IPV4_CLOSED.iter().any(|&(block, bits)| (address.to_bits() ^ block.to_bits()).leading_zeros() >= bits)
}

fn ipv6_is_public(address: Ipv6Addr) -> bool {
    let is_in = |(block, bits): (Ipv6Addr, u32)| (address.to_bits() ^ block.to_bits()).leading_zeros() >= bits;
    if is_in(NAT64) {
        let [.., a, b, c, d] = address.octets();
        return ipv4_is_public(Ipv4Addr::new(a, b, c, d));
    }
    is_in(IPV6_OPEN) && !IPV6_CLOSED.into_iter().any(is_in) && !is_isatap(address)
}

/// Tunnels within a site (RFC 5214), known by the lower half of the address.
fn is_isatap(address: Ipv6Addr) -> bool {
    let segments = address.segments();
    segments[4] & !0x0200 == 0 && segments[5] == 0x5efe
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const PUBLIC: &[&str] = &[
        "1.1.1.1",
        "8.8.8.8",
        "9.255.255.255",
        "11.0.0.0",
        "100.63.255.255",
        "100.128.0.0",
        "126.255.255.255",
        "128.0.0.1",
        "168.63.129.15",
        "168.63.129.17",
        "169.253.255.255",
        "169.255.0.0",
        "172.15.255.255",
        "172.32.0.0",
        "191.255.255.255",
        "192.0.1.0",
        "192.0.3.0",
        "192.88.98.255",
        "192.167.255.255",
        "192.169.0.0",
        "198.17.255.255",
        "198.20.0.0",
        "198.51.99.255",
        "203.0.114.0",
        "223.255.255.255",
        "::ffff:8.8.8.8",
        "64:ff9b::8.8.8.8",
        "64:ff9b::808:808",
        "2000::1",
        "2001:200::1",
        "2001:4860:4860::8888",
        "2001:db7:ffff::1",
        "2001:db9::1",
        "2003::1",
        "2606:4700:4700::1111",
        "2a00:1450:4001::1",
        "3ffe:ffff::1",
        "3fff:1000::1",
    ];

    const CLOSED: &[&str] = &[
        "0.0.0.0",
        "0.255.255.255",
        "10.0.0.0",
        "10.255.255.255",
        "100.64.0.0",
        "100.100.100.200",
        "100.127.255.255",
        "127.0.0.0",
        "127.0.0.1",
        "127.255.255.255",
        "168.63.129.16",
        "169.254.0.0",
        "169.254.169.254",
        "169.254.255.255",
        "172.16.0.0",
        "172.31.255.255",
        "192.0.0.0",
        "192.0.0.9",
        "192.0.0.192",
        "192.0.0.255",
        "192.0.2.1",
        "192.88.99.1",
        "192.168.0.0",
        "192.168.255.255",
        "198.18.0.0",
        "198.19.255.255",
        "198.51.100.1",
        "203.0.113.1",
        "224.0.0.1",
        "239.255.255.255",
        "240.0.0.1",
        "255.255.255.254",
        "255.255.255.255",
        // IPv4 in other clothes: mapped, compatible, translated.
        "::ffff:0.0.0.0",
        "::ffff:10.1.2.3",
        "::ffff:127.0.0.1",
        "::ffff:7f00:1",
        "::ffff:169.254.169.254",
        "::ffff:192.168.1.1",
        "::127.0.0.1",
        "::8.8.8.8",
        "::ffff:0:127.0.0.1",
        "::ffff:0:8.8.8.8",
        // NAT64, well-known and local.
        "64:ff9b::7f00:1",
        "64:ff9b::10.0.0.1",
        "64:ff9b::169.254.169.254",
        "64:ff9b::1:808:808",
        "64:ff9b:1::7f00:1",
        "64:ff9b:1::8.8.8.8",
        "64:ff9b:1:ffff::1",
        // 6to4, Teredo (the client's address stands inverted at its end), ISATAP.
        "2002:7f00:1::",
        "2002:a00:1::1",
        "2002:a9fe:a9fe::1",
        "2002:808:808::1",
        "2001::1",
        "2001:0:4136:e378:8000:63bf:80ff:fffe",
        "2001:0:808:808::f7f7:f7f7",
        "2600::5efe:10.0.0.1",
        "2600::200:5efe:8.8.8.8",
        // All else of IPv6.
        "::",
        "::1",
        "::2",
        "100::1",
        "1fff:ffff::1",
        "2001:2::1",
        "2001:10::1",
        "2001:20::1",
        "2001:1ff:ffff::1",
        "2001:db8::1",
        "2001:db8:ffff::1",
        "3fff::1",
        "3fff:fff:ffff::1",
        "4000::1",
        "5f00::1",
        "fc00::1",
        "fd00:ec2::254",
        "fdff:ffff::1",
        "fe80::1",
        "febf::1",
        "fec0::1",
        "feff::1",
        "ff02::1",
        "ff0e::1",
        "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff",
    ];

    #[test]
    fn an_address_is_public_or_refused_by_its_block() {
        for (list, public) in [(PUBLIC, true), (CLOSED, false)] {
            for text in list {
                assert_eq!(is_public(text.parse().unwrap()), public, "{text}");
            }
        }
    }

    #[test]
    fn the_first_and_the_last_address_of_a_closed_block_are_closed() {
        for (block, bits) in IPV4_CLOSED {
            let last = block.to_bits() | u32::MAX.checked_shr(bits).unwrap_or(0);
            assert_eq!(
                block.to_bits() & u32::MAX.checked_shr(bits).unwrap_or(0),
                0,
                "{block}/{bits} begins at its prefix"
            );
            assert!(!ipv4_is_public(block) && !ipv4_is_public(last.into()), "{block}/{bits}");
        }
        for (block, bits) in IPV6_CLOSED {
            let last = block.to_bits() | (u128::MAX >> bits);
            assert_eq!(block.to_bits() & (u128::MAX >> bits), 0, "{block}/{bits} begins at its prefix");
            assert!(!ipv6_is_public(block) && !ipv6_is_public(last.into()), "{block}/{bits}");
        }
    }

    proptest! {
        #[test]
        fn what_the_standard_library_calls_special_is_refused_in_any_clothes(bits: u32) {
            let plain = Ipv4Addr::from(bits);
            let special = plain.is_private()
                || plain.is_loopback()
                || plain.is_link_local()
                || plain.is_broadcast()
                || plain.is_documentation()
                || plain.is_multicast()
                || plain.is_unspecified();
            let public = is_public(plain.into());
            prop_assert!(!(special && public), "{plain}");
            prop_assert_eq!(is_public(plain.to_ipv6_mapped().into()), public);
            let nat64 = Ipv6Addr::from(NAT64.0.to_bits() | u128::from(bits));
            prop_assert_eq!(is_public(nat64.into()), public);
            let sixtofour = Ipv6Addr::from((0x2002 << 112) | (u128::from(bits) << 80));
            prop_assert!(!is_public(sixtofour.into()));
        }

        #[test]
        fn local_addresses_of_ipv6_are_refused(bits: u128) {
            let address = Ipv6Addr::from(bits);
            if address.is_unique_local() || address.is_unicast_link_local() || address.is_multicast() {
                prop_assert!(!is_public(address.into()), "{address}");
            }
        }
    }
}
