//! A bounded queue in front of an output, and the thread behind it that writes.

use std::{
    io::{self, Write},
    sync::{
        Arc,
        mpsc::{Receiver, SyncSender, TrySendError, sync_channel},
    },
    thread,
    time::Duration,
};

use tokio::sync::watch;

use super::{Format, Message};

/// Messages that wait at the most. An incident is some KiB.
const CAPACITY: usize = 1024;
/// What is written at once, at the most, but for what one message has more, bytes.
const TOGETHER_BYTES: usize = 64 * 1024;
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

/// See the module.
pub struct Queue {
    messages: Option<SyncSender<Message>>,
    shows: fn(&Message) -> bool,
    closed: watch::Receiver<Option<Arc<Closed>>>,
    done: Receiver<()>,
}

impl Queue {
    /// Starts an output that formats messages and writes them at once, those that wait already together. `patient`: it gives
    /// them a moment to gather, so that on one processor it does not take turns with their sender at each.
    pub fn start(
        mut format: Box<dyn Format>,
        mut to: Box<dyn Write + Send>,
        patient: bool,
    ) -> io::Result<Self> {
        let shows = format.shows();
        let (messages, queue) = sync_channel::<Message>(CAPACITY);
        let (close, closed) = watch::channel(None);
        let (finish, done) = sync_channel::<()>(0);
        thread::Builder::new().name("output".to_owned()).stack_size(STACK_BYTES).spawn(move || {
            // Dropped at the end, which is what the queue's owner waits for.
            let _finish = finish;
            let mut bytes = Vec::with_capacity(16 * 1024);
            loop {
                let Ok(message) = queue.try_recv().or_else(|_| {
                    let first = queue.recv();
                    if patient {
                        thread::sleep(GATHERING);
                    }
                    first
                }) else {
                    return;
                };
                bytes.clear();
                format.format(&message, &mut bytes);
                while bytes.len() < TOGETHER_BYTES
                    && let Ok(message) = queue.try_recv()
                {
                    format.format(&message, &mut bytes);
                }
                if bytes.is_empty() {
                    continue;
                }
                if let Err(error) = to.write_all(&bytes).and_then(|()| to.flush()) {
                    let end = match error.kind() {
                        io::ErrorKind::BrokenPipe => Closed::BrokenPipe,
                        _ => Closed::Failed(error),
                    };
                    // Nobody may be waiting any more.
                    let _ = close.send(Some(Arc::new(end)));
                    return;
                }
            }
        })?;
        Ok(Self { messages: Some(messages), shows, closed, done })
    }

    /// Whether a message has any bytes in this output's form.
    #[must_use]
    pub fn shows(&self, message: &Message) -> bool {
        (self.shows)(message)
    }

    /// Hands a message over. `false`: there is no room.
    #[must_use]
    pub fn send(&self, message: Message) -> bool {
        let Some(messages) = &self.messages else { return true };
        // An output that has ended says so in `closed`.
        !matches!(messages.try_send(message), Err(TrySendError::Full(_)))
    }

    /// Hands a message over, waiting for room: where nothing has to be read meanwhile.
    pub fn send_waiting(&self, message: Message) {
        if let Some(messages) = &self.messages {
            // An output that has ended says so in `closed`.
            let _ = messages.send(message);
        }
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

    /// Lets the output write what waits, as long as `patience` says; `false`: it did not get through.
    pub fn finish(&mut self, patience: Option<Duration>) -> bool {
        self.messages = None;
        match patience {
            None => self.done.recv().is_err(),
            Some(patience) => {
                matches!(
                    self.done.recv_timeout(patience),
                    Err(std::sync::mpsc::RecvTimeoutError::Disconnected)
                )
            }
        }
    }

    /// [`Self::finish`] for the end of tracing.
    pub fn finish_soon(&mut self) -> bool {
        self.finish(Some(LAST_WORDS))
    }
}
