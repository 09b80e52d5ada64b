//! What the kernel counts while a command runs, read from within the command: its cgroup is gone afterwards.

use std::collections::BTreeMap;

use anyhow::{Context, Result};

use super::profile::Ran;
use crate::stage::argument;
use crate::witness::cgroup::Hierarchy;

/// Runs a command, and prints before and after it what the kernel counts. It forks nothing itself, which would count.
const SCRIPT: &str = r#"
memory=$1 pids=$2
shift 2
say() {
    while read -r line; do echo "$1 $line"; done <"$2"
}
say before /proc/vmstat
"$@"
status=$?
say after /proc/vmstat
while IFS=: read -r id list path; do
    case ",$list," in
    ,,) [ -e "$memory/cgroup.controllers" ] && memory=$memory$path && pids=$pids$path ;;
    *,memory,*) memory=$memory$path ;;
    *,pids,*) pids=$pids$path ;;
    esac
done </proc/self/cgroup
for file in "$memory"/memory.events "$memory"/memory.oom_control "$pids"/pids.events; do
    [ -e "$file" ] && say "${file##*/}" "$file"
done
for file in "$memory"/memory.peak "$memory"/memory.max_usage_in_bytes; do
    [ -e "$file" ] && read -r value <"$file" && echo "peak bytes $value"
done
echo "cgroup path $memory"
exit $status
"#;

/// A command that runs another one so.
pub fn witnessed(command: &[&str]) -> Result<Vec<String>> {
    let mount = |controller| {
        let hierarchy = Hierarchy::of(controller)?;
        let hierarchy = hierarchy.with_context(|| format!("there is no {controller} controller"))?;
        anyhow::Ok(argument(hierarchy.mount())?.to_owned())
    };
    let words = ["sh", "-c", SCRIPT, "witness"].map(str::to_owned).into_iter();
    let mounts = [mount("memory")?, mount("pids")?];
    Ok(words.chain(mounts).chain(command.iter().map(|word| (*word).to_owned())).collect())
}

/// What was counted, by where it stands and by its name.
pub struct Counted {
    values: BTreeMap<(String, String), u64>,
    /// The folder of the command's memory cgroup.
    pub folder: String,
}

impl Counted {
    /// What a command has printed; an error if it did not get that far.
    pub fn of(ran: &Ran) -> Result<Self> {
        let mut counted = Self { values: BTreeMap::new(), folder: String::new() };
        for line in ran.lines() {
            let mut words = line.splitn(3, ' ');
            let (Some(place), Some(name), Some(value)) = (words.next(), words.next(), words.next()) else {
                continue;
            };
            if (place, name) == ("cgroup", "path") {
                value.clone_into(&mut counted.folder);
            } else if let Ok(value) = value.trim().parse() {
                counted.values.insert((place.to_owned(), name.to_owned()), value);
            }
        }
        if counted.folder.is_empty() {
            let said = ran.output.said();
            anyhow::bail!("the command did not tell its counts, and oomtrace said: {said}");
        }
        Ok(counted)
    }

    /// A count at the end.
    pub fn get(&self, place: &str, name: &str) -> Option<u64> {
        self.values.get(&(place.to_owned(), name.to_owned())).copied()
    }

    /// What /proc/vmstat counted meanwhile.
    pub fn vmstat(&self, name: &str) -> Option<u64> {
        self.get("after", name)?.checked_sub(self.get("before", name)?)
    }

    /// OOM kills in its memory cgroup.
    pub fn oom_kills(&self) -> Option<u64> {
        self.get("memory.events", "oom_kill").or_else(|| self.get("memory.oom_control", "oom_kill"))
    }

    /// Tasks that its pids cgroup was refused.
    pub fn tasks_refused(&self) -> Option<u64> {
        self.get("pids.events", "max")
    }
}
