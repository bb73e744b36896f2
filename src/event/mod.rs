//! The vocabulary: events, envelopes, cursors, filters, notices. No threads here.
