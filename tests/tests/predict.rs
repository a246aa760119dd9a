//! What a run leaves in `best/`, used: predictions of raw rows are wrong as often as the run said, and the files are the
//! same bytes however often they are written.

#![expect(clippy::unwrap_used, reason = "a test fails by a panic, in its helping functions too")]

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::fs;
use std::path::Path;
use std::sync::Arc;

use broadsweep_common::dataset::{Dataset, Features, Part};
use broadsweep_data as data;
use broadsweep_driver::study;
use broadsweep_tests::lab::Lab;
use broadsweep_tests::process::Ended;

const PROGRAM: &str = env!("CARGO_BIN_EXE_broadsweep-under-test");

const ROWS: usize = 600;
const HELD_OUT: usize = 150;

/// Trials and data of a moment; `{loss}`, `{units}` and `{scaling}` are filled in.
const TABLE: &str = "
name = 'table'
seed = 3
[data]
format = 'csv'
train_file = 'train.csv'
test_file = 'test.csv'
label_column = 'target'
validation_rows = 150
scaling = '{scaling}'
[model]
loss = '{loss}'
layers = [{ kind = 'dense', units = 12, activation = 'gelu' }, { kind = 'dense', units = {units} }]
[training]
learning_rate = '$rate'
epochs = 3
batch_size = 32
[search]
sampler = 'grid'
[search.space]
rate = { values = [0.01, 0.03] }
";

const IMAGES: &str = "
name = 'images'
seed = 4
[data]
format = 'npy'
train_features = 'x.npy'
train_labels = 'y.npy'
validation_rows = 150
scaling = '{scaling}'
[model]
layers = [
    { kind = 'conv2d', filters = 3, kernel = 3, padding = 'same', activation = 'relu' },
    { kind = 'max_pool', size = 2, padding = 'same' },
    { kind = 'flatten' },
    { kind = 'dense', units = 3 },
]
[training]
learning_rate = '$rate'
epochs = 2
batch_size = 32
[search]
sampler = 'random'
trials = 1
[search.space]
rate = { values = [0.05] }
";

/// Numbers between -1 and 1 without a pattern that a network would notice.
fn wave(place: usize) -> f64 {
    ((place as f64 * 12.9898 + 4.1414).sin() * 43_758.545_3).fract()
}

/// Lines of a table; the first column is the row's number, so that a row can be found again.
fn lines(from: usize, target: impl Fn(f64, f64) -> String) -> Vec<String> {
    let line = |row: usize| {
        let (a, b) = (wave(2 * row), 5.0 * wave(2 * row + 1));
        format!("{row},{a},{b},{}", target(a, b))
    };
    (from..from + ROWS).map(line).collect()
}

fn write_table(lab: &Lab, name: &str, lines: impl Iterator<Item = impl AsRef<str>>) {
    let text = lines.fold("number,a,b,target\n".to_owned(), |text, line| text + line.as_ref() + "\n");
    lab.write(name, text);
}

/// Which rows of the training files are held out, by a number that the first value of each row is.
fn held_out(lab: &Lab, study: &str) -> Vec<usize> {
    let study = study::parse(study, "study.toml").unwrap();
    let (settings, archive) = (study.data.unwrap(), data::Archive::default());
    let loaded = data::load(&settings, &archive, study.seed, &lab.path(".")).unwrap();
    let dataset = Dataset::open(Arc::new(loaded.data.content)).unwrap();
    let first: Vec<usize> = match dataset.features(Part::Validation) {
        Features::F32(all) => all.rows().into_iter().map(|row| row[0] as usize).collect(),
        Features::U8(all) => {
            all.rows().into_iter().map(|row| usize::from(row[0]) * 256 + usize::from(row[1])).collect()
        }
    };
    assert_eq!(first.iter().collect::<BTreeSet<_>>().len(), HELD_OUT);
    first
}

fn succeeds(lab: &Lab, arguments: &[&str]) -> Ended {
    let ended = lab.command(arguments).wait();
    assert_eq!(ended.code, Some(0), "{arguments:?}: {}", ended.stderr);
    ended
}

/// The contents of `best/`, by the names of its files.
fn best(run: &Path) -> Vec<(String, Vec<u8>)> {
    let entries = fs::read_dir(run.join("best")).unwrap().map(|entry| entry.unwrap());
    let mut files: Vec<_> =
        entries.map(|entry| (entry.file_name().into_string().unwrap(), fs::read(entry.path()).unwrap())).collect();
    files.sort();
    files
}

/// What stands behind these words in a text, up to where a sentence goes on.
fn shown_after<'a>(text: &'a str, words: &str) -> &'a str {
    let (_, rest) = text.split_once(words).unwrap_or_else(|| panic!("no {words:?} in {text}"));
    rest.split([',', '\n']).next().unwrap().trim()
}

#[test]
fn predictions_of_a_table_are_wrong_as_often_as_the_run_said_and_its_best_is_the_same_bytes_again() {
    type Target = fn(f64, f64) -> String;
    let kinds: [(&str, &str, &str, Target); 2] = [
        ("cross_entropy", "3", "standard", |a, b| u8::from(a + 0.1 * b > 0.0).max(2 * u8::from(b > 3.0)).to_string()),
        ("mean_squared_error", "1", "unit", |a, b| (40.0 + 3.0 * a - b).to_string()),
    ];
    for (loss, units, scaling, target) in kinds {
        let lab = Lab::new(PROGRAM);
        let study = TABLE.replace("{loss}", loss).replace("{units}", units);
        let train = lines(0, target);
        write_table(&lab, "train.csv", train.iter());
        write_table(&lab, "test.csv", lines(ROWS, target).iter());
        let path = lab.write("study.toml", study.replace("{scaling}", scaling));
        let tuned = lab.tune(&path, "run", &["--local", "2x1"]).wait();
        assert_eq!(tuned.code, Some(0), "{}", tuned.stderr);

        let held_out = held_out(&lab, &study.replace("{scaling}", "none"));
        write_table(&lab, "held.csv", held_out.iter().map(|&row| &train[row]));
        let error = if loss == "cross_entropy" { "error" } else { "root mean square error" };
        for (file, part) in [("held.csv", "validation"), ("test.csv", "test")] {
            let predicted = succeeds(&lab, &["predict", "run", "--input", file]);
            let told = predicted.stderr.split(" on ").next().unwrap();
            let summary = tuned.stdout.split("best: ").nth(1).unwrap();
            let summary = summary.split("a constant guess").next().unwrap();
            // Sentences are broken into lines.
            let summary = summary.split_whitespace().collect::<Vec<_>>().join(" ");
            let number = shown_after(&summary, &format!("{part} {error} ")).split(" rate=").next().unwrap();
            assert_eq!(told, format!("{error} {number}"), "{loss}: {file}");
        }
        let rows = |ended: &Ended| ended.stdout.lines().count() - 1;
        let unlabelled: Vec<&str> = train.iter().map(|line| line.rsplit_once(',').unwrap().0).collect();
        lab.write("new.csv", format!("number,a,b\n{}\n", unlabelled.join("\n")));
        let predicted = succeeds(&lab, &["predict", "run/best/model.toml", "--input", "new.csv"]);
        assert_eq!((rows(&predicted), predicted.stderr.contains("error")), (ROWS, false), "{}", predicted.stderr);
        let row = unlabelled[7].split(',').zip(["number", "a", "b"]).fold(String::new(), |mut row, (value, name)| {
            let _ = write!(row, "{name}={value},");
            row
        });
        let one = succeeds(&lab, &["predict", "run", "--row", row.trim_end_matches(',')]);
        let answer = |ended: &Ended, line: usize| {
            ended.stdout.lines().nth(line).unwrap().split_once(',').unwrap().1.to_owned()
        };
        assert_eq!(answer(&one, 1), answer(&predicted, 8), "one row alone is answered as among others");

        let first = best(&lab.path("run"));
        let names: Vec<&str> = first.iter().map(|(name, _)| name.as_str()).collect();
        assert_eq!(names, ["configuration.toml", "model.onnx", "model.toml", "weights.safetensors"]);
        fs::remove_file(lab.path("run/best/model.onnx")).unwrap();
        assert_eq!(lab.resume("run", &[]).wait().code, Some(0));
        assert!(best(&lab.path("run")) == first, "what `resume` writes again is not the same");
        drop(lab.tuned(&path, "other", &["--local", "1x1"]));
        assert!(best(&lab.path("other")) == first, "on another cluster another best was written");
    }
}

/// An array of bytes as `NumPy` writes it.
fn npy(shape: &str, values: &[u8]) -> Vec<u8> {
    let mut header = format!("{{'descr': '|u1', 'fortran_order': False, 'shape': {shape}, }}");
    header += &" ".repeat(63 - (10 + header.len()) % 64);
    header.push('\n');
    let length = (header.len() as u16).to_le_bytes();
    [b"\x93NUMPY\x01\x00", &length[..], header.as_bytes(), values].concat()
}

#[test]
fn predictions_of_images_are_wrong_as_often_as_the_run_said() {
    const SIDES: (usize, usize, usize) = (5, 7, 2);
    let lab = Lab::new(PROGRAM);
    let values = SIDES.0 * SIDES.1 * SIDES.2;
    // The first two bytes number the image; its class is told by how bright it is.
    let image = |row: usize| -> Vec<u8> {
        let light = [40.0, 110.0, 190.0][row % 3];
        let pixel = |place: usize| (light + 60.0 * wave(row * values + place)) as u8;
        [(row / 256) as u8, (row % 256) as u8].into_iter().chain((2..values).map(pixel)).collect()
    };
    let shape = |rows: usize| format!("({rows}, {}, {}, {})", SIDES.0, SIDES.1, SIDES.2);
    let images = |rows: &[usize]| -> Vec<u8> { rows.iter().flat_map(|&row| image(row)).collect() };
    let all: Vec<usize> = (0..ROWS).collect();
    lab.write("x.npy", npy(&shape(ROWS), &images(&all)));
    lab.write("y.npy", npy(&format!("({ROWS},)"), &all.iter().map(|row| (row % 3) as u8).collect::<Vec<_>>()));
    let path = lab.write("study.toml", IMAGES.replace("{scaling}", "standard"));
    let outcome = lab.tuned(&path, "run", &["--local", "1x1"]);

    let held_out = held_out(&lab, &IMAGES.replace("{scaling}", "none"));
    lab.write("held.npy", npy(&shape(HELD_OUT), &images(&held_out)));
    let printed = succeeds(&lab, &["predict", "run", "--input", "held.npy", "--output", "predicted.csv"]);
    assert_eq!((printed.stdout.as_str(), printed.stderr.trim()), ("", "written: predicted.csv"));
    let predicted = fs::read_to_string(lab.path("predicted.csv")).unwrap();
    let classes: Vec<usize> =
        predicted.lines().skip(1).map(|line| line.split(',').nth(1).unwrap().parse().unwrap()).collect();
    let wrong = classes.iter().zip(&held_out).filter(|(class, row)| **class != **row % 3).count();
    let model: toml::Table = String::from_utf8(outcome.file("best/model.toml")).unwrap().parse().unwrap();
    let validation_error = model["metrics"]["validation_error"].as_float().unwrap();
    assert_eq!((classes.len(), wrong as f64 / HELD_OUT as f64), (HELD_OUT, validation_error));
    assert!(validation_error < 0.5, "nothing was learnt");
}

#[test]
fn what_cannot_be_predicted_says_why_and_writes_nothing() {
    let lab = Lab::new(PROGRAM);
    let target = |a: f64, _: f64| u8::from(a > 0.0).to_string();
    write_table(&lab, "train.csv", lines(0, target).iter());
    write_table(&lab, "test.csv", lines(ROWS, target).iter());
    let study = TABLE.replace("{loss}", "cross_entropy").replace("{units}", "2").replace("{scaling}", "standard");
    drop(lab.tuned(&lab.write("study.toml", study), "run", &["--local", "1x1"]));
    fs::create_dir(lab.path("empty")).unwrap();
    lab.write("lacking.csv", "number,a,c\n1,2,3\n");
    let before = best(&lab.path("run"));
    let rows: [(&[&str], i32, &str); 9] = [
        (&["run", "--input", "lacking.csv"], 2, "has no column `b`"),
        (&["run", "--input", "gone.csv"], 2, "gone.csv: no such file"),
        (&["run", "--row", "a=1,b=2"], 2, "--row: column `number`: the value is missing"),
        (&["run", "--row", "a=1,b=2,nummer=3"], 2, "no column `nummer`; did you mean `number`?"),
        (&["empty", "--input", "train.csv"], 2, "has no model.toml"),
        (&["gone", "--input", "train.csv"], 2, "there is no gone"),
        (&["run", "--input", "test.csv", "--output", "run/best/model.toml"], 2, "is a file that a run needs"),
        (&["run", "--input", "test.csv", "--output", "empty"], 2, "it is a folder"),
        (&["run", "--input", "test.csv", "--output", "./test.csv"], 2, "is the input, and would be lost"),
    ];
    for (arguments, code, words) in rows {
        let ended = lab.command([&["predict"], arguments].concat()).wait();
        assert_eq!((ended.code, ended.stdout.as_str()), (Some(code), ""), "{arguments:?}: {}", ended.stderr);
        assert!(ended.stderr.contains(words), "{arguments:?}: {}", ended.stderr);
    }
    assert!(best(&lab.path("run")) == before && fs::read_dir(lab.path("empty")).unwrap().next().is_none());
    fs::write(lab.path("run/best/weights.safetensors"), b"rubbish").unwrap();
    let ended = lab.command(["predict", "run", "--input", "test.csv"]).wait();
    assert!(ended.code == Some(1) && ended.stderr.contains("is not the file that"), "{}", ended.stderr);
}

/// A trial of a moment on words that make a row wide, so that not many rows are a piece.
const WORDS: &str = "
name = 'words'
seed = 5
[data]
format = 'csv'
train_file = 'train.csv'
validation_file = 'validation.csv'
label_column = {label}
categories = 2000
{key}
[model]
loss = 'mean_squared_error'
layers = [{ kind = 'dense', units = 1 }]
[training]
learning_rate = '$rate'
epochs = 1
batch_size = 32
[search]
sampler = 'grid'
[search.space]
rate = { values = [0.01] }
";
/// Words, each of which is a value of a row.
const WORDS_MAX: usize = 1500;
/// Rows of which each takes 6 kB once it is prepared: three pieces.
const LONG: usize = 3500;

/// How a study says that its tables are written.
struct Writing {
    key: &'static str,
    delimiter: char,
    decimal: char,
    header: bool,
    is_latin: bool,
}

impl Writing {
    /// A word, a number and what is predicted, for each of these rows.
    fn table(&self, rows: impl Iterator<Item = usize>) -> Vec<u8> {
        let delimiter = self.delimiter;
        let number = |number: f64| number.to_string().replace('.', &self.decimal.to_string());
        let mut text = if self.header { format!("word{delimiter}size{delimiter}y\n") } else { String::new() };
        for row in rows {
            let (size, y) = (number(wave(row)), number(3.0 * wave(row) + wave(row % WORDS_MAX)));
            let _ = writeln!(text, "wört{}{delimiter}{size}{delimiter}{y}", row % WORDS_MAX);
        }
        if self.is_latin { text.chars().map(|letter| letter as u32 as u8).collect() } else { text.into_bytes() }
    }

    fn study(&self) -> String {
        WORDS.replace("{label}", if self.header { "'y'" } else { "3" }).replace("{key}", self.key)
    }
}

const USUAL: Writing = Writing { key: "", delimiter: ',', decimal: '.', header: true, is_latin: false };

/// The rows of a file of predictions, without their numbers.
fn answers(predicted: &str) -> impl Iterator<Item = &str> {
    predicted.lines().skip(1).map(|line| line.split_once(',').unwrap().1)
}

#[test]
fn a_long_table_is_predicted_as_its_rows_in_small_files_are_however_the_study_says_that_it_is_written() {
    for writing in [
        Writing { key: "delimiter = '|'", delimiter: '|', ..USUAL },
        Writing { key: "decimal = ','", delimiter: ';', decimal: ',', ..USUAL },
        Writing { key: "header = false", header: false, ..USUAL },
        Writing { key: "encoding = 'latin1'", is_latin: true, ..USUAL },
    ] {
        let lab = Lab::new(PROGRAM);
        lab.write("train.csv", writing.table(0..WORDS_MAX));
        lab.write("validation.csv", writing.table(WORDS_MAX..WORDS_MAX + LONG));
        let study = lab.write("study.toml", writing.study());
        let tuned = lab.tune(&study, "run", &["--local", "1"]).wait();
        assert_eq!(tuned.code, Some(0), "{}", tuned.stderr);
        let model = fs::read_to_string(lab.path("run/best/model.toml")).unwrap();
        let said = model.lines().find(|line| line.starts_with("text = ")).unwrap();
        assert!(said.replace('"', "'").contains(writing.key), "{said}");

        let ended = succeeds(&lab, &["predict", "run", "--input", "validation.csv", "--output", "long.csv"]);
        let summary = tuned.stdout.split_whitespace().collect::<Vec<_>>().join(" ");
        let error = shown_after(&summary, "validation root mean square error ").split(' ').next().unwrap();
        let told = format!("root mean square error {error} on 3500 rows\n");
        assert!(ended.stderr == format!("written: long.csv\n{told}"), "{}: {}", writing.key, ended.stderr);
        let piped = succeeds(&lab, &["predict", "run", "--input", "validation.csv", "--output", "/dev/stdout"]);
        assert_eq!(piped.stderr, told, "{}", writing.key);

        let long = fs::read_to_string(lab.path("long.csv")).unwrap();
        assert!(piped.stdout == long, "{}", writing.key);
        let mut joined = format!("{}\n", long.lines().next().unwrap());
        for start in (0..LONG).step_by(700) {
            let rows = WORDS_MAX + start..WORDS_MAX + LONG.min(start + 700);
            lab.write("small.csv", writing.table(rows.clone()));
            let small = succeeds(&lab, &["predict", "run", "--input", "small.csv"]);
            for (row, answer) in (start..).zip(answers(&small.stdout)) {
                let _ = writeln!(joined, "{row},{answer}");
            }
        }
        assert!(joined == long, "{}", writing.key);
    }
}

#[test]
fn a_bad_row_of_a_later_piece_is_named_by_its_line_and_no_file_is_left() {
    let lab = Lab::new(PROGRAM);
    let study = lab.write("study.toml", USUAL.study());
    lab.write("train.csv", USUAL.table(0..WORDS_MAX));
    lab.write("validation.csv", USUAL.table(0..WORDS_MAX));
    drop(lab.tuned(&study, "run", &["--local", "1"]));
    let mut rows = USUAL.table(0..LONG);
    rows.extend(b"strange,1,2\n");
    lab.write("new.csv", rows);
    let files = || fs::read_dir(lab.path(".")).unwrap().count();
    let before = files();
    let arguments = ["predict", "run", "--input", "new.csv"];
    let ended = lab.command(arguments.iter().chain(&["--output", "predicted.csv"])).wait();
    let line = format!("new.csv, line {}, column `word`: \"strange\" is none of its categories", LONG + 2);
    assert!(ended.code == Some(2) && ended.stderr.contains(&line), "{}", ended.stderr);
    assert_eq!(files(), before, "a file is left");
    let ended = lab.command(arguments).wait();
    assert!(ended.code == Some(2) && ended.stderr.contains(&line), "{}", ended.stderr);
    let rows = ended.stdout.lines().count() - 1;
    assert!(rows > LONG / 2 && rows < LONG, "the pieces before it are there, not {rows} rows");
}
