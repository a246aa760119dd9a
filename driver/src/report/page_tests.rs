//! The page, as far as no browser is needed to see it.

use broadsweep_common::configuration::Value as Plain;
use broadsweep_common::ids::TrialId;

use super::*;
use crate::records::run::TrialRecord;
use crate::results::fixtures::{configuration, diverged, finished, given_up, not_run, run};

/// What names and reasons might be.
const HOSTILE: &str = "</script><img src=x onerror=alert(1)>\"'&lt;\u{2028}\0--><style>";
/// What no page may be larger than, however many trials there are.
const PAGE_BYTES_MAX: usize = 2_000_000;

/// A search with all kinds of parameters and of ends.
fn searched(trials: u32) -> RunRecord {
    let one = |trial: u32| {
        let digest = trial.wrapping_mul(2_654_435_761);
        let rate = libm::pow(10.0, -4.0 + f64::from(digest >> 8) / f64::from(1 << 22));
        let error = (libm::log10(rate) + 2.0).abs() / 4.0 + 0.01;
        let made = match trial % 50 {
            13 => diverged(trial, 1),
            27 => given_up(trial, HOSTILE),
            41 => not_run(trial),
            _ => finished(trial, error),
        };
        let values = [
            ("activation", Plain::Choice(["relu", "tanh", HOSTILE][trial as usize % 3].to_owned())),
            (HOSTILE, Plain::Real(f64::from(digest >> 16))),
            ("learning_rate", Plain::Real(rate)),
            ("width", Plain::Integer(16 << (trial % 5))),
        ];
        TrialRecord { configuration: configuration(&values), ..made }
    };
    let mut record = run((0..trials).map(one).collect());
    record.control = Some(TrialId(0));
    record.executor_names = vec![HOSTILE.to_owned()];
    record
}

fn of(run: &RunRecord) -> String {
    page(&Report::of(run))
}

/// What of a page is not scripts or style: their content is ours, and checked by the policy.
fn markup(page: &str) -> String {
    page.replace(&plotly(), "").replace(SCRIPT, "").replace(STYLE, "")
}

#[test]
fn the_scripts_are_whole_and_cannot_end_early() {
    let script = plotly();
    assert!(script.contains("plotly.js (basic - minified) v4.1.1"), "{}", &script[..100]);
    // The digest of the file as its makers publish it.
    let hex = |byte: &u8| format!("{byte:02x}");
    let digest: String = Sha256::digest(script.as_bytes()).iter().map(hex).collect();
    assert_eq!(digest, "99784e3abfb07b142a15e521a439e6d9addceadb3f79553fd24c72774f0649ba");
    for script in [&script, SCRIPT] {
        assert!(!script.contains("</script") && !script.contains("<!--") && !script.contains('\r'));
    }
    assert!(!STYLE.contains("</") && !STYLE.contains("url("));
}

#[test]
fn base64_is_that_of_its_specification() {
    let shown = ["", "f", "fo", "foo", "foob", "fooba", "foobar"].map(|text| base64(text.as_bytes()));
    assert_eq!(shown, ["", "Zg==", "Zm8=", "Zm9v", "Zm9vYg==", "Zm9vYmE=", "Zm9vYmFy"]);
}

#[test]
fn the_policy_names_the_scripts_and_nothing_else() {
    let page = of(&searched(3));
    let policy = page.split("content=\"").nth(1).unwrap().split('"').next().unwrap();
    assert!(policy.starts_with("default-src 'none'; script-src 'sha256-"), "{policy}");
    assert!(!policy.contains("http") && !policy.contains("unsafe-eval"));
    assert_eq!(policy.matches("'sha256-").count(), 2);
    assert_eq!(page.matches("<script").count() - plotly().matches("<script").count(), 3);
}

#[test]
fn a_hostile_name_is_text_wherever_it_stands() {
    for trials in [1, 50, 600] {
        let markup = markup(&of(&searched(trials)));
        for tag in ["<img", "<!--", "onerror=alert(1)>", "\0", "\u{2028}"] {
            assert!(!markup.contains(tag), "{trials} trials: {tag}");
        }
        assert_eq!(markup.matches("</script>").count(), 3);
        assert_eq!(markup.matches("<style>").count(), 1);
    }
}

#[test]
fn every_picture_has_a_place_in_the_page() {
    let record = searched(300);
    let page = of(&record);
    let view = View::of(&record);
    let pictures: Vec<_> =
        pictures::of_report(&Report::of(&record), &view).into_iter().flat_map(|section| section.pictures).collect();
    let ids: Vec<_> = pictures.iter().map(|picture| picture.id.as_str()).collect();
    let sensitivities = ["sensitivity-0", "sensitivity-1", "sensitivity-2", "sensitivity-3"];
    let expected =
        [&["errors", "importance"], &sensitivities[..], &["parallel", "curves", "ledger", "timeline"]].concat();
    assert_eq!(ids, expected);
    for id in ids {
        assert_eq!(page.matches(&format!("id=\"plot-{id}\"")).count(), 1, "{id}");
    }
}

#[test]
fn titles_beside_long_names_fit_a_screen_of_500_pixels() {
    let record = searched(50);
    let sections = pictures::of_report(&Report::of(&record), &View::of(&record));
    let layouts =
        || sections.iter().flat_map(|section| &section.pictures).map(|picture| (&picture.id, &picture.layout));
    let title = |layout: &Value, of: &str| layout[of]["title"]["text"].as_str().unwrap_or_default().chars().count();
    // Names of 32 characters take 230 pixels, cards and margins 80; a character of a title takes 7.
    let beside_names = layouts().filter(|(id, _)| ["importance", "ledger", "timeline"].contains(&id.as_str()));
    let titles: Vec<_> = beside_names.map(|(_, layout)| title(layout, "xaxis")).collect();
    assert!(titles.len() == 3 && titles.iter().all(|length| (1..=24).contains(length)), "{titles:?}");
    assert!(layouts().all(|(_, layout)| title(layout, "legend") <= 24), "there is no room for what it lists");
}

#[test]
fn curves_of_few_epochs_name_each_epoch_once() {
    let record = searched(30);
    let epochs = record.trials.iter().map(|trial| trial.curves.epochs()).max().unwrap();
    assert!((2..10).contains(&epochs), "{epochs}");
    let sections = pictures::of_report(&Report::of(&record), &View::of(&record));
    let curves =
        sections.iter().flat_map(|section| &section.pictures).find(|picture| picture.id == "curves").unwrap();
    assert_eq!(curves.layout["xaxis"]["dtick"], 1);
}

#[test]
fn a_run_of_failures_has_a_page_that_says_so() {
    let record = run((0..9).map(|trial| given_up(trial, "no room")).collect());
    let page = of(&record);
    assert!(page.contains("No trial has a result, so there is no best configuration."));
    assert!(page.contains("No trial has a result, so there is no error to draw."));
    assert!(page.contains("<td>no room</td>"));
    assert!(page.contains("id=\"plot-timeline\""), "its attempts are drawn");
}

#[test]
fn odd_numbers_are_no_crash() {
    for odd in [f64::NAN, f64::INFINITY, f64::NEG_INFINITY, 0.0, 1e308, 5e-324] {
        let mut record = run((0..30).map(|trial| finished(trial, if trial % 3 == 0 { odd } else { 0.5 })).collect());
        record.wall_s = odd;
        for (place, attempt) in record.attempts.iter_mut().enumerate() {
            (attempt.started_s, attempt.ended_s) = if place % 2 == 0 { (odd, 1.0) } else { (0.5, odd) };
        }
        for (place, trial) in record.trials.iter_mut().enumerate() {
            let value = Plain::Real(if place % 2 == 0 { odd } else { place as f64 });
            trial.configuration = configuration(&[("x", value)]);
        }
        assert!(of(&record).len() > 1_000_000);
    }
}

#[test]
fn a_page_is_bounded_however_many_trials_there_are() {
    let sizes = [1, 50, 5000, 100_000].map(|trials| of(&searched(trials)).len());
    assert!(sizes.iter().all(|size| *size <= PAGE_BYTES_MAX), "{sizes:?}");
    assert!(sizes[3] < sizes[2] + 50_000, "{sizes:?}");
}
