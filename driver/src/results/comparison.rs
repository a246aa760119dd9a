//! One study on clusters of several sizes: what the nodes bought, as plain data, a table, `scale.csv` and `scale.json`.

use std::collections::BTreeMap;

use comfy_table::{Cell, CellAlignment, LineStyle, Table, TableStyle};
use serde::Serialize;

use super::show::{bytes_text, counted};
use super::spread::{Lacking, Sameness, Spread};
use super::summary::lines_by_key;
use super::table::{words, wrap};
use crate::forecast::{Basis, Cluster, Schedule};
use crate::ledger::{self, Ledger, Line};
use crate::records::run::{BroadcastRecord, RunRecord};

/// The same work may take so much longer on a larger cluster before it is worth a sentence.
const SHARED: f64 = 0.03;

/// A run of a comparison.
#[derive(Clone, Debug)]
pub struct Member {
    /// How many executors it was to have.
    pub size: u32,
    /// Which of the runs of this size it is, from 1.
    pub repeat: u32,
    /// Its folder, within that of the comparison.
    pub folder: String,
    /// What it left.
    pub record: RunRecord,
}

/// What the runs of a study on several sizes say together.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Comparison {
    /// The study's name.
    pub study: String,
    /// Whether each run began without the data.
    pub cold: bool,
    /// What the runs have to have in common.
    pub compared_by: Sameness,
    /// Whether they have that.
    pub agree: bool,
    /// How far apart they are, where they need not give the same numbers.
    pub spread: Option<Spread>,
    /// Runs without a result of configurations of which others have one, likewise.
    pub lacking: Vec<Lacking>,
    /// The digest of the results, if all runs gave the same.
    pub results_sha256: Option<String>,
    /// What it took to bring the data to all executors before anything was measured; `None` if each run began without it.
    pub first_contact: Option<FirstContact>,
    /// In ascending order of sizes.
    pub sizes: Vec<SizeRow>,
}

/// The broadcast that runs with a warm cache do not have.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct FirstContact {
    /// Executors that have the data since.
    pub executors: u32,
    /// For how long data was on its way.
    pub broadcast_s: f64,
    /// Bytes of one copy, as it is in memory.
    pub data_raw_bytes: u64,
    /// What the driver put on the wire.
    pub sent_bytes: u64,
    /// What executors fetched from each other.
    pub from_peers_bytes: u64,
    /// What executors had already.
    pub from_cache_bytes: u64,
    /// Whether an earlier try was broken off: what executors got then is not in these numbers, but in their caches.
    pub after_a_try: bool,
}

impl FirstContact {
    /// What a run's broadcast took, perhaps after another one that was broken off.
    #[must_use]
    pub fn of(run: &RunRecord, after_a_try: bool) -> Self {
        let BroadcastRecord { data_raw_bytes, sent_bytes, from_peers_bytes, from_cache_bytes, .. } = run.broadcast;
        let broadcast_s = Ledger::of(run).broadcast_us() as f64 / 1e6;
        Self {
            executors: run.executors,
            broadcast_s,
            data_raw_bytes,
            sent_bytes,
            from_peers_bytes,
            from_cache_bytes,
            after_a_try,
        }
    }

    fn sentence(&self) -> String {
        let bytes = [self.data_raw_bytes, self.sent_bytes, self.from_peers_bytes].map(bytes_text);
        let [data, sent, from_peers] = &bytes;
        let executors = counted(self.executors.into(), "executor");
        let unknown = if self.after_a_try {
            "what it takes to bring the data to all executors is not known, as a first try was broken off; after it, "
        } else {
            ""
        };
        format!(
            "{unknown}before the first run, {data} of data came to {executors} in {:.2} s: {sent} sent, {from_peers} between \
             executors, {} from caches",
            self.broadcast_s,
            bytes_text(self.from_cache_bytes)
        )
    }
}

/// What the runs of one size say: medians over the repeats.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct SizeRow {
    /// Executors.
    pub executors: u32,
    /// Slots of all of them.
    pub slots: u32,
    /// From start to end.
    pub wall_s: f64,
    /// How many times as fast as the smallest size, by so many times as its executors: on 1, times as fast as one.
    pub speedup: f64,
    /// That by the number of executors: 1 is ideal.
    pub efficiency: f64,
    /// For how long data was on its way before the first launch.
    pub broadcast_s: f64,
    /// The share of the slots' time that was work which counted.
    pub utilisation: f64,
    /// Attempts whose work was thrown away.
    pub attempts_lost: f64,
    /// What the smallest size forecasts for this one; `None` for itself, and where it did not end.
    pub forecast_wall_s: Option<f64>,
    /// What the work took in slots' time, by what it took on the smallest size: more than 1 where executors share what
    /// they work with, which no ledger of a single run can see. Of the runs with the median wall.
    pub work_ratio: f64,
    /// Where the time of the slots went, of the run with the median wall.
    pub ledger: BTreeMap<&'static str, f64>,
    /// That run.
    pub median_run: String,
    /// The ledger in sentences.
    pub remarks: Vec<String>,
    /// Each run.
    pub runs: Vec<RunRow>,
}

/// One run of a size.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct RunRow {
    /// Its folder, within that of the comparison.
    pub folder: String,
    /// From start to end.
    pub wall_s: f64,
    /// As in [`SizeRow`].
    pub broadcast_s: f64,
    /// As in [`SizeRow`].
    pub utilisation: f64,
    /// As in [`SizeRow`].
    pub attempts_lost: u32,
    /// The digest of its results.
    pub results_sha256: String,
}

impl Comparison {
    /// Compares runs of one study, of any sizes and repeats.
    #[must_use]
    pub fn of(
        study: &str,
        compared_by: Sameness,
        cold: bool,
        first_contact: Option<FirstContact>,
        mut members: Vec<Member>,
    ) -> Self {
        members.sort_by_key(|member| (member.size, member.repeat));
        let mut sizes: Vec<SizeRow> = members.chunk_by(|one, other| one.size == other.size).map(size_row).collect();
        let first = members.first().map(|member| member.size);
        let basis = sizes.first().and_then(|row| {
            let median = members.iter().find(|member| member.folder == row.median_run)?;
            Basis::of(&median.record).ok()
        });
        let alone = sizes.first().map_or(0.0, |row| row.wall_s * f64::from(row.executors));
        let work = |row: &SizeRow| row.ledger[Line::Training.key()] + row.ledger[Line::Slow.key()];
        let work_alone = sizes.first().map_or(0.0, work);
        for row in &mut sizes {
            row.work_ratio = if work_alone > 0.0 { work(row) / work_alone } else { 1.0 };
            if row.work_ratio > 1.0 + SHARED {
                let (ratio, executors) = (row.work_ratio, counted(first.unwrap_or(1).into(), "executor"));
                row.remarks.push(format!(
                    "the same work took {ratio:.2} times as long as on {executors}: all of them share something, be it \
                     cores, memory or power, or something else went on beside them"
                ));
            }
            row.speedup = if row.wall_s > 0.0 { alone / row.wall_s } else { 0.0 };
            row.efficiency = row.speedup / f64::from(row.executors.max(1));
            let cluster = Cluster { executors: row.executors, slots: row.slots / row.executors.max(1) };
            row.forecast_wall_s = basis
                .as_ref()
                .filter(|_| Some(row.executors) != first)
                .map(|basis| basis.forecast(cluster, Schedule::Queue).wall_us as f64 / 1e6);
        }
        let digests: Vec<_> = sizes.iter().flat_map(|row| &row.runs).map(|run| &run.results_sha256).collect();
        let are_equal = digests.iter().all(|digest| *digest == digests[0]);
        let results_sha256 = digests.first().filter(|_| are_equal).map(|digest| (*digest).clone());
        let (agree, spread, lacking) = match compared_by {
            Sameness::Bits => (are_equal, None, Vec::new()),
            Sameness::Configurations => {
                let lacking = Lacking::of(&members);
                (lacking.is_empty(), Spread::of(&members), lacking)
            }
        };
        let study = study.to_owned();
        Self { study, cold, compared_by, agree, spread, lacking, results_sha256, first_contact, sizes }
    }

    /// Which runs gave which results, or lack some, if they have not in common what they should.
    #[must_use]
    pub fn disagreement(&self) -> Option<String> {
        match self.compared_by {
            _ if self.agree => None,
            Sameness::Bits => self.differing_digests(),
            Sameness::Configurations => {
                let lacking = self.lacking.iter().map(|lacking| format!("\n  {}", lacking.words()));
                Some(format!(
                    "not the same configurations have a result on all clusters, so their times cannot be compared:{}\n\
                     look for these trials in attempts.csv of these runs: it says how they ended",
                    lacking.collect::<String>()
                ))
            }
        }
    }

    fn differing_digests(&self) -> Option<String> {
        let mut groups: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
        for run in self.sizes.iter().flat_map(|row| &row.runs) {
            groups.entry(&run.results_sha256).or_default().push(&run.folder);
        }
        let group = |(digest, folders): (&&str, &Vec<&str>)| {
            format!("\n  results_sha256 {}...: {}", digest.get(..16).unwrap_or(digest), folders.join(", "))
        };
        let groups_told = groups.iter().map(group).collect::<String>();
        (groups.len() > 1).then(|| {
            format!(
                "the results are not the same on all clusters, so their times cannot be compared:{groups_told}\n\
                 compare the trials.csv of these runs, or the outputs/ of such that apply a model: they show which differ"
            )
        })
    }

    /// A table with a row a size, then the ledger of each in sentences.
    #[must_use]
    pub fn text(&self) -> String {
        let mut sentences = Vec::new();
        for row in &self.sizes {
            let mut remarks = row.remarks.iter();
            let executors = counted(row.executors.into(), "executor");
            // Medians are of all runs of a size, and sentences of one: in the table is what none of them took.
            let run = if row.runs.len() > 1 { format!("in its run {}, ", row.median_run) } else { String::new() };
            sentences.extend(remarks.next().map(|shares| format!("on {executors}, {run}{shares}")));
            sentences.extend(remarks.cloned());
        }
        sentences.extend(self.first_contact.as_ref().map(FirstContact::sentence));
        sentences.extend(self.spread.as_ref().map(Spread::sentence));
        if let Some(digest) = self.results_sha256.as_ref().filter(|_| self.compared_by == Sameness::Bits) {
            let shown = digest.get(..16).unwrap_or(digest);
            let same = if self.sizes.iter().map(|row| row.runs.len()).sum::<usize>() > 1 {
                "the results are the same to the last bit: "
            } else {
                ""
            };
            sentences.push(format!("{same}results_sha256 {shown}..."));
        }
        let lines = sentences.iter().flat_map(|sentence| wrap(words(sentence), ""));
        format!("{}\n{}", table(&self.sizes), lines.collect::<Vec<_>>().join("\n"))
    }

    /// `scale.json`, without a newline at its end.
    ///
    /// # Panics
    /// Never: all keys are text, and numbers that JSON lacks become `null`.
    #[must_use]
    pub fn json(&self) -> String {
        serde_json::to_string_pretty(self).unwrap_or_else(|error| unreachable!("a comparison is plain data: {error}"))
    }

    /// `scale.csv`: a row a size.
    #[must_use]
    pub fn csv(&self) -> String {
        let names = [
            "executors",
            "slots",
            "wall_s",
            "speedup",
            "efficiency",
            "broadcast_s",
            "utilisation",
            "attempts_lost",
            "forecast_wall_s",
        ];
        let lines = Line::ALL.map(|line| format!("slot_{}", line.key()));
        let header: Vec<_> = names.into_iter().chain(lines.iter().map(String::as_str)).collect();
        let mut rows = vec![header.join(",")];
        for row in &self.sizes {
            let forecast = row.forecast_wall_s.map(|wall_s| wall_s.to_string()).unwrap_or_default();
            let numbers =
                [row.wall_s, row.speedup, row.efficiency, row.broadcast_s, row.utilisation, row.attempts_lost];
            let cells = [row.executors.to_string(), row.slots.to_string()]
                .into_iter()
                .chain(numbers.map(|number| number.to_string()))
                .chain([forecast])
                .chain(Line::ALL.map(|line| row.ledger[line.key()].to_string()));
            rows.push(cells.collect::<Vec<_>>().join(","));
        }
        rows.join("\n") + "\n"
    }
}

/// Speedup and forecast are filled in when all sizes are there.
fn size_row(members: &[Member]) -> SizeRow {
    let ledgers: Vec<_> = members.iter().map(|member| Ledger::of(&member.record)).collect();
    let row = |(member, ledger): (&Member, &Ledger)| RunRow {
        folder: member.folder.clone(),
        wall_s: member.record.wall_s,
        broadcast_s: ledger.broadcast_us() as f64 / 1e6,
        utilisation: ledger.utilisation(),
        attempts_lost: lost(&member.record),
        results_sha256: member.record.results_sha256(),
    };
    let runs: Vec<_> = members.iter().zip(&ledgers).map(row).collect();
    let mut by_wall: Vec<usize> = (0..members.len()).collect();
    by_wall.sort_by(|one, other| runs[*one].wall_s.total_cmp(&runs[*other].wall_s));
    let median_run = by_wall[(by_wall.len() - 1) / 2];
    let ledger = &ledgers[median_run];
    SizeRow {
        executors: members[0].size,
        slots: ledger.slots(),
        wall_s: median(runs.iter().map(|run| run.wall_s)),
        speedup: 0.0,
        efficiency: 0.0,
        broadcast_s: median(runs.iter().map(|run| run.broadcast_s)),
        utilisation: median(runs.iter().map(|run| run.utilisation)),
        attempts_lost: median(runs.iter().map(|run| f64::from(run.attempts_lost))),
        forecast_wall_s: None,
        work_ratio: 1.0,
        ledger: lines_by_key(&ledger.total()),
        median_run: runs[median_run].folder.clone(),
        remarks: ledger::sentences(ledger, &members[median_run].record),
        runs,
    }
}

/// Attempts that ended with neither a result nor a checkpoint.
fn lost(run: &RunRecord) -> u32 {
    let ends = run.attempts.iter().filter_map(|attempt| attempt.end.as_ref());
    ends.filter(|end| end.is_wasted()).count() as u32
}

/// Of an even number, the mean of the two in the middle; of none, 0.
pub(super) fn median(values: impl Iterator<Item = f64>) -> f64 {
    let mut values: Vec<_> = values.collect();
    values.sort_by(f64::total_cmp);
    match values.len() {
        0 => 0.0,
        count => f64::midpoint(values[(count - 1) / 2], values[count / 2]),
    }
}

fn table(sizes: &[SizeRow]) -> String {
    let right = |content: String| Cell::new(content).set_alignment(CellAlignment::Right);
    let mut table = Table::new();
    table.load_style(TableStyle::new().header_separator(LineStyle::none().fill('─').junction('─')));
    let names =
        ["executors", "wall", "forecast", "speedup", "efficiency", "broadcast", "slots\nin use", "attempts\nlost"];
    table.set_header(names.map(|name| right(name.to_owned())));
    for row in sizes {
        let cells = [
            row.executors.to_string(),
            format!("{:.2} s", row.wall_s),
            row.forecast_wall_s.map(|wall_s| format!("{wall_s:.2} s")).unwrap_or_default(),
            format!("{:.2}", row.speedup),
            format!("{:.1} %", row.efficiency * 100.0),
            format!("{:.2} s", row.broadcast_s),
            format!("{:.1} %", row.utilisation * 100.0),
            row.attempts_lost.to_string(),
        ];
        table.add_row(cells.map(right));
    }
    let last = names.len() - 1;
    for (place, column) in table.column_iter_mut().enumerate() {
        column.set_padding((0, u16::from(place < last)));
    }
    table.lines().fold(String::new(), |text, line| text + line.trim_end() + "\n")
}

#[cfg(test)]
#[path = "comparison_tests.rs"]
mod tests;
