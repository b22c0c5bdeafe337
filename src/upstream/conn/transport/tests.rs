//! The transport over sockets that a test holds the other end of.

use tokio::io::AsyncWriteExt;

use super::*;

fn pair(reply_bytes_max: usize, ceiling: &Arc<MemoryCeiling>) -> (UnixStream, Transport) {
    let (node, ours) = UnixStream::pair().unwrap();
    (node, Transport::new(TransportStream::Unix(ours), reply_bytes_max, ceiling))
}

#[tokio::test]
async fn what_has_arrived_in_part_is_counted_until_it_is_whole_or_given_up() {
    let arriving = Arc::<MemoryCeiling>::default();
    let arriving_bytes = || arriving.used();
    let (mut node, mut transport) = pair(100, &arriving);
    let (mut other_node, mut other) = pair(100, &arriving);
    node.write_all(b"$5\r\nhe").await.unwrap();
    transport.event(false).await.unwrap();
    assert_eq!(transport.next_frame().unwrap(), None);
    assert_eq!(arriving_bytes(), 6);
    other_node.write_all(b":1").await.unwrap();
    other.event(false).await.unwrap();
    assert_eq!(other.next_frame().unwrap(), None);
    assert_eq!(arriving_bytes(), 8);
    drop(other);
    assert_eq!(arriving_bytes(), 6);
    node.write_all(b"llo\r\n").await.unwrap();
    transport.event(false).await.unwrap();
    assert_eq!(transport.next_frame().unwrap().unwrap(), "$5\r\nhello\r\n");
    assert_eq!(transport.next_frame().unwrap(), None);
    assert_eq!(arriving_bytes(), 0);
}

#[tokio::test]
async fn the_memory_of_a_large_reply_is_given_back() {
    let (mut node, mut transport) = pair(1 << 30, &Arc::default());
    let large = [&b"$4000000\r\n"[..], &vec![b'v'; 4_000_000], b"\r\n"].concat();
    // What stands behind it in the same read is not lost.
    let sent = [&large[..], b":1\r\n:", b"22\r\n"].concat();
    let (sent, late) = sent.split_at(sent.len() - 4);
    let sending = async {
        node.write_all(sent).await.unwrap();
    };
    let receiving = async {
        let mut frames = Vec::new();
        while frames.len() < 2 {
            transport.event(false).await.unwrap();
            while let Some(frame) = transport.next_frame().unwrap() {
                frames.push(frame);
            }
        }
        frames
    };
    let ((), frames) = tokio::join!(sending, receiving);
    assert!(frames[0] == large && frames[1] == ":1\r\n");
    drop(frames);
    node.write_all(late).await.unwrap();
    transport.event(false).await.unwrap();
    assert_eq!(transport.next_frame().unwrap().unwrap(), ":22\r\n");
    // What the buffer stands in is seen when it is full: it takes the whole of that again.
    transport.arrived.reserve(transport.arrived.capacity() + 1);
    assert!(transport.arrived.capacity() <= 2 * KEPT_CAPACITY_BYTES_MAX, "{}", transport.arrived.capacity());
}

/// What comes when the node sends `pieces`, one after the other.
async fn frames(
    node: &mut UnixStream,
    transport: &mut Transport,
    pieces: &[&[u8]],
) -> io::Result<Vec<Bytes>> {
    let mut frames = Vec::new();
    for piece in pieces {
        let sending = async { node.write_all(piece).await };
        let receiving = async {
            let mut left = piece.len();
            while left > 0 {
                let before = transport.arrived.len();
                transport.event(false).await?;
                left -= transport.arrived.len() - before;
                while let Some(frame) = transport.next_frame()? {
                    frames.push(frame);
                }
            }
            Ok::<_, io::Error>(())
        };
        tokio::try_join!(sending, receiving)?;
    }
    Ok(frames)
}

#[tokio::test]
async fn a_reply_beyond_the_bound_is_passed_over_and_the_next_one_comes() {
    let (mut node, mut transport) = pair(10, &Arc::default());
    let pieces = [&b"$4\r\nfour\r\n$5\r\n"[..], b"fi", b"ve!\r\n:1\r\n*3\r\n:1\r\n:2", b"\r\n:3\r\n:2\r\n"];
    let frames = frames(&mut node, &mut transport, &pieces).await.unwrap();
    let [four, refused, one, refused_too, two] = &frames[..] else { panic!("{frames:?}") };
    assert_eq!([four, one, two], ["$4\r\nfour\r\n", ":1\r\n", ":2\r\n"]);
    for refused in [refused, refused_too] {
        assert!(refused.starts_with(b"-OOM nearside: a reply is longer than upstream_reply_bytes_max; "));
    }
    // Nobody knows what a push that is passed over said.
    node.write_all(b">2\r\n$10\r\ninvalidate").await.unwrap();
    transport.event(false).await.unwrap();
    assert!(Transport::is_about_length(&Err(transport.next_frame().unwrap_err())));
    assert!(!Transport::is_about_length(&Err(io::ErrorKind::InvalidData.into())));
}

#[tokio::test]
async fn a_reply_that_there_is_no_memory_for_is_passed_over() {
    let ceiling = Arc::new(MemoryCeiling::new(Some(1_600_000)));
    let (mut node, mut transport) = pair(1 << 30, &ceiling);
    let large = [&b"*2\r\n$1\r\na\r\n$2000000\r\n"[..], &vec![b'v'; 2_000_000], b"\r\n:1\r\n"].concat();
    let got = frames(&mut node, &mut transport, &[&large]).await.unwrap();
    assert!(got[0].starts_with(b"-OOM nearside: a reply of 2000023 bytes does not fit: "), "{got:?}");
    assert_eq!(got[1..], [":1\r\n"]);
    assert_eq!((ceiling.used(), ceiling.counts.replies_refused.load(Ordering::Relaxed)), (0, 1));
    let fits = [&b"$1000000\r\n"[..], &vec![b'v'; 1_000_000], b"\r\n"].concat();
    assert_eq!(frames(&mut node, &mut transport, &[&fits]).await.unwrap()[0].len(), fits.len());
}
