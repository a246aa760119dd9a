//! The pictures of a report, one file each: what is drawn, and the sentence that explains it.
//!
//! Each takes a bounded number of points, however many trials there are.

mod curves;
mod errors;
mod influence;
mod parallel;
mod timeline;

use super::picture::Section;
use super::view::View;

/// All pictures of a run, in the order of the page.
pub(super) fn of_run(view: &View<'_>) -> Vec<Section> {
    vec![
        errors::section(view),
        influence::section(view),
        influence::sensitivity(view),
        parallel::section(view),
        curves::section(view),
        timeline::section(view),
    ]
}
