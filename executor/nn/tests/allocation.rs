//! The training step allocates nothing of ours: all buffers are made before the first batch.
//!
//! The kernel behind the matrix products takes memory of its own in each call: flags of one byte, and panels aligned
//! to cache lines. Everything of ours is made of numbers and pointers, aligned to 4 to 16 bytes, so that is counted.

#![expect(unsafe_code, reason = "a counting allocator is an allocator")]

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::sync::Arc;

use broadsweep_common::dataset::{Dataset, DatasetBuilder, DatasetError, Element, Header, Part, Scaling, TargetKind};
use broadsweep_common::measure::Watched;
use broadsweep_common::model::{Activation, Initialization, Layer, Loss, Model, Padding, Window};
use broadsweep_common::task::Select;
use broadsweep_common::training::{Optimizer, Training};
use broadsweep_nn::EpochReport;
use broadsweep_nn::{Checkpoint, Control, Kernel, Phase, TrainTask, train};

struct Counting;

thread_local! {
    static COUNT: Cell<usize> = const { Cell::new(0) };
}

// SAFETY: everything is handed on to the system's allocator; counting allocates nothing.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        if (4..=16).contains(&layout.align()) {
            COUNT.set(COUNT.get() + 1);
        }
        // SAFETY: the caller's promises are those that the system's allocator asks for.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        // SAFETY: as above.
        unsafe { System.dealloc(pointer, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// Reads the counter at every question. Its own memory is taken beforehand.
struct Reader {
    counts: Vec<usize>,
}

impl Control for Reader {
    fn go_on(&mut self) -> bool {
        assert!(self.counts.len() < self.counts.capacity(), "more questions than expected");
        self.counts.push(COUNT.get());
        true
    }

    fn phase(&mut self, _phase: Phase) {}

    fn epoch_ended(&mut self, _report: &EpochReport, _checkpoint: &Checkpoint) -> bool {
        true
    }
}

fn data() -> Result<Dataset, DatasetError> {
    let mut builder = DatasetBuilder::new(Header {
        shape: vec![8, 8, 1],
        element: Element::U8,
        targets: TargetKind::Classes { count: 3 },
        rows: [50, 20, 0],
        scaling: Scaling::Uniform { factor: 1.0 / 255.0, offset: 0.0 },
        files_bytes: 0,
        target_scaling: Vec::new(),
    })?;
    for row in 0..50 {
        for (place, pixel) in builder.feature_row(Part::Train, row).iter_mut().enumerate() {
            *pixel = (row * 37 + place * 11) as u8;
        }
        builder.target_row(Part::Train, row).copy_from_slice(&(row as u32 % 3).to_ne_bytes());
    }
    Dataset::open(Arc::new(builder.finish()))
}

#[test]
fn no_batch_of_a_training_allocates() {
    let window = Window { size: 2, stride: 2, padding: Padding::Same };
    let initialization = Initialization::Glorot;
    let dense = |units, activation| Layer::Dense { units, activation, initialization };
    let model = Model {
        loss: Loss::CrossEntropy,
        layers: vec![
            Layer::Conv2d {
                filters: 4,
                kernel: 3,
                stride: 1,
                padding: Padding::Same,
                activation: Activation::Relu,
                initialization,
            },
            Layer::BatchNorm { momentum: 0.9, epsilon: 1e-3, activation: Activation::Gelu },
            Layer::MaxPool(window),
            Layer::AveragePool(window),
            Layer::Flatten,
            dense(20, Activation::Gelu),
            Layer::Dropout { rate: 0.5 },
            dense(3, Activation::Linear),
        ],
    };
    let data = data().unwrap();
    let adam = Optimizer::Adam { beta1: 0.9, beta2: 0.999, epsilon: 1e-7, weight_decay: 0.01 };
    let optimizers = [adam, Optimizer::Sgd { momentum: 0.9, nesterov: true }];
    let cases = Kernel::detect().into_iter().flat_map(|kernel| optimizers.map(|optimizer| (kernel, optimizer)));
    for (kernel, optimizer) in cases {
        let training = Training {
            optimizer,
            learning_rate: 0.01,
            learning_rate_decay: 0.9,
            l2: 1e-4,
            batch_size: 8,
            epochs: 3,
            early_stop: None,
        };
        let task = TrainTask {
            model: &model,
            training: &training,
            study_seed: 1,
            trial_seed: 2,
            repeat: 0,
            select: Select::Validation,
            watched: Watched::ERROR,
            measures: &[],
            test_every_trial: false,
            kernel,
        };
        // The kernel looks at the processor and takes its panels in a thread's first product.
        train(&task, &data, None, &mut Reader { counts: Vec::with_capacity(24) }).unwrap();
        // Seven batches of at most eight rows and one of validation, three times.
        let mut reader = Reader { counts: Vec::with_capacity(24) };
        let before = COUNT.get();
        train(&task, &data, None, &mut reader).unwrap();
        assert_eq!(reader.counts.len(), 24);
        assert!(reader.counts[0] > before + 10, "the counter does not see the buffers being made");
        assert_eq!(reader.counts[0], reader.counts[23], "{kernel}: {:?}", reader.counts);
    }
}
