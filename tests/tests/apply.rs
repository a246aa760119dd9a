//! A finished model, applied to many rows on executors: each row once, and the same bytes on any of them.

use std::fmt::Write as _;
use std::fs;

use broadsweep_tests::applications::{begin, parts, succeeded, table, trained};
use broadsweep_tests::lab::Lab;
use broadsweep_tests::process::Ended;
use broadsweep_tests::wait::until;

const PROGRAM: &str = env!("CARGO_BIN_EXE_broadsweep-under-test");

/// Rows of the input: several partitions, of which the last is not full.
const ROWS: usize = 4_321;
const PARTITIONS: usize = 9;

/// Applies the model of `run` to `rows.csv`, in a run of its own beside the output.
fn applied(lab: &Lab, output: &str, flags: &[&str]) -> Ended {
    applied_in(lab, output, &format!("{output}-run"), flags)
}

fn applied_in(lab: &Lab, output: &str, run: &str, flags: &[&str]) -> Ended {
    begin(lab, output, run, flags).wait()
}

#[test]
fn each_row_is_there_once_with_what_predict_says_and_the_bytes_are_the_same_on_any_executors() {
    let lab = trained(PROGRAM, ROWS);
    for format in ["csv", "jsonl", "parquet"] {
        let one = format!("one-{format}");
        let flags = ["--format", format, "--keep", "id", "--local"];
        succeeded(&applied(&lab, &one, &[&flags[..], &["1x1"]].concat()));
        let expected = parts(&lab.path(&one));
        assert_eq!(expected.len(), PARTITIONS);
        for shape in ["1x2", "3x1"] {
            let other = format!("{shape}-{format}");
            succeeded(&applied(&lab, &other, &[&flags[..], &[shape]].concat()));
            assert_eq!(parts(&lab.path(&other)), expected, "{format} on {shape}");
        }
    }
    let input = lab.path("rows.csv");
    let predicted =
        lab.command(["predict".as_ref(), lab.path("run").as_os_str(), "--input".as_ref(), input.as_os_str()]);
    let predicted = predicted.wait();
    succeeded(&predicted);
    let mut told = String::new();
    for (place, bytes) in parts(&lab.path("one-csv")).into_values().enumerate() {
        let text = String::from_utf8(bytes).unwrap();
        text.lines().skip(usize::from(place > 0)).for_each(|line| writeln!(told, "{line}").unwrap());
    }
    // The same but for the first column: there the number of the row, here what was passed through.
    let behind_first =
        |text: &str| text.lines().skip(1).map(|line| line.split_once(',').unwrap().1.to_owned()).collect::<Vec<_>>();
    assert_eq!(behind_first(&told), behind_first(&predicted.stdout));
    let ids: Vec<_> = told.lines().skip(1).map(|line| line.split(',').next().unwrap().to_owned()).collect();
    assert_eq!(ids, (600..600 + ROWS).map(|number| format!("n{number}")).collect::<Vec<_>>());
}

#[test]
fn labels_are_compared_and_what_comes_of_it_is_told_as_predict_tells_it() {
    let lab = trained(PROGRAM, ROWS);
    let ended = applied(&lab, "out", &["--labels", "kind", "--json"]);
    succeeded(&ended);
    let summary: serde_json::Value = serde_json::from_str(&ended.stdout).unwrap();
    let error = summary["labels"]["error"].as_f64().unwrap();
    let input = lab.path("rows.csv");
    let predicted =
        lab.command(["predict".as_ref(), lab.path("run").as_os_str(), "--input".as_ref(), input.as_os_str()]);
    let told = format!("error {:.2} %", 100.0 * error);
    let stderr = predicted.wait().stderr;
    assert!(stderr.contains(&told), "{told}: {stderr}");
    let rows: u64 = summary["labels"]["confusion"]
        .as_array()
        .unwrap()
        .iter()
        .flat_map(|row| row.as_array().unwrap())
        .map(|count| count.as_u64().unwrap())
        .sum();
    assert_eq!((rows, summary["rows"].as_u64()), (ROWS as u64, Some(ROWS as u64)));
    assert_eq!(summary["labels"]["classes"].as_array().unwrap().len(), 3);
    assert_eq!(summary["worst"].as_array().unwrap().len(), 20);
}

#[test]
fn rows_that_cannot_be_read_are_listed_and_nothing_is_written_unless_so_many_may_be() {
    let lab = trained(PROGRAM, ROWS);
    let bad = table(600..700).replace("\"n650\",", "\"n650\",?x").replace("\"n660\",", "\"n660\",1,");
    lab.write("rows.csv", &bad);
    let ended = applied(&lab, "out", &["--format", "csv", "--keep", "id"]);
    assert_eq!(ended.code, Some(1), "{}", ended.stderr);
    let told = ["2 rows cannot be read, and 0 may be", "bad_rows_max = 2", "broadsweep resume"];
    assert!(told.iter().all(|told| ended.stderr.contains(told)), "{}", ended.stderr);
    assert!(!lab.path("out").exists(), "something is visible");
    let listed = fs::read_to_string(lab.path("out-run/bad_rows.csv")).unwrap();
    assert!(listed.contains("line 52") && listed.contains("line 62") && listed.lines().count() == 3, "{listed}");
    let study = fs::read_to_string(lab.path("out-run/study.toml")).unwrap();
    lab.write("out-run/study.toml", study.replace("bad_rows_max = 0", "bad_rows_max = 2"));
    succeeded(&lab.resume("out-run", &[]).wait());
    let text = String::from_utf8(parts(&lab.path("out")).into_values().next().unwrap()).unwrap();
    assert_eq!(text.lines().count(), 1 + 98);
    assert!(text.contains("n651,") && !text.contains("n650,") && !text.contains("n660,"), "{text}");
}

#[test]
fn a_driver_that_is_killed_in_the_middle_leaves_nothing_visible_and_a_resume_writes_the_same_bytes() {
    let lab = trained(PROGRAM, ROWS);
    lab.write("rows.csv", table(600..60_600));
    succeeded(&applied(&lab, "whole", &["--local", "2x1"]));
    let (output, run) = (lab.path("out"), lab.path("out-run"));
    let driver = begin(&lab, "out", "out-run", &["--local", "2x1"]);
    let outputs = run.join("outputs");
    until("some partitions are over", || {
        fs::read_dir(&outputs).is_ok_and(|entries| entries.count() > 5).then_some(())
    });
    driver.kill();
    assert!(!output.exists(), "something is visible before the commit");
    let reader = {
        let (output, whole) = (output.clone(), lab.path("whole"));
        std::thread::spawn(move || {
            until("the output", || output.exists().then_some(()));
            parts(&output) == parts(&whole) && output.join("manifest.json").is_file()
        })
    };
    // Somebody else asks for the same output: it is taken, and the words say how to go on.
    let taken = applied_in(&lab, "out", "second", &[]);
    assert_eq!(taken.code, Some(2), "{}", taken.stderr);
    assert!(taken.stderr.contains("broadsweep resume"), "{}", taken.stderr);
    let resumed = lab.resume("out-run", &[]).wait();
    succeeded(&resumed);
    assert!(parts(&output) == parts(&lab.path("whole")), "other bytes");
    assert!(reader.join().unwrap(), "a reader saw a part of it");
    // It is over: to go on once more changes nothing.
    succeeded(&lab.resume("out-run", &[]).wait());
    assert!(parts(&output) == parts(&lab.path("whole")), "other bytes");
}

#[test]
fn what_is_there_is_kept_unless_it_is_to_be_replaced_or_added_to() {
    let lab = trained(PROGRAM, ROWS);
    succeeded(&applied(&lab, "out", &["--format", "csv"]));
    let first = parts(&lab.path("out"));
    let again = |flags: &[&str], run: &str| applied_in(&lab, "out", run, &[flags, &["--format", "csv"]].concat());
    let refused = again(&[], "second");
    assert_eq!(refused.code, Some(2), "{}", refused.stderr);
    assert!(refused.stderr.contains("--overwrite") && refused.stderr.contains("--append"), "{}", refused.stderr);
    assert!(!lab.path("second").exists(), "a command that fails before its work leaves nothing behind");
    lab.write("rows.csv", table(0..700));
    succeeded(&again(&["--overwrite"], "third"));
    assert_eq!(parts(&lab.path("out")).len(), 2, "what was there is gone");
    lab.write("rows.csv", table(600..600 + ROWS));
    succeeded(&again(&["--overwrite"], "third-again"));
    assert!(parts(&lab.path("out")) == first);
    succeeded(&again(&["--append"], "fourth"));
    let both = parts(&lab.path("out"));
    assert_eq!(both.len(), 2 * PARTITIONS);
    let bytes: usize = both.values().map(Vec::len).sum();
    assert_eq!(bytes, 2 * first.values().map(Vec::len).sum::<usize>());
    let manifest = fs::read(lab.path("out/manifest.json")).unwrap();
    let manifest: serde_json::Value = serde_json::from_slice(&manifest).unwrap();
    assert_eq!(
        (&manifest["rows"], manifest["files"].as_array().unwrap().len()),
        (&(2 * ROWS).into(), 2 * PARTITIONS)
    );
}

#[test]
fn nodes_read_the_rows_only_below_folders_that_they_allow_and_are_sent_them_else() {
    let lab = trained(PROGRAM, ROWS);
    succeeded(&applied(&lab, "local", &[]));
    let expected = parts(&lab.path("local"));
    let closed = lab.executor("closed", 1);
    let sent = applied(&lab, "to-closed", &["--nodes", &closed.address]);
    succeeded(&sent);
    assert!(sent.stderr.contains("rows are sent to "), "{}", sent.stderr);
    assert!(sent.stderr.contains("it reads no files of its machine (`--allow-files DIR`"), "{}", sent.stderr);
    assert!(parts(&lab.path("to-closed")) == expected, "rows that were sent are answered otherwise");
    let elsewhere = lab.path("elsewhere");
    fs::create_dir(&elsewhere).unwrap();
    let other = lab.executor_with("other", 1, &["--allow-files", elsewhere.to_str().unwrap()]);
    let sent = applied(&lab, "to-other", &["--nodes", &other.address]);
    succeeded(&sent);
    assert!(sent.stderr.contains("is not below a folder that --allow-files names"), "{}", sent.stderr);
    let open = lab.executor_with("open", 2, &["--allow-files", lab.path(".").to_str().unwrap()]);
    let read = applied(&lab, "by-open", &["--nodes", &open.address]);
    succeeded(&read);
    assert!(!read.stderr.contains("rows are sent"), "{}", read.stderr);
    let nodes = [&closed.address[..], &other.address, &open.address].join(",");
    succeeded(&applied(&lab, "by-all", &["--nodes", &nodes]));
    for output in ["to-other", "by-open", "by-all"] {
        assert!(parts(&lab.path(output)) == expected, "{output}");
    }
}

#[test]
fn a_changed_input_ends_a_run_with_its_name_and_what_else_opens_the_run_says_what_it_is() {
    let lab = trained(PROGRAM, ROWS);
    lab.write("rows.csv", table(600..60_600));
    let driver = begin(&lab, "out", "out-run", &["--local", "2x1"]);
    let outputs = lab.path("out-run/outputs");
    until("some partitions are over", || {
        fs::read_dir(&outputs).is_ok_and(|entries| entries.count() > 2).then_some(())
    });
    driver.kill();
    for (command, told) in
        [("status", "partitions"), ("report", "partitions"), ("stop", "leave rows out"), ("extend", "trains nothing")]
    {
        let run = lab.path("out-run");
        let mut words = vec![command.to_owned(), run.to_str().unwrap().to_owned()];
        if command == "extend" {
            words.extend(["--trials".to_owned(), "2".to_owned()]);
        }
        let ended = lab.command(words).wait();
        assert!(
            format!("{}{}", ended.stdout, ended.stderr).contains(told),
            "{command}: {}{}",
            ended.stdout,
            ended.stderr
        );
    }
    lab.write("rows.csv", table(600..60_601));
    let resumed = lab.resume("out-run", &[]).wait();
    assert_ne!(resumed.code, Some(0));
    assert!(resumed.stderr.contains("rows.csv") && resumed.stderr.contains("changed"), "{}", resumed.stderr);
    assert!(!lab.path("out").exists(), "something is visible");
}

#[test]
fn clusters_of_several_sizes_are_compared_by_what_they_answer() {
    let lab = trained(PROGRAM, ROWS);
    succeeded(&applied(&lab, "out", &[]));
    let (study, out, cache) = (lab.path("out-run/study.toml"), lab.path("cmp"), lab.path("cache"));
    let [study, out, cache] = [&study, &out, &cache].map(|path| path.to_str().unwrap());
    let flags = ["--out", out, "--cache-dir", cache, "--sizes", "1,2", "--repeats", "1", "--local", "2x1"];
    let before = parts(&lab.path("out"));
    let scaled = lab.command([&["scale", study][..], &flags].concat()).wait();
    succeeded(&scaled);
    assert!(scaled.stdout.contains("the results are the same to the last bit"), "{}", scaled.stdout);
    assert!(parts(&lab.path("out")) == before, "what is compared is no output");
    let told: serde_json::Value = serde_json::from_slice(&fs::read(lab.path("cmp/scale.json")).unwrap()).unwrap();
    assert_eq!((&told["agree"], told["sizes"].as_array().unwrap().len()), (&true.into(), 2));
    let summary = |run: &str| -> serde_json::Value {
        serde_json::from_slice(&fs::read(lab.path(run).join("summary.json")).unwrap()).unwrap()
    };
    assert_eq!(summary("cmp/2-1")["results_sha256"], summary("out-run")["results_sha256"]);
    lab.write("rows.csv", table(601..601 + ROWS));
    succeeded(&applied(&lab, "other", &[]));
    assert_ne!(summary("other-run")["results_sha256"], summary("out-run")["results_sha256"], "of other rows");
}
