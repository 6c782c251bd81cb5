//! `docs/json.md` names everything that the types say.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::path::Path;

use peerage::api::open_api;
use serde_json::Value;

#[test]
fn every_field_and_every_word_is_in_the_reference() {
    let reference = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/json.md");
    let reference = std::fs::read_to_string(reference).unwrap();
    let document = serde_json::to_value(open_api()).unwrap();
    let told =
        ["TransferView", "PeerView", "FileView", "TrackerView", "StatsView", "Sources", "State", "Role"];
    let told = told.iter().chain(&["FilePriority", "TrackerState", "Problem", "Event", "Limits", "SeedGoal"]);
    let mut words = Vec::new();
    for name in told {
        let schema = &document["components"]["schemas"][name];
        assert!(schema.is_object(), "{name} has no schema");
        collect(schema, &mut words);
    }
    assert!(words.len() > 100);
    let missing: Vec<&String> =
        words.iter().filter(|word| !reference.contains(&format!("`{word}`"))).collect();
    assert!(missing.is_empty(), "docs/json.md does not tell {missing:?}");
}

/// Names of properties, and the values of enumerations.
fn collect(schema: &Value, into: &mut Vec<String>) {
    match schema {
        Value::Object(fields) => {
            into.extend(
                fields
                    .get("properties")
                    .and_then(Value::as_object)
                    .into_iter()
                    .flat_map(|map| map.keys().cloned()),
            );
            let values = fields.get("enum").and_then(Value::as_array).into_iter().flatten();
            into.extend(values.filter_map(Value::as_str).map(str::to_owned));
            fields.values().for_each(|value| collect(value, into));
        }
        Value::Array(values) => values.iter().for_each(|value| collect(value, into)),
        _ => {}
    }
}
