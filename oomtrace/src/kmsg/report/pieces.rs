//! Messages that stand in several: the kernel writes some piece by piece (`pr_cont()`), and a name may have a newline in it.

use super::{open::apart_us, outside};
use crate::kmsg::{
    line::{self, Line},
    message::Message,
};

/// Within this, pieces are of one message, µs.
const APART_US: u64 = 100_000;
/// Longest message that is put together, bytes.
const LONGEST: usize = 16 << 10;
/// Longest name of a thread, bytes.
const COMM_LEN: usize = 15;

/// What two messages are together.
#[derive(Debug)]
pub enum Joined {
    /// One.
    Whole(Message),
    /// A longer piece of one.
    More(Message),
    /// Two.
    No,
}

/// Whether a message may go on in the next.
pub fn goes_on(text: &[u8]) -> bool {
    match text.first() {
        Some(b'T') => {
            text.starts_with(b"Task in ") && outside::task_in(text).is_none()
                || text.starts_with(b"Tasks in ") && Line::parse(text).is_none()
        }
        Some(b'M') => {
            text.starts_with(b"Memory cgroup stats for ") && !text.ends_with(b":") && !text.ends_with(b"KB")
                || is_cut_kill(text)
        }
        Some(b'o') => {
            text.starts_with(b"oom-kill:constraint=")
                && matches!(Line::parse(text), Some(Line::Decided(decided)) if decided.pid.is_none())
        }
        Some(b'c') => text == b"cgroup: fork rejected by pids controller in ",
        Some(b'K' | b'O' | b'N') => is_cut_kill(text),
        _ => false,
    }
}

/// A kill whose name goes on behind a newline.
fn is_cut_kill(text: &[u8]) -> bool {
    line::cut_kill(text).is_some() && Line::parse(text).is_none()
}

/// Puts a message to what may go on in it.
pub fn join(piece: &Message, next: &Message) -> Joined {
    let one = piece.host == next.host
        && piece.boot_id == next.boot_id
        && piece.caller == next.caller
        && apart_us(piece.stamp, next.stamp).is_none_or(|apart_us| apart_us <= APART_US)
        && piece.text.len() + next.text.len() < LONGEST;
    if !one || Line::parse(&next.text).is_some() {
        return Joined::No;
    }
    let named = is_cut_kill(&piece.text);
    let mut whole = piece.clone();
    if named {
        whole.text.push(b'\n');
    }
    whole.text.extend(&next.text);
    let more = if named {
        if matches!(Line::parse(&whole.text), Some(Line::Killed(_))) {
            return Joined::Whole(whole);
        }
        next.text.len() < COMM_LEN && !next.text.ends_with(b":")
    } else {
        // A path, or the kernel's words behind one. (A cpuset's name has no slash: of a decision only the end tells.)
        let fits = matches!(next.text.first(), Some(b'/' | b' ' | b',' | b':'));
        if (fits || whole.text.starts_with(b"oom-kill:")) && !goes_on(&whole.text) {
            return Joined::Whole(whole);
        }
        fits
    };
    if more { Joined::More(whole) } else { Joined::No }
}
