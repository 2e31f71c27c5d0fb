//! What the parts of a plan fill in: the steps of the parent and the operations of the child, under construction.

use std::ffi::CString;

use super::input::{BindSources, Input};
use super::op::{LastOp, SetupOp};
use super::step::{HostObject, Step};
use crate::plan::namespace::NamespaceFs;
use crate::plan::reach::Reach;
use crate::plan::rootfs::mount_op::{EndLink, MountSource};
use crate::wire::SyncPoint;

/// Parent steps and child operations under construction.
#[derive(Default)]
pub(super) struct Draft {
    pub before_clone: Vec<Step>,
    /// [`Step::CloneTree`]s of what is made after the clone.
    pub late_trees: Vec<Step>,
    /// What [`SetupOp::MakeNamespaceFs`] makes, for the first mount of each kind.
    pub namespace_fs: Vec<NamespaceFs>,
    /// What the child asks for: together before the root is taken, then each at its turn.
    pub asked: Vec<Vec<HostObject>>,
    /// Nothing is asked for at its turn.
    pub at_once: bool,
    pub setup: Vec<SetupOp>,
    pub last: Vec<LastOp>,
    pub warnings: Vec<String>,
    pub idmaps: usize,
    /// The first operation that needs the cgroup.
    pub cgroup_from: Option<usize>,
}

impl Draft {
    /// What comes next needs the cgroup.
    pub(super) fn needs_cgroup(&mut self) {
        self.cgroup_from.get_or_insert(self.setup.len());
    }

    /// A source on the host: opened by the child, or cloned by the parent for a child that will not see it. What is in
    /// the container's cgroup is cloned when that is made. `idmap` is taken where the parent applies it: only the caller
    /// may map what belongs to the host where the container has a user namespace.
    pub(super) fn source(
        &mut self,
        input: &Input<'_>,
        path: CString,
        (reach, end): (Reach, EndLink),
        idmap: &mut Option<(usize, Reach)>,
    ) -> MountSource {
        if input.takes_from_host() && !input.is_in_cgroup(&path) {
            return self.ask(input, HostObject::Tree { path, reach, end, idmap: idmap.take() });
        }
        // As root of a user namespace it could not look into the runtime's state. An ordinary user's can.
        let hidden = input.host.uid == 0 && input.is_notify(&path);
        if input.sources == BindSources::Paths && !hidden {
            return MountSource::Path(path);
        }
        let late = input.joins_cgroup && input.is_in_cgroup(&path);
        let private = hidden || input.root_propagation.is_some_and(|root| root.flag == libc::MS_PRIVATE);
        let propagation = if private { libc::MS_PRIVATE } else { libc::MS_SLAVE };
        if late {
            self.needs_cgroup();
            self.late_trees.push(Step::CloneTree { path, reach, propagation, end, idmap: None });
            return MountSource::Late(self.late_trees.len() - 1);
        }
        let index = self.before_clone.iter().filter(|step| matches!(step, Step::CloneTree { .. })).count();
        self.before_clone.push(Step::CloneTree { path, reach, propagation, end, idmap: idmap.take() });
        MountSource::Tree(index)
    }

    /// A layer below or above the root, which is taken together with it: nothing has been mounted in it by then.
    pub(super) fn layer(&mut self, input: &Input<'_>, path: CString, idmap: Option<(usize, Reach)>) -> MountSource {
        match self.asked.first_mut().filter(|_| input.takes_from_host()) {
            Some(together) => {
                together.push(HostObject::Tree { path, reach: Reach::One, end: EndLink::Keep, idmap });
                MountSource::Late(together.len() - 1)
            }
            None => self.source(input, path, (Reach::One, EndLink::Keep), &mut None),
        }
    }

    /// The file system of this kind, if it is made beforehand and not taken yet.
    pub(super) fn take_namespace_fs(&mut self, kind: &str) -> Option<NamespaceFs> {
        let at = self.namespace_fs.iter().position(|made| made.kind().to_bytes() == kind.as_bytes())?;
        Some(self.namespace_fs.swap_remove(at))
    }

    /// What the parent does for the child that asks, which is told here how much comes together.
    pub(super) fn take_asked(&mut self) -> impl Iterator<Item = Step> {
        let together = self.asked.first().map_or(0, Vec::len);
        for op in &mut self.setup {
            if let SetupOp::AskForHost(count) = op {
                *count = together;
            }
        }
        let asked = std::mem::take(&mut self.asked).into_iter();
        asked.flat_map(|objects| [Step::Await(SyncPoint::Trees), Step::TakeFromHost(objects)])
    }

    /// Asks for something of the host: with the rest of it where nothing can be mounted over it meanwhile.
    pub(super) fn ask(&mut self, input: &Input<'_>, object: HostObject) -> MountSource {
        let inside = match &object {
            HostObject::Tree { path, .. } => input.is_in_root(path),
            HostObject::Root(..) | HostObject::Device { .. } => false,
        };
        match self.asked.first_mut() {
            // The root of a container that runs is not what a path of the host leads to.
            Some(together) if self.at_once || !inside && together.len() < TOGETHER => {
                together.push(object);
                MountSource::Late(together.len() - 1)
            }
            None => {
                self.asked.push(vec![object]);
                MountSource::Late(0)
            }
            Some(_) => {
                self.asked.push(vec![object]);
                self.setup.push(SetupOp::AskForOne);
                MountSource::Asked
            }
        }
    }
}

/// How many descriptors the child holds at once at the most: a limit of 32 is enough for a container. What is
/// more comes one at a time.
const TOGETHER: usize = 12;
