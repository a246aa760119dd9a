//! What Broadsweep's driver and executors both speak.
//!
//! | module | holds |
//! |---|---|
//! | [`ids`] | trials, tasks, attempts, executors, digests |
//! | [`configuration`] | one point of the search space, and its digest |
//! | [`model`] | layers as a study writes them (with searched settings) and as a trial trains them |
//! | [`training`] | optimizer, learning rate, batches and epochs, in the same two forms |
//! | [`program`] | somebody's own program as the trainer: its command and how it tells what it measured |
//! | [`replay`] | trials that wait instead of training, in the same two forms |
//! | [`setting`] | a value that is either written in the study or searched |
//! | [`task`] | what is scheduled, and the description that is broadcast before it |
//! | [`attempt`] | what a driver asks of an executor's slot, and what the slot reports |
//! | [`application`] | a finished model, the rows that it is applied to, and what comes of them |
//! | [`mapper`] | somebody's own program in the place of the model |
//! | [`log`] | what programs print, on its way to the driver |
//! | [`metrics`] | what a trial reports |
//! | [`details`] | what a closer look at a model's answers tells |
//! | [`measure`] | what rows are measured by beside loss and error, and which number early stop watches |
//! | [`capabilities`] | what an executor can do and allows |
//! | [`refusal`] | why an executor does not take part in a study |
//! | [`schema`] | how rows of files become rows of a network |
//! | [`dataset`] | the data set as one aligned run of bytes, and typed views into it |
//! | [`blob`] | bytes cut into digest-named blocks, and the manifest that lists them |
//! | [`encoding`] | how a block looks on the wire, and whether it shrinks |
//! | [`exchange`] | who sends which block of a blob to whom: the driver's side and the executors' |
//! | [`heap`] | what the allocator does with memory that is given back |
//! | [`address`] | where an executor listens, as people write it |
//! | [`room`] | what people can do when a file may not grow |
//! | [`printable`] | text that somebody else chose, and counts, as people get to see them |
//! | [`size`] | amounts of bytes, as people write and read them |
//! | [`seeds`] | where every random number comes from |
//! | [`codec`] | the one place that knows bincode |
//!
//! Nothing enters this crate until both sides use it. Nothing here reads files, clocks or sockets.

pub mod address;
pub mod application;
pub mod attempt;
pub mod blob;
pub mod capabilities;
pub mod codec;
pub mod configuration;
pub mod dataset;
pub mod details;
pub mod encoding;
pub mod exchange;
pub mod heap;
pub mod ids;
pub mod log;
pub mod mapper;
pub mod measure;
pub mod metrics;
pub mod model;
pub mod printable;
pub mod program;
pub mod refusal;
pub mod replay;
pub mod room;
pub mod schema;
pub mod seeds;
pub mod setting;
pub mod size;
pub mod task;
pub mod training;
