//! Faults of single fields, collected before answering so that a client sees all of them at once.

use super::{ApiError, Code, Text, common, messages};

/// One fault of one field.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    /// Field name as in the request; `<index>.<field>` in a batch, `non_field_errors` for faults
    /// of several fields together.
    pub field: String,
    pub text: Text,
    /// Replaces `validation_error` as the body's `code` when this fault is the first.
    pub code: Option<&'static str>,
}

/// Faults in the order of the fields' declaration. Empty means valid.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Faults(Vec<Fault>);

impl Faults {
    pub fn new() -> Self {
        Self::default()
    }

    /// One fault, as an error.
    pub fn one(field: impl Into<String>, text: Text) -> ApiError {
        let mut faults = Faults::new();
        faults.add(field, text);
        faults.into_error()
    }

    pub fn add(&mut self, field: impl Into<String>, text: Text) {
        self.0.push(Fault {
            field: field.into(),
            text,
            code: None,
        });
    }

    /// Adds a fault whose stable code the body should carry when it is the first one.
    pub fn add_coded(&mut self, field: impl Into<String>, code: &Code) {
        self.0.push(Fault {
            field: field.into(),
            text: code.text.clone(),
            code: Some(code.code),
        });
    }

    pub fn add_coded_text(&mut self, field: impl Into<String>, code: &'static str, text: Text) {
        self.0.push(Fault {
            field: field.into(),
            text,
            code: Some(code),
        });
    }

    pub fn required(&mut self, field: impl Into<String>) {
        self.add(field, messages::REQUIRED);
    }

    /// Takes over the faults of an inner value, their names prefixed with `prefix.`.
    pub fn nest(&mut self, prefix: impl std::fmt::Display, inner: Faults) {
        self.0.extend(inner.0.into_iter().map(|f| Fault {
            field: format!("{prefix}.{}", f.field),
            ..f
        }));
    }

    pub fn merge(&mut self, other: Faults) {
        self.0.extend(other.0);
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub fn has(&self, field: &str) -> bool {
        self.0.iter().any(|f| f.field == field)
    }

    pub fn iter(&self) -> impl Iterator<Item = &Fault> {
        self.0.iter()
    }

    /// Keeps the value when there are no faults.
    ///
    /// # Errors
    /// The collected faults as a 400.
    pub fn into_result<T>(self, value: T) -> Result<T, ApiError> {
        if self.is_empty() {
            Ok(value)
        } else {
            Err(self.into_error())
        }
    }

    /// A 400 whose `error` repeats the first message and whose `code` is the first fault's.
    pub fn into_error(self) -> ApiError {
        let mut error = ApiError::from(common::VALIDATION_ERROR);
        if let Some(first) = self.0.first() {
            error.text = first.text.clone();
            error.code = first.code.unwrap_or(error.code);
        }
        error.faults = self;
        error
    }
}
