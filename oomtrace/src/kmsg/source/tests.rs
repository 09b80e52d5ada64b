//! Whole logs.

use std::io::Write as _;

use super::*;
use crate::kmsg::report::{Collector, Told};

#[path = "speed_tests.rs"]
mod speed;

const KILLED: &str = "Out of memory: Killed process 7 (x) total-vm:1kB";

fn about() -> About {
    About { written: "2023-03-01T00:00:00Z".parse().ok(), zone: TimeZone::UTC }
}

/// Everything that a log says, with every line looked at.
fn messages(log: &[u8]) -> Vec<Message> {
    told(log, Want::Everything).0
}

fn told(log: &[u8], want: Want) -> (Vec<Message>, Read) {
    let mut messages = Vec::new();
    let mut to = |message: &Message| {
        messages.push(message.clone());
        want
    };
    let read = read(log, &about(), &mut to, &mut |_| {}).unwrap();
    (messages, read)
}

fn texts(log: impl AsRef<[u8]>) -> Vec<String> {
    messages(&[b"Linux version 1\n", log.as_ref()].concat())
        .into_iter()
        .skip(1)
        .map(|message| message.text.escape_ascii().to_string())
        .collect()
}

/// Logs that are broken at random. Many more were tried once.
const ROUNDS: usize = 5000;

/// Numbers that are the same every time.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        self.0
    }

    fn below(&mut self, end: usize) -> usize {
        usize::try_from(self.next() >> 33).unwrap() % end
    }
}

fn gzip(log: &[u8]) -> Vec<u8> {
    let mut packer = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
    packer.write_all(log).unwrap();
    packer.finish().unwrap()
}

fn line() -> String {
    format!("Jan  2 15:04:05 web1 kernel: {KILLED}\n")
}

fn xz(log: &[u8]) -> Vec<u8> {
    let mut packer = lzma_rust2::XzWriter::new(Vec::new(), lzma_rust2::XzOptions::with_preset(1)).unwrap();
    packer.write_all(log).unwrap();
    packer.finish().unwrap()
}

fn zstd(log: &[u8]) -> Vec<u8> {
    ruzstd::encoding::compress_to_vec(log, ruzstd::encoding::CompressionLevel::Fastest)
}

/// Guards compression, also of several members one after the other: it shows in the content.
#[test]
fn compressed_logs_are_unpacked() {
    for (pack, compression) in
        [(gzip as fn(&[u8]) -> Vec<u8>, Compression::Gzip), (xz, Compression::Xz), (zstd, Compression::Zstd)]
    {
        let log = pack(line().as_bytes());
        let (messages, read) = told(&[&log[..], &log].concat(), Want::Everything);
        assert_eq!(messages.len(), 2);
        assert_eq!(messages[0].text, KILLED.as_bytes());
        assert_eq!((read.compression, &read.damage), (Some(compression), &None));
        assert_eq!(read.bytes, 2 * line().len() as u64);
    }
}

/// Guards logs whose end is lost: what comes before the damage is used, and the damage is told.
#[test]
fn the_beginning_of_damaged_data_is_used() {
    // What does not pack well: blocks follow each other.
    let mut log = line().into_bytes();
    let mut random = Random(1);
    for _ in 0..12_000 {
        log.extend(format!("Jan  2 15:04:05 web1 kernel: {:x}\n", random.next()).into_bytes());
    }
    for pack in [gzip as fn(&[u8]) -> Vec<u8>, xz, zstd] {
        let packed = pack(&log);
        let (whole, read) = told(&packed, Want::Everything);
        assert_eq!((whole.len(), &read.damage), (12_001, &None));
        let (half, read) = told(&packed[..packed.len() * 9 / 10], Want::Everything);
        assert!(read.damage.is_some());
        assert!(half.len() > 6000, "{}", half.len());
        assert_eq!(half[..half.len() - 1], whole[..half.len() - 1]);
        let small = pack(line().repeat(20).as_bytes());
        for end in 6..small.len() {
            let (_, read) = told(&small[..end], Want::Everything);
            assert!(read.damage.is_some(), "{end} of {}", small.len());
        }
        for at in 6..small.len() {
            let mut broken = small.clone();
            broken[at] ^= 0x55;
            told(&broken, Want::Everything);
        }
    }
}

/// Guards what is said to people whose log has to be turned into another form first.
#[test]
fn other_forms_are_refused() {
    for (head, words) in [
        (&b"LPKSHHRH\0\0\0\0"[..], "journalctl"),
        (b"BZh91AY&SY", "bzip2"),
        (b"\x04\x22\x4d\x18abcd", "lz4"),
        (b"PK\x03\x04abcd", "zip"),
        (&[&[b'x'; 257][..], b"ustar\0"].concat(), "tar"),
    ] {
        let error = read(head, &about(), &mut |_| Want::Everything, &mut |_| {}).unwrap_err();
        assert!(error.to_string().contains(words), "{error}");
    }
}

/// Guards a journal as JSON: only what the journal says that the kernel wrote counts.
#[test]
fn journals_as_json() {
    let entry = |fields: &str| {
        format!(
            "{{\"__CURSOR\":\"s=1\",\"__REALTIME_TIMESTAMP\":\"1700000000123456\",\"__MONOTONIC_TIMESTAMP\":\"99\",\
             \"_HOSTNAME\":\"web1\",\"_BOOT_ID\":\"0123456789abcdef0123456789abcdef\",\"PRIORITY\":\"3\",\
             \"_SOURCE_MONOTONIC_TIMESTAMP\":\"12345678\",{fields}}}\n"
        )
    };
    let kernels = "\"_TRANSPORT\":\"kernel\",\"SYSLOG_FACILITY\":\"0\",\"SYSLOG_IDENTIFIER\":\"kernel\"";
    let (messages, _) =
        told(entry(&format!("{kernels},\"MESSAGE\":\"{KILLED}\"")).as_bytes(), Want::Everything);
    let expected = Message {
        stamp: crate::kmsg::message::Stamp {
            boot_us: Some(12_345_678),
            wall: "2023-11-14T22:13:20.123456Z".parse().ok(),
        },
        host: Some("web1".to_owned()),
        boot_id: Some("0123456789abcdef0123456789abcdef".to_owned()),
        text: KILLED.as_bytes().to_vec(),
        ..Message::default()
    };
    assert_eq!(messages, [expected]);
    // Not UTF-8: an array of numbers.
    let array = entry(&format!("{kernels},\"MESSAGE\":[79,117,116,32,255]"));
    assert_eq!(told(array.as_bytes(), Want::Beginnings).0[0].text, b"Out \xff");
    for fields in [
        format!("{kernels},\"MESSAGE\":null"),
        format!("{kernels},\"MESSAGE\":[1,999]"),
        format!("{kernels},\"MESSAGE\":[\"{KILLED}\",\"b\"]"),
        format!("{kernels},\"_TRANSPORT\":\"kernel\",\"MESSAGE\":\"{KILLED}\""),
        format!("\"_TRANSPORT\":\"syslog\",\"SYSLOG_IDENTIFIER\":\"kernel\",\"MESSAGE\":\"{KILLED}\""),
        format!("\"_TRANSPORT\":\"kernel\",\"SYSLOG_FACILITY\":\"1\",\"MESSAGE\":\"{KILLED}\""),
        format!("\"_TRANSPORT\":\"kernel\",\"SYSLOG_IDENTIFIER\":\"x\",\"MESSAGE\":\"{KILLED}\""),
        format!("\"_TRANSPORT\":\"journal\",\"MESSAGE\":\"{{\\\"_TRANSPORT\\\":\\\"kernel\\\"}} {KILLED}\""),
    ] {
        assert_eq!(told(entry(&fields).as_bytes(), Want::Everything).0, [], "{fields}");
    }
    // json-seq and json-sse.
    let line = entry(&format!("{kernels},\"MESSAGE\":\"{KILLED}\""));
    assert_eq!(texts(format!("\x1e{line}")), [KILLED]);
    assert_eq!(texts(format!("data: {line}\n")), [KILLED]);
}

/// Guards objects over several lines: a journal's, dmesg's, and those whose beginning is lost.
#[test]
fn objects_over_several_lines() {
    let pretty = |transport: &str| {
        format!(
            "{{\n\t\"__CURSOR\" : \"s=1\",\n\t\"__REALTIME_TIMESTAMP\" : \"1700000000123456\",\n\t\"_TRANSPORT\" : \
             \"{transport}\",\n\t\"MESSAGE\" : \"{KILLED}\"\n}}\n"
        )
    };
    let text = |log: &str| -> Vec<String> {
        let messages = messages(log.as_bytes()).into_iter();
        messages.map(|message| String::from_utf8(message.text).unwrap()).collect()
    };
    assert_eq!(text(&[pretty("kernel"), pretty("syslog"), pretty("kernel")].concat()), [KILLED; 2]);
    assert_eq!(text(&[&pretty("syslog")[12..], &pretty("kernel")].concat()), [KILLED]);
    let array = pretty("kernel").replace(&format!("\"{KILLED}\""), "[\n\t\t79,\n\t\t117\n\t]");
    assert_eq!(text(&array), ["Ou"]);

    let dmesg = format!(
        "{{\n   \"dmesg\": [\n      {{\n         \"pri\": 5,\n         \"time\":     0.000000,\n         \"msg\": \
         \"Linux version 6.1\"\n      }},{{\n         \"pri\": 3,\n         \"time\":    12.345678,\n         \"caller\": \
         \"T1\",\n         \"msg\": \"{KILLED}\"\n      }},{{\n         \"pri\": 12,\n         \"time\":    13.000000,\n\
         \x20        \"msg\": \"{KILLED}\"\n      }},{{\n         \"fac\": \"user\",\n         \"pri\": \"info\",\n\
         \x20        \"time\":    13.000000,\n         \"msg\": \"{KILLED}\"\n      }}\n   ]\n}}\n"
    );
    let messages = messages(dmesg.as_bytes());
    assert_eq!(messages.len(), 2);
    assert_eq!(messages[1].text, KILLED.as_bytes());
    assert_eq!(messages[1].stamp.boot_us, Some(12_345_678));
    assert_eq!(messages[1].caller.as_deref(), Some("T1"));
    assert_eq!(text(&dmesg[70..]), [KILLED]);
}

/// Guards lines in other programs' JSON: they have to say that they are the kernel's.
#[test]
fn json_of_other_logs() {
    let docker = |line: &str| {
        format!("{{\"log\":\"{line}\\n\",\"stream\":\"stdout\",\"time\":\"2023-01-02T15:04:05.678901Z\"}}")
    };
    let log = docker(&format!("[   12.345678] {KILLED}"));
    let messages = messages(log.as_bytes());
    assert_eq!(messages[0].text, KILLED.as_bytes());
    assert_eq!(messages[0].stamp.boot_us, Some(12_345_678));
    assert_eq!(messages[0].stamp.wall, "2023-01-02T15:04:05.678901Z".parse().ok());
    assert_eq!(texts(docker(KILLED)), [""; 0]);
    assert_eq!(texts(docker(&format!("Jan  2 15:04:05 web1 myapp: {KILLED}"))), [""; 0]);
    assert_eq!(texts(format!("{{\"message\":\"Jan  2 15:04:05 web1 kernel: {KILLED}\"}}")), [KILLED]);
}

fn export(transport: &str, message: &[u8], binary: bool) -> Vec<u8> {
    let mut entry = b"__CURSOR=s=1\n__REALTIME_TIMESTAMP=1700000000123456\n_HOSTNAME=web1\n".to_vec();
    if binary {
        entry.extend_from_slice(b"MESSAGE\n");
        entry.extend_from_slice(&(message.len() as u64).to_le_bytes());
        entry.extend_from_slice(message);
        entry.push(b'\n');
    } else {
        entry.extend_from_slice(&[b"MESSAGE=", message, b"\n"].concat());
    }
    entry.extend_from_slice(format!("_TRANSPORT={transport}\n\n").as_bytes());
    entry
}

/// Guards a journal's export: nothing in a value passes for an entry, and what is broken is left out.
#[test]
fn a_journals_export() {
    let kernel = export("kernel", KILLED.as_bytes(), false);
    let forged = export("syslog", &[b"x\n\n", &kernel[..]].concat(), true);
    let long = export("kernel", &vec![b'x'; 100_000], true);
    let names =
        |log: &[u8]| -> Vec<Vec<u8>> { messages(log).into_iter().map(|message| message.text).collect() };
    let killed = KILLED.as_bytes().to_vec();
    assert_eq!(names(&kernel), std::slice::from_ref(&killed));
    assert_eq!(names(&export("kernel", b"a\nb", true)), [b"a\nb"]);
    assert_eq!(names(&forged), [b""; 0]);
    assert_eq!(names(&[&kernel[..], &forged, &long, &kernel].concat()), [killed.clone(), killed.clone()]);
    // The beginning is lost.
    assert_eq!(names(&[&kernel[15..], &kernel].concat()), std::slice::from_ref(&killed));
    // A length that is a lie.
    let mut lie = export("kernel", KILLED.as_bytes(), true);
    let at = lie.windows(8).position(|window| window == b"MESSAGE\n").unwrap() + 8;
    for len in [0u64, 3, 1 << 40, u64::MAX] {
        lie[at..at + 8].copy_from_slice(&len.to_le_bytes());
        let _ = names(&[&lie[..], &kernel].concat());
    }
    // Cut short anywhere: only the last entry is lost.
    let two = [&kernel[..], &export("kernel", KILLED.as_bytes(), true)].concat();
    for end in 0..=two.len() {
        let count = names(&two[..end]).len();
        let expected = match end {
            _ if end < kernel.len() - 1 => 0..=0,
            _ if end < two.len() - 1 => 1..=1,
            _ => 2..=2,
        };
        assert!(expected.contains(&count), "{end}: {count}");
    }
}

/// Guards records whose text goes on in a later one, with other messages in between.
#[test]
fn records_in_pieces_are_put_together() {
    let log = "4,10,5,-;oom-kill:constraint=CONSTRAINT_NONE,nodemask=(null)\n\
               6,11,6,-;usb 1-1: new device\n SUBSYSTEM=usb\n DEVICE=+usb:1-1\n\
               4,12,7,c;,cpuset=/,mems_allowed=0,global_oom,task_memcg=/a,task=x,pid=7,uid=0\n\
               3,13,8,-;Out of memory: Killed process 7 (a\\x0ab) total-vm:1kB\n";
    assert_eq!(
        texts(log),
        [
            "usb 1-1: new device",
            "oom-kill:constraint=CONSTRAINT_NONE,nodemask=(null),cpuset=/,mems_allowed=0,global_oom,task_memcg=/a,\
             task=x,pid=7,uid=0",
            "Out of memory: Killed process 7 (a\\nb) total-vm:1kB",
        ]
    );
}

/// What comes of a log.
fn collected(log: &[u8], search: bool) -> Vec<Told> {
    let mut collector = Collector::default();
    let mut told = Vec::new();
    let mut to = |message: &Message| {
        collector.take(message, |one| told.push(one));
        if search && !collector.is_open() { Want::Beginnings } else { Want::Everything }
    };
    // The first is looked for in any case: the kernel's banner, which leaves nothing open.
    let log = [b"Linux version 1\n", log].concat();
    read(&log[..], &about(), &mut to, &mut |_| {}).unwrap();
    collector.end(|one| told.push(one));
    told
}

/// Guards names with a newline in them: a victim that is called so is not hidden, whatever keeps the log.
#[test]
fn a_name_of_two_lines() {
    for log in [
        "[    1.000000] Out of memory: Killed process 7 (a\n[    1.000000] b) total-vm:1kB\n[    1.000000] next\n",
        "[    1.000000] Out of memory: Killed process 7 (a\n               b) total-vm:1kB\n[    1.000000] next\n",
        "Jan  2 15:04:05 web1 kernel: Out of memory: Killed process 7 (a#012b) total-vm:1kB\n\
         Jan  2 15:04:05 web1 kernel: next\n",
        "Jan  2 15:04:05 web1 kernel: Out of memory: Killed process 7 (a\n                             b) total-vm:1kB\n\
         Jan  2 15:04:05 web1 kernel: next\n",
        "3,1,1000000,-;Out of memory: Killed process 7 (a\\x0ab) total-vm:1kB\n",
    ] {
        let told = collected(log.as_bytes(), true);
        let [Told::Oom(report)] = &told[..] else { panic!("{log}: {told:?}") };
        assert_eq!(report.kills[0].killed.comm, "a\nb", "{log}");
    }
}

/// Guards the search for words in the kernels' own reports: with it, they tell the same, whatever keeps them.
#[test]
fn the_search_misses_no_report() {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../tests/fixtures/klog");
    let others =
        "Jan  2 15:04:05 web1 sshd[12]: Accepted publickey for x from 10.0.0.1 port 1 ssh2\n".repeat(2000);
    let own = "usb 1-1: new high-speed USB device number 2 using xhci_hcd\n".repeat(2000);
    let mut logs = 0;
    let kept = find(&[folder.into()]).unwrap();
    for file in kept.iter().filter(|file| file.extension().is_some_and(|kind| kind == "log")) {
        // Those in the folder itself have nothing in front of their lines.
        let bare = file.parent() == Some(folder.as_ref());
        let report = String::from_utf8_lossy(&std::fs::read(file).unwrap()).into_owned();
        let prefixes = ["", "[   12.345678] ", "Jan  2 15:04:05 web1 kernel: ", "3,1,12345678,-;"];
        for prefix in prefixes.iter().take(if bare { prefixes.len() } else { 1 }) {
            let lines: String = report.lines().flat_map(|line| [*prefix, line, "\n"]).collect();
            let noise = if prefix.is_empty() { &own } else { &others };
            let log = [noise, &lines[..], noise, &lines, noise].concat();
            let told = collected(log.as_bytes(), true);
            assert!(!bare || !told.is_empty(), "{}", file.display());
            assert_eq!(told, collected(log.as_bytes(), false), "{} {prefix}", file.display());
            logs += 1;
        }
    }
    assert!(logs > 0);
}

/// Guards the one message of the kernel's that has several lines: they come one by one, however the log was kept.
#[test]
fn the_sums_come_line_by_line() {
    let lines = ["active_anon:1 inactive_anon:2", " active_file:3", " free:4"];
    for log in [
        "[    1.000000] active_anon:1 inactive_anon:2\n                active_file:3\n                free:4\n",
        "[    1.000000] active_anon:1 inactive_anon:2\n[    1.000000]  active_file:3\n[    1.000000]  free:4\n",
        "active_anon:1 inactive_anon:2\n active_file:3\n free:4\n",
        "4,1,1,-;active_anon:1 inactive_anon:2\\x0a active_file:3\\x0a free:4\n",
        "Jan  2 15:04:05 web1 kernel: active_anon:1 inactive_anon:2#012 active_file:3#012 free:4\n",
        "{\"_TRANSPORT\":\"kernel\",\"MESSAGE\":\"active_anon:1 inactive_anon:2\\n active_file:3\\n free:4\"}\n",
    ] {
        assert_eq!(texts(log), lines, "{log}");
    }
}

/// Guards against what a program of another name goes on to say on an indented line.
#[test]
fn somebody_elses_line_goes_on_as_theirs() {
    let log = format!("Jan 02 15:04:05 web1 myapp[1]: a\n                               {KILLED}\n");
    assert_eq!(texts(&log), [""; 0]);
    let mut found = told(log.as_bytes(), Want::Beginnings).0;
    found.retain(|message| message.text.starts_with(b"Out"));
    assert_eq!(found, []);
}

/// Guards against messages of several lines that somebody writes to a log which keeps them as they are: what has nothing in front of
/// it is theirs, wherever the log's other lines are.
#[test]
fn whoever_shares_a_log_says_who_it_is() {
    let theirs = "Jan  2 15:04:05 web1 myapp[1]: a\n";
    let own = format!("Jan  2 15:04:06 web1 kernel: {KILLED}\n");
    let quiet = "Jan  2 15:04:04 web1 kernel: usb 1-1: new device\n".repeat(5000);
    for log in [
        format!("{theirs}{KILLED}\n{own}"),
        format!("{theirs}kernel: {KILLED}\n{own}"),
        format!("{theirs}\n\n{KILLED}\n{own}"),
        format!("{quiet}{theirs}{KILLED}\n{own}"),
    ] {
        for want in [Want::Beginnings, Want::Everything] {
            let mut found = told(log.as_bytes(), want).0;
            found.retain(|message| message.text == KILLED.as_bytes());
            assert_eq!(found.len(), 1, "{want:?}");
            assert!(found[0].stamp.wall.is_some());
        }
    }
    // Nobody else writes here.
    assert_eq!(texts(format!("a\n{KILLED}\n")), ["a", KILLED]);
}

/// Guards what consoles and crashes leave in lines.
#[test]
fn consoles_and_crashes() {
    assert_eq!(texts(format!("[    1.000000] {KILLED}\r\n[    1.000000] next\r\n")), [KILLED, "next"]);
    assert_eq!(
        texts(format!("\x1b[32m[    1.000000] \x1b[0m\x1b[33mOut of memory: \x1b[0m{}\n", &KILLED[15..])),
        [KILLED]
    );
    assert_eq!(texts(format!("\0\0\0\0[    1.000000] {KILLED}\0\n")), [KILLED]);
    assert_eq!(texts(format!("Panic#1 Part3\n<3>[    1.000000] {KILLED}\n")), ["Panic#1 Part3", KILLED]);
    assert_eq!(texts(b"[    1.000000] a\xff\xfe\n"), ["a\\xff\\xfe"]);
    // dmesg shows what cannot be shown.
    assert_eq!(texts(br"[    1.000000] (\x1b\x5c\xff\x41)"), ["(\\x1b\\\\\\xff\\\\x41)"]);
}

/// Guards logs that somebody has indented or quoted.
#[test]
fn a_margin_is_no_part_of_a_line() {
    for margin in ["    ", "\t", "> ", "> > "] {
        let log = format!(
            "{margin}[    1.000000] {KILLED}\n{margin}[    1.000000] active_anon:1\n{margin}                active_file:2\n"
        );
        let texts: Vec<_> = messages(log.as_bytes())
            .into_iter()
            .map(|message| message.text.escape_ascii().to_string())
            .collect();
        assert_eq!(texts, [KILLED, "active_anon:1", " active_file:2"], "{margin}");
    }
}

/// Guards repeats: they tell nothing new.
#[test]
fn repeats_are_left_out() {
    for repeat in [
        "Jan  2 15:04:05 web1 last message repeated 3 times".to_owned(),
        "Jan  2 15:04:05 web1 kernel: last message repeated 3 times".to_owned(),
        format!("Jan  2 15:04:05 web1 kernel: message repeated 3 times: [ {KILLED}]"),
        format!("Jan  2 15:04:05 web1 kernel: message repeated 3 times: [ [   12.345678] {KILLED}]"),
    ] {
        assert_eq!(texts(&repeat), [""; 0], "{repeat}");
    }
}

/// Guards boots that journalctl names between them.
#[test]
fn boots_are_told_apart() {
    let log = format!(
        "-- Boot 0123456789abcdef0123456789abcdef --\nJan 02 15:04:05 web1 kernel: {KILLED}\n\
         -- Boot 1123456789abcdef0123456789abcdef --\nJan 02 15:05:05 web1 kernel: {KILLED}\n"
    );
    let boots: Vec<_> =
        told(log.as_bytes(), Want::Beginnings).0.into_iter().filter_map(|message| message.boot_id).collect();
    assert_eq!(boots.len(), 4);
    assert!(boots[1].starts_with("01") && boots[3].starts_with("11"), "{boots:?}");
}

/// A log that gives little at a time.
struct Slow<'a>(&'a [u8], usize);

impl io::Read for Slow<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let len = self.1.min(buffer.len()).min(self.0.len());
        let (now, later) = self.0.split_at(len);
        buffer[..len].copy_from_slice(now);
        self.0 = later;
        Ok(len)
    }
}

/// Guards junk and lines without an end: skipped in bounded memory, and what comes after is still found.
#[test]
fn junk_is_skipped() {
    let mut random = Random(7);
    let mut junk = Vec::new();
    while junk.len() < 3 * BLOCK {
        junk.extend_from_slice(&random.next().to_be_bytes());
    }
    for filler in
        [junk, vec![0; 3 * BLOCK + 5], vec![b'x'; 3 * BLOCK + 5], b"{".repeat(3 * BLOCK), b"[".repeat(BLOCK)]
    {
        let log = [&filler[..], b"\n", line().as_bytes()].concat();
        let (found, read) = told(&log, Want::Beginnings);
        assert_eq!(found.iter().filter(|message| message.text == KILLED.as_bytes()).count(), 1);
        assert_eq!(read.bytes, log.len() as u64);
        let mut fields = export("kernel", KILLED.as_bytes(), false);
        fields.extend_from_slice(&filler);
        fields.extend_from_slice(b"\n\n");
        fields.extend(export("kernel", KILLED.as_bytes(), false));
        assert!(!messages(&fields).is_empty());
    }
    let long = format!("[    1.000000] {}\n{}", "x".repeat(20_000), line());
    let (found, read) = told(format!("Linux version 1\n{long}").as_bytes(), Want::Everything);
    assert_eq!(found.len(), 3);
    assert_eq!((found[1].text.len() + 15, read.too_long), (16 * 1024, 1));
}

/// Guards whoever has enough: nothing more is read.
#[test]
fn reading_ends_when_nothing_is_wanted() {
    let log = line().repeat(100_000);
    let mut count = 0;
    let mut to = |_: &Message| {
        count += 1;
        if count < 3 { Want::Everything } else { Want::Nothing }
    };
    let read = read(log.as_bytes(), &about(), &mut to, &mut |_| {}).unwrap();
    assert_eq!((count, read.messages), (3, 3));
    assert!(read.bytes < log.len() as u64 / 2);
}

/// Guards the search for words: with it, nothing is told otherwise than by looking at each line, whatever comes after each
/// other and however it is read.
#[test]
fn the_search_misses_nothing() {
    let pieces = [
        "Jan  2 15:04:05 web1 sshd[12]: Accepted publickey for x from 10.0.0.1 port 1 ssh2\n".repeat(40),
        "Jan  2 15:04:05 web1 kernel: usb 1-1: new device\n".repeat(40),
        "Jan 02 15:04:05 web1 myapp[1]: a\n                               Killed process 1 (init)\n".to_owned(),
        format!("Jan  2 15:04:05 web1 myapp: kernel: {KILLED}\n"),
        line(),
        "[   12.345678] x invoked oom-killer: gfp_mask=0xcc0, order=0, oom_score_adj=0\n[   12.345678] CPU: 0\n".to_owned(),
        "[   12.345678] Mem-Info:\n[   12.345678] active_anon:1\n                active_file:3\n".to_owned(),
        "\n\n\0\n\r\n".to_owned(),
        format!("{{\"_TRANSPORT\":\"kernel\",\"MESSAGE\":\"{KILLED}\"}}\n"),
        "{\"_TRANSPORT\":\"kernel\",\"MESSAGE\":[79,117,116,32,111,102]}\n".to_owned(),
        "{\"_TRANSPORT\":\"kernel\",\"MESSAGE\":\"usb\"}\n".to_owned(),
        format!("3,812,12345678,-;{KILLED}\n SUBSYSTEM=x\n"),
        "x".repeat(70_000) + "\n",
    ];
    let mut random = Random(3);
    for _ in 0..20 {
        let mut log = String::new();
        for _ in 0..random.below(120) {
            log.push_str(&pieces[random.below(pieces.len())]);
        }
        let chunk = 1 + random.below(100_000);
        // Whoever takes messages wants all for as many as a report may have, and then waits for the next that begins one.
        let run = |search: bool| {
            let mut kept = Vec::new();
            let mut left = 0;
            let needles = needles::Needles::new().unwrap();
            let mut to = |message: &Message| {
                let begins = needles.find(&message.text).is_some() || message.text == b"Out of";
                left = if begins { 3 } else { left - left.min(1) };
                if left > 0 {
                    kept.push(message.clone());
                }
                if search && left == 0 { Want::Beginnings } else { Want::Everything }
            };
            let log = ["Linux version 1\n", &log].concat();
            read(Slow(log.as_bytes(), chunk), &about(), &mut to, &mut |_| {}).unwrap();
            kept
        };
        assert_eq!(run(true), run(false));
    }
}

/// Guards the order of files: what logrotate and pstore made several files of reads forward.
#[test]
fn files_come_oldest_first() {
    let folder = tempfile();
    for name in [
        "kern.log",
        "kern.log.1",
        "kern.log.2.gz",
        "kern.log.10.gz",
        "messages",
        "messages-20230101.gz",
        "messages-20230108.xz",
        "pstore/dmesg-efi-167012345601001",
        "pstore/dmesg-efi-167012345602001",
        "pstore/dmesg-efi-167012345603001",
        "pstore/dmesg-efi-167022345601001",
        "pstore/dmesg-efi-167022345702001",
        "pstore/dmesg-erst-7033333333000000001",
        "pstore/dmesg-erst-7033333333000000002",
        "systemd/dmesg.txt",
        "systemd/dmesg-efi-167012345601001",
    ] {
        let path = folder.join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, "x").unwrap();
    }
    std::os::unix::fs::symlink("/etc", folder.join("link")).unwrap();
    let found = find(std::slice::from_ref(&folder)).unwrap();
    let names: Vec<_> =
        found.iter().map(|path| path.strip_prefix(&folder).unwrap().to_str().unwrap()).collect();
    assert_eq!(
        names,
        [
            "kern.log.10.gz",
            "kern.log.2.gz",
            "kern.log.1",
            "kern.log",
            "messages-20230101.gz",
            "messages-20230108.xz",
            "messages",
            "pstore/dmesg-efi-167012345603001",
            "pstore/dmesg-efi-167012345602001",
            "pstore/dmesg-efi-167012345601001",
            "pstore/dmesg-efi-167022345702001",
            "pstore/dmesg-efi-167022345601001",
            "pstore/dmesg-erst-7033333333000000002",
            "pstore/dmesg-erst-7033333333000000001",
            "systemd/dmesg.txt",
        ]
    );
    let given = [
        folder.join("messages"),
        folder.join("kern.log"),
        folder.join("kern.log.1"),
        folder.join("messages"),
    ];
    assert_eq!(find(&given).unwrap(), [given[0].clone(), given[2].clone(), given[1].clone()]);
    let error = find(&[folder.join("none")]).unwrap_err();
    assert!(error.to_string().contains("none"));
    std::fs::create_dir(folder.join("empty")).unwrap();
    assert!(matches!(find(&[folder.join("empty")]), Err(FindError::Empty(_))));
    std::fs::remove_dir_all(folder).unwrap();
}

fn tempfile() -> std::path::PathBuf {
    let folder = std::env::temp_dir().join(format!("oomtrace-find-{}", std::process::id()));
    std::fs::create_dir_all(&folder).unwrap();
    folder
}

/// Guards against logs that somebody has broken on purpose: anything may stand anywhere.
#[test]
fn broken_logs_do_no_harm() {
    const MARKS: &[u8] = b"0123456789 \n[]<>{}\":;,=-+.T#\\";
    let kernels = format!(
        "{{\"__REALTIME_TIMESTAMP\":\"1700000000123456\",\"_TRANSPORT\":\"kernel\",\"MESSAGE\":\"{KILLED}\",\"PRIORITY\":3}}\n"
    );
    let seeds = [
        line().into_bytes(),
        b"[Mon Jan  2 15:04:05 2023 <    0.000012>] [   12.345678] [   T1] x\n[Jan 2 15:04] a\n[  +0.000012] b\n".to_vec(),
        b"<6>1 2023-01-02T15:04:05.678Z web1 kernel - - [a@1 x=\"\\]\"] x\nkern  :info  : [   12.345678] y\n".to_vec(),
        b"1700000000.123456 web1 kernel: x\nMon 2023-01-02 15:04:05 UTC web1 kernel: y#012z\n".to_vec(),
        b"4,10,5,-,caller=T1;oom-kill:\\x0a\n4,12,7,c;,cpuset=/\n3,13,8,-;Killed process 7 (a\n".to_vec(),
        format!("2023-01-02T15:04:05.678901Z stdout F {}", line()).into_bytes(),
        kernels.clone().into_bytes(),
        kernels.replace(',', ",\n").replace('{', "{\n").replace('}', "\n}").into_bytes(),
        [export("kernel", KILLED.as_bytes(), true), export("kernel", b"x", false)].concat(),
        gzip(line().repeat(9).as_bytes()),
        xz(line().repeat(9).as_bytes()),
        zstd(line().repeat(9).as_bytes()),
    ];
    let mut random = Random(11);
    for round in 0..ROUNDS {
        let mut log = seeds[round % seeds.len()].clone();
        if random.below(4) == 0 {
            log.extend_from_slice(&seeds[random.below(seeds.len())]);
        }
        for _ in 0..=random.below(6) {
            let at = random.below(log.len());
            match random.below(5) {
                0 => log[at] = u8::try_from(random.below(256)).unwrap(),
                1 => log[at] = MARKS[random.below(MARKS.len())],
                2 => drop(log.drain(at..(at + random.below(9)).min(log.len()))),
                3 => {
                    let again = log[at..(at + random.below(30)).min(log.len())].to_vec();
                    log.splice(at..at, again);
                }
                _ => log.truncate(at + 1),
            }
            if log.is_empty() {
                log.push(b'x');
            }
        }
        let want = if round % 2 == 0 { Want::Everything } else { Want::Beginnings };
        let mut to = |message: &Message| {
            assert!(message.text.len() <= 64 * 1024);
            want
        };
        match read(Slow(&log, 1 + random.below(64)), &about(), &mut to, &mut |_| {}) {
            Ok(read) => assert!(read.messages <= read.bytes),
            Err(error) => assert!(matches!(error, SourceError::Packed(_) | SourceError::Journal), "{error}"),
        }
    }
}
