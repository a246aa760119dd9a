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
use crate::records::run::RunRecord;
use crate::results::show::counted;
use broadsweep_scheduler::SLOTS_MAX;

const AFTER_HELP: &str = "\
The trials take what they took, and are placed by the very scheduler in simulated time; start, broadcast and what an \
attempt takes beside its work are those of the run; beyond its executors, the broadcast grows by a block each time that \
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
    let forecasts: Vec<_> =
        args.sizes.0.iter().map(|&executors| basis.forecast(Cluster { executors, slots }, schedule)).collect();
    let enough = basis.enough(slots, schedule);
    if args.json {
        let rows: Vec<_> = forecasts.iter().map(forecast_json).collect();
        let document = json!({
            "study": record.study,
            "trials": basis.trials(),
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
        let beyond = beyond_measured(basis.executors(), largest) + &order_not_played(&record);
        print(format!("{}\n{}\n{beyond}", table(&forecasts), sentence(&basis, slots, enough)))?;
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
    })
}

/// A row a size.
fn table(forecasts: &[Forecast]) -> String {
    let right = |content: String| Cell::new(content).set_alignment(CellAlignment::Right);
    let mut table = Table::new();
    table.load_style(TableStyle::new().header_separator(LineStyle::none().fill('─').junction('─')));
    table
        .set_header(["executors", "wall", "speedup", "efficiency", "utilisation"].map(|name| right(name.to_owned())));
    for Forecast { cluster, wall_us, speedup, efficiency, utilisation } in forecasts {
        table.add_row(
            [
                cluster.executors.to_string(),
                format!("{:.2} s", seconds(*wall_us)),
                format!("{speedup:.2}"),
                format!("{:.1} %", efficiency * 100.0),
                format!("{:.1} %", utilisation * 100.0),
            ]
            .map(right),
        );
    }
    for column in table.column_iter_mut() {
        column.set_padding((0, 2));
    }
    table.lines().fold(String::new(), |text, line| text + line.trim_end() + "\n")
}

/// What the trials are, and how many executors are worth having.
fn sentence(basis: &Basis, slots: u32, enough: u32) -> String {
    let trials = counted(basis.trials() as u64, "trial");
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

/// What a forecast leaves out of a search that saw results.
fn order_not_played(run: &RunRecord) -> String {
    let Some(search) = &run.search else { return String::new() };
    format!(
        "the search decided on trials while others were trained, with `parallel` at {}: the forecast lets all of them begin \
         at once, so it promises too much where there are more slots than that\n",
        search.parallel
    )
}

fn seconds(us: u64) -> f64 {
    us as f64 / 1e6
}
