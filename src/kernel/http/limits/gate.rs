//! Decides, for one request, which general bucket it counts in.
//!
//! An operation without a login counts for the address, before anything is done. One with
//! credentials counts for the user, which only the `Caller` extractor can tell; it calls
//! [`charge_user`]. When that never happened, because the credentials were bad, the request counts
//! for the address after all, so that guessing tokens is not free.

use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};

use poem::Request;
use poem::http::HeaderMap;

use super::quick::Verdict;
use super::{Limits, Subject, address};
use crate::error::ApiError;
use crate::ids::UserId;

/// The account of one request.
pub struct RateGate {
    limits: Limits,
    ip: IpAddr,
    state: Mutex<State>,
}

#[derive(Clone, Copy, Default)]
struct State {
    charged: bool,
    user: Option<UserId>,
    verdict: Option<Verdict>,
}

impl RateGate {
    pub(in crate::http) fn new(limits: Limits, ip: IpAddr) -> Arc<Self> {
        Arc::new(RateGate {
            limits,
            ip,
            state: Mutex::default(),
        })
    }

    fn charge(&self, subject: Subject) -> Result<(), ApiError> {
        let verdict = self.limits.general(subject);
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        state.charged = true;
        state.verdict = verdict;
        match verdict {
            Some(verdict) => verdict.into_result().map(drop),
            None => Ok(()),
        }
    }

    /// # Errors
    /// 429 when the address has used up its requests.
    pub(in crate::http) fn charge_address(&self) -> Result<(), ApiError> {
        self.charge(address(self.ip))
    }

    pub(crate) fn charge_user(&self, user: UserId) -> Result<(), ApiError> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner).user = Some(user);
        self.charge(Subject::User(user.0))
    }

    /// Was this request counted at all?
    pub(in crate::http) fn is_charged(&self) -> bool {
        self.state.lock().unwrap_or_else(PoisonError::into_inner).charged
    }

    /// The user, for the access log.
    pub(in crate::http) fn user(&self) -> Option<UserId> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner).user
    }

    /// Tells the client where it stands. A refusal of a narrower bucket said so already.
    pub(in crate::http) fn write_headers(&self, headers: &mut HeaderMap) {
        let Some(verdict) = self.state.lock().unwrap_or_else(PoisonError::into_inner).verdict else {
            return;
        };
        if headers.contains_key("ratelimit-limit") {
            return;
        }
        headers.insert("ratelimit-limit", verdict.rate.count.into());
        headers.insert("ratelimit-remaining", verdict.remaining.into());
        headers.insert("ratelimit-reset", verdict.reset.into());
        if let Ok(policy) = verdict.rate.policy().parse() {
            headers.insert("ratelimit-policy", policy);
        }
    }
}

/// Counts a request for the user it turned out to come from. Called by the `Caller` extractors.
///
/// # Errors
/// 429 when the user has used up his requests.
pub fn charge_user(request: &Request, user: UserId) -> Result<(), ApiError> {
    match request.data::<Arc<RateGate>>() {
        Some(gate) => gate.charge_user(user),
        None => Ok(()),
    }
}
