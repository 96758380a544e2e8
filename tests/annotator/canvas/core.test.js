// Masks, views and boxes of the review screen. Golden masks come from Python in GOLDEN_MASKS.
const test = require("node:test");
const assert = require("node:assert");
const { readFileSync } = require("node:fs");
const path = require("node:path");
const { SOURCES } = require("./sources.js");
const core = require(path.join(SOURCES, "core.js"));

const golden = JSON.parse(readFileSync(process.env.GOLDEN_MASKS, "utf8"));
const photo = { w: 400, h: 300 };
const stage = { w: 800, h: 600 };

for (const mask of golden) {
  test("the crop of mask '" + mask.name + "' is Python's mask, pixel for pixel", () => {
    const crop = core.rleCrop(mask.rle);
    if (mask.box === null) return assert.equal(crop, null);
    assert.deepEqual([crop.x, crop.y, crop.x + crop.w, crop.y + crop.h], mask.box);
    assert.equal(crop.area, mask.area);
    const rows = [];
    for (let y = 0; y < crop.h; y++) {
      rows.push(Array.from(crop.bits.subarray(y * crop.w, (y + 1) * crop.w)).join(""));
    }
    assert.deepEqual(rows, mask.rows);
  });

  test("the outlines of mask '" + mask.name + "' enclose exactly its area", () => {
    if (mask.box === null) return;
    const outlines = core.traceOutlines(core.rleCrop(mask.rle));
    // Shoelace: outer outlines run clockwise on screen and count positive, holes negative.
    const area = outlines.reduce((sum, corners) => sum + signedArea(corners), 0);
    assert.equal(area, mask.area);
    assert.equal(outlines.filter((corners) => signedArea(corners) < 0).length, mask.holes);
    for (const corners of outlines) assertRightAngles(corners);
  });
}

function signedArea(corners) {
  let twice = 0;
  for (let i = 0; i < corners.length; i += 2) {
    const j = (i + 2) % corners.length;
    twice += corners[i] * corners[j + 1] - corners[j] * corners[i + 1];
  }
  return twice / 2;
}

function assertRightAngles(corners) {
  const n = corners.length / 2;
  for (let i = 0; i < n; i++) {
    const j = (i + 1) % n;
    const flat = corners[2 * i] === corners[2 * j];
    const level = corners[2 * i + 1] === corners[2 * j + 1];
    assert.notEqual(flat, level, "each edge runs along one axis");
  }
}

test("an RLE that is cut short is refused", () => {
  const whole = golden.find((mask) => mask.name === "noise").rle;
  assert.throws(() => core.rleCrop({ ...whole, counts: whole.counts.slice(0, -2) }), RangeError);
});

test("an RLE of another size is refused", () => {
  const { rle } = golden.find((mask) => mask.name === "noise");
  assert.throws(() => core.rleCrop({ ...rle, size: [rle.size[0] + 1, rle.size[1]] }), RangeError);
});

test("bevelling turns stairs into slopes and moves nothing by more than half a pixel", () => {
  assert.deepEqual(core.bevelOutline([0, 0, 1, 0, 1, 1, 0, 1]), [0.5, 0, 1, 0.5, 0.5, 1, 0, 0.5]);
  const square = core.bevelOutline([0, 0, 4, 0, 4, 4, 0, 4]);
  assert.deepEqual(square, [0.5, 0, 3.5, 0, 4, 0.5, 4, 3.5, 3.5, 4, 0.5, 4, 0, 3.5, 0, 0.5]);
  for (const mask of golden.filter((one) => one.box !== null)) {
    for (const outline of core.traceOutlines(core.rleCrop(mask.rle))) {
      const bevelled = core.bevelOutline(outline);
      const lost = Math.abs(signedArea(bevelled) - signedArea(outline));
      assert.ok(lost <= outline.length / 2 / 8 + 1e-9, "an eighth of a pixel at each corner at most");
    }
  }
});

test("simplifying keeps every corner within the tolerance and drops the stairs", () => {
  const disc = golden.find((mask) => mask.name === "disc");
  const [outline] = core.traceOutlines(core.rleCrop(disc.rle));
  const simple = core.simplifyOutline(outline, 0.8);
  assert.ok(simple.length < outline.length / 2, simple.length + " of " + outline.length);
  assert.ok(Math.abs(signedArea(simple) / disc.area - 1) < 0.02);
});

test("a square survives simplifying", () => {
  const square = [0, 0, 4, 0, 4, 4, 0, 4];
  assert.deepEqual(core.simplifyOutline(square, 2), square);
});

test("fit centres the photo with a margin", () => {
  const view = core.fitView(stage, photo, 50);
  assert.deepEqual(core.toScreen(view, 200, 150), [400, 300]);
  assert.equal(view.scale, 500 / 300);
});

test("fit enlarges a tiny photo four times at most", () => {
  assert.equal(core.fitView(stage, { w: 10, h: 10 }).scale, 4);
});

test("zooming keeps the point under the cursor", () => {
  const view = core.fitView(stage, photo);
  const before = core.toPhoto(view, 300, 200);
  const after = core.toPhoto(core.zoomView(view, 2, 300, 200, stage, photo), 300, 200);
  assert.ok(Math.hypot(before[0] - after[0], before[1] - after[1]) < 1e-9);
});

test("zoom stops at its limits", () => {
  const view = core.fitView(stage, photo);
  assert.equal(core.zoomView(view, 1e9, 0, 0, stage, photo).scale, core.MAX_SCALE);
  assert.equal(core.zoomView(view, 1e-9, 0, 0, stage, photo).scale, view.scale / 2);
});

test("panning cannot lose the photo", () => {
  for (const far of [-1e6, 1e6]) {
    const view = core.keepInSight({ scale: 1, x: far, y: far }, stage, photo);
    const [left, top] = core.toScreen(view, 0, 0);
    const [right, bottom] = core.toScreen(view, photo.w, photo.h);
    assert.ok(Math.min(right, stage.w) - Math.max(left, 0) >= 200);
    assert.ok(Math.min(bottom, stage.h) - Math.max(top, 0) >= 150);
  }
});

test("a drag in any direction gives an ordered box inside the photo", () => {
  assert.deepEqual(core.orderedBox(50, 60, -20, 999, photo), [0, 60, 50, 300]);
});

test("moving stops at the edge and keeps the size", () => {
  assert.deepEqual(core.movedBox([10, 10, 50, 40], -100, 1000, photo), [0, 270, 40, 300]);
});

test("each handle moves its own sides only", () => {
  const box = [100, 100, 200, 200];
  assert.deepEqual(core.resizedBox(box, "nw", 10, 20, photo), [110, 120, 200, 200]);
  assert.deepEqual(core.resizedBox(box, "e", 10, 20, photo), [100, 100, 210, 200]);
  assert.deepEqual(core.resizedBox(box, "s", 10, 20, photo), [100, 100, 200, 220]);
});

test("a handle dragged over the opposite side flips the box", () => {
  assert.deepEqual(core.resizedBox([100, 100, 200, 200], "w", 150, 0, photo), [200, 100, 250, 200]);
});

test("a box under three screen pixels is not meant", () => {
  const view = { scale: 0.5, x: 0, y: 0 };
  assert.equal(core.isMeant([0, 0, 5, 50], view), false);
  assert.equal(core.isMeant([0, 0, 6, 50], view), true);
  assert.equal(core.isMeant([5, 5, 5, 5], { scale: 32, x: 0, y: 0 }), false);
});

test("the nearest handle within reach is taken", () => {
  const view = { scale: 1, x: 0, y: 0 };
  assert.equal(core.handleAt([0, 0, 100, 100], view, 97, 3), "ne");
  assert.equal(core.handleAt([0, 0, 100, 100], view, 50, 50), null);
  assert.equal(core.handleAt([0, 0, 8, 8], view, 8, 8), "se", "handles of a tiny box overlap");
});

const stack = [
  { id: 1, box: [0, 0, 100, 100], status: "proposed" },
  { id: 2, box: [10, 10, 60, 60], status: "accepted" },
  { id: 3, box: [20, 20, 30, 30], status: "rejected" },
];

test("a click takes the smallest box, and the next one when clicked again", () => {
  const picks = [];
  for (let i = 0, selected = null; i < 4; i++) picks.push((selected = core.pickAt(stack, 25, 25, selected)));
  assert.deepEqual(picks, [2, 1, 3, 2], "what was rejected comes last");
});

test("a click beside everything selects nothing", () => {
  assert.equal(core.pickAt(stack, 200, 200, 1), null);
  assert.equal(core.pickAt(stack, 100, 50, 1), null, "a box is half open");
});

test("a thinned stroke keeps its ends and its shape", () => {
  const stroke = Array.from({ length: 101 }, (_, i) => [i / 10, 0]);
  const thin = core.thinStroke(stroke, 2);
  assert.deepEqual(thin, [[0, 0], [2, 0], [4, 0], [6, 0], [8, 0], [10, 0]]);
  assert.deepEqual(core.thinStroke([[5, 5]], 2), [[5, 5]], "a dab is one point");
});

test("ink reads on light and on dark colours", () => {
  assert.notEqual(core.inkOn([255, 230, 80]), core.inkOn([40, 30, 120]));
  assert.equal(core.inkOn([40, 30, 120]), "#ffffff");
});
