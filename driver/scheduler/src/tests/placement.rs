//! What goes where, and when it is tried again: one transcript a rule.

use super::transcript::check;

#[test]
fn longest_first_and_ties_by_the_lowest_id() {
    check(
        "
        0 add t0 10            =>
        0 add t1 30            =>
        0 add t2 20            =>
        0 add t3 20            =>
        0 end                  =>
        0 ready e0 2           => launch t1.1 e0, launch t2.1 e0
        1 completed e0 t2.1    => finish t2 completed 1, launch t3.1 e0
        2 completed e0 t1.1    => finish t1 completed 1, launch t0.1 e0
        3 completed e0 t0.1    => finish t0 completed 1
        4 completed e0 t3.1    => finish t3 completed 1, idle, done
        ",
    );
}

#[test]
fn attempts_go_where_most_slots_are_free_and_then_to_the_lowest_executor() {
    check(
        "
        0 ready e1 1           =>
        0 ready e0 1           =>
        0 ready e2 2           =>
        0 add t0 1             => launch t0.1 e2
        0 add t1 1             => launch t1.1 e0
        0 add t2 1             => launch t2.1 e1
        0 add t3 1             => launch t3.1 e2
        0 add t4 1             =>
        1 completed e1 t2.1    => finish t2 completed 1, launch t4.1 e1
        ",
    );
}

#[test]
fn an_empty_study_is_done_when_adding_ends_and_takes_no_task_afterwards() {
    check(
        "
        0 deadline             =>
        1 end                  => done
        2 end                  => done
        3 add t0 1             => rejected: t0 was added after the last task was announced, done
        ",
    );
}

#[test]
fn a_failure_waits_twice_as_long_each_time_and_the_third_gives_the_task_up() {
    check(
        "
        0 ready e0 1           =>
        0 add t0 1             => launch t0.1 e0
        0 end                  =>
        10 failed e0 t0.1      => wake 110
        109 deadline           => wake 110
        110 deadline           => launch t0.2 e0
        120 failed e0 t0.2     => wake 320
        320 deadline           => launch t0.3 e0
        330 failed e0 t0.3     => finish t0 failed 3 of 3, idle, done
        340 failed e0 t0.3     => rejected: t0.3 is not running on executor 0, idle, done
        ",
    );
}

#[test]
fn a_failed_task_waits_for_a_busy_executor_rather_than_try_where_it_failed() {
    check(
        "
        0 ready e0 1           =>
        0 ready e1 1           =>
        0 add t0 9             => launch t0.1 e0
        0 add t1 8             => launch t1.1 e1
        10 failed e0 t0.1      => wake 110
        110 deadline           =>
        120 add t2 1           => launch t2.1 e0
        130 completed e1 t1.1  => finish t1 completed 1, launch t0.2 e1
        ",
    );
}

#[test]
fn a_failed_task_returns_to_where_it_failed_when_the_others_are_gone_or_failed_it_too() {
    check(
        "
        0 ready e0 1           =>
        0 ready e1 1           =>
        0 add t0 9             => launch t0.1 e0
        0 add t1 8             => launch t1.1 e1
        10 failed e0 t0.1      => wake 110
        110 deadline           =>
        120 lost e1            => lost t1.1 e1, launch t0.2 e0
        130 failed e0 t0.2     => launch t1.2 e0, wake 330
        140 ready e1 2         => wake 330
        330 deadline           => launch t0.3 e1
        ",
    );
    check(
        "
        0 ready e0 1           =>
        0 ready e1 1           =>
        0 add t0 9             => launch t0.1 e0
        10 failed e0 t0.1      => wake 110
        110 deadline           => launch t0.2 e1
        120 failed e1 t0.2     => wake 320
        320 deadline           => launch t0.3 e0
        ",
    );
}

#[test]
fn an_executor_that_is_away_or_drains_is_no_reason_to_wait_for_it() {
    for leaving in ["away", "draining"] {
        check(&format!(
            "
            policy reconnect_ms=3600000
            0 ready e0 1           =>
            0 ready e1 1           =>
            0 add t0 9             => launch t0.1 e0
            0 add t1 8             => launch t1.1 e1
            10 failed e0 t0.1      => wake 110
            110 deadline           =>
            120 {leaving} e1       => launch t0.2 e0
            "
        ));
    }
}

#[test]
fn a_lost_executor_is_not_a_failure_but_two_losses_give_the_task_up() {
    check(
        "
        0 ready e0 2           =>
        0 add t0 2             => launch t0.1 e0
        0 add t1 1             => launch t1.1 e0
        0 end                  =>
        5 lost e0              => lost t0.1 e0, lost t1.1 e0
        6 ready e0 1           => launch t0.2 e0
        7 lost e0              => lost t0.2 e0, finish t0 lost 2 of 2, idle
        8 ready e0 1           => launch t1.2 e0
        9 completed e0 t1.2    => finish t1 completed 2, idle, done
        ",
    );
}

#[test]
fn a_last_try_is_made_where_nothing_was_lost_even_if_that_is_busy() {
    check(
        "
        policy losses_max=3 exclude_after=9
        0 ready e0 1           =>
        0 ready e1 1           =>
        0 add t0 9             => launch t0.1 e0
        0 add t1 5             => launch t1.1 e1
        1 lost e0              => lost t0.1 e0
        2 ready e0 1           => launch t0.2 e0
        3 lost e0              => lost t0.2 e0
        4 ready e0 1           =>
        5 add t2 1             => launch t2.1 e0
        6 lost e0              => lost t2.1 e0
        7 ready e0 1           => launch t2.2 e0
        8 completed e1 t1.1    => finish t1 completed 1, launch t0.3 e1
        9 completed e1 t0.3    => finish t0 completed 3
        ",
    );
}

#[test]
fn a_last_try_waits_for_another_executor_that_is_away_until_that_is_lost() {
    let both = "
        0 ready e0 1           =>
        0 ready e1 1           =>
        0 add t0 9             => launch t0.1 e0
        0 add t1 5             => launch t1.1 e1
        1 away e1              => wake 1001
        2 lost e0              => lost t0.1 e0, wake 1001
        3 ready e0 1           => wake 1001
        ";
    let back = "4 ready e1 1           => unsent t1.1 e1, launch t0.2 e1, wake 110
        111 deadline           => launch t1.2 e0";
    check(&format!("{both}{back}"));
    check(&format!("{both}1001 deadline => lost t1.1 e1, launch t0.2 e0"));
}

#[test]
fn a_last_try_is_made_anywhere_where_all_were_lost_and_a_checkpoint_makes_it_no_last_one() {
    check(
        "
        0 ready e0 1           =>
        0 add t0 9 epochs=9    => launch t0.1 e0
        1 lost e0              => lost t0.1 e0
        2 ready e0 1           => launch t0.2 e0
        3 ready e1 1           =>
        3 add t1 5             => launch t1.1 e1
        4 checkpoint t0 2      =>
        5 lost e0              => lost t0.2 e0
        6 ready e0 1           =>
        7 checkpoint t0 4      => launch t0.3 e0
        ",
    );
}

#[test]
fn a_new_checkpoint_forgives_the_losses_before_it_and_an_old_one_does_not() {
    check(
        "
        0 ready e0 1           =>
        0 add t0 2 epochs=9    => launch t0.1 e0
        4 checkpoint t0 2      =>
        5 lost e0              => lost t0.1 e0
        6 ready e0 1           => launch t0.2 e0
        7 checkpoint t0 3      =>
        8 lost e0              => lost t0.2 e0
        9 ready e0 1           => launch t0.3 e0
        10 checkpoint t0 3     =>
        11 checkpoint t0 1     =>
        12 lost e0             => lost t0.3 e0, finish t0 lost 2 of 3, idle
        13 checkpoint t0 4     => idle
        13 checkpoint t1 4     => rejected: t1 is unknown, idle
        ",
    );
}

#[test]
fn what_ran_on_a_lost_executor_goes_to_the_others_at_once() {
    check(
        "
        0 ready e0 1           =>
        0 add t0 5             => launch t0.1 e0
        0 add t1 9             =>
        0 ready e1 2           => launch t1.1 e1
        5 lost e0              => lost t0.1 e0, launch t0.2 e1
        ",
    );
}

#[test]
fn a_refused_task_tries_each_executor_once_at_once_and_then_fits_nowhere() {
    check(
        "
        0 ready e0 1           =>
        0 ready e1 1           =>
        0 add t0 5             => launch t0.1 e0
        1 refused e0 t0.1      => launch t0.2 e1
        2 lost e1              => lost t0.2 e1, finish t0 fits nowhere of 2, idle
        ",
    );
    check(
        "
        0 ready e0 1           =>
        0 ready e1 1           =>
        0 add t0 5             => launch t0.1 e0
        1 refused e0 t0.1      => launch t0.2 e1
        2 failed e1 t0.2       => wake 102
        102 deadline           => launch t0.3 e1
        103 refused e1 t0.3    => finish t0 fits nowhere of 3, idle
        ",
    );
}

#[test]
fn an_executor_that_failed_and_refused_a_task_is_one_executor() {
    check(
        "
        policy failures_max=9
        0 ready e1 1                              =>
        0 add t0 9                                => launch t0.1 e1
        0 ready e0 1                              =>
        0 add t1 8 attempts=2 failed_on=e0+e1     => launch t1.3 e0
        1 refused e0 t1.3                         =>
        2 ready e2 1 t7.1                         => cancel t7.1 e2 unwanted
        3 completed e1 t0.1                       => finish t0 completed 1, idle
        4 stopped e2 t7.1                         => launch t1.4 e2
        ",
    );
}

#[test]
fn a_task_that_was_refused_waits_for_one_that_is_away_but_not_for_one_that_drains() {
    check(
        "
        0 ready e0 1           =>
        0 ready e1 1           =>
        0 add t0 5             => launch t0.1 e0
        0 add t1 4             => launch t1.1 e1
        1 away e1              => wake 1001
        2 refused e0 t0.1      => wake 1001
        1001 deadline          => lost t1.1 e1, finish t0 fits nowhere of 1, launch t1.2 e0
        ",
    );
    check(
        "
        0 ready e0 1           =>
        0 ready e1 1           =>
        0 add t0 5             => launch t0.1 e0
        0 add t1 4             => launch t1.1 e1
        1 refused e0 t0.1      =>
        2 draining e1          => finish t0 fits nowhere of 1
        ",
    );
    check(
        "
        0 ready e0 1           =>
        0 ready e1 1           =>
        0 add t0 5             => launch t0.1 e0
        0 add t1 4             => launch t1.1 e1
        1 refused e0 t0.1      =>
        2 away e0              => wake 1002
        3 lost e1              => lost t1.1 e1, wake 1002
        4 ready e0 1           => finish t0 fits nowhere of 1, launch t1.2 e0
        ",
    );
}

#[test]
fn a_stopped_attempt_counts_against_nobody_and_goes_anywhere_at_once() {
    check(
        "
        0 ready e0 1           =>
        0 add t0 5             => launch t0.1 e0
        1 stopped e0 t0.1      => launch t0.2 e0
        2 stopped e0 t0.2      => launch t0.3 e0
        3 stopped e0 t0.3      => launch t0.4 e0
        4 completed e0 t0.4    => finish t0 completed 4, idle
        ",
    );
}

#[test]
fn a_report_that_is_stale_duplicated_or_forged_is_rejected() {
    check(
        "
        0 ready e0 1           =>
        0 ready e1 1           =>
        0 add t0 5             => launch t0.1 e0
        1 completed e1 t0.1    => rejected: t0.1 is not running on executor 1
        1 completed e7 t0.1    => rejected: executor 7 is not connected
        1 completed e0 t0.0    => rejected: t0.0 is not running on executor 0
        1 completed e0 t0.2    => rejected: t0.2 is not running on executor 0
        1 completed e0 t9.1    => rejected: t9.1 is not running on executor 0
        1 epoch e1 t0.1 1      => rejected: t0.1 is not running on executor 1
        1 epoch e7 t0.1 1      => rejected: executor 7 is not connected
        2 lost e0              => lost t0.1 e0, launch t0.2 e1
        3 completed e0 t0.1    => rejected: executor 0 is not connected
        3 ready e0 1           =>
        4 completed e0 t0.1    => rejected: t0.1 is not running on executor 0
        4 failed e1 t0.1       => rejected: t0.1 is not running on executor 1
        5 completed e1 t0.2    => finish t0 completed 2, idle
        5 completed e1 t0.2    => rejected: t0.2 is not running on executor 1, idle
        5 epoch e1 t0.2 1      => rejected: t0.2 is not running on executor 1, idle
        ",
    );
}

#[test]
fn executors_and_tasks_are_announced_once_and_offer_sane_slots() {
    check(
        "
        0 lost e0              => rejected: executor 0 is not connected
        0 away e0              => rejected: executor 0 is not connected
        0 draining e0          => rejected: executor 0 is not connected
        0 ready e0 0           => rejected: executor 0 offers 0 slots; 1 to 4096 are possible
        0 ready e0 4097        => rejected: executor 0 offers 4097 slots; 1 to 4096 are possible
        0 ready e0 4096        =>
        0 ready e0 1           => rejected: executor 0 is connected already
        1 lost e0              =>
        1 lost e0              => rejected: executor 0 is not connected
        2 add t1 1             => rejected: t1 is out of order; the next is t0
        2 add t0 1 epochs=0    => rejected: t0 has no epochs
        2 add t0 1             =>
        2 add t0 2             => rejected: t0 is out of order; the next is t1
        ",
    );
}

#[test]
fn nothing_is_launched_once_placing_has_ended() {
    check(
        "
        policy copies=true
        0 ready e0 1           =>
        0 add t0 5             => launch t0.1 e0
        0 add t1 4             =>
        1 placing-ended        =>
        2 completed e0 t0.1    => finish t0 completed 1, idle
        3 ready e1 1           => idle
        4 add t2 4             => idle
        5 deadline             => idle
        6 lost e0              => idle
        ",
    );
}

#[test]
fn a_task_with_a_history_goes_on_where_it_stood() {
    check(
        "
        0 ready e0 1                               =>
        0 ready e1 1                               =>
        0 add t0 5 attempts=4 failed_on=e0 checkpoint=2 epochs=3 => launch t0.5 e1
        1 failed e1 t0.5                           => wake 201
        2 add t1 5 attempts=3 failed_on=e0+e0+e1   => finish t1 failed 3 of 3, wake 201, idle
        2 add t2 5 lost_on=e0+e1 attempts=2        => finish t2 lost 2 of 2, wake 201, idle
        3 add t3 5 lost_on=e0 attempts=1           => launch t3.2 e1, wake 201
        4 lost e1                                  => lost t3.2 e1, finish t3 lost 2 of 2, wake 201, idle
        ",
    );
}
