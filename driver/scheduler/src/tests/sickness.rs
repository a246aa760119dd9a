//! Executors on which everything fails, and a whole cluster of them: one transcript a rule.

use super::transcript::check;

#[test]
fn an_executor_that_fails_three_attempts_while_others_work_is_excluded_and_probed() {
    check(
        "
        policy failures_max=9
        0 ready e0 1                =>
        0 ready e1 1                =>
        0 add t0 90                 => launch t0.1 e0
        0 add t1 80 epochs=8        => launch t1.1 e1
        0 add t2 70                 =>
        0 add t3 60                 =>
        0 add t4 50                 =>
        0 add t5 40                 =>
        1 failed e0 t0.1            => launch t2.1 e0, wake 101
        2 failed e0 t2.1            => launch t3.1 e0, wake 101
        3 epoch e1 t1.1 1           => wake 101
        4 failed e0 t3.1            => exclude e0 until 1004 after 3, wake 101
        101 deadline                => wake 102
        102 deadline                => wake 104
        104 deadline                => wake 1004
        1003 deadline               => wake 1004
        1004 deadline               => launch t4.1 e0
        1005 failed e0 t4.1         => exclude e0 until 3005 after 4, wake 1105
        1105 deadline               => wake 3005
        3005 deadline               => launch t5.1 e0
        3006 epoch e0 t5.1 1        => reinstate e0
        3007 failed e0 t5.1         => wake 3107
        ",
    );
}

#[test]
fn an_executor_that_dies_at_every_launch_is_excluded_whatever_process_it_is_and_one_that_worked_is_not() {
    check(
        "
        policy losses_max=9 exclude_after=2
        0 ready e0 1                =>
        0 ready e1 1                =>
        0 add t0 90                 => launch t0.1 e0
        0 add t1 80 epochs=8        => launch t1.1 e1
        0 add t2 70 epochs=3        =>
        1 lost e0                   => lost t0.1 e0
        2 ready e0 1 restarted      => launch t0.2 e0
        3 epoch e1 t1.1 1           =>
        4 lost e0                   => exclude e0 until 1004 after 2, lost t0.2 e0, wake 1004
        5 ready e0 1 restarted      => wake 1004
        1004 deadline               => launch t0.3 e0
        1005 lost e0                => exclude e0 until 3005 after 3, lost t0.3 e0, wake 3005
        1006 ready e0 1 restarted   => wake 3005
        3005 deadline               => launch t0.4 e0
        3006 completed e0 t0.4      => finish t0 completed 4, reinstate e0, launch t2.1 e0
        3007 lost e0                => lost t2.1 e0
        3008 ready e0 1 restarted   => launch t2.2 e0
        3009 epoch e0 t2.2 1        =>
        3010 lost e0                => lost t2.2 e0
        3011 ready e0 1 restarted   => launch t2.3 e0
        ",
    );
}

#[test]
fn an_executor_is_not_suspected_before_another_one_made_progress() {
    check(
        "
        policy failures_max=9
        0 ready e0 1                =>
        0 ready e1 1                =>
        0 add t0 90                 => launch t0.1 e0
        0 add t1 80 epochs=8        => launch t1.1 e1
        0 add t2 70                 =>
        0 add t3 60                 =>
        0 add t4 50                 =>
        0 epoch e1 t1.1 1           =>
        1 failed e0 t0.1            => launch t2.1 e0, wake 101
        2 failed e0 t2.1            => launch t3.1 e0, wake 101
        3 failed e0 t3.1            => launch t4.1 e0, wake 101
        4 epoch e0 t4.1 1           => wake 101
        5 epoch e1 t1.1 2           => exclude e0 until 1005 after 3, wake 101
        6 failed e0 t4.1            => wake 101
        ",
    );
}

#[test]
fn a_completion_breaks_the_row_and_what_ran_there_before_reinstates_by_completing() {
    check(
        "
        policy failures_max=9
        0 ready e0 2                =>
        0 ready e1 1                =>
        0 add t0 90                 => launch t0.1 e0
        0 add t1 80 epochs=8        => launch t1.1 e0
        0 add t2 70 epochs=9        => launch t2.1 e1
        0 add t3 60                 =>
        0 add t4 50                 =>
        0 add t5 40                 =>
        0 add t6 30                 =>
        1 failed e0 t0.1            => launch t3.1 e0, wake 101
        2 failed e0 t3.1            => launch t4.1 e0, wake 101
        3 epoch e1 t2.1 1           => wake 101
        4 failed e0 t4.1            => exclude e0 until 1004 after 3, wake 101
        5 epoch e0 t1.1 1           => wake 101
        6 completed e0 t1.1         => finish t1 completed 1, reinstate e0, launch t5.1 e0, launch t6.1 e0, wake 101
        ",
    );
}

#[test]
fn a_sick_cluster_is_better_than_none_and_a_restart_heals() {
    check(
        "
        policy failures_max=9 losses_max=3 exclude_after=1
        0 ready e0 2                =>
        0 ready e1 1                =>
        0 add t0 90                 => launch t0.1 e0
        0 add t1 80 epochs=8        => launch t1.1 e0
        0 add t2 70 epochs=9        => launch t2.1 e1
        0 add t3 60                 =>
        0 epoch e0 t1.1 1           =>
        1 failed e0 t0.1            => launch t3.1 e0, wake 101
        2 epoch e1 t2.1 1           => exclude e0 until 1002 after 1, wake 101
        3 failed e0 t3.1            => wake 101
        4 lost e1                   => lost t2.1 e1, launch t2.2 e0, wake 101
        5 ready e1 1                => wake 101
        6 away e0                   => wake 101
        101 deadline                => launch t0.2 e1, wake 103
        103 deadline                => wake 1002
        200 ready e0 2 restarted    => lost t1.1 e0, lost t2.2 e0, launch t1.2 e0, launch t2.3 e0
        ",
    );
}

#[test]
fn a_probe_is_one_task_at_a_time_and_the_loss_of_an_executor_is_no_pardon() {
    check(
        "
        policy failures_max=9 losses_max=3 exclude_after=1
        0 ready e0 3                =>
        0 ready e1 1                =>
        0 add t0 90                 => launch t0.1 e0
        0 add t1 80 epochs=8        => launch t1.1 e0
        0 add t2 70 epochs=9        => launch t2.1 e0
        0 add t3 60 epochs=9        => launch t3.1 e1
        1 lost e0                   => lost t0.1 e0, lost t1.1 e0, lost t2.1 e0
        2 ready e0 3                => launch t0.2 e0, launch t1.2 e0, launch t2.2 e0
        3 failed e0 t0.2            => wake 103
        4 epoch e1 t3.1 1           => exclude e0 until 1004 after 2, wake 103
        5 stopped e0 t1.2           => wake 103
        6 stopped e0 t2.2           => wake 103
        103 deadline                => wake 1004
        200 lost e0                 => wake 1004
        210 ready e0 3              => wake 1004
        1004 deadline               => launch t1.3 e0
        1005 stopped e0 t1.3        => launch t1.4 e0
        1006 completed e0 t1.4      => finish t1 completed 4, reinstate e0, launch t2.3 e0
        ",
    );
}
