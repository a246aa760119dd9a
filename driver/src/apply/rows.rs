//! The rows of an input that this driver reads for executors that cannot.

use std::sync::Arc;

use broadsweep_common::application::Application;
use broadsweep_common::schema::Schema;
use broadsweep_data::partition::{Readable, pack};
use bytes::Bytes;

use crate::cluster::{PartitionSource, RowsFuture};

/// The files of an input, on this machine.
#[derive(Clone, Debug)]
pub struct InputHere(Arc<(Schema, Application)>);

impl InputHere {
    /// What a model of this schema is applied to.
    #[must_use]
    pub fn new(schema: Schema, application: Application) -> Self {
        Self(Arc::new((schema, application)))
    }

    fn read(&self, number: u32) -> Result<Vec<u8>, String> {
        let (schema, application) = &*self.0;
        let none = || format!("the input has no partition {number}");
        let partition = application.partitions.get(number as usize).ok_or_else(none)?;
        let files = partition.own(&application.files).iter().cloned().map(Readable::here);
        let files: Vec<_> = files.collect();
        pack(schema, &application.wanted, &files, partition).map_err(|error| error.to_string())
    }
}

impl PartitionSource for InputHere {
    fn rows_of(&self, partition: u32) -> RowsFuture {
        let input = self.clone();
        Box::pin(async move {
            let read = tokio::task::spawn_blocking(move || input.read(partition)).await;
            read.map_err(|ended| ended.to_string())?.map(Bytes::from)
        })
    }
}
