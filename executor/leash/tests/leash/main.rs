//! Programs of every kind on a leash, in every way that this machine allows: with PID namespaces and without, with
//! control groups and without. The stand-in plays supervisor, executor and what shells cannot.

#![expect(clippy::unwrap_used, reason = "what the tests share fails as they do")]

mod ends;
mod faithful;
mod limits;
mod losses;
mod world;
