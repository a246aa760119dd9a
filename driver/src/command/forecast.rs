//! `broadsweep forecast`: what a finished run would take on clusters of other sizes.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, ValueEnum};
use comfy_table::{Cell, CellAlignment, LineStyle, Table, TableStyle};
use serde_json::json;

use super::Failure;
use super::report::read_run;
use super::say::{print, print_json};
use super::sizes::Sizes;
use crate::forecast::{Basis, Cluster, DRIVER_US, Forecast, Schedule};
use crate::ledger::Line;
use crate::results::show::counted;
use broadsweep_scheduler::SLOTS_MAX;

const AFTER_HELP: &str = "\
The trials take what they took, and are placed by the very scheduler in simulated time; start, broadcast and what an \
attempt takes beside its work are those of the run; a search that saw results decides at the moments at which it decided, \
and slots wait where it waits; beyond the run's executors, the broadcast grows by a block each time that \
their number doubles, and the driver is no faster than it is. Speedups compare with the forecast for one executor.

Exit codes: 0 done, 1 failed: the run cannot be read, 2 wrong use: no such run, or one that is not over";

#[derive(Args)]
#[command(after_help = AFTER_HELP)]
pub(super) struct ForecastArgs {
    /// The folder of the run
    #[arg(value_name = "RUN")]
    run: PathBuf,

    /// Executors of the clusters
    #[arg(long, value_name = "N,N,..", default_value = "1,2,13,100,1000")]
    sizes: Sizes,

    /// Slots of each executor [default: as many as those of the run had]
    #[arg(long, value_name = "S", value_parser = clap::value_parser!(u32).range(1..=i64::from(SLOTS_MAX)))]
    slots: Option<u32>,

    /// How trials come to slots
    #[arg(long, value_enum, default_value_t = HowPlaced::Queue)]
    schedule: HowPlaced,

    /// Print one JSON document instead of a table
    #[arg(long)]
    json: bool,
}

#[derive(Clone, Copy, ValueEnum)]
enum HowPlaced {
    /// One queue, longest first, as runs do it
    Queue,
    /// Cut beforehand into contiguous pieces, as the program of January 2016 did it
    Chunked,
}

pub(super) fn run(args: &ForecastArgs) -> Result<ExitCode, Failure> {
    let record = read_run(&args.run)?;
    let basis = Basis::of(&record).map_err(Failure::wrong_use)?;
    let slots = args.slots.unwrap_or(basis.slots());
    let schedule = match args.schedule {
        HowPlaced::Queue => Schedule::Queue,
        HowPlaced::Chunked => Schedule::Chunked,
    };
    let clusters: Vec<_> = args.sizes.0.iter().map(|&executors| Cluster { executors, slots }).collect();
    let forecasts = basis.forecasts(&clusters, schedule);
    let enough = basis.enough(slots, schedule);
    if args.json {
        let rows: Vec<_> = forecasts.iter().map(forecast_json).collect();
        let document = json!({
            "study": record.study,
            "trials": basis.trials(),
            "partitions": basis.partitions(),
            "work_s": seconds(basis.work_us()),
            "schedule": match schedule { Schedule::Queue => "queue", Schedule::Chunked => "chunked" },
            "slots_per_executor": slots,
            "executors_measured": basis.executors(),
            "executors_enough": enough,
            "forecasts": rows,
        });
        print_json(format!("{document:#}\n"))?;
    } else {
        let largest = args.sizes.0.iter().copied().max().unwrap_or_default();
        let beyond = beyond_measured(basis.executors(), largest) + order_remark(&basis, schedule);
        let has_order = basis.is_searched() && schedule == Schedule::Queue;
        print(format!("{}\n{}\n{beyond}", table(&forecasts, has_order), sentence(&basis, slots, enough)))?;
    }
    Ok(ExitCode::SUCCESS)
}

fn forecast_json(forecast: &Forecast) -> serde_json::Value {
    json!({
        "executors": forecast.cluster.executors,
        "wall_s": seconds(forecast.wall_us),
        "speedup": forecast.speedup,
        "efficiency": forecast.efficiency,
        "utilisation": forecast.utilisation,
        "order_s": seconds(forecast.order_us),
    })
}

/// A row a size; where a search decided in an order, with the share of the slots' time that waits for it.
fn table(forecasts: &[Forecast], has_order: bool) -> String {
    let right = |content: &String| Cell::new(content).set_alignment(CellAlignment::Right);
    let order = has_order.then_some(Line::Order.name());
    let names = ["executors", "wall", "speedup", "efficiency", "utilisation"].into_iter().chain(order);
    let mut table = Table::new();
    table.load_style(TableStyle::new().header_separator(LineStyle::none().fill('─').junction('─')));
    table.set_header(names.map(|name| right(&name.to_owned())));
    for forecast in forecasts {
        let Forecast { cluster, wall_us, speedup, efficiency, utilisation, order_us } = *forecast;
        let slots_us = wall_us as f64 * cluster.all_slots() as f64;
        let percent = |share: f64| format!("{:.1} %", share * 100.0);
        let cells = [
            cluster.executors.to_string(),
            format!("{:.2} s", seconds(wall_us)),
            format!("{speedup:.2}"),
            percent(efficiency),
            percent(utilisation),
            percent(order_us as f64 / slots_us.max(1.0)),
        ];
        table.add_row(cells.iter().take(if has_order { cells.len() } else { cells.len() - 1 }).map(right));
    }
    for column in table.column_iter_mut() {
        column.set_padding((0, 2));
    }
    table.lines().fold(String::new(), |text, line| text + line.trim_end() + "\n")
}

/// What the trials are, and how many executors are worth having.
fn sentence(basis: &Basis, slots: u32, enough: u32) -> String {
    let trials = match basis.partitions() as u64 {
        0 => counted(basis.trials() as u64, "trial"),
        partitions => counted(partitions, "partition"),
    };
    let slots = counted(slots.into(), "slot");
    let work = seconds(basis.work_us());
    format!(
        "{trials}, {work:.1} s of work, on executors of {slots}\nmore than {} make nothing faster: what is beyond is idle",
        counted(enough.into(), "executor")
    )
}

/// Where the forecast leaves what was measured, and what it assumes there.
fn beyond_measured(executors: u32, largest: u32) -> String {
    if largest <= executors {
        return String::new();
    }
    format!(
        "the run had {}: for more, the way of the data from node to node and the driver's own work ({DRIVER_US} us an \
         attempt) are assumed, not measured\n",
        counted(executors.into(), "executor")
    )
}

/// What a forecast cannot know of a search that saw results.
fn order_remark(basis: &Basis, schedule: Schedule) -> &'static str {
    match schedule {
        Schedule::Chunked if basis.is_searched() => {
            "the search decided on trials while others were trained: cut beforehand, as here, it could not have\n"
        }
        Schedule::Queue if basis.is_asynchronous() => {
            "results counted as they came (asynchronous = true): another cluster would have decided on other trials; these \
             are forecasts for the same ones\n"
        }
        Schedule::Chunked | Schedule::Queue => "",
    }
}

fn seconds(us: u64) -> f64 {
    us as f64 / 1e6
}
