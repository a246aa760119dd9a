//! What waits on its way from the run loop to one link: batches of orders, each for one session.

use std::future::{Future, pending};

use tokio::sync::mpsc::error::TrySendError;
use tokio::sync::{mpsc, watch};

use super::{Order, SessionId};

/// Batches of orders that may wait for one executor.
pub(super) const ORDERS_MAX: usize = 4_096;

/// The run loop's end.
pub(super) struct OrderSender {
    batches: mpsc::Sender<(SessionId, Vec<Order>)>,
    overrun: watch::Sender<Option<SessionId>>,
}

/// The link's end.
pub(super) struct OrderReceiver {
    batches: mpsc::Receiver<(SessionId, Vec<Order>)>,
    overrun: watch::Receiver<Option<SessionId>>,
}

/// The way of orders to one link.
pub(super) fn order_channel() -> (OrderSender, OrderReceiver) {
    let (batches, waiting) = mpsc::channel(ORDERS_MAX);
    let (overrun, is_overrun) = watch::channel(None);
    (OrderSender { batches, overrun }, OrderReceiver { batches: waiting, overrun: is_overrun })
}

impl OrderSender {
    /// Passes orders on, without waiting. Where they find no room, their session ends: a run would wait for ever for
    /// what an order that was lost should have done.
    pub(super) fn send(&self, session: SessionId, orders: Vec<Order>) {
        match self.batches.try_send((session, orders)) {
            Ok(()) => {}
            Err(TrySendError::Full(_)) => drop(self.overrun.send_replace(Some(session))),
            Err(TrySendError::Closed(_)) => tracing::debug!("orders for a link that has ended"),
        }
    }
}

impl OrderReceiver {
    /// The next orders for `session`; `None` once the run loop has gone. Orders for an earlier session were lost with
    /// it, and the run loop knows. Safe to cancel.
    pub(super) async fn next(&mut self, session: SessionId) -> Option<Vec<Order>> {
        loop {
            let (meant, orders) = self.batches.recv().await?;
            if meant == session {
                return Some(orders);
            }
        }
    }

    /// Makes room: before the run loop hears of a session, all that waits is for earlier ones.
    pub(super) fn forget_earlier(&mut self) {
        while self.batches.try_recv().is_ok() {}
    }

    /// Resolves once orders for `session` have found no room.
    pub(super) fn overrun(&self, session: SessionId) -> impl Future<Output = ()> + use<> {
        let mut overrun = self.overrun.clone();
        async move {
            if overrun.wait_for(|overrun| *overrun == Some(session)).await.is_err() {
                pending::<()>().await; // the run loop has gone, and the link hears of that itself
            }
        }
    }
}
