//! The dependency tree against deny.toml, by what cargo knows without the network.

use std::collections::BTreeSet;
use std::process::Command;

use serde_json::Value;

/// A list of strings in deny.toml. The file is ours and plain, so no TOML parser is needed.
fn list(section: &str, name: &str) -> BTreeSet<String> {
    let text = include_str!("../deny.toml");
    let section = text.split_once(&format!("\n[{section}]\n")).unwrap().1;
    let section = section.split("\n[").next().unwrap();
    let list =
        section.split_once(&format!("\n{name} = [")).or_else(|| section.split_once(&format!("{name} = ["))).unwrap().1;
    let list = list.split_once(']').unwrap().0;
    list.split(',').map(|item| item.trim().trim_matches('"').to_owned()).filter(|item| !item.is_empty()).collect()
}

fn packages() -> Vec<Value> {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let args =
        ["metadata", "--format-version", "1", "--locked", "--offline", "--filter-platform", "x86_64-unknown-linux-gnu"];
    let output = Command::new(cargo).args(args).current_dir(env!("CARGO_MANIFEST_DIR")).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let metadata: Value = serde_json::from_slice(&output.stdout).unwrap();
    metadata["packages"].as_array().unwrap().clone()
}

/// Whether a licence expression can be met with what is allowed: every part of an AND by one of its ORs.
fn is_met(expression: &str, allowed: &BTreeSet<String>) -> bool {
    let plain = expression.replace(['(', ')'], "").replace(" / ", " OR ").replace('/', " OR ");
    plain.split(" AND ").all(|part| part.split(" OR ").any(|licence| allowed.contains(licence.trim())))
}

#[test]
fn every_dependency_has_an_allowed_licence_and_source() {
    let (licences, sources) = (list("licenses", "allow"), list("sources", "allow-registry"));
    assert!(licences.contains("MIT") && sources.len() == 1, "{licences:?} {sources:?}");
    let packages = packages();
    assert!(packages.len() > 10, "only {} packages", packages.len());
    for package in &packages {
        let name = package["name"].as_str().unwrap();
        let licence = package["license"].as_str().unwrap_or("none");
        assert!(is_met(licence, &licences), "{name}: {licence} is not in deny.toml");
        if let Some(source) = package["source"].as_str() {
            let source = source.strip_prefix("registry+").unwrap_or(source);
            assert!(sources.contains(source), "{name} comes from {source}");
        }
    }
}

#[test]
fn a_licence_that_is_not_allowed_is_noticed() {
    let allowed = BTreeSet::from(["MIT".to_owned(), "Zlib".to_owned()]);
    for (expression, met) in [
        ("MIT", true),
        ("GPL-3.0 OR MIT", true),
        ("GPL-3.0/MIT", true),
        ("(GPL-3.0 OR MIT) AND Zlib", true),
        ("MIT AND GPL-3.0", false),
        ("GPL-3.0", false),
        ("none", false),
    ] {
        assert_eq!(is_met(expression, &allowed), met, "{expression}");
    }
}
