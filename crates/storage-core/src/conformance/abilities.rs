//! What a store declares, held to it both ways.

use super::harness::{Harness, Verdict};

pub(super) async fn staging_is_there_exactly_where_it_is_declared(harness: Harness) -> Verdict {
    ensure_eq!(harness.store.staging().is_some(), harness.staging, "staging");
    Ok(())
}

pub(super) async fn multipart_is_there_exactly_where_it_is_declared(harness: Harness) -> Verdict {
    ensure_eq!(harness.store.multipart().is_some(), harness.multipart, "multipart");
    Ok(())
}

pub(super) async fn presign_is_there_exactly_where_it_is_declared(harness: Harness) -> Verdict {
    ensure_eq!(harness.store.presign().is_some(), harness.presign, "presign");
    Ok(())
}

pub(super) async fn the_store_displays_itself_on_one_line(harness: Harness) -> Verdict {
    let shown = harness.store.to_string();
    ensure!(!shown.trim().is_empty() && !shown.contains(char::is_control), "it displays itself as {shown:?}");
    Ok(())
}
