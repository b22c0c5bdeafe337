//! What tests of the real binary stand on: the binary as a process, real servers, and a relay that breaks
//! things.

pub(crate) mod daemon;
pub(crate) mod relay;
pub(crate) mod scripted;
pub(crate) mod servers;
pub(crate) mod silent;
pub(crate) mod slow_link;
