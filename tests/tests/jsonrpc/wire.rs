//! A caller that sees every byte of an answer.

use std::collections::BTreeMap;
use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::time::Duration;

use aquifer_tests::HarnessError;
use serde_json::{Value, json};

const LIMIT: Duration = Duration::from_secs(120);

/// A member's JSON-RPC.
pub(crate) struct Caller {
    pub(crate) address: SocketAddr,
    pub(crate) cookie: PathBuf,
    login: String,
}

/// An answer.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status_line: String,
    pub(crate) headers: BTreeMap<String, String>,
    pub(crate) body: String,
}

impl Answer {
    pub(crate) fn status(&self) -> u16 {
        self.status_line.split(' ').nth(1).unwrap().parse().unwrap()
    }

    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }
}

fn failed(error: &dyn std::fmt::Display) -> HarnessError {
    HarnessError::Story(format!("JSON-RPC: {error}"))
}

impl Caller {
    pub(crate) fn new(address: SocketAddr, cookie: &Path) -> Result<Self, HarnessError> {
        let login = std::fs::read_to_string(cookie).map_err(HarnessError::file("read", cookie))?;
        Ok(Self { address, cookie: cookie.to_owned(), login })
    }

    /// The value of the header that logs in.
    pub(crate) fn authorization(&self) -> String {
        format!("Basic {}", base64(self.login.as_bytes()))
    }

    /// Sends bytes as they are and reads one answer, which must say how long it is.
    pub(crate) fn exchange(&self, request: &[u8]) -> Result<Answer, HarnessError> {
        let mut stream = TcpStream::connect(self.address).map_err(|error| failed(&error))?;
        stream.set_read_timeout(Some(LIMIT)).map_err(|error| failed(&error))?;
        stream.write_all(request).map_err(|error| failed(&error))?;
        let mut bytes = Vec::new();
        let head_end = loop {
            if let Some(end) = bytes.windows(4).position(|window| window == b"\r\n\r\n") {
                break end;
            }
            let mut chunk = [0; 4_096];
            match stream.read(&mut chunk).map_err(|error| failed(&error))? {
                0 => return Err(failed(&format!("the answer ends early: {}", String::from_utf8_lossy(&bytes)))),
                count => bytes.extend_from_slice(&chunk[..count]),
            }
        };
        let head = String::from_utf8(bytes[..head_end].to_vec()).map_err(|error| failed(&error))?;
        let mut lines = head.split("\r\n");
        let status_line = lines.next().unwrap_or_default().to_owned();
        let headers: BTreeMap<String, String> = lines
            .filter_map(|line| line.split_once(": "))
            .map(|(name, value)| (name.to_owned(), value.to_owned()))
            .collect();
        let mut body = bytes.split_off(head_end + 4);
        if !status_line.contains(" 204 ") {
            // In just this spelling.
            let length: usize = headers.get("Content-Length").unwrap_or_else(|| panic!("{head}")).parse().unwrap();
            let mut rest = vec![0; length - body.len()];
            stream.read_exact(&mut rest).map_err(|error| failed(&error))?;
            body.extend(rest);
        }
        let body = String::from_utf8(body).map_err(|error| failed(&error))?;
        Ok(Answer { status_line, headers, body })
    }

    /// A request with a body to a path.
    pub(crate) fn post(&self, path: &str, body: &str) -> Result<Answer, HarnessError> {
        let authorization = self.authorization();
        let head = format!("POST {path} HTTP/1.1\r\nHost: localhost\r\nAuthorization: {authorization}\r\n");
        self.exchange(format!("{head}Content-Length: {}\r\n\r\n{body}", body.len()).as_bytes())
    }

    /// What a call of the old kind comes to: status and answer.
    pub(crate) fn try_call(&self, method: &str, arguments: &[Value]) -> Result<(u16, Value), HarnessError> {
        let body = json!({"method": method, "params": arguments, "id": 1}).to_string();
        let answer = self.post("/", &body)?;
        Ok((answer.status(), answer.json()))
    }

    /// The result of a call that is answered.
    pub(crate) fn call(&self, method: &str, arguments: &[Value]) -> Result<Value, HarnessError> {
        let (status, answer) = self.try_call(method, arguments)?;
        if status == 200 && answer["error"].is_null() {
            Ok(answer["result"].clone())
        } else {
            Err(failed(&format!("{method} {arguments:?}: {status} {answer}")))
        }
    }
}

fn base64(bytes: &[u8]) -> String {
    const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = String::new();
    for chunk in bytes.chunks(3) {
        let group =
            chunk.iter().chain([0, 0].iter()).take(3).fold(0_usize, |group, byte| group << 8 | usize::from(*byte));
        for (index, shift) in [18, 12, 6, 0].into_iter().enumerate() {
            text.push(if index <= chunk.len() { char::from(ALPHABET[group >> shift & 63]) } else { '=' });
        }
    }
    text
}
