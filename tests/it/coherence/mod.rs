//! The coherence promise from outside: what daemons serve, held against what was written on the nodes
//! themselves.

mod delivery;
mod history;
mod million_reads;
mod own_writes;
mod past_lane;
mod reader;
mod writer;
