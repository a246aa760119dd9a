//! Why there is no session with a node.

use broadsweep_common::refusal::Refusal;

/// Why there is no session with a node, or no longer.
#[derive(Clone, Debug, thiserror::Error)]
pub enum LinkError {
    /// Nothing answers there.
    #[error("no connection to {address}: {reason}{}", if *.nobody_listens { "; is an executor running there?" } else { "" })]
    Unreachable {
        /// The node.
        address: String,
        /// What the system said.
        reason: String,
        /// Whether the machine is there, and no process listens: what ran there is gone.
        nobody_listens: bool,
    },
    /// A local executor that ends whenever it is started.
    #[error("{name} ends whenever it is started; its log says why")]
    NotStarted {
        /// What people call it.
        name: String,
    },
    /// The link itself failed.
    #[error("{name}: its link failed, which is a mistake in this program: {reason}")]
    Panicked {
        /// What people call the executor.
        name: String,
        /// What the task said.
        reason: String,
    },
    /// Something answers, but not as an executor.
    #[error("{address} answers, but not as a broadsweep executor: {reason}")]
    NotAnExecutor {
        /// The node.
        address: String,
        /// How it answered.
        reason: String,
    },
    /// The executor does not know this driver.
    #[error("{address} does not let this driver in: {reason}")]
    NotLetIn {
        /// The node.
        address: String,
        /// What this side or the other one lacks.
        reason: String,
    },
    /// The executor is in the list already, under another name.
    #[error("{address} is the same executor as {other}; name each executor once")]
    Twice {
        /// The node.
        address: String,
        /// What it is known as.
        other: String,
    },
    /// The executor does not want this driver now: another run holds it, or it is leaving.
    #[error("{address} refuses: {reason}")]
    Held {
        /// The node.
        address: String,
        /// What it said.
        reason: String,
    },
    /// The executor does not want this driver: the versions differ, or a later driver has the run.
    #[error("{address} refuses: {reason}")]
    Refused {
        /// The node.
        address: String,
        /// What it said.
        reason: String,
    },
    /// The data or the description did not get there.
    #[error("{address} cannot take the data: {reason}")]
    Broadcast {
        /// The node.
        address: String,
        /// What it said.
        reason: String,
    },
    /// The executor does not take part in this study.
    #[error("{address} does not take part: it {refusal}")]
    Unprepared {
        /// The node.
        address: String,
        /// What it said.
        refusal: Refusal,
    },
    /// The connection or the peer failed.
    #[error("{address}: {reason}")]
    Broken {
        /// The node.
        address: String,
        /// How.
        reason: String,
    },
}

impl LinkError {
    /// Whether dialling again may help.
    #[must_use]
    pub fn is_transient(&self) -> bool {
        match self {
            // A frozen executor cannot be told from something else that listens there: it may wake. Identities are
            // renewed while a run goes on.
            Self::Unreachable { .. }
            | Self::NotAnExecutor { .. }
            | Self::NotLetIn { .. }
            | Self::Held { .. }
            | Self::Broken { .. } => true,
            Self::NotStarted { .. }
            | Self::Panicked { .. }
            | Self::Twice { .. }
            | Self::Refused { .. }
            | Self::Broadcast { .. }
            | Self::Unprepared { .. } => false,
        }
    }

    /// Whether the executor may hold the run without a session after this; `None` where that is as it was before.
    pub(super) fn leaves_a_hold(&self) -> Option<bool> {
        match self {
            Self::Broadcast { .. }
            | Self::Unprepared { .. }
            | Self::Broken { .. }
            | Self::Refused { .. }
            | Self::Panicked { .. } => Some(true),
            Self::Unreachable { nobody_listens, .. } => nobody_listens.then_some(false),
            Self::NotAnExecutor { .. } | Self::NotLetIn { .. } => None,
            // Under its other name, the executor is the concern of another link.
            Self::NotStarted { .. } | Self::Twice { .. } | Self::Held { .. } => Some(false),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_error_says_whether_to_dial_again_and_whether_the_executor_may_hold_the_run() {
        let [address, reason, name, other] = [(); 4].map(|()| String::new());
        let unreachable = |nobody_listens| {
            let (address, reason) = (address.clone(), reason.clone());
            LinkError::Unreachable { address, reason, nobody_listens }
        };
        for (error, is_transient, leaves_a_hold) in [
            (unreachable(true), true, Some(false)),
            (unreachable(false), true, None),
            (LinkError::NotLetIn { address: address.clone(), reason: reason.clone() }, true, None),
            (LinkError::Held { address: address.clone(), reason: reason.clone() }, true, Some(false)),
            (LinkError::Broken { address: address.clone(), reason: reason.clone() }, true, Some(true)),
            (LinkError::NotStarted { name }, false, Some(false)),
            (LinkError::Twice { address: address.clone(), other }, false, Some(false)),
            (LinkError::Broadcast { address, reason }, false, Some(true)),
        ] {
            assert_eq!((error.is_transient(), error.leaves_a_hold()), (is_transient, leaves_a_hold), "{error:?}");
        }
    }
}
