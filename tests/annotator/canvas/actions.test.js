// What keys and buttons do, with the screen played by plain objects.
const test = require("node:test");
const assert = require("node:assert");
const { readFileSync } = require("node:fs");
const path = require("node:path");
const { SOURCES } = require("./sources.js");

const joined = ["core.js", "document.js", "session.js", "actions.js"]
  .map((name) => readFileSync(path.join(SOURCES, name), "utf8").split("if (typeof module")[0])
  .join("\n");
const { createActions, findingKey, focusedFinding, previewOp, visibleInstances } = new Function(
  joined + "\nreturn { createActions, findingKey, focusedFinding, previewOp, visibleInstances };")();

const instance = (id, fields = {}) => ({
  id, cls: 1, status: "proposed", score: 0.5, source: "x", box: [0, 0, 10, 10], rle: null,
  points: [], ...fields,
});
const about = (kind, id) => ({
  kind, subject: "object " + id, state: "s" + id, id, cls: null, box: null, reason: "",
});
const missing = (x) => ({
  kind: "detector", subject: "detection 4", state: x + " 0", id: null, cls: 4, box: [x, 0, x + 9, 9],
  reason: "",
});

/** A screen with a photo; edits show at once, as previews. */
function screen({ instances = [], findings = [], ...fields } = {}) {
  const it = { sent: [], told: [], stepped: [] };
  const state = {
    project: "p", doc: { photo: 1, image: { w: 99, h: 99 }, instances, findings, classes: [], tags: [] },
    selected: null, chosenFinding: null, recent: new Set(), minScore: 0, navigating: false,
    hasPhoto: () => true,
    canEdit() { return !this.navigating; },
    visible() { return visibleInstances(this.doc, this); },
    openInstances() { return this.visible().filter((one) => one.status === "proposed"); },
    selectedInstance() { return this.visible().find((one) => one.id === this.selected) || null; },
    findings() { return this.doc.findings; },
    finding() { return focusedFinding(this.findings(), this); },
    isFlagged(id) { return this.findings().some((one) => one.id === id); },
    ...fields,
  };
  const session = {
    outbox: { offline: false, edits: () => [], idle: async () => {} },
    edit(op) { it.sent.push(op); state.doc = previewOp(state.doc, { op_id: "u", ...op }); },
    step: (...words) => it.stepped.push(words),
    open: (...words) => it.stepped.push(words),
  };
  const chrome = { tell: (text, kind) => it.told.push({ text, kind }), dismiss() {} };
  const { run, classByDigit } = createActions({
    state, session, chrome, tools: { cancelDrag() {} }, render() {}, viewChanged() {},
    cycle: { step: (one, direction) => it.sent.push({ op: "choose", id: one.id, direction }) },
  });
  return Object.assign(it, { state, session, run, classByDigit });
}

test("K confirms one of three missing boxes of a class, then marks the next", () => {
  const { run, sent, state } = screen({ findings: [missing(10), missing(20), missing(30)] });
  run.confirm();
  assert.deepEqual(sent, [{ op: "confirm", subject: "detection 4", state: "10 0" }]);
  assert.deepEqual(state.findings(), [missing(20), missing(30)]);
  assert.deepEqual(state.finding(), missing(20));
});

test("S goes through all findings of an object and then to the next photo", () => {
  const findings = [about("dropped", 5), about("detector", 5), about("detector", 5), missing(10)];
  const { run, state, stepped } = screen({ instances: [instance(5)], findings });
  const seen = [findingKey(state.finding())];
  for (let i = 0; i < 3; i++) {
    run["next-finding"]();
    seen.push(findingKey(state.finding()));
  }
  assert.deepEqual(seen.map((key) => key.split(" | ")[0]), ["dropped", "detector", "detector", "detector"]);
  assert.deepEqual([seen[1], seen[2], stepped.length],
    [findingKey(about("detector", 5)), findingKey(missing(10)), 1]);
});

test("a row is looked at and added as itself, not as the first of its class", () => {
  const { run, state, sent } = screen({ findings: [missing(10), missing(20)] });
  run["look-at"](findingKey(missing(20)));
  assert.deepEqual(state.finding(), missing(20));
  run["add-missing"](findingKey(missing(20)));
  assert.deepEqual(sent, [{ op: "add_box", cls: 4, box: [20, 0, 29, 9] }]);
});

const EDITS = ["accept", "reject", "accept-all", "confirm", "next-mask", "undo", "redo",
  "clear-points", "next-finding"];

test("a key that comes before its photo changes nothing and says so", () => {
  for (const name of EDITS) {
    const { run, sent, told } = screen({
      instances: [instance(5)], findings: [about("tags", 5)], selected: 5, navigating: true,
    });
    run[name]();
    assert.deepEqual([name, sent, told.map((one) => one.text)],
      [name, [], ["The next photo is still opening; press again."]]);
  }
  const { classByDigit, state, told } = screen({ navigating: true });
  state.doc.classes = [{ id: 1, name: "cat" }];
  classByDigit(1);
  assert.deepEqual([told.length, state.chosenClass], [1, undefined]);
});

test("the next photo can be asked for while one is still opening", () => {
  const { run, stepped, told } = screen({ navigating: true });
  run["next-photo"]();
  assert.deepEqual([stepped, told], [[[1]], []]);
});

test("the tag beside a class is given and taken away, and shown at once", () => {
  const { run, sent, told, state } = screen();
  state.doc = { ...state.doc, classes: [{ id: 1, name: "cat" }, { id: 2, name: "dog" }], tags: [1] };
  run["toggle-tag"]("2");
  assert.deepEqual(state.doc.tags, [1, 2]);
  run["toggle-tag"]("1");
  assert.deepEqual(state.doc.tags, [2]);
  assert.deepEqual(sent, [
    { op: "set_tag", cls: 2, on: true }, { op: "set_tag", cls: 1, on: false }]);
  assert.equal(told[1].text, "The photo is no longer tagged cat.");
  state.navigating = true;
  run["toggle-tag"]("1");
  assert.equal(sent.length, 2, "nobody tags a photo that is still coming");
});

test("U goes to the next photo with something left to decide", () => {
  const { run, stepped } = screen();
  run["next-undecided"]();
  assert.deepEqual(stepped, [[1, { undecided: true }]]);
});
