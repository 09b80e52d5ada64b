//! Whether each output has everything, once.

use serde_json::Value;

use super::super::kills_of;
use super::load::Toll;
use crate::checks::Checks;
use crate::incident::kind;

/// Compares what an output has with what has happened. `below`: the cgroup in which all forks failed.
pub fn compare(checks: &mut Checks, name: &str, objects: &[Value], toll: &Toll, below: &str) {
    let kernel = amiss(&toll.killed, |pid| kills_of(objects, pid).len());
    checks.that(kernel.is_empty(), || format!("{name}: kills and how often they are there: {kernel:?}"));
    let daemon = amiss(&toll.by_daemon, |pid| objects.iter().filter(|object| by_daemon(object, pid)).count());
    checks.that(daemon.is_empty(), || {
        format!("{name}: a daemon's kills and how often they are there: {daemon:?}")
    });
    let refused =
        objects.iter().filter(|object| kind(object) == "fork_failure" && object.to_string().contains(below));
    let refused = refused.filter_map(|object| object["count"].as_u64()).sum();
    checks.equal(&format!("forks that failed, in {name}"), Some(refused), Some(toll.refused), "pids.events");
}

/// Those that are not there once.
fn amiss(pids: &[u64], times: impl Fn(u64) -> usize) -> Vec<(u64, usize)> {
    pids.iter().map(|&pid| (pid, times(pid))).filter(|(_, times)| *times != 1).collect()
}

fn by_daemon(object: &Value, pid: u64) -> bool {
    let victims = object["victims"].as_array().into_iter().flatten();
    kind(object) == "userspace_kill" && victims.into_iter().any(|victim| victim["pid"] == pid)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    /// Guards the comparison: what is missing, what is there twice and a wrong count are each a failure.
    #[test]
    fn what_is_amiss_is_found() {
        let toll = Toll { killed: vec![7], counted: 1, by_daemon: vec![8], refused: 10 };
        let kill = json!({"type": "oom", "victims": [{"pid": 7}]});
        let daemon = json!({"type": "userspace_kill", "victims": [{"pid": 8}]});
        let forks = |count: u64| json!({"type": "fork_failure", "count": count, "cgroup": "/ours/x"});
        let failures = |objects: &[Value]| {
            let mut checks = Checks::default();
            compare(&mut checks, "it", objects, &toll, "/ours");
            checks.failures().len()
        };
        let all = [kill.clone(), daemon.clone(), forks(4), forks(6)];
        assert_eq!(failures(&all), 0);
        assert_eq!(failures(&[]), 3);
        assert_eq!(failures(&[&all[..], &[kill]].concat()), 1);
        assert_eq!(failures(&[&all[..], &[daemon]].concat()), 1);
        assert_eq!(failures(&[&all[..], &[forks(1)]].concat()), 1);
    }
}
