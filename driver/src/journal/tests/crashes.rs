//! Any sequence of appends, commits, compactions, kills and crashes keeps what was committed.

use super::*;

#[derive(Clone, Debug)]
enum Step {
    Append(Event),
    Commit,
    Compact,
    /// The process is killed.
    Kill,
    /// The machine crashes.
    Crash(u64),
    /// The machine crashes within one of the next operations.
    CrashWithin(u64, u64),
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        6 => event().prop_map(Step::Append),
        4 => Just(Step::Commit),
        1 => Just(Step::Compact),
        1 => Just(Step::Kill),
        1 => any::<u64>().prop_map(Step::Crash),
        2 => (0_u64..8, any::<u64>()).prop_map(|(after, seed)| Step::CrashWithin(after, seed)),
    ]
}

/// A run that knows what it was promised.
struct Run {
    storage: Arc<MemoryStorage>,
    journal: Journal<Event>,
    /// What `commit` has answered for, and behind it what was appended since.
    told: Vec<Event>,
    committed: usize,
    /// The crash that is due once an operation fails.
    due: Option<u64>,
}

impl Run {
    fn new() -> Self {
        let storage = memory();
        let journal = journal_of(&storage, &[]);
        Self { storage, journal, told: Vec::new(), committed: 0, due: None }
    }

    fn take(&mut self, step: Step) {
        let done = match step {
            Step::Append(event) => {
                self.told.push(event.clone());
                self.journal.append(&event)
            }
            Step::Commit => self.journal.commit().map(|()| self.committed = self.told.len()),
            Step::Compact => {
                let all = self.told.clone();
                self.journal.compact(all.into_iter()).map(|()| self.committed = self.told.len())
            }
            Step::Kill => {
                self.storage.restart();
                self.due = None;
                return self.resume();
            }
            Step::Crash(seed) => return self.crash(seed),
            Step::CrashWithin(after, seed) => {
                self.storage.halt_after(after);
                self.due = Some(seed);
                Ok(())
            }
        };
        if let Err(error) = done {
            let seed = self.due.unwrap_or_else(|| panic!("nothing was planned to fail: {error}"));
            self.crash(seed);
        }
    }

    fn crash(&mut self, seed: u64) {
        self.storage.crash(seed);
        self.due = None;
        self.resume();
    }

    /// Opens the journal, at first with crashes while it is being opened.
    fn resume(&mut self) {
        for step in 0..2 {
            self.storage.halt_after(step);
            let seed = step + self.told.len() as u64;
            let _ = open(&self.storage);
            self.storage.crash(seed);
        }
        let (recovered, events) = open(&self.storage).unwrap();
        assert!(events.len() >= self.committed, "{} of {} records are there", events.len(), self.committed);
        assert_eq!(events, self.told[..events.len()]);
        self.committed = events.len();
        self.told = events;
        self.journal = recovered.journal;
    }
}

proptest! {
    #[test]
    fn what_was_committed_is_there_after_any_crash_and_nothing_that_was_not_appended(
        steps in prop::collection::vec(step(), 0..60),
    ) {
        let mut run = Run::new();
        for step in steps {
            run.take(step);
        }
        run.crash(1);
    }
}

#[test]
fn what_any_crash_leaves_of_a_journal_in_memory_is_what_was_synced() {
    let storage = memory();
    assert_eq!(storage.durable_journal(), None);
    let mut journal = journal_of(&storage, &[&[said("a")]]);
    let synced = storage.journal();
    storage.halt_after(1);
    assert!(commit(&mut journal, &[said("b")]).is_err());
    assert_eq!(storage.durable_journal(), synced);
    assert_ne!(storage.journal(), synced, "what was not synced is not there while the machine runs");
}

#[test]
fn a_commit_that_a_crash_tears_is_there_whole_or_not_at_all() {
    let before = [said("before")];
    let group: Vec<_> = (0..200).map(|number| said(&format!("record {number}"))).collect();
    let (mut lost, mut kept, mut torn) = (0, 0, 0);
    for seed in 0..300 {
        let storage = memory();
        let mut journal = journal_of(&storage, &[&before]);
        let bytes = journal.bytes();
        storage.halt_after(1);
        assert!(commit(&mut journal, &group).is_err());
        storage.crash(seed);
        let (recovered, events) = open(&storage).unwrap();
        let whole = events.len() == 1 + group.len();
        assert!(whole || events == before);
        match recovered.torn {
            Some(tail) => {
                assert_eq!((tail.offset, tail.records), (bytes, 1));
                assert!(tail.to_string().contains(&format!("{} bytes after its first 1 records", tail.bytes)));
                torn += 1;
            }
            None if whole => kept += 1,
            None => lost += 1,
        }
        assert_eq!(self::events(&storage), events);
    }
    assert!(lost > 20 && kept > 20 && torn > 20, "{lost} lost, {kept} kept, {torn} torn");
}
