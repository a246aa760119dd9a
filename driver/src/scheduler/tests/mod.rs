//! Tests of the scheduler: transcripts by hand, then random worlds against a model of their own.
//!
//! | module | holds |
//! |---|---|
//! | `transcript` | the language of the transcripts: events in, commands out, as text |
//! | `transcripts` | the rules, one transcript each |
//! | `oracle` | a second, simple model of tasks and executors that judges every answer |
//! | `world` | a simulated cluster: an agenda, the oracle, whatever the scenario says |
//! | `properties` | what holds in every world |
//! | `makespan` | longest first against the lower bound, on the grid of 50 convnets |

mod makespan;
mod oracle;
mod properties;
mod transcript;
mod transcripts;
mod world;
