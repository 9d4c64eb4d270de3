//! What a client says, and what it is told of it.

use std::future::poll_fn;
use std::sync::atomic::Ordering;

use serde_json::Value;

use super::begun::Outcome;
use super::{Conn, unless_ended};
use crate::clock::rfc3339;
use crate::error::{ApiError, common};
use crate::http::body::parse_json;
use crate::ws::close::{Closing, error_frame};
use crate::ws::credential::Credential;
use crate::ws::decode::Received;
use crate::ws::endpoint::{Endpoint, Handled, Incoming};
use crate::ws::line::{Chunk, RECHECK};
use crate::ws::room::chunk;
use crate::ws::wire::{AuthOkFrame, PongFrame, tagged};
use crate::ws::{codes, frame};

impl<E: Endpoint> Conn<E> {
    pub(super) async fn receive(&mut self, received: Received) -> Result<(), Closing> {
        let text = match received {
            Received::Close(code) => return Err(Closing::with(code)),
            Received::Pong | Received::Ping(_) if !self.pace.take() => return self.violation(),
            Received::Pong => return Ok(()),
            Received::Ping(payload) => {
                self.line.push(&Chunk::one(frame::pong(&payload)));
                return Ok(());
            }
            Received::Text(text) => text,
        };
        self.received += 1;
        if !self.pace.take() {
            self.tell(&common::THROTTLED.into(), None);
            return self.violation();
        }
        let frame = match parse(text) {
            Ok(frame) => frame,
            Err(error) => {
                self.tell(&error, None);
                return Ok(());
            }
        };
        match frame.kind.as_str() {
            "ping" => {
                let ts = rfc3339(self.ws.0.clock.now());
                self.line.push(&chunk(&tagged("pong", &PongFrame { ts })));
                Ok(())
            }
            "auth" => self.renew(&frame).await,
            _ => self.handle(frame).await,
        }
    }

    async fn handle(&mut self, frame: Incoming) -> Result<(), Closing> {
        if !self.endpoint.overlaps(&frame.kind) {
            self.settle().await?;
        }
        let Some(seat) = &mut self.seat else { return Ok(()) };
        let client_id = client_id_of(&frame);
        let work = self.endpoint.on_frame(&self.peer, self.room, seat, frame);
        let handled = unless_ended(&self.line, work).await?;
        self.set_alarm();
        let came = match handled {
            Ok(Handled::Begun(told)) => {
                self.begun.push(client_id, told);
                return Ok(());
            }
            Ok(Handled::Done(answer)) => Ok(answer),
            Err(error) => Err(error),
        };
        self.settle().await?;
        self.conclude(Outcome { client_id, came })
    }

    /// Waits for everything that was begun.
    pub(super) async fn settle(&mut self) -> Result<(), Closing> {
        loop {
            let begun = &mut self.begun;
            let next = unless_ended(&self.line, poll_fn(|cx| begun.poll_next(cx))).await?;
            let Some(outcome) = next else { return Ok(()) };
            self.conclude(outcome)?;
        }
    }

    /// Tells the client what came of a frame.
    pub(super) fn conclude(&mut self, outcome: Outcome) -> Result<(), Closing> {
        let Outcome { client_id, came } = outcome;
        match came {
            Ok(None) => Ok(()),
            Ok(Some(answer)) => {
                self.line.push(&chunk(&answer));
                Ok(())
            }
            Err(error) => {
                self.log(&error);
                self.tell(&error, client_id.as_ref());
                if error.status == 429 {
                    self.violation()
                } else {
                    Ok(())
                }
            }
        }
    }

    /// `{"type":"auth","token"}`: the same user goes on with a new token.
    async fn renew(&mut self, frame: &Incoming) -> Result<(), Closing> {
        let token = frame.body.get("token").and_then(Value::as_str).unwrap_or("");
        let credential = Credential::token(token);
        let checked = unless_ended(&self.line, credential.check(&self.ws)).await?;
        match checked {
            Ok((caller, expires_at)) if caller.user_id == self.peer.caller.user_id => {
                self.credential = credential;
                self.line.set_session(caller.session.map_or(0, |s| s.0));
                self.line.expires_at.store(expires_at, Ordering::Relaxed);
                self.peer.set_caller(caller).map_err(Closing::because)?;
                // A revocation between the check and the new session id would have missed us.
                self.line.signal(RECHECK);
                let expires_at = chrono::DateTime::from_timestamp(expires_at, 0).map(rfc3339);
                let renewed = AuthOkFrame { expires_at };
                self.line.push(&chunk(&tagged("auth_ok", &renewed)));
            }
            Ok(_) => self.tell(&common::TOKEN_INVALID.into(), None),
            Err(error) => {
                self.log(&error);
                self.tell(&error, None);
            }
        }
        Ok(())
    }

    fn tell(&self, error: &ApiError, client_id: Option<&Value>) {
        let frame = error_frame(error, self.peer.lang, &self.peer.request_id, client_id);
        self.line.push(&Chunk::one(frame));
    }

    fn violation(&mut self) -> Result<(), Closing> {
        if self.pace.violation() {
            return Err(Closing::because(common::THROTTLED));
        }
        Ok(())
    }

    /// An error that the client cannot help; logged like those of requests.
    pub(super) fn log(&self, error: &ApiError) {
        if error.status >= 500 {
            tracing::warn!(error = %error, error.code = error.code, ws.endpoint = E::NAME, "a frame was not handled");
        }
    }

    pub(super) fn fatal(&self, error: ApiError) -> Closing {
        self.log(&error);
        Closing::because(error)
    }
}

fn parse(text: String) -> Result<Incoming, ApiError> {
    if text.trim().is_empty() {
        return Err(common::PARSE_ERROR.into());
    }
    let Value::Object(body) = parse_json(text.as_bytes())? else {
        return Err(common::PARSE_ERROR.into());
    };
    match body.get("type") {
        Some(Value::String(kind)) => Ok(Incoming {
            kind: kind.clone(),
            body,
            text,
        }),
        _ => Err(codes::UNKNOWN_TYPE.into()),
    }
}

/// The client's own id of a frame, if it has the form of one.
fn client_id_of(frame: &Incoming) -> Option<Value> {
    let id = frame.body.get("client_id")?;
    id.as_str()
        .is_some_and(|text| (1..=64).contains(&text.len()))
        .then(|| id.clone())
}
