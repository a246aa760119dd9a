//! Names the blocks of a file while it is written, on a thread of its own: nobody has to read all of it again for that.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread::{Builder, JoinHandle};

use broadsweep_common::blob::{BLOCK_BYTES, Manifest};
use broadsweep_common::ids::Digest;

use super::StoreError;

/// Pieces that wait to be named, of a block each where much is written.
const WAITING_MAX: usize = 4;

/// Some bytes of a file, and where they lie in it.
type Piece = (Vec<u8>, u64);

/// The names of the blocks that were written whole, by their index.
type Names = Vec<Option<Digest>>;

/// The names of a file's blocks, so far. Its thread ends with it.
pub(super) struct Naming {
    /// Until nothing more is written.
    pieces: Option<SyncSender<Piece>>,
    thread: Option<JoinHandle<Names>>,
}

impl Naming {
    /// Begins to name what will be written.
    ///
    /// # Errors
    /// What the system said: there may be no thread to be had.
    pub(super) fn begin() -> io::Result<Self> {
        let (pieces, coming) = sync_channel(WAITING_MAX);
        let thread = Builder::new().name("block names".to_owned()).spawn(move || name(&coming))?;
        Ok(Self { pieces: Some(pieces), thread: Some(thread) })
    }

    /// These bytes were written at their place.
    pub(super) fn note(&self, bytes: Vec<u8>, start: u64) {
        // A thread that has panicked is noticed at the end.
        let _ = self.pieces.as_ref().map(|pieces| pieces.send((bytes, start)));
    }

    /// The manifest of a file that has so many bytes, all of them noted here. Few blocks are read again: where pieces met
    /// that were written apart.
    ///
    /// # Errors
    /// What the system said when it was to read.
    pub(super) fn manifest(mut self, file: &File, bytes: u64) -> io::Result<Result<Manifest, StoreError>> {
        let mut names = self.stop().ok_or_else(|| io::Error::other("the thread that names its blocks panicked"))?;
        names.resize(bytes.div_ceil(BLOCK_BYTES as u64) as usize, None);
        let blocks = (0..bytes).step_by(BLOCK_BYTES).zip(names).map(|(start, name)| {
            let length = (bytes - start).min(BLOCK_BYTES as u64) as usize;
            if let Some(name) = name.filter(|_| length == BLOCK_BYTES) {
                return Ok(name);
            }
            let mut block = vec![0; length];
            file.read_exact_at(&mut block, start)?;
            Ok(Digest::of(&block))
        });
        let blocks = blocks.collect::<io::Result<_>>()?;
        Ok(Manifest::checked(bytes, blocks).map_err(StoreError::from))
    }

    /// Waits for the names of all that was noted.
    fn stop(&mut self) -> Option<Names> {
        self.pieces = None;
        self.thread.take()?.join().ok()
    }
}

impl Drop for Naming {
    fn drop(&mut self) {
        self.stop();
    }
}

fn name(pieces: &Receiver<Piece>) -> Names {
    let mut names = Names::new();
    while let Ok((bytes, start)) = pieces.recv() {
        let block_bytes = BLOCK_BYTES as u64;
        let touched = (start / block_bytes) as usize..(start + bytes.len() as u64).div_ceil(block_bytes) as usize;
        names.resize(names.len().max(touched.end), None);
        let blocks = start.is_multiple_of(block_bytes).then(|| bytes.chunks(BLOCK_BYTES));
        let whole = blocks.into_iter().flatten().filter(|block| block.len() == BLOCK_BYTES);
        // A block that was written in pieces, or once more in a piece, has no name yet.
        let new = whole.map(|block| Some(Digest::of(block))).chain(std::iter::repeat(None));
        names[touched].iter_mut().zip(new).for_each(|(name, new)| *name = new);
    }
    names
}
