//! Claude Code session transcripts: one JSON object a line.
//!
//! The transcripts of sub-agents are in files of their own, or among the lines of the session that
//! started them; either way each is a run of its own. A session that was resumed repeats lines,
//! each with its `uuid`; they count once.
//!
//! | line | steps |
//! | --- | --- |
//! | first line | `RunStarted` |
//! | `user` with a text | `MessageAccepted`, `TurnStarted` |
//! | `user`, interruption by the user | `TurnFailed` |
//! | `user`, text injected by the client | `ContextAssembled` |
//! | `assistant` text, thinking | `ModelAttemptStarted` once per message, `ModelStreamDelta`s |
//! | next message, end of the turn | `ModelMessageCompleted`, `UsageRecorded` |
//! | `tool_use` | `ToolRequested`, `ToolStarted`, `SubagentStarted` if it caused one |
//! | `tool_result` | `ToolCompleted`, `ToolFailed` or `ToolDenied` |
//! | `hook_progress` | `HookInvoked` |
//! | `bash_progress`, `waiting_for_task` | `IsolationProcessIoCaptured` |
//! | `agent_progress` | `SubagentEventWrapped` |
//! | `stop_hook_summary` | `HookCompleted` of the stop hooks |
//! | `compact_boundary` | `RunCheckpointed` |
//! | `turn_duration` | `TurnCompleted` |
//! | `file-history-snapshot`, `queue-operation` | `ContextAssembled` |
//! | last line | `RunCompleted` |
//!
//! A transcript has no ending of its own, so its last line is its end, unless it was visibly cut:
//! the last line is not whole, or a tool call has no result and nothing follows it. Hooks of a tool
//! call are over when its result comes, hooks of a session's start when the conversation goes on. A
//! sub-agent is over when the call that caused it is. Kinds of line that are not in the table are
//! passed over.

mod session;
mod sub_agents;

pub use sub_agents::link_sub_agents;

use crate::json::{content, text};
use crate::reading::Reading;
use crate::records::Records;
use crate::{Problem, RecordedRun, Source};
use serde_json::Value;
use session::Session;
use std::collections::HashMap;
use std::io::BufRead;

/// The agent id of a session's own run.
const MAIN: &str = "main";

/// What the ids of sub-agents that compact a conversation begin with.
const COMPACTION: &str = "acompact";

/// Tells whether a line is one of a transcript.
pub fn recognises(line: &Value) -> bool {
    let kind = line["type"].as_str().unwrap_or_default();
    match kind {
        "user" | "assistant" | "system" | "progress" => line["uuid"].is_string(),
        "file-history-snapshot" => line["snapshot"].is_object(),
        "queue-operation" => line["sessionId"].is_string(),
        "summary" => line["leafUuid"].is_string(),
        _ => false,
    }
}

/// Reads one transcript: the run of its session or sub-agent, and those of the sub-agents whose
/// lines stand among the others.
pub fn read(records: &mut Records<impl BufRead>, reading: &mut Reading<'_>) {
    let mut transcript = Transcript {
        sessions: Vec::new(),
        chains: HashMap::new(),
    };
    let mut cut = false;
    while let Some((number, record)) = records.next() {
        match record {
            Ok(line) => {
                cut = false;
                if recognises(&line) && !reading.is_new(number, &line) {
                    // The usage of its message was recorded with the record that it repeats.
                    if let Some(message) = text(&line, "/message/id") {
                        reading.is_new_message(message);
                    }
                    continue;
                }
                if let Err(problem) = transcript.line(&line, reading) {
                    reading.error(Some(number), problem);
                }
            }
            Err(problem) => {
                // Only what stands at the end was cut off by the end.
                cut = matches!(problem, Problem::Truncated) || cut && !problem.is_loss();
                reading.error(Some(number), problem);
            }
        }
    }
    let runs = transcript.finish(cut);
    reading.runs.extend(runs);
}

/// A file under way.
struct Transcript {
    /// The session or sub-agent that the file is named after, then others whose lines it holds.
    sessions: Vec<Session>,
    /// The sub-agent of each line of one, by the line's `uuid`: older lines name no `agentId`, but
    /// the line before theirs.
    chains: HashMap<String, String>,
}

impl Transcript {
    fn line(&mut self, line: &Value, reading: &mut Reading<'_>) -> Result<(), Problem> {
        let index = self.session_of(line, reading);
        self.sessions[index].line(line, reading)?;
        // A sub-agent is over when the call that caused it is.
        let over = std::mem::take(&mut self.sessions[index].over_sub_agents);
        for session in &mut self.sessions {
            session.over |= over.iter().any(|it| it == session.run_id());
        }
        Ok(())
    }

    /// Returns the index of the session that a line belongs to, which may begin with it.
    fn session_of(&mut self, line: &Value, reading: &Reading<'_>) -> usize {
        if self.sessions.is_empty() {
            let builder = reading.builder(Source::ClaudeCode);
            self.sessions.push(Session::new(builder, reading.stem()));
        }
        let Some(id) = text(line, "/sessionId") else {
            return 0;
        };
        let agent = self.agent_of(line);
        if self.sessions[0].session_id.is_none() {
            self.sessions[0].identify(id, agent);
            return 0;
        }
        if let Some(index) = self.sessions.iter().position(|it| it.agent_id == agent) {
            return index;
        }
        let builder = reading.builder(Source::ClaudeCode);
        let mut session = Session::new(builder, reading.stem());
        session.identify(id, agent);
        let run_id = session.run_id().to_owned();
        self.sessions.push(session);
        if let Some(main) = self.sessions.iter_mut().find(|it| it.agent_id.is_none()) {
            main.open_sub_agent(&run_id, &content(&line["message"]["content"]));
        }
        self.sessions.len() - 1
    }

    /// Returns the sub-agent whose line it is; `None` for the session's own.
    fn agent_of(&mut self, line: &Value) -> Option<String> {
        if line["isSidechain"] != true {
            return None;
        }
        let uuid = text(line, "/uuid").unwrap_or_default();
        let before = text(line, "/parentUuid").and_then(|before| self.chains.get(before));
        let agent = text(line, "/agentId").map(str::to_owned);
        let agent = agent.or_else(|| before.cloned());
        let agent = agent.unwrap_or_else(|| uuid.to_owned());
        self.chains.insert(uuid.to_owned(), agent.clone());
        Some(agent)
    }

    fn finish(self, cut: bool) -> Vec<RecordedRun> {
        // Whose line was cut off is not known; what the session says of its end is told by it.
        let main = self.sessions.iter().position(|it| it.agent_id.is_none());
        let main = main.unwrap_or(0);
        let sessions = self.sessions.into_iter().enumerate();
        sessions
            .map(|(index, session)| session.finish(cut && index == main))
            .collect()
    }
}

fn malformed(problem: &str) -> Problem {
    Problem::Malformed(problem.to_owned())
}
