//! What pages look like is for eyes: `OOMTRACE_PAGES=DIR cargo test -p oomtrace pages_to_look_at` writes some to a folder.

use std::{collections::BTreeMap, fs, path::Path};

use super::*;
use crate::profile::{compare, samples};

fn pages() -> Vec<(&'static str, String)> {
    vec![
        ("quiet", report(&samples::quiet())),
        ("bystanders", report(&samples::bystanders())),
        ("storm", report(&samples::storm())),
        ("hostile", report(&samples::hostile())),
        ("repeated", report(&samples::repeated(0))),
        ("empty", report(&Report::default())),
        ("diff", comparison(&diff())),
    ]
}

fn diff() -> Comparison {
    let sides =
        [("6.12", samples::repeated(0)), ("7.2", samples::repeated(1)), ("once", samples::bystanders())];
    let mut sides = sides.map(|(label, report)| (label.to_owned(), report));
    sides[1].1.machine.kernel = "7.2.0-rc3".into();
    compare::compare(&sides).unwrap()
}

/// Writes pages where somebody asks for them, and guards what all of them have: one document that needs nothing else.
#[test]
fn pages_to_look_at() {
    let folder = std::env::var_os("OOMTRACE_PAGES");
    for (name, page) in pages() {
        if let Some(folder) = &folder {
            fs::write(Path::new(folder).join(format!("{name}.html")), &page).unwrap();
        }
        assert!(page.starts_with("<!DOCTYPE html>\n<html lang=\"en\">"), "{name}");
        for outside in ["http://", "https://", "url(", "@import", "<img", "<link", "<iframe"] {
            let own = page.replace("&lt;", "");
            assert!(!own.contains(outside), "{name}: {outside}");
        }
        assert_eq!(page.matches("<script>").count(), 1, "{name}");
        balanced(name, &page);
    }
}

/// Every element ends where it should.
fn balanced(name: &str, page: &str) {
    let body = page.split_once("<body>").unwrap().1;
    let body = body.replace(SCRIPT, "");
    let mut open = Vec::new();
    for piece in body.split('<').skip(1) {
        let (tag, _) = piece.split_once('>').unwrap();
        if let Some(ended) = tag.strip_prefix('/') {
            let expected = open.pop();
            assert!(
                expected == Some(ended.to_owned()) || ended == "body" || ended == "html",
                "{name}: {ended}, {expected:?}"
            );
        } else if !tag.ends_with('/') {
            open.push(tag.split(' ').next().unwrap().to_owned());
        }
    }
    assert!(open.is_empty(), "{name}: {open:?}");
}

/// Guards the page against names that are markup or control characters, wherever they stand in a report.
#[test]
fn hostile_names_stay_text() {
    let page = report(&samples::hostile());
    let body = page.replace(SCRIPT, "").replace(STYLE, "");
    for forbidden in [
        "<img",
        "<script>alert",
        "</script><script",
        "onerror=alert(2)>",
        "\u{1b}",
        "\u{202e}",
        "\">&lt;img",
        "&amp;amp;amp;",
    ] {
        assert!(!body.contains(forbidden), "{forbidden:?}");
    }
    // All that it says is there nonetheless.
    assert!(body.contains("&lt;/script&gt;&lt;script&gt;alert(1)&lt;/script&gt;&quot;&#39;&gt;&lt;img src=x onerror=alert(2)&gt;\\u{1b}[2J\\u{202e}\\n&amp;amp;${x}"));
    assert!(!body.chars().any(|letter| letter.is_control() && letter != '\n'));
}

/// Guards the size: the largest report that there can be, four times over, is a page below 2 MB.
#[test]
fn the_largest_page_is_small() {
    let page = report(&samples::maximal());
    assert!(page.len() < 2_000_000, "{}", page.len());
    assert!(page.contains("Of the runs after this one there is no room"));
    let once = report(&Report { runs: samples::maximal().runs.split_off(3), ..samples::maximal() });
    assert!(once.len() < 2_000_000 && once.contains("824 more are in the report"), "{}", once.len());
}

/// Guards the first thing that one reads: what happened, with bystanders first.
#[test]
fn the_verdict_comes_first() {
    let page = report(&samples::bystanders());
    let verdict = "<h1 class=\"verdict bad\">3 bystanders were killed, and 7 of stress-ng&#39;s own; 1,982 forks failed, and 3 allocations failed.</h1>";
    assert!(page.contains(verdict), "{}", &page[page.find("<h1").unwrap()..][..300]);
    let victims = page.split_once("<h3>Victims</h3>").unwrap().1;
    assert!(victims.find("redis-server").unwrap() < victims.find("stress-ng-vm").unwrap());
    let quiet = report(&samples::quiet());
    assert!(quiet.contains("<h1 class=\"verdict good\">Nothing was killed, and nothing failed.</h1>"));
}

/// Guards several runs: each has its part, and the table leads to it.
#[test]
fn each_run_has_its_part() {
    let page = report(&samples::repeated(0));
    for nth in 1..=5 {
        assert!(
            page.contains(&format!("href=\"#run-{nth}\"")) && page.contains(&format!("id=\"run-{nth}\"")),
            "{nth}"
        );
    }
    assert!(page.contains("<td><span>median</span></td>"));
}

/// Guards comparisons: what got worse stands before what got better, with its interval drawn.
#[test]
fn comparisons_begin_with_the_worst() {
    let page = comparison(&diff());
    let (worse, same) = (page.find("<h3>Worse").unwrap(), page.find("<h3>No difference").unwrap());
    assert!(worse < same);
    assert!(
        page[worse..same].contains("bogo_ops_per_second.vm") && page[worse..same].contains("<circle cx=")
    );
    assert!(page.contains("7.2.0-rc3"));
}

/// Guards the size of comparisons: as many reports as can be compared at once are a page below 2 MB.
#[test]
fn the_largest_comparison_is_small() {
    let side = |nth: u64| (format!("{nth} {}", samples::HOSTILE), samples::repeated(nth % 2));
    let sides: Vec<_> = (0..u64::try_from(compare::MOST).unwrap()).map(side).collect();
    let page = comparison(&compare::compare(&sides).unwrap());
    assert!(page.len() < 2_000_000, "{}", page.len());
    assert!(!page.replace(SCRIPT, "").contains("<script>alert"));
}

/// Guards the page's script: no other runs, and this one does.
#[test]
fn the_policy_knows_the_script() {
    let digest = ring::digest::digest(&ring::digest::SHA256, SCRIPT.as_bytes());
    let digest: Vec<u8> = digest.as_ref().to_vec();
    assert_eq!(base64(&digest), include_str!("script.sha256"));
}

fn base64(bytes: &[u8]) -> String {
    const LETTERS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = String::new();
    for three in bytes.chunks(3) {
        let value =
            three.iter().chain([&0, &0]).take(3).fold(0_u32, |value, byte| value << 8 | u32::from(*byte));
        for place in 0..4 {
            let letter = LETTERS[usize::try_from(value >> (18 - 6 * place) & 63).unwrap()];
            text.push(if place > three.len() { '=' } else { char::from(letter) });
        }
    }
    text
}

/// The colours of a block of the style sheet, by name.
fn colours(block: &str) -> BTreeMap<&str, [f64; 3]> {
    let declared = block.split(';').filter_map(|line| line.trim().strip_prefix("--")?.split_once(": #"));
    let colour =
        |hex: &str| [0, 2, 4].map(|at| f64::from(u8::from_str_radix(&hex[at..at + 2], 16).unwrap()) / 255.0);
    declared.map(|(name, hex)| (name, colour(hex))).collect()
}

/// WCAG 2.2, "contrast ratio".
fn contrast(one: [f64; 3], other: [f64; 3]) -> f64 {
    let light = |colour: [f64; 3]| {
        let [r, g, b] = colour
            .map(|part| if part <= 0.04045 { part / 12.92 } else { ((part + 0.055) / 1.055).powf(2.4) });
        0.2126 * r + 0.7152 * g + 0.0722 * b
    };
    let (one, other) = (light(one) + 0.05, light(other) + 0.05);
    if one > other { one / other } else { other / one }
}

/// Guards what people can read: text of 4.5 to 1 and graphics of 3 to 1 (WCAG 2.2, 1.4.3 and 1.4.11), light, dark and printed.
#[test]
fn colours_can_be_seen() {
    let blocks: Vec<_> = STYLE.split(":root {").skip(1).map(|rest| rest.split_once('}').unwrap().0).collect();
    assert_eq!(blocks.len(), 3);
    for block in &blocks {
        let colours = colours(block);
        let of = |name: &str| colours[name];
        for (text, on) in [
            ("ink", "page"),
            ("ink", "card"),
            ("quiet", "page"),
            ("quiet", "card"),
            ("link", "page"),
            ("bad", "page"),
            ("bad", "card"),
            ("bad", "bad-card"),
            ("warned", "page"),
            ("warned", "warned-card"),
            ("good", "page"),
            ("good", "good-card"),
            ("bystander", "page"),
        ] {
            assert!(contrast(of(text), of(on)) >= 4.5, "{text} on {on}: {}", contrast(of(text), of(on)));
        }
        let graphics =
            ["userspace", "own", "novictim", "fork", "alloc", "curve", "available", "cgroup", "limit"];
        let names = ["s0", "s1", "s2", "s3", "s4", "s5", "s6", "s7", "s8"];
        for graphic in graphics.into_iter().chain(names) {
            assert!(
                contrast(of(graphic), of("page")) >= 3.0,
                "{graphic}: {}",
                contrast(of(graphic), of("page"))
            );
        }
    }
    // Printed pages are as light ones.
    assert_eq!(colours(blocks[0]), colours(blocks[2]));
}
