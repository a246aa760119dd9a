//! Bad input to the real program: a clear error, the right exit code, and nothing half-written.

#![expect(clippy::unwrap_used, reason = "a test fails by a panic, in its helping functions too")]

use std::fs;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::thread;

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
    for (name, text) in [("idx.toml", IDX_STUDY), ("csv.toml", CSV_STUDY)] {
        let study = lab.write(name, text);
        let ended = lab.tune(&study, name.trim_end_matches(".toml"), &["--local", "1"]).wait();
        assert_eq!(ended.code, Some(0), "{name}: {}", ended.stderr);
    }
}

#[test]
fn a_study_that_is_no_file_is_refused() {
    let lab = lab();
    fs::create_dir(lab.path("folder")).unwrap();
    lab.write("bytes.toml", [0xff, 0xfe, 0]);
    assert_refused("no such study", &lab, "missing.toml", "cannot read the study");
    assert_refused("a folder", &lab, "folder", "is a folder; name the study file in it");
    assert_refused("no text", &lab, "bytes.toml", "is not UTF-8 text");
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
        ("NaN", "rooms,age,price\n1,2,3\nNaN,2,3\n", "line 3, column `rooms`: NaN is not a finite"),
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
fn flags_that_make_no_sense_are_refused() {
    let rows: [(&str, &[&str], &str); 12] = [
        ("no executors", &["--local", "0"], "write 13x1 for 13 executors of 1 slot"),
        ("no slots", &["--local", "2x"], "write 13x1 for 13 executors of 1 slot"),
        ("no shape", &["--local", "many"], "write 13x1 for 13 executors of 1 slot"),
        ("too many", &["--local", "100000x1"], "a number from 1 to 256"),
        ("no port", &["--nodes", "node1:7717,node2:"], "`node2:` is not host:port"),
        ("twice", &["--nodes", "node1:7717,node1:7717"], "node1:7717 is named twice"),
        ("no node file", &["--nodes", "nowhere"], "cannot read the node file nowhere"),
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
        ("a file in its place", path("file"), "is not a folder: name another one with --out"),
        ("below a file", path("file/out"), "is not a folder: name another one with --out"),
        ("not empty", path("full"), "is not empty: a run needs a folder of its own"),
        ("no room for anything", "/proc/out".to_owned(), "cannot write /proc/out"),
    ];
    let before = names_in(&lab);
    for (name, out, fragment) in rows {
        let arguments = ["tune", study.to_str().unwrap(), "--out", &out, "--cache-dir", &path("cache")];
        let Ended { code, stderr, .. } = lab.command(arguments).wait();
        assert_eq!(code, Some(1), "{name}: {stderr}");
        assert!(stderr.contains(fragment), "{name}: `{fragment}` is missing in: {stderr}");
        assert_eq!(names_in(&lab), before, "{name}: something was left behind");
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
        ("a port in use", occupied.address.as_str(), &cache, "choose another address with --listen"),
        ("beyond loopback", "0.0.0.0:0", &cache, "add --insecure if you trust everyone"),
        ("no cache folder", "127.0.0.1:0", &file, "the cache file"),
    ];
    for (name, listen, cache, fragment) in rows {
        let Ended { code, stderr, .. } =
            lab.command(["executor", "--listen", listen, "--slots", "1", "--cache-dir", cache]).wait();
        assert_eq!(code, Some(1), "{name}: {stderr}");
        assert!(stderr.contains(fragment), "{name}: `{fragment}` is missing in: {stderr}");
    }
    for flags in [["--slots", "0"], ["--slots", "5000"], ["--listen", "localhost"], ["--listen", "127.0.0.1"]] {
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
        let mut welcome = welcome(1);
        welcome.protocol = 99;
        talk.say(vec![Item::Welcome(welcome)]).await;
        talk.until_gone().await;
    }));
    let rows = [
        ("nobody there", format!("127.0.0.1:{}", free_port()), "does not answer"),
        ("no such host", "nowhere.invalid:7717".to_owned(), "nowhere.invalid:7717 does not answer"),
        ("a web server", serve_bytes(b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n"), ""),
        ("noise", serve_bytes(&[0xa5; 512]), ""),
        ("it closes at once", serve(drop), ""),
        ("it is silent", serve(move |stream| held_open.lock().unwrap().push(stream)), "no answer so far"),
        ("another protocol", newer.address.clone(), "it speaks protocol 99, this driver 1; use one version"),
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
        let summed_up = "0 of 1 nodes answered; at least 1 are needed";
        for part in [summed_up, address, fragment] {
            assert!(stderr.contains(part), "{name}: `{part}` is missing in: {stderr}");
        }
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
    for part in ["speaks protocol 1", "broadsweep 9.9.9) 99", "use one version"] {
        assert!(refusal.message().contains(part), "`{part}` is missing in: {}", refusal.message());
    }
}
