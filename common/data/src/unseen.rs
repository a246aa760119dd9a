//! Words that no row has which is trained on: each is an input of the network, and nothing is learned of it. They come
//! from validation and test rows, named in the study or held out.

use super::error::{self, Origin};
use super::rows::{RawInputs, RawKind};
use super::scaling::RowCells;

/// Words that a remark lists.
const WORDS_LISTED_MAX: usize = 5;

/// Which words of which columns training rows have.
pub(super) struct TrainedWords {
    /// The columns of words by their places, and for each word whether some row has it.
    columns: Vec<(usize, Vec<bool>)>,
}

impl TrainedWords {
    /// Of no row yet.
    pub(super) fn of(inputs: &RawInputs) -> Self {
        let RawInputs::Columns(columns) = inputs else { return Self { columns: Vec::new() } };
        let words = columns.iter().enumerate().filter_map(|(place, column)| match &column.kind {
            RawKind::Categories(names) => Some((place, vec![false; names.len()])),
            RawKind::Number | RawKind::Flag => None,
        });
        Self { columns: words.collect() }
    }

    /// Adds rows of so many cells that are trained on, one after the other.
    pub(super) fn add(&mut self, rows: RowCells<'_>, cells: usize) {
        for (place, known) in &mut self.columns {
            let mut note = |word: usize| {
                if let Some(known) = known.get_mut(word) {
                    *known = true;
                }
            };
            match rows {
                RowCells::Bytes(rows) => rows.chunks_exact(cells).for_each(|row| note(usize::from(row[*place]))),
                // A cell that is missing is no word.
                RowCells::Numbers(rows) => {
                    let words = rows.chunks_exact(cells).map(|row| row[*place]).filter(|cell| !cell.is_nan());
                    words.for_each(|word| note(word as usize));
                }
            }
        }
    }

    /// What people should know, a sentence a column.
    pub(super) fn remarks(&self, inputs: &RawInputs, file: &Origin) -> Vec<String> {
        let RawInputs::Columns(columns) = inputs else { return Vec::new() };
        let sentences = self.columns.iter().filter_map(|(place, known)| {
            let column = &columns[*place];
            let RawKind::Categories(names) = &column.kind else { return None };
            let unseen: Vec<_> = names.iter().zip(known).filter(|(_, known)| !**known).map(|(name, _)| name).collect();
            let listed = unseen.iter().take(WORDS_LISTED_MAX).map(|name| format!("\"{}\"", error::shown(name)));
            let listed = listed.collect::<Vec<_>>().join(", ");
            let more = if unseen.len() > WORDS_LISTED_MAX { ", …" } else { "" };
            let name = error::shown(&column.name);
            (!unseen.is_empty()).then(|| {
                format!("{file}: no training row has {listed}{more} in the column `{name}`, so that nothing is learned of it")
            })
        });
        sentences.collect()
    }
}
