// Walking through the other masks of an object: where one stands, where it ends, what is sent.
const test = require("node:test");
const assert = require("node:assert");
const fs = require("node:fs");
const path = require("node:path");
const { SOURCES } = require("./sources.js");

// The files share one scope in the page; here they are joined the same way.
const joined = ["core.js", "document.js", "outbox.js", "session.js", "cycle.js"]
  .map((name) => fs.readFileSync(path.join(SOURCES, name), "utf8")).join("\n");
const { createCycle, placeText, previewOp } = new Function(
  joined + "\nreturn { createCycle, placeText, previewOp };")();

const rle = (counts) => ({ size: [80, 100], counts });
const mask = (counts, score = 0.5) => ({ rle: rle(counts), box: [0, 0, 5, 5], score });
const tick = () => new Promise((done) => setImmediate(done));

/** A cycle over one instance whose others are `masks`; edits are applied at once, as previews. */
function walk(masks, fields = {}) {
  const one = {
    id: 7, cls: 1, status: "proposed", score: 0.9, source: "x", box: [1, 2, 30, 40],
    rle: rle("first"), points: [[3, 4, 1]], ...fields,
  };
  const state = { doc: { instances: [one, { ...one, id: 8 }] } };
  const it = { state, asked: 0, sent: [], told: [], answer: { masks } };
  it.cycle = createCycle({
    state,
    others: async () => { it.asked += 1; return it.answer; },
    settled: async () => {},
    edit: (op) => { it.sent.push(op.rle && op.rle.counts); state.doc = previewOp(state.doc, op); },
    tell: (text) => it.told.push(text),
    changed() {},
  });
  it.one = () => state.doc.instances[0];
  it.press = async (direction = 1) => { it.cycle.step(it.one(), direction); await tick(); };
  return it;
}

test("G walks the list in order and Shift+G walks back to exactly what was there", async () => {
  const it = walk([mask("a", 0.71), mask("b")]);
  const before = it.one();
  await it.press();
  assert.deepEqual([it.one().rle.counts, it.one().status], ["a", "edited"]);
  assert.deepEqual(it.cycle.place(it.one()), { at: 1, count: 3, score: 0.71 });
  await it.press();
  await it.press(-1);
  await it.press(-1);
  assert.deepEqual(it.sent, ["a", "b", "a", "first"]);
  assert.deepEqual(it.one(), before);
  assert.equal(it.asked, 1);
});

test("Shift+G ends at the first mask, and says so", async () => {
  const it = walk([mask("a")]);
  await it.press();
  await it.press(-1);
  await it.press(-1);
  assert.deepEqual(it.sent, ["a", "first"]);
  assert.deepEqual(it.told, ["This is the mask it began with."]);
});

test("Shift+G before any G asks for nothing", async () => {
  const it = walk([mask("a")]);
  await it.press(-1);
  assert.deepEqual([it.asked, it.sent, it.told.length], [0, [], 1]);
});

test("after the last mask comes the first again, and that is told", async () => {
  const it = walk([mask("a"), mask("b")]);
  for (let i = 0; i < 3; i++) await it.press();
  assert.deepEqual(it.sent, ["a", "b", "first"]);
  assert.deepEqual(it.told, ["These were all 3 masks; this is the first again."]);
  await it.press();
  assert.equal(it.one().rle.counts, "a");
});

test("presses while the list is fetched are not lost", async () => {
  const it = walk([mask("a"), mask("b"), mask("c")]);
  for (const direction of [1, 1, 1, -1]) it.cycle.step(it.one(), direction);
  assert.deepEqual(it.cycle.place(it.one()), { looking: true });
  await tick();
  assert.deepEqual([it.asked, it.sent], [1, ["b"]]);
});

test("where one stands is read off the mask, so undo needs no word", async () => {
  const it = walk([mask("a"), mask("b")]);
  await it.press();
  await it.press();
  it.state.doc.instances[0] = { ...it.one(), rle: rle("a") }; // undone
  assert.equal(it.cycle.place(it.one()).at, 1);
  await it.press();
  assert.deepEqual([it.sent.at(-1), it.asked], ["b", 1]);
});

test("another mend begins a new list", async () => {
  const it = walk([mask("a")]);
  await it.press();
  it.state.doc.instances[0] = { ...it.one(), rle: rle("brushed") };
  assert.equal(it.cycle.place(it.one()), null);
  it.answer = { masks: [mask("c")] };
  await it.press();
  assert.deepEqual([it.sent, it.asked], [["a", "c"], 2]);
});

test("the list of one object stays while another one is walked", async () => {
  const it = walk([mask("a"), mask("b")]);
  await it.press();
  it.cycle.step(it.state.doc.instances[1], 1);
  await tick();
  await it.press();
  assert.deepEqual([it.sent, it.asked], [["a", "a", "b"], 2]);
});

test("an object without a mask can be gone back to", async () => {
  const it = walk([mask("a")], { rle: null });
  await it.press();
  await it.press(-1);
  assert.deepEqual(it.sent, ["a", null]);
  assert.deepEqual([it.one().rle, it.one().box], [null, [1, 2, 30, 40]]);
});

test("no other mask is said, every time", async () => {
  const it = walk([]);
  await it.press();
  await it.press();
  assert.deepEqual([it.sent, it.asked, it.told.length], [[], 1, 2]);
  assert.equal(it.cycle.place(it.one()), null);
});

test("an error is told and the next press asks again", async () => {
  const it = walk([mask("a")]);
  it.answer = { error: { code: "review", message: "no run has left other masks" } };
  await it.press();
  assert.deepEqual(it.told, ["No run has left other masks"]);
  it.answer = undefined;
  await it.press();
  assert.match(it.told[1], /Try again/);
  it.answer = { masks: [mask("a")] };
  await it.press();
  assert.deepEqual([it.asked, it.sent], [3, ["a"]]);
});

test("an answer that comes after the photo was left changes nothing", async () => {
  const it = walk([mask("a")]);
  it.cycle.step(it.one(), 1);
  it.cycle.forget();
  await tick();
  assert.deepEqual([it.sent, it.told], [[], []]);
});

test("the chip counts from one and leaves out a score that is none", () => {
  assert.equal(placeText({ at: 1, count: 9, score: 0.714 }), "Mask 2 of 9 · score 0.71");
  assert.equal(placeText({ at: 0, count: 9, score: null }), "Mask 1 of 9");
});
