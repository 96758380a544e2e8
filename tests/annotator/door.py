"""The page's end of the one door of the review screen, for tests."""

from __future__ import annotations

import json
from typing import Any
from uuid import uuid4

from annotator.ui.operations import Operations


class Page:
    """What the browser does: sends operations, remembers the revision."""

    def __init__(self, operations: Operations, key: str) -> None:
        self._operations = operations
        self._key = key
        self.photo: int | None = None
        self.revision = 0

    def send(self, op: str, **fields: Any) -> dict[str, Any]:
        message = {
            "op": op,
            "op_id": str(uuid4()),
            "project": self._key,
            "photo": self.photo,
            "base_rev": self.revision,
            "tab": "t",
            **fields,
        }
        # Over the wire and back, so that nothing but JSON passes.
        answer = json.loads(json.dumps(self._operations.handle(json.loads(json.dumps(message)))))
        full = answer.get("full")
        if full and full["photo"]:
            self.photo, self.revision = full["photo"], full["rev"]
        elif "rev" in answer:
            self.revision = answer["rev"]
        return answer
