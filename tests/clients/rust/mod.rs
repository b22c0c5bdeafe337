//! Rust: the crate `redis`, in this process, against the daemon and against a plain Redis.

use nearside::sandbox::{Address, Standalone};
use tokio::runtime::Builder;

use crate::support::daemon::Daemon;
use crate::support::servers::shared_cluster;

mod blocking;
mod multiplexed;
mod together;

#[test]
fn redis_rs() {
    let cluster = shared_cluster();
    let daemon = Daemon::before(cluster);
    daemon.until_tracked(cluster.primaries().unwrap().len());
    everything(daemon.address());
    daemon.stop();
}

/// The same on what nearside is to look like: a scenario that fails here is wrong itself.
#[test]
fn redis_rs_on_a_plain_redis() {
    let redis = Standalone::launch(&[]).unwrap();
    everything(&Address::from(redis.server().address()));
}

fn everything(address: &Address) {
    for protocol in ["resp2", "resp3"] {
        let client = redis::Client::open(format!("redis://{address}/?protocol={protocol}")).unwrap();
        let prefix = format!("redis-rs:{protocol}:");
        blocking::values(&client, &prefix);
        blocking::counter(&client, &prefix);
        blocking::scan(&client, &prefix);
        blocking::pipeline(&client, &prefix);
        together::lock(&client, &prefix);
        together::queue(&client, &prefix);
        together::publish_and_subscribe(&client, &prefix);
        together::transaction(&client, &prefix);
        together::script(&client, &prefix);
        let runtime = Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(multiplexed::shared_connection(&client, &prefix));
        runtime.block_on(multiplexed::queue(&client, &prefix));
        runtime.block_on(multiplexed::messages(&client, &prefix));
        if protocol == "resp3" {
            runtime.block_on(multiplexed::pushed_messages(&client, &prefix));
        }
    }
}
