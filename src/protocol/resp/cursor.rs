//! Reads one complete reply, RESP2 or RESP3, without copying: its head, its elements, and where an element
//! ends.
//!
//! Nothing recurses, so nesting costs no stack, and bytes that are no reply give `None`, never a panic. A
//! scanner has found the end of the reply before; this reader says what is inside.

/// The head of an element.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ReplyHead<'a> {
    /// A line: `+`, `-`, `:`, `,`, `#` or `(`.
    Line {
        /// The first byte.
        kind: u8,
        /// The rest of the line.
        text: &'a [u8],
    },
    /// A length, and as many bytes: `$`, `!` or `=`.
    Blob {
        /// The first byte.
        kind: u8,
        /// The bytes.
        body: &'a [u8],
    },
    /// `_`, or the older `$-1` and `*-1`.
    Null {
        /// The first byte.
        kind: u8,
    },
    /// `*`, `~`, `>`, `%` or `|`. After an attribute (`|`) the element that it describes still follows.
    Aggregate {
        /// The first byte.
        kind: u8,
        /// How many elements follow, a map's keys and values counted one by one.
        count: usize,
    },
}

/// A place in a reply.
#[derive(Clone, Copy, Debug)]
pub struct Cursor<'a> {
    rest: &'a [u8],
}

/// The elements of an aggregate, each with the attributes before it. After bytes that are no element it gives
/// `None` inside `Some` once, and then ends.
#[derive(Clone, Debug)]
pub struct Elements<'a> {
    cursor: Cursor<'a>,
    remaining: usize,
}

// === impl Cursor ===

impl<'a> Cursor<'a> {
    /// At the beginning of `bytes`.
    pub fn new(bytes: &'a [u8]) -> Cursor<'a> {
        Cursor { rest: bytes }
    }

    /// What has not been read.
    pub fn rest(&self) -> &'a [u8] {
        self.rest
    }

    /// Reads a head: a whole line or blob, or the line that opens an aggregate.
    pub fn head(&mut self) -> Option<ReplyHead<'a>> {
        let end = memchr::memchr(b'\n', self.rest)?;
        let (&kind, text) = self.rest[..end].strip_suffix(b"\r")?.split_first()?;
        let after = &self.rest[end + 1..];
        let head = match kind {
            b'+' | b'-' | b':' | b',' | b'#' | b'(' => ReplyHead::Line { kind, text },
            b'_' if text.is_empty() => ReplyHead::Null { kind },
            b'$' | b'*' if text == b"-1" => ReplyHead::Null { kind },
            b'$' | b'!' | b'=' => {
                let length = length(text)?;
                let (body, after) = after.split_at_checked(length)?;
                self.rest = after.strip_prefix(b"\r\n")?;
                return Some(ReplyHead::Blob { kind, body });
            }
            b'*' | b'~' | b'>' => ReplyHead::Aggregate { kind, count: length(text)? },
            b'%' | b'|' => ReplyHead::Aggregate { kind, count: length(text)?.checked_mul(2)? },
            _ => return None,
        };
        self.rest = after;
        Some(head)
    }

    /// Reads a head, and steps over the attributes before it.
    #[inline]
    pub fn head_of_value(&mut self) -> Option<ReplyHead<'a>> {
        loop {
            match self.head()? {
                ReplyHead::Aggregate { kind: b'|', count } => self.skip(count)?,
                head => return Some(head),
            }
        }
    }

    /// Steps over a whole element, and over the attributes before it. Gives its bytes.
    pub fn element(&mut self) -> Option<&'a [u8]> {
        let start = self.rest;
        self.skip(1)?;
        Some(&start[..start.len() - self.rest.len()])
    }

    /// Steps over `count` elements.
    pub fn skip(&mut self, count: usize) -> Option<()> {
        let mut open = count;
        while open > 0 {
            // An element takes three bytes at least: a number beyond the bytes that are left is a lie.
            if open > self.rest.len() {
                return None;
            }
            match self.head()? {
                ReplyHead::Aggregate { kind: b'|', count } => open = open.checked_add(count)?,
                ReplyHead::Aggregate { count, .. } => open = (open - 1).checked_add(count)?,
                _ => open -= 1,
            }
        }
        Some(())
    }
}

// === impl Elements ===

impl<'a> Iterator for Elements<'a> {
    type Item = Option<&'a [u8]>;

    fn next(&mut self) -> Option<Option<&'a [u8]>> {
        self.remaining = self.remaining.checked_sub(1)?;
        let element = self.cursor.element();
        if element.is_none() {
            self.remaining = 0;
        }
        Some(element)
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        (0, Some(self.remaining))
    }
}

/// The head of `reply`, attributes before it left out.
pub fn head(reply: &[u8]) -> Option<ReplyHead<'_>> {
    Cursor::new(reply).head_of_value()
}

/// The elements of `reply`, if it is an aggregate. The elements of a map are its keys and values in turn.
pub fn elements(reply: &[u8]) -> Option<Elements<'_>> {
    let mut cursor = Cursor::new(reply);
    match cursor.head_of_value()? {
        ReplyHead::Aggregate { count, .. } => Some(Elements { cursor, remaining: count }),
        _ => None,
    }
}

/// The value of a key of a map, as bytes of the reply; the key is a string.
pub fn field<'a>(map: &'a [u8], name: &[u8]) -> Option<&'a [u8]> {
    let mut elements = elements(map)?.flatten();
    while let (Some(key), Some(value)) = (elements.next(), elements.next()) {
        if text(key) == Some(name) {
            return Some(value);
        }
    }
    None
}

/// The bytes of a string of either form.
pub fn text(reply: &[u8]) -> Option<&[u8]> {
    match head(reply)? {
        ReplyHead::Line { kind: b'+', text } => Some(text),
        ReplyHead::Blob { kind: b'$', body } => Some(body),
        _ => None,
    }
}

/// The strings in `bulks`, which follow one another as in a request.
pub fn strings(bulks: &[u8]) -> impl Iterator<Item = &[u8]> {
    let mut cursor = Cursor::new(bulks);
    std::iter::from_fn(move || match cursor.head()? {
        ReplyHead::Blob { body, .. } => Some(body),
        _ => None,
    })
}

/// The number, if `reply` is an integer.
pub fn integer(reply: &[u8]) -> Option<i64> {
    match head(reply)? {
        ReplyHead::Line { kind: b':', text } => std::str::from_utf8(text).ok()?.parse().ok(),
        _ => None,
    }
}

/// Whether `reply` has a form that commands give for an absent key: null, 0, false, `none`, an empty string
/// or aggregate, or an aggregate of nothing but such. What is present may look so too.
pub fn is_absent_form(reply: &[u8]) -> bool {
    let mut cursor = Cursor::new(reply);
    while !cursor.rest().is_empty() {
        let absent = match cursor.head() {
            Some(ReplyHead::Null { .. }) => true,
            Some(ReplyHead::Line { kind: b':', text }) => text == b"0",
            Some(ReplyHead::Line { kind: b'#', text }) => text == b"f",
            Some(ReplyHead::Line { kind: b'+', text }) => text == b"none",
            Some(ReplyHead::Blob { kind: b'$', body }) => body.is_empty(),
            Some(ReplyHead::Aggregate { kind, .. }) => kind != b'|',
            _ => false,
        };
        if !absent {
            return false;
        }
    }
    !reply.is_empty()
}

/// A length as servers write it: plain digits.
fn length(text: &[u8]) -> Option<usize> {
    if text.is_empty() {
        return None;
    }
    text.iter().try_fold(0usize, |number, byte| match byte {
        b'0'..=b'9' => number.checked_mul(10)?.checked_add(usize::from(byte - b'0')),
        _ => None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_of_head_is_read() {
        let line = |kind, text| Some(ReplyHead::Line { kind, text });
        assert_eq!(head(b"+OK\r\n"), line(b'+', b"OK"));
        assert_eq!(head(b"-ERR \xff\xfe\r\n"), line(b'-', b"ERR \xff\xfe"));
        assert_eq!(head(b":-7\r\n"), line(b':', b"-7"));
        assert_eq!(head(b",inf\r\n"), line(b',', b"inf"));
        assert_eq!(head(b"#t\r\n"), line(b'#', b"t"));
        assert_eq!(head(b"(123456789012345678901\r\n"), line(b'(', b"123456789012345678901"));
        assert_eq!(head(b"$4\r\na\r\nb\r\n"), Some(ReplyHead::Blob { kind: b'$', body: b"a\r\nb" }));
        assert_eq!(head(b"=5\r\ntxt:a\r\n"), Some(ReplyHead::Blob { kind: b'=', body: b"txt:a" }));
        assert_eq!(head(b"!3\r\nERR\r\n"), Some(ReplyHead::Blob { kind: b'!', body: b"ERR" }));
        for (null, kind) in [(&b"$-1\r\n"[..], b'$'), (b"*-1\r\n", b'*'), (b"_\r\n", b'_')] {
            assert_eq!(head(null), Some(ReplyHead::Null { kind }));
        }
        assert_eq!(head(b"%2\r\n"), Some(ReplyHead::Aggregate { kind: b'%', count: 4 }));
        assert_eq!(head(b"|1\r\n+a\r\n+b\r\n>3\r\n"), Some(ReplyHead::Aggregate { kind: b'>', count: 3 }));
    }

    #[test]
    fn elements_are_whole_and_keep_their_attributes() {
        let reply = b"*3\r\n*2\r\n:1\r\n%1\r\n+a\r\n_\r\n|1\r\n+ttl\r\n:9\r\n$1\r\nx\r\n~0\r\n";
        let parts: Option<Vec<_>> = elements(reply).unwrap().collect();
        let whole: [&[u8]; 3] =
            [b"*2\r\n:1\r\n%1\r\n+a\r\n_\r\n", b"|1\r\n+ttl\r\n:9\r\n$1\r\nx\r\n", b"~0\r\n"];
        assert_eq!(parts.unwrap(), whole);
        assert!(elements(b"$1\r\na\r\n").is_none());
        assert!(elements(b"*-1\r\n").is_none());
    }

    #[test]
    fn hostile_bytes_give_nothing() {
        let deep = b"*1\r\n".repeat(1_000_000);
        let hostile: [&[u8]; 14] = [
            b"",
            b"\r\n",
            b"\n",
            b"$5\r\nab\r\n",
            b"$2\r\nabc\r\n",
            b"$-2\r\n",
            b"*18446744073709551616\r\n",
            b"$?\r\n",
            b"*9999999999\r\n",
            b"%9223372036854775808\r\n",
            b"x1\r\n",
            b"+no end",
            b"*2\r\n:1\r\n",
            &deep,
        ];
        for bytes in hostile {
            assert_eq!(Cursor::new(bytes).element(), None, "{}", bytes[..bytes.len().min(30)].escape_ascii());
            assert!(!is_absent_form(bytes) || bytes[0] == b'*');
        }
        let parts: Vec<_> = elements(b"*3\r\n:1\r\n$9\r\na\r\n").unwrap().collect();
        assert_eq!(parts, [Some(&b":1\r\n"[..]), None]);
    }

    #[test]
    fn absent_keys_are_known_by_their_replies() {
        let absent: [&[u8]; 9] = [
            b"_\r\n",
            b"$-1\r\n",
            b":0\r\n",
            b"#f\r\n",
            b"$0\r\n\r\n",
            b"+none\r\n",
            b"*0\r\n",
            b"%0\r\n",
            b"*2\r\n_\r\n*1\r\n:0\r\n",
        ];
        for reply in absent {
            assert!(is_absent_form(reply), "{}", reply.escape_ascii());
        }
        let present: [&[u8]; 6] =
            [b":1\r\n", b"+OK\r\n", b"$1\r\n0\r\n", b",0\r\n", b"*2\r\n_\r\n:1\r\n", b"-ERR\r\n"];
        for reply in present {
            assert!(!is_absent_form(reply), "{}", reply.escape_ascii());
        }
    }
}
