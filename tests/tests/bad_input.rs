//! Bad input to the real program: a clear error, the right exit code, and nothing half-written.

#![expect(clippy::unwrap_used, reason = "a test fails by a panic, in its helping functions too")]

use std::fs;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::thread;

use broadsweep_proto::PROTOCOL;
use broadsweep_proto::session::executor_item::Item;
use broadsweep_proto::session::{Hello, driver_item};
use broadsweep_tests::hostile_driver::{HostileDriver, message};
use broadsweep_tests::hostile_executor::{HostileExecutor, Script, welcome};
use broadsweep_tests::lab::{Lab, free_port};
use broadsweep_tests::process::Ended;
use flate2::Compression;
use flate2::write::GzEncoder;

const PROGRAM: &str = env!("CARGO_BIN_EXE_broadsweep-under-test");

const IDX_STUDY: &str = "
name = 'bad'
seed = 1
[data]
format = 'idx'
train_features = 'x'
train_labels = 'y'
validation_rows = 1
[model]
layers = [{ kind = 'flatten' }, { kind = 'dense', units = 2 }]
[training]
learning_rate = 0.1
epochs = 1
";

const CSV_STUDY: &str = "
name = 'bad'
seed = 1
[data]
format = 'csv'
train_file = 'table.csv'
label_column = 'price'
feature_columns = ['rooms', 'age']
validation_rows = 1
[model]
loss = 'mean_squared_error'
layers = [{ kind = 'dense', units = 1 }]
[training]
learning_rate = 0.1
epochs = 1
";

const REPLAY_STUDY: &str = "
name = 'bad'
[trainer]
kind = 'replay'
seconds = 0
error = 0.5
";

const RECORDED_STUDY: &str = "
name = 'bad'
[trainer]
kind = 'replay'
recorded = 'trials.csv'
[search]
sampler = 'grid'
[search.space]
rate = { values = [1, 2] }
";

/// Two trials of an earlier run.
const TRIALS: &str = "trial,rate,outcome,counted_epoch,epochs,training_loss,validation_loss,validation_error,\
                      test_loss,test_error,training_s,evaluation_s
0,1,finished,2,2,0.5,0.5,0.25,,,1.5,0.5
1,2,diverged,,1,,,,,,0.5,0
";

const CONVOLUTION: &str = "{ kind = 'conv2d', filters = 4, kernel = 5 }, { kind = 'flatten' }";

/// An IDX file of bytes.
fn idx(sides: &[u32], values: &[u8]) -> Vec<u8> {
    let sides_count = sides.len() as u8;
    let header = [0, 0, 8, sides_count].into_iter().chain(sides.iter().flat_map(|side| side.to_be_bytes()));
    header.chain(values.iter().copied()).collect()
}

fn gz(bytes: &[u8]) -> Vec<u8> {
    let mut packed = GzEncoder::new(Vec::new(), Compression::fast());
    packed.write_all(bytes).unwrap();
    packed.finish().unwrap()
}

/// A lab with good data: four images of two by two and their labels, and a table of four rows.
fn lab() -> Lab {
    let lab = Lab::new(PROGRAM);
    lab.write("x", idx(&[4, 2, 2], &[7; 16]));
    lab.write("y", idx(&[4], &[0, 1, 0, 1]));
    lab.write("table.csv", "rooms,age,price\n1,2,3\n2,3,4\n3,4,5\n4,5,6\n");
    lab.write("trials.csv", TRIALS);
    lab
}

fn names_in(lab: &Lab) -> Vec<String> {
    let entries = fs::read_dir(lab.path(".")).unwrap();
    let mut names: Vec<_> = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

/// `check` and `tune` both refuse `study` as wrong use, with `fragment`, and leave the folder as it was.
fn assert_refused(name: &str, lab: &Lab, study: &str, fragment: &str) {
    let before = names_in(lab);
    let study = lab.path(study);
    let tune = ["tune", study.to_str().unwrap(), "--local", "1"];
    for arguments in [&["check", study.to_str().unwrap()][..], &tune] {
        let Ended { code, stdout, stderr } = lab.command(arguments).wait();
        assert_eq!(code, Some(2), "{name}: {}: {stderr}", arguments[0]);
        assert!(stderr.contains(fragment), "{name}: {}: `{fragment}` is missing in: {stderr}", arguments[0]);
        assert!(stderr.starts_with("error: ") && stdout.is_empty(), "{name}: {}: {stdout}{stderr}", arguments[0]);
    }
    assert_eq!(names_in(lab), before, "{name}: something was left behind");
}

/// The good studies are good: what is refused below is refused for its own fault.
#[test]
fn the_studies_that_the_bad_ones_are_made_of_are_good() {
    let lab = lab();
    let recorded = RECORDED_STUDY.replace("'trials.csv'", "'trials.csv'\nspeed = 100");
    for (name, text) in [
        ("idx.toml", IDX_STUDY),
        ("csv.toml", CSV_STUDY),
        ("replay.toml", REPLAY_STUDY),
        ("recorded.toml", &recorded),
    ] {
        let study = lab.write(name, text);
        let ended = lab.tune(&study, name.trim_end_matches(".toml"), &["--local", "1"]).wait();
        assert_eq!(ended.code, Some(0), "{name}: {}", ended.stderr);
    }
}

#[test]
fn a_study_that_is_no_file_is_refused() {
    let lab = lab();
    fs::create_dir(lab.path("folder")).unwrap();
    lab.write("bytes.toml", [b'#', 0xff]);
    lab.write("wide.toml", IDX_STUDY.encode_utf16().flat_map(u16::to_le_bytes).collect::<Vec<_>>());
    assert_refused("no such study", &lab, "missing.toml", "cannot read the study");
    assert_refused("a folder", &lab, "folder", "is a folder; name the study file in it");
    assert_refused("no text", &lab, "bytes.toml", "is not UTF-8 text");
    assert_refused("UTF-16", &lab, "wide.toml", "it is UTF-16 text; save it as UTF-8");
}

#[test]
fn data_files_that_cannot_be_used_are_refused() {
    let image = idx(&[4, 2, 2], &[7; 16]);
    let packed = gz(&image);
    let mut wrong_magic = image.clone();
    wrong_magic[0] = 9;
    let rows: [(&str, &str, Vec<u8>, &str); 8] = [
        ("truncated gz", "x", packed[..packed.len() - 9].to_vec(), "ends in the middle of its compressed data"),
        ("no magic", "x", wrong_magic, "is no IDX file: it starts with 09 00 08 03"),
        ("too short", "x", image[..30].to_vec(), "is too short: its header says (4, 2, 2) of u8"),
        ("too long", "x", [&image[..], &[0]].concat(), "is too long: its header says (4, 2, 2) of u8"),
        ("a huge claim", "x", idx(&[u32::MAX, 4096, 4096], &[0; 9]), "is too"),
        ("an empty file", "x", Vec::new(), "is empty"),
        ("other labels", "y", idx(&[3], &[0, 1, 0]), "has 4 rows, but"),
        ("half a header", "y", vec![0, 0, 8, 1, 0, 0], "its header is damaged"),
    ];
    for (name, file, bytes, fragment) in rows {
        let lab = lab();
        lab.write(file, bytes);
        lab.write("study.toml", IDX_STUDY);
        assert_refused(name, &lab, "study.toml", fragment);
    }
    let lab = lab();
    fs::remove_file(lab.path("x")).unwrap();
    lab.write("study.toml", IDX_STUDY);
    assert_refused("no such file", &lab, "study.toml", "x: no such file");
    fs::create_dir(lab.path("x")).unwrap();
    assert_refused("a directory", &lab, "study.toml", "x is a folder; name a file in it");
}

#[test]
fn tables_that_cannot_be_used_are_refused() {
    let rows = [
        ("a missing column", "rooms,price\n1,2\n2,3\n", "has no column `age`"),
        ("a ragged row", "rooms,age,price\n1,2,3\n1,2\n", "line 3: 2 fields, but the header line has 3"),
        ("a text", "rooms,age,price\n1,2,3\n1,old,3\n", "line 3, column `age`: \"old\" is not a number"),
        ("NaN", "rooms,age,price\n1,2,3\nNaN,2,3\n", "line 3, column `rooms`: the value is missing"),
        ("an infinite target", "rooms,age,price\n1,2,3\n1,2,inf\n", "line 3, column `price`: inf is not a finite"),
        ("no rows", "rooms,age,price\n", "has no rows"),
    ];
    for (name, table, fragment) in rows {
        let lab = lab();
        lab.write("table.csv", table);
        lab.write("study.toml", CSV_STUDY);
        assert_refused(name, &lab, "study.toml", fragment);
    }
}

#[test]
fn studies_that_make_no_sense_are_refused_at_their_line() {
    let grid = |space: &str| format!("{IDX_STUDY}[search]\nsampler = 'grid'\n[search.space]\n{space}\n");
    let rows = [
        ("an empty grid", grid(""), "[search.space] is empty"),
        ("a parameter without values", grid("rate = { values = [] }"), "study.toml:17:"),
        ("an unknown key", IDX_STUDY.replace("epochs", "epoch"), "unknown key `epoch` in [training]"),
        ("a reference to nothing", IDX_STUDY.replace("units = 2", "units = '$width'"), "study.toml:10:"),
        ("too few outputs", IDX_STUDY.replace("units = 2", "units = 1"), "study.toml:10:"),
        ("a kernel larger than the image", IDX_STUDY.replace("{ kind = 'flatten' }", CONVOLUTION), "study.toml:10:"),
        ("a size beyond all memory", IDX_STUDY.replace("units = 2", "units = 9000000000000000000"), "study.toml:10:"),
        (
            "no training rows",
            IDX_STUDY.replace("validation_rows = 1", "validation_rows = 4"),
            "leave rows to train on",
        ),
    ];
    for (name, text, fragment) in rows {
        let lab = lab();
        lab.write("study.toml", text);
        assert_refused(name, &lab, "study.toml", fragment);
    }
}

#[test]
fn replays_that_make_no_sense_are_refused_at_their_line() {
    let (model, training) = ("[[model.layers]]\nkind = 'flatten'\n", "[training]\nepochs = 1\n");
    let given = |seconds: &str| REPLAY_STUDY.replace("seconds = 0", seconds);
    let one_more = RECORDED_STUDY.replace("[1, 2]", "[1, 2, 3]");
    let rows = [
        ("a model", format!("{REPLAY_STUDY}{model}"), "study.toml:7:3: [model] has no effect with kind = \"replay\""),
        ("training", format!("{REPLAY_STUDY}{training}"), "study.toml:7:2: [training] has no effect"),
        ("an unknown key", given("second = 0"), "study.toml:5:1: unknown key `second` in [trainer]; did you mean"),
        (
            "negative seconds",
            given("seconds = -1"),
            "study.toml:5:11: [trainer] seconds is -1; it has to be a number",
        ),
        ("NaN seconds", given("seconds = nan"), "study.toml:5:11: [trainer] seconds is nan; it has to be"),
        ("endless seconds", given("seconds = 1e300"), "study.toml:5:11: [trainer] seconds is 1e300; it has to be"),
        ("a missing recording", RECORDED_STUDY.replace("trials.csv", "none.csv"), "none.csv: no such file"),
        ("a folder", RECORDED_STUDY.replace("trials.csv", "."), "is a folder; name a file in it"),
        ("another table", RECORDED_STUDY.replace("trials.csv", "table.csv"), "table.csv has no column `trial`"),
        ("more trials than rows", one_more, "study.toml:5:12: the study has 3 trials, but"),
        (
            "no test errors",
            RECORDED_STUDY.replace("[search]", "[search]\nselect = 'test'"),
            "trials.csv, line 2, column `test_error`: this trial has no such error",
        ),
    ];
    for (name, text, fragment) in rows {
        let lab = lab();
        lab.write("study.toml", text);
        assert_refused(name, &lab, "study.toml", fragment);
    }
}

#[test]
fn recordings_that_cannot_be_used_are_refused_at_their_line() {
    let rows = [
        (
            "ragged",
            ("1,2,diverged,,1,", "1,2,diverged,"),
            "trials.csv, line 3: 10 fields, but the header line has 12",
        ),
        ("no column", (",epochs,", ",epoch,"), "trials.csv has no column `epochs`; did you mean `epoch`?"),
        ("another order", ("1,2,diverged", "0,2,diverged"), "trials.csv, line 3, column `trial`: \"0\" is not 1"),
        ("no result", ("diverged,,1", "not_run,,0"), "line 3, column `outcome`: this trial has no result to replay"),
        ("negative seconds", ("0.5,0\n", "-0.5,0\n"), "line 3, column `training_s`: \"-0.5\" is not a number from 0"),
    ];
    for (name, (from, to), fragment) in rows {
        let lab = lab();
        assert_eq!(TRIALS.matches(from).count(), 1, "{name}");
        lab.write("trials.csv", TRIALS.replace(from, to));
        lab.write("study.toml", RECORDED_STUDY);
        assert_refused(name, &lab, "study.toml", fragment);
    }
}

#[test]
fn flags_that_make_no_sense_are_refused() {
    let rows: [(&str, &[&str], &str); 12] = [
        ("no executors", &["--local", "0"], "write 13x1 for 13 executors of 1 slot"),
        ("no slots", &["--local", "2x"], "write 13x1 for 13 executors of 1 slot"),
        ("no shape", &["--local", "many"], "write 13x1 for 13 executors of 1 slot"),
        ("too many", &["--local", "100000x1"], "a number from 1 to 256"),
        ("no port", &["--nodes", "node1:7717,node2:"], "`node2:` is not host:port"),
        ("twice", &["--nodes", "node1:7717,node1:7717"], "node1:7717 is named twice"),
        ("no node file", &["--nodes", "nowhere"], "`nowhere` is neither host:port"),
        ("an empty node file", &["--nodes", "nodes"], "nodes names no node"),
        ("two kinds of cluster", &["--nodes", "node1:7717", "--local", "2"], "cannot be used with"),
        ("nothing to take over", &["--take-over"], "--nodes"),
        ("no patience", &["--connect-timeout", "0"], "--connect-timeout"),
        ("more nodes than there are", &["--local", "2", "--nodes-min", "3"], "--nodes-min 3 of 2 nodes"),
    ];
    let lab = lab();
    let study = lab.write("study.toml", IDX_STUDY);
    lab.write("nodes", "# nobody\n\n");
    let before = names_in(&lab);
    for (name, flags, fragment) in rows {
        let Ended { code, stderr, .. } = lab.command([&["tune", study.to_str().unwrap()], flags].concat()).wait();
        assert_eq!(code, Some(2), "{name}: {stderr}");
        assert!(stderr.contains(fragment), "{name}: `{fragment}` is missing in: {stderr}");
        assert_eq!(names_in(&lab), before, "{name}: something was left behind");
    }
}

#[test]
fn folders_that_cannot_be_written_are_refused() {
    let lab = lab();
    let study = lab.write("study.toml", IDX_STUDY);
    lab.write("file", "kept");
    fs::create_dir(lab.path("full")).unwrap();
    lab.write("full/results.txt", "kept");
    let path = |name: &str| lab.path(name).to_str().unwrap().to_owned();
    let rows = [
        ("a file in its place", path("file"), "is not a folder; --out can name another place"),
        ("below a file", path("file/out"), "is not a folder; --out can name another place"),
        ("not empty", path("full"), "is not empty, and a run needs a folder of its own; --out can name"),
        ("no room for anything", "/proc/out".to_owned(), "cannot write /proc/out"),
    ];
    let before = names_in(&lab);
    for command in ["tune", "scale"] {
        let no_cache = [command, study.to_str().unwrap(), "--out", &path("deep/out"), "--cache-dir", &path("file")];
        let Ended { code, stderr, .. } = lab.command(no_cache).wait();
        assert!(code == Some(2) && stderr.contains("name another one with --cache-dir"), "{code:?}: {stderr}");
        assert_eq!(names_in(&lab), before, "{command} left something behind");
    }
    for (name, out, fragment) in rows {
        for command in ["tune", "scale"] {
            let arguments = [command, study.to_str().unwrap(), "--out", &out, "--cache-dir", &path("cache")];
            let Ended { code, stderr, .. } = lab.command(arguments).wait();
            assert_eq!(code, Some(2), "{command}, {name}: {stderr}");
            assert!(stderr.contains(fragment), "{command}, {name}: `{fragment}` is missing in: {stderr}");
            assert_eq!(names_in(&lab), before, "{command}, {name}: something was left behind");
        }
    }
    assert_eq!(fs::read(lab.path("file")).unwrap(), b"kept");
    assert_eq!(names_in(&lab), before);
    assert_eq!(fs::read_dir(lab.path("full")).unwrap().count(), 1);
}

#[test]
fn an_executor_that_cannot_listen_says_why() {
    let lab = lab();
    let occupied = lab.executor("cache-a", 1);
    lab.write("file", "");
    let file = lab.path("file").to_str().unwrap().to_owned();
    let cache = lab.path("cache").to_str().unwrap().to_owned();
    let rows = [
        ("a port in use", occupied.address.as_str(), &cache, 1, "choose another address with --listen"),
        ("beyond loopback", "0.0.0.0:0", &cache, 2, "add --insecure if you trust everyone"),
        ("no cache folder", "127.0.0.1:0", &file, 2, "is not a folder; name another one with --cache-dir"),
    ];
    for (name, listen, cache, exit, fragment) in rows {
        let Ended { code, stderr, .. } =
            lab.command(["executor", "--listen", listen, "--slots", "1", "--cache-dir", cache]).wait();
        assert_eq!(code, Some(exit), "{name}: {stderr}");
        assert!(stderr.contains(fragment), "{name}: `{fragment}` is missing in: {stderr}");
    }
    for flags in [["--slots", "0"], ["--slots", "5000"], ["--listen", "a b"], ["--listen", "nowhere.invalid:0"]] {
        assert_eq!(lab.command([&["executor"], &flags[..]].concat()).wait().code, Some(2), "{flags:?}");
    }
}

/// A server that does `answer` with every connection. It lives as long as the test.
fn serve(answer: impl Fn(TcpStream) + Send + 'static) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    thread::spawn(move || listener.incoming().map_while(Result::ok).for_each(answer));
    address
}

/// A server that reads a little and answers with these bytes.
fn serve_bytes(bytes: &'static [u8]) -> String {
    serve(move |mut stream| {
        let _ = stream.read(&mut [0; 64]).and_then(|_| stream.write_all(bytes));
    })
}

#[test]
fn a_node_that_is_no_executor_is_named_with_what_is_wrong() {
    let held_open = std::sync::Mutex::new(Vec::new());
    let newer = HostileExecutor::start(Script::new(|mut talk| async move {
        let mut welcome = welcome();
        welcome.protocol = 99;
        talk.say(vec![Item::Welcome(welcome)]).await;
        talk.until_gone().await;
    }));
    let other = format!("it speaks protocol 99, this driver {PROTOCOL}; use one version");
    let rows = [
        ("nobody there", format!("127.0.0.1:{}", free_port()), "is an executor running there?"),
        ("no such host", "nowhere.invalid:7717".to_owned(), "no connection to nowhere.invalid:7717"),
        ("a web server", serve_bytes(b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n"), ""),
        ("noise", serve_bytes(&[0xa5; 512]), ""),
        ("it closes at once", serve(drop), ""),
        ("it is silent", serve(move |stream| held_open.lock().unwrap().push(stream)), "no answer so far"),
        ("another protocol", newer.address.clone(), &*other),
    ];
    let lab = lab();
    let study = lab.write("study.toml", IDX_STUDY);
    let runs = rows.iter().map(|(name, address, _)| {
        lab.tune(&study, &name.replace(' ', "-"), &["--nodes", address, "--connect-timeout", "1"])
    });
    let runs: Vec<_> = runs.collect();
    for (run, (name, address, fragment)) in runs.into_iter().zip(&rows) {
        let Ended { code, stderr, .. } = run.wait();
        assert_eq!(code, Some(1), "{name}: {stderr}");
        let summed_up = "0 of 1 nodes can be used; at least 1 is needed";
        for part in [summed_up, address, fragment] {
            assert!(stderr.contains(part), "{name}: `{part}` is missing in: {stderr}");
        }
        assert!(!lab.path(&name.replace(' ', "-")).exists(), "{name}: something was left behind");
    }
}

#[tokio::test]
async fn a_driver_of_another_protocol_is_told_both_versions() {
    let lab = lab();
    let executor = lab.executor("cache", 1);
    let hello = Hello { protocol: 99, build: "9.9.9".to_owned(), take_over: false };
    let first = message("newer", 1, vec![driver_item::Item::Hello(hello)]);
    let refusal = HostileDriver::open(&executor.address, first).await.unwrap_err();
    assert_eq!(refusal.code(), tonic::Code::FailedPrecondition);
    let ours = format!("speaks protocol {PROTOCOL}");
    for part in [&*ours, "broadsweep 9.9.9) 99", "use one version"] {
        assert!(refusal.message().contains(part), "`{part}` is missing in: {}", refusal.message());
    }
}
