//! What is written about the configuration is true: the example file and the page name every key with its default.

#![expect(clippy::unwrap_used, clippy::expect_used, reason = "a panic is how a test fails")]

use std::io::Write;

use nearside::config::{Config, KEYS, Sources};

const EXAMPLE: &str = include_str!("../systemd/nearside.toml");
const PAGE: &str = include_str!("../docs/configuration.md");

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
    assert_eq!(config.listen.unix, Some("/run/nearside/nearside.sock".into()));
    assert_eq!(config.upstream.url.username.as_deref(), Some("app"));
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

#[test]
fn the_page_says_of_every_key_what_the_help_says_and_has_no_other() {
    let rows: Vec<&str> = PAGE.lines().filter(|line| line.starts_with("| `--")).collect();
    for key in KEYS {
        let default = match (key.default, key.name) {
            (Some(default), _) => format!("`{default}`"),
            (None, "upstream") => "must be given".to_owned(),
            (None, _) => "none".to_owned(),
        };
        let (flag, variable, name) = (key.flag(), key.variable(), key.name);
        // The columns divide at every `|` that is not escaped.
        let help = key.help.replace('|', "\\|");
        let wanted = format!("| `--{flag}` | `{variable}` | `{name}` | {default} | {help} |");
        let count = rows.iter().filter(|row| **row == wanted).count();
        assert_eq!(count, 1, "rows that are {wanted}");
    }
    assert_eq!(rows.len(), KEYS.len());
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
