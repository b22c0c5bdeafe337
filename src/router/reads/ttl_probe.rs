//! What the server is asked right behind a read that L1 may keep: how long what it said will hold.
//!
//! The answer is the time to live of the key and, where the server gives fields of a hash times of their own
//! (Redis 7.4, Valkey 9), of the fields that the reply speaks of: when such a field ends, nothing is pushed
//! until the server comes by it.

use bytes::Bytes;

use crate::protocol::command::{Flags, Spec};
use crate::protocol::resp::encode;
use crate::protocol::resp::request::Request;

/// The shortest time of the key and of the fields that are named, or of all of them, as PTTL says it; no
/// integer where there are too many to look at each time. A hash that is a listpack has no field with a time
/// of its own: Redis calls one that has a `listpackex`, and Valkey makes it a hash table.
const SHORTEST: &str = "\
local left = redis.call('PTTL', KEYS[1])
if left == -2 or redis.call('OBJECT', 'ENCODING', KEYS[1]) == 'listpack' then return left end
local fields = ARGV
if #fields == 0 then
  if redis.call('HLEN', KEYS[1]) > 1000 then return false end
  fields = redis.call('HKEYS', KEYS[1])
end
if #fields == 0 or #fields > 1000 then return false end
for _, time in ipairs(redis.call('HPTTL', KEYS[1], 'FIELDS', #fields, unpack(fields))) do
  if time >= 0 and (left < 0 or time < left) then left = time end
end
return left";

/// Asks for the time to live of `key`.
pub(in crate::router) fn of_key(key: &[u8]) -> Bytes {
    encode::request(&[b"PTTL", key])
}

/// Whether the query about what `spec` read is one about the fields of a hash.
pub(in crate::router) fn is_of_fields(spec: &Spec, fields_expire: bool) -> bool {
    fields_expire && spec.flags.has(Flags::FIELDS)
}

/// Asks how long what `request` read of the key at `key_at` will hold. `fields_expire` says whether the
/// server may give fields of a hash times of their own.
pub(in crate::router) fn of_read(
    spec: &Spec,
    request: &Request<'_>,
    key_at: usize,
    fields_expire: bool,
) -> Bytes {
    let key = request.arg(key_at);
    if !is_of_fields(spec, fields_expire) {
        return of_key(key);
    }
    let words = [&b"EVAL_RO"[..], SHORTEST.as_bytes(), b"1", key];
    let fields = request.args().skip(key_at + 1);
    encode::request(&words.into_iter().chain(fields).collect::<Vec<_>>())
}
