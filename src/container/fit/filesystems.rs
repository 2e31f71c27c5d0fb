//! New file systems: whether the kernel knows them, takes their options, and has a device where one is needed. The options
//! are given to a context of fsopen(2) that nothing is made of.

use std::ffi::CString;
use std::os::fd::AsFd;
use std::os::unix::fs::FileTypeExt;
use std::path::Path;

use nix::errno::Errno;

use super::misfit::Misfit;
use crate::error::errno_text;
use crate::plan::rootfs::options::MountOptions;
use crate::proc::file;
use crate::spec::mounts::Mount;
use crate::sys::mount;

/// fsconfig(2) takes strings of up to 255 bytes; longer ones go to mount(2). Nothing has a longer name.
const LONGEST: usize = 255;

/// The file systems of /proc/filesystems.
pub(super) struct Known(Vec<KnownFs>);

struct KnownFs {
    name: String,
    /// Its files are on a block device.
    on_device: bool,
}

impl Known {
    pub fn read() -> Known {
        let text = file::read_text("/proc/filesystems").unwrap_or_default();
        let line = |line: &str| {
            let name = line.split_whitespace().last()?.to_owned();
            Some(KnownFs { name, on_device: !line.starts_with("nodev") })
        };
        Known(text.lines().filter_map(line).collect())
    }

    /// What is wrong with a mount of a new file system; `field` makes the path of one of its fields.
    pub fn misfits(&self, mount: &Mount, options: &MountOptions, field: impl Fn(&str) -> String) -> Vec<Misfit> {
        let (kind, to) = (mount.kind.as_deref().unwrap_or_default(), &mount.destination);
        if kind == "cgroup" {
            return Vec::new();
        }
        let Some(known) = self.0.iter().find(|known| known.name == kind) else {
            let what =
                format!("the kernel does not know the file system {kind:?} of {to}, unless it can load a module");
            let misfit = Misfit::warning(field("type"), what).hint("/proc/filesystems has those that it knows");
            return vec![misfit];
        };
        let mut found: Vec<Misfit> = refused(kind, &options.data)
            .into_iter()
            .map(|(option, errno)| {
                let what = format!("{kind} does not take the option {option:?} of {to}: {}", errno_text(errno));
                Misfit::error(field("options"), what)
            })
            .collect();
        let source = Path::new(mount.source.as_deref().unwrap_or_default());
        if known.on_device && !std::fs::metadata(source).is_ok_and(|found| found.file_type().is_block_device()) {
            let what = format!("{kind} of {to} is on a block device, and {} is none", source.display());
            found.push(Misfit::error(field("source"), what));
        }
        found
    }
}

/// The options that a file system does not take. Nobody knows where no context is given: to an ordinary user.
fn refused<'o>(kind: &str, options: &'o [String]) -> Vec<(&'o str, Errno)> {
    let Some(context) = CString::new(kind).ok().and_then(|kind| mount::fs_open(&kind).ok()) else { return Vec::new() };
    let mut refused = Vec::new();
    for option in options.iter().filter(|option| option.len() <= LONGEST || !option.contains('=')) {
        let (key, value) = option.split_once('=').map_or((&**option, None), |(key, value)| (key, Some(value)));
        let (Ok(key), Ok(value)) = (CString::new(key), value.map(CString::new).transpose()) else { continue };
        if let Err(errno @ (Errno::EINVAL | Errno::ENOENT | Errno::ENOTDIR | Errno::ERANGE)) =
            mount::fs_set(context.as_fd(), &key, value.as_deref())
        {
            refused.push((&**option, errno));
        }
    }
    refused
}
