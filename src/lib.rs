//! `nearside` is a near cache for Redis that runs as a sidecar: a small daemon beside an application that speaks
//! the Redis protocol, answers hot keys from its own memory (L1) and sends everything else on to a remote Redis
//! Cluster (L2) over a few multiplexed connections.
//!
//! A module may use what stands above it in this list, and nothing below it. ARCHITECTURE.md follows one request
//! through these files; `tests/layering.rs` holds the rule.

pub mod clock;
pub mod glob;
pub mod key;
pub mod node;

pub mod invalidation;
pub mod settings;
pub mod stats;

pub mod drain;
pub mod memory;

pub mod mailbox;
pub mod wait;

pub mod clients;

pub mod write_queue;

pub mod rest;

pub mod socket;

pub mod resp;

pub mod command;

pub mod policy;

pub mod warm;

pub mod tracker;

pub mod near_cache;

pub mod upstream;

pub mod canary;

pub mod pubsub;

pub mod proxy;

pub mod connection;

pub mod config;
pub mod telemetry;

pub mod session;

pub mod listener;

pub mod dev;
pub mod systemd;

pub mod cli;
pub mod daemon;
