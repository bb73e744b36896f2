//! What a host lets a request see, and how a request's wish is held to it.
//!
//! Nothing is granted by default. What a request asks for by name must be within the grant, else
//! it is refused: an empty stream would look like a quiet bus. What it leaves open is narrowed to
//! the grant. Every other field of the granted filter stays as it is.

use super::refusal::Refusal;
use super::request::Wish;
use crate::event::{EventFilter, PayloadAccessMode};

/// What a request may see: nothing by default, envelopes only unless said otherwise.
#[derive(Clone, Debug, Default)]
#[must_use = "a grant counts when the feed's `access` returns it"]
pub struct FeedGrant {
    filter: Option<EventFilter>,
}

impl FeedGrant {
    /// Nothing: the request is answered 403.
    pub fn nothing() -> Self {
        FeedGrant::default()
    }

    /// Returns the envelopes of the events that the filter lets through; the default filter is for
    /// all of them. The filter's own payload access and queue are not used.
    pub fn to(filter: EventFilter) -> Self {
        FeedGrant {
            filter: Some(EventFilter {
                payload_access: PayloadAccessMode::EnvelopeOnly,
                ..filter
            }),
        }
    }

    /// With so much of the payloads.
    pub fn with_payload(mut self, access: PayloadAccessMode) -> Self {
        if let Some(filter) = &mut self.filter {
            filter.payload_access = access;
        }
        self
    }

    /// Returns what of the grant was asked for.
    pub(super) fn narrow(self, wish: &Wish) -> Result<EventFilter, Refusal> {
        let mut filter = self.filter.ok_or(Refusal::NothingGranted)?;
        let kinds = filter.clone().compile()?.kinds();
        if let Some(kind) = wish.kinds.iter().find(|&&kind| !kinds.contains(kind)) {
            return Err(Refusal::NotGranted("kind", kind.to_string()));
        }
        if !wish.kinds.is_empty() {
            filter.kinds.clone_from(&wish.kinds);
        }
        narrow("run", &mut filter.run_ids, &wish.runs)?;
        narrow("agent", &mut filter.agent_ids, &wish.agents)?;
        Ok(filter)
    }
}

/// Narrows a granted list to the wanted one. An empty list is for everything.
fn narrow<T: Clone + PartialEq + ToString>(
    field: &'static str,
    granted: &mut Vec<T>,
    wanted: &[T],
) -> Result<(), Refusal> {
    if wanted.is_empty() {
        return Ok(());
    }
    let within = |id: &&T| granted.is_empty() || granted.contains(id);
    if let Some(id) = wanted.iter().find(|id| !within(id)) {
        return Err(Refusal::NotGranted(field, id.to_string()));
    }
    *granted = wanted.to_vec();
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::EventKind;

    fn wish(runs: &[&str], kinds: &[EventKind]) -> Wish {
        Wish {
            runs: runs.iter().map(|&run| run.into()).collect(),
            kinds: kinds.to_vec(),
            ..Wish::default()
        }
    }

    #[test]
    fn nothing_is_granted_by_default() {
        let refused = FeedGrant::default().narrow(&wish(&[], &[]));
        assert!(matches!(refused, Err(Refusal::NothingGranted)));
    }

    #[test]
    fn what_is_left_open_is_narrowed_and_what_is_named_must_be_granted() {
        let grant = || {
            FeedGrant::to(EventFilter {
                run_ids: vec!["a".into(), "b".into()],
                tags: vec!["shared".into()],
                terminal_only: true,
                ..EventFilter::default()
            })
        };
        let open = grant().narrow(&wish(&[], &[])).unwrap();
        assert_eq!(open.run_ids, ["a".into(), "b".into()]);
        assert_eq!(open.payload_access, PayloadAccessMode::EnvelopeOnly);
        let named = grant()
            .narrow(&wish(&["b"], &[EventKind::RunFailed]))
            .unwrap();
        assert_eq!(
            (named.run_ids, named.kinds),
            (vec!["b".into()], vec![EventKind::RunFailed])
        );
        assert_eq!(
            (named.tags, named.terminal_only),
            (vec!["shared".into()], true)
        );
        for (runs, kinds) in [(&["b", "c"][..], &[][..]), (&[], &[EventKind::RunStarted])] {
            let refused = grant().narrow(&wish(runs, kinds));
            assert!(
                matches!(refused, Err(Refusal::NotGranted(..))),
                "{refused:?}"
            );
        }
    }
}
