//! Recognises the requests of one client: remembers the row of the last request, and refuses denied commands.

use std::sync::Arc;

use super::index::{ends, recognise};
use super::{CommandError, Denied, Spec};
use crate::protocol::resp::request::Request;

/// Recognises the requests of one client. Most have the row of the request before: one comparison is enough
/// for them.
#[derive(Debug, Default)]
pub struct CommandLookup {
    /// The last request's name as the client spelled it, and its row. Never a container: there the name
    /// alone does not choose the row.
    last: Option<(Spelling, &'static Spec)>,
    denied: Arc<Denied>,
}

/// The length of a name of at most 16 bytes, its first bytes and its last bytes: together the whole name.
type Spelling = (usize, u64, u64);

// === impl CommandLookup ===

impl CommandLookup {
    /// Creates the lookup of a client that may not use the commands in `denied`.
    pub fn denying(denied: Arc<Denied>) -> CommandLookup {
        CommandLookup { last: None, denied }
    }

    /// Finds the row of `request` as [`recognise`] does, and refuses a denied command. A row that was allowed
    /// once is not checked again.
    #[inline]
    pub fn recognise(&mut self, request: &Request<'_>) -> Result<&'static Spec, CommandError> {
        let name = request.arg(0);
        let (first, last) = ends(name);
        let spelling = (name.len(), first, last);
        if let Some((known, spec)) = self.last
            && known == spelling
            && spec.takes(request.len())
        {
            return Ok(spec);
        }
        let recognised = self.unless_denied(recognise(request), request);
        // The row of a subcommand has another name than its request.
        let by_name = |spec: &&Spec| spec.subcommands.is_empty() && spec.name.len() == name.len();
        let spec = recognised.ok().filter(by_name).filter(|_| name.len() <= 16);
        self.last = spec.map(|spec| (spelling, spec));
        recognised
    }

    fn unless_denied(
        &self,
        recognised: Result<&'static Spec, CommandError>,
        request: &Request<'_>,
    ) -> Result<&'static Spec, CommandError> {
        match recognised {
            Ok(spec) if self.denied.has(spec) => Err(CommandError::Denied(Some(spec.name))),
            Err(CommandError::Unknown) if self.denied.has_other(request.arg(0)) => {
                Err(CommandError::Denied(None))
            }
            recognised => recognised,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::resp::request::OwnedRequest;

    #[test]
    fn what_came_before_changes_nothing() {
        let mut recogniser = CommandLookup::default();
        let requests =
            ["GET a", "get b", "GET", "SET a b", "CONFIG GET a", "CONFIG SET a b", "CONFIG", "COMMAND"];
        let requests =
            requests.into_iter().chain(["COMMAND COUNT", "config|get a b", "GET a b", "GETS", "GET c"]);
        for text in requests.clone().flat_map(|one| requests.clone().flat_map(move |other| [one, other])) {
            let request = OwnedRequest::from_args(text.split(' '));
            let name = |recognised: Result<&'static Spec, CommandError>| recognised.map(|spec| spec.name);
            let request = request.as_request();
            assert_eq!(name(recogniser.recognise(&request)), name(recognise(&request)), "{text}");
        }
    }
}
