// Draws the photo with its masks, boxes, labels, points and cursors. State in, pixels out; masks are
// decoded once each into a tight OffscreenCanvas and an outline path, then only composited.

const NO_CLASS_RGB = [148, 163, 184];
const BUILD_BUDGET_MS = 12; // decoding shares the frame with drawing, so a full photo opens smoothly
const EXACT_OUTLINE_SCALE = 3; // from here on single pixels show, and so does a simplified outline
const LABEL_FONT = "600 11px system-ui, sans-serif";

const css = (rgb, alpha = 1) => "rgba(" + rgb.join(",") + "," + alpha + ")";

/**
 * Decoded masks by instance: `get` gives a layer, or null while the frame's budget is used up.
 * `unreadable(instance)` hears of each mask that does not fit its photo.
 */
function createLayers(unreadable) {
  const cache = new Map();
  let spent = 0;

  function build(one, rgb) {
    const crop = cropOf(one);
    if (!crop) return { empty: true };
    const canvas = new OffscreenCanvas(crop.w, crop.h);
    const context = canvas.getContext("2d");
    const image = context.createImageData(crop.w, crop.h);
    const pixels = new Uint32Array(image.data.buffer);
    const colour = (255 << 24) | (rgb[2] << 16) | (rgb[1] << 8) | rgb[0];
    for (let i = 0; i < pixels.length; i++) if (crop.bits[i]) pixels[i] = colour;
    context.putImageData(image, 0, 0);
    const corners = traceOutlines(crop);
    const { x, y, w, h } = crop;
    const smooth = outlinePath(corners.map(smoothed));
    return { canvas, x, y, w, h, smooth, exact: outlinePath(corners) };
  }

  // A mask that was made for another photo must not take the others with it.
  function cropOf(one) {
    try {
      return rleCrop(one.rle);
    } catch (error) {
      if (!(error instanceof RangeError)) throw error;
      unreadable(one);
      return null;
    }
  }

  const smoothed = (corners) => simplifyOutline(bevelOutline(corners), 0.6);

  function outlinePath(outlines) {
    const path = new Path2D();
    for (const points of outlines) {
      path.moveTo(points[0], points[1]);
      for (let i = 2; i < points.length; i += 2) path.lineTo(points[i], points[i + 1]);
      path.closePath();
    }
    return path;
  }

  return {
    beginFrame() {
      spent = 0;
    },
    get(instance, rgb) {
      const key = instance.rle.counts + rgb.join();
      const known = cache.get(instance.id);
      if (known && known.key === key) return known.layer;
      // The old picture stays until the new one is made: a refined mask does not blink.
      if (spent > BUILD_BUDGET_MS) return known ? { ...known.layer, waiting: true } : null;
      const started = performance.now();
      const layer = build(instance, rgb);
      spent += performance.now() - started;
      cache.set(instance.id, { key, layer });
      return layer;
    },
    keepOnly(ids) {
      for (const id of cache.keys()) if (!ids.has(id)) cache.delete(id);
    },
    clear() {
      cache.clear();
    },
  };
}

/** Strokes that the server has not answered yet, by instance, the one being drawn included. */
function strokesByInstance(state) {
  const strokes = new Map();
  const add = (id, stroke) => strokes.set(id, [...(strokes.get(id) || []), stroke]);
  for (const op of state.pendingEdits()) if (op.op === "brush") add(op.id || op.op_id, op);
  if (state.drag && state.drag.stroke) add(state.drag.target || "drawing", state.drag.stroke);
  return strokes;
}

function createScene(canvas, state, unreadable) {
  const context = canvas.getContext("2d");
  const scratch = document.createElement("canvas");
  const layers = createLayers(unreadable);
  const paintHeat = createHeat();
  const classColour = (id) => {
    const found = state.doc && state.doc.classes.find((one) => one.id === id);
    return found ? found.rgb : NO_CLASS_RGB;
  };

  const photoTransform = (target) => {
    const { scale, x, y } = state.view;
    const ratio = state.stage.dpr;
    target.setTransform(scale * ratio, 0, 0, scale * ratio, x * ratio, y * ratio);
    target.imageSmoothingEnabled = scale < 2;
  };
  const screenTransform = (target) => {
    target.setTransform(state.stage.dpr, 0, 0, state.stage.dpr, 0, 0);
  };

  function resize() {
    const { w, h, dpr } = state.stage;
    for (const one of [canvas, scratch]) {
      one.width = Math.max(1, Math.round(w * dpr));
      one.height = Math.max(1, Math.round(h * dpr));
    }
  }

  /** Paints everything; true when masks are left for the next frame. */
  function paint() {
    context.setTransform(1, 0, 0, 1, 0, 0);
    context.clearRect(0, 0, canvas.width, canvas.height);
    if (!state.doc || !state.doc.photo || !state.view) return false;
    paintPhoto();
    const map = state.heatMap();
    if (map) paintHeat(context, map, state.doc.image, state.heatOpacity);
    layers.beginFrame();
    const shown = state.visible();
    layers.keepOnly(new Set(state.doc.instances.map((one) => one.id)));
    const rank = (one) => (one.id === state.selected ? 1 : 0);
    const order = [...shown].sort((a, b) => rank(a) - rank(b) || boxArea(b.box) - boxArea(a.box));
    const waiting = paintMasks(order);
    screenTransform(context);
    for (const one of order) paintBox(one);
    for (const one of state.findings()) if (one.box) paintMissing(one);
    for (const one of order) paintLabel(one, order.length);
    const selected = shown.find((one) => one.id === state.selected);
    if (selected) paintSelection(selected);
    if (state.promptsOn) paintPrompts(context, state.evidence().prompts, state.view);
    paintTool();
    return waiting;
  }

  function paintPhoto() {
    const { w, h } = state.doc.image;
    photoTransform(context);
    const source = state.photo.full || state.photo.thumb;
    context.fillStyle = "rgba(127,127,127,0.14)";
    context.fillRect(0, 0, w, h);
    if (source) context.drawImage(source, 0, 0, w, h);
  }

  function paintMasks(order) {
    const strokes = strokesByInstance(state);
    let waiting = false;
    for (const one of order) {
      const rgb = classColour(one.cls);
      const layer = one.rle ? layers.get(one, rgb) : { empty: true };
      if (!layer || layer.waiting) waiting = true;
      const own = strokes.get(one.id);
      strokes.delete(one.id);
      if (own) paintStrokes(own, rgb, layer && !layer.empty ? layer : null);
      else if (layer && !layer.empty && state.masksOn) paintMask(one, layer, rgb);
    }
    // What is left belongs to an instance that does not exist yet.
    for (const own of strokes.values()) paintStrokes(own, classColour(state.currentClass()), null);
    return waiting;
  }

  function paintMask(one, layer, rgb) {
    const rejected = one.status === "rejected";
    const lit = one.id === state.selected || one.id === state.hovered;
    photoTransform(context);
    context.globalAlpha = rejected ? state.opacity / 4 : Math.min(1, state.opacity + (lit ? 0.12 : 0));
    // Two colours on one spot tell neither: over the map only the outlines stay.
    if (!state.heatMap()) context.drawImage(layer.canvas, layer.x, layer.y);
    context.globalAlpha = rejected ? 0.4 : 1;
    const outline = state.view.scale >= EXACT_OUTLINE_SCALE ? layer.exact : layer.smooth;
    context.lineJoin = "round";
    if (lit && !rejected) {
      context.lineWidth = 3.5 / state.view.scale;
      context.strokeStyle = "rgba(255,255,255,0.85)";
      context.stroke(outline);
    }
    context.lineWidth = 1.5 / state.view.scale;
    context.strokeStyle = css(rgb);
    context.stroke(outline);
    context.globalAlpha = 1;
  }

  // A stroke can erase, so mask and strokes meet on a canvas of their own before they reach the photo.
  function paintStrokes(strokes, rgb, layer) {
    const brush = scratch.getContext("2d");
    brush.setTransform(1, 0, 0, 1, 0, 0);
    brush.clearRect(0, 0, scratch.width, scratch.height);
    photoTransform(brush);
    if (layer) brush.drawImage(layer.canvas, layer.x, layer.y);
    brush.lineCap = brush.lineJoin = "round";
    brush.strokeStyle = brush.fillStyle = css(rgb);
    for (const { mode, radius, pts } of strokes) {
      brush.globalCompositeOperation = mode === "erase" ? "destination-out" : "source-over";
      brush.lineWidth = 2 * radius;
      brush.beginPath();
      brush.moveTo(pts[0][0], pts[0][1]);
      for (const [x, y] of pts) brush.lineTo(x, y);
      brush.stroke();
    }
    brush.globalCompositeOperation = "source-over";
    context.setTransform(1, 0, 0, 1, 0, 0);
    context.globalAlpha = Math.min(1, state.opacity + 0.2);
    context.drawImage(scratch, 0, 0);
    context.globalAlpha = 1;
  }

  function screenBox(box) {
    const [x0, y0] = toScreen(state.view, box[0], box[1]);
    const [x1, y1] = toScreen(state.view, box[2], box[3]);
    return [x0, y0, x1 - x0, y1 - y0];
  }

  const boxOf = (one) =>
    state.drag && state.drag.target === one.id && state.drag.box ? state.drag.box : one.box;

  function paintBox(one) {
    const rgb = classColour(one.cls);
    const selected = one.id === state.selected;
    const rejected = one.status === "rejected";
    const rect = screenBox(boxOf(one));
    context.globalAlpha = rejected ? 0.6 : 1;
    context.setLineDash([]);
    context.lineWidth = selected ? 4 : 3;
    context.strokeStyle = selected ? "rgba(255,255,255,0.9)" : "rgba(0,0,0,0.35)";
    if (!rejected) context.strokeRect(...rect);
    if (one.draft || one.status === "proposed") context.setLineDash([7, 4]);
    if (rejected) context.setLineDash([1.5, 3.5]);
    context.lineWidth = selected ? 2.25 : 1.5;
    context.strokeStyle = css(rgb);
    context.strokeRect(...rect);
    context.setLineDash([]);
    context.globalAlpha = 1;
  }

  /** Where a detector sees what nobody marked. */
  function paintMissing(finding) {
    const rect = screenBox(finding.box);
    const lit = finding === state.finding(); // of several, the one that K is about
    const halo = lit ? [6, "rgba(255,255,255,0.9)"] : [4.5, "rgba(0,0,0,0.45)"];
    context.setLineDash([2, 5]);
    context.lineCap = "round";
    for (const [width, colour] of [halo, [2.5, css(classColour(finding.cls))]]) {
      context.lineWidth = width;
      context.strokeStyle = colour;
      context.strokeRect(...rect);
    }
    context.setLineDash([]);
    context.lineCap = "butt";
    const mark = { ...finding, id: findingKey(finding), status: "missing", score: null };
    paintLabel(mark, 0);
  }

  function paintLabel(one, crowd) {
    const lit = one.id === state.selected || one.id === state.hovered;
    const [x, y, w] = screenBox(boxOf(one));
    // Names of many small things would hide the photo; the list names them all.
    const flag = state.isFlagged(one.id) ? "! " : "";
    if (!lit && !flag && (w < 44 || crowd > 40)) return;
    const score = one.score === null ? "" : "  " + one.score.toFixed(2);
    const text = flag + STATUS_GLYPHS[one.status] + " " + state.className(one.cls) + score;
    context.font = LABEL_FONT;
    const [width, height] = [Math.ceil(context.measureText(text).width) + 12, 18];
    const left = clamp(x - 1, 2, Math.max(2, state.stage.w - width - 2));
    const top = y - height - 2 >= 2 ? y - height - 2 : clamp(y + 2, 2, state.stage.h - height - 2);
    if (x > state.stage.w || x + w < 0 || y > state.stage.h) return;
    const rgb = classColour(one.cls);
    context.globalAlpha = one.status === "rejected" ? 0.55 : lit ? 1 : 0.88;
    context.fillStyle = css(rgb);
    context.beginPath();
    context.roundRect(left, top, width, height, 4);
    context.fill();
    context.fillStyle = inkOn(rgb);
    context.textBaseline = "middle";
    context.fillText(text, left + 6, top + height / 2 + 0.5);
    context.globalAlpha = 1;
  }

  function paintSelection(one) {
    const colour = css(classColour(one.cls));
    if (state.tool() === "select" && !one.draft) {
      const [, , width, height] = screenBox(boxOf(one));
      const cramped = Math.min(width, height) < 30; // handles would hide what they are around
      for (const [name, x, y] of handleCentres(boxOf(one), state.view)) {
        if (cramped && name.length === 1) continue;
        context.fillStyle = "#fff";
        context.strokeStyle = colour;
        context.lineWidth = 1.5;
        context.beginPath();
        context.roundRect(x - 4.5, y - 4.5, 9, 9, 2);
        context.fill();
        context.stroke();
      }
    }
    for (const [px, py, label] of one.points) paintPoint(...toScreen(state.view, px, py), label);
  }

  function paintPoint(x, y, label) {
    context.beginPath();
    context.arc(x, y, 7, 0, 2 * Math.PI);
    context.fillStyle = label ? "#12a150" : "#d92d3a";
    context.fill();
    context.lineWidth = 2;
    context.strokeStyle = "#fff";
    context.stroke();
    context.beginPath();
    context.moveTo(x - 3.5, y);
    context.lineTo(x + 3.5, y);
    if (label) {
      context.moveTo(x, y - 3.5);
      context.lineTo(x, y + 3.5);
    }
    context.stroke();
  }

  function paintTool() {
    if (state.drag && state.drag.kind === "box" && state.drag.box) {
      paintBox({ id: "drawing", box: state.drag.box, cls: state.currentClass(), status: "drawn" });
    }
    if (!state.cursor) return;
    const [x, y] = state.cursor;
    const tool = state.tool();
    if (tool === "brush" || tool === "eraser") {
      paintRing(x, y, state.brush / 2, tool === "eraser" || (state.drag && state.drag.erasing));
    } else if (tool === "box" && !state.drag) {
      context.setLineDash([4, 4]);
      for (const [colour, offset] of [["rgba(0,0,0,0.55)", 0], ["rgba(255,255,255,0.8)", 4]]) {
        context.lineDashOffset = offset;
        context.lineWidth = 1;
        context.strokeStyle = colour;
        context.beginPath();
        context.moveTo(0, y + 0.5);
        context.lineTo(state.stage.w, y + 0.5);
        context.moveTo(x + 0.5, 0);
        context.lineTo(x + 0.5, state.stage.h);
        context.stroke();
      }
      context.setLineDash([]);
      context.lineDashOffset = 0;
    }
  }

  function paintRing(x, y, radius, erasing) {
    for (const [width, colour] of [[3, "rgba(0,0,0,0.6)"], [1.5, "#fff"]]) {
      context.beginPath();
      context.arc(x, y, radius, 0, 2 * Math.PI);
      if (erasing) context.setLineDash([4, 3]);
      context.lineWidth = width;
      context.strokeStyle = colour;
      context.stroke();
    }
    context.setLineDash([]);
  }

  return { paint, resize, forget: layers.clear };
}
