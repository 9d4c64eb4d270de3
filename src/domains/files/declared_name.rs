//! A file's name as clients send it. Control characters are let in, because they are removed
//! rather than refused (contract "cloud" 3.2); `names::FileName` makes a name of it.

use std::borrow::Cow;

use poem_openapi::registry::{MetaSchema, MetaSchemaRef};
use poem_openapi::types::{ParseError, ParseFromJSON, ParseResult, ToJSON, Type};
use serde_json::Value;
use yunque_kernel::http::body::FILE_NAME_FORMAT;

use crate::names::MAX_NAME;

/// 1 to 255 characters of any kind.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeclaredName(pub String);

impl Type for DeclaredName {
    const IS_REQUIRED: bool = true;
    type RawValueType = Self;
    type RawElementValueType = Self;

    fn name() -> Cow<'static, str> {
        "DeclaredName".into()
    }

    fn schema_ref() -> MetaSchemaRef {
        let mut schema = MetaSchema::new_with_format("string", FILE_NAME_FORMAT);
        (schema.min_length, schema.max_length) = (Some(1), Some(MAX_NAME));
        MetaSchemaRef::Inline(Box::new(schema))
    }

    fn as_raw_value(&self) -> Option<&Self> {
        Some(self)
    }

    fn raw_element_iter<'a>(&'a self) -> Box<dyn Iterator<Item = &'a Self> + 'a> {
        Box::new(self.as_raw_value().into_iter())
    }
}

impl ParseFromJSON for DeclaredName {
    fn parse_from_json(value: Option<Value>) -> ParseResult<Self> {
        match value {
            Some(Value::String(text)) => Ok(DeclaredName(text)),
            other => Err(ParseError::expected_type(other.unwrap_or_default())),
        }
    }
}

impl ToJSON for DeclaredName {
    fn to_json(&self) -> Option<Value> {
        Some(self.0.clone().into())
    }
}
