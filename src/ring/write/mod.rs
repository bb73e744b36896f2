//! The publishers' side.

mod batch;
mod publish;
