//! Training threads: as many as the executor has slots, each with one attempt at a time; and one for what is no attempt.

use std::collections::VecDeque;
use std::io;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;

pub use crate::work::Attempt;

/// Something that a thread does from start to end. The work catches its own panics.
pub type Work = Box<dyn FnOnce() + Send>;

/// Runs attempts beside the session. The seam at which a simulation puts its own: the rest of the executor starts no
/// thread.
pub trait SlotRunner: Send + Sync {
    /// Starts each of these on a free slot, or as soon as one is free.
    fn start(&self, attempts: Vec<Attempt>);

    /// Does what may take long and is no attempt, one after the other, while all slots may be taken.
    fn aside(&self, work: Work);
}

/// One thread a slot, and one for what is no attempt.
pub struct SlotThreads {
    queue: Arc<Queue>,
    aside: Arc<Queue>,
}

/// What waits for threads. Many launches may come in one message: whoever takes one wakes the next thread only if more
/// are left, so that a burst of short attempts costs few wake-ups.
#[derive(Default)]
struct Queue {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Default)]
struct State {
    waiting: VecDeque<Work>,
    /// Threads without work.
    idle: usize,
    /// Whether one of them was woken and has not looked yet.
    waking: bool,
    closed: bool,
}

impl SlotThreads {
    /// Starts `slots` threads, and the one beside them. They end when this is dropped and their work is done.
    ///
    /// # Errors
    /// If the system starts no more threads.
    pub fn start(slots: u32) -> io::Result<Self> {
        let threads = Self { queue: Arc::default(), aside: Arc::default() };
        let start = |name: String, queue: &Arc<Queue>| {
            let queue = Arc::clone(queue);
            thread::Builder::new().name(name).spawn(move || serve(&queue)).map(drop)
        };
        (0..slots).try_for_each(|slot| start(format!("slot-{slot}"), &threads.queue))?;
        start("aside".to_owned(), &threads.aside)?;
        Ok(threads)
    }

    fn perform(&self, works: impl IntoIterator<Item = Work>) {
        self.queue.add(works);
    }
}

impl SlotRunner for SlotThreads {
    fn start(&self, attempts: Vec<Attempt>) {
        self.perform(attempts.into_iter().map(|attempt| Box::new(move || attempt.run()) as Work));
    }

    fn aside(&self, work: Work) {
        self.aside.add([work]);
    }
}

impl Drop for SlotThreads {
    fn drop(&mut self) {
        for queue in [&self.queue, &self.aside] {
            queue.state().closed = true;
            queue.changed.notify_all();
        }
    }
}

impl Queue {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn add(&self, works: impl IntoIterator<Item = Work>) {
        let mut state = self.state();
        state.waiting.extend(works);
        if !state.waiting.is_empty() {
            self.wake_one(&mut state);
        }
    }

    fn wake_one(&self, state: &mut State) {
        if state.idle > 0 && !state.waking {
            state.waking = true;
            self.changed.notify_one();
        }
    }

    /// The next work; `None` when no more will come.
    fn next(&self) -> Option<Work> {
        let mut state = self.state();
        loop {
            if let Some(work) = state.waiting.pop_front() {
                if !state.waiting.is_empty() {
                    self.wake_one(&mut state);
                }
                return Some(work);
            }
            if state.closed {
                return None;
            }
            state.idle += 1;
            state = self.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
            state.idle -= 1;
            state.waking = false;
        }
    }
}

fn serve(queue: &Queue) {
    while let Some(work) = queue.next() {
        work();
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;
    use std::sync::Barrier;
    use std::sync::mpsc::{RecvTimeoutError, Sender, channel};
    use std::time::Duration;

    use super::*;

    #[test]
    fn no_work_is_forgotten_in_bursts() {
        let slots = SlotThreads::start(4).unwrap();
        let (done, results) = channel();
        for burst in 0..200_usize {
            for _ in 0..=burst % 9 {
                let done = done.clone();
                slots.perform([Box::new(move || done.send(()).unwrap()) as Work]);
            }
            (0..=burst % 9).for_each(|_| results.recv().unwrap());
        }
    }

    #[test]
    fn what_is_no_attempt_is_done_while_all_slots_are_taken() {
        let slots = SlotThreads::start(1).unwrap();
        let (hold, held) = channel::<()>();
        slots.perform([Box::new(move || held.recv().unwrap_or_default()) as Work]);
        let (done, results) = channel();
        slots.aside(Box::new(move || done.send(()).unwrap()));
        assert_eq!(results.recv_timeout(Duration::from_secs(20)), Ok(()));
        drop(hold);
    }

    #[test]
    fn as_many_works_as_slots_run_at_the_same_time() {
        let slots = SlotThreads::start(3).unwrap();
        let (done, results) = channel();
        let together = Arc::new(Barrier::new(3));
        for number in 0..6 {
            let (done, together) = (done.clone(), Arc::clone(&together));
            slots.perform([Box::new(move || {
                together.wait();
                done.send(number).unwrap();
            }) as Work]);
        }
        drop(done);
        let mut finished: Vec<i32> = results.iter().collect();
        finished.sort_unstable();
        assert_eq!(finished, [0, 1, 2, 3, 4, 5]);
    }

    #[test]
    fn threads_without_work_end_with_their_slots() {
        thread_local!(static KEPT: Cell<Option<Sender<()>>> = const { Cell::new(None) });
        let slots = SlotThreads::start(2).unwrap();
        let (kept, ended) = channel();
        let together = Arc::new(Barrier::new(2));
        for _ in 0..2 {
            let (kept, together) = (kept.clone(), Arc::clone(&together));
            slots.perform([Box::new(move || {
                together.wait();
                KEPT.set(Some(kept)); // dropped as the thread ends
            }) as Work]);
        }
        drop((kept, slots));
        assert_eq!(ended.recv_timeout(Duration::from_secs(20)), Err(RecvTimeoutError::Disconnected));
    }
}
