//! The fields of replies that cannot be the same on two servers, each with its reason.

/// HELLO's `id`, and what stands before it: every server numbers the clients that it ever had.
const BEFORE_ID: &[u8] = b"$2\r\nid\r\n:";

/// Replies of HELLO are looked for in this much: others are megabytes.
const SEARCHED_BYTES_MAX: usize = 4096;

/// The replies with those numbers left out.
pub(super) fn without_what_differs(mut replies: Vec<u8>) -> Vec<u8> {
    let mut at = 0;
    while at + BEFORE_ID.len() <= replies.len().min(SEARCHED_BYTES_MAX) {
        at += if replies[at..].starts_with(BEFORE_ID) { BEFORE_ID.len() } else { 1 };
        if replies[..at].ends_with(BEFORE_ID) {
            let count = replies[at..].iter().take_while(|byte| byte.is_ascii_digit()).count();
            replies.drain(at..at + count);
        }
    }
    replies
}
