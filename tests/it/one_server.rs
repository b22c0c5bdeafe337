//! In front of one server nothing of a cluster remains: keys of several slots in one command, one
//! transaction or one script, with the bytes of a plain server.

use fastrand::Rng;
use nearside::protocol::key::Slot;
use nearside::sandbox::{Reply, SandboxClient, Standalone};

use crate::support::daemon::Daemon;
use crate::support::slow_link::SlowLink;

/// Pairs of keys that are tried.
const PAIRS: usize = 100;

/// A plain server, and one with a daemon before it.
struct Sides {
    plain: Standalone,
    _behind: Standalone,
    daemon: Daemon,
}

impl Sides {
    fn launch() -> Sides {
        let [plain, behind] = [0, 1].map(|_| Standalone::launch(&[]).unwrap());
        let daemon = Daemon::start(&["--upstream", &format!("redis://{}", behind.server().address())]);
        daemon.until_tracked(1);
        Sides { plain, _behind: behind, daemon }
    }

    /// A conversation with both in this version of the protocol.
    fn talk(&self, version: u8) -> Talk {
        let mut sides = [self.plain.server().connect().unwrap(), self.daemon.client()];
        if version == 3 {
            sides.iter_mut().for_each(|side| drop(side.hello(3).unwrap()));
        }
        Talk { sides }
    }
}

/// A conversation with both sides at once.
struct Talk {
    sides: [SandboxClient; 2],
}

impl Talk {
    /// Asks both; each byte must be the same.
    fn ask(&mut self, words: &[&str]) -> String {
        let replies = self.sides.each_mut().map(|side| {
            side.send(words).unwrap();
            side.receive_raw().unwrap().escape_ascii().to_string()
        });
        assert_eq!(replies[1], replies[0], "{words:?}");
        let [reply, _] = replies;
        reply
    }
}

/// Two keys of different slots.
fn pair(rng: &mut Rng) -> (String, String) {
    loop {
        let (one, other) = (format!("k{}", rng.u32(..)), format!("k{}", rng.u32(..)));
        if Slot::of(one.as_bytes()) != Slot::of(other.as_bytes()) {
            return (one, other);
        }
    }
}

/// What is asked of a pair, `$a` and `$b`. `~` stands for a space inside an argument.
const REQUESTS: &[&str] = &[
    "MSET $a 1 $b 2",
    "MGET $a $b none",
    "MGET $a $b none",
    "MSETNX $a 3 $b 4",
    "EXISTS $a $b none $a",
    "TOUCH $a $b",
    "RENAME $a $b",
    "GET $b",
    "MSET $a 1 $b 2",
    "RENAMENX $a $b",
    "COPY $a $b",
    "COPY $a $b REPLACE",
    "LCS $a $b",
    "BITOP XOR $a $a $b",
    "EVAL return~redis.call('MGET',KEYS[1],KEYS[2]) 2 $a $b",
    "EVAL redis.call('SET',KEYS[1],'scripted');return~redis.call('GET',ARGV[1]) 1 $a $b",
    "EVAL redis.call('SET',ARGV[1],'unnamed') 0 $b",
    "MGET $a $b",
    "GET $b",
    "EVAL_RO return~redis.call('GET',ARGV[1]) 1 $a $b",
    "UNLINK $a $b none",
    "SADD $a 1 2 3",
    "SADD $b 3 4",
    "SINTER $a $b",
    "SINTERCARD 2 $a $b",
    "SMOVE $a $b 2",
    "SUNIONSTORE $a $a $b",
    "SCARD $a",
    "SINTERSTORE $b $a none",
    "DEL $a $b",
    "RPUSH $a 2 1",
    "SET $b-1 y",
    "SET $b-2 x",
    "SORT $a BY $b-*",
    "SORT $a BY $b-* GET # GET $b-*",
    "SORT_RO $a BY $b-* GET $b-*",
    "SORT $a BY $b-* STORE $b",
    "LRANGE $b 0 -1",
    "LMOVE $a $b LEFT RIGHT",
    "RPOPLPUSH $a $b",
    "LMPOP 2 $a $b LEFT",
    "BLPOP none $a $b 0.01",
    "BLMPOP 0.01 2 none $b LEFT",
    "BLPOP $a $b 0.01",
    "BRPOPLPUSH $a $b 0.01",
    "ZADD $a 1 x",
    "ZADD $b 2 x 3 y",
    "ZUNION 2 $a $b WITHSCORES",
    "ZUNIONSTORE none2 2 $a $b",
    "ZRANGESTORE $b $a 0 -1",
    "ZMPOP 2 none $b MIN",
    "BZPOPMIN none $a 0.01",
    "DEL none2 $a $b",
    "PFADD $a 1 2",
    "PFADD $b 2 3",
    "PFCOUNT $a $b",
    "PFMERGE none2 $a $b",
    "DEL none2 $a $b",
    "XADD $a 1-1 f v",
    "XADD $b 2-1 f v",
    "XREAD STREAMS $a $b 0 0",
    "XREAD BLOCK 10 STREAMS $a $b $ 0",
    "XGROUP CREATE $a g 0",
    "XGROUP CREATE $b g 0",
    "XREADGROUP GROUP g c STREAMS $a $b > >",
    "DEL $a $b",
    "MULTI",
    "SET $a 1",
    "SET $b 2",
    "RENAME $a $b",
    "EVAL return~redis.call('GET',ARGV[1]) 0 $b",
    "DBSIZE",
    "MGET $a $b",
    "EXEC",
    "WATCH $a",
    "WATCH $b",
    "MULTI",
    "INCR $a",
    "INCR $b",
    "EXEC",
    "WATCH $a $b",
    "SET $b other",
    "MULTI",
    "SET $a 1",
    "EXEC",
    "UNWATCH",
    "MGET $a $b",
    "EVALSHA 7984b0a0e139cabadb5afc7756d473fb34d23819 2 $a $b",
    "FCALL swap 2 $a $b",
    "MGET $a $b",
    "FCALL_RO peek 0 $a",
    "DEL $a $b $b-1 $b-2",
];

const LIBRARY: &str = "#!lua name=several\n\
    redis.register_function('swap', function(keys) \
      local one, other = redis.call('GET', keys[1]), redis.call('GET', keys[2]) \
      redis.call('SET', keys[1], other or 'none') redis.call('SET', keys[2], one or 'none') end)\n\
    redis.register_function{function_name='peek', flags={'no-writes'}, \
      callback=function(keys, args) return redis.call('GET', args[1]) end}";

#[test]
fn keys_of_several_slots_are_as_on_a_plain_server() {
    let sides = Sides::launch();
    let mut rng = Rng::with_seed(7);
    sides.talk(2).ask(&["FUNCTION", "LOAD", LIBRARY]);
    sides.talk(2).ask(&["SCRIPT", "LOAD", "return KEYS"]);
    for number in 0..PAIRS {
        let (one, other) = pair(&mut rng);
        let mut talk = sides.talk(if number % 2 == 0 { 2 } else { 3 });
        for request in REQUESTS {
            let request = request.replace("$a", &one).replace("$b", &other);
            let words: Vec<String> = request.split(' ').map(|word| word.replace('~', " ")).collect();
            let words: Vec<&str> = words.iter().map(String::as_str).collect();
            let reply = talk.ask(&words);
            assert!(!reply.contains("CROSSSLOT"), "{request}: {reply}");
        }
    }
    sides.daemon.assert_quiet();
}

#[test]
fn what_is_written_to_several_slots_is_written_at_once() {
    let sides = Sides::launch();
    let readers: Vec<_> = (0..2)
        .map(|_| {
            let mut client = sides.daemon.client();
            std::thread::spawn(move || {
                for _ in 0..2_000 {
                    // A script sees both keys at one instant, and L1 has no part in it.
                    let script = "return redis.call('GET', KEYS[1]) == redis.call('GET', KEYS[2])";
                    let same = client.command(&["EVAL_RO", script, "2", "one", "other"]).unwrap();
                    assert_eq!(same, Reply::Integer(1), "half of a command was seen");
                }
            })
        })
        .collect();
    let mut client = sides.daemon.client();
    let mut number = 0;
    while !readers.iter().all(|reader| reader.is_finished()) {
        number += 1;
        let value = number.to_string();
        assert!(client.command(&["MSET", "one", &value, "other", &value]).unwrap().is_ok());
        if number % 10 == 0 {
            assert_eq!(client.command(&["DEL", "one", "other"]).unwrap(), Reply::Integer(2));
        }
    }
    readers.into_iter().for_each(|reader| reader.join().unwrap());
}

#[test]
fn what_is_about_several_slots_keeps_its_place_beside_large_values() {
    let server = Standalone::launch(&[]).unwrap();
    let link = SlowLink::to(server.server().address());
    let daemon = Daemon::start(&["--upstream", &format!("redis://{}", link.address())]);
    daemon.until_tracked(1);
    let mut direct = server.server().connect().unwrap();
    let large = "v".repeat(3_000_000);
    for round in 0..10 {
        direct.command(&["FLUSHALL"]).unwrap();
        direct.command(&["SET", "large", &large]).unwrap();
        link.limit(20_000_000);
        let (mut other, mut client) = (daemon.client(), daemon.client());
        // While this is on its way others take another connection.
        other.send(&["GET", "large"]).unwrap();
        let increment = "for at = 1, 2 do redis.call('INCR', ARGV[at]) end";
        let (mut sent, mut wanted) = (0, Vec::new());
        for number in 0..20 {
            let requests: [&[&str]; 6] = [
                &["INCR", "one"],
                &["EVAL", increment, "1", "third", "one", "another"],
                &["INCR", "another"],
                &["MGET", "one", "another"],
                &["RENAME", "one", "two"],
                &["RENAME", "two", "one"],
            ];
            for request in requests {
                client.send(request).unwrap();
                sent += 1;
            }
            wanted.push((number + 1) * 2);
            if number == round {
                // This one takes yet another connection by itself.
                client.send(&["EVAL", increment, "0", "one", "another", &large]).unwrap();
                client.send(&["MSET", "one", &((number + 1) * 2).to_string(), "gone", &large]).unwrap();
                client.send(&["SET", "another", &((number + 1) * 2).to_string()]).unwrap();
                sent += 3;
            }
        }
        let replies: Vec<Reply> = (0..sent).map(|_| client.receive().unwrap()).collect();
        let pairs: Vec<&[Reply]> =
            replies.iter().map(Reply::items).filter(|items| items.len() == 2).collect();
        let wanted: Vec<Vec<Reply>> =
            wanted.iter().map(|number| vec![Reply::bulk(number.to_string()); 2]).collect();
        assert_eq!(pairs, wanted, "round {round}: {replies:?}");
        assert!(other.receive().unwrap().bytes().is_some_and(|value| value.len() == large.len()));
    }
    assert!(daemon.counter("upstream_side_opened") > 0, "all took one connection");
}

#[test]
fn default_lifetimes_follow_writes_of_several_slots() {
    let server = Standalone::launch(&[]).unwrap();
    let directory = server.server().directory();
    let file = directory.join("nearside.toml");
    std::fs::write(&file, "[[policy]]\nprefix = \"timed:\"\ndefault_ttl = \"1h\"\n").unwrap();
    let url = format!("redis://{}", server.server().address());
    let daemon = Daemon::start(&["--upstream", &url, "--config", file.to_str().unwrap()]);
    let mut client = daemon.client();
    assert!(client.command(&["MSET", "timed:a", "1", "b", "2", "timed:c", "3"]).unwrap().is_ok());
    assert!(client.command(&["RENAME", "b", "timed:d"]).unwrap().is_ok());
    for request in [&["MULTI"][..], &["SADD", "timed:e", "1"], &["SADD", "timed:f", "1"], &["EXEC"]] {
        client.command(request).unwrap();
    }
    for key in ["timed:a", "timed:c", "timed:d", "timed:e", "timed:f"] {
        let left = client.command(&["TTL", key]).unwrap().integer().unwrap();
        assert!((3_500..=3_600).contains(&left), "{key}: {left}");
    }
}
