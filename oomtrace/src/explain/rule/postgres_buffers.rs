//! PostgreSQL's buffers that do not fit.

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
    ..Rule::new("postgres-buffers", include_str!("../../../docs/findings/postgres-buffers.md"))
};

/// What a buffer has (`BLCKSZ`).
const BLOCK: u64 = 8192;
/// `max_connections`, unless it is set.
const CONNECTIONS: u64 = 100;

fn holds(server: &Server<'_>) -> Option<Conclusion> {
    let arguments = server.named(&["postgres", "postmaster"])?;
    let buffers = setting(arguments, "shared_buffers")
        .or_else(|| option(arguments, "-B"))
        .and_then(|value| command_line::size(value, BLOCK))
        .unwrap_or(0);
    let work = setting(arguments, "work_mem").and_then(|value| command_line::size(value, 1024)).unwrap_or(0);
    let connections =
        setting(arguments, "max_connections").and_then(|value| value.parse().ok()).unwrap_or(CONNECTIONS);
    let all_bytes = work.checked_mul(connections)?.checked_add(buffers)?;
    let misfit = server.misfit(all_bytes)?;
    let what = if work == 0 {
        format!("PostgreSQL's shared_buffers ({})", size(buffers))
    } else {
        format!(
            "PostgreSQL's shared_buffers ({}) and work_mem ({}) for each of {connections} connections, {} together",
            size(buffers),
            size(work),
            size(all_bytes)
        )
    };
    let told =
        misfit.told(&what, all_bytes).with("shared_buffers_bytes", buffers).with("work_mem_bytes", work);
    // Not every connection sorts at once; and one query may take work_mem several times.
    let told = if buffers > misfit.room.bytes { told } else { told.likely() };
    Some(told.fix(Fix::advice(
        format!(
            "set shared_buffers to a quarter of it ({}), and work_mem so that all connections find room; or raise the limit",
            size(misfit.room.bytes / 4)
        ),
        "with less, queries read more from disk and sort there",
    )))
}

/// A setting as `-c name=value`, `-cname=value` or `--name=value`: the last one counts.
fn setting<'a>(arguments: &'a [String], name: &str) -> Option<&'a str> {
    (1..arguments.len()).rev().find_map(|at| {
        let argument = arguments.get(at)?;
        let follows = arguments.get(at - 1).is_some_and(|before| before == "-c");
        let plain = if follows { Some(argument.as_str()) } else { argument.strip_prefix("-c") };
        let (left, value) = plain.or_else(|| argument.strip_prefix("--"))?.split_once('=')?;
        (left.replace('-', "_") == name).then(|| value.trim_matches('\''))
    })
}

#[cfg(test)]
mod tests {
    use super::super::super::tests::{ids, server, told};

    /// Guards each way to set it, its units, and what connections may take on top.
    #[test]
    fn buffers_that_do_not_fit() {
        for line in [
            "/usr/lib/postgresql/16/bin/postgres -D /data -c shared_buffers=1GB",
            "postgres --shared-buffers=131072",
            "postgres -B 131072",
            "postgres -cshared_buffers=450MB",
            "postgres -c shared_buffers=128MB -c work_mem=64MB",
            "postgres -c work_mem=64000 -c max_connections=10",
        ] {
            assert_eq!(ids(&server(line, 512)), ["postgres-buffers"], "{line}");
        }
        let alone = told("postgres-buffers", &server("postgres -c shared_buffers=1GB", 512)).conclusion;
        assert!(!alone.likely);
        assert!(told("postgres-buffers", &server("postgres -c work_mem=64MB", 512)).conclusion.likely);
    }

    /// Guards against settings that fit, none at all, and the titles that backends give themselves.
    #[test]
    fn near_misses() {
        for line in [
            "postgres -c shared_buffers=128MB -c work_mem=1MB",
            "postgres -c shared_buffers=1GB -c shared_buffers=64MB",
            "postgres -D /data",
            "postgres: user database 10.0.0.1(4711) SELECT",
        ] {
            assert_eq!(ids(&server(line, 512)), ["memcg-limit"], "{line}");
        }
    }
}
