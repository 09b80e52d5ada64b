//! A Go program whose memory limit does not fit.

use super::{
    super::{command_line::Server, finding::Fix},
    Conclusion, Rule,
};
use crate::words::size;

pub const RULE: Rule = Rule {
    server: Some(holds),
    ..Rule::new("go-memlimit", include_str!("../../../docs/findings/go-memlimit.md"))
};

/// Programs that are not written in Go.
const OTHERS: [&str; 18] = [
    "java",
    "node",
    "nodejs",
    "python",
    "python3",
    "ruby",
    "php",
    "php-fpm",
    "perl",
    "postgres",
    "mysqld",
    "mariadbd",
    "redis-server",
    "valkey-server",
    "nginx",
    "sh",
    "bash",
    "dash",
];
/// What Go's own guide to its collector has one leave free beside the limit: five percent at the least.
const LEAVES: u64 = 20;

fn holds(server: &Server<'_>) -> Option<Conclusion> {
    let value = server.environment?.get("GOMEMLIMIT")?;
    // Whatever a Go program or a pod starts inherits it.
    if server.named(&OTHERS).is_some() {
        return None;
    }
    let room = server.room?;
    let told = match limit(value)? {
        // Without a limit that is its default.
        Limit::Off if room.of.is_none() => return None,
        Limit::Off => Conclusion::warning(format!(
            "Go's collector is told of no limit (GOMEMLIMIT=off), where there is one of {}: it lets the heap double before it \
             collects",
            size(room.bytes)
        ))
        .with("room_bytes", room.bytes)
        .with_known("limit_at", room.of),
        Limit::Bytes(bytes) => {
            let what = format!("Go's collector may let memory grow to {} (GOMEMLIMIT={value})", size(bytes));
            server.misfit_leaving(bytes, LEAVES)?.told(&what, bytes)
        }
    };
    // Children inherit it, whatever they are written in.
    let told = told.likely().with("setting", value.as_str());
    let fits = (room.bytes / 10 * 9) >> 20;
    Some(told.fix(Fix::advice(
        format!("set GOMEMLIMIT={fits}MiB (nine tenths of the limit) in the program's environment, or raise the limit"),
        "near it the program spends up to half of its time on collecting; memory that is no Go memory (cgo, mmap) is not counted",
    )))
}

enum Limit {
    Off,
    Bytes(u64),
}

/// `off`, or bytes with a unit (B, KiB, MiB, GiB, TiB) or without: parseByteCount() (runtime/string.go). Go refuses to start with
/// anything else.
fn limit(text: &str) -> Option<Limit> {
    if text == "off" {
        return Some(Limit::Off);
    }
    let end = text.find(|letter: char| !letter.is_ascii_digit()).unwrap_or(text.len());
    let (number, unit) = text.split_at(end);
    let factor: u64 = match unit {
        "" | "B" => 1,
        "KiB" => 1 << 10,
        "MiB" => 1 << 20,
        "GiB" => 1 << 30,
        "TiB" => 1 << 40,
        _ => return None,
    };
    Some(Limit::Bytes(number.parse::<u64>().ok()?.checked_mul(factor)?))
}

#[cfg(test)]
mod tests {
    use super::super::super::tests::{ids, server, told, with_environment};
    use crate::incident::Incident;

    fn set(value: &str) -> Incident {
        with_environment(server("/srv/app", 512), "GOMEMLIMIT", value)
    }

    /// Guards limits that do not fit in each unit, and that there is none.
    #[test]
    fn a_limit_that_does_not_fit() {
        for value in ["1GiB", "700MiB", "536870913", "1TiB", "500MiB", "524288KiB", "off"] {
            assert_eq!(ids(&set(value)), ["go-memlimit"], "{value}");
        }
        let over = told("go-memlimit", &set("700MiB")).conclusion;
        assert!(
            over.summary.contains("may let memory grow to 700.0 MiB (GOMEMLIMIT=700MiB), which is more than")
        );
        assert!(over.likely && over.fix[0].what.contains("GOMEMLIMIT=460MiB"), "{}", over.fix[0].what);
        assert!(told("go-memlimit", &set("off")).conclusion.summary.contains("GOMEMLIMIT=off"));
    }

    /// Guards against limits that fit, what Go does not take, and other variables.
    #[test]
    fn near_misses() {
        for value in ["460MiB", "400000KiB", "1", "1GB", "1G", "1.5GiB", "", "OFF", "99999999TiB"] {
            assert_eq!(ids(&set(value)), ["memcg-limit"], "{value}");
        }
        let other = with_environment(server("/srv/app", 512), "NODE_OPTIONS", "GOMEMLIMIT=1GiB");
        assert_eq!(ids(&other), ["memcg-limit"]);
        assert_eq!(ids(&server("/srv/app GOMEMLIMIT=1GiB", 512)), ["memcg-limit"]);
    }
}
