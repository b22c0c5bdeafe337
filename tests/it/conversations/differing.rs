//! What in replies cannot be the same on two servers, each with its reason.

/// HELLO's `id`, and what stands before it: every server numbers the clients that it ever had.
const BEFORE_ID: &[u8] = b"$2\r\nid\r\n:";

/// Replies of HELLO are looked for in this much: others are megabytes.
const SEARCHED_BYTES_MAX: usize = 4096;

/// What nearside adds to the error for a database that a cluster does not have: the setting that helps.
const SETTING_THAT_HELPS: &[u8] =
    b" (nearside: the cluster does not have this database; with databases = N, each \
    database above 0 is a namespace)";

/// The replies with all of that left out.
pub(super) fn without_what_differs(mut replies: Vec<u8>) -> Vec<u8> {
    while let Some(at) = memchr::memmem::find(&replies, SETTING_THAT_HELPS) {
        replies.drain(at..at + SETTING_THAT_HELPS.len());
    }
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
