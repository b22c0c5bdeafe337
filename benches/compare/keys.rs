//! The keys of a measurement: stored where they belong, and read once, every reply compared with what was
//! stored.

use nearside::sandbox::SandboxClient;
use nearside::sandbox::client::encode;

/// Keys by number, each with a value of its own.
#[derive(Clone, Copy)]
pub(crate) struct Keys {
    pub(crate) naming: Naming,
    pub(crate) count: usize,
    pub(crate) shape: Shape,
}

/// How a load generator names keys.
#[derive(Clone, Copy)]
pub(crate) enum Naming {
    /// `key_0000000042`
    RespBenchmark,
    /// `key:000000000042`
    RedisBenchmark,
}

#[derive(Clone, Copy)]
pub(crate) enum Shape {
    /// A string of so many bytes.
    String(usize),
    /// A hash of so many fields with values of 16 bytes.
    Hash(usize),
}

/// A key that resp-benchmark asks for.
pub(crate) const ONE_KEY: &str = "key_0000000042";

const FIELD_VALUE_BYTES: usize = 16;

/// Bytes that are asked for in one write.
const BATCH_BYTES: usize = 256 * 1024;
const BATCH_MAX: usize = 500;

/// A reply to GET with a value of so many bytes.
pub(crate) fn value_reply(bytes: usize) -> Vec<u8> {
    [format!("${bytes}\r\n").as_bytes(), &value(0, bytes), b"\r\n"].concat()
}

/// Different for each key in every eight bytes, so that a reply that belongs to another key is seen.
fn value(number: usize, bytes: usize) -> Vec<u8> {
    let mut value = format!("{number:07}.").repeat(bytes.div_ceil(8)).into_bytes();
    value.truncate(bytes);
    value
}

// === impl Keys ===

impl Keys {
    pub(crate) fn store(&self, client: &mut SandboxClient) {
        self.in_batches(self.count, |batch| {
            let requests: Vec<u8> = batch.clone().flat_map(|number| encode(&self.write(number))).collect();
            client.send_raw(&requests).unwrap();
            for _ in batch {
                let reply = client.receive().unwrap();
                assert!(!reply.is_error(), "storing a key: {}", reply.text());
            }
        });
    }

    /// Reads the first `count` keys, one after the other.
    pub(crate) fn read(&self, client: &mut SandboxClient, count: usize) {
        self.in_batches(count, |batch| {
            let command = if matches!(self.shape, Shape::String(_)) { "GET" } else { "HGETALL" };
            let read = |number| encode(&[command.as_bytes(), self.name(number).as_bytes()]);
            let requests: Vec<u8> = batch.clone().flat_map(read).collect();
            client.send_raw(&requests).unwrap();
            for number in batch {
                let reply = client.receive_raw().unwrap();
                assert!(
                    reply == self.reply(number),
                    "key {number} is not what was stored: {:.200}",
                    reply.escape_ascii().to_string()
                );
            }
        });
    }

    fn in_batches(&self, count: usize, mut ask: impl FnMut(std::ops::Range<usize>)) {
        let bytes = match self.shape {
            Shape::String(bytes) => bytes,
            Shape::Hash(fields) => fields * FIELD_VALUE_BYTES,
        };
        let batch = (BATCH_BYTES / bytes).clamp(1, BATCH_MAX);
        for start in (0..count).step_by(batch) {
            ask(start..(start + batch).min(count));
        }
    }

    fn name(&self, number: usize) -> String {
        match self.naming {
            Naming::RespBenchmark => format!("key_{number:010}"),
            Naming::RedisBenchmark => format!("key:{number:012}"),
        }
    }

    fn write(&self, number: usize) -> Vec<Vec<u8>> {
        let name = self.name(number).into_bytes();
        match self.shape {
            Shape::String(bytes) => vec![b"SET".to_vec(), name, value(number, bytes)],
            Shape::Hash(fields) => {
                let fields = (0..fields)
                    .flat_map(|field| [field_name(field), value(number + field, FIELD_VALUE_BYTES)]);
                [b"HSET".to_vec(), name].into_iter().chain(fields).collect()
            }
        }
    }

    fn reply(&self, number: usize) -> Vec<u8> {
        match self.shape {
            Shape::String(bytes) => {
                [format!("${bytes}\r\n").as_bytes(), &value(number, bytes), b"\r\n"].concat()
            }
            // A small hash keeps its order, and the reply is an array as a request is.
            Shape::Hash(_) => encode(&self.write(number)[2..]),
        }
    }
}

fn field_name(number: usize) -> Vec<u8> {
    format!("field:{number:02}").into_bytes()
}
