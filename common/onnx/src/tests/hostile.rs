//! Files that nobody would send who means well: each is an error, or a model.

use super::*;

fn flipped(bytes: &[u8], mut seed: u64) -> Vec<u8> {
    let mut bytes = bytes.to_vec();
    for _ in 0..=seed % 4 {
        // Marsaglia's xorshift, 2003.
        seed ^= seed << 13;
        seed ^= seed >> 7;
        seed ^= seed << 17;
        let place = (seed / 8) as usize % bytes.len();
        bytes[place] ^= 1 << (seed % 8);
    }
    bytes
}

#[test]
fn truncated_and_flipped_files_are_errors_or_models() {
    for bytes in [classifier().bytes(), forest().bytes()] {
        let whole: Vec<_> = (0..bytes.len()).filter(|&until| open_bytes(&bytes[..until]).is_ok()).collect();
        // The last field is the list of operators, without which a graph can be read.
        assert!(whole.iter().all(|&until| until + 8 > bytes.len()), "{whole:?}");
        let refused = (1..=1000).filter(|&seed| open_bytes(&flipped(&bytes, seed)).is_err()).count();
        assert!(refused > 100, "{refused}");
    }
}

#[test]
fn trees_that_turn_back_or_lead_nowhere_are_refused() {
    let with = |name: &str, values: &[i64]| {
        let mut made = forest();
        let attributes = &mut made.graph.node[0].attribute;
        attributes.iter_mut().find(|attribute| attribute.name.as_deref() == Some(name)).unwrap().ints =
            values.to_vec();
        made.refusal()
    };
    for (refusal, what) in [
        (with("nodes_truenodeids", &[1, 0, 0, 0, 0, 1, 0, 0]), "turns back"),
        (with("nodes_truenodeids", &[1, 0, 2, 0, 0, 1, 0, 0]), "two branches lead to one node"),
        (with("nodes_treeids", &[0, 0, 0, 0, 0, 1, 1, 2]), "leads nowhere"),
        (with("nodes_truenodeids", &[9, 0, 3, 0, 0, 1, 0, 0]), "leads nowhere"),
        (with("nodes_nodeids", &[0, 1, 2, 2, 4, 0, 1, 2]), "there twice"),
        (with("nodes_featureids", &[0]), "differ in their lengths"),
        (with("target_ids", &[0, 0, 0, 0, 1]), "of no tree or output"),
        (with("target_ids", &[0, 0, 0, 0, -1]), "of no tree or output"),
        (with("target_treeids", &[0, 0, 0, 1, 7]), "of no tree or output"),
    ] {
        assert!(refusal.contains(what), "{refusal}");
    }
    let mut many = forest();
    let attributes = &mut many.graph.node[0].attribute;
    attributes.iter_mut().find(|attribute| attribute.name.as_deref() == Some("n_targets")).unwrap().int =
        Some(i64::MAX);
    assert!(many.refusal().contains("of no tree or output"), "{}", many.refusal());
}

#[test]
fn linear_models_of_other_sides_are_refused() {
    let mut made = classifier();
    made.graph.node[1].attribute[0].floats.pop();
    assert!(made.refusal().contains("do not fit its outputs"), "{}", made.refusal());
}
