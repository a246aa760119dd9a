//! Tests of the scheduler: transcripts by hand, then random worlds against a model of their own.
//!
//! | module | holds |
//! |---|---|
//! | `transcript` | the language of the transcripts: events in, commands out, as text |
//! | `placement` | what goes where, and when it is tried again: one transcript a rule |
//! | `segments` | what is placed first, and tasks that begin in the middle of a training |
//! | `sessions` | executors that leave and come back, drain, or hold what an earlier driver launched |
//! | `patience` | hung attempts, and copies of slow ones |
//! | `doubts` | tasks whose numbers are in doubt, and those that are to find out who is right |
//! | `wishes` | tasks that nobody wants any more, and those that somebody waits for |
//! | `sickness` | executors on which everything fails |
//! | `oracle` | a second, simple model of tasks and executors: what must follow from each event |
//! | `judge` | what the scheduler decides, judged by that model |
//! | `seen` | what the model knows of one task and of one executor |
//! | `scenario` | what will happen in a world, and how such plans are drawn |
//! | `world` | a simulated cluster: an agenda, processes, the oracle |
//! | `properties` | what holds in every world |
//! | `makespan` | longest first against the lower bound, on the grid of 50 convnets |

mod doubts;
mod judge;
mod makespan;
mod oracle;
mod patience;
mod placement;
mod properties;
mod scenario;
mod seen;
mod segments;
mod sessions;
mod sickness;
mod transcript;
mod wishes;
mod world;
