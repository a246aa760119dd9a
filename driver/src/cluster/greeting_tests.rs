//! How executors are greeted, and what comes of those that answer in another way than they should.

use std::collections::BTreeSet;

use broadsweep_proto::blocks::{Holdings, OfferReply};
use broadsweep_proto::session::driver_item::Item;
use broadsweep_proto::session::executor_item::Item as ExecutorSays;
use broadsweep_proto::session::{Attempt, Draining, Refusal, prepared::Answer, refusal::Reason};
use tokio::time::Instant;

use super::*;
use crate::cluster::played::{ADDRESS, EXECUTOR, Played, Stage, stage, welcome};
use crate::cluster::{ExecutorId, Traffic};

/// What comes of a session in which the executor does this, and what is around it then.
async fn opened<P>(
    prepare: impl FnOnce(&mut Desk, &mut Stage),
    play: impl AsyncFnOnce(Played) -> P,
) -> (Result<Opened, SessionEnd>, P, Stage) {
    let (mut desk, mut stage) = stage();
    prepare(&mut desk, &mut stage);
    let Stage { sessions, .. } = &mut stage;
    let play = async {
        let session = sessions.recv().await.unwrap();
        play(session).await
    };
    let (opened, played) = tokio::join!(open(&mut desk, SessionId(5), ADDRESS), play);
    (opened, played, stage)
}

/// Why there is no session, in words.
fn reason(opened: Result<Opened, SessionEnd>) -> String {
    match opened {
        Err(SessionEnd::Failed(error)) => error.to_string(),
        Err(SessionEnd::RunOver) => "the run is over".to_owned(),
        Err(SessionEnd::Unheard | SessionEnd::Lost { .. }) => panic!("it was never ready"),
        Ok(_) => panic!("it is ready"),
    }
}

#[tokio::test(start_paused = true)]
async fn an_executor_that_is_ready_has_told_what_it_holds_and_whether_it_leaves() {
    let held = Attempt { task: 3, number: 2 };
    for (in_welcome, later) in [(false, false), (true, false), (false, true)] {
        let (opened, _played, mut stage) = opened(
            |_, _| {},
            async |mut session| {
                let welcome = Welcome { held: vec![held], draining: in_welcome, ..welcome() };
                session.say(vec![ExecutorSays::Welcome(welcome)]).await;
                let before = if later { vec![ExecutorSays::Draining(Draining {})] } else { Vec::new() };
                session.prepare(before).await;
                session
            },
        )
        .await;
        let Ok(Opened { ready, session, .. }) = opened else { panic!("it is ready") };
        assert_eq!((ready.session, ready.slots, ready.instance), (SessionId(5), 1, 7));
        assert_eq!((ready.held.len(), ready.kernel.as_str(), ready.program), (1, "portable", None));
        assert_eq!(ready.draining, in_welcome || later);
        assert_eq!(session.received, 2 + u64::from(later));
        assert!(matches!(stage.told().await, LinkEvent::Connected));
    }
}

#[tokio::test(start_paused = true)]
async fn what_an_executor_says_of_its_preparation_is_told_as_far_as_it_can_be() {
    let refusal = Refusal { reason: Some(Reason::Data("it has no rows".to_owned())) };
    let prepared = |answer, program: &str, bytes| Prepared {
        answer,
        program: program.to_owned(),
        lacks: format!("{program} is no file"),
        from_peers_bytes: bytes,
        from_cache_bytes: bytes,
    };
    for (name, answer, wanted) in [
        ("ready", prepared(Some(Answer::Slots(3)), "/usr/bin/train", 2), Ok((3, Some("/usr/bin/train"), 2))),
        ("more than there is", prepared(Some(Answer::Slots(3)), "", 99), Ok((3, None, 4))),
        ("refused", prepared(Some(Answer::Refusal(refusal)), "", 0), Err("node:1 does not take part")),
        ("no answer", prepared(None, "", 0), Err("node:1 refuses")),
    ] {
        let (opened, payload, _stage) = {
            let mut payload = None;
            let (opened, _, stage) = opened(
                |desk, _| payload = Some(Arc::clone(&desk.payload)),
                async |mut session| {
                    session.say(vec![ExecutorSays::Welcome(welcome())]).await;
                    while !matches!(session.next().await.as_deref(), Some([Item::Prepare(_)]) | None) {}
                    session.say(vec![ExecutorSays::Prepared(answer)]).await;
                    session
                },
            )
            .await;
            (opened, payload.unwrap(), stage)
        };
        match wanted {
            Ok((slots, program, bytes)) => {
                let Ok(Opened { ready, .. }) = opened else { panic!("{name}: it is ready") };
                assert_eq!((ready.slots, ready.program.as_deref()), (slots, program), "{name}");
                assert_eq!(ready.lacks, Some(format!("{} is no file", program.unwrap_or_default())));
                let traffic = &payload.traffic;
                assert_eq!([&traffic.from_peers, &traffic.from_cache].map(Traffic::read), [bytes; 2]);
            }
            Err(wanted) => {
                let reason = reason(opened);
                assert!(reason.starts_with(wanted), "{name}: {reason}");
            }
        }
    }
}

#[tokio::test(start_paused = true)]
async fn an_executor_that_reports_before_it_is_ready_or_tells_no_answer_is_broken() {
    let early = broadsweep_proto::session::EpochEnded::default();
    for (says, wanted, waits) in [
        (Some(ExecutorSays::EpochEnded(early)), "node:1: reported on attempts before it was ready", Duration::ZERO),
        (None, "node:1: no answer to the request to prepare within 120 s", PREPARE_TIMEOUT),
    ] {
        let began = Instant::now();
        let (opened, ..) = opened(
            |_, _| {},
            async |mut session| {
                session.say(vec![ExecutorSays::Welcome(welcome())]).await;
                if let Some(early) = says {
                    session.say(vec![early]).await;
                }
                while session.next().await.is_some() {}
            },
        )
        .await;
        assert_eq!((reason(opened).as_str(), began.elapsed()), (wanted, waits));
    }
}

#[tokio::test(start_paused = true)]
async fn a_larger_data_set_may_take_longer_to_get_ready() {
    for (data_bytes, seconds) in [(0, 120), (PREPARE_RATE_MIN - 1, 120), (5 * PREPARE_RATE_MIN, 125)] {
        let began = Instant::now();
        let late = within(ADDRESS, data_bytes, std::future::pending::<()>()).await.unwrap_err();
        assert_eq!(began.elapsed(), Duration::from_secs(seconds));
        assert!(late.to_string().ends_with(&format!("within {seconds} s")), "{late}");
    }
    assert_eq!(within(ADDRESS, 0, async { 7 }).await.ok(), Some(7));
}

#[tokio::test(start_paused = true)]
async fn whoever_does_not_answer_a_hello_as_an_executor_does_is_none() {
    let second_welcome = "its first message has number 2 for driver 1";
    for (says, wanted) in [
        (vec![vec![ExecutorSays::Draining(Draining {})]], "it did not answer the hello with a welcome"),
        (vec![vec![]], "it did not answer the hello with a welcome"),
        (vec![], "no answer to a hello within 5 s"),
    ] {
        let (opened, ..) = opened(
            |_, _| {},
            async |mut session: Played| {
                for items in says {
                    session.say(items).await;
                }
                while session.next().await.is_some() {}
            },
        )
        .await;
        let reason = reason(opened);
        let wanted = format!("node:1 answers, but not as a broadsweep executor: {wanted}");
        assert_eq!(reason, wanted);
    }
    let (opened, ..) = opened(
        |_, _| {},
        async |mut session: Played| {
            session.skip_a_number();
            session.begin(welcome()).await;
        },
    )
    .await;
    assert!(reason(opened).ends_with(second_welcome));
}

#[test]
fn why_a_hello_is_refused_says_whether_it_may_be_said_again() {
    for (code, is_transient, leaves_a_hold) in [
        (Code::FailedPrecondition, false, Some(true)),
        (Code::AlreadyExists, true, Some(false)),
        (Code::PermissionDenied, true, None),
        (Code::Unavailable, true, Some(true)),
        (Code::Aborted, true, Some(true)),
        (Code::Cancelled, true, Some(true)),
        (Code::Internal, true, None),
    ] {
        let error = greeting_error(ADDRESS, &Status::new(code, "its words"));
        assert_eq!((error.is_transient(), error.leaves_a_hold()), (is_transient, leaves_a_hold), "{code}");
        assert!(error.to_string().ends_with(": its words"), "{error}");
    }
    let not_let_in = greeting_error(ADDRESS, &Status::permission_denied("its words"));
    assert!(matches!(not_let_in, LinkError::NotLetIn { .. }));
}

#[tokio::test(start_paused = true)]
async fn the_data_comes_before_the_preparation_unless_it_is_there() {
    for (missing, is_busy) in [(vec![], false), (vec![0], false), (vec![0], true)] {
        let (opened, _played, stage) = opened(
            |_, stage| {
                let mut answers = stage.network.answers();
                let reply = |missing, busy| Ok(OfferReply { missing, busy });
                if is_busy {
                    answers.offers.push_back(reply(Vec::new(), true));
                }
                answers.offers.push_back(reply(missing.clone(), false));
                let nothing = BlockSet::empty(1).to_bytes().into();
                answers.holdings.push(Holdings { all: Some(nothing), came: Vec::new() });
                answers.holdings.push(Holdings { all: None, came: vec![0] });
            },
            async |mut session| {
                session.begin(welcome()).await;
                session
            },
        )
        .await;
        assert!(opened.is_ok(), "{missing:?}");
        let answers = stage.network.answers();
        let offered: Vec<_> = answers.offered.iter().map(|offer| offer.cached).collect();
        let wanted = if is_busy { vec![true, true, false] } else { vec![true, false] };
        assert_eq!(offered, wanted, "the data, then the description");
        assert_eq!(answers.holdings.is_empty(), !missing.is_empty(), "nobody watches what is whole");
    }
}

#[tokio::test(start_paused = true)]
async fn an_executor_that_runs_something_may_be_spared_as_the_run_ends_and_all_others_hear_of_it() {
    for (runs, is_spared, is_dismissed) in
        [(true, true, false), (true, false, true), (false, true, true), (false, false, true)]
    {
        for is_redial in [true, false] {
            let (mut desk, mut stage) = stage();
            let spared = if is_spared { BTreeSet::from([EXECUTOR]) } else { BTreeSet::from([ExecutorId(9)]) };
            desk.spared.set(spared).unwrap();
            let over = desk.over.clone();
            let held = if runs { vec![Attempt { task: 3, number: 2 }] } else { Vec::new() };
            let play = async {
                let mut session = stage.session().await;
                over.cancel(); // it has heard the hello
                session.say(vec![ExecutorSays::Welcome(Welcome { held, ..welcome() })]).await;
                let mut is_dismissed = false;
                while let Some(items) = session.next().await {
                    if matches!(items[..], [Item::Dismiss(_)]) {
                        is_dismissed = true;
                        break;
                    }
                }
                is_dismissed
            };
            let greet = async {
                if is_redial {
                    say_goodbye_after_redial(&mut desk, ADDRESS).await;
                } else {
                    assert_eq!(reason(open(&mut desk, SessionId(5), ADDRESS).await), "the run is over");
                }
            };
            let (dismissed, ()) = tokio::join!(play, greet);
            assert_eq!(dismissed, is_dismissed, "{runs}, {is_spared}, {is_redial}");
        }
    }
}
