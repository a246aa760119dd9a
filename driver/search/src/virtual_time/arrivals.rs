//! The order of arrival: each result is seen at once, and its slot is free at once.

use crate::decision::{Search, VirtualTime};

use super::{NewDecision, Timeline};

impl Timeline<'_> {
    /// Shows the search what has come since, and asks it. Its moments count the results that have come.
    pub(super) fn advance_by_arrivals(&mut self, search: &mut dyn Search) -> Vec<NewDecision> {
        loop {
            while self.recorded.front().is_some_and(|(_, at)| *at <= self.v) {
                self.repeat_recorded(search);
            }
            if self.see_next_arrival() {
                continue;
            }
            if self.recorded.is_empty() {
                break;
            }
            // What led to it has not been told, and yet nobody decides it again.
            self.repeat_recorded(search);
        }
        let mut new = Vec::new();
        self.ask(search, &mut new);
        new
    }

    /// Sees the result that came first of those that are under way; says whether there was one.
    fn see_next_arrival(&mut self) -> bool {
        let is_under_way = |segment: &_| self.under_way.iter().any(|under_way| under_way.segment == *segment);
        let place = self.arrived.iter().position(is_under_way);
        let Some(segment) = place.and_then(|place| self.arrived.remove(place)) else { return false };
        self.v = VirtualTime(self.v.0 + 1);
        self.see(segment);
        true
    }
}
