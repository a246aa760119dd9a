//! Networks of several machines on this one: namespaces, pairs of virtual cables, and firewall rules.
//!
//! A [`Namespace`] is reached from here, and can be cut off. A [`Switch`] connects many by links of a given rate.

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

/// Machines on one switch, each by a link of its own; none is reached from here.
#[derive(Debug)]
pub struct Switch {
    bridge: String,
    number: u32,
    machines: Vec<Machine>,
}

/// A machine on a switch.
#[derive(Debug)]
pub struct Machine {
    name: String,
    /// Where the others reach it.
    pub address: String,
}

impl Switch {
    /// Connects `machines` machines by links of `rate` in each direction, in the words of `tc`: `100mbit`.
    ///
    /// # Errors
    /// In words, if this process may not, or the tools are missing.
    pub fn new(machines: u32, rate: &str) -> Result<Self, String> {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        run("nft --version")?;
        run("tc -Version")?;
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let bridge = format!("bs{}s{number}", std::process::id());
        run(&format!("ip link add {bridge} type bridge"))?;
        let mut switch = Self { bridge, number, machines: Vec::new() };
        run(&format!("ip link set {} up", switch.bridge))?;
        for machine in 0..machines {
            switch.plug_in(machine, rate)?;
        }
        Ok(switch)
    }

    fn plug_in(&mut self, number: u32, rate: &str) -> Result<(), String> {
        let process = std::process::id();
        let name = format!("bsws-{process}-{}-{number}", self.number);
        let ends = ["x", "y"].map(|end| format!("{end}{process}s{}n{number}", self.number));
        let [outside, inside] = &ends;
        // Namespaces keep the addresses apart from everybody's.
        let address = format!("198.19.{}.{}", self.number + 1, number + 1);
        run(&format!("ip netns add {name}"))?;
        let machine = Machine { name: name.clone(), address };
        let address = machine.address.clone();
        self.machines.push(machine);
        run(&format!("ip link add {outside} type veth peer name {inside} netns {name}"))?;
        run(&format!("ip link set {outside} master {} up", self.bridge))?;
        let shape = |cable: &str| format!("tc qdisc add dev {cable} root tbf rate {rate} burst 128kb latency 100ms");
        run(&shape(outside))?;
        let machine = &self.machines[self.machines.len() - 1];
        machine.inside(&shape(inside))?;
        machine.inside(&format!("ip address add {address}/24 dev {inside}"))?;
        machine.inside(&format!("ip link set {inside} up"))?;
        machine.inside("ip link set lo up")
    }

    /// The machines, in their order.
    #[must_use]
    pub fn machines(&self) -> &[Machine] {
        &self.machines
    }
}

impl Machine {
    /// What has to stand before a program and its arguments so that it runs on this machine.
    #[must_use]
    pub fn prefix(&self) -> [&str; 4] {
        ["ip", "netns", "exec", &self.name]
    }

    /// Bytes that it has sent to others so far.
    #[must_use]
    pub fn sent_bytes(&self) -> u64 {
        let [program, arguments @ ..] = self.prefix();
        let counts = Command::new(program).args(arguments).args(["cat", "/proc/net/dev"]).output().expect("counters");
        let counts = String::from_utf8(counts.stdout).expect("counters are text");
        // Two lines of headings; behind a name, eight counts of what came and eight of what went, bytes first.
        let cards = counts.lines().skip(2).filter_map(|line| line.split_once(':'));
        let sent = cards.filter(|(name, _)| name.trim() != "lo").filter_map(|(_, row)| row.split_whitespace().nth(8));
        sent.map(|bytes| bytes.parse::<u64>().expect("a count")).sum()
    }

    /// From now on this machine hears of nobody but `other`.
    pub fn hear_only(&self, other: &Self) {
        for line in [
            "nft add table inet few".to_owned(),
            "nft add chain inet few in { type filter hook input priority 0 ; policy drop ; }".to_owned(),
            format!("nft add rule inet few in ip saddr {} accept", other.address),
        ] {
            self.inside(&line).expect("a firewall rule");
        }
    }

    fn inside(&self, line: &str) -> Result<(), String> {
        run(&format!("ip netns exec {} {line}", self.name))
    }
}

impl Drop for Switch {
    fn drop(&mut self) {
        for (number, machine) in self.machines.iter().enumerate() {
            let _ = run(&format!("ip link delete x{}s{}n{number}", std::process::id(), self.number));
            let _ = run(&format!("ip netns delete {}", machine.name));
        }
        let _ = run(&format!("ip link delete {}", self.bridge));
    }
}
