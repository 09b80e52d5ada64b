//! Settings of servers, as they stand on command lines and in environments.

use std::collections::BTreeMap;

use super::{
    case::{Case, Room},
    finding::Conclusion,
};
use crate::{record::environment::Quotes, words};

/// A program with its settings, and what it can have of memory.
#[derive(Clone, Copy, Debug)]
pub struct Server<'a> {
    /// What it was started with, itself first.
    pub arguments: &'a [String],
    /// Of its environment what sets how much memory it uses, if that is known.
    pub environment: Option<&'a BTreeMap<String, String>>,
    /// What it can have at the most.
    pub room: Option<Room<'a>>,
    /// All memory of the machine.
    pub memory_bytes: Option<u64>,
}

impl<'a> Server<'a> {
    /// The victim of an incident.
    pub fn of(case: &Case<'a>) -> Option<Self> {
        let victim = case.victim()?;
        Some(Self {
            arguments: victim.command.cmdline.as_deref().unwrap_or_default(),
            environment: victim.environment.as_ref(),
            room: case.room(),
            memory_bytes: case.memory_bytes(),
        })
    }

    /// Its arguments, if its program has one of these names.
    pub fn named(&self, programs: &[&str]) -> Option<&'a [String]> {
        let program = self.arguments.first()?.rsplit('/').next()?;
        programs.contains(&program).then_some(self.arguments)
    }

    /// The options in a variable of its environment.
    pub fn variable(&self, name: &str) -> impl Iterator<Item = &'a str> + use<'a> {
        let value = self.environment.and_then(|environment| environment.get(name));
        let mut within = Quotes::default();
        let apart = move |letter: char| {
            let quoted = u8::try_from(letter).is_ok_and(|byte| within.after(byte));
            !quoted && letter.is_ascii_whitespace()
        };
        value.map_or("", String::as_str).split(apart).filter(|option| !option.is_empty())
    }

    /// Whether a setting of this size cannot fit.
    pub fn misfit(&self, bytes: u64) -> Option<Misfit<'a>> {
        // No server gets by with less than a fifth beside its heap or its main cache: threads, buffers, code, page tables.
        self.misfit_leaving(bytes, 5)
    }

    /// The same where it takes so small a part (one in so many) beside it.
    pub fn misfit_leaving(&self, bytes: u64, part: u64) -> Option<Misfit<'a>> {
        let room = self.room?;
        (bytes > room.bytes - room.bytes / part.max(1)).then_some(Misfit { room, alone: bytes > room.bytes })
    }
}

/// The value of an option that stands as `--name=value` or `--name value`: of several, the last, as programs take it. `-` and
/// `_` in names are the same.
pub fn option<'a>(arguments: &'a [String], name: &str) -> Option<&'a str> {
    let is_name = |text: &str| {
        let plain = |letter: char| if letter == '_' { '-' } else { letter };
        text.chars().map(plain).eq(name.chars().map(plain))
    };
    (1..arguments.len()).rev().find_map(|at| {
        let argument = arguments.get(at)?;
        match argument.split_once('=') {
            Some((left, value)) => is_name(left).then_some(value),
            None => is_name(argument).then(|| arguments.get(at + 1).map(String::as_str))?,
        }
    })
}

/// A size with an optional unit: K, M, G or T, with or without B (powers of 1024); without one in `unit` bytes.
pub fn size(text: &str, unit: u64) -> Option<u64> {
    let text = text.trim();
    let end = text.find(|letter: char| !letter.is_ascii_digit()).unwrap_or(text.len());
    let (number, suffix) = text.split_at(end);
    let suffix = suffix.trim().to_ascii_lowercase();
    let factor = match suffix.strip_suffix('b').unwrap_or(&suffix) {
        "" if suffix.is_empty() => unit,
        "" => 1,
        "k" => 1 << 10,
        "m" => 1 << 20,
        "g" => 1 << 30,
        "t" => 1 << 40,
        _ => return None,
    };
    number.parse::<u64>().ok()?.checked_mul(factor)
}

/// How a setting compares with what the process can have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Misfit<'a> {
    /// What there is.
    pub room: Room<'a>,
    /// Whether the setting alone is more than that. Else it leaves too little for everything else: a fifth, or less.
    pub alone: bool,
}

impl Misfit<'_> {
    /// A conclusion about what takes this much.
    pub fn told(&self, what: &str, setting_bytes: u64) -> Conclusion {
        let told = Conclusion::warning(format!(
            "{what}, which {} {} ({})",
            self.how(),
            self.whose(),
            words::size(self.room.bytes)
        ))
        .with("setting_bytes", setting_bytes)
        .with("room_bytes", self.room.bytes)
        .with_known("limit_at", self.room.of);
        if self.alone { told } else { told.likely() }
    }

    /// Whose limit the room is, in words.
    fn whose(&self) -> &'static str {
        if self.room.of.is_some() { "the limit of its memory cgroup" } else { "the machine's memory" }
    }

    /// How the setting compares, in words.
    fn how(&self) -> &'static str {
        if self.alone { "is more than" } else { "leaves too little for the rest of the program within" }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn arguments(line: &str) -> Vec<String> {
        line.split(' ').map(str::to_owned).collect()
    }

    /// Guards options: both forms, the last of several, and names that only begin alike are others.
    #[test]
    fn the_last_of_several_options_counts() {
        let line = arguments("mysqld --buffer-pool=1G --buffer_pool 2G --buffer-pool-size=3G --last");
        assert_eq!(option(&line, "--buffer-pool"), Some("2G"));
        assert_eq!(option(&line, "--buffer-pool-size"), Some("3G"));
        assert_eq!(option(&line, "--buffer"), None);
        assert_eq!(option(&line, "--last"), None);
        assert_eq!(option(&[], "--last"), None);
    }

    /// Guards sizes: their units, and that nonsense is none.
    #[test]
    fn sizes_have_units() {
        assert_eq!(size("512", 1 << 20), Some(512 << 20));
        assert_eq!(size("512B", 1 << 20), Some(512));
        assert_eq!(size("2g", 1), Some(2 << 30));
        assert_eq!(size("3 MB", 1), Some(3 << 20));
        for nonsense in ["", "g", "1x", "-1", "1.5G", "99999999999999T"] {
            assert_eq!(size(nonsense, 1), None, "{nonsense}");
        }
    }

    /// Guards the program's name: by its file's name, not by how it begins.
    #[test]
    fn programs_are_known_by_their_file() {
        let known = |line: &str| {
            let arguments = arguments(line);
            Server { arguments: &arguments, environment: None, room: None, memory_bytes: None }
                .named(&["java"])
                .is_some()
        };
        assert!(known("/usr/bin/java -Xmx1g"));
        assert!(!known("javac -Xmx1g"));
        assert!(!known("sh -c java"));
        assert!(
            Server { arguments: &[], environment: None, room: None, memory_bytes: None }
                .named(&["java"])
                .is_none()
        );
    }
}
