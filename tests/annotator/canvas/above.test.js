// What one's decisions tell of a score, and which finding a key is about.
const test = require("node:test");
const assert = require("node:assert");
const { readFileSync } = require("node:fs");
const path = require("node:path");
const { SOURCES } = require("./sources.js");

const joined = ["session.js", "above.js", "document.js"]
  .map((name) => readFileSync(path.join(SOURCES, name), "utf8").split("if (typeof module")[0])
  .join("\n");
const { shareAt, expectationText, previewText, focusedFinding, applyPatch, previewOp, createAbove } =
  new Function("reconcile", joined + "\nreturn { shareAt, expectationText, previewText, " +
    "focusedFinding, applyPatch, previewOp, createAbove };")(() => {});

const KNOTS = [[0.2, 0.1, 0, 0.3], [0.4, 0.1, 0, 0.3], [0.6, 0.9, 0.8, 1]];

test("a curve is flat outside of its knots and straight between them", () => {
  assert.deepEqual(shareAt(KNOTS, 0), [0.1, 0, 0.3]);
  assert.deepEqual(shareAt(KNOTS, 0.3), [0.1, 0, 0.3]);
  assert.deepEqual(shareAt(KNOTS, 0.5).map((one) => Math.round(100 * one)), [50, 40, 65]);
  assert.deepEqual(shareAt(KNOTS, 1), [0.9, 0.8, 1]);
});

test("a class too seldom decided borrows from all classes and says so", () => {
  const answer = {
    too_few: 20,
    curves: [
      { cls: null, source: "classical", decided: 63, knots: KNOTS },
      { cls: 1, source: "classical", decided: 40, knots: KNOTS },
      { cls: 2, source: "classical", decided: 5, knots: null },
      { cls: null, source: "new", decided: 3, knots: null },
    ],
  };
  const text = (fields) => expectationText(answer, { cls: 1, maker: "classical", ...fields }, 1, "cat");
  assert.equal(text({}), "At 1.00, 90 % of “cat” were right (80 % to 100 %, 40 decided).");
  assert.match(text({ cls: 2 }), /90 % of all classes were right .*63 decided/);
  assert.match(text({ maker: "new" }), /^Too few to tell .* 3 of at least 20 decided/);
  assert.match(text({ maker: "never seen" }), /^Too few to tell .* 0 of/);
});

test("a preview says how many, where, and what to expect", () => {
  const expected = { right: 0.7, low: 0.6, high: 0.8 };
  assert.equal(previewText({ objects: 0 }), "Nothing undecided has such a score.");
  assert.match(previewText({ objects: 1, photos: 1, known: 0, expected: null }),
    /^1 object on 1 photo. Too few were decided/);
  assert.match(previewText({ objects: 5, photos: 2, known: 3, expected }),
    /70 % of them are right \(60 % to 80 %\)\. 2 are of a kind too seldom decided/);
});

test("a key is about the finding chosen, else that of the selection, else the worst", () => {
  const finding = (subject, id) => ({ kind: "tags", subject, state: "s", id });
  const found = [finding("object 1", 1), finding("tag 3", null), finding("object 2", 2)];
  assert.equal(focusedFinding([], {}), null);
  assert.equal(focusedFinding(found, {}).subject, "object 1");
  assert.equal(focusedFinding(found, { selected: 2 }).subject, "object 2");
  assert.equal(focusedFinding(found, { selected: 2, chosenFinding: "tags | tag 3 | s" }).subject, "tag 3");
  assert.equal(focusedFinding(found, { chosenFinding: "gone" }).subject, "object 1");
});

test("a confirmed finding is gone at once, and the server has the last word", () => {
  const findings = [{ subject: "object 1", state: "s" }, { subject: "object 1", state: "t" }];
  const doc = { instances: [], findings };
  const now = previewOp(doc, { op: "confirm", subject: "object 1", state: "s" });
  assert.deepEqual(now.findings, [{ subject: "object 1", state: "t" }]);
  assert.deepEqual(applyPatch(doc, { findings: [] }).findings, []);
  assert.equal(applyPatch(doc, {}).findings, doc.findings);
});

/** The dialog on plain objects; `asked` holds [op, fields, answer it], last one last. */
function dialog() {
  const parts = {};
  const part = (name) => (parts[name] ??= {
    value: "", listeners: {}, showModal() { this.open = true; }, close() { this.open = false; },
    addEventListener(kind, run) { this.listeners[kind] = run; },
  });
  const it = { asked: [], told: [], reloads: 0, part };
  it.above = createAbove({
    state: { doc: { classes: [] }, filter: { cls: null }, minScore: 0.5, project: "p" }, part,
    ask: (op, fields) => new Promise((done) => it.asked.push([op, fields, done])),
    changed() {}, tell: (text, kind, action) => it.told.push({ text, kind, action }),
    reload: () => { it.reloads += 1; },
  });
  it.answer = async (value) => {
    it.asked.at(-1)[2](value);
    for (let i = 0; i < 4; i++) await null;
  };
  it.slide = (score) => {
    part("above-score").value = score;
    part("above-score").listeners.input();
  };
  return it;
}

const PREVIEW = { objects: 5, photos: 2, known: 0, expected: null, examples: [], last: null,
  fingerprint: "f5" };

test("what was shown for another score cannot be accepted, not even for a moment", async (t) => {
  t.mock.timers.enable({ apis: ["setTimeout"] });
  const { above, part, answer, asked, slide } = dialog();
  above.open();
  await answer(PREVIEW);
  assert.deepEqual([part("above-accept").disabled, asked.length], [false, 1]);
  slide(0.1);
  assert.equal(part("above-accept").disabled, true);
  assert.equal(part("above-text").textContent, "Counting…");
  above.accept();
  assert.equal(asked.length, 1);
  t.mock.timers.tick(300);
  assert.equal(asked.at(-1)[1].min_score, 0.1);
  slide(0.2); // what is on its way is about 0.1
  await answer(PREVIEW);
  assert.equal(part("above-accept").disabled, true);
  t.mock.timers.tick(300);
  await answer({ ...PREVIEW, fingerprint: "f2" });
  above.accept();
  assert.deepEqual([asked.at(-1)[0], asked.at(-1)[1].min_score, asked.at(-1)[1].fingerprint],
    ["accept_above", 0.2, "f2"]);
});

test("what was accepted can be taken back in the dialog, also where the answer was lost", async () => {
  const { above, part, answer, asked, told } = dialog();
  above.open();
  await answer(PREVIEW);
  assert.deepEqual([part("above-last").hidden, above.hasLast()], [true, false]);
  above.accept();
  await answer(undefined);
  assert.match(told[0].text, /no answer; it may have been done/);
  told[0].action.run();
  await answer({ ...PREVIEW, objects: 0, last: { number: "n", objects: 5, photos: 2 } });
  assert.equal(part("above-last").hidden, false);
  assert.equal(part("above-last-text").textContent, "Accepted last: 5 objects on 2 photos.");
  above.undoLast();
  assert.deepEqual(asked.at(-1).slice(0, 2), ["take_back", { batch: "n" }]);
});
