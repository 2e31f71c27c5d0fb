//! `spec --program`: a root that is put together from files of the host.

use std::fs;
use std::os::unix::fs::{MetadataExt, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::{Value, json};

use crate::common::process::Output;
use crate::common::{Bundle, Container, Need, brisk_only, process, skip_unless};
use crate::rootless;

const ONLY: &str = "no other runtime composes a root";

/// A directory to work in, and a name for a container.
fn empty() -> Container {
    let container = Bundle::new(&["true"]).container();
    fs::remove_file(container.bundle.dir.join("config.json")).unwrap();
    fs::remove_dir_all(container.bundle.rootfs()).unwrap();
    container
}

fn spec(container: &Container, flags: &[&str], command: &[&str]) -> Output {
    container.call(&[&["spec", "--no-terminal"], flags, &["--"], command].concat())
}

/// Runs a program with these flags of `spec`; the report and what it printed.
#[track_caller]
fn composed(flags: &[&str], command: &[&str]) -> (String, String) {
    let container = empty();
    let report = spec(&container, flags, command).ok().stdout();
    let out = container.run().ok().stdout();
    container.assert_nothing_left();
    (report, out)
}

/// Compiles C; false where there is no compiler.
fn compile(dir: &Path, name: &str, text: &str, flags: &[&str]) -> PathBuf {
    let (source, out) = (dir.join(format!("{name}.c")), dir.join(name));
    fs::write(&source, text).unwrap();
    let mut command = Command::new("gcc");
    command.arg("-o").arg(&out).arg(&source).args(flags).current_dir(dir);
    process::run(command).ok();
    out
}

fn no_compiler() -> bool {
    skip_unless(Need::from(Path::new("/usr/bin/gcc").exists()), "gcc")
}

/// The line of a report about a path.
#[track_caller]
fn line<'a>(report: &'a str, path: &str) -> &'a str {
    let found = report.lines().find(|line| line.split_whitespace().nth(1) == Some(path));
    found.unwrap_or_else(|| panic!("nothing about {path}:\n{report}"))
}

#[test]
fn nothing_else_of_the_host_is_there() {
    if brisk_only(ONLY) {
        return;
    }
    let script = "for f in /* /usr/* /etc/*; do echo $f; done; while read l; do echo \"$l\"; done </proc/self/maps; \
                  echo x >/new || echo read-only";
    let (report, out) = composed(&["--program", "sh"], &["sh", "-c", script]);
    let taken: Vec<&str> = report.lines().filter(|line| line.starts_with("bind ")).collect();
    let allowed =
        ["/bin", "/dev", "/lib", "/lib64", "/proc", "/sys", "/usr", "/usr/bin", "/usr/lib", "/usr/lib64", "/etc/*"];
    let listed = out.lines().take_while(|line| line.starts_with('/'));
    let other: Vec<&str> = listed.filter(|path| !allowed.contains(path)).collect();
    assert!(other.is_empty(), "{other:?}");
    assert!(out.ends_with("read-only\n"), "{out}");
    // One inode for each library: it is in memory once.
    for path in taken.iter().filter_map(|line| line.split_whitespace().nth(1)) {
        let found = fs::metadata(path).unwrap();
        let mapped = out.lines().any(|line| line.split_whitespace().nth(4) == Some(&found.ino().to_string()));
        assert!(mapped, "{path}, inode {}:\n{out}", found.ino());
    }
}

#[test]
fn an_interpreter_with_its_library_runs() {
    let python = fs::read_link("/usr/bin/python3").ok();
    let library = python.as_ref().map(|python| Path::new("/usr/lib").join(python.file_name().unwrap()));
    let there = library.as_ref().is_some_and(|library| library.is_dir());
    if brisk_only(ONLY) || skip_unless(Need::from(there), "python3") {
        return;
    }
    let script = "import json, ctypes, zlib, os; print(json.dumps(sorted(os.listdir('/'))))";
    let library = library.unwrap();
    let (report, out) =
        composed(&["--program", "/usr/bin/python3", "--with", library.to_str().unwrap()], &["python3", "-c", script]);
    let root: Vec<String> = serde_json::from_str(&out).unwrap();
    assert!(!root.contains(&"etc".to_owned()) && !root.contains(&"home".to_owned()), "{root:?}");
    assert!(line(&report, library.to_str().unwrap()).contains("asked for"), "{report}");
    // A module's library, which the interpreter itself does not need.
    assert!(report.lines().any(|line| line.contains("libffi.so")), "{report}");
}

/// One whose libraries are in the program: nothing has to be named.
#[test]
fn a_program_of_node_runs() {
    if brisk_only(ONLY) || skip_unless(Need::from(Path::new("/usr/bin/node").exists()), "node") {
        return;
    }
    let script =
        "console.log(6 * 7, require('fs').readdirSync('/').filter(name => !/^(dev|lib.*|proc|sys|usr)$/.test(name)))";
    let (report, out) = composed(&["--program", "/usr/bin/node"], &["node", "-e", script]);
    assert_eq!(out, "42 []\n");
    assert!(line(&report, "/usr/bin/node").contains("the program"), "{report}");
}

/// A program of C++ has its library, and what that needs.
#[test]
fn a_program_of_cpp_runs() {
    let compiler = Path::new("/usr/bin/g++").exists();
    if brisk_only(ONLY) || skip_unless(Need::from(compiler), "g++") {
        return;
    }
    let place = empty();
    let (source, program) = (place.bundle.dir.join("program.cpp"), place.bundle.dir.join("program"));
    let text = "#include <string>\n#include <cstdio>\n#include <stdexcept>\n\
                int main(int, char **argv) {\n\
                    try { throw std::runtime_error(std::to_string(6 * std::stoi(argv[1]))); }\n\
                    catch (std::exception &e) { std::puts(e.what()); }\n\
                }\n";
    fs::write(&source, text).unwrap();
    let mut command = Command::new("g++");
    command.arg("-o").arg(&program).arg(&source);
    process::run(command).ok();
    let program = program.to_str().unwrap();
    let (report, out) = composed(&["--program", program], &[program, "7"]);
    assert_eq!(out, "42\n");
    assert!(report.lines().any(|line| line.contains("libstdc++.so.6")), "{report}");
}

#[test]
fn libraries_are_found_where_a_loader_finds_them() {
    if brisk_only(ONLY) || no_compiler() {
        return;
    }
    let container = empty();
    let dir = &container.bundle.dir;
    fs::create_dir(dir.join("lib")).unwrap();
    fs::create_dir(dir.join("bin")).unwrap();
    let library = |name: &str, text: &str, flags: &[&str]| {
        compile(&dir.join("lib"), name, text, &[&["-shared", "-fPIC"], flags].concat())
    };
    library("libdeep.so", "int deep(void) { return 40; }", &[]);
    // By its own RUNPATH; the program has an RPATH, which reaches what its libraries ask for only where they have none.
    library(
        "libouter.so",
        "int deep(void); int outer(void) { return deep() + 1; }",
        &["-L.", "-ldeep", "-Wl,-rpath,$ORIGIN"],
    );
    library("libplain.so", "int deep(void); int plain(void) { return deep() + 2; }", &["-L.", "-ldeep"]);
    let text = "#include <stdio.h>\nint outer(void); int plain(void); int main(void) { printf(\"%d %d\\n\", outer(), plain()); }";
    let flags =
        ["-L../lib", "-louter", "-lplain", "-Wl,--disable-new-dtags,-rpath,$ORIGIN/../lib", "-Wl,-rpath-link,../lib"];
    compile(&dir.join("bin"), "program", text, &flags);
    symlink("bin/program", dir.join("by-link")).unwrap();
    let report = spec(&container, &["--program", "./by-link"], &[]).ok().stdout();
    assert!(line(&report, dir.join("by-link").to_str().unwrap()).starts_with("link"), "{report}");
    assert_eq!(container.run().ok().stdout(), "41 42\n");

    // What no loader would find is an error that names who asks.
    let alone = empty();
    fs::copy(dir.join("bin/program"), alone.bundle.dir.join("program")).unwrap();
    let said = spec(&alone, &["--program", "./program"], &[]).fails();
    assert!(said.contains("program needs libouter.so") && said.contains("hint: "), "{said}");
    // Nothing is left that would keep the next try out.
    assert!(!alone.bundle.dir.join("config.json").exists() && !alone.bundle.rootfs().exists());
    // In a directory that was asked for it is told.
    fs::create_dir(alone.bundle.dir.join("modules")).unwrap();
    fs::rename(alone.bundle.dir.join("program"), alone.bundle.dir.join("modules/program")).unwrap();
    fs::write(alone.bundle.dir.join("modules/broken"), b"\x7fELF\x02\x01\x01").unwrap();
    let report = spec(&alone, &["--program", "sh", "--with", "modules"], &[]).ok().stdout();
    assert!(line(&report, "libouter.so").starts_with("absent"), "{report}");
    assert!(report.lines().any(|line| line.starts_with("absent") && line.contains("modules/broken")), "{report}");
}

#[test]
fn what_is_for_another_machine_or_c_library_is_refused() {
    if brisk_only(ONLY) || no_compiler() {
        return;
    }
    let container = empty();
    let dir = &container.bundle.dir;
    let refused = |flags: &[&str]| spec(&container, flags, &[]).fails();
    let program = compile(dir, "program", "int main(void) { return 0; }", &[]);
    let mut bytes = fs::read(&program).unwrap();
    // e_machine: that of the architecture this is not.
    bytes[18] = if cfg!(target_arch = "x86_64") { 183 } else { 62 };
    fs::write(dir.join("foreign"), &bytes).unwrap();
    let said = refused(&["--program", "./foreign"]);
    let (theirs, ours) = if cfg!(target_arch = "x86_64") { ("aarch64", "x86_64") } else { ("x86_64", "aarch64") };
    assert!(said.contains(&format!("it is for {theirs}")) && said.contains(ours), "{said}");
    let said = refused(&["--program", "sh", "--with", "foreign"]);
    assert!(said.contains(&format!("it is for {theirs}")), "{said}");
    // Another loader is another C library.
    let loader = dir.join("ld-musl-other.so.1");
    fs::copy(interpreter(&program), &loader).unwrap();
    compile(dir, "other", "int main(void) { return 0; }", &[&format!("-Wl,--dynamic-linker={}", loader.display())]);
    let said = refused(&["--program", "sh", "--with", "other"]);
    assert!(said.contains("its loader is") && said.contains("one C library"), "{said}");
    let said = refused(&["--program", "./other"]);
    assert!(said.contains("libc.so.6") || said.contains("it needs glibc, the program has musl"), "{said}");
    fs::remove_file(&loader).unwrap();
    let said = refused(&["--program", "./other"]);
    assert!(said.contains("ld-musl-other.so.1"), "{said}");
    // A link below a mount is not seen, so the root would not have it.
    let links = format!("{}/links", dir.display());
    symlink("program", &links).unwrap();
    let said = refused(&["--program", "./links", "--tmpfs", &dir.display().to_string()]);
    assert!(said.contains(&format!("would hide the link {links}")), "{said}");
    for (wrong, told) in [
        (&["--program", "no-such-program"][..], "no program no-such-program"),
        (&["--program", "./missing"], "missing"),
        (&["--program", "."], "is a directory"),
        (&["--program", "./program.c"], "neither an ELF file nor a script"),
        (&["--program", "sh", "--with", "/proc/self/status"], "its own /proc"),
        (&["--program", "sh", "--with", "/"], "its own /"),
        (&["--program", "sh", "--with", "/dev/null"], "its own /dev"),
        (&["--with", "/etc"], "--with needs --program"),
        (&["--program", "sh", "--rootfs", "x"], "leave out --rootfs"),
    ] {
        let said = refused(wrong);
        assert!(said.contains(told), "{wrong:?}: {said}");
    }
    nix::unistd::mkfifo(&dir.join("fifo"), nix::sys::stat::Mode::S_IRWXU).unwrap();
    let said = refused(&["--program", "sh", "--with", "fifo"]);
    assert!(said.contains("neither a file nor a directory"), "{said}");
    fs::create_dir(container.bundle.rootfs()).unwrap();
    fs::create_dir(container.bundle.rootfs().join("etc")).unwrap();
    let said = refused(&["--program", "sh"]);
    assert!(said.contains("is not empty"), "{said}");
    assert!(!dir.join("config.json").exists());
}

/// Whoever made the program has written its names, and may want to read what is the caller's.
#[test]
fn a_program_does_not_choose_what_it_is_shown() {
    if brisk_only(ONLY) || no_compiler() {
        return;
    }
    let container = empty();
    let dir = &container.bundle.dir;
    let secret = dir.join("secret");
    fs::write(&secret, "mine\n").unwrap();
    for (loader, told) in [(secret.to_str().unwrap(), "is none"), ("/proc/self/exe", "its own /proc/self")] {
        let text = "const char interpreter[] __attribute__((section(\".interp\"))) = LOADER; void start(void) {}";
        compile(
            dir,
            "hostile",
            &text.replace("LOADER", &format!("\"{loader}\"")),
            &["-nostdlib", "-shared", "-Wl,-e,start"],
        );
        let said = spec(&container, &["--program", "./hostile"], &[]).fails();
        assert!(said.contains(told), "{said}");
    }
}

/// Each asks for the next; one call within the other for each would be more than a stack holds.
#[test]
fn a_long_row_has_an_end() {
    if brisk_only(ONLY) {
        return;
    }
    const LAST: usize = 12_000;
    let container = empty();
    let row = container.bundle.host_dir("row");
    for index in 0..=LAST {
        fs::write(row.join(format!("lib{index}.so")), library_that_needs(&row.join(format!("lib{}.so", index + 1))))
            .unwrap();
        let next = if index == LAST { PathBuf::from("/bin/sh") } else { row.join(format!("script{}", index + 1)) };
        fs::write(row.join(format!("script{index}")), format!("#!{}\n", next.display())).unwrap();
    }
    let said = spec(&container, &["--program", "sh", "--with", "row/lib0.so"], &[]).fails();
    assert!(said.contains(&format!("lib{LAST}.so needs")), "{said}");
    let report = spec(&container, &["--program", "row/script0"], &[]).ok().stdout();
    line(&report, row.join(format!("script{LAST}")).to_str().unwrap());
}

/// Nothing but ELF's header, one segment, and DT_NEEDED with a path.
fn library_that_needs(path: &Path) -> Vec<u8> {
    library(&[path.to_str().unwrap().to_owned()], "")
}

/// Nothing but ELF's header, one segment, DT_NEEDED with these names, and DT_RPATH.
fn library(needed: &[String], rpath: &str) -> Vec<u8> {
    let machine: u16 = if cfg!(target_arch = "x86_64") { 62 } else { 183 };
    let (table, dynamic): (u64, u64) = (64, 64 + 2 * 56);
    let size = (needed.len() as u64 + 3) * 16;
    let strings = dynamic + size;
    let (mut text, mut entries) = (b"\0".to_vec(), Vec::new());
    for (tag, name) in needed.iter().map(|name| (1u64, name.as_str())).chain([(15, rpath)]) {
        entries.extend([tag.to_le_bytes(), (text.len() as u64).to_le_bytes()].concat());
        text.extend(name.as_bytes());
        text.push(0);
    }
    let end = strings + text.len() as u64;
    let mut file = b"\x7fELF\x02\x01\x01".to_vec();
    file.resize(16, 0);
    for half in [3, machine] {
        file.extend(half.to_le_bytes());
    }
    file.extend(1u32.to_le_bytes());
    for long in [0, table, 0] {
        file.extend(long.to_le_bytes());
    }
    file.extend(0u32.to_le_bytes());
    for half in [64u16, 56, 2, 0, 0, 0] {
        file.extend(half.to_le_bytes());
    }
    // PT_LOAD with all of it, PT_DYNAMIC; both may be read. A loader does not look at where the latter says that it is in the file.
    for (kind, offset, at, size) in [(1u32, 0, 0, end), (2, 7, dynamic, size)] {
        file.extend([kind.to_le_bytes(), 4u32.to_le_bytes()].concat());
        for long in [offset, at, at, size, size, 8] {
            file.extend(long.to_le_bytes());
        }
    }
    file.extend(entries);
    // DT_STRTAB, DT_NULL.
    for long in [5, strings, 0, 0] {
        file.extend(long.to_le_bytes());
    }
    [file, text].concat()
}

/// Whoever makes a library chooses how many names it asks for and where they are looked for.
#[test]
fn nobody_is_kept_by_what_a_library_asks_for() {
    if brisk_only(ONLY) {
        return;
    }
    let container = empty();
    let dir = container.bundle.host_dir("many");
    let names: Vec<String> = (0..2000).map(|index| format!("lib{index}.so")).collect();
    let rpath = (0..700).map(|index| format!("/{index}")).collect::<Vec<_>>().join(":");
    for index in 0..20 {
        fs::write(dir.join(format!("a{index}.so")), library(&names, &rpath)).unwrap();
    }
    let began = std::time::Instant::now();
    let said = spec(&container, &["--program", "sh", "--with", "many"], &[]).fails();
    assert!(said.contains("more places than those of any program"), "{said}");
    assert!(began.elapsed() < crate::common::time_limit());
    // The number of segments is in the last half-word but two of the header; PN_XNUM says that it is elsewhere.
    let mut odd = library(&[], "");
    odd[56..58].copy_from_slice(&u16::MAX.to_le_bytes());
    fs::write(dir.join("../odd.so"), odd).unwrap();
    let said = spec(&container, &["--program", "sh", "--with", "odd.so"], &[]).fails();
    assert!(said.contains("more segments than the kernel loads"), "{said}");
    // Nothing ends the table: the loader would read on.
    let mut endless = library(&[], "");
    let end = endless.len() - 2 - 16;
    endless[end] = 1;
    fs::write(dir.join("../endless.so"), endless).unwrap();
    let said = spec(&container, &["--program", "sh", "--with", "endless.so"], &[]).fails();
    assert!(said.contains("has no end"), "{said}");
}

#[test]
fn a_report_is_true_whatever_the_names() {
    if brisk_only(ONLY) {
        return;
    }
    let container = empty();
    let data = container.bundle.host_dir("data");
    fs::write(container.bundle.host_dir("late").join("file"), "").unwrap();
    container.bundle.script("odd\nbind   forged", "#!/bin/sh\n");
    for (name, target) in [
        ("self", Path::new(".")),
        ("by-link", Path::new("/bin/sh")),
        ("late", &container.bundle.dir.join("late/file")),
        ("out", Path::new("/etc/passwd")),
    ] {
        symlink(target, data.join(name)).unwrap();
    }
    let flags = ["--program", "./odd\nbind   forged", "--with", "data", "--with", "late"];
    let report = spec(&container, &flags, &[]).ok().stdout();
    assert!(!report.lines().any(|line| line.starts_with("bind   forged")), "{report}");
    let absent: Vec<&str> = report.lines().filter(|line| line.starts_with("absent")).collect();
    assert!(matches!(absent[..], [out] if out.contains("data/out leads to it")), "{report}");
}

/// The loader that a program names.
fn interpreter(program: &Path) -> String {
    let bytes = fs::read(program).unwrap();
    let at = bytes.windows(4).position(|four| four == b"/lib").unwrap();
    bytes[at..].split(|byte| *byte == 0).next().map(|path| String::from_utf8(path.to_vec()).unwrap()).unwrap()
}

#[test]
fn scripts_have_their_interpreter() {
    if brisk_only(ONLY) {
        return;
    }
    let container = empty();
    for (index, first) in ["#!/bin/sh", "#!/usr/bin/env sh", "#!/usr/bin/env -S sh -e"].iter().enumerate() {
        let dir = container.bundle.dir.join(index.to_string());
        fs::create_dir(&dir).unwrap();
        container.bundle.script(&format!("{index}/script"), &format!("{first}\necho \"$0 runs\"\n"));
        let program = dir.join("script");
        let bundle = dir.to_str().unwrap();
        spec(&container, &["--bundle", bundle, "--program", program.to_str().unwrap()], &[]).ok();
        let out = container.call(&["run", "--bundle", bundle, &container.id]).ok().stdout();
        assert_eq!(out, format!("{} runs\n", program.display()));
    }
}

#[test]
fn more_is_there_by_name() {
    if brisk_only(ONLY) {
        return;
    }
    let container = empty();
    container.bundle.host_dir("data");
    container.bundle.host_dir("data/below");
    fs::write(container.bundle.dir.join("data/below/file"), "kept\n").unwrap();
    symlink("/etc/machine-id-or-what", container.bundle.dir.join("data/out")).unwrap();
    symlink("/bin", container.bundle.dir.join("data/programs")).unwrap();
    let file = container.bundle.dir.join("data/below/file");
    let script = format!(
        "read l <{}; echo $l; read l </etc/passwd; echo $l; echo x >{} || echo read-only",
        file.display(),
        file.display()
    );
    let flags = [
        "--program",
        "sh",
        "--with",
        "data",
        "--with",
        "nss",
        "--tmpfs",
        "/tmp",
        "--env",
        "A=B",
        "--mount",
        "data:/mnt:ro",
    ];
    let report = spec(&container, &flags, &["sh", "-c", &script]).ok().stdout();
    // A link that leads out of what is bound.
    assert!(
        report.lines().any(|line| line.starts_with("absent") && line.contains("data/programs leads to it")),
        "{report}"
    );
    line(&report, "/etc/passwd");
    let out = container.run().ok().stdout();
    let first = fs::read_to_string("/etc/passwd").unwrap().lines().next().unwrap().to_owned();
    assert_eq!(out, format!("kept\n{first}\nread-only\n"));
    let config: Value = serde_json::from_slice(&fs::read(container.bundle.dir.join("config.json")).unwrap()).unwrap();
    let points: Vec<&str> =
        config["mounts"].as_array().unwrap().iter().map(|m| m["destination"].as_str().unwrap()).collect();
    let position = |point: &str| points.iter().position(|other| *other == point).unwrap();
    // The tests are in /tmp or not: a tmpfs there must not hide what is bound in it.
    if file.starts_with("/tmp") {
        assert!(position("/tmp") < position(container.bundle.dir.join("data").to_str().unwrap()), "{points:?}");
    }
    assert!(position("/mnt") > position("/etc/passwd"), "{points:?}");
    assert_eq!(config["root"], json!({ "path": "rootfs", "readonly": true }));
}

/// The root is a bundle's as any: it can have an overlay, and an ordinary user can have it.
#[test]
fn with_an_overlay_and_as_a_user() {
    if brisk_only(ONLY) || rootless::not_here() {
        return;
    }
    let script = "echo x >/new && read l </new && echo $l";
    let container = empty();
    spec(&container, &["--program", "sh", "--read-only=false"], &["sh", "-c", script]).ok();
    let out = container.run_with(&["--overlay", "tmpfs"]).ok().stdout();
    assert_eq!(out, "x\n");
    assert!(!container.bundle.rootfs().join("new").exists());

    let container = rootless::bundle(&["true"]).container();
    fs::remove_file(container.bundle.dir.join("config.json")).unwrap();
    fs::remove_dir_all(container.bundle.rootfs()).unwrap();
    let mut line = rootless::as_user(
        &container,
        &["spec", "--rootless", "--no-terminal", "--program", "sh", "--", "sh", "-c", "echo mine"],
    );
    line.current_dir(&container.bundle.dir);
    process::run(line).ok();
    let dir = container.bundle.dir.to_str().unwrap();
    let ran = process::run(rootless::as_user(&container, &["run", "--bundle", dir, &container.id]));
    assert_eq!(ran.ok().stdout(), "mine\n");
}

/// Who made a program chooses the names that are looked at: to open a device may do something, and to open a fifo lets who
/// waits at its other end go on.
#[test]
fn what_a_program_names_is_not_opened_unless_it_is_a_file() {
    if brisk_only(ONLY) || no_compiler() {
        return;
    }
    let container = empty();
    let dir = &container.bundle.dir;
    let library = compile(dir, "libx.so", "int x(void) { return 0; }", &["-shared", "-fPIC"]);
    let by_path = [library.to_str().unwrap()];
    let program = compile(dir, "named", "int x(void); int main(void) { return x(); }", &by_path);
    fs::remove_file(&library).unwrap();
    nix::unistd::mkfifo(&library, nix::sys::stat::Mode::from_bits_truncate(0o600)).unwrap();
    let mut writer = Command::new("sh");
    writer.args(["-c", "exec >\"$1\"; true", "sh"]).arg(&library);
    let writer = process::start(writer, std::process::Stdio::null());
    // It waits in open(2) of the fifo.
    let call = || fs::read_to_string(format!("/proc/{}/syscall", writer.pid())).unwrap_or_default();
    crate::common::host::wait_until(|| call().contains(' ') && call().split(' ').next() != Some("running"));
    for flags in [["--program", program.to_str().unwrap()], ["--program", "/bin/true"]] {
        let with: &[&str] = if flags[1] == "/bin/true" { &["--with", program.to_str().unwrap()] } else { &[] };
        let why = spec(&container, &[&flags[..], with].concat(), &[]).fails();
        assert!(why.contains("nowhere that its loader looks"), "{why}");
        assert!(!process::wait_readable(writer.pidfd(), std::time::Duration::from_millis(200)), "{flags:?}: opened");
    }
    // A reader, at last.
    let _reader = fs::File::open(&library).unwrap();
    writer.wait();
}
