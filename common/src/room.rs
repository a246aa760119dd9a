//! What people can do when a file may not grow: the same words wherever a file is written.

use std::io;

/// Whether there was no room for what was written.
#[must_use]
pub fn is_full(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded | io::ErrorKind::FileTooLarge)
}

/// What to do about it.
#[must_use]
pub fn advice(error: &io::Error) -> &'static str {
    match error.kind() {
        io::ErrorKind::FileTooLarge => {
            "raise the limit of file sizes (ulimit -f), or use a disk that takes files of this size"
        }
        _ => "free some space on its disk",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_limit_of_file_sizes_is_not_taken_for_a_full_disk() {
        let error = |kind: io::ErrorKind| io::Error::from(kind);
        assert!(advice(&error(io::ErrorKind::FileTooLarge)).contains("ulimit -f"));
        assert!(advice(&error(io::ErrorKind::StorageFull)).contains("free some space"));
        assert!(!is_full(&error(io::ErrorKind::PermissionDenied)));
    }
}
