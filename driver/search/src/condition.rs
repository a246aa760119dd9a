//! When parameters are there: `momentum` only where `optimizer` is "sgd".

use std::collections::{BTreeMap, BTreeSet};

use broadsweep_common::configuration::{Configuration, Value};

/// One thing that has to hold for a parameter to be there: another one, its parent, is there and has one of these values.
#[derive(Clone, Debug, PartialEq)]
pub struct Condition {
    /// The name of the parameter that decides.
    pub parent: String,
    /// Its values with which the condition holds.
    pub values: Vec<Value>,
}

impl Condition {
    /// Whether it holds. An absent parent has no value.
    #[must_use]
    pub fn holds(&self, configuration: &Configuration) -> bool {
        configuration.get(&self.parent).is_some_and(|value| self.values.contains(value))
    }
}

/// Parameters that depend on each other: each of them on the next, and the last one on the first.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConditionCycle(pub Vec<String>);

/// The conditions of the parameters that have some, each of these behind those that decide it.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Conditions(Vec<(String, Vec<Condition>)>);

impl Conditions {
    pub(super) fn new(mut of: BTreeMap<String, Vec<Condition>>) -> Result<Self, ConditionCycle> {
        of.retain(|_, conditions| !conditions.is_empty());
        for conditions in of.values_mut() {
            // One order, so that parameters that are there together are known by equal conditions.
            conditions.sort_by(|one, other| one.parent.cmp(&other.parent));
            for condition in conditions {
                condition.values.sort_by_cached_key(|value| format!("{value:?}"));
            }
        }
        let names: Vec<_> = of.keys().cloned().collect();
        let order = parents_first(names.iter().map(String::as_str), |name| of.get(name).map_or(&[], Vec::as_slice));
        if order.len() < names.len() {
            let ordered: BTreeSet<_> = order.into_iter().collect();
            return Err(cycle(&of, |name| !ordered.contains(name)));
        }
        let order: Vec<_> = order.into_iter().map(str::to_owned).collect();
        Ok(Self(order.into_iter().filter_map(|name| of.remove_entry(&name)).collect()))
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(super) fn of(&self, name: &str) -> &[Condition] {
        self.0.iter().find(|(known, _)| known == name).map_or(&[], |(_, conditions)| conditions)
    }

    /// These names, each behind its parents; otherwise in their order.
    pub(super) fn ordered<'n>(&self, names: impl Iterator<Item = &'n str>) -> Vec<&'n str> {
        let of: BTreeMap<_, _> =
            self.0.iter().map(|(name, conditions)| (name.as_str(), conditions.as_slice())).collect();
        parents_first(names, |name| of.get(name).copied().unwrap_or_default())
    }

    /// Without the parameters that are not there.
    pub(super) fn active(&self, all: &Configuration) -> Configuration {
        let mut absent = BTreeSet::new();
        for (name, conditions) in &self.0 {
            let holds = |one: &Condition| !absent.contains(one.parent.as_str()) && one.holds(all);
            if !conditions.iter().all(holds) {
                absent.insert(name.as_str());
            }
        }
        all.without(|name| absent.contains(name))
    }
}

/// The names whose parents, as far as they are among the names, can all come before them; those in a cycle are left out.
fn parents_first<'n, 'c>(
    names: impl Iterator<Item = &'n str>,
    conditions: impl Fn(&str) -> &'c [Condition],
) -> Vec<&'n str> {
    let names: BTreeSet<_> = names.collect();
    let mut missing: BTreeMap<&str, usize> = BTreeMap::new();
    let mut children: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    for name in &names {
        let parents = conditions(name).iter().filter_map(|condition| names.get(condition.parent.as_str()));
        for parent in parents {
            children.entry(parent).or_default().push(name);
            *missing.entry(name).or_default() += 1;
        }
    }
    let mut ready: BTreeSet<_> = names.iter().copied().filter(|name| !missing.contains_key(name)).collect();
    let mut order = Vec::with_capacity(names.len());
    while let Some(name) = ready.pop_first() {
        order.push(name);
        for child in children.get(name).into_iter().flatten() {
            if let Some(left) = missing.get_mut(child) {
                *left -= 1;
                if *left == 0 {
                    ready.insert(child);
                }
            }
        }
    }
    order
}

/// A cycle among the parameters that are `stuck`: each of them has a parent that is stuck, too.
fn cycle(of: &BTreeMap<String, Vec<Condition>>, stuck: impl Fn(&str) -> bool) -> ConditionCycle {
    let mut walked: Vec<&str> = Vec::new();
    let mut at = of.keys().map(String::as_str).find(|name| stuck(name));
    while let Some(name) = at {
        if let Some(start) = walked.iter().position(|known| *known == name) {
            walked.drain(..start);
            break;
        }
        walked.push(name);
        let parents = of.get(name).into_iter().flatten().map(|condition| condition.parent.as_str());
        at = parents.into_iter().find(|parent| of.contains_key(*parent) && stuck(parent));
    }
    ConditionCycle(walked.into_iter().map(str::to_owned).collect())
}

#[cfg(test)]
#[path = "condition_tests.rs"]
mod tests;
