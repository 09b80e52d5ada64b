//! What is measured, in no format yet: families of samples, as Prometheus and OpenTelemetry both have them.

use std::borrow::Cow;

use super::histogram::Histogram;

/// Measurements of one kind.
#[derive(Clone, Debug, PartialEq)]
pub struct Family {
    /// Its name, without what a format adds (`_total`, `_info`). The unit stands at its end.
    pub name: &'static str,
    /// What it counts, in a sentence.
    pub help: &'static str,
    /// What its values are in.
    pub unit: Option<Unit>,
    /// How its values behave.
    pub kind: Kind,
    /// No two with the same labels.
    pub samples: Vec<Sample>,
}

/// A unit, as names have it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unit {
    /// Seconds.
    Seconds,
    /// Bytes.
    Bytes,
}

impl Unit {
    /// Its name.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Seconds => "seconds",
            Self::Bytes => "bytes",
        }
    }
}

/// How values behave.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// They only grow, from the start of the process on.
    Counter,
    /// They go up and down.
    Gauge,
    /// How often something was how large.
    Histogram,
    /// 1: the labels are what is told.
    Info,
}

/// Names a sample within its family. An empty value is the same as none.
pub type Labels = Vec<(&'static str, Cow<'static, str>)>;

/// One measurement.
#[derive(Clone, Debug, PartialEq)]
pub struct Sample {
    /// Which one.
    pub labels: Labels,
    /// What was measured.
    pub value: Value,
}

/// What was measured.
#[derive(Clone, Debug, PartialEq)]
pub enum Value {
    /// A count.
    Whole(u64),
    /// A measure.
    Real(f64),
    /// How often it was how large.
    Histogram(Histogram),
}

impl From<u64> for Value {
    fn from(number: u64) -> Self {
        Self::Whole(number)
    }
}

impl From<bool> for Value {
    fn from(flag: bool) -> Self {
        Self::Whole(flag.into())
    }
}

impl From<f64> for Value {
    fn from(number: f64) -> Self {
        Self::Real(number)
    }
}

impl Family {
    /// Without samples yet.
    #[must_use]
    pub fn new(kind: Kind, name: &'static str, unit: Option<Unit>, help: &'static str) -> Self {
        Self { name, help, unit, kind, samples: Vec::new() }
    }

    /// Adds a sample with these labels.
    #[must_use]
    pub fn with<const N: usize>(
        mut self,
        labels: [(&'static str, Cow<'static, str>); N],
        value: impl Into<Value>,
    ) -> Self {
        self.samples.push(Sample { labels: labels.into(), value: value.into() });
        self
    }

    /// Adds the only sample, if it is known.
    #[must_use]
    pub fn only(self, value: Option<impl Into<Value>>) -> Self {
        match value {
            Some(value) => self.with([], value),
            None => self,
        }
    }

    /// Adds samples that differ by one label.
    #[must_use]
    pub fn by<L: Into<Cow<'static, str>>, V: Into<Value>>(
        self,
        label: &'static str,
        samples: impl IntoIterator<Item = (L, V)>,
    ) -> Self {
        samples.into_iter().fold(self, |family, (name, value)| family.with([(label, name.into())], value))
    }
}
