//! A bounded queue in front of an output, and the thread behind it that writes.

use std::{
    fmt, io,
    sync::{
        Arc,
        mpsc::{Receiver, RecvTimeoutError, SyncSender, TryRecvError, TrySendError, sync_channel},
    },
    thread,
    time::Duration,
};

use tokio::sync::watch;

use super::{Message, Sink};

/// Messages that wait at the most. An incident is some KiB.
const CAPACITY: usize = 1024;
/// Messages that are taken before what they come to is written, at the most.
const TOGETHER: usize = 256;
/// How long messages gather where nobody waits for each.
const GATHERING: Duration = Duration::from_millis(1);
/// How long the rest may take to be written when tracing ends.
pub const LAST_WORDS: Duration = Duration::from_secs(2);
/// The writer's stack: it formats into buffers on the heap.
const STACK_BYTES: usize = 256 * 1024;

/// How an output came to its end.
#[derive(Debug)]
pub enum Closed {
    /// Its reader went away: no failure.
    BrokenPipe,
    /// It could not be written to.
    Failed(io::Error),
}

impl fmt::Display for Closed {
    fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::BrokenPipe => to.write_str("its reader went away"),
            Self::Failed(error) => write!(to, "it cannot be written to: {error}"),
        }
    }
}

/// See the module.
pub struct Queue {
    messages: Option<SyncSender<Arc<Message>>>,
    wants: fn(&Message) -> bool,
    closed: watch::Receiver<Option<Arc<Closed>>>,
    done: Receiver<()>,
}

impl Queue {
    /// Starts an output on a thread of that name. `patient`: it gives messages a moment to gather, so that on one processor it
    /// does not take turns with their sender at each.
    pub fn start(name: &str, sink: Box<dyn Sink>, patient: bool) -> io::Result<Self> {
        let wants = sink.wants();
        let (messages, queue) = sync_channel(CAPACITY);
        let (close, closed) = watch::channel(None);
        let (finish, done) = sync_channel::<()>(0);
        thread::Builder::new().name(name.to_owned()).stack_size(STACK_BYTES).spawn(move || {
            // Dropped at the end, which is what the queue's owner waits for.
            let _finish = finish;
            if let Err(end) = drain(&queue, sink, patient) {
                // Nobody may be waiting any more.
                let _ = close.send(Some(Arc::new(end)));
            }
        })?;
        Ok(Self { messages: Some(messages), wants, closed, done })
    }

    /// Whether the output has any use for a message.
    #[must_use]
    pub fn wants(&self, message: &Message) -> bool {
        (self.wants)(message)
    }

    /// Hands a message over. `false`: there is no room.
    #[must_use]
    pub fn send(&self, message: Arc<Message>) -> bool {
        let Some(messages) = &self.messages else { return true };
        // An output that has ended says so in `closed`.
        !matches!(messages.try_send(message), Err(TrySendError::Full(_)))
    }

    /// Hands a message over, waiting for room: where nothing has to be read meanwhile.
    pub fn send_waiting(&self, message: Arc<Message>) {
        if let Some(messages) = &self.messages {
            // An output that has ended says so in `closed`.
            let _ = messages.send(message);
        }
    }

    /// Hands a message over, waiting for room if it is `patient`. `false`: there is none.
    #[must_use]
    pub fn offer(&self, message: Arc<Message>, patient: bool) -> bool {
        if patient {
            self.send_waiting(message);
            return true;
        }
        self.send(message)
    }

    /// Waits for the output to end by itself.
    pub async fn ended(&self) -> Arc<Closed> {
        let mut closed = self.closed.clone();
        loop {
            if let Some(end) = closed.borrow_and_update().clone() {
                return end;
            }
            if closed.changed().await.is_err() {
                // The thread is gone without a word: it has nothing more to write.
                std::future::pending::<()>().await;
            }
        }
    }

    /// How the output ended, if it did.
    #[must_use]
    pub fn closed(&self) -> Option<Arc<Closed>> {
        self.closed.borrow().clone()
    }

    /// Nothing more is sent.
    pub fn close(&mut self) {
        self.messages = None;
    }

    /// Lets the output write what waits, as long as `patience` says; `false`: it did not get through.
    pub fn finish(&mut self, patience: Option<Duration>) -> bool {
        self.close();
        match patience {
            None => self.done.recv().is_err(),
            Some(patience) => {
                matches!(self.done.recv_timeout(patience), Err(RecvTimeoutError::Disconnected))
            }
        }
    }
}

/// Hands messages to the sink until no more can come, or it has ended for good.
fn drain(queue: &Receiver<Arc<Message>>, mut sink: Box<dyn Sink>, patient: bool) -> Result<(), Closed> {
    loop {
        let mut next = match queue.try_recv() {
            Ok(message) => Some(message),
            Err(TryRecvError::Disconnected) => break,
            Err(TryRecvError::Empty) => {
                let first = match sink.rest() {
                    None => queue.recv().map_err(|_| RecvTimeoutError::Disconnected),
                    Some(rest) => queue.recv_timeout(rest),
                };
                if patient {
                    thread::sleep(GATHERING);
                }
                match first {
                    Ok(message) => Some(message),
                    Err(RecvTimeoutError::Timeout) => None,
                    Err(RecvTimeoutError::Disconnected) => break,
                }
            }
        };
        let mut taken = 0;
        while let Some(message) = next {
            sink.take(&message)?;
            taken += 1;
            next = if taken < TOGETHER { queue.try_recv().ok() } else { None };
        }
        if taken > 0 {
            sink.flush()?;
        }
    }
    sink.end();
    Ok(())
}
