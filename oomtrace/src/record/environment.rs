//! Of a process's environment what tells how much memory it is set to use. Everything else in it is nobody's business: it is
//! neither kept nor shown, and in no record file.

use std::collections::BTreeMap;

use oomtrace_ebpf::{Cmdline, RecordKind};
use zerocopy::{FromBytes as _, IntoBytes as _};

use super::{decode::DecodeError, types::Environment};
use crate::{secrets, text};

/// The variables that are kept: Go's, the JVM's and its launcher's, and that of Node.js.
pub const NAMES: [&str; 5] =
    ["GOMEMLIMIT", "JAVA_TOOL_OPTIONS", "JDK_JAVA_OPTIONS", "_JAVA_OPTIONS", "NODE_OPTIONS"];

/// What is kept of an environment, its variables ended by NUL as in memory: the first of each name, as getenv() finds it. The
/// last one may be cut short where the environment goes on.
fn kept(text: &[u8], truncated: bool) -> impl Iterator<Item = (&'static str, &[u8])> {
    let whole = if truncated { text.iter().rposition(|byte| *byte == 0).unwrap_or(0) } else { text.len() };
    let all = move || text.get(..whole).unwrap_or_default().split(|byte| *byte == 0);
    NAMES.into_iter().filter_map(move |name| {
        let value = all().find_map(|variable| variable.strip_prefix(name.as_bytes())?.strip_prefix(b"="))?;
        Some((name, value))
    })
}

/// The head of a record, and its text.
fn parts(record: &[u8]) -> Option<(Cmdline, &[u8])> {
    let (head, text) = Cmdline::read_from_prefix(record).ok()?;
    let len = usize::try_from(head.len).ok()?;
    Some((head, text.get(..len)?))
}

/// Leaves in a record nothing but what is kept, without its secrets. Of a record that is damaged nothing is left.
pub fn strip(record: &mut Vec<u8>) {
    let Some((mut head, text)) = parts(record) else { return record.clear() };
    let truncated = head.total > u64::from(head.len);
    let mut shown = Vec::new();
    for (name, value) in kept(text, truncated) {
        shown.extend(name.as_bytes());
        shown.push(b'=');
        shown.extend(masked(value));
        shown.push(0);
    }
    let unread = head.total.saturating_sub(head.len.into());
    // Masks are longer than what they stand for, but the record is as short as a few variables.
    head.len = u32::try_from(shown.len()).unwrap_or(0);
    head.total = unread.saturating_add(shown.len() as u64);
    head.header.size = u16::try_from(size_of::<Cmdline>() + shown.len()).unwrap_or(u16::MAX);
    *record = [head.as_bytes(), &shown].concat();
}

/// Options, without what looks like a secret.
fn masked(options: &[u8]) -> Vec<u8> {
    // As the arguments of some program.
    let mut arguments = options.to_vec();
    let mut within = Quotes::default();
    for byte in &mut arguments {
        if !within.after(*byte) && *byte == b' ' {
            *byte = 0;
        }
    }
    let shown = secrets::masked(&[b"\0", &arguments[..]].concat());
    shown.iter().skip(1).map(|byte| if *byte == 0 { b' ' } else { *byte }).collect()
}

/// Whether text is within quotes, as it is read from its beginning: what is there is no option of its own. Of an open one that is
/// all the rest.
#[derive(Clone, Copy, Debug, Default)]
pub struct Quotes(Option<u8>);

impl Quotes {
    /// Takes in the next byte: whether what follows is within.
    pub fn after(&mut self, byte: u8) -> bool {
        match self.0 {
            Some(quote) if quote == byte => self.0 = None,
            None if matches!(byte, b'"' | b'\'') => self.0 = Some(byte),
            _ => {}
        }
        self.0.is_some()
    }
}

/// What is kept of an environment as /proc shows it, without its secrets.
pub fn of_text(text: &[u8], truncated: bool) -> BTreeMap<String, String> {
    let shown = |(name, value): (&str, &[u8])| (name.to_owned(), text::from_kernel(&masked(value)));
    kept(text, truncated).map(shown).collect()
}

/// What a record says: of one that somebody else made, no other variables either.
pub(super) fn decode(bytes: &[u8]) -> Result<Environment, DecodeError> {
    let wrong = DecodeError::Size {
        kind: RecordKind::Environment,
        size: bytes.len(),
        expected: size_of::<Cmdline>(),
    };
    let (head, text) = parts(bytes).ok_or(wrong)?;
    let truncated = head.total > u64::from(head.len);
    let variables: BTreeMap<_, _> =
        kept(text, truncated).map(|(name, value)| (name.to_owned(), text::from_kernel(value))).collect();
    let start_boot_ns = (head.start_boot_ns != 0).then_some(head.start_boot_ns);
    Ok(Environment { pid: head.pid, start_boot_ns, variables, truncated })
}

#[cfg(test)]
mod tests {
    use zerocopy::FromZeros as _;

    use super::*;
    use crate::record::{Record, decode as decode_any, privacy};

    fn record(text: &[u8], total: usize) -> Vec<u8> {
        let mut head = Cmdline::new_zeroed();
        head.header.kind = RecordKind::Environment as u16;
        head.pid = 7;
        head.len = u32::try_from(text.len()).unwrap();
        head.total = total as u64;
        let mut record = [head.as_bytes(), text].concat();
        // What was in the ring before.
        record.resize(512, b'x');
        record
    }

    fn told(record: &[u8]) -> Vec<(String, String)> {
        let Ok(Record::Environment(_, environment)) = decode_any(record) else { panic!("no environment") };
        environment.variables.clone().into_iter().collect()
    }

    fn has(record: &[u8], text: &str) -> bool {
        record.windows(text.len()).any(|window| window == text.as_bytes())
    }

    /// Guards what is recorded: of an environment the five variables alone, and of these no secret; nothing of earlier records.
    #[test]
    fn nothing_but_the_named_variables_is_left() {
        let text = b"AWS_SECRET_ACCESS_KEY=hunter2\0GOMEMLIMIT=512MiB\0HOME=/root\0\
                     JAVA_TOOL_OPTIONS=-Xmx1g -Djavax.net.ssl.keyStorePassword=opensesame\0XGOMEMLIMIT=9\0\
                     NODE_OPTIONS=--max-old-space-size=64\0GOMEMLIMIT=2\0";
        let mut record = record(text, text.len());
        // Whatever is decoded has no other variable, masked or not.
        assert_eq!(told(&record).len(), 3);
        privacy::mask(&mut record);
        for secret in ["hunter2", "opensesame", "AWS", "HOME", "xxx", "XGO"] {
            assert!(!has(&record, secret), "{secret} is left");
        }
        let variables = [
            ("GOMEMLIMIT", "512MiB"),
            ("JAVA_TOOL_OPTIONS", "-Xmx1g -Djavax.net.ssl.keyStorePassword=***"),
            ("NODE_OPTIONS", "--max-old-space-size=64"),
        ];
        assert_eq!(told(&record), variables.map(|(name, value)| (name.to_owned(), value.to_owned())));
    }

    /// Guards against a figure that is cut off: the last variable of an environment that goes on is not taken.
    #[test]
    fn what_is_cut_short_is_not_taken() {
        let text = b"NODE_OPTIONS=-x\0GOMEMLIMIT=51";
        let whole =
            [("GOMEMLIMIT".to_owned(), "51".to_owned()), ("NODE_OPTIONS".to_owned(), "-x".to_owned())];
        assert_eq!(told(&record(text, text.len())), whole);
        let mut cut = record(text, 5000);
        privacy::mask(&mut cut);
        assert_eq!(told(&cut), whole[1..]);
        let Ok(Record::Environment(_, environment)) = decode_any(&cut) else { panic!("no environment") };
        assert!(environment.truncated && environment.pid == 7);
    }

    /// Guards against records that are damaged: nothing of them is left.
    #[test]
    fn damaged_records_are_cleared() {
        for (from, to) in [(36, 40), (0, 0)] {
            let mut damaged = record(b"SECRET=hunter2\0", 15);
            damaged[from..to].fill(0xff);
            privacy::mask(&mut damaged);
            assert!(!has(&damaged, "hunter2"));
        }
    }
}
