//! The kernel of a run: one for all executors, or their numbers would differ in the last bits.
//!
//! Unless it is given, it is the fastest that all of them have. So before the first one is told, every executor has
//! answered or failed to, or the patience is over; one that comes later has the kernel, or is refused. The data is
//! on its way meanwhile.

use std::collections::BTreeSet;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use broadsweep_common::ids::ExecutorId;
use tokio::sync::watch;

/// Kernels whose bits are the same on every processor that has them, the fastest first. Whoever wants another one,
/// `gemm`, has to name it, and to have equal processors.
const PREFERRED: [&str; 3] = ["avx512", "avx2", PORTABLE];
/// What every executor has.
const PORTABLE: &str = "portable";

/// The choice of a run's kernel.
#[derive(Debug)]
pub struct KernelChoice {
    state: Mutex<State>,
    chosen: watch::Sender<Option<String>>,
    /// How long executors are waited for.
    patience: Duration,
}

#[derive(Debug)]
struct State {
    /// Executors that have neither answered nor failed to.
    awaited: BTreeSet<ExecutorId>,
    /// What all that answered have.
    common: Vec<&'static str>,
    has_heard: bool,
    /// Whether all executors that the run begins with are awaited by now, so that nobody decides for the others.
    knows_all: bool,
}

impl KernelChoice {
    /// The kernel is given: by the user, or since the run began with it.
    #[must_use]
    pub fn fixed(kernel: &str) -> Self {
        Self { chosen: watch::Sender::new(Some(kernel.to_owned())), ..Self::of_all(Duration::ZERO) }
    }

    /// The fastest that all executors have that answer within `patience`.
    #[must_use]
    pub fn of_all(patience: Duration) -> Self {
        let state =
            State { awaited: BTreeSet::new(), common: PREFERRED.to_vec(), has_heard: false, knows_all: false };
        Self { state: Mutex::new(state), chosen: watch::Sender::new(None), patience }
    }

    /// An executor is to be dialled.
    pub(super) fn awaits(&self, executor: ExecutorId) {
        self.state().awaited.insert(executor);
    }

    /// All executors that the run begins with are [awaited](Self::awaits).
    pub(crate) fn knows_all(&self) {
        let mut state = self.state();
        state.knows_all = true;
        self.decide_if_all(&state);
    }

    /// An executor has answered that it has these.
    ///
    /// # Errors
    /// In words, if it lacks the kernel that was chosen.
    pub(super) fn on_kernels(&self, executor: ExecutorId, kernels: &[String]) -> Result<(), String> {
        let mut state = self.state();
        if let Some(chosen) = &*self.chosen.borrow() {
            if kernels.contains(chosen) {
                return Ok(());
            }
            let has = kernels.join(", ");
            return Err(format!(
                "it cannot train with {chosen}, the kernel of this run; it has {has}. Leave it out, or start a new run \
                 with `broadsweep tune --kernel`"
            ));
        }
        // Every executor has it: one that says otherwise shall not leave the others without a common one.
        if !kernels.iter().any(|kernel| kernel == PORTABLE) {
            return Err(format!("it says that it cannot train with {PORTABLE}, as every executor can"));
        }
        state.common.retain(|name| kernels.iter().any(|kernel| kernel == name));
        state.has_heard = true;
        state.awaited.remove(&executor);
        self.decide_if_all(&state);
        Ok(())
    }

    /// An executor did not answer.
    pub(super) fn on_failure(&self, executor: ExecutorId) {
        let mut state = self.state();
        state.awaited.remove(&executor);
        self.decide_if_all(&state);
    }

    /// The kernel, once it is chosen. For an executor that was [heard](Self::on_kernels).
    pub(super) async fn agreed(&self) -> String {
        let mut chosen = self.chosen.subscribe();
        if tokio::time::timeout(self.patience, chosen.wait_for(Option::is_some)).await.is_err() {
            self.decide(&self.state());
        }
        self.chosen().unwrap_or_else(|| PORTABLE.to_owned())
    }

    /// The kernel, if it is chosen.
    #[must_use]
    pub fn chosen(&self) -> Option<String> {
        self.chosen.borrow().clone()
    }

    fn decide_if_all(&self, state: &State) {
        if state.knows_all && state.awaited.is_empty() && state.has_heard {
            self.decide(state);
        }
    }

    fn decide(&self, state: &State) {
        self.chosen.send_if_modified(|chosen| {
            let is_new = chosen.is_none();
            if is_new {
                *chosen = state.common.first().map(|kernel| (*kernel).to_owned());
            }
            is_new
        });
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(names: &[&str]) -> Vec<String> {
        names.iter().map(|name| (*name).to_owned()).collect()
    }

    fn choice(executors: u32) -> KernelChoice {
        let choice = KernelChoice::of_all(Duration::from_secs(10));
        (0..executors).for_each(|executor| choice.awaits(ExecutorId(executor)));
        choice.knows_all();
        choice
    }

    #[test]
    fn the_fastest_that_all_have_is_chosen_once_all_have_answered_or_failed_to() {
        let choice = choice(3);
        choice.on_kernels(ExecutorId(0), &names(&["avx512", "avx2", "gemm", "portable"])).unwrap();
        assert_eq!(choice.chosen(), None);
        choice.on_failure(ExecutorId(2));
        assert_eq!(choice.chosen(), None);
        choice.on_kernels(ExecutorId(1), &names(&["portable", "avx2"])).unwrap();
        assert_eq!(choice.chosen().as_deref(), Some("avx2"));
    }

    #[test]
    fn the_first_to_answer_does_not_decide_before_the_others_are_known() {
        let choice = KernelChoice::of_all(Duration::from_secs(10));
        choice.awaits(ExecutorId(0));
        choice.on_kernels(ExecutorId(0), &names(&["avx512", "portable"])).unwrap();
        choice.awaits(ExecutorId(1));
        choice.knows_all();
        assert_eq!(choice.chosen(), None);
        choice.on_kernels(ExecutorId(1), &names(&["avx2", "portable"])).unwrap();
        assert_eq!(choice.chosen().as_deref(), Some("portable"));
    }

    #[test]
    fn gemm_is_never_chosen_by_itself_and_a_late_executor_needs_what_was_chosen() {
        let choice = choice(1);
        choice.on_kernels(ExecutorId(0), &names(&["gemm", "portable", "avx2"])).unwrap();
        assert_eq!(choice.chosen().as_deref(), Some("avx2"));
        let late = choice.on_kernels(ExecutorId(1), &names(&["gemm", "portable"])).unwrap_err();
        assert!(late.contains("cannot train with avx2") && late.contains("gemm, portable"), "{late}");
        assert!(KernelChoice::fixed("gemm").on_kernels(ExecutorId(0), &names(&["gemm"])).is_ok());
    }

    #[test]
    fn an_executor_without_the_kernel_that_all_have_is_refused_and_changes_nothing() {
        let choice = choice(2);
        let liar = choice.on_kernels(ExecutorId(0), &names(&["avx512"])).unwrap_err();
        assert!(liar.contains("portable"), "{liar}");
        choice.on_failure(ExecutorId(0));
        choice.on_kernels(ExecutorId(1), &names(&["avx2", "portable"])).unwrap();
        assert_eq!(choice.chosen().as_deref(), Some("avx2"));
    }

    #[test]
    fn nobody_who_failed_to_answer_makes_the_choice() {
        let choice = choice(2);
        choice.on_failure(ExecutorId(0));
        choice.on_failure(ExecutorId(1));
        assert_eq!(choice.chosen(), None);
        choice.on_kernels(ExecutorId(1), &names(&["portable"])).unwrap();
        assert_eq!(choice.chosen().as_deref(), Some("portable"));
    }

    #[tokio::test(start_paused = true)]
    async fn patience_ends_and_what_was_heard_by_then_counts() {
        let choice = choice(2);
        choice.on_kernels(ExecutorId(0), &names(&["avx2", "portable"])).unwrap();
        assert_eq!(choice.agreed().await, "avx2");
        let late = choice.on_kernels(ExecutorId(1), &names(&["portable"])).unwrap_err();
        assert!(late.contains("--kernel"), "{late}");
    }
}
