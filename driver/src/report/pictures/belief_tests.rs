//! What is drawn of what a sampler believes.

use broadsweep_search::SamplerKind;

use super::super::super::belief::tests::searched;
use super::*;
use crate::records::run::RunRecord;

const GAUSSIAN: SamplerKind = SamplerKind::Gaussian { trials: 24 };
const TPE: SamplerKind = SamplerKind::Tpe { trials: 24 };

fn drawn(record: &RunRecord) -> Section {
    section(&View::of(record)).expect("the sampler believes something")
}

fn picture<'a>(section: &'a Section, parameter: &str) -> &'a Picture {
    let is_of = |picture: &&Picture| picture.layout["xaxis"]["title"]["text"] == parameter;
    section.pictures.iter().find(is_of).expect("it is drawn")
}

#[test]
fn a_process_has_a_line_in_a_band_along_numbers_and_bars_at_words() {
    let section = drawn(&searched(GAUSSIAN, 24));
    let rate = picture(&section, "rate");
    let modes: Vec<_> = rate.traces.iter().map(|trace| trace["mode"].as_str().unwrap()).collect();
    assert_eq!(modes, ["lines", "lines", "lines", "markers"]);
    assert_eq!((&rate.layout["xaxis"]["type"], &rate.traces[1]["fill"]), (&json!("log"), &json!("tonexty")));
    assert_eq!(rate.traces[2]["x"].as_array().unwrap().len(), 41);
    let word = picture(&section, "word");
    assert_eq!(word.layout["xaxis"]["ticktext"], json!(["relu", "tanh"]));
    assert_eq!(word.traces[0]["error_y"]["array"].as_array().unwrap().len(), 2);
    assert_eq!(word.traces[1]["marker"]["symbol"], "star");
    assert!(word.traces[1]["x"] == json!([0.0]) || word.traces[1]["x"] == json!([1.0]), "{}", word.traces[1]["x"]);
    assert_eq!(
        rate.layout["yaxis"]["range"], word.layout["yaxis"]["range"],
        "one axis, so that flat means no effect"
    );
    assert!(
        section
            .sentence
            .starts_with("After 24 trials, the Gaussian process expects the lowest validation error with ")
    );
}

#[test]
fn an_estimator_has_two_densities_and_their_ratio() {
    let section = drawn(&searched(TPE, 24));
    let (rate, word) = (picture(&section, "rate"), picture(&section, "word"));
    let names = |picture: &Picture| -> Vec<_> {
        picture.traces.iter().filter_map(|trace| trace["name"].as_str().map(str::to_owned)).collect()
    };
    assert_eq!((names(rate), names(word)), (vec!["others".to_owned(), "good".to_owned()], names(rate)));
    assert_eq!((&rate.traces[1]["type"], &word.traces[1]["type"]), (&json!("scatter"), &json!("bar")));
    assert_eq!(rate.traces[3]["yaxis"], "y2");
    assert!(section.sentence.starts_with("Of 24 trials, the best tenth are good to the Parzen estimator"));
}

#[test]
fn a_sampler_without_a_belief_has_no_such_section() {
    assert_eq!(section(&View::of(&searched(SamplerKind::Random { trials: 24 }, 24))), None);
}
