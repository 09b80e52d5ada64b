//! The figures as text and as JSON.

use std::fmt::Write;

use serde_json::{Value, json};

use super::figure::Figures;
use super::target::Verdict;

/// The figures of a place, for people.
pub fn figures(figures: &Figures, place: &str) -> String {
    let mut text = String::new();
    let mut last = "";
    for (key, values) in figures.all().into_iter().filter(|(key, _)| key.place == place) {
        if key.figure != last {
            let unit = if values.unit.is_empty() { String::new() } else { format!(" ({})", values.unit) };
            let head = format!("{} · {}{unit}", key.place, key.figure);
            let _ = writeln!(
                text,
                "\n{head:<44} {:>5} {:>12} {:>12} {:>12} {:>12}",
                "n", "min", "median", "p99", "max"
            );
            last = key.figure.as_str();
        }
        let _ = write!(text, "  {:<42}", key.subject);
        match values.spread() {
            Some(spread) => {
                let _ = write!(text, " {:>5}", spread.n);
                for number in [spread.min, spread.median, spread.p99, spread.max] {
                    let _ = write!(text, " {:>12}", short(number));
                }
            }
            None => text.push_str(" nothing measured"),
        }
        for (peer, ratio) in figures.ratios(key) {
            let _ = write!(text, "  {} of {peer}'s", short(ratio));
        }
        if values.missing > 0 {
            let _ = write!(text, "  {} not reported", values.missing);
        }
        text.push('\n');
    }
    text
}

/// The targets and what kept from measuring, for people.
pub fn verdicts(verdicts: &[Verdict], problems: &[String]) -> String {
    let mut text = "targets\n".to_owned();
    for verdict in verdicts {
        let word = match verdict.met {
            Some(true) => "met",
            Some(false) => "MISSED",
            None => "not measured",
        };
        let value = verdict.value.map_or_else(String::new, |value| format!(": {}", short(value)));
        let _ = writeln!(text, "  {word:<12}  {}{value}", verdict.target);
    }
    for problem in problems {
        let _ = writeln!(text, "\nproblem: {problem}");
    }
    text
}

/// The same for programs.
pub fn json(figures: &Figures, verdicts: &[Verdict], problems: &[String], kernel: &str) -> Value {
    let all: Vec<Value> = figures
        .all()
        .into_iter()
        .map(|(key, values)| {
            json!({
                "place": key.place, "figure": key.figure, "subject": key.subject, "unit": values.unit,
                "spread": values.spread(), "missing": values.missing, "ratio_to": figures.ratios(key),
            })
        })
        .collect();
    json!({
        "schema": "oomtrace-bench/1", "kernel": kernel,
        "figures": all, "targets": verdicts, "problems": problems,
    })
}

/// A number with as many digits as one reads.
fn short(number: f64) -> String {
    let digits = match number.abs() {
        size if size >= 1000.0 => 0,
        size if size >= 10.0 => 1,
        _ => 2,
    };
    format!("{number:.digits$}")
}

#[cfg(test)]
mod tests {
    use super::json;
    use crate::bench::figure::Figures;
    use crate::bench::target;

    /// Guards that every figure, loss, problem and missed target is shown, in both forms.
    #[test]
    fn shows_everything() {
        let sample = |subject: &str, value: &str| {
            format!("{{\"figure\":\"start\",\"subject\":\"{subject}\",\"unit\":\"ms\",\"value\":{value}}}\n")
        };
        let mut figures = Figures::default();
        let text = sample("oomtrace", "12.5") + &sample("oomtrace", "null") + &sample("oomkill", "50");
        figures.add("guest", &text).unwrap();
        let (verdicts, problems) = (target::judge(&figures), ["live: no root".to_owned()]);
        let text = super::figures(&figures, "guest") + &super::verdicts(&verdicts, &problems);
        for part in [
            "guest · start (ms)",
            "12.5",
            "0.25 of oomkill's",
            "1 not reported",
            "not measured",
            "live: no root",
        ] {
            assert!(text.contains(part), "{part} in {text}");
        }
        let json = json(&figures, &verdicts, &problems, "6.1");
        assert_eq!(json["figures"][0]["ratio_to"]["oomkill"], 0.25);
        assert_eq!(json["figures"][1]["spread"]["n"], 1);
        assert_eq!(json["targets"].as_array().unwrap().len(), verdicts.len());
    }
}
