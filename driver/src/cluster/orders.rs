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

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tokio::time::timeout;

    use super::*;

    const EARLIER: SessionId = SessionId(1);
    const NOW: SessionId = SessionId(2);

    fn orders(count: usize) -> Vec<Order> {
        (0..count).map(|_| Order::HangUp { reason: "for a test" }).collect()
    }

    #[tokio::test]
    async fn orders_are_for_one_session_and_what_waits_can_be_forgotten() {
        let (sender, mut receiver) = order_channel();
        sender.send(EARLIER, orders(1));
        sender.send(NOW, orders(2));
        assert_eq!(receiver.next(NOW).await.map(|orders| orders.len()), Some(2));
        sender.send(NOW, orders(3));
        receiver.forget_earlier();
        sender.send(NOW, orders(4));
        assert_eq!(receiver.next(NOW).await.map(|orders| orders.len()), Some(4));
        drop(sender);
        assert!(receiver.next(NOW).await.is_none());
    }

    #[tokio::test(start_paused = true)]
    async fn a_session_whose_orders_find_no_room_is_overrun_and_no_other() {
        let (sender, receiver) = order_channel();
        let overrun = async |session| timeout(Duration::from_hours(1), receiver.overrun(session)).await.is_ok();
        for _ in 0..ORDERS_MAX {
            sender.send(NOW, Vec::new());
        }
        assert!(!overrun(NOW).await);
        sender.send(NOW, Vec::new());
        assert!(overrun(NOW).await && !overrun(EARLIER).await);
        drop(sender);
        assert!(!overrun(EARLIER).await, "the run loop has gone");
    }
}
