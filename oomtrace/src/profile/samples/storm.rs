//! Half an hour without a limit, and ten thousand kills.

use super::{Chance, MIB, SECOND, limited::limited, map, report};
use crate::profile::report::{
    Course, End, Mark, MarkKind, Point, Report, Series, VictimCount, VictimRow, Whose,
};

const SPAN: u64 = 1800 * SECOND;
const NAMES: [&str; 8] = [
    "stress-ng-vm",
    "stress-ng-brk",
    "stress-ng-mmap",
    "stress-ng-bighe",
    "stress-ng-shm",
    "stress-ng-malloc",
    "stress-ng-stack",
    "stress-ng-fork",
];

/// See the module.
pub fn storm() -> Report {
    let mut chance = Chance(3);
    let course = course(&mut chance);
    let marks = marks(&mut chance);
    let victims = victims(&mut chance, &marks);
    let by_name = |comm: &str, whose, kills| VictimCount {
        whose,
        comm: Some(comm.into()),
        kills,
        largest_rss_bytes: Some(900 * MIB),
        first_at_ns: SECOND,
        last_at_ns: SPAN - SECOND,
    };
    let mut victims_by_name = vec![by_name("sshd", Whose::Bystander, 90)];
    victims_by_name.extend(NAMES.iter().map(|name| by_name(name, Whose::Own, 9_900 / 8)));
    let mut run = limited(9);
    run.duration_ns = SPAN;
    run.cgroup = None;
    run.end = End { signal: Some(9), oom_killed: true, left_behind: 3, ..End::default() };
    run.incidents.kills = 9_990;
    (run.incidents.own_kills, run.incidents.bystander_kills, run.incidents.userspace_kills) = (9_900, 90, 3);
    run.incidents.by_outcome = map(&[("killed", 9_990), ("no_victim", 6)]);
    run.course = Course { marks, ..course };
    (run.victims, run.victims_by_name) = (victims, victims_by_name);
    run.fork_failures.clear();
    run.relief = chance.latency(40_000_000, 9_990);
    run.cost.lost = map(&[("ring", 12)]);
    report(&["./torture.sh", "--all"], vec![run])
}

fn course(chance: &mut Chance) -> Course {
    let count = 720_u64;
    let mut stressors: Vec<Series> =
        NAMES.iter().map(|name| Series { comm: Some((*name).to_owned()), rss_bytes: Vec::new() }).collect();
    stressors.push(Series { comm: None, rss_bytes: Vec::new() });
    let mut points = Vec::new();
    for nth in 0..count {
        let mut own = 0;
        for (which, series) in stressors.iter_mut().enumerate() {
            let base = 1500 / (u64::try_from(which).unwrap() + 1) * MIB;
            let bytes =
                base * (40 + (nth + 80 * u64::try_from(which).unwrap()) % 60) / 100 + chance.below(120 * MIB);
            series.rss_bytes.push(bytes);
            own += bytes;
        }
        points.push(Point {
            at_ns: nth * SPAN / count,
            available_bytes: Some((7_000 * MIB).saturating_sub(own)),
            swap_used_bytes: Some(2048 * MIB - chance.below(40 * MIB)),
            own_rss_bytes: Some(own),
            psi_some: Some(0.5 + 0.5 * chance.part()),
            waiting: Some(6.0 * chance.part()),
            major_faults_per_second: Some(40_000.0 * chance.part()),
            swapped_bytes_per_second: Some(3e8 * chance.part()),
            ..Point::default()
        });
    }
    Course { interval_ns: SPAN / count, points, stressors, ..Course::default() }
}

fn marks(chance: &mut Chance) -> Vec<Mark> {
    let mut marks: Vec<Mark> = (0..900)
        .map(|_| Mark {
            at_ns: chance.below(SPAN),
            kind: MarkKind::OwnKill,
            count: 11,
            comm: Some("stress-ng-vm".into()),
        })
        .collect();
    marks.extend((0..90).map(|_| Mark {
        at_ns: chance.below(SPAN),
        kind: MarkKind::BystanderKill,
        count: 1,
        comm: Some("sshd".into()),
    }));
    marks.extend((0..6).map(|nth| Mark {
        at_ns: nth * 300 * SECOND,
        kind: MarkKind::NoVictim,
        count: 1,
        comm: None,
    }));
    marks.extend((0..3).map(|nth| Mark {
        at_ns: nth * 500 * SECOND,
        kind: MarkKind::UserspaceKill,
        count: 1,
        comm: Some("systemd-oomd".into()),
    }));
    marks.sort_by_key(|mark| mark.at_ns);
    marks
}

/// Of these marks.
fn victims(chance: &mut Chance, marks: &[Mark]) -> Vec<VictimRow> {
    let mut victims = Vec::new();
    for mark in marks {
        if matches!(mark.kind, MarkKind::OwnKill | MarkKind::BystanderKill) {
            let own = mark.kind == MarkKind::OwnKill;
            victims.push(VictimRow {
                at_ns: mark.at_ns,
                whose: if own { Whose::Own } else { Whose::Bystander },
                pid: Some(u32::try_from(chance.below(4_000_000)).unwrap()),
                comm: Some(if own {
                    NAMES[usize::try_from(chance.below(8)).unwrap()].to_owned()
                } else {
                    "sshd".into()
                }),
                verdict: Some("killed".into()),
                rss_bytes: Some(chance.below(900 * MIB)),
                oom_score_adj: Some(if own { 1000 } else { 0 }),
                scope: "global".into(),
                trigger_comm: Some("stress-ng-vm".into()),
                trigger_whose: Whose::Own,
                stall_ns: Some(chance.below(SECOND)),
                freed_ns: Some(chance.below(SECOND / 5)),
                cmdline: Some("sshd: user@pts/3".into()),
                ..VictimRow::default()
            });
        }
    }
    victims.sort_by_key(|victim| (victim.whose, victim.at_ns));
    victims.truncate(200);
    victims
}
