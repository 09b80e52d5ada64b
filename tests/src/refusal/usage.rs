//! Wrong usage: refused before anything happens, with what would be right.

use anyhow::Result;

use super::ending::{check, ends, status};
use super::run::{Installed, Start};
use crate::stage::Stage;

/// Arguments, and what the refusal has to say.
static REFUSED: &[(&[&str], &[&str])] = &[
    (&["--tier", "nonsense"], &["'nonsense'", "--tier", "auto, trampoline, kprobe, tracepoint"]),
    (&["-o", "xml"], &["'xml'", "--output", "human, json"]),
    (&["--nonsense"], &["'--nonsense'", "--help"]),
    (&["nonsense"], &["'nonsense'", "--help"]),
    (&["--json", "replay", "file"], &["replay", "--json", "--help"]),
    (&["hooks", "--ring-size", "4K"], &["'--ring-size'", "--help"]),
    (&["replay"], &["<FILE>"]),
    (&["--btf"], &["--btf <FILE>"]),
    (&["--record"], &["--record <FILE>"]),
    (&["--ring-size", "0"], &["--ring-size"]),
    (&["--ring-size", "1T"], &["\"1T\"", "--ring-size", "K, M or G"]),
    (&["--ring-size", "2G"], &["2G", "--ring-size", "1G is the most"]),
    (&["--ring-size", "abc"], &["\"abc\"", "--ring-size", "K, M or G"]),
    (&["--ring-size=-4K"], &["\"-4K\"", "--ring-size", "K, M or G"]),
    (&["--min-rss", ""], &["\"\"", "--min-rss", "K, M or G"]),
    (&["--min-rss", "lots"], &["\"lots\"", "--min-rss", "K, M or G"]),
    (&["--min-rss", "10X"], &["\"10X\"", "--min-rss", "K, M or G"]),
    (&["--pid", "init"], &["'init'", "--pid"]),
    (&["--pid", "4294967296"], &["'4294967296'", "--pid"]),
];

/// Options that look odd and are right: a ring's size is rounded up, and a pattern is literal but for its stars.
static ACCEPTED: &[&[&str]] = &[&["--ring-size", "3K"], &["--cgroup", "[a-", "--comm", "{"]];

/// Checks each.
pub fn cases(stage: &mut Stage<'_>, oomtrace: &Installed) -> Result<()> {
    for (arguments, words) in REFUSED {
        let run = oomtrace.start(&Start::default(), arguments)?;
        ends(stage, &arguments.join(" "), run, (status::USAGE, words));
    }
    for options in ACCEPTED {
        let mut run = oomtrace.trace(&Start::default(), options)?;
        run.attached(stage.deadline)?;
        let output = run.stop(stage.deadline)?;
        check(&mut stage.checks, &options.join(" "), &output, (status::DONE, &["ended after"]));
    }
    Ok(())
}
