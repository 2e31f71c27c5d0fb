//! `linux.netDevices`: moves a device of the host into the container's network namespace, gives it its name
//! and its addresses back, and sets it up.
//!
//! The parent does it all: a netlink socket belongs to the namespace it was opened in, so the container's is
//! entered for as long as it takes to open one, and left again.
//!
//! The messages are made and read by `netlink`.

mod netlink;

use std::os::fd::{AsFd, AsRawFd, OwnedFd};

use nix::errno::Errno;

use super::fds;
use crate::error::{Context, Error, Result, Stage};
use crate::launch::netdev::netlink::{Netlink, NetlinkMessage};
use crate::plan::namespace::NamespaceKind;
use crate::sys::process;

/// Sizes of the fixed parts, see rtnetlink(7).
const IFINFOMSG: usize = 16;
const IFADDRMSG: usize = 8;

// linux/if_link.h and linux/if_addr.h.
const IFLA_IFNAME: u16 = 3;
const IFLA_NET_NS_FD: u16 = 28;
const IFA_ADDRESS: u16 = 1;
const IFA_LOCAL: u16 = 2;
const IFA_BROADCAST: u16 = 4;
const IFA_FLAGS: u16 = 8;
const IFA_RT_PRIORITY: u16 = 9;
const IFA_F_PERMANENT: u32 = 0x80;
/// Flags that are a choice of whoever added the address (nodad, homeaddress, managetempaddr, noprefixroute,
/// mcautojoin); the others tell what became of it in the namespace it leaves.
const IFA_F_CHOSEN: u32 = 0x02 | 0x10 | 0x100 | 0x200 | 0x400;
const SCOPE_GLOBAL: u8 = 0;

/// An address that goes with its device.
#[derive(Clone, Debug, PartialEq, Eq)]
struct DeviceAddress {
    family: u8,
    prefix: u8,
    attrs: Vec<(u16, Vec<u8>)>,
}

/// Moves the device called `name` into the network namespace of `pid`, where it is called `inside`.
pub(super) fn move_device(pid: i32, name: &str, inside: &str) -> Result<()> {
    let what = || format!("move network device {name} into the container as {inside}");
    let fail = |errno| Error::errno(Stage::Network, what(), errno);
    let target = fds::namespace(NamespaceKind::Network, &format!("/proc/{pid}/ns/net"))?;
    let mut here = Netlink::open().at(Stage::Network, || "open a netlink socket")?;
    let mut there = open_in(&target)?;

    let index = index_of(&mut here, name).map_err(fail)?;
    // Before it moves: that takes all its addresses away.
    let addresses = addresses(&mut here, index).at(Stage::Network, || format!("list the addresses of {name}"))?;
    let taken = names(&mut there).at(Stage::Network, || "list the network devices of the container")?;
    let inside = choose(inside, &taken).ok_or_else(|| fail(Errno::EEXIST))?;

    // The kernel takes the device down, moves it and renames it in this one request.
    let request = NetlinkMessage::new(libc::RTM_NEWLINK, &ifinfo(index, 0, 0))
        .attr(IFLA_NET_NS_FD, &target.as_raw_fd().to_ne_bytes())
        .text(IFLA_IFNAME, &inside);
    here.request(&request, 0).map_err(fail)?;

    // Its number may be another one there.
    let index = index_of(&mut there, &inside).map_err(fail)?;
    for address in &addresses {
        let flags = libc::NLM_F_CREATE | libc::NLM_F_EXCL;
        there.request(&address.request(index), flags).at(Stage::Network, || {
            format!("give network device {inside} its address /{} back in the container", address.prefix)
        })?;
    }
    let up = libc::IFF_UP as u32;
    there
        .request(&NetlinkMessage::new(libc::RTM_NEWLINK, &ifinfo(index, up, up)), 0)
        .at(Stage::Network, || format!("set network device {inside} up in the container"))
        .map(drop)
}

/// A netlink socket of another network namespace.
fn open_in(target: &OwnedFd) -> Result<Netlink> {
    let net = NamespaceKind::Network.flag() as i32;
    let own = fds::namespace(NamespaceKind::Network, "/proc/self/ns/net")?;
    process::setns(target.as_fd(), net).at(Stage::Network, || "enter the container's network namespace")?;
    let socket = Netlink::open();
    // First of all back: whatever else the runtime does is meant for its own namespace.
    process::setns(own.as_fd(), net).at(Stage::Network, || "return to the runtime's network namespace")?;
    socket.at(Stage::Network, || "open a netlink socket in the container")
}

/// `struct ifinfomsg`.
fn ifinfo(index: i32, flags: u32, change: u32) -> [u8; IFINFOMSG] {
    let mut bytes = [0; IFINFOMSG];
    bytes[4..8].copy_from_slice(&index.to_ne_bytes());
    bytes[8..12].copy_from_slice(&flags.to_ne_bytes());
    bytes[12..16].copy_from_slice(&change.to_ne_bytes());
    bytes
}

fn index_in(link: &NetlinkMessage) -> Option<i32> {
    let fixed: &[u8; IFINFOMSG] = link.fixed()?;
    Some(i32::from_ne_bytes([fixed[4], fixed[5], fixed[6], fixed[7]]))
}

fn index_of(netlink: &mut Netlink, name: &str) -> nix::Result<i32> {
    let request = NetlinkMessage::new(libc::RTM_GETLINK, &ifinfo(0, 0, 0)).text(IFLA_IFNAME, name);
    netlink.request(&request, 0)?.iter().find_map(index_in).ok_or(Errno::ENODEV)
}

/// The names of all devices of a namespace.
fn names(netlink: &mut Netlink) -> nix::Result<Vec<String>> {
    let links = netlink.dump(&NetlinkMessage::new(libc::RTM_GETLINK, &ifinfo(0, 0, 0)))?;
    let name = |link: &NetlinkMessage| {
        let (_, name) = link.attrs(IFINFOMSG).find(|(kind, _)| *kind == IFLA_IFNAME)?;
        Some(String::from_utf8_lossy(name).trim_end_matches('\0').to_owned())
    };
    Ok(links.iter().filter_map(name).collect())
}

/// The name, with its `%d` replaced by the first free number; `None` when it is taken. The kernel would move the
/// device first and then find that it cannot be renamed.
fn choose(name: &str, taken: &[String]) -> Option<String> {
    if !name.contains("%d") {
        return (!taken.iter().any(|other| other == name)).then(|| name.to_owned());
    }
    // One more number than there are devices: one of them is free.
    (0..=taken.len()).map(|number| name.replace("%d", &number.to_string())).find(|name| !taken.contains(name))
}

fn addresses(netlink: &mut Netlink, index: i32) -> nix::Result<Vec<DeviceAddress>> {
    let found = netlink.dump(&NetlinkMessage::new(libc::RTM_GETADDR, &[0; IFADDRMSG]))?;
    Ok(found.iter().filter_map(|message| DeviceAddress::of(message, index)).collect())
}

impl DeviceAddress {
    /// The address in `message` if it is one of the device `index` that is to be kept: permanent (a dynamic one
    /// has a lease that somebody on the host renews) and global (the others the kernel makes by itself).
    fn of(message: &NetlinkMessage, index: i32) -> Option<DeviceAddress> {
        let fixed: &[u8; IFADDRMSG] = message.fixed()?;
        let [family, prefix, short_flags, scope, ..] = *fixed;
        let of = u32::from_ne_bytes([fixed[4], fixed[5], fixed[6], fixed[7]]);
        if message.kind != libc::RTM_NEWADDR || of as i32 != index || scope != SCOPE_GLOBAL {
            return None;
        }
        let attr = |wanted| message.attrs(IFADDRMSG).find(|(kind, _)| *kind == wanted).map(|(_, value)| value);
        let long_flags = attr(IFA_FLAGS).and_then(|value| value.first_chunk()).map(|flags| u32::from_ne_bytes(*flags));
        let flags = long_flags.unwrap_or(short_flags.into());
        if flags & IFA_F_PERMANENT == 0 {
            return None;
        }
        // Not the label, which begins with the old name.
        let copied = [IFA_ADDRESS, IFA_LOCAL, IFA_BROADCAST, IFA_RT_PRIORITY];
        let mut attrs: Vec<_> = copied.into_iter().filter_map(|kind| Some((kind, attr(kind)?.to_vec()))).collect();
        attrs.push((IFA_FLAGS, (flags & IFA_F_CHOSEN).to_ne_bytes().to_vec()));
        Some(DeviceAddress { family, prefix, attrs })
    }

    fn request(&self, index: i32) -> NetlinkMessage {
        let mut fixed = [0; IFADDRMSG];
        fixed[..4].copy_from_slice(&[self.family, self.prefix, 0, SCOPE_GLOBAL]);
        fixed[4..].copy_from_slice(&index.to_ne_bytes());
        let message = NetlinkMessage::new(libc::RTM_NEWADDR, &fixed);
        self.attrs.iter().fold(message, |message, (kind, value)| message.attr(*kind, value))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(scope: u8, index: i32, flags: u32) -> NetlinkMessage {
        let mut fixed = [2, 24, (flags & 0xff) as u8, scope, 0, 0, 0, 0];
        fixed[4..].copy_from_slice(&index.to_ne_bytes());
        NetlinkMessage::new(libc::RTM_NEWADDR, &fixed)
            .attr(IFA_ADDRESS, &[10, 0, 0, 1])
            .attr(IFA_LOCAL, &[10, 0, 0, 1])
            .text(3, "eth0:1")
            .attr(IFA_FLAGS, &flags.to_ne_bytes())
    }

    #[test]
    fn permanent_global_addresses_of_the_device_are_kept() {
        assert!(DeviceAddress::of(&address(0, 4, IFA_F_PERMANENT), 4).is_some());
        assert_eq!(DeviceAddress::of(&address(0, 5, IFA_F_PERMANENT), 4), None, "another device's");
        assert_eq!(DeviceAddress::of(&address(253, 4, IFA_F_PERMANENT), 4), None, "link scope");
        assert_eq!(DeviceAddress::of(&address(0, 4, 0x02), 4), None, "dynamic");
    }

    #[test]
    fn an_address_comes_back_without_label_and_with_what_was_chosen() {
        let address = DeviceAddress::of(&address(0, 4, IFA_F_PERMANENT | 0x202), 4).unwrap();
        let request = address.request(9);
        assert_eq!(request.fixed(), Some(&[2, 24, 0, 0, 9, 0, 0, 0]));
        let attrs: Vec<_> = request.attrs(IFADDRMSG).collect();
        let ip = &[10, 0, 0, 1][..];
        assert_eq!(attrs, [(IFA_ADDRESS, ip), (IFA_LOCAL, ip), (IFA_FLAGS, &0x202u32.to_ne_bytes()[..])]);
    }

    #[test]
    fn a_template_takes_the_first_free_number() {
        let taken = ["lo", "eth0", "eth2"].map(str::to_owned);
        assert_eq!(choose("eth%d", &taken).as_deref(), Some("eth1"));
        assert_eq!(choose("eth1", &taken).as_deref(), Some("eth1"));
        assert_eq!(choose("eth2", &taken), None);
        assert_eq!(choose("net%d", &taken).as_deref(), Some("net0"));
    }
}
