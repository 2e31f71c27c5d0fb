//! A plan as values: each step and operation with its name, the group it belongs to, and what it works on. `brisk plan --json`
//! prints them, and docs/plan.schema.json says what each has. Pure.
//!
//! The modules: `child` and `parent` are the tables of what either side does, `cgroup` is what is done to cgroups, `parts` what
//! several of them have.

mod cgroup;
mod child;
mod parent;
mod parts;

use serde_json::{Map, Value};

use self::parts::texts;
use crate::plan::Plan;
use crate::plan::op::{ChildOp, LastOp, SetupOp};

/// What an operation is about, in the order in which a reader asks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "the names say it")]
pub enum PlanGroup {
    Namespaces,
    Identity,
    Cgroup,
    Mounts,
    Devices,
    Security,
    Process,
    Hooks,
    /// What keeps both sides in step, and what is written down.
    Order,
}

impl PlanGroup {
    /// All of them, in that order.
    pub const ALL: [PlanGroup; 9] = [
        PlanGroup::Namespaces,
        PlanGroup::Identity,
        PlanGroup::Cgroup,
        PlanGroup::Mounts,
        PlanGroup::Devices,
        PlanGroup::Security,
        PlanGroup::Process,
        PlanGroup::Hooks,
        PlanGroup::Order,
    ];

    /// The word for it.
    pub const fn name(self) -> &'static str {
        match self {
            PlanGroup::Namespaces => "namespaces",
            PlanGroup::Identity => "identity",
            PlanGroup::Cgroup => "cgroup",
            PlanGroup::Mounts => "mounts",
            PlanGroup::Devices => "devices",
            PlanGroup::Security => "security",
            PlanGroup::Process => "process",
            PlanGroup::Hooks => "hooks",
            PlanGroup::Order => "order",
        }
    }
}

/// One operation as values.
#[derive(Debug)]
struct ItemFields(Map<String, Value>);

/// An operation of this group and name.
// These are called two hundred times, and a start pays for every page of the program.
#[inline(never)]
fn item(group: PlanGroup, op: &str) -> ItemFields {
    ItemFields(Map::new()).with("op", op).with("group", group.name())
}

impl ItemFields {
    #[inline(never)]
    fn with(self, key: &str, value: impl Into<Value>) -> ItemFields {
        self.and(key, value.into())
    }

    #[inline(never)]
    fn and(mut self, key: &str, value: Value) -> ItemFields {
        self.0.insert(key.to_owned(), value);
        self
    }

    /// With its line in the printed plan, and its number there.
    fn printed(self, index: usize, text: String) -> Value {
        Value::Object(self.with("index", index).with("text", text).0)
    }
}

/// The lists of a plan.
#[derive(Debug)]
pub struct PlanItems {
    /// What the parent does.
    pub parent: Vec<Value>,
    /// What is done to cgroups, in the step that makes the cgroup.
    pub cgroup: Vec<Value>,
    /// What the child does.
    pub child: Vec<Value>,
}

impl Plan {
    /// The plan as values.
    pub fn items(&self) -> PlanItems {
        let parent = self.steps.iter().enumerate();
        PlanItems {
            parent: parent.map(|(index, step)| step.fields().printed(index, step.to_string())).collect(),
            cgroup: self.cgroup_items(),
            child: self.child_items(),
        }
    }

    fn child_items(&self) -> Vec<Value> {
        let mut directory = String::new();
        let item = |(index, op): (usize, ChildOp<'_>)| {
            // What an operation works in, and what it executes, is said before it.
            if let ChildOp::Setup(SetupOp::OpenDir(dir)) = op {
                directory = parts::below_root(dir);
            }
            let mut fields = op.fields(&directory);
            if op == ChildOp::Last(&LastOp::Exec) {
                // Values of variables are often secret, and plans are shown to others.
                let names = self.env.iter().map(|var| parts::variable_name(var));
                fields = fields.with("args", texts(&self.args)).with("environment", names.collect::<Vec<_>>());
            }
            fields.printed(index, op.describe().line)
        };
        self.child_ops().enumerate().map(item).collect()
    }
}
