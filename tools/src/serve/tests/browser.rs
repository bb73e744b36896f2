//! A headless Chromium, driven by its DevTools protocol: open a page, ask it something.

use serde_json::{Value, json};
use std::io::{BufRead, BufReader, Write};
use std::net::TcpStream;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use tungstenite::stream::MaybeTlsStream;
use tungstenite::{Message, WebSocket};

const NAMES: [&str; 5] = [
    "chromium",
    "chromium-browser",
    "google-chrome",
    "google-chrome-stable",
    "chrome",
];

/// Ends with its process; its profile goes with it.
pub struct Browser {
    process: Child,
    profile: PathBuf,
    socket: WebSocket<MaybeTlsStream<TcpStream>>,
    session: Value,
    calls: u64,
}

/// The program that the variable `CHROMIUM` names, or one of the usual ones.
fn program() -> Option<PathBuf> {
    if let Some(named) = std::env::var_os("CHROMIUM") {
        return Some(named.into());
    }
    let path = std::env::var_os("PATH")?;
    let places = std::env::split_paths(&path).flat_map(|dir| NAMES.map(|name| dir.join(name)));
    places.into_iter().find(|place| place.is_file())
}

/// Says past the test's capture that the page is not tested here.
fn not_run() {
    let cry = b"\n!!!! NOT RUN: the web page in a browser, there is no Chromium here !!!!\n\n";
    let _ = std::io::stderr().write_all(cry);
}

impl Browser {
    /// Opens a page. `None`, and a cry past the test's capture, when there is no Chromium.
    pub fn open(url: &str) -> Option<Self> {
        let Some(program) = program() else {
            not_run();
            return None;
        };
        let unique = format!(
            "framebus-{}-{:?}",
            std::process::id(),
            std::thread::current().id()
        );
        let profile = std::env::temp_dir().join(unique);
        let mut process = Command::new(&program)
            .args([
                "--headless=new",
                "--no-sandbox",
                "--disable-gpu",
                "--no-first-run",
            ])
            .args(["--disable-dev-shm-usage", "--remote-debugging-port=0"])
            .arg(format!("--user-data-dir={}", profile.display()))
            .arg("about:blank")
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap_or_else(|error| panic!("{}: {error}", program.display()));
        let mut said = BufReader::new(process.stderr.take().unwrap()).lines();
        let address = said
            .by_ref()
            .map_while(Result::ok)
            .find_map(|line| Some(line.split_once("DevTools listening on ")?.1.to_owned()))
            .expect("Chromium says where it listens");
        // It must not block on what nobody reads.
        std::thread::spawn(move || said.for_each(drop));
        let (socket, _) = tungstenite::connect(address.trim()).unwrap();
        let mut browser = Browser {
            process,
            profile,
            socket,
            session: Value::Null,
            calls: 0,
        };
        let page = browser.call("Target.createTarget", json!({ "url": url }));
        let target = json!({ "targetId": page["targetId"], "flatten": true });
        browser.session = browser.call("Target.attachToTarget", target)["sessionId"].clone();
        Some(browser)
    }

    /// What an expression comes to on the page, once its promise is kept.
    pub fn ask(&mut self, expression: &str) -> Value {
        let arguments =
            json!({ "expression": expression, "returnByValue": true, "awaitPromise": true });
        let answer = self.call("Runtime.evaluate", arguments);
        assert_eq!(answer.get("exceptionDetails"), None, "{expression}");
        answer["result"]["value"].clone()
    }

    /// Has the page this wide and high, in pixels.
    pub fn resize(&mut self, width: u32, height: u32) {
        let size = json!({
            "width": width, "height": height, "deviceScaleFactor": 1, "mobile": false,
        });
        self.call("Emulation.setDeviceMetricsOverride", size);
    }

    /// Has the system say something of what its user prefers, such as dark colours.
    pub fn prefer(&mut self, feature: &str, value: &str) {
        let features = json!({ "features": [{ "name": feature, "value": value }] });
        self.call("Emulation.setEmulatedMedia", features);
    }

    /// Presses a key, such as `ArrowDown` or `/`.
    pub fn press(&mut self, key: &str) {
        let code = match key {
            "Tab" => 9,
            "Enter" => 13,
            "Escape" => 27,
            "End" => 35,
            "Home" => 36,
            "ArrowLeft" => 37,
            "ArrowUp" => 38,
            "ArrowRight" => 39,
            "ArrowDown" => 40,
            _ => 0,
        };
        let mut event = json!({ "type": "keyDown", "key": key, "windowsVirtualKeyCode": code });
        if key.chars().count() == 1 {
            event["text"] = key.into();
        }
        self.call("Input.dispatchKeyEvent", event.clone());
        event["type"] = "keyUp".into();
        self.call("Input.dispatchKeyEvent", event);
    }

    /// How often the browser did what this name stands for, such as `LayoutCount`.
    pub fn count(&mut self, name: &str) -> u64 {
        self.call("Performance.enable", json!({}));
        let metrics = self.call("Performance.getMetrics", json!({}));
        let metrics = metrics["metrics"].as_array().unwrap();
        let found = metrics.iter().find(|metric| metric["name"] == name);
        found.unwrap()["value"].as_f64().unwrap() as u64
    }

    fn call(&mut self, method: &str, params: Value) -> Value {
        self.calls += 1;
        let mut request = json!({ "id": self.calls, "method": method, "params": params });
        if self.session.is_string() {
            request["sessionId"] = self.session.clone();
        }
        self.socket
            .send(Message::text(request.to_string()))
            .unwrap();
        loop {
            let answer = self.socket.read().unwrap();
            let Ok(text) = answer.to_text() else { continue };
            let Ok(answer) = serde_json::from_str::<Value>(text) else {
                continue;
            };
            if answer["id"] == self.calls {
                assert_eq!(answer.get("error"), None, "{method}");
                return answer["result"].clone();
            }
        }
    }
}

impl Drop for Browser {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
        let _ = std::fs::remove_dir_all(&self.profile);
    }
}
