//! Throwaway real servers: what `nearside dev`, the tests and the benches run against.
//!
//! Everything listens on loopback, at ports that the kernel gave, lives in one temporary directory, and is
//! gone when the process is gone, however it ended (see [`directory`]). Nothing here is used by the daemon
//! that serves.

mod application;
pub mod client;
pub mod cluster;
pub mod directory;
pub mod error;
pub mod migration;
mod ports;
pub mod reply;
pub mod sentinel;
pub mod server;
pub mod show;
pub mod standalone;
mod view;
mod wait;

pub use client::{Address, SandboxClient};
pub use cluster::{Cluster, ClusterShape, Node};
pub use error::DevError;
pub use migration::Migration;
pub use reply::Reply;
pub use sentinel::Sentinel;
pub use server::Server;
pub use standalone::Standalone;
