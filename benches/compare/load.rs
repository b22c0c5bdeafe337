//! The load generators: redis-benchmark, and resp-benchmark, which knows Zipf's law and can hold a rate.

use std::process::{Command, Stdio};

use crate::ground::{Ground, Split};
use crate::servers::Server;

/// What is asked, and by whom.
pub(crate) struct Load {
    pub(crate) generator: Generator,
    /// In the language of the generator.
    pub(crate) command: String,
    pub(crate) is_unix: bool,
    pub(crate) depth: usize,
    pub(crate) requests: u64,
    pub(crate) rate: Rate,
}

#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Generator {
    RedisBenchmark,
    RespBenchmark,
}

/// How fast requests are sent.
#[derive(Clone, Copy, PartialEq)]
pub(crate) enum Rate {
    /// Each connection asks again as soon as it has its answer.
    Full,
    /// At this share of the most that nearside did.
    Share(f64),
}

/// What the generator says.
#[derive(Clone, Copy)]
pub(crate) struct Outcome {
    pub(crate) per_second: f64,
    /// Microseconds, of a whole pipeline.
    pub(crate) p50: Option<f64>,
    pub(crate) p99: f64,
}

pub(crate) const CONNECTIONS: usize = 50;

/// What `__rand_int__` of redis-benchmark is drawn from is an option of its own.
const DRIVER: &str = "
import sys
from resp_benchmark import Benchmark
host, port, cores, connections, depth, count, target, command = sys.argv[1:]
run = Benchmark(host=host, port=int(port), cores=cores).bench(
    command, connections=int(connections), pipeline=int(depth), count=int(count), target=int(target), quiet=True)
print(run.qps, run.p99_latency_ms)
";

// === impl Load ===

impl Load {
    /// Sends `requests` requests to a server, which has `keys` keys; `rate` by the second, or as many as it can.
    pub(crate) fn run(
        &self,
        ground: &Ground,
        split: &Split,
        server: &Server,
        keys: usize,
        requests: u64,
        rate: Option<u64>,
    ) -> Outcome {
        match self.generator {
            Generator::RedisBenchmark => self.redis_benchmark(ground, split, server, keys, requests),
            Generator::RespBenchmark => self.resp_benchmark(ground, split, server, requests, rate),
        }
    }

    fn redis_benchmark(
        &self,
        ground: &Ground,
        split: &Split,
        server: &Server,
        keys: usize,
        requests: u64,
    ) -> Outcome {
        let mut command = Command::new("taskset");
        command.args(["-c", &split.load]).arg(ground.peers.path("redis-benchmark"));
        if self.is_unix {
            command.arg("-s").arg(server.unix());
        } else {
            command.args(["-h", "127.0.0.1", "-p", &server.address().port().to_string()]);
        }
        command.args(["--csv", "--precision", "3", "-r", &keys.to_string()]);
        command.args(["-c", &CONNECTIONS.to_string(), "-P", &self.depth.to_string()]);
        command.args(["-n", &requests.to_string()]).args(self.command.split(' '));
        let said = answer(&mut command);
        // "name","rps","avg","min","p50","p95","p99","max", the latencies in milliseconds
        let fields: Vec<f64> = said
            .lines()
            .last()
            .unwrap()
            .rsplit(',')
            .map_while(|field| field.trim_matches('"').parse().ok())
            .collect();
        let [_, p99, _, p50, _, _, per_second, ..] = fields[..] else {
            panic!("redis-benchmark said {said}")
        };
        Outcome { per_second, p50: Some(p50 * 1e3), p99: p99 * 1e3 }
    }

    fn resp_benchmark(
        &self,
        ground: &Ground,
        split: &Split,
        server: &Server,
        requests: u64,
        rate: Option<u64>,
    ) -> Outcome {
        let address = server.address();
        let mut command = ground.peers.python(DRIVER);
        command.args([address.ip().to_string(), address.port().to_string(), split.load.clone()]);
        command.args([CONNECTIONS.to_string(), self.depth.to_string(), requests.to_string()]);
        command.args([rate.unwrap_or(0).to_string(), self.command.clone()]);
        let said = answer(&mut command);
        let figures = said.trim().rsplit('\n').next().unwrap().split_once(' ');
        let (per_second, p99) = figures.unwrap_or_else(|| panic!("resp-benchmark said {said}"));
        Outcome { per_second: per_second.parse().unwrap(), p50: None, p99: p99.parse::<f64>().unwrap() * 1e3 }
    }
}

/// What a program prints that has to succeed.
fn answer(command: &mut Command) -> String {
    let output = command.stdin(Stdio::null()).output().unwrap();
    let (said, complained) =
        (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success() && !said.trim().is_empty(), "{command:?}: {said}{complained}");
    said.into_owned()
}
