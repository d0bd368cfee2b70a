//! The commands of the README, run as they stand there, so that it promises nothing that does not work.
//!
//! A fenced block that a test runs begins with the language and a name: "```sh a name". What is of one machine alone (ports,
//! folders) stands there as an example, which the test replaces with its own and must find.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use tempfile::TempDir;

use crate::error::HarnessError;
use crate::process::{self, Process};

/// Printed between what one command printed and what the next one does; no program prints it.
const SEPARATOR: char = '\u{1e}';

/// The lines of a block, one command each; one that ends with a backslash has the next one with it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Commands(Vec<String>);

/// A command, and what it printed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Said {
    /// The command.
    pub command: String,
    /// What it printed, without the end of the last line.
    pub output: String,
}

impl Commands {
    /// The block of the README with this name.
    ///
    /// # Errors
    /// When there is none.
    pub fn of_readme(name: &str) -> Result<Self, HarnessError> {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../README.md");
        let text = fs::read_to_string(&path).map_err(HarnessError::file("read", &path))?;
        Self::in_document(&text, name)
            .ok_or_else(|| HarnessError::Story(format!("{} has no commands named `{name}`", path.display())))
    }

    fn in_document(text: &str, name: &str) -> Option<Self> {
        let mut lines = text.lines().skip_while(|line| *line != format!("```sh {name}"));
        lines.next()?;
        let mut commands: Vec<String> = Vec::new();
        for line in lines.take_while(|line| !line.starts_with("```")) {
            match commands.last_mut().filter(|command| command.ends_with('\\')) {
                Some(command) => {
                    command.push('\n');
                    command.push_str(line);
                }
                None => commands.push(line.to_owned()),
            }
        }
        Some(Self(commands))
    }

    /// With what this machine has in the place of an example.
    ///
    /// # Errors
    /// When the example is not there.
    pub fn with(self, example: &str, ours: &str) -> Result<Self, HarnessError> {
        if self.0.iter().any(|command| command.contains(example)) {
            Ok(Self(self.0.into_iter().map(|command| command.replace(example, ours)).collect()))
        } else {
            Err(HarnessError::Story(format!("the README no longer has the example `{example}` in {:?}", self.0)))
        }
    }

    /// These and then the others, in one shell.
    #[must_use]
    pub fn then(mut self, others: Self) -> Self {
        self.0.extend(others.0);
        self
    }

    /// Each command by itself.
    pub fn each(&self) -> impl Iterator<Item = Self> {
        self.0.iter().map(|command| Self(vec![command.clone()]))
    }

    fn script(&self) -> String {
        let one = |command: &String| format!("printf '\\036'\n{command}\n");
        format!("set -ex\n{}", self.0.iter().map(one).collect::<String>())
    }

    fn said(&self, output: &str) -> Vec<Said> {
        let outputs = output.split(SEPARATOR).skip(1).map(|output| output.trim_end_matches('\n').to_owned());
        self.0.iter().cloned().zip(outputs).map(|(command, output)| Said { command, output }).collect()
    }
}

/// A person's terminal: a folder to work in, a home of its own, and programs under their names.
#[derive(Debug)]
pub struct Terminal {
    folder: TempDir,
    environment: Vec<(String, String)>,
}

impl Terminal {
    /// One in which programs with these names are found before those of the machine.
    ///
    /// # Errors
    /// When the folder cannot be made.
    pub fn open(programs: &[(&str, &Path)]) -> Result<Self, HarnessError> {
        let folder = TempDir::with_prefix("aquifer-terminal-")
            .map_err(HarnessError::file("make a folder in", &std::env::temp_dir()))?;
        let bin = folder.path().join("bin");
        fs::create_dir(&bin).map_err(HarnessError::file("make", &bin))?;
        for (name, program) in programs {
            let link = bin.join(name);
            symlink(program, &link).map_err(HarnessError::file("make", &link))?;
        }
        let path = format!("{}:{}", bin.display(), std::env::var("PATH").unwrap_or_default());
        let home = folder.path().display().to_string();
        Ok(Self { folder, environment: vec![("PATH".to_owned(), path), ("HOME".to_owned(), home)] })
    }

    /// Sets a variable, as `export` does.
    pub fn export(&mut self, name: &str, value: &str) {
        self.environment.push((name.to_owned(), value.to_owned()));
    }

    /// A file or folder in its folder.
    pub fn file(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// A line for its shell.
    pub fn command(&self, script: &str) -> Command {
        let mut command = Command::new("sh");
        command.args(["-c", script]).current_dir(self.folder.path());
        command.envs(self.environment.iter().map(|(name, value)| (name, value)));
        command
    }

    /// Runs the commands in one shell and gives what each of them said.
    ///
    /// # Errors
    /// When one fails, with what was said last; the others are not run then.
    pub fn run(&self, commands: &Commands, limit: Duration) -> Result<Vec<Said>, HarnessError> {
        process::run(self.command(&commands.script()), limit).map(|output| commands.said(&output))
    }

    /// Starts the commands, the last of which stays.
    ///
    /// # Errors
    /// When the shell cannot be started.
    pub fn start(&self, name: &str, commands: &Commands) -> Result<Process, HarnessError> {
        Process::spawn(name, self.command(&commands.script()), &self.file(&format!("{name}.log")))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMIT: Duration = Duration::from_secs(10);
    const DOCUMENT: &str = "\
words
```
not these
```
```sh first
alias say='echo example said:'
say one
say \"$(say two)\" \\
    three
```
```sh second
echo \"in $(basename \"$PWD\" | cut -c 1-8)\"
false
echo never
```
";

    #[test]
    fn commands_are_found_by_their_name_and_run_as_they_stand() -> Result<(), HarnessError> {
        let [first, second] = ["first", "second"].map(|name| Commands::in_document(DOCUMENT, name));
        let (Some(first), Some(second)) = (first, second) else {
            return Err(HarnessError::Story("a block was not found".to_owned()));
        };
        assert_eq!((first.0.len(), Commands::in_document(DOCUMENT, "third")), (3, None));
        assert!(first.clone().with("no such example", "x").is_err());
        let terminal = Terminal::open(&[])?;
        let said = terminal.run(&first.with("example", "it")?, LIMIT)?;
        let outputs: Vec<&str> = said.iter().map(|said| said.output.as_str()).collect();
        assert_eq!(outputs, ["", "it said: one", "it said: it said: two three"]);
        let text = terminal.run(&second, LIMIT).map_err(|error| error.to_string());
        assert!(
            matches!(&text, Err(text) if text.contains("in aquifer-") && text.contains("+ false") && !text.contains("+ echo never")),
            "{text:?}"
        );
        Ok(())
    }
}
