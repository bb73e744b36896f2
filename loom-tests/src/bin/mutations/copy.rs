//! The copy of the workspace with all mutations in it, each behind its switch.

use super::table::Mutation;
use regex::Regex;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::{fs, io};

/// The variable that says which mutation is on, by its position in the table.
pub const SWITCH: &str = "FRAMEBUS_MUTATION";

/// Stands for the switch in an edit that is not a plain replacement.
const ON: &str = "$on";

/// Matches any ASCII white space.
const SPACE: &str = r"(?-u:\s*)";

/// Appended to the copy's `sync.rs`: `mutated` returns whether a mutation is on.
const SWITCHES: &str = r#"
pub(crate) fn mutated(mutation: usize) -> bool {
    static ON: std::sync::OnceLock<usize> = std::sync::OnceLock::new();
    let on = || std::env::var("FRAMEBUS_MUTATION").map_or(usize::MAX, |it| it.parse().unwrap());
    *ON.get_or_init(on) == mutation
}
"#;

/// Looks for the edits of all mutations in the sources below `root`. Returns a line for each edit
/// that is not found exactly once.
pub fn check(root: &Path, mutations: &[&Mutation]) -> Vec<String> {
    let edits = mutations.iter().flat_map(|mutation| {
        let edits = mutation.edits.iter();
        edits.map(move |&(file, place)| locate(root, mutation, file, place, 0))
    });
    edits.filter_map(Result::err).collect()
}

/// Finds an edit of a mutation, or says which was not found.
fn locate(
    root: &Path,
    mutation: &Mutation,
    file: &str,
    place: &str,
    number: usize,
) -> Result<Edit, String> {
    find(root, file, place, number)
        .map_err(|error| format!("{}: {file}: {place}: {error}", mutation.name))
}

/// Makes or renews the copy of `root` at `to`.
pub fn make(root: &Path, to: &Path, mutations: &[&Mutation]) -> Result<(), String> {
    let mut sources = BTreeMap::new();
    for (number, mutation) in mutations.iter().enumerate() {
        for &(file, place) in mutation.edits {
            let edit = locate(root, mutation, file, place, number)?;
            sources.entry(file).or_insert_with(Vec::new).push(edit);
        }
    }
    let say = |error: io::Error| {
        format!(
            "cannot copy {} to {}: {error}",
            root.display(),
            to.display()
        )
    };
    let read = |file: &str| fs::read_to_string(root.join(file)).map_err(say);
    let mut changed = BTreeMap::new();
    for (file, edits) in sources {
        let text = apply(&read(file)?, edits).map_err(|error| format!("{file}: {error}"))?;
        changed.insert(root.join(file), text);
    }
    let sync = "src/sync.rs";
    changed.insert(root.join(sync), read(sync)? + SWITCHES);
    // The compiler may find the parentheses around a switched expression unnecessary.
    let lib = "src/lib.rs";
    let text = format!("#![allow(warnings)]\n{}", read(lib)?);
    changed.insert(root.join(lib), text);
    copy_tree(root, to, &changed).map_err(say)
}

/// A range of a source, and what replaces it while a mutation is on.
struct Edit {
    /// The first byte of the range.
    from: usize,
    /// The byte after the range.
    to: usize,
    /// The mutation, by its position in the table.
    number: usize,
    /// What replaces the range, or all that stands there if it contains [`ON`].
    with: String,
}

/// Finds `context [[old =>> new]] context` in a file. White space matches any white space.
fn find(root: &Path, file: &str, place: &str, number: usize) -> Result<Edit, String> {
    let (before, rest) = place.split_once("[[").ok_or("no [[")?;
    let (inner, after) = rest.split_once("]]").ok_or("no ]]")?;
    let (old, new) = inner.split_once("=>>").ok_or("no =>>")?;
    let text = fs::read_to_string(root.join(file)).map_err(|error| error.to_string())?;
    let (before, old, after) = (loose(before), loose(old), loose(after));
    let pattern = format!("{before}{SPACE}({old}){SPACE}{after}");
    let regex = Regex::new(&pattern).map_err(|error| error.to_string())?;
    let mut found = regex.captures_iter(&text);
    let hit = found.next().ok_or("not found")?.get(1).ok_or("no group")?;
    if found.next().is_some() {
        return Err("found more than once".into());
    }
    Ok(Edit {
        from: hit.start(),
        to: hit.end(),
        number,
        with: new.trim().to_owned(),
    })
}

/// A pattern for the words and signs of `text`, with any white space between them.
fn loose(text: &str) -> String {
    let is_word = |c: char| c.is_alphanumeric() || c == '_';
    let tokens = text.split_whitespace().flat_map(|part| {
        let chars: Vec<char> = part.chars().collect();
        let tokens = chars.chunk_by(|&a, &b| is_word(a) && is_word(b));
        tokens
            .map(|token| regex::escape(&token.iter().collect::<String>()))
            .collect::<Vec<_>>()
    });
    tokens.collect::<Vec<_>>().join(SPACE)
}

/// Returns the text with all edits in it. Edits of the same range are alternatives, but one that
/// names the switch has to stand alone.
fn apply(text: &str, mut edits: Vec<Edit>) -> Result<String, String> {
    edits.sort_by_key(|edit| (edit.from, edit.to));
    let mut out = String::new();
    let mut done = 0;
    for place in edits.chunk_by(|a, b| (a.from, a.to) == (b.from, b.to)) {
        let (from, to) = (place[0].from, place[0].to);
        if from < done {
            return Err(format!("mutations overlap at {:?}", &text[from..to]));
        }
        let old = &text[from..to];
        if place.len() > 1 && place.iter().any(|edit| edit.with.contains(ON)) {
            return Err(format!("an edit with {ON} shares {old:?} with another"));
        }
        let mut new = old.to_owned();
        for edit in place {
            let on = format!("crate::sync::mutated({})", edit.number);
            new = if edit.with.contains(ON) {
                edit.with.replace(ON, &on)
            } else {
                format!("if {on} {{ {} }} else {{ {new} }}", edit.with)
            };
        }
        // A statement stays a statement, and an edit that names the switch stays as it is written.
        // An expression is put into parentheses.
        let bare = old.ends_with([';', '}']) || place.iter().all(|edit| edit.with.contains(ON));
        out += &text[done..from];
        out += &if bare { new } else { format!("({new})") };
        done = to;
    }
    Ok(out + &text[done..])
}

/// Copies the files that are new or changed, without build products and hidden folders, and removes
/// those that are gone. A file that is in `changed` gets the text from there.
fn copy_tree(from: &Path, to: &Path, changed: &BTreeMap<PathBuf, String>) -> io::Result<()> {
    fs::create_dir_all(to)?;
    for entry in fs::read_dir(to)? {
        let (name, path) = entry.map(|entry| (entry.file_name(), entry.path()))?;
        if name != "target" && !from.join(&name).exists() {
            if path.is_dir() {
                fs::remove_dir_all(&path)?;
            } else {
                fs::remove_file(&path)?;
            }
        }
    }
    for entry in fs::read_dir(from)? {
        let entry = entry?;
        let name = entry.file_name();
        let hidden = name.to_string_lossy().starts_with('.');
        let (from, to): (PathBuf, PathBuf) = (entry.path(), to.join(&name));
        if hidden || name == "target" {
            continue;
        }
        if entry.file_type()?.is_dir() {
            copy_tree(&from, &to, changed)?;
        } else if let Some(text) = changed.get(&from) {
            write_if_new(&to, text.as_bytes())?;
        } else {
            write_if_new(&to, &fs::read(&from)?)?;
        }
    }
    Ok(())
}

fn write_if_new(path: &Path, content: &[u8]) -> io::Result<()> {
    match fs::read(path) {
        Ok(old) if old == content => Ok(()),
        _ => fs::write(path, content),
    }
}
