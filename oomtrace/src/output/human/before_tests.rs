//! Blocks with what led to them, as golden files: `OOMTRACE_BLESS=1 cargo test -p oomtrace what_led_to_it` writes them anew.

use std::{fs, path::Path};

use jiff::tz::TimeZone;

use super::Human;
use crate::{
    explain::{
        of_incident,
        tests::{MIB, global, memcg, settings},
    },
    incident::{Before, CoursePoint, Event, Grower, GrowerKind, Incident, MachineChange, Place},
    output::{Format as _, Message},
};

const SECOND: u64 = 1_000_000_000;

fn grower(pid: u32, comm: &str, mib: u64, seconds: u64, cgroup: &str) -> Grower {
    Grower {
        kind: if pid == 0 { GrowerKind::Cgroup } else { GrowerKind::Process },
        pid: (pid != 0).then_some(pid),
        comm: (pid != 0).then(|| comm.to_owned()),
        place: Place::of(Some(cgroup.to_owned())),
        victim: pid == 10,
        began: seconds < 60,
        grown_bytes: mib * MIB,
        over_ns: seconds * SECOND,
        rate_bytes_per_second: mib * MIB / seconds,
        now_bytes: 600 * MIB,
    }
}

fn before(course: Vec<CoursePoint>, growers: Vec<Grower>) -> Box<Before> {
    Box::new(Before {
        span_ns: 305 * SECOND,
        samples: 31,
        interval_ns: 10 * SECOND,
        course,
        machine: None,
        growers,
        victim_grown_bytes: Some(0),
    })
}

/// A machine that another one than the victim used up, by and by.
fn machine() -> Incident {
    let course = (0..31).map(|nth| CoursePoint {
        ago_ns: (305 - nth * 10) * SECOND,
        available_bytes: Some((920 - nth * 30) * MIB),
        swap_used_bytes: Some(nth * 15 * MIB),
        some_hundredths_percent: Some(if nth > 27 { 4215 } else { 3 }),
        ..CoursePoint::default()
    });
    let growers = vec![
        grower(11, "leaky\u{1b}[2J", 880, 300, "/system.slice/leaky.service"),
        grower(0, "", 881, 300, "/system.slice/leaky.service"),
        grower(0, "", 40, 200, &format!("/kubepods.slice/{}/end", "pod".repeat(30))),
        grower(12, "cc1plus", 25, 4, "/user.slice"),
    ];
    let mut before = before(course.collect(), growers);
    let change = MachineChange { anon_change_bytes: Some(921_000_000), ..MachineChange::default() };
    before.machine = Some(change);
    Incident { before: Some(before), ..global() }
}

/// A group that its victim filled, and that had been full before.
fn group() -> Incident {
    let usage = [30, 31, 12, 14, 18, 22, 26, 29, 31, 32];
    let course = usage.into_iter().zip(0..).map(|(mib, nth): (u64, u64)| CoursePoint {
        ago_ns: (90 - nth * 10) * SECOND,
        usage_bytes: Some(mib * MIB),
        ..CoursePoint::default()
    });
    let before = before(course.collect(), vec![grower(10, "app", 18, 70, "/web")]);
    Incident { before: Some(before), ..memcg() }
}

/// Guards the rows about what led to an incident: the chart as wide as there is room, its ends with units, who grew with rates, the
/// finding; names escaped.
#[test]
fn what_led_to_it() {
    for width in [80, 200] {
        let mut human = Human::new(false, TimeZone::UTC, Some(width));
        let mut shown = Vec::new();
        for mut incident in [machine(), group()] {
            incident.findings = of_incident(&incident, Some(&settings()));
            human.format(&Message::Incident(Event::Closed(Box::new(incident))), &mut shown);
        }
        let name = format!("../tests/golden/before.{width}.txt");
        let golden = Path::new(env!("CARGO_MANIFEST_DIR")).join(name);
        if std::env::var_os("OOMTRACE_BLESS").is_some() {
            fs::write(&golden, &shown).unwrap();
        }
        let shown = String::from_utf8(shown).unwrap();
        assert_eq!(shown, fs::read_to_string(&golden).unwrap_or_default());
    }
}
