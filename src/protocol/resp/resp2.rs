//! Turns a RESP3 reply into the reply that its command would have had over RESP2.
//!
//! Most of it follows from the types: maps and sets become arrays, doubles and big numbers become strings,
//! booleans become 1 and 0. What does not follow is a [`Form`], a column of the command table: a null may be
//! that of a string or of an array, and some commands nest in RESP3 what they list flat in RESP2. Order and
//! digits are never touched. The bytes are walked once, stretches that stay as they are are copied in one
//! piece, and nothing recurses.

use bytes::BytesMut;

use super::{
    cursor::{self, Cursor, ReplyHead},
    request::Request,
};

/// How the replies of a command differ between RESP3 and RESP2, beyond what follows from their types.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// Not at all.
    ByRule,
    /// A null reply is `*-1` if the request has at least this many arguments (LPOP with a count), and `$-1`
    /// otherwise.
    NullArrayFrom(usize),
    /// A null that is an element of the reply is `*-1` (GEOPOS).
    NullElements,
    /// The null that is this element of the reply is `*-1` (the consumers of XPENDING).
    NullElementAt(usize),
    /// Arrays within the reply in RESP3, one flat list in RESP2 (ZRANGE with scores).
    Flattened,
    /// A map in RESP3, an array of pairs in RESP2, and every null is `*-1` (XREAD).
    Streams,
}

/// The bytes are not one complete RESP3 reply.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not one complete RESP3 reply")]
pub struct Malformed;

/// The null of a string, of a number, of anything that is not an array.
const NULL: &[u8] = b"$-1\r\n";
/// The null of an array.
const NULL_ARRAY: &[u8] = b"*-1\r\n";

/// Copies what stays and replaces what differs.
struct Resp2Writer<'a> {
    reply: &'a [u8],
    cursor: Cursor<'a>,
    copied: usize,
    out: &'a mut BytesMut,
}

/// Whether [`to_resp2`] would change a single byte of `reply`.
pub fn needs_conversion(reply: &[u8], form: Form) -> bool {
    if matches!(reply, [b'$' | b'+' | b'-' | b':', ..]) {
        return false;
    }
    let nested = |element: Option<&[u8]>| element.is_some_and(|element| element.starts_with(b"*"));
    if form == Form::Flattened && cursor::elements(reply).is_some_and(|mut elements| elements.any(nested)) {
        return true;
    }
    let mut cursor = Cursor::new(reply);
    while let Some(head) = cursor.head() {
        let same = match head {
            ReplyHead::Line { kind, .. } => matches!(kind, b'+' | b'-' | b':'),
            ReplyHead::Blob { kind, .. } => kind == b'$',
            ReplyHead::Null { kind } => kind != b'_',
            ReplyHead::Aggregate { kind, .. } => kind == b'*',
        };
        if !same {
            return true;
        }
    }
    false
}

/// Appends to `out` what `reply`, the answer to `request` over RESP3, is over RESP2. On an error `out` is as
/// before.
pub fn to_resp2(
    reply: &[u8],
    form: Form,
    request: &Request<'_>,
    out: &mut BytesMut,
) -> Result<(), Malformed> {
    let before = out.len();
    let mut writer = Resp2Writer { reply, cursor: Cursor::new(reply), copied: 0, out };
    let written = writer.reply(form, request).filter(|()| writer.cursor.rest().is_empty());
    match written {
        Some(()) => {
            writer.copy_to(reply.len());
            Ok(())
        }
        None => {
            out.truncate(before);
            Err(Malformed)
        }
    }
}

// === impl Resp2Writer ===

impl Resp2Writer<'_> {
    fn reply(&mut self, form: Form, request: &Request<'_>) -> Option<()> {
        match form {
            Form::ByRule => self.elements(1, NULL),
            Form::NullArrayFrom(count) => {
                let null = matches!(cursor::head(self.reply), Some(ReplyHead::Null { kind: b'_' }));
                let is_array = null && request.len() >= count;
                self.elements(1, if is_array { NULL_ARRAY } else { NULL })
            }
            Form::NullElements => self.null_elements(|_| true),
            Form::NullElementAt(position) => self.null_elements(|element| element == position),
            Form::Flattened => self.flattened(),
            Form::Streams => self.streams(),
        }
    }

    /// Converts `count` elements with all that is in them.
    fn elements(&mut self, count: usize, null: &[u8]) -> Option<()> {
        let mut open = count;
        while open > 0 {
            let start = self.here();
            open -= 1;
            match self.cursor.head()? {
                ReplyHead::Line { kind: b',' | b'(', text } => self.replace_by_blob(start, text),
                ReplyHead::Line { kind: b'#', text: b"t" } => self.replace(start, b":1\r\n"),
                ReplyHead::Line { kind: b'#', .. } => self.replace(start, b":0\r\n"),
                ReplyHead::Blob { kind: b'=', body } => {
                    self.replace_by_blob(start, body.get(b"txt:".len()..)?)
                }
                ReplyHead::Blob { kind: b'!', body } => self.replace_by_error(start, body),
                ReplyHead::Null { kind: b'_' } => self.replace(start, null),
                ReplyHead::Aggregate { kind: b'|', count } => {
                    self.cursor.skip(count)?;
                    self.replace(start, b"");
                    open += 1;
                }
                ReplyHead::Aggregate { kind, count } => {
                    if kind != b'*' {
                        self.replace_by_array(start, count);
                    }
                    open = open.checked_add(count)?;
                }
                ReplyHead::Line { .. } | ReplyHead::Blob { .. } | ReplyHead::Null { .. } => {}
            }
        }
        Some(())
    }

    fn null_elements(&mut self, is_array: impl Fn(usize) -> bool) -> Option<()> {
        let start = self.here();
        let Some((_, count)) = self.open() else { return self.elements(1, NULL) };
        self.replace_by_array(start, count);
        (0..count).try_for_each(|element| self.elements(1, if is_array(element) { NULL_ARRAY } else { NULL }))
    }

    fn flattened(&mut self) -> Option<()> {
        let start = self.here();
        let Some((_, count)) = self.open() else { return self.elements(1, NULL) };
        let total = self.count_flat(count)?;
        self.replace_by_array(start, total);
        for _ in 0..count {
            let start = self.here();
            let inner = match self.open() {
                Some((_, inner)) => {
                    self.replace(start, b"");
                    inner
                }
                None => 1,
            };
            self.elements(inner, NULL)?;
        }
        Some(())
    }

    /// How many elements the next `count` are once those that are arrays are opened up.
    fn count_flat(&self, count: usize) -> Option<usize> {
        let mut ahead =
            Resp2Writer { reply: self.reply, cursor: self.cursor, copied: 0, out: &mut BytesMut::new() };
        (0..count).try_fold(0usize, |total, _| {
            let inner = ahead.open().map_or(1, |(_, inner)| inner);
            ahead.cursor.skip(inner)?;
            total.checked_add(inner)
        })
    }

    fn streams(&mut self) -> Option<()> {
        let start = self.here();
        match self.open() {
            Some((b'%', count)) => {
                self.replace_by_array(start, count / 2);
                for _ in 0..count / 2 {
                    let start = self.here();
                    self.replace(start, b"*2\r\n");
                    self.elements(2, NULL_ARRAY)?;
                }
                Some(())
            }
            Some((_, count)) => {
                self.replace_by_array(start, count);
                self.elements(count, NULL_ARRAY)
            }
            None => self.elements(1, NULL_ARRAY),
        }
    }

    /// Reads the head of an aggregate; the caller writes the replacement for it and the attributes before it.
    /// Reads nothing if another element is here.
    fn open(&mut self) -> Option<(u8, usize)> {
        let mut ahead = self.cursor;
        let ReplyHead::Aggregate { kind, count } = ahead.head_of_value()? else { return None };
        self.cursor = ahead;
        Some((kind, count))
    }

    fn here(&self) -> usize {
        self.reply.len() - self.cursor.rest().len()
    }

    fn copy_to(&mut self, end: usize) {
        self.out.extend_from_slice(&self.reply[self.copied..end]);
        self.copied = end;
    }

    /// Writes `bytes` in place of the bytes from `start` to the cursor.
    fn replace(&mut self, start: usize, bytes: &[u8]) {
        self.copy_to(start);
        self.out.extend_from_slice(bytes);
        self.copied = self.here();
    }

    fn replace_by_array(&mut self, start: usize, count: usize) {
        self.replace(start, format!("*{count}\r\n").as_bytes());
    }

    fn replace_by_blob(&mut self, start: usize, body: &[u8]) {
        self.replace(start, format!("${}\r\n", body.len()).as_bytes());
        self.out.extend_from_slice(body);
        self.out.extend_from_slice(b"\r\n");
    }

    /// An error is one line in RESP2.
    fn replace_by_error(&mut self, start: usize, body: &[u8]) {
        self.replace(start, b"-");
        self.out.extend(body.iter().map(|&byte| if matches!(byte, b'\r' | b'\n') { b' ' } else { byte }));
        self.out.extend_from_slice(b"\r\n");
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::resp::request::OwnedRequest;

    fn converted(reply: &str, form: Form, request: &str) -> Result<String, Malformed> {
        let request = OwnedRequest::from_args(request.split(' '));
        let mut out = BytesMut::from("before ");
        let written = to_resp2(reply.as_bytes(), form, &request.as_request(), &mut out);
        let out = String::from_utf8(out.to_vec()).unwrap();
        let out = out.strip_prefix("before ").unwrap();
        match written {
            Ok(()) => assert_eq!(needs_conversion(reply.as_bytes(), form), out != reply, "{reply:?}"),
            Err(Malformed) => assert_eq!(out, ""),
        }
        written.map(|()| out.to_owned())
    }

    #[test]
    fn types_that_resp2_lacks_are_replaced_by_rule() {
        for (resp3, resp2) in [
            ("+OK\r\n", "+OK\r\n"),
            ("-ERR x\r\n", "-ERR x\r\n"),
            ("$-1\r\n", "$-1\r\n"),
            ("*-1\r\n", "*-1\r\n"),
            ("_\r\n", "$-1\r\n"),
            (",1.50\r\n", "$4\r\n1.50\r\n"),
            ("#t\r\n", ":1\r\n"),
            ("#f\r\n", ":0\r\n"),
            ("(12345678901234567890\r\n", "$20\r\n12345678901234567890\r\n"),
            ("=7\r\ntxt:a\r\n\r\n", "$3\r\na\r\n\r\n"),
            ("!7\r\nERR\r\nab\r\n", "-ERR  ab\r\n"),
            ("%1\r\n+a\r\n%1\r\n+b\r\n_\r\n", "*2\r\n+a\r\n*2\r\n+b\r\n$-1\r\n"),
            ("~2\r\n:1\r\n~0\r\n", "*2\r\n:1\r\n*0\r\n"),
            (">2\r\n+message\r\n:1\r\n", "*2\r\n+message\r\n:1\r\n"),
            ("|1\r\n+ttl\r\n,1\r\n*2\r\n|1\r\n+a\r\n~1\r\n#t\r\n:7\r\n:8\r\n", "*2\r\n:7\r\n:8\r\n"),
        ] {
            assert_eq!(converted(resp3, Form::ByRule, "X").as_deref(), Ok(resp2));
        }
    }

    #[test]
    fn nulls_follow_the_form() {
        assert_eq!(converted("_\r\n", Form::NullArrayFrom(3), "LPOP k 2").as_deref(), Ok("*-1\r\n"));
        assert_eq!(converted("_\r\n", Form::NullArrayFrom(3), "LPOP k").as_deref(), Ok("$-1\r\n"));
        assert_eq!(converted("*1\r\n_\r\n", Form::NullArrayFrom(1), "EXEC").as_deref(), Ok("*1\r\n$-1\r\n"));
        assert_eq!(
            converted("*2\r\n_\r\n:1\r\n", Form::NullElements, "G").as_deref(),
            Ok("*2\r\n*-1\r\n:1\r\n")
        );
        assert_eq!(
            converted("*2\r\n_\r\n_\r\n", Form::NullElementAt(1), "X").as_deref(),
            Ok("*2\r\n$-1\r\n*-1\r\n")
        );
    }

    #[test]
    fn pairs_and_streams_are_listed_as_resp2_lists_them() {
        let pairs = "*2\r\n*2\r\n$1\r\na\r\n,1\r\n*2\r\n$1\r\nb\r\n,2\r\n";
        let flat = "*4\r\n$1\r\na\r\n$1\r\n1\r\n$1\r\nb\r\n$1\r\n2\r\n";
        assert_eq!(converted(pairs, Form::Flattened, "ZRANGE").as_deref(), Ok(flat));
        assert_eq!(
            converted("*1\r\n$1\r\na\r\n", Form::Flattened, "ZRANGE").as_deref(),
            Ok("*1\r\n$1\r\na\r\n")
        );
        assert_eq!(converted("-WRONGTYPE\r\n", Form::Flattened, "ZRANGE").as_deref(), Ok("-WRONGTYPE\r\n"));
        let map = "%2\r\n$1\r\na\r\n*1\r\n*2\r\n$3\r\n1-1\r\n_\r\n$1\r\nb\r\n*0\r\n";
        let list = "*2\r\n*2\r\n$1\r\na\r\n*1\r\n*2\r\n$3\r\n1-1\r\n*-1\r\n*2\r\n$1\r\nb\r\n*0\r\n";
        assert_eq!(converted(map, Form::Streams, "XREAD").as_deref(), Ok(list));
    }

    #[test]
    fn hostile_replies_are_refused_and_leave_nothing_behind() {
        let deep = format!("{}:1\r\n", "~1\r\n".repeat(100_000));
        assert!(converted(&deep, Form::Flattened, "X").is_ok());
        for form in [Form::ByRule, Form::NullElements, Form::NullElementAt(0), Form::Flattened, Form::Streams]
        {
            for reply in [
                "",
                "*2\r\n:1\r\n",
                "%9223372036854775807\r\n",
                "*99999999999\r\n",
                "=2\r\nab\r\n",
                ":1\r\n:2\r\n",
            ] {
                assert_eq!(converted(reply, form, "X"), Err(Malformed), "{reply:?}");
            }
        }
    }

    #[test]
    fn broken_replies_never_panic_and_what_comes_out_is_resp2() {
        let whole = "*3\r\n%2\r\n$1\r\na\r\n,1.5\r\n=5\r\ntxt:b\r\n~2\r\n#t\r\n_\r\n\
                     |1\r\n+k\r\n(12\r\n*2\r\n$2\r\n\r\n\r\n:7\r\n!3\r\nERR\r\n";
        let forms =
            [Form::ByRule, Form::NullElements, Form::NullElementAt(1), Form::Flattened, Form::Streams];
        let request = OwnedRequest::from_args(["X"]);
        let mut random = 1u64;
        let mut next = |below: usize| {
            random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (random >> 33) as usize % below
        };
        let mut converted = 0;
        for _ in 0..50_000 {
            let mut reply = whole.as_bytes().to_vec();
            for _ in 0..next(4) {
                let at = next(reply.len());
                reply[at] = b"*%~|>_,#$=!:+-0123\r\n"[next(20)];
            }
            let form = forms[next(forms.len())];
            let mut out = BytesMut::new();
            if to_resp2(&reply, form, &request.as_request(), &mut out).is_ok() {
                converted += 1;
                let mut cursor = Cursor::new(&out);
                assert!(cursor.element().is_some() && cursor.rest().is_empty(), "{}", reply.escape_ascii());
                assert!(!needs_conversion(&out, Form::ByRule), "{}", reply.escape_ascii());
            }
        }
        assert!(converted > 5_000, "{converted}");
    }
}
