//! `plan` by subject, as a tree, compared with another, and for the facts of another host.

use serde_json::{Value, json};

use super::{brisk, call, cannot_look, command};
use crate::common::{Bundle, Container, process};

fn bundle_of(container: &Container) -> String {
    container.bundle.dir.to_str().unwrap().to_owned()
}

/// Saves what `plan --json` prints of the container's bundle, changed.
fn saved(container: &Container, name: &str, change: impl Fn(&mut Value)) -> String {
    let mut plan = call(container, &["plan", "--json", &bundle_of(container)]).ok().json();
    change(&mut plan);
    let file = container.bundle.dir.join(name);
    std::fs::write(&file, plan.to_string()).unwrap();
    file.to_str().unwrap().to_owned()
}

#[test]
fn a_plan_by_subject_and_as_a_tree() {
    if cannot_look() {
        return;
    }
    let tmpfs = |bundle: Bundle, at: &str| bundle.mount("tmpfs", "tmpfs", at, &["nosuid", "noexec"]);
    let container = tmpfs(tmpfs(Bundle::idle(), "/mnt/below"), "/mnt").container();
    drop(brisk(&container));
    let dir = bundle_of(&container);

    let whole = call(&container, &["plan", "--json", &dir]).ok().json();
    let groups = call(&container, &["plan", "--format", "groups", "--plain", &dir]).ok().stdout();
    for side in ["parent", "cgroup", "child"] {
        for item in whole[side].as_array().unwrap() {
            let line =
                format!("  {side:<6} {:>3}  {}", item["index"].as_u64().unwrap(), item["text"].as_str().unwrap());
            assert!(groups.lines().any(|known| known == line), "{line}\n{groups}");
        }
    }
    let position =
        |title: &str| groups.lines().position(|line| line == title).unwrap_or_else(|| panic!("{title}: {groups}"));
    let titles =
        ["namespaces", "identity", "cgroup", "mounts", "devices", "security", "process", "order"].map(position);
    assert!(titles.is_sorted(), "{groups}");

    let tree = call(&container, &["plan", "--format", "tree", "--plain", &dir]).ok().stdout();
    let line =
        |start: &str| tree.lines().find(|line| line.starts_with(start)).unwrap_or_else(|| panic!("{start}: {tree}"));
    assert!(line("/ ").contains(container.bundle.rootfs().to_str().unwrap()), "{tree}");
    assert!(line("|-- mnt").contains("tmpfs (nosuid,noexec"), "{tree}");
    assert!(line("|   |-- null").contains("char 1:3 0666"), "{tree}");
    // The mount that another one hides, and by which.
    assert!(line("  /mnt/below: tmpfs").contains("below /mnt (child "), "{tree}");
}

#[test]
fn two_plans_are_compared() {
    if cannot_look() {
        return;
    }
    let container = Bundle::idle().container();
    let other =
        Bundle::idle().mount("tmpfs", "tmpfs", "/mnt", &["nosuid"]).set("/hostname", json!("other")).container();
    drop(brisk(&container));
    let (first, second) = (bundle_of(&container), bundle_of(&other));
    let same = call(&container, &["plan", "--diff", &first, &first]).ok().stdout();
    assert!(same.starts_with("no difference: "), "{same}");

    let text = call(&container, &["plan", "--diff", &first, "--plain", &second]).ok().stdout();
    assert!(
        text.lines().any(|line| line.starts_with("+ child") && line.contains("mount tmpfs on /mnt (nosuid")),
        "{text}"
    );
    assert!(text.lines().any(|line| line.starts_with("+ child") && line.ends_with("set hostname other")), "{text}");
    let back = call(&container, &["plan", "--diff", &second, "--plain", &first]).ok().stdout();
    assert!(
        back.lines().any(|line| line.starts_with("- child") && line.contains("mount tmpfs on /mnt (nosuid")),
        "{back}"
    );

    let tree = call(&container, &["plan", "--diff", &first, "--format", "tree", &second]).ok().stdout();
    assert!(
        tree.lines().any(|line| line.starts_with("+ ") && line.contains("mnt") && line.contains("tmpfs (nosuid")),
        "{tree}"
    );
    assert!(!tree.contains("proc"), "{tree}");

    let value = call(&container, &["plan", "--diff", &first, "--json", &second]).ok().json();
    let changes = value["changes"].as_array().unwrap();
    let added = changes.iter().find(|change| change["second"]["destination"] == "/mnt").unwrap();
    assert_eq!((&added["change"], &added["first"], &added["group"]), (&json!("added"), &Value::Null, &json!("mounts")));
    assert_eq!(value["host"], json!([]), "{value}");
}

/// From where a shell puts them: `brisk plan --diff <(brisk plan --json one) other`.
#[test]
fn plans_come_by_pipes() {
    if cannot_look() {
        return;
    }
    let container = Bundle::idle().container();
    let (file, dir) = (saved(&container, "saved.json", |_| {}), bundle_of(&container));
    let by_shell = |line: &str| {
        let script = format!("words=(\"${{@:3}}\"); brisk() {{ \"${{words[@]}}\" \"$@\"; }}; {line}");
        let inner = command(&container, &[]);
        process::run(process::under(&["bash", "-c", &script, "bash", &file, &dir], &inner)).ok().stdout()
    };
    assert!(by_shell(r#"brisk plan --diff <(cat "$1") "$2""#).starts_with("no difference: "));
    assert!(by_shell(r#"brisk plan --diff - "$2" < "$1""#).starts_with("no difference: "));
    let whole = by_shell(r#"brisk plan "$2""#);
    assert!(whole.starts_with("host         uid 0 "), "{whole}");
    for line in [r#"brisk plan "$1""#, r#"cat "$1" | brisk plan -"#, r#"brisk plan <(cat "$1")"#] {
        assert_eq!(by_shell(line), whole, "{line}");
    }
    let again: Value = serde_json::from_str(&by_shell(r#"cat "$1" | brisk plan --json -"#)).unwrap();
    assert_eq!(again, serde_json::from_slice::<Value>(&std::fs::read(&file).unwrap()).unwrap());
}

#[test]
fn a_saved_plan_is_as_good_as_its_host() {
    if cannot_look() {
        return;
    }
    let container = Bundle::idle().container();
    drop(brisk(&container));
    let dir = bundle_of(&container);
    // Another host: one of cgroup v2 alone, without a bounding capability.
    let there = saved(&container, "there.json", |plan| {
        let hierarchy = json!({ "mount_point": "/sys/fs/elsewhere", "root": "/", "own": "", "controllers": ["memory", "pids"], "name": null });
        plan["host"]["cgroup"] = json!({ "unified": hierarchy, "v1": [] });
        plan["host"]["bounding"] = json!(plan["host"]["bounding"].as_u64().unwrap() & !(1 << 5));
    });
    let here = saved(&container, "here.json", |_| {});

    let text = call(&container, &["plan", "--host", &there, &dir]).ok().stdout();
    assert!(text.contains("/sys/fs/elsewhere") && text.starts_with("host         uid 0"), "{text}");
    let planned = call(&container, &["plan", "--host", &there, "--json", &dir]).ok().json();
    assert_eq!(planned["host"]["cgroup"]["unified"]["mount_point"], "/sys/fs/elsewhere", "{planned}");

    // Two hosts, and one bundle.
    let text = call(&container, &["plan", "--diff", &here, "--host", &there, "--plain", &dir]).ok().stdout();
    assert!(text.lines().any(|line| line == "~ bounding: -CAP_KILL"), "{text}");
    assert!(text.lines().any(|line| line.contains("/sys/fs/elsewhere")), "{text}");
    // What was saved needs no bundle, and is printed as what it was made of is.
    let [list, again] = [&dir, &here].map(|of| call(&container, &["plan", of]).ok().stdout());
    assert_eq!(again, list);
    let value = call(&container, &["plan", "--json", &there]).ok().json();
    assert_eq!(value["host"]["cgroup"]["unified"]["mount_point"], "/sys/fs/elsewhere", "{value}");
    let tree = call(&container, &["plan", "--format", "tree", &there]).ok().stdout();
    assert!(tree.contains("|-- proc"), "{tree}");
    let same = call(&container, &["plan", "--diff", &here, &dir]).ok().stdout();
    assert!(same.starts_with("no difference: "), "{same}");
}

#[test]
fn what_is_no_saved_plan_is_told() {
    if cannot_look() {
        return;
    }
    let container = Bundle::idle().container();
    drop(brisk(&container));
    let dir = bundle_of(&container);
    let config = container.bundle.dir.join("config.json").to_str().unwrap().to_owned();
    let newer = saved(&container, "newer.json", |plan| plan["version"] = json!(2));
    let good = saved(&container, "good.json", |_| {});
    let [list, number, word] = [json!([]), json!(1), json!("x")]
        .map(|other| saved(&container, &format!("{other}.json"), |plan| *plan = other.clone()));
    for (args, what) in [
        (&["plan", "--format", "tree", &config][..], "is not a plan of version 1"),
        (&["plan", "--diff", &newer, &dir], "is not a plan of version 1"),
        (&["plan", "--host", &config, &dir], "take the facts about a host"),
        (&["plan", "--host", &list, &dir], "take the facts about a host"),
        (&["plan", "--host", &number, &dir], "take the facts about a host"),
        (&["plan", "--host", &word, &dir], "take the facts about a host"),
        (&["plan", "--format", "tree", &list], "is not a plan of version 1"),
        (&["plan", "--host", &good, "--format", "tree", &good], "is a plan that was made already"),
        (&["plan", "--diff", "/no/such/place", &dir], "/no/such/place"),
    ] {
        let error = call(&container, args).fails();
        assert!(error.contains(what), "{args:?}: {error}");
        assert_eq!(error.matches("hint: ").count(), 1, "{args:?}: {error}");
    }
}
