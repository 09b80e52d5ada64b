//! What became of a program.

use serde::{Deserialize, Serialize};

use crate::text::printable;

/// What is kept of what a program wrote to its standard error, bytes: what comes first says what is wrong.
pub(super) const STDERR_BYTES: usize = 512;

/// How a program ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Outcome {
    /// By itself, with this status.
    Exited(i32),
    /// By this signal, which was not ours.
    Signalled(i32),
    /// It took longer than it may.
    TookTooLong {
        /// Whether SIGTERM was not enough.
        killed: bool,
    },
    /// It was ended with the agent.
    AgentEnded,
    /// It could not be started.
    NotStarted(String),
}

/// What the runner says of each line.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Report {
    pub outcome: Outcome,
    /// The first of what it wrote to its standard error.
    pub stderr: Vec<u8>,
}

impl Report {
    /// What went wrong with the program, in a sentence without an end; `None`: nothing.
    pub fn failure(&self, program: &str) -> Option<String> {
        let how = match &self.outcome {
            Outcome::Exited(0) => return None,
            Outcome::Exited(status) => format!("{program} ended with status {status}"),
            Outcome::Signalled(signal) => format!("{program} was ended by signal {signal}"),
            Outcome::TookTooLong { killed: false } => format!("{program} took too long and was ended"),
            Outcome::TookTooLong { killed: true } => {
                format!("{program} took too long, went on after SIGTERM, and was killed")
            }
            Outcome::AgentEnded => format!("{program} was ended with the agent"),
            Outcome::NotStarted(reason) => format!("{program} could not be started: {}", printable(reason)),
        };
        let first = self.stderr.get(..STDERR_BYTES).unwrap_or(&self.stderr);
        let said = String::from_utf8_lossy(first);
        Some(match said.trim() {
            "" => how,
            said => format!("{how}, and said: {}", printable(said)),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Guards the agent's own lines against what a program says: it cannot begin a new one, or colour it.
    #[test]
    fn what_a_program_says_is_escaped() {
        let stderr = b"no\noomtrace: all is well\x1b[2J\xff\n".to_vec();
        let failure = Report { outcome: Outcome::Exited(3), stderr }.failure("/bin/x");
        let said = "/bin/x ended with status 3, and said: no\\noomtrace: all is well\\u{1b}[2J\u{fffd}";
        assert_eq!(failure.as_deref(), Some(said));
        let long = Report { outcome: Outcome::Signalled(11), stderr: vec![b'x'; 1 << 20] }.failure("/bin/x");
        assert!(long.is_some_and(|long| long.len() < 600));
        assert_eq!(Report { outcome: Outcome::Exited(0), stderr: b"fine".to_vec() }.failure("/bin/x"), None);
    }
}
