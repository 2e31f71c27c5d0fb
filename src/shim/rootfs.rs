//! The root file system's mounts, which containerd's snapshotter describes and the shim makes (and takes away).

use std::ffi::{CString, OsString};
use std::io;
use std::os::fd::AsFd;
use std::os::unix::ffi::OsStringExt;
use std::os::unix::fs::DirBuilderExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use nix::errno::Errno;

use super::fault::{Answer, Code, Fault};
use super::os;
use super::protobuf::Message;
use super::reactor::Event;
use super::reaper;

/// The kernel takes one page of options, and a few bytes of it for itself.
const ROOM: usize = 4096 - 512;

const PROPAGATION: u64 = libc::MS_SHARED | libc::MS_PRIVATE | libc::MS_SLAVE | libc::MS_UNBINDABLE;

/// How much of what mount(8) says is kept.
const SAID: usize = 16 << 10;

/// Option, whether it sets its flags (or clears them), and the flags: those of containerd's mount package.
const FLAGS: [(&str, bool, u64); 36] = [
    ("async", false, libc::MS_SYNCHRONOUS),
    ("atime", false, libc::MS_NOATIME),
    ("bind", true, libc::MS_BIND),
    ("defaults", true, 0),
    ("dev", false, libc::MS_NODEV),
    ("diratime", false, libc::MS_NODIRATIME),
    ("dirsync", true, libc::MS_DIRSYNC),
    ("exec", false, libc::MS_NOEXEC),
    ("mand", true, libc::MS_MANDLOCK),
    ("noatime", true, libc::MS_NOATIME),
    ("nodev", true, libc::MS_NODEV),
    ("nodiratime", true, libc::MS_NODIRATIME),
    ("noexec", true, libc::MS_NOEXEC),
    ("nomand", false, libc::MS_MANDLOCK),
    ("norelatime", false, libc::MS_RELATIME),
    ("nostrictatime", false, libc::MS_STRICTATIME),
    ("nosuid", true, libc::MS_NOSUID),
    ("private", true, libc::MS_PRIVATE),
    ("rbind", true, libc::MS_BIND | libc::MS_REC),
    ("relatime", true, libc::MS_RELATIME),
    ("remount", true, libc::MS_REMOUNT),
    ("ro", true, libc::MS_RDONLY),
    ("rprivate", true, libc::MS_PRIVATE | libc::MS_REC),
    ("rshared", true, libc::MS_SHARED | libc::MS_REC),
    ("rslave", true, libc::MS_SLAVE | libc::MS_REC),
    ("runbindable", true, libc::MS_UNBINDABLE | libc::MS_REC),
    ("rw", false, libc::MS_RDONLY),
    ("shared", true, libc::MS_SHARED),
    ("silent", true, libc::MS_SILENT),
    ("slave", true, libc::MS_SLAVE),
    ("strictatime", true, libc::MS_STRICTATIME),
    ("suid", false, libc::MS_NOSUID),
    ("sync", true, libc::MS_SYNCHRONOUS),
    ("unbindable", true, libc::MS_UNBINDABLE),
    ("loud", false, libc::MS_SILENT),
    ("lazytime", true, libc::MS_LAZYTIME),
];

/// A mount as containerd describes it.
#[derive(Debug)]
struct Mount<'a> {
    kind: &'a str,
    source: &'a str,
    target: &'a str,
    options: Vec<&'a str>,
}

/// Makes all mounts of a request onto `bundle/rootfs`; if one fails, takes away those that were made.
///
/// Not trusted: what the first of them shows is the image, and a link there must not lead the next one out of it.
pub async fn make(bundle: &Path, mounts: &[&[u8]], late: &Event<()>) -> Answer<()> {
    if mounts.is_empty() {
        return Ok(());
    }
    let rootfs = bundle.join("rootfs");
    match std::fs::DirBuilder::new().mode(0o711).create(&rootfs) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => {
            return Err(Fault::doing(format_args!("mkdir {}", rootfs.display()))(error));
        }
        _ => {}
    }
    for bytes in mounts {
        let message = Message::new(bytes)?;
        let mount = Mount {
            kind: message.text(1)?,
            source: message.text(2)?,
            target: message.text(3)?,
            options: message.texts(4)?,
        };
        if let Err(fault) = mount.make(&rootfs, late).await {
            clear(&rootfs).unwrap_or_else(|error| os::log("warning", &format!("{}: {error}", rootfs.display())));
            let text = format!(
                "failed to mount rootfs component: mount {} on {}: {}",
                mount.source,
                rootfs.display(),
                fault.message
            );
            return Err(Fault::new(fault.code, text));
        }
    }
    Ok(())
}

/// Takes away everything that is mounted on the root file system or in it, the last first.
pub fn clear(rootfs: &Path) -> io::Result<()> {
    // Not text: anybody who may mount anything on the host may give the place any name.
    let table = std::fs::read("/proc/self/mountinfo")?;
    for point in points_below(&table, rootfs).iter().rev() {
        let path = os::c_string(point.as_os_str().as_encoded_bytes())?;
        match os::umount(&path, libc::UMOUNT_NOFOLLOW) {
            // Somebody still looks into it; it goes when he has looked.
            Err(Errno::EBUSY) => os::umount(&path, libc::MNT_DETACH | libc::UMOUNT_NOFOLLOW)?,
            // The mount has gone with another.
            Err(Errno::EINVAL | Errno::ENOENT) => {}
            result => result?,
        }
    }
    Ok(())
}

/// The mount points in a table like mountinfo at a path and below it, in their order.
fn points_below(table: &[u8], path: &Path) -> Vec<PathBuf> {
    let points = table.split(|byte| *byte == b'\n').filter_map(|line| line.split(|byte| *byte == b' ').nth(4));
    let points = points.map(|point| PathBuf::from(OsString::from_vec(unescape(point))));
    points.filter(|point| point.starts_with(path)).collect()
}

/// A path as mountinfo writes it: blanks and backslashes are three octal digits behind a backslash (proc(5)).
fn unescape(text: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text;
    while let Some((first, behind)) = rest.split_first() {
        let octal = behind.get(..3).and_then(|digits| std::str::from_utf8(digits).ok());
        match octal.and_then(|digits| u8::from_str_radix(digits, 8).ok()).filter(|_| *first == b'\\') {
            Some(byte) => {
                bytes.push(byte);
                rest = &behind[3..];
            }
            None => {
                bytes.push(*first);
                rest = behind;
            }
        }
    }
    bytes
}

impl Mount<'_> {
    async fn make(&self, rootfs: &Path, late: &Event<()>) -> Answer<()> {
        if self.options.iter().any(|option| option.starts_with("uidmap=") || option.starts_with("gidmap=")) {
            return Err(Fault::new(Code::Unimplemented, "an id-mapped snapshot"));
        }
        // What takes more than mount(2) is left to mount(8), which has it all.
        if self.options.contains(&"loop") || self.kind.starts_with("fuse.") || self.kind.starts_with("fuse3.") {
            return self.by_program(rootfs, late).await;
        }
        let (flags, data) = self.split();
        let below = os::resolve(rootfs, self.target)?;
        let target = os::c_string(os::number_as_path(&below))?;
        let (source, kind) = (os::c_string(self.source)?, os::c_string(self.kind)?);
        let plain = flags & !PROPAGATION;
        if self.kind == "overlay" && data.len() >= ROOM {
            let (common, data) = shorten(&self.options).ok_or_else(|| Fault::unknown("mount options are too long"))?;
            // Relative paths are those of the current directory; nothing else runs in this thread meanwhile.
            os::chdir(&os::c_string(common)?)?;
            let made = os::mount(Some(&source), &target, Some(&kind), plain, Some(&os::c_string(data)?));
            os::chdir(c"/")?;
            made?;
        } else {
            let data = os::c_string(data)?;
            os::mount(
                Some(&source),
                &target,
                Some(&kind),
                plain,
                Some(&data).filter(|data| !data.is_empty()).map(CString::as_c_str),
            )?;
        }
        let read_only_bind = plain & libc::MS_BIND != 0 && plain & libc::MS_RDONLY != 0;
        if flags & PROPAGATION == 0 && !read_only_bind {
            return Ok(());
        }
        // The descriptor is of what lies below the new mount.
        let made = os::resolve(rootfs, self.target)?;
        let target = os::c_string(os::number_as_path(&made))?;
        if flags & PROPAGATION != 0 {
            os::mount(None, &target, None, flags & (PROPAGATION | libc::MS_REC | libc::MS_SILENT), None)?;
        }
        // A bind mount takes over the flags of what it shows; its own need a second call (mount(2)).
        if read_only_bind {
            os::mount(None, &target, None, plain | libc::MS_REMOUNT, None)?;
        }
        Ok(())
    }

    fn split(&self) -> (u64, String) {
        let mut flags = 0;
        let mut data = Vec::new();
        for option in &self.options {
            match FLAGS.iter().find(|(name, _, _)| name == option) {
                Some((_, true, bits)) => flags |= bits,
                Some((_, false, bits)) => flags &= !bits,
                None => data.push(*option),
            }
        }
        (flags, data.join(","))
    }

    async fn by_program(&self, rootfs: &Path, late: &Event<()>) -> Answer<()> {
        // It wants a path: the one that leads there without a link.
        let target = std::fs::read_link(os::number_as_path(&os::resolve(rootfs, self.target)?))?;
        let kind = self.kind.strip_prefix("fuse3.").map_or_else(|| self.kind.to_owned(), |kind| format!("fuse.{kind}"));
        let mut command = Command::new("mount");
        command.args(["-t", &kind, "-o", &self.options.join(","), "--"]).arg(self.source).arg(target);
        // It may wait for a server: others do not, meanwhile.
        let said = os::memfd(c"mount")?;
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(said.try_clone()?);
        // What it starts is killed with it, or would mount when nobody waits any more.
        command.process_group(0);
        let child = os::spawn(&mut command).map_err(Fault::doing("mount(8)"))?.id().cast_signed();
        let status = reaper::end_of(child, late).await.status;
        if late.get().is_some() {
            reaper::end_group(child).await;
        } else if status == 0 {
            return Ok(());
        }
        Err(Fault::unknown(String::from_utf8_lossy(&os::contents(said.as_fd(), SAID)).trim()))
    }
}

/// The options with the directory that all lower layers have in common taken out of their paths, and that directory.
fn shorten(options: &[&str]) -> Option<(String, String)> {
    let lower = options.iter().find_map(|option| option.strip_prefix("lowerdir="))?;
    let layers: Vec<&str> = lower.split(':').collect();
    let first = layers.first()?;
    let mut common = first.rfind('/')?;
    while !layers.iter().all(|layer| layer.starts_with(&first[..=common])) {
        common = first[..common].rfind('/')?;
    }
    let relative: Vec<&str> = layers.iter().map(|layer| &layer[common + 1..]).collect();
    let is_flag = |option: &&&str| FLAGS.iter().any(|(name, _, _)| name == *option);
    let others = options.iter().filter(|option| !option.starts_with("lowerdir=") && !is_flag(option)).copied();
    let data: Vec<String> = others.map(str::to_owned).chain([format!("lowerdir={}", relative.join(":"))]).collect();
    let data = data.join(",");
    (common > 0 && data.len() < 4096).then(|| (first[..common].to_owned(), data))
}

#[cfg(test)]
mod tests {
    use std::ffi::OsString;
    use std::os::unix::ffi::OsStringExt;
    use std::path::{Path, PathBuf};

    use super::{Mount, points_below, shorten, unescape};

    #[test]
    fn options_become_flags_and_data() {
        let options = vec!["ro", "rbind", "lowerdir=/a:/b", "rw", "nosuid", "index=off"];
        let mount = Mount { kind: "overlay", source: "overlay", target: "", options };
        let flags = libc::MS_BIND | libc::MS_REC | libc::MS_NOSUID;
        assert_eq!(mount.split(), (flags, "lowerdir=/a:/b,index=off".to_owned()));
    }

    #[test]
    fn many_layers_become_short() {
        let layers: Vec<String> = (0..100).map(|number| format!("/var/lib/c/snapshots/{number}/fs")).collect();
        let (lower, upper) = (format!("lowerdir={}", layers.join(":")), "upperdir=/var/lib/c/snapshots/200/fs");
        let (common, data) = shorten(&["ro", upper, &lower]).unwrap();
        assert_eq!(common, "/var/lib/c/snapshots");
        assert!(data.starts_with("upperdir=/var/lib/c/snapshots/200/fs,lowerdir=0/fs:1/fs:"));
        assert!(data.ends_with(":99/fs"));
        assert_eq!(shorten(&["lowerdir=/a:/b"]), None);
    }

    #[test]
    fn a_strangers_mount_point_hides_no_other() {
        let table = b"1 0 0:1 / / rw - ext4 a rw\n2 1 0:2 / /home/\xff rw - fuse b rw\n\
            3 1 0:3 / /b/rootfs rw - overlay c rw\n4 3 0:4 / /b/rootfs/\xfe\\040d rw - tmpfs d rw\n";
        let below: Vec<_> = points_below(table, Path::new("/b/rootfs"));
        let odd = PathBuf::from(OsString::from_vec(b"/b/rootfs/\xfe d".to_vec()));
        assert_eq!(below, [PathBuf::from("/b/rootfs"), odd]);
    }

    #[test]
    fn mount_points_with_blanks_are_read() {
        assert_eq!(unescape(br"/a\040b\134c"), br"/a b\c");
        assert_eq!(unescape(br"/plain\9"), br"/plain\9");
        assert_eq!(unescape(b"/\xff\\011"), b"/\xff\t");
    }
}
