//! The demonstration that `nearside dev` prints holds against the real binary.

use nearside::sandbox::Address;
use nearside::sandbox::show::show;

use crate::support::daemon::Daemon;
use crate::support::servers::shared_cluster;

#[test]
fn the_demonstration_holds() {
    let cluster = shared_cluster();
    let daemon = Daemon::before(cluster);
    let Address::Tcp(address) = *daemon.address() else { panic!("not TCP: {}", daemon.address()) };
    let mut out = Vec::new();
    show(&mut out, address, cluster, "").unwrap();
    let text = String::from_utf8(out).unwrap();
    for wanted in ["from memory", "sees the new value", &format!("-p {}", address.port()), "replicas:"] {
        assert!(text.contains(wanted), "no {wanted:?} in:\n{text}");
    }
    daemon.assert_quiet();
    daemon.stop();
}
