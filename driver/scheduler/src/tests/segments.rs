//! What is placed first, and tasks that begin in the middle of a training: one transcript a rule.

use super::transcript::check;

#[test]
fn tasks_in_order_go_by_their_moment_whatever_they_cost_and_ties_by_the_lowest_id() {
    check(
        "
        0 add t0 100 moment=7  =>
        0 add t1 1 moment=3    =>
        0 add t2 50 moment=3   =>
        0 add t3 999 moment=9  =>
        0 ready e0 1           => launch t1.1 e0
        1 completed e0 t1.1    => finish t1 completed 1, launch t2.1 e0
        2 completed e0 t2.1    => finish t2 completed 1, launch t0.1 e0
        3 add t4 2 moment=8    =>
        4 completed e0 t0.1    => finish t0 completed 1, launch t4.1 e0
        5 completed e0 t4.1    => finish t4 completed 1, launch t3.1 e0
        ",
    );
}

#[test]
fn a_lost_task_is_tried_again_at_its_own_priority() {
    check(
        "
        0 add t0 1 moment=1    =>
        0 add t1 9 moment=2    =>
        0 add t2 5 moment=3    =>
        0 ready e0 2           => launch t0.1 e0, launch t1.1 e0
        1 lost e0              => lost t0.1 e0, lost t1.1 e0
        2 ready e1 1           => launch t0.2 e1
        3 completed e1 t0.2    => finish t0 completed 2, launch t1.2 e1
        4 completed e1 t1.2    => finish t1 completed 2, launch t2.1 e1
        ",
    );
}

#[test]
fn a_task_in_order_goes_before_one_that_goes_by_cost() {
    check(
        "
        0 add t0 100            =>
        0 add t1 1 longest=200  =>
        0 add t2 1 moment=5     =>
        0 ready e0 1            => launch t2.1 e0
        1 completed e0 t2.1     => finish t2 completed 1, launch t1.1 e0
        2 completed e0 t1.1     => finish t1 completed 1, launch t0.1 e0
        ",
    );
}

#[test]
fn a_segment_without_an_epoch_of_its_own_is_rejected() {
    check("0 add t0 10 from=3 epochs=0 => rejected: t0 has no epochs");
}

/// Three epochs of a cost of 100 each: a hang is ten times what the last ones took.
#[test]
fn the_epochs_of_a_segment_are_worked_off_at_the_pace_of_any_other() {
    check(
        "
        policy hang_ms_min=50
        0 ready e0 1                    =>
        0 add t0 300 from=3 epochs=3    => launch t0.1 e0, wake 50
        10 epoch e0 t0.1 4              => wake 110
        20 epoch e0 t0.1 5              => wake 120
        20 epoch e0 t0.1 4              => wake 120
        120 deadline                    => cancel t0.1 e0 hung 100, wake 220
        ",
    );
    check(
        "
        policy hang_ms_min=50
        0 ready e0 1                    =>
        0 add t0 300 from=3 epochs=1    => launch t0.1 e0, wake 50
        30 completed e0 t0.1            => finish t0 completed 1, idle
        30 add t1 100                   => launch t1.1 e0, wake 130
        ",
    );
}

#[test]
fn losses_of_a_segment_are_forgiven_by_a_checkpoint_behind_its_input_only() {
    check(
        "
        0 ready e0 1                    =>
        0 add t0 300 from=3 epochs=3    => launch t0.1 e0
        1 checkpoint t0 3               =>
        2 lost e0                       => lost t0.1 e0
        3 ready e0 1                    => launch t0.2 e0
        4 checkpoint t0 4               =>
        5 lost e0                       => lost t0.2 e0
        6 ready e0 1                    => launch t0.3 e0
        7 checkpoint t0 2               =>
        8 lost e0                       => lost t0.3 e0, finish t0 lost 2 of 3, idle
        ",
    );
}

#[test]
fn an_attempt_that_lost_its_input_lives_while_it_does_earlier_epochs_again() {
    check(
        "
        policy hang_ms_min=50
        0 ready e0 1                    =>
        0 add t0 300 from=3 epochs=3    => launch t0.1 e0, wake 50
        10 epoch e0 t0.1 1              => wake 110
        20 epoch e0 t0.1 2              => wake 120
        30 epoch e0 t0.1 3              => wake 130
        40 epoch e0 t0.1 4              => wake 140
        ",
    );
}

/// Both tasks are segments from epoch 3 to 13. From their input a copy takes 1000 ms, from epoch 8 it takes 500 ms, and
/// it has to win by a quarter.
#[test]
fn a_slow_segment_gets_a_copy_that_goes_on_from_its_checkpoint() {
    check(
        "
        policy copies=true
        0 ready e0 1                            =>
        0 ready e1 1                            =>
        0 add t0 1000 from=3 epochs=10          => launch t0.1 e0
        0 add t1 1000 from=3 epochs=10          => launch t1.1 e1
        1000 epoch e0 t0.1 13                   =>
        1000 epoch e1 t1.1 8                    =>
        1000 completed e0 t0.1                  => finish t0 completed 1, wake 1100
        1050 checkpoint t1 8                    => wake 1100
        1100 deadline                           => launch t1.2 e0
        ",
    );
    check(
        "
        policy copies=true
        0 ready e0 1                            =>
        0 ready e1 1                            =>
        0 add t0 1000 from=3 epochs=10          => launch t0.1 e0
        0 add t1 1000 from=3 epochs=10          => launch t1.1 e1
        500 epoch e1 t1.1 4                     =>
        1000 epoch e0 t0.1 13                   =>
        1000 completed e0 t0.1                  => finish t0 completed 1, launch t1.2 e0
        ",
    );
}
