//! Makes requests of a command: from a sample, or from what the server's COMMAND DOCS says that the command
//! takes.

use std::collections::HashMap;

use fastrand::Rng;
use nearside::protocol::command::Spec;

use crate::mutation;
use crate::shape::{Doc, Shape, What};
use crate::words::{self, Kind, Request, Word, split};
use crate::world;

const SAMPLES: &str = include_str!("samples.txt");

/// How many optional parts of a request are left out, of ten.
const LEFT_OUT_OF_TEN: u8 = 7;

/// What requests are made from.
pub(crate) struct Generator {
    docs: HashMap<String, Doc>,
    samples: HashMap<String, Vec<&'static str>>,
    /// What stands for `$dump`, `$functions`.
    payloads: [(&'static str, Vec<u8>); 2],
}

/// One request that is being made.
struct Draft<'a> {
    rng: &'a mut Rng,
    tag: &'a str,
    group: &'a str,
    request: Request,
    /// How many of what follows the last number of keys or fields was said to follow.
    promised: Option<usize>,
}

// === impl Generator ===

impl Generator {
    pub(crate) fn new(docs: HashMap<String, Doc>, payloads: [(&'static str, Vec<u8>); 2]) -> Generator {
        let mut samples: HashMap<String, Vec<&'static str>> = HashMap::new();
        for line in SAMPLES.lines().filter(|line| !line.is_empty() && !line.starts_with('#')) {
            let mut words = line.trim_start_matches("! ").split(' ');
            let name = words.next().unwrap().to_ascii_lowercase();
            let full = words.next().map(|word| format!("{name}|{}", word.to_ascii_lowercase()));
            let is_sub =
                full.as_ref().is_some_and(|full| crate::coverage::rows().any(|row| row.name == full));
            let name = if let (true, Some(full)) = (is_sub, full) { full } else { name };
            samples.entry(name).or_default().push(line);
        }
        for name in samples.keys() {
            assert!(
                crate::coverage::rows().any(|row| row.name == name),
                "a sample of {name}, which is no row"
            );
        }
        Generator { docs, samples, payloads }
    }

    /// Whether the server knows this command.
    pub(crate) fn is_known(&self, spec: &Spec) -> bool {
        self.docs.contains_key(spec.name)
    }

    /// A request of `spec` for the world of `tag`. `turn` counts the requests of this command: every other
    /// one is the next of its samples as it stands, for as long as there are any.
    pub(crate) fn request(&self, spec: &Spec, turn: usize, tag: &str, rng: &mut Rng) -> Request {
        let samples = self.samples.get(spec.name).map_or(&[][..], Vec::as_slice);
        let name: Vec<String> = spec.name.split('|').map(str::to_ascii_uppercase).collect();
        if let Some(sample) = samples.get(turn / 2)
            && turn.is_multiple_of(2)
        {
            return self.sampled(sample, name.len(), tag);
        }
        loop {
            let sample = rng.choice(samples.iter()).filter(|sample| sample.starts_with("! ") || rng.bool());
            let mut request = match (sample, self.docs.get(spec.name)) {
                (Some(sample), _) => self.sampled(sample, name.len(), tag),
                (None, Some(doc)) => self.described(doc, &name, tag, rng),
                (None, None) => self.guessed(spec, &name, tag, rng),
            };
            let may_change = sample.is_none_or(|sample| !sample.starts_with("! "));
            if may_change && rng.u8(..10) < 5 {
                mutation::mutate(rng, &mut request, name.len(), tag);
            }
            spread(&mut request, tag, rng);
            if !would_wait(&request) && !is_drawn(&request, tag) {
                return request;
            }
        }
    }

    fn sampled(&self, sample: &str, fixed: usize, tag: &str) -> Request {
        let mut request = Vec::new();
        for (at, word) in split(sample.trim_start_matches("! ")).into_iter().enumerate() {
            request.push(match (word.strip_prefix('@'), self.payload(word.as_bytes())) {
                _ if at < fixed => Word::new(word, Kind::Token),
                (Some(name), _) => Word::new(world::key(tag, name), Kind::Key),
                (None, Some(payload)) => Word::new(payload, Kind::Text),
                (None, None) => Word::new(&word, kind_of(&word)),
            });
        }
        request
    }

    fn described(&self, doc: &Doc, name: &[String], tag: &str, rng: &mut Rng) -> Request {
        let request = name.iter().map(|word| Word::new(word, Kind::Token)).collect();
        let mut draft = Draft { rng, tag, group: &doc.group, request, promised: None };
        draft.all(&doc.arguments);
        let mut request = draft.request;
        for word in &mut request {
            if let Some(payload) = self.payload(&word.bytes) {
                word.bytes = payload.to_vec();
            }
        }
        request
    }

    /// What stands for this word.
    fn payload(&self, word: &[u8]) -> Option<&[u8]> {
        self.payloads.iter().find(|(name, _)| name.as_bytes() == word).map(|(_, payload)| &payload[..])
    }

    /// Neither the documents nor the samples tell: a key and what the arity asks for.
    fn guessed(&self, spec: &Spec, name: &[String], tag: &str, rng: &mut Rng) -> Request {
        let mut request: Request = name.iter().map(|word| Word::new(word, Kind::Token)).collect();
        let wanted = usize::from(spec.arity.unsigned_abs()) + usize::from(spec.arity < 0);
        while request.len() < wanted {
            let is_first = request.len() == name.len();
            request.push(if is_first {
                Word::new(world::key(tag, "str"), Kind::Key)
            } else {
                words::anything(rng)
            });
        }
        request
    }
}

// === impl Draft ===

impl Draft<'_> {
    fn all(&mut self, shapes: &[Shape]) {
        shapes.iter().for_each(|shape| self.one(shape));
    }

    fn one(&mut self, shape: &Shape) {
        if shape.optional && self.rng.u8(..10) < LEFT_OUT_OF_TEN {
            return;
        }
        let times = match (shape.multiple, self.promised) {
            (false, _) => 1,
            (true, Some(promised)) => promised,
            (true, None) => self.rng.usize(1..=3),
        };
        for time in 0..times {
            if let Some(token) = &shape.token
                && (time == 0 || shape.multiple_token)
            {
                self.request.push(Word::new(token, Kind::Token));
            }
            self.value(shape);
        }
    }

    fn value(&mut self, shape: &Shape) {
        let blocks = shape.token.as_deref() == Some("BLOCK");
        let word = match &shape.what {
            What::Token => return,
            What::Block(parts) => return self.all(parts),
            What::OneOf(ways) => {
                if let Some(way) = self.rng.choice(ways.iter()) {
                    // What is optional as one of several is not left out once it was chosen.
                    self.one(way);
                }
                return;
            }
            What::Key => self.key(&shape.name),
            What::Integer if shape.name.starts_with("num") && shape.name != "numreplicas" => {
                let promised = self.rng.usize(1..=3);
                self.promised = Some(promised);
                Word::new(promised.to_string(), Kind::Number)
            }
            What::Integer if blocks => words::integer(self.rng, "timeout"),
            What::Integer => words::integer(self.rng, &shape.name),
            What::Double => words::double(self.rng, &shape.name),
            What::UnixTime => words::unix_time(self.rng, &shape.name),
            What::Pattern => words::pattern(self.rng),
            What::Text => words::text(self.rng, &shape.name, self.group),
        };
        self.request.push(word);
    }

    fn key(&mut self, name: &str) -> Word {
        let is_target = name.starts_with("dest") || matches!(name, "dst" | "newkey");
        let names =
            if is_target && self.rng.bool() { &["none", "none2"] } else { world::names_of(self.group) };
        let names = if self.rng.u8(..12) == 0 { &world::NAMES } else { names };
        Word::new(world::key(self.tag, names[self.rng.usize(..names.len())]), Kind::Key)
    }
}

/// Now and then the keys of a request lie in several slots.
fn spread(request: &mut Request, tag: &str, rng: &mut Rng) {
    if request.iter().filter(|word| word.kind == Kind::Key).count() < 2 || rng.u8(..4) > 0 {
        return;
    }
    let home = world::key(tag, "");
    for word in request.iter_mut().filter(|word| word.kind == Kind::Key) {
        let tags = [tag.to_owned(), format!("{tag}-2"), format!("{tag}-3")];
        if let Some(name) = word.bytes.strip_prefix(home.as_bytes()) {
            let name = String::from_utf8_lossy(name).into_owned();
            word.bytes = world::key(&tags[rng.usize(..tags.len())], &name).into_bytes();
        }
    }
}

/// Whether the answer hangs on what the server drew: a range by names of elements whose scores differ has no
/// meaning, and a large sorted set is a skip list, in which the search then ends anywhere; of elements that BY
/// does not put in an order, LIMIT takes any.
fn is_drawn(request: &Request, tag: &str) -> bool {
    let name = String::from_utf8_lossy(&request[0].bytes).to_ascii_lowercase();
    let is_word =
        |wanted: &str| request.iter().any(|word| word.bytes.eq_ignore_ascii_case(wanted.as_bytes()));
    if name.starts_with("sort") && is_word("by") && is_word("limit") {
        return true;
    }
    (name.contains("lex") || is_word("bylex")) && is_word(&world::key(tag, "zset"))
}

/// What a word of a sample seems to be.
fn kind_of(word: &str) -> Kind {
    if word.parse::<f64>().is_ok_and(|number| number > 1000.0) {
        Kind::Lifetime
    } else if word.parse::<f64>().is_ok() {
        Kind::Number
    } else if word.len() > 1 && word.bytes().all(|byte| byte.is_ascii_uppercase()) {
        Kind::Token
    } else {
        Kind::Text
    }
}

/// Whether the request could wait for long, or set a time to live that ends during the conversation: then the
/// two sides would answer by the clock.
pub(crate) fn would_wait(request: &Request) -> bool {
    let name = String::from_utf8_lossy(&request[0].bytes).to_ascii_lowercase();
    let number = |at: usize| {
        let text = request.get(at).map(|word| String::from_utf8_lossy(&word.bytes).into_owned());
        text.and_then(|text| text.trim().parse::<f64>().ok())
    };
    // 0 is for ever; what is negative or no number is an error, and so is what is too large.
    let is_long =
        |at: usize, most: f64| number(at).is_some_and(|time| time == 0.0 || (time > most && time < 1e15));
    // In milliseconds even the largest number is one that would be waited for.
    let is_late = |at: usize| number(at).is_some_and(|time| time == 0.0 || time > 50.0);
    let is_soon = |at: usize| number(at).is_some_and(|time| time > 0.0 && time < 50_000.0);
    let last = request.len() - 1;
    let after = |token: &str| {
        (1..last)
            .find(|at| request[*at].bytes.eq_ignore_ascii_case(token.as_bytes()))
            .map_or(last + 1, |at| at + 1)
    };
    match name.as_str() {
        "blpop" | "brpop" | "bzpopmin" | "bzpopmax" | "blmove" | "brpoplpush" => is_long(last, 0.1),
        "blmpop" | "bzmpop" => is_long(1, 0.1),
        "wait" => number(1).is_some_and(|replicas| replicas > 0.0) && is_late(2),
        "waitaof" => is_late(3),
        "xread" | "xreadgroup" => is_late(after("block")),
        "expire" | "pexpire" | "setex" | "psetex" | "restore" | "restore-asking" | "hexpire" | "hpexpire" => {
            is_soon(2)
        }
        "set" | "getex" | "hsetex" | "hgetex" | "msetex" => is_soon(after("ex")) || is_soon(after("px")),
        _ => false,
    }
}
