//! What a finding says.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::Serialize;

/// One conclusion, with what it rests on and what to do about it.
#[derive(Clone, Debug, PartialEq, Serialize, JsonSchema)]
pub struct Finding {
    /// Names the conclusion: stable, and what `oomtrace explain` takes.
    pub id: &'static str,
    /// What is concluded.
    #[serde(flatten)]
    pub conclusion: Conclusion,
    /// Where to read more about it.
    pub see: String,
}

/// What a rule concludes.
#[derive(Clone, Debug, PartialEq, Serialize, JsonSchema)]
pub struct Conclusion {
    /// How bad it is.
    pub severity: Severity,
    /// Whether it is inferred: it fits what was seen, but something else could fit, too.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub likely: bool,
    /// The conclusion, in a sentence or two.
    pub summary: String,
    /// What it rests on; names have the unit in them.
    pub evidence: BTreeMap<&'static str, Evidence>,
    /// What to do: any of these. None: there is nothing to do.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub fix: Vec<Fix>,
}

/// How bad something is, the worst first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Severity {
    /// The whole machine is in danger, or nothing could be done about the shortage.
    Critical,
    /// It will happen again unless something changes.
    Warning,
    /// Worth knowing.
    Notice,
}

/// A value that a finding rests on.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(untagged)]
pub enum Evidence {
    /// Whether something holds.
    Flag(bool),
    /// A number, in the unit that its name has.
    Number(i64),
    /// A name, or a setting as it stands.
    Text(String),
    /// Several of these.
    List(Vec<String>),
}

impl From<bool> for Evidence {
    fn from(flag: bool) -> Self {
        Self::Flag(flag)
    }
}

impl From<u64> for Evidence {
    fn from(number: u64) -> Self {
        Self::Number(i64::try_from(number).unwrap_or(i64::MAX))
    }
}

impl From<u32> for Evidence {
    fn from(number: u32) -> Self {
        Self::Number(number.into())
    }
}

impl From<i64> for Evidence {
    fn from(number: i64) -> Self {
        Self::Number(number)
    }
}

impl From<i32> for Evidence {
    fn from(number: i32) -> Self {
        Self::Number(number.into())
    }
}

impl From<&str> for Evidence {
    fn from(text: &str) -> Self {
        Self::Text(text.to_owned())
    }
}

impl From<String> for Evidence {
    fn from(text: String) -> Self {
        Self::Text(text)
    }
}

impl From<Vec<String>> for Evidence {
    fn from(list: Vec<String>) -> Self {
        Self::List(list)
    }
}

/// Something that can be done.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
pub struct Fix {
    /// Whether it is done by the command, or begins with a look, or is up to whoever reads it.
    pub kind: FixKind,
    /// What, in a sentence.
    pub what: String,
    /// A command for a shell of root's: all there is to do (`change`), or what shows where to do it (`look`); with `advice`, one
    /// that was not tried. Whatever stands
    /// in it of names from this machine is quoted.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub command: Option<String>,
    /// How long what the command changes stays so, where that is known.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub lasts: Option<Lasts>,
    /// What it may cost.
    pub risk: &'static str,
}

/// How long a change stays, which takes effect at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Lasts {
    /// Until the next boot: settings of the kernel's, and swap.
    UntilBoot,
    /// For good: systemd and container runtimes keep what they are told.
    ForGood,
    /// As long as the cgroup is there.
    WithGroup,
    /// As long as the process runs.
    WithProcess,
}

impl Lasts {
    /// In words.
    #[must_use]
    pub fn words(self) -> &'static str {
        match self {
            Self::UntilBoot => "at once, until the next boot",
            Self::ForGood => "at once, and for good",
            Self::WithGroup => "at once, as long as the group is there",
            Self::WithProcess => "at once, as long as that process runs",
        }
    }
}

/// What a fix comes to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum FixKind {
    /// The command changes what was wrong; each of these was tried, and helped (docs/cures.md).
    Change,
    /// The command changes nothing: it shows who or what is to be changed, which is left to whoever reads it.
    Look,
    /// There is no command that would do for all; or none that was tried: then it stands here.
    Advice,
}

impl Fix {
    /// Something that is done by hand.
    pub fn advice(what: impl Into<String>, risk: &'static str) -> Self {
        Self { kind: FixKind::Advice, what: what.into(), command: None, lasts: None, risk }
    }

    /// Something that a command does.
    pub fn command(what: impl Into<String>, command: String, risk: &'static str) -> Self {
        Self { kind: FixKind::Change, what: what.into(), command: Some(command), lasts: None, risk }
    }

    /// The same, and how long what it changes stays so.
    #[must_use]
    pub fn lasting(self, lasts: Lasts) -> Self {
        Self { lasts: Some(lasts), ..self }
    }

    /// Something that a command should do, which none of the tests has run: it takes what is in none of their machines.
    pub fn untried(what: impl Into<String>, command: String, risk: &'static str) -> Self {
        Self { kind: FixKind::Advice, ..Self::command(what, command, risk) }
    }

    /// Something for which a command shows where to do it. The risk is that of what is then done.
    pub fn look(what: impl Into<String>, command: impl Into<String>, risk: &'static str) -> Self {
        Self { kind: FixKind::Look, what: what.into(), command: Some(command.into()), lasts: None, risk }
    }
}

impl Conclusion {
    fn new(severity: Severity, summary: String) -> Self {
        Self { severity, likely: false, summary, evidence: BTreeMap::new(), fix: Vec::new() }
    }

    /// That the machine is in danger.
    pub fn critical(summary: impl Into<String>) -> Self {
        Self::new(Severity::Critical, summary.into())
    }

    /// That it will happen again.
    pub fn warning(summary: impl Into<String>) -> Self {
        Self::new(Severity::Warning, summary.into())
    }

    /// Something that is worth knowing.
    pub fn notice(summary: impl Into<String>) -> Self {
        Self::new(Severity::Notice, summary.into())
    }

    /// The same, but inferred.
    #[must_use]
    pub fn likely(mut self) -> Self {
        self.likely = true;
        self
    }

    /// Adds what it rests on.
    #[must_use]
    pub fn with(mut self, name: &'static str, value: impl Into<Evidence>) -> Self {
        self.evidence.insert(name, value.into());
        self
    }

    /// The same, if it is known.
    #[must_use]
    pub fn with_known(self, name: &'static str, value: Option<impl Into<Evidence>>) -> Self {
        match value {
            Some(value) => self.with(name, value),
            None => self,
        }
    }

    /// Adds something that can be done; what is most to the point comes first.
    #[must_use]
    pub fn fix(mut self, fix: Fix) -> Self {
        self.fix.push(fix);
        self
    }
}
