//! What a run would take on a cluster of another size, and what the rest of one will take. Pure: both play the very
//! [`Scheduler`](broadsweep_scheduler::Scheduler) in simulated time, and a search that saw results on the very
//! [`Timeline`](broadsweep_search::Timeline): it decides the same on any cluster, and where it waits for a trial, slots wait.
//!
//! | module | holds |
//! |---|---|
//! | `basis` | what a finished run says of its trials, and of all else that takes time |
//! | `recorded` | the search of a finished run, as it was |
//! | `searching` | a search that decides while trials are trained, in a play |
//! | `play` | plays a scheduler to its end |
//! | `left` | the time that is left of a run which goes on |
//!
//! # What is assumed
//!
//! A trial takes on any executor what it took, at the pace of those that were not slow, and beside its work what an
//! attempt took on the mean of this run: launch, checkpoints, messages. Before the first launch there is what the
//! run's start took without data, and the broadcast. The end takes what it took.
//!
//! The broadcast takes what it took, and a block more for each doubling of the executors beyond those of the run. The
//! driver puts each block on the wire once, and nodes fetch the rest from each other, so every link carries one copy in,
//! whatever their number: bytes of a copy, divided by the rate at which the nodes of this run took theirs in. That rate
//! is measured: it is one copy in the time of this run's broadcast. What grows is the way of the last block, which is
//! handed on from node to node.
//!
//! Epochs of a trial take a like part of its time each. A search in the order of arrival (`asynchronous = true`) would
//! decide otherwise on another cluster: it is played as if it decided on the same trials, each as soon as it can.
//!
//! No search is over sooner than the driver can launch and take in its attempts: [`DRIVER_US`] each, on one core.
//!
//! Executors that had the data already took no time for it, and will not. What this does not know is that a single node has
//! nobody to fetch from, and that executors of one machine share it.
//!
//! Speedups compare forecasts with the forecast for one executor, so that none of these assumptions favours one side.

mod basis;
mod left;
mod play;
mod recorded;
#[cfg(test)]
mod searched_tests;
mod searching;
#[cfg(test)]
mod tests;

use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap};

use broadsweep_common::ids::{ExecutorId, TaskId};

use broadsweep_scheduler::{Cost, Counts, Moment, Priority};

use basis::TaskTime;
use play::{Joining, Play, TaskSource};

pub use basis::{Basis, NotOver, Open};
pub use left::{StillToCome, time_left};
pub use play::Played;
pub use searching::{CourseOf, PlayedSearch, SegmentCourse};

/// Two walls are the same if they differ by less than this part: nobody adds nodes for it.
const SAME: f64 = 0.005;

/// What an attempt takes of the driver's loop, in microseconds of one core, with a report or two: measured with trials that
/// do nothing (`tests/rivals/throughput.sh`).
pub const DRIVER_US: u64 = 27;

/// How trials come to slots.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Schedule {
    /// As runs do it: one queue, longest first; of a search that saw results, in the order in which it decided.
    #[default]
    Queue,
    /// Cut beforehand into contiguous pieces, in trial order, as the program of January 2016 did it: of as many trials as
    /// each slot's share has, rounded down, and 2 at least. A slot does a piece from its first trial to its last; what
    /// the rounding leaves makes further pieces, which the slots that are free first take as well.
    Chunked,
}

/// A cluster.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cluster {
    /// How many executors there are.
    pub executors: u32,
    /// Slots of each.
    pub slots: u32,
}

impl Cluster {
    /// Slots of all executors together.
    #[must_use]
    pub fn all_slots(self) -> u64 {
        u64::from(self.executors) * u64::from(self.slots)
    }
}

/// What a run would take on a cluster.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Forecast {
    /// The cluster.
    pub cluster: Cluster,
    /// From start to end, in microseconds.
    pub wall_us: u64,
    /// How many times as fast as on one of its executors.
    pub speedup: f64,
    /// That by the number of executors: 1 is ideal.
    pub efficiency: f64,
    /// The share of the slots' time that is work.
    pub utilisation: f64,
    /// Time of slots that wait for the order of a search, in microseconds: they are free, and nothing more is decided
    /// before another trial has gone on.
    pub order_us: u64,
}

impl Basis {
    /// What the run would take on a cluster.
    #[must_use]
    pub fn forecast(&self, cluster: Cluster, schedule: Schedule) -> Forecast {
        self.forecasts(&[cluster], schedule)[0]
    }

    /// What the run would take on each of these clusters.
    #[must_use]
    pub fn forecasts(&self, clusters: &[Cluster], schedule: Schedule) -> Vec<Forecast> {
        let mut alone_us = BTreeMap::new();
        let forecast = |&cluster: &Cluster| {
            let alone = || self.played(Cluster { executors: 1, ..cluster }, schedule).wall_us;
            let alone_us = *alone_us.entry(cluster.slots).or_insert_with(alone);
            let Played { wall_us, order_us, .. } = self.played(cluster, schedule);
            let speedup = alone_us as f64 / (wall_us as f64).max(1.0);
            let slot_us = wall_us as f64 * cluster.all_slots() as f64;
            Forecast {
                cluster,
                wall_us,
                speedup,
                efficiency: speedup / f64::from(cluster.executors),
                utilisation: self.work_us() as f64 / slot_us.max(1.0),
                order_us,
            }
        };
        clusters.iter().map(forecast).collect()
    }

    /// The smallest number of executors of so many slots that no further ones would make faster: beyond it, the longest
    /// trial decides.
    #[must_use]
    pub fn enough(&self, slots: u32, schedule: Schedule) -> u32 {
        let wall = |executors| self.played(Cluster { executors, slots }, schedule).wall_us as f64;
        // A slot for each trial is enough.
        let (mut low, mut high) = (1, (self.tasks.len() as u32).div_ceil(slots.max(1)).max(1));
        let least = wall(high) * (1.0 + SAME);
        while low < high {
            let middle = low.midpoint(high);
            if wall(middle) <= least { high = middle } else { low = middle + 1 }
        }
        high
    }

    fn played(&self, cluster: Cluster, schedule: Schedule) -> Played {
        let played = match (schedule, &self.search) {
            (Schedule::Queue, None) => self.queued(cluster),
            (Schedule::Queue, Some(search)) => search.again(self.overhead_us).on(cluster).unwrap_or_default(),
            (Schedule::Chunked, _) => Played { wall_us: self.chunked_us(cluster), ..Played::default() },
        };
        let launches_us = DRIVER_US.saturating_mul(self.trainings() as u64);
        let measures = self.measures_us.iter().map(|us| us.saturating_add(self.overhead_us));
        let wall_us = [
            self.start_us,
            self.broadcast_us_on(cluster.executors),
            played.wall_us.max(launches_us),
            packed_us(measures, cluster.all_slots()),
            self.close_us,
        ];
        let wall_us = wall_us.into_iter().fold(0, u64::saturating_add);
        Played { wall_us, ..played }
    }

    /// How long the data takes to so many executors.
    fn broadcast_us_on(&self, executors: u32) -> u64 {
        let doublings = f64::from(executors.max(1)) / f64::from(self.executors);
        let further_blocks = doublings.log2().max(0.0).ceil();
        self.broadcast_us.saturating_add((self.broadcast_us as f64 * further_blocks / self.blocks as f64) as u64)
    }

    /// All at once, in one queue.
    fn queued(&self, cluster: Cluster) -> Played {
        let play = Play::on(cluster, self.tasks.len() as u32, Queue(self));
        play.play_out().map_or_else(Played::default, |(_, played)| played)
    }

    fn chunked_us(&self, cluster: Cluster) -> u64 {
        let slots = cluster.all_slots().max(1);
        let share = (self.tasks.len() as u64 / slots).max(2) as usize;
        let took = |piece: &[TaskTime]| {
            piece.iter().map(|task| task.took_us.saturating_add(self.overhead_us)).fold(0, u64::saturating_add)
        };
        packed_us(self.tasks.chunks(share).map(took), slots)
    }
}

/// The tasks of a basis, longest first.
struct Queue<'a>(&'a Basis);

impl TaskSource for Queue<'_> {
    fn joining(&mut self, _: Moment, under_way: Counts) -> Vec<Joining> {
        if under_way != Counts::default() {
            return Vec::new(); // all of them joined at the start
        }
        let forecast = |cost| broadsweep_scheduler::Forecast { cost, from_epoch: 0, until_epoch: 1 };
        let costs = self.0.tasks.iter().map(|task| Cost(task.cost));
        costs.map(|cost| (Priority::longest_first(cost), forecast(cost))).collect()
    }

    fn took_us(&self, _: ExecutorId, task: TaskId) -> f64 {
        self.0.tasks[task.0 as usize].took_us.saturating_add(self.0.overhead_us) as f64
    }
}

/// How long it takes to do these one after the other as slots are free.
fn packed_us(times: impl Iterator<Item = u64>, slots: u64) -> u64 {
    let mut ends: BinaryHeap<Reverse<u64>> = BinaryHeap::new();
    let mut last = 0;
    for time in times {
        let free = if (ends.len() as u64) < slots { 0 } else { ends.pop().map_or(0, |Reverse(end)| end) };
        let end = free.saturating_add(time);
        last = last.max(end);
        ends.push(Reverse(end));
    }
    last
}
