//! Writing a body into a temporary file: blocks are gathered to chunks of up to 1 MiB, and while one chunk is written and hashed, on
//! a thread each, the next is gathered. A body that ends within its first chunk is created, written, hashed and synced in one hop.

use crate::errno::{Fault, Outcome};
use crate::pool::lock;
use crate::store::Inner;
use bytes::Bytes;
use futures_util::{StreamExt, future::try_join3};
use larder_storage_core::{Body, ByteStream, ErrorKind, Hasher, Staged};
use rustix::fs::{Advice, AtFlags, FallocateFlags, Timespec, Timestamps};
use rustix::io::{Errno, IoSlice};
use std::num::NonZeroU64;
use std::os::fd::OwnedFd;
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// Bytes gathered before they are written.
const CHUNK: usize = 1 << 20;
/// The unit of the budget of gathered bytes.
pub(crate) const UNIT: usize = 4 << 10;
/// Write-back of so many bytes is begun at once, so that the sync at the end finds most of it done.
const WRITE_BACK: u64 = 8 << 20;
/// Space is reserved so far ahead, never by the announced size alone: that costs a client nothing to announce.
const RESERVE: u64 = 64 << 20;
/// Slices given to one call; IOV_MAX is 1,024.
const SLICES_MAX: usize = 512;

/// A file under a private name. It is removed when dropped, unless it is kept.
pub(crate) struct Temporary {
    inner: Arc<Inner>,
    pub(crate) name: String,
    pub(crate) file: Arc<OwnedFd>,
    keep: bool,
}

impl Temporary {
    pub(crate) fn create(inner: &Arc<Inner>, name: String) -> Outcome<Self> {
        if !inner.root.is_there() {
            return Err(crate::list::gone());
        }
        let file = inner.root.create(&inner.node()?.dir, &name)?;
        Ok(Self { inner: inner.clone(), name, file: Arc::new(file), keep: false })
    }

    /// Leaves it where it is.
    pub(crate) fn keep(mut self) {
        self.keep = true;
    }

    /// Removes it now, on this thread.
    pub(crate) fn remove(mut self) {
        self.keep = true;
        remove(&self.inner, &self.name);
    }
}

impl Drop for Temporary {
    fn drop(&mut self) {
        if !self.keep {
            // Freeing a large file takes long, and this may be a thread that must not wait.
            let (inner, name, file) = (self.inner.clone(), std::mem::take(&mut self.name), self.file.clone());
            self.inner.files.spawn(move || {
                remove(&inner, &name);
                drop(file);
            });
        }
    }
}

fn remove(inner: &Inner, name: &str) {
    if let Ok(node) = inner.node()
        && let Err(errno) = rustix::fs::unlinkat(&node.dir, name, AtFlags::empty())
        && errno != Errno::NOENT
    {
        tracing::warn!(store = %inner, file = name, error = %errno, "a temporary file could not be removed");
    }
}

/// Writes `body` to the temporary file `name`, synced if asked for. A failed one leaves nothing.
pub(crate) async fn write(
    inner: &Arc<Inner>,
    name: String,
    body: Body,
    max: u64,
    sync: bool,
) -> Outcome<(Temporary, Staged)> {
    let size = body.size();
    if size.is_some_and(|size| size > max) {
        return Err(ErrorKind::TooLarge { max }.into());
    }
    let stream = body.into_stream().await.map_err(Fault::body)?;
    let mut chunks = Chunks { stream, budget: inner.write_budget.clone(), left: max, max };
    let first = chunks.next().await?;
    if first.last {
        let owned = inner.clone();
        return inner.small.run(move || write_whole(&owned, name, &first, sync)).await?;
    }
    let owned = inner.clone();
    let temporary = inner.files.run(move || Temporary::create(&owned, name)).await??;
    let plan = Plan { file: temporary.file.clone(), size, written: 0, reserved: 0, flushed: 0 };
    match write_chunks(inner, plan, chunks, first, sync).await {
        Ok(staged) => Ok((temporary, staged)),
        Err(fault) => {
            inner.files.run(move || temporary.remove()).await?;
            Err(fault)
        }
    }
}

/// Writes both parts of a small upload and makes both durable, in one hop: the second sync finds most of its work done.
pub(crate) fn write_pair(inner: &Arc<Inner>, names: [String; 2], bodies: [Bytes; 2]) -> Outcome<[Temporary; 2]> {
    let [bytes, attributes] = names.map(|name| Temporary::create(inner, name));
    let temporaries = [bytes?, attributes?];
    for (temporary, body) in temporaries.iter().zip(&bodies) {
        write_all(&temporary.file, std::slice::from_ref(body), 0)?;
    }
    for temporary in &temporaries {
        finish(inner, &temporary.file, true)?;
    }
    Ok(temporaries)
}

fn write_whole(inner: &Arc<Inner>, name: String, chunk: &Chunk, sync: bool) -> Outcome<(Temporary, Staged)> {
    let temporary = Temporary::create(inner, name)?;
    let written = write_all(&temporary.file, &chunk.blocks, 0).and_then(|()| finish(inner, &temporary.file, sync));
    if let Err(fault) = written {
        temporary.remove();
        return Err(fault);
    }
    let mut hasher = Hasher::new();
    chunk.blocks.iter().for_each(|block| hasher.update(block));
    Ok((temporary, Staged { size: chunk.bytes as u64, digests: hasher.finish() }))
}

/// Three things at a time: the chunk at hand is written, and hashed, and the next one is gathered.
async fn write_chunks(
    inner: &Arc<Inner>,
    mut plan: Plan,
    mut chunks: Chunks,
    first: Chunk,
    sync: bool,
) -> Outcome<Staged> {
    let (mut chunk, mut hasher, mut size) = (first, Hasher::new(), 0);
    loop {
        let last = chunk.last;
        size += chunk.bytes as u64;
        let shared = Arc::new(chunk);
        let (to_write, owned) = (shared.clone(), inner.clone());
        let writing = inner.writers.run(move || {
            plan.write(&to_write)?;
            drop(to_write);
            if last {
                finish(&owned, &plan.file, sync)?;
            }
            Ok(plan)
        });
        let hashing = inner.hashers.run(move || {
            shared.blocks.iter().for_each(|block| hasher.update(block));
            hasher
        });
        let next = async { if last { Ok(None) } else { chunks.next().await.map(Some) } };
        let next = try_join3(async { writing.await? }, hashing, next).await?;
        (plan, hasher) = (next.0, next.1);
        match next.2 {
            Some(next) => chunk = next,
            None => return Ok(Staged { size, digests: hasher.finish() }),
        }
    }
}

/// Blocks that are written together.
struct Chunk {
    blocks: Vec<Bytes>,
    bytes: usize,
    last: bool,
    _permit: Option<OwnedSemaphorePermit>,
}

struct Chunks {
    stream: ByteStream,
    budget: Arc<Semaphore>,
    left: u64,
    max: u64,
}

impl Chunks {
    /// Gathers blocks until they are enough, the body ends, or the budget of all writers is spent: then what is at hand is written
    /// as it is. So nobody ever waits for memory that a slower client holds.
    async fn next(&mut self) -> Outcome<Chunk> {
        let mut chunk = Chunk { blocks: Vec::new(), bytes: 0, last: false, _permit: None };
        while chunk.bytes < CHUNK {
            let Some(block) = self.stream.next().await.transpose().map_err(Fault::body)? else {
                chunk.last = true;
                break;
            };
            if block.is_empty() {
                continue;
            }
            self.left = self.left.checked_sub(block.len() as u64).ok_or(ErrorKind::TooLarge { max: self.max })?;
            let units = u32::try_from(block.len().div_ceil(UNIT)).unwrap_or(u32::MAX);
            chunk.bytes += block.len();
            chunk.blocks.push(block);
            let Ok(permit) = self.budget.clone().try_acquire_many_owned(units) else { break };
            match &mut chunk._permit {
                Some(held) => held.merge(permit),
                none => *none = Some(permit),
            }
        }
        Ok(chunk)
    }
}

/// How far a large file has come.
struct Plan {
    file: Arc<OwnedFd>,
    size: Option<u64>,
    written: u64,
    reserved: u64,
    flushed: u64,
}

impl Plan {
    fn write(&mut self, chunk: &Chunk) -> Outcome<()> {
        self.reserve(chunk.bytes as u64)?;
        write_all(&self.file, &chunk.blocks, self.written)?;
        self.written += chunk.bytes as u64;
        if self.written - self.flushed >= WRITE_BACK {
            // Begins write-back without waiting for it. sync_file_range would say it plainer, but no safe binding has it.
            let length = NonZeroU64::new(self.written - self.flushed);
            let _ = rustix::fs::fadvise(&self.file, self.flushed, length, Advice::DontNeed);
            self.flushed = self.written;
        }
        Ok(())
    }

    /// Keeps the file in one piece, and finds a full disk early. A file system that can't is left alone.
    fn reserve(&mut self, bytes: u64) -> Outcome<()> {
        let Some(size) = self.size.filter(|&size| self.reserved < size && self.written + bytes > self.reserved) else {
            return Ok(());
        };
        let length = (size - self.reserved).min(RESERVE.max(bytes));
        match rustix::fs::fallocate(&self.file, FallocateFlags::KEEP_SIZE, self.reserved, length) {
            Err(errno @ (Errno::NOSPC | Errno::DQUOT | Errno::FBIG | Errno::IO)) => return Err(errno.into()),
            Err(_) => self.reserved = size,
            Ok(()) => self.reserved += length,
        }
        Ok(())
    }
}

pub(crate) fn write_all(file: &OwnedFd, blocks: &[Bytes], mut offset: u64) -> Outcome<()> {
    for blocks in blocks.chunks(SLICES_MAX) {
        // An empty slice would be taken for a disk that takes nothing more.
        let some = blocks.iter().filter(|block| !block.is_empty());
        let mut slices: Vec<IoSlice<'_>> = some.map(|block| IoSlice::new(block)).collect();
        let mut rest = &mut slices[..];
        while !rest.is_empty() {
            match rustix::io::pwritev(file, rest, offset) {
                Ok(0) => return Err(Errno::NOSPC.into()),
                Ok(count) => {
                    offset += count as u64;
                    IoSlice::advance_slices(&mut rest, count);
                }
                Err(Errno::INTR) => {}
                Err(errno) => return Err(errno.into()),
            }
        }
    }
    Ok(())
}

/// Gives the file its time and makes it durable.
pub(crate) fn finish(inner: &Inner, file: &OwnedFd, sync: bool) -> Outcome<()> {
    let now = inner.times.next();
    let now = Timespec { tv_sec: now.as_secs().cast_signed(), tv_nsec: now.subsec_nanos().into() };
    rustix::fs::futimens(file, &Timestamps { last_access: now, last_modification: now })?;
    if sync {
        // Never tried again: after a failed one the kernel calls the lost pages clean, and the second succeeds.
        rustix::fs::fsync(file)?;
    }
    Ok(())
}

/// Times of writing, each later than the one before.
#[derive(Debug, Default)]
pub(crate) struct Times(Mutex<Duration>);

impl Times {
    fn next(&self) -> Duration {
        let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        let mut last = lock(&self.0);
        *last = now.max(*last + Duration::from_nanos(1));
        *last
    }
}
