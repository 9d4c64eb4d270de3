//! The published description of the sockets: AsyncAPI 3, from the types of their frames.
//!
//! Schemas are those of the HTTP document, turned from the dialect of OpenAPI 3.0 into JSON Schema.

use std::collections::BTreeSet;

use poem_openapi::registry::Registry;
use poem_openapi::types::Type;
use serde_json::{Map, Value, json};

use super::{Document, Info, fix, reachable, references};

const ASYNCAPI_VERSION: &str = "3.0.0";

/// One kind of socket.
pub struct Channel {
    /// `chat_room`
    pub name: &'static str,
    /// `/ws/chat/{room_id}/`
    pub address: &'static str,
    pub title: &'static str,
    /// What stands in the braces of the address, and what it is.
    pub parameter: Option<(&'static str, &'static str)>,
    /// Whether `?since=` repeats what was missed.
    pub resumes: bool,
    client: fn(&mut Registry) -> String,
    server: fn(&mut Registry) -> String,
}

impl Channel {
    /// A socket whose clients send `C` and get `S`, both unions with the discriminator `type`.
    pub fn of<C: Type, S: Type>(name: &'static str, address: &'static str, title: &'static str) -> Self {
        Channel {
            name,
            address,
            title,
            parameter: None,
            resumes: false,
            client: registered::<C>,
            server: registered::<S>,
        }
    }

    pub fn parameter(self, name: &'static str, what: &'static str) -> Self {
        Channel {
            parameter: Some((name, what)),
            ..self
        }
    }

    pub fn resumes(self) -> Self {
        Channel {
            resumes: true,
            ..self
        }
    }

    fn describe(&self, messages: &[&Vec<String>; 2]) -> Value {
        let all: BTreeSet<&String> = messages.iter().flat_map(|names| names.iter()).collect();
        let messages: Map<String, Value> = all
            .into_iter()
            .map(|name| (name.clone(), reference("messages", name)))
            .collect();
        let mut query = Map::new();
        let text = |description: &str| json!({ "type": "string", "description": description });
        query.insert(
            "token".into(),
            text("Access token, unless it stands in a header."),
        );
        if self.resumes {
            let since = "Id of the last message that the client has; 0 for all.";
            query.insert("since".into(), text(since));
        }
        let mut channel = json!({
            "address": self.address,
            "title": self.title,
            "messages": messages,
            "bindings": { "ws": {
                "method": "GET",
                "query": { "type": "object", "properties": query },
                "bindingVersion": "0.1.0",
            } },
        });
        if let Some((name, what)) = self.parameter {
            channel["parameters"] = json!({ name: { "description": what } });
        }
        channel
    }
}

fn registered<T: Type>(registry: &mut Registry) -> String {
    T::register(registry);
    T::name().into_owned()
}

fn reference(kind: &str, name: &str) -> Value {
    json!({ "$ref": format!("#/components/{kind}/{name}") })
}

impl Document {
    /// The AsyncAPI document of these sockets.
    pub fn of_sockets(info: &Info, channels: &[Channel]) -> Self {
        let mut registry = Registry::new();
        let unions: Vec<[String; 2]> = channels
            .iter()
            .map(|channel| [(channel.client)(&mut registry), (channel.server)(&mut registry)])
            .collect();
        let mut document = json!({ "components": { "schemas": registry.schemas } });
        fix::fix(&mut document);
        let schemas = document["components"]["schemas"].take();

        let (mut described, mut operations, mut messages) = (Map::new(), Map::new(), Map::new());
        for (channel, unions) in channels.iter().zip(&unions) {
            let names: Vec<Vec<String>> = unions
                .iter()
                .zip(["client", "server"])
                .map(|(union, side)| {
                    let prefix = format!("{}.{side}", channel.name);
                    messages_of(&prefix, &schemas[union], &mut messages)
                })
                .collect();
            let [from_client, from_server] = [0, 1].map(|side| &names[side]);
            described.insert(channel.name.into(), channel.describe(&[from_client, from_server]));
            for (action, names) in [("receive", from_client), ("send", from_server)] {
                let of_channel =
                    |name: &String| json!({ "$ref": format!("#/channels/{}/messages/{name}", channel.name) });
                let operation = json!({
                    "action": action,
                    "channel": { "$ref": format!("#/channels/{}", channel.name) },
                    "messages": names.iter().map(of_channel).collect::<Vec<_>>(),
                });
                operations.insert(format!("{action}_{}", channel.name), operation);
            }
        }
        let mut schemas = keep_used(&schemas, &messages);
        schemas
            .iter_mut()
            .for_each(|(_, schema)| into_json_schema(schema));
        Document(json!({
            "asyncapi": ASYNCAPI_VERSION,
            "info": { "title": info.title, "version": info.version, "description": info.description },
            "defaultContentType": "application/json",
            "servers": { "this": { "host": "localhost:8000", "protocol": "ws" } },
            "channels": described,
            "operations": operations,
            "components": { "messages": messages, "schemas": schemas },
        }))
    }
}

/// Adds a message for each arm of a union; tells their names. The same arm in another channel, or in
/// the other direction, is another message, since the schemas differ.
fn messages_of(prefix: &str, union: &Value, messages: &mut Map<String, Value>) -> Vec<String> {
    let arms = union["discriminator"]["mapping"].as_object();
    let mut names = Vec::new();
    for (kind, schema) in arms.into_iter().flatten() {
        let name = format!("{prefix}.{kind}");
        let message = json!({ "name": kind, "title": kind, "payload": { "$ref": schema } });
        messages.insert(name.clone(), message);
        names.push(name);
    }
    names
}

fn keep_used(schemas: &Value, messages: &Map<String, Value>) -> Map<String, Value> {
    let mut used = BTreeSet::new();
    messages
        .values()
        .for_each(|message| references(message, &mut used));
    reachable(schemas, &mut used);
    let all = schemas.as_object().into_iter().flatten();
    all.filter(|(name, _)| used.contains(*name))
        .map(|(name, schema)| (name.clone(), schema.clone()))
        .collect()
}

/// OpenAPI 3.0 says `nullable`, where JSON Schema has a type for null.
fn into_json_schema(value: &mut Value) {
    match value {
        Value::Array(items) => items.iter_mut().for_each(into_json_schema),
        Value::Object(map) => {
            map.values_mut().for_each(into_json_schema);
            map.shift_remove("discriminator");
            if let Some(example) = map.shift_remove("example") {
                map.insert("examples".into(), json!([example]));
            }
            if map.shift_remove("nullable") == Some(json!(true)) {
                match map.get_mut("type") {
                    Some(kind) => *kind = json!([kind.take(), "null"]),
                    None => {
                        let other = Value::Object(std::mem::take(map));
                        map.insert("anyOf".into(), json!([other, { "type": "null" }]));
                    }
                }
                if let Some(Value::Array(words)) = map.get_mut("enum") {
                    words.push(Value::Null);
                }
            }
        }
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use poem_openapi::{Object, Union};

    use super::*;

    /// Says something.
    #[derive(Object)]
    struct SaidFrame {
        text: String,
        answer_to: Option<i64>,
    }

    #[derive(Object)]
    struct LeftFrame {}

    #[derive(Union)]
    #[oai(discriminator_name = "type", one_of = true)]
    enum Frame {
        #[oai(mapping = "said")]
        Said(SaidFrame),
        #[oai(mapping = "left")]
        Left(LeftFrame),
    }

    #[test]
    fn each_frame_is_a_message_with_a_json_schema() {
        let info = Info {
            title: "t".into(),
            version: "1".into(),
            description: "d".into(),
            server: "/".into(),
        };
        let channel = Channel::of::<Frame, Frame>("talk", "/ws/{id}/", "Talk")
            .parameter("id", "Where.")
            .resumes();
        let document = Document::of_sockets(&info, &[channel]).value().clone();
        assert_eq!(document["channels"]["talk"]["address"], "/ws/{id}/");
        assert!(document["channels"]["talk"]["bindings"]["ws"]["query"]["properties"]["since"].is_object());
        assert_eq!(
            document["operations"]["send_talk"]["messages"]
                .as_array()
                .map(Vec::len),
            Some(2)
        );
        let payload = &document["components"]["messages"]["talk.server.said"]["payload"]["$ref"];
        let schema = payload
            .as_str()
            .and_then(|p| document.pointer(&p[1..]))
            .expect("a schema");
        let text = schema.to_string() + &document["components"]["schemas"]["SaidFrame"].to_string();
        assert!(text.contains("\"said\"") && !text.contains("nullable"), "{text}");
        let answer = &document["components"]["schemas"]["SaidFrame"]["properties"]["answer_to"]["type"];
        assert_eq!(*answer, json!(["integer", "null"]));
    }
}
