//! `brisk plan --json` against docs/plan.schema.json, for every golden plan.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::collections::BTreeSet;

use brisk::cli::plan::document;
use brisk::container::PlanOf;
use brisk::plan::text::fields::PlanGroup;
use serde_json::Value;

use crate::json_schema::check;
use crate::plans::{every_plan, host};

fn schema() -> Value {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/plan.schema.json");
    serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap()
}

fn documents() -> Vec<Value> {
    every_plan().iter().map(|(name, plan)| document(&host(name), plan, PlanOf::Create).unwrap()).collect()
}

#[test]
fn every_plan_is_as_the_schema_says() {
    let schema = schema();
    for document in documents() {
        check(&document, &schema, "plan").unwrap();
    }
}

/// What a schema forbids it has to forbid.
#[test]
fn what_is_not_in_the_schema_is_found() {
    let schema = schema();
    let document = documents().remove(0);
    let refused = |change: &dyn Fn(&mut Value)| {
        let mut changed = document.clone();
        change(&mut changed);
        check(&changed, &schema, "plan").unwrap_err();
    };
    refused(&|plan| plan["version"] = 2.into());
    refused(&|plan| plan["child"][0]["op"] = "no-such-op".into());
    refused(&|plan| plan["child"][0]["group"] = "no-such-group".into());
    refused(&|plan| plan["child"][0]["more"] = 1.into());
    refused(&|plan| drop(plan["child"][0].as_object_mut().unwrap().remove("text")));
    refused(&|plan| drop(plan.as_object_mut().unwrap().remove("warnings")));
    refused(&|plan| plan["host"]["uid"] = "0".into());
}

/// A schema of what no plan has could say anything.
#[test]
fn the_schema_has_no_more_than_plans_have() {
    let mut seen = BTreeSet::new();
    for document in documents() {
        for side in ["parent", "cgroup", "child"] {
            for item in document[side].as_array().unwrap() {
                seen.insert((side, item["op"].as_str().unwrap().to_owned()));
            }
        }
    }
    let schema = schema();
    for side in ["parent", "cgroup", "child"] {
        let known = schema["properties"][side]["items"]["oneOf"].as_array().unwrap().iter().map(|one| {
            let place = one["$ref"].as_str().unwrap().strip_prefix('#').unwrap();
            schema.pointer(place).unwrap()["properties"]["op"]["const"].as_str().unwrap().to_owned()
        });
        let known: BTreeSet<String> = known.collect();
        let seen: BTreeSet<String> = seen.iter().filter(|(of, _)| *of == side).map(|(_, op)| op.clone()).collect();
        assert_eq!(known, seen, "{side}");
    }
}

/// The numbers are those of the printed plan and of errors, and each group has a name that the schema knows.
#[test]
fn operations_are_numbered_and_grouped() {
    for document in documents() {
        for side in ["parent", "cgroup", "child"] {
            for (index, item) in document[side].as_array().unwrap().iter().enumerate() {
                assert_eq!(item["index"], index, "{item}");
                assert!(PlanGroup::ALL.iter().any(|group| group.name() == item["group"]), "{item}");
            }
        }
    }
}

/// A password in a variable is nobody's business who is shown a plan.
#[test]
fn no_value_of_a_variable_is_in_a_plan() {
    let mut seen = 0;
    for (name, plan) in every_plan() {
        let text = document(&host(&name), &plan, PlanOf::Create).unwrap().to_string();
        for variable in &plan.env {
            let value = variable.to_str().unwrap();
            seen += 1;
            assert!(!text.contains(value), "{value}");
        }
    }
    assert!(seen > 50, "only {seen} variables");
}
