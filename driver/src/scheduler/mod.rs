//! Places attempts on slots, nothing else.
