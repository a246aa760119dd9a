//! The run folder, the tables, the progress on the terminal.
//!
//! | module | holds |
//! |---|---|
//! | [`digest`] | the digest by which runs on different clusters are compared |
//! | [`rows`] | `trials.csv` and `epochs.csv` |
//! | [`columns`] | `trials.parquet` |
//! | [`summary`] | `summary.json` |
//! | `summary_search` | what that tells of the search, and of what was changed |
//! | [`comparison`] | one study on clusters of several sizes: `scale.json`, `scale.csv`, a table |
//! | [`spread`] | how far apart runs are that do not give the same numbers twice |
//! | [`folder`] | the folder of a run: made, locked, and written without half-written files |
//! | [`best`] | its `best/` |
//! | [`calendar`] | the time in the folder's name |
//! | `measured` | which metrics tables show, and what they are called there |
//! | `guess` | what a constant guess gets, and what a class is called |
//! | `advice` | what to try when no trial has a usable result |
//! | `answered` | what a model answered that is applied |
//! | `order` | how the search ended, and whether another cluster would decide the same |
//! | [`table`] | the best trials and the control, for the terminal |
//! | `fit` | its parameters, where it has little room |
//! | [`remarks`] | what there is to say about a run, in sentences |
//! | [`status`] | how far a run is, in a few lines |
//! | [`progress`] | the progress bar, or a line now and then |
//! | [`show`] | how numbers and names are shown to people |
//!
//! Nothing here decides anything about a run.

mod advice;
mod answered;
pub mod best;
pub mod calendar;
pub mod columns;
pub mod comparison;
pub mod digest;
mod fit;
pub mod folder;
pub(crate) mod guess;
pub(crate) mod measured;
mod order;
pub mod progress;
pub mod remarks;
pub mod rows;
pub mod show;
pub mod spread;
pub mod status;
pub mod summary;
mod summary_search;
pub mod table;

#[cfg(test)]
pub(crate) mod fixtures;
