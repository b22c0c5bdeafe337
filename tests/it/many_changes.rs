//! Very many keys change at once: what nodes say of it is worked on in turns, and nothing of it is left out.

use std::time::Duration;

use nearside::sandbox::Standalone;
use tokio::time::Instant;

use crate::support::daemon::Daemon;

const KEYS: usize = 20_000;

/// How long anything here may take that is not told to take longer.
const SOON: Duration = Duration::from_secs(30);

#[test]
fn none_of_very_many_keys_that_change_at_once_is_served_as_it_was() {
    // By key, and below a prefix.
    for policies in ["", "[[policy]]\nprefix = 'key:'\ntracking = 'broadcast'\n"] {
        let upstream = Standalone::launch(&[]).unwrap();
        let url = format!("redis://{}", upstream.server().address());
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), policies).unwrap();
        let config = file.path().to_str().unwrap();
        let daemon = Daemon::start(&["--config", config, "--upstream", &url, "--l1-size", "64mb"]);
        daemon.until_tracked(1);
        let (mut client, mut other) = (daemon.client(), daemon.client());
        client.set_timeout(SOON).unwrap();
        let keys: Vec<String> = (0..KEYS).map(|number| format!("key:{number}")).collect();
        let read: Vec<&str> = ["MGET"].into_iter().chain(keys.iter().map(String::as_str)).collect();
        let script = "for number = 0, ARGV[1] - 1 do redis.call('set', 'key:' .. number, ARGV[2]) end";
        let count = KEYS.to_string();
        for value in ["first", "second", "third"] {
            // One command, one script: all keys change between two commands of the node.
            let changed = client.command(&["EVAL", script, "0", &count, value]).unwrap();
            assert!(!changed.is_error(), "{changed:?}");
            for _ in 0..2 {
                let begun = Instant::now();
                assert!(!other.command(&["GET", "key:0"]).unwrap().is_error());
                println!("{policies:?}: {} µs for a read beside it", begun.elapsed().as_micros());
                let values = client.command(&read).unwrap();
                assert!(values.items().iter().all(|read| read.text() == value), "{policies}: {value}");
            }
        }
        assert!(daemon.counter("l1_hits") >= KEYS as u64 / 2, "they are kept");
        assert!(daemon.counter("l1_invalidations") >= KEYS as u64 / 2);
        assert_eq!(daemon.counter("upstream_losses"), 0);
    }
}
