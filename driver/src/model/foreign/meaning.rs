//! What the rows of an input are to a graph of another program, and what its answers mean.

use std::collections::BTreeSet;

use broadsweep_common::application::{GraphInput, GraphReading};
use broadsweep_common::dataset::Element;
use broadsweep_common::schema::{Column, ColumnKind, Dialect, Inputs, Outputs, Scale, Schema};
use broadsweep_onnx::{AnswerKind, Opened};

use crate::study::ApplySettings;

/// Columns that an error names.
const COLUMNS_SHOWN_MAX: usize = 20;
/// How many channels the pictures of people have.
const CHANNELS: [u32; 3] = [1, 3, 4];
/// Classes or values that a model may have: each has a name, and a column of the output.
const WIDTH_MAX: u64 = 100_000;

/// What the answers mean, of which each has `width` numbers; `given` are what somebody calls the classes.
///
/// A softmax, or what stands beside a label, is of classes: the largest is the class. So is anything if the classes are
/// named, after a softmax (for two of them and one number, a sigmoid), unless it went through one. All else is values.
pub(super) fn of_answers(opened: &Opened, width: u64, given: &[String]) -> Result<(Outputs, GraphReading), String> {
    if !(1..=WIDTH_MAX).contains(&width) {
        return Err(format!("it answers a row with {width} numbers; 1 to {WIDTH_MAX} are supported"));
    }
    let count = if given.is_empty() { opened.names.len() as u64 } else { given.len() as u64 };
    let are_shares = opened.answer != AnswerKind::Values;
    let reading = match (given.is_empty(), opened.answer, width) {
        (true, AnswerKind::OfClasses, 1) if count == 2 => GraphReading::Second,
        (true, AnswerKind::OfClasses, 2..) => GraphReading::Probabilities,
        (true, ..) => GraphReading::Values,
        (false, _, 1) if count == 2 && are_shares => GraphReading::Second,
        (false, _, 1) if count == 2 => GraphReading::SecondScore,
        (false, _, 2..) if count == width && are_shares => GraphReading::Probabilities,
        (false, _, 2..) if count == width => GraphReading::Scores,
        (false, ..) => {
            return Err(format!("{count} classes are named, and it answers a row with {width} numbers"));
        }
    };
    if reading == GraphReading::Values {
        let name = |place: u64| if width == 1 { "value".to_owned() } else { place.to_string() };
        let names = (1..=width).map(name).collect();
        return Ok((Outputs::Values { names, scales: vec![Scale::NONE; width as usize] }, reading));
    }
    let names = match (given, &opened.names) {
        ([], named) if count == width || width == 1 => named.clone(),
        ([], _) => (0..width).map(|class| class.to_string()).collect(),
        (given, _) => given.to_vec(),
    };
    let mut seen = BTreeSet::new();
    match names.iter().find(|name| !seen.insert(*name)) {
        Some(twice) => Err(format!("two classes are called `{twice}`; give them other names with --class-names")),
        None => Ok((Outputs::Classes { column: None, names }, reading)),
    }
}

/// What the rows are, and whether the graph takes the channels of an image first. `columns` are those of the input, if it
/// is made of tables.
pub(super) fn of_rows(
    opened: &Opened,
    columns: Option<&[String]>,
    settings: &ApplySettings,
    outputs: Outputs,
) -> Result<(Schema, bool), String> {
    let scale = Scale { center: 0.0, spread: settings.foreign.divide_by.unwrap_or(1.0) };
    let (shape, inputs, element, channels_first) = match (columns, &opened.inputs[..]) {
        (Some(columns), inputs) => {
            let names = columns_for(inputs, columns, settings)?;
            let kind = ColumnKind::Number { scale, fill: None };
            let columns: Vec<_> = names.into_iter().map(|name| Column { name, kind: kind.clone() }).collect();
            (vec![columns.len() as u32], Inputs::Columns(columns), Element::F32, false)
        }
        (None, [input]) => {
            let (shape, channels_first) = image_of(&input.sides);
            // Of one channel, both orders are the same.
            let turns = channels_first && shape.last() != Some(&1);
            let inputs = Inputs::Array { scales: vec![scale], fills: Vec::new(), channels_first: turns };
            (shape, inputs, Element::U8, turns)
        }
        (None, inputs) => {
            return Err(format!(
                "it has {} inputs, {}, which only the columns of a table can feed, and the input is arrays or pictures",
                inputs.len(),
                listed(inputs.iter().map(|input| input.name.as_str()))
            ));
        }
    };
    Ok((Schema { shape, inputs, element, outputs, text: Dialect::default() }, channels_first))
}

/// The columns that feed a graph: those that its inputs are called, or, of one input, all in the order of the file.
fn columns_for(inputs: &[GraphInput], columns: &[String], settings: &ApplySettings) -> Result<Vec<String>, String> {
    let [only] = inputs else {
        return match inputs.iter().find(|input| input.values() != 1) {
            None => Ok(inputs.iter().map(|input| input.name.clone()).collect()),
            Some(wide) => Err(format!(
                "its input `{}` takes {} values and has others beside it; of several inputs, each has to take the one \
                 value of the column that is called as it is",
                wide.name,
                wide.values()
            )),
        };
    };
    let wanted = &settings.wanted;
    let is_other = |column: &&String| wanted.keep.contains(column) || wanted.labels.as_ref() == Some(*column);
    let fed: Vec<String> = columns.iter().filter(|column| !is_other(column)).cloned().collect();
    if fed.len() as u64 == only.values() {
        return Ok(fed);
    }
    let file = settings.input.first().map_or_else(|| "the input".to_owned(), |file| file.display().to_string());
    Err(format!(
        "it takes {} numbers a row, and {file} has {} columns for them: {}; columns that are none of them are named by \
         --keep or --labels",
        only.values(),
        fed.len(),
        listed(fed.iter().map(String::as_str))
    ))
}

/// Some names, and how many there are beside.
fn listed<'n>(names: impl ExactSizeIterator<Item = &'n str>) -> String {
    let more = names.len().saturating_sub(COLUMNS_SHOWN_MAX);
    let shown: Vec<&str> = names.take(COLUMNS_SHOWN_MAX).collect();
    let more = if more > 0 { format!(" and {more} more") } else { String::new() };
    shown.join(", ") + &more
}

/// The shape of a row as data sets have it, and whether the graph takes channels before height and width.
fn image_of(sides: &[u32]) -> (Vec<u32>, bool) {
    match *sides {
        [channels, height, width] if CHANNELS.contains(&channels) && !CHANNELS.contains(&width) => {
            (vec![height, width, channels], true)
        }
        [height, width, channels] => (vec![height, width, channels], false),
        _ => (vec![sides.iter().product()], false),
    }
}

#[cfg(test)]
mod tests {
    use broadsweep_common::application::{GraphNumber, OutputFormat, Wanted};

    use super::*;
    use crate::study::{ForeignSettings, Mapping, Onto};

    fn opened(answer: AnswerKind, names: &[&str], inputs: &[(&str, &[u32])]) -> Opened {
        let input = |(name, sides): &(&str, &[u32])| GraphInput {
            name: (*name).to_owned(),
            number: GraphNumber::Float,
            sides: sides.to_vec(),
        };
        let names = names.iter().map(|&name| name.to_owned()).collect();
        let inputs = inputs.iter().map(input).collect();
        Opened { inputs, batch_rows: None, output: "y".to_owned(), answer, names }
    }

    fn settings(keep: &[&str], labels: Option<&str>) -> ApplySettings {
        ApplySettings {
            mapping: Mapping::Model("net.onnx".into()),
            input: vec!["rows".into()],
            output: "out".into(),
            onto: Onto::New,
            wanted: Wanted {
                keep: keep.iter().map(|&name| name.to_owned()).collect(),
                labels: labels.map(ToOwned::to_owned),
            },
            format: OutputFormat::Csv,
            with_probabilities: true,
            partition_rows: 1,
            bad_rows_max: 0,
            foreign: ForeignSettings { class_names: Vec::new(), divide_by: Some(255.0) },
        }
    }

    #[test]
    fn what_answers_mean_follows_from_how_they_end_and_from_the_names_of_classes() {
        use AnswerKind::{OfClasses, Sigmoids, Values};
        let reading = |answer, known: &[&str], width, given: &[&str]| {
            let given: Vec<_> = given.iter().map(|&name| name.to_owned()).collect();
            let (outputs, reading) = of_answers(&opened(answer, known, &[]), width, &given)?;
            let (Outputs::Classes { names, .. } | Outputs::Values { names, .. }) = outputs;
            Ok::<_, String>((reading, names.join(",")))
        };
        for (answer, known, width, given, wanted, names) in [
            (OfClasses, &[][..], 3, &[][..], GraphReading::Probabilities, "0,1,2"),
            (OfClasses, &["a", "b"], 2, &[], GraphReading::Probabilities, "a,b"),
            (OfClasses, &["a", "b", "c"], 2, &[], GraphReading::Probabilities, "0,1"),
            (OfClasses, &["a", "b"], 2, &["x", "y"], GraphReading::Probabilities, "x,y"),
            (OfClasses, &["a", "b"], 1, &[], GraphReading::Second, "a,b"),
            (OfClasses, &[], 1, &[], GraphReading::Values, "value"),
            (Sigmoids, &[], 1, &[], GraphReading::Values, "value"),
            (Sigmoids, &[], 1, &["no", "yes"], GraphReading::Second, "no,yes"),
            (Sigmoids, &[], 2, &["a", "b"], GraphReading::Probabilities, "a,b"),
            (Values, &[], 2, &[], GraphReading::Values, "1,2"),
            (Values, &[], 2, &["a", "b"], GraphReading::Scores, "a,b"),
            (Values, &[], 1, &["no", "yes"], GraphReading::SecondScore, "no,yes"),
        ] {
            let found = reading(answer, known, width, given);
            assert_eq!(found, Ok((wanted, names.to_owned())), "{answer:?} {width} {given:?}");
        }
        for (width, given, told) in [
            (3, &["a", "b"][..], "2 classes are named, and it answers a row with 3 numbers"),
            (1, &["a", "b", "c"], "3 classes are named"),
            (1, &["a"], "1 classes are named"),
            (2, &["a", "a"], "two classes are called `a`"),
            (0, &[], "answers a row with 0 numbers"),
            (WIDTH_MAX + 1, &[], "1 to 100000 are supported"),
        ] {
            let error = reading(Values, &[], width, given).unwrap_err();
            assert!(error.contains(told), "{error}");
        }
    }

    #[test]
    fn arrays_lie_as_the_graph_takes_them_and_pictures_have_their_channels_last() {
        for (sides, shape, first) in [
            (&[28, 28, 1][..], &[28, 28, 1][..], false),
            (&[1, 28, 28], &[28, 28, 1], false),
            (&[3, 32, 48], &[32, 48, 3], true),
            (&[32, 48, 3], &[32, 48, 3], false),
            (&[784], &[784], false),
            (&[7, 5], &[35], false),
            (&[], &[1], false),
        ] {
            let opened = opened(AnswerKind::Values, &[], &[("x", sides)]);
            let outputs = Outputs::Classes { column: None, names: Vec::new() };
            let (schema, channels_first) = of_rows(&opened, None, &settings(&[], None), outputs).unwrap();
            assert_eq!((&schema.shape[..], channels_first), (shape, first), "{sides:?}");
            let Inputs::Array { scales, channels_first, .. } = schema.inputs else { panic!("columns") };
            assert_eq!((scales[0].apply(51.0), channels_first), (0.2, first));
        }
    }

    #[test]
    fn columns_feed_one_input_in_their_order_and_several_by_their_names() {
        let columns = ["id", "a", "b", "kind"].map(ToOwned::to_owned).to_vec();
        let names = |inputs: &[(&str, &[u32])], keep: &[&str], labels| {
            let outputs = Outputs::Classes { column: None, names: Vec::new() };
            let opened = opened(AnswerKind::Values, &[], inputs);
            let (schema, _) = of_rows(&opened, Some(&columns), &settings(keep, labels), outputs)?;
            let Inputs::Columns(columns) = schema.inputs else { panic!("an array") };
            Ok::<_, String>(columns.into_iter().map(|column| column.name).collect::<Vec<_>>().join(","))
        };
        assert_eq!(names(&[("x", &[2])], &["id"], Some("kind")), Ok("a,b".to_owned()));
        assert_eq!(names(&[("b", &[1]), ("a", &[])], &[], None), Ok("b,a".to_owned()));
        let error = names(&[("x", &[2])], &["id"], None).unwrap_err();
        assert!(error.contains("it takes 2 numbers a row, and rows has 3 columns for them: a, b, kind;"), "{error}");
        let error = names(&[("a", &[1]), ("x", &[2])], &[], None).unwrap_err();
        assert!(error.contains("its input `x` takes 2 values and has others beside it"), "{error}");
    }
}
