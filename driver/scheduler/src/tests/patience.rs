//! Hung attempts, and copies of slow ones: one transcript a rule.

use super::transcript::check;

#[test]
fn an_attempt_whose_epoch_takes_ten_times_its_forecast_hangs_and_counts_as_failed() {
    check(
        "
        policy hang_ms_min=50
        0 ready e0 1                =>
        0 add t0 1000 epochs=10     => launch t0.1 e0, wake 50
        10 epoch e0 t0.1 1          => wake 110
        50 epoch e0 t0.1 2          => wake 300
        60 epoch e0 t0.1 2          => wake 300
        60 epoch e0 t0.1 0          => wake 300
        299 deadline                => wake 300
        300 deadline                => cancel t0.1 e0 hung 250, wake 400
        ",
    );
}

#[test]
fn a_hung_attempt_keeps_its_slot_until_it_stops_and_three_give_the_task_up() {
    check(
        "
        policy hang_ms_min=50
        0 ready e0 1                =>
        0 add t0 100                => launch t0.1 e0, wake 50
        51 deadline                 => cancel t0.1 e0 hung 51, wake 151
        151 deadline                =>
        160 completed e0 t0.1       => launch t0.2 e0, wake 210
        211 deadline                => cancel t0.2 e0 hung 51, wake 411
        212 stopped e0 t0.2         => wake 411
        411 deadline                => launch t0.3 e0, wake 461
        462 deadline                => cancel t0.3 e0 hung 51, finish t0 failed 3 of 3, idle
        ",
    );
}

#[test]
fn before_anything_was_measured_an_epoch_may_take_what_a_very_slow_machine_needs() {
    check(
        "
        policy hang_ms_min=50
        0 ready e0 1                         =>
        0 add t0 200000000 epochs=2          => launch t0.1 e0, wake 1050
        ",
    );
}

#[test]
fn an_executor_that_was_never_measured_is_expected_to_go_like_the_others() {
    check(
        "
        policy hang_ms_min=50
        0 ready e0 1                =>
        0 add t0 100                => launch t0.1 e0, wake 50
        40 completed e0 t0.1        => finish t0 completed 1, idle
        50 ready e1 2               => idle
        50 add t1 100               => launch t1.1 e1, wake 450
        60 completed e1 t1.1        => finish t1 completed 1, idle
        70 add t2 100               => launch t2.1 e1, wake 170
        ",
    );
}

#[test]
fn no_attempt_hangs_while_its_executor_is_away() {
    check(
        "
        policy hang_ms_min=50
        0 ready e0 1                =>
        0 add t0 100 epochs=2       => launch t0.1 e0, wake 50
        40 away e0                  => wake 1040
        500 deadline                => wake 1040
        600 ready e0 1 t0.1         => wake 650
        610 completed e0 t0.1       => finish t0 completed 1, idle
        ",
    );
}

#[test]
fn nothing_hangs_and_nobody_is_lost_because_the_driver_stood_still() {
    check(
        "
        policy hang_ms_min=50
        0 ready e0 1                =>
        0 ready e1 1                =>
        0 add t0 1000 epochs=10     => launch t0.1 e0, wake 50
        0 add t1 900 epochs=9       => launch t1.1 e1, wake 50
        10 epoch e0 t0.1 1          => wake 50
        20 away e1                  => wake 110
        5000 stood-still            => wake 5100
        5005 epoch e0 t0.1 2        => wake 5105
        5105 deadline               => cancel t0.1 e0 hung 100, wake 5205
        5205 deadline               => wake 6000
        6000 deadline               => lost t1.1 e1
        ",
    );
}

#[test]
fn the_pace_of_an_executor_is_not_that_of_a_driver_that_stood_still() {
    check(
        "
        policy hang_ms_min=1
        0 ready e0 1                =>
        0 add t0 1000 epochs=10     => launch t0.1 e0, wake 1
        1 epoch e0 t0.1 1           => wake 11
        9000 stood-still            => wake 9010
        9005 epoch e0 t0.1 2        => wake 9015
        ",
    );
}

#[test]
fn nothing_is_due_from_an_attempt_that_has_ended_and_whose_result_is_on_its_way() {
    check(
        "
        policy hang_ms_min=50
        0 ready e0 1                =>
        0 add t0 100 epochs=2       => launch t0.1 e0, wake 50
        10 epoch e0 t0.1 2          => wake 60
        20 ending e0 t0.1           =>
        9000 deadline               =>
        9001 ending e0 t0.2         => rejected: t0.2 is not running on executor 0
        9002 stood-still            =>
        9003 away e0                => wake 10003
        9004 ready e0 1 t0.1        => wake 9054
        9005 ending e0 t0.1         =>
        9900 completed e0 t0.1      => finish t0 completed 1, idle
        ",
    );
}

#[test]
fn no_task_waits_for_an_executor_on_which_all_hangs() {
    check(
        "
        policy hang_ms_min=50
        0 ready e0 1                =>
        0 ready e1 1                =>
        0 add t0 100                => launch t0.1 e0, wake 50
        0 add t1 90                 => launch t1.1 e1, wake 50
        10 failed e1 t1.1           => wake 50
        51 deadline                 => cancel t0.1 e0 hung 51, wake 110
        110 deadline                => launch t1.2 e1, wake 151
        120 completed e1 t1.2       => finish t1 completed 2, wake 151, idle
        151 deadline                => launch t0.2 e1, wake 262
        ",
    );
}

#[test]
fn an_attempt_that_could_not_go_on_from_its_checkpoint_lives_from_its_first_epoch_on() {
    check(
        "
        policy hang_ms_min=50
        0 ready e0 1                                        =>
        0 add t0 100 epochs=10 attempts=1 checkpoint=5      => launch t0.2 e0, wake 50
        10 epoch e0 t0.2 1                                  => wake 110
        20 epoch e0 t0.2 2                                  => wake 120
        30 epoch e0 t0.2 2                                  => wake 120
        ",
    );
}

#[test]
fn the_first_epoch_after_an_adoption_says_nothing_about_the_pace() {
    check(
        "
        policy hang_ms_min=50
        0 add t0 1000 epochs=10 attempts=1                  =>
        10 ready e0 1 t0.1                                  => adopt t0.1 e0, wake 60
        11 epoch e0 t0.1 7                                  => wake 61
        31 epoch e0 t0.1 8                                  => wake 231
        ",
    );
}

#[test]
fn of_two_tasks_on_two_executors_the_slow_one_gets_a_copy_when_the_other_is_done() {
    check(
        "
        policy copies=true
        0 ready e0 1                =>
        0 ready e1 1                =>
        0 add t0 1000 epochs=10     => launch t0.1 e0
        0 add t1 1000 epochs=10     => launch t1.1 e1
        0 end                       =>
        500 epoch e1 t1.1 1         =>
        1000 epoch e0 t0.1 10       =>
        1000 completed e0 t0.1      => finish t0 completed 1, launch t1.2 e0
        1100 epoch e0 t1.2 1        =>
        2000 completed e0 t1.2      => finish t1 completed 2, cancel t1.1 e1 beaten, idle, done
        2010 completed e1 t1.1      => idle, done
        ",
    );
}

#[test]
fn a_copy_that_would_not_win_by_a_quarter_is_not_made_until_a_checkpoint_helps_it() {
    check(
        "
        policy copies=true
        0 ready e0 1                =>
        0 ready e1 1                =>
        0 add t0 1000 epochs=10     => launch t0.1 e0
        0 add t1 1000 epochs=10     => launch t1.1 e1
        1000 epoch e0 t0.1 10       =>
        1000 epoch e1 t1.1 5        =>
        1000 completed e0 t0.1      => finish t0 completed 1, wake 1100
        1050 checkpoint t1 5        => wake 1100
        1100 deadline               => launch t1.2 e0
        ",
    );
}

#[test]
fn an_attempt_that_shows_nothing_is_no_faster_than_the_time_it_took() {
    check(
        "
        policy copies=true
        0 ready e0 1                =>
        0 ready e1 1                =>
        0 add t0 1000               => launch t0.1 e0
        0 add t1 1000               => launch t1.1 e1
        1000 completed e0 t0.1      => finish t0 completed 1, wake 1100
        1100 deadline               => wake 1210
        1210 deadline               => wake 1331
        1331 deadline               => launch t1.2 e0
        1400 completed e1 t1.1      => finish t1 completed 2, cancel t1.2 e0 beaten, idle
        ",
    );
}

#[test]
fn an_attempt_that_turned_slow_is_judged_by_the_time_since_its_last_epoch() {
    check(
        "
        policy copies=true
        0 ready e0 1                =>
        0 ready e1 1                =>
        0 add t0 1000 epochs=10     => launch t0.1 e0
        0 add t1 900 epochs=9       => launch t1.1 e1
        800 epoch e1 t1.1 8         =>
        1000 epoch e0 t0.1 10       =>
        1000 completed e0 t0.1      => finish t0 completed 1, wake 1100
        1050 checkpoint t1 8        => wake 1100
        1100 deadline               => launch t1.2 e0
        ",
    );
}

#[test]
fn what_runs_on_an_executor_that_is_away_gets_a_copy_at_once() {
    check(
        "
        policy copies=true
        0 ready e0 1                =>
        0 ready e1 1                =>
        0 add t0 1000 epochs=10     => launch t0.1 e0
        1 away e0                   => launch t0.2 e1, wake 1001
        2 ready e0 1 t0.1           =>
        3 completed e0 t0.1         => finish t0 completed 2, cancel t0.2 e1 beaten, idle
        ",
    );
}

#[test]
fn a_copy_never_goes_beside_its_original_and_nobody_looks_for_one_there() {
    check(
        "
        policy copies=true
        0 ready e0 2                =>
        0 add t0 1000 epochs=10     => launch t0.1 e0
        100 epoch e0 t0.1 1         =>
        ",
    );
}

#[test]
fn without_copies_nobody_looks() {
    check(
        "
        0 ready e0 1                =>
        0 ready e1 1                =>
        0 add t0 1000 epochs=10     => launch t0.1 e0
        100 epoch e0 t0.1 1         =>
        200 away e0                 => wake 1200
        ",
    );
}

#[test]
fn what_waits_goes_before_copies_and_the_longest_remaining_is_copied_first() {
    check(
        "
        policy copies=true
        0 ready e0 1                =>
        0 ready e1 1                =>
        0 ready e2 1                =>
        0 add t0 1000 epochs=10     => launch t0.1 e0
        0 add t1 1000 epochs=10     => launch t1.1 e1
        0 add t2 1000 epochs=10     => launch t2.1 e2
        0 add t3 1000 epochs=10     =>
        500 epoch e0 t0.1 1         =>
        600 epoch e1 t1.1 1         =>
        1000 epoch e2 t2.1 10       =>
        1000 completed e2 t2.1      => finish t2 completed 1, launch t3.1 e2
        2000 epoch e2 t3.1 10       =>
        2000 completed e2 t3.1      => finish t3 completed 1, launch t0.2 e2
        3000 completed e2 t0.2      => finish t0 completed 2, cancel t0.1 e0 beaten, launch t1.2 e2
        ",
    );
}

#[test]
fn a_copy_keeps_off_where_its_task_failed_or_was_refused() {
    check(
        "
        policy copies=true
        0 ready e0 1                =>
        0 ready e1 1                =>
        0 add t0 1000 epochs=10     => launch t0.1 e0
        1 refused e0 t0.1           => launch t0.2 e1
        2 away e1                   => wake 1002
        150 ready e2 1              => launch t0.3 e2, wake 1002
        ",
    );
}

#[test]
fn the_failure_of_one_of_two_attempts_leaves_the_other_unless_it_was_the_last_one_allowed() {
    check(
        "
        policy copies=true failures_max=2
        0 ready e0 1                =>
        0 ready e1 1                =>
        0 ready e2 1                =>
        0 add t0 1000 epochs=10     => launch t0.1 e0
        1 away e0                   => launch t0.2 e1, wake 1001
        2 ready e0 1 t0.1           =>
        3 placing-ended             =>
        3 failed e0 t0.1            =>
        4 failed e1 t0.2            => finish t0 failed 2 of 2, idle
        ",
    );
    check(
        "
        policy copies=true failures_max=1
        0 ready e0 1                =>
        0 ready e1 1                =>
        0 add t0 1000 epochs=10     => launch t0.1 e0
        1 away e0                   => launch t0.2 e1, wake 1001
        3 failed e1 t0.2            => finish t0 failed 1 of 2, cancel t0.1 e0 beaten, wake 1001, idle
        ",
    );
}
