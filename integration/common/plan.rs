//! What `brisk plan` prints, and what a trace says was done: they must be the same for every bundle of the tests.

use std::path::Path;

use serde_json::Value;

use super::{Container, process};

/// What the trace has besides the plan's steps: it begins before there is a plan.
const BEFORE_THE_PLAN: &[&str] = &["plan", "make the state directory"];

/// The last operation that brisk itself sees; what follows is done by the walker, which keeps no times.
const LAST_SEEN: &[&str] = &["unmap the runtime", "wait for start"];

/// What a `create` waits for in the end; a `run` waits for the program.
const LAST_STEPS: [&str; 2] = ["wait for the child: parked", "wait until the program runs"];

/// The steps of the parent and the operations of the child.
#[derive(Clone, Debug, PartialEq)]
pub struct Lists {
    parent: Vec<String>,
    child: Vec<String>,
}

impl Lists {
    /// Whether a step of the parent says this.
    pub fn mentions(&self, text: &str) -> bool {
        self.parent.iter().any(|step| step.contains(text))
    }

    /// What `brisk plan --json` says will be done; `None` where it refuses the bundle.
    pub fn planned(container: &Container) -> Option<Lists> {
        Lists::planned_in(container, &[])
    }

    /// The same with these variables in the environment.
    pub fn planned_in(container: &Container, environment: &[(&str, &str)]) -> Option<Lists> {
        let mut command = container.command(&["plan", "--json", container.bundle.dir.to_str().unwrap()]);
        command.envs(environment.iter().copied());
        let output = process::run(command);
        let plan = (output.code == 0).then(|| output.json())?;
        // `plan` has no id to go by; the id is in the name of the state directory and, without a cgroupsPath, of the cgroup.
        let id = &container.id;
        let with_id =
            |line: &str| line.replace("/ID ", &format!("/{id} ")).replace("/ID/notify ", &format!("/{id}/notify "));
        let named = |list: &Value| {
            let lines = list.as_array().unwrap().iter().map(|op| op["text"].as_str().unwrap());
            lines.map(with_id).collect()
        };
        Some(Lists { parent: named(&plan["parent"]), child: named(&plan["child"]) })
    }

    /// What the trace says was done, in the order in which it was begun; `None` where nothing was.
    pub fn done(trace: &Path) -> Option<Lists> {
        let trace: Value = serde_json::from_slice(&std::fs::read(trace).ok()?).unwrap();
        let side = |side: &str| {
            let mut events: Vec<&Value> =
                trace["traceEvents"].as_array().unwrap().iter().filter(|e| e["cat"] == side).collect();
            events.sort_by(|a, b| a["ts"].as_f64().unwrap().total_cmp(&b["ts"].as_f64().unwrap()));
            let names = events.into_iter().map(|event| event["name"].as_str().unwrap().to_owned());
            names.filter(|name| !BEFORE_THE_PLAN.contains(&name.as_str())).collect()
        };
        Some(Lists { parent: side("parent"), child: side("child") })
    }

    /// Whether the child, or the parent, is to do this.
    pub fn has(&self, line: &str) -> bool {
        self.parent.iter().chain(&self.child).any(|known| known == line)
    }

    /// This plan was carried out, as far as brisk can see.
    #[track_caller]
    pub fn was_done(&self, done: &Lists) {
        let or_run = |list: &[String]| -> Vec<String> {
            list.iter().map(|line| if line == LAST_STEPS[1] { LAST_STEPS[0] } else { line }.to_owned()).collect()
        };
        assert_eq!(or_run(&done.parent), self.parent, "the parent's steps");
        let seen = |line: &String| LAST_SEEN.iter().any(|word| line.starts_with(word));
        let last = self.child.iter().position(seen);
        let last = last.unwrap_or_else(|| panic!("no operation in which the child waits: {:#?}", self.child));
        assert_eq!(done.child, self.child[..=last], "the child's operations");
    }
}
