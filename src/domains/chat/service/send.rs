//! One message, from what a client sent to what is stored. HTTP and sockets both come here.

use poem_openapi::types::MaybeUndefined;
use serde::Serialize;
use url::Url;
use yunque_kernel::auth::Caller;
use yunque_kernel::error::messages;
use yunque_kernel::http::{Bucket, Claim};
use yunque_kernel::{ApiError, ChatMessageId, ChatRoomId, DbError, Faults, Tx};

use super::append::FileLink;
use super::committer::{Delivered, Outgoing};
use crate::dto::{self, ChatMessageIn, ChatMessageOut};
use crate::kinds::MessageType;
use crate::{Chat, ChatError, repo};

impl Chat {
    /// A message as far as it can be looked at without its room. Counts against the rate of sending.
    ///
    /// # Errors
    /// 429; 400 `empty_content` and faults of the fields; `GroupRequired`.
    pub(crate) async fn prepare(
        &self,
        caller: &Caller,
        room: ChatRoomId,
        input: ChatMessageIn,
    ) -> Result<Outgoing, ApiError> {
        self.admit(caller).await?;
        self.ctx().limits.quick(Bucket::ChatSend, caller.user_id)?;
        let ChatMessageIn {
            content,
            message_type,
            file_url,
            file_name,
            file_size,
            reply_to,
            client_id,
        } = input;
        let message_type = message_type.unwrap_or(MessageType::Text);
        let url = given(file_url).filter(|url| !url.is_empty());
        let may_be_empty = matches!(message_type, MessageType::Image | MessageType::File);
        let content = match content.map(|text| text.into_valid()).transpose()?.flatten() {
            Some(text) => text,
            None if may_be_empty && url.is_some() => String::new(),
            None if may_be_empty => return Err(Faults::one("file_url", messages::REQUIRED)),
            None => return Err(ChatError::EmptyContent.into()),
        };
        if may_be_empty && url.is_none() {
            return Err(Faults::one("file_url", messages::REQUIRED));
        }
        let file = match url {
            None => None,
            Some(url) if !is_web_address(&url) => {
                return Err(Faults::one("file_url", messages::BAD_FORMAT));
            }
            Some(url) => Some(FileLink {
                upload: self.core().upload_of(&url).await.map_err(ChatError::from)?,
                url,
                name: given(file_name),
                size: given(file_size),
            }),
        };
        let outgoing = Outgoing {
            room,
            sender: caller.user_id,
            message_type,
            mentions: self
                .core()
                .mentions(caller.user_id, &content)
                .await
                .map_err(ChatError::from)?,
            content,
            file,
            reply_to: given(reply_to),
            client_id: given(client_id).map(|id| id.0),
            people: dto::People::new(),
        };
        Ok(self.with_people(outgoing).await.map_err(ChatError::from)?)
    }

    /// Everybody whom the stored message will show.
    async fn with_people(&self, mut outgoing: Outgoing) -> Result<Outgoing, DbError> {
        let mut shown = vec![outgoing.sender];
        if let Some(id) = outgoing.reply_to {
            let reply = repo::find_message(self.ctx().db.reader(), ChatMessageId(id)).await?;
            shown.extend(reply.map(|reply| reply.sender()));
        }
        outgoing.people = self.core().people(shown).await?;
        Ok(outgoing)
    }

    /// Stores a message together with others.
    ///
    /// # Errors
    /// `RoomNotFound`, `NotMember`, `RoomInactive`, `Muted`, `SystemDenied`, `InvalidReply`.
    pub(crate) async fn send(&self, outgoing: Outgoing) -> Result<Delivered, ChatError> {
        self.begin_send(outgoing).await?.await
    }

    /// Puts a message behind those that were sent before, and gives what waits until it is stored.
    ///
    /// # Errors
    /// The server stops. Those of what is given are those of [`Chat::send`].
    pub(crate) async fn begin_send(
        &self,
        outgoing: Outgoing,
    ) -> Result<impl Future<Output = Result<Delivered, ChatError>> + Send + use<>, ChatError> {
        self.0.committers.add(outgoing).await
    }

    /// Stores a message by itself, together with the answer of an idempotent request.
    ///
    /// # Errors
    /// As [`Chat::send`].
    pub(crate) async fn send_claimed<A: Serialize + Send + Sync>(
        &self,
        outgoing: Outgoing,
        claim: Claim,
        answer: impl Fn(&ChatMessageOut) -> A + Clone + Send + Sync + 'static,
    ) -> Result<Delivered, ChatError> {
        let core = self.core().clone();
        self.ctx()
            .db
            .write("chat.send_one", move |tx: Tx| {
                let (core, outgoing) = (core.clone(), outgoing.clone());
                let (claim, answer) = (claim.clone(), answer.clone());
                async move {
                    let mut answers = core.commit(&tx, std::slice::from_ref(&outgoing)).await?;
                    let delivered = answers.pop().ok_or(DbError::Cancelled)??;
                    let status = if delivered.is_new { 201 } else { 200 };
                    let shown = delivered.shown(&outgoing.people);
                    claim.store(&tx, status, &answer(&shown)).await?;
                    Ok::<_, ChatError>(delivered)
                }
            })
            .await
    }
}

impl Delivered {
    pub fn shown(&self, people: &dto::People) -> ChatMessageOut {
        dto::message(&self.row, &self.room, self.reply.as_ref(), people)
    }
}

fn given<T>(value: MaybeUndefined<T>) -> Option<T> {
    match value {
        MaybeUndefined::Value(value) => Some(value),
        MaybeUndefined::Undefined | MaybeUndefined::Null => None,
    }
}

/// http or https, with a host.
fn is_web_address(text: &str) -> bool {
    // The parser of addresses forgives blanks, and takes the path of `http:///x` for a host.
    let is_plain = !text.contains(|c: char| c.is_whitespace() || c.is_control()) && !text.contains(":///");
    is_plain
        && text
            .parse::<Url>()
            .is_ok_and(|url| matches!(url.scheme(), "http" | "https") && url.has_host())
}

#[cfg(test)]
mod tests {
    use super::is_web_address;

    #[test]
    fn files_are_on_the_web() {
        for good in [
            "http://a/b.png",
            "https://例子.公司/图.png",
            "https://a.b:8443/?x=1#y",
        ] {
            assert!(is_web_address(good), "{good}");
        }
        for bad in [
            "",
            "a",
            "/media/x.png",
            "javascript:alert(1)",
            "data:text/html,x",
            "file:///etc/passwd",
            "ftp://a/b",
            "http://",
            "http:///x",
            "https://a b/",
        ] {
            assert!(!is_web_address(bad), "{bad}");
        }
    }
}
