// Wires the review screen together once per mount: state, events, keys, the photo, the debug handle.
// The names element, trigger, props, server and watch come from gr.HTML; trigger("edited") tells
// Python that something was saved.

const PREFERENCES = "tag2mask.review";
const NO_FILTER = { status: "all", cls: null, order: "plain" };
const ASK_SECONDS = 30; // for questions outside the outbox, which has its own limits

const ASKED = ["list", "get", "alternatives", "thresholds", "preview_above"];

function readPreferences() {
  const defaults = { tool: "select", opacity: 0.4, brush: 28, panel: true, heat: 0.6 };
  try {
    return { ...defaults, ...JSON.parse(localStorage.getItem(PREFERENCES) || "{}") };
  } catch {
    return defaults; // storage is forbidden or holds something foreign: preferences only
  }
}

function newState() {
  const saved = readPreferences();
  return {
    project: null, filter: { ...NO_FILTER }, server: null, doc: null, chosenFinding: null,
    selected: null, hovered: null, chosenClass: null, chosenTool: saved.tool, heldTool: null,
    opacity: saved.opacity, brush: saved.brush, panel: saved.panel, masksOn: true, minScore: 0,
    heatOn: false, heatOpacity: saved.heat, promptsOn: false,
    showRejected: false, recent: new Set(), view: null, fitted: true, stage: { w: 0, h: 0, dpr: 1 },
    photo: { full: null, thumb: null, failed: false, settled: true }, drag: null, cursor: null,
    navigating: false, unreachable: false, lastError: null, message: "",
    tool() { return this.heldTool || this.chosenTool; },
    /** Whether a photo is on screen; not where the filter matches none and a message covers it. */
    hasPhoto() { return Boolean(this.doc && this.doc.photo && this.nav().total > 0); },
    /** Nobody decides about a photo that is not to be seen. */
    canEdit() { return this.hasPhoto() && !this.navigating && !this.photo.failed; },
    nav() { return (this.doc && this.doc.nav) || { index: null, total: 0 }; },
    visible() {
      const shown = this.showRejected || this.filter.status === "rejected";
      return visibleInstances(this.doc, { ...this, showRejected: shown });
    },
    openInstances() { return this.hasPhoto() ? this.visible().filter(isOpen) : []; },
    selectedInstance() {
      return (this.hasPhoto() && this.visible().find((one) => one.id === this.selected)) || null;
    },
    /** The class for new objects: the one chosen last, else the photo's first tag, else the first. */
    currentClass() {
      const { classes = [], tags = [] } = this.doc || {};
      if (classes.some((one) => one.id === this.chosenClass)) return this.chosenClass;
      return tags.length ? tags[0] : classes.length ? classes[0].id : null;
    },
    /** What the pipeline saw: {map: {w, h, levels} or null, prompts: [[x, y], ...]}. */
    evidence() { return (this.hasPhoto() && this.doc.evidence) || { map: null, prompts: [] }; },
    /** What looks wrong on the photo, worst first. */
    findings() { return (this.hasPhoto() && this.doc.findings) || []; },
    finding() { return focusedFinding(this.findings(), this); },
    isFlagged(id) { return this.findings().some((one) => one.id === id); },
    /** The map to be painted, null where it is off or there is none. */
    heatMap() { return this.heatOn ? this.evidence().map : null; },
    className(id) {
      const found = this.doc && this.doc.classes.find((one) => one.id === id);
      return found ? found.name : "no class";
    },
  };
}

function mountReview(element, { trigger, props, server, watch }) {
  const root = element.querySelector(".t2m-root");
  const state = newState();
  const ending = new AbortController();
  const { signal } = ending;
  const chrome = createChrome(root, state);
  const { part } = chrome;
  const stage = part("stage");
  const scene = createScene(part("canvas"), state, (one) => chrome.tell(
    "The mask of " + state.className(one.cls) + " " + one.id + " does not fit this photo and is " +
    "not shown. Reject or delete the object, and draw it anew.", "error"));
  let [painting, rendering] = [false, false];

  const ask = (op) => {
    const late = new Promise((done) => {
      if (ASKED.includes(op.op)) setTimeout(done, ASK_SECONDS * 1000);
    });
    return Promise.race([Promise.resolve(server.review_op(op)), late]).catch(() => undefined);
  };

  // ---- painting ---------------------------------------------------------------------------

  function repaint() {
    if (painting) return;
    painting = true;
    requestAnimationFrame(() => {
      painting = false;
      if (scene.paint()) repaint();
    });
  }

  function render() {
    repaint();
    if (rendering) return;
    rendering = true;
    queueMicrotask(() => {
      rendering = false;
      chrome.render(session.outbox, part("class-query").value);
    });
  }

  function viewChanged() {
    state.fitted = false;
    chrome.zoomed();
    repaint();
  }

  function fit() {
    if (!state.hasPhoto() || !state.stage.w) return;
    state.view = fitView(state.stage, state.doc.image);
    state.fitted = true;
    chrome.zoomed();
    repaint();
  }

  // ---- session ----------------------------------------------------------------------------

  const session = createSession(state, ask, {
    changed: render,
    tell: (...words) => chrome.tell(...words),
    editing: () => chrome.settle(),
    acknowledged() {
      strip.invalidate();
      above.refresh();
      trigger("edited", {});
    },
    photoChanged,
  }, createUnsaved(() => sessionStorage));
  state.pendingEdits = () =>
    session.outbox.edits().filter((op) => state.doc && op.photo === state.doc.photo);

  const cycle = createCycle({
    state, others: session.others, settled: session.outbox.idle, edit: session.edit,
    tell: (...words) => chrome.tell(...words), changed: render,
  });
  state.placeOf = cycle.place;

  function photoChanged(full) {
    state.view = null;
    scene.forget();
    cycle.forget();
    const nav = state.nav();
    strip.show(full.photo, nav.index, nav.total);
    if (!full.photo) return render();
    fit();
    loadPhoto(full);
    const address = new URL(location.href);
    address.searchParams.set("project", state.project);
    address.searchParams.set("photo", full.photo);
    if (state.filter.order === NO_FILTER.order) address.searchParams.delete("order");
    else address.searchParams.set("order", state.filter.order);
    history.replaceState(history.state, "", address);
  }

  function loadPhoto(full) {
    const photo = { full: null, thumb: null, failed: false, settled: false };
    state.photo = photo;
    const load = (url, ready, failed) => {
      const image = new Image();
      image.src = url;
      image.decode().then(() => state.photo === photo && ready(image), failed).then(render);
    };
    load(full.image.url, (image) => {
      Object.assign(photo, { full: image, settled: true });
      if (full.nav && full.nav.next_url) new Image().src = full.nav.next_url; // ready before asked for
    }, () => Object.assign(photo, { failed: true, settled: true }));
    if (full.image.thumb) load(full.image.thumb, (image) => { photo.thumb = image; }, () => {});
  }

  function openFromValue() {
    const value = props.value ? JSON.parse(JSON.stringify(props.value)) : null;
    if (!value || !value.project) {
      Object.assign(state, { project: null, server: null, doc: null });
      strip.reset(0);
      return render();
    }
    const isNew = value.project !== state.project;
    if (isNew) {
      Object.assign(state, { project: value.project, server: null, doc: null, chosenClass: null });
      strip.reset(0);
    }
    state.filter = { ...NO_FILTER, ...value.filter };
    if (!isNew || !session.resume(photoOpened)) reopen(value.photo);
  }

  function photoOpened() {
    const { index, total } = state.nav();
    strip.show(state.doc.photo, index, total);
    strip.invalidate();
  }

  /** Open a photo, or look again at the one shown; the strip follows. */
  function reopen(photo, renew = true) {
    const here = state.hasPhoto() ? state.doc.photo : null;
    session.open(photo === null || photo === undefined ? here : photo, photoOpened, renew);
    above.refresh();
  }

  // ---- parts ------------------------------------------------------------------------------

  const strip = createStrip({
    rail: part("rail"), track: part("track"), list: session.list, signal,
    shown: (total) => { part("rail-empty").hidden = total > 0 || !state.doc; },
  });
  const above = createAbove({
    state, part, ask: session.ask, changed: render, tell: (...words) => chrome.tell(...words),
    reload: () => reopen(null, false),
  });
  state.expectation = above.expectation;
  state.canTakeBack = above.hasLast;
  const tools = createTools(stage, state, {
    edit: session.edit,
    select: (id) => actions.select(id),
    hover: (id) => { if (state.hovered !== id) { state.hovered = id; repaint(); } },
    tell: (text) => chrome.tell(text),
    focus: () => stage.focus({ preventScroll: true }),
    classForNew() {
      const id = state.currentClass();
      if (id === null) chrome.tell("Add a class first: type its name on the right.", "error");
      return id;
    },
    repaint, viewChanged,
  }, signal);

  function remember() {
    const { chosenTool: tool, opacity, brush, panel, heatOpacity: heat } = state;
    try {
      localStorage.setItem(PREFERENCES, JSON.stringify({ tool, opacity, brush, panel, heat }));
    } catch {
      // Storage is full or forbidden; the preference lasts as long as the page.
    }
  }

  function openHelp() {
    renderHelp(part("help-body"));
    part("help").showModal();
  }

  /** A field in place of the photo's position, until it is left. */
  function askPlace() {
    const field = part("place");
    field.value = "";
    field.hidden = false;
    part("position").hidden = true;
    field.focus();
  }

  function submitClass() {
    const input = part("class-query");
    if (!actions.findOrAddClass(input.value)) return;
    input.value = "";
    stage.focus({ preventScroll: true });
    render();
  }

  const actions = createActions({
    state, session, chrome, tools, strip, cycle, above, viewChanged, render, remember, fit, openHelp,
    submitClass, repaint, askPlace, reloadPhoto: () => loadPhoto(state.doc),
  });

  bindControls({ root, state, chrome, actions, stage, signal, remember, render, repaint, submitClass });
  bindKeys({ root, state, actions, tools, stage, ending, render });
  bindSize({
    root, stage, state, scene, fit, repaint, signal, ending,
    // Proposals may have come in while another tab was shown.
    shown: () => { if (state.project && !state.navigating) reopen(null); },
  });
  window.addEventListener("beforeunload", (event) => {
    if (root.isConnected && session.outbox.edits().length) event.preventDefault();
  }, { signal });
  window.addEventListener("online", () => session.outbox.retryNow(), { signal });
  labelButtons(root);
  watch("value", openFromValue);
  root.__review = debugHandle({ state, session, stage, isPainting: () => painting });
  render();
  openFromValue();
}
