//! The conditions of a change: the server's own where it was seen to keep them, and a safe path where it wasn't.
//!
//! | mode | the server keeps the condition | it does not |
//! |---|---|---|
//! | `Create` | `If-None-Match: *` | one writer of the key at a time in this process, which looks first: among processes it rests on keys that are used once |
//! | `Replace` | none is needed | none is needed |
//! | `ReplaceIf` | `If-Match` | refused as `Unsupported`: what can't be compared is not overwritten |

use crate::{
    fault::{Fault, Outcome},
    profile::Conditions,
    store::Inner,
    turns::Turn,
};
use larder_storage_core::{ErrorKind, Key, PutMode};

/// What a request for a change says, and what is held while it is under way.
#[derive(Default)]
pub(crate) struct Terms {
    pub(crate) if_none_match: Option<String>,
    pub(crate) if_match: Option<String>,
    _turn: Option<Turn>,
}

impl Inner {
    /// The terms under which `key` may be changed, by what the server `keeps`.
    pub(crate) async fn terms(&self, key: &Key, mode: &PutMode, keeps: Conditions) -> Outcome<Terms> {
        match mode {
            PutMode::Replace => Ok(Terms::default()),
            PutMode::Create if keeps.create => Ok(Terms { if_none_match: Some("*".into()), ..Terms::default() }),
            PutMode::Create => {
                let turn = self.turns.of(key).await;
                match self.look_for(key).await? {
                    Some(_) => Err(ErrorKind::AlreadyExists.into()),
                    None => Ok(Terms { _turn: Some(turn), ..Terms::default() }),
                }
            }
            PutMode::ReplaceIf(etag) if keeps.replace => {
                Ok(Terms { if_match: Some(keeps.spelled(etag)), ..Terms::default() })
            }
            PutMode::ReplaceIf(_) => {
                let words =
                    "the server does not keep `If-Match`: what lies there can't be compared and replaced in one";
                Err(Fault::says(ErrorKind::Unsupported, words))
            }
        }
    }
}

/// A refusal by a condition, in the words of the mode that set it.
pub(crate) fn refused(fault: Fault, mode: &PutMode) -> Fault {
    match (mode, &fault.kind) {
        (PutMode::Create, ErrorKind::PreconditionFailed) if fault.status == Some(412) => {
            ErrorKind::AlreadyExists.into()
        }
        // A server may say that there is nothing to compare with.
        (PutMode::ReplaceIf(_), ErrorKind::NotFound) => ErrorKind::PreconditionFailed.into(),
        _ => fault,
    }
}
