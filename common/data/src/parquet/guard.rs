//! Calls of the library that may panic.

use std::cell::Cell;
use std::panic::{self, AssertUnwindSafe, PanicHookInfo, catch_unwind};
use std::sync::Once;

use parquet::errors::ParquetError;

use crate::error::{DataError, Origin, shown};

type PanicHook = Box<dyn Fn(&PanicHookInfo<'_>) + Send + Sync>;

thread_local! {
    /// Whether this thread is inside [`guarded`].
    static IS_GUARDED: Cell<bool> = const { Cell::new(false) };
}

/// What the library says of a damaged file. It is read without trust in it: where it panics, that is an error too, and
/// nothing is printed.
pub(super) fn guarded<T>(file: &Origin, read: impl FnOnce() -> Result<T, ParquetError>) -> Result<T, DataError> {
    static SILENCED: Once = Once::new();
    SILENCED.call_once(|| panic::set_hook(silenced(panic::take_hook())));
    let before = IS_GUARDED.replace(true);
    let read = catch_unwind(AssertUnwindSafe(read));
    IS_GUARDED.set(before);
    let corrupt = |what: String| DataError::Corrupt { file: file.clone(), what };
    match read {
        Ok(Ok(read)) => Ok(read),
        Ok(Err(ParquetError::NYI(what))) => Err(DataError::Unsupported { file: file.clone(), what }),
        Ok(Err(ParquetError::General(what))) => Err(corrupt(shown(&what))),
        Ok(Err(error)) => Err(corrupt(shown(&error.to_string()))),
        Err(_) => Err(corrupt("it says what cannot be".to_owned())),
    }
}

/// Says nothing of panics inside [`guarded`], and leaves others to the hook that was there before.
fn silenced(former: PanicHook) -> PanicHook {
    Box::new(move |panic| {
        if !IS_GUARDED.try_with(Cell::get).unwrap_or(false) {
            former(panic);
        }
    })
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;

    #[test]
    fn panics_of_the_library_are_errors_and_silent_and_others_reach_the_hook_that_was_there() {
        static REACHED: AtomicUsize = AtomicUsize::new(0);
        const OURS: &str = "a panic of this test";
        let file = Origin::file("t.parquet".into());
        // The hook is installed by the first call.
        guarded(&file, || Ok(())).unwrap();
        let before = std::sync::Arc::new(panic::take_hook());
        let former = before.clone();
        panic::set_hook(silenced(Box::new(move |panic| {
            if panic.payload_as_str() == Some(OURS) {
                REACHED.fetch_add(1, Ordering::SeqCst);
            } else {
                former(panic);
            }
        })));
        let refused = guarded(&file, || -> Result<(), ParquetError> { panic!("{OURS}") });
        let reached_inside = REACHED.load(Ordering::SeqCst);
        let outside = catch_unwind(|| panic!("{OURS}"));
        let reached_outside = REACHED.load(Ordering::SeqCst);
        let elsewhere = std::thread::spawn(|| panic!("{OURS}")).join();
        panic::set_hook(Box::new(move |panic| before(panic)));
        assert!(matches!(refused, Err(DataError::Corrupt { .. })), "{refused:?}");
        assert!(outside.is_err() && elsewhere.is_err());
        assert_eq!((reached_inside, reached_outside, REACHED.load(Ordering::SeqCst)), (0, 1, 2));
    }
}
