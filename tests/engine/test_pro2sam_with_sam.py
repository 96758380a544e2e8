"""The pipeline Pro2SAM on SAM's own classes, small and seeded: exact, fast, and what it keeps."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path

import numpy as np
import pytest
from segment_anything import SamAutomaticMaskGenerator

from engine import matching
from engine.gallery import Gallery
from engine.geometry import mask_to_box, rle_to_mask
from engine.lookers import SaliencyLooker
from engine.pro2sam import Pro2samOptions, Pro2samPipeline
from engine.segmenters.cached import CachedPreparation, photo_key
from engine.segmenters.embeddings import EmbeddingStore
from engine.segmenters.sam import GridOptions, SamSegmenter
from engine.types import Image, Suggestion
from tests.engine.scenes import on_texture
from tests.engine.small_sam import lively_sam

# An untrained network is sure of nothing, and what it draws has specks in every corner.
GRID = GridOptions(6, 64, pred_iou_thresh=0.0, stability_score_thresh=0.0, box_nms_thresh=1.0)
ANY_MASK = {"drop_full_frame": False}


@pytest.fixture(scope="module")
def segmenter() -> SamSegmenter:
    return SamSegmenter(lively_sam(), name="sam_small", grid=GRID)


@pytest.fixture
def store(tmp_path: Path) -> EmbeddingStore:
    return EmbeddingStore(tmp_path / "embeddings", spare_bytes=0)


def photo(seed: int = 0) -> Image:
    return on_texture(seed=seed, height=60, width=90)[0]


def suggest(
    segmenter: SamSegmenter, image: Image, store: EmbeddingStore | None = None, **options: object
) -> Suggestion:
    settings = Pro2samOptions(**options)  # type: ignore[arg-type]
    pipeline = Pro2samPipeline(
        settings, looker=SaliencyLooker(), segmenter=segmenter, embeddings=store
    )
    return pipeline.suggest(image, tags=["pot"])


@pytest.mark.parametrize("seed", range(3))
def test_exact_and_the_papers_rule_are_the_published_generator_and_equation_11(
    segmenter: SamSegmenter, seed: int
) -> None:
    image = photo(seed)
    generator = SamAutomaticMaskGenerator(segmenter.network, **asdict(GRID))
    official = [entry["segmentation"] for entry in generator.generate(image)]
    assert len(official) > 3
    coarse = SaliencyLooker().maps(image, ["pot"])[0][1]
    cells = [matching.mask_cells(mask, len(coarse)) for mask in official]
    values = matching.scores(matching.coarse_to_cells(coarse), np.array(cells))
    winner = official[int(np.argmax(values))]
    for min_area in (1, 10):
        options = {**ANY_MASK, "min_area": min_area}
        (one,) = suggest(segmenter, image, mode="exact", rule="iou", **options).instances
        assert one.rle is not None
        # To the pixel, but for the specks that the paper's box leaves out as well.
        assert np.array_equal(rle_to_mask(one.rle), matching.without_specks(winner, min_area))
    assert one.box == mask_to_box(winner)
    assert one.score == pytest.approx(float(values.max()), abs=1e-4)


def test_the_fast_mode_says_which_points_it_asked_about(segmenter: SamSegmenter) -> None:
    suggestion = suggest(segmenter, photo(), mode="fast")
    assert 0 < len(suggestion.evidence.prompts) <= GRID.points_per_side**2
    assert all(0 <= x < 90 and 0 <= y < 60 for x, y in suggestion.evidence.prompts)
    assert suggestion.instances[0].source.options["mode"] == "fast"


def test_an_exact_run_leaves_embeddings_that_a_fast_one_uses(
    segmenter: SamSegmenter, store: EmbeddingStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    image = photo()
    first = suggest(segmenter, image, store, mode="exact")
    assert store.usage().files == 1
    again = suggest(segmenter, image, store, mode="exact")
    assert again.instances == first.instances
    seen = []
    gallery = segmenter.gallery

    def watched(image: Image, **given: object) -> Gallery:
        seen.append(given["prepared"])
        return gallery(image, **given)  # type: ignore[arg-type]

    monkeypatch.setattr(segmenter, "gallery", watched)
    suggest(segmenter, image, store, mode="fast")
    suggest(segmenter, photo(1), store, mode="fast")
    assert seen[0] is not None
    assert seen[1] is None
    assert store.usage().files == 1  # half-precision embeddings are not for others


def test_a_prepared_photo_gives_the_gallery_that_the_photo_gives(segmenter: SamSegmenter) -> None:
    image = photo(2)
    for mode in ("exact", "fast"):
        direct = segmenter.gallery(image, mode=mode)  # type: ignore[arg-type]
        prepared = segmenter.prepare(image)
        through = segmenter.gallery(image, mode=mode, prepared=prepared)  # type: ignore[arg-type]
        if mode == "exact":
            assert len(through) == len(direct)
            for index in range(len(direct)):
                assert np.array_equal(through.mask(index), direct.mask(index))
        else:
            assert len(through) > 0


@pytest.mark.parametrize("prompts", ["point", "box"])
def test_a_prompt_uses_and_leaves_embeddings_unless_it_must_be_exact(
    segmenter: SamSegmenter, store: EmbeddingStore, prompts: str
) -> None:
    image = photo()
    suggest(segmenter, image, store, prompts=prompts, mode="exact")
    assert store.usage().files == 0
    suggestion = suggest(segmenter, image, store, prompts=prompts, mode="fast")
    assert store.usage().files == 1
    preparation = CachedPreparation(segmenter, store)
    assert preparation.recall(photo_key(image)) is not None
    assert suggestion.instances


def test_every_rule_chooses_from_sams_masks(segmenter: SamSegmenter) -> None:
    image = photo()
    for options in (
        {"rule": "area"},
        {"rule": "iou", "grid_rule": "mean"},
        {"compared": "bbox"},
        {"compared": "both", "combined": "product"},
    ):
        (one,) = suggest(segmenter, image, **options, **ANY_MASK).instances
        assert one.source.options["from_map"] is False
