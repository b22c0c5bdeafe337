//! A node of a cluster that is taken for one server is refused, with the scheme to use.

use std::time::Duration;

use crate::support::daemon::Daemon;
use crate::support::servers::{eventually, sandbox, shared_cluster};

use nearside::sandbox::{Cluster, ClusterShape};

#[test]
fn a_node_of_a_cluster_is_no_single_server() {
    let cluster = shared_cluster();
    let address = cluster.nodes()[0].server().address();
    refuses(&format!("redis://{address}"), &format!("redis-cluster://{address}"));
}

#[test]
fn nor_is_one_behind_a_unix_socket_even_if_it_owns_every_slot() {
    let path = sandbox().path().join("cluster.sock");
    let extra_args = vec!["--unixsocket".to_owned(), path.display().to_string()];
    let shape = ClusterShape { primaries: 1, replicas_each: 0, extra_args, ..ClusterShape::default() };
    let _cluster = Cluster::launch(&shape).unwrap();
    refuses(&format!("redis+unix://{}", path.display()), "redis-cluster://HOST:PORT");
}

fn refuses(upstream: &str, scheme: &str) {
    let daemon = Daemon::start(&["--upstream", upstream, "--workers", "1"]);
    let mut client = daemon.client();
    let hint =
        format!("(it is a node of a cluster: the upstream must be {scheme}); the command was not executed");
    let requests: [&[&str]; 5] = [
        &["GET", "key"],
        &["SET", "key", "value"],
        &["DBSIZE"],
        &["BLPOP", "key", "1"],
        &["EVAL", "return 1", "0"],
    ];
    for request in requests {
        eventually("it is refused", Duration::from_secs(20), || {
            let reply = client.command(request).unwrap();
            assert!(reply.is_error(), "{request:?} gave {reply:?}");
            reply.text().starts_with("CLUSTERDOWN nearside: node ") && reply.text().ends_with(&hint)
        });
    }
    daemon.assert_logged("ERROR", "not the server that the configuration names");
}
