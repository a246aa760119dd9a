//! Who may speak: identity files, certificates, and the folder of an authority.
//!
//! The seeds are made anew each time, with keys of their own: no key stands in the repository.

use std::fs;
use std::path::PathBuf;
use std::time::{Duration, SystemTime};

use broadsweep_identity::Role;
use broadsweep_identity::folder::ClusterFolder;
use broadsweep_identity::identity::{Identity, owner_of, role_of};
use broadsweep_identity::tls::{client_config, peer_verifier, server_config};
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;

use super::{file, folder};

/// Separates the two files of an authority in an input.
const SEPARATOR: &str = "\n====\n";

/// An identity file, to the point where connections can be made with it.
pub(super) fn identity(bytes: &[u8]) {
    if let Ok(identity) = Identity::parse(bytes) {
        drop((server_config(&identity), client_config(&identity), peer_verifier(&identity)));
    }
}

/// A certificate, as it comes in a handshake.
pub(super) fn certificate(bytes: &[u8]) {
    let certificate = CertificateDer::from(bytes);
    let owner = owner_of(&certificate);
    assert!(owner.is_none() || role_of(&certificate).is_some(), "its owner is nothing");
}

/// The authority's file and the list of what it made; what can be opened can make one more.
pub(super) fn authority(bytes: &[u8]) {
    let text = String::from_utf8_lossy(bytes);
    let (authority, issued) = text.split_once(SEPARATOR).unwrap_or((&text, ""));
    file("authority.pem", authority.as_bytes());
    file("issued", issued.as_bytes());
    if let Ok(mut cluster) = ClusterFolder::open(folder()) {
        fs::create_dir_all(folder().join("nodes")).unwrap();
        drop(cluster.add(Role::Executor, "node-9", SystemTime::UNIX_EPOCH + Duration::from_hours(24 * 365 * 50)));
    }
}

/// A cluster that was just made, with one of its nodes revoked.
fn cluster() -> (ClusterFolder, PathBuf) {
    let path = folder().join("cluster");
    let _ = fs::remove_dir_all(&path); // of the seeds before
    let now = SystemTime::now();
    let mut cluster = ClusterFolder::init(&path, &["a", "b"].map(str::to_owned), now).unwrap();
    cluster.revoke("b", now).unwrap();
    (cluster, path)
}

pub(super) fn identity_seeds() -> Vec<Vec<u8>> {
    let (cluster, _) = cluster();
    [(Role::Driver, "driver"), (Role::Executor, "a")]
        .map(|(role, name)| fs::read(cluster.file_of(role, name)).unwrap())
        .into()
}

pub(super) fn certificate_seeds() -> Vec<Vec<u8>> {
    let of = |pem: &Vec<u8>| CertificateDer::from_pem_slice(pem).unwrap().as_ref().to_vec();
    identity_seeds().iter().map(of).collect()
}

pub(super) fn authority_seeds() -> Vec<Vec<u8>> {
    let (_, path) = cluster();
    let files = ["authority.pem", "issued"].map(|name| fs::read_to_string(path.join(name)).unwrap());
    vec![files.join(SEPARATOR).into_bytes()]
}
