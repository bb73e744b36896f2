// Connects the feed, the model and what is shown, and gives keys their meaning.
import { Detail } from "./detail.js";
import { at, eachFrame, make, put, set, work } from "./dom.js";
import { follow } from "./follow.js";
import { Model, sentenceOf } from "./model.js";
import { SHOWN, Tree, narrow } from "./tree.js";
import { clock, counted, known, number } from "./words.js";

const model = new Model();
const changed = eachFrame(draw);
const tree = new Tree(model, changed, choose);
const detail = new Detail(model, choose);
let counted_at = -1;
let losses = 0;
let said = 0;

function draw(now) {
  tree.draw(now);
  detail.draw(model.runs.get(tree.selected), now);
  put(at("frames"), number(model.frames));
  put(at("terminals"), number(model.terminals));
  const more = model.uncounted ? "+" : "";
  put(at("lost"), (model.lostExactly || more ? "" : "≤ ") + number(model.lost) + more);
  put(at("reconnects"), number(model.reconnects));
  set(at("losses-button"), "data-tone", model.lost || more ? "warn" : null);
  if (counted_at !== model.structure) {
    counted_at = model.structure;
    for (const button of at("shown").children) {
      const runs = [...model.runs.values()].filter(SHOWN[button.value]);
      put(button.lastElementChild, number(runs.length));
    }
    set(at("gone"), "hidden", model.goneRuns ? null : "");
    put(at("gone"), `${counted(model.goneRuns, "older run")} not kept`);
  }
  if (losses !== model.lossesEver) drawLosses(now);
}

function drawLosses(now) {
  losses = model.lossesEver;
  const list = at("losses-list");
  const newest = [...model.losses].reverse();
  while (list.childElementCount > newest.length) list.lastElementChild.remove();
  newest.forEach((loss, place) => {
    let item = list.children[place];
    if (!item) {
      item = make(list, "li");
      make(item, "time");
      make(item, "span");
    }
    set(item, "data-tone", loss.tone);
    put(item.firstChild, clock(loss.at));
    put(item.lastChild, sentenceOf(loss));
  });
  set(at("losses-none"), "hidden", "");
  set(at("losses-earlier"), "hidden", model.goneLosses ? null : "");
  put(at("losses-earlier"), `${counted(model.goneLosses, "earlier report")} not kept.`);
  // Not more often than a screen reader can say it.
  if (now - said > 2_000) say(sentenceOf(newest[0]));
}

/// Says something for a while; what was lost can be read later, too.
function say(sentence) {
  said = Date.now();
  put(at("said"), sentence);
  at("said").title = sentence;
}

/// Shows a run; `open` goes to it where the list and the run are not side by side, and `enter` has
/// the keys go to it.
function choose(key, open, enter = false) {
  tree.select(key);
  if (!open) return;
  if (narrow.matches && document.body.dataset.view !== "run") history.pushState("run", "");
  document.body.dataset.view = "run";
  if (enter || narrow.matches) at("detail").focus({ preventScroll: true });
}

function back() {
  if (history.state === "run") history.back();
  else closeRun();
}

function closeRun() {
  delete document.body.dataset.view;
  tree.focus();
}

function state(text, name) {
  put(at("state").lastElementChild, text);
  set(at("state"), "data-state", name);
}

const ENDS = {
  bus_closed: "The bus is closed. This page waits for the host to come back.",
  closing: "The host ends this connection; the page comes back by itself.",
  withdrawn: "What this page may see was withdrawn.",
  too_many_clients: "The host serves as many pages as it may. This page tries again.",
  failed: "This page read too slowly and was cut off; it goes on where it was.",
  source_failed: "The host can't read its archive. This page tries again.",
  source_damaged: "The host can't read all of its archive. What is missing is told.",
  refused: "The bus serves as many readers as it may. This page tries again.",
};
const RESETS = {
  foreign_epoch: "The host was restarted. What it published while this page was away, and then "
    + "lost, is not counted. Runs that were under way have no end here.",
  scope_mismatch: "What this page may see has changed: it begins anew.",
  ahead: "The host does not know this page's position: the page begins anew.",
  unreadable: "The host can't read this page's position: the page begins anew.",
};

let opened = false;
/// The feed is over: a connection may only say so again, and does at once.
let over = false;
let opening;
const on = {
  open() {
    clearTimeout(opening);
    opening = setTimeout(() => {
      state("live", "live");
      model.reconnects += opened;
      opened = true;
      over = false;
      changed();
    }, over ? 500 : 0);
  },
  message(frame) {
    work.messages += 1;
    model.take(frame, known(frame.event.envelope.event_kind).class === "terminal");
    changed();
  },
  gap(notice) {
    model.report(notice);
    changed();
  },
  reset({ reason }) {
    model.reset(reason !== "foreign_epoch");
    model.note(RESETS[reason] ?? RESETS.ahead);
    changed();
  },
  end({ reason, notice }) {
    clearTimeout(opening);
    over = true;
    if (notice) model.report(notice);
    const sentence = ENDS[reason] ?? `The feed has ended: ${reason}.`;
    say(sentence);
    state(reason === "bus_closed" ? "over" : "reconnecting", "away");
    changed();
  },
  error(_, source) {
    clearTimeout(opening);
    if (!over) state("reconnecting", "away");
    if (source.readyState === EventSource.CLOSED) refused();
  },
};

const url = `/events${location.search}`;

/// The feed answered with a refusal, whose text an EventSource does not tell.
async function refused() {
  const stop = new AbortController();
  try {
    const answer = await fetch(url, { signal: stop.signal });
    if (!answer.ok) {
      state("refused", "away");
      say((await answer.text()).slice(0, 400));
    }
  } catch { /* It can't be reached; the page tries again. */ }
  stop.abort();
}

at("filter").addEventListener("input", event => {
  tree.filter = event.target.value;
  tree.restructure();
});
at("filter").addEventListener("keydown", event => {
  if (event.key === "ArrowDown" || event.key === "Enter") {
    event.preventDefault();
    tree.focus();
    tree.key(new KeyboardEvent("keydown", { key: tree.selected ? "" : "ArrowDown" }));
  }
});
for (const button of at("shown").children)
  button.addEventListener("click", () => {
    tree.show = button.value;
    for (const other of at("shown").children) set(other, "aria-pressed", other === button);
    tree.restructure();
  });
at("back").addEventListener("click", back);
window.addEventListener("popstate", closeRun);
for (const name of ["losses", "help"]) {
  at(`${name}-button`).addEventListener("click", () => at(name).showModal());
  // A click beside the dialog's content closes it.
  at(name).addEventListener("click", event => event.target === at(name) && at(name).close());
  at(`${name}-close`).addEventListener("click", () => at(name).close());
}

document.addEventListener("keydown", event => {
  if (event.ctrlKey || event.metaKey || event.altKey || event.defaultPrevented) return;
  if (document.querySelector("dialog[open]")) return;
  const types = event.target.closest("input, textarea, [contenteditable]");
  if (event.key === "Escape") {
    if (narrow.matches && document.body.dataset.view) back();
    else if (at("filter").value) {
      at("filter").value = tree.filter = "";
      tree.restructure();
    }
    tree.focus();
  } else if (types) return;
  else if (event.key === "/") {
    event.preventDefault();
    at("filter").focus();
  } else if (event.key === "?") at("help").showModal();
  else if (event.target === document.body) tree.key(event);
});

// Times go on, a second at a time, while somebody looks.
setInterval(() => {
  if (at("state").dataset.state === "live" && Date.now() - said > 10_000) put(at("said"), "");
  if (!document.hidden && model.runs.size) changed();
}, 1_000);

/// For whoever wants to know what the page does, such as its test.
window.framebus = { work, model, choose };

follow(url, on);
changed();
