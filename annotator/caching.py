"""`annotator cache`: how much lies in the cache of prepared photos, its limit, and emptying it."""

from __future__ import annotations

import argparse

from annotator.answers import answer
from engine.errors import OptionError
from engine.segmenters.embeddings import EmbeddingStore

GIGABYTE = 1_000_000_000


def add_arguments(command: argparse.ArgumentParser) -> None:
    """What stands behind `annotator cache`."""
    command.add_argument(
        "action",
        nargs="?",
        choices=("show", "clear", "limit"),
        default="show",
        help="default: show",
    )
    command.add_argument(
        "gigabytes", nargs="?", help="for limit: how much it may hold, kept for later; 0 is off"
    )


def run_cache(arguments: argparse.Namespace) -> bool:
    """`annotator cache`; OptionError for a limit that is no size or cannot be kept."""
    store = EmbeddingStore()
    if arguments.gigabytes is not None and arguments.action != "limit":
        raise OptionError(
            f"'{arguments.action}' takes no size; did you mean `annotator cache limit`"
        )
    if arguments.action == "limit":
        removed = store.set_limit(_bytes(arguments.gigabytes))
    elif arguments.action == "clear":
        removed = store.clear()
    else:
        removed = store.clean()
    usage = store.usage()
    value = {
        "folder": str(store.folder),
        "photos": usage.files,
        "bytes": usage.bytes,
        "limit_bytes": store.limit_bytes,
        "removed_photos": removed.files,
        "removed_bytes": removed.bytes,
    }
    lines = [
        f"{store.folder}: {usage.files} photos, {_shown(usage.bytes)} of at most "
        f"{_shown(store.limit_bytes)}"
    ]
    if removed.files:
        lines.append(f"removed {removed.files} files, {_shown(removed.bytes)}")
    answer(arguments, value, "\n".join(lines))
    return True


def _bytes(text: str | None) -> int:
    try:
        gigabytes = float(text or "")
    except ValueError:
        gigabytes = -1.0
    if not 0.0 <= gigabytes < 1e6:
        given = "" if text is None else f", not '{text}'"
        raise OptionError(f"the limit is a number of gigabytes{given}; 4 is usual and 0 is off")
    return round(gigabytes * GIGABYTE)


def _shown(count: int) -> str:
    return f"{count / GIGABYTE:.2f} GB" if count >= GIGABYTE / 10 else f"{count / 1e6:.1f} MB"
