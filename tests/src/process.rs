//! Child processes that are always reaped: on drop, on panic (the stack unwinds and drops them) and on Ctrl-C.
//!
//! Each child gets a process group of its own, so that Ctrl-C in a terminal reaches the harness only, and the harness
//! ends its children in the order it wants. Output goes to a log file, whose last lines are shown when a child dies.

use std::collections::BTreeSet;
use std::fs::{File, OpenOptions};
use std::io::{Read, Seek, SeekFrom, Write};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{LazyLock, Mutex, PoisonError};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process, kill_process_group};

use crate::error::HarnessError;
use crate::wait::{self, Answer};

/// How much of a log is shown.
const TAIL_LINES: usize = 25;
const TAIL_BYTES: u64 = 16 * 1024;

/// Process ids of all children that have not been reaped.
static CHILDREN: LazyLock<Mutex<BTreeSet<u32>>> = LazyLock::new(Mutex::default);

fn children(change: impl FnOnce(&mut BTreeSet<u32>)) {
    change(&mut CHILDREN.lock().unwrap_or_else(PoisonError::into_inner));
}

fn signal(id: u32, signal: Signal) {
    // A child that is gone already needs no signal, and its id is not reused before it is waited for.
    if let Some(pid) = i32::try_from(id).ok().and_then(Pid::from_raw) {
        let _ = kill_process(pid, signal);
    }
}

/// Ends a child and everything that it has started in its group: a browser's driver does not take its browsers along.
fn kill_group(id: u32) {
    if let Some(pid) = i32::try_from(id).ok().and_then(Pid::from_raw) {
        let _ = kill_process_group(pid, Signal::KILL);
    }
}

/// The last resort of an interrupted process.
pub(crate) fn kill_all_children() {
    children(|ids| ids.iter().for_each(|id| kill_group(*id)));
}

/// A running program with its log.
#[derive(Debug)]
pub struct Process {
    name: String,
    child: Child,
    log: PathBuf,
    status: Option<ExitStatus>,
}

impl Process {
    /// Starts the command; its output is appended to `log`.
    ///
    /// # Errors
    /// When the log cannot be opened or the program not be started.
    pub fn spawn(name: impl Into<String>, mut command: Command, log: &Path) -> Result<Self, HarnessError> {
        let name = name.into();
        let file = OpenOptions::new().create(true).append(true).open(log).map_err(HarnessError::file("open", log))?;
        let copy = file.try_clone().map_err(HarnessError::file("open", log))?;
        command.stdin(Stdio::null()).stdout(file).stderr(copy).process_group(0);
        let program = command.get_program().to_string_lossy().into_owned();
        let child = command.spawn().map_err(HarnessError::program("start", program))?;
        children(|ids| {
            ids.insert(child.id());
        });
        Ok(Self { name, child, log: log.to_owned(), status: None })
    }

    /// The operating system's number for it.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// Where its output goes.
    pub fn log(&self) -> &Path {
        &self.log
    }

    /// The status with which it ended, if it did.
    ///
    /// # Errors
    /// When the operating system does not tell.
    pub fn try_status(&mut self) -> Result<Option<ExitStatus>, HarnessError> {
        if self.status.is_none() {
            self.status = self.child.try_wait().map_err(HarnessError::program("wait for", self.name.clone()))?;
            if self.status.is_some() {
                let id = self.child.id();
                children(|ids| {
                    ids.remove(&id);
                });
            }
        }
        Ok(self.status)
    }

    /// # Errors
    /// [`HarnessError::Died`] with the end of the log, when the program is no longer running.
    pub fn check_running(&mut self) -> Result<(), HarnessError> {
        match self.try_status()? {
            None => Ok(()),
            Some(status) => Err(HarnessError::Died {
                name: self.name.clone(),
                status: status.to_string(),
                log: self.log.clone(),
                tail: tail(&self.log),
            }),
        }
    }

    /// Waits until it ends by itself.
    ///
    /// # Errors
    /// [`HarnessError::Timeout`] after `limit`.
    pub fn wait(&mut self, limit: Duration) -> Result<ExitStatus, HarnessError> {
        let what = format!("{} ends", self.name);
        wait::until(&what, limit, || {
            Ok(match self.try_status()? {
                Some(status) => Answer::Ready(status),
                None => Answer::NotYet("still running".to_owned()),
            })
        })
    }

    /// SIGKILL, for what it has started as well, and reaps it.
    pub fn kill9(&mut self) {
        if self.status.is_none() {
            kill_group(self.child.id());
            self.status = self.child.wait().ok();
            let id = self.child.id();
            children(|ids| {
                ids.remove(&id);
            });
        }
    }

    /// SIGTERM, then waits for it to end.
    ///
    /// # Errors
    /// [`HarnessError::Timeout`] when it does not end within `limit`.
    pub fn terminate(&mut self, limit: Duration) -> Result<ExitStatus, HarnessError> {
        if self.try_status()?.is_none() {
            signal(self.child.id(), Signal::TERM);
        }
        self.wait(limit)
    }

    /// The end of its log.
    pub fn tail(&self) -> String {
        tail(&self.log)
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.kill9();
    }
}

/// The last lines of a file, or a note why there are none.
pub fn tail(path: &Path) -> String {
    let read = || -> std::io::Result<String> {
        let mut file = File::open(path)?;
        let length = file.metadata()?.len();
        file.seek(SeekFrom::Start(length.saturating_sub(TAIL_BYTES)))?;
        let mut bytes = Vec::new();
        file.read_to_end(&mut bytes)?;
        Ok(String::from_utf8_lossy(&bytes).into_owned())
    };
    match read() {
        Ok(text) => last_lines(&text),
        Err(error) => format!("    (no log: {error})\n"),
    }
}

/// Runs a command to its end and gives its standard output.
///
/// # Errors
/// [`HarnessError::Failed`] with the end of what it said, when its exit code is not 0; [`HarnessError::Timeout`] when it
/// is still running after `limit`, and then it is killed.
pub fn run(command: Command, limit: Duration) -> Result<String, HarnessError> {
    run_reading(command, Stdio::null(), limit)
}

/// As [`run`], with a text as the command's standard input.
///
/// # Errors
/// As [`run`].
pub fn run_with_input(command: Command, input: &str, limit: Duration) -> Result<String, HarnessError> {
    let program = command.get_program().to_string_lossy().into_owned();
    let writing = || {
        let mut file = tempfile::tempfile()?;
        file.write_all(input.as_bytes())?;
        file.rewind()?;
        Ok(file)
    };
    let file: File = writing().map_err(HarnessError::program("write the input of", program))?;
    run_reading(command, file.into(), limit)
}

fn run_reading(mut command: Command, input: Stdio, limit: Duration) -> Result<String, HarnessError> {
    let shown = shown(&command);
    let program = command.get_program().to_string_lossy().into_owned();
    let output_file = |stream| tempfile::tempfile().map_err(HarnessError::program(stream, program.clone()));
    let mut stdout = output_file("keep the output of")?;
    let mut stderr = output_file("keep the messages of")?;
    let handle = |file: &File| file.try_clone().map_err(HarnessError::program("start", program.clone()));
    command.stdin(input).stdout(handle(&stdout)?).stderr(handle(&stderr)?).process_group(0);
    let child = command.spawn().map_err(HarnessError::program("start", program.clone()))?;
    children(|ids| {
        ids.insert(child.id());
    });
    let mut process = Process { name: shown.clone(), child, log: PathBuf::new(), status: None };
    let status = process.wait(limit)?;
    let said = text(&mut stdout).map_err(HarnessError::program("read the output of", program.clone()))?;
    if status.success() {
        return Ok(said);
    }
    let complaint = text(&mut stderr).map_err(HarnessError::program("read the messages of", program))?;
    let output = last_lines(&format!("{said}{complaint}"));
    Err(HarnessError::Failed { command: shown, status: status.to_string(), output })
}

fn text(file: &mut File) -> std::io::Result<String> {
    file.rewind()?;
    let mut bytes = Vec::new();
    file.read_to_end(&mut bytes)?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

fn last_lines(text: &str) -> String {
    let lines: Vec<&str> = text.lines().collect();
    let skip = lines.len().saturating_sub(TAIL_LINES);
    lines.into_iter().skip(skip).map(|line| format!("    {line}\n")).collect()
}

/// A command as a person would type it.
pub fn shown(command: &Command) -> String {
    let mut parts = vec![command.get_program().to_string_lossy().into_owned()];
    parts.extend(command.get_args().map(|argument| argument.to_string_lossy().into_owned()));
    parts.join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shell(script: &str) -> Command {
        let mut command = Command::new("sh");
        command.args(["-c", script]);
        command
    }

    fn log(folder: &tempfile::TempDir) -> PathBuf {
        folder.path().join("log")
    }

    #[test]
    fn a_dead_process_is_reported_with_its_last_words() -> Result<(), Box<dyn std::error::Error>> {
        let folder = tempfile::tempdir()?;
        let mut process = Process::spawn("parrot", shell("echo pining; exit 3"), &log(&folder))?;
        process.wait(Duration::from_secs(60))?;
        let Err(HarnessError::Died { name, tail, .. }) = process.check_running() else {
            return Err("a dead process passed for a running one".into());
        };
        assert_eq!(name, "parrot");
        assert!(tail.contains("pining"), "{tail}");
        Ok(())
    }

    #[test]
    fn terminate_lets_a_program_end_its_own_way() -> Result<(), Box<dyn std::error::Error>> {
        let folder = tempfile::tempdir()?;
        let script = "trap 'exit 7' TERM; echo up; while :; do sleep 0.05; done";
        let mut process = Process::spawn("trap", shell(script), &log(&folder))?;
        wait::until("the trap is set", Duration::from_secs(60), || {
            Ok(if process.tail().contains("up") { Answer::Ready(()) } else { Answer::NotYet(process.tail()) })
        })?;
        assert_eq!(process.terminate(Duration::from_secs(60))?.code(), Some(7));
        Ok(())
    }

    #[test]
    fn a_dropped_process_is_gone() -> Result<(), Box<dyn std::error::Error>> {
        let folder = tempfile::tempdir()?;
        let process = Process::spawn("sleeper", shell("exec sleep 1000"), &log(&folder))?;
        let id = process.id();
        drop(process);
        let pid = i32::try_from(id).ok().and_then(Pid::from_raw).ok_or("no process id")?;
        assert!(rustix::process::test_kill_process(pid).is_err());
        Ok(())
    }

    #[test]
    fn what_a_dropped_process_has_started_is_gone() -> Result<(), Box<dyn std::error::Error>> {
        let folder = tempfile::tempdir()?;
        let process = Process::spawn("family", shell("sleep 1000 & echo child $!; wait"), &log(&folder))?;
        let child = wait::until("the child is there", Duration::from_secs(60), || {
            let said = process.tail();
            let child = said.trim().strip_prefix("child ").and_then(|id| id.parse().ok()).and_then(Pid::from_raw);
            Ok(child.map_or_else(|| Answer::NotYet(said), Answer::Ready))
        })?;
        drop(process);
        // It belongs to nobody any more; whoever takes such in reaps it in its own time.
        let status = PathBuf::from(format!("/proc/{}/stat", child.as_raw_nonzero()));
        wait::until("the child is gone", Duration::from_secs(60), || {
            let state = std::fs::read_to_string(&status).unwrap_or_default();
            let alive = rustix::process::test_kill_process(child).is_ok() && !state.contains(") Z ");
            Ok(if alive { Answer::NotYet(state) } else { Answer::Ready(()) })
        })?;
        Ok(())
    }

    #[test]
    fn a_command_that_hangs_is_killed() {
        let result = run(shell("exec sleep 1000"), Duration::ZERO);
        assert!(matches!(result, Err(HarnessError::Timeout { .. })));
    }

    #[test]
    fn a_failing_command_is_shown_with_its_output() {
        let result = run(shell("echo no such luck >&2; exit 2"), Duration::from_secs(60));
        assert!(matches!(result, Err(HarnessError::Failed { ref output, .. }) if output.contains("no such luck")));
    }
}
