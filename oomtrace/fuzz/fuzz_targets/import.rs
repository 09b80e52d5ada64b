//! Any bytes as a kernel log that is imported: no panic, no event that depends on how the log was cut into reads, no kill that
//! depends on what is searched for before a line is looked at, none without a message that tells of it, and nothing but whole lines
//! printed.
#![no_main]

use std::io::{self, Read};

use jiff::{Timestamp, tz::TimeZone};
use libfuzzer_sys::fuzz_target;
use oomtrace::{
    incident::{Assembler, Event, Verdict},
    kmsg::{
        message::Message,
        source::{self, About, Want},
    },
    session::Source,
};
use oomtrace_fuzz::{session::plain, shown::Shown};

fuzz_target!(|bytes: &[u8]| {
    // A compressed log may hold a thousand times as much; what is in it, the decompressors' own fuzzing has for its subject.
    let whole = import(bytes, usize::MAX, false);
    let killed = kills(&whole.events).count();
    assert!(killed <= whole.kills_said, "{killed} kills are told, {} messages tell of one", whole.kills_said);
    // One other way for each input: each takes as long as all else.
    let ways = [(usize::MAX, true), (1, true), (7, false), (4096, true)];
    let (read, prefilter) = ways[bytes.len() % ways.len()];
    let other = import(bytes, read, prefilter);
    // How much a decompressor gives of what stands before the damage depends on how much it was asked for.
    let same = if prefilter {
        // What is left of a report whose words are damaged may be found by a look at every line, and by a search not.
        // Its end decides when it is told, among others that are told meanwhile.
        let sorted = |events| {
            let mut kills: Vec<_> = kills(events).collect();
            kills.sort();
            kills
        };
        sorted(&other.events) == sorted(&whole.events)
    } else {
        other.events == whole.events
    };
    if !whole.damaged && !same {
        panic!("in reads of {read}, prefilter {prefilter}:\n{:?}\n{:?}", other.events, whole.events);
    }
    let mut shown = Shown::default();
    for event in &whole.events {
        shown.check(event);
    }
});

/// Who was killed: process, name, size of the address space.
fn kills(events: &[Event]) -> impl Iterator<Item = (Option<u32>, Option<&str>, Option<u64>)> {
    let victims = events.iter().filter_map(Event::closed).flat_map(|incident| &incident.victims);
    let killed = victims.filter(|victim| victim.verdict != Some(Verdict::AlreadyExiting));
    killed.map(|victim| (victim.pid, victim.comm.as_deref(), victim.total_vm_bytes))
}

/// What came of a log.
#[derive(Default)]
struct Imported {
    events: Vec<Event>,
    /// How often the words of a kill stand in messages.
    kills_said: usize,
    /// It was compressed, and what was compressed is damaged.
    damaged: bool,
}

/// Imports a log: in reads of so many bytes, looking at every line, or only at those that may begin something.
fn import(bytes: &[u8], read: usize, prefilter: bool) -> Imported {
    let mut imported = Imported::default();
    let mut assembler = Assembler::new(plain(), Source::Import);
    let about = About { written: Some(Timestamp::UNIX_EPOCH), zone: TimeZone::UTC };
    let mut take = |message: &Message| {
        const KILLED: &[u8] = b"illed process";
        imported.kills_said += message.text.windows(KILLED.len()).filter(|window| *window == KILLED).count();
        imported.events.extend(assembler.message(message));
        if prefilter && !assembler.wants_everything() { Want::Beginnings } else { Want::Everything }
    };
    // What cannot be read to its end is refused in words; what came before it counts.
    let read = source::read(Pieces { bytes, read }, &about, &mut take, &mut |_| {});
    imported.damaged = read.is_ok_and(|read| read.damage.is_some());
    imported.events.extend(assembler.end());
    imported
}

/// Gives a few bytes at a time.
struct Pieces<'a> {
    bytes: &'a [u8],
    read: usize,
}

impl Read for Pieces<'_> {
    fn read(&mut self, to: &mut [u8]) -> io::Result<usize> {
        let length = self.read.min(to.len());
        self.bytes.read(&mut to[..length])
    }
}
