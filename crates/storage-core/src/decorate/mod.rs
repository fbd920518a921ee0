//! Decorators: each is a [`Store`] that holds a [`Store`] and adds one behaviour.
//!
//! A decorator answers an accessor with itself or with `None`, never with its inner store's answer: that would lead around it.
//! So [`Metered`] counts what is staged, [`InMode`] guards it, [`Timeout`] ends it; [`Retry`] has no staging, because what was
//! staged once can't be staged again under one operation; [`Late`] says before it is open whether it stages. Every implementation is under `deny(clippy::missing_trait_methods)`, so
//! that a method with a default can't be forgotten.

mod late;
mod metered;
mod mode;
mod retry;
mod timeout;
mod timer;

pub use late::{Expected, Late, Opener};
pub use metered::{Direction, Meter, Metered, Outcome};
pub use mode::{Gate, InMode, Mode, UnknownMode};
pub use retry::{Backoff, Random, Retry};
pub use timeout::{Deadlines, Timeout};
pub use timer::{Timer, TokioTimer};

use crate::{Multipart, Presign, Staging, Store};

/// The inner store's ability. A decorator hands itself out for it only after it saw that it is there.
fn staging_of(inner: &dyn Store) -> &dyn Staging {
    inner.staging().expect("asked through the accessor, which looked first")
}

fn multipart_of(inner: &dyn Store) -> &dyn Multipart {
    inner.multipart().expect("asked through the accessor, which looked first")
}

fn presign_of(inner: &dyn Store) -> &dyn Presign {
    inner.presign().expect("asked through the accessor, which looked first")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{MemoryStore, undecorated};
    use std::sync::Arc;

    #[test]
    fn a_store_is_found_below_whatever_decorates_it() {
        let memory: Arc<dyn Store> = Arc::new(MemoryStore::with_staging("m"));
        let within = Arc::new(InMode::new(memory.clone(), Mode::Rw));
        let decorated = Timeout::new(within, Deadlines::default(), Arc::new(TokioTimer));
        assert_eq!(undecorated(&decorated).to_string(), memory.to_string());
        assert_eq!(undecorated(&*memory).to_string(), memory.to_string());
    }
}
