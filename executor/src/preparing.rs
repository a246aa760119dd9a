//! Gets an executor ready for a study, beside its session: the rows of a large data set take minutes to write where a
//! program wants them as files. One study is prepared at a time; what nobody waits for any more is given up.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use broadsweep_common::codec;
use broadsweep_common::ids::Digest;
use broadsweep_common::refusal::{Refusal, StudyPart};
use broadsweep_common::task::StudyDescription;
use broadsweep_nn::Kernel;
use broadsweep_objects::AllowedStores;
use broadsweep_store::{BlobStore, Content};
use tokio::sync::oneshot;
use tokio_util::sync::CancellationToken;

use crate::files::AllowedFiles;
use crate::machine::cores;
use crate::slots::SlotRunner;
use crate::trainers::program::Programs;
use crate::trainers::{Means, slots_of, trainer_of};
use crate::work::Prepared;

/// What this executor offers to any driver.
#[derive(Clone)]
pub(crate) struct Offering {
    pub(crate) slots: u32,
    pub(crate) memory_bytes: u64,
    pub(crate) kernels: Vec<Kernel>,
    pub(crate) advertise: String,
    /// Of this process, and of no other.
    pub(crate) instance: u64,
    /// What programs need, where they are allowed.
    pub(crate) programs: Option<Arc<Programs>>,
    /// Which files of this machine may be read, where some may.
    pub(crate) files: Option<AllowedFiles>,
    /// Which objects of stores may be read, where some may.
    pub(crate) stores: Option<AllowedStores>,
}

impl Offering {
    /// The names of its kernels, the fastest first.
    pub(crate) fn kernel_names(&self) -> Vec<String> {
        self.kernels.iter().map(|kernel| kernel.name().to_owned()).collect()
    }
}

/// What a driver wants an executor to be ready for.
#[derive(Clone, Debug)]
pub(crate) struct Wanted {
    pub(crate) data: Digest,
    pub(crate) study: Digest,
    pub(crate) kernel: String,
}

/// Gets ready, or says why that cannot be. Once this is dropped, a preparation that has not begun never does, and one that
/// writes files stops.
///
/// # Errors
/// In words, if it panicked: a mistake of ours.
pub(crate) async fn prepare(
    runner: &dyn SlotRunner,
    store: &Arc<BlobStore>,
    offering: &Offering,
    wanted: Wanted,
) -> Result<Result<Prepared, Refusal>, &'static str> {
    let found = offering.kernels.iter().find(|known| known.name() == wanted.kernel).copied();
    let Some(kernel) = found else {
        return Ok(Err(Refusal::Kernel { wanted: wanted.kernel, has: offering.kernel_names() }));
    };
    let (tell, told) = oneshot::channel();
    let given_up = CancellationToken::new();
    let _gives_up = given_up.clone().drop_guard();
    let blobs = [wanted.data, wanted.study];
    let (store, offering) = (Arc::clone(store), offering.clone());
    runner.aside(Box::new(move || {
        if given_up.is_cancelled() {
            return;
        }
        // Its message and place are in the log by then.
        if let Ok(prepared) =
            catch_unwind(AssertUnwindSafe(|| get_ready(&store, &offering, (kernel, blobs), given_up)))
        {
            drop(tell.send(prepared)); // the session may have ended
        }
    }));
    told.await.map_err(|_| "the executor failed while it prepared the study; its log says where")
}

fn get_ready(
    store: &BlobStore,
    offering: &Offering,
    (kernel, [data, study]): (Kernel, [Digest; 2]),
    given_up: CancellationToken,
) -> Result<Prepared, Refusal> {
    let content = |what, blob| -> Result<Content, Refusal> {
        Ok(store.get(blob).ok_or(Refusal::Missing { what, blob })?.content)
    };
    let broadcast = content(StudyPart::Data, data)?;
    let study = codec::decode((*content(StudyPart::Description, study)?).as_ref());
    let study: StudyDescription = study.map_err(|error| Refusal::Study { reason: error.to_string() })?;
    let slots = slots_of(&study, offering.slots, offering.programs.as_deref())?;
    let (memory_bytes, threads) = share(offering.memory_bytes, cores(), slots);
    let means = Means {
        kernel,
        memory_bytes,
        slots,
        threads,
        programs: offering.programs.clone(),
        files: offering.files.clone(),
        stores: offering.stores.clone(),
        given_up,
    };
    Ok(Prepared { study_seed: study.seed, trainer: trainer_of(study, (data, broadcast), means)?, slots })
}

/// What each of so many slots may use of the memory and the cores that are there.
fn share(memory_bytes: u64, cores: u32, slots: u32) -> (u64, u32) {
    let slots = slots.max(1);
    (memory_bytes / u64::from(slots), (cores / slots).max(1))
}

#[cfg(test)]
mod tests {
    use std::pin::pin;
    use std::sync::Mutex;
    use std::task::{Context, Poll, Waker};

    use broadsweep_common::ids::{AttemptId, TaskId};
    use broadsweep_store::Made;

    use super::*;
    use crate::fixtures::{bytes, description};
    use crate::slots::Work;
    use crate::work::Attempt;

    /// Keeps what it is to do until somebody asks for it.
    #[derive(Default)]
    struct Idler(Mutex<Vec<Work>>);

    impl SlotRunner for Idler {
        fn start(&self, _: Vec<Attempt>) {}

        fn aside(&self, work: Work) {
            self.0.lock().unwrap().push(work);
        }
    }

    fn offering(kernels: Vec<Kernel>) -> Offering {
        let (memory_bytes, advertise) = (1 << 30, String::new());
        Offering {
            slots: 3,
            memory_bytes,
            kernels,
            advertise,
            instance: 1,
            programs: None,
            files: None,
            stores: None,
        }
    }

    #[test]
    fn a_study_is_prepared_with_the_kernel_it_names_and_what_is_missing_or_unknown_is_told() {
        let folder = tempfile::tempdir().unwrap();
        let store = Arc::new(BlobStore::open(folder.path()).unwrap());
        let shelf = store.shelf_of(AttemptId { task: TaskId(0), number: 1 });
        let keep = |content: &[u8]| shelf.keep(content.to_vec(), Made::Result).unwrap();
        let (data, study) = (keep(bytes([4, 2, 0]).as_ref()), keep(&codec::encode(&description()).unwrap()));
        let (nowhere, has) = (Digest::of(b"nothing"), vec!["portable".to_owned()]);
        let offering = offering(vec![Kernel::PORTABLE]);
        assert_eq!(offering.kernel_names(), has);
        for (kernel, data, study, wanted) in [
            ("portable", data, study, Ok((1, 3))),
            ("avx2", data, study, Err(Refusal::Kernel { wanted: "avx2".to_owned(), has })),
            ("portable", nowhere, study, Err(Refusal::Missing { what: StudyPart::Data, blob: nowhere })),
            ("portable", data, nowhere, Err(Refusal::Missing { what: StudyPart::Description, blob: nowhere })),
        ] {
            let wished = Wanted { data, study, kernel: kernel.to_owned() };
            let idler = Idler::default();
            let mut context = Context::from_waker(Waker::noop());
            let mut prepared = pin!(prepare(&idler, &store, &offering, wished));
            let told = prepared.as_mut().poll(&mut context);
            idler.0.lock().unwrap().drain(..).for_each(|work| work());
            let told = if told.is_ready() { told } else { prepared.poll(&mut context) };
            let Poll::Ready(Ok(told)) = told else { panic!("it was not prepared") };
            assert_eq!(told.map(|prepared| (prepared.study_seed, prepared.slots)), wanted);
        }
    }

    #[test]
    fn who_prepares_waits_aside_and_hears_of_a_failure() {
        let folder = tempfile::tempdir().unwrap();
        let store = Arc::new(BlobStore::open(folder.path()).unwrap());
        let offering = offering(vec![Kernel::PORTABLE]);
        let nothing = Digest([0; 32]);
        let wanted = Wanted { data: nothing, study: nothing, kernel: Kernel::PORTABLE.name().to_owned() };
        let idler = Idler::default();
        let work = || idler.0.lock().unwrap().pop().unwrap();
        let mut context = Context::from_waker(Waker::noop());
        let mut prepared = pin!(prepare(&idler, &store, &offering, wanted.clone()));
        assert!(prepared.as_mut().poll(&mut context).is_pending());
        work()();
        let told = prepared.poll(&mut context);
        assert!(matches!(told, Poll::Ready(Ok(Err(Refusal::Missing { .. })))));
        let other = Wanted { kernel: "other".to_owned(), ..wanted.clone() };
        let refused = pin!(prepare(&idler, &store, &offering, other)).poll(&mut context);
        assert!(matches!(refused, Poll::Ready(Ok(Err(Refusal::Kernel { .. })))));
        let mut lost = pin!(prepare(&idler, &store, &offering, wanted));
        assert!(lost.as_mut().poll(&mut context).is_pending());
        drop(work()); // as the end of a work that panics does
        assert!(matches!(lost.poll(&mut context), Poll::Ready(Err(_))));
    }

    #[test]
    fn slots_share_memory_and_cores_and_each_has_a_thread() {
        for (slots, of_each) in [(1, (900, 8)), (3, (300, 2)), (9, (100, 1)), (0, (900, 8))] {
            assert_eq!(share(900, 8, slots), of_each, "{slots} slots");
        }
    }
}
