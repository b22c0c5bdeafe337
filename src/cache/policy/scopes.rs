//! What may stand in front of the names that policies match: several groups of clients may share the servers,
//! each with a prefix before its keys that the clients do not know.

use std::sync::Arc;

use bytes::Bytes;

/// The prefixes of all groups. No prefix begins with another one.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct KeyScopes(Arc<[Bytes]>);

// === impl KeyScopes ===

impl KeyScopes {
    /// The scopes with these prefixes, in any order.
    pub fn new(mut prefixes: Vec<Bytes>) -> KeyScopes {
        prefixes.sort();
        prefixes.dedup();
        KeyScopes(prefixes.into())
    }

    /// `key` as its clients know it.
    pub fn bare<'a>(&self, key: &'a [u8]) -> &'a [u8] {
        // What sorts between a prefix of the key and the key begins with that prefix, and none of them does.
        let behind = self.0.partition_point(|prefix| **prefix <= *key);
        let prefix = behind.checked_sub(1).map(|at| &self.0[at]);
        prefix.and_then(|prefix| key.strip_prefix(&prefix[..])).unwrap_or(key)
    }

    /// What the names on the servers begin with if clients know them with `prefix`: in each scope, and in
    /// none.
    pub(super) fn all_with(&self, prefix: &[u8]) -> impl Iterator<Item = Bytes> {
        let scoped = move |scope: &Bytes| Bytes::from([scope, prefix].concat());
        std::iter::once(Bytes::copy_from_slice(prefix)).chain(self.0.iter().map(scoped))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_loses_the_prefix_of_its_scope() {
        let prefixes = ["b:", "{a}:", "a:", "a@1:", "a@10:"];
        let scopes = KeyScopes::new(prefixes.map(|prefix| Bytes::from_static(prefix.as_bytes())).into());
        for (key, bare) in [
            ("a:k", "k"),
            ("a@1:k", "k"),
            ("a@10:b:k", "b:k"),
            ("{a}:k", "k"),
            ("a@2:k", "a@2:k"),
            ("ab:k", "ab:k"),
            ("a", "a"),
            ("", ""),
            ("a:", ""),
        ] {
            assert_eq!(scopes.bare(key.as_bytes()), bare.as_bytes(), "{key}");
        }
        assert_eq!(KeyScopes::default().bare(b"a:k"), b"a:k");
        let all: Vec<Bytes> = scopes.all_with(b"x").collect();
        assert_eq!(all, ["x", "a:x", "a@10:x", "a@1:x", "b:x", "{a}:x"]);
    }
}
