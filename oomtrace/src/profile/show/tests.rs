//! What the terminal shows, as golden files: `OOMTRACE_BLESS=1 cargo test -p oomtrace profile::show` writes them anew.

use std::{fs, path::Path};

use textwrap::core::display_width;

use super::*;
use crate::profile::{compare::compare, report::Report, samples};

/// Holds a text against its golden file.
fn golden(name: &str, width: usize, shown: &str) {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/golden/profile");
    let file = folder.join(format!("{name}.{width}.txt"));
    if std::env::var_os("OOMTRACE_BLESS").is_some() {
        fs::create_dir_all(&folder).unwrap();
        fs::write(&file, shown).unwrap();
    }
    assert_eq!(shown, fs::read_to_string(&file).unwrap_or_default(), "{name} in {width} columns");
    for line in shown.lines() {
        assert!(display_width(line) <= width, "{name} in {width} columns: {line}");
        assert!(!line.chars().any(char::is_control), "{line:?}");
    }
}

/// Guards the summary to the letter: verdict, bystanders first, chart with marks, figures with units; nothing beyond the edge, and
/// names escaped.
#[test]
fn summaries() {
    let reports: [(&str, Report); 5] = [
        ("quiet", samples::quiet()),
        ("bystanders", samples::bystanders()),
        ("storm", samples::storm()),
        ("hostile", samples::hostile()),
        ("repeated", samples::repeated(0)),
    ];
    for (name, report) in &reports {
        for width in [80, 140] {
            golden(name, width, &summary(report, width, false));
        }
    }
}

/// Guards comparisons to the letter: what is worse first, with how sure that is.
#[test]
fn comparisons() {
    let mut sides = [("6.12", samples::repeated(0)), ("7.2", samples::repeated(1))]
        .map(|(label, report)| (label.to_owned(), report));
    sides[1].1.machine.kernel = "7.2.0-rc3".into();
    let several = compare(&sides).unwrap();
    let single = [("6.12", samples::bystanders()), ("7.2", samples::storm())]
        .map(|(label, report)| (label.to_owned(), report));
    let single = compare(&single).unwrap();
    for width in [80, 140] {
        golden("diff", width, &comparison(&several, width, false));
        golden("diff-single", width, &comparison(&single, width, false));
    }
}

/// Guards colours: without them there is no escape sequence, and with them the words are the same.
#[test]
fn colours_change_no_word() {
    let report = samples::bystanders();
    let plain = summary(&report, 140, false);
    let painted = summary(&report, 140, true);
    assert!(painted.contains("\u{1b}[1;31m") && !plain.contains('\u{1b}'));
    let mut stripped = String::new();
    for piece in painted.split('\u{1b}') {
        let style = piece.strip_prefix('[').and_then(|rest| rest.split_once('m'));
        stripped.push_str(style.map_or(piece, |(_, rest)| rest));
    }
    assert_eq!(stripped, plain);
}

/// Guards terminals that are hardly any: there is a summary, and nothing breaks.
#[test]
fn no_width_is_too_small() {
    for width in 0..40 {
        assert!(summary(&samples::hostile(), width, true).contains("RUN"));
    }
    assert!(summary(&Report::default(), 80, false).contains("it was not run"));
}
