//! Data files, decoded into one aligned data set.
