//! A sampler that is asked on standard input and answers on standard output, so that other programs can measure it:
//! `tests/rivals/search_tables.py` does.
//!
//! | line | means |
//! |---|---|
//! | `integers NAME MIN MAX`, `reals NAME MIN MAX`, either with `log` | a parameter in a range |
//! | `choices NAME FIRST LAST` | a parameter whose words are these numbers |
//! | `begin SEED`, with `random`, `sobol`, `gp`, `cmaes` or `tpe` (the default) | forgets all trials, and begins a search |
//! | `begin SEED auto TRIALS PARALLEL` | the same, with the sampler that a study of this size gets if it names none |
//! | `ask` | the next configuration is printed, and is under way; an empty line if there is none |
//! | `tell TRIAL LOSS` | the trial of this number, counted from 0, has ended |

use std::io::{self, BufRead as _, Write as _};

use broadsweep_common::configuration::{Configuration, Value};
use broadsweep_search::{Domain, IN_FULL, Knowledge, Observation, Sampler, SamplerKind, Space};

/// A search under way.
struct Study {
    sampler: Box<dyn Sampler>,
    asked: Vec<Configuration>,
    under_way: Vec<usize>,
    observed: Vec<Observation>,
}

impl Study {
    fn ask(&mut self) -> Option<Configuration> {
        let under_way: Vec<_> = self.under_way.iter().map(|trial| self.asked[*trial].clone()).collect();
        let decision = self.asked.len() as u64;
        let knowledge = Knowledge { observed: &self.observed, under_way: &under_way, decision };
        let (configuration, _) = self.sampler.next(knowledge)?;
        self.under_way.push(self.asked.len());
        self.asked.push(configuration.clone());
        Some(configuration)
    }

    fn tell(&mut self, trial: usize, loss: f64) {
        self.under_way.retain(|known| *known != trial);
        self.observed.push(Observation { configuration: self.asked[trial].clone(), rung_epochs: IN_FULL, loss });
    }
}

fn number<T: std::str::FromStr>(word: &str) -> io::Result<T> {
    word.parse().map_err(|_| io::Error::other(format!("{word:?} is not a number")))
}

fn domain(kind: &str, least: &str, most: &str, log: bool) -> io::Result<Domain> {
    Ok(match kind {
        "integers" => Domain::Integers { min: number(least)?, max: number(most)?, log, count: None },
        "reals" => Domain::Reals { min: number(least)?, max: number(most)?, log, count: None },
        _ => {
            let words = number::<i64>(least)?..=number(most)?;
            Domain::Values(words.map(|word| Value::Choice(word.to_string())).collect())
        }
    })
}

fn begin(space: &Space, seed: u64, kind: &[&str]) -> io::Result<Study> {
    let trials = broadsweep_search::TRIALS_MAX;
    let kind = match kind {
        ["random"] => SamplerKind::Random { trials },
        ["sobol"] => SamplerKind::Sobol { trials },
        ["cmaes"] => SamplerKind::CmaEs { trials },
        ["gp"] => SamplerKind::Gaussian { trials },
        ["tpe"] | [] => SamplerKind::Tpe { trials },
        ["auto", trials, parallel] => SamplerKind::chosen(space, number(trials)?, number(parallel)?),
        _ => return Err(io::Error::other(format!("there is no sampler {:?}", kind.join(" ")))),
    };
    Ok(Study { sampler: kind.sampler(seed, space), asked: Vec::new(), under_way: Vec::new(), observed: Vec::new() })
}

fn main() -> io::Result<()> {
    let (mut space, mut study) = (Space::new(), None);
    let mut answers = io::stdout().lock();
    for line in io::stdin().lock().lines() {
        let line = line?;
        let words: Vec<_> = line.split_whitespace().collect();
        match (&words[..], &mut study) {
            ([kind @ ("integers" | "reals" | "choices"), name, least, most, rest @ ..], _) => {
                space.insert((*name).to_owned(), domain(kind, least, most, rest == ["log"])?);
            }
            (["begin", seed, rest @ ..], _) => study = Some(begin(&space, number(seed)?, rest)?),
            (["ask"], Some(study)) => {
                let configuration = study.ask().unwrap_or_default();
                writeln!(answers, "{configuration}")?;
                answers.flush()?;
            }
            (["tell", trial, loss], Some(study)) => study.tell(number(trial)?, number(loss)?),
            _ => return Err(io::Error::other(format!("{line:?} is not understood here"))),
        }
    }
    Ok(())
}
