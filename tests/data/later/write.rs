use framebus::{archive::*, *};
fn frame(n: u64, kind: EventKind) -> EventFrame {
    let mut envelope = EventEnvelope::new(format!("run-{}", n % 3), "agent", kind)
        .with_timestamp(Timestamp::from_micros(1_800_000_000_000_000 + n as i64 * 1_000));
    envelope.event_seq = n;
    envelope.bus_epoch = BusEpoch::from_bits(7);
    EventFrame::new(AgentEvent::with_redacted_summary(envelope, format!("frame {n}")))
}
fn main() {
    let folder = std::env::args().nth(1).unwrap();
    let archive = Archive::open(&folder, ArchiveOptions::default()).unwrap();
    let known = |n| frame(n, EventKind::RunStarted);
    // A block of 40 frames, 5 of which are of later kinds, semantics and classes.
    let mut frames: Vec<_> = (1..=40).map(known).collect();
    frames[9] = frame(10, EventKind::AgentPoolDrained);
    frames[19] = frame(20, EventKind::AgentPoolClosed);
    frames[20] = frame(21, EventKind::AgentPoolDrained);
    let change = |frame: &EventFrame, change: fn(&mut EventEnvelope)| {
        let mut event = frame.event.to_event();
        change(&mut event.envelope);
        EventFrame::new(event)
    };
    frames[29] = change(&frames[29], |envelope| envelope.privacy = PrivacyClass::Sealed);
    frames[30] = change(&frames[30], |envelope| envelope.delivery_semantics = EventDeliverySemantics::Mirrored);
    frames[31] = change(&frames[31], |envelope| {
        *envelope = envelope.clone().with_subject((EntityKind::Workspace, "w")).with_source((EndpointKind::Scheduler, "s"));
    });
    archive.append(&frames).unwrap();
    archive.compact().unwrap();
    // A block of later kinds alone.
    archive.append(&(51..=55).map(|n| frame(n, EventKind::AgentPoolDrained)).collect::<Vec<_>>()).unwrap();
    // Blocks of a later form.
    let next = frame(1000, EventKind::RunStarted);
    archive.append(&[next]).unwrap();
    archive.compact().unwrap();
    archive.append(&(1001..=2000).map(known).collect::<Vec<_>>()).unwrap();
    archive.compact().unwrap();
    // A piece of the tail, with one.
    archive.append(&[frame(2001, EventKind::RunCompleted), frame(2002, EventKind::AgentPoolClosed), frame(2003, EventKind::RunCompleted)]).unwrap();
}
