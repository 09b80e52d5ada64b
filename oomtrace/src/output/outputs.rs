//! All outputs together. Each message goes to each that has a use for it; what one cannot take is counted and told to that one
//! as soon as it can, and delays no other.

use std::{
    collections::BTreeMap,
    io,
    sync::Arc,
    time::{Duration, Instant},
};

use super::{Closed, Health, LAST_WORDS, Message, Queue, Sink};
use crate::say::say;

/// The place of losses in front of an output.
const OUTPUT: &str = "output";
/// Between two looks whether there is room for the last words.
const LOOK: Duration = Duration::from_millis(5);

/// Counts of what was lost, by kind.
pub type Counts = BTreeMap<&'static str, u64>;

/// Makes the messages that say what was lost.
pub trait TellLoss {
    /// So much was lost there.
    fn message(&self, place: &'static str, counts: Counts) -> Message;
    /// The last message has been sent: its number is taken.
    fn told(&mut self);
}

/// See the module.
#[derive(Default)]
pub struct Outputs {
    all: Vec<Output>,
    /// What tracing is for: its end is the end.
    main: Option<&'static str>,
    /// Whether to wait for outputs rather than lose something: nothing else has to be read meanwhile.
    patient: bool,
}

struct Output {
    queue: Queue,
    health: Arc<Health>,
    /// Losses that it has not been told yet, by place and kind.
    untold: BTreeMap<&'static str, Counts>,
}

/// What became of a message.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Sent {
    /// Whether an output took it, or none wanted it.
    pub told: bool,
    /// How many had no room for it.
    pub dropped: u64,
}

impl Outputs {
    /// None yet.
    #[must_use]
    pub fn new(patient: bool) -> Self {
        Self { all: Vec::new(), main: None, patient }
    }

    /// Starts the one whose end is the end of tracing.
    pub fn add_main(&mut self, health: Arc<Health>, sink: Box<dyn Sink>) -> io::Result<()> {
        self.main = Some(health.name());
        self.add(health, sink)
    }

    /// Starts one more.
    pub fn add(&mut self, health: Arc<Health>, sink: Box<dyn Sink>) -> io::Result<()> {
        let queue = Queue::start(health.name(), sink, self.patient)?;
        self.all.push(Output { queue, health, untold: BTreeMap::new() });
        Ok(())
    }

    /// Ends the one of that name, if there is one; it writes what waits by itself.
    pub fn remove(&mut self, name: &str) {
        self.all.retain(|output| output.health.name() != name);
    }

    /// Hands a message to all that have a use for it, and before it what they have not been told of losses.
    pub fn send(&mut self, message: Message, loss: &mut dyn TellLoss) -> Sent {
        self.bury();
        let message = Arc::new(message);
        let mut sent = Sent::default();
        let mut wanted = false;
        for output in self.all.iter_mut().filter(|output| output.queue.wants(&message)) {
            wanted = true;
            if self.patient {
                output.queue.send_waiting(Arc::clone(&message));
                sent.told = true;
            } else if output.send(&message, loss) {
                sent.told = true;
            } else {
                sent.dropped += 1;
            }
        }
        sent.told |= !wanted;
        sent
    }

    /// Tells all that something was lost: by one message those that have room and know of all before, the others as soon as they
    /// have.
    pub fn lost(&mut self, place: &'static str, counts: &Counts, loss: &mut dyn TellLoss) {
        let message = Arc::new(loss.message(place, counts.clone()));
        let mut told = false;
        let mut behind = Vec::new();
        for output in &mut self.all {
            if !output.queue.wants(&message) {
                continue;
            }
            if output.untold.is_empty() && output.queue.offer(Arc::clone(&message), self.patient) {
                told = true;
            } else {
                behind.push(output);
            }
        }
        // Its number is taken before others are.
        if told {
            loss.told();
        }
        for output in behind {
            output.note(place, counts);
            output.tell_losses(self.patient, loss);
        }
    }

    /// Says the last, waiting a moment for room.
    pub fn last(&mut self, message: Message, loss: &mut dyn TellLoss) {
        let until = Instant::now() + LAST_WORDS;
        let message = Arc::new(message);
        for output in self.all.iter_mut().filter(|output| output.queue.wants(&message)) {
            while !output.tell_losses(self.patient, loss) && Instant::now() < until {
                std::thread::sleep(LOOK);
            }
            while !output.queue.send(Arc::clone(&message)) && Instant::now() < until {
                std::thread::sleep(LOOK);
            }
        }
    }

    /// Outputs that have ended by themselves get nothing any more.
    fn bury(&mut self) {
        let main = self.main;
        self.all.retain(|output| {
            // Whoever waits for the main one's end is told of it: nobody need look at each message.
            if Some(output.health.name()) == main {
                return true;
            }
            let ended = output.queue.closed();
            if let Some(ended) = &ended {
                output.health.fails(ended, "and nothing more is told there");
            }
            ended.is_none()
        });
    }

    fn main(&self) -> Option<&Output> {
        self.all.iter().find(|output| Some(output.health.name()) == self.main)
    }

    /// Whether the main output has ended by itself: its reader went away, or it failed.
    #[must_use]
    pub fn is_over(&self) -> bool {
        self.main().is_some_and(|output| output.queue.closed().is_some())
    }

    /// Waits for the main output to end by itself.
    pub async fn ended(&self) -> Arc<Closed> {
        match self.main() {
            Some(output) => output.queue.ended().await,
            None => std::future::pending().await,
        }
    }

    /// Lets all write what waits. How the main one ended, if it did so by itself.
    #[must_use]
    pub fn finish(mut self) -> Option<Arc<Closed>> {
        let until = Instant::now() + LAST_WORDS;
        // All at once: none waits for another.
        for output in &mut self.all {
            output.queue.close();
        }
        for output in &mut self.all {
            let patience = (!self.patient).then(|| until.saturating_duration_since(Instant::now()).max(LOOK));
            if !output.queue.finish(patience) {
                say!(
                    "{}: took nothing for {} s: what still waited is dropped.",
                    output.health.name(),
                    LAST_WORDS.as_secs()
                );
            }
        }
        self.main().and_then(|output| output.queue.closed())
    }
}

impl Output {
    /// `false`: there is no room, so it is dropped and counted.
    fn send(&mut self, message: &Arc<Message>, loss: &mut dyn TellLoss) -> bool {
        let behind = self.untold.contains_key(OUTPUT);
        let caught_up = self.tell_losses(false, loss);
        if behind && caught_up {
            say!("{}: has caught up; it is told how much it missed.", self.health.name());
        }
        if caught_up && self.queue.send(Arc::clone(message)) {
            return true;
        }
        if !behind {
            say!("{}: is too slow: messages are being dropped.", self.health.name());
        }
        self.health.lost(1);
        self.note(OUTPUT, &BTreeMap::from([("message", 1)]));
        false
    }

    fn note(&mut self, place: &'static str, counts: &Counts) {
        let untold = self.untold.entry(place).or_default();
        for (kind, count) in counts {
            let sum = untold.entry(kind).or_default();
            *sum = sum.saturating_add(*count);
        }
    }

    /// Tells of losses as far as there is room. `false`: some are still untold.
    fn tell_losses(&mut self, patient: bool, loss: &mut dyn TellLoss) -> bool {
        while let Some((place, counts)) = self.untold.pop_first() {
            let message = loss.message(place, counts.clone());
            if !self.queue.wants(&message) {
                continue;
            }
            if !self.queue.offer(Arc::new(message), patient) {
                self.untold.insert(place, counts);
                return false;
            }
            loss.told();
        }
        true
    }
}

#[cfg(test)]
#[path = "outputs_tests.rs"]
mod tests;
