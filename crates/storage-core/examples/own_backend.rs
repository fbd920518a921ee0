//! A backend of one's own: everything in one map. `cargo run --example own_backend --features conformance` holds it to each law;
//! `cargo test --example own_backend --features conformance` makes a named test of each.

use async_trait::async_trait;
use bytes::Bytes;
use futures_util::{StreamExt, stream, stream::BoxStream};
use larder_storage_core::{
    Body, ETag, Error, ErrorKind, GetOptions, Key, Limits, ListOptions, ListToken, Listed, Object, ObjectMeta, Op,
    PutMode, PutOptions, Result, Store, Written,
    conformance::{Harness, laws, prove},
};
use std::{
    collections::BTreeMap,
    fmt,
    ops::Bound,
    process::ExitCode,
    sync::{Mutex, MutexGuard, PoisonError},
    time::SystemTime,
};

/// Keeps objects in a map.
#[derive(Debug, Default)]
struct Shelf {
    objects: Mutex<BTreeMap<String, Kept>>,
}

#[derive(Clone, Debug)]
struct Kept {
    meta: ObjectMeta,
    bytes: Bytes,
}

impl Shelf {
    fn lock(&self) -> MutexGuard<'_, BTreeMap<String, Kept>> {
        self.objects.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn find(&self, op: Op, key: &Key) -> Result<Kept> {
        let found = self.lock().get(key.as_str()).cloned();
        found.ok_or_else(|| Error::new(op, key, self, ErrorKind::NotFound))
    }

    /// Everything but the bytes was checked by the types; the mode is checked and obeyed under one lock.
    fn keep(&self, op: Op, key: &Key, bytes: Bytes, mode: &PutMode) -> Result<Written> {
        let mut objects = self.lock();
        let there = objects.get(key.as_str()).map(|kept| &kept.meta.etag);
        let refusal = match (mode, there) {
            (PutMode::Create, Some(_)) => Some(ErrorKind::AlreadyExists),
            (PutMode::ReplaceIf(etag), there) if there != Some(etag) => Some(ErrorKind::PreconditionFailed),
            _ => None,
        };
        if let Some(kind) = refusal {
            return Err(Error::new(op, key, self, kind));
        }
        let (size, etag) = (bytes.len() as u64, ETag::new(unique()));
        let meta = ObjectMeta { key: key.clone(), size, etag: etag.clone(), modified: SystemTime::now() };
        objects.insert(key.to_string(), Kept { meta, bytes });
        Ok(Written { size, etag })
    }

    fn next(&self, prefix: &str, after: &str) -> Option<ObjectMeta> {
        let shown = |kept: &&Kept| {
            let key = kept.meta.key.as_str();
            key.starts_with(prefix) && (prefix.starts_with(".larder/") || !key.starts_with(".larder/"))
        };
        let objects = self.lock();
        let mut behind = objects.range::<str, _>((Bound::Excluded(after), Bound::Unbounded)).map(|(_, kept)| kept);
        behind.find(shown).map(|kept| kept.meta.clone())
    }
}

/// A text that is never given twice.
fn unique() -> String {
    static LAST: Mutex<u64> = Mutex::new(0);
    let mut last = LAST.lock().unwrap_or_else(PoisonError::into_inner);
    *last += 1;
    last.to_string()
}

impl fmt::Display for Shelf {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("shelf")
    }
}

#[async_trait]
impl Store for Shelf {
    async fn put(&self, key: &Key, body: Body, options: PutOptions) -> Result<Written> {
        let bytes = body.collect(1 << 30).await;
        let bytes = bytes.map_err(|cause| Error::new(Op::Put, key, self, ErrorKind::Body).because(cause))?;
        self.keep(Op::Put, key, bytes, &options.mode)
    }

    async fn get(&self, key: &Key, options: GetOptions) -> Result<Object> {
        let Kept { meta, bytes } = self.find(Op::Get, key)?;
        if options.if_match.is_some_and(|etag| etag != meta.etag) {
            return Err(Error::new(Op::Get, key, self, ErrorKind::PreconditionFailed));
        }
        let range = options.range.map_or(Ok(0..meta.size), |range| range.resolve(meta.size));
        let range = range.map_err(|invalid| Error::new(Op::Get, key, self, invalid.into()))?;
        let part = bytes.slice(range.start as usize..range.end as usize);
        Ok(Object { meta, range, body: stream::iter([Ok(part)]).boxed() })
    }

    async fn head(&self, key: &Key) -> Result<ObjectMeta> {
        Ok(self.find(Op::Head, key)?.meta)
    }

    async fn delete(&self, key: &Key) -> Result<()> {
        self.lock().remove(key.as_str());
        Ok(())
    }

    fn list(&self, options: ListOptions) -> BoxStream<'_, Result<Listed>> {
        let after = options.after.map(|token| token.as_str().to_owned()).unwrap_or_default();
        let items = stream::unfold((options.prefix, after), move |(prefix, after)| async move {
            let object = self.next(prefix.as_str(), &after)?;
            let after = object.key.to_string();
            Some((Listed { object, resume: ListToken::new(&after) }, (prefix, after)))
        });
        items.map(Ok).boxed()
    }

    async fn copy(&self, from: &Key, to: &Key, options: PutOptions) -> Result<Written> {
        let bytes = self.find(Op::Copy, from)?.bytes;
        self.keep(Op::Copy, to, bytes, &options.mode)
    }

    async fn sync(&self) -> Result<()> {
        // Nothing here outlives the process, so nothing can be more durable than it is.
        Ok(())
    }

    fn limits(&self) -> Limits {
        Limits { key_bytes_max: Key::BYTES_MAX, object_bytes_max: 1 << 30, nested_keys: usize::MAX }
    }
}

#[allow(clippy::print_stdout)]
fn main() -> ExitCode {
    let mut code = ExitCode::SUCCESS;
    for law in laws() {
        let verdict = prove(law.name, || async { Harness::new(Shelf::default()) });
        println!("{} {}", if verdict.is_ok() { "holds " } else { "BROKEN" }, law.name);
        if let Err(broken) = verdict {
            println!("       {broken}");
            code = ExitCode::FAILURE;
        }
    }
    code
}

#[cfg(test)]
larder_storage_core::conformance!(shelf, || async { Harness::new(Shelf::default()) });
