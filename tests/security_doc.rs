//! docs/SECURITY.md: each hole in its table names a test that exists, or says why there is none.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use crate::test_files;

#[test]
fn each_hole_has_its_test() {
    let document = include_str!("../docs/SECURITY.md");
    let tests: String = test_files().into_iter().map(|(_, text)| text).collect();
    let mut rows = 0;
    for row in document.lines().filter(|line| line.starts_with("| CVE-") || line.starts_with("| GHSA-")) {
        let cells: Vec<&str> = row.split('|').map(str::trim).collect();
        let named: Vec<&str> = cells[4].split('`').skip(1).step_by(2).collect();
        let reason = ["by construction", "none", "plan", "unit", "fuzz"].iter().any(|word| cells[4].contains(word));
        assert!(!named.is_empty() || reason, "{} names no test: {}", cells[1], cells[4]);
        for name in named {
            let name = name.rsplit("::").next().unwrap();
            let wanted = match name.strip_suffix('…') {
                Some(beginning) => format!("fn {beginning}"),
                None => format!("fn {name}("),
            };
            assert!(tests.contains(&wanted), "{}: there is no test {name}", cells[1]);
        }
        rows += 1;
    }
    assert!(rows > 25, "only {rows} holes");
}
