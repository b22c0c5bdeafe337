//! The load generators: redis-benchmark, and resp-benchmark, which knows Zipf's law and can hold a rate.

use std::io::{BufRead, BufReader, Read};
use std::process::{Command, Stdio};
use std::thread::sleep;
use std::time::Duration;

use crate::ground::{Ground, Split, on_cpus};
use crate::keys::ONE_KEY;
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
    /// All that the server was asked.
    pub(crate) requests: u64,
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
benchmark = Benchmark(host=host, port=int(port), cores=cores)
print('ready', flush=True)
run = benchmark.bench(
    command, connections=int(connections), pipeline=int(depth), count=int(count), target=int(target), quiet=True)
print(run.qps, run.p99_latency_ms)
";

/// Requests of the probe beside a load that holds a rate.
const PROBE_REQUESTS: u64 = 15_000;
/// After this a load that says that it is ready has opened its connections.
const LOAD_BEGINS: Duration = Duration::from_millis(300);
/// How often a probe may outlast its load, on a machine that stands still meanwhile.
const PROBES_MAX: usize = 3;

// === impl Load ===

impl Load {
    /// Sends `requests` requests to a server, which has `keys` keys; `rate` by the second, or as many as it
    /// can.
    pub(crate) fn run(
        &self,
        ground: &Ground,
        split: &Split,
        server: &Server,
        keys: usize,
        requests: u64,
        rate: Option<u64>,
    ) -> Outcome {
        match (self.generator, rate) {
            (Generator::RedisBenchmark, _) => {
                let command = &mut self.redis_benchmark(on_cpus(&split.load), ground, server, requests);
                command.args(["-c", &CONNECTIONS.to_string()]);
                command.args(["-P", &self.depth.to_string(), "-r", &keys.to_string()]);
                said_by_redis_benchmark(command.args(self.command.split(' ')), requests)
            }
            (Generator::RespBenchmark, None) => {
                let said = answer(&mut self.resp_benchmark(ground, split, server, requests, None));
                let (per_second, p99) = said_by_resp_benchmark(&said);
                Outcome { requests, per_second, p50: None, p99 }
            }
            (Generator::RespBenchmark, Some(rate)) => self.probed(ground, split, server, requests, rate),
        }
    }

    /// What a client of its own sees that asks for one key beside a load that holds a rate.
    ///
    /// resp-benchmark's own latencies at a rate are those of its timers: with 8,000 requests/s to
    /// redis-server its p99 was 5.1 ms, and that of such a client 0.23 ms. The client goes before the
    /// load on their CPU.
    fn probed(&self, ground: &Ground, split: &Split, server: &Server, requests: u64, rate: u64) -> Outcome {
        let probes = PROBE_REQUESTS / ground.pace.divisor;
        for attempt in 1..=PROBES_MAX as u64 {
            let mut load = self.resp_benchmark(ground, split, server, requests, Some(rate));
            let mut load = load.stdin(Stdio::null()).stdout(Stdio::piped()).spawn().unwrap();
            let (mut ready, mut said) = (String::new(), String::new());
            let mut output = BufReader::new(load.stdout.take().unwrap());
            output.read_line(&mut ready).unwrap();
            assert_eq!(ready.trim(), "ready");
            sleep(LOAD_BEGINS / ground.pace.divisor as u32);
            let mut launch = on_cpus(&split.load);
            if ground.is_privileged {
                launch.args(["chrt", "--fifo", "1"]);
            }
            let mut probe = self.redis_benchmark(launch, ground, server, probes);
            let seen = said_by_redis_benchmark(probe.args(["-c", "1", "GET", ONE_KEY]), probes);
            let outlasted = load.try_wait().unwrap().is_some();
            output.read_to_string(&mut said).unwrap();
            assert!(load.wait().unwrap().success(), "resp-benchmark failed: {said}");
            if !outlasted {
                let (per_second, _) = said_by_resp_benchmark(&said);
                return Outcome { requests: attempt * (requests + probes), per_second, ..seen };
            }
        }
        panic!("the probe outlasted its load {PROBES_MAX} times")
    }

    /// Behind what `command` launches it with; without what is asked, and over how many connections.
    fn redis_benchmark(
        &self,
        mut command: Command,
        ground: &Ground,
        server: &Server,
        requests: u64,
    ) -> Command {
        command.arg(ground.peers.path("redis-benchmark"));
        if self.is_unix {
            command.arg("-s").arg(server.unix());
        } else {
            command.args(["-h", "127.0.0.1", "-p", &server.address().port().to_string()]);
        }
        command.args(["--csv", "--precision", "3", "-n", &requests.to_string()]);
        command
    }

    fn resp_benchmark(
        &self,
        ground: &Ground,
        split: &Split,
        server: &Server,
        requests: u64,
        rate: Option<u64>,
    ) -> Command {
        let address = server.address();
        let mut command = ground.peers.python(DRIVER);
        command.args([address.ip().to_string(), address.port().to_string(), split.load.clone()]);
        command.args([CONNECTIONS.to_string(), self.depth.to_string(), requests.to_string()]);
        command.args([rate.unwrap_or(0).to_string(), self.command.clone()]);
        command
    }
}

fn said_by_redis_benchmark(command: &mut Command, requests: u64) -> Outcome {
    let said = answer(command);
    // "name","rps","avg","min","p50","p95","p99","max", the latencies in milliseconds
    let fields: Vec<f64> = said
        .lines()
        .last()
        .unwrap()
        .rsplit(',')
        .map_while(|field| field.trim_matches('"').parse().ok())
        .collect();
    let [_, p99, _, p50, _, _, per_second, ..] = fields[..] else { panic!("redis-benchmark said {said}") };
    Outcome { requests, per_second, p50: Some(p50 * 1e3), p99: p99 * 1e3 }
}

/// Requests by the second, and p99 in microseconds.
fn said_by_resp_benchmark(said: &str) -> (f64, f64) {
    let figures = said.trim().rsplit('\n').next().unwrap().split_once(' ');
    let (per_second, p99) = figures.unwrap_or_else(|| panic!("resp-benchmark said {said}"));
    (per_second.parse().unwrap(), p99.parse::<f64>().unwrap() * 1e3)
}

/// What a program prints that has to succeed.
fn answer(command: &mut Command) -> String {
    let output = command.stdin(Stdio::null()).output().unwrap();
    let (said, complained) =
        (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success() && !said.trim().is_empty(), "{command:?}: {said}{complained}");
    said.into_owned()
}
