//! Rows a second of a graph on one core, for `tests/rivals/apply.sh`:
//!
//! ```text
//! cargo bench -p broadsweep-onnx --features run --bench running -- model.onnx
//! ```
//!
//! Rows are random numbers in memory, in batches as `broadsweep apply` makes them. It prints a JSON object with a number for
//! each pass.

#![expect(clippy::print_stdout, reason = "the results are its output")]

use std::error::Error;
use std::path::Path;
use std::time::{Duration, Instant};

use broadsweep_common::application::{GraphDescription, GraphInput, GraphReading};
use broadsweep_onnx::{Opened, Session, open};

const PASSES: usize = 5;
const PASS: Duration = Duration::from_secs(1);

fn main() -> Result<(), Box<dyn Error>> {
    let path = std::env::args().skip(1).find(|argument| !argument.starts_with("--")).ok_or("name an ONNX file")?;
    let (Opened { inputs, batch_rows, output, .. }, graph) = open(Path::new(&path))?;
    let values: u64 = inputs.iter().map(GraphInput::values).sum();
    let reading = GraphReading::Values;
    let description = GraphDescription { inputs, batch_rows, channels_first: false, output, reading };
    let session = Session::load(&graph, description)?;
    let (runner, rows) = (session.runner(), session.batch_rows());
    let batch: Vec<f32> = (0..rows * values as usize).map(|place| (place * 7919 % 256) as f32 / 255.0).collect();
    let pass = || -> Result<f64, Box<dyn Error>> {
        let (began, mut done) = (Instant::now(), 0);
        while began.elapsed() < PASS {
            runner.run(rows, &batch)?;
            done += rows;
        }
        Ok(done as f64 / began.elapsed().as_secs_f64())
    };
    pass()?;
    let rates = (0..PASSES).map(|_| pass()).collect::<Result<Vec<_>, _>>()?;
    println!(r#"{{"engine":"rten","batch":{rows},"wall":{rates:.2?}}}"#);
    Ok(())
}
