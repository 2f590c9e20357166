"""A real Apache Kafka for tests: KRaft mode, free ports, a directory that is thrown away.

The jars lie in a cache, or are fetched there from Maven Central once. A test may stop, kill
and start its broker; what is on the disk survives that.
"""

import os
import shutil
import signal
import socket
import subprocess
import time
from contextlib import suppress
from pathlib import Path
from typing import BinaryIO

from confluent_kafka import KafkaException
from confluent_kafka.admin import AdminClient
from kafka_security import Security

VERSION = "4.4.0"
CLUSTER = "MkU3OEVBNTcwNTJENDM2Qg"
STARTING_S = 60.0
"""How long a broker may take; on an idle machine it is four seconds."""

_JAVA, _MVN = (shutil.which(name) or "" for name in ("java", "mvn"))

_POM = f"""<project xmlns="http://maven.apache.org/POM/4.0.0"><modelVersion>4.0.0</modelVersion>
<groupId>astray</groupId><artifactId>jars</artifactId><version>1</version><dependencies><dependency>
<groupId>org.apache.kafka</groupId><artifactId>kafka_2.13</artifactId><version>{VERSION}</version>
<exclusions><exclusion><groupId>org.apache.kafka</groupId><artifactId>kafka-tools-api</artifactId>
</exclusion></exclusions></dependency></dependencies></project>"""

_LOG4J = """<Configuration><Appenders><Console name="out"><PatternLayout pattern="%d %p %m%n"/>
</Console></Appenders><Loggers><Root level="WARN"><AppenderRef ref="out"/></Root></Loggers>
</Configuration>"""


def jars() -> Path | str:
    """Return the directory of Kafka's jars, or why there is none."""
    default = Path.home() / ".cache" / "astray-tests" / f"kafka-{VERSION}"
    directory = Path(os.environ.get("ASTRAY_KAFKA_JARS", default))
    if any(directory.glob("kafka_2.13-*.jar")):
        return directory
    if not _JAVA or not _MVN:
        return f"no Kafka in {directory}, and no java and mvn to fetch it with"
    return _fetched(directory)


def _fetched(directory: Path) -> Path | str:
    part = directory.with_name(f"{directory.name}.part-{os.getpid()}")
    part.mkdir(parents=True)
    (part / "pom.xml").write_text(_POM)
    goal = ["dependency:copy-dependencies", "-DincludeScope=runtime", "-DoutputDirectory=jars"]
    try:
        done = subprocess.run(
            [_MVN, "-q", "-B", *goal], cwd=part, capture_output=True, text=True, timeout=300,
            check=False,
        )  # fmt: skip
        if done.returncode:
            return f"Kafka cannot be fetched: {done.stdout.strip()[-300:]}"
        with suppress(OSError):  # another process was quicker
            (part / "jars").rename(directory)
    finally:
        shutil.rmtree(part)
    return directory


def free_ports(count: int) -> list[int]:
    """Return ports nobody listens on."""
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports = [one.getsockname()[1] for one in sockets]
    for one in sockets:
        one.close()
    return ports


class Node:
    """One broker, which is its own controller or one of three."""

    def __init__(
        self, folder: Path, number: int, ports: list[tuple[int, int]], *, secured: bool = False
    ) -> None:
        self.folder, self.number = folder, number
        self.port = ports[number][0]
        folder.mkdir(parents=True)
        self.security = Security(folder, free_ports(1)[0]) if secured else None
        (folder / "log4j2.xml").write_text(_LOG4J)
        (folder / "server.properties").write_text(self._properties(ports))
        self._process: subprocess.Popen | None = None
        users = self.security.users if self.security else ()
        self._java(
            "kafka.tools.StorageTool", "format", "-t", CLUSTER, "-c", "server.properties", *users
        )

    @property
    def address(self) -> str:
        """Where clients find it."""
        return f"127.0.0.1:{self.port}"

    @property
    def mutual_address(self) -> str:
        """Where clients find it that have a certificate."""
        assert self.security is not None
        return f"127.0.0.1:{self.security.mutual_port}"

    def _properties(self, ports: list[tuple[int, int]]) -> str:
        clients, protocols = f"CLIENTS://127.0.0.1:{self.port}", "CLIENTS:PLAINTEXT"
        if self.security:
            clients += f",MUTUAL://{self.mutual_address}"
            protocols = "CLIENTS:SASL_SSL,MUTUAL:SSL"
        voters = ",".join(f"{n}@127.0.0.1:{inner}" for n, (_, inner) in enumerate(ports))
        lines = {
            "process.roles": "broker,controller",
            "node.id": self.number,
            "controller.quorum.voters": voters,
            "controller.listener.names": "CONTROLLER",
            "listeners": f"{clients},CONTROLLER://127.0.0.1:{ports[self.number][1]}",
            "advertised.listeners": clients,
            "listener.security.protocol.map": f"{protocols},CONTROLLER:PLAINTEXT",
            "inter.broker.listener.name": "CLIENTS",
            "log.dirs": self.folder / "data",
            "auto.create.topics.enable": "false",
            "offsets.topic.num.partitions": 1,
            "offsets.topic.replication.factor": len(ports),
            "transaction.state.log.num.partitions": 1,
            "transaction.state.log.replication.factor": len(ports),
            "transaction.state.log.min.isr": 1,
            "group.initial.rebalance.delay.ms": 0,
            "controlled.shutdown.max.retries": 1,
            "min.insync.replicas": min(2, len(ports)),
        }
        if self.security:
            lines |= self.security.properties()
        return "\n".join(f"{key}={value}" for key, value in lines.items())

    def client(self) -> dict[str, str]:
        """Return a client's configuration of librdkafka."""
        plain = {"bootstrap.servers": self.address}
        return {**plain, **self.security.plain()} if self.security else plain

    def _command(self, main: str, *arguments: str) -> list[str]:
        found = jars()
        options = [
            "-Xmx384m",
            "-XX:+UseSerialGC",
            "-XX:TieredStopAtLevel=1",
            "-Dlog4j2.configurationFile=log4j2.xml",
        ]
        return [_JAVA, *options, "-cp", f"{found}/*", main, *arguments]

    def _java(self, main: str, *arguments: str) -> None:
        with self._log() as log:
            command = self._command(main, *arguments)
            subprocess.run(command, cwd=self.folder, stdout=log, stderr=log, check=True)

    def _log(self) -> BinaryIO:
        return (self.folder / "log.txt").open("ab")

    def launch(self) -> None:
        """Begin to start, without waiting for it."""
        command = self._command("kafka.Kafka", "server.properties")
        with self._log() as log:
            self._process = subprocess.Popen(
                command, cwd=self.folder, stdout=log, stderr=log, stdin=subprocess.DEVNULL
            )

    def start(self) -> None:
        """Start, and wait until it answers."""
        self.launch()
        self.wait()

    def wait(self) -> None:
        """Wait until it answers."""
        until_s = time.monotonic() + STARTING_S
        admin = AdminClient({**self.client(), "log_level": 0})
        while True:
            assert self._process is not None
            assert self._process.poll() is None, (self.folder / "log.txt").read_text()[-3000:]
            assert time.monotonic() < until_s, "the broker does not answer"
            with suppress(KafkaException):
                if admin.list_topics(timeout=1.0).brokers:
                    return

    def end(self, number: int) -> None:
        """End it by a signal."""
        if self._process is not None:
            self._process.send_signal(number)
            self._process.wait()
        self._process = None

    def hang(self) -> None:
        """Have it answer nobody, with all connections open; only `kill` ends it then."""
        assert self._process is not None
        self._process.send_signal(signal.SIGSTOP)

    def stop(self) -> None:
        """End it in order."""
        self.end(signal.SIGTERM)

    def kill(self) -> None:
        """End it at once."""
        self.end(signal.SIGKILL)


def nodes(folder: Path, count: int = 1, *, secured: bool = False) -> list[Node]:
    """Return the brokers of one cluster, not yet started."""
    found = free_ports(2 * count)
    ports = list(zip(found[::2], found[1::2], strict=True))
    return [Node(folder / f"node-{n}", n, ports, secured=secured) for n in range(count)]
