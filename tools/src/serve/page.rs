//! The page: files that are part of the program, and what it knows of each kind of event.
//!
//! Nothing is loaded from elsewhere, and the browser is told so. It also refuses to make HTML of a
//! text (`require-trusted-types-for`), which no script here does.

use super::tone;
use axum::Router;
use axum::http::header::{CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE};
use axum::http::header::{REFERRER_POLICY, X_CONTENT_TYPE_OPTIONS};
use axum::response::IntoResponse;
use axum::routing::get;
use std::sync::LazyLock;

const HTML: &str = "text/html; charset=utf-8";
const CSS: &str = "text/css; charset=utf-8";
const JS: &str = "text/javascript; charset=utf-8";

/// Each file: its path, its media type, its text.
const FILES: [(&str, &str, &str); 12] = [
    ("/", HTML, include_str!("page/index.html")),
    ("/page/look.css", CSS, include_str!("page/look.css")),
    ("/page/runs.css", CSS, include_str!("page/runs.css")),
    ("/page/theme.js", JS, include_str!("page/theme.js")),
    ("/page/main.js", JS, include_str!("page/main.js")),
    ("/page/follow.js", JS, include_str!("page/follow.js")),
    ("/page/model.js", JS, include_str!("page/model.js")),
    ("/page/run.js", JS, include_str!("page/run.js")),
    ("/page/words.js", JS, include_str!("page/words.js")),
    ("/page/dom.js", JS, include_str!("page/dom.js")),
    ("/page/tree.js", JS, include_str!("page/tree.js")),
    ("/page/detail.js", JS, include_str!("page/detail.js")),
];

/// What the page knows of each kind, as a script.
static KINDS: LazyLock<String> =
    LazyLock::new(|| format!("export default {};", serde_json::Value::from(tone::kinds())));

/// What the page may load and do.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src data:; \
                      connect-src 'self'; base-uri 'none'; form-action 'none'; \
                      frame-ancestors 'none'; require-trusted-types-for 'script'";

/// The routes `/` and `/page/...`.
pub fn router() -> Router {
    FILES
        .into_iter()
        .chain([("/page/kinds.js", JS, KINDS.as_str())])
        .fold(Router::new(), |router, (path, media_type, text)| {
            router.route(path, get(move || async move { file(media_type, text) }))
        })
}

fn file(media_type: &'static str, text: &'static str) -> impl IntoResponse {
    let headers = [
        (CONTENT_TYPE, media_type),
        (CONTENT_SECURITY_POLICY, POLICY),
        (X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (REFERRER_POLICY, "no-referrer"),
        // A new version of the program is a new page.
        (CACHE_CONTROL, "no-cache"),
    ];
    (headers, text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_script_can_make_a_document_of_a_text_or_run_one() {
        let ways = [
            "innerHTML",
            "outerHTML",
            "insertAdjacentHTML",
            "setHTML",
            "createContextualFragment",
            "parseFromString",
            "document.write",
            "srcdoc",
            "eval(",
            "Function(",
        ];
        for (path, _, text) in FILES {
            for way in ways {
                assert!(!text.contains(way), "{way} in {path}");
            }
        }
    }

    #[test]
    fn nothing_is_loaded_from_elsewhere_and_no_part_is_over_500_lines() {
        for (path, _, text) in FILES {
            // The name of SVG's vocabulary is no address.
            let text = text.replace("http://www.w3.org/2000/svg", "");
            assert!(!text.contains("//cdn") && !text.contains("http"), "{path}");
            assert!(text.lines().count() < 500, "{path}");
        }
    }

    #[test]
    fn the_reconnecting_code_is_ten_lines_that_need_nothing_else() {
        let (_, _, text) = FILES
            .iter()
            .find(|(path, ..)| path.ends_with("follow.js"))
            .unwrap();
        let lines: Vec<_> = text
            .lines()
            .skip_while(|line| !line.starts_with("// Ten lines"))
            .skip(1)
            .take_while(|line| !line.starts_with("// To here"))
            .collect();
        assert!((1..=10).contains(&lines.len()), "{lines:?}");
        assert!(!text.contains("import"));
        let documented = include_str!("../../../docs/web-feed.md");
        let lines = lines.join("\n").replace("export ", "");
        assert!(documented.contains(&lines), "docs/web-feed.md has them");
    }
}
