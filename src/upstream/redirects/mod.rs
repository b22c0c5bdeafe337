//! MOVED and ASK: which redirects are believed, and where a redirected command goes.
//!
//! Nothing here knows a socket. Begin with `redirect.rs` (the error reply as a value) and `suspects.rs`
//! (redirects that are checked before they are followed).

pub(super) mod redirect;
pub(super) mod suspects;
