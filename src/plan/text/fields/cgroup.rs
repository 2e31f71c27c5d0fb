//! What is done to cgroups, as values.

use serde_json::Value;

use super::{ItemFields, PlanGroup, item};
use crate::plan::Plan;
use crate::plan::cgroup::devices::DeviceVerdict;
use crate::plan::cgroup::{CgroupPlan, DevicePolicy, Devices, Version, WhenMissing, Write};

impl Plan {
    /// What [`Plan::cgroup_lines`] says, as values.
    pub(super) fn cgroup_items(&self) -> Vec<Value> {
        let Some(CgroupPlan { dirs, need: _, writes, devices, warnings: _ }) = &self.cgroup else { return Vec::new() };
        let mut items = Vec::new();
        if let Some(scope) = &self.scope {
            let unit = &scope.unit;
            items.push(item(PlanGroup::Cgroup, "scope").with("unit", &*unit.name).with("slice", &*unit.slice));
            items.extend(scope.properties.iter().map(|property| {
                let named = item(PlanGroup::Cgroup, "property").with("name", &*property.name);
                named.with("value", property.value.to_string())
            }));
        }
        let verb = if self.scope.is_some() { "open" } else { "mkdir" };
        items.extend(dirs.iter().map(|dir| {
            let version = if dir.version == Version::V1 { 1 } else { 2 };
            let named = item(PlanGroup::Cgroup, verb).with("path", dir.full_path().to_string_lossy());
            named.with("controllers", dir.controllers.clone()).with("version", version)
        }));
        items.extend(writes.iter().map(limit));
        items.push(match devices {
            Devices::Unrestricted => rules(None, None),
            Devices::V1(policy) => rules(Some("devices"), Some(policy)),
            Devices::Bpf(policy) => rules(Some("bpf"), Some(policy)),
        });
        let lines = self.cgroup_lines().into_iter();
        items.into_iter().zip(lines).enumerate().map(|(index, (item, line))| item.printed(index, line)).collect()
    }
}

fn limit(write: &Write) -> ItemFields {
    let Write { controller, file, value, missing } = write;
    let (missing, instead) = match missing {
        WhenMissing::Fail => ("fail", None),
        WhenMissing::Skip => ("skip", None),
        WhenMissing::Instead { file, value } => ("instead", Some((&**file, &**value))),
    };
    let named = item(PlanGroup::Cgroup, "write").with("controller", &**controller).with("file", &**file);
    let named = named.with("value", &**value).with("whenMissing", missing);
    named.with("insteadFile", instead.map(|(file, _)| file)).with("insteadValue", instead.map(|(_, value)| value))
}

fn rules(by: Option<&str>, policy: Option<&DevicePolicy>) -> ItemFields {
    let word = |verdict| if verdict == DeviceVerdict::Allow { "allow" } else { "deny" };
    let rules = policy.map(|policy| policy.rules.as_slice()).unwrap_or_default().iter();
    let rules: Vec<String> = rules.map(|rule| format!("{} {rule}", word(rule.verdict))).collect();
    let named = item(PlanGroup::Devices, "device-rules").with("by", by).with("rules", rules);
    named.with("others", policy.map_or("allow", |policy| word(policy.default)))
}
