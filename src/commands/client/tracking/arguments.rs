//! The arguments of CLIENT TRACKING, with the errors of Redis.

use std::collections::BTreeSet;

use bytes::Bytes;

use super::state::{ClientTracking, TrackedKeys};
use crate::clients::Clients;
use crate::commands::client_state::ClientState;
use crate::protocol::resp::parse_integer;
use crate::protocol::resp::reply::printed;
use crate::protocol::resp::request::Request;

/// What the arguments say.
#[derive(Debug)]
pub(crate) struct TrackingRequest {
    pub(super) on: bool,
    pub(super) mode: TrackedKeys,
    /// 0 for none, as Redis shows it.
    pub(super) redirect: i64,
    pub(super) no_loop: bool,
    pub(super) prefixes: Vec<Bytes>,
}

/// The prefixes of one client; every two of them are compared.
const PREFIXES_MAX: usize = 1024;

/// The options, before they are held against each other.
#[derive(Debug, Default)]
struct TrackingOptions {
    redirect: i64,
    broadcast: bool,
    opt_in: bool,
    opt_out: bool,
    no_loop: bool,
    prefixes: Vec<Bytes>,
}

/// Reads the arguments; `present` is the session's tracking if it is on.
///
/// # Errors
/// The text of the error reply.
pub(super) fn read(
    request: &Request<'_>,
    present: Option<&ClientTracking>,
    client: &ClientState,
    clients: &Clients,
) -> Result<TrackingRequest, Vec<u8>> {
    let options = read_options(request, client, clients)?;
    let on = request.arg(2).eq_ignore_ascii_case(b"on");
    if !on && !request.arg(2).eq_ignore_ascii_case(b"off") {
        return Err("ERR syntax error".into());
    }
    if on {
        options.check(present)?;
    }
    let mode = match &options {
        TrackingOptions { broadcast: true, .. } => TrackedKeys::Broadcast,
        TrackingOptions { opt_in: true, .. } => TrackedKeys::OptIn,
        TrackingOptions { opt_out: true, .. } => TrackedKeys::OptOut,
        _ => TrackedKeys::Default,
    };
    let TrackingOptions { redirect, no_loop, mut prefixes, .. } = options;
    if mode == TrackedKeys::Broadcast && prefixes.is_empty() {
        prefixes.push(Bytes::new());
    }
    Ok(TrackingRequest { on, mode, redirect, no_loop, prefixes })
}

fn read_options(
    request: &Request<'_>,
    client: &ClientState,
    clients: &Clients,
) -> Result<TrackingOptions, Vec<u8>> {
    let mut options = TrackingOptions::default();
    let mut at = 3;
    while at < request.len() {
        let is = |name: &[u8]| request.arg(at).eq_ignore_ascii_case(name);
        let has_value = at + 1 < request.len();
        if is(b"redirect") && has_value {
            if options.redirect != 0 {
                return Err("ERR A client can only redirect to a single other client".into());
            }
            at += 1;
            options.redirect =
                parse_integer(request.arg(at)).ok_or("ERR value is not an integer or out of range")?;
            let target = u64::try_from(options.redirect).ok().and_then(|id| clients.get(id));
            // A client with other names for its keys could do nothing with these.
            if target.is_none_or(|target| target.endpoints.namespace.as_ref() != client.home()) {
                return Err("ERR The client ID you want redirect to does not exist".into());
            }
        } else if is(b"bcast") {
            options.broadcast = true;
        } else if is(b"optin") {
            options.opt_in = true;
        } else if is(b"optout") {
            options.opt_out = true;
        } else if is(b"noloop") {
            options.no_loop = true;
        } else if is(b"prefix") && has_value {
            at += 1;
            options.prefixes.push(Bytes::copy_from_slice(request.arg(at)));
        } else {
            return Err("ERR syntax error".into());
        }
        at += 1;
    }
    Ok(options)
}

// === impl TrackingOptions ===

impl TrackingOptions {
    /// Whether the options may be combined, also with those in use.
    fn check(&self, present: Option<&ClientTracking>) -> Result<(), Vec<u8>> {
        let mode = present.map(|present| present.mode);
        if !self.broadcast && !self.prefixes.is_empty() {
            return Err("ERR PREFIX option requires BCAST mode to be enabled".into());
        }
        if mode.is_some_and(|mode| (mode == TrackedKeys::Broadcast) != self.broadcast) {
            return Err(
                "ERR You can't switch BCAST mode on/off before disabling tracking for this client, and then \
                 re-enabling it with a different mode."
                    .into(),
            );
        }
        if self.broadcast && (self.opt_in || self.opt_out) {
            return Err("ERR OPTIN and OPTOUT are not compatible with BCAST".into());
        }
        if self.opt_in && self.opt_out {
            return Err("ERR You can't specify both OPTIN mode and OPTOUT mode".into());
        }
        if self.opt_in && mode == Some(TrackedKeys::OptOut)
            || self.opt_out && mode == Some(TrackedKeys::OptIn)
        {
            return Err(
                "ERR You can't switch OPTIN/OPTOUT mode before disabling tracking for this client, and then \
                 re-enabling it with a different mode."
                    .into(),
            );
        }
        self.check_prefixes(present.map(|present| &present.prefixes))
    }

    fn check_prefixes(&self, present: Option<&BTreeSet<Bytes>>) -> Result<(), Vec<u8>> {
        if self.prefixes.len() + present.map_or(0, BTreeSet::len) > PREFIXES_MAX {
            let text = format!("ERR nearside: a client can be told of {PREFIXES_MAX} prefixes at most");
            return Err(text.into_bytes());
        }
        for (index, prefix) in self.prefixes.iter().enumerate() {
            let existing = present.into_iter().flatten().find(|existing| overlap(existing, prefix));
            if let Some(existing) = existing {
                return Err(overlapping(prefix, b"an existing", existing));
            }
            let other = self.prefixes[index + 1..].iter().find(|other| overlap(other, prefix));
            if let Some(other) = other {
                return Err(overlapping(prefix, b"another provided", other));
            }
        }
        Ok(())
    }
}

fn overlap(one: &[u8], other: &[u8]) -> bool {
    one.starts_with(other) || other.starts_with(one)
}

fn overlapping(prefix: &[u8], which: &[u8], other: &[u8]) -> Vec<u8> {
    let rest = b"'. Prefixes for a single client must not overlap.";
    [b"ERR Prefix '", printed(prefix), b"' overlaps with ", which, b" prefix '", printed(other), rest]
        .concat()
}
