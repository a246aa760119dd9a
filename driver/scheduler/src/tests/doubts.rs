//! Tasks whose numbers are in doubt, and those that are to find out who is right.

use super::transcript::check;

#[test]
fn a_doubted_task_keeps_off_there_without_a_failure_while_another_can_take_it() {
    check(
        "
        policy failures_max=1 exclude_after=1
        0 ready e0 1                        =>
        0 add t0 5                          => launch t0.1 e0
        1 doubted e0 t0.1                   => wake 101
        101 deadline                        => launch t0.2 e0
        103 ready e1 1                      =>
        104 doubted e0 t0.2                 => wake 204
        204 deadline                        => launch t0.3 e1
        206 add t1 5 doubted_on=e0+e0       =>
        207 completed e1 t0.3               => finish t0 completed 3, launch t1.1 e1
        ",
    );
}

#[test]
fn a_task_about_executors_goes_to_none_of_them_whatever_process_they_are_nor_waits_for_one_that_hangs() {
    check(
        "
        0 ready e0 1                        =>
        0 ready e1 1                        =>
        0 add t0 5 parties=e0+e1            => finish t0 fits nowhere of 0, idle
        ",
    );
    check(
        "
        0 ready e0 1                        =>
        0 ready e1 1                        =>
        0 ready e2 1                        =>
        0 add t0 9                          => launch t0.1 e0
        0 add t1 8                          => launch t1.1 e1
        0 add t2 7                          => launch t2.1 e2
        0 add t3 5 parties=e0+e1            =>
        1 completed e0 t0.1                 => finish t0 completed 1
        2 lost e1                           => lost t1.1 e1, launch t1.2 e0
        3 ready e1 2 restarted              =>
        4 completed e2 t2.1                 => finish t2 completed 1, launch t3.1 e2
        ",
    );
    check(
        "
        0 add t0 5 parties=e0+e1 held_until=50  => wake 50
        1 ready e0 1                        => wake 50
        2 ready e1 1                        => wake 50
        3 ready e2 1                        => wake 50
        50 deadline                         => launch t0.1 e2
        ",
    );
    check(
        "
        policy hang_ms_min=1000
        0 ready e0 1                        =>
        0 ready e1 1                        =>
        0 add t0 5                          => launch t0.1 e0, wake 1000
        0 add t1 5                          => launch t1.1 e1, wake 1000
        1 add t2 5 parties=e0               => wake 1000
        2 completed e0 t0.1                 => finish t0 completed 1, wake 1000
        1000 deadline                       => cancel t1.1 e1 hung 1000, finish t2 fits nowhere of 0, wake 1100, idle
        ",
    );
}
