//! What is printed of plans, at three widths.

use brisk::cli::args::PlanArgs;
use brisk::cli::plan::document;
use brisk::error::is_unseen;
use brisk::host::Host;
use brisk::plan::verbs::create::create;
use brisk::spec::{self, Spec};
use serde_json::{Value, json};

use super::document::{PlanDocument, host_in};
use super::{changes, groups, tree};
use crate::looks::Looks;
use crate::stats::tests::view;

#[path = "../../../tests/plan_options.rs"]
mod plan_options;
use plan_options::options;

fn fixture(path: &str) -> Vec<u8> {
    std::fs::read(format!("{}/fixtures/{path}", env!("CARGO_MANIFEST_DIR"))).unwrap()
}

/// The plan of a bundle of fixtures/ on a host of fixtures/, changed before it is read.
fn planned(host: &str, bundle: &str, change: impl Fn(&mut Value)) -> Value {
    let host: Host = serde_json::from_slice(&fixture(&format!("hosts/{host}.json"))).unwrap();
    let mut config: Value = serde_json::from_slice(&fixture(&format!("bundles/{bundle}/config.json"))).unwrap();
    change(&mut config);
    let spec: Spec = spec::parse(config.to_string().as_bytes(), bundle).unwrap();
    document(&host, &create(&spec, &host, &options(&spec)).unwrap(), PlanArgs::default().which()).unwrap()
}

fn plan(document: &Value) -> PlanDocument {
    PlanDocument::of(document, "it").unwrap()
}

/// A container that is another: mounts one of which another hides, capabilities, a host name, limits, a variable.
fn other() -> Value {
    planned("v2-root", "default", |config| {
        let mounts = config["mounts"].as_array_mut().unwrap();
        let tmpfs = |at: &str| json!({ "destination": at, "type": "tmpfs", "source": "tmpfs", "options": ["noexec"] });
        mounts.extend([tmpfs("/srv/data"), tmpfs("/srv")]);
        mounts.swap(2, 3);
        config["hostname"] = json!("other");
        config["process"]["user"]["uid"] = json!(1000);
        config["process"]["env"] = json!(["PATH=/bin", "MORE=1"]);
        for set in ["bounding", "permitted", "effective"] {
            config["process"]["capabilities"][set] = json!(["CAP_KILL"]);
        }
        config["linux"]["resources"] = json!({ "memory": { "limit": 67_108_864 } });
    })
}

#[test]
fn what_is_said_of_plans_fits_its_width() {
    let first = plan(&planned("v2-root", "default", |_| {}));
    let second = plan(&other());
    let [here, there] = ["v2-root", "v2-user"].map(|host| plan(&planned(host, "rootless", |_| {})));
    for width in [40, 80, 160] {
        let looks = Looks { width: Some(width), ..Looks::PLAIN };
        let views = [
            ("groups", groups::lines(&first, looks)),
            ("tree", tree::lines(&second, looks)),
            ("diff", changes::lines(&first, &second, looks)),
            ("diff-tree", tree::changes(&first, &second, looks)),
            ("diff-hosts", changes::lines(&here, &there, looks)),
        ];
        for (name, lines) in views {
            let wide = lines.iter().find(|line| line.chars().count() > width || !line.is_ascii());
            assert_eq!(wide, None, "{name} {width}");
            view(&format!("plan-{name}-{width}.txt"), &(lines.join("\n") + "\n"));
        }
    }
    let json = serde_json::to_string_pretty(&changes::json(&first, &second)).unwrap();
    view("plan-diff.json", &(json + "\n"));
}

#[test]
fn a_terminal_that_has_them_gets_colours_and_lines() {
    let looks = Looks { colours: true, unicode: true, width: Some(80), ..Looks::PLAIN };
    let (first, second) = (plan(&planned("v2-root", "default", |_| {})), plan(&other()));
    let text = tree::lines(&second, looks).join("\n");
    assert!(text.contains("├── proc") && text.contains("└── urandom") || text.contains("│   └── zero"), "{text}");
    assert!(tree::changes(&first, &second, looks).iter().any(|line| line.contains("\x1b[1m")), "added");
    let plain = tree::lines(&second, looks.plain()).join("\n");
    assert!(plain.is_ascii() && !plain.contains('\x1b') && plain.contains("|-- proc"), "{plain}");
}

#[test]
fn a_plan_is_like_itself_and_a_turn_is_no_change() {
    let first = planned("v2-root", "default", |_| {});
    assert_eq!(changes::changes(&plan(&first), &plan(&first)).0, []);
    let mut second = first.clone();
    second["child"].as_array_mut().unwrap().swap(7, 8);
    let (first, second) = (plan(&first), plan(&second));
    let (changes, same) = changes::changes(&first, &second);
    assert!(matches!(changes[..], [changes::ItemChange::Moved(..)]), "{changes:?}");
    assert_eq!(same + 1, first.items.len());
}

/// The line of a filter is the same for two that let other calls pass.
#[test]
fn what_no_line_tells_is_told_as_a_field() {
    let with = |call: &str| {
        plan(&planned("v2-root", "default", |config| {
            let rule = json!({ "names": [call], "action": "SCMP_ACT_ERRNO" });
            config["linux"]["seccomp"] = json!({ "defaultAction": "SCMP_ACT_ALLOW", "syscalls": [rule] });
        }))
    };
    let lines = changes::lines(&with("mkdir"), &with("rmdir"), Looks::PLAIN).join("\n");
    assert!(lines.contains("load the seccomp filter") && lines.contains("; fingerprint: "), "{lines}");
}

/// Controls of both sets, DEL, and one that turns what follows around.
const ORDERS: &str = "\x1b[2J\n\r\u{9b}2J\u{7f}\u{202e}";

/// Puts orders for a terminal into every text, in the place of every other value, and beside it under a name of such, but for what is
/// called so.
fn spoilt(value: &Value, but: &[&str], mark: &str) -> Value {
    let orders = format!("{ORDERS}{mark}");
    match value {
        Value::Object(fields) => {
            let known = fields.iter().map(|(name, value)| match but.contains(&name.as_str()) {
                true => (name.clone(), value.clone()),
                false => (name.clone(), spoilt(value, but, mark)),
            });
            known.chain([(orders.clone(), json!(orders.clone()))]).collect()
        }
        Value::Array(list) => list.iter().map(|value| spoilt(value, but, mark)).collect(),
        Value::String(text) => json!(text.clone() + &orders),
        Value::Null | Value::Bool(_) | Value::Number(_) => json!(orders),
    }
}

#[test]
fn what_comes_from_elsewhere_gives_a_terminal_no_orders() {
    let whole = planned("v2-root", "default", |_| {});
    let known = plan(&whole);
    for but in [&["version", "group"][..], &["version", "group", "op", "kind", "rule", "type"]] {
        let [one, other] = ["", "other"].map(|mark| {
            let mut whole = whole.clone();
            whole["warnings"] = json!(["beware"]);
            plan(&spoilt(&whole, but, mark))
        });
        for width in [None, Some(12), Some(60)] {
            let looks = Looks { width, ..Looks::PLAIN };
            let views = [
                groups::list(&one, looks),
                groups::lines(&one, looks),
                tree::lines(&one, looks),
                changes::lines(&known, &one, looks),
                changes::lines(&one, &other, looks),
                tree::changes(&known, &one, looks),
                tree::changes(&one, &other, looks),
            ];
            for (view, lines) in views.iter().enumerate() {
                let strange = lines.iter().find(|line| line.contains(is_unseen));
                assert_eq!(strange, None, "{but:?} {width:?} {view}");
            }
        }
        // For programs, and read at a terminal.
        let json = crate::json::text(&changes::json(&known, &one)).unwrap();
        assert!(!json.contains(|c| c != '\n' && is_unseen(c)), "{json}");
    }
}

#[test]
fn what_is_no_plan_is_refused() {
    let document = planned("v2-root", "default", |_| {});
    let changed = |change: &dyn Fn(&mut Value)| {
        let mut changed = document.clone();
        change(&mut changed);
        PlanDocument::of(&changed, "it").unwrap_err();
    };
    changed(&|plan| plan["version"] = json!(2));
    changed(&|plan| plan["child"] = json!("x"));
    changed(&|plan| plan["parent"] = json!([1]));
    changed(&|plan| plan["cgroup"] = json!([{ "op": "x", "group": "y" }]));
    changed(&|plan| plan["child"] = vec![plan["child"][0].clone(); 50_001].into());
    for other in [json!({}), json!([]), json!(1), json!("x"), json!(null)] {
        PlanDocument::of(&other, "it").unwrap_err();
        host_in(other).unwrap_err();
    }
}

#[path = "../../../tests/json_schema.rs"]
mod json_schema;

#[test]
fn what_is_different_is_as_its_schema_says() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/plan-diff.schema.json");
    let schema: Value = serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap();
    let first = plan(&planned("v2-root", "default", |_| {}));
    let second = PlanDocument { warnings: vec!["w".to_owned()], ..plan(&other()) };
    let elsewhere = plan(&planned("v1-root", "default", |_| {}));
    let mut seen = std::collections::BTreeSet::new();
    for (one, other) in [(&first, &second), (&second, &first), (&first, &elsewhere), (&first, &first)] {
        let value = changes::json(one, other);
        json_schema::check(&value, &schema, "diff").unwrap();
        let kinds = value["changes"].as_array().unwrap().iter().map(|change| change["change"].to_string());
        seen.extend(kinds.chain(value["warnings"].as_array().unwrap().iter().map(|one| one["change"].to_string())));
    }
    let known = schema.pointer("/properties/changes/items/properties/change/enum").unwrap().as_array().unwrap();
    assert!(known.iter().all(|kind| seen.contains(&kind.to_string())), "{seen:?}");
}
