//! `oomtrace import`

mod duplicates;
mod logs;
mod progress;
mod summary;

use std::{
    fs::File,
    io::{Read, stdin},
    path::PathBuf,
    time::{Instant, SystemTime},
};

use anyhow::{Context as _, bail};
use jiff::{Timestamp, tz::TimeZone};

use self::{
    duplicates::Duplicates,
    logs::{Log, logs},
    progress::Progress,
    summary::Summary,
};
use super::shown::{Shown, standard_output};
use crate::{
    cli::ImportArgs,
    host::Host,
    incident::{Assembler, Event},
    kmsg::source::{self, About, Want},
    say::say,
    session::{Session, Source},
    words::size,
};

/// Shows what kernel logs have.
pub fn run(args: &ImportArgs) -> anyhow::Result<()> {
    let begun = Instant::now();
    let logs = logs(&args.files)?;
    let mut import = Import {
        assembler: Assembler::new(Session::of_logs(nowhere()), Source::Import),
        shown: Shown::start(standard_output(args.output, true)?, &args.filter, None, None, None),
        since: args.since,
        until: args.until,
        duplicates: Duplicates::default(),
        summary: Summary::default(),
        before: None,
        again: 0,
        outside: 0,
        untimed: 0,
        broken: false,
    };
    let mut progress = Progress::new(&logs);
    let (mut bytes, mut failed) = (0_u64, 0);
    for log in &logs {
        match import.log(log, &mut progress) {
            Ok(read) => {
                bytes = bytes.saturating_add(read.bytes);
                if let Some(damage) = &read.damage {
                    failed += 1;
                    say!(
                        "{}: damaged after {}: {}. What comes before is used.",
                        log.name(),
                        size(damage.after_bytes),
                        damage.why
                    );
                }
            }
            Err(error) => {
                failed += 1;
                say!("{}: {error:#}.", log.name());
            }
        }
        if import.shown.is_over() {
            break;
        }
    }
    progress.end();
    let read = format!("{}, {}", count(logs.len() as u64, "log"), size(bytes));
    import.finish(&read, begun)?;
    if failed > 0 {
        bail!("{} could not be read to the end", count(failed, "log"));
    }
    Ok(())
}

/// What a log does not say of its machine is not known.
fn nowhere() -> Host {
    Host {
        name: String::new(),
        boot_id: None,
        kernel: String::new(),
        page_bytes: 4096,
        cpus_possible: 1,
        cpus_online: 1,
        memory_bytes: None,
        swap_bytes: None,
    }
}

/// From logs to the output.
struct Import {
    assembler: Assembler,
    shown: Shown,
    since: Option<Timestamp>,
    until: Option<Timestamp>,
    duplicates: Duplicates,
    summary: Summary,
    /// The file before, which this one may go on with.
    before: Option<PathBuf>,
    /// Incidents that another log had before.
    again: u64,
    /// What was before or after what was asked for.
    outside: u64,
    /// What has no time and may be outside of what was asked for.
    untimed: u64,
    /// Nobody reads the output any more.
    broken: bool,
}

impl Import {
    fn log(&mut self, log: &Log, progress: &mut Progress) -> anyhow::Result<source::Read> {
        self.duplicates.next_file();
        let path = match log {
            Log::Stdin => None,
            Log::File(path) => Some(path.clone()),
        };
        let goes_on =
            self.before.as_deref().zip(path.as_deref()).is_some_and(|(one, next)| source::goes_on(one, next));
        self.before = path;
        if !goes_on {
            self.end();
        }
        let zone = TimeZone::system();
        let (input, written): (Box<dyn Read>, Option<Timestamp>) = match log {
            Log::Stdin => (Box::new(stdin().lock()), Some(Timestamp::now())),
            Log::File(path) => {
                let file = File::open(path).context("it cannot be opened")?;
                let written = file.metadata().and_then(|about| about.modified()).ok();
                (Box::new(file), written.and_then(moment))
            }
        };
        progress.next(log);
        let about = About { written, zone };
        let read = source::read(
            input,
            &about,
            &mut |message| {
                let events = self.assembler.message(message);
                self.take(events);
                if self.broken {
                    Want::Nothing
                } else if self.assembler.wants_everything() {
                    Want::Everything
                } else {
                    Want::Beginnings
                }
            },
            &mut |bytes| progress.at(bytes),
        );
        Ok(read?)
    }

    /// What is open belongs to the logs so far, however they ended.
    fn end(&mut self) {
        let events = self.assembler.end();
        self.take(events);
    }

    fn take(&mut self, mut events: Vec<Event>) {
        events.retain(|event| self.is_wanted(event));
        if events.is_empty() {
            return;
        }
        for incident in events.iter().filter_map(Event::closed) {
            if self.shown.passes(incident) {
                self.summary.note(incident);
            }
        }
        self.shown.events(&mut self.assembler, events, 0);
        self.broken = self.shown.is_over();
    }

    fn is_wanted(&mut self, event: &Event) -> bool {
        if let Event::Closed(incident) = event
            && self.duplicates.has(incident)
        {
            self.again += 1;
            return false;
        }
        if let Event::Relieved(relief) = event
            && self.duplicates.is_of_one(relief)
        {
            return false;
        }
        let Some(time) = event.common().time else {
            self.untimed += u64::from(self.since.is_some() || self.until.is_some());
            return true;
        };
        let within =
            self.since.is_none_or(|since| time.0 >= since) && self.until.is_none_or(|until| time.0 < until);
        self.outside += u64::from(!within);
        within
    }

    fn finish(mut self, read: &str, begun: Instant) -> anyhow::Result<()> {
        self.end();
        let counts = self.shown.finish()?;
        if self.broken {
            return Ok(());
        }
        let some =
            |count: u64, what: &str| if count > 0 { format!(", {count} {what}") } else { String::new() };
        say!(
            "read {read}, in {:.1} s: {} with {}{}{}{}.",
            begun.elapsed().as_secs_f64(),
            count(counts.incidents, "incident"),
            count(counts.victims, "victim"),
            some(counts.forks, "forks that failed"),
            some(self.again, "incidents that an earlier log had as well"),
            some(counts.filtered.saturating_add(self.outside), "left out by filters"),
        );
        for line in self.summary.lines(&TimeZone::system()) {
            say!("  {line}");
        }
        if self.untimed > 0 {
            say!(
                "  {} of these have no time by the wall clock: --since and --until cannot leave them out",
                self.untimed
            );
        }
        Ok(())
    }
}

/// `1 log`, `2 logs`.
fn count(number: u64, what: &str) -> String {
    if number == 1 { format!("1 {what}") } else { format!("{number} {what}s") }
}

fn moment(time: SystemTime) -> Option<Timestamp> {
    Timestamp::try_from(time).ok()
}
