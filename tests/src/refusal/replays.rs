//! `replay` of what is no recording, or a damaged one.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result};

use super::ending::{ends, status};
use super::run::{Installed, Start};
use crate::stage::{Stage, argument};
use crate::tracer::Tracer;

/// Where the head's session begins: after "OOMTRACE", a version and a length of 4 bytes each.
const SESSION: usize = 16;

/// A recording whose parts are known: head, frames of a length, so many bytes and a checksum.
#[derive(Debug)]
struct Recording {
    bytes: Vec<u8>,
    /// Where each frame begins, and the end.
    frames: Vec<usize>,
}

/// A damaged recording.
struct Case {
    name: &'static str,
    /// The damage.
    damage: fn(&Recording) -> Vec<u8>,
    /// How many frames are whole; None if it is not to be read at all.
    whole: fn(&Recording) -> Option<usize>,
    /// What oomtrace has to say beside the path.
    words: &'static [&'static str],
}

static CASES: &[Case] = &[
    Case { name: "empty", damage: |_| Vec::new(), whole: |_| None, words: &["not a record file"] },
    Case {
        name: "a program",
        damage: |_| b"\x7fELF\x02\x01\x01".to_vec(),
        whole: |_| None,
        words: &["not a record file"],
    },
    Case { name: "older", damage: |it| it.with(8, 0), whole: |_| None, words: &["version 0", "older"] },
    Case { name: "newer", damage: |it| it.with(8, 2), whole: |_| None, words: &["version 2", "newer"] },
    Case {
        name: "cut in the head",
        damage: |it| it.first(SESSION + 5),
        whole: |_| None,
        words: &["ends in the middle"],
    },
    Case {
        name: "flipped in the head",
        damage: |it| it.flipped(SESSION + 5),
        whole: |_| None,
        words: &["damaged"],
    },
    Case {
        name: "a huge head",
        damage: |it| it.with(SESSION - 1, 0xff),
        whole: |_| None,
        words: &["damaged"],
    },
    Case {
        name: "cut in the last frame",
        damage: |it| it.first(it.bytes.len() - 1),
        whole: |it| Some(it.last()),
        words: &["ends in the middle"],
    },
    Case {
        name: "cut in the middle frame",
        damage: |it| it.first(it.start(it.middle()) + 9),
        whole: |it| Some(it.middle()),
        words: &["ends in the middle"],
    },
    Case {
        name: "flipped in the last frame",
        damage: |it| it.flipped(it.bytes.len() - 9),
        whole: |it| Some(it.last()),
        words: &["damaged"],
    },
    Case {
        name: "flipped in the middle frame",
        damage: |it| it.flipped(it.start(it.middle()) + 9),
        whole: |it| Some(it.middle()),
        words: &["damaged"],
    },
    Case {
        name: "a huge frame",
        damage: |it| it.with(it.start(it.middle()) + 3, 0xff),
        whole: |it| Some(it.middle()),
        words: &["damaged"],
    },
    Case {
        name: "more behind the end",
        damage: |it| [it.bytes.as_slice(), b"more behind"].concat(),
        whole: |it| Some(it.last() + 1),
        words: &["damaged"],
    },
];

/// Checks each.
pub fn cases(stage: &mut Stage<'_>, oomtrace: &Installed, recording: &Path) -> Result<()> {
    for (arguments, words) in [
        (["replay", "/no/such/file"], ["/no/such/file", "No such file"]),
        (["replay", "/proc"], ["/proc", "directory"]),
        // Standard input is empty.
        (["replay", "-"], ["-", "not a record file"]),
    ] {
        let run = oomtrace.start(&Start::default(), &arguments)?;
        ends(stage, &arguments.join(" "), run, (status::FAILED, &words));
    }
    let bytes = fs::read(recording).with_context(|| format!("cannot read {}", recording.display()))?;
    let recording = Recording::of(bytes).context("a whole recording does not have the documented form")?;
    stage.checks.note("frames recorded", recording.last() + 1);
    let file = oomtrace.scratch.file("damaged");
    let path = argument(&file)?;
    let replay = |bytes: &[u8]| -> Result<Tracer> {
        fs::write(&file, bytes).with_context(|| format!("cannot write {path}"))?;
        oomtrace.start(&Start::default(), &["replay", "--json", path])
    };
    for case in CASES {
        let name = format!("replay of a file that is damaged ({})", case.name);
        let words = [&[path], case.words].concat();
        let damaged = ends(stage, &name, replay(&(case.damage)(&recording))?, (status::FAILED, &words));
        let shown = damaged.map(|damaged| damaged.stdout);
        let before = match (case.whole)(&recording) {
            None => Some(Vec::new()),
            Some(frames) => {
                let whole = replay(&recording.first(recording.start(frames)))?;
                let whole = ends(stage, &format!("{name}, what came before"), whole, (status::DONE, &[]));
                let lines = whole.map(|whole| whole.stdout).unwrap_or_default();
                stage.checks.that(!lines.is_empty(), || format!("{name}: nothing came before"));
                Some(lines)
            }
        };
        stage.checks.that(shown == before, || {
            let [shown, before] = [shown, before].map(|lines| lines.map(|lines| lines.len()));
            format!("{name}: of {before:?} lines that came before the damage, {shown:?} or others are shown")
        });
    }
    Ok(())
}

impl Recording {
    /// Finds the frames.
    fn of(bytes: Vec<u8>) -> Option<Self> {
        let length = |at: usize| {
            let word = bytes.get(at..at.checked_add(4)?)?.try_into().ok()?;
            usize::try_from(u32::from_le_bytes(word)).ok()
        };
        let mut at = SESSION + length(SESSION - 4)? + 4;
        let mut frames = vec![at];
        while at < bytes.len() {
            at += 4 + length(at)? + 4;
            frames.push(at);
        }
        (at == bytes.len() && frames.len() > 2).then_some(Self { bytes, frames })
    }

    /// The number of the last frame.
    fn last(&self) -> usize {
        self.frames.len().saturating_sub(2)
    }

    /// The number of a frame in the middle.
    fn middle(&self) -> usize {
        self.last() / 2 + 1
    }

    /// Where a frame begins.
    fn start(&self, frame: usize) -> usize {
        self.frames.get(frame).copied().unwrap_or_default()
    }

    /// Its first bytes.
    fn first(&self, length: usize) -> Vec<u8> {
        self.bytes.iter().take(length).copied().collect()
    }

    /// The whole with another byte in one place.
    fn with(&self, at: usize, byte: u8) -> Vec<u8> {
        let mut bytes = self.bytes.clone();
        bytes.iter_mut().skip(at).take(1).for_each(|there| *there = byte);
        bytes
    }

    /// The whole with one bit flipped.
    fn flipped(&self, at: usize) -> Vec<u8> {
        self.with(at, self.bytes.get(at).copied().unwrap_or_default() ^ 0x10)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A head of 3 bytes and frames of 2, 0 and 5, with checksums that nobody looks at.
    fn recording() -> Recording {
        let part = |length: u32| [&length.to_le_bytes()[..], &vec![7; length as usize], &[0; 4]].concat();
        Recording::of([&b"OOMTRACE\x01\0\0\0"[..], &part(3), &part(2), &part(0), &part(5)].concat()).unwrap()
    }

    /// Guards the search for frames, which the cases count by.
    #[test]
    fn frames_are_found() {
        let it = recording();
        assert_eq!(it.frames, [23, 33, 41, 54]);
        assert_eq!((it.last(), it.start(it.last()), it.bytes.len()), (2, 41, 54));
        assert!(Recording::of(it.first(53)).is_none());
    }

    /// Guards the damage: each case changes what it says, and no two are the same file.
    #[test]
    fn every_case_is_damaged_in_its_own_way() {
        let it = recording();
        let files: std::collections::BTreeSet<_> = CASES.iter().map(|case| (case.damage)(&it)).collect();
        assert_eq!(files.len(), CASES.len());
        assert!(!files.contains(&it.bytes));
        for case in CASES {
            let whole = (case.whole)(&it);
            assert!(whole.is_none_or(|frames| it.start(frames) > SESSION), "{}", case.name);
        }
    }
}
