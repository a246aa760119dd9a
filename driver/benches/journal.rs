//! How many durable commits a second the journal makes: of 1, 10 and 100 records of about 100 bytes each, in a
//! temporary folder (`TMPDIR` says on which disk).

use std::error::Error;
use std::io::{self, Write};
use std::sync::Arc;
use std::time::{Duration, Instant};

use broadsweep_driver::journal::{FolderStorage, Journal};

const COMMITS: usize = 301;

fn main() -> Result<(), Box<dyn Error>> {
    let mut out = io::stdout().lock();
    writeln!(out, "records a commit   median commit   commits/s   records/s")?;
    for group in [1, 10, 100] {
        let median = median_commit(group)?;
        let commits = 1.0 / median.as_secs_f64();
        writeln!(
            out,
            "{group:>16} {:>12.0} us {commits:>11.0} {:>11.0}",
            median.as_secs_f64() * 1e6,
            commits * group as f64
        )?;
    }
    Ok(())
}

/// The median time of an append of `group` records and their commit.
fn median_commit(group: usize) -> Result<Duration, Box<dyn Error>> {
    let folder = tempfile::tempdir()?;
    let mut journal = Journal::create(Arc::new(FolderStorage::new(folder.path())))?;
    let record = (1_u64, 2_u32, vec![0.5_f64; 10]);
    let mut times = Vec::with_capacity(COMMITS);
    for _ in 0..COMMITS {
        let start = Instant::now();
        for _ in 0..group {
            journal.append(&record)?;
        }
        journal.commit()?;
        times.push(start.elapsed());
    }
    times.sort_unstable();
    Ok(times[COMMITS / 2])
}
