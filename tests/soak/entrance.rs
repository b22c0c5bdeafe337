//! Where clients come in: a daemon, and there the database that stands for a namespace. Each entrance has keys,
//! which its clients may know by shorter names than the servers.

/// One entrance.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Entrance {
    /// The number of its daemon.
    pub(crate) daemon: usize,
    /// What SELECT makes of its clients.
    pub(crate) database: &'static str,
    /// What the servers' names of its keys begin with, and its clients' names do not.
    prefix: &'static str,
    /// Whether its clients also write by scripts that get the names of keys as arguments.
    pub(crate) has_scripts: bool,
}

/// The configuration of the first two daemons: a quarter of the keys is heard of by listening to all changes.
pub(crate) const PLAIN: &str = "[[policy]]\nprefix = 'soak:{1'\ntracking = 'broadcast'\n";

/// The configuration of the third one: its databases are namespaces.
pub(crate) const NAMESPACED: &str = "[[namespace]]\nname = 'soak'\ndatabase = 0\n\
    [[namespace]]\nname = 'pin'\ndatabase = 1\npin = true\n\
    [[policy]]\nprefix = '{1'\ntracking = 'broadcast'\n";

/// What the names of the keys of the pinned namespace begin with.
pub(crate) const PINNED: &str = "{pin}:";

/// All of them. A key has one at each daemon at most.
pub(crate) const ENTRANCES: [Entrance; 4] = [
    Entrance { daemon: 0, database: "0", prefix: "", has_scripts: false },
    Entrance { daemon: 1, database: "0", prefix: "", has_scripts: false },
    Entrance { daemon: 2, database: "0", prefix: "soak:", has_scripts: true },
    Entrance { daemon: 2, database: "1", prefix: PINNED, has_scripts: true },
];

// === impl Entrance ===

impl Entrance {
    /// The name that its clients have for a key of the servers; `None` if it has no such key.
    pub(crate) fn name_of<'k>(&self, key: &'k str) -> Option<&'k str> {
        key.strip_prefix(self.prefix)
    }
}
