//! Whole replies to one request, for commands that are answered without a server.

use bytes::{Bytes, BytesMut};

use super::request::Request;
use super::{Resp, encode};

/// A map that is written field by field.
#[derive(Debug)]
pub struct MapReply {
    /// The fields.
    out: BytesMut,
    resp: Resp,
    count: usize,
}

/// The simple string `OK`.
pub fn ok() -> Bytes {
    Bytes::from_static(b"+OK\r\n")
}

/// A bulk string.
pub fn bulk(bytes: &[u8]) -> Bytes {
    let mut out = BytesMut::with_capacity(bytes.len() + 16);
    encode::bulk(&mut out, bytes);
    out.freeze()
}

/// An integer.
pub fn number(number: i64) -> Bytes {
    let mut out = BytesMut::new();
    encode::integer(&mut out, number);
    out.freeze()
}

/// The null of a bulk string.
pub fn null(resp: Resp) -> Bytes {
    Bytes::from_static(encode::null_reply(resp))
}

/// A text for people, as INFO gives it: a verbatim string in RESP3.
pub fn text(text: impl AsRef<[u8]>, resp: Resp) -> Bytes {
    let text = text.as_ref();
    match resp {
        Resp::Two => bulk(text),
        Resp::Three => {
            let mut out = BytesMut::with_capacity(text.len() + 24);
            out.extend_from_slice(format!("={}\r\ntxt:", text.len() + 4).as_bytes());
            out.extend_from_slice(text);
            out.extend_from_slice(b"\r\n");
            out.freeze()
        }
    }
}

/// The error of Redis for a subcommand with a wrong number of arguments, if its arity alone does not decide
/// that.
pub fn wrong_number(request: &Request<'_>, command: &str) -> Bytes {
    let begin = b"ERR unknown subcommand or wrong number of arguments for '";
    encode::error_reply([begin, request.arg(1), b"'. Try ", command.as_bytes(), b" HELP."].concat())
}

/// What C's `%s` prints of `text`: nothing from a zero byte on. Redis makes many of its errors with it.
pub fn printed(text: &[u8]) -> &[u8] {
    text.split(|byte| *byte == 0).next().unwrap_or_default()
}

// === impl MapReply ===

impl MapReply {
    /// A map without fields, for a client that speaks `resp`.
    pub fn new(resp: Resp) -> MapReply {
        MapReply { out: BytesMut::new(), resp, count: 0 }
    }

    /// The version of the protocol that it is written in.
    pub fn resp(&self) -> Resp {
        self.resp
    }

    /// Adds a field whose value is to be appended to what is returned.
    pub fn value(&mut self, name: &str) -> &mut BytesMut {
        self.count += 1;
        encode::bulk(&mut self.out, name.as_bytes());
        &mut self.out
    }

    /// Adds a bulk string.
    pub fn bytes(&mut self, name: &str, value: &[u8]) {
        encode::bulk(self.value(name), value);
    }

    /// Adds a bulk string.
    pub fn text(&mut self, name: &str, value: &str) {
        self.bytes(name, value.as_bytes());
    }

    /// Adds a bulk string, or null.
    pub fn optional_bytes(&mut self, name: &str, value: Option<&[u8]>) {
        let (resp, out) = (self.resp, self.value(name));
        match value {
            Some(value) => encode::bulk(out, value),
            None => encode::null(out, resp),
        }
    }

    /// Adds a bulk string, or null.
    pub fn optional(&mut self, name: &str, value: Option<&str>) {
        self.optional_bytes(name, value.map(str::as_bytes));
    }

    /// Adds an integer.
    pub fn number(&mut self, name: &str, value: i64) {
        self.optional_number(name, Some(value));
    }

    /// Adds an integer, or null.
    pub fn optional_number(&mut self, name: &str, value: Option<i64>) {
        let (resp, out) = (self.resp, self.value(name));
        match value {
            Some(value) => encode::integer(out, value),
            None => encode::null(out, resp),
        }
    }

    /// The whole map.
    pub fn into_map(self) -> Bytes {
        let mut out = BytesMut::with_capacity(self.out.len() + 16);
        encode::map(&mut out, self.resp, self.count);
        out.extend_from_slice(&self.out);
        out.freeze()
    }
}
