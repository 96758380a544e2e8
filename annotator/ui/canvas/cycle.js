// The other masks of an object, one key each: G the next, Shift+G back to the one it began with.
// The list is asked for once, at the first press, and stays; where one stands in it is read off the
// mask that the object has now, so undo, redo and other tabs need no word here.

const sameMask = (a, b) => (a === null || b === null ? a === b : a.counts === b.counts);

/**
 * others(id) -> Promise of {masks: [{rle, box, score}]} or {error}; `settled()` resolves when no edit
 * is on its way. edit(op), tell(text, kind), changed() as in the session.
 */
function createCycle({ state, others, settled, edit, tell, changed }) {
  const walks = new Map(); // instance id -> {masks, looking, wanted}

  const positionIn = (walk, one) => walk.masks.findIndex((mask) => sameMask(mask.rle, one.rle));

  async function begin(one, direction) {
    const walk = { masks: [], looking: true, wanted: direction };
    walks.set(one.id, walk);
    changed();
    await settled();
    const answer = await others(one.id);
    if (walks.get(one.id) !== walk) return; // another photo meanwhile
    walk.looking = false;
    const now = state.doc.instances.find((other) => other.id === one.id);
    if (!now || !answer || answer.error) {
      walks.delete(one.id);
      changed();
      if (now) tell(answer ? sentence(answer.error.message) : NO_ANSWER, answer ? "info" : "error");
      return;
    }
    walk.masks = [firstMask(now), ...answer.masks];
    if (walk.wanted) move(now, walk, walk.wanted);
    changed();
  }

  function move(one, walk, direction) {
    const count = walk.masks.length;
    if (count === 1) return tell(NO_OTHER);
    const at = positionIn(walk, one);
    const next = direction > 0 ? (at + direction) % count : Math.max(at + direction, 0);
    if (next !== at) {
      const { rle, score, ...preview } = walk.masks[next];
      edit({ op: "choose", id: one.id, rle, preview });
    }
    if (at + direction >= count) tell("These were all " + count + " masks; this is the first again.");
    else if (at + direction < 0) tell("This is the mask it began with.");
  }

  return {
    /** Give the instance the next mask (1) or the one before (-1). */
    step(one, direction) {
      const walk = walks.get(one.id);
      if (walk && walk.looking) walk.wanted += direction;
      else if (walk && positionIn(walk, one) >= 0) move(one, walk, direction);
      else if (direction < 0) tell("This is the mask it began with; G shows others.");
      else begin(one, direction);
    },
    /** Where an instance stands: {looking} or {at, count, score}; null before the first press. */
    place(one) {
      const walk = one && walks.get(one.id);
      if (!walk) return null;
      if (walk.looking) return { looking: true };
      const at = positionIn(walk, one);
      if (at < 0 || walk.masks.length === 1) return null;
      return { at, count: walk.masks.length, score: walk.masks[at].score };
    },
    forget: () => walks.clear(),
  };
}

const NO_OTHER = "No other mask is known for this object. Click on it (P) or draw a box (B).";
const NO_ANSWER = "The other masks could not be fetched. Try again.";

/** What an object looked like when the walk began; going back to it restores all of that. */
function firstMask(one) {
  return { rle: one.rle, box: one.box, score: one.score, status: one.status, points: one.points };
}

/** "Mask 2 of 9 · score 0.71". */
function placeText(place) {
  if (place.looking) return "Looking for other masks…";
  const score = place.score === null ? "" : " · score " + place.score.toFixed(2);
  return "Mask " + (place.at + 1) + " of " + place.count + score;
}

if (typeof module !== "undefined") module.exports = { createCycle, placeText };
