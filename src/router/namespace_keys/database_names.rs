//! The names of one database of a namespace, or of all.

use bytes::Bytes;

use crate::namespace::{DATABASES, Scope};
use crate::protocol::db::DbIndex;

/// The names of some databases.
#[derive(Debug)]
pub(super) struct DatabaseNames {
    /// What the names of each begin with.
    prefixes: Vec<Bytes>,
    /// All of them match it, and names of others may.
    pub(super) pattern: Bytes,
}

// === impl DatabaseNames ===

impl DatabaseNames {
    /// The names of the database of `scope`.
    pub(super) fn of(scope: &Scope) -> DatabaseNames {
        let pattern = Bytes::from([&scope.prefix()[..], b"*"].concat());
        DatabaseNames { prefixes: vec![scope.prefix().clone()], pattern }
    }

    /// The names of all databases of the namespace of `scope`, in the order of their numbers.
    pub(super) fn of_all(scope: &Scope) -> DatabaseNames {
        let prefix = |number| scope.namespace().prefix(DbIndex::new(number));
        // The prefix of the first one ends with a colon, and those of others go on with an at sign there.
        let pattern = format!("{}[:@]*", prefix(0).trim_end_matches(':'));
        DatabaseNames {
            prefixes: (0..DATABASES).map(|number| prefix(number).into()).collect(),
            pattern: pattern.into(),
        }
    }

    /// How many databases there are.
    pub(super) fn len(&self) -> usize {
        self.prefixes.len()
    }

    /// Which of the databases has this name; `None` for a name of others.
    pub(super) fn database_of(&self, name: &[u8]) -> Option<usize> {
        self.prefixes.iter().position(|prefix| name.starts_with(prefix))
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::namespace::{ChannelRule, Namespace};
    use crate::protocol::glob;

    #[test]
    fn the_pattern_of_all_databases_matches_every_name_of_theirs() {
        for pinned in [false, true] {
            let namespace = Namespace { name: "app".into(), pinned, channels: ChannelRule::Own };
            let scope = Scope::new(Arc::new(namespace), DbIndex::new(3));
            let (own, all) = (DatabaseNames::of(&scope), DatabaseNames::of_all(&scope));
            for number in 0..DATABASES {
                let name = format!("{}k", scope.namespace().prefix(DbIndex::new(number)));
                assert!(glob::matches(&all.pattern, name.as_bytes()), "{name}");
                assert_eq!(all.database_of(name.as_bytes()), Some(number as usize), "{name}");
                assert_eq!(own.database_of(name.as_bytes()), (number == 3).then_some(0), "{name}");
            }
            for name in ["app@16:k", "app@:k", "app@k", "{app}@16:k", "appx:k", "app", "{app}"] {
                assert_eq!(all.database_of(name.as_bytes()), None, "{name}");
            }
        }
    }
}
