//! `oomtrace replay`

use std::{
    fs::File,
    io::{BufReader, Read, stdin},
};

use anyhow::Context as _;

use super::shown::{Shown, standard_output};
use crate::{
    cli::ReplayArgs,
    incident::Assembler,
    record::{Frame, Reader},
    session::Source,
};

/// Read at once, bytes: some tens of failures or incidents.
const READ_BYTES: usize = 64 * 1024;

/// Shows a recorded stream.
pub fn run(args: &ReplayArgs) -> anyhow::Result<()> {
    let name = args.file.display();
    let file: Box<dyn Read> = if args.file.as_os_str() == "-" {
        Box::new(stdin().lock())
    } else {
        Box::new(File::open(&args.file).with_context(|| format!("{name} cannot be opened"))?)
    };
    let file = BufReader::with_capacity(READ_BYTES, file);
    let (session, mut reader) = Reader::new(file).with_context(|| name.to_string())?;
    let mut assembler = Assembler::new(session, Source::Replay);
    let mut shown = Shown::start(standard_output(args.output, true)?, &args.filter, None, None, None);
    let mut last_offset_ns = 0;
    let end = loop {
        match reader.next_frame() {
            Ok(Some(Frame::Record { wall_clock_offset_ns, bytes })) => {
                last_offset_ns = wall_clock_offset_ns;
                shown.record(&mut assembler, &bytes, 0, wall_clock_offset_ns);
            }
            Ok(Some(Frame::Lost { boot_ns, wall_clock_offset_ns, counts })) => {
                shown.lost(&mut assembler, &counts, boot_ns, wall_clock_offset_ns);
            }
            Ok(None) => break Ok(()),
            Err(error) => break Err(error),
        }
    };
    // What came before any damage is shown all the same.
    let events = assembler.end();
    shown.events(&mut assembler, events, last_offset_ns);
    shown.finish()?;
    end.with_context(|| name.to_string())
}
