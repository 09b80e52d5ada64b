//! The report as a page: one file that needs nothing else, neither the network nor scripts, and that can be printed.
//!
//! Names come from processes, cgroups and files, and may be anything: all markup is made by [`html`], which escapes whatever is put
//! into it. Should that ever fail, the page's policy lets no script run but its own.

mod chart;
mod comparison;
mod head;
mod histogram;
mod html;
mod hurt;
mod machine;
mod marks;
mod runs;
mod scale;
mod table;
#[cfg(test)]
mod tests;
mod timeline;

use serde_json::Value;

use self::html::{Element, classed, element};
use super::{
    compare::Comparison,
    digest::{self, Toll, outcome},
    report::{Report, Run},
};

const STYLE: &str = include_str!("style.css");
const SCRIPT: &str = include_str!("script.js");
/// Nothing is loaded; of scripts only [`SCRIPT`] runs, by its digest (CSP level 3, "hash-source"). A test holds it against the file.
const POLICY: &str = concat!(
    "default-src 'none'; style-src 'unsafe-inline'; script-src 'sha256-",
    include_str!("script.sha256"),
    "'; base-uri 'none'; form-action 'none'"
);

/// A page has so many bytes at the most, unless cutting all texts to [`SHORT`] is not enough.
const MOST_BYTES: usize = 1_900_000;
/// The runs of a page take so many bytes, and one more: of further ones there is a row in the table of runs.
const MOST_BYTES_OF_RUNS: usize = 900_000;
/// Letters of each text of a report that is too large.
const SHORT: usize = 32;

/// The page of a report: HTML, all of it, and less than 2 MB.
#[must_use]
pub fn report(report: &Report) -> String {
    let page = of_report(report);
    if page.len() <= MOST_BYTES {
        return page;
    }
    // Hundreds of names of thousands of letters: nobody reads these, and each is a name still when it is short.
    with_short_texts(report).map_or(page, |report| of_report(&report))
}

fn of_report(report: &Report) -> String {
    let name = || digest::command_name(report);
    let title = format!("{} – oomtrace run", report.name.clone().unwrap_or_else(name));
    let mut main = element("main").child(head::head(report));
    if let Some(runs) = runs::runs(report) {
        let title = element("h2").text("Runs");
        main = main.child(classed("section", "run").child(title).child(runs));
    }
    let alone = report.runs.len() == 1;
    let mut taken = 0;
    for (nth, run) in report.runs.iter().enumerate() {
        if taken > MOST_BYTES_OF_RUNS {
            let text = "Of the runs after this one there is no room for more than their rows in the table above: the report's JSON has all of them.";
            main = main.child(classed("p", "quiet").text(text));
            break;
        }
        let shown = of_run(report, run, nth, alone);
        taken += shown.len();
        main = main.child(shown);
    }
    let machine = classed("section", "run last").child(element("h2").text("Machine and settings"));
    whole(&title, main.child(machine.child(machine::machine(report))))
}

/// The same report with all of its texts cut.
fn with_short_texts(report: &Report) -> Option<Report> {
    fn cut(text: &mut String) {
        if let Some((end, _)) = text.char_indices().nth(SHORT) {
            text.truncate(end);
            text.push('…');
        }
    }
    fn cut_all(value: &mut Value) {
        match value {
            Value::String(text) => cut(text),
            Value::Array(values) => values.iter_mut().for_each(cut_all),
            Value::Object(map) => {
                for (mut key, mut value) in std::mem::take(map) {
                    cut(&mut key);
                    cut_all(&mut value);
                    map.insert(key, value);
                }
            }
            Value::Null | Value::Bool(_) | Value::Number(_) => {}
        }
    }
    let mut value = serde_json::to_value(report).ok()?;
    cut_all(&mut value);
    serde_json::from_value(value).ok()
}

/// The page of a comparison: HTML, all of it.
#[must_use]
pub fn comparison(comparison: &Comparison) -> String {
    let labels: Vec<_> = comparison.sides.iter().map(|side| side.label.as_str()).collect();
    whole(&format!("{} – oomtrace diff", labels.join(", ")), comparison::comparison(comparison))
}

/// All that there is on one run.
fn of_run(report: &Report, run: &Run, nth: usize, alone: bool) -> Element {
    let mut section = classed("section", "run").with("id", format!("run-{}", nth + 1));
    if !alone {
        let toll = Toll::of(report, run);
        section = section
            .child(element("h2").text(format!("Run {}", nth + 1)))
            .child(classed("p", head::verdict_class(toll.mood())).text(head::verdict(&toll, report)))
            .child(classed("p", "quiet").text(outcome(run)));
    }
    let timeline = classed("section", "part timeline")
        .child(element("h3").text("Over time"))
        .children(timeline::timeline(run));
    let latencies = histogram::histograms(run)
        .map(|shown| classed("section", "part").child(element("h3").text("How long it took")).child(shown));
    section
        .child(head::figures(report, run))
        .child(timeline)
        .children(hurt::sections(run))
        .children(latencies)
        .child(machine::accounts(run))
}

/// A page around what it has to say.
fn whole(title: &str, main: Element) -> String {
    let head = element("head")
        .child(element("meta").with("charset", "utf-8"))
        .child(element("meta").with("http-equiv", "Content-Security-Policy").with("content", POLICY))
        .child(element("meta").with("name", "viewport").with("content", "width=device-width,initial-scale=1"))
        .child(element("meta").with("name", "color-scheme").with("content", "light dark"))
        .child(element("title").text(title))
        .child(element("style").source(STYLE));
    let foot = element("footer").text(format!("oomtrace {}", env!("CARGO_PKG_VERSION")));
    let body = element("body")
        .child(marks::shapes())
        .child(main)
        .child(foot)
        .child(element("script").source(SCRIPT));
    let mut page = String::from("<!DOCTYPE html>\n");
    element("html").with("lang", "en").child(head).child(body).end(&mut page);
    page.push('\n');
    page
}
