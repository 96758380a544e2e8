// Edits that the server has not answered, kept for when the page is loaded again: Gradio does that by
// itself where the server was away. Every edit has its own id, so sending one twice is safe.

const UNSAVED = "tag2mask.unsaved.";
const MOST_UNSAVED = 500_000; // characters; a browser keeps some millions for all

/** `storage` is that of the tab of the browser; it may throw at any time. */
function createUnsaved(storage) {
  const place = (project) => UNSAVED + project;

  return {
    /** The oldest edits that fit: those that follow rest on them. */
    keep(project, edits) {
      const texts = [];
      let length = 0;
      for (const edit of edits) {
        const text = JSON.stringify(edit);
        length += text.length;
        if (length > MOST_UNSAVED) break;
        texts.push(text);
      }
      try {
        if (texts.length) storage().setItem(place(project), "[" + texts.join() + "]");
        else storage().removeItem(place(project));
      } catch {
        // Storage is full or forbidden; the edits last as long as the page, which says so when left.
      }
    },
    /** What was kept of a project, in order; nothing where somebody else wrote there. */
    kept(project) {
      try {
        const found = JSON.parse(storage().getItem(place(project)) || "[]");
        return found.filter((edit) => typeof edit.op === "string" && typeof edit.op_id === "string");
      } catch {
        return [];
      }
    },
  };
}

if (typeof module !== "undefined") module.exports = { createUnsaved, MOST_UNSAVED };
