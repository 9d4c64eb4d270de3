//! Buckets with a clock that is moved.

use std::time::Duration;

use super::quick::{Quick, Subject};
use super::*;
use crate::config::{Env, Reader};

fn settings(values: &[(&str, &str)], production: bool) -> LimitSettings {
    let env = Env::fixed(values.iter().copied());
    let mut reader = Reader::new(&env);
    let settings = LimitSettings::read(&mut reader, production);
    reader.finish(settings).expect("valid").0
}

#[test]
fn development_is_wider_only_where_the_contract_says() {
    let (dev, prod) = (settings(&[], false), settings(&[], true));
    assert_eq!((prod.user.count, dev.user.count), (600, 12_000));
    assert_eq!((prod.anonymous.count, dev.anonymous.count), (120, 2400));
    assert_eq!((prod.register[0].count, dev.register[0].count), (30, 600));
    assert_eq!((prod.chat_send.burst, dev.chat_send.burst), (60, 1200));
    assert_eq!(prod.reset_mail, dev.reset_mail);
    assert_eq!(settings(&[("RATE_LIMIT_USER", "5/min")], false).user.count, 5);
}

#[test]
fn a_bucket_empties_and_fills_again() {
    let clock = Clock::default();
    let quick = Quick::new(Rate::new(60, Duration::from_secs(60)), clock.clone());
    let user = Subject::User(1);
    for left in (0..60).rev() {
        let verdict = quick.hit(user);
        assert_eq!(verdict.remaining, left);
        assert!(verdict.into_result().is_ok());
    }
    let refused = quick.hit(user).into_result().expect_err("empty");
    assert_eq!((refused.status, refused.code), (429, "throttled"));
    let header = |name| {
        refused
            .headers
            .iter()
            .find(|(n, _)| *n == name)
            .map(|(_, v)| v.as_str())
    };
    assert_eq!(header("retry-after"), Some("1"));
    assert_eq!(header("ratelimit-policy"), Some("60;w=60"));
    assert!(
        quick.hit(Subject::User(2)).into_result().is_ok(),
        "others are not touched"
    );
    clock.advance(Duration::from_secs(2));
    assert!(quick.hit(user).into_result().is_ok());
    clock.advance(Duration::from_secs(3600));
    quick.sweep();
    assert_eq!(quick.hit(user).remaining, 59);
}

#[test]
fn many_hits_count_all_together_or_not_at_all() {
    let clock = Clock::default();
    let quick = Quick::new(Rate::new(60, Duration::from_secs(60)), clock.clone());
    let user = Subject::User(1);
    assert!(quick.hit_many(user, 50).is_ok());
    let refused = quick.hit_many(user, 20).expect_err("ten are left");
    assert_eq!((refused.status, refused.code), (429, "throttled"));
    assert_eq!(quick.hit(user).remaining, 9);
    assert!(quick.hit_many(user, 0).is_ok());
    // More than the bucket holds pass when it is full but for one.
    clock.advance(Duration::from_secs(3600));
    quick.hit(user);
    assert!(quick.hit_many(user, 1000).is_ok());
    assert!(quick.hit(user).into_result().is_err());
}

#[test]
fn a_burst_may_be_larger_than_a_second() {
    let clock = Clock::default();
    let rate = Rate {
        burst: 60,
        ..Rate::new(20, Duration::from_secs(1))
    };
    let quick = Quick::new(rate, clock.clone());
    assert_eq!(
        (0..100)
            .filter(|_| quick.hit(Subject::User(1)).into_result().is_ok())
            .count(),
        60
    );
    clock.advance(Duration::from_secs(1));
    assert_eq!(
        (0..100)
            .filter(|_| quick.hit(Subject::User(1)).into_result().is_ok())
            .count(),
        20
    );
}

#[test]
fn an_ipv6_client_counts_by_its_network() {
    let subject = |text: &str| address(text.parse().expect("address"));
    assert_eq!(subject("2001:db8:1:2::1"), subject("2001:db8:1:2:ffff::9"));
    assert_ne!(subject("2001:db8:1:2::1"), subject("2001:db8:1:3::1"));
    assert_ne!(subject("10.0.0.1"), subject("10.0.0.2"));
}
