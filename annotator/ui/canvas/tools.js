// The pointer: what a press, a drag and the wheel mean in each tool. A drag is an object with
// move, end and cancel; it changes `state` while it lasts and hands one operation over at its end.

const RESIZE_CURSORS = {
  nw: "nwse-resize", se: "nwse-resize", ne: "nesw-resize", sw: "nesw-resize",
  n: "ns-resize", s: "ns-resize", e: "ew-resize", w: "ew-resize",
};
const DRAG_START = 4; // screen pixels before a press becomes a drag
const BRUSH_RADIUS = [0.5, 1000]; // photo pixels; the brush has its size on screen
const MAX_STROKE_POINTS = 4000; // a longer stroke is sent in parts

/**
 * host: {edit(op), select(id), hover(id), tell(text), focus(), classForNew(), repaint(),
 * viewChanged()}; `stage` is the element that takes the events, `signal` ends all of them.
 */
function createTools(stage, state, host, signal) {
  const at = (event) => {
    const rect = stage.getBoundingClientRect();
    return [event.clientX - rect.left, event.clientY - rect.top];
  };
  const photoAt = (sx, sy) => toPhoto(state.view, sx, sy);
  const inside = ([x, y]) => x >= 0 && y >= 0 && x < state.doc.image.w && y < state.doc.image.h;
  const selected = () => state.visible().find((one) => one.id === state.selected) || null;

  function panDrag(sx, sy, click) {
    const start = { ...state.view };
    return {
      kind: "pan",
      move(x, y) {
        state.view = keepInSight(
          { scale: start.scale, x: start.x + x - sx, y: start.y + y - sy },
          state.stage, state.doc.image);
        host.viewChanged();
      },
      end: (moved) => !moved && click && click(),
      cancel: () => { state.view = start; },
    };
  }

  function boxDrag(one, handle, sx, sy, click) {
    const [px, py] = photoAt(sx, sy);
    const original = one.box;
    return {
      kind: "reshape", target: one.id, box: original,
      move(x, y) {
        const [qx, qy] = photoAt(x, y);
        this.box = handle
          ? resizedBox(original, handle, qx - px, qy - py, state.doc.image)
          : movedBox(original, qx - px, qy - py, state.doc.image);
      },
      end(moved) {
        if (!moved) return click && click();
        if (isMeant(this.box, state.view) && this.box.some((v, i) => v !== original[i])) {
          host.edit({ op: "set_box", id: one.id, box: this.box });
        }
      },
      cancel() {},
    };
  }

  function newBoxDrag(sx, sy) {
    const [px, py] = photoAt(sx, sy);
    return {
      kind: "box", box: null,
      move(x, y) {
        const [qx, qy] = photoAt(x, y);
        this.box = orderedBox(px, py, qx, qy, state.doc.image);
      },
      end() {
        if (!this.box || !isMeant(this.box, state.view)) return;
        const cls = host.classForNew();
        if (cls !== null) host.edit({ op: "add_box", cls, box: this.box });
      },
      cancel() {},
    };
  }

  function strokeDrag(sx, sy, mode) {
    const one = selected();
    const cls = one ? one.cls : host.classForNew();
    if (!one && cls === null) return null;
    const radius = round2(clamp(state.brush / 2 / state.view.scale, ...BRUSH_RADIUS));
    const points = [photoAt(sx, sy)];
    const drag = {
      kind: "stroke", target: one ? one.id : null, erasing: mode === "erase",
      stroke: { mode, radius, pts: points },
      move: (x, y) => {
        points.push(photoAt(x, y));
        if (points.length >= MAX_STROKE_POINTS && one) send(points.splice(0, points.length - 1));
      },
      end: () => send(points),
      cancel() {},
    };
    const send = (part) => {
      const pts = thinStroke(part, Math.max(radius / 6, 0.5 / state.view.scale));
      host.edit({ op: "brush", id: drag.target, cls, mode, radius, pts });
    };
    return drag;
  }

  function placePoint(event, sx, sy) {
    const point = photoAt(sx, sy);
    if (!inside(point)) return;
    const label = event.button === 2 || event.shiftKey ? 0 : 1;
    const one = selected();
    if (!one && label === 0) {
      host.tell("Left click on the object first, then right click what does not belong to it.");
      return;
    }
    const cls = one ? one.cls : host.classForNew();
    if (!one && cls === null) return;
    const [x, y] = point.map(round2);
    host.edit({ op: "click", id: one ? one.id : null, cls, point: [x, y, label] });
  }

  function pressSelect(sx, sy) {
    const one = selected();
    const [px, py] = photoAt(sx, sy);
    const pick = () => host.select(pickAt(state.visible(), px, py, state.selected));
    if (one && !one.draft) {
      const handle = handleAt(one.box, state.view, sx, sy);
      if (handle) return boxDrag(one, handle, sx, sy, pick);
      if (inBox(one.box, px, py)) return boxDrag(one, null, sx, sy, pick);
    }
    return panDrag(sx, sy, pick);
  }

  function dragFor(event, sx, sy) {
    const tool = state.tool();
    if (event.button === 1 || tool === "pan") return panDrag(sx, sy);
    if (!state.canEdit()) return event.button === 0 ? panDrag(sx, sy) : null;
    if (tool === "select") return event.button === 0 ? pressSelect(sx, sy) : null;
    if (tool === "box") return event.button === 0 ? newBoxDrag(sx, sy) : null;
    const erasing = tool === "eraser" || event.button === 2 || event.shiftKey;
    if (erasing && !selected()) {
      host.tell("Select an instance first: the eraser takes away from its mask.");
      return null;
    }
    return strokeDrag(sx, sy, erasing ? "erase" : "add");
  }

  function press(event) {
    if (!state.hasPhoto() || !state.view || state.drag || event.button > 2) return;
    if (event.target.closest(".t2m-empty, .t2m-notice, .t2m-cycle, .t2m-legend")) return; // messages lie on the photo
    const [sx, sy] = at(event);
    host.focus();
    event.preventDefault();
    if (state.tool() === "points" && event.button !== 1) {
      if (state.canEdit()) placePoint(event, sx, sy);
      else if (state.navigating) host.tell(STILL_OPENING);
      return;
    }
    const drag = dragFor(event, sx, sy);
    if (!drag) return;
    Object.assign(drag, { pointer: event.pointerId, from: [sx, sy], moved: drag.kind === "stroke" });
    stage.setPointerCapture(event.pointerId);
    state.drag = drag;
    host.repaint();
  }

  function move(event) {
    if (!state.hasPhoto() || !state.view) return;
    const [sx, sy] = at(event);
    state.cursor = [sx, sy];
    const drag = state.drag;
    if (drag && drag.pointer === event.pointerId) {
      const [fx, fy] = drag.from;
      if (!drag.moved && Math.hypot(sx - fx, sy - fy) >= DRAG_START) drag.moved = true;
      // Coalesced events keep a fast stroke round instead of cornered.
      const events = drag.stroke && event.getCoalescedEvents ? event.getCoalescedEvents() : [];
      if (drag.moved) for (const one of events.length ? events : [event]) drag.move(...at(one));
    } else {
      hover(sx, sy);
    }
    showCursor(sx, sy);
    // In the other tools the pointer is not drawn, and `hover` repaints when it has to.
    if (drag || ["box", "brush", "eraser"].includes(state.tool())) host.repaint();
  }

  function hover(sx, sy) {
    const over = state.tool() === "select" ? instancesAt(state.visible(), ...photoAt(sx, sy))[0] : null;
    host.hover(over ? over.id : null);
  }

  function release(event) {
    const drag = state.drag;
    if (!drag || drag.pointer !== event.pointerId) return;
    // A brush dab is wanted, a box or a move of nothing is not.
    drag.end(drag.moved);
    state.drag = null;
    host.repaint();
  }

  function cancelDrag() {
    if (!state.drag) return false;
    state.drag.cancel();
    state.drag = null;
    host.viewChanged();
    return true;
  }

  function showCursor(sx, sy) {
    const tool = state.tool();
    const one = selected();
    let cursor = { box: "crosshair", points: "crosshair", brush: "none", eraser: "none" }[tool];
    if (tool === "pan" || (state.drag && state.drag.kind === "pan")) {
      cursor = state.drag ? "grabbing" : "grab";
    } else if (tool === "select") {
      const handle = one && handleAt(one.box, state.view, sx, sy);
      if (handle) cursor = RESIZE_CURSORS[handle];
      else if (one && inBox(one.box, ...photoAt(sx, sy))) cursor = "move";
      else cursor = state.hovered !== null ? "pointer" : "default";
    }
    stage.style.cursor = cursor;
  }

  function wheel(event) {
    if (!state.hasPhoto() || !state.view) return;
    event.preventDefault();
    const lines = event.deltaMode === 1 ? 33 : 1; // Firefox may count lines
    const slowness = event.ctrlKey ? 100 : 400; // a pinch arrives as a small wheel with Ctrl
    const factor = Math.exp(-clamp(event.deltaY * lines, -240, 240) / slowness);
    state.view = zoomView(state.view, factor, ...at(event), state.stage, state.doc.image);
    host.viewChanged();
  }

  stage.addEventListener("pointerdown", press, { signal });
  stage.addEventListener("pointermove", move, { signal });
  stage.addEventListener("pointerup", release, { signal });
  stage.addEventListener("pointercancel", cancelDrag, { signal });
  stage.addEventListener("wheel", wheel, { signal, passive: false });
  stage.addEventListener("contextmenu", (event) => event.preventDefault(), { signal });
  stage.addEventListener("pointerleave", () => {
    state.cursor = null;
    host.hover(null);
    host.repaint();
  }, { signal });
  return { cancelDrag, showCursor: () => state.cursor && showCursor(...state.cursor) };
}
