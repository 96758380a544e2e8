// Edits on their way to the server, pure but for the injected clock: one operation in flight, in
// order, each with its own id so that a retry is never applied twice. Nothing is ever dropped in
// silence: an edit is acknowledged, refused with a reason, or still waiting and said to be.

const RETRY_SECONDS = [1, 2, 4, 8, 15];
const SLOW_OPS = new Set(["click", "add_box", "brush", "set_box", "undo", "redo"]);

/**
 * send(op) -> Promise of an answer; `undefined`, a rejection and a timeout all mean "no answer".
 * on: {prepare(op), answered(op, answer), refused(op), changed(), keep(edits)}, where `prepare` fills
 * base_rev just before sending, `refused` hands back an edit that fails although the server is there,
 * and `keep` gets what is not saved yet, whenever that changes.
 * probe() -> Promise<boolean> asks something harmless to tell a broken edit from a lost server.
 */
function createOutbox({ send, probe, on, wait = (ms) => new Promise((done) => setTimeout(done, ms)),
  timeoutSeconds = (op) => (SLOW_OPS.has(op.op) ? 180 : 20) }) {
  const box = { pending: [], offline: false, attempts: 0, inFlight: null, since: 0 };
  let running = false;
  let idlers = [];
  let wake = null;

  async function answerTo(op) {
    let timer;
    const late = new Promise((done) => {
      timer = setTimeout(() => done(undefined), timeoutSeconds(op) * 1000);
    });
    try {
      return await Promise.race([send(op), late]);
    } catch {
      return undefined;
    } finally {
      clearTimeout(timer);
    }
  }

  async function deliver(op) {
    box.inFlight = op;
    on.prepare(op);
    on.keep(box.edits()); // the revision too: after a reload it is sent as it was
    on.changed();
    const answer = await answerTo(op);
    box.inFlight = null;
    if (answer !== undefined && answer !== null) {
      Object.assign(box, { offline: false, attempts: 0 });
      box.pending = box.pending.filter((other) => other !== op);
      on.answered(op, answer);
      return;
    }
    if (op.read || (await probe())) {
      // A lost question is asked again by whoever asked; a lost edit must not block the others.
      Object.assign(box, { offline: false, attempts: 0 });
      box.pending = box.pending.filter((other) => other !== op);
      on.refused(op);
      return;
    }
    box.offline = true;
    const seconds = RETRY_SECONDS[Math.min(box.attempts, RETRY_SECONDS.length - 1)];
    box.attempts += 1;
    on.changed();
    await Promise.race([wait(seconds * 1000), new Promise((done) => { wake = done; })]);
  }

  async function run() {
    if (running) return;
    running = true;
    while (box.pending.length) {
      await deliver(box.pending[0]);
      on.keep(box.edits());
    }
    running = false;
    on.changed();
    for (const done of idlers.splice(0)) done();
  }

  box.push = (op) => {
    box.pending.push(op);
    if (running) on.keep(box.edits());
    run();
  };
  box.retryNow = () => wake && wake();
  /** Forget what is asked of a photo and was not sent yet; returns how many edits that were. */
  box.forget = (photo) => {
    const before = box.edits().length;
    box.pending = box.pending.filter((op) => op === box.inFlight || op.photo !== photo);
    return before - box.edits().length;
  };
  box.edits = () => box.pending.filter((op) => !op.read);
  box.idle = () => (running ? new Promise((done) => idlers.push(done)) : Promise.resolve());
  return box;
}

if (typeof module !== "undefined") module.exports = { createOutbox };
