//! Training threads: as many as the executor has slots, each with one attempt at a time.

use std::io;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;

/// Something that a slot does from start to end.
pub type Work = Box<dyn FnOnce() + Send>;

/// Runs work beside the session. The seam at which a simulation puts its own: the rest of the executor starts no
/// thread.
pub trait SlotRunner: Send + Sync {
    /// Starts `work` on a free slot, or as soon as one is free.
    fn start(&self, work: Work);
}

/// One thread a slot.
pub struct SlotThreads {
    queue: Sender<Work>,
}

impl SlotThreads {
    /// Starts `slots` threads. They end when this is dropped and their work is done.
    ///
    /// # Errors
    /// If the system starts no more threads.
    pub fn start(slots: u32) -> io::Result<Self> {
        let (queue, work) = channel();
        let work = Arc::new(Mutex::new(work));
        for slot in 0..slots {
            let work = Arc::clone(&work);
            thread::Builder::new().name(format!("slot-{slot}")).spawn(move || serve(&work))?;
        }
        Ok(Self { queue })
    }
}

impl SlotRunner for SlotThreads {
    fn start(&self, work: Work) {
        // Fails only if every thread is gone, which no work can cause: it catches its own panics.
        if self.queue.send(work).is_err() {
            tracing::error!("no slot thread is left");
        }
    }
}

fn serve(queue: &Mutex<Receiver<Work>>) {
    loop {
        // The lock is held while waiting: the others wait for the lock instead of the queue, which is the same.
        let next = queue.lock().unwrap_or_else(PoisonError::into_inner).recv();
        match next {
            Ok(work) => work(),
            Err(_) => return,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Barrier;

    use super::*;

    #[test]
    fn as_many_works_as_slots_run_at_the_same_time() {
        let slots = SlotThreads::start(3).unwrap();
        let (done, results) = channel();
        let together = Arc::new(Barrier::new(3));
        for number in 0..6 {
            let (done, together) = (done.clone(), Arc::clone(&together));
            slots.start(Box::new(move || {
                together.wait();
                done.send(number).unwrap();
            }));
        }
        drop(done);
        let mut finished: Vec<i32> = results.iter().collect();
        finished.sort_unstable();
        assert_eq!(finished, [0, 1, 2, 3, 4, 5]);
    }
}
