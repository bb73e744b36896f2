//! The ids that a field of a filter accepts, found by hash.
//!
//! The ids are sorted by the hash that each holds, so a search takes O(log n) steps in one array of
//! hashes. Ids whose texts differ may share a hash: they stand side by side, and each of them is
//! compared exactly. So an id is found if and only if an equal one was listed.

use super::id::{AgentId, EntityId, EventTag, RunId, SessionId, TurnId};

/// A value that holds its hash.
pub(super) trait Hashed {
    /// Returns the hash. Equal values have equal hashes.
    fn hash(&self) -> u64;
}

macro_rules! hashed {
    ($($id:ident)*) => {$(
        impl Hashed for $id {
            #[inline(always)]
            fn hash(&self) -> u64 {
                self.hash64()
            }
        }
    )*};
}

hashed! { RunId AgentId SessionId TurnId EventTag EntityId }

/// The ids that one field of a filter accepts. If empty, the field accepts every event.
#[derive(Clone, Debug)]
pub(super) struct Wanted<T> {
    /// Ascending. `hashes[i]` is that of `ids[i]`.
    hashes: Box<[u64]>,
    /// Sorted by hash, each once.
    ids: Box<[T]>,
}

impl<T: Clone + Ord + Hashed> Wanted<T> {
    /// These ids, each once.
    pub(super) fn new(list: &[T]) -> Self {
        let mut ids = list.to_vec();
        ids.sort_unstable_by(|a, b| (a.hash(), a).cmp(&(b.hash(), b)));
        ids.dedup();
        Wanted {
            hashes: ids.iter().map(T::hash).collect(),
            ids: ids.into_boxed_slice(),
        }
    }

    /// Returns whether the field accepts every event.
    #[inline(always)]
    pub(super) fn is_empty(&self) -> bool {
        self.hashes.is_empty()
    }

    /// Returns whether a field with this id is wanted. O(log n).
    #[inline(always)]
    pub(super) fn allows(&self, id: &T) -> bool {
        self.is_empty() || self.contains(id)
    }

    /// Returns whether a field that has this id, if any, is wanted.
    pub(super) fn allows_one(&self, found: Option<&T>) -> bool {
        self.is_empty() || found.is_some_and(|id| self.contains(id))
    }

    /// Returns whether a field that has these ids is wanted: any of them is enough.
    pub(super) fn allows_any<'a>(&self, mut found: impl Iterator<Item = &'a T>) -> bool
    where
        T: 'a,
    {
        self.is_empty() || found.any(|id| self.contains(id))
    }

    #[inline]
    fn contains(&self, id: &T) -> bool {
        let hash = id.hash();
        // A filter of one run has one id: it is compared without a search.
        if let ([only], [own]) = (&*self.hashes, &*self.ids) {
            return *only == hash && own == id;
        }
        let first = self.hashes.partition_point(|&own| own < hash);
        let alike = self.hashes.iter().zip(&self.ids).skip(first);
        alike
            .take_while(|&(&own, _)| own == hash)
            .any(|(_, own)| own == id)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A value whose hash, shared by a third of all values, decides nothing alone.
    #[derive(Clone, PartialEq, Eq, PartialOrd, Ord)]
    struct Value(u32);

    impl Hashed for Value {
        fn hash(&self) -> u64 {
            u64::from(self.0 % 3)
        }
    }

    fn wanted(numbers: &[u32]) -> Wanted<Value> {
        let numbers: Vec<_> = numbers.iter().copied().map(Value).collect();
        Wanted::new(&numbers)
    }

    #[test]
    fn an_id_is_found_if_and_only_if_it_was_listed() {
        let listed = [9, 4, 1, 4, 7, 13];
        let wanted = wanted(&listed);
        for id in 0..20 {
            assert_eq!(wanted.allows(&Value(id)), listed.contains(&id), "{id}");
        }
        assert!(wanted.allows_any([Value(2), Value(7)].iter()));
        assert!(!wanted.allows_any([Value(2), Value(5)].iter()));
        assert!(wanted.allows_one(Some(&Value(13))) && !wanted.allows_one(None));
    }

    #[test]
    fn one_id_is_compared_exactly() {
        let wanted = wanted(&[7, 7]);
        assert!(wanted.allows(&Value(7)));
        assert!(!wanted.allows(&Value(4)) && !wanted.allows(&Value(8)));
    }

    #[test]
    fn an_empty_field_accepts_every_event() {
        let wanted = wanted(&[]);
        assert!(wanted.allows(&Value(1)) && wanted.allows_one(None));
        assert!(wanted.allows_any([].iter()));
    }
}
