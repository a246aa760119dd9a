//! What a run looks like: a page to look at, tables for a terminal, Markdown and JSON.
//!
//! | module | holds |
//! |---|---|
//! | `page` | `report.html`: one file that needs no network |
//! | `pictures` | what is drawn in it, one file a picture |
//! | `sheets` | its tables, as text |
//! | `closer` | those of the closer looks at the best |
//! | `answers` | those of what a model answered to the rows that it was applied to |
//! | `plain`, `markdown`, `json` | the same for a terminal, for a text, for a program |
//! | `view` | what the pictures start from |
//! | `parameters` | the searched parameters, and how they lie along an axis |
//! | `importance`, `forest` | how much each of them has to do with the error |
//! | `among_best` | how much each of them has to do with being among the best |
//! | `belief` | what the sampler believes of each of them |
//! | `rungs` | what the pruner stopped |
//! | `picture` | one picture, and what pictures share |
//! | `text` | names and numbers on their way into a page: a name stays text |
//!
//! Pure: from a record of a run to text. A report is bounded, however many trials there are.

mod among_best;
mod answers;
mod belief;
mod closer;
mod forest;
mod importance;
mod json;
mod markdown;
mod page;
mod parameters;
mod picture;
mod pictures;
mod plain;
mod rungs;
mod sheets;
mod text;
mod view;

use crate::records::run::RunRecord;
use crate::results::comparison::Comparison;

/// What a report tells of.
#[derive(Clone, Copy, Debug)]
pub struct Report<'a> {
    /// The run; of a comparison, one on the smallest cluster, from which the others are forecast.
    pub run: &'a RunRecord,
    /// What the same study took on clusters of several sizes.
    pub comparison: Option<&'a Comparison>,
}

impl<'a> Report<'a> {
    /// Of a run alone.
    #[must_use]
    pub fn of(run: &'a RunRecord) -> Self {
        Self { run, comparison: None }
    }

    /// `report.html`: one page, with its scripts, that asks for no network. Some 1.3 MB, 2 MB at most.
    #[must_use]
    pub fn html(&self) -> String {
        page::page(self)
    }

    /// The tables and the remarks as Markdown.
    #[must_use]
    pub fn markdown(&self) -> String {
        markdown::markdown(self)
    }

    /// The tables and the remarks for a terminal.
    #[must_use]
    pub fn plain(&self) -> String {
        plain::plain(self)
    }

    /// The whole record as JSON: the summary, and every trial and attempt.
    #[must_use]
    pub fn json(&self) -> String {
        json::json(self)
    }
}
