//! What people write: study files, changes of them, lists of nodes, and words of the command line.

use broadsweep_common::address::Address;
use broadsweep_common::size::ByteSize;
use broadsweep_driver::cluster::local::LocalShape;
use broadsweep_driver::cluster::nodes::read_nodes;
use broadsweep_driver::study::changes::{Change, change};
use broadsweep_driver::study::{self, Study};

use super::{Bound, file};

/// A searched space of a few thousand points, and the places of all that is written.
pub(super) const STUDY: Bound = Bound { fixed: 32 << 20, per_byte: 1024 };
/// Ten thousand names with their addresses: a range in brackets asks for as many.
pub(super) const NODES: Bound = Bound { fixed: 16 << 20, per_byte: 1024 };

/// Points that are listed to see whether all are good.
const LISTED_MAX: u64 = 2000;

/// Good studies, of every kind of trainer, data and sampler.
pub(super) const GOOD: [&str; 5] = [
    include_str!("../../studies/tiny.toml"),
    include_str!("../../studies/original.toml"),
    include_str!("../../../examples/mnist/article.toml"),
    "name = 'a'
[trainer]
kind = 'replay'
seconds = '$pause'
epochs = 3
error = 0.5
[search]
sampler = 'random'
trials = 3
[search.space]
pause = { range = [0, 2] }
[control]
pause = 0.25
[scheduling]
backoff_ms = 50
[checkpoints]
",
    "name = \"b\"
data = { format = 'csv', train_file = 't.csv', label_column = 'y', validation_rows = 3, scaling = 'standard' }
[[model.layers]]
kind = 'conv2d'
filters = 4
kernel = '$k'
[[model.layers]]
kind = 'flatten'
[[model.layers]]
kind = 'dense'
units = 2
[training]
optimizer = 'adamw'
learning_rate = '$rate'
epochs = 2
early_stop = { patience = 2 }
[search]
sampler = 'grid'
[search.space]
k = { values = [1, 3] }
rate = { log_range = [1e-3, 1e-1], count = 3 }
",
];

/// Looks at all that a driver looks at before it starts.
fn look_at(study: &Study) {
    if study.trials_max() <= LISTED_MAX {
        drop(study.drawn());
    }
    drop((study.search_digest(), study.objectives().clone(), study.tests_the_best()));
    drop(study.at("search.space", "it could be wrong").to_string());
}

/// A study file.
pub(super) fn study(bytes: &[u8]) {
    let Ok(text) = str::from_utf8(bytes) else { return };
    match study::parse(text, "study.toml") {
        Ok(study) => look_at(&study),
        Err(wrong) => {
            let shown = wrong.to_string();
            let lines = shown.lines().count();
            assert!((4..=5).contains(&lines) && shown.contains('^'), "{shown}");
            assert!(!shown.contains(|letter: char| letter.is_control() && letter != '\n'), "{shown:?}");
        }
    }
}

/// A change in the first line, and the study that it is made in.
pub(super) fn changes(bytes: &[u8]) {
    let Some((wanted, text)) = str::from_utf8(bytes).ok().and_then(|text| text.split_once('\n')) else { return };
    let Ok(wanted) = wanted.parse::<Change>() else { return };
    if let Ok(changed) = change(text, &[wanted]) {
        study(changed.as_bytes());
    }
}

/// A list of nodes.
pub(super) fn nodes(bytes: &[u8]) {
    let path = file("nodes", bytes);
    match read_nodes(path.as_os_str()) {
        Ok(nodes) => {
            assert!(nodes.iter().all(|node| node.port() > 0));
            assert!(nodes.iter().all(|node| node.to_string().parse().as_ref() == Ok(node)));
        }
        Err(error) => drop(error.to_string()),
    }
}

/// A word of the command line, or of a list.
pub(super) fn words(bytes: &[u8]) {
    let Ok(word) = str::from_utf8(bytes) else { return };
    if let Ok(address) = word.parse::<Address>() {
        assert_eq!(address.to_string().parse(), Ok(address));
    }
    if let Ok(shape) = word.parse::<LocalShape>() {
        assert!(shape.slots(3) >= shape.executors);
    }
    drop((word.parse::<ByteSize>(), word.parse::<Change>()));
}

pub(super) fn study_seeds() -> Vec<Vec<u8>> {
    GOOD.map(|text| text.as_bytes().to_vec()).into()
}

pub(super) fn changes_seeds() -> Vec<Vec<u8>> {
    let changes =
        ["training.epochs=3", "seed=7", "data.scaling=\"unit\"", "model.layers.1.units=5", "a.b.c=[1, {d=2}]"];
    let pairs = changes.iter().zip(GOOD.iter().cycle());
    pairs.map(|(change, text)| format!("{change}\n{text}").into_bytes()).collect()
}

pub(super) fn nodes_seeds() -> Vec<Vec<u8>> {
    ["# the rack\nnode1:80\n\n  [::1]:80 # by address\n", "node[08-10,12],login\n", "a slots=2\nb:80\tgpu 3\n"]
        .map(|text| text.as_bytes().to_vec())
        .into()
}

pub(super) fn words_seeds() -> Vec<Vec<u8>> {
    ["node-1:7717", "[fe80::1]:80", "13x1", "1.5GiB", "4096", "training.learning_rate=0.1"]
        .map(|text| text.as_bytes().to_vec())
        .into()
}
