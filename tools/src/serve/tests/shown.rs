//! What is shown of runs: how they belong together, what they say and do, and what was lost.

use super::{Browser, Server, envelope, frame, open, publish, rows, saying, until};
use framebus::{
    AgentEvent, EntityKind, EventEnvelope, EventFrame, EventKind, InMemoryAgentEventBus,
};

/// Publishes frames and opens the page once it shows them all.
fn page(frames: Vec<EventFrame>) -> Option<(InMemoryAgentEventBus, Server, Browser)> {
    let bus = InMemoryAgentEventBus::default();
    let server = Server::start(&bus);
    let count = frames.len() as u64;
    bus.publish_all(frames).unwrap();
    let mut browser = open(server.address)?;
    browser.shows_frames(count);
    Some((bus, server, browser))
}

#[test]
fn runs_are_a_tree_with_their_sub_agents() {
    let about = |run: &str, kind, of: EntityKind, id: &str| {
        let about = envelope(run, kind).with_subject((of, id));
        EventFrame::new(AgentEvent::envelope_only(about))
    };
    let inner = |agent: &str, kind| {
        EventFrame::new(AgentEvent::envelope_only(EventEnvelope::new(
            "parent", agent, kind,
        )))
    };
    let started = envelope("late", EventKind::RunStarted).with_related((EntityKind::Run, "parent"));
    let caused = envelope("caused", EventKind::RunStarted).with_parent_event("cause");
    let cause = envelope("parent", EventKind::ToolRequested).with_event_id("cause");
    let Some((bus, _server, mut browser)) = page(vec![
        frame("parent", EventKind::RunStarted),
        about(
            "parent",
            EventKind::SubagentStarted,
            EntityKind::Run,
            "parent/child",
        ),
        frame("parent/child", EventKind::RunStarted),
        inner("helper", EventKind::SubagentStarted),
        EventFrame::new(AgentEvent::envelope_only(started)),
        EventFrame::new(AgentEvent::envelope_only(cause)),
        EventFrame::new(AgentEvent::envelope_only(caused)),
        frame("other", EventKind::RunStarted),
        // It says that it is above itself, in two steps: it is shown all the same.
        about("one", EventKind::SubagentStarted, EntityKind::Run, "two"),
        about("two", EventKind::SubagentStarted, EntityKind::Run, "one"),
    ]) else {
        return;
    };
    let levels = "[...document.querySelectorAll('.row:not([hidden])')]
        .sort((one, other) => one.dataset.row - other.dataset.row)
        .map(row => row.getAttribute('aria-level') + row.querySelector('.id').textContent)";
    let tree = browser.ask(levels);
    let wanted = ["1other", "1parent", "2child", "2helper", "2late", "2caused"];
    assert_eq!(tree.as_array().unwrap()[..6], wanted);
    assert_eq!(tree.as_array().unwrap().len(), 8, "{tree}");
    // An agent in a run ends when its run says so, or ends.
    publish(
        &bus,
        about(
            "parent",
            EventKind::SubagentCompleted,
            EntityKind::Agent,
            "helper",
        ),
    );
    until("the helper's end", || {
        rows(&mut browser)[3].contains("helper") && !rows(&mut browser)[3].contains("running")
    });
    publish(&bus, frame("parent", EventKind::RunCompleted));
    until("the run's end", || {
        !rows(&mut browser)[1].contains("running")
    });
    assert!(
        rows(&mut browser)[2].contains("running"),
        "a run of its own goes on"
    );
}

#[test]
fn text_is_joined_as_it_arrives_and_tools_say_their_state_and_time() {
    let tool = |kind, id: &str| envelope("run", kind).with_subject((EntityKind::ToolCall, id));
    let delta = || envelope("run", EventKind::ModelStreamDelta);
    let Some((bus, _server, mut browser)) = page(vec![
        frame("run", EventKind::RunStarted),
        saying(envelope("run", EventKind::MessageAccepted), "What is it?"),
        saying(delta().with_tag("reasoning"), "Let me "),
        saying(delta().with_tag("reasoning"), "think."),
        saying(delta(), "It is"),
        saying(delta(), " a 🦀"),
        saying(tool(EventKind::ToolRequested, "call-1"), "{\"path\":\"a\"}"),
        EventFrame::new(AgentEvent::with_redacted_summary(
            tool(EventKind::ToolStarted, "call-1"),
            "read_file",
        )),
        EventFrame::new(AgentEvent::with_redacted_summary(
            tool(EventKind::ToolStarted, "call-2"),
            "send_mail",
        )),
        saying(tool(EventKind::ToolCompleted, "call-1"), "contents"),
    ]) else {
        return;
    };
    let shown = browser.choose("run");
    for text in [
        "What is it?",
        "Let me think.",
        "It is a 🦀",
        "read_file",
        "send_mail",
    ] {
        assert!(shown.contains(text), "{text} in {shown}");
    }
    let tools = "[...document.querySelectorAll('.tool .time')].map(time => time.textContent)";
    let times = browser.ask(tools);
    assert!(
        times[0].as_str().unwrap().starts_with("completed 0."),
        "{times}"
    );
    assert!(
        times[1].as_str().unwrap().starts_with("running "),
        "{times}"
    );
    publish(&bus, saying(delta(), " later"));
    publish(
        &bus,
        saying(tool(EventKind::ToolFailed, "call-2"), "no route"),
    );
    publish(&bus, saying(delta(), ", and on"));
    until("what came later", || {
        let shown = browser.text("#items");
        shown.contains(" later, and on") || shown.contains("later") && shown.contains(", and on")
    });
    let times = browser.ask(tools);
    assert!(times[1].as_str().unwrap().starts_with("failed "), "{times}");
    assert_eq!(
        browser.ask("document.querySelectorAll('.tool')[1].dataset.tone"),
        "bad"
    );
}

#[test]
fn a_tool_that_needs_recovery_is_bad_news_even_of_a_run_that_completed() {
    let Some((_bus, _server, mut browser)) = page(vec![
        frame("run", EventKind::RunStarted),
        frame("run", EventKind::ToolStarted),
        frame("run", EventKind::ToolRecoveryRequired),
        frame("run", EventKind::RunCompleted),
    ]) else {
        return;
    };
    browser.choose("run");
    let tone = "document.querySelector('.row .state').dataset.tone";
    assert_eq!(browser.ask(tone), "bad");
    assert!(rows(&mut browser)[0].contains("1 to recover"));
    assert_eq!(
        browser.ask("document.querySelector('.tool').dataset.tone"),
        "bad"
    );
    assert_eq!(
        browser.ask("document.getElementById('recovery').hidden"),
        false
    );
    assert_eq!(browser.number("#shown [value=trouble]"), 1);
}

#[test]
fn each_state_of_a_run_is_told_by_word_picture_and_colour() {
    let mut frames = Vec::new();
    for (run, kind) in [
        ("goes-on", EventKind::RunStarted),
        ("done", EventKind::RunCompleted),
        ("broken", EventKind::RunFailed),
        ("stopped", EventKind::RunCancelled),
        ("asks", EventKind::ApprovalRequested),
    ] {
        frames.push(frame(run, kind));
    }
    let Some((bus, _server, mut browser)) = page(frames) else {
        return;
    };
    let of = |browser: &mut Browser, run: &str| {
        browser.ask(&format!(
            "(row => [row.querySelector('.state use').getAttribute('href'),
                row.querySelector('.state').dataset.tone, row.querySelector('.time').textContent
                    .replace(/ ?[0-9].*/, '')])
            ([...document.querySelectorAll('.row')].find(row => row.textContent.includes({run:?})))"
        ))
    };
    for (run, state) in [
        ("goes-on", ["#i-running", "busy", "running"]),
        ("done", ["#i-done", "good", ""]),
        ("broken", ["#i-failed", "bad", "failed"]),
        ("stopped", ["#i-stopped", "warn", "cancelled"]),
        ("asks", ["#i-waiting", "warn", "waits for approval"]),
    ] {
        assert_eq!(of(&mut browser, run), serde_json::json!(state), "{run}");
    }
    publish(&bus, frame("asks", EventKind::ApprovalResponded));
    until("the approval", || {
        of(&mut browser, "asks")[0] == "#i-running"
    });
}

#[test]
fn a_long_run_keeps_its_end_and_says_how_much_that_is() {
    let delta = |text: &str| saying(envelope("run", EventKind::ModelStreamDelta), text);
    // Each piece is half a pair of letters longer than the other: cuts fall anywhere.
    let mut frames: Vec<_> = (0..4_000).map(|_| delta("many words 🦀 ")).collect();
    frames.extend((0..500).map(|n| {
        let note = envelope("run", EventKind::ContextAssembled);
        EventFrame::new(AgentEvent::with_redacted_summary(note, format!("note {n}")))
    }));
    frames.push(delta("the end"));
    let Some((_bus, _server, mut browser)) = page(frames) else {
        return;
    };
    let shown = browser.choose("run");
    assert!(
        shown.contains("the end") && shown.contains("note 499"),
        "{shown}"
    );
    assert!(!shown.contains('\u{fffd}'));
    let length = browser.ask("document.getElementById('items').textContent.length");
    assert!(length.as_u64().unwrap() < 40_000, "{length}");
    let items = browser.ask("document.getElementById('items').children.length");
    assert!(items.as_u64().unwrap() <= 300, "{items}");
    let cut = browser.text("#cut");
    assert!(
        cut.contains("16,384 characters") && cut.contains("not kept"),
        "{cut}"
    );
    let kept =
        browser.ask("(run => run.goneText + run.size)([...framebus.model.runs.values()][0])");
    let notes: usize = (0..500).map(|n| format!("note {n}").len()).sum();
    // In UTF-16 units, of which the crab takes two.
    assert_eq!(kept, 4_000 * 14 + notes + "the end".len());
}

/// Texts that would be more than text if they were made part of a document.
const NASTY: [&str; 9] = [
    "<img src=x onerror=\"window.hacked=1\">",
    "<script>window.hacked=1</script>",
    "</title></style></script><svg onload=window.hacked=1>",
    "\"><iframe srcdoc=\"<script>parent.hacked=1</script>\"></iframe>",
    "' onmouseover='window.hacked=1' x='",
    "javascript:window.hacked=1",
    "&lt;b&gt; &#60;b&#62; {{7*7}} ${window.hacked=1}",
    "__proto__",
    "\u{202e}drow\u{202c}\u{0}\u{7}\u{2028}<b>bold</b>",
];

#[test]
fn no_text_of_an_event_becomes_part_of_the_document() {
    let mut frames = Vec::new();
    for text in NASTY {
        let nasty = |kind| {
            EventEnvelope::new(text, text, kind)
                .with_tag(text)
                .with_source((framebus::EndpointKind::Tool, text))
        };
        let call = |kind| nasty(kind).with_subject((EntityKind::ToolCall, text));
        let child = nasty(EventKind::SubagentStarted).with_subject((EntityKind::Run, text));
        frames.extend([
            saying(
                nasty(EventKind::RunStarted).with_related((EntityKind::Run, text)),
                text,
            ),
            saying(nasty(EventKind::MessageAccepted), text),
            saying(nasty(EventKind::ModelStreamDelta), text),
            saying(call(EventKind::ToolRequested), text),
            saying(call(EventKind::ToolStarted), text),
            saying(call(EventKind::ToolFailed), text),
            EventFrame::new(AgentEvent::with_redacted_summary(child, text)),
            EventFrame::new(AgentEvent::with_content(
                nasty(EventKind::RunCheckpointed),
                text,
                text.as_bytes(),
            )),
            // Another agent in the run.
            saying(
                EventEnvelope::new(text, format!("{text}{text}"), EventKind::HookInvoked),
                text,
            ),
        ]);
    }
    let Some((bus, _server, mut browser)) = page(frames) else {
        return;
    };
    let elements = "[...new Set([...document.body.querySelectorAll('*')].map(it => it.localName))]
        .filter(name => ['script', 'img', 'iframe', 'b', 'style', 'object'].includes(name))
        .concat([...document.querySelectorAll('*')].flatMap(it => it.getAttributeNames())
            .filter(name => name.startsWith('on')))";
    let before = browser.ask(elements);
    for text in NASTY {
        browser.ask(&format!(
            "(async () => {{
                framebus.choose({text:?}, true);
                for (const details of document.querySelectorAll('details')) details.open = true;
                await {};
            }})()",
            super::DRAWN
        ));
        let said = browser.ask("document.querySelector('.said p')?.textContent");
        assert_eq!(said, text, "it is shown as it is");
        let result = browser.ask("document.querySelector('.tool pre')?.textContent");
        assert_eq!(result, text);
        assert_eq!(browser.text("#run-id"), text);
        assert_eq!(browser.ask(elements), before, "{text}");
    }
    publish(&bus, frame("</script>", EventKind::RunFailed));
    until("the last", || {
        browser.number("#frames") == bus.last_sequence()
    });
    assert_eq!(browser.ask("window.hacked ?? 'not hacked'"), "not hacked");
    // The browser itself refuses to make a document of a text here.
    let refused = "try { document.body.innerHTML = '<i>'; 'made' } catch { 'refused' }";
    assert_eq!(browser.ask(refused), "refused");
}

#[test]
fn what_was_lost_is_told_with_its_reason_and_marked_in_the_runs() {
    let bus = InMemoryAgentEventBus::builder()
        .shards(std::num::NonZeroUsize::MIN)
        .ring_capacity(std::num::NonZeroUsize::new(64).unwrap())
        .build()
        .unwrap();
    let server = Server::start(&bus);
    let proxy = super::proxy::Proxy::to(server.address);
    publish(
        &bus,
        saying(envelope("run", EventKind::ModelStreamDelta), "before "),
    );
    let Some(mut browser) = open(proxy.address) else {
        return;
    };
    browser.shows_frames(1);
    proxy.cut();
    for _ in 0..2_000 {
        publish(
            &bus,
            saying(envelope("run", EventKind::ModelStreamDelta), "lost "),
        );
    }
    proxy.mend();
    until("the rest", || {
        browser.number("#frames") + browser.number("#lost") == bus.last_sequence()
    });
    let lost = browser.number("#lost");
    assert!(lost > 1_000, "{lost}");
    let told = browser.text("#losses-list");
    assert!(
        told.contains("frames lost") && told.contains("no longer held them"),
        "{told}"
    );
    let shown = browser.choose("run");
    let gap = shown.find("frames lost").expect("a mark in the run");
    assert!(
        shown.find("before").unwrap() < gap && gap < shown.rfind("lost ").unwrap(),
        "{shown}"
    );
}

#[test]
fn a_run_whose_end_may_be_among_what_was_lost_is_not_said_to_run() {
    let size = |n| std::num::NonZeroUsize::new(n).unwrap();
    let bus = InMemoryAgentEventBus::builder()
        .shards(std::num::NonZeroUsize::MIN)
        .ring_capacity(size(64))
        .terminal_capacity(size(64))
        .build()
        .unwrap();
    let server = Server::start(&bus);
    let proxy = super::proxy::Proxy::to(server.address);
    publish(&bus, frame("watched", EventKind::RunStarted));
    let Some(mut browser) = open(proxy.address) else {
        return;
    };
    until("the run", || rows(&mut browser).len() == 1);
    assert!(rows(&mut browser)[0].contains("running "));
    proxy.cut();
    publish(&bus, frame("watched", EventKind::RunFailed));
    for _ in 0..2_000 {
        publish(&bus, frame("other", EventKind::ToolCompleted));
    }
    proxy.mend();
    until("the rest", || {
        browser.number("#frames") + browser.number("#lost") == bus.last_sequence()
    });
    let told = browser.text("#losses-list");
    assert!(
        told.contains("a run shown as running may be over"),
        "{told}"
    );
    let watched = rows(&mut browser).pop().unwrap();
    assert!(
        watched.contains("watched") && watched.contains("running?"),
        "{watched}"
    );
    // What is heard of is running again.
    publish(&bus, frame("watched", EventKind::TurnStarted));
    until("the run", || {
        !rows(&mut browser).pop().unwrap().contains("running?")
    });
}
