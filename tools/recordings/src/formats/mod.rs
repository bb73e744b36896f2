//! The readers, one module a format. Each turns the values of a file into steps.

pub mod claude_code;
pub mod mini_swe;
pub mod swe_agent;
pub mod tau_bench;
pub mod vercel_sse;
