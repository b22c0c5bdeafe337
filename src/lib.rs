//! `nearside` is a near cache for Redis that runs as a sidecar: a small daemon beside an application that
//! speaks the Redis protocol, answers hot keys from its own memory (L1) and sends everything else on to a
//! remote Redis (L2: a cluster, one server, or one behind Sentinels) over a few multiplexed connections.
//!
//! A room may use what stands above it in this list, and nothing below it. ARCHITECTURE.md follows one
//! request through the rooms; `tests/layering.rs` holds the rule. Behind the protocol come the base types:
//! small shared parts that any room may use.

pub mod protocol;

pub mod clock;
pub mod drain;
pub mod invalidation;
pub mod memory;
pub mod node;
pub mod settings;
pub mod stats;

pub mod namespace;

pub mod net;

pub mod clients;

pub mod cache;

pub mod upstream;

pub mod pubsub;

pub mod router;

pub mod config;
pub mod telemetry;

pub mod commands;

pub mod session;

pub mod daemon;

pub mod sandbox;

pub mod dev;

pub mod compat;
