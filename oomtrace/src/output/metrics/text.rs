//! Families as text: OpenMetrics 1.0 and Prometheus' own format, version 0.0.4.
//!
//! <https://prometheus.io/docs/specs/om/open_metrics_spec/>,
//! <https://prometheus.io/docs/instrumenting/exposition_formats/#text-based-format>

use std::fmt::{Display, Write as _};

use super::family::{Family, Kind, Labels, Value};

/// A format.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// OpenMetrics 1.0.
    OpenMetrics,
    /// Prometheus' text format 0.0.4: what everything reads.
    Prometheus,
}

impl Form {
    /// Its media type.
    #[must_use]
    pub fn content_type(self) -> &'static str {
        match self {
            Self::OpenMetrics => "application/openmetrics-text; version=1.0.0; charset=utf-8",
            Self::Prometheus => "text/plain; version=0.0.4; charset=utf-8",
        }
    }

    /// Families as text. One without samples is left out: what could not be had is not there.
    #[must_use]
    pub fn render(self, families: &[Family]) -> String {
        let mut text = Text { form: self, to: String::with_capacity(32 * 1024) };
        for family in families.iter().filter(|family| !family.samples.is_empty()) {
            text.family(family);
        }
        if self == Self::OpenMetrics {
            text.to.push_str("# EOF\n");
        }
        text.to
    }

    /// What the names of a kind's samples end in.
    fn suffix(kind: Kind) -> &'static str {
        match kind {
            Kind::Counter => "_total",
            Kind::Info => "_info",
            Kind::Gauge | Kind::Histogram => "",
        }
    }

    /// What a kind is called, and what the name of its family ends in: in OpenMetrics the suffix is the sample's, in the other format
    /// the family's, too.
    fn type_of(self, kind: Kind) -> (&'static str, &'static str) {
        let suffix = if self == Self::OpenMetrics { "" } else { Self::suffix(kind) };
        match kind {
            Kind::Counter => ("counter", suffix),
            Kind::Histogram => ("histogram", suffix),
            Kind::Info if self == Self::OpenMetrics => ("info", suffix),
            // Prometheus' own format has no other type for what is only told.
            Kind::Gauge | Kind::Info => ("gauge", suffix),
        }
    }
}

struct Text {
    form: Form,
    to: String,
}

/// Writing to a String cannot fail.
macro_rules! put {
    ($to:expr, $($words:tt)*) => {{ let _ = write!($to, $($words)*); }};
}

impl Text {
    fn family(&mut self, family: &Family) {
        let Family { name, help, unit, kind, samples } = family;
        let (type_name, suffix) = self.form.type_of(*kind);
        put!(self.to, "# HELP {name}{suffix} ");
        // A quote is escaped in OpenMetrics alone; no help has one.
        self.escaped(help);
        put!(self.to, "\n# TYPE {name}{suffix} {type_name}\n");
        if let Some(unit) = unit.filter(|_| self.form == Form::OpenMetrics) {
            put!(self.to, "# UNIT {name} {}\n", unit.name());
        }
        let suffix = Form::suffix(*kind);
        for sample in samples {
            match &sample.value {
                Value::Whole(number) => self.sample(name, suffix, &sample.labels, None, number),
                Value::Real(number) => self.sample(name, suffix, &sample.labels, None, Number(*number)),
                Value::Histogram(histogram) => {
                    for (bound, count) in histogram.cumulative() {
                        self.sample(name, "_bucket", &sample.labels, Some(bound), count);
                    }
                    self.sample(name, "_sum", &sample.labels, None, Number(histogram.sum()));
                    self.sample(name, "_count", &sample.labels, None, histogram.count());
                }
            }
        }
    }

    fn sample(&mut self, name: &str, suffix: &str, labels: &Labels, bound: Option<f64>, value: impl Display) {
        put!(self.to, "{name}{suffix}");
        let mut before = '{';
        for (label, value) in labels.iter().filter(|(_, value)| !value.is_empty()) {
            put!(self.to, "{before}{label}=\"");
            self.escaped(value);
            self.to.push('"');
            before = ',';
        }
        if let Some(bound) = bound {
            put!(self.to, "{before}le=\"{}\"", Number(bound));
            before = ',';
        }
        if before == ',' {
            self.to.push('}');
        }
        put!(self.to, " {value}\n");
    }

    fn escaped(&mut self, text: &str) {
        for letter in text.chars() {
            match letter {
                '\\' => self.to.push_str("\\\\"),
                '"' => self.to.push_str("\\\""),
                '\n' => self.to.push_str("\\n"),
                letter => self.to.push(letter),
            }
        }
    }
}

/// A number in the form that OpenMetrics calls canonical: the label `le` is compared as text, so it is the same in both formats.
struct Number(f64);

impl Display for Number {
    fn fmt(&self, to: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.0 {
            number if number == f64::INFINITY => to.write_str("+Inf"),
            number if number == f64::NEG_INFINITY => to.write_str("-Inf"),
            number if number.is_nan() => to.write_str("NaN"),
            number => write!(to, "{number:?}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::output::metrics::{family::Unit, histogram::Histogram};

    fn families() -> Vec<Family> {
        let mut histogram = Histogram::new(&[0.25, 1.0]);
        histogram.observe_ns(250_000_000);
        histogram.observe_ns(3_000_000_000);
        vec![
            Family::new(Kind::Counter, "a_kills", None, "Kills.")
                .by("scope", [("memcg", 3_u64), ("global", 0)])
                .with([("pod", "x\"},\n# EOF\\".into()), ("unit", "".into())], 1_u64),
            Family::new(Kind::Counter, "a_cpu_seconds", Some(Unit::Seconds), "Time.").only(Some(1.5)),
            Family::new(Kind::Histogram, "a_stall_seconds", Some(Unit::Seconds), "Stalls.")
                .by("scope", [("memcg", Value::Histogram(histogram))]),
            Family::new(Kind::Gauge, "a_armed", None, "Whether.").only(Some(true)),
            Family::new(Kind::Gauge, "a_unknown", None, "Not there.").only(None::<u64>),
            Family::new(Kind::Info, "a_build", None, "Which.").with([("version", "1.0".into())], 1_u64),
        ]
    }

    /// Guards the format that Prometheus asks for, to the letter, and a label's value that would end its line.
    #[test]
    fn openmetrics_to_the_letter() {
        let expected = r#"# HELP a_kills Kills.
# TYPE a_kills counter
a_kills_total{scope="memcg"} 3
a_kills_total{scope="global"} 0
a_kills_total{pod="x\"},\n# EOF\\"} 1
# HELP a_cpu_seconds Time.
# TYPE a_cpu_seconds counter
# UNIT a_cpu_seconds seconds
a_cpu_seconds_total 1.5
# HELP a_stall_seconds Stalls.
# TYPE a_stall_seconds histogram
# UNIT a_stall_seconds seconds
a_stall_seconds_bucket{scope="memcg",le="0.25"} 1
a_stall_seconds_bucket{scope="memcg",le="1.0"} 1
a_stall_seconds_bucket{scope="memcg",le="+Inf"} 2
a_stall_seconds_sum{scope="memcg"} 3.25
a_stall_seconds_count{scope="memcg"} 2
# HELP a_armed Whether.
# TYPE a_armed gauge
a_armed 1
# HELP a_build Which.
# TYPE a_build info
a_build_info{version="1.0"} 1
# EOF
"#;
        assert_eq!(Form::OpenMetrics.render(&families()), expected);
    }

    /// Guards the other format: the same samples, and what differs of names and types.
    #[test]
    fn prometheus_text_has_the_same_samples() {
        let (text, other) = (Form::Prometheus.render(&families()), Form::OpenMetrics.render(&families()));
        let samples = |text: &str| {
            text.lines().filter(|line| !line.starts_with("# ")).map(str::to_owned).collect::<Vec<_>>()
        };
        assert_eq!(samples(&text), samples(&other));
        let comments: Vec<_> = text.lines().filter(|line| line.starts_with("# TYPE")).collect();
        assert_eq!(
            comments,
            [
                "# TYPE a_kills_total counter",
                "# TYPE a_cpu_seconds_total counter",
                "# TYPE a_stall_seconds histogram",
                "# TYPE a_armed gauge",
                "# TYPE a_build_info gauge",
            ]
        );
        assert!(
            text.contains("# HELP a_build_info Which.\n")
                && !text.contains("# UNIT")
                && !text.ends_with("# EOF\n")
        );
    }

    /// Guards numbers that have no digits.
    #[test]
    fn numbers_without_digits_are_words() {
        let shown =
            [f64::INFINITY, f64::NEG_INFINITY, f64::NAN, 0.1, 3e20].map(|number| Number(number).to_string());
        assert_eq!(shown, ["+Inf", "-Inf", "NaN", "0.1", "3e20"]);
    }
}
