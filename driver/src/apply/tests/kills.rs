//! A commit that ends after each of its steps, as a killed driver's does, and is done again. After every step readers see
//! what was there before or what is there afterwards, and nothing in between.

use std::io;

use super::super::moves::Moves;
use super::*;

/// What a commit meets.
#[derive(Clone, Copy, Debug)]
struct Case {
    onto: Onto,
    /// Whether there is an output of an earlier run; else an empty folder, or none.
    has_former: bool,
    has_empty: bool,
    moves: Moves,
    /// Whether a run that goes on puts its files again.
    puts_again: bool,
}

impl Case {
    fn home(self) -> Home {
        let home = if self.has_former { Home::with_output() } else { Home::new() };
        if self.has_empty {
            fs::create_dir(home.output()).unwrap();
        }
        home
    }

    fn claim(self, home: &Home) -> Claim {
        let mut claim = home.claim(self.onto, "second").unwrap();
        claim.moves = self.moves;
        claim
    }

    /// What readers see after the commit.
    fn after(self) -> Seen {
        let is_added = self.has_former && self.onto == Onto::Append;
        if is_added { bytes_of(&[FIRST, SECOND]) } else { bytes_of(&[SECOND]) }
    }

    /// Whether there is a moment without an output, for want of a file system that can exchange folders.
    fn has_gap(self) -> bool {
        self.has_former && self.onto == Onto::Overwrite && matches!(self.moves, Moves::Plain)
    }
}

fn cases() -> Vec<Case> {
    let mut cases = Vec::new();
    for onto in [Onto::New, Onto::Overwrite, Onto::Append] {
        for (has_former, has_empty) in [(false, false), (false, true), (true, false)] {
            for moves in [Moves::Flags, Moves::Plain] {
                for puts_again in [false, true] {
                    cases.push(Case { onto, has_former, has_empty, moves, puts_again });
                }
            }
        }
    }
    cases.retain(|case| !(case.has_former && case.onto == Onto::New));
    cases
}

/// What attempts leave that lost, or were killed.
fn leave_remains(claim: &Claim) {
    fs::write(claim.folder().join("rows-0.second-attempt.csv"), "lost").unwrap();
    fs::write(claim.folder().join(".rows-1.csv.attempt-3"), "half").unwrap();
    fs::create_dir(claim.folder().join("nested")).unwrap();
    fs::write(claim.folder().join("nested").join("file"), "lost").unwrap();
}

/// Commits, and ends after so many steps. `None` if it came to its end before that.
fn commit_killed_after(case: Case, home: &Home, claim: &Claim, steps: usize) -> Option<()> {
    let (before, after) = (seen(&home.output()), case.after());
    let listed_before = names(&home.output());
    let (mut done, mut is_visible) = (0, false);
    let ended = claim.commit_in_steps(&manifest("second", SECOND), &mut || {
        let now = seen(&home.output());
        is_visible = check_seen(case, (before.as_ref(), &after), now.as_ref(), is_visible);
        if !is_visible && case.onto != Onto::Append && home.output().exists() {
            assert_eq!(names(&home.output()), listed_before, "{case:?}: something is there too early");
        }
        done += 1;
        let killed = || Err(OutputError::unwritten(&home.output())(io::Error::other("killed")));
        if done == steps { killed() } else { Ok(()) }
    });
    match ended {
        Ok(committed) => {
            assert_eq!(committed, Committed::Now);
            None
        }
        Err(error) => {
            assert!(error.to_string().contains("killed"), "{case:?}: {error}");
            Some(())
        }
    }
}

/// Whether the new rows are visible, all of them; otherwise the former ones are, and never again later.
fn check_seen(case: Case, (before, after): (Option<&Seen>, &Seen), now: Option<&Seen>, was_visible: bool) -> bool {
    let is_in_gap = now.is_none() && case.has_gap() && !was_visible;
    assert!(now == Some(after) || (!was_visible && now == before) || is_in_gap, "{case:?}: {now:?}");
    now == Some(after)
}

#[test]
fn a_commit_that_is_killed_after_any_step_and_done_again_gives_the_same_and_nothing_partial_is_visible() {
    for case in cases() {
        let undisturbed = case.home();
        put_and_commit(case, &undisturbed);
        let mut steps = 0;
        loop {
            steps += 1;
            let home = case.home();
            let before = seen(&home.output());
            let claim = case.claim(&home);
            put(&claim, SECOND);
            leave_remains(&claim);
            if commit_killed_after(case, &home, &claim, steps).is_none() {
                break;
            }
            drop(claim);
            let was_visible =
                check_seen(case, (before.as_ref(), &case.after()), seen(&home.output()).as_ref(), false);
            let again = case.claim(&home);
            assert_eq!(again.is_committed(), was_visible, "{case:?}, step {steps}");
            let expected = if was_visible { Some(case.after()) } else { before };
            assert_eq!(
                seen(&home.output()),
                expected,
                "{case:?}, step {steps}: a claim changes nothing that is visible"
            );
            if case.puts_again {
                put(&again, SECOND);
            }
            let committed = again.commit(&manifest("second", SECOND)).unwrap();
            assert_eq!(committed == Committed::Before, was_visible, "{case:?}, step {steps}");
            assert_eq!(home.tree(), undisturbed.tree(), "{case:?}, step {steps}");
        }
        let least = if case.has_former { 8 } else { 6 };
        assert!(steps >= least, "{case:?} has {steps} steps: too few to be all");
        assert_eq!(seen(&undisturbed.output()), Some(case.after()));
        assert_eq!(names(undisturbed.0.path()), ["out"], "nothing is left beside the output");
    }
}

fn put_and_commit(case: Case, home: &Home) {
    let claim = case.claim(home);
    put(&claim, SECOND);
    leave_remains(&claim);
    assert_eq!(claim.commit(&manifest("second", SECOND)).unwrap(), Committed::Now);
}

/// What a run leaves that was killed while it replaced an output without the help of the file system.
#[test]
fn another_run_is_told_where_the_former_output_is_that_a_killed_run_has_moved_away() {
    let home = Home::with_output();
    let claim = {
        let mut claim = home.claim(Onto::Overwrite, "second").unwrap();
        claim.moves = Moves::Plain;
        claim
    };
    put(&claim, SECOND);
    let (output, mut is_killed) = (home.output(), false);
    let killed = claim.commit_in_steps(&manifest("second", SECOND), &mut || {
        is_killed = is_killed || !output.exists();
        if is_killed { Err(OutputError::unwritten(&output)(io::Error::other("killed"))) } else { Ok(()) }
    });
    assert!(killed.is_err() && is_killed);
    let said = home.claim(Onto::New, "third").unwrap_err().to_string();
    let former = home.path(".out.broadsweep").join("former");
    assert!(said.contains("move back") && said.contains(former.to_str().unwrap()), "{said}");
    assert_eq!(seen(&former), Some(bytes_of(&[FIRST])));
    home.claim(Onto::Overwrite, "second").unwrap().release().unwrap();
    assert_eq!(home.tree(), Home::with_output().tree(), "the run gives the former output back");
}

/// By its listing too: whoever sees the folder sees all of it.
#[test]
fn a_reader_that_polls_sees_all_of_a_new_output_or_none_of_it() {
    for _ in 0..20 {
        let home = Home::new();
        let output = home.output();
        let reader = std::thread::spawn(move || {
            while !output.exists() {
                std::thread::yield_now();
            }
            (names(&output), seen(&output))
        });
        home.commit(Onto::New, "second", SECOND);
        let (listed, read) = reader.join().unwrap();
        assert_eq!(listed, [MANIFEST, "rows-0.csv", "rows-1.csv", "rows-2.csv"]);
        assert_eq!(read, Some(bytes_of(&[SECOND])));
    }
}
