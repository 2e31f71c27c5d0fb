//! Block device weights and throttling. Pure.

use crate::error::Result;
use crate::spec::resources::{BlockIo, ThrottleDevice, WeightDevice};

use crate::plan::cgroup::collect::{Collector, refuse};
use crate::plan::cgroup::files::{self, LimitFile, Throttle};
use crate::plan::cgroup::write::{Version, WhenMissing};

/// The writes of the blkio (v1) or io (v2) controller.
pub fn limits(block_io: &BlockIo, version: Version, out: &mut Collector) -> Result<()> {
    check(block_io)?;
    match version {
        Version::V1 => v1(block_io, out),
        Version::V2 => v2(block_io, out),
    }
    for WeightDevice { major, minor, weight, leaf_weight } in &block_io.weight_device {
        if weight.or(*leaf_weight).is_none() {
            out.warn(format!("linux.resources.blockIO.weightDevice: {major}:{minor} is given no weight"));
        }
    }
    out.put_number(&files::BLKIO_LEAF_WEIGHT, block_io.leaf_weight);
    for device in &block_io.weight_device {
        if let Some(weight) = files::BLKIO_LEAF_WEIGHT_DEVICE.given(device.leaf_weight) {
            out.put_text(&files::BLKIO_LEAF_WEIGHT_DEVICE, format!("{}:{} {weight}", device.major, device.minor));
        }
    }
    Ok(())
}

fn check(block_io: &BlockIo) -> Result<()> {
    let BlockIo {
        weight,
        leaf_weight,
        weight_device,
        // `throttles`.
        throttle_read_bps_device: _,
        throttle_write_bps_device: _,
        throttle_read_iops_device: _,
        throttle_write_iops_device: _,
    } = block_io;
    let devices = weight_device.iter().flat_map(|d| [d.weight, d.leaf_weight]);
    let weights = devices.chain([*weight, *leaf_weight]);
    for weight in weights.filter_map(|weight| files::BLKIO_WEIGHT.given(weight)) {
        if !(10..=1000).contains(&weight) {
            return Err(refuse("blockIO", format!("linux.resources.blockIO: weight {weight} is not in 10-1000")));
        }
    }
    let numbers = weight_device.iter().map(|d| (d.major, d.minor));
    for (major, minor) in numbers.chain(throttles(block_io).map(|(_, d)| (d.major, d.minor))) {
        if u32::try_from(major).is_err() || u32::try_from(minor).is_err() {
            return Err(refuse("blockIO", format!("linux.resources.blockIO: {major}:{minor} is not a device number")));
        }
    }
    Ok(())
}

/// Every device of every throttle.
fn throttles(block_io: &BlockIo) -> impl Iterator<Item = (&'static Throttle, &ThrottleDevice)> {
    let [read_bps, write_bps, read_iops, write_iops] = &files::THROTTLES;
    [
        (read_bps, &block_io.throttle_read_bps_device),
        (write_bps, &block_io.throttle_write_bps_device),
        (read_iops, &block_io.throttle_read_iops_device),
        (write_iops, &block_io.throttle_write_iops_device),
    ]
    .into_iter()
    .flat_map(|(throttle, devices)| devices.iter().map(move |device| (throttle, device)))
}

// blkio.weight belonged to the CFQ scheduler and went with it in Linux 5.0; BFQ has its own file.
fn v1(block_io: &BlockIo, out: &mut Collector) {
    let bfq = |file: &LimitFile, value: String| WhenMissing::Instead { file: file.name.into(), value };
    if let Some(weight) = files::BLKIO_WEIGHT.given(block_io.weight) {
        out.put_or(&files::BLKIO_WEIGHT, weight, bfq(&files::BLKIO_BFQ_WEIGHT, weight.to_string()));
    }
    // `limits`.
    for WeightDevice { major, minor, weight, leaf_weight: _ } in &block_io.weight_device {
        let line = |weight: u16| format!("{major}:{minor} {weight}");
        if let Some(weight) = files::BLKIO_WEIGHT_DEVICE.given(*weight) {
            out.put_or(&files::BLKIO_WEIGHT_DEVICE, line(weight), bfq(&files::BLKIO_BFQ_WEIGHT_DEVICE, line(weight)));
        }
    }
    for (throttle, ThrottleDevice { major, minor, rate }) in throttles(block_io) {
        out.put_text(&throttle.v1, format!("{major}:{minor} {rate}"));
    }
}

// io.bfq.weight takes the configuration's weights as they are; io.weight (iocost) needs them converted.
fn v2(block_io: &BlockIo, out: &mut Collector) {
    let iocost = |value: String| WhenMissing::Instead { file: files::IO_WEIGHT.name.into(), value };
    if let Some(weight) = files::IO_BFQ_WEIGHT.given(block_io.weight) {
        out.put_or(&files::IO_BFQ_WEIGHT, weight, iocost(io_weight(weight).to_string()));
    }
    for device in &block_io.weight_device {
        if let Some(weight) = files::IO_BFQ_WEIGHT.given(device.weight) {
            let line = |weight: u64| format!("{}:{} {weight}", device.major, device.minor);
            out.put_or(&files::IO_BFQ_WEIGHT, line(weight.into()), iocost(line(io_weight(weight))));
        }
    }
    for (Throttle { key, .. }, ThrottleDevice { major, minor, rate }) in throttles(block_io) {
        let rate = files::IO_MAX.text(*rate);
        out.put_text(&files::IO_MAX, format!("{major}:{minor} {key}={rate}"));
    }
}

/// io.weight (1 to 10000) from a blkio weight (10 to 1000).
pub fn io_weight(weight: u16) -> u64 {
    1 + (u64::from(weight).max(10) - 10) * 9999 / 990
}
