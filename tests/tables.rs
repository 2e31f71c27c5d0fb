//! Every table of `plan` on what engines really write.

use brisk::plan::namespace::Namespaces;
use brisk::plan::namespace::idmap::{IdKind, IdMap};
use brisk::plan::namespace::sysctl;
use brisk::plan::namespace::sysctl::OwnNamespaces;
use brisk::plan::process::environment;
use brisk::plan::process::environment::ProgramEnvironment;
use brisk::plan::process::{caps, memory_policy, rlimits, schedule};
use brisk::plan::rootfs::{devices, options};
use brisk::spec::linux::Linux;
use brisk::spec::process::Process;
use brisk::spec::{self, Spec};

use crate::fixture;

fn process_tables(process: &Process, name: &str) {
    if let Some(list) = &process.capabilities {
        let (_, warnings) = caps::parse(list, (1 << 41) - 1);
        assert_eq!(warnings, Vec::<String>::new(), "{name}");
    }
    assert_eq!(rlimits::parse(&process.rlimits).expect(name).len(), process.rlimits.len());
    let env = ProgramEnvironment::parse(&process.env).expect(name);
    assert!(!environment::candidates(&process.args[0], env.path()).expect(name).is_empty());
    process.scheduler.as_ref().map(schedule::scheduler).transpose().expect(name);
    process.io_priority.as_ref().map(schedule::io_priority).transpose().expect(name);
    if let Some(affinity) = &process.exec_cpu_affinity {
        for list in [&affinity.initial, &affinity.last].into_iter().flatten() {
            assert!(schedule::parse_list("CPU", list).expect(name).is_some());
        }
    }
}

fn linux_tables(linux: &Linux, name: &str) {
    let namespaces = Namespaces::parse(&linux.namespaces).expect(name);
    let writes = sysctl::parse(&linux.sysctl, OwnNamespaces::new(&namespaces, 0)).expect(name);
    assert_eq!(writes.len(), linux.sysctl.len());
    assert!(devices::all(&linux.devices).expect(name).len() >= 6);
    IdMap::parse(IdKind::Uid, &linux.uid_mappings).expect(name);
    IdMap::parse(IdKind::Gid, &linux.gid_mappings).expect(name);
    linux.memory_policy.as_ref().map(memory_policy::parse).transpose().expect(name);
    linux.personality.as_ref().map(schedule::personality).transpose().expect(name);
}

fn config_tables(spec: &Spec, name: &str) {
    if let Some(process) = &spec.process {
        process_tables(process, name);
    }
    linux_tables(spec.linux.as_ref().expect("linux"), name);
    for mount in &spec.mounts {
        let parsed = options::parse(&mount.options).expect(name);
        // Whatever is left for the file system has the form of data, or is devpts' one flag: a word here
        // that is neither would be an option the table lacks.
        for data in parsed.data {
            assert!(data.contains('=') || data == "newinstance", "{name}: {data} on {}", mount.destination);
        }
    }
}

#[test]
fn every_sample_of_an_engine_passes_every_table() {
    for entry in std::fs::read_dir(fixture("engines")).expect("fixtures") {
        let path = entry.expect("an entry").path();
        let name = path.to_string_lossy().into_owned();
        let text = std::fs::read(&path).expect("read");
        if name.ends_with("-config.json") {
            config_tables(&spec::parse(&text, &name).expect("parse"), &name);
        } else if name.ends_with("-process.json") {
            process_tables(&spec::parse(&text, &name).expect("parse"), &name);
        }
    }
    config_tables(&spec::load(&fixture("bundles/everything")).expect("valid"), "everything");
}
