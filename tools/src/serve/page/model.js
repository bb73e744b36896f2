// All that the page knows: the runs and how they belong together, and what was lost. Knows no DOM.
import { Run } from "./run.js";
import { lossOf } from "./words.js";

/// How many runs, losses and event ids are kept: the oldest go first, ended runs before others.
export const KEPT = { runs: 2_000, losses: 100, events: 4_096 };

/// Reports are joined that come within so many milliseconds.
const MERGED = 5_000;

const FAMILIES_OF_CHILDREN = new Set(["Subagent", "ChildLifecycle"]);

/// What a loss says.
export const sentenceOf = loss => loss.sentence ?? lossOf(loss.notice);

export class Model {
  runs = new Map();
  /// What the newest connection's bus gave: frames, of them terminal, and lost ones.
  frames = 0;
  terminals = 0;
  lost = 0;
  lostExactly = true;
  /// More may be lost than anybody counted.
  uncounted = false;
  reconnects = 0;
  goneRuns = 0;
  losses = [];
  /// How many reports came, and how many of those listed are listed no more.
  lossesEver = 0;
  goneLosses = 0;
  /// The number up to which a run's end may be lost.
  endsLostUpTo = 0;
  /// Rises when runs come, go, begin, end or change their place.
  structure = 0;
  #epoch = "";
  /// Rises when the feed begins anew. A run of an earlier one is replaced when it comes again.
  #generation = 0;
  /// The parent of a run that is not here yet, and the run of each event that may cause another.
  #parents = new Map();
  #caused = new Map();

  /// Takes a frame, as parsed from a message's data.
  take({ event, overflow }, terminal) {
    const { envelope } = event;
    if (this.#epoch && envelope.bus_epoch !== this.#epoch) this.reset(false);
    this.#epoch = envelope.bus_epoch;
    this.frames += 1;
    this.terminals += terminal;
    if (overflow) this.report(overflow);
    const run = this.#run(envelope);
    if (run.losses < this.lossesEver) {
      if (run.frames) run.gap(sentenceOf(this.losses.at(-1)));
      run.losses = this.lossesEver;
    }
    const was = run.state;
    // It stands for many frames: its text is none of the run's.
    const summary = Boolean(overflow) && envelope.event_kind === "ModelStreamDelta"
      && overflow.policy === "summarize_and_continue"
      && event.payload?.type === "redacted_summary";
    run.take(event, summary);
    this.#relate(envelope, run);
    if (envelope.event_family === "Run" && run.ended) this.#endInner(run);
    if (run.state !== was) this.structure += 1;
  }

  /// Takes a notice. One that soon follows another for the same reason is added to it.
  report(notice) {
    const { dropped_count: count, terminal_preserved: kept, gap_end: end } = notice;
    if (count) {
      this.lost += count;
      this.lostExactly &&= notice.exact === true;
      if (!kept) this.endsLostUpTo = end.event_seq;
    }
    const last = this.losses.at(-1);
    const joins = count && last?.notice?.dropped_count && last.notice.reason === notice.reason
      && last.notice.terminal_preserved === kept && Date.now() - last.at < MERGED;
    if (!joins) return this.#note({ notice: { ...notice }, tone: kept ? "warn" : "bad" });
    const { exact, dropped_count: before, gap_start: start } = last.notice;
    Object.assign(last.notice, notice, { exact: exact && notice.exact, gap_start: start });
    last.notice.dropped_count = before + count;
    last.at = Date.now();
    this.lossesEver += 1;
  }

  /// Notes why something is missing that nobody counted.
  note(sentence) {
    this.uncounted = true;
    this.#note({ sentence, tone: "warn" });
  }

  #note(loss) {
    this.losses.push({ ...loss, at: Date.now() });
    this.lossesEver += 1;
    if (this.losses.length <= KEPT.losses) return;
    this.losses.shift();
    this.goneLosses += 1;
  }

  /// Whether a run that is shown as running may be over.
  doubtful(run) {
    return run.running && run.sequence < this.endsLostUpTo;
  }

  /// Begins anew: all that the bus holds follows. `forget` what is shown, or keep it until it comes
  /// again; what was under way then has no end here.
  reset(forget) {
    this.#generation += 1;
    if (forget) this.runs.clear();
    for (const run of this.runs.values()) if (run.running) run.end("unknown");
    this.frames = this.terminals = this.lost = this.endsLostUpTo = 0;
    this.lostExactly = true;
    this.#caused.clear();
    this.#parents.clear();
    this.structure += 1;
  }

  /// The run, or the agent in it, that an envelope belongs to.
  #run({ run_id: id, agent_id: agent, timestamp }) {
    let run = this.runs.get(id);
    if (run?.generation !== this.#generation) run = this.#add(id, id, agent, timestamp);
    if (run.agent === agent) return run;
    const key = `${id}\n${agent}`;
    let inner = this.runs.get(key);
    if (inner?.generation !== this.#generation) {
      inner = this.#add(key, id, agent, timestamp);
      Object.assign(inner, { parent: id, inner: true });
    }
    return inner;
  }

  #add(key, id, agent, timestamp) {
    const run = new Run(key, id, agent, Date.parse(timestamp));
    Object.assign(run, { generation: this.#generation, losses: this.lossesEver });
    run.parent = this.#parents.get(key) ?? null;
    this.#parents.delete(key);
    this.runs.delete(key);
    this.runs.set(key, run);
    this.structure += 1;
    if (this.runs.size > KEPT.runs) this.#letGo();
    return run;
  }

  #letGo() {
    let oldest;
    for (const run of this.runs.values()) {
      oldest ??= run;
      if (run.ended) {
        oldest = run;
        break;
      }
    }
    this.runs.delete(oldest.key);
    this.goneRuns += 1;
  }

  /// Finds out which run belongs under which.
  #relate(envelope, run) {
    const { event_family: family, event_kind: kind, subject, related = [] } = envelope;
    if (FAMILIES_OF_CHILDREN.has(family)) {
      for (const { kind: of, id } of [subject, ...related].filter(Boolean)) {
        if (of === "run" && id !== run.id) this.#put(id, run.key);
        if (of === "agent" && kind === "SubagentCompleted") this.#endAgent(run, id);
      }
    }
    if (kind === "RunStarted") {
      const above = related.find(other => other.kind === "run" && other.id !== run.id);
      if (above) this.#put(run.key, above.id);
    }
    const cause = this.#caused.get(envelope.parent_event_id);
    if (cause && cause !== run.id && !run.inner) this.#put(run.key, cause);
    if (envelope.event_id) {
      this.#caused.set(envelope.event_id, run.id);
      if (this.#caused.size > KEPT.events) this.#caused.delete(this.#caused.keys().next().value);
    }
  }

  /// Puts a run under another one; the first to be named is its parent.
  #put(key, parent) {
    const run = this.runs.get(key);
    if (!run) {
      this.#parents.set(key, parent);
      if (this.#parents.size > KEPT.runs) this.#parents.delete(this.#parents.keys().next().value);
    } else if (!run.parent) {
      run.parent = parent;
      this.structure += 1;
    }
  }

  #endAgent(run, agent) {
    const inner = this.runs.get(`${run.id}\n${agent}`);
    if (inner?.running) inner.end("completed");
  }

  /// The agents in a run end with it.
  #endInner(run) {
    for (const other of this.runs.values()) {
      if (other.inner && other.parent === run.key && other.running) other.end(run.ended);
    }
  }
}
