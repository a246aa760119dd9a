//! The driver's half of a session's stream: items become numbered messages.

use std::collections::{BTreeSet, VecDeque};
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};

use broadsweep_proto::session::{DriverItem, FromDriver, Hello, driver_item};
use broadsweep_proto::{MESSAGE_BYTES_MAX, SETTLED_MAX};
use tokio::sync::mpsc;
use tokio_stream::Stream;

use super::Payload;
use super::ending::SessionEnd;

/// Items that are put together into one message at most...
const BATCH_MAX: usize = 256;
/// ...and their bytes, unless the first alone has more: the executor takes no larger message than it may get.
const BATCH_BYTES_MAX: usize = MESSAGE_BYTES_MAX / 2;

/// The driver's half of the stream: what is sent becomes part of the next message.
#[derive(Clone)]
pub(super) struct Outbound(mpsc::Sender<Vec<driver_item::Item>>);

/// What the next messages acknowledge.
#[derive(Default)]
pub(super) struct Acknowledged(Mutex<Numbers>);

#[derive(Default)]
struct Numbers {
    /// All messages up to this one.
    through: u64,
    /// Later ones, which no message has told yet.
    settled: BTreeSet<u64>,
}

impl Acknowledged {
    /// All messages up to `through` are safe, and these after it.
    pub(super) fn add(&self, through: u64, settled: Vec<u64>) {
        let mut numbers = self.numbers();
        numbers.through = numbers.through.max(through);
        numbers.settled.extend(settled);
    }

    /// What one message says of it.
    fn next(&self) -> (u64, Vec<u64>) {
        let mut numbers = self.numbers();
        let through = numbers.through;
        numbers.settled.retain(|sequence| *sequence > through);
        let told: Vec<_> = numbers.settled.iter().copied().take(SETTLED_MAX).collect();
        numbers.settled = numbers.settled.split_off(&(told.last().map_or(0, |last| last + 1)));
        (through, told)
    }

    /// Whether there was more than one message may say.
    fn has_more(&self) -> bool {
        !self.numbers().settled.is_empty()
    }

    fn numbers(&self) -> MutexGuard<'_, Numbers> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Outbound {
    /// Begins the stream with a hello. What the last value holds is acknowledged in the next message.
    pub(super) fn open(payload: &Payload, hello: Hello) -> (Self, Outgoing, Arc<Acknowledged>) {
        let (items, queued) = mpsc::channel(BATCH_MAX);
        let acknowledged = Arc::new(Acknowledged::default());
        let outgoing = Outgoing {
            run: payload.run.clone(),
            generation: payload.generation,
            sequence: 0,
            acknowledged: Arc::clone(&acknowledged),
            queued,
            waiting: VecDeque::from([driver_item::Item::Hello(hello)]),
        };
        (Self(items), outgoing, acknowledged)
    }

    /// Sends these items in this order. None at all: a message that only acknowledges.
    pub(super) async fn send(&self, items: Vec<driver_item::Item>) -> Result<(), SessionEnd> {
        let lost = |_| SessionEnd::Lost { reason: "the stream is closed".to_owned() };
        self.0.send(items).await.map_err(lost)
    }
}

/// The numbered messages of a session, made when the network takes the next one: it holds all that waits by then.
pub(super) struct Outgoing {
    run: String,
    generation: u64,
    sequence: u64,
    acknowledged: Arc<Acknowledged>,
    queued: mpsc::Receiver<Vec<driver_item::Item>>,
    waiting: VecDeque<driver_item::Item>,
}

impl Stream for Outgoing {
    type Item = FromDriver;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<FromDriver>> {
        let mut is_due = !self.waiting.is_empty() || self.acknowledged.has_more();
        while self.waiting.len() < BATCH_MAX {
            match self.queued.poll_recv(context) {
                Poll::Ready(Some(items)) => {
                    self.waiting.extend(items);
                    is_due = true;
                }
                Poll::Ready(None) if !is_due => return Poll::Ready(None),
                Poll::Pending if !is_due => return Poll::Pending,
                Poll::Ready(None) | Poll::Pending => break,
            }
        }
        let mut bytes = 0;
        let fits = |item: &&driver_item::Item| {
            let is_first = bytes == 0;
            bytes += item.encoded_len();
            is_first || bytes <= BATCH_BYTES_MAX
        };
        let batch = self.waiting.iter().take(BATCH_MAX).take_while(fits).count();
        self.sequence += 1;
        let (acknowledged, settled) = self.acknowledged.next();
        Poll::Ready(Some(FromDriver {
            run: self.run.clone(),
            generation: self.generation,
            sequence: self.sequence,
            acknowledged,
            items: self.waiting.drain(..batch).map(|item| DriverItem { item: Some(item) }).collect(),
            settled,
        }))
    }
}

#[cfg(test)]
mod tests {
    use broadsweep_common::configuration::TEXT_BYTES_MAX;
    use broadsweep_common::ids::{AttemptId, TaskId};
    use broadsweep_proto::session::{Cancel, Launch, Parameter, parameter};
    use broadsweep_proto::wire;
    use tokio_stream::StreamExt;

    use super::*;

    fn cancel(task: u32, at_epoch_end: bool) -> Cancel {
        let attempt = AttemptId { task: TaskId(task), number: 1 };
        Cancel { attempt: Some(wire::attempt_message(attempt)), at_epoch_end }
    }

    fn outgoing(acknowledged: u64) -> (mpsc::Sender<Vec<driver_item::Item>>, Outgoing) {
        let (items, queued) = mpsc::channel(16);
        let acknowledged =
            Arc::new(Acknowledged(Mutex::new(Numbers { through: acknowledged, ..Numbers::default() })));
        let (run, waiting) = ("run".to_owned(), VecDeque::new());
        (items, Outgoing { run, generation: 3, sequence: 0, acknowledged, queued, waiting })
    }

    #[tokio::test]
    async fn what_waits_is_one_message_and_no_message_is_too_large() {
        let (items, outgoing) = outgoing(9);
        let cancels = |tasks: std::ops::Range<usize>| {
            tasks.map(|task| driver_item::Item::Cancel(cancel(task as u32, false))).collect::<Vec<_>>()
        };
        items.try_send(cancels(0..2)).unwrap();
        items.try_send(cancels(2..3)).unwrap();
        items.try_send(cancels(3..BATCH_MAX + 5)).unwrap();
        items.try_send(Vec::new()).unwrap();
        drop(items);
        let messages: Vec<_> = outgoing.collect().await;
        let shape = |message: &FromDriver| (message.sequence, message.acknowledged, message.items.len());
        assert_eq!(messages.iter().map(shape).collect::<Vec<_>>(), [(1, 9, BATCH_MAX), (2, 9, 5)]);
        let sent = messages.into_iter().flat_map(|message| message.items).map(|item| item.item.unwrap());
        assert_eq!(sent.collect::<Vec<_>>(), cancels(0..BATCH_MAX + 5));
    }

    #[tokio::test]
    async fn the_largest_launches_together_are_no_message_that_an_executor_refuses() {
        let (items, outgoing) = outgoing(0);
        let word = parameter::Value::Choice("x".repeat(TEXT_BYTES_MAX));
        let configuration = vec![Parameter { name: "word".to_owned(), value: Some(word) }];
        let launch = driver_item::Item::Launch(Launch { configuration, ..Launch::default() });
        items.try_send(vec![launch; 10]).unwrap();
        drop(items);
        let messages: Vec<_> = outgoing.collect().await;
        let bytes = |message: &FromDriver| {
            message.items.iter().filter_map(|item| item.item.as_ref()).map(driver_item::Item::encoded_len).sum()
        };
        let largest: usize = messages.iter().map(bytes).max().unwrap();
        assert!(largest + (1 << 20) < MESSAGE_BYTES_MAX, "{largest} bytes");
        assert_eq!(messages.iter().map(|message| message.items.len()).sum::<usize>(), 10);
    }

    #[tokio::test]
    async fn messages_that_are_settled_early_are_told_once_and_in_more_messages_if_they_are_many() {
        let (items, mut outgoing) = outgoing(1);
        let acknowledged = Arc::clone(&outgoing.acknowledged);
        let many = SETTLED_MAX as u64 + 5;
        acknowledged.add(1, (3..3 + many).collect());
        items.try_send(Vec::new()).unwrap();
        let (first, second) = (outgoing.next().await.unwrap(), outgoing.next().await.unwrap());
        assert_eq!(([first.acknowledged, second.acknowledged], first.settled.len()), ([1, 1], SETTLED_MAX));
        assert!([first.settled, second.settled].concat().into_iter().eq(3..3 + many));
        acknowledged.add(1, vec![400, 401, 402]);
        acknowledged.add(401, Vec::new());
        items.try_send(Vec::new()).unwrap();
        let message = outgoing.next().await.unwrap();
        assert_eq!((message.acknowledged, message.settled), (401, vec![402]), "the others are told by their number");
        drop(items);
        assert_eq!(outgoing.next().await, None);
    }

    #[tokio::test(start_paused = true)]
    async fn nothing_is_told_while_nothing_waits() {
        let (_items, mut outgoing) = outgoing(4);
        assert!(tokio::time::timeout(std::time::Duration::from_hours(1), outgoing.next()).await.is_err());
    }

    #[tokio::test]
    async fn what_is_sent_is_told_unless_the_stream_is_closed() {
        let (items, mut outgoing) = outgoing(0);
        let outbound = Outbound(items);
        assert!(outbound.send(vec![driver_item::Item::Cancel(cancel(7, true))]).await.is_ok());
        assert_eq!(outgoing.next().await.unwrap().items.len(), 1);
        drop(outgoing);
        assert!(matches!(outbound.send(Vec::new()).await, Err(SessionEnd::Lost { .. })));
    }

    #[tokio::test]
    async fn an_empty_batch_acknowledges() {
        let (items, mut outgoing) = outgoing(4);
        items.try_send(Vec::new()).unwrap();
        let message = outgoing.next().await.unwrap();
        assert_eq!((message.sequence, message.acknowledged, message.items.len()), (1, 4, 0));
        drop(items);
        assert_eq!(outgoing.next().await, None);
    }
}
