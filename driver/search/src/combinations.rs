//! The configurations of a space that has an end, one after the other, each once: a parameter that is not there has no
//! values to go through.

use std::sync::Arc;

use broadsweep_common::configuration::{Configuration, Value};

use super::TRIALS_MAX;
use super::space::{Domain, Space};

/// Up to where configurations are counted: one more than a study may have.
pub const COUNTED_MAX: u64 = TRIALS_MAX as u64 + 1;

/// Goes through the parameters in the order of their names, but through each of them after those that decide whether it is
/// there; the last one is the fastest. Constraints are not looked at.
#[derive(Clone, Debug)]
pub(crate) struct Combinations {
    parameters: Vec<Enumerated>,
    /// Of each parameter, the number of its value; `None` where it is not there.
    numbers: Vec<Option<u64>>,
    is_over: bool,
}

#[derive(Clone, Debug)]
struct Enumerated {
    name: Arc<str>,
    /// A list of values, or whole numbers without a count.
    domain: Domain,
    size: u64,
    /// Places of the parameters that decide whether it is there, each with the numbers of the values with which it is.
    conditions: Vec<(usize, Vec<u64>)>,
}

impl Combinations {
    /// Stands at the first one; `None` if they have no end.
    pub(crate) fn new(space: &Space) -> Option<Self> {
        let mut parameters: Vec<Enumerated> = Vec::with_capacity(space.len());
        for name in space.names_in_order() {
            let domain = space.get(name)?;
            let domain = domain.points().map_or_else(|| domain.clone(), Domain::Values);
            let conditions = space.conditions(name).iter().map(|condition| {
                let parent = parameters.iter().position(|known| *known.name == *condition.parent);
                // One without a parent never holds.
                parent.map_or((0, Vec::new()), |parent| {
                    let number = |value: &Value| number_of(&parameters[parent].domain, value);
                    (parent, condition.values.iter().filter_map(number).collect())
                })
            });
            let conditions = conditions.collect();
            parameters.push(Enumerated { name: name.into(), size: domain.size()?, domain, conditions });
        }
        let is_over = parameters.iter().any(|parameter| parameter.size == 0);
        let mut combinations = Self { numbers: vec![None; parameters.len()], parameters, is_over };
        combinations.begin_at(0);
        Some(combinations)
    }

    /// The configuration at which it stands; `None` beyond the last one.
    pub(crate) fn current(&self) -> Option<Configuration> {
        let value = |(parameter, number): (&Enumerated, &Option<u64>)| {
            Some((Arc::clone(&parameter.name), value_of(&parameter.domain, (*number)?)))
        };
        (!self.is_over).then(|| self.parameters.iter().zip(&self.numbers).filter_map(value).collect())
    }

    /// Goes to the next one.
    pub(crate) fn advance(&mut self) {
        for place in (0..self.parameters.len()).rev() {
            if let Some(number) = &mut self.numbers[place]
                && *number + 1 < self.parameters[place].size
            {
                *number += 1;
                self.begin_at(place + 1);
                return;
            }
        }
        self.is_over = true;
    }

    /// How many there are from here on; no more than `max` are counted.
    pub(crate) fn count_up_to(mut self, max: u64) -> u64 {
        let mut count = 0;
        while count < max && !self.is_over {
            count += 1;
            self.advance();
        }
        count
    }

    /// The parameters from this place on take their first values, where they are there.
    fn begin_at(&mut self, from: usize) {
        for place in from..self.parameters.len() {
            let holds = |(parent, with): &(usize, Vec<u64>)| {
                self.numbers[*parent].is_some_and(|number| with.contains(&number))
            };
            let is_active = self.parameters[place].conditions.iter().all(holds);
            self.numbers[place] = is_active.then_some(0);
        }
    }
}

fn value_of(domain: &Domain, number: u64) -> Value {
    match domain {
        Domain::Values(values) | Domain::Ordered(values) => values[number as usize].clone(),
        Domain::Integers { min, .. } => Value::Integer(min.saturating_add_unsigned(number)),
        Domain::Reals { min, .. } => Value::Real(*min), // it has no size
    }
}

fn number_of(domain: &Domain, value: &Value) -> Option<u64> {
    match (domain, value) {
        (Domain::Values(values) | Domain::Ordered(values), value) => {
            values.iter().position(|known| known == value).map(|number| number as u64)
        }
        (Domain::Integers { min, max, .. }, Value::Integer(whole)) => {
            (min..=max).contains(&whole).then(|| whole.abs_diff(*min))
        }
        (Domain::Integers { .. } | Domain::Reals { .. }, _) => None,
    }
}
