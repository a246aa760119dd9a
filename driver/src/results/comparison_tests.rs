//! Comparisons of small records.

use super::*;
use crate::results::fixtures::{finished, given_up, run};

fn member(size: u32, repeat: u32, wall_s: f64, error: f64) -> Member {
    let record = RunRecord { wall_s, ..run(vec![finished(0, error)]) };
    Member { size, repeat, folder: format!("{size}-{repeat}"), record }
}

#[test]
fn medians_are_compared_with_the_smallest_size() {
    let walls = [(1, 1, 60.0), (1, 2, 90.0), (1, 3, 61.0), (4, 1, 20.0), (4, 2, 10.0)];
    let members = walls.map(|(size, repeat, wall_s)| member(size, repeat, wall_s, 0.1));
    let comparison = Comparison::of("s", Sameness::Bits, false, None, members.to_vec());
    let rows: Vec<_> =
        comparison.sizes.iter().map(|row| (row.executors, row.wall_s, row.median_run.as_str())).collect();
    assert_eq!(rows, [(1, 61.0, "1-3"), (4, 15.0, "4-2")]);
    assert!((comparison.sizes[1].speedup - 61.0 / 15.0).abs() < 1e-12);
    assert!((comparison.sizes[1].efficiency - 61.0 / 60.0).abs() < 1e-12);
    assert_eq!((comparison.sizes[0].forecast_wall_s, comparison.disagreement()), (None, None));
    assert!(comparison.sizes[1].forecast_wall_s.is_some());
    let two =
        Comparison::of("s", Sameness::Bits, false, None, vec![member(2, 1, 30.0, 0.1), member(4, 1, 15.0, 0.1)]);
    assert!((two.sizes[1].speedup - 4.0).abs() < 1e-12, "two executors stand for two");
}

#[test]
fn sentences_name_their_run_where_the_table_has_medians_of_several() {
    let walls = [(1, 1, 60.0), (4, 1, 20.0), (4, 2, 10.0)];
    let members = walls.map(|(size, repeat, wall_s)| member(size, repeat, wall_s, 0.1));
    let tried = FirstContact::of(&members[0].record, true);
    let text = Comparison::of("s", Sameness::Bits, false, Some(tried), members.to_vec()).text();
    let text = text.split_whitespace().collect::<Vec<_>>().join(" ");
    for part in [
        "4 15.00 s",
        "on 1 executor, of 4 slots x 60.0 s:",
        "on 4 executors, in its run 4-2, of 4 slots x 10.0 s:",
        "is not known, as a first try was broken off; after it, before the first run, 1000 B of data came to",
    ] {
        assert!(text.contains(part), "{part}: {text}");
    }
}

#[test]
fn results_that_differ_are_named_run_by_run() {
    let members = vec![member(1, 1, 60.0, 0.1), member(2, 1, 30.0, 0.1), member(2, 2, 30.0, 0.2)];
    let comparison = Comparison::of("s", Sameness::Bits, false, None, members);
    assert!(!comparison.agree && comparison.results_sha256.is_none());
    let told = comparison.disagreement().unwrap();
    assert!(told.contains(": 1-1, 2-1") && told.contains(": 2-2"), "{told}");
}

#[test]
fn work_that_takes_longer_on_more_executors_is_told() {
    let mut slower = member(2, 1, 30.0, 0.1);
    slower.record.attempts[0].ended_s = 4.0;
    slower.record.attempts[0].training_s = 3.25;
    let comparison = Comparison::of("s", Sameness::Bits, false, None, vec![member(1, 1, 60.0, 0.1), slower]);
    assert!((comparison.sizes[1].work_ratio - 2.0).abs() < 1e-9, "{comparison:?}");
    let told = |row: &SizeRow| row.remarks.iter().any(|remark| remark.contains("took 2.00 times as long as on 1"));
    assert_eq!(comparison.sizes.iter().map(told).collect::<Vec<_>>(), [false, true]);
}

#[test]
fn the_files_have_a_row_a_size() {
    let comparison = Comparison::of(
        "s",
        Sameness::Bits,
        true,
        Some(FirstContact::of(&run(vec![finished(0, 0.1)]), false)),
        vec![member(1, 1, 60.0, 0.1), member(2, 1, 30.0, 0.1)],
    );
    let csv = comparison.csv();
    let mut reader = csv::Reader::from_reader(csv.as_bytes());
    let rows: Vec<BTreeMap<String, String>> = reader.deserialize().map(Result::unwrap).collect();
    assert_eq!((rows.len(), rows[1]["executors"].as_str(), rows[1]["speedup"].as_str()), (2, "2", "2"));
    assert!(rows[1].contains_key("slot_training_s") && rows[0]["forecast_wall_s"].is_empty(), "{rows:?}");
    let json: serde_json::Value = serde_json::from_str(&comparison.json()).unwrap();
    assert_eq!((&json["agree"], &json["cold"]), (&true.into(), &true.into()));
    assert_eq!(
        (&json["sizes"][1]["runs"][0]["folder"], &json["first_contact"]["sent_bytes"]),
        (&"2-1".into(), &2000.into())
    );
    let text = comparison.text();
    assert!(!text.contains("not known"), "{text}");
    assert!(
        text.contains("on 1 executor, of 4 slots x 60.0 s:") && text.contains("the same to the last bit"),
        "{text}"
    );
}

#[test]
fn runs_of_a_program_that_gives_other_numbers_each_time_are_compared_by_their_configurations() {
    let members = || vec![member(1, 1, 60.0, 0.125), member(2, 1, 30.0, 0.25), member(2, 2, 30.0, 0.125)];
    let comparison = Comparison::of("s", Sameness::Configurations, false, None, members());
    assert!(comparison.agree && comparison.results_sha256.is_none() && comparison.disagreement().is_none());
    assert_eq!(comparison.spread.as_ref().map(|spread| spread.largest), Some(0.125));
    let text = comparison.text().split_whitespace().collect::<Vec<_>>().join(" ");
    assert!(text.contains("1 configuration has a result in every run") && !text.contains("sha256"), "{text}");
    let json: serde_json::Value = serde_json::from_str(&comparison.json()).unwrap();
    assert_eq!((&json["compared_by"], &json["spread"]["configurations"]), (&"configurations".into(), &1.into()));

    let mut others = members();
    others[1].record.trials[0] = given_up(0, "out of luck");
    let comparison = Comparison::of("s", Sameness::Configurations, false, None, others);
    let told = comparison.disagreement().unwrap();
    assert!(!comparison.agree && told.contains("2-1 has no result of fc1=64"), "{told}");
}
