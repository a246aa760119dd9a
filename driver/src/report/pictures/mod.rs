//! The pictures of a report, one file each: what is drawn, and the sentence that explains it.
//!
//! Each takes a bounded number of points, however many trials there are.

mod belief;
mod confusion;
mod curves;
mod errors;
mod influence;
mod ledger;
mod parallel;
mod rungs;
mod scaling;
mod shares;
mod timeline;

use super::Report;
use super::picture::Section;
use super::view::View;

/// All pictures of a report, in the order of the page: what was found, then what it took. A comparison is asked the other
/// way round.
pub(super) fn of_report(report: &Report<'_>, view: &View<'_>) -> Vec<Section> {
    if !report.run.trains() {
        return of_application(report, view);
    }
    let hyperparameters = [errors::section(view), shares::section(view), influence::section(view)];
    let hyperparameters = hyperparameters.into_iter().chain(belief::section(view)).chain([parallel::section(view)]);
    let trials = [curves::section(view)].into_iter().chain(rungs::section(view)).chain(confusion::section(view));
    let found = hyperparameters.chain(trials);
    let took = [scaling::section(report), ledger::section(report)].into_iter().flatten();
    let took = took.chain([timeline::section(view)]);
    if report.comparison.is_some() { took.chain(found).collect() } else { found.chain(took).collect() }
}

/// The same of a run that applies a model, and searches nothing.
fn of_application(report: &Report<'_>, view: &View<'_>) -> Vec<Section> {
    let took = [scaling::section(report), ledger::section(report)].into_iter().flatten();
    confusion::section(view).into_iter().chain(took).chain([timeline::section(view)]).collect()
}
