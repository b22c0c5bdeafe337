//! MONITOR: every command that the clients of this daemon send, as Redis shows them.

use std::fmt::Write;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{SystemTime, UNIX_EPOCH};

use bytes::Bytes;

use super::server_state::{GlobalFlags, ServerState};
use crate::clients::mailbox::Mail;
use crate::clients::{Client, ClientFlag};
use crate::protocol::command::{Flags, Spec};
use crate::protocol::resp::encode;
use crate::protocol::resp::request::Request;

/// A client follows all commands until this is dropped.
#[derive(Debug)]
pub(crate) struct Watching {
    server: Arc<ServerState>,
    client: Arc<Client>,
}

// === impl Watching ===

impl Watching {
    /// Shows `client` all commands from here on.
    pub(crate) fn begin(server: Arc<ServerState>, client: Arc<Client>) -> Watching {
        let mut monitors = server.monitors.lock();
        monitors.push(client.clone());
        client.mark(ClientFlag::Monitor, true);
        server.set(GlobalFlags::MONITORED, true);
        drop(monitors);
        Watching { server, client }
    }
}

impl Drop for Watching {
    fn drop(&mut self) {
        let mut monitors = self.server.monitors.lock();
        monitors.retain(|client| client.id != self.client.id);
        self.client.mark(ClientFlag::Monitor, false);
        if monitors.is_empty() {
            self.server.set(GlobalFlags::MONITORED, false);
        }
    }
}

/// The error for a command about data of a client that follows all commands; Redis counts it among the
/// replicas.
pub(crate) fn refuse(flags: Flags) -> Option<Bytes> {
    let about_data = Flags::READ.with(Flags::WRITE).with(Flags::MAY_REPLICATE);
    flags.has_any(about_data).then(|| encode::error_reply("ERR Replica can't interact with the keyspace"))
}

/// Shows a command that is carried out, as its client sent it, to the clients that follow and may see it.
/// What administers a server is not shown, as in Redis; `spec` is absent for a command that the table does
/// not know.
#[cold]
pub(crate) fn show(spec: Option<&Spec>, request: &Request<'_>, client: &Client, server: &ServerState) {
    if spec.is_some_and(|spec| spec.flags.has(Flags::ADMIN)) {
        return;
    }
    let line = line(spec, request, client);
    let namespace = client.endpoints.namespace.as_ref();
    for monitor in server.monitors.lock().iter().filter(|monitor| monitor.sees(namespace)) {
        monitor.mailbox.put(Mail::Now(line.clone()));
    }
}

fn line(spec: Option<&Spec>, request: &Request<'_>, client: &Client) -> Bytes {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let database = client.database.load(Ordering::Relaxed);
    let mut line = format!("+{}.{:06} [{database} ", now.as_secs(), now.subsec_micros());
    match &client.endpoints.unix {
        Some(path) => line.extend(["unix:", path]),
        None => line.push_str(&client.endpoints.address),
    }
    line.push(']');
    let secrets = spec.map_or_else(Vec::new, |spec| spec.secrets(request));
    for (index, argument) in request.args().enumerate() {
        line.push(' ');
        quote(if secrets.contains(&index) { b"(redacted)" } else { argument }, &mut line);
    }
    line.push_str("\r\n");
    line.into()
}

/// Appends `text` in quotes, with what is not printable as Redis (`sdscatrepr`) writes it.
fn quote(text: &[u8], line: &mut String) {
    line.push('"');
    for byte in text {
        match byte {
            b'\\' | b'"' => line.extend(['\\', char::from(*byte)]),
            b'\n' => line.push_str("\\n"),
            b'\r' => line.push_str("\\r"),
            b'\t' => line.push_str("\\t"),
            0x07 => line.push_str("\\a"),
            0x08 => line.push_str("\\b"),
            b' '..=b'~' => line.push(char::from(*byte)),
            // Writing to a String cannot fail.
            byte => drop(write!(line, "\\x{byte:02x}")),
        }
    }
    line.push('"');
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn arguments_are_quoted_as_redis_quotes_them() {
        let mut line = String::new();
        quote(b"x\xff\n\"\\\x07\x08\t\r\x00 ~\x7f", &mut line);
        assert_eq!(line, r#""x\xff\n\"\\\a\b\t\r\x00 ~\x7f""#);
    }
}
