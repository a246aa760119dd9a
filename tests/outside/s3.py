"""Input and output on an S3-compatible store: the same bytes as on the disk, whatever happens on the way.

    s3.py BROADSWEEP FOLDER KILLS   works in FOLDER, and kills drivers so often
"""

import json
import os
import random
import signal
import socket
import subprocess
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import boto3
from moto.server import ThreadedMotoServer

ROWS = 6000
PARTITION_ROWS = 500
STUDY = """
name = 'flowers'
seed = 3
[data]
format = 'csv'
train_file = 'train.csv'
label_column = 'kind'
leave_out = ['id']
validation_rows = 100
[model]
layers = [{ kind = 'dense', units = 8, activation = 'relu' }, { kind = 'dense', units = 3 }]
[training]
learning_rate = 0.05
epochs = 3
batch_size = 32
"""
KEYS = {"AWS_ACCESS_KEY_ID": "AKIAMOTO", "AWS_SECRET_ACCESS_KEY": "no-secret-at-all", "AWS_REGION": "us-east-1"}


class Proxy:
    """Stands before a server: drops connections, or leaves out the conditions of what is put."""

    def __init__(self, port):
        self.port, self.drops, self.dropped, self.leaves_out = port, 0.0, 0, False
        self.dice = random.Random(7)
        self.listener = socket.create_server(("127.0.0.1", 0))
        threading.Thread(target=self.accept, daemon=True).start()

    @property
    def url(self):
        return f"http://127.0.0.1:{self.listener.getsockname()[1]}"

    def accept(self):
        while True:
            client, _ = self.listener.accept()
            server = socket.create_connection(("127.0.0.1", self.port))
            # After so many bytes of answers, or never.
            drops = self.dice.random() < self.drops
            most = self.dice.randrange(1, 40_000) if drops else None
            threading.Thread(target=self.pump, args=(client, server, None), daemon=True).start()
            threading.Thread(target=self.pump, args=(server, client, most), daemon=True).start()

    def pump(self, source, sink, most):
        passed = 0
        try:
            while piece := source.recv(16_384):
                if self.leaves_out and most is None:
                    for name in (b"if-none-match", b"if-match"):
                        piece = piece.replace(name, b"x" * len(name))
                if most is not None and passed + len(piece) > most:
                    sink.sendall(piece[: most - passed])
                    self.dropped += 1
                    break
                sink.sendall(piece)
                passed += len(piece)
        except OSError:
            pass
        for end in (source, sink):
            try:
                end.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass


class Files(BaseHTTPRequestHandler):
    """A web server that knows ranges; and one file that leads elsewhere."""

    protocol_version = "HTTP/1.1"
    folder = None
    sent = 0

    def do_HEAD(self):
        self.answer(with_body=False)

    def do_GET(self):
        self.answer(with_body=True)

    def answer(self, with_body):
        if self.path == "/moved.csv":
            self.send_response(302)
            self.send_header("Location", "/rows.csv")
            self.send_header("Content-Length", "0")
            return self.end_headers()
        body, asked = (self.folder / self.path.strip("/")).read_bytes(), self.headers.get("Range")
        whole = len(body)
        self.send_response(206 if asked else 200)
        if asked:
            first, last = asked.removeprefix("bytes=").split("-")
            last = min(int(last), whole - 1)
            body = body[int(first) : last + 1]
            self.send_header("Content-Range", f"bytes {first}-{last}/{whole}")
        self.send_header("ETag", '"rows"')
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if with_body:
            Files.sent += len(body)
            self.wfile.write(body)

    def log_message(self, *_):
        pass


class Place:
    """A folder with a model, a store, and what stands before it."""

    def __init__(self, broadsweep, folder, kills):
        self.broadsweep, self.folder, self.kills = broadsweep, folder, kills
        self.number = 0
        folder.mkdir(parents=True)
        server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
        server.start()
        self.server, (_, port) = server, server.get_host_and_port()
        self.proxy = Proxy(port)
        self.store = boto3.client(
            "s3",
            endpoint_url=f"http://127.0.0.1:{port}",
            region_name=KEYS["AWS_REGION"],
            aws_access_key_id=KEYS["AWS_ACCESS_KEY_ID"],
            aws_secret_access_key=KEYS["AWS_SECRET_ACCESS_KEY"],
        )
        for bucket in ("rows", "answers"):
            self.store.create_bucket(Bucket=bucket)

    def environment(self, **more):
        kept = {name: value for name, value in os.environ.items() if not name.startswith("AWS_")}
        return {**kept, **KEYS, "AWS_ENDPOINT_URL": self.proxy.url, "NO_PROXY": "127.0.0.1", **more}

    def start(self, *arguments, env=None):
        command = [self.broadsweep, *map(str, arguments)]
        pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
        return subprocess.Popen(command, cwd=self.folder, env=env or self.environment(), start_new_session=True, **pipes)

    def run(self, *arguments, env=None, fails=None):
        process = self.start(*arguments, env=env)
        out, err = process.communicate(timeout=300)
        if fails is None and process.returncode != 0:
            sys.exit(f"{' '.join(map(str, arguments))} ended with {process.returncode}:\n{out}{err}")
        if fails is not None and (process.returncode == 0 or fails not in err):
            sys.exit(f"{' '.join(map(str, arguments))} was to say `{fails}`, and said:\n{out}{err}")
        for secret in (KEYS["AWS_SECRET_ACCESS_KEY"], KEYS["AWS_ACCESS_KEY_ID"]):
            assert secret not in out + err, "a secret is shown"
        return out + err

    def apply_arguments(self, inputs, output, *more, where=("--local", "1x2")):
        self.number += 1
        run = self.folder / f"run-{self.number}"
        inputs = [inputs] if isinstance(inputs, (str, Path)) else inputs
        flags = ["--partition-rows", PARTITION_ROWS, "--keep", "id", "--format", "csv", "--out", run]
        cache = ["--cache-dir", self.folder / "cache"] if where[0] == "--local" else []
        return run, ["apply", "model", "--input", *inputs, "--output", output, *flags, *cache, *where, *more]

    def apply(self, inputs, output, *more, where=("--local", "1x2"), **how):
        run, arguments = self.apply_arguments(inputs, output, *more, where=where)
        said = self.run(*arguments, **how)
        return run, said

    def on_disk(self, name):
        """The files of an output, in the order of its manifest."""
        manifest = json.loads((self.folder / name / "manifest.json").read_text())
        return [(self.folder / name / file["name"]).read_bytes() for file in manifest["files"]]

    def keys(self, prefix, bucket="answers"):
        pages = self.store.get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix=prefix + "/")
        return [entry["Key"] for page in pages for entry in page.get("Contents", [])]

    def read(self, key, bucket="answers"):
        return self.store.get_object(Bucket=bucket, Key=key)["Body"].read()

    def on_store(self, prefix, alone=True):
        """The same of an output on the store, with nothing beside them if they are to be alone."""
        manifest = json.loads(self.read(f"{prefix}/manifest.json"))
        names = [f"{prefix}/{file['name']}" for file in manifest["files"]]
        if alone:
            assert sorted(self.keys(prefix)) == sorted([*names, f"{prefix}/manifest.json"]), self.keys(prefix)
        return [self.read(name) for name in names]


def row(number):
    dice = random.Random(number)
    a, b = dice.uniform(-1, 1), dice.uniform(-1, 1)
    kind = ["small", "middle", "large"][(a + b > -0.4) + (a + b > 0.4)]
    return f"n{number},{a:.6f},{b:.6f},{['red', 'blue'][number % 2]},{kind}\n"


def table(first, until):
    return "id,a,b,color,kind\n" + "".join(row(number) for number in range(first, until))


def prepare(place):
    """A trained model; rows in three files, and in one of Parquet, on the disk and in the store."""
    (place.folder / "train.csv").write_text(table(0, 600))
    (place.folder / "study.toml").write_text(STUDY)
    place.run("tune", "study.toml", "--local", "1x1", "--cache-dir", "cache", "--out", "trained", "--quiet")
    (place.folder / "trained" / "best").rename(place.folder / "model")
    data = place.folder / "data"
    (data / "deep").mkdir(parents=True)
    third = ROWS // 3
    for part, name in enumerate(["a.csv", "b.csv", "deep/c.csv"]):
        (data / name).write_text(table(600 + part * third, 600 + (part + 1) * third))
    (data / "_notes.csv").write_text("left out")
    # Larger than what is read of an object to see what it is.
    (place.folder / "many.csv").write_text(table(0, 60_000))
    place.run("apply", "model", "--input", "many.csv", "--output", "parquet", "--keep", "id,a,b,color", "--out", "made",
              "--partition-rows", 100_000, "--local", "1x1", "--cache-dir", "cache")  # fmt: skip
    (data / "rows.parquet").write_bytes(place.on_disk("parquet")[0])
    assert (data / "rows.parquet").stat().st_size > 5 << 18
    for path in sorted(data.rglob("*")):
        if path.is_file():
            place.store.upload_file(str(path), "rows", f"in/{path.relative_to(data)}")


def reads(place):
    """Objects, prefixes, patterns and Parquet."""
    place.apply(["data/a.csv", "data/b.csv", "data/deep/c.csv"], "whole")
    wanted = place.on_disk("whole")
    for inputs in (["s3://rows/in/**/*.csv"], ["s3://rows/in/[ab].csv", "s3://rows/in/deep"]):
        output = f"read-{place.number}"
        place.apply(inputs, output)
        assert place.on_disk(output) == wanted, f"{inputs} are not read as on the disk"
    place.apply("data/rows.parquet", "parquet-here")
    place.apply("s3://rows/in/rows.parquet", "parquet-there")
    assert place.on_disk("parquet-there") == place.on_disk("parquet-here")
    place.apply("s3://rows/in/*.none", "none", fails="nothing is called so")
    place.apply("s3://none/in/a.csv", "none", fails="s3://none/in")
    return wanted


def writes(place, wanted):
    """New, refused, added to, replaced."""
    place.apply("s3://rows/in/**/*.csv", "s3://answers/new")
    assert place.on_store("new") == wanted, "the answers on the store are not those on the disk"
    place.apply("data/a.csv", "s3://answers/new", fails="is not empty")
    place.apply("data/a.csv", "s3://answers/new", "--append")
    place.apply("data/a.csv", "one")
    assert place.on_store("new") == wanted + place.on_disk("one")
    place.apply("data/b.csv", "s3://answers/new", "--overwrite")
    place.apply("data/b.csv", "two")
    assert place.on_store("new") == place.on_disk("two")


def drops(place, wanted):
    """Connections are dropped in the middle of answers."""
    place.proxy.drops = 0.3
    before = place.proxy.dropped
    place.apply("s3://rows/in/**/*.csv", "s3://answers/dropped")
    place.proxy.drops = 0.0
    assert place.on_store("dropped") == wanted
    assert place.proxy.dropped > before, "nothing was dropped"
    return place.proxy.dropped - before


def conditions(place):
    """A store that does not mind conditions is refused."""
    place.proxy.leaves_out = True
    place.apply("data/a.csv", "s3://answers/unminded", fails="does not mind the conditions")
    place.proxy.leaves_out = False
    assert place.keys("unminded") == []


def races(place, wanted):
    """Two drivers on one output: one wins, the other says so and leaves nothing."""
    started = [place.start(*place.apply_arguments("s3://rows/in/**/*.csv", "s3://answers/raced")[1]) for _ in range(2)]
    ended = [(process, process.communicate(timeout=300)[1]) for process in started]
    lost = [said for process, said in ended if process.returncode != 0]
    assert len(lost) == 1 and ("was first" in lost[0] or "is not empty" in lost[0]), [said for _, said in ended]
    assert place.on_store("raced") == wanted


def killed(place, wanted):
    """Drivers are killed at random moments, and resumed."""
    dice, resumed = random.Random(place.kills), 0
    for round_ in range(place.kills):
        prefix = f"killed-{round_}"
        run, arguments = place.apply_arguments("s3://rows/in/**/*.csv", f"s3://answers/{prefix}")
        driver = place.start(*arguments)
        # Half of them while they put their files, or right behind.
        least = dice.randrange(1, len(wanted) + 2) if round_ % 2 else 0
        until = time.monotonic() + 20
        while driver.poll() is None and time.monotonic() < until and len(place.keys(prefix)) < least:
            time.sleep(0.002)
        time.sleep(dice.uniform(0, 1.0 if least == 0 else 0.03))
        os.killpg(driver.pid, signal.SIGKILL)
        driver.communicate()
        if (run / "journal").is_file():
            place.run("resume", run)
            resumed += 1
        else:
            place.apply("s3://rows/in/**/*.csv", f"s3://answers/{prefix}")
        assert place.on_store(prefix) == wanted, f"round {round_}"
    return resumed


def executors(place, wanted):
    """One that may read the store, and one that is sent its rows."""
    for flags in (["--allow-stores", "s3://rows/in"], ["--allow-stores", "s3://rows/other"], []):
        with socket.create_server(("127.0.0.1", 0)) as free:
            address = f"127.0.0.1:{free.getsockname()[1]}"
        executor = place.start("executor", "--listen", address, "--slots", 2, "--cache-dir", "node", *flags)
        output = f"nodes-{len(flags)}-{flags[-1:] == ['s3://rows/in']}"
        _, said = place.apply("s3://rows/in/**/*.csv", output, where=("--nodes", address))
        executor.terminate()
        executor.communicate(timeout=60)
        assert place.on_disk(output) == wanted
        is_sent = "--allow-stores" in said
        assert is_sent == (flags[-1:] != ["s3://rows/in"]), said


def webs(place):
    """A web server: parts of files are asked for, and nobody is led elsewhere."""
    Files.folder = place.folder / "data"
    (Files.folder / "rows.csv").write_text(table(600, 600 + ROWS))
    server = ThreadingHTTPServer(("127.0.0.1", 0), Files)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    url = f"http://127.0.0.1:{server.server_port}"
    for name in ("rows.csv", "rows.parquet"):
        place.apply(f"data/{name}", f"web-{name}")
        place.apply(f"{url}/{name}", f"from-web-{name}")
        assert place.on_disk(f"from-web-{name}") == place.on_disk(f"web-{name}")
    place.apply(f"{url}/moved.csv", "moved", fails="is elsewhere")
    place.apply(f"{url}/rows.csv?X-Amz-Signature=abc", "signed", fails="what follows `?`")
    server.shutdown()


def secrets(place):
    """Nothing in the runs' folders has the credentials."""
    for path in place.folder.rglob("*"):
        if path.is_file():
            found = path.read_bytes()
            for secret in (KEYS["AWS_SECRET_ACCESS_KEY"], KEYS["AWS_ACCESS_KEY_ID"]):
                assert secret.encode() not in found, f"{path} has a secret"


def main():
    broadsweep, folder, kills = sys.argv[1], Path(sys.argv[2]).absolute(), int(sys.argv[3])
    place = Place(broadsweep, folder, kills)
    prepare(place)
    wanted = reads(place)
    print(f"read: {ROWS} rows of objects, prefixes, patterns and Parquet, byte by byte as on the disk", flush=True)
    writes(place, wanted)
    print("written: new, added to, replaced, and refused where something was there", flush=True)
    print(f"dropped: the same answers with {drops(place, wanted)} connections dropped", flush=True)
    conditions(place)
    print("conditions: a store that does not mind them is refused, and nothing is left there", flush=True)
    races(place, wanted)
    print("raced: of two drivers on one output one won, and the other said so", flush=True)
    print(f"killed: the same answers after {kills} kill -9 of drivers, {killed(place, wanted)} resumed", flush=True)
    executors(place, wanted)
    print("executors: the same answers from one that may read the store, and from two that were sent the rows", flush=True)
    webs(place)
    print("web: the same answers from a web server; redirects and secrets in addresses refused", flush=True)
    secrets(place)
    print("secrets: no file of a run has the credentials", flush=True)
    place.server.stop()


main()
