//! `list` with fields and filters, which is brisk's own.

use serde_json::json;

use crate::common::{Bundle, brisk_only};

#[test]
fn fields_of_chosen_containers() {
    if brisk_only("its list has fields") {
        return;
    }
    let annotations = json!({ "team": "a b", "bad": "x\u{1b}[2J\ny" });
    let container = Bundle::idle().set("/annotations", annotations).container();
    container.create().ok();
    let list = |args: &[&str]| container.call(&[&["list"], args].concat()).ok().stdout();
    let table = list(&["--format", "id,annotation.team,exit,annotation.bad,status"]);
    let lines: Vec<&str> = table.lines().collect();
    assert_eq!(lines[0].split_whitespace().collect::<Vec<_>>(), ["ID", "team", "EXIT", "bad", "STATUS"]);
    assert_eq!(
        lines[1].split("   ").map(str::trim).filter(|cell| !cell.is_empty()).collect::<Vec<_>>(),
        [&container.id, "a b", "-", "x\\u{1b}[2J\\ny", "created"]
    );
    assert_eq!(lines.len(), 2, "{table}");
    let age = list(&["--format", "age"]);
    assert!(age.lines().nth(1).unwrap().ends_with('s'), "{age}");
    for (filter, shown) in [("status=created", true), ("status=running", false), ("annotation.team~b", true)] {
        assert_eq!(list(&["--quiet", "--filter", filter]).contains(&container.id), shown, "{filter}");
        assert_eq!(list(&["--format", "json", "--filter", filter]) != "[]\n", shown, "{filter}");
    }
    assert!(container.call(&["list", "--filter", "exit=0"]).fails().contains("must be FIELD=VALUE"));
    assert!(container.call(&["list", "--format", "colour"]).fails().contains("must be table, json, or fields"));
    // What a script leaves of a variable that is not set is not "all of them".
    for empty in [["--filter", ""], ["--filter", "id~"], ["--format", ""]] {
        let said = container.call(&[&["list"][..], &empty].concat()).fails();
        assert!(said.contains("invalid value"), "{said}");
    }
}
