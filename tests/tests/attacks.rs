//! Attacks while a study runs: it ends with the same bits, and what is attacked takes little memory. Each kind of attack
//! has its turn. `tests/outside/run attacks` does the same for longer, and says what each attack costs.

#![expect(clippy::print_stdout, reason = "how long a run took, and what each attack cost, is for whoever reads")]
#![expect(clippy::unwrap_used, reason = "a test fails by a panic, in its helping functions too")]

use std::path::{Path, PathBuf};
use std::sync::{Mutex, OnceLock, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use broadsweep_tests::attacks::{Attack, Attacker, HostileNode, OF_PEERS, OF_STRANGERS, taken};
use broadsweep_tests::lab::{Executor, Lab, tiny_with};
use broadsweep_tests::papers::Papers;
use broadsweep_tests::process::{Ended, Process};

const PROGRAM: &str = env!("CARGO_BIN_EXE_broadsweep-under-test");
/// Names another executor's program for the one on loopback: one from before, to see what attacks did to it.
const OTHER_EXECUTOR: &str = "BROADSWEEP_ATTACKED";
/// Seconds that all attacks together take, where it is longer than the usual.
const SECONDS: &str = "BROADSWEEP_ATTACK_SECONDS";
/// How long each attack has its turn.
const TURN: Duration = Duration::from_millis(400);
/// Memory of an attacked executor, or driver: what a small run takes, strangers at their most, and the unfinished
/// messages of one address.
const MEMORY_MAX: u64 = 400 << 20;

/// Runs, attacked or not, take a core each: one at a time.
static ALONE: Mutex<()> = Mutex::new(());

/// How long one run is to take, where that was said: three are attacked, and three are not.
fn run_seconds() -> Option<u64> {
    std::env::var(SECONDS).ok().map(|seconds| seconds.parse::<u64>().unwrap() / 6)
}

/// A study of a few seconds, or of as many as were asked for.
fn study(lab: &Lab) -> PathBuf {
    static EPOCHS: OnceLock<u64> = OnceLock::new();
    let with = |epochs: u64| {
        let changes = [("epochs = 12", format!("epochs = {epochs}")), ("[16, 32, 64]", "[32]".to_owned())];
        let changes = changes.each_ref().map(|(from, to)| (*from, to.as_str()));
        lab.write(&format!("attacked-{epochs}.toml"), tiny_with(&changes))
    };
    let epochs = EPOCHS.get_or_init(|| {
        let Some(seconds) = run_seconds() else { return 30 };
        let began = Instant::now();
        let _ = lab.tuned(&with(40), "calibration", &["--local", "1x1"]);
        (40.0 * seconds as f64 / began.elapsed().as_secs_f64()).max(40.0) as u64
    });
    with(*epochs)
}

/// A run that is over, and how long it took.
struct Run {
    digest: String,
    took: Duration,
    stderr: String,
}

fn finish(lab: &Lab, driver: Process, out: &str, began: Instant) -> Run {
    let Ended { code, stderr, .. } = driver.wait();
    assert_eq!(code, Some(0), "{out}: {stderr}");
    assert!(!stderr.contains("panicked"), "{out}: {stderr}");
    Run { digest: lab.outcome(out).digest().to_owned(), took: began.elapsed(), stderr }
}

/// What the study gives where nobody attacks, with as many processes as the attacked one.
fn quiet(lab: &Lab, executor: &Executor, flags: &[&str]) -> Run {
    let began = Instant::now();
    let driver = lab.tune(&study(lab), "quiet", &[&["--nodes", &executor.address], flags].concat());
    finish(lab, driver, "quiet", began)
}

/// Attacks in turn until the run is over, and each at least once.
fn in_turn(executor: &Executor, attacks: &[(Attack, Option<&Path>)], driver: &Process) {
    let turn = run_seconds().map_or(TURN, |seconds| Duration::from_secs(seconds) / attacks.len() as u32);
    for (number, (attack, identity)) in attacks.iter().cycle().enumerate() {
        if number >= attacks.len() && (taken(driver.id()).is_none() || is_over(driver)) {
            break;
        }
        let before = taken(executor.process.id()).unwrap();
        let (began, attacker) = (Instant::now(), Attacker::start(*attack, &executor.address, *identity));
        thread::sleep(turn);
        let after = taken(executor.process.id()).unwrap();
        let cores = after.cpu.saturating_sub(before.cpu).as_secs_f64() / began.elapsed().as_secs_f64();
        println!(
            "{attack:?}{}: {} rounds, the executor took {cores:.2} cores and had at most {} MiB so far",
            identity.map_or("", |_| " with an identity"),
            attacker.rounds(),
            after.memory_peak >> 20
        );
    }
}

fn is_over(driver: &Process) -> bool {
    !broadsweep_tests::process::is_running(driver.id())
}

/// One executor that trains: a run where nobody attacks, one with all attacks, and a last one.
fn assert_unimpressed(lab: &Lab, executor: &Executor, flags: &[&str], attacks: &[(Attack, Option<&Path>)]) {
    let undisturbed = quiet(lab, executor, flags);
    let nodes = [&["--nodes", &executor.address][..], flags].concat();
    let began = Instant::now();
    let driver = lab.tune(&study(lab), "attacked", &nodes);
    executor.process.until_lines("held run=", 2);
    in_turn(executor, attacks, &driver);
    let attacked = finish(lab, driver, "attacked", began);
    assert_eq!(attacked.digest, undisturbed.digest, "{}", attacked.stderr);
    report("an executor", &undisturbed, &attacked);
    // Another study finds it as it was.
    let after = lab.tuned(&lab.short(), "after", &nodes);
    assert_eq!(after.number("/trials/finished"), after.number("/trials/planned"));
    let peak = executor.process.memory_peak_bytes();
    assert!(peak < MEMORY_MAX, "the executor took {peak} bytes");
}

fn report(what: &str, quiet: &Run, attacked: &Run) {
    let ratio = attacked.took.as_secs_f64() / quiet.took.as_secs_f64();
    println!("{what}: {:.1?} quiet, {:.1?} attacked, {ratio:.3} times", quiet.took, attacked.took);
}

#[test]
fn an_executor_on_loopback_that_is_attacked_trains_on_to_the_same_bits() {
    let _alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
    let lab = Lab::new(PROGRAM);
    let program = std::env::var(OTHER_EXECUTOR).unwrap_or(PROGRAM.to_owned());
    let executor = lab.executor_on(&program, 0, "cache", 1);
    let attacks: Vec<_> = OF_STRANGERS.iter().chain(&OF_PEERS).map(|attack| (*attack, None)).collect();
    assert_unimpressed(&lab, &executor, &[], &attacks);
}

#[test]
fn a_closed_executor_trains_on_whether_strangers_attack_or_a_node_that_was_taken_over() {
    let _alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
    let lab = Lab::new(PROGRAM);
    let papers = Papers::make(&lab.path(""));
    let executor = lab.executor_with("cache", 1, &["--identity", papers.good.to_str().unwrap()]);
    let strangers = OF_STRANGERS.iter().map(|attack| (*attack, None));
    let peers = OF_PEERS.iter().map(|attack| (*attack, Some(papers.other.as_path())));
    let attacks: Vec<_> = strangers.chain(peers).collect();
    assert_unimpressed(&lab, &executor, &["--identity", papers.driver.to_str().unwrap()], &attacks);
    let said = executor.process.cut_off();
    let named = "executor other at 127.0.1.";
    assert!([&said.stdout, &said.stderr].iter().any(|text| text.contains(named)), "{}", said.stderr);
}

/// A driver whose node list is full of nodes that attack it, with these identities of its own and theirs, if any.
fn assert_it_goes_on_with_the_good_one(lab: &Lab, executor: &Executor, flags: &[&str], theirs: Option<&Path>) {
    let undisturbed = quiet(lab, executor, flags);
    let hostile = HostileNode::start_all(theirs);
    let addresses = hostile.iter().map(|node| node.address.as_str()).chain([executor.address.as_str()]);
    let addresses = addresses.collect::<Vec<_>>().join(",");
    let began = Instant::now();
    let driver = lab.tune(&study(lab), "attacked", &[&["--nodes", &addresses], flags].concat());
    let mut peak = 0;
    while !is_over(&driver) {
        peak = taken(driver.id()).map_or(peak, |taken| taken.memory_peak);
        thread::sleep(TURN / 8);
    }
    let attacked = finish(lab, driver, "attacked", began);
    assert_eq!(attacked.digest, undisturbed.digest, "{}", attacked.stderr);
    assert!(peak < MEMORY_MAX, "the driver took {peak} bytes");
    // Those that keep it waiting are told of after ten seconds, when the study may be over.
    let is_told = |node: &&HostileNode| attacked.stderr.lines().any(|line| line.contains(&node.address));
    let told = hostile.iter().filter(is_told).count();
    assert!(2 * told > hostile.len(), "of {} hostile nodes, {told} were told of: {}", hostile.len(), attacked.stderr);
    assert!(attacked.stderr.contains("it floods: more than"), "{}", attacked.stderr);
    println!("the driver had at most {} MiB", peak >> 20);
    report("a driver", &undisturbed, &attacked);
}

#[test]
fn a_driver_that_dials_nodes_which_attack_it_goes_on_with_the_good_one() {
    let _alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
    let lab = Lab::new(PROGRAM);
    let executor = lab.executor("cache", 1);
    assert_it_goes_on_with_the_good_one(&lab, &executor, &[], None);
}

#[test]
fn a_driver_whose_nodes_were_taken_over_goes_on_with_the_good_one() {
    let _alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
    let lab = Lab::new(PROGRAM);
    let papers = Papers::make(&lab.path(""));
    let executor = lab.executor_with("cache", 1, &["--identity", papers.good.to_str().unwrap()]);
    let flags = ["--identity", papers.driver.to_str().unwrap()];
    assert_it_goes_on_with_the_good_one(&lab, &executor, &flags, Some(&papers.other));
}
