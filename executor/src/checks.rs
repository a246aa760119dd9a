//! What is checked of a driver's messages before they are obeyed.

use broadsweep_proto::session::{DriverItem, FromDriver, Hello, driver_item};
use broadsweep_proto::wire;
use broadsweep_proto::{PROTOCOL, SETTLED_MAX};
use tonic::Status;

/// Each side counts its messages from here.
pub(crate) const FIRST_SEQUENCE: u64 = 1;
/// Bytes that the name of a run may have: it stands in every message and in what others are told of the holder.
const RUN_BYTES_MAX: usize = 1024;

/// The hello that has to come first.
pub(crate) fn hello_of(first: &FromDriver) -> Result<&Hello, Status> {
    let Some(DriverItem { item: Some(driver_item::Item::Hello(hello)) }) = first.items.first() else {
        return Err(Status::invalid_argument("the first item has to be a hello"));
    };
    if first.sequence != FIRST_SEQUENCE {
        return Err(Status::invalid_argument(format!("the first message has number {}", first.sequence)));
    }
    if first.run.len() > RUN_BYTES_MAX {
        return Err(Status::invalid_argument(format!("the name of a run has at most {RUN_BYTES_MAX} bytes")));
    }
    if hello.protocol != PROTOCOL {
        return Err(Status::failed_precondition(format!(
            "this executor (broadsweep {}) speaks protocol {PROTOCOL}, the driver (broadsweep {}) {}; use one version",
            env!("CARGO_PKG_VERSION"),
            wire::bounded(&hello.build),
            hello.protocol,
        )));
    }
    Ok(hello)
}

/// Says what is wrong with what a message acknowledges: this executor has sent so many.
pub(crate) fn check_acknowledged(message: &FromDriver, sent: u64) -> Result<(), String> {
    if message.settled.len() > SETTLED_MAX {
        return Err(format!("{} settled messages; at most {SETTLED_MAX} are allowed", message.settled.len()));
    }
    let mut numbers = message.settled.iter().chain([&message.acknowledged]);
    match numbers.find(|number| **number > sent) {
        Some(unsent) => Err(format!("message {unsent} is acknowledged, and only {sent} were sent")),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_messages_that_were_sent_can_be_acknowledged() {
        let rows = [
            ("nothing", 0, vec![], Ok(())),
            ("all", 5, vec![], Ok(())),
            ("some early", 2, vec![4, 5, 4, 0], Ok(())),
            ("one too many", 6, vec![], Err("message 6 is acknowledged, and only 5 were sent")),
            ("one too many early", 2, vec![4, u64::MAX], Err("is acknowledged, and only 5 were sent")),
            ("too long a list", 2, vec![4; SETTLED_MAX + 1], Err("257 settled messages; at most 256 are allowed")),
        ];
        for (name, acknowledged, settled, wanted) in rows {
            let found = check_acknowledged(&FromDriver { acknowledged, settled, ..FromDriver::default() }, 5);
            match (wanted, found) {
                (Ok(()), Ok(())) => {}
                (Err(fragment), Err(reason)) => assert!(reason.contains(fragment), "{name}: {reason}"),
                (_, found) => panic!("{name}: {found:?}"),
            }
        }
    }
}
