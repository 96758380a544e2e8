// The conversation with the server, with the server played by a function.
const test = require("node:test");
const assert = require("node:assert");
const { readFileSync } = require("node:fs");
const path = require("node:path");
const { SOURCES } = require("./sources.js");

// The page joins the files into one function body; so does this.
const joined = ["core.js", "document.js", "outbox.js", "unsaved.js", "session.js"]
  .map((name) => readFileSync(path.join(SOURCES, name), "utf8").split("if (typeof module")[0])
  .join("\n");
const { createSession, createUnsaved, visibleInstances } = new Function(
  joined + "\nreturn { createSession, createUnsaved, visibleInstances };")();

/** What a tab of the browser keeps. */
function newStorage() {
  const items = new Map();
  return {
    items,
    getItem: (key) => items.get(key) ?? null,
    setItem: (key, value) => items.set(key, value),
    removeItem: (key) => items.delete(key),
  };
}

const instance = (id, fields = {}) => ({
  id, cls: 1, status: "proposed", score: 0.5, source: "x", box: [0, 0, 10, 10], rle: null,
  points: [], ...fields,
});
const full = (fields = {}) => ({
  photo: 1, name: "a.jpg", rev: 3, can_undo: false, can_redo: false, image: { w: 100, h: 80 },
  nav: { index: 4, total: 9 }, counts: { todo: 1, done: 0, total: 1 }, tags: [1], notes: [],
  classes: [{ id: 1, name: "cat", rgb: [1, 2, 3] }], instances: [instance(1), instance(2)],
  ...fields,
});

/** A session whose server is `reply(op)`; resolves once the photo is open. */
async function openSession(reply, storage = newStorage(), later = () => {}) {
  const state = {
    project: "p", filter: { status: "all", cls: null }, server: null, doc: null, selected: null,
    hovered: null, recent: new Set(), navigating: false, chosenClass: null,
    visible() { return visibleInstances(this.doc, this); },
  };
  const told = [];
  const sent = [];
  const ask = async (op) => {
    sent.push(op);
    if (op.op === "open" && !reply.opens) return { full: full() };
    return reply(op);
  };
  const session = createSession(state, ask, {
    photoChanged() {}, changed() {}, acknowledged() {}, editing() {},
    tell: (text, kind, action) => told.push({ text, kind, action }),
  }, createUnsaved(() => storage), later);
  if (!session.resume()) session.open(null);
  await session.outbox.idle();
  return { state, session, told, sent };
}

test("opening selects the first open proposal", async () => {
  const { state } = await openSession(() => undefined);
  assert.deepEqual([state.doc.photo, state.selected, state.navigating], [1, 1, false]);
});

test("every operation carries its id, project, photo, revision and tab", async () => {
  const { session, sent } = await openSession(() => ({ rev: 4 }));
  session.edit({ op: "set_status", id: 1, status: "accepted" });
  await session.outbox.idle();
  const op = sent.at(-1);
  assert.match(op.op_id, /^[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$/);
  assert.deepEqual([op.project, op.photo, op.base_rev], ["p", 1, 3]);
  assert.equal(op.tab, sent[0].tab);
  assert.deepEqual(Object.keys(op).sort(),
    ["base_rev", "id", "op", "op_id", "photo", "project", "status", "tab"]);
});

test("what only the preview needs is not sent", async () => {
  const { session, sent } = await openSession(() => ({ rev: 4 }));
  session.edit({ op: "choose", id: 1, rle: null, preview: { box: [1, 2, 3, 4] } });
  await session.outbox.idle();
  assert.equal("preview" in sent.at(-1), false);
});

test("a second edit stays in sight when the first is answered", async () => {
  const { state, session } = await openSession((op) => ({
    rev: op.base_rev + 1, upsert: [instance(op.id, { status: op.status })],
  }));
  session.edit({ op: "set_status", id: 1, status: "accepted" });
  session.edit({ op: "set_status", id: 2, status: "rejected" });
  assert.deepEqual(state.doc.instances.map((one) => one.status), ["accepted", "rejected"]);
  await session.outbox.idle();
  assert.deepEqual(state.server.instances.map((one) => one.status), ["accepted", "rejected"]);
  assert.equal(state.server.rev, 5);
});

test("a click on something that has no id yet waits for it", async () => {
  const { state, session, sent } = await openSession((op) => ({
    rev: op.base_rev + 1, upsert: [instance(50, { status: "drawn" })], select: 50,
  }));
  session.edit({ op: "click", id: null, cls: 1, point: [5, 5, 1] });
  session.edit({ op: "click", id: state.selected, cls: 1, point: [9, 9, 0] });
  assert.equal(state.doc.instances.at(-1).points.length, 2);
  await session.outbox.idle();
  assert.equal(sent.at(-1).id, 50);
  assert.equal(state.selected, 50);
});

test("when a new instance is refused, what followed from it is dropped and counted", async () => {
  const { state, session, told, sent } = await openSession(() => ({
    error: { code: "review", message: "No mask here." },
  }));
  session.edit({ op: "click", id: null, cls: 1, point: [5, 5, 1] });
  session.edit({ op: "click", id: state.selected, cls: 1, point: [9, 9, 0] });
  await session.outbox.idle();
  assert.equal(sent.length, 2, "the open and the first click");
  assert.equal(told[0].text, "No mask here. 1 later change was not applied.");
  assert.deepEqual(state.doc.instances.map((one) => one.id), [1, 2]);
  assert.equal(state.selected, null);
});

test("a refusal takes the preview back and says why", async () => {
  const { state, session, told } = await openSession(() => ({
    error: { code: "review", message: "Choose a class first." },
  }));
  session.edit({ op: "set_status", id: 1, status: "accepted" });
  await session.outbox.idle();
  assert.equal(state.doc.instances[0].status, "proposed");
  assert.deepEqual([told[0].text, told[0].kind], ["Choose a class first.", "error"]);
  assert.equal(state.lastError.code, "review");
});

test("a conflict shows the photo as it is and says how many edits were left out", async () => {
  const now = full({ rev: 8, instances: [instance(2)], nav: { index: 0, total: 99 } });
  const { state, session, told } = await openSession(() => ({
    error: { code: "conflict", message: "Another tab changed this photo." }, full: now,
  }));
  session.edit({ op: "set_status", id: 1, status: "accepted" });
  session.edit({ op: "delete", id: 1 });
  await session.outbox.idle();
  assert.deepEqual(state.doc.instances.map((one) => one.id), [2]);
  assert.match(told[0].text, /1 later change was not applied/);
  assert.deepEqual(state.doc.nav, { index: 4, total: 9 }, "the place in the list is kept");
});

test("an edit that the server cannot do is taken back, with a second try on offer", async () => {
  let works = false;
  const { state, session, told, sent } = await openSession((op) => {
    if (op.op === "get") return { full: full() };
    return works ? { rev: 4, upsert: [instance(1, { status: "accepted" })] } : undefined;
  });
  session.edit({ op: "set_status", id: 1, status: "accepted" });
  await session.outbox.idle();
  assert.equal(state.doc.instances[0].status, "proposed");
  assert.equal(told[0].action.label, "Try again");
  works = true;
  told[0].action.run();
  await session.outbox.idle();
  assert.equal(state.doc.instances[0].status, "accepted");
  const tries = sent.filter((op) => op.op === "set_status");
  assert.equal(tries[0].op_id, tries[1].op_id, "the server can tell that it is the same edit");
});

test("an address with a photo that is gone opens where the person stopped", async () => {
  const reply = (op) => (op.photo === null
    ? { full: full({ photo: 3 }) }
    : { error: { code: "store", message: "photo 77 is unknown" } });
  reply.opens = true;
  const { state, session, told } = await openSession(reply);
  Object.assign(state, { server: null, doc: null });
  session.open(77);
  await session.outbox.idle();
  assert.equal(told[0].text, "Photo 77 is unknown");
  assert.equal(state.doc.photo, 3);
});

test("undo selects what it brought back", async () => {
  const { state, session } = await openSession(() => ({
    rev: 4, upsert: [instance(2, { status: "proposed" })], select: 2,
  }));
  session.edit({ op: "undo" });
  await session.outbox.idle();
  assert.equal(state.selected, 2);
});

test("the end of the list is said, not complained about", async () => {
  const { state, session, told } = await openSession(() => ({
    error: { code: "review", message: "this is the last photo of the list" },
  }));
  session.step(1);
  assert.equal(state.navigating, true);
  await session.outbox.idle();
  assert.deepEqual([told[0].text, told[0].kind], ["This is the last photo of the list", "info"]);
  assert.deepEqual([state.doc.photo, state.navigating], [1, false]);
});

test("looking again at the photo shown blocks no edit", async () => {
  const { state, session, sent } = await openSession((op) => ({
    rev: op.base_rev + 1, upsert: [instance(1, { status: op.status })],
  }));
  session.open(1, undefined, true);
  assert.equal(state.navigating, false);
  session.edit({ op: "set_status", id: 1, status: "accepted" });
  await session.outbox.idle();
  assert.deepEqual(sent.slice(1).map((op) => [op.op, op.base_rev]), [["open", 3], ["set_status", 3]]);
  assert.equal(state.doc.instances[0].status, "accepted");
  assert.equal("moves" in sent[1], false);
});

test("an edit of a photo that turns out to have changed carries the revision it was made on", async () => {
  let rev = 3;
  const reply = (op) => (op.op === "open" ? { full: full({ rev }) } : { rev: op.base_rev + 1 });
  reply.opens = true;
  const { session, sent } = await openSession(reply);
  rev = 8;
  session.open(1);
  session.edit({ op: "set_status", id: 1, status: "accepted" });
  await session.outbox.idle();
  assert.equal(sent.at(-1).base_rev, 3, "so that the server can refuse it");
});

test("a step while stepping goes on from where one is going", async () => {
  const { state, session, sent } = await openSession((op) => ({ full: full({ photo: op.photo + 1 }) }));
  session.step(1);
  session.step(1);
  const seen = [];
  state.visible = () => { seen.push(state.navigating); return []; };
  await session.outbox.idle();
  assert.deepEqual(sent.slice(1).map((op) => op.photo), [1, 2]);
  assert.deepEqual([state.doc.photo, state.navigating], [3, false]);
  assert.deepEqual(seen, [true, false], "nobody decides on a photo that is passed by");
});

test("when a photo does not come, steps on from it are not made", async () => {
  const { state, session, sent, told } = await openSession(() => undefined);
  session.step(1);
  session.step(1);
  await session.outbox.idle();
  assert.deepEqual([sent.length, told.length, state.navigating], [2, 1, false]);
});

test("a conflict shows its photo instead of going on, and editing goes on there", async () => {
  const { state, session, told } = await openSession((op) => ({
    error: { code: "conflict", message: "Another tab changed this photo." }, full: full({ rev: 8 }),
  }));
  session.edit({ op: "set_status", id: 1, status: "accepted" });
  session.step(1);
  await session.outbox.idle();
  assert.deepEqual([state.doc.photo, state.navigating], [1, false]);
  assert.equal(told[0].text, "Another tab changed this photo.");
});

test("a later look at the photo selects nothing, unless there was nothing on it before", async () => {
  let instances = [instance(1), instance(2)];
  const reply = () => ({ full: full({ instances }) });
  reply.opens = true;
  const { state, session } = await openSession(reply);
  state.selected = null;
  session.open(1);
  await session.outbox.idle();
  assert.equal(state.selected, null);
  instances = [];
  session.open(1);
  await session.outbox.idle();
  instances = [instance(7)];
  session.open(1);
  await session.outbox.idle();
  assert.equal(state.selected, 7);
});

test("a class typed while the mask of a new box is found becomes the class of that box", async () => {
  const owl = { id: 9, name: "owl", rgb: [1, 2, 3] };
  const drawn = (fields) => instance(50, { status: "drawn", ...fields });
  const { state, session, sent } = await openSession((op) => {
    if (op.op === "add_box") return { rev: 4, upsert: [drawn()], select: 50 };
    if (op.op === "set_class") return { rev: 5, upsert: [drawn({ cls: op.cls })] };
    const { classes, instances } = full();
    return { full: full({ rev: 4, classes: [...classes, owl], instances: [...instances, drawn()] }) };
  });
  session.edit({ op: "add_box", cls: 1, box: [0, 0, 9, 9] });
  session.edit({ op: "add_class", name: "owl", filter: state.filter, target: state.selected });
  await session.outbox.idle();
  assert.deepEqual([sent.at(-1).op, sent.at(-1).id, sent.at(-1).cls], ["set_class", 50, 9]);
});

test("undo that was meant for a refused edit takes back no older one, and that is said", async () => {
  const { session, told, sent } = await openSession((op) => (op.op === "brush"
    ? { error: { code: "review", message: "Nothing is left." } } : { rev: op.base_rev + 1 }));
  session.edit({ op: "brush", id: 1, mode: "erase", radius: 9, pts: [[1, 1]] });
  session.edit({ op: "undo" });
  session.edit({ op: "redo" });
  await session.outbox.idle();
  assert.deepEqual(sent.slice(1).map((op) => op.op), ["brush"]);
  assert.equal(told[0].text, "Nothing is left. 2 later changes were not applied.");
});

test("undo of an edit behind a refused one stays", async () => {
  const { session, sent } = await openSession((op) => (op.op === "brush"
    ? { error: { code: "review", message: "Nothing is left." } } : { rev: op.base_rev + 1 }));
  session.edit({ op: "brush", id: 1, mode: "erase", radius: 9, pts: [[1, 1]] });
  session.edit({ op: "set_status", id: 1, status: "accepted" });
  session.edit({ op: "undo" });
  session.edit({ op: "undo" });
  await session.outbox.idle();
  assert.deepEqual(sent.slice(1).map((op) => op.op), ["brush", "set_status", "undo"]);
});

test("a new class that comes with a changed photo lets no edit through that did not see it", async () => {
  const { session, sent } = await openSession((op) =>
    (op.op === "add_class" ? { full: full({ rev: 8 }) } : { rev: 9 }));
  session.edit({ op: "add_class", name: "owl", filter: {}, target: null });
  session.edit({ op: "set_status", id: 1, status: "accepted" });
  await session.outbox.idle();
  assert.equal(sent.at(-1).base_rev, 3);
});

test("what was not saved is sent again by the next page, in order and under the same ids", async () => {
  const storage = newStorage();
  let [gone, late] = [true, null];
  const reply = (op) => {
    // The page is loaded again before anything comes back; what comes later hurts nobody.
    if (gone) return new Promise((done) => { late = done; });
    return op.op === "open" ? { full: full() } : { rev: op.base_rev + 1 };
  };
  const first = await openSession(reply, storage);
  first.session.edit({ op: "set_status", id: 1, status: "accepted" });
  first.session.edit({ op: "delete", id: 2 });
  gone = false;
  reply.opens = true;
  const second = await openSession(reply, storage);
  const edits = (sent) => sent.filter((op) => op.op !== "open");
  assert.deepEqual(second.sent.map((op) => [op.op, op.photo]),
    [["open", 1], ["set_status", 1], ["delete", 1]]);
  assert.equal(edits(second.sent)[0].op_id, edits(first.sent)[0].op_id);
  assert.deepEqual(edits(second.sent).map((op) => op.base_rev), [3, 4]);
  assert.match(second.told[0].text, /2 changes that were not saved/);
  assert.equal(storage.items.size, 0, "what is acknowledged is kept no longer");
  late({ rev: 9 });
  await first.session.outbox.idle();
});

test("an edit of what the lost answer would have named gets its id all the same", async () => {
  const storage = newStorage();
  let [gone, late] = [true, null];
  const reply = (op) => {
    if (gone) return new Promise((done) => { late = done; });
    if (op.op === "open") return { full: full({ rev: 4, instances: [instance(50)] }) };
    if (op.op === "add_box") return { full: full({ rev: 4, instances: [instance(50)] }), made: 50 };
    return { rev: 5 };
  };
  const first = await openSession(reply, storage);
  first.session.edit({ op: "add_box", cls: 1, box: [0, 0, 9, 9] });
  first.session.edit({ op: "set_class", id: first.state.selected, cls: 1 });
  gone = false;
  reply.opens = true;
  const second = await openSession(reply, storage);
  assert.deepEqual([second.sent.at(-1).op, second.sent.at(-1).id], ["set_class", 50]);
  late({ rev: 4, select: 50 });
  await first.session.outbox.idle();
});

test("a page that got no photo asks again by itself, and no more once it has one", async () => {
  const waiting = [];
  let [isThere, asked] = [false, 0];
  const reply = (op) => {
    if (op.op === "open") asked += 1;
    return isThere ? { full: full() } : undefined;
  };
  reply.opens = true;
  const { state, session, told } = await openSession(reply, newStorage(),
    (work, seconds) => waiting.push({ work, seconds }));
  assert.equal(state.unreachable, true);
  assert.match(told.at(-1).text, /could not be opened/);
  assert.deepEqual(waiting.map((one) => one.seconds), [5]);
  waiting.pop().work();
  await session.outbox.idle();
  assert.deepEqual([asked, waiting.length], [2, 1]);
  isThere = true;
  waiting.pop().work();
  await session.outbox.idle();
  assert.equal(state.doc.photo, 1);
  assert.deepEqual([asked, waiting.length], [3, 0]);
});
