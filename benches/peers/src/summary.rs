//! What is written of a run: the blocks of PERF.md, all tables, the plots and the results.
//!
//! A block of PERF.md lies between `<!-- bench: name -->` and `<!-- end -->`. What stands between
//! is replaced, the rest is left alone.

use crate::matrix;
use crate::plot;
use crate::record::Results;
use crate::report;
use anyhow::{Context, Result};
use std::fs;
use std::path::Path;

/// The folder of the project for plots, results and tables.
const FOLDER: &str = "docs/perf";

/// Writes all into the project.
pub fn write(results: &Results, project: &Path) -> Result<()> {
    let folder = project.join(FOLDER);
    for path in plot::draw(results, &folder)? {
        println!("{}", path.display());
    }
    results.write(&folder.join("results.jsonl"))?;
    fs::write(folder.join("tables.md"), tables(results))?;
    let path = project.join("PERF.md");
    let text = fs::read_to_string(&path).context("PERF.md cannot be read")?;
    fs::write(&path, fill(&text, &blocks(results))?)?;
    println!("{}", path.display());
    Ok(())
}

/// Every table, those over several cases first.
fn tables(results: &Results) -> String {
    let mut text = format!(
        "# All tables\n\nWritten by the benches; [PERF.md](../../PERF.md) says how to read them.\n\n\
         {}\n\n\
         ## One core: ns a frame\n\n![One core](one-core.svg)\n\n{}\n\n\
         ## Two cores: million frames/s delivered, to all subscribers together\n\n\
         ![Streams](streams.svg)\n\n![Streams of events](events.svg)\n\n{}\n\n\
         ## Latency\n\n![Latency](latency.svg)\n\n{}\n\n\
         ## The bars\n\n{}\n\
         ## Each case\n",
        machine(results),
        matrix::of_cases(results, matrix::ONE_CORE),
        matrix::of_cases(results, matrix::STREAMS),
        matrix::latency(results),
        report::bars(results),
    );
    for record in &results.records {
        text += &format!("\n{}", report::table(record));
    }
    text
}

fn blocks(results: &Results) -> [(&'static str, String); 6] {
    [
        ("machine", machine(results)),
        ("user", matrix::user(results)),
        ("user-variations", matrix::user_variations(results)),
        (
            "user-streams",
            matrix::of_cases(results, matrix::USER_STREAMS),
        ),
        ("bars", report::bars_not_met(results)),
        ("losses", report::losses(results)),
    ]
}

fn machine(results: &Results) -> String {
    let quick = results.records.iter().any(|record| record.quick);
    let provisional = match quick {
        true => " **Some figures are of a quick look: provisional.**",
        false => "",
    };
    format!("{}.{provisional}", results.machine.line())
}

/// Replaces what stands between the markers; each block has to have its place.
fn fill(text: &str, blocks: &[(&str, String)]) -> Result<String> {
    const END: &str = "<!-- end -->";
    let mut text = text.to_owned();
    for (name, block) in blocks {
        let begin = format!("<!-- bench: {name} -->");
        let missing = || format!("PERF.md lacks `{begin}` and `{END}` after it");
        let from = text.find(&begin).with_context(missing)? + begin.len();
        let to = from + text[from..].find(END).with_context(missing)?;
        text.replace_range(from..to, &format!("\n{}\n", block.trim()));
    }
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fills_its_blocks_and_nothing_else() {
        let text = "a\n<!-- bench: one -->\nold\n<!-- end -->\nb <!-- end -->\n";
        let filled = fill(text, &[("one", "new\n".into())]).unwrap();
        assert_eq!(
            filled,
            "a\n<!-- bench: one -->\nnew\n<!-- end -->\nb <!-- end -->\n"
        );
        assert_eq!(fill(&filled, &[("one", "new".into())]).unwrap(), filled);
        assert!(fill(text, &[("two", String::new())]).is_err());
    }

    #[test]
    fn perf_md_has_a_place_for_each_block() {
        let perf = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../PERF.md");
        let text = fs::read_to_string(perf).unwrap();
        fill(&text, &blocks(&Results::default())).unwrap();
        let lines = text.lines().count();
        assert!(
            lines <= 200,
            "PERF.md has {lines} lines, at most 200 are read"
        );
    }
}
