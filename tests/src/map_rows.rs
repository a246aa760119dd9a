//! A program for `broadsweep apply --program`: it answers the length and twice the number of each row's columns `id` and `a`,
//! or misbehaves as its first argument says. The second one is a file where it notes each start, and each partition.

#![expect(clippy::unwrap_used, clippy::print_stdout, reason = "a test's program fails by a panic, and may print")]

use std::fs::{File, OpenOptions};
use std::io::{BufRead, BufReader, Write};
use std::sync::Arc;
use std::time::Duration;

use arrow_array::cast::AsArray as _;
use arrow_array::types::Int8Type;
use arrow_array::{Array as _, ArrayRef, BooleanArray, DictionaryArray, Float64Array, Int64Array, RecordBatch};
use arrow_ipc::reader::StreamReader;
use arrow_ipc::writer::StreamWriter;

fn main() {
    let arguments: Vec<_> = std::env::args().skip(1).collect();
    let [mode, log] = &arguments[..] else { panic!("name how to behave, and a file for notes") };
    let note = |text: &str| {
        let mut log = OpenOptions::new().create(true).append(true).open(log).unwrap();
        log.write_all(format!("{text}\n").as_bytes()).unwrap();
    };
    note("started");
    let descriptor = |name: &str| format!("/dev/fd/{}", std::env::var(name).unwrap());
    let mut rows = BufReader::new(File::open(descriptor("BROADSWEEP_ROWS")).unwrap());
    let mut answers = OpenOptions::new().write(true).open(descriptor("BROADSWEEP_ANSWERS")).unwrap();
    let mut partitions = 0;
    while !rows.fill_buf().unwrap().is_empty() {
        partitions += 1;
        map(mode, partitions, &mut rows, &mut answers);
        note("partition");
        if mode == "once" {
            return;
        }
    }
    note("ended");
}

/// Maps one partition.
fn map(mode: &str, partition: usize, rows: &mut impl BufRead, answers: &mut File) {
    let mut writer: Option<StreamWriter<Vec<u8>>> = None;
    for batch in StreamReader::try_new(rows, None).unwrap() {
        let batch = batch.unwrap();
        misbehave(mode, &batch, answers);
        let answer = answer_to(mode, &batch, partition);
        let writer = writer.get_or_insert_with(|| StreamWriter::try_new(Vec::new(), &answer.schema()).unwrap());
        writer.write(&answer).unwrap();
    }
    let Some(mut writer) = writer else { panic!("a partition has one batch at least") };
    if mode != "endless" {
        writer.finish().unwrap();
    }
    let bytes = std::mem::take(writer.get_mut());
    let _ = answers.write_all(&bytes);
    std::mem::forget(writer);
}

/// What a good program does not do.
fn misbehave(mode: &str, batch: &RecordBatch, answers: &mut File) {
    let ids = batch.column_by_name("id").unwrap().as_string::<i32>();
    let has = |id: &str| ids.iter().flatten().any(|known| known == id);
    match mode {
        "prints" => println!("a row: {}", "x".repeat(100)),
        "slow" => std::thread::sleep(Duration::from_millis(100)),
        "dies" if has("n1700") => {
            eprintln!("Traceback: no good row");
            std::process::exit(3);
        }
        "hangs" if has("n1700") => std::thread::sleep(Duration::from_mins(10)),
        "garbage" => answers.write_all(b"Epoch 1/3\n").unwrap(),
        "huge" => answers.write_all(b"\xff\xff\xff\xff\xff\xff\xff\x7f").unwrap(),
        _ => {}
    }
}

fn answer_to(mode: &str, batch: &RecordBatch, partition: usize) -> RecordBatch {
    let ids = batch.column_by_name("id").unwrap().as_string::<i32>();
    let numbers = batch.column_by_name("a").unwrap().as_string::<i32>();
    let rows = if mode == "few" { batch.num_rows().saturating_sub(1) } else { batch.num_rows() };
    let length = |row: usize| ids.is_valid(row).then(|| ids.value(row).len() as i64);
    let lengths: Int64Array = (0..rows).map(length).collect();
    let twice: Float64Array =
        (0..rows).map(|row| numbers.value(row).parse::<f64>().ok().map(|number| 2.0 * number)).collect();
    let signs: DictionaryArray<Int8Type> =
        (0..rows).map(|row| Some(if numbers.value(row).starts_with('-') { "below" } else { "above" })).collect();
    let even: BooleanArray = (0..rows).map(|row| Some(row % 2 == 0)).collect();
    let lengths: ArrayRef = if mode == "uneven" && partition > 1 {
        Arc::new(lengths.iter().map(|length| length.map(|length| length as f64)).collect::<Float64Array>())
    } else {
        Arc::new(lengths)
    };
    let mut columns: Vec<(&str, ArrayRef)> =
        vec![("length", lengths), ("twice", Arc::new(twice)), ("sign", Arc::new(signs))];
    if mode == "flags" {
        columns.push(("even", Arc::new(even)));
    }
    RecordBatch::try_from_iter(columns).unwrap()
}
