//! Any bytes as a record: no panic, only whole records are taken, and whatever is taken can be shown.
#![no_main]

use libfuzzer_sys::fuzz_target;
use oomtrace::{
    incident::Assembler,
    record::{Record, decode, privacy},
    session::Source,
};
use oomtrace_ebpf as abi;
use oomtrace_fuzz::{session::plain, shown::Shown};

/// A command line has as many arguments after its secrets are masked, if they have room. Gives its size, bytes.
fn masked(bytes: &[u8]) -> usize {
    let text = |bytes: &[u8]| match decode(bytes) {
        Ok(Record::Cmdline(_, cmdline)) => (cmdline.text.clone(), cmdline.truncated),
        other => panic!("no command line: {other:?}"),
    };
    let mut record = bytes.to_vec();
    privacy::mask(&mut record);
    let ((before, _), (after, truncated)) = (text(bytes), text(&record));
    let ends = |text: &[u8]| text.iter().filter(|byte| **byte == 0).count();
    assert!(truncated || ends(&before) == ends(&after), "arguments were joined or split");
    let sizes = abi::CMDLINE_WORDS.map(|words| words * 8);
    sizes.into_iter().find(|size| *size == bytes.len()).expect("a size of a command line's record")
}

fuzz_target!(|bytes: &[u8]| {
    let record = match decode(bytes) {
        Ok(record) => record,
        Err(error) => {
            assert!(!error.to_string().contains(char::is_control));
            return;
        }
    };
    let size = match record {
        Record::Decision(..) => size_of::<abi::Decision>(),
        Record::Level(..) => size_of::<abi::Level>(),
        Record::Mark(..) => size_of::<abi::Mark>(),
        Record::Close(..) => size_of::<abi::Close>(),
        Record::Candidate(..) => size_of::<abi::Candidate>(),
        Record::Zone(..) => size_of::<abi::Zone>(),
        Record::Allowed(..) => size_of::<abi::Allowed>(),
        Record::ForkFailure(..) => size_of::<abi::ForkFailure>(),
        Record::PidsLevel(..) => size_of::<abi::PidsLevel>(),
        Record::Namespaces(..) => size_of::<abi::Namespaces>(),
        Record::ForkHost(..) => size_of::<abi::ForkHost>(),
        Record::Node(..) => size_of::<abi::Node>(),
        Record::Relief(..) => size_of::<abi::Relief>(),
        Record::Kin(..) => size_of::<abi::Kin>(),
        Record::Struck(..) => size_of::<abi::Struck>(),
        Record::AllocFailure(..) => size_of::<abi::AllocFailure>(),
        Record::UserKill(..) => size_of::<abi::UserKill>(),
        // A text of any length.
        Record::Environment(..) => bytes.len(),
        Record::Cmdline(..) => masked(bytes),
        // Two paths of any length, of which what is no text is replaced.
        Record::PidsRefused(..) => bytes.len(),
        // JSON, with spaces or without.
        Record::Settings(..) => bytes.len(),
        Record::KernelLog(_, ref log) => size_of::<abi::KernelLog>() + log.text.len(),
    };
    assert_eq!(bytes.len(), size, "a record is taken in the size of its kind only");
    let mut shown = Shown::default();
    let mut assembler = Assembler::new(plain(), Source::Replay);
    for event in assembler.record(record, 0).into_iter().chain(assembler.end()) {
        shown.check(&event);
    }
});
