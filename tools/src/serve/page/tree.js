// The list of runs, as a tree. Only the rows in sight, and a few more, are in the document.
import { at, icon, make, picture, put, set, style } from "./dom.js";
import { STATES, counted, lasted, number, stateOf } from "./words.js";

/// The height of a row in pixels, as in runs.css.
const ROW = 60;
/// How many rows beyond the edges are there.
const SPARE = 4;
/// How deep rows are still indented.
const DEEPEST = 6;
/// How much of an id is shown: its begin, and its end, which tells more.
const ID = { whole: 400, end: 14 };

/// The list and the run are not side by side.
export const narrow = matchMedia("(max-width: 760px)");

export const SHOWN = {
  all: () => true,
  running: run => run.running,
  trouble: run => inTrouble(run),
  ended: run => !run.running,
};

/// Whether somebody should look at a run.
export function inTrouble(run) {
  return ["bad", "warn"].includes(stateOf(run).tone);
}

/// Shows an id with its end always in sight.
export function identify(head, tail, id) {
  const whole = id.length > ID.whole ? `${id.slice(0, ID.whole)}…` : id;
  const cut = whole.length > 2 * ID.end ? whole.length - ID.end : whole.length;
  put(head, whole.slice(0, cut));
  put(tail, whole.slice(cut));
}

/// What a run is called: under another one, only what its name adds.
export function nameOf(run, parent) {
  if (run.inner) return run.agent;
  if (!parent || !run.id.startsWith(parent.id)) return run.id;
  return run.id.slice(parent.id.length).replace(/^[/.:~#-]+/, "") || run.id;
}

/// How long a run went on, or goes on since.
export function age(run, now) {
  return lasted((run.ended ? run.last : Math.max(now, run.last)) - run.began);
}

export class Tree {
  selected = null;
  filter = "";
  show = "all";
  #model;
  #changed;
  #box = at("list");
  #space = at("list-space");
  #pool = [];
  /// The rows: each a run, its level, its place among its siblings.
  #rows = [];
  #index = new Map();
  #collapsed = new Set();
  #structure = -1;
  #view = { top: 0, height: 0 };

  /// `changed` is called when something is to be drawn anew, `choose` with the run chosen.
  constructor(model, changed, choose) {
    this.#model = model;
    this.#changed = changed;
    this.choose = choose;
    this.#box.addEventListener("scroll", () => {
      this.#view.top = this.#box.scrollTop;
      changed();
    }, { passive: true });
    new ResizeObserver(entries => {
      this.#view.height = entries.at(-1).contentRect.height;
      changed();
    }).observe(this.#box);
    this.#box.addEventListener("click", event => this.#click(event));
    this.#box.addEventListener("keydown", event => this.key(event));
  }

  /// Has the rows found anew: the filter or what is expanded has changed.
  restructure() {
    this.#structure = -1;
    this.#changed();
  }

  focus() {
    this.#box.focus({ preventScroll: true });
  }

  select(key, reveal = true) {
    this.selected = key;
    const row = this.#index.get(key);
    if (reveal && row !== undefined) this.#reveal(row);
    this.#changed();
  }

  #reveal(row) {
    const { top, height } = this.#view;
    const wanted = Math.min(row * ROW, Math.max(top, (row + 1) * ROW - height));
    if (wanted !== top) this.#scroll(wanted);
  }

  #scroll(top) {
    style(this.#space, "height", `${this.#rows.length * ROW}px`);
    this.#box.scrollTop = this.#view.top = top;
  }

  #click(event) {
    const row = event.target.closest(".row");
    const found = row && this.#rows[Number(row.dataset.row)];
    if (!found) return;
    if (event.target.closest(".caret") && found.children) this.#expand(found.run.key);
    else this.choose(found.run.key, true);
  }

  #expand(key, wanted = this.#collapsed.has(key)) {
    if (wanted) this.#collapsed.delete(key);
    else this.#collapsed.add(key);
    this.restructure();
  }

  /// Moves by a key; returns whether the key does something here.
  key(event) {
    if (event.ctrlKey || event.metaKey || event.altKey) return false;
    const last = this.#rows.length - 1;
    const here = this.#index.get(this.selected) ?? -1;
    const page = Math.max(1, Math.floor(this.#view.height / ROW) - 1);
    const row = this.#rows[here];
    const steps = { ArrowDown: 1, ArrowUp: -1, PageDown: page, PageUp: -page };
    let to = here;
    if (Object.hasOwn(steps, event.key)) to = here < 0 ? 0 : here + steps[event.key];
    else if (event.key === "Home") to = 0;
    else if (event.key === "End") to = last;
    else if (event.key === "Enter" && row) this.choose(row.run.key, true, true);
    else if (event.key === "ArrowRight" && row) {
      if (row.children && this.#collapsed.has(row.run.key)) this.#expand(row.run.key, true);
      else if (row.children) to = here + 1;
    } else if (event.key === "ArrowLeft" && row) {
      const open = row.children && !this.#collapsed.has(row.run.key);
      if (open) this.#expand(row.run.key, false);
      else to = this.#index.get(row.parent) ?? here;
    } else return false;
    event.preventDefault();
    to = Math.max(0, Math.min(last, to));
    if (to !== here && this.#rows[to]) this.choose(this.#rows[to].run.key, false);
    return true;
  }

  /// Finds the rows: the runs that are to be shown, and those above them.
  #find() {
    const { runs } = this.#model;
    const wanted = this.#wanted(runs);
    const below = new Map();
    for (const run of wanted.values()) {
      const parent = wanted.has(run.parent) && run.parent !== run.key ? run.parent : null;
      if (!below.has(parent)) below.set(parent, []);
      below.get(parent).push(run);
    }
    const rows = [];
    const seen = new Set();
    const add = (siblings, level, parent) => {
      // A list of its own, not the stack: runs may be nested deeply.
      const stack = [];
      const push = (list, level, parent) => {
        for (let at = list.length - 1; at >= 0; at -= 1)
          stack.push({ run: list[at], level, parent, place: at + 1, of: list.length });
      };
      push(siblings, level, parent);
      while (stack.length) {
        const row = stack.pop();
        if (seen.has(row.run.key)) continue;
        seen.add(row.run.key);
        const children = below.get(row.run.key) ?? [];
        row.children = children.length;
        rows.push(row);
        if (!children.length) continue;
        if (this.#collapsed.has(row.run.key)) this.#hide(below, row.run.key, seen);
        else push(children, row.level + 1, row.run.key);
      }
    };
    add((below.get(null) ?? []).reverse(), 1, null);
    // What is left is above itself, by what its events say.
    const left = [...wanted.values()].filter(run => !seen.has(run.key));
    if (left.length) add(left, 1, null);
    this.#rows = rows;
    this.#index = new Map(rows.map((row, at) => [row.run.key, at]));
  }

  /// Takes what is below a collapsed run for seen.
  #hide(below, key, seen) {
    const stack = [key];
    while (stack.length) {
      for (const child of below.get(stack.pop()) ?? []) {
        if (seen.has(child.key)) continue;
        seen.add(child.key);
        stack.push(child.key);
      }
    }
  }

  #wanted(runs) {
    const words = this.filter.toLowerCase().split(/\s+/).filter(Boolean);
    if (!words.length && this.show === "all") return runs;
    const wanted = new Map();
    for (const run of runs.values()) {
      const text = `${run.words}\n${STATES[run.state].name}`;
      if (!SHOWN[this.show](run) || !words.every(word => text.includes(word))) continue;
      for (let above = run; above && !wanted.has(above.key); above = runs.get(above.parent))
        wanted.set(above.key, above);
    }
    // In the order of the runs.
    return new Map([...runs].filter(([key]) => wanted.has(key)));
  }

  /// Draws the rows in sight.
  draw(now) {
    if (this.#structure !== this.#model.structure) {
      this.#structure = this.#model.structure;
      // The row at the top stays where it is, unless that is the first one.
      const anchor = this.#rows[Math.floor(this.#view.top / ROW)]?.run.key;
      const before = this.#index.get(anchor);
      this.#find();
      const after = this.#index.get(anchor);
      if (this.#view.top > 0 && before !== undefined && after !== undefined && after !== before)
        this.#scroll(this.#view.top + (after - before) * ROW);
    }
    const rows = this.#rows;
    // Where the list and the run are side by side, there is something to see at once.
    if (this.selected === null && rows.length && !narrow.matches) this.selected = rows[0].run.key;
    style(this.#space, "height", `${rows.length * ROW}px`);
    const { top, height } = this.#view;
    const first = Math.max(0, Math.floor(top / ROW) - SPARE);
    const end = Math.min(rows.length, Math.ceil((top + height) / ROW) + SPARE);
    const size = Math.ceil(height / ROW) + 2 * SPARE + 1;
    while (this.#pool.length < size) this.#pool.push(this.#make(this.#pool.length));
    while (this.#pool.length > size) this.#pool.pop().box.remove();
    const used = new Set();
    for (let at = first; at < end; at += 1) {
      const view = this.#pool[at % size];
      used.add(view);
      this.#write(view, rows[at], at, now);
    }
    for (const view of this.#pool) if (!used.has(view)) set(view.box, "hidden", "");
    const here = this.#index.get(this.selected);
    const there = here >= first && here < end ? this.#pool[here % size].box.id : null;
    set(this.#box, "aria-activedescendant", there);
    set(at("none"), "hidden", rows.length ? "" : null);
    put(at("none"), this.#model.runs.size ? "No run matches." : "Nothing was published yet.");
  }

  #make(number) {
    const box = make(this.#space, "div", "row");
    box.id = `row-${number}`;
    box.setAttribute("role", "treeitem");
    const caret = make(box, "span", "caret");
    caret.setAttribute("aria-hidden", "true");
    const state = icon(box, "icon state");
    const main = make(box, "span", "main");
    const first = make(main, "span");
    const id = make(first, "bdi", "id");
    const time = make(first, "span", "time");
    const second = make(main, "span");
    const line = make(second, "bdi", "line");
    const counts = make(second, "span", "counts");
    const [head, tail] = [make(id, "span", "head"), make(id, "span")];
    return { box, state, head, tail, time, line, counts };
  }

  #write(view, row, at, now) {
    const { run, level, place, of, children } = row;
    const { box } = view;
    const state = stateOf(run, this.#model.doubtful(run));
    set(box, "hidden", null);
    set(box, "data-row", at);
    set(box, "data-state", run.state);
    style(box, "top", `${at * ROW}px`);
    style(box, "--level", String(Math.min(level, DEEPEST) - 1));
    set(box, "aria-level", level);
    set(box, "aria-posinset", place);
    set(box, "aria-setsize", of);
    set(box, "aria-selected", run.key === this.selected);
    set(box, "aria-expanded", children ? !this.#collapsed.has(run.key) : null);
    picture(view.state, state);
    identify(view.head, view.tail, nameOf(run, this.#model.runs.get(row.parent)));
    put(view.line, run.inner ? run.line : `${run.agent.slice(0, 100)} · ${run.line}`);
    const said = run.state === "completed" ? "" : `${state.name} `;
    put(view.time, `${said}${age(run, now)}`);
    set(view.time, "data-tone", run.state === "completed" ? null : state.tone);
    const hidden = children && this.#collapsed.has(run.key) ? `+${number(children)} · ` : "";
    const recovery = run.recoveries && `${number(run.recoveries)} to recover`;
    put(view.counts, hidden + (recovery || counted(run.frames, "frame")));
    set(view.counts, "data-tone", recovery ? "bad" : null);
  }
}
