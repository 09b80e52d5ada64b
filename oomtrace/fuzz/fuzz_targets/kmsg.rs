//! Any bytes as records of /dev/kmsg: no panic, user space is never heard, and no name can take the kernel's place.
#![no_main]

use libfuzzer_sys::fuzz_target;
use oomtrace::{
    incident::Assembler,
    kmsg::{Line, Pieces, parse},
    record::{KernelLog, Record, decode, encode_kernel_log},
    session::{Session, Source},
};
use oomtrace_fuzz::{session::plain, shown::Shown};

fuzz_target!(|bytes: &[u8]| {
    let mut shown = Shown::default();
    let mut assembler = Assembler::new(Session { kmsg: true, ..plain() }, Source::Ebpf);
    let mut pieces = Pieces::default();
    let (mut kills, mut told) = (0, 0);
    for (at, bytes) in (0..).zip(bytes.split_inclusive(|byte| *byte == b'\n')) {
        let Some(record) = parse(bytes) else { continue };
        let user = record.facility != 0;
        pieces.take(record, |logged| {
            assert!(!user, "user space was heard");
            let line = Line::parse(&logged.text).expect("only the OOM killer's messages come through");
            kills += u64::from(matches!(line, Line::Killed(_)));
            let log = KernelLog { seq: logged.seq, usec: logged.usec, text: logged.text };
            let Ok(Record::KernelLog(key, log)) = decode(&encode_kernel_log(&log, at)) else {
                panic!("a message does not come back")
            };
            for event in assembler.record(Record::KernelLog(key, log), 0) {
                told += u64::from(event.closed().is_some());
                shown.check(&event);
            }
        });
    }
    for event in assembler.end() {
        told += u64::from(event.closed().is_some());
        shown.check(&event);
    }
    assert_eq!(told, kills, "each kill that the log alone has is told once");
    kill_of_any_name(bytes);
});

/// A kill by the kernel's words is read as such, whatever the name.
fn kill_of_any_name(name: &[u8]) {
    let name = &name[..name.len().min(15)];
    let text = [&b"Out of memory: Killed process 7 ("[..], name, b") total-vm:40kB, anon-rss:3kB"].concat();
    let Some(Line::Killed(killed)) = Line::parse(&text) else { panic!("no kill: {}", text.escape_ascii()) };
    assert_eq!((killed.pid, killed.total_vm_kb, killed.anon_rss_kb), (7, Some(40), Some(3)));
}
