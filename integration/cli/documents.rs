//! The commands that the documents show are run, one after the other, as somebody types them who reads.

use std::path::Path;
use std::process::{Command, Stdio};

use super::papers::{beside_a_root, shell};
use crate::common::{Container, brisk_only, host, lacks, process, runtime, skip_here};
use crate::insight::{self, cannot_look};

/// Names that the documents give to containers.
const NAMES: [&str; 8] = ["job1", "web1", "box1", "box2", "t1", "blue", "green", "judge"];

/// The commands of brisk in the blocks of code of a document, each on one line.
fn commands(name: &str) -> Vec<String> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs").join(name);
    let text = std::fs::read_to_string(path).unwrap().replace("\\\n", " ");
    let (mut found, mut fenced) = (Vec::new(), false);
    for line in text.lines() {
        fenced ^= line.starts_with("```");
        let in_code = if fenced { Some(line) } else { line.strip_prefix("    ") };
        let Some(line) = in_code else { continue };
        let line = ["there#", "here#", "#", "$"].iter().find_map(|prompt| line.strip_prefix(prompt)).unwrap_or(line);
        let line = line.trim_start();
        if line.starts_with("brisk ") && !line.starts_with("brisk = ") {
            found.push(line.split("  #").next().unwrap().trim_end().to_owned());
        }
    }
    found
}

/// A reader's surroundings: roots, programs and files of the names that the documents use.
struct Reader {
    container: Container,
}

impl Reader {
    fn new() -> Reader {
        let container = if cannot_look() {
            beside_a_root(|_| host::resolve_program(&runtime()))
        } else {
            beside_a_root(insight::brisk)
        };
        let reader = Reader { container };
        let mut config = reader.container.bundle.config.clone();
        config["process"]["args"] = serde_json::json!(["/bin/true"]);
        for bundle in [".", "web"] {
            std::fs::write(reader.dir().join(bundle).join("config.json"), config.to_string()).unwrap();
        }
        reader.types(
            ".",
            "cp -a rootfs tree; mkdir tree/work tree/in in7 work box; cp -a rootfs box/rootfs; ln -s ../bin box/bin; touch input
             for dir in tree/work work; do printf '#!/bin/sh\\ntrue\\n' > $dir/a.out; chmod 755 $dir/a.out; done
             cp /bin/true a.out",
        );
        reader
    }

    fn dir(&self) -> &Path {
        &self.container.bundle.dir
    }

    #[track_caller]
    fn types(&self, dir: &str, line: &str) -> String {
        let mut command: Command = shell(line, &self.dir().join(dir));
        command.stdin(Stdio::null());
        let out = process::run(command);
        if out.code != 0 {
            self.deletes(&NAMES);
        }
        out.ok().stdout()
    }

    /// The name of a container that nobody else has.
    fn own(&self, name: &str) -> String {
        format!("{}-{name}", self.container.id)
    }

    fn deletes(&self, names: &[&str]) {
        for name in names {
            drop(self.container.call(&["delete", "--force", &self.own(name)]));
            drop(self.container.call(&["pool", "delete", &self.own(name)]));
        }
    }

    /// What the text says is done before this command, and is no command there.
    fn prepares(&self, line: &str) {
        if line.starts_with("brisk update --move") {
            for name in ["blue", "green"] {
                let limits = "--memory 256m --pids 50 --cpus 1";
                self.types(".", &format!("brisk run --detach --rootfs tree {limits} {} -- sleep 1000", self.own(name)));
            }
        } else if line.starts_with("brisk create --template") {
            self.types(".", "rm -rf job; mkdir job; cp -a tree job/rootfs; brisk spec --bundle job --no-terminal");
        } else if line.starts_with("brisk create --bundle .") {
            self.types("box", "rm config.json; brisk spec --no-terminal -- sleep 1000");
        } else if ["run", "create", "record"].iter().any(|verb| line.starts_with(&format!("brisk {verb} "))) {
            let names: Vec<&str> = NAMES.into_iter().filter(|name| line.split(' ').any(|word| word == *name)).collect();
            if !line.contains("--pool") {
                self.deletes(&names);
            }
        }
    }
}

#[test]
fn what_the_documents_show_works() {
    if brisk_only("its own documents") {
        return;
    }
    if !host::is_root()
        || lacks(&["memory", "pids", "cpu"])
        || !Path::new(env!("CARGO_MANIFEST_DIR")).join("docs").exists()
    {
        return skip_here("root, a checkout, and controllers that the examples name");
    }
    let reader = Reader::new();
    let looks = !cannot_look();
    let python = Path::new("/usr/lib/python3.11").exists();
    for (document, dir, least) in
        [("JOBS.md", ".", 9), ("PREPARED.md", ".", 4), ("INSIGHT.md", ".", 6), ("ENGINES.md", "box", 8)]
    {
        let lines = commands(document);
        assert!(lines.len() >= least, "{document}: {lines:?}");
        for line in lines {
            let of_insight = ["record", "stats", "plan --diff", "plan --host"].iter().any(|name| line.contains(name));
            let needs_more = of_insight && !looks
                || line.contains(" wait ") && !host::kernel_is_at_least(6, 15)
                || !python && line.contains(" py");
            if needs_more {
                continue;
            }
            reader.prepares(&line);
            let mut line = NAMES.iter().fold(format!("{line} "), |line, name| {
                line.replace(&format!(" {name} "), &format!(" {} ", reader.own(name)))
            });
            for (shown, here) in [
                ("/srv/in7", reader.dir().join("in7").to_str().unwrap()),
                ("/var/lib/node_exporter/", ""),
                ("--interval 10s", "--interval 10ms"),
                ("jq .ended", "grep -q exitCode"),
                ("| jq -r .status", "| grep -q status"),
                ("--program python3", "--program /usr/bin/python3"),
            ] {
                line = line.replace(shown, here);
            }
            let said = reader.types(dir, &line);
            assert!(!line.contains("--bundle py ") || line.contains(" spec ") || said == "42\n", "{said}");
        }
    }
    reader.deletes(&NAMES);
}
