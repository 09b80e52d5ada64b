//! Child processes whose failure is an error that says what went wrong.

use std::env;
use std::ffi::OsString;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Error, Result, anyhow, bail};

use crate::workspace;

/// How much of a failed program's own words an error repeats.
const WORDS: usize = 12;
/// How many words of a command line an error repeats.
const NAME: usize = 6;

/// Runs a command to its end and returns what it wrote to its standard output; its standard error is shown only
/// inside the error of a failure.
pub fn output(command: &mut Command) -> Result<String> {
    let output = command
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .output()
        .map_err(|err| not_started(command, err))?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    if output.status.success() {
        return Ok(text);
    }
    let words = String::from_utf8_lossy(&output.stderr);
    let words = if words.trim().is_empty() { text.as_str() } else { words.as_ref() };
    bail!("`{}` failed ({}):\n{}", name(command), output.status, last_lines(words, WORDS));
}

/// Runs a command that shares our terminal.
pub fn inherit(command: &mut Command) -> Result<()> {
    let status = command.status().map_err(|err| not_started(command, err))?;
    if status.success() { Ok(()) } else { Err(anyhow!("`{}` failed ({status})", name(command))) }
}

/// The cargo that runs us, in this workspace.
pub fn cargo() -> Command {
    let mut cargo = Command::new(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    cargo.current_dir(workspace::root());
    cargo
}

/// The file that a program's name stands for on the PATH.
pub fn find(program: &str) -> Option<PathBuf> {
    let path = env::var_os("PATH")?;
    env::split_paths(&path).map(|dir| dir.join(program)).find(|file| file.is_file())
}

/// A PATH with one folder put in front of our own.
pub fn path_with(front: &Path) -> Result<OsString> {
    let path = env::var_os("PATH").unwrap_or_default();
    let dirs = std::iter::once(front.to_path_buf()).chain(env::split_paths(&path));
    env::join_paths(dirs).with_context(|| format!("{} cannot stand in a PATH", front.display()))
}

/// The last lines of a text.
pub fn last_lines(text: &str, count: usize) -> String {
    let lines: Vec<&str> = text.trim_end().lines().collect();
    lines.get(lines.len().saturating_sub(count)..).unwrap_or_default().join("\n")
}

fn not_started(command: &Command, err: std::io::Error) -> Error {
    if err.kind() == ErrorKind::NotFound {
        anyhow!("{} is not installed", command.get_program().display())
    } else {
        Error::new(err).context(format!("cannot start {}", command.get_program().display()))
    }
}

/// The command's first words, which are enough to know it by.
fn name(command: &Command) -> String {
    let mut words = vec![command.get_program().to_string_lossy().into_owned()];
    words.extend(command.get_args().map(|arg| arg.to_string_lossy().into_owned()));
    if words.len() > NAME {
        words.truncate(NAME);
        words.push("...".into());
    }
    words.join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Guards that an error repeats what the failed program said.
    #[test]
    fn a_failure_repeats_the_programs_words() {
        let err = output(Command::new("sh").args(["-c", "echo out of cheese >&2; exit 7"])).unwrap_err();
        assert!(err.to_string().contains("out of cheese"), "{err}");
        assert!(err.to_string().contains('7'), "{err}");
    }

    /// Guards that a missing program is called missing, not "os error 2".
    #[test]
    fn a_missing_program_is_named() {
        let err = output(&mut Command::new("no-such-program-here")).unwrap_err();
        assert_eq!(err.to_string(), "no-such-program-here is not installed");
    }

    /// Guards the cut at the end of a long log.
    #[test]
    fn last_lines_keeps_the_end() {
        assert_eq!(last_lines("a\nb\nc\n", 2), "b\nc");
        assert_eq!(last_lines("a", 2), "a");
    }
}
