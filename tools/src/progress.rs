//! Progress on a terminal, and nothing anywhere else.

use crate::output;
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use std::time::Duration;

/// Returns a bar of that length, hidden unless the standard error is a terminal.
pub fn bar(length: u64, template: &str) -> ProgressBar {
    styled(Some(length), template)
}

/// Returns a spinner that turns by itself, hidden unless the standard error is a terminal.
pub fn spinner(template: &str) -> ProgressBar {
    let spinner = styled(None, template);
    spinner.enable_steady_tick(Duration::from_millis(100));
    spinner
}

fn styled(length: Option<u64>, template: &str) -> ProgressBar {
    let target = if output::errors_are_seen() {
        ProgressDrawTarget::stderr()
    } else {
        ProgressDrawTarget::hidden()
    };
    let bar = ProgressBar::with_draw_target(length, target);
    match ProgressStyle::with_template(template) {
        Ok(style) => bar.with_style(style),
        Err(_) => bar,
    }
}
