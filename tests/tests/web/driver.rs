//! A browser, driven over WebDriver and, for what that lacks, the developer tools' protocol behind it.

use std::fs;
use std::path::Path;
use std::time::Duration;

use aquifer_tests::HarnessError;
use aquifer_tests::chromium::Chromium;
use aquifer_tests::wait::{self, Answer};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use reqwest::blocking::{Client, RequestBuilder};
use serde_json::{Value, json};

/// The name under which WebDriver passes elements.
const ELEMENT: &str = "element-6066-11e4-a52e-4f735466cecf";
const CALL_LIMIT: Duration = Duration::from_secs(60);
const PAGE_LIMIT: Duration = Duration::from_secs(30);

/// How the browser shows pages.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Look {
    /// For file names.
    pub name: &'static str,
    /// Width and height in CSS pixels.
    pub size: (u32, u32),
    /// What the media feature `prefers-color-scheme` says.
    pub scheme: &'static str,
}

/// A session with one window.
pub(crate) struct Session<'a> {
    client: Client,
    base: String,
    _browser: &'a Chromium,
}

fn failed(what: impl std::fmt::Display) -> HarnessError {
    HarnessError::Story(format!("browser: {what}"))
}

fn value_of(request: RequestBuilder) -> Result<Value, HarnessError> {
    let answer: Value = request.send().and_then(reqwest::blocking::Response::json).map_err(failed)?;
    let value = answer.get("value").cloned().unwrap_or_default();
    match value.get("error") {
        Some(error) if value.get("stacktrace").is_some() => {
            Err(failed(format!("{error}: {}", value.get("message").unwrap_or(&Value::Null))))
        }
        _ => Ok(value),
    }
}

impl<'a> Session<'a> {
    /// Opens a window.
    pub(crate) fn open(browser: &'a Chromium) -> Result<Self, HarnessError> {
        let client = Client::builder().timeout(CALL_LIMIT).no_proxy().build().map_err(failed)?;
        let wanted = json!({ "capabilities": { "alwaysMatch": browser.capabilities() } });
        let session = value_of(client.post(format!("{}/session", browser.url())).json(&wanted))?;
        let id = session.get("sessionId").and_then(Value::as_str).ok_or_else(|| failed("it gives no session"))?;
        Ok(Self { base: format!("{}/session/{id}", browser.url()), client, _browser: browser })
    }

    fn call(&self, place: &str, body: &Value) -> Result<Value, HarnessError> {
        value_of(self.client.post(format!("{}/{place}", self.base)).json(body))
    }

    fn developer(&self, command: &str, parameters: &Value) -> Result<Value, HarnessError> {
        self.call("goog/cdp/execute", &json!({ "cmd": command, "params": parameters }))
    }

    /// The value of an expression in the page.
    pub(crate) fn evaluate(&self, expression: &str) -> Result<Value, HarnessError> {
        self.call("execute/sync", &json!({ "script": format!("return {expression}"), "args": [] }))
    }

    /// Shows pages like this from now on.
    pub(crate) fn wear(&self, look: Look) -> Result<(), HarnessError> {
        let (width, height) = look.size;
        self.developer(
            "Emulation.setDeviceMetricsOverride",
            &json!({ "width": width, "height": height, "deviceScaleFactor": 1, "mobile": width < 600 }),
        )?;
        let scheme = json!({ "name": "prefers-color-scheme", "value": look.scheme });
        self.developer("Emulation.setEmulatedMedia", &json!({ "features": [scheme] })).map(drop)
    }

    /// Goes to an address, as if it was typed.
    pub(crate) fn go(&self, address: &str) -> Result<(), HarnessError> {
        self.call("url", &json!({ "url": address })).map(drop)
    }

    /// The address of the page.
    pub(crate) fn address(&self) -> Result<String, HarnessError> {
        Ok(self.evaluate("location.href")?.as_str().unwrap_or_default().to_owned())
    }

    /// The text of the page, as a person reads it.
    pub(crate) fn text(&self) -> Result<String, HarnessError> {
        Ok(self.evaluate("document.body.innerText")?.as_str().unwrap_or_default().to_owned())
    }

    fn find(&self, selector: &str) -> Result<Option<String>, HarnessError> {
        let found = self.call("elements", &json!({ "using": "css selector", "value": selector }))?;
        let first = found.as_array().and_then(|found| found.first()?.get(ELEMENT)?.as_str().map(str::to_owned));
        Ok(first)
    }

    /// Whether there is such an element.
    pub(crate) fn has(&self, selector: &str) -> Result<bool, HarnessError> {
        Ok(self.find(selector)?.is_some())
    }

    /// Clicks the first such element.
    pub(crate) fn click(&self, selector: &str) -> Result<(), HarnessError> {
        let address = self.address()?;
        let element = self.find(selector)?.ok_or_else(|| failed(format!("{address} has no {selector}")))?;
        self.call(&format!("element/{element}/click"), &json!({})).map(drop)
    }

    /// Clicks the link to a place and waits until it is there.
    pub(crate) fn follow(&self, place: &str) -> Result<(), HarnessError> {
        self.click(&format!("a[href=\"{place}\"]"))?;
        self.wait_for(place)
    }

    /// Waits until the page at a place is loaded.
    pub(crate) fn wait_for(&self, place: &str) -> Result<(), HarnessError> {
        wait::until(&format!("the page {place} is there"), PAGE_LIMIT, || {
            let state = self.evaluate("[location.pathname + location.search, document.readyState]")?;
            Ok(match state == json!([place, "complete"]) {
                true => Answer::Ready(()),
                false => Answer::NotYet(state.to_string()),
            })
        })
    }

    /// Types a text into the first such element and sends its form.
    pub(crate) fn ask(&self, selector: &str, text: &str) -> Result<(), HarnessError> {
        let element = self.find(selector)?.ok_or_else(|| failed(format!("there is no {selector}")))?;
        self.call(&format!("element/{element}/clear"), &json!({}))?;
        // U+E007 is the enter key.
        self.call(&format!("element/{element}/value"), &json!({ "text": format!("{text}\u{e007}") })).map(drop)
    }

    /// The whole page as a picture.
    pub(crate) fn picture(&self, path: &Path) -> Result<(), HarnessError> {
        let size = "({ x: 0, y: 0, width: innerWidth, height: document.documentElement.scrollHeight, scale: 1 })";
        let wanted = json!({ "captureBeyondViewport": true, "clip": self.evaluate(size)? });
        let whole = self.developer("Page.captureScreenshot", &wanted)?;
        let data = whole.get("data").and_then(Value::as_str).ok_or_else(|| failed("no picture"))?;
        let bytes = STANDARD.decode(data).map_err(failed)?;
        fs::write(path, bytes).map_err(HarnessError::file("write", path))
    }

    /// Errors and warnings of the console since the last question: failed loads, scripts, and what a policy forbade.
    pub(crate) fn complaints(&self) -> Result<Vec<String>, HarnessError> {
        let lines = self.call("se/log", &json!({ "type": "browser" }))?;
        let is_bad = |line: &&Value| !matches!(line.get("level").and_then(Value::as_str), Some("INFO" | "DEBUG"));
        Ok(lines.as_array().into_iter().flatten().filter(is_bad).map(Value::to_string).collect())
    }
}
