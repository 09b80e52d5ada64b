//! Markup that escapes by construction: whatever comes from outside can only become text or the value of an attribute.
//!
//! A template engine would bring a language of its own for what is a tree with some loops. Here names of elements and attributes
//! are literals, and there is no way to put a string beside them unescaped.

use std::fmt::{self, Display, Formatter, Write as _};

use crate::text::printable;

/// An element of HTML or SVG.
#[derive(Clone, Debug)]
pub(super) struct Element {
    name: &'static str,
    /// As markup.
    attributes: String,
    /// As markup.
    inner: String,
}

/// `<name>`.
pub(super) fn element(name: &'static str) -> Element {
    Element { name, attributes: String::new(), inner: String::new() }
}

/// `<name class="…">`.
pub(super) fn classed(name: &'static str, class: &'static str) -> Element {
    element(name).with("class", class)
}

impl Element {
    /// With an attribute.
    pub fn with(mut self, name: &'static str, value: impl Display) -> Self {
        // Writing to a String cannot fail.
        let _ = write!(self.attributes, " {name}=\"");
        escape(&value.to_string(), &mut self.attributes);
        self.attributes.push('"');
        self
    }

    /// With text behind what it has.
    pub fn text(mut self, text: impl AsRef<str>) -> Self {
        escape(text.as_ref(), &mut self.inner);
        self
    }

    /// With an element behind what it has.
    pub fn child(mut self, child: Element) -> Self {
        child.end(&mut self.inner);
        self
    }

    /// With elements behind what it has.
    pub fn children(self, children: impl IntoIterator<Item = Element>) -> Self {
        children.into_iter().fold(self, Self::child)
    }

    /// With what a style or a script has in it, which is not escaped, and thus can only be our own.
    pub fn source(mut self, source: &'static str) -> Self {
        self.inner.push_str(source);
        self
    }

    /// All of it, as markup behind what is there.
    pub fn end(self, to: &mut String) {
        let Self { name, attributes, inner } = self;
        // Writing to a String cannot fail.
        let _ = match name {
            // Elements of HTML that have no end (HTML Living Standard, "void elements").
            "meta" => write!(to, "<{name}{attributes}>"),
            // Those of SVG may end themselves, which is shorter.
            "path" | "line" | "use" | "circle" if inner.is_empty() => write!(to, "<{name}{attributes}/>"),
            _ => write!(to, "<{name}{attributes}>{inner}</{name}>"),
        };
    }

    /// Bytes of what is in it so far.
    pub fn len(&self) -> usize {
        self.inner.len()
    }
}

/// Text or an attribute's value: nothing of it is markup, and nothing moves what stands around it.
fn escape(text: &str, to: &mut String) {
    for letter in printable(text).chars() {
        match letter {
            '&' => to.push_str("&amp;"),
            '<' => to.push_str("&lt;"),
            '>' => to.push_str("&gt;"),
            '"' => to.push_str("&quot;"),
            '\'' => to.push_str("&#39;"),
            letter => to.push(letter),
        }
    }
}

/// A coordinate: to a tenth, which is finer than screens are.
#[derive(Clone, Copy, Debug)]
pub(super) struct Px(pub f64);

impl Display for Px {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        write_short(f, self.0, 1)
    }
}

/// A part of the width, 0 to 1.
#[derive(Clone, Copy, Debug)]
pub(super) struct Part(pub f64);

impl Display for Part {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        write_short(f, self.0 * 100.0, 2)?;
        f.write_char('%')
    }
}

/// With so many decimals at most. What is no number is nowhere, and would spoil all of a path: it is 0.
fn write_short(f: &mut Formatter<'_>, value: f64, decimals: usize) -> fmt::Result {
    let value = if value.is_finite() { value } else { 0.0 };
    let text = format!("{value:.decimals$}");
    let text = text.trim_end_matches('0').trim_end_matches('.');
    f.write_str(if text.is_empty() || text == "-0" { "0" } else { text })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Guards the page against names that are markup, end an attribute, or turn the direction of writing.
    #[test]
    fn nothing_from_outside_is_markup() {
        let hostile = "</script><script>\"'&\u{1b}[2J\u{202e}\n";
        let mut shown = String::new();
        element("td").with("title", hostile).text(hostile).end(&mut shown);
        let escaped = "&lt;/script&gt;&lt;script&gt;&quot;&#39;&amp;\\u{1b}[2J\\u{202e}\\n";
        assert_eq!(shown, format!("<td title=\"{escaped}\">{escaped}</td>"));
    }

    /// Guards coordinates: short, and numbers whatever they come from.
    #[test]
    fn coordinates_are_short_numbers() {
        let shown: Vec<_> = [0.0, -0.01, 10.0, 100.04, 3.25, f64::NAN, f64::INFINITY]
            .iter()
            .map(|value| Px(*value).to_string())
            .collect();
        assert_eq!(shown, ["0", "0", "10", "100", "3.2", "0", "0"]);
        assert_eq!(Part(0.123_456).to_string(), "12.35%");
        assert_eq!(Part(1.0).to_string(), "100%");
    }
}
