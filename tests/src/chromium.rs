//! A headless Chromium that is driven over WebDriver.
//!
//! `chromedriver` is taken from the `PATH`, with whatever browser it finds; otherwise it and Chromium come from the
//! distribution's packages, unpacked below the build folder.

use std::fs;
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use serde_json::{Value, json};
use tempfile::TempDir;

use crate::error::HarnessError;
use crate::packages::{Origin, Packaged, Tree, on_path, run_quietly};
use crate::ports::ReservedPort;
use crate::process::Process;
use crate::wait::{self, Answer};

const CHROMIUM: Packaged = Packaged {
    program: "chromium",
    packages: &["chromium", "chromium-driver", "fonts-dejavu-core"],
    origin: Origin::ThisRelease,
    size_mb: 120,
    advice: "install Chromium and its chromedriver, of one version, and run again",
};

const START_LIMIT: Duration = Duration::from_secs(60);

/// The programs, and what they need from their surroundings.
#[derive(Debug)]
struct Programs {
    driver: PathBuf,
    /// `None`: the driver finds one.
    browser: Option<PathBuf>,
    /// Where libraries lie that the system does not have.
    libraries: Vec<PathBuf>,
    /// Where fonts lie that the system does not have.
    fonts: Option<PathBuf>,
}

impl Programs {
    fn find() -> Result<Self, HarnessError> {
        if let Some(driver) = on_path("chromedriver") {
            return Ok(Self { driver, browser: None, libraries: Vec::new(), fonts: None });
        }
        let tree = CHROMIUM.unpacked(|tree| {
            let programs = Self::unpacked(tree);
            run_quietly(programs.command(&programs.driver).arg("--version"))?;
            match &programs.browser {
                Some(browser) => run_quietly(programs.command(browser).arg("--version")),
                None => Ok(String::new()),
            }
        })?;
        Ok(Self::unpacked(&tree))
    }

    fn unpacked(tree: &Tree) -> Self {
        let libraries = tree.libraries();
        Self {
            driver: tree.root.join("usr/bin/chromedriver"),
            browser: Some(tree.root.join("usr/lib/chromium/chromium")),
            // PulseAudio keeps its common part in a folder of its own.
            libraries: vec![libraries.join("pulseaudio"), libraries],
            fonts: Some(tree.root.join("usr/share/fonts")),
        }
    }

    fn command(&self, program: &Path) -> Command {
        let mut command = Command::new(program);
        if let Ok(path) = std::env::join_paths(&self.libraries)
            && !path.is_empty()
        {
            command.env("LD_LIBRARY_PATH", path);
        }
        command
    }

    /// Makes the same fonts appear for the same names on every machine.
    fn font_settings(&self, folder: &Path) -> Result<PathBuf, HarnessError> {
        let own = self.fonts.as_ref().map(|fonts| format!("<dir>{}</dir>", fonts.display())).unwrap_or_default();
        let alias = |name: &str, font: &str| {
            format!("<alias binding=\"same\"><family>{name}</family><prefer><family>{font}</family></prefer></alias>")
        };
        let text = format!(
            "<?xml version=\"1.0\"?><!DOCTYPE fontconfig SYSTEM \"fonts.dtd\"><fontconfig>\
             <dir>/usr/share/fonts</dir>{own}<cachedir>{}</cachedir>{}{}{}\
             <match target=\"pattern\"><edit name=\"family\" mode=\"append_last\"><string>DejaVu Sans</string></edit></match>\
             </fontconfig>",
            folder.join("fonts").display(),
            alias("system-ui", "DejaVu Sans"),
            alias("sans-serif", "DejaVu Sans"),
            alias("monospace", "DejaVu Sans Mono"),
        );
        let path = folder.join("fonts.conf");
        fs::write(&path, text).map_err(HarnessError::file("write", &path))?;
        Ok(path)
    }
}

/// A running chromedriver.
#[derive(Debug)]
pub struct Chromium {
    /// Ends when it is dropped, and the browsers that it started with it.
    _process: Process,
    address: SocketAddr,
    browser: Option<PathBuf>,
    folder: TempDir,
}

impl Chromium {
    /// Finds or obtains it, starts it and waits until it listens.
    ///
    /// # Errors
    /// [`HarnessError::Unobtainable`] where it cannot be had; that it does not start otherwise.
    pub fn start() -> Result<Self, HarnessError> {
        let programs = Programs::find()?;
        let folder = tempfile::Builder::new()
            .prefix("aquifer-chromium-")
            .tempdir()
            .map_err(HarnessError::file("make a folder in", &std::env::temp_dir()))?;
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, ReservedPort::new()?.release()));
        let mut command = programs.command(&programs.driver);
        command
            .arg(format!("--port={}", address.port()))
            .env("FONTCONFIG_FILE", programs.font_settings(folder.path())?);
        let mut process = Process::spawn("chromedriver", command, &folder.path().join("driver.log"))?;
        wait::until("chromedriver listens", START_LIMIT, || {
            process.check_running()?;
            Ok(match TcpStream::connect(address) {
                Ok(_) => Answer::Ready(()),
                Err(error) => Answer::NotYet(error.to_string()),
            })
        })?;
        Ok(Self { _process: process, address, browser: programs.browser, folder })
    }

    /// Where it takes commands.
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// What a session must ask for: no window, no sandbox (tests may run as root, and visit only their own pages), a fresh
    /// profile, and every line of the console.
    pub fn capabilities(&self) -> Value {
        let profile = self.folder.path().join("profile");
        let mut options = json!({ "args": [
            "--headless=new",
            "--no-sandbox",
            "--disable-gpu",
            "--disable-dev-shm-usage",
            "--hide-scrollbars",
            "--no-first-run",
            "--disable-background-networking",
            format!("--user-data-dir={}", profile.display()),
        ]});
        if let (Some(browser), Some(options)) = (&self.browser, options.as_object_mut()) {
            options.insert("binary".to_owned(), browser.display().to_string().into());
        }
        json!({ "goog:chromeOptions": options, "goog:loggingPrefs": { "browser": "ALL" } })
    }
}
