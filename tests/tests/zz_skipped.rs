//! The last program of the tests: what the others could not do on this machine is said once more, where people look.

use std::io::{Write, stderr};

use broadsweep_tests::skip::take_skipped;

#[test]
fn what_was_skipped_is_said_again_at_the_end() {
    for why in take_skipped() {
        let _ = writeln!(stderr(), "skipped: {why}");
    }
}
