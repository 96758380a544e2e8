// Events of the page -> actions: clicks by data-action, keys by SHORTCUTS, sliders, sizes.

const hasDialog = (root) => root.querySelector("dialog[open]") !== null;

/** Clicks, sliders and fields. After a mouse click the photo has the focus again, so keys work. */
function bindControls({ root, state, chrome, actions, stage, signal, remember, render, repaint,
  submitClass }) {
  const { part } = chrome;
  const backToPhoto = () => stage.focus({ preventScroll: true });
  root.addEventListener("click", (event) => {
    const button = event.target.closest("[data-action],[data-tool]");
    if (!button || !root.contains(button) || button.disabled) return;
    if (button.dataset.tool) actions.chooseTool(button.dataset.tool);
    else actions.run[button.dataset.action](button.dataset.id, button);
    const asks = button.dataset.action === "go-to";
    if (event.detail > 0 && !asks && !hasDialog(root)) backToPhoto();
  }, { signal });

  const onInput = (name, change) => part(name).addEventListener("input", (event) => {
    change(Number(event.target.value));
    render();
  }, { signal });
  onInput("opacity", (value) => { state.opacity = value / 100; remember(); });
  onInput("heat-opacity", (value) => { state.heatOpacity = value / 100; remember(); });
  onInput("brush", (value) => { state.brush = value; remember(); });
  onInput("threshold", (value) => { state.minScore = value; });
  for (const name of ["opacity", "heat-opacity", "brush", "threshold"]) {
    part(name).addEventListener("pointerup", backToPhoto, { signal });
  }

  const query = part("class-query");
  query.addEventListener("input", render, { signal });
  query.addEventListener("keydown", (event) => {
    if (event.key === "Enter" && !event.isComposing) submitClass();
    else if (event.key === "Escape") {
      query.value = "";
      backToPhoto();
      render();
    } else return;
    event.preventDefault();
    event.stopPropagation();
  }, { signal });

  const place = part("place");
  place.addEventListener("blur", () => {
    place.hidden = true;
    part("position").hidden = false;
  }, { signal });
  place.addEventListener("keydown", (event) => {
    if (event.isComposing || !["Enter", "Escape"].includes(event.key)) return;
    event.preventDefault();
    event.stopPropagation();
    backToPhoto(); // and so away from the field
    if (event.key === "Enter") actions.goTo(place.value.trim());
  }, { signal });

  const readFilter = () => {
    const cls = part("filter-class").value;
    actions.setFilter({
      status: part("filter-status").value, cls: cls === "" ? null : Number(cls),
      order: part("order").value,
    });
    backToPhoto();
  };
  part("order").addEventListener("change", readFilter, { signal });
  part("filter-status").addEventListener("change", readFilter, { signal });
  part("filter-class").addEventListener("change", readFilter, { signal });

  part("instances").addEventListener("pointerover", (event) => {
    const row = event.target.closest(".t2m-instance");
    const one = row && state.visible().find((other) => String(other.id) === row.dataset.id);
    state.hovered = one ? one.id : null;
    repaint();
  }, { signal });
  part("instances").addEventListener("pointerleave", () => {
    state.hovered = null;
    repaint();
  }, { signal });
}

const isField = (target) =>
  target.closest("textarea, select, [contenteditable=''], [contenteditable='true']") !== null ||
  (target.tagName === "INPUT" && target.type !== "range");

const TAB_KEYS = ["Enter", " ", "Tab", "Home", "End", "ArrowLeft", "ArrowRight", "ArrowUp", "ArrowDown"];

/** Keys anywhere on the page that belong to nobody else. */
function bindKeys({ root, state, actions, tools, stage, ending, render }) {
  const { signal } = ending;
  const mine = (event) => {
    if (!root.isConnected) {
      ending.abort(); // gr.HTML has no unmount hook
      return false;
    }
    const { target } = event;
    if (root.offsetParent === null || hasDialog(root)) return false;
    // Who came by a click on the page's tab has the focus there; its own keys stay its own.
    const onTab = target.closest("[role=tab]") !== null && !TAB_KEYS.includes(event.key);
    return target === document.body || onTab || (root.contains(target) && !isField(target));
  };

  function hold(event) {
    state.heldTool = "pan";
    event.preventDefault(); // the page would scroll
    render();
    tools.showCursor();
  }

  function tab(event) {
    // Tab walks the instances and leaves the photo after the last one: no keyboard trap.
    if (event.target !== stage) return;
    if (actions.stepInstance(event.shiftKey ? -1 : 1, false)) event.preventDefault();
  }

  document.addEventListener("keydown", (event) => {
    if (!mine(event)) return;
    const onButton = event.target.closest("button, [role=option]") !== null;
    if (onButton && (event.key === "Enter" || event.key === " ")) return;
    const slider = event.target.tagName === "INPUT";
    if (slider && event.key.startsWith("Arrow")) return;
    if (event.key === " " && !event.ctrlKey && !event.metaKey && !event.altKey) return hold(event);
    if (event.key === "Tab") return tab(event);
    const found = actionForKey(event);
    if (!found) return;
    event.preventDefault();
    if (found.action === "class") actions.classByDigit(found.digit);
    else if (found.action.startsWith("tool:")) actions.chooseTool(found.action.slice(5));
    else actions.run[found.action]();
  }, { signal });

  const letGo = () => {
    if (!state.heldTool) return;
    state.heldTool = null;
    render();
    tools.showCursor();
  };
  document.addEventListener("keyup", (event) => event.key === " " && letGo(), { signal });
  window.addEventListener("blur", letGo, { signal });
}

/**
 * The screen fills the window below its top edge; the canvas follows the stage and the monitor.
 * `shown` is called where the screen comes back after another tab of the page.
 */
function bindSize({ root, stage, state, scene, fit, repaint, shown, signal, ending }) {
  let wasHidden = false;
  function measure() {
    if (!root.isConnected) {
      observer.disconnect();
      ending.abort();
      return;
    }
    const isHidden = root.offsetParent === null;
    if (wasHidden && !isHidden) shown();
    wasHidden = isHidden;
    if (isHidden) return; // in another tab: sizes are zero and mean nothing
    const top = root.getBoundingClientRect().top + window.scrollY;
    root.style.setProperty("--t2m-height", Math.max(520, window.innerHeight - top - 16) + "px");
    const { clientWidth: w, clientHeight: h } = stage;
    const dpr = window.devicePixelRatio || 1;
    if (!w || !h || (w === state.stage.w && h === state.stage.h && dpr === state.stage.dpr)) return;
    state.stage = { w, h, dpr };
    scene.resize();
    if (state.fitted || !state.view) fit();
    else state.view = keepInSight(state.view, state.stage, state.doc.image);
    scene.paint(); // at once: a resized canvas is empty
    repaint();
  }
  const observer = new ResizeObserver(measure);
  observer.observe(stage);
  observer.observe(root);
  observer.observe(document.body); // what lies above may grow
  window.addEventListener("resize", measure, { signal });
  measure();
}

/** What tests and the curious may read: state(), toScreen(x, y), idle(), lastError. */
function debugHandle({ state, session, stage, isPainting }) {
  const frame = () => new Promise((done) => requestAnimationFrame(done));
  const place = () => state.placeOf(state.selectedInstance());
  const busy = () => session.outbox.pending.length > 0 || state.navigating ||
    !state.photo.settled || isPainting() || Boolean(place() && place().looking);
  return {
    state: () => ({
      project: state.project, photo: state.doc ? state.doc.photo : null,
      rev: state.server ? state.server.rev : null, tool: state.tool(), selected: state.selected,
      view: state.view, instances: state.hasPhoto() ? state.visible() : [],
      pending: session.outbox.edits().length, offline: session.outbox.offline,
      navigating: state.navigating, filter: state.filter, nav: state.nav(),
      evidence: state.evidence(), place: place(), findings: state.findings(),
      why: state.doc ? state.doc.why : "", expectation: state.expectation(),
      counts: state.doc ? state.doc.counts : null, currentClass: state.currentClass(),
      canUndo: Boolean(state.doc && state.doc.can_undo), message: state.message,
      canRedo: Boolean(state.doc && state.doc.can_redo), tab: session.tab,
    }),
    /** A photo point as client pixels of the page. */
    toScreen(x, y) {
      const rect = stage.getBoundingClientRect();
      const [sx, sy] = toScreen(state.view, x, y);
      return { x: rect.left + sx, y: rect.top + sy };
    },
    /** Resolves when nothing is on its way, the photo is decoded and painted. */
    async idle() {
      await session.outbox.idle();
      do await frame(); while (busy());
    },
    get lastError() {
      return state.lastError;
    },
  };
}
