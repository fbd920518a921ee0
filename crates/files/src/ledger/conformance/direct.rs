//! Direct uploads: found until they end, and never more of one user than were allowed.

use super::harness::{EPOCH, Harness, Verdict, at, identity};
use crate::{
    DirectId, OnConflict, Sha256, StoreId, UserId,
    ledger::{Announced, DirectUpload, LedgerError, Result},
};
use serde_json::json;
use uuid::Uuid;

/// Far more than any law but the one about it begins.
const MOST: usize = 100;

fn id(number: u128) -> DirectId {
    DirectId(Uuid::from_u128(number))
}

/// One of user `of`, that ends after `ends` seconds.
fn upload(number: u128, of: u128, ends: i64) -> DirectUpload {
    DirectUpload {
        id: id(number),
        user: UserId(Uuid::from_u128(of)),
        store: StoreId(Uuid::from_u128(3)),
        size: 12_000_000_000,
        part_bytes: 100 << 20,
        expires_at: at(ends - 1),
        ends_at: at(ends),
        file: Announced {
            bucket: "documents".into(),
            name: "Übersicht\u{1F642}.pdf".into(),
            tags: vec!["a".into(), "b c".into()],
            metadata: json!({"n": 1, "deep": {"x": [null, true]}}).as_object().cloned().unwrap_or_default(),
            sha256: Some(Sha256([7; 32])),
            content_type: Some("application/pdf".into()),
            on_conflict: OnConflict::Replace,
        },
    }
}

impl Harness {
    /// The numbers of those among the first nine that are there.
    async fn direct_ones(&self) -> Result<Vec<u128>> {
        let mut open = vec![];
        for number in 1..10 {
            if self.ledger.direct(id(number)).await?.is_some() {
                open.push(number);
            }
        }
        Ok(open)
    }
}

pub(super) async fn a_direct_upload_is_found_whole_until_it_is_ended(harness: Harness) -> Verdict {
    let harness = harness.started().await?;
    let plain = DirectUpload { file: Announced::default(), ..upload(2, 1, 50) };
    harness.ledger.open_direct(&upload(1, 1, 50), MOST, at(0)).await?;
    harness.ledger.open_direct(&plain, MOST, at(0)).await?;
    ensure_eq!(harness.ledger.direct(id(1)).await?, Some(upload(1, 1, 50)), "an upload");
    let longer = DirectUpload { ends_at: at(70), ..upload(1, 1, 50) };
    harness.ledger.open_direct(&longer, MOST, at(0)).await?;
    ensure_eq!(harness.ledger.direct(id(1)).await?, Some(longer), "one that goes on for longer");
    harness.ledger.end_direct(id(1)).await?;
    harness.ledger.end_direct(id(9)).await?;
    ensure_eq!(harness.direct_ones().await?, [2], "those that were not ended");
    let harness = harness.reopened().await;
    ensure_eq!(harness.ledger.direct(id(2)).await?, Some(plain), "an upload after a reopening");
    Ok(())
}

pub(super) async fn a_user_has_no_more_direct_uploads_than_are_allowed(harness: Harness) -> Verdict {
    let harness = harness.started().await?;
    harness.ledger.open_direct(&upload(9, 2, 50), 2, at(0)).await?;
    for number in [1, 2] {
        harness.ledger.open_direct(&upload(number, 1, 50 + i64::try_from(number).unwrap_or(0)), 2, at(0)).await?;
    }
    let third = harness.ledger.open_direct(&upload(3, 1, 90), 2, at(0)).await;
    ensure_refused!(third, LedgerError::Busy, "one too many");
    harness.ledger.end_direct(id(1)).await?;
    harness.ledger.open_direct(&upload(3, 1, 90), 2, at(0)).await?;
    ensure_refused!(harness.ledger.open_direct(&upload(4, 1, 90), 2, at(51)).await, LedgerError::Busy, "one too many");
    harness.ledger.open_direct(&upload(5, 1, 90), 2, at(52)).await?;
    ensure_eq!(harness.direct_ones().await?, [3, 5], "those that count, whoever's the others were");
    Ok(())
}

pub(super) async fn a_fenced_handle_begins_and_ends_no_direct_upload(harness: Harness) -> Verdict {
    let harness = harness.started().await?;
    harness.ledger.open_direct(&upload(1, 1, 50), MOST, at(0)).await?;
    let other = harness.another().await;
    other.identity().await?;
    other.initialise(&identity(EPOCH + 1, 0)).await?;
    let begun = harness.ledger.open_direct(&upload(2, 1, 50), MOST, at(0)).await;
    ensure_refused!(begun, LedgerError::Fenced(_), "begun");
    ensure_refused!(harness.ledger.end_direct(id(1)).await, LedgerError::Fenced(_), "ended");
    ensure_eq!(other.direct(id(1)).await?, Some(upload(1, 1, 50)), "the upload");
    Ok(())
}
