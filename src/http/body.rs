//! Bodies of responses: read while they are sent, so that a long one is never in memory as a whole.

use std::io::{self, BufRead, Read};
use std::sync::Arc;

use flate2::Compression;
use flate2::bufread::GzEncoder;
use futures_util::stream;
use http_body_util::{Either, Full, StreamBody};
use hyper::body::{Bytes, Frame};

use super::answers::Room;

/// What a page says.
pub(super) type Content = Box<dyn BufRead + Send>;

/// The same as it goes to the client.
pub(super) type Text = Box<dyn Read + Send>;

/// A body with its length where it is short, else in chunks, because nobody knows yet how long it will be.
pub(super) type Body = Either<Full<Bytes>, StreamBody<stream::Iter<Frames>>>;
type Frames = Box<dyn Iterator<Item = io::Result<Frame<Bytes>>> + Send>;

/// What is sent at a time, in bytes. The metrics of one target fit.
const FRAME: usize = 32 * 1024;

/// `content` as gzip, at the level that is quick: the text is repetitive and shrinks to a tenth all the same.
pub(super) fn gzip(content: Content) -> Text {
    Box::new(GzEncoder::new(content, Compression::fast()))
}

/// `text` as a body, which takes `room` until the last of it is sent.
pub(super) fn body(mut text: Text, room: Room) -> io::Result<Body> {
    let room = Arc::new(room);
    let mut frames = std::iter::from_fn(move || frame(&mut text, &room).transpose());
    let first = frames.next().transpose()?.unwrap_or_default();
    let Some(second) = frames.next() else { return Ok(Either::Left(Full::new(first))) };
    let frames = [Ok(first), second].into_iter().chain(frames);
    let frames: Frames = Box::new(frames.map(|bytes| bytes.map(Frame::data)));
    Ok(Either::Right(StreamBody::new(stream::iter(frames))))
}

/// The next of `text`, full unless it is the last.
fn frame(text: &mut Text, room: &Arc<Room>) -> io::Result<Option<Bytes>> {
    let mut bytes = Vec::with_capacity(FRAME);
    text.take(FRAME as u64).read_to_end(&mut bytes)?;
    Ok((!bytes.is_empty()).then(|| Bytes::from_owner(Kept { bytes, _room: Arc::clone(room) })))
}

/// Bytes that take room.
struct Kept {
    bytes: Vec<u8>,
    _room: Arc<Room>,
}

impl AsRef<[u8]> for Kept {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}

#[cfg(test)]
mod tests {
    use super::super::answers::Answers;
    use super::super::stream::Activity;
    use super::*;
    use http_body_util::BodyExt as _;
    use hyper::body::Body as _;

    async fn room() -> Room {
        Answers::new(1).room(&Arc::new(Activity::new())).await
    }

    async fn collected(body: Body) -> Vec<u8> {
        body.collect().await.unwrap().to_bytes().to_vec()
    }

    fn lines(count: usize) -> io::Cursor<Vec<u8>> {
        let lines: Vec<_> = (0..count).map(|number| format!("cachepulse_probe_success {number}")).collect();
        io::Cursor::new(lines.join("\n").into_bytes())
    }

    #[tokio::test]
    async fn a_short_body_has_a_length_and_a_long_one_none_and_both_are_whole() {
        for (count, known) in [(0, true), (1, true), (1000, true), (FRAME / 10, false)] {
            let text = lines(count);
            let body = body(Box::new(text.clone()), room().await).unwrap();
            let length = text.get_ref().len() as u64;
            assert_eq!(body.size_hint().exact(), known.then_some(length), "{count}");
            assert_eq!(collected(body).await, text.into_inner());
        }
    }

    #[tokio::test]
    async fn what_was_packed_can_be_unpacked() {
        let text = lines(200_000);
        let packed = collected(body(gzip(Box::new(text.clone())), room().await).unwrap()).await;
        assert!(packed.len() > 2 * FRAME && packed.len() * 5 < text.get_ref().len(), "{}", packed.len());
        let mut unpacked = Vec::new();
        flate2::read::GzDecoder::new(&*packed).read_to_end(&mut unpacked).unwrap();
        assert_eq!(unpacked, text.into_inner());
    }

    #[tokio::test]
    async fn room_is_taken_until_the_last_of_the_body_is_gone() {
        for count in [1, FRAME / 10] {
            let activity = Arc::new(Activity::new());
            let room = Answers::new(1).room(&activity).await;
            let held = Arc::strong_count(&activity);
            let body = body(Box::new(lines(count)), room).unwrap();
            let sent = body.collect().await.unwrap();
            assert_eq!(Arc::strong_count(&activity), held, "{count}");
            drop(sent);
            assert_eq!(Arc::strong_count(&activity), 1, "{count}");
        }
    }
}
