//! When slow attempts were looked for, and when they are next.

use super::moment::Moment;

/// The looks for attempts that a copy may beat.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct CopyWatch {
    pub(super) last: Option<Moment>,
    pub(super) next: Option<Moment>,
}

impl CopyWatch {
    pub(super) fn next(&self) -> Option<Moment> {
        self.next
    }
}
