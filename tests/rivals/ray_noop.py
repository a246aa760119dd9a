"""No-op tasks a second of Ray on one core.

    ray_noop.py TASKS

Ray runs on loopback with one CPU, so one of its worker processes does all tasks. A thousand tasks come first.
Prints `tasks/s N`, of all TASKS submitted at once, from the first submission to the last result.
"""

import os
import signal
import sys
import tempfile
import time

os.environ["RAY_USAGE_STATS_ENABLED"] = "0"  # nothing is reported to its makers
os.environ["RAY_AUTH_MODE"] = "disabled"  # else it leaves a token in the home folder

import ray

WARM_UP_TASKS = 1000


@ray.remote
def noop():
    pass


def seconds(tasks):
    """From the first submission to the last result."""
    started = time.monotonic()
    ray.get([noop.remote() for _ in range(tasks)])
    return time.monotonic() - started


def main():
    tasks = int(sys.argv[1])
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # so that Ray's processes end with this one
    with tempfile.TemporaryDirectory(prefix="ray-") as folder:
        ray.init(
            num_cpus=1,
            include_dashboard=False,
            log_to_driver=False,
            logging_level="ERROR",
            _node_ip_address="127.0.0.1",
            _temp_dir=folder,
        )
        try:
            seconds(WARM_UP_TASKS)
            print(f"tasks/s {tasks / seconds(tasks):.0f}")
        finally:
            ray.shutdown()


if __name__ == "__main__":
    main()
