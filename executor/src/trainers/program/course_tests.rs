//! What becomes of what a program tells, without one.

use std::io::Write as _;
use std::sync::Arc;

use broadsweep_common::attempt::{AttemptEvent, Report};
use broadsweep_common::ids::{AttemptId, TaskId};
use broadsweep_common::program::PrintedForm;
use tempfile::TempDir;
use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};

use super::*;
use crate::archive::{Access, unpack};
use crate::log::AttemptLog;
use crate::stop::Stop;
use broadsweep_store::BlobStore;

const ATTEMPT: AttemptId = AttemptId { task: TaskId(3), number: 1 };
const UNTIL: u32 = 4;

struct Bench {
    folder: TempDir,
    control: SlotControl,
    reported: UnboundedReceiver<Report>,
    store: Arc<BlobStore>,
    stop: Arc<Stop>,
}

impl Bench {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        fs::create_dir(folder.path().join("checkpoint")).unwrap();
        fs::write(folder.path().join("metrics"), b"").unwrap();
        let store = Arc::new(BlobStore::open(&folder.path().join("blobs")).unwrap());
        let (stop, (reports, reported)) = (Arc::<Stop>::default(), unbounded_channel());
        let log = Arc::new(AttemptLog::new(Arc::default()));
        let control = SlotControl::new(ATTEMPT, UNTIL, Arc::clone(&stop), store.shelf_of(ATTEMPT), (reports, log));
        Self { folder, control, reported, store, stop }
    }

    fn tell(&self, text: &str) {
        let mut file = File::options().append(true).open(self.folder.path().join("metrics")).unwrap();
        file.write_all(text.as_bytes()).unwrap();
    }

    fn course(&mut self, from_epoch: u32) -> Course<'_> {
        let checkpoints = Checkpoints { folder: self.folder.path().join("checkpoint"), bytes_max: 1000 };
        let printed = Printed::new(&[PrintedForm::Assignments]).unwrap();
        let metrics_file = self.folder.path().join("metrics");
        let named = (&MetricName::VALIDATION_ERROR, printed);
        let is_resuming = from_epoch > 0;
        Course::new(&mut self.control, named, (from_epoch, UNTIL), is_resuming, &metrics_file, checkpoints).unwrap()
    }

    /// The epochs that were reported, each with its metrics and the blob of its checkpoint.
    fn epochs(&mut self) -> Vec<(u32, String, Option<broadsweep_common::ids::Digest>)> {
        let reports = std::iter::from_fn(|| self.reported.try_recv().ok());
        let epochs = reports.map(|report| {
            let AttemptEvent::Epoch { epoch, metrics, checkpoint } = report.event else { panic!("no epoch") };
            let metrics: Vec<_> = metrics.iter().map(|(name, value)| format!("{name}={value}")).collect();
            (epoch, metrics.join(" "), checkpoint)
        });
        epochs.collect()
    }

    fn told(&mut self) -> Vec<(u32, String)> {
        self.epochs().into_iter().map(|(epoch, metrics, _)| (epoch, metrics)).collect()
    }
}

fn rows(rows: &[(u32, &str)]) -> Vec<(u32, String)> {
    rows.iter().map(|(epoch, metrics)| (*epoch, (*metrics).to_owned())).collect()
}

#[test]
fn lines_of_one_epoch_are_one_report_and_each_epoch_is_reported_once() {
    let mut bench = Bench::new();
    bench.tell("{\"epoch\": 1, \"loss\": 3}\n{\"epoch\": 1, \"validation_error\": 0.5}\n{\"epoch\": 2, ");
    let mut course = bench.course(0);
    course.look();
    assert!(!course.has_objective(), "more may come of the epoch");
    course.look();
    assert!(course.has_objective() && course.epoch() == 1);
    bench.tell("\"validation_error\": NaN}\n{\"epoch\": 1, \"late\": 1}\n{\"epoch\": 3, \"validation_error\": 0.25}");
    let mut course = bench.course(0);
    course.close();
    assert!(course.fault().is_none() && course.may_go_on());
    let whole = [(1, "validation_error=0.5 loss=3"), (2, "validation_error=NaN"), (3, "validation_error=0.25")];
    assert_eq!(bench.told(), [rows(&whole[..1]), rows(&whole)].concat());
}

#[test]
fn what_is_printed_without_a_number_counts_on_where_a_name_comes_again() {
    let mut bench = Bench::new();
    let mut course = bench.course(0);
    course.hear(b"loss=1\nvalidation_error=0.5\nloss=0.5 validation_error=");
    course.hear(b"0.25");
    course.close();
    assert_eq!(bench.told(), rows(&[(1, "validation_error=0.5 loss=1"), (2, "validation_error=0.25 loss=0.5")]));
}

#[test]
fn an_attempt_that_goes_on_from_a_checkpoint_repeats_nothing() {
    let mut bench = Bench::new();
    bench.tell("{\"epoch\": 2, \"validation_error\": 9}\n{\"epoch\": 3, \"validation_error\": 1}\n");
    let mut course = bench.course(2);
    assert!(course.has_objective(), "it was told before");
    course.close();
    assert_eq!(bench.told(), rows(&[(3, "validation_error=1")]));
}

#[test]
fn a_checkpoint_that_was_committed_before_its_epoch_was_told_skips_it() {
    let mut bench = Bench::new();
    bench.tell("{\"epoch\": 3, \"validation_error\": 1}\n");
    let mut course = bench.course(1);
    course.look();
    assert!(course.has_skipped() && !course.may_go_on() && course.fault().is_none());
    course.close();
    assert!(bench.told().is_empty());
}

#[test]
fn what_cannot_be_is_named_and_ends_the_program() {
    let rows = [
        ("{\"epoch\": 0, \"a\": 1}\n", "epochs count from 1"),
        ("{\"epoch\": 5, \"a\": 1}\n", "it reported epoch 5, and was asked for 4; pass ${epochs} to it"),
        ("{\"epoch\": 3, \"a\": 1}\n", "it reported epoch 3 after epoch 0"),
        ("{\"a\": 1}\nno json\n", "has the line \"no json\""),
    ];
    for (text, fragment) in rows {
        let mut bench = Bench::new();
        bench.tell(text);
        let mut course = bench.course(0);
        course.look();
        assert!(!course.may_go_on());
        assert!(course.fault().is_some_and(|fault| fault.contains(fragment)), "{:?}", course.fault());
    }
    let mut bench = Bench::new();
    bench.stop.now();
    assert!(!bench.course(0).may_go_on(), "it was told to stop");
}

#[test]
fn a_checkpoint_is_what_was_committed_when_its_epoch_was_reported() {
    let mut bench = Bench::new();
    let place = bench.folder.path().join("checkpoint");
    bench.tell("{\"validation_error\": 1}\n{\"validation_error\": 2}\n");
    fs::write(place.join("model"), b"state").unwrap();
    fs::write(place.join(".half"), b"written").unwrap();
    let mut course = bench.course(0);
    course.close();
    let epochs = bench.epochs();
    let blob = epochs[0].2.expect("the first one is always kept");
    let content = bench.store.get(blob).unwrap().content;
    let (epoch, archive) = checkpoint_parts((*content).as_ref()).unwrap();
    let other = tempfile::tempdir().unwrap();
    unpack(archive, other.path(), Access::Writable).unwrap();
    assert_eq!(epoch, 1);
    assert_eq!(fs::read(other.path().join("model")).unwrap(), b"state");
    assert_eq!(fs::read_dir(other.path()).unwrap().count(), 1, "what is half written stays");
}

#[test]
fn its_last_words_are_the_end_of_what_it_printed() {
    let mut bench = Bench::new();
    let mut course = bench.course(0);
    assert_eq!(course.last_words(), "it printed nothing");
    for line in 0..1000 {
        course.hear(format!("line {line}\n").as_bytes());
    }
    course.hear(b"10 %\r100 %\nTraceback: no such file\n");
    let words = course.last_words();
    assert!(words.ends_with("100 % | Traceback: no such file") && words.len() < 300, "{words}");
}
