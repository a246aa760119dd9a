//! The run folder, the tables, the progress on the terminal.
