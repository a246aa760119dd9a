//! A search that decides while trials are trained, in a play: it is asked by the very [`Timeline`], which is told of
//! epochs when they end.

use std::collections::BTreeMap;

use broadsweep_common::configuration::Configuration;
use broadsweep_common::ids::{ExecutorId, TaskId};
use broadsweep_common::task::Segment;
use broadsweep_scheduler::{Cost, Counts, Forecast, Moment, Priority};
use broadsweep_search::{Decision, EpochEnd, NewDecision, Search, SegmentEnd, Timeline};

use super::Cluster;
use super::play::{Joining, Play, Played, TaskSource};

/// What comes of a segment, wherever it is trained.
#[derive(Clone, Debug, PartialEq)]
pub struct SegmentCourse {
    /// What it takes of a slot, in microseconds; each of its epochs a like part of it.
    pub took_us: u64,
    /// The last epoch that is begun: its segment's last one, unless it stops early or diverges.
    pub last_epoch: u32,
    /// How it ends.
    pub end: SegmentEnd,
}

/// What comes of a segment of the trial with a configuration.
pub type CourseOf<'a> = dyn Fn(Segment, &Configuration) -> SegmentCourse + 'a;

/// A search, when it is asked, and what comes of what it starts.
pub struct PlayedSearch<'a> {
    /// When it is asked; nothing is decided on it.
    pub timeline: Timeline<'a>,
    /// Who is asked.
    pub search: Box<dyn Search + 'a>,
    /// Trials that it starts at most.
    pub trials_max: u32,
    /// What comes of a segment of the trial with this configuration.
    pub course: Box<CourseOf<'a>>,
}

impl PlayedSearch<'_> {
    /// What it takes on a cluster; `None` on one without slots.
    #[must_use]
    pub fn on(self, cluster: Cluster) -> Option<Played> {
        let trials_max = self.trials_max;
        let source = Searching { played: self, configurations: Vec::new(), tasks: Vec::new(), open: BTreeMap::new() };
        Play::on(cluster, trials_max, source).play_out().map(|(_, played)| played)
    }
}

/// The tasks that a search decides on.
struct Searching<'a> {
    played: PlayedSearch<'a>,
    /// By trial.
    configurations: Vec<Configuration>,
    tasks: Vec<PlayedTask>,
    /// The tasks that are not over, by what they train.
    open: BTreeMap<Segment, usize>,
}

/// A segment that was decided.
struct PlayedTask {
    segment: Segment,
    course: SegmentCourse,
    launched: Option<Moment>,
    /// Epochs of it of which the timeline knows that it goes on after them.
    told: u32,
}

impl PlayedTask {
    /// Epochs that are trained.
    fn epochs(&self) -> u32 {
        self.course.last_epoch.saturating_sub(self.segment.from_epoch).max(1)
    }

    /// Epochs after which it is known by now that it goes on: an epoch is followed once the next one is reported. What
    /// follows the last one is known at its end.
    fn followed(&self, now: Moment) -> u32 {
        let Some(launched) = self.launched else { return 0 };
        let passed = u128::from(now.0.saturating_sub(launched.0));
        let done = passed * u128::from(self.epochs()) / u128::from(self.course.took_us.max(1));
        (done.min(u128::from(self.epochs() - 1)) as u32).saturating_sub(1)
    }

    /// When one more epoch than the timeline was told of is followed; `None` if only its end tells more.
    fn next_followed(&self) -> Option<Moment> {
        let (launched, epoch) = (self.launched?, self.told + 2);
        let part = (u128::from(self.course.took_us.max(1)) * u128::from(epoch)).div_ceil(u128::from(self.epochs()));
        (epoch < self.epochs()).then(|| Moment(launched.0.saturating_add(part as u64)))
    }
}

impl Searching<'_> {
    /// Tells of the epochs of a segment that have ended by now; says whether any was not told of.
    fn tell(&mut self, segment: Segment, now: Moment) -> bool {
        let Some(task) = self.open.get(&segment).and_then(|number| self.tasks.get_mut(*number)) else { return false };
        let followed = task.followed(now);
        let is_news = followed > task.told;
        if is_news {
            task.told = followed;
            self.played.timeline.told(segment, segment.from_epoch + followed, EpochEnd::GoesOn);
        }
        is_news
    }

    fn task_of(&mut self, NewDecision { v, decision, segment, .. }: NewDecision) -> Option<Joining> {
        if let Decision::Start { configuration, .. } = decision {
            self.configurations.push(configuration);
        }
        let segment = segment?;
        let configuration = self.configurations.get(segment.replicate.trial.0 as usize)?;
        let course = (self.played.course)(segment, configuration);
        self.open.insert(segment, self.tasks.len());
        self.tasks.push(PlayedTask { segment, course, launched: None, told: 0 });
        // Nobody here goes by its cost: it says which epochs there are.
        let Segment { from_epoch, until_epoch, .. } = segment;
        Some((Priority::in_order(v.0), Forecast { cost: Cost(1), from_epoch, until_epoch }))
    }
}

impl TaskSource for Searching<'_> {
    fn joining(&mut self, now: Moment, _: Counts) -> Vec<Joining> {
        let mut joining = Vec::new();
        loop {
            let decisions = self.played.timeline.advance(self.played.search.as_mut());
            joining.extend(decisions.into_iter().filter_map(|decision| self.task_of(decision)));
            // Only what it waits for matters: of all else it is told when that ends.
            let blocker = self.played.timeline.blocker();
            if !blocker.is_some_and(|blocker| self.tell(blocker, now)) {
                return joining;
            }
        }
    }

    fn took_us(&self, _: ExecutorId, task: TaskId) -> f64 {
        self.tasks.get(task.0 as usize).map_or(0.0, |task| task.course.took_us as f64)
    }

    fn on_launch(&mut self, task: TaskId, now: Moment) {
        if let Some(task) = self.tasks.get_mut(task.0 as usize) {
            task.launched = Some(now);
        }
    }

    fn on_end(&mut self, task: TaskId) {
        let Some(PlayedTask { segment, course, .. }) = self.tasks.get(task.0 as usize) else { return };
        self.open.remove(segment);
        if course.last_epoch < segment.until_epoch && matches!(course.end, SegmentEnd::Finished { .. }) {
            self.played.timeline.told(*segment, course.last_epoch, EpochEnd::StoppedEarly);
        }
        self.played.timeline.ended(*segment, course.end.clone());
    }

    fn wakes_at(&self) -> Option<Moment> {
        let blocker = self.played.timeline.blocker()?;
        self.tasks.get(*self.open.get(&blocker)?)?.next_followed()
    }
}
