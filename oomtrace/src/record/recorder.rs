//! A recording in the course of tracing.

use std::{
    cell::Cell,
    fs::File,
    path::{Path, PathBuf},
    sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel},
    thread::{self, JoinHandle},
};

use anyhow::Context as _;

use super::{FileError, Frame, Writer};
use crate::{host::is_pipe, say::say, session::Session};

/// Writes the stream of records to a file, behind a queue of its own.
pub struct Recorder {
    frames: Option<SyncSender<Frame>>,
    thread: Option<JoinHandle<Result<(), FileError>>>,
    path: PathBuf,
    refused: Cell<u64>,
}

impl Recorder {
    /// Frames that wait at the most, of about 360 bytes each.
    const CAPACITY: usize = 8192;

    /// Starts the writer of a file that [`create`] made.
    pub fn start(path: PathBuf, file: File, session: &Session) -> anyhow::Result<Self> {
        let mut writer =
            Writer::new(file, session).with_context(|| format!("{} cannot be written to", path.display()))?;
        let (frames, queue): (SyncSender<Frame>, Receiver<Frame>) = sync_channel(Self::CAPACITY);
        let name = path.clone();
        let thread = thread::Builder::new()
            .name("record".to_owned())
            .stack_size(256 * 1024)
            .spawn(move || {
                while let Ok(frame) = queue.recv() {
                    if let Err(error) = writer.write(&frame) {
                        let name = name.display();
                        say!("{name} cannot be written to any more: {error}. Tracing goes on without it.");
                        return Err(error);
                    }
                }
                Ok(())
            })
            .context("The recorder's thread cannot be started")?;
        Ok(Self { frames: Some(frames), thread: Some(thread), path, refused: Cell::new(0) })
    }

    /// Hands a frame over. One that finds no room, or no writer, is counted.
    pub fn send(&self, frame: Frame) {
        if let Some(frames) = &self.frames
            && let Err(TrySendError::Full(_) | TrySendError::Disconnected(_)) = frames.try_send(frame)
        {
            self.refused.set(self.refused.get() + 1);
        }
    }

    /// Writes what waits, and says what went wrong.
    pub fn finish(&mut self) -> anyhow::Result<()> {
        self.frames = None;
        let path = self.path.display();
        let result = self.thread.take().map(JoinHandle::join);
        match result {
            Some(Ok(Err(error))) => anyhow::bail!(
                "{path} is incomplete: {error}. {} records came after that and are not in it.",
                self.refused.get()
            ),
            Some(Err(_)) => anyhow::bail!("{path} is incomplete: its writer failed"),
            Some(Ok(Ok(()))) | None if self.refused.get() > 0 => {
                anyhow::bail!(
                    "{path} is incomplete: {} records came faster than they could be written",
                    self.refused.get()
                )
            }
            Some(Ok(Ok(()))) | None => Ok(()),
        }
    }
}

/// Makes the file of a recording.
pub fn create(path: &Path) -> anyhow::Result<(PathBuf, File)> {
    anyhow::ensure!(!is_pipe(path), "The record file {} is a pipe: name a file", path.display());
    let file = File::create(path)
        .with_context(|| format!("The record file {} cannot be created", path.display()))?;
    Ok((path.to_owned(), file))
}
