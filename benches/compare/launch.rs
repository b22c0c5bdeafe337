//! How each server is started: one worker, nothing on disk, and else as it comes.

use std::fs;
use std::net::{SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use serde_json::json;

use crate::ground::{Ground, on_cpus};
use crate::servers::{Kind, read_log};

/// Longer than a run, so that hits are hits.
const L1_TTL: &str = "1h";
/// Clients that a server takes, so that crowds have room.
pub(crate) const CLIENTS_MAX: &str = "20000";

/// The program with its arguments. Its files are in `directory`.
pub(crate) fn command(
    ground: &Ground,
    kind: Kind,
    cpus: &str,
    directory: &Path,
    address: SocketAddr,
    origin: Option<SocketAddr>,
    flags: &[&str],
) -> Command {
    let origin = || origin.unwrap();
    let program = match kind {
        Kind::Redis => ground.peers.path("redis-server").to_owned(),
        Kind::Valkey => ground.peers.path("valkey-server").to_owned(),
        Kind::Nearside | Kind::TwoWorkers => env!("CARGO_BIN_EXE_nearside").into(),
        Kind::FixedReply => std::env::current_exe().unwrap(),
        Kind::Envoy => ground.peers.path("envoy").to_owned(),
        Kind::Twemproxy => ground.peers.path("nutcracker").to_owned(),
    };
    let mut command = on_cpus(cpus);
    command.arg(program).stdin(Stdio::null());
    match kind {
        Kind::Redis | Kind::Valkey => {
            command.args(["--bind", "127.0.0.1", "--port", &address.port().to_string()]);
            command.args(["--save", "", "--appendonly", "no", "--maxclients", CLIENTS_MAX]);
            command.arg("--unixsocket").arg(unix(directory)).arg("--dir").arg(directory);
        }
        Kind::Nearside | Kind::TwoWorkers => {
            let workers = if kind == Kind::TwoWorkers { "2" } else { "1" };
            command.args(["serve", "--listen", &address.to_string(), "--workers", workers]);
            command.args(["--upstream", &format!("redis://{}", origin()), "--max-clients", CLIENTS_MAX]);
            command.arg("--unix").arg(unix(directory)).args(["--l1-ttl", L1_TTL]).args(flags);
        }
        Kind::FixedReply => {
            command.arg(crate::FIXED_REPLY_ARGUMENT).arg(unix(directory));
        }
        Kind::Envoy => {
            let config = directory.join("envoy.json");
            fs::write(&config, envoy(address, origin())).unwrap();
            command.arg("-c").arg(config).args(["--concurrency", "1", "--disable-hot-restart"]);
            command.args(["--log-level", "error"]);
        }
        Kind::Twemproxy => {
            let config = directory.join("nutcracker.yml");
            fs::write(&config, twemproxy(address, origin())).unwrap();
            let stats = free_address().port().to_string();
            command.arg("-c").arg(config).args(["-a", "127.0.0.1", "-s", &stats]);
        }
    }
    command
}

/// None of the servers takes port 0 and says which it got, but one.
pub(crate) fn free_address() -> SocketAddr {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap()
}

/// The address that a server has chosen itself, once it says so.
pub(crate) fn said_address(kind: Kind, directory: &Path) -> Option<SocketAddr> {
    (kind == Kind::FixedReply).then(|| read_log(directory).trim().parse().ok()).flatten()
}

pub(crate) fn unix(directory: &Path) -> PathBuf {
    directory.join("unix.sock")
}

/// One listener with the Redis filter, one cluster with one endpoint; no access log, no admin interface.
fn envoy(address: SocketAddr, origin: SocketAddr) -> String {
    let socket = |address: SocketAddr| json!({ "socket_address": { "address": address.ip().to_string(), "port_value": address.port() } });
    let filter = json!({
        "name": "envoy.filters.network.redis_proxy",
        "typed_config": {
            "@type": "type.googleapis.com/envoy.extensions.filters.network.redis_proxy.v3.RedisProxy",
            "stat_prefix": "redis",
            "settings": { "op_timeout": "5s" },
            "prefix_routes": { "catch_all_route": { "cluster": "origin" } },
        },
    });
    let endpoints = json!([{ "lb_endpoints": [{ "endpoint": { "address": socket(origin) } }] }]);
    let cluster = json!({
        "name": "origin",
        "type": "STATIC",
        "connect_timeout": "1s",
        "load_assignment": { "cluster_name": "origin", "endpoints": endpoints },
    });
    let listener = json!({
        "name": "redis",
        "address": socket(address),
        "filter_chains": [{ "filters": [filter] }],
    });
    json!({ "static_resources": { "listeners": [listener], "clusters": [cluster] } }).to_string()
}

fn twemproxy(address: SocketAddr, origin: SocketAddr) -> String {
    format!("origin:\n  listen: {address}\n  redis: true\n  servers:\n    - {origin}:1\n")
}
