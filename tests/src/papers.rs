//! Identities that a closed cluster does not take, one of each kind.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use broadsweep_identity::Role;
use broadsweep_identity::authority::IDENTITY_LASTS;
use broadsweep_identity::folder::ClusterFolder;

/// Far enough from now that nothing made then is valid.
const YEARS: Duration = IDENTITY_LASTS.saturating_mul(3);

/// A cluster of a driver and two nodes, `good` and `other`, and identities that are none of it.
#[derive(Debug)]
pub struct Papers {
    folder: PathBuf,
    /// The driver's identity.
    pub driver: PathBuf,
    /// The identity of the first node.
    pub good: PathBuf,
    /// The identity of the second one.
    pub other: PathBuf,
}

/// An identity that does not fit.
#[derive(Clone, Debug)]
pub struct Paper {
    /// What is wrong with it.
    pub name: &'static str,
    /// Its file.
    pub path: PathBuf,
}

impl Papers {
    /// Makes all of them in this folder.
    #[must_use]
    pub fn make(folder: &Path) -> Self {
        let nodes = ["good", "other"].map(str::to_owned);
        let now = SystemTime::now();
        let mut cluster = ClusterFolder::init(&folder.join("cluster"), &nodes, now).unwrap();
        let revoked = cluster.add(Role::Executor, "revoked", now).unwrap();
        let kept = folder.join("revoked.pem");
        fs::copy(&revoked, &kept).unwrap();
        cluster.revoke("revoked", now).unwrap();
        ClusterFolder::init(&folder.join("foreign"), &nodes[..1], now).unwrap();
        let node = |name: &str| cluster.file_of(Role::Executor, name);
        let (driver, good, other) = (cluster.file_of(Role::Driver, "driver"), node("good"), node("other"));
        for (name, time) in [("expired", now - YEARS), ("early", now + YEARS)] {
            copied(&folder.join("cluster"), &folder.join(name));
            ClusterFolder::open(&folder.join(name)).unwrap().renew(time).unwrap();
        }
        Self { folder: folder.to_owned(), driver, good, other }
    }

    /// Identities with which nobody gets as far as a call.
    #[must_use]
    pub fn refused_of(&self, role: Role) -> Vec<Paper> {
        let file = match role {
            Role::Driver => "driver.pem",
            Role::Executor => "nodes/good.pem",
        };
        let in_folder = |folder: &str| self.folder.join(folder).join(file);
        let mut papers = vec![
            Paper { name: "another authority's", path: in_folder("foreign") },
            Paper { name: "expired", path: in_folder("expired") },
            Paper { name: "not yet valid", path: in_folder("early") },
            Paper { name: "revoked", path: self.folder.join("revoked.pem") },
        ];
        if role == Role::Executor {
            papers.push(Paper { name: "a driver's", path: self.driver.clone() });
        }
        papers
    }
}

/// Copies a folder with all that is in it.
fn copied(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let (source, target) = (entry.path(), to.join(entry.file_name()));
        if source.is_dir() {
            copied(&source, &target);
        } else {
            fs::copy(&source, &target).unwrap();
        }
    }
}
