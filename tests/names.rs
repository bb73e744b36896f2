//! A crate that uses only the names that the contract fixes, and the bus only as
//! `dyn AgentEventBus`: it compiles, and does what a host would do.

use framebus::{
    AgentError, AgentErrorKind, AgentEvent, AgentEventBus, AgentEventStream, AgentId,
    ArchiveCursor, CompiledEventFilter, EventArchive, EventCursor, EventDeliverySemantics,
    EventEnvelope, EventFamily, EventFilter, EventFrame, EventId, EventKind, EventOverflowNotice,
    EventOverflowReason, EventStreamScope, InMemoryAgentEventBus, JournalCursor, PayloadAccessMode,
    RunId, SessionId, SubscriberOverflowPolicy, SubscriberQueueConfig, SubscriptionOptions, TurnId,
};
use std::num::NonZeroUsize;
use std::sync::Arc;

fn publish(bus: &dyn AgentEventBus, run: &str, kind: EventKind) -> Result<(), AgentError> {
    let envelope = EventEnvelope::new(RunId::new(run), AgentId::new("agent"), kind)
        .with_journal_cursor(JournalCursor::new(format!("{run}/{kind:?}")))
        .with_tag("host");
    bus.publish(EventFrame::new(AgentEvent::with_redacted_summary(
        envelope, "text",
    )))
}

#[test]
fn the_fixed_names_suffice_for_a_host() -> Result<(), AgentError> {
    let memory = InMemoryAgentEventBus::default();
    let bus: Arc<dyn AgentEventBus> = Arc::new(memory.clone());
    let options = SubscriptionOptions {
        queue: SubscriberQueueConfig {
            capacity: NonZeroUsize::new(2).unwrap(),
            terminal_reserve: NonZeroUsize::MIN,
            overflow: SubscriberOverflowPolicy::DropProgress,
        },
        payload_access: PayloadAccessMode::EnvelopeOnly,
        ..SubscriptionOptions::default()
    };
    let streams: Vec<AgentEventStream> = vec![
        bus.subscribe_all(None)?,
        bus.subscribe_all_with_options(None, options)?,
        bus.subscribe_run(RunId::new("r"), None)?,
        bus.subscribe_run_with_options(RunId::new("r"), None, options)?,
        bus.subscribe_agent(AgentId::new("agent"), None)?,
        bus.subscribe_agent_with_options(AgentId::new("agent"), None, options)?,
    ];
    publish(&*bus, "r", EventKind::RunStarted)?;
    publish(&*bus, "r", EventKind::ModelStreamDelta)?;
    publish(&*bus, "r", EventKind::RunCompleted)?;
    memory.publish_all([EventFrame::new(AgentEvent::envelope_only(
        EventEnvelope::new(
            RunId::new("r"),
            AgentId::new("agent"),
            EventKind::UsageRecorded,
        ),
    ))])?;

    let scopes = [
        EventStreamScope::All,
        EventStreamScope::All,
        EventStreamScope::Run(RunId::new("r")),
        EventStreamScope::Run(RunId::new("r")),
        EventStreamScope::Agent(AgentId::new("agent")),
        EventStreamScope::Agent(AgentId::new("agent")),
    ];
    for (at, (stream, scope)) in streams.into_iter().zip(scopes).enumerate() {
        let frames: Vec<EventFrame> = stream.clone().collect();
        let cursor: &EventCursor = &frames[0].cursor;
        assert_eq!((&cursor.scope, cursor.event_seq), (&scope, 1));
        assert_eq!(
            cursor.journal_cursor.as_ref().map(JournalCursor::as_str),
            Some("r/RunStarted")
        );
        let envelope = &frames[0].event.envelope;
        assert_eq!(envelope.cursor(scope), *cursor);
        assert_eq!(
            (envelope.event_family, envelope.run_id.as_str()),
            (EventFamily::Run, "r")
        );
        assert!(frames[0].archive_cursor.is_none() && !EventKind::RunStarted.is_terminal());
        let notice: Option<&EventOverflowNotice> = frames[1].overflow.as_deref();
        if at % 2 == 0 {
            assert_eq!((frames.len(), notice), (4, None));
            assert_eq!(frames[1].event.redacted_summary(), Some("text"));
        } else {
            // Room for one that is not terminal: both progress frames went.
            let notice = notice.expect("a notice");
            assert_eq!(frames.len(), 2);
            assert_eq!((notice.dropped_count, notice.terminal_preserved), (2, true));
            assert_eq!(notice.reason, EventOverflowReason::PolicyDroppedProgress);
            assert_eq!(notice.policy, options.queue.overflow);
            let repair = notice.repair_from.as_ref().map(JournalCursor::as_str);
            assert_eq!(repair, Some("r/ModelStreamDelta"));
            assert_eq!(
                notice.gap_start.as_ref().map(|cursor| cursor.event_seq),
                Some(2)
            );
            assert_eq!(notice.gap_end.event_seq, 4);
            assert_eq!(frames[1].event.redacted_summary(), None);
        }
    }

    let filter: CompiledEventFilter = EventFilter::terminal_run_events().compile()?;
    assert!(filter.queue == EventFilter::default().compile()?.queue);
    let ends: Vec<_> = bus.subscribe_filtered(filter.clone(), None)?.collect();
    assert!(filter.matches_envelope(&ends[0].event.envelope));
    assert!(matches!(
        filter.cursor_scope(),
        EventStreamScope::Filter { .. }
    ));
    assert_eq!(
        ends[0].event.envelope.delivery_semantics,
        EventDeliverySemantics::BestEffortLive
    );
    let _ = (
        EventFilter::run(RunId::new("r")),
        EventFilter::agent(AgentId::new("a")),
    );
    let _ = (EventId::new("e"), TurnId::new("t"), SessionId::new("s"));
    let error = AgentError::contract_violation("no");
    let _: (&dyn std::error::Error, _) = (&error, error.kind());
    Ok(())
}

/// A host's own bus that has no more than the trait asks for.
struct Own(InMemoryAgentEventBus);

impl AgentEventBus for Own {
    fn publish(&self, frame: EventFrame) -> Result<(), AgentError> {
        self.0.publish(frame)
    }

    fn subscribe_all_with_options(
        &self,
        cursor: Option<EventCursor>,
        options: SubscriptionOptions,
    ) -> Result<AgentEventStream, AgentError> {
        self.0.subscribe_all_with_options(cursor, options)
    }

    fn subscribe_run_with_options(
        &self,
        run_id: RunId,
        cursor: Option<EventCursor>,
        options: SubscriptionOptions,
    ) -> Result<AgentEventStream, AgentError> {
        self.0.subscribe_run_with_options(run_id, cursor, options)
    }

    fn subscribe_agent_with_options(
        &self,
        agent_id: AgentId,
        cursor: Option<EventCursor>,
        options: SubscriptionOptions,
    ) -> Result<AgentEventStream, AgentError> {
        let bus = &self.0;
        bus.subscribe_agent_with_options(agent_id, cursor, options)
    }

    fn subscribe_filtered(
        &self,
        filter: CompiledEventFilter,
        cursor: Option<EventCursor>,
    ) -> Result<AgentEventStream, AgentError> {
        self.0.subscribe_filtered(filter, cursor)
    }
}

#[test]
fn a_host_s_own_bus_supports_filter_options_that_a_queue_can() -> Result<(), AgentError> {
    let bus = Own(InMemoryAgentEventBus::default());
    publish(&bus, "r", EventKind::RunStarted)?;
    publish(&bus, "other", EventKind::RunStarted)?;
    let filter = EventFilter::run(RunId::new("r")).compile()?;
    let options = SubscriptionOptions {
        payload_access: PayloadAccessMode::EnvelopeOnly,
        ..SubscriptionOptions::default()
    };
    let frames: Vec<_> = bus
        .subscribe_filtered_with_options(filter.clone(), None, options)?
        .collect();
    assert_eq!(frames.len(), 1);
    assert_eq!(frames[0].event.redacted_summary(), None);
    let complete = SubscriptionOptions::complete();
    for refused in [complete, options.latest(), options.beginning()] {
        let error = bus
            .subscribe_filtered_with_options(filter.clone(), None, refused)
            .unwrap_err();
        assert_eq!(error.kind(), AgentErrorKind::ContractViolation);
    }
    Ok(())
}

/// A host's own archive, through the fixed trait.
struct Nothing;

impl EventArchive for Nothing {
    fn replay_filtered_from_cursor(
        &self,
        _filter: CompiledEventFilter,
        _cursor: ArchiveCursor,
    ) -> Result<AgentEventStream, AgentError> {
        Ok(AgentEventStream::new([]))
    }
}

#[test]
fn an_archive_can_be_a_host_s_own() {
    let archive: Box<dyn EventArchive> = Box::new(Nothing);
    let filter = EventFilter::default().compile().unwrap();
    let start = ArchiveCursor {
        archive_id: "a".into(),
        position: 0,
    };
    assert_eq!(
        archive
            .replay_filtered_from_cursor(filter, start)
            .unwrap()
            .count(),
        0
    );
}
