//! Kernel modules for the guest, with the modules that they need before them.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail, ensure};

/// A module as insmod takes it.
#[derive(Debug, PartialEq, Eq)]
pub struct Module {
    /// Its name with underscores, as lsmod prints it.
    pub name: String,
    /// What follows the file name on insmod's command line.
    pub parameters: String,
    /// The content of the .ko file, decompressed.
    pub content: Vec<u8>,
}

/// The modules in the order in which to insert them. Each wish is a name, with parameters after a space if need be;
/// what is built into the kernel is left out.
pub fn resolve(tree: &Path, wishes: &[String]) -> Result<Vec<Module>> {
    let mut files = BTreeMap::new();
    collect(&tree.join("kernel"), &mut files)?;
    let builtin = fs::read_to_string(tree.join("modules.builtin")).unwrap_or_default();
    let builtin: Vec<String> = builtin.lines().filter_map(|line| module_name(Path::new(line))).collect();
    let mut found = Vec::new();
    for wish in wishes {
        let (name, parameters) = wish.split_once(' ').unwrap_or((wish, ""));
        add(&canonical(name), parameters, &files, &builtin, &mut found)?;
    }
    Ok(found)
}

fn add(
    name: &str,
    parameters: &str,
    files: &BTreeMap<String, PathBuf>,
    builtin: &[String],
    found: &mut Vec<Module>,
) -> Result<()> {
    if found.iter().any(|module| module.name == name) {
        return Ok(());
    }
    let Some(file) = files.get(name) else {
        ensure!(builtin.iter().any(|module| module == name), "this kernel has no module {name}");
        return Ok(());
    };
    let content = read(file)?;
    // The kernel's build refuses circles among them.
    for needed in dependencies(&content) {
        add(&needed, "", files, builtin, found)?;
    }
    found.push(Module { name: name.to_owned(), parameters: parameters.to_owned(), content });
    Ok(())
}

fn collect(dir: &Path, files: &mut BTreeMap<String, PathBuf>) -> Result<()> {
    for entry in fs::read_dir(dir).with_context(|| format!("cannot list the modules in {}", dir.display()))? {
        let path = entry.with_context(|| format!("cannot list {}", dir.display()))?.path();
        if path.is_dir() {
            collect(&path, files)?;
        } else if let Some(name) = module_name(&path) {
            files.insert(name, path);
        }
    }
    Ok(())
}

/// "kernel/mm/zsmalloc.ko.xz" is the module zsmalloc.
fn module_name(path: &Path) -> Option<String> {
    let file = path.file_name()?.to_str()?;
    let (name, ending) = file.split_once(".ko")?;
    ["", ".xz", ".zst", ".gz"].contains(&ending).then(|| canonical(name))
}

fn canonical(name: &str) -> String {
    name.replace('-', "_")
}

fn read(file: &Path) -> Result<Vec<u8>> {
    let ending = file.extension().and_then(|ending| ending.to_str()).unwrap_or_default();
    let program = match ending {
        "xz" => "xz",
        "zst" => "zstd",
        "gz" => "gzip",
        _ => return fs::read(file).with_context(|| format!("cannot read {}", file.display())),
    };
    let output = Command::new(program)
        .arg("-dc")
        .arg(file)
        .output()
        .with_context(|| format!("cannot run {program} to decompress {}", file.display()))?;
    if !output.status.success() {
        bail!(
            "{program} cannot decompress {}: {}",
            file.display(),
            String::from_utf8_lossy(&output.stderr).trim()
        );
    }
    Ok(output.stdout)
}

/// The list in the "depends=" entry of a module's .modinfo section, whose entries end in NUL.
fn dependencies(content: &[u8]) -> Vec<String> {
    const KEY: &[u8] = b"\0depends=";
    let Some(start) = content.windows(KEY.len()).position(|window| window == KEY) else { return Vec::new() };
    let list = content.get(start + KEY.len()..).unwrap_or_default();
    let list = list.split(|byte| *byte == 0).next().unwrap_or_default();
    let list = String::from_utf8_lossy(list);
    list.split(',').filter(|name| !name.is_empty()).map(canonical).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tree() -> tempfile::TempDir {
        let dir = tempfile::tempdir().unwrap();
        let mm = dir.path().join("kernel/mm");
        fs::create_dir_all(&mm).unwrap();
        fs::write(mm.join("zram.ko"), b"\x7fELF\0license=GPL\0depends=zsmalloc,lz4-compress\0name=zram\0")
            .unwrap();
        fs::write(mm.join("zsmalloc.ko"), b"\x7fELF\0depends=\0").unwrap();
        fs::write(dir.path().join("modules.builtin"), "kernel/lib/lz4-compress.ko\n").unwrap();
        dir
    }

    /// Guards the order of insertion, the spelling with - and _, and that built-in code is not looked for.
    #[test]
    fn dependencies_come_first() {
        let dir = tree();
        let wishes = ["zram num_devices=2".to_owned(), "zsmalloc".into(), "lz4_compress".into()];
        let modules = resolve(dir.path(), &wishes).unwrap();
        let names: Vec<_> =
            modules.iter().map(|module| (module.name.as_str(), module.parameters.as_str())).collect();
        assert_eq!(names, [("zsmalloc", ""), ("zram", "num_devices=2")]);
    }

    /// Guards that a module which this kernel lacks is named.
    #[test]
    fn unknown_modules_are_named() {
        let dir = tree();
        let err = resolve(dir.path(), &["floppy".into()]).unwrap_err();
        assert_eq!(err.to_string(), "this kernel has no module floppy");
    }
}
