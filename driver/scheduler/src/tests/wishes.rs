//! Tasks that nobody wants any more, and tasks that somebody waits for: one transcript a rule.

use super::transcript::check;

#[test]
fn what_has_not_begun_is_dropped_wherever_it_waits_and_the_rest_is_placed_as_before() {
    check(
        "
        0 add t0 50                 =>
        0 add t1 40                 =>
        0 add t2 30                 =>
        0 add t3 20                 =>
        0 ready e0 1                => launch t0.1 e0
        1 add t4 45                 =>
        1 add t5 1 held_until=9000  => wake 9000
        2 drop t5 t2 t4 t4          => drop t2, drop t4, drop t5
        3 completed e0 t0.1         => finish t0 completed 1, launch t1.1 e0
        4 completed e0 t1.1         => finish t1 completed 1, launch t3.1 e0
        5 end                       =>
        6 completed e0 t3.1         => finish t3 completed 1, idle, done
        ",
    );
}

#[test]
fn what_has_begun_or_is_over_or_unknown_is_not_dropped_and_neither_are_those_beside_it() {
    check(
        "
        0 add t0 50                 =>
        0 add t1 40                 =>
        0 ready e0 1                => launch t0.1 e0
        1 drop t1 t0                => rejected: t0 has begun
        2 failed e0 t0.1            => launch t1.1 e0, wake 102
        3 drop t0                   => rejected: t0 has begun, wake 102
        4 completed e0 t1.1         => finish t1 completed 1, wake 102, idle
        5 drop t1                   => rejected: t1 has begun, wake 102, idle
        6 drop t2                   => rejected: t2 is unknown, wake 102, idle
        102 deadline                => launch t0.2 e0
        ",
    );
}

/// Both would have a copy: the one that remains longest first, unless somebody waits for the other.
#[test]
fn what_is_awaited_is_copied_before_what_remains_longer() {
    for (awaited, copied) in [("awaited", "t1"), ("awaited t2", "t2"), ("awaited t1", "t1")] {
        check(&format!(
            "
            policy copies=true
            0 ready e0 1                =>
            0 ready e1 1                =>
            0 ready e2 1                =>
            0 add t0 1000 epochs=10     => launch t0.1 e0
            0 add t1 1000 epochs=10     => launch t1.1 e1
            0 add t2 1000 epochs=10     => launch t2.1 e2
            1 {awaited}                 =>
            500 epoch e1 t1.1 1         =>
            500 epoch e2 t2.1 2         =>
            1000 epoch e0 t0.1 10       =>
            1000 completed e0 t0.1      => finish t0 completed 1, launch {copied}.2 e0
            "
        ));
    }
}

/// A copy of what nobody waits for has to win by a quarter.
#[test]
fn a_copy_of_what_is_awaited_has_to_win_and_no_more() {
    for (awaited, answer) in [("awaited", "wake 1208"), ("awaited t1", "launch t1.2 e0")] {
        check(&format!(
            "
            policy copies=true
            0 ready e0 1                =>
            0 ready e1 1                =>
            0 add t0 1000 epochs=10     => launch t0.1 e0
            0 add t1 1000 epochs=10     => launch t1.1 e1
            1 {awaited}                 =>
            1000 epoch e0 t0.1 10       =>
            1080 epoch e1 t1.1 5        =>
            1100 completed e0 t0.1      => finish t0 completed 1, {answer}
            "
        ));
    }
}
