//! What is written about the configuration is true: the example file and the page name every key with its
//! default.

#![expect(clippy::unwrap_used, clippy::expect_used, reason = "a panic is how a test fails")]

use std::io::Write;

use nearside::config::{Config, ConfigError, Group, KEYS, Key, Sources};

const EXAMPLE: &str = include_str!("../systemd/nearside.toml");
const PAGE: &str = include_str!("../docs/configuration.md");

#[path = "support/generated.rs"]
mod generated;

fn load(file: &str) -> Config {
    let mut written = tempfile::NamedTempFile::new().unwrap();
    written.write_all(file.as_bytes()).unwrap();
    let sources = Sources { file: Some(written.path().to_owned()), ..Sources::default() };
    Config::load(&sources).expect("no faults")
}

/// The part of the example that is about keys, and that about policies.
fn parts() -> (&'static str, &'static str) {
    EXAMPLE.split_once("# === Policies ===").unwrap()
}

/// The example with the lines of those keys uncommented that have a default.
fn with_defaults_uncommented() -> String {
    let mut text = String::new();
    for line in parts().0.lines() {
        let name = line.strip_prefix('#').and_then(|line| line.split_once(" = "));
        let has_default = |name: &str| KEYS.iter().any(|key| key.name == name && key.default.is_some());
        let comment = !name.is_some_and(|(name, _)| has_default(name));
        text.push_str(if comment { line } else { line.trim_start_matches('#') });
        text.push('\n');
    }
    text
}

#[test]
fn the_example_file_states_every_key_and_the_true_default() {
    let stated = with_defaults_uncommented();
    assert_eq!(load(EXAMPLE), load(&stated));
    for key in KEYS {
        let line = |line: &&str| line.trim_start_matches('#').starts_with(&format!("{} = ", key.name));
        let lines: Vec<&str> = stated.lines().filter(line).collect();
        let [line] = lines[..] else { panic!("{} stands there {} times", key.name, lines.len()) };
        assert!(key.default.is_none() || !line.starts_with('#'), "{line}");
    }
}

#[test]
fn the_examples_without_a_default_are_accepted() {
    let keys = ["unix", "upstream_username"].map(|name| format!("#{name} = "));
    let uncommented = |line: &str| match keys.iter().any(|key| line.starts_with(key)) {
        true => line.trim_start_matches('#').to_owned(),
        false => line.to_owned(),
    };
    let mut secret = tempfile::NamedTempFile::new().unwrap();
    secret.write_all(b"secret").unwrap();
    let text: Vec<String> = parts().0.lines().map(uncommented).collect();
    let file = format!("{}\nupstream_password_file = {:?}\n", text.join("\n"), secret.path());
    let config = load(&file);
    assert_eq!(config.values.unix, Some("/run/nearside/nearside.sock".into()));
    assert_eq!(config.values.upstream.username.as_deref(), Some("app"));
}

#[test]
fn the_example_of_a_policy_is_accepted_and_has_every_key_of_the_page() {
    let example: Vec<&str> = parts().1.lines().filter_map(|line| line.strip_prefix('#')).collect();
    let is_code = |line: &&str| !line.starts_with(' ');
    let example: Vec<&str> = example.into_iter().filter(is_code).collect();
    let config = load(&format!("upstream = 'redis://h'\n{}", example.join("\n")));
    assert_eq!(config.policies.len(), 1);
    let section = PAGE.split_once("## Policies").unwrap().1.split_once("\n## ").unwrap().0;
    let rows = section.lines().filter_map(|line| line.strip_prefix("| `")?.split_once('`'));
    let rows: Vec<&str> = rows.map(|(name, _)| name).collect();
    let keys = example.iter().filter_map(|line| line.split_once(" = "));
    assert_eq!(keys.map(|(name, _)| name).collect::<Vec<_>>(), rows);
    assert_eq!(rows.len(), 10, "{rows:?}");
}

/// What the daemon says of `key` when it is given `text`, which it refuses.
fn refused(key: &'static Key, text: &str) -> String {
    let mut flags = vec![(key, text.to_owned())];
    flags.extend(
        Key::named("upstream")
            .filter(|other| other.name != key.name)
            .map(|key| (key, "redis://h".to_owned())),
    );
    let faults = Config::load(&Sources { flags, ..Sources::default() }).expect_err(key.name).0;
    let mut own = faults.into_iter().filter(|fault: &ConfigError| fault.key == key.name);
    own.next().unwrap_or_else(|| panic!("{} takes {text:?}", key.name)).message
}

/// What may be given for `key`, as the fault of a value that nothing takes says it.
fn bounds(key: &'static Key) -> String {
    let message = refused(key, "\0");
    let Some((wanted, rest)) = message.split_once(" is wanted").or(message.split_once(" are wanted")) else {
        panic!("the fault of {} does not say what is wanted: {message:?}", key.name)
    };
    let Some((_, range)) = wanted.split_once(" from ").filter(|(_, range)| range.contains(" to ")) else {
        return wanted.to_owned();
    };
    let otherwise = rest.split_once(", or ").filter(|_| rest.starts_with(", or "));
    let otherwise = otherwise.map(|(_, otherwise)| format!(", or {otherwise}")).unwrap_or_default();
    format!("{}{otherwise}", range.trim_end_matches(" with its unit"))
}

#[test]
fn the_page_says_of_every_key_what_the_help_says_and_what_the_faults_say() {
    for (group, part) in [(Group::Main, "settings"), (Group::Bounds, "bounds")] {
        let mut table =
            "| Flag | Environment | File | Default | Bounds | What it is |\n|---|---|---|---|---|---|\n"
                .to_owned();
        for key in KEYS.iter().filter(|key| key.group == group) {
            let default = match (key.default, key.name) {
                (Some(default), _) => format!("`{default}`"),
                (None, "upstream") => "must be given".to_owned(),
                (None, _) => "none".to_owned(),
            };
            let (flag, variable, name) = (key.flag(), key.variable(), key.name);
            // The columns divide at every `|` that is not escaped.
            let [bounds, help] = [&bounds(key), key.help].map(|text| text.replace('|', "\\|"));
            table.push_str(&format!(
                "| `--{flag}` | `{variable}` | `{name}` | {default} | {bounds} | {help} |\n"
            ));
        }
        generated::keep("docs/configuration.md", part, &table);
    }
}

#[test]
fn the_bounds_and_the_examples_that_a_fault_names_are_taken() {
    let mut tried = 0;
    for key in KEYS {
        let (bounds, message) = (bounds(key), refused(key, "\0"));
        let Some((low, high)) = bounds.split_once(" to ") else { continue };
        let high = high.split(',').next().unwrap_or(high);
        let examples = message.split_once("such as ").map_or("", |(_, examples)| examples);
        let examples = examples.split(", ").flat_map(|some| some.split(" or "));
        for text in [low, high].into_iter().chain(examples).filter(|text| !text.is_empty()) {
            let sources = Sources { flags: vec![(key, text.to_owned())], ..Sources::default() };
            let faults = Config::load(&sources).expect_err("there is no upstream").0;
            // A rule that binds it to another key may be broken, and says so in other words.
            let refused = |fault: &&ConfigError| fault.key == key.name && fault.message.contains("wanted");
            let refused = faults.iter().find(refused);
            assert!(refused.is_none(), "{} = {text}: {refused:?}", key.name);
            tried += 1;
        }
    }
    assert!(tried > 100, "{tried} bounds and examples");
}

#[test]
fn the_page_gives_the_bounds_of_the_keys_of_a_policy_as_the_faults_do() {
    let section = PAGE.split_once("## Policies").unwrap().1.split_once("\n## ").unwrap().0;
    let mut bounded = 0;
    for row in section.lines().filter(|line| line.starts_with("| `")) {
        let name = row.split('`').nth(1).unwrap();
        let mut file = tempfile::NamedTempFile::new().unwrap();
        let prefix = if name == "prefix" { "" } else { "prefix = 'p'\n" };
        write!(file, "upstream = 'redis://h'\n[[policy]]\n{prefix}{name} = ''\n").unwrap();
        let sources = Sources { file: Some(file.path().to_owned()), ..Sources::default() };
        let faults = Config::load(&sources).expect_err(name).0;
        let [ConfigError { key, message, .. }] = &faults[..] else { panic!("{faults:?}") };
        assert_eq!(*key, format!("policy.{name}"));
        let Some((_, range)) = message.split_once(" from ") else { continue };
        let range = range.split(" is wanted").next().unwrap().trim_end_matches(" with its unit");
        assert!(row.contains(&format!("from {range}")), "{row}\n{message}");
        bounded += 1;
    }
    assert_eq!(bounded, 5);
}

#[test]
fn the_deployment_files_set_nothing_but_keys() {
    let files =
        [include_str!("../kubernetes/pod.yaml"), include_str!("../systemd/nearside.service"), PAGE, EXAMPLE];
    for file in files {
        let variable = |character: char| character.is_ascii_alphanumeric() || character == '_';
        let mut found = 0;
        for name in file.split(|character| !variable(character)).filter(|name| name.starts_with("NEARSIDE_"))
        {
            let known = name == "NEARSIDE_" || name == "NEARSIDE_CONFIG";
            assert!(known || KEYS.iter().any(|key| key.variable() == name), "{name}");
            found += 1;
        }
        assert!(found > 0);
    }
}
