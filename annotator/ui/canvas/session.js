// The conversation with the server: opens photos, sends edits through the outbox, shows at once how
// the answer will look. The one place that knows the wire protocol; every request carries
// {op, op_id, project, photo, base_rev, tab}, every answer is {full}, a patch, or {error}.

const STILL_OPENING = "The next photo is still opening; press again.";
const EDITED_HINT_MS = 300; // side panels refresh once after a burst of edits, not per edit
const REOPEN_SECONDS = 5; // with no photo at all there is nothing else to do

/**
 * ask(op) -> Promise<answer|undefined>. view: {photoChanged(full), changed(), tell(text, kind,
 * action), editing(), acknowledged()}, called after `state` is up to date. unsaved: see unsaved.js.
 * later(work, seconds) does it then.
 */
function createSession(state, ask, view, unsaved,
  later = (work, seconds) => setTimeout(work, seconds * 1000)) {
  let hintTimer = 0;
  let lastFull = null; // what the probe found: the truth to fall back to
  const tab = newId();

  const outbox = createOutbox({
    send: (op) => ask(wire(op)),
    probe: async () => {
      const answer = await ask(wire(operation({ op: "get", filter: state.filter })));
      lastFull = answer && answer.full ? answer.full : null;
      return Boolean(answer);
    },
    on: {
      prepare(op) {
        if (op.op === "step") op.photo = state.server.photo; // on from where the last step led
        // A retry keeps the revision it was first sent with: the server knows it by op_id.
        // Of a photo that is not at hand nobody knows any: the server refuses 0 and shows it.
        const isHere = state.server && state.server.photo === op.photo;
        if (op.base_rev === undefined) op.base_rev = isHere ? state.server.rev : 0;
      },
      answered,
      refused,
      changed: () => view.changed(),
      keep: (edits) => unsaved.keep(state.project, edits),
    },
  });

  function operation(fields) {
    return { op_id: newId(), photo: state.server ? state.server.photo : null, ...fields };
  }

  function wire(op) {
    const { read, moves, after, preview, ...sent } = op;
    return { ...sent, project: state.project, tab, base_rev: sent.base_rev || 0 };
  }

  /** Recompute the document shown: what the server said, plus every edit still on its way. */
  function refresh() {
    if (!state.server) return;
    const edits = outbox.edits().filter((op) => op.photo === state.server.photo);
    state.doc = edits.reduce(previewOp, state.server);
    const ids = new Set(state.doc.instances.map((one) => one.id));
    if (state.selected !== null && !ids.has(state.selected)) state.selected = null;
    view.changed();
  }

  /** `isOurs`: the photo has another revision because of `op`, and no other change is known. */
  function adopt(full, op, isOurs = false) {
    const moved = !state.server || state.server.photo !== full.photo;
    const wasEmpty = moved || !state.server.instances.length;
    // Only a question about the list says where in the filtered list the photo stands.
    const keepsPlace = !moved && !op.filter;
    // What was decided on the photo as it was shown is refused where that is no longer so.
    const isOther = !moved && !isOurs && state.server.rev !== full.rev;
    for (const edit of isOther ? outbox.edits() : []) {
      if (edit.base_rev === undefined) edit.base_rev = state.server.rev;
    }
    state.server = keepsPlace ? { ...full, nav: state.server.nav } : full;
    if (moved) {
      Object.assign(state,
        { selected: null, hovered: null, chosenFinding: null, recent: new Set() });
    }
    refresh();
    // Also where the first proposals came in for a photo that is open already. Who took the selection
    // away keeps it so: the next click would change what came into it.
    if (state.selected === null && op.read && wasEmpty) state.selected = firstToLookAt(full, op);
    if (moved) view.photoChanged(full);
    view.changed();
  }

  /** Who looks for what is suspicious begins there, everybody else with what is undecided. */
  function firstToLookAt(full, op) {
    const looks = op.flagged || state.filter.order === "suspicious";
    const worst = looks && (full.findings || []).find((one) => one.id !== null);
    return worst ? worst.id : nextOpen(state.visible(), null);
  }

  function answered(op, answer) {
    state.lastError = answer.error || null;
    state.unreachable = false;
    arrived();
    if (answer.error) return failed(op, answer);
    if (answer.full) {
      if (answer.made) named(op, answer.made); // done before; the answer was lost
      // A class is the project's: where the photo changed with it, somebody else changed that.
      adopt(answer.full, op, !op.read && op.op !== "add_class");
    } else if (state.server && op.photo === state.server.photo) {
      adoptPatch(op, answer);
    }
    if (answer.notice) view.tell(sentence(answer.notice), "info");
    if (op.op === "add_class") classAdded(op);
    if (!op.read) hintEdited();
    if (op.after) op.after();
  }

  /** Another photo is on its way as long as a question that may lead to one is. */
  function arrived() {
    state.navigating = outbox.pending.some((op) => op.moves);
  }

  function adoptPatch(op, patch) {
    const made = patch.select === undefined ? null : patch.select;
    if (made !== null) named(op, made);
    for (const one of patch.upsert || []) if (one.status === "rejected") state.recent.add(one.id);
    const wasDraft = state.selected === op.op_id;
    state.server = applyPatch(state.server, patch);
    if (wasDraft) state.selected = made;
    refresh();
    const follow = op.op === "undo" || op.op === "redo" || (op.id === null && state.selected === null);
    if (made !== null && follow) state.selected = made;
    view.changed();
  }

  /** Later edits of something that had no id yet now get it. */
  function named(op, made) {
    for (const other of outbox.pending) {
      if (other.id === op.op_id) other.id = made;
      if (other.target === op.op_id) other.target = made;
    }
  }

  function failed(op, { error, full }) {
    let dropped = 0;
    if (error.code === "conflict") dropped = outbox.forget(op.photo);
    arrived();
    dropped += forgetDraft(op) + forgetUndoOf(op);
    const more = dropped ? " " + plural(dropped, "later change was", "later changes were") +
      " not applied." : "";
    // The end of the list is no mishap.
    const kind = ["step", "find"].includes(op.op) && error.code === "review" ? "info" : "error";
    view.tell(sentence(error.message) + more, kind);
    if (full) adopt(full, op);
    else refresh();
    // The address may name a photo that is gone: start where the person stopped instead.
    if (op.op === "open" && op.photo !== null && !state.server) open(null);
  }

  // The server answers other questions but not this one: take the preview back, offer a second try.
  function refused(op) {
    // Steps on from a photo that did not come lead nowhere.
    if (op.moves) outbox.pending = outbox.pending.filter((other) => !other.moves);
    arrived();
    state.unreachable = op.read && !state.server;
    state.lastError = { code: "no_answer", message: "no answer to " + op.op };
    const dropped = forgetDraft(op) + forgetUndoOf(op);
    if (lastFull && !op.read) adopt(lastFull, op);
    else refresh();
    const what = op.read ? "The photo could not be opened." : "This change could not be saved.";
    const more = dropped ? " Changes that followed from it: " + dropped + "." : "";
    const again = { label: "Try again", run: () => resend(op) };
    view.tell(what + more, "error", again);
    // A server that was busy or away when the page was loaded: the page must not stay empty.
    const isStillEmpty = () => state.unreachable && !outbox.pending.length;
    if (state.unreachable) later(() => isStillEmpty() && resend(op), REOPEN_SECONDS);
  }

  function resend(op) {
    if (op.moves) state.navigating = true;
    outbox.push({ ...op, base_rev: undefined });
    refresh();
  }

  /** Edits of an instance that never came to be; returns how many. */
  function forgetDraft(op) {
    const orphans = outbox.pending.filter((other) => other.id === op.op_id);
    outbox.pending = outbox.pending.filter((other) => !orphans.includes(other));
    return orphans.length;
  }

  /**
   * Undo and redo that were meant for an edit which was not made: they would take back another one.
   * Those for edits that still wait behind it stay. Returns how many.
   */
  function forgetUndoOf(op) {
    if (op.read) return 0;
    let [made, undone] = [0, 0];
    const isLost = (other) => {
      if (other.read || other.photo !== op.photo || other.op === "add_class") return false;
      if (other.op === "undo") return made > 0 ? (made -= 1, undone += 1, false) : true;
      if (other.op === "redo") return undone > 0 ? (undone -= 1, made += 1, false) : true;
      made += 1;
      undone = 0;
      return false;
    };
    const lost = outbox.pending.filter(isLost);
    outbox.pending = outbox.pending.filter((other) => !lost.includes(other));
    return lost.length;
  }

  // The new class is the current one, and that of the instance that was selected when it was typed.
  function classAdded(op) {
    const name = op.name.normalize("NFC").trim();
    const found = state.server.classes.find((one) => one.name === name);
    if (!found) return;
    state.chosenClass = found.id;
    const one = state.server.instances.find((other) => other.id === op.target);
    if (one && one.cls !== found.id) edit({ op: "set_class", id: one.id, cls: found.id });
  }

  function hintEdited() {
    clearTimeout(hintTimer);
    hintTimer = setTimeout(() => view.acknowledged(), EDITED_HINT_MS);
  }

  function read(fields) {
    outbox.push(operation({ ...fields, read: true }));
    view.changed();
  }

  /**
   * Open a photo by id, or with null where the person stopped; `renew` works the order out anew.
   * Whoever looks again at the photo shown can go on deciding.
   */
  function open(photo, after, renew = false) {
    const stays = state.server && photo === state.server.photo && !state.navigating;
    if (!stays) state.navigating = true;
    read({ op: "open", photo, filter: state.filter, after, renew, moves: !stays });
  }

  /** Send an edit of the photo shown; it is visible before the server answers. */
  function edit(fields) {
    view.editing();
    const op = operation(fields);
    outbox.push(op);
    if (op.id === null || op.op === "add_box") state.selected = op.op_id;
    refresh();
  }

  /** Send what the page could not save before it was loaded again; whether there was anything. */
  function resume(after) {
    const edits = unsaved.kept(state.project);
    if (!edits.length) return false;
    open(edits[0].photo, after, true); // so that it is seen what becomes of them
    for (const edit of edits) outbox.push(edit);
    view.tell("Sending " + plural(edits.length, "change", "changes") + " that " +
      (edits.length === 1 ? "was" : "were") + " not saved before the page was loaded again.");
    return true;
  }

  return {
    outbox,
    open,
    edit,
    resume,
    /** `only`: {flagged: true} or {undecided: true}, the next photo of that kind. */
    step(dir, only = {}) {
      state.navigating = true;
      read({ op: "step", dir, ...only, filter: state.filter, moves: true });
    },
    /** The photo of this name, or at this place of the list. */
    find(text) {
      state.navigating = true;
      read({ op: "find", text, filter: state.filter, moves: true });
    },
    /** A page of the film strip; outside the outbox, because it waits for no edit. */
    list: (offset, limit) =>
      ask(wire(operation({ op: "list", filter: state.filter, offset, limit }))),
    /** A question or an order about the whole project, outside the outbox. */
    ask: (op, fields = {}) => ask(wire(operation({ op, ...fields }))),
    /** Other masks for an instance; a question that changes nothing. */
    others: (id) => ask(wire(operation({ op: "alternatives", id }))),
    tab,
  };
}

/** A random id; crypto.randomUUID exists in secure contexts only, and a LAN address is none. */
function newId() {
  const bytes = crypto.getRandomValues(new Uint8Array(16));
  bytes[6] = (bytes[6] & 15) | 64;
  bytes[8] = (bytes[8] & 63) | 128;
  const hex = Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join("");
  return [hex.slice(0, 8), hex.slice(8, 12), hex.slice(12, 16), hex.slice(16, 20), hex.slice(20)]
    .join("-");
}

const sentence = (text) => text.slice(0, 1).toUpperCase() + text.slice(1);
const plural = (count, one, many) => count + " " + (count === 1 ? one : many);

if (typeof module !== "undefined") module.exports = { createSession };
