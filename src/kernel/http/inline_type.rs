//! Types of our own in request bodies, parameters and answers, as the document library wants them.

/// Publishes a type in place, by a schema of its own rather than by a name.
///
/// `name` only shows where the library reports a mistake in the program.
///
/// ```ignore
/// inline_type!(UserId, "integer_UserId", MetaSchema::new_with_format("integer", "int64"));
/// ```
#[macro_export]
macro_rules! inline_type {
    ($type:ident, $name:expr, $schema:expr) => {
        impl ::poem_openapi::types::Type for $type {
            const IS_REQUIRED: bool = true;
            type RawValueType = Self;
            type RawElementValueType = Self;

            fn name() -> ::std::borrow::Cow<'static, str> {
                $name.into()
            }

            fn schema_ref() -> ::poem_openapi::registry::MetaSchemaRef {
                ::poem_openapi::registry::MetaSchemaRef::Inline(Box::new($schema))
            }

            fn as_raw_value(&self) -> Option<&Self> {
                Some(self)
            }

            fn raw_element_iter<'a>(&'a self) -> Box<dyn Iterator<Item = &'a Self> + 'a> {
                Box::new(self.as_raw_value().into_iter())
            }
        }
    };
}

/// A JSON string with a format and bounds as a type of its own.
///
/// * Format and shortest length are options, the longest length is a number of characters.
/// * `read` makes the value of a `String`, or tells the [`Text`](crate::Text) of its fault.
/// * `show` is a method that gives the text back; only examples in the document are written.
///
/// ```ignore
/// text_type!(RoomName, Some("room-name"), Some(1), 100, RoomName::parse, as_str);
/// ```
#[macro_export]
macro_rules! text_type {
    ($type:ident, $format:expr, $min:expr, $max:expr, $read:expr, $show:ident) => {
        $crate::inline_type!($type, stringify!($type), {
            let mut schema = ::poem_openapi::registry::MetaSchema::new("string");
            schema.format = $format;
            schema.min_length = $min;
            schema.max_length = Some($max);
            schema
        });

        impl ::poem_openapi::types::ParseFromJSON for $type {
            fn parse_from_json(
                value: Option<::serde_json::Value>,
            ) -> ::poem_openapi::types::ParseResult<Self> {
                use ::poem_openapi::types::ParseError;
                let read: fn(String) -> Result<Self, $crate::Text> = $read;
                match value {
                    Some(::serde_json::Value::String(text)) => {
                        read(text).map_err(|fault| ParseError::custom(fault.en))
                    }
                    other => Err(ParseError::expected_type(other.unwrap_or_default())),
                }
            }
        }

        impl ::poem_openapi::types::ToJSON for $type {
            fn to_json(&self) -> Option<::serde_json::Value> {
                Some(self.$show().into())
            }
        }
    };
}
