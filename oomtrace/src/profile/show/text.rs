//! Rows with a label, in lines of a width.

pub(super) const RED: &str = "1;31";
pub(super) const GREEN: &str = "1;32";
pub(super) const YELLOW: &str = "33";
pub(super) const BOLD: &str = "1";
pub(super) const DIM: &str = "2";

/// Where the text of a row begins.
pub(super) const COLUMN: usize = 12;
/// Lines are no narrower, whatever the terminal is.
const NARROWEST: usize = COLUMN + 20;

/// See the module. Whatever is put in is printable: names are escaped where they are put into words.
pub(super) struct Text {
    pub width: usize,
    colour: bool,
    told: String,
}

impl Text {
    pub fn new(width: usize, colour: bool) -> Self {
        Self { width: width.max(NARROWEST), colour, told: String::new() }
    }

    pub fn paint(&self, style: &str, text: &str) -> String {
        paint(self.colour, style, text)
    }

    /// A line; what does not fit goes on in further ones, which begin at `column`.
    pub fn line(&mut self, text: &str, column: usize) {
        let indent = " ".repeat(column);
        let options = textwrap::Options::new(self.width)
            .subsequent_indent(&indent)
            // A name without a space is broken: nothing is beyond the edge.
            .break_words(true)
            .word_splitter(textwrap::WordSplitter::NoHyphenation);
        for line in textwrap::wrap(text, options) {
            // Where no line may end there was one of these.
            self.told.push_str(line.replace('\u{a0}', " ").trim_end());
            self.told.push('\n');
        }
    }

    /// A row with a dim label.
    pub fn row(&mut self, label: &str, text: &str) {
        self.row_in(DIM, label, text);
    }

    pub fn row_in(&mut self, style: &str, label: &str, text: &str) {
        let label = self.paint(style, &format!("{label:<9}"));
        self.line(&format!("  {label} {text}"), COLUMN);
    }

    pub fn told(self) -> String {
        self.told
    }
}

pub(super) fn paint(colour: bool, style: &str, text: &str) -> String {
    if colour { format!("\u{1b}[{style}m{text}\u{1b}[0m") } else { text.to_owned() }
}
