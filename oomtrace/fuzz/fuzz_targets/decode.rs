//! Any bytes as a record: no panic, only whole records are taken, and whatever is taken can be shown.
#![no_main]

use libfuzzer_sys::fuzz_target;
use oomtrace::{
    incident::Assembler,
    record::{Record, decode},
    session::Source,
};
use oomtrace_ebpf as abi;
use oomtrace_fuzz::{session::plain, shown::Shown};

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
        Record::Relief(..) => size_of::<abi::Relief>(),
    };
    assert_eq!(bytes.len(), size, "a record is taken in the size of its kind only");
    let mut shown = Shown::default();
    let mut assembler = Assembler::new(plain(), Source::Replay);
    for event in assembler.record(record, 0).into_iter().chain(assembler.end()) {
        shown.check(&event);
    }
});
