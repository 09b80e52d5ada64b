//! A shell that is open, as an operator has one when something fails: commands are pasted into it.

use std::io::Write;
use std::process::{Child, ChildStdin, Command, Stdio};

use anyhow::{Context, Result, bail, ensure};

use crate::deadline::Deadline;
use crate::lines::Lines;
use crate::process::{die_with_us, end};

/// Such a shell. Dropping it ends it.
#[derive(Debug)]
pub struct Shell {
    child: Child,
    commands: ChildStdin,
    words: Lines,
    deadline: Deadline,
}

/// What says that a command is done, before its exit status.
const DONE: &str = "the command is done: ";

impl Shell {
    /// Opens one.
    pub fn open(deadline: Deadline) -> Result<Self> {
        Self::start(Command::new("bash"), deadline)
    }

    /// Opens one in all namespaces of a process.
    pub fn open_within(process: u64, deadline: Deadline) -> Result<Self> {
        let mut command = Command::new("nsenter");
        command.args(["--target", &process.to_string(), "--all", "bash"]);
        Self::start(command, deadline)
    }

    fn start(mut command: Command, deadline: Deadline) -> Result<Self> {
        command.args(["--noprofile", "--norc"]).stdin(Stdio::piped()).stdout(Stdio::piped());
        die_with_us(&mut command);
        let mut child = command.spawn().context("bash cannot be started")?;
        let words = Lines::follow(child.stdout.take().context("bash has no standard output")?);
        let commands = child.stdin.take().context("bash has no standard input")?;
        let mut shell = Self { child, commands, words, deadline };
        shell.paste("exec 2>&1")?;
        Ok(shell)
    }

    /// Has it run a command. An error if that fails.
    pub fn paste(&mut self, command: &str) -> Result<()> {
        let what = format!("the command {command:?}");
        writeln!(self.commands, "{command}\necho \"{DONE}$?\"")
            .with_context(|| format!("no shell takes {what}"))?;
        let mut said = Vec::new();
        while let Some(line) = self.words.next(self.deadline, &what)? {
            let line = String::from_utf8_lossy(&line).into_owned();
            if let Some(status) = line.strip_prefix(DONE) {
                ensure!(status == "0", "{what} ends with {status}: {}", said.join("; "));
                return Ok(());
            }
            said.push(line);
        }
        bail!("the shell ended over {what}: {}", said.join("; "))
    }
}

impl Drop for Shell {
    fn drop(&mut self) {
        end(&mut self.child);
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    /// Guards the verdict on a command: one that fails is an error with what it said, and the shell goes on.
    #[test]
    fn a_command_that_fails_is_an_error() {
        let mut shell = Shell::open(Deadline::after(Duration::from_secs(30))).unwrap();
        shell.paste("x=2").unwrap();
        let error = shell.paste("echo no good >&2; (exit 3)").unwrap_err().to_string();
        assert!(error.contains("ends with 3") && error.contains("no good"), "{error}");
        shell.paste("[ $x = 2 ]").unwrap();
        assert!(shell.paste("exit 4").is_err());
    }
}
