//! Models of other programs, applied as ONNX; with the feature `onnx` alone.

#![cfg(feature = "onnx")]
#![expect(clippy::unwrap_used, reason = "a test fails by a panic, in its helping functions too")]

use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};

use broadsweep_onnx::messages::{
    Dimension, DimensionValue, FLOAT, GraphMessage, INT64, ModelMessage, NodeMessage, OperatorSet, TensorMessage,
    TensorShape, TensorType, TypeMessage, ValueInfo,
};
use broadsweep_tests::applications::{PARTITION_ROWS, begin, parts, succeeded, table, trained};
use broadsweep_tests::lab::Lab;
use broadsweep_tests::process::Ended;
use prost::Message;

const PROGRAM: &str = env!("CARGO_BIN_EXE_broadsweep-under-test");

/// Flips of a file that are tried.
const FLIPS: u64 = 300;
const ROWS: usize = 1_234;
/// How far answers of one network may be apart.
const TOLERANCE: f64 = 1e-5;

/// Applies an ONNX file to a table.
fn applied(lab: &Lab, model: &Path, rows: &str, output: &str, flags: &[&str]) -> Ended {
    let shown = |name: &str| lab.path(name).display().to_string();
    let mut arguments = vec!["apply".to_owned(), model.display().to_string()];
    let run = format!("{output}-run");
    for (flag, name) in [("--input", rows), ("--output", output), ("--out", &run), ("--cache-dir", "cache")] {
        arguments.extend([flag.to_owned(), shown(name)]);
    }
    arguments.extend(["--format".to_owned(), "csv".to_owned(), "--partition-rows".to_owned()]);
    arguments.push(PARTITION_ROWS.to_string());
    lab.command(arguments.into_iter().chain(flags.iter().map(|flag| (*flag).to_owned()))).wait()
}

/// All rows of an output of CSV, without the lines that name the columns.
fn rows_of(output: &Path) -> Vec<Vec<String>> {
    let texts = parts(output).into_values().map(|bytes| String::from_utf8(bytes).unwrap());
    let lines = texts.flat_map(|text| text.lines().skip(1).map(ToOwned::to_owned).collect::<Vec<_>>());
    lines.map(|line| line.split(',').map(ToOwned::to_owned).collect()).collect()
}

/// The table of a trained model with each word as the number that `model.onnx` takes for it.
fn in_numbers(lab: &Lab) -> String {
    let described = fs::read_to_string(lab.path("run/best/model.toml")).unwrap();
    let described: toml::Table = described.parse().unwrap();
    let columns = described["input"]["columns"].as_array().unwrap();
    let names = columns.iter().find_map(|column| column.get("names")).unwrap().as_array().unwrap();
    let place = |word: &str| names.iter().position(|name| name.as_str() == Some(word)).unwrap().to_string();
    let words = [("red", place("red")), ("blue", place("blue"))];
    let text = table(600..600 + ROWS);
    words.iter().fold(text, |text, (word, place)| text.replace(&format!(",{word},"), &format!(",{place},")))
}

#[test]
fn our_own_model_applied_as_a_foreign_one_answers_as_it_does_itself() {
    let lab = trained(PROGRAM, ROWS);
    succeeded(&begin(&lab, "own", "own-run", &["--format", "csv", "--keep", "id", "--local", "1x1"]).wait());
    lab.write("numbers.csv", in_numbers(&lab));
    let model = lab.path("run/best/model.onnx");
    let flags = ["--keep", "id", "--labels", "kind"];
    succeeded(&applied(&lab, &model, "numbers.csv", "foreign", &[&flags[..], &["--local", "2x1"]].concat()));
    let (own, foreign) = (rows_of(&lab.path("own")), rows_of(&lab.path("foreign")));
    assert_eq!((own.len(), foreign.len()), (ROWS, ROWS));
    for (own, foreign) in own.iter().zip(&foreign) {
        assert_eq!((own.len(), &own[0]), (foreign.len(), &foreign[0]));
        let numbers = |row: &[String]| row[2..].iter().map(|cell| cell.parse().unwrap()).collect::<Vec<f64>>();
        let far =
            numbers(own).iter().zip(numbers(foreign)).map(|(one, other)| (one - other).abs()).fold(0.0, f64::max);
        assert!(far < TOLERANCE, "{own:?} {foreign:?}");
        assert!(own[1] == foreign[1] || far > 0.0, "{own:?} {foreign:?}");
    }
    // On this processor alone: the same bytes on any executors, and after a resume from its own study.
    succeeded(&applied(&lab, &model, "numbers.csv", "other", &[&flags[..], &["--local", "1x2"]].concat()));
    assert_eq!(parts(&lab.path("other")), parts(&lab.path("foreign")));
}

#[test]
fn flags_that_do_not_fit_a_model_are_refused_with_what_would() {
    let lab = trained(PROGRAM, 10);
    let model = lab.path("run/best/model.onnx");
    lab.write("numbers.csv", in_numbers(&lab));
    for (flags, told) in [
        (&[][..], "it takes 3 numbers a row, and"),
        (&[], "has 5 columns for them: id, a, b, color, kind; columns that are none of them are named by --keep"),
        (&["--keep", "id,kind", "--class-names", "a,b"], "2 classes are named, and it answers a row with 3 numbers"),
        (&["--keep", "id,kind", "--divide-by", "0"], "it has to be a number above 0"),
    ] {
        let ended = applied(&lab, &model, "numbers.csv", "out", flags);
        assert!(ended.code == Some(2) && ended.stderr.contains(told), "{told}: {}", ended.stderr);
        assert!(!lab.path("out").exists() && !lab.path("out-run").exists());
    }
    let own = begin(&lab, "out", "out-run", &["--class-names", "a,b"]).wait();
    assert!(own.code == Some(2) && own.stderr.contains("a model of ours and a program know both"), "{}", own.stderr);
}

/// How the process ends that reads a file, and what it says.
fn read(lab: &Lab, bytes: &[u8]) -> (Option<i32>, String) {
    let file = lab.write("hostile.onnx", bytes);
    let mut command = Command::new(PROGRAM);
    let ended = command.arg("read-onnx").arg(file).stdin(Stdio::null()).output().unwrap();
    (ended.status.code(), String::from_utf8_lossy(&ended.stderr).into_owned())
}

#[test]
fn hostile_files_are_errors_of_one_command_and_nothing_is_left() {
    let lab = trained(PROGRAM, 10);
    lab.write("numbers.csv", in_numbers(&lab));
    let honest = fs::read(lab.path("run/best/model.onnx")).unwrap();
    let (mut refused, mut failed) = (0, 0);
    for seed in 1..=FLIPS {
        let mut bytes = honest.clone();
        let place = (seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 20) as usize % bytes.len();
        bytes[place] ^= 1 << (seed % 8);
        match read(&lab, &bytes) {
            (Some(0), _) => {}
            (Some(1), told) => {
                assert!(told.starts_with("error: "), "{seed}: {told}");
                refused += 1;
            }
            // A panic or an abort of the process that reads: its own end, and nobody else's.
            (Some(101) | None, _) => failed += 1,
            (code, told) => panic!("{seed}: {code:?} {told}"),
        }
    }
    assert!(refused > FLIPS / 20, "{refused} refused, {failed} failed, of {FLIPS}");
    let half = lab.write("half.onnx", &honest[..honest.len() / 2]);
    let bomb = lab.write("bomb.onnx", bomb());
    let nothing = lab.write("nothing.onnx", b"");
    for (model, told) in [
        (half, "it is no ONNX model, or damaged"),
        (bomb, "its graph takes more memory than 3 GiB"),
        (nothing, "it has no graph"),
        (lab.path("none.onnx"), "cannot read"),
    ] {
        let ended = applied(&lab, &model, "numbers.csv", "out", &["--keep", "id,kind"]);
        assert!(ended.code == Some(2) && ended.stderr.contains(told), "{told}: {}", ended.stderr);
        assert_eq!(ended.stderr.lines().count(), 1, "{}", ended.stderr);
        assert!(!lab.path("out").exists() && !lab.path("out-run").exists());
    }
}

/// A graph of a few bytes that asks for a hundred billion numbers.
fn bomb() -> Vec<u8> {
    let node = |kind: &str, inputs: &[&str], output: &str| NodeMessage {
        input: inputs.iter().map(|&input| input.to_owned()).collect(),
        output: vec![output.to_owned()],
        op_type: Some(kind.to_owned()),
        ..NodeMessage::default()
    };
    let value = |name: &str| {
        let sides = [None, Some(DimensionValue::Fixed(3))].map(|value| Dimension { value });
        let tensor = TensorType { element: Some(FLOAT), shape: Some(TensorShape { dim: sides.to_vec() }) };
        ValueInfo { name: Some(name.to_owned()), kind: Some(TypeMessage { tensor: Some(tensor) }) }
    };
    let sides = TensorMessage {
        dims: vec![1],
        data_type: Some(INT64),
        int64_data: vec![100_000_000_000],
        name: Some("sides".to_owned()),
        ..TensorMessage::default()
    };
    let graph = GraphMessage {
        node: vec![
            node("ConstantOfShape", &["sides"], "many"),
            node("ReduceSum", &["many"], "sum"),
            node("Add", &["rows", "sum"], "answer"),
        ],
        name: None,
        initializer: vec![sides],
        input: vec![value("rows")],
        output: vec![value("answer")],
    };
    let operators = OperatorSet { domain: None, version: Some(17) };
    ModelMessage { ir_version: Some(8), graph: Some(graph), opset_import: vec![operators], ..ModelMessage::default() }
        .encode_to_vec()
}
