// The lists beside the photo: notes, classes with their digits, instances; and the help sheet.
// User text goes in as textContent only.

const SVG = "http://www.w3.org/2000/svg";

function icon(name) {
  const svg = document.createElementNS(SVG, "svg");
  svg.setAttribute("class", "t2m-icon");
  svg.setAttribute("aria-hidden", "true");
  const use = document.createElementNS(SVG, "use");
  use.setAttribute("href", "#t2m-i-" + name);
  svg.append(use);
  return svg;
}

function make(tag, className, text) {
  const one = document.createElement(tag);
  one.className = className;
  if (text !== undefined) one.textContent = text;
  return one;
}

function actionButton(action, iconName, label, id) {
  const button = make("button", "t2m-mini");
  button.type = "button";
  button.dataset.action = action;
  button.dataset.id = id;
  button.title = label;
  button.setAttribute("aria-label", label);
  button.append(icon(iconName));
  return button;
}

/** Bring the children of `parent` in line with `items`, keeping elements (and focus) by key. */
function reconcile(parent, items, keyOf, create, update) {
  const wanted = new Set(items.map((item) => String(keyOf(item))));
  const known = new Map();
  for (const child of Array.from(parent.children)) {
    if (wanted.has(child.dataset.key)) known.set(child.dataset.key, child);
    else child.remove();
  }
  let before = parent.firstElementChild;
  for (const item of items) {
    const key = String(keyOf(item));
    const child = known.get(key) || create(item);
    child.dataset.key = key;
    update(child, item);
    if (child === before) before = before.nextElementSibling;
    else parent.insertBefore(child, before);
  }
}

// ---- classes --------------------------------------------------------------------------------

function makeClassRow(one) {
  const row = make("div", "t2m-class-row");
  const shown = make("button", "t2m-class");
  shown.type = "button";
  shown.dataset.action = "class";
  shown.dataset.id = one.id;
  shown.append(
    make("kbd", "t2m-key"), make("span", "t2m-swatch"), make("span", "t2m-class-name"),
    make("span", "t2m-class-count"));
  const tag = actionButton("toggle-tag", "tag", "", one.id);
  tag.classList.add("t2m-class-tag");
  row.append(shown, tag);
  return row;
}

/** The class list: digit, colour, name, whether the photo has the tag, how many instances. */
function renderClasses(list, state, query) {
  const { doc } = state;
  const ordered = orderedClasses(doc.classes, doc.tags);
  const wanted = query.trim().toLowerCase();
  const selected = state.selectedInstance();
  const marked = selected ? selected.cls : state.currentClass();
  const tags = new Set(doc.tags);
  const shown = ordered
    .map((one, i) => ({ one, digit: i < 9 ? String(i + 1) : "" }))
    .filter(({ one }) => one.name.toLowerCase().includes(wanted));
  const counts = new Map();
  for (const one of state.visible()) {
    if (one.status !== "rejected") counts.set(one.cls, (counts.get(one.cls) || 0) + 1);
  }
  reconcile(list, shown, ({ one }) => one.id, ({ one }) => makeClassRow(one), (row, item) => {
    const [shownClass, tag] = row.children;
    const [key, swatch, name, count] = shownClass.children;
    const { one, digit } = item;
    const isTagged = tags.has(one.id);
    key.textContent = digit;
    key.hidden = !digit;
    swatch.style.background = css(one.rgb);
    name.textContent = one.name;
    tag.disabled = !state.canEdit();
    tag.setAttribute("aria-pressed", String(isTagged));
    tag.setAttribute("aria-label", "Photo is tagged " + one.name);
    tag.title = isTagged ? "The photo is tagged " + one.name + "; a click takes the tag away"
      : "Tag the photo " + one.name;
    count.textContent = counts.get(one.id) || "";
    shownClass.setAttribute("aria-pressed", String(one.id === marked));
    shownClass.title = one.name + (digit ? " (" + digit + ")" : "");
  });
  const current = list.querySelector('[data-action="class"][aria-pressed="true"]');
  bringIntoSight(list, current, current && current.dataset.id);
  return shown.length;
}

// ---- instances ------------------------------------------------------------------------------

function makeInstanceRow(one) {
  const row = make("div", "t2m-instance");
  row.setAttribute("role", "option");
  row.dataset.action = "select";
  row.dataset.id = one.id;
  const status = make("span", "t2m-state");
  const text = make("span", "t2m-instance-text");
  text.append(make("span", "t2m-instance-name"), make("span", "t2m-instance-source"));
  const buttons = make("span", "t2m-instance-buttons");
  buttons.append(
    actionButton("accept-this", "check", "Accept this instance", one.id),
    actionButton("reject-this", "cross", "Reject this instance", one.id),
    actionButton("reopen-this", "reopen", "Back to proposed", one.id),
    actionButton("delete-this", "trash", "Delete this instance", one.id));
  row.append(make("span", "t2m-swatch"), text, make("span", "t2m-score"), buttons, status);
  return row;
}

/** An instance in words: "cat, proposed, score 0.62". */
function describeInstance(one, state) {
  const score = one.score === null ? [] : ["score " + one.score.toFixed(2)];
  return [state.className(one.cls), one.status, ...score].join(", ");
}

function updateInstanceRow(row, one, state) {
  const [swatch, text, score, buttons, status] = row.children;
  const found = state.doc.classes.find((cls) => cls.id === one.cls);
  swatch.style.background = found ? css(found.rgb) : "transparent";
  swatch.dataset.none = String(!found);
  text.children[0].textContent = state.className(one.cls);
  text.children[1].textContent = one.draft ? "finding the mask…" : one.source;
  text.children[1].title = one.source;
  score.textContent = one.score === null ? "" : one.score.toFixed(2);
  score.style.setProperty("--t2m-part", one.score === null ? 0 : one.score);
  const [accept, reject, reopen, remove] = buttons.children;
  accept.hidden = isCurated(one);
  reject.hidden = one.status === "rejected";
  reopen.hidden = one.status === "proposed" || isOwnDrawing(one);
  remove.hidden = !isOwnDrawing(one);
  buttons.hidden = Boolean(one.draft);
  row.dataset.status = one.status;
  row.setAttribute("aria-selected", String(one.id === state.selected));
  row.setAttribute("aria-label", describeInstance(one, state));
  row.dataset.flagged = String(state.isFlagged(one.id));
  status.textContent = STATUS_GLYPHS[one.status];
  status.title = one.status;
}

function renderInstances(list, state) {
  reconcile(list, state.visible(), (one) => one.id, makeInstanceRow,
    (row, one) => updateInstanceRow(row, one, state));
  const selected = list.querySelector('[aria-selected="true"]');
  bringIntoSight(list, selected, selected && selected.dataset.id);
}

/** Scroll the list to a row that is another one than last time; whoever scrolls on is let be. */
function bringIntoSight(list, row, id) {
  if (!list.clientHeight) return; // hidden: nothing has a place
  if (row && id !== list.dataset.inSight) {
    // Not scrollIntoView: that would scroll the page as well.
    const [shown, place] = [list.getBoundingClientRect(), row.getBoundingClientRect()];
    const over = place.bottom - (shown.top + list.clientHeight);
    if (place.top < shown.top) list.scrollTop += place.top - shown.top;
    else if (over > 0) list.scrollTop += over;
  }
  list.dataset.inSight = row ? id : "";
}

function renderNotes(list, notes) {
  reconcile(list, notes, (note) => note, () => make("li", "t2m-note"), (row, note) => {
    row.textContent = note;
  });
  list.hidden = notes.length === 0;
}

// ---- help -----------------------------------------------------------------------------------

function renderHelp(target) {
  const groups = [...new Set(SHORTCUTS.map((one) => one.group))];
  target.replaceChildren(...groups.map((group) => {
    const section = make("section", "t2m-help-group");
    section.append(make("h3", "t2m-help-title", group));
    const rows = make("dl", "t2m-help-rows");
    for (const one of SHORTCUTS.filter((shortcut) => shortcut.group === group)) {
      const keys = make("dt", "t2m-help-keys");
      one.keys.forEach((key, i) => {
        if (i) keys.append(one.range ? "–" : " ");
        keys.append(make("kbd", "t2m-key", key));
      });
      rows.append(keys, make("dd", "t2m-help-text", one.text));
    }
    section.append(rows);
    return section;
  }));
}

/** Titles of all buttons from the one list of shortcuts: "Accept, go to the next proposal (A)". */
function labelButtons(root) {
  for (const one of SHORTCUTS) {
    const [kind, tool] = one.action.split(":");
    const query = kind === "tool" ? '[data-tool="' + tool + '"]' : '[data-action="' + kind + '"]';
    for (const button of root.querySelectorAll("button" + query)) {
      if (button.dataset.id !== undefined || one.range) continue;
      button.title = one.text + " (" + one.keys[0] + ")";
      if (!button.textContent.trim()) button.setAttribute("aria-label", one.text);
      button.setAttribute("aria-keyshortcuts", one.keys.join(" ").replaceAll("Ctrl", "Control"));
    }
  }
}
