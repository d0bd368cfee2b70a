//! Programs from packages of the distribution (Debian), unpacked below the build folder.
//!
//! Nothing is installed: apt works with package lists and caches of its own, so it needs no privileges and leaves the system
//! as it was; it checks every signature with the system's Debian keyring.

use std::ffi::OsString;
use std::fs::{self, File};
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::binaries::target_folder;
use crate::error::HarnessError;

const KEYRING: &str = "/usr/share/keyrings/debian-archive-keyring.gpg";
/// What dpkg knows of this system.
const INSTALLED: &str = "/var/lib/dpkg/status";

/// A program that packages carry.
#[derive(Clone, Copy, Debug)]
pub struct Packaged {
    /// Its name, also that of its folder below the build folder.
    pub program: &'static str,
    /// The packages.
    pub packages: &'static [&'static str],
    /// Where they come from.
    pub origin: Origin,
    /// Size of the downloads, in megabytes.
    pub size_mb: u32,
    /// What a person can do where this cannot be had.
    pub advice: &'static str,
}

/// Where packages come from, and what they stand on.
#[derive(Clone, Copy, Debug)]
pub enum Origin {
    /// The system's own release: libraries that are installed are used and not fetched again.
    ThisRelease,
    /// Another release, which needs newer libraries: all of them are fetched, and programs are started through the tree's own
    /// loader. The first suite is the one that libraries come from.
    Suites(&'static [&'static str]),
}

/// What the names of a platform's libraries look like in a Debian tree.
#[derive(Clone, Copy, Debug)]
pub struct Platform {
    /// The folder of its libraries.
    pub triplet: &'static str,
    /// The file name of its loader.
    pub loader: &'static str,
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

/// An unpacked tree.
#[derive(Clone, Debug)]
pub struct Tree {
    /// Its folder.
    pub root: PathBuf,
    /// What libraries are called in it.
    pub platform: Platform,
}

impl Tree {
    /// The folder of its libraries.
    pub fn libraries(&self) -> PathBuf {
        self.root.join("usr/lib").join(self.platform.triplet)
    }
}

impl Packaged {
    /// The tree, obtained if it is not there yet. Several processes may call it at once: one obtains, the others wait for it.
    /// It appears under its final name only when it is complete and `try_out` has given the version of its program.
    ///
    /// # Errors
    /// [`HarnessError::Unobtainable`] where there are no such packages; what could not be done otherwise.
    pub fn unpacked(&self, try_out: impl Fn(&Tree) -> Result<String, HarnessError>) -> Result<Tree, HarnessError> {
        let platform = Platform::this().ok_or_else(|| self.unobtainable("not found on this system"))?;
        let home = target_folder()?.join(self.program);
        fs::create_dir_all(&home).map_err(HarnessError::file("make the folder", &home))?;
        let lock_path = home.join("lock");
        let lock = File::create(&lock_path).map_err(HarnessError::file("make", &lock_path))?;
        lock.lock().map_err(HarnessError::file("lock", &lock_path))?;

        let tree = Tree { root: home.join("root"), platform };
        if !tree.root.is_dir() {
            self.obtain(&home, &tree, try_out)?;
        }
        Ok(tree)
    }

    fn obtain(
        &self,
        home: &Path,
        tree: &Tree,
        try_out: impl Fn(&Tree) -> Result<String, HarnessError>,
    ) -> Result<(), HarnessError> {
        let release = self.debian_release()?;
        let mirrors = self.mirrors(&release)?;
        let work = home.join("unfinished");
        if work.exists() {
            fs::remove_dir_all(&work).map_err(HarnessError::file("remove the folder", &work))?;
        }
        let unfinished = Tree { root: work.join("root"), platform: tree.platform };
        for folder in ["state/lists/partial", "cache/archives/partial", "root"] {
            let folder = work.join(folder);
            fs::create_dir_all(&folder).map_err(HarnessError::file("make the folder", &folder))?;
        }
        let status = work.join("state/status");
        match self.origin {
            Origin::ThisRelease => fs::copy(INSTALLED, &status).map(drop),
            // No package counts as installed, so apt resolves the dependencies completely and the tree stands on its own.
            Origin::Suites(_) => fs::write(&status, ""),
        }
        .map_err(HarnessError::file("write", &status))?;

        let suites = match self.origin {
            Origin::ThisRelease => vec![release.as_str()],
            Origin::Suites(suites) => suites.to_vec(),
        };
        let apt = Apt { packaged: self, work: &work, suites: &suites };
        let (packages, size_mb) = (self.packages.join(", "), self.size_mb);
        self.say(&format!(
            "not on this machine yet; taking {packages} from the distribution (once, about {size_mb} MB)"
        ));
        apt.update_from(&mirrors)?;
        self.say("downloading");
        apt.run(&[&["--yes", "--no-install-recommends", "--download-only", "install"], self.packages].concat())?;
        self.say("unpacking");
        let archives = work.join("cache/archives");
        let entries = fs::read_dir(&archives).map_err(HarnessError::file("read the folder", &archives))?;
        for entry in entries {
            let archive = entry.map_err(HarnessError::file("read the folder", &archives))?.path();
            if archive.extension().is_some_and(|extension| extension == "deb") {
                run_quietly(Command::new("dpkg-deb").arg("--extract").arg(&archive).arg(&unfinished.root))?;
            }
        }
        let version = try_out(&unfinished)?;
        fs::rename(&unfinished.root, &tree.root)
            .map_err(HarnessError::file("move the unpacked tree to", &tree.root))?;
        fs::remove_dir_all(&work).map_err(HarnessError::file("remove the folder", &work))?;
        self.say(&format!("ready: {version}"));
        Ok(())
    }

    fn unobtainable(&self, problem: &str) -> HarnessError {
        HarnessError::Unobtainable { program: self.program, problem: format!("{problem}; {}", self.advice) }
    }

    /// The code name of this Debian.
    fn debian_release(&self) -> Result<String, HarnessError> {
        let release = fs::read_to_string("/etc/os-release").unwrap_or_default();
        let field = |name: &str| {
            let value = release.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix('='));
            value.map(|value| value.trim_matches('"').to_owned())
        };
        match (field("ID").as_deref(), field("VERSION_CODENAME")) {
            (Some("debian"), Some(codename)) if Path::new(KEYRING).is_file() => Ok(codename),
            (Some("debian"), Some(_)) => Err(self.unobtainable(&format!(
                "{KEYRING} is missing, so packages cannot be checked: install debian-archive-keyring; or else"
            ))),
            _ => Err(self.unobtainable("not found on this system")),
        }
    }

    /// The Debian mirrors in the machine's own apt sources, in their order.
    fn mirrors(&self, codename: &str) -> Result<Vec<String>, HarnessError> {
        let output = Command::new("apt-get")
            .args(["indextargets", "--format", "$(REPO_URI) $(RELEASE) $(COMPONENT)"])
            .stdin(Stdio::null())
            .output()
            .map_err(HarnessError::program("start", "apt-get"))?;
        let mirrors = mirrors_of_release(&String::from_utf8_lossy(&output.stdout), codename);
        match mirrors.is_empty() {
            true => Err(self.unobtainable("this machine's apt sources name no Debian mirror")),
            false => Ok(mirrors),
        }
    }

    #[expect(clippy::print_stderr, reason = "the progress of a download, for the person who waits")]
    fn say(&self, line: &str) {
        eprintln!("{}: {line}", self.program);
    }
}

/// Runs apt-get on a folder of its own.
struct Apt<'a> {
    packaged: &'a Packaged,
    work: &'a Path,
    suites: &'a [&'a str],
}

impl Apt<'_> {
    /// Takes the first mirror that answers with lists that are signed as they should be.
    fn update_from(&self, mirrors: &[String]) -> Result<(), HarnessError> {
        let sources = self.work.join("sources.list");
        let mut last = self.packaged.unobtainable("there is no mirror");
        for mirror in mirrors {
            let line = |suite: &&str| format!("deb [signed-by={KEYRING}] {mirror} {suite} main\n");
            let list: String = self.suites.iter().map(line).collect();
            fs::write(&sources, list).map_err(HarnessError::file("write", &sources))?;
            self.packaged.say(&format!("reading package lists of {mirror}"));
            match self.run(&["--error-on=any", "update"]) {
                Ok(()) => return Ok(()),
                Err(error) => last = error,
            }
        }
        Err(last)
    }

    /// Shows the lines that tell of downloads. Errors go to a log, shown if it fails.
    fn run(&self, args: &[&str]) -> Result<(), HarnessError> {
        let log = self.work.join("apt.log");
        let errors = File::create(&log).map_err(HarnessError::file("make", &log))?;
        let mut child = self
            .command(args)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(errors)
            .spawn()
            .map_err(HarnessError::program("start", "apt-get"))?;
        if let Some(output) = child.stdout.take() {
            for line in BufReader::new(output).lines().map_while(Result::ok) {
                if line.starts_with("Get:") || line.starts_with("Fetched ") {
                    self.packaged.say(&line);
                }
            }
        }
        let status = child.wait().map_err(HarnessError::program("wait for", "apt-get"))?;
        if status.success() {
            return Ok(());
        }
        let said = fs::read_to_string(&log).unwrap_or_default();
        Err(self.packaged.unobtainable(&format!("apt-get {} ended with {status}: {}", args.join(" "), said.trim_end())))
    }

    fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new("apt-get");
        let default = self.suites.first().copied().unwrap_or_default();
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
            ("APT::Default-Release", default.into()),
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
        command
    }
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

/// Finds a program on the `PATH`.
pub fn on_path(program: &str) -> Option<PathBuf> {
    let name = format!("{program}{}", std::env::consts::EXE_SUFFIX);
    std::env::split_paths(&std::env::var_os("PATH")?).map(|folder| folder.join(&name)).find(|path| path.is_file())
}

/// Runs a command and gives the first line that it prints.
///
/// # Errors
/// It could not be started, or failed: with what it said.
pub fn run_quietly(command: &mut Command) -> Result<String, HarnessError> {
    let name = format!("{command:?}");
    let output = command.stdin(Stdio::null()).output().map_err(HarnessError::program("start", name.as_str()))?;
    if output.status.success() {
        return Ok(String::from_utf8_lossy(&output.stdout).lines().next().unwrap_or_default().to_owned());
    }
    Err(HarnessError::Failed {
        command: name,
        status: output.status.to_string(),
        output: String::from_utf8_lossy(&output.stderr).into_owned(),
    })
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
