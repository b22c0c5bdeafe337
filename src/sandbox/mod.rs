//! Throwaway real servers: `nearside dev`, the tests and the benches run against them.
//!
//! All servers listen on loopback at ports that the kernel gave, live in one temporary directory, and end
//! with the process, however it ends (see [`directory`]). Nothing that serves clients uses this folder.
//!
//! Must never know: the daemon, so that a test is not judged by what it tests. Begin with `server.rs` (one
//! process), `standalone.rs` and `cluster.rs` (what they form), and `client.rs` (a plain client).

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
