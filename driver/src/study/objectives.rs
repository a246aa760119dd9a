//! By what trials are compared, and what is measured for that: `objectives`, their short forms `objective` and `select`,
//! and `metrics`.

use broadsweep_common::configuration::Value;
use broadsweep_common::dataset::Part;
use broadsweep_common::measure::{MEASURES_MAX, Measure, Reported, Watched, WatchedValue};
use broadsweep_common::metrics::{Direction, MetricName, Objective};
use broadsweep_common::model::Loss;
use broadsweep_common::task::Select;
use broadsweep_search::ranking::{OBJECTIVES_MAX, Objectives};

use super::diagnostic::Diagnostic;
use super::reader::{Node, Table, one_of_near};
use super::{DataSettings, LabelKind, ReplaySettings, Trainer};

const SELECTS: &[(&str, Select)] = &[("validation", Select::Validation), ("test", Select::Test)];
const DIRECTIONS: &[(&str, Direction)] = &[("minimize", Direction::Minimize), ("maximize", Direction::Maximize)];
const NO_TEST: &str = "select = \"test\" needs test rows, and [data] names none";
const NO_REPLAYED_TEST: &str = "select = \"test\" needs a test error, and this replay has none";
const NO_VALIDATION: &str = "there are no validation rows to choose the best trial by: set `validation_rows` \
                             in [data], or write select = \"test\" in [search]";

/// What the trials of a study can be compared by.
#[derive(Clone, Copy)]
pub(super) struct Comparable {
    /// Whether they have an error of each part, or why not.
    pub(super) validation: Result<(), &'static str>,
    test: Result<(), &'static str>,
    metrics: Known,
}

/// Which metrics trials report.
#[derive(Clone, Copy)]
enum Known {
    /// Those of a network with this loss.
    Network(Loss),
    /// The errors alone.
    Replay,
    /// What the program likes.
    Program,
}

/// By what trials are compared, and what is measured for that.
pub(super) struct Compared {
    pub(super) select: Select,
    pub(super) objectives: Objectives,
    pub(super) watched: Watched,
    pub(super) measures: Vec<Reported>,
}

/// An objective as it is written.
struct Written<'a> {
    metric: Node<'a>,
    class: Option<Node<'a>>,
    direction: Option<Direction>,
}

/// A number that a network has of each part.
#[derive(Clone, PartialEq)]
enum Number {
    Error,
    Loss,
    Measure(Reported),
}

impl Comparable {
    /// A trained trial has the errors of the rows that there are; a replayed one those that it was given.
    pub(super) fn of(trainer: &Trainer, data: Option<&DataSettings>) -> Self {
        match trainer {
            Trainer::Network { model, .. } => Self {
                validation: data.filter(|data| data.has_validation()).map(|_| ()).ok_or(NO_VALIDATION),
                test: data.filter(|data| data.has_test()).map(|_| ()).ok_or(NO_TEST),
                metrics: Known::Network(model.loss),
            },
            Trainer::Replay(ReplaySettings::Given { .. }) => {
                Self { validation: Ok(()), test: Err(NO_REPLAYED_TEST), metrics: Known::Replay }
            }
            // Whether each row has both is looked at when they are read.
            Trainer::Replay(ReplaySettings::Recorded { .. }) | Trainer::Model(_) => {
                Self { validation: Ok(()), test: Ok(()), metrics: Known::Replay }
            }
            Trainer::Program(_) => Self { validation: Ok(()), test: Ok(()), metrics: Known::Program },
        }
    }

    /// What is always measured: numbers by more than their error.
    fn measures(self, table: &Table<'_>) -> Result<Vec<Reported>, Diagnostic> {
        let words = match self.metrics {
            Known::Network(Loss::MeanSquaredError) => &Measure::OF_VALUES[..],
            Known::Network(Loss::CrossEntropy) | Known::Replay | Known::Program => &[],
        };
        let reported = words.iter().map(|(word, measure)| Reported::new(*measure, word));
        reported.collect::<Result<_, _>>().map_err(|error| table.error(error.to_string()))
    }
}

/// What `[search]` says of it. The table may be that of the whole study: then nothing is written.
pub(super) fn read(table: &Table<'_>, comparable: Comparable) -> Result<Compared, Diagnostic> {
    let mut measures = comparable.measures(table)?;
    let written = read_written(table)?;
    let (select, objectives, first) = match (&written[..], comparable.metrics) {
        ([], _) => {
            let select = read_select(table, comparable)?;
            (select, select.objective().into(), Number::Error)
        }
        ([first, ..], Known::Replay) => {
            let message = "a replay reports errors alone: its trials are compared by them";
            let note = "write select = \"validation\" or select = \"test\" instead";
            return Err(first.metric.error(message).with_note(note));
        }
        (written, Known::Program) => (Select::Validation, of_program(written)?, Number::Error),
        (written, Known::Network(loss)) => of_network(written, comparable, loss, &mut measures)?,
    };
    read_metrics(table, comparable, &mut measures)?;
    if measures.len() > MEASURES_MAX {
        let message =
            format!("this study measures {} numbers beside errors; {MEASURES_MAX} are allowed", measures.len());
        return Err(table.error(message));
    }
    let value = match &first {
        Number::Error => WatchedValue::Error,
        Number::Loss => WatchedValue::Loss,
        Number::Measure(wanted) => {
            WatchedValue::Measure(measures.iter().position(|known| known == wanted).unwrap_or(0) as u32)
        }
    };
    let watched = Watched { value, direction: objectives.first().direction };
    Ok(Compared { select, objectives, watched, measures })
}

fn read_written<'a>(table: &Table<'a>) -> Result<Vec<Written<'a>>, Diagnostic> {
    let (one, all, direction) = (table.get("objective"), table.get("objectives"), table.get("direction"));
    if let (Some(select), true) = (table.get("select"), one.is_some() || all.is_some()) {
        let message = "`select` has no effect with an objective: it is short for an error";
        return Err(select.error(message).with_note("leave one of the two out"));
    }
    let written = match (one, all) {
        (Some(one), Some(_)) => {
            let message = "`objective` is short for `objectives` with one element: write one of the two";
            return Err(one.error(message));
        }
        (Some(metric), None) => {
            metric.text()?;
            let direction = direction.map(|node| node.word(DIRECTIONS)).transpose()?;
            return Ok(vec![Written { metric, class: None, direction }]);
        }
        (None, Some(all)) => {
            let written = all.array()?.into_iter().map(read_one).collect::<Result<Vec<_>, _>>()?;
            if !(1..=OBJECTIVES_MAX).contains(&written.len()) {
                return Err(all.refused(&format!("an array of 1 to {OBJECTIVES_MAX} objectives")));
            }
            written
        }
        (None, None) => Vec::new(),
    };
    if let Some(node) = direction {
        node.word(DIRECTIONS)?;
        let message = "`direction` says which way `objective` is better, and there is none";
        let example = if written.is_empty() {
            "add, for example: objective = \"val_accuracy\""
        } else {
            "each of `objectives` may have its own: { metric = \"loss\", direction = \"minimize\" }"
        };
        return Err(node.error(message).with_note(example));
    }
    Ok(written)
}

/// A name, or a table with one.
fn read_one(node: Node<'_>) -> Result<Written<'_>, Diagnostic> {
    if !node.is_table() {
        node.text()?;
        return Ok(Written { metric: node, class: None, direction: None });
    }
    let table = node.table(&node.place, &format!("{} ", node.place))?;
    table.allow(&["metric", "class", "direction"], |_| None)?;
    let metric = table.require("metric", "the name of a metric, in quotes")?;
    metric.text()?;
    let direction = table.get("direction").map(|node| node.word(DIRECTIONS)).transpose()?;
    Ok(Written { metric, class: table.get("class"), direction })
}

/// A program's metrics are its own: nobody here knows which way they are better.
fn of_program(written: &[Written<'_>]) -> Result<Objectives, Diagnostic> {
    let objective = |written: &Written<'_>| {
        if let Some(class) = &written.class {
            return Err(class.error("`class` is for networks: a program names its metrics itself"));
        }
        let metric =
            MetricName::new(written.metric.text()?).map_err(|error| written.metric.error(error.to_string()))?;
        Ok(Objective { metric, direction: written.direction.unwrap_or(Direction::Minimize) })
    };
    in_order(written, written.iter().map(objective).collect::<Result<_, _>>()?)
}

fn of_network(
    written: &[Written<'_>],
    comparable: Comparable,
    loss: Loss,
    measures: &mut Vec<Reported>,
) -> Result<(Select, Objectives, Number), Diagnostic> {
    let (mut objectives, mut first) = (Vec::new(), None);
    for written in written {
        let (select, number) = read_number(written, loss)?;
        let name = written.metric.text()?;
        let usable = match select {
            Select::Validation => comparable.validation.map_err(str::to_owned),
            Select::Test => comparable.test.map_err(|_| format!("{name} needs test rows, and [data] names none")),
        };
        usable.map_err(|reason| written.metric.error(reason))?;
        let (metric, natural) = number.named(select);
        objectives.push(Objective { metric, direction: written.direction.unwrap_or(natural) });
        if let Number::Measure(measure) = &number {
            add(measures, measure.clone());
        }
        let (selected, _) = first.get_or_insert((select, number));
        if *selected != select {
            let message =
                format!("{name} is of other rows than the first objective: all have to be of the same rows");
            return Err(written.metric.error(message));
        }
    }
    let (select, number) = first.unwrap_or((Select::Validation, Number::Error));
    Ok((select, in_order(written, objectives)?, number))
}

/// The objectives, the first of which decides first. There is one at least.
fn in_order(written: &[Written<'_>], objectives: Vec<Objective>) -> Result<Objectives, Diagnostic> {
    for (place, (written, objective)) in written.iter().zip(&objectives).enumerate() {
        if objectives[..place].iter().any(|earlier| earlier.metric == objective.metric) {
            return Err(written.metric.error(format!("{} is an objective already", objective.metric)));
        }
    }
    let mut objectives = objectives.into_iter();
    let first = objectives.next().unwrap_or_else(|| Select::Validation.objective());
    Ok(Objectives::new(first, objectives.collect()))
}

impl Number {
    /// What it is called, over the rows of `select`, and which way it is better.
    fn named(&self, select: Select) -> (MetricName, Direction) {
        let part = match select {
            Select::Validation => Part::Validation,
            Select::Test => Part::Test,
        };
        let [loss, error] = MetricName::of_part(part);
        match self {
            Self::Error => (error, Direction::Minimize),
            Self::Loss => (loss, Direction::Minimize),
            Self::Measure(reported) => (reported.metric(part).clone(), reported.measure.direction()),
        }
    }
}

/// The metric of a network that is meant: `validation_f1`.
fn read_number(written: &Written<'_>, loss: Loss) -> Result<(Select, Number), Diagnostic> {
    let (node, text) = (&written.metric, written.metric.text()?);
    let split = SELECTS
        .iter()
        .find_map(|(part, select)| Some((*select, text.strip_prefix(part).and_then(|rest| rest.strip_prefix('_'))?)));
    let Some((select, word)) = split else { return Err(unknown(node, text, loss)) };
    let number = match (word, loss) {
        ("error", _) => Number::Error,
        ("loss", _) | ("log_loss", Loss::CrossEntropy) => Number::Loss,
        _ => Number::Measure(read_measure(node, word, written.class.as_ref(), loss)?),
    };
    match (&number, &written.class) {
        (Number::Error | Number::Loss, Some(class)) => Err(class.error("`class` goes with f1 alone")),
        _ => Ok((select, number)),
    }
}

/// The measure that is called `word`.
fn read_measure(node: &Node<'_>, word: &str, class: Option<&Node<'_>>, loss: Loss) -> Result<Reported, Diagnostic> {
    let found = Measure::WORDS.iter().find(|(known, _)| *known == word).map(|(_, measure)| *measure);
    let Some(measure) = found else { return Err(unknown(node, node.text()?, loss)) };
    if measure.is_of_values() != (LabelKind::of(loss) == LabelKind::Numbers) {
        let message = match loss {
            Loss::CrossEntropy => format!("{word} is of numbers, and this network tells classes"),
            Loss::MeanSquaredError => format!("{word} is of classes, and this network tells numbers"),
        };
        return Err(node.error(message).with_note(format!("it has {}", words_of(loss, "").join(", "))));
    }
    let reported = match (measure, class) {
        (Measure::F1, Some(class)) => Reported::of_class(&read_class(class)?),
        (_, Some(class)) => return Err(class.error("`class` goes with f1 alone")),
        (measure, None) => Reported::new(measure, word),
    };
    reported.map_err(|error| node.error(error.to_string()))
}

/// What the data calls a class: a word, or a whole number. Whether there is such a class is asked once there is data.
fn read_class(node: &Node<'_>) -> Result<String, Diagnostic> {
    match node.scalar()? {
        Value::Integer(number) => Ok(number.to_string()),
        Value::Choice(text) if !text.is_empty() => Ok(text),
        _ => Err(node.refused("the name of a class: a word in quotes, or a whole number")),
    }
}

/// All that is measured beside what ranks.
fn read_metrics(table: &Table<'_>, comparable: Comparable, measures: &mut Vec<Reported>) -> Result<(), Diagnostic> {
    let Some(node) = table.get("metrics") else { return Ok(()) };
    let nodes = node.array()?;
    let Known::Network(loss) = comparable.metrics else {
        return Err(node.error("`metrics` are for networks: all other trials report what they have"));
    };
    for node in nodes {
        let written = read_one(node)?;
        let text = written.metric.text()?;
        if let Some((part, _)) = SELECTS.iter().find(|(part, _)| text.starts_with(&format!("{part}_"))) {
            let message = format!("{text} is measured on all rows that are looked at: leave {part}_ out");
            return Err(written.metric.error(message));
        }
        if written.direction.is_some() {
            return Err(written.metric.error("what is in `metrics` ranks nothing: it has no direction"));
        }
        add(measures, read_measure(&written.metric, text, written.class.as_ref(), loss)?);
    }
    Ok(())
}

fn add(measures: &mut Vec<Reported>, measure: Reported) {
    if !measures.contains(&measure) {
        measures.push(measure);
    }
}

fn unknown(node: &Node<'_>, text: &str, loss: Loss) -> Diagnostic {
    let all = SELECTS.iter().flat_map(|(part, _)| words_of(loss, &format!("{part}_")));
    let has_part = SELECTS.iter().any(|(part, _)| text.starts_with(part)) || !node.place.contains("metrics");
    let words: Vec<_> = if has_part { all.collect() } else { words_of(loss, "") };
    let words: Vec<_> = words.iter().map(String::as_str).collect();
    node.refused(&one_of_near(&words, text))
}

/// What a network with this loss is measured by.
fn words_of(loss: Loss, prefix: &str) -> Vec<String> {
    let of_values = LabelKind::of(loss) == LabelKind::Numbers;
    let measures = Measure::WORDS.iter().filter(|(_, measure)| measure.is_of_values() == of_values);
    let always = if prefix.is_empty() { &[][..] } else { &["error", "loss"] };
    let words = always.iter().copied().chain(measures.map(|(word, _)| *word));
    words.map(|word| format!("{prefix}{word}")).collect()
}

fn read_select(table: &Table<'_>, comparable: Comparable) -> Result<Select, Diagnostic> {
    let Some(node) = table.get("select") else {
        return comparable.validation.map(|()| Select::Validation).map_err(|reason| table.error(reason));
    };
    let select = node.word(SELECTS)?;
    let usable = match select {
        Select::Validation => comparable.validation,
        Select::Test => comparable.test,
    };
    usable.map(|()| select).map_err(|reason| node.error(reason))
}
