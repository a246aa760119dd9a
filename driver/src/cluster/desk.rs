//! The run loop as one executor's link sees it: orders come from it, events go to it.

use std::collections::{BTreeSet, HashMap};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use broadsweep_common::ids::ExecutorId;
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;

use super::broadcast::Broadcast;
use super::orders::OrderReceiver;
use super::teller::{RunOver, Teller};
use super::{LinkEvent, Payload, World};

/// The run loop's desk for one executor.
pub(super) struct Desk {
    pub(super) teller: Teller,
    /// What people call it.
    pub(super) name: String,
    pub(super) payload: Arc<Payload>,
    pub(super) world: World,
    /// Whether the next session ends another run's hold.
    pub(super) takes_over: bool,
    pub(super) orders: OrderReceiver,
    /// The run is over: executors are to be told, and nobody is dialled any more but for that.
    pub(super) over: CancellationToken,
    /// Executors that are left as they are then; set before `over` is.
    pub(super) spared: Arc<OnceLock<BTreeSet<ExecutorId>>>,
    pub(super) processes: Arc<Processes>,
    pub(super) broadcast: Arc<Broadcast>,
    /// A blob that is fetched from any executor is in memory until the run folder has it: so many are at once.
    pub(super) pulls: Arc<Semaphore>,
}

/// The names under which each executor process answered first.
#[derive(Default)]
pub(super) struct Processes(Mutex<HashMap<u64, String>>);

impl Desk {
    pub(super) async fn tell(&self, event: LinkEvent) -> Result<(), RunOver> {
        self.teller.tell(event).await
    }

    /// Whether the executor is left as it is, now that the run is over here.
    pub(super) fn is_spared(&self) -> bool {
        self.spared.get().is_some_and(|spared| spared.contains(&self.executor()))
    }

    /// Takes note of the process that answers here. An executor that is in the list twice would end its own sessions in
    /// turns: the name that came second gets the first one's.
    pub(super) fn claim(&self, instance: u64) -> Result<(), String> {
        let mut processes = self.processes.0.lock().unwrap_or_else(PoisonError::into_inner);
        let first = processes.entry(instance).or_insert_with(|| self.name.clone());
        if *first == self.name { Ok(()) } else { Err(first.clone()) }
    }

    /// Whose desk this is.
    pub(super) fn executor(&self) -> ExecutorId {
        self.teller.executor
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cluster::played::{EXECUTOR, stage};

    #[tokio::test]
    async fn a_process_that_answers_under_two_names_has_the_first_one() {
        let (mut desk, _stage) = stage();
        for (name, instance, wanted) in [
            ("a:1", 7, Ok(())),
            ("a:1", 7, Ok(())), // in its next session
            ("b:1", 7, Err("a:1".to_owned())),
            ("b:1", 8, Ok(())),
            ("a:1", 9, Ok(())), // started again
            ("a:1", 8, Err("b:1".to_owned())),
        ] {
            name.clone_into(&mut desk.name);
            assert_eq!(desk.claim(instance), wanted, "{name}, {instance}");
        }
    }

    #[tokio::test]
    async fn an_executor_is_spared_if_it_was_named_and_the_run_loop_is_told_of_it_while_it_is_there() {
        for (spared, is_spared) in
            [(None, false), (Some(vec![]), false), (Some(vec![ExecutorId(9)]), false), (Some(vec![EXECUTOR]), true)]
        {
            let (desk, mut stage) = stage();
            if let Some(spared) = spared {
                desk.spared.set(spared.into_iter().collect()).unwrap();
            }
            assert_eq!(desk.is_spared(), is_spared);
            assert!(desk.tell(LinkEvent::Draining).await.is_ok());
            assert!(matches!(stage.events.try_recv(), Ok((EXECUTOR, LinkEvent::Draining))));
            drop(stage.events);
            assert!(desk.tell(LinkEvent::Draining).await.is_err());
        }
    }
}
