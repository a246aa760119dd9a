//! A network of two machines on this one, which can be cut: a namespace, a pair of virtual cables, and a firewall rule.

use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};

/// A machine of its own, as far as the network goes. Dropping it removes it.
#[derive(Debug)]
pub struct Namespace {
    name: String,
    /// The end of the cable on this side.
    cable: String,
    /// Where it is reached from this side.
    pub address: String,
}

/// Runs a command of the system: what it said if it failed.
fn run(line: &str) -> Result<(), String> {
    let mut words = line.split_whitespace();
    let mut command = Command::new(words.next().expect("a command"));
    let output = command.args(words).output().map_err(|error| format!("{line}: {error}"))?;
    if output.status.success() { Ok(()) } else { Err(format!("{line}: {}", String::from_utf8_lossy(&output.stderr))) }
}

impl Namespace {
    /// Makes one that this machine reaches.
    ///
    /// # Errors
    /// In words, if this process may not, or the tools are missing.
    pub fn new() -> Result<Self, String> {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let (process, number) = (std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed));
        // One of the addresses that are set aside for measuring devices: nobody's network is among them.
        let subnet = process.wrapping_mul(4).wrapping_add(number) % (1 << 15) * 4;
        let host = |last: u32| format!("198.{}.{}.{}", 18 + (subnet >> 16), subnet >> 8 & 255, (subnet & 255) + last);
        run("nft --version")?;
        let made = Self {
            name: format!("bswp-{process}-{number}"),
            cable: format!("bs{process}a{number}"),
            address: host(2),
        };
        let (name, cable, inside) = (&made.name, &made.cable, format!("bs{process}b{number}"));
        run(&format!("ip netns add {name}"))?;
        run(&format!("ip link add {cable} type veth peer name {inside} netns {name}"))?;
        run(&format!("ip address add {}/30 dev {cable}", host(1)))?;
        run(&format!("ip link set {cable} up"))?;
        made.inside(&format!("ip address add {}/30 dev {inside}", host(2)))?;
        made.inside(&format!("ip link set {inside} up"))?;
        Ok(made)
    }

    /// What has to stand before a program and its arguments so that it runs on that machine.
    #[must_use]
    pub fn prefix(&self) -> [&str; 4] {
        ["ip", "netns", "exec", &self.name]
    }

    /// From now on nothing gets through, in either direction, and nobody is told.
    pub fn cut(&self) {
        for line in [
            "nft add table inet cut",
            "nft add chain inet cut in { type filter hook input priority 0 ; policy drop ; }",
            "nft add chain inet cut out { type filter hook output priority 0 ; policy drop ; }",
        ] {
            self.inside(line).expect("a firewall rule");
        }
    }

    /// Everything gets through again.
    pub fn heal(&self) {
        self.inside("nft delete table inet cut").expect("a firewall rule less");
    }

    fn inside(&self, line: &str) -> Result<(), String> {
        run(&format!("ip netns exec {} {line}", self.name))
    }
}

impl Drop for Namespace {
    fn drop(&mut self) {
        // The cable first: a namespace lives on while a process is in it. Either may never have been made.
        let _ = run(&format!("ip link delete {}", self.cable));
        let _ = run(&format!("ip netns delete {}", self.name));
    }
}
