//! Counts the frames that a peer sends, and says when it is a flood. The bytes are those that HTTP/2 will read; only the
//! heads of frames are looked at.
//!
//! The HTTP/2 library bounds what frames make it keep, and most of what they make it compute. But what it lets through,
//! each peer could have as often as its link carries it: a ping costs as much as its answer. Here each kind of frame has
//! its number a second, far above what good peers send, and who sends more is named.

use std::fmt;
use std::time::Duration;

use tokio::time::Instant;

use super::FIRST_CALL_MAX;
use crate::FRAME_BYTES;

/// What a client's side of every HTTP/2 connection begins with.
const PREFACE: &[u8; 24] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
/// Bytes of the head of a frame.
const HEAD_BYTES: usize = 9;
/// Numbers are allowed per this time.
const SECOND: Duration = Duration::from_secs(1);

const DATA: u8 = 0;
const HEADERS: u8 = 1;
const PRIORITY: u8 = 2;
const RST_STREAM: u8 = 3;
const SETTINGS: u8 = 4;
const PUSH_PROMISE: u8 = 5;
const PING: u8 = 6;
const GOAWAY: u8 = 7;
const WINDOW_UPDATE: u8 = 8;
const CONTINUATION: u8 = 9;
const END_STREAM: u8 = 1;
const END_HEADERS: u8 = 4;

/// Which side the peer is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    /// It dialled, so it begins with the preface and soon makes a call.
    Client,
    /// It was dialled.
    Server,
}

/// Kinds of frames that are counted together.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A call begins, or ends.
    Headers,
    /// A call is taken back.
    Reset,
    /// To be answered.
    Ping,
    /// To be acknowledged.
    Settings,
    /// More headers of a call.
    Continuation,
    /// More may be sent.
    WindowUpdate,
    /// Without content, and not the end of anything.
    Empty,
    /// Of no use here: priorities, promises, farewells, and what HTTP/2 does not know.
    Useless,
    /// A piece of a message.
    Data,
}

/// What a peer does that no good one would.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Flood {
    /// Too many of one kind in a second.
    TooMany(Kind),
    /// A frame is too long: it has so many bytes.
    TooLong(usize),
    /// It dialled, and speaks something else.
    NotHttp2,
    /// It dialled, and makes no call.
    NoCall,
    /// The headers of a call never end.
    SlowHeaders,
}

impl Kind {
    const ALL: usize = 9;

    fn of(kind: u8, flags: u8, length: usize) -> Self {
        match kind {
            DATA if length == 0 && flags & END_STREAM == 0 => Self::Empty,
            DATA => Self::Data,
            HEADERS => Self::Headers,
            RST_STREAM => Self::Reset,
            SETTINGS => Self::Settings,
            PING => Self::Ping,
            WINDOW_UPDATE => Self::WindowUpdate,
            CONTINUATION => Self::Continuation,
            PRIORITY | PUSH_PROMISE | GOAWAY => Self::Useless,
            _ => Self::Useless,
        }
    }

    /// Frames a second that are allowed, of which good peers send at most a tenth.
    fn allowed(self) -> u32 {
        match self {
            // A block a call, or a few small calls a trial.
            Self::Headers => 4000,
            Self::Reset => 400,
            // One every few seconds, and one for each that this side sends.
            Self::Ping | Self::Settings => 50,
            Self::Continuation | Self::Empty | Self::Useless => 100,
            Self::WindowUpdate => 10_000,
            // Messages of a session may be short; there are as many as there are attempts and epochs.
            Self::Data => 50_000,
        }
    }

    fn name(self) -> &'static str {
        match self {
            Self::Headers => "calls",
            Self::Reset => "calls taken back",
            Self::Ping => "pings",
            Self::Settings => "settings",
            Self::Continuation => "pieces of headers",
            Self::WindowUpdate => "window updates",
            Self::Empty => "empty frames",
            Self::Useless => "frames of no use",
            Self::Data => "frames",
        }
    }
}

impl fmt::Display for Flood {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::TooMany(kind) => {
                write!(f, "it floods: more than {} {} in a second", kind.allowed(), kind.name())
            }
            Self::TooLong(bytes) => {
                write!(f, "it sent a frame of {bytes} bytes, and at most {FRAME_BYTES} are allowed")
            }
            Self::NotHttp2 => write!(f, "it does not speak HTTP/2"),
            Self::NoCall => write!(f, "it made no call within {} s", FIRST_CALL_MAX.as_secs()),
            Self::SlowHeaders => {
                write!(f, "the headers of a call did not end within {} s", FIRST_CALL_MAX.as_secs())
            }
        }
    }
}

impl std::error::Error for Flood {}

/// Where in the peer's bytes the next one lies.
#[derive(Clone, Copy, Debug)]
enum Next {
    Preface { seen: usize },
    Head { seen: usize },
    Payload { left: usize },
}

/// What something that has to come is waited for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Due {
    FirstCall,
    EndOfHeaders,
}

/// The count of what one peer sends.
#[derive(Debug)]
pub struct Meter {
    next: Next,
    head: [u8; HEAD_BYTES],
    second_began: Instant,
    counts: [u32; Kind::ALL],
    due: Option<(Due, Instant)>,
}

impl Meter {
    /// Of a connection that was just made.
    #[must_use]
    pub fn new(side: Side, now: Instant) -> Self {
        let (next, due) = match side {
            Side::Client => (Next::Preface { seen: 0 }, Some((Due::FirstCall, now + FIRST_CALL_MAX))),
            Side::Server => (Next::Head { seen: 0 }, None),
        };
        Self { next, head: [0; HEAD_BYTES], second_began: now, counts: [0; Kind::ALL], due }
    }

    /// Until when the peer has to have said something, if it has to.
    #[must_use]
    pub fn deadline(&self) -> Option<Instant> {
        self.due.map(|(_, deadline)| deadline)
    }

    /// What the peer has done if its deadline passes.
    #[must_use]
    pub fn overdue(&self) -> Flood {
        match self.due {
            Some((Due::EndOfHeaders, _)) => Flood::SlowHeaders,
            Some((Due::FirstCall, _)) | None => Flood::NoCall,
        }
    }

    /// Takes note of what came.
    ///
    /// # Errors
    /// [`Flood`]: the connection has to end.
    pub fn take(&mut self, mut bytes: &[u8], now: Instant) -> Result<(), Flood> {
        if now >= self.second_began + SECOND {
            (self.second_began, self.counts) = (now, [0; Kind::ALL]);
        }
        if self.due.is_some_and(|(_, deadline)| now >= deadline) {
            return Err(self.overdue());
        }
        while let Some((first, rest)) = bytes.split_first() {
            match &mut self.next {
                Next::Preface { seen } => {
                    if PREFACE.get(*seen) != Some(first) {
                        return Err(Flood::NotHttp2);
                    }
                    *seen += 1;
                    if *seen == PREFACE.len() {
                        self.next = Next::Head { seen: 0 };
                    }
                    bytes = rest;
                }
                Next::Head { seen } => {
                    self.head[*seen] = *first;
                    *seen += 1;
                    if *seen == HEAD_BYTES {
                        self.next = Next::Payload { left: self.frame(now)? };
                    }
                    bytes = rest;
                }
                Next::Payload { left } => {
                    let passed = bytes.len().min(*left);
                    *left -= passed;
                    bytes = &bytes[passed..];
                    if *left == 0 {
                        self.next = Next::Head { seen: 0 };
                    }
                }
            }
            // A frame without content is followed by a head.
            if let Next::Payload { left: 0 } = self.next {
                self.next = Next::Head { seen: 0 };
            }
        }
        Ok(())
    }

    /// Counts the frame whose head has come. Returns its length.
    fn frame(&mut self, now: Instant) -> Result<usize, Flood> {
        let [long, middle, short, kind, flags, ..] = self.head;
        let length = u32::from_be_bytes([0, long, middle, short]) as usize;
        if length > FRAME_BYTES as usize {
            return Err(Flood::TooLong(length));
        }
        let counted = Kind::of(kind, flags, length);
        let count = &mut self.counts[counted as usize];
        *count += 1;
        if *count > counted.allowed() {
            return Err(Flood::TooMany(counted));
        }
        if kind == HEADERS || kind == CONTINUATION {
            let ends = flags & END_HEADERS != 0;
            self.due = match self.due {
                _ if ends => None,
                Some((Due::EndOfHeaders, deadline)) => Some((Due::EndOfHeaders, deadline)),
                Some((Due::FirstCall, _)) | None => Some((Due::EndOfHeaders, now + FIRST_CALL_MAX)),
            };
        }
        Ok(length)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frame(kind: u8, flags: u8, payload: usize) -> Vec<u8> {
        let length = u32::try_from(payload).unwrap().to_be_bytes();
        [&length[1..], &[kind, flags, 0, 0, 0, 1], &vec![0; payload]].concat()
    }

    fn fed(side: Side, bytes: &[u8], piece: usize) -> Result<(), Flood> {
        let now = Instant::now();
        let mut meter = Meter::new(side, now);
        bytes.chunks(piece).try_for_each(|piece| meter.take(piece, now))
    }

    #[test]
    fn each_kind_of_frame_has_its_number_a_second_however_the_bytes_come() {
        let kinds = [
            (HEADERS, END_HEADERS, 5, Kind::Headers),
            (RST_STREAM, 0, 4, Kind::Reset),
            (PING, 0, 8, Kind::Ping),
            (SETTINGS, 0, 0, Kind::Settings),
            (CONTINUATION, END_HEADERS, 3, Kind::Continuation),
            (WINDOW_UPDATE, 0, 4, Kind::WindowUpdate),
            (DATA, 0, 0, Kind::Empty),
            (DATA, END_STREAM, 0, Kind::Data),
            (PRIORITY, 0, 5, Kind::Useless),
            (0x77, 0, 1, Kind::Useless),
        ];
        for (kind, flags, payload, counted) in kinds {
            let allowed = frame(kind, flags, payload).repeat(counted.allowed() as usize);
            let beyond = [&allowed[..], &frame(kind, flags, payload)].concat();
            for piece in [1, 7, 9, 4096, usize::MAX] {
                assert_eq!(fed(Side::Server, &allowed, piece), Ok(()), "{counted:?} by {piece}");
                let told = fed(Side::Server, &beyond, piece);
                assert_eq!(told, Err(Flood::TooMany(counted)), "{counted:?} by {piece}");
            }
        }
    }

    #[test]
    fn the_next_second_counts_from_zero() {
        let began = Instant::now();
        let mut meter = Meter::new(Side::Server, began);
        let pings = frame(PING, 0, 8).repeat(Kind::Ping.allowed() as usize);
        meter.take(&pings, began).unwrap();
        meter.take(&pings, began + SECOND).unwrap();
        meter.take(&pings, began + SECOND + SECOND / 2).unwrap_err();
    }

    #[test]
    fn who_dialled_has_to_speak_http2_and_to_make_a_call() {
        assert_eq!(fed(Side::Client, b"GET / HTTP/1.1\r\n", 3), Err(Flood::NotHttp2));
        let began = Instant::now();
        let mut meter = Meter::new(Side::Client, began);
        meter.take(PREFACE, began).unwrap();
        assert_eq!((meter.deadline(), meter.overdue()), (Some(began + FIRST_CALL_MAX), Flood::NoCall));
        meter.take(&frame(HEADERS, END_HEADERS, 9), began + SECOND).unwrap();
        assert_eq!(meter.deadline(), None);
    }

    #[test]
    fn headers_that_never_end_are_cut_off_however_many_pieces_come() {
        let began = Instant::now();
        let mut meter = Meter::new(Side::Server, began);
        meter.take(&frame(HEADERS, 0, 9), began).unwrap();
        for seconds in 1..10 {
            meter.take(&frame(CONTINUATION, 0, 9), began + SECOND * seconds).unwrap();
        }
        assert_eq!(meter.deadline(), Some(began + FIRST_CALL_MAX));
        assert_eq!(meter.take(&frame(CONTINUATION, 0, 9), began + FIRST_CALL_MAX), Err(Flood::SlowHeaders));
    }

    #[test]
    fn a_frame_that_is_too_long_is_known_by_its_head() {
        assert_eq!(fed(Side::Server, &frame(DATA, 0, FRAME_BYTES as usize), 4096), Ok(()));
        let mut head = frame(DATA, 0, 0);
        head[..3].copy_from_slice(&(FRAME_BYTES + 1).to_be_bytes()[1..]);
        assert_eq!(fed(Side::Server, &head, 4096), Err(Flood::TooLong(FRAME_BYTES as usize + 1)));
    }
}
