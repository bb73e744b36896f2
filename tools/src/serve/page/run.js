// One run, or one sub-agent in a run: its state, and the last of what it said and did.
import { STATES, known, spoken, textOf } from "./words.js";

/// What is kept of a run. What goes beyond is let go, the oldest first, and counted.
export const KEPT = {
  /// Characters of all its items.
  text: 16_384,
  /// Items: texts, tool calls, events.
  items: 240,
  /// Characters of one argument or result.
  field: 2_048,
};

/// The text of a tool's argument or result: its begin, and how much there was.
class Field {
  text = "";
  length = 0;
  add(text) {
    this.length += text.length;
    const room = KEPT.field - this.text.length;
    if (room > 0) this.text += whole(text.slice(0, room));
    return this;
  }
  get missing() {
    return this.length - this.text.length;
  }
}

/// Cuts no pair of surrogates in two.
const whole = text => (/[\ud800-\udbff]$/.test(text) ? text.slice(0, -1) : text);

const RUN_ENDS = { RunCompleted: "completed", RunFailed: "failed", RunCancelled: "cancelled" };
const TOOL_ENDS = {
  ToolCompleted: "completed",
  ToolFailed: "failed",
  ToolDenied: "denied",
  ToolRecoveryRequired: "recovery",
};
/// The tags of a model's text that is not what it says.
const VOICES = { reasoning: "thought", arguments: "asks" };
const SPOKEN = new Set(["ModelStreamDelta", "RealtimeOutputReceived"]);

let made = 0;

export class Run {
  key;
  id;
  agent;
  /// The key of the run above it.
  parent = null;
  /// It is an agent in another's run, not a run of its own.
  inner = false;
  ended = null;
  began;
  last;
  frames = 0;
  /// The number of its last frame, and which of the feed's beginnings it is of.
  sequence = 0;
  generation = 0;
  items = [];
  /// The characters of the items, and what is no longer among them.
  size = 0;
  goneItems = 0;
  goneText = 0;
  tools = 0;
  failedTools = 0;
  recoveries = 0;
  /// The tool calls that have not ended, and the approvals that are asked for, by their ids.
  open = new Map();
  asked = new Set();
  /// The last line said or done, for the list.
  line = "";
  /// Lower-case words that the filter looks through; rebuilt when they change.
  words;
  names = new Set();
  /// How many losses of the feed it has shown.
  losses = 0;
  /// Rises with each change.
  version = 0;

  constructor(key, id, agent, began) {
    Object.assign(this, { key, id, agent, began, last: began });
    this.words = `${id}\n${agent}`.toLowerCase();
  }

  get state() {
    if (this.ended) return this.ended;
    return this.asked.size ? "waiting" : "running";
  }

  get running() {
    return !this.ended;
  }

  /// Takes an event of this run.
  take({ envelope, payload }, summary) {
    const kind = envelope.event_kind;
    const at = Date.parse(envelope.timestamp);
    this.version += 1;
    this.frames += 1;
    this.last = at;
    this.sequence = envelope.event_seq;
    if (summary) return;
    const text = textOf(payload);
    if (SPOKEN.has(kind)) {
      const tag = envelope.tags?.find(tag => Object.hasOwn(VOICES, tag));
      this.say(tag ? VOICES[tag] : "said", text, at);
    } else if (kind === "MessageAccepted" && text) {
      this.say("asked", text, at);
    } else if (envelope.event_family === "Tool") {
      this.tool(envelope, text, at, payload?.type === "redacted_summary");
    } else if (kind === "IsolationProcessIoCaptured" && this.open.has(envelope.subject?.id)) {
      const tool = this.open.get(envelope.subject.id);
      this.changed(tool, () => tool.result.add(text));
    } else {
      this.event(envelope, text, at);
    }
    if (envelope.event_family === "Approval") this.approval(envelope);
    if (Object.hasOwn(RUN_ENDS, kind)) this.end(RUN_ENDS[kind]);
    if (kind === "RunStarted" || kind === "RunResumeRequested") this.ended = null;
    this.trim();
  }

  end(state) {
    this.ended = state;
    this.asked.clear();
    this.version += 1;
  }

  /// Joins a piece of text to what was said last in the same voice.
  say(voice, text, at) {
    if (!text) return;
    const last = this.items.at(-1);
    if (last?.type === "text" && last.voice === voice) {
      last.text += text;
      last.version += 1;
    } else {
      this.add({ type: "text", voice, text, from: 0, at });
    }
    this.size += text.length;
    this.line = (voice === "asked" ? text : this.items.at(-1).text).slice(-160);
  }

  /// A call's name is its source or destination, or the summary with which it is asked for or
  /// begins.
  tool(envelope, text, at, summary) {
    const kind = envelope.event_kind;
    // Without a subject there is no telling which call it is: the last open one.
    const id = envelope.subject?.id ?? [...this.open.keys()].at(-1) ?? "";
    let tool = this.open.get(id);
    if (!tool) {
      tool = { type: "tool", id, name: "", state: "requested", began: at, ended: null };
      tool.fields = { arguments: new Field(), result: new Field() };
      Object.assign(tool, tool.fields);
      this.add(tool);
      this.open.set(id, tool);
      this.tools += 1;
    }
    const named = [envelope.source, envelope.destination].find(end => end?.kind === "tool");
    if (named) this.name(tool, named.id);
    const names = !tool.name && text && text.length <= 120;
    this.changed(tool, () => {
      if (kind === "ToolRequested") {
        if (names && summary) this.name(tool, text);
        else tool.arguments.add(text);
      } else if (kind === "ToolStarted") {
        if (names) this.name(tool, text);
        Object.assign(tool, { state: "running", began: at });
      } else if (Object.hasOwn(TOOL_ENDS, kind)) {
        Object.assign(tool, { state: TOOL_ENDS[kind], ended: at, sequence: envelope.event_seq });
        tool.result.add(text);
        this.open.delete(id);
        this.failedTools += tool.state === "failed";
        this.recoveries += tool.state === "recovery";
      }
    });
    this.line = `${tool.name || "Tool"} ${STATES[tool.state].name}`;
  }

  name(tool, name) {
    tool.name = name;
    const known = name.slice(0, 120).toLowerCase();
    if (this.names.size < 64 && !this.names.has(known)) {
      this.names.add(known);
      this.words += `\n${known}`;
    }
  }

  approval(envelope) {
    const id = envelope.subject?.id ?? "";
    if (envelope.event_kind === "ApprovalRequested") this.asked.add(id);
    else if (known(envelope.event_kind).class === "terminal") this.asked.delete(id);
  }

  /// Adds an event. One that supersedes the one before it takes its place, and one that says the
  /// same is counted with it.
  event(envelope, text, at) {
    const { event_kind: kind, event_seq: sequence } = envelope;
    const { tone, class: kindClass } = known(kind);
    const note = new Field().add(text);
    const last = this.items.at(-1);
    const again = last?.type === "event" && last.kind === kind && last.count < 100;
    if (again && (kindClass === "progress" || last.note.text === note.text)) {
      this.changed(last, () => Object.assign(last, { note, count: last.count + 1, at }));
      last.sequences.push(sequence);
    } else {
      const terminal = kindClass === "terminal";
      this.add({ type: "event", kind, tone, note, count: 1, terminal, at, sequences: [sequence] });
      this.size += note.text.length;
    }
    if (!this.line || tone === "bad" || tone === "warn")
      this.line = text ? `${spoken(kind)}: ${text.slice(0, 120)}` : spoken(kind);
  }

  /// Says that something is missing here.
  gap(sentence) {
    if (this.items.at(-1)?.type !== "gap") this.add({ type: "gap", sentence });
  }

  add(item) {
    this.items.push(Object.assign(item, { number: (made += 1), version: 0 }));
  }

  /// Changes an item and what the sizes of its texts add up to.
  changed(item, change) {
    const size = () => sizeOf(item);
    const before = size();
    change();
    item.version += 1;
    this.size += size() - before;
  }

  /// Lets go of the oldest items, a quarter more than must go, so that it is done seldom.
  trim() {
    let drop = 0;
    if (this.items.length > KEPT.items * 1.25) drop = this.items.length - KEPT.items;
    for (const item of this.items.slice(0, drop)) this.size -= this.letGo(item);
    if (this.size > KEPT.text * 1.25) {
      for (; this.size > KEPT.text; drop += 1) {
        const item = this.items[drop];
        const over = this.size - KEPT.text;
        if (item.type === "text" && item.text.length > over) {
          const kept = item.text.slice(over).replace(/^[\udc00-\udfff]/, "");
          const cut = item.text.length - kept.length;
          Object.assign(item, { text: kept, from: item.from + cut, version: item.version + 1 });
          this.size -= cut;
          this.goneText += cut;
          break;
        }
        this.size -= this.letGo(item);
      }
    }
    this.items.splice(0, drop);
  }

  letGo(item) {
    const size = sizeOf(item);
    this.goneItems += 1;
    this.goneText += size;
    return size;
  }
}

function sizeOf(item) {
  if (item.type === "text") return item.text.length;
  if (item.type === "tool") return item.arguments.text.length + item.result.text.length;
  return item.type === "event" ? item.note.text.length : 0;
}
