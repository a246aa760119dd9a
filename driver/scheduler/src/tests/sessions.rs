//! Executors that leave and come back, drain, or hold what an earlier driver launched: one transcript a rule.

use super::transcript::check;

#[test]
fn an_executor_that_is_away_keeps_its_attempts_and_takes_no_others() {
    check(
        "
        0 ready e0 2           =>
        0 add t0 9             => launch t0.1 e0
        1 away e0              => wake 1001
        2 add t1 8             => wake 1001
        2 away e0              => rejected: executor 0 is not connected, wake 1001
        3 epoch e0 t0.1 1      => wake 1001
        4 ready e0 2 t0.1      => launch t1.1 e0
        5 completed e0 t0.1    => finish t0 completed 1
        ",
    );
}

#[test]
fn an_executor_that_stays_away_too_long_is_lost() {
    check(
        "
        0 ready e0 1           =>
        0 ready e1 1           =>
        0 add t0 9             => launch t0.1 e0
        1 away e0              => wake 1001
        1000 deadline          => wake 1001
        1001 deadline          => lost t0.1 e0, launch t0.2 e1
        1002 completed e0 t0.1 => rejected: executor 0 is not connected
        ",
    );
    check(
        "
        0 ready e0 1           =>
        0 add t0 9             => launch t0.1 e0
        1 away e0              => wake 1001
        2 lost e0              => lost t0.1 e0
        ",
    );
}

#[test]
fn what_a_restarted_executor_does_not_hold_is_lost_and_counts() {
    check(
        "
        0 ready e0 1              =>
        0 add t0 9                => launch t0.1 e0
        1 away e0                 => wake 1001
        2 ready e0 1 restarted    => lost t0.1 e0, launch t0.2 e0
        3 away e0                 => wake 1003
        4 ready e0 1 restarted    => lost t0.2 e0, finish t0 lost 2 of 2, idle
        ",
    );
}

#[test]
fn a_launch_on_which_a_session_ended_waits_longer_each_time_and_counts_as_a_loss() {
    check(
        "
        policy losses_max=3
        0 ready e0 1           =>
        0 add t0 9             => launch t0.1 e0
        1 away e0              => wake 1001
        2 ready e0 1           => unsent t0.1 e0, wake 102
        102 deadline           => launch t0.2 e0
        103 away e0            => wake 1103
        104 ready e0 1         => unsent t0.2 e0, wake 304
        304 deadline           => launch t0.3 e0
        305 away e0            => wake 1305
        306 ready e0 1         => unsent t0.3 e0, finish t0 lost 3 of 3, idle
        ",
    );
}

#[test]
fn launches_that_were_lost_together_are_made_again_apart() {
    check(
        "
        0 ready e0 2           =>
        0 add t0 9             => launch t0.1 e0
        0 add t1 8             => launch t1.1 e0
        1 away e0              => wake 1001
        2 ready e0 2           => unsent t0.1 e0, unsent t1.1 e0, wake 102
        102 deadline           => launch t0.2 e0, wake 108
        103 away e0            => wake 108
        104 ready e0 2         => unsent t0.2 e0, finish t0 lost 2 of 2, wake 108, idle
        109 deadline           => launch t1.2 e0
        ",
    );
}

#[test]
fn what_was_told_to_stop_is_told_again_and_keeps_its_slot() {
    check(
        "
        policy copies=true
        0 ready e0 1 restarted    =>
        0 add t0 9 epochs=2       => launch t0.1 e0
        10 away e0                => wake 1010
        20 ready e1 1             => launch t0.2 e1, wake 1010
        30 completed e1 t0.2      => finish t0 completed 2, cancel t0.1 e0 beaten, wake 1010, idle
        40 ready e0 1 t0.1        => cancel t0.1 e0 beaten, idle
        50 ready e0 1 t0.1        => rejected: executor 0 is connected already, idle
        60 epoch e0 t0.1 1        => rejected: t0.1 is not running on executor 0, idle
        70 add t1 5               => launch t1.1 e1
        70 add t2 5               =>
        80 completed e0 t0.1      => launch t2.1 e0
        80 completed e0 t0.1      => rejected: t0.1 is not running on executor 0
        ",
    );
    check(
        "
        policy copies=true
        0 ready e0 1              =>
        0 add t0 9                => launch t0.1 e0
        10 away e0                => wake 1010
        20 ready e1 1             => launch t0.2 e1, wake 1010
        30 completed e1 t0.2      => finish t0 completed 2, cancel t0.1 e0 beaten, wake 1010, idle
        40 ready e0 1             => idle
        50 lost e0                => idle
        ",
    );
}

#[test]
fn an_attempt_of_a_lost_executor_is_adopted_when_it_comes_back_with_it() {
    check(
        "
        0 ready e0 2           =>
        0 add t0 9             => launch t0.1 e0
        0 add t1 8             => launch t1.1 e0
        0 add t2 7             =>
        1 lost e0              => lost t0.1 e0, lost t1.1 e0
        2 ready e0 2 t0.1 t1.1 => adopt t0.1 e0, adopt t1.1 e0
        3 completed e0 t0.1    => finish t0 completed 1, launch t2.1 e0
        4 failed e0 t1.1       => wake 104
        104 deadline           => launch t1.2 e0
        ",
    );
}

#[test]
fn a_task_that_runs_elsewhere_adopts_one_more_attempt_and_the_first_result_counts() {
    check(
        "
        0 ready e0 1           =>
        0 ready e1 1           =>
        0 ready e2 1           =>
        0 add t0 9             => launch t0.1 e0
        1 lost e0              => lost t0.1 e0, launch t0.2 e1
        2 ready e0 1 t0.1      => adopt t0.1 e0
        3 completed e0 t0.1    => finish t0 completed 2, cancel t0.2 e1 beaten, idle
        4 completed e1 t0.2    => idle
        ",
    );
}

#[test]
fn what_is_held_and_not_wanted_is_told_to_stop_and_keeps_its_slot_until_it_did() {
    check(
        "
        0 ready e0 1              =>
        0 add t0 9                => launch t0.1 e0
        1 lost e0                 => lost t0.1 e0
        2 ready e1 1              => launch t0.2 e1
        3 completed e1 t0.2       => finish t0 completed 2, idle
        4 ready e0 1 t0.1         => cancel t0.1 e0 unwanted, idle
        5 add t1 9                => launch t1.1 e1
        5 add t2 9                =>
        6 stopped e0 t0.1         => launch t2.1 e0
        ",
    );
    check(
        "
        0 add t0 9                =>
        0 ready e0 1 t0.0 t0.1 t7.1  => cancel t0.0 e0 unwanted, cancel t0.1 e0 unwanted, cancel t7.1 e0 unwanted
        1 failed e0 t7.1          =>
        2 stopped e0 t0.0         =>
        3 completed e0 t0.1       => launch t0.1 e0
        ",
    );
}

#[test]
fn a_number_that_an_executor_holds_although_it_was_never_launched_is_not_launched_there() {
    check(
        "
        0 add t0 9                   =>
        0 ready e0 2 t0.1            => cancel t0.1 e0 unwanted, launch t0.2 e0
        1 stopped e0 t0.1            =>
        2 completed e0 t0.2          => finish t0 completed 2, idle
        ",
    );
}

#[test]
fn an_executor_adopts_one_attempt_a_task_and_no_more_than_it_has_slots() {
    check(
        "
        0 add t0 9 attempts=2           =>
        0 add t1 8 attempts=1           =>
        0 ready e0 1 t0.1 t0.2 t1.1     => adopt t0.1 e0, cancel t0.2 e0 unwanted, cancel t1.1 e0 unwanted
        1 completed e0 t0.1             => finish t0 completed 2, idle
        2 stopped e0 t0.2               => idle
        3 stopped e0 t1.1               => launch t1.2 e0
        ",
    );
}

#[test]
fn no_third_attempt_is_adopted_and_none_that_is_live_elsewhere() {
    check(
        "
        0 add t0 9 attempts=3           =>
        0 ready e0 2 t0.1               => adopt t0.1 e0
        0 ready e1 2 t0.1               => cancel t0.1 e1 unwanted
        0 ready e2 2 t0.2               => adopt t0.2 e2
        0 ready e3 2 t0.3               => cancel t0.3 e3 unwanted
        1 completed e1 t0.1             =>
        2 lost e0                       => lost t0.1 e0
        3 completed e2 t0.2             => finish t0 completed 3, idle
        ",
    );
}

#[test]
fn a_held_task_waits_for_its_executor_or_until_its_time() {
    check(
        "
        0 ready e1 1                            =>
        0 add t0 9 attempts=1 held_until=500    => wake 500
        0 add t1 8 attempts=1 held_until=500    => wake 500
        10 ready e0 1 t0.1                      => adopt t0.1 e0, wake 500
        20 completed e0 t0.1                    => finish t0 completed 1, wake 500, idle
        500 deadline                            => launch t1.2 e0
        ",
    );
}

#[test]
fn a_task_is_adopted_out_of_its_backoff() {
    check(
        "
        0 ready e0 1           =>
        0 add t0 9             => launch t0.1 e0
        1 lost e0              => lost t0.1 e0
        2 ready e1 1           => launch t0.2 e1
        3 failed e1 t0.2       => wake 103
        4 ready e0 1 t0.1      => adopt t0.1 e0
        103 deadline           =>
        ",
    );
}

#[test]
fn a_draining_executor_takes_nothing_new_until_it_was_lost() {
    check(
        "
        0 ready e0 2           =>
        0 add t0 9             => launch t0.1 e0
        1 draining e0          =>
        2 add t1 8             =>
        3 stopped e0 t0.1      =>
        4 ready e1 1           => launch t0.2 e1
        5 lost e0              =>
        6 ready e0 1           => launch t1.1 e0
        ",
    );
    check(
        "
        0 ready e0 1              =>
        1 draining e0             =>
        2 add t0 8                =>
        3 away e0                 => wake 1003
        4 ready e0 1              =>
        5 away e0                 => wake 1005
        6 ready e0 1 restarted    => launch t0.1 e0
        ",
    );
}

#[test]
fn a_refusal_is_remembered_from_driver_to_driver_and_forgotten_by_another_process() {
    check(
        "
        0 add t0 100 attempts=1 refused_on=e0   =>
        1 ready e0 1                            => finish t0 fits nowhere of 1, idle
        2 add t1 100 attempts=1 refused_on=e0   => finish t1 fits nowhere of 1, idle
        ",
    );
    check(
        "
        0 add t0 100 attempts=2 refused_on=e0+e1 =>
        1 ready e0 1 restarted                   => launch t0.3 e0
        2 ready e1 1                             =>
        3 add t1 100                             => launch t1.1 e1
        4 refused e1 t1.1                        =>
        5 lost e1                                =>
        6 ready e1 1 restarted                   => launch t1.2 e1
        ",
    );
}

#[test]
fn what_may_still_be_somewhere_is_not_given_up_because_the_first_who_answers_refused_it() {
    check(
        "
        0 add t0 100 attempts=2 refused_on=e0 held_until=50     => wake 50
        1 ready e0 1                                            => wake 50
        2 ready e1 1 t0.2                                       => adopt t0.2 e1
        3 completed e1 t0.2                                     => finish t0 completed 2, idle
        ",
    );
    check(
        "
        0 add t0 100 attempts=2 refused_on=e0 held_until=50     => wake 50
        1 ready e0 1                                            => wake 50
        50 deadline                                             => finish t0 fits nowhere of 2, idle
        ",
    );
}

#[test]
fn what_waits_for_its_executor_waits_as_long_again_after_the_driver_stood_still() {
    check(
        "
        0 add t0 100 attempts=1 held_until=50   => wake 50
        9000 stood-still                        => wake 10000
        9001 ready e0 1                         => wake 10000
        9002 ready e1 1 t0.1                    => adopt t0.1 e1
        ",
    );
}
