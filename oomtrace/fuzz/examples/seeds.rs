//! Writes the seeds of the corpora from the fixtures of the tests: `cargo run --example seeds`, in this folder.

use std::{
    error::Error,
    fs,
    io::Cursor,
    path::{Path, PathBuf},
};

use oomtrace::{
    kernel::btf::{Btf, excerpt},
    record::{Frame, Reader},
};
use oomtrace_fuzz::btf::roots;

fn main() -> Result<(), Box<dyn Error>> {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    let fixtures = here.join("../../tests/fixtures");
    let corpus = here.join("corpus");
    for path in files(&fixtures.join("btf"), "btf")? {
        // Small ones are changed faster.
        let btf = Btf::read(&path)?;
        put(&corpus.join("btf"), &name(&path), &excerpt(&btf, &roots())?.btf)?;
        for root in ["page_counter", "cgroup_subsys_id", "btf_trace_mark_victim", "oom_control"] {
            put(&corpus.join("btf"), &format!("{}-{root}", name(&path)), &excerpt(&btf, &[root])?.btf)?;
        }
    }
    for path in files(&fixtures.join("streams"), "oomtrace")? {
        let file = fs::read(&path)?;
        put(&corpus.join("record_file"), &name(&path), &file)?;
        let (_, mut reader) = Reader::new(Cursor::new(&file))?;
        let mut number = 0;
        while let Some(frame) = reader.next_frame()? {
            if let Frame::Record { bytes, .. } = frame {
                put(&corpus.join("decode"), &format!("{}-{number}", name(&path)), &bytes)?;
            }
            number += 1;
        }
    }
    for entry in fs::read_dir(fixtures.join("klog/import"))? {
        let path = entry?.path();
        let beside = path.extension().is_some_and(|kind| kind == "expect" || kind == "source");
        let log = fs::read(&path)?;
        if !beside && log.len() <= SMALL {
            put(&corpus.join("import"), &name(&path), &log)?;
        }
    }
    Ok(())
}

/// The longest log that is a seed, bytes: small ones are changed faster, and there is one of every wording and form.
const SMALL: usize = 16 * 1024;

fn files(folder: &Path, extension: &str) -> std::io::Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        if path.extension().is_some_and(|found| found == extension) {
            files.push(path);
        }
    }
    files.sort();
    Ok(files)
}

fn name(path: &Path) -> String {
    path.file_stem().unwrap_or_default().to_string_lossy().into_owned()
}

fn put(folder: &Path, name: &str, bytes: &[u8]) -> std::io::Result<()> {
    fs::create_dir_all(folder)?;
    fs::write(folder.join(name), bytes)
}
