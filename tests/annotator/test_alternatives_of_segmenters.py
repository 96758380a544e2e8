"""Other masks that come from a segmenter: SAM's three for a click, and galleries that are kept."""

from __future__ import annotations

from typing import Any

import numpy as np

from annotator import assist
from annotator.assist import Assistant
from annotator.session import Context, ReviewSession
from annotator.store import Project
from engine.gallery import Gallery
from engine.geometry import iou_masks, rle_to_mask
from engine.segmenters.classical import ClassicalSegmenter
from engine.segmenters.sam import SamSegmenter
from engine.types import Image
from tests.engine.small_sam import small_sam

HERE = Context(1, "tester")


def test_a_click_offers_the_other_two_of_sams_three_masks(project: Project) -> None:
    assistant = Assistant(lambda: SamSegmenter(small_sam(), name="sam_vit_b"))
    session = ReviewSession(project, assistant)
    one = session.click(HERE, None, (60, 45, 1), category="cat")
    first, second = session.alternatives(1, one)
    with project.read() as view:
        present = view.instance(1, one)
    assert present.rle is not None
    masks = [rle_to_mask(rle) for rle in (present.rle, first.rle, second.rle)]
    assert max(iou_masks(masks[a], masks[b]) for a, b in ((0, 1), (0, 2), (1, 2))) < 0.95
    session.choose(HERE, one, first.rle.as_dict())
    with project.read() as view:
        chosen = view.instance(1, one)
    assert chosen.rle == first.rle
    assert (chosen.points == present.points) == bool(masks[1][45, 60])
    assistant.close()


def test_the_classical_segmenter_finds_other_masks_without_a_run(project: Project) -> None:
    assistant = Assistant(ClassicalSegmenter)
    session = ReviewSession(project, assistant)
    one = session.add_box(HERE, category="cat", box=(30, 20, 90, 70))
    found = session.alternatives(1, one)
    assert found
    with project.read() as view:
        present = view.instance(1, one)
    assert present.rle is not None
    masks = [rle_to_mask(rle) for rle in (present.rle, *(other.rle for other in found))]
    assert all(np.any(mask) for mask in masks)
    assert all(iou_masks(masks[0], mask) <= 0.98 for mask in masks[1:])
    assistant.close()


def test_only_the_last_few_galleries_are_kept(project: Project) -> None:
    class Counting(ClassicalSegmenter):
        made = 0

        def gallery(self, image: Image, **options: Any) -> Gallery:
            Counting.made += 1
            return super().gallery(image, **options)

    assistant = Assistant(Counting)
    with project.read() as view:
        photos = [view.photo(number) for number in range(1, assist.KEPT_GALLERIES + 2)]
    for photo in [*photos, photos[-1]]:
        assistant.gallery(project, photo)
    assert Counting.made == len(photos)
    assistant.gallery(project, photos[0])
    assert Counting.made == len(photos) + 1
    assistant.close()
