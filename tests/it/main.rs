//! Everything that is tested from outside: the launcher, and the real binary in front of real servers.
#![expect(clippy::unwrap_used, reason = "a panic is how a test fails, in what tests share as well")]
#![expect(clippy::print_stdout, reason = "the log of a failed test is shown where cargo shows it")]

#[path = "../support/mod.rs"]
mod support;

mod address_map;
mod bad_input;
mod blocking;
mod bounds;
mod broadcast_policy;
mod canary;
mod client_commands;
mod coherence;
mod config_command;
mod connecting;
mod conversations;
mod dedicated;
mod default_ttl;
mod denied;
mod dev_command;
mod drain;
mod edge_conversations;
mod entrance;
mod explain;
mod explain_hot;
mod fairness;
mod field_times;
mod forged_redirects;
mod info;
mod keyspace;
mod launcher;
mod log;
mod lost_connection;
mod many_clients;
mod memory_ceiling;
mod monitor;
mod node_failure;
mod node_hangs_up;
mod node_identity;
mod pass_through;
mod policies;
mod pubsub;
mod pubsub_failure;
mod refused_start;
mod rotation;
mod scan;
mod script_words;
mod scripts;
mod sentinel_login;
mod service;
mod settings;
mod shadow;
mod shares;
mod show;
mod slot_move;
mod slowlog;
mod test_command;
mod told;
mod topology_hardness;
mod tracking;
mod transactions;
mod upstreams;
mod vanishing;
mod warm;
mod watch_lost;
mod wrong_scheme;
