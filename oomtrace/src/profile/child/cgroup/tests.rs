use super::*;

/// A machine: its mounts, where this process is, and files of cgroups.
fn machine(mounts: &[&str], own: &str, files: &[(&str, &str)]) -> tempfile::TempDir {
    let root = tempfile::tempdir().unwrap();
    let write = |path: &str, text: &str| {
        let path = root.path().join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    };
    let lines = mounts.iter().map(|mount| format!("31 23 0:28 / /sys/fs/cgroup{mount}\n"));
    write("proc/self/mountinfo", &lines.collect::<String>());
    write("proc/self/cgroup", own);
    for (path, text) in files {
        write(&format!("sys/fs/cgroup/{path}"), text);
    }
    root
}

const UNIFIED: &str = " rw,relatime - cgroup2 cgroup2 rw";

/// The files of one of version 2 that this process may have others made in.
fn second(
    path: &str,
    has: &'static str,
    gives: &'static str,
    procs: &'static str,
) -> Vec<(String, &'static str)> {
    let file = |name: &str| format!("{path}{name}");
    let mut files = vec![
        (file("cgroup.controllers"), has),
        (file("cgroup.subtree_control"), gives),
        (file("cgroup.procs"), procs),
    ];
    if !path.is_empty() {
        files.push((file("cgroup.type"), "domain\n"));
    }
    files
}

fn found(root: &tempfile::TempDir, wanted: &[Controller]) -> Result<Vec<(bool, String)>, String> {
    let place = Place::find(root.path(), wanted).map_err(|error| error.to_string())?;
    let spots = place.spots().iter();
    Ok(spots
        .map(|spot| {
            let folder = spot.folder.strip_prefix(root.path().join("sys/fs/cgroup")).unwrap();
            (spot.unified, folder.to_str().unwrap().to_owned())
        })
        .collect())
}

fn unified(own: &str, levels: &[Vec<(String, &'static str)>]) -> tempfile::TempDir {
    let files: Vec<_> = levels.iter().flatten().map(|(path, text)| (path.as_str(), *text)).collect();
    machine(&[UNIFIED], &format!("0::{own}\n"), &files)
}

/// Guards version 2: our own cgroup has processes, so that those in it cannot have controllers; the nearest above gives them.
#[test]
fn the_nearest_that_gives_controllers_is_taken() {
    let root = unified(
        "/user.slice/u/s",
        &[
            second("", "cpu memory pids\n", "cpu memory pids\n", "1\n"),
            second("user.slice/", "cpu memory pids\n", "memory pids\n", ""),
            second("user.slice/u/", "memory pids\n", "pids\n", ""),
            second("user.slice/u/s/", "pids\n", "", "77\n"),
        ],
    );
    assert_eq!(found(&root, &[Controller::Pids]), Ok(vec![(true, "user.slice/u".to_owned())]));
    assert_eq!(found(&root, &[Controller::Memory]), Ok(vec![(true, "user.slice".to_owned())]));
    assert_eq!(found(&root, &Controller::ALL), Ok(vec![(true, "user.slice".to_owned())]));
}

/// Guards a machine where nobody has given controllers yet, as a guest without systemd: the root may give them though it has processes, and has
/// not given them any more afterwards.
#[test]
fn the_root_may_give_controllers() {
    let root = unified("/", &[second("", "cpu memory pids\n", "cpu\n", "1\n2\n")]);
    let mut place = Place::find(root.path(), &Controller::ALL).unwrap();
    assert_eq!(place.spots()[0].controllers, Controller::ALL);
    let control = root.path().join("sys/fs/cgroup/cgroup.subtree_control");
    place.enable().unwrap();
    // The file of a kernel adds them up, this one has the last.
    assert_eq!(fs::read_to_string(&control).unwrap(), "+pids");
    drop(place);
    assert_eq!(fs::read_to_string(&control).unwrap(), "-pids");
}

/// Guards a container whose root has processes and is no real one: it can give nothing, and it is said what can be done.
#[test]
fn a_container_with_processes_gives_nothing() {
    let root = unified("/", &[second("", "cpu memory pids\n", "", "1\n2\n")]);
    fs::write(root.path().join("sys/fs/cgroup/cgroup.type"), "domain\n").unwrap();
    let sentence = found(&root, &[Controller::Memory]).unwrap_err();
    assert!(sentence.contains("cannot be given any while it has processes itself"), "{sentence}");
    fs::write(root.path().join("sys/fs/cgroup/cgroup.procs"), "").unwrap();
    assert_eq!(found(&root, &[Controller::Memory]), Ok(vec![(true, String::new())]));
}

/// Guards version 1 and both together: each controller where it is, below our own cgroup in its hierarchy; a cgroup that has gone is none.
#[test]
fn each_controller_is_where_it_is() {
    let legacy = |controller: &str| format!("/{controller} rw,relatime - cgroup cgroup rw,{controller}");
    let mounts = [legacy("memory"), legacy("pids"), format!("/unified{UNIFIED}")];
    let mounts: Vec<_> = mounts.iter().map(String::as_str).collect();
    let own = "8:pids:/gone/too\n4:memory:/a/b\n0::/\n";
    let files =
        [("memory/a/b/cgroup.procs", "1\n"), ("pids/tasks", ""), ("unified/cgroup.controllers", "hugetlb\n")];
    let root = machine(&mounts, own, &files);
    assert_eq!(
        found(&root, &Controller::ALL),
        Ok(vec![(false, "memory/a/b".to_owned()), (false, "pids".to_owned())])
    );
    // Memory by version 2, pids by version 1.
    fs::write(root.path().join("sys/fs/cgroup/unified/cgroup.controllers"), "memory\n").unwrap();
    fs::write(root.path().join("sys/fs/cgroup/unified/cgroup.subtree_control"), "memory\n").unwrap();
    fs::write(root.path().join("sys/fs/cgroup/unified/cgroup.procs"), "1\n").unwrap();
    let lines = fs::read_to_string(root.path().join("proc/self/mountinfo")).unwrap();
    let without = lines.lines().filter(|line| !line.contains("rw,memory")).map(|line| format!("{line}\n"));
    fs::write(root.path().join("proc/self/mountinfo"), without.collect::<String>()).unwrap();
    assert_eq!(
        found(&root, &Controller::ALL),
        Ok(vec![(false, "pids".to_owned()), (true, "unified".to_owned())])
    );
}

/// Guards a controller that is not there: it is said which limit cannot be kept, and one that was not asked for does not matter.
#[test]
fn a_controller_may_be_missing() {
    let root = unified("/", &[second("", "cpu pids\n", "cpu pids\n", "1\n")]);
    let sentence = found(&root, &Controller::ALL).unwrap_err();
    assert!(sentence.starts_with("--cgroup-limit cannot be kept here"), "{sentence}");
    assert_eq!(found(&root, &[Controller::Pids]), Ok(vec![(true, String::new())]));
}

/// A cgroup whose files are ours, in one folder.
fn own(unified: bool, files: &[(&str, &str)]) -> (tempfile::TempDir, OwnCgroup) {
    let folder = tempfile::tempdir().unwrap();
    for (name, text) in files {
        let path = folder.path().join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }
    fs::write(folder.path().join("cgroup.procs"), "").unwrap();
    let root = unified_root();
    let part = Part {
        unified,
        folder: folder.path().to_owned(),
        path: "/x/oomtrace-run-1".to_owned(),
        controllers: Controller::ALL.to_vec(),
        entry: File::options().write(true).open(folder.path().join("cgroup.procs")).unwrap(),
    };
    let place = Arc::new(Place::find(root.path(), &[Controller::Pids]).unwrap());
    (
        folder,
        OwnCgroup {
            parts: vec![part],
            last: Mutex::new(None),
            removed: AtomicBool::new(false),
            _place: place,
        },
    )
}

fn unified_root() -> tempfile::TempDir {
    unified("/", &[second("", "pids\n", "pids\n", "1\n")])
}

/// Guards what version 2 tells, in its units; what an old kernel has no file for is absent.
#[test]
fn version_two_tells() {
    let (_folder, cgroup) = own(
        true,
        &[
            ("memory.current", "4096\n"),
            ("memory.peak", "9000\n"),
            ("memory.max", "8192\n"),
            ("memory.swap.max", "max\n"),
            ("memory.events", "low 0\nhigh 0\nmax 7\noom 2\noom_kill 1\noom_group_kill 0\n"),
            (
                "memory.pressure",
                "some avg10=0.00 avg60=0.00 avg300=0.00 total=12\nfull avg10=0.00 avg60=0.00 avg300=0.00 total=5\n",
            ),
            ("pids.current", "3\n"),
            ("pids.events", "max 4\n"),
        ],
    );
    assert_eq!((cgroup.version(), cgroup.usage_bytes(), cgroup.pids()), (2, Some(4096), Some(3)));
    let facts = cgroup.facts();
    assert_eq!(
        (facts.peak_bytes, facts.peak_from.as_deref(), facts.limit_bytes),
        (Some(9000), Some("memory.peak"), Some(8192))
    );
    assert_eq!((facts.swap_limit_bytes, facts.swap_peak_bytes), (None, None));
    assert_eq!((facts.events["max"], facts.events["oom_kill"], facts.events["pids.max"]), (7, 1, 4));
    assert_eq!(facts.psi.map(|psi| (psi.some_ns, psi.full_ns)), Some((12_000, 5_000)));
    let (_folder, cgroup) = own(true, &[("memory.max", "max\n")]);
    let facts = cgroup.facts();
    assert_eq!((facts.peak_bytes, facts.peak_from, facts.limit_bytes, facts.psi), (None, None, None, None));
    assert!(facts.events.is_empty(), "{:?}", facts.events);
}

/// Guards what version 1 tells: by version 2's names, with those below it, which count for themselves.
#[test]
fn version_one_tells() {
    let (_folder, cgroup) = own(
        false,
        &[
            ("memory.usage_in_bytes", "4096\n"),
            ("memory.max_usage_in_bytes", "8192\n"),
            ("memory.limit_in_bytes", "9223372036854771712\n"),
            ("memory.failcnt", "7\n"),
            ("memory.oom_control", "oom_kill_disable 0\nunder_oom 0\noom_kill 1\n"),
            ("below/memory.failcnt", "1\n"),
            ("below/memory.oom_control", "oom_kill_disable 0\nunder_oom 0\noom_kill 2\n"),
        ],
    );
    assert_eq!((cgroup.version(), cgroup.usage_bytes(), cgroup.pids()), (1, Some(4096), None));
    let facts = cgroup.facts();
    assert_eq!((facts.peak_bytes, facts.limit_bytes), (Some(8192), None));
    assert_eq!(
        facts.events.into_iter().collect::<Vec<_>>(),
        [("max".to_owned(), 8), ("oom_kill".to_owned(), 3)]
    );
}
