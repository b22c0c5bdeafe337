//! The request scanner against redis-protocol, and against the errors of Redis.

use redis_protocol::resp2::decode::decode;
use redis_protocol::resp2::types::OwnedFrame;

use super::*;

const LIMITS: RequestLimits = RequestLimits {
    args_max: 1024,
    bulk_bytes_max: 1 << 20,
    request_bytes_max: 1 << 21,
    inline_bytes_max: LINE_BYTES_MAX,
};

fn scan(bytes: &[u8]) -> Result<ScanOutcome, ProtocolError> {
    RequestScanner::new(LIMITS).scan(bytes)
}

/// A small generator of numbers, so that a failure can be run again (xorshift64).
struct Random(u64);

impl Random {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % bound
    }
}

#[test]
fn the_places_of_very_many_arguments_are_not_kept() {
    let mut scanner = RequestScanner::new(RequestLimits { args_max: 100_000, ..LIMITS });
    let bytes = [b"*100000\r\n".to_vec(), b"$1\r\na\r\n".repeat(100_000)].concat();
    // In two pieces, as a request that large comes.
    assert!(matches!(scanner.scan(&bytes[..bytes.len() / 2]), Ok(ScanOutcome::Incomplete)));
    match scanner.scan(&bytes) {
        Ok(ScanOutcome::LargeRequest(length, args)) => {
            assert_eq!((length, args.len()), (bytes.len(), 100_000));
            assert!(args.iter().all(|range| &bytes[range.clone()] == b"a"));
        }
        scanned => panic!("{scanned:?}"),
    }
    assert!(scanner.args.capacity() <= KEPT_ARGS_MAX);
    assert!(matches!(scanner.scan(b"*1\r\n$4\r\nPING\r\n"), Ok(ScanOutcome::Request(14))));
    assert_eq!(scanner.args().first(), Some(&(8..12)));
}

#[test]
fn a_request_is_found_with_its_arguments() {
    let mut scanner = RequestScanner::new(LIMITS);
    let bytes = b"*2\r\n$3\r\nGET\r\n$4\r\na\r\nb\r\n*1\r\n";
    assert!(matches!(scanner.scan(bytes), Ok(ScanOutcome::Request(23))));
    let args: Vec<&[u8]> = scanner.args().iter().map(|range| &bytes[range.clone()]).collect();
    assert_eq!(args, [b"GET".as_slice(), b"a\r\nb"]);
}

#[test]
fn random_requests_agree_with_redis_protocol_whole_and_in_pieces() {
    let mut random = Random(0x5eed_cafe);
    for _ in 0..2_000 {
        let args: Vec<Vec<u8>> = (0..=random.below(6))
            .map(|_| (0..random.below(1200)).map(|_| random.below(256) as u8).collect())
            .collect();
        let request = OwnedRequest::from_args(&args);
        let bytes = request.bytes();
        let Ok(Some((OwnedFrame::Array(oracle), length))) = decode(&bytes) else {
            panic!("the oracle refused")
        };
        let mut scanner = RequestScanner::new(LIMITS);
        let mut end = 0;
        while end < bytes.len() {
            assert!(matches!(scanner.scan(&bytes[..end]), Ok(ScanOutcome::Incomplete)));
            end += 1 + random.below(bytes.len() as u64) as usize;
        }
        assert!(matches!(scanner.scan(&bytes), Ok(ScanOutcome::Request(found)) if found == length));
        let found: Vec<OwnedFrame> = scanner
            .args()
            .iter()
            .map(|range| OwnedFrame::BulkString(bytes[range.clone()].to_vec()))
            .collect();
        assert_eq!(found, oracle);
    }
}

#[test]
fn broken_bytes_never_panic_and_never_disagree_with_redis_protocol() {
    let mut random = Random(0xbad_5eed);
    let alphabet = b"*$\r\n0123456789-+ab\0\xff";
    for _ in 0..50_000 {
        let mut bytes = b"*2\r\n$3\r\nGET\r\n$2\r\nkk\r\n".to_vec();
        for _ in 0..=random.below(3) {
            let at = 1 + random.below(bytes.len() as u64 - 1) as usize;
            bytes[at] = alphabet[random.below(alphabet.len() as u64) as usize];
        }
        if let (Ok(ScanOutcome::Request(length)), Ok(Some((_, oracle)))) = (scan(&bytes), decode(&bytes)) {
            assert_eq!(length, oracle, "{}", bytes.escape_ascii());
        }
    }
}

#[test]
fn errors_are_those_of_redis() {
    let long_inline = vec![b'a'; LINE_BYTES_MAX + 1];
    let long_count = [b"*".as_slice(), &[b'1'; LINE_BYTES_MAX + 1]].concat();
    let long_length = [b"*1\r\n$".as_slice(), &[b'1'; LINE_BYTES_MAX + 1]].concat();
    let cases: [(&[u8], &str); 13] = [
        (b"*abc\r\n", "Protocol error: invalid multibulk length"),
        (b"*1025\r\n", "Protocol error: invalid multibulk length"),
        (b"*99999999999999999999\r\n", "Protocol error: invalid multibulk length"),
        (b"*+1\r\n", "Protocol error: invalid multibulk length"),
        (b"*1\r\n$-1\r\n", "Protocol error: invalid bulk length"),
        (b"*1\r\n$x\r\n", "Protocol error: invalid bulk length"),
        (b"*1\r\n$1048577\r\n", "Protocol error: invalid bulk length"),
        (b"*1\r\n:1\r\n", "Protocol error: expected '$', got ':'"),
        (b"get \"a\r\n", "Protocol error: unbalanced quotes in request"),
        (&long_inline, "Protocol error: too big inline request"),
        (&long_count, "Protocol error: too big mbulk count string"),
        (&long_length, "Protocol error: too big bulk count string"),
        (b"*3\r\n$1048576\r\n", "incomplete"),
    ];
    for (bytes, expected) in cases {
        let got = match scan(bytes) {
            Err(error) => error.to_string(),
            Ok(ScanOutcome::Incomplete) => "incomplete".to_owned(),
            Ok(other) => format!("{other:?}"),
        };
        assert_eq!(got, expected, "{}", bytes[..bytes.len().min(40)].escape_ascii());
    }
}

#[test]
fn a_request_beyond_its_limit_is_refused_when_the_length_is_announced() {
    let mut bytes = b"*4\r\n".to_vec();
    for _ in 0..2 {
        bytes.extend_from_slice(b"$1000000\r\n");
        bytes.resize(bytes.len() + 1_000_000, b'v');
        bytes.extend_from_slice(b"\r\n");
    }
    bytes.extend_from_slice(b"$1000000\r\n");
    assert!(matches!(scan(&bytes), Ok(ScanOutcome::TooLarge(3_000_040))));
}

#[test]
fn a_request_that_is_skipped_ends_where_it_would_have_ended_however_it_comes() {
    let large = [&b"*3\r\n$3\r\nSET\r\n$1\r\nk\r\n$9000\r\n"[..], &[b'$'; 9000], b"\r\n"].concat();
    let sent = [&large[..], b"*1\r\n$4\r\nPING\r\n"].concat();
    for (seen, piece) in [(5, 1), (23, 7), (40, 1000), (5000, 9100)] {
        let mut scanner = RequestScanner::new(LIMITS);
        assert!(matches!(scanner.scan(&sent[..seen]), Ok(ScanOutcome::Incomplete)));
        let mut at = scanner.begin_skip();
        let mut end = seen;
        loop {
            let skipped = scanner.skip(&sent[at..end]).unwrap();
            at += skipped.bytes;
            if skipped.ended {
                break;
            }
            end = (end + piece).min(sent.len());
        }
        assert_eq!(at, large.len());
        assert!(matches!(scanner.scan(&sent[at..]), Ok(ScanOutcome::Request(14))));
    }
    let mut scanner = RequestScanner::new(LIMITS);
    assert!(matches!(scanner.scan(b"*2\r\n$3\r\nGET\r\n"), Ok(ScanOutcome::Incomplete)));
    let at = scanner.begin_skip();
    assert_eq!(at, 13);
    assert_eq!(scanner.skip(b"+1\r\n"), Err(ProtocolError::ExpectedDollar(b'+')));
}

#[test]
fn empty_requests_are_passed_over() {
    assert!(matches!(scan(b"*0\r\n"), Ok(ScanOutcome::Nothing(4))));
    assert!(matches!(scan(b"*-5\r\n"), Ok(ScanOutcome::Nothing(5))));
    assert!(matches!(scan(b"\r\n"), Ok(ScanOutcome::Nothing(2))));
    assert!(matches!(scan(b"  \n"), Ok(ScanOutcome::Nothing(3))));
}

#[test]
fn an_inline_command_becomes_the_request_it_means() {
    let Ok(ScanOutcome::Inline(9, request)) = scan(b"get \"k\"\r\n") else { panic!("not inline") };
    assert_eq!(&request.bytes()[..], b"*2\r\n$3\r\nget\r\n$1\r\nk\r\n");
}
