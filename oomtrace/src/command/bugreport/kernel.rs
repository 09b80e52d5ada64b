//! What oomtrace goes by in this kernel: its types and symbols, and what hooks came of them.

use std::path::Path;

use super::part::{Content, Part};
use crate::{
    cli::KernelArgs,
    command::hooks,
    host::Host,
    kernel::{
        btf::{Btf, excerpt},
        symbols::{KALLSYMS, Symbols},
        used,
    },
};

/// All of it. To see which hooks attach, they are attached, and detached at once.
pub fn parts(args: &KernelArgs, host: &Result<Host, String>) -> Vec<Part> {
    let hooks = host
        .as_ref()
        .map_err(Clone::clone)
        .and_then(|host| hooks::as_json(args, host).map(Content::Json).map_err(|error| format!("{error:#}")));
    vec![
        Part::new("hooks.json", "what this kernel lets oomtrace see", hooks),
        Part::new("kernel/types.btf", "the kernel's types that oomtrace reads by", types(&args.btf)),
        Part::new(
            "kernel/symbols.txt",
            "the kernel's functions and variables that oomtrace uses",
            symbols(Path::new(KALLSYMS)),
        ),
    ]
}

fn types(btf: &Path) -> Result<Content, String> {
    let btf = Btf::of(btf).map_err(|error| error.to_string())?;
    let types = used::types();
    let roots: Vec<_> = types.iter().map(String::as_str).collect();
    excerpt(&btf, &roots).map(|excerpt| Content::Types(excerpt.btf)).map_err(|missing| missing.to_string())
}

/// Whether each is there, and once. Addresses are nobody's business.
fn symbols(kallsyms: &Path) -> Result<Content, String> {
    std::fs::File::open(kallsyms)
        .map_err(|error| format!("{} cannot be read: {error}", kallsyms.display()))?;
    let names = used::symbols();
    let symbols = Symbols::of(kallsyms, &names);
    let told = names.iter().map(|name| match symbols.get(name) {
        Ok(_) => format!("{name}\n"),
        Err(reason) => format!("{name}: {reason}\n"),
    });
    Ok(Content::Text(told.collect()))
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    /// Guards the kernel's addresses, and that what is not there is said.
    #[test]
    fn symbols_have_no_address() {
        let file = tempfile::NamedTempFile::new().unwrap();
        fs::write(file.path(), "ffffffff81200000 T oom_kill_process\n").unwrap();
        let text = String::from_utf8(symbols(file.path()).unwrap().bytes()).unwrap();
        assert!(text.contains("oom_kill_process\n") && !text.contains("ffffffff"), "{text}");
        assert!(text.contains("max_threads: the kernel's symbols lack max_threads\n"), "{text}");
        assert!(symbols(Path::new("/nonexistent")).unwrap_err().contains("/nonexistent"));
    }

    /// Guards the types: what is in a report is BTF that oomtrace itself takes.
    #[test]
    fn types_can_be_used_elsewhere() {
        let fixture = concat!(env!("CARGO_MANIFEST_DIR"), "/../tests/fixtures/btf/6.12.btf");
        let Content::Types(btf) = types(Path::new(fixture)).unwrap() else { panic!("types are types") };
        assert!(Btf::parse(btf).unwrap().member("oom_control", "order").is_ok());
        assert!(types(Path::new("/dev/null")).is_err());
    }
}
