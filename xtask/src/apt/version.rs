//! Debian package versions and their order (deb-version(7)).

use std::cmp::Ordering;
use std::fmt;

/// A version such as `1:10.0.2+ds-2~bpo12+1`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Version(String);

impl Version {
    /// The version of the software itself, without Debian's epoch and revision: `6.12.94` of `6.12.94-1~bpo12+1`.
    pub fn upstream(&self) -> &str {
        let version = self.0.split_once(':').map_or(self.0.as_str(), |(_, rest)| rest);
        version.rsplit_once('-').map_or(version, |(upstream, _)| upstream)
    }

    fn epoch(&self) -> u64 {
        self.0.split_once(':').and_then(|(epoch, _)| epoch.parse().ok()).unwrap_or(0)
    }

    fn revision(&self) -> &str {
        self.0.rsplit_once('-').map_or("", |(_, revision)| revision)
    }
}

impl From<&str> for Version {
    fn from(text: &str) -> Self {
        Self(text.to_owned())
    }
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl PartialOrd for Version {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Version {
    fn cmp(&self, other: &Self) -> Ordering {
        self.epoch()
            .cmp(&other.epoch())
            .then_with(|| compare(self.upstream(), other.upstream()))
            .then_with(|| compare(self.revision(), other.revision()))
            // Keeps the order in step with `Eq`, for which 1.0 and 1.00 differ.
            .then_with(|| self.0.cmp(&other.0))
    }
}

/// Compares by turns a run of other characters and a number.
fn compare(mut left: &str, mut right: &str) -> Ordering {
    while !left.is_empty() || !right.is_empty() {
        let (left_text, right_text) =
            (take(&mut left, |c| !c.is_ascii_digit()), take(&mut right, |c| !c.is_ascii_digit()));
        let (left_number, right_number) =
            (take(&mut left, |c| c.is_ascii_digit()), take(&mut right, |c| c.is_ascii_digit()));
        let order =
            compare_text(left_text, right_text).then_with(|| compare_number(left_number, right_number));
        if order.is_ne() {
            return order;
        }
    }
    Ordering::Equal
}

fn take<'a>(text: &mut &'a str, wanted: impl Fn(char) -> bool) -> &'a str {
    let (run, rest) = text.split_at(text.find(|c| !wanted(c)).unwrap_or(text.len()));
    *text = rest;
    run
}

/// `~` comes before the end, the end before letters, letters before everything else.
fn compare_text(left: &str, right: &str) -> Ordering {
    let weights = |text: &str| {
        let weight = |c: char| match c {
            '~' => 0,
            c if c.is_ascii_alphabetic() => u32::from(c) + 1,
            c => u32::from(c) + 1000,
        };
        text.chars().map(weight).chain([1]).collect::<Vec<u32>>()
    };
    weights(left).cmp(&weights(right))
}

fn compare_number(left: &str, right: &str) -> Ordering {
    let (left, right) = (left.trim_start_matches('0'), right.trim_start_matches('0'));
    left.len().cmp(&right.len()).then_with(|| left.cmp(right))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Guards the order against the cases that a comparison of strings gets wrong.
    #[test]
    fn orders_like_dpkg() {
        let ascending = [
            "5.10.223-1",
            "6.1.9-1",
            "6.1.176-1~deb11u1",
            "6.1.176-1",
            "6.12.90-1",
            "6.12.90-2~bpo12+1",
            "6.12.90-2",
            "6.12.117-1~deb12u1",
            "6.12.117-1",
            "7.2~rc3-1",
            "7.2-1",
            "7.2.2-1",
            "7.2.13-1",
            "7.2.13-1+b1",
            "1:0.1-1",
        ];
        for pair in ascending.windows(2) {
            let [low, high] = [Version::from(pair[0]), Version::from(pair[1])];
            assert_eq!(low.cmp(&high), Ordering::Less, "{low} should come before {high}");
            assert_eq!(high.cmp(&low), Ordering::Greater, "{high} should come after {low}");
        }
    }

    /// Guards that epochs and Debian revisions never pass for the software's version.
    #[test]
    fn upstream_is_the_software_alone() {
        assert_eq!(Version::from("1:10.0.2+ds-2+deb13u1~bpo12+1").upstream(), "10.0.2+ds");
        assert_eq!(Version::from("6.12.90-2").upstream(), "6.12.90");
        assert_eq!(Version::from("2").upstream(), "2");
    }
}
