//! Who sends which block of a blob to whom. Pure: every time is an argument, every decision a value that is returned.
//!
//! | module | holds |
//! |---|---|
//! | `blocks` | [`BlockSet`]: which blocks somebody has |
//! | `rarity` | how many hold each block, and the rarest that is looked for |
//! | `fetch` | [`Fetcher`]: an executor's side, whom to ask for what |
//! | `peer` | what a fetcher thinks of one peer |
//! | `flight` | requests under way, and how long they take |
//! | `scatter` | [`Scatter`]: the driver's side, what to push to whom |
//! | `node` | what the driver knows of one executor |
//! | `push` | what the driver pushes, and why |
//! | `mesh` | [`Mesh`]: whom each node is told of |
//!
//! # The protocol
//!
//! The driver dials executors, and executors dial each other; nobody dials the driver. Everything is about one blob,
//! whose manifest all know: the driver offers it to an executor, which answers with the blocks that it lacks. One whose
//! cache another process is writing is offered it again until that has ended, and joins then.
//!
//! Whoever wants to know what an executor has watches it: the driver each executor, an executor each peer that the
//! driver named. The watched one says what it has, then each block that it gains once it is checked and written, and
//! ends when it has all.
//!
//! | who | tells | when | there it is |
//! |---|---|---|---|
//! | executor | the driver which blocks it has | it is offered the blob | [`Scatter::joined`] |
//! | executor | the driver each block that it gains | the driver watches it | [`Scatter::has`] |
//! | driver | an executor a block | [`Scatter::next`] says so | [`Fetcher::arrived`], then [`Scatter::pushed`] |
//! | driver | executors that lack blocks, where their peers are | [`Mesh`] changes them | those are dialled and watched, and no others |
//! | executor | a peer which blocks it has, and gains | the peer watches it | [`Fetcher::peer_joined`], [`Fetcher::peer_has`] |
//! | executor | a peer which block it wants | [`Fetcher::next`] says so | [`Fetcher::arrived`] or [`Fetcher::failed`] |
//!
//! The two sides need not agree. The driver does not plan who fetches what; it sees to it that each block has a holder
//! among the nodes, and looks whether each node goes on gaining blocks. An executor does not know what the driver will
//! push; it asks for what its peers have, and takes what comes. Whatever either side knows is late, so both may act on
//! old news: the worst of it is a block that comes twice, which is checked, found to be here, and dropped. Where the
//! peers are no help (they cannot reach each other, or claim blocks that they do not give), a node gains nothing, and
//! the driver pushes to it what it lacks, whatever the reason is.
//!
//! What the callers owe: every push and every request ends, by a time-out if by nothing else, or its node or peer leaves;
//! what comes is checked against the manifest first; after each event and at `deadline`, `next` is called until it says
//! nothing more. Nobody has to hang up on a peer that [`is_banned`](Fetcher::is_banned): it is not asked again, and what
//! it says is not heard.
//!
//! A block that comes twice costs time only, and is rare by construction: the driver scatters a block that somebody has
//! only if it does not know so yet, and a fetcher asks two peers for one block only for its last ones, if they are slow.

mod blocks;
mod fetch;
mod flight;
mod mesh;
mod node;
mod peer;
mod push;
mod rarity;
mod scatter;
#[cfg(test)]
mod tests;

pub use self::blocks::BlockSet;
pub use self::fetch::{Failure, Fetcher, REQUESTS_MAX, Request};
pub use self::flight::{SLOW_FACTOR, SLOW_MIN};
pub use self::mesh::{Mesh, PEERS_MAX};
pub use self::node::{PUSHES_PER_NODE, RETRY, RETRY_MAX};
pub use self::peer::{DOUBT, LIES_MAX, PeerId, REFUSALS_MAX, REQUESTS_PER_PEER, REST, REST_MAX};
pub use self::push::{NodeId, Push, Why};
pub use self::scatter::{PATIENCE_FACTOR, PATIENCE_MIN, SCATTERED_MAX, SCATTERED_MIN, Scatter};
