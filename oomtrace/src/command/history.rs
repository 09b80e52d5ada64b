//! `oomtrace history`

mod chart;
mod rows;
mod summary;
mod table;

use std::io::{BufWriter, Write, stdout};

use jiff::tz::TimeZone;

use self::table::Table;
use super::shown::width;
use crate::{
    cli::HistoryArgs,
    output::history::{HistoryError, Query, Reader, Row},
    say::say,
};

/// Rows of a table, if nothing else is asked for.
const ROWS: u32 = 100;

/// Looks into a history.
pub fn run(args: &HistoryArgs) -> anyhow::Result<()> {
    let reader = Reader::open(&args.database)?;
    let query = query(args);
    let mut to = BufWriter::new(stdout().lock());
    if args.summary {
        let summary = summary::lines(&reader, &query, &TimeZone::system(), width())?;
        if summary.is_empty() {
            say!("nothing in the history fits.");
        }
        for line in summary {
            writeln!(to, "{line}")?;
        }
    } else if args.json {
        each(&reader, &query, |row| Ok(writeln!(to, "{}", row.line)?))?;
    } else if args.csv {
        let mut rows = rows::Rows::begin(&mut to)?;
        each(&reader, &query, |row| rows.row(row))?;
        rows.end()?;
    } else {
        tabulate(&reader, &query, &mut to)?;
    }
    to.flush()?;
    Ok(())
}

fn query(args: &HistoryArgs) -> Query {
    let is_table = !args.json && !args.csv && !args.summary;
    Query {
        since: args.since,
        until: args.until,
        comm: args.comm.clone(),
        container: args.container.clone(),
        cgroup: args.cgroup.clone(),
        cause: args.cause.clone(),
        kinds: args.kind.clone(),
        limit: args.limit.or(is_table.then_some(ROWS)),
    }
}

fn tabulate(reader: &Reader, query: &Query, to: &mut impl Write) -> anyhow::Result<()> {
    let mut table = Table::new(TimeZone::system(), width());
    let mut shown = 0_u64;
    each(reader, query, |row| {
        shown += 1;
        for line in table.row(row) {
            writeln!(to, "{line}")?;
        }
        Ok(())
    })?;
    let all: u64 = reader.totals(query)?.kinds.iter().map(|(_, count)| count).sum();
    to.flush()?;
    match shown {
        0 => say!("nothing in the history fits."),
        shown if shown < all => say!("these are the newest {shown} of {all}: --limit shows more."),
        _ => {}
    }
    Ok(())
}

/// Hands each row over, until that fails.
fn each(
    reader: &Reader,
    query: &Query,
    mut to: impl FnMut(&Row) -> anyhow::Result<()>,
) -> anyhow::Result<()> {
    let mut failed = None;
    let read: Result<(), HistoryError> = reader.each(query, &mut |row| match to(&row) {
        Ok(()) => true,
        Err(error) => {
            failed = Some(error);
            false
        }
    });
    read?;
    failed.map_or(Ok(()), Err)
}
