"""Preparing a photo through the disk: the same masks, no second encoding, no foreign hits."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from engine.segmenters.cached import CachedPreparation, codec_of, photo_key
from engine.segmenters.classical import ClassicalSegmenter
from engine.segmenters.embeddings import EmbeddingStore
from engine.segmenters.sam import PreparedPhoto, SamSegmenter
from engine.segmenters.sam_embeddings import SamCodec
from engine.types import Image, Prompts
from tests.engine.scenes import two_fruits
from tests.engine.small_sam import small_sam

IMAGE, LEFT, RIGHT = two_fruits()


class CountingSam(SamSegmenter):
    """Knows how often it had to encode."""

    def __init__(self, *, seed: int = 0) -> None:
        super().__init__(small_sam(seed), name="small")
        self.encoded = 0

    def prepare(self, image: Image) -> PreparedPhoto:
        self.encoded += 1
        return super().prepare(image)


def small_segmenter() -> SamSegmenter:
    return SamSegmenter(small_sam(), name="small")


@pytest.fixture
def store(tmp_path: Path) -> EmbeddingStore:
    return EmbeddingStore(tmp_path, spare_bytes=0)


def test_an_embedding_comes_back_in_half_precision(store: EmbeddingStore) -> None:
    segmenter = CountingSam()
    exact = segmenter.prepare(IMAGE)
    CachedPreparation(segmenter, store).prepare(IMAGE)
    again = CachedPreparation(segmenter, EmbeddingStore(store.folder)).prepare(IMAGE)
    assert segmenter.encoded == 2
    assert again.features.dtype == torch.float32
    assert torch.equal(again.features, exact.features.half().float())
    assert (again.original_hw, again.input_hw) == (exact.original_hw, exact.input_hw)


def test_the_masks_of_an_embedding_from_disk_differ_by_hardly_a_pixel(
    store: EmbeddingStore,
) -> None:
    segmenter = small_segmenter()
    exact, kept = segmenter.prepare(IMAGE), CachedPreparation(segmenter, store).prepare(IMAGE)
    agree = total = 0
    for y in range(20, IMAGE.shape[0], 40):
        for x in range(20, IMAGE.shape[1], 40):
            masks = []
            for prepared in (exact, kept):
                segmenter.set_prepared(prepared)
                found = segmenter.masks_for(Prompts(((float(x), float(y)),), (1,)))
                masks.append(np.stack([one.mask for one in found]))
            agree += int((masks[0] == masks[1]).sum())
            total += masks[0].size
    assert total > 1_000_000
    assert agree / total > 0.9995


def test_an_answer_does_not_depend_on_who_looked_before(store: EmbeddingStore) -> None:
    preparation = CachedPreparation(small_segmenter(), store)
    first, second = preparation.prepare(IMAGE), preparation.prepare(IMAGE)
    assert torch.equal(first.features, second.features)


def test_a_photo_is_encoded_once_for_all_who_want_it(store: EmbeddingStore) -> None:
    segmenter = CountingSam()
    preparation = CachedPreparation(segmenter, store)
    assert preparation.recall(photo_key(IMAGE)) is None
    preparation.prepare(IMAGE)
    assert preparation.recall(photo_key(IMAGE)) is not None
    preparation.prepare(IMAGE)
    CachedPreparation(segmenter, EmbeddingStore(store.folder)).prepare(IMAGE)
    assert segmenter.encoded == 1


def test_another_checkpoint_does_not_hit(store: EmbeddingStore) -> None:
    CachedPreparation(CountingSam(seed=0), store).prepare(IMAGE)
    other = CountingSam(seed=1)
    CachedPreparation(other, store).prepare(IMAGE)
    assert other.encoded == 1
    assert store.usage().files == 2


def test_one_changed_number_of_the_encoder_changes_the_fingerprint() -> None:
    segmenter = small_segmenter()
    before = SamCodec(segmenter).fingerprint()
    assert before == SamCodec(small_segmenter()).fingerprint()
    with torch.no_grad():
        list(segmenter.network.image_encoder.parameters())[-1].view(-1)[-1] += 1e-6
    assert SamCodec(segmenter).fingerprint() != before


def test_networks_that_share_the_encoder_share_embeddings() -> None:
    segmenter = small_segmenter()
    with torch.no_grad():
        for weights in segmenter.network.mask_decoder.parameters():
            weights.add_(1.0)
    assert SamCodec(segmenter).fingerprint() == SamCodec(small_segmenter()).fingerprint()


def test_the_key_is_that_of_the_pixels_and_of_their_arrangement() -> None:
    assert photo_key(IMAGE) == photo_key(IMAGE.copy())
    assert photo_key(IMAGE) == photo_key(np.asfortranarray(IMAGE))
    changed = IMAGE.copy()
    changed[-1, -1, -1] ^= 1
    turned = IMAGE.reshape(IMAGE.shape[1], IMAGE.shape[0], 3)
    assert len({photo_key(IMAGE), photo_key(changed), photo_key(turned)}) == 3


def test_an_embedding_too_large_for_half_precision_is_not_kept(store: EmbeddingStore) -> None:
    segmenter = small_segmenter()
    with torch.no_grad():
        segmenter.network.image_encoder.neck[-1].weight.mul_(1e6)
    preparation = CachedPreparation(segmenter, store)
    assert torch.isfinite(preparation.prepare(IMAGE).features).all()
    assert store.usage().files == 0


def test_arrays_of_another_shape_are_no_hit(
    store: EmbeddingStore, caplog: pytest.LogCaptureFixture
) -> None:
    segmenter = CountingSam()
    preparation = CachedPreparation(segmenter, store)
    for arrays in ({"features": np.zeros((1, 2), np.float16)}, {"other": np.zeros(1)}):
        store.put(photo_key(IMAGE), preparation.fingerprint, arrays)
        preparation.prepare(IMAGE)
    assert segmenter.encoded == 2
    assert "ignored" in caplog.text


def test_what_was_prepared_exactly_can_be_left_for_others(store: EmbeddingStore) -> None:
    segmenter = CountingSam()
    preparation = CachedPreparation(segmenter, store)
    preparation.leave(IMAGE, segmenter.prepare(IMAGE))
    assert preparation.recall(photo_key(IMAGE)) is not None
    assert segmenter.encoded == 1


def test_without_a_store_or_room_in_it_photos_are_prepared_exactly(store: EmbeddingStore) -> None:
    segmenter = CountingSam()
    store.set_limit(0)
    for nowhere in (None, store):
        preparation = CachedPreparation(segmenter, nowhere)
        assert not preparation.is_slow
        assert torch.equal(preparation.prepare(IMAGE).features, segmenter.prepare(IMAGE).features)
        assert preparation.recall(photo_key(IMAGE)) is None
        preparation.leave(IMAGE, segmenter.prepare(IMAGE))
    assert store.usage().files == 0


def test_a_full_disk_changes_no_answer(store: EmbeddingStore, tmp_path: Path) -> None:
    (tmp_path / "taken").write_text("a file")
    nowhere = EmbeddingStore(tmp_path / "taken" / "below", spare_bytes=0)
    segmenter = small_segmenter()
    kept = CachedPreparation(segmenter, store).prepare(IMAGE)
    assert torch.equal(CachedPreparation(segmenter, nowhere).prepare(IMAGE).features, kept.features)


def test_the_classical_segmenter_leaves_nothing_on_disk(store: EmbeddingStore) -> None:
    segmenter = ClassicalSegmenter()
    assert codec_of(segmenter) is None
    preparation = CachedPreparation(segmenter, store)
    segmenter.set_prepared(preparation.prepare(IMAGE))
    assert segmenter.masks_for(Prompts(((50.0, 75.0),), (1,)))
    assert not preparation.is_slow
    assert store.usage().files == 0
