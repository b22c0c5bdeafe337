//! Policies match the names that clients know, in every namespace and outside of them; NEARSIDE shows and drops
//! what the client's namespace has.

use std::fs;
use std::time::Duration;

use nearside::sandbox::{Address, Reply, SandboxClient, Standalone};

use crate::support::daemon::{Daemon, run_to_end};
use crate::support::servers::eventually;

const SOON: Duration = Duration::from_secs(10);

fn ask(client: &mut SandboxClient, request: &str) -> Reply {
    client.command(&request.split(' ').collect::<Vec<_>>()).unwrap()
}

/// A field of NEARSIDE EXPLAIN.
fn explained(client: &mut SandboxClient, key: &str, field: &str) -> Reply {
    let fields = ask(client, &format!("NEARSIDE EXPLAIN {key}"));
    let at = fields.items().iter().position(|name| name.text() == field).unwrap();
    fields.items()[at + 1].clone()
}

/// Whether the key is in L1 now, after a read.
fn is_kept(client: &mut SandboxClient, key: &str) -> bool {
    ask(client, &format!("GET {key}"));
    explained(client, key, "cached").integer() == Some(1)
}

#[test]
fn policies_match_the_names_that_clients_know() {
    let plain = Standalone::launch(&[]).unwrap();
    let file = tempfile::NamedTempFile::with_suffix(".toml").unwrap();
    let [one, two] = ["one.sock", "two.sock"].map(|end| file.path().with_extension(end));
    let text = |policies: &str| {
        format!(
            "upstream = 'redis://{}'\nlisten = '127.0.0.1:0'\nunix = '{}'\n\
             [[namespace]]\nname = 'one'\nlisten = '{}'\npin = true\n{policies}",
            plain.server().address(),
            one.display(),
            one.display(),
        )
    };
    let policies = "[[policy]]\nprefix = 'bare:'\ncache = false\n\
                    [[policy]]\nprefix = 'temp:'\ndefault_ttl = '1h'\n\
                    [[policy]]\nprefix = 'wide:'\ntracking = 'broadcast'\n";
    fs::write(file.path(), text(policies)).unwrap();
    let daemon = Daemon::start(&["--config", file.path().to_str().unwrap()]);
    daemon.until_tracked(1);
    let mut direct = plain.server().connect().unwrap();
    let mut scoped = SandboxClient::connect(&Address::Unix(one.clone())).unwrap();
    let mut without = daemon.client();
    let databases = [(&mut scoped, 0, "{one}:"), (&mut without, 0, "")];
    for (client, database, prefix) in databases {
        ask(client, &format!("SELECT {database}"));
        plays_by_the_policies(client, &mut direct, prefix);
    }
    ask(&mut scoped, "SELECT 3");
    plays_by_the_policies(&mut scoped, &mut direct, "{one}@3:");

    // NEARSIDE FLUSH drops what is of the database of the client, and nothing else.
    for client in [&mut scoped, &mut without] {
        assert!(["a1", "a2", "b1"].into_iter().all(|key| is_kept(client, key)));
    }
    assert_eq!(ask(&mut scoped, "NEARSIDE FLUSH a").integer(), Some(2));
    assert_eq!(explained(&mut scoped, "b1", "cached").integer(), Some(1));
    assert!(ask(&mut scoped, "NEARSIDE FLUSH").integer().unwrap() >= 1);
    assert_eq!(explained(&mut scoped, "b1", "cached").integer(), Some(0));
    for key in ["a1", "a2", "b1"] {
        assert_eq!(explained(&mut without, key, "cached").integer(), Some(1), "{key}");
    }

    // The scopes stay when policies are replaced.
    fs::write(file.path(), text("[[policy]]\nprefix = 'a'\ncache = false\n")).unwrap();
    daemon.reload();
    eventually("the new policies", SOON, || {
        daemon.times_logged(
            "reload: the policies were replaced and L1 was emptied; all else takes a restart or CONFIG SET",
        ) > 0
    });
    assert!(!is_kept(&mut scoped, "a1") && !is_kept(&mut without, "a1"));
    eventually("L1 is used", SOON, || is_kept(&mut scoped, "bare:k"));
    drop(two);
}

/// The three policies hold for the keys of `client`, which have `prefix` on the server.
fn plays_by_the_policies(client: &mut SandboxClient, direct: &mut SandboxClient, prefix: &str) {
    assert!(!is_kept(client, "bare:k"), "{prefix}");
    assert_eq!(explained(client, "bare:k", "policy").text(), "bare:");
    assert_eq!(explained(client, "bare:k", "key").text(), "bare:k");
    assert!(ask(client, "SET temp:k v").is_ok());
    assert!(ask(direct, &format!("PTTL {prefix}temp:k")).integer().unwrap() > 3_000_000, "{prefix}");
    ask(client, "LPUSH temp:list v");
    assert!(ask(client, "PTTL temp:list").integer().unwrap() > 3_000_000, "{prefix}");
    assert_eq!(explained(client, "wide:k", "policy_tracking").text(), "broadcast");
    ask(direct, &format!("SET {prefix}wide:k 1"));
    eventually("BCAST tracking", SOON, || is_kept(client, "wide:k"));
    let reply = explained(client, "wide:k", "replies").items()[0].clone();
    let words: Vec<String> = reply.items()[1].items().iter().map(Reply::text).collect();
    assert_eq!(words, ["GET", "wide:k"]);
    ask(direct, &format!("SET {prefix}wide:k 2"));
    eventually("the change", SOON, || ask(client, "GET wide:k").text() == "2");
}

#[test]
fn broadcast_takes_only_so_many_prefixes() {
    let file = tempfile::NamedTempFile::with_suffix(".toml").unwrap();
    let broadcast = |count: usize| -> String {
        let policy = |number| format!("[[policy]]\nprefix = '{number}:'\ntracking = 'broadcast'\n");
        format!(
            "upstream = 'redis://h'\nnamespace = 'app'\nlease = '1x'\n{}",
            (0..count).map(policy).collect::<String>()
        )
    };
    for (count, is_fault) in [(60, false), (61, true)] {
        fs::write(file.path(), broadcast(count)).unwrap();
        let printed = run_to_end(&["--config", file.path().to_str().unwrap()]).stderr;
        let fault = "policy.tracking: broadcast, in 61 policies and 1 namespaces of 16 databases, takes 1037 prefixes";
        assert!(printed.contains("lease = \"1x\""), "{printed}");
        assert_eq!(printed.contains(fault), is_fault, "{printed}");
    }
}
