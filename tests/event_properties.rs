//! Random values: JSON reads back what was written, a compiled filter agrees with the contract's
//! words, and junk is an error.
#![cfg(feature = "serde")]

use framebus::*;
use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;
use proptest::sample::select;
use std::num::NonZeroUsize;

const ENTITIES: [EntityKind; 4] = [
    EntityKind::Run,
    EntityKind::ToolCall,
    EntityKind::Artifact,
    EntityKind::Other,
];
const ENDPOINTS: [EndpointKind; 4] = [
    EndpointKind::Runtime,
    EndpointKind::Tool,
    EndpointKind::User,
    EndpointKind::Other,
];
const PRIVACY: [PrivacyClass; 4] = [
    PrivacyClass::Metadata,
    PrivacyClass::Content,
    PrivacyClass::Sensitive,
    PrivacyClass::Secret,
];
const SEMANTICS: [EventDeliverySemantics; 4] = [
    EventDeliverySemantics::BestEffortLive,
    EventDeliverySemantics::JournalBacked,
    EventDeliverySemantics::DerivedReplay,
    EventDeliverySemantics::DiagnosticOnly,
];
const ACCESS: [PayloadAccessMode; 4] = [
    PayloadAccessMode::EnvelopeOnly,
    PayloadAccessMode::RedactedSummary,
    PayloadAccessMode::PayloadRefs,
    PayloadAccessMode::FullPayloadIfPolicyAllows,
];
const POLICIES: [SubscriberOverflowPolicy; 5] = [
    SubscriberOverflowPolicy::DropNonTerminal,
    SubscriberOverflowPolicy::DropProgress,
    SubscriberOverflowPolicy::SummarizeAndContinue,
    SubscriberOverflowPolicy::BackpressureCaller,
    SubscriberOverflowPolicy::FailSubscriber,
];
const REASONS: [EventOverflowReason; 5] = [
    EventOverflowReason::SubscriberQueueFull,
    EventOverflowReason::SubscriberLagged,
    EventOverflowReason::LiveBufferExpired,
    EventOverflowReason::PolicyDroppedProgress,
    EventOverflowReason::PolicyDroppedNonTerminal,
];

/// A few texts, so that filters and envelopes have some in common; and some that JSON must escape.
fn text() -> impl Strategy<Value = String> {
    prop_oneof![4 => select(&["a", "b", "c"][..]).prop_map(String::from), 1 => any::<String>()]
}

fn kind() -> impl Strategy<Value = EventKind> {
    select(EventKind::ALL)
}

fn entity() -> impl Strategy<Value = EntityRef> {
    (select(&ENTITIES[..]), text()).prop_map(EntityRef::from)
}

fn endpoint() -> impl Strategy<Value = EndpointRef> {
    (select(&ENDPOINTS[..]), text()).prop_map(EndpointRef::from)
}

fn envelope() -> impl Strategy<Value = EventEnvelope> {
    let head = (
        (text(), text(), kind(), any::<i64>(), any::<u64>()),
        (any::<u64>(), select(&PRIVACY[..]), select(&SEMANTICS[..])),
        option::of(text()),
        option::of((1..=u128::MAX, 1..=u64::MAX)),
    );
    let ids = vec(option::of(text()), 5);
    let parties = (
        option::of(entity()),
        option::of(endpoint()),
        option::of(endpoint()),
    );
    let lists = (
        vec(entity(), 0..3),
        vec(text(), 0..3),
        vec((text(), text()), 0..3),
    );
    (head, ids, parties, lists).prop_map(|(head, ids, parties, lists)| {
        let ((run, agent, kind, micros, seq), (epoch, privacy, semantics), journal, trace) = head;
        let mut envelope = EventEnvelope::new(run, agent, kind)
            .with_timestamp(Timestamp::from_micros(micros))
            .with_privacy(privacy)
            .with_delivery_semantics(semantics);
        envelope.event_seq = seq;
        envelope.bus_epoch = BusEpoch::from_bits(epoch);
        envelope.journal_cursor = journal.map(JournalCursor::new);
        if let Some((trace, span)) = trace {
            envelope = envelope
                .with_trace(format!("{trace:032x}"), format!("{span:016x}"))
                .unwrap();
        }
        let setters = [
            EventEnvelope::with_event_id as fn(EventEnvelope, String) -> EventEnvelope,
            EventEnvelope::with_session,
            EventEnvelope::with_turn,
            EventEnvelope::with_message,
            EventEnvelope::with_parent_event,
        ];
        for (set, id) in setters.into_iter().zip(ids) {
            envelope = id.into_iter().fold(envelope, set);
        }
        let (subject, source, destination) = parties;
        envelope = subject
            .into_iter()
            .fold(envelope, EventEnvelope::with_subject);
        envelope = source
            .into_iter()
            .fold(envelope, EventEnvelope::with_source);
        envelope = destination
            .into_iter()
            .fold(envelope, EventEnvelope::with_destination);
        let (related, tags, correlation) = lists;
        envelope = related
            .into_iter()
            .fold(envelope, EventEnvelope::with_related);
        envelope = tags.into_iter().fold(envelope, EventEnvelope::with_tag);
        correlation
            .into_iter()
            .fold(envelope, EventEnvelope::with_correlation)
    })
}

fn payload() -> impl Strategy<Value = EventPayload> {
    let references = || vec(entity(), 0..3).prop_map(Vec::into_boxed_slice);
    let bytes = prop_oneof![
        any::<String>().prop_map(String::into_bytes),
        vec(any::<u8>(), 0..40)
    ];
    prop_oneof![
        Just(EventPayload::EnvelopeOnly),
        (text(), references()).prop_map(|(text, references)| EventPayload::RedactedSummary {
            text: text.into(),
            references
        }),
        (text(), bytes, option::of(text()), references()).prop_map(
            |(media_type, bytes, summary, references)| {
                EventPayload::Content(Box::new(PayloadContent {
                    media_type: media_type.into(),
                    bytes: bytes.into(),
                    summary: summary.map(Into::into),
                    references,
                }))
            }
        ),
    ]
}

fn scope() -> impl Strategy<Value = EventStreamScope> {
    prop_oneof![
        Just(EventStreamScope::All),
        text().prop_map(|id| EventStreamScope::Run(id.into())),
        text().prop_map(|id| EventStreamScope::Agent(id.into())),
        (text(), any::<u64>()).prop_map(|(id, bits)| EventStreamScope::Filter {
            filter_id: id.into(),
            filter_fingerprint: FilterFingerprint::from_bits(bits),
        }),
    ]
}

fn cursor() -> impl Strategy<Value = EventCursor> {
    (scope(), any::<u64>(), any::<u64>(), option::of(text())).prop_map(
        |(scope, event_seq, epoch, journal)| EventCursor {
            scope,
            event_seq,
            bus_epoch: BusEpoch::from_bits(epoch),
            journal_cursor: journal.map(JournalCursor::new),
        },
    )
}

fn notice() -> impl Strategy<Value = EventOverflowNotice> {
    let gap = (option::of(cursor()), cursor(), option::of(text()));
    let cause = (select(&POLICIES[..]), select(&REASONS[..]));
    let count = (any::<u64>(), any::<bool>());
    (count, gap, any::<bool>(), cause).prop_map(
        |(
            (dropped_count, exact),
            (gap_start, gap_end, repair),
            terminal_preserved,
            (policy, reason),
        )| {
            EventOverflowNotice {
                policy,
                dropped_count,
                exact,
                gap_start,
                gap_end,
                repair_from: repair.map(JournalCursor::new),
                terminal_preserved,
                reason,
            }
        },
    )
}

fn frame() -> impl Strategy<Value = EventFrame> {
    let archive = option::of((text(), any::<u64>()));
    let event = (envelope(), payload(), select(&ACCESS[..]));
    (event, cursor(), archive, option::of(notice())).prop_map(
        |((envelope, payload, access), cursor, archive, overflow)| EventFrame {
            event: SharedEvent::from(AgentEvent { envelope, payload }).restrict(access),
            cursor,
            archive_cursor: archive.map(|(id, position)| ArchiveCursor {
                archive_id: id.into(),
                position,
            }),
            overflow: overflow.map(Box::new),
        },
    )
}

fn few<T: Clone + std::fmt::Debug + 'static>(all: &'static [T]) -> BoxedStrategy<Vec<T>> {
    prop_oneof![3 => Just(Vec::new()), 1 => vec(select(all), 1..4)].boxed()
}

/// No ids, a few that envelopes have, or more than a scan is quick for.
fn ids<T: for<'a> From<&'a str> + Clone + std::fmt::Debug + 'static>() -> BoxedStrategy<Vec<T>> {
    let many = vec((0..60_u32).prop_map(|n| n.to_string()), 9..40);
    let few = || vec(text(), 1..4);
    let found = prop_oneof![
        Just(Vec::new()),
        few(),
        (many, few()).prop_map(|(a, b)| [a, b].concat())
    ];
    found
        .prop_map(|texts| texts.iter().map(|text| T::from(text.as_str())).collect())
        .boxed()
}

fn filter() -> impl Strategy<Value = EventFilter> {
    let named = (ids(), ids(), ids(), ids(), ids(), ids());
    let kinds = (few(EventFamily::ALL), few(EventKind::ALL), any::<bool>());
    let parties = (
        few(&ENDPOINTS),
        few(&ENDPOINTS),
        few(&ENTITIES),
        few(&ENTITIES),
    );
    let classes = (few(&PRIVACY), few(&SEMANTICS));
    let reading = (
        select(&ACCESS[..]),
        (1..=usize::MAX, 1..=usize::MAX, select(&POLICIES[..])),
    );
    (named, kinds, parties, classes, reading).prop_map(
        |(named, kinds, parties, classes, reading)| {
            let (run_ids, session_ids, agent_ids, turn_ids, tags, correlation_keys) = named;
            let (families, kinds, terminal_only) = kinds;
            let (source_kinds, destination_kinds, subject_kinds, related_kinds) = parties;
            let (privacy_classes, delivery_semantics) = classes;
            let (payload_access, (capacity, reserve, overflow)) = reading;
            EventFilter {
                run_ids,
                session_ids,
                agent_ids,
                turn_ids,
                families,
                kinds,
                tags,
                source_kinds,
                destination_kinds,
                subject_kinds,
                related_kinds,
                correlation_keys,
                privacy_classes,
                delivery_semantics,
                terminal_only,
                payload_access,
                queue: SubscriberQueueConfig {
                    capacity: NonZeroUsize::new(capacity).unwrap(),
                    terminal_reserve: NonZeroUsize::new(reserve).unwrap(),
                    overflow,
                },
            }
        },
    )
}

/// The contract's words: AND across fields, OR within a field, an empty field asks nothing.
fn wanted(filter: &EventFilter, envelope: &EventEnvelope) -> bool {
    fn field<T: PartialEq>(list: &[T], found: &[T]) -> bool {
        list.is_empty() || found.iter().any(|found| list.contains(found))
    }
    fn one<T: Clone>(found: Option<&T>) -> Vec<T> {
        found.cloned().into_iter().collect()
    }
    let source: Vec<_> = envelope.source().map(|it| it.kind).into_iter().collect();
    let destination: Vec<_> = envelope
        .destination()
        .map(|it| it.kind)
        .into_iter()
        .collect();
    let subject: Vec<_> = envelope.subject().map(|it| it.kind).into_iter().collect();
    let related: Vec<_> = envelope.related().iter().map(|it| it.kind).collect();
    let keys: Vec<_> = envelope
        .correlation()
        .iter()
        .map(|it| it.key.clone())
        .collect();
    [
        field(&filter.run_ids, std::slice::from_ref(&envelope.run_id)),
        field(&filter.agent_ids, std::slice::from_ref(&envelope.agent_id)),
        field(&filter.session_ids, &one(envelope.session_id())),
        field(&filter.turn_ids, &one(envelope.turn_id())),
        field(&filter.families, &[envelope.event_kind.family()]),
        field(&filter.kinds, &[envelope.event_kind]),
        field(&filter.tags, envelope.tags()),
        field(&filter.source_kinds, &source),
        field(&filter.destination_kinds, &destination),
        field(&filter.subject_kinds, &subject),
        field(&filter.related_kinds, &related),
        field(&filter.correlation_keys, &keys),
        field(&filter.privacy_classes, &[envelope.privacy]),
        field(&filter.delivery_semantics, &[envelope.delivery_semantics]),
        !filter.terminal_only || envelope.event_kind.is_terminal(),
    ]
    .iter()
    .all(|&asked| asked)
}

/// A value's JSON reads as the value, and writes the same JSON again.
fn round_trip<T>(value: &T) -> Result<(), TestCaseError>
where
    T: serde::Serialize + serde::de::DeserializeOwned + PartialEq + std::fmt::Debug,
{
    let json = serde_json::to_string(value).unwrap();
    let again: T = serde_json::from_str(&json)
        .map_err(|error| TestCaseError::fail(format!("{error}: {json}")))?;
    prop_assert_eq!(&again, value);
    prop_assert_eq!(serde_json::to_string(&again).unwrap(), json);
    Ok(())
}

/// Reads the text as every type. An error is fine, a panic is not.
fn parse_all(json: &[u8]) {
    let _ = serde_json::from_slice::<EventFrame>(json);
    let _ = serde_json::from_slice::<AgentEvent>(json);
    let _ = serde_json::from_slice::<EventCursor>(json);
    let _ = serde_json::from_slice::<EventOverflowNotice>(json);
    let _ = serde_json::from_slice::<EventFilter>(json);
    let _ = serde_json::from_slice::<CompiledEventFilter>(json);
    let _ = serde_json::from_slice::<SubscriptionOptions>(json);
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(1_000) })]

    #[test]
    fn an_event_survives_json(envelope in envelope(), payload in payload()) {
        round_trip(&AgentEvent { envelope, payload })?;
    }

    /// Hidden parts of a payload are not written; visible parts and everything else are.
    #[test]
    fn a_frame_s_json_is_what_may_be_seen_of_it(frame in frame()) {
        let json = serde_json::to_string(&frame).unwrap();
        let again: EventFrame = serde_json::from_str(&json).unwrap();
        let seen = EventFrame { event: frame.event.to_event().into(), ..frame };
        prop_assert_eq!(&again, &seen);
        prop_assert_eq!(serde_json::to_string(&again).unwrap(), json);
    }

    #[test]
    fn cursors_filters_and_times_survive_json(cursor in cursor(), filter in filter(), micros: i64) {
        round_trip(&cursor)?;
        round_trip(&filter)?;
        let moment = Timestamp::from_micros(micros);
        prop_assert_eq!(moment.to_string().parse::<Timestamp>().unwrap(), moment);
    }

    #[test]
    fn a_compiled_filter_matches_as_the_contract_says(
        filter in filter(),
        envelopes in vec(envelope(), 1..8),
    ) {
        let possible = EventKind::ALL.iter().any(|&kind| {
            (filter.kinds.is_empty() || filter.kinds.contains(&kind))
                && (filter.families.is_empty() || filter.families.contains(&kind.family()))
                && (!filter.terminal_only || kind.is_terminal())
        });
        match filter.clone().compile() {
            Ok(compiled) => {
                prop_assert!(possible);
                for envelope in &envelopes {
                    prop_assert_eq!(compiled.matches_envelope(envelope), wanted(&filter, envelope));
                }
            }
            Err(error) => {
                prop_assert!(!possible);
                prop_assert_eq!(error.kind(), AgentErrorKind::InvalidFilter);
            }
        }
    }

    /// One field at a time: with all of them set hardly any envelope would match.
    #[test]
    fn each_field_matches_as_the_contract_says(
        filter in filter(), envelope in envelope(), field in 0..14_usize,
    ) {
        let mut one = EventFilter::default();
        match field {
            0 => one.run_ids = filter.run_ids,
            1 => one.session_ids = filter.session_ids,
            2 => one.agent_ids = filter.agent_ids,
            3 => one.turn_ids = filter.turn_ids,
            4 => one.families = filter.families,
            5 => one.kinds = filter.kinds,
            6 => one.tags = filter.tags,
            7 => one.source_kinds = filter.source_kinds,
            8 => one.destination_kinds = filter.destination_kinds,
            9 => one.subject_kinds = filter.subject_kinds,
            10 => one.related_kinds = filter.related_kinds,
            11 => one.correlation_keys = filter.correlation_keys,
            12 => one.privacy_classes = filter.privacy_classes,
            _ => one.delivery_semantics = filter.delivery_semantics,
        }
        let compiled = one.clone().compile().unwrap();
        prop_assert_eq!(compiled.matches_envelope(&envelope), wanted(&one, &envelope));
    }

    #[test]
    fn order_and_repetition_leave_a_fingerprint_alone(filter in filter()) {
        let mut turned = filter.clone();
        turned.run_ids.extend(filter.run_ids.iter().rev().cloned());
        turned.tags.reverse();
        turned.kinds.extend_from_slice(&filter.kinds);
        turned.families.reverse();
        turned.related_kinds.extend_from_slice(&filter.related_kinds);
        turned.correlation_keys.reverse();
        if let (Ok(filter), Ok(turned)) = (filter.compile(), turned.compile()) {
            prop_assert_eq!(filter.cursor_scope(), turned.cursor_scope());
        }
    }

    #[test]
    fn junk_is_an_error(junk in vec(any::<u8>(), 0..200)) {
        parse_all(&junk);
        let text = String::from_utf8_lossy(&junk);
        let _ = text.parse::<Timestamp>();
        let _ = text.parse::<EventKind>();
        let _ = text.parse::<EventFamily>();
    }

    /// Nearly right is harder than wrong: a frame's JSON with a byte changed and its end cut off.
    #[test]
    fn damaged_json_is_an_error_or_a_frame(
        frame in frame(), at: prop::sample::Index, byte: u8, end: prop::sample::Index,
    ) {
        let mut json = serde_json::to_vec(&frame).unwrap();
        let cut = end.index(json.len());
        prop_assert!(serde_json::from_slice::<EventFrame>(&json[..cut]).is_err());
        let at = at.index(json.len());
        json[at] = byte;
        parse_all(&json);
    }
}
