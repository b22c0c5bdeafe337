//! What is read of a key is never older than what was read of it before, whichever command asks, also while a
//! large reply holds up what the server has to tell.

use std::thread;
use std::time::Duration;

use nearside::sandbox::{Reply, SandboxClient, Standalone};

use crate::support::daemon::Daemon;
use crate::support::servers::eventually;
use crate::support::slow_link::SlowLink;

const ROUNDS: usize = 4;

fn say(client: &mut SandboxClient, request: &str) -> Reply {
    client.command(&request.split(' ').collect::<Vec<_>>()).unwrap()
}

fn shown(reply: &Reply) -> String {
    format!("{reply:?}")
}

#[test]
fn other_commands_about_a_key_get_nothing_older_while_a_large_reply_is_on_its_way() {
    let server = Standalone::launch(&[]).unwrap();
    let link = SlowLink::to(server.server().address());
    let url = format!("redis://{}", link.address());
    let daemon = Daemon::start(&["--upstream", &url, "--admission", "always"]);
    daemon.until_tracked(1);
    let mut direct = server.server().connect().unwrap();
    let (mut client, mut large) = (daemon.client(), daemon.client());
    large.set_timeout(Duration::from_secs(60)).unwrap();
    let mut held_up = 0;
    for round in 0..ROUNDS {
        // Each is the first large one of its slot, so its reply is expected by nobody.
        let big = format!("big:{round}");
        direct.command(&["SET", &big, &"x".repeat(6_000_000)]).unwrap();
        say(&mut direct, "SET key old");
        say(&mut direct, "HSET hash a old b old c old");
        for request in ["GET key", "HGET hash a", "HMGET hash a b"] {
            eventually("it is answered from L1", Duration::from_secs(20), || {
                let before = daemon.counter("l1_hits");
                assert!(shown(&say(&mut client, request)).contains("old"), "{request}");
                daemon.counter("l1_hits") > before
            });
        }
        link.limit(3_000_000);
        large.send(&["GET", &big]).unwrap();
        thread::sleep(Duration::from_millis(300));
        say(&mut direct, "SET key new");
        say(&mut direct, "HSET hash a new b new c new");
        for (first, others) in
            [("GETRANGE key 0 -1", &["GET key"][..]), ("HGET hash c", &["HGET hash a", "HMGET hash a b"])]
        {
            let is_new = shown(&say(&mut client, first)).contains("new");
            held_up += usize::from(is_new);
            for other in others {
                let reply = shown(&say(&mut client, other));
                assert!(!is_new || !reply.contains("old"), "{other} after {first}: {reply}");
            }
        }
        link.be_quick();
        assert_eq!(large.receive().unwrap().bytes().map(<[u8]>::len), Some(6_000_000));
    }
    assert!(held_up > 0, "no reply came past the large one");
    daemon.stop();
}
