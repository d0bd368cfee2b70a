//! Finds `aquiferd` and `aquifer`. They are built by cargo itself, once per process, into the target folder of the
//! program that is running and with its profile: a test never runs a binary that is older than the code it tests.

use std::env;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::{Mutex, PoisonError};

use serde_json::Value;

use crate::error::HarnessError;
use crate::process;

/// The packages of the two programs, and the one that is running: naming it too keeps cargo's choice of features, and so
/// everything that is built already.
const PACKAGES: [&str; 3] = ["aquifer-functionary", "aquifer-wallet", "aquifer-tests"];

/// Variables in which cargo tells a program that it runs about the program's own package.
const OUR_PACKAGE: [&str; 4] = ["CARGO_PKG_", "CARGO_MANIFEST_", "CARGO_BIN_", "CARGO_CRATE_NAME"];

/// Paths of the two programs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Binaries {
    /// The functionary's daemon.
    pub aquiferd: PathBuf,
    /// The wallet.
    pub aquifer: PathBuf,
}

static FOUND: Mutex<Option<Binaries>> = Mutex::new(None);
static FOUND_SABOTAGED: Mutex<Option<PathBuf>> = Mutex::new(None);

/// A variant of `aquiferd` that is built for tests only, and the feature it needs.
const SABOTAGED: &str = "aquiferd-sabotaged";
const SABOTAGE: &str = "aquifer-functionary/sabotage";

impl Binaries {
    /// Builds the programs where that has not been done by this process.
    ///
    /// # Errors
    /// The messages of the compiler, when they do not build.
    pub fn get() -> Result<Self, HarnessError> {
        let mut found = FOUND.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(binaries) = found.as_ref() {
            return Ok(binaries.clone());
        }
        let [aquiferd, aquifer] = build(&["--bins"], ["aquiferd", "aquifer"])?;
        let binaries = Self { aquiferd, aquifer };
        *found = Some(binaries.clone());
        Ok(binaries)
    }

    /// Builds an `aquiferd` whose verifier accepts certain invalid range proofs (`aquifer-assets`, feature `sabotage`), and
    /// which can be told to be silent, to lie or to forge, where that has not been done by this process.
    ///
    /// # Errors
    /// The messages of the compiler, when it does not build.
    pub fn sabotaged() -> Result<PathBuf, HarnessError> {
        let mut found = FOUND_SABOTAGED.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(program) = found.as_ref() {
            return Ok(program.clone());
        }
        let [program] = build(&["--bin", SABOTAGED, "--features", SABOTAGE], [SABOTAGED])?;
        *found = Some(program.clone());
        Ok(program)
    }
}

/// Lets cargo build what the arguments choose, and gives the paths of programs with these names.
fn build<const COUNT: usize>(chosen: &[&str], names: [&str; COUNT]) -> Result<[PathBuf; COUNT], HarnessError> {
    let here = env::current_exe().map_err(HarnessError::program("find", "this program"))?;
    let target = TargetFolder::of(&here);
    let mut command = Command::new(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    command.arg("build").arg("--message-format=json-render-diagnostics").args(chosen);
    command.args(PACKAGES.iter().flat_map(|package| ["--package", package]));
    command.arg("--target-dir").arg(&target.folder);
    if target.release {
        command.arg("--release");
    }
    // What cargo told this program about its package would look to build scripts like a change, and rebuild a lot.
    let about_us = env::vars_os().map(|(name, _)| name).filter(|name| {
        let name = name.to_string_lossy();
        OUR_PACKAGE.iter().any(|prefix| name.starts_with(prefix))
    });
    about_us.for_each(|name| {
        command.env_remove(name);
    });
    command.current_dir(env!("CARGO_MANIFEST_DIR")).stdin(Stdio::null()).stderr(Stdio::inherit());
    let shown = process::shown(&command);
    let output = command.output().map_err(HarnessError::program("run", "cargo"))?;
    let messages = String::from_utf8_lossy(&output.stdout);
    if !output.status.success() {
        let status = output.status.to_string();
        return Err(HarnessError::Failed {
            command: shown,
            status,
            output: "see the compiler's messages above".into(),
        });
    }
    let find = |name: &str| {
        executable(&messages, name).ok_or_else(|| HarnessError::Output {
            command: shown.clone(),
            problem: format!("it named no executable {name}"),
            output: messages.lines().last().unwrap_or_default().to_owned(),
        })
    };
    let mut programs = names.map(|_| PathBuf::new());
    for (program, name) in programs.iter_mut().zip(names) {
        *program = find(name)?;
    }
    Ok(programs)
}

/// The path of a program in cargo's messages.
fn executable(messages: &str, name: &str) -> Option<PathBuf> {
    messages.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok()).find_map(|message| {
        let is_it = message.pointer("/target/name").and_then(Value::as_str) == Some(name);
        let path = message.get("executable").and_then(Value::as_str);
        path.filter(|_| is_it).map(PathBuf::from)
    })
}

/// Cargo's folder layout around a program: `<target>/<profile>/demo` or `<target>/<profile>/deps/some_test-0123`.
struct TargetFolder {
    folder: PathBuf,
    release: bool,
}

impl TargetFolder {
    fn of(program: &Path) -> Self {
        let mut profile = program.parent().unwrap_or(program);
        if profile.ends_with("deps") {
            profile = profile.parent().unwrap_or(profile);
        }
        let folder = profile.parent().unwrap_or(profile).to_owned();
        Self { folder, release: profile.ends_with("release") }
    }
}

/// The folder that everything built by cargo for this program lies in. It outlives a run, `cargo clean` removes it.
///
/// # Errors
/// When the operating system does not tell where this program lies.
pub fn target_folder() -> Result<PathBuf, HarnessError> {
    let here = env::current_exe().map_err(HarnessError::program("find", "this program"))?;
    Ok(TargetFolder::of(&here).folder)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_target_folder_is_found_from_a_program_and_from_a_test() {
        let demo = TargetFolder::of(Path::new("/x/target/release/demo"));
        assert_eq!((demo.folder.as_path(), demo.release), (Path::new("/x/target"), true));
        let test = TargetFolder::of(Path::new("/x/target/debug/deps/story-0123"));
        assert_eq!((test.folder.as_path(), test.release), (Path::new("/x/target"), false));
    }

    #[test]
    fn an_executable_is_found_in_messages_of_cargo() {
        let messages = concat!(
            "{\"reason\":\"compiler-artifact\",\"target\":{\"name\":\"aquifer\"},\"executable\":null}\n",
            "no json\n",
            "{\"reason\":\"compiler-artifact\",\"target\":{\"name\":\"aquifer\"},\"executable\":\"/x/aquifer\"}\n",
        );
        assert_eq!(executable(messages, "aquifer"), Some(PathBuf::from("/x/aquifer")));
        assert_eq!(executable(messages, "aquiferd"), None);
    }
}
