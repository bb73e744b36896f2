//! How the page looks and is used: widths, colours, keys, and what assistive technology is told.

use super::{Browser, DRAWN, Server, envelope, frame, open, publish, rows, saying, until};
use framebus::{EntityKind, EventFrame, EventKind, InMemoryAgentEventBus};

/// A page with something of everything, one run of it chosen.
fn page() -> Option<(InMemoryAgentEventBus, Server, Browser)> {
    let bus = InMemoryAgentEventBus::default();
    let server = Server::start(&bus);
    let long = "a-very-long-name/".repeat(40);
    for run in ["run-1", "run-2", &long] {
        publish(&bus, frame(run, EventKind::RunStarted));
        publish(
            &bus,
            saying(envelope(run, EventKind::MessageAccepted), "A question."),
        );
        let delta = || envelope(run, EventKind::ModelStreamDelta);
        publish(&bus, saying(delta().with_tag("reasoning"), "Thinking."));
        publish(&bus, saying(delta(), &"Unbroken".repeat(100)));
        for (id, end) in [
            ("a", EventKind::ToolCompleted),
            ("b", EventKind::ToolFailed),
            ("c", EventKind::ToolDenied),
            ("d", EventKind::ToolRecoveryRequired),
        ] {
            let recovers = end == EventKind::ToolRecoveryRequired;
            if recovers && run != "run-1" {
                continue;
            }
            for kind in [EventKind::ToolStarted, end] {
                let call = envelope(run, kind).with_subject((EntityKind::ToolCall, id));
                publish(&bus, saying(call, "grep"));
            }
        }
        for &kind in EventKind::ALL
            .iter()
            .filter(|kind| kind.as_str().starts_with("Hook"))
        {
            publish(&bus, frame(run, kind));
        }
    }
    let child = envelope("run-1", EventKind::SubagentStarted);
    let child = child.with_subject((EntityKind::Run, "run-2"));
    publish(
        &bus,
        EventFrame::new(framebus::AgentEvent::envelope_only(child)),
    );
    publish(&bus, frame("run-2", EventKind::RunFailed));
    let mut browser = open(server.address)?;
    browser.shows_frames(bus.last_sequence());
    Some((bus, server, browser))
}

/// Returns each text in sight whose contrast with what is behind it is less than 4.5 to 1.
const FAINT: &str = "(() => {
    const canvas = document.createElement('canvas').getContext('2d', { willReadFrequently: true });
    const channels = color => {
        canvas.clearRect(0, 0, 1, 1);
        canvas.fillStyle = color;
        canvas.fillRect(0, 0, 1, 1);
        return canvas.getImageData(0, 0, 1, 1).data;
    };
    const light = ([...rgb]) => rgb.slice(0, 3).map(value => value / 255)
        .map(value => value <= .03928 ? value / 12.92 : ((value + .055) / 1.055) ** 2.4)
        .reduce((sum, value, at) => sum + value * [.2126, .7152, .0722][at], 0);
    const behind = element => {
        for (let at = element; at; at = at.parentElement) {
            const found = channels(getComputedStyle(at).backgroundColor);
            if (found[3] === 255) return found;
        }
        return [255, 255, 255];
    };
    const faint = [];
    let looked = 0;
    for (const element of document.querySelectorAll('body *')) {
        const text = [...element.childNodes].some(node => node.nodeType === 3 && node.data.trim());
        if (!text || !element.checkVisibility({ visibilityProperty: true })) continue;
        looked += 1;
        const [one, other] = [light(channels(getComputedStyle(element).color)),
            light(behind(element))];
        const contrast = (Math.max(one, other) + .05) / (Math.min(one, other) + .05);
        if (contrast < 4.5) faint.push(`${element.className || element.id} ${contrast.toFixed(2)}`);
    }
    return looked < 40 ? [`only ${looked} texts`] : [...new Set(faint)];
})()";

#[test]
fn every_text_has_contrast_in_light_and_in_dark_by_the_system_and_by_the_switch() {
    let Some((_bus, _server, mut browser)) = page() else {
        return;
    };
    browser.choose("run-1");
    let ground = "getComputedStyle(document.body).backgroundColor";
    browser.prefer("prefers-color-scheme", "light");
    assert_eq!(browser.ask(FAINT), serde_json::json!([]), "light");
    let light = browser.ask(ground);
    browser.prefer("prefers-color-scheme", "dark");
    assert_eq!(browser.ask(FAINT), serde_json::json!([]), "dark");
    let dark = browser.ask(ground);
    assert_ne!(light, dark);
    // The switch has the last word, and is remembered.
    let switch = "document.getElementById('theme').click(), document.documentElement.dataset.theme";
    assert_eq!(browser.ask(switch), "light");
    assert_eq!(browser.ask(ground), light);
    browser.ask("location.reload()");
    until("the page again", || {
        browser.ask("document.documentElement?.dataset.theme") == "light"
            && browser.ask("document.readyState") == "complete"
    });
    assert_eq!(browser.ask(ground), light);
    assert_eq!(browser.ask(switch), "dark");
    assert_eq!(browser.ask(switch), "system");
}

#[test]
fn nothing_is_wider_than_the_page_at_1280_and_at_390_pixels() {
    let Some((_bus, _server, mut browser)) = page() else {
        return;
    };
    let wide = "[document.documentElement, ...document.querySelectorAll('nav, main, header')]
        .filter(it => it.scrollWidth > it.clientWidth).map(it => it.localName)";
    for width in [1280, 390] {
        browser.resize(width, 844);
        browser.ask("history.state && history.back()");
        browser.ask(DRAWN);
        for run in ["run-1", "a-very-long-name"] {
            browser.choose(run);
            assert_eq!(browser.ask(wide), serde_json::json!([]), "{width}, {run}");
        }
    }
    // On a small screen the run takes the list's place, and the way back leads to the list.
    let shown = "getComputedStyle(document.getElementById('detail')).display";
    assert_eq!(browser.ask(shown), "block");
    browser.ask("document.getElementById('back').click()");
    until("the list", || browser.ask(shown) == "none");
}

#[test]
fn keys_alone_lead_through_the_page() {
    let Some((_bus, _server, mut browser)) = page() else {
        return;
    };
    let chosen = |browser: &mut Browser| {
        browser.ask(DRAWN);
        browser.ask("document.querySelector('[aria-selected=true] .id')?.textContent ?? ''")
    };
    browser.press("Home");
    assert!(
        chosen(&mut browser)
            .as_str()
            .unwrap()
            .starts_with("a-very-long-name")
    );
    browser.press("ArrowDown");
    assert_eq!(chosen(&mut browser), "run-1");
    // Hidden and shown again, then into the sub-agent and back to what is above it.
    browser.press("ArrowLeft");
    browser.ask(DRAWN);
    assert_eq!(rows(&mut browser).len(), 2);
    browser.press("ArrowRight");
    browser.ask(DRAWN);
    assert_eq!(rows(&mut browser).len(), 3);
    browser.press("ArrowRight");
    assert_eq!(chosen(&mut browser), "run-2");
    browser.press("ArrowLeft");
    assert_eq!(chosen(&mut browser), "run-1");
    // The list tells assistive technology which row is meant, and the row what it is.
    browser.ask("document.getElementById('list').focus()");
    browser.press("Home");
    browser.ask(DRAWN);
    let active = "document.getElementById(document.activeElement
        .getAttribute('aria-activedescendant')).getAttribute('aria-selected')";
    assert_eq!(browser.ask(active), "true");
    browser.press("/");
    let focus = "document.activeElement.id";
    assert_eq!(browser.ask(focus), "filter");
    for key in ["f", "a", "i", "l"] {
        browser.press(key);
    }
    // What failed, and the run that it belongs to.
    until("the filter", || rows(&mut browser).len() == 2);
    browser.press("Escape");
    until("all runs", || rows(&mut browser).len() == 3);
    assert_eq!(browser.ask(focus), "list");
    browser.press("?");
    assert_eq!(browser.ask("document.getElementById('help').open"), true);
    browser.press("Escape");
    assert_eq!(browser.ask("document.getElementById('help').open"), false);
}

#[test]
fn everything_that_can_be_used_has_a_name_a_role_and_a_visible_focus() {
    let Some((_bus, _server, mut browser)) = page() else {
        return;
    };
    browser.choose("run-1");
    let nameless = "[...document.querySelectorAll('button, input, [role=tree], main, nav, dialog')]
        .filter(it => !(it.getAttribute('aria-label') || it.getAttribute('aria-labelledby')
            || it.textContent.trim())).map(it => it.id)";
    assert_eq!(browser.ask(nameless), serde_json::json!([]));
    let wrong = "[...document.querySelectorAll('.row:not([hidden])')].filter(row =>
        row.getAttribute('role') !== 'treeitem' || row.parentElement.parentElement.id !== 'list'
        || !['level', 'posinset', 'setsize', 'selected'].every(name =>
            row.hasAttribute(`aria-${name}`))).length";
    assert_eq!(browser.ask(wrong), 0);
    // Walks over all that takes the focus; each shows that it has it.
    let mut stops = 0;
    for _ in 0..40 {
        browser.press("Tab");
        let seen = browser.ask(
            "(it => it === document.body ? 'body' : [it, it.parentElement].some(it =>
                getComputedStyle(it).outlineStyle !== 'none') || it.id)(document.activeElement)",
        );
        if seen == "body" {
            break;
        }
        assert_eq!(seen, true);
        stops += 1;
    }
    assert!(stops > 10, "{stops}");
    // Nothing moves where that is not wanted.
    let moving = "document.getAnimations().length";
    browser.prefer("prefers-reduced-motion", "reduce");
    assert_eq!(browser.ask(moving), 0);
    browser.prefer("prefers-reduced-motion", "no-preference");
    assert_ne!(browser.ask(moving), 0);
}
