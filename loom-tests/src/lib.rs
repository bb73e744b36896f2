//! Models of the lock-free core under loom.
