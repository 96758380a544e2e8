"""Tasks made and checked before the first byte is sent, and kept on the disk until it is.

A thousand photos with their masks are tens of megabytes of JSON; a temporary file holds them, so
memory stays flat, and nothing is encoded twice.
"""

from __future__ import annotations

import json
import tempfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from types import TracebackType

from annotator.labelstudio.contents import ext_id_of
from annotator.labelstudio.journal import digest
from engine.errors import FormatError
from engine.types import LabeledImage
from exports.label_studio import Task, TaskChoices, task_of
from exports.label_studio_check import LabelCheck

LARGEST_BATCH = 250  # tasks; the fastest of those that were measured
LARGEST_BODY = 8_000_000  # bytes of one request
_ADDRESS = "\ufdd0address\ufdd0"  # no text: a noncharacter, so no name can hold it
_STANDS_FOR_IT = json.dumps(_ADDRESS, ensure_ascii=False)


@dataclass(frozen=True)
class Packed:
    """Where a task lies in the file, and what its annotation will be known by."""

    image_id: int
    ext_id: str
    annotation: str  # digest; empty for none
    start: int
    size: int


class Pack:
    """The tasks of new photos. Use it as a context: the file goes away at its end."""

    def __init__(self, key: str, choices: TaskChoices, check: LabelCheck) -> None:
        self._key = key
        self._choices = choices
        self._check = check
        self._file = tempfile.TemporaryFile()  # noqa: SIM115 - __exit__ closes it
        self._end = 0
        self.packed: list[Packed] = []

    def __enter__(self) -> Pack:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._file.close()

    def add(self, image: LabeledImage) -> None:
        """Make the task of a photo; FormatError where anything about it is wrong."""
        ext_id = ext_id_of(self._key, image.id)
        task = checked_task(image, ext_id, self._choices, self._check)
        content = json.dumps(task, ensure_ascii=False, allow_nan=False).encode("utf-8")
        self._file.write(content)
        standing = digest(task["annotations"][0]["result"]) if task["annotations"] else ""
        self.packed.append(Packed(image.id, ext_id, standing, self._end, len(content)))
        self._end += len(content)

    def check(self, image: LabeledImage) -> None:
        """FormatError as `add`, for a photo that has its task already."""
        checked_task(image, ext_id_of(self._key, image.id), self._choices, self._check)

    def batches(self) -> Iterator[list[Packed]]:
        """In order, as many at once as a request should hold."""
        batch: list[Packed] = []
        for one in self.packed:
            is_full = len(batch) == LARGEST_BATCH
            if batch and (is_full or sum(each.size for each in batch) + one.size > LARGEST_BODY):
                yield batch
                batch = []
            batch.append(one)
        if batch:
            yield batch

    def body(self, batch: Sequence[Packed], addresses: Mapping[int, str]) -> bytes:
        """The tasks as one request, with the addresses of their photos."""
        tasks = []
        for one in batch:
            self._file.seek(one.start)
            text = self._file.read(one.size).decode("utf-8")
            tasks.append(text.replace(_STANDS_FOR_IT, json.dumps(addresses[one.image_id]), 1))
        return ("[" + ",\n".join(tasks) + "]").encode("utf-8")


def checked_task(image: LabeledImage, ext_id: str, choices: TaskChoices, check: LabelCheck) -> Task:
    """The task without its photo's address; FormatError where Label Studio would choke on it.

    Its own label interface is asked; what that one passes over cannot come from `task_of`, but for
    ids that are there twice.
    """
    task = task_of(image, address=_ADDRESS, ext_id=ext_id, choices=choices)
    check.check(task)
    for one in (*task["predictions"], *task["annotations"]):
        _check_ids(image, [region["id"] for region in one["result"]])
    return task


def _check_ids(image: LabeledImage, ids: Iterable[str]) -> None:
    seen: set[str] = set()
    for one in ids:
        if one in seen:
            raise FormatError(f"photo {image.file_name!r} has two objects with the id {one!r}")
        seen.add(one)
