//! Whatever the bytes of a file, loading ends with data or with an error.

use broadsweep_common::dataset::Dataset;
use proptest::prelude::*;

use super::*;

/// A good file of each format, and the study that reads it as its features (and the table as all).
fn good() -> Vec<(&'static str, Vec<u8>, DataSettings)> {
    let x = npy("<f4", true, "(2, 2)", &f32_bytes(&[1.0, 2.0, 3.0, 4.0]));
    let y = npy("|u1", false, "(2,)", &[0, 1]);
    vec![
        ("x", idx(8, &[2, 1, 2], &[1, 2, 3, 4]), idx_xy()),
        ("x", gz(&idx(0x0d, &[2, 1], &[0; 8])), idx_xy()),
        ("x", x.clone(), npy_xy()),
        ("x", gz(&x), npy_xy()),
        ("xy.npz", zip(&[("x.npy", 8, deflated(&x), x.clone()), ("y.npy", 0, y.clone(), y.clone())]), npz_xy()),
        ("xy.npz", zip(&[("x.npy", 0, x.clone(), x), ("y.npy", 0, y.clone(), y)]), npz_xy()),
        ("train.csv", b"a,b,label\n1,2,0\n\"3\",4,1\n".to_vec(), csv(false)),
        ("train.csv", gz(b"a,b,label\n1,2,0\n3,4,1\n"), csv(false)),
    ]
}

fn load_is_total(name: &str, bytes: Vec<u8>, settings: &DataSettings) -> bool {
    let labels = if matches!(settings.source, DataSource::Idx(_)) {
        idx(8, &[2], &[0, 1])
    } else {
        npy("|u1", false, "(2,)", &[0, 1])
    };
    let folder = Folder::with(&[("y", labels), (name, bytes)]);
    let mut loaded_any = false;
    for (loss, scaling) in [(LabelKind::Classes, ScalingKind::Standard), (LabelKind::Numbers, ScalingKind::Unit)] {
        let settings = DataSettings { scaling, validation: HeldOut::Count(1), ..settings.clone() };
        if let Ok(loaded) = folder.load(&settings, loss) {
            let header = loaded.header;
            assert_eq!(*Dataset::open(Arc::new(loaded.data.content)).unwrap().header(), header);
            loaded_any = true;
        }
    }
    loaded_any
}

#[test]
fn the_files_that_are_mutated_are_good_before() {
    assert_eq!(good().len(), 8, "the properties draw one of 8");
    for (place, (name, bytes, settings)) in good().into_iter().enumerate() {
        assert!(load_is_total(name, bytes, &settings), "file {place}, {name}");
    }
}

proptest! {
    #[test]
    fn arbitrary_bytes_are_data_or_an_error(file in 0_usize..8, bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
        let (name, _, settings) = good().swap_remove(file);
        load_is_total(name, bytes, &settings);
    }

    #[test]
    fn good_files_with_bytes_changed_cut_or_added_are_data_or_an_error(
        file in 0_usize..8,
        changes in proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..4),
        cut in 0_usize..20,
        added in proptest::collection::vec(any::<u8>(), 0..3),
    ) {
        let (name, mut bytes, settings) = good().swap_remove(file);
        for (place, value) in changes {
            let place = place.index(bytes.len());
            bytes[place] = value;
        }
        bytes.truncate(bytes.len().saturating_sub(cut));
        bytes.extend(added);
        load_is_total(name, bytes, &settings);
    }
}
