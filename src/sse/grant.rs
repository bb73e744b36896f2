//! What a host lets a request see, and how a request is limited to it.
//!
//! Nothing is granted by default. What a request asks for by name must be within the grant;
//! otherwise the request is refused, since an empty stream would look like a quiet bus. A field
//! that the request leaves open is narrowed to the grant. Every other field of the granted filter
//! stays as it is.

use super::refusal::Refusal;
use super::request::Query;
use crate::event::{EventFilter, PayloadAccessMode};

/// What a request may see: nothing by default; without
/// [`with_payload`](Self::with_payload), envelopes only.
#[derive(Clone, Debug, Default)]
#[must_use = "a grant counts when the feed's `access` returns it"]
pub struct FeedGrant {
    /// `None` grants nothing.
    filter: Option<EventFilter>,
}

impl FeedGrant {
    /// Grants nothing: the request is answered 403.
    pub fn nothing() -> Self {
        FeedGrant::default()
    }

    /// Grants the envelopes of the events that the filter lets through; the default filter lets all
    /// of them through. The filter's own payload access and queue are not used.
    pub fn to(filter: EventFilter) -> Self {
        FeedGrant {
            filter: Some(EventFilter {
                payload_access: PayloadAccessMode::EnvelopeOnly,
                ..filter
            }),
        }
    }

    /// Grants this access to payloads.
    pub fn with_payload(mut self, access: PayloadAccessMode) -> Self {
        if let Some(filter) = &mut self.filter {
            filter.payload_access = access;
        }
        self
    }

    /// Returns the filter of the part of the grant that the request asks for.
    ///
    /// # Errors
    /// If the request asks by name for what is not granted.
    pub(super) fn narrow(&self, query: &Query) -> Result<EventFilter, Refusal> {
        let mut filter = self.filter.clone().ok_or(Refusal::NothingGranted)?;
        let kinds = filter.clone().compile()?.kinds();
        if let Some(kind) = query.kinds.iter().find(|&&kind| !kinds.contains(kind)) {
            return Err(Refusal::NotGranted("kind", kind.to_string()));
        }
        if !query.kinds.is_empty() {
            filter.kinds.clone_from(&query.kinds);
        }
        narrow("run", &mut filter.run_ids, &query.runs)?;
        narrow("agent", &mut filter.agent_ids, &query.agents)?;
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

    fn query(runs: &[&str], kinds: &[EventKind]) -> Query {
        Query {
            runs: runs.iter().map(|&run| run.into()).collect(),
            kinds: kinds.to_vec(),
            ..Query::default()
        }
    }

    #[test]
    fn nothing_is_granted_by_default() {
        let refused = FeedGrant::default().narrow(&query(&[], &[]));
        assert!(matches!(refused, Err(Refusal::NothingGranted)));
    }

    #[test]
    fn an_open_field_is_narrowed_and_a_named_value_must_be_granted() {
        let grant = || {
            FeedGrant::to(EventFilter {
                run_ids: vec!["a".into(), "b".into()],
                tags: vec!["shared".into()],
                terminal_only: true,
                ..EventFilter::default()
            })
        };
        let open = grant().narrow(&query(&[], &[])).unwrap();
        assert_eq!(open.run_ids, ["a".into(), "b".into()]);
        assert_eq!(open.payload_access, PayloadAccessMode::EnvelopeOnly);
        let named = grant()
            .narrow(&query(&["b"], &[EventKind::RunFailed]))
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
            let refused = grant().narrow(&query(runs, kinds));
            assert!(
                matches!(refused, Err(Refusal::NotGranted(..))),
                "{refused:?}"
            );
        }
    }
}
