//! The built-in trainer.
