//! The log: what the program traces, as lines for people or as JSON, to standard error.

use std::io::{self, IsTerminal};
use std::sync::OnceLock;

use tracing::Subscriber;
use tracing_subscriber::EnvFilter;
use tracing_subscriber::fmt::MakeWriter;

use crate::config::{LogConfig, LogFormat};

/// Changes the filter of the process's log.
type Filtering = Box<dyn Fn(&str) -> io::Result<()> + Send + Sync>;

static FILTERING: OnceLock<Filtering> = OnceLock::new();

/// Logs from now on. Fails if somebody in this process does so already.
pub fn init(config: &LogConfig) -> io::Result<()> {
    let (subscriber, filtering) = subscriber(config, io::stderr, io::stderr().is_terminal())?;
    tracing::subscriber::set_global_default(subscriber).map_err(io::Error::other)?;
    // The default was set by us, so nobody else has set this.
    let _ = FILTERING.set(filtering);
    Ok(())
}

/// Shows from now on what `filter` says, which was read as the key `log_level` is. Without a log nothing happens.
pub fn set_filter(filter: &str) {
    let Some(set) = FILTERING.get() else { return };
    if let Err(error) = set(filter) {
        tracing::warn!(%error, filter, "the filter of the log cannot be changed");
    }
}

fn subscriber<W>(
    config: &LogConfig,
    writer: W,
    coloured: bool,
) -> io::Result<(Box<dyn Subscriber + Send + Sync>, Filtering)>
where
    W: for<'a> MakeWriter<'a> + Send + Sync + 'static,
{
    let filter = parsed(&config.filter)?;
    let builder = tracing_subscriber::fmt().with_env_filter(filter).with_writer(writer).with_ansi(coloured);
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
        let config = LogConfig { format, filter: filter.to_owned() };
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
