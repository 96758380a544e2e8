from __future__ import annotations

import hashlib
import os
import struct
import threading
import warnings
import zlib
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image, ImageCms, ImageFile

from engine.errors import PhotoError
from engine.photos import PIXEL_LIMIT, inspect, load
from tests.builders import encoded, saved

ODD_FILES = Path(__file__).parents[3] / "shared" / "data" / "odd_files"

needs_odd_files = pytest.mark.skipif(
    not ODD_FILES.is_dir(), reason="the set odd_files is not beside the checkout"
)

# 6 x 4 pixels with a different corner each, so that every turn shows; blocks of 8 survive JPEG.
CORNERS = np.zeros((4, 6, 3), dtype=np.uint8)
CORNERS[0, 0], CORNERS[0, -1], CORNERS[-1, 0] = (250, 0, 0), (0, 250, 0), (0, 0, 250)
BLOCKS = np.kron(CORNERS, np.ones((8, 8, 1), dtype=np.uint8))

# How a camera stores an upright picture so that this orientation shows it upright again.
STORED_AS: dict[int, Callable[[np.ndarray], np.ndarray]] = {
    1: lambda a: a,
    2: lambda a: a[:, ::-1],
    3: lambda a: a[::-1, ::-1],
    4: lambda a: a[::-1],
    5: lambda a: a.transpose(1, 0, 2),
    6: lambda a: np.rot90(a, 1),
    7: lambda a: a[::-1, ::-1].transpose(1, 0, 2),
    8: lambda a: np.rot90(a, -1),
}


def exif(orientation: int) -> Image.Exif:
    made = Image.Exif()
    made[0x0112] = orientation
    return made


def png_of_size(width: int, height: int) -> bytes:
    """A header and no pixels."""

    def chunk(name: bytes, body: bytes) -> bytes:
        return (
            struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))
        )

    header = struct.pack(">IIBBBBB", width, height, 1, 0, 0, 0, 0)
    data = zlib.compress(bytes(1000))
    parts = [chunk(b"IHDR", header), chunk(b"IDAT", data), chunk(b"IEND", b"")]
    return b"\x89PNG\r\n\x1a\n" + b"".join(parts)


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "TIFF"])
def test_a_photo_is_turned_upright_once(tmp_path: Path, kind: str, orientation: int) -> None:
    stored = np.ascontiguousarray(STORED_AS[orientation](BLOCKS))
    options = {"lossless": True} if kind == "WEBP" else {"subsampling": 0, "quality": 95}
    path = saved(tmp_path, encoded(stored, kind, exif=exif(orientation), **options))
    facts, shown = inspect(path), load(path)
    assert (facts.width, facts.height, facts.orientation) == (48, 32, orientation)
    assert facts.format == kind
    np.testing.assert_allclose(shown.astype(int), BLOCKS, atol=12)


def test_what_is_loaded_is_plain_writable_rgb(tmp_path: Path) -> None:
    shown = load(saved(tmp_path, encoded(CORNERS, "PNG")))
    assert shown.dtype == np.uint8
    assert shown.flags.c_contiguous
    assert shown.flags.writeable
    np.testing.assert_array_equal(shown, CORNERS)


def test_an_orientation_out_of_range_is_ignored_with_a_note(tmp_path: Path) -> None:
    path = saved(tmp_path, encoded(CORNERS, "PNG", exif=exif(9)))
    facts = inspect(path)
    assert facts.orientation == 1
    assert "orientation 9" in facts.notes[0]
    np.testing.assert_array_equal(load(path), CORNERS)


def test_broken_exif_is_ignored_with_a_note(tmp_path: Path) -> None:
    path = saved(tmp_path, encoded(CORNERS, "WEBP", lossless=True, exif=b"XX*\0 no TIFF header"))
    facts = inspect(path)
    assert facts.orientation == 1
    assert "EXIF data is broken" in facts.notes[0]
    np.testing.assert_array_equal(load(path), CORNERS)


def test_the_hash_is_that_of_the_bytes(tmp_path: Path) -> None:
    content = encoded(CORNERS, "PNG")
    assert inspect(saved(tmp_path, content)).sha256 == hashlib.sha256(content).hexdigest()


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "BMP", "GIF", "PPM", "AVIF", "JPEG2000", "MPO"])
@pytest.mark.parametrize("name", ["no_extension", "wrong.tif"])
def test_content_decides_and_not_the_name(tmp_path: Path, kind: str, name: str) -> None:
    facts = inspect(saved(tmp_path, encoded(BLOCKS, kind), name))
    assert (facts.width, facts.height) == (48, 32)
    assert facts.format == {"MPO": "JPEG"}.get(kind, kind)  # an MPO of one picture is a JPEG


def test_every_grey_level_of_16_bits_is_divided_by_257(tmp_path: Path) -> None:
    levels = np.arange(256, dtype=np.uint16).reshape(16, 16)
    path = saved(tmp_path, encoded(levels * 257, "PNG"))
    np.testing.assert_array_equal(load(path)[..., 0], levels)
    assert inspect(path).notes == ("more than 8 bits a pixel; scaled to 8",)


@pytest.mark.parametrize(("highest", "bits"), [(4095, 12), (2049, 12), (1023, 10), (255, 8)])
def test_fewer_bits_in_a_16_bit_file_are_scaled_from_their_own_range(
    tmp_path: Path, highest: int, bits: int
) -> None:
    values = np.array([[0, highest // 2, highest]], dtype=np.uint16)
    for kind in ("PNG", "TIFF"):
        shown = load(saved(tmp_path, encoded(values, kind)))
        np.testing.assert_array_equal(shown[..., 0], np.rint(values * 255.0 / (2**bits - 1)))


def test_numbers_that_fit_no_sensor_are_stretched(tmp_path: Path) -> None:
    values = np.array([[-100, 0, 100]], dtype=np.int32)
    assert load(saved(tmp_path, encoded(values, "TIFF")))[0, :, 0].tolist() == [0, 128, 255]


def test_floats_are_scaled_over_the_finite_ones(tmp_path: Path) -> None:
    values = np.array([[-2.0, 0.0, 2.0, np.nan, np.inf, -np.inf]], dtype=np.float32)
    shown = load(saved(tmp_path, encoded(values, "TIFF")))
    assert shown[0, :, 0].tolist() == [0, 128, 255, 0, 255, 0]


def test_floats_between_zero_and_one_keep_their_scale(tmp_path: Path) -> None:
    values = np.array([[0.2, 0.4]], dtype=np.float32)
    assert load(saved(tmp_path, encoded(values, "TIFF")))[0, :, 0].tolist() == [51, 102]


@pytest.mark.parametrize("value", [np.nan, np.inf, 7.0])
def test_constant_floats_do_not_divide_by_zero(tmp_path: Path, value: float) -> None:
    shown = load(saved(tmp_path, encoded(np.full((2, 3), value, dtype=np.float32), "TIFF")))
    assert len(np.unique(shown)) == 1


def test_transparent_parts_show_white(tmp_path: Path) -> None:
    pixels = np.zeros((1, 3, 4), dtype=np.uint8)
    pixels[0, :, 3] = (0, 51, 255)  # a fifth of 51/255 black over white is 204
    for kind, options in (("PNG", {}), ("WEBP", {"lossless": True, "exact": True}), ("TIFF", {})):
        shown = load(saved(tmp_path, encoded(pixels, kind, **options)))
        assert shown[0, :, 0].tolist() == [255, 204, 0]


@pytest.mark.parametrize("mode", ["P", "RGB", "L", "1"])
def test_a_transparent_colour_shows_white(tmp_path: Path, mode: str) -> None:
    black_and_grey = Image.fromarray(np.array([[0, 255]], dtype=np.uint8)).convert(mode)
    key: Any = (0, 0, 0) if mode == "RGB" else 0
    path = saved(tmp_path, encoded(black_and_grey, "PNG", transparency=key))
    assert load(path)[0].tolist() == [[255] * 3, [255] * 3]


@pytest.mark.parametrize("mode", ["L", "LA", "P", "1", "RGBA", "CMYK", "LAB"])
def test_any_mode_becomes_rgb(tmp_path: Path, mode: str) -> None:
    grey = Image.fromarray(np.kron([[0, 255]], np.ones((8, 8))).astype(np.uint8)).convert("RGB")
    if mode == "LAB":
        srgb, lab = ImageCms.createProfile("sRGB"), ImageCms.createProfile("LAB")
        image = ImageCms.profileToProfile(grey, srgb, lab, outputMode="LAB")
    else:
        image = grey.convert(mode)
    shown = load(saved(tmp_path, encoded(image, "TIFF")))  # type: ignore[arg-type]
    np.testing.assert_allclose(shown.astype(int), np.asarray(grey), atol=3)


def test_a_cmyk_jpeg_is_not_inverted(tmp_path: Path) -> None:
    red = Image.new("CMYK", (16, 16), (0, 255, 255, 0))
    for content in (encoded(red, "JPEG"), encoded(red, "TIFF")):
        shown = load(saved(tmp_path, content)).mean(axis=(0, 1))
        np.testing.assert_allclose(shown, (255, 0, 0), atol=4)


@pytest.mark.parametrize("kind", ["GIF", "PNG", "WEBP", "TIFF"])
def test_of_several_pictures_the_first_is_used_with_a_note(tmp_path: Path, kind: str) -> None:
    first, second = Image.new("RGB", (8, 8), "red"), Image.new("RGB", (8, 8), "blue")
    path = saved(tmp_path, encoded(first, kind, save_all=True, append_images=[second, first]))
    facts = inspect(path)
    assert facts.frames == 3
    assert facts.notes == ("holds 3 pictures; the first one is used",)
    np.testing.assert_allclose(load(path).mean(axis=(0, 1)), (255, 0, 0), atol=3)


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "TIFF", "BMP", "GIF", "AVIF"])
def test_a_file_cut_off_is_refused_with_its_name(tmp_path: Path, kind: str) -> None:
    content = encoded(np.random.default_rng(0).integers(0, 255, (64, 64, 3), dtype=np.uint8), kind)
    path = saved(tmp_path, content[: len(content) // 2], "half.jpg")
    for read in (inspect, load):
        with pytest.raises(PhotoError, match=r"half\.jpg.*(cut off|damaged|no JPEG)"):
            read(path)


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        pytest.param(b"", "empty", id="empty"),
        pytest.param(b"file,labels\n", "its content is no JPEG", id="text"),
        pytest.param(png_of_size(20_000, 20_000), "too many pixels", id="bomb"),
        pytest.param(b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n", "no JPEG", id="eps"),
    ],
)
def test_what_is_no_photo_is_refused_with_a_reason(
    tmp_path: Path, content: bytes, reason: str
) -> None:
    with pytest.raises(PhotoError, match=reason):
        load(saved(tmp_path, content, "a.jpg"))


def test_the_pixel_limit_is_checked_before_decoding(tmp_path: Path) -> None:
    path = saved(tmp_path, png_of_size(1000, 900))  # without enough pixels: decoding would fail
    with pytest.raises(PhotoError, match="1000 x 900 pixels and the limit is 899999"):
        inspect(path, pixel_limit=899_999)
    with pytest.raises(PhotoError, match="cut off"):
        inspect(path, pixel_limit=900_000)


def test_a_very_large_photo_is_a_note_and_not_a_warning(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 20)  # warns above, refuses above twice that
    assert inspect(saved(tmp_path, encoded(CORNERS, "PNG"))).notes == (
        "very large; needs much memory",
    )


def test_a_missing_file_a_folder_and_a_pipe_are_refused(tmp_path: Path) -> None:
    with pytest.raises(PhotoError, match=r"'.*gone\.jpg': the file is not there"):
        load(tmp_path / "gone.jpg")
    with pytest.raises(PhotoError, match="a folder or a device"):
        load(tmp_path)
    os.mkfifo(tmp_path / "pipe.jpg")
    with pytest.raises(PhotoError, match="a folder or a device"):
        load(tmp_path / "pipe.jpg")
    with pytest.raises(PhotoError, match="the system cannot open it"):
        load(tmp_path / ("x" * 300))
    with pytest.raises(PhotoError, match="the system cannot open it"):
        load("nul\0.jpg")


def small_files() -> dict[str, bytes]:
    """One of each kind, for breaking."""
    noise = np.random.default_rng(1).integers(0, 255, (7, 9, 3), dtype=np.uint8)
    turned = {"exif": exif(6)}
    grey = noise[..., 0]
    return {
        "jpeg": encoded(noise, "JPEG", **turned),
        "progressive": encoded(noise, "JPEG", progressive=True),
        "png": encoded(noise, "PNG", **turned),
        "png16": encoded(grey.astype(np.uint16) * 200, "PNG"),
        "palette": encoded(Image.fromarray(noise).convert("P"), "PNG", transparency=3),
        "webp": encoded(noise, "WEBP", **turned),
        "tiff": encoded(noise, "TIFF", **turned),
        "tiff_lzw": encoded(noise, "TIFF", compression="tiff_lzw"),
        "float": encoded(grey.astype(np.float32), "TIFF"),
        "pages": encoded(noise, "TIFF", save_all=True, append_images=[Image.fromarray(noise)]),
        "bmp": encoded(noise, "BMP"),
        "gif": encoded(noise, "GIF", save_all=True, append_images=[Image.fromarray(noise[::-1])]),
        "ppm": encoded(noise, "PPM"),
        "plain": b"P3\n2 1\n255\n1 2 3 4 5 6\n",
        "avif": encoded(noise, "AVIF"),
        "jp2": encoded(noise, "JPEG2000"),
    }


SMALL_FILES = small_files()


@settings(
    max_examples=400, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(kind=st.sampled_from(sorted(SMALL_FILES)), data=st.data())
def test_a_damaged_file_loads_or_is_refused_and_nothing_else(
    tmp_path: Path, kind: str, data: st.DataObject
) -> None:
    content = bytearray(SMALL_FILES[kind])
    for _ in range(data.draw(st.integers(0, 4))):
        place = data.draw(st.integers(0, len(content) - 1))
        content[place] = data.draw(st.integers(0, 255))
    path = saved(tmp_path, bytes(content[: data.draw(st.integers(0, len(content)))]))
    try:
        shown = load(path, pixel_limit=100_000)
    except PhotoError:
        return
    assert shown.ndim == 3
    assert shown.shape[2] == 3


@pytest.mark.parametrize(
    "error",
    [
        RuntimeError("Failed to decode frame 0"),  # AVIF
        IndexError("index out of range"),  # counting the pictures of a GIF
        KeyError(10825),  # and of a TIFF
        struct.error("unpack_from requires a buffer of at least 9 bytes"),
        OverflowError("int too large to convert to float"),
        AttributeError("'IFDRational' object has no attribute 'encode'"),  # EXIF of an AVIF
        EOFError("no more images"),
        zlib.error("incorrect header check"),
        MemoryError(),
    ],
    ids=repr,
)
def test_rare_errors_of_decoders_are_refusals_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    def fail(*_: object) -> None:
        raise error

    path = saved(tmp_path, encoded(CORNERS, "BMP"))
    for place, method in ((ImageFile.ImageFile, "load"), (Image.Image, "convert")):
        with monkeypatch.context() as patch:
            patch.setattr(place, method, fail)
            with pytest.raises(PhotoError, match=r"damaged|not enough memory"):
                load(path)


def test_threads_read_alike_and_leave_the_filters_of_warnings_alone(tmp_path: Path) -> None:
    paths = [saved(tmp_path, content, kind) for kind, content in SMALL_FILES.items()] * 8
    before = warnings.filters[:]
    alone = [load(path) for path in paths]
    with ThreadPoolExecutor(8) as pool:
        together = list(pool.map(load, paths))
    for one, other in zip(alone, together, strict=True):
        np.testing.assert_array_equal(one, other)
    assert warnings.filters == before


def test_a_warning_of_another_thread_is_not_swallowed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = saved(tmp_path, encoded(CORNERS, "PNG"))
    original = Image.open

    def open_while_another_warns(*arguments: Any, **options: Any) -> Image.Image:
        other = threading.Thread(target=warnings.warn, args=("not Pillow's", UserWarning))
        other.start()
        other.join()
        return original(*arguments, **options)

    monkeypatch.setattr(Image, "open", open_while_another_warns)
    with pytest.warns(UserWarning, match="not Pillow's"):
        assert inspect(path).notes == ()


@pytest.mark.shared
@needs_odd_files
def test_eight_orientations_of_one_photo_load_alike_so_one_box_fits_all() -> None:
    folder = ODD_FILES / "images" / "exif8_fork"
    shown = [load(folder / f"orientation_{number}.jpg").astype(int) for number in range(1, 9)]
    for other in shown[1:]:
        # Each was compressed anew: near-equal, not equal.
        assert np.abs(other - shown[0]).mean() < 3


def test_the_limit_is_pillows_own() -> None:
    assert PIXEL_LIMIT == 2 * Image.MAX_IMAGE_PIXELS  # type: ignore[operator]
