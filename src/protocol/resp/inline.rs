//! The words of an inline command, quoted as `redis-cli` and `telnet` users quote them.

/// Splits a line as Redis does (`sdssplitargs`): words between white space; `"…"` with `\n \r \t \b \a \xHH`
/// and `\` escapes; `'…'` with `\'` alone. `None` when a quote is not closed or is followed by something.
pub(super) fn split(line: &[u8]) -> Option<Vec<Vec<u8>>> {
    let mut words = Vec::new();
    let mut at = 0;
    loop {
        while line.get(at).is_some_and(|byte| is_space(*byte)) {
            at += 1;
        }
        if at >= line.len() {
            return Some(words);
        }
        let mut word = Vec::new();
        at = read_word(line, at, &mut word)?;
        words.push(word);
    }
}

/// Reads the word that begins at `at`; returns the offset after it.
fn read_word(line: &[u8], mut at: usize, word: &mut Vec<u8>) -> Option<usize> {
    while let Some(&byte) = line.get(at) {
        match byte {
            b'"' | b'\'' => {
                at = if byte == b'"' {
                    double_quoted(line, at + 1, word)
                } else {
                    single_quoted(line, at + 1, word)
                }?;
                // A closing quote must end the word.
                return line.get(at).is_none_or(|byte| is_space(*byte)).then_some(at);
            }
            0 => return Some(at + 1),
            // Between words `isspace` counts, but these alone end one.
            b' ' | b'\t' | b'\n' | b'\r' => return Some(at),
            byte => word.push(byte),
        }
        at += 1;
    }
    Some(at)
}

fn double_quoted(line: &[u8], mut at: usize, word: &mut Vec<u8>) -> Option<usize> {
    loop {
        match *line.get(at)? {
            b'"' => return Some(at + 1),
            b'\\' if at + 1 < line.len() => {
                if let Some(byte) = hex_escape(line, at) {
                    word.push(byte);
                    at += 4;
                    continue;
                }
                word.push(match line[at + 1] {
                    b'n' => b'\n',
                    b'r' => b'\r',
                    b't' => b'\t',
                    b'b' => 0x08,
                    b'a' => 0x07,
                    other => other,
                });
                at += 2;
            }
            byte => {
                word.push(byte);
                at += 1;
            }
        }
    }
}

fn single_quoted(line: &[u8], mut at: usize, word: &mut Vec<u8>) -> Option<usize> {
    loop {
        match *line.get(at)? {
            b'\'' => return Some(at + 1),
            b'\\' if line.get(at + 1) == Some(&b'\'') => {
                word.push(b'\'');
                at += 2;
            }
            byte => {
                word.push(byte);
                at += 1;
            }
        }
    }
}

/// The byte of `\xHH` at `at`, if that is what stands there.
fn hex_escape(line: &[u8], at: usize) -> Option<u8> {
    if line.get(at + 1) != Some(&b'x') {
        return None;
    }
    let digit = |offset: usize| line.get(at + offset).and_then(|byte| char::from(*byte).to_digit(16));
    u8::try_from(digit(2)? * 16 + digit(3)?).ok()
}

/// What C's `isspace` calls white space.
fn is_space(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t' | b'\n' | 0x0b | 0x0c | b'\r')
}

#[cfg(test)]
mod tests {
    use super::split;

    #[test]
    fn words_are_split_as_redis_splits_them() {
        let cases: [(&[u8], Option<&[&[u8]]>); 13] = [
            (b"", Some(&[])),
            (b"  get   foo ", Some(&[b"get", b"foo"])),
            (b"set k \"a b\\n\\x41\\\"\"", Some(&[b"set", b"k", b"a b\nA\""])),
            (b"set k 'a\\'b\\n'", Some(&[b"set", b"k", b"a'b\\n"])),
            (b"set k \"\"", Some(&[b"set", b"k", b""])),
            (b"set k \"open", None),
            (b"set k 'open", None),
            (b"set k \"a\"b", None),
            (b"set k 'a'b", None),
            (b"set k a\"b\"", Some(&[b"set", b"k", b"ab"])),
            (b"set k \"\\xzz\"", Some(&[b"set", b"k", b"xzz"])),
            (b"set \x0b\x0ck a\x0bb\x0cc", Some(&[b"set", b"k", b"a\x0bb\x0cc"])),
            (b"set \xff\xfe \t v", Some(&[b"set", b"\xff\xfe", b"v"])),
        ];
        for (line, expected) in cases {
            let got = split(line);
            let got = got.as_ref().map(|words| words.iter().map(Vec::as_slice).collect::<Vec<_>>());
            assert_eq!(got.as_deref(), expected, "{}", line.escape_ascii());
        }
    }
}
