//! One conversation with both sides at once: every request goes to the plain server and to nearside, and the
//! replies are compared.

use std::cell::RefCell;
use std::collections::BTreeSet;

use nearside::protocol::command::{Class, CommandError, Spec, recognise};
use nearside::protocol::key::Slot;
use nearside::protocol::resp::request::OwnedRequest;
use nearside::sandbox::{Reply, SandboxClient};

use crate::coverage::Coverage;
use crate::differences::How;
use crate::family::Pair;
use crate::likeness::allows;
use crate::settings::Setting;
use crate::words::{Request, bytes, plain, shown};
use crate::world;

/// What Redis Cluster says of keys in several slots.
const CROSS_SLOT: &[u8] = b"-CROSSSLOT Keys in request don't hash to the same slot\r\n";

/// Both sides, as one client sees them.
pub(crate) struct Conversation<'a> {
    pub(crate) setting: &'static Setting,
    plain: SandboxClient,
    nearside: SandboxClient,
    coverage: &'a RefCell<Coverage>,
    /// What was asked so far, for whoever looks into a difference.
    said: Vec<String>,
    /// The keys that requests have named.
    touched: BTreeSet<Vec<u8>>,
    /// Whether one side did what the other refused, as a row allows: from here on they hold different data.
    pub(crate) has_parted: bool,
}

/// The two sides differ in a way that no row allows, or one of them said nothing.
#[derive(Debug)]
pub(crate) struct Differs {
    /// The request that they answered otherwise.
    pub(crate) request: String,
    /// All that tells how they came there.
    pub(crate) story: String,
}

/// Requests before the one that differs that are shown.
const SHOWN_REQUESTS: usize = 40;
/// Bytes of a reply that are shown.
const SHOWN_BYTES: usize = 600;

// === impl Conversation ===

impl<'a> Conversation<'a> {
    /// A new one in this version of the protocol.
    pub(crate) fn begin(pair: &Pair, version: u8, coverage: &'a RefCell<Coverage>) -> Conversation<'a> {
        let (mut plain, mut nearside) = (pair.plain(), pair.nearside());
        if version == 3 {
            plain.hello(3).unwrap();
            nearside.hello(3).unwrap();
        }
        Conversation {
            setting: pair.setting,
            plain,
            nearside,
            coverage,
            said: vec![format!("HELLO {version}")],
            touched: BTreeSet::new(),
            has_parted: false,
        }
    }

    /// Asks both sides, and asks a second time what L1 may answer.
    pub(crate) fn ask(&mut self, request: &Request) -> Result<(), Differs> {
        let recognised = OwnedRequest::from_args(bytes(request));
        let recognised = recognised.as_request();
        let spec = match recognise(&recognised) {
            Ok(spec) => spec,
            Err(fault) => return self.ask_unrecognised(fault, request),
        };
        let keys: Vec<&[u8]> =
            spec.keys.positions(&recognised).into_iter().flatten().map(|at| recognised.arg(at)).collect();
        self.touched.extend(keys.iter().map(|key| key.to_vec()));
        if self.setting.refuses(spec) {
            let name = spec.name.to_ascii_uppercase().replace('|', " ");
            let error = format!(
                "-ERR nearside: {name} is not available in a namespace, because it acts on what all namespaces share\r\n"
            );
            return self.ask_nearside(spec, request, error.as_bytes());
        }
        let class = spec.class_of(&recognised).before(self.setting.is_cluster(), &recognised);
        if let Class::Refused(refusal) = class {
            return self.ask_nearside(spec, request, &refusal.reply(spec));
        }
        let has_many_slots =
            self.setting.has_slots() && keys.iter().any(|key| Slot::of(key) != Slot::of(keys[0]));
        if has_many_slots && !matches!(class, Class::FanOut(_)) {
            return self.ask_across_slots(spec, request);
        }
        let is_kept = matches!(class, Class::CacheableRead) || matches!(spec.name, "mget" | "exists");
        for _ in 0..if is_kept { 2 } else { 1 } {
            self.ask_both(Some(spec), request)?;
        }
        if is_left_to_chance(spec.name, request) {
            let keys: Vec<Vec<u8>> = keys.iter().map(|key| key.to_vec()).collect();
            for key in keys {
                self.exchange(&[&b"DEL"[..], &key])?;
            }
        }
        Ok(())
    }

    /// Asks both for what must be the same on both, without counting it: the world, and what it has become.
    pub(crate) fn ask_plain(&mut self, words: &[&str]) -> Result<(), Differs> {
        self.ask_both(None, &plain(words))
    }

    /// Asks both once, whatever it is.
    pub(crate) fn ask_once(&mut self, request: &Request) -> Result<(), Differs> {
        self.ask_both(None, request)
    }

    /// Makes the world of `tag`.
    pub(crate) fn make_world(&mut self, tag: &str, is_large: bool) -> Result<(), Differs> {
        self.touched.extend(world::NAMES.iter().map(|name| world::key(tag, name).into_bytes()));
        for request in world::setup(tag, is_large) {
            self.exchange(&request)?;
        }
        Ok(())
    }

    /// Compares all keys that were named, unless the sides have parted, and removes them.
    pub(crate) fn end(mut self) -> Result<(), Differs> {
        if self.setting.databases > 1 {
            return self.end_all_databases();
        }
        for key in std::mem::take(&mut self.touched) {
            if !self.has_parted {
                self.compare_key(&key)?;
            }
            self.exchange(&[&b"DEL"[..], &key])?;
        }
        Ok(())
    }

    /// Compares all keys of all databases, unless the sides have parted, and removes them.
    fn end_all_databases(&mut self) -> Result<(), Differs> {
        self.exchange(&["DISCARD"])?;
        let (plain, nearside) = self.exchange(&["INFO", "keyspace"])?;
        // What INFO counts may have ended already.
        let databases: BTreeSet<String> =
            [plain, nearside].iter().flat_map(|info| databases_of(info)).collect();
        for database in databases {
            if self.has_parted {
                break;
            }
            self.ask_plain(&["SELECT", &database])?;
            self.ask_plain(&["KEYS", "*"])?;
            let (keys, _) = self.exchange(&["KEYS", "*"])?;
            let keys = Reply::read(&mut &*keys).unwrap_or(Reply::Array(Vec::new()));
            for key in keys.items().iter().filter_map(Reply::bytes) {
                self.compare_key(key)?;
            }
        }
        self.exchange(&["FLUSHALL"])?;
        Ok(())
    }

    fn compare_key(&mut self, key: &[u8]) -> Result<(), Differs> {
        let (kind, _) = self.exchange(&[&b"TYPE"[..], key])?;
        let kind = String::from_utf8_lossy(&kind).trim_matches(['+', '\r', '\n']).to_owned();
        let questions: &[&[&str]] = match kind.as_str() {
            "none" => return Ok(()),
            "string" => &[&["GET", "@"], &["DUMP", "@"]],
            "list" => &[&["LRANGE", "@", "0", "-1"], &["OBJECT", "ENCODING", "@"]],
            "set" => &[&["SMEMBERS", "@"]],
            "hash" => &[&["HGETALL", "@"]],
            "zset" => &[&["ZRANGE", "@", "0", "-1", "WITHSCORES"]],
            "stream" => &[&["XRANGE", "@", "-", "+"], &["XINFO", "GROUPS", "@"], &["XINFO", "STREAM", "@"]],
            _ => &[],
        };
        for question in questions.iter().chain(&[&["OBJECT", "ENCODING", "@"][..], &["PTTL", "@"]]) {
            let mut request = plain(question);
            request.iter_mut().filter(|word| word.bytes == b"@").for_each(|word| word.bytes = key.to_vec());
            self.ask_both(None, &request)?;
        }
        Ok(())
    }

    /// Arity and unknown names are judged before anything is done, so that both may be asked.
    fn ask_unrecognised(&mut self, fault: CommandError, request: &Request) -> Result<(), Differs> {
        let spec = match fault {
            CommandError::Arity(name) => crate::coverage::rows().find(|row| row.name == name),
            CommandError::Unknown | CommandError::UnknownSubcommand | CommandError::Denied(_) => None,
        };
        self.ask_both(spec, request)
    }

    /// Only nearside is asked, and must say `wanted`.
    fn ask_nearside(&mut self, spec: &'static Spec, request: &Request, wanted: &[u8]) -> Result<(), Differs> {
        self.said.push(format!("(nearside alone) {}", shown(request)));
        let reply = self.nearside.send(&bytes(request)).and_then(|()| self.nearside.receive_raw());
        let reply = reply.unwrap_or_else(|error| error.to_string().into_bytes());
        self.coverage.borrow_mut().count(spec, &reply);
        if reply == wanted { Ok(()) } else { Err(self.differs(request, wanted, &reply)) }
    }

    /// Nearside is asked first: what it does not refuse with CROSSSLOT must be what a plain server says.
    fn ask_across_slots(&mut self, spec: &'static Spec, request: &Request) -> Result<(), Differs> {
        self.said.push(format!("(across slots) {}", shown(request)));
        let nearside = self.nearside.send(&bytes(request)).and_then(|()| self.nearside.receive_raw());
        let nearside = nearside.unwrap_or_else(|error| error.to_string().into_bytes());
        self.coverage.borrow_mut().count(spec, &nearside);
        if nearside == CROSS_SLOT {
            return Ok(());
        }
        let plain = self.plain.send(&bytes(request)).and_then(|()| self.plain.receive_raw());
        let plain = plain.unwrap_or_else(|error| error.to_string().into_bytes());
        if plain == nearside { Ok(()) } else { Err(self.differs(request, &plain, &nearside)) }
    }

    fn ask_both(&mut self, spec: Option<&'static Spec>, request: &Request) -> Result<(), Differs> {
        self.said.push(shown(request));
        let (plain, nearside) = self.exchange(&bytes(request))?;
        if let Some(spec) = spec {
            self.coverage.borrow_mut().count(spec, &plain);
        }
        if plain == nearside {
            return Ok(());
        }
        let name = name_of(request);
        let row = self.setting.differences().find(|row| {
            (row.commands.is_empty() || row.commands.contains(&&*name)) && allows(&row.how, &plain, &nearside)
        });
        match row {
            Some(row) => {
                self.coverage.borrow_mut().used.insert(row);
                // A command that the servers do not know did nothing on either side.
                let is_unknown = plain.starts_with(b"-ERR unknown ");
                self.has_parted |= matches!(row.how, How::Instead(..)) && !is_unknown;
                Ok(())
            }
            None => Err(self.differs(request, &plain, &nearside)),
        }
    }

    /// What both sides say, byte for byte.
    fn exchange<W: AsRef<[u8]>>(&mut self, request: &[W]) -> Result<(Vec<u8>, Vec<u8>), Differs> {
        let sent = self.plain.send(request).and_then(|()| self.nearside.send(request));
        let plain = sent.and_then(|()| self.plain.receive_raw());
        let nearside = self.nearside.receive_raw();
        match (plain, nearside) {
            (Ok(plain), Ok(nearside)) => Ok((plain, nearside)),
            (plain, nearside) => {
                let words: Vec<String> =
                    request.iter().map(|word| word.as_ref().escape_ascii().to_string()).collect();
                let words: Vec<&str> = words.iter().map(String::as_str).collect();
                let text = |side: std::io::Result<Vec<u8>>| {
                    side.unwrap_or_else(|error| format!("({error})").into_bytes())
                };
                Err(self.differs(&crate::words::plain(&words), &text(plain), &text(nearside)))
            }
        }
    }

    fn differs(&self, request: &Request, plain: &[u8], nearside: &[u8]) -> Differs {
        let from = plain.iter().zip(nearside).take_while(|(one, other)| one == other).count();
        let from = if from > SHOWN_BYTES / 2 { from - 40 } else { 0 };
        let reply = |reply: &[u8]| {
            let end = reply.len().min(from + SHOWN_BYTES);
            reply[from.min(end)..end].escape_ascii().to_string()
        };
        let before = self.said.len().saturating_sub(SHOWN_REQUESTS);
        let story = format!(
            "{}\n    plain:    {}\n    nearside: {}\n    after: {}",
            shown(request),
            reply(plain),
            reply(nearside),
            self.said[before..].join("; ")
        );
        Differs { request: name_of(request), story }
    }
}

/// The databases with keys that INFO lists.
fn databases_of(info: &[u8]) -> Vec<String> {
    let info = String::from_utf8_lossy(info);
    let databases = info.lines().filter_map(|line| line.strip_prefix("db")?.split_once(':'));
    databases.map(|(database, _)| database.to_owned()).collect()
}

/// The name of the row of `request`, also when its arguments are wrong.
pub(crate) fn name_of(request: &Request) -> String {
    let word = |at: usize| {
        request
            .get(at)
            .map(|word| String::from_utf8_lossy(&word.bytes).to_ascii_lowercase())
            .unwrap_or_default()
    };
    let full = format!("{}|{}", word(0), word(1));
    if crate::coverage::rows().any(|row| row.name == full) { full } else { word(0) }
}

/// Whether the two sides will do different things: what they drew, or when they did it, is part of the state.
fn is_left_to_chance(name: &str, request: &Request) -> bool {
    let has = |option: &str| request.iter().any(|word| word.bytes.eq_ignore_ascii_case(option.as_bytes()));
    match name {
        "spop" => true,
        "sort" => has("by") && has("store"),
        "xadd" => has("*"),
        _ => false,
    }
}
