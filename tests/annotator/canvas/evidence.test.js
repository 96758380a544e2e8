// The coarse map as colours: what is read from the wire, smoothed and ordered by brightness.
const test = require("node:test");
const assert = require("node:assert");
const path = require("node:path");
const { SOURCES } = require("./sources.js");
const { bytesOf, heatAlpha, heatColour, heatRamp, smoothMap } = require(path.join(SOURCES, "evidence.js"));

test("bytes come out of base64 as they went in", () => {
  const sent = Buffer.from([0, 127, 128, 255, 10]);
  assert.deepEqual([...bytesOf(sent.toString("base64"))], [...sent]);
});

test("the middle of a cell has its value, between two cells it is in between", () => {
  const map = { w: 2, h: 1, levels: [0, 255] };
  const row = [...smoothMap(map, 4, 1)];
  // Pixel middles lie at 0.25, 0.75, 1.25 and 1.75 of two cells with middles at 0.5 and 1.5.
  assert.deepEqual(row, [0, 0.25, 0.75, 1]);
});

test("a map is smoothed both ways and never leaves its range", () => {
  const map = { w: 2, h: 2, levels: [0, 255, 255, 0] };
  const values = smoothMap(map, 8, 6);
  assert.equal(values.length, 48);
  assert.equal(values[0], 0);
  assert.equal(values[7], 1);
  assert.ok(values.every((value) => value >= 0 && value <= 1));
});

test("a map of one cell is even", () => {
  assert.deepEqual([...smoothMap({ w: 1, h: 1, levels: [255] }, 3, 2)], [1, 1, 1, 1, 1, 1]);
});

test("higher values are brighter and cover more", () => {
  const brightness = ([r, g, b]) => 0.2126 * r + 0.7152 * g + 0.0722 * b;
  const steps = Array.from({ length: 21 }, (_, i) => i / 20);
  const lights = steps.map((value) => brightness(heatColour(value)));
  assert.ok(lights.every((light, i) => i === 0 || light > lights[i - 1]), String(lights));
  assert.ok(heatAlpha(0) > 0 && heatAlpha(0) < heatAlpha(1) && heatAlpha(1) <= 1);
  assert.match(heatRamp(), /^linear-gradient\(90deg, rgb\(32,12,74\) 0%, .*100%\)$/);
});
