//! Lines as logs keep them: one example at least of each form.

use jiff::{civil::date, tz::TimeZone};

use super::*;
use crate::kmsg::source::About;

const TEXT: &str = "Out of memory: Killed process 7 (x) total-vm:1kB";

/// Reads a line as the first and only one of its log.
fn read_alone(line: &[u8]) -> Line<'_> {
    read(line, &mut Context::new(clock(), line))
}

/// The zone is an hour east of Greenwich.
fn clock() -> Clock {
    let zone = TimeZone::fixed(jiff::tz::offset(1));
    let written = date(2023, 3, 1).at(0, 0, 0, 0).to_zoned(zone.clone()).unwrap().timestamp();
    Clock::new(&About { written: Some(written), zone })
}

fn head(line: &[u8]) -> Head<'_> {
    match read_alone(line) {
        Line::Kernel(head) => head,
        Line::Other => panic!("{} is said to be somebody else's", line.escape_ascii()),
    }
}

/// What a line tells, as text: stamp, machine, caller.
fn told(prefix: &str) -> String {
    let line = format!("{prefix}{TEXT}");
    let head = head(line.as_bytes());
    assert_eq!(str::from_utf8(head.text).unwrap(), TEXT, "{prefix}");
    let mut told = Vec::new();
    told.extend(head.stamp.boot_us.map(|boot| boot.to_string()));
    told.extend(head.stamp.wall.map(|wall| wall.to_string()));
    told.extend(head.seq.map(|seq| format!("seq={seq}")));
    told.extend(head.host.map(|host| format!("host={}", host.escape_ascii())));
    told.extend(head.caller.map(|caller| format!("caller={}", caller.escape_ascii())));
    told.join(" ")
}

/// Guards what printk writes: consoles, /proc/kmsg, /dev/kmsg, netconsole.
#[test]
fn printks_own_forms() {
    for (prefix, expected) in [
        ("", ""),
        ("<4>", ""),
        ("[   12.345678] ", "12345678"),
        ("[4294667.296000] ", "4294667296000"),
        ("<6>[   12.345678] ", "12345678"),
        ("[   12.345678][  T123] ", "12345678 caller=T123"),
        ("[   12.345678][    C1] ", "12345678 caller=C1"),
        ("3,812,12345678,-;", "12345678 seq=812"),
        ("3,812,12345678,-,caller=T1;", "12345678 seq=812 caller=T1"),
        ("3,812,12345678,-,ncfrag=0/40,caller=T1;", "12345678 seq=812 caller=T1"),
    ] {
        assert_eq!(told(prefix), expected, "{prefix}");
    }
    assert!(head(b"6,1,2,c;x").continues);
}

/// Guards what dmesg makes of it (util-linux 2.41, sys-utils/dmesg.c, print_record()).
#[test]
fn dmesgs_forms() {
    for (prefix, expected) in [
        ("[   12.345678] [  T123] ", "12345678 caller=T123"),
        ("[   12.345678] [    C1] ", "12345678 caller=C1"),
        ("[   12.345678 <    0.000012>] ", "12345678"),
        ("[   12.345678 <   -0.000012>] ", "12345678"),
        ("[<    0.000012>] ", ""),
        ("[Mon Jan  2 15:04:05 2023] ", "2023-01-02T14:04:05Z"),
        ("[Mon Jan  2 15:04:05 2023 <    0.000012>] ", "2023-01-02T14:04:05Z"),
        ("[Mon Jan  2 15:04:05 2023] [   12.345678] ", "12345678 2023-01-02T14:04:05Z"),
        ("[Jan 2 15:04] ", "2023-01-02T14:04:00Z"),
        ("[Jan28 15:04] ", "2023-01-28T14:04:00Z"),
        ("[  +0.000012] ", ""),
        ("[ +10.000012] ", ""),
        ("2023-01-02T15:04:05,678901+00:00 ", "2023-01-02T15:04:05.678901Z"),
        ("2023-01-02T15:04:05,678901+00:00 [    T1] ", "2023-01-02T15:04:05.678901Z caller=T1"),
        ("kern  :info  : [   12.345678] ", "12345678"),
        ("kern  :err   : ", ""),
        ("kern  :notice: [Mon Jan  2 15:04:05 2023] ", "2023-01-02T14:04:05Z"),
        ("kern  :emerg : 2023-01-02T15:04:05,678901+00:00 ", "2023-01-02T15:04:05.678901Z"),
    ] {
        assert_eq!(told(prefix), expected, "{prefix}");
    }
}

/// Guards `dmesg -e`: most times are those since the line before.
#[test]
fn relative_times_add_up() {
    let mut context = Context::new(clock(), b"");
    let mut walls = Vec::new();
    for line in
        ["[Jan 2 15:04] a", "[  +0.500000] b", "[ +10.250000] c", "[Jan 2 15:05] d", "[  +0.000001] e"]
    {
        let Line::Kernel(head) = read(line.as_bytes(), &mut context) else { panic!("{line}") };
        assert_eq!(head.text.len(), 1);
        walls.push(head.stamp.wall.unwrap().to_string());
    }
    assert_eq!(
        walls,
        [
            "2023-01-02T14:04:00Z",
            "2023-01-02T14:04:00.5Z",
            "2023-01-02T14:04:10.75Z",
            "2023-01-02T14:05:00Z",
            "2023-01-02T14:05:00.000001Z",
        ]
    );
}

/// Guards what syslog daemons write.
#[test]
fn syslogs_forms() {
    for (prefix, expected) in [
        ("Jan  2 15:04:05 web1 kernel: ", "2023-01-02T14:04:05Z host=web1"),
        ("Jan 12 15:04:05 web1 kernel: ", "2023-01-12T14:04:05Z host=web1"),
        ("Jan  2 15:04:05 web1 kernel: [   12.345678] ", "12345678 2023-01-02T14:04:05Z host=web1"),
        (
            "Jan  2 15:04:05 web1 kernel: [   12.345678][  T123] ",
            "12345678 2023-01-02T14:04:05Z host=web1 caller=T123",
        ),
        ("Jan  2 15:04:05 web1 kernel: <4>", "2023-01-02T14:04:05Z host=web1"),
        ("Jan  2 15:04:05 fe80::1%eth0 kernel: ", "2023-01-02T14:04:05Z host=fe80::1%eth0"),
        ("Jan  2 2022 15:04:05 web1 kernel: ", "2022-01-02T14:04:05Z host=web1"),
        ("Jan  2 15:04:05 kernel: ", "2023-01-02T14:04:05Z"),
        // busybox, sysklogd with -x, OpenWrt's logread.
        ("Jan  2 15:04:05 web1 kern.info kernel: ", "2023-01-02T14:04:05Z host=web1"),
        ("Jan  2 15:04:05 kern.warn kernel: ", "2023-01-02T14:04:05Z"),
        ("Mon Jan  2 15:04:05 2023 kern.info kernel: [   12.345678] ", "12345678 2023-01-02T14:04:05Z"),
        // rsyslog's RSYSLOG_FileFormat.
        (
            "2023-01-02T15:04:05.678901+00:00 web1 kernel: [   12.345678] ",
            "12345678 2023-01-02T15:04:05.678901Z host=web1",
        ),
        ("2023-01-02T15:04:05+02:00 web1 kernel: ", "2023-01-02T13:04:05Z host=web1"),
        // RFC 3164 and RFC 5424.
        ("<4>Jan  2 15:04:05 web1 kernel: ", "2023-01-02T14:04:05Z host=web1"),
        ("<6>1 2023-01-02T15:04:05.678Z web1 kernel - - - ", "2023-01-02T15:04:05.678Z host=web1"),
        ("<6>1 - - kernel - - - ", ""),
        (
            "<6>1 2023-01-02T15:04:05Z web1 kernel - - [a@1 x=\"\\\"]\\]\"][b y=\"\"] \u{feff}",
            "2023-01-02T15:04:05Z host=web1",
        ),
        ("kernel: ", ""),
        ("web1 kernel: ", "host=web1"),
    ] {
        assert_eq!(told(prefix), expected, "{prefix}");
    }
}

/// Guards what journalctl writes (systemd, src/shared/logs-show.c, output_short()).
#[test]
fn journalctls_forms() {
    for (prefix, expected) in [
        ("Jan 02 15:04:05 web1 kernel: ", "2023-01-02T14:04:05Z host=web1"),
        ("Jan 02 15:04:05.678901 web1 kernel: ", "2023-01-02T14:04:05.678901Z host=web1"),
        ("2023-01-02T15:04:05+0000 web1 kernel: ", "2023-01-02T15:04:05Z host=web1"),
        ("2023-01-02T15:04:05.678901+00:00 web1 kernel: ", "2023-01-02T15:04:05.678901Z host=web1"),
        ("[   12.345678] web1 kernel: ", "12345678 host=web1"),
        ("[   12.345678] kernel: ", "12345678"),
        ("[   12.345678 <    0.000012 >] web1 kernel: ", "12345678 host=web1"),
        ("[   12.345678 <    0.000012*>] web1 kernel: ", "12345678 host=web1"),
        ("[   12.345678                ] web1 kernel: ", "12345678 host=web1"),
        ("1700000000.123456 web1 kernel: ", "2023-11-14T22:13:20.123456Z host=web1"),
        ("Mon 2023-01-02 15:04:05 UTC web1 kernel: ", "2023-01-02T15:04:05Z host=web1"),
        ("Mon 2023-01-02 15:04:05 CET web1 kernel: ", "2023-01-02T14:04:05Z host=web1"),
        ("Mon 2023-01-02 15:04:05.678901 UTC web1 kernel: ", "2023-01-02T15:04:05.678901Z host=web1"),
    ] {
        assert_eq!(told(prefix), expected, "{prefix}");
    }
}

/// Guards lines of a container's output, which are anybody's: they count where they say that they are the kernel's.
#[test]
fn containers_lines_are_looked_into() {
    let outer = "2023-01-02T15:04:05.678901Z stdout F ";
    assert_eq!(told(&format!("{outer}[   12.345678] ")), "12345678 2023-01-02T15:04:05.678901Z");
    assert_eq!(told(&format!("{outer}2023-01-02T01:00:00Z web1 kernel: ")), "2023-01-02T01:00:00Z host=web1");
    let outer = "2023-01-02T15:04:05.678901Z ";
    assert_eq!(told(&format!("{outer}[   12.345678] ")), "12345678 2023-01-02T15:04:05.678901Z");
    assert_eq!(
        told(&format!("{outer}Jan  2 01:00:00 web1 kernel: [   12.345678] ")),
        "12345678 2023-01-02T00:00:00Z host=web1"
    );
    let line = format!("{outer}[info] {TEXT}");
    assert_eq!(read_alone(line.as_bytes()), Line::Other);
    let line = format!("{outer}stdout F {TEXT}");
    assert_eq!(read_alone(line.as_bytes()), Line::Other);
}

/// Guards against programs that say what the kernel says: only the kernel's tag counts, in its place.
#[test]
fn what_quotes_the_kernel_is_not_the_kernels() {
    for prefix in [
        "Jan  2 15:04:05 web1 myapp: ",
        "Jan  2 15:04:05 web1 myapp: kernel: ",
        "Jan  2 15:04:05 web1 myapp[12]: kernel: ",
        "Jan  2 15:04:05 web1 myapp kernel: ",
        "Jan  2 15:04:05 web1 kernel[12]: ",
        "Jan  2 15:04:05 web1 kernel:",
        "Jan  2 15:04:05 myapp: kernel: ",
        "Jan  2 15:04:05 web1 user.info kernel: ",
        "Jan  2 15:04:05 web1 kern.info myapp: ",
        "Mon Jan  2 15:04:05 2023 user.info kernel: ",
        "2023-01-02T15:04:05.678901+00:00 web1 myapp: kernel: ",
        "2023-01-02T15:04:05.678901+00:00 web1 myapp kernel: ",
        "<12>Jan  2 15:04:05 web1 kernel: ",
        "<12>",
        "<12>[   12.345678] ",
        "<14>1 2023-01-02T15:04:05.678Z web1 kernel - - - ",
        "<6>1 2023-01-02T15:04:05.678Z web1 myapp - - - kernel: ",
        "<6>1 2023-01-02T15:04:05.678Z web1 myapp - kernel - kernel: ",
        "12,812,12345678,-;",
        "user  :info  : [   12.345678] ",
        "daemon:err   : ",
        "1700000000.123456 web1 myapp[1]: kernel: ",
        "Mon 2023-01-02 15:04:05 UTC web1 myapp[1]: kernel: ",
        "2023-01-02T15:04:05.678901Z stdout F myapp: kernel: ",
        "2023-01-02T15:04:05.678901Z stderr F Jan  2 15:04:05 web1 myapp: ",
    ] {
        let line = format!("{prefix}{TEXT}");
        if prefix == "Jan  2 15:04:05 web1 kernel:" {
            // Some write no space.
            assert_eq!(head(line.as_bytes()).text, TEXT.as_bytes());
            continue;
        }
        assert_eq!(read_alone(line.as_bytes()), Line::Other, "{prefix}");
    }
    // Where nothing says who wrote it, what it says does not begin as the kernel's messages do.
    for prefix in [
        "[   12.345678] web1 myapp[1]: ",
        "[   12.345678] web1 myapp: kernel: ",
        "myapp: kernel: ",
        "x y kernel: ",
    ] {
        let line = format!("{prefix}{TEXT}");
        assert!(!head(line.as_bytes()).text.starts_with(b"Out"), "{prefix}");
    }
}

/// Guards rows and figures that only look like stamps.
#[test]
fn a_table_is_no_stamp() {
    for text in [
        "[ pid ]   uid  tgid total_vm      rss nr_ptes swapents oom_score_adj name",
        "[  123]  1000   123    12345     1234      30        0             0 java",
        "[<ffffffff8110dc7a>] ? oom_kill_process+0x1da/0x400",
        "[12] x",
        "Mem-Info:",
        "active_anon:12345 inactive_anon:1",
        " active_file:1 inactive_file:2",
        "Node 0 DMA: 1*4kB (U) 0*8kB",
        "1234567 total pagecache pages",
        "0 pages in swap cache",
        "4194174 pages RAM",
        "Total swap = 0kB",
        "Call Trace:",
        "Swap cache stats: add 0, delete 0, find 0/0",
        "Free swap  = 0kB",
        "Panic#1 Part3",
    ] {
        let all = [
            ("", text.to_owned()),
            ("[   12.345678] ", format!("[   12.345678] {text}")),
            ("Jan  2 15:04:05 web1 kernel: ", format!("Jan  2 15:04:05 web1 kernel: {text}")),
        ];
        for (prefix, line) in all {
            assert_eq!(str::from_utf8(head(line.as_bytes()).text).unwrap(), text, "{prefix}");
        }
    }
}

/// Guards stamps without a year: it is the latest that fits, and goes on over new year; the 29th of February is of a leap year.
#[test]
fn years_are_found() {
    let stamp = |line: &str| head(line.as_bytes()).stamp.wall.map(|wall| wall.to_string());
    for (time, expected) in [
        ("Dec 31 23:59:59", "2022-12-31T22:59:59Z"),
        ("Jan  1 00:00:00", "2022-12-31T23:00:00Z"),
        ("Jan  1 02:00:00", "2023-01-01T01:00:00Z"),
        ("Feb 28 00:00:00", "2023-02-27T23:00:00Z"),
        // A day later than it was written at the most.
        ("Mar  1 23:00:00", "2023-03-01T22:00:00Z"),
        ("Mar  2 01:00:00", "2022-03-02T00:00:00Z"),
        ("Feb 29 12:00:00", "2020-02-29T11:00:00Z"),
    ] {
        assert_eq!(stamp(&format!("{time} web1 kernel: x")).as_deref(), Some(expected), "{time}");
    }
}

/// Guards against times that cannot be: they are absent, and what they stand before is still read.
#[test]
fn impossible_times_are_absent() {
    for line in [
        "Feb 30 12:00:00 web1 kernel: x",
        "Jan  2 25:00:00 web1 kernel: x",
        "Jan  2 12:61:00 web1 kernel: x",
        "Jan 99 12:00:00 web1 kernel: x",
        "2023-13-41T15:04:05Z web1 kernel: x",
        "2023-01-02T15:04:05+99:99 web1 kernel: x",
        "0000-00-00T00:00:00,0+00:00 x",
        "[Mon Feb 30 15:04:05 2023] x",
        "[Feb30 15:04] x",
        "[Jan 2 99:99] x",
    ] {
        let head = head(line.as_bytes());
        assert_eq!((head.text, head.stamp.wall), (&b"x"[..], None), "{line}");
    }
    // A leap second.
    assert!(head(b"Dec 31 23:59:60 web1 kernel: x").stamp.wall.is_some());
    // Numbers that nothing can hold leave a line as it is.
    for line in [
        "[99999999999999999999.000000] x",
        "99999999999.123456 web1 kernel: x",
        "6,1,99999999999999999999999,-;x",
    ] {
        assert!(head(line.as_bytes()).stamp.boot_us.is_none(), "{line}");
    }
}

/// Guards against every line that is cut short anywhere.
#[test]
fn every_beginning_of_a_line_is_read() {
    for prefix in [
        "<6>1 2023-01-02T15:04:05.678Z web1 kernel - - [a@1 x=\"\\\"]\\]\"][b y=\"\"] ",
        "Mon 2023-01-02 15:04:05.678901 UTC web1 kernel: ",
        "Jan  2 15:04:05 web1 kern.info kernel: <4>[   12.345678][  T123] ",
        "kern  :info  : [Mon Jan  2 15:04:05 2023 <    0.000012>] [   12.345678] [  T1] ",
        "3,812,12345678,-,caller=T1;",
        "2023-01-02T15:04:05.678901Z stdout F [  +1.5] ",
    ] {
        let line = format!("{prefix}{TEXT}");
        for end in 0..=line.len() {
            let _ = read_alone(&line.as_bytes()[..end]);
        }
    }
}

/// Guards against a thread that calls itself as a machine and the kernel's tag: in dmesg's lines there is neither.
#[test]
fn a_thread_is_no_machine() {
    let log =
        b"[   12.345678] usb 1-1: new device\n[   12.345678] x kernel: y invoked oom-killer: gfp_mask=0x1";
    let mut context = Context::new(clock(), log);
    let lines: Vec<_> = log.split(|byte| *byte == b'\n').collect();
    let Line::Kernel(head) = read(lines[1], &mut context) else { panic!() };
    assert!(head.text.starts_with(b"x kernel: y invoked"));
    let log = b"[   12.345678] web1 systemd[1]: x\n[   12.345678] web1 kernel: y\n";
    assert!(Context::new(clock(), log).tags);
}
