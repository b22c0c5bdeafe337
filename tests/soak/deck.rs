//! What is to happen next, drawn as from a deck of cards: in random order, and nothing twice before all was
//! once.

use fastrand::Rng;

/// A deck that is shuffled whenever it is empty.
pub(crate) struct Deck<T: 'static> {
    all: &'static [T],
    left: Vec<T>,
}

impl<T: Copy> Deck<T> {
    pub(crate) fn of(all: &'static [T]) -> Deck<T> {
        Deck { all, left: Vec::new() }
    }

    pub(crate) fn draw(&mut self, random: &mut Rng) -> T {
        if self.left.is_empty() {
            self.left = self.all.to_vec();
            random.shuffle(&mut self.left);
        }
        self.left.pop().unwrap()
    }
}
