//! What a driver stands still in: its loop is not polled, while its clock and all others go on.

use std::future::{Future, poll_fn};
use std::pin::pin;
use std::sync::Mutex;
use std::task::{Poll, Waker};

/// Whether a future stands still, and who waits for the thaw.
#[derive(Default)]
pub(super) struct Ice(Mutex<State>);

#[derive(Default)]
struct State {
    is_frozen: bool,
    waiting: Option<Waker>,
}

impl Ice {
    pub(super) fn freeze(&self) {
        self.0.lock().unwrap().is_frozen = true;
    }

    pub(super) fn thaw(&self) {
        let mut state = self.0.lock().unwrap();
        state.is_frozen = false;
        if let Some(waiting) = state.waiting.take() {
            waiting.wake();
        }
    }

    /// The same future, as long as it is not frozen.
    pub(super) async fn around<F: Future>(&self, future: F) -> F::Output {
        let mut future = pin!(future);
        poll_fn(|context| {
            let mut state = self.0.lock().unwrap();
            if state.is_frozen {
                state.waiting = Some(context.waker().clone());
                return Poll::Pending;
            }
            drop(state);
            future.as_mut().poll(context)
        })
        .await
    }
}
