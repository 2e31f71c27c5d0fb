//! `linux.intelRdt`: the resctrl group a container's tasks go to, and what its schemata file gets.
//!
//! Pure; runs in the parent. See "Intel RDT" of the specification and Documentation/filesystems/resctrl.rst.

use crate::error::{Error, Result, Stage};
use crate::spec::linux::IntelRdt;

/// A resctrl group, by names below the mount point of resctrl.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RdtPlan {
    /// Name of the control group; empty for the root group.
    pub group: String,
    /// What is expected of it.
    pub presence: Presence,
    /// `L3:` and `MB:` lines, written to a new group, and compared with those of one that is there.
    pub schemas: Vec<String>,
    /// Lines written in any case.
    pub schemata: Vec<String>,
    /// Name of a monitoring group in it.
    pub monitoring: Option<String>,
}

/// Whether the control group exists already.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Presence {
    /// The group is made, unless it is there.
    #[default]
    Any,
    /// The group is not made: the administrator has.
    Existing,
}

/// Names in a group's directory that are not groups.
const RESERVED: &[&str] = &[".", "..", "info", "mon_groups", "mon_data"];

/// Plans the group of container `id`.
pub fn plan(rdt: &IntelRdt, id: &str) -> Result<RdtPlan> {
    let IntelRdt { clos_id, l3_cache_schema, mem_bw_schema, schemata, enable_cmt, enable_mbm, enable_monitoring } = rdt;
    let clos = clos_id.as_deref().filter(|clos| !clos.is_empty());
    let group = match clos {
        Some("/") => "",
        Some(name) => name,
        None => id,
    };
    if group.contains(['/', '\n', '\0']) || RESERVED.contains(&group) {
        return Err(Error::of_field(
            Stage::Bundle,
            "linux.intelRdt.closID",
            format!("linux.intelRdt.closID {group:?} is not the name of a group"),
        ));
    }
    let schemas = schemas(l3_cache_schema.as_deref(), mem_bw_schema.as_deref());
    let schemata: Vec<String> = schemata.iter().flat_map(|lines| lines.lines()).map(str::to_owned).collect();
    let nothing = schemas.is_empty() && schemata.is_empty();
    let presence = if group.is_empty() || (clos.is_some() && nothing) { Presence::Existing } else { Presence::Any };
    let watched = *enable_monitoring || *enable_cmt || *enable_mbm;
    Ok(RdtPlan { group: group.to_owned(), presence, schemas, schemata, monitoring: watched.then(|| id.to_owned()) })
}

/// The lines of both schemas; `MB:` lines among those of the cache give way to memBwSchema.
pub fn schemas(l3: Option<&str>, memory: Option<&str>) -> Vec<String> {
    let lines = |text: Option<&str>| -> Vec<String> {
        text.unwrap_or_default().lines().map(str::trim).filter(|line| !line.is_empty()).map(str::to_owned).collect()
    };
    let mut all = lines(l3);
    all.retain(|line| !line.starts_with("MB:"));
    all.extend(lines(memory));
    all
}

/// Whether a group's schemata have every one of these lines, whichever way their domains and digits are written.
pub fn has_all(schemata: &str, wanted: &[String]) -> bool {
    wanted.iter().all(|line| schemata.lines().any(|there| parse(there) == parse(line)))
}

/// Resource, and its domains in order with their values: `L3:0=f;1=0f`.
fn parse(line: &str) -> (&str, Vec<(u64, String)>) {
    let (resource, domains) = line.split_once(':').unwrap_or((line, ""));
    let mut domains: Vec<_> = domains
        .split(';')
        .filter_map(|domain| domain.split_once('='))
        .map(|(domain, value)| {
            (domain.trim().parse().unwrap_or(u64::MAX), value.trim().trim_start_matches('0').to_lowercase())
        })
        .collect();
    domains.sort_unstable();
    (resource.trim(), domains)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rdt(clos: Option<&str>, l3: Option<&str>, memory: Option<&str>) -> IntelRdt {
        let own = |text: Option<&str>| text.map(str::to_owned);
        IntelRdt { clos_id: own(clos), l3_cache_schema: own(l3), mem_bw_schema: own(memory), ..IntelRdt::default() }
    }

    #[test]
    fn which_group() {
        let group = |clos, l3| plan(&rdt(clos, l3, None), "web1").map(|plan| (plan.group, plan.presence));
        let found = |name: &str, presence| (name.to_owned(), presence);
        assert_eq!(group(None, Some("L3:0=f")).unwrap(), found("web1", Presence::Any));
        assert_eq!(group(None, None).unwrap(), found("web1", Presence::Any));
        assert_eq!(group(Some("gold"), Some("L3:0=f")).unwrap(), found("gold", Presence::Any));
        assert_eq!(group(Some("gold"), None).unwrap(), found("gold", Presence::Existing));
        assert_eq!(group(Some("/"), None).unwrap(), found("", Presence::Existing));
        for bad in ["a/b", "/a", "..", ".", "info", "mon_groups", "a\nb"] {
            assert!(group(Some(bad), None).is_err(), "{bad:?}");
        }
        assert!(plan(&rdt(None, None, None), "info").is_err(), "a container of this name");
    }

    #[test]
    fn memory_lines_of_the_cache_schema_give_way() {
        let plan = plan(&rdt(None, Some("L3:0=f\nMB:0=10\nL3DATA:0=3"), Some("MB:0=70")), "a").unwrap();
        assert_eq!(plan.schemas, ["L3:0=f", "L3DATA:0=3", "MB:0=70"]);
    }

    #[test]
    fn monitoring_is_asked_for_in_three_ways() {
        for field in ["enableMonitoring", "enableCMT", "enableMBM"] {
            let rdt: IntelRdt = serde_json::from_value(serde_json::json!({ field: true })).unwrap();
            assert_eq!(plan(&rdt, "a").unwrap().monitoring.as_deref(), Some("a"), "{field}");
        }
        assert_eq!(plan(&IntelRdt::default(), "a").unwrap().monitoring, None);
    }

    #[test]
    fn schemata_are_compared_by_meaning() {
        let there = "    MB:0=100;1=100\n    L3:0=0ffff;1=000ff\n";
        let has = |line: &str| has_all(there, &[line.to_owned()]);
        assert!(has("L3:0=ffff;1=ff"));
        assert!(has("L3:1=FF;0=ffff"));
        assert!(has("MB:0=100;1=100"));
        assert!(!has("L3:0=ffff;1=f"));
        assert!(!has("L3:0=ffff"));
        assert!(!has("L2:0=ffff;1=ff"));
    }
}
