//! A conversation as data: reads the scripts in `scripts/`.
//!
//! A line is one request, in words as `redis-cli` takes them: `"..."` may hold `\n`, `\r`, `\"`, `\\` and
//! `\xHH`, and a bare `%N` stands for N bytes of every value. A line may begin with marks, which can be
//! joined (`2?`):
//!
//! - `?` a read: asked three times in a row, so that L1 answers the later ones
//! - `2` on a second connection
//! - `+` in the same write as the line before, on its connection
//! - `~` inline, as it stands
//! - `=` the words are bytes to be sent as they are
//! - `-` no reply is to come
//! - `!` the other side closes after it
//! - `*` a pause of so many milliseconds
//! - `#` nothing: a comment

use std::time::Duration;

use nearside::sandbox::client;

/// One theme.
pub(super) struct Script {
    pub(super) name: &'static str,
    pub(super) steps: Vec<Step>,
}

pub(super) enum Step {
    Pause(Duration),
    Write(Write),
}

/// What is sent in one write, and what is to be read after it.
pub(super) struct Write {
    /// The line that it begins at.
    pub(super) line: usize,
    /// 0 or 1.
    pub(super) connection: usize,
    pub(super) bytes: Vec<u8>,
    /// How often it is sent, each time after the replies to the time before.
    pub(super) rounds: usize,
    pub(super) replies: usize,
    pub(super) closes: bool,
}

const MARKS: &str = "?2+~=-!*#";

// === impl Script ===

impl Script {
    pub(super) fn read(name: &'static str, text: &str) -> Script {
        let mut script = Script { name, steps: Vec::new() };
        for (index, line) in text.lines().enumerate() {
            let (marks, rest) = split_marks(line);
            if !rest.is_empty() && !marks.contains('#') {
                script.add(index + 1, marks, rest);
            }
        }
        script
    }

    fn add(&mut self, line: usize, marks: &str, rest: &str) {
        let has = |mark| marks.contains(mark);
        if has('*') {
            return self.steps.push(Step::Pause(Duration::from_millis(rest.parse().unwrap())));
        }
        let bytes = if has('~') {
            format!("{rest}\r\n").into_bytes()
        } else if has('=') {
            words(rest).concat()
        } else {
            client::encode(&words(rest))
        };
        let replies = usize::from(!has('-'));
        if has('+') {
            let Some(Step::Write(write)) = self.steps.last_mut() else { panic!("{}:{line}", self.name) };
            write.bytes.extend_from_slice(&bytes);
            write.replies += replies;
            write.closes |= has('!');
            return;
        }
        let rounds = if has('?') { 3 } else { 1 };
        let connection = usize::from(has('2'));
        self.steps.push(Step::Write(Write { line, connection, bytes, rounds, replies, closes: has('!') }));
    }
}

/// A first word that has nothing but marks is one; no command is called so.
fn split_marks(line: &str) -> (&str, &str) {
    match line.split_once(' ') {
        Some((first, rest)) if first.chars().all(|letter| MARKS.contains(letter)) => (first, rest),
        _ => ("", line),
    }
}

fn words(line: &str) -> Vec<Vec<u8>> {
    let mut words = Vec::new();
    let mut rest = line.trim_start();
    while !rest.is_empty() {
        let (word, after) = match rest.strip_prefix('"') {
            Some(quoted) => unquoted(quoted),
            None => {
                let (word, after) = rest.split_once(' ').unwrap_or((rest, ""));
                let length = word.strip_prefix('%').and_then(|digits| digits.parse().ok());
                (length.map_or_else(|| word.as_bytes().to_vec(), every_byte), after)
            }
        };
        words.push(word);
        rest = after.trim_start();
    }
    words
}

/// The word up to its closing quote, and what follows.
fn unquoted(text: &str) -> (Vec<u8>, &str) {
    let mut word = Vec::new();
    let mut at = 0;
    let bytes = text.as_bytes();
    while bytes[at] != b'"' {
        if bytes[at] == b'\\' {
            at += 1;
            word.push(match bytes[at] {
                b'n' => b'\n',
                b'r' => b'\r',
                b'x' => {
                    at += 2;
                    u8::from_str_radix(&text[at - 1..=at], 16).unwrap()
                }
                other => other,
            });
        } else {
            word.push(bytes[at]);
        }
        at += 1;
    }
    (word, &text[at + 1..])
}

/// So many bytes, of every value in turn; 251 is prime, so no power of two repeats itself.
pub(super) fn every_byte(length: usize) -> Vec<u8> {
    (0..251).cycle().take(length).collect()
}
