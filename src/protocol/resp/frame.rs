//! Finds the end of a reply or push in what a node sent, and touches nothing in between.
//!
//! Knows every type of RESP2 and RESP3, null forms of RESP2 inside RESP3 (`$-1`, `*-1`, as Redis 7.0 really
//! sends them) and error lines of any bytes. Streamed aggregates (`$?`, `*?`) are refused: no server sends
//! them unasked. So is a push inside a reply, as Redis before 7.0.5 sends them (redis issues 8206, 8935 and
//! 11038): it is counted as an element there, so the end of the reply is unknown, and each later reply would
//! go to the wrong request.

/// The scanner of one connection. It resumes where it stopped, so a large reply is walked once.
#[derive(Debug)]
pub struct FrameScanner {
    /// Bytes of one frame.
    bytes_max: usize,
    /// How far the current frame has been walked.
    at: usize,
    /// How much of what comes next was searched for the end of its line, in vain.
    searched: usize,
    /// Elements of the current frame still to come; 0 before its first byte was looked at.
    missing: u64,
    /// The least number of bytes of the current frame, by its announced lengths.
    announced: usize,
    /// Bytes of a frame that is passed over that are done with; `None` while none is.
    passed: Option<usize>,
    /// What is still to come of its current element.
    left: usize,
    /// Its current element is a line, whose end is still to come.
    in_line: bool,
}

/// How far a frame has been passed over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Passed {
    /// Bytes that are done with.
    pub bytes: usize,
    /// Whether it has ended.
    pub ended: bool,
}

/// What a node sent is not RESP. The connection cannot go on after it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FrameError {
    /// A frame or an element begins with a byte that no type has.
    #[error("unknown RESP type byte 0x{0:02x}")]
    UnknownType(u8),
    /// A length or count that is no number, or absurd.
    #[error("bad RESP length")]
    BadLength,
    /// A blob that does not end where its length says.
    #[error("a RESP blob of another length than it says")]
    BadEnd,
    /// A push inside a reply.
    #[error("a push inside a reply, as Redis before 7.0.5 may send it; a newer server does not")]
    PushInside,
    /// A frame that is longer than the limit, by its bytes or its announced lengths.
    #[error("a reply is longer than upstream_reply_bytes_max")]
    TooLong,
}

/// A line that says how long something is, or how many there are, is no longer.
const LENGTH_LINE_BYTES_MAX: usize = 64;

/// No server sends a longer blob or a larger aggregate; beyond it, the peer does not speak RESP.
const LENGTH_MAX: i64 = 4 << 30;

/// The shortest element, a null of RESP3 or an empty line.
const ELEMENT_BYTES_MIN: u64 = 3;

// === impl FrameScanner ===

impl FrameScanner {
    /// A scanner of frames of at most `bytes_max` bytes.
    pub fn new(bytes_max: usize) -> FrameScanner {
        FrameScanner {
            bytes_max,
            at: 0,
            searched: 0,
            missing: 0,
            announced: 0,
            passed: None,
            left: 0,
            in_line: false,
        }
    }

    /// Changes the limit: from here on a frame has at most `bytes_max` bytes.
    pub fn bound(&mut self, bytes_max: usize) {
        self.bytes_max = bytes_max;
    }

    /// The length of the frame that `buf` begins with, or `None` when its end has not arrived; then the next
    /// call must get a `buf` that begins at the same byte.
    ///
    /// # Errors
    /// The bytes are not RESP, or the frame is too long.
    pub fn scan(&mut self, buf: &[u8]) -> Result<Option<usize>, FrameError> {
        if self.missing == 0 {
            self.missing = 1;
            (self.at, self.announced) = (0, 0);
        }
        while self.missing > 0 {
            let Some(rest) = buf.get(self.at..).filter(|rest| !rest.is_empty()) else {
                return self.unfinished(buf.len());
            };
            let Some(line) = line_end(rest, self.searched) else {
                // The last byte may be the first half of the end.
                self.searched = rest.len() - 1;
                return self.unfinished(buf.len());
            };
            self.searched = 0;
            let (length, children) = head(rest, line, self.at > 0)?;
            if self.at + length > buf.len() {
                self.announced = self.at + length;
                return self.unfinished(self.announced);
            }
            // A line ends by how it was found, a blob by what it says.
            if length > line && !buf[..self.at + length].ends_with(b"\r\n") {
                return Err(FrameError::BadEnd);
            }
            self.at += length;
            self.missing = self.missing - 1 + children;
            // Each announced element takes at least three bytes: the error need not wait for all of them.
            if self.missing.saturating_mul(ELEMENT_BYTES_MIN) > self.bytes_max.saturating_sub(self.at) as u64
            {
                return Err(FrameError::TooLong);
            }
        }
        if self.at > self.bytes_max { Err(FrameError::TooLong) } else { Ok(Some(self.at)) }
    }

    /// How many bytes the frame has at least whose end has not arrived.
    pub fn announced(&self) -> usize {
        self.announced
    }

    /// Whether a frame is being passed over.
    pub fn is_passing(&self) -> bool {
        self.passed.is_some()
    }

    /// The frame that was last looked at will not be taken: [`FrameScanner::pass`] gets what has come of it,
    /// and the rest.
    pub fn begin_pass(&mut self) {
        (self.passed, self.left, self.searched, self.in_line) = (Some(0), 0, 0, false);
    }

    /// Skips the bytes of the frame in `buf`. Bytes that were not used come again at the beginning of the
    /// next `buf`.
    ///
    /// # Errors
    /// The bytes are not RESP, or there is no end of them.
    pub fn pass(&mut self, buf: &[u8]) -> Result<Passed, FrameError> {
        let mut at = std::mem::take(&mut self.at).min(buf.len());
        loop {
            let passed = self.left.min(buf.len() - at);
            self.left -= passed;
            at += passed;
            if self.left > 0 || (self.missing == 0 && !self.in_line) {
                break;
            }
            let rest = &buf[at..];
            match line_end(rest, 0) {
                Some(line) if self.in_line => {
                    self.in_line = false;
                    at += line;
                }
                Some(line) => {
                    let (length, children) = head(rest, line, true)?;
                    self.left = length;
                    self.missing = self.missing - 1 + children;
                }
                None if self.in_line => {
                    at += rest.len() - usize::from(rest.last() == Some(&b'\r'));
                    break;
                }
                None if rest.first().is_some_and(|kind| is_line(*kind)) => {
                    self.in_line = true;
                    self.missing -= 1;
                }
                None if rest.len() > LENGTH_LINE_BYTES_MAX => return Err(FrameError::BadLength),
                None => break,
            }
        }
        let passed = self.passed.unwrap_or_default() + at;
        if passed > LENGTH_MAX as usize {
            return Err(FrameError::TooLong);
        }
        let ended = self.left == 0 && self.missing == 0 && !self.in_line;
        self.passed = (!ended).then_some(passed);
        Ok(Passed { bytes: at, ended })
    }

    /// A frame of at least `bytes_min` bytes that has not arrived whole.
    fn unfinished(&self, bytes_min: usize) -> Result<Option<usize>, FrameError> {
        if bytes_min > self.bytes_max { Err(FrameError::TooLong) } else { Ok(None) }
    }
}

/// The length of the element that `rest` begins with, and the number of its own elements. `line` is the end
/// of its first line; `inside` says whether it is within a frame.
fn head(rest: &[u8], line: usize, inside: bool) -> Result<(usize, u64), FrameError> {
    let number = || {
        let number = super::parse_integer(&rest[1..line - 2]).ok_or(FrameError::BadLength)?;
        if (-1..=LENGTH_MAX).contains(&number) { Ok(number) } else { Err(FrameError::BadLength) }
    };
    Ok(match rest[0] {
        kind if is_line(kind) => (line, 0),
        b'$' | b'=' | b'!' => match u64::try_from(number()?) {
            Ok(blob) => (line + blob as usize + 2, 0),
            Err(_) => (line, 0),
        },
        b'>' if inside => return Err(FrameError::PushInside),
        b'*' | b'~' | b'>' => (line, number()?.max(0) as u64),
        b'%' => (line, 2 * number()?.max(0) as u64),
        // An attribute comes before the value that it describes, and does not count as one.
        b'|' => (line, 2 * number()?.max(0) as u64 + 1),
        other => return Err(FrameError::UnknownType(other)),
    })
}

/// Whether an element of this type is one line of text.
fn is_line(kind: u8) -> bool {
    matches!(kind, b'+' | b'-' | b':' | b',' | b'#' | b'_' | b'(')
}

/// The offset after the `\r\n` that ends the first line; it does not begin before `from`.
fn line_end(buf: &[u8], mut from: usize) -> Option<usize> {
    loop {
        let carriage = from + memchr::memchr(b'\r', &buf[from..])?;
        match buf.get(carriage + 1)? {
            b'\n' => return Some(carriage + 2),
            _ => from = carriage + 1,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FRAMES: [&[u8]; 20] = [
        b"+OK\r\n",
        b"-ERR \xff\xfe bad\r\n",
        b":-12\r\n",
        b",3.1400000000000001\r\n",
        b"#t\r\n",
        b"_\r\n",
        b"(3492890328409238509324850943850943825024385\r\n",
        b"$0\r\n\r\n",
        b"$5\r\na\r\nbc\r\n",
        b"$-1\r\n",
        b"*-1\r\n",
        b"*0\r\n",
        b"=7\r\ntxt:abc\r\n",
        b"!5\r\nERR x\r\n",
        b"*2\r\n*2\r\n:1\r\n$-1\r\n_\r\n",
        b"%2\r\n+a\r\n*1\r\n:1\r\n+b\r\n%1\r\n:1\r\n:2\r\n",
        b"~2\r\n:1\r\n:2\r\n",
        b">2\r\n$10\r\ninvalidate\r\n*1\r\n$1\r\nk\r\n",
        b">2\r\n$10\r\ninvalidate\r\n_\r\n",
        b"|1\r\n+ttl\r\n:3\r\n*2\r\n:1\r\n|1\r\n+a\r\n+b\r\n:2\r\n",
    ];

    #[test]
    fn every_type_is_bounded_whole_and_byte_by_byte() {
        for frame in FRAMES {
            let mut with_more = frame.to_vec();
            with_more.extend_from_slice(b":99\r\n");
            assert_eq!(FrameScanner::new(usize::MAX).scan(&with_more), Ok(Some(frame.len())));
            let mut scanner = FrameScanner::new(usize::MAX);
            for end in 0..frame.len() {
                assert_eq!(scanner.scan(&frame[..end]), Ok(None), "{}", frame[..end].escape_ascii());
            }
            assert_eq!(scanner.scan(frame), Ok(Some(frame.len())), "{}", frame.escape_ascii());
        }
    }

    #[test]
    fn a_frame_has_so_many_bytes_at_most_whole_or_in_part_or_by_its_own_word() {
        for frame in FRAMES {
            assert_eq!(FrameScanner::new(frame.len()).scan(frame), Ok(Some(frame.len())));
            let too_long = Err(FrameError::TooLong);
            assert_eq!(FrameScanner::new(frame.len() - 1).scan(frame), too_long, "{}", frame.escape_ascii());
        }
        assert_eq!(FrameScanner::new(10).scan(b"$5\r\n"), Err(FrameError::TooLong), "it will be 11");
        assert_eq!(FrameScanner::new(10).scan(b"*2\r\n"), Ok(None), "it may be 10");
        assert_eq!(FrameScanner::new(10).scan(b"*3\r\n"), Err(FrameError::TooLong), "it will be 13");
        assert_eq!(FrameScanner::new(10).scan(b"%1\r\n~1\r\n"), Err(FrameError::TooLong), "it will be 14");
        assert_eq!(FrameScanner::new(11).scan(b"*2\r\n:1\r\n:2"), Ok(None));
        assert_eq!(FrameScanner::new(11).scan(b"*2\r\n:1\r\n:2222"), Err(FrameError::TooLong));
    }

    #[test]
    fn a_frame_that_is_passed_over_ends_where_it_ends_however_it_comes() {
        // A push is not passed over.
        for frame in FRAMES.into_iter().filter(|frame| frame[0] != b'>') {
            let sent = [frame, b":99\r\n"].concat();
            for (seen, piece) in [(0, 1), (1, 2), (3, 5), (frame.len() - 1, 1)] {
                let seen = seen.min(frame.len() - 1);
                let mut scanner = FrameScanner::new(usize::MAX);
                assert_eq!(scanner.scan(&sent[..seen]), Ok(None));
                scanner.begin_pass();
                let (mut at, mut end) = (0, seen);
                loop {
                    let passed = scanner.pass(&sent[at..end]).unwrap();
                    at += passed.bytes;
                    if passed.ended {
                        break;
                    }
                    end = (end + piece).min(sent.len());
                }
                assert_eq!(at, frame.len(), "{} {seen} {piece}", frame.escape_ascii());
                assert!(!scanner.is_passing());
                assert_eq!(scanner.scan(&sent[at..]), Ok(Some(5)));
            }
        }
        let mut scanner = FrameScanner::new(10);
        assert_eq!(scanner.scan(b"$100\r\n"), Err(FrameError::TooLong));
        scanner.begin_pass();
        let long = [b'a'; 100_000];
        assert_eq!(scanner.pass(b"$100\r\n"), Ok(Passed { bytes: 6, ended: false }));
        assert_eq!(scanner.pass(&long[..102]), Ok(Passed { bytes: 102, ended: true }));
        assert_eq!(scanner.scan(b"*2\r\n+"), Ok(None));
        scanner.begin_pass();
        // A line is not kept until it ends, and its end may come in two.
        let begun = [b"*2\r\n+", &long[..], b"\r"].concat();
        assert_eq!(scanner.pass(&begun), Ok(Passed { bytes: begun.len() - 1, ended: false }));
        assert_eq!(scanner.pass(b"\r"), Ok(Passed { bytes: 0, ended: false }));
        assert_eq!(scanner.pass(b"\r\n:1\r\n"), Ok(Passed { bytes: 6, ended: true }));
        assert_eq!(scanner.scan(b"+"), Ok(None));
        scanner.begin_pass();
        assert_eq!(scanner.pass(b"+a\rb"), Ok(Passed { bytes: 4, ended: false }));
        assert_eq!(scanner.pass(b"\r\n"), Ok(Passed { bytes: 2, ended: true }));
        // A length has an end.
        assert_eq!(scanner.scan(b"*"), Ok(None));
        scanner.begin_pass();
        assert_eq!(scanner.pass(&[b"*", &long[..]].concat()), Err(FrameError::BadLength));
    }

    #[test]
    fn a_long_line_is_searched_once() {
        let line = [b"+", &[b'a'; 1 << 20][..], b"\r\n"].concat();
        let mut scanner = FrameScanner::new(usize::MAX);
        for end in (1..line.len()).step_by(1_000) {
            assert_eq!(scanner.scan(&line[..end]), Ok(None));
            assert_eq!(scanner.searched, end - 1);
        }
        assert_eq!(scanner.scan(&line), Ok(Some(line.len())));
        assert_eq!(scanner.scan(b"+OK\r\n"), Ok(Some(5)));
    }

    #[test]
    fn what_is_not_resp_is_an_error() {
        let cases: [(&[u8], FrameError); 11] = [
            (b"HTTP/1.1 200 OK\r\n", FrameError::UnknownType(b'H')),
            (b"$abc\r\n", FrameError::BadLength),
            (b"$?\r\n", FrameError::BadLength),
            (b"*-2\r\n", FrameError::BadLength),
            (b"$99999999999999999999\r\n", FrameError::BadLength),
            (b"$3\r\nabcXX", FrameError::BadEnd),
            (b"$3\r\nabc\r\r", FrameError::BadEnd),
            (b"$0\r\n:1\r\n", FrameError::BadEnd),
            (b"*2\r\n$1\r\na\r\n=7\r\ntxt:abcd\r\n", FrameError::BadEnd),
            (b"*1\r\n\0\r\n", FrameError::UnknownType(0)),
            (b"*2\r\n$1\r\na\r\n>2\r\n$10\r\ninvalidate\r\n*1\r\n$1\r\nb\r\n_\r\n", FrameError::PushInside),
        ];
        for (bytes, error) in cases {
            assert_eq!(FrameScanner::new(usize::MAX).scan(bytes), Err(error), "{}", bytes.escape_ascii());
            // In pieces it is one as soon as that can be seen, and no frame before.
            let mut scanner = FrameScanner::new(usize::MAX);
            let first =
                (1..=bytes.len()).map(|end| scanner.scan(&bytes[..end])).find(|seen| *seen != Ok(None));
            assert_eq!(first, Some(Err(error)), "{}", bytes.escape_ascii());
        }
    }
}
