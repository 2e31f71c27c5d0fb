//! `update --move`: what each gets, in every step.

use brisk::plan::cgroup::transfer::{Amounts, CpuGrain, LimitHolder, Share, transfer};
use brisk::plan::cgroup::update::merge;
use brisk::plan::cgroup::{WhenMissing, Write};
use brisk::plan::systemd::properties::with_rounded_quota;
use brisk::spec::resources::Resources;
use serde_json::{Value, json};

use crate::refused;

fn resources(value: Value) -> Resources {
    serde_json::from_value(value).unwrap()
}

fn holder<'a>(id: &'a str, has: &'a Resources, grain: CpuGrain) -> LimitHolder<'a> {
    LimitHolder { id, has, grain }
}

fn moved(from: &Resources, to: &Resources, amounts: Amounts, grain: CpuGrain) -> [Value; 2] {
    let changes = transfer(holder("one", from, grain), holder("two", to, grain), amounts).unwrap();
    changes.map(|change| serde_json::to_value(change).unwrap())
}

#[test]
fn parts_are_the_whole() {
    let whole = Amounts { memory: 1_000_001, cpu: 17_000, pids: 3 };
    for grain in [CpuGrain::Microsecond, CpuGrain::Percent] {
        for steps in 1..40 {
            let parts: Vec<Amounts> = (1..=steps).map(|step| whole.part(step, steps, grain)).collect();
            let sum = |of: fn(&Amounts) -> u64| parts.iter().map(of).sum::<u64>();
            let sums =
                Amounts { memory: sum(|part| part.memory), cpu: sum(|part| part.cpu), pids: sum(|part| part.pids) };
            assert_eq!(sums, whole, "{steps}");
            if grain == CpuGrain::Percent {
                assert!(parts.iter().all(|part| part.cpu.is_multiple_of(1000)), "{parts:?}");
            }
        }
    }
    let all = Amounts { memory: u64::MAX, cpu: u64::MAX, pids: u64::MAX };
    assert_eq!(all.part(1, 1, CpuGrain::Microsecond), all);
    all.part(u32::MAX - 1, u32::MAX, CpuGrain::Percent);
}

#[test]
fn what_one_gives_the_other_gets() {
    let one = resources(
        json!({ "memory": { "limit": 1000, "swap": 3000 }, "cpu": { "quota": 100_000 }, "pids": { "limit": 9 } }),
    );
    let two = resources(
        json!({ "memory": { "limit": 500, "swap": -1 }, "cpu": { "quota": 20_000, "period": 50_000 }, "pids": { "limit": 1 } }),
    );
    let amounts = Amounts { memory: 400, cpu: 25_001, pids: 8 };
    let [less, more] = moved(&one, &two, amounts, CpuGrain::Microsecond);
    // What may be swapped stays, and what is no whole microsecond of the other's period is lost.
    assert_eq!(
        less,
        json!({ "memory": { "limit": 600, "swap": 2600 }, "cpu": { "quota": 74_999 }, "pids": { "limit": 1 } })
    );
    assert_eq!(more, json!({ "memory": { "limit": 900 }, "cpu": { "quota": 32_500 }, "pids": { "limit": 9 } }));
}

/// What is in force of a quota: what the driver of this grain writes.
fn in_force(quota: i64, period: u64, grain: CpuGrain) -> f64 {
    let write = |value: String| Write {
        controller: "cpu".to_owned(),
        file: "cpu.max".to_owned(),
        value,
        missing: WhenMissing::Fail,
    };
    let writes = vec![write(format!("{quota} {period}"))];
    let writes = if grain == CpuGrain::Percent { with_rounded_quota(writes) } else { writes };
    writes[0].value.split_once(' ').unwrap().0.parse::<f64>().unwrap() / period as f64
}

/// Whatever periods and rests there are, and whoever makes the cgroups: both together have no more than before, and no more than two
/// microseconds of each period less. Two in whole percents keep those, which in a period of odd length are not whole microseconds.
#[test]
fn a_sum_never_grows() {
    use CpuGrain::{Microsecond, Percent};
    let mut seen = [0; 4];
    let periods = [
        (100_000, 100_000),
        (1_000_000, 1000),
        (1000, 1_000_000),
        (33_333, 77_777),
        (999_999, 100_000),
        (1001, 999_999),
    ];
    for (pair, grains) in
        [[Microsecond; 2], [Microsecond, Percent], [Percent, Microsecond], [Percent; 2]].iter().enumerate()
    {
        let coarser = grains[0].max(grains[1]);
        for (p1, p2) in periods {
            for quotas in [[2_000, 2_000], [77_777, 12_345], [12_345, 20_000], [999_999, 10_000], [10_000, 999_999]] {
                for cpu in [1, 999, 1_000, 12_345, 17_000] {
                    let amounts = Amounts { cpu, ..Amounts::default() };
                    if amounts.check(coarser).is_err() {
                        continue;
                    }
                    let limits =
                        |quota: i64, period: u64| resources(json!({ "cpu": { "quota": quota, "period": period } }));
                    let (one, two) = (limits(quotas[0], p1), limits(quotas[1], p2));
                    let Ok(changes) = transfer(holder("one", &one, grains[0]), holder("two", &two, grains[1]), amounts)
                    else {
                        continue;
                    };
                    seen[pair] += 1;
                    let each = |[one, two]: [i64; 2]| [in_force(one, p1, grains[0]), in_force(two, p2, grains[1])];
                    let sum = |quotas| each(quotas).iter().sum::<f64>();
                    let quotas_after = changes.map(|change| change.cpu.unwrap().quota.unwrap());
                    let (before, after) = (sum(quotas), sum(quotas_after));
                    let odd = |period: u64| if period.is_multiple_of(100) { 0.0 } else { 1.0 / period as f64 };
                    let more = if *grains == [Percent; 2] { odd(p1) + odd(p2) } else { 0.0 };
                    let what = format!("{grains:?} {p1} {p2} {quotas:?} {cpu}: {before} {after}");
                    assert!(after <= before + more + 1e-12, "{what}");
                    assert!(before - after <= 2.0 / p1 as f64 + 2.0 / p2 as f64 + 1e-12, "{what}");
                    // What is written is what was reckoned with.
                    for (quota, (period, grain)) in quotas_after.into_iter().zip([(p1, grains[0]), (p2, grains[1])]) {
                        assert_eq!(in_force(quota, period, grain), quota as f64 / period as f64, "{what}");
                    }
                }
            }
        }
    }
    assert!(seen.iter().all(|seen| *seen > 20), "only {seen:?}");
}

/// A container without a scope has what it was given, whatever the other one is.
#[test]
fn each_is_rounded_as_its_own_driver_does() {
    let (blue, green) =
        (resources(json!({ "cpu": { "quota": 12_345 } })), resources(json!({ "cpu": { "quota": 20_000 } })));
    let amounts = Amounts { cpu: 1_000, ..Amounts::default() };
    let [plain, scope] = [CpuGrain::Microsecond, CpuGrain::Percent];
    let quotas = |from: LimitHolder<'_>, to: LimitHolder<'_>| {
        transfer(from, to, amounts).unwrap().map(|change| change.cpu.unwrap().quota.unwrap())
    };
    assert_eq!(quotas(holder("blue", &blue, plain), holder("green", &green, scope)), [11_345, 21_000]);
    assert_eq!(quotas(holder("green", &green, scope), holder("blue", &blue, plain)), [19_000, 13_345]);
    // What is shown is what is in force.
    assert_eq!([plain, scope].map(|grain| Share::of(&blue, grain).cpus), [Some(0.12345), Some(0.13)]);
}

/// systemd rounds a quota up to whole percents. What both have been rounded up to stays their sum.
#[test]
fn with_systemd_it_is_whole_percents() {
    let limits = |quota: u64| resources(json!({ "cpu": { "quota": quota } }));
    let amounts = Amounts { cpu: 5_000, ..Amounts::default() };
    let [less, more] = moved(&limits(50_500), &limits(20_001), amounts, CpuGrain::Percent);
    assert_eq!((&less["cpu"]["quota"], &more["cpu"]["quota"]), (&json!(46_000), &json!(26_000)));
    assert!(refused(Amounts { cpu: 5_001, ..amounts }.check(CpuGrain::Percent)).contains("whole percents"));
    Amounts { cpu: 5_001, ..amounts }.check(CpuGrain::Microsecond).unwrap();
}

#[test]
fn what_cannot_be_moved_says_why() {
    let some = resources(json!({ "memory": { "limit": 1000 }, "cpu": { "quota": 5000 }, "pids": { "limit": 5 } }));
    let none = Resources::default();
    let lifted = resources(json!({ "memory": { "limit": -1 }, "cpu": { "quota": -1 }, "pids": { "limit": 0 } }));
    let each = [
        (Amounts { memory: 1000, ..Amounts::default() }, "memory"),
        (Amounts { cpu: 4001, ..Amounts::default() }, "CPU time"),
        (Amounts { pids: 5, ..Amounts::default() }, "tasks"),
    ];
    for (amounts, what) in each {
        let refusal = |from: &Resources, to: &Resources| {
            let error =
                transfer(holder("one", from, CpuGrain::Microsecond), holder("two", to, CpuGrain::Microsecond), amounts)
                    .unwrap_err();
            assert!(error.hint().is_some(), "{error}");
            error.to_string()
        };
        let text = refusal(&some, &some);
        assert!(text.contains("from one") && text.contains(what), "{text}");
        for unlimited in [&none, &lifted] {
            let text = refusal(unlimited, &some);
            assert!(text.contains("one has no limit") && text.contains(what) && text.contains("gives"), "{text}");
            let text = refusal(&some, unlimited);
            assert!(text.contains("two has no limit") && text.contains(what) && text.contains("gets"), "{text}");
        }
    }
}

/// The kernel takes no quota below the burst: said before the first step, and not by the one that meets it.
#[test]
fn a_burst_stays_below_the_quota() {
    let one = resources(json!({ "cpu": { "quota": 50_000, "burst": 40_000 } }));
    let two = resources(json!({ "cpu": { "quota": 50_000, "burst": 50_000 } }));
    let take = |cpu| {
        let amounts = Amounts { cpu, ..Amounts::default() };
        let (one, two) = (holder("one", &one, CpuGrain::Microsecond), holder("two", &two, CpuGrain::Microsecond));
        transfer(one, two, amounts)
    };
    assert_eq!(take(10_000).unwrap()[0].cpu.as_ref().unwrap().quota, Some(40_000));
    let error = take(10_001).unwrap_err();
    assert!(
        error.to_string().contains("leave 39999 µs of CPU time in each period to one: its burst is 40000"),
        "{error}"
    );
    assert!(error.hint().unwrap().contains("brisk update --cpu-burst N one"), "{error:?}");
}

#[test]
fn shares_are_what_is_limited() {
    let has = resources(json!({ "memory": { "limit": 1000 }, "cpu": { "quota": 50_000 } }));
    let share = Share::of(&has, CpuGrain::Microsecond);
    assert_eq!((share.memory_bytes, share.cpus, share.tasks), (Some(1000), Some(0.5), None));
    let other = Share { tasks: Some(1), cpus: Some(0.1), ..share };
    assert_eq!(share.and(&other), Share { memory_bytes: Some(2000), cpus: Some(0.6), tasks: None });
    assert_eq!(
        Share::of(&merge(&has, &resources(json!({ "memory": { "limit": 600 } }))).unwrap(), CpuGrain::Microsecond)
            .memory_bytes,
        Some(600)
    );
}
