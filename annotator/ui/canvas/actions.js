// What every button and key does, by the name in data-action and in SHORTCUTS. Decisions follow one
// rule: do it, then go to the next proposal.

const ZOOM_STEP = 1.25;
const BRUSH_STEP = 1.2;

/**
 * parts: {state, session, chrome, tools, strip, cycle, viewChanged, render, remember, fit, openHelp,
 * submitClass, reloadPhoto, askPlace}.
 */
function createActions(parts) {
  const { state, session, chrome, tools } = parts;
  const tell = chrome.tell;

  function select(id, reveal = false) {
    state.selected = id;
    if (reveal) revealSelected();
    parts.render();
  }

  /** Pan so that the selection is in sight; only matters when zoomed in. */
  function revealSelected() {
    const one = state.selectedInstance();
    if (!one || !state.view) return;
    const [x, y] = toScreen(state.view, (one.box[0] + one.box[2]) / 2, (one.box[1] + one.box[3]) / 2);
    const { w, h } = state.stage;
    if (x >= 0 && y >= 0 && x <= w && y <= h) return;
    state.view = keepInSight(
      { scale: state.view.scale, x: state.view.x + w / 2 - x, y: state.view.y + h / 2 - y },
      state.stage, state.doc.image);
    parts.viewChanged();
  }

  const byId = (id) => state.doc.instances.find((one) => String(one.id) === String(id)) || null;

  function advance(from) {
    const next = nextOpen(state.visible(), from);
    if (next !== null) return select(next, true);
    parts.render();
    if (!state.openInstances().length) tell("All decided. Press → for the next photo.", "good");
  }

  /** Whether the photo can be edited. A key that comes before its photo is not kept for it. */
  function mayEdit() {
    if (state.navigating) tell(STILL_OPENING);
    return state.canEdit();
  }

  /** The instance a decision is about; selects the first open one where nothing is selected. */
  function subject() {
    if (!mayEdit()) return null;
    const one = state.selectedInstance();
    if (one) return one;
    const first = nextOpen(state.visible(), null);
    if (first === null) tell("Nothing is selected. Press → for the next photo.");
    else select(first, true);
    return null;
  }

  function accept(one, goOn) {
    if (one.cls === null) return tell("Choose a class first (1–9).", "error");
    if (!isCurated(one)) session.edit({ op: "set_status", id: one.id, status: "accepted" });
    else if (state.isFlagged(one.id)) return confirmed(state.findings().find((f) => f.id === one.id));
    if (goOn) advance(one.id);
  }

  function reject(one, goOn) {
    if (one.status !== "rejected") {
      state.recent.add(one.id);
      session.edit({ op: "set_status", id: one.id, status: "rejected" });
    }
    if (goOn) advance(one.id);
  }

  // ---- findings ---------------------------------------------------------------------------------

  function look(finding) {
    state.chosenFinding = findingKey(finding);
    select(finding.id, true);
  }

  const withKey = (key) => state.findings().find((one) => findingKey(one) === key);

  function confirmed(finding) {
    session.edit({ op: "confirm", subject: finding.subject, state: finding.state });
    const next = state.findings()[0];
    if (next) return look(next);
    parts.render();
    tell("Nothing else looks wrong here. Press S for the next finding.", "good");
  }

  /** Only what is highlighted can be confirmed: nobody agrees to what they have not seen. */
  function confirm() {
    if (!mayEdit()) return;
    const finding = state.finding();
    if (finding) confirmed(finding);
    else tell("Nothing looks wrong on this photo. Press S for the next finding.");
  }

  function nextFinding() {
    if (!state.hasPhoto()) return;
    if (state.navigating) return tell(STILL_OPENING);
    const now = state.finding();
    const next = now && findingAfter(state.findings(), now);
    if (next) look(next);
    else go(() => session.step(1, { flagged: true }));
  }

  /** Draw what may be missing, as the detector saw it; the segmenter finds its mask. */
  function addMissing(key) {
    const finding = withKey(key);
    if (!finding || !mayEdit()) return;
    session.edit({ op: "add_box", cls: finding.cls, box: finding.box });
  }

  function acceptAll() {
    if (!mayEdit()) return;
    const open = state.openInstances();
    const ready = open.filter((one) => one.cls !== null);
    if (!open.length) return tell("Nothing is left to accept here.");
    if (!ready.length) return tell("Choose a class first (1–9).", "error");
    const left = open.length - ready.length;
    session.edit({ op: "accept_all", min_score: state.minScore });
    const rest = left
      ? plural(left, "other has", "others have") + " no class yet." : "Press → for the next photo.";
    tell("Accepted " + plural(ready.length, "proposal", "proposals") + ". " + rest, "good");
    if (left) advance(null);
  }

  function setClass(id) {
    if (!state.doc) return;
    const found = state.doc.classes.find((one) => String(one.id) === String(id));
    if (!found) return;
    if (state.navigating) return tell(STILL_OPENING);
    state.chosenClass = found.id;
    const one = state.selectedInstance();
    if (one && state.canEdit() && one.cls !== found.id) {
      session.edit({ op: "set_class", id: one.id, cls: found.id });
    }
    parts.render();
  }

  /** Give the photo the tag of a class, or take it away. */
  function toggleTag(id) {
    const found = mayEdit() && state.doc.classes.find((one) => String(one.id) === String(id));
    if (!found) return;
    const on = !state.doc.tags.includes(found.id);
    session.edit({ op: "set_tag", cls: found.id, on });
    tell((on ? "The photo is tagged " : "The photo is no longer tagged ") + found.name + ".");
  }

  function classByDigit(digit) {
    if (!state.doc) return;
    const one = orderedClasses(state.doc.classes, state.doc.tags)[digit - 1];
    if (one) setClass(one.id);
    else tell("There is no class with the number " + digit + ".");
  }

  function findOrAddClass(name) {
    const wanted = name.trim();
    if (!wanted || !mayEdit()) return false;
    const lower = wanted.toLowerCase();
    const exact = state.doc.classes.find((one) => one.name.toLowerCase() === lower);
    // Only the whole name means a class that is there: "cat" may be new beside "caterpillar".
    if (exact) setClass(exact.id);
    else {
      const one = state.selectedInstance();
      const target = one ? one.id : null;
      session.edit({ op: "add_class", name: wanted, filter: state.filter, target });
    }
    return true;
  }

  function go(run) {
    if (!state.project) return;
    if (session.outbox.offline) {
      tell("The last changes are not saved yet; the next photo opens once they are.", "error");
      return;
    }
    tools.cancelDrag();
    chrome.dismiss();
    run();
  }

  function stepInstance(direction, wrap = true) {
    if (!state.hasPhoto()) return false;
    const id = neighbour(state.visible(), state.selected, direction, wrap);
    if (id !== null) select(id, true);
    return id !== null;
  }

  /** Show other photos, or the same in another order; that begins with its first one. */
  function setFilter(filter) {
    // A choice made while a photo is still coming counts, as soon as that is there.
    if (state.navigating) return void session.outbox.idle().then(() => setFilter(filter));
    go(() => {
      const isReordered = filter.order !== state.filter.order;
      state.filter = filter;
      parts.strip.reset(0);
      const here = state.hasPhoto() && !isReordered ? state.doc.photo : null;
      session.open(here, () => {
        const { index, total } = state.nav();
        parts.strip.show(state.doc.photo, index, total);
        parts.strip.invalidate();
        if (state.hasPhoto() && index === null && total > 0) session.open(null);
      }, true);
    });
  }

  function chooseTool(tool) {
    tools.cancelDrag();
    state.chosenTool = tool;
    parts.remember();
    parts.render();
    tools.showCursor();
  }

  function zoom(factor) {
    if (!state.view) return;
    const { w, h } = state.stage;
    state.view = zoomView(state.view, factor, w / 2, h / 2, state.stage, state.doc.image);
    parts.viewChanged();
  }

  function resizeBrush(factor) {
    const step = factor > 1 ? Math.ceil : Math.floor;
    state.brush = clamp(step(state.brush * factor), 4, 200);
    parts.remember();
    parts.render();
  }

  function history(op, allowed) {
    if (!mayEdit()) return;
    state.chosenFinding = null; // what comes back is looked at again, worst first
    if (!allowed && !session.outbox.edits().length) tell("Nothing to " + op + " on this photo.");
    else session.edit({ op });
  }

  function clearPoints() {
    const one = state.selectedInstance();
    if (!mayEdit()) return;
    if (!one || !one.points.length) return tell("The selection has no clicks to clear.");
    session.edit({ op: "clear_points", id: one.id });
  }

  function otherMask(direction) {
    const one = subject();
    if (!one) return;
    if (one.draft) return tell("Its first mask is still being found.");
    state.masksOn = true; // who chooses a mask wants to see it
    parts.cycle.step(one, direction);
  }

  function toggle(name) {
    state[name] = !state[name];
    parts.render();
  }

  const onThis = (run) => (id) => {
    const one = mayEdit() && byId(id);
    if (one) run(one);
  };

  const emptyActions = {
    reopen: () => go(() => session.open(null)),
    "all-photos": () => setFilter({ ...state.filter, status: "all", cls: null }),
    "reload-photo": () => parts.reloadPhoto(),
  };

  return {
    select,
    setClass,
    setFilter,
    chooseTool,
    classByDigit,
    findOrAddClass,
    goTo: (text) => text && go(() => session.find(text)),
    stepInstance,
    run: {
      accept: () => { const one = subject(); if (one) accept(one, true); },
      reject: () => { const one = subject(); if (one) reject(one, true); },
      "accept-all": acceptAll,
      "accept-this": onThis((one) => accept(one, false)),
      "reject-this": onThis((one) => reject(one, false)),
      "delete-this": onThis((one) => session.edit({ op: "delete", id: one.id })),
      "reopen-this": onThis((one) =>
        session.edit({ op: "set_status", id: one.id, status: "proposed" })),
      confirm: () => confirm(),
      "next-finding": nextFinding,
      "look-at": (key) => {
        const finding = withKey(key);
        if (finding) look(finding);
      },
      "add-missing": addMissing,
      "cycle-order": () => setFilter({
        ...state.filter,
        order: ORDERS[(ORDERS.indexOf(state.filter.order) + 1) % ORDERS.length],
      }),
      above: () => state.hasPhoto() && parts.above.open(),
      "above-accept": () => parts.above.accept(),
      "above-undo": () => parts.above.undoLast(),
      "close-above": () => parts.above.close(),
      class: setClass,
      "toggle-tag": toggleTag,
      select: (id) => { const one = byId(id); if (one) select(one.id, true); },
      "next-photo": () => state.hasPhoto() && go(() => session.step(1)),
      "previous-photo": () => state.hasPhoto() && go(() => session.step(-1)),
      "next-undecided": () => state.hasPhoto() && go(() => session.step(1, { undecided: true })),
      "go-to": () => state.hasPhoto() && parts.askPlace(),
      "open-photo": (id) => go(() => session.open(Number(id))),
      "next-instance": () => stepInstance(1),
      "previous-instance": () => stepInstance(-1),
      "cycle-filter": () => setFilter({
        ...state.filter,
        status: FILTERS[(FILTERS.indexOf(state.filter.status) + 1) % FILTERS.length],
      }),
      undo: () => history("undo", state.doc && state.doc.can_undo),
      redo: () => history("redo", state.doc && state.doc.can_redo),
      "brush-smaller": () => resizeBrush(1 / BRUSH_STEP),
      "brush-larger": () => resizeBrush(BRUSH_STEP),
      "clear-points": clearPoints,
      fit: () => parts.fit(),
      "zoom-in": () => zoom(ZOOM_STEP),
      "zoom-out": () => zoom(1 / ZOOM_STEP),
      "next-mask": () => otherMask(1),
      "previous-mask": () => otherMask(-1),
      masks: () => toggle("masksOn"),
      heat: () => toggle("heatOn"),
      prompts: () => toggle("promptsOn"),
      panel: () => { state.panel = !state.panel; parts.remember(); parts.render(); },
      escape: () => { if (!tools.cancelDrag()) select(null); },
      help: () => parts.openHelp(),
      "close-help": () => chrome.part("help").close(),
      "show-rejected": () => { state.showRejected = !state.showRejected; parts.render(); },
      "add-class": () => parts.submitClass(),
      retry: () => session.outbox.retryNow(),
      notice: () => chrome.runNotice(),
      dismiss: () => chrome.dismiss(),
      empty: (id, button) => emptyActions[button.dataset.run](),
    },
  };
}
