//! The arguments of `nearside compat`.

use std::path::PathBuf;
use std::time::Duration;

use clap::builder::{PossibleValuesParser, TypedValueParser};
use clap::{Arg, ArgAction, ArgGroup, ArgMatches, Command, value_parser};
use serde::Serialize;

use super::upstream_url::{UpstreamKind, UpstreamUrl};

/// What `nearside compat` reads and how it reports.
#[derive(Debug)]
pub struct CompatOptions {
    /// What is read.
    pub from: CompatFrom,
    /// How long MONITOR is read; zero for not at all.
    pub duration: Duration,
    /// What nearside would stand in front of.
    pub upstream: CompatUpstream,
    /// Whether the report is JSON.
    pub json: bool,
}

/// What is read.
#[derive(Debug)]
pub enum CompatFrom {
    /// The Redis that an application uses today.
    Redis(UpstreamUrl),
    /// A list of commands.
    File(PathBuf),
}

/// What nearside would stand in front of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum CompatUpstream {
    /// A Redis or Valkey Cluster.
    Cluster,
    /// A server alone, or behind Sentinels.
    Server,
}

/// The longest that MONITOR is read.
const SECONDS_MAX: u64 = 3_600;

// === impl CompatOptions ===

impl CompatOptions {
    pub(super) fn of_matches(mut matches: ArgMatches) -> CompatOptions {
        let from = match matches.remove_one("from") {
            Some(url) => CompatFrom::Redis(url),
            None => CompatFrom::File(matches.remove_one("file").unwrap_or_default()),
        };
        CompatOptions {
            from,
            duration: Duration::from_secs(matches.remove_one("seconds").unwrap_or_default()),
            upstream: matches.remove_one("upstream").unwrap_or(CompatUpstream::Cluster),
            json: matches.get_flag("json"),
        }
    }
}

// === impl CompatUpstream ===

impl CompatUpstream {
    /// What one of the two possible values stands for.
    fn named(name: String) -> CompatUpstream {
        if name == "server" { CompatUpstream::Server } else { CompatUpstream::Cluster }
    }
}

/// The subcommand.
pub(super) fn command() -> Command {
    Command::new("compat")
        .about("Tell from what an application sends to its Redis today whether it can use nearside unchanged")
        .after_help(
            "MONITOR may halve the throughput of a busy server while it is read (Redis documentation): begin with few seconds. \
             Keys are shown in the report, values never.",
        )
        .arg(
            Arg::new("from")
                .long("from")
                .value_name("URL")
                .value_parser(one_server)
                .help("The Redis that the application uses: redis://[[USER:]PASSWORD@]HOST[:PORT]. INFO is read"),
        )
        .arg(
            Arg::new("file")
                .long("file")
                .value_name("FILE")
                .value_parser(value_parser!(PathBuf))
                .help("A list in place of a Redis: lines of MONITOR or of INFO commandstats, or commands as for redis-cli"),
        )
        .group(ArgGroup::new("source").args(["from", "file"]).required(true))
        .arg(
            Arg::new("seconds")
                .long("seconds")
                .value_name("N")
                .requires("from")
                .value_parser(value_parser!(u64).range(0..=SECONDS_MAX))
                .help("How long MONITOR is read too: only so the keys that meet in one command are seen [default: 0]"),
        )
        .arg(
            Arg::new("upstream")
                .long("upstream")
                .value_name("KIND")
                .value_parser(PossibleValuesParser::new(["cluster", "server"]).map(CompatUpstream::named))
                .help("What nearside would stand in front of [default: cluster]"),
        )
        .arg(Arg::new("json").long("json").action(ArgAction::SetTrue).help("Report as JSON"))
}

/// Reads the URL of one server.
fn one_server(text: &str) -> Result<UpstreamUrl, String> {
    let url = UpstreamUrl::parse(text)?;
    match url.kind {
        UpstreamKind::Standalone => Ok(url),
        _ => Err("redis://HOST:PORT is wanted: INFO and MONITOR are those of one server".to_owned()),
    }
}
