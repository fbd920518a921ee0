//! What is written: bytes at hand, a source that can be opened again, or a stream that can be read once.

use crate::BoxError;
use async_trait::async_trait;
use bytes::Bytes;
use futures_util::{StreamExt, TryStreamExt, stream, stream::BoxStream};
use std::{fmt, sync::Arc};

/// Why a body could not be read to its end.
pub type BodyError = BoxError;

/// Blocks of bytes in order; the first error is the last item.
pub type ByteStream = BoxStream<'static, Result<Bytes, BodyError>>;

/// A source of bytes that gives the same bytes each time it is opened.
#[async_trait]
pub trait Reopen: Send + Sync + 'static {
    /// Opens it from its first byte.
    async fn open(&self) -> Result<ByteStream, BodyError>;
}

/// What a put or a stage writes. Only a body that [can be replayed](Body::is_replayable) is ever tried twice.
pub struct Body {
    source: Source,
    size: Option<u64>,
}

enum Source {
    Bytes(Bytes),
    Reopen(Arc<dyn Reopen>),
    Once(ByteStream),
}

impl Body {
    /// A stream that can be read once. With `size`, a body of another length is an error and publishes nothing.
    #[must_use]
    pub fn once(stream: ByteStream, size: Option<u64>) -> Self {
        Self { source: Source::Once(stream), size }
    }

    /// A source that can be opened again, of `size` bytes where that is known.
    #[must_use]
    pub fn reopen(source: Arc<dyn Reopen>, size: Option<u64>) -> Self {
        Self { source: Source::Reopen(source), size }
    }

    /// Its announced length in bytes.
    #[must_use]
    pub fn size(&self) -> Option<u64> {
        self.size
    }

    /// Whether a second attempt would write the same bytes.
    #[must_use]
    pub fn is_replayable(&self) -> bool {
        !matches!(self.source, Source::Once(_))
    }

    /// Another body of the same bytes, or `None` of one that can be read once.
    #[must_use]
    pub fn replay(&self) -> Option<Self> {
        let source = match &self.source {
            Source::Bytes(bytes) => Source::Bytes(bytes.clone()),
            Source::Reopen(source) => Source::Reopen(source.clone()),
            Source::Once(_) => return None,
        };
        Some(Self { source, size: self.size })
    }

    /// The bytes, where they are at hand.
    #[must_use]
    pub fn as_bytes(&self) -> Option<&Bytes> {
        match &self.source {
            Source::Bytes(bytes) => Some(bytes),
            _ => None,
        }
    }

    /// The body as a stream that ends in an error when its length is not the announced one.
    ///
    /// # Errors
    /// Whatever [`Reopen::open`] answers.
    pub async fn into_stream(self) -> Result<ByteStream, BodyError> {
        let stream = match self.source {
            Source::Bytes(bytes) => return Ok(stream::iter([Ok(bytes)]).boxed()),
            Source::Reopen(source) => source.open().await?,
            Source::Once(stream) => stream,
        };
        Ok(match self.size {
            Some(size) => exactly(stream, size),
            None => stream,
        })
    }

    /// The same body, which tells `seen` the size of each block as it is read; of bytes at hand, at once.
    pub(crate) fn inspect(self, seen: Arc<dyn Fn(usize) + Send + Sync>) -> Self {
        let source = match self.source {
            Source::Bytes(bytes) => {
                seen(bytes.len());
                Source::Bytes(bytes)
            }
            Source::Reopen(source) => Source::Reopen(Arc::new(Inspected { source, seen })),
            Source::Once(stream) => Source::Once(inspected(stream, seen)),
        };
        Self { source, size: self.size }
    }

    /// The whole body in memory: for small ones only.
    ///
    /// # Errors
    /// What the stream answers, and a body of more than `max` bytes.
    pub async fn collect(self, max: usize) -> Result<Bytes, BodyError> {
        if let Source::Bytes(bytes) = &self.source {
            if bytes.len() > max {
                return Err(format!("the body has more than {max} bytes").into());
            }
            return Ok(bytes.clone());
        }
        let mut stream = self.into_stream().await?;
        let mut whole = Vec::new();
        while let Some(block) = stream.try_next().await? {
            if whole.len() + block.len() > max {
                return Err(format!("the body has more than {max} bytes").into());
            }
            whole.extend_from_slice(&block);
        }
        Ok(whole.into())
    }
}

struct Inspected {
    source: Arc<dyn Reopen>,
    seen: Arc<dyn Fn(usize) + Send + Sync>,
}

#[async_trait]
impl Reopen for Inspected {
    async fn open(&self) -> Result<ByteStream, BodyError> {
        Ok(inspected(self.source.open().await?, self.seen.clone()))
    }
}

fn inspected(stream: ByteStream, seen: Arc<dyn Fn(usize) + Send + Sync>) -> ByteStream {
    stream.inspect_ok(move |block| seen(block.len())).boxed()
}

/// `inner`, ending in an error when it does not have exactly `size` bytes.
fn exactly(inner: ByteStream, size: u64) -> ByteStream {
    let wrong = move |got: u64| -> BodyError { format!("the body has {got} bytes, {size} were announced").into() };
    stream::try_unfold((inner, 0_u64), move |(mut inner, seen)| async move {
        match inner.try_next().await? {
            Some(block) => {
                let seen = seen + block.len() as u64;
                if seen > size { Err(wrong(seen)) } else { Ok(Some((block, (inner, seen)))) }
            }
            None if seen < size => Err(wrong(seen)),
            None => Ok(None),
        }
    })
    .boxed()
}

impl<T: Into<Bytes>> From<T> for Body {
    fn from(bytes: T) -> Self {
        let bytes = bytes.into();
        let size = Some(bytes.len() as u64);
        Self { source: Source::Bytes(bytes), size }
    }
}

impl fmt::Debug for Body {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kind = match self.source {
            Source::Bytes(_) => "bytes",
            Source::Reopen(_) => "reopen",
            Source::Once(_) => "once",
        };
        f.debug_struct("Body").field("kind", &kind).field("size", &self.size).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::{AtomicUsize, Ordering};

    fn once(blocks: &[&'static str], size: Option<u64>) -> Body {
        let blocks: Vec<_> = blocks.iter().map(|block| Ok(Bytes::from_static(block.as_bytes()))).collect();
        Body::once(stream::iter(blocks).boxed(), size)
    }

    struct Twice(AtomicUsize);

    #[async_trait]
    impl Reopen for Twice {
        async fn open(&self) -> Result<ByteStream, BodyError> {
            self.0.fetch_add(1, Ordering::SeqCst);
            once(&["ab", "c"], None).into_stream().await
        }
    }

    #[tokio::test]
    async fn a_body_of_its_announced_length_is_taken() {
        for body in [once(&["ab", "", "c"], Some(3)), once(&["abc"], None), "abc".into()] {
            assert_eq!(body.collect(3).await.unwrap(), "abc");
        }
        assert_eq!(once(&[], Some(0)).collect(0).await.unwrap(), "");
    }

    #[tokio::test]
    async fn a_body_of_another_length_ends_in_an_error() {
        for (blocks, size, error) in [
            (&["ab"][..], 3, "the body has 2 bytes, 3 were announced"),
            (&["ab", "cd"], 3, "the body has 4 bytes, 3 were announced"),
            (&[], 1, "the body has 0 bytes, 1 were announced"),
        ] {
            assert_eq!(once(blocks, Some(size)).collect(9).await.unwrap_err().to_string(), error);
        }
    }

    #[tokio::test]
    async fn a_body_over_the_limit_is_not_collected() {
        for body in [once(&["ab", "cd"], None), "abcd".into()] {
            assert!(body.collect(3).await.is_err());
        }
    }

    #[tokio::test]
    async fn only_bytes_and_sources_can_be_replayed() {
        let source = Arc::new(Twice(AtomicUsize::new(0)));
        for body in [Body::from("abc"), Body::reopen(source.clone(), Some(3))] {
            assert!(body.is_replayable());
            for again in [body.replay().unwrap(), body] {
                assert_eq!((again.size(), again.collect(3).await.unwrap()), (Some(3), "abc".into()));
            }
        }
        assert_eq!(source.0.load(Ordering::SeqCst), 2);
        assert!(once(&["abc"], None).replay().is_none());
    }

    #[tokio::test]
    async fn an_inspected_body_tells_every_block_and_stays_as_it_was() {
        for (body, replayable) in [
            (Body::from("abc"), true),
            (Body::reopen(Arc::new(Twice(AtomicUsize::new(0))), None), true),
            (once(&["ab", "c"], Some(3)), false),
        ] {
            let seen = Arc::new(AtomicUsize::new(0));
            let count = seen.clone();
            let body = body.inspect(Arc::new(move |bytes| {
                count.fetch_add(bytes, Ordering::SeqCst);
            }));
            assert_eq!(body.is_replayable(), replayable);
            assert_eq!(body.collect(9).await.unwrap(), "abc");
            assert_eq!(seen.load(Ordering::SeqCst), 3);
        }
    }
}
