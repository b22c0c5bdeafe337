//! What is known of a setting beside its value: the name, from which the flag, the environment variable and
//! the key of the file follow, the default and the help text.

/// A setting as the command line, the file and the documents show it.
#[derive(Debug)]
pub struct Key {
    /// The name in the configuration file; flag and environment variable follow from it.
    pub name: &'static str,
    /// The placeholder of the value in the help text.
    pub value: &'static str,
    /// The default as one would type it; none where the key is optional or must be given.
    pub default: Option<&'static str>,
    /// Where the help text lists the key.
    pub group: Group,
    /// Whether the value is a list: a repeated flag, an array in the file, commas in the environment.
    pub list: bool,
    /// How a new value is taken while the daemon runs.
    pub effect: Effect,
    /// What the key does, in a sentence or two.
    pub help: &'static str,
}

/// The parts of the help text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Group {
    /// What most installations set.
    Main,
    /// Named bounds and waits; the defaults are right for nearly everybody.
    Bounds,
}

/// How a new value of a setting is taken while the daemon runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Effect {
    /// Not at all: the daemon has to be started again.
    Restart,
    /// By a reload of the configuration (SIGHUP).
    Reload,
    /// By CONFIG SET.
    ConfigSet,
}

/// The placeholder of a key that is on or off.
pub(super) const SWITCH: &str = "BOOLEAN";

/// What the name of every environment variable of ours begins with.
pub(super) const VARIABLE_PREFIX: &str = "NEARSIDE_";

// === impl Key ===

impl Key {
    /// Whether it is on or off.
    pub fn is_switch(&self) -> bool {
        self.value == SWITCH
    }

    /// The flag without its dashes: `l1-size`.
    pub fn flag(&self) -> String {
        self.name.replace('_', "-")
    }

    /// The environment variable: `NEARSIDE_L1_SIZE`.
    pub fn variable(&self) -> String {
        format!("{VARIABLE_PREFIX}{}", self.name.to_ascii_uppercase())
    }
}
