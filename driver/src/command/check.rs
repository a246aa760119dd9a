//! `broadsweep check`: what a study would take, from its shapes and from a moment of a few trials.

use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;

use broadsweep_common::configuration::Value;
use broadsweep_common::dataset::{Dataset, Element, Header, Part, TargetKind};
use broadsweep_executor::machine;
use broadsweep_nn::Kernel;
use broadsweep_search::PrunerKind;
use clap::Args;

use super::Failure;
use super::estimate::SearchEstimate;
use super::load::{Job, StudyFlags, load};
use super::program::describe_program;
use super::say::print;
use crate::plan::TrialPlan;
use crate::results::show::{bytes_text, counted, value_text};
use crate::study::Trainer;
use crate::timing::MeasuredSpeed;
use broadsweep_data::destination::Destination;

#[derive(Args)]
#[command(
    after_help = "To tell the time, three trials of a network are tried on this machine for half a second each; no program is started. Nothing is written. Exit codes: 0 the study can be run, 2 it cannot, and why"
)]
pub(super) struct CheckArgs {
    /// The study file
    #[arg(value_name = "STUDY.toml")]
    study: PathBuf,

    #[command(flatten)]
    changes: StudyFlags,
}

pub(super) fn run(args: &CheckArgs) -> Result<ExitCode, Failure> {
    let mut job = load(&args.study, &args.changes, &Destination::Temporary)?;
    if let Some(to_apply) = &job.to_apply {
        print(to_apply.description())?;
        return Ok(ExitCode::SUCCESS);
    }
    let searched = describe_search(&job)?;
    print(describe(&job, searched.as_ref()))?;
    let estimate = SearchEstimate::of(&job);
    if let Some(searched) = searched {
        job.trials = searched.examples;
    }
    let takes = match &job.study.trainer {
        Trainer::Network { .. } => describe_trainings(&job, estimate.as_ref())?,
        Trainer::Replay(_) | Trainer::Model(_) => describe_waits(&job, estimate.as_ref()),
        Trainer::Program(program) => {
            let costs = costs(&job, estimate.as_ref(), |trial| trial.flops as f64 / 1e6);
            describe_program(&job.study, &job.trials, program, &costs)
        }
    };
    print(takes)?;
    Ok(ExitCode::SUCCESS)
}

/// A search that sees results: what its trials may be, and how many it starts.
struct Searched {
    /// As many as it starts at most, at least as random configurations go.
    examples: Vec<TrialPlan>,
    trials: u64,
    /// How it is asked.
    order: String,
}

/// Of a search that sees results, what nobody can know before is told by random configurations of its space.
fn describe_search(job: &Job) -> Result<Option<Searched>, Failure> {
    let Some(record) = job.study.search_record() else { return Ok(None) };
    let (drawn, _) = job.planner().examples().map_err(Failure::wrong_use)?;
    let trials = job.study.trials_max();
    let wanted = usize::try_from(trials).unwrap_or(usize::MAX);
    let examples = drawn.iter().cycle().take(if drawn.is_empty() { 0 } else { wanted }).cloned().collect();
    let pruner = if job.study.search.pruner == PrunerKind::None {
        String::new()
    } else {
        format!(", {} stops the worse of them early", record.pruner.word())
    };
    let order = if record.is_asynchronous {
        "as results come: another run may decide otherwise".to_owned()
    } else if !record.is_deterministic {
        "in order, though the program may tell other numbers another time".to_owned()
    } else {
        "the same on any cluster".to_owned()
    };
    let stop = if record.may_stop { ", and `stop` may end it before" } else { "" };
    let order = format!("about {} at a time{pruner}{stop}; decided {order}", record.parallel);
    Ok(Some(Searched { examples, trials, order }))
}

/// What the study is, in a few lines.
fn describe(job: &Job, searched: Option<&Searched>) -> String {
    let trials = searched.map_or(job.trials.len() as u64, |searched| searched.trials);
    let search = &job.study.search;
    let sampler = search.why_chosen.as_deref().unwrap_or(search.sampler.word());
    let order = searched.map(|searched| format!("\n  search       {}", searched.order)).unwrap_or_default();
    let control = match &job.study.control {
        Some(control) => format!("\n  control      {control}"),
        None => String::new(),
    };
    let admitted = match job.study.admitted_share() {
        Some(share) => format!("\n  constraints  admit about {:.0} % of the space", (share * 100.0).max(1.0)),
        None => String::new(),
    };
    let mut data = match &job.study.data {
        Some(_) if keeps_test_rows_back(job) => {
            format!("{}; no trial is given the test rows", describe_data(&job.header))
        }
        Some(_) => describe_data(&job.header),
        None => "none".to_owned(),
    };
    if job.files > 0 {
        let (files, bytes) = (counted(job.files as u64, "file"), bytes_text(job.header.files_bytes));
        let files = format!("{files}, {bytes} as an archive");
        data = if job.study.data.is_none() { files } else { format!("{data}; {files}") };
    }
    format!(
        "{name}: {count} ({sampler})\n\
         \x20 data         {data}\n\
         \x20 broadcast    {broadcast} to each node, once{control}{order}{admitted}\n",
        name = job.study.name,
        count = counted(trials, "trial"),
        broadcast = bytes_text(job.data.manifest.bytes()),
    )
}

/// Whether there are test rows that a program does not get to see.
fn keeps_test_rows_back(job: &Job) -> bool {
    let is_program = matches!(job.study.trainer, Trainer::Program(_));
    is_program && job.header.rows(Part::Test) > 0 && !job.study.watches_test()
}

/// Trains a little, to tell the time.
fn describe_trainings(job: &Job, estimate: Option<&SearchEstimate>) -> Result<String, Failure> {
    let trials = &job.trials;
    let data = Dataset::open(Arc::new(job.data.content.clone())).map_err(Failure::wrong_use)?;
    let kernel = Kernel::detect().into_iter().next().unwrap_or(Kernel::PORTABLE);
    // Others may need the rest.
    let memory_bytes = machine::memory_bytes() / 4;
    let time = match MeasuredSpeed::measure(&job.description, trials, &data, kernel, memory_bytes) {
        Ok(speed) => {
            let costs = costs(job, estimate, |trial| speed.seconds(trial));
            let rates = speed.rates().map(gflops_text);
            let rates = if rates[0] == rates[1] { rates[0].clone() } else { rates.join(" to ") };
            format!(
                "about {all} on one slot, {on_13} on 13, by the {rates} GFLOP/s that {kernel} reaches here{order}",
                all = seconds_text(costs.all),
                on_13 = seconds_text(costs.on_13),
                order = costs.order,
            )
        }
        Err(reason) => format!("unknown: {reason}"),
    };
    Ok(format!(
        "\x20 parameters   {parameters} a trial\n\
         \x20 work         {work} a trial, {total} in all\n\
         \x20 memory       {memory} a slot, beside the data\n\
         \x20 time         {time}\n",
        parameters = range(trials, |trial| trial.parameters, grouped),
        work = range(trials, |trial| trial.flops, |flops| flops_text(flops as f64)),
        total = flops_text(costs(job, estimate, |trial| trial.flops as f64).all),
        memory = range(trials, |trial| trial.memory_bytes, bytes_text),
    ))
}

fn describe_waits(job: &Job, estimate: Option<&SearchEstimate>) -> String {
    let costs = costs(job, estimate, |trial| trial.wait_us as f64);
    let seconds = |microseconds: f64| format!("{} s", value_text(&Value::Real(microseconds / 1e6)));
    format!(
        "\x20 waits        {waits} a trial, {total} in all; nothing is trained\n\
         \x20 time         {total} on one slot, {at_best}{on_13} on 13{order}\n",
        waits = range(&job.trials, |trial| trial.wait_us, |microseconds| seconds(microseconds as f64)),
        total = seconds(costs.all),
        at_best = if costs.order.is_empty() { "at best " } else { "" },
        on_13 = seconds(costs.on_13),
        order = costs.order,
    )
}

/// What trials take together, in any unit.
pub(super) struct Costs {
    /// On one slot.
    pub(super) all: f64,
    /// On 13: the least that they can take, or of a search that sees results what the slots that it keeps busy take.
    pub(super) on_13: f64,
    /// What the order of such a search has to do with that, on lines of its own; empty of others.
    pub(super) order: String,
}

/// What the trials take, each of which takes `of`.
fn costs(job: &Job, estimate: Option<&SearchEstimate>, of: impl Fn(&TrialPlan) -> f64) -> Costs {
    let estimated = estimate.and_then(|estimate| estimate.costs(job, &of));
    estimated.unwrap_or_else(|| {
        let all: f64 = job.trials.iter().map(&of).sum();
        let longest = job.trials.iter().map(of).fold(0.0, f64::max);
        // An even share, or the longest trial.
        Costs { all, on_13: (all / 13.0).max(longest), order: String::new() }
    })
}

/// The least and the largest value of all trials, or the one that they share.
pub(super) fn range(trials: &[TrialPlan], of: impl Fn(&TrialPlan) -> u64, shown: impl Fn(u64) -> String) -> String {
    let values = || trials.iter().map(&of);
    let (min, max) = (values().min().unwrap_or(0), values().max().unwrap_or(0));
    if min == max { shown(max) } else { format!("{} to {}", shown(min), shown(max)) }
}

fn describe_data(header: &Header) -> String {
    let rows = |part| grouped(header.rows(part) as u64);
    let sides: Vec<_> = header.shape.iter().map(ToString::to_string).collect();
    let element = match header.element {
        Element::U8 => "bytes",
        Element::F32 => "numbers",
    };
    let targets = match header.targets {
        TargetKind::Classes { count } => format!("{count} classes"),
        TargetKind::Values { width } => counted(u64::from(width), "target value"),
    };
    format!(
        "{} training, {} validation, {} test rows of {} {element}; {targets}",
        rows(Part::Train),
        rows(Part::Validation),
        rows(Part::Test),
        sides.join("x"),
    )
}

/// `1663370` as `1,663,370`.
fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (place, digit) in digits.chars().enumerate() {
        if place > 0 && (digits.len() - place).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

fn flops_text(flops: f64) -> String {
    let (unit, size) = [("PFLOP", 1e15), ("TFLOP", 1e12), ("GFLOP", 1e9), ("MFLOP", 1e6)]
        .into_iter()
        .find(|(_, size)| flops >= *size)
        .unwrap_or(("FLOP", 1.0));
    format!("{:.3} {unit}", flops / size)
}

/// FLOPs a second, in GFLOP/s, without the unit.
fn gflops_text(rate: f64) -> String {
    let gflops = rate / 1e9;
    if gflops < 10.0 { format!("{gflops:.1}") } else { format!("{gflops:.0}") }
}

fn seconds_text(seconds: f64) -> String {
    match seconds {
        s if s < 1.0 => "a second".to_owned(),
        s if s < 120.0 => format!("{s:.0} s"),
        s if s < 7200.0 => format!("{:.0} min", s / 60.0),
        s => format!("{:.1} h", s / 3600.0),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_shown_as_people_read_them() {
        assert_eq!([0, 999, 1000, 1_663_370].map(grouped), ["0", "999", "1,000", "1,663,370"]);
        assert_eq!([5.0, 3.209e6, 7.2e13].map(flops_text), ["5.000 FLOP", "3.209 MFLOP", "72.000 TFLOP"]);
        assert_eq!([0.2, 90.0, 600.0, 9000.0].map(seconds_text), ["a second", "90 s", "10 min", "2.5 h"]);
    }
}
