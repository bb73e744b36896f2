// How things are said: kinds, states, times, counts, losses. Makes texts, never markup.
import KINDS from "./kinds.js";

const UNKNOWN = { family: "Other", class: "normal", tone: "plain" };

/// What is known of a kind; a kind of a newer host is plain.
export const known = kind => (Object.hasOwn(KINDS, kind) ? KINDS[kind] : UNKNOWN);

/// "ToolRecoveryRequired" is "Tool recovery required".
export function spoken(kind) {
  const words = kind.replace(/([a-z0-9])([A-Z])/g, "$1 $2").split(" ");
  return words.map((word, at) => (at ? word.toLowerCase() : word)).join(" ");
}

/// What each state of a run or tool is called, its tone, and its picture.
export const STATES = {
  running: { name: "running", tone: "busy", icon: "running" },
  waiting: { name: "waits for approval", tone: "warn", icon: "waiting" },
  requested: { name: "requested", tone: "plain", icon: "waiting" },
  completed: { name: "completed", tone: "good", icon: "done" },
  failed: { name: "failed", tone: "bad", icon: "failed" },
  denied: { name: "denied", tone: "warn", icon: "stopped" },
  cancelled: { name: "cancelled", tone: "warn", icon: "stopped" },
  recovery: { name: "needs recovery", tone: "bad", icon: "alert" },
  unknown: { name: "end unknown", tone: "warn", icon: "unknown" },
};

/// What is to be shown of a run's state. `doubtful`: frames were lost that may have ended it.
export function stateOf(run, doubtful) {
  if (doubtful) return { ...STATES.unknown, name: "running?" };
  // A run that goes on, or came out well, is not all well if a tool's outcome is in doubt.
  if (run.recoveries && ["busy", "good"].includes(STATES[run.state].tone))
    return { ...STATES.recovery, name: `${run.state}, in doubt` };
  return STATES[run.state];
}

const digits = new Intl.NumberFormat("en");

/// "12,345"
export const number = count => digits.format(count);

/// "1 frame", "2 frames"
export const counted = (count, noun) => `${number(count)} ${noun}${count === 1 ? "" : "s"}`;

/// "0.3 s", "42 s", "3 min 20 s", "2 h 5 min"
export function lasted(millis) {
  if (!Number.isFinite(millis)) return "";
  const seconds = Math.max(0, millis) / 1000;
  if (seconds < 9.95) return `${seconds.toFixed(1)} s`;
  const whole = Math.round(seconds);
  if (whole < 60) return `${whole} s`;
  const minutes = Math.floor(whole / 60);
  if (minutes < 60) return `${minutes} min ${whole % 60} s`;
  return `${Math.floor(minutes / 60)} h ${minutes % 60} min`;
}

/// "14:03:59"
export function clock(millis) {
  return Number.isFinite(millis) ? new Date(millis).toLocaleTimeString("en-GB") : "";
}

const REASONS = {
  subscriber_queue_full: "the queue that the server keeps for this page was full",
  subscriber_lagged: "this page read more slowly than the runs wrote, and newer frames took over",
  live_buffer_expired: "the bus no longer held them when this page asked for them",
  policy_dropped_progress: "progress frames give way when this page's queue is full",
  policy_dropped_non_terminal: "frames that end nothing give way when this page's queue is full",
};

/// What a notice reports, as a sentence.
export function lossOf(notice) {
  const { dropped_count: count, exact, gap_start: start, gap_end: end } = notice;
  const why = Object.hasOwn(REASONS, notice.reason) ? REASONS[notice.reason] : notice.reason;
  const last = number(end?.event_seq ?? 0);
  const where = start ? `numbers ${number(start.event_seq)} to ${last}` : `up to number ${last}`;
  if (!count) return `A gap was filled from the archive (${where}): nothing is lost.`;
  const most = exact ? "" : "At most ";
  const ends = notice.terminal_preserved
    ? "No frame that ends something is among them."
    : "Frames that end something are among them: a run shown as running may be over.";
  return `${most}${counted(count, "frame")} lost (${where}): ${why}. ${ends}`;
}

/// The text of a payload, whatever its form.
export function textOf(payload) {
  if (payload?.type === "redacted_summary") return payload.text ?? "";
  if (payload?.type !== "content") return "";
  if (typeof payload.text === "string") return payload.text;
  const bytes = Math.floor(((payload.base64?.length ?? 0) * 3) / 4);
  return payload.summary ?? `[${counted(bytes, "byte")} of ${payload.media_type}]`;
}
