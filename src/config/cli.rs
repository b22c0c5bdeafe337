//! The command line: what the user wants of the program. The flags of `serve` are made from the keys of the
//! configuration; this is also the one place where the environment is read.

use std::ffi::OsString;
use std::io::{self, Write};
use std::path::PathBuf;

use clap::error::{ContextKind, ContextValue, ErrorKind};
use clap::{Arg, ArgAction, ArgMatches, Command, value_parser};

use super::compat::{self, CompatOptions};
use super::error::{ConfigError, ConfigErrors};
use super::key::{Group, Key};
use super::load::Config;
use super::settings::KEYS;
use super::sources::Sources;

/// What the user wants.
#[derive(Debug)]
pub enum Invocation {
    /// Run the daemon with this configuration, which was read from these sources.
    Serve(Box<Config>, Sources),
    /// Run the daemon, with these flags, in front of a throwaway cluster on this machine.
    Dev(Vec<(&'static Key, String)>),
    /// Tell whether an application can use nearside unchanged.
    Compat(CompatOptions),
}

/// Why nothing is run.
#[derive(Debug)]
pub enum UsageError {
    /// The command line is not understood, or asks for the help text or the version.
    Usage(clap::Error),
    /// The configuration has faults.
    Faults(ConfigErrors),
}

/// The settings that `nearside dev` takes.
const OF_DEV: [&str; 3] = ["listen", "namespace", "pin"];

/// Exit code of a command line or a configuration that cannot be used.
const UNUSABLE: u8 = 2;

// === impl Invocation ===

impl Invocation {
    /// What the arguments and the environment of this process ask for.
    pub fn of_process() -> Result<Invocation, UsageError> {
        Invocation::parse(std::env::args_os(), std::env::vars_os())
    }

    /// What these arguments, the program's name first, and this environment ask for.
    pub fn parse(
        arguments: impl IntoIterator<Item = OsString>,
        environment: impl IntoIterator<Item = (OsString, OsString)>,
    ) -> Result<Invocation, UsageError> {
        let mut arguments: Vec<OsString> = arguments.into_iter().collect();
        // A flag that is mistyped must not hide what else is wrong.
        let mut mistakes = Vec::new();
        let mut matches = loop {
            match command().try_get_matches_from(&arguments) {
                Ok(matches) => break matches,
                Err(error) => match take_mistake(&error, &mut arguments) {
                    Some(mistake) => mistakes.push(mistake),
                    None => return Err(UsageError::Usage(error)),
                },
            }
        };
        match matches.remove_subcommand() {
            Some((name, mut matches)) if name == "dev" => {
                let flags = flags(&mut matches);
                Config::check_dev(flags.clone()).map_err(UsageError::Faults)?;
                Ok(Invocation::Dev(flags))
            }
            Some((name, matches)) if name == "compat" => {
                Ok(Invocation::Compat(CompatOptions::of_matches(matches)))
            }
            Some((_, mut matches)) => {
                let file = matches.remove_one::<PathBuf>("config");
                let environment = environment.into_iter().collect();
                let sources = Sources { flags: flags(&mut matches), environment, file, machine: None };
                let loaded = Config::load(&sources);
                let faults = loaded.as_ref().err().map(|faults| faults.0.clone()).unwrap_or_default();
                mistakes.extend(faults);
                match loaded {
                    Ok(config) if mistakes.is_empty() => Ok(Invocation::Serve(config.into(), sources)),
                    _ => Err(UsageError::Faults(ConfigErrors(mistakes))),
                }
            }
            None => Err(UsageError::Usage(command().error(
                clap::error::ErrorKind::MissingSubcommand,
                "a subcommand is wanted: serve, dev or compat",
            ))),
        }
    }
}

// === impl UsageError ===

impl UsageError {
    /// Says why on the terminal, and returns the exit code of the process.
    pub fn report(&self) -> u8 {
        match self {
            UsageError::Usage(error) => {
                // A terminal that is gone cannot show it.
                let _ = error.print();
                u8::try_from(error.exit_code()).unwrap_or(UNUSABLE)
            }
            UsageError::Faults(faults) => {
                // There is no log yet: its form is part of the configuration. A terminal that is gone cannot
                // show it.
                let _ = writeln!(io::stderr(), "nearside: {faults}");
                UNUSABLE
            }
        }
    }
}

/// The fault in one argument of `serve`, which is taken out of `arguments` with its value. `None` if the
/// argument is unknown, or is no fault.
fn take_mistake(error: &clap::Error, arguments: &mut Vec<OsString>) -> Option<ConfigError> {
    arguments.get(1).filter(|subcommand| *subcommand == "serve")?;
    let said = |kind| match error.get(kind) {
        Some(ContextValue::String(text)) => Some(text.as_str()),
        _ => None,
    };
    let message = match error.kind() {
        ErrorKind::UnknownArgument => match said(ContextKind::SuggestedArg) {
            Some(other) => format!("no key has this name; did you mean {other}?"),
            None => "no key has this name".to_owned(),
        },
        ErrorKind::InvalidValue => "a value is wanted behind it".to_owned(),
        ErrorKind::ArgumentConflict => "is given more than once".to_owned(),
        _ => return None,
    };
    let name = said(ContextKind::InvalidArg)?.split(' ').next()?;
    let is_it = |argument: &OsString| {
        argument.to_str().is_some_and(|text| text == name || text.split('=').next() == Some(name))
    };
    let at = arguments.iter().rposition(is_it).filter(|at| *at > 1)?;
    let has_value_behind = name.starts_with('-') && arguments[at] == name;
    arguments.remove(at);
    if has_value_behind && arguments.get(at).is_some_and(|next| !next.as_encoded_bytes().starts_with(b"-")) {
        arguments.remove(at);
    }
    Some(ConfigError::of_argument(name, message))
}

fn command() -> Command {
    let config = Arg::new("config")
        .long("config")
        .value_name("FILE")
        .value_parser(value_parser!(PathBuf))
        .help("TOML file with the keys below, named with _ instead of - [env: NEARSIDE_CONFIG]");
    let serve = Command::new("serve")
        .about("Run the daemon")
        .after_help("A flag wins over its environment variable, that over the file, that over the default.")
        .arg(config)
        .args(KEYS.iter().map(flag));
    let dev = Command::new("dev")
        .about("Run the daemon in front of a throwaway cluster on this machine")
        // Only the flag counts here: what the environment and the file say is meant for the daemon itself.
        .args(OF_DEV.iter().filter_map(|name| Key::named(name)).map(|key| flag(key).help(described(key))));
    Command::new("nearside")
        .version(env!("CARGO_PKG_VERSION"))
        .about(env!("CARGO_PKG_DESCRIPTION"))
        .subcommand_required(true)
        .arg_required_else_help(true)
        .subcommand(serve)
        .subcommand(dev)
        .subcommand(compat::command())
}

fn flag(key: &'static Key) -> Arg {
    let flag = Arg::new(key.name)
        .long(key.flag())
        .value_name(key.value)
        .help(format!("{} [env: {}]", described(key), key.variable()))
        .action(if key.list { ArgAction::Append } else { ArgAction::Set })
        .help_heading((key.group == Group::Bounds).then_some("Bounds and deadlines"))
        // `--lease -1s` is for the validation to refuse, in the same list as everything else.
        .allow_hyphen_values(!key.is_switch());
    // What is on or off is on when nothing is said of it.
    if key.is_switch() { flag.num_args(0..=1).default_missing_value("true") } else { flag }
}

fn described(key: &Key) -> String {
    let default = key.default.map(|default| format!(" [default: {default}]")).unwrap_or_default();
    format!("{}{default}", key.help)
}

/// The texts of the flags that were given; a repeated one is joined to a list.
fn flags(matches: &mut ArgMatches) -> Vec<(&'static Key, String)> {
    let text = |key: &'static Key| {
        let texts = matches.try_remove_many::<String>(key.name).ok().flatten()?;
        Some((key, texts.collect::<Vec<String>>().join(",")))
    };
    KEYS.iter().filter_map(text).collect()
}

#[cfg(test)]
mod tests {
    use std::net::SocketAddr;

    use super::*;

    fn parse(line: &str) -> Result<Invocation, UsageError> {
        let environment = [("NEARSIDE_UPSTREAM".into(), "redis://env".into())];
        Invocation::parse(line.split(' ').map(OsString::from), environment)
    }

    fn usage(line: &str) -> clap::Error {
        match parse(line) {
            Err(UsageError::Usage(error)) => error,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn the_command_line_is_sound() {
        command().debug_assert();
    }

    #[test]
    fn serve_takes_flags_and_environment() {
        let line = "nearside serve --listen 127.0.0.1:1 --listen [::1]:2 --l1-size 1mb --workers=2";
        let Ok(Invocation::Serve(config, _)) = parse(line) else { panic!("serve") };
        let addresses: [SocketAddr; 2] = ["127.0.0.1:1".parse().unwrap(), "[::1]:2".parse().unwrap()];
        assert_eq!(config.values.listen, addresses);
        assert_eq!((config.values.l1_size, config.values.workers), (1 << 20, 2));
        assert_eq!(config.values.upstream.hosts, [("env".to_owned(), 6379)]);
    }

    #[test]
    fn dev_listens_where_it_is_told() {
        let config = |line: &str| {
            let Ok(Invocation::Dev(mut flags)) = parse(line) else { panic!("dev") };
            flags.extend(Key::named("upstream").map(|key| (key, "redis-cluster://h".to_owned())));
            Config::load(&Sources { flags, ..Sources::default() }).unwrap()
        };
        assert_eq!(config("nearside dev").values.listen, ["127.0.0.1:6379".parse().unwrap()]);
        let named = config("nearside dev --listen 127.0.0.1:1 --namespace app --pin");
        assert_eq!(named.values.listen, ["127.0.0.1:1".parse().unwrap()]);
        assert_eq!(named.namespaces.prefixes()[0], "{app}:");
        for line in ["nearside dev --pin", "nearside dev --namespace {a}"] {
            assert!(matches!(parse(line), Err(UsageError::Faults(faults)) if faults.0.len() == 1), "{line}");
        }
    }

    #[test]
    fn faults_of_the_values_come_all_at_once() {
        let Err(refusal) = parse("nearside serve --workers 0 --lease -1s --config /nowhere") else {
            panic!("faults")
        };
        assert!(matches!(&refusal, UsageError::Faults(faults) if faults.0.len() == 3), "{refusal:?}");
        assert_eq!(refusal.report(), 2);
    }

    #[test]
    fn a_flag_that_is_not_understood_hides_nothing() {
        let faults = |line: &str| match parse(line) {
            Err(UsageError::Faults(faults)) => {
                faults.0.iter().map(ConfigError::to_string).collect::<Vec<_>>()
            }
            other => panic!("{other:?}"),
        };
        let workers = "workers = \"0\" (--workers): a whole number from 1 to 256 is wanted";
        for (line, wanted) in [
            ("--l1-szie 3 --workers 0", "--l1-szie: no key has this name; did you mean --l1-size?"),
            ("--workers 0 --l1-szie=3", "--l1-szie: no key has this name; did you mean --l1-size?"),
            ("--frobnicate --workers 0", "--frobnicate: no key has this name"),
            ("--workers 0 --lease 3s --lease 4s", "--lease: is given more than once"),
            ("--workers 0 --lease", "--lease: a value is wanted behind it"),
            ("redis://user:secret@h --workers 0", "redis://***@h: no key has this name"),
        ] {
            assert_eq!(faults(&format!("nearside serve {line}")), [wanted, workers], "{line}");
        }
        let many = faults("nearside serve --aaaaaa 1 --bbbbbb --cccccc=2 dddd --workers 0");
        assert_eq!(many.len(), 5, "{many:?}");
    }

    #[test]
    fn what_is_not_understood_is_refused() {
        for line in ["nearside", "nearside frob", "nearside dev --l1-size 1"] {
            assert_eq!(usage(line).exit_code(), 2, "{line}");
        }
        assert_eq!(
            usage("nearside --version").to_string(),
            format!("nearside {}\n", env!("CARGO_PKG_VERSION"))
        );
    }

    #[test]
    fn a_switch_that_is_named_is_on() {
        let allowed = |arguments: &str| {
            let arguments = format!("nearside serve --upstream redis://h {arguments}");
            let arguments = arguments.split_whitespace().map(OsString::from);
            match Invocation::parse(arguments, []).unwrap() {
                Invocation::Serve(config, _) => config.values.allow_remote,
                _ => panic!("it is to serve"),
            }
        };
        assert!(!allowed(""));
        assert!(
            allowed("--allow-remote")
                && allowed("--allow-remote --workers 1")
                && allowed("--allow-remote true")
        );
        assert!(!allowed("--allow-remote false") && !allowed("--allow-remote=false"));
    }

    #[test]
    fn the_help_text_names_every_key() {
        let help = usage("nearside serve --help");
        assert_eq!(help.exit_code(), 0);
        let help = help.to_string();
        let (main, bounds) = help.split_once("Bounds and deadlines:").expect("two parts");
        for key in KEYS {
            let part = if key.group == Group::Main { main } else { bounds };
            // What is on or off need not be said.
            let value =
                if key.is_switch() { format!("[<{}>]", key.value) } else { format!("<{}>", key.value) };
            let flag = format!("--{} {value}", key.flag());
            assert!(part.contains(&flag) && part.contains(&key.variable()), "{}", key.name);
        }
    }
}
