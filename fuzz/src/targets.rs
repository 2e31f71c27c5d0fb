//! One function per input that brisk takes from outside: whatever the bytes are, it returns.

use std::path::PathBuf;
use std::sync::OnceLock;

use brisk::compose::{elf, loader};
use brisk::container::{Needs, criu, needs};
use brisk::dbus::message::BusMessage;
use brisk::host::Host;
use brisk::host::cgroup::{Layout, probe, unified_only};
use brisk::plan::cgroup::Version;
use brisk::plan::cgroup::tolerance::Tolerance;
use brisk::plan::cgroup::update::{self, DeviceRules};
use brisk::plan::op::{Enter, Terminal};
use brisk::plan::process::inside::InsideOptions;
use brisk::plan::seccomp::{ALL_ARCHS, Arch, CompileOptions, SyscallId, compile};
use brisk::plan::systemd::driver::CgroupDriver;
use brisk::plan::verbs::exec;
use brisk::plan::{CreateOptions, ExecRefusal, Hold, Keyring, Orphan, OverlaySize, Plan, ProgramStart};
use brisk::proc::{cgroup, mountinfo, passwd};
use brisk::spec::process::Process;
use brisk::spec::resources::Resources;
use brisk::spec::seccomp::Seccomp;
use brisk::spec::validate::{validate, validate_process};
use brisk::spec::{Spec, parse};
use brisk::state::Record;

use super::bpf::{self, Data};
use super::interpreter::{self, Call};

/// Takes any bytes and must not panic.
pub type Target = fn(&[u8]);

/// Every target by name.
pub const ALL: [(&str, Target); 9] = [
    ("config", config),
    ("process", process),
    ("resources", resources),
    ("state", state),
    ("options", options),
    ("seccomp", seccomp),
    ("program", program),
    ("tables", tables),
    ("messages", messages),
];

fn layouts() -> &'static [Layout; 3] {
    static LAYOUTS: OnceLock<[Layout; 3]> = OnceLock::new();
    LAYOUTS.get_or_init(|| {
        let v1 =
            probe(include_bytes!("../../fixtures/hosts/v1.mountinfo"), include_str!("../../fixtures/hosts/v1.cgroup"));
        let hybrid = probe(
            include_bytes!("../../fixtures/hosts/hybrid.mountinfo"),
            include_str!("../../fixtures/hosts/hybrid.cgroup"),
        );
        let v2 = unified_only(include_str!("../../fixtures/hosts/v2.cgroup"), "cpuset cpu io memory hugetlb pids\n");
        [v1.unwrap(), hybrid.unwrap(), v2.unwrap()]
    })
}

/// Root on three cgroup layouts, root in a user namespace, an ordinary user: those of the golden plans.
fn hosts() -> &'static [Host] {
    static HOSTS: OnceLock<Vec<Host>> = OnceLock::new();
    HOSTS.get_or_init(|| {
        let texts = [
            include_str!("../../fixtures/hosts/v1-root.json"),
            include_str!("../../fixtures/hosts/hybrid-root.json"),
            include_str!("../../fixtures/hosts/v2-root-crowded.json"),
            include_str!("../../fixtures/hosts/nested-root.json"),
            include_str!("../../fixtures/hosts/v1-user.json"),
        ];
        texts.map(|text| parse(text.as_bytes(), "host").unwrap()).into()
    })
}

/// config.json: parsed, checked, planned on every host with every driver, and printed.
pub fn config(data: &[u8]) {
    let Ok(spec) = parse::<Spec>(data, "config.json") else { return };
    if validate(&spec).is_err() {
        return;
    }
    let terminal = Terminal::of(spec.process.as_ref(), Terminal::Socket);
    for (host, cgroups) in
        hosts().iter().zip([CgroupDriver::Files, CgroupDriver::Systemd, CgroupDriver::Disabled].iter().cycle())
    {
        for start in [ProgramStart::OnSignal, ProgramStart::Now(ExecRefusal::Said)] {
            let options = CreateOptions {
                id: "fuzz".into(),
                bundle: PathBuf::from("/bundle"),
                enter: Enter::Pivot,
                keyring: Keyring::New,
                start,
                preserved_fds: 0,
                orphan: Orphan::LivesOn,
                cgroups: *cgroups,
                terminal,
                notify: None,
                joined_own: 0,
                overlay_size: OverlaySize::NotAsked,
                hold: Hold::No,
                oddities: Vec::new(),
                tolerance: Tolerance::default(),
            };
            print(brisk::plan::verbs::create::create(&spec, host, &options).ok());
        }
        if let Some(process) = &spec.process {
            for versions in [&[][..], &[Version::V1], &[Version::V2], &[Version::V1, Version::V2]] {
                print(exec::exec(process, &spec, host, &exec_options(versions)).ok());
            }
        }
    }
}

fn exec_options(versions: &[Version]) -> exec::ExecOptions {
    let cgroup = exec::CgroupToJoin { versions: versions.to_vec(), owner: None };
    exec::ExecOptions {
        keyring: Keyring::New,
        inside: InsideOptions {
            id: "web1".into(),
            bundle: PathBuf::from("/bundle"),
            terminal: Terminal::None,
            refusal: ExecRefusal::Error,
        },
        preserved_fds: 0,
        orphan: Orphan::LivesOn,
        hold: Hold::No,
        cgroup: Some(cgroup),
        cgroups: CgroupDriver::Files,
        gained_namespaces: 0,
        rdt: Vec::new(),
    }
}

fn print(plan: Option<Plan>) {
    if let Some(plan) = plan {
        assert!(!plan.to_string().is_empty());
        for (index, _) in plan.child_ops().enumerate() {
            // What the user would be told if this operation failed.
            assert!(!plan.fault(index, nix::errno::Errno::EPERM, "", "").to_string().is_empty());
        }
    }
}

/// process.json for a container of the usual kind.
pub fn process(data: &[u8]) {
    let Ok(process) = parse::<Process>(data, "process.json") else { return };
    if validate_process(&process).is_err() {
        return;
    }
    static SPEC: OnceLock<Spec> = OnceLock::new();
    let spec = SPEC.get_or_init(|| {
        parse(include_bytes!("../../fixtures/engines/docker-default-config.json"), "config.json").unwrap()
    });
    for host in hosts() {
        print(exec::exec(&process, spec, host, &exec_options(&[Version::V1])).ok());
    }
}

/// The JSON of `update`, on what a container had before.
pub fn resources(data: &[u8]) {
    let Ok(change) = parse::<Resources>(data, "resources") else { return };
    for layout in layouts() {
        let first = update::update(&Resources::default(), &change, layout, DeviceRules::Keep);
        if let Ok(first) = first {
            // Again on the result: twice the same change is no error that once is not.
            drop(update::update(&first.resources, &change, layout, DeviceRules::Keep));
        }
    }
}

/// state.json: what can be read can be written and read again.
pub fn state(data: &[u8]) {
    let Ok(record) = Record::parse(data) else { return };
    let text = record.to_json().unwrap();
    assert_eq!(Record::parse(&text).unwrap().to_json().unwrap(), text);
}

/// Options of a mount, one per line.
pub fn options(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    let list: Vec<String> = text.lines().map(str::to_owned).collect();
    let _ = brisk::plan::rootfs::options::parse(&list);
}

/// A program, as `check` and `spec --program` look at it: a script, ELF, or anything; and a cache of libraries.
pub fn program(data: &[u8]) {
    let read = |bytes: &mut [u8], offset: u64| {
        let rest = usize::try_from(offset).ok().and_then(|offset| data.get(offset..)).unwrap_or_default();
        let length = rest.len().min(bytes.len());
        bytes[..length].copy_from_slice(&rest[..length]);
        Ok(length)
    };
    if let Needs::Program(name) = needs(read) {
        // A replacement character has three bytes.
        assert!(name.len() <= 3 * 4096);
    }
    let _ = elf::read(&read);
    for (name, path) in loader::parse_cache(data) {
        assert!(name.len() + path.len() <= 2 * data.len());
    }
}

/// What an image or a container can write lines of: passwd, paths in mountinfo, names of cgroups.
pub fn tables(data: &[u8]) {
    for user in passwd::users(data).take(1000) {
        assert!(passwd::home_of(data, user.uid).is_none_or(|home| !home.is_empty()));
        passwd::name_of(data, user.uid);
    }
    let mut buffer = [0; 64];
    for line in mountinfo::parse(data).take(1000) {
        let whole = mountinfo::unescape(line.point);
        assert!(whole.len() <= line.point.len());
        let short = mountinfo::unescape_into(line.point, &mut buffer);
        assert!(short.is_none_or(|length| buffer[..length] == *whole));
    }
    let _ = cgroup::parse(data);
    criu::external::parse(data);
}

/// Records of other processes: CRIU's, systemd's, and those of our own child once it is among strangers.
pub fn messages(data: &[u8]) {
    if let Ok(fields) = criu::protobuf::decode(data) {
        for (_, received) in fields {
            let _ = (received.number(), received.text(), criu::protobuf::decode(received.block()).is_ok());
        }
    }
    if let Ok(Some(length)) = BusMessage::length(data)
        && let Some(message) = data.get(..length)
    {
        let _ = BusMessage::decode(message).map(|message| message.strings());
    }
    let _ = brisk::wire::decode(data);
}

/// A seccomp profile: what the kernel would take, and the answers of its rules.
pub fn seccomp(data: &[u8]) {
    let Ok(profile) = parse::<Seccomp>(data, "seccomp.json") else { return };
    for native in [Arch::X86_64, Arch::Aarch64] {
        let Ok(program) = compile(&profile, &CompileOptions { native, ..CompileOptions::default() }) else { continue };
        bpf::check(&program.filter);
        if profile.syscalls.len() > 64 || !is_plain(&profile) {
            continue;
        }
        let newest = interpreter::newest(&profile);
        let archs: Vec<Arch> = ALL_ARCHS.iter().copied().filter(|arch| is_listed(&profile, native, *arch)).collect();
        for arch in archs {
            for nr in numbers(&profile, arch) {
                let data = Data { nr, arch: arch.token(), ip: 0, args: [0; 6] };
                let expected = Call::new(&profile, &newest, native, &data).answers(&data.args);
                let actual = bpf::run(&program.filter, &data, native.endian());
                assert!(expected.contains(&actual), "{arch:?} {nr}: {actual:#x}, not one of {expected:x?}");
            }
        }
    }
}

/// The interpreter knows the names that the compiler leaves out with a warning only as a reason to panic.
fn is_plain(profile: &Seccomp) -> bool {
    profile.architectures.iter().all(|name| Arch::from_name(name).is_some())
        && profile.syscalls.iter().all(|rule| rule.args.iter().all(|arg| arg.index < 6))
}

fn is_listed(profile: &Seccomp, native: Arch, arch: Arch) -> bool {
    arch == native || profile.architectures.iter().any(|name| name == arch.name())
}

/// Numbers of the calls that rules name, and their neighbours.
fn numbers(profile: &Seccomp, arch: Arch) -> Vec<u32> {
    let names = profile.syscalls.iter().flat_map(|rule| &rule.names).take(256);
    let known = names.filter_map(|name| arch.number(SyscallId::from_name(name)?));
    known.flat_map(|nr| [nr.saturating_sub(1), nr, nr.saturating_add(1)]).chain([0, u32::MAX]).collect()
}
