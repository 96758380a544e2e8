"""The pipeline Pro2SAM: with a looker and a segmenter whose answers are known."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest

from engine import matching
from engine.errors import OptionError, WeightsError
from engine.gallery import Gallery
from engine.geometry import mask_to_box, rle_to_mask
from engine.pipelines import build
from engine.pro2sam import KEPT, Pro2samOptions, Pro2samPipeline
from engine.segmenters.interface import Mode
from engine.types import Candidate, CoarseMap, Image, Instance, Mask, Prompts, Suggestion
from tests.builders import make_mask
from tests.engine.scenes import odd_photos, on_texture

HEIGHT, WIDTH, GRID = 60, 80, 10
LEFT = make_mask((8, 12, 32, 48), height=HEIGHT, width=WIDTH)
RIGHT = make_mask((48, 12, 72, 48), height=HEIGHT, width=WIDTH)
PHOTO = np.zeros((HEIGHT, WIDTH, 3), dtype=np.uint8)


def map_of(mask: Mask) -> CoarseMap:
    """1 on the cells that the mask fills."""
    rows, columns = mask.shape[0] // GRID, mask.shape[1] // GRID
    cells = mask.reshape(GRID, rows, GRID, columns).mean(axis=(1, 3))
    return np.asarray(cells, dtype=np.float32)


class Maps:
    """A looker that knows where the things of each tag are."""

    name = "maps"

    def __init__(self, by_tag: dict[str | None, CoarseMap]) -> None:
        self._by_tag = by_tag

    def maps(self, image: Image, tags: Sequence[str]) -> list[tuple[str | None, CoarseMap]]:
        if not tags:
            return [next(iter(self._by_tag.items()))]
        return [(tag, self._by_tag[tag]) for tag in tags]


class Shelf:
    """A segmenter with a ready gallery; remembers what it was asked."""

    name = "shelf"

    def __init__(self, *masks: Mask) -> None:
        self._masks = masks
        self.prompts: list[Prompts] = []
        self.asked: list[tuple[CoarseMap | None, Mode]] = []
        self.photo_shapes: list[tuple[int, ...]] = []

    def prepare(self, image: Image) -> tuple[int, ...]:
        return image.shape

    def set_prepared(self, prepared: tuple[int, ...]) -> None:
        self.photo_shapes.append(prepared)

    def set_image(self, image: Image) -> None:
        self.set_prepared(self.prepare(image))

    def masks_for(self, prompts: Prompts) -> list[Candidate]:
        self.prompts.append(prompts)
        return [Candidate(mask, 0.5) for mask in self._masks]

    def gallery(
        self,
        image: Image,
        *,
        coarse: CoarseMap | None = None,
        mode: Mode = "exact",
        prepared: object = None,
    ) -> Gallery:
        self.asked.append((coarse, mode))
        self.photo_shapes.append(image.shape)
        return Gallery.from_masks(self._masks, [0.9 - 0.01 * i for i in range(len(self._masks))])


def suggest(
    maps: dict[str | None, CoarseMap], shelf: Shelf, *tags: str, **options: object
) -> Suggestion:
    settings = Pro2samOptions(**options)  # type: ignore[arg-type]
    pipeline = Pro2samPipeline(settings, looker=Maps(maps), segmenter=shelf)
    return pipeline.suggest(PHOTO, tags=tags)


def mask_of(instance: Instance) -> Mask:
    assert instance.rle is not None
    return rle_to_mask(instance.rle)


def iou(first: Mask, second: Mask) -> float:
    return float((first & second).sum() / (first | second).sum())


def test_each_tag_gets_the_mask_that_its_map_fits() -> None:
    maps: dict[str | None, CoarseMap] = {"cup": map_of(LEFT), "pot": map_of(RIGHT)}
    found = suggest(maps, Shelf(RIGHT, LEFT), "cup", "pot").instances
    by_tag = {one.category: mask_of(one) for one in found}
    assert np.array_equal(by_tag["cup"], LEFT)
    assert np.array_equal(by_tag["pot"], RIGHT)
    assert [one.score for one in found] == [1.0, 1.0]
    assert found[0].box in {mask_to_box(LEFT), mask_to_box(RIGHT)}


def test_tags_that_share_a_mask_are_less_sure() -> None:
    same: dict[str | None, CoarseMap] = {"cup": map_of(LEFT), "pot": map_of(LEFT)}
    found = suggest(same, Shelf(LEFT, RIGHT), "cup", "pot").instances
    assert {one.category for one in found} == {"cup", "pot"}
    assert [one.score for one in found] == [0.7, 0.7]


def test_without_tags_the_looker_says_what_it_is() -> None:
    found = suggest({"cup": map_of(LEFT)}, Shelf(LEFT)).instances
    assert [one.category for one in found] == ["cup"]


def test_where_nothing_fits_the_map_itself_is_the_mask_and_the_source_says_so() -> None:
    whole = np.ones((HEIGHT, WIDTH), dtype=bool)
    for shelf in (Shelf(), Shelf(whole)):
        (one,) = suggest({"cup": map_of(LEFT)}, shelf, "cup").instances
        assert one.source.options["from_map"] is True
        assert one.score == 0.0
        assert iou(mask_of(one), LEFT) == 1.0
    (one,) = suggest({"cup": map_of(LEFT)}, Shelf(RIGHT), "cup").instances
    assert one.source.options["from_map"] is False


def test_the_source_tells_everything_that_made_the_mask() -> None:
    (one,) = suggest({"cup": map_of(LEFT)}, Shelf(LEFT), "cup", mode="exact", rule="iou").instances
    assert (one.source.pipeline, one.source.checkpoint) == ("pro2sam", "maps")
    assert one.source.options["mode"] == "exact"
    assert one.source.options["rule"] == "iou"
    assert one.source.options["segmenter"] == "shelf"


def test_the_segmenter_is_told_where_anything_may_be_and_how_exact_to_be() -> None:
    maps: dict[str | None, CoarseMap] = {"cup": map_of(LEFT), "pot": map_of(RIGHT)}
    shelf = Shelf(LEFT, RIGHT)
    suggest(maps, shelf, "cup", "pot", mode="fast")
    ((coarse, mode),) = shelf.asked
    assert mode == "fast"
    assert coarse is not None
    assert np.array_equal(coarse, np.maximum(maps["cup"], maps["pot"]))


def test_a_point_prompt_is_the_centre_of_the_map_and_a_whole_photo_may_answer_it() -> None:
    shelf = Shelf(np.ones((HEIGHT, WIDTH), dtype=bool))
    (one,) = suggest({"cup": map_of(LEFT)}, shelf, "cup", prompts="point").instances
    (prompt,) = shelf.prompts
    assert (prompt.points, prompt.labels) == (((20.0, 30.0),), (1,))
    assert mask_of(one).all()


def test_a_box_prompt_is_the_box_of_the_map() -> None:
    shelf = Shelf(LEFT)
    suggestion = suggest({"cup": map_of(LEFT)}, shelf, "cup", prompts="box")
    assert shelf.prompts[0].box == (8.0, 12.0, 32.0, 48.0)
    assert suggestion.evidence.prompts == ()


def test_the_evidence_is_the_map_the_prompts_and_the_candidates_best_first() -> None:
    evidence = suggest({"cup": map_of(LEFT)}, Shelf(RIGHT, LEFT), "cup", prompts="point").evidence
    assert evidence.coarse is not None
    assert np.array_equal(evidence.coarse, map_of(LEFT))
    assert evidence.prompts == ((20.0, 30.0),)
    assert [one.score for one in evidence.candidates] == [1.0, 0.0]
    assert np.array_equal(rle_to_mask(evidence.candidates[0].rle), LEFT)


def test_the_evidence_keeps_a_bounded_number_of_candidates() -> None:
    many = [make_mask((x, y, x + 9, y + 9), height=60, width=80) for x in range(40) for y in (0, 9)]
    evidence = suggest({"cup": map_of(LEFT)}, Shelf(*many), "cup").evidence
    assert len(evidence.candidates) == KEPT


def test_at_the_papers_size_masks_and_prompts_come_back_to_the_photos_pixels() -> None:
    left = make_mask((22, 45, 90, 179), height=224, width=224)
    shelf = Shelf(left)
    suggestion = suggest({"cup": map_of(LEFT)}, shelf, "cup", paper_size=True, prompts="point")
    assert shelf.photo_shapes == [(224, 224, 3)]
    (one,) = suggestion.instances
    assert mask_of(one).shape == (HEIGHT, WIDTH)
    assert iou(mask_of(one), LEFT) > 0.95
    ((x, y),) = suggestion.evidence.prompts
    assert (x, y) == pytest.approx((20.0, 30.0))


@pytest.mark.parametrize("prompts", ["grid", "point", "box"])
@pytest.mark.parametrize("image", odd_photos())
def test_odd_photos_get_a_proposal_without_any_weights(image: Image, prompts: str) -> None:
    options = {"localizer": "saliency", "segmenter": "classical", "prompts": prompts}
    found = build("pro2sam", options).suggest(image, tags=["cat"]).instances
    assert [one.category for one in found] == ["cat"]
    assert mask_of(found[0]).shape == image.shape[:2]
    assert found[0].box == mask_to_box(mask_of(found[0]))


def test_without_weights_it_finds_a_thing_on_a_textured_ground() -> None:
    image, thing = on_texture(seed=0, height=60, width=80)
    options = {"localizer": "saliency", "segmenter": "classical"}
    (one,) = build("pro2sam", options).suggest(image, tags=["pot"]).instances
    assert iou(mask_of(one), thing) > 0.7


def test_a_localizer_must_be_named() -> None:
    with pytest.raises(OptionError, match="train one from the tags"):
        build("pro2sam", {})


def test_a_localizer_that_is_not_there_is_named() -> None:
    with pytest.raises(WeightsError, match="gone"):
        build("pro2sam", {"localizer": "gone.safetensors"})


def test_specks_are_left_out_of_box_and_mask_as_the_union_box_does() -> None:
    speck = make_mask((76, 56, 78, 58), height=HEIGHT, width=WIDTH)
    maps: dict[str | None, CoarseMap] = {"cup": map_of(LEFT)}
    (found,) = suggest(maps, Shelf(LEFT | speck), "cup").instances
    assert found.box == matching.union_box(LEFT | speck) == mask_to_box(LEFT)
    assert np.array_equal(mask_of(found), LEFT)
    (kept,) = suggest(maps, Shelf(LEFT | speck), "cup", min_area=1).instances
    assert np.array_equal(mask_of(kept), LEFT | speck)


def test_a_thing_of_a_few_pixels_is_no_speck_of_nothing() -> None:
    tiny = make_mask((40, 30, 42, 31), height=HEIGHT, width=WIDTH)
    maps: dict[str | None, CoarseMap] = {"cup": map_of(tiny)}
    (found,) = suggest(maps, Shelf(tiny), "cup", drop_full_frame=False).instances
    assert np.array_equal(mask_of(found), tiny)


def test_a_sum_of_two_scores_is_told_as_a_share_of_two() -> None:
    maps: dict[str | None, CoarseMap] = {"cup": map_of(LEFT)}
    half = LEFT.copy()
    half[:, :20] = False
    (by_sum,) = suggest(maps, Shelf(half), "cup", compared="both", combined="sum").instances
    (by_mean,) = suggest(maps, Shelf(half), "cup", compared="both", combined="mean").instances
    assert by_sum.score == by_mean.score
    assert 0.0 < (by_sum.score or 0.0) < 1.0
