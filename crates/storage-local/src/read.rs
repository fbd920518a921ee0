//! Reading: a small range comes whole, in one call on the caller's own thread where the kernel has it in memory, else in one hop.
//! A large one comes in blocks by the readers' pool: a block is read only when the one before was taken, so a slow client holds
//! no thread. All blocks together draw on one budget; when it is spent they shrink.

use crate::errno::{Fault, Outcome};
use crate::pool::{Pool, lock};
use crate::root::file_type;
use bytes::Bytes;
use futures_util::{StreamExt, future::BoxFuture, stream};
use larder_storage_core::{BodyError, ByteStream, ETag, ErrorKind, GetOptions, Key, ObjectMeta};
use rustix::buffer::spare_capacity;
use rustix::fs::{FileType, Stat};
use rustix::io::{Errno, IoSliceMut, ReadWriteFlags};
use std::collections::VecDeque;
use std::ops::Range;
use std::os::fd::OwnedFd;
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// The largest block.
const BLOCK: usize = 1 << 20;
/// What a block shrinks to, and the unit of the budget.
const BLOCK_MIN: usize = 64 << 10;
/// Blocks that a stream has under way or at hand.
const AHEAD: usize = 2;
/// The largest range that is read on the caller's thread, and only out of the page cache.
const INLINE_MAX: usize = 256 << 10;
/// Buffers of [`BLOCK`] bytes kept for the next reader: as much memory as a new one costs page faults.
const IDLE_BUFFERS_MAX: usize = 8;

/// The readers and what they may hold.
pub(crate) struct Readers {
    pool: Pool,
    budget: Arc<Semaphore>,
    idle: Arc<Mutex<Vec<Vec<u8>>>>,
}

/// A file that was opened and found to be an object.
pub(crate) struct Opened {
    pub(crate) file: OwnedFd,
    pub(crate) meta: ObjectMeta,
}

impl Opened {
    /// Takes a file that is just open; what is not a regular file is no object.
    pub(crate) fn new(file: OwnedFd, key: &Key) -> Outcome<Self> {
        let meta = describe(key.clone(), &rustix::fs::fstat(&file)?).ok_or(ErrorKind::NotFound)?;
        Ok(Self { file, meta })
    }

    /// The range that `options` select.
    pub(crate) fn select(&self, options: &GetOptions) -> Outcome<Range<u64>> {
        if options.if_match.as_ref().is_some_and(|expected| *expected != self.meta.etag) {
            return Err(ErrorKind::PreconditionFailed.into());
        }
        match options.range {
            Some(range) => Ok(range.resolve(self.meta.size)?),
            None => Ok(0..self.meta.size),
        }
    }
}

/// What is known of a file; `None` where it is not a regular one.
pub(crate) fn describe(key: Key, stat: &Stat) -> Option<ObjectMeta> {
    if file_type(stat) != FileType::RegularFile {
        return None;
    }
    let size = u64::try_from(stat.st_size).ok()?;
    Some(ObjectMeta { key, size, etag: etag(stat), modified: modified(stat) })
}

/// The validator: inode, size and time of writing. Our own files carry times that no two share, since the kernel's clock ticks in
/// milliseconds and inodes are used again. The time of change is not part of it: a link made or removed changes it.
pub(crate) fn etag(stat: &Stat) -> ETag {
    ETag::new(format!("{:x}-{:x}-{:x}{:08x}", stat.st_ino, stat.st_size, stat.st_mtime, stat.st_mtime_nsec))
}

fn modified(stat: &Stat) -> SystemTime {
    let nanos = Duration::from_nanos(stat.st_mtime_nsec);
    match u64::try_from(stat.st_mtime) {
        Ok(seconds) => SystemTime::UNIX_EPOCH + Duration::from_secs(seconds) + nanos,
        Err(_) => SystemTime::UNIX_EPOCH - Duration::from_secs(stat.st_mtime.unsigned_abs()) + nanos,
    }
}

impl Readers {
    pub(crate) fn new(threads: usize, budget_bytes: usize) -> Self {
        let permits = (budget_bytes / BLOCK_MIN).clamp(1, Semaphore::MAX_PERMITS);
        Self {
            pool: Pool::new("larder-read", threads),
            budget: Arc::new(Semaphore::new(permits)),
            idle: Arc::default(),
        }
    }

    /// Runs a short call that opens or looks.
    pub(crate) fn run<T: Send + 'static>(
        &self,
        job: impl FnOnce() -> Outcome<T> + Send + 'static,
    ) -> impl Future<Output = Outcome<T>> + Send + 'static {
        let answer = self.pool.run(job);
        async { answer.await? }
    }

    /// Reads `range` out of the page cache without a hop; `None` where it is large or would need the disk.
    pub(crate) fn read_cached(file: &OwnedFd, range: &Range<u64>) -> Option<Bytes> {
        let len = usize::try_from(range.end - range.start).ok().filter(|&len| len <= INLINE_MAX)?;
        let mut bytes = vec![0; len];
        let mut filled = 0;
        while filled < len {
            let rest = &mut [IoSliceMut::new(&mut bytes[filled..])];
            match rustix::io::preadv2(file, rest, range.start + filled as u64, ReadWriteFlags::NOWAIT) {
                Ok(0) | Err(_) => return None,
                Ok(count) => filled += count,
            }
        }
        Some(bytes.into())
    }

    /// The bytes of `range` if they fit one block, read here and now.
    pub(crate) fn read_small(file: &OwnedFd, range: &Range<u64>) -> Option<Outcome<Bytes>> {
        let len = usize::try_from(range.end - range.start).ok().filter(|&len| len <= BLOCK)?;
        let mut bytes = Vec::with_capacity(len);
        Some(fill(file, &mut bytes, range.start, len).map(|()| bytes.into()))
    }

    /// The bytes of `range` in blocks.
    pub(crate) fn stream(self: &Arc<Self>, file: OwnedFd, range: Range<u64>) -> ByteStream {
        let _ = rustix::fs::fadvise(&file, range.start, None, rustix::fs::Advice::Sequential);
        let blocks = Blocks { readers: self.clone(), file: Arc::new(file), rest: range, pending: VecDeque::new() };
        stream::unfold(blocks, |mut blocks| async move {
            blocks.read_ahead();
            let block = blocks.pending.pop_front()?.await;
            if block.is_err() {
                blocks.rest = 0..0;
                blocks.pending.clear();
            }
            Some((block, blocks))
        })
        .boxed()
    }

    fn buffer(&self) -> Vec<u8> {
        lock(&self.idle).pop().unwrap_or_else(|| Vec::with_capacity(BLOCK))
    }
}

/// A range on its way to one client.
struct Blocks {
    readers: Arc<Readers>,
    file: Arc<OwnedFd>,
    rest: Range<u64>,
    pending: VecDeque<BoxFuture<'static, Result<Bytes, BodyError>>>,
}

impl Blocks {
    fn read_ahead(&mut self) {
        while self.pending.len() < AHEAD && !self.rest.is_empty() {
            let rest = usize::try_from(self.rest.end - self.rest.start).unwrap_or(usize::MAX);
            let Some((len, permit)) = self.allowance(rest) else { return };
            let offset = self.rest.start;
            self.rest.start += len as u64;
            let (readers, file) = (self.readers.clone(), self.file.clone());
            let block = self.readers.run(move || read_block(&readers, &file, offset, len, permit));
            self.pending.push_back(Box::pin(async { block.await.map_err(Fault::into_cause) }));
        }
    }

    /// How much may be read now. A stream may always have one smallest block, so that none ever waits for another's client.
    fn allowance(&self, rest: usize) -> Option<(usize, Option<OwnedSemaphorePermit>)> {
        for len in [BLOCK, BLOCK_MIN] {
            let len = len.min(rest);
            let units = u32::try_from(len.div_ceil(BLOCK_MIN)).unwrap_or(u32::MAX);
            if let Ok(permit) = self.readers.budget.clone().try_acquire_many_owned(units) {
                return Some((len, Some(permit)));
            }
        }
        self.pending.is_empty().then_some((BLOCK_MIN.min(rest), None))
    }
}

fn read_block(
    readers: &Readers,
    file: &OwnedFd,
    offset: u64,
    len: usize,
    permit: Option<OwnedSemaphorePermit>,
) -> Outcome<Bytes> {
    if len <= BLOCK_MIN {
        let mut bytes = Vec::with_capacity(len);
        fill(file, &mut bytes, offset, len)?;
        return Ok(Bytes::from_owner(Block { bytes, idle: None, _permit: permit }));
    }
    let mut block = Block { bytes: readers.buffer(), idle: Some(readers.idle.clone()), _permit: permit };
    fill(file, &mut block.bytes, offset, len)?;
    Ok(Bytes::from_owner(block))
}

/// Bytes that give their memory and their part of the budget back when the client has them.
struct Block {
    bytes: Vec<u8>,
    idle: Option<Arc<Mutex<Vec<Vec<u8>>>>>,
    _permit: Option<OwnedSemaphorePermit>,
}

impl AsRef<[u8]> for Block {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}

impl Drop for Block {
    fn drop(&mut self) {
        let Some(idle) = &self.idle else { return };
        let mut bytes = std::mem::take(&mut self.bytes);
        bytes.clear();
        let mut idle = lock(idle);
        if idle.len() < IDLE_BUFFERS_MAX {
            idle.push(bytes);
        }
    }
}

/// Reads exactly `len` bytes at `offset` into the empty `bytes`, which has room for them.
fn fill(file: &OwnedFd, bytes: &mut Vec<u8>, offset: u64, len: usize) -> Outcome<()> {
    while bytes.len() < len {
        let (at, room) = (offset + bytes.len() as u64, len - bytes.len());
        // The spare room may be larger than what is wanted; what is read past it is cut off below.
        match rustix::io::pread(file, spare_capacity(bytes), at) {
            Ok(0) => return Err(Fault::says(ErrorKind::Corrupt, "the file ended early")),
            Ok(count) if count > room => bytes.truncate(len),
            Ok(_) | Err(Errno::INTR) => {}
            Err(errno) => return Err(errno.into()),
        }
    }
    Ok(())
}
