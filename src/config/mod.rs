//! The configuration: from flags, environment and file to plain, validated values, with everything that is
//! wrong reported at once.
//!
//! Knows what may be typed and what it means as a value. It uses the types of a few values of other
//! rooms (policies, memory). Must never know what a value is used for: `daemon/options.rs` hands the values
//! on.
//!
//! Begin with `settings.rs`, which declares every setting in one row, then `load.rs`, which reads them and
//! holds the rules between them, and `cli.rs`, the command line.

mod bounded_file;
pub mod cli;
mod compat;
mod error;
mod exposed;
mod file;
mod key;
mod load;
mod namespace;
mod policy;
mod reader;
mod secret;
mod settings;
mod source;
mod sources;
mod table;
mod units;
mod upstream_url;
mod validator;
mod value;

#[cfg(test)]
mod tests;

pub use compat::{CompatFrom, CompatOptions, CompatUpstream};
pub use error::{ConfigError, ConfigErrors};
pub use key::{Effect, Group, Key};
pub use load::Config;
pub use reader::MemoryMax;
pub use secret::{Secret, SecretFile, read_secret};
pub use settings::{Change, KEYS, SettingValues};
pub use source::Source;
pub use sources::Sources;
pub use upstream_url::{UpstreamKind, UpstreamUrl};
pub use value::{AddressRule, LogFormat};
