//! What goes along with tracing and decides where it is told and how long it lasts.

use tokio::signal::unix::{Signal, SignalKind, signal};

use anyhow::Context as _;

use super::shown::{Shown, standard_output};
use crate::{
    cli::OutputArgs,
    incident::Assembler,
    kernel::load::{Attached, Run},
    output::{Message, Outputs},
    session::Session,
};

/// What is to be done beside tracing.
pub enum Ask {
    /// To end.
    Stop,
    /// What only the escort understands: it is called with that.
    Errand(Errand),
}

/// See [`Escort::run`].
pub enum Errand {
    /// To read the settings again.
    Reload,
    /// To say that it is alive.
    Beat,
    /// To tell what happened before tracing began.
    Tell(Box<Message>),
    /// To look whether everything has been told of what happened.
    Settle,
}

/// See the module. Its methods are called in their order.
pub trait Escort {
    /// What is profiled beside, if this is the run of a command: then oomtrace says nothing of itself, and takes whatever
    /// processor it gets.
    fn profiles(&self) -> Option<Run> {
        None
    }

    /// The hooks are attached (`attached`: none where the log alone is followed): where to tell what they see. From here on
    /// threads may be started.
    fn outputs(&mut self, session: &Session, attached: Option<&mut Attached>) -> anyhow::Result<Outputs>;

    /// Everything is ready; what happened before `armed_boot_ns` was not seen.
    fn ready(&mut self, shown: &mut Shown, armed_boot_ns: u64) -> anyhow::Result<()>;

    /// Waits for something to be asked. May be dropped while it waits, and called again.
    async fn next(&mut self) -> Ask;

    /// Runs an errand.
    fn run(&mut self, errand: Errand, assembler: &mut Assembler, shown: &mut Shown);

    /// Tracing is about to end.
    fn stop(&mut self);
}

/// The escort of `oomtrace trace`: standard output, until a signal comes.
pub struct Alone {
    output: OutputArgs,
    stop: Stop,
}

impl Alone {
    pub fn new(output: OutputArgs) -> anyhow::Result<Self> {
        Ok(Self { output, stop: Stop::new()? })
    }
}

impl Escort for Alone {
    fn outputs(&mut self, _: &Session, _: Option<&mut Attached>) -> anyhow::Result<Outputs> {
        standard_output(self.output, false)
    }

    fn ready(&mut self, _: &mut Shown, _: u64) -> anyhow::Result<()> {
        Ok(())
    }

    async fn next(&mut self) -> Ask {
        self.stop.wait().await;
        Ask::Stop
    }

    fn run(&mut self, _: Errand, _: &mut Assembler, _: &mut Shown) {}

    fn stop(&mut self) {}
}

/// The signals that end tracing.
pub struct Stop {
    interrupt: Signal,
    terminate: Signal,
}

impl Stop {
    pub fn new() -> anyhow::Result<Self> {
        Ok(Self { interrupt: caught(SignalKind::interrupt())?, terminate: caught(SignalKind::terminate())? })
    }

    pub async fn wait(&mut self) {
        tokio::select! {
            _ = self.interrupt.recv() => {}
            _ = self.terminate.recv() => {}
        }
    }
}

/// From here on such a signal does not do what it does by default.
pub fn caught(kind: SignalKind) -> anyhow::Result<Signal> {
    signal(kind).context("Signals cannot be caught")
}
