//! The GPUs that an executor lends to programs, and which of its attempts sees which.

use std::fmt;
use std::str::FromStr;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// Bytes that a name may have: that of a MIG device has about fifty.
const NAME_BYTES_MAX: usize = 80;
/// How often whoever waits for a GPU asks whether it is still to have one.
const ASK_INTERVAL: Duration = Duration::from_millis(50);

/// A GPU as its vendor's libraries know it: by its number, or by its UUID, as `GPU-8e...` or `MIG-8e...`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GpuName(String);

impl FromStr for GpuName {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let is_number = text.parse::<u32>().is_ok_and(|number| number.to_string() == text);
        let is_known = ["GPU-", "MIG-"].iter().any(|kind| text.len() > kind.len() && text.starts_with(kind));
        let is_plain = text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-/".contains(&byte));
        if is_number || (is_known && is_plain && text.len() <= NAME_BYTES_MAX) {
            return Ok(Self(text.to_owned()));
        }
        Err("a GPU is named by its number, or by its UUID as `GPU-...` or `MIG-...`; write 0,1 for the first two"
            .to_owned())
    }
}

impl fmt::Display for GpuName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Who sees a GPU.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Use {
    /// So many attempts, none of which needs it for itself.
    Shared(u32),
    /// One attempt that needs it for itself.
    Own,
}

/// All GPUs of an executor. It outlives studies: what still runs of an earlier one keeps what it sees.
#[derive(Debug)]
pub(super) struct GpuPool {
    names: Vec<GpuName>,
    uses: Mutex<Vec<Use>>,
    freed: Condvar,
}

/// What an attempt sees until this is dropped.
#[derive(Debug)]
pub(super) struct Lent {
    pool: Arc<GpuPool>,
    places: Vec<usize>,
    /// Whether the executor decides at all what is seen.
    is_said: bool,
}

impl GpuPool {
    pub(super) fn new(names: Vec<GpuName>) -> Self {
        let uses = Mutex::new(vec![Use::Shared(0); names.len()]);
        Self { names, uses, freed: Condvar::new() }
    }

    /// How many there are.
    pub(super) fn len(&self) -> usize {
        self.names.len()
    }

    /// How many attempts run at the same time on an executor of so many slots if each needs so many GPUs for itself; why
    /// none can.
    pub(super) fn slots(&self, needed: Option<u32>, slots: u32) -> Result<u32, String> {
        let (Some(needed), has) = (needed.filter(|needed| *needed > 0), self.names.len() as u32) else {
            return Ok(slots);
        };
        match has / needed {
            0 if has == 0 => {
                Err(format!("each trial needs GPUs ({needed}), and it lends none; start it with --gpus"))
            }
            0 => Err(format!("each trial needs {needed} GPUs, and it lends {has}")),
            places => Ok(places.min(slots)),
        }
    }

    /// GPUs for one of `slots` attempts: as many as it needs for itself, or else its share of all. Waits until they are
    /// free while `is_wanted`; `None` if it no longer is.
    pub(super) fn lend(
        self: &Arc<Self>,
        needed: Option<u32>,
        slots: u32,
        is_wanted: impl Fn() -> bool,
    ) -> Option<Lent> {
        let share = (self.names.len() / slots.max(1) as usize).max(1).min(self.names.len());
        let count = needed.map_or(share, |needed| needed as usize);
        let is_said = needed.is_some() || !self.names.is_empty();
        let mut uses = self.uses();
        loop {
            if let Some(places) = chosen(&uses, count, needed.is_some()) {
                for &place in &places {
                    uses[place] = match uses[place] {
                        Use::Shared(users) if needed.is_none() => Use::Shared(users + 1),
                        Use::Shared(_) | Use::Own => Use::Own,
                    };
                }
                return Some(Lent { pool: Arc::clone(self), places, is_said });
            }
            if !is_wanted() {
                return None;
            }
            let waited = self.freed.wait_timeout(uses, ASK_INTERVAL);
            uses = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    fn uses(&self) -> MutexGuard<'_, Vec<Use>> {
        self.uses.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// So many GPUs that nobody sees, or else those that the fewest see; `None` if there are not as many.
fn chosen(uses: &[Use], count: usize, for_itself: bool) -> Option<Vec<usize>> {
    let users = |place: usize| match uses[place] {
        Use::Shared(users) if users == 0 || !for_itself => Some((users, place)),
        Use::Shared(_) | Use::Own => None,
    };
    let mut free: Vec<_> = (0..uses.len()).filter_map(users).collect();
    free.sort_unstable();
    let mut places: Vec<_> = free.get(..count)?.iter().map(|(_, place)| *place).collect();
    places.sort_unstable();
    Some(places)
}

impl Lent {
    /// What `CUDA_VISIBLE_DEVICES` says, empty for none; `None` if it stays what the executor's own environment says.
    pub(super) fn visible(&self) -> Option<String> {
        let names: Vec<_> = self.places.iter().map(|place| self.pool.names[*place].to_string()).collect();
        self.is_said.then(|| names.join(","))
    }
}

impl Drop for Lent {
    fn drop(&mut self) {
        let mut uses = self.pool.uses();
        for &place in &self.places {
            uses[place] = match uses[place] {
                Use::Shared(users) => Use::Shared(users.saturating_sub(1)),
                Use::Own => Use::Shared(0),
            };
        }
        self.pool.freed.notify_all();
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;
    use std::sync::mpsc::channel;
    use std::thread;

    use super::*;

    fn pool(names: &[&str]) -> Arc<GpuPool> {
        Arc::new(GpuPool::new(names.iter().map(|name| name.parse().unwrap()).collect()))
    }

    fn seen(lent: Option<&Lent>) -> Option<String> {
        lent.and_then(Lent::visible)
    }

    #[test]
    fn a_gpu_is_named_by_its_number_or_its_uuid() {
        for name in ["0", "15", "GPU-8e1c9a2d-11f0", "MIG-GPU-8e1c/1/0", "MIG-8e1c"] {
            assert_eq!(name.parse::<GpuName>().map(|parsed| parsed.to_string()), Ok(name.to_owned()));
        }
        for name in ["", " 0", "-1", "01", "+1", "gpu0", "GPU-", "GPU-1,2", "all", &format!("GPU-{:0100}", 1)] {
            let refused = name.parse::<GpuName>().unwrap_err();
            assert!(refused.contains("write 0,1"), "{name}: {refused}");
        }
    }

    #[test]
    fn slots_are_as_many_as_there_are_gpus_for() {
        let rows = [
            (2, None, 4, Ok(4)),
            (2, Some(0), 4, Ok(4)),
            (2, Some(1), 4, Ok(2)),
            (2, Some(2), 4, Ok(1)),
            (5, Some(2), 4, Ok(2)),
            (8, Some(1), 4, Ok(4)),
            (0, None, 4, Ok(4)),
            (0, Some(0), 4, Ok(4)),
            (0, Some(1), 4, Err("it lends none; start it with --gpus")),
            (2, Some(3), 4, Err("needs 3 GPUs, and it lends 2")),
        ];
        for (has, needed, slots, expected) in rows {
            let names: Vec<_> = (0..has).map(|number: u32| number.to_string()).collect();
            let pool = pool(&names.iter().map(String::as_str).collect::<Vec<_>>());
            match (pool.slots(needed, slots), expected) {
                (Ok(found), Ok(expected)) => assert_eq!(found, expected, "{has} GPUs, {needed:?} needed"),
                (Err(reason), Err(part)) => assert!(reason.contains(part), "{reason}"),
                (found, _) => panic!("{has} GPUs, {needed:?} needed: {found:?}"),
            }
        }
    }

    #[test]
    fn slots_share_gpus_evenly_and_few_slots_have_several() {
        let two = pool(&["0", "GPU-8e"]);
        let lent: Vec<_> = (0..4).map(|_| two.lend(None, 4, || true).unwrap()).collect();
        let seen_by = |lent: &[Lent]| lent.iter().map(|lent| seen(Some(lent)).unwrap()).collect::<Vec<_>>();
        assert_eq!(seen_by(&lent), ["0", "GPU-8e", "0", "GPU-8e"]);
        let mut lent = lent;
        lent.remove(2);
        lent.remove(0);
        lent.push(two.lend(None, 4, || true).unwrap());
        assert_eq!(seen_by(&lent), ["GPU-8e", "GPU-8e", "0"], "the one that is seen by nobody");
        let five = pool(&["0", "1", "2", "3", "4"]);
        let lent: Vec<_> = (0..2).map(|_| five.lend(None, 2, || true).unwrap()).collect();
        assert_eq!(seen_by(&lent), ["0,1", "2,3"]);
    }

    #[test]
    fn a_gpu_of_its_own_is_nobody_elses_until_it_is_given_back() {
        let pool = pool(&["0", "1"]);
        let first = pool.lend(Some(1), 2, || true).unwrap();
        let second = pool.lend(Some(1), 2, || true).unwrap();
        assert_eq!([seen(Some(&first)), seen(Some(&second))], [Some("0".to_owned()), Some("1".to_owned())]);
        let asked = Cell::new(0);
        let ask = || {
            asked.set(asked.get() + 1);
            asked.get() < 3
        };
        assert!(pool.lend(Some(1), 2, ask).is_none() && asked.get() == 3, "nobody waits who is told to stop");
        assert!(pool.lend(None, 4, || false).is_none(), "not even with others");
        thread::scope(|scope| {
            let (told, waiting) = channel();
            let pool = &pool;
            scope.spawn(move || {
                let lent = pool.lend(Some(2), 1, || told.send(None).is_ok()).unwrap();
                let _ = told.send(seen(Some(&lent)));
            });
            assert_eq!(waiting.recv().unwrap(), None, "it waits for both");
            drop(first);
            drop(second);
            assert_eq!(waiting.iter().flatten().next(), Some("0,1".to_owned()));
        });
        let shared = pool.lend(None, 4, || true).unwrap();
        assert_eq!(
            seen(pool.lend(Some(1), 2, || true).as_ref()),
            Some("1".to_owned()),
            "that one is seen by somebody"
        );
        drop(shared);
    }

    #[test]
    fn a_program_that_needs_none_sees_none_and_one_that_nobody_told_sees_what_there_is() {
        let (none, one) = (pool(&[]), pool(&["0"]));
        assert_eq!(seen(none.lend(None, 4, || true).as_ref()), None);
        assert_eq!(seen(none.lend(Some(0), 4, || true).as_ref()), Some(String::new()));
        assert_eq!(seen(one.lend(Some(0), 4, || true).as_ref()), Some(String::new()));
    }
}
