//! Where the time of a run's slots went: the ledger. Pure: a run's record in, numbers and sentences out.
//!
//! | module | holds |
//! |---|---|
//! | `worth` | what of an attempt's work counted, and how slow its executor was |
//! | `lanes` | which attempt took which slot when |
//! | `calendar` | what a free slot was free for |
//! | `words` | the ledger in sentences: what cost how much, and what would help |
//!
//! It cannot help but close. Each slot of each executor is walked from the run's start to its end, from interval to
//! interval; an interval is booked on one line, or cut into parts of which the last is what is left. All of it is in
//! whole microseconds, so nothing is lost by rounding.

mod calendar;
mod lanes;
#[cfg(test)]
mod tests;
mod words;
mod worth;

use std::ops::{AddAssign, Index};

use broadsweep_common::ids::ExecutorId;

use crate::records::attempt::{AttemptRecord, Yield};
use crate::records::run::RunRecord;

use calendar::{Calendar, StandingHistory};
use worth::Worth;

pub use words::sentences;

/// A line of the ledger.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Line {
    /// Work that counted: training, and the measuring that belongs to it.
    Training,
    /// The data was on its way: to this executor, or to others while nothing could begin.
    Broadcast,
    /// Before there was a link; between the data's arrival and the first launch; and after the last result.
    StartUp,
    /// The slot was free while a task waited; and inside of attempts what their executor did not measure as work:
    /// launches, checkpoints, messages.
    Waiting,
    /// The slot was free, and the search decided nothing more before another trial had gone on.
    Order,
    /// Work that was thrown away, with all that its attempt took; and slots of an executor that was gone.
    Lost,
    /// What work took longer than at the pace of the other executors, on one that is slow; and attempts there that
    /// were beaten for it.
    Slow,
    /// The slot was free, and nothing was left to place.
    Tail,
}

impl Line {
    /// All lines, in the order in which they are shown.
    pub const ALL: [Self; 8] = [
        Self::Training,
        Self::Broadcast,
        Self::StartUp,
        Self::Waiting,
        Self::Order,
        Self::Lost,
        Self::Slow,
        Self::Tail,
    ];

    /// What it is called.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Training => "training",
            Self::Broadcast => "broadcast",
            Self::StartUp => "start-up",
            Self::Waiting => "waiting",
            Self::Order => "waiting for order",
            Self::Lost => "lost attempts",
            Self::Slow => "slow nodes",
            Self::Tail => "tail idle",
        }
    }

    /// Its name in files.
    #[must_use]
    pub fn key(self) -> &'static str {
        match self {
            Self::Training => "training_s",
            Self::Broadcast => "broadcast_s",
            Self::StartUp => "start_up_s",
            Self::Waiting => "waiting_s",
            Self::Order => "order_s",
            Self::Lost => "lost_s",
            Self::Slow => "slow_s",
            Self::Tail => "tail_s",
        }
    }
}

/// Microseconds of slots, by line.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Lines([u64; Line::ALL.len()]);

impl Lines {
    /// Of all lines together.
    #[must_use]
    pub fn sum(&self) -> u64 {
        self.0.iter().sum()
    }

    /// The share of one line; 0 of an empty ledger.
    #[must_use]
    pub fn share(&self, line: Line) -> f64 {
        self[line] as f64 / (self.sum() as f64).max(1.0)
    }

    fn book(&mut self, line: Line, us: u64) {
        self.0[line as usize] += us;
    }
}

impl Index<Line> for Lines {
    type Output = u64;

    fn index(&self, line: Line) -> &u64 {
        &self.0[line as usize]
    }
}

impl AddAssign for Lines {
    fn add_assign(&mut self, other: Self) {
        self.0.iter_mut().zip(other.0).for_each(|(sum, us)| *sum += us);
    }
}

/// The ledger of one run.
#[derive(Clone, Debug, PartialEq)]
pub struct Ledger {
    /// From the run's start to its end, in microseconds.
    pub wall_us: u64,
    /// The executors that were ever ready, in their order.
    pub accounts: Vec<Account>,
    /// For each attempt of the run, in its order: work that counted, at the pace of the other executors.
    pub worth_us: Vec<u64>,
    /// Attempts that completed, and what they took of their slots beside their work, in microseconds.
    completed: u64,
    beside_us: u64,
    /// From the run's start to the first launch, and from the last end of an attempt to the run's.
    edges_us: (u64, u64),
    /// Until then: how long data was on its way.
    broadcast_us: u64,
}

/// The ledger of one executor.
#[derive(Clone, Debug, PartialEq)]
pub struct Account {
    /// Which one.
    pub executor: ExecutorId,
    /// The most slots that it ever had.
    pub slots: u32,
    /// Their time.
    pub lines: Lines,
    /// How many times as long as on the others work took there; `None` where there is nothing to compare.
    pub slowness: Option<f64>,
}

impl Ledger {
    /// The ledger of a run, or of what there is of it so far.
    #[must_use]
    pub fn of(run: &RunRecord) -> Self {
        let wall_us = microseconds(run.wall_s);
        let calendar = Calendar::of(run, wall_us);
        let worth = Worth::of(run);
        let mut by_executor = vec![Vec::new(); run.standings.len()];
        for (number, attempt) in run.attempts.iter().enumerate() {
            by_executor.get_mut(attempt.executor.0 as usize).into_iter().for_each(|list| list.push(number));
        }
        let mut accounts = Vec::new();
        let mut beside_us = 0;
        for ((standings, attempts), number) in run.standings.iter().zip(&by_executor).zip(0..) {
            let (executor, stay) = (ExecutorId(number), StandingHistory::of(standings, wall_us));
            if stay.slots() == 0 {
                continue;
            }
            let mut lines = Lines::default();
            for (lane, taken) in (0..).zip(lanes::of(run, attempts, stay.slots(), wall_us)) {
                let mut now = 0;
                for (start, end, number) in taken {
                    calendar.book_free(&mut lines, (&stay, lane), now, start);
                    let attempt = &run.attempts[number];
                    let before = lines[Line::Waiting];
                    book_attempt(&mut lines, attempt, end - start, worth.parts(number));
                    if attempt.has_result() {
                        beside_us += lines[Line::Waiting] - before;
                    }
                    now = end;
                }
                calendar.book_free(&mut lines, (&stay, lane), now, wall_us);
            }
            accounts.push(Account { executor, slots: stay.slots(), lines, slowness: worth.slowness(executor) });
        }
        let completed = run.attempts.iter().filter(|attempt| attempt.has_result()).count() as u64;
        let worth_us = (0..run.attempts.len()).map(|number| worth.parts(number).at_pace_us()).collect();
        Self {
            wall_us,
            accounts,
            worth_us,
            completed,
            beside_us,
            edges_us: calendar.edges(wall_us),
            broadcast_us: calendar.broadcast_us(),
        }
    }

    /// All executors together.
    #[must_use]
    pub fn total(&self) -> Lines {
        self.accounts.iter().fold(Lines::default(), |mut sum, account| {
            sum += account.lines;
            sum
        })
    }

    /// Slots of all executors together.
    #[must_use]
    pub fn slots(&self) -> u32 {
        self.accounts.iter().map(|account| account.slots).sum()
    }

    /// The share of the slots' time in which they did work that counted, a slow one's included.
    #[must_use]
    pub fn utilisation(&self) -> f64 {
        let total = self.total();
        total.share(Line::Training) + total.share(Line::Slow)
    }

    /// What an attempt takes beside its work, on the mean of those that completed: in microseconds of a slot.
    #[must_use]
    pub fn overhead_us(&self) -> u64 {
        self.beside_us / self.completed.max(1)
    }

    /// From the run's start to the first launch, and from the last end of an attempt to the run's end, in microseconds.
    #[must_use]
    pub fn edges_us(&self) -> (u64, u64) {
        self.edges_us
    }

    /// For how long before the first launch data was on its way to some executor, in microseconds.
    #[must_use]
    pub fn broadcast_us(&self) -> u64 {
        self.broadcast_us
    }
}

/// Books the time that an attempt took of its slot.
fn book_attempt(lines: &mut Lines, attempt: &AttemptRecord, took_us: u64, parts: worth::AttemptWork) {
    let mut left = took_us;
    let mut take = |lines: &mut Lines, line, us: u64| {
        let taken = us.min(left);
        lines.book(line, taken);
        left -= taken;
    };
    let excess_us = parts.excess_us.min(took_us);
    let Some(end) = &attempt.end else {
        // Under way: what it did since its last report, nobody has measured.
        return take(lines, Line::Training, took_us);
    };
    take(lines, Line::Slow, excess_us);
    take(lines, Line::Training, parts.counted_us - parts.excess_us);
    match end.yields() {
        Yield::Result | Yield::Checkpoint => {
            take(lines, Line::Lost, parts.work_us - parts.counted_us);
            take(lines, Line::Waiting, u64::MAX);
        }
        Yield::Duplicate if parts.on_slow => take(lines, Line::Slow, u64::MAX),
        Yield::Duplicate | Yield::Nothing => take(lines, Line::Lost, u64::MAX),
    }
}

/// A time of a record, in whole microseconds; what is none is 0.
fn microseconds(seconds: f64) -> u64 {
    (seconds * 1e6).round().clamp(0.0, 1e18) as u64
}
