// How often proposals with a score were right, by one's own decisions, and accepting all above one:
// a preview, then one step that one undo takes back. Pure but for `createAbove`.

const ABOVE_DELAY_MS = 200; // a slider being dragged asks once

/** The share at a score of a curve [[score, right, low, high], ...]: flat outside, straight inside. */
function shareAt(knots, score) {
  const after = knots.findIndex(([at]) => at > score);
  if (after <= 0) return (after < 0 ? knots[knots.length - 1] : knots[0]).slice(1);
  const [from, to] = [knots[after - 1], knots[after]];
  const along = (score - from[0]) / (to[0] - from[0]);
  return [1, 2, 3].map((i) => from[i] + along * (to[i] - from[i]));
}

const percent = (share) => Math.round(100 * share) + " %";

/** What one's decisions say of proposals of a class and source at a score, as a line of text. */
function expectationText({ curves, too_few: tooFew }, one, score, className) {
  const of = (cls) => curves.find((curve) => curve.cls === cls && curve.source === one.maker);
  const [own, all] = [of(one.cls), of(null)];
  const curve = own && own.knots ? own : all && all.knots ? all : null;
  if (!curve) {
    const decided = all ? all.decided : 0;
    return "Too few to tell how many are right: " + decided + " of at least " + tooFew + " decided.";
  }
  const [right, low, high] = shareAt(curve.knots, score);
  const name = curve === own ? "“" + className + "”" : "all classes";
  return "At " + score.toFixed(2) + ", " + percent(right) + " of " + name + " were right (" +
    percent(low) + " to " + percent(high) + ", " + curve.decided + " decided).";
}

/** What a preview expects, in words. */
function previewText({ objects, photos, known, expected }) {
  if (!objects) return "Nothing undecided has such a score.";
  const what = plural(objects, "object", "objects") + " on " + plural(photos, "photo", "photos");
  if (!expected) return what + ". Too few were decided to tell how many of them are right.";
  const rest = objects > known ? " " + (objects - known) + " are of a kind too seldom decided." : "";
  return what + ". By your decisions, " + percent(expected.right) + " of them are right (" +
    percent(expected.low) + " to " + percent(expected.high) + ")." + rest;
}

/** What was accepted so last, in words. */
function lastText({ objects, photos }) {
  return "Accepted last: " + plural(objects, "object", "objects") + " on " +
    plural(photos, "photo", "photos") + ".";
}

/** ask(op, fields) -> Promise of an answer; reload() shows the photo as it is now. */
function createAbove({ state, part, ask, changed, tell, reload }) {
  // `shown` is what the server said of the choice as it stands; null while that is not known.
  let [known, shown, last, timer, asked] = [null, null, null, 0, 0];

  /** The proposal that the line is about: the selected one, else the first undecided one. */
  function subject() {
    const one = state.selectedInstance();
    return one && isOpen(one) && one.score !== null ? one
      : state.openInstances().find((other) => other.score !== null) || null;
  }

  const choice = () => {
    const cls = part("above-class").value;
    const everywhere = part("above-photos").value === "all";
    return {
      min_score: Number(part("above-score").value),
      cls: cls === "" ? null : Number(cls),
      filter: everywhere ? {} : { ...state.filter, order: "plain" },
    };
  };

  /** What was said of another choice must not be accepted for this one. */
  function forget() {
    asked += 1;
    shown = null;
    render();
  }

  async function look() {
    forget();
    const mine = asked;
    const fields = choice();
    const answer = await ask("preview_above", fields);
    if (mine !== asked) return; // the slider went on meanwhile
    shown = !answer || answer.error ? { failed: true } : { ...answer, ...fields };
    if (!shown.failed) last = shown.last;
    render();
  }

  function render() {
    part("above-value").textContent = Number(part("above-score").value).toFixed(2);
    part("above-text").textContent = !shown ? "Counting…"
      : shown.failed ? "The server gave no answer. Move the slider to ask again."
        : previewText(shown);
    const button = part("above-accept");
    button.disabled = !shown || !shown.objects;
    button.textContent = shown && shown.objects
      ? "Accept " + plural(shown.objects, "object", "objects") : "Accept";
    part("above-last").hidden = !last;
    part("above-last-text").textContent = last ? lastText(last) : "";
    const examples = (shown && shown.examples) || [];
    part("above-lowest").hidden = examples.length === 0;
    reconcile(part("above-examples"), examples, (one) => one.id, makeExample, fillExample);
  }

  function takeBackWith(batch) {
    return async () => {
      const answer = await ask("take_back", { batch });
      if (!answer || answer.error) {
        const why = answer ? sentence(answer.error.message) : "The server gave no answer.";
        const again = answer ? null : { label: "Try again", run: takeBackWith(batch) };
        return tell(why, "error", again);
      }
      tell(plural(answer.objects, "object is", "objects are") + " undecided again.", "good");
      reload();
    };
  }

  const later = () => {
    clearTimeout(timer);
    timer = setTimeout(look, ABOVE_DELAY_MS);
    forget();
  };
  for (const name of ["above-score", "above-class", "above-photos"]) {
    part(name).addEventListener("input", later);
  }

  function open() {
    const options = [{ id: "", name: "Any class" }, ...state.doc.classes];
    reconcile(part("above-class"), options, (one) => one.id,
      () => document.createElement("option"), (option, one) => {
        option.value = one.id;
        option.textContent = one.name;
      });
    part("above-class").value = state.filter.cls === null ? "" : String(state.filter.cls);
    part("above-score").value = state.minScore || 0.9;
    part("above").showModal();
    look();
  }

  return {
    open,
    /** Whether there is something to take back. */
    hasLast: () => last !== null,
    async undoLast() {
      part("above").close();
      if (last) await takeBackWith(last.number)();
    },
    /** Ask again what the decisions tell; they have changed. */
    async refresh() {
      if (!state.project) return;
      const answer = await ask("thresholds");
      if (!answer || answer.error) return; // the next edit asks again
      [known, last] = [answer, answer.last];
      changed();
    },
    expectation() {
      const one = known && state.hasPhoto() ? subject() : null;
      if (!one) return "";
      // The slider says which score is meant; as long as nobody has moved it, that of the proposal.
      return expectationText(known, one, state.minScore || one.score, state.className(one.cls));
    },
    close: () => part("above").close(),
    async accept() {
      if (!shown || !shown.objects) return;
      const { min_score, cls, filter, fingerprint } = shown;
      forget();
      const answer = await ask("accept_above", { min_score, cls, filter, fingerprint });
      if (!answer || answer.error) {
        part("above").close();
        reload(); // it may have been done, though nobody said so
        const why = answer ? sentence(answer.error.message)
          : "The server gave no answer; it may have been done all the same.";
        return tell(why, "error", { label: "Look again", run: open });
      }
      part("above").close();
      reload();
      tell("Accepted " + plural(answer.objects, "object", "objects") + " on " +
        plural(answer.photos, "photo", "photos") + ".", "good",
      { label: "Undo all of it", run: takeBackWith(answer.number) });
    },
  };
}

function makeExample() {
  const row = make("figure", "t2m-example");
  const picture = make("span", "t2m-example-picture");
  const image = document.createElement("img");
  image.alt = "";
  picture.append(image, make("span", "t2m-example-box"));
  row.append(picture, make("figcaption", "t2m-example-text"));
  return row;
}

function fillExample(row, one) {
  const [picture, text] = row.children;
  const [image, box] = picture.children;
  if (image.getAttribute("src") !== one.thumb) image.src = one.thumb;
  const [x0, y0, x1, y1] = one.box.map((share) => 100 * share + "%");
  Object.assign(box.style, { left: x0, top: y0, width: "calc(" + x1 + " - " + x0 + ")",
    height: "calc(" + y1 + " - " + y0 + ")" });
  text.textContent = one.name + " " + one.score.toFixed(2);
}

if (typeof module !== "undefined") module.exports = { shareAt, expectationText, previewText };
