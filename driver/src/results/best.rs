//! The folder `best/` of a run: the best configuration, and what its trial made.

use std::path::Path;
use std::{fs, io};

use broadsweep_common::configuration::{Configuration, Value};
use broadsweep_executor::archive::{Access, unpack};

use super::folder::{FolderError, RunFolder, make_folder, write_whole};
use crate::model::folder::{BEST, DESCRIPTION, ModelFiles, ONNX, WEIGHTS};

/// What the best trial made.
#[derive(Clone, Copy, Debug)]
pub enum Made<'a> {
    /// A replay, or a program without outputs, makes nothing.
    Nothing,
    /// A network: a model that can be used.
    Model(&'a ModelFiles),
    /// Bytes that should be weights, but are not the network's: they are kept as they came.
    Weights(&'a [u8]),
    /// The outputs of a program, as archives.
    Outputs {
        /// Of the best trial: they come to `best/outputs/`.
        best: Option<&'a [u8]>,
        /// Of the control: they come to `best/control/`.
        control: Option<&'a [u8]>,
    },
}

impl RunFolder {
    /// Writes `best/configuration.toml`, which can be pasted under `[control]`, and what the best trial made. The same
    /// best gives the same bytes.
    ///
    /// # Errors
    /// As [`Self::write_study`].
    pub fn write_best(&self, configuration: &Configuration, made: &Made<'_>) -> Result<(), FolderError> {
        let best = self.path().join(BEST);
        make_folder(&best)?;
        match made {
            Made::Nothing => {}
            Made::Model(files) => write_model(&best, files)?,
            Made::Weights(weights) => {
                [DESCRIPTION, ONNX].iter().try_for_each(|name| remove(&best.join(name)))?;
                write_whole(&best.join(WEIGHTS), weights)?;
            }
            Made::Outputs { best: of_best, control } => {
                let outputs = [("outputs", of_best), ("control", control)];
                for (name, archive) in outputs.into_iter().filter_map(|(name, archive)| Some((name, (*archive)?))) {
                    unpack_whole(archive, &best.join(name))?;
                }
            }
        }
        write_whole(&best.join("configuration.toml"), configuration_toml(configuration).as_bytes())
    }
}

/// The description comes last: where it stands, the others do, and those of a former best are told apart from them.
fn write_model(best: &Path, files: &ModelFiles) -> Result<(), FolderError> {
    write_whole(&best.join(WEIGHTS), &files.weights)?;
    match &files.onnx {
        Some(onnx) => write_whole(&best.join(ONNX), onnx)?,
        None => remove(&best.join(ONNX))?,
    }
    write_whole(&best.join(DESCRIPTION), &files.description)
}

/// Removes a file of a former best; where there is none, that is as well.
fn remove(path: &Path) -> Result<(), FolderError> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(FolderError::from_io(path, error)),
        _ => Ok(()),
    }
}

/// Puts what is in an archive into the place of the folder that stood there before.
fn unpack_whole(archive: &[u8], path: &Path) -> Result<(), FolderError> {
    let partial = path.with_added_extension("partial");
    let clear = |folder: &Path| match fs::remove_dir_all(folder) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    };
    let unpacked = clear(&partial)
        .and_then(|()| fs::create_dir(&partial))
        .and_then(|()| unpack(archive, &partial, Access::Writable))
        .and_then(|()| clear(path))
        .and_then(|()| fs::rename(&partial, path));
    unpacked.map_err(|error| FolderError::from_io(path, error))
}

/// One line a parameter: `fc1 = 512`. Numbers parse back to the same bits.
fn configuration_toml(configuration: &Configuration) -> String {
    let plain = |value: &Value| match value {
        Value::Integer(integer) => toml::Value::Integer(*integer),
        Value::Real(real) => toml::Value::Float(*real),
        Value::Choice(word) => toml::Value::String(word.clone()),
        Value::Flag(flag) => toml::Value::Boolean(*flag),
    };
    let table: toml::Table = configuration.iter().map(|(name, value)| (name.to_owned(), plain(value))).collect();
    table.to_string()
}

#[cfg(test)]
#[path = "best_tests.rs"]
mod tests;
