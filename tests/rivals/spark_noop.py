"""No-op tasks a second of a Spark cluster: a master, and two workers with one core each.

    spark_noop.py TASKS

A task is a partition of one element, which a Python function gives back. Three jobs of TASKS tasks come first: the JVMs
compile what they run often. Prints `tasks/s N`, of the job after them, from its submission to its last result.
"""

import sys
import time

import spark_cluster

WORKERS = 2
WARM_UP_JOBS = 3


def seconds(context, tasks):
    """One job, from its submission to its last result."""
    started = time.monotonic()
    results = context.parallelize(range(tasks), tasks).map(lambda element: element).collect()
    elapsed_s = time.monotonic() - started
    assert results == list(range(tasks))
    return elapsed_s


def main():
    tasks = int(sys.argv[1])
    # The first job waits until both executors are there.
    everyone = {
        "spark.cores.max": str(WORKERS),
        "spark.scheduler.minRegisteredResourcesRatio": "1.0",
        "spark.scheduler.maxRegisteredResourcesWaitingTime": "120s",
    }
    with spark_cluster.cluster(WORKERS) as address, spark_cluster.driver(address, "noop", everyone) as context:
        for _ in range(WARM_UP_JOBS):
            seconds(context, tasks)
        print(f"tasks/s {tasks / seconds(context, tasks):.0f}")


if __name__ == "__main__":
    main()
