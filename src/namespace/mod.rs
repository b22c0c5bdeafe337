//! Namespaces: each gives its clients a Redis of their own, although several share one upstream.
//!
//! Every name that such a client sends gets a prefix on its way out ([`Scope::outward`]), and every name that
//! comes back loses it ([`Scope::inward`]). Between these two places all of nearside sees the names that the
//! servers have, so L1, tracking, slots and policies need to know nothing of namespaces. A lookup in L1 takes
//! no more than the name of a key ([`Scope::look_up`]); a request is written when one has to be sent.
//!
//! A pinned namespace has its name as a hash tag in the prefix, so all its keys lie in one slot, and every
//! command on several keys works in front of a cluster too. Databases 1 to 15 of a namespace are prefixes of
//! their own.
//!
//! Must never know: sessions, connections, the cache. Begin with `scope.rs` (prefixes), then `outward.rs`
//! (requests), `inward.rs` (replies), `channels.rs` (channels and messages) and `script/` (scripts).

mod assigned;
mod channels;
mod inward;
mod name_buffer;
mod outward;
mod rewriter;
mod scope;
mod script;

#[cfg(test)]
mod tests;

pub use assigned::Namespaces;
pub use channels::Delivered;
pub use outward::Outward;
pub use rewriter::Rewriter;
pub use scope::{ChannelRule, DATABASES, NAME_BYTES_MAX, Namespace, Scope, is_name};
