//! What is checked, in order. First what needs nobody, then, when it is the handshake's turn, what
//! needs the database.

use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use poem::http::header;
use serde_json::{Map, Value, json};

use super::{Handshake, Stop, no_place};
use crate::error::{ApiError, Faults, Text, messages};
use crate::ids::parse_id;
use crate::ws::conn::{Conn, Input, Replay};
use crate::ws::credential::Credential;
use crate::ws::endpoint::{Endpoint, Opened, Peer, Tail};
use crate::ws::line::{Line, RECHECK};
use crate::ws::pace::Pace;
use crate::ws::registry::{Entry, NoPlace, Slot};
use crate::ws::room::chunk;
use crate::ws::rooms::Visit;
use crate::ws::wire::{ResumeCompleteFrame, tagged};
use crate::ws::{Ws, codes};

/// What `connection_established` says.
const WELCOME: Text = Text::fixed("连接成功", "Connected.");

/// What somebody wants who may be anybody.
pub(super) struct Wish {
    /// `None`: the caller's own.
    room: Option<i64>,
    since: Option<i64>,
    credential: Credential,
}

/// A client that may come in.
pub(super) struct Checked<E: Endpoint> {
    room: i64,
    peer: Peer,
    credential: Credential,
    seat: E::Seat,
    replay: Option<Replay>,
    line: Arc<Line>,
    place: (Entry, Visit),
}

impl Handshake {
    /// Room, origin, and whether the credential can be one.
    pub(super) fn looked_at(&self, ws: &Ws, room: Option<&str>) -> Result<Wish, ApiError> {
        let fault = || Faults::one("id", messages::BAD_FORMAT);
        let room = room.map(|room| parse_id(room).ok_or_else(fault)).transpose()?;
        let since = since(self.info.query("since"))?;
        self.check_origin(ws)?;
        let ip: IpAddr = self.info.client_ip;
        let credential = Credential::of(self.info.query("token"), &self.headers, ip)?;
        credential.look_at(ws)?;
        Ok(Wish {
            room,
            since,
            credential,
        })
    }

    fn check_origin(&self, ws: &Ws) -> Result<(), ApiError> {
        let Some(origin) = self.headers.get(header::ORIGIN) else {
            return Ok(());
        };
        let host = self.headers.get(header::HOST).and_then(|host| host.to_str().ok());
        let allowed = origin
            .to_str()
            .is_ok_and(|origin| ws.0.origins.allows_socket(origin, host));
        if allowed {
            Ok(())
        } else {
            Err(codes::ORIGIN_REFUSED.into())
        }
    }

    /// Credential, scope, membership, number of sockets. Who passes is in the room.
    pub(super) async fn examined<E: Endpoint>(
        &self,
        ws: &Ws,
        endpoint: &Arc<E>,
        wish: Wish,
        request_id: &Arc<str>,
    ) -> Result<Checked<E>, Stop> {
        let Wish {
            room,
            since,
            credential,
        } = wish;
        let (caller, expires_at) = credential.check(ws).await?;
        if let Some(rate) = &self.rate {
            rate.charge_user(caller.user_id).map_err(Stop::Http)?;
        }
        let room = room.unwrap_or(caller.user_id.0);
        let mut peer = Peer {
            caller: caller.clone(),
            lang: self.info.lang,
            request_id: request_id.clone(),
            connection: ws.0.next_id.fetch_add(1, Ordering::Relaxed),
            scope: self.scope,
            may_write: false,
        };
        peer.set_caller(caller)?;
        let Opened { seat, greeting, tip } = endpoint.open(&peer, room).await?;

        let mut visit =
            ws.0.rooms
                .visit(&endpoint.topic(room), room, &endpoint.log())
                .await?;
        let session = peer.caller.session.map_or(0, |session| session.0);
        let line = ws.line(peer.caller.user_id, session);
        line.expires_at.store(expires_at, Ordering::Relaxed);
        let entry = match ws.0.registry.enter(&line, &visit.room.topic) {
            Ok(entry) => entry,
            Err(NoPlace::TooMany) => return Err(ApiError::from(codes::TOO_MANY_SOCKETS).into()),
            Err(NoPlace::Full) => return Err(Stop::Http(no_place())),
        };
        // Whatever was revoked before the registry knew this socket shows here.
        credential.check(ws).await?;
        let now = visit.join(&line, tip.position).await?;
        if now != tip {
            // What happened between the check and here may have taken the right away, and this
            // socket was not there to be asked again.
            line.signal(RECHECK);
        }
        let position = now.position;

        line.push_replay(chunk(&welcome(ws, &peer, greeting, position)));
        let replay = match since {
            Some(since) if since < position => Some(replay(ws, endpoint, room, since, position).await?),
            since => {
                if since.is_some() {
                    line.push_replay(chunk(&nothing_missed(position)));
                }
                line.end_replay();
                None
            }
        };
        Ok(Checked {
            room,
            peer,
            credential,
            seat,
            replay,
            line,
            place: (entry, visit),
        })
    }
}

/// `connection_established`.
fn welcome(ws: &Ws, peer: &Peer, greeting: Map<String, Value>, position: i64) -> Map<String, Value> {
    let user = json!({ "id": peer.caller.user_id, "username": &*peer.caller.username });
    let mut frame = Map::new();
    frame.insert("type".into(), "connection_established".into());
    frame.insert("message".into(), WELCOME.get(peer.lang).into());
    frame.insert("user".into(), user);
    frame.extend(greeting);
    let last = (position > 0).then_some(position);
    frame.insert("last_message_id".into(), last.into());
    frame.insert("heartbeat".into(), ws.0.settings.ping_interval.as_secs().into());
    frame
}

fn nothing_missed(position: i64) -> Value {
    let complete = ResumeCompleteFrame {
        from: position,
        to: position,
        count: 0,
        truncated: false,
    };
    tagged("resume_complete", &complete)
}

/// What is to be sent again of the messages in (`from`, `position`].
async fn replay<E: Endpoint>(
    ws: &Ws,
    endpoint: &Arc<E>,
    room: i64,
    from: i64,
    position: i64,
) -> Result<Replay, ApiError> {
    let most = ws.0.settings.resume_max;
    // So few numbers cannot be more messages, and nobody need be asked.
    let tail = match position.abs_diff(from) <= most {
        true => Tail {
            from,
            truncated: false,
        },
        false => endpoint.log().tail(room, from, position, most).await?,
    };
    Ok(Replay {
        from,
        after: tail.from,
        upto: position,
        truncated: tail.truncated,
        count: 0,
    })
}

/// `?since=`: a message id, or 0 for everything.
fn since(text: Option<&str>) -> Result<Option<i64>, ApiError> {
    match text {
        None => Ok(None),
        Some("0") => Ok(Some(0)),
        Some(text) => match parse_id(text) {
            Some(id) => Ok(Some(id)),
            None => Err(Faults::one("since", messages::BAD_FORMAT)),
        },
    }
}

impl<E: Endpoint> Checked<E> {
    pub fn into_conn(self, ws: &Ws, endpoint: &Arc<E>, slot: Slot) -> Conn<E> {
        Conn {
            ws: ws.clone(),
            endpoint: endpoint.clone(),
            room: self.room,
            peer: self.peer,
            credential: self.credential,
            seat: Some(self.seat),
            replay: self.replay,
            line: self.line,
            place: Some(self.place),
            slot,
            pace: Pace::new(ws.0.settings.frame_rate),
            input: Input::new(ws.0.settings.max_message),
            begun: Default::default(),
            received: 0,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_since_is_an_id_or_zero() {
        assert!(matches!(since(None), Ok(None)));
        assert!(matches!(since(Some("0")), Ok(Some(0))));
        assert!(matches!(since(Some("9223372036854775807")), Ok(Some(i64::MAX))));
        for bad in [
            "",
            "-1",
            "x",
            "00000000000000000000",
            "9223372036854775808",
            "1.0",
        ] {
            assert!(since(Some(bad)).is_err(), "{bad}");
        }
    }
}
