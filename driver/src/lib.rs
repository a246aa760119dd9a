//! The process that holds the study: schedules, broadcasts, collects and reports.
//!
//! | module | holds |
//! |---|---|
//! | [`command`] | the command line |
//! | [`study`] | the study file: read, checked, and the configurations that it asks for; pure |
//! | [`import`] | sweep files of others, turned into studies; pure |
//! | [`model`] | a model that can be used: `best/`, written and read |
//! | `text_file` | text that people write, however it is saved |
//! | `time_span` | spans of time, as people write them |
//! | `path_text` | paths in files that people read |
//! | [`plan`] | what a study will take: its trials, each with its forecast cost |
//! | [`timing`] | a moment of a few trials on this machine, to tell how long all will take |
//! | [`cluster`] | the executors of a run, and the links to them |
//! | [`run`] | the one loop where clock, links and scheduler meet |
//! | [`wishes`] | what people ask of a run while it goes on, or before it does again |
//! | [`logs`] | what programs printed, in files beside the journal |
//! | [`journal`] | what happened in a run, in records that survive a crash |
//! | [`forecast`] | what a run would take elsewhere, and what the rest of one will take; pure |
//! | [`ledger`] | where the time of a run's slots went; pure |
//! | [`records`] | what is remembered of a run, as plain data |
//! | [`results`] | the run folder, the tables, the progress on the terminal |
//! | [`report`] | what a run looks like: a page, tables, Markdown, JSON; pure |
//! | [`export`] | what a run found, for other programs: lines, and a study of Optuna's; pure |

pub mod apply;
pub mod cluster;
pub mod command;
pub mod export;
pub mod forecast;
pub mod import;
pub mod journal;
pub mod ledger;
pub mod logs;
pub mod model;
mod path_text;
pub mod plan;
pub mod records;
pub mod report;
pub mod results;
pub mod run;
pub mod study;
mod text_file;
mod time_span;
pub mod timing;
pub mod wishes;
