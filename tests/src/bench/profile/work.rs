//! What is done while it is measured: stress-ng's stressors.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

use super::stress_ng;
use crate::machine::Machine;
use crate::scenario::swap_limit::Zram;
use crate::size::MIB;
use crate::stage::{Scratch, argument};
use crate::witness::cgroup::Cgroup;
use crate::witness::tree::Tree;

/// A stressor.
pub struct Work {
    /// What it is called in figures.
    pub name: &'static str,
    /// stress-ng's options for one instance.
    options: &'static [&'static str],
    /// The option for a number of bogo-ops, and how many where instructions are counted: two hundred million of these and more.
    ops_option: &'static str,
    pub ops: u64,
    place: Place,
}

/// Where it does that.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Place {
    /// Where there is enough.
    Ample,
    /// In a cgroup that it is never killed in, and has to reclaim from, to swap or to a file.
    Tight,
    /// In a cgroup in which it is killed again and again.
    Deadly,
}

/// All of them: those that fork or reclaim hardest, too.
pub const WORKS: [Work; 8] = [
    work("vm", &["--vm", "1", "--vm-bytes", "16M", "--vm-method", "write64"], "--vm-ops", 80, Place::Ample),
    work("bigheap", &["--bigheap", "1", "--bigheap-growth", "256K"], "--bigheap-ops", 400, Place::Ample),
    work("mmap", &["--mmap", "1", "--mmap-bytes", "1M"], "--mmap-ops", 6, Place::Ample),
    work("brk", &["--brk", "1"], "--brk-ops", 8_000, Place::Ample),
    work("fork", &["--fork", "1"], "--fork-ops", 100, Place::Ample),
    work("clone", &["--clone", "1", "--clone-max", "64"], "--clone-ops", 16, Place::Ample),
    work(
        "what reclaims",
        &["--vm", "1", "--vm-bytes", "36M", "--vm-keep", "--vm-method", "write64"],
        "--vm-ops",
        60,
        Place::Tight,
    ),
    work(
        "bigheap, killed",
        &["--bigheap", "1", "--bigheap-growth", "1M"],
        // Twenty-six of its processes are killed meanwhile.
        "--bigheap-ops",
        500,
        Place::Deadly,
    ),
];

const fn work(
    name: &'static str,
    options: &'static [&'static str],
    ops_option: &'static str,
    ops: u64,
    place: Place,
) -> Work {
    Work { name, options, ops_option, ops, place }
}

/// How much is done.
#[derive(Clone, Copy)]
pub enum Amount {
    /// So many bogo-ops.
    Ops(u64),
    /// So many seconds.
    Seconds(u64),
}

/// Longer than any number of bogo-ops takes, s.
const LONGEST: u64 = 600;
/// What a tight or deadly cgroup may have.
const LIMIT: u64 = 24 * MIB;

/// Cgroups, files and swap for all of them.
pub struct Ground {
    scratch: Scratch,
    _tree: Tree,
    ample: Cgroup,
    tight: Cgroup,
    deadly: Cgroup,
    /// Where there is none a file is reclaimed to.
    swap: Option<Zram>,
}

impl Work {
    /// Whether memory is short where it is done.
    pub fn is_short(&self) -> bool {
        self.place != Place::Ample
    }
}

impl Ground {
    /// Makes it, with so much swap.
    pub fn new(swap: Option<u64>, page: u64) -> Result<Self> {
        let hierarchy = Machine::look(false)?.hierarchy.context("this machine has no memory controller")?;
        let tree = Tree::new(&hierarchy, "profile")?;
        let (ample, tight, deadly) = (tree.group("ample")?, tree.group("tight")?, tree.group("deadly")?);
        let swap = swap.map(|bytes| Zram::enable(page, bytes)).transpose()?;
        for group in [&tight, &deadly] {
            group.set_limit(LIMIT)?;
        }
        if swap.is_some() {
            tight.set_swap_limit(256 * MIB)?;
        }
        Ok(Self { scratch: Scratch::new("bench-profile")?, _tree: tree, ample, tight, deadly, swap })
    }

    /// A file for the time being.
    pub fn file(&self, name: &str) -> PathBuf {
        self.scratch.file(name)
    }

    /// The command that does it, and writes down what it took and how much it was.
    pub fn command(&self, work: &Work, amount: Amount, counts: &Path, yaml: &Path) -> Result<Vec<String>> {
        let group = match work.place {
            Place::Ample => &self.ample,
            Place::Tight => &self.tight,
            Place::Deadly => &self.deadly,
        };
        // Without swap what is reclaimed is a file's.
        let by_file = work.place == Place::Tight && self.swap.is_none();
        let options: &[&str] = if by_file { &["--hdd", "1", "--hdd-bytes", "64M"] } else { work.options };
        let procs = group.procs_file()?;
        let (program, stress_ng) = (std::env::current_exe().context("this program is gone")?, stress_ng()?);
        let mut words = vec![argument(&program)?, "bench", "counted", "--to", argument(counts)?];
        words.extend(["--cgroup-procs", argument(&procs)?, "--", argument(&stress_ng)?]);
        words.extend(["--no-rand-seed", "--metrics", "--temp-path", argument(self.scratch.folder())?]);
        words.extend(["--yaml", argument(yaml)?]);
        words.extend(options);
        let mut words: Vec<String> = words.into_iter().map(str::to_owned).collect();
        let seconds = match amount {
            Amount::Ops(ops) => {
                words.extend([work.ops_option.to_owned(), ops.to_string()]);
                LONGEST
            }
            Amount::Seconds(seconds) => seconds,
        };
        words.extend(["--timeout".to_owned(), seconds.to_string()]);
        Ok(words)
    }
}

/// How many bogo-ops there were, and how many in a second: by the wall clock, and of CPU time.
pub fn bogo_ops(yaml: &Path) -> Result<(f64, f64, f64)> {
    let text = fs::read_to_string(yaml).context("stress-ng wrote no YAML")?;
    parse(&text).context("stress-ng's YAML has no bogo-ops")
}

fn parse(yaml: &str) -> Option<(f64, f64, f64)> {
    let number = |key: &str| {
        let value = yaml.lines().find_map(|line| line.trim().strip_prefix(key)?.strip_prefix(": "))?;
        value.trim().parse::<f64>().ok()
    };
    let ops = number("bogo-ops").filter(|ops| *ops > 0.0)?;
    let (real, cpu) = ("bogo-ops-per-second-real-time", "bogo-ops-per-second-usr-sys-time");
    Some((ops, number(real)?, number(cpu)?))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Guards the figures that are read, and that none is read of a stressor that did nothing.
    #[test]
    fn reads_stress_ngs_yaml() {
        let text = "metrics:\n    - stressor: vm\n      bogo-ops: 40\n      bogo-ops-per-second-usr-sys-time: 10.5\n      \
                    bogo-ops-per-second-real-time: 9.5\n";
        assert_eq!(parse(text), Some((40.0, 9.5, 10.5)));
        assert_eq!(parse(&text.replace("ops: 40", "ops: 0")), None);
    }
}
