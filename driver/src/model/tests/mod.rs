//! Tests of models as files: what comes back, what is refused, and what a graph is made of.

mod made_up;

use std::path::{Path, PathBuf};
use std::{env, fs};

use broadsweep_common::schema::{ColumnKind, Dialect, Inputs, Outputs, Scale};
use proptest::prelude::*;
use tempfile::TempDir;

use super::folder::{DESCRIPTION, ONNX, WEIGHTS, open};
use super::*;
use made_up::{MadeUp, Rows, all, wide};

fn write(folder: &Path, files: &ModelFiles) {
    fs::create_dir_all(folder).unwrap();
    fs::write(folder.join(DESCRIPTION), &files.description).unwrap();
    fs::write(folder.join(WEIGHTS), &files.weights).unwrap();
    fs::write(folder.join(ONNX), files.onnx.as_ref().unwrap()).unwrap();
}

fn files(MadeUp { model, weights, .. }: &MadeUp) -> ModelFiles {
    ModelFiles::of(model, weights).unwrap()
}

/// A folder with the files of the first model.
fn written() -> (TempDir, ModelFiles) {
    let (folder, files) = (tempfile::tempdir().unwrap(), files(&all()[0]));
    write(folder.path(), &files);
    (folder, files)
}

fn text(files: &ModelFiles) -> String {
    String::from_utf8(files.description.clone()).unwrap()
}

/// With `BROADSWEEP_MADE_UP=DIR` the models stay there, for `tests/outside/run onnx`.
#[test]
fn models_of_every_kind_come_back_from_their_files_and_the_same_model_gives_the_same_bytes() {
    let temporary = tempfile::tempdir().unwrap();
    let folder = env::var_os("BROADSWEEP_MADE_UP").map_or_else(|| temporary.path().to_owned(), PathBuf::from);
    for made_up in all() {
        let files = files(&made_up);
        let path = folder.join(made_up.name);
        write(&path, &files);
        match &made_up.rows {
            Rows::Table(text) => fs::write(path.join("rows.csv"), text).unwrap(),
            Rows::Array(rows) => ndarray_npy::write_npy(path.join("rows.npy"), rows).unwrap(),
            Rows::Bytes(rows) => ndarray_npy::write_npy(path.join("rows.npy"), rows).unwrap(),
        }
        let opened = open(&path).unwrap();
        // What was not a number is none now, which is equal to nothing.
        assert_eq!(format!("{:?}", opened.model), format!("{:?}", made_up.model), "{}", made_up.name);
        assert_eq!(opened.weights, made_up.weights, "{}", made_up.name);
        assert_eq!(ModelFiles::of(&opened.model, &opened.weights).unwrap(), files, "{}", made_up.name);
    }
}

#[test]
fn a_description_is_written_for_people() {
    let text = text(&files(&all()[1]));
    for line in [
        "format = 2",
        "text = { decimal = \".\", header = true } # how its tables are written",
        "study = \"made-up\"",
        "    { kind = \"dense\", units = 11, activation = \"tanh\", initialization = \"glorot\" },",
        "    { name = \"color\", kind = \"categories\", names = [\"red\", \"green\", \"blue\"], may_miss = true },",
        "    { name = \"size\", kind = \"number\", center = 2.0, spread = 3.0, fill = 1.5 },",
        "classes = [\"no\", \"yes, surely\", \"größer\"]",
        "validation_error = 0.1",
        "rows = \"0 3-9 12\"",
    ] {
        assert!(text.lines().any(|found| found == line), "{line} is missing:\n{text}");
    }
}

#[test]
fn a_model_is_found_in_its_folder_in_a_run_and_by_its_description() {
    let (folder, files) = written();
    let run = folder.path().join("run");
    write(&run.join("best"), &files);
    for path in [folder.path().to_owned(), folder.path().join(DESCRIPTION), run] {
        assert!(open(&path).is_ok(), "{}", path.display());
    }
    fs::create_dir(folder.path().join("empty")).unwrap();
    for (path, words) in [("empty", "has no model.toml"), ("gone", "there is no ")] {
        let error = open(&folder.path().join(path)).unwrap_err().to_string();
        assert!(error.contains(words), "{error}");
    }
}

#[test]
fn files_that_do_not_belong_together_are_refused_by_name() {
    let refused = |folder: &TempDir| open(folder.path()).unwrap_err().to_string();
    let (folder, files_of_first) = written();
    fs::write(folder.path().join(WEIGHTS), files(&all()[1]).weights).unwrap();
    let error = refused(&folder);
    assert!(error.contains("weights.safetensors does not belong to") && error.contains("model.toml"), "{error}");
    // Other weights of the same layers, as another trial has them.
    let mut other = all().remove(0);
    other.weights.tensors[0].values *= 2.0;
    fs::write(folder.path().join(WEIGHTS), files(&other).weights).unwrap();
    let error = refused(&folder);
    assert!(error.contains("weights.safetensors is not the file that"), "{error}");
    fs::write(folder.path().join(WEIGHTS), other.weights.to_safetensors().unwrap()).unwrap();
    assert!(refused(&folder).contains("weights.safetensors is not the file that"));
    // A description that somebody changed.
    fs::write(folder.path().join(WEIGHTS), &files_of_first.weights).unwrap();
    let changed = text(&files_of_first).replace("spread = 12.5", "spread = 12.6");
    fs::write(folder.path().join(DESCRIPTION), &changed).unwrap();
    assert!(refused(&folder).contains("does not belong to"));
    // Comments and metrics may be added.
    let commented = text(&files_of_first).replace("[metrics]\n", "[metrics] # on Mondays\nown = 1.0\n");
    fs::write(folder.path().join(DESCRIPTION), &commented).unwrap();
    assert!(open(folder.path()).is_ok());
    fs::remove_file(folder.path().join(WEIGHTS)).unwrap();
    assert!(refused(&folder).contains("cannot read"));
}

#[test]
fn a_description_says_what_is_wrong_with_it() {
    let text = text(&files(&all()[0]));
    for (from, to, words) in [
        ("format = 2", "format = 3", "has format 3, and this version of broadsweep reads 2 at most"),
        ("format = 2\n", "", "it has no `format = 2`"),
        ("format = 2\n", "format = 0\n", "it has no `format = 2`"),
        ("\ncolumns = [", "\ntext = { delimiter = 'x' }\ncolumns = [", "'x' is no delimiter"),
        ("\ncolumns = [", "\ntext = { decimal = ';' }\ncolumns = [", "';' is no decimal"),
        ("\ncolumns = [", "\ntext = { decimal = ',', delimiter = ',' }\ncolumns = [", "cannot both be a comma"),
        ("\ncolumns = [", "\ntext = { encoding = 'none' }\ncolumns = [", "`none` is no encoding"),
        ("study = ", "study ", "no description of a model"),
        ("shape = [4]", "shape = [5]", "columns for 4 values, not 5"),
        ("shape = [4]", "shape = [4, 1]", "shape is [4, 1]"),
        (
            "spread = 12.5",
            "spread = -12.5",
            "column `age`: center and spread have to be finite, and no spread below 0",
        ),
        ("fill = 38.0", "fill = nan", "column `age` has a fill that is not finite"),
        ("fill = 38.0", "fil = 38.0", "unknown field `fil`"),
        ("name = \"age\"", "name = \"constant\"", "`constant` stands twice among the columns"),
        ("[\"0\", \"1\", \"5\"]", "[\"0\", \"1\", \"1\"]", "`1` stands twice among the classes"),
        ("[\"0\", \"1\", \"5\"]", "[\"0\", \"1\"]", "the layers do not fit the rows"),
        ("[\"0\", \"1\", \"5\"]", "[]", "0 classes"),
        ("\"dense\", units = 9", "\"dense\", units = 0", "units"),
        ("\"dense\", units = 9", "\"sparse\", units = 9", "sparse"),
        ("units = 9", "units = \"$width\"", "width"),
        ("rows = \"0 3-9 12\"", "rows = \"0 3-9 9\"", "`9` does not come after"),
        ("rows = \"0 3-9 12\"", "rows = \"0 9-3\"", "`9-3` is no run of rows"),
    ] {
        assert!(text.contains(from), "{from} is not there:\n{text}");
        let error = read::parse(&text.replacen(from, to, 1), Path::new("best/model.toml")).unwrap_err().to_string();
        assert!(error.contains(words), "{to}: {error}");
    }
}

#[test]
fn a_description_of_the_first_form_is_one_whose_study_said_nothing_of_its_text() {
    let text = text(&files(&all()[1]));
    let said = text.lines().find(|line| line.starts_with("text = ")).unwrap();
    let first = text.replace(&format!("{said}\n"), "").replacen("format = 2", "format = 1", 1);
    let model = read::parse(&first, Path::new("model.toml")).unwrap().model;
    assert_eq!(model.schema, Schema { text: Dialect::default(), ..all()[1].model.schema.clone() });
}

/// What the nodes of a model's graph do, in their order.
fn graph(files: &ModelFiles) -> String {
    onnx::operators(files.onnx.as_ref().unwrap()).join(" ")
}

#[test]
fn a_graph_does_what_its_model_does_and_no_more() {
    let answers = "Cast Softmax ArgMax Gather";
    let rows = [
        ("mixed", format!("Gather IsNaN Where Sub Div Cast Equal Cast Where Gemm Tanh Gemm {answers}")),
        ("words-to-values", "Gather Cast Mul Add Equal Cast Gemm Sigmoid Gemm Cast Mul Add".to_owned()),
        ("flattened-last", format!("Cast Mul Add Flatten Gemm {answers}")),
        ("flattened-first", format!("Cast Mul Add Transpose Flatten Gemm {answers}")),
        ("pixels", format!("Cast Mul Add Reshape Transpose Conv Relu Transpose Flatten Gemm {answers}")),
        (
            "images-channels-first",
            format!(
                "Cast Mul Add Sub Mul Add Conv Relu AveragePool MaxPool Transpose Flatten Sub Mul Add Sigmoid Gemm {answers}"
            ),
        ),
    ];
    for (name, expected) in rows {
        let made_up = all().into_iter().find(|made_up| made_up.name == name).unwrap();
        assert_eq!(graph(&files(&made_up)), expected, "{name}");
    }
}

#[test]
fn many_columns_make_a_graph_of_few_nodes_and_a_small_file() {
    let made_up = wide(20_000);
    let files = files(&made_up);
    assert_eq!(graph(&files), "Gather Sub Div Cast Equal Cast Where Gemm Cast Softmax ArgMax Gather");
    let bytes = files.onnx.as_ref().unwrap().len();
    assert!(bytes < 2_000_000, "{bytes} bytes");
    let model = read::parse(&text(&files), Path::new("model.toml")).unwrap().model;
    assert_eq!(model.schema, made_up.model.schema);
}

proptest! {
    #[test]
    fn names_and_numbers_of_all_kinds_come_back(
        name in any::<String>(),
        names in prop::collection::btree_set(any::<String>(), 1..4),
        center in prop::num::f64::NORMAL,
        spread in prop::num::f64::POSITIVE | prop::num::f64::ZERO,
        study in any::<String>(),
        delimiter in prop::option::of(prop::sample::select(&b";\t| "[..])),
        decimal in prop::option::of(prop::sample::select(&b".,"[..])),
        header in any::<Option<bool>>(),
    ) {
        let mut made_up = all().remove(1);
        let encoding = header.map(|_| "windows-1252".to_owned());
        made_up.model.schema.text = Dialect { delimiter, decimal, header, encoding };
        made_up.model.about.study = study;
        let Schema { inputs: Inputs::Columns(columns), outputs, shape, .. } = &mut made_up.model.schema else {
            panic!("a table has columns")
        };
        shape[0] = 5 + names.len() as u32;
        columns[0].kind = ColumnKind::Categories { names: names.into_iter().collect(), may_miss: true };
        columns[1].kind = ColumnKind::Number { scale: Scale { center, spread: spread.abs() }, fill: Some(center) };
        columns[2].name = format!("{name} member");
        *outputs = Outputs::Classes { column: Some(name.clone()), names: vec![name.clone(), format!("not {name}"), "x".repeat(99)] };
        let text = written::text(&made_up.model);
        let back = read::parse(&text, Path::new("model.toml")).unwrap().model;
        prop_assert_eq!(format!("{back:?}"), format!("{:?}", made_up.model));
    }

    #[test]
    fn damaged_files_are_refused_or_read_but_never_panic(place in 0_usize..5000, byte in any::<u8>(), cut in 0_usize..5000) {
        let (folder, files) = written();
        for (name, bytes) in [(DESCRIPTION, &files.description), (WEIGHTS, &files.weights)] {
            let mut damaged = bytes.clone();
            let place = place % damaged.len();
            damaged[place] = byte;
            damaged.truncate(damaged.len().saturating_sub(cut % 3 * cut));
            fs::write(folder.path().join(name), &damaged).unwrap();
            let opened = open(folder.path());
            if name == WEIGHTS {
                prop_assert!(opened.is_err() || damaged == *bytes);
            }
            fs::write(folder.path().join(name), bytes).unwrap();
        }
    }

    #[test]
    fn words_of_a_description_in_any_order_never_panic(edits in prop::collection::vec((any::<u16>(), any::<u16>()), 1..6)) {
        let text = text(&files(&all()[1]));
        let mut lines: Vec<&str> = text.lines().collect();
        for (one, other) in edits {
            let (one, other) = (usize::from(one) % lines.len(), usize::from(other) % lines.len());
            lines[one] = lines[other];
        }
        let _ = read::parse(&lines.join("\n"), Path::new("model.toml"));
    }
}
