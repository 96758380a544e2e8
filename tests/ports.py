"""Ports for what tests start on this machine."""

from __future__ import annotations

import itertools
import os
import socket

# Below the range from which a system takes the near end of its outgoing connections: of those any
# could hold the port during the long start of a server, or while it is killed and started again.
FIRST, SHARE, SHARES = 20_000, 750, 16

# Two runs of the tests beside each other begin at different places.
_places = itertools.count(os.getpid())


def free_port() -> int:
    """One that nobody listens on, from the share of this process of pytest-xdist."""
    worker = int("".join(filter(str.isdigit, os.environ.get("PYTEST_XDIST_WORKER", ""))) or 0)
    first = FIRST + worker % SHARES * SHARE
    for place in itertools.islice(_places, SHARE):
        port = first + place % SHARE
        with socket.socket() as probe:
            try:
                probe.bind(("", port))
            except OSError:
                continue
            return port
    raise AssertionError(f"every port from {first} to {first + SHARE - 1} is taken")
