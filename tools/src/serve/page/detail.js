// One run: what it is, the runs that it belongs to, and what it said and did.
import { at, icon, make, picture, put, set } from "./dom.js";
import { KEPT } from "./run.js";
import { STATES, clock, counted, lasted, number, spoken, stateOf } from "./words.js";
import { age, nameOf } from "./tree.js";

const VOICES = { said: "Model", thought: "Reasoning", asks: "Tool arguments", asked: "Input" };
/// How many characters of an id are shown at most.
const LONGEST = 1_000;
/// How many of a run's sub-runs are named.
const CHILDREN = 12;

export class Detail {
  #model;
  #choose;
  #run = null;
  #views = new Map();
  #box = at("items");
  #scroller = at("detail");
  /// The end of the run is in sight, and is to stay there.
  #follows = true;

  constructor(model, choose) {
    this.#model = model;
    this.#choose = choose;
    this.#scroller.addEventListener("scroll", () => {
      const { scrollHeight, scrollTop, clientHeight } = this.#scroller;
      this.#follows = scrollHeight - scrollTop - clientHeight < 48;
      set(at("latest"), "hidden", this.#follows ? "" : null);
    }, { passive: true });
    at("latest").addEventListener("click", () => this.toEnd());
    at("relatives").addEventListener("click", event => {
      const button = event.target.closest("button");
      if (button) choose(button.key, true);
    });
    for (const button of at("kinds").children)
      button.addEventListener("click", () => {
        this.#scroller.dataset.show = button.value;
        for (const other of at("kinds").children)
          set(other, "aria-pressed", other === button);
      });
  }

  toEnd() {
    this.#follows = true;
    this.#scroller.scrollTop = this.#scroller.scrollHeight;
  }

  /// Draws a run; `undefined` is none.
  draw(run, now) {
    set(at("empty"), "hidden", run ? "" : null);
    set(at("run"), "hidden", run ? null : "");
    const another = run !== this.#run;
    if (another) {
      this.#run = run;
      this.#views.clear();
      this.#box.replaceChildren();
      this.#follows = true;
      set(at("latest"), "hidden", "");
    }
    if (!run) return;
    this.#head(run, now);
    const changed = this.#items(run, now);
    if (this.#follows && (changed || another))
      this.#scroller.scrollTop = this.#scroller.scrollHeight;
  }

  #head(run, now) {
    const state = stateOf(run, this.#model.doubtful(run));
    const name = nameOf(run, this.#model.runs.get(run.parent));
    put(at("run-id"), name.slice(0, LONGEST));
    set(at("run-full"), "hidden", name === run.id && name.length <= LONGEST ? "" : null);
    const missing = run.id.length - LONGEST;
    const more = missing > 0 ? ` … ${counted(missing, "character")} more` : "";
    put(at("run-full").lastChild, run.id.slice(0, LONGEST) + more);
    picture(at("run-state").firstElementChild, state);
    put(at("run-state").lastElementChild, state.name);
    set(at("run-state"), "data-tone", state.tone);
    const failed = run.failedTools ? ` (${number(run.failedTools)} failed)` : "";
    put(at("run-time"), age(run, now));
    put(at("run-agent"), run.agent.slice(0, 400));
    put(at("run-frames"), number(run.frames));
    put(at("run-tools"), number(run.tools) + failed);
    put(at("run-began"), clock(run.began));
    set(at("recovery"), "hidden", run.recoveries ? null : "");
    put(at("recovery-text"), `${counted(run.recoveries, "tool call")} in doubt: what was done is `
      + "not known. Somebody has to look.");
    this.#relatives(run);
    const gone = run.goneItems || run.goneText;
    set(at("cut"), "hidden", gone ? null : "");
    const entries = run.goneItems === 1 ? "1 entry" : `${number(run.goneItems)} entries`;
    const lost = `${entries} and ${counted(run.goneText, "character")}`;
    const kept = `${number(KEPT.text)} characters or ${number(KEPT.items)} entries`;
    put(at("cut"), `Earlier: ${lost} are not kept. Of a run, this page keeps about ${kept}, `
      + "whichever is less.");
  }

  #relatives(run) {
    const { runs } = this.#model;
    const above = runs.get(run.parent);
    const below = [];
    let count = 0;
    for (const other of runs.values()) {
      if (other.parent !== run.key || other === run) continue;
      count += 1;
      if (below.length < CHILDREN) below.push(other);
    }
    const wanted = above ? [above, ...below] : below;
    const box = at("relatives");
    while (box.childElementCount > wanted.length) box.lastElementChild.remove();
    wanted.forEach((other, place) => {
      let chip = box.children[place];
      if (!chip) {
        chip = make(box, "button", "chip");
        chip.type = "button";
        icon(chip);
        make(chip, "bdi");
      }
      chip.key = other.key;
      picture(chip.firstChild, stateOf(other, this.#model.doubtful(other)));
      const name = other === above ? `part of ${short(nameOf(other))}` : short(nameOf(other, run));
      put(chip.lastChild, name);
    });
    const more = count - below.length;
    set(at("more"), "hidden", more ? null : "");
    put(at("more"), `and ${number(more)} more in the list`);
  }

  /// Brings the items up to date; says whether one was changed.
  #items(run, now) {
    let changed = false;
    const there = new Set(run.items);
    for (const [item, view] of this.#views) {
      if (there.has(item)) break;
      view.box.remove();
      this.#views.delete(item);
      changed = true;
    }
    for (const item of run.items) {
      let view = this.#views.get(item);
      if (!view) {
        view = this.#make(item);
        this.#views.set(item, view);
      }
      if (view.version === item.version) {
        if (item.type === "tool" && !item.ended) this.#toolTime(view, item, run, now);
        continue;
      }
      view.version = item.version;
      changed = true;
      if (item.type === "text") writeText(view, item);
      else if (item.type === "tool") this.#writeTool(view, item, run, now);
      else if (item.type === "event") writeEvent(view, item);
    }
    return changed;
  }

  #make(item) {
    const box = make(this.#box, "li", `item ${item.type}`);
    const view = { box, version: -1 };
    if (item.type === "text") {
      box.classList.add(item.voice);
      make(box, "span", "voice", VOICES[item.voice]);
      view.text = make(box, "p").appendChild(document.createTextNode(""));
      view.from = view.to = 0;
    } else if (item.type === "tool") {
      Object.assign(view, makeTool(box));
    } else if (item.type === "event") {
      make(box, "span", "dot");
      view.kind = make(box, "span", "kind");
      view.note = make(box, "bdi", "what");
      view.at = make(box, "time");
    } else {
      icon(box).firstChild.setAttribute("href", "#i-gap");
      make(box, "span", "", item.sentence);
    }
    return view;
  }

  #writeTool(view, item, run, now) {
    const state = STATES[this.#toolState(item, run)];
    picture(view.state, state);
    put(view.name, (item.name || "tool").slice(0, 200));
    put(view.brief, item.arguments.text.slice(0, 160));
    set(view.box, "data-sequence", item.sequence ?? null);
    set(view.box, "data-tone", state.tone);
    this.#toolTime(view, item, run, now);
    put(view.id, item.id.slice(0, 400));
    field(view.arguments, item.arguments);
    field(view.result, item.result);
  }

  #toolTime(view, item, run, now) {
    // What was running when its run ended, or when the bus was lost, runs no more.
    const until = item.ended ?? (run.ended ? run.last : Math.max(now, item.began));
    put(view.time, `${STATES[this.#toolState(item, run)].name} ${lasted(until - item.began)}`);
  }

  #toolState(item, run) {
    return !item.ended && run.ended ? "unknown" : item.state;
  }
}

/// The end of a name.
const short = name => (name.length > 40 ? `…${name.slice(-38)}` : name);

/// Joins what is new to the text that is there, unless its begin was let go.
function writeText(view, item) {
  const to = item.from + item.text.length;
  if (view.from === item.from && view.to <= to)
    view.text.appendData(item.text.slice(view.to - item.from));
  else view.text.data = item.text;
  Object.assign(view, { from: item.from, to });
}

function writeEvent(view, item) {
  const times = item.count > 1 ? ` × ${number(item.count)}` : "";
  put(view.kind, spoken(item.kind) + times);
  const missing = item.note.missing ? ` … ${counted(item.note.missing, "character")} more` : "";
  put(view.note, item.note.text + missing);
  put(view.at, clock(item.at));
  set(view.box, "data-tone", item.tone);
  if (item.terminal) set(view.box, "data-sequence", item.sequences.join(" "));
}

function makeTool(box) {
  const details = make(box, "details");
  const summary = make(details, "summary");
  const view = { state: icon(summary, "icon state") };
  view.name = make(summary, "bdi", "name");
  view.brief = make(summary, "bdi", "brief");
  view.time = make(summary, "span", "time");
  view.arguments = makeField(details, "Arguments");
  view.result = makeField(details, "Result");
  const id = make(details, "p", "call", "Call ");
  view.id = make(id, "bdi");
  return view;
}

function makeField(parent, name) {
  const box = make(parent, "div", "field");
  make(box, "span", "label", name);
  return { box, text: make(box, "pre"), missing: make(box, "p", "missing") };
}

function field(view, { text, missing }) {
  set(view.box, "hidden", text ? null : "");
  put(view.text, text);
  set(view.missing, "hidden", missing ? null : "");
  const kept = `the first ${number(KEPT.field)} are kept`;
  put(view.missing, `${counted(missing, "character")} more; ${kept}.`);
}
