// What looks wrong on the photo, as a list beside it: the reason, how bad it is, what can be done.

const FINDING_WORDS = {
  dropped: "Dropped in training", tags: "Tags", disagreement: "Disagreement", detector: "Detector",
};

function makeFindingRow(one) {
  const row = make("div", "t2m-finding");
  const shown = make("button", "t2m-finding-text");
  shown.type = "button";
  shown.dataset.action = "look-at";
  shown.append(make("span", "t2m-finding-kind"), make("span", "t2m-finding-reason"));
  row.append(make("span", "t2m-finding-mark", "!"), shown);
  if (one.box) {
    const add = actionButton("add-missing", "plus", "Add it with this box", findingKey(one));
    row.append(add);
  }
  return row;
}

/** The findings of the photo, worst first; the one that K is about is marked. */
function renderFindings(list, state) {
  const focused = state.finding();
  reconcile(list, state.findings(), findingKey, makeFindingRow, (row, one) => {
    const [kind, reason] = row.children[1].children;
    row.children[1].dataset.id = findingKey(one);
    kind.textContent = FINDING_WORDS[one.kind];
    reason.textContent = sentence(one.reason) + ".";
    row.title = "Badness " + one.badness.toFixed(2) + " of 1";
    row.style.setProperty("--t2m-part", one.badness);
    row.setAttribute("aria-current", String(one === focused));
  });
}
