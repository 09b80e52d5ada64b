//! What Redis may hold that does not fit.

use super::{
    super::{
        command_line::{self, Server, option},
        finding::Fix,
    },
    Conclusion, Rule,
};
use crate::words::size;

pub const RULE: Rule = Rule {
    server: Some(holds),
    ..Rule::new("redis-maxmemory", include_str!("../../../docs/findings/redis-maxmemory.md"))
};

fn holds(server: &Server<'_>) -> Option<Conclusion> {
    let arguments = server.named(&["redis-server", "valkey-server", "keydb-server"])?;
    let value = option(arguments, "--maxmemory")?;
    let most_bytes = bytes(value).filter(|bytes| *bytes > 0)?;
    let misfit = server.misfit(most_bytes)?;
    let told = misfit.told(
        &format!("the database may hold {} of data (--maxmemory {value})", size(most_bytes)),
        most_bytes,
    );
    Some(told.fix(Fix::advice(
        format!(
            "set maxmemory to {} or so, with a maxmemory-policy that evicts; or raise the limit: while it saves, a copy of what \
             changes meanwhile comes on top",
            size(misfit.room.bytes / 2)
        ),
        "what is evicted is gone, and without such a policy writes are refused",
    )))
}

/// A size in Redis's units: `k`, `m`, `g` are powers of 1000, `kb`, `mb`, `gb` of 1024 (memtoull(), src/util.c).
fn bytes(text: &str) -> Option<u64> {
    let lower = text.to_ascii_lowercase();
    let end = lower.find(|letter: char| !letter.is_ascii_digit()).unwrap_or(lower.len());
    let (number, unit) = lower.split_at(end);
    let factor: u64 = match unit {
        "" | "b" => 1,
        "k" => 1000,
        "m" => 1_000_000,
        "g" => 1_000_000_000,
        _ => return command_line::size(text, 1),
    };
    number.parse::<u64>().ok()?.checked_mul(factor)
}

#[cfg(test)]
mod tests {
    use super::super::super::tests::{ids, server};
    use super::*;

    /// Guards the option, and the names of the forks of Redis.
    #[test]
    fn data_that_do_not_fit() {
        for line in ["redis-server --maxmemory 2gb", "/usr/bin/valkey-server /etc/v.conf --maxmemory 450mb"] {
            assert_eq!(ids(&server(line, 512)), ["redis-maxmemory"], "{line}");
        }
        assert_eq!((bytes("1k"), bytes("1kb"), bytes("1GB")), (Some(1000), Some(1024), Some(1 << 30)));
    }

    /// Guards against data that fit, no limit at all (0), and the title that Redis gives itself.
    #[test]
    fn near_misses() {
        for line in ["redis-server --maxmemory 256mb", "redis-server --maxmemory 0", "redis-server *:6379"] {
            assert_eq!(ids(&server(line, 512)), ["memcg-limit"], "{line}");
        }
    }
}
