//! Objects in a store in memory, and on a small web server that behaves as real ones do.

#![expect(clippy::single_range_in_vec_init, reason = "one range is meant")]

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::os::unix::fs::FileExt as _;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;

use object_store::memory::InMemory;

use super::*;

fn address(text: &str) -> ObjectAddress {
    ObjectAddress::parse(text).unwrap()
}

fn in_memory() -> Client {
    let reached = Reached::by_environment().unwrap().with_bucket("b", Arc::new(InMemory::new()));
    Client::of(reached).unwrap()
}

/// What a file has after these parts of an object were brought.
fn filled(client: &Client, object: &Object, ranges: &[Range<u64>]) -> Result<Vec<u8>, ObjectError> {
    let file = tempfile::tempfile().unwrap();
    file.set_len(object.bytes).unwrap();
    client.fill(object, ranges, &file, &|| true)?;
    let mut bytes = vec![0; object.bytes as usize];
    file.read_exact_at(&mut bytes, 0).unwrap();
    Ok(bytes)
}

#[test]
fn objects_are_put_listed_read_and_removed() {
    let client = in_memory();
    for key in ["a/x.csv", "a-b/y.csv", "a.csv", "c/z.csv", "c/deep/z.csv"] {
        client.put(&address(&format!("s3://b/{key}")), key.into()).wait().unwrap();
    }
    let names = |below: &str| {
        let listed = client.list(&address(below), 10).unwrap();
        listed.iter().map(|object| object.address.key().to_owned()).collect::<Vec<_>>()
    };
    assert_eq!(names("s3://b"), ["a/x.csv", "a-b/y.csv", "a.csv", "c/deep/z.csv", "c/z.csv"]);
    assert_eq!(names("s3://b/c"), ["c/deep/z.csv", "c/z.csv"]);
    assert_eq!(names("s3://b/none"), [""; 0]);
    let error = client.list(&address("s3://b"), 4).unwrap_err();
    assert_eq!(error, ObjectError::TooMany { address: address("s3://b"), most: 4 });
    let one = address("s3://b/a/x.csv");
    let object = client.look(&one).unwrap().unwrap();
    assert_eq!(object.bytes, 7);
    assert_eq!(client.read(&one, 7).unwrap().unwrap(), (b"a/x.csv".to_vec(), object.tag.clone()));
    assert!(matches!(client.read(&one, 6), Err(ObjectError::TooLarge { most: 6, .. })));
    let gone = address("s3://b/gone");
    client.remove(&[one.clone(), gone.clone()]).unwrap();
    assert_eq!((client.look(&one).unwrap(), client.read(&gone, 9).unwrap()), (None, None));
    assert!(matches!(filled(&client, &object, &[0..1]), Err(ObjectError::NotFound { .. })));
}

#[test]
fn of_two_who_put_under_one_condition_one_is_refused() {
    let (client, one) = (in_memory(), address("s3://b/manifest.json"));
    let put = |bytes: &[u8], condition: &Condition| client.put_if(&one, bytes.to_vec(), condition).unwrap();
    assert_eq!(put(b"first", &Condition::Absent), Put::Done);
    assert_eq!(put(b"second", &Condition::Absent), Put::Refused);
    let (bytes, tag) = client.read(&one, 99).unwrap().unwrap();
    assert_eq!(bytes, b"first");
    let same = Condition::Unchanged(tag);
    assert_eq!((put(b"third", &same), put(b"fourth", &same)), (Put::Done, Put::Refused));
    assert_eq!(client.read(&one, 99).unwrap().unwrap().0, b"third");
    assert_eq!(put(b"fifth", &Condition::Unchanged("changed 1".to_owned())), Put::Refused);
}

#[test]
fn a_large_object_is_put_in_pieces_and_parts_of_it_are_brought_to_their_places() {
    let (client, one) = (in_memory(), address("s3://b/large"));
    let bytes: Vec<u8> = (0..2 * PIECE_BYTES + 77).map(|place| (place / 251) as u8).collect();
    client.put(&one, bytes.clone()).wait().unwrap();
    let object = client.look(&one).unwrap().unwrap();
    assert!(filled(&client, &object, &[0..object.bytes]).unwrap() == bytes, "it is not as it was put");
    let far = object.bytes - 10;
    let parts = filled(&client, &object, &[far..object.bytes + 5, 3..7]).unwrap();
    let is_brought = |place: u64| (3..7).contains(&place) || place >= far;
    let wanted = |place: usize| if is_brought(place as u64) { bytes[place] } else { 0 };
    assert!((0..bytes.len()).all(|place| parts[place] == wanted(place)), "other parts were brought");
    client.put(&one, b"changed".to_vec()).wait().unwrap();
    assert_eq!(filled(&client, &object, &[0..9]).unwrap_err(), ObjectError::Changed(one.clone()));
    let file = tempfile::tempfile().unwrap();
    let object = client.look(&one).unwrap().unwrap();
    assert_eq!(client.fill(&object, &[], &file, &|| true), Ok(()));
}

#[test]
fn ranges_are_asked_for_together_or_in_pieces() {
    let far = 100 << 20;
    let asked = brought::pieces(&[far..far + 1, 10..20, 30..40, 15..35, 0..0, far + 5..far + 9], far + 8);
    assert_eq!(asked, [10..40, far..far + 8]);
    let asked = brought::pieces(&[0..20 << 20], 20 << 20);
    assert_eq!(asked, [0..8 << 20, 8 << 20..16 << 20, 16 << 20..20 << 20]);
    assert!(brought::pieces(&[5..9], 5).is_empty());
}

/// A web server with some files, each of which behaves in its own way.
struct Server {
    root: String,
    requests: Arc<AtomicUsize>,
    is_over: Arc<AtomicBool>,
    listener: Option<thread::JoinHandle<()>>,
}

const ROWS: &[u8] = b"age,color\n1,red\n2,blue\n3,green\n";

impl Server {
    fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let root = format!("http://{}", listener.local_addr().unwrap());
        let (requests, is_over) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicBool::new(false)));
        let (counted, ends) = (requests.clone(), is_over.clone());
        let asked: Arc<Mutex<BTreeMap<String, usize>>> = Arc::default();
        let listener = thread::spawn(move || {
            for stream in listener.incoming() {
                if ends.load(Ordering::SeqCst) {
                    return;
                }
                let (asked, counted) = (asked.clone(), counted.clone());
                thread::spawn(move || answer(stream.unwrap(), &asked, &counted));
            }
        });
        Self { root, requests, is_over, listener: Some(listener) }
    }

    fn address(&self, name: &str) -> ObjectAddress {
        address(&format!("{}/{name}", self.root))
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.is_over.store(true, Ordering::SeqCst);
        let _ = TcpStream::connect(self.root.strip_prefix("http://").unwrap());
        let _ = self.listener.take().unwrap().join();
    }
}

/// Answers one request, and closes the connection.
fn answer(mut stream: TcpStream, asked: &Mutex<BTreeMap<String, usize>>, counted: &AtomicUsize) {
    let mut lines = BufReader::new(stream.try_clone().unwrap().take(64 << 10)).lines();
    let Some(Ok(first)) = lines.next() else { return };
    counted.fetch_add(1, Ordering::SeqCst);
    let headers: Vec<String> = lines.map_while(Result::ok).take_while(|line| !line.is_empty()).collect();
    let header = |name: &str| {
        let found =
            headers.iter().find_map(|line| line.split_once(':').filter(|(key, _)| key.eq_ignore_ascii_case(name)));
        found.map(|(_, value)| value.trim().to_owned())
    };
    let mut words = first.split(' ');
    let (method, name) = (words.next().unwrap(), words.next().unwrap().trim_start_matches('/').to_owned());
    let times = {
        let mut asked = asked.lock().unwrap();
        let times = asked.entry(format!("{method} {name}")).or_default();
        *times += 1;
        *times
    };
    let range = header("range").filter(|_| name != "plain").map(|range| {
        let (start, end) = range.strip_prefix("bytes=").unwrap().split_once('-').unwrap();
        start.parse().unwrap()..ROWS.len().min(end.parse::<usize>().unwrap() + 1)
    });
    let etag = match name.as_str() {
        "plain" | "weak" => "W/\"7\"",
        "changing" if times > 1 || method == "GET" => "\"8\"",
        _ => "\"7\"",
    };
    let (status, body) = match (name.as_str(), &range) {
        ("gone", _) => ("404 Not Found", &b"<html>"[..]),
        ("moved", _) => ("302 Found", &b""[..]),
        ("secret", _) => {
            ("403 Forbidden", &b"<Error><Code>AccessDenied</Code><Message>No.</Message><Id>XYZ</Id></Error>"[..])
        }
        ("tired", _) if times < 3 => ("503 Slow Down", &b""[..]),
        (_, Some(range)) => ("206 Partial Content", &ROWS[range.clone()]),
        (_, None) => ("200 OK", ROWS),
    };
    let mut head = format!("HTTP/1.1 {status}\r\nConnection: close\r\nContent-Length: {}\r\n", body.len());
    if status.starts_with("20") {
        let _ = write!(head, "ETag: {etag}\r\n");
    }
    if let Some(range) = range.filter(|_| status.starts_with("206")) {
        let _ = write!(head, "Content-Range: bytes {}-{}/{}\r\n", range.start, range.end - 1, ROWS.len());
    }
    if name == "moved" {
        head += "Location: http://127.0.0.1:1/other\r\n";
    }
    let body = if method == "HEAD" { &b""[..] } else { body };
    // The first answers with a body end in its middle.
    let body = if name == "dropped" && times < 4 { &body[..body.len() / 2] } else { body };
    let _ = stream.write_all(format!("{head}\r\n").as_bytes()).and_then(|()| stream.write_all(body));
}

fn of_web() -> Client {
    Client::of(Reached::by_environment().unwrap().with_bucket("none", Arc::new(InMemory::new()))).unwrap()
}

#[test]
fn parts_of_what_a_web_server_has_are_brought_whatever_the_server_does() {
    let (server, client) = (Server::start(), of_web());
    for name in ["rows", "weak", "tired", "dropped"] {
        let object = client.look(&server.address(name)).unwrap().unwrap();
        assert_eq!(object.bytes, ROWS.len() as u64, "{name}");
        let got = filled(&client, &object, &[10..16]).unwrap();
        let wanted = |place: usize| if (10..16).contains(&place) { ROWS[place] } else { 0 };
        assert_eq!(got, (0..ROWS.len()).map(wanted).collect::<Vec<_>>(), "{name}");
    }
    // One that knows no ranges gives all of it.
    let plain = client.look(&server.address("plain")).unwrap().unwrap();
    assert_eq!(filled(&client, &plain, &[10..16]).unwrap(), ROWS);
}

#[test]
fn what_a_web_server_refuses_is_told_in_words_and_redirects_are_not_followed() {
    let (server, client) = (Server::start(), of_web());
    assert_eq!(client.look(&server.address("gone")).unwrap(), None);
    let moved = client.look(&server.address("moved")).unwrap_err();
    assert_eq!(moved, ObjectError::Elsewhere { address: server.address("moved"), is_store: false });
    let secret = client.read(&server.address("secret"), 99).unwrap_err();
    assert_eq!(
        secret,
        ObjectError::Denied { address: server.address("secret"), said: "AccessDenied: No.".to_owned() }
    );
    let changing = client.look(&server.address("changing")).unwrap().unwrap();
    assert_eq!(filled(&client, &changing, &[0..4]).unwrap_err(), ObjectError::Changed(changing.address.clone()));
    assert!(server.requests.load(Ordering::SeqCst) > 3);
    let nobody = address("http://127.0.0.1:1/rows");
    let error = client.look(&nobody).unwrap_err().to_string();
    assert!(
        error.starts_with("http://127.0.0.1:1/rows: the store does not answer") && error.contains("refused"),
        "{error}"
    );
}

#[test]
fn whoever_no_longer_waits_is_not_kept_waiting() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = address(&format!("http://{}/silent", listener.local_addr().unwrap()));
    let object = Object { address, bytes: 10, tag: String::new() };
    let file = tempfile::tempfile().unwrap();
    let told = of_web().fill(&object, &[0..10], &file, &|| false);
    assert_eq!(told, Err(ObjectError::Stopped));
}
