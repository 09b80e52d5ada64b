//! Messages that stand in several: the kernel writes some piece by piece (`pr_cont()`), and a name may have a newline in it.

use super::{open::apart_us, outside};
use crate::kmsg::{
    line::{self, COMM_LEN, Line},
    message::Message,
};

/// Within this, pieces are of one message, µs.
const APART_US: u64 = 100_000;
/// Longest message that is put together, bytes.
const LONGEST: usize = 16 << 10;

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

#[cfg(test)]
mod tests {
    use super::*;

    fn message(text: &str) -> Message {
        Message { text: text.into(), ..Message::default() }
    }

    /// What the pieces are together, if they are one message.
    fn whole(pieces: &[&str]) -> Option<String> {
        let mut piece = message(pieces[0]);
        assert!(goes_on(&piece.text), "{}", pieces[0]);
        for (index, next) in pieces.iter().enumerate().skip(1) {
            match join(&piece, &message(next)) {
                Joined::Whole(whole) if index + 1 == pieces.len() => {
                    return String::from_utf8(whole.text).ok();
                }
                Joined::More(more) => piece = more,
                _ => return None,
            }
        }
        None
    }

    /// Guards lines that the kernel writes in pieces; 3.15 to 3.18 end the line in between (mm/memcontrol.c).
    #[test]
    fn pieces_of_the_kernel() {
        let task = "Task in /a killed as a result of limit of /b";
        assert_eq!(whole(&["Task in /a", " killed as a result of limit of /b"]).as_deref(), Some(task));
        assert_eq!(
            whole(&["Task in ", "/a", " killed as a result of limit of ", "/b"]).as_deref(),
            Some(task)
        );
        let stats = "Memory cgroup stats for /a:";
        assert_eq!(whole(&["Memory cgroup stats for ", "/a:"]).as_deref(), Some(stats));
        let group = "Tasks in /a are going to be killed due to memory.oom.group set";
        let end = " are going to be killed due to memory.oom.group set";
        assert_eq!(whole(&["Tasks in ", "/a", end]).as_deref(), Some(group));
        let (head, tail) =
            ("oom-kill:constraint=CONSTRAINT_NONE,nodemask=(null),cpuset=", "task=x,pid=7,uid=0");
        assert_eq!(whole(&[head, "x,", tail]), None, "a part that may be anybody's");
        assert_eq!(whole(&[&format!("{head}x,"), tail]), Some(format!("{head}x,{tail}")));
        assert_eq!(whole(&["Memory cgroup stats for /a", "Mem-Info:"]), None);
        assert_eq!(whole(&["Task in ", "usb 1-1: new device"]), None);
    }

    /// Guards names with newlines: the line's parts are one, if the next completes it.
    #[test]
    fn names_with_newlines() {
        let kill = |text: &str| match Line::parse(text.as_bytes()) {
            Some(Line::Killed(killed)) => (killed.pid, killed.comm, killed.total_vm_kb),
            other => panic!("{other:?}"),
        };
        let end = ") total-vm:4kB, anon-rss:1kB";
        let two = whole(&["Out of memory: Killed process 7 (a", &format!("b{end}")]).unwrap();
        assert_eq!(kill(&two), (7, "a\nb".to_owned(), Some(4)));
        let three = whole(&["Killed process 7 (", "a", &format!("b{end}")]).unwrap();
        assert_eq!(kill(&three), (7, "\na\nb".to_owned(), Some(4)));
        assert_eq!(whole(&["Killed process 7 (a", "Mem-Info:"]), None);
        assert_eq!(whole(&["Killed process 7 (a", &format!("a name that is too long{end}")]), None);
        assert_eq!(whole(&["Killed process 7 (a", "Out of memory: Killed process 8 (b) total-vm:4kB"]), None);
    }

    /// Guards against pieces of others.
    #[test]
    fn pieces_are_of_one_writer() {
        let piece = message("Killed process 7 (a");
        let next = message("b) total-vm:4kB");
        let by = |next: Message| matches!(join(&piece, &next), Joined::Whole(_));
        assert!(by(next.clone()));
        assert!(!by(Message { caller: Some("T1".to_owned()), ..next.clone() }));
        assert!(!by(Message { host: Some("other".to_owned()), ..next.clone() }));
        let late = |boot_us| crate::kmsg::message::Stamp { boot_us: Some(boot_us), wall: None };
        let first = Message { stamp: late(0), ..piece.clone() };
        assert!(matches!(join(&first, &Message { stamp: late(APART_US), ..next.clone() }), Joined::Whole(_)));
        assert!(matches!(join(&first, &Message { stamp: late(APART_US + 1), ..next }), Joined::No));
    }
}
