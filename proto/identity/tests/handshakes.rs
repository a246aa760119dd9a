//! Who is let in, and what each side is told: whole handshakes, without a network.

#![expect(clippy::unwrap_used, reason = "a test fails by a panic, in its helping functions too")]

use std::fs;
use std::io::Cursor;
use std::os::unix::fs::PermissionsExt;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use broadsweep_identity::Role;
use broadsweep_identity::authority::IDENTITY_LASTS;
use broadsweep_identity::folder::{ClusterFolder, FolderError};
use broadsweep_identity::identity::{Identity, IdentityError, Owner, owner_of, role_of};
use broadsweep_identity::tls::{client_config, executor_name, server_config, why};
use rustls::crypto::ring;
use rustls::{ClientConfig, ClientConnection, Error, RootCertStore, ServerConnection};

const DAY: Duration = Duration::from_hours(24);

/// A cluster of a driver and two nodes, made some time ago.
struct Cluster {
    _place: tempfile::TempDir,
    folder: ClusterFolder,
}

impl Cluster {
    fn made(at: SystemTime) -> Self {
        let place = tempfile::tempdir().unwrap();
        let nodes = ["node-1", "node-2"].map(str::to_owned);
        let folder = ClusterFolder::init(&place.path().join("cluster"), &nodes, at).unwrap();
        Self { _place: place, folder }
    }

    fn new() -> Self {
        Self::made(SystemTime::now())
    }

    fn driver(&self) -> Identity {
        Identity::read(&self.folder.file_of(Role::Driver, "driver")).unwrap()
    }

    fn node(&self, name: &str) -> Identity {
        Identity::read(&self.folder.file_of(Role::Executor, name)).unwrap()
    }
}

/// What each side of a handshake ends with: who the client is to the server, or why it was not let in.
struct Met {
    client: Result<(), Error>,
    server: Result<Option<Role>, Error>,
}

/// Hands everything over until nothing is left to say.
fn meet(mut client: ClientConnection, mut server: ServerConnection) -> Met {
    let mut met = Met { client: Ok(()), server: Ok(None) };
    for _ in 0..8 {
        let mut to_server = Vec::new();
        while client.wants_write() {
            client.write_tls(&mut to_server).unwrap();
        }
        if met.server.is_ok() {
            let mut said = Cursor::new(to_server);
            while (said.position() as usize) < said.get_ref().len() && met.server.is_ok() {
                server.read_tls(&mut said).unwrap();
                met.server = server.process_new_packets().map(|_| None);
            }
        }
        let mut to_client = Vec::new();
        while server.wants_write() {
            server.write_tls(&mut to_client).unwrap();
        }
        if met.client.is_ok() && !to_client.is_empty() {
            client.read_tls(&mut Cursor::new(to_client)).unwrap();
            met.client = client.process_new_packets().map(|_| ());
        }
    }
    if met.server.is_ok() && !server.is_handshaking() {
        met.server = Ok(server.peer_certificates().and_then(|shown| role_of(&shown[0])));
    }
    met
}

fn between(client: &Identity, server: &Identity) -> Met {
    let client = ClientConnection::new(client_config(client).unwrap(), executor_name()).unwrap();
    meet(client, ServerConnection::new(server_config(server).unwrap()).unwrap())
}

#[test]
fn those_of_one_authority_meet_and_the_executor_knows_who_comes() {
    let cluster = Cluster::new();
    for (client, role) in [(cluster.driver(), Role::Driver), (cluster.node("node-2"), Role::Executor)] {
        assert_eq!(client.role, role);
        let met = between(&client, &cluster.node("node-1"));
        assert_eq!((met.client, met.server), (Ok(()), Ok(Some(role))));
    }
}

/// What the two sides are told, where a client of `client` meets a server of `server`.
fn refused(client: &Identity, server: &Identity) -> [String; 2] {
    let met = between(client, server);
    assert!(met.client.is_err() || met.server.is_err(), "they met");
    [met.client.err(), met.server.err()].map(|error| error.as_ref().map(why).unwrap_or_default())
}

#[test]
fn nobody_else_is_let_in_and_each_side_hears_what_helps() {
    let (now, cluster, other) = (SystemTime::now(), Cluster::new(), Cluster::new());
    let [client, _] = refused(&other.driver(), &cluster.node("node-1"));
    assert!(client.contains("the other side's identity is of another authority"), "{client}");

    let old = Cluster::made(now - IDENTITY_LASTS - DAY);
    let [client, _] = refused(&old.driver(), &old.node("node-1"));
    assert!(client.contains("expired; `broadsweep cluster renew`"), "{client}");
    let early = Cluster::made(now + 3 * DAY);
    let [client, _] = refused(&early.driver(), &early.node("node-1"));
    assert!(client.contains("not valid yet: one of the two clocks"), "{client}");

    let [client, _] = refused(&cluster.node("node-1"), &cluster.driver());
    assert!(client.contains("a driver's identity where an executor's is due"), "{client}");
}

#[test]
fn a_renewed_side_refuses_an_old_one_by_itself() {
    let mut cluster = Cluster::made(SystemTime::now() - IDENTITY_LASTS - DAY);
    let (driver, node) = (cluster.driver(), cluster.node("node-1"));
    assert_eq!(cluster.folder.renew(SystemTime::now()).unwrap().len(), 3);
    assert!(between(&cluster.driver(), &cluster.node("node-1")).client.is_ok());
    let [client, _] = refused(&cluster.driver(), &node);
    assert!(client.contains("the other side's identity has expired"), "{client}");
    let [client, server] = refused(&driver, &cluster.node("node-1"));
    assert!(server.contains("the other side's identity has expired"), "{server}");
    assert!(client.contains("this side's identity has expired"), "{client}");
}

#[test]
fn one_that_is_revoked_is_refused_by_all_that_have_a_newer_file() {
    let mut cluster = Cluster::new();
    let revoked = cluster.node("node-2");
    cluster.folder.revoke("node-2", SystemTime::now()).unwrap();
    let [client, server] = refused(&revoked, &cluster.node("node-1"));
    assert!(server.contains("the other side's identity is revoked"), "{server}");
    assert!(client.contains("this side's identity is revoked"), "{client}");
    let [client, _] = refused(&cluster.driver(), &revoked);
    assert!(client.contains("the other side's identity is revoked"), "{client}");
    // The others go on, and the node may come back with another identity.
    assert!(between(&cluster.driver(), &cluster.node("node-1")).client.is_ok());
    cluster.folder.add(Role::Executor, "node-2", SystemTime::now()).unwrap();
    assert!(between(&cluster.driver(), &cluster.node("node-2")).server.is_ok());
    assert!(between(&revoked, &cluster.node("node-2")).server.is_err(), "its former one counts again");
}

#[test]
fn a_client_without_a_certificate_and_one_without_encryption_are_refused() {
    let cluster = Cluster::new();
    let mut roots = RootCertStore::empty();
    let text = fs::read(cluster.folder.file_of(Role::Driver, "driver")).unwrap();
    let authority = rustls::pki_types::pem::PemObject::pem_slice_iter(&text).nth(1).unwrap().unwrap();
    roots.add(authority).unwrap();
    let config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_protocol_versions(&[&rustls::version::TLS13])
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    let server = || ServerConnection::new(server_config(&cluster.node("node-1")).unwrap()).unwrap();
    let nameless = ClientConnection::new(Arc::new(config), executor_name()).unwrap();
    let met = meet(nameless, server());
    assert!(why(&met.server.unwrap_err()).contains("the other side has no identity"));
    assert!(why(&met.client.unwrap_err()).contains("this side has no identity"));

    let mut plain = server();
    plain.read_tls(&mut &b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"[..]).unwrap();
    let error = plain.process_new_packets().unwrap_err();
    assert!(why(&error).contains("the other side speaks without encryption"), "{error}");
    let mut client = ClientConnection::new(client_config(&cluster.driver()).unwrap(), executor_name()).unwrap();
    client.read_tls(&mut &[0, 0, 6, 4, 0, 0, 0, 0, 0, 0, 3, 0, 0, 0, 100][..]).unwrap();
    let error = client.process_new_packets().unwrap_err();
    assert!(why(&error).contains("the other side speaks without encryption"), "{error}");
}

#[test]
fn a_file_that_others_can_read_or_that_is_something_else_is_refused_with_what_to_do() {
    let cluster = Cluster::new();
    let file = cluster.folder.file_of(Role::Driver, "driver");
    assert_eq!(fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);
    let text = fs::read_to_string(&file).unwrap();
    fs::set_permissions(&file, PermissionsExt::from_mode(0o640)).unwrap();
    let error = Identity::read(&file).unwrap_err();
    assert!(matches!(error, IdentityError::Open(_)) && error.to_string().contains("chmod 600 "), "{error}");
    let key_at = text.find("-----BEGIN PRIVATE KEY").unwrap();
    let key_end = text.find("-----END PRIVATE KEY-----").unwrap();
    let list_at = text.find("-----BEGIN X509 CRL").unwrap();
    let rows = [
        ("", "it has 0 certificates"),
        ("name = 'a study'", "it has 0 certificates"),
        (&text[..key_at], "it has 1 certificates"),
        (&text[..list_at], "it has no list of revoked identities"),
        (&[&text[..key_at], &text[key_end + 26..]].concat(), "it has no key"),
        (&text.replace("MII", "M!I"), "its certificates cannot be read"),
    ];
    for (text, expected) in rows {
        let error = Identity::parse(text.as_bytes()).unwrap_err();
        assert!(error.contains(expected), "{error}");
    }
    let missing = Identity::read(&file.with_file_name("none")).unwrap_err();
    assert!(missing.to_string().contains("cannot read the identity"), "{missing}");
}

#[test]
fn a_folder_is_opened_as_it_was_left_and_says_what_is_wrong() {
    let place = tempfile::tempdir().unwrap();
    let path = place.path().join("cluster");
    let open = || ClusterFolder::open(&path);
    assert!(matches!(open(), Err(FolderError::None(_))));
    let now = SystemTime::now();
    ClusterFolder::init(&path, &["a".to_owned(), "a".to_owned()], now).unwrap();
    assert!(matches!(ClusterFolder::init(&path, &[], now), Err(FolderError::Exists(_))));
    let mut folder = open().unwrap();
    folder.add(Role::Executor, "b:7717", now).unwrap();
    assert!(matches!(folder.add(Role::Executor, "b:7717", now), Err(FolderError::Known(_))));
    for name in ["", "..", "a/b", "a b", &"n".repeat(254)] {
        assert!(matches!(folder.add(Role::Executor, name, now), Err(FolderError::Name(_))), "{name}");
    }
    assert!(matches!(folder.revoke("c", now), Err(FolderError::Unknown(_))));
    folder.revoke("a", now).unwrap();
    folder.revoke("b:7717", now).unwrap();
    let told = |folder: &ClusterFolder| {
        folder.entries().map(|entry| (entry.name.clone(), entry.is_revoked)).collect::<Vec<_>>()
    };
    let expected = [("driver", false), ("a", true), ("b:7717", true)].map(|(name, is)| (name.to_owned(), is));
    assert_eq!(told(&folder), expected);
    assert_eq!(told(&open().unwrap()), expected);
    // What one made, another opens: the key is the same.
    let mut again = open().unwrap();
    again.add(Role::Executor, "a", now).unwrap();
    let read = |role, name| Identity::read(&again.file_of(role, name)).unwrap();
    assert_eq!(between(&read(Role::Driver, "driver"), &read(Role::Executor, "a")).client, Ok(()));
    // Drivers and nodes share their names, and each certificate says whose it is, in one that is renewed too.
    assert!(matches!(again.add(Role::Driver, "a", now), Err(FolderError::Known(_))));
    let anna = again.add(Role::Driver, "anna", now).unwrap();
    for _renewed in [false, true] {
        let owner = owner_of(Identity::read(&anna).unwrap().certificate());
        assert_eq!(owner, Some(Owner { role: Role::Driver, name: "anna".to_owned() }));
        again.renew(now).unwrap();
    }
    again.revoke("anna", now).unwrap();
    assert!(!anna.exists());
    fs::write(path.join("issued"), "what nobody wrote\n").unwrap();
    assert!(matches!(open(), Err(FolderError::Damaged { .. })));
}
