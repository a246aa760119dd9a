//! The process on a node that trains.
//!
//! | module | holds |
//! |---|---|
//! | [`archive`] | folders as bytes, and back |
//! | [`command`] | the flags, and the process around the rest |
//! | [`machine`] | cores and memory that this process may use |
//! | [`signals`] | what asks a process to end, and what must not end it |
//! | [`server`] | listens, and puts the parts below together |
//! | `session` | one connection of a driver: hello, launches, reports |
//! | `checks` | what is checked of a driver's messages |
//! | [`files`] | which files of its machine it reads for a driver |
//! | `hold` | which run has the executor, with or without a connection |
//! | `tenant` | what runs for it, and the reports that its driver does not know yet |
//! | `stop` | how an attempt is told to end |
//! | `blocks` | bulk: offers, pushes, pulls, and what peers ask for |
//! | `exchange` | what is fetched from peers |
//! | `arrivals` | what of a blob has come, and from where |
//! | [`slots`] | the training threads |
//! | `work` | what a slot does with one attempt |
//! | `log` | what its program prints, until the session has sent it |
//! | `control` | how the trainer is asked, timed and reported on there |
//! | [`trainers`] | what a study trains with |

pub mod archive;
mod arrivals;
mod blocks;
mod checks;
pub mod command;
mod control;
mod exchange;
pub mod files;
#[cfg(test)]
mod fixtures;
mod hold;
mod log;
pub mod machine;
mod preparing;
pub mod server;
mod session;
pub mod signals;
pub mod slots;
mod stop;
mod tenant;
pub mod trainers;
mod work;
