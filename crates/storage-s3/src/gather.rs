//! [`Gather`]: a body in pieces of the size that parts have, with no more in memory than the piece that is being filled.

use crate::S3Options;
use bytes::{Bytes, BytesMut};
use futures_util::StreamExt;
use larder_storage_core::{Body, BodyError, ByteStream, PartNumber};

/// Parts of one size before it doubles, where the length is unknown.
const PARTS_ALIKE: u64 = 1_000;

/// How large the parts of an upload are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct PartSizes {
    first: u64,
    doubles: bool,
}

impl PartSizes {
    /// Of an object of `size` bytes all alike, and as large as it takes to be at most 10,000; of one of unknown size doubled
    /// after each thousand. Never smaller than `least`.
    pub(crate) fn of(size: Option<u64>, least: u64) -> Self {
        let enough = size.unwrap_or(0).div_ceil(u64::from(PartNumber::MAX)).next_multiple_of(1 << 20);
        Self { first: enough.max(least), doubles: size.is_none() }
    }

    /// The size of the `index`-th part, from 0.
    pub(crate) fn at(self, index: u64) -> u64 {
        let times = if self.doubles { index / PARTS_ALIKE } else { 0 };
        (self.first << times.min(20)).min(S3Options::PART_BYTES_MAX)
    }
}

/// A body on its way into parts.
pub(crate) struct Gather {
    stream: ByteStream,
    filling: BytesMut,
    /// What was read and belongs to a later piece.
    rest: Bytes,
    ended: bool,
}

/// One piece of a body, and whether it is the last.
#[derive(Debug)]
pub(crate) struct Piece {
    pub(crate) bytes: Bytes,
    pub(crate) is_last: bool,
}

impl Gather {
    pub(crate) async fn new(body: Body) -> Result<Self, BodyError> {
        let stream = body.into_stream().await?;
        Ok(Self { stream, filling: BytesMut::new(), rest: Bytes::new(), ended: false })
    }

    /// The next piece: of `size` bytes, or fewer where it is the last. May be dropped and called again without loss.
    pub(crate) async fn next(&mut self, size: u64) -> Result<Piece, BodyError> {
        let size = usize::try_from(size).unwrap_or(usize::MAX);
        while self.filling.len() < size {
            if self.rest.is_empty() && !self.read().await? {
                break;
            }
            if self.filling.is_empty() && self.rest.len() >= size {
                let bytes = self.rest.split_to(size);
                return Ok(Piece { bytes, is_last: !self.read_on().await? });
            }
            let share = self.rest.len().min(size - self.filling.len());
            if self.filling.capacity() == 0 && self.rest.len() + self.filling.len() >= 1 << 16 {
                self.filling.reserve(size);
            }
            self.filling.extend_from_slice(&self.rest.split_to(share));
        }
        let is_last = !self.read_on().await?;
        Ok(Piece { bytes: std::mem::take(&mut self.filling).freeze(), is_last })
    }

    /// Whether anything is left.
    async fn read_on(&mut self) -> Result<bool, BodyError> {
        if self.rest.is_empty() { self.read().await } else { Ok(true) }
    }

    /// Reads a block that is not empty; `false` at the end.
    async fn read(&mut self) -> Result<bool, BodyError> {
        while !self.ended && self.rest.is_empty() {
            match self.stream.next().await {
                Some(block) => self.rest = block?,
                None => self.ended = true,
            }
        }
        Ok(!self.rest.is_empty())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures_util::stream;

    fn blocks(sizes: &[usize]) -> Body {
        let mut at = 0_u8;
        let blocks: Vec<Result<Bytes, BodyError>> = sizes
            .iter()
            .map(|size| {
                let next = || {
                    at = at.wrapping_add(1);
                    at
                };
                Ok(std::iter::repeat_with(next).take(*size).collect::<Vec<_>>().into())
            })
            .collect();
        Body::once(stream::iter(blocks).boxed(), None)
    }

    #[tokio::test]
    async fn pieces_have_the_size_that_was_asked_for_and_the_last_is_known() {
        for sizes in [&[10, 10, 10][..], &[30], &[1; 30], &[0, 7, 0, 23, 0], &[29, 1]] {
            for (piece, expected) in [(10, vec![10, 10, 10]), (12, vec![12, 12, 6]), (30, vec![30]), (99, vec![30])] {
                let whole = blocks(sizes).collect(99).await.unwrap();
                let mut gather = Gather::new(blocks(sizes)).await.unwrap();
                let (mut lens, mut seen, mut is_last) = (vec![], vec![], false);
                while !is_last {
                    let next = gather.next(piece).await.unwrap();
                    is_last = next.is_last;
                    lens.push(next.bytes.len());
                    seen.extend_from_slice(&next.bytes);
                }
                assert_eq!((lens, seen), (expected, whole.to_vec()), "{sizes:?} by {piece}");
            }
        }
    }

    #[tokio::test]
    async fn an_empty_body_is_one_empty_piece() {
        let piece = Gather::new(blocks(&[0, 0])).await.unwrap().next(10).await.unwrap();
        assert!(piece.bytes.is_empty() && piece.is_last);
    }

    #[tokio::test]
    async fn what_was_gathered_outlives_a_caller_that_gave_up() {
        let slow = stream::iter([Ok(Bytes::from_static(b"ab"))]).chain(stream::once(async {
            tokio::task::yield_now().await;
            Ok(Bytes::from_static(b"cd"))
        }));
        let mut gather = Gather::new(Body::once(slow.boxed(), None)).await.unwrap();
        assert!(futures_util::FutureExt::now_or_never(gather.next(4)).is_none());
        assert_eq!(gather.next(4).await.unwrap().bytes, "abcd");
    }

    #[test]
    fn every_object_has_room_in_10000_parts() {
        let least = 8 << 20;
        for size in [None, Some(0), Some(100 << 30), Some(S3Options::OBJECT_BYTES_MAX)] {
            let sizes = PartSizes::of(size, least);
            let room: u64 = (0..10_000).map(|index| sizes.at(index)).sum();
            assert!(room >= size.unwrap_or(S3Options::OBJECT_BYTES_MAX), "{size:?}: {room}");
            assert!(sizes.at(0) >= least && sizes.at(9_999) <= S3Options::PART_BYTES_MAX);
        }
    }

    #[test]
    fn unknown_lengths_begin_small_and_known_ones_are_alike() {
        let unknown = PartSizes::of(None, 8 << 20);
        assert_eq!([0, 999, 1_000, 2_000].map(|at| unknown.at(at) >> 20), [8, 8, 16, 32]);
        let known = PartSizes::of(Some(200 << 30), 8 << 20);
        assert_eq!((known.at(0), known.at(9_999)), (21 << 20, 21 << 20));
    }
}
