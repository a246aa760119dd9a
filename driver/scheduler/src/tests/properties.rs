//! What holds in every world: the oracle judges each answer, and the end is reached.

use broadsweep_common::ids::{AttemptId, ExecutorId, TaskId};
use proptest::collection::vec;
use proptest::prelude::*;

use super::scenario::{
    Scenario, attempt, config, executor, executor_ready, forecast, history, outcome, priority, report, scenario,
    task_added,
};
use super::world::World;
use crate::{Event, Forecast, History, Moment, Outcome, Priority, Scheduler};

/// What happens next, where the events of nowhere would mostly be rejected.
#[derive(Clone, Debug)]
enum Stimulus {
    Event(Event),
    /// The next task.
    Add {
        priority: Priority,
        forecast: Forecast,
        history: History,
    },
    /// Of what takes a slot, the attempt with this number ends.
    End {
        pick: usize,
        outcome: Outcome,
    },
    /// The same makes an epoch.
    Epoch {
        pick: usize,
        epoch: u32,
    },
    /// An executor is ready; it holds, of what takes its slots, what the mask says.
    Back {
        executor: ExecutorId,
        slots: u32,
        mask: u32,
        more: Vec<AttemptId>,
        restarted: bool,
    },
}

proptest! {
    #[test]
    fn every_task_of_every_scenario_finishes_once_by_the_rules(scenario in scenario()) {
        let tasks = scenario.tasks.len();
        let world = World::new(scenario).run();
        prop_assert!(world.oracle.tasks.len() >= tasks);
        prop_assert!(world.oracle.tasks.iter().all(|seen| seen.verdict.is_some()));
    }

    #[test]
    fn no_sequence_of_events_is_answered_against_the_rules(
        config in config(),
        stimuli in vec((0_u64..40, stimulus()), 1..250),
    ) {
        let scenario = Scenario { config, tasks: vec![], executors: vec![], echo_ms: None, forged: vec![] };
        let mut world = World::new(scenario);
        let mut now = Moment::default();
        for (gap_ms, stimulus) in stimuli {
            now = Moment(now.0 + gap_ms * 1000);
            while let Some(deadline) = world.scheduler.next_deadline().filter(|&deadline| deadline < now) {
                world.deliver(deadline, Event::Deadline);
            }
            if let Some(event) = stimulus.event(&world) {
                world.deliver(now, event);
            }
        }
    }

    #[test]
    fn the_same_events_give_the_same_commands(scenario in scenario()) {
        let policy = scenario.config.validate().unwrap();
        let world = World::new(scenario).run();
        let mut again = Scheduler::new(policy);
        for (now, event, answer) in world.log {
            let mut commands = Vec::new();
            let result = again.handle(now, event, &mut commands).map(|()| commands);
            prop_assert_eq!(result, answer);
        }
        prop_assert_eq!(again, world.scheduler);
    }
}

impl Stimulus {
    fn event(self, world: &World) -> Option<Event> {
        let nodes = &world.oracle.nodes;
        let taken = || nodes.iter().flat_map(|(&executor, node)| node.taken.keys().map(move |&it| (executor, it)));
        let picked = |pick: usize| taken().nth(pick.checked_rem(taken().count())?);
        match self {
            Self::Event(event) => Some(event),
            Self::Add { priority, forecast, history } => {
                Some(Event::TaskAdded { task: TaskId(world.oracle.tasks.len() as u32), priority, forecast, history })
            }
            Self::End { pick, outcome } => {
                picked(pick).map(|(executor, attempt)| Event::AttemptEnded { executor, attempt, outcome })
            }
            Self::Epoch { pick, epoch } => {
                picked(pick).map(|(executor, attempt)| Event::EpochEnded { executor, attempt, epoch })
            }
            Self::Back { executor, slots, mask, more, restarted } => {
                let ours = nodes.get(&executor).into_iter().flat_map(|node| node.taken.keys().copied());
                let kept = ours.enumerate().filter(|(index, _)| mask >> index & 1 == 1).map(|(_, attempt)| attempt);
                let held = kept.chain(more).collect();
                Some(Event::ExecutorReady { executor, slots, held, restarted })
            }
        }
    }
}

fn stimulus() -> impl Strategy<Value = Stimulus> {
    let history = prop_oneof![3 => Just(History::default()), 1 => history()];
    let more = prop_oneof![2 => Just(vec![]), 1 => vec(attempt(), 0..4)];
    prop_oneof![
        4 => event().prop_map(Stimulus::Event),
        3 => (priority(), forecast(1..20, 1..4), history)
            .prop_map(|(priority, forecast, history)| Stimulus::Add { priority, forecast, history }),
        4 => (any::<usize>(), outcome()).prop_map(|(pick, outcome)| Stimulus::End { pick, outcome }),
        3 => (any::<usize>(), 1_u32..9).prop_map(|(pick, epoch)| Stimulus::Epoch { pick, epoch }),
        3 => (executor(), 1_u32..4, any::<u32>(), more, any::<bool>()).prop_map(
            |(executor, slots, mask, more, restarted)| Stimulus::Back { executor, slots, mask, more, restarted }
        ),
    ]
}

fn event() -> impl Strategy<Value = Event> {
    prop_oneof![
        8 => report(),
        1 => task_added(),
        2 => executor_ready(),
        2 => executor().prop_map(Event::ExecutorLost),
        4 => executor().prop_map(Event::ExecutorAway),
        1 => executor().prop_map(Event::ExecutorDraining),
        1 => Just(Event::StoodStill),
        1 => (executor(), attempt()).prop_map(|(executor, attempt)| Event::AttemptEnding { executor, attempt }),
        2 => Just(Event::Deadline),
        1 => prop::bool::weighted(0.05).prop_map(|end| if end { Event::AddingEnded } else { Event::Deadline }),
        1 => prop::bool::weighted(0.05).prop_map(|end| if end { Event::PlacingEnded } else { Event::Deadline }),
    ]
}
