//! What the parts of a plan fill in: the steps of the parent and the operations of the child, under construction.

use std::ffi::{CStr, CString};

use super::input::{Input, Taker};
use super::op::{LastOp, SetupOp};
use super::step::{HostObject, Step};
use crate::plan::cgroup::join;
use crate::plan::namespace::{NamespaceFs, NamespaceIndex, NamespaceKind};
use crate::plan::rootfs::mount_op::{HostTree, IdMapIndex, KeptIndex, LateIndex, MountIdMap, MountSource, TreeIndex};
use crate::sys::mount_attr::MountAttr;
use crate::wire::SyncPoint;

/// Parent steps and child operations under construction. What one makes and another takes has a number, which is given out
/// here: each list has a type of its own for it.
#[derive(Default)]
pub(super) struct Draft {
    pub before_clone: Vec<Step>,
    /// The kind of each namespace that the parent opens, in the order of their descriptors.
    opened: Vec<NamespaceKind>,
    trees: usize,
    idmaps: usize,
    kept: usize,
    late: usize,
    /// [`Step::CloneTree`]s of what is in the cgroup, and made after the clone with that.
    pub cgroup_trees: Vec<Step>,
    /// What [`SetupOp::MakeNamespaceFs`] makes, for the first mount of each kind.
    pub namespace_fs: Vec<NamespaceFs>,
    /// What the child asks for together, before the root is taken.
    asked_together: Option<Vec<HostObject>>,
    /// What it asks for each at its turn.
    asked_alone: Vec<HostObject>,
    /// What the child takes before it leaves its copy of the host's mounts.
    pub taken_in_copy: Vec<SetupOp>,
    /// Nothing is asked for at its turn.
    at_once: bool,
    /// Attributes that are set when nothing more is made in a mount.
    final_attrs: Vec<SetupOp>,
    pub setup: Vec<SetupOp>,
    pub last: Vec<LastOp>,
    pub warnings: Vec<String>,
    /// Where devices are made.
    pub device_dirs: Vec<CString>,
    /// The operations that get the child into its cgroup are there.
    in_cgroup: bool,
}

/// A tree of the host that a mount is made of.
pub(super) struct TreeSource {
    pub source: MountSource,
    /// What is left for the child to map.
    pub idmap: Option<MountIdMap>,
}

impl Draft {
    /// What comes next needs the cgroup. The child gets into it as late as possible: meanwhile the parent makes it.
    pub(super) fn needs_cgroup(&mut self, input: &Input<'_>) {
        if !std::mem::replace(&mut self.in_cgroup, true) {
            self.setup.extend(join::enter(input));
        }
    }

    /// Has the parent open this namespace.
    pub(super) fn open_namespace(&mut self, kind: NamespaceKind, path: String) -> NamespaceIndex {
        self.before_clone.push(Step::OpenNamespace(kind, path));
        self.opened.push(kind);
        NamespaceIndex(self.opened.len() - 1)
    }

    /// The opened namespaces.
    pub(super) fn opened(&self) -> impl Iterator<Item = (NamespaceIndex, NamespaceKind)> {
        self.opened.iter().enumerate().map(|(index, kind)| (NamespaceIndex(index), *kind))
    }

    /// The opened namespace of this type.
    pub(super) fn opened_of(&self, kind: NamespaceKind) -> Option<NamespaceIndex> {
        self.opened().find(|(_, opened)| *opened == kind).map(|(index, _)| index)
    }

    /// Has the parent open a user namespace for an id-mapped mount: by this step.
    pub(super) fn open_idmap(&mut self, step: Step) -> IdMapIndex {
        self.before_clone.push(step);
        self.idmaps += 1;
        IdMapIndex(self.idmaps - 1)
    }

    /// Room for the descriptor of a mount.
    pub(super) fn keep(&mut self) -> KeptIndex {
        self.kept += 1;
        KeptIndex(self.kept - 1)
    }

    /// How many mounts the child keeps, to set their attributes later or to work in them.
    pub(super) fn kept_mounts(&self) -> usize {
        self.kept
    }

    /// Sets these attributes of a mount later, by the descriptor that it was attached with.
    pub(super) fn set_finally(&mut self, path: &CStr, attr: MountAttr) -> KeptIndex {
        let kept = self.keep();
        self.final_attrs.push(SetupOp::SetAttr { path: path.into(), kept, attr });
        kept
    }

    /// Has the attributes of these mounts set here: nothing more is made in them.
    pub(super) fn set_now(&mut self) {
        self.setup.append(&mut self.final_attrs);
    }

    /// Room for a tree that comes when there is a child.
    pub(super) fn comes_late(&mut self) -> LateIndex {
        self.late += 1;
        LateIndex(self.late - 1)
    }

    /// How many trees the child gets while it works.
    pub(super) fn late_trees(&self) -> usize {
        self.late
    }

    /// A source on the host, taken by whom the plan has chosen for it. Whoever opens it maps it, but the child, which does
    /// that when it mounts.
    pub(super) fn source(&mut self, input: &Input<'_>, mut tree: HostTree) -> TreeSource {
        match input.taker(&tree.path) {
            Taker::Child => TreeSource { source: MountSource::Path(tree.path), idmap: tree.idmap },
            Taker::ChildInCopy => {
                let (idmap, late) = (tree.idmap.take(), self.comes_late());
                self.taken_in_copy.push(SetupOp::CloneTree { tree, late });
                TreeSource { source: MountSource::Late(late), idmap }
            }
            Taker::ParentInCopy => TreeSource { source: self.ask(input, HostObject::Tree(tree)), idmap: None },
            Taker::ParentBefore => {
                let propagation = input.tree_propagation(&tree.path);
                self.before_clone.push(Step::CloneTree { tree, propagation });
                self.trees += 1;
                TreeSource { source: MountSource::Tree(TreeIndex(self.trees - 1)), idmap: None }
            }
            Taker::ParentWithCgroup => {
                self.needs_cgroup(input);
                if self.cgroup_trees.is_empty() {
                    self.setup.push(SetupOp::TakeTrees);
                }
                let idmap = tree.idmap.take();
                let propagation = input.tree_propagation(&tree.path);
                self.cgroup_trees.push(Step::CloneTree { tree, propagation });
                TreeSource { source: MountSource::Late(self.comes_late()), idmap }
            }
        }
    }

    /// A layer below or above the root, which is taken together with it: nothing has been mounted in it by then.
    pub(super) fn layer(&mut self, input: &Input<'_>, tree: HostTree) -> MountSource {
        if input.asks() {
            return self.ask_together(HostObject::Tree(tree));
        }
        self.source(input, tree).source
    }

    /// The file system of this kind, if it is made beforehand and not taken yet.
    pub(super) fn take_namespace_fs(&mut self, kind: &str) -> Option<NamespaceFs> {
        let at = self.namespace_fs.iter().position(|made| made.kind().to_bytes() == kind.as_bytes())?;
        Some(self.namespace_fs.swap_remove(at))
    }

    /// Where the child asks for what comes together.
    pub(super) fn ask_here(&mut self) {
        self.asked_together = Some(Vec::new());
        self.setup.push(SetupOp::AskForHost);
    }

    /// Where the child asks for everything.
    pub(super) fn ask_all_here(&mut self) {
        self.at_once = true;
        self.ask_here();
    }

    /// What the parent does for the child that asks.
    pub(super) fn take_asked(&mut self) -> impl Iterator<Item = Step> {
        let alone = std::mem::take(&mut self.asked_alone).into_iter().map(|object| vec![object]);
        let asked = self.asked_together.take().into_iter().chain(alone);
        asked.flat_map(|objects| [Step::Await(SyncPoint::Trees), Step::TakeFromHost(objects)])
    }

    /// Asks for something of the host: with the rest of it where nothing can be mounted over it meanwhile.
    pub(super) fn ask(&mut self, input: &Input<'_>, object: HostObject) -> MountSource {
        let inside = match &object {
            HostObject::Tree(tree) => input.is_in_root(&tree.path),
            HostObject::Root(..) | HostObject::Device { .. } => false,
        };
        let room = self.asked_together.as_ref().is_none_or(|together| together.len() < TOGETHER);
        // The root of a container that runs is not what a path of the host leads to.
        if self.at_once || !inside && room {
            return self.ask_together(object);
        }
        self.asked_alone.push(object);
        self.setup.push(SetupOp::AskForOne);
        MountSource::Asked
    }

    fn ask_together(&mut self, object: HostObject) -> MountSource {
        self.asked_together.get_or_insert_default().push(object);
        MountSource::Late(self.comes_late())
    }
}

/// How many descriptors the child holds at once at the most: a limit of 32 is enough for a container. What is
/// more comes one at a time.
const TOGETHER: usize = 12;
