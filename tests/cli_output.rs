//! What is printed: tables, JSON, log lines, config.json, completions, manual pages.

use std::time::{Duration, UNIX_EPOCH};

use brisk::cli::log::{Level, Log, LogFormat, Reader, line, told};
use brisk::cli::{features, output};
use brisk::container::View;
use brisk::error::{Deed, Error, Stage};
use brisk::spec::template;
use brisk::sys::seccomp::Support;
use nix::errno::Errno;
use serde_json::Value;

fn view(id: &str, pid: i32) -> View {
    View {
        oci_version: "1.2.0".into(),
        id: id.into(),
        pid,
        status: "running",
        bundle: "/b".into(),
        rootfs: "/b/rootfs".into(),
        created: "2026-11-20T23:38:38.5Z".into(),
        exit_status: None,
        finished: None,
        reason: None,
        annotations: [("a".to_owned(), "/x".to_owned())].into(),
        owner: "root".into(),
    }
}

#[test]
fn the_table_has_runcs_columns() {
    assert_eq!(output::table(&[]), "ID          PID         STATUS      BUNDLE      CREATED     OWNER\n");
    let table = output::table(&[view("a-rather-long-name", 7)]);
    let lines: Vec<&str> = table.lines().collect();
    assert_eq!(lines[0], "ID                   PID         STATUS      BUNDLE      CREATED                  OWNER");
    assert_eq!(lines[1], "a-rather-long-name   7           running     /b          2026-11-20T23:38:38.5Z   root");
}

#[test]
fn state_is_what_engines_parse() {
    let json: Value = serde_json::from_str(&output::pretty(&view("x", 7)).unwrap()).unwrap();
    for (key, value) in [
        ("ociVersion", "1.2.0"),
        ("id", "x"),
        ("status", "running"),
        ("bundle", "/b"),
        ("rootfs", "/b/rootfs"),
        ("created", "2026-11-20T23:38:38.5Z"),
        ("owner", "root"),
    ] {
        assert_eq!(json[key], value);
    }
    assert_eq!(json["pid"], 7);
    assert_eq!(json["annotations"]["a"], "/x");
    assert_eq!(output::compact(&[3, 4]).unwrap(), "[3,4]\n");
}

#[test]
fn no_json_has_what_a_terminal_obeys() {
    let hostile = "a\u{1b}\u{7f}\u{9b}\u{202e}\u{2028}é";
    for json in [output::pretty(&[hostile]).unwrap(), output::compact(&[hostile]).unwrap()] {
        assert!(json.chars().all(|c| c == '\n' || !brisk::error::is_unseen(c)), "{json:?}");
        assert!(json.contains('é') && json.ends_with('\n'), "{json}");
        assert_eq!(serde_json::from_str::<Value>(&json).unwrap()[0], hostile);
    }
}

#[test]
fn ps_is_filtered_by_pid() {
    let ps = "UID          PID    PPID  CMD\nroot           1       0  init\nroot          12       1  PID 13\nroot          13       1  x\n";
    assert_eq!(
        output::filter_ps(ps, &[12]).unwrap(),
        "UID          PID    PPID  CMD\nroot          12       1  PID 13\n"
    );
    assert!(output::filter_ps("CMD\nx\n", &[1]).is_err());
}

#[test]
fn a_log_line_is_one_line() {
    let time = UNIX_EPOCH + Duration::new(1_794_958_718, 500_000_000);
    assert_eq!(
        line(LogFormat::Json, Level::Error, "a \"b\"\nc/d", None, time),
        "{\"level\":\"error\",\"msg\":\"a \\\"b\\\"\\nc/d\",\"time\":\"2026-11-17T23:38:38.5Z\"}\n"
    );
    assert_eq!(
        line(LogFormat::Text, Level::Warning, "a \"b\"\nc", None, time),
        "time=\"2026-11-17T23:38:38.5Z\" level=warning msg=\"a \\\"b\\\"\\nc\"\n"
    );
    let error = Error::errno(Stage::Cgroup, "write x", Errno::EBUSY).doing(Deed::WriteLimit, "/c/pids.max");
    let record: Value = serde_json::from_str(&line(LogFormat::Json, Level::Error, "x", Some(&error), time)).unwrap();
    let fields = ["msg", "stage", "op", "errno", "object"].map(|key| record[key].as_str().unwrap());
    assert_eq!(fields, ["x", "cgroup", "write a limit", "EBUSY", "/c/pids.max"]);
    assert!(record["hint"].as_str().unwrap().contains("below what is in use"));
    let error = Error::new(Stage::Args, "x").with_hint("try y");
    let record: Value = serde_json::from_str(&line(LogFormat::Json, Level::Error, "x", Some(&error), time)).unwrap();
    assert_eq!((&record["hint"], &record["errno"], &record["op"]), (&"try y".into(), &Value::Null, &Value::Null));
}

#[test]
fn a_program_gets_one_line_and_a_person_more() {
    let error = Error::new(Stage::Args, "x").with_hint("try y").with_excerpt("  1 | x\n    | ^\n".to_owned());
    assert_eq!(told("run c: args: x", &error, Reader::Program), "brisk: error: run c: args: x (hint: try y)");
    let lines = "brisk: error: run c: args: x\n  1 | x\n    | ^\nhint: try y";
    assert_eq!(told("run c: args: x", &error, Reader::Person), lines);
    assert_eq!(told("x", &Error::new(Stage::Args, "x"), Reader::Program), "brisk: error: x");
}

#[test]
fn the_log_file_is_appended_to() {
    let path = std::env::temp_dir().join(format!("brisk-log-{}", std::process::id()));
    for form in [path.as_os_str().to_owned(), format!("file:{}", path.display()).into()] {
        let log = Log::open(Some(&form), LogFormat::Json, Level::Warning).unwrap();
        log.message(Level::Debug, "not shown");
        log.message(Level::Error, "kill x: signal: container not running");
    }
    let text = std::fs::read_to_string(&path).unwrap();
    // A file that another test reads gets the log's inode otherwise, and no process reads its own log.
    std::mem::forget(std::fs::File::open(&path).unwrap());
    std::fs::remove_file(&path).unwrap();
    let messages: Vec<Value> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(messages.len(), 2);
    assert!(messages.iter().all(|m| m["level"] == "error" && m["msg"] == "kill x: signal: container not running"));
}

#[test]
fn the_template_is_valid_for_everyone() {
    for layout in [template::TemplateLayout::V1, template::TemplateLayout::V2] {
        for whom in [template::For::Root, template::For::Rootless { uid: 1000, gid: 100 }] {
            let text = template::config(whom, layout);
            assert!(!text.contains('@'), "{text}");
            let spec: brisk::spec::Spec = serde_json::from_str(&text).unwrap();
            let linux = spec.linux.unwrap();
            let kinds: Vec<&str> = linux.namespaces.iter().map(|namespace| namespace.kind.as_str()).collect();
            assert_eq!(kinds.contains(&"cgroup"), layout == template::TemplateLayout::V2);
            assert_eq!(kinds.contains(&"user"), whom != template::For::Root);
            assert_eq!(kinds.contains(&"network"), whom == template::For::Root);
            assert_eq!(linux.resources.is_some(), whom == template::For::Root);
            assert_eq!(spec.oci_version, "1.3.0");
            if whom != template::For::Root {
                assert_eq!((linux.uid_mappings[0].host_id, linux.gid_mappings[0].host_id), (1000, 100));
                assert!(!text.contains("gid=5"));
            }
        }
    }
}

#[test]
fn features_name_what_the_tables_have() {
    let features = features::document(Support::ALL);
    let seccomp = &features["linux"]["seccomp"];
    assert_eq!(seccomp["supportedFlags"], seccomp["knownFlags"]);
    assert_eq!(features::document(Support::NONE)["linux"]["seccomp"]["supportedFlags"], serde_json::json!([]));
    assert!(seccomp["archs"].as_array().unwrap().contains(&"SCMP_ARCH_X86_64".into()));
    for option in ["ro", "rbind", "rprivate", "tmpcopyup", "idmap"] {
        assert!(features["mountOptions"].as_array().unwrap().contains(&option.into()), "{option}");
    }
    assert_eq!(features["linux"]["namespaces"].as_array().unwrap().len(), 8);
    assert!(features["linux"]["capabilities"].as_array().unwrap().contains(&"CAP_SYS_ADMIN".into()));
    // The types of the specification, as an engine would read it.
    assert_eq!((&features["ociVersionMin"], &features["ociVersionMax"]), (&"1.0.0".into(), &"1.3.0".into()));
}
