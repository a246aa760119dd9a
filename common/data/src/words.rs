//! The words of one column, each with its place in the order in which they were found.

use std::collections::BTreeMap;

use super::error::ValuePlace;

/// A list of words without any twice.
#[derive(Debug)]
pub(super) struct Words {
    max: u32,
    places: BTreeMap<String, u32>,
    /// With where each was found first.
    found: Vec<(String, ValuePlace)>,
    /// Of equal neighbours, only the first is looked up.
    last: u32,
}

impl Words {
    /// A list of at most so many.
    pub(super) fn new(max: u32) -> Self {
        Self { max, places: BTreeMap::new(), found: Vec::new(), last: 0 }
    }

    /// How many there may be.
    pub(super) fn max(&self) -> u32 {
        self.max
    }

    /// The place of a word that was found before.
    pub(super) fn known(&mut self, word: &str) -> Option<u32> {
        if self.found.get(self.last as usize).is_some_and(|(last, _)| last == word) {
            return Some(self.last);
        }
        let place = self.places.get(word).copied();
        self.last = place.unwrap_or(self.last);
        place
    }

    /// Adds a word that was not; `None` if there are as many as there may be.
    pub(super) fn add(&mut self, word: &str, found_at: impl FnOnce() -> ValuePlace) -> Option<u32> {
        let place = u32::try_from(self.found.len()).ok().filter(|&place| place < self.max)?;
        self.places.insert(word.to_owned(), place);
        self.found.push((word.to_owned(), found_at()));
        self.last = place;
        Some(place)
    }

    /// In the order in which they were found.
    pub(super) fn names(&self) -> impl ExactSizeIterator<Item = &str> + Clone {
        self.found.iter().map(|(word, _)| word.as_str())
    }

    /// In their own order, and where each stands there that was found.
    pub(super) fn sorted(&self) -> (Vec<String>, Vec<f64>) {
        let names: Vec<_> = self.places.keys().cloned().collect();
        let mut order = vec![0.0; names.len()];
        for (sorted, &found) in self.places.values().enumerate() {
            order[found as usize] = sorted as f64;
        }
        (names, order)
    }
}
