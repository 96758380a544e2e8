"""Folders for an import by hand: written, read by us and by the SDK, and what a server exports."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest

from engine.errors import FormatError
from engine.types import PERSON, Instance, LabeledImage, Source, Status
from exports import label_studio_files
from exports.label_studio import BITMASK, BRUSH, POLYGON, RECTANGLE
from exports.label_studio_check import seen_in_label_studio
from exports.label_studio_config import fitted_config, label_config, labels_of
from exports.label_studio_files import (
    CONFIG,
    README,
    LabelStudioFileOptions,
    hold_label_studio,
    name_in_address,
    read_label_studio,
    write_label_studio,
)
from exports.photo_names import KnownPhotos
from exports.verify import compare
from tests.builders import make_image, make_instance, make_mask

CLASSES = ("cat", "собака 犬", 'a & b / "c" <d>')


def holed() -> Any:
    mask = make_mask((0, 0, 20, 20), (39, 29, 40, 30))
    mask[5:9, 5:9] = False
    return mask


def photos() -> list[LabeledImage]:
    machine = {"status": Status.PROPOSED, "source": Source("pro2sam", "sam_vit_b", 2), "score": 0.5}
    return [
        make_image(
            make_instance(holed(), id=1, category=CLASSES[1]),
            make_instance(make_mask((3, 3, 9, 8)), id=2, category=CLASSES[2], **machine),
            make_instance(id=3, status=Status.EDITED, edited=True, source=Source("classical")),
            id=1,
            tags=("cat", CLASSES[1]),
            split="val",
        ),
        make_image(id=2, file_name="été/写真 %20#1+&.png", width=7, height=9),
    ]


def written(folder: Path, **options: Any) -> Path:
    choices = LabelStudioFileOptions(**options)
    images = hold_label_studio(photos(), choices).images
    write_label_studio(folder / "out", images, CLASSES, choices)
    return folder / "out"


def bare(instance: Instance) -> tuple[Any, ...]:
    return (instance.id, instance.category, instance.status, instance.source, instance.rle)


@pytest.mark.parametrize("masks", ["brush", "bitmask", "polygon"])
def test_what_is_written_is_read_again(tmp_path: Path, masks: str) -> None:
    reading = read_label_studio(written(tmp_path, masks=masks))
    assert [one.file_name for one in reading.images] == ["a.jpg", "été/写真 %20#1+&.png"]
    assert reading.notes == ()
    image = reading.images[0]
    assert (image.tags, image.split) == (("cat", CLASSES[1]), "val")
    meant = photos()[0].instances
    found = sorted(image.instances, key=lambda one: one.id or 0)
    assert [bare(one) for one in found] == [bare(one) for one in meant]
    for one, other in zip(found, meant, strict=True):
        assert one.box == pytest.approx(other.box, abs=1e-9)
        assert (one.score, one.edited) == (other.score, other.edited)


@pytest.mark.parametrize("masks", ["brush", "bitmask", "polygon", "none"])
def test_the_sdk_reads_what_was_meant(tmp_path: Path, masks: str) -> None:
    folder = written(tmp_path, masks=masks)
    images = hold_label_studio(photos(), LabelStudioFileOptions(masks=masks)).images  # type: ignore[arg-type]
    report = compare(images, seen_in_label_studio(folder), reader="label-studio-sdk")
    assert report.problems == ()
    assert report.instances == 3
    assert report.mask_iou == 1.0


def test_the_sdk_complains_of_a_label_that_the_config_lacks(tmp_path: Path) -> None:
    folder = written(tmp_path)
    (folder / CONFIG).write_text(label_config(("cat",), (RECTANGLE, BRUSH)), encoding="utf-8")
    with pytest.raises(FormatError, match=r"photo 'a\.jpg'"):
        seen_in_label_studio(folder)


def test_many_tasks_are_split_over_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(label_studio_files, "LARGEST_FILE", 10)
    folder = written(tmp_path)
    names = sorted(path.name for path in folder.iterdir())
    assert names == [README, CONFIG, "tasks-001.json", "tasks-002.json"]
    assert len(read_label_studio(folder).images) == 2


def test_addresses_are_quoted_and_begin_as_chosen(tmp_path: Path) -> None:
    folder = written(tmp_path, photo_base="https://example.org/p/")
    tasks = json.loads((folder / "tasks-001.json").read_text(encoding="utf-8"))
    address = tasks[1]["data"]["image"]
    assert address.startswith("https://example.org/p/%C3%A9t%C3%A9/")
    assert address.endswith("%20%2520%231%2B%26.png")
    assert "https://example.org/p/" in (folder / README).read_text(encoding="utf-8")


def test_a_place_that_is_taken_is_left_alone(tmp_path: Path) -> None:
    folder = written(tmp_path)
    with pytest.raises(FormatError, match="is there already"):
        written(tmp_path)
    assert len(list(folder.iterdir())) == 3


def test_what_cannot_be_held_is_counted() -> None:
    image = make_image(
        make_instance(id=1, box=(-5.0, 0.0, 10.0, 10.0)),
        make_instance(id=2, box=(50.0, 0.0, 60.0, 10.0)),
        make_instance(id=3, status=Status.REJECTED),
        make_instance(holed(), id=4),
    )
    held = hold_label_studio([image], LabelStudioFileOptions(masks="none"))
    assert [one.id for one in held.images[0].instances] == [1, 4]
    assert held.images[0].instances[0].box == (0, 0, 10, 10)
    assert sorted((loss.what.split(" ")[0], loss.count) for loss in held.losses) == [
        ("boxes", 1),
        ("boxes", 1),
        ("masks", 1),
        ("rejected", 1),
    ]


# -- exports of a server -------------------------------------------------------------------------


def rectangle(key: str, label: str = "cat", **fields: Any) -> dict[str, Any]:
    value = {"x": 25, "y": 50, "width": 50, "height": 10, "rotation": 0, RECTANGLE: [label]}
    size = {"original_width": 40, "original_height": 30}
    return {"id": key, "type": RECTANGLE, "value": value, **size, **fields}


def read(folder: Path, *tasks: dict[str, Any], photos: KnownPhotos | None = None) -> Any:
    path = folder / "export.json"
    path.write_text(json.dumps(tasks), encoding="utf-8")
    return read_label_studio(path, photos)


def test_the_newest_annotation_that_was_not_skipped_counts(tmp_path: Path) -> None:
    annotations = [
        {"updated_at": "2026-01-02", "result": [rectangle("b")]},
        {"updated_at": "2026-01-01", "result": [rectangle("a"), rectangle("c")]},
        {"updated_at": "2026-01-03", "result": [], "was_cancelled": True},
    ]
    task = {"data": {"image": "/data/upload/1/0123abcd-x.jpg"}, "annotations": annotations}
    reading = read(tmp_path, task)
    (image,) = reading.images
    assert (image.file_name, image.width, image.height) == ("x.jpg", 40, 30)
    (one,) = image.instances
    assert (one.status, one.source, one.id) == (Status.ACCEPTED, Source("export.json"), None)


def test_a_proposal_that_a_person_took_away_stays_away(tmp_path: Path) -> None:
    task = {
        "data": {"image": "x.jpg"},
        "annotations": [{"result": [rectangle("1")], "parent_prediction": 5}],
        "predictions": [{"result": [rectangle("1"), rectangle("2")], "model_version": "m"}],
    }
    assert len(read(tmp_path, task).images[0].instances) == 1
    del task["annotations"]
    proposals = read(tmp_path, task).images[0].instances
    assert [(one.status, one.source.pipeline) for one in proposals] == [(Status.PROPOSED, "m")] * 2


def test_a_proposal_that_was_changed_there_is_edited(tmp_path: Path) -> None:
    meta = {"status": "proposed", "source": Source("classical").as_dict()}
    drawn = {"status": "drawn", "source": PERSON.as_dict()}
    result = [
        rectangle("1", meta={"tag2mask": {**meta, "id": 1}}, origin="prediction"),
        rectangle("2", meta={"tag2mask": {**meta, "id": 2}}, origin="prediction-changed"),
        rectangle("3", meta={"tag2mask": {**drawn, "id": 3}}, origin="prediction-changed"),
    ]
    task = {"data": {"image": "x.jpg"}, "annotations": [{"result": result}]}
    found = read(tmp_path, task).images[0].instances
    assert [one.status for one in found] == [Status.ACCEPTED, Status.EDITED, Status.DRAWN]
    assert [one.id for one in found] == [1, 2, 3]


def test_known_photos_give_name_and_size(tmp_path: Path) -> None:
    task = {"data": {"image": "/data/local-files/?d=deep/b%C3%A9.jpg"}}
    reading = read(tmp_path, task, photos=KnownPhotos({"bé.jpg": (5, 6)}))
    assert [(one.file_name, one.width, one.height) for one in reading.images] == [("bé.jpg", 5, 6)]


def test_tasks_without_sense_are_left_out_with_a_note(tmp_path: Path) -> None:
    good = {"data": {"image": "x.jpg"}, "annotations": [{"result": [rectangle("a"), 5]}]}
    reading = read(tmp_path, {"id": 9, "data": {"image": "y.jpg"}}, {"data": {}}, good)
    assert len(reading.images) == 1
    assert [note.split(":")[0] for note in reading.notes] == [
        "task 9 was left out",
        "task 2 was left out",
        "x.jpg",
    ]


@pytest.mark.parametrize("content", ["", "{}", "[1]", '[{"id": 1}]', "[]", '[{"data": {}}]'])
def test_what_is_no_export_is_refused(tmp_path: Path, content: str) -> None:
    path = tmp_path / "x.json"
    path.write_text(content, encoding="utf-8")
    with pytest.raises(FormatError, match=r"x\.json"):
        read_label_studio(path)


@pytest.mark.parametrize(
    ("address", "name"),
    [
        ("/data/upload/3/0a1b2c3d-my%20cat.jpg", "my cat.jpg"),
        ("https://example.org/a/b%20c.png?x=1", "b c.png"),
        ("/data/local-files/?d=a/b%2520c.png", "a/b%20c.png"),
        ("s3://bucket/folder/x.webp", "x.webp"),
    ],
)
def test_names_are_found_in_addresses(address: str, name: str) -> None:
    assert name_in_address({"label": "no address", "image": address}) == name


# -- the label config ----------------------------------------------------------------------------


def test_a_config_holds_every_label_of_every_control() -> None:
    xml = label_config(CLASSES, (RECTANGLE, BRUSH, POLYGON, BITMASK), colours={"cat": "#ff0000"})
    assert labels_of(xml) == CLASSES
    root = ElementTree.fromstring(xml)
    assert [element.tag for element in root] == [
        "Image",
        "RectangleLabels",
        "BrushLabels",
        "PolygonLabels",
        "BitmaskLabels",
    ]
    assert root[1][0].attrib == {"value": "cat", "background": "#ff0000"}
    assert root[0].get("smoothing") == "false"


def test_a_config_that_has_everything_stays_as_it_is() -> None:
    xml = "<View ><Image name='i' value='$photo'/><BrushLabels name='m' toName='i'>"
    xml += "<Label value='cat'/></BrushLabels></View>"
    fitted = fitted_config(xml, ("cat",), (BRUSH,))
    assert (fitted.xml, fitted.added) == (xml, ())
    assert (fitted.controls.image, fitted.controls.value) == ("i", "photo")
    assert fitted.controls.of(BRUSH) == "m"


def test_labels_and_controls_are_added_and_nothing_is_taken_away() -> None:
    xml = "<View><Image name='i' value='$p'/><BrushLabels name='box' toName='i'>"
    xml += "<Label value='old'/></BrushLabels></View>"
    fitted = fitted_config(xml, ("cat",), (RECTANGLE, BRUSH))
    assert set(labels_of(fitted.xml)) == {"old", "cat"}
    assert fitted.controls.of(RECTANGLE) == "box2"
    assert fitted.added == (
        "control RectangleLabels",
        "label 'cat' of RectangleLabels",
        "label 'cat' of BrushLabels",
    )
    assert fitted_config(fitted.xml, ("cat",), (RECTANGLE, BRUSH)).added == ()


def test_comments_and_instructions_in_a_config_stay() -> None:
    xml = (
        "<?xml version='1.0'?><!-- before --><View><!-- house rules --><Image name='i' value='$p'/>"
    )
    xml += "<?keep this?><BrushLabels name='m' toName='i'><!-- sorted --><Label value='old'/>"
    xml += "</BrushLabels><Style><![CDATA[.a > b {color: red}]]></Style></View><!-- behind -->"
    fitted = fitted_config(xml, ("cat",), (BRUSH,))
    assert fitted.added == ("label 'cat' of BrushLabels",)
    places = [
        fitted.xml.index(text)
        for text in (
            "<!-- before -->",
            "<View>",
            "<!-- house rules -->",
            "<?keep this?>",
            "<!-- sorted -->",
            ".a &gt; b {color: red}",
            "</View>",
            "<!-- behind -->",
        )
    ]
    assert places == sorted(places)
    assert labels_of(fitted.xml) == ("old", "cat")
    assert fitted_config(fitted.xml, ("cat",), (BRUSH,)).added == ()


@pytest.mark.parametrize(
    ("xml", "reason"),
    [
        ("<View>", "no XML"),
        ("<View/>", "shows no image"),
        ("<View><Image name='i' value='$a.b'/></View>", "plain key"),
        ("<!DOCTYPE x [<!ENTITY a 'b'>]><View/>", "entities"),
        ("<?xml version='1.0' encoding='UTF-16'?><!DOCTYPE x []><View/>", "document type"),
    ],
)
def test_a_config_that_cannot_be_filled_is_refused(xml: str, reason: str) -> None:
    with pytest.raises(FormatError, match=reason):
        fitted_config(xml, ("cat",), (BRUSH,))


def test_a_class_name_that_xml_cannot_hold_is_refused() -> None:
    with pytest.raises(FormatError, match="rename the class"):
        label_config(("a\x00b",), (BRUSH,))
