"""Files as other programs write them, good and broken; each is written out here by hand."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from engine.errors import FormatError
from engine.geometry import rle_to_mask
from tests.builders import encoded
from tests.exports.labelled import PHOTOS, corners, only, put, read, selected, written

VOC = """<annotation><folder>x</folder><filename>{filename}</filename>{size}
<object><name> cat </name><pose>Left</pose><truncated>1</truncated><difficult>0</difficult>
<occluded>1</occluded><bndbox><ymin>3</ymin><xmin>2.5</xmin><xmax>12</xmax><ymax>9</ymax></bndbox>
<part><name>head</name><bndbox><xmin>1</xmin></bndbox></part></object>{more}</annotation>"""
SIZE = "<size><width>40</width><height>30</height><depth/></size>"


# -- VOC -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("filename", ["a.jpg", "s/a.jpg", "other.jpg", ""])
@pytest.mark.parametrize("size", [SIZE, ""])
def test_voc_keeps_what_our_types_have_no_field_for(
    tmp_path: Path, filename: str, size: str
) -> None:
    """The name of the file itself counts first; a missing size is that of the photo."""
    text = VOC.format(filename=filename, size=size, more="")
    folder = put(tmp_path / "v", {"Annotations/a.xml": text})
    instance = only(read(folder, "voc", PHOTOS))
    assert (instance.category, instance.box) == ("cat", (2.5, 3.0, 12.0, 9.0))
    assert instance.source.options["notes"] == {"pose": "Left", "truncated": True, "occluded": True}
    one_based = only(read(folder, "voc", PHOTOS, corners="inclusive"))
    assert one_based.box == (1.5, 2.0, 12.0, 9.0)


def test_voc_flags_are_written_again(tmp_path: Path) -> None:
    folder = put(tmp_path / "v", {"a.xml": VOC.format(filename="a.jpg", size=SIZE, more="")})
    (image,) = read(folder, "voc").images
    written(tmp_path / "again", "voc", selected(image))
    text = (tmp_path / "again" / "Annotations" / "a.xml").read_text()
    for line in ("<pose>Left", "<truncated>1", "<difficult>0", "<occluded>1"):
        assert line in text


@pytest.mark.parametrize(
    ("box", "reason"),
    [
        ("<xmin>5</xmin><ymin>5</ymin><xmax>5</xmax><ymax>9</ymax>", "no area inside"),
        ("<xmin>50</xmin><ymin>5</ymin><xmax>60</xmax><ymax>9</ymax>", "no area inside"),
        ("<xmin>nan</xmin><ymin>5</ymin><xmax>60</xmax><ymax>9</ymax>", "xmin should be a number"),
        ("<xmin>1</xmin><ymin>5</ymin><xmax>60</xmax>", "ymax should be a number"),
    ],
)
def test_a_voc_object_without_sense_is_left_out_with_a_note(
    tmp_path: Path, box: str, reason: str
) -> None:
    more = f"<object><name>dog</name><bndbox>{box}</bndbox></object>"
    folder = put(tmp_path / "v", {"a.xml": VOC.format(filename="a.jpg", size=SIZE, more=more)})
    reading = read(folder, "voc", PHOTOS)
    assert only(reading).category == "cat"
    (note,) = reading.notes
    assert note.startswith("a.xml: object 2 was left out")
    assert reason in note


def test_xml_that_unfolds_to_gigabytes_or_is_none_is_left_out(tmp_path: Path) -> None:
    bomb = '<!DOCTYPE x [<!ENTITY a "aaaa"><!ENTITY b "&a;&a;">]><annotation>&b;</annotation>'
    good = VOC.format(filename="a.jpg", size=SIZE, more="")
    folder = put(tmp_path / "v", {"a.xml": good, "b.xml": bomb, "c.xml": "<x", "d.xml": "<x/>"})
    reading = read(folder, "voc", PHOTOS)
    assert len(reading.images) == 1
    assert len(reading.notes) == 3
    assert "declares entities" in reading.notes[0]
    with pytest.raises(FormatError, match="no VOC XML file that can be read"):
        read(put(tmp_path / "w", {"b.xml": bomb}), "voc", PHOTOS)
    with pytest.raises(FormatError, match="holds no VOC XML file"):
        read(put(tmp_path / "x", {"b.txt": ""}), "voc", PHOTOS)


# -- YOLO ----------------------------------------------------------------------------------------

LINES = "0 0.5 0.5 0.5 0.2\n1 0.5 0.5 0.5 0.2 0.75\n"
BOX = (10.0, 12.0, 30.0, 18.0)


@pytest.mark.parametrize(
    ("files", "split"),
    [
        ({"data.yaml": "names: [cat, dog]", "labels/val/s/a.txt": LINES}, "val"),
        ({"data.yaml": "names: {1: dog, 0: cat}", "labels/a.txt": LINES}, ""),
        ({"data.yaml": "nc: 2\nnames:\n- cat\n- dog", "valid/labels/a.txt": LINES}, "val"),
        ({"obj.names": "cat\ndog\n", "obj.data": "", "obj_train_data/a.txt": LINES}, ""),
        ({"classes.txt": "\ufeffcat\r\ndog\r\n", "s/a.txt": LINES}, ""),
    ],
)
def test_yolo_is_read_however_its_folders_lie(
    tmp_path: Path, files: dict[str, str | bytes], split: str
) -> None:
    reading = read(put(tmp_path, files), "yolo", PHOTOS)
    (image,) = reading.images
    assert (image.file_name, image.split) == ("s/a.jpg", split)
    assert reading.classes == ("cat", "dog")
    assert corners(reading) == [BOX, BOX]
    assert [one.category for one in image.instances] == ["cat", "dog"]
    assert [one.score for one in image.instances] == [None, 0.75]


def test_yolo_polygons_are_told_from_boxes_by_their_numbers(tmp_path: Path) -> None:
    """A score may follow a polygon as well."""
    square = "0.25 0.1 0.75 0.1 0.75 0.5 0.25 0.5"
    files: dict[str, str | bytes] = {
        "data.yaml": "names: [cat]",
        "labels/a.txt": f"0 {square}\n0 {square} 0.5\n",
    }
    reading = read(put(tmp_path, files), "yolo-seg", PHOTOS)
    first, second = reading.images[0].instances
    assert first.rle is not None
    assert rle_to_mask(first.rle).sum() == 20 * 12
    assert first.box == second.box == (10.0, 3.0, 30.0, 15.0)
    assert (first.score, second.score) == (None, 0.5)


def test_yolo_lines_and_files_without_sense_are_left_out_with_a_note(tmp_path: Path) -> None:
    lines = ["0 0.5 0.5", "7 0.5 0.5 0.1 0.1", "x 0 0 1 1", "0 0.5 0.5 0 1", "0 5 5 1 1", ""]
    files: dict[str, str | bytes] = {
        "data.yaml": "names: [cat]",
        "labels/a.txt": "\n".join(lines),
        "labels/gone.txt": "0 0.5 0.5 0.1 0.1",
        "labels/b.txt": b"\xff\xfe",
    }
    reading = read(put(tmp_path, files), "yolo", PHOTOS)
    assert corners(reading) == []
    text = "\n".join(reading.notes)
    assert len(reading.notes) == 7
    for part in ("at least four", "'7' is none of the 1", "no such photo", "0 wide", "no area"):
        assert part in text


@pytest.mark.parametrize(
    ("files", "reason"),
    [
        ({"a.txt": "x"}, "neither data.yaml nor obj.names"),
        ({"data.yaml": "names: [cat]"}, "no label files"),
        ({"data.yaml": "names: {0: cat, 2: dog}", "labels/a.txt": ""}, "without gaps"),
        ({"data.yaml": "names: [cat, cat]", "labels/a.txt": ""}, "a class twice"),
        ({"data.yaml": "{", "labels/a.txt": ""}, "cannot be read"),
        ({"data.yaml": "!!python/object:os.system x", "labels/a.txt": ""}, "needs .names."),
    ],
)
def test_yolo_without_classes_or_labels_is_refused(
    tmp_path: Path, files: dict[str, str | bytes], reason: str
) -> None:
    with pytest.raises(FormatError, match=reason):
        read(put(tmp_path, files), "yolo", PHOTOS)
    with pytest.raises(FormatError, match="photos that are known"):
        read(tmp_path, "yolo")


# -- PNG -----------------------------------------------------------------------------------------


LABEL_MAP = "# label:color_rgb:parts:actions\nbackground:0,0,0::\ncat:10,20,30::\ndog:1,1,1::\n"


def pixels() -> np.ndarray:
    values = np.zeros((30, 40), dtype=np.uint8)
    values[2:6, 3:9] = 1
    values[2:6, 9:12] = 2
    values[0, :] = 255
    return values


def rgb() -> np.ndarray:
    table = np.zeros((256, 3), dtype=np.uint8)
    table[[1, 2, 255]] = [(10, 20, 30), (1, 1, 1), (224, 224, 192)]
    return table[pixels()]


@pytest.mark.parametrize("picture", [pixels(), rgb()])
def test_a_semantic_mask_alone_gives_one_object_a_class(
    tmp_path: Path, picture: np.ndarray
) -> None:
    """Gray values are lines of the label map, colours are its colours, the rest is void."""
    files: dict[str, str | bytes] = {
        "labelmap.txt": LABEL_MAP,
        "SegmentationClass/a.png": encoded(picture, "PNG"),
    }
    reading = read(put(tmp_path, files), "png", PHOTOS)
    assert reading.images[0].file_name == "s/a.jpg"
    assert [one.category for one in reading.images[0].instances] == ["cat", "dog"]
    assert corners(reading) == [(3.0, 2.0, 9.0, 6.0), (9.0, 2.0, 12.0, 6.0)]
    assert reading.notes == ("a: no SegmentationObject; each class is one object",)


def test_a_palette_counts_by_its_colours(tmp_path: Path) -> None:
    """Other programs number the colours as they like."""
    picture = Image.fromarray(np.where(pixels() == 1, 7, 0).astype(np.uint8)).convert("P")
    table = np.zeros((256, 3), dtype=np.uint8)
    table[7] = (10, 20, 30)
    picture.putpalette(table.tobytes())
    files: dict[str, str | bytes] = {
        "labelmap.txt": LABEL_MAP,
        "SegmentationClass/a.png": encoded(picture, "PNG"),
        "SegmentationObject/a.png": encoded(picture, "PNG"),
    }
    instance = only(read(put(tmp_path, files), "png", PHOTOS))
    assert (instance.category, instance.box) == ("cat", (3.0, 2.0, 9.0, 6.0))


def test_png_that_does_not_open_or_fit_is_left_out(tmp_path: Path) -> None:
    files: dict[str, str | bytes] = {
        "labelmap.txt": LABEL_MAP,
        "SegmentationClass/a.png": b"no picture",
        "SegmentationClass/b.png": encoded(pixels(), "PNG"),
        "SegmentationObject/b.png": encoded(pixels()[:9], "PNG"),
        "SegmentationClass/c.png": encoded(pixels() + 3, "PNG"),
    }
    reading = read(put(tmp_path, files), "png", PHOTOS)
    assert reading.images == ()
    assert [note.split(" was")[0] for note in reading.notes] == ["a", "b", "c"]
    (tmp_path / "labelmap.txt").unlink()
    with pytest.raises(FormatError, match="which class each value is"):
        read(tmp_path, "png", PHOTOS)
