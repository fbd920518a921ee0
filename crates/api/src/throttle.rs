//! [`Throttle`]: how often a log-in may fail, by account and by address, in any minute.

use std::{
    collections::{HashMap, VecDeque},
    net::IpAddr,
    sync::{Mutex, PoisonError},
    time::Duration,
};

/// Counts failed log-ins. An attempt counts from its beginning, so that many at once gain nothing; one that did not fail is taken back.
pub(crate) struct Throttle {
    per_account: usize,
    per_address: usize,
    counts_loopback: bool,
    attempts: Mutex<Attempts>,
}

#[derive(Default)]
struct Attempts {
    of: HashMap<Who, VecDeque<Duration>>,
    /// When those that are over were last forgotten.
    cleaned: Duration,
}

impl Attempts {
    /// Forgets those that are over once there are many; at most once a second, or many would walk them all on each attempt.
    fn clean(&mut self, now: Duration) {
        let is_due = now.saturating_sub(self.cleaned) >= Duration::from_secs(1);
        if is_due && self.of.len() > Throttle::REMEMBERED_MAX {
            self.of.retain(|_, times| times.back().is_some_and(|last| now.saturating_sub(*last) < Throttle::WINDOW));
            self.cleaned = now;
        }
    }

    /// How long `who` has to wait before another attempt.
    fn wait(&mut self, who: &Who, max: usize, now: Duration) -> Option<Duration> {
        if max == 0 {
            return Some(Throttle::WINDOW);
        }
        let times = self.of.get_mut(who)?;
        while times.front().is_some_and(|first| now.saturating_sub(*first) >= Throttle::WINDOW) {
            times.pop_front();
        }
        let first = times.front().filter(|_| times.len() >= max)?;
        Some(Throttle::WINDOW.saturating_sub(now.saturating_sub(*first)))
    }
}

#[derive(Clone, PartialEq, Eq, Hash)]
enum Who {
    Account(String),
    Address(IpAddr),
}

/// An attempt that was let in.
#[derive(Clone)]
pub(crate) struct Attempt {
    at: Duration,
    who: Vec<Who>,
}

impl Throttle {
    const WINDOW: Duration = Duration::from_secs(60);
    const REMEMBERED_MAX: usize = 65_536;

    pub(crate) fn new(per_account: usize, per_address: usize) -> Self {
        Self { per_account, per_address, counts_loopback: false, attempts: Mutex::default() }
    }

    /// Counts this machine's own addresses too, as where its proxies tell whom they speak for.
    pub(crate) fn counting_loopback(self, counts_loopback: bool) -> Self {
        Self { counts_loopback, ..self }
    }

    /// Lets an attempt in at `now` (time since some fixed instant), or says how long to wait.
    pub(crate) fn begin(&self, account: &str, address: IpAddr, now: Duration) -> Result<Attempt, Duration> {
        let account: String = account.chars().take(64).collect();
        let mut who = vec![Who::Account(account)];
        // Of this machine is a proxy, behind which everybody is: one of them must not lock the others out. One that is known tells
        // them apart.
        if self.counts_loopback || !address.to_canonical().is_loopback() {
            who.push(Who::Address(network(address)));
        }
        let mut attempts = self.attempts.lock().unwrap_or_else(PoisonError::into_inner);
        attempts.clean(now);
        for (who, max) in who.iter().zip([self.per_account, self.per_address]) {
            if let Some(wait) = attempts.wait(who, max, now) {
                return Err(wait);
            }
        }
        for who in &who {
            attempts.of.entry(who.clone()).or_default().push_back(now);
        }
        Ok(Attempt { at: now, who })
    }

    /// Takes an attempt back that did not fail: it succeeded, or the password was never compared.
    pub(crate) fn take_back(&self, attempt: &Attempt) {
        let mut attempts = self.attempts.lock().unwrap_or_else(PoisonError::into_inner);
        for who in &attempt.who {
            if let Some(times) = attempts.of.get_mut(who) {
                if let Some(index) = times.iter().position(|at| *at == attempt.at) {
                    times.remove(index);
                }
                if times.is_empty() {
                    attempts.of.remove(who);
                }
            }
        }
    }
}

/// The address, or of IPv6 the network of 64 bits that one customer has.
fn network(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V4(address) => IpAddr::V4(address),
        IpAddr::V6(address) => IpAddr::V6((u128::from(address) >> 64 << 64).into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOME: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(192, 0, 2, 1));
    const fn at(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    #[test]
    fn the_attempt_after_the_last_allowed_one_waits_until_the_first_is_a_minute_old() {
        let throttle = Throttle::new(2, 60);
        assert!(throttle.begin("ada", HOME, at(0)).is_ok());
        assert!(throttle.begin("ada", HOME, at(10)).is_ok());
        assert_eq!(throttle.begin("ada", HOME, at(20)).err(), Some(at(40)));
        assert!(throttle.begin("bob", HOME, at(20)).is_ok(), "another account is not held up");
        assert!(throttle.begin("ada", HOME, at(60)).is_ok());
    }

    #[test]
    fn successes_never_count() {
        let throttle = Throttle::new(1, 1);
        for second in 0..100 {
            let attempt = throttle.begin("ada", HOME, at(second)).ok().unwrap();
            throttle.take_back(&attempt);
        }
        assert!(throttle.attempts.lock().unwrap().of.is_empty());
    }

    #[test]
    fn many_that_are_over_are_forgotten_at_most_once_a_second() {
        let throttle = Throttle::new(2, 2);
        let begin = |account: &str, millis| {
            throttle.begin(account, [127, 0, 0, 1].into(), Duration::from_millis(millis)).ok().unwrap();
            throttle.attempts.lock().unwrap().of.len()
        };
        let many = (0..=Throttle::REMEMBERED_MAX).map(|number| begin(&number.to_string(), 1_500)).max().unwrap();
        assert_eq!(begin("a", 61_000), many + 1, "none is over yet");
        assert_eq!(begin("b", 61_600), many + 2, "a flood must not walk them all on each attempt");
        assert_eq!(begin("c", 62_000), 3);
    }

    #[test]
    fn who_is_refused_is_not_remembered() {
        let throttle = Throttle::new(2, 1);
        assert!(throttle.begin("a", HOME, at(0)).is_ok());
        assert!(throttle.begin("b", HOME, at(0)).is_err());
        assert_eq!(throttle.attempts.lock().unwrap().of.len(), 2);
    }

    #[test]
    fn behind_a_proxy_of_this_machine_that_tells_them_apart_who_is_not_told_of_counts_too() {
        let throttle = Throttle::new(2, 1).counting_loopback(true);
        let proxy = "127.0.0.1".parse().unwrap();
        assert!(throttle.begin("a", proxy, at(0)).is_ok());
        assert!(throttle.begin("b", proxy, at(0)).is_err());
    }

    #[test]
    fn who_comes_through_a_proxy_of_this_machine_is_not_held_up_by_another() {
        let throttle = Throttle::new(2, 1);
        for proxy in ["127.0.0.1", "::1", "::ffff:127.0.0.1"] {
            let proxy = proxy.parse().unwrap();
            assert!(throttle.begin(&format!("a-{proxy}"), proxy, at(0)).is_ok());
            assert!(throttle.begin(&format!("b-{proxy}"), proxy, at(0)).is_ok());
        }
    }

    #[test]
    fn an_address_is_held_up_across_accounts_and_a_v6_network_is_one_address() {
        let throttle = Throttle::new(10, 2);
        for (account, address) in [("a", "2001:db8::1"), ("b", "2001:db8::2")] {
            assert!(throttle.begin(account, address.parse().unwrap(), at(0)).is_ok());
        }
        assert!(throttle.begin("c", "2001:db8::3".parse().unwrap(), at(0)).is_err());
        assert!(throttle.begin("c", "2001:db8:0:1::3".parse().unwrap(), at(0)).is_ok());
    }
}
