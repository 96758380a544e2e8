// Pure geometry of the review screen, no DOM: COCO RLE in, pixels and outlines out; the view
// transform; hit test and handles. Coordinates are float pixels of the oriented photo, pixel i
// spans [i, i + 1), boxes are half-open [x0, y0, x1, y1].

const HANDLES = [
  ["nw", 0, 0], ["n", 0.5, 0], ["ne", 1, 0], ["e", 1, 0.5],
  ["se", 1, 1], ["s", 0.5, 1], ["sw", 0, 1], ["w", 0, 0.5],
];
const MAX_SCALE = 32; // screen pixels per photo pixel
const MIN_BOX_SCREEN = 3; // a smaller drag is a slip of the hand, not a box

const clamp = (value, low, high) => Math.min(Math.max(value, low), high);
const round2 = (value) => Math.round(value * 100) / 100;

/** Run lengths of COCO's compressed string: column-major, background first (cocoapi rleFrString). */
function rleCounts(text) {
  const runs = [];
  let at = 0;
  while (at < text.length) {
    let value = 0;
    let shift = 0;
    let more = true;
    while (more) {
      if (at >= text.length) throw new RangeError("RLE ends in the middle of a run");
      const code = text.charCodeAt(at++) - 48;
      value |= (code & 31) << (5 * shift++);
      more = (code & 32) !== 0;
      if (!more && code & 16) value |= -1 << (5 * shift);
    }
    if (runs.length > 2) value += runs[runs.length - 2];
    runs.push(value);
  }
  return runs;
}

/** The foreground of an RLE as a tight row-major crop {x, y, w, h, area, bits}, null where empty. */
function rleCrop(rle) {
  const [height, width] = rle.size;
  const runs = rleCounts(rle.counts);
  const spans = [];
  let position = 0;
  let [x0, y0, x1, y1, area] = [width, height, 0, 0, 0];
  for (let i = 0; i < runs.length; i++) {
    if (runs[i] < 0) throw new RangeError("RLE has a negative run");
    if (i % 2 === 1 && runs[i] > 0) {
      const last = position + runs[i] - 1;
      const [left, right] = [Math.floor(position / height), Math.floor(last / height)];
      const wraps = right > left;
      x0 = Math.min(x0, left);
      x1 = Math.max(x1, right + 1);
      y0 = Math.min(y0, wraps ? 0 : position % height);
      y1 = Math.max(y1, wraps ? height : (last % height) + 1);
      area += runs[i];
      spans.push(position, last);
    }
    position += runs[i];
  }
  if (position !== height * width) {
    throw new RangeError(`RLE covers ${position} pixels, expected ${height * width}`);
  }
  if (area === 0) return null;
  const [w, h] = [x1 - x0, y1 - y0];
  const bits = new Uint8Array(w * h);
  for (let i = 0; i < spans.length; i += 2) {
    let x = Math.floor(spans[i] / height);
    let y = spans[i] - x * height;
    let target = (y - y0) * w + x - x0;
    for (let p = spans[i]; p <= spans[i + 1]; p++) {
      bits[target] = 1;
      target += w;
      if (++y === height) {
        y = 0;
        x += 1;
        target = (y - y0) * w + x - x0;
      }
    }
  }
  return { x: x0, y: y0, w, h, area, bits };
}

/**
 * Closed outlines of a crop along pixel edges, holes included, foreground on the right-hand side:
 * a list of flat [x, y, x, y, ...] corner lists in photo pixels, no collinear corners.
 */
function traceOutlines(crop) {
  const { w, h, bits } = crop;
  const filled = (x, y) => x >= 0 && y >= 0 && x < w && y < h && bits[y * w + x] === 1;
  const seen = new Uint8Array(w * h); // top edges already walked
  const outlines = [];
  for (let y = 0; y < h; y++) {
    for (let x = 0; x < w; x++) {
      const here = y * w + x;
      if (!bits[here] || seen[here] || (y > 0 && bits[here - w])) continue;
      outlines.push(walkOutline(x, y, crop, filled, seen));
    }
  }
  return outlines;
}

// East, south, west, north; for each heading the pixel ahead on the left and on the right.
const HEADINGS = [
  { dx: 1, dy: 0, left: [0, -1], right: [0, 0] },
  { dx: 0, dy: 1, left: [0, 0], right: [-1, 0] },
  { dx: -1, dy: 0, left: [-1, 0], right: [-1, -1] },
  { dx: 0, dy: -1, left: [-1, -1], right: [0, -1] },
];

function walkOutline(startX, startY, crop, filled, seen) {
  const corners = [];
  let [x, y, heading] = [startX, startY, 0];
  do {
    if (heading === 0) seen[y * crop.w + x] = 1;
    const step = HEADINGS[heading];
    x += step.dx;
    y += step.dy;
    let turn = 0;
    if (filled(x + step.left[0], y + step.left[1])) turn = 3;
    else if (!filled(x + step.right[0], y + step.right[1])) turn = 1;
    if (turn !== 0) corners.push(x + crop.x, y + crop.y);
    heading = (heading + turn) % 4;
  } while (x !== startX || y !== startY || heading !== 0);
  return corners;
}

/**
 * The outline through the middles of the pixel edges at its corners, as marching squares draws it:
 * stairs become slopes, straight edges stay, nothing moves by more than half a pixel.
 */
function bevelOutline(corners) {
  const bevelled = [];
  const n = corners.length;
  for (let i = 0; i < n; i += 2) {
    const [ax, ay] = [corners[i], corners[i + 1]];
    const [bx, by] = [corners[(i + 2) % n], corners[(i + 3) % n]];
    const [sx, sy] = [Math.sign(bx - ax) / 2, Math.sign(by - ay) / 2];
    bevelled.push(ax + sx, ay + sy);
    if (Math.abs(bx - ax) + Math.abs(by - ay) > 1) bevelled.push(bx - sx, by - sy);
  }
  return bevelled;
}

/** Douglas-Peucker on a closed outline: corners further than `tolerance` pixels stay. */
function simplifyOutline(corners, tolerance) {
  const n = corners.length / 2;
  if (n <= 4) return corners;
  const keep = new Uint8Array(n);
  let far = 0;
  let best = -1;
  for (let i = 1; i < n; i++) {
    const d = (corners[2 * i] - corners[0]) ** 2 + (corners[2 * i + 1] - corners[1]) ** 2;
    if (d > best) [best, far] = [d, i];
  }
  keep[0] = keep[far] = 1;
  const stack = [[0, far], [far, n]];
  while (stack.length) {
    const [from, to] = stack.pop();
    const split = farthestCorner(corners, from, to, tolerance);
    if (split > 0) {
      keep[split] = 1;
      stack.push([from, split], [split, to]);
    }
  }
  const kept = [];
  for (let i = 0; i < n; i++) if (keep[i]) kept.push(corners[2 * i], corners[2 * i + 1]);
  return kept;
}

function farthestCorner(corners, from, to, tolerance) {
  const n = corners.length / 2;
  const [ax, ay] = [corners[2 * from], corners[2 * from + 1]];
  const [bx, by] = [corners[2 * (to % n)], corners[2 * (to % n) + 1]];
  const [dx, dy] = [bx - ax, by - ay];
  const length = Math.hypot(dx, dy) || 1;
  let [best, at] = [tolerance, -1];
  for (let i = from + 1; i < to; i++) {
    const distance = Math.abs((corners[2 * i] - ax) * dy - (corners[2 * i + 1] - ay) * dx) / length;
    if (distance > best) [best, at] = [distance, i];
  }
  return at;
}

// ---- view: screen = photo * scale + (x, y), in CSS pixels of the stage -------------------------

/** The view that shows the whole photo centred with a margin; small photos grow to 4x at most. */
function fitView(stage, photo, margin = 24) {
  const room = Math.min((stage.w - 2 * margin) / photo.w, (stage.h - 2 * margin) / photo.h);
  const scale = clamp(room, 0.01, 4);
  return { scale, x: (stage.w - photo.w * scale) / 2, y: (stage.h - photo.h * scale) / 2 };
}

/** Zoom by a factor so that the photo point under (sx, sy) stays there. */
function zoomView(view, factor, sx, sy, stage, photo) {
  const low = Math.min(fitView(stage, photo).scale / 2, 1);
  const scale = clamp(view.scale * factor, low, MAX_SCALE);
  const ratio = scale / view.scale;
  const moved = { scale, x: sx - (sx - view.x) * ratio, y: sy - (sy - view.y) * ratio };
  return keepInSight(moved, stage, photo);
}

/** Pan limits: at least a quarter of the stage (or the whole small photo) stays covered. */
function keepInSight(view, stage, photo) {
  const limit = (offset, size, room) => {
    const visible = Math.min(size, room / 4);
    return clamp(offset, visible - size, room - visible);
  };
  return {
    scale: view.scale,
    x: limit(view.x, photo.w * view.scale, stage.w),
    y: limit(view.y, photo.h * view.scale, stage.h),
  };
}

const toScreen = (view, x, y) => [x * view.scale + view.x, y * view.scale + view.y];
const toPhoto = (view, sx, sy) => [(sx - view.x) / view.scale, (sy - view.y) / view.scale];

// ---- boxes --------------------------------------------------------------------------------------

const boxArea = (box) => (box[2] - box[0]) * (box[3] - box[1]);
const inBox = (box, x, y) => x >= box[0] && x < box[2] && y >= box[1] && y < box[3];

/** Two corners in any order -> an ordered box inside the photo, hundredths of a pixel. */
function orderedBox(ax, ay, bx, by, photo) {
  const xs = [clamp(ax, 0, photo.w), clamp(bx, 0, photo.w)].sort((a, b) => a - b);
  const ys = [clamp(ay, 0, photo.h), clamp(by, 0, photo.h)].sort((a, b) => a - b);
  return [xs[0], ys[0], xs[1], ys[1]].map(round2);
}

/** Move a whole box, keeping its size, not further than the photo's edges. */
function movedBox(box, dx, dy, photo) {
  const x = clamp(dx, -box[0], photo.w - box[2]);
  const y = clamp(dy, -box[1], photo.h - box[3]);
  return [box[0] + x, box[1] + y, box[2] + x, box[3] + y].map(round2);
}

/** Drag one handle by (dx, dy); crossing the opposite side flips the box. */
function resizedBox(box, handle, dx, dy, photo) {
  const [, fx, fy] = HANDLES.find(([name]) => name === handle);
  const x0 = fx === 0 ? box[0] + dx : box[0];
  const x1 = fx === 1 ? box[2] + dx : box[2];
  const y0 = fy === 0 ? box[1] + dy : box[1];
  const y1 = fy === 1 ? box[3] + dy : box[3];
  return orderedBox(x0, y0, x1, y1, photo);
}

/** Whether a box is large enough on screen to be meant, and has an area at all. */
function isMeant(box, view) {
  const [w, h] = [box[2] - box[0], box[3] - box[1]];
  return w > 0 && h > 0 && w * view.scale >= MIN_BOX_SCREEN && h * view.scale >= MIN_BOX_SCREEN;
}

/** Screen centres of the eight handles: [name, x, y]. */
function handleCentres(box, view) {
  return HANDLES.map(([name, fx, fy]) => [
    name,
    ...toScreen(view, box[0] + fx * (box[2] - box[0]), box[1] + fy * (box[3] - box[1])),
  ]);
}

/** The handle within `reach` screen pixels, nearest first, or null. */
function handleAt(box, view, sx, sy, reach = 9) {
  let [best, found] = [reach, null];
  for (const [name, x, y] of handleCentres(box, view)) {
    const distance = Math.max(Math.abs(x - sx), Math.abs(y - sy));
    if (distance <= best) [best, found] = [distance - 1e-6, name];
  }
  return found;
}

/** Instances under a photo point: rejected ones last, the smallest box first. */
function instancesAt(instances, x, y) {
  const rank = (one) => (one.status === "rejected" ? 1 : 0);
  return instances
    .filter((one) => inBox(one.box, x, y))
    .sort((a, b) => rank(a) - rank(b) || boxArea(a.box) - boxArea(b.box));
}

/** What a click selects: the smallest, or the next one where the smallest is selected already. */
function pickAt(instances, x, y, selectedId) {
  const hits = instancesAt(instances, x, y);
  if (!hits.length) return null;
  const at = hits.findIndex((one) => one.id === selectedId);
  return hits[(at + 1) % hits.length].id;
}

/** Drop stroke points closer than `spacing` pixels to the one kept before; the last stays. */
function thinStroke(points, spacing) {
  const kept = [];
  points.forEach((point, i) => {
    const last = kept[kept.length - 1];
    const far = !last || Math.hypot(point[0] - last[0], point[1] - last[1]) >= spacing;
    if (far || (i === points.length - 1 && (point[0] !== last[0] || point[1] !== last[1]))) {
      kept.push(point);
    }
  });
  return kept.map(([x, y]) => [round2(x), round2(y)]);
}

/** Black or white, whichever reads better on an sRGB colour (W3C relative luminance). */
function inkOn(rgb) {
  const linear = rgb.map((c) => (c <= 10 ? c / 3294.6 : ((c / 255 + 0.055) / 1.055) ** 2.4));
  const luminance = 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2];
  return luminance > 0.179 ? "#101418" : "#ffffff";
}

if (typeof module !== "undefined") {
  module.exports = {
    HANDLES, MAX_SCALE, clamp, rleCounts, rleCrop, traceOutlines, bevelOutline, simplifyOutline,
    fitView,
    zoomView, keepInSight, toScreen, toPhoto, orderedBox, movedBox, resizedBox, isMeant,
    handleCentres, handleAt, instancesAt, pickAt, thinStroke, inkOn,
  };
}
