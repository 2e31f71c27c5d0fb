//! Jobs: a judge's test case with its limits, beside the sandboxes that judges have; and what an overlay that is thrown away
//! adds to a start.

use crate::common::Bundle;
use crate::common::leftovers;
use crate::engines::{docker_image, dockerd, installed, ready, succeed};
use crate::lab::Lab;
use crate::latency::{Contestant, in_turn, table};
use crate::options::Options;
use crate::result::{Figure, Outcome, Table};
use crate::tool::runtime::{Runtime, text};
use crate::tool::{Res, os, process};
use std::fs::{File, OpenOptions};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Instant;

/// What a submission to the simplest of problems does.
const PROGRAM: [&str; 4] = ["/bin/busybox", "sh", "-c", "read a b; echo $((a + b))"];
const ID: &str = "judge";

/// One test case of a submission: 64 MB of memory, 16 processes, 2 s of CPU time, 6 s in all, an answer to how it ended and what
/// it used. Latency in turn, then jobs a second with as many at a time as there are CPUs.
pub fn judge(lab: &Lab, options: &Options) -> Res<Vec<Outcome>> {
    let bench = Judge::new(lab)?;
    let daemon = if installed("dockerd") && installed("docker") { Some(bench.dockerd()?) } else { None };
    let outcomes = bench.rounds(options, daemon.as_ref());
    if let Some(mut daemon) = daemon {
        os::kill(daemon.id() as i32, libc::SIGTERM)?;
        daemon.wait()?;
        process::reap_all();
        leftovers::remove_cgroups(&lab.id("docker"));
    }
    outcomes
}

struct Judge<'a> {
    lab: &'a Lab,
    /// Its root goes with it.
    bundle: Bundle,
    input: PathBuf,
    isolate: Option<PathBuf>,
    docker: PathBuf,
}

/// One job in a lane, from the first process to the last; each has a sandbox of its own.
type Job<'a> = Box<dyn Fn(usize) -> Res<f64> + Sync + 'a>;

impl<'a> Judge<'a> {
    fn new(lab: &'a Lab) -> Res<Self> {
        let bundle = lab.bundle(ID, &["/bin/true"])?;
        let input = lab.dir.join("judge-input");
        std::fs::write(&input, "3 4\n")?;
        let docker = lab.dir.join("docker");
        std::fs::create_dir(&docker)?;
        Ok(Self { lab, bundle, input, isolate: isolate(), docker })
    }

    fn dockerd(&self) -> Res<Child> {
        let daemon = dockerd(self.lab, &self.docker, &self.socket()?)?;
        ready(|| Ok(self.client(&["version"])?.status()?.success()))?;
        docker_image(self.lab, &self.docker, |args| self.client(args).unwrap())?;
        Ok(daemon)
    }

    fn socket(&self) -> Res<String> {
        Ok(format!("unix://{}", text(&self.docker.join("sock"))?))
    }

    fn client(&self, args: &[&str]) -> Res<Command> {
        let mut command = Command::new("docker");
        process::quiet(command.args(["--host", &self.socket()?]).args(args));
        Ok(command)
    }

    /// The program's input and output are files, as a judge has them.
    fn given(&self, command: &mut Command, output: &Path) -> Res<()> {
        command.stdin(File::open(&self.input)?).stdout(create(output)?).stderr(Stdio::null());
        Ok(())
    }

    fn output(&self, name: &str, lane: usize) -> PathBuf {
        self.lab.dir.join(format!("judge-{name}-{lane}"))
    }

    fn rounds(&self, options: &Options, docker: Option<&Child>) -> Res<Vec<Outcome>> {
        let mut jobs: Vec<(String, Job<'_>)> = Vec::new();
        for runtime in self.lab.runtimes.iter().filter(|runtime| runtime.name.starts_with("brisk")) {
            jobs.push((runtime.name.clone(), Box::new(|lane| self.brisk(runtime, lane))));
        }
        let mut absent = Vec::new();
        match &self.isolate {
            None => absent.push("isolate is not installed (ISOLATE names it)".to_owned()),
            Some(program) => {
                jobs.push(("isolate".into(), Box::new(|lane| self.whole(program, &[], lane))));
                match self.isolate(program, &["--cg"], 0) {
                    Ok(_) => jobs.push(("isolate --cg".into(), Box::new(|lane| self.whole(program, &["--cg"], lane)))),
                    Err(error) => absent.push(format!("isolate --cg: {error}")),
                }
            }
        }
        let runc = self.lab.runtimes.iter().find(|runtime| runtime.name == "runc").filter(|_| docker.is_some());
        match runc {
            None => absent.push("docker with runc is not installed".to_owned()),
            Some(runc) => jobs.push(("docker + runc".into(), Box::new(|lane| self.docker(runc, lane)))),
        }
        let contestants = jobs.iter().map(|(name, job)| Contestant { name: name.clone(), once: Box::new(|| job(0)) });
        // A judge that keeps its boxes makes and cleans them another time.
        let kept = self.isolate.iter().map(|program| {
            let once = Box::new(|| self.isolate(program, &[], 0).map(|parts| parts[1]));
            Contestant { name: "isolate, --run alone".into(), once }
        });
        let contestants = contestants.chain(kept).collect();
        let samples = in_turn("a judge's test case", (options.rounds / 5).max(20), contestants)?;
        let note = "first process to last: isolate's --init, --run and --cleanup, docker's client and daemon";
        let latency = table(ID, "a judge's test case, with limits and a result", note, samples);
        let lanes = std::thread::available_parallelism()?.get();
        let title = format!("a judge's test cases, {lanes} at a time");
        let mut rates = Table::new("judge-rate", &title, "whole jobs; the losing rows count as well");
        for (name, job) in &jobs {
            let per_lane = (options.rounds / 2).max(20) / if name.starts_with("docker") { 10 } else { 1 };
            let begin = Instant::now();
            std::thread::scope(|scope| -> Res<()> {
                let lanes: Vec<_> = (0..lanes)
                    .map(|lane| {
                        scope.spawn(move || {
                            (0..per_lane).try_for_each(|_| job(lane).map(drop).map_err(|e| e.to_string()))
                        })
                    })
                    .collect();
                lanes.into_iter().try_for_each(|lane| lane.join().unwrap().map_err(Into::into))
            })?;
            let rate = (per_lane * lanes) as f64 / begin.elapsed().as_secs_f64();
            rates.add(name, vec![Figure::new("rate", "jobs/s", rate)]);
        }
        let absent = absent.into_iter().map(|reason| Outcome::Absent { id: ID.into(), reason });
        Ok([latency, Outcome::Figures(rates)].into_iter().chain(absent).collect())
    }

    fn brisk(&self, runtime: &Runtime, lane: usize) -> Res<f64> {
        let (id, output, result) =
            (self.lab.id(&format!("judge{lane}")), self.output("out", lane), self.output("result", lane));
        let mut command = Command::new(&runtime.path);
        command.arg("--root").arg(&runtime.root).args([
            "run",
            "--rootfs",
            text(&self.bundle.rootfs())?,
            "--overlay",
            "tmpfs:64m",
        ]);
        command.args(["--user", "65534", "--memory", "64m", "--pids", "16", "--cpu-time", "2s", "--timeout", "6s"]);
        command.args(["--output-limit", "1m", "--result", text(&result)?, &id, "--"]).args(PROGRAM);
        self.given(&mut command, &output)?;
        self.judged(&mut command, &output, &result, "\"ended\":\"exited\"")
    }

    fn whole(&self, program: &Path, flags: &[&str], lane: usize) -> Res<f64> {
        Ok(self.isolate(program, flags, lane)?.iter().sum())
    }

    /// As CMS calls it: made, run and cleaned for each test case; how long each took.
    fn isolate(&self, program: &Path, flags: &[&str], lane: usize) -> Res<[f64; 3]> {
        let (output, result) = (self.output("out", lane), self.output("meta", lane));
        let call = |more: &[&str]| {
            let mut command = Command::new(program);
            process::quiet(command.arg(format!("--box-id={lane}")).args(flags).args(more));
            command
        };
        let memory = if flags.is_empty() { "--mem=65536" } else { "--cg-mem=65536" };
        let meta = format!("--meta={}", text(&result)?);
        let limits = ["--silent", memory, "--processes=16", "--time=2", "--wall-time=6", "--fsize=1024"];
        let made = succeed(call(&["--init"]))?;
        let mut run = call(&[&[&*meta], &limits[..], &["--run", "--"], &PROGRAM].concat());
        self.given(&mut run, &output)?;
        let ran = self.judged(&mut run, &output, &result, "exitcode:0");
        let cleaned = succeed(call(&["--cleanup"]))?;
        Ok([made, ran?, cleaned])
    }

    /// docker has no limit of wall-clock time; its answer is the exit status.
    fn docker(&self, runc: &Runtime, lane: usize) -> Res<f64> {
        let output = self.output("out", lane);
        let limits =
            ["--memory", "64m", "--memory-swap", "64m", "--pids-limit", "16", "--ulimit", "cpu=2", "--user", "65534"];
        let runtime = format!("b-{}", runc.name);
        let head = ["run", "--rm", "-i", "--network", "none", "--runtime", &runtime];
        let mut command = self.client(&[&head, &limits[..], &["bench:1"], &PROGRAM].concat())?;
        self.given(&mut command, &output)?;
        self.judged(&mut command, &output, &output, "7")
    }

    /// Runs it; the output is right, and so is what was told.
    fn judged(&self, command: &mut Command, output: &Path, told: &Path, word: &str) -> Res<f64> {
        let done = process::timed(command)?;
        let (said, result) = (std::fs::read_to_string(output)?, std::fs::read_to_string(told).unwrap_or_default());
        if done.ok() && said.trim() == "7" && result.contains(word) {
            return Ok(done.ms);
        }
        Err(format!("{command:?}: {:#x}, {said:?}, {result:?}", done.reaped.status).into())
    }
}

fn create(path: &Path) -> Res<File> {
    Ok(OpenOptions::new().write(true).create(true).truncate(true).custom_flags(libc::O_NOFOLLOW).open(path)?)
}

fn isolate() -> Option<PathBuf> {
    let named = std::env::var_os("ISOLATE").map(PathBuf::from);
    let path = std::env::var_os("PATH").unwrap_or_default();
    named.or_else(|| std::env::split_paths(&path).map(|dir| dir.join("isolate")).find(|program| program.exists()))
}

/// `run` on a root that is written to, and with an overlay over it that is gone afterwards.
pub fn throwaway(lab: &Lab, options: &Options) -> Res<Vec<Outcome>> {
    let bundle = lab.bundle("throwaway", &["/bin/true"])?;
    let dir = text(&bundle.dir)?;
    let mut contestants = Vec::new();
    for runtime in lab.runtimes.iter().filter(|runtime| runtime.name.starts_with("brisk")) {
        for (flags, how) in [(&[][..], ""), (&["--overlay", "tmpfs"], " --overlay tmpfs")] {
            let args: Vec<String> = ["run"]
                .iter()
                .chain(flags)
                .chain(&["--bundle", dir, &lab.id("throwaway")])
                .map(|arg| (*arg).to_owned())
                .collect();
            let once = Box::new(move || {
                let args: Vec<&str> = args.iter().map(String::as_str).collect();
                Ok(runtime.must(&args)?.ms)
            });
            contestants.push(Contestant { name: format!("{}{how}", runtime.name), once });
        }
    }
    let samples = in_turn("run with and without an overlay", options.rounds, contestants)?;
    Ok(vec![table("throwaway", "run /bin/true, with and without --overlay", "in turn", samples)])
}
