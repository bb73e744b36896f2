//! The form of blocks: what is written is read back, its bytes are pinned, no bytes cause a panic.

use super::*;
use crate::event::{
    AgentEvent, EndpointKind, EntityKind, EventEnvelope, EventPayload, SharedEvent,
};
use xxhash_rust::xxh3::xxh3_64;

/// Returns an event of every kind, some with everything that an envelope and a payload can have.
fn events() -> Vec<SharedEvent> {
    use EndpointKind as Endpoint;
    use EntityKind as Entity;
    use EventDeliverySemantics as Semantics;
    let entities = [
        Entity::Run,
        Entity::Turn,
        Entity::Agent,
        Entity::Session,
        Entity::Message,
        Entity::ModelAttempt,
        Entity::ToolCall,
        Entity::Approval,
        Entity::Hook,
        Entity::StreamRule,
        Entity::Process,
        Entity::Artifact,
        Entity::Other,
    ];
    let endpoints = [
        Endpoint::Runtime,
        Endpoint::Host,
        Endpoint::User,
        Endpoint::Model,
        Endpoint::Tool,
        Endpoint::Agent,
        Endpoint::Hook,
        Endpoint::Extension,
        Endpoint::Sandbox,
        Endpoint::Telemetry,
        Endpoint::Other,
    ];
    let semantics = [
        Semantics::BestEffortLive,
        Semantics::JournalBacked,
        Semantics::DerivedReplay,
        Semantics::DiagnosticOnly,
    ];
    let privacy = [
        PrivacyClass::Metadata,
        PrivacyClass::Content,
        PrivacyClass::Sensitive,
    ];
    let (trace, span) = ("0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331");
    let event = |(n, &kind): (usize, &EventKind)| {
        let mut envelope = EventEnvelope::new(format!("run-{}", n % 3), "agent", kind)
            .with_timestamp(Timestamp::from_micros(1_000_000 - n as i64 * 7))
            .with_delivery_semantics(semantics[n % 4])
            .with_privacy(privacy[n % 3]);
        if n % 2 == 0 {
            envelope = envelope
                .with_event_id("event")
                .with_session("session")
                .with_turn("turn")
                .with_message("message")
                .with_parent_event("parent")
                .with_subject((entities[n % 13], "subject"))
                .with_related((entities[(n + 5) % 13], "related"))
                .with_tag("tag")
                .with_correlation(("key", "value"))
                .with_source((endpoints[n % 11], "source"))
                .with_destination((endpoints[(n + 3) % 11], "destination"))
                .with_journal_cursor("elsewhere/1")
                .with_trace(trace, span)
                .expect("well-formed ids");
        }
        let mut event = match n % 5 {
            0 => AgentEvent::envelope_only(envelope),
            1 | 2 => AgentEvent::with_redacted_summary(envelope, "a summary"),
            _ => AgentEvent::with_content(envelope, "text/plain", *b"content \xff"),
        };
        let about = || [(entities[n % 13], "about").into()].into();
        match &mut event.payload {
            EventPayload::RedactedSummary { references, .. } if n % 2 == 0 => {
                *references = about();
            }
            EventPayload::Content(content) if n % 2 == 0 => {
                content.summary = Some("in short".into());
                content.references = about();
            }
            _ => {}
        }
        event.into()
    };
    EventKind::ALL.iter().enumerate().map(event).collect()
}

fn block(events: &[SharedEvent]) -> Block {
    let mut writer = BlockWriter::new(PrivacyClass::Sensitive);
    for (event, sequence) in events.iter().zip(7..) {
        let entry = Entry {
            sequence,
            epoch: BusEpoch::from_bits(5),
            ..Entry::published(event.view())
        };
        writer.push(&entry).unwrap();
    }
    let mut blocks = writer.finish();
    assert_eq!(blocks.len(), 1);
    blocks.remove(0)
}

fn bytes(block: &Block) -> Vec<u8> {
    let (names, records) = block.to_bytes().unwrap();
    [&names, records].concat()
}

#[test]
fn a_block_is_read_as_it_was_written() {
    let events = events();
    let block = block(&events);
    let mut reader = BlockReader::new(bytes(&block), block.header).unwrap();
    for (event, sequence) in events.iter().zip(7..) {
        let mut expected = event.to_event();
        expected.envelope.event_seq = sequence;
        expected.envelope.bus_epoch = BusEpoch::from_bits(5);
        let read = reader.next(0, KindSet::ALL, |_| true).unwrap().unwrap();
        assert_eq!(read.event, expected);
    }
    assert!(reader.next(0, KindSet::ALL, |_| true).unwrap().is_none());
}

/// Later versions must read this archive: if this fails, the form has changed. Give the form
/// another version, go on reading the earlier one, and pin both.
#[test]
fn the_bytes_are_pinned() {
    let bytes = bytes(&block(&events()));
    assert_eq!(
        (bytes.len(), xxh3_64(&bytes)),
        (13_207, 18_029_701_293_622_338_235)
    );
}

#[test]
fn no_bytes_cause_a_panic() {
    let block = block(&events());
    let whole = bytes(&block);
    for at in (0..whole.len()).step_by(29) {
        for change in [0x01, 0x80, 0xff] {
            let mut bytes = whole.clone();
            bytes[at] ^= change;
            let _ = drain(bytes, block.header);
        }
        assert!(
            drain(whole[..at].to_vec(), block.header).is_err(),
            "cut at {at}"
        );
    }
}

fn drain(bytes: Vec<u8>, header: BlockHeader) -> Result<(), AgentError> {
    let mut reader = BlockReader::new(bytes, header)?;
    while reader.next(0, KindSet::ALL, |_| true)?.is_some() {}
    Ok(())
}

#[test]
fn a_block_is_dense_and_of_one_bus() {
    let events = events();
    let mut writer = BlockWriter::new(PrivacyClass::Sensitive);
    for (epoch, sequence) in [(1, 1), (1, 2), (1, 4), (2, 5), (2, 6), (1, 7)] {
        let entry = Entry {
            sequence,
            epoch: BusEpoch::from_bits(epoch),
            ..Entry::published(events[0].view())
        };
        writer.push(&entry).unwrap();
    }
    let heads: Vec<_> = writer
        .finish()
        .iter()
        .map(|block| {
            (
                block.header.epoch.bits(),
                block.header.first_seq,
                block.header.count,
            )
        })
        .collect();
    assert_eq!(heads, [(1, 1, 2), (1, 4, 1), (2, 5, 2), (1, 7, 1)]);
}
