//! Errors: what was tried, on what, where; and whether it is worth trying again.

use super::harness::{Harness, Verdict, fill, key};
use crate::{ByteRange, ETag, Error, GetOptions, Op, PutOptions};

/// The errors of calls that can't succeed, with what was tried.
async fn refusals(harness: &Harness) -> Verdict<Vec<(Op, &'static str, Option<Error>)>> {
    let store = &harness.store;
    fill(&**store, &["a/there", "a/too"]).await?;
    let (there, too, gone) = (key("a/there"), key("a/too"), key("a/gone"));
    let past = GetOptions { range: Some(ByteRange::From(99)), if_match: None };
    let other = GetOptions { range: None, if_match: Some(ETag::new("other")) };
    Ok(vec![
        (Op::Get, "a/gone", store.get(&gone, GetOptions::default()).await.err()),
        (Op::Get, "a/there", store.get(&there, past).await.err()),
        (Op::Get, "a/there", store.get(&there, other).await.err()),
        (Op::Head, "a/gone", store.head(&gone).await.err()),
        (Op::Put, "a/there", store.put(&there, "x".into(), PutOptions::create()).await.err()),
        (Op::Copy, "a/too", store.copy(&there, &too, PutOptions::create()).await.err()),
    ])
}

pub(super) async fn an_error_names_what_was_tried_on_what_and_where(harness: Harness) -> Verdict {
    let store = harness.store.to_string();
    for (op, subject, error) in refusals(&harness).await? {
        let Some(error) = error else {
            ensure!(false, "{op} of `{subject}` was not refused");
            continue;
        };
        ensure_eq!(error.op(), op, "what was tried");
        ensure!(error.to_string().contains(&format!("`{subject}`")), "`{error}` doesn't name `{subject}`");
        let place = error.store();
        ensure!(!place.is_empty() && store.contains(place), "`{place}` is no part of `{store}`");
    }
    Ok(())
}

pub(super) async fn an_absence_is_not_temporary(harness: Harness) -> Verdict {
    let error = harness.store.head(&key("a/gone")).await.err();
    ensure!(error.is_some_and(|error| error.is_not_found() && !error.is_temporary()), "an absence may pass");
    Ok(())
}

pub(super) async fn a_refused_condition_is_not_temporary(harness: Harness) -> Verdict {
    for (op, subject, error) in refusals(&harness).await? {
        ensure!(error.is_some_and(|error| !error.is_temporary()), "the refusal to {op} `{subject}` may pass");
    }
    Ok(())
}
