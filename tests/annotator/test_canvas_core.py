"""The review screen without a browser: its script runs in node, its templates suit Gradio."""

from __future__ import annotations

import asyncio
import json
import re
import shutil
import subprocess
from importlib.resources import files
from pathlib import Path
from typing import Any

import gradio as gr
import numpy as np
import pytest
from scipy import ndimage

from annotator.ui import canvas
from engine.geometry import mask_to_box, mask_to_rle
from engine.types import Mask

HERE = Path(__file__).parent / "canvas"
NODE = shutil.which("node")
needs_node = pytest.mark.skipif(NODE is None, reason="node is not installed")


def golden_masks() -> dict[str, Mask]:
    """Masks at the limits of the format: empty, one pixel, full, edges, holes, long runs."""
    rng = np.random.default_rng(5)
    rows, columns = np.mgrid[:60, :80]
    disc = np.hypot(rows - 30, columns - 40) < 22
    ring = disc & ~(np.hypot(rows - 30, columns - 40) < 9)
    empty = np.zeros((7, 5), bool)
    pixel, corner, diagonal = empty.copy(), empty.copy(), empty.copy()
    pixel[3, 2] = True
    corner[6, 4] = corner[0, 0] = True
    diagonal[2, 2] = diagonal[3, 3] = True
    bands = np.zeros((40, 30), bool)
    bands[:, ::3] = True
    return {
        "empty": empty,
        "one pixel": pixel,
        "two corners": corner,
        "touching diagonally": diagonal,
        "full": np.ones((9, 4), bool),
        "one row": np.ones((1, 17), bool),
        "one column": np.ones((17, 1), bool),
        "disc": disc,
        "ring": ring,
        "whole columns": bands,
        "noise": rng.random((31, 23)) < 0.5,
        "long runs": np.pad(np.ones((900, 40), bool), ((30, 70), (5, 5))),
    }


def describe(name: str, mask: Mask) -> dict[str, Any]:
    """What node compares with: bounds, area, number of holes, the pixels of the tight crop."""
    box = mask_to_box(mask)
    crop: Mask = np.zeros((0, 0), bool)
    if box is not None:
        x0, y0, x1, y1 = (int(value) for value in box)
        crop = mask[y0:y1, x0:x1]
    # Outlines join pixels that touch at a corner, so background is 4-connected.
    _, background = ndimage.label(~np.pad(mask, 1))
    return {
        "name": name,
        "rle": mask_to_rle(mask).as_dict(),
        "box": None if box is None else [int(value) for value in box],
        "area": int(mask.sum()),
        "holes": background - 1,
        "rows": ["".join("01"[value] for value in row) for row in crop.astype(int)],
    }


@needs_node
@pytest.mark.parametrize("name", sorted(path.name for path in HERE.glob("*.test.js")))
def test_the_logic_of_the_screen_holds_in_node(name: str, tmp_path: Path) -> None:
    golden = tmp_path / "masks.json"
    golden.write_text(json.dumps([describe(key, mask) for key, mask in golden_masks().items()]))
    run = subprocess.run(
        [str(NODE), "--test", "--test-reporter=tap", str(HERE / name)],
        env={"GOLDEN_MASKS": str(golden)},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert run.returncode == 0, run.stdout[-6000:] + run.stderr[-2000:]
    assert int(re.findall(r"# pass (\d+)", run.stdout)[-1]) > 0


@needs_node
def test_the_whole_script_is_a_function_body_that_parses(tmp_path: Path) -> None:
    check = (
        "new Function('element', 'trigger', 'props', 'server', 'upload', 'watch', "
        "require('fs').readFileSync(process.argv[1], 'utf8'))"
    )
    source = tmp_path / "script.js"
    source.write_text(canvas.script(), encoding="utf-8")
    run = subprocess.run(
        [str(NODE), "-e", check, str(source)],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert run.returncode == 0, run.stderr


@pytest.mark.parametrize("name", ["canvas.html", "canvas.css"])
@pytest.mark.parametrize("forbidden", ["`", "${", "{{", "\\", "@children"])
def test_a_template_holds_nothing_that_gradio_would_evaluate(name: str, forbidden: str) -> None:
    assert forbidden not in canvas.read_asset(name)


def test_the_style_sheet_can_be_nested_in_the_component() -> None:
    # Gradio wraps it in "#id { … }", where keyframes and imports are ignored.
    assert not re.search(r"@(keyframes|import|font-face)", canvas.read_asset("canvas.css"))


def test_every_script_of_the_folder_is_joined_once() -> None:
    there = {entry.name for entry in files("annotator.ui.canvas").iterdir()}
    assert sorted(canvas.SCRIPTS) == sorted(name for name in there if name.endswith(".js"))


def test_all_classes_of_the_page_carry_the_prefix() -> None:
    html = canvas.read_asset("canvas.html")
    names = {name for value in re.findall(r'class="([^"]+)"', html) for name in value.split()}
    names |= set(
        re.findall(r"\.([a-zA-Z][\w-]*)", re.sub(r"[\d.]+\w", "", canvas.read_asset("canvas.css")))
    )
    assert names
    assert {name for name in names if not name.startswith("t2m-")} <= {"dark"}


def test_every_button_does_something_and_every_shortcut_has_its_button() -> None:
    html, logic = canvas.read_asset("canvas.html"), canvas.read_asset("actions.js")
    table = logic[logic.index("    run: {") :]
    actions = set(re.findall(r'^      "?([\w-]+)"?:', table, flags=re.MULTILINE))
    buttons = set(re.findall(r'data-action="([\w-]+)"', html))
    assert buttons <= actions, buttons - actions
    tools = set(re.findall(r'data-tool="(\w+)"', html))
    keys = set(re.findall(r'action: "([\w:-]+)"', canvas.read_asset("document.js")))
    by_mouse = {
        "class",  # a row of the class list
        "next-instance",  # a click on the photo or in the list
        "previous-instance",
        "cycle-filter",  # the list of filters
        "cycle-order",  # the list of orders
        "brush-smaller",  # the slider
        "brush-larger",
        "escape",  # a click beside everything
    }
    reachable = buttons | {f"tool:{tool}" for tool in tools} | by_mouse
    assert keys <= reachable, keys - reachable


def test_every_part_that_the_script_asks_for_is_in_the_page() -> None:
    parts = set(re.findall(r'data-part="([\w-]+)"', canvas.read_asset("canvas.html")))
    asked = set(re.findall(r'\b(?:part|text|show)\("([\w-]+)"', canvas.script()))
    assert asked
    assert asked <= parts, asked - parts


def test_every_icon_that_is_used_is_drawn() -> None:
    html = canvas.read_asset("canvas.html")
    drawn = set(re.findall(r'id="t2m-i-(\w+)"', html))
    used = set(re.findall(r'href="#t2m-i-(\w+)"', html))
    used |= set(re.findall(r'actionButton\("[\w-]+", "(\w+)"', canvas.read_asset("panels.js")))
    assert used
    assert used <= drawn, used - drawn


def test_user_text_never_becomes_markup() -> None:
    assert not re.search(r"innerHTML|outerHTML|insertAdjacentHTML|document\.write", canvas.script())


def test_gradio_knows_the_component_its_function_and_its_event() -> None:
    def answer(op: dict[str, Any]) -> dict[str, Any]:
        return op

    async def build() -> tuple[gr.HTML, dict[str, Any]]:
        # In a running loop, because Gradio would make one and leave it open.
        with gr.Blocks(analytics_enabled=False) as page:
            component = canvas.review_canvas(review_op=answer, elem_id="review")
            component.edited(lambda: None, None, None, show_progress="hidden")
        return component, page.get_config_file()

    component, config = asyncio.run(build())
    (entry,) = [one for one in config["components"] if one["id"] == component._id]
    assert entry["type"] == "html"
    assert entry["props"]["server_fns"] == ["review_op"]
    assert [one["targets"] for one in config["dependencies"]] == [[(component._id, "edited")]]
