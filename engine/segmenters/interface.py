"""What every segmenter does: a photo once, then prompts in and ranked masks out."""

from __future__ import annotations

from typing import Any, Literal, Protocol

from engine.gallery import Gallery
from engine.types import Candidate, CoarseMap, Image, Prompts

Mode = Literal["exact", "fast"]


class Segmenter(Protocol):
    """Masks from prompts. One photo at a time; not for two threads at once."""

    name: str
    """As in `engine.segmenters.SEGMENTERS`; kept as the source of what it made."""

    def prepare(self, image: Image) -> Any:
        """The slow part, once a photo, for `set_prepared`; leaves the current photo alone.

        What comes out can be kept (a few MB each) to return to a photo at once.
        """

    def set_prepared(self, prepared: Any) -> None:
        """Make that photo the current one; takes no time."""

    def set_image(self, image: Image) -> None:
        """`prepare` and `set_prepared` in one: the photo that the next prompts are about."""

    def masks_for(self, prompts: Prompts) -> list[Candidate]:
        """The masks that answer the prompts, best first; more than one where they are ambiguous.

        RuntimeError where no photo is set.
        """

    def gallery(
        self,
        image: Image,
        *,
        coarse: CoarseMap | None = None,
        mode: Mode = "exact",
        prepared: Any = None,
    ) -> Gallery:
        """Everything in a photo that may be an object, unprompted; leaves the current one alone.

        "exact" equals the published way mask for mask. "fast" may not: it may leave out what lies
        where the (g, g) ``coarse`` map is low, and round masks a little. ``prepared`` is what
        `prepare` gave of this photo, where somebody has it already.
        """
