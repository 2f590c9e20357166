"""A whole installation for a benchmark: a broker, a database, and `astray run` with its metrics.

The broker and the database are the ones at ASTRAY_TEST_KAFKA and ASTRAY_TEST_POSTGRES or,
without them, started as the tests start them.
"""

import importlib
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from zlib import crc32

import orjson
from confluent_kafka import Producer
from confluent_kafka.admin import AdminClient
from confluent_kafka.cimpl import NewTopic

from harness import ROOT

COMMAND = (sys.executable, "-m", "astray")
_AT_ONCE = 10_000
_PRODUCER = {"linger.ms": 50, "compression.type": "lz4", "enable.idempotence": True}


def of_tests(room: str, module: str) -> Any:
    """Return a module that the tests share."""
    for path in (ROOT / "tests", ROOT / "tests" / room):
        if str(path) not in sys.path:
            sys.path.insert(0, str(path))
    return importlib.import_module(module)


@contextmanager
def broker(folder: Path) -> Iterator[Any]:
    """Have a broker of one's own, which may be stopped, in a directory."""
    (node,) = of_tests("kafka", "kafka_broker").nodes(folder / "kafka")
    node.start()
    try:
        yield node
    finally:
        node.kill()


@contextmanager
def any_broker(folder: Path) -> Iterator[str]:
    """Have the address of a broker."""
    given = os.environ.get("ASTRAY_TEST_KAFKA")
    if given:
        yield given
        return
    with broker(folder) as node:
        yield node.address


def fresh_postgres() -> str:
    """Return the URL of an empty schema."""
    databases = of_tests("store", "databases")
    url: str = databases.fresh_schema(databases.postgres_url())
    return url


def topic_of(address: str, name: str, partitions: int, **options: str) -> str:
    """Make a topic, and return its name."""
    admin = AdminClient({"bootstrap.servers": address})
    given = {key.replace("_", "."): value for key, value in options.items()}
    admin.create_topics([NewTopic(name, partitions, 1, config=given)])[name].result()
    return name


def partition_of(agent: bytes, partitions: int) -> int:
    """Return the partition of all of an agent's events."""
    return crc32(agent) % partitions


def fill(address: str, topic: str, partitions: int, lines: Iterable[bytes]) -> None:
    """Write lines to a topic, an agent's to one partition."""
    producer = Producer({"bootstrap.servers": address, **_PRODUCER})
    for number, line in enumerate(lines):
        agent = orjson.loads(line)["agent"].encode()
        producer.produce(topic, line, agent, partition_of(agent, partitions))
        if number % _AT_ONCE == 0:
            producer.flush()
    producer.flush()


def free_port(count: int = 1) -> int:
    """Return a port that is free now, as are those after it."""
    while True:
        with socket.socket() as first:
            first.bind(("127.0.0.1", 0))
            port: int = first.getsockname()[1]
        try:
            for number in range(port, port + count):
                with socket.socket() as one:
                    one.bind(("127.0.0.1", number))
        except OSError:
            continue
        return port


class Run:
    """`astray run` as a process, and what its metrics say; of several processes their sum."""

    def __init__(
        self,
        folder: Path,
        arguments: Sequence[object],
        processes: int = 1,
        **environment: str,
    ) -> None:
        self._processes = processes
        self._port = free_port(processes)
        health = ["--health", f"127.0.0.1:{self._port}", "--processes", processes]
        self._log = (folder / "log.txt").open("ab")
        self.process = subprocess.Popen(
            [*COMMAND, "run", *map(str, [*arguments, *health])],
            cwd=folder,
            env={**os.environ, **environment},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=self._log,
        )

    def metric(self, name: str) -> float:
        """Return the sum of a metric over its labels and the processes; 0 without an answer."""
        return sum(self._metric(name, self._port + number) for number in range(self._processes))

    def _metric(self, name: str, port: int) -> float:
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=5) as page:
                said = page.read().decode().splitlines()
        except (urllib.error.URLError, OSError):
            return 0.0
        return sum(
            float(line.rsplit(" ", 1)[1])
            for line in said
            if line.startswith((f"{name} ", f"{name}{{"))
        )

    @property
    def workers(self) -> list[int]:
        """Return the process ids of those that do the work."""
        if self._processes == 1:
            return [self.process.pid]
        listed = Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children")
        return [int(child) for child in listed.read_text().split()] if listed.exists() else []

    def resident_bytes(self) -> int:
        """Return the memory that the workers hold."""
        total = 0
        for worker in self.workers:
            status = Path(f"/proc/{worker}/statm").read_text().split()
            total += int(status[1]) * os.sysconf("SC_PAGE_SIZE")
        return total

    def until(self, condition: Callable[[], object], seconds: float) -> bool:
        """Wait until something is so, or the run has ended, or it takes too long."""
        end_s = time.monotonic() + seconds
        while not condition():
            if self.process.poll() is not None or time.monotonic() > end_s:
                return bool(condition())
            time.sleep(0.2)
        return True

    def stop(self, number: int = signal.SIGTERM, seconds: float = 60.0) -> int:
        """Ask it to end; return the exit code."""
        if self.process.poll() is None:
            self.process.send_signal(number)
        code = self.process.wait(seconds)
        self._log.close()
        return code

    def end(self) -> None:
        """Leave nothing behind, whatever has become of it."""
        if self.process.poll() is None:
            for one in [*self.workers, self.process.pid]:
                os.kill(one, signal.SIGKILL)
            self.process.wait()
        self._log.close()
