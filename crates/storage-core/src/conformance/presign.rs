//! Signed requests, where they are declared. Whether a server takes them is for a test that has one.

use super::harness::{Harness, Verdict, key};
use crate::{Bound, ErrorKind, PresignMethod, SentAs};
use std::time::Duration;

pub(super) async fn a_signed_request_ends_when_it_was_told_to(harness: Harness) -> Verdict {
    let Some(presign) = harness.store.presign() else { return Ok(()) };
    let put = PresignMethod::Put(Bound { size: Some(5), ..Bound::default() });
    for (method, name) in [(PresignMethod::Get(SentAs::default()), "GET"), (put, "PUT")] {
        let short = presign.presign(&key("a/b"), method.clone(), Duration::from_secs(60)).await?;
        let long = presign.presign(&key("a/b"), method, Duration::from_secs(3_600)).await?;
        ensure_eq!(short.method, name, "the method");
        ensure!(short.url.contains("://"), "the request has no URL");
        let between = long.expires_at.duration_since(short.expires_at)?;
        ensure!(between >= Duration::from_secs(3_530), "an hour and a minute end {between:?} apart");
    }
    Ok(())
}

pub(super) async fn a_request_for_more_than_a_week_is_refused(harness: Harness) -> Verdict {
    let Some(presign) = harness.store.presign() else { return Ok(()) };
    let get = PresignMethod::Get(SentAs::default());
    let refused = presign.presign(&key("a/b"), get, Duration::from_secs(8 * 86_400)).await;
    ensure_refused!(refused, ErrorKind::Unsupported, "a request for eight days");
    Ok(())
}
