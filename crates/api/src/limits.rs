//! [`Limits`]: every bound that HTTP sets by itself.

use larder_files::SessionTerms;
use std::time::Duration;

/// What a client may send, how slowly, and how often. A bucket's `max_bytes` bounds its files; it is not repeated here.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Bytes of a request's target, query included; more is 414. Default 8 KiB.
    pub target_bytes_max: usize,
    /// Bytes of a request's head; more is 431. Default 32 KiB.
    pub head_bytes_max: usize,
    /// Bytes of a JSON body; more is 413. Default 64 KiB.
    pub json_bytes_max: usize,
    /// Bytes of everything in a multipart body but the file; more is 413. Default 1 MiB.
    pub fields_bytes_max: usize,
    /// Bodies up to this many bytes are collected and passed on in one piece. Default 1 MiB.
    pub small_body_bytes: usize,
    /// Bytes in one block on the way from a connection to a store. Default 256 KiB.
    pub block_bytes: usize,
    /// Bytes in the blocks of all bodies under way, in each direction: their share shrinks as they become many, down to 64 KiB.
    /// Default 4 MiB.
    pub blocks_bytes_max: usize,
    /// Bytes that are held whole until they are sent, over all answers: small content (64 KiB to 1 MiB, which is read before its
    /// answer begins), and pages of lists, which count as if each record were as large as can be; who comes later waits for `held_wait`, then gets 503. Default 64 MiB, at least 1 MiB.
    pub held_bytes_max: usize,
    /// How long content waits for room in `held_bytes_max`. Default 5 s.
    pub held_wait: Duration,
    /// Connections at a time; more wait to be accepted. Default 8,192.
    pub connections_max: usize,
    /// How long a body may stand still before its request is 408, and a reader before its connection is cut. Default 30 s.
    pub body_idle: Duration,
    /// Bytes a second that a body must bring on average once `body_grace` has passed. Default 1,024.
    pub body_rate_min: u64,
    /// For how long a body may be slower than `body_rate_min`. Default 30 s.
    pub body_grace: Duration,
    /// How long a client may take to send a head. Default 30 s.
    pub head_timeout: Duration,
    /// How long a connection may rest between requests. Default 75 s.
    pub keep_alive: Duration,
    /// How long an unread body is still taken in after an answer, so that the client gets to read it; at least
    /// [`Limits::LINGER_MIN`]. Default 5 s.
    pub linger: Duration,
    /// How long a drain waits for what is under way. Default 30 s.
    pub drain: Duration,
    /// Lists of one user at a time; more is 429. Default 4.
    pub lists_per_user: usize,
    /// Uploads of one user at a time; more is 429. Default 128.
    pub uploads_per_user: usize,
    /// Failed log-ins of one account in a minute; more is 429. Default 10.
    pub log_ins_per_account: usize,
    /// Failed log-ins from one address in a minute; more is 429. Addresses of this machine are not counted: behind a proxy that does not
    /// say whom it speaks for ([`crate::Proxies`]) everybody has one. Default 60.
    pub log_ins_per_address: usize,
    /// How long an access token lasts. Default 15 minutes.
    pub access_token: Duration,
    /// How long a session goes on without being refreshed: each refresh token lasts so long. Default 7 days.
    pub refresh_token: Duration,
    /// How long a session goes on at all: then its user logs in anew. Default 30 days.
    pub session: Duration,
    /// How long signed URLs work where the request for them does not say. Default 1 hour.
    pub signed_url: Duration,
    /// Sessions of one user; one more ends the one that would end first. Default 64.
    pub sessions_per_user: usize,
}

impl Limits {
    /// Connections at a time where it listens for metrics alone: a scraper asks once in some seconds.
    pub(crate) const METRICS_CONNECTIONS_MAX: usize = 16;

    /// Imports from URLs at a time, of all users.
    pub(crate) const IMPORTS_MAX: usize = 8;

    /// The server's own clock ticks twice a second: of a shorter linger it would miss the end.
    pub const LINGER_MIN: Duration = Duration::from_secs(1);

    pub(crate) fn sessions(&self) -> SessionTerms {
        SessionTerms { idle: self.refresh_token, whole: self.session, most: self.sessions_per_user }
    }

    /// The share of one of `under_way` bodies in [`Limits::blocks_bytes_max`].
    pub(crate) fn share(&self, under_way: usize) -> usize {
        (self.blocks_bytes_max / under_way.max(1)).max(64 << 10)
    }
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            target_bytes_max: 8 << 10,
            head_bytes_max: 32 << 10,
            json_bytes_max: 64 << 10,
            fields_bytes_max: 1 << 20,
            small_body_bytes: 1 << 20,
            block_bytes: 256 << 10,
            blocks_bytes_max: 4 << 20,
            held_bytes_max: 64 << 20,
            held_wait: Duration::from_secs(5),
            connections_max: 8192,
            body_idle: Duration::from_secs(30),
            body_rate_min: 1024,
            body_grace: Duration::from_secs(30),
            head_timeout: Duration::from_secs(30),
            keep_alive: Duration::from_secs(75),
            linger: Duration::from_secs(5),
            drain: Duration::from_secs(30),
            lists_per_user: 4,
            uploads_per_user: 128,
            log_ins_per_account: 10,
            log_ins_per_address: 60,
            access_token: Duration::from_secs(15 * 60),
            refresh_token: Duration::from_secs(7 * 24 * 3600),
            session: Duration::from_secs(30 * 24 * 3600),
            signed_url: Duration::from_secs(3600),
            sessions_per_user: 64,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_security_page_promises_is_what_holds_where_nothing_is_configured() {
        let limits = Limits::default();
        assert_eq!((limits.json_bytes_max, limits.head_bytes_max, limits.uploads_per_user), (64 << 10, 32 << 10, 128));
        assert_eq!((limits.target_bytes_max, limits.fields_bytes_max), (8 << 10, 1 << 20));
        assert_eq!((limits.session, limits.sessions_per_user), (Duration::from_hours(30 * 24), 64));
        assert_eq!((limits.body_idle, limits.body_grace), (Duration::from_secs(30), Duration::from_secs(30)));
        assert_eq!((limits.body_rate_min, limits.lists_per_user), (1024, 4));
        assert_eq!((limits.log_ins_per_account, limits.log_ins_per_address), (10, 60));
        assert_eq!((limits.access_token, limits.refresh_token), (Duration::from_mins(15), Duration::from_hours(168)));
    }
}
