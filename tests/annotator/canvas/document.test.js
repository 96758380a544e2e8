// Patches, previews, order and keys of the review screen.
const test = require("node:test");
const assert = require("node:assert");
const path = require("node:path");
const { SOURCES } = require("./sources.js");
const {
  SHORTCUTS, actionForKey, applyPatch, isOwnDrawing, missingPages, neighbour, nextOpen,
  orderedClasses, previewOp, stripWindow, tally, visibleInstances,
} = require(path.join(SOURCES, "document.js"));

const instance = (id, fields = {}) => ({
  id, cls: 1, status: "proposed", score: 0.5, source: "x", box: [0, 0, 10, 10], rle: null,
  points: [], ...fields,
});
const doc = (...instances) => ({
  photo: 7, rev: 3, image: { w: 100, h: 80 }, classes: [], tags: [], instances,
});
const ids = (value) => value.instances.map((one) => one.id);
const key = (name, modifiers = {}) => actionForKey({ key: name, ...modifiers });

test("a patch replaces in place, appends what is new and removes what is gone", () => {
  const before = doc(instance(1), instance(2), instance(3));
  const after = applyPatch(before, {
    rev: 4, upsert: [instance(9), instance(2, { status: "accepted" })], remove: [1], can_undo: true,
  });
  assert.deepEqual(ids(after), [2, 3, 9]);
  assert.equal(after.instances[0].status, "accepted");
  assert.deepEqual([after.rev, after.can_undo], [4, true]);
  assert.deepEqual(ids(before), [1, 2, 3], "the document before is untouched");
});

test("a patch that says nothing about undo leaves it as it was", () => {
  assert.equal(applyPatch({ ...doc(), can_undo: true }, { rev: 4 }).can_undo, true);
});

test("an edit shows before the server answers", () => {
  const before = doc(instance(1), instance(2, { status: "drawn" }));
  const moved = previewOp(before, { op: "set_box", id: 1, box: [1, 2, 3, 4] });
  assert.deepEqual([moved.instances[0].box, moved.instances[0].status], [[1, 2, 3, 4], "edited"]);
  const drawn = previewOp(before, { op: "set_class", id: 2, cls: 5 });
  assert.deepEqual([drawn.instances[1].cls, drawn.instances[1].status], [5, "drawn"]);
  assert.deepEqual(ids(previewOp(before, { op: "delete", id: 1 })), [2]);
});

test("another mask shows at once, and the first one as it was", () => {
  const before = doc(instance(1), instance(2, { status: "drawn" }));
  const rle = { size: [80, 100], counts: "x" };
  const chosen = previewOp(before, { op: "choose", id: 1, rle, preview: { box: [1, 2, 3, 4] } });
  const [one] = chosen.instances;
  assert.deepEqual([one.rle, one.box, one.status, one.cls], [rle, [1, 2, 3, 4], "edited", 1]);
  const back = { rle: null, preview: { box: [0, 0, 10, 10], status: "proposed", points: [] } };
  assert.deepEqual(previewOp(chosen, { op: "choose", id: 1, ...back }), before);
  const drawn = previewOp(before, { op: "choose", id: 2, rle, preview: {} });
  assert.equal(drawn.instances[1].status, "drawn");
});

test("a new box curates nothing that has no class", () => {
  const before = doc(instance(1, { cls: null }));
  const moved = previewOp(before, { op: "set_box", id: 1, box: [1, 2, 3, 4] });
  assert.equal(moved.instances[0].status, "proposed");
});

test("a drawing that was rejected and is accepted again is a drawing", () => {
  const before = doc(instance(1, { status: "rejected", source: "person" }));
  const after = previewOp(before, { op: "set_status", id: 1, status: "accepted" });
  assert.equal(after.instances[0].status, "drawn");
});

test("accepting all leaves out what has no class and what lies below the threshold", () => {
  const before = doc(
    instance(1), instance(2, { cls: null }), instance(3, { score: 0.2 }),
    instance(4, { score: null }), instance(5, { status: "rejected" }));
  const after = previewOp(before, { op: "accept_all", min_score: 0.4 });
  assert.deepEqual(after.instances.map((one) => one.status),
    ["accepted", "proposed", "proposed", "accepted", "rejected"]);
});

test("a first click shows a draft that carries the operation's id", () => {
  const after = previewOp(doc(), { op: "click", op_id: "u", id: null, cls: 2, point: [5, 6, 1] });
  const [draft] = after.instances;
  assert.deepEqual([draft.id, draft.cls, draft.points, draft.draft], ["u", 2, [[5, 6, 1]], true]);
});

test("the draft of a stroke at the border stays inside the photo", () => {
  const after = previewOp(doc(), {
    op: "brush", op_id: "u", id: null, cls: 2, mode: "add", radius: 5, pts: [[2, 78], [99, 40]],
  });
  assert.deepEqual(after.instances[0].box, [0, 35, 100, 80]);
});

test("proposals below the threshold and earlier rejections are out of sight", () => {
  const value = doc(
    instance(1, { score: 0.9 }), instance(2, { score: 0.1 }), instance(3, { status: "rejected" }),
    instance(4, { status: "rejected" }), instance(5, { status: "accepted", score: 0.1 }));
  const shown = (view) => visibleInstances(value, view).map((one) => one.id);
  assert.deepEqual(shown({ minScore: 0.5, recent: new Set([4]) }), [1, 4, 5]);
  assert.deepEqual(shown({ showRejected: true }), [1, 2, 3, 4, 5]);
});

test("the next open one comes after the current, then from the start", () => {
  const list = [instance(1), instance(2, { status: "accepted" }), instance(3)];
  assert.equal(nextOpen(list, 1), 3);
  assert.equal(nextOpen(list, 3), 1);
  assert.equal(nextOpen(list, null), 1);
  assert.equal(nextOpen([instance(1)], 1), null, "the one just decided does not count");
  assert.equal(nextOpen([], null), null);
});

test("neighbours wrap unless told not to", () => {
  const list = [instance(1), instance(2)];
  assert.equal(neighbour(list, 2, 1), 1);
  assert.equal(neighbour(list, 2, 1, false), null);
  assert.equal(neighbour(list, null, -1), 2);
  assert.equal(neighbour([], null, 1), null);
});

test("digits stay with the classes while there are nine, then the photo's tags come first", () => {
  const classes = (n) => Array.from({ length: n }, (_, i) => ({ id: i + 1 }));
  assert.deepEqual(orderedClasses(classes(9), [9]).map((c) => c.id)[0], 1);
  assert.deepEqual(orderedClasses(classes(10), [10, 4]).slice(0, 3).map((c) => c.id), [4, 10, 1]);
});

test("a tally counts open, kept and rejected", () => {
  const list = ["proposed", "accepted", "edited", "drawn", "rejected"]
    .map((status, i) => instance(i, { status }));
  assert.deepEqual(tally(list), { proposed: 1, curated: 3, rejected: 1 });
});

test("only what a person made can be deleted", () => {
  assert.equal(isOwnDrawing(instance(1, { status: "drawn" })), true);
  assert.equal(isOwnDrawing(instance(1, { status: "accepted", source: "person" })), true);
  assert.equal(isOwnDrawing(instance(1, { status: "edited" })), false);
});

test("of 20,000 photos only those in sight are asked for", () => {
  assert.deepEqual(stripWindow(1_000_000, 900, 100, 20_000), [9_996, 10_013]);
  assert.deepEqual(stripWindow(0, 900, 100, 3), [0, 3]);
  assert.deepEqual(stripWindow(0, 900, 100, 0), [0, 0]);
  assert.deepEqual(missingPages(9_996, 10_013, 60, new Set([9_960])), []);
  assert.deepEqual(missingPages(55, 125, 60, new Set([60])), [0, 120]);
});

test("letters work with and without caps lock, but not with Alt", () => {
  assert.equal(key("a").action, "accept");
  assert.equal(key("A").action, "accept");
  assert.equal(key("A", { shiftKey: true }).action, "accept-all");
  assert.equal(key("g").action, "next-mask");
  assert.equal(key("G", { shiftKey: true }).action, "previous-mask");
  assert.equal(key("a", { altKey: true }), null);
});

test("the browser keeps its own shortcuts", () => {
  for (const name of ["a", "r", "f", "0", "+", "-", "1", "p"]) assert.equal(key(name, { ctrlKey: true }), null);
});

test("Ctrl and Cmd undo and redo", () => {
  assert.equal(key("z", { ctrlKey: true }).action, "undo");
  assert.equal(key("Z", { metaKey: true, shiftKey: true }).action, "redo");
  assert.equal(key("y", { ctrlKey: true }).action, "redo");
});

test("a held key repeats for moving, brush size and zoom only", () => {
  assert.equal(key("a", { repeat: true }), null);
  assert.equal(key("ArrowRight", { repeat: true }), null);
  assert.equal(key("ArrowDown", { repeat: true }).action, "next-instance");
  assert.equal(key("]", { repeat: true }).action, "brush-larger");
  assert.equal(key("+", { repeat: true, shiftKey: true }).action, "zoom-in");
});

test("digits give the class, zero fits", () => {
  assert.deepEqual(key("9"), { action: "class", digit: 9 });
  assert.equal(key("0").action, "fit");
});

test("no key means two things", () => {
  const keys = SHORTCUTS.flatMap((one) => one.keys);
  assert.deepEqual(keys, [...new Set(keys)]);
});
