//! Outputs on a store: in memory, minding conditions or not, and ending a run at any request.

use std::fs::File;
use std::ops::Range;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use broadsweep_objects::{Condition, Object, ObjectAddress, ObjectError, Objects, Pending, Put};

use super::*;
use crate::apply::store::StoreClaim;

/// A store in memory.
#[derive(Debug)]
struct Shop {
    held: Mutex<BTreeMap<String, (Vec<u8>, u64)>>,
    tags: AtomicU64,
    /// Requests before the run that asks is killed.
    left: AtomicUsize,
    /// Whether the request at which it is killed is still carried out.
    is_carried_out: bool,
    minds_conditions: AtomicBool,
}

impl Shop {
    fn new(left: usize, is_carried_out: bool) -> Arc<Self> {
        Arc::new(Self {
            held: Mutex::default(),
            tags: AtomicU64::new(1),
            left: AtomicUsize::new(left),
            is_carried_out,
            minds_conditions: AtomicBool::new(true),
        })
    }

    fn whole() -> Arc<Self> {
        Self::new(usize::MAX, true)
    }

    /// Does something, unless the run is dead.
    fn answer<T>(&self, address: &ObjectAddress, act: impl FnOnce() -> T) -> Result<T, ObjectError> {
        let left = self.left.load(Ordering::SeqCst);
        self.left.store(left.saturating_sub(1), Ordering::SeqCst);
        let killed = || Err(ObjectError::Failed { address: address.clone(), said: "killed".to_owned() });
        match left {
            1 if self.is_carried_out => {
                act();
                killed()
            }
            0 | 1 => killed(),
            _ => Ok(act()),
        }
    }

    fn hold(&self, address: &ObjectAddress, bytes: Vec<u8>) {
        let tag = self.tags.fetch_add(1, Ordering::SeqCst);
        self.held.lock().unwrap().insert(address.to_string(), (bytes, tag));
    }

    /// The names below the output, with the bytes.
    fn tree(&self) -> BTreeMap<String, Vec<u8>> {
        let held = self.held.lock().unwrap();
        held.iter().map(|(name, (bytes, _))| (name.replace("s3://b/out/", ""), bytes.clone())).collect()
    }

    /// What a reader sees who goes by the manifest.
    fn seen(&self) -> Option<Seen> {
        let tree = self.tree();
        let manifest = Manifest::parse(tree.get(MANIFEST)?).unwrap()?;
        let read = |file: &OutputFile| {
            let bytes = tree[&file.name].clone();
            assert_eq!(OutputFile::of(&file.name, file.rows, &bytes, &file.run), *file, "it is not as described");
            bytes
        };
        Some(manifest.files.iter().map(read).collect())
    }
}

fn tag(number: u64) -> String {
    format!("etag \"{number}\"")
}

impl Objects for Shop {
    fn list(&self, below: &ObjectAddress, _: usize) -> Result<Vec<Object>, ObjectError> {
        self.answer(below, || {
            let held = self.held.lock().unwrap();
            let object = |(name, (bytes, number)): (&String, &(Vec<u8>, u64))| Object {
                address: ObjectAddress::parse(name).unwrap(),
                bytes: bytes.len() as u64,
                tag: tag(*number),
            };
            held.iter().map(object).filter(|object| object.address.below(below).is_some()).collect()
        })
    }

    fn look(&self, address: &ObjectAddress) -> Result<Option<Object>, ObjectError> {
        Ok(self.list(address, 1)?.into_iter().find(|object| object.address == *address))
    }

    fn read(&self, address: &ObjectAddress, _: u64) -> Result<Option<(Vec<u8>, String)>, ObjectError> {
        self.answer(address, || {
            let held = self.held.lock().unwrap();
            held.get(&address.to_string()).map(|(bytes, number)| (bytes.clone(), tag(*number)))
        })
    }

    fn fill(&self, object: &Object, _: &[Range<u64>], _: &File, _: &dyn Fn() -> bool) -> Result<(), ObjectError> {
        Err(ObjectError::Changed(object.address.clone()))
    }

    fn put(&self, address: &ObjectAddress, bytes: Vec<u8>) -> Pending {
        Pending::ended(address.clone(), self.answer(address, || self.hold(address, bytes)))
    }

    fn put_if(&self, address: &ObjectAddress, bytes: Vec<u8>, condition: &Condition) -> Result<Put, ObjectError> {
        self.answer(address, || {
            let now = self.held.lock().unwrap().get(&address.to_string()).map(|(_, number)| tag(*number));
            let holds = match condition {
                Condition::Absent => now.is_none(),
                Condition::Unchanged(tag) => now.as_ref() == Some(tag),
            };
            if !holds && self.minds_conditions.load(Ordering::SeqCst) {
                return Put::Refused;
            }
            self.hold(address, bytes);
            Put::Done
        })
    }

    fn remove(&self, addresses: &[ObjectAddress]) -> Result<(), ObjectError> {
        for address in addresses {
            self.answer(address, || self.held.lock().unwrap().remove(&address.to_string()))?;
        }
        Ok(())
    }
}

fn take(home: &Home, shop: &Arc<Shop>, onto: Onto, run: &str) -> Result<StoreClaim, OutputError> {
    let folder = home.path(run);
    fs::create_dir_all(&folder).unwrap();
    let place = ObjectAddress::parse("s3://b/out").unwrap();
    StoreClaim::take(shop.clone(), &place, onto, Runner { id: run, folder: &folder })
}

fn fill(claim: &StoreClaim, files: Files<'_>) -> Result<(), OutputError> {
    files.iter().try_for_each(|(name, bytes)| claim.put(name, bytes))
}

fn commit(
    home: &Home,
    shop: &Arc<Shop>,
    onto: Onto,
    (run, files): (&str, Files<'_>),
) -> Result<Committed, OutputError> {
    let claim = take(home, shop, onto, run)?;
    fill(&claim, files)?;
    claim.commit(&manifest(run, files))
}

/// With an output of the run `first`.
fn with_output() -> (Home, Arc<Shop>) {
    let (home, shop) = (Home::new(), Shop::whole());
    assert_eq!(commit(&home, &shop, Onto::New, ("first", FIRST)).unwrap(), Committed::Now);
    (home, shop)
}

const PARTS: Files<'_> = &[("part-0000000.csv", b"one"), ("part-0000001.csv", b"more")];

#[test]
fn an_output_is_made_added_to_and_replaced_and_seen_by_its_manifest_alone() {
    let (home, shop) = with_output();
    assert_eq!((shop.seen(), shop.tree().len()), (Some(bytes_of(&[FIRST])), 3));
    let claim = take(&home, &shop, Onto::Append, "second").unwrap();
    fill(&claim, SECOND).unwrap();
    assert_eq!((shop.seen(), shop.tree().len()), (Some(bytes_of(&[FIRST])), 6));
    assert_eq!(claim.commit(&manifest("second", SECOND)).unwrap(), Committed::Now);
    assert_eq!(shop.seen(), Some(bytes_of(&[FIRST, SECOND])));
    assert_eq!(commit(&home, &shop, Onto::Overwrite, ("third", PARTS)).unwrap(), Committed::Now);
    assert_eq!((shop.seen(), shop.tree().len()), (Some(bytes_of(&[PARTS])), 3));
    // Again: nothing more to do.
    assert_eq!(commit(&home, &shop, Onto::Overwrite, ("third", PARTS)).unwrap(), Committed::Before);
    let unlike = Manifest { format: OutputFormat::Parquet, ..manifest("fourth", PARTS) };
    let claim = take(&home, &shop, Onto::Append, "fourth").unwrap();
    assert!(matches!(claim.commit(&unlike), Err(OutputError::Unlike { .. })));
}

#[test]
fn what_is_there_is_refused_unless_it_is_to_be_replaced_or_added_to() {
    let (home, shop) = with_output();
    let before = shop.tree();
    assert!(matches!(take(&home, &shop, Onto::New, "second"), Err(OutputError::NotEmpty(_))));
    assert_eq!(shop.tree(), before);
    let shop = Shop::whole();
    shop.hold(&ObjectAddress::parse("s3://b/out/rows.csv").unwrap(), b"x".to_vec());
    assert!(matches!(take(&home, &shop, Onto::New, "third"), Err(OutputError::NotEmpty(_))));
    assert!(matches!(take(&home, &shop, Onto::Overwrite, "third"), Err(OutputError::NotOurs(_))));
    assert!(matches!(take(&home, &shop, Onto::Append, "third"), Err(OutputError::NotOurs(_))));
    // What a run left that did not end is in nobody's way, and stays: its run may go on.
    let shop = Shop::whole();
    fill(&take(&home, &shop, Onto::New, "dead").unwrap(), PARTS).unwrap();
    assert_eq!(commit(&home, &shop, Onto::New, ("living", PARTS)).unwrap(), Committed::Now);
    assert_eq!((shop.seen(), shop.tree().len()), (Some(bytes_of(&[PARTS])), 5));
}

#[test]
fn of_two_runs_at_once_one_wins_and_the_other_says_who_did_and_leaves_nothing() {
    for onto in [Onto::New, Onto::Overwrite, Onto::Append] {
        let (home, shop) = if onto == Onto::New { (Home::new(), Shop::whole()) } else { with_output() };
        let [one, other] = ["one", "other"].map(|run| take(&home, &shop, onto, run).unwrap());
        fill(&one, SECOND).unwrap();
        fill(&other, PARTS).unwrap();
        assert_eq!(other.commit(&manifest("other", PARTS)).unwrap(), Committed::Now);
        let error = one.commit(&manifest("one", SECOND)).unwrap_err();
        assert!(matches!(&error, OutputError::Overtaken { by, .. } if by == "the run other"), "{error}");
        let earlier: &[Files<'_>] = if onto == Onto::Append { &[FIRST, PARTS] } else { &[PARTS] };
        assert_eq!(shop.seen(), Some(bytes_of(earlier)));
        assert_eq!(shop.tree().len(), 1 + earlier.iter().map(|files| files.len()).sum::<usize>(), "{onto:?}");
        // It does not help to resume it.
        assert!(matches!(take(&home, &shop, onto, "one"), Err(OutputError::Overtaken { .. })));
    }
}

#[test]
fn a_run_that_is_killed_at_any_request_goes_on_to_the_same_objects() {
    for (onto, is_carried_out) in
        [Onto::New, Onto::Overwrite, Onto::Append].into_iter().flat_map(|onto| [(onto, false), (onto, true)])
    {
        let begun = || {
            let (home, shop) = (Home::new(), Shop::new(usize::MAX, is_carried_out));
            if onto != Onto::New {
                commit(&home, &shop, Onto::New, ("first", FIRST)).unwrap();
            }
            (home, shop)
        };
        let (home, undisturbed) = begun();
        commit(&home, &undisturbed, onto, ("second", SECOND)).unwrap();
        let mut kills = 0;
        loop {
            let (home, shop) = begun();
            shop.left.store(kills + 1, Ordering::SeqCst);
            let ended = commit(&home, &shop, onto, ("second", SECOND));
            shop.left.store(usize::MAX, Ordering::SeqCst);
            if ended.is_ok() {
                break;
            }
            let visible = shop.seen().unwrap_or_default();
            let former = if onto == Onto::New { Vec::new() } else { bytes_of(&[FIRST]) };
            assert!(visible == former || shop.tree()[MANIFEST] == undisturbed.tree()[MANIFEST], "part of it is seen");
            commit(&home, &shop, onto, ("second", SECOND)).unwrap();
            assert_eq!(shop.tree(), undisturbed.tree(), "{onto:?}, killed at request {kills}");
            kills += 1;
        }
        assert!(kills > 10, "{kills}");
    }
}

#[test]
fn a_run_that_is_given_up_takes_back_what_it_put_and_nothing_else() {
    let (home, shop) = with_output();
    let before = shop.tree();
    let claim = take(&home, &shop, Onto::Append, "second").unwrap();
    fill(&claim, PARTS).unwrap();
    fill(&take(&home, &shop, Onto::Append, "other").unwrap(), SECOND).unwrap();
    claim.release().unwrap();
    let left = shop.tree();
    assert_eq!(left.len(), before.len() + SECOND.len());
    assert!(before.iter().all(|(name, bytes)| left.get(name) == Some(bytes)));
}

#[test]
fn a_store_that_minds_no_conditions_is_refused_before_anything_is_computed() {
    let (home, shop) = (Home::new(), Shop::whole());
    shop.minds_conditions.store(false, Ordering::SeqCst);
    let error = take(&home, &shop, Onto::New, "first").unwrap_err();
    assert!(error.to_string().contains("does not mind the conditions If-None-Match and If-Match"), "{error}");
    assert!(shop.tree().is_empty());
}

#[test]
fn a_file_that_is_gone_or_cut_short_is_found_before_the_manifest_is_put() {
    for bytes in [None, Some(b"sho".to_vec())] {
        let (home, shop) = (Home::new(), Shop::whole());
        let claim = take(&home, &shop, Onto::New, "first").unwrap();
        fill(&claim, FIRST).unwrap();
        let name = shop.tree().into_keys().next().unwrap();
        let address = ObjectAddress::parse(&format!("s3://b/out/{name}")).unwrap();
        shop.remove(std::slice::from_ref(&address)).unwrap();
        if let Some(bytes) = bytes {
            shop.hold(&address, bytes);
        }
        assert!(matches!(claim.commit(&manifest("first", FIRST)), Err(OutputError::Damaged { .. })));
        assert!(!shop.tree().contains_key(MANIFEST));
    }
}
