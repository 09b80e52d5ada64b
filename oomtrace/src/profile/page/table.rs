//! Tables: columns that no row has anything for are left out, figures are sorted by what they are and not by how they are written.

use std::borrow::Cow;

use super::html::{Element, classed, element};
use crate::{
    profile::{
        digest::{figure, number},
        measure::Unit,
        report::{Latency, Whose},
    },
    words::{duration, size},
};

/// Letters of a text that are on the page, at the most: the report has all of it.
const MOST_LETTERS: usize = 2000;

/// A column's head.
#[derive(Clone, Debug)]
pub(super) struct Head {
    pub words: Cow<'static, str>,
    /// Whether it has figures.
    pub figures: bool,
}

/// A column with texts.
pub(super) fn texts(words: impl Into<Cow<'static, str>>) -> Head {
    Head { words: words.into(), figures: false }
}

/// A column with figures.
pub(super) fn figures(words: impl Into<Cow<'static, str>>) -> Head {
    Head { words: words.into(), figures: true }
}

/// What is in a field.
#[derive(Clone, Debug)]
pub(super) struct Cell {
    content: Element,
    /// What it is sorted by, if that is not its text.
    key: Option<String>,
    class: &'static str,
    empty: bool,
}

impl Cell {
    fn new(content: Element, class: &'static str) -> Self {
        Self { content, key: None, class, empty: false }
    }

    /// What is not known, or not there.
    pub fn absent() -> Self {
        let dash = classed("span", "quiet").text("–");
        Self { empty: true, ..Self::new(dash, "") }
    }

    /// A short text.
    pub fn text(text: impl AsRef<str>) -> Self {
        Self::new(element("span").text(text), "")
    }

    /// An element of one's own.
    pub fn of(content: Element) -> Self {
        Self::new(content, "")
    }

    /// A name or a line that may be of any length.
    pub fn long(text: Option<&str>) -> Self {
        text.map_or_else(Self::absent, |text| Self::new(long(text), ""))
    }

    /// A process's name; without one those of the rest, of which it may not be known whose they are.
    pub fn name(comm: Option<&str>, whose: Whose) -> Self {
        match (comm, whose) {
            (Some(_), _) => Self::long(comm),
            (None, Whose::Unknown) => Self::quiet("not known"),
            (None, Whose::Own | Whose::Bystander) => Self::quiet("all others"),
        }
    }

    /// A word that is no name.
    pub fn quiet(text: &str) -> Self {
        Self::new(classed("span", "quiet").text(text), "")
    }

    /// A path: its end tells more than its beginning.
    pub fn path(text: Option<&str>) -> Self {
        let path = |text: &str| cut("cut path").child(element("bdi").text(shortened(text)));
        text.map_or_else(Self::absent, |text| Self::new(path(text), ""))
    }

    /// A figure that is written in some way.
    pub fn figure(value: u64, written: String) -> Self {
        let cell = Self::new(element("span").text(written), "num");
        Self { key: Some(value.to_string()), ..cell }
    }

    /// A number of something.
    pub fn count(value: u64) -> Self {
        Self::figure(value, number(value))
    }

    /// A number that may be negative.
    pub fn signed(value: i64) -> Self {
        let cell = Self::new(element("span").text(value.to_string()), "num");
        Self { key: Some(value.to_string()), ..cell }
    }

    /// How many a second.
    pub fn rate(value: f64) -> Self {
        Self::measure(value, figure(value, Unit::PerSecond))
    }

    /// A value that is written in some way.
    pub fn measure(value: f64, written: String) -> Self {
        Self::measured(value, element("span").text(written))
    }

    /// Bytes.
    pub fn bytes(value: Option<u64>) -> Self {
        value.map_or_else(Self::absent, |value| Self::figure(value, size(value)))
    }

    /// A time.
    pub fn time(value: Option<u64>) -> Self {
        value.map_or_else(Self::absent, |value| Self::figure(value, duration(value)))
    }

    /// An element that is sorted by a number.
    pub fn measured(value: f64, content: Element) -> Self {
        let cell = Self::new(content, "num");
        Self { key: value.is_finite().then(|| value.to_string()), ..cell }
    }

    /// A text that is shown whole.
    pub fn wrapped(text: &str) -> Self {
        Self::new(element("span").text(shortened(text)), "wrapped")
    }

    /// Whose something is.
    pub fn whose(whose: Whose) -> Self {
        let (class, words) = match whose {
            Whose::Bystander => ("badge bystander", "◆ bystander"),
            Whose::Own => ("badge", "own"),
            Whose::Unknown => ("badge quiet", "not known"),
        };
        Self::new(classed("span", class).text(words), "")
    }

    fn show(self, figures: bool) -> Element {
        let cell = match self.class {
            "" if figures => classed("td", "num"),
            "" => element("td"),
            class => classed("td", class),
        };
        let cell = match self.key {
            Some(key) => cell.with("data-v", key),
            None => cell,
        };
        cell.child(self.content)
    }
}

/// The columns of times that were counted in a histogram: number, sum, percentiles.
pub(super) fn latency_heads() -> [Head; 6] {
    ["count", "in all", "p50", "p90", "p99", "longest"].map(figures)
}

/// The cells of these.
pub(super) fn latency(latency: &Latency) -> [Cell; 6] {
    let total = (latency.count > 0).then_some(latency.total_ns);
    [
        Cell::count(latency.count),
        Cell::time(total),
        Cell::time(latency.p50_ns),
        Cell::time(latency.p90_ns),
        Cell::time(latency.p99_ns),
        Cell::time(latency.max_ns),
    ]
}

/// A text of any length: cut where there is no room, with all of it for whoever points at it, clicks on it, or comes by with
/// the keyboard.
pub(super) fn long(text: &str) -> Element {
    let text = shortened(text);
    // Short ones always have room.
    if text.chars().count() <= 16 {
        return element("span").text(text);
    }
    cut("cut").text(text)
}

fn cut(class: &'static str) -> Element {
    classed("span", class).with("tabindex", 0)
}

/// Its beginning: what is longer fills pages.
fn shortened(text: &str) -> String {
    match text.char_indices().nth(MOST_LETTERS) {
        Some((end, _)) => format!("{}… (cut)", text.get(..end).unwrap_or(text)),
        None => text.to_owned(),
    }
}

/// A table, if it has rows. `most` rows are shown.
pub(super) fn table(heads: &[Head], rows: Vec<Vec<Cell>>, most: usize) -> Option<Element> {
    table_with_foot(heads, rows, Vec::new(), most)
}

/// The same with rows that stay below all others.
pub(super) fn table_with_foot(
    heads: &[Head],
    rows: Vec<Vec<Cell>>,
    foot: Vec<Vec<Cell>>,
    most: usize,
) -> Option<Element> {
    let all = rows.len();
    if rows.is_empty() {
        return None;
    }
    let used = |column: usize| rows.iter().any(|row| row.get(column).is_some_and(|cell| !cell.empty));
    let used: Vec<_> = (0..heads.len()).map(used).collect();
    let aligned: Vec<_> = heads.iter().map(|head| head.figures).collect();
    let heads = heads.iter().zip(&used).filter(|(_, used)| **used).map(|(head, _)| {
        let class = if head.figures { "num" } else { "text" };
        classed("th", class).with("scope", "col").text(&head.words)
    });
    let row = |row: Vec<Cell>| {
        let cells = row.into_iter().zip(used.iter().zip(&aligned));
        let cells = cells.filter(|(_, (used, _))| **used).map(|(cell, (_, figures))| cell.show(*figures));
        element("tr").children(cells)
    };
    let mut table = classed("table", "sort")
        .child(element("thead").child(element("tr").children(heads)))
        .child(element("tbody").children(rows.into_iter().take(most).map(row)));
    if !foot.is_empty() {
        table = table.child(element("tfoot").children(foot.into_iter().map(row)));
    }
    let class = if all > 16 { "scroll tall" } else { "scroll" };
    let shown = classed("div", "table").child(classed("div", class).with("tabindex", 0).child(table));
    Some(if all > most {
        let text =
            format!("{} more are in the report's JSON.", number(u64::try_from(all - most).unwrap_or(0)));
        shown.child(classed("p", "quiet").text(text))
    } else {
        shown
    })
}
