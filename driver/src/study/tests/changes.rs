//! Tests of changes from the command line: what they mean, and what stays of the text.

use broadsweep_common::configuration::{Configuration, Value as ConfigurationValue};

use crate::study::changes::{Change, ChangeError, change, starting_from};

const STUDY: &str = "# mine
name = 'mine' # names the folder

[trainer]      # what is trained
kind = 'replay'
error = '$error' # of the last epoch
early = { patience = 2 } # inline

[search]
sampler = 'random'
trials = 20
space = { error = { values = [0.1, 0.2] } }

[[layers]]
units = 3 # the first

[[layers]]
units = 4
";

fn changed(text: &str, changes: &[&str]) -> Result<String, ChangeError> {
    let changes: Result<Vec<Change>, _> = changes.iter().map(|change| change.parse()).collect();
    change(text, &changes?)
}

#[test]
fn a_change_stands_in_its_place_and_all_else_stays_as_it_was() {
    let rows = [
        ("search.trials=5", "trials = 20", "trials = 5"),
        ("trainer.error=0.5", "error = '$error' #", "error = 0.5 #"),
        ("name=other", "name = 'mine'", "name = \"other\""),
        ("trainer.early.patience=3", "patience = 2", "patience = 3"),
        ("search.space.error.values=[1, 2]", "[0.1, 0.2]", "[1, 2]"),
        ("layers.1.units=8", "units = 4", "units = 8"),
        ("seed=7", "# mine", "seed = 7\n# mine"),
        ("trainer.epochs=3", "# what is trained\n", "# what is trained\nepochs = 3\n"),
        ("trainer.early.min=0.1", "{ patience", "{ min = 0.1, patience"),
        ("scheduling.failures_max=2", "units = 4\n", "units = 4\n\n[scheduling]\nfailures_max = 2\n"),
        ("layers.0.kind=dense", "[[layers]]\nunits = 3", "[[layers]]\nkind = \"dense\"\nunits = 3"),
        ("trainer.a.b=true", "# what is trained\n", "# what is trained\na.b = true\n"),
    ];
    for (asked, from, to) in rows {
        assert_eq!(STUDY.matches(from).count(), 1, "{asked}: {from}");
        assert_eq!(changed(STUDY, &[asked]).unwrap(), STUDY.replace(from, to), "{asked}");
    }
}

#[test]
fn changes_come_one_after_the_other_and_mean_what_they_say_however_a_study_is_written() {
    for text in [
        "",
        "a.b = 1\n",
        "a = {}\n",
        "[a]",
        "\u{feff}x = 1\n",
        "[a.b.c]\nd = 1\n",
        "a = { b = { c = 1 } }",
        "'a' = { \"b\" = 0 } ",
    ] {
        let both = changed(text, &["a.b.c=2", "z='w'"]);
        match both {
            Ok(both) => {
                let table: toml::Table = both.parse().unwrap_or_else(|error| panic!("{text:?}: {both:?}: {error}"));
                assert_eq!(table["a"]["b"]["c"].as_integer(), Some(2), "{text:?}: {both:?}");
                assert_eq!(table["z"].as_str(), Some("w"), "{text:?}: {both:?}");
            }
            Err(error) => assert!(matches!(error, ChangeError::NoTable { .. }), "{text:?}: {error}"),
        }
    }
    assert_eq!(changed("this is = = no TOML", &["a=1"]).unwrap(), "this is = = no TOML");
}

#[test]
fn values_are_toml_and_a_bare_word_is_a_text() {
    let value = |text: &str| changed("", &[&format!("v={text}")]).map(|text| text.trim_end().to_owned());
    let rows = [
        ("3", "v = 3"),
        ("1e-3", "v = 0.001"),
        ("true", "v = true"),
        ("relu", "v = \"relu\""),
        ("data/a.csv", "v = \"data/a.csv\""),
        ("$rate", "v = \"$rate\""),
        ("\"two words\"", "v = \"two words\""),
        ("[1, 2]", "v = [1, 2]"),
        ("{ range = [0, 1] }", "v = { range = [0, 1] }"),
        ("1 # for now", "v = 1"),
    ];
    for (text, expected) in rows {
        assert_eq!(value(text).as_deref(), Ok(expected), "{text}");
    }
    for text in ["", "two words", "[1", "1\nw = 2", "a=b"] {
        assert!(matches!(value(text), Err(ChangeError::NoValue(_))), "{text:?}: {:?}", value(text));
    }
    for text in ["", "a", "=1", "a b=1", "a.=1", "a\nb=1"] {
        assert!(matches!(text.parse::<Change>(), Err(ChangeError::NoKey(_))), "{text:?}");
    }
}

#[test]
fn a_change_that_does_not_fit_the_study_says_where() {
    let error = |asked: &str| changed(STUDY, &[asked]).unwrap_err().to_string();
    assert_eq!(error("name.first=1"), "--set name.first: `name` of the study has no keys");
    assert_eq!(error("layers.2.units=1"), "--set layers.2.units: `layers` has 2 elements, counted from 0");
    assert_eq!(error("layers.x=1"), "--set layers.x: `layers` has 2 elements, counted from 0");
}

#[test]
fn a_grid_is_not_bounded_but_can_be_drawn_from() {
    let grid = STUDY.replace("'random'", "'grid'").replace("trials = 20\n", "");
    let error = change(&grid, &[Change::trials(5)]).unwrap_err();
    assert!(error.to_string().contains("add --set search.sampler=random to draw 5 of them"), "{error}");
    let drawn = change(&grid, &["search.sampler=random".parse().unwrap(), Change::trials(5)]).unwrap();
    assert!(drawn.contains("trials = 5\nsampler = \"random\""), "{drawn}");
}

#[test]
fn starting_points_of_an_earlier_run_take_the_place_of_its_name_and_all_else_stays_as_it_was() {
    let points = [0.1, 0.5].map(|error| Configuration::from_iter([("error", ConfigurationValue::Real(error))]));
    let rows = [
        ("initial_from = 'runs/a' # best", "initial = [{ error = 0.1 }, { error = 0.5 }] # best"),
        ("initial_from = { run = 'a', best = 2 }", "initial = [{ error = 0.1 }, { error = 0.5 }]"),
        (
            "initial = [{ error = 0.2 }]\ninitial_from = 'a'",
            "initial = [{ error = 0.2 }, { error = 0.1 }, { error = 0.5 }]\n",
        ),
        (
            "initial_from = 'a'\ninitial = [{ error = 0.2 }] # mine",
            "\ninitial = [{ error = 0.2 }, { error = 0.1 }, { error = 0.5 }] # mine",
        ),
    ];
    for (written, expected) in rows {
        let text = STUDY.replace("trials = 20", written);
        assert_eq!(starting_from(&text, &points), STUDY.replace("trials = 20", expected));
    }
    let inline = "search = { initial = [{ error = 0.2 }], initial_from = 'a', trials = 3 }\n";
    let expected = "search = { initial = [{ error = 0.2 }, { error = 0.1 }, { error = 0.5 }], trials = 3 }\n";
    let table = |text: &str| text.parse::<toml::Table>().unwrap();
    assert_eq!(table(&starting_from(inline, &points)), table(expected));
    assert_eq!(starting_from("x =", &points), "x =", "what is no study is told of where it is read");
}
