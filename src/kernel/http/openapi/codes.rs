//! The error tables as a published file, and their texts for examples.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use crate::error::{Code, common};
use crate::http::failure::codes;

/// `openapi/error-codes.json`: every code with status and texts, by name. A name that two tables
/// share lists every status it has.
pub fn error_codes_json(tables: &[&[Code]]) -> String {
    let rows: Vec<Value> = Texts::new(tables)
        .0
        .into_iter()
        .flat_map(|(code, rows)| {
            rows.into_iter().map(move |(status, row)| {
            json!({ "code": code, "status": status, "zh": row.text.zh, "en": row.text.en })
        })
        })
        .collect();
    let mut text = serde_json::to_string_pretty(&rows).unwrap_or_default();
    text.push('\n');
    text
}

/// Code → status → row, ordered, so that the file does not depend on the order of the tables.
pub(super) struct Texts(pub BTreeMap<&'static str, BTreeMap<u16, Code>>);

impl Texts {
    pub fn new(tables: &[&[Code]]) -> Self {
        let mut map: BTreeMap<&'static str, BTreeMap<u16, Code>> = BTreeMap::new();
        for row in tables.iter().copied().chain([common::ALL, codes::ALL]).flatten() {
            map.entry(row.code)
                .or_default()
                .entry(row.status)
                .or_insert_with(|| row.clone());
        }
        Texts(map)
    }

    /// The row of a code with this status.
    pub fn row(&self, code: &str, status: u16) -> Option<&Code> {
        self.0.get(code)?.get(&status)
    }
}
