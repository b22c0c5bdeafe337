//! The wire: requests and replies as bytes. Boundaries are found, what lies between them is left alone.
//!
//! Nothing here knows what a command means. redis-protocol is the oracle for these scanners in tests; it does not
//! stand on the way of a reply, because it refuses some that Redis really sends (error lines that are not UTF-8,
//! `$-1` inside RESP3).

pub mod request;
