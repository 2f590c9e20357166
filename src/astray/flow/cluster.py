"""Several processes as one dataflow: where they are, and which of them this one is."""

import socket
from contextlib import ExitStack
from dataclasses import dataclass

from astray.errors import ConfigError

PROCESSES_MAX = 64


@dataclass(frozen=True)
class Cluster:
    """The addresses of all processes of a run, in the same order for each, and one's place.

    `is_local`: all of them are on this machine, and have the same files.
    """

    addresses: tuple[str, ...]
    process: int
    is_local: bool = False

    @property
    def is_first(self) -> bool:
        """Return whether this is the process that prepares what all share, and shows progress."""
        return self.process == 0


def cluster_of(addresses: str, process: int | None) -> Cluster:
    """Return the cluster that options describe.

    Raises
    ------
    ConfigError
        An address is none or given twice, or there is no such process.
    """
    given = tuple(address.strip() for address in addresses.split(","))
    problems = [
        f"--cluster: {address!r} is not host:port" for address in given if not _is_one(address)
    ]
    if len(set(given)) < len(given):
        problems.append("--cluster: an address is given twice")
    if len(given) > PROCESSES_MAX:
        problems.append(f"--cluster: at most {PROCESSES_MAX} processes")
    if process is None:
        problems.append("--process: which of the addresses in --cluster is this one, from 0?")
    elif not 0 <= process < len(given):
        problems.append(f"--process: one of 0 to {len(given) - 1}, not {process}")
    if problems or process is None:
        raise ConfigError(problems)
    return Cluster(given, process)


def _is_one(address: str) -> bool:
    host, colon, port = address.rpartition(":")
    return bool(host and colon and port.isdecimal() and 0 < int(port) < 1 << 16)


def local_addresses(processes: int) -> tuple[str, ...]:
    """Return addresses on this machine that are free now."""
    with ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(processes)]
        for one in sockets:
            one.bind(("127.0.0.1", 0))
        return tuple(f"127.0.0.1:{one.getsockname()[1]}" for one in sockets)
