//! The log of the process: begun once, with a filter that may change.

use std::io::{self, IsTerminal, Write};
use std::sync::OnceLock;

use tracing::Subscriber;
use tracing_subscriber::EnvFilter;
use tracing_subscriber::fmt::MakeWriter;

use super::line_queue::LineQueue;
use crate::config::{LogFormat, SettingValues};

/// How the program logs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogOptions {
    /// The form of the log.
    pub format: LogFormat,
    /// Which events it shows, as filter directives that are known to parse.
    pub filter: String,
    /// Lines that wait to be written.
    pub queue_max: usize,
}

// === impl LogOptions ===

impl LogOptions {
    /// The options that the configuration gives.
    pub fn of(values: &SettingValues) -> LogOptions {
        let (filter, queue_max) = (values.log_level.clone(), values.log_queue_max);
        LogOptions { format: values.log_format, filter, queue_max }
    }
}

/// Changes the filter of the process's log.
type Filtering = Box<dyn Fn(&str) -> io::Result<()> + Send + Sync>;

/// The log of the process.
struct Log {
    set_filter: Filtering,
    lines: LineQueue,
}

static LOG: OnceLock<Log> = OnceLock::new();

/// Begins to log. Fails if this process logs already.
pub fn init(config: &LogOptions) -> io::Result<()> {
    let lines = LineQueue::start(config.queue_max, io::stderr())?;
    let (subscriber, set_filter) = subscriber(config, lines.clone(), io::stderr().is_terminal())?;
    tracing::subscriber::set_global_default(subscriber).map_err(io::Error::other)?;
    // The default was set here, so this was not set before.
    let _ = LOG.set(Log { set_filter, lines });
    Ok(())
}

/// How many lines of the log were dropped because they could not be written.
pub fn dropped() -> u64 {
    LOG.get().map_or(0, |log| log.lines.dropped())
}

/// Writes all queued lines, and `last` behind them if given. Call it before the process ends. It does not
/// wait for long if the lines cannot be written.
pub fn finish(last: Option<&str>) {
    let last = last.map(|line| format!("{line}\n").into_bytes());
    match LOG.get() {
        Some(log) => log.lines.finish(last),
        // If this fails, there is nothing left to report that to.
        None => drop(last.map(|line| io::stderr().write_all(&line))),
    }
}

/// Shows from now on what `filter` says, which was read as the key `log_level` is. Without a log nothing
/// happens.
pub fn set_filter(filter: &str) {
    let Some(log) = LOG.get() else { return };
    if let Err(error) = (log.set_filter)(filter) {
        tracing::warn!(%error, filter, "the filter of the log cannot be changed");
    }
}

fn subscriber<W>(
    config: &LogOptions,
    writer: W,
    coloured: bool,
) -> io::Result<(Box<dyn Subscriber + Send + Sync>, Filtering)>
where
    W: for<'a> MakeWriter<'a> + Send + Sync + 'static,
{
    let filter = parsed(&config.filter)?;
    let builder = tracing_subscriber::fmt().with_env_filter(filter).with_writer(writer).with_ansi(coloured);
    // Otherwise it says on standard error, and panics where that fails, that it could not write to standard
    // error.
    let builder = builder.log_internal_errors(false);
    Ok(match config.format {
        LogFormat::Human => {
            let builder = builder.with_filter_reloading();
            let handle = builder.reload_handle();
            let set = move |filter: &str| handle.reload(parsed(filter)?).map_err(io::Error::other);
            (Box::new(builder.finish()), Box::new(set))
        }
        LogFormat::Json => {
            let builder = builder.json().flatten_event(true).with_filter_reloading();
            let handle = builder.reload_handle();
            let set = move |filter: &str| handle.reload(parsed(filter)?).map_err(io::Error::other);
            (Box::new(builder.finish()), Box::new(set))
        }
    })
}

fn parsed(filter: &str) -> io::Result<EnvFilter> {
    EnvFilter::try_new(filter).map_err(io::Error::other)
}

#[cfg(test)]
mod tests {
    use std::io::Read;
    use std::sync::Mutex;

    use super::*;

    fn logged(format: LogFormat, filter: &str) -> String {
        let file = tempfile::NamedTempFile::new().unwrap();
        let config = LogOptions { format, filter: filter.to_owned(), queue_max: 1 };
        let (subscriber, _) = subscriber(&config, Mutex::new(file.reopen().unwrap()), false).unwrap();
        tracing::subscriber::with_default(subscriber, || {
            tracing::info!(node = "10.0.0.1:6379", "connected");
            tracing::debug!("a detail");
        });
        let mut text = String::new();
        file.reopen().unwrap().read_to_string(&mut text).unwrap();
        text
    }

    #[test]
    fn people_get_lines_and_machines_get_json() {
        let human = logged(LogFormat::Human, "info");
        assert!(human.contains("INFO") && human.ends_with("connected node=\"10.0.0.1:6379\"\n"), "{human}");
        let json = logged(LogFormat::Json, "info");
        for part in
            ["{\"", "\"level\":\"INFO\"", "\"message\":\"connected\"", "\"node\":\"10.0.0.1:6379\"", "}\n"]
        {
            assert!(json.contains(part), "{part}: {json}");
        }
    }

    #[test]
    fn the_filter_says_what_is_shown() {
        assert_eq!(logged(LogFormat::Human, "off"), "");
        assert_eq!(logged(LogFormat::Human, "info").lines().count(), 1);
        assert_eq!(logged(LogFormat::Human, "nearside::telemetry=debug,info").lines().count(), 2);
    }
}
