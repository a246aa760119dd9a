"""Small programs a second of HyperQueue, whose server and worker are threads of this process.

    hyperqueue_programs.py TASKS SLOTS FOLDER PROGRAM [ARG]...

All tasks are one job, submitted at once, and run in FOLDER. As is its default, HyperQueue keeps what each of them prints in
two files. A few tasks come first, as a job of their own. It prints

    tasks/s N   from the submission to the last line that a task printed. HyperQueue's own `wait_for_jobs` looks once a second.
    cpu us N    of CPU a task, the program's own included
"""

import logging
import resource
import sys
import time
from pathlib import Path

import hyperqueue.client
from hyperqueue import Job, LocalCluster
from hyperqueue.cluster import WorkerConfig

WARM_UP_TASKS = 20


def cpu_s():
    """Of this process and of the programs that have ended."""
    usages = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(usage.ru_utime + usage.ru_stime for usage in usages)


def run(client, command, folder, tasks):
    """Runs so many; returns seconds of the clock and of CPU."""
    folder.mkdir()
    job = Job(default_workdir=folder)
    for _ in range(tasks):
        job.program(command)
    started, cpu_before_s = time.time(), cpu_s()
    client.wait_for_jobs([client.submit(job)])
    cpu_used_s = cpu_s() - cpu_before_s
    printed = [path.stat() for path in folder.rglob("*.stdout")]
    assert len(printed) == tasks and all(facts.st_size for facts in printed), "not every task has printed something"
    return max(facts.st_mtime for facts in printed) - started, cpu_used_s


def main():
    tasks, slots, folder, command = int(sys.argv[1]), int(sys.argv[2]), Path(sys.argv[3]), sys.argv[4:]
    folder.mkdir()
    # Its bar of progress would be all over the error output.
    hyperqueue.client.create_progress_callback = lambda: lambda jobs: None
    logging.disable()
    with LocalCluster(str(folder / "server"), WorkerConfig(cores=slots)) as cluster:
        client = cluster.client()
        run(client, command, folder / "warm-up", WARM_UP_TASKS)
        seconds, cpu_used_s = run(client, command, folder / "tasks", tasks)
    print(f"tasks/s {tasks / seconds:.1f}")
    print(f"cpu us {cpu_used_s / tasks * 1e6:.0f}")


if __name__ == "__main__":
    main()
