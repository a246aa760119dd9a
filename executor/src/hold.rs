//! Who holds this executor: one run at a time, with or without a connection to its driver.

use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::tenant::Tenant;
use broadsweep_store::BlobStore;

/// How often a leaving executor looks whether a run without a driver is done here.
const REST_POLL: Duration = Duration::from_millis(200);

/// The hold on this executor that one run can have.
pub(crate) struct Hold {
    occupancy: Mutex<Occupancy>,
    store: Arc<BlobStore>,
    /// How long a run keeps the executor without a session.
    orphan_timeout: Duration,
    /// Set once the executor is leaving: no other run gets it.
    pub(crate) draining: CancellationToken,
    /// Set once a run was orphaned here.
    pub(crate) orphaned: CancellationToken,
    freed: Notify,
}

/// Which driver of which run wants the executor.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Claim {
    pub(crate) run: String,
    /// Grows with each driver of the run.
    pub(crate) generation: u64,
    /// What the driver's identity calls it, if it has one: no other may go on with the run.
    pub(crate) driver: Option<String>,
}

enum Occupancy {
    Free,
    /// A session has the run.
    Held(Holder),
    /// The run's driver is gone, and may come back.
    Resting(Rest),
}

struct Holder {
    claim: Claim,
    since: Instant,
    /// Tells the session that it has to end.
    evicted: CancellationToken,
    /// Tells whoever waits that the session has ended.
    ended: CancellationToken,
}

struct Rest {
    tenant: Tenant,
    claim: Claim,
    since: Instant,
    /// The driver stayed away for too long: anybody may have the executor.
    orphaned: bool,
}

/// Why a driver does not get the executor.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Held {
    /// Another run has it.
    #[error("held by run {run} for {seconds} s; wait until it ends, or end its hold with --take-over")]
    ByAnother { run: String, seconds: u64 },
    /// Another run has it, but not its driver.
    #[error(
        "held by run {run}, whose driver has been gone for {seconds} s; the hold ends {timeout_s} s after that, or \
         with --take-over"
    )]
    ForAnother { run: String, seconds: u64, timeout_s: u64 },
    /// The same run, taken up again by a later driver.
    #[error("a later driver of run {run} has taken the run up")]
    ByLaterDriver { run: String },
    /// The same run, but of a driver with another identity.
    #[error(
        "held by run {run} of the driver whose identity is {holder}; go on with that identity, or end its hold with \
         --take-over"
    )]
    ByAnotherIdentity { run: String, holder: String },
    /// The executor leaves.
    #[error("the executor is leaving")]
    Leaving,
}

/// The hold of one session. Dropping it leaves the run resting.
pub(crate) struct Grip {
    hold: Arc<Hold>,
    /// There until the grip is dropped.
    tenant: Option<Tenant>,
    claim: Claim,
    /// Cancelled when another session takes over.
    pub(crate) evicted: CancellationToken,
    ended: CancellationToken,
}

impl Hold {
    pub(crate) fn new(store: Arc<BlobStore>, orphan_timeout: Duration) -> Self {
        Self {
            occupancy: Mutex::new(Occupancy::Free),
            store,
            orphan_timeout,
            draining: CancellationToken::new(),
            orphaned: CancellationToken::new(),
            freed: Notify::new(),
        }
    }

    /// Takes the executor for a run, with all that the run already has here.
    ///
    /// A session of the same run, of the same driver and at least the same generation replaces an older one: its driver
    /// came back before the old connection was known to be dead. With `take_over`, any holder is replaced. Waits until the
    /// replaced session has let go.
    pub(crate) async fn take(self: &Arc<Self>, claim: &Claim, take_over: bool) -> Result<Grip, Held> {
        loop {
            let ended = {
                let mut occupancy = self.occupancy();
                match &mut *occupancy {
                    Occupancy::Held(holder) => {
                        holder.admits(claim, take_over)?;
                        holder.evicted.cancel();
                        holder.ended.clone()
                    }
                    Occupancy::Resting(rest) => {
                        rest.admits(claim, take_over, self.orphan_timeout)?;
                        let Occupancy::Resting(rest) = std::mem::replace(&mut *occupancy, Occupancy::Free) else {
                            continue;
                        };
                        if rest.claim.is_of_the_same(claim) {
                            self.store.forget_supplies();
                            return Ok(self.grip(&mut occupancy, rest.tenant, claim));
                        }
                        self.discard(&rest.tenant);
                        continue;
                    }
                    Occupancy::Free if self.draining.is_cancelled() => return Err(Held::Leaving),
                    Occupancy::Free => {
                        return Ok(self.grip(&mut occupancy, Tenant::new(&claim.run), claim));
                    }
                }
            };
            ended.cancelled().await;
        }
    }

    /// Whether `run` holds the executor now. A driver with an identity asks for its own run alone.
    pub(crate) fn is_held_by(&self, run: &str, driver: Option<&str>) -> bool {
        let claim = match &*self.occupancy() {
            Occupancy::Free => return false,
            Occupancy::Held(holder) => holder.claim.clone(),
            Occupancy::Resting(rest) => rest.claim.clone(),
        };
        claim.run == run && driver.is_none_or(|driver| claim.driver.as_deref() == Some(driver))
    }

    /// From now on the executor takes no other run, and what runs here stops after its epoch.
    pub(crate) fn drain(&self) {
        self.draining.cancel();
        if let Occupancy::Resting(rest) = &*self.occupancy() {
            rest.tenant.stop_at_epoch_end(); // a run with a session is told by the session
        }
    }

    /// Waits until nobody holds the executor, or only a run whose driver is gone and that would lose nothing: none of
    /// its attempts runs, and nothing waits to be told or fetched.
    pub(crate) async fn until_unneeded(&self) {
        loop {
            let freed = self.freed.notified();
            let is_needed = match &mut *self.occupancy() {
                Occupancy::Free => false,
                Occupancy::Held(_) => true,
                Occupancy::Resting(rest) => !rest.tenant.is_idle() || self.store.holds_results(),
            };
            if !is_needed {
                return;
            }
            // What rests tells nobody when its last attempt ends.
            let _ = tokio::time::timeout(REST_POLL, freed).await;
        }
    }

    /// Waits until nobody has held the executor for the orphan timeout: its driver ended before it ever came, or as it
    /// let go.
    pub(crate) async fn until_forsaken(&self) {
        let mut was_free = false;
        loop {
            tokio::time::sleep(self.orphan_timeout).await;
            let is_free = matches!(&*self.occupancy(), Occupancy::Free);
            if is_free && was_free {
                return;
            }
            was_free = is_free;
        }
    }

    fn grip(self: &Arc<Self>, occupancy: &mut Occupancy, tenant: Tenant, claim: &Claim) -> Grip {
        let (evicted, ended) = (CancellationToken::new(), CancellationToken::new());
        *occupancy = Occupancy::Held(Holder {
            claim: claim.clone(),
            since: Instant::now(),
            evicted: evicted.clone(),
            ended: ended.clone(),
        });
        Grip { hold: Arc::clone(self), tenant: Some(tenant), claim: claim.clone(), evicted, ended }
    }

    /// The run has nothing here any more.
    fn discard(&self, tenant: &Tenant) {
        tenant.stop_now();
        self.store.forget_run();
    }

    /// Ends the rest of a run whose driver stayed away: what runs stops, data is dropped, results stay.
    fn orphan(&self, since: Instant) {
        let mut occupancy = self.occupancy();
        if let Occupancy::Resting(rest) = &mut *occupancy
            && rest.since == since
        {
            tracing::warn!(run = rest.tenant.run(), "its driver stayed away: what ran for it stops, results stay");
            rest.orphaned = true;
            rest.tenant.stop_now();
            rest.tenant.prepared = None;
            self.store.forget_inputs();
            self.orphaned.cancel();
        }
    }

    fn occupancy(&self) -> MutexGuard<'_, Occupancy> {
        self.occupancy.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Claim {
    /// Whether both are of one run and one driver.
    fn is_of_the_same(&self, other: &Self) -> bool {
        (&self.run, &self.driver) == (&other.run, &other.driver)
    }

    /// Why another driver of the same run does not get what this one has, if so.
    fn check_successor(&self, other: &Self, take_over: bool) -> Result<(), Held> {
        if self.is_of_the_same(other) && self.generation > other.generation {
            return Err(Held::ByLaterDriver { run: self.run.clone() });
        }
        if self.run == other.run && self.driver != other.driver && !take_over {
            let holder = self.driver.clone().unwrap_or_else(|| "none".to_owned());
            return Err(Held::ByAnotherIdentity { run: self.run.clone(), holder });
        }
        Ok(())
    }
}

impl Holder {
    /// Whether a driver gets the executor while this one holds it.
    fn admits(&self, claim: &Claim, take_over: bool) -> Result<(), Held> {
        self.claim.check_successor(claim, take_over)?;
        if take_over || self.claim.run == claim.run {
            return Ok(());
        }
        Err(Held::ByAnother { run: self.claim.run.clone(), seconds: self.since.elapsed().as_secs() })
    }
}

impl Rest {
    /// Whether a driver gets the executor while this run rests.
    fn admits(&self, claim: &Claim, take_over: bool, orphan_timeout: Duration) -> Result<(), Held> {
        self.claim.check_successor(claim, take_over || self.orphaned)?;
        if self.claim.run == claim.run || take_over || self.orphaned {
            return Ok(());
        }
        let (seconds, timeout_s) = (self.since.elapsed().as_secs(), orphan_timeout.as_secs());
        Err(Held::ForAnother { run: self.claim.run.clone(), seconds, timeout_s })
    }
}

impl Grip {
    /// The run's stay.
    ///
    /// # Panics
    /// Never: only the end of the grip takes it.
    pub(crate) fn tenant(&mut self) -> &mut Tenant {
        self.tenant.as_mut().unwrap_or_else(|| unreachable!("the tenant is there until the grip ends"))
    }

    /// The run is over: nothing of it stays.
    pub(crate) fn dismiss(mut self) {
        if let Some(tenant) = self.tenant.take() {
            self.hold.discard(&tenant);
        }
    }
}

impl Drop for Grip {
    fn drop(&mut self) {
        let mut occupancy = self.hold.occupancy();
        match self.tenant.take() {
            None => *occupancy = Occupancy::Free,
            Some(tenant) => {
                let (since, claim) = (Instant::now(), self.claim.clone());
                *occupancy = Occupancy::Resting(Rest { tenant, claim, since, orphaned: false });
                let hold = Arc::clone(&self.hold);
                tokio::spawn(async move {
                    tokio::time::sleep(hold.orphan_timeout).await;
                    hold.orphan(since);
                });
            }
        }
        drop(occupancy);
        self.ended.cancel();
        self.hold.freed.notify_waiters();
    }
}

impl fmt::Debug for Grip {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Grip").finish_non_exhaustive()
    }
}

#[cfg(test)]
#[path = "hold_tests.rs"]
mod tests;
