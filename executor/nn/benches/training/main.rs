//! Whole trainings, timed pass by pass beside the peak of the processor:
//!
//! ```text
//! cargo bench -p broadsweep-executor --bench training -- --network mlp --network conv3:16x14x14@32
//! ```
//!
//! A pass is an epoch through `nn::train`, shuffling, gathering and optimizer included, on random pixels in memory.
//! Training and evaluation are timed apart. Bursts of multiply-adds on registers alone stand between them; what part
//! of those the training reaches is its quality, and says the same on a quick and on a slow machine.
//! Run it on one core (`taskset -c 0`); `tests/rivals/training.sh` puts it beside TensorFlow and PyTorch.
//!
//! | file | holds |
//! |---|---|
//! | `network` | the networks, by name |
//! | `passes` | trains, and takes the time |
//! | `layers` | takes the time of each layer alone |
//! | `peak` | the most that the processor does |
//! | `clock` | wall time and CPU time |
//! | `report` | what is printed |

#![expect(clippy::print_stdout, reason = "the results are its output")]

mod clock;
mod layers;
mod network;
mod passes;
mod peak;
mod report;

use anyhow::{Context, Result, ensure};
use broadsweep_nn::Kernel;
use clap::Parser;

use network::Network;
use peak::Width;

#[derive(Parser)]
#[command(name = "training", about = "Times trainings pass by pass, beside the peak of the processor")]
struct Options {
    /// What to train: mlp, convnet, dense:100-50-10, conv3:16x14x14 or norm3:16x14x14, each with @32 for the batch size;
    /// repeatable
    #[arg(long = "network", value_name = "NAME", default_values = ["mlp", "convnet"])]
    networks: Vec<Network>,
    /// What multiplies; unset, the fastest that this processor can run
    #[arg(long, value_parser = kernel)]
    kernel: Option<Kernel>,
    /// Passes that count; one more goes before them
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..=1000))]
    passes: u32,
    /// About how long the training of one pass takes; less where 64 MiB of pixels are worked off sooner
    #[arg(long, default_value_t = 1.0)]
    seconds: f64,
    /// One JSON object a line instead: a network and phase, with the samples a second of each pass
    #[arg(long)]
    json: bool,
    /// Each layer alone instead, over and over on one batch: GFLOP/s, and what part of the peak that is
    #[arg(long, conflicts_with = "json")]
    layers: bool,
    /// Multiply-adds on registers alone instead, for about so long: GFLOP/s by the wall, at the widest
    #[arg(long, value_name = "SECONDS", conflicts_with_all = ["json", "layers", "kernel"])]
    peak: Option<f64>,
    /// What `cargo bench` adds
    #[arg(long, hide = true)]
    bench: bool,
}

fn kernel(name: &str) -> Result<Kernel, String> {
    let kernels = Kernel::detect();
    let names: Vec<_> = kernels.iter().map(|kernel| kernel.name()).collect();
    let known = kernels.iter().find(|kernel| kernel.name() == name);
    known.copied().ok_or_else(|| format!("this processor runs {}", names.join(", ")))
}

fn main() -> Result<()> {
    let options = Options::parse();
    let seconds = options.peak.unwrap_or(options.seconds);
    ensure!(seconds > 0.0 && seconds <= 3600.0, "seconds are above 0 and at most 3600");
    if options.peak.is_some() {
        let widths = Width::detected();
        let widest = widths.first().context("no loop of multiply-adds is written for this processor")?;
        println!("{:.2}", widest.sustained(seconds));
        return Ok(());
    }
    let kernel = options.kernel.unwrap_or(Kernel::detect()[0]);
    for network in &options.networks {
        if options.layers {
            layers::print(network, kernel, options.passes, options.seconds)?;
            continue;
        }
        let measured = passes::measure(network, kernel, options.passes, options.seconds)?;
        if options.json {
            report::print_json(network, &measured);
        } else {
            report::print(network, &measured);
        }
    }
    Ok(())
}
