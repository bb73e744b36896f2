//! The archive tool as a user runs it.
