//! The searched parameters as pictures need them: distinct values in order, and which of them each trial has.

use std::cmp::Ordering;
use std::collections::BTreeSet;

use broadsweep_common::configuration::Value;

use super::text::short;
use crate::records::run::RunRecord;
use crate::results::show::value_text;

/// Values whose largest is so many times the smallest may belong on a logarithmic axis.
const LOGARITHMIC_RATIO: f64 = 8.0;
/// Values that an axis names one by one.
const NAMED_MAX: usize = 8;
/// The share of an axis that a value's name needs: one that is nearer to the name before it stands there without.
const TICK_GAP: f64 = 0.06;
/// Words that an axis has room for; of more, every second or third one is named.
const WORDS_MAX: usize = 16;

/// How the values of a parameter lie along an axis.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Scale {
    /// Numbers, evenly.
    Linear,
    /// Numbers, by their ratios.
    Logarithmic,
    /// Words and flags, one step each.
    Words,
}

/// A parameter that has at least two values.
#[derive(Clone, Debug)]
pub(super) struct Parameter<'a> {
    /// What the study calls it.
    pub(super) name: &'a str,
    /// How its values lie along an axis.
    pub(super) scale: Scale,
    /// Its distinct values, in order.
    pub(super) values: Vec<&'a Value>,
    /// The value of each trial, as its place among them; `None` for a trial that lacks the parameter.
    pub(super) places: Vec<Option<usize>>,
}

/// The parameters of a run that have at least two values, in the order of their names.
pub(super) fn parameters(run: &RunRecord) -> Vec<Parameter<'_>> {
    let names: BTreeSet<&str> = run.trials.iter().flat_map(|trial| trial.configuration.names()).collect();
    names.into_iter().map(|name| Parameter::of(run, name)).filter(|one| one.values.len() > 1).collect()
}

impl<'a> Parameter<'a> {
    fn of(run: &'a RunRecord, name: &'a str) -> Self {
        let own: Vec<_> = run.trials.iter().map(|trial| trial.configuration.get(name)).collect();
        let mut values: Vec<_> = own.iter().copied().flatten().collect();
        values.sort_by(|one, other| order(one, other));
        let all = values.clone();
        values.dedup_by(|one, other| order(one, other) == Ordering::Equal);
        // A few values were chosen one by one; of many, their density tells more.
        let scale = scale(if values.len() <= NAMED_MAX { &values } else { &all });
        let place = |value: &Value| values.binary_search_by(|known| order(known, value)).ok();
        let places = own.into_iter().map(|value| value.and_then(place)).collect();
        Self { name, scale, values, places }
    }

    /// Whether its values are numbers.
    pub(super) fn is_numeric(&self) -> bool {
        self.scale != Scale::Words
    }

    /// Whether one value, or each, could have a line of its own.
    pub(super) fn is_discrete(&self) -> bool {
        self.values.len() <= NAMED_MAX
    }

    /// Where a value stands along the axis, in its own unit; words count from 0.
    pub(super) fn position(&self, place: usize) -> f64 {
        self.values.get(place).and_then(|value| numeric(value)).filter(|_| self.is_numeric()).unwrap_or(place as f64)
    }

    /// Where a value stands between the first, 0, and the last, 1.
    pub(super) fn share(&self, place: usize) -> f64 {
        self.share_of(self.position(place))
    }

    /// The same for a position along the axis.
    pub(super) fn share_of(&self, position: f64) -> f64 {
        let along = |position| match self.scale {
            Scale::Logarithmic => libm::log(position),
            Scale::Linear | Scale::Words => position,
        };
        let (first, last) = (along(self.position(0)), along(self.position(self.values.len() - 1)));
        if last > first { (along(position) - first) / (last - first) } else { 0.5 }
    }

    /// A value for people.
    pub(super) fn shown(&self, place: usize) -> String {
        self.values.get(place).map(|value| value_text(value)).unwrap_or_default()
    }

    /// Positions along the axis that are worth a tick, each with what stands there.
    pub(super) fn ticks(&self) -> Vec<(f64, String)> {
        if self.is_discrete() || self.scale == Scale::Words {
            let places = (0..self.values.len()).step_by(self.values.len().div_ceil(WORDS_MAX));
            let mut last = f64::NEG_INFINITY;
            let has_room = |place: &usize| {
                let is_clear = self.share(*place) - last >= TICK_GAP || self.scale == Scale::Words;
                last = if is_clear { self.share(*place) } else { last };
                is_clear
            };
            return places.filter(has_room).map(|place| (self.position(place), self.shown(place))).collect();
        }
        let (first, last) = (self.position(0), self.position(self.values.len() - 1));
        let round = match self.scale {
            Scale::Logarithmic => logarithmic_ticks(first, last),
            Scale::Linear | Scale::Words => linear_ticks(first, last),
        };
        round.into_iter().map(|tick| (tick, short(tick))).collect()
    }
}

/// The number that a value is; a word is none.
fn numeric(value: &Value) -> Option<f64> {
    match value {
        Value::Integer(integer) => Some(*integer as f64),
        Value::Real(real) => Some(*real),
        Value::Choice(_) | Value::Flag(_) => None,
    }
}

/// Numbers by size, before flags, before words.
fn order(one: &Value, other: &Value) -> Ordering {
    let kind = |value: &Value| match value {
        Value::Integer(_) | Value::Real(_) => 0,
        Value::Flag(_) => 1,
        Value::Choice(_) => 2,
    };
    match (one, other) {
        (Value::Choice(one), Value::Choice(other)) => one.cmp(other),
        (Value::Flag(one), Value::Flag(other)) => one.cmp(other),
        _ => match (numeric(one), numeric(other)) {
            (Some(one), Some(other)) => one.total_cmp(&other),
            _ => kind(one).cmp(&kind(other)),
        },
    }
}

/// The scale of sorted values. Logarithmic is what has its median nearer to
/// the middle of the logarithms: a record of a run does not hold what the study said.
fn scale(sorted: &[&Value]) -> Scale {
    let Some(numbers) = sorted.iter().map(|value| numeric(value)).collect::<Option<Vec<_>>>() else {
        return Scale::Words;
    };
    let [low, .., high] = numbers[..] else { return Scale::Linear };
    if !(low > 0.0 && high.is_finite() && high / low >= LOGARITHMIC_RATIO) {
        return Scale::Linear;
    }
    let median = numbers[numbers.len() / 2];
    let share = |low: f64, median: f64, high: f64| (median - low) / (high - low);
    let linear = share(low, median, high);
    let logarithmic = share(libm::log(low), libm::log(median), libm::log(high));
    if (logarithmic - 0.5).abs() < (linear - 0.5).abs() { Scale::Logarithmic } else { Scale::Linear }
}

/// Round numbers from `first` to `last`, by ratios: decades, and what lies between them where these are few.
pub(super) fn logarithmic_ticks(first: f64, last: f64) -> Vec<f64> {
    if !(first > 0.0 && first <= last && last.is_finite()) {
        return vec![first];
    }
    let decades = (libm::log10(first).floor() as i32)..=(libm::log10(last).ceil() as i32);
    let every = |digits: &'static [u32], step: usize| -> Vec<f64> {
        let all = decades.clone().step_by(step).flat_map(|decade| digits.iter().map(move |digit| (decade, digit)));
        // Parsed, for a power of ten is not exact.
        let ticks = all.filter_map(|(decade, digit)| format!("{digit}e{decade}").parse().ok());
        ticks.filter(|tick| (first * (1.0 - 1e-9)..=last * (1.0 + 1e-9)).contains(tick)).collect()
    };
    let choices = [every(&[1, 2, 3, 4, 5, 6, 7, 8, 9], 1), every(&[1, 2, 5], 1), every(&[1, 3], 1), every(&[1], 1)];
    let span = decades.end() - decades.start();
    let fitting = choices.into_iter().find(|ticks| ticks.len() <= NAMED_MAX);
    fitting.unwrap_or_else(|| every(&[1], (span as usize).div_ceil(NAMED_MAX - 1)))
}

/// Round numbers from `first` to `last`, evenly: four to eight of them.
pub(super) fn linear_ticks(first: f64, last: f64) -> Vec<f64> {
    let span = last - first;
    // So far from 0 that its steps are no numbers of their own.
    let is_far = first.abs().max(last.abs()) > span * 1e12;
    if !(span > 0.0 && span.is_finite()) || is_far {
        return vec![first];
    }
    let decade = libm::log10(span).floor() as i32;
    let steps = [(1, decade - 1), (2, decade - 1), (5, decade - 1), (1, decade), (2, decade)];
    let all = steps.map(|(digit, decade)| {
        let step: f64 = format!("{digit}e{decade}").parse().unwrap_or(span);
        let places = (first / step - 1e-9).ceil() as i64..=(last / step + 1e-9).floor() as i64;
        let tick = |place: i64| format!("{:.6e}", place as f64 * step).parse().unwrap_or(place as f64 * step);
        if places.end().saturating_sub(*places.start()) >= NAMED_MAX as i64 {
            Vec::new()
        } else {
            places.map(tick).collect()
        }
    });
    all.into_iter().find(|ticks: &Vec<f64>| ticks.len() >= 2).unwrap_or_else(|| vec![first, last])
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::results::fixtures::{configuration, finished, run};

    fn of(values: impl IntoIterator<Item = Value>) -> RunRecord {
        let trials = values.into_iter().enumerate().map(|(trial, value)| {
            let mut trial = finished(trial as u32, 0.1);
            trial.configuration = configuration(&[("x", value)]);
            trial
        });
        run(trials.collect())
    }

    #[test]
    fn a_parameter_with_one_value_is_none() {
        assert!(parameters(&of([Value::Integer(1), Value::Integer(1)])).is_empty());
    }

    #[test]
    fn values_are_told_apart_and_stand_in_order() {
        let record = of([3, 1, 3, 2].map(Value::Integer));
        let parameter = &parameters(&record)[0];
        assert_eq!(parameter.places, [Some(2), Some(0), Some(2), Some(1)]);
        assert_eq!((parameter.shown(2), parameter.position(2), parameter.share(1)), ("3".to_owned(), 3.0, 0.5));
    }

    #[test]
    fn the_scale_is_told_from_the_values() {
        let scale_of = |values: Vec<Value>| parameters(&of(values))[0].scale;
        assert_eq!(scale_of([64, 128, 256, 512, 1024].map(Value::Integer).to_vec()), Scale::Logarithmic);
        assert_eq!(scale_of((1..100).map(|place| Value::Real(f64::from(place) / 200.0)).collect()), Scale::Linear);
        assert_eq!(scale_of((0..100).map(|place| Value::Real(f64::from(place))).collect()), Scale::Linear);
        assert_eq!(scale_of(["relu", "tanh"].map(|word| Value::Choice(word.into())).to_vec()), Scale::Words);
        assert_eq!(scale_of([true, false].map(Value::Flag).to_vec()), Scale::Words);
        assert_eq!(scale_of(vec![Value::Real(1e-300), Value::Real(1e300), Value::Real(1.0)]), Scale::Logarithmic);
    }

    #[test]
    fn a_control_beside_the_values_of_a_grid_does_not_write_over_them() {
        let record = of([0.003, 0.009_655, 0.01, 0.031_07, 0.1].map(Value::Real));
        let names: Vec<_> = parameters(&record)[0].ticks().into_iter().map(|(_, name)| name).collect();
        assert_eq!(names, ["0.003", "0.009655", "0.03107", "0.1"]);
    }

    #[test]
    fn ticks_are_round_and_few() {
        assert_eq!(logarithmic_ticks(0.001, 0.1), [0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1]);
        assert_eq!(logarithmic_ticks(1e-6, 1.0), [1e-6, 1e-5, 1e-4, 1e-3, 1e-2, 1e-1, 1.0]);
        assert_eq!(linear_ticks(0.0, 0.5), [0.0, 0.1, 0.2, 0.3, 0.4, 0.5]);
        assert_eq!(linear_ticks(-3.0, 27.0), [0.0, 5.0, 10.0, 15.0, 20.0, 25.0]);
        let inf = f64::INFINITY;
        for (first, last) in
            [(1e-300, 1e300), (0.3, 0.30001), (5.0, 5.0), (1e15, 1e16), (1e16, 1e16 + 2.0), (0.0, inf)]
        {
            assert!((1..=NAMED_MAX).contains(&linear_ticks(first, last).len()), "{first} to {last}");
        }
        assert!((2..=NAMED_MAX).contains(&logarithmic_ticks(1e-300, 1e300).len()));
        assert_eq!([logarithmic_ticks(1.0, inf), logarithmic_ticks(0.0, 1.0)], [[1.0], [0.0]]);
    }
}
