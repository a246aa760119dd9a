//! A machine with an executor: what of it outlives its processes, and the process itself.

use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use broadsweep_executor::server::{Orders, Settings, serve};
use broadsweep_nn::Kernel;
use tokio::sync::watch;

use super::network::{Dialler, incoming};
use super::scenario::{Health, NodePlan, Scenario};
use super::slots::{Malice, TimedSlots};
use super::trace::Trace;
use super::truth::Truth;
use super::yields::Yields;

/// A machine.
pub(super) struct Node {
    pub(super) name: String,
    pub(super) slots: u32,
    pub(super) folder: PathBuf,
    pub(super) orphan_timeout: Duration,
    /// What trainings leave here as anywhere.
    pub(super) yields: Yields,
    /// Whether it computes other numbers than the others do.
    pub(super) is_odd: bool,
    health: Mutex<Health>,
    /// Whether the next start of its software is that of an executor.
    pub(super) is_on: AtomicBool,
    /// Whether the machine has power.
    pub(super) is_powered: AtomicBool,
    /// Whether nothing cuts it off from the driver.
    pub(super) is_near: AtomicBool,
    /// Set by its process when it has left.
    pub(super) has_left: AtomicBool,
    /// Set by a training that kills its host.
    pub(super) is_dying: AtomicBool,
    /// Bits of the factor by which waits are longer here.
    slowness: AtomicU64,
    starts: AtomicU64,
    drain: watch::Sender<bool>,
}

impl Node {
    pub(super) fn new(name: String, plan: &NodePlan, folder: PathBuf, scenario: &Scenario) -> Self {
        Self {
            name,
            slots: plan.slots,
            folder,
            orphan_timeout: scenario.orphan_timeout,
            yields: scenario.yields,
            is_odd: plan.is_odd,
            health: Mutex::new(plan.health),
            is_on: AtomicBool::new(true),
            is_powered: AtomicBool::new(true),
            is_near: AtomicBool::new(true),
            has_left: AtomicBool::new(false),
            is_dying: AtomicBool::new(false),
            slowness: AtomicU64::new(1_f64.to_bits()),
            starts: AtomicU64::new(0),
            drain: watch::Sender::new(false),
        }
    }

    /// Whether a dial that failed was refused, rather than lost on its way.
    pub(super) fn can_refuse(&self) -> bool {
        self.is_powered.load(Ordering::Relaxed) && self.is_near.load(Ordering::Relaxed)
    }

    pub(super) fn is_alive(&self) -> bool {
        self.is_on.load(Ordering::Relaxed)
    }

    pub(super) fn slowness(&self) -> f64 {
        f64::from_bits(self.slowness.load(Ordering::Relaxed))
    }

    pub(super) fn slow_down(&self, factor: f64) {
        self.slowness.store(factor.to_bits(), Ordering::Relaxed);
    }

    /// The process that the driver takes one of this machine for.
    fn appears_as(&self, process: u64) -> u64 {
        if self.comes_back_the_same() { 1 } else { process }
    }

    pub(super) fn dies_at_launch(&self) -> bool {
        *self.health.lock().unwrap() != Health::Sound
    }

    /// Somebody mends the machine.
    pub(super) fn cure(&self) {
        *self.health.lock().unwrap() = Health::Sound;
    }

    pub(super) fn comes_back_the_same(&self) -> bool {
        *self.health.lock().unwrap() == Health::DiesAtLaunch { comes_back_the_same: true }
    }

    /// Tells its executor to leave.
    pub(super) fn drain(&self) {
        self.drain.send_replace(true);
    }

    /// Which process of this machine runs now, counted from 1.
    pub(super) fn process(&self) -> u64 {
        self.starts.load(Ordering::Relaxed)
    }
}

/// The software of a machine: an executor, or nothing that listens. Ends only with its machine.
pub(super) async fn software(
    node: Arc<Node>,
    trace: Arc<Trace>,
    truth: Arc<Truth>,
    malice: Arc<Malice>,
    nodes: Arc<Vec<Arc<Node>>>,
) -> turmoil::Result {
    if node.is_alive() {
        let process = node.starts.fetch_add(1, Ordering::Relaxed) + 1;
        trace.say(&node.name, format!("process {process} starts"));
        node.drain.send_replace(false);
        let settings = Settings {
            kernels: vec![Kernel::PORTABLE],
            slots: node.slots,
            memory_bytes: 1 << 30,
            cache_dir: node.folder.clone(),
            cache_bytes: Some(1 << 30),
            advertise: None,
            instance: Truth::instance(&node.name, node.appears_as(process)),
            orphan_timeout: node.orphan_timeout,
            drain_timeout: Duration::from_secs(20),
            ends_when_orphaned: false,
            programs: None,
            files: None,
            stores: None,
        };
        let runner = TimedSlots::new(Arc::clone(&node), process, Arc::clone(&trace), truth, malice);
        let mut told = node.drain.subscribe();
        let drain = async move {
            if told.wait_for(|told| *told).await.is_err() {
                std::future::pending::<()>().await;
            }
        };
        let orders = Orders { drain, shutdown: std::future::pending() };
        let peers = Dialler { nodes, power: Arc::new(AtomicBool::new(true)) };
        let served = serve(settings, incoming().await?, Arc::new(runner), Arc::new(peers), orders).await;
        trace.say(&node.name, format!("process {process} has ended: {served:?}"));
        node.has_left.store(true, Ordering::Relaxed);
    }
    std::future::pending().await
}
