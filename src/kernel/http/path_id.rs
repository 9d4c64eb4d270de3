//! Ids as path parameters: `Path<UserId>`.
//!
//! `Path<i64>` takes `+1` and would answer for 1. An id in a path is `^[0-9]{1,19}$` and positive, or
//! the path leads nowhere (404).

use std::borrow::Cow;

use poem_openapi::registry::{MetaSchema, MetaSchemaRef};
use poem_openapi::types::{ParseError, ParseFromParameter, ParseResult, Type};

use crate::ids::{FileId, JobId, SessionId, SupportMessageId, SupportSessionId, UserId};

macro_rules! path_ids {
    ($($name:ident),+) => {$(
        impl Type for $name {
            const IS_REQUIRED: bool = true;
            type RawValueType = Self;
            type RawElementValueType = Self;

            fn name() -> Cow<'static, str> {
                concat!("integer_", stringify!($name)).into()
            }

            fn schema_ref() -> MetaSchemaRef {
                let mut schema = MetaSchema::new_with_format("integer", "int64");
                schema.minimum = Some(1.0);
                MetaSchemaRef::Inline(Box::new(schema))
            }

            fn as_raw_value(&self) -> Option<&Self::RawValueType> {
                Some(self)
            }

            fn raw_element_iter<'a>(&'a self) -> Box<dyn Iterator<Item = &'a Self::RawElementValueType> + 'a> {
                Box::new(self.as_raw_value().into_iter())
            }
        }

        impl ParseFromParameter for $name {
            fn parse_from_parameter(text: &str) -> ParseResult<Self> {
                $name::parse(text).ok_or_else(|| ParseError::custom("not an id"))
            }
        }
    )+};
}

path_ids!(
    UserId,
    SessionId,
    FileId,
    JobId,
    SupportSessionId,
    SupportMessageId
);
