//! The rows of an input that this driver reads for executors that cannot.

use std::sync::Arc;

use broadsweep_common::application::Application;
use broadsweep_common::schema::Schema;
use broadsweep_data::partition::{Readable, pack};
use broadsweep_objects::Objects;
use broadsweep_objects::input::{bring, has_objects};
use bytes::Bytes;

use crate::cluster::{PartitionSource, RowsFuture};

/// The files of an input, on this machine or on stores.
#[derive(Clone, Debug)]
pub struct InputHere(Arc<Input>);

#[derive(Debug)]
struct Input {
    schema: Schema,
    application: Application,
    /// Who reaches the objects among the files; in words why nobody does.
    objects: Option<Result<Arc<dyn Objects>, String>>,
}

impl InputHere {
    /// What a model of this schema is applied to.
    #[must_use]
    pub fn new(schema: Schema, application: Application) -> Self {
        let objects =
            has_objects(&application.files).then(|| broadsweep_objects::open().map_err(|error| error.to_string()));
        Self(Arc::new(Input { schema, application, objects }))
    }

    fn read(&self, number: u32) -> Result<Vec<u8>, String> {
        let Input { schema, application, objects } = &*self.0;
        let none = || format!("the input has no partition {number}");
        let partition = application.partitions.get(number as usize).ok_or_else(none)?;
        let own = partition.own(&application.files);
        let files = match objects {
            Some(objects) if has_objects(own) => {
                let objects = objects.as_ref().map_err(Clone::clone)?;
                bring(&**objects, (schema, &application.wanted), own, partition, &|| true)
                    .map_err(|error| error.to_string())?
            }
            _ => own.iter().cloned().map(Readable::here).collect(),
        };
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
