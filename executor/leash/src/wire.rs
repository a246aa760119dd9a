//! What an executor and its supervisors say to each other, and how: messages with their length in front, on a pair of
//! Unix sockets, with descriptors beside the length.

use std::io::{self, IoSlice, IoSliceMut, Read, Write};
use std::mem::MaybeUninit;
use std::os::fd::{BorrowedFd, OwnedFd};
use std::os::unix::net::UnixStream;

use broadsweep_common::codec;
use rustix::io::retry_on_intr;
use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer, SendAncillaryMessage, SendFlags,
    recvmsg, sendmsg,
};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::ended::Ended;
use crate::isolation::{Allowed, Isolation};
use crate::order::Order;

/// What an executor says.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) enum Request {
    /// The first message. Where there are no PID namespaces, programs bear the mark in their environment.
    Prepare { allowed: Allowed, mark: String },
    /// Comes with the program's output, then what it reads from and writes to if it has worker pipes.
    Start(Box<Order>),
    /// SIGTERM now; SIGKILL after so long.
    Stop { grace_ms: u64 },
}

/// What a supervisor says.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) enum Reply {
    Prepared(Isolation),
    Ended(Ended),
}

/// Bytes of one message. The kernel takes no more than 6 MiB of arguments and environment.
pub(crate) const MESSAGE_BYTES_MAX: usize = 8 << 20;
/// Descriptors of one message.
const DESCRIPTORS_MAX: usize = 3;

fn invalid(why: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, why)
}

/// Sends one message.
pub(crate) fn send(
    mut socket: &UnixStream,
    message: &impl Serialize,
    descriptors: &[BorrowedFd<'_>],
) -> io::Result<()> {
    let bytes = codec::encode(message).map_err(invalid)?;
    if bytes.len() > MESSAGE_BYTES_MAX {
        return Err(invalid(format!("{} bytes are more than a message may have", bytes.len())));
    }
    let length = u32::try_from(bytes.len()).map_err(invalid)?.to_le_bytes();
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(DESCRIPTORS_MAX))];
    let mut beside = SendAncillaryBuffer::new(&mut space);
    if !descriptors.is_empty() && !beside.push(SendAncillaryMessage::ScmRights(descriptors)) {
        return Err(invalid("too many descriptors"));
    }
    let sent = retry_on_intr(|| sendmsg(socket, &[IoSlice::new(&length)], &mut beside, SendFlags::NOSIGNAL))?;
    socket.write_all(&length[sent..])?;
    socket.write_all(&bytes)
}

/// Receives one message. `UnexpectedEof` says that the other side is gone.
pub(crate) fn receive<M: DeserializeOwned>(mut socket: &UnixStream) -> io::Result<(M, Vec<OwnedFd>)> {
    let mut length = [0; 4];
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(DESCRIPTORS_MAX))];
    let mut beside = RecvAncillaryBuffer::new(&mut space);
    let received =
        retry_on_intr(|| recvmsg(socket, &mut [IoSliceMut::new(&mut length)], &mut beside, RecvFlags::CMSG_CLOEXEC))?;
    if received.bytes == 0 {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    let mut descriptors = Vec::new();
    for message in beside.drain() {
        if let RecvAncillaryMessage::ScmRights(passed) = message {
            descriptors.extend(passed);
        }
    }
    socket.read_exact(&mut length[received.bytes..])?;
    let length = u32::from_le_bytes(length) as usize;
    if length > MESSAGE_BYTES_MAX {
        return Err(invalid(format!("{length} bytes are more than a message may have")));
    }
    let mut bytes = vec![0; length];
    socket.read_exact(&mut bytes)?;
    Ok((codec::decode(&bytes).map_err(invalid)?, descriptors))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::fd::AsFd;

    #[test]
    fn messages_and_descriptors_arrive_as_they_were() {
        let (here, there) = UnixStream::pair().unwrap();
        let (read, write) = rustix::pipe::pipe().unwrap();
        let order = Order { program: "a b\n${}%".into(), has_worker_pipes: true, ..Order::default() };
        send(&here, &Request::Start(Box::new(order)), &[write.as_fd()]).unwrap();
        send(&here, &Request::Stop { grace_ms: 7 }, &[]).unwrap();
        let (message, descriptors) = receive::<Request>(&there).unwrap();
        assert!(matches!(message, Request::Start(order) if order.program == "a b\n${}%" && order.has_worker_pipes));
        rustix::io::write(&descriptors[0], b"x").unwrap();
        assert_eq!(rustix::io::read(&read, &mut [0; 2]).unwrap(), 1);
        assert!(
            matches!(receive::<Request>(&there).unwrap(), (Request::Stop { grace_ms: 7 }, none) if none.is_empty())
        );
        drop(here);
        assert_eq!(receive::<Request>(&there).unwrap_err().kind(), io::ErrorKind::UnexpectedEof);
    }

    #[test]
    fn a_forged_length_takes_no_memory() {
        let (mut here, there) = UnixStream::pair().unwrap();
        here.write_all(&u32::MAX.to_le_bytes()).unwrap();
        assert_eq!(receive::<Reply>(&there).unwrap_err().kind(), io::ErrorKind::InvalidData);
    }
}
