// What a tab of the browser keeps of edits that were not saved.
const test = require("node:test");
const assert = require("node:assert");
const path = require("node:path");
const { SOURCES } = require("./sources.js");
const { createUnsaved, MOST_UNSAVED } = require(path.join(SOURCES, "unsaved.js"));

function unsavedIn(items = new Map()) {
  const storage = {
    getItem: (key) => items.get(key) ?? null,
    setItem: (key, value) => items.set(key, value),
    removeItem: (key) => items.delete(key),
  };
  return { unsaved: createUnsaved(() => storage), items };
}

const edit = (op_id, fields = {}) => ({ op: "set_status", op_id, photo: 1, ...fields });

test("edits come back in order, each project its own", () => {
  const { unsaved, items } = unsavedIn();
  unsaved.keep("p", [edit("a"), edit("b", { base_rev: 4 })]);
  unsaved.keep("q", [edit("c")]);
  assert.deepEqual(unsaved.kept("p"), [edit("a"), edit("b", { base_rev: 4 })]);
  unsaved.keep("p", []);
  assert.deepEqual([unsaved.kept("p"), items.size], [[], 1]);
});

test("what is too much is cut off at its end", () => {
  const { unsaved } = unsavedIn();
  const large = { pts: "x".repeat(MOST_UNSAVED * 0.6) };
  unsaved.keep("p", [edit("a", large), edit("b", large), edit("c")]);
  assert.deepEqual(unsaved.kept("p").map((one) => one.op_id), ["a"]);
});

test("a storage that is forbidden, full or holds something foreign hurts nobody", () => {
  const forbidden = createUnsaved(() => { throw new Error("no storage here"); });
  forbidden.keep("p", [edit("a")]);
  assert.deepEqual(forbidden.kept("p"), []);
  for (const text of ["{", "7", '{"a": 1}', "[null]", '[{"op": 7}]']) {
    const { unsaved } = unsavedIn(new Map([["tag2mask.unsaved.p", text]]));
    assert.deepEqual(unsaved.kept("p"), [], text);
  }
});
