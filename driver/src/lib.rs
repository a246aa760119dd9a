//! The process that holds the study: schedules, broadcasts, collects and reports.
//!
//! | module | holds |
//! |---|---|
//! | [`study`] | the study file: read, checked, and the configurations that it asks for; pure |
//! | [`data`] | data files, decoded into one aligned data set |
//! | [`scheduler`] | places attempts on slots, nothing else; pure |
//! | [`results`] | the run folder, the tables, the progress on the terminal |

pub mod data;
pub mod results;
pub mod scheduler;
pub mod study;
