//! Why a run cannot go on.

use super::ChronicleError;
use crate::cluster::LinkError;
use crate::journal::StorageError;
use crate::results::show::printable_line;

/// Why a run cannot go on.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// Fewer nodes answered than are needed.
    #[error("{answered} of {nodes} nodes can be used; at least {needed} {} needed{}", if *needed == 1 { "is" } else { "are" }, list(errors))]
    TooFewNodes {
        /// How many did.
        answered: u32,
        /// How many there are.
        nodes: u32,
        /// How many have to.
        needed: u32,
        /// What was wrong with the others.
        errors: Vec<LinkError>,
    },
    /// Every executor was lost, and none came back.
    #[error("no executor is left{}", list(errors))]
    NoExecutorLeft {
        /// What was wrong with each.
        errors: Vec<LinkError>,
    },
    /// What happened cannot be written down.
    #[error(transparent)]
    Chronicle(#[from] ChronicleError),
    /// Weights or checkpoints cannot be written down.
    #[error(transparent)]
    Storage(#[from] StorageError),
}

fn list(errors: &[LinkError]) -> String {
    const SHOWN_MAX: usize = 20;
    // Whatever a node said stays on its line.
    let line = |error: &LinkError| format!("\n  {}", printable_line(&error.to_string()));
    let mut lines: Vec<_> = errors.iter().take(SHOWN_MAX).map(line).collect();
    if errors.len() > SHOWN_MAX {
        lines.push(format!("\n  and {} more", errors.len() - SHOWN_MAX));
    }
    lines.concat()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_node_says_is_one_line_among_the_reasons() {
        let refused = |reason: &str| LinkError::Refused { address: "node:1".to_owned(), reason: reason.to_owned() };
        let errors = vec![refused("no\n  node2:1: all is well"), refused("not now")];
        let told = RunError::NoExecutorLeft { errors }.to_string();
        assert_eq!(
            told.lines().collect::<Vec<_>>(),
            ["no executor is left", "  node:1 refuses: no\\n  node2:1: all is well", "  node:1 refuses: not now"]
        );
    }

    #[test]
    fn of_many_reasons_some_are_told_and_the_others_counted() {
        let refused = |number| LinkError::Refused { address: format!("node:{number}"), reason: "no".to_owned() };
        for (errors, lines, last) in [(20, 20, "  node:19 refuses: no"), (22, 21, "  and 2 more")] {
            let told = list(&(0..errors).map(refused).collect::<Vec<_>>());
            let told: Vec<_> = told.lines().skip(1).collect();
            assert_eq!((told.len(), told.last()), (lines, Some(&last)), "{errors} errors");
        }
    }
}
