//! [`Examiner`]: looks at new pictures while they arrive, so that the answer to an upload has their dimensions.

use crate::known::{Known, is_picture, known, known_by_head};
use bytes::Bytes;
use futures_util::{
    FutureExt,
    future::{BoxFuture, ready},
};
use larder_files::{BucketPolicy, Examination, Examine, Unfit};
use larder_media::Limits;
use serde_json::Value;
use std::{
    sync::Arc,
    time::{Duration, Instant},
};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// Looks at pictures on their way in. Cheap to clone; the clones share one budget.
#[derive(Clone, Debug)]
pub struct Examiner {
    limits: Limits,
    /// In units of [`UNIT`].
    room: Arc<Semaphore>,
    /// How many are decoded at once.
    at_once: Arc<Semaphore>,
}

const UNIT: usize = 64 << 10;
/// Of a picture that finds no room so much is held all the same: it tells most.
const HEAD_BYTES: usize = 256 << 10;
/// Longer nobody waits for a miniature.
const PATIENCE: Duration = Duration::from_secs(10);

impl Examiner {
    /// One that holds at most `room` bytes of pictures on their way, and 256 KiB more of each that finds no room.
    #[must_use]
    pub fn new(limits: Limits, room: u64) -> Self {
        let units = usize::try_from(room / UNIT as u64).unwrap_or(usize::MAX).min(Semaphore::MAX_PERMITS);
        let processors = std::thread::available_parallelism().map_or(1, usize::from);
        Self { limits, room: Arc::new(Semaphore::new(units)), at_once: Arc::new(Semaphore::new(processors)) }
    }
}

impl Examine for Examiner {
    fn begin(&self, policy: &BucketPolicy, content_type: &str, size: Option<u64>) -> Option<Box<dyn Examination>> {
        // What the bucket does not take is refused for its type.
        if !policy.takes(content_type) {
            return None;
        }
        if !is_picture(content_type) {
            return policy.pictures_only.then(|| Box::new(NoPicture) as Box<dyn Examination>);
        }
        let is_too_large = size.is_some_and(|size| size > self.limits.source_bytes_max);
        let held = Held {
            blocks: vec![],
            bytes: 0,
            permits: None,
            size: 0,
            holds: if is_too_large { Holds::TooLarge } else { Holds::All },
        };
        Some(Box::new(Look { examiner: self.clone(), must_be_one: policy.pictures_only, held }))
    }
}

/// What does not even begin like a picture, for a bucket that takes nothing else.
#[derive(Debug)]
struct NoPicture;

impl Examination for NoPicture {
    fn look_at(&mut self, _: &Bytes) {}

    fn finish(self: Box<Self>) -> BoxFuture<'static, Result<Option<Value>, Unfit>> {
        ready(Err(Unfit::NotAsItSays(larder_media::Error::NotAnImage.to_string()))).boxed()
    }
}

struct Look {
    examiner: Examiner,
    /// Whether the bucket takes only pictures that can be read.
    must_be_one: bool,
    held: Held,
}

/// What is held of a picture on its way.
struct Held {
    blocks: Vec<Bytes>,
    /// How many bytes they have.
    bytes: usize,
    permits: Option<OwnedSemaphorePermit>,
    /// How large the picture is, as far as it has come.
    size: u64,
    holds: Holds,
}

/// How much of a picture is held.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Holds {
    All,
    /// Its beginning, for there was no room.
    NoRoom,
    /// Its beginning, for it is larger than pictures may be to be rendered.
    TooLarge,
}

impl Held {
    /// Takes a block in, if there is room for it.
    fn add(&mut self, block: &Bytes, room: &Arc<Semaphore>, max: u64) {
        self.size += block.len() as u64;
        if self.holds == Holds::All {
            if self.size > max {
                self.cut(Holds::TooLarge);
            } else if !self.find_room(self.bytes + block.len(), room) {
                self.cut(Holds::NoRoom);
            }
        }
        let rest = if self.holds == Holds::All { block.len() } else { HEAD_BYTES.saturating_sub(self.bytes) };
        if rest > 0 {
            let rest = block.slice(..rest.min(block.len()));
            self.bytes += rest.len();
            self.blocks.push(rest);
        }
    }

    /// Keeps no more than the beginning, and gives its room back.
    fn cut(&mut self, holds: Holds) {
        let head = self.head();
        (self.bytes, self.blocks, self.permits, self.holds) = (head.len(), vec![head.into()], None, holds);
    }

    /// Its first [`HEAD_BYTES`].
    fn head(&self) -> Vec<u8> {
        let mut head = Vec::with_capacity(self.bytes.min(HEAD_BYTES));
        for block in &self.blocks {
            head.extend_from_slice(&block[..block.len().min(HEAD_BYTES - head.len())]);
        }
        head
    }

    fn whole(&self) -> Vec<u8> {
        self.blocks.concat()
    }

    /// Room for so many bytes, beyond those that every picture may have.
    fn find_room(&mut self, bytes: usize, room: &Arc<Semaphore>) -> bool {
        let wanted = bytes.saturating_sub(HEAD_BYTES).div_ceil(UNIT);
        let has = self.permits.as_ref().map_or(0, OwnedSemaphorePermit::num_permits);
        let Some(more) = wanted.checked_sub(has).filter(|more| *more > 0) else { return true };
        let Ok(permits) = room.clone().try_acquire_many_owned(u32::try_from(more).unwrap_or(u32::MAX)) else {
            return false;
        };
        match &mut self.permits {
            Some(held) => held.merge(permits),
            none => *none = Some(permits),
        }
        true
    }
}

/// What was found out about a picture.
enum Found {
    Known(Known),
    /// It is none, and this is why.
    Not(larder_media::Error),
    /// Its beginning says too little.
    Unsure,
}

fn find(held: &Held, limits: &Limits, is_hurried: bool) -> Found {
    if held.holds == Holds::All && !is_hurried {
        let bytes = held.whole();
        return match known(&bytes, limits, Some(Instant::now() + PATIENCE)) {
            Ok(known) => Found::Known(known),
            Err(error) => Found::Not(error),
        };
    }
    let head = held.head();
    let is_whole = head.len() as u64 == held.size;
    match known_by_head(&head, held.size, is_whole, limits) {
        Ok(known) => Found::Known(known),
        // What follows may tell more than its beginning does.
        Err(larder_media::Error::Corrupt { .. }) if !is_whole => Found::Unsure,
        Err(error) => Found::Not(error),
    }
}

impl Examination for Look {
    fn look_at(&mut self, block: &Bytes) {
        let Examiner { limits, room, .. } = &self.examiner;
        self.held.add(block, room, limits.source_bytes_max);
    }

    fn finish(self: Box<Self>) -> BoxFuture<'static, Result<Option<Value>, Unfit>> {
        let Self { examiner, must_be_one, held } = *self;
        async move {
            let Examiner { limits, at_once, .. } = examiner;
            let held = Arc::new(held);
            // Nobody's upload waits for long behind what others have sent: the headers alone are read at once.
            let turn = tokio::time::timeout(PATIENCE, at_once.acquire_owned()).await;
            let (of_all, is_hurried) = (held.clone(), turn.is_err());
            let looks = tokio::task::spawn_blocking(move || {
                let _turn = turn;
                find(&of_all, &limits, is_hurried)
            });
            let found = match tokio::time::timeout(2 * PATIENCE, looks).await {
                Ok(Ok(found)) => found,
                Ok(Err(error)) => {
                    tracing::error!(%error, "looking at a picture failed");
                    Found::Not(larder_media::Error::NotAnImage)
                }
                // It goes on, and is waited for no more.
                Err(_) => find(&held, &limits, true),
            };
            match found {
                Found::Known(known) => Ok(Some(known.into_value())),
                Found::Not(error) if must_be_one => Err(Unfit::NotAsItSays(error.to_string())),
                Found::Unsure if must_be_one && held.holds == Holds::NoRoom => Err(Unfit::Later),
                Found::Not(_) | Found::Unsure => Ok(None),
            }
        }
        .boxed()
    }
}

impl std::fmt::Debug for Look {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Look({} bytes)", self.held.size)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn held(size: usize, block: usize, room: &Arc<Semaphore>, max: u64) -> Held {
        let mut held = Held { blocks: vec![], bytes: 0, permits: None, size: 0, holds: Holds::All };
        (0..size / block).for_each(|_| held.add(&Bytes::from(vec![7; block]), room, max));
        held
    }

    #[test]
    fn what_finds_no_room_is_held_by_its_beginning() {
        let room = Arc::new(Semaphore::new(16));
        let first = held(1 << 20, 128 << 10, &room, 1 << 30);
        assert_eq!((first.holds, first.bytes, first.whole().len()), (Holds::All, 1 << 20, 1 << 20));
        let second = held(1 << 20, 64 << 10, &room, 1 << 30);
        assert_eq!((second.holds, second.whole().len(), second.size), (Holds::NoRoom, HEAD_BYTES, 1 << 20));
        drop((first, second));
        assert_eq!(room.available_permits(), 16, "all of it is given back");
        let large = held(1 << 20, 64 << 10, &room, 1 << 19);
        assert_eq!((large.holds, large.bytes), (Holds::TooLarge, HEAD_BYTES), "it is over the limit");
    }

    #[test]
    fn a_small_picture_needs_no_room() {
        let none = Arc::new(Semaphore::new(0));
        let small = held(HEAD_BYTES, 64 << 10, &none, 1 << 30);
        assert!(small.holds == Holds::All && small.permits.is_none());
    }

    fn policy(pictures_only: bool) -> BucketPolicy {
        BucketPolicy { pictures_only, ..BucketPolicy::default() }
    }

    #[tokio::test]
    async fn a_bucket_of_pictures_takes_nothing_else_whatever_types_it_names() {
        let examiner = Examiner::new(Limits::default(), 0);
        for content_type in ["text/plain", "application/pdf", "application/octet-stream"] {
            assert!(examiner.begin(&policy(false), content_type, None).is_none());
            let look = examiner.begin(&policy(true), content_type, None).expect("it is looked at");
            assert!(matches!(look.finish().await, Err(Unfit::NotAsItSays(why)) if why.contains("not an image")));
            let images = BucketPolicy { types: vec!["image/*".into()], ..policy(true) };
            assert!(examiner.begin(&images, content_type, None).is_none(), "it is refused for its type");
        }
    }

    async fn examined(examiner: &Examiner, pictures: bool, bytes: &[u8]) -> Result<Option<Value>, Unfit> {
        let mut look = examiner.begin(&policy(pictures), "image/tiff", None).expect("a picture");
        bytes.chunks(64 << 10).for_each(|block| look.look_at(&Bytes::copy_from_slice(block)));
        look.finish().await
    }

    /// A TIFF whose directory stands behind everything else, as most do.
    fn tiff(size: usize) -> Vec<u8> {
        let mut tiff = b"II*\0".to_vec();
        tiff.extend((size as u32 - 30).to_le_bytes());
        tiff.resize(size - 30, 0);
        tiff.extend(2_u16.to_le_bytes());
        for (tag, value) in [(256_u16, 40_u32), (257, 30)] {
            tiff.extend(tag.to_le_bytes());
            tiff.extend([4, 0, 1, 0, 0, 0]);
            tiff.extend(value.to_le_bytes());
        }
        tiff.extend([0; 4]);
        tiff
    }

    #[tokio::test]
    async fn what_can_not_be_held_whole_is_taken_where_its_beginning_says_too_little() {
        let mut limits = Limits::default();
        limits.source_bytes_max = 1 << 20;
        let (large, roomless) = (Examiner::new(limits, 64 << 20), Examiner::new(limits, 0));
        assert_eq!(examined(&large, true, &tiff(2 << 20)).await, Ok(None), "no size is a reason to come again");
        assert_eq!(examined(&roomless, true, &tiff(1 << 19)).await, Err(Unfit::Later), "there will be room");
        assert_eq!(examined(&roomless, false, &tiff(1 << 19)).await, Ok(None));
    }

    #[tokio::test(start_paused = true)]
    async fn nobody_waits_for_long_behind_what_others_have_sent() {
        let examiner = Examiner::new(Limits::default(), 64 << 20);
        let all = examiner.at_once.available_permits() as u32;
        let _others = examiner.at_once.clone().acquire_many_owned(all).await.expect("open");
        let known = examined(&examiner, true, &tiff(1000)).await.expect("its headers are right").expect("a picture");
        assert_eq!((&known["width"], known.get("thumbhash")), (&40.into(), None));
    }
}
