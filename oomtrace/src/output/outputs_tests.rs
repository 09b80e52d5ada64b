//! Several outputs at once.

use std::{
    sync::{
        Arc, LockResult, Mutex, MutexGuard,
        atomic::{AtomicBool, Ordering},
        mpsc::{Receiver, Sender, channel},
    },
    thread::sleep,
    time::{Duration, Instant},
};

use super::*;
use crate::{
    explain::tests::memcg,
    incident::{Event, Loss, LossTag, SchemaName},
};

/// What lets an output take messages, or not.
#[derive(Default)]
struct Gate {
    mutex: Mutex<()>,
    /// Whether a message has come as far as to it.
    reached: AtomicBool,
}

impl Gate {
    /// Shuts it.
    fn lock(&self) -> LockResult<MutexGuard<'_, ()>> {
        self.mutex.lock()
    }

    /// Waits until a message has come as far as to it: it is in the queue no more.
    fn wait_reached(&self) {
        let until = Instant::now() + SOON;
        while !self.reached.load(Ordering::SeqCst) && Instant::now() < until {
            sleep(Duration::from_millis(1));
        }
    }
}

/// Keeps what it takes, and takes nothing while its gate is shut.
struct Gated {
    gate: Arc<Gate>,
    taken: Sender<Arc<Message>>,
    /// After so many messages it ends for good.
    lives: Option<usize>,
}

impl Sink for Gated {
    fn wants(&self) -> fn(&Message) -> bool {
        |_| true
    }

    fn take(&mut self, message: &Arc<Message>) -> Result<(), Closed> {
        self.gate.reached.store(true, Ordering::SeqCst);
        drop(self.gate.lock().unwrap());
        if let Some(lives) = &mut self.lives {
            if *lives == 0 {
                return Err(Closed::BrokenPipe);
            }
            *lives -= 1;
        }
        self.taken.send(Arc::clone(message)).unwrap();
        Ok(())
    }

    fn flush(&mut self) -> Result<(), Closed> {
        Ok(())
    }
}

fn gated(lives: Option<usize>) -> (Box<Gated>, Arc<Gate>, Receiver<Arc<Message>>) {
    let gate = Arc::new(Gate::default());
    let (taken, receiver) = channel();
    (Box::new(Gated { gate: Arc::clone(&gate), taken, lives }), gate, receiver)
}

/// Numbers its messages.
#[derive(Default)]
struct Told(u64);

impl TellLoss for Told {
    fn message(&self, place: &'static str, counts: Counts) -> Message {
        let common = memcg().common;
        Message::Loss(Loss { schema: SchemaName::V1, r#type: LossTag::Loss, common, place, counts })
    }

    fn told(&mut self) {
        self.0 += 1;
    }
}

fn kill() -> Message {
    Message::Incident(Event::Closed(Box::new(memcg())))
}

fn lost(message: &Message) -> Option<u64> {
    match message {
        Message::Loss(loss) => Some(loss.counts.values().sum()),
        _ => None,
    }
}

const SOON: Duration = Duration::from_secs(10);

/// Guards the promise that each output is on its own: one that stands still delays neither the sender nor the other, what it missed
/// is counted by its health and told to it alone once it goes on, and all adds up.
#[test]
fn one_that_stands_still_costs_the_others_nothing() {
    let (slow, gate, slow_got) = gated(None);
    let (quick, _, quick_got) = gated(None);
    let (slow_health, quick_health) = (Health::new("slow"), Health::new("quick"));
    let mut outputs = Outputs::new(false);
    outputs.add(Arc::clone(&slow_health), slow).unwrap();
    outputs.add(Arc::clone(&quick_health), quick).unwrap();
    let mut told = Told::default();
    let shut = gate.lock().unwrap();
    let begun = Instant::now();
    let sent = 3000;
    for number in 1..=sent {
        let sent = outputs.send(kill(), &mut told);
        assert!(sent.told, "the quick one takes all");
        // As its thread comes to it: what is sent faster than that waits in its queue.
        if number % 500 == 0 {
            for _ in 0..500 {
                quick_got.recv_timeout(SOON).unwrap();
            }
        }
    }
    assert!(begun.elapsed() < SOON);
    let missed = slow_health.messages_lost();
    assert!(missed > 0 && quick_health.messages_lost() == 0);
    assert_eq!(told.0, 0, "nobody has been told yet");
    drop(shut);
    // What waited, then how much it missed, then what came after.
    let (mut kills, mut missing) = (0, 0);
    let until = Instant::now() + SOON;
    while missing == 0 && Instant::now() < until {
        let _ = outputs.send(kill(), &mut told);
        quick_got.recv_timeout(SOON).unwrap();
        while let Ok(message) = slow_got.recv_timeout(Duration::from_millis(20)) {
            match lost(&message) {
                Some(count) => missing += count,
                None => kills += 1,
            }
        }
    }
    assert_eq!(missing, slow_health.messages_lost());
    assert_eq!(told.0, 1);
    assert!(kills + missing > sent);
    assert!(quick_got.try_recv().is_err(), "the quick one missed nothing, and is told of no loss");
}

/// Guards that losses elsewhere are told to all, as one message with one number.
#[test]
fn losses_elsewhere_are_told_to_all() {
    let (one, _, one_got) = gated(None);
    let (other, _, other_got) = gated(None);
    let mut outputs = Outputs::new(false);
    outputs.add(Health::new("one"), one).unwrap();
    outputs.add(Health::new("other"), other).unwrap();
    let mut told = Told::default();
    outputs.lost("ring", &BTreeMap::from([("mark", 3)]), &mut told);
    let [one, other] = [one_got, other_got].map(|got| got.recv_timeout(SOON).unwrap());
    assert_eq!(lost(&one), Some(3));
    assert!(Arc::ptr_eq(&one, &other));
    assert_eq!(told.0, 1);
}

/// Guards that an output which has not been told of all before gets such a loss behind that, and the others none of it.
#[test]
fn losses_elsewhere_come_behind_those_that_are_untold() {
    let (slow, gate, slow_got) = gated(None);
    let (quick, _, quick_got) = gated(None);
    let mut outputs = Outputs::new(false);
    let slow_health = Health::new("slow");
    outputs.add(Arc::clone(&slow_health), slow).unwrap();
    let mut told = Told::default();
    let shut = gate.lock().unwrap();
    // From then on no room comes by itself.
    let _ = outputs.send(kill(), &mut told);
    gate.wait_reached();
    while outputs.send(kill(), &mut told).dropped == 0 {}
    outputs.add(Health::new("quick"), quick).unwrap();
    outputs.lost("ring", &BTreeMap::from([("mark", 3)]), &mut told);
    assert_eq!(lost(&quick_got.recv_timeout(SOON).unwrap()), Some(3));
    assert_eq!(told.0, 1);
    drop(shut);
    let until = Instant::now() + SOON;
    let mut losses = Vec::new();
    while losses.len() < 2 && Instant::now() < until {
        let _ = outputs.send(kill(), &mut told);
        while let Ok(message) = slow_got.recv_timeout(Duration::from_millis(20)) {
            losses.extend(lost(&message));
        }
    }
    losses.sort_unstable();
    // One was dropped before the gate was opened, and perhaps the first ones after that.
    let mut missed = [slow_health.messages_lost(), 3];
    missed.sort_unstable();
    assert_eq!(losses, missed);
    assert_eq!(told.0, 3);
    assert!(quick_got.try_iter().all(|message| lost(&message).is_none()));
}

/// Guards that an output which ends for good is no more than that, unless it is what tracing is for.
#[test]
fn an_output_that_ends_is_buried_and_the_main_one_is_the_end() {
    let (mortal, _, mortal_got) = gated(Some(1));
    let (main, _, main_got) = gated(Some(2));
    let health = Health::new("mortal");
    let mut outputs = Outputs::new(false);
    outputs.add(Arc::clone(&health), mortal).unwrap();
    outputs.add_main(Health::new("main"), main).unwrap();
    let mut told = Told::default();
    let until = Instant::now() + SOON;
    while health.failing().is_none() && Instant::now() < until {
        assert!(outputs.send(kill(), &mut told).told);
        sleep(Duration::from_millis(5));
    }
    assert!(health.failing().unwrap().contains("went away"));
    assert_eq!(mortal_got.try_iter().count(), 1);
    while !outputs.is_over() && Instant::now() < until {
        let _ = outputs.send(kill(), &mut told);
        sleep(Duration::from_millis(5));
    }
    assert_eq!(main_got.try_iter().count(), 2);
    assert!(matches!(outputs.finish().as_deref(), Some(Closed::BrokenPipe)));
}

/// Guards that failing and working again are said once each, and every failure is counted.
#[test]
fn health_knows_its_failures() {
    let health = Health::new("file");
    health.works();
    assert_eq!((health.failures(), health.failing()), (0, None));
    health.fails("the disk is full", "and so lines wait in memory");
    health.fails("the disk is still full", "and so lines wait in memory");
    assert_eq!((health.failures(), health.failing().as_deref()), (2, Some("the disk is still full")));
    health.works();
    assert_eq!((health.failures(), health.failing()), (2, None));
}
