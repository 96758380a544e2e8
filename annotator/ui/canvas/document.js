// What the screen knows about one photo, pure: patches in, new document out; previews of edits that
// the server has not answered; who is next; which key means what. No DOM.

const CURATED = ["accepted", "edited", "drawn"];
const FILTERS = ["all", "todo", "done", "rejected", "empty"];
const ORDERS = ["plain", "uncertainty", "disagreement", "suspicious"];
// Meaning is never by colour alone: every status has its own glyph in the list and on the photo.
const STATUS_GLYPHS = {
  proposed: "?", accepted: "✓", edited: "✎", rejected: "✕", drawn: "+", missing: "! no label:",
};

/** Every shortcut once: the key handler, the titles and the help sheet all read this. */
const SHORTCUTS = [
  { group: "Decide", action: "accept", keys: ["A"], text: "Accept, go to the next proposal" },
  { group: "Decide", action: "reject", keys: ["D", "Delete", "Backspace"],
    text: "Reject, go to the next proposal" },
  { group: "Decide", action: "accept-all", keys: ["Shift+A"], text: "Accept all proposals shown" },
  { group: "Decide", action: "class", keys: ["1", "9"], range: true,
    text: "Class of the selection, or for the next drawing" },
  { group: "Decide", action: "next-mask", keys: ["G"],
    text: "Another mask for the selection, best first" },
  { group: "Decide", action: "previous-mask", keys: ["Shift+G"],
    text: "Back, to the mask it began with" },
  { group: "Decide", action: "confirm", keys: ["K"],
    text: "The finding is wrong: it is right as it is" },
  { group: "Tools", action: "tool:select", keys: ["V"], text: "Select, move and resize" },
  { group: "Tools", action: "tool:box", keys: ["B"], text: "Draw a box, get its mask" },
  { group: "Tools", action: "tool:points", keys: ["P"],
    text: "Points: left click adds, right click removes" },
  { group: "Tools", action: "tool:brush", keys: ["R"], text: "Brush (right button erases)" },
  { group: "Tools", action: "tool:eraser", keys: ["E"], text: "Eraser" },
  { group: "Tools", action: "brush-smaller", keys: ["["], repeat: true, text: "Smaller brush" },
  { group: "Tools", action: "brush-larger", keys: ["]"], repeat: true, text: "Larger brush" },
  { group: "Tools", action: "clear-points", keys: ["C"], text: "Clear the clicks of the selection" },
  { group: "Go", action: "next-photo", keys: ["→", "N", "Enter"], text: "Next photo" },
  { group: "Go", action: "previous-photo", keys: ["←"], text: "Previous photo" },
  { group: "Go", action: "next-undecided", keys: ["U"],
    text: "Next photo with something left to decide" },
  { group: "Go", action: "go-to", keys: ["/"], text: "Go to a photo by its name or its place" },
  { group: "Go", action: "next-instance", keys: ["↓", "Tab"], text: "Next instance" },
  { group: "Go", action: "previous-instance", keys: ["↑", "Shift+Tab"], text: "Previous instance" },
  { group: "Go", action: "next-finding", keys: ["S"],
    text: "Next finding, here or on the next photo that has one" },
  { group: "Go", action: "cycle-filter", keys: ["T"], text: "Next status filter" },
  { group: "Go", action: "cycle-order", keys: ["O"], text: "Next order of photos" },
  { group: "View", action: "tool:pan", keys: ["Space"], hold: true,
    text: "Hold and drag to pan (or middle button)" },
  { group: "View", action: "fit", keys: ["F", "0"], text: "Fit the photo" },
  { group: "View", action: "zoom-in", keys: ["+", "="], repeat: true, text: "Zoom in (or wheel)" },
  { group: "View", action: "zoom-out", keys: ["-"], repeat: true, text: "Zoom out" },
  { group: "View", action: "masks", keys: ["M"], text: "Masks on and off" },
  { group: "View", action: "heat", keys: ["H"], text: "The pipeline's coarse map on and off" },
  { group: "View", action: "prompts", keys: ["J"], text: "The points it asked about on and off" },
  { group: "Edit", action: "undo", keys: ["Z", "Ctrl+Z"], text: "Undo, also after a reload" },
  { group: "Edit", action: "redo", keys: ["Ctrl+Y", "Ctrl+Shift+Z"], text: "Redo" },
  { group: "Edit", action: "escape", keys: ["Esc"], text: "Cancel the drag, or deselect" },
  { group: "Edit", action: "help", keys: ["?"], text: "This sheet" },
];

const KEY_NAMES = {
  ArrowRight: "→", ArrowLeft: "←", ArrowDown: "↓", ArrowUp: "↑", Escape: "Esc", " ": "Space",
};

/** A keyboard event -> {action, digit?, repeat} or null. Ctrl and Cmd are equal, Alt is not ours. */
function actionForKey(event) {
  if (event.altKey || event.isComposing) return null;
  let name = KEY_NAMES[event.key] || event.key;
  if (name.length === 1) name = name.toUpperCase();
  const modified = event.ctrlKey || event.metaKey;
  if (!modified && /^[1-9]$/.test(name)) return { action: "class", digit: Number(name) };
  // Shift is part of the character for "?", "+" and the like, but told apart for letters and Tab.
  const shifted = event.shiftKey && (/^[A-Z]$/.test(name) || name === "Tab");
  const wanted = (modified ? "Ctrl+" : "") + (shifted ? "Shift+" : "") + name;
  const found = SHORTCUTS.find((one) => !one.range && one.keys.includes(wanted));
  if (!found || (event.repeat && !found.repeat && !/instance$/.test(found.action))) return null;
  return { action: found.action };
}

// ---- document ---------------------------------------------------------------------------------

/** Replace and remove instances by a patch; the order of those that stay does not change. */
function applyPatch(doc, patch) {
  const gone = new Set(patch.remove || []);
  const changed = new Map((patch.upsert || []).map((one) => [one.id, one]));
  const instances = doc.instances
    .filter((one) => !gone.has(one.id))
    .map((one) => changed.get(one.id) || one);
  const known = new Set(doc.instances.map((one) => one.id));
  for (const one of changed.values()) if (!known.has(one.id)) instances.push(one);
  const next = { ...doc, instances };
  const facts = ["rev", "can_undo", "can_redo", "undo_label", "redo_label", "counts", "findings",
    "tags"];
  for (const key of facts) {
    if (patch[key] !== undefined) next[key] = patch[key];
  }
  return next;
}

/** The document as it will probably look once `op` is answered: box, class, status, new things. */
function previewOp(doc, op) {
  const change = (fields) => ({
    ...doc,
    instances: doc.instances.map((one) => (one.id === op.id ? { ...one, ...fields(one) } : one)),
  });
  switch (op.op) {
    case "set_status":
      return change((one) => ({
        status: op.status === "accepted" && isOwnDrawing(one) ? "drawn" : op.status,
      }));
    case "set_class":
      return change((one) => ({ cls: op.cls, status: isOwnDrawing(one) ? "drawn" : "edited" }));
    case "set_box":
      return change((one) => ({ box: op.box, status: statusAfterEdit(one) }));
    case "choose":
      return change((one) => ({ rle: op.rle, status: statusAfterEdit(one), ...op.preview }));
    case "clear_points":
      return change(() => ({ points: [] }));
    case "confirm":
      return {
        ...doc,
        findings: doc.findings.filter((one) => one.subject !== op.subject || one.state !== op.state),
      };
    case "set_tag":
      return { ...doc, tags: [...doc.tags.filter((tag) => tag !== op.cls), ...(op.on ? [op.cls] : [])] };
    case "delete":
      return { ...doc, instances: doc.instances.filter((one) => one.id !== op.id) };
    case "accept_all":
      return {
        ...doc,
        instances: doc.instances.map((one) =>
          isOpen(one) && one.cls !== null && passes(one, op.min_score || 0)
            ? { ...one, status: "accepted" }
            : one),
      };
    case "click":
      if (op.id !== null) return change((one) => ({ points: [...one.points, op.point] }));
      return withDraft(doc, op, boxAround([op.point], 1, doc.image), [op.point]);
    case "add_box":
      return withDraft(doc, op, op.box, []);
    case "brush":
      if (op.id !== null) return doc; // the scene paints the stroke itself
      return withDraft(doc, op, boxAround(op.pts, op.radius, doc.image), []);
    default:
      return doc;
  }
}

// A draft is an instance that the server has not made yet; its id is that of the operation.
function withDraft(doc, op, box, points) {
  const draft = {
    id: op.op_id, cls: op.cls, status: "drawn", score: null, source: "", box, rle: null, points,
    draft: true,
  };
  return { ...doc, instances: [...doc.instances, draft] };
}

function boxAround(points, radius, photo) {
  const xs = points.map((point) => point[0]);
  const ys = points.map((point) => point[1]);
  return [
    Math.max(0, Math.min(...xs) - radius), Math.max(0, Math.min(...ys) - radius),
    Math.min(photo.w, Math.max(...xs) + radius), Math.min(photo.h, Math.max(...ys) + radius),
  ];
}

const isOpen = (one) => one.status === "proposed";
const isCurated = (one) => CURATED.includes(one.status);
const passes = (one, minScore) => one.score === null || one.score >= minScore;
// Without a class nobody can stand behind it, whatever its box.
const statusAfterEdit = (one) =>
  one.cls === null ? one.status : isOwnDrawing(one) ? "drawn" : "edited";
// Only what the person made can be deleted; a machine's mistake is rejected, as it teaches something.
const isOwnDrawing = (one) => one.status === "drawn" || one.source === "person";

/** What is shown: proposals above the threshold; old rejections only when asked for. */
function visibleInstances(doc, { minScore = 0, showRejected = false, recent = new Set() } = {}) {
  return doc.instances.filter((one) => {
    if (one.status === "rejected") return showRejected || recent.has(one.id);
    return !isOpen(one) || passes(one, minScore);
  });
}

/** What tells findings apart: an object can have several, and a class several missing boxes. */
const findingKey = (one) => [one.kind, one.subject, one.state].join(" | ");

/** The finding that a key is about: the one chosen, that of the selection, else the worst. */
function focusedFinding(findings, { chosenFinding = null, selected = null } = {}) {
  return findings.find((one) => findingKey(one) === chosenFinding) ||
    findings.find((one) => one.id !== null && one.id === selected) || findings[0] || null;
}

/** The one after `finding` that is not the same over again; null at the end. */
function findingAfter(findings, finding) {
  const rest = findings.slice(findings.indexOf(finding) + 1);
  return rest.find((one) => findingKey(one) !== findingKey(finding)) || null;
}

/** The next proposal after `id` in list order, wrapping; null where all are decided. */
function nextOpen(instances, id) {
  const at = instances.findIndex((one) => one.id === id);
  for (let i = 1; i <= instances.length; i++) {
    const one = instances[(at + i + instances.length) % instances.length];
    if (one.id !== id && isOpen(one)) return one.id;
  }
  return null;
}

/** The neighbour of `id` in list order; `wrap` false gives null past either end. */
function neighbour(instances, id, direction, wrap = true) {
  if (!instances.length) return null;
  const at = instances.findIndex((one) => one.id === id);
  const next = at < 0 ? (direction > 0 ? 0 : instances.length - 1) : at + direction;
  if (!wrap && (next < 0 || next >= instances.length)) return null;
  return instances[(next + instances.length) % instances.length].id;
}

/**
 * Classes in the order shown, which the digits follow: as the project has them while all have a
 * digit (fingers remember), otherwise this photo's tags first.
 */
function orderedClasses(classes, tags) {
  if (classes.length <= 9) return classes;
  const tagged = new Set(tags);
  return [...classes.filter((c) => tagged.has(c.id)), ...classes.filter((c) => !tagged.has(c.id))];
}

/** How many of each kind: proposed, curated, rejected. */
function tally(instances) {
  const counts = { proposed: 0, curated: 0, rejected: 0 };
  for (const one of instances) {
    if (isOpen(one)) counts.proposed += 1;
    else if (isCurated(one)) counts.curated += 1;
    else counts.rejected += 1;
  }
  return counts;
}

/** Which items of a strip are in sight, with a margin: [first, end). */
function stripWindow(scrollLeft, width, itemWidth, total, margin = 4) {
  const first = Math.max(0, Math.floor(scrollLeft / itemWidth) - margin);
  const end = Math.min(total, Math.ceil((scrollLeft + width) / itemWidth) + margin);
  return [Math.min(first, end), end];
}

/** Offsets of the pages of `size` that cover [first, end) and are not in `known`. */
function missingPages(first, end, size, known) {
  const offsets = [];
  for (let at = Math.floor(first / size) * size; at < end; at += size) {
    if (!known.has(at)) offsets.push(at);
  }
  return offsets;
}

if (typeof module !== "undefined") {
  module.exports = {
    CURATED, FILTERS, SHORTCUTS, STATUS_GLYPHS, actionForKey, applyPatch, previewOp,
    visibleInstances, nextOpen, neighbour, orderedClasses, tally, stripWindow, missingPages,
    isOwnDrawing, focusedFinding, findingAfter, findingKey,
  };
}
