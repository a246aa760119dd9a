"""Broadcasts of byte arrays to a Spark cluster: a master, and two workers with one core each.

    spark_broadcast.py TIMES ARRAY...

Each ARRAY is a NumPy file of bytes. It is broadcast once to warm up, then TIMES times. A broadcast lasts from the call
with the array in the driver's memory until a task on each executor has it as an array, and has read a byte of every
memory page. Prints `ARRAY SECONDS` a broadcast.
"""

import os
import pathlib
import sys
import time

import numpy
import spark_cluster

WORKERS = 2
# How long a task holds its executor's only core, so that the other task goes to the other executor; it is taken off.
HOLD_S = 0.3
PAGE_BYTES = 4096


def seconds(context, array):
    """One broadcast; None if both tasks came to one executor."""
    started = time.monotonic()
    shared = context.broadcast(array)

    def touch(_):
        total = int(shared.value.ravel()[::PAGE_BYTES].sum())
        time.sleep(HOLD_S)
        yield os.getppid(), total

    seen = context.parallelize(range(WORKERS), WORKERS).mapPartitions(touch).collect()
    elapsed_s = time.monotonic() - started - HOLD_S
    shared.destroy()
    assert len({total for _, total in seen}) == 1
    return elapsed_s if len({executor for executor, _ in seen}) == WORKERS else None


def main():
    times, arrays = int(sys.argv[1]), sys.argv[2:]
    # The first job waits until both executors are there.
    settings = {
        "spark.cores.max": str(WORKERS),
        "spark.driver.memory": "4g",
        "spark.locality.wait": "0",
        "spark.scheduler.minRegisteredResourcesRatio": "1.0",
        "spark.scheduler.maxRegisteredResourcesWaitingTime": "120s",
    }
    with spark_cluster.cluster(WORKERS) as address, spark_cluster.driver(address, "broadcast", settings) as context:
        for path in arrays:
            array = numpy.load(path)
            measured = []
            while len(measured) < times + 1:
                measured += [elapsed_s for elapsed_s in [seconds(context, array)] if elapsed_s is not None]
            for elapsed_s in measured[1:]:
                print(f"{pathlib.Path(path).stem} {elapsed_s:.3f}", flush=True)


if __name__ == "__main__":
    main()
