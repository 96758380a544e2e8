// Everything around the photo that shows state: toolbar, counts, notices, empty states, saving.
// State in, elements out; reads nothing back from the page.

const TOOL_WORDS = {
  select: "Select", box: "Box", points: "Points", brush: "Brush", eraser: "Eraser", pan: "Pan",
};
const TOOL_HINTS = {
  select: "Click selects, dragging the photo pans, the wheel zooms.",
  box: "Drag a box around an object; its mask is found for you.",
  pan: "Drag to pan, the wheel zooms.",
};
const NOTICE_MS = { info: 4000, good: 6000, error: 12000 };
const MESSAGES = {
  noProject: {
    title: "No project is open",
    text: "Open a project, or make one from a folder of photos.",
  },
  unreachable: {
    title: "The server does not answer",
    text: "Nothing is lost, and the page asks again by itself. Check that the app is still running.",
    button: "Try again",
    run: "reopen",
  },
  refused: { title: "This project cannot be opened", button: "Try again", run: "reopen" },
  noPhotos: {
    title: "No photos yet",
    text: "Add a folder of photos and their tags to this project; they show up here.",
  },
  unreadable: {
    title: "This photo cannot be shown",
    text: "The file may have moved or may be damaged. Its annotations are safe.",
    button: "Try again",
    run: "reload-photo",
  },
};
const FILTER_WORDS = {
  all: "All photos", todo: "To review", done: "Done", rejected: "With rejections",
  empty: "Nothing proposed",
};

function createChrome(root, state) {
  const part = (name) => root.querySelector('[data-part="' + name + '"]');
  const buttons = (query) => root.querySelectorAll(query);
  let noticeTimer = 0;
  let noticeAction = null;

  function text(name, value) {
    const one = part(name);
    if (one.textContent !== value) one.textContent = value;
  }

  function show(name, visible) {
    part(name).hidden = !visible;
  }

  function enable(action, on) {
    for (const one of buttons('button[data-action="' + action + '"]:not([data-id])')) {
      one.disabled = !on;
    }
  }

  function press(action, on) {
    root.querySelector('[data-action="' + action + '"]').setAttribute("aria-pressed", String(on));
  }

  function hintFor(tool, selected) {
    if (tool === "points") {
      return selected
        ? "Left click adds, right click removes. Esc first for a new object."
        : "Click an object of class " + state.className(state.currentClass()) + " to get its mask.";
    }
    if (tool === "brush") {
      return selected ? "Paint on the selected mask; the right button erases."
        : "Paint a new " + state.className(state.currentClass()) + ".";
    }
    if (tool === "eraser") {
      return selected ? "Take away from the selected mask." : "Select an instance to erase from.";
    }
    return TOOL_HINTS[tool];
  }

  function renderToolbar() {
    const tool = state.tool();
    const selected = state.selectedInstance();
    for (const one of buttons("[data-tool]")) {
      one.setAttribute("aria-pressed", String(one.dataset.tool === tool));
    }
    press("masks", state.masksOn);
    press("heat", state.heatOn);
    press("prompts", state.promptsOn);
    press("panel", state.panel);
    root.dataset.panel = state.panel ? "on" : "off";
    show("brush-option", tool === "brush" || tool === "eraser");
    show("clear-points", Boolean(selected && selected.points.length));
    text("brush-value", state.brush + " px");
    part("brush").value = state.brush;
    part("opacity").value = Math.round(state.opacity * 100);
    part("heat-opacity").value = Math.round(state.heatOpacity * 100);
    text("hint", state.hasPhoto() ? hintFor(tool, selected) : "");
    text("zoom", state.hasPhoto() && state.view ? Math.round(state.view.scale * 100) + "%" : "–");
    for (const action of ["zoom-in", "zoom-out", "fit"]) enable(action, state.hasPhoto());
    const doc = state.doc || {};
    enable("undo", Boolean(doc.can_undo));
    enable("redo", Boolean(doc.can_redo));
    const label = (action, word, what) => {
      const key = action === "undo" ? "Ctrl+Z" : "Ctrl+Y";
      const named = what ? word + ": " + String(what).replaceAll("_", " ") : word;
      root.querySelector('[data-action="' + action + '"]').title = named + " (" + key + ")";
    };
    label("undo", "Undo", doc.undo_label);
    label("redo", "Redo", doc.redo_label);
  }

  function renderDecisions() {
    const selected = state.selectedInstance();
    const ready = state.canEdit();
    const open = state.openInstances().length;
    enable("accept", ready && (selected !== null || open > 0));
    enable("reject", ready && (selected !== null || open > 0));
    enable("accept-all", ready && open > 0);
    enable("next-mask", ready && (selected !== null || open > 0));
    text("accept-all-label", open > 1 ? "Accept all " + open : "Accept all");
    const nav = state.nav();
    enable("previous-photo", state.hasPhoto());
    enable("next-photo", state.hasPhoto());
    enable("next-undecided", state.hasPhoto());
    enable("go-to", state.hasPhoto());
    const index = nav.index === null ? "–" : nav.index + 1;
    text("position", state.hasPhoto() ? index + " / " + nav.total : "");
    text("name", state.hasPhoto() ? state.doc.name : "");
    part("name").title = state.hasPhoto() ? state.doc.name : "";
  }

  function renderSaving(outbox) {
    const edits = outbox.edits().length;
    const kind = outbox.offline ? "unsaved" : edits ? "saving" : "saved";
    part("saving").dataset.state = kind;
    const slow = outbox.inFlight && ["click", "add_box"].includes(outbox.inFlight.op);
    const word = {
      unsaved: edits
        ? plural(edits, "change", "changes") + " not saved yet"
        : "No answer from the server",
      saving: slow ? "Finding the mask…" : "Saving…",
      saved: state.hasPhoto() ? "Saved" : "",
    }[kind];
    text("saving-text", word);
    part("saving").title = outbox.offline
      ? "The server does not answer. The changes are kept here and sent again by themselves." : "";
    show("saving", state.hasPhoto() || outbox.offline);
    show("retry", outbox.offline);
    show("progress", state.navigating || Boolean(slow));
  }

  function renderPanel(query) {
    const empty = { classes: [], tags: [], instances: [], notes: [] };
    const doc = state.doc ? { ...empty, ...state.doc } : empty;
    const shown = state.doc ? renderClasses(part("classes"), { ...state, doc }, query) : 0;
    const exact = doc.classes.some((one) => one.name.toLowerCase() === query.trim().toLowerCase());
    show("add-class", query.trim() !== "" && !exact && state.hasPhoto());
    show("classes-empty", state.doc !== null && shown === 0);
    text("classes-empty", doc.classes.length ? "No class of this name. Enter adds it."
      : "No classes yet. Type a name above and press Enter.");
    text("tags-note", doc.tags.length ? plural(doc.tags.length, "tag", "tags") + " on this photo" : "");
    renderNotes(part("notes"), doc.notes);
    renderFindings(part("findings"), state);
    const { findings = [], why = "" } = state.hasPhoto() ? state.doc : {};
    // The finding itself says why, where it is still there.
    const shownWhy = findings.some((one) => one.reason === why) ? "" : why;
    show("findings-section", findings.length > 0 || shownWhy !== "");
    show("why", shownWhy !== "");
    text("why", shownWhy ? "Why now: " + shownWhy + "." : "");
    show("findings-block", findings.length > 0);
    if (state.hasPhoto()) renderInstances(part("instances"), state);
    else part("instances").replaceChildren();
    renderInstanceTexts(doc);
  }

  function renderInstanceTexts(doc) {
    const visible = state.hasPhoto() ? state.visible() : [];
    const counts = tally(visible);
    const words = [];
    if (counts.proposed) words.push(counts.proposed + " open");
    if (counts.curated) words.push(counts.curated + " kept");
    if (counts.rejected) words.push(counts.rejected + " rejected");
    text("tally", words.join(" · "));
    show("threshold-row", doc.instances.some((one) => isOpen(one) && one.score !== null));
    text("threshold-value", state.minScore.toFixed(2));
    const expected = state.expectation();
    const hasRoom = state.findings().length === 0 && doc.counts !== undefined && doc.counts.todo > 0;
    show("above-row", expected !== "" || hasRoom || state.canTakeBack());
    text("expected", expected);
    const below = doc.instances.filter((one) => isOpen(one) && !passes(one, state.minScore)).length;
    show("instances-empty", state.hasPhoto() && visible.length === 0);
    text("instances-empty", below
      ? plural(below, "proposal lies", "proposals lie") + " below the threshold."
      : "Nothing here yet. Draw a box (B) or click an object (P).");
    const old = doc.instances.filter(
      (one) => one.status === "rejected" && !state.recent.has(one.id)).length;
    show("show-rejected", old > 0);
    text("show-rejected", state.showRejected ? "Hide earlier rejections"
      : "Show " + plural(old, "earlier rejection", "earlier rejections"));
  }

  /** What a screen reader hears when the selection moves. */
  function renderSpoken() {
    const one = state.selectedInstance();
    const all = state.hasPhoto() ? state.visible() : [];
    text("spoken", one
      ? describeInstance(one, state) + ", " + (all.indexOf(one) + 1) + " of " + all.length : "");
  }

  function renderFilters() {
    const select = part("filter-class");
    const classes = state.doc ? state.doc.classes : [];
    const options = [{ id: "", name: "Any class" }, ...classes];
    reconcile(select, options, (one) => one.id, () => document.createElement("option"),
      (option, one) => {
        option.value = one.id;
        option.textContent = one.name;
      });
    select.value = state.filter.cls === null ? "" : String(state.filter.cls);
    part("filter-status").value = state.filter.status;
    part("order").value = state.filter.order;
  }

  function renderStatus() {
    const counts = (state.doc && state.doc.counts) || { todo: 0, done: 0, total: 0 };
    const { w, h } = (state.hasPhoto() && state.doc.image) || {};
    text("status-size", w ? w + " × " + h : "");
    text("status-tool", state.hasPhoto() ? "Tool: " + TOOL_WORDS[state.tool()] : "");
    text("status-class", state.hasPhoto()
      ? "Class for new objects: " + state.className(state.currentClass()) : "");
    text("status-counts", counts.total
      ? counts.done + " of " + plural(counts.total, "photo", "photos") + " done, " +
        counts.todo + " to review" : "");
    part("meter").style.width = (counts.total ? (100 * counts.done) / counts.total : 0) + "%";
    part("meter").parentElement.hidden = !counts.total;
  }

  /** The one big message instead of a photo, and the small one above it. */
  function renderEmpty() {
    const message = emptyMessage();
    show("empty", message !== null);
    if (message) {
      text("empty-title", message.title);
      text("empty-text", message.text);
      show("empty-button", Boolean(message.button));
      text("empty-button", message.button || "");
      part("empty-button").dataset.run = message.run || "";
    }
    const place = message === null ? state.placeOf(state.selectedInstance()) : null;
    const chip = message === null && !place ? chipText() : "";
    show("chip", chip !== "");
    text("chip", chip);
    show("cycle", place !== null);
    text("cycle-text", place ? placeText(place) : "");
    enable("previous-mask", Boolean(place && place.at > 0));
  }

  /** What the colours and the dots over the photo mean, or that there are none. */
  function renderLegend() {
    const { map, prompts } = state.evidence();
    show("legend", state.hasPhoto() && (state.heatOn || state.promptsOn));
    show("legend-map", state.heatOn);
    show("legend-scale", map !== null);
    text("legend-title", map ? "Coarse map" : "No map for this photo");
    show("legend-prompts", state.promptsOn);
    text("legend-prompts", prompts.length
      ? plural(prompts.length, "prompt", "prompts") : "No prompts for this photo");
  }

  function emptyMessage() {
    if (!state.project) return MESSAGES.noProject;
    if (state.unreachable) return MESSAGES.unreachable;
    if (!state.doc) {
      return state.lastError && !state.navigating
        ? { ...MESSAGES.refused, text: state.lastError.message } : null;
    }
    if (!state.doc.counts.total) return MESSAGES.noPhotos;
    if (state.nav().total === 0) return noMatch();
    return state.photo.failed ? MESSAGES.unreadable : null;
  }

  function noMatch() {
    const { status, cls } = state.filter;
    const found = state.doc.classes.find((one) => one.id === cls);
    const ofClass = found ? " with " + found.name : "";
    return {
      title: status === "todo" && !found ? "Everything is reviewed" : "No photo here",
      text: "No photo matches “" + FILTER_WORDS[status].toLowerCase() + "”" + ofClass + ".",
      button: "Show all photos",
      run: "all-photos",
    };
  }

  function chipText() {
    if (!state.hasPhoto() || state.navigating) return "";
    const { counts, instances } = state.doc;
    if (counts.todo === 0 && counts.done > 0 && !state.openInstances().length) {
      return "All " + counts.total + " photos are reviewed. You can export them now.";
    }
    return instances.length ? ""
      : "Nothing is proposed here. Draw a box (B), click an object (P), or go on (→).";
  }

  part("ramp").style.background = heatRamp();
  if (!matchMedia("(prefers-reduced-motion: reduce)").matches) {
    // Not in the style sheet: Gradio nests that, and keyframes cannot be nested.
    part("progress").animate(
      [{ backgroundPositionX: "-40%" }, { backgroundPositionX: "140%" }],
      { duration: 1400, iterations: Infinity, easing: "ease-in-out" });
  }

  return {
    part,
    render(outbox, query) {
      renderToolbar();
      renderDecisions();
      renderSaving(outbox);
      renderPanel(query);
      renderFilters();
      renderStatus();
      renderEmpty();
      renderLegend();
      renderSpoken();
    },
    zoomed: () => text("zoom", Math.round(state.view.scale * 100) + "%"),
    /** A message over the photo, spoken by screen readers; `action` {label, run} adds a button. */
    tell(message, kind = "info", action = null) {
      clearTimeout(noticeTimer);
      noticeAction = action;
      part("notice").dataset.kind = kind;
      show("notice", true);
      text("notice-text", message);
      show("notice-button", Boolean(action));
      text("notice-button", action ? action.label : "");
      // What can be acted on waits for the person.
      if (!action) noticeTimer = setTimeout(() => show("notice", false), NOTICE_MS[kind]);
      state.message = message;
    },
    dismiss() {
      clearTimeout(noticeTimer);
      show("notice", false);
    },
    /** The person went on: what was said before is stale, except an offer. */
    settle() {
      if (!noticeAction) this.dismiss();
    },
    runNotice() {
      this.dismiss();
      if (noticeAction) noticeAction.run();
    },
  };
}
