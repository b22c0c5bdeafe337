//! The fields of replies that cannot be the same on two servers, each with its reason.

/// What stands before a number that differs.
const BEFORE_NUMBERS: [(&[u8], &str); 1] =
    [(b"$2\r\nid\r\n:", "HELLO: every server numbers its own clients from the first that it ever had")];

/// They are looked for so far: the reply to HELLO is short, and other replies are megabytes.
const SEARCHED_BYTES_MAX: usize = 1024;

/// The replies with those numbers left out.
pub(super) fn without_what_differs(mut replies: Vec<u8>) -> Vec<u8> {
    for (before, _) in BEFORE_NUMBERS {
        if let Some(at) = replies[..replies.len().min(SEARCHED_BYTES_MAX)]
            .windows(before.len())
            .position(|window| window == before)
        {
            let digits = at + before.len();
            let count = replies[digits..].iter().take_while(|byte| byte.is_ascii_digit()).count();
            replies.drain(digits..digits + count);
        }
    }
    replies
}
