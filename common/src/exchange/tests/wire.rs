//! The bytes on their way in the simulated network: each link is shared fairly by what goes over it.

use std::collections::BTreeMap;

/// Who sends or receives; `None` is the driver.
pub(super) type Host = Option<usize>;

/// One block on its way.
#[derive(Debug)]
struct Transfer {
    from: Host,
    to: usize,
    /// The part of the block that is still to come, and its speed in blocks a second.
    left: f64,
    rate: f64,
}

/// Full-duplex links in blocks a second, and the blocks that go over them.
#[derive(Debug)]
pub(super) struct Wire {
    driver_rate: f64,
    rates: Vec<f64>,
    transfers: BTreeMap<u64, Transfer>,
    /// The second at which `left` and `rate` were true.
    at_s: f64,
    /// When the next block arrives, and which.
    next: Option<(f64, u64)>,
}

impl Wire {
    pub(super) fn new(driver_rate: f64, rates: Vec<f64>) -> Self {
        Self { driver_rate, rates, transfers: BTreeMap::new(), at_s: 0.0, next: None }
    }

    pub(super) fn start(&mut self, now_s: f64, call: u64, from: Host, to: usize) {
        self.advance(now_s);
        self.transfers.insert(call, Transfer { from, to, left: 1.0, rate: 0.0 });
        self.share();
    }

    pub(super) fn stop(&mut self, now_s: f64, call: u64) {
        if self.transfers.contains_key(&call) {
            self.advance(now_s);
            self.transfers.remove(&call);
            self.share();
        }
    }

    /// When the next block arrives, and which.
    pub(super) fn next(&self) -> Option<(f64, u64)> {
        self.next
    }

    fn advance(&mut self, now_s: f64) {
        for transfer in self.transfers.values_mut() {
            transfer.left = (transfer.left - transfer.rate * (now_s - self.at_s)).max(0.0);
        }
        self.at_s = now_s;
    }

    /// Each gets its part of the busier of its two links; what that leaves of the other one is not given away.
    fn share(&mut self) {
        let (mut up, mut down) = (vec![0.0; self.rates.len() + 1], vec![0.0; self.rates.len()]);
        for transfer in self.transfers.values() {
            up[transfer.from.unwrap_or(self.rates.len())] += 1.0;
            down[transfer.to] += 1.0;
        }
        for transfer in self.transfers.values_mut() {
            let sends = transfer.from.map_or(self.driver_rate, |from| self.rates[from]);
            let sent = sends / up[transfer.from.unwrap_or(self.rates.len())];
            transfer.rate = sent.min(self.rates[transfer.to] / down[transfer.to]);
        }
        let ends = self.transfers.iter().map(|(&call, transfer)| (self.at_s + transfer.left / transfer.rate, call));
        self.next = ends.min_by(|one, other| one.partial_cmp(other).expect("no rate is 0"));
    }
}
