use std::{fs, os::unix::fs::symlink, sync::mpsc, thread};

use super::*;
use crate::host::container::Container;
use read::text;

const ID: &str = "4e9bf3a17c0258d1a6b0c3f4e5d60718293a4b5c6d7e8f90a1b2c3d4e5f60718";
const POD: &str = "7a3c1f2e-0b1d-4c5e-9f60-718293a4b5c6";
const DOCKER: &str = "var/lib/docker/containers/ID/config.v2.json";
const CRI: &str = "run/containerd/io.containerd.runtime.v2.task/k8s.io/ID/config.json";
const LAYERS: &str = "var/lib/containers/storage/overlay-containers/containers.json";

/// A root folder with these files, removed when dropped. `ID` and `POD` stand for theirs.
struct Root(PathBuf);

impl Root {
    fn new(name: &str, files: &[(&str, &str)]) -> Self {
        let root = Self(std::env::temp_dir().join(format!("oomtrace-names-{}-{name}", std::process::id())));
        for (path, text) in files {
            root.write(path, text);
        }
        root
    }

    fn path(&self, path: &str) -> PathBuf {
        self.0.join(path.replace("POD", POD).replace("ID", ID))
    }

    fn write(&self, path: &str, text: &str) {
        let path = self.path(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text.replace("POD", POD).replace("ID", ID)).unwrap();
    }
}

impl Drop for Root {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// The place of a task in the container, in the pod or not.
fn place(pod: bool) -> Place {
    Place::of(Some(if pod { format!("/kubepods/pod{POD}/{ID}") } else { format!("/x/{ID}") }))
}

/// Runtime, name, pod and namespace.
type Told = (Option<Runtime>, Option<String>, Option<String>, Option<String>);

fn told_of(names: &mut Names, mut place: Place, ancestors: &[Ancestor]) -> Told {
    names.name(&mut place, ancestors);
    let Container { runtime, name, pod_name, namespace, .. } = place.container.unwrap();
    (runtime, name, pod_name, namespace)
}

fn told(root: &Root, pod: bool) -> Told {
    told_of(&mut Names::new(&root.0), place(pod), &[])
}

fn expected(runtime: Option<Runtime>, name: &str, pod: &str, namespace: &str) -> Told {
    (runtime, text(name), text(pod), text(namespace))
}

/// As if what is known had been found longer ago than it counts.
fn let_it_age(names: &mut Names) {
    for known in &mut names.known {
        known.looked = known.looked.checked_sub(2 * FRESH).unwrap();
    }
}

/// A source, by itself: what it is, a file, what is in it, and what is told of the container in the pod by it. Where a
/// version stands, the file is from it, with other ids and without what nobody reads; the others are as their sources
/// write them.
type Case = (&'static str, &'static str, &'static str, Told);

fn check(cases: &[Case]) {
    for (name, path, content, expected) in cases {
        let root = Root::new(name, &[(path, content)]);
        assert_eq!(told(&root, true), *expected, "{name}");
    }
}

/// Guards what Docker keeps, with a kubelet and without.
#[test]
fn dockers_files_are_understood() {
    check(&[
        (
            // Engine 20.10.24 and 26.1.5 (Debian); neither writes labels of its own.
            "docker",
            DOCKER,
            r#"{"StreamConfig":{},"State":{"Running":true,"Paused":false,"OOMKilled":false,"Pid":30246,"Health":null},
               "ID":"ID","Created":"2026-11-27T20:39:45.107599059Z","Managed":false,"Path":"/bin/eat","Args":["1"],
               "Config":{"Hostname":"4e9bf3a17c02","Env":null,"Cmd":["/bin/eat","1"],"Image":"eater:1","Labels":{}},
               "NetworkSettings":{"Networks":{"none":{"IPAMConfig":null}}},"Name":"/web","Driver":"vfs","OS":"linux"}"#,
            expected(Some(Runtime::Docker), "web", "", ""),
        ),
        (
            // Mirantis/cri-dockerd, core/container_create.go (the kubelet's labels) and core/naming.go.
            "cri-dockerd",
            DOCKER,
            r#"{"Name":"/k8s_app_cart-0_shop_POD_0","Config":{"Labels":{"io.kubernetes.container.name":"app",
               "io.kubernetes.docker.type":"container","io.kubernetes.pod.name":"cart-0",
               "io.kubernetes.pod.namespace":"shop","io.kubernetes.pod.uid":"POD"}}}"#,
            expected(Some(Runtime::Docker), "app", "cart-0", "shop"),
        ),
        (
            "cri-dockerd-unlabelled",
            DOCKER,
            r#"{"Name":"/k8s_app_cart-0_shop_POD_0_5e1f","Config":{"Labels":null}}"#,
            expected(Some(Runtime::Docker), "app", "cart-0", "shop"),
        ),
    ]);
}

/// Guards what containerd keeps, for the kubelet, for Docker, nerdctl and ctr.
#[test]
fn containerds_files_are_understood() {
    check(&[
        (
            // containerd 1.6.20 and 1.7.24, made by its CRI, by both cgroup drivers.
            "containerd",
            CRI,
            r#"{"ociVersion":"1.0.2-dev","process":{"user":{"uid":0,"gid":0},"args":["/bin/eat","1"]},"annotations":{
               "io.kubernetes.cri.container-name":"app","io.kubernetes.cri.container-type":"container",
               "io.kubernetes.cri.image-name":"docker.io/library/eater:1","io.kubernetes.cri.sandbox-id":"ID",
               "io.kubernetes.cri.sandbox-name":"cart-0","io.kubernetes.cri.sandbox-namespace":"shop",
               "io.kubernetes.cri.sandbox-uid":"POD"},
               "linux":{"cgroupsPath":"kubepods-podPOD.slice:cri-containerd:ID"}}"#,
            expected(Some(Runtime::Containerd), "app", "cart-0", "shop"),
        ),
        (
            // The same: a pod's sandbox, which has no name.
            "sandbox",
            CRI,
            r#"{"annotations":{"io.kubernetes.cri.container-type":"sandbox","io.kubernetes.cri.sandbox-id":"ID",
               "io.kubernetes.cri.sandbox-log-directory":"/var/log/pods/shop_cart-0_POD",
               "io.kubernetes.cri.sandbox-name":"cart-0","io.kubernetes.cri.sandbox-namespace":"shop"}}"#,
            expected(Some(Runtime::Containerd), "", "cart-0", "shop"),
        ),
        (
            // containerd 1.6.20, made by ctr: there are none.
            "ctr",
            "run/containerd/io.containerd.runtime.v2.task/default/ID/config.json",
            r#"{"ociVersion":"1.0.2-dev","root":{"path":"rootfs"},"linux":{"cgroupsPath":"/default/ID"}}"#,
            expected(Some(Runtime::Containerd), "", "", ""),
        ),
        (
            // Docker 20.10.24 by way of containerd, where Docker's own files are not found.
            "moby",
            "run/containerd/io.containerd.runtime.v2.task/moby/ID/config.json",
            r#"{"ociVersion":"1.0.2-dev","hostname":"4e9bf3a17c02","linux":{"cgroupsPath":"/docker/ID"}}"#,
            expected(Some(Runtime::Docker), "", "", ""),
        ),
        (
            // containerd/nerdctl, pkg/labels/labels.go: its labels are the bundle's annotations.
            "nerdctl",
            "run/containerd/io.containerd.runtime.v2.task/default/ID/config.json",
            r#"{"annotations":{"nerdctl/name":"web","nerdctl/namespace":"default"}}"#,
            expected(Some(Runtime::Containerd), "web", "", ""),
        ),
        (
            "k3s",
            "run/k3s/containerd/io.containerd.runtime.v2.task/k8s.io/ID/config.json",
            r#"{"annotations":{"io.kubernetes.cri.container-name":"app",
               "io.kubernetes.cri.sandbox-name":"cart-0","io.kubernetes.cri.sandbox-namespace":"shop"}}"#,
            expected(Some(Runtime::Containerd), "app", "cart-0", "shop"),
        ),
    ]);
}

/// Guards what CRI-O and Podman keep, which share their storage.
#[test]
fn crios_and_podmans_files_are_understood() {
    check(&[
        (
            // cri-o/cri-o, internal/factory/container/container.go, SpecAddAnnotations(): the kubelet's labels among them.
            "cri-o",
            "run/containers/storage/overlay-containers/ID/userdata/config.json",
            r#"{"ociVersion":"1.0.2-dev","annotations":{"io.container.manager":"cri-o",
               "io.kubernetes.container.name":"app","io.kubernetes.pod.name":"cart-0",
               "io.kubernetes.pod.namespace":"shop","io.kubernetes.pod.uid":"POD",
               "io.kubernetes.cri-o.Name":"k8s_app_cart-0_shop_POD_0"}}"#,
            expected(Some(Runtime::CriO), "app", "cart-0", "shop"),
        ),
        (
            // The same, SetNameAndID().
            "cri-o-layer",
            LAYERS,
            r#"[{"id":"ID","names":["k8s_app_cart-0_shop_POD_0"]}]"#,
            expected(None, "app", "cart-0", "shop"),
        ),
        (
            // Podman 4.3.1 and 5.4.2. It knows the name by a database, and its storage by this.
            "podman",
            LAYERS,
            r#"[{"id":"0e590e1be2a4539e","names":["db"],"image":"","layer":"a"},{"id":"ID","names":["web"],"image":"",
               "layer":"642c78f4048f27d9","metadata":"{\"image-name\":\"\",\"name\":\"web\"}",
               "created":"2026-11-27T20:34:51.500624304Z",
               "flags":{"MountLabel":"","ProcessLabel":""}}]"#,
            expected(None, "web", "", ""),
        ),
        (
            // Podman 5.4.2 with --rm.
            "podman-rm",
            "var/lib/containers/storage/overlay-containers/volatile-containers.json",
            r#"[{"id":"ID","names":["web"],"layer":"84c0e623975001c1","flags":{"ProcessLabel":"","Volatile":true}}]"#,
            expected(None, "web", "", ""),
        ),
        (
            // Podman 5.4.2 with --transient-store.
            "podman-transient",
            "run/containers/storage/overlay-containers/volatile-containers.json",
            r#"[{"id":"ID","names":["web"],"layer":"84c0e623975001c1","flags":{"ProcessLabel":"","Volatile":true}}]"#,
            expected(None, "web", "", ""),
        ),
        (
            // Podman 4.3.1 (its annotations tell no name).
            "podman-bundle",
            "var/lib/containers/storage/overlay-containers/ID/userdata/config.json",
            r#"{"annotations":{"io.container.manager":"libpod","io.kubernetes.cri-o.ContainerType":"container",
               "io.kubernetes.cri-o.Created":"2026-11-27T20:36:54.268984783Z",
               "io.kubernetes.cri-o.SandboxID":"d3956f2b38897548","io.kubernetes.cri-o.TTY":"false",
               "io.podman.annotations.autoremove":"FALSE"},"linux":{"cgroupsPath":"/libpod_parent/libpod-ID"}}"#,
            expected(Some(Runtime::Podman), "", "", ""),
        ),
    ]);
}

/// Guards the names of the kubelet's logs.
#[test]
fn the_kubelets_logs_are_understood() {
    check(&[
        (
            // kubernetes/kubernetes, pkg/kubelet/kuberuntime/legacy.go, logSymlink().
            "kubelet-container",
            "var/log/containers/cart-0_shop_app-ID.log",
            "",
            expected(None, "app", "cart-0", "shop"),
        ),
        (
            // The same, helpers.go, BuildPodLogsDirectory().
            "kubelet-pod",
            "var/log/pods/shop_cart-0_POD/app/0.log",
            "",
            expected(None, "", "cart-0", "shop"),
        ),
    ]);
}

/// Guards each way in: a victim's, one without anything known of its ancestors, and one with them.
#[test]
fn whoever_it_is_is_named() {
    let root = Root::new("whoever", &[(DOCKER, r#"{"Name":"/web"}"#)]);
    let mut names = Names::new(&root.0);
    let mut victims = [Victim { place: place(false), ..Victim::default() }];
    names.complete_victims(&mut victims);
    let [Victim { place: victims, .. }] = victims;
    let (mut failed, mut forked) = (place(false), place(false));
    names.complete_task(&mut failed, None);
    names.complete_task(
        &mut forked,
        Some(&Kinship { ancestors: Some(vec![conmon(41)]), ..Kinship::default() }),
    );
    for place in [victims, failed, forked] {
        assert_eq!(place.container.unwrap().name.as_deref(), Some("web"));
    }
}

/// Guards several sources that know a part each: the first to know counts.
#[test]
fn sources_complete_each_other() {
    let root = Root::new(
        "several",
        &[
            (
                "var/lib/containers/storage/overlay-containers/ID/userdata/config.json",
                r#"{"annotations":{"io.container.manager":"libpod"}}"#,
            ),
            (LAYERS, r#"[{"id":"ID","names":["web"]}]"#),
            ("var/log/pods/shop_cart-0_POD/app/0.log", ""),
        ],
    );
    assert_eq!(told(&root, true), expected(Some(Runtime::Podman), "web", "cart-0", "shop"));
    assert_eq!(told(&root, false), expected(Some(Runtime::Podman), "web", "", ""));
}

/// Guards Docker's state where it has been told to keep it elsewhere; what is no absolute path is no such place.
#[test]
fn docker_is_found_where_it_was_put() {
    let web = ("mnt/docker/containers/ID/config.v2.json", r#"{"Name":"/web"}"#);
    let put = |path: &str| format!(r#"{{"log-driver":"journald","data-root":{path}}}"#);
    for (name, path, found) in
        [("put", r#""/mnt/docker""#, "web"), ("relative", r#""mnt/docker""#, ""), ("no-path", "1", "")]
    {
        let root = Root::new(name, &[web, ("etc/docker/daemon.json", &put(path))]);
        assert_eq!(told(&root, false).1, text(found), "{name}");
    }
}

/// Guards a name that only looks like one that Kubernetes's containers have: it is whole.
#[test]
fn a_name_is_taken_apart_in_its_pod_only() {
    let other = POD.replace('7', "8");
    for (case, name) in
        [("other", format!("k8s_app_cart-0_shop_{other}_0")), ("short", format!("k8s_{POD}_0"))]
    {
        let root = Root::new(case, &[(DOCKER, &format!(r#"{{"Name":"/{name}"}}"#))]);
        assert_eq!(told(&root, true), expected(Some(Runtime::Docker), &name, "", ""), "{case}");
    }
    let name = format!("k8s_app_cart-0_shop_{POD}_0");
    let root = Root::new("no-pod", &[(DOCKER, &format!(r#"{{"Name":"/{name}"}}"#))]);
    assert_eq!(told(&root, false), expected(Some(Runtime::Docker), &name, "", ""));
}

/// Guards against files that are damaged, hostile, too large or not there: they say nothing.
#[test]
fn what_is_no_account_says_nothing() {
    let large = format!(r#"{{"Name":"/web","x":"{}"}}"#, "a".repeat(1 << 20));
    let deep = "[".repeat(100_000);
    let nested = format!(r#"{{"x":{}"#, r#"{"x":"#.repeat(100_000));
    let long = format!(r#"{{"Name":"/{}"}}"#, "a".repeat(1000));
    for (name, content) in [
        ("empty", ""),
        ("damaged", r#"{"Name":"/web""#),
        ("other", "[]"),
        ("typed", r#"{"Name":["/web"]}"#),
        ("large", &large),
        ("deep", &deep),
        ("nested", &nested),
        ("long", &long),
    ] {
        let files = [DOCKER, CRI, LAYERS, "etc/docker/daemon.json"].map(|path| (path, content));
        let root = Root::new(name, &files);
        assert_eq!(told(&root, false).1, None, "{name}");
    }
    // What says nothing does not keep the others from speaking.
    let root = Root::new("damaged-first", &[(DOCKER, "{"), (LAYERS, r#"[{"id":"ID","names":["web"]}]"#)]);
    assert_eq!(told(&root, false).1, text("web"));
}

/// Makes something at a path.
type Make = fn(&Path);

/// Guards against waiting for what is no file, reading it for ever, and descending into it.
#[test]
fn what_is_no_file_costs_nothing() {
    let kinds: [(&str, Make); 6] = [
        ("fifo", |path| {
            let name = std::ffi::CString::new(path.to_str().unwrap()).unwrap();
            // SAFETY: the name is a string that ends with a zero and lives on.
            assert_eq!(unsafe { libc::mkfifo(name.as_ptr(), 0o600) }, 0);
        }),
        ("zero", |path| symlink("/dev/zero", path).unwrap()),
        ("loop", |path| symlink(path, path).unwrap()),
        ("folder", |path| fs::create_dir(path).unwrap()),
        ("socket", |path| drop(std::os::unix::net::UnixListener::bind(path).unwrap())),
        ("sparse", |path| fs::File::create(path).unwrap().set_len(1 << 40).unwrap()),
    ];
    for (name, make) in kinds {
        // Names of sockets are short.
        let root = Root(std::env::temp_dir().join(format!("on-{}-{name}", std::process::id())));
        let places = [
            DOCKER,
            CRI,
            LAYERS,
            "etc/docker/daemon.json",
            "proc/41/cmdline",
            "var/log/containers",
            "var/log/pods",
        ];
        for path in places {
            let path = root.path(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            // Its own folder may be too deep for the name of a socket.
            let here = root.0.join("made");
            let _ = fs::remove_file(&here);
            let _ = fs::remove_dir(&here);
            make(&here);
            fs::rename(&here, &path).unwrap();
        }
        let (sender, receiver) = mpsc::channel();
        thread::spawn({
            let root = root.0.clone();
            move || sender.send(told_of(&mut Names::new(&root), place(true), &[conmon(41)]))
        });
        let told = receiver.recv_timeout(Duration::from_secs(10));
        assert_eq!(told, Ok(Told::default()), "{name}");
    }
}

/// Guards paths: what is no id never becomes a part of one; and memory.
#[test]
fn only_ids_are_looked_up_and_few_are_kept() {
    let root = Root::new("ids", &[(DOCKER, r#"{"Name":"/web"}"#)]);
    let mut names = Names::new(&root.0);
    let mut other = place(false);
    if let Some(container) = &mut other.container {
        container.id = format!("../containers/{ID}");
    }
    assert_eq!(told_of(&mut names, other, &[]).1, None);
    assert!(names.known.is_empty());

    for number in 0..2 * KEPT {
        let nobody = Place::of(Some(format!("/docker/{number:064x}")));
        assert_eq!(told_of(&mut names, nobody, &[]).1, None);
        // It is asked for again and again.
        assert_eq!(told_of(&mut names, place(false), &[]).1, text("web"));
    }
    assert_eq!(names.known.len(), KEPT);
    // It is remembered when its files are gone, for as long as it is.
    drop(root);
    let_it_age(&mut names);
    assert_eq!(told_of(&mut names, place(false), &[]), expected(Some(Runtime::Docker), "web", "", ""));
}

/// Guards against a name that a container had before (`docker rename`, seen with Docker 20.10.24 and Podman 5.4.2), and one
/// that comes later.
#[test]
fn what_is_known_does_not_go_stale() {
    let root = Root::new("stale", &[]);
    let mut names = Names::new(&root.0);
    for name in ["", "early", "late"] {
        root.write(DOCKER, &format!(r#"{{"Name":"/{name}"}}"#));
        let_it_age(&mut names);
        assert_eq!(told_of(&mut names, place(false), &[]).1, text(name));
    }
    // Within a moment, nothing is read again.
    root.write(DOCKER, r#"{"Name":"/again"}"#);
    names.known[0].looked = Instant::now();
    assert_eq!(told_of(&mut names, place(false), &[]).1, text("late"));
}

/// Guards what is known against cgroups that have another's id in their path: of another pod, or a user's.
#[test]
fn one_cannot_pass_for_another() {
    let root = Root::new(
        "another",
        &[(DOCKER, r#"{"Name":"/web"}"#), ("var/log/pods/shop_cart-0_POD/app/0.log", "")],
    );
    let mut names = Names::new(&root.0);
    let users = format!("/user.slice/user-1000.slice/user@1000.service/docker-{ID}.scope");
    for _ in 0..2 {
        let in_pod = told_of(&mut names, place(true), &[]);
        assert_eq!(in_pod, expected(Some(Runtime::Docker), "web", "cart-0", "shop"));
        assert_eq!(told_of(&mut names, place(false), &[]), expected(Some(Runtime::Docker), "web", "", ""));
        let users = told_of(&mut names, Place::of(Some(users.clone())), &[]);
        assert_eq!(users, expected(Some(Runtime::Docker), "", "", ""));
    }
}

fn conmon(pid: u32) -> Ancestor {
    Ancestor { pid, comm: Some("conmon".to_owned()) }
}

/// Guards the names of a user's own containers, by what watches them.
#[test]
fn a_users_containers_are_named_by_what_watches_them() {
    let user = "/user.slice/user-1000.slice/user@1000.service/user.slice/libpod";
    // conmon 2.1.12 for Podman 5.4.2; 2.1.6 for 4.3.1 differs in nothing that matters.
    let arguments = [
        "/usr/bin/conmon --api-version 1 -c ID -u ID -r /usr/bin/crun",
        "-b /home/alice/.local/share/containers/storage/overlay-containers/ID/userdata",
        "-p /run/user/1000/containers/overlay-containers/ID/userdata/pidfile -n web",
        "--exit-dir /run/user/1000/libpod/tmp/exits --full-attach -s -l journald --log-level warning",
    ];
    let arguments = arguments.join(" ").replace(' ', "\0");
    let cgroup = format!("0::{user}-conmon-42.scope\n");
    let root = Root::new("conmon", &[("proc/41/cmdline", &arguments), ("proc/41/cgroup", &cgroup)]);
    let place = || Place::of(Some(format!("{user}-{ID}.scope/container")));
    let systemd = Ancestor { pid: 1, comm: Some("systemd".to_owned()) };
    let mut names = Names::new(&root.0);
    let mut of = |ancestors: &[Ancestor]| told_of(&mut names, place(), ancestors).1;
    assert_eq!(of(&[]), None);
    assert_eq!(of(&[Ancestor { pid: 41, comm: Some("sh".to_owned()) }]), None);
    assert_eq!(of(&[conmon(40), conmon(41), systemd]), text("web"));
    assert_eq!(of(&[]), text("web"), "it is remembered");

    let told = |cmdline: &str, cgroup: &str| {
        root.write("proc/41/cmdline", cmdline);
        root.write("proc/41/cgroup", cgroup);
        told_of(&mut Names::new(&root.0), place(), &[conmon(41)]).1
    };
    // Someone in the container calls itself so: by either hierarchy.
    assert_eq!(told(&arguments, &format!("0::{user}-{ID}.scope/container\n")), None);
    assert_eq!(told(&arguments, &format!("4:memory:/libpod_parent/libpod-{ID}\n0::/\n")), None);
    // Another process by now, or one that is just ending.
    assert_eq!(told(&arguments.replace("ID", &ID.replace('4', "5")), &cgroup), None);
    assert_eq!(told("", &cgroup), None);
    assert_eq!(told("conmon\0-c\0ID\0-n", &cgroup), None);
    // CRI-O's: cri-o/cri-o, internal/oci/runtime_oci.go, CreateContainer().
    root.write("proc/41/cmdline", "/usr/bin/conmon\0-b\0/x\0-c\0ID\0-n\0k8s_app_cart-0_shop_POD_0\0-s\0");
    let crio = Place::of(Some(format!("/kubepods/pod{POD}/crio-{ID}")));
    let crio = told_of(&mut Names::new(&root.0), crio, &[conmon(41)]);
    assert_eq!(crio, expected(Some(Runtime::CriO), "app", "cart-0", "shop"));
}
