//! Bodies of responses: read while they are sent, so that a long one is never in memory as a whole.

use std::io::{self, BufRead, Read};
use std::sync::Arc;

use flate2::Compression;
use flate2::bufread::GzEncoder;
use futures_util::StreamExt as _;
use futures_util::stream::{self, BoxStream};
use http_body_util::{Either, Full, StreamBody};
use hyper::body::{Bytes, Frame};

use super::slots::Slot;

/// The content of a page.
pub(super) type Content = Box<dyn BufRead + Send>;

/// The content as it is sent, compressed or not.
pub(super) type Encoded = Box<dyn Read + Send>;

/// A short body has a length; a long one is sent in chunks, because its length is not known at the start.
pub(super) type Body = Either<Full<Bytes>, StreamBody<BoxStream<'static, io::Result<Frame<Bytes>>>>>;

/// The longest short body, in bytes. The metrics of one target fit.
const SHORT: usize = 48 * 1024;
/// How many bytes of a long one are sent at a time: a turn takes no longer than that.
const FRAME: usize = 16 * 1024;

/// Compresses `content`. Repetitive text shrinks to a tenth also at the fastest level.
pub(super) fn gzip(content: Content, level: Compression) -> Encoded {
    Box::new(GzEncoder::new(content, level))
}

/// Makes a body of `content`, which holds `slot` until its end is sent.
pub(super) fn body(mut content: Encoded, slot: Slot) -> io::Result<Body> {
    let slot = Arc::new(slot);
    let first = frame(&mut content, SHORT, &slot)?.unwrap_or_default();
    let Some(second) = frame(&mut content, FRAME, &slot)? else { return Ok(Either::Left(Full::new(first))) };
    let others = stream::try_unfold((content, slot), async |(mut content, slot)| {
        let _turn = slot.turn().await;
        let bytes = frame(&mut content, FRAME, &slot)?;
        Ok(bytes.map(|bytes| (bytes, (content, slot))))
    });
    let frames = stream::iter([Ok(first), Ok(second)]).chain(others).map(|bytes| bytes.map(Frame::data));
    Ok(Either::Right(StreamBody::new(frames.boxed())))
}

/// Reads the next `size` bytes, fewer at the end.
fn frame(content: &mut Encoded, size: usize, slot: &Arc<Slot>) -> io::Result<Option<Bytes>> {
    let mut bytes = Vec::with_capacity(size);
    content.take(size as u64).read_to_end(&mut bytes)?;
    Ok((!bytes.is_empty()).then(|| Bytes::from_owner(Kept { bytes, _slot: Arc::clone(slot) })))
}

/// Bytes that hold the slot of their response.
struct Kept {
    bytes: Vec<u8>,
    _slot: Arc<Slot>,
}

impl AsRef<[u8]> for Kept {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}

#[cfg(test)]
mod tests {
    use super::super::slots::Slots;
    use super::super::stream::Activity;
    use super::*;
    use http_body_util::BodyExt as _;
    use hyper::body::Body as _;

    async fn slot() -> Slot {
        Slots::new(1).slot(&Arc::new(Activity::new())).await
    }

    async fn collected(body: Body) -> Vec<u8> {
        body.collect().await.unwrap().to_bytes().to_vec()
    }

    fn lines(count: usize) -> io::Cursor<Vec<u8>> {
        let lines: Vec<_> = (0..count).map(|number| format!("cachepulse_probe_success {number}")).collect();
        io::Cursor::new(lines.join("\n").into_bytes())
    }

    #[tokio::test]
    async fn a_short_body_has_a_length_and_a_long_one_has_none() {
        for (count, known) in [(0, true), (1, true), (1000, true), (SHORT / 10, false)] {
            let text = lines(count);
            let body = body(Box::new(text.clone()), slot().await).unwrap();
            let length = text.get_ref().len() as u64;
            assert_eq!(body.size_hint().exact(), known.then_some(length), "{count}");
            assert_eq!(collected(body).await, text.into_inner());
        }
    }

    #[tokio::test]
    async fn a_compressed_body_decompresses_to_the_same_text() {
        let text = lines(200_000);
        let packed =
            collected(body(gzip(Box::new(text.clone()), Compression::fast()), slot().await).unwrap()).await;
        assert!(packed.len() > 2 * SHORT && packed.len() * 5 < text.get_ref().len(), "{}", packed.len());
        let mut unpacked = Vec::new();
        flate2::read::GzDecoder::new(&*packed).read_to_end(&mut unpacked).unwrap();
        assert_eq!(unpacked, text.into_inner());
    }

    #[tokio::test]
    async fn a_slot_is_held_until_the_end_of_the_body_is_sent() {
        for count in [1, SHORT / 10] {
            let activity = Arc::new(Activity::new());
            let slot = Slots::new(1).slot(&activity).await;
            let held = Arc::strong_count(&activity);
            let body = body(Box::new(lines(count)), slot).unwrap();
            let sent = body.collect().await.unwrap();
            assert_eq!(Arc::strong_count(&activity), held, "{count}");
            drop(sent);
            assert_eq!(Arc::strong_count(&activity), 1, "{count}");
        }
    }
}
