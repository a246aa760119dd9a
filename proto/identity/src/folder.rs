//! The folder that holds an authority and all that it made: `broadsweep cluster` works on one.
//!
//! | file | holds |
//! |---|---|
//! | `authority.pem` | key and certificate of the authority: whoever has them can make identities |
//! | `issued` | a line for each identity that was ever made: serial number, role, end, whether it counts, name |
//! | `driver.pem` | the driver's identity |
//! | `drivers/NAME.pem` | the identity of one more driver |
//! | `nodes/NODE.pem` | the identity of a node, to be copied there |
//!
//! All of it is for its owner alone. What changes is written whole beside the old file, and then takes its place.

use std::collections::BTreeMap;
use std::fs::{self, DirBuilder, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use crate::Role;
use crate::authority::{Authority, AuthorityError, Serial};

const AUTHORITY: &str = "authority.pem";
const ISSUED: &str = "issued";
const DRIVER: &str = "driver.pem";
const DRIVERS: &str = "drivers";
const NODES: &str = "nodes";
/// What the first driver is called.
pub const DRIVER_NAME: &str = "driver";
/// Stands in an identity between what its owner is and whom it believes.
const BELIEVES: &str = "# It believes whom this authority signed, but for those that the list names.\n";
/// Bytes of a node's name: as a host's.
const NAME_BYTES_MAX: usize = 253;

/// An authority, in its folder.
pub struct ClusterFolder {
    path: PathBuf,
    authority: Authority,
    issued: Vec<Entry>,
}

/// An identity that was made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// What its owner is.
    pub role: Role,
    /// Its owner.
    pub name: String,
    /// Until when it is valid.
    pub until: SystemTime,
    /// Whether it was revoked.
    pub is_revoked: bool,
    serial: Serial,
}

/// Why there is no folder of an authority, or it cannot be changed.
#[derive(Debug, thiserror::Error)]
pub enum FolderError {
    /// Nothing of an authority is there.
    #[error("{} is no folder of a cluster: it has no {AUTHORITY}; `broadsweep cluster init` makes one", .0.display())]
    None(PathBuf),
    /// There is an authority already.
    #[error("{} has a cluster's authority already: `broadsweep cluster add` and `renew` go on with it, or name another \
             folder with --out", .0.display())]
    Exists(PathBuf),
    /// A file cannot be read or written.
    #[error("{}: {source}", path.display())]
    File {
        /// Which one.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// A file is not what was written.
    #[error("{} is damaged: {what}; restore it from a copy, or begin anew with `broadsweep cluster init`", path.display())]
    Damaged {
        /// Which one.
        path: PathBuf,
        /// What is wrong.
        what: String,
    },
    /// No name for a node or a driver.
    #[error(
        "{0:?} cannot name a node or a driver: letters, digits, `.`, `-`, `_` and `:` can, at most {NAME_BYTES_MAX} of them"
    )]
    Name(String),
    /// The node or driver has an identity.
    #[error(
        "{0} has an identity; `broadsweep cluster renew` makes new ones, `broadsweep cluster revoke {0}` ends it"
    )]
    Known(String),
    /// The node or driver has none.
    #[error("{0} has no identity that could be revoked; `broadsweep cluster show` lists them")]
    Unknown(String),
    /// The authority does not sign.
    #[error(transparent)]
    Authority(#[from] AuthorityError),
}

impl ClusterFolder {
    /// Makes an authority, and with it the identities of a driver and of these nodes.
    ///
    /// # Errors
    /// [`FolderError`].
    pub fn init(path: &Path, nodes: &[String], now: SystemTime) -> Result<Self, FolderError> {
        nodes.iter().try_for_each(|node| check_name(node))?;
        if path.join(AUTHORITY).exists() {
            return Err(FolderError::Exists(path.to_owned()));
        }
        make_folder(path)?;
        make_folder(&path.join(NODES))?;
        let mut folder = Self { path: path.to_owned(), authority: Authority::new(now)?, issued: Vec::new() };
        folder.issue(Role::Driver, DRIVER_NAME, now)?;
        for node in nodes {
            if folder.valid(node).is_none() {
                folder.issue(Role::Executor, node, now)?;
            }
        }
        folder.write_issued()?;
        // Last: a folder has an authority once all of it is there.
        let authority = folder.authority.key_pem() + folder.authority.certificate_pem();
        write_file(&path.join(AUTHORITY), &authority)?;
        Ok(folder)
    }

    /// Opens the folder of an authority.
    ///
    /// # Errors
    /// [`FolderError`].
    pub fn open(path: &Path) -> Result<Self, FolderError> {
        let authority_path = path.join(AUTHORITY);
        if !authority_path.exists() {
            return Err(FolderError::None(path.to_owned()));
        }
        let text = read_file(&authority_path)?;
        let damaged = |path: &Path, what: &str| FolderError::Damaged { path: path.to_owned(), what: what.to_owned() };
        let certificate_from = text.find("-----BEGIN CERTIFICATE-----");
        let (key, certificate) =
            text.split_at(certificate_from.ok_or_else(|| damaged(&authority_path, "no certificate"))?);
        let authority =
            Authority::from_pem(key, certificate).map_err(|error| damaged(&authority_path, &error.to_string()))?;
        let issued_path = path.join(ISSUED);
        let entry = |line: &str| Entry::parse(line).ok_or_else(|| damaged(&issued_path, &format!("{line:?}")));
        let issued = read_file(&issued_path)?.lines().map(entry).collect::<Result<_, _>>()?;
        Ok(Self { path: path.to_owned(), authority, issued })
    }

    /// Makes the identity of one more node or driver. Returns its file.
    ///
    /// # Errors
    /// [`FolderError`].
    pub fn add(&mut self, role: Role, name: &str, now: SystemTime) -> Result<PathBuf, FolderError> {
        check_name(name)?;
        if self.valid(name).is_some() {
            return Err(FolderError::Known(name.to_owned()));
        }
        if role == Role::Driver {
            make_folder(&self.path.join(DRIVERS))?;
        }
        let file = self.issue(role, name, now)?;
        self.write_issued()?;
        Ok(file)
    }

    /// Makes all identities anew that count. The ones before count until their time is over. Returns the new files.
    ///
    /// # Errors
    /// [`FolderError`].
    pub fn renew(&mut self, now: SystemTime) -> Result<Vec<PathBuf>, FolderError> {
        let owners: Vec<_> =
            self.entries().filter(|entry| !entry.is_revoked).map(|it| (it.role, it.name.clone())).collect();
        let files = owners.into_iter().map(|(role, name)| self.issue(role, &name, now)).collect::<Result<_, _>>()?;
        self.write_issued()?;
        Ok(files)
    }

    /// Ends all identities of a node or a driver: no side believes them that has a file from now on. All files are written
    /// anew.
    ///
    /// # Errors
    /// [`FolderError`].
    pub fn revoke(&mut self, name: &str, now: SystemTime) -> Result<(), FolderError> {
        self.valid(name).ok_or_else(|| FolderError::Unknown(name.to_owned()))?;
        for entry in self.issued.iter_mut().filter(|entry| entry.name == name) {
            entry.is_revoked = true;
        }
        // First: whatever comes after can be made again from it.
        self.write_issued()?;
        let list = self.revocations(now)?;
        let owners = self.entries().map(|entry| (entry.role, entry.name.clone(), entry.is_revoked));
        for (role, name, is_revoked) in owners.collect::<Vec<_>>() {
            let path = self.file_of(role, &name);
            if is_revoked {
                fs::remove_file(&path)
                    .or_else(unless_missing)
                    .map_err(|source| FolderError::File { path, source })?;
                continue;
            }
            let text = read_file(&path)?;
            let own = text.split(BELIEVES).next().unwrap_or_default();
            write_file(&path, &self.with_beliefs(own, &list))?;
        }
        Ok(())
    }

    /// The newest identity of each owner, the driver's first.
    pub fn entries(&self) -> impl Iterator<Item = &Entry> {
        let newest: BTreeMap<_, _> = self.issued.iter().map(|entry| ((entry.role, &entry.name), entry)).collect();
        newest.into_values()
    }

    /// Where an owner's identity is.
    #[must_use]
    pub fn file_of(&self, role: Role, name: &str) -> PathBuf {
        match role {
            Role::Driver if name == DRIVER_NAME => self.path.join(DRIVER),
            Role::Driver => self.path.join(DRIVERS).join(format!("{name}.pem")),
            Role::Executor => self.path.join(NODES).join(format!("{name}.pem")),
        }
    }

    /// The identity that an owner has: nodes and drivers share their names.
    fn valid(&self, name: &str) -> Option<&Entry> {
        self.issued.iter().find(|entry| entry.name == name && !entry.is_revoked)
    }

    fn issue(&mut self, role: Role, name: &str, now: SystemTime) -> Result<PathBuf, FolderError> {
        let made = self.authority.issue(role, name, now)?;
        let own = format!(
            "# Broadsweep: the identity of {role} {name}. Whoever has this file can act as it: keep it to yourself.\n{}",
            made.pem
        );
        let list = self.revocations(now)?;
        let file = self.file_of(role, name);
        write_file(&file, &self.with_beliefs(&own, &list))?;
        let (name, until) = (name.to_owned(), made.until);
        self.issued.push(Entry { role, name, until, is_revoked: false, serial: made.serial });
        Ok(file)
    }

    fn with_beliefs(&self, own: &str, revocations: &str) -> String {
        format!("{own}{BELIEVES}{}{revocations}", self.authority.certificate_pem())
    }

    fn revocations(&self, now: SystemTime) -> Result<String, FolderError> {
        let revoked = self.issued.iter().filter(|entry| entry.is_revoked).map(|entry| entry.serial.clone());
        let revoked: Vec<_> = revoked.collect();
        Ok(self.authority.revocations(&revoked, 1 + revoked.len() as u64, now)?)
    }

    fn write_issued(&self) -> Result<(), FolderError> {
        write_file(&self.path.join(ISSUED), &self.issued.iter().map(Entry::line).collect::<String>())
    }
}

impl Entry {
    fn line(&self) -> String {
        let seconds = self.until.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_secs();
        let counts = if self.is_revoked { "revoked" } else { "valid" };
        format!("{} {} {seconds} {counts} {}\n", self.serial.as_str(), self.role, self.name)
    }

    fn parse(line: &str) -> Option<Self> {
        let words: Vec<_> = line.split(' ').collect();
        let [serial, role, seconds, counts, name] = words[..] else { return None };
        let until = SystemTime::UNIX_EPOCH.checked_add(Duration::from_secs(seconds.parse().ok()?))?;
        Some(Self {
            role: Role::ALL.into_iter().find(|known| known.word() == role)?,
            name: name.to_owned(),
            until,
            is_revoked: match counts {
                "revoked" => true,
                "valid" => false,
                _ => return None,
            },
            serial: Serial::parse(serial).ok()?,
        })
    }
}

/// Whether a node can have this name, which is a file's, too.
fn check_name(name: &str) -> Result<(), FolderError> {
    let is_good = |character: char| character.is_ascii_alphanumeric() || ".-_:".contains(character);
    let fits = (1..=NAME_BYTES_MAX).contains(&name.len()) && name.chars().all(is_good) && !name.starts_with('.');
    if fits { Ok(()) } else { Err(FolderError::Name(name.to_owned())) }
}

fn make_folder(path: &Path) -> Result<(), FolderError> {
    let made = DirBuilder::new().recursive(true).mode(0o700).create(path);
    made.map_err(|source| FolderError::File { path: path.to_owned(), source })
}

fn read_file(path: &Path) -> Result<String, FolderError> {
    fs::read_to_string(path).map_err(|source| FolderError::File { path: path.to_owned(), source })
}

/// Puts a file that its owner alone can read in the place of the one before.
fn write_file(path: &Path, text: &str) -> Result<(), FolderError> {
    let mut name = path.as_os_str().to_owned();
    name.push(".new");
    let new = PathBuf::from(name);
    let write = || {
        fs::remove_file(&new).or_else(unless_missing)?;
        let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&new)?;
        file.write_all(text.as_bytes())?;
        file.sync_all()?;
        fs::rename(&new, path)
    };
    write().map_err(|source| FolderError::File { path: path.to_owned(), source })
}

fn unless_missing(error: io::Error) -> io::Result<()> {
    if error.kind() == io::ErrorKind::NotFound { Ok(()) } else { Err(error) }
}
