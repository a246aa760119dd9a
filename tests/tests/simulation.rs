//! Whole runs over a simulated network and in simulated time, one seed a world.
//!
//! | command | does |
//! |---|---|
//! | `cargo test --workspace --test simulation` | the first 200 seeds |
//! | `BROADSWEEP_SEEDS=20000 cargo test --workspace --test simulation` | as many; `1000..2000` is a range |
//! | `BROADSWEEP_SEEDS_S=1800` before the latter, and `-- --nocapture` behind it | as many as half an hour allows, and says how far it is |
//! | `BROADSWEEP_SEED=7 cargo test --workspace --test simulation -- --nocapture` | one seed, with all that happens in it; `RUST_LOG=debug` adds what the processes log |

#![expect(clippy::unwrap_used, clippy::print_stdout, reason = "a test fails by a panic and talks to people")]

use std::collections::BTreeMap;
use std::env;
use std::ops::Range;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use broadsweep_tests::simulation::{Ending, Verdict, simulate, simulate_end};
use tracing_subscriber::EnvFilter;
use tracing_subscriber::filter::LevelFilter;

/// Seeds that every change is tested with.
const SEEDS: Range<u64> = 0..200;
/// Of the first ones, each is lived through twice.
const TWICE: u64 = 10;
/// Lines of a failed world that are shown.
const LINES_MAX: usize = 80;
/// Worlds between two lines that say how far a long run is.
const TOLD_EVERY: u64 = 250;

/// The seeds that the environment asks for.
fn seeds() -> Range<u64> {
    let Ok(asked) = env::var("BROADSWEEP_SEEDS") else { return SEEDS };
    match asked.split_once("..") {
        Some((first, end)) => first.parse().unwrap()..end.parse().unwrap(),
        None => 0..asked.parse().unwrap(),
    }
}

/// How long worlds may begin, where that was said.
fn patience() -> Option<Duration> {
    let seconds = env::var("BROADSWEEP_SEEDS_S").ok()?;
    Some(Duration::from_secs(seconds.parse().unwrap()))
}

/// Lives through many worlds, on as many threads as there are processors.
fn all(seeds: Range<u64>, check: impl Fn(Verdict) -> Option<String> + Sync) -> BTreeMap<u64, String> {
    lives(seeds, simulate, check)
}

/// Likewise, of worlds that are told apart by any number.
fn lives(
    seeds: Range<u64>,
    live: impl Fn(u64) -> Verdict + Sync,
    check: impl Fn(Verdict) -> Option<String> + Sync,
) -> BTreeMap<u64, String> {
    let (next, failed) = (AtomicU64::new(seeds.start), Mutex::new(BTreeMap::new()));
    let (began, patience) = (Instant::now(), patience());
    let threads = thread::available_parallelism().map_or(1, usize::from);
    thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                loop {
                    let seed = next.fetch_add(1, Ordering::Relaxed);
                    if seed >= seeds.end || patience.is_some_and(|patience| began.elapsed() > patience) {
                        return;
                    }
                    let begun = seed - seeds.start;
                    if begun > 0 && begun.is_multiple_of(TOLD_EVERY) {
                        let failed = failed.lock().unwrap().len();
                        println!("{begun} worlds begun, up to seed {seed}; {failed} failed");
                    }
                    let lived = thread::scope(|scope| scope.spawn(|| live(seed)).join());
                    let wrong = match lived {
                        Ok(verdict) => check(verdict),
                        Err(_) => Some("it panicked; the message stands above".to_owned()),
                    };
                    if let Some(wrong) = wrong {
                        failed.lock().unwrap().insert(seed, wrong);
                    }
                }
            });
        }
    });
    failed.into_inner().unwrap()
}

fn judge(verdict: &Verdict) -> Option<String> {
    if verdict.violations.is_empty() {
        return None;
    }
    let first = verdict.lines.len().saturating_sub(LINES_MAX);
    Some(format!("{}\n\n{}", verdict.violations.join("\n"), verdict.lines[first..].join("\n")))
}

fn complain(failed: &BTreeMap<u64, String>) {
    if let Some((seed, wrong)) = failed.first_key_value() {
        let seeds: Vec<_> = failed.keys().collect();
        panic!("seed {seed}: {wrong}\n\nseeds that failed: {seeds:?}; BROADSWEEP_SEED={seed} shows all of the first");
    }
}

#[test]
fn whatever_happens_every_trial_ends_once_with_its_own_numbers() {
    if let Ok(seed) = env::var("BROADSWEEP_SEED") {
        let filter = EnvFilter::builder().with_default_directive(LevelFilter::OFF.into()).from_env_lossy();
        tracing_subscriber::fmt().with_env_filter(filter).without_time().with_ansi(false).init();
        let verdict = simulate(seed.parse().unwrap());
        println!("{}\n{:?}", verdict.lines.join("\n"), verdict.trace);
        assert!(verdict.violations.is_empty(), "{}", verdict.violations.join("\n"));
        return;
    }
    let (began, seeds) = (Instant::now(), seeds());
    let (count, simulated_ms) = (AtomicU64::new(0), AtomicU64::new(0));
    let [moved, applied, measured] = [(); 3].map(|()| AtomicUsize::new(0));
    let failed = all(seeds, |verdict| {
        count.fetch_add(1, Ordering::Relaxed);
        moved.fetch_add(verdict.moved, Ordering::Relaxed);
        applied.fetch_add(verdict.applied, Ordering::Relaxed);
        measured.fetch_add(verdict.measured, Ordering::Relaxed);
        simulated_ms.fetch_add(verdict.simulated.as_millis() as u64, Ordering::Relaxed);
        judge(&verdict)
    });
    let wall_s = began.elapsed().as_secs_f64();
    let (count, simulated_s) = (count.into_inner(), simulated_ms.into_inner() as f64 / 1e3);
    println!("{count} worlds, {simulated_s:.0} s of their time, in {wall_s:.1} s; {} failed", failed.len());
    complain(&failed);
    let counts = [moved, applied, measured].map(AtomicUsize::into_inner);
    let [moved, applied, measured] = counts;
    println!(
        "{moved} trials were continued on another executor, {applied} partitions came out, the weights of {measured} were \
         measured"
    );
    assert!(count < SEEDS.end || counts.iter().all(|count| *count > 0), "nothing of that happened in {count} worlds");
}

#[test]
fn the_same_seed_gives_the_same_world() {
    let failed = all(0..TWICE, |verdict| {
        let again = simulate(verdict.seed);
        if verdict.trace == again.trace {
            return None;
        }
        let apart = verdict.lines.iter().zip(&again.lines).find(|(one, other)| one != other);
        Some(format!("two lives, and the first difference is {apart:#?}"))
    });
    complain(&failed);
}

#[test]
fn a_driver_that_ends_with_any_of_its_writes_is_resumed_and_nothing_is_lost() {
    let undisturbed = simulate_end(Ending::After, u64::MAX, None);
    assert_eq!(undisturbed.violations, [""; 0]);
    let writes = undisturbed.writes;
    for (ending, crashes) in [(Ending::Within, false), (Ending::Within, true), (Ending::After, false)] {
        let live = |write| simulate_end(ending, write, crashes.then_some(write));
        let resumed = AtomicU64::new(0);
        let failed = lives(0..writes, live, |verdict| {
            let is_resumed = verdict.lines.iter().any(|line| line.contains(" driver: driver 2: "));
            resumed.fetch_add(u64::from(is_resumed), Ordering::Relaxed);
            judge(&verdict)
        });
        // The last ones close the run, which is over by then; before the first ones nothing has begun.
        assert!(resumed.into_inner() + 10 > writes, "the driver did not end as it should");
        if let Some((write, wrong)) = failed.first_key_value() {
            panic!("{ending:?} write {write} of {writes}, crashes: {crashes}: {wrong}\n\nand {:?}", failed.keys());
        }
    }
    println!("the driver ended with each of its {writes} writes");
}
