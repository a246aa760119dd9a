//! Tests of what comes into `best/`, on a real file system.

use std::time::UNIX_EPOCH;

use proptest::prelude::*;

use super::*;
use crate::results::fixtures::configuration;

fn names(folder: &Path) -> Vec<String> {
    let mut names: Vec<_> =
        fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

#[test]
fn the_best_is_its_configuration_and_its_weights() {
    let home = tempfile::tempdir().unwrap();
    let folder = RunFolder::create(Some(home.path()), Path::new("runs"), "quick", UNIX_EPOCH).unwrap();
    let values = configuration(&[
        ("activation", Value::Choice("relu".into())),
        ("fc1", Value::Integer(512)),
        ("nesterov", Value::Flag(true)),
        ("rate", Value::Real(1.0)),
    ]);
    let files = |onnx: Option<&[u8]>| ModelFiles {
        description: b"described".to_vec(),
        weights: b"weights".to_vec(),
        onnx: onnx.map(<[u8]>::to_vec),
    };
    let best = home.path().join("best");
    folder.write_best(&values, &Made::Model(&files(Some(b"onnx")))).unwrap();
    assert_eq!(names(&best), ["configuration.toml", "model.onnx", "model.toml", "weights.safetensors"]);
    assert_eq!(fs::read(best.join("model.onnx")).unwrap(), b"onnx");
    folder.write_best(&values, &Made::Model(&files(None))).unwrap();
    assert_eq!(
        names(&best),
        ["configuration.toml", "model.toml", "weights.safetensors"],
        "the former best's is gone"
    );
    assert_eq!(fs::read(best.join("model.toml")).unwrap(), b"described");
    folder.write_best(&values, &Made::Weights(b"weights")).unwrap();
    assert_eq!(names(&best), ["configuration.toml", "weights.safetensors"]);
    let expected = "activation = \"relu\"\nfc1 = 512\nnesterov = true\nrate = 1.0\n";
    assert_eq!(fs::read_to_string(best.join("configuration.toml")).unwrap(), expected);
    assert_eq!(fs::read(best.join("weights.safetensors")).unwrap(), b"weights");
}

proptest! {
    #[test]
    fn a_configuration_pasted_under_control_reads_back_to_the_same_bits(
        real in any::<f64>().prop_filter("a checked study has no other", |real| real.is_finite()),
        integer in any::<i64>(),
        word in any::<String>(),
        name in any::<String>(),
    ) {
        let values = configuration(&[
            ("an integer", Value::Integer(integer)),
            ("real", Value::Real(real)),
            ("word", Value::Choice(word.clone())),
            (&format!("_{name}"), Value::Flag(false)),
        ]);
        let document: toml::Table = format!("[control]\n{}", configuration_toml(&values)).parse().unwrap();
        let control = document["control"].as_table().unwrap();
        prop_assert_eq!(control.len(), 4);
        prop_assert_eq!(control["an integer"].as_integer(), Some(integer));
        prop_assert_eq!(control["real"].as_float().map(f64::to_bits), Some(real.to_bits()));
        prop_assert_eq!(control["word"].as_str(), Some(word.as_str()));
        prop_assert_eq!(control[&format!("_{name}")].as_bool(), Some(false));
    }
}
