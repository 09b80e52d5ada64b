//! Any bytes as BTF: no panic, bounded work, and an excerpt answers what the whole answered.
#![no_main]

use libfuzzer_sys::fuzz_target;
use oomtrace::kernel::{
    btf::{Btf, excerpt},
    layout::resolve,
};
use oomtrace_ebpf::Layout;
use oomtrace_fuzz::btf::roots;

fuzz_target!(|bytes: &[u8]| {
    let btf = match Btf::parse(bytes.to_vec()) {
        Ok(btf) => btf,
        Err(error) => {
            assert!(!error.to_string().contains(char::is_control));
            return;
        }
    };
    // Every lookup that tracing needs: members, constants and prototypes.
    let resolved = resolve(&btf, 4);
    for name in resolved.missing.keys() {
        assert!(!name.is_empty());
    }
    for name in ["oom_kill_process", "out_of_memory", "mark_oom_victim"] {
        let _ = btf.function(name);
    }
    let Ok(cut) = excerpt(&btf, &roots()) else { return };
    let cut = Btf::parse(cut.btf).expect("an excerpt is BTF");
    for (of, path) in Layout::FIELDS.iter().flat_map(|field| field.places) {
        if let Ok(member) = btf.member(of, path) {
            assert_eq!(cut.member(of, path), Ok(member), "{of}.{path}");
        }
    }
});
