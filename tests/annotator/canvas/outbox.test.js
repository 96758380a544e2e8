// Edits on their way: order, retries, a lost server, a broken edit.
const test = require("node:test");
const assert = require("node:assert");
const path = require("node:path");
const { SOURCES } = require("./sources.js");
const { createOutbox } = require(path.join(SOURCES, "outbox.js"));

/** An outbox whose server answers from `answers` by turns; a function is called, so it can throw. */
function outboxWith(answers, { probes = [], timeoutSeconds } = {}) {
  const seen = { sent: [], answered: [], refused: [], states: [] };
  let revision = 0;
  const outbox = createOutbox({
    send: async (op) => {
      seen.sent.push({ ...op });
      const next = answers.shift();
      return typeof next === "function" ? next() : next;
    },
    probe: async () => probes.shift(),
    wait: async () => {},
    timeoutSeconds,
    on: {
      prepare: (op) => { if (op.base_rev === undefined) op.base_rev = revision; },
      answered: (op, answer) => { revision = answer.rev; seen.answered.push(op.op_id); },
      refused: (op) => seen.refused.push(op.op_id),
      keep: (edits) => { seen.kept = edits.map((op) => op.op_id); },
      changed: () => seen.states.push([outbox.edits().length, outbox.offline]),
    },
  });
  return { outbox, seen };
}

const edit = (op_id) => ({ op: "set_status", op_id, photo: 1 });

test("edits go one at a time, in order, each on the revision of the one before", async () => {
  const { outbox, seen } = outboxWith([{ rev: 5 }, { rev: 6 }, { rev: 7 }]);
  for (const id of ["a", "b", "c"]) outbox.push(edit(id));
  assert.equal(seen.sent.length, 1, "the second waits for the first");
  assert.deepEqual(seen.kept, ["a", "b", "c"]);
  await outbox.idle();
  assert.deepEqual(seen.sent.map((op) => [op.op_id, op.base_rev]), [["a", 0], ["b", 5], ["c", 6]]);
  assert.equal(outbox.edits().length, 0);
  assert.deepEqual(seen.kept, []);
});

test("without a server an edit waits and is sent again under the same id and revision", async () => {
  const { outbox, seen } = outboxWith(
    [undefined, () => { throw new Error("no network"); }, { rev: 1 }, { rev: 2 }],
    { probes: [false, false] });
  outbox.push(edit("a"));
  outbox.push(edit("b"));
  await outbox.idle();
  assert.deepEqual(seen.sent.map((op) => op.op_id), ["a", "a", "a", "b"]);
  assert.deepEqual(seen.answered, ["a", "b"]);
  assert.deepEqual(seen.refused, []);
  assert.ok(seen.states.some(([edits, offline]) => edits === 2 && offline), "the screen was told");
  assert.equal(outbox.offline, false);
});

test("an edit that fails although the server is there is handed back and blocks nobody", async () => {
  const { outbox, seen } = outboxWith([undefined, { rev: 1 }], { probes: [true] });
  outbox.push(edit("bad"));
  outbox.push(edit("good"));
  await outbox.idle();
  assert.deepEqual(seen.refused, ["bad"]);
  assert.deepEqual(seen.answered, ["good"]);
});

test("a question that gets no answer is not repeated behind the person's back", async () => {
  const { outbox, seen } = outboxWith([undefined]);
  outbox.push({ op: "step", op_id: "s", photo: 1, read: true });
  await outbox.idle();
  assert.deepEqual([seen.sent.length, seen.refused], [1, ["s"]]);
});

test("a server that never answers counts as no answer", async () => {
  const { outbox, seen } = outboxWith([() => new Promise(() => {}), { rev: 1 }],
    { probes: [false], timeoutSeconds: () => 0.01 });
  outbox.push(edit("a"));
  await outbox.idle();
  assert.deepEqual(seen.answered, ["a"]);
  assert.equal(seen.sent.length, 2);
});

test("forgetting a photo's edits spares the one in flight and other photos, and counts", async () => {
  const { outbox, seen } = outboxWith([{ rev: 1 }, { rev: 2 }]);
  outbox.push(edit("flying"));
  outbox.push(edit("later"));
  outbox.push({ ...edit("elsewhere"), photo: 2 });
  assert.equal(outbox.forget(1), 1);
  await outbox.idle();
  assert.deepEqual(seen.answered, ["flying", "elsewhere"]);
});
