//! The one place that writes to the standard output and the standard error.
//!
//! Ids and texts come from recordings and archives, and a terminal obeys what they hold: an escape
//! sequence can clear it, retitle it or type into it, a bidirectional override can make a line read
//! as another. So every character that is not meant to be seen as itself is written as its escape,
//! whatever command writes it and whatever reads it, as the output of a pipe ends on a terminal,
//! too.

use ratatui::crossterm::terminal;
use std::fmt::{self, Display, Write as _};
use std::io::{self, ErrorKind, IsTerminal, Write};
#[cfg(any(test, feature = "archive"))]
use unicode_width::UnicodeWidthChar;

/// Prints a line to the standard output. It is no error if that is closed: its reader wants no
/// more.
pub fn line(text: impl Display) -> io::Result<()> {
    printed(writeln!(io::stdout().lock(), "{}", Visible(text)))
}

/// Prints lines of the program's own to the standard output: line feeds in them stay.
pub fn lines(text: impl Display) -> io::Result<()> {
    let text = text.to_string();
    text.split('\n').try_for_each(line)
}

/// Prints a line to the standard error, if that is open.
pub fn error(text: impl Display) {
    let _ = writeln!(io::stderr().lock(), "{}", Visible(text));
}

/// Prints lines of the program's own to the standard error, if that is open.
pub fn errors(text: impl Display) {
    text.to_string().lines().for_each(error);
}

/// Tells whether the standard output is a terminal.
pub fn is_seen() -> bool {
    io::stdout().is_terminal()
}

/// Tells whether the standard error is a terminal.
pub fn errors_are_seen() -> bool {
    io::stderr().is_terminal()
}

/// Returns how many columns a line of the standard output has: those of the terminal, and 80
/// anywhere else.
pub fn columns() -> usize {
    let size = is_seen().then(|| terminal::size().ok()).flatten();
    size.map_or(80, |(columns, _)| usize::from(columns).max(1))
}

/// Returns the standard output. What is written there is [`Visible`], or JSON that is [`ascii`]
/// where it has to be.
#[cfg(feature = "archive")]
pub fn out() -> io::StdoutLock<'static> {
    io::stdout().lock()
}

fn printed(result: io::Result<()>) -> io::Result<()> {
    match result {
        Err(error) if error.kind() == ErrorKind::BrokenPipe => Ok(()),
        printed => printed,
    }
}

/// Shows a text with its unseen characters escaped, as `\u{1b}`.
pub struct Visible<T>(pub T);

impl<T: Display> Display for Visible<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(Escaping(f), "{}", self.0)
    }
}

struct Escaping<'a, 'b>(&'a mut fmt::Formatter<'b>);

impl fmt::Write for Escaping<'_, '_> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        let mut rest = text;
        while let Some(at) = rest.find(is_unseen) {
            let unseen = rest[at..].chars().next().unwrap_or_default();
            write!(self.0, "{}{}", &rest[..at], unseen.escape_unicode())?;
            rest = &rest[at + unseen.len_utf8()..];
        }
        self.0.write_str(rest)
    }
}

/// Returns JSON with the unseen characters in its strings escaped: the same value.
pub fn json(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for char in text.chars() {
        // A line feed stands between tokens: in a string it is escaped already.
        if char == '\n' || !is_unseen(char) {
            escaped.push(char);
            continue;
        }
        for unit in char.encode_utf16(&mut [0; 2]) {
            let _ = write!(escaped, "\\u{unit:04x}");
        }
    }
    escaped
}

/// Returns the beginning of a text for one line of that many columns: white space is a blank, other
/// unseen characters are escaped, and wide ones take two columns.
#[cfg(any(test, feature = "archive"))]
pub fn clipped(text: &str, columns: usize) -> String {
    let mut clipped = String::new();
    let mut width = 0;
    for char in text.chars() {
        let shown = match char {
            '\t' | '\n' | '\r' => ' '.to_string(),
            char if is_unseen(char) => char.escape_unicode().to_string(),
            char => char.to_string(),
        };
        width += shown
            .chars()
            .filter_map(UnicodeWidthChar::width)
            .sum::<usize>();
        if width > columns {
            break;
        }
        clipped.push_str(&shown);
    }
    clipped
}

/// Tells whether a character is a control character, or one that formats those around it and has
/// no shape of its own.
fn is_unseen(char: char) -> bool {
    char.is_control()
        || matches!(char,
            '\u{ad}' | '\u{34f}' | '\u{61c}' | '\u{115f}' | '\u{1160}' | '\u{17b4}' | '\u{17b5}'
            | '\u{180b}'..='\u{180f}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}'
            | '\u{2060}'..='\u{206f}' | '\u{3164}' | '\u{feff}' | '\u{ffa0}'
            | '\u{fff0}'..='\u{fffb}' | '\u{1d173}'..='\u{1d17a}' | '\u{e0000}'..='\u{e0fff}')
}

#[cfg(test)]
mod tests {
    use super::*;

    const NASTY: &str = "a\u{1b}[2J\u{9b}31m\u{7f}\r\n\u{202e}b\u{2066}\u{200f}\u{e0041}\u{0}ü漢";

    #[test]
    fn nothing_unseen_is_left() {
        let shown = Visible(NASTY).to_string();
        assert!(!shown.chars().any(is_unseen), "{shown}");
        assert!(
            shown.starts_with(r"a\u{1b}[2J\u{9b}31m\u{7f}\u{d}\u{a}\u{202e}b"),
            "{shown}"
        );
        assert!(shown.ends_with("ü漢"), "{shown}");
        let written = serde_json::to_string_pretty(&[NASTY]).unwrap();
        let escaped = json(&written);
        assert!(
            escaped.lines().all(|line| !line.chars().any(is_unseen)),
            "{escaped}"
        );
        let read: Vec<String> = serde_json::from_str(&escaped).unwrap();
        assert_eq!(read, [NASTY]);
    }

    #[test]
    fn a_clipped_text_fits_its_columns() {
        assert_eq!(clipped("漢字漢字", 5), "漢字");
        assert_eq!(clipped("a\tb\nc\u{1b}d", 20), r"a b c\u{1b}d");
        assert_eq!(clipped("a\u{1b}", 5), "a");
        for columns in 0..40 {
            let clipped = clipped(NASTY, columns);
            assert!(unicode_width::UnicodeWidthStr::width(&*clipped) <= columns);
            assert!(!clipped.chars().any(is_unseen));
        }
    }
}
