//! The command line of `scenarios`.

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Result, bail};
use clap::{Args, Parser, Subcommand};
use serde_json::json;

use crate::bench::Bench;
use crate::eat::{self, Eat};
use crate::fail::{self, Fail};
use crate::fork::child::{self, Fork};
use crate::fork::mix::Mix;
use crate::fork::selftest::SelfTest;
use crate::fork::storm::LONGEST;
use crate::machine::Machine;
use crate::results::Results;
use crate::runner::Plan;
use crate::scenario::agent::soak;
use crate::scenario::run::long;
use crate::scenario::{ALL, Scenario, agent, fork_mixtures, fork_storm, mutated_btf, storm};
use crate::service::Service;
use crate::storm::Size;
use crate::storm::tenant::{self, Tenant};
use crate::told::Told;
use crate::tracer::Program;

/// Provokes real OOM kills in throwaway cgroups and compares what oomtrace says with independent witnesses.
#[derive(Debug, Parser)]
#[command(version)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

/// What to do.
#[derive(Debug, Subcommand)]
enum Command {
    /// List the scenarios: what each guards, and where it can run.
    List {
        /// As JSON, one object a line.
        #[arg(long)]
        json: bool,
    },
    /// Run scenarios as root. Exit status 1 when one failed.
    Run(Run),
    /// Run the scenario `storm` at a size of your choice, as root. Exit status 1 when it failed.
    Storm(StormArgs),
    /// Run an agent with all its outputs under mixed load for long, as root. Exit status 1 when it grew, ran too much or lost
    /// anything.
    Soak(SoakArgs),
    /// Have `oomtrace run` watch for long, and many kills, as root. Exit status 1 when its report or its memory grew beyond bounds, or
    /// does not add up.
    Profile(ProfileArgs),
    /// Eat memory: the process that a scenario has killed.
    #[command(hide = true)]
    Eat(Eat),
    /// Have an allocation fail: the process that a scenario hurts.
    #[command(hide = true)]
    Fail(Fail),
    /// Make processes and threads, or fail to: the process that a scenario orders about.
    #[command(hide = true)]
    Fork(Fork),
    /// Have forks fail for each cause there is, as root, without oomtrace. Exit status 1 when one could not be brought
    /// about, or was not counted right.
    ForkSelftest(SelfTest),
    /// Have forks fail for mixtures of causes drawn by chance, as root, without oomtrace. Exit status 1 when another cause refused
    /// than the one that had to.
    ForkMix(Mix),
    /// Measure what oomtrace costs.
    #[command(hide = true)]
    Bench(Bench),
    /// Judge the agent as a service of this machine, which has systemd and was made for it: it panics. Exit status 1 when
    /// something was not as it should be.
    Service(Service),
    /// Live in a cgroup of a storm.
    #[command(hide = true)]
    Tenant(Tenant),
}

/// Which oomtrace, and what is kept of it.
#[derive(Debug, Args)]
struct Subject {
    /// The oomtrace to test.
    #[arg(long, default_value = "oomtrace")]
    oomtrace: PathBuf,
    /// Do not run oomtrace: try out the scenarios and their witnesses alone.
    #[arg(long, conflicts_with_all = ["oomtrace", "tier"])]
    witnesses: bool,
    /// Insist on this tier of oomtrace's.
    #[arg(long)]
    tier: Option<String>,
    /// Have another oomtrace follow the kernel's log, and nothing else, beside each scenario that kills.
    #[arg(long)]
    follow_log: bool,
    /// Write each result with its figures as a line of JSON to this file.
    #[arg(long)]
    results: Option<PathBuf>,
    /// Keep the kernel log and oomtrace's output of each scenario in this folder.
    #[arg(long)]
    keep: Option<PathBuf>,
}

/// Which scenarios, with which oomtrace.
#[derive(Debug, Args)]
#[expect(clippy::struct_excessive_bools, reason = "each is an option of its own on the command line")]
struct Run {
    #[command(flatten)]
    subject: Subject,
    /// Run only these scenarios.
    #[arg(long, value_delimiter = ',', value_parser = find)]
    only: Vec<&'static Scenario>,
    /// All have run on this kernel in another tier: leave out those for which that is enough.
    #[arg(long, conflicts_with = "only")]
    again: bool,
    /// Those of the agent run on other kernels: leave them out.
    #[arg(long, conflicts_with = "only")]
    without_agent: bool,
    /// These run on other kernels: leave them out.
    #[arg(long, conflicts_with = "only", value_delimiter = ',', value_parser = find)]
    without: Vec<&'static Scenario>,
    /// Seconds that one scenario may take.
    #[arg(long, default_value_t = 240)]
    limit: u64,
    /// Of the changes to type information, `all`, or those whose names contain this text, in place of a
    /// sample. All take some minutes, and a longer `--limit`.
    #[arg(long, value_name = "all|TEXT")]
    mutations: Option<String>,
    #[command(flatten)]
    mixtures: fork_mixtures::Share,
    /// Seconds that each storm of forks that fail lasts, but for the first, which lasts four at the least.
    #[arg(
        long,
        value_name = "SECONDS",
        default_value_t = fork_storm::SECONDS,
        value_parser = clap::value_parser!(u64).range(1..=LONGEST)
    )]
    fork_storms: u64,
    /// Take the time for everything: 500 kills and 100 deaths of the agent in `agent_killed`, 100 kills in `agent_global`.
    #[arg(long)]
    endurance: bool,
    /// The machine was made for these tests: it may run out of memory as a whole. Assumed of one that runs
    /// from an initramfs.
    #[arg(long)]
    disposable: bool,
    /// Time passes here by the instructions that are executed, as in `cargo xtask vm --icount`: durations have no
    /// emulator to excuse them.
    #[arg(long)]
    exact_times: bool,
}

/// A storm, with which oomtrace.
#[derive(Debug, Args)]
struct StormArgs {
    #[command(flatten)]
    size: Size,
    /// Seconds in which the kills must be made, judgement included.
    #[arg(long, default_value_t = 120)]
    seconds: u64,
    #[command(flatten)]
    subject: Subject,
}

/// A long run of an agent, of which oomtrace.
#[derive(Debug, Args)]
struct SoakArgs {
    /// How long it lasts.
    #[arg(long, default_value_t = soak::USUAL_MINUTES, value_parser = clap::value_parser!(u64).range(2..=10_000))]
    minutes: u64,
    #[command(flatten)]
    subject: Subject,
}

/// A long run of `oomtrace run`, of which oomtrace.
#[derive(Debug, Args)]
struct ProfileArgs {
    #[command(flatten)]
    length: long::Length,
    #[command(flatten)]
    subject: Subject,
}

/// Runs the command line's command.
#[must_use]
pub fn main() -> ExitCode {
    let done = match Cli::parse().command {
        Command::List { json } => {
            list(json);
            Ok(true)
        }
        Command::Run(run) => run.run(),
        Command::Storm(storm) => storm.run(),
        Command::Soak(soak) => soak.run(),
        Command::Profile(profile) => profile.run(),
        Command::Eat(eat) => eat::run(&eat).map(|()| true),
        Command::Fail(fail) => fail::run(&fail).map(|()| true),
        Command::Fork(fork) => child::run(&fork).map(|()| true),
        Command::ForkSelftest(test) => test.run(),
        Command::ForkMix(mix) => mix.run(),
        Command::Bench(bench) => bench.run().map(|()| true),
        Command::Service(service) => service.run(),
        Command::Tenant(tenant) => tenant::run(&tenant).map(|()| true),
    };
    match done {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("scenarios: {error:#}");
            ExitCode::FAILURE
        }
    }
}

impl Run {
    /// Runs what was asked for. Gives whether none failed.
    fn run(self) -> Result<bool> {
        if let Some(mutations) = self.mutations {
            mutated_btf::CHOICE.get_or_init(|| mutations);
        }
        fork_mixtures::SHARE.get_or_init(|| self.mixtures);
        fork_storm::CHOICE.get_or_init(|| self.fork_storms);
        agent::ENDURANCE.get_or_init(|| self.endurance);
        let machine = Machine { exact_times: self.exact_times, ..Machine::look(self.disposable)? };
        let Subject { oomtrace, witnesses, tier, follow_log, results, keep } = self.subject;
        let program = (!witnesses).then_some(Program { path: oomtrace, tier, told: Told::default() });
        let scenarios = if self.only.is_empty() {
            let left_out = |scenario: &Scenario| {
                // It counts what is recovered from the kernel's log, which is not its own alone in a run of all.
                let alone = !self.endurance && scenario.name == agent::clock::SCENARIO.name;
                let elsewhere = self.without.iter().any(|without| without.name == scenario.name);
                (self.again && scenario.once)
                    || (self.without_agent && agent::is_of_agent(scenario))
                    || elsewhere
                    || alone
            };
            ALL.iter().filter(|scenario| !left_out(scenario)).collect()
        } else {
            self.only
        };
        let plan =
            Plan { scenarios, program, keep, limit: Duration::from_secs(self.limit), follow: follow_log };
        plan.run(&machine, &mut Results::new(results.as_deref())?)
    }
}

impl StormArgs {
    /// Makes the storm. Gives whether all agreed.
    fn run(self) -> Result<bool> {
        storm::SIZE.get_or_init(|| self.size);
        alone(&storm::SCENARIO, self.subject, self.seconds).run()
    }
}

impl SoakArgs {
    /// Has it last. Gives whether nothing was wrong.
    fn run(self) -> Result<bool> {
        soak::MINUTES.get_or_init(|| self.minutes);
        alone(&soak::SCENARIO, self.subject, 60 * self.minutes + SOAK_BESIDE).run()
    }
}

impl ProfileArgs {
    /// Has it last. Gives whether nothing was wrong.
    fn run(self) -> Result<bool> {
        long::LENGTH.get_or_init(|| self.length);
        // Ten kills a second at the least.
        let limit = 60 * self.length.minutes + self.length.kills / 10 + SOAK_BESIDE;
        alone(&long::SCENARIO, self.subject, limit).run()
    }
}

/// What a soak may take beside its minutes, s: the last rounds of some machines are slow, and everything is compared.
const SOAK_BESIDE: u64 = 600;

/// A run of one scenario with everything as usual.
fn alone(scenario: &'static Scenario, subject: Subject, limit: u64) -> Run {
    Run {
        subject,
        only: vec![scenario],
        again: false,
        without_agent: false,
        without: Vec::new(),
        limit,
        mutations: None,
        mixtures: fork_mixtures::USUAL,
        fork_storms: fork_storm::SECONDS,
        endurance: false,
        disposable: false,
        exact_times: false,
    }
}

/// Lists the scenarios.
fn list(as_json: bool) {
    for scenario in ALL {
        let (name, guards, runs) = (scenario.name, scenario.guards, scenario.needs.describe());
        if as_json {
            let object = json!({"scenario": name, "guards": guards, "runs_on": runs, "once": scenario.once});
            println!("{object}");
        } else {
            let once = if scenario.once { "; one tier may do" } else { "" };
            println!("{name}\n    {guards}\n    runs on {runs}{once}");
        }
    }
}

/// Finds a scenario by its name.
fn find(name: &str) -> Result<&'static Scenario> {
    let Some(scenario) = ALL.iter().find(|scenario| scenario.name == name) else {
        let names: Vec<_> = ALL.iter().map(|scenario| scenario.name).collect();
        bail!("there is no scenario {name:?}; there are {}", names.join(", "))
    };
    Ok(scenario)
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    /// Guards the command line against clashes that only show when it is parsed.
    #[test]
    fn command_line_is_sound() {
        Cli::command().debug_assert();
    }

    /// Guards the storm's size: as asked for, and never so large that it would be the machine that runs out.
    #[test]
    fn storms_are_sized() {
        let cli = Cli::try_parse_from([
            "scenarios",
            "storm",
            "--kills",
            "2000",
            "--seconds",
            "90",
            "--cgroups",
            "50",
        ]);
        let Command::Storm(storm) = cli.unwrap().command else { panic!("storm is parsed as something else") };
        assert_eq!((storm.size.kills, storm.size.cgroups, storm.seconds), (2000, 50, 90));
        for cgroups in ["0", "201", "-1"] {
            assert!(Cli::try_parse_from(["scenarios", "storm", "--cgroups", cgroups]).is_err(), "{cgroups}");
        }
    }

    /// Guards the options that both ways to run share, and that none of oomtrace's is taken where it is not
    /// run.
    #[test]
    fn both_name_their_oomtrace() {
        let parsed = |command: &str, options: &[&str]| {
            Cli::try_parse_from([&["scenarios", command], options].concat()).map(|cli| cli.command)
        };
        for command in ["run", "storm"] {
            let given = ["--oomtrace", "/o", "--tier", "kprobe", "--results", "/r", "--keep", "/k"];
            let (Command::Run(Run { subject, .. }) | Command::Storm(StormArgs { subject, .. })) =
                parsed(command, &given).unwrap()
            else {
                panic!("{command} is parsed as something else")
            };
            assert_eq!((subject.oomtrace, subject.tier), ("/o".into(), Some("kprobe".to_owned())));
            assert_eq!((subject.results, subject.keep), (Some("/r".into()), Some("/k".into())));
            assert!(parsed(command, &["--witnesses", "--keep", "/k"]).is_ok());
            for option in ["--oomtrace", "--tier"] {
                assert!(parsed(command, &["--witnesses", option, "kprobe"]).is_err(), "{command} {option}");
            }
        }
    }

    /// Guards the names that other tools call scenarios by.
    #[test]
    fn scenarios_are_found_by_name() {
        let cli = Cli::try_parse_from(["scenarios", "run", "--only", "memcg_self,group"]).unwrap();
        let Command::Run(run) = cli.command else { panic!("run is parsed as {:?}", cli.command) };
        assert_eq!(
            run.only.iter().map(|scenario| scenario.name).collect::<Vec<_>>(),
            ["memcg_self", "group"]
        );
        assert!(find("memcg").unwrap_err().to_string().contains("memcg_self"));
    }
}
