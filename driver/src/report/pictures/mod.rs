//! The pictures of a report, one file each: what is drawn, and the sentence that explains it.
//!
//! Each takes a bounded number of points, however many trials there are.

mod confusion;
mod curves;
mod errors;
mod influence;
mod ledger;
mod parallel;
mod scaling;
mod shares;
mod timeline;

use super::Report;
use super::picture::Section;
use super::view::View;

/// All pictures of a report, in the order of the page: what was found, then what it took. A comparison is asked the other
/// way round.
pub(super) fn of_report(report: &Report<'_>, view: &View<'_>) -> Vec<Section> {
    let found = [
        errors::section(view),
        shares::section(view),
        influence::section(view),
        parallel::section(view),
        curves::section(view),
    ];
    let found = found.into_iter().chain(confusion::section(view));
    let took = [scaling::section(report), ledger::section(report)].into_iter().flatten();
    let took = took.chain([timeline::section(view)]);
    if report.comparison.is_some() { took.chain(found).collect() } else { found.chain(took).collect() }
}
