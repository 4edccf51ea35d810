//! Bodies of responses: read while they are sent, so that a long one is never in memory as a whole.

use std::io::{self, BufRead, Read};

use flate2::Compression;
use flate2::bufread::GzEncoder;
use futures_util::stream;
use http_body_util::{Either, Full, StreamBody};
use hyper::body::{Bytes, Frame};

/// What a page says, for reading.
pub(super) type Content = Box<dyn BufRead + Send>;

/// What goes to the client: with its length where it is short, else in chunks, because nobody knows yet how long it
/// will be.
pub(super) type Body = Either<Full<Bytes>, StreamBody<stream::Iter<Frames>>>;
type Frames = Box<dyn Iterator<Item = io::Result<Frame<Bytes>>> + Send>;

/// What is sent at a time, in bytes. The metrics of one target fit.
const FRAME: usize = 32 * 1024;

/// `content` as it stands.
pub(super) fn plain(content: Content) -> io::Result<Body> {
    body(content)
}

/// `content` as gzip, at the level that is quick: the text is repetitive and shrinks to a tenth all the same.
pub(super) fn gzip(content: Content) -> io::Result<Body> {
    body(GzEncoder::new(content, Compression::fast()))
}

fn body(mut content: impl Read + Send + 'static) -> io::Result<Body> {
    let mut frames = std::iter::from_fn(move || frame(&mut content).transpose());
    let first = frames.next().transpose()?.unwrap_or_default();
    let Some(second) = frames.next() else { return Ok(Either::Left(Full::new(first))) };
    let frames = [Ok(first), second].into_iter().chain(frames);
    let frames: Frames = Box::new(frames.map(|bytes| bytes.map(Frame::data)));
    Ok(Either::Right(StreamBody::new(stream::iter(frames))))
}

/// The next of `content`, full unless it is the last.
fn frame(content: &mut impl Read) -> io::Result<Option<Bytes>> {
    let mut bytes = Vec::with_capacity(FRAME);
    content.take(FRAME as u64).read_to_end(&mut bytes)?;
    Ok((!bytes.is_empty()).then(|| bytes.into()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use http_body_util::BodyExt as _;
    use hyper::body::Body as _;

    async fn collected(body: Body) -> Vec<u8> {
        body.collect().await.unwrap().to_bytes().to_vec()
    }

    fn lines(count: usize) -> Vec<u8> {
        let lines: Vec<_> = (0..count).map(|number| format!("cachepulse_probe_success {number}")).collect();
        lines.join("\n").into_bytes()
    }

    #[tokio::test]
    async fn a_short_body_has_a_length_and_a_long_one_none_and_both_are_whole() {
        for (count, known) in [(0, true), (1, true), (1000, true), (FRAME / 10, false)] {
            let text = lines(count);
            let body = plain(Box::new(io::Cursor::new(text.clone()))).unwrap();
            assert_eq!(body.size_hint().exact(), known.then_some(text.len() as u64), "{count}");
            assert_eq!(collected(body).await, text);
        }
    }

    #[tokio::test]
    async fn what_was_packed_can_be_unpacked() {
        let text = lines(200_000);
        let packed = collected(gzip(Box::new(io::Cursor::new(text.clone()))).unwrap()).await;
        assert!(packed.len() > 2 * FRAME && packed.len() * 5 < text.len(), "{}", packed.len());
        let mut unpacked = Vec::new();
        flate2::read::GzDecoder::new(&*packed).read_to_end(&mut unpacked).unwrap();
        assert_eq!(unpacked, text);
    }
}
