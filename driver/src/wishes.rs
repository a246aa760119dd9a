//! What people ask of a run that a driver drives, or will drive: to begin nothing more, or more trials than the study has.
//!
//! A wish is a file in the folder `wishes/` of the run, which is whole before it has its name. The driver looks for them a few
//! times a second, writes down in its journal what follows, and removes the file only then. A wish that is found again,
//! since its driver was killed in between, has the same number, and is granted once.

use std::collections::BTreeSet;
use std::num::NonZeroU32;
use std::path::PathBuf;
use std::time::{Duration, SystemTime};

use tokio::sync::mpsc;
use tokio::time::interval;

use crate::journal::{FolderStorage, Storage, StorageError};

/// The folder of wishes, in that of the run.
const WISHES: &str = "wishes";
/// How often the driver looks for new ones.
const POLL: Duration = Duration::from_millis(250);
/// What a file may have: no wish has more.
const BYTES_MAX: u64 = 64;
/// Files that are looked at: nobody has so many wishes.
const FILES_MAX: usize = 1000;

/// What somebody asks of a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wish {
    /// Nothing more is begun; what is under way is trained to its end.
    Stop,
    /// So many trials more than the study has, or more than were begun where its search has ended before.
    Extend(NonZeroU32),
}

/// A wish, and the number by which it is known when it is found again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Wished {
    /// Later ones have higher numbers.
    pub number: u64,
    /// What is asked.
    pub wish: Wish,
}

impl Wished {
    /// A wish of now.
    #[must_use]
    pub fn now(wish: Wish) -> Self {
        let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        // Two of the same moment, from two machines, are told apart by whose process it is.
        let own = u64::from(std::process::id()) & 0xfff;
        Self { number: (since.as_micros() as u64) << 12 | own, wish }
    }

    /// Its file, in the run's folder.
    #[must_use]
    pub fn name(&self) -> String {
        format!("{WISHES}/{:016x}", self.number)
    }

    /// Leaves it in the folder of a run.
    ///
    /// # Errors
    /// [`StorageError`]; then nothing is left there.
    pub fn leave_in(&self, run: &dyn Storage) -> Result<(), StorageError> {
        run.write(&self.name(), format!("{}\n", self.wish.text()).as_bytes())
    }

    /// Whether it is still there: no driver has granted it.
    ///
    /// # Errors
    /// [`StorageError`].
    pub fn is_in(&self, run: &dyn Storage) -> Result<bool, StorageError> {
        Ok(run.read(&self.name(), BYTES_MAX)?.is_some())
    }
}

impl Wish {
    fn text(self) -> String {
        match self {
            Self::Stop => "stop".to_owned(),
            Self::Extend(trials) => format!("extend {trials}"),
        }
    }

    fn read(text: &str) -> Option<Self> {
        match text.split_whitespace().collect::<Vec<_>>()[..] {
            ["stop"] => Some(Self::Stop),
            ["extend", trials] => trials.parse().ok().map(Self::Extend),
            _ => None,
        }
    }
}

/// The wishes that wait in the folder of a run, the oldest first. What is none is left alone.
#[must_use]
pub fn read(run: &dyn Storage) -> Vec<Wished> {
    let names = run.list(WISHES).unwrap_or_default(); // sorted, and so are their numbers
    names.iter().take(FILES_MAX).filter_map(|name| read_file(run, name)).collect()
}

fn read_file(run: &dyn Storage, name: &str) -> Option<Wished> {
    let number = u64::from_str_radix(name, 16).ok().filter(|_| name.len() == 16)?;
    let bytes = run.read(&format!("{WISHES}/{name}"), BYTES_MAX).ok()??;
    Some(Wished { number, wish: Wish::read(str::from_utf8(&bytes).ok()?)? })
}

/// Tells of the wishes that are `waiting`, and then of each that is left in the folder of the run, once. To be called in a
/// runtime.
#[must_use]
pub fn told(run: PathBuf, waiting: Vec<Wished>) -> mpsc::Receiver<Wished> {
    let (teller, told) = mpsc::channel(waiting.len() + 1);
    let known = waiting.iter().map(|wished| wished.number).collect();
    for wished in waiting {
        let _ = teller.try_send(wished); // there is room
    }
    tokio::spawn(watch(run, known, teller));
    told
}

async fn watch(run: PathBuf, mut known: BTreeSet<u64>, told: mpsc::Sender<Wished>) {
    let storage = FolderStorage::for_reading(run);
    let mut looks = interval(POLL);
    loop {
        tokio::select! {
            _ = looks.tick() => {}
            () = told.closed() => return,
        }
        for wished in read(&storage) {
            if known.insert(wished.number) && told.send(wished).await.is_err() {
                return; // the run is over
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::journal::MemoryStorage;

    fn extend(trials: u32) -> Wish {
        Wish::Extend(NonZeroU32::new(trials).unwrap())
    }

    #[test]
    fn wishes_are_found_in_their_order_until_they_are_granted() {
        let run = MemoryStorage::new();
        assert_eq!(read(&run), []);
        let wishes = [(7, extend(50)), (9, Wish::Stop), (u64::MAX, extend(u32::MAX))];
        let wishes = wishes.map(|(number, wish)| Wished { number, wish });
        for wished in wishes.iter().rev() {
            wished.leave_in(&run).unwrap();
        }
        assert_eq!(read(&run), wishes);
        run.remove(&wishes[1].name()).unwrap();
        assert_eq!(read(&run), [wishes[0], wishes[2]]);
        assert_eq!(wishes.map(|wished| wished.is_in(&run).unwrap()), [true, false, true]);
    }

    #[test]
    fn a_file_that_is_no_wish_is_none() {
        let run = MemoryStorage::new();
        let one = Wished { number: 1, wish: Wish::Stop };
        one.leave_in(&run).unwrap();
        let rows: [(&str, &[u8]); 7] = [
            ("0000000000000002", b"extend 0"),
            ("0000000000000003", b"extend -1"),
            ("0000000000000004", b"stop it"),
            ("0000000000000005", &[0xff; 4]),
            ("0000000000000006", &[b' '; 65]),
            ("7", b"stop"),
            ("000000000000000g", b"stop"),
        ];
        for (name, bytes) in rows {
            run.write(&format!("{WISHES}/{name}"), bytes).unwrap();
        }
        assert_eq!(read(&run), [one]);
    }

    #[test]
    fn a_later_wish_has_a_higher_number() {
        let first = Wished::now(Wish::Stop);
        std::thread::sleep(Duration::from_millis(1));
        assert!(Wished::now(Wish::Stop).number > first.number);
    }
}
