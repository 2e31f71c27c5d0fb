//! `trace`: what `--trace` has written, as a table, as JSON, and as pictures.

use serde_json::json;

use super::{brisk, call, cannot_look, command};
use crate::common::{Bundle, process};

#[test]
fn a_start_is_shown_compared_and_drawn() {
    if cannot_look() {
        return;
    }
    let container = Bundle::sh("true").container();
    drop(brisk(&container));
    let file = |name: &str| container.bundle.dir.join(name).to_str().unwrap().to_owned();
    let [first, second, svg, html] = ["first.trace", "second.trace", "a.svg", "a.html"].map(file);
    container.run_with(&["--trace", &first]).ok();
    container.run_with(&["--trace", &second]).ok();

    // Perfetto and Chrome's viewer show processes and threads by name.
    let text = std::fs::read_to_string(&first).unwrap();
    let events: serde_json::Value = serde_json::from_str(&text).unwrap();
    let names = events["traceEvents"].as_array().unwrap().iter().filter(|event| event["ph"] == "M");
    let names: Vec<_> = names.map(|event| (&event["pid"], &event["name"], &event["args"]["name"])).collect();
    for (pid, kind, name) in [
        (1, "process_name", "brisk"),
        (1, "thread_name", "parent"),
        (2, "process_name", "container"),
        (2, "thread_name", "child"),
    ] {
        assert!(names.contains(&(&json!(pid), &json!(kind), &json!(name))), "{names:?}");
    }

    let value = call(&container, &["trace", "--json", &first]).ok().json();
    let number = |name: &str| value[name].as_f64().unwrap();
    let parts = ["parentUs", "childUs", "bothUs", "neitherUs"].map(number);
    assert!((parts.iter().sum::<f64>() - number("totalUs")).abs() < 1.0, "{value}");
    assert_eq!(value["until"], "program", "{value}");
    let steps = value["steps"].as_array().unwrap();
    assert_eq!(steps.len() + 4, events["traceEvents"].as_array().unwrap().len(), "{value}");
    let slowest = &steps[usize::try_from(value["slowest"].as_u64().unwrap()).unwrap()];
    let longest = steps.iter().filter(|step| step["waits"] == false).map(|step| step["tookUs"].as_f64().unwrap());
    assert_eq!(slowest["tookUs"].as_f64().unwrap(), longest.fold(0.0, f64::max), "{value}");
    assert!(steps.iter().any(|step| step["waits"] == true), "{value}");

    let table = call(&container, &["trace", "--plain", "--svg", &svg, "--html", &html, &first]).ok().stdout();
    let lines: Vec<&str> = table.lines().collect();
    assert!(lines[0].contains("from the request to the program's first instruction"), "{table}");
    assert_eq!(lines.len(), steps.len() + 4, "{table}");
    assert_eq!(lines.iter().filter(|line| line.contains("%  *")).count(), 1, "{table}");
    let [svg, html] = [svg, html].map(|file| std::fs::read_to_string(file).unwrap());
    assert!(svg.starts_with("<svg ") && svg.contains("class=\"hand\"") && svg.contains("pivot_root"), "{svg}");
    assert!(html.starts_with("<!DOCTYPE html>") && html.contains("<svg ") && html.contains("pivot_root"), "{html}");
    let only = call(&container, &["trace", "--svg", "-", &first]).ok().stdout();
    assert_eq!(only, svg);
    // One place is for one thing.
    let one = container.bundle.dir.join("one");
    let one = one.to_str().unwrap();
    for (files, json, said) in [
        ([one, one], &[][..], "--svg and --html are one file"),
        (["-", "-"], &[], "--svg and --html are one file"),
        (["-", one], &["--json"], "cannot have both JSON"),
        ([one, "-"], &["--json"], "cannot have both JSON"),
    ] {
        let args = [&["trace", "--svg", files[0], "--html", files[1], &first], json].concat();
        let output = call(&container, &args);
        assert_eq!((output.stdout().as_str(), std::fs::exists(one).unwrap()), ("", false), "{output:?}");
        assert!(output.fails().contains(said), "{files:?}");
    }

    let compared = call(&container, &["trace", "--format", "json", "--compare", &second, &first]).ok().json();
    assert_eq!(compared["first"]["totalUs"], value["totalUs"]);
    // The same steps, whatever the containers are called.
    let both = |step: &&serde_json::Value| step["firstUs"].is_number() && step["secondUs"].is_number();
    let list = compared["steps"].as_array().unwrap();
    assert!(list.iter().filter(both).count() + 2 >= list.len(), "{compared}");
    let table = call(&container, &["trace", "--compare", &second, &first]).ok().stdout();
    assert!(table.lines().nth(2).unwrap().contains("CHANGE us"), "{table}");
}

#[test]
fn no_file_is_written_over() {
    if cannot_look() {
        return;
    }
    let container = Bundle::idle().container();
    drop(brisk(&container));
    let file = |name: &str| container.bundle.dir.join(name).to_str().unwrap().to_owned();
    let [first, second, hard, soft, one] = ["1.trace", "2.trace", "hard.trace", "soft.trace", "one"].map(file);
    let text = r#"{"traceEvents":[{"ph":"X","ts":0,"dur":5,"cat":"child","name":"x"}]}"#;
    for name in [&first, &second] {
        std::fs::write(name, text).unwrap();
    }
    // By whatever name.
    std::fs::hard_link(&first, &hard).unwrap();
    std::os::unix::fs::symlink(&first, &soft).unwrap();
    for args in [
        &["--svg", &first, &first][..],
        &["--html", &first, &first],
        &["--svg", &hard, &first],
        &["--svg", &first, &soft],
        &["--html", &second, "--compare", &second, &first],
    ] {
        let args = [&["trace"], args].concat();
        let said = call(&container, &args).fails();
        assert!(said.contains("what is read is not written over"), "{said}");
        assert_eq!(std::fs::read_to_string(&first).unwrap(), text, "{args:?}");
    }
    // Standard output is a file, too.
    let mut to_one = command(&container, &["trace", "--svg", &one, &first]);
    let out = process::run(process::in_shell(&format!("exec \"$@\" > {one}"), &to_one));
    assert!(out.fails().contains("--svg and standard output are one file"));
    to_one = command(&container, &["trace", "--svg", &one, "--html", "-", &first]);
    let out = process::run(process::in_shell(&format!("exec \"$@\" > {one}"), &to_one));
    assert!(out.fails().contains("--svg and --html are one file"));
}

/// Of a file that somebody else has written.
#[test]
fn a_file_that_is_no_trace() {
    if cannot_look() {
        return;
    }
    let container = Bundle::idle().container();
    let file = container.bundle.dir.join("odd.trace");
    let path = file.to_str().unwrap();
    std::fs::write(&file, "{}").unwrap();
    assert!(call(&container, &["trace", path]).fails().contains("is not a trace"));
    // Nor does an empty table tell of what somebody else has written.
    for other in [json!([]), json!([{ "ph": "X", "ts": 0.0, "dur": 5.0, "cat": "v8", "name": "x" }])] {
        std::fs::write(&file, json!({ "traceEvents": other }).to_string()).unwrap();
        let out = call(&container, &["trace", path]);
        assert_eq!(out.stdout(), "");
        assert!(out.fails().contains("has no step of brisk's"), "{other}");
    }
    let event = json!({ "ph": "X", "ts": 0.0, "dur": 5.0, "cat": "child", "name": "\u{1b}[2J</svg><script>x\n" });
    std::fs::write(&file, json!({ "traceEvents": [event] }).to_string()).unwrap();
    for args in [
        &["trace", path][..],
        &["trace", "--json", path],
        &["trace", "--svg", "-", path],
        &["trace", "--html", "-", path],
    ] {
        let text = call(&container, args).ok().stdout();
        assert!(
            !text.contains('\u{1b}') && (args[1] == path || args[1] == "--json" || !text.contains("<script")),
            "{text}"
        );
    }
}
