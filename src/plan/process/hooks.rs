//! The hooks of a container: those the parent runs in the runtime's namespaces, and those the child runs in the
//! container's. Pure; runs in the parent.

use std::path::Path;
use std::time::Duration;

use crate::error::Result;
use crate::plan::input::Input;
use crate::plan::process::child_hook::{ChildHook, HookDir, StateText};
use crate::plan::step::{HostHook, HostHooks};
use crate::plan::strings::c_string;
use crate::spec::Spec;
use crate::spec::hooks::{Hook, HookKind};
use crate::spec::status::Status;

/// The state document of the specification ("State"), of a container that has this status.
pub fn state(spec: &Spec, id: &str, bundle: &Path, status: Status) -> StateText {
    let quote = |text: &str| serde_json::Value::from(text).to_string();
    let version = quote(&spec.oci_version);
    let head = format!("{{\"ociVersion\":{version},\"id\":{},\"status\":{},\"pid\":", quote(id), quote(status.name()));
    let annotations: serde_json::Map<String, serde_json::Value> =
        spec.annotations.iter().map(|(key, value)| (key.clone(), value.clone().into())).collect();
    let bundle = quote(&bundle.to_string_lossy());
    let tail = format!(",\"bundle\":{bundle},\"annotations\":{}}}", serde_json::Value::Object(annotations));
    StateText { before: head.into_bytes(), after: tail.into_bytes() }
}

/// One list of hooks in the runtime's namespaces, of a container that has this status.
pub fn host(spec: &Spec, id: &str, bundle: &Path, kind: HookKind, status: Status) -> HostHooks {
    let hook = |hook: &Hook| HostHook {
        path: hook.path.clone(),
        args: hook.args.clone(),
        env: hook.env.clone(),
        timeout: timeout(hook),
    };
    let hooks = list(spec, kind).iter().map(hook).collect();
    // As runc, which changes to the bundle in `create`.
    let dir = matches!(kind, HookKind::Prestart | HookKind::CreateRuntime).then(|| bundle.to_owned());
    HostHooks { kind, hooks, state: state(spec, id, bundle, status), dir }
}

/// The hooks of the runtime's namespaces that go before the container's root. prestart hooks were defined to run in `start`,
/// so their state says "created"; crun says so, too, and the programs of runtime-tools ask for it.
pub fn runtime(spec: &Spec, id: &str, bundle: &Path) -> impl Iterator<Item = HostHooks> {
    let lists = [(HookKind::Prestart, Status::Created), (HookKind::CreateRuntime, Status::Creating)];
    lists
        .into_iter()
        .map(move |(kind, status)| host(spec, id, bundle, kind, status))
        .filter(|list| !list.hooks.is_empty())
}

/// The hooks of a container that is gone. `patience` is how long those may take that say nothing of it.
pub fn poststop(spec: &Spec, id: &str, bundle: &Path, patience: Option<Duration>) -> HostHooks {
    let mut list = host(spec, id, bundle, HookKind::Poststop, Status::Stopped);
    for hook in &mut list.hooks {
        hook.timeout = hook.timeout.or(patience);
    }
    list
}

/// Hooks that run in the child.
pub(in crate::plan) fn child(input: &Input<'_>, kind: HookKind, status: Status) -> Result<Vec<ChildHook>> {
    let strings =
        |list: &[String]| list.iter().map(|text| c_string(text.as_str(), "hooks")).collect::<Result<Vec<_>>>();
    let dir = if kind == HookKind::CreateContainer { HookDir::Root } else { HookDir::Own };
    let mut found = Vec::new();
    for (index, hook) in list(input.spec, kind).iter().enumerate() {
        let mut args = strings(&hook.args)?;
        if args.is_empty() {
            args.push(c_string(hook.path.as_str(), "hooks")?);
        }
        let inherit = kind == HookKind::StartContainer;
        let env = match (&hook.env, inherit) {
            (None, true) => None,
            (env, _) => Some(strings(env.as_deref().unwrap_or_default())?),
        };
        let state = state(input.spec, &input.options.id, &input.options.bundle, status);
        let path = c_string(hook.path.as_str(), "hooks")?;
        found.push(ChildHook { kind, index, path, args, env, timeout: timeout(hook), state, dir });
    }
    Ok(found)
}

fn list(spec: &Spec, kind: HookKind) -> &[Hook] {
    spec.hooks.as_ref().map_or(&[], |hooks| hooks.list(kind))
}

/// After which it is killed. `spec::validate` refuses what is less than a second.
fn timeout(hook: &Hook) -> Option<Duration> {
    hook.timeout.and_then(|seconds| u64::try_from(seconds).ok()).map(Duration::from_secs)
}
