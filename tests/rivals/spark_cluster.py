"""A standalone Spark cluster on loopback: one master, and workers with one core each.

Each of them is a JVM of its own, as on a real cluster, and each worker starts its executor as one more.
What is not ours is left at its defaults, but for memory, loopback and the web pages.
"""

import contextlib
import os
import pathlib
import signal
import socket
import subprocess
import sys
import tempfile
import time

import pyspark

HOST = "127.0.0.1"
EXECUTOR_MEMORY = "2g"
MASTER_WAIT_S = 60


def free_port():
    with socket.socket() as chosen:
        chosen.bind((HOST, 0))
        return chosen.getsockname()[1]


def wait_until_listening(port, process):
    give_up = time.monotonic() + MASTER_WAIT_S
    while time.monotonic() < give_up and process.poll() is None:
        with contextlib.suppress(OSError):
            socket.create_connection((HOST, port), 1).close()
            return
        time.sleep(0.02)
    raise SystemExit("Spark's master did not come up")


@contextlib.contextmanager
def spark_process(main_class, log, *arguments):
    """One of the cluster's JVMs, ended with the block."""
    command = [os.environ["SPARK_HOME"] + "/bin/spark-class", f"org.apache.spark.deploy.{main_class}", *arguments]
    with open(log, "wb") as output:
        process = subprocess.Popen(command, stdout=output, stderr=subprocess.STDOUT, start_new_session=True)
    try:
        yield process
    finally:
        process.terminate()
        try:
            process.wait(20)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


@contextlib.contextmanager
def cluster(workers):
    """The master's address. All ends with the block, or with SIGTERM to this process."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    with tempfile.TemporaryDirectory(prefix="spark-") as folder, contextlib.ExitStack() as running:
        os.environ.update(
            SPARK_HOME=str(pathlib.Path(pyspark.__file__).parent),
            SPARK_LOCAL_IP=HOST,
            SPARK_LOCAL_DIRS=f"{folder}/local",
            PYSPARK_PYTHON=sys.executable,
            PYSPARK_DRIVER_PYTHON=sys.executable,
        )
        port = free_port()
        address = f"spark://{HOST}:{port}"
        listening = ("--host", HOST, "--webui-port", "0")
        arguments = (*listening, "--port", str(port))
        master = running.enter_context(spark_process("master.Master", f"{folder}/master.log", *arguments))
        wait_until_listening(port, master)
        shape = ("--cores", "1", "--memory", EXECUTOR_MEMORY, "--work-dir", f"{folder}/work")
        for number in range(workers):
            log = f"{folder}/worker-{number}.log"
            running.enter_context(spark_process("worker.Worker", log, *listening, *shape, address))
        yield address


@contextlib.contextmanager
def driver(address, name, settings):
    """A context on the cluster, with settings beside those that any driver here has; stopped with the block."""
    quiet = {"spark.ui.enabled": "false", "spark.ui.showConsoleProgress": "false"}
    placed = {"spark.driver.host": HOST, "spark.executor.memory": EXECUTOR_MEMORY}
    conf = pyspark.SparkConf().setMaster(address).setAppName(name).setAll((quiet | placed | settings).items())
    context = pyspark.SparkContext(conf=conf)
    try:
        context.setLogLevel("ERROR")
        yield context
    finally:
        context.stop()
