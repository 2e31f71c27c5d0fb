//! The bundle of a container: config.json as it is read, with what the caller and its environment have to say about it, and the
//! copy that the container keeps. Not trusted: what an image may have brought into it (`trust`).
//!
//! Runs in the parent.

use std::path::{Path, PathBuf};

use super::trust;
use crate::container::caller::console::OurConsole;
use crate::container::caller::notify;
use crate::container::job::needs_stack;
use crate::container::lookup;
use crate::container::options::{Create, Global};
use crate::container::outline::{self, Outline, OverlayChoice};
use crate::error::{Context, Deed, Error, Origins, Result, SaidBy, Stage};
use crate::host::Host;
use crate::plan::cgroup::files::of_limit;
use crate::plan::namespace::rootless::{self, Changed};
use crate::spec::mounts::Mount;
use crate::spec::validate::validate;
use crate::spec::{self, Loaded, Spec};
use crate::state::Record;

/// The error of a bundle that is not found, to somebody who has named it where the container's name belongs.
fn misnamed(error: Error, id: &str) -> Error {
    let missing = matches!(error.deed(), Some((Deed::FindBundle, _)));
    if missing && !id.is_empty() && Path::new(id).join(spec::CONFIG).is_file() {
        return error.with_hint(format!("{id} is a bundle: --bundle {id} before a name for the container"));
    }
    error
}

/// The field that has asked for what failed, where nothing but what was being done says it.
fn asked_by(error: &Error, spec: &Spec, root: &Path) -> Option<String> {
    let (deed, object) = error.deed().filter(|_| error.field().is_none())?;
    let object = object?;
    // Of two it is not known.
    fn only<T>(list: &[T], is: impl Fn(&T) -> bool) -> Option<usize> {
        let mut found = list.iter().enumerate().filter(|(_, item)| is(item)).map(|(index, _)| index);
        found.next().filter(|_| found.next().is_none())
    }
    match deed {
        Deed::Join => only(spec.namespaces(), |namespace| namespace.joined().is_some_and(|path| path == object))
            .map(|index| format!("linux.namespaces[{index}].path")),
        Deed::Mount | Deed::MountProc | Deed::MountSysfs | Deed::Bind => {
            let below_root = object.trim_start_matches('/');
            let by_source = |mount: &Mount| mount.is_bind() && mount.source.as_deref() == Some(object);
            only(&spec.mounts, |mount| mount.place(root) == below_root)
                .or_else(|| only(&spec.mounts, by_source))
                .map(|index| format!("mounts[{index}]"))
        }
        _ => None,
    }
}

/// config.json as text and as values.
pub(in crate::container) struct Bundle {
    dir: PathBuf,
    /// The copy that the container keeps.
    text: Vec<u8>,
    /// Read by `spec`, changed by `change` alone: what only this start has is said below it.
    spec: Spec,
    /// What is odd about the text.
    pub(in crate::container) warnings: Vec<String>,
}

impl Bundle {
    pub(in crate::container) fn load(global: &Global, args: &Create) -> Result<Bundle> {
        needs_stack()?;
        if args.outline.rootfs.is_some() {
            // The state directory has config.json, and goes with the container.
            let dir = global.root.path().join(&args.id);
            return Bundle::of(global, &dir, outline::loaded(&args.outline)?)?.under(&args.outline.overlay);
        }
        let dir = args.bundle.as_deref().unwrap_or(Path::new("."));
        let dir = std::path::absolute(dir).at(Stage::Bundle, || format!("find the bundle {}", dir.display()))?;
        let loaded = match &args.config {
            Some(file) => spec::load_file(file)?,
            None => spec::load_text(&dir).map_err(|error| misnamed(error, &args.id))?,
        };
        Bundle::of(global, &dir, loaded)?.under(&args.outline.overlay)
    }

    /// With what the caller lays over the root, who needs nobody's trust.
    fn under(mut self, overlay: &OverlayChoice) -> Result<Bundle> {
        let annotations = overlay.annotations()?;
        // Their values are those of the flags, which were looked at.
        self.change(
            |_| Origins::default(),
            |spec| {
                spec.annotations.extend(annotations.clone());
                spec.instructions.extend(annotations.clone());
                Ok(if annotations.is_empty() { Changed::No } else { Changed::Yes })
            },
        )?;
        Ok(self)
    }

    /// What was read, with what the caller and its environment have to say about it.
    pub(in crate::container) fn of(global: &Global, dir: &Path, loaded: Loaded) -> Result<Bundle> {
        let Loaded { text, mut spec, warnings } = loaded;
        trust::decide(global, &mut spec)?;
        global.environment.tell_sockets(&mut spec);
        global.environment.name_receiver(&mut spec);
        Ok(Bundle { dir: dir.to_owned(), text, spec, warnings })
    }

    /// An error of the container, with the flag that it is about, or with the line of config.json.
    pub(in crate::container) fn told(&self, args: &Create, error: Error) -> Error {
        let resources = self.spec.linux.as_ref().and_then(|linux| linux.resources.as_ref());
        let error = match resources {
            Some(resources) => of_limit(error, resources),
            None => error,
        };
        let error = match asked_by(&error, &self.spec, &self.rootfs()) {
            Some(field) => error.at_field(field),
            None => error,
        };
        match &args.outline.rootfs {
            // What comes from flags has no lines.
            Some(_) => args.outline.origins(&self.spec).name(error),
            None => spec::shown(error, &self.text),
        }
    }

    /// What a container is made of again: its copy of config.json, the annotations that were followed, and its limits
    /// after an `update`.
    pub(in crate::container) fn again(record: &Record, text: Vec<u8>) -> Result<Bundle> {
        needs_stack()?;
        let mut spec = lookup::spec_of(record, &text)?;
        // Those that the environment has added are in the record alone.
        spec.annotations = record.annotations.clone();
        record.trust.apply(&mut spec);
        let mut bundle = Bundle { dir: record.bundle.clone().into(), text, spec, warnings: Vec::new() };
        // Nobody has said it today.
        bundle.change(
            |_| Origins::default(),
            |spec| match &record.resources {
                Some(resources) => {
                    spec.linux.get_or_insert_default().resources = Some(resources.clone());
                    Ok(Changed::Yes)
                }
                None => Ok(Changed::No),
            },
        )?;
        Ok(bundle)
    }

    /// Gives an ordinary user's bundle its user namespace.
    pub(in crate::container) fn fit(&mut self, outline: &Outline, host: &Host) -> Result<()> {
        self.change(|spec| outline.origins(spec), |spec| rootless::adapt(spec, host))
    }

    /// Changes what config.json says, as if it had been written there: it is looked at again, and the copy that `exec` and
    /// others read has the change, too. `origins` knows which flags
    /// have said what, for an error is one of theirs.
    pub(in crate::container) fn change(
        &mut self,
        origins: impl FnOnce(&Spec) -> Origins,
        change: impl Fn(&mut Spec) -> Result<Changed>,
    ) -> Result<()> {
        self.change_unsaid(change).said_by(|| origins(&self.spec))
    }

    fn change_unsaid(&mut self, change: impl Fn(&mut Spec) -> Result<Changed>) -> Result<()> {
        // What is called no change is neither looked at nor in the copy.
        let before = cfg!(debug_assertions).then(|| format!("{:?}", self.spec));
        if change(&mut self.spec)? == Changed::No {
            debug_assert!(
                before.is_none_or(|before| before == format!("{:?}", self.spec)),
                "a change that says Changed::No"
            );
            return Ok(());
        }
        validate(&self.spec)?;
        // From the text: the environment was added to the values meanwhile.
        let mut copy: Spec = spec::parse(&self.text, "config.json")?;
        change(&mut copy)?;
        self.text = serde_json::to_vec(&copy).at(Stage::State, || "describe the bundle")?;
        Ok(())
    }

    /// Has the copy alone say which cgroup it is: where the record is damaged, `delete --force` goes by that, and the container may
    /// have another name by then.
    pub(in crate::container) fn name_cgroup(&mut self, path: String) -> Result<()> {
        let mut copy: Spec = spec::parse(&self.text, "config.json")?;
        copy.linux.get_or_insert_default().cgroups_path = Some(path);
        self.text = serde_json::to_vec(&copy).at(Stage::State, || "describe the bundle")?;
        Ok(())
    }

    /// Gives this start its notify socket, of which a later `exec` or `restart` has nothing: the copy does not say it.
    pub(in crate::container) fn offer_notify(&mut self, global: &Global, id: &str) {
        notify::offer(global, id, &mut self.spec);
    }

    /// Gives the program's terminal the size of ours, which the next start may not have: the copy does not say it.
    pub(in crate::container) fn size_terminal(&mut self, ours: &OurConsole) {
        if let Some(process) = &mut self.spec.process {
            ours.size_terminal(process);
        }
    }

    /// What config.json says, with what was changed.
    pub(in crate::container) fn spec(&self) -> &Spec {
        &self.spec
    }

    pub(in crate::container) fn into_spec(self) -> Spec {
        self.spec
    }

    /// Where it is.
    pub(in crate::container) fn dir(&self) -> &Path {
        &self.dir
    }

    /// The path of the root file system; empty where config.json has none.
    pub(in crate::container) fn rootfs(&self) -> PathBuf {
        self.spec.root_dir(&self.dir)
    }

    /// The text of config.json.
    pub(in crate::container) fn text(&self) -> &[u8] {
        &self.text
    }

    /// Whether its program is to have a terminal.
    pub(in crate::container) fn terminal(&self) -> bool {
        self.spec.process.as_ref().is_some_and(|process| process.terminal)
    }
}
