//! Places and values, there and back.

use super::*;

#[test]
fn a_value_is_found_again_at_its_place() {
    let integers = |min, max, log, count| Domain::Integers { min, max, log, count };
    let words = ["b", "a"].map(|word| Value::Choice(word.to_owned()));
    let domains = [
        integers(1, 5, false, None),
        integers(8, 512, true, None),
        integers(i64::MIN, i64::MAX, false, Some(70)),
        integers(1, 1000, true, Some(9)),
        Domain::Reals { min: 1e-5, max: 1.0, log: true, count: Some(50) },
        Domain::Values([0.9, 0.1, 0.1].map(Value::Real).into()),
        Domain::Values(words.clone().into()),
        Domain::Ordered(words.into()),
        Domain::Ordered((0..70).map(|number| Value::Choice(format!("{}", 99 - number))).collect()),
        Domain::Values([true, false].map(Value::Flag).into()),
    ];
    for domain in domains {
        let coordinate = &coordinates(&Space::from([("it".to_owned(), domain.clone())]))[0];
        let count = coordinate.kind.count().unwrap();
        let mut found = Vec::new();
        for number in 0..count {
            let (name, value) = coordinate.value(coordinate.kind.place_of(number));
            let place = coordinate.place(&Configuration::from_iter([(name, value.clone())])).unwrap();
            assert_eq!(coordinate.value(place).1, value, "{domain:?}");
            assert!(!found.contains(&value), "{value} twice in {domain:?}");
            found.push(value);
        }
    }
}

#[test]
fn what_is_not_of_the_space_has_no_place() {
    let coordinate = &coordinates(&Space::from([("it".to_owned(), Domain::Values(vec![Value::Flag(true)]))]))[0];
    assert_eq!(coordinate.place(&Configuration::from_iter([("it", Value::Flag(false))])), None);
    assert_eq!(coordinate.place(&Configuration::default()), None);
}

#[test]
fn ordered_words_stand_between_their_neighbours_and_what_is_absent_in_the_middle() {
    let words = ["small", "medium", "large"].map(|word| Value::Choice(word.to_owned()));
    let mut space = Space::from([("size".to_owned(), Domain::Ordered(words.into()))]);
    let condition = crate::condition::Condition { parent: "other".to_owned(), values: Vec::new() };
    space.set_conditions([("size".to_owned(), vec![condition])].into()).unwrap();
    let coordinate = &coordinates(&space)[0];
    assert!(matches!(&coordinate.kind, PlaceKind::Cells { edges, .. } if edges.len() == 4));
    let place = |word: &str| coordinate.place(&Configuration::from_iter([("size", Value::Choice(word.to_owned()))]));
    assert_eq!(["small", "medium", "large", "huge"].map(place), [Some(0.0), Some(1.0), Some(2.0), None]);
    assert_eq!(coordinate.place(&Configuration::default()), Some(1.0));
}
