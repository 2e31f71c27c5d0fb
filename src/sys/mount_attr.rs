//! Attributes of one mount: what mount_setattr(2), fsmount(2) and mount(2) call them. Only data.

/// Attributes for mount_setattr(2) (Linux 5.12), laid out as the kernel's `struct mount_attr`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct MountAttr {
    /// Which of the constants below to set.
    pub set: u64,
    /// Which of the constants below to clear.
    pub clear: u64,
    /// `MS_SHARED`, `MS_SLAVE`, `MS_PRIVATE`, `MS_UNBINDABLE` or 0.
    pub propagation: u64,
    /// User namespace of [`IDMAP`].
    pub userns_fd: u64,
}

/// No writing through this mount.
pub const RDONLY: u64 = 0x1;
/// Set-user-ID bits and file capabilities have no effect.
pub const NOSUID: u64 = 0x2;
/// Device files are not opened.
pub const NODEV: u64 = 0x4;
/// Programs are not executed.
pub const NOEXEC: u64 = 0x8;
/// The access-time field: three values, not three bits. It is cleared as a whole when any of it is set.
pub const ATIME_MASK: u64 = 0x70;
/// Access times are updated when they are older than the last change, or than a day.
pub const RELATIME: u64 = 0x00;
/// Access times are not updated.
pub const NOATIME: u64 = 0x10;
/// Access times are always updated.
pub const STRICTATIME: u64 = 0x20;
/// Access times of directories are not updated.
pub const NODIRATIME: u64 = 0x80;
/// Owners are seen through the maps of a user namespace.
pub const IDMAP: u64 = 0x0010_0000;
/// Symbolic links are not followed (Linux 5.14).
pub const NOSYMFOLLOW: u64 = 0x0020_0000;

/// These attributes as flags of mount(2), where the new calls cannot be used.
pub fn ms_flags(attributes: u64) -> u64 {
    const TABLE: &[(u64, u64)] = &[
        (RDONLY, libc::MS_RDONLY),
        (NOSUID, libc::MS_NOSUID),
        (NODEV, libc::MS_NODEV),
        (NOEXEC, libc::MS_NOEXEC),
        (NOATIME, libc::MS_NOATIME),
        (STRICTATIME, libc::MS_STRICTATIME),
        (NODIRATIME, libc::MS_NODIRATIME),
        (NOSYMFOLLOW, libc::MS_NOSYMFOLLOW),
    ];
    TABLE.iter().filter(|(bit, _)| attributes & bit != 0).fold(0, |flags, (_, flag)| flags | flag)
}
