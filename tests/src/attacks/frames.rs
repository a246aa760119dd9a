//! Frames of HTTP/2 as they lie on the wire (RFC 9113), written by hand so that bad ones can be.

/// What a client begins with.
pub(super) const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// Kinds of frames.
pub(super) const DATA: u8 = 0;
/// See [`DATA`].
pub(super) const HEADERS: u8 = 1;
/// See [`DATA`].
pub(super) const PRIORITY: u8 = 2;
/// See [`DATA`].
pub(super) const RST_STREAM: u8 = 3;
/// See [`DATA`].
pub(super) const SETTINGS: u8 = 4;
/// See [`DATA`].
pub(super) const PING: u8 = 6;
/// See [`DATA`].
pub(super) const WINDOW_UPDATE: u8 = 8;
/// See [`DATA`].
pub(super) const CONTINUATION: u8 = 9;

/// The last frame of its stream.
pub(super) const END_STREAM: u8 = 1;
/// The last piece of its headers.
pub(super) const END_HEADERS: u8 = 4;

/// A frame that says that it has so many bytes, whatever it has.
#[must_use]
pub(super) fn claiming(length: u32, kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let [_, length @ ..] = length.to_be_bytes();
    [&length[..], &[kind, flags], &stream.to_be_bytes(), payload].concat()
}

/// A frame.
#[must_use]
pub(super) fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    claiming(payload.len() as u32, kind, flags, stream, payload)
}

/// A header with a name and a value of less than 127 bytes, which the table of the other side does not keep.
#[must_use]
pub(super) fn header(name: &str, value: &str) -> Vec<u8> {
    [&[0, name.len() as u8], name.as_bytes(), &[value.len() as u8], value.as_bytes()].concat()
}

/// The headers of a call of the gRPC method at `path`.
#[must_use]
pub(super) fn call_headers(path: &str) -> Vec<u8> {
    let path = [&[0x04, path.len() as u8], path.as_bytes()].concat();
    let others = [header("content-type", "application/grpc"), header("te", "trailers"), header(":authority", "x")];
    // Of the static table: `:method: POST` and `:scheme: http`. Pseudo headers come first.
    [&[0x83, 0x86], &path[..], &others[2], &others[0], &others[1]].concat()
}

/// A call of the method at `path`, without any content yet.
#[must_use]
pub(super) fn call(stream: u32, path: &str) -> Vec<u8> {
    frame(HEADERS, END_HEADERS, stream, &call_headers(path))
}

/// Headers that are short on the wire and long once decoded: one of 3.9 KB that the other side's table keeps, named
/// again and again by one byte.
#[must_use]
pub(super) fn bomb(times: usize) -> Vec<u8> {
    let value = vec![b'a'; 3900];
    // A length of 127 and more is written in groups of seven bits, the lowest first.
    let rest = value.len() - 127;
    let length = [0x7f, (rest & 0x7f) as u8 | 0x80, (rest >> 7) as u8];
    [&[0x40, 1, b'x'], &length[..], &value, &vec![0x80 | 62; times]].concat()
}
