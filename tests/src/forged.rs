//! Manifests that describe no honest blob.

use broadsweep_common::ids::Digest;
use broadsweep_proto::blocks::Manifest;
use broadsweep_proto::wire;
use bytes::Bytes;

/// A manifest of these blocks that claims so many bytes.
#[must_use]
pub fn forged(bytes: u64, contents: &[&[u8]]) -> Manifest {
    let digests = contents.iter().map(|content| Bytes::copy_from_slice(&Digest::of(content).0));
    Manifest { bytes, blocks: digests.collect() }
}

/// The name of what a manifest describes.
#[must_use]
pub fn name_of(manifest: &Manifest) -> Digest {
    wire::manifest(Some(manifest.clone())).unwrap().digest()
}
