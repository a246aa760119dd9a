//! Attacks on executors, and nodes that attack whoever dials them: what a stranger, or a node that was taken over, can
//! send. Each attack goes on for as long as it is let, connects anew when it is cut off, and counts.
//!
//! | module | holds |
//! |---|---|
//! | `frames` | frames of HTTP/2, good and bad |
//! | `wire` | a connection of an attacker, with or without an identity |
//! | `kinds` | the attacks, one by one |
//! | `node` | a node that attacks the driver that dials it |
//! | `victim` | what an attacked process takes of the machine |
//!
//! Attackers run on threads of the lowest priority: where the attacked process wants a core, it gets it. So what is
//! measured is what the attack costs the process and the system's network, and not what it costs to make.

mod frames;
mod kinds;
mod node;
mod victim;
mod wire;

use std::net::IpAddr;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use tokio::runtime;

pub use kinds::{Attack, OF_PEERS, OF_STRANGERS};
pub use node::HostileNode;
pub use victim::{Taken, taken};
use wire::{Badge, Way};

/// The rest after a connection came to nothing.
const REST: Duration = Duration::from_millis(1);
/// How much nicer than all others an attacker is.
const NICENESS: i32 = 19;

/// An attack that goes on until it is dropped.
#[derive(Debug)]
pub struct Attacker {
    stop: Arc<AtomicBool>,
    connections: Arc<AtomicU64>,
    thread: Option<JoinHandle<()>>,
}

impl Attacker {
    /// Attacks whoever listens at `address`: as a stranger without an identity, else as its owner.
    #[must_use]
    pub fn start(attack: Attack, address: &str, identity: Option<&Path>) -> Self {
        let (stop, connections) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
        let (stopped, count) = (Arc::clone(&stop), Arc::clone(&connections));
        let from = IpAddr::from([127, 0, 1, 1 + attack as u8]);
        let way = Way { to: address.parse().unwrap(), from, badge: identity.map(Badge::read) };
        let thread = thread::spawn(move || {
            be_nice();
            let runtime = runtime::Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(async {
                while !stopped.load(Ordering::Relaxed) {
                    count.fetch_add(1, Ordering::Relaxed);
                    let _ = attack.run(&way, &stopped).await; // it is cut off
                    tokio::time::sleep(REST).await;
                }
            });
        });
        Self { stop, connections, thread: Some(thread) }
    }

    /// Rounds that it has begun: connections, or thousands of them.
    #[must_use]
    pub fn rounds(&self) -> u64 {
        self.connections.load(Ordering::Relaxed)
    }
}

impl Drop for Attacker {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            thread.join().unwrap();
        }
    }
}

/// Gives this thread the lowest priority there is.
fn be_nice() {
    // On Linux it counts for the one thread that asks.
    rustix::process::nice(NICENESS).unwrap();
}
