// The film strip: one row for any number of photos. Only the items in sight exist as elements and
// only the pages in sight are asked for.

const STRIP_ITEM = 100; // width of an item with its gap, as in the style sheet
const STRIP_PAGE = 60;
const STRIP_GLYPHS = { todo: "", done: "✓", empty: "–", skipped: "»" };
const STRIP_WORDS = {
  todo: "to review", done: "done", empty: "nothing proposed", skipped: "skipped",
};

/**
 * list(offset, limit) -> Promise of {items, total, offset}; `track` lies in the scrolling `rail`;
 * shown(total) is told how many photos there are.
 */
function createStrip({ rail, track, list, shown, signal }) {
  let pages = new Map(); // offset -> items; kept while stale so that nothing flickers
  let fresh = new Set();
  let asking = new Set();
  const buttons = new Map(); // index -> element
  let [total, current, generation, timer] = [0, null, 0, 0];

  const itemAt = (index) => {
    const offset = Math.floor(index / STRIP_PAGE) * STRIP_PAGE;
    const items = pages.get(offset);
    return items ? items[index - offset] : undefined;
  };

  function render() {
    const [first, end] = stripWindow(rail.scrollLeft, rail.clientWidth, STRIP_ITEM, total);
    track.style.width = total * STRIP_ITEM + "px";
    shown(total);
    for (const [index, button] of buttons) {
      if (index < first || index >= end) {
        button.remove();
        buttons.delete(index);
      }
    }
    for (let index = first; index < end; index++) {
      if (!buttons.has(index)) buttons.set(index, track.appendChild(newItem(index)));
      fill(buttons.get(index), itemAt(index));
    }
    clearTimeout(timer);
    timer = setTimeout(() => fetchMissing(first, end), 60);
  }

  function newItem(index) {
    const button = document.createElement("button");
    button.type = "button";
    button.className = "t2m-thumb";
    button.dataset.action = "open-photo";
    button.style.left = index * STRIP_ITEM + "px";
    button.tabIndex = -1;
    const image = document.createElement("img");
    Object.assign(image, { alt: "", loading: "lazy", decoding: "async", draggable: false });
    image.addEventListener("error", () => { image.hidden = true; });
    const badge = document.createElement("span");
    badge.className = "t2m-thumb-badge";
    const label = document.createElement("span");
    label.className = "t2m-thumb-name";
    button.append(image, badge, label);
    return button;
  }

  function fill(button, item) {
    button.disabled = !item;
    if (!item) return;
    const [image, badge, label] = button.children;
    if (button.dataset.thumb !== item.thumb) {
      button.dataset.thumb = item.thumb;
      image.hidden = !item.thumb;
      if (item.thumb) image.src = item.thumb;
    }
    button.dataset.id = item.id;
    button.dataset.status = item.status;
    badge.textContent = item.status === "todo" ? String(item.n_proposed) : STRIP_GLYPHS[item.status];
    label.textContent = item.name.split("/").pop();
    const open = item.status === "todo" ? ", " + item.n_proposed + " proposed" : "";
    const text = item.name + ": " + STRIP_WORDS[item.status] + open;
    button.title = text;
    button.setAttribute("aria-label", text);
    if (item.id === current) button.setAttribute("aria-current", "true");
    else button.removeAttribute("aria-current");
  }

  async function fetchMissing(first, end) {
    const known = new Set([...fresh, ...asking]);
    for (const offset of missingPages(first, end, STRIP_PAGE, known)) {
      const mine = generation;
      asking.add(offset);
      const answer = await list(offset, STRIP_PAGE);
      if (mine !== generation) return; // the filter changed meanwhile
      asking.delete(offset);
      if (!answer || answer.error) return; // asked again at the next scroll or edit
      pages.set(offset, answer.items);
      fresh.add(offset);
      total = answer.total;
      render();
    }
  }

  rail.addEventListener("scroll", () => requestAnimationFrame(render), { signal, passive: true });
  // A mouse wheel turns sideways here.
  rail.addEventListener("wheel", (event) => {
    if (Math.abs(event.deltaY) <= Math.abs(event.deltaX)) return;
    event.preventDefault();
    rail.scrollLeft += event.deltaY;
  }, { signal, passive: false });

  return {
    render,
    /** Another list: forget everything. */
    reset(newTotal) {
      generation += 1;
      [pages, fresh, asking] = [new Map(), new Set(), new Set()];
      total = newTotal;
      for (const button of buttons.values()) button.remove();
      buttons.clear();
      render();
    },
    /** Counts changed: show what is known, ask for what is in sight again. */
    invalidate() {
      fresh.clear();
      render();
    },
    /** Mark a photo and bring it into sight. */
    show(id, index, newTotal) {
      current = id;
      total = newTotal;
      track.style.width = total * STRIP_ITEM + "px";
      if (index !== null && index !== undefined) {
        const left = index * STRIP_ITEM;
        const hidden = left < rail.scrollLeft + STRIP_ITEM ||
          left + 2 * STRIP_ITEM > rail.scrollLeft + rail.clientWidth;
        if (hidden) rail.scrollLeft = left - (rail.clientWidth - STRIP_ITEM) / 2;
      }
      render();
    },
  };
}
