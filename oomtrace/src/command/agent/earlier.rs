//! What happened while no agent ran: found in kernel logs behind tracing, and told as it is found.

use std::{thread, time::Duration};

use anyhow::Context as _;
use jiff::Timestamp;
use tokio::{
    sync::mpsc::{Receiver, channel},
    time::{Instant, sleep_until},
};

use super::super::trace::give_back;
use crate::{
    agent::recover::{Gap, Logs, Places, Recovered, recover},
    host::Host,
    output::{Message, history::Reader},
    say::say,
};

/// Messages that wait to be told, at the most: there is no hurry.
const WAITING: usize = 16;
/// Its thread parses logs of any form.
const STACK_BYTES: usize = 1024 * 1024;

/// After the last was told, the outputs have it for about as long.
const DELIVERY: Duration = Duration::from_secs(30);

/// See the module.
pub struct Earlier {
    prepared: Option<(Logs, Reader, Host)>,
    messages: Option<Receiver<Message>>,
    /// When what all of it took goes back.
    over: Option<Instant>,
}

impl Earlier {
    /// Opens what is going to be read, while that is allowed.
    pub fn prepare(watched_until: Option<Timestamp>, history: Reader, host: &Host) -> Self {
        let logs = Logs::open(&Places::below("/".as_ref()), watched_until);
        Self { prepared: Some((logs, history, host.clone())), messages: None, over: None }
    }

    /// Begins to read, on a thread of its own.
    pub fn begin(&mut self, armed_boot_ns: u64) -> anyhow::Result<()> {
        let Some((logs, history, host)) = self.prepared.take() else { return Ok(()) };
        let (to, messages) = channel(WAITING);
        let reads = move || {
            let gap = Gap { host, armed_boot_ns };
            let recovered = recover(logs, &gap, &history, &mut |message| to.blocking_send(message).is_ok());
            said(&recovered);
        };
        thread::Builder::new()
            .name("earlier".to_owned())
            .stack_size(STACK_BYTES)
            .spawn(reads)
            .context("The thread that looks for earlier incidents cannot be started")?;
        self.messages = Some(messages);
        Ok(())
    }
}

/// The next that was found; never, once all has been.
pub async fn next(earlier: &mut Option<Earlier>) -> Message {
    if let Some(earlier) = earlier {
        if let Some(messages) = &mut earlier.messages {
            if let Some(message) = messages.recv().await {
                return message;
            }
            earlier.messages = None;
            earlier.over = Some(Instant::now() + DELIVERY);
        }
        if let Some(over) = earlier.over {
            sleep_until(over).await;
            // Logs are large, and what of them is told is small.
            give_back();
        }
        earlier.over = None;
    }
    std::future::pending().await
}

fn said(recovered: &Recovered) {
    for why in &recovered.unread {
        say!("looking for earlier incidents: {why}.");
    }
    say!(
        "recovered {} incidents and {} other events of the time when no agent ran; {} were known.",
        recovered.incidents,
        recovered.others,
        recovered.known
    );
}
