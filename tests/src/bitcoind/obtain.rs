//! Where bitcoind comes from.
//!
//! In this order: the variable `BITCOIND_EXE`, the `PATH`, a copy obtained earlier below the build folder, and on Debian
//! the distribution's own package. That package needs newer libraries than a stable system has, so it is not installed:
//! it and everything it depends on are unpacked into one folder below the build folder and started through that folder's
//! own loader. apt does the work with package lists and caches of its own, so it needs no privileges and leaves the
//! system as it was; it checks every signature with the system's Debian keyring.

use std::ffi::OsString;
use std::fs::{self, File};
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::error::HarnessError;

/// The package that carries bitcoind, and where it and its libraries come from.
const PACKAGE: &str = "bitcoin-knots";
const PACKAGE_SUITE: &str = "sid";
const LIBRARY_SUITE: &str = "trixie";
const KEYRING: &str = "/usr/share/keyrings/debian-archive-keyring.gpg";

const ADVICE: &str = "install Bitcoin Core 25 or newer and run again, or set BITCOIND_EXE to the path of its `bitcoind`:\n  \
    Ubuntu:  sudo snap install bitcoin-core   (then BITCOIND_EXE=/snap/bin/bitcoin-core.daemon)\n  \
    Fedora:  sudo dnf install bitcoin-core-server\n  \
    Arch:    sudo pacman -S bitcoin-daemon\n  \
    macOS:   brew install bitcoin\n  \
    others:  https://bitcoincore.org/en/download/";

/// How to start bitcoind: a program and the arguments that come before bitcoind's own.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Program {
    path: PathBuf,
    leading_args: Vec<OsString>,
}

impl Program {
    fn plain(path: PathBuf) -> Self {
        Self { path, leading_args: Vec::new() }
    }

    /// A bitcoind in an unpacked tree, started through the tree's own loader with the tree's own libraries.
    fn unpacked(root: &Path, platform: &Platform) -> Self {
        let libraries = root.join("usr/lib").join(platform.triplet);
        Self {
            path: libraries.join(platform.loader),
            leading_args: vec![
                "--library-path".into(),
                libraries.into_os_string(),
                root.join("usr/bin/bitcoind").into_os_string(),
            ],
        }
    }

    /// A command that starts bitcoind; its own arguments are to be added.
    pub fn command(&self) -> Command {
        let mut command = Command::new(&self.path);
        command.args(&self.leading_args);
        command
    }

    /// Starts it with `-version` and gives the first line.
    fn version(&self) -> Result<String, HarnessError> {
        let output = self
            .command()
            .arg("-version")
            .stdin(Stdio::null())
            .output()
            .map_err(HarnessError::program("start", self.path.display().to_string()))?;
        let text = String::from_utf8_lossy(&output.stdout);
        match text.lines().next() {
            Some(line) if output.status.success() => Ok(line.to_owned()),
            _ => Err(HarnessError::Failed {
                command: format!("{} -version", self.path.display()),
                status: output.status.to_string(),
                output: String::from_utf8_lossy(&output.stderr).into_owned(),
            }),
        }
    }
}

/// What the names of a platform's libraries look like in a Debian tree.
struct Platform {
    triplet: &'static str,
    loader: &'static str,
}

impl Platform {
    fn this() -> Option<Self> {
        match (std::env::consts::OS, std::env::consts::ARCH) {
            ("linux", "x86_64") => Some(Self { triplet: "x86_64-linux-gnu", loader: "ld-linux-x86-64.so.2" }),
            ("linux", "aarch64") => Some(Self { triplet: "aarch64-linux-gnu", loader: "ld-linux-aarch64.so.1" }),
            _ => None,
        }
    }
}

/// Finds bitcoind, or obtains it. Several processes may call it at once: one obtains, the others wait for it.
///
/// # Errors
///
/// What could not be done and, where the harness cannot help itself, which command installs Bitcoin Core.
pub fn program() -> Result<Program, HarnessError> {
    if let Some(path) = std::env::var_os("BITCOIND_EXE").filter(|value| !value.is_empty()) {
        let path = PathBuf::from(path);
        if path.is_file() {
            return Ok(Program::plain(path));
        }
        return Err(HarnessError::Bitcoind(format!("BITCOIND_EXE names {}, which is not a file", path.display())));
    }
    if let Some(path) = on_path() {
        return Ok(Program::plain(path));
    }
    let Some(platform) = Platform::this() else {
        return Err(HarnessError::Bitcoind(format!("not found on this system; {ADVICE}")));
    };
    let home = target_dir().join("bitcoind");
    fs::create_dir_all(&home).map_err(HarnessError::file("make the folder", &home))?;
    let lock_path = home.join("lock");
    let lock = File::create(&lock_path).map_err(HarnessError::file("make", &lock_path))?;
    lock.lock().map_err(HarnessError::file("lock", &lock_path))?;

    let root = home.join("root");
    let program = Program::unpacked(&root, &platform);
    if program.path.is_file() {
        return Ok(program);
    }
    obtain(&home, &root, &platform)?;
    Ok(program)
}

fn on_path() -> Option<PathBuf> {
    let name = format!("bitcoind{}", std::env::consts::EXE_SUFFIX);
    std::env::split_paths(&std::env::var_os("PATH")?).map(|folder| folder.join(&name)).find(|path| path.is_file())
}

/// The build folder this program was built into: cargo marks it with `CACHEDIR.TAG`.
fn target_dir() -> PathBuf {
    let of_program = std::env::current_exe().ok().and_then(|program| {
        program.ancestors().find(|folder| folder.join("CACHEDIR.TAG").is_file()).map(Path::to_owned)
    });
    of_program
        .or_else(|| std::env::var_os("CARGO_TARGET_DIR").map(PathBuf::from))
        .unwrap_or_else(|| Path::new(env!("CARGO_MANIFEST_DIR")).join("../target"))
}

/// Obtains the package. The tree appears under its final name only when it is complete and its bitcoind has run once.
fn obtain(home: &Path, root: &Path, platform: &Platform) -> Result<(), HarnessError> {
    let mirrors = debian_mirrors()?;
    let work = home.join("unfinished");
    if work.exists() {
        fs::remove_dir_all(&work).map_err(HarnessError::file("remove the folder", &work))?;
    }
    let tree = work.join("root");
    for folder in ["state/lists/partial", "cache/archives/partial", "root"] {
        let folder = work.join(folder);
        fs::create_dir_all(&folder).map_err(HarnessError::file("make the folder", &folder))?;
    }
    // No package counts as installed, so apt resolves the dependencies completely and the tree stands on its own.
    let status = work.join("state/status");
    fs::write(&status, "").map_err(HarnessError::file("write", &status))?;

    let apt = Apt { work: &work };
    say(&format!("not on this machine yet; taking the package {PACKAGE} from the distribution (once, about 50 MB)"));
    apt.update_from(&mirrors)?;
    say("downloading");
    apt.run(&["--yes", "--no-install-recommends", "--download-only", "install", PACKAGE])?;
    say("unpacking");
    let archives = work.join("cache/archives");
    let entries = fs::read_dir(&archives).map_err(HarnessError::file("read the folder", &archives))?;
    for entry in entries {
        let archive = entry.map_err(HarnessError::file("read the folder", &archives))?.path();
        if archive.extension().is_some_and(|extension| extension == "deb") {
            run_quietly(Command::new("dpkg-deb").arg("--extract").arg(&archive).arg(&tree))?;
        }
    }
    let version = Program::unpacked(&tree, platform).version()?;
    fs::rename(&tree, root).map_err(HarnessError::file("move the unpacked tree to", root))?;
    fs::remove_dir_all(&work).map_err(HarnessError::file("remove the folder", &work))?;
    say(&format!("ready: {version}"));
    Ok(())
}

/// Runs apt-get on a folder of its own.
struct Apt<'a> {
    work: &'a Path,
}

impl Apt<'_> {
    /// Takes the first mirror that answers with lists that are signed as they should be.
    fn update_from(&self, mirrors: &[String]) -> Result<(), HarnessError> {
        let sources = self.work.join("sources.list");
        let mut last = HarnessError::Bitcoind(format!("this machine's apt sources name no Debian mirror; {ADVICE}"));
        for mirror in mirrors {
            let list = [LIBRARY_SUITE, PACKAGE_SUITE]
                .map(|suite| format!("deb [signed-by={KEYRING}] {mirror} {suite} main\n"))
                .concat();
            fs::write(&sources, list).map_err(HarnessError::file("write", &sources))?;
            say(&format!("reading package lists of {mirror}"));
            match self.run(&["--error-on=any", "update"]) {
                Ok(()) => return Ok(()),
                Err(error) => last = error,
            }
        }
        Err(last)
    }

    fn run(&self, args: &[&str]) -> Result<(), HarnessError> {
        let mut command = Command::new("apt-get");
        let options = [
            ("Dir::Etc::SourceList", self.work.join("sources.list")),
            ("Dir::Etc::SourceParts", "/dev/null".into()),
            ("Dir::Etc::Preferences", "/dev/null".into()),
            ("Dir::Etc::PreferencesParts", "/dev/null".into()),
            ("Dir::State", self.work.join("state")),
            ("Dir::State::Lists", self.work.join("state/lists")),
            ("Dir::State::status", self.work.join("state/status")),
            ("Dir::Cache", self.work.join("cache")),
            ("Dir::Cache::archives", self.work.join("cache/archives")),
            ("APT::Default-Release", LIBRARY_SUITE.into()),
            ("APT::Keep-Downloaded-Packages", "true".into()),
            ("Acquire::Languages", "none".into()),
            ("Acquire::IndexTargets::deb::DEP-11::DefaultEnabled", "false".into()),
            ("Acquire::Retries", "3".into()),
            // The lock would be that of the system's package manager, which this never touches.
            ("Debug::NoLocking", "true".into()),
        ];
        for (name, value) in options {
            let mut option = OsString::from(format!("{name}="));
            option.push(value);
            command.arg("-o").arg(option);
        }
        command.args(args).env("LC_ALL", "C").env("DEBIAN_FRONTEND", "noninteractive");
        run_with_progress(&mut command, &self.work.join("apt.log"))
    }
}

/// The Debian mirrors in the machine's own apt sources, in their order.
fn debian_mirrors() -> Result<Vec<String>, HarnessError> {
    let release = fs::read_to_string("/etc/os-release").unwrap_or_default();
    let field = |name: &str| {
        release.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix('=')).map(|value| value.trim_matches('"'))
    };
    let (Some("debian"), Some(codename)) = (field("ID"), field("VERSION_CODENAME")) else {
        return Err(HarnessError::Bitcoind(format!("not found on this system; {ADVICE}")));
    };
    if !Path::new(KEYRING).is_file() {
        return Err(HarnessError::Bitcoind(format!(
            "{KEYRING} is missing, so packages cannot be checked: install debian-archive-keyring; or {ADVICE}"
        )));
    }
    let output = Command::new("apt-get")
        .args(["indextargets", "--format", "$(REPO_URI) $(RELEASE) $(COMPONENT)"])
        .stdin(Stdio::null())
        .output()
        .map_err(HarnessError::program("start", "apt-get"))?;
    Ok(mirrors_of_release(&String::from_utf8_lossy(&output.stdout), codename))
}

/// Picks the mirrors that carry the component `main` of the release from lines of "mirror release component".
fn mirrors_of_release(targets: &str, codename: &str) -> Vec<String> {
    let mut mirrors: Vec<String> = Vec::new();
    for line in targets.lines() {
        let mut words = line.split_whitespace();
        if let (Some(mirror), Some(release), Some("main")) = (words.next(), words.next(), words.next())
            && release == codename
            && !mirrors.iter().any(|known| known == mirror)
        {
            mirrors.push(mirror.to_owned());
        }
    }
    mirrors
}

fn run_quietly(command: &mut Command) -> Result<(), HarnessError> {
    let name = format!("{command:?}");
    let output = command.stdin(Stdio::null()).output().map_err(HarnessError::program("start", name.as_str()))?;
    if output.status.success() {
        return Ok(());
    }
    Err(HarnessError::Failed {
        command: name,
        status: output.status.to_string(),
        output: String::from_utf8_lossy(&output.stderr).into_owned(),
    })
}

/// Runs a command and shows the lines that tell of its downloads. Its errors go to a log, shown if it fails.
fn run_with_progress(command: &mut Command, log: &Path) -> Result<(), HarnessError> {
    let name = command.get_program().to_string_lossy().into_owned();
    let errors = File::create(log).map_err(HarnessError::file("make", log))?;
    let mut child = command
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(errors)
        .spawn()
        .map_err(HarnessError::program("start", name.as_str()))?;
    if let Some(output) = child.stdout.take() {
        for line in BufReader::new(output).lines().map_while(Result::ok) {
            if line.starts_with("Get:") || line.starts_with("Fetched ") {
                say(&line);
            }
        }
    }
    let status = child.wait().map_err(HarnessError::program("wait for", name.as_str()))?;
    if status.success() {
        return Ok(());
    }
    Err(HarnessError::Failed {
        command: format!("{command:?}"),
        status: status.to_string(),
        output: format!("{}\nor {ADVICE}", fs::read_to_string(log).unwrap_or_default().trim_end()),
    })
}

#[expect(clippy::print_stderr, reason = "the progress of a download, for the person who waits")]
fn say(line: &str) {
    eprintln!("bitcoind: {line}");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_mirrors_of_the_running_release_are_taken_once_each() {
        let targets = "http://one/debian/ bookworm main\nhttp://one/debian/ bookworm main\n\
            http://one/debian/ bookworm-updates main\nhttp://vendor/linux/debian/ bookworm stable\n\
            http://two/debian/ bookworm main\nbroken\n";
        assert_eq!(mirrors_of_release(targets, "bookworm"), ["http://one/debian/", "http://two/debian/"]);
        assert!(mirrors_of_release(targets, "trixie").is_empty());
    }
}
