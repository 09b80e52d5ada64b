//! `cargo xtask demo`: one contained OOM kill, traced and shown.

use std::ffi::OsString;
use std::fs;
use std::io::{BufRead, BufReader};
use std::process::{Child, Command, ExitCode, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, bail};

use crate::build::{self, Built};
use crate::vm::kernel::Wanted;
use crate::vm::{Guest, Output, Userland};
use crate::{host, process, progress, scratch, setup, workspace};

/// What `cargo xtask demo` can be told.
#[derive(clap::Args)]
pub struct Args {
    /// Do it in a virtual machine, whatever this machine can do
    #[arg(long)]
    vm: bool,
    /// The virtual machine's kernel
    #[arg(long, default_value = "6.12")]
    kernel: Wanted,
}

/// oomtrace's exit status where it cannot trace.
const CANNOT_TRACE: i32 = 3;

/// What is provoked: a small process asks for memory, and a big sleeping one dies.
const SCENE: &str = "memcg_other";

/// What happens in the virtual machine: the same as here.
const IN_GUEST: &str = "
    oomtrace 2>/tmp/said & tracer=$!
    until grep -q armed /tmp/said; do kill -0 $tracer || { cat /tmp/said; exit 1; }; sleep 0.1; done
    scenarios run --witnesses --only memcg_other --keep /tmp/kept >/tmp/scene || { cat /tmp/scene; exit 1; }
    sleep 1; kill -INT $tracer; wait $tracer; status=$?
    cat /tmp/said; echo; echo 'The kernel log has of it:'; grep -h 'Killed process' /tmp/kept/*/kernel.log
    exit $status";

/// Shows an OOM kill, here if oomtrace can trace here, in a virtual machine otherwise.
pub fn main(args: &Args) -> Result<ExitCode> {
    let built = build::build(false)?;
    if !args.vm {
        if !host::is_root() {
            eprintln!(
                "Tracing takes root: run `sudo cargo xtask demo`. Here it is done in a virtual machine instead.\n"
            );
        } else if live(&built)? {
            return Ok(ExitCode::SUCCESS);
        } else {
            eprintln!("\nThis machine does not let oomtrace trace: doing it in a virtual machine instead.\n");
        }
    }
    in_guest(&built, &args.kernel)
}

/// Does it on this machine. `false`: oomtrace cannot trace here.
fn live(built: &Built) -> Result<bool> {
    let mut tracer = Command::new(&built.oomtrace)
        .stderr(Stdio::piped())
        .spawn()
        .with_context(|| format!("cannot start {}", built.oomtrace.display()))?;
    let result = provoke(built, &mut tracer);
    // SIGINT is how a user ends it; it then says what it saw.
    let pid = tracer.id().to_string();
    let interrupted = Command::new("kill").args(["-INT", &pid]).stderr(Stdio::null()).status();
    if interrupted.is_err() {
        tracer.kill().context("oomtrace cannot be ended")?;
    }
    let status = tracer.wait().context("oomtrace cannot be waited for")?;
    match (status.code(), result) {
        (Some(CANNOT_TRACE), _) => Ok(false),
        (_, Err(error)) => Err(error),
        (Some(0), Ok(())) => Ok(true),
        (_, Ok(())) => bail!("oomtrace ended with {status}"),
    }
}

/// Provokes the kill once oomtrace says that it is armed.
fn provoke(built: &Built, tracer: &mut Child) -> Result<()> {
    let Some(stderr) = tracer.stderr.take() else { bail!("oomtrace's standard error is gone") };
    let mut lines = BufReader::new(stderr).lines();
    loop {
        match lines.next() {
            Some(line) => {
                let line = line.context("oomtrace's standard error cannot be read")?;
                eprintln!("{line}");
                if line.contains("complete in") {
                    break;
                }
            }
            None => bail!("oomtrace ended before it was armed"),
        }
    }
    // Passes on what oomtrace says later; ends with it.
    std::thread::spawn(move || lines.map_while(Result::ok).for_each(|line| eprintln!("{line}")));
    let kept = scratch::folder_in(&workspace::target_dir().join("demo"))?;
    let mut scene = Command::new(&built.scenarios);
    scene.args(["run", "--witnesses", "--only", SCENE, "--keep"]).arg(kept.path());
    process::output(&mut scene).context("no OOM kill could be provoked")?;
    // oomtrace writes at once, but on a loaded machine it has to get its turn first.
    std::thread::sleep(Duration::from_millis(500));
    let log = kept.path().join(SCENE).join("kernel.log");
    let log = fs::read_to_string(&log).with_context(|| format!("cannot read {}", log.display()))?;
    println!("\nThe kernel log has of it:");
    log.lines().filter(|line| line.contains("Killed process")).for_each(|line| println!("{line}"));
    Ok(())
}

fn in_guest(built: &Built, wanted: &Wanted) -> Result<ExitCode> {
    let machine = setup::virtual_machine()?;
    let guest = Guest {
        kernel: setup::kernel(wanted, false)?,
        memory: 512,
        cpus: 2,
        icount: false,
        patient: false,
        append: Vec::new(),
        qemu: Vec::new(),
        timeout: Duration::from_mins(2),
        copies: vec![
            (built.oomtrace.clone(), "/usr/bin/oomtrace".into()),
            (built.scenarios.clone(), "/usr/bin/scenarios".into()),
        ],
        packages: Vec::new(),
        modules: Vec::new(),
        artifacts: None,
        expect_panic: false,
        userland: Userland::Busybox,
        command: ["sh", "-c", IN_GUEST].map(OsString::from).to_vec(),
    };
    let label = format!("Linux {} in a virtual machine", guest.kernel.version);
    let report = progress::step(&label, || guest.run(&machine, &Output::Forward))?;
    let status = report.status()?;
    Ok(ExitCode::from(u8::try_from(status).unwrap_or(1)))
}
