//! The steps of the parent as values.

use serde_json::{Value, json};

use super::parts::{host_tree, id_map, milliseconds, namespace_names, node, rlimit, text};
use super::{ItemFields, PlanGroup, item};
use crate::plan::cgroup::entry::{IntoCgroup, Part};
use crate::plan::cgroup::rdt::{Presence, RdtPlan};
use crate::plan::step::{CloneStep, HostHook, HostHooks, HostObject, MapWriter, MountsFrom, Step};
use crate::plan::text::cpus;
use crate::plan::text::describe::propagation;

impl Step {
    /// What it is, as values.
    pub(super) fn fields(&self) -> ItemFields {
        use PlanGroup::{Cgroup, Identity, Mounts, Namespaces, Order, Process, Security};
        match self {
            Step::OpenNamespace(kind, path) => {
                item(Namespaces, "open-namespace").with("namespace", kind.name()).with("path", &**path)
            }
            Step::CloneTree { tree, propagation: flags } => {
                let named = item(Mounts, "clone-tree").with("propagation", propagation(*flags));
                host_tree(tree).into_iter().fold(named, add)
            }
            Step::TakeFromHost(objects) => {
                item(Mounts, "take-from-host").with("objects", objects.iter().map(host_object).collect::<Vec<_>>())
            }
            Step::JoinedIdMap(_) => item(Identity, "joined-id-map"),
            Step::OpenIdMap { uids, gids } => {
                item(Identity, "open-id-map").with("uids", id_map(uids)).with("gids", id_map(gids))
            }
            Step::CreateCgroup(part) => item(Cgroup, "make-cgroup").with("part", part_name(*part)),
            Step::Clone(clone) => clone_fields(clone),
            Step::Await(point) => item(Order, "await").with("point", point.name()),
            Step::Answer(point) => item(Order, "answer").with("point", point.name()),
            Step::WriteIdMaps { uids, gids, writer } => {
                let by = match writer {
                    MapWriter::Direct => "brisk",
                    MapWriter::OwnId => "brisk, of one id",
                    MapWriter::Helpers => "newuidmap, newgidmap",
                };
                item(Identity, "write-id-maps").with("uids", id_map(uids)).with("gids", id_map(gids)).with("by", by)
            }
            Step::AttachCgroup => item(Cgroup, "attach"),
            Step::StartScope => item(Cgroup, "start-scope"),
            Step::JoinScope => item(Cgroup, "join-scope"),
            Step::DelegateCgroup { path, owner } => {
                item(Cgroup, "delegate").with("path", &**path).with("uid", owner.uid).with("gid", owner.gid)
            }
            Step::ChownCgroup(uid) => item(Cgroup, "chown").with("uid", *uid),
            Step::MoveNetDevice(name, inside) => {
                item(Namespaces, "move-net-device").with("name", &**name).with("inside", &**inside)
            }
            Step::Rdt(rdt) => rdt_fields(rdt),
            Step::JoinRdt(files) => {
                let files: Vec<_> = files.iter().map(|file| file.to_string_lossy()).collect();
                item(Cgroup, "join-rdt").with("files", files)
            }
            Step::Hooks(list) => hooks(list),
            Step::Rlimit(limit) => rlimit(limit).into_iter().fold(item(Process, "rlimit"), add),
            Step::OomScoreAdj(score) => item(Process, "oom-score-adj").with("value", *score),
            Step::Affinity(mask) => item(Process, "affinity").with("cpus", cpus(mask)),
            Step::LeaveCpu => item(Order, "leave-cpu"),
            Step::OfferCgroup => item(Cgroup, "offer-cgroup"),
            Step::OfferTrees => item(Mounts, "offer-trees"),
            Step::SavePlanned => item(Order, "save-planned"),
            Step::SaveState => item(Order, "save-state"),
            Step::TakeCharge => item(Order, "take-charge"),
            Step::Publish => item(Order, "publish"),
            Step::SendListener { path, .. } => item(Security, "send-listener").with("path", &**path),
            Step::AwaitExec => item(Order, "await-exec"),
        }
    }
}

pub(super) fn add(item: ItemFields, (key, value): (&'static str, Value)) -> ItemFields {
    item.and(key, value)
}

fn part_name(part: Part) -> &'static str {
    match part {
        Part::All => "all",
        Part::V2 => "v2",
        Part::V1 => "v1",
    }
}

fn clone_fields(clone: &CloneStep) -> ItemFields {
    let CloneStep { flags, into_cgroup, join_pid, mounts, back: _, time_offsets } = clone;
    let mounts = match mounts {
        MountsFrom::Copy => "caller",
        MountsFrom::Skeleton => "skeleton",
    };
    let named = item(PlanGroup::Namespaces, "clone").with("namespaces", namespace_names(*flags));
    let named = named.with("intoCgroup", *into_cgroup == IntoCgroup::Yes).with("joinsPid", join_pid.is_some());
    named.with("mountsOf", mounts).with("timeOffsets", time_offsets.as_deref().map(text))
}

fn rdt_fields(rdt: &RdtPlan) -> ItemFields {
    let RdtPlan { group, presence, schemas, schemata, monitoring } = rdt;
    let named = item(PlanGroup::Cgroup, "rdt").with("path", format!("/{group}"));
    let named = named.with("made", *presence == Presence::Any).with("monitoring", monitoring.clone());
    named.with("schemata", [&schemas[..], schemata].concat())
}

fn hooks(list: &HostHooks) -> ItemFields {
    let HostHooks { kind, hooks, state: _, dir } = list;
    let hook = |HostHook { path, args, env: _, timeout }: &HostHook| json!({ "path": path, "args": args, "timeoutMs": milliseconds(*timeout) });
    let named = item(PlanGroup::Hooks, "hooks").with("kind", kind.name());
    let named = named.with("hooks", hooks.iter().map(hook).collect::<Vec<_>>());
    named.with("directory", dir.as_ref().map(|dir| dir.to_string_lossy()))
}

fn host_object(object: &HostObject) -> Value {
    let fields: Vec<(&str, Value)> = match object {
        HostObject::Root(path, _) => vec![("kind", "root".into()), ("path", text(path).into())],
        HostObject::Tree(tree) => [("kind", "tree".into())].into_iter().chain(host_tree(tree)).collect(),
        HostObject::Device { mode, dev, owner, label } => {
            let mut fields = vec![("kind", "device".into()), ("label", label.as_deref().map(text).into())];
            fields.extend(node(*mode, *dev, *owner));
            fields
        }
    };
    Value::Object(fields.into_iter().map(|(key, value)| (key.to_owned(), value)).collect())
}
