from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from engine.errors import OptionError
from engine.types import LabeledImage, Status
from exports.choices import Choices, select
from tests.builders import make_image, make_instance

TABLE = [(1, "cat"), (4, "dog"), (9, "été")]


def photo() -> LabeledImage:
    return make_image(
        make_instance(id=1, status=Status.DRAWN),
        make_instance(id=2, score=0.4),
        make_instance(id=3, category="été", status=Status.PROPOSED, score=0.9),
        make_instance(id=4, category=None),
        make_instance(id=5, status=Status.REJECTED),
    )


def ids(**choices: Any) -> list[int | None]:
    selection = select([photo()], TABLE, Choices(**choices))
    return [one.id for image in selection.images for one in image.instances]


def test_curated_instances_with_a_class_are_chosen_unless_told_otherwise() -> None:
    assert ids() == [1, 2]
    assert select([photo()], TABLE, Choices()).unclassed == 1
    assert ids(statuses=frozenset({Status.PROPOSED, Status.REJECTED})) == [3, 5]


def test_a_class_leaves_the_others_out_and_is_counted() -> None:
    selection = select([photo()], TABLE, Choices(classes=("dog", "e\u0301te\u0301")))
    assert selection.categories == ((4, "dog"), (9, "été"))
    assert selection.classes == ("dog", "été")
    assert selection.instances == 0
    (loss,) = selection.left_out
    assert str(loss) == "2 objects of other classes are not chosen: a.jpg (object 1), " + (
        "a.jpg (object 2)"
    )


def test_what_has_no_score_passes_every_threshold() -> None:
    assert ids(min_score=0.5) == [1]
    assert ids(min_score=0.4) == [1, 2]


def test_photos_are_dealt_by_name_so_that_more_photos_move_none() -> None:
    def dealt(count: int, **choices: Any) -> dict[str, str]:
        images = [make_image(id=n + 1, file_name=f"{n}.jpg") for n in range(count)]
        chosen = select(images, TABLE, Choices(**choices)).images
        return {image.file_name: image.split for image in chosen}

    few, many = dealt(50, val_share=0.3), dealt(1000, val_share=0.3)
    assert all(many[name] == split for name, split in few.items())
    assert 250 < list(many.values()).count("val") < 350
    assert dealt(1000, val_share=0.3, seed=1) != many
    assert set(dealt(50, val_share=0.0).values()) == {"train"}
    assert set(dealt(50, val_share=1.0).values()) == {"val"}
    assert set(dealt(50).values()) == {""}
    # More for val takes from train only.
    more = dealt(1000, val_share=0.5)
    assert all(more[name] == "val" for name, split in many.items() if split == "val")


def test_a_split_that_a_photo_has_stays_and_chooses_it() -> None:
    images = [replace(photo(), id=1, split="test"), replace(photo(), id=2, file_name="b.jpg")]
    dealt = select(images, TABLE, Choices(val_share=1.0)).images
    assert [image.split for image in dealt] == ["test", "val"]
    chosen = select(images, TABLE, Choices(splits=("test",))).images
    assert [image.id for image in chosen] == [1]


@pytest.mark.parametrize(
    ("choices", "text"),
    [
        ({"classes": ("cow",)}, "class 'cow' is not in the project; its classes are cat, dog, été"),
        ({"splits": ("val",)}, "no photo is in the split 'val'"),
        ({"min_score": 2.0}, r"lowest score must lie in \[0, 1\], got 2.0"),
        ({"val_share": -0.1}, r"share of val must lie in \[0, 1\], got -0.1"),
    ],
)
def test_a_choice_that_makes_no_sense_is_told(choices: dict[str, Any], text: str) -> None:
    with pytest.raises(OptionError, match=text):
        select([photo()], TABLE, Choices(**choices))
