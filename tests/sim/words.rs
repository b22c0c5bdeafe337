//! The protocol as the model's nodes and clients speak it: small, whole frames only.

/// What stands in a reply.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Word {
    Simple(String),
    Error(String),
    Integer(i64),
    Bulk(String),
    Nil,
    Array(Vec<Word>),
}

/// A request.
pub(crate) fn request(args: &[&str]) -> Vec<u8> {
    let mut bytes = format!("*{}\r\n", args.len());
    for arg in args {
        bytes += &bulk(arg);
    }
    bytes.into_bytes()
}

/// A bulk string.
pub(crate) fn bulk(text: &str) -> String {
    format!("${}\r\n{text}\r\n", text.len())
}

/// Takes the first whole request out of `bytes`.
pub(crate) fn take_request(bytes: &mut Vec<u8>) -> Option<Vec<String>> {
    let (word, length) = read(bytes)?;
    bytes.drain(..length);
    let Word::Array(words) = word else { panic!("the daemon sent what is no request: {word:?}") };
    let text = |word| if let Word::Bulk(text) = word { text } else { panic!("{word:?} in a request") };
    Some(words.into_iter().map(text).collect())
}

/// Takes the first whole reply out of `bytes`.
pub(crate) fn take_reply(bytes: &mut Vec<u8>) -> Option<Word> {
    let (word, length) = read(bytes)?;
    bytes.drain(..length);
    Some(word)
}

fn read(bytes: &[u8]) -> Option<(Word, usize)> {
    let end = bytes.windows(2).position(|pair| pair == b"\r\n")?;
    let line = std::str::from_utf8(&bytes[1..end]).expect("lines are text");
    let after = end + 2;
    let number = || line.parse::<i64>().expect("a number");
    match bytes[0] {
        b'+' => Some((Word::Simple(line.to_owned()), after)),
        b'-' => Some((Word::Error(line.to_owned()), after)),
        b':' => Some((Word::Integer(number()), after)),
        b'_' => Some((Word::Nil, after)),
        b'$' | b'*' if line == "-1" => Some((Word::Nil, after)),
        b'$' => {
            let length = number() as usize;
            let body = bytes.get(after..after + length + 2)?;
            let text = String::from_utf8(body[..length].to_vec()).expect("values are text");
            Some((Word::Bulk(text), after + length + 2))
        }
        kind @ (b'*' | b'%') => {
            let count = number() as usize * if kind == b'%' { 2 } else { 1 };
            let (mut words, mut at) = (Vec::new(), after);
            for _ in 0..count {
                let (word, length) = read(bytes.get(at..).filter(|rest| !rest.is_empty())?)?;
                words.push(word);
                at += length;
            }
            Some((Word::Array(words), at))
        }
        other => panic!("a reply that begins with {:?}", char::from(other)),
    }
}
