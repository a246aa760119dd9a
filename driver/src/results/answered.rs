//! What there is to say of a run that applies a model, in a sentence.

use super::show::{counted, short_real};
use crate::records::run::RunRecord;

/// `200 rows are answered; error 2.00 % on 150 rows with labels`.
pub(super) fn answered_sentence(run: &RunRecord) -> String {
    let Some(answers) = &run.answers else { return "it applies a model, and trains nothing".to_owned() };
    let are = if answers.rows == 1 { "is" } else { "are" };
    let answered = format!("{} {are} answered", counted(answers.rows, "row"));
    let rows = counted(answers.labelled_rows.unwrap_or_default(), "row");
    match answers.labels.as_ref().and_then(|labels| Some((labels, labels.error?))) {
        Some((labels, error)) if labels.classes.is_empty() => {
            format!("{answered}; root mean square error {} on {rows} with labels", short_real(error))
        }
        Some((_, error)) => format!("{answered}; error {:.2} % on {rows} with labels", 100.0 * error),
        None => answered,
    }
}
