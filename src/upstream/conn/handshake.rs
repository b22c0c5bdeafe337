//! The first requests on an upstream connection: RESP3, the login, and tracking, before any read.

use std::io;
use std::sync::Arc;

use bytes::{Bytes, BytesMut};

use super::connect;
use super::expected::ExpectedReplies;
use super::heartbeat::{Health, Heartbeat};
use super::identity::ExpectedNode;
use super::limits::{self, NodeLimits};
use super::login::Credentials;
use super::proxy_chain::PeerKind;
use super::transport::Transport;
use crate::clock::{self, Nanos};
use crate::node::NodeId;
use crate::protocol::resp::{cursor, encode};
use crate::upstream::options::UpstreamOptions;
use crate::upstream::rights::Right;
use crate::upstream::shared::SharedUpstream;
use crate::upstream::truncate;

/// The answers of the node.
#[derive(Debug)]
pub(in crate::upstream) struct Greeting {
    /// Why the node does not track what we read, if it does not.
    pub(in crate::upstream) untracked: Option<String>,
    /// The reply to HELLO, which says what server it is.
    pub(in crate::upstream) hello: Bytes,
    /// The reply to `INFO server`.
    pub(in crate::upstream) info: Bytes,
    /// What the node answered to commands that the user upstream may have no right to.
    pub(in crate::upstream) said: Vec<(Right, Bytes)>,
    /// The first heartbeat, and when it was sent.
    pub(in crate::upstream) health: (Nanos, Health),
    /// Its limits on one client.
    pub(in crate::upstream) limits: NodeLimits,
    /// Whether it says its limits at all.
    pub(in crate::upstream) tells_limits: bool,
    /// The id of the node, if it said so.
    pub(in crate::upstream) id: Option<Arc<str>>,
    /// What it is, a server or another nearside.
    pub(in crate::upstream) behind: PeerKind,
}

/// Asks a nearside for the nearsides behind it by now.
pub(in crate::upstream) const WHO_IS_BEHIND: [&str; 2] = ["HELLO", "3"];

/// Bytes of one answer to the greeting at most. Pushes that come meanwhile may be a little longer than these
/// answers.
const REPLY_BYTES_MAX: usize = 16 << 20;

/// Begins tracking: the node reports changes of what is read on this connection, but for reads behind
/// [`UNTRACKED`].
pub(in crate::upstream) const TRACK: [&str; 4] = ["CLIENT", "TRACKING", "ON", "OPTOUT"];

/// The node does not track what the next command on the connection reads.
pub(in crate::upstream) const UNTRACKED: &[u8] = b"*3\r\n$6\r\nCLIENT\r\n$7\r\nCACHING\r\n$2\r\nNO\r\n";

/// Which changes the node is asked to report.
#[derive(Clone, Copy, Debug)]
pub(in crate::upstream) enum TrackingScope<'a> {
    /// None.
    Nothing,
    /// Changes of keys that are read on the connection.
    Reads,
    /// Changes of all keys with these prefixes.
    Prefixes(&'a [Bytes]),
}

/// Speaks first on `transport`, and asks for what is to be tracked. The node has `connect_timeout` to answer.
///
/// # Errors
/// The connection failed, or the node refused us; the text says which.
pub(in crate::upstream) async fn greet(
    transport: &mut Transport,
    options: &UpstreamOptions,
    track: TrackingScope<'_>,
    whom: ExpectedNode<'_>,
) -> io::Result<Greeting> {
    let sent_at = clock::now();
    let mut bytes = BytesMut::from(&hello(options.login.present().as_ref())[..]);
    let arming = track.request();
    bytes.extend_from_slice(arming.as_deref().unwrap_or_default());
    bytes.extend_from_slice(&encode::request(&["INFO", "server"]));
    bytes.extend_from_slice(&options.heartbeat.request());
    let question = ExpectedNode::question(options.heartbeat);
    bytes.extend_from_slice(question.as_deref().unwrap_or_default());
    bytes.extend_from_slice(&limits::questions());
    let count = 3 + usize::from(arming.is_some()) + usize::from(question.is_some()) + limits::ANSWERS;
    let (replies, behind) = greeted(transport, &bytes.freeze(), count, whom, options).await?;
    let mut replies = replies.into_iter();
    let mut next = || replies.next().unwrap_or_default();
    let hello = next();
    let armed = arming.map(|_| next());
    let (info, heartbeat) = (next(), next());
    let untracked = match &armed {
        Some(armed) => truncate::error_text(armed),
        None => Some("L1 is off".to_owned()),
    };
    let mut said = vec![(Right::Info, info.clone())];
    said.extend(armed.map(|armed| (Right::Tracking, armed)));
    if options.heartbeat == Heartbeat::ClusterInfo {
        said.push((Right::ClusterInfo, heartbeat.clone()));
    }
    let health = (sent_at, options.heartbeat.read(&heartbeat));
    let id = match question {
        Some(_) => {
            let reply = next();
            let id = whom.recognise(&reply)?;
            said.push((Right::MyId, reply));
            id
        }
        None => None,
    };
    let limits = NodeLimits::read(replies.as_slice());
    let tells_limits = replies.as_slice().iter().skip(1).all(|answer| !answer.starts_with(b"-"));
    said.extend(limits::rights(replies.as_slice()));
    Ok(Greeting { untracked, hello, info, said, health, id, limits, tells_limits, behind })
}

// === impl Greeting ===

impl Greeting {
    /// Notes what `node` said of itself on a `main` connection or another one. Returns the `run_id` of its
    /// process.
    pub(in crate::upstream) fn note(&self, shared: &SharedUpstream, node: &NodeId, main: bool) -> Arc<str> {
        for (right, reply) in &self.said {
            shared.rights.judge(node, *right, reply);
        }
        shared.status.report_server(node, &self.info, &self.hello, main)
    }
}

// === impl TrackingScope ===

impl TrackingScope<'_> {
    fn request(self) -> Option<Bytes> {
        match self {
            TrackingScope::Nothing => None,
            TrackingScope::Reads => Some(encode::request(&TRACK)),
            TrackingScope::Prefixes(prefixes) => {
                let arming = [&b"CLIENT"[..], b"TRACKING", b"ON", b"BCAST"];
                let prefixes = prefixes.iter().flat_map(|prefix| [&b"PREFIX"[..], &prefix[..]]);
                Some(encode::request(&arming.into_iter().chain(prefixes).collect::<Vec<_>>()))
            }
        }
    }
}

/// Greets a node on a `transport` that is not tracked: a dedicated connection, or one that subscribes.
/// Returns the id that the node gave to the connection. The node has `connect_timeout` to answer.
///
/// # Errors
/// The connection failed, or the node refused us; the text says which.
pub(in crate::upstream) async fn greet_untracked(
    transport: &mut Transport,
    options: &UpstreamOptions,
    whom: ExpectedNode<'_>,
) -> io::Result<u64> {
    let mut bytes = BytesMut::from(&hello(options.login.present().as_ref())[..]);
    let question = ExpectedNode::question(options.heartbeat);
    bytes.extend_from_slice(question.as_deref().unwrap_or_default());
    let count = 1 + usize::from(question.is_some());
    let (replies, _) = greeted(transport, &bytes.freeze(), count, whom, options).await?;
    let greeting = replies.first().map_or(&[][..], |reply| reply);
    if let Some(reply) = replies.get(1) {
        whom.recognise(reply)?;
    }
    let id = cursor::field(greeting, b"id").and_then(cursor::integer);
    let id = id.and_then(|id| u64::try_from(id).ok());
    id.ok_or_else(|| {
        io::Error::new(io::ErrorKind::InvalidData, "the node did not say the id of the connection")
    })
}

/// Asks that a connection which carries what many clients want is not ended when all clients of the node
/// together take too much memory. A node that refuses may end it.
///
/// # Errors
/// The connection failed.
pub(in crate::upstream) async fn exempt(
    transport: &mut Transport,
    options: &UpstreamOptions,
) -> io::Result<()> {
    answers(transport, &encode::request(&limits::EXEMPT), 1, options, |_| Ok(())).await.map(drop)
}

/// The answers to a greeting, and what answered it. The answer to HELLO is checked before the others have
/// come: a wrong server may never send them.
async fn greeted(
    transport: &mut Transport,
    bytes: &Bytes,
    replies: usize,
    whom: ExpectedNode<'_>,
    options: &UpstreamOptions,
) -> io::Result<(Vec<Bytes>, PeerKind)> {
    let mut behind = PeerKind::Server;
    let judge = |hello: &[u8]| {
        // That is reported with those of the others.
        if !Transport::is_in_place_of_a_long_one(hello) {
            behind = take_hello(hello, whom, options)?;
        }
        Ok(())
    };
    let greeting = answers(transport, bytes, replies, options, judge).await?;
    if behind == PeerKind::Nearside {
        // Asked once more for those behind it: it may have greeted us while we greeted it.
        let question = encode::request(&WHO_IS_BEHIND);
        let replies = answers(transport, &question, 1, options, |_| Ok(())).await?;
        let reply = replies.first().map_or(&[][..], |reply| reply);
        whom.shared.proxy_chain.meet(reply).map_err(|text| wrong(whom, text))?;
    }
    Ok((greeting, behind))
}

/// The replies to `bytes`, of which `judge` sees the first one as soon as it is there.
async fn answers(
    transport: &mut Transport,
    bytes: &Bytes,
    replies: usize,
    options: &UpstreamOptions,
    judge: impl FnMut(&[u8]) -> io::Result<()>,
) -> io::Result<Vec<Bytes>> {
    transport.bound_replies(REPLY_BYTES_MAX);
    let conversation = transport.round_trip(bytes, replies, judge);
    let answers = connect::in_time(conversation, options.connect_timeout, "no answer").await;
    transport.bound_replies(options.reply_bytes_max);
    if Transport::is_about_length(&answers) {
        let text = format!("an answer to our first words is longer than {REPLY_BYTES_MAX} bytes");
        return Err(io::Error::other(text));
    }
    answers
}

/// Whether the node takes us in, does not lead back to us, and is of the kind that is expected there.
fn take_hello(reply: &[u8], whom: ExpectedNode<'_>, options: &UpstreamOptions) -> io::Result<PeerKind> {
    if let Some(error) = truncate::error_text(reply) {
        options.login.note(&error);
        return Err(refusal(&error));
    }
    let expected = ExpectedReplies::of_heartbeat(options.heartbeat);
    let behind = whom.shared.proxy_chain.meet(reply);
    let right = behind.and_then(|behind| {
        expected.compare(reply, whom.node.address())?;
        Ok(behind)
    });
    right.map_err(|text| wrong(whom, text))
}

/// The error for a server that is not the expected one.
fn wrong(whom: ExpectedNode<'_>, text: String) -> io::Error {
    whom.shared.attempt_failed();
    io::Error::new(io::ErrorKind::Unsupported, text)
}

/// The request that opens every connection.
pub(in crate::upstream) fn hello(credentials: Option<&Credentials>) -> Bytes {
    let name = ["SETNAME", "nearside"];
    match credentials {
        None => encode::request(&[&["HELLO", "3"][..], &name].concat()),
        Some(Credentials { username, password }) => {
            let username = username.as_deref().unwrap_or("default");
            encode::request(&[&["HELLO", "3", "AUTH", username, password.as_str()][..], &name].concat())
        }
    }
}

/// Why the node refused us.
pub(in crate::upstream) fn refusal(error: &str) -> io::Error {
    let hint = if error.starts_with("ERR unknown command") || error.starts_with("NOPROTO") {
        "; nearside needs a server that speaks RESP3 (Redis 6 or later, or Valkey)"
    } else if ["NOAUTH", "WRONGPASS"].iter().any(|code| error.starts_with(code)) {
        "; nearside logs in with upstream_username and upstream_password_file"
    } else {
        ""
    };
    io::Error::new(io::ErrorKind::PermissionDenied, format!("{error}{hint}"))
}
