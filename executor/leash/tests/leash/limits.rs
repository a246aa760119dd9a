//! Memory and disk are bounded, and an end by a limit is told as one.

use std::fs;
use std::time::Duration;

use broadsweep_leash::{DiskLimit, How, Limits, Order};

use crate::world::{STAND_IN, new_mark, order, run, shell, ways};

const LIMIT_BYTES: u64 = 64 << 20;

fn limited(order: Order) -> Order {
    Order { limits: Limits { memory_bytes: Some(LIMIT_BYTES), disk: None }, ..order }
}

#[test]
fn memory_beyond_the_limit_ends_the_program_and_is_named_where_the_kernel_counts() {
    for way in ways() {
        let mut slot = way.leash.slot();
        let (ended, output) = run(&mut slot, &limited(order(STAND_IN, &["allocate", "200"], &new_mark())));
        if way.has_groups() {
            let How::OutOfMemory { limit_bytes, peak_bytes } = ended.how else { panic!("{way:?} {ended:?}") };
            assert_eq!(limit_bytes, Some(LIMIT_BYTES), "{way:?}");
            assert!((LIMIT_BYTES - (4 << 20)..=LIMIT_BYTES).contains(&peak_bytes), "{way:?} {ended:?}");
            assert_eq!(ended.usage.memory_kills, 1, "{way:?}");
        } else {
            assert_eq!(ended.how, How::Exit(1), "{way:?} {output}");
            assert!(output.contains("memory"), "{output}");
        }
        let (ended, output) = run(&mut slot, &limited(order(STAND_IN, &["allocate", "32"], &new_mark())));
        assert_eq!(ended.how, How::Exit(0), "{way:?} {output}");
        assert!((32 << 20..48 << 20).contains(&ended.usage.peak_memory_bytes), "{way:?} {ended:?}");
    }
}

#[test]
fn the_limit_holds_for_all_processes_together_where_there_are_groups() {
    for way in ways().iter().filter(|way| way.has_groups()) {
        let script = format!(
            "for i in 1 2 3; do {STAND_IN} allocate 40 & all=\"$all $!\"; done; s=0; for p in $all; do wait $p || s=5; done; exit $s"
        );
        let (ended, _) = run(&mut way.leash.slot(), &limited(shell(&script, &new_mark())));
        // Each may have ended before the next began; all three cannot have been within the limit and killed.
        match ended.how {
            How::OutOfMemory { .. } => assert!(ended.usage.memory_kills > 0),
            how => assert_eq!((how, ended.usage.memory_kills), (How::Exit(0), 0), "{way:?}"),
        }
    }
}

#[test]
fn a_folder_that_grows_too_large_ends_the_program() {
    for way in ways() {
        let folder = tempfile::tempdir().unwrap();
        let disk = DiskLimit { folder: folder.path().to_owned(), bytes_max: 1 << 20 };
        let limits = Limits { memory_bytes: None, disk: Some(disk) };
        let order = |script: &str| Order {
            folder: folder.path().to_owned(),
            limits: limits.clone(),
            ..shell(script, &new_mark())
        };
        let mut slot = way.leash.slot();
        let (ended, _) = run(&mut slot, &order("head -c 500000 /dev/zero > fits"));
        assert_eq!(ended.how, How::Exit(0), "{way:?}");
        let (ended, _) = run(&mut slot, &order("mkdir -p a/b; head -c 4000000 /dev/zero > a/b/large; sleep 1000"));
        let How::DiskFull { limit_bytes, used_bytes } = ended.how else { panic!("{way:?} {ended:?}") };
        assert!(limit_bytes == 1 << 20 && used_bytes > limit_bytes, "{way:?}");
        assert!(ended.usage.wall < Duration::from_secs(5), "{way:?}");
        // It noticed itself.
        let (ended, _) = run(&mut slot, &order("exit 1"));
        assert!(matches!(ended.how, How::DiskFull { .. }), "{way:?} {ended:?}");
    }
}

#[test]
fn a_program_may_remove_its_own_folder() {
    for way in ways() {
        let folder = tempfile::tempdir().unwrap();
        let own = folder.path().join("own");
        fs::create_dir(&own).unwrap();
        let disk = Some(DiskLimit { folder: own.clone(), bytes_max: 1 << 20 });
        let order = Order {
            folder: own.clone(),
            limits: Limits { memory_bytes: None, disk },
            ..shell("rm -rf \"$PWD\"; sleep 0.6; exit 4", &new_mark())
        };
        assert_eq!(run(&mut way.leash.slot(), &order).0.how, How::Exit(4), "{way:?}");
        assert!(!own.exists());
    }
}
