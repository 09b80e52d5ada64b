//! Any sequence of records: no panic, bounded memory, and every decision and kill comes out once.
#![no_main]

use std::ops::Range;

use libfuzzer_sys::fuzz_target;
use oomtrace::{
    incident::{Assembler, Event},
    record::{Close, Record},
    session::Source,
};
use oomtrace_fuzz::{
    ledger::Ledger,
    shown::Shown,
    story::{Clock, Stamp, Step, Story, What, bare_decision, bare_mark, level_record},
};

/// Processes that come up once. More than an assembler keeps open or remembers, and few enough to be quick.
const STRANGERS: Range<u32> = 1000..1400;

struct Teller {
    assembler: Assembler,
    clock: Clock,
    ledger: Ledger,
    shown: Shown,
    /// Those of [`STRANGERS`] that have not come up yet.
    strangers: Range<u32>,
}

impl Teller {
    fn step(&mut self, step: &Step) {
        match step {
            Step::Record { stamp, what } => self.what(*stamp, what),
            Step::Chain { stamp, depth, level } => {
                let mut stamp = *stamp;
                for level in level.chain(*depth % 24) {
                    let key = self.clock.key(stamp);
                    self.record(level_record(key, level), stamp);
                    stamp = stamp.next();
                }
            }
            Step::Storm { runs, decided, killed, ends } => {
                for _ in 0..*runs {
                    let Some(stranger) = self.stranger() else { return };
                    self.run(Stamp::first(stranger), stranger, *decided, *killed, *ends);
                }
            }
            Step::Group { stamp, victims } => {
                let mut stamp = *stamp;
                for _ in 0..*victims {
                    let Some(stranger) = self.stranger() else { return };
                    self.bare_mark(stamp, stranger, true);
                    stamp = stamp.next();
                }
            }
            Step::Expire(elapsed) => {
                let now_ns = self.clock.pass(*elapsed);
                let events = self.assembler.expire(now_ns);
                self.events(&events);
                let next = self.assembler.deadline_ns();
                assert!(next.is_none_or(|next| next > now_ns), "something is still due");
            }
        }
    }

    fn what(&mut self, stamp: Stamp, what: &What) {
        let key = self.clock.key(stamp);
        let record = match what {
            What::Decision(decision) => {
                Record::Decision(key, Box::new(decision.decision(self.ledger.decision())))
            }
            What::Level(level) => level_record(key, level.level()),
            What::Mark(mark) => Record::Mark(key, Box::new(mark.mark(self.ledger.next_mark()))),
            What::Close(close) => Record::Close(key, close.close()),
            What::Relief(relief) => Record::Relief(key, relief.relief()),
            What::Cmdline(cmdline) => Record::Cmdline(key, Box::new(cmdline.cmdline())),
            What::Struck(struck) => Record::Struck(key, Box::new(struck.struck())),
            What::ForkFailure(failure) => Record::ForkFailure(key, Box::new(failure.failure())),
            What::PidsLevel(level) => Record::PidsLevel(key, Box::new(level.level())),
            What::Namespaces(all) => Record::Namespaces(key, Box::new(all.namespaces())),
            What::ForkHost(host) => Record::ForkHost(key, Box::new(host.host())),
            What::PidsRefused(refused) => Record::PidsRefused(key, Box::new(refused.refused())),
            What::Settings(settings) => Record::Settings(key, Box::new(settings.settings())),
            What::AllocFailure(failure) => Record::AllocFailure(key, Box::new(failure.failure())),
            What::UserKill(kill) => Record::UserKill(key, Box::new(kill.kill())),
            What::Candidate(candidate) => Record::Candidate(key, Box::new(candidate.candidate())),
            What::Zone(zone) => Record::Zone(key, Box::new(zone.zone())),
            What::Node(node) => Record::Node(key, Box::new(node.node())),
        };
        self.record(record, stamp);
    }

    /// A process that no other step uses.
    fn stranger(&mut self) -> Option<u32> {
        self.strangers.next()
    }

    fn run(&mut self, mut stamp: Stamp, victim: u32, decided: bool, killed: bool, ends: bool) {
        if decided {
            let key = self.clock.key(stamp);
            let decision = bare_decision(self.ledger.decision());
            self.record(Record::Decision(key, Box::new(decision)), stamp);
            stamp = stamp.next();
        }
        self.bare_mark(stamp, victim, killed);
        if ends {
            let key = self.clock.key(stamp.next());
            self.record(Record::Close(key, Close { kills: 1, marks: 1, verdict: true, examined: 0, unkillable: 0, undecided: 0, entered_ns: None }), stamp);
        }
    }

    fn bare_mark(&mut self, stamp: Stamp, victim: u32, killed: bool) {
        let key = self.clock.key(stamp);
        let mark = bare_mark(victim, self.ledger.next_mark(), killed);
        self.record(Record::Mark(key, Box::new(mark)), stamp);
    }

    fn record(&mut self, record: Record, stamp: Stamp) {
        let is_mark = if let Record::Mark(key, mark) = &record {
            self.ledger.mark(key.trigger_tid, mark);
            true
        } else {
            false
        };
        let events = self.assembler.record(record, stamp.offset_ns);
        self.events(&events);
        self.ledger.settle(is_mark);
    }

    fn events(&mut self, events: &[Event]) {
        for event in events {
            self.ledger.event(event);
            // Of the many that come up once, one looks like the other.
            let first = match event {
                Event::Opened(incident) | Event::Closed(incident) => {
                    incident.victims.first().and_then(|victim| victim.pid)
                }
                Event::AllocFailure(failure) => failure.task.pid,
                Event::ForkFailure(failure) => failure.task.pid,
                Event::UserKill(kill) => kill.victims.first().and_then(|victim| victim.pid),
                Event::Relieved(relief) => relief.victims.first().map(|victim| victim.pid),
            };
            if first.is_none_or(|pid| pid < STRANGERS.start) {
                self.shown.settings = self.assembler.settings().cloned();
                self.shown.check(event);
            }
        }
    }
}

fuzz_target!(|story: Story| {
    let mut teller = Teller {
        assembler: Assembler::new(story.session.0, Source::Replay),
        clock: Clock::default(),
        ledger: Ledger::default(),
        shown: Shown::default(),
        strangers: STRANGERS,
    };
    for step in &story.steps {
        teller.step(step);
    }
    let events = teller.assembler.end();
    teller.events(&events);
    assert_eq!(teller.assembler.deadline_ns(), None, "something is open after the end");
    assert_eq!(teller.assembler.end(), [], "something was left for a second end");
    teller.ledger.finish();
});
