"""How a server of ours listens: on an address that is free, answering to names that it knows."""

from __future__ import annotations

import socket

import uvicorn
from starlette.types import ASGIApp

from engine.errors import OptionError

LOOPBACK = ("127.0.0.1", "localhost", "::1")
HOST_NAMES = (*LOOPBACK, "[::1]")  # an IPv6 address has brackets in addresses of pages


def names_for(host: str) -> tuple[str, ...]:
    """The names that a server on this address answers to.

    An address that is known can be checked as well; all of them, as 0.0.0.0 means, cannot.
    """
    return ("*",) if host in ("0.0.0.0", "::") else (*HOST_NAMES, host)


def require_free(host: str, port: int) -> None:
    """OptionError where nothing of ours can listen there."""
    with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except (OSError, OverflowError) as error:
            reason = getattr(error, "strerror", None) or error
            raise OptionError(
                f"cannot listen on {host}:{port} ({reason}); choose another --port or --host"
            ) from error


def listen(app: ASGIApp, *, host: str, port: int) -> None:
    """Until Ctrl-C."""
    uvicorn.run(app, host=host, port=port, log_level="warning", timeout_graceful_shutdown=3)
