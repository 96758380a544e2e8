"""SAM behind the segmenter interface, on the real classes in a small size with seeded weights."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path

import numpy as np
import pytest
import torch
from segment_anything import SamAutomaticMaskGenerator, SamPredictor, sam_model_registry
from segment_anything.modeling import Sam

from engine.errors import OptionError, WeightsError
from engine.segmenters import SEGMENTERS, available, best_here, build
from engine.segmenters.sam import MASK_LOGIT, GridOptions, SamSegmenter, load_sam
from engine.types import Prompts
from tests.engine.scenes import two_fruits
from tests.engine.small_sam import small_sam

IMAGE, LEFT, RIGHT = two_fruits()


@pytest.fixture(scope="module")
def network() -> Sam:
    return small_sam()


@pytest.fixture
def segmenter(network: Sam) -> SamSegmenter:
    made = SamSegmenter(network, name="small")
    made.set_image(IMAGE)
    return made


@pytest.fixture
def predictor(network: Sam) -> SamPredictor:
    made = SamPredictor(network)
    made.set_image(IMAGE)
    return made


@pytest.fixture
def small_registered(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setitem(sam_model_registry, "small", small_sam)
    return


def test_a_single_click_gives_the_predictors_three_masks_best_first(
    segmenter: SamSegmenter, predictor: SamPredictor
) -> None:
    masks, scores, _ = predictor.predict(np.array([[50.0, 75.0]]), np.array([1]))
    candidates = segmenter.masks_for(Prompts(((50.0, 75.0),), (1,)))
    order = [index for index in np.argsort(-scores, kind="stable") if masks[index].any()]
    assert len(order) > 1
    assert len(candidates) == len(order)
    for candidate, index in zip(candidates, order, strict=True):
        assert np.array_equal(candidate.mask, masks[index])
        assert candidate.score == pytest.approx(min(max(scores[index], 0.0), 1.0))


def test_clicks_and_box_give_the_predictors_single_mask(
    segmenter: SamSegmenter, predictor: SamPredictor
) -> None:
    points, box = ((50.0, 75.0), (100.0, 10.0)), (10.0, 20.0, 90.0, 130.0)
    masks, _, _ = predictor.predict(
        np.array(points), np.array([1, 0]), np.array(box), multimask_output=False
    )
    (candidate,) = segmenter.masks_for(Prompts(points, (1, 0), box=box))
    assert candidate.mask.dtype == np.bool_
    assert np.array_equal(candidate.mask, masks[0])
    masks, _, _ = predictor.predict(box=np.array(box), multimask_output=False)
    (candidate,) = segmenter.masks_for(Prompts(box=box))
    assert np.array_equal(candidate.mask, masks[0])


def test_an_answer_goes_back_in_as_the_logits_it_came_from(
    segmenter: SamSegmenter, predictor: SamPredictor
) -> None:
    _, scores, logits = predictor.predict(np.array([[50.0, 75.0]]), np.array([1]))
    best = int(np.argmax(scores))
    expected, _, _ = predictor.predict(
        np.array([[50.0, 75.0], [60.0, 20.0]]),
        np.array([1, 0]),
        mask_input=logits[best][None],
        multimask_output=False,
    )
    first = segmenter.masks_for(Prompts(((50.0, 75.0),), (1,)))[0]
    prompts = Prompts(((50.0, 75.0), (60.0, 20.0)), (1, 0), mask=first.mask)
    (second,) = segmenter.masks_for(prompts)
    assert np.array_equal(second.mask, expected[0])


def test_a_drawn_mask_goes_in_as_sure_logits_in_the_corner_of_the_square(
    segmenter: SamSegmenter, predictor: SamPredictor
) -> None:
    # The photo of 200×150 fills 256×192 of the square, and 64×48 of the mask prompt.
    logits = segmenter._logits_of(LEFT)
    assert logits.shape == (1, 64, 64)
    assert (logits[0, 48:] == -MASK_LOGIT).all()
    assert logits[0, 24, 16] == MASK_LOGIT  # the middle of the fruit
    assert logits[0, 24, 40] == -MASK_LOGIT
    share = (logits[0, :48] / MASK_LOGIT + 1.0) / 2.0
    assert share.mean() == pytest.approx(LEFT.mean(), abs=1e-3)
    masks, _, _ = predictor.predict(mask_input=logits, multimask_output=False)
    answer = segmenter.masks_for(Prompts(mask=LEFT))
    assert [candidate.mask.tolist() for candidate in answer] == [
        mask.tolist() for mask in masks if mask.any()
    ]


def test_photos_do_not_mix(segmenter: SamSegmenter) -> None:
    prompts = Prompts(((50.0, 75.0),), (1,))
    first = segmenter.masks_for(prompts)
    kept = segmenter.prepare(IMAGE)
    other = np.ascontiguousarray(IMAGE[::-1, 30:])
    prepared = segmenter.prepare(other)  # must leave the current photo alone
    assert np.array_equal(segmenter.masks_for(prompts)[0].mask, first[0].mask)
    segmenter.set_prepared(prepared)
    assert segmenter.masks_for(prompts)[0].mask.shape == (150, 170)
    segmenter.set_image(IMAGE)
    assert np.array_equal(segmenter.masks_for(prompts)[0].mask, first[0].mask)
    segmenter.set_image(other)
    segmenter.set_prepared(kept)
    assert np.array_equal(segmenter.masks_for(prompts)[0].mask, first[0].mask)


def test_prompts_before_a_photo_and_masks_of_another_size_are_programming_errors(
    network: Sam, segmenter: SamSegmenter
) -> None:
    with pytest.raises(RuntimeError, match="set_image"):
        SamSegmenter(network, name="small").masks_for(Prompts(((1.0, 1.0),), (1,)))
    with pytest.raises(ValueError, match=r"\(3, 4\)"):
        segmenter.masks_for(Prompts(mask=np.ones((3, 4), dtype=bool)))


def test_a_gallery_is_what_the_published_generator_finds(network: Sam) -> None:
    # Untrained masks are alike: only without suppression do several stay.
    grid = GridOptions(
        points_per_side=4, pred_iou_thresh=-9.0, stability_score_thresh=0.0, box_nms_thresh=1.0
    )
    expected = SamAutomaticMaskGenerator(network, **asdict(grid)).generate(IMAGE)
    gallery = SamSegmenter(network, name="small", grid=grid).gallery(IMAGE)
    assert len(gallery) > 1
    found = {gallery.mask(index).tobytes() for index in range(len(gallery))}
    assert found == {entry["segmentation"].tobytes() for entry in expected if entry["area"]}


def test_a_gallery_may_be_empty(network: Sam) -> None:
    grid = GridOptions(points_per_side=2, pred_iou_thresh=9.0)
    assert len(SamSegmenter(network, name="small", grid=grid).gallery(IMAGE)) == 0


@pytest.mark.usefixtures("small_registered")
def test_a_checkpoint_saved_and_loaded_answers_the_same(
    tmp_path: Path, segmenter: SamSegmenter
) -> None:
    path = tmp_path / "small.pth"
    torch.save(segmenter.network.state_dict(), path)
    loaded = load_sam(path, arch="small", name="again")
    assert loaded.name == "again"
    assert not loaded.network.training
    loaded.set_image(IMAGE)
    prompts = Prompts(((50.0, 75.0),), (1,))
    for one, two in zip(loaded.masks_for(prompts), segmenter.masks_for(prompts), strict=True):
        assert np.array_equal(one.mask, two.mask)
        assert one.score == two.score


@pytest.mark.usefixtures("small_registered")
def test_a_checkpoint_of_another_network_is_refused_with_its_keys(
    tmp_path: Path, network: Sam
) -> None:
    state = dict(network.state_dict())
    del state["mask_decoder.iou_token.weight"]
    state["head.weight"] = torch.zeros(2)
    state["image_encoder.pos_embed"] = torch.zeros(1, 2, 2, 48)
    torch.save(state, tmp_path / "other.pth")
    with pytest.raises(WeightsError) as caught:
        load_sam(tmp_path / "other.pth", arch="small", name="small")
    text = str(caught.value)
    assert "missing 1: mask_decoder.iou_token.weight" in text
    assert "unexpected 1: head.weight" in text
    assert "of another shape 1: image_encoder.pos_embed" in text


@pytest.mark.usefixtures("small_registered")
@pytest.mark.parametrize("content", [b"", b"not a checkpoint", b"PK\x03\x04 cut off", b"\x80\x02."])
def test_a_broken_file_is_refused(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "broken.pth").write_bytes(content)
    with pytest.raises(WeightsError, match=r"broken\.pth cannot be read"):
        load_sam(tmp_path / "broken.pth", arch="small", name="small")


@pytest.mark.usefixtures("small_registered")
def test_a_checkpoint_cut_off_is_refused(tmp_path: Path, network: Sam) -> None:
    path = tmp_path / "cut.pth"
    torch.save(network.state_dict(), path)
    path.write_bytes(path.read_bytes()[:100_000])
    with pytest.raises(WeightsError, match=r"cut\.pth cannot be read"):
        load_sam(path, arch="small", name="small")


@pytest.mark.usefixtures("small_registered")
def test_a_file_that_would_run_code_is_refused(tmp_path: Path) -> None:
    torch.save({"weights": Path("surprise")}, tmp_path / "code.pth")
    with pytest.raises(WeightsError, match="more than weights"):
        load_sam(tmp_path / "code.pth", arch="small", name="small")


@pytest.mark.usefixtures("small_registered")
def test_a_file_that_holds_no_table_is_refused(tmp_path: Path) -> None:
    torch.save([torch.zeros(1)], tmp_path / "list.pth")
    with pytest.raises(WeightsError, match="holds a list"):
        load_sam(tmp_path / "list.pth", arch="small", name="small")


def test_a_missing_checkpoint_and_an_unknown_size_are_told(tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match="There is no checkpoint"):
        build("sam_vit_b", checkpoint=tmp_path / "none.pth")
    with pytest.raises(WeightsError, match=r"sam_vit_b_01ec64\.pth"):
        build("sam_vit_b")
    with pytest.raises(OptionError, match="vit_x"):
        load_sam(tmp_path / "none.pth", arch="vit_x", name="x")


def test_the_best_segmenter_is_the_largest_whose_weights_are_here(tmp_path: Path) -> None:
    assert available(tmp_path) == ["classical"]
    assert best_here(tmp_path) == "classical"
    with (tmp_path / "sam_vit_b_01ec64.pth").open("wb") as file:
        file.truncate(375_042_383)  # sparse: full size, no bytes
    assert best_here(tmp_path) == "sam_vit_b"
    (tmp_path / "sam_vit_h_4b8939.pth").write_bytes(b"half")
    assert available(tmp_path) == ["classical", "sam_vit_b"]


def test_an_unknown_segmenter_is_answered_with_the_known_ones() -> None:
    with pytest.raises(OptionError, match=r"'sam2'; there are classical, sam_vit_b"):
        build("sam2")
    assert build("classical").name == "classical"
    assert set(SEGMENTERS) >= {"classical", "sam_vit_b", "sam_vit_l", "sam_vit_h"}
