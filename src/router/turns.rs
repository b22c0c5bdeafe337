//! Turns: work on very many elements gives way now and then, so that other sessions get on.

use tokio::task::yield_now;

/// Elements, or keys, that are worked on before others get their turn.
pub(super) const AT_ONCE: usize = 256;

/// Gives others their turn behind the last of those elements that are worked on in one go.
pub(super) async fn give_turn(index: usize) {
    if index % AT_ONCE == AT_ONCE - 1 {
        yield_now().await;
    }
}
