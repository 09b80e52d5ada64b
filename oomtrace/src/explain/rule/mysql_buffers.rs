//! A buffer pool of MySQL's or MariaDB's that does not fit.

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
    ..Rule::new("mysql-buffers", include_str!("../../../docs/findings/mysql-buffers.md"))
};

fn holds(server: &Server<'_>) -> Option<Conclusion> {
    let arguments = server.named(&["mysqld", "mariadbd"])?;
    let value = option(arguments, "--innodb-buffer-pool-size")?;
    let pool_bytes = command_line::size(value, 1)?;
    let misfit = server.misfit(pool_bytes)?;
    let told = misfit.told(
        &format!(
            "the buffer pool of the database may grow to {} (--innodb-buffer-pool-size={value})",
            size(pool_bytes)
        ),
        pool_bytes,
    );
    Some(told.fix(Fix::advice(
        format!(
            "set innodb_buffer_pool_size to {} or so, or raise the limit: each connection takes memory, too",
            size(misfit.room.bytes / 2)
        ),
        "with less, more is read from disk",
    )))
}

#[cfg(test)]
mod tests {
    use super::super::super::tests::{ids, server};

    /// Guards both spellings and both programs.
    #[test]
    fn a_pool_that_does_not_fit() {
        for line in [
            "/usr/sbin/mysqld --innodb-buffer-pool-size=1G",
            "mariadbd --innodb_buffer_pool_size=1073741824",
            "mysqld --innodb-buffer-pool-size=450M",
        ] {
            assert_eq!(ids(&server(line, 512)), ["mysql-buffers"], "{line}");
        }
    }

    /// Guards against a pool that fits, and another setting.
    #[test]
    fn near_misses() {
        for line in
            ["mysqld --innodb-buffer-pool-size=256M", "mysqld --innodb-buffer-pool-chunk-size=1G", "mysqld"]
        {
            assert_eq!(ids(&server(line, 512)), ["memcg-limit"], "{line}");
        }
    }
}
