//! Which commands are refused to all clients: by name, by subcommand and by category, in one bit for each row
//! of the table.

use super::index::{NUMBERS, all, named, number_of};
use super::{Class, Flags, Spec, category};

/// The commands that are denied.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Denied {
    rows: Vec<bool>,
    /// Names that the table does not have, in lower case: modules bring them.
    others: Vec<String>,
}

/// Commands with equal effect: other names of a command, and commands that are alike with one database.
const SAME: &[&[&str]] = &[
    &["replicaof", "slaveof"],
    &["flushall", "flushdb"],
    &["getrange", "substr"],
    &["restore", "restore-asking"],
    &["cluster|replicas", "cluster|slaves"],
    &["slowlog|get", "commandlog|get"],
    &["slowlog|len", "commandlog|len"],
    &["slowlog|reset", "commandlog|reset"],
];

/// How many letters a name may be off for the right one to be guessed.
const DISTANCE_MAX: usize = 2;

// === impl Denied ===

impl Denied {
    /// Reads names, `name|subcommand` and `@category`, separated by commas.
    ///
    /// # Errors
    /// What is wrong, and what was probably meant.
    pub fn read(text: &str) -> Result<Denied, String> {
        let mut denied = Denied { rows: vec![false; NUMBERS], others: Vec::new() };
        for word in text.split(',').map(str::trim).filter(|word| !word.is_empty()) {
            denied.take(&word.to_ascii_lowercase())?;
        }
        Ok(denied)
    }

    /// Whether the command of this row is denied. What this daemon never carries out says so itself.
    pub fn has(&self, spec: &Spec) -> bool {
        self.rows.get(spec.number()).is_some_and(|denied| *denied) && !matches!(spec.class, Class::Refused(_))
    }

    /// Whether a command of this name is denied that the table does not have.
    pub fn has_other(&self, name: &[u8]) -> bool {
        self.others.iter().any(|other| other.as_bytes().eq_ignore_ascii_case(name))
    }

    fn take(&mut self, word: &str) -> Result<(), String> {
        if let Some(category) = word.strip_prefix('@') {
            let members = category::members(category).ok_or_else(|| unknown(word))?;
            // A client that may not log in or leave has no use for all the rest.
            let open = |name: &&str| row(name).is_some_and(|spec| spec.flags.has(Flags::NO_AUTH));
            members.iter().filter(|name| !open(name)).for_each(|name| self.deny(name));
            return Ok(());
        }
        match row(word) {
            Some(spec) if spec.flags.has(Flags::NO_AUTH) => {
                Err(format!("{word} cannot be denied: clients log in and leave with it"))
            }
            Some(_) => {
                self.deny(word);
                Ok(())
            }
            // The commands of modules have names with a point, and are not known before a server is asked.
            None if word.contains('.') && !word.contains(['|', '\0']) => {
                self.others.push(word.to_owned());
                Ok(())
            }
            None => Err(unknown(word)),
        }
    }

    /// Denies a row, its subcommands, and commands with equal effect.
    fn deny(&mut self, name: &str) {
        let same = SAME.iter().find(|same| same.contains(&name)).copied();
        for name in same.into_iter().flatten().copied().chain([name]) {
            self.rows[number_of(name)] = true;
            for sub in row(name).iter().flat_map(|spec| spec.subcommands) {
                if !self.rows[sub.number()] {
                    self.deny(sub.name);
                }
            }
        }
    }
}

fn row(name: &str) -> Option<&'static Spec> {
    let (command, _) = name.split_once('|').unwrap_or((name, ""));
    let command = all().find(|spec| spec.name == command)?;
    if command.name == name { Some(command) } else { command.subcommands.iter().find(|sub| sub.name == name) }
}

fn unknown(word: &str) -> String {
    let categories = category::names().map(|name| format!("@{name}"));
    let known = (1..NUMBERS).filter_map(named).map(str::to_owned).chain(categories);
    let distance = |name: &String| strsim::damerau_levenshtein(name, word);
    let guess = known.min_by_key(distance).filter(|name| distance(name) <= DISTANCE_MAX);
    let guess = guess.map(|name| format!("; did you mean {name}?")).unwrap_or_default();
    format!("names of commands, name|subcommand and @category are wanted, and {word:?} is none{guess}")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn denied(text: &str) -> Vec<&'static str> {
        let denied = Denied::read(text).unwrap();
        (1..NUMBERS).filter_map(named).filter(|name| row(name).is_some_and(|spec| denied.has(spec))).collect()
    }

    #[test]
    fn names_subcommands_and_categories() {
        assert_eq!(denied(""), Vec::<&str>::new());
        assert_eq!(denied("KEYS, config|set"), ["keys", "config|set"]);
        let config = denied("config");
        assert!(config.contains(&"config") && config.contains(&"config|get"), "{config:?}");
        assert_eq!(denied("flushdb"), ["flushall", "flushdb"]);
        assert_eq!(denied("slowlog|get"), ["commandlog|get", "slowlog|get"]);
        let dangerous = denied("@dangerous");
        for name in
            ["config|set", "client|kill", "client|pause", "flushall", "keys", "monitor", "swapdb", "info"]
        {
            assert!(dangerous.contains(&name), "{name}");
        }
        assert!(!dangerous.contains(&"get") && !dangerous.contains(&"client|id"));
        let connection = denied("@connection");
        assert!(
            connection.contains(&"ping") && !connection.contains(&"auth") && !connection.contains(&"hello")
        );
    }

    #[test]
    fn what_is_never_carried_out_says_why_itself() {
        assert_eq!(denied("shutdown,replicaof,failover"), Vec::<&str>::new());
        assert_eq!(denied("debug,bgsave"), ["bgsave", "debug"], "one server carries these out");
        assert!(denied("module").contains(&"module|list"));
    }

    #[test]
    fn what_is_not_known_is_guessed() {
        let fault = |text: &str| Denied::read(text).unwrap_err();
        assert!(
            fault("flushal").ends_with("and \"flushal\" is none; did you mean flushall?"),
            "{}",
            fault("flushal")
        );
        assert!(fault("config|sett").ends_with("did you mean config|set?"));
        assert!(fault("@dangerus").ends_with("did you mean @dangerous?"));
        assert!(fault("@all").contains("is none"));
        assert!(fault("somethingelse").ends_with("is none"));
        assert!(fault("auth").contains("cannot be denied"));
        let module = Denied::read("ft.search").unwrap();
        assert!(module.has_other(b"FT.SEARCH") && !module.has_other(b"ft.create"));
    }
}
