//! How rows get from their files into the data set: in two passes where what is done to them depends on all of them, in
//! one where they lie there as the bytes that they are, whatever the statistics say.

use broadsweep_common::blob::Blob;
use broadsweep_common::dataset::{DatasetError, DatasetWriter, Header, Part, Scale, Scaling};
use broadsweep_common::schema::{Dialect, Outputs, Schema};
use bytes::Bytes;

use super::destination::{Destination, Sink};
use super::error::DataError;
use super::files::Archive;
use super::scaling::{Fitted, Fitting};
use super::{Raw, layout};
use crate::settings::{DataSettings, DataSource, TableFormat};

/// What is known before any row is laid out.
pub(super) struct Passes<'d> {
    pub(super) settings: &'d DataSettings,
    pub(super) files: &'d Archive,
    pub(super) destination: &'d Destination,
    /// Where each training row goes.
    pub(super) parts: &'d [Part],
    /// Without any scaling, which the rows have to say.
    pub(super) header: Header,
}

/// All rows and files, laid out.
pub(super) struct LaidOut {
    pub(super) header: Header,
    pub(super) schema: Schema,
    pub(super) data: Blob<Bytes>,
}

impl Passes<'_> {
    /// Reads all rows as often as it takes.
    pub(super) fn lay_out(self, raw: &mut Raw, fitting: Fitting<'_>) -> Result<LaidOut, DataError> {
        if fitting.keeps_rows() { self.keep(raw, fitting) } else { self.fit_and_scale(raw, fitting) }
    }

    /// Lays rows of bytes out, and looks at them on the way: how they are scaled stands behind them.
    fn keep(mut self, raw: &mut Raw, fitting: Fitting<'_>) -> Result<LaidOut, DataError> {
        let mut fit = fitting.begin(&raw.train)?;
        if fit.scales_each() {
            // At most, and none where all have the same.
            let each = vec![0.0; self.header.row_values()];
            self.header.scaling = Scaling::PerFeature { factors: each.clone(), offsets: each };
        }
        let mut remarks = Vec::new();
        let mut writer = self.begin(raw, &mut remarks)?;
        layout::keep(&mut writer, &raw.labels, &mut raw.train, self.parts, |batch, parts| fit.add(batch, parts))?;
        for (part, kind) in [(&mut raw.validation, Part::Validation), (&mut raw.test, Part::Test)] {
            if let Some(part) = part {
                let parts = vec![kind; part.rows];
                layout::keep(&mut writer, &raw.labels, part, &parts, |_, _| {})?;
            }
        }
        let schema = self.schema(raw, fit.settle()?);
        raw.remarks.append(&mut remarks);
        self.header.scaling = schema.scaling();
        writer.scale_by(self.header.scaling.clone());
        self.end(writer, schema)
    }

    /// Looks at all rows that are trained on, and lays all of them out as that says.
    fn fit_and_scale(mut self, raw: &mut Raw, fitting: Fitting<'_>) -> Result<LaidOut, DataError> {
        let fitted = fitting.fit(&mut raw.train, self.parts)?;
        let schema = self.schema(raw, fitted);
        self.header.scaling = schema.scaling();
        self.header.target_scaling = target_scaling(&schema, self.settings);
        let mut remarks = Vec::new();
        let mut writer = self.begin(raw, &mut remarks)?;
        raw.remarks.append(&mut remarks);
        layout::write(&mut writer, &schema, &raw.labels, &mut raw.train, |row| self.parts[row])?;
        for (part, kind) in [(&mut raw.validation, Part::Validation), (&mut raw.test, Part::Test)] {
            if let Some(part) = part {
                layout::write(&mut writer, &schema, &raw.labels, part, |_| kind)?;
            }
        }
        self.end(writer, schema)
    }

    fn begin(&self, raw: &Raw, remarks: &mut Vec<String>) -> Result<DatasetWriter<Sink>, DataError> {
        let layout = |source: DatasetError| DataError::Layout { file: raw.train.features.clone(), source };
        let bytes = DatasetWriter::<Sink>::bytes_of(&self.header).map_err(layout)?;
        let sink = self.destination.begin(bytes, remarks)?;
        DatasetWriter::new(self.header.clone(), sink).map_err(layout)
    }

    fn end(self, mut writer: DatasetWriter<Sink>, schema: Schema) -> Result<LaidOut, DataError> {
        self.files.write(writer.files()).map_err(DataError::File)?;
        let data = writer.finish().map_err(DataError::Unwritable)?.seal()?;
        Ok(LaidOut { header: self.header, schema, data })
    }

    /// How rows of files become these.
    fn schema(&self, raw: &mut Raw, fitted: Fitted) -> Schema {
        raw.remarks.extend(fitted.remarks);
        Schema {
            shape: self.header.shape.clone(),
            inputs: fitted.inputs,
            element: self.header.element,
            outputs: raw.labels.outputs(fitted.targets),
            text: known_of_text(&self.settings.source, raw.decimal),
        }
    }
}

/// What the study says of how its tables are written, if they are text; and the decimal mark that was found, since a few
/// rows later may not show it.
fn known_of_text(source: &DataSource, found: Option<u8>) -> Dialect {
    match source {
        DataSource::Table(table) => match &table.format {
            TableFormat::Text(said) => Dialect { decimal: said.decimal.or(found), ..said.clone() },
            TableFormat::Parquet => Dialect::default(),
        },
        DataSource::Idx(_) | DataSource::Npy(_) | DataSource::Npz { .. } | DataSource::Images { .. } => {
            Dialect::default()
        }
    }
}

fn target_scaling(schema: &Schema, settings: &DataSettings) -> Vec<Scale> {
    match &schema.outputs {
        Outputs::Values { scales, .. } if settings.scales_targets => scales.clone(),
        _ => Vec::new(),
    }
}
