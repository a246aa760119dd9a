//! Models of other programs: an ONNX file becomes a model that executors apply, as our own do.
//!
//! | module | holds |
//! |---|---|
//! | `meaning` | what the rows of an input are to a graph, and what its answers mean |
//! | [`reading`] | the file, read and tried in a process of its own |
//!
//! A file may be hostile: reading it may take any memory, and loading its graph, which computes what depends on no row, any
//! time, or panic. So another process of this program reads it, with bounds, and hands over a graph of standard operators
//! that has answered a batch of rows. What a batch takes does not depend on the values of its rows (`broadsweep_onnx`
//! refuses the graphs for which it would), so that executors can run the others.

mod meaning;
pub mod reading;

use std::path::Path;

use broadsweep_common::application::{FinishedModel, FinishedNetwork, GraphDescription};
use broadsweep_data::partition::look;
use broadsweep_objects::input::ObjectInput;

use self::reading::{Read, read};
use super::digest;
use crate::study::ApplySettings;

/// A model of another program.
pub struct ForeignModel {
    /// As executors know it.
    pub model: FinishedModel,
    /// Its graph.
    pub graph: Vec<u8>,
    /// What a manifest calls it: the SHA-256 of the graph as it is sent.
    pub digest: String,
}

/// Opens the ONNX file at `path` that is to be applied, for the rows that it is to be applied to.
///
/// # Errors
/// What is wrong, in words.
pub fn open(settings: &ApplySettings, path: &Path) -> Result<ForeignModel, anyhow::Error> {
    let Read { opened, width, graph } = read(path)?;
    let of_file = |what: String| anyhow::anyhow!("{}: {what}", path.display());
    let look = look(&settings.input, &ObjectInput::new(&|_| ()))?;
    let columns = look.values.is_none().then_some(&look.columns[..]);
    let (outputs, answers) = meaning::of_answers(&opened, width, &settings.foreign.class_names).map_err(of_file)?;
    let (schema, channels_first) = meaning::of_rows(&opened, columns, settings, outputs).map_err(of_file)?;
    let description = GraphDescription {
        inputs: opened.inputs,
        batch_rows: opened.batch_rows,
        channels_first,
        output: opened.output,
        reading: answers,
    };
    let digest = digest::of_file(&graph);
    Ok(ForeignModel { model: FinishedModel { schema, network: FinishedNetwork::Graph(description) }, graph, digest })
}

/// What a run is called that applies the model at `path`.
#[must_use]
pub fn name(path: &Path) -> String {
    path.file_stem().map_or_else(|| "model".to_owned(), |name| name.to_string_lossy().into_owned())
}
